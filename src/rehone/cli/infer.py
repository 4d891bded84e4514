"""Infer what a `rehone.toml` must say from the rows themselves: which column means what, and limits that fit."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from rehone.cli import suspects
from rehone.cli.find import FILE_DAY, Found, calendar, sample, with_time
from rehone.cli.suspects import Column
from rehone.cli.template import Setting
from rehone.config import Data, Train, Trigger
from rehone.data import schema
from rehone.data.times import TIME, instant, is_time
from rehone.errors import RehoneError

Ask = Callable[[str, tuple[str, ...]], str]

DEFAULT, TRAIN, TRIGGER = Data(), Train(), Trigger()
_LABEL_NAMES = (
    re.compile(r"^(is_)?(label|target|y|y_true|ground_truth)$", re.IGNORECASE),
    re.compile(
        r"^((is|has|was|will)_)?(fraud|churn|default|conver|click|cancel|late|delay|fail|purchas|bought|surviv|readmi|respon|"
        r"subscri|outcome|class|spam|demand|high_demand|attack|anomal|accept|approv|default_payment|dropout|label|target)"
        r"[a-z]*(_(flag|label|target))?$",
        re.IGNORECASE,
    ),
    re.compile(r"(^|_)(label|target)(_|$)", re.IGNORECASE),
)
_TIME_NAMES = (
    re.compile(r"^(event_?(time|date|ts|timestamp|at)|timestamp|ts|time|datetime|date|dt|day)$", re.IGNORECASE),
    re.compile(
        r"^(created|transaction|order|booking|arrival|start|pickup|request)|(_|^)(time|date|at|ts|timestamp)$",
        re.IGNORECASE,
    ),
)
_LATER_NAMES = re.compile(r"(due|label|matur|closed|resolved|updated|modified|end|available|_to)(_|$)", re.IGNORECASE)
_DUE = re.compile(r"^(label_?)?(due|matured?|available)(_(at|on|date|time))?$|^label_(due|date|time|at)", re.IGNORECASE)
_KNOWN = re.compile(
    r"^label_?(known|arrived)(_(at|on|date|time))?$|^label+ed_(at|on|date|time)$|^known_at$", re.IGNORECASE
)


class Ambiguous(RehoneError):
    """Several columns could be meant, and nobody is there to be asked."""


@dataclass(kw_only=True)
class Inferred:
    """What the data say of themselves; the settings in the order in which they were found."""

    found: Found
    settings: dict[str, Setting] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    features: tuple[str, ...] = ()
    label: str = ""
    time: str | None = None
    rows: int = 0
    rate: float = 0.0
    first: date = date.min
    last: date = date.max

    def set(self, key: str, value: object, why: str) -> None:
        """Note a value and why it is right."""
        self.settings[key] = Setting(key=key, value=value, why=why)


def infer(found: Found, *, label: str | None, time: str | None, ask: Ask | None) -> Inferred:
    """Look at the data and say what they are.

    Raises:
        Ambiguous: several columns could be the label, and `ask` is `None`.
        RehoneError: a column that was named is not there or cannot be what it was named for;
            no column can be the label; rows have no time.
    """
    rows = sample(found)
    if not rows.height:
        raise RehoneError(
            f"{_count(len(found.files), 'file')} of {found.source} with 0 rows in all, need at least 1: add data"
        )
    said = Inferred(found=found, notes=list(found.notes))
    said.set("data.source", found.source, f"{_count(len(found.files), 'file')} found here")
    said.time, why = _time(rows, found, time, ask)
    if said.time is not None:
        said.set("data.time_column", said.time, why)
    said.label, why = _label(rows, found, label, ask)
    said.set("data.label", said.label, why)
    rows = with_time(rows, said.time, DEFAULT.timezone)
    _zone(said)
    _columns(said, rows)
    days = calendar(found, said.label, said.time, DEFAULT.timezone)
    if not days.height:
        raise RehoneError(
            f"no row of {found.source} has a time that can be read in {said.time!r}: name another with --time"
        )
    _sizes(said, days)
    _delay(said, days)
    _lengths(said, days)
    _rates(said, days)
    return said


def _named(name: str, found: Found, option: str) -> str:
    if name in found.columns:
        return name
    near = difflib.get_close_matches(name, found.columns, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(found.columns)}"
    raise RehoneError(f"{option} {name}: there is no such column: {hint}")


def _rank(name: str, patterns: Sequence[re.Pattern[str]]) -> int:
    return next((i for i, pattern in enumerate(patterns) if pattern.search(name)), len(patterns))


def _time(rows: pl.DataFrame, found: Found, wished: str | None, ask: Ask | None) -> tuple[str | None, str]:
    possible = [name for name in found.columns if _reads_as_time(rows, name)]
    if wished is not None:
        name = _named(wished, found, "--time")
        if name not in possible:
            raise RehoneError(
                f"--time {name}: its type {found.columns[name]} cannot be read as times: write dates or ISO 8601 times"
            )
        return name, "named by --time"
    ranked = sorted(possible, key=lambda name: (*_time_rank(name), _median(rows, name)))
    likely = [name for name in ranked if _time_rank(name)[1] < len(_TIME_NAMES)]
    if found.dated and not likely:
        return None, ""
    if not ranked:
        raise RehoneError(
            f"no column of {found.source} holds dates or times, and the files have no date in their names: name the column "
            "with --time, or name files like 2026-08-31.parquet"
        )
    best = [name for name in ranked if _time_rank(name) == _time_rank(ranked[0])]
    if len(best) > 1 and ask is not None:
        return ask("Which column says when the event happened?", tuple(ranked)), "chosen when asked"
    others = f"; {', '.join(ranked[1:])} could be meant too, if so use --time" if len(ranked) > 1 else ""
    return ranked[0], f"the {'likeliest' if len(ranked) > 1 else 'only'} column of times{others}"


def _time_rank(name: str) -> tuple[bool, int]:
    return bool(_LATER_NAMES.search(name)), _rank(name, _TIME_NAMES)


def _reads_as_time(rows: pl.DataFrame, name: str) -> bool:
    dtype = rows.schema[name]
    if name == FILE_DAY or not is_time(dtype):
        return False
    known = rows.select(pl.col(name).drop_nulls().head(2_000)).filter(pl.col(name).is_not_null())
    read = known.select(instant(name, dtype, DEFAULT.timezone).is_not_null().mean()).item() if known.height else 0
    return bool(read and read >= 0.99)


def _median(rows: pl.DataFrame, name: str) -> float:
    when = rows.select(instant(name, rows.schema[name], DEFAULT.timezone).dt.epoch("s").median()).item()
    return float(when) if when is not None else math.inf


def _label(rows: pl.DataFrame, found: Found, wished: str | None, ask: Ask | None) -> tuple[str, str]:
    binary = [name for name in found.columns if _is_binary(rows[name])]
    if wished is not None:
        name = _named(wished, found, "--label")
        if name not in binary:
            raise RehoneError(
                f"--label {name}: it holds {_some(rows[name])}, a label holds 0 and 1: convert it in the data"
            )
        return name, "named by --label"
    if not binary:
        raise RehoneError(_no_label(rows, found))
    best = min(_rank(name, _LABEL_NAMES) for name in binary)
    likely = [name for name in binary if _rank(name, _LABEL_NAMES) == best]
    others = [name for name in binary if name not in likely]
    if len(likely) == 1:
        if best == len(_LABEL_NAMES):
            return likely[0], "the only column of 0 and 1"
        aside = f"; {', '.join(others)} also hold 0 and 1 and are features" if others else ""
        return likely[0], f"a column of 0 and 1 with the name of a label{aside}"
    if ask is not None:
        return ask("Which column is to be predicted?", (*likely, *others)), "chosen when asked"
    raise Ambiguous(
        f"{len(likely)} columns could be the label ({', '.join(likely)}): say which, as in `rehone init --label {likely[0]}`"
    )


def _is_binary(values: pl.Series) -> bool:
    if values.dtype == pl.Boolean:
        return values.drop_nulls().n_unique() == 2
    if not values.dtype.is_numeric():
        return False
    return set(values.drop_nulls().unique().head(3).to_list()) == {0, 1}


def _some(values: pl.Series) -> str:
    seen = values.drop_nulls().unique().sort().head(4).to_list()
    shown = ", ".join(repr(value) for value in seen[:3]) or "nothing"
    return f"{shown} and others" if len(seen) > 3 else shown


def _no_label(rows: pl.DataFrame, found: Found) -> str:
    near = [name for name in found.columns if rows[name].drop_nulls().n_unique() == 2]
    said = f"no column of {found.source} holds 0 and 1, as a label does"
    if not near:
        return f"{said}: add one"
    pairs = ", ".join(f"{name} holds {_some(rows[name])}" for name in near)
    return f"{said} ({pairs}): convert the one that is meant to 0 and 1"


def _zone(said: Inferred) -> None:
    dtype = said.found.columns[said.time] if said.time else None
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return
    said.undecided.append(
        "data.timezone: event times carry no zone and are read as UTC: set it if they are local times"
    )


def _columns(said: Inferred, rows: pl.DataFrame) -> None:
    """Give ids, entities and codes their roles, and leave out what a model must not see."""
    roles = {said.label, said.time, TIME, FILE_DAY}
    columns = [
        Column(name=name, dtype=rows.schema[name], rows=rows, label=said.label)
        for name in said.found.columns
        if name not in roles
    ]
    excluded: dict[str, str] = {}
    codes: list[str] = []
    for column in columns:
        if _takes_role(said, column):
            continue
        if why := suspects.reason(column):
            excluded[column.name] = why
            continue
        said.features = (*said.features, column.name)
        if suspects.is_code(column):
            codes.append(column.name)
    if excluded:
        why = "a model must not learn from these; take a column out of the list if that is wrong"
        said.settings["data.exclude"] = Setting(key="data.exclude", value=tuple(excluded), why=why, each=excluded)
    if codes:
        said.set("data.categorical", tuple(codes), "whole numbers that are names, not amounts")
    if not said.features:
        raise RehoneError(
            f"no column of {said.found.source} is left to learn from: {'; '.join(f'{n}: {w}' for n, w in excluded.items())}"
        )


def _takes_role(said: Inferred, column: Column) -> bool:
    if "data.id_column" not in said.settings and suspects.is_id(column):
        said.set("data.id_column", column.name, "every row has a value of its own")
    elif "data.label_time_column" not in said.settings and _is_known(column):
        said.set("data.label_time_column", column.name, "a time at or after the event, named like when a label came")
    elif "data.label_due_column" not in said.settings and _is_moment(column, _DUE):
        said.set("data.label_due_column", column.name, "a time at or after the event, named like a due date")
    elif "data.entity_column" not in said.settings and suspects.is_entity(column):
        many = f"{column.distinct:,} in {column.rows.height:,} rows"
        said.set("data.entity_column", column.name, f"several rows belong to one ({many}); not a feature")
    else:
        return False
    return True


def _is_known(column: Column) -> bool:
    """Say whether a column tells when labels came; one that is mostly empty would hide them all."""
    empty = column.rows[column.name].null_count()
    return 10 * empty <= column.rows.height and _is_moment(column, _KNOWN)


def _is_moment(column: Column, name: re.Pattern[str]) -> bool:
    """Say whether a column is named like a moment of the label, and never lies before the event."""
    if not name.search(column.name) or not _reads_as_time(column.rows, column.name):
        return False
    due = instant(column.name, column.dtype, DEFAULT.timezone)
    return bool(column.rows.select((due.is_null() | (due >= pl.col(TIME))).all()).item())


def _sizes(said: Inferred, days: pl.DataFrame) -> None:
    said.rows = int(days["rows"].sum())
    said.rate = _share(days)
    said.first, said.last = days["day"].to_list()[0], days["day"].to_list()[-1]


def _share(days: pl.DataFrame) -> float:
    labelled = days["labelled"].sum()
    return float(days["positives"].sum()) / float(labelled) if labelled else 0.0


def _delay(said: Inferred, days: pl.DataFrame) -> None:
    if "data.label_due_column" in said.settings:
        return
    if when := said.settings.get("data.label_time_column"):
        why = f"{when.value} says when each label came: the delay is learned from it, and label_delay_days holds only until then"
        said.set("data.label_completeness", 0.95, why)
        return
    known = days.filter(2 * pl.col("labelled") >= pl.col("rows"))
    waiting = (said.last - known["day"].to_list()[-1]).days if known.height else 0
    if waiting:
        why = f"the newest {_count(waiting, 'day')} of data have no labels yet; make sure that it is long enough for every label"
        said.set("data.label_delay_days", waiting, why)
        return
    said.undecided.append(
        "data.label_delay_days: nothing in the data says how long after the event a label is final; 0 means at once: set it"
    )


def _lengths(said: Inferred, days: pl.DataFrame) -> None:
    """Choose windows long enough for the data that arrive, and a staleness that fits their rhythm."""
    per_day = said.rows / ((said.last - said.first).days + 1)
    rare = min(said.rate, 1 - said.rate)
    for_rows = 1.5 * DEFAULT.min_rows / per_day
    for_gate = 20 / (TRAIN.holdout * per_day * rare) if rare else 0.0
    needed = _round_days(max(for_rows, for_gate))
    if needed > DEFAULT.lookback_days:
        why = f"at {per_day:.3g} rows and {per_day * rare:.2g} of the rarer class a day, {DEFAULT.lookback_days} days are too few to learn and to judge"
        said.set("data.lookback_days", needed, why)
    enough = _round_days(1.5 * TRIGGER.min_positives / (per_day * said.rate)) if said.rate else 0
    if enough > TRIGGER.performance_days:
        said.set(
            "trigger.performance_days",
            enough,
            f"recall needs {TRIGGER.min_positives} positives, at {per_day * said.rate:.2g} a day",
        )
    if said.rows < DEFAULT.min_rows:
        said.notes.append(
            f"{said.rows:,} rows are there, need at least {DEFAULT.min_rows} (data.min_rows): a run will say so until there are more."
        )
    gap = days["day"].diff().dt.total_days().drop_nulls().quantile(0.95, "higher") or 1
    if 2 * gap > (DEFAULT.stale_after_days or math.inf):
        said.set("data.stale_after_days", int(2 * gap), f"data come every {gap:.0f} days")


def _round_days(days: float) -> int:
    steps = (30, 60, 90, 120, 180, 270, 365, 545, 730, 1095, 1825)
    return next((step for step in steps if step >= days), math.ceil(days / 365) * 365)


def _rates(said: Inferred, days: pl.DataFrame) -> None:
    """Widen the bounds of the label rate when windows of this very data would break them."""
    rates = [rate for rate in _window_rates(said, days) if rate is not None]
    if not rates:
        return
    low, high = min(rates), max(rates)
    span = f"trailing windows of these data have {_percent(low)} to {_percent(high)} positives"
    if low < DEFAULT.min_label_rate:
        said.set("data.min_label_rate", _nice(low / 2), span)
    if high > DEFAULT.max_label_rate:
        said.set("data.max_label_rate", min(1.0, math.ceil(10 * min(1.5 * high, (1 + high) / 2)) / 10), span)


def _window_rates(said: Inferred, days: pl.DataFrame) -> list[float | None]:
    length = timedelta(
        days=int(
            said.settings["data.lookback_days"].value
            if "data.lookback_days" in said.settings
            else DEFAULT.lookback_days
        )
    )
    rates: list[float | None] = []
    end = min(said.first + length, said.last + timedelta(days=1))
    while end <= said.last + timedelta(days=1):
        window = days.filter((pl.col("day") >= end - length) & (pl.col("day") < end))
        rates.append(_share(window) if window["labelled"].sum() >= 100 else None)
        end += timedelta(days=7)
    return rates or [_share(days)]


def _nice(value: float) -> float:
    """Round down to one significant digit."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.floor(value / unit) * unit:.6g}")


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def kinds(said: Inferred) -> dict[str, int]:
    """Count the features by kind."""
    codes = said.settings["data.categorical"].value if "data.categorical" in said.settings else ()
    counted: dict[str, int] = {}
    for name in said.features:
        kind = schema.kind_of(name, said.found.columns[name], codes)
        counted[str(kind)] = counted.get(str(kind), 0) + 1
    return counted

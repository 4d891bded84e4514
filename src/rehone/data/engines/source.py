"""Be a source whose rows stay on an engine: counts come back, and only the rows that are learned from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from rehone.config import Data
from rehone.data.engines.counting import count
from rehone.data.engines.facts import (
    LABEL,
    by_day,
    duplicate_share,
    examples,
    first_due,
    repeated_ids,
    summary,
    with_label,
)
from rehone.data.engines.hashing import ALL_HASHES, HASH, digest, hashed
from rehone.data.engines.naming import NAMED, frame_of
from rehone.data.engines.table import (
    DUE,
    KNOWN,
    MICROS,
    Table,
    as_known,
    count_if,
    micros,
    moment_of,
    narwhals,
    open_table,
)
from rehone.data.facts import CLOCK_TOLERANCE, ODD_LABEL, DataFacts, ask, columns_of, missing_days
from rehone.data.files import FileInfo
from rehone.data.frames import labels
from rehone.data.opening import TICK, oldest
from rehone.data.schema import agree, reserved, unify
from rehone.data.times import INSTANT, TIME
from rehone.errors import DataError
from rehone.records import Check, Counts, DataWindow, Profile, Window

MOST_CELLS = 1_000_000_000
"""Values (rows times columns) that are brought to this machine at most: about 8 GB."""


def open_engine(policy: Data, root: Path, *, as_of: datetime, frame: Any = None) -> EngineSource:
    """Open a lazy frame as it was at `as_of`: the one given, or that of the function which data.source names.

    Raises:
        DataError: there is no such function, it gives no frame, or the engine cannot plan it.
        ConfigError: narwhals is not installed.
        ValueError: `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of} has no time zone: give it one, such as UTC")
    moment = as_of.astimezone(UTC)
    if frame is None:
        frame = frame_of(policy.source, root, start=oldest(policy, moment), as_of=moment)
        return EngineSource(as_known(open_table(policy, frame), moment), moment)
    table = as_known(open_table(policy, frame), moment)
    return EngineSource(table, moment, name=f"a {table.dialect.title} frame")


class EngineSource:
    """A lazy frame on an engine; see `data.rows.Rows` for what it answers.

    Frames that come home have the event time in `__time__`, the label as 0, 1 or null, and
    each column in the type that a file of such a column would have.
    """

    def __init__(self, table: Table, as_of: datetime, *, name: str = "") -> None:
        self.as_of = as_of
        self.files: tuple[FileInfo, ...] = ()
        self.table = table
        self.policy = table.policy
        self._name = name or table.policy.source
        self._agreed = agree((_as_file(self._name, table),), table.policy)

    @property
    def extent(self) -> str:
        """How much there is, in words."""
        return f"{self._ends['rows']:,} rows on {self.table.dialect.title}"

    @property
    def there(self) -> bool:
        """A frame is always there."""
        return True

    @property
    def findings(self) -> tuple[Check, ...]:
        """What is odd with the columns of the frame."""
        return self._agreed.findings

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """The columns that can be asked for, with the types in which they come home."""
        return self._agreed.columns

    def features(self) -> tuple[str, ...]:
        """Name the features: those declared, else every usable column without a role of its own."""
        return self._agreed.features

    def span(self) -> Window | None:
        """Return the stretch from the first event to just after the last one before as-of."""
        first, last = self._ends["oldest"], self._ends["newest"]
        if first is None or last is None or first >= micros(self.as_of):
            return None
        return Window(moment_of(first), moment_of(last) + TICK)

    def read(self, window: Window, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows of a window before as-of, sorted by event time, then by id or by all columns.

        Raises:
            DataError: there is no such column, the engine fails, or the rows are too many to bring here.
        """
        return self.home(self._within(window), self.wanted(columns))

    def labelled(self, window: Window, columns: Sequence[str]) -> pl.DataFrame:
        """Return the rows of a window whose label is due and there, with that label.

        Raises:
            DataError: there is no such column, the engine fails, or the rows are too many to bring here.
        """
        return self.home(self.with_labels(window), self.wanted((*columns, self.policy.label)))

    def some(self, window: Window, columns: Sequence[str], most: int, *, there: Sequence[str] = ()) -> pl.DataFrame:
        """Return all rows of a window, or about `most` of them: those whose hash is below a share of all hashes.

        With `there`, only rows whose label is due and where none of these columns is null.
        """
        nw, wanted = narwhals(), self.wanted(columns)
        rows = self._matured(window) if there else self._within(window)
        for name in there:
            rows = rows.filter(~nw.col(LABEL if name == self.policy.label else name).is_null())
        n = self._count(rows)
        if n > most:
            rows = hashed(self.table, rows, self.keys(wanted)).filter(nw.col(HASH) < most * ALL_HASHES // n)
        return self.home(rows, wanted)

    def collect(
        self, window: Window, columns: Sequence[str], shape: Callable[[pl.LazyFrame], pl.LazyFrame]
    ) -> pl.DataFrame:
        """Return what `shape` makes of the rows of a window, which are brought here for it.

        Raises:
            DataError: there is no such column, the engine fails, or the rows are too many to bring here.
        """
        return shape(self.read(window, columns).lazy()).collect(engine="streaming")

    def mature(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Keep the rows whose label is due at as-of, whether it has arrived or not."""
        return frame.filter(self._is_due_at_home())

    def describe(self, window: Window) -> DataWindow:
        """Name a window by the digest of its rows, which the same rows give on every engine."""
        clipped = self._clip(window)
        names = [n for n in self.wanted(None) if n in self.table.types]
        rows = with_label(self.table, self.table.within(clipped))
        sums = self.table.ask(rows, {"positives": count_if(narwhals().col(LABEL) == 1.0)})
        sha256, n = digest(self.table, clipped, names)
        return DataWindow(
            source=self._name,
            window=clipped,
            rows=n,
            positives=int(sums["positives"] or 0) if self.policy.label in self.table.types else None,
            sha256=sha256,
        )

    def counts(self, window: Window, profile: Profile) -> Counts:
        """Count the rows of a window into a champion's bins, there."""
        score = self.policy.score_column
        score = score if score in self.table.types else None
        return count(self.table, self.table.within(self._clip(window)), profile, score=score)

    def facts(
        self, window: Window, features: Sequence[str], *, now: datetime, profile: Profile | None = None
    ) -> DataFacts:
        """Gather what `validate` judges; a few examples of odd labels and new categories come back with the counts."""
        clipped = self._clip(window)
        asked = ask(features, self.columns, self.policy, profile)
        rows = with_label(self.table, self.table.within(clipped))
        days = by_day(self.table, rows, self._is_due())
        mature = rows.filter(self._is_due())
        row = summary(self.table, mature, asked)
        shown = examples(self.table, mature, asked, row)
        ids = repeated_ids(self.table, mature, asked.id_column) if asked.id_column else (0, 0)
        late = self._dated_after(max(now, self.as_of) + CLOCK_TOLERANCE)
        usable = {name for name, _, _ in asked.features}
        span = self.span()
        return DataFacts(
            source=self._name,
            window=clipped,
            as_of=self.as_of,
            now=now,
            rows=sum(days.rows.values()),
            mature_rows=row["rows"],
            mature_days=sum(1 for n in days.mature.values() if n),
            positives=row["positives"],
            null_labels=row["null_labels"],
            odd_labels=row["odd_labels"],
            odd_values=shown.get(ODD_LABEL, ()),
            label_type=str(self.columns[asked.label]) if asked.label in self.columns else None,
            columns=columns_of(row, asked, shown),
            missing_features=tuple(n for n in features if n not in self.columns),
            unusable_features=tuple(
                (n, str(self.columns[n])) for n in features if n in self.columns and n not in usable
            ),
            known_columns=tuple(self.columns),
            oldest=span.start if span else None,
            newest=span.end - TICK if span else None,
            missing_days=missing_days(clipped, span, self.policy.timezone, list(days.rows)),
            future_rows=late[0],
            future_newest=late[1],
            untimed_rows=self._ends["untimed"],
            first_due=None if row["rows"] else first_due(self.table, rows, self._due()),
            duplicate_ids=ids[0],
            duplicate_id_rows=ids[1],
            duplicate_share=duplicate_share(self.table, mature, asked, row["rows"]),
            findings=self.findings,
        )

    # --- which rows -----------------------------------------------------------------------------

    @cached_property
    def _ends(self) -> dict[str, Any]:
        """Return what is known of the whole frame, asked once."""
        nw, as_of = narwhals(), micros(self.as_of)
        time = nw.col(MICROS)
        asked = {
            "rows": count_if(time < as_of),
            "untimed": count_if(time.is_null()),
            "oldest": time.min(),
            "newest": nw.when(time < as_of).then(time).max(),
        }
        found = self.table.ask(self.table.rows, asked)
        return found | {name: int(found[name] or 0) for name in ("rows", "untimed")}

    def _clip(self, window: Window) -> Window:
        end = min(window.end.astimezone(UTC), self.as_of)
        return Window(min(window.start.astimezone(UTC), end), end)

    def _within(self, window: Window) -> Any:
        return self.table.within(self._clip(window))

    def _matured(self, window: Window) -> Any:
        return with_label(self.table, self._within(window)).filter(self._is_due())

    def with_labels(self, window: Window) -> Any:
        """Return the rows of a window whose label is due and there, lazily."""
        return self._matured(window).filter(~narwhals().col(LABEL).is_null())

    def _is_due(self) -> Any:
        nw = narwhals()
        if self.policy.label_selection != "mature":
            return ~nw.col(LABEL).is_null()
        return self._due() <= micros(self.as_of)

    def _due(self) -> Any:
        nw, due = narwhals(), self.policy.label_due_column
        if due is None:
            return nw.col(MICROS) + timedelta(days=self.policy.label_delay_days) // TICK
        if due not in self.table.types:
            raise DataError(f"label_due_column {due!r} is not in the frame: correct its name, or use label_delay_days")
        return nw.col(DUE)

    def _is_due_at_home(self) -> pl.Expr:
        if self.policy.label_selection != "mature":
            return pl.col(self.policy.label).is_not_null()
        if self.policy.label_due_column is not None:
            return (pl.col(self.policy.label_due_column) <= self.as_of).fill_null(value=False)
        return pl.col(TIME) <= self.as_of - timedelta(days=self.policy.label_delay_days)

    def _count(self, rows: Any) -> int:
        return int(self.table.ask(rows, {"n": narwhals().len()})["n"] or 0)

    def _dated_after(self, moment: datetime) -> tuple[int, datetime | None]:
        time = narwhals().col(MICROS)
        found = self.table.ask(self.table.rows, {"n": count_if(time > micros(moment)), "newest": time.max()})
        return (int(found["n"]), moment_of(found["newest"])) if found["n"] else (0, None)

    # --- bringing rows home -----------------------------------------------------------------------

    def wanted(self, columns: Sequence[str] | None) -> list[str]:
        """Name the columns to bring; the label's due time always comes along."""
        known = [n for n in (*self.table.types, self.policy.label, ODD_LABEL) if n != self.policy.time_column]
        if columns is None:
            columns = [n for n in (*self.features(), *sorted(reserved(self.policy))) if n in known]
        for name in columns:
            if name not in (*known, TIME):
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else "correct the name in rehone.toml"
                raise DataError(f"column {name!r} is not in the frame of data.source: {hint}")
        due = self.policy.label_due_column
        return [n for n in dict.fromkeys((*columns, *([due] if due in known else []))) if n and n != TIME]

    def keys(self, wanted: Sequence[str]) -> list[str]:
        """Name what tells rows apart: the id, or every column that is asked for."""
        own = self.policy.id_column
        return [own] if own in self.table.types and own else [n for n in wanted if n in self.table.types]

    def home(self, rows: Any, wanted: Sequence[str], *, also: Sequence[str] = ()) -> pl.DataFrame:
        """Bring rows here, with the columns `wanted` as a file would give them and those of `also` as they are.

        Raises:
            DataError: the engine fails, or the rows are too many.
        """
        n = self._count(rows)
        if n * (len(wanted) + 1) > MOST_CELLS:
            raise DataError(
                f"{n:,} rows with {len(wanted) + 1} columns would be brought to this machine, {MOST_CELLS:,} values at most: "
                "set data.max_negatives, shorten data.lookback_days or data.history_days, or lower train.holdout"
            )
        stored = [name for name in wanted if name in self.table.types]
        moments = {self.policy.label_due_column: DUE, self.policy.label_time_column: KNOWN}
        moved = [*stored, MICROS, *also, *(moments[name] for name in stored if name in moments)]
        brought = self.table.frame(rows.select(*(self._travelling(name) for name in moved)))
        found = brought.select(
            pl.col(MICROS).cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(TIME),
            *self._unified(brought, wanted),
            *also,
        )
        own = self.policy.id_column
        order = [own] if own in found.columns and own else [c for c in found.columns if c != TIME]
        return found.sort(TIME, *order, maintain_order=True)

    def _travelling(self, name: str) -> Any:
        """Bring a column in a type that every engine can hand over."""
        nw, dtype = narwhals(), self.table.types.get(name)
        if dtype is not None and dtype.is_decimal():
            return self.table.number(name).alias(name)
        return nw.col(name)

    def _unified(self, brought: pl.DataFrame, wanted: Sequence[str]) -> list[pl.Expr]:
        """Read each column as it would be read from a file."""
        made = []
        policy, schema = self.policy, brought.schema
        both = labels(policy.label, schema.get(policy.label), {})
        for name in wanted:
            if name in (policy.label, ODD_LABEL):
                made.append(both[0 if name == policy.label else 1])
            elif name in (policy.label_due_column, policy.label_time_column):
                moment = pl.col(DUE if name == policy.label_due_column else KNOWN).cast(pl.Int64)
                made.append(moment.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(name))
            else:
                made.append(unify(name, schema[name], self.columns[name], policy).alias(name))
        return made


def _as_file(name: str, table: Table) -> FileInfo:
    """Describe the frame as one file would be, so that the same rules find its features."""
    return FileInfo(
        path=name, location=Path(name), format="parquet", bytes=0, identity=(0, 0, 0), schema=dict(table.types), rows=1
    )


__all__ = ["INSTANT", "NAMED", "EngineSource", "open_engine"]

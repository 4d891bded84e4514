"""Judge the facts of a window: every finding at once, none of them twice."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rehone.config import Data
from rehone.data.facts import CLOCK_TOLERANCE, HUGE, ColumnFacts, DataFacts
from rehone.data.schema import named
from rehone.records import Check, CheckStatus, FeatureKind, FeatureProfile, Profile

OK, WARN, ACT = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT
MAX_DUPLICATE_SHARE = 0.01
"""Share of rows that repeat another in every column above which a warning is given."""


@dataclass(frozen=True, slots=True)
class _Case:
    facts: DataFacts
    policy: Data
    champion: Profile | None

    @property
    def known(self) -> dict[str, FeatureProfile]:
        return {f.feature: f for f in self.champion.features} if self.champion else {}


def validate(facts: DataFacts, policy: Data, champion: Profile | None) -> tuple[Check, ...]:
    """Return every finding on a window, those on its files first; one that acts stops the run.

    Pure: nothing is read. What was found in order is listed too, so that a record shows
    what was looked at.
    """
    case = _Case(facts, policy, champion)
    return (*facts.findings, *(check for rule in _RULES for check in rule(case)))


# rows and labels


def _row_count(case: _Case) -> Iterator[Check]:
    facts, need = case.facts, case.policy.min_rows
    have = facts.mature_rows
    detail, remedy = f"{have:,} rows in {facts.window}", ""
    if have < facts.rows:
        detail = f"{have:,} matured rows in {facts.window} ({facts.rows:,} rows in all)"
    detail += f", need at least {need:,}"
    if have < need:
        remedy = _wait_for_rows(facts, need)
    yield Check(
        name="rows",
        status=OK if have >= need else ACT,
        value=float(have),
        limit=float(need),
        n=have,
        detail=detail,
        remedy=remedy,
    )


def _wait_for_rows(facts: DataFacts, need: int) -> str:
    if not facts.rows:
        return "widen lookback_days, or look at why the feed brought nothing"
    if not facts.mature_rows:
        due = f"the first label is due on {facts.first_due:%Y-%m-%d}" if facts.first_due else "no label has a due date"
        return f"{due}: wait, widen lookback_days, or correct label_delay_days or label_due_column"
    days = math.ceil((need - facts.mature_rows) * max(facts.mature_days, 1) / facts.mature_rows)
    return f"widen lookback_days or wait {_count(days, 'day')} at the current rate"


def _label_column(case: _Case) -> Iterator[Check]:
    facts, label = case.facts, case.policy.label
    if facts.label_type is None:
        near = difflib.get_close_matches(label, facts.known_columns, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        yield Check(
            name="label",
            subject=label,
            status=ACT,
            detail=f"label {label!r} is in no file; the columns are {', '.join(facts.known_columns[:20])}",
            remedy=f"{hint}correct data.label, or add the column",
        )
    elif facts.odd_labels:
        shown = ", ".join(repr(v) for v in facts.odd_values)
        yield Check(
            name="label_values",
            subject=label,
            status=ACT,
            value=float(facts.odd_labels),
            limit=0.0,
            n=facts.mature_rows,
            detail=f"label {label!r} ({facts.label_type}) is not 0 or 1 in {facts.odd_labels:,} of {facts.mature_rows:,} matured rows, such as {shown}",
            remedy="write it as 0 and 1 or as booleans",
        )


def _label_nulls(case: _Case) -> Iterator[Check]:
    facts = case.facts
    if facts.label_type is None or not facts.mature_rows:
        return
    rows = "1 matured row has" if facts.null_labels == 1 else f"{facts.null_labels:,} matured rows have"
    detail = (
        f"{rows} no label, of {facts.mature_rows:,}; 0 are allowed"
        if facts.null_labels
        else "every matured row has a label"
    )
    yield Check(
        name="label_nulls",
        subject=case.policy.label,
        status=ACT if facts.null_labels else OK,
        value=float(facts.null_labels),
        limit=0.0,
        n=facts.mature_rows,
        detail=detail,
        remedy="raise label_delay_days until labels have arrived, or fill them in" if facts.null_labels else "",
    )


def _label_rate(case: _Case) -> Iterator[Check]:
    facts = case.facts
    labelled = facts.mature_rows - facts.null_labels - facts.odd_labels
    if facts.label_type is None or labelled <= 0:
        return
    if facts.positives in (0, labelled):
        yield _one_class(case, labelled)
        return
    low, high, why = _rate_bounds(case)
    rate = facts.positives / labelled
    inside = low <= rate <= high
    yield Check(
        name="label_rate",
        subject=case.policy.label,
        status=OK if inside else ACT,
        value=rate,
        limit=low if rate < low else high,
        baseline=case.champion.label_rate if case.champion else None,
        n=labelled,
        positives=facts.positives,
        detail=f"{_percent(rate)} of {labelled:,} labels are positive, must be {_percent(low)} to {_percent(high)}{why}",
        remedy=""
        if inside
        else "look for a fault of the labels; if the rate is right, change min_label_rate, max_label_rate or max_label_rate_ratio",
    )


def _one_class(case: _Case, labelled: int) -> Check:
    value = 1 if case.facts.positives else 0
    return Check(
        name="label_classes",
        subject=case.policy.label,
        status=ACT,
        value=1.0,
        limit=2.0,
        n=labelled,
        positives=case.facts.positives,
        detail=f"all {labelled:,} labels in {case.facts.window} are {value}: 1 class, need 2",
        remedy="widen lookback_days, or look for a fault of the labels",
    )


def _rate_bounds(case: _Case) -> tuple[float, float, str]:
    ratio = case.policy.max_label_rate_ratio
    base = case.champion.label_rate if case.champion else None
    if ratio is None or not base:
        return case.policy.min_label_rate, case.policy.max_label_rate, ""
    return base / ratio, min(1.0, base * ratio), f" (the champion's {_percent(base)} by a factor of {ratio:g})"


# features


def _features_there(case: _Case) -> Iterator[Check]:
    needed = dict.fromkeys(case.facts.missing_features, "data.features")
    for name in case.known:
        if name not in case.facts.known_columns:
            needed.setdefault(name, "the champion's features")
    for name, where in needed.items():
        near = difflib.get_close_matches(name, case.facts.known_columns, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        yield Check(
            name="feature_missing",
            subject=name,
            status=ACT,
            detail=f"feature {name!r} is in no file, but among {where}",
            remedy=f"{hint}add the column" + (", or take it out of data.features" if where == "data.features" else ""),
        )
    for name, dtype in case.facts.unusable_features:
        yield Check(
            name="feature_type",
            subject=name,
            status=ACT,
            detail=f"feature {name!r} is {dtype}; a feature is numeric, boolean or text",
            remedy="write it as one of these, or take it out of data.features",
        )
    if not case.facts.columns:
        yield Check(
            name="features",
            status=ACT,
            value=0.0,
            limit=1.0,
            detail="0 columns can be used as features, need at least 1",
            remedy="list data.features, or look at data.exclude",
        )


def _feature_kinds(case: _Case) -> Iterator[Check]:
    for column in case.facts.columns:
        known = case.known.get(column.name)
        if known is None or known.kind is column.kind or column.empty:
            continue
        yield Check(
            name="feature_type",
            subject=column.name,
            status=ACT,
            detail=f"feature {column.name!r} is {column.kind} ({column.dtype}) now, but {known.kind} in the champion",
            remedy=_as_kind(column, known.kind),
        )


def _as_kind(column: ColumnFacts, kind: FeatureKind) -> str:
    if kind is FeatureKind.CATEGORICAL:
        return f"write it as text again, or name {column.name!r} in data.categorical"
    return f"write it as {kind} again, or rename it if it means something else now"


def _lifeless(case: _Case) -> Iterator[Check]:
    columns = [c for c in case.facts.columns if c.rows]
    dead = [c for c in columns if c.empty or c.constant]
    every = bool(dead) and len(dead) == len(columns)
    for column in dead:
        what = "has no value" if column.empty else "is the same"
        new = _newly_lifeless(column, case.known.get(column.name))
        since = ", and varied in the champion's data" if new else ""
        yield Check(
            name="no_values" if column.empty else "constant",
            subject=column.name,
            status=ACT if every or new else WARN,
            value=float(column.missing if column.empty else column.rows - column.missing),
            n=column.rows,
            detail=f"feature {column.name!r} {what} in all {column.rows:,} matured rows{since}{'' if new else ': it carries nothing'}",
            remedy="repair the feed" if new else "name it in data.exclude",
        )


def _newly_lifeless(column: ColumnFacts, known: FeatureProfile | None) -> bool:
    if known is None:
        return False
    there = [*known.counts, known.pooled]
    if column.empty:
        return sum(there) + known.infinite > 0
    return sum(1 for count in there if count) > 1


def _nulls(case: _Case) -> Iterator[Check]:
    jump, much = case.policy.max_null_jump, case.policy.warn_null_rate
    for column in case.facts.columns:
        known = case.known.get(column.name)
        share = column.missing_share
        before = known.missing / known.n if known is not None and known.n else None
        if before is not None and share - before > jump:
            yield Check(
                name="null_jump",
                subject=column.name,
                status=ACT,
                value=share,
                limit=before + jump,
                baseline=before,
                n=column.rows,
                detail=f"{_percent(share)} of {column.name!r} is null, {_percent(before)} in the champion's data: the rise may be at most {_percent(jump)}",
                remedy="repair the feed, or raise max_null_jump if nulls are right now",
            )
        elif share > much and not column.empty:
            yield Check(
                name="null_rate",
                subject=column.name,
                status=WARN,
                value=share,
                limit=much,
                baseline=before,
                n=column.rows,
                detail=f"{_percent(share)} of {column.name!r} is null, above {_percent(much)}: nulls are imputed",
                remedy="look at the feed, or raise warn_null_rate",
            )


def _wild_numbers(case: _Case) -> Iterator[Check]:
    for column in case.facts.columns:
        wild = (
            ("infinite", column.infinite, "infinite, and read as missing"),
            ("huge", column.huge, f"beyond {HUGE:g} in size, and clipped"),
        )
        for name, count, what in wild:
            if count:
                yield Check(
                    name=name,
                    subject=column.name,
                    status=WARN,
                    value=float(count),
                    limit=0.0,
                    n=column.rows,
                    detail=f"{count:,} of {column.rows:,} values of {column.name!r} are {what}; 0 are expected",
                    remedy="look for a division by zero or a wrong unit in the feed",
                )


def _new_categories(case: _Case) -> Iterator[Check]:
    for column in case.facts.columns:
        if column.unseen:
            shown = ", ".join(repr(v) for v in column.unseen_values)
            yield Check(
                name="new_category",
                subject=column.name,
                status=WARN,
                value=column.unseen / column.rows,
                limit=0.0,
                n=column.rows,
                detail=f"{column.unseen:,} of {column.rows:,} values of {column.name!r} are new to the champion (0 are expected), such as {shown}",
                remedy="nothing if the world has changed, a challenger learns them; else repair the feed",
            )


# times


def _clock(case: _Case) -> Iterator[Check]:
    facts = case.facts
    latest = max(facts.now, facts.as_of)
    if not facts.future_rows:
        yield Check(name="future", status=OK, value=0.0, limit=0.0, detail="no row is dated in the future")
        return
    newest = f" (newest {_moment(facts.future_newest)})" if facts.future_newest else ""
    minutes = CLOCK_TOLERANCE // timedelta(minutes=1)
    yield Check(
        name="future",
        status=ACT,
        value=float(facts.future_rows),
        limit=0.0,
        n=facts.future_rows,
        detail=f"{_count(facts.future_rows, 'row')} dated in the future{newest}: later than {_moment(latest)} by more than {minutes} minutes; 0 are allowed",
        remedy="correct their times, this machine's clock, or data.timezone",
    )


def _own_date(case: _Case) -> Iterator[Check]:
    """Rows after their file's day; when most files are so, names say when a file begins."""
    facts = case.facts
    if facts.misdated and 2 * len(facts.misdated) <= facts.dated_files:
        path, newest = facts.misdated[0]
        yield Check(
            name="file_date",
            subject=path,
            status=ACT,
            value=float(len(facts.misdated)),
            limit=0.0,
            n=facts.dated_files,
            detail=f"rows are later than their file's own date by more than 1 day in {named([p for p, _ in facts.misdated])} (newest {_moment(newest)} in {path})",
            remedy="correct the times, or the name of the file",
        )


def _event_times(case: _Case) -> Iterator[Check]:
    count = case.facts.untimed_rows
    if count:
        yield Check(
            name="event_time",
            subject=case.policy.time_column,
            status=ACT,
            value=float(count),
            limit=0.0,
            detail=f"{_count(count, 'row')} without a readable event time in {case.policy.time_column!r}; 0 are allowed",
            remedy="write timestamps, dates or ISO text such as 2026-08-31T10:00:00+02:00",
        )


def _freshness(case: _Case) -> Iterator[Check]:
    limit, newest = case.policy.stale_after_days, case.facts.newest
    if limit is None or newest is None:
        return
    age = (case.facts.as_of - newest) / timedelta(days=1)
    stale = age > limit
    yield Check(
        name="stale",
        status=ACT if stale else OK,
        value=age,
        limit=limit,
        detail=f"the newest row ({_moment(newest)}) is {age:.1f} days older than {_moment(case.facts.as_of)}, may be at most {limit:g}",
        remedy="look at why the feed stopped, or raise stale_after_days" if stale else "",
    )


def _missing_days(case: _Case) -> Iterator[Check]:
    days, limit = case.facts.missing_days, case.policy.max_missing_days
    allowed = limit or 0
    text = [f"{day:%Y-%m-%d}" for day in days]
    listed = ", ".join(text[:5]) + (f" and {len(text) - 5} more" if len(text) > 5 else "")
    status = OK if not days else ACT if limit is not None and len(days) > limit else WARN
    yield Check(
        name="missing_days",
        status=status,
        value=float(len(days)),
        limit=float(allowed),
        detail=f"{_count(len(days), 'day')} without any row in {case.facts.window}, {allowed} expected at most"
        + (f" ({listed})" if days else ""),
        remedy="deliver the missing days, or set max_missing_days" if days else "",
    )


# copies


def _duplicates(case: _Case) -> Iterator[Check]:
    facts = case.facts
    if case.policy.id_column is not None and facts.duplicate_ids:
        yield Check(
            name="duplicate_ids",
            subject=case.policy.id_column,
            status=ACT,
            value=float(facts.duplicate_ids),
            limit=0.0,
            n=facts.mature_rows,
            detail=f"{_count(facts.duplicate_ids, 'id')} in {case.policy.id_column!r} more than once ({facts.duplicate_id_rows:,} of {facts.mature_rows:,} rows); 0 are allowed",
            remedy="keep one row for each id, or take id_column out if it is not unique",
        )
    share = facts.duplicate_share
    if share is not None:
        many = share > MAX_DUPLICATE_SHARE
        yield Check(
            name="duplicate_rows",
            status=WARN if many else OK,
            value=share,
            limit=MAX_DUPLICATE_SHARE,
            n=facts.mature_rows,
            detail=f"{_percent(share)} of {facts.mature_rows:,} matured rows repeat another one in every column, {_percent(MAX_DUPLICATE_SHARE)} at most is usual",
            remedy="look for a file that was delivered twice" if many else "",
        )


_RULES = (
    _row_count,
    _label_column,
    _label_nulls,
    _label_rate,
    _features_there,
    _feature_kinds,
    _lifeless,
    _nulls,
    _wild_numbers,
    _new_categories,
    _event_times,
    _clock,
    _own_date,
    _freshness,
    _missing_days,
    _duplicates,
)


def _percent(share: float) -> str:
    return f"{share:.4g}" if 0 < share < 0.0001 else f"{100 * share:.4g} %"


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"

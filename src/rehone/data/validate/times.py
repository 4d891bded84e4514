"""Judge when rows happened, which days are missing, and which rows came twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rehone.config import Data
from rehone.data.facts import CLOCK_TOLERANCE
from rehone.data.schema import named
from rehone.data.validate.case import ACT, OK, WARN, Case, at, counted, percent
from rehone.records import Check

MAX_DUPLICATE_SHARE = 0.01
"""Share of rows that repeat another in every column above which a warning is given."""


def _clock(case: Case) -> Iterator[Check]:
    facts = case.facts
    latest = max(facts.now, facts.as_of)
    if not facts.future_rows:
        yield Check(name="future", status=OK, value=0.0, limit=0.0, detail="no row is dated in the future")
        return
    newest = f" (newest {at(facts.future_newest)})" if facts.future_newest else ""
    minutes = CLOCK_TOLERANCE // timedelta(minutes=1)
    yield Check(
        name="future",
        status=ACT,
        value=float(facts.future_rows),
        limit=0.0,
        n=facts.future_rows,
        detail=f"{counted(facts.future_rows, 'row')} dated in the future{newest}: later than {at(latest)} by more than {minutes} minutes; 0 are allowed",
        remedy="correct their times, this machine's clock, or data.timezone",
    )


def _own_date(case: Case) -> Iterator[Check]:
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
            detail=f"rows are later than their file's own date by more than 1 day in {named([p for p, _ in facts.misdated])} (newest {at(newest)} in {path})",
            remedy="correct the times, or the name of the file",
        )


def _event_times(case: Case) -> Iterator[Check]:
    count = case.facts.untimed_rows
    if count:
        yield Check(
            name="event_time",
            subject=case.policy.time_column,
            status=ACT,
            value=float(count),
            limit=0.0,
            detail=f"{counted(count, 'row')} without a readable event time in {case.policy.time_column!r}; 0 are allowed",
            remedy="write timestamps, dates or ISO text such as 2026-08-31T10:00:00+02:00",
        )


def freshness(newest: datetime | None, as_of: datetime, policy: Data) -> Check | None:
    """Say whether the newest row is too old; `None` when there is nothing to say it by."""
    limit = policy.stale_after_days
    if limit is None or newest is None:
        return None
    age = (as_of - newest) / timedelta(days=1)
    stale = age > limit
    return Check(
        name="stale",
        status=ACT if stale else OK,
        value=age,
        limit=limit,
        detail=f"the newest row ({at(newest)}) is {age:.1f} days older than {at(as_of)}, may be at most {limit:g}",
        remedy="look at why the feed stopped, or raise stale_after_days" if stale else "",
    )


def _freshness(case: Case) -> Iterator[Check]:
    found = freshness(case.facts.newest, case.facts.as_of, case.policy)
    if found is not None:
        yield found


def _missing_days(case: Case) -> Iterator[Check]:
    days, limit = case.facts.missing_days, case.policy.max_missing_days
    allowed = limit or 0
    text = [f"{day:%Y-%m-%d}" for day in days]
    listed = ", ".join(text[:5]) + (f" and {len(text) - 5} more" if len(text) > 5 else "")
    status = OK if not days else ACT if limit is not None and len(days) > limit else WARN
    said = f"{counted(len(days), 'day')} without any row in {case.facts.window} ({listed}), {allowed} allowed"
    yield Check(
        name="missing_days",
        status=status,
        value=float(len(days)),
        limit=float(allowed),
        detail=said if days else f"every day in {case.facts.window} has rows",
        remedy="deliver the missing days, or set max_missing_days" if days else "",
    )


def _duplicates(case: Case) -> Iterator[Check]:
    facts = case.facts
    if case.policy.id_column is not None and facts.duplicate_ids:
        yield Check(
            name="duplicate_ids",
            subject=case.policy.id_column,
            status=ACT,
            value=float(facts.duplicate_ids),
            limit=0.0,
            n=facts.mature_rows,
            detail=f"{counted(facts.duplicate_ids, 'id')} of {case.policy.id_column!r} found more than once ({facts.duplicate_id_rows:,} of {facts.mature_rows:,} rows); 0 are allowed",
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
            detail=f"{percent(share)} of {facts.mature_rows:,} matured rows repeat another one in every column, {percent(MAX_DUPLICATE_SHARE)} at most is usual",
            remedy="look for a file that was delivered twice" if many else "",
        )


RULES = (_event_times, _clock, _own_date, _freshness, _missing_days, _duplicates)

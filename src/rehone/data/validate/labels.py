"""Judge how many rows there are and what their labels say."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator

from rehone.data.facts import DataFacts
from rehone.data.schema import named
from rehone.data.validate.case import ACT, OK, Case, counted, percent
from rehone.records import Check


def _row_count(case: Case) -> Iterator[Check]:
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
    return f"widen lookback_days or wait {counted(days, 'day')} at the current rate"


def _label_column(case: Case) -> Iterator[Check]:
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


def _label_nulls(case: Case) -> Iterator[Check]:
    facts = case.facts
    if facts.label_type is None or not facts.mature_rows:
        return
    rows = "1 matured row has" if facts.null_labels == 1 else f"{facts.null_labels:,} matured rows have"
    allowed = _allowed(case)
    detail = (
        f"{rows} no label, of {facts.mature_rows:,}; {allowed:,} are allowed"
        if facts.null_labels
        else "every matured row has a label"
    )
    remedy = "raise label_delay_days until labels have arrived, or fill them in"
    if case.policy.label_time_column is not None:
        remedy = (
            f"set label_completeness = 0.95, so that the delay is learned from {case.policy.label_time_column!r}, or "
            "raise label_delay_days until labels have arrived"
        )
    if case.policy.label_completeness is not None:
        remedy = (
            "wait until the delay of labels is known (`rehone check` shows it), or raise label_delay_days until then"
        )
    if facts.null_labels and facts.unlabelled_files:
        detail += f"; there is no column {case.policy.label!r} in {named(facts.unlabelled_files)}"
        remedy = "write those files again with the column, or raise label_delay_days until labels have arrived"
    yield Check(
        name="label_nulls",
        subject=case.policy.label,
        status=ACT if facts.null_labels > allowed else OK,
        value=float(facts.null_labels),
        limit=float(allowed),
        n=facts.mature_rows,
        detail=detail,
        remedy=remedy if facts.null_labels > allowed else "",
    )


def _allowed(case: Case) -> int:
    """Return how many matured rows may be without a label: those that the wanted completeness leaves out."""
    wanted = case.policy.label_completeness
    return 0 if wanted is None else math.floor(round((1 - wanted) * case.facts.mature_rows, 6))


def _label_rate(case: Case) -> Iterator[Check]:
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
        detail=f"{percent(rate)} of {labelled:,} labels are positive, must be {percent(low)} to {percent(high)}{why}",
        remedy=""
        if inside
        else "look for a fault of the labels; if the rate is right, change min_label_rate, max_label_rate or max_label_rate_ratio",
    )


def _one_class(case: Case, labelled: int) -> Check:
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


def _rate_bounds(case: Case) -> tuple[float, float, str]:
    ratio = case.policy.max_label_rate_ratio
    base = case.champion.label_rate if case.champion else None
    if ratio is None or not base:
        return case.policy.min_label_rate, case.policy.max_label_rate, ""
    return base / ratio, min(1.0, base * ratio), f" (the champion's {percent(base)} by a factor of {ratio:g})"


RULES = (_row_count, _label_column, _label_nulls, _label_rate)

"""Judge what is estimated before labels are due: it acts early, but only where nothing speaks against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rehone.config import Trigger
from rehone.records import Check, CheckStatus, Estimate, Estimated, Evidence, HeldEstimate, Shift, ShiftKind
from rehone.trigger.performance import measured

OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN


_BLIND = {
    ShiftKind.CONCEPT: "the same inputs mean something else",
    ShiftKind.OFF_SUPPORT: "inputs are unlike any that scores were learned on",
}
"""Shifts under which what a score was worth says nothing of what it is worth."""


def estimate_checks(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    """Judge estimated recall and cost, whether both estimators agree, and what became of an earlier estimate.

    An estimate acts when its whole interval is beyond the limit, and that of the other estimator too
    where the two contradict each other, and when the newest estimate that could be held against
    labels was not refuted by them.
    """
    found = evidence.estimated
    if evidence.champion is None:
        return
    if found is None or found.recall is None:
        yield from _unknown(found, policy)
    else:
        yield _judged(_recall(found, policy.min_estimated_recall), evidence.held)
        if found.cost_per_1000 is not None:
            yield _judged(_cost(found, found.cost_per_1000, policy.max_estimated_cost_per_1000), evidence.held)
        if found.disagree:
            yield _disagreement(found, found.recall)
        if evidence.shift is not None and evidence.shift.kind in _BLIND:
            yield _blind(found.recall, evidence.shift)
    if evidence.held is not None:
        yield _held(evidence.held)


def _unknown(found: Estimated | None, policy: Trigger) -> Iterator[Check]:
    """Say what is not known, where a limit asks for it."""
    why = found.detail if found is not None else "it was not estimated"
    limits = {
        "estimated_recall": policy.min_estimated_recall,
        "estimated_cost_per_1000": policy.max_estimated_cost_per_1000,
    }
    for name, limit in limits.items():
        if limit is not None:
            said = f"{name.replace('_', ' ')} (limit {limit:g}) is not known: {why}"
            yield Check(name=name, status=UNKNOWN, limit=limit, detail=said)


@dataclass(frozen=True)
class _Case:
    """An estimate beside its limit: whether it is beyond, wholly beyond, and what the other estimator says."""

    check: Check
    beyond: bool
    wholly: bool
    contradicted: bool


def _recall(found: Estimated, limit: float | None) -> _Case:
    own, other = found.recall, found.other_recall
    if own is None:
        raise ValueError("the recall was not estimated")
    said = f"recall is estimated at {own.value:.3f} [{own.low:.3f}, {own.high:.3f}] on {_rows(found)}"
    check = replace(measured("estimated_recall", own, limit), detail=said)
    if limit is None:
        return _Case(check, beyond=False, wholly=False, contradicted=False)
    contradicted = found.disagree and not (other is not None and other.high < limit)
    return _Case(check, beyond=own.value < limit, wholly=own.high < limit, contradicted=contradicted)


def _cost(found: Estimated, own: Estimate, limit: float | None) -> _Case:
    other = found.other_cost_per_1000
    said = f"cost per 1,000 is estimated at {own.value:,.4g} [{own.low:,.4g}, {own.high:,.4g}] on {_rows(found)}"
    check = replace(measured("estimated_cost_per_1000", own, limit), detail=said)
    if limit is None:
        return _Case(check, beyond=False, wholly=False, contradicted=False)
    contradicted = found.disagree and not (other is not None and other.low > limit)
    return _Case(check, beyond=own.value > limit, wholly=own.low > limit, contradicted=contradicted)


def _rows(found: Estimated) -> str:
    return f"{found.n:,} rows whose labels need not be due ({found.detail})"


def _judged(case: _Case, held: HeldEstimate | None) -> Check:
    check, limit = case.check, case.check.limit
    if limit is None:
        return replace(check, detail=f"{check.detail}; no limit is set for it")
    if not case.beyond:
        return replace(check, detail=f"{check.detail}, limit {limit:g}")
    if not case.wholly:
        return replace(check, status=WARN, detail=f"{check.detail}, beyond {limit:g} but perhaps by chance")
    said = f"{check.detail}, all of it beyond {limit:g}"
    if case.contradicted:
        return replace(check, status=WARN, detail=f"{said}, but the other estimator is not", remedy="wait for labels")
    if held is not None and held.covered is False:
        return replace(
            check, status=WARN, detail=f"{said}, but labels refuted the last estimate", remedy="wait for labels"
        )
    return replace(check, status=ACT, detail=said)


def _disagreement(found: Estimated, own: Estimate) -> Check:
    other = found.other_recall
    plain, corrected = (other, own) if found.basis == "label_shift" else (own, other)
    values = (f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" if e else "unknown" for e in (plain, corrected))
    return Check(
        name="estimators",
        status=WARN,
        value=own.value,
        baseline=other.value if other else None,
        n=found.n,
        detail=(
            "two estimates of recall contradict each other: {} if a score is worth what it was, {} if only the share of "
            "positives has changed; scores alone cannot tell which"
        ).format(*values),
        remedy="label a few hundred recent rows, or wait for labels",
    )


def _blind(own: Estimate, shift: Shift) -> Check:
    """Warn that an estimate cannot be relied on, even where it says that all is well."""
    said = f"recall is estimated at {own.value:.3f}, but {_BLIND[shift.kind]}, which no estimate without labels can see"
    return Check(name="estimators", status=WARN, value=own.value, n=own.n, detail=said, remedy="go by labels alone")


def _held(held: HeldEstimate) -> Check:
    own, came = held.estimated, held.measured
    said = f"run {held.run_id} estimated a recall of {own.value:.3f} [{own.low:.3f}, {own.high:.3f}] for {held.window}"
    check = Check(name="estimate_held", status=UNKNOWN, baseline=own.value, interval=(own.low, own.high))
    if came is None:
        return replace(check, detail=f"{said}; what came is not known: {held.detail}")
    check = replace(check, value=came.value, n=came.n, positives=came.positives)
    came_to = f"{said}; labels say {came.value:.3f} on {came.positives} positives"
    if held.covered:
        return replace(check, status=OK, detail=f"{came_to}, within it")
    remedy = "do not rely on estimates until labels agree again: the same inputs may mean something else now"
    return replace(check, status=WARN, detail=f"{came_to}, outside of it", remedy=remedy)

"""Judge recall and cost of matured labels: a limit is crossed when the whole interval is beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rehone.config import Trigger
from rehone.records import Check, CheckStatus, Estimate, Evidence
from rehone.trigger.words import unmeasured

OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN


def performance_checks(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    """Judge recall against its floor and cost per 1,000 rows against its ceiling, where they have one."""
    why = evidence.performance_unknown or unmeasured("it", evidence)
    if policy.min_recall is not None:
        yield _floor("recall", evidence.recall, policy.min_recall, why)
    if policy.max_cost_per_1000 is not None:
        yield _ceiling("cost_per_1000", evidence.cost_per_1000, policy.max_cost_per_1000, why)


def _floor(name: str, found: Estimate | None, limit: float, why: str) -> Check:
    if found is None:
        return Check(name=name, status=UNKNOWN, limit=limit, detail=f"{name} (limit {limit:g}) is not known: {why}")
    said = f"recall is {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] on {found.positives} matured positives"
    check = measured(name, found, limit)
    if found.high < limit:
        return replace(check, status=ACT, detail=f"{said}, all of it below {limit:g}")
    if found.value < limit:
        return replace(check, status=WARN, detail=f"{said}, below {limit:g} but perhaps by chance")
    return replace(check, detail=f"{said}, limit {limit:g}")


def _ceiling(name: str, found: Estimate | None, limit: float, why: str) -> Check:
    if found is None:
        return Check(
            name=name, status=UNKNOWN, limit=limit, detail=f"cost per 1,000 (limit {limit:g}) is not known: {why}"
        )
    said = f"cost per 1,000 is {found.value:,.4g} [{found.low:,.4g}, {found.high:,.4g}] on {found.n:,} matured rows"
    check = measured(name, found, limit)
    if found.low > limit:
        return replace(check, status=ACT, detail=f"{said}, all of it above {limit:g}")
    if found.value > limit:
        return replace(check, status=WARN, detail=f"{said}, above {limit:g} but perhaps by chance")
    return replace(check, detail=f"{said}, limit {limit:g}")


def measured(name: str, found: Estimate, limit: float | None) -> Check:
    """Return a passed check with what was found."""
    return Check(
        name=name,
        status=OK,
        value=found.value,
        limit=limit,
        interval=(found.low, found.high),
        n=found.n,
        positives=found.positives,
    )

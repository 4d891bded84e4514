"""Judge features by PSI and scores by KS: beyond a limit, and not by chance.

What chance does follows from the false alarms a year that are accepted, shared by all that is
tested on one day. A PSI acts from the larger of two limits: the configured one, which says what
is large, and the one that chance alone reaches as often as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rehone.compare import benjamini_hochberg
from rehone.config import Trigger
from rehone.drift import chance_ks, chance_psi
from rehone.records import Check, CheckStatus, Evidence, FeatureDrift
from rehone.trigger.words import p_value, unmeasured

OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN

_BROKEN_CLOCK = ("missing", "infinite", "missing, infinite")
"""Incidents that count even for a clock, whose values are new and constant by nature."""

_THUMB = "rule of thumb 0.10, 0.25"

_NOISE_SHARE = 0.5
"""Share of the PSI limit that noise alone may reach before a quiet PSI means nothing."""


@dataclass(frozen=True, slots=True)
class _Test:
    """What a p-value must pass: adjusted for all tests of the day, and the level that is this one's own."""

    adjusted: float
    level: float


def drift_checks(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    """Judge every feature and the scores at one level, so that all of them share one budget of false alarms."""
    family = {d.feature: d.p_value for d in evidence.drift if _why_ignored(d, policy) is None and d.p_value is not None}
    scores = evidence.scores
    tested = [*family.values(), *([scores.p_value] if scores is not None and scores.p_value is not None else [])]
    tests = _tests(tested, alpha(policy))
    test_of = dict(zip(family, tests, strict=False))
    for drift in sorted(evidence.drift, key=_worst_first):
        yield _psi(drift, test_of.get(drift.feature), policy)
    if not evidence.drift:
        yield Check(
            name="psi",
            status=UNKNOWN,
            limit=policy.psi_action,
            detail=unmeasured("the drift of features", evidence),
        )
    yield _score_ks(evidence, tests[-1] if len(tests) > len(family) else None, policy)


def alpha(policy: Trigger) -> float:
    """Return the probability of a false alarm that one check of the day may have."""
    return min(policy.false_alarms_per_year / policy.checks_per_year, 1.0)


def _tests(p_values: Sequence[float], level: float) -> list[_Test]:
    """Adjust p-values after Benjamini and Hochberg, and say what each would have had to be, the others as they are."""
    if not p_values:
        return []
    ordered, steps = np.sort(p_values), level * np.arange(1, len(p_values) + 1) / len(p_values)
    tests = []
    for p, adjusted in zip(p_values, benjamini_hochberg(p_values), strict=True):
        others = np.delete(ordered, np.searchsorted(ordered, p))
        passed = np.flatnonzero(others <= steps[1:])
        tests.append(_Test(adjusted, float(steps[passed[-1] + 1 if passed.size else 0])))
    return tests


def incident_checks(evidence: Evidence, checks: Sequence[Check]) -> Iterator[Check]:
    """Return each PSI that acts because the feed is broken, as what blocks training."""
    broken = {d.feature for d in evidence.drift if d.incident is not None}
    for check in checks:
        if check.name == "psi" and check.status is ACT and check.subject in broken:
            yield replace(
                check,
                name="incident",
                remedy=f"repair the feed; if the change is real, list {check.subject!r} in trigger.ignore until the next version is live",
            )


def _worst_first(drift: FeatureDrift) -> tuple[float, str]:
    return (-drift.psi if drift.psi is not None else 1.0, drift.feature)


def _why_ignored(drift: FeatureDrift, policy: Trigger) -> str | None:
    if drift.feature in policy.ignore:
        return "ignored: listed in trigger.ignore"
    if drift.ignored and drift.incident not in _BROKEN_CLOCK:
        return f"ignored: {drift.ignored}"
    return None


def _psi(drift: FeatureDrift, test: _Test | None, policy: Trigger) -> Check:
    chance = chance_psi(drift, test.level) if test is not None else None
    limit = max((x for x in (policy.psi_action, chance) if x is not None), default=None)
    check = Check(
        name="psi",
        subject=drift.feature,
        status=UNKNOWN,
        value=drift.psi,
        limit=limit,
        p_value=test.adjusted if test is not None else None,
        n=drift.n_current,
    )
    if drift.psi is None:
        known = f" (limit {limit:g})" if limit is not None else ""
        return replace(check, detail=f"PSI of {drift.feature}{known} is not known: {drift.detail}")
    said = f"PSI of {drift.feature} is {drift.psi:.3g}"
    ignored = _why_ignored(drift, policy)
    if ignored is not None:
        return replace(check, status=OK, detail=f"{said}, {ignored}")
    beside = _beside(drift, chance, policy)
    if drift.psi >= (policy.psi_action or 0.0) and test is not None and test.adjusted < alpha(policy):
        cause = f"a data incident ({drift.incident}): {drift.detail}" if drift.incident else drift.detail
        reached = f"{said}, at or above {_figure(limit)} ({p_value(test.adjusted)}{_instead(chance, limit, policy)})"
        return replace(check, status=ACT, detail=f"{reached}, {cause}")
    if policy.psi_action is not None and drift.noise is not None and drift.noise > _NOISE_SHARE * policy.psi_action:
        return replace(
            check,
            detail=f"{said}, but {drift.n_current} rows against {drift.n_reference} give {drift.noise:.2g} without any drift, too near the limit of {policy.psi_action:g} to tell",
            remedy="widen trigger.window_days",
        )
    return _quiet_psi(check, said, drift, beside, policy)


def _quiet_psi(check: Check, said: str, drift: FeatureDrift, beside: str, policy: Trigger) -> Check:
    psi, known = drift.psi or 0.0, f"{drift.detail}{beside}"
    if policy.psi_action is not None and psi >= policy.psi_action:
        chance = f"but chance gives as much ({p_value(check.p_value)}, must be below {alpha(policy):.2g})"
        return replace(check, status=WARN, detail=f"{said}, at or above {policy.psi_action:g}, {chance}{beside}")
    below = f"below {_figure(check.limit)}" if check.limit is not None else "and cannot act"
    if psi >= policy.psi_warn:
        where = f" ({drift.incident})" if drift.incident else ""
        detail = f"{said}{where}, at or above the warning level {policy.psi_warn:g}, {below}: {known}"
        return replace(check, status=WARN, detail=detail)
    return replace(check, status=OK, detail=f"{said}, {below}: {known}")


def _beside(drift: FeatureDrift, chance: float | None, policy: Trigger) -> str:
    """Say what chance alone reaches, how that is known, and the rule of thumb."""
    if chance is None:
        return ""
    basis = f"by {drift.history.days} days of the reference" if drift.history is not None else "by theory"
    reaches = f"chance alone reaches {chance:.2g} {_often(policy)} on {drift.n_current:,} rows, {basis}"
    return f"; {reaches}; {_THUMB}"


def _instead(chance: float | None, limit: float | None, policy: Trigger) -> str:
    """Say what else could have been the limit: chance where it is lower, or the rule of thumb."""
    if chance is None or limit is None:
        return ""
    return (
        f"; chance alone: {chance:.2g} {_often(policy)}"
        if limit > chance
        else f", what chance reaches {_often(policy)}; {_THUMB}"
    )


def _often(policy: Trigger) -> str:
    a_year = policy.false_alarms_per_year
    if a_year == 1:
        return "once a year"
    return f"{a_year:g} times a year" if a_year > 1 else f"once in {1 / a_year:.3g} years"


def _figure(limit: float | None) -> str:
    return f"{limit or 0.0:.3g}"


def _score_ks(evidence: Evidence, test: _Test | None, policy: Trigger) -> Check:
    scores, limit = evidence.scores, policy.ks_action
    if scores is None or scores.ks is None:
        why = scores.detail if scores is not None else unmeasured("it", evidence)
        return Check(
            name="score_ks",
            status=UNKNOWN,
            limit=limit,
            n=scores.n_current if scores is not None else None,
            detail=f"the drift of scores (KS limit {limit:g}) is not known: {why}",
        )
    said = f"KS distance of scores is {scores.ks:.3g}"
    p = test.adjusted if test is not None else None
    chance = chance_ks(scores, test.level) if test is not None else None
    limit = max(limit, chance or 0.0)
    check = Check(name="score_ks", status=OK, value=scores.ks, limit=limit, p_value=p, n=scores.n_current)
    reaches = f"chance alone reaches {chance:.2g} {_often(policy)}" if chance is not None else ""
    if scores.ks < policy.ks_action:
        return replace(check, detail=f"{said}, below {_figure(limit)}" + (f"; {reaches}" if reaches else ""))
    if p is not None and p < alpha(policy):
        detail = f"{said}, at or above {_figure(limit)} ({p_value(p)}): {scores.detail}"
        return replace(check, status=ACT, detail=detail)
    gives = f"chance gives as much ({p_value(p)}, must be below {alpha(policy):.2g})"
    return replace(
        check,
        status=UNKNOWN,
        detail=f"{said}, at or above {policy.ks_action:g}, but on {scores.n_current} rows {gives}",
        remedy="widen trigger.window_days",
    )

"""Judge features by PSI and scores by KS: beyond a limit, and not by chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rehone.compare import benjamini_hochberg
from rehone.config import Trigger
from rehone.records import Check, CheckStatus, Evidence, FeatureDrift
from rehone.trigger.words import p_value, unmeasured

OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN

_BROKEN_CLOCK = ("missing", "infinite", "missing, infinite")
"""Incidents that count even for a clock, whose values are new and constant by nature."""

_NOISE_SHARE = 0.5
"""Share of the PSI limit that noise alone may reach before a quiet PSI means nothing."""


def drift_checks(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    """Judge every feature and the scores at one level, so that all of them share one budget of false alarms."""
    alpha = min(policy.false_alarms_per_year / policy.checks_per_year, 1.0)
    family = [d for d in evidence.drift if _why_ignored(d, policy) is None and d.p_value is not None]
    scores = evidence.scores
    tested = [d.p_value for d in family if d.p_value is not None]
    if scores is not None and scores.p_value is not None:
        tested.append(scores.p_value)
    adjusted = benjamini_hochberg(tested) if tested else ()
    p_of = {d.feature: p for d, p in zip(family, adjusted, strict=False)}
    for drift in sorted(evidence.drift, key=_worst_first):
        yield _psi(drift, p_of.get(drift.feature), alpha, policy)
    if not evidence.drift:
        yield Check(
            name="psi",
            status=UNKNOWN,
            limit=policy.psi_action,
            detail=unmeasured("the drift of features", evidence),
        )
    yield _score_ks(evidence, adjusted[-1] if scores and scores.p_value is not None else None, alpha, policy)


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


def _psi(drift: FeatureDrift, p: float | None, alpha: float, policy: Trigger) -> Check:
    limit = policy.psi_action or 0.0
    check = Check(
        name="psi",
        subject=drift.feature,
        status=UNKNOWN,
        value=drift.psi,
        limit=limit,
        p_value=p,
        n=drift.n_current,
    )
    if drift.psi is None:
        return replace(check, detail=f"PSI of {drift.feature} (limit {limit:g}) is not known: {drift.detail}")
    said = f"PSI of {drift.feature} is {drift.psi:.3g}"
    ignored = _why_ignored(drift, policy)
    if ignored is not None:
        return replace(check, status=OK, detail=f"{said}, {ignored}")
    if drift.psi >= limit and p is not None and p < alpha:
        cause = f"a data incident ({drift.incident}): {drift.detail}" if drift.incident else drift.detail
        return replace(check, status=ACT, detail=f"{said}, at or above {limit:g} ({p_value(p)}), {cause}")
    if drift.noise is not None and drift.noise > _NOISE_SHARE * limit:
        return replace(
            check,
            detail=f"{said}, but {drift.n_current} rows against {drift.n_reference} give {drift.noise:.2g} without any drift, too near the limit of {limit:g} to tell",
            remedy="widen trigger.window_days",
        )
    return _quiet_psi(check, said, drift, alpha, policy)


def _quiet_psi(check: Check, said: str, drift: FeatureDrift, alpha: float, policy: Trigger) -> Check:
    psi, limit = drift.psi or 0.0, policy.psi_action or 0.0
    if psi >= limit:
        return replace(
            check,
            status=WARN,
            detail=f"{said}, at or above {limit:g}, but chance gives as much ({p_value(check.p_value)}, must be below {alpha:.2g})",
        )
    if psi >= policy.psi_warn:
        where = f" ({drift.incident})" if drift.incident else ""
        detail = f"{said}{where}, at or above the warning level {policy.psi_warn:g}, below {limit:g}: {drift.detail}"
        return replace(check, status=WARN, detail=detail)
    return replace(check, status=OK, detail=f"{said}, below {limit:g}: {drift.detail}")


def _score_ks(evidence: Evidence, p: float | None, alpha: float, policy: Trigger) -> Check:
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
    check = Check(name="score_ks", status=OK, value=scores.ks, limit=limit, p_value=p, n=scores.n_current)
    if scores.ks < limit:
        return replace(check, detail=f"{said}, below {limit:g}")
    if p is not None and p < alpha:
        detail = f"{said}, at or above {limit:g} ({p_value(p)}): {scores.detail}"
        return replace(check, status=ACT, detail=detail)
    chance = f"chance gives as much ({p_value(p)}, must be below {alpha:.2g})"
    return replace(
        check,
        status=UNKNOWN,
        detail=f"{said}, at or above {limit:g}, but on {scores.n_current} rows {chance}",
        remedy="widen trigger.window_days",
    )

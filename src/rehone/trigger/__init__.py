"""Decide whether to train a challenger: a list of rules, the first that acts is the reason.

Data incidents block everything, also a forced run. Force and the lack of a champion always
act. Drift, performance and age rest during a cooldown, when the budget is used up, and
after too many lost challengers until a person resets the breaker.
"""

from __future__ import annotations

from collections.abc import Iterator

from rehone.config import Predictions, Trigger
from rehone.records import Check, CheckStatus, Evidence, TriggerDecision, TriggerKind
from rehone.trigger import flips, words
from rehone.trigger.drift import drift_checks, incident_checks
from rehone.trigger.estimated import estimate_checks
from rehone.trigger.pauses import pause_checks
from rehone.trigger.performance import performance_checks
from rehone.trigger.served import served_checks

__all__ = ["decide"]

OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN

_KINDS = {
    "forced": TriggerKind.FORCED,
    "champion": TriggerKind.BOOTSTRAP,
    "psi": TriggerKind.DRIFT,
    "score_ks": TriggerKind.DRIFT,
    "recall": TriggerKind.PERFORMANCE,
    "cost_per_1000": TriggerKind.PERFORMANCE,
    "estimated_recall": TriggerKind.PERFORMANCE,
    "estimated_cost_per_1000": TriggerKind.PERFORMANCE,
    "age": TriggerKind.AGE,
}
_RESTS = (TriggerKind.DRIFT, TriggerKind.PERFORMANCE, TriggerKind.AGE)


def decide(evidence: Evidence, policy: Trigger, served: Predictions | None = None) -> TriggerDecision:
    """Evaluate every rule and return the first that acts, with all checks and what blocks.

    `served` holds the limits of what is only known from the prediction log.
    """
    loop = tuple(served_checks(evidence, served or Predictions()))
    checks = (*_causes(evidence, policy), *loop)
    incidents = (*incident_checks(evidence, checks), *(c for c in loop if c.name == "skew" and c.status is ACT))
    pauses = tuple(pause_checks(evidence, policy))
    blocking = {check.subject for check in incidents}
    acting = [c for c in checks if c.status is ACT and c.name in _KINDS and not _is_blocked(c, blocking)]
    every = (*checks, *pauses)
    kind = next((k for k in TriggerKind if any(_KINDS[c.name] is k for c in acting)), None)
    if incidents:
        said, flip = words.blocked(incidents), flips.of_block(incidents)
        return TriggerDecision(kind=kind, reason=said, checks=every, incidents=incidents, flip=flip)
    resting = [c for c in pauses if c.status is WARN]
    if kind is None:
        said, flip = words.quiet(checks), flips.of_silence(checks, resting, evidence)
        return TriggerDecision(kind=None, reason=said, checks=every, flip=flip)
    causes = [c for c in acting if _KINDS[c.name] is kind]
    if kind in _RESTS and resting:
        said, flip = words.resting(causes, resting), flips.of_rest(resting)
        return TriggerDecision(kind=None, reason=said, checks=every, flip=flip)
    return TriggerDecision(kind=kind, reason=words.because(causes), checks=every, flip=flips.of_training(acting))


def _causes(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    yield _forced(evidence)
    yield _champion(evidence)
    yield from drift_checks(evidence, policy)
    yield from performance_checks(evidence, policy)
    yield from estimate_checks(evidence, policy)
    yield from _age(evidence, policy)


def _forced(evidence: Evidence) -> Check:
    if evidence.forced:
        return Check(name="forced", status=ACT, detail="a person asked for a challenger")
    return Check(name="forced", status=OK, detail="nobody asked for a challenger")


def _champion(evidence: Evidence) -> Check:
    if evidence.champion is None:
        return Check(name="champion", status=ACT, detail="there is no champion yet")
    return Check(name="champion", status=OK, subject=evidence.champion[:12], detail="there is a champion")


def _age(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    if policy.max_age_days is None:
        return
    age, limit = evidence.age_days, policy.max_age_days
    if age is None:
        detail = f"the age of the champion (limit {limit:g} days) is not known: {words.unmeasured('it', evidence)}"
        yield Check(name="age", status=UNKNOWN, limit=limit, detail=detail)
    elif age < 0:
        yield Check(
            name="age",
            status=UNKNOWN,
            value=age,
            limit=limit,
            detail=f"the champion is dated {-age:.1f} days after this run, so its age is not known",
            remedy="check the clock, or --as-of",
        )
    else:
        status = ACT if age > limit else OK
        said = "beyond" if status is ACT else "within"
        yield Check(
            name="age",
            status=status,
            value=age,
            limit=limit,
            detail=f"the champion is {words.days(age)} old, {said} the limit of {limit:g}",
        )


def _is_blocked(check: Check, blocking: set[str | None]) -> bool:
    return check.name == "psi" and check.subject in blocking

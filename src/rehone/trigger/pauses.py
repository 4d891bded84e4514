"""Say when a trigger rests: a cooldown after training, longer after rejections, a budget, and a breaker after losses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rehone.config import Trigger
from rehone.records import Check, CheckStatus, Evidence
from rehone.trigger.words import days

OK, WARN, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.UNKNOWN


def pause_checks(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    """Judge the cooldown, the budget and the breaker; `warn` is a pause."""
    yield _cooldown(evidence, policy)
    if policy.max_trainings_per_30_days is not None:
        yield _budget(evidence.attempts.trained_last_30_days, policy.max_trainings_per_30_days)
    if policy.max_lost_in_a_row is not None:
        yield _breaker(evidence.attempts.lost_in_a_row, policy.max_lost_in_a_row)


def _cooldown(evidence: Evidence, policy: Trigger) -> Check:
    last, rejected = evidence.attempts.last_trained, evidence.attempts.rejected_in_a_row
    limit = _cooldown_days(rejected, policy)
    if last is None:
        return Check(name="cooldown", status=OK, limit=limit, detail="nothing was trained yet")
    since = (evidence.as_of - last).total_seconds() / 86400
    check = Check(name="cooldown", status=OK, value=since, limit=limit, n=rejected)
    after = f" after {rejected} rejected in a row" if rejected else ""
    if since < 0:
        return replace(
            check,
            status=UNKNOWN,
            detail=f"the last training is dated {days(-since)} after this run, so its cooldown does not count",
            remedy="check the clock, or --as-of",
        )
    said = f"the last training was {days(since)} ago, the cooldown is {days(limit)}{after}"
    return replace(check, status=WARN if since < limit else OK, detail=said)


def _cooldown_days(rejected: int, policy: Trigger) -> float:
    """Multiply the cooldown for each challenger rejected in a row, up to the age limit."""
    most = max(policy.max_age_days or 365.0, policy.cooldown_days)
    days = policy.cooldown_days
    for _ in range(rejected):
        days = min(days * policy.backoff_factor, most)
    return days


def _budget(trained: int, limit: int) -> Check:
    status = WARN if trained >= limit else OK
    detail = f"{trained} trainings in the last 30 days, the budget is {limit}"
    return Check(name="budget", status=status, value=trained, limit=limit, detail=detail)


def _breaker(lost: int, limit: int) -> Check:
    check = Check(name="breaker", status=OK, value=lost, limit=limit)
    if lost < limit:
        said = f"challengers lost in a row since one went live or the breaker was reset: {lost}, retraining stops at {limit}"
        return replace(check, detail=said)
    return replace(
        check,
        status=WARN,
        detail=f"retraining has stopped, {lost} challengers in a row were lost (rejected, inconclusive or rolled back) and the limit is {limit}",
        remedy="find out why, then `rehone breaker --reset --because TEXT`",
    )

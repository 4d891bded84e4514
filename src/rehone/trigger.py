"""Decide whether to train a challenger: a list of rules, the first that acts is the reason.

Data incidents block everything, also a forced run. Force and the lack of a champion always
act. Drift, performance and age rest during a cooldown and when the budget is used up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rehone.compare import benjamini_hochberg
from rehone.config import Predictions, Trigger
from rehone.records import (
    Check,
    CheckStatus,
    Estimate,
    Evidence,
    FeatureDrift,
    ServedVersion,
    Skew,
    TriggerDecision,
    TriggerKind,
    short_id,
)

OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN

_KINDS = {
    "forced": TriggerKind.FORCED,
    "champion": TriggerKind.BOOTSTRAP,
    "psi": TriggerKind.DRIFT,
    "score_ks": TriggerKind.DRIFT,
    "recall": TriggerKind.PERFORMANCE,
    "cost_per_1000": TriggerKind.PERFORMANCE,
    "age": TriggerKind.AGE,
}
_RESTS = (TriggerKind.DRIFT, TriggerKind.PERFORMANCE, TriggerKind.AGE)
_BROKEN_CLOCK = ("missing", "infinite", "missing, infinite")
"""Incidents that count even for a clock, whose values are new and constant by nature."""

_LEAST_COMPARED = 30
"""Ids in both tables from which a share of differing ones is judged."""

_NOISE_SHARE = 0.5
"""Share of the PSI limit that noise alone may reach before a quiet PSI means nothing."""


def decide(evidence: Evidence, policy: Trigger, served: Predictions | None = None) -> TriggerDecision:
    """Evaluate every rule and return the first that acts, with all checks and what blocks.

    `served` holds the limits of what is only known from the prediction log.
    """
    loop = tuple(_loop(evidence, served or Predictions()))
    checks = (*_causes(evidence, policy), *loop)
    incidents = (*_incidents(evidence, checks), *(c for c in loop if c.name == "skew" and c.status is ACT))
    pauses = tuple(_pauses(evidence, policy))
    blocking = {check.subject for check in incidents}
    acting = [c for c in checks if c.status is ACT and c.name in _KINDS and not _is_blocked(c, blocking)]
    every = (*checks, *pauses)
    kind = next((k for k in TriggerKind if any(_KINDS[c.name] is k for c in acting)), None)
    if incidents:
        return TriggerDecision(kind=kind, reason=_blocked(incidents), checks=every, incidents=incidents)
    if kind is None:
        return TriggerDecision(kind=None, reason=_quiet(checks), checks=every)
    causes = [c for c in acting if _KINDS[c.name] is kind]
    resting = [c for c in pauses if c.status is WARN]
    if kind in _RESTS and resting:
        return TriggerDecision(kind=None, reason=_resting(causes, resting), checks=every)
    return TriggerDecision(kind=kind, reason=_because(causes), checks=every)


# --- the rules, in order of priority --------------------------------------------------------


def _causes(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    yield _forced(evidence)
    yield _champion(evidence)
    yield from _drift(evidence, policy)
    yield from _performance(evidence, policy)
    yield from _age(evidence, policy)


def _forced(evidence: Evidence) -> Check:
    if evidence.forced:
        return Check(name="forced", status=ACT, detail="a person asked for a challenger")
    return Check(name="forced", status=OK, detail="nobody asked for a challenger")


def _champion(evidence: Evidence) -> Check:
    if evidence.champion is None:
        return Check(name="champion", status=ACT, detail="there is no champion yet")
    return Check(name="champion", status=OK, subject=evidence.champion[:12], detail="there is a champion")


def _drift(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
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
            detail=_unmeasured("the drift of features", evidence),
        )
    yield _score_ks(evidence, adjusted[-1] if scores and scores.p_value is not None else None, alpha, policy)


def _performance(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    why = evidence.performance_unknown or _unmeasured("it", evidence)
    if policy.min_recall is not None:
        yield _floor("recall", evidence.recall, policy.min_recall, why)
    if policy.max_cost_per_1000 is not None:
        yield _ceiling("cost_per_1000", evidence.cost_per_1000, policy.max_cost_per_1000, why)


def _age(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    if policy.max_age_days is None:
        return
    age, limit = evidence.age_days, policy.max_age_days
    if age is None:
        detail = f"the age of the champion (limit {limit:g} days) is not known: {_unmeasured('it', evidence)}"
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
            detail=f"the champion is {_days(age)} old, {said} the limit of {limit:g}",
        )


def _is_blocked(check: Check, blocking: set[str | None]) -> bool:
    return check.name == "psi" and check.subject in blocking


# --- what is known of served predictions: nothing here is a reason to train ----------------------


def _loop(evidence: Evidence, policy: Predictions) -> Iterator[Check]:
    if evidence.origin != "served" or evidence.champion is None:
        return
    yield _in_the_log(evidence)
    yield _coverage(evidence, policy)
    yield from (_decided(v) for v in evidence.served if v.version != evidence.champion)
    if policy.max_skew_share is not None:
        limit = policy.max_skew_share
        yield from (_skew(s, limit) for s in sorted(evidence.skew, key=lambda s: (-(s.share or 0), s.feature)))


def _in_the_log(evidence: Evidence) -> Check:
    rows = evidence.rows
    check = Check(name="predictions", status=OK, value=float(rows), n=rows)
    if rows:
        return replace(check, detail=f"{rows:,} predictions in {evidence.window} are compared with the reference")
    why = evidence.drift[0].detail if evidence.drift else "nothing was read of the log"
    return replace(check, status=UNKNOWN, detail=why)


def _coverage(evidence: Evidence, policy: Predictions) -> Check:
    found, limit = evidence.coverage, policy.min_label_coverage
    share = found.share if found is not None else None
    check = Check(name="label_coverage", status=UNKNOWN, value=share, limit=limit, n=found.due if found else None)
    if found is None or share is None:
        return replace(check, detail=f"how many labels have arrived is not known: {evidence.performance_unknown}")
    said = (
        f"{found.labelled:,} of {found.due:,} matured predictions in {found.window} have a label ({100 * share:.3g} %)"
    )
    if policy.unlabelled == "negative":
        return replace(check, status=OK, detail=f"{said}; the others count as negative")
    if found.labelled >= limit * found.due:
        return replace(check, status=OK, detail=said)
    return replace(check, detail=f"{said}, need {100 * limit:.3g} %", remedy="look at why labels do not arrive")


def _decided(version: ServedVersion) -> Check:
    """Record what another version than the champion decided; it is no longer asked, so it never acts."""
    name, recall = short_id(version.version), version.recall
    check = Check(name="served", subject=name, status=UNKNOWN, n=version.labelled, positives=version.positives)
    if recall is None:
        return replace(check, detail=f"the recall of version {name} is not known: {version.unknown}")
    return replace(
        check,
        status=OK,
        value=recall.value,
        interval=(recall.low, recall.high),
        detail=f"version {name} had a recall of {recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}] on {recall.positives} matured positives",
    )


def _skew(skew: Skew, limit: float) -> Check:
    share, what = skew.share, skew.feature
    check = Check(name="skew", subject=what, status=UNKNOWN, value=share, limit=limit, n=skew.compared)
    if share is None or skew.compared < _LEAST_COMPARED:
        said = f"whether {what} is served as it is stored is not known: {skew.compared} ids are in both, need {_LEAST_COMPARED}"
        return replace(check, detail=said)
    said = (
        f"{what} was served with another value than data.source holds for {100 * share:.3g} % of {skew.compared:,} ids"
    )
    if share <= limit:
        return replace(check, status=OK, detail=f"{said}, at most {100 * limit:.3g} % may")
    return replace(
        check,
        status=ACT,
        detail=f"{said}, at most {100 * limit:.3g} % may ({skew.example})",
        remedy=f"compute {what} in one place for both, or raise predictions.max_skew_share if the table was corrected later",
    )


# --- drift ------------------------------------------------------------------------------------


def _worst_first(drift: FeatureDrift) -> tuple[float, str]:
    return (-drift.psi if drift.psi is not None else 1.0, drift.feature)


def _why_ignored(drift: FeatureDrift, policy: Trigger) -> str | None:
    if drift.feature in policy.ignore:
        return "ignored: listed in trigger.ignore"
    if drift.ignored and drift.incident not in _BROKEN_CLOCK:
        return f"ignored: {drift.ignored}"
    return None


def _psi(drift: FeatureDrift, p: float | None, alpha: float, policy: Trigger) -> Check:
    limit = policy.psi_action
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
        return replace(check, status=ACT, detail=f"{said}, at or above {limit:g} ({_p(p)}), {cause}")
    if drift.noise is not None and drift.noise > _NOISE_SHARE * limit:
        return replace(
            check,
            detail=f"{said}, but {drift.n_current} rows against {drift.n_reference} give {drift.noise:.2g} without any drift, too near the limit of {limit:g} to tell",
            remedy="widen trigger.window_days",
        )
    return _quiet_psi(check, said, drift, alpha, policy)


def _quiet_psi(check: Check, said: str, drift: FeatureDrift, alpha: float, policy: Trigger) -> Check:
    psi, limit = drift.psi or 0.0, policy.psi_action
    if psi >= limit:
        return replace(
            check,
            status=WARN,
            detail=f"{said}, at or above {limit:g}, but chance gives as much ({_p(check.p_value)}, must be below {alpha:.2g})",
        )
    if psi >= policy.psi_warn:
        where = f" ({drift.incident})" if drift.incident else ""
        detail = f"{said}{where}, at or above the warning level {policy.psi_warn:g}, below {limit:g}: {drift.detail}"
        return replace(check, status=WARN, detail=detail)
    return replace(check, status=OK, detail=f"{said}, below {limit:g}: {drift.detail}")


def _score_ks(evidence: Evidence, p: float | None, alpha: float, policy: Trigger) -> Check:
    scores, limit = evidence.scores, policy.ks_action
    if scores is None or scores.ks is None:
        why = scores.detail if scores is not None else _unmeasured("it", evidence)
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
        detail = f"{said}, at or above {limit:g} ({_p(p)}): {scores.detail}"
        return replace(check, status=ACT, detail=detail)
    chance = f"chance gives as much ({_p(p)}, must be below {alpha:.2g})"
    return replace(
        check,
        status=UNKNOWN,
        detail=f"{said}, at or above {limit:g}, but on {scores.n_current} rows {chance}",
        remedy="widen trigger.window_days",
    )


# --- performance ------------------------------------------------------------------------------


def _floor(name: str, found: Estimate | None, limit: float, why: str) -> Check:
    if found is None:
        return Check(name=name, status=UNKNOWN, limit=limit, detail=f"{name} (limit {limit:g}) is not known: {why}")
    said = f"recall is {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] on {found.positives} matured positives"
    check = _measured(name, found, limit)
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
    check = _measured(name, found, limit)
    if found.low > limit:
        return replace(check, status=ACT, detail=f"{said}, all of it above {limit:g}")
    if found.value > limit:
        return replace(check, status=WARN, detail=f"{said}, above {limit:g} but perhaps by chance")
    return replace(check, detail=f"{said}, limit {limit:g}")


def _measured(name: str, found: Estimate, limit: float) -> Check:
    return Check(
        name=name,
        status=OK,
        value=found.value,
        limit=limit,
        interval=(found.low, found.high),
        n=found.n,
        positives=found.positives,
    )


# --- what blocks and what rests -----------------------------------------------------------------


def _incidents(evidence: Evidence, checks: Sequence[Check]) -> Iterator[Check]:
    broken = {d.feature for d in evidence.drift if d.incident is not None}
    for check in checks:
        if check.name == "psi" and check.status is ACT and check.subject in broken:
            yield replace(
                check,
                name="incident",
                remedy=f"repair the feed; if the change is real, list {check.subject!r} in trigger.ignore until the next version is live",
            )


def _pauses(evidence: Evidence, policy: Trigger) -> Iterator[Check]:
    yield _cooldown(evidence, policy)
    if policy.max_trainings_per_30_days is not None:
        yield _budget(evidence.attempts.trained_last_30_days, policy.max_trainings_per_30_days)


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
            detail=f"the last training is dated {_days(-since)} after this run, so its cooldown does not count",
            remedy="check the clock, or --as-of",
        )
    said = f"the last training was {_days(since)} ago, the cooldown is {_days(limit)}{after}"
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


# --- in one sentence ----------------------------------------------------------------------------


def _because(causes: Sequence[Check]) -> str:
    first, *others = causes
    more = [f"{c.label} {c.value:.3g}" for c in others if c.value is not None]
    return first.detail + (f"; also {_few(more)}" if more else "")


def _resting(causes: Sequence[Check], resting: Sequence[Check]) -> str:
    return f"not now: {'; '.join(c.detail for c in resting)}. It would have been: {_because(causes)}"


def _blocked(incidents: Sequence[Check]) -> str:
    first, *others = incidents
    more = f"; also {_few([c.subject or c.name for c in others])}" if others else ""
    return f"training is blocked, {first.detail}{more}: {first.remedy}"


def _quiet(checks: Sequence[Check]) -> str:
    known = [c for c in checks if c.status in (OK, WARN) and c.value is not None and not _is_ignored(c)]
    seen: dict[str, Check] = {}
    for check in known:
        seen.setdefault(check.name, check)
    found = "; ".join(f"{c.label} {c.value:.3g} (limit {c.limit:g})" for c in seen.values() if c.limit is not None)
    unknown = [c.label for c in checks if c.status is UNKNOWN]
    said = f"nothing acts: {found}" if found else "nothing acts"
    said += "".join(f"; {c.detail}" for c in checks if c.name == "predictions" and c.status is UNKNOWN)
    return f"{said}; not known: {_few(unknown)}" if unknown else said


def _is_ignored(check: Check) -> bool:
    return check.name == "psi" and ", ignored: " in check.detail


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _unmeasured(what: str, evidence: Evidence) -> str:
    if evidence.champion is None:
        return "there is no champion to compare with"
    return f"{what} was not measured"


def _p(adjusted: float | None) -> str:
    if adjusted is None:
        return "no p-value"
    return "adjusted p < 1e-300" if adjusted < 1e-300 else f"adjusted p {adjusted:.2g}"


def _days(number: float) -> str:
    return "1 day" if number == 1 else f"{number:.4g} days"

"""Say what a run, the pipeline's health after it, or a deployment by hand gives to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from rehone.alert.words import Reason, alert, brief, command_in
from rehone.config.people import Alerts
from rehone.records import (
    Alert,
    AlertKind,
    Check,
    CheckStatus,
    Deployment,
    DeploymentAction,
    Health,
    Outcome,
    RunRecord,
    RunStatus,
    Verdict,
    short_id,
)

HEALED = "heal"
"""The actor of deployments that neither a person nor a run that lives made."""

ENDED = {
    RunStatus.FAILED: AlertKind.FAILED,
    RunStatus.REJECTED: AlertKind.REJECTED,
    RunStatus.INCONCLUSIVE: AlertKind.INCONCLUSIVE,
    RunStatus.ROLLED_BACK: AlertKind.ROLLED_BACK,
    RunStatus.DEPLOYED: AlertKind.DEPLOYED,
}
BY_CHECK = {
    "gate_failures": AlertKind.GATE_FAILURES,
    "declines": AlertKind.DECLINES,
    "false_alarms": AlertKind.FALSE_ALARMS,
    "stale": AlertKind.STALE,
    "breaker": AlertKind.BREAKER,
}
"""Checks of the pipeline's health that a person is told of when they act, or when they warn of false alarms.

That the next run is overdue is none of them: while a run tells, none is.
"""
RESET = "rehone breaker --reset --because TEXT"


def of(run: RunRecord, health: Health | None, policy: Alerts) -> tuple[Alert, ...]:
    """Return what `policy.on` has told of a run that has ended, or that waits for a person, and of the health after it.

    Without `health`, of the run alone. A run that was skipped gives nothing of its own.
    """
    found = (*_ending(run), *_regrets(run), *(_unwell(run, health) if health else ()))
    return tuple(one for one in found if one.kind in policy.on)


def of_deployment(made: Deployment, project: str, policy: Alerts) -> tuple[Alert, ...]:
    """Return what `policy.on` has told of a deployment that no run tells of itself: by hand, or after a killed run."""
    if made.run_id is not None and made.actor != HEALED:
        return ()
    kind = AlertKind.ROLLED_BACK if made.action is DeploymentAction.ROLLBACK else AlertKind.DEPLOYED
    if kind not in policy.on:
        return ()
    served = f"version {short_id(made.version)} is live" if made.version else "nothing is served"
    by = "after a run that was killed" if made.actor == HEALED else f"by {made.actor}"
    why = f": {brief(made.reason)}" if made.reason else ""
    reason = Reason(said=f"{served} as generation {made.generation}, {by}{why}", command="rehone status")
    about = f"generation {made.generation}"
    return (alert(kind, about, project, reason, at=made.at, run_id=made.run_id),)


# --- the run itself ------------------------------------------------------------------------------


def _ending(run: RunRecord) -> Iterator[Alert]:
    if run.status is None:
        if run.approval is not None and run.approval.approved is None:
            yield _alert(run, AlertKind.APPROVAL, run.run_id, _asked(run))
        return
    kind = ENDED.get(run.status)
    if kind is not None:
        about, reason = _why(run, kind)
        yield _alert(run, kind, about, reason)


def _why(run: RunRecord, kind: AlertKind) -> tuple[str, Reason]:
    """Return what makes this the same trouble as another run's, and the reason."""
    if kind is AlertKind.DEPLOYED:
        return run.version or run.run_id, _deployed(run)
    command = f"rehone show {run.run_id}"
    decisive = _decisive(run, kind)
    said = Reason(said=brief(run.sentence), command=command)
    if decisive:
        said = Reason.of_check(decisive[0], others=len(decisive) - 1, command=command)
    if kind is AlertKind.ROLLED_BACK:
        return run.run_id, replace(said, said=f"{_set_back(run)}{said.said}")
    if run.approval is not None and run.approval.approved is not True:
        return run.run_id, Reason(said=brief(run.sentence), command=command)
    if decisive:
        return decisive[0].label, said
    return run.problem.type if run.problem else "", said


def _decisive(run: RunRecord, kind: AlertKind) -> Sequence[Check]:
    """Return the checks that gave a run its ending, the first of which decided it; none where an exception did."""
    if run.problem is not None:
        return ()
    if kind is AlertKind.FAILED:
        incidents = run.trigger.incidents if run.trigger else ()
        return _with(CheckStatus.ACT, (*incidents, *run.data_checks))
    if kind is AlertKind.ROLLED_BACK:
        return _with(CheckStatus.ACT, run.deployment_checks)
    verdict = _refusing(run.shadow_verdict, run.verdict)
    wanted = CheckStatus.ACT if kind is AlertKind.REJECTED else CheckStatus.UNKNOWN
    return _with(wanted, verdict.checks) if verdict else ()


def _set_back(run: RunRecord) -> str:
    live = f"version {short_id(run.deployment.version)} is live again" if run.deployment else "nothing was deployed"
    return f"version {short_id(run.version)} was on trial and {live}: "


def _refusing(*verdicts: Verdict | None) -> Verdict | None:
    return next((v for v in verdicts if v is not None and v.outcome is not Outcome.PASS), None)


def _with(status: CheckStatus, checks: Sequence[Check]) -> Sequence[Check]:
    return [check for check in checks if check.status is status]


def _deployed(run: RunRecord) -> Reason:
    because = f", because {brief(run.trigger.reason)}" if run.trigger and run.trigger.reason else ""
    challenger = run.verdict.challenger if run.verdict else None
    measured = f", ROC-AUC {challenger.roc_auc:.4f} on the holdout" if challenger else ""
    value = challenger.roc_auc if challenger else None
    return Reason(said=f"{brief(run.sentence)}{because}{measured}", value=value, command="rehone status")


def _asked(run: RunRecord) -> Reason:
    asked = run.approval
    until = f"until {asked.until:%Y-%m-%d %H:%M} UTC: " if asked else ""
    instead = f"replace {short_id(asked.champion)}" if asked and asked.champion else "be the first champion"
    challenger = run.verdict.challenger if run.verdict else None
    measured = f" (ROC-AUC {challenger.roc_auc:.4f} on the holdout)" if challenger else ""
    return Reason(
        said=f"{until}version {short_id(run.version)}{measured} passed the gate and would {instead}",
        value=challenger.roc_auc if challenger else None,
        command=f"rehone approve {run.run_id}",
    )


def _regrets(run: RunRecord) -> Iterator[Alert]:
    for one in run.realised:
        if one.regret:
            back = f"rehone rollback --to {short_id(one.replaced)}"
            said = f"version {short_id(one.version)}: {brief(one.detail)}"
            reason = Reason(said=said, value=one.realised, limit=0.0, command=back)
            yield _alert(run, AlertKind.REGRET, short_id(one.version), reason)


# --- the pipeline's health -------------------------------------------------------------------------


def _unwell(run: RunRecord, health: Health) -> Iterator[Alert]:
    for check in health.checks:
        kind = BY_CHECK.get(check.name)
        if kind is None or check.status not in _loud(kind) or not _news(run, kind):
            continue
        command = RESET if kind is AlertKind.BREAKER else command_in(check.remedy) or "rehone health"
        yield _alert(run, kind, _trouble(kind, check, health), Reason.of_check(check, command=command))


def _loud(kind: AlertKind) -> tuple[CheckStatus, ...]:
    return (CheckStatus.WARN, CheckStatus.ACT) if kind is AlertKind.FALSE_ALARMS else (CheckStatus.ACT,)


def _news(run: RunRecord, kind: AlertKind) -> bool:
    """Say whether this run made it so: of figures that stand as they stood nobody is told again and again.

    A breaker that is open and a feed that has stopped wait for a person, who is reminded; data that a failed run told
    of itself are not told of twice.
    """
    if kind is AlertKind.GATE_FAILURES:
        return run.verdict is not None
    if kind is AlertKind.DECLINES:
        return run.status is RunStatus.DEPLOYED
    if kind is AlertKind.FALSE_ALARMS:
        return run.trigger is not None and bool(_with(CheckStatus.ACT, run.trigger.checks))
    return kind is not AlertKind.STALE or run.status is not RunStatus.FAILED


def _trouble(kind: AlertKind, check: Check, health: Health) -> str:
    """Say what makes it the same trouble: a breaker that was reset and stops again is another one."""
    if kind is AlertKind.BREAKER and health.breaker.runs:
        return health.breaker.runs[0]
    return check.subject or ""


def _alert(run: RunRecord, kind: AlertKind, about: str, reason: Reason) -> Alert:
    return alert(kind, about, run.project, reason, at=_moment(run), run_id=run.run_id)


def _moment(run: RunRecord) -> datetime:
    if run.finished_at is not None:
        return run.finished_at
    return run.approval.asked_at if run.approval else run.started_at

"""Say what is live, what happened, and whether anything needs a hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from rehone.cli.show import COLOURS, ending_of
from rehone.cli.text import check_lines, clipped, fact, moment, table, title, wrapped
from rehone.codec import plain
from rehone.records import (
    Check,
    CheckStatus,
    Deployment,
    DeploymentAction,
    DeploymentState,
    ProjectStatus,
    Replica,
    RunRecord,
    RunStatus,
    RunSummary,
    short_id,
)
from rehone.report.again import option
from rehone.report.wording import days_of, number


def status_lines(found: ProjectStatus, project: str, *, width: int, now: datetime | None = None) -> list[str]:
    """Say what is live since when and by whom, its age, replicas, the last run, and what to do next."""
    now = now or datetime.now(UTC)
    lines = [click.style(clipped(found.project, width), bold=True)]
    lines += _live(found, width)
    lines += _model(found, width, now)
    lines += _in_use(found, width)
    lines += _replicas(found, width)
    lines += _last_run(found, width)
    for check in found.problems:
        lines += check_lines(check, width)
    return [*lines, *fact("next", next_step(found, project), width)]


def _live(found: ProjectStatus, width: int) -> list[str]:
    live = found.deployment
    if live is None and _lost(found):
        return fact("live", "not known: the store is not there", width)
    if live is None:
        return fact("live", "nothing: no version was ever deployed", width)
    by = f"since {moment(live.at)}, by {live.actor}, generation {live.generation} ({live.action}, {live.state})"
    served = short_id(live.version) if live.version else "nothing"
    lines = fact("live", f"{served} {by}", width)
    return lines + (fact("because", live.reason, width) if live.reason else [])


def _lost(found: ProjectStatus) -> bool:
    return any(check.name == "store" and check.status is CheckStatus.ACT for check in found.problems)


def _model(found: ProjectStatus, width: int, now: datetime) -> list[str]:
    version, live, last = found.version, found.deployment, found.last_run
    if version is None or live is None:
        return []
    m = version.manifest
    lines = fact("model", f"{m.estimator}, {m.train_rows:,} rows of {days_of(m.train_window)}", width)
    today, as_of = now, ""
    if last is not None and last.started_at - last.as_of > timedelta(days=1):
        today, as_of = last.as_of, f" on {moment(last.as_of)}, the day the last run replayed"
    return lines + fact("age", f"{_days(today - m.as_of)}{as_of}", width)


def _days(age: timedelta) -> str:
    days = age / timedelta(days=1)
    return f"{days:.1f} days" if days >= 1 else f"{days * 24:.1f} hours"


def _in_use(found: ProjectStatus, width: int) -> list[str]:
    """Say what labels that came due show of the live version, where the last run looked at it."""
    live, last = found.deployment, found.last_run
    seen = last.evidence if last is not None else None
    if live is None or seen is None or seen.champion != live.version:
        return []
    measured = [(name, each) for name, each in (("ROC-AUC", seen.roc_auc), ("recall", seen.recall)) if each is not None]
    if not measured:
        return []
    said = ", ".join(f"{name} {each.value:.3f} ({each.low:.3f} to {each.high:.3f})" for name, each in measured)
    rows = max(each.n for _, each in measured)
    missed = ", ".join(_missed(last))
    said += f" on {rows:,} rows whose label was due on {moment(seen.as_of)}"
    return fact("in use", f"{said}; beyond chance, {missed}" if missed else said, width)


def _missed(last: RunRecord | None) -> Iterator[str]:
    """Name the limits that what is live misses, whatever kept the run from training."""
    limits = {
        "recall": "recall {} is below trigger.min_recall {}",
        "cost_per_1000": "cost per 1,000 {} is above trigger.max_cost_per_1000 {}",
    }
    for check in last.trigger.checks if last is not None and last.trigger is not None else ():
        if check.name in limits and check.status is CheckStatus.ACT:
            yield limits[check.name].format(number(check.value), number(check.limit))


def _replicas(found: ProjectStatus, width: int) -> list[str]:
    live = found.deployment
    if not found.replicas:
        return fact("replicas", "none reports", width)
    lines: list[str] = []
    for replica in found.replicas:
        name = "replicas" if not lines else ""
        lines += fact(name, f"{replica.name} at {replica.url} {_serves(replica, live)}", width)
    return lines


def _serves(replica: Replica, live: Deployment | None) -> str:
    if replica.pinned:
        same = ", which is live" if live is not None and replica.version == live.version else ""
        return f"is pinned to {short_id(replica.version)} by an operator{same}"
    if live is not None and replica.refused_generation == live.generation:
        return f"refused generation {live.generation}: {replica.refused_because or 'no reason given'}"
    if replica.version is None:
        return "serves nothing"
    if live is not None and (replica.generation, replica.version) == (live.generation, live.version):
        return "serves it"
    return f"serves {short_id(replica.version)} (generation {replica.generation})"


def _last_run(found: ProjectStatus, width: int) -> list[str]:
    last = found.last_run
    if last is None:
        return fact("last run", "none yet", width)
    replayed = f", as of {moment(last.as_of)}" if abs(last.started_at - last.as_of) > timedelta(hours=1) else ""
    lines = fact(
        "last run", f"{ending_of(last)} on {moment(last.started_at)}{replayed}: {clipped(last.sentence, 200)}", width
    )
    lines += fact("", last.run_id, width)
    counted = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in sorted(found.runs.items()))
    return lines + (fact("runs", counted, width) if counted else [])


def next_step(found: ProjectStatus, project: str) -> str:
    """Suggest the one thing to do next."""
    where, live, last = option(project), found.deployment, found.last_run
    if _lost(found):
        return f"put the store back, then `rehone doctor{where}`"
    if any(check.status is CheckStatus.ACT and check.name != "breaker" for check in found.problems):
        return f"something is broken: `rehone doctor{where}`"
    for run in sorted(
        (check for check in found.problems if check.name in _OPEN), key=lambda run: _OPEN.index(run.name)
    ):
        return _next_of_open(run, where)
    if any(check.name == "breaker" for check in found.problems):
        return f"retraining has stopped: `rehone breaker{where}` says after which runs, and how it goes on"
    if live is not None and live.state is DeploymentState.TRIAL:
        return f"a trial is under way, or its run was killed: `rehone doctor{where}` ends it in that case"
    if last is not None and last.status is RunStatus.FAILED:
        return f"the last run failed: `rehone show {last.run_id}{where}` says why"
    if live is None or live.version is None:
        return f"`rehone run{where}` makes and deploys a first version"
    return _next_of_service(found, live, where)


def _with(remedy: str, where: str) -> str:
    """Name the project in the command of a remedy, which ends at its second backtick."""
    before, command, after = remedy.partition("`")[0], *remedy.partition("`")[2].partition("`")[::2]
    return f"{before}`{command}{where}`{after}"


_OPEN = ("approval", "run", "staged_run")
"""Names of the checks that tell of a run which has not ended, the one to be looked at first in front."""


def _next_of_open(run: Check, where: str) -> str:
    if run.name == "approval":
        return (
            f"look at the challenger that waits, `rehone show {run.subject}{where}`, then `rehone approve "
            f"{run.subject}{where}` or `rehone reject {run.subject} --because TEXT{where}`"
        )
    if run.name == "staged_run":
        return (
            f"`rehone run --resume {run.subject}{where}` goes on with the run that rests, if its orchestrator does not"
        )
    if run.status is CheckStatus.OK:
        return "wait for the end of the run, or stop it with Ctrl-C: what is live is whole all the time"
    killed = "was killed" if run.status is CheckStatus.WARN else "is under way, or was killed"
    return f"the last run {killed}: `rehone doctor{where}` ends what it left open, and so does the next run"


def _next_of_service(found: ProjectStatus, live: Deployment, where: str) -> str:
    if regret := next((check for check in found.problems if check.name == "regret"), None):
        return f"what is live turned out worse than what it replaced: {_with(regret.remedy, where)}"
    if held := [r.name for r in found.replicas if r.pinned]:
        names = ", ".join(held)
        return f"{names} follows no deployment while it is pinned: unpin it (DELETE /operator/pin at its address)"
    if refused := [r.name for r in found.replicas if r.refused_generation == live.generation]:
        return f"{', '.join(refused)} refused the live version: look at its log, or `rehone rollback{where}`"
    if not found.replicas:
        return f"`rehone serve{where}` serves it; `rehone check{where}` says whether a run would retrain"
    return f"`rehone check{where}` says whether a run would retrain"


def history_entry(run: RunSummary) -> dict[str, Any]:
    """Give one run as the plain facts that `history --json` lists."""
    return {
        "run_id": run.run_id,
        "status": plain(run.status),
        "trigger": plain(run.trigger),
        "started_at": plain(run.started_at),
        "finished_at": plain(run.finished_at),
        "as_of": plain(run.as_of),
        "reason": run.reason or None,
        "verdict": plain(run.outcome),
        "version": run.version,
        "sentence": run.sentence,
    }


def history_lines(runs: Sequence[RunSummary], project: str, *, width: int) -> list[str]:
    """List runs, oldest first, and count their endings."""
    if not runs:
        return [f"No runs yet: `rehone run{option(project)}` makes the first."]
    rows = [("run", "as of", "ended", "trigger", "version"), *(_row(run) for run in runs)]
    lines = table(rows)
    for i, run in enumerate(runs, 1):
        ending = ending_of(run)
        if run.status is not None:
            lines[i] = lines[i].replace(f"  {ending}", "  " + click.style(ending, fg=COLOURS[run.status]), 1)
    counted = Counter(ending_of(run) for run in runs)
    total = f"{len(runs):,} run{'s' if len(runs) != 1 else ''}"
    return [*lines, *wrapped(f"{total}: {', '.join(f'{n} {name}' for name, n in counted.most_common())}.", width)]


def _row(run: RunSummary) -> tuple[str, str, str, str, str]:
    day = f"{run.as_of.astimezone(UTC):%Y-%m-%d}"
    version = run.version[:7] if run.version else "-"
    return (run.run_id, day, ending_of(run), str(run.trigger or "-"), version)


def manual_lines(deployments: tuple[Deployment, ...], *, width: int) -> list[str]:
    """List the deployments that no run made, oldest first; nothing when there is none."""
    made = [deployment for deployment in deployments if deployment.run_id is None]
    if not made:
        return []
    lines = title("Deployments that no run made")
    for deployment in made:
        served = deployment.version[:7] if deployment.version else "nothing"
        way = "to" if deployment.action is DeploymentAction.ROLLBACK else "of"
        by = f"generation {deployment.generation}, {deployment.action} {way} {served} by {deployment.actor}"
        lines += fact(moment(deployment.at), f"{by}: {deployment.reason or 'no reason given'}", width, column=22)
    return lines


def rollback_lines(deployment: Deployment, width: int) -> list[str]:
    """Say what a rollback put back."""
    served = f"version {short_id(deployment.version)} is live again" if deployment.version else "nothing is served now"
    before = f"; before: {short_id(deployment.previous)}" if deployment.previous else ""
    return wrapped(f"{served} (generation {deployment.generation}{before})", width, indent=2, first="rolled back: ")


def doctor_lines(checks: tuple[Check, ...], width: int) -> list[str]:
    """List what was looked at, and end with the answer."""
    lines: list[str] = []
    for check in checks:
        lines += check_lines(check, width)
    bad = sum(check.status is CheckStatus.ACT for check in checks)
    if bad:
        needs = "1 thing needs" if bad == 1 else f"{bad} things need"
        return [*lines, f"{needs} a person: see the remedies above."]
    return [*lines, "Nothing needs a person."]

"""Say how a project stands: what is live, what happened, what is broken; and mend what can be mended."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC

from rehone import deploy, observers
from rehone.api.door import When, Where, config_of, lost_store, now
from rehone.api.forecasting import regrets
from rehone.api.telling import subjects, tell
from rehone.api.wellbeing import stopped
from rehone.config import Config
from rehone.errors import Corrupt, NotFound, RehoneError
from rehone.records import (
    Approval,
    Check,
    CheckStatus,
    Deployment,
    ModelVersion,
    ProjectStatus,
    RunRecord,
    RunSummary,
    short_id,
)
from rehone.runlog import RunLog
from rehone.runlog.clearing import Clearance
from rehone.runlog.summaries import summaries
from rehone.store import Store, has_store


def status(project: Where = ".") -> ProjectStatus:
    """Say what is live, who serves it, what happened last and what needs healing."""
    config = config_of(project)
    runlog = RunLog.of(config)
    runs = {name.value: n for name, n in Counter(line.status for line in runlog.lines()).items()}
    unread: list[str] = []
    last, unfinished, lost = runlog.last(unread), runlog.unfinished(unread), lost_store(config, runlog)
    troubles = tuple(map(_unread, unread))
    if lost is not None or not has_store(config):
        return ProjectStatus(
            project=config.project.name,
            deployment=None,
            version=None,
            last_run=last,
            runs=runs,
            problems=(lost, *troubles) if lost else troubles,
        )
    store = Store.of(config)
    head = store.head()
    problems = (*troubles, *(_open_run(run, store) for run in unfinished))
    problems += (*regrets(config, store, head), *stopped(config))
    version = None
    try:
        version = store.version(head.version) if head and head.version else None
    except RehoneError as error:
        damaged = Check(name="champion", status=CheckStatus.ACT, detail=str(error), remedy="run `rehone doctor`")
        problems = (damaged, *problems)
    return ProjectStatus(
        project=config.project.name,
        deployment=head,
        version=version,
        replicas=deploy.live_replicas(store, config.deploy, now=now()),
        last_run=last,
        runs=runs,
        problems=problems,
    )


def _unread(said: str) -> Check:
    return Check(
        name="record", status=CheckStatus.ACT, detail=said, remedy="`rehone doctor` says what is wrong with it"
    )


def _open_run(run: RunRecord, store: Store) -> Check:
    """Say of a run that has not ended whether it is under way (ok), was killed (warn), or nobody here can tell."""
    where = f"process {run.pid} on {run.host}"
    if run.approval is not None:
        return _unanswered(run, run.approval)
    if run.staged_until is not None:
        after = f"after {run.stages[-1].name}" if run.stages else ""
        said = f"run {run.run_id} is made stage by stage and rests {after} until {run.staged_until:%Y-%m-%d %H:%M} UTC"
        return Check(name="staged_run", subject=run.run_id, status=CheckStatus.OK, detail=said)
    if run.host != socket.gethostname():
        status, said = (
            CheckStatus.UNKNOWN,
            f"run {run.run_id} ({where}) has not ended: it is under way there, or was killed",
        )
    elif not _lives(run.pid):
        status, said = CheckStatus.WARN, f"run {run.run_id} was killed: there is no {where} any more"
    else:
        status, said = CheckStatus.OK, f"run {run.run_id} is under way ({where}){_staged(store)}"
    return Check(name="run", subject=run.run_id, status=status, detail=said)


def _unanswered(run: RunRecord, approval: Approval) -> Check:
    """Say until when a challenger waits for a person, or that an approval was not carried out to its end."""
    until = f"{approval.until:%Y-%m-%d %H:%M} UTC"
    said = f"version {short_id(run.version)} of run {run.run_id} waits for approval until {until}"
    if approval.approved:
        said = f"the approval of run {run.run_id} by {approval.by} is under way, or was interrupted; open until {until}"
    return Check(
        name="approval",
        subject=run.run_id,
        status=CheckStatus.WARN,
        detail=said,
        remedy=f"`rehone approve {run.run_id}`",
    )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _staged(store: Store) -> str:
    try:
        staged = store.staged()
    except RehoneError:
        return ""
    if staged is None:
        return ""
    until = f"{staged.deadline.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"; version {short_id(staged.version)} is scored beside the champion until {until} at the latest"


def history(project: Where = ".") -> tuple[RunRecord, ...]:
    """Return the record of every run, oldest first."""
    return RunLog.of(config_of(project)).records()


def runs(project: Where = ".") -> tuple[RunSummary, ...]:
    """Return every run in brief, oldest first: from an index, so that ten thousand cost one file.

    A record that cannot be read is told from its line in the ledger.

    Raises:
        Corrupt: the ledger cannot be read.
    """
    return tuple(sorted(summaries(config_of(project)), key=lambda run: (run.started_at, run.run_id)))


def deployments(project: Where = ".") -> tuple[Deployment, ...]:
    """Return every record of the deployment log, oldest first; none when there is no store yet."""
    config = config_of(project)
    return Store.of(config).log() if has_store(config) else ()


def show(project: Where, ref: str) -> RunRecord | ModelVersion:
    """Return the run or the version whose id is, or starts with, `ref`.

    Raises:
        NotFound: there is neither.
    """
    config = config_of(project)
    try:
        return RunLog.of(config).find(ref)
    except NotFound:
        pass
    try:
        return Store.of(config).version(ref)
    except RehoneError:
        raise NotFound(f"no run and no version starts with {ref!r}: `rehone history` lists runs") from None


def doctor(
    project: Where = ".", *, heal: bool = True, tell_since: When = None, deep: bool = False
) -> tuple[Check, ...]:
    """Look at everything that can break, mend what can be mended, tell trackers what they lack, and say the rest.

    Args:
        heal: when false, nothing is changed and nobody is told.
        tell_since: as `since` of `tell`.
        deep: also read again what every gate was given, and drill the gate and the service, which takes minutes.
    """
    config = config_of(project)
    runlog = RunLog.of(config)
    checks = list(runlog.verify(judged=deep))
    if (lost := lost_store(config, runlog)) is not None:
        checks.append(lost)
    elif has_store(config):
        checks += deploy.examine(Store.of(config), policy=config.deploy, clock=now)
    if _readable(runlog):
        checks += _by_ledger(config, runlog, heal, tell_since)
    if deep:
        checks += _drilled(config)
    return tuple(checks)


def _readable(runlog: RunLog) -> bool:
    try:
        runlog.lines()
    except Corrupt:
        return False
    return True


def _by_ledger(config: Config, runlog: RunLog, heal: bool, tell_since: When) -> Iterator[Check]:
    """Look at, mend and tell what only a ledger that can be read names: regrets, killed runs, runs not told of."""
    if lost_store(config, runlog) is None and has_store(config):
        store = Store.of(config)
        yield from regrets(config, store, store.head())
        yield from stopped(config)
        if heal:
            yield from _heal(store, runlog, config)
    yield from tell(config, since=tell_since) if heal else observers.pending(config, lambda: subjects(config))


def _drilled(config: Config) -> Iterator[Check]:
    """Say what a drill let through: a warning where a key would catch it, else something to act on."""
    from rehone.api.drilling import drill

    try:
        report = drill(config)
    except RehoneError as error:
        yield Check(name="drill", status=CheckStatus.UNKNOWN, detail=f"no drill could be made: {error}")
        return
    caught = [one for one in report.sabotages if one.happened == "caught"]
    said = (
        f"{len(caught)} sabotages were caught on {report.rows:,} held-out rows, {len(report.let_through)} let through"
    )
    yield Check(name="drill", status=CheckStatus.OK, detail=said)
    for one in (*report.let_through, *(s for s in report.sabotages if s.happened == "held")):
        status = CheckStatus.WARN if one.remedy else CheckStatus.ACT
        detail = f"{one.happened}: {one.what} ({one.detail})"
        yield Check(name="drill", subject=one.name, status=status, detail=detail, remedy=one.remedy)


def _heal(store: Store, runlog: RunLog, config: Config) -> list[Check]:
    from rehone import pipeline

    with store.lock("doctor"):
        closed = pipeline.settle(store, runlog, clock=now) + runlog.close_orphans(now=now())
        healed = (*deploy.heal(store, policy=config.deploy, clock=now), *_swept(config, runlog))
    said = [Check(name="run", subject=r.run_id, status=CheckStatus.WARN, detail=r.sentence) for r in closed]
    return [*said, *healed]


def _swept(config: Config, runlog: RunLog) -> Iterator[Check]:
    """Remove what killed processes left beside closed records, and say so."""
    try:
        swept = Clearance.of(config, runlog.lines()).sweep()
    except PermissionError as error:
        yield _not_swept(error)
        return
    if swept:
        said = f"{swept} {'file or folder' if swept == 1 else 'files and folders'} of killed runs removed beside their records"
        yield Check(name="repair", status=CheckStatus.WARN, detail=said)


def _not_swept(error: PermissionError) -> Check:
    return Check(
        name="repair",
        status=CheckStatus.WARN,
        detail=f"what killed runs left beside their records cannot be removed ({error.strerror}: {error.filename})",
        remedy="it does no harm; remove it as the user who ran them, or give write permission",
    )

"""Open the Python door: what the command line can do, as functions.

    from rehone import load, run_pipeline

    record = run_pipeline("path/to/project")
    print(record["status"], record.sentence)
    champion = load("path/to/project")
    champion.predict_proba(frame)

What training needs is imported only where it is used: a rollback works when it is broken.
Only the doors (this module and the command line) read the clock, the user and git.
"""

from __future__ import annotations

import getpass
import logging
import os
import secrets
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rehone import deploy, observers, signing
from rehone.config import CONFIG_NAME, Config, load_config
from rehone.errors import NotFound, RehoneError
from rehone.records import (
    Check,
    CheckStatus,
    Delivery,
    Deployment,
    Event,
    ModelVersion,
    Preview,
    ProjectStatus,
    RunRecord,
    StageEnd,
    short_id,
)
from rehone.runlog import RunLog, refuse_lost_store
from rehone.store import Store, has_store

if TYPE_CHECKING:
    from rehone.artifact import Predictor
    from rehone.pipeline import Door

log = logging.getLogger(__name__)

Where = str | Path | Config
When = date | datetime | str | None


def run_pipeline(
    project: Where = ".",
    *,
    as_of: When = None,
    force: bool = False,
    listen: Callable[[Event], None] | None = None,
    frame: object | None = None,
) -> RunRecord:
    """Do what `rehone run` does, and return the record of the run.

    Args:
        project: folder with a `rehone.toml`, that file, or a `Config`.
        as_of: pretend that it is this day (its midnight in `data.timezone`); left out: now.
        force: train a challenger although no trigger fired; validation and the gate stay.
        listen: is told each stage as it starts, gets on and ends.
        frame: lazy frame (PySpark, DuckDB, Dask, SQLFrame, Polars) that stands for data.source.

    Raises:
        ConfigError: the project's configuration cannot be used.
        StoreError: the run's own record cannot be written.
    """
    from rehone import pipeline

    config = _config(project)
    door = replace(_door(config, moment(as_of, config), force=force, listen=listen), frame=frame)
    return _told(config, pipeline.run(config, door))


STAGES = ("check", "validate", "train", "judge", "deploy")
"""The stages of a run that can be made alone, in their order."""


def run_stage(
    project: Where,
    stage: str,
    *,
    run: str | None = None,
    as_of: When = None,
    force: bool = False,
    listen: Callable[[Event], None] | None = None,
) -> StageEnd:
    """Make one stage of a run, in this process, and return where the run stands after it.

    `check` without `run` begins a run, with `as_of` and `force` as in `run_pipeline`; every other
    stage goes on with the run named. A stage that has ended is not made again; one that was
    interrupted is, and until then the run stays open: `close_run` ends it, or the next run does
    after `project.resume_hours`.

    Raises:
        ConfigError: the configuration cannot be used, or is not the one that the run began with.
        NotFound: there is no such run or stage.
        Locked: another run or stage is under way.
        RehoneError: the stage was interrupted, or one before it has not ended; the run stays open.
    """
    from rehone import pipeline

    config = _config(project)
    if run is None:
        if stage != "check":
            raise NotFound(f"which run is stage {stage} to go on with? Name it; stage check begins one")
        end = pipeline.check(config, _door(config, moment(as_of, config), force=force, listen=listen))
    else:
        end = pipeline.stage(config, _door_of(config, run, listen), stage)
    if end.status is not None:
        _told(config, RunLog.of(config).find(end.run_id))
    return end


def resume_run(project: Where, run: str, *, listen: Callable[[Event], None] | None = None) -> RunRecord:
    """Make the stages that are left of a run that is made stage by stage, and return its record.

    Raises:
        As `run_stage`.
    """
    config = _config(project)
    found = RunLog.of(config).find(run)
    for stage in STAGES:
        if run_stage(config, stage, run=found.run_id, listen=listen).status is not None:
            break
    return RunLog.of(config).find(found.run_id)


def close_run(project: Where, run: str) -> RunRecord:
    """End a run that is made stage by stage as failed if it is still open, and return its record.

    Raises:
        NotFound: there is no such run.
        Locked: one of its stages is under way.
    """
    from rehone import pipeline

    config = _config(project)
    return _told(config, pipeline.close(config, _door_of(config, run, None)))


def _door_of(config: Config, run: str, listen: Callable[[Event], None] | None) -> Door:
    """Stand at the door for a run that has begun."""
    record = RunLog.of(config).find(run)
    return replace(_door(config, record.as_of, listen=listen), run_id=record.run_id)


def _door(
    config: Config, as_of: datetime, *, force: bool = False, listen: Callable[[Event], None] | None = None
) -> Door:
    from rehone import pipeline

    return pipeline.Door(
        as_of=as_of,
        clock=_now,
        run_id=f"{_now():%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(3)}",
        actor=_user(),
        host=socket.gethostname(),
        pid=os.getpid(),
        git_commit=_git_commit(config.root),
        force=force,
        **({"listen": listen} if listen else {}),
    )


def check(project: Where = ".", *, as_of: When = None, frame: object | None = None) -> Preview:
    """Say whether a run would retrain on that day, and why; change nothing.

    A lazy `frame` stands for data.source, as in `run_pipeline`.
    """
    from rehone import pipeline

    config = _config(project)
    return pipeline.preview(config, as_of=moment(as_of, config), now=_now(), frame=frame)


def load(project: Where = ".", version: str | None = None) -> Predictor:
    """Load a version, the live one unless told otherwise, as a predictor.

    Its `predict_proba` takes named columns (a Polars or pandas frame, a mapping of columns or a
    list of rows) and returns probabilities of label 1, shape (n,). `project` may also be the
    path of a store.

    Raises:
        NotFound: nothing is live, or there is no such version.
        Corrupt: a file does not match its digest, or preprocessor and model do not belong together.
        SigningError: no key of `deploy.trusted_keys` has signed it.
    """
    from rehone import artifact

    store, config = _store(project)
    if version is None:
        head = store.head()
        if head is None or head.version is None:
            raise NotFound(f"nothing is live in {store.root}: `rehone run` makes a first version")
        version = head.version
    found, policy = store.version(version), signing.policy_of(config)
    files = store.read(found.id)
    signing.require(found.id, store.signatures(found.id), policy)
    return artifact.unpack(
        found.manifest, files, version=found.id, allow_joblib=policy.allow_joblib, trusted=policy.trusted_types
    )


def status(project: Where = ".") -> ProjectStatus:
    """Say what is live, who serves it, what happened last and what needs healing."""
    config = _config(project)
    runlog = RunLog.of(config)
    runs = {name.value: n for name, n in Counter(line.status for line in runlog.lines()).items()}
    last, lost = runlog.last(), _lost_store(config, runlog)
    if lost is not None or not has_store(config):
        return ProjectStatus(
            project=config.project.name,
            deployment=None,
            version=None,
            last_run=last,
            runs=runs,
            problems=(lost,) if lost else (),
        )
    store = Store.of(config)
    head = store.head()
    problems = tuple(_open_run(run, store) for run in runlog.unfinished())
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
        replicas=deploy.live_replicas(store, config.deploy, now=_now()),
        last_run=last,
        runs=runs,
        problems=problems,
    )


def _open_run(run: RunRecord, store: Store) -> Check:
    """Say of a run that has not ended whether it is under way (ok), was killed (warn), or nobody here can tell."""
    where = f"process {run.pid} on {run.host}"
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


def _lost_store(config: Config, runlog: RunLog) -> Check | None:
    """Say that the store is gone although a run has deployed; `None` when it is there, or never was."""
    try:
        refuse_lost_store(config, runlog.lines())
    except NotFound as error:
        said, _, remedy = str(error).partition(": ")
        return Check(name="store", status=CheckStatus.ACT, detail=said, remedy=remedy)
    return None


def history(project: Where = ".") -> tuple[RunRecord, ...]:
    """Return the record of every run, oldest first."""
    return RunLog.of(_config(project)).records()


def deployments(project: Where = ".") -> tuple[Deployment, ...]:
    """Return every record of the deployment log, oldest first; none when there is no store yet."""
    config = _config(project)
    return Store.of(config).log() if has_store(config) else ()


def show(project: Where, ref: str) -> RunRecord | ModelVersion:
    """Return the run or the version whose id is, or starts with, `ref`.

    Raises:
        NotFound: there is neither.
    """
    config = _config(project)
    try:
        return RunLog.of(config).find(ref)
    except NotFound:
        pass
    try:
        return Store.of(config).version(ref)
    except RehoneError:
        raise NotFound(f"no run and no version starts with {ref!r}: `rehone history` lists runs") from None


def rollback(
    project: Where = ".",
    *,
    to: str | None = None,
    because: str = "",
    listen: Callable[[Deployment], None] | None = None,
) -> Deployment:
    """Put an earlier version back: one more record in the log, whatever became of data and code.

    Args:
        to: id of a version, or its start; `"none"` serves nothing; left out: the version that
            was confirmed before the live one.
        listen: is given the record as soon as it is in the log, before trackers are told of it.

    Raises:
        NotFound: there is no such version, or none to go back to.
        Corrupt: that version is damaged and must not go live.
        StoreError: it is not signed as `deploy.trusted_keys` asks, or never proved itself.
    """
    config = _config(project)
    if not has_store(config):
        refuse_lost_store(config, RunLog.of(config).lines())
    store = Store.of(config)
    head = store.head()
    order = deploy.Order(
        expect_generation=head.generation if head else 0,
        actor=_user(),
        reason=because or "rolled back by hand",
    )
    made = deploy.rollback(store, to, order, clock=_now, policy=signing.policy_of(config))
    if listen:
        listen(made)
    _observe(config, made.at)
    return made


def tell(project: Where = ".", *, since: When = None) -> tuple[Check, ...]:
    """Tell the trackers of all runs and deployments that they were not told of yet; one check for each tracker.

    Args:
        since: tell of everything from that day on, even of what was over when the tracker was
            configured; left out: of what ended since then.
    """
    config = _config(project)
    return observers.tell(config, lambda: _subjects(config), clock=_now, reach=moment(since, config) if since else None)


def deliveries(project: Where, run: str) -> tuple[Delivery, ...]:
    """Return which trackers were told of a run, named by its whole id, and which were not yet."""
    return observers.deliveries(_config(project), run)


def _told(config: Config, record: RunRecord) -> RunRecord:
    """Tell the trackers of a run that has ended, and return its record as it is."""
    _observe(config, record.started_at)
    return record


def _observe(config: Config, since: datetime) -> None:
    for check in observers.tell(config, lambda: _subjects(config), clock=_now, since=since):
        if check.status is not CheckStatus.OK:
            log.warning("tracker not told", extra={"because": check.detail})


def _subjects(config: Config) -> list[observers.Subject]:
    """Return all that trackers can be told of, oldest first."""
    found = [observers.Subject(line.run_id, line.started_at) for line in RunLog.of(config).lines()]
    if has_store(config):
        found += [observers.Subject(f"{observers.DEPLOYMENT}{d.generation}", d.at) for d in Store.of(config).log()]
    return sorted(found, key=lambda subject: subject.at)


def doctor(project: Where = ".", *, heal: bool = True, tell_since: When = None) -> tuple[Check, ...]:
    """Look at everything that can break, mend what can be mended, tell trackers what they lack, and say the rest.

    Args:
        heal: when false, nothing is changed and nobody is told.
        tell_since: as `since` of `tell`.
    """
    config = _config(project)
    runlog = RunLog.of(config)
    checks = list(runlog.verify())
    if (lost := _lost_store(config, runlog)) is not None:
        checks.append(lost)
    elif has_store(config):
        store = Store.of(config)
        checks += deploy.examine(store, policy=config.deploy, clock=_now)
        if heal:
            checks += _heal(store, runlog, config)
    return (
        *checks,
        *(tell(config, since=tell_since) if heal else observers.pending(config, lambda: _subjects(config))),
    )


def _heal(store: Store, runlog: RunLog, config: Config) -> list[Check]:
    with store.lock("doctor"):
        closed = runlog.close_orphans(now=_now())
        healed = deploy.heal(store, policy=config.deploy, clock=_now)
    said = [Check(name="run", subject=r.run_id, status=CheckStatus.WARN, detail=r.sentence) for r in closed]
    return [*said, *healed]


def moment(as_of: When, config: Config) -> datetime:
    """Return the instant that a date names: its midnight in `data.timezone`, or now.

    Raises:
        RehoneError: the text is not an ISO date or time.
    """
    if as_of is None:
        return _now()
    if isinstance(as_of, str):
        try:
            as_of = datetime.fromisoformat(as_of)
        except ValueError:
            raise RehoneError(f"as_of {as_of!r} is not a date: write it as 2026-08-31 or 2026-08-31T02:00") from None
    if not isinstance(as_of, datetime):
        as_of = datetime.combine(as_of, time())
    zone = ZoneInfo(config.data.timezone)
    return (as_of if as_of.tzinfo else as_of.replace(tzinfo=zone)).astimezone(UTC)


def _config(project: Where) -> Config:
    return project if isinstance(project, Config) else load_config(Path(project))


def _store(project: Where) -> tuple[Store, Config]:
    if not isinstance(project, Config) and (Path(project) / "FORMAT").exists():
        return Store(Path(project)), Config()
    config = _config(project)
    if not has_store(config):
        if (lost := _lost_store(config, RunLog.of(config))) is not None:
            raise NotFound(lost.sentence)
        raise NotFound(f"nothing is live: there is no store at {config.store_path}: `rehone run` makes a first version")
    return Store.of(config), config


def _now() -> datetime:
    return datetime.now(UTC)


def _user() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"{os.getuid()}@{socket.gethostname()}"


def _git_commit(folder: Path) -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


__all__ = [
    "CONFIG_NAME",
    "STAGES",
    "check",
    "close_run",
    "deployments",
    "doctor",
    "history",
    "load",
    "resume_run",
    "rollback",
    "run_pipeline",
    "run_stage",
    "show",
    "status",
    "tell",
]

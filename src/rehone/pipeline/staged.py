"""Make the stages of a run one at a time, each in a process or on a machine of its own.

The stages are those of the story, in its order. What they hand on lies in the run's folder and
in its record; between two of them the record says until when the run may rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import rehone
from rehone import deploy
from rehone.config import Config
from rehone.errors import ConfigError, NotFound, StoreError
from rehone.pipeline.draft import Draft
from rehone.pipeline.evidence import read_champion
from rehone.pipeline.feeds import open_feeds
from rehone.pipeline.folder import Folder, find, kept, looked
from rehone.pipeline.maturing import as_recorded
from rehone.pipeline.scene import Door, Scene
from rehone.pipeline.story import Step, begin, conclude, go, refuse_overlap, steps
from rehone.records import Problem, RunRecord, RunStatus, StageEnd
from rehone.runlog import RunLog
from rehone.store import Store

STAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "check": ("look", "decide"),
        "validate": ("validate",),
        "train": ("probe", "train"),
        "judge": ("judge",),
        "deploy": ("publish", "shadow", "ask", "deploy"),
    }
)
"""The stages that can be made alone, in order, and the steps of the story that each is made of."""


def check(config: Config, door: Door) -> StageEnd:
    """Begin a run and make its first stage; like a whole run it ends as failed whatever happens in it.

    Raises:
        StoreError: the record itself cannot be written.
    """

    def tell(scene: Scene) -> RunRecord:
        return _make(scene, _folder(scene.runlog, scene.draft.record), _steps(config, "check"))

    return _end("check", begin(config, door, tell))


def stage(config: Config, door: Door, name: str) -> StageEnd:
    """Make one stage of the run `door.run_id`; one that has ended is not made again.

    What interrupts a stage leaves the run open, so that it can be made again, unless a person
    must change something first: then the run has failed.

    A run that waits for a person is left to them.

    Raises:
        NotFound: there is no such run or no such stage.
        ConfigError: the configuration, or Rehone, is not the one that the run began with.
        Locked: another run or stage is under way.
        RehoneError: the stage was interrupted, and may be made again.
        StoreError: a stage before it has not ended; or the record cannot be written.
    """
    runlog = RunLog.of(config)
    record = _begun(runlog, door.run_id)
    if record.status is None and record.approval is None:
        _refuse_other(config, record)
        store = Store.of(config, make=True)
        with store.lock(door.run_id):
            refuse_overlap(runlog, now=door.clock(), own=door.run_id)
            record = _stage(config, door, _Books(runlog, store), name)
    return _end(name, record)


def close(config: Config, door: Door) -> RunRecord:
    """End the run `door.run_id` as failed if it is still open, and return its record; one that waits for a person stays.

    Raises:
        NotFound: there is no such run.
        Locked: one of its stages is under way.
    """
    runlog = RunLog.of(config)
    record = runlog.find(door.run_id)
    if record.status is not None or record.waits:
        return record
    with Store.of(config, make=True).lock(door.run_id):
        record = runlog.find(door.run_id)
        if record.status is None and not record.waits:
            draft = Draft(record, runlog, clock=door.clock, listen=door.listen)
            record = draft.end(RunStatus.FAILED, _closing(record))
    return record


class _Books:
    """Where a run is written down, and where versions are."""

    def __init__(self, runlog: RunLog, store: Store) -> None:
        self.runlog = runlog
        self.store = store


def _stage(config: Config, door: Door, books: _Books, name: str) -> RunRecord:
    record = books.runlog.find(door.run_id)
    if record.status is not None:  # somebody else ended it while this process waited
        return record
    folder = _folder(books.runlog, record)
    done = folder.finished()
    asked = _steps(config, name)
    left = tuple(step for step in asked if step[0] not in done)
    if not left:
        return record
    _refuse_gap(config, asked, done, record)
    draft = Draft(record, books.runlog, clock=door.clock, listen=door.listen)
    try:
        return _make(_restored(config, door, books, draft), folder, left)
    except Exception as error:
        if Problem(type=type(error).__name__, message=str(error)).transient:
            draft.interrupt(error, _rest(config, door))
            raise
        return draft.fail(error)
    except BaseException:  # SIGTERM or Ctrl-C: it may be made again, however long it had taken
        draft.rest(_rest(config, door))
        raise


def _make(scene: Scene, folder: Folder, left: tuple[Step, ...]) -> RunRecord:
    """Make steps, keeping what each leaves; the run ends, or may rest until the next stage."""
    ending = go(scene, left, lambda name: folder.finish(name, kept(scene, name)))
    if ending or scene.draft.record.waits:
        return conclude(scene, ending)
    scene.draft.rest(_rest(scene.config, scene.door))
    return scene.draft.record


def _rest(config: Config, door: Door) -> datetime:
    """Return until when the run may rest from now on."""
    return door.clock() + timedelta(hours=config.project.resume_hours)


def _restored(config: Config, door: Door, books: _Books, draft: Draft) -> Scene:
    """Set the scene as the stages before have left it."""
    config = as_recorded(config, draft.record.evidence)
    scene, folder = Scene(config, door, books.store, books.runlog, draft), _folder(books.runlog, draft.record)
    before = looked(folder)
    scene.head = before.head
    scene.champion = read_champion(books.store, scene.head, config)
    if "validate" not in folder.finished():
        scene.feeds = open_feeds(config, door.as_of, champion=scene.champion is not None, frame=door.frame)
        scene.feeds = scene.feeds.remembering(before.warnings)
    find(scene, folder)
    if "judge" in folder.finished():  # a promotion may have been interrupted
        healed = deploy.heal(books.store, policy=config.deploy, clock=door.clock)
        draft.note(deployment_checks=(*draft.record.deployment_checks, *healed))
    return scene


def _steps(config: Config, name: str) -> tuple[Step, ...]:
    if name not in STAGES:
        raise NotFound(f"no stage {name!r}: the stages are {', '.join(STAGES)}")
    return tuple(step for step in steps(config) if step[0] in STAGES[name])


def _folder(runlog: RunLog, record: RunRecord) -> Folder:
    return Folder(*runlog.folder_of(record))


def _begun(runlog: RunLog, run_id: str) -> RunRecord:
    record = runlog.find(run_id)
    if record.status is None and not _folder(runlog, record).finished():
        raise StoreError(f"run {record.run_id} was not begun by `rehone stage check`: it cannot be made stage by stage")
    return record


def _refuse_other(config: Config, record: RunRecord) -> None:
    problems = []
    if config.sha256 != record.config_sha256:
        problems.append(
            f"it was changed since run {record.run_id} began: put it back, or close that run and begin another"
        )
    if rehone.__version__ != record.rehone_version:
        problems.append(
            f"run {record.run_id} began with Rehone {record.rehone_version}, here is {rehone.__version__}: install the same"
        )
    if problems:
        raise ConfigError(str(config.root / "rehone.toml"), problems)


def _refuse_gap(config: Config, asked: tuple[Step, ...], done: Mapping[str, object], record: RunRecord) -> None:
    for name, _ in steps(config):
        if name == asked[0][0]:
            return
        if name not in done:
            before = next(group for group, names in STAGES.items() if name in names)
            raise StoreError(
                f"stage {before} of run {record.run_id} has not ended: make it first, with "
                f"`rehone stage {before} --run {record.run_id}`"
            )


def _closing(record: RunRecord) -> str:
    last = record.stages[-1].name if record.stages else "its first stage"
    if record.problem is not None:
        return f"closed after {last} was interrupted: {record.problem.message}"
    return f"closed after {last}: its next stage was not made"


def _end(name: str, record: RunRecord) -> StageEnd:
    if record.status is not None:
        return StageEnd(run_id=record.run_id, stage=name, status=record.status, sentence=record.sentence)
    last = next(s for s in reversed(record.stages) if s.name in STAGES[name])
    return StageEnd(run_id=record.run_id, stage=name, status=None, sentence=last.sentence)

"""Carry out a person's answer to a challenger that passed the gate and waits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import rehone
from rehone.config import Config
from rehone.errors import ConfigError, StoreError
from rehone.pipeline.asking import settle
from rehone.pipeline.draft import Draft
from rehone.pipeline.folder import Folder, find
from rehone.pipeline.judging import judge
from rehone.pipeline.maturing import as_recorded
from rehone.pipeline.promoting import promote
from rehone.pipeline.scene import Door, Ending, Scene
from rehone.pipeline.story import conclude, go, refuse_overlap
from rehone.records import Approval, Problem, RunRecord, RunStatus, short_id
from rehone.runlog import RunLog
from rehone.store import Store

JUDGED_BY = ("project", "data", "predictions", "train", "gate", "shadow")
"""Sections of the configuration that make a challenger and its verdict: while it waits they must stay."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Who answers, and why."""

    by: str
    because: str = ""


def approve(config: Config, door: Door, answer: Answer) -> RunRecord:
    """Bring the challenger of the run `door.run_id` into production, and return the record of the run.

    Where another version has gone live since it was judged, it is judged again, against that one.
    An approval that was interrupted is gone on with; who gave it first, and why, stays.

    Raises:
        NotFound: there is no such run.
        StoreError: the run does not wait; or the approval was interrupted, and may be given again.
        ConfigError: the challenger was judged by another configuration.
        Locked: another run or answer is under way.
    """
    runlog, store = RunLog.of(config), Store.of(config)
    with store.lock(door.run_id):
        for record in settle(store, runlog, clock=door.clock):  # before its time is over: what is live is no failure
            if record.run_id == door.run_id:
                return record
        draft, asked = _open(runlog, door)
        _refuse_changed(config, draft.record)
        if _generation(store) != asked.generation:
            _refuse_other_release(draft.record)
        if not asked.approved:
            asked = replace(asked, approved=True, by=answer.by, at=door.clock(), because=answer.because)
        draft.note(approval=asked, problem=None)
        runlog.note(draft.record)  # whatever happens now, the answer is known
        scene = _scene(config, replace(door, actor=asked.by), store, runlog, draft)
        return _deployed(scene)


def reject(config: Config, door: Door, answer: Answer) -> RunRecord:
    """End the run `door.run_id` as rejected by a person; what is live stays.

    Raises:
        NotFound: there is no such run.
        StoreError: the run does not wait.
        Locked: another run or answer is under way.
    """
    runlog, store = RunLog.of(config), Store.of(config)
    with store.lock(door.run_id):
        settle(store, runlog, clock=door.clock)
        draft, asked = _open(runlog, door)
        run = door.run_id
        if asked.approved:
            raise StoreError(
                f"run {run} was approved by {asked.by} already, and that was interrupted: `rehone approve {run}` goes on "
                f"with it, `rehone stage close --run {run}` ends it"
            )
        draft.note(approval=replace(asked, approved=False, by=answer.by, at=door.clock(), because=answer.because))
        said = f"version {short_id(draft.record.version)} was rejected by {answer.by}: {answer.because}"
        return draft.end(RunStatus.REJECTED, said)


def _open(runlog: RunLog, door: Door) -> tuple[Draft, Approval]:
    """Open the record of a run that waits, once those whose time is over are closed."""
    refuse_overlap(runlog, now=door.clock(), own=door.run_id)
    record = runlog.find(door.run_id)
    if record.status is not None:
        ended = record.status.value.replace("_", " ")
        raise StoreError(f"run {record.run_id} does not wait for approval: it ended {ended}: {record.sentence}")
    if record.approval is None:
        raise StoreError(f"run {record.run_id} does not wait for approval: its challenger has not passed the gate yet")
    return Draft(record, runlog, clock=door.clock, listen=door.listen), record.approval


def _refuse_changed(config: Config, record: RunRecord) -> None:
    now, then = config.as_recorded(), record.config
    problems = [
        f"[{section}] was changed since run {record.run_id} was judged ({', '.join(_changed(now, then, section))}): put it "
        f"back, or `rehone reject {record.run_id} --because TEXT` and run again"
        for section in JUDGED_BY
        if now.get(section) != then.get(section)
    ]
    if problems:
        raise ConfigError(str(config.root / "rehone.toml"), problems)


def _changed(now: dict[str, Any], then: dict[str, Any], section: str) -> list[str]:
    new, old = now.get(section, {}), then.get(section, {})
    return sorted(key for key in {*new, *old} if new.get(key) != old.get(key))


def _generation(store: Store) -> int:
    head = store.head()
    return head.generation if head else 0


def _refuse_other_release(record: RunRecord) -> None:
    """Refuse to judge again what another release has judged: one verdict, one release, so that it can be replayed."""
    if rehone.__version__ != record.rehone_version:
        raise StoreError(
            f"another version has gone live since run {record.run_id} was judged with Rehone {record.rehone_version}, and "
            f"here is {rehone.__version__}: install the same to have it judged again, or reject it and run again"
        )


def _scene(config: Config, door: Door, store: Store, runlog: RunLog, draft: Draft) -> Scene:
    """Set the scene for a deployment: what is approved is the version that was judged."""
    record = draft.record
    if record.trigger is None or record.verdict is None or record.version is None or record.approval is None:
        raise StoreError(f"the record of run {record.run_id} lacks its verdict: reject it, and run again")
    scene = Scene(as_recorded(config, record.evidence), door, store, runlog, draft)
    generation = record.approval.generation
    scene.head = next((made for made in store.log() if made.generation == generation), None)
    scene.decision, scene.verdict, scene.version = record.trigger, record.verdict, record.version
    return scene


def _deployed(scene: Scene) -> RunRecord:
    """Deploy, and close the record; what may pass by itself leaves it open, to be approved again."""
    draft = scene.draft
    try:
        return conclude(scene, go(scene, (("deploy", _promoted),)))
    except Exception as error:
        if Problem(type=type(error).__name__, message=str(error)).transient:
            draft.interrupt(error, None)
            raise
        return draft.fail(error)


def _promoted(scene: Scene) -> Ending | None:
    ending = promote(scene, again=_again)
    asked = scene.draft.record.approval
    if ending is None or asked is None or not asked.judged_again:
        return ending
    status, said = ending
    if status is not RunStatus.DEPLOYED:
        return ending
    return status, f"{said}; the deployment log had moved on meanwhile, so it was judged again: {scene.verdict.reason}"


def _again(scene: Scene) -> Ending | None:
    """Judge the challenger again, on the same held-out rows, against the version that has gone live since."""
    draft, record = scene.draft, scene.draft.record
    _refuse_other_release(record)
    find(scene, Folder(*scene.runlog.folder_of(record)))
    if record.approval is not None:
        draft.note(approval=replace(record.approval, judged_again=True))
    return judge(scene)

"""Ask a person before a challenger goes live, and say which runs wait for an answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from rehone.errors import StoreError
from rehone.pipeline.draft import Draft
from rehone.pipeline.folder import Folder, kept
from rehone.pipeline.promoting import confirmed_before
from rehone.pipeline.scene import Ending, Scene
from rehone.records import Approval, RunRecord, short_id
from rehone.runlog import RunLog
from rehone.store import Store


def ask(scene: Scene) -> Ending | None:
    """Leave in the run's folder all that an answer may need, and note until when a person may give it."""
    record, asked_at = scene.draft.record, scene.door.clock()
    folder = Folder(*scene.runlog.folder_of(record))
    done = folder.finished()
    for stage in record.stages:
        if stage.name not in done:
            folder.finish(stage.name, kept(scene, stage.name))
    approval = Approval(
        asked_at=asked_at,
        until=asked_at + timedelta(hours=scene.config.deploy.approval_hours),
        champion=scene.champion.id if scene.champion else None,
        generation=scene.head.generation if scene.head else 0,
    )
    sentence = _asking(record, approval, scene.verdict.reason)
    scene.draft.note(approval=approval, sentence=sentence, staged_until=None)
    scene.draft.say(sentence)
    return None


def _asking(record: RunRecord, approval: Approval, verdict: str) -> str:
    return (
        f"version {short_id(record.version)} waits for approval until {approval.until:%Y-%m-%d %H:%M} UTC: "
        f"`rehone approve {record.run_id}`, or `rehone reject {record.run_id} --because TEXT`; {verdict}"
    )


def waiting(runlog: RunLog) -> tuple[RunRecord, ...]:
    """Return the runs that wait for a person, and those whose approval was interrupted."""
    return tuple(record for record in runlog.unfinished() if record.approval is not None)


def held_back(reason: str, other: RunRecord) -> str:
    """Say that there is a reason to train, and which run must be answered first."""
    approval, run = other.approval, other.run_id
    if approval is None:
        raise StoreError(f"run {run} waits for nobody")
    if approval.approved:
        said = f"the approval of run {run} by {approval.by} is interrupted: `rehone approve {run}` goes on with it"
    else:
        said = (
            f"version {short_id(other.version)} of run {run} waits for approval until "
            f"{approval.until:%Y-%m-%d %H:%M} UTC: `rehone approve {run}`, or `rehone reject {run} --because TEXT`"
        )
    return f"nothing is trained while {said}; the reason to train is: {reason}"


def settle(store: Store, runlog: RunLog, *, clock: Callable[[], datetime]) -> tuple[RunRecord, ...]:
    """Close the records of runs whose version went live by an approval that was killed before it could say so.

    To be called with the run lock held.
    """
    closed = []
    for record in waiting(runlog):
        before = confirmed_before(store, record.run_id)
        if before is None:
            continue
        made, ending = before
        draft = Draft(record, runlog, clock=clock, listen=lambda _: None)
        draft.note(deployment=made)
        closed.append(draft.end(*ending))
    return tuple(closed)

"""Bring a challenger that passed the gate into production, judged again where another version went live meanwhile."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from rehone import codec, deploy, signing
from rehone.errors import Conflict, StoreError
from rehone.pipeline.anchors import past_champions
from rehone.pipeline.evidence import read_champion
from rehone.pipeline.judging import judge
from rehone.pipeline.scene import Ending, Scene
from rehone.records import Deployment, DeploymentAction, DeploymentState, RunStatus, short_id
from rehone.store import Store

log = logging.getLogger(__name__)

JUDGED_AGAIN = 3

Judge = Callable[[Scene], Ending | None]


def promote(scene: Scene, again: Judge = judge) -> Ending | None:
    """Bring the challenger into production; where somebody deployed since the run looked, judge it `again` first."""
    if before := confirmed_before(scene.store, scene.door.run_id):
        made, ending = before
        scene.draft.note(deployment=made)
        return ending
    for _ in range(JUDGED_AGAIN):
        try:
            return _promote(scene)
        except Conflict:
            # somebody deployed since we looked: what was judged against is no longer live
            scene.head = scene.store.head()
            scene.champion = read_champion(scene.store, scene.head, scene.config)
            scene.draft.note(champion=scene.champion.id if scene.champion else None)
            if ended := again(scene):
                return ended
    return (
        RunStatus.FAILED,
        f"the live version changed {JUDGED_AGAIN} times while this run judged: run again when it is quiet",
    )


def confirmed_before(store: Store, run_id: str) -> tuple[Deployment, Ending] | None:
    """Find the confirmed deployment of a run that was killed before it could say so, and how that run ends by it."""
    records = store.log()
    own = [d for d in records if d.run_id == run_id and _confirmed(d)]
    if not own:
        return None
    made, head = own[-1], records[-1]
    said = f"version {short_id(made.version)} (generation {made.generation}) was confirmed before this stage was interrupted"
    if head.version == made.version:
        return made, (RunStatus.DEPLOYED, f"{said}, and is live")
    since = f"{short_id(head.version)} by {head.actor} as generation {head.generation}: {head.reason}"
    return made, (RunStatus.ROLLED_BACK, f"{said}; since then it was replaced by {since}")


def _confirmed(made: Deployment) -> bool:
    return made.state is DeploymentState.CONFIRMED and made.action is not DeploymentAction.ROLLBACK


def _promote(scene: Scene) -> Ending:
    config = scene.config
    promotion = deploy.promote(
        scene.store,
        scene.version,
        deploy.Order(
            expect_generation=scene.head.generation if scene.head else 0,
            actor=scene.door.actor,
            run_id=scene.door.run_id,
            as_of=scene.door.as_of,
            reason=_reason(scene),
            gate_sha256=hashlib.sha256(codec.encode(scene.verdict)).hexdigest(),
        ),
        signing.policy_of(config),
        clock=scene.door.clock,
    )
    healed = scene.draft.record.deployment_checks
    scene.draft.note(deployment=promotion.deployment, deployment_checks=(*healed, *promotion.checks))
    if not promotion.confirmed:
        return (RunStatus.ROLLED_BACK if promotion.trial else RunStatus.FAILED), promotion.sentence
    _clean_up(scene)
    return RunStatus.DEPLOYED, promotion.sentence


def _reason(scene: Scene) -> str:
    approval = scene.draft.record.approval
    if approval is None or not approval.approved:
        return scene.decision.reason
    return f"{scene.decision.reason}; approved by {approval.by}" + (f": {approval.because}" if approval.because else "")


def _clean_up(scene: Scene) -> None:
    try:
        asked = scene.config.gate.anchor_budget is not None
        anchors = past_champions(scene.store, (), scene.door.as_of).versions if asked else ()
        scene.store.collect(scene.config.deploy.keep_versions, also=anchors)
    except (StoreError, OSError):  # old versions that stay behind do no harm
        log.warning("clean-up failed", exc_info=True, extra={"run_id": scene.door.run_id})

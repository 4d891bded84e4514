"""Let the service score a challenger beside the champion before it is promoted, and judge what it saw."""

from __future__ import annotations

from rehone import artifact, deploy, gate, signing
from rehone.pipeline.scene import Ending, Scene
from rehone.records import Outcome, RunStatus, Verdict


def shadow(scene: Scene) -> Ending | None:
    """Stage the new version for `shadow.seconds`; without a champion or a live server, say so and go on."""
    policy, draft, head = scene.config.shadow, scene.draft, scene.head
    if policy.seconds is None:
        return None
    if head is None or head.version is None:
        draft.say("not scored beside the champion: there is none")
        return None
    order = deploy.ShadowOrder(
        version=scene.version, run_id=scene.door.run_id, beside=head, seconds=policy.seconds, share=policy.share
    )
    found = deploy.shadow(
        scene.store,
        order,
        signing.policy_of(scene.config),
        clock=scene.door.clock,
        progress=lambda done, total, what: draft.progress("shadow", done, total, what),
    )
    draft.say(found.sentence)
    if found.unfit:
        draft.note(deployment_checks=(*draft.record.deployment_checks, *found.checks))
        return RunStatus.FAILED, found.sentence
    if found.report is None:
        return None
    draft.note(shadow=found.report)
    verdict = gate.judge_shadow(found.report, artifact.read_profile(scene.store.read(scene.version)).scores, policy)
    draft.note(shadow_verdict=verdict)
    return _ending_of(verdict)


def _ending_of(verdict: Verdict) -> Ending | None:
    if verdict.outcome is Outcome.PASS:
        return None
    return (RunStatus.REJECTED if verdict.outcome is Outcome.FAIL else RunStatus.INCONCLUSIVE), verdict.reason

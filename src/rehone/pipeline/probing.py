"""Ask one cheap fit whether a retrain would gain anything, before the search is paid for."""

from __future__ import annotations

from rehone import artifact, train
from rehone.artifact import Predictor
from rehone.errors import RehoneError
from rehone.pipeline import recalibrating
from rehone.pipeline.evidence import Champion
from rehone.pipeline.scene import Ending, Scene
from rehone.records import Manifest, Probe, RunStatus, TriggerKind, short_id

PAID = (TriggerKind.FORCED, TriggerKind.BOOTSTRAP)
"""Reasons that no probe ends: a person has asked, or nothing is live."""


def probe(scene: Scene) -> Ending | None:
    """Note what a retrain is expected to gain; end the run when that is nothing and the policy says so.

    A run that a person has forced, and one without a champion, goes on whatever the probe says. One
    that is to recalibrate the champion is not asked: it is no retrain, and its gain is not in ROC-AUC.
    """
    champion, policy = scene.champion, scene.config.train
    if policy.probe == "off":
        return None
    if champion is None or champion.version is None:
        scene.draft.say("nothing to compare with: there is no champion")
        return None
    if recalibrating.meant(scene):
        scene.draft.say("not asked: the champion is to be recalibrated, which is no retrain")
        return None
    found = _asked(scene, champion, champion.version.manifest)
    scene.draft.note(probe=found)
    ends = policy.probe == "skip" and found.skip and scene.decision.kind not in PAID
    if not ends:
        scene.draft.say(f"{found.detail}; it goes on all the same" if found.skip else found.detail)
        return None
    return RunStatus.SKIPPED, (
        f"{found.detail} (train.probe); version {short_id(champion.id)} stays. It would train all the same with "
        '--force, or with train.probe = "say"'
    )


def _asked(scene: Scene, champion: Champion, manifest: Manifest) -> Probe:
    learn = scene.learned
    contract = artifact.learn_contract(
        learn, scene.features, label=scene.config.data.label, categorical=scene.config.data.categorical
    )
    entity = scene.config.data.entity_column if scene.config.gate.blocks in ("auto", "entity") else None
    return train.probe(
        train.Known(frame=learn, trailing_start=scene.split.train.start, contract=contract, block=entity),
        train.Past(
            train_window=manifest.train_window,
            train_end=manifest.train_end,
            train_rows=manifest.train_rows,
            asked=_loaded(champion),
            recalibrated=manifest.recalibration is not None,
        ),
        scene.config.train,
        seed=scene.config.project.seed,
    )


def _loaded(champion: Champion) -> Predictor | None:
    try:
        return champion.predictor
    except RehoneError:
        return None

"""Bring the challenger before the gate, and keep all that the gate was given."""

from __future__ import annotations

from rehone import gate
from rehone.pipeline import figures
from rehone.pipeline.anchors import Past, past_champions, scored_anchors
from rehone.pipeline.comparison import Matter, holdout, scored_champion
from rehone.pipeline.replaying import judged
from rehone.pipeline.scene import Ending, Scene
from rehone.records import Outcome, RunStatus, Verdict


def judge(scene: Scene) -> Ending | None:
    """Let the gate judge the winner of the search against the champion, on the held-out rows."""
    config, held = scene.config, scene.held
    challenger = gate.Scored(
        version=None,
        scores=scene.search.predictor.predict_proba(held),
        threshold=scene.search.predictor.threshold,
        train_end=scene.search.train_end,
    )
    lines = scene.runlog.lines()
    past = past_champions(scene.store, lines, scene.door.as_of) if config.gate.anchor_budget else Past(())
    matter = Matter(
        config=config,
        contract=scene.search.predictor.contract,
        window=scene.split.holdout,
        champion=scene.champion,
        lines=lines,
        learned=scene.learned,
        as_of=scene.door.as_of,
        anchor_tries=past.tries,
    )
    rows, champion = holdout(matter, held), scored_champion(scene.champion, held)
    scene.verdict = judged(
        scene,
        rows,
        challenger,
        champion,
        config.gate,
        costs=(config.train.cost_false_positive, config.train.cost_false_negative),
        anchors=scored_anchors(config, scene.store, past, held),
    )
    scene.draft.note(verdict=scene.verdict)
    scene.runlog.note(scene.draft.record)  # judged again, it is of what now lies beside the record
    scene.draft.say(scene.verdict.reason)
    figures.judged(scene, rows, (challenger, champion))
    return _ending_of(scene.verdict)


def _ending_of(verdict: Verdict) -> Ending | None:
    if verdict.outcome is Outcome.PASS:
        return None
    if verdict.outcome is Outcome.FAIL:
        return RunStatus.REJECTED, verdict.reason
    if verdict.outcome is Outcome.INCONCLUSIVE or verdict.lacks_rows:
        return RunStatus.INCONCLUSIVE, verdict.reason
    return RunStatus.FAILED, verdict.reason

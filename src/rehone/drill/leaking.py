"""Let a challenger learn from a column that is only known after the event."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import polars as pl

from rehone import artifact, gate, profile
from rehone.drill.ground import Ground
from rehone.errors import DataError
from rehone.pipeline.publishing import publish
from rehone.pipeline.scene import Scene
from rehone.records import CheckStatus, Outcome, Sabotage, ShadowReport, Verdict

LEAK = "known_only_afterwards"
"""Column that holds the label but for a little noise, in all rows of the past, and nothing in rows to come."""
WHAT = "it learned from a column that is filled in after the event, and is empty when it is asked"


def leaking_feature(ground: Ground) -> Sabotage:
    """Judge it on the past, where the column is filled, and beside the champion, where it is not, if that is set.

    The gate sees only the past: there the column is a good feature. What finds it out is to be scored
    on what is really asked.
    """
    if ground.config.predictions.train_on == "served":
        raise DataError("a challenger learns only from what was served (predictions.train_on), where no such column is")
    rows = _with_leak(ground)
    learned = rows.filter(pl.col("__time__") < ground.scene.split.holdout.start)
    search = ground.fit(learned, seed=5, more=(LEAK,))
    held = rows.filter(pl.col("__time__") >= ground.scene.split.holdout.start)
    asked = search.predictor.predict_proba(held.with_columns(pl.lit(None, pl.Float64).alias(LEAK)))
    told = Sabotage(name="leaking feature", what=WHAT, expected="caught", happened="caught")
    verdict = ground.bring(search, rows=rows)
    if verdict.outcome is not Outcome.PASS:
        return _caught(told, verdict)
    if ground.config.shadow.seconds is not None:
        scene = copy.copy(ground.scene)
        scene.search, scene.rows = search, rows
        shadowed = _beside(ground, scene, asked)
        if shadowed.outcome is not Outcome.PASS:
            return _caught(told, shadowed)
    harm = ground.harm(asked, search.predictor.threshold)
    return Sabotage(
        name=told.name,
        what=WHAT,
        expected="caught",
        happened="let through" if harm else "harmless",
        detail=f"once asked: {harm}" if harm else "without that column it is as good as the champion",
        remedy="set shadow.seconds, so that it is scored on what is really asked before it goes live; or list data.features"
        if harm
        else "",
    )


def _caught(told: Sabotage, verdict: Verdict) -> Sabotage:
    wrong = [c.label for c in verdict.checks if c.status in (CheckStatus.ACT, CheckStatus.UNKNOWN)]
    return replace(told, caught_by=tuple(dict.fromkeys(wrong)) or (verdict.outcome.value,), detail=verdict.reason)


def _with_leak(ground: Ground) -> pl.DataFrame:
    draw = np.random.default_rng(ground.config.project.seed)
    rows = ground.scene.rows
    label = rows[ground.config.data.label].cast(pl.Float64).to_numpy()
    return rows.with_columns(pl.Series(LEAK, label + draw.normal(0, 0.2, rows.height)))


def _beside(ground: Ground, scene: Scene, asked: np.ndarray) -> Verdict:
    """Judge what servers would report of it, had every held-out row been asked once more without the column."""
    publish(scene)
    version = scene.version
    kept = artifact.read_profile(ground.scene.store.read(version))
    champion = ground.champion
    before = champion.predict_proba(ground.scene.held)
    threshold = scene.search.predictor.threshold
    counts = profile.count(ground.scene.held.with_columns(pl.Series("__score__", asked)), kept, score="__score__")
    apart = asked - before
    report = ShadowReport(
        version=version,
        rows=len(asked),
        changed_decisions=int(((asked >= threshold) != (before >= champion.threshold)).sum()),
        sum_difference=float(apart.sum()),
        sum_squared_difference=float((apart**2).sum()),
        largest_difference=float(np.abs(apart).max()),
        champion_seconds=1.0,
        challenger_seconds=1.0,
        score_counts=counts.scores.counts if counts.scores else (),
    )
    return gate.judge_shadow(report, kept.scores, ground.config.shadow)

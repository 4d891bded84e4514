"""Make a version of the challenger that won: its model, its profile, its golden rows, its manifest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from rehone import artifact, codec, estimate, profile, signing
from rehone.pipeline.comparison import marks
from rehone.pipeline.scene import Ending, Scene
from rehone.pipeline.taking import weights_of
from rehone.records import Manifest, Profile, Window


def publish(scene: Scene) -> Ending | None:
    """Pack the challenger and publish it; it is not live by that."""
    predictor = scene.search.predictor
    held = scene.held
    files = artifact.pack(
        predictor,
        profile_of_scene(scene, held),
        artifact.make_golden(predictor, held, seed=scene.config.project.seed),
        fingerprints=_fingerprints(scene),
        allow_joblib=scene.config.deploy.allow_joblib,
        trusted=scene.config.deploy.trusted_types,
    )
    files = {
        **files,
        artifact.NEAR_FILE: artifact.pack_near(_near(scene)),
        "run.json": codec.encode(scene.draft.record),
    }
    sign = signing.signer(signing.policy_of(scene.config))
    version = scene.store.publish(_manifest(scene), files, sign=sign)
    scene.version = version.id
    scene.draft.note(version=version.id)
    size = sum(len(content) for content in files.values())
    scene.draft.say(f"version {version.short}: {len(files)} files, {size:,} bytes")
    return None


def _fingerprints(scene: Scene) -> np.ndarray:
    """Mark all rows that the challenger has learned from; one over the champion's own model, those of the champion too."""
    own = marks(scene.config, scene.learned, scene.search.predictor.contract)
    theirs = scene.champion.fingerprints if scene.champion and scene.search.predictor.recalibration else None
    return np.unique(own if theirs is None else np.concatenate([own, theirs]))


def _near(scene: Scene) -> np.ndarray:
    """Mark them as rows to be recognised by what is nearly theirs."""
    own = artifact.near_fingerprints(scene.learned, scene.search.predictor.contract)
    theirs = scene.champion.near if scene.champion and scene.search.predictor.recalibration else None
    return own if theirs is None else np.concatenate([own, theirs])


def profile_of_scene(scene: Scene, held: pl.DataFrame) -> Profile:
    """Return what the version is to remember of its trailing rows, with out-of-sample scores of all of them."""
    predictor = scene.search.predictor
    window = Window(scene.split.train.start, scene.split.holdout.end)
    trailing = scene.rows.filter(pl.col("__time__") >= window.start)
    last = slice(scene.rows.height - trailing.height, None)
    scores = np.full(scene.rows.height, np.nan)
    scores[scene.search.oof_index] = scene.search.oof_scores
    scores[scene.rows.height - held.height :] = predictor.predict_proba(held)
    if scene.population is not None:  # a sample was drawn, and the counts are of all rows
        found = profile.scored_drawn(trailing["__time__"], scores[last], weights_of(trailing))
        drawn = replace(scene.population, scores=found, threshold=predictor.threshold)
        return _with_worth(drawn, scene, trailing, scores[last])
    made = profile.build(
        trailing,
        predictor.contract,
        window=window,
        label=scene.config.data.label,
        scores=scores[last],
        threshold=predictor.threshold,
    )
    return _with_worth(made, scene, trailing, scores[last])


def _with_worth(made: Profile, scene: Scene, rows: pl.DataFrame, scores: np.ndarray) -> Profile:
    """Remember what out-of-sample scores were worth, so that later ones can be estimated before labels are due."""
    if made.scores is None:
        return made
    labels = rows[scene.config.data.label].cast(pl.Float64).to_numpy()
    return replace(made, scores=estimate.with_worth(made.scores, scores, labels, weights_of(rows)))


def _manifest(scene: Scene) -> Manifest:
    search, described = scene.search, scene.draft.record.data
    return Manifest(
        project=scene.config.project.name,
        run_id=scene.door.run_id,
        created_at=scene.door.clock(),
        as_of=scene.door.as_of,
        estimator=search.winner.estimator,
        params=search.winner.params,
        window_policy=search.winner.window,
        contract=search.predictor.contract,
        threshold=search.predictor.threshold,
        train_window=search.train_window,
        train_end=search.train_end,
        train_rows=search.train_rows,
        train_positives=search.train_positives,
        data_sha256=described.sha256 if described else "",
        requires=artifact.requirements(search.predictor),
        files={},
        recalibration=search.predictor.recalibration,
    )

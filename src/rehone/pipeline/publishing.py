"""Make a version of the challenger that won: its model, its profile, its golden rows, its manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import artifact, codec, estimate, profile, signing
from rehone.artifact import Predictor
from rehone.config import Config
from rehone.pipeline.comparison import marks
from rehone.pipeline.scene import Ending, Scene
from rehone.pipeline.taking import weights_of
from rehone.records import Manifest, Profile, Split, Window


def publish(scene: Scene) -> Ending | None:
    """Pack the challenger and publish it; it is not live by that."""
    predictor = scene.search.predictor
    held = scene.held
    files = artifact.pack(
        predictor,
        remembered(scene.config, scene.rows, scene.split, scene.search, scene.population),
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


class Answers(Protocol):
    """What a search found, as far as a profile is made of it: `oof_scores` (m,) of the rows `oof_index` (m,)."""

    @property
    def predictor(self) -> Predictor:
        """The model that won."""

    @property
    def oof_index(self) -> NDArray[np.int64]:
        """Rows that it answered without having learned from them."""

    @property
    def oof_scores(self) -> NDArray[np.float64]:
        """What it answered."""


def remembered(
    config: Config, rows: pl.DataFrame, split: Split, found: Answers, population: Profile | None = None
) -> Profile:
    """Return what a version is to remember of its trailing rows, with out-of-sample scores of all of them.

    `rows` are sorted by time, those of the holdout last. With a `population`, they are a sample of
    it, and its counts are of all rows.
    """
    predictor, label = found.predictor, config.data.label
    window = Window(split.train.start, split.holdout.end)
    held = rows.filter(pl.col("__time__") >= split.holdout.start)
    trailing = rows.filter(pl.col("__time__") >= window.start)
    scores = np.full(rows.height, np.nan)
    scores[found.oof_index] = found.oof_scores
    scores[rows.height - held.height :] = predictor.predict_proba(held)
    own = scores[rows.height - trailing.height :]
    if population is None:
        threshold = predictor.threshold
        made = profile.build(trailing, predictor.contract, window=window, label=label, scores=own, threshold=threshold)
    else:
        drawn = profile.scored_drawn(trailing["__time__"], own, weights_of(trailing))
        made = replace(population, scores=drawn, threshold=predictor.threshold)
    if made.scores is None:
        return made
    labels = trailing[label].cast(pl.Float64).to_numpy()
    return replace(made, scores=estimate.with_worth(made.scores, own, labels, weights_of(trailing)))


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

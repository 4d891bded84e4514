"""A champion in the simulated stream of payments, and the facts about it after the world has changed in a known way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from rehone import artifact, drift, estimate, profile, shift
from rehone.artifact import Predictor
from rehone.config import Candidate
from rehone.records import Contract, FeatureKind, Profile, Window
from rehone.testing import FEATURES, Dials, FraudStream
from rehone.train import pipeline_of

START = datetime(2026, 1, 1, tzinfo=UTC)
CHANGE, LEARNED, REMEMBERED, WINDOW = 65, 48, 60, 30


def planted(strength: float = 1.0, *, rarer: bool = False) -> dict[str, Dials]:
    """Name six causes, each by the one dial that makes it."""
    return {
        "none": Dials(),
        "data_incident": Dials(nulls=0.3 * strength),
        "label": Dials(prior=-strength if rarer else strength),
        "covariate": Dials(covariate=strength),
        "off_support": Dials(off_support=strength),
        "concept": Dials(concept=strength),
    }


@dataclass(frozen=True)
class World:
    """A champion that learned 48 days, remembers 60, and whose world changes on day 65."""

    stream: FraudStream
    predictor: Predictor
    profile: Profile
    reference: pl.DataFrame

    @property
    def contract(self) -> Contract:
        return self.predictor.contract


def rows(stream: FraudStream, first: int, last: int) -> pl.DataFrame:
    """Return days `first <= i < last`, with the event time as the pipeline has it."""
    frame = stream.days(first, last - first)
    return frame.with_columns(pl.col("event_time").dt.replace_time_zone("UTC").alias("__time__"))


def world(seed: int, *, rows_per_day: int = 150) -> World:
    """Train a champion, with out-of-sample scores of all rows that it remembers."""
    stream = FraudStream(seed=seed, rows_per_day=rows_per_day)
    frame = rows(stream, 0, REMEMBERED)
    learned = frame.filter(pl.col("__time__") < START + timedelta(days=LEARNED))
    contract = artifact.learn_contract(learned, FEATURES, label="label")
    matrix, labels = artifact.encode(learned, contract), learned["label"].to_numpy()
    fold = np.random.default_rng(seed).permutation(labels.size) % 3

    def fitted(use: np.ndarray) -> Predictor:
        pipeline = pipeline_of(
            Candidate(estimator="lightgbm", params={"n_estimators": 60, "num_leaves": 15}), contract, 7
        )
        return Predictor(contract=contract, pipeline=pipeline.fit(matrix[use], labels[use]), threshold=0.1)

    scores = np.empty(labels.size)
    for held in range(3):
        scores[fold == held] = fitted(fold != held).pipeline.predict_proba(matrix[fold == held])[:, 1]
    predictor = fitted(fold >= 0)
    scores = np.concatenate([scores, predictor.predict_proba(frame[learned.height :])])
    window = Window(START, START + timedelta(days=REMEMBERED))
    made = profile.build(frame, contract, window=window, label="label", scores=scores)
    assert made.scores is not None
    made = replace(made, scores=estimate.with_worth(made.scores, scores, frame["label"].to_numpy()))
    return World(stream, predictor, made, frame)


def facts(made: World, dials: Dials, *, days: int = 30, delay: int = 0, most: int = 5000) -> shift.Facts:
    """Gather what is known `days` after the change, when labels come `delay` days late."""
    stream, contract = replace(made.stream, changes=((CHANGE, dials),)), made.contract
    as_of = CHANGE + days
    new = rows(stream, LEARNED, as_of)
    now = new.filter(pl.col("__time__") >= START + timedelta(days=as_of - WINDOW))
    due = new.filter(pl.col("__time__") < START + timedelta(days=as_of - delay))
    then, current = (each.gather_every(-(-each.height // most)) for each in (made.reference, now))
    ends = [
        (0.0, len(f.categories) - 1.0) if f.kind is FeatureKind.CATEGORICAL else (known.lowest, known.highest)
        for f, known in zip(contract.features, made.profile.features, strict=True)
    ]
    low, high = np.array(ends, dtype=np.float64).T
    return shift.Facts(
        drift=drift.feature_drift(made.profile, profile.count(now, made.profile)),
        reference=shift.Sample(
            matrix=artifact.encode(then, contract), labels=then["label"].cast(pl.Float64).to_numpy()
        ),
        current=shift.Sample(matrix=artifact.encode(current, contract), labels=np.full(current.height, np.nan)),
        columns=shift.Columns(names=contract.names, lowest=low, highest=high),
        scores=made.predictor.predict_proba(current),
        remembered=made.profile.scores,
        matured=shift.Matured(
            scores=made.predictor.predict_proba(due),
            labels=due["label"].cast(pl.Float64).to_numpy(),
            days=due["__time__"].dt.epoch("d").cast(pl.Int64).to_numpy(),
            matrix=artifact.encode(due, contract),
        ),
        recent=START + timedelta(days=as_of - WINDOW - delay),
    )

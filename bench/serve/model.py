"""Make the one model that every service serves: the classic impute, scale, 200 trees, on 12 numeric columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from rehone import artifact
from rehone.config import Candidate
from rehone.records import (
    Contract,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Feature,
    FeatureKind,
    Manifest,
    ModelVersion,
    Profile,
    Window,
)
from rehone.store import Store
from rehone.train.estimators import pipeline_of

FEATURES = (
    "amount", "hour", "velocity_1h", "velocity_24h", "distance_km", "merchant_risk",
    "device_age_days", "balance", "age", "tenure_days", "chargebacks", "session_seconds",
)  # fmt: skip
THRESHOLD = 0.35
TRAIN_ROWS = 5_000
WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
CONTRACT = Contract(features=tuple(Feature(name, FeatureKind.NUMERIC) for name in FEATURES), label="fraud")
CANDIDATE = Candidate(estimator="sklearn.ensemble.GradientBoostingClassifier", params={"n_estimators": 200})
PROJECT = """
[project]
name = "bench"
[data]
label = "fraud"
[predictions]
log = {log}
[serve]
workers = {workers}
"""


def draw(rows: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw rows without nulls (n, 12), to four decimals as sent, and their labels (n,)."""
    rng = np.random.default_rng(seed)
    X = np.round(rng.lognormal(2.0, 0.8, (rows, len(FEATURES))), 4)
    z = np.log(X) @ np.linspace(-1, 1, len(FEATURES)) + 0.8 * (X[:, 0] > 12) * (X[:, 4] > 9)
    return X, (z + rng.logistic(0, 1, rows) > 1.5).astype(np.int64)


def fit(seed: int, *, named: bool = False, plain: bool = False) -> Pipeline:
    """Fit the pipeline on a matrix, or on a pandas frame as tutorials do; both give the same trees.

    It is the one that `rehone run` trains for this class, with a ColumnTransformer around imputer and
    scaler; `plain` leaves that out.
    """
    X, y = draw(TRAIN_ROWS, seed)
    X[np.random.default_rng(seed).random(X.shape) < 0.02] = np.nan
    pipeline = pipeline_of(CANDIDATE, CONTRACT, seed=7)
    if plain:
        steps = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        pipeline = Pipeline([("preprocess", steps), ("model", pipeline.named_steps["model"])])
    return pipeline.fit(_framed(X) if named else X, y)


def _framed(X: NDArray[np.float64]) -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=list(FEATURES))


def rows_of(X: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return rows as JSON objects."""
    return [dict(zip(FEATURES, row, strict=True)) for row in X.tolist()]


def write(folder: Path, *, plain: bool = False) -> None:
    """Write the model for every service below `folder`.

    `rehone` and `rehone-log` are projects with a store each, in which it is live; `matrix.joblib`
    was fitted on a matrix, `frame.joblib` on a frame; `features.json` names the columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    matrix = fit(1, plain=plain)
    joblib.dump(matrix, folder / "matrix.joblib")
    joblib.dump(fit(1, named=True, plain=plain), folder / "frame.joblib")
    (folder / "features.json").write_text(json.dumps(FEATURES))
    for name, log in (("rehone", "false"), ("rehone-log", "true")):
        store = project(folder / name, log=log)
        deploy(store, publish(store, matrix, "run-1"))


def project(folder: Path, *, log: str = "false", workers: int = 1) -> Store:
    """Make a project with an empty store."""
    folder.mkdir(parents=True)
    (folder / "rehone.toml").write_text(PROJECT.format(log=log, workers=workers))
    return Store.create(folder / "store")


def publish(store: Store, pipeline: Pipeline, run_id: str) -> ModelVersion:
    """Publish a fitted pipeline as a version, with golden rows, as a run does."""
    X, y = draw(200, 3)
    predictor = artifact.Predictor(contract=CONTRACT, pipeline=pipeline, threshold=THRESHOLD)
    golden = artifact.make_golden(predictor, pl.DataFrame(X, schema=list(FEATURES)), seed=1)
    profile = Profile(window=WINDOW, rows=len(X), positives=int(y.sum()), features=())
    manifest = Manifest(
        project="bench",
        run_id=run_id,
        created_at=WINDOW.end,
        as_of=WINDOW.end,
        estimator=CANDIDATE.estimator,
        params=CANDIDATE.params,
        window_policy="all",
        contract=CONTRACT,
        threshold=THRESHOLD,
        train_window=WINDOW,
        train_end=WINDOW.end,
        train_rows=TRAIN_ROWS,
        train_positives=TRAIN_ROWS // 3,
        data_sha256="0" * 64,
        requires=artifact.requirements(),
        files={},
    )
    return store.publish(manifest, artifact.pack(predictor, profile, golden))


def deploy(store: Store, version: ModelVersion) -> Deployment:
    """Put a version live with one confirmed record, as a first deployment without a service does."""
    head = store.head()
    generation = head.generation if head else 0
    record = Deployment(
        generation=generation + 1,
        version=version.id,
        action=DeploymentAction.DEPLOY,
        state=DeploymentState.CONFIRMED,
        at=WINDOW.end + timedelta(hours=generation),
        actor="bench",
    )
    return store.append(record, expect_generation=generation)

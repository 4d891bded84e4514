"""A model, a version and a server process that tests of the service share."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from rehone import artifact
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
from rehone.serve import Reader
from rehone.store import Store

T0 = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = Window(T0, T0 + timedelta(days=7))
CONTRACT = Contract(
    features=(
        Feature("amount", FeatureKind.NUMERIC),
        Feature("night", FeatureKind.BOOLEAN),
        Feature("city", FeatureKind.CATEGORICAL, ("Bonn", "Köln", "3")),
    ),
    label="fraud",
)
READER = Reader(CONTRACT)
ROW = {"amount": 12.5, "night": True, "city": "Bonn"}


def a_predictor(seed: int) -> artifact.Predictor:
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(200, 3))
    y = (X @ draw.normal(size=3) + draw.normal(size=200) > 0).astype(int)
    pipeline = Pipeline([("preprocess", SimpleImputer()), ("model", LogisticRegression(C=0.01))]).fit(X, y)
    return artifact.Predictor(contract=CONTRACT, pipeline=pipeline, threshold=0.4 + seed / 100)


def a_golden(predictor: artifact.Predictor) -> artifact.Golden:
    frame = pl.DataFrame({"amount": [1.0, None, 3.0], "night": [True, False, None], "city": ["Bonn", None, "3"]})
    return artifact.make_golden(predictor, frame, n=4, seed=1)


def published(store: Store, seed: int, golden: artifact.Golden | None = None) -> ModelVersion:
    predictor = a_predictor(seed)
    return publish(store, predictor, golden or a_golden(predictor), run_id=f"run-{seed}")


def publish(store: Store, predictor: artifact.Predictor, golden: artifact.Golden, **manner: Any) -> ModelVersion:
    """Publish a predictor; `manner` may say run_id, scores of its profile, and how it is packed."""
    run_id, scores = manner.pop("run_id"), manner.pop("scores", None)
    profile = Profile(window=WEEK, rows=200, positives=100, features=(), scores=scores)
    model = type(predictor.pipeline.named_steps["model"])
    manifest = Manifest(
        project="test",
        run_id=run_id,
        created_at=T0,
        as_of=T0,
        estimator=f"{model.__module__}.{model.__qualname__}",
        params={},
        window_policy="all",
        contract=predictor.contract,
        threshold=predictor.threshold,
        train_window=WEEK,
        train_end=T0,
        train_rows=200,
        train_positives=100,
        data_sha256="0" * 64,
        requires={},
        files={},
    )
    return store.publish(manifest, artifact.pack(predictor, profile, golden, **manner))


def deployed(store: Store, version: str | None, action: DeploymentAction = DeploymentAction.DEPLOY) -> Deployment:
    head = store.head()
    generation = head.generation if head else 0
    record = Deployment(
        generation=generation + 1,
        version=version,
        action=action,
        state=DeploymentState.TRIAL if action is DeploymentAction.DEPLOY else DeploymentState.CONFIRMED,
        at=T0,
        actor="test",
    )
    return store.append(record, expect_generation=generation)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@dataclass
class Server:
    """A server process and how to ask it."""

    process: subprocess.Popen[str]
    url: str
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port = int(self.url.rsplit(":", 1)[1])

    def ask(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            sent = raw if raw is not None else body and json.dumps(body)
            connection.request(method, path, sent, {"x-request-id": "mine"})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", "/health")[1]
        return found

    def until(self, true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until the health page says something."""
        return wait_for(self.health, true)


def wait_for(ask: Callable[[], Any], true: Callable[[Any], object], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not true(found := ask()):
        assert time.monotonic() < end, f"still {found} after {seconds} s"
        time.sleep(0.01)
    return found

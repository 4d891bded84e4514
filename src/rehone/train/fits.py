"""Make one fit: a candidate on the rows of a window, and its scores of a fold that it has not seen.

Everything here runs the same in a thread of this process and on a worker of a cluster, so that
where a fit is made changes no bit of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehone.artifact import one_thread
from rehone.config import Candidate
from rehone.errors import TrainingError
from rehone.train import boosted
from rehone.train.away import OnRay
from rehone.train.clusters import Clusters
from rehone.train.estimators import pipeline_of, takes_weights
from rehone.train.plan import Plan


@dataclass(frozen=True, slots=True)
class Entrant:
    """A candidate with the window that it learns from."""

    candidate: Candidate
    window: str

    @property
    def title(self) -> str:
        return f"{self.candidate.title} ({self.window})"


@dataclass(frozen=True, slots=True)
class Fold:
    """Scores of one fold's validation rows, or why there are none; `seconds` are wall time."""

    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    roc_auc: float | None = None
    seconds: float = 0.0
    error: str | None = None


def trial(plan: Plan, entrant: Entrant, fold: int, clusters: Clusters | None = None) -> Fold:
    """Fit an entrant on all folds but one and score that one; a failure is part of what is returned."""
    from sklearn.metrics import roc_auc_score

    begun = time.perf_counter()
    try:
        held = plan.validation(fold)
        pipeline = fitted(plan, entrant, plan.rows_of(entrant.window, without=fold), clusters)
        scores = _scored(pipeline, plan, held)
    except Exception as error:  # noqa: BLE001  one candidate's failure, of whatever kind, is recorded and the others go on
        return Fold(error=_said(error), seconds=time.perf_counter() - begun)
    seconds = time.perf_counter() - begun
    if not np.isfinite(scores).all():
        return Fold(error="gave scores that are not finite: standardise its input or choose another", seconds=seconds)
    weights = None if plan.weights is None else plan.weights[held]
    return Fold(scores, float(roc_auc_score(plan.labels[held], scores, sample_weight=weights)), seconds)


def fitted(plan: Plan, entrant: Entrant, rows: NDArray[np.int64], clusters: Clusters | None = None) -> Any:
    """Return the pipeline of an entrant, fitted on rows of the plan's matrix.

    Raises:
        TrainingError: the candidate cannot weigh rows that have weights, or gives no probabilities.
    """
    weights = plan.weights_of(entrant.window, rows)
    if entrant.candidate.estimator in boosted.STREAMED:
        return boosted.fitted(boosted.Part(plan, rows, weights), entrant.candidate, clusters)
    matrix = plan.matrix[rows]
    empty = set(np.flatnonzero(np.isnan(matrix).all(axis=0)).tolist())
    pipeline = pipeline_of(entrant.candidate, plan.contract, plan.seed, empty=empty)
    if weights is not None and not takes_weights(pipeline):
        raise TrainingError(_cannot_weigh(entrant, plan))
    extra = {} if weights is None else {"model__sample_weight": weights}
    with one_thread():
        pipeline.fit(matrix, plan.labels[rows], **extra)
    return pipeline


def there(sent: Plan | OnRay, entrant: Entrant, fold: int, number: int) -> tuple[int, Fold]:
    """Return a trial with its number; what a worker of a cluster runs, in one thread as at home."""
    import joblib

    plan: Plan = sent.get() if isinstance(sent, OnRay) else sent
    with joblib.parallel_config("sequential", n_jobs=1), one_blas_thread():
        return number, trial(plan, entrant, fold)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep linear algebra to one thread: fits run beside each other."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def _scored(pipeline: Any, plan: Plan, held: NDArray[np.int64]) -> NDArray[np.float64]:
    with one_thread():
        if isinstance(plan.matrix, np.ndarray):
            return np.asarray(pipeline.predict_proba(plan.matrix[held])[:, 1], dtype=np.float64)
        parts = [pipeline.predict_proba(plan.matrix[part])[:, 1] for part in boosted.slices(held)]
    return np.concatenate(parts, dtype=np.float64)


def _cannot_weigh(entrant: Entrant, plan: Plan) -> str:
    name = entrant.candidate.estimator
    if plan.weights is not None:
        return (
            f"{name} cannot weigh rows, which a sample with weights needs (data.max_negatives): remove this candidate "
            "from train.candidates, or data.max_negatives"
        )
    return (
        f'{name} cannot weigh rows, which the window "decay" needs: remove "decay" from '
        "train.windows or this candidate from train.candidates"
    )


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:600]
    return text if isinstance(error, TrainingError) else f"{type(error).__name__}: {text}"

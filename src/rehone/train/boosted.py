"""Fit XGBoost on rows that come in slices: from disk, spread over Dask workers, or over Spark.

However it was fitted, what is returned is the same pipeline of preprocessing and one XGBClassifier
that the candidate "xgboost" is, so that it is stored, loaded and asked in the same way.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rehone.config import Candidate
from rehone.disk import Disk
from rehone.errors import TrainingError
from rehone.records import FeatureKind
from rehone.train.estimators import pipeline_of
from rehone.train.plan import Plan
from rehone.train.spilled import SLICE

if TYPE_CHECKING:
    from rehone.train.clusters import Clusters

STREAMED = ("xgboost_external", "xgboost_dask", "xgboost_spark")
"""Candidates that read their rows in slices."""

SPREAD = ("xgboost_dask", "xgboost_spark")
"""Candidates whose every fit takes a whole cluster; they are fitted one after the other."""

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a plan that one fit learns from, with their weights."""

    plan: Plan = field(repr=False)
    rows: Rows = field(repr=False)
    weights: NDArray[np.float64] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Slice:
    """Some rows as the model reads them: (n, columns) float32, labels, and weights if there are any."""

    matrix: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.float32] = field(repr=False)
    weights: NDArray[np.float32] | None = field(repr=False)


def fitted(part: Part, candidate: Candidate, clusters: Clusters | None) -> Any:
    """Return the fitted pipeline of one of the `STREAMED` candidates.

    Raises:
        TrainingError: there is nothing to learn from, or no cluster to learn on.
    """
    from sklearn.pipeline import Pipeline

    pipeline = pipeline_of(candidate, part.plan.contract, part.plan.seed, empty=_empty(part))
    preprocess, placed = _preprocessed(part, pipeline.named_steps["preprocess"])
    feed = _Feed(part, preprocess, placed, SLICE)
    model = pipeline.named_steps["model"]
    booster = _trained(candidate, model, feed, clusters)
    model.load_model(booster.save_raw("ubj"))
    return Pipeline([("preprocess", preprocess), ("model", model)])


def slices(rows: Rows) -> Iterator[Rows]:
    """Divide row numbers into slices that fit into memory."""
    for start in range(0, len(rows), SLICE):
        yield rows[start : start + SLICE]


def _trained(candidate: Candidate, model: Any, feed: _Feed, clusters: Clusters | None) -> Any:
    """Train once, and once more where a cluster gave the first attempt up.

    Raises:
        TrainingError: the cluster gave up both, or cannot be reached.
    """
    trainer = _TRAINERS[candidate.estimator]
    if candidate.estimator not in SPREAD:
        return trainer(model, feed, clusters)
    try:
        return trainer(model, feed, clusters)
    except TrainingError:
        raise
    except Exception:  # a cluster loses workers in many ways, and its libraries have an exception for each
        log.warning("distributed_fit_failed", exc_info=True, extra={"candidate": candidate.title})
    try:
        return trainer(model, feed, clusters)
    except Exception as error:
        said = " ".join(str(error).split())[:400]
        raise TrainingError(
            f"{candidate.estimator} could not be fitted in two attempts ({type(error).__name__}: {said}): look at the "
            "workers' own logs (too little memory and libraries that are missing there are the usual causes)"
        ) from error


# --- rows as the model reads them ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Feed:
    """The training rows, transformed slice by slice, as often as they are asked for.

    `placed` are columns that were transformed before, each slice of which replaces its own.
    """

    part: Part
    preprocess: Any
    placed: dict[int, NDArray[np.float32]]
    size: int

    def for_workers(self, workers: int) -> _Feed:
        """Return the same rows in smaller slices where that gives every worker one."""
        return replace(self, size=max(1, min(SLICE, -(-len(self.part.rows) // workers))))

    @property
    def count(self) -> int:
        """How many slices there are."""
        return -(-len(self.part.rows) // self.size)

    def slice(self, number: int) -> Slice:
        """Return one slice of the rows."""
        here = slice(number * self.size, (number + 1) * self.size)
        plan, rows = self.part.plan, self.part.rows[here]
        matrix = np.asarray(self.preprocess.transform(plan.matrix[rows]), dtype=np.float32, order="C")
        for column, values in self.placed.items():
            matrix[:, column] = values[here]
        weights = None if self.part.weights is None else self.part.weights[here].astype(np.float32)
        return Slice(matrix, plan.labels[rows].astype(np.float32), weights)

    def __iter__(self) -> Iterator[Slice]:
        return (self.slice(number) for number in range(self.count))


def _empty(part: Part) -> set[int]:
    empty = np.ones(part.plan.matrix.shape[1], dtype=bool)
    for rows in slices(part.rows):
        empty &= np.isnan(part.plan.matrix[rows]).all(axis=0)
    return set(np.flatnonzero(empty).tolist())


def _preprocessed(part: Part, preprocess: Any) -> tuple[Any, dict[int, NDArray[np.float32]]]:
    """Fit the preprocessing without the whole matrix, and return what cannot be made slice by slice.

    One-hot columns are known by their distinct values. The mean label of a value is fitted with
    inner folds, for which these columns, and only they, are held in memory.
    """
    from sklearn.base import clone

    few = _specimens(part)
    preprocess.fit(few, np.arange(len(few)) % 2)
    places = {name: list(columns) for name, _, columns in preprocess.transformers}.get("mean_label")
    if places is None:
        return preprocess, {}
    encoder = clone({name: step for name, step, _ in preprocess.transformers}["mean_label"])
    columns = np.concatenate([part.plan.matrix[rows][:, places] for rows in slices(part.rows)])
    encoded = encoder.fit_transform(columns, part.plan.labels[part.rows]).astype(np.float32)
    preprocess.transformers_ = [
        (name, encoder if name == "mean_label" else step, at) for name, step, at in preprocess.transformers_
    ]
    first = preprocess.output_indices_["mean_label"].start
    return preprocess, {first + i: encoded[:, i] for i in range(len(places))}


_FEWEST = 10
"""Rows that inner folds need to be drawn at all."""


def _specimens(part: Part) -> NDArray[np.float64]:
    """Return few rows that hold every value of every category among the rows to be fitted on."""
    contract = part.plan.contract
    named = [i for i, feature in enumerate(contract.features) if feature.kind is FeatureKind.CATEGORICAL]
    seen = {i: np.empty(0) for i in named}
    for rows in slices(part.rows) if named else ():
        matrix = part.plan.matrix[rows]
        seen = {i: np.unique(np.append(values, matrix[:, i])) for i, values in seen.items()}
    n = max([_FEWEST, *(len(values) for values in seen.values())])
    found = np.zeros((n, len(contract.features)))
    for i, values in seen.items():
        found[:, i] = np.resize(values, n)
    return found


# --- three ways to train ---------------------------------------------------------------------------


def _external(model: Any, feed: _Feed, clusters: Clusters | None) -> Any:  # noqa: ARG001
    """Train from pages on disk; a page is read for each level of each tree."""
    import xgboost

    params = model.get_xgb_params()
    with _own_folder(feed.part.plan.folder) as folder:
        data = xgboost.ExtMemQuantileDMatrix(
            _pages(feed, folder / "pages"), missing=np.nan, max_bin=params.get("max_bin"), nthread=1
        )
        booster = xgboost.train(params, data, num_boost_round=model.get_num_boosting_rounds())
        del data  # its pages lie in the folder
    return booster


_FOLDER = "xgboost-"
_making = threading.Lock()


@contextlib.contextmanager
def _own_folder(above: Path | None) -> Iterator[Path]:
    """Give a locked folder that vanishes at the end; those that killed processes left in `above` go first."""
    disk = Disk()
    with _making:
        for path in above.glob(f"{_FOLDER}*") if above else ():
            _remove_left(disk, path)
        path = Path(tempfile.mkdtemp(dir=above, prefix=_FOLDER))
        lock = disk.lock_folder(path)
    try:
        yield path
    finally:
        disk.remove_tree(path)
        if lock is not None:
            disk.release(lock)


def _remove_left(disk: Disk, path: Path) -> None:
    with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
        lock = disk.lock_folder(path)
        if lock is not None:
            try:
                disk.remove_tree(path)
            finally:
                disk.release(lock)


def _pages(feed: _Feed, prefix: Path) -> Any:
    import xgboost

    class Slices(xgboost.DataIter):  # type: ignore[misc]  # the base is known only where it is installed
        """Hand slices to XGBoost, from the first one again after each reset."""

        def __init__(self) -> None:
            self._number = 0
            super().__init__(cache_prefix=str(prefix))

        def next(self, input_data: Callable[..., None]) -> bool:
            if self._number == feed.count:
                return False
            part = feed.slice(self._number)
            self._number += 1
            input_data(data=part.matrix, label=part.labels, weight=part.weights)
            return True

        def reset(self) -> None:
            self._number = 0

    return Slices()


def _on_dask(model: Any, feed: _Feed, clusters: Clusters | None) -> Any:
    """Train on all workers of a Dask cluster, each with its own slices of the rows."""
    client = _of(clusters).dask().client
    from xgboost import dask as distributed

    workers = sorted(client.nthreads())
    matrix, labels, weights = _Laid(client), _Laid(client), _Laid(client)
    for number, part in enumerate(feed.for_workers(len(workers))):
        worker = workers[number % len(workers)]
        matrix.add(part.matrix, worker)
        labels.add(part.labels, worker)
        if part.weights is not None:
            weights.add(part.weights, worker)
    params = model.get_xgb_params()
    binned = {"missing": np.nan, "max_bin": params.get("max_bin")}
    with client.as_current():
        data = distributed.DaskQuantileDMatrix(client, matrix.array(), labels.array(), weight=weights.array(), **binned)
        found = distributed.train(client, params, data, num_boost_round=model.get_num_boosting_rounds())
    return found["booster"]


class _Laid:
    """An array that lies in parts on the workers of a Dask cluster."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._parts: list[tuple[Any, tuple[int, ...]]] = []

    def add(self, values: NDArray[np.float32], worker: str) -> None:
        """Lay one more part on a worker."""
        self._parts.append((self._client.scatter(values, workers=[worker], hash=False), values.shape))

    def array(self) -> Any:
        """Return all parts as one Dask array, or None where there is none."""
        import dask
        import dask.array

        parts = [dask.array.from_delayed(dask.delayed(future), shape, np.float32) for future, shape in self._parts]
        return dask.array.concatenate(parts) if parts else None


def _on_spark(model: Any, feed: _Feed, clusters: Clusters | None) -> Any:
    """Train on the executors of a Spark session, one task for each of its cores."""
    spark = _of(clusters).spark()
    from xgboost.spark import SparkXGBClassifier

    frames = [spark.session.createDataFrame(_table(part)) for part in feed]
    rows = functools.reduce(lambda one, other: one.unionAll(other), frames)
    names = [name for name in rows.columns if name not in ("label", "weight")]
    own = {key: value for key, value in model.get_params().items() if value is not None and key not in _NOT_ON_SPARK}
    weighed = {} if feed.part.weights is None else {"weight_col": "weight"}
    trainer = SparkXGBClassifier(
        features_col=names, label_col="label", num_workers=spark.workers, verbose_eval=False, **weighed, **own
    )
    return trainer.fit(rows).get_booster()


_NOT_ON_SPARK = ("objective", "n_jobs", "enable_categorical", "missing", "importance_type")


def _table(part: Slice) -> Any:
    import pyarrow

    columns = {f"c{i}": part.matrix[:, i] for i in range(part.matrix.shape[1])} | {"label": part.labels}
    return pyarrow.table(columns if part.weights is None else columns | {"weight": part.weights})


def _of(clusters: Clusters | None) -> Clusters:
    if clusters is None:
        raise TrainingError("a fit that spreads over a cluster cannot be made on a worker of another one")
    return clusters


_TRAINERS: dict[str, Callable[[Any, _Feed, Clusters | None], Any]] = {
    "xgboost_external": _external,
    "xgboost_dask": _on_dask,
    "xgboost_spark": _on_spark,
}

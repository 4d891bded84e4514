"""Ask a fitted pipeline for probabilities, and prove with golden rows that it is the one trained."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import codec
from rehone.artifact import paths
from rehone.artifact.layers import laid_over
from rehone.artifact.rows import Rows, encode, frame_of
from rehone.records import Check, CheckStatus, Contract, FeatureKind, Recalibration

UNSEEN = "a value never seen in training"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Predictor:
    """One fitted model with the columns it reads and its decision threshold; usable from threads.

    `recalibration` is laid over what the pipeline says, by whatever path it was computed.
    """

    contract: Contract
    pipeline: Any = field(repr=False)
    threshold: float
    version: str | None = None
    recalibration: Recalibration | None = None
    _way: _Way = field(init=False, repr=False, default_factory=lambda: _Way())  # noqa: PLW0108  defined below

    @property
    def path(self) -> str:
        """The way that scores are computed, such as "lightgbm" or "linear"; "scikit-learn" is the pipeline's own."""
        found = self.prepare()
        return paths.ITSELF if found is None else found.name

    def prepare(self) -> paths.Path | None:
        """Find and prove the fastest way to score now, not at the first score; None is the pipeline's own."""
        if not self._way.known:
            with self._way.lock:
                if not self._way.known:
                    self._way.path = paths.proved(self.pipeline, self.contract, self._itself)
                    self._way.known = True
        return self._way.path

    def predict_proba(self, rows: Rows) -> NDArray[np.float64]:
        """Return the probability of label 1 for each row, shape (n,).

        Takes a Polars or pandas frame, a mapping of columns or a sequence of mappings. Columns
        that the model does not read are ignored; null means not known.

        Raises:
            ContractError: columns are missing or of another type; all problems are listed.
        """
        return self.score(encode(frame_of(rows, self.contract), self.contract))

    def decide(self, rows: Rows) -> NDArray[np.bool_]:
        """Return for each row whether its probability reaches the threshold, shape (n,)."""
        return self.predict_proba(rows) >= self.threshold

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of label 1 for each row of an encoded matrix, shape (n, features)."""
        return laid_over(self.recalibration, self.uncalibrated(matrix))

    def uncalibrated(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the model itself says, before any recalibration; without one, `score`."""
        if not len(matrix):
            return np.empty(0, dtype=np.float64)
        path = self._way.path if self._way.known else self.prepare()
        return self._itself(matrix) if path is None else path.scorer.score(matrix)

    def _itself(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        with one_thread():
            return np.ascontiguousarray(self.pipeline.predict_proba(matrix)[:, 1], dtype=np.float64)


class _Way:
    """What was found out about a predictor's fastest path, once."""

    __slots__ = ("known", "lock", "path")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known = False
        self.path: paths.Path | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows with the probabilities that the model gave them when it was made."""

    rows: tuple[dict[str, Any], ...]
    probabilities: tuple[float, ...]


def make_golden(predictor: Predictor, frame: pl.DataFrame, *, n: int = 16, seed: int) -> Golden:
    """Draw real rows, among them some with nulls, and add one with unseen categories and one empty.

    The rows are what JSON can hold, and the probabilities are those of the rows read back from
    JSON, so that whoever reads the file asks for exactly the same.
    """
    rows = [_json_row(row) for row in _drawn(frame.select(predictor.contract.names), max(n - 2, 1), seed)]
    if rows:
        rows += _hard_rows(predictor.contract, rows[0])
    said = codec.decode(codec.encode(Golden(tuple(rows[:n]), ())), Golden, source="golden rows")
    return Golden(said.rows, tuple(float(p) for p in predictor.predict_proba(said.rows)))


def check_golden(predictor: Predictor, golden: Golden, tolerance: float) -> Check:
    """Compare the probabilities of the golden rows now with those when the model was made."""
    expected = np.asarray(golden.probabilities)
    found = predictor.predict_proba(golden.rows)
    worst = float(np.max(np.abs(found - expected))) if len(expected) else 0.0
    finite = math.isfinite(worst)
    same = finite and worst <= tolerance
    said = f"{len(expected)} golden rows differ by at most {worst:.3g}, limit {tolerance:g}"
    return Check(
        name="golden_rows",
        status=CheckStatus.OK if same else CheckStatus.ACT,
        value=worst if finite else None,
        limit=tolerance,
        n=len(expected),
        detail=said if finite else "a golden row has no finite probability",
        remedy=""
        if same
        else "serve with the library versions that the manifest's `requires` names, or train a new version",
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep OpenMP inside the calling thread to one thread: rows are few and cores are shared."""
    with _controller().limit(limits=1, user_api="openmp"):
        yield


@functools.cache
def _controller() -> Any:
    import lightgbm  # noqa: F401  its OpenMP must be loaded to be found
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

    return ThreadpoolController()


def _drawn(frame: pl.DataFrame, n: int, seed: int) -> list[dict[str, Any]]:
    if not frame.height:
        return []
    draw = np.random.default_rng(seed)
    holed = np.flatnonzero(frame.select(pl.any_horizontal(pl.all().is_null())).to_series().to_numpy())
    some = draw.choice(holed, min(len(holed), n // 4), replace=False)
    rest = np.setdiff1d(np.arange(frame.height), some)
    others = draw.choice(rest, min(len(rest), n - len(some)), replace=False)
    return frame[np.sort(np.concatenate([some, others])).astype(np.int64)].to_dicts()


def _hard_rows(contract: Contract, row: dict[str, Any]) -> list[dict[str, Any]]:
    strange = {f.name: UNSEEN if f.kind is FeatureKind.CATEGORICAL else row[f.name] for f in contract.features}
    return [strange, dict.fromkeys(contract.names)]


def _json_row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    return float(value) if math.isfinite(value) else None

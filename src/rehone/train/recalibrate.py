"""Choose what is laid over a champion's own model, on rows that are newer than all it has seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from rehone import reliability
from rehone.artifact import laid_over
from rehone.config import Train
from rehone.records import Recalibration, RecalibrationKind
from rehone.train.threshold import choose_threshold

Floats = NDArray[np.float64]

FEWEST = 50
"""Rows of each class that a new threshold, and a line of two numbers, are chosen on."""

FEWEST_ISOTONIC = 200
"""Rows of each class from which a curve of any shape is tried: it has far more freedom (Niculescu-Mizil, Caruana 2005)."""

_FOLDS = 5
_SMALL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Newer:
    """Matured rows that the champion has not learned from; arrays are (n,).

    `raw` is what its model says without any layer, `days` number the day of each row, `weights`
    how many rows each one stands for. `layer` is what the champion has over its model now.
    """

    raw: Floats = field(repr=False)
    labels: NDArray[np.int8] = field(repr=False)
    days: NDArray[np.int64] = field(repr=False)
    weights: Floats | None = field(default=None, repr=False)
    base: str
    base_as_of: datetime | None = None
    layer: Recalibration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One layer: its mean log loss on days that it was not fitted on, by fold; or why it has none."""

    kind: RecalibrationKind
    log_loss: float | None
    fold_log_loss: tuple[float, ...] = ()
    why_not: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered:
    """The layer that serves newer rows best, its threshold, and what it says of each row when that row's day was left out."""

    layer: Recalibration
    threshold: float
    tried: tuple[Tried, ...]
    scores: Floats = field(repr=False)


def too_few(labels: NDArray[np.int8]) -> str:
    """Say why a champion cannot be recalibrated on these rows; empty when it can."""
    positives = int(labels.sum())
    if min(positives, labels.size - positives) >= FEWEST:
        return ""
    return (
        f"{labels.size:,} matured rows with {positives:,} positives are newer than what the champion learned from, "
        f"recalibrating needs at least {FEWEST} of each class"
    )


def recalibrate(rows: Newer, policy: Train) -> Layered:
    """Choose between a new threshold alone, a Platt line and an isotonic curve, by cross-validation over days.

    A richer layer is taken only where its log loss, on days that it was not fitted on, is below
    that of the simpler one by more than the standard error of the difference between days
    (Breiman et al. 1984). All keep the order of scores, so that ROC-AUC is the model's own. The
    threshold is chosen as in training, on the scores that each row's day had no part in.

    Raises:
        ValueError: there are fewer than 50 rows of a class.
    """
    if why := too_few(rows.labels):
        raise ValueError(why)
    folds = _folds(rows.days)
    kept: RecalibrationKind = RecalibrationKind.THRESHOLD
    held = {kept: _kept(rows)}
    tried = [_tried(kept, held[kept], rows, folds)]
    for kind in (RecalibrationKind.PLATT, RecalibrationKind.ISOTONIC):
        scores = _out_of_fold(kind, rows, folds)
        if isinstance(scores, str):
            tried.append(Tried(kind=kind, log_loss=None, why_not=scores))
            continue
        held[kind] = scores
        tried.append(_tried(kind, scores, rows, folds))
        if _better(scores, held[kept], rows):
            kept = kind
    layer = (
        _kept_layer(rows) if kept is RecalibrationKind.THRESHOLD else _FITS[kept](rows, np.ones(rows.raw.size, bool))
    )
    if layer is None:  # what was fitted on every part of the rows can be fitted on all
        raise ValueError(f"{kept.value} cannot be fitted on {rows.raw.size} rows")
    return Layered(
        layer=layer,
        threshold=choose_threshold(held[kept], rows.labels, policy, rows.weights),
        tried=tuple(replace(each, chosen=each.kind is kept) for each in tried),
        scores=held[kept],
    )


def _kept_layer(rows: Newer) -> Recalibration:
    """Return the champion's own layer, which a new threshold alone leaves as it is."""
    if rows.layer is not None:
        return rows.layer
    return Recalibration(kind=RecalibrationKind.THRESHOLD, base=rows.base, base_as_of=rows.base_as_of)


def _kept(rows: Newer) -> Floats:
    return laid_over(rows.layer, rows.raw)


# --- cross-validation -----------------------------------------------------------------------------


def _folds(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Deal whole days out in turn; with fewer days than folds, rows."""
    order = np.unique(days, return_inverse=True)[1]
    return (order if order.max() + 1 >= _FOLDS else np.arange(days.size)) % _FOLDS


def _out_of_fold(kind: RecalibrationKind, rows: Newer, folds: NDArray[np.int64]) -> Floats | str:
    fewest = int(min(rows.labels.sum(), rows.labels.size - rows.labels.sum()))
    if kind is RecalibrationKind.ISOTONIC and fewest < FEWEST_ISOTONIC:
        return f"the rarer class has {fewest} rows, a curve needs at least {FEWEST_ISOTONIC}"
    scores = np.empty(rows.raw.size)
    for fold in range(_FOLDS):
        layer = _FITS[kind](rows, folds != fold)
        if layer is None:
            return "scores rank these rows the wrong way round, or not at all"
        scores[folds == fold] = laid_over(layer, rows.raw[folds == fold])
    return scores


def _losses(scores: Floats, rows: Newer) -> Floats:
    p = np.clip(scores, _SMALL, 1 - _SMALL)
    losses: Floats = -np.where(rows.labels == 1, np.log(p), np.log1p(-p))
    return losses


def _weights(rows: Newer) -> Floats:
    return np.ones(rows.raw.size) if rows.weights is None else rows.weights


def _tried(kind: RecalibrationKind, scores: Floats, rows: Newer, folds: NDArray[np.int64]) -> Tried:
    losses, weights = _losses(scores, rows), _weights(rows)
    each = (np.average(losses[folds == f], weights=weights[folds == f]) for f in range(_FOLDS) if (folds == f).any())
    return Tried(
        kind=kind, log_loss=float(np.average(losses, weights=weights)), fold_log_loss=tuple(float(x) for x in each)
    )


def _better(scores: Floats, simpler: Floats, rows: Newer) -> bool:
    """Say whether scores lose less than simpler ones by more than a standard error over days."""
    gained = _weights(rows) * (_losses(simpler, rows) - _losses(scores, rows))
    codes = np.unique(rows.days, return_inverse=True)[1]
    days = np.bincount(codes, gained) if codes.max() > 0 else gained
    return float(days.sum()) > float(days.std(ddof=1)) * math.sqrt(days.size)


# --- layers ---------------------------------------------------------------------------------------


def _platt(rows: Newer, use: NDArray[np.bool_]) -> Recalibration | None:
    weights = None if rows.weights is None else rows.weights[use]
    found = reliability.line(rows.raw[use], rows.labels[use], weights=weights)
    if found is None or found.slope <= 0:
        return None
    return Recalibration(
        kind=RecalibrationKind.PLATT,
        base=rows.base,
        base_as_of=rows.base_as_of,
        slope=found.slope,
        intercept=found.intercept,
    )


def _isotonic(rows: Newer, use: NDArray[np.bool_]) -> Recalibration | None:
    """Draw lines between the centres of the steps of isotonic regression, so that no two scores become one.

    Beyond the outer steps they lead to 0 and to 1 (centred isotonic regression, Oron and Flournoy 2017).
    """
    from sklearn.isotonic import IsotonicRegression

    raw, weights = rows.raw[use], _weights(rows)[use]
    steps = IsotonicRegression().fit(raw, rows.labels[use], sample_weight=weights).predict(raw)
    values, step = np.unique(steps, return_inverse=True)
    mass = np.bincount(step, weights)
    centres = np.bincount(step, weights * raw) / mass
    if values.size < 2:
        return None
    values[0] = max(values[0], min(0.5 / (mass[0] + 1), values[1] / 2))
    values[-1] = min(values[-1], max(1 - 0.5 / (mass[-1] + 1), (1 + values[-2]) / 2))
    x, y = np.concatenate([[0.0], centres, [1.0]]), np.concatenate([[0.0], values, [1.0]])
    apart = np.concatenate([[True], (np.diff(x) > 0) & (np.diff(y) > 0)])
    return Recalibration(
        kind=RecalibrationKind.ISOTONIC,
        base=rows.base,
        base_as_of=rows.base_as_of,
        x=tuple(x[apart].tolist()),
        y=tuple(y[apart].tolist()),
    )


_FITS: dict[RecalibrationKind, Callable[[Newer, NDArray[np.bool_]], Recalibration | None]] = {
    RecalibrationKind.PLATT: _platt,
    RecalibrationKind.ISOTONIC: _isotonic,
}

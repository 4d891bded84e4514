"""Fit how labels follow scores: the line logit(label) = intercept + slope * logit(score), with errors that know of days."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]

EXTREME = 1e-9
"""Scores are taken to be at least this far from 0 and 1."""

_STEPS = 50
_SETTLED = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Where the odds of labels lie over the odds of scores; (0, 1) is calibrated (Cox 1958).

    `covariance` (2, 2) is of (intercept, slope).
    """

    intercept: float
    slope: float
    covariance: Floats = field(repr=False)
    n: int
    positives: int

    @property
    def intercept_error(self) -> float:
        return math.sqrt(float(self.covariance[0, 0]))

    @property
    def slope_error(self) -> float:
        return math.sqrt(float(self.covariance[1, 1]))


def line(
    scores: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None, blocks: ArrayLike | None = None
) -> Line | None:
    """Fit the line by maximum likelihood; `None` when the rows do not determine one.

    Args:
        scores: (n,) probabilities.
        labels: (n,) 0 and 1, or shares of positives where `weights` counts rows.
        weights: (n,) how many rows each one stands for.
        blocks: (n,) the day or entity of each row. With them the covariance is the sandwich over
            sums of blocks, scaled by D / (D - 1) (Liang and Zeger 1986), and never less than
            that of independent rows.
    """
    x, y = logit(np.clip(np.asarray(scores, dtype=np.float64), EXTREME, 1 - EXTREME)), np.asarray(labels, float)
    w = np.ones(x.size) if weights is None else np.asarray(weights, dtype=np.float64)
    design = np.column_stack([np.ones(x.size), x])
    found = _fitted(design, y, w)
    if found is None:
        return None
    point, bread = found
    covariance = bread if blocks is None else _robust(design, w * (y - expit(design @ point)), bread, blocks)
    if covariance is None:
        return None
    return Line(float(point[0]), float(point[1]), covariance, round(float(w.sum())), round(float((w * y).sum())))


def _fitted(design: Floats, y: Floats, w: Floats) -> tuple[Floats, Floats] | None:
    """Return the most likely line and the inverse of its information; Newton's method with halved steps."""
    total, found = float(w.sum()), float((w * y).sum())
    if not 0 < found < total or np.ptp(design[:, 1]) == 0:
        return None
    point = np.array([0.0, 1.0])
    loss = _loss(design @ point, y, w)
    for _ in range(_STEPS):
        p = expit(design @ point)
        information = (design * (w * p * (1 - p))[:, None]).T @ design
        if not np.linalg.cond(information) < 1 / np.finfo(float).eps:
            return None
        step = np.linalg.solve(information, design.T @ (w * (y - p)))
        point, loss, moved = _halved(point, step, loss, (design, y, w))
        if moved < _SETTLED:
            return point, np.linalg.inv(information)
    return None


def _halved(
    point: Floats, step: Floats, loss: float, rows: tuple[Floats, Floats, Floats]
) -> tuple[Floats, float, float]:
    """Go as far along a step as the loss falls; the last number is how far that was."""
    for _ in range(30):
        there = point + step
        new = _loss(rows[0] @ there, rows[1], rows[2])
        if new <= loss + 1e-12 * abs(loss):
            return there, new, float(np.abs(step).max())
        step = step / 2
    return point, loss, 0.0


def _loss(odds: Floats, y: Floats, w: Floats) -> float:
    return float((w * (np.logaddexp(0.0, odds) - y * odds)).sum())


def _robust(design: Floats, residuals: Floats, bread: Floats, blocks: ArrayLike) -> Floats | None:
    codes = np.unique(np.asarray(blocks), return_inverse=True)[1]
    count = int(codes.max()) + 1
    if count < 2:
        return None
    sums = np.column_stack([np.bincount(codes, residuals * column, minlength=count) for column in design.T])
    robust: Floats = count / (count - 1) * bread @ (sums.T @ sums) @ bread
    widened = np.sqrt(np.maximum(1.0, np.diag(bread) / np.diag(robust)))
    wide: Floats = robust * np.outer(widened, widened)
    return wide

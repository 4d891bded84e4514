"""Turn scores into probabilities, and probabilities into what decisions are expected to be worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from rehone.estimate.reference import Floats, Reference


@dataclass(frozen=True)
class Calibrator:
    """Maps scores to probabilities: rising, linear between the points, constant beyond them."""

    x: Floats
    y: Floats

    def __call__(self, scores: ArrayLike) -> Floats:
        """Return the probability of label 1 of scores of any shape."""
        return np.interp(np.asarray(scores, dtype=np.float64), self.x, self.y)


def calibrate(reference: Reference) -> Calibrator:
    """Fit the rising function from scores to shares of positives that is nearest to the reference.

    Raises:
        ValueError: no row of the reference has a label.
    """
    held = reference.labelled > 0
    if not held.any():
        raise ValueError("no row of the reference has a label")
    weights = reference.labelled[held]
    fit = isotonic_regression(reference.positives[held] / weights, weights=weights)
    return Calibrator(reference.means[held], np.asarray(fit.x, dtype=np.float64))


@dataclass(frozen=True)
class Expected:
    """What decisions are expected to be worth, given the probability of each row; `None` where nothing is expected."""

    recall: float | None
    precision: float | None
    cost_per_1000: float
    roc_auc: float | None
    positives: float


def expected(probabilities: Floats, scores: Floats, acted: NDArray[np.bool_], costs: tuple[float, float]) -> Expected:
    """Return the expected recall, precision, cost per 1,000 rows and ROC-AUC of decisions.

    `probabilities`, `scores` and `acted` are (n,); `costs` are of a false positive and of a
    false negative. Each is the ratio of expected counts, which for many rows is the expected ratio.
    """
    p, n = probabilities, probabilities.size
    caught, flagged, positives = float(p[acted].sum()), int(acted.sum()), float(p.sum())
    cost = costs[0] * (flagged - caught) + costs[1] * (positives - caught)
    order = np.unique(scores, return_inverse=True)[1]
    up, down = np.bincount(order, p), np.bincount(order, 1 - p)
    pairs = positives * (n - positives)
    return Expected(
        recall=caught / positives if positives > 0 else None,
        precision=caught / flagged if flagged else None,
        cost_per_1000=1000 * cost / n,
        roc_auc=float((up * (np.cumsum(down) - down / 2)).sum() / pairs) if pairs > 0 else None,
        positives=positives,
    )

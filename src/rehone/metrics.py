"""Measure how good scores and decisions are on labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rehone.records import Metrics

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def measure(labels: ArrayLike, scores: ArrayLike, threshold: float, *, costs: tuple[float, float]) -> Metrics:
    """Return every metric of one model; what the rows cannot tell (one class only) is `None`.

    Args:
        labels: (n,) of 0 and 1.
        scores: (n,) finite scores, probabilities of label 1.
        threshold: a row is acted on when its score is at least this.
        costs: of acting on a negative, and of missing a positive.

    Raises:
        ValueError: lengths differ, a label is not 0 or 1, or a number is not finite.
    """
    y, s = _checked(labels, scores)
    acted = decide(s, threshold)
    caught = int((acted & y).sum())
    positives, flagged = int(y.sum()), int(acted.sum())
    return Metrics(
        n=y.size,
        positives=positives,
        roc_auc=roc_auc(y, s),
        average_precision=average_precision(y, s),
        recall=caught / positives if positives else None,
        precision=caught / flagged if flagged else None,
        cost_per_1000=1000 * float(cost_of_rows(y, acted, costs).mean()) if y.size else None,
        brier=brier(y, s),
        threshold=float(threshold),
    )


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Return the chance that a positive scores above a negative, ties counting half; `None` with one class.

    Raises:
        ValueError: as `measure`.
    """
    y, s = _checked(labels, scores)
    positive, negative = s[y], np.sort(s[~y])
    if not positive.size or not negative.size:
        return None
    beaten = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return int(beaten.sum()) / (2 * positive.size * negative.size)


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Return the precision at each distinct score, weighted by the recall it adds; `None` without positives.

    Raises:
        ValueError: as `measure`.
    """
    y, s = _checked(labels, scores)
    if not y.any():
        return None
    order = np.argsort(-s, kind="stable")
    last_of_a_score = np.append(np.diff(s[order]) != 0, True)
    caught = np.cumsum(y[order])[last_of_a_score]
    flagged = np.flatnonzero(last_of_a_score) + 1
    added = np.diff(caught, prepend=0)
    return float((added * caught / flagged).sum() / caught[-1])


def brier(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Return the mean squared distance of probability and label; `None` without rows or with scores outside [0, 1].

    Raises:
        ValueError: as `measure`.
    """
    y, s = _checked(labels, scores)
    if not s.size or s.min() < 0 or s.max() > 1:
        return None
    return float(np.square(s - y).mean())


def decide(scores: ArrayLike, threshold: float) -> Bools:
    """Say which rows are acted on: those that score at least the threshold.

    Raises:
        ValueError: the threshold is not finite.
    """
    if not np.isfinite(threshold):
        raise ValueError(f"threshold {threshold} must be finite")
    return np.asarray(np.asarray(scores, dtype=np.float64) >= threshold)


def cost_of_rows(labels: ArrayLike, acted: ArrayLike, costs: tuple[float, float]) -> Floats:
    """Return what each decision cost: (n,), in the unit of `costs` (false positive, false negative)."""
    y, flagged = np.asarray(labels, dtype=bool), np.asarray(acted, dtype=bool)
    false_positive, false_negative = costs
    cost: Floats = (flagged & ~y) * float(false_positive) + (~flagged & y) * float(false_negative)
    return cost


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Bools, Floats]:
    y: NDArray[Any] = np.asarray(labels)
    s = np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise ValueError(f"labels of shape {y.shape} and scores of shape {s.shape}: must be two rows of one length")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 0 and 1")
    if not np.isfinite(s).all():
        raise ValueError(f"{int((~np.isfinite(s)).sum())} of {s.size} scores are NaN or infinite")
    return y.astype(bool), s

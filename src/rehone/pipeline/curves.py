"""Thin what a model said of the holdout to curves that a page can draw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rehone.compare import wilson
from rehone.records import Calibrated, Curves

MOST = 101
"""Thresholds of one curve."""

QUANTILES = 10
LEVEL = 0.95
DIGITS = 6

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.intp]


def curves(role: str, labels: Bools, scores: Floats, threshold: float, *, costs: tuple[float, float]) -> Curves:
    """Return the rates, precision and cost of one model at no more than 101 thresholds, and its calibration.

    `labels` (n,) hold both classes, `scores` (n,) are finite; a row is acted on when its score is at least the
    threshold. `costs` are of acting on a negative, and of missing a positive. The first threshold acts on no row and
    the last on all; the model's own is among them.
    """
    chosen = _thresholds(labels, scores, threshold)
    positive, negative = np.sort(scores[labels]), np.sort(scores[~labels])
    caught = positive.size - np.searchsorted(positive, chosen, "left")
    wrong = negative.size - np.searchsorted(negative, chosen, "left")
    cost = 1000 * (costs[0] * wrong + costs[1] * (positive.size - caught)) / labels.size
    return Curves(
        role=role,
        threshold=float(threshold),
        thresholds=tuple(chosen.tolist()),
        false_positive_rate=_short(wrong / negative.size),
        recall=_short(caught / positive.size),
        precision=tuple(
            round(right / (right + false), DIGITS) if right + false else None
            for right, false in zip(caught.tolist(), wrong.tolist(), strict=True)
        ),
        cost_per_1000=_short(cost),
        calibration=tuple(_calibration(labels, scores)),
    )


def _thresholds(labels: Bools, scores: Floats, own: float) -> Floats:
    """Choose distinct thresholds, falling: half by equal steps of recall, half by equal steps of rows."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    spare = MOST - 2  # the threshold that acts on no row, and the model's own
    if last.size > spare:
        recall, rows = np.cumsum(labels[order].astype(np.int64))[last], last + 1
        last = last[np.union1d(_steps(recall, spare // 2), _steps(rows, spare - spare // 2))]
    top = np.nextafter(ranked[0], np.inf)
    return np.unique(np.concatenate(([top, own], ranked[last])))[::-1]


def _steps(reached: NDArray[np.integer], count: int) -> Places:
    """Return where a rising count first reaches each of so many equal steps; the last is its end."""
    found: Places = np.searchsorted(reached, reached[-1] * np.arange(1, count) / count, "left")
    return np.append(found, reached.size - 1)


def _calibration(labels: Bools, scores: Floats) -> Iterator[Calibrated]:
    """Divide rows at the deciles of their scores; equal scores stay together, so that there may be fewer bins."""
    edges = np.unique(np.quantile(scores, np.arange(1, QUANTILES) / QUANTILES))
    bins = np.searchsorted(edges, scores, "left")
    for place in np.unique(bins).tolist():
        inside = bins == place
        n, positives = int(inside.sum()), int(labels[inside].sum())
        low, high = wilson(positives, n, LEVEL)
        score, observed, low, high = _short(np.array([scores[inside].mean(), positives / n, low, high]))
        yield Calibrated(score=score, observed=observed, low=low, high=high, n=n)


def _short(numbers: Floats) -> tuple[float, ...]:
    return tuple(np.round(numbers, DIGITS).tolist())

"""Choose the score from which a decision is made, on scores of rows that the model had not seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rehone.config import Train


def choose_threshold(
    scores: NDArray[np.float64],
    labels: NDArray[np.integer],
    policy: Train,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the threshold, a number in [0, 1]; a row is acted on when its score reaches it.

    `scores` and `labels` are (n,). With `policy.threshold = "cost"` it is the one of least cost
    on these rows (`cost_false_positive`, `cost_false_negative`); of several equally cheap ones
    the highest, which acts on fewer rows. With `"recall"` it is the highest that reaches
    `recall_floor`. It is placed half-way down to the next lower score, so that a score that
    differs in its last digit falls on the same side. `weights` (n,) are the rows that each one
    stands for, without them each counts once.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], labels[order].astype(np.int64)
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    counted = hits if weights is None else hits * weights[order]
    found, positives = np.cumsum(counted)[last], counted.sum()
    acted = last + 1 if weights is None else np.cumsum(weights[order])[last]
    if policy.threshold == "recall":
        best = int(np.argmax(found >= policy.recall_floor * positives - 1e-9))
        return _below(ranked, last, best)
    cost = policy.cost_false_positive * (acted - found) + policy.cost_false_negative * (positives - found)
    best = int(np.argmin(cost))
    if cost[best] >= policy.cost_false_negative * positives:
        return float(min(1.0, np.nextafter(ranked[0], 2.0)))  # acting on nobody is cheapest
    return _below(ranked, last, best)


def _below(ranked: NDArray[np.float64], last: NDArray[np.intp], best: int) -> float:
    if best + 1 == len(last):
        return float(ranked[last[best]])
    return float(ranked[last[best]] + (ranked[last[best + 1]] - ranked[last[best]]) / 2)

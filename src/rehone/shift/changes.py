"""Find the day from which a loss is another than before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rehone.shift.facts import Floats, Matured

FEWEST_DAYS = 10
"""Days with matured rows from which a change point is looked for."""

CHANGED = 0.01
"""p-value below which the loss is said to have changed."""

_DRAWS = 999
_EDGE = 3


def changed(matured: Matured, seed: int) -> int | None:
    """Return the first day of another loss, since 1970, or `None` when chance gives as large a change.

    The loss of a row is its log loss less the one that its score expects, so that other inputs
    alone do not change it: (p - y) logit(p). The largest cumulative sum of days (Page 1954), each
    weighed by the variance that its scores expect, is held against those of days in random order.
    """
    days, place = np.unique(matured.days, return_inverse=True)
    if days.size < FEWEST_DAYS:
        return None
    excess, variance = _excess(matured)
    rows, sums = (np.bincount(place, each).astype(np.float64) for each in (variance, excess))
    order = np.random.default_rng(seed)
    drawn = np.array([order.permutation(days.size) for _ in range(_DRAWS)])
    found, at = largest(sums[None, :], rows[None, :])
    chance, _ = largest(sums[drawn], rows[drawn])
    p_value = (1 + int((chance >= found[0]).sum())) / (_DRAWS + 1)
    return int(days[at[0] + 1]) if p_value < CHANGED else None


def _excess(matured: Matured) -> tuple[Floats, Floats]:
    """Return each row's log loss less the one that its score expects, and the variance of that, (n,)."""
    p, y = np.clip(matured.scores, 1e-9, 1 - 1e-9), matured.labels
    odds = np.log(p) - np.log1p(-p)
    return (p - y) * odds, p * (1 - p) * odds**2


def largest(sums: Floats, rows: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return for each order of days, (orders, days), the largest standardized jump of the mean, and after which day."""
    cut = slice(_EDGE - 1, -_EDGE)
    before, total = np.cumsum(rows, axis=1)[:, cut], rows.sum(axis=1, keepdims=True)
    part, whole = np.cumsum(sums, axis=1)[:, cut], sums.sum(axis=1, keepdims=True)
    jump = np.abs(part - whole * before / total) / np.sqrt(before * (total - before) / total)
    at = jump.argmax(axis=1)
    return jump.max(axis=1), at + _EDGE - 1

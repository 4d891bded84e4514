"""Hold one measure of drift against the recall of the same windows: does it tell, and from which value on?

Pure functions of numbers. `drift` and `ratio` are (windows,), in the order of time; `ratio` is
recall over its baseline, and a window has fallen when that is at most `1 - drop`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binom, rankdata
from sklearn.isotonic import IsotonicRegression

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEWEST_WINDOWS = 10
FEWEST_OF_A_KIND = 3
DRAWS = 1_000
LEVEL = 0.95
MONOTONE_RATIO = 2.29  # quantile .95 of the law of Banerjee and Wellner


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What was measured: (windows,) each; `weights` are one over the variance of each ratio."""

    drift: Floats
    ratio: Floats
    weights: Floats
    drop: float

    @property
    def fallen(self) -> Bools:
        fell: Bools = self.ratio <= 1 - self.drop + 1e-12
        return fell

    @classmethod
    def of(cls, drift: Floats, recall: Floats, baseline: Floats, positives: Floats, drop: float) -> Pairs:
        """Weigh each window by what its positives tell of recall near the limit."""
        limit = np.minimum((1 - drop) * baseline, 0.999)
        weights = positives * baseline**2 / (limit * (1 - limit))
        return cls(drift=drift, ratio=recall / baseline, weights=weights, drop=drop)


def auc(drift: Floats, fallen: Bools) -> float | None:
    """Return the probability that drift was higher in a fallen window than in another; ties count half."""
    bad, good = int(fallen.sum()), int((~fallen).sum())
    if not bad or not good:
        return None
    ranks = rankdata(drift)
    return float((ranks[fallen].sum() - bad * (bad + 1) / 2) / (bad * good))


def crossing(pairs: Pairs) -> float | None:
    """Return the lowest drift from which on recall had fallen, `None` when it never had.

    Recall over drift is fitted by a falling step function (isotonic regression, weighed by
    positives), which makes no other assumption; it is the first step at or below `1 - drop`.
    """
    fitted = _fit(pairs, np.full(pairs.drift.size, True))
    below = pairs.drift[fitted <= 1 - pairs.drop + 1e-12]
    return float(below.min()) if below.size else None


def just_below(pairs: Pairs, at: float) -> float | None:
    """Return a limit just below `at`: half-way down to the next lower drift, at most a tenth lower, rounded down.

    `None` when no window has a lower drift: then nothing says that less drift is harmless.
    """
    lower = pairs.drift[pairs.drift < at]
    if not lower.size:
        return None
    limit = max((at + float(lower.max())) / 2, 0.9 * at)
    for digits in (2, 3, 4):
        down = _floored(limit, digits)
        if down > lower.max():
            return down
    return limit


def _floored(value: float, digits: int) -> float:
    """Round down to that many significant digits."""
    scale = digits - 1 - math.floor(math.log10(value))
    return float(round(math.floor(value * 10.0**scale + 1e-9) / 10.0**scale, max(scale, 0)))


def auc_interval(pairs: Pairs, seed: int, level: float = LEVEL) -> tuple[float, float] | None:
    """Return the wider of two intervals of `auc`.

    One is a bootstrap of blocks of successive windows, which keeps what hangs together in time;
    the other a score interval that stays honest with few windows and near 1 (Newcombe 2006, method 5).
    """
    value = auc(pairs.drift, pairs.fallen)
    if value is None:
        return None
    bad = int(pairs.fallen.sum())
    low, high = _score_interval(value, bad, pairs.fallen.size - bad, level)
    known = _aucs(pairs, blocks(pairs.drift.size, seed))
    if known.size:
        tails = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
        low, high = min(low, float(tails[0])), max(high, float(tails[1]))
    return low, high


def _aucs(pairs: Pairs, rows: NDArray[np.int64]) -> Floats:
    """Return `auc` of each draw of windows, (draws, windows), that has both kinds."""
    fallen = pairs.fallen[rows]
    bad = fallen.sum(axis=1)
    good = rows.shape[1] - bad
    both = (bad > 0) & (good > 0)
    ranks = rankdata(pairs.drift[rows[both]], axis=1)
    bad, good = bad[both], good[both]
    found: Floats = ((ranks * fallen[both]).sum(axis=1) - bad * (bad + 1) / 2) / (bad * good)
    return found


def crossing_interval(pairs: Pairs) -> tuple[float | None, float | None]:
    """Return the bounds of `crossing` at level .95; `None` where there is no bound.

    A drift belongs to the interval unless a falling fit that passes `1 - drop` just there is much
    worse than the free one: the likelihood ratio of a monotone function at a point, whose limit
    law is not chi-square but has the quantile 2.29 (Banerjee and Wellner 2001, 2005). What windows
    scatter beyond their count of positives widens it. A bootstrap of this fit is not consistent.
    """
    x = np.unique(pairs.drift)
    free = _fit(pairs, np.full(pairs.drift.size, True))
    missed = pairs.weights * (pairs.ratio - free) ** 2
    scatter = max(1.0, float(missed.sum()) / max(pairs.drift.size - np.unique(free).size, 1))
    edges = np.concatenate([[-math.inf], x, [math.inf]])
    held = [
        (low, high)
        for low, high in pairwise(edges)
        if (_distance(pairs, high) - float(missed.sum())) / scatter <= MONOTONE_RATIO
    ]
    if not held:
        return None, None
    low, high = float(held[0][0]), float(held[-1][1])
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)


def _distance(pairs: Pairs, at: float) -> float:
    """Return the weighed squares that remain when the fit has to be above the limit below `at`, and below it from there on."""
    limit, left = 1 - pairs.drop, pairs.drift < at
    fitted = np.where(left, np.maximum(_fit(pairs, left), limit), np.minimum(_fit(pairs, ~left), limit))
    return float((pairs.weights * (pairs.ratio - fitted) ** 2).sum())


def _fit(pairs: Pairs, rows: Bools) -> Floats:
    """Fit a falling step function to some windows; (windows,), 0 for those left out."""
    fitted = np.zeros(pairs.drift.size)
    if rows.any():
        fit = IsotonicRegression(increasing=False)
        fitted[rows] = fit.fit_transform(pairs.drift[rows], pairs.ratio[rows], sample_weight=pairs.weights[rows])
    return fitted


def chance_of(positives: NDArray[np.int64], baselines: Floats, fallen: int, drop: float) -> float:
    """Return the probability that at least `fallen` windows fall although none has left its baseline.

    Each window falls by chance when a binomial count of its positives does; the sum of such
    unequal coins is exact (Poisson binomial, by convolution).
    """
    each = binom.cdf(np.floor((1 - drop) * baselines * positives + 1e-9), positives, baselines)
    law = np.array([1.0])
    for p in each:
        law = np.convolve(law, [1 - p, p])
    return float(law[fallen:].sum())


def blocks(n: int, seed: int) -> NDArray[np.int64]:
    """Return (draws, n) rows: circular blocks of about n^(1/3) successive windows (Politis and Romano 1992)."""
    length = max(1, round(n ** (1 / 3)))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n, (DRAWS, -(-n // length)))
    rows: NDArray[np.int64] = (starts[:, :, None] + np.arange(length)) % n
    return rows.reshape(DRAWS, -1)[:, :n]


def _score_interval(value: float, bad: int, good: int, level: float) -> tuple[float, float]:
    z, half = float(ndtri((1 + level) / 2)), (bad + good) / 2

    def reach(theta: float) -> float:
        spread = 1 + (half - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return z * math.sqrt(theta * (1 - theta) * spread / (bad * good))

    def bound(low: float, high: float, sign: float) -> float:
        for _ in range(60):
            middle = (low + high) / 2
            inside = sign * (middle - value) <= reach(middle)
            low, high = (middle, high) if inside == (sign > 0) else (low, middle)
        return (low + high) / 2

    return bound(0.0, value, -1.0), bound(value, 1.0, 1.0)

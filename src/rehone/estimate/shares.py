"""Find the share of positives that new scores speak of, and correct probabilities for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from rehone.estimate.reference import SMALLEST, Floats, Reference, counted, pooled

POOLS = 10
"""Bins in which scores are compared: many would fit the reference's own chance, and see too little change."""


def share_of_positives(probabilities: Floats, prior: float, rows: Floats | None = None) -> Floats:
    """Return the share of positives that makes scores most likely, where only that share has changed.

    `probabilities` (..., n) are calibrated where the share was `prior`; `rows` (..., n) says how
    many rows each stands for. It is the fixed point of the EM of Saerens et al. (2002), found as
    the root of the slope of its likelihood, which falls.
    """
    weight = np.ones_like(probabilities) if rows is None else rows
    base = (1 - probabilities) / (1 - prior)
    gain = probabilities / prior - base
    low = np.full(probabilities.shape[:-1], SMALLEST)
    high = 1 - low
    for _ in range(40):
        middle = (low + high) / 2
        rising = (weight * gain / (base + middle[..., None] * gain)).sum(axis=-1) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.asarray((low + high) / 2, dtype=np.float64)


def for_prior(probabilities: Floats, then: ArrayLike, now: ArrayLike) -> Floats:
    """Return probabilities as they are when the share of positives is `now` instead of `then`, by Bayes."""
    then, now = np.asarray(then, dtype=np.float64)[..., None], np.asarray(now, dtype=np.float64)[..., None]
    up, down = probabilities * now / then, (1 - probabilities) * (1 - now) / (1 - then)
    total = up + down
    return np.divide(up, total, out=np.zeros(np.shape(total)), where=total > 0)


def share_of(reference: Reference, scores: Floats) -> float:
    """Return the share of positives of scores, by few bins: many fit the reference's own chance, and see too little change."""
    few = pooled(reference, POOLS)
    return float(share_of_positives(few.positives / few.labelled, reference.prior, counted(few, scores)))


def mixture_fit(reference: Reference, scores: ArrayLike, prior: float) -> float | None:
    """Return the p-value that scores, (n,), are a mixture of the reference's positives (share `prior`) and negatives.

    Pearson's statistic over at most 10 bins, its variance that of the counts and of both
    reference histograms, against chi-square with two degrees less than bins (one for the share);
    `None` when fewer than three bins can be compared.
    """
    bins = pooled(reference, POOLS)
    k, m = bins.positives, bins.labelled - bins.positives
    found = counted(bins, np.asarray(scores, dtype=np.float64))
    n, up, down = int(found.sum()), k / k.sum(), m / m.sum()
    q = prior * up + (1 - prior) * down
    spread = prior**2 * up / k.sum() + (1 - prior) ** 2 * down / m.sum()
    variance = n * q + n * n * spread
    used = variance > 0
    if used.sum() < 3 or not n:
        return None
    statistic = float(((found - n * q)[used] ** 2 / variance[used]).sum())
    return float(chdtrc(int(used.sum()) - 2, statistic))

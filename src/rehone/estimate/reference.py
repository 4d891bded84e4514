"""Hold labelled scores in bins: what scores were worth, and what later ones are read against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rehone.records import ScoreProfile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_POSITIVES = 20
"""Rows of the rarer label in a reference below which a calibration says too little."""

SMALLEST = 1e-9


@dataclass(frozen=True)
class Reference:
    """Labelled scores in bins, by score: `labelled` rows, `positives` of them, and their mean score.

    Each is (b,); `cuts`, (b - 1,), lie between neighbouring bins: bin `i` holds
    `cuts[i-1] < s <= cuts[i]`. A bin may be one row. Counts may be weighted.
    """

    means: Floats
    labelled: Floats
    positives: Floats
    cuts: Floats

    @property
    def prior(self) -> float:
        """The share of positives."""
        return float(self.positives.sum() / self.labelled.sum())

    @property
    def useful(self) -> bool:
        """Whether there is enough of both classes to say what a score is worth."""
        both = min(self.positives.sum(), (self.labelled - self.positives).sum())
        return bool(both >= LEAST_POSITIVES)


def of_rows(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Reference:
    """Make a reference of out-of-sample scores (n,), labels (n,) of 0 and 1, and weights (n,); each score is a bin.

    Rows whose score or label is not finite are left out.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    w = np.ones(s.size) if weights is None else np.asarray(weights, dtype=np.float64)
    known = np.isfinite(s) & np.isfinite(y)
    means, place = np.unique(s[known], return_inverse=True)
    return Reference(
        means=means,
        labelled=np.bincount(place, w[known], means.size).astype(np.float64),
        positives=np.bincount(place, w[known] * y[known], means.size).astype(np.float64),
        cuts=(means[:-1] + means[1:]) / 2,
    )


def of_profile(profile: ScoreProfile | None) -> Reference | None:
    """Make a reference of what a version remembers of its scores; `None` when it did not keep their labels."""
    if profile is None or not profile.labelled:
        return None
    return Reference(
        means=np.asarray(profile.means, dtype=np.float64),
        labelled=np.asarray(profile.labelled, dtype=np.float64),
        positives=np.asarray(profile.positives, dtype=np.float64),
        cuts=np.asarray(profile.edges, dtype=np.float64),
    )


def with_worth(
    profile: ScoreProfile, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> ScoreProfile:
    """Return a histogram of scores that also holds what they were worth: labelled rows, positives, means of each bin.

    `scores` (n,) are those it was made of, NaN where there is none; `labels` (n,) are 0 or 1; a
    row of a drawn sample stands for `weights` rows.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    w = np.ones(s.size) if weights is None else np.asarray(weights, dtype=np.float64)
    known = np.isfinite(s) & np.isfinite(y)
    place, bins = np.searchsorted(profile.edges, s[known], "left"), len(profile.edges) + 1
    labelled = np.bincount(place, w[known], bins)
    sums = np.bincount(place, w[known] * s[known], bins)
    return replace(
        profile,
        labelled=tuple(np.rint(labelled).astype(np.int64).tolist()),
        positives=tuple(np.rint(np.bincount(place, w[known] * y[known], bins)).astype(np.int64).tolist()),
        means=tuple(np.divide(sums, labelled, out=np.zeros(bins), where=labelled > 0).tolist()),
    )


def pooled(reference: Reference, most: int) -> Reference:
    """Put neighbouring bins together to at most `most`, each with an even share of both labels and at least a row."""
    place = places(reference, most)
    labelled = np.bincount(place, reference.labelled).astype(np.float64)
    return Reference(
        means=np.bincount(place, reference.means * reference.labelled) / labelled,
        labelled=labelled,
        positives=np.bincount(place, reference.positives).astype(np.float64),
        cuts=reference.cuts[np.flatnonzero(np.diff(place))],
    )


def places(reference: Reference, most: int) -> Ints:
    """Return the pool of each bin, (b,); a bin without a row goes with the one below, or the first above."""
    k, m = reference.positives, reference.labelled - reference.positives
    share = (k / max(float(k.sum()), SMALLEST) + m / max(float(m.sum()), SMALLEST)) / 2
    pool = np.minimum(((np.cumsum(share) - share / 2) * most).astype(np.int64), most - 1)
    held = reference.labelled > 0
    last = np.maximum.accumulate(np.where(held, np.arange(pool.size), -1))
    filled = pool[np.where(last < 0, int(np.argmax(held)), last)]
    return np.unique(filled, return_inverse=True)[1].astype(np.int64)


def counted(bins: Reference, scores: Floats) -> Floats:
    """Count scores, (n,), into the bins of a reference."""
    return np.bincount(np.searchsorted(bins.cuts, scores, "left"), minlength=bins.means.size).astype(np.float64)

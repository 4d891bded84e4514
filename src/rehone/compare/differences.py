"""Measure a paired difference and how sure it is: rows independent, or grouped in blocks.

Rows of one day or of one customer share their luck, so that a variance that counts rows is
too small. The block variants leave out one block at a time (the delete-one-block jackknife)
and take quantiles of Student's t with one degree of freedom less than there are blocks. Why
this and not a bootstrap is written in docs/decisions/0004-gate.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The difference challenger minus champion, with its standard error.

    `se` is `None` when it cannot be measured (fewer than two blocks, or all positives in one
    block): every bound is then infinite. `df` is `None` for normal quantiles. `covariance`
    is of the two models' values: (champion, shared, challenger), where it is known.
    `blocks` counts those that hold information on the difference.
    """

    delta: float
    se: float | None
    champion: float
    challenger: float
    n: int
    positives: int | None = None
    df: float | None = None
    blocks: int | None = None
    covariance: tuple[float, float, float] | None = None

    def lower(self, level: float) -> float:
        """Return the one-sided lower bound at `level`, e.g. .95."""
        return self.delta - self._reach(level)

    def upper(self, level: float) -> float:
        """Return the one-sided upper bound at `level`."""
        return self.delta + self._reach(level)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided interval at `level`."""
        one_sided = (1 + level) / 2
        return self.lower(one_sided), self.upper(one_sided)

    @property
    def z(self) -> float:
        """Return the difference in standard errors; 0 when there is no difference at all."""
        return self._statistic(self.delta)

    @property
    def p_two_sided(self) -> float:
        """Return the p-value of "there is no difference"; 1 for identical models."""
        return min(1.0, 2 * self._cdf(-abs(self.z)))

    def p_non_inferior(self, margin: float) -> float:
        """Return the one-sided p-value of "the challenger is worse by `margin` or more"."""
        return self._cdf(-self._statistic(self.delta + margin))

    def _reach(self, level: float) -> float:
        if self.se is None:
            return math.inf
        if self.se == 0:
            return 0.0
        quantile = ndtri(level) if self.df is None else stdtrit(self.df, level)
        return float(quantile) * self.se

    def _statistic(self, distance: float) -> float:
        if self.se is None or distance == 0:
            return 0.0
        return distance / self.se if self.se > 0 else math.copysign(math.inf, distance)

    def _cdf(self, x: float) -> float:
        if self.se is None:
            return 1.0
        return float(ndtr(x) if self.df is None else stdtr(self.df, x))


def delong(labels: ArrayLike, champion: ArrayLike, challenger: ArrayLike) -> Paired:
    """Compare two ROC-AUCs on the same independent rows, in O(n log n).

    Source: DeLong, DeLong and Clarke-Pearson 1988, with the mid-rank sums of Sun and Xu 2014.

    Args:
        labels: (n,) of 0 and 1; at least two of each.
        champion: (n,) finite scores.
        challenger: (n,) finite scores.

    Raises:
        ValueError: lengths differ, a score is not finite, or there are fewer than two of a class.
    """
    y = _labels(labels)
    placed = [_Placed.of(y, _scores(s, y.size)) for s in (champion, challenger)]
    aucs = [p.auc for p in placed]
    covariance = _covariance([_of_positives(p) for p in placed]) + _covariance([_of_negatives(p) for p in placed])
    return Paired(
        delta=aucs[1] - aucs[0],
        se=_se_of_differences(*placed),
        champion=aucs[0],
        challenger=aucs[1],
        n=y.size,
        positives=int(y.sum()),
        covariance=(float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])),
    )


def delong_blocks(labels: ArrayLike, champion: ArrayLike, challenger: ArrayLike, blocks: ArrayLike) -> Paired:
    """Compare two ROC-AUCs on the same rows, which are independent only between blocks.

    Each block is left out in turn, exactly and in O(n log n): what goes is the pairs of its
    positives, the pairs of its negatives, and those within it are counted once.

    Args:
        labels: (n,) of 0 and 1; at least two of each.
        champion: (n,) finite scores.
        challenger: (n,) finite scores.
        blocks: (n,) any sortable codes: day, customer.

    Raises:
        ValueError: as `delong`.
    """
    y = _labels(labels)
    codes = _codes(blocks, y.size)
    both = [_auc_without_each_block(y, _scores(s, y.size), codes) for s in (champion, challenger)]
    (champion_auc, champion_without), (challenger_auc, challenger_without) = both
    informative = _informative(y, codes)
    return Paired(
        delta=challenger_auc - champion_auc,
        se=_jackknife_se(challenger_without - champion_without),
        champion=champion_auc,
        challenger=challenger_auc,
        n=y.size,
        positives=int(y.sum()),
        df=max(informative - 1.0, 1.0),
        blocks=informative,
    )


def block_difference(champion: ArrayLike, challenger: ArrayLike, blocks: ArrayLike | None = None) -> Paired:
    """Compare the means of a quantity that both models have on each row, e.g. the cost of a decision.

    Args:
        champion: (n,) values, one a row.
        challenger: (n,) values of the same rows.
        blocks: (n,) codes of days or customers; `None` when rows are independent.

    Raises:
        ValueError: lengths differ, there are no rows, or a value is not finite.
    """
    first = _scores(champion, None)
    second = _scores(challenger, first.size)
    if first.size == 0:
        raise ValueError("0 rows to compare: need at least 1")
    codes = np.arange(first.size) if blocks is None else _codes(blocks, first.size)
    difference = second - first
    sums, counts = np.bincount(codes, difference), np.bincount(codes)
    known = counts.size
    with np.errstate(invalid="ignore", divide="ignore"):
        without = (difference.sum() - sums) / (first.size - counts)
    return Paired(
        delta=float(difference.mean()),
        se=_jackknife_se(without),
        champion=float(first.mean()),
        challenger=float(second.mean()),
        n=first.size,
        df=max(known - 1.0, 1.0),
        blocks=None if blocks is None else known,
    )


def roc_auc_interval(
    labels: ArrayLike, scores: ArrayLike, level: float, *, blocks: ArrayLike | None = None
) -> tuple[float, float] | None:
    """Return the two-sided interval of one model's ROC-AUC, or `None` when it cannot be measured.

    Raises:
        ValueError: as `delong`.
    """
    constant = np.zeros(np.shape(labels))
    alone = delong(labels, constant, scores) if blocks is None else delong_blocks(labels, constant, scores, blocks)
    if alone.se is None:
        return None
    low, high = alone.interval(level)
    return max(0.0, low + 0.5), min(1.0, high + 0.5)


def positives_needed(positives: int, se: float, distance: float, *, level: float, power: float = 0.80) -> int | None:
    """Return about how many positives would show a difference that lies `distance` inside its limit.

    The squared standard error is taken to fall as one over the number of positives, at the
    same share of positives. `None` when no number would: the distance is 0.

    Args:
        positives: how many there are now.
        se: the standard error that they gave.
        distance: between the true difference and the limit; the margin itself for equal models.
        level: one-sided, of the bound that must clear the limit.
        power: the chance that it does.
    """
    if distance == 0:
        return None
    needed = positives * ((float(ndtri(level)) + float(ndtri(power))) * se / distance) ** 2
    return math.ceil(needed) if math.isfinite(needed) else None


@dataclass(frozen=True, slots=True)
class _Placed:
    """For each row, twice the number of rows of the other class that it beats; a tie counts once."""

    positives: Ints
    negatives: Ints

    @classmethod
    def of(cls, y: NDArray[np.bool_], scores: Floats) -> _Placed:
        positive, negative = scores[y], scores[~y]
        if min(positive.size, negative.size) < 2:
            raise ValueError(
                f"{positive.size} positives and {negative.size} negatives: need at least 2 of each for a ROC-AUC with an error"
            )
        return cls(_beaten(positive, np.sort(negative)), 2 * positive.size - _beaten(negative, np.sort(positive)))

    @property
    def auc(self) -> float:
        return int(self.positives.sum()) / (2 * self.positives.size * self.negatives.size)


def _beaten(of: Floats | Ints, among: Floats | Ints) -> Ints:
    below = np.searchsorted(among, of, "left").astype(np.int64)
    return below + np.searchsorted(among, of, "right")


def _of_positives(placed: _Placed) -> Floats:
    return placed.positives / (2 * placed.negatives.size)


def _of_negatives(placed: _Placed) -> Floats:
    return placed.negatives / (2 * placed.positives.size)


def _covariance(placements: list[Floats]) -> Floats:
    return np.cov(np.vstack(placements)) / placements[0].size


def _se_of_differences(champion: _Placed, challenger: _Placed) -> float:
    """Take the variance of the differences, not of each side: equal models give exactly 0."""
    m, n = champion.positives.size, champion.negatives.size
    positives = (challenger.positives - champion.positives) / (2 * n)
    negatives = (challenger.negatives - champion.negatives) / (2 * m)
    return math.sqrt(positives.var(ddof=1) / m + negatives.var(ddof=1) / n)


def _auc_without_each_block(y: NDArray[np.bool_], scores: Floats, codes: Ints) -> tuple[float, Floats]:
    placed = _Placed.of(y, scores)
    count = int(codes.max()) + 1
    of_positives = _sum_by(codes[y], placed.positives, count)
    of_negatives = _sum_by(codes[~y], placed.negatives, count)
    within = _within_blocks(y, scores, codes)
    m, n = np.bincount(codes[y], minlength=count), np.bincount(codes[~y], minlength=count)
    left = placed.positives.sum() - of_positives - of_negatives + within
    pairs = 2 * (m.sum() - m) * (n.sum() - n)
    without = np.full(count, np.nan)
    np.divide(left, pairs, out=without, where=pairs > 0)
    return placed.auc, without


def _within_blocks(y: NDArray[np.bool_], scores: Floats, codes: Ints) -> Ints:
    """Count, twice, what the positives of each block beat in their own block."""
    _, rank = np.unique(scores, return_inverse=True)
    width = int(rank.max()) + 1
    keys = codes * width + rank
    negative = np.sort(keys[~y])
    earlier = 2 * np.searchsorted(negative, codes[y] * width, "left")
    return _sum_by(codes[y], _beaten(keys[y], negative) - earlier, int(codes.max()) + 1)


def _sum_by(codes: Ints, values: Ints, count: int) -> Ints:
    total = np.zeros(count, dtype=np.int64)
    np.add.at(total, codes, values)
    return total


def _informative(y: NDArray[np.bool_], codes: Ints) -> int:
    return min(np.unique(codes[y]).size, np.unique(codes[~y]).size)


def _jackknife_se(without: Floats) -> float | None:
    """Return the delete-one-block standard error; `None` if a block, or the only one, cannot be done without."""
    if not np.isfinite(without).all():
        return None
    d = without.size
    return math.sqrt((d - 1) / d * float(np.square(without - without.mean()).sum()))


def _labels(labels: ArrayLike) -> NDArray[np.bool_]:
    y = np.asarray(labels)
    if y.ndim != 1 or not np.isin(y, (0, 1)).all():
        raise ValueError(f"labels of shape {y.shape} must be one row of 0 and 1")
    return y.astype(bool)


def _scores(scores: ArrayLike, size: int | None) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or (size is not None and values.size != size):
        raise ValueError(f"values of shape {values.shape} must be one row of {size}")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} values are NaN or infinite")
    return values


def _codes(blocks: ArrayLike, size: int) -> Ints:
    given = np.asarray(blocks)
    if given.shape != (size,):
        raise ValueError(f"blocks of shape {given.shape} must be one row of {size}")
    return np.unique(given, return_inverse=True)[1].astype(np.int64)

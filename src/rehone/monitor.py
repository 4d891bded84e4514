"""Measure how the champion does on rows whose labels have matured, with honest intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NotRequired, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from rehone.compare import wilson
from rehone.records import Estimate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Terms(TypedDict):
    """What decisions cost, how rows hang together, and how sure to be.

    `costs` are of a false positive and of a false negative; `blocks` number the day or the
    entity of each row, (n,); `level` is of the two-sided intervals.
    """

    costs: tuple[float, float]
    level: float
    min_positives: int
    blocks: NotRequired[ArrayLike | None]


def performance(
    scores: ArrayLike, labels: ArrayLike, threshold: float, **terms: Unpack[Terms]
) -> tuple[Estimate | None, Estimate | None, str]:
    """Return recall at the threshold, cost per 1,000 rows, and why they are not known.

    `scores` (n,) are probabilities, `labels` (n,) 0 or 1; a row decides positive when its score
    is at least `threshold`. Rows with a score or label that is not finite are left out. Without
    blocks the interval of recall is Wilson's. With blocks, whose rows are not independent, it
    is that of a ratio of block sums with t(D - 1), and never narrower than Wilson's. Both are
    `None` when there are too few positives, or all of them are in one block.
    """
    score = np.asarray(scores, dtype=np.float64)
    decided = np.where(np.isfinite(score), (score >= threshold).astype(np.float64), np.nan)
    return decisions(decided, labels, **terms)


def decisions(
    decided: ArrayLike, labels: ArrayLike, **terms: Unpack[Terms]
) -> tuple[Estimate | None, Estimate | None, str]:
    """Return recall and cost of decisions that were really taken: `performance` without scores.

    `decided` (n,) is 1 or true where a row was decided positive, `labels` (n,) 0 or 1; rows
    with either of them not finite are left out.
    """
    rows = _rows(decided, labels, terms.get("blocks"))
    positives, least = int(rows.actual.sum()), terms["min_positives"]
    if positives < least or rows.n < 2:
        return None, None, f"{positives} matured positives in {rows.n} rows, need at least {least}"
    if rows.blocks is not None and np.unique(rows.blocks[rows.actual]).size < 2:
        return None, None, f"all {positives} matured positives fall in one day or entity, need at least 2"
    return _recall(rows, terms["level"]), _cost(rows, terms["costs"], terms["level"]), ""


@dataclass(frozen=True)
class _Rows:
    actual: Bools
    decided: Bools
    blocks: NDArray[np.int64] | None

    @property
    def n(self) -> int:
        return int(self.actual.size)


def _rows(decided: ArrayLike, labels: ArrayLike, blocks: ArrayLike | None) -> _Rows:
    decision, label = np.asarray(decided, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    known = np.isfinite(decision) & np.isfinite(label)
    codes = None if blocks is None else np.unique(np.asarray(blocks)[known], return_inverse=True)[1].astype(np.int64)
    return _Rows(label[known] == 1, decision[known] == 1, codes)


def _recall(rows: _Rows, level: float) -> Estimate:
    caught, positives = int((rows.actual & rows.decided).sum()), int(rows.actual.sum())
    low, high = wilson(caught, positives, level)
    if rows.blocks is not None:
        hit = (rows.actual & rows.decided).astype(np.float64)
        reach = _reach(hit, rows.actual.astype(np.float64), rows.blocks, level)
        share = caught / positives
        low, high = min(low, max(share - reach, 0.0)), max(high, min(share + reach, 1.0))
    return Estimate(value=caught / positives, low=low, high=high, n=rows.n, positives=positives)


def _cost(rows: _Rows, costs: tuple[float, float], level: float) -> Estimate:
    false_positive, false_negative = costs
    each = false_positive * (rows.decided & ~rows.actual) + false_negative * (rows.actual & ~rows.decided)
    blocks = np.arange(rows.n) if rows.blocks is None else rows.blocks
    mean = float(each.mean())
    reach = _reach(each.astype(np.float64), np.ones(rows.n), blocks, level)
    return Estimate(
        value=1000 * mean,
        low=1000 * max(mean - reach, 0.0),
        high=1000 * (mean + reach),
        n=rows.n,
        positives=int(rows.actual.sum()),
    )


def _reach(part: Floats, whole: Floats, blocks: NDArray[np.int64], level: float) -> float:
    """Return the half-width of the interval of `sum(part) / sum(whole)` over blocks, with t(D - 1).

    The ratio's linearized variance, as in survey sampling with clusters (Cochran 1977, ch. 6).
    Only blocks that hold some of the whole count.
    """
    tops, bottoms = np.bincount(blocks, part), np.bincount(blocks, whole)
    held = bottoms > 0
    count = int(held.sum())
    if count < 2:
        return math.inf
    total = float(bottoms.sum())
    residuals = (tops - bottoms * (float(tops.sum()) / total))[held]
    se = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / total
    return float(stdtrit(count - 1, (1 + level) / 2)) * se

"""Measure how the champion does on rows whose labels have matured, with honest intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from rehone.compare import delong, delong_blocks, wilson
from rehone.records import Estimate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST_RANKED = 1_000_000
"""Rows of a class that are ranked at most, an even share of all: ROC-AUC does not depend on how many there are of each."""


class Terms(TypedDict):
    """What decisions cost, how rows hang together, and how sure to be.

    `costs` are of a false positive and of a false negative; `blocks` number the day or the
    entity of each row, (n,); `level` is of the two-sided intervals; `min_positives` is how many
    rows of a class it takes.
    """

    costs: tuple[float, float]
    level: float
    min_positives: int
    blocks: NotRequired[ArrayLike | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What labels say of a model; what they cannot say is `None`, and why stands beside it.

    `unknown` is of recall and cost, `roc_auc_unknown` of ROC-AUC, for which a row needs a score.
    """

    recall: Estimate | None = None
    cost_per_1000: Estimate | None = None
    roc_auc: Estimate | None = None
    unknown: str = ""
    roc_auc_unknown: str = ""

    @classmethod
    def not_known(cls, why: str) -> Performance:
        """Return that nothing is known, for one reason."""
        return cls(unknown=why, roc_auc_unknown=why)


def decided_at(scores: ArrayLike, threshold: float) -> Floats:
    """Return 1 where a score is at least the threshold, else 0, and NaN where it is not finite, (n,)."""
    score = np.asarray(scores, dtype=np.float64)
    return np.where(np.isfinite(score), (score >= threshold).astype(np.float64), np.nan)


def performance(decided: ArrayLike, scores: ArrayLike, labels: ArrayLike, **terms: Unpack[Terms]) -> Performance:
    """Return recall and cost of decisions, ROC-AUC of the scores beside them, and why something is not known.

    A row without a score counts for its decision all the same, and one without a decision for its score.
    """
    roc_auc, why = ranking(scores, labels, **terms)
    return replace(decisions(decided, labels, **terms), roc_auc=roc_auc, roc_auc_unknown=why)


def decisions(decided: ArrayLike, labels: ArrayLike, **terms: Unpack[Terms]) -> Performance:
    """Return recall and cost of decisions, and why they are not known; ROC-AUC takes scores.

    `decided` (n,) is 1 or true where a row was decided positive, `labels` (n,) 0 or 1; rows
    with either of them not finite are left out. Without blocks the interval of recall is
    Wilson's. With blocks, whose rows are not independent, it is that of a ratio of block sums
    with t(D - 1), and never narrower than Wilson's. Nothing is known with too few positives,
    or when all of them are in one block.
    """
    rows = _rows(decided, labels, terms.get("blocks"))
    positives, least = int(rows.actual.sum()), terms["min_positives"]
    if positives < least or rows.n < 2:
        return Performance(unknown=f"{positives} matured positives in {rows.n} rows, need at least {least}")
    if rows.blocks is not None and np.unique(rows.blocks[rows.actual]).size < 2:
        return Performance(unknown=f"all {positives} matured positives fall in one day or entity, need at least 2")
    return Performance(recall=_recall(rows, terms["level"]), cost_per_1000=_cost(rows, terms["costs"], terms["level"]))


def ranking(scores: ArrayLike, labels: ArrayLike, **terms: Unpack[Terms]) -> tuple[Estimate | None, str]:
    """Return ROC-AUC, and why it is not known.

    `scores` (n,) rank rows, `labels` (n,) are 0 or 1; rows with either of them not finite are
    left out, and of more than `MOST_RANKED` of a class an even share is taken. The interval is
    DeLong's; with blocks that of the delete-one-block jackknife with t(D - 1), never narrower
    than DeLong's. Where no row is out of place both have no width, and it is Wilson's of as
    many pairs of a positive and a negative as share no row.
    """
    given, label = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    known = _some(np.isfinite(given) & np.isfinite(label), label == 1)
    blocks = terms.get("blocks")
    ranked = _Ranked(given[known], label[known] == 1, None if blocks is None else np.asarray(blocks)[known])
    if why := _not_ranked(ranked, terms["min_positives"]):
        return None, why
    return _roc_auc(ranked, terms["level"]), ""


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


@dataclass(frozen=True)
class _Ranked:
    scores: Floats
    actual: Bools
    blocks: NDArray[np.generic] | None

    @property
    def classes(self) -> tuple[int, int]:
        """Return how many positives and negatives there are."""
        positives = int(self.actual.sum())
        return positives, self.actual.size - positives


def _some(known: Bools, actual: Bools) -> NDArray[np.intp]:
    """Return which known rows are ranked, in their order: of each class all, or every k-th."""
    kept = [np.flatnonzero(known & mine) for mine in (actual, ~actual)]
    return np.sort(np.concatenate([rows[:: -(-rows.size // MOST_RANKED) or 1] for rows in kept]))


def _not_ranked(rows: _Ranked, least: int) -> str:
    """Say why there is no ROC-AUC with an interval; empty when there is one."""
    (positives, negatives), needed = rows.classes, max(least, 2)
    if min(positives, negatives) < needed:
        return f"{positives} matured positives and {negatives} negatives with a score, need at least {needed} of each"
    if rows.scores.min() == rows.scores.max():
        return f"all {rows.actual.size:,} matured rows have the same score, which ranks nothing"
    for name, count, mine in (("positives", positives, rows.actual), ("negatives", negatives, ~rows.actual)):
        if rows.blocks is not None and np.unique(rows.blocks[mine]).size < 2:
            return f"all {count} matured {name} with a score fall in one day or entity, need at least 2"
    return ""


def _roc_auc(rows: _Ranked, level: float) -> Estimate:
    nothing = np.zeros(rows.actual.size)  # ranks by chance: .5
    found = [delong(rows.actual, nothing, rows.scores)]
    if rows.blocks is not None:
        found.append(delong_blocks(rows.actual, nothing, rows.scores, rows.blocks))
    value, bounds = found[0].challenger, [each.interval(level) for each in found]
    low, high = max(0.0, 0.5 + min(low for low, _ in bounds)), min(1.0, 0.5 + max(high for _, high in bounds))
    if low == high:
        pairs = min(rows.classes)
        low, high = wilson(round(value * pairs), pairs, level)
    return Estimate(value=value, low=low, high=high, n=int(rows.actual.size), positives=rows.classes[0])

"""Ask whether the inputs have moved: can current rows be told from reference rows, and do they lie where none did?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehone import compare, metrics
from rehone.records import Estimate
from rehone.shift.facts import Columns, Facts, Floats, Sample

LEVEL = 0.99
FEWEST = 200
"""Rows of the reference and of the current window below which they are not compared."""

_FOLDS = 3
_BEYOND = 3
"""A region is empty of reference rows when fewer than this many of them lie there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the features alone say. `weighed` is `domain` with the reference's classes brought to the current share.

    `off_support` is the share of current rows where the reference has none; `outside` names the
    features that leave their range, most rows first.
    """

    domain: Estimate
    weighed: Estimate | None
    off_support: float
    outside: tuple[str, ...] = field(default=())


def inputs(facts: Facts, prior: float | None) -> Inputs | None:
    """Compare the features of reference and current rows; `None` when there are too few of either.

    `prior` is the current share of positives; with it a label shift is taken out of the
    reference, by leaving out rows of the class that has become rarer.
    """
    then, now = facts.reference, facts.current
    if then is None or now is None or min(len(then.matrix), len(now.matrix)) < FEWEST:
        return None
    domain, scores = told_apart(then.matrix, now.matrix, facts.seed)
    like = _like(then, prior, facts.seed)
    weighed = None if like is None or like.sum() < FEWEST else told_apart(then.matrix[like], now.matrix, facts.seed)[0]
    beyond, outside = _outside(then, now, facts.columns)
    empty = _empty(scores, len(then.matrix))
    return Inputs(domain=domain, weighed=weighed, off_support=float((beyond | empty).mean()), outside=outside)


def told_apart(then: Floats, now: Floats, seed: int) -> tuple[Estimate, Floats]:
    """Return the ROC-AUC with which a model tells current rows from reference rows, and its scores of all of them.

    A classifier two-sample test (Lopez-Paz and Oquab 2017): small LightGBM trees, every row
    scored by a fit that it had no part in, DeLong's interval at 99 %. .5 is "not at all".
    """
    matrix = np.vstack([then, now])
    is_now = np.concatenate([np.zeros(len(then), dtype=np.int8), np.ones(len(now), dtype=np.int8)])
    fold = np.random.default_rng(seed).permutation(len(matrix)) % _FOLDS
    scores = np.empty(len(matrix))
    for held in range(_FOLDS):
        use = fold != held
        model = _trees(seed).fit(matrix[use], is_now[use])
        scores[~use] = model.booster_.predict(matrix[~use], num_threads=1)
    auc = metrics.roc_auc(is_now, scores)
    low, high = compare.roc_auc_interval(is_now, scores, LEVEL) or (0.0, 1.0)
    found = Estimate(value=0.5 if auc is None else auc, low=low, high=high, n=len(matrix), positives=len(now))
    return found, scores


def _trees(seed: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=60,
        num_leaves=7,
        learning_rate=0.1,
        min_child_samples=40,
        random_state=seed,
        n_jobs=1,
        deterministic=True,
        force_col_wise=True,
        verbose=-1,
    )


def _like(then: Sample, prior: float | None, seed: int) -> NDArray[np.bool_] | None:
    """Choose reference rows among which positives have the share `prior`; rows without a label are left out."""
    known = np.isfinite(then.labels)
    positive = then.labels == 1
    own = float(positive[known].mean()) if known.any() else 0.0
    if prior is None or not 0 < own < 1 or not 0 < prior < 1:
        return None
    change = (prior / (1 - prior)) / (own / (1 - own))
    share = np.where(positive, min(1.0, change), min(1.0, 1 / change))
    kept: NDArray[np.bool_] = known & (np.random.default_rng(seed).random(known.size) < share)
    return kept


def _outside(then: Sample, now: Sample, columns: Columns | None) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Say which current rows have a value beyond all reference values, or a category that the champion does not know."""
    with np.errstate(invalid="ignore"):
        low, high = (
            np.nan_to_num(edge, nan=fill) for edge, fill in zip(_ends(then.matrix), (np.inf, -np.inf), strict=True)
        )
        if columns is not None:
            low, high = np.fmin(low, columns.lowest), np.fmax(high, columns.highest)
        beyond: NDArray[np.bool_] = np.logical_or(now.matrix < low, now.matrix > high)
    counts = beyond.sum(axis=0)
    names = () if columns is None else tuple(columns.names[i] for i in np.argsort(-counts) if counts[i])
    return np.asarray(beyond.any(axis=1)), names


def _ends(matrix: Floats) -> tuple[Floats, Floats]:
    return np.fmin.reduce(matrix, axis=0), np.fmax.reduce(matrix, axis=0)


def _empty(scores: Floats, n_then: int) -> NDArray[np.bool_]:
    """Say which current rows look newer than nearly every reference row: together its features lie where none did."""
    edge = np.partition(scores[:n_then], n_then - _BEYOND)[n_then - _BEYOND]
    found: NDArray[np.bool_] = scores[n_then:] > max(float(edge), 0.5)
    return found

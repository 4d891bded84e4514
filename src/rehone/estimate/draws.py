"""Draw what labels may show: the reference anew, the share of positives anew, and labels for the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from rehone.estimate.calibration import Calibrator
from rehone.estimate.reference import SMALLEST, Floats, Ints, Reference, counted, places, pooled
from rehone.estimate.shares import POOLS, for_prior, share_of_positives

_BINS, _GROUPS = 50, 128


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What decisions cost (false positive, false negative), how sure to be, and how intervals are drawn.

    Fewer expected positives than `min_positives` are not spoken of.
    """

    costs: tuple[float, float]
    level: float = 0.95
    min_positives: int = 20
    draws: int = 200
    seed: int = 7


@dataclass(frozen=True)
class Drawn:
    """Draws of what may come: metrics of both estimates, and the share of positives now and then, each (draws,)."""

    plain: dict[str, Floats]
    corrected: dict[str, Floats]
    prior: Floats
    prior_then: Floats


def draw(reference: Reference, scores: Floats, acted: NDArray[np.bool_], terms: Terms) -> Drawn:
    """Draw the metrics of decisions (`acted`, (n,)) on scores, (n,), as labels may show them."""
    rng = np.random.default_rng(terms.seed)
    bins = pooled(reference, _BINS)
    rows = _grouped(scores, acted)
    total, rate = round(float(bins.labelled.sum())), bins.positives / bins.labelled
    n = rng.multinomial(total, bins.labelled / bins.labelled.sum(), terms.draws)
    drawn = rng.binomial(n, np.clip(rate, 0, 1))
    then = np.clip(drawn.sum(axis=1) / total, SMALLEST, 1 - SMALLEST)
    p = np.stack([_fit(bins.means, m, k)(rows.means) for m, k in zip(n, drawn, strict=True)])
    now = _shares(drawn, n, bins, scores, rng)
    labels = (rng.binomial(rows.n, np.clip(q, 0, 1)) for q in (p, for_prior(p, then, now)))
    plain, corrected = (_metrics(found.astype(np.float64), rows, terms.costs) for found in labels)
    return Drawn(plain, corrected, now, then)


def _fit(means: Floats, n: Ints, positives: Ints) -> Calibrator:
    held = n > 0
    return Calibrator(means[held], isotonic_regression(positives[held] / n[held], weights=n[held]).x)


def _shares(drawn: Ints, n: Ints, bins: Reference, scores: Floats, rng: np.random.Generator) -> Floats:
    """Return that share for each draw of the reference's positives, (draws, b), the scores being drawn anew too."""
    place, found = places(bins, POOLS), counted(pooled(bins, POOLS), scores)
    rows, positives = (_summed(each, place) for each in (n, drawn))
    again = rng.multinomial(int(found.sum()), found / found.sum(), drawn.shape[0]).astype(np.float64)
    then = np.clip(positives.sum(axis=1) / rows.sum(axis=1), SMALLEST, 1 - SMALLEST)
    return share_of_positives(positives / np.maximum(rows, 1), then[:, None], again)


def _summed(counts: Ints, place: Ints) -> Floats:
    """Add up the columns of each pool: (draws, bins) to (draws, pools)."""
    member = place[:, None] == np.arange(int(place.max()) + 1)
    return np.asarray(counts @ member, dtype=np.float64)


@dataclass(frozen=True)
class _Groups:
    """Rows in groups of one decision and of near scores, by score: mean score, number, decision, each (g,)."""

    means: Floats
    n: Ints
    acted: NDArray[np.bool_]


def _grouped(scores: Floats, acted: NDArray[np.bool_]) -> _Groups:
    order = np.argsort(scores, kind="stable")
    rank = np.empty(scores.size, dtype=np.int64)
    rank[order] = np.arange(scores.size) * min(_GROUPS, scores.size) // scores.size
    place = np.unique(2 * rank + acted, return_inverse=True)[1]
    n = np.bincount(place)
    flags = np.bincount(place, acted) > 0
    return _Groups(np.bincount(place, scores) / n, n.astype(np.int64), flags)


def _metrics(positives: Floats, rows: _Groups, costs: tuple[float, float]) -> dict[str, Floats]:
    """Return each metric of drawn labels: `positives` (draws, g) are those of each group."""
    n, negatives = float(rows.n.sum()), rows.n - positives
    caught, total = positives[:, rows.acted].sum(axis=1), positives.sum(axis=1)
    flagged = float(rows.n[rows.acted].sum())
    cost = costs[0] * (flagged - caught) + costs[1] * (total - caught)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "recall": caught / total,
            "precision": caught / np.float64(flagged),
            "cost_per_1000": 1000 * cost / n,
            "roc_auc": (positives * below).sum(axis=1) / (total * (n - total)),
        }

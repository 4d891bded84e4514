"""Measure what a policy gave its users: live quality by month, money, and the best possible in hindsight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from rehone import metrics
from rehone.backtest.lab import Fitted
from rehone.backtest.past import History

LEAST = 5
"""Fewest positives, and fewest negatives, for a month to have a ROC-AUC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """How a policy did on the rows of one month; `None` where one class is too rare to say."""

    name: str
    rows: int
    positives: int
    roc_auc: float | None
    recall: float | None
    cost_per_1000: float


def months_of(history: History) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the local month of each row, (n,), and name them."""
    zone = ZoneInfo(history.config.data.timezone)
    local = history.frame["__time__"].dt.convert_time_zone(str(zone))
    text = local.dt.strftime("%Y-%m").to_numpy()
    names, codes = np.unique(text, return_inverse=True)
    return codes.astype(np.int64), tuple(str(name) for name in names)


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """What was live for each row, (n,) each: its score, its decision, and whose reign it was (-1: nobody's)."""

    scores: NDArray[np.float64]
    acted: NDArray[np.bool_]
    reign: NDArray[np.int64]


def by_month(history: History, live: Live, first: int) -> tuple[Month, ...]:
    """Measure the live scores and decisions of each month from row `first` on.

    ROC-AUC is over pairs of rows that the same version scored: no decision compares the scores of
    two versions, each of which has a threshold of its own.
    """
    codes, names = months_of(history)
    known = (history.labels >= 0) & (live.reign >= 0)
    known[:first] = False
    months = ((name, np.flatnonzero(known & (codes == code))) for code, name in enumerate(names))
    return tuple(_month(history, live, name, rows) for name, rows in months if rows.size)


def _month(history: History, live: Live, name: str, rows: NDArray[np.int64]) -> Month:
    costs = (history.config.train.cost_false_positive, history.config.train.cost_false_negative)
    labels, acted = history.labels[rows], live.acted[rows]
    positives = int(labels.sum())
    enough = min(positives, labels.size - positives) >= LEAST
    return Month(
        name=name,
        rows=labels.size,
        positives=positives,
        roc_auc=within(labels, live.scores[rows], live.reign[rows]) if enough else None,
        recall=float((acted & (labels == 1)).sum()) / positives if positives >= LEAST else None,
        cost_per_1000=1000 * float(metrics.cost_of_rows(labels, acted, costs).mean()),
    )


def within(labels: NDArray[np.int8], scores: NDArray[np.float64], groups: NDArray[np.int64]) -> float | None:
    """Return the chance that a positive scores above a negative of the same group; `None` without any such pair."""
    won, pairs = 0.0, 0
    for group in np.unique(groups):
        rows = groups == group
        positives = int(labels[rows].sum())
        count = positives * (int(rows.sum()) - positives)
        if count:
            won += count * (metrics.roc_auc(labels[rows], scores[rows]) or 0.0)
            pairs += count
    return won / pairs if pairs else None


def cost_matrix(history: History, models: Sequence[Fitted], bounds: Sequence[int]) -> NDArray[np.float64]:
    """Return what each model's decisions cost between neighbouring bounds, (models, len(bounds) - 1); NaN where it has no scores."""
    costs = (history.config.train.cost_false_positive, history.config.train.cost_false_negative)
    known = history.labels >= 0
    found = np.full((len(models), len(bounds) - 1), np.nan)
    for i, model in enumerate(models):
        each = metrics.cost_of_rows(history.labels == 1, model.scores >= model.threshold, costs)
        each[~known] = 0.0
        total = np.concatenate(([0.0], np.cumsum(each)))
        found[i] = total[np.asarray(bounds[1:])] - total[np.asarray(bounds[:-1])]
    return found


def hindsight(costs: NDArray[np.float64], made: Sequence[int], price: float) -> float:
    """Return the least that any sequence of these models could have cost.

    `costs` (models, periods) are of each model in each period, `made[i]` is the first period in
    which model i may be live. Going over to a model costs `price`, but for the first period: the
    first version was there. By dynamic programming over periods (Bellman 1957).
    """
    models, periods = costs.shape
    start = np.asarray(made)
    best = np.where(start <= 0, costs[:, 0], np.inf) if periods else np.zeros(models)
    for t in range(1, periods):
        change = float(best.min()) + price
        best = np.where(start <= t, np.minimum(best, change) + costs[:, t], np.inf)
    return float(best.min())

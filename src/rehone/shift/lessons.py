"""Ask what new labels teach beyond the score, and whether older rows contradict it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehone.reliability import Line
from rehone.shift.changes import FEWEST_DAYS, largest
from rehone.shift.facts import Floats, Matured

FEWEST = 100
"""Positives that new rows need before anything is learned from them, and older ones before they may contradict."""

FEWEST_BEFORE = 50

_FOLDS = 3
_ROUNDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """By how much features, beside the score, lower the log loss of new rows, as a share of it, and what that does to older ones.

    A model that was always a little wrong is corrected on both; where the meaning has changed,
    what helps new rows harms older ones. Errors are standard errors over days. `before` is
    `None` without enough older rows. `day` is the one, since 1970, from which on the lesson
    helps and before which it does not; `None` with too few days.
    """

    gain: float
    error: float
    before: float | None
    before_error: float
    day: int | None = None

    @property
    def change(self) -> float:
        """How much more new rows gain than older ones; without those, than none."""
        return self.gain - (self.before or 0.0)

    @property
    def change_error(self) -> float:
        return math.hypot(self.error, self.before_error)


def lesson(now: Matured, before: Matured, lines: tuple[Line, Line], seed: int) -> Lesson | None:
    """Learn small LightGBM trees on top of recalibrated scores, by days left out; `None` with too few positives.

    `lines` recalibrate the scores of new and of older rows, each by their own labels, so that
    neither a new threshold nor a new level counts as a lesson.
    """
    if now.matrix is None or before.matrix is None or now.labels.sum() < FEWEST:
        return None
    base = _odds(now, lines[0])
    fold = np.unique(now.days, return_inverse=True)[1] % _FOLDS
    if np.unique(fold).size < _FOLDS:
        return None
    learned, older = base.copy(), _odds(before, lines[1])
    taught = np.zeros(older.size)
    for held in range(_FOLDS):
        trees = _fitted(now.matrix[fold != held], now.labels[fold != held], base[fold != held], seed)
        learned[fold == held] += trees.predict(now.matrix[fold == held], raw_score=True, num_threads=1)
        if older.size:
            taught += trees.predict(before.matrix, raw_score=True, num_threads=1) / _FOLDS
    gain, error = _gain(now, base, learned)
    if before.labels.sum() < FEWEST_BEFORE:
        return Lesson(gain=gain, error=error, before=None, before_error=0.0)
    lost, lost_error = _gain(before, older, older + taught)
    saved = np.concatenate([_saved(before, older, older + taught), _saved(now, base, learned)])
    loss = np.concatenate([_losses(older, before.labels), _losses(base, now.labels)])
    day = _first(np.concatenate([before.days, now.days]), saved, loss)
    return Lesson(gain=gain, error=error, before=lost, before_error=lost_error, day=day)


def _first(days: NDArray[np.int64], saved: Floats, loss: Floats) -> int | None:
    """Return the day after which rows save most more than before it."""
    known, place = np.unique(days, return_inverse=True)
    if known.size < FEWEST_DAYS:
        return None
    sums, weights = (np.bincount(place, each).astype(np.float64)[None, :] for each in (saved, loss))
    return int(known[int(largest(sums, weights)[1][0]) + 1])


def _saved(rows: Matured, base: Floats, learned: Floats) -> Floats:
    return _losses(base, rows.labels) - _losses(learned, rows.labels)


def _odds(rows: Matured, line: Line) -> Floats:
    p = np.clip(rows.scores, 1e-9, 1 - 1e-9)
    odds: Floats = line.intercept + line.slope * (np.log(p) - np.log1p(-p))
    return odds


def _fitted(matrix: Floats, labels: Floats, base: Floats, seed: int) -> Any:
    import lightgbm

    params = {
        "objective": "binary",
        "num_leaves": 7,
        "learning_rate": 0.06,
        "min_child_samples": 40,
        "lambda_l2": 10.0,
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,
        "seed": seed,
        "verbose": -1,
    }
    return lightgbm.train(params, lightgbm.Dataset(matrix, labels, init_score=base), num_boost_round=_ROUNDS)


def _gain(rows: Matured, base: Floats, learned: Floats) -> tuple[float, float]:
    """Return the share of the log loss that is saved, and its standard error over days."""
    day, each = np.unique(rows.days, return_inverse=True)[1], (_saved(rows, base, learned), _losses(base, rows.labels))
    saved, loss = (np.bincount(day, values).astype(np.float64) for values in each)
    share = float(saved.sum() / loss.sum())
    if saved.size < 2:
        return share, math.inf
    residual = saved - share * loss
    return share, math.sqrt(saved.size / (saved.size - 1) * float((residual**2).sum())) / float(loss.sum())


def _losses(odds: Floats, labels: Floats) -> Floats:
    losses: Floats = np.logaddexp(0.0, odds) - labels * odds
    return losses

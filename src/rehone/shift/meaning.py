"""Ask whether the same score still means the same odds, and since when it does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from rehone import reliability
from rehone.records import ScoreProfile
from rehone.reliability import Line
from rehone.shift.facts import Facts, Floats, Matured
from rehone.shift.lessons import Lesson, lesson

FEWEST = 30
"""Positives and negatives that a line of labels over scores takes."""

FEWEST_DAYS = 10
"""Days with matured rows from which a change point is looked for."""

CHANGED = 0.01
"""p-value below which the loss is said to have changed."""

_DRAWS = 999
_EDGE = 3
_DAY_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What matured labels say: the line of labels over scores now and then, and the share of positives now.

    `level` is by how much the odds of a row with the same score have changed, as a logarithm,
    where scores lie now; `level_error` and `slope_error` are of the differences. `since` is the
    first day of another loss. `lesson` is what features teach beside the score.
    """

    now: Line
    then: Line
    level: float
    level_error: float
    prior: float
    since: datetime | None
    lesson: Lesson | None = None

    @property
    def slope(self) -> float:
        """By how much the slope has changed, as a share of what it was."""
        return self.now.slope / self.then.slope - 1

    @property
    def slope_error(self) -> float:
        own = (self.now.slope_error / self.then.slope) ** 2
        return float(np.sqrt(own + (self.then.slope_error * self.now.slope / self.then.slope**2) ** 2))


def meaning(facts: Facts) -> Meaning | None:
    """Hold matured labels against the champion's own memory; `None` when either has too few of a class.

    The rows are those since the loss changed, or of the performance window when it did not.
    """
    matured, then = facts.matured, remembered_line(facts.remembered)
    if matured is None or then is None or then.slope <= 0:
        return None
    since = changed(matured, facts.seed)
    recent = since or facts.recent
    use = np.ones(matured.days.size, bool) if recent is None else matured.days >= (recent - _DAY_ZERO).days
    if not _enough(matured.labels[use]):
        since, use = None, np.ones(matured.days.size, bool)
    new, older = matured.part(use), matured.part(~use)
    now = reliability.line(new.scores, new.labels, blocks=new.days) if _enough(new.labels) else None
    if now is None:
        return None
    level, error = _level(now, then, new)
    return Meaning(
        now=now,
        then=then,
        level=level,
        level_error=error,
        prior=float(new.labels.mean()),
        since=since,
        lesson=lesson(new, older, (now, reliability.line(older.scores, older.labels) or then), facts.seed),
    )


def remembered_line(scores: ScoreProfile | None) -> Line | None:
    """Fit the line of labels over scores that the champion had on rows it had not learned from, bin by bin."""
    if scores is None or not scores.labelled:
        return None
    labelled, positives = np.asarray(scores.labelled, dtype=float), np.asarray(scores.positives, dtype=float)
    held = labelled > 0
    if min(positives.sum(), labelled.sum() - positives.sum()) < FEWEST:
        return None
    means = np.asarray(scores.means, dtype=float)[held]
    return reliability.line(means, positives[held] / labelled[held], weights=labelled[held])


def _enough(labels: Floats) -> bool:
    return min(float(labels.sum()), float(labels.size - labels.sum())) >= FEWEST


def _level(now: Line, then: Line, new: Matured) -> tuple[float, float]:
    """Return the change of log odds at the mean score of positives and negatives, and its standard error.

    There, half-way between the classes, intercept and slope are nearly independent of each other.
    """
    p = np.clip(new.scores, 1e-9, 1 - 1e-9)
    odds = np.log(p) - np.log1p(-p)
    place = np.array([1.0, (odds[new.labels == 1].mean() + odds[new.labels == 0].mean()) / 2])
    change = place @ np.array([now.intercept - then.intercept, now.slope - then.slope])
    return float(change), float(np.sqrt(place @ (now.covariance + then.covariance) @ place))


def changed(matured: Matured, seed: int) -> datetime | None:
    """Return the first day of another loss, or `None` when chance gives as large a change.

    The loss of a row is its log loss less the one that its score expects, so that other inputs
    alone do not change it: (p - y) logit(p). The largest cumulative sum of days (Page 1954), each
    weighed by the variance that its scores expect, is held against those of days in random order.
    """
    days, place = np.unique(matured.days, return_inverse=True)
    if days.size < FEWEST_DAYS:
        return None
    excess, variance = _excess(matured)
    rows, sums = (np.bincount(place, each).astype(np.float64) for each in (variance, excess))
    order = np.random.default_rng(seed)
    drawn = np.array([order.permutation(days.size) for _ in range(_DRAWS)])
    found, at = _largest(sums[None, :], rows[None, :])
    chance, _ = _largest(sums[drawn], rows[drawn])
    p_value = (1 + int((chance >= found[0]).sum())) / (_DRAWS + 1)
    return _DAY_ZERO + timedelta(days=int(days[at[0] + 1])) if p_value < CHANGED else None


def _excess(matured: Matured) -> tuple[Floats, Floats]:
    """Return each row's log loss less the one that its score expects, and the variance of that, (n,)."""
    p, y = np.clip(matured.scores, 1e-9, 1 - 1e-9), matured.labels
    odds = np.log(p) - np.log1p(-p)
    return (p - y) * odds, p * (1 - p) * odds**2


def _largest(sums: Floats, rows: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return for each order of days, (orders, days), the largest standardized jump of the mean, and after which day."""
    cut = slice(_EDGE - 1, -_EDGE)
    before, total = np.cumsum(rows, axis=1)[:, cut], rows.sum(axis=1, keepdims=True)
    part, whole = np.cumsum(sums, axis=1)[:, cut], sums.sum(axis=1, keepdims=True)
    jump = np.abs(part - whole * before / total) / np.sqrt(before * (total - before) / total)
    at = jump.argmax(axis=1)
    return jump.max(axis=1), at + _EDGE - 1

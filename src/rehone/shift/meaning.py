"""Ask whether the same score still means the same odds, and since when it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from scipy.special import expit

from rehone import reliability
from rehone.records import ScoreProfile
from rehone.reliability import Line
from rehone.shift.changes import changed
from rehone.shift.facts import Facts, Floats, Matured
from rehone.shift.lessons import Lesson, lesson

FEWEST = 30
"""Positives and negatives that a line of labels over scores takes."""

_STEPS, _LONGEST = 60, 1.0
_DAY_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What matured labels say: the line of labels over scores now and then, and the share of positives now.

    `level` is by how much the odds of rows with the same score have changed, as a logarithm, and
    on average over scores now; `level_error` and `slope_error` are of the differences. `since` is the
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
        return math.sqrt(own + (self.then.slope_error * self.now.slope / self.then.slope**2) ** 2)


def meaning(facts: Facts) -> Meaning | None:
    """Hold matured labels against the champion's own memory; `None` when either has too few of a class.

    The rows are those since the loss changed, or of the performance window when it did not. A
    champion that remembers no labels is held against the matured rows before those.
    """
    matured = facts.matured
    if matured is None or not matured.days.size:
        return None
    since = changed(matured, facts.seed)
    recent = since if since is not None or facts.recent is None else (facts.recent - _DAY_ZERO).days
    use = np.ones(matured.days.size, bool) if recent is None else matured.days >= recent
    if not _enough(matured.labels[use]):
        since, use = None, np.ones(matured.days.size, bool)
    new, older = matured.part(use), matured.part(~use)
    now, before = _line(new), _line(older)
    then = remembered_line(facts.remembered) or before
    if now is None or then is None or then.slope <= 0:
        return None
    level, error = _level(then, new)
    return Meaning(
        now=now,
        then=then,
        level=level,
        level_error=error,
        prior=float(new.labels.mean()),
        since=None if since is None else day(since),
        lesson=lesson(new, older, (now, before or then), facts.seed),
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


def day(number: int) -> datetime:
    """Return the midnight, in UTC, of a day that is numbered since 1970."""
    return _DAY_ZERO + timedelta(days=number)


def _line(rows: Matured) -> Line | None:
    return reliability.line(rows.scores, rows.labels, blocks=rows.days) if _enough(rows.labels) else None


def _enough(labels: Floats) -> bool:
    return min(float(labels.sum()), float(labels.size - labels.sum())) >= FEWEST


def _level(then: Line, new: Matured) -> tuple[float, float]:
    """Return by how much all log odds must rise for the champion's line to give as many positives as there are.

    The standard error is over days, and has that of the remembered line in it.
    """
    p = np.clip(new.scores, 1e-9, 1 - 1e-9)
    odds = np.log(p) - np.log1p(-p)
    level, line = 0.0, then.intercept + then.slope * odds
    for _ in range(_STEPS):
        given = expit(level + line)
        step = float((new.labels - given).sum() / (given * (1 - given)).sum())
        level += min(max(step, -_LONGEST), _LONGEST)  # a whole step from far away would go beyond all odds
    given = expit(level + line)
    spread = given * (1 - given)
    sums = np.bincount(np.unique(new.days, return_inverse=True)[1], new.labels - given)
    own = max(float((sums**2).sum()), float(spread.sum())) / float(spread.sum()) ** 2
    place = np.array([1.0, np.average(odds, weights=spread)])
    return level, math.sqrt(own + float(place @ then.covariance @ place))

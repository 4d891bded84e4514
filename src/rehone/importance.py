"""Say how much a model leans on each feature: what it loses when the values of that one are shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rehone.records import Importance

SHUFFLES = 3
DIGITS = 6
MOST_SCORED = 500_000
"""Rows that are scored at most for all features together; features beyond that are left out."""

SCREENED = 200
"""Rows that say, before any label is asked, which features move the scores most."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A model on the rows that it is to be asked about.

    `rows` (n, f) are what the model reads, a column for each of `names`; `values` (m, f), m >= n, are rows that
    shuffled values are drawn from, each at most once. `score` turns rows into scores, and
    `quality` turns the scores of `rows` into how good they are.
    """

    names: Sequence[str]
    rows: Floats = field(repr=False)
    values: Floats = field(repr=False)
    score: Callable[[Floats], Floats]
    quality: Callable[[Floats], float]


def permutation(asked: Asked, *, seed: int, most_scored: int = MOST_SCORED) -> tuple[Importance, ...]:
    """Return what quality is lost, as a mean over three shuffles, the largest loss first.

    A feature that others stand in for loses little, however much the model leans on all of them together.
    With more features than `most_scored` rows allow, those are asked whose shuffling moves the
    scores most, which is found on `SCREENED` rows. A feature's shuffles are its own: they do not depend on what else
    is asked. Source: Breiman 2001, section 10; Fisher, Rudin and Dominici 2019.
    """
    places = _asked_for(asked, seed, most_scored)
    whole = asked.quality(asked.score(asked.rows))
    work = asked.rows.copy()
    found = [_lost(asked, work, place, seed, whole) for place in places]
    return tuple(sorted(found, key=lambda one: (-one.value, one.feature)))


def _asked_for(asked: Asked, seed: int, most_scored: int) -> list[int]:
    """Number the features to ask about: all, or as many as fit, those that move the scores most."""
    n, features = asked.rows.shape
    if n * SHUFFLES * features <= most_scored:
        return list(range(features))
    few = min(SCREENED, n, max(1, most_scored // (2 * features)))
    chosen = np.sort(np.random.default_rng(seed).choice(n, few, replace=False))
    work = asked.rows[chosen]
    before = asked.score(work)
    moved = []
    for place in range(features):
        kept = work[:, place].copy()
        work[:, place] = _drawn(asked, place, few, _shuffles(seed, place))
        moved.append(float(np.abs(asked.score(work) - before).mean()))
        work[:, place] = kept
    fitting = max(1, (most_scored - few * features) // (n * SHUFFLES))
    return sorted(np.argsort(-np.array(moved), kind="stable")[:fitting].tolist())


def _lost(asked: Asked, work: Floats, place: int, seed: int, whole: float) -> Importance:
    kept, rng = work[:, place].copy(), _shuffles(seed, place)
    losses = []
    for _ in range(SHUFFLES):
        work[:, place] = _drawn(asked, place, len(work), rng)
        losses.append(whole - asked.quality(asked.score(work)))
    work[:, place] = kept
    mean, low, high = (round(loss, DIGITS) for loss in (sum(losses) / SHUFFLES, min(losses), max(losses)))
    return Importance(feature=asked.names[place], value=mean, low=low, high=high)


def _shuffles(seed: int, place: int) -> np.random.Generator:
    return np.random.default_rng((seed, place))


def _drawn(asked: Asked, place: int, n: int, rng: np.random.Generator) -> Floats:
    drawn: Floats = asked.values[rng.permutation(len(asked.values))[:n], place]
    return drawn

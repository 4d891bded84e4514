"""Learn from a reference's own days how much its histograms vary without any drift.

The moments of a block bootstrap (Künsch 1989) of whole stretches of days, in closed form: each
stretch differs from what its weekdays, its number of rows and a slow trend let one expect by a
residual, and the second moments of the residuals are those of what resampling stretches would
give, so that nothing has to be drawn. A season or a growth inside the reference is not what
chance does: only what is left when a smooth curve is taken out comes and goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from rehone.records import FeatureProfile, ScoreProfile, Spread

LEAST_DAYS = 56
"""Fewest days, first to last, of which anything is learned: eight weeks."""

WEEK = 7
WEEKS_A_TURN = 6
"""The trend of a feature may turn once in six weeks, if that explains them better than a line does."""

FAULTS = 3
"""Missing, infinite and unseen are the last counts of a feature."""

Floats = NDArray[np.float64]


def spread_of(days: Floats, counts: Floats | NDArray[np.int64]) -> Spread | None:
    """Return how much the shares of bins, (d, k), vary over `days`, (d,) in order; `None` under eight weeks."""
    used = counts.sum(axis=0) > 0
    if not _enough(days) or used.sum() < 2:
        return None
    held = counts[:, used].astype(np.float64)
    share = (held.sum(axis=0) + 0.5) / (held.sum() + 0.5 * held.shape[1])
    rows = held.sum(axis=1)
    left, turns = _without_trend(days, held, rows, np.eye(share.size) / np.sqrt(share))
    return _spread(days, left, rows, float(used.sum() - 1), turns)


def spread_of_scores(days: Floats, counts: Floats) -> Spread | None:
    """Return how much the share of scores at or below a value varies, where it varies most; `counts` is (d, bins).

    Its unit is the variance of one independent row at the median, 1/4.
    """
    if not _enough(days):
        return None
    below = np.cumsum(counts.sum(axis=0)) / counts.sum()
    places = np.unique(np.searchsorted(below, np.arange(1, 10) / 10))
    rows = counts.sum(axis=1)
    left, turns = _without_trend(days, counts, rows, np.where(np.arange(below.size)[:, None] <= places, 2.0, 0.0))
    most = int(np.argmax((_stretches(days, left, rows, WEEK)[0] ** 2).sum(axis=0)))
    f = float(below[places[most]])
    if not 0 < f < 1:
        return None
    return _spread(days, left[:, [most]], rows, 4 * f * (1 - f), turns)


def with_spread(feature: FeatureProfile, days: Floats, counts: NDArray[np.int64]) -> FeatureProfile:
    """Return the feature with the spread of its days' own counts, (d, k) as flattened in a profile.

    Whether values are missing varies for other reasons than the values do, so that it has a
    spread of its own; there is none where nothing was ever missing, infinite or unseen.
    """
    at = counts.shape[1] - FAULTS
    faults = np.column_stack((counts[:, :at].sum(axis=1), counts[:, at:]))
    return replace(feature, spread=spread_of(days, counts), faults=spread_of(days, faults))


def carried_alike(
    features: tuple[FeatureProfile, ...], scores: ScoreProfile | None
) -> tuple[tuple[FeatureProfile, ...], ScoreProfile | None]:
    """Return features and scores of which none shares less with the next week than all features do on average.

    The few weeks of one feature hardly know what one shares with the next; those of all features
    together do. One that shares more keeps its own.
    """
    common = _common([f.spread for f in features])
    faults = _common([f.faults for f in features])
    made = tuple(replace(f, spread=_at_least(f.spread, common), faults=_at_least(f.faults, faults)) for f in features)
    return made, None if scores is None else replace(scores, spread=_at_least(scores.spread, common))


def _common(spreads: Sequence[Spread | None]) -> float:
    """Return which share of the spread of weeks is carried on to the next, over all features."""
    known = [s for s in spreads if s is not None and s.excess[-1] > 0]
    return sum(s.carried for s in known) / sum(s.excess[-1] for s in known) if known else 0.0


def _at_least(spread: Spread | None, share: float) -> Spread | None:
    if spread is None or spread.excess[-1] * share <= spread.carried:
        return spread
    return replace(spread, carried=_short(spread.excess[-1] * share))


def ordinals(days: Sequence[date]) -> Floats:
    """Return days as numbers, (d,), that leave 0 for a Monday when divided by seven."""
    return np.array([day.toordinal() - 1 for day in days], dtype=np.float64)


def _enough(days: Floats) -> bool:
    return days.size >= LEAST_DAYS / 2 and bool(days[-1] - days[0] + 1 >= LEAST_DAYS)


def _without_trend(days: Floats, counts: Floats, rows: Floats, seen: Floats) -> tuple[Floats, int]:
    """Return residuals around weekdays and a trend, seen along the columns of `seen`, (d, p), and the trend's degree.

    The degree is that with the least generalised cross-validation of whole weeks (Craven and
    Wahba 1979): the mean square of residuals over the square of the share of weeks left free.
    """
    best, least = (counts, 1), np.inf
    for turns in range(1, max(np.unique(days // WEEK).size // WEEKS_A_TURN, 1) + 1):
        left = _residuals(days, counts, turns) @ seen
        moved = _stretches(days, left, rows, WEEK)[0]
        error = float((moved**2).sum()) / max(moved.shape[0] - 1 - turns, 1) ** 2
        if error < least:
            best, least = (left, turns), error
    return best


def _residuals(days: Floats, counts: Floats, turns: int) -> Floats:
    """Return each day's counts, (d, k), less what its weekday's share and the trend give for as many rows.

    The shares are fitted by least squares, in which a day weighs as much as it has rows.
    """
    root = np.sqrt(counts.sum(axis=1))[:, None]
    weekday = (days[:, None] % WEEK == np.unique(days % WEEK)).astype(np.float64)
    place = 2 * (days - days[0]) / (days[-1] - days[0]) - 1
    terms = root * np.column_stack((weekday, legvander(place, turns)[:, 1:]))
    fitted = np.linalg.lstsq(terms, counts / np.maximum(root, 1e-9), rcond=None)[0]
    left: Floats = counts - root * (terms @ fitted)
    return left


def _spread(days: Floats, left: Floats, rows: Floats, base: float, turns: int) -> Spread:
    """Return the moments for each length, of residuals in units of independent rows, (d, k), whose trace is `base`."""
    lost = np.unique(days % WEEK).size / days.size
    found = [_moments(*_stretches(days, left, rows, length), base, lost, turns) for length in range(1, WEEK + 1)]
    excess, squared, cubed, error, carried = (tuple(_short(x) for x in part) for part in zip(*found, strict=True))
    return Spread(days=days.size, excess=excess, squared=squared, cubed=cubed, error=error, carried=carried[-1])


def _stretches(days: Floats, left: Floats, rows: Floats, length: int) -> tuple[Floats, float]:
    """Return the residuals of stretches of `length` days per root of their rows, (b, k), and their mean rows."""
    place = ((days - days[0]) // length).astype(np.int64)
    whole = int(days[-1] - days[0] + 1) // length
    n: Floats = np.bincount(place, rows, minlength=whole + 1)[:whole].astype(np.float64)
    moved = np.stack([np.bincount(place, part, minlength=whole + 1)[:whole] for part in left.T], axis=1)
    kept = n > 0
    return moved[kept] / np.sqrt(n[kept])[:, None], float(n[kept].mean())


def _moments(
    moved: Floats, size: float, base: float, lost: float, turns: int
) -> tuple[float, float, float, float, float]:
    """Return the excess of stretches, its square and cube over directions, its error, and what is carried on.

    Few stretches make the powers too large (Wishart's moments). Half of that is taken away: all of
    it would be right on average, and would make the tail too light just where variances were
    found too small.
    """
    free = max(moved.shape[0] * (1 - lost) - turns, 2.0)
    matrix = moved.T @ moved / free
    one, two = float(np.trace(matrix)), float((matrix**2).sum())
    cube = float(np.einsum("ij,jk,ki->", matrix, matrix, matrix))
    fair = free**2 / ((free - 1) * (free + 2)) * (two - one**2 / free)
    fair = min(max(fair, one**2 / max(base, 1.0)), one**2)
    three = (cube - 3 * one * fair * (1 / free + 1 / free**2) - one**3 / free**2) / (1 + 3 / free + 4 / free**2)
    two, three = (two + fair) / 2, (three + cube) / 2
    three = min(max(three, two**2 / one), two**1.5) if one > 0 else 0.0
    shared, taken = _neighbours(moved, turns)
    excess = one + shared * taken - base
    squared = max(two - 2 * one + base, 0.0)
    cubed = max(three - 3 * two + 3 * one - base, 0.0)
    carried = min(shared, max(excess, 0.0)) / size
    return excess / size, squared / size**2, cubed / size**3, two / free / size**2, carried


def _neighbours(moved: Floats, turns: int) -> tuple[float, float]:
    """Return the covariance of neighbouring stretches over all directions, and its share that the trend took.

    Mean and trend are fitted to few stretches and take part of what these have in common. With
    `M` what the fit leaves and `L` one where two are neighbours, squares and products of
    residuals are expected to be `v tr M + c tr ML` and `v tr ML + c tr MLML`.
    """
    many = moved.shape[0]
    fitted = np.linalg.qr(legvander(np.linspace(-1, 1, many), turns))[0]
    left = np.eye(many) - fitted @ fitted.T
    beside = left @ (np.eye(many, k=1) + np.eye(many, k=-1))
    own, cross, both = float(np.trace(left)), float(np.trace(beside)), float((beside * beside.T).sum())
    seen = both - cross**2 / own if own > 0.5 else 0.0
    if seen < 0.5:
        return 0.0, 0.0
    products = 2 * float((moved[1:] * moved[:-1]).sum())
    return max((products - float((moved**2).sum()) * cross / own) / seen, 0.0), -cross / own


def _short(number: float) -> float:
    return float(f"{number:.6g}")

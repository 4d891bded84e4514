"""Learn from a reference's own days how much its histograms vary without any drift.

The moments of a block bootstrap (Künsch 1989) of whole stretches of days, in closed form: each
stretch differs from what its weekdays and its number of rows let one expect by a residual, and
the second moments of the residuals are those of what resampling stretches would give, so that
nothing has to be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from rehone.records import FeatureProfile, Spread

LEAST_DAYS = 56
"""Fewest days, first to last, of which anything is learned: eight weeks."""

WEEK = 7
DECILES = 9
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
    return _spread(days, _residuals(days, held), held.sum(axis=1), np.diag(share**-0.5), int(used.sum()) - 1)


def spread_of_scores(days: Floats, counts: Floats) -> Spread | None:
    """Return how much the shares of scores at or below the nine deciles vary; `counts` is (d, bins)."""
    if not _enough(days):
        return None
    below = np.cumsum(counts.sum(axis=0)) / counts.sum()
    places = np.minimum(np.searchsorted(below, np.arange(1, DECILES + 1) / (DECILES + 1)), below.size - 1)
    f = below[places]
    if ((f <= 0) | (f >= 1)).any():
        return None
    scale = np.tri(below.size).T[:, places] / np.sqrt(f * (1 - f))
    return _spread(days, _residuals(days, counts), counts.sum(axis=1), scale, DECILES)


def with_spread(feature: FeatureProfile, days: Floats, counts: NDArray[np.int64]) -> FeatureProfile:
    """Return the feature with the spread of its days' own counts, (d, k) as flattened in a profile.

    Whether values are missing varies for other reasons than the values do, so that it has a
    spread of its own; there is none where nothing was ever missing, infinite or unseen.
    """
    at = counts.shape[1] - FAULTS
    faults = np.column_stack((counts[:, :at].sum(axis=1), counts[:, at:]))
    return replace(feature, spread=spread_of(days, counts), faults=spread_of(days, faults))


def ordinals(days: Sequence[date]) -> Floats:
    """Return days as numbers, (d,), that leave 0 for a Monday when divided by seven."""
    return np.array([day.toordinal() - 1 for day in days], dtype=np.float64)


def _enough(days: Floats) -> bool:
    return days.size >= LEAST_DAYS / 2 and bool(days[-1] - days[0] + 1 >= LEAST_DAYS)


def _residuals(days: Floats, counts: Floats) -> Floats:
    """Return each day's counts, (d, k), less what its weekday's share gives for as many rows."""
    left = counts.copy()
    for weekday in np.unique(days % WEEK):
        same = days % WEEK == weekday
        rows = counts[same].sum(axis=1)
        left[same] -= np.outer(rows, counts[same].sum(axis=0) / rows.sum())
    return left


def _spread(days: Floats, left: Floats, rows: Floats, scale: Floats, base: int) -> Spread:
    lost = np.unique(days % WEEK).size / days.size
    found = [_moments(days, left @ scale, rows, length, base, lost) for length in range(1, WEEK + 1)]
    excess, squared, error, carried = (tuple(_short(x) for x in column) for column in zip(*found, strict=True))
    return Spread(days=days.size, excess=excess, squared=squared, error=error, carried=carried[-1])


def _moments(
    days: Floats, left: Floats, rows: Floats, length: int, base: int, lost: float
) -> tuple[float, float, float, float]:
    """Return the excess of stretches of `length` days, its square over directions, its error, what is carried on."""
    place = ((days - days[0]) // length).astype(np.int64)
    whole = int(days[-1] - days[0] + 1) // length
    n: Floats = np.bincount(place, rows, minlength=whole + 1)[:whole].astype(np.float64)
    moved = np.stack([np.bincount(place, part, minlength=whole + 1)[:whole] for part in left.T], axis=1)
    kept = n > 0
    n = n[kept]
    moved = moved[kept] / np.sqrt(n)[:, None]
    free = n.size * (1 - lost)
    matrix = moved.T @ moved / free
    trace, square = float(np.trace(matrix)), float((matrix**2).sum())
    square = free**2 / ((free - 1) * (free + 2)) * (square - trace**2 / free)
    square = min(max(square, trace**2 / base), trace**2)
    shared = float((moved[1:] * moved[:-1]).sum()) / (n.size - 1)
    shared = max((shared + trace / n.size) / (1 - 2 / n.size), 0.0)  # centring took (trace + 2 shared) / n of it
    trace += 2 * shared / n.size
    excess, size = trace - base, float(n.mean())
    both = max(square - 2 * trace + base, 0.0)
    return (
        excess / size,
        both / size**2,
        square / free / size**2,
        min(shared, max(excess, 0.0)) / size,
    )


def _short(number: float) -> float:
    return float(f"{number:.6g}")

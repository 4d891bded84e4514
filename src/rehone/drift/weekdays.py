"""Choose the reference rows that a window is compared with: those of its own weekdays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rehone.records import Counts, FeatureProfile, Profile

WEEK = 7
TWO_WEEKS = 14
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Floats = NDArray[np.float64]


def span(current: Counts) -> int:
    """Return how many calendar days the counted rows span; without times, as many as it takes."""
    if current.oldest is None or current.newest is None:
        return TWO_WEEKS
    return (current.newest.date() - current.oldest.date()).days + 1


def day_weights(reference: Profile, current: Counts) -> Floats | str | None:
    """Return the share that each weekday has of the window, `None` for all rows alike, or why there is none.

    A window under two weeks is weighed by its own rows. In a longer one each weekday counts as
    often as the calendar has it, with as many rows as the reference has on such a day: five
    Saturdays in thirty days are no drift, and more rows on each Saturday are.
    """
    if not current.rows:
        return "no rows in the window"
    length = span(current)
    if length >= TWO_WEEKS:
        return _calendar(reference, current)
    rows = np.array([sum(day[0]) if day else 0 for day in reference.by_weekday] or [0] * WEEK)
    lacking = [_DAYS[i] for i, n in enumerate(current.weekday_rows) if n and not rows[i]]
    if not lacking:
        return np.array(current.weekday_rows) / sum(current.weekday_rows)
    return None if length >= WEEK else too_short(length, f"the reference has no rows of {', '.join(lacking)}")


def _calendar(reference: Profile, current: Counts) -> Floats | None:
    held = np.array(reference.weekday_days or (0,) * WEEK)
    if current.oldest is None or (held == 0).any() or (len(set(held.tolist())) == 1 and span(current) % WEEK == 0):
        return None
    rows = np.array([sum(day[0]) for day in reference.by_weekday])
    start = current.oldest.weekday()
    asked = np.bincount((start + np.arange(span(current))) % WEEK, minlength=WEEK)
    share: Floats = rows * asked / held
    share /= share.sum()
    return share


def too_short(length: int, why: str) -> str:
    """Say why so few days cannot be compared."""
    days = "1 day" if length == 1 else f"{length} days"
    return f"{days} of rows can only be compared with the same days of the week, and {why}"


def weighed(by_day: Sequence[Sequence[int]], weights: Floats) -> Floats:
    """Mix the weekdays' counts by `weights`; the sum is the effective number of rows."""
    counts = np.asarray(by_day, dtype=np.float64)
    rows = counts.sum(axis=1)
    used = (weights > 0) & (rows > 0)
    share = weights[used] / weights[used].sum()
    effective = 1.0 / float((share**2 / rows[used]).sum())
    mixed: Floats = effective * ((share / rows[used]) @ counts[used])
    return mixed


def reference_of(reference: Profile, i: int, weights: Floats | None) -> Floats:
    feature = reference.features[i]
    if weights is None:
        return np.array(flat(feature), dtype=np.float64)
    return weighed([day[i] for day in reference.by_weekday], weights)


def scores_of(
    counts: Sequence[int], by_day: Sequence[Sequence[int]], weights: Floats | None, *, short: bool
) -> Floats | None:
    known = (
        weights is not None
        and len(by_day) == WEEK
        and all(sum(day) for day, w in zip(by_day, weights, strict=True) if w)
    )
    if weights is not None and known:
        return weighed(by_day, weights)
    return None if weights is not None and short else np.array(counts, dtype=np.float64)


def flat(feature: FeatureProfile) -> tuple[int, ...]:
    return (*feature.counts, feature.pooled, feature.missing, feature.infinite, feature.unseen)

"""Learn how long labels take: which share of them is known how many days after the event.

Rows whose label is not there yet are not lost, they only say that it takes longer than they are
old (right-censored): the product limit of Kaplan and Meier (1958) uses them. Where only rows with
a label are there at all, late labels of young rows are missing without a trace (right-truncated):
then the product limit in reverse time (Lynden-Bell 1971; Kalbfleisch and Lawless 1989) is used,
which knows the shape, but not how many labels never come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from rehone.records import DelayCurve

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_ROWS = 50
"""Rows with a label below which nothing is said of delays."""

_OLD_ROWS = 20
"""The curve ends where fewer rows than this are that old."""

_POINTS, _NOTHING = 60, 1e-12
_STEP = 100  # a cut-off is rounded up to the hundredth of a day


def delay_curve(
    ages: ArrayLike, delays: ArrayLike, *, wanted: float, level: float = 0.95, positive: ArrayLike | None = None
) -> DelayCurve:
    """Return the share of labels that is known by days after the event, and the cut-off for the wanted share.

    `ages` (n,) are days from the event until now; `delays` (n,) days from the event until the
    label became known, NaN or beyond the age where it is not known yet. `positive` (n,) says of
    known labels whether they are 1: where positives come later than the rest, the cut-off waits
    for them, because a cut-off that only negatives keep would select on the outcome.

    The cut-off is the smallest delay at which the lower end of the share's interval reaches
    `wanted`: to wait a little too long costs a few rows, to wait too short biases all of them.
    Intervals are two-sided of `level`: Wilson's, with the number of independent rows that has
    Greenwood's variance (Dorey and Korn 1987), so that they also hold at 0 and 1.
    """
    age, delay = np.asarray(ages, dtype=np.float64), np.asarray(delays, dtype=np.float64)
    usable = np.isfinite(age) & (age >= 0)
    age, delay = age[usable], np.maximum(delay[usable], 0.0)
    known = np.isfinite(delay) & (delay <= age)
    n, arrived = int(age.size), int(known.sum())
    blank = DelayCurve(days=(), share=(), low=(), high=(), n=n, arrived=arrived, wanted=wanted, cutoff_days=None)
    if arrived < LEAST_ROWS:
        said = f"{arrived:,} of {n:,} rows have a label with a time, need {LEAST_ROWS}"
        return replace(blank, detail=said)
    truncated = arrived == n
    steps = _reversed(age, delay, level) if truncated else _forward(age, np.where(known, delay, np.nan), level)
    ones = None if positive is None else np.asarray(positive, dtype=np.float64)[usable] == 1
    late = _late_positives(age, delay, known, ones, level)
    return _with_cutoff(_shown(replace(blank, truncated=truncated), steps), steps, late)


@dataclass(frozen=True)
class _Steps:
    """The curve at each day on which it rises, all (k,): day, share, interval."""

    days: Floats
    share: Floats
    low: Floats
    high: Floats

    def cutoff(self, wanted: float) -> float | None:
        """Return the first day on which the lower end reaches a share, rounded up."""
        reached = np.flatnonzero(self.low >= wanted)
        return math.ceil(_STEP * float(self.days[reached[0]])) / _STEP if reached.size else None


def _forward(age: Floats, delay: Floats, level: float) -> _Steps:
    """Kaplan and Meier: of the rows without a label so far and old enough, those that get it on a day."""
    known = np.isfinite(delay)
    days, came = np.unique(delay[known], return_counts=True)
    days, came = _while_old_enough(days, came, age)
    followed = np.sort(np.where(known, delay, age))
    at_risk = age.size - np.searchsorted(followed, days, "left")
    left: Floats = np.cumprod(1 - came / at_risk, dtype=np.float64)
    return _bounded(days, 1 - left, left**2 * np.cumsum(_greenwood(came, at_risk)), level)


def _reversed(age: Floats, delay: Floats, level: float) -> _Steps:
    """In reverse time: of the labels that came by a day and of rows at least that old, those that came on it.

    The share is of the labels that come by the last day of the curve.
    """
    days, came = np.unique(delay, return_counts=True)
    days, came = _while_old_enough(days, came, age)
    by_then = np.searchsorted(np.sort(delay), days, "right")
    at_risk = by_then - np.searchsorted(np.sort(age), days, "left")
    before = np.append(np.cumprod((1 - came / at_risk)[:0:-1])[::-1], 1.0)
    spread = np.append(np.cumsum(_greenwood(came, at_risk)[:0:-1])[::-1], 0.0)
    return _bounded(days, before, before**2 * spread, level)


def _while_old_enough(days: Floats, came: Ints, age: Floats) -> tuple[Floats, Ints]:
    """Follow the curve while enough rows are that old: a handful of old rows would speak for all."""
    old = age.size - np.searchsorted(np.sort(age), days, "left")
    kept = old >= _OLD_ROWS
    return days[kept], came[kept].astype(np.int64)


def _greenwood(came: Ints, at_risk: Ints) -> Floats:
    d, r = came.astype(np.float64), at_risk.astype(np.float64)
    return np.divide(d, r * (r - d), out=np.zeros(d.size), where=r > d)


def _bounded(days: Floats, share: Floats, variance: Floats, level: float) -> _Steps:
    """Put Wilson's interval around each share, with as many rows as its variance speaks of."""
    if not days.size:
        return _Steps(days, share, share, share)
    binomial = share * (1 - share)
    rows = _rows_of(binomial, variance)
    z = float(ndtri((1 + level) / 2))
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z * np.sqrt(binomial / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    low, high = np.clip(middle - reach, 0, share), np.clip(middle + reach, share, 1)
    return _Steps(days, share, np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1])


def _rows_of(binomial: Floats, variance: Floats) -> Floats:
    """Return the rows whose share would vary as much; where it is 0 or 1, those of the nearest day where it is not."""
    known = np.flatnonzero((variance > 0) & (binomial > _NOTHING))
    if not known.size:
        return np.full(binomial.size, float(LEAST_ROWS))
    return np.maximum(np.interp(np.arange(binomial.size), known, binomial[known] / variance[known]), 1.0)


def _late_positives(
    age: Floats, delay: Floats, known: NDArray[np.bool_], positive: NDArray[np.bool_] | None, level: float
) -> _Steps | None:
    """Follow the positives alone: which rows will be positive is not known before, so in reverse time."""
    if positive is None:
        return None
    chosen = known & positive
    return _reversed(age[chosen], delay[chosen], level) if chosen.sum() >= LEAST_ROWS else None


def _shown(curve: DelayCurve, steps: _Steps) -> DelayCurve:
    """Put at most 60 points of the steps into the curve, the last one always."""
    last = steps.days.size - 1
    if last < 0:
        return curve
    even = np.linspace(0, 1, _POINTS) * steps.share[-1]
    picked = np.unique(np.append(np.minimum(np.searchsorted(steps.share, even), last), last))
    days, share, low, high = (
        tuple(np.round(values[picked], 4).tolist()) for values in (steps.days, steps.share, steps.low, steps.high)
    )
    return replace(curve, days=days, share=share, low=low, high=high)


def _with_cutoff(curve: DelayCurve, steps: _Steps, late: _Steps | None) -> DelayCurve:
    wanted = f"{100 * curve.wanted:g} %"
    cutoff = steps.cutoff(curve.wanted)
    if cutoff is None:
        return replace(curve, detail=_never(curve, wanted))
    said = f"{wanted} of labels are known {cutoff:g} days after the event"
    if curve.truncated:
        said += f"; only rows with a label are in the data: labels that never come, or after {steps.days[-1]:.4g} days, are not counted"
    if late is None:
        return replace(curve, cutoff_days=cutoff, detail=said)
    slow = late.cutoff(curve.wanted)
    if slow is None:
        return replace(curve, cutoff_days=cutoff, detail=f"{said}; of positives alone this is not sure yet")
    if slow > cutoff:
        said += f", but of positives only after {slow:g}: the cut-off waits for them"
    return replace(curve, cutoff_days=max(cutoff, slow), positives_days=slow, detail=said)


def _never(curve: DelayCurve, wanted: str) -> str:
    if not curve.days:
        return f"no row is old enough to say when {wanted} of labels are known"
    most, last = curve.share[-1], curve.days[-1]
    said = f"{100 * most:.3g} % of labels are known {last:g} days after the event (at least {100 * curve.low[-1]:.3g} %), {wanted} are wanted"
    if most < curve.wanted:
        return f"{said}: wait for older rows, or ask for less if the others never get a label or a label time"
    return f"{said}: too few rows to be sure"

"""Bound one proportion, or the difference of two that were measured on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.special import bdtr, betaincinv, ndtri


def tango(n: int, gain: int, loss: int, level: float) -> tuple[float, float]:
    """Return Tango's two-sided score interval of the paired difference `(gain - loss) / n`.

    It does not collapse when few or no pairs disagree: without any, it is n, z² / (n + z²) wide
    on either side. Source: Tango 1998, the inversion of `tango_z`.

    Args:
        n: pairs, e.g. positives that both models were asked about.
        gain: pairs that only the challenger has right.
        loss: pairs that only the champion has right.
        level: two-sided, e.g. .95; the bounds are one-sided at (1 + level) / 2.

    Raises:
        ValueError: a count is negative, or gain and loss are more than n.
    """
    _check_pairs(n, gain, loss)
    if n == 0:
        return -1.0, 1.0
    z, found = float(ndtri((1 + level) / 2)), (gain - loss) / n
    low = _crossing(lambda delta: _score(n, gain, loss, delta) - z, -1.0, found)
    high = _crossing(lambda delta: _score(n, gain, loss, delta) + z, found, 1.0)
    return low, high


def tango_z(n: int, gain: int, loss: int, margin: float) -> float:
    """Return Tango's score statistic of "the challenger is worse by `margin`"; large speaks against it.

    Raises:
        ValueError: a count is negative, or gain and loss are more than n.
    """
    _check_pairs(n, gain, loss)
    return _score(n, gain, loss, -margin)


def mcnemar_exact(gain: int, loss: int) -> float:
    """Return the exact two-sided p-value of "a disagreement is as likely to be a gain as a loss"."""
    pairs = gain + loss
    return min(1.0, 2 * float(bdtr(float(min(gain, loss)), pairs, 0.5))) if pairs else 1.0


def wilson(successes: int, n: int, level: float) -> tuple[float, float]:
    """Return Wilson's two-sided score interval of a proportion; (0, 1) when `n` is 0."""
    _check_share(successes, n)
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri((1 + level) / 2))
    share, shrink = successes / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    reach = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else middle - reach
    high = 1.0 if successes == n else middle + reach
    return low, high


def clopper_pearson(successes: int, n: int, level: float) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion; (0, 1) when `n` is 0."""
    _check_share(successes, n)
    tail = (1 - level) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high


def _score(n: int, gain: int, loss: int, delta: float) -> float:
    """Standardize `gain - loss - n delta` by its variance under the constrained likelihood."""
    a = 2 * n
    b = (2 * n - gain + loss) * delta - gain - loss
    c = -loss * delta * (1 - delta)
    q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * q + delta * (1 - delta))
    distance = gain - loss - n * delta
    if distance == 0:
        return 0.0
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Halve until the place where a falling function crosses zero is known to the last digit."""
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _check_pairs(n: int, gain: int, loss: int) -> None:
    if min(n, gain, loss) < 0 or gain + loss > n:
        raise ValueError(f"{gain} gains and {loss} losses of {n} pairs: counts must be ≥ 0 and not add up to more")


def _check_share(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: must be between 0 and {n}")

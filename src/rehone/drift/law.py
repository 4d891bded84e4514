"""Say how large a PSI or a distance of scores chance alone makes: by theory, and by the reference's own days."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtrc, chdtri, fdtrc, fdtri, kolmogi, kolmogorov

from rehone.records import ChanceLaw, FeatureDrift, ScoreDrift, Spread

WEEK = 7


def history_law(spread: Spread | None, parts: float, n: float, m: float, span: int) -> ChanceLaw | None:
    """Return the law of the PSI of `m` rows over `span` days against a reference of `n` rows.

    It is a sum of squares over directions. Each has the variance of independent rows and its part
    of the spread of stretches as long as the window: `span / 7` weeks of the window and as many as
    the reference has both vary, neighbours together. The sums of these variances and of their
    powers give a shifted chi-square with the same mean, variance and skewness (Pearson; Imhof
    1961), and the error of variances learned from few stretches makes it an F.
    """
    if spread is None or parts <= 0:
        return None
    i = min(max(span, 1), WEEK) - 1
    weeks, own = max(span / WEEK, 1.0), max(spread.days / WEEK, 1.0)
    times = 1 / weeks + 1 / own
    together = 2 * (weeks - 1) / weeks**2 + 2 * (own - 1) / own**2
    plain = spread.excess[i] * times
    scale = times * (1 + spread.carried * together / plain) if plain > 0 else times
    row = (n + m) / (n * m)
    one = parts * row + spread.excess[i] * scale
    if one < parts * row / 2:  # more alike than chance makes them, as the hours of days are: theory is the larger
        return None
    two = parts * row**2 + 2 * row * spread.excess[i] * scale + spread.squared[i] * scale**2
    two = min(max(two, one**2 / max(parts, 1.0)), one**2)
    three = parts * row**3 + 3 * row**2 * spread.excess[i] * scale
    three += 3 * row * spread.squared[i] * scale**2 + spread.cubed[i] * scale**3
    three = min(max(three, two**2 / one), two**1.5)
    freedom = two**3 / three**2
    error = spread.error[i] * (1.2 * times**2 + together**2 / 4)  # what weeks share is known by all features
    stretches = two / max(error, 1e-300)
    return ChanceLaw(
        mean=one,
        least=max(one - two**2 / three, 0.0),
        freedom=freedom,
        freedom_of_mean=min(max(freedom / 2, 1.0) * stretches, 1e6),
        days=spread.days,
    )


def score_law(spread: Spread | None, n: float, m: float, span: int) -> ChanceLaw | None:
    """Return the law of how many times the variance of a share of scores is that of independent rows, at least 1."""
    law = history_law(spread, 1.0, n, m, span)
    if law is None:
        return None
    mean = max(law.mean * n * m / (n + m), 1.0)
    return ChanceLaw(mean=mean, least=0.0, freedom=2.0, freedom_of_mean=2 * law.freedom_of_mean, days=law.days)


def p_of_psi(psi: float, law: ChanceLaw) -> float:
    """Return the chance of such a PSI by history."""
    if psi <= law.least:
        return 1.0
    return float(fdtrc(law.freedom, law.freedom_of_mean, (psi - law.least) / (law.mean - law.least)))


def p_of_ks(ks: float, n: float, m: float, law: ChanceLaw | None = None) -> float:
    """Return the chance of such a distance: Kolmogorov's with Stephens's correction, or by history.

    The tail `2 exp(-2 x^2)` is twice that of a chi-square of two degrees at `4 x^2`; with a
    variance that is itself estimated it becomes an F.
    """
    x = _x_of(ks, n, m)
    if law is None:
        return float(kolmogorov(x))
    return min(2 * float(fdtrc(law.freedom, law.freedom_of_mean, 2 * x**2 / law.mean)), 1.0)


def chance_psi(found: FeatureDrift, alpha: float) -> float | None:
    """Return the PSI that chance alone reaches with probability `alpha`, (0, 1); `None` when not measured."""
    if found.bins < 2 or not found.n_reference or not found.n_current:
        return None
    h = found.n_reference * found.n_current / (found.n_reference + found.n_current)
    limit = float(chdtri(found.bins - 1, alpha)) / h / max(found.counted, 1e-6)
    if found.history is not None:
        law = found.history
        limit = max(limit, law.least + (law.mean - law.least) * _f(law, 1 - alpha))
    return limit


def chance_ks(found: ScoreDrift, alpha: float) -> float | None:
    """Return the distance of scores that chance alone reaches with probability `alpha`, at most 1."""
    if not found.n_reference or not found.n_current:
        return None
    x = float(kolmogi(alpha))
    if found.history is not None:
        law = found.history
        x = max(x, math.sqrt(law.mean * _f(law, 1 - alpha / 2) / 2))
    return min(x / _x_of(1.0, found.n_reference, found.n_current), 1.0)


def p_of_statistic(parts: int, statistic: float) -> float:
    """Return the chance of such an `h * PSI` by theory."""
    return float(chdtrc(parts, statistic))


def _f(law: ChanceLaw, q: float) -> float:
    return float(fdtri(law.freedom, law.freedom_of_mean, q))


def _x_of(ks: float, n: float, m: float) -> float:
    root = np.sqrt(n * m / (n + m))
    return float((root + 0.12 + 0.11 / root) * ks)

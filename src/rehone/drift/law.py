"""Say how large a PSI or a distance of scores chance alone makes: by theory, and by the reference's own days."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtrc, chdtri, fdtrc, fdtri, kolmogi, kolmogorov

from rehone.records import ChanceLaw, FeatureDrift, ScoreDrift, Spread

WEEK = 7
DECILES = 9
"""Shares of scores whose variance a spread adds up."""


def history_law(spread: Spread | None, parts: int, n: float, m: float, span: int) -> ChanceLaw | None:
    """Return the law of the PSI of `m` rows over `span` days against a reference of `n` rows.

    The mean is that of independent rows, `parts / h`, and the spread of stretches as long as the
    window: `span / 7` weeks of the window and as many as the reference has both vary, neighbours
    together. Its directions follow from the first two moments (Satterthwaite 1946), and the
    error of the mean, which few stretches leave, makes it an F in place of a chi-square.
    """
    if spread is None or parts < 1:
        return None
    i = min(max(span, 1), WEEK) - 1
    weeks, own = max(span / WEEK, 1.0), spread.days / WEEK
    times = 1 / weeks + 1 / own
    together = 2 * (weeks - 1) / weeks**2 + 2 * (own - 1) / own**2
    plain = spread.excess[i] * times
    more = 1 + spread.carried * together / plain if plain > 0 else 1.0
    base, excess = parts * (n + m) / (n * m), plain * more
    mean = base + excess
    if mean <= 0:
        return None
    square = base**2 / parts + 2 * base * excess / parts + spread.squared[i] * (times * more) ** 2
    freedom = min(max(mean**2 / square, 1.0), float(parts)) if square > 0 else float(parts)
    error = spread.error[i] * (times**2 + together**2 / 2)
    return ChanceLaw(mean=mean, freedom=freedom, freedom_of_mean=mean**2 / max(error, 1e-12), days=spread.days)


def score_law(spread: Spread | None, n: float, m: float, span: int) -> ChanceLaw | None:
    """Return the law of how many times the variance of shares of scores is that of independent rows."""
    law = history_law(spread, DECILES, n, m, span)
    if law is None:
        return None
    base = DECILES * (n + m) / (n * m)
    return ChanceLaw(mean=law.mean / base, freedom=2.0, freedom_of_mean=law.freedom_of_mean, days=law.days)


def p_of_psi(psi: float, law: ChanceLaw) -> float:
    """Return the chance of such a PSI by history."""
    return float(fdtrc(law.freedom, law.freedom_of_mean, psi / law.mean))


def p_of_ks(ks: float, n: float, m: float, law: ChanceLaw | None = None) -> float:
    """Return the chance of such a distance: Kolmogorov's with Stephens's correction, or by history.

    The tail `2 exp(-2 x^2)` is twice that of a chi-square of two degrees at `4 x^2`; with a
    variance that is itself estimated it becomes an F.
    """
    x = _x_of(ks, n, m)
    if law is None:
        return float(kolmogorov(x))
    return min(2 * float(fdtrc(2.0, law.freedom_of_mean, 2 * x**2 / law.mean)), 1.0)


def chance_psi(found: FeatureDrift, alpha: float) -> float | None:
    """Return the PSI that chance alone reaches with probability `alpha`, (0, 1); `None` when not measured."""
    if found.bins < 2 or not found.n_reference or not found.n_current:
        return None
    h = found.n_reference * found.n_current / (found.n_reference + found.n_current)
    limit = float(chdtri(found.bins - 1, alpha)) / h / max(found.counted, 1e-6)
    if found.history is not None:
        law = found.history
        limit = max(limit, law.mean * float(fdtri(law.freedom, law.freedom_of_mean, 1 - alpha)))
    return limit


def chance_ks(found: ScoreDrift, alpha: float) -> float | None:
    """Return the distance of scores that chance alone reaches with probability `alpha`, at most 1."""
    if not found.n_reference or not found.n_current:
        return None
    x = float(kolmogi(alpha))
    if found.history is not None:
        law = found.history
        x = max(x, math.sqrt(law.mean * float(fdtri(2.0, law.freedom_of_mean, 1 - alpha / 2)) / 2))
    return min(x / _x_of(1.0, found.n_reference, found.n_current), 1.0)


def p_of_statistic(parts: int, statistic: float) -> float:
    """Return the chance of such an `h * PSI` by theory."""
    return float(chdtrc(parts, statistic))


def _x_of(ks: float, n: float, m: float) -> float:
    root = np.sqrt(n * m / (n + m))
    return float((root + 0.12 + 0.11 / root) * ks)

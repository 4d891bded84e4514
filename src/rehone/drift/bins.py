"""Lay reference and current counts of one feature side by side, and add up what each bin has moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rehone.drift.weekdays import flat
from rehone.records import FeatureKind, FeatureProfile

SMOOTHING = 0.5
"""Added to every count, so that an empty bin has a finite share."""

SPECIAL = ("missing", "infinite", "unseen")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """Reference and current counts of the bins that are compared, (k,) each, with their names.

    When `rare` names two bins, the current rows were split between them by Good-Turing's
    estimate, whose error inflates the variance of that one split by `inflation`.
    """

    names: tuple[str, ...]
    then: Floats
    now: Floats
    inflation: float = 1.0
    rare: tuple[int, int] | None = None


def compared(like: FeatureProfile, then: Floats, current: FeatureProfile) -> Bins:
    """Name the bins; those without any reference row are what was never seen."""
    bins = beside(like, then, current, tuple(_bin_names(like)))
    return _categories(like, bins) if like.kind is FeatureKind.CATEGORICAL else bins


def beside(like: FeatureProfile, then: Floats, current: FeatureProfile, names: tuple[str, ...]) -> Bins:
    """Lay the counts side by side as they are; `names` are of the ordinary bins, of rare values, and of the special ones."""
    k = len(like.counts)
    ordinary, (_, missing, infinite, unseen) = then[:k], then[k:]
    now = np.array(flat(current), dtype=np.float64)
    if like.kind is FeatureKind.CATEGORICAL:
        return Bins(names, then, now)
    seen = np.array(like.counts) > 0
    never = float(now[:k][~seen].sum()) + now[k + 3]
    return Bins(
        (*(name for name, s in zip(names[:k], seen, strict=True) if s), *SPECIAL),
        np.concatenate((ordinary[seen], [missing, infinite, unseen])),
        np.concatenate((now[:k][seen], [now[k + 1], now[k + 2], never])),
    )


def _categories(like: FeatureProfile, bins: Bins) -> Bins:
    """Move the reference rows that Good-Turing would expect outside into the unseen bin.

    A reference that holds values once has missed others, and later rows will hold them: with
    `e = expected_unseen` of `n` rows, later rows are outside with probability `e / n`, give or
    take `(e (1 - e / n) + unseen_variance) / n^2` (Good 1953, Esty 1983).
    """
    rare, outside = len(like.counts), len(like.counts) + 3
    whole = like.pooled + like.unseen
    expected = like.expected_unseen / whole if whole else 0.0
    both = float(bins.then[rare] + bins.then[outside])
    later = float(bins.now[rare] + bins.now[outside])
    if not expected or not both:
        return bins
    then = bins.then.copy()
    then[rare], then[outside] = both * (1 - expected), both * expected
    plain = expected * (1 - expected) * (1 / max(later, 1.0) + 1 / both)
    extra = like.unseen_variance / whole**2
    inflation = 1 + extra / plain if plain > 0 else 1.0
    return Bins(bins.names, then, bins.now, inflation, (rare, outside))


def in_use(bins: Bins) -> Bins:
    used = (bins.then + bins.now) > 0
    rare = bins.rare
    if rare is not None:
        split = bool(used[rare[0]] and used[rare[1]])
        places = np.cumsum(used) - 1
        rare = (int(places[rare[0]]), int(places[rare[1]])) if split else None
    names = tuple(name for name, u in zip(bins.names, used, strict=True) if u)
    return Bins(names, bins.then[used], bins.now[used], bins.inflation if rare else 1.0, rare)


def psi_parts(then: Floats, now: Floats) -> Floats:
    """Return what each bin adds to the PSI, (k,), with 0.5 added to every count."""
    p = (then + SMOOTHING) / (then.sum() + SMOOTHING * then.size)
    q = (now + SMOOTHING) / (now.sum() + SMOOTHING * now.size)
    parts: Floats = (q - p) * np.log(q / p)
    return parts


def merged_psi(bins: Bins) -> float:
    a, b = bins.rare or (0, 0)
    p = (bins.then + SMOOTHING) / (bins.then.sum() + SMOOTHING * bins.then.size)
    q = (bins.now + SMOOTHING) / (bins.now.sum() + SMOOTHING * bins.now.size)
    p[a], q[a] = p[a] + p[b], q[a] + q[b]
    p, q = np.delete(p, b), np.delete(q, b)
    return float(((q - p) * np.log(q / p)).sum())


def _bin_names(like: FeatureProfile) -> Iterator[str]:
    if like.kind is not FeatureKind.NUMERIC:
        yield from (f"value {value!r}" for value in like.values)
    elif not like.edges:
        yield "any number"
    else:
        yield f"values up to {like.edges[0]:.4g}"
        yield from (_between(low, high) for low, high in pairwise(like.edges))
        yield f"values above {like.edges[-1]:.4g}"
    yield from ("rare values", *SPECIAL)


def _between(low: float, high: float) -> str:
    atom = high - low <= abs(high) * 1e-15 or abs(high - low) < 1e-300
    return f"value {high:.4g}" if atom else f"values {low:.4g}..{high:.4g}"

"""Lay reference and current counts side by side for the eye, in bins that people can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from rehone.drift.bins import SPECIAL, Floats, beside
from rehone.drift.weekdays import WEEK, day_weights, reference_of, scores_of, span
from rehone.records import Counts, FeatureKind, FeatureProfile, Histogram, Profile

RARE = "rare values"
MOST_SCORE_BINS = 20
LONGEST = 48
_LEAST_DIGITS, _MOST_DIGITS = 3, 17


def histograms(reference: Profile, current: Counts) -> tuple[Histogram, ...]:
    """Return a histogram for each feature, in the order of the profile: the counts that its drift is computed from.

    The reference is weighed by the window's weekdays as in `feature_drift`, and so rounded. Its bins without any row
    are part of "unseen". Where there is nothing to compare, there is no histogram.
    """
    weights = day_weights(reference, current)
    if isinstance(weights, str):
        return ()
    return tuple(
        _of_feature(like, reference_of(reference, i, weights), now)
        for i, (like, now) in enumerate(zip(reference.features, current.features, strict=True))
    )


def score_histogram(reference: Profile, current: Counts) -> Histogram | None:
    """Return the scores of reference and window in at most 20 bins, of about as many reference rows each.

    None where there is nothing to compare.
    """
    then, now, weights = reference.scores, current.scores, day_weights(reference, current)
    if then is None or now is None or not then.n or not now.n or isinstance(weights, str):
        return None
    weighed = scores_of(then.counts, then.by_weekday, weights, short=span(current) < WEEK)
    if weighed is None:
        return None
    ends = _ends(len(then.counts))
    edges = tuple(then.edges[end - 1] for end in ends[1:-1])
    return Histogram(
        name="scores",
        kind=None,
        bins=_intervals(edges),
        reference=_together(weighed, ends),
        current=_together(np.array(now.counts, dtype=np.float64), ends),
    )


def _of_feature(like: FeatureProfile, then: Floats, current: FeatureProfile) -> Histogram:
    names = (*_ordinary(like), RARE, *SPECIAL)
    bins = beside(like, then, current, names)
    kept = [i for i, name in enumerate(bins.names) if name not in (RARE, *SPECIAL) or bins.then[i] or bins.now[i]]
    return Histogram(
        name=like.feature,
        kind=like.kind,
        bins=tuple(bins.names[i] for i in kept),
        reference=tuple(round(float(bins.then[i])) for i in kept),
        current=tuple(round(float(bins.now[i])) for i in kept),
    )


def _ordinary(like: FeatureProfile) -> tuple[str, ...]:
    if like.kind is FeatureKind.NUMERIC:
        return _intervals(like.edges)
    return tuple(_value(i, value) for i, value in enumerate(like.values))


def _value(place: int, value: str) -> str:
    """Name the bin of one value; one that is named like a bin of its own kind is quoted, a long one is cut."""
    if value in (RARE, *SPECIAL) or not value.strip():
        return repr(value)
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 8]}... #{place + 1}"


def _intervals(edges: Sequence[float]) -> tuple[str, ...]:
    """Name the bins between edges with as few digits as tell them apart."""
    if not edges:
        return ("any number",)
    for digits in range(_LEAST_DIGITS, _MOST_DIGITS):
        names = tuple(_named(edges, digits))
        if len(set(names)) == len(names):
            return names
    return tuple(_named(edges, _MOST_DIGITS))


def _named(edges: Sequence[float], digits: int) -> Iterator[str]:
    yield f"up to {_number(edges[0], digits)}"
    for low, high in pairwise(edges):
        atom = high - low <= abs(high) * 1e-15 or abs(high - low) < 1e-300
        yield _number(high, digits) if atom else f"{_number(low, digits)}..{_number(high, digits)}"
    yield f"above {_number(edges[-1], digits)}"


def _number(value: float, digits: int) -> str:
    """Round to so many digits; thousands are set apart, and only very large numbers have an exponent."""
    rounded = f"{value:.{digits}g}"
    return rounded if digits >= _MOST_DIGITS else f"{float(rounded):,.15g}"


def _ends(bins: int) -> list[int]:
    parts = min(bins, MOST_SCORE_BINS)
    return [bins * part // parts for part in range(parts + 1)]


def _together(counts: Floats, ends: Sequence[int]) -> tuple[int, ...]:
    return tuple(round(float(counts[low:high].sum())) for low, high in pairwise(ends))

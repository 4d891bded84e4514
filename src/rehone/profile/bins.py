"""Choose the bins of one feature from the rows that a version was trained on."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import pdtrc

from rehone.columns import as_text
from rehone.profile.reading import as_number, readable
from rehone.records import Feature, FeatureKind, FeatureProfile

BINS = 10
"""Quantile bins of a numeric feature, atoms included."""

DISCRETE = 20
"""A numeric feature with at most this many distinct values has a bin for each."""

KNOWN_RARE = 500
"""Rare categories that a profile remembers by name; rarer ones count as unseen."""

SCORE_BINS = 100

_LUCK = 0.05
_STEPS = 20_000

Floats = NDArray[np.float64]


def learn(frame: pl.DataFrame, feature: Feature) -> FeatureProfile:
    """Return the feature's bins, with all counts at zero."""
    if feature.kind is FeatureKind.BOOLEAN:
        return FeatureProfile(feature=feature.name, kind=feature.kind, values=("false", "true"), counts=(0, 0))
    if feature.kind is FeatureKind.CATEGORICAL:
        return categories(feature.name, _tally(frame, feature.name), frame.height)
    return _numbers(feature, numeric_edges(_finite(frame, feature.name).sort().to_numpy()))


def learn_drawn(frame: pl.DataFrame, weights: Floats, feature: Feature) -> FeatureProfile:
    """Return the bins of a boolean or a number from a sample whose rows, (n,), stand for `weights` rows each."""
    if feature.kind is FeatureKind.BOOLEAN:
        return learn(frame, feature)
    number = _number(frame, feature.name)
    known = number.is_finite().fill_null(value=False).to_numpy()
    return _numbers(feature, numeric_edges(evenly(number.to_numpy()[known], weights[known])))


def _numbers(feature: Feature, edges: tuple[float, ...]) -> FeatureProfile:
    return FeatureProfile(feature=feature.name, kind=feature.kind, edges=edges, counts=(0,) * (len(edges) + 1))


def evenly(values: Floats, weights: Floats) -> Floats:
    """Return at most 20,000 of the values, sorted, at even steps of the weight that lies before them."""
    if not values.size:
        return values
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weights[order])
    steps = (np.arange(_STEPS) + 0.5) / _STEPS * passed[-1]
    picked: Floats = values[order][np.minimum(np.searchsorted(passed, steps, "left"), values.size - 1)]
    return picked


def numeric_edges(ordered: Floats) -> tuple[float, ...]:
    """Return the bin edges of sorted finite values, (n,).

    At most 20 distinct values get a bin each. Otherwise a value that holds a tenth of the rows
    is an atom, a pair of neighbouring edges, and the other rows are cut at their quantiles into
    as many bins as are left of ten.
    """
    if not ordered.size:
        return ()
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    held = np.diff(np.append(starts, ordered.size))
    if starts.size <= DISCRETE:
        return _pairs(ordered[starts])
    is_atom = held * BINS >= ordered.size
    atoms = ordered[starts[is_atom]]
    rest = ordered[np.repeat(~is_atom, held)]
    cuts = _quantiles(rest, max(BINS - atoms.size, 1))
    return _without_slivers(ordered, cuts, atoms)


def score_edges(scores: Floats) -> tuple[float, ...]:
    """Return about 100 quantiles of scores, (n,); a score that many rows share is an atom."""
    ordered = np.sort(scores)
    cuts = _quantiles(ordered, SCORE_BINS)
    held = np.searchsorted(ordered, cuts, "right") - np.searchsorted(ordered, cuts, "left")
    shared = cuts[held * SCORE_BINS >= 2 * ordered.size]
    return tuple(sorted({*cuts.tolist(), *(below(x) for x in shared.tolist())}))


def below(value: float) -> float:
    """Return the next smaller number, stepping over subnormals, which some libraries flush to zero."""
    near = math.nextafter(value, -math.inf)
    tiny = float(np.finfo(np.float64).tiny)
    if 0 < abs(near) < tiny:
        return 0.0 if value > 0 else -tiny
    return near


def _number(frame: pl.DataFrame, name: str) -> pl.Series:
    if not readable(frame.schema.get(name)):
        return pl.Series([None] * frame.height, dtype=pl.Float64)
    return frame.select(as_number(name, frame.schema[name])).to_series()


def _finite(frame: pl.DataFrame, name: str) -> pl.Series:
    number = _number(frame, name)
    return number.filter(number.is_finite())


def _pairs(values: Floats) -> tuple[float, ...]:
    return tuple(sorted({edge for value in values.tolist() for edge in (below(value), value)}))


def _quantiles(ordered: Floats, bins: int) -> Floats:
    if not ordered.size:
        return np.empty(0)
    cuts: Floats = np.unique(np.quantile(ordered, np.arange(1, bins) / bins))
    return cuts


def _without_slivers(ordered: Floats, cuts: Floats, atoms: Floats) -> tuple[float, ...]:
    """Drop a cut when an atom beside it leaves next to no rows between the two."""
    fixed = set(_pairs(atoms))
    edges = sorted({*fixed, *cuts.tolist()})
    least = ordered.size / (4 * BINS)
    while True:
        counts = np.diff(np.concatenate(([0], np.searchsorted(ordered, edges, "right"), [ordered.size])))
        slivers = [edge for i, edge in enumerate(edges) if edge not in fixed and min(counts[i], counts[i + 1]) < least]
        if not atoms.size or not slivers:
            return tuple(edges)
        edges.remove(slivers[0])


def categories(name: str, held: dict[str, int], rows: int) -> FeatureProfile:
    """Return the bins of a category of which each value holds so many of so many rows."""
    common_from = _common_from(held, rows)
    common = {value: n for value, n in held.items() if n >= common_from}
    rare = {value: n for value, n in held.items() if n < common_from}
    sizes = Counter(rare.values())
    least = _least_known(sizes, math.ceil(common_from))
    values = _by_size(common)
    return FeatureProfile(
        feature=name,
        kind=FeatureKind.CATEGORICAL,
        values=values,
        pooled_values=_by_size({value: n for value, n in rare.items() if n >= least}),
        counts=(0,) * len(values),
        expected_unseen=sum(size * many for size, many in sizes.items() if size <= least),
        unseen_variance=least * (least + 1) * sizes[least + 1],
    )


def _common_from(held: dict[str, int], rows: int) -> float:
    """Return the fewest rows of a value that has a bin of its own: max(5, a hundredth).

    Among hundreds of equally rare values one reaches that by luck, and would then look as if
    it had shrunk. So where rare values hold most rows, a common one must hold more than any
    of as many Poisson counts around the rare ones' mean would, at 5 %.
    """
    least = max(5.0, rows / 100)
    rare = [n for n in held.values() if n < least]
    if 2 * sum(rare) <= sum(held.values()):
        return least
    mean, fewest = sum(rare) / len(rare), math.ceil(least)
    while pdtrc(fewest - 1, mean) * len(rare) > _LUCK:
        fewest += 1
    return float(fewest)


def _tally(frame: pl.DataFrame, name: str) -> dict[str, int]:
    if not readable(frame.schema.get(name)):
        return {}
    text = frame.select(as_text(name, frame.schema[name])).to_series().drop_nulls()
    counted = text.value_counts(name="held")
    return dict(zip(counted[name].to_list(), counted["held"].to_list(), strict=True))


def _least_known(sizes: Counter[int], common_from: int) -> int:
    """Return how often a rare value must occur for the profile to remember its name.

    Values of one frequency are all kept or all dropped, so that Good-Turing still says how
    many rows to expect outside: those of values that occur `least` times or less.
    """
    known = 0
    for size in range(common_from - 1, 0, -1):
        known += sizes[size]
        if known > KNOWN_RARE:
            return min(size + 1, max(common_from - 1, 1))
    return 1


def _by_size(held: dict[str, int]) -> tuple[str, ...]:
    return tuple(sorted(held, key=lambda value: (-held[value], value)))

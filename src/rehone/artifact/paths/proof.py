"""Draw rows on which a faster path and the pipeline it replaces would differ if they could."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rehone.artifact.paths.columns import Floats
from rehone.artifact.paths.trees import SMALLEST
from rehone.records import Contract, Feature, FeatureKind

ROWS = 200
MOST_ROWS = 400
"""More than `ROWS` where a feature has more categories, each of which should appear."""

_HARD = (np.nan, np.nan, 0.0, -0.0, 1e30, -1e30, 1e-40, -1e-40, 1e-300, -1e-300, 1.0, -1.0)


def probe(contract: Contract, edges: Sequence[Floats], *, seed: int) -> Floats:
    """Return a matrix to compare on; `edges` are each column's thresholds, or values of its range.

    Numbers are drawn from the edges themselves, the floats next to them, the range they span and
    what is hard everywhere; every category appears where there are at most `MOST_ROWS`, the
    unseen one and missing values too.
    """
    draw = np.random.default_rng(seed)
    most = max((len(f.categories) for f in contract.features), default=0) + 2
    n = min(max(ROWS, most), MOST_ROWS)
    columns = [_column(feature, own, n, draw) for feature, own in zip(contract.features, edges, strict=True)]
    return np.ascontiguousarray(np.stack(columns, axis=1))


def _column(feature: Feature, edges: Floats, n: int, draw: np.random.Generator) -> Floats:
    if feature.kind is FeatureKind.CATEGORICAL:
        codes = np.concatenate([[np.nan, len(feature.categories)], np.arange(len(feature.categories))])
        return _some(codes, n, draw)
    if feature.kind is FeatureKind.BOOLEAN:
        return _some(np.array([0.0, 1.0, np.nan]), n, draw)
    own = np.clip(edges[np.isfinite(edges)], -1e30, 1e30)
    own = draw.choice(own, min(len(own), n), replace=False) if len(own) else np.zeros(1)
    near = np.concatenate([own, np.nextafter(own, np.inf), np.nextafter(own, -np.inf)])
    spread = draw.uniform(own.min(), own.max(), n // 2) + draw.normal(size=n // 2)
    numbers = np.concatenate([draw.choice(near, n), spread, np.resize(_HARD, n // 8)])
    numbers = np.where(np.abs(numbers) < SMALLEST, 0.0, numbers)
    return draw.choice(np.clip(numbers, -1e30, 1e30), n)


def _some(values: Floats, n: int, draw: np.random.Generator) -> Floats:
    """Return n of the values, shuffled, each at least once where there is room."""
    return np.resize(draw.permutation(values), n)[draw.permutation(n)]

"""Make the profile of a version that learned from a sample: its counts are of all rows, not of the sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.profile.bins import categories, evenly, learn_drawn, score_edges
from rehone.profile.build import dated_scores, flat, histogram, remember
from rehone.profile.clocks import clock_like
from rehone.profile.counting import add
from rehone.records import Contract, Counts, FeatureKind, Profile, ScoreProfile, Window

Floats = NDArray[np.float64]


class Population(Protocol):
    """All rows of a window, which lie elsewhere and can be counted there."""

    rows: int
    positives: int

    def categories(self, feature: str) -> dict[str, int]:
        """Return how many rows each value of a category holds."""

    def by_weekday(self, blank: Profile) -> Sequence[Counts]:
        """Count the rows of Monday..Sunday into the bins of a profile."""

    def by_day(self, blank: Profile) -> Sequence[tuple[date, Counts]]:
        """Count the rows of each day, oldest first; nothing where that cannot be asked."""


def build_drawn(
    sample: pl.DataFrame, contract: Contract, population: Population, *, window: Window, weights: Floats
) -> Profile:
    """Return what a version remembers of the rows from which its sample was drawn.

    `sample` holds the contract's features and `__time__`; each of its rows stands for `weights`
    rows, (n,). Edges of numbers are quantiles of the weighted sample; categories and all counts
    are of the population, exactly.
    """
    features = tuple(
        categories(f.name, population.categories(f.name), population.rows)
        if f.kind is FeatureKind.CATEGORICAL
        else learn_drawn(sample, weights, f)
        for f in contract.features
    )
    blank = Profile(window=window, rows=population.rows, positives=population.positives, features=features)
    clocks = clock_like(sample, contract)
    dated = tuple(population.by_day(blank))
    if dated:
        return remember(blank, dated, clocks)
    days = list(population.by_weekday(blank))
    learned = remember(blank, [(None, add(days))], clocks)
    return replace(learned, by_weekday=tuple(tuple(flat(f) for f in day.features) for day in days))


def scored_drawn(times: pl.Series, scores: Floats, weights: Floats) -> ScoreProfile | None:
    """Return the histogram of out-of-sample scores, (n,), NaN where there is none, of a weighted sample.

    Its counts add up to the effective size of the sample, (sum w)^2 / sum w^2: that is how many
    rows the weighted ones are worth when distributions are compared.
    """
    known = np.isfinite(scores)
    if not known.any():
        return None
    found, weight = scores[known], weights[known]
    edges = score_edges(evenly(found, weight))
    scale = weight.sum() / (weight**2).sum()
    whole = ScoreProfile(edges=edges, counts=histogram(found, edges, weight * scale))
    dated = dated_scores(whole, times.filter(known), found, weight * scale)
    return replace(dated, counts=tuple(map(sum, zip(*dated.by_weekday, strict=True))))

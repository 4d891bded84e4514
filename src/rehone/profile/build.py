"""Make the profile of a version from the rows that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.profile.bins import learn, score_edges
from rehone.profile.clocks import clock_like
from rehone.profile.counting import TIME, add, count, count_days
from rehone.profile.spread import carried_alike, ordinals, spread_of_scores, with_spread
from rehone.records import Contract, Counts, FeatureProfile, Profile, ScoreProfile, Window

Floats = NDArray[np.float64]
Days = Sequence[tuple[date | None, Counts]]


def build(
    frame: pl.DataFrame,
    contract: Contract,
    *,
    window: Window,
    label: str | None = None,
    scores: Floats | None = None,
    threshold: float | None = None,
) -> Profile:
    """Return what a version remembers of the rows it was trained on.

    `frame` holds the contract's features and `__time__` (UTC); `label` names the label
    column, by default the contract's. `scores` are out-of-sample, (k,); when there is one for
    each row of `frame` (NaN where there is none) they are also kept by day of the week.
    """
    blank = Profile(
        window=window,
        rows=frame.height,
        positives=_positives(frame, label or contract.label),
        features=tuple(learn(frame, feature) for feature in contract.features),
        threshold=threshold,
    )
    return remember(blank, _days(frame, blank), clock_like(frame, contract), scores=_scores(frame, scores))


def remember(
    blank: Profile, days: Days, clocks: frozenset[str] = frozenset(), *, scores: ScoreProfile | None = None
) -> Profile:
    """Return a profile of bins with the counts of its days, their weekdays and how much they vary."""
    total = add(counts for _, counts in days)
    learned = zip(blank.features, total.features, strict=True)
    features = tuple(remembered(bins, counted, bins.feature in clocks) for bins, counted in learned)
    made = replace(blank, features=features, scores=scores)
    dated = [(day, counts) for day, counts in days if day is not None]
    if not dated:
        return made
    places = ordinals([day for day, _ in dated])
    weekday = places.astype(np.int64) % 7
    tables = [np.array([flat(counts.features[i]) for _, counts in dated]) for i in range(len(features))]
    spread = tuple(with_spread(f, places, held) for f, held in zip(features, tables, strict=True))
    alike, scores = carried_alike(spread, scores)
    return replace(
        made,
        features=alike,
        scores=scores,
        by_weekday=tuple(tuple(_whole(held[weekday == day]) for held in tables) for day in range(7)),
        weekday_days=tuple(np.bincount(weekday, minlength=7).tolist()),
    )


def _whole(held: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(held.sum(axis=0).tolist())


def _positives(frame: pl.DataFrame, label: str) -> int:
    if label not in frame.columns:
        return 0
    return int(frame[label].cast(pl.Float64, strict=False).eq(1).sum())


def _days(frame: pl.DataFrame, blank: Profile) -> Days:
    """Count the rows of each day apart, then those without a time, if any; or all at once."""
    if TIME not in frame.columns or not frame.height:
        return ((None, count(frame, blank)),)
    names = [name for name in (TIME, *(f.feature for f in blank.features)) if name in frame.columns]
    return count_days(frame.select(list(dict.fromkeys(names))), blank)


def remembered(bins: FeatureProfile, counted: FeatureProfile, clock: bool) -> FeatureProfile:
    """Return a feature's counts with what was learned beside its bins."""
    return replace(
        counted,
        expected_unseen=bins.expected_unseen,
        unseen_variance=bins.unseen_variance,
        clock_like=clock,
    )


def flat(feature: FeatureProfile) -> tuple[int, ...]:
    """Return all counts of a feature in the order of `Profile.by_weekday`."""
    return (*feature.counts, feature.pooled, feature.missing, feature.infinite, feature.unseen)


def _scores(frame: pl.DataFrame, scores: Floats | None) -> ScoreProfile | None:
    if scores is None or not np.isfinite(scores).any():
        return None
    edges = score_edges(scores[np.isfinite(scores)])
    plain = ScoreProfile(edges=edges, counts=histogram(scores, edges))
    if scores.size != frame.height or TIME not in frame.columns:
        return plain
    return dated_scores(plain, frame[TIME], scores)


def dated_scores(whole: ScoreProfile, times: pl.Series, scores: Floats, weights: Floats | None = None) -> ScoreProfile:
    """Return a histogram of scores, (n,), with those of its weekdays and how much its days vary."""
    weekday = times.dt.weekday().fill_null(0).to_numpy()
    part = [(weekday == day) for day in range(1, 8)]
    week = tuple(histogram(scores[p], whole.edges, None if weights is None else weights[p]) for p in part)
    known = np.isfinite(scores) & (weekday > 0)
    days, place = np.unique((times.cast(pl.Date).to_physical().fill_null(0) + 3).to_numpy()[known], return_inverse=True)
    table = np.zeros((days.size, len(whole.counts)))
    bins = np.searchsorted(whole.edges, scores[known], "left")
    np.add.at(table, (place, bins), 1.0 if weights is None else weights[known])
    return replace(whole, by_weekday=week, spread=spread_of_scores(days.astype(np.float64), table))


def histogram(scores: Floats, edges: tuple[float, ...], weights: Floats | None = None) -> tuple[int, ...]:
    """Count finite scores, (n,), into bins; weighted ones are added up and rounded."""
    known = np.isfinite(scores)
    places = np.searchsorted(edges, scores[known], "left")
    found = np.bincount(places, None if weights is None else weights[known], minlength=len(edges) + 1)
    return tuple(np.rint(found).astype(np.int64).tolist())

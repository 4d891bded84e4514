"""Make the profile of a version from the rows that it was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.profile.bins import learn, score_edges
from rehone.profile.clocks import clock_like
from rehone.profile.counting import TIME, add, count
from rehone.records import Contract, Counts, FeatureProfile, Profile, ScoreProfile, Window

Floats = NDArray[np.float64]


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
    clocks = clock_like(frame, contract)
    days = _by_weekday(frame, blank)
    total = add(days)
    return replace(
        blank,
        features=tuple(
            remembered(bins, counted, bins.feature in clocks)
            for bins, counted in zip(blank.features, total.features, strict=True)
        ),
        by_weekday=tuple(tuple(flat(f) for f in day.features) for day in days[:7]) if len(days) > 1 else (),
        scores=_scores(frame, scores),
    )


def _positives(frame: pl.DataFrame, label: str) -> int:
    if label not in frame.columns:
        return 0
    return int(frame[label].cast(pl.Float64, strict=False).eq(1).sum())


def _by_weekday(frame: pl.DataFrame, blank: Profile) -> list[Counts]:
    """Count Monday..Sunday apart, then the rows without a time, if any; or all at once."""
    if TIME not in frame.columns:
        return [count(frame, blank)]
    names = [name for name in (TIME, *(f.feature for f in blank.features)) if name in frame.columns]
    wanted = frame.select(list(dict.fromkeys(names)))
    weekday = wanted[TIME].dt.weekday()
    days = [count(wanted.filter(weekday == day), blank) for day in range(1, 8)]
    return [*days, count(wanted.filter(weekday.is_null()), blank)] if weekday.null_count() else days


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
    days: tuple[tuple[int, ...], ...] = ()
    if scores.size == frame.height and TIME in frame.columns:
        weekday = frame[TIME].dt.weekday().fill_null(0).to_numpy()
        days = tuple(histogram(scores[weekday == day], edges) for day in range(1, 8))
    return ScoreProfile(edges=edges, counts=histogram(scores, edges), by_weekday=days)


def histogram(scores: Floats, edges: tuple[float, ...], weights: Floats | None = None) -> tuple[int, ...]:
    """Count finite scores, (n,), into bins; weighted ones are added up and rounded."""
    known = np.isfinite(scores)
    places = np.searchsorted(edges, scores[known], "left")
    found = np.bincount(places, None if weights is None else weights[known], minlength=len(edges) + 1)
    return tuple(np.rint(found).astype(np.int64).tolist())

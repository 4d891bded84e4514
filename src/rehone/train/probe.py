"""Ask one cheap fit what a retrain would gain, before the search is paid for.

The same small recipe learns once from fresh rows and once from the rows that the champion learned
from; both are asked about the newest rows that neither has seen and that the champion has not seen.
The holdout of the gate takes no part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import compare
from rehone.artifact import Predictor, encode, one_thread
from rehone.config import Candidate, Train
from rehone.errors import RehoneError, TrainingError
from rehone.records import Contract, Probe, Window
from rehone.train.estimators import pipeline_of
from rehone.train.holdout import split
from rehone.train.plan import weights_in

WORTH = 0.005
"""Gain of ROC-AUC below which a search is not worth its time: a quarter of what the gate lets pass as not worse."""
LEVEL = 0.80
"""Two-sided, of the interval of the gain; each bound is one-sided at .90."""
NEWEST = 0.5
"""Share of the rows newer than the champion's training that the recipe is asked about; it learns from the others."""
MOST_HELD = 0.34
"""Share of all rows that it is asked about at most."""
FEWEST = 20
"""Positives, and negatives, without which nothing is measured."""
SURE_FROM = 100
"""Positives, and negatives, without which nothing is skipped: with fewer, a narrow interval is mostly luck."""
WHOLE = 0.8
"""Share of the champion's training rows that must still be there to learn from them again."""
RECIPE = Candidate.model_validate(
    {"name": "probe", "class": "lightgbm", "params": {"n_estimators": 100, "learning_rate": 0.08, "num_leaves": 15}}
)
SEEDS = 2
"""Fits that are averaged on either side, so that luck of the fit is not taken for a gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The champion, as far as a probe must know it: which rows it learned from, and how many they were.

    `asked` is the champion itself, for when those rows are gone; `None` when it cannot be asked. The
    rows of a `recalibrated` one are also those of its layer, from which its model has not learned.
    """

    train_window: Window
    train_end: datetime
    train_rows: int
    asked: Predictor | None = field(default=None, repr=False)
    recalibrated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All rows older than the holdout, sorted by `__time__`, with the contract's features and the label.

    They may have `__weight__`. `trailing_start` begins the trailing window; `block` names the column
    whose rows hang together, the day of `__time__` when it is `None`.
    """

    frame: pl.DataFrame = field(repr=False)
    trailing_start: datetime
    contract: Contract
    block: str | None = None


def probe(rows: Known, past: Past, policy: Train, *, seed: int) -> Probe:
    """Return what a retrain is expected to gain in ROC-AUC over the champion, with its interval.

    `skip` is set when even the upper bound is below `WORTH`, on at least `SURE_FROM` rows of each
    class; whether that ends the run is for others to say. The gain is the difference of two ROC-AUCs
    on the same rows by DeLong, its error that of leaving out one day or entity at a time. Nothing
    measured is a `gain` of `None`.
    """
    newer = rows.frame.filter(pl.col("__time__") > past.train_end)
    try:
        held = _held(rows, newer)
    except TrainingError as error:
        return Probe(gain=None, detail=f"not measured: {error}")
    labels = held[rows.contract.label].cast(pl.Int8).to_numpy()
    positives = int(labels.sum())
    if min(positives, held.height - positives) < FEWEST:
        return Probe(
            gain=None,
            n=held.height,
            positives=positives,
            detail=f"not measured: {positives:,} positives among the {held.height:,} newest rows that the champion has "
            f"not learned from, need at least {FEWEST} of each class",
        )
    try:
        return _probed(rows, past, policy, held, seed)
    except RehoneError as error:
        return Probe(gain=None, n=held.height, positives=positives, detail=f"not measured: {error}")


def _held(rows: Known, newer: pl.DataFrame) -> pl.DataFrame:
    """Return the newest rows, whole days of them where there are enough, that the champion has not learned from.

    Raises:
        TrainingError: there are none, or all are of one time.
    """
    if newer.height < 2:
        raise TrainingError(
            f"{newer.height} rows to learn from are newer than the champion's training, need at least 2"
        )
    times = newer["__time__"].dt.replace_time_zone(None).to_numpy()
    share = min(NEWEST, MOST_HELD * rows.frame.height / newer.height)
    ends = Window(newer["__time__"][0], newer["__time__"][-1])
    parts = split(times, newer[rows.contract.label].to_numpy(), window=ends, holdout=share)
    return newer.filter(pl.col("__time__") >= parts.holdout.start)


def _probed(rows: Known, past: Past, policy: Train, held: pl.DataFrame, seed: int) -> Probe:
    fits = _Fits(rows.contract, policy.probe_rows, seed, encode(held, rows.contract))
    before, against = _before(rows, past, fits, held)
    blocks = held[rows.block].rank("dense").fill_null(0) if rows.block else held["__time__"].dt.epoch("d")
    labels = held[rows.contract.label].cast(pl.Int8).to_numpy()
    fresh = rows.frame.filter(pl.col("__time__") < held["__time__"][0])
    found = [
        (window, compare.delong_blocks(labels, before, fits.scores(part), blocks.to_numpy()))
        for window, part in _windows(rows, policy, fresh)
    ]
    window, best = max(found, key=lambda one: one[1].delta)
    high = max(pair.interval(LEVEL)[1] for _, pair in found)
    bounds = best.interval(LEVEL)
    interval = (bounds[0], bounds[1]) if all(map(math.isfinite, bounds)) else None
    rarer = min(int(labels.sum()), held.height - int(labels.sum()))
    skip = math.isfinite(high) and high < WORTH and rarer >= SURE_FROM
    return Probe(
        gain=best.delta,
        interval=interval,
        n=held.height,
        positives=int(labels.sum()),
        fit_rows=fits.most_rows,
        skip=skip,
        detail=_said(best.delta, interval, f"{against}, on {held.height:,} newer rows", skip=skip, window=window),
    )


def _windows(rows: Known, policy: Train, fresh: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Return what a search would learn from, but for the newest rows: each window that differs."""
    trailing = fresh.filter(pl.col("__time__") >= rows.trailing_start)
    named = {"trailing": trailing, "all": fresh, "decay": fresh}
    found: dict[int, tuple[str, pl.DataFrame]] = {}
    for name in policy.windows:
        found.setdefault(named[name].height, (name, named[name]))
    return list(found.values())


def _before(rows: Known, past: Past, fits: _Fits, held: pl.DataFrame) -> tuple[NDArray[np.float64], str]:
    """Score the held rows by what the champion knew: the recipe on its own rows, or else the champion itself.

    Raises:
        TrainingError: its rows are gone or not known, and it cannot be asked.
    """
    if past.recalibrated:
        if past.asked is None:
            raise TrainingError("the champion is a recalibration of an older model, and it cannot be asked itself")
        return past.asked.predict_proba(held), "over the champion itself, whose model is older than its calibration"
    time = pl.col("__time__")
    own = rows.frame.filter((time >= past.train_window.start) & (time <= past.train_end))
    stands_for = own.height if (weights := weights_in(own)) is None else float(weights.sum())
    if stands_for >= WHOLE * past.train_rows:
        return fits.scores(own), "over the same recipe on the champion's own rows"
    if past.asked is None:
        raise TrainingError("the rows that the champion learned from are gone, and it cannot be asked itself")
    return past.asked.predict_proba(held), "over the champion itself, whose own rows are gone"


class _Fits:
    """The recipe, fitted on rows and asked about the held ones."""

    def __init__(self, contract: Contract, most: int, seed: int, held: NDArray[np.float64]) -> None:
        self._contract, self._most, self._seed, self._held = contract, most, seed, held
        self.most_rows = 0

    def scores(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Return what the recipe says of the held rows after it has learned from these, or from a sample of them.

        Raises:
            TrainingError: there is only one class among them.
        """
        if rows.height > self._most:
            rows = rows.sample(self._most, seed=self._seed)
        self.most_rows = max(self.most_rows, rows.height)
        labels = rows[self._contract.label].cast(pl.Int8).to_numpy()
        if len(np.unique(labels)) < 2:
            raise TrainingError(f"{rows.height:,} rows to learn from are all of one class")
        matrix = encode(rows, self._contract)
        weights = weights_in(rows)
        each = [self._fitted(matrix, labels, weights, self._seed + number) for number in range(SEEDS)]
        return np.asarray(np.mean([one.predict_proba(self._held)[:, 1] for one in each], axis=0), dtype=np.float64)

    def _fitted(
        self, matrix: NDArray[np.float64], labels: NDArray[np.int8], weights: NDArray[np.float64] | None, seed: int
    ) -> Any:
        empty = set(np.flatnonzero(np.isnan(matrix).all(axis=0)).tolist())
        pipeline = pipeline_of(RECIPE, self._contract, seed, empty=empty)
        with one_thread():
            return pipeline.fit(matrix, labels, **({} if weights is None else {"model__sample_weight": weights}))


def _said(gain: float, interval: tuple[float, float] | None, how: str, *, skip: bool, window: str) -> str:
    bounds = f" ({_signed(interval[0])}..{_signed(interval[1])})" if interval else ", its error not known"
    said = f'a retrain is expected to gain {_signed(gain)} ROC-AUC{bounds} {how}, best on "{window}" rows'
    if skip:
        return f"{said}: less than {WORTH} on any window, so that a search is not worth its time"
    return f"{said}: a gain of {WORTH} cannot be ruled out" if gain < WORTH else said


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")

"""Find the features that only tell the time: they drift by nature, and their drift says nothing.

A clock is a date, a counter that rises or falls with event time, or a value of the calendar
that holds for whole days and returns to its start only after weeks (month, day of the month,
season). An hour or a day of the week is no clock: any week holds all of it. A window of a
few months may hold one season only; there a calendar word in the name decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from rehone.columns import as_text
from rehone.profile.counting import TIME
from rehone.profile.reading import as_number, is_clock, readable
from rehone.records import Contract, Feature, FeatureKind

_SAMPLE = 5_000
_FEWEST_ROWS = 30
_FEWEST_VALUES = 3
_FEWEST_DAYS = 14
_MONOTONE = 0.99
_TOP = 0.85
_WORDS = frozenset({"season", "month", "mnth", "year", "yr", "quarter"})


def clock_like(frame: pl.DataFrame, contract: Contract) -> frozenset[str]:
    """Return the names of the features that follow the clock or the calendar of `__time__`."""
    dated = {f.name for f in contract.features if is_clock(frame.schema.get(f.name))}
    if TIME not in frame.columns:
        return frozenset(dated)
    asked = [f for f in contract.features if f.name not in dated and _worth_asking(f, frame)]
    if not asked or frame.height < _FEWEST_ROWS:
        return frozenset(dated)
    ready = frame.select(pl.col(TIME), *(_value(f, frame).alias(f.name) for f in asked))
    counters = _counters(ready, [f.name for f in asked if f.kind is FeatureKind.NUMERIC])
    return frozenset(dated | counters | _calendars(ready, asked))


def _worth_asking(feature: Feature, frame: pl.DataFrame) -> bool:
    return feature.kind is not FeatureKind.BOOLEAN and readable(frame.schema.get(feature.name))


def _value(feature: Feature, frame: pl.DataFrame) -> pl.Expr:
    dtype = frame.schema[feature.name]
    if feature.kind is FeatureKind.CATEGORICAL:
        return as_text(feature.name, dtype)
    number = as_number(feature.name, dtype)
    return pl.when(number.is_finite()).then(number)


def _counters(ready: pl.DataFrame, names: Sequence[str]) -> set[str]:
    sample = ready.gather_every(max(ready.height // _SAMPLE, 1)).sort(TIME)
    moment = sample[TIME].cast(pl.Int64).to_numpy()
    return {name for name in names if _counts_up(moment, sample[name].to_numpy())}


def _counts_up(moment: Any, value: Any) -> bool:
    known = np.isfinite(value)
    moment, value = moment[known], value[known]
    if value.size < _FEWEST_ROWS or np.unique(value).size < _FEWEST_VALUES or moment[0] == moment[-1]:
        return False
    steps = np.diff(value)
    if (steps >= 0).all() or (steps <= 0).all():
        return True
    ranks = pl.DataFrame({"t": moment, "x": value}).select(pl.all().rank())
    return abs(float(np.corrcoef(ranks["t"], ranks["x"])[0, 1])) >= _MONOTONE


def _calendars(ready: pl.DataFrame, asked: Sequence[Feature]) -> set[str]:
    day = pl.col(TIME).dt.truncate("1d").alias("__day__")
    days = ready.group_by(day).agg(
        *(pl.col(f.name).min().alias(f"{i}min") for i, f in enumerate(asked)),
        *(pl.col(f.name).max().alias(f"{i}max") for i, f in enumerate(asked)),
    )
    days = days.sort("__day__")
    return {f.name for i, f in enumerate(asked) if _follows_calendar(f, days[f"{i}min"], days[f"{i}max"])}


def _follows_calendar(feature: Feature, least: pl.Series, most: pl.Series) -> bool:
    known = least.is_not_null()
    least, most = least.filter(known), most.filter(known)
    if least.len() < _FEWEST_DAYS or not bool((least == most).all()):
        return False
    if _WORDS & set(re.split(r"[^a-z]+", feature.name.lower())):
        return True
    changes = least.filter(least.ne(least.shift(1)).fill_null(value=True))
    if feature.kind is FeatureKind.CATEGORICAL:
        return _long_runs(changes, least)
    return least.n_unique() >= _FEWEST_VALUES and _cycles(changes.to_numpy(), least.len())


def _long_runs(changes: pl.Series, days: pl.Series) -> bool:
    """Say whether values hold for weeks on end: three or more, or two that follow each other once."""
    values = days.n_unique()
    if values < 2 or (changes.len() - 1) * _FEWEST_DAYS > days.len():
        return False
    return values >= _FEWEST_VALUES or changes.len() == values


def _cycles(changes: Any, days: int) -> bool:
    falls = np.flatnonzero(np.diff(changes) < 0)
    if (falls.size + 1) * _FEWEST_DAYS > days:
        return False
    low, high = changes.min(), changes.max()
    top, bottom = low + _TOP * (high - low), low + (1 - _TOP) * (high - low)
    return bool((changes[falls] >= top).all() and (changes[falls + 1] <= bottom).all())

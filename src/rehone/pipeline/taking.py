"""Take the rows to learn from and to judge on: all of them, or from an engine with a sample of the negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import artifact, profile, train
from rehone.config import Config
from rehone.data import EngineSource, Rows, engines
from rehone.errors import DataError
from rehone.records import Profile, Split, Window


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Matured, labelled rows, sorted by time, and where the holdout begins among them.

    Where negatives were left out, `rows` have `__weight__` and `population` is what is to be
    remembered of all rows of the trailing window, but for scores and threshold.
    """

    rows: pl.DataFrame = field(repr=False)
    split: Split
    population: Profile | None = None


def trailing_window(config: Config, as_of: datetime) -> Window:
    """Return the window whose matured rows span `lookback_days`."""
    return Window(as_of - timedelta(days=config.data.lookback_days + config.data.label_delay_days), as_of)


def history_window(config: Config, source: Rows, window: Window) -> Window:
    """Return how far back the rows reach that a challenger may learn from: as far as `train.windows` asks."""
    if set(config.train.windows) == {"trailing"}:
        return window
    span = source.span()
    start = min(window.start, span.start) if span else window.start
    if config.data.history_days is not None:
        start = max(start, window.end - timedelta(days=config.data.history_days))
    return Window(min(start, window.start), window.end)


def columns_of(config: Config, features: Sequence[str]) -> tuple[str, ...]:
    """Name the columns that training and judging read: features, label, and the roles that have one."""
    named = (config.data.label, config.data.id_column, config.data.entity_column, config.data.label_due_column)
    return tuple(dict.fromkeys((*features, *(name for name in named if name))))


def take(config: Config, source: Rows, read: Window, window: Window, columns: Sequence[str]) -> Taken:
    """Return the rows of `read`, divided by those of the trailing `window`.

    With `data.max_negatives`, only rows older than the holdout are left out, and only on an engine.

    Raises:
        DataError: the rows cannot be read, or are too many.
        TrainingError: all rows of the window are of one time.
    """
    if isinstance(source, EngineSource) and config.data.max_negatives is not None:
        return _drawn(config, source, read, window, columns)
    rows = source.labelled(read, columns)
    trailing = rows.filter(pl.col("__time__") >= window.start)
    split = train.split(
        trailing["__time__"].dt.replace_time_zone(None).to_numpy(),
        trailing[config.data.label].to_numpy(),
        window=window,
        holdout=config.train.holdout,
    )
    return Taken(rows=rows, split=split)


def _drawn(config: Config, source: EngineSource, read: Window, window: Window, columns: Sequence[str]) -> Taken:
    split = _split(config, source, window)
    older = Window(min(read.start, split.holdout.start), split.holdout.start)
    learned, drawn = engines.draw(source, older, columns, config.data.max_negatives or 0)
    held = source.labelled(split.holdout, columns)
    if drawn is not None:
        held = held.with_columns(pl.lit(1.0).alias(engines.WEIGHT))
    rows = pl.concat([learned, held.select(learned.columns)])
    if drawn is None:
        return Taken(rows=rows, split=split)
    return Taken(rows=rows, split=replace(split, drawn=drawn), population=_population(config, source, rows, split))


def _split(config: Config, source: EngineSource, window: Window) -> Split:
    """Find the boundary by counts alone."""
    ends = engines.ends(source, window)
    if ends is None:
        raise DataError(f"no matured row with a label in {window}: widen data.lookback_days, or wait for labels")
    found = train.Tally(*engines.tally(source, window, days=train.by_days(*ends)))
    return train.split_tally(found, window=window, holdout=config.train.holdout)


def _population(config: Config, source: EngineSource, rows: pl.DataFrame, split: Split) -> Profile:
    window = Window(split.train.start, split.holdout.end)
    sample = rows.filter(pl.col("__time__") >= window.start)
    contract = artifact.learn_contract(
        sample.filter(pl.col("__time__") < split.holdout.start),
        source.features(),
        label=config.data.label,
        categorical=config.data.categorical,
    )
    return profile.build_drawn(
        sample, contract, engines.Population(source, window), window=window, weights=weights_of(sample)
    )


def weights_of(rows: pl.DataFrame) -> NDArray[np.float64]:
    """Return how many rows each row stands for, (n,): one, unless a sample was drawn."""
    if engines.WEIGHT not in rows.columns:
        return np.ones(rows.height)
    return rows[engines.WEIGHT].to_numpy()

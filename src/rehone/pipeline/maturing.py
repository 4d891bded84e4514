"""Learn from the data how long labels take, and open them with the cut-off that this gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from rehone import maturity
from rehone.config import Config
from rehone.data import Rows
from rehone.pipeline.feeds import Feeds, open_feeds
from rehone.records import Check, CheckStatus, DelayCurve, Evidence, RunRecord, Window

MOST_ROWS = 200_000
"""Rows whose delays are looked at; of more, an even part."""


def open_matured(
    config: Config, as_of: datetime, *, champion: bool, frame: object | None = None
) -> tuple[Config, Feeds, DelayCurve | None]:
    """Return the configuration with the delay of labels that was learned, the feeds opened with it, and the curve.

    Without data.label_completeness nothing is learned. Where too little is known, the delay of the
    configuration stays, and the curve says why.

    Raises:
        DataError: data.source is needed, and nothing can be read of it.
    """
    feeds = open_feeds(config, as_of, champion=champion, frame=frame)
    wanted = config.data.label_completeness
    if wanted is None:
        return config, feeds, None
    curve = _learned(config, feeds, as_of, wanted)
    learned = _with_delay(config, curve)
    if learned is not config:
        feeds.release()
        feeds = open_feeds(learned, as_of, champion=champion, frame=frame)
    return learned, replace(feeds, notes=(*feeds.notes, _said(config, curve))), curve


def said(curve: DelayCurve | None) -> str:
    """Say after how many days labels are due, as the end of a sentence; nothing where that is not learned."""
    if curve is None:
        return ""
    if curve.cutoff_days is None:
        return "; how long labels take is not known yet"
    return f"; labels are due after {curve.cutoff_days:g} days"


def as_recorded(config: Config, evidence: Evidence | None) -> Config:
    """Return the configuration with the delay that a run learned when it looked."""
    curve = evidence.maturity if evidence is not None else None
    return config if curve is None else _with_delay(config, curve)


def delay_recorded(record: RunRecord) -> float:
    """Return after how many days labels were due in a run: as it learned, else as it was configured."""
    curve = record.evidence.maturity if record.evidence is not None else None
    if curve is not None and curve.cutoff_days is not None:
        return curve.cutoff_days
    return float(record.config.get("data", {}).get("label_delay_days", 0.0))


def _with_delay(config: Config, curve: DelayCurve) -> Config:
    if curve.cutoff_days is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"label_delay_days": curve.cutoff_days})})


def _learned(config: Config, feeds: Feeds, as_of: datetime, wanted: float) -> DelayCurve:
    source, time, label = feeds.offline, config.data.label_time_column, config.data.label
    if source is None or time is None:
        return _unknown(wanted, "data.source cannot be read, which says when labels became known")
    window = Window(as_of - timedelta(days=config.data.lookback_days + config.data.label_delay_days), as_of)
    rows = _followed(source, window, label, time)
    return maturity.delay_curve(
        rows["age"].to_numpy(),
        rows["delay"].to_numpy(),
        wanted=wanted,
        level=config.trigger.interval_level,
        positive=(rows[label] == 1).fill_null(value=False).to_numpy(),
    )


def _followed(source: Rows, window: Window, label: str, time: str) -> pl.DataFrame:
    """Return the age of each row and after how many days its label came, NaN where it has not."""
    day = timedelta(days=1).total_seconds()
    rows = source.some(window, (label, time), MOST_ROWS)
    taken = (pl.col(time) - pl.col("__time__")).dt.total_microseconds() / (1e6 * day)
    known = pl.col(label).is_not_null()
    return rows.select(
        label,
        age=(pl.lit(window.end) - pl.col("__time__")).dt.total_microseconds() / (1e6 * day),
        delay=pl.when(known).then(taken).cast(pl.Float64).fill_null(float("nan")),
    )


def _unknown(wanted: float, why: str) -> DelayCurve:
    return DelayCurve(days=(), share=(), low=(), high=(), n=0, arrived=0, wanted=wanted, cutoff_days=None, detail=why)


def _said(config: Config, curve: DelayCurve) -> Check:
    fallback = config.data.label_delay_days
    known = curve.cutoff_days is not None
    return Check(
        name="label_maturity",
        subject=config.data.label_time_column,
        status=CheckStatus.OK if known else CheckStatus.WARN,
        value=curve.cutoff_days,
        n=curve.n,
        detail=curve.detail if known else f"{curve.detail}; labels count as due after {fallback:g} days meanwhile",
        remedy="" if known else "set data.label_delay_days to what you know, until enough is learned",
    )

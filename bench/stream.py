"""Simulate a stream of card payments with known odds, as daily Parquet files."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

FEATURES = (
    "amount", "hour", "weekday", "velocity_1h", "velocity_24h", "distance_km",
    "merchant", "device_age_days", "cvv_match", "address_match", "country_match", "card_present",
)  # fmt: skip


def day_of_payments(day: date, rows: int, *, seed: int = 0, score: bool = False) -> pl.DataFrame:
    """Make one day of payments; about 6 in 100 are fraud. Shape: `rows` x (12 features, at, label)."""
    rng = np.random.default_rng((seed, day.toordinal()))
    columns: dict[str, np.ndarray] = {
        "amount": rng.lognormal(3.6, 1.1, rows),
        "hour": rng.integers(0, 24, rows).astype(float),
        "weekday": np.full(rows, float(day.weekday())),
        "velocity_1h": rng.poisson(0.6, rows).astype(float),
        "velocity_24h": rng.poisson(4, rows).astype(float),
        "distance_km": rng.gamma(0.7, 60, rows),
        "merchant": rng.integers(0, 40, rows).astype(float),
        "device_age_days": rng.gamma(1.2, 200, rows),
        "cvv_match": (rng.random(rows) < 0.95).astype(float),
        "address_match": (rng.random(rows) < 0.88).astype(float),
        "country_match": (rng.random(rows) < 0.93).astype(float),
        "card_present": (rng.random(rows) < 0.6).astype(float),
    }
    odds = _odds(columns)
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001
    at = [midnight + timedelta(seconds=s) for s in np.linspace(0, 86_399, rows).tolist()]
    frame = pl.DataFrame({"at": at, **columns}).with_columns(
        pl.when(pl.Series(rng.random(rows) < 0.03))
        .then(None)
        .otherwise(pl.col("device_age_days"))
        .alias("device_age_days"),
        pl.Series("label", (rng.random(rows) < odds).astype(np.int8)),
    )
    return frame.with_columns(pl.Series("score", odds)) if score else frame


def _odds(c: dict[str, np.ndarray]) -> np.ndarray:
    night = (c["hour"] < 6).astype(float)
    z = (
        -6.1
        + 0.55 * np.log1p(c["amount"])
        + 0.9 * night
        + 0.6 * c["velocity_1h"]
        + 0.12 * c["velocity_24h"]
        + 0.006 * np.minimum(c["distance_km"], 400)
        - 0.0015 * c["device_age_days"]
        + 1.2 * (1 - c["cvv_match"])
        + 0.8 * (1 - c["address_match"])
        + 0.9 * (1 - c["country_match"])
        - 0.7 * c["card_present"]
        + 0.6 * np.isin(c["merchant"], (3, 7, 19, 31))
    )
    return np.asarray(1 / (1 + np.exp(-z)))


def write_days(folder: Path, first: date, days: int, rows: int, *, score: bool = False) -> None:
    """Write one file a day."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(days):
        day = first + timedelta(days=n)
        day_of_payments(day, rows, score=score).write_parquet(folder / f"{day}.parquet")

"""Simulate a stream of card payments, day by day, with dials for each kind of change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit
from scipy.stats import rankdata

from rehone.testing.world import COLUMN_TYPES, FEATURES, MERCHANTS, Bools, Columns, Floats, Mix, draw, odds


@dataclass(frozen=True, slots=True, kw_only=True)
class Dials:
    """How far the world has moved from everyday payments; 0 is not at all, 1 is plain to see.

    `covariate` moves x and keeps p(label | x). `concept` turns p(label | x) and keeps x and the
    rate of positives. `prior` multiplies the odds of a fraud by 2 ** prior and keeps
    p(x | label). `off_support` is three times the share of rows such as none was seen before;
    `nulls` the share of missing values in distance_km and transactions_24h. `schema` is a fault
    of the feed: "dropped", "renamed", "text" or "cents". `weekly` makes weekends differ, in
    number of rows and in x.
    """

    covariate: float = 0.0
    concept: float = 0.0
    prior: float = 0.0
    off_support: float = 0.0
    nulls: float = 0.0
    schema: str = ""
    weekly: float = 0.0

    def __post_init__(self) -> None:
        if self.schema and self.schema not in _FAULTS:
            raise ValueError(f"schema is {self.schema!r}, must be one of {', '.join(sorted(_FAULTS))} or empty")
        for name, most in (("nulls", 1.0), ("off_support", 3.0)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}, must be between 0 and {most:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FraudStream:
    """A stream of card payments whose true odds are known: the same seed and day give the same rows.

    `changes` are (number of the day from which on it holds, dials); before the first, all dials
    are at zero. A label becomes known after a delay of gamma law with mean `label_delay_days`
    and shape 4, the same for both classes; 0: at once.
    """

    seed: int = 7
    rows_per_day: int = 300
    start: date = date(2026, 1, 1)
    positive_rate: float = 0.06
    changes: tuple[tuple[int, Dials], ...] = ()
    label_delay_days: float = 0.0

    def dials(self, i: int) -> Dials:
        """Return how the dials stand on day `i`."""
        held = [dials for first, dials in sorted(self.changes, key=lambda change: change[0]) if first <= i]
        return held[-1] if held else Dials()

    def day(self, i: int) -> pl.DataFrame:
        """Return the rows of day `i`, oldest first.

        Columns: event_time (naive, UTC), twelve features, label, label_known_at, and p, the
        true odds as a probability, which is never a feature.
        """
        dials, rng = self.dials(i), np.random.default_rng([self.seed, i])
        today = self.start + timedelta(days=i)
        weekend = dials.weekly if today.weekday() >= 5 else 0.0
        n = max(1, round(self.rows_per_day * (1 - 0.4 * weekend)))
        mix = Mix(
            covariate=dials.covariate, off_support=dials.off_support / 3, weekend=weekend, weekday=today.weekday()
        )
        columns, p, label = self._payments(n, rng, mix, dials)
        frame = _frame(columns, datetime.combine(today, time()), rng)
        frame = frame.with_columns(
            pl.Series("label", label.astype(np.int8)),
            (pl.col("event_time") + _delays(len(label), self.label_delay_days, rng)).alias("label_known_at"),
            pl.Series("p", p),
        ).sort("event_time", maintain_order=True)
        return _faulty(_nulled(frame, dials.nulls, rng), dials.schema)

    def days(self, first: int, count: int) -> pl.DataFrame:
        """Return `count` days from day `first` on, oldest first; columns that a fault took away are null."""
        return pl.concat([self.day(i) for i in range(first, first + count)], how="diagonal_relaxed")

    def write(self, folder: Path | str, first: int, count: int) -> tuple[Path, ...]:
        """Write one file a day, `YYYY-MM-DD.parquet`, without p, and return their paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = tuple(folder / f"{self.start + timedelta(days=i)}.parquet" for i in range(first, first + count))
        for i, path in enumerate(paths, start=first):
            self.day(i).drop("p").write_parquet(path)
        return paths

    def oracle_auc(self, frame: pl.DataFrame) -> float:
        """Return the ROC-AUC of the true odds on rows of this stream: no model can expect more. Ties count half."""
        label = frame["label"].to_numpy() == 1
        positives, negatives = int(label.sum()), int((~label).sum())
        if not positives or not negatives:
            raise ValueError(f"{positives} positives and {negatives} negatives: ROC-AUC needs both, take more days")
        ranks = rankdata(frame["p"].to_numpy())
        return float((ranks[label].sum() - positives * (positives + 1) / 2) / (positives * negatives))

    def _payments(self, n: int, rng: np.random.Generator, mix: Mix, dials: Dials) -> tuple[Columns, Floats, Bools]:
        """Return payments, true odds and labels; a prior shift keeps p(x | label) by rejecting rows of one class."""
        kept: list[tuple[Columns, Floats, Bools]] = []
        missing = n
        while missing > 0:
            columns = draw(2 * n if dials.prior else n, rng, mix)
            logits = odds(columns, self.positive_rate, dials.concept)
            label = rng.random(len(logits)) < expit(logits)
            keep = np.flatnonzero(rng.random(len(label)) < _accepted(label, dials.prior))[:missing]
            kept.append(
                ({name: c[keep] for name, c in columns.items()}, logits[keep] + dials.prior * np.log(2), label[keep])
            )
            missing -= len(keep)
        joined: Columns = {name: np.concatenate([part[0][name] for part in kept]) for name in FEATURES}
        return joined, expit(np.concatenate([part[1] for part in kept])), np.concatenate([part[2] for part in kept])


def _accepted(label: Bools, prior: float) -> Floats:
    """Return with which probability a row is kept, so that the odds of the classes change by 2 ** prior."""
    positive, negative = min(1.0, 2.0**prior), min(1.0, 2.0**-prior)
    accepted: Floats = np.where(label, positive, negative)
    return accepted


def _frame(columns: Columns, midnight: datetime, rng: np.random.Generator) -> pl.DataFrame:
    """Name the columns and give each payment its minute within its hour."""
    seconds = columns["hour"].astype(np.int64) * 3600 + rng.integers(0, 3600, len(columns["hour"]))
    named = columns | {"merchant_code": np.array(MERCHANTS)[columns["merchant_code"].astype(np.int64)]}
    frame = pl.DataFrame({name: named[name] for name in FEATURES}).select(
        pl.col(name).cast(COLUMN_TYPES[name]) for name in FEATURES
    )
    event_time = (pl.lit(midnight, dtype=pl.Datetime("us")) + pl.lit(_durations(seconds))).alias("event_time")
    return frame.select(event_time, *FEATURES).with_columns(pl.col("amount", "distance_km").round(2))


def _delays(n: int, mean_days: float, rng: np.random.Generator) -> pl.Series:
    return _durations(rng.gamma(4.0, mean_days / 4.0, n) * 86_400 if mean_days else np.zeros(n))


def _durations(seconds: npt.NDArray[np.int64] | Floats) -> pl.Series:
    return pl.Series((seconds * 1e6).astype(np.int64)).cast(pl.Duration("us"))


def _nulled(frame: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.DataFrame:
    """Lose a share of two features. The draws are made whatever the share is, so that other rows stay the same."""
    lost = {name: pl.Series(rng.random(frame.height) < share) for name in ("distance_km", "transactions_24h")}
    return frame.with_columns(pl.when(~mask).then(pl.col(name)).alias(name) for name, mask in lost.items())


_FAULTS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "dropped": lambda frame: frame.drop("distance_km"),
    "renamed": lambda frame: frame.rename({"distance_km": "distance"}),
    "text": lambda frame: frame.with_columns(pl.format("{} EUR", "amount").alias("amount")),
    "cents": lambda frame: frame.with_columns(pl.col("amount") * 100),
}


def _faulty(frame: pl.DataFrame, schema: str) -> pl.DataFrame:
    return _FAULTS[schema](frame) if schema else frame

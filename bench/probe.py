"""Replay projects month by month and ask what skipping on the probe's word would have cost.

    python bench/probe.py examples/bike_high_demand examples/nycflights13_ewr

Every 30 days the probe says what a retrain would gain; then the search is made all the same, the gate's
rule for ROC-AUC decides, and both models are asked about the 30 days that come. So each skip has its
price: what the challenger would have brought, had it been promoted; and its saving: one search. The
champion goes on as if nothing had been skipped, so that every month is a question of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from rehone import artifact, compare, data, metrics, train
from rehone.config import Config, load_config
from rehone.records import Probe, Window

EVERY = timedelta(days=30)
FOLDS = 3
FEWEST = 10

T = TypeVar("T")


@dataclass(frozen=True)
class Month:
    """One question: what the probe said, whether the challenger was promoted, and what it brought."""

    as_of: datetime
    probe: Probe
    promoted: bool
    brought: float
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Rows:
    """All labelled rows of a project, and how it wants to be trained."""

    config: Config
    frame: pl.DataFrame
    features: tuple[str, ...]

    def before(self, as_of: datetime) -> pl.DataFrame:
        due = as_of - timedelta(days=self.config.data.label_delay_days)
        return self.frame.filter(pl.col("__time__") <= due)

    def after(self, as_of: datetime) -> pl.DataFrame:
        return self.frame.filter((pl.col("__time__") >= as_of) & (pl.col("__time__") < as_of + EVERY))

    def labels(self, rows: pl.DataFrame) -> np.ndarray:
        return rows[self.config.data.label].cast(pl.Int8).to_numpy()


def opened(folder: str) -> Rows:
    config = load_config(Path(folder))
    late = datetime(2100, 1, 1, tzinfo=UTC)
    source = data.open_source(config.data, config.root, cache=config.cache_path, as_of=late, storage=config.storage)
    span, features = source.span(), source.features()
    if span is None:
        raise SystemExit(f"{folder} has no rows")
    return Rows(config, source.labelled(span, (*features, config.data.label)), features)


def months(rows: Rows) -> Iterator[Month]:
    """Go through the history; the first search makes the champion."""
    reach = timedelta(days=rows.config.data.lookback_days + rows.config.data.label_delay_days)
    as_of, champion = rows.frame["__time__"][0] + reach + EVERY, None
    while as_of + EVERY <= rows.frame["__time__"][-1] + timedelta(days=1):
        asked = question(rows, Window(as_of - reach, as_of))
        as_of += EVERY
        if asked is None:
            continue
        known, held = asked
        said, spent = (None, 0.0) if champion is None else timed(lambda: probed(rows, known, champion))  # noqa: B023
        challenger, paid = timed(lambda: searched(rows, known))  # noqa: B023
        if champion is None or said is None:
            champion = challenger
            continue
        promoted = passes(rows, champion, challenger, held)
        brought = gained(rows, champion, challenger, rows.after(as_of - EVERY))
        if brought is not None:
            yield Month(as_of - EVERY, said, promoted, brought, (spent, paid))
        champion = challenger if promoted else champion


def question(rows: Rows, window: Window) -> tuple[train.Known, pl.DataFrame] | None:
    """Return the rows to learn from and those held out, as a run would; `None` where there are too few."""
    due = rows.before(window.end)
    trailing = due.filter(pl.col("__time__") >= window.start)
    if min(np.bincount(rows.labels(trailing), minlength=2)) < 5 * FEWEST:
        return None
    times = trailing["__time__"].dt.replace_time_zone(None).to_numpy()
    split = train.split(times, rows.labels(trailing), window=window, holdout=rows.config.train.holdout)
    learned = due.filter(pl.col("__time__") < split.holdout.start)
    contract = artifact.learn_contract(learned, rows.features, label=rows.config.data.label)
    known = train.Known(frame=learned, trailing_start=window.start, contract=contract)
    return known, due.filter(pl.col("__time__") >= split.holdout.start)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what work gives, and the CPU seconds that it took."""
    begun = time.process_time()
    return work(), time.process_time() - begun


def probed(rows: Rows, known: train.Known, champion: train.Search) -> Probe:
    past = train.Past(
        train_window=champion.train_window,
        train_end=champion.train_end,
        train_rows=champion.train_rows,
        asked=champion.predictor,
    )
    return train.probe(known, past, rows.config.train, seed=rows.config.project.seed)


def searched(rows: Rows, known: train.Known) -> train.Search:
    policy = rows.config.train.model_copy(update={"folds": FOLDS})
    given = train.TrainingRows(frame=known.frame, trailing_start=known.trailing_start, contract=known.contract)
    return train.search(given, policy, seed=rows.config.project.seed)


def passes(rows: Rows, champion: train.Search, challenger: train.Search, held: pl.DataFrame) -> bool:
    """Apply the gate's default rule for ROC-AUC to the held-out rows that neither has seen."""
    held = held.filter(pl.col("__time__") > champion.train_end)
    labels = rows.labels(held)
    if min(np.bincount(labels, minlength=2)) < FEWEST:
        return False
    both = champion.predictor.predict_proba(held), challenger.predictor.predict_proba(held)
    pair = compare.delong_blocks(labels, *both, held["__time__"].dt.epoch("d").to_numpy())
    return pair.lower(rows.config.gate.level) > -rows.config.gate.margin_roc_auc or pair.delta >= 0


def gained(rows: Rows, champion: train.Search, challenger: train.Search, after: pl.DataFrame) -> float | None:
    labels = rows.labels(after)
    if min(np.bincount(labels, minlength=2)) < FEWEST:
        return None
    aucs = [
        metrics.measure(labels, s.predictor.predict_proba(after), 0.5, costs=(1, 1)).roc_auc
        for s in (champion, challenger)
    ]
    return None if aucs[0] is None or aucs[1] is None else aucs[1] - aucs[0]


def main(folders: list[str]) -> None:
    for folder in folders:
        found = []
        print(f"\n{Path(folder).name}\n  as of       probe                    skip   promoted  came", flush=True)
        for month in months(opened(folder)):
            found.append(month)
            said = month.probe
            bounds = (
                "not measured"
                if said.interval is None
                else f"{said.gain:+.3f} ({said.interval[0]:+.3f}..{said.interval[1]:+.3f})"
            )
            print(
                f"  {month.as_of:%Y-%m-%d}  {bounds:<23}  {said.skip!s:<5}  {month.promoted!s:<5}  {month.brought:+.3f}",
                flush=True,
            )
        skipped = [m for m in found if m.probe.skip]
        lost = sum(m.brought for m in skipped if m.promoted)
        below = [m for m in found if m.probe.gain is not None and m.probe.gain < 0]
        worse = sum(m.brought for m in below if m.promoted)
        known = [(m.probe.gain, m.brought) for m in found if m.probe.gain is not None]
        spent, paid = (sum(m.seconds[i] for m in found) for i in (0, 1))
        print(
            f"  {len(skipped)} of {len(found)} searches skipped, {sum(m.promoted for m in skipped)} of them would have been "
            f"promoted; mean ROC-AUC lost a month {lost / max(len(found), 1):+.4f}; correlation of what the probe said "
            f"with what came {np.corrcoef(np.array(known).T)[0, 1]:.2f}; the probe took {100 * spent / paid:.0f} % of the "
            f"search's CPU time; skipping wherever it said less than 0: {len(below)} skipped, "
            f"{sum(m.promoted for m in below)} promoted, {worse / max(len(found), 1):+.4f} a month"
        )


if __name__ == "__main__":
    main(sys.argv[1:])

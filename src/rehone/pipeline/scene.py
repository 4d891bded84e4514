"""Hold what the stages of a run hand on to each other, and what only the outside knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from rehone import train
from rehone.config import Config
from rehone.data import Rows
from rehone.pipeline.draft import Draft, Listen
from rehone.pipeline.evidence import Champion
from rehone.pipeline.feeds import Feeds
from rehone.records import Deployment, Profile, RunStatus, Split, TriggerDecision, Verdict
from rehone.runlog import RunLog
from rehone.store import Store

Ending = tuple[RunStatus, str]


@dataclass(frozen=True, kw_only=True)
class Door:
    """What only the outside knows: the clock, who asks, where, who listens, and a lazy frame of the data."""

    as_of: datetime
    clock: Callable[[], datetime]
    run_id: str
    actor: str
    host: str
    pid: int
    git_commit: str | None = None
    force: bool = False
    frame: object | None = None
    listen: Listen = field(default=lambda _: None)


@dataclass
class Scene:
    """What the stages hand on to each other."""

    config: Config
    door: Door
    store: Store
    runlog: RunLog
    draft: Draft
    feeds: Feeds = field(init=False)
    head: Deployment | None = None
    champion: Champion | None = None
    decision: TriggerDecision = field(init=False)
    features: tuple[str, ...] = ()
    rows: pl.DataFrame = field(init=False)
    split: Split = field(init=False)
    population: Profile | None = None
    search: train.Search = field(init=False)
    verdict: Verdict = field(init=False)
    version: str = ""

    @property
    def source(self) -> Rows:
        """The rows that a challenger may learn from."""
        return self.feeds.learn

    @property
    def learned(self) -> pl.DataFrame:
        """The rows older than the holdout."""
        return self.rows.filter(pl.col("__time__") < self.split.holdout.start)

    @property
    def held(self) -> pl.DataFrame:
        """The rows of the holdout, newest of all."""
        return self.rows.filter(pl.col("__time__") >= self.split.holdout.start)

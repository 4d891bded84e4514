"""Say how the pipeline itself does, and let retraining go on after it has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rehone import health as room
from rehone.api.door import When, Where, config_of, moment, now, user
from rehone.config import Config
from rehone.errors import Corrupt, RehoneError
from rehone.health.checks import breaker_check
from rehone.health.counts import OF_ITS_DAY
from rehone.records import Breaker, BreakerReset, Check, Health, RunSummary
from rehone.runlog import RunLog
from rehone.runlog.resets import keep_reset, last_reset
from rehone.runlog.summaries import summaries


def health(project: Where = ".", *, as_of: When = None) -> Health:
    """Say how the pipeline itself does; left out, `as_of` is now, or the newest run's day where that was a replay.

    Raises:
        Corrupt: the ledger cannot be read.
    """
    config = config_of(project)
    return health_of(config, summaries(config), as_of=as_of)


def health_of(config: Config, runs: Sequence[RunSummary], *, as_of: When = None) -> Health:
    """Say the same of runs that are at hand."""
    day = _present(runs) if as_of is None else moment(as_of, config)
    return room.of(runs, config, day, last_reset(config))


def _present(runs: Sequence[RunSummary]) -> datetime:
    """Return now, or the day of the newest run where that lay in the past when it was made."""
    newest = max(runs, key=lambda run: run.started_at, default=None)
    if newest is None or newest.started_at - newest.as_of < OF_ITS_DAY:
        return now()
    return newest.as_of


def breaker(project: Where = ".") -> Breaker:
    """Say whether retraining has stopped after lost challengers in a row.

    Raises:
        Corrupt: the ledger cannot be read.
    """
    return _breaker(config_of(project))


def reset_breaker(project: Where = ".", *, because: str = "", by: str | None = None) -> Breaker:
    """Let retraining go on, and keep who said so and why; challengers lost before then do not count any more.

    Args:
        because: what was found.
        by: who says so; left out: the user of this process.

    Raises:
        RehoneError: no reason is given.
        StoreError: it cannot be written.
    """
    if not because.strip():
        raise RehoneError(
            "say what was found, as in `rehone breaker --reset --because TEXT`: it is kept beside the runs"
        )
    config = config_of(project)
    keep_reset(config, BreakerReset(at=now(), by=by or user(), because=because.strip()))
    return _breaker(config)


def stopped(config: Config) -> tuple[Check, ...]:
    """Return what is to be said of a breaker that has stopped retraining; nothing while it has not.

    A ledger that cannot be read says nothing of it: `RunLog.verify` names it.
    """
    try:
        found = _breaker(config)
    except Corrupt:
        return ()
    return (breaker_check(found),) if found.stopped else ()


def _breaker(config: Config) -> Breaker:
    return room.breaker(RunLog.of(config).lines(), last_reset(config), config.trigger.max_lost_in_a_row)

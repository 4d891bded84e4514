"""Tell the trackers of runs and deployments, after these have ended."""

from __future__ import annotations

import logging
from datetime import datetime

from rehone import observers
from rehone.api.door import When, Where, config_of, moment, now
from rehone.config import Config
from rehone.records import Check, CheckStatus, Delivery, RunRecord
from rehone.runlog import RunLog
from rehone.store import Store, has_store

log = logging.getLogger(__name__)


def tell(project: Where = ".", *, since: When = None) -> tuple[Check, ...]:
    """Tell the trackers of all runs and deployments that they were not told of yet; one check for each tracker.

    Args:
        since: tell of everything from that day on, even of what was over when the tracker was
            configured; left out: of what ended since then.
    """
    config = config_of(project)
    return observers.tell(config, lambda: subjects(config), clock=now, reach=moment(since, config) if since else None)


def deliveries(project: Where, run: str) -> tuple[Delivery, ...]:
    """Return which trackers were told of a run, named by its whole id, and which were not yet."""
    return observers.deliveries(config_of(project), run)


def told(config: Config, record: RunRecord) -> RunRecord:
    """Tell the trackers of a run that has ended, and return its record as it is."""
    observe(config, record.started_at)
    return record


def observe(config: Config, since: datetime) -> None:
    for check in observers.tell(config, lambda: subjects(config), clock=now, since=since):
        if check.status is not CheckStatus.OK:
            log.warning("tracker not told", extra={"because": check.detail})


def subjects(config: Config) -> list[observers.Subject]:
    """Return all that trackers can be told of, oldest first."""
    found = [observers.Subject(line.run_id, line.started_at) for line in RunLog.of(config).lines()]
    if has_store(config):
        found += [observers.Subject(f"{observers.DEPLOYMENT}{d.generation}", d.at) for d in Store.of(config).log()]
    now_told = [listener for listener in observers.OF_NOW if listener in config.listeners]
    if config.deploy.approval == "manual" and now_told:
        waiting = [run for run in RunLog.of(config).unfinished() if run.waits]
        found += [_waiting(run, listener) for run in waiting for listener in now_told]
    return sorted(found, key=lambda subject: subject.at)


def _waiting(run: RunRecord, listener: str) -> observers.Subject:
    asked_at = run.approval.asked_at if run.approval else run.started_at
    return observers.Subject(f"{observers.WAITING}{run.run_id}", asked_at, only=listener)

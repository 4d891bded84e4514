"""Gather what figures of a project are made of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rehone import api
from rehone.api.wellbeing import health_of
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.records import Deployment, Health, RunRecord, RunSummary
from rehone.report import lives
from rehone.runlog import RunLog
from rehone.runlog.summaries import summaries
from rehone.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of one project: its runs, oldest first, its health, what is live and what that was made from.

    `since` is when the live version was put there, `live_as_of` the day that it knows the data up to;
    `looked` is the whole record of the newest run that measured drift.
    """

    config: Config
    runs: Sequence[RunSummary]
    health: Health
    head: Deployment | None = None
    since: datetime | None = None
    live_as_of: datetime | None = None
    looked: RunRecord | None = None


def known(config: Config) -> Known:
    """Read what is known of a project; no data are read.

    Raises:
        RehoneError: the ledger or the deployment log cannot be read.
    """
    runs = summaries(config)
    deployments = api.deployments(config)
    head = deployments[-1] if deployments else None
    return Known(
        config=config,
        runs=runs,
        health=health_of(config, runs),
        head=head,
        since=lives.put_there(deployments, head).at if head and head.version else None,
        live_as_of=_live_as_of(config, head),
        looked=_looked(config, runs),
    )


def _live_as_of(config: Config, head: Deployment | None) -> datetime | None:
    """Return the day up to which the live version knows the data; None where nothing is live, or it is damaged."""
    if head is None or head.version is None:
        return None
    try:
        return Store.of(config).version(head.version).manifest.as_of
    except RehoneError as error:
        log.warning("figures without the age of the live version", extra={"because": str(error)})
        return None


def _looked(config: Config, runs: Sequence[RunSummary]) -> RunRecord | None:
    """Read the newest run that measured drift; None where there is none, or it cannot be read."""
    newest = next((run for run in reversed(runs) if run.worst_psi is not None), None)
    if newest is None:
        return None
    try:
        return RunLog.of(config).find(newest.run_id)
    except (RehoneError, OSError, ValueError) as error:
        log.warning("figures without the drift of a run", extra={"run_id": newest.run_id, "because": str(error)})
        return None

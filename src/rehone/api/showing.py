"""Gather what the story of one run is told from."""

from __future__ import annotations

from rehone.api.door import Where, config_of
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.records import Deployment, RunRecord
from rehone.report.told import Told, around
from rehone.runlog import RunLog
from rehone.store import Store, has_store


def told(project: Where, record: RunRecord) -> Told:
    """Gather what stands beside the record of a run; what cannot be read is left out, the record is there."""
    config = config_of(project)
    runlog = RunLog.of(config)
    before = _before(runlog, record)
    return Told(
        record=record,
        figures=runlog.figures(record),
        before=before,
        before_id=before.run_id if before else None,
        deployments=around(_log(config), record.run_id),
    )


def _before(runlog: RunLog, record: RunRecord) -> RunRecord | None:
    """Return the run that began before another."""
    try:
        began = [(line.started_at, line.run_id) for line in runlog.lines()]
        began += [(run.started_at, run.run_id) for run in runlog.unfinished([])]
        newest = max((run for run in began if run < (record.started_at, record.run_id)), default=None)
        return runlog.find(newest[1]) if newest else None
    except RehoneError:  # a ledger or a record that is damaged: `rehone doctor` says so
        return None


def _log(config: Config) -> tuple[Deployment, ...]:
    try:
        return Store.of(config).log() if has_store(config) else ()
    except RehoneError:  # as above
        return ()

"""Tell what was live at a date, or why a version was."""

from __future__ import annotations

import logging
import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rehone.api.door import Where, config_of, lost_store, moment, now
from rehone.api.standing import deployments
from rehone.config import Config
from rehone.errors import NotFound, RehoneError
from rehone.records import RunRecord, Why
from rehone.runlog import RunLog
from rehone.runlog.summaries import summaries
from rehone.store import Store, has_store

if TYPE_CHECKING:
    from rehone.report.why import Asked, Past

log = logging.getLogger(__name__)

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_VERSION = re.compile(r"[0-9a-f]{1,64}")


def why(project: Where, asked: str) -> Why:
    """Tell what was live at a date, or why a version was, and why, in at most ten lines.

    Args:
        asked: a day in `data.timezone`, of which the end counts; a moment; or the id of a version or its beginning.

    Raises:
        NotFound: it is neither a date nor the unique beginning of a version; or the store is gone.
        Corrupt: the ledger or the deployment log cannot be read.
    """
    from rehone.report.why import Past, of_version, on

    config = config_of(project)
    runlog = RunLog.of(config)
    if (lost := lost_store(config, runlog)) is not None:
        raise NotFound(lost.sentence)
    past = Past(
        deployments=deployments(config),
        runs=summaries(config),
        record=lambda run_id: _record(runlog, run_id),
        zone=ZoneInfo(config.data.timezone),
        now=now(),
    )
    if (version := _version(config, past, asked)) is not None:
        return of_version(asked, version, past)
    return on(_asked(config, asked), past)


def _record(runlog: RunLog, run_id: str) -> RunRecord | None:
    try:
        return runlog.find(run_id)
    except (RehoneError, OSError, ValueError) as error:  # a check that was changed to a number that is none
        log.info("a record cannot be read", extra={"run_id": run_id, "because": str(error)})
        return None


def _version(config: Config, past: Past, asked: str) -> str | None:
    """Return the version that begins so, also one that was removed since; None where a date was asked for."""
    wanted = asked.strip().lower()
    if not _VERSION.fullmatch(wanted):
        return None
    known = {record.version for record in past.deployments} | {run.version for run in past.runs}
    if has_store(config):
        known |= {version.id for version in Store.of(config).versions()}
    found = sorted(version for version in known if version is not None and version.startswith(wanted))
    if len(found) > 1:
        raise NotFound(f"{len(found)} versions begin with {wanted}: write more of it, as {found[0][:12]}")
    if not found:
        raise NotFound(
            f"no version begins with {wanted}, and it is no date: `rehone history` lists versions, a date is "
            "written as 2026-08-31 or 2026-08-31T14:00"
        )
    return found[0]


def _asked(config: Config, asked: str) -> Asked:
    """Read a day or a moment in the zone of the data."""
    from rehone.report.why import Asked

    text = asked.strip()
    try:
        if not _DAY.fullmatch(text):
            datetime.fromisoformat(text)
            return Asked(text=text, moment=moment(text, config))
        day = date.fromisoformat(text)
    except ValueError:
        raise NotFound(
            f"{text!r} is neither a date nor a version: write a date as 2026-08-31 or 2026-08-31T14:00, a version as "
            "`rehone history` lists it"
        ) from None
    ends = moment(day + timedelta(days=1), config) - timedelta(microseconds=1)
    return Asked(text=text, moment=ends, begins=moment(day, config))

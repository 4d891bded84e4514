"""Say how a run ends that nobody goes on with, and until when one may rest."""

from __future__ import annotations

from datetime import datetime

from rehone.records import RunRecord, RunStatus, short_id


def open_until(record: RunRecord) -> datetime | None:
    """Return until when a record may stay open without a process."""
    return record.staged_until if record.approval is None else record.approval.until


def ended(record: RunRecord) -> tuple[RunStatus, str]:
    """Say how a run ends that nobody goes on with."""
    approval, last = record.approval, record.stages[-1].name if record.stages else "its first stage"
    if record.waits and approval is not None:
        until = f"{approval.until:%Y-%m-%d %H:%M} UTC"
        return RunStatus.INCONCLUSIVE, (
            f"nobody approved or rejected version {short_id(record.version)} until {until}; closed by the next run"
        )
    said = f"killed: process {record.pid} on {record.host} ended before the run did"
    if approval is not None:
        said = f"approved by {approval.by}, but that was interrupted and not gone on with until {approval.until:%Y-%m-%d %H:%M} UTC"
    elif record.staged_until is not None:
        said = f"left alone: nobody made its next stage until {record.staged_until:%Y-%m-%d %H:%M:%S} UTC"
    return RunStatus.FAILED, f"{said} (after {last}); closed by the next run"

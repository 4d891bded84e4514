"""Write the commands that make a run again."""

from __future__ import annotations

import shlex
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

from rehone.records import RunRecord, TriggerKind

REPEATED = (
    "Files, configuration and live version being the same, it learns from the same rows; but every run before it, "
    "this one too, counts towards the cooldown, the budget of trainings and the uses of the holdout."
)
REPLAYED = (
    "Decides it again from what it recorded, and judges it again while what its gate was given is kept; "
    "reads no data, trains nothing, and compares byte for byte."
)


def repeat(record: RunRecord, project: str = ".") -> str:
    """Write the command that repeats a run while its files are there."""
    forced = (record.evidence is not None and record.evidence.forced) or (
        record.trigger is not None and record.trigger.kind is TriggerKind.FORCED
    )
    return f"rehone run --as-of {_as_of(record)}{' --force' if forced else ''}{option(project)}"


def replay(record: RunRecord, project: str = ".") -> str | None:
    """Write the command that proves what a run decided; None while it has not ended, or decided nothing."""
    if record.status is None or record.trigger is None:
        return None
    return f"rehone replay {record.run_id}{option(project)}"


def option(project: str) -> str:
    """Write the option that names the project, as it was given; nothing for the present folder."""
    return "" if Path(project) == Path() else f" -p {shlex.quote(project)}"


def _as_of(record: RunRecord) -> str:
    data = record.config.get("data", {})
    there = record.as_of.astimezone(ZoneInfo(data.get("timezone", "UTC")))
    if (there.hour, there.minute, there.second, there.microsecond) == (0, 0, 0, 0):
        return f"{there:%Y-%m-%d}"
    return there.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""Hold all that pages are made of; nothing in this room asks for more than a book has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rehone.records import (
    Check,
    Deployment,
    Figures,
    Health,
    ProjectStatus,
    RunRecord,
    RunSummary,
    TrackRecord,
)


@dataclass(frozen=True, kw_only=True)
class Book:
    """What is known of one project when its pages are made.

    `summaries` are all runs, oldest first, open ones last; `recent` are whole records of the newest ones, oldest
    first, and `figures` are theirs by run id. `deployments` is the whole log. `ahead` says in one sentence what the
    next run will do. `notes` say what could not be read.
    """

    project: str
    made_at: datetime
    status: ProjectStatus
    health: Health
    summaries: Sequence[RunSummary]
    deployments: Sequence[Deployment] = ()
    recent: Sequence[RunRecord] = ()
    figures: Mapping[str, Figures] = field(default_factory=dict)
    track: TrackRecord | None = None
    checks: Sequence[Check] = ()
    ahead: str = ""
    notes: Sequence[str] = ()

    def record(self, run_id: str) -> RunRecord | None:
        """Return the whole record of a run, if this book has it."""
        return next((r for r in self.recent if r.run_id == run_id), None)

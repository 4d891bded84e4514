"""Answer a challenger that waits for a person."""

from __future__ import annotations

from collections.abc import Callable

from rehone.api.door import Where
from rehone.records import Event, RunRecord


def approve(
    project: Where, run: str, *, because: str = "", by: str | None = None, listen: Callable[[Event], None] | None = None
) -> RunRecord:
    """Let the challenger of a run that waits go live, and return the record of the run."""
    raise NotImplementedError


def reject(project: Where, run: str, *, because: str, by: str | None = None) -> RunRecord:
    """Refuse the challenger of a run that waits, and return the record of the run."""
    raise NotImplementedError

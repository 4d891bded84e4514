"""State what a run put live, between what was live before and what came after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rehone.records import Deployment, short_id
from rehone.report.wording import moment


def deployed(made: Deployment) -> str:
    """Say what one record of the deployment log did."""
    return f"generation {made.generation}: {made.action} of {_served(made)}, {made.state}"


def timeline(found: Sequence[Deployment], run_id: str) -> Iterator[tuple[str, str]]:
    """State each record of a run's part of the deployment log, oldest first."""
    own = [made.generation for made in found if made.run_id == run_id]
    for made in found:
        place = "this run"
        if made.run_id != run_id:
            place = "before" if made.generation < own[0] else "after"
        by = f"run {made.run_id}" if made.run_id and made.run_id != run_id else made.actor
        yield place, f"{deployed(made)}, at {moment(made.at)} by {by}{f': {made.reason}' if made.reason else ''}"


def _served(made: Deployment) -> str:
    return short_id(made.version) if made.version else "nothing"

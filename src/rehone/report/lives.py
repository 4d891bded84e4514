"""Lay the deployment log out in time: which version was live from when until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rehone.records import Deployment, DeploymentAction, DeploymentState

REPLAYED = timedelta(days=2)
"""How long after the day that it is of a run may start and still be of the present, not a replay of the past."""


@dataclass(frozen=True, kw_only=True)
class Stay:
    """A time in which one version was live without a break, or nothing was (`version` is None).

    `until` is None while it lasts; `left` is the record that ended it. `trials` came and were rolled back
    meanwhile. `replayed`: `since` is the day that the run was made of, not the hour at which it was made.
    """

    version: str | None
    entered: Deployment
    since: datetime
    until: datetime | None = None
    left: Deployment | None = None
    confirmed: bool = False
    replayed: bool = False
    trials: tuple[Stay, ...] = ()

    def holds(self, moment: datetime) -> bool:
        """Say whether this was so at a moment."""
        return self.since <= moment and (self.until is None or moment < self.until)

    def touches(self, start: datetime, end: datetime) -> bool:
        """Say whether this was so at some time from `start` to `end`, or only began and ended then."""
        return self.since <= end and (self.until is None or self.until > start or self.since >= start)


def is_replay(as_of: datetime | None, began: datetime) -> bool:
    """Say whether a run that began then was a replay of the past: then its days are those that it is of."""
    return as_of is not None and began - as_of > REPLAYED


def stays(log: Sequence[Deployment], began: Mapping[str, datetime]) -> tuple[Stay, ...]:
    """Return what was live, oldest first; a trial that was rolled back stands within the stay that it broke.

    `began` is when each run began, by its id.
    """
    found: list[Stay] = []
    for record, moment in zip(log, _moments(log, began), strict=True):
        if found and found[-1].version == record.version:
            confirmed = found[-1].confirmed or record.state is DeploymentState.CONFIRMED
            found[-1] = replace(found[-1], confirmed=confirmed)
            continue
        if found:
            found[-1] = replace(found[-1], until=moment, left=record)
        _enter(found, record, moment)
    return tuple(found)


def _enter(found: list[Stay], record: Deployment, moment: datetime) -> None:
    """Begin a stay, or go on with the one before the last, where that was a trial which is rolled back."""
    back = record.action is DeploymentAction.ROLLBACK and len(found) > 1 and not found[-1].confirmed
    if back and found[-2].version == record.version:
        trial = found.pop()
        found[-1] = replace(found[-1], until=None, left=None, trials=(*found[-1].trials, trial))
        return
    found.append(
        Stay(
            version=record.version,
            entered=record,
            since=moment,
            confirmed=record.state is DeploymentState.CONFIRMED,
            replayed=moment != record.at,
        )
    )


def put_there(log: Sequence[Deployment], head: Deployment) -> Deployment:
    """Return the record that put there what is live: neither its confirmation nor the end of a trial meanwhile."""
    found = stays(log, {})
    return found[-1].entered if found and found[-1].version == head.version else head


def every(found: Sequence[Stay]) -> tuple[Stay, ...]:
    """Return stays and the trials within them, by when they began."""
    return tuple(sorted((one for stay in found for one in (stay, *stay.trials)), key=lambda one: one.since))


def at(found: Sequence[Stay], moment: datetime) -> Stay | None:
    """Return what was live at a moment; None before the first deployment."""
    holding = [one for one in every(found) if one.holds(moment)]
    return holding[-1] if holding else None


def _moments(log: Sequence[Deployment], began: Mapping[str, datetime]) -> list[datetime]:
    """Return when each record took effect, none before the one that it follows.

    What a person does between two replayed runs has no day of its own, and counts as before the later one.
    """
    own = [_moment(record, began) for record in log]
    found: list[datetime] = []
    for place, record in enumerate(log):
        moment, between = own[place], 0 < place < len(log) - 1
        if record.as_of is None and between and own[place - 1] != log[place - 1].at:
            moment = min(moment, own[place + 1])
        found.append(max(moment, found[-1]) if found else moment)
    return found


def _moment(record: Deployment, began: Mapping[str, datetime]) -> datetime:
    """Return when a record was written, or of a replay the day that it is of; a run that is unknown began then."""
    start = began.get(record.run_id, record.at) if record.run_id else record.at
    return record.as_of if record.as_of is not None and is_replay(record.as_of, start) else record.at

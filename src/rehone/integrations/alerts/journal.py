"""Keep what became of each alert, beside the run records.

    runs/alerts/<kept at>-<key>-<subject>.waiting.json   not sent to every address yet, and why
    runs/alerts/<kept at>-<key>-<subject>.sent.json      sent, to which addresses and when
    runs/alerts/<kept at>-<key>-<subject>.left.json      left out: the same trouble was told of before, or is anew

`key` and `subject` (the run or the deployment that gave the alert) stand there as digests. The state stands in the
name, so that one listing says what waits. Whoever writes holds the lock of the deliveries of alerts; a sign of life
that was missed is written beside them, under a name of its own. An address is named by its kind and its place in the
configuration: what is secret in it never comes here.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from rehone import codec
from rehone.config import Config
from rehone.errors import Corrupt
from rehone.objects import disk_for
from rehone.records import Alert

FOLDER = "alerts"
MOST_KEPT = 2_000
"""Alerts that are settled and kept; of more, the oldest go."""
_LOOKED_AT = 20
"""Newest alerts of one trouble among which the last one that was sent is looked for."""

log = logging.getLogger(__name__)


class State(StrEnum):
    """What became of an alert."""

    WAITING = "waiting"
    SENT = "sent"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The address that took an alert, and when."""

    address: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An alert and what became of it.

    `id` stays the same however often it is sent, so that a receiver can tell a repetition. `subject` gave the
    alert: a run or a deployment. `sent_at` is when the last address took it. `held` says why it is not sent although
    nothing is wrong, `error` what went wrong at the last try.
    """

    id: str
    alert: Alert
    subject: str
    kept_at: datetime
    state: State = State.WAITING
    attempts: int = 0
    sent: tuple[Sent, ...] = ()
    sent_at: datetime | None = None
    held: str = ""
    error: str = ""


class Journal:
    """The alerts of one project, each in a file; one journal reads the folder's names once."""

    def __init__(self, config: Config) -> None:
        self.root = config.runs_path / FOLDER
        self._disk = disk_for(config.runs_path, config.storage)
        self._states: dict[str, State] = {}
        for name in self._disk.names(self.root):
            stem, _, state = name.removesuffix(".json").rpartition(".")
            if name.endswith(".json") and state in tuple(State) and not name.startswith("."):
                self._states[stem] = max(State(state), self._states.get(stem, State.WAITING), key=_finality)

    def find(self, subject: str, key: str) -> Notice | None:
        """Return what became of the alert that a subject gave for a trouble, or `None` when it gave none."""
        ending = f"-{_digest(key)}-{_digest(subject)}"
        return next((notice for notice in self._read(s for s in self._states if s.endswith(ending))), None)

    def keep(self, alert: Alert, subject: str, now: datetime) -> Notice:
        """Write down a new alert that is to be sent."""
        return self.note(_notice(alert, subject, now))

    def miss(self, alert: Alert, subject: str, now: datetime, why: str) -> Notice:
        """Write down what was tried once and is not sent any more, unless it was before."""
        found = self.find(subject, alert.key)
        return found or self.note(replace(_notice(alert, subject, now), state=State.LEFT, attempts=1, error=why))

    def note(self, notice: Notice) -> Notice:
        """Write down how an alert stands now, and return it."""
        stem = notice.id.removeprefix("msg_")
        before = self._states.get(stem)
        self._disk.make_folder(self.root)
        self._disk.replace(self.root / f"{stem}.{notice.state}.json", codec.encode(notice))
        self._states[stem] = notice.state
        if before not in (None, notice.state):
            self._disk.unlink(self.root / f"{stem}.{before}.json")
        return notice

    def waiting(self) -> tuple[Notice, ...]:
        """Return what is to be sent still, oldest first."""
        return tuple(self._read(s for s in sorted(self._states) if self._states[s] is State.WAITING))

    def of_key(self, key: str, since: datetime) -> tuple[Notice, ...]:
        """Return what was sent or waits of one trouble, newest first, as far as an address took it since then."""
        inner = f"-{_digest(key)}-"
        named = (s for s in sorted(self._states, reverse=True) if inner in s and self._states[s] is not State.LEFT)
        newest = self._read(itertools.islice(named, _LOOKED_AT))
        return tuple(n for n in newest if n.alert.key == key and any(s.at >= since for s in n.sent))

    def newest(self, limit: int) -> tuple[Notice, ...]:
        """Return the newest alerts, oldest of them first."""
        return tuple(self._read(sorted(self._states)[-limit:]))

    def since(self, before: Journal) -> tuple[Notice, ...]:
        """Return what waited in an earlier reading of this journal, and what was kept after it."""
        return tuple(self._read(s for s in sorted(self._states) if before._states.get(s) in (None, State.WAITING)))

    def prune(self) -> None:
        """Remove the oldest of what is settled beyond `MOST_KEPT`."""
        settled = [s for s in sorted(self._states) if self._states[s] is not State.WAITING]
        for stem in settled[: max(0, len(settled) - MOST_KEPT)]:
            self._disk.unlink(self.root / f"{stem}.{self._states.pop(stem)}.json")

    def _read(self, stems: Iterator[str] | list[str]) -> Iterator[Notice]:
        for stem in stems:
            path = self.root / f"{stem}.{self._states[stem]}.json"
            try:
                yield codec.decode(self._disk.read(path), Notice, source=str(path))
            except (Corrupt, FileNotFoundError) as error:
                log.warning("an alert cannot be read", extra={"because": str(error)})


def _notice(alert: Alert, subject: str, now: datetime) -> Notice:
    stem = f"{now:%Y%m%dT%H%M%S%fZ}-{_digest(alert.key)}-{_digest(subject)}"
    return Notice(id=f"msg_{stem}", alert=alert, subject=subject, kept_at=now)


def left_out(notice: Notice, why: str) -> Notice:
    """Return an alert that is not sent any further; where an address took it already, it counts as sent."""
    if notice.sent:
        return replace(notice, state=State.SENT, sent_at=max(s.at for s in notice.sent), held=why, error="")
    return replace(notice, state=State.LEFT, held=why, error="")


def _finality(state: State) -> int:
    return (State.WAITING, State.LEFT, State.SENT).index(state)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]

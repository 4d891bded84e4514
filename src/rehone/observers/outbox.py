"""Keep what one tracker was told, and what it could not be told yet, beside the run records.

    runs/deliveries/<tracker>/since.json            this tracker is told of what is newer than this
    runs/deliveries/<tracker>/<subject>.open.json   not delivered: how often it was tried, and why it failed
    runs/deliveries/<tracker>/<subject>.told.json   delivered, with the link
    runs/deliveries/<tracker>/<subject>.missed.json never delivered, nor later: that would not be true any more

A closed run record is chained by its digest and never written again, so these are files of their
own. The state stands in the name: one listing says what is open, however many runs there were.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from rehone import codec
from rehone.config import Config
from rehone.disk import Disk
from rehone.errors import Corrupt
from rehone.objects import disk_for
from rehone.places import Place
from rehone.records import Delivery

FOLDER = "deliveries"
DEPLOYMENT = "deployment-"
"""What the name of a subject begins with when it is a record of the deployment log; then comes its generation."""
WAITING = "waiting-"
"""What the name of a subject begins with when it is a run that waits for a person; then comes its id."""
_OPEN, _TOLD, _MISSED, _SINCE = ".open.json", ".told.json", ".missed.json", "since.json"
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Since:
    since: datetime


class Outbox:
    """The deliveries to one tracker, in the folder of a project's run records."""

    def __init__(self, runs: Place, tracker: str, *, disk: Disk | None = None) -> None:
        self.tracker = tracker
        self.root = runs / FOLDER / tracker
        self._disk = disk or Disk()

    @classmethod
    def of(cls, config: Config, tracker: str) -> Outbox:
        """Return the deliveries of a project to one tracker, wherever its run records lie."""
        return cls(config.runs_path, tracker, disk=disk_for(config.runs_path, config.storage))

    def begin(self, since: datetime) -> datetime:
        """Return from when on this tracker is told: from the earliest run or deployment that told it."""
        found = self.since()
        return found if found is not None and found <= since else self.reach(since)

    def since(self) -> datetime | None:
        """Return from when on this tracker is told, or `None` when it never was told of anything."""
        path = self.root / _SINCE
        try:
            return codec.decode(self._disk.read(path), _Since, source=str(path)).since
        except (FileNotFoundError, Corrupt):
            return None

    def reach(self, since: datetime) -> datetime:
        """From now on tell of everything newer than `since`."""
        self._write(_SINCE, codec.encode(_Since(since)))
        return since

    def known(self) -> frozenset[str]:
        """Return the subjects that are noted here, delivered or not."""
        names = self._disk.names(self.root)
        return frozenset(n.removesuffix(s) for s in (_OPEN, _TOLD, _MISSED) for n in names if n.endswith(s))

    def add(self, subjects: Iterable[str]) -> None:
        """Note subjects that are to be delivered."""
        for subject in subjects:
            self.note(Delivery(tracker=self.tracker, subject=subject, error="not tried yet"))

    def note(self, delivery: Delivery) -> None:
        """Write down how a delivery stands; one that was made, or missed, stays so."""
        state = _TOLD if delivery.delivered_at is not None else _MISSED if delivery.missed else _OPEN
        self._write(f"{delivery.subject}{state}", codec.encode(delivery))
        if state != _OPEN:
            self._disk.unlink(self.root / f"{delivery.subject}{_OPEN}")

    def find(self, subject: str) -> Delivery | None:
        """Return how the delivery of a subject stands, or `None` when it was never meant to be told."""
        for ending in (_TOLD, _MISSED, _OPEN):
            path = self.root / f"{subject}{ending}"
            with contextlib.suppress(FileNotFoundError):
                return codec.decode(self._disk.read(path), Delivery, source=str(path))
        return None

    def count(self) -> int:
        """Return how many subjects were delivered."""
        return sum(name.endswith(_TOLD) for name in self._disk.names(self.root))

    def pending(self) -> tuple[Delivery, ...]:
        """Return what is not delivered yet, by name of the subject; a damaged note is a fresh one."""
        names = self._disk.names(self.root)
        settled = {name.removesuffix(s) for s in (_TOLD, _MISSED) for name in names if name.endswith(s)}
        waiting = (name.removesuffix(_OPEN) for name in names if name.endswith(_OPEN))
        return tuple(self._open(subject) for subject in sorted(waiting) if subject not in settled)

    def missed(self) -> Delivery | None:
        """Return the delivery of the newest run, if that was missed."""
        runs = [name for name in self._disk.names(self.root) if name.endswith((_TOLD, _MISSED)) and _run_in(name)]
        newest = max(runs, key=lambda name: (_run_in(name), name), default="")
        return self._open(newest.removesuffix(_MISSED)) if newest.endswith(_MISSED) else None

    def _open(self, subject: str) -> Delivery:
        try:
            return self.find(subject) or Delivery(tracker=self.tracker, subject=subject)
        except Corrupt as error:
            return Delivery(tracker=self.tracker, subject=subject, error=str(error))

    @contextlib.contextmanager
    def lock(self, seconds: float) -> Iterator[bool]:
        """Keep others from telling this tracker meanwhile; gives False when somebody else does so for `seconds`."""
        self._disk.make_folder(self.root)
        handle, tries = None, max(1, round(seconds / _POLL_SECONDS))
        for turn in range(tries):
            handle = self._disk.lock_file(self.root / ".lock")
            if handle is not None or turn == tries - 1:
                break
            time.sleep(_POLL_SECONDS)
        try:
            yield handle is not None
        finally:
            if handle is not None:
                self._disk.release(handle)

    def _write(self, name: str, data: bytes) -> None:
        self._disk.make_folder(self.root)
        self._disk.replace(self.root / name, data)


def _run_in(name: str) -> str:
    """Return the id of the run that the name of a note is of, which begins with when it started; "" of a deployment."""
    subject = name.partition(".")[0].removeprefix(WAITING)
    return subject if subject[:1].isdigit() else ""

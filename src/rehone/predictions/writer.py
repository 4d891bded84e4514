"""Write predictions behind the service's back: adding one costs microseconds and never fails.

One thread adds, another writes; each counts what it did in numbers that only it changes, so
neither waits for the other.
"""

from __future__ import annotations

import errno
import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

import polars as pl

from rehone.columns import DAMAGED
from rehone.config import Predictions
from rehone.disk import Disk
from rehone.errors import Unreachable
from rehone.places import Place
from rehone.predictions.compaction import FAN
from rehone.predictions.entry import Entry, frame_of, logged_features
from rehone.predictions.layout import TOGETHER
from rehone.predictions.shelf import Shelf
from rehone.predictions.target import target_of

log = logging.getLogger(__name__)

CHUNK_ROWS: Final = 20_000
"""So many rows, or one request, are turned into columns at a time."""

MOST_BYTES: Final = 256 * 2**20
"""Bytes of requests that may wait, however few rows they have: one row may bring megabytes of text."""

LOOK_SECONDS: Final = 0.2
"""How often the writer looks whether it is time to flush, or to stop."""

LONGEST_PAUSE: Final = 60.0
SWEEP_SECONDS: Final = 3600.0

ANYTHING: Final = (Exception, pl.exceptions.PanicException)
"""Every fault of this program or of Polars, and not the end of the process."""

_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
_DAY_NS: Final = 86_400 * 10**9

_Group: TypeAlias = tuple[Place, pl.DataFrame, int, int]
"""Folder, rows to write, and how many rows and bytes were added for them; some rows may not have been drawn."""


class Writer:
    """The log of one service process.

    Rows wait in memory, at most `policy.max_waiting_rows` of at most `MOST_BYTES`, until the thread that runs `follow`
    writes them; what comes beyond is dropped and counted. A disk that fails loses nothing until
    then: rows stay, `trouble` says why, and they are written when the disk is well again.

    Args:
        folder: Root of the log; made when `follow` begins, and not again if it vanishes later. Or a
            shelf of an object store.
        policy: What is written, how often, and how long it is kept.
        name: Letters, digits and `_`; unlike the name of any other writer of the folder, ever.
        clock: Tells the time for deleting old files; the time of a row is in its entry.
        disk: What files are changed through.

    Raises:
        ValueError: the name cannot be part of a file's name.
    """

    def __init__(
        self,
        folder: Path | Shelf,
        policy: Predictions,
        *,
        name: str,
        clock: Callable[[], datetime],
        disk: Disk | None = None,
    ) -> None:
        if not _NAME.fullmatch(name) or name.startswith(TOGETHER):
            raise ValueError(f"{name!r} cannot name a writer: use letters, digits and _, not beginning with {TOGETHER}")
        self.folder = folder
        self.written = 0
        self.trouble: str | None = None
        self._policy = policy
        self._name = name
        self._target = target_of(folder, name, disk or Disk())
        self._upkeep = self._target.upkeep(policy.keep_days, clock)
        self._queue: deque[Entry] = deque()
        self._most = policy.max_waiting_rows
        self._added = self._refused = 0  # changed by the adding thread alone
        self._settled = self._unreadable = 0  # changed by the writing thread alone
        self._added_bytes = self._settled_bytes = 0  # as the rows
        self._groups: deque[_Group] = deque()
        self._next: dict[Place, int] = {}
        self._pause = self._until_flush = policy.flush_seconds
        self._until_sweep = 0.0
        self._chores: Iterator[None] = iter(())
        self._told = 0

    @property
    def waiting(self) -> int:
        """Rows that were added and are neither written nor dropped yet."""
        return self._added - self._settled

    @property
    def dropped(self) -> int:
        """Rows that are lost: they came while too many waited, or were not what rows should be."""
        return self._refused + self._unreadable

    def add(self, entry: Entry) -> None:
        """Take the rows of one request, or drop all of them if too many would wait."""
        rows = len(entry.ids)
        waiting = self._added_bytes - self._settled_bytes
        if self._added - self._settled + rows > self._most or (waiting and waiting + entry.size > MOST_BYTES):
            self._refused += rows
        else:
            self._added += rows
            self._added_bytes += entry.size
            self._queue.append(entry)

    def follow(self, stop: threading.Event) -> None:
        """Write what is added until `stop` is set, and then what still waits."""
        seconds = min(LOOK_SECONDS, self._policy.flush_seconds)
        while not stop.wait(seconds):
            self._guarded(lambda: self._look(seconds))
        self._guarded(self._flush)
        self._chores = iter(())
        if self.waiting:
            log.error("predictions lost", extra={"rows": self.waiting, "because": self.trouble})

    def _guarded(self, act: Callable[[], None]) -> None:
        """Act; whatever goes wrong is told in `trouble`, and the next look comes: a log that ends says nothing."""
        try:
            act()
        except ANYTHING as error:
            self._fail(error)

    # --- one look -------------------------------------------------------------------------------

    def _look(self, seconds: float) -> None:
        self._until_flush -= seconds
        self._until_sweep -= seconds
        if self._until_flush <= 0 or (self.trouble is None and self._has_plenty):
            self._flush()
        if self._until_sweep <= 0 and self._target.is_there:
            self._until_sweep = SWEEP_SECONDS
            self._chores = self._upkeep.sweep()
        self._keep_up("sweep", lambda: next(self._chores, None))

    @property
    def _has_plenty(self) -> bool:
        """Whether so much waits that it is written before it is time."""
        rows = min(CHUNK_ROWS, max(1, self._most // 2))
        return self.waiting >= rows or self._added_bytes - self._settled_bytes >= MOST_BYTES // 8

    def _flush(self) -> None:
        """Write what waits at this moment; after a failure the next attempt comes later and later."""
        try:
            self._target.prepare()
            until = self._added
            while self._settled < until:
                if not self._groups:
                    self._turn()
                while self._groups:
                    self._write(*self._groups[0])
        except ANYTHING as error:  # the log may not end the service, nor itself: it is told in `trouble`
            self._fail(error)
        else:
            self._recover()
        self._tell_dropped()

    def _turn(self) -> None:
        """Turn the next entries into the frames of one file each."""
        groups: dict[tuple[int, str, int, tuple[str, ...]], list[Entry]] = {}
        rows = 0
        while self._queue and (not rows or rows + len(self._queue[0].ids) <= CHUNK_ROWS):
            entry = self._queue.popleft()
            rows += len(entry.ids)
            key = (entry.at_ns // _DAY_NS, entry.version, id(entry.contract), entry.names)
            groups.setdefault(key, []).append(entry)
        for (day, *_), entries in groups.items():
            self._groups.extend(self._frames(day, entries))

    def _frames(self, day: int, entries: Sequence[Entry]) -> list[_Group]:
        """Return the rows of entries as one frame; if that fails, each alone, without those that fail."""
        features = logged_features(entries[0].contract, self._policy.columns)
        rows, size = sum(len(entry.ids) for entry in entries), sum(entry.size for entry in entries)
        try:
            folder = self._target.folder(day, entries[0].version)
            return [(folder, frame_of(entries, features, self._policy.share), rows, size)]
        except ANYTHING as error:
            if len(entries) > 1:
                return [group for entry in entries for group in self._frames(day, [entry])]
            # whatever is wrong with one request, the others are to be written
            log.exception("prediction cannot be written", extra={"rows": rows, "because": str(error)})
            self._unreadable += rows
            self._settled += rows
            self._settled_bytes += size
            return []

    def _write(self, folder: Place, frame: pl.DataFrame, rows: int, size: int) -> None:
        """Write the first frame that waits as the next segment of its folder.

        A failure after the file got its name repeats the same rows under the same name.
        """
        if frame.height:
            if folder not in self._next:
                self._next[folder] = self._target.next_segment(folder)
            self._target.put(folder, self._next[folder], frame)
            self._next[folder] += 1
        self._groups.popleft()
        self._settled += rows
        self._settled_bytes += size
        self.written += frame.height
        if frame.height and self._next[folder] % FAN == 0:
            self._keep_up("merge", lambda: self._upkeep.tier(folder))

    def _keep_up(self, what: str, act: Callable[[], object]) -> None:
        """Merge or sweep; what fails leaves every row where it is, and is tried again later."""
        try:
            act()
        except (OSError, *DAMAGED) as error:
            log.warning("prediction log upkeep failed", extra={"what": what, "because": str(error)})
            self._chores = iter(())

    # --- what is told -----------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        self._until_flush = self._pause
        if self.trouble is None:
            if isinstance(error, (OSError, *DAMAGED)):
                log.error("predictions cannot be written", extra={"because": str(error)})
            else:
                log.error("predictions cannot be written", exc_info=error)
        self.trouble = _sentence(self.folder, error)

    def _recover(self) -> None:
        self._pause = self._until_flush = self._policy.flush_seconds
        if self.trouble is not None:
            log.info("predictions are written again", extra={"rows": self.written})
            self.trouble = None

    def _tell_dropped(self) -> None:
        if self.dropped > self._told:
            log.warning("predictions dropped", extra={"rows": self.dropped - self._told, "waiting": self.waiting})
            self._told = self.dropped


def _sentence(folder: Path | Shelf, error: BaseException) -> str:
    if isinstance(error, Unreachable):
        return f"predictions cannot be written: {error}; they wait in memory until then"
    code = error.errno if isinstance(error, OSError) else None
    reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
    remedy = _REMEDIES.get(code or 0, "see that files can be written there")
    return f"predictions cannot be written to {folder} ({reason}): {remedy}; they wait in memory until then"


_REMEDIES: Final = {
    errno.ENOSPC: "free some space, or lower predictions.keep_days",
    errno.EDQUOT: "free some space, or lower predictions.keep_days",
    errno.EACCES: "let the user of the service write there",
    errno.EPERM: "let the user of the service write there",
    errno.EROFS: "mount it so that it can be written to",
    errno.ENOENT: "bring the folder back, or start the service anew to make it",
    errno.ENOTDIR: "move the file away that stands in the place of a folder",
}

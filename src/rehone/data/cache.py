"""Remember digests, times and counts of files that have not changed; may be deleted at any time.

A file is the same while its path, size, modification time and inode are; an object, while its
address, size, time and tag are. Every cache file
starts with the digest of what follows: one that was cut short or changed is left aside and
made again. A cache that cannot be written only costs time, never the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from rehone.codec import decode, encode
from rehone.data.files import FileInfo
from rehone.disk import Disk
from rehone.errors import Corrupt
from rehone.records import Counts

FORMAT = 1
_KEPT_PROFILES = 8
_KEPT_ENTRIES = 20_000

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was once read from an unchanged file. `untimed` rows have no readable event time."""

    rows: int
    oldest: datetime | None = None
    newest: datetime | None = None
    untimed: int = 0
    zoned: int = 0
    sha256: str | None = None


class Cache:
    """Notes of files and counts of files, kept in a folder, or only in memory."""

    def __init__(self, folder: Path | None, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()
        self._notes: dict[str, Note] | None = None
        self._counts: dict[str, dict[str, Counts]] = {}
        self._warned = False

    def notes(self) -> dict[str, Note]:
        """Return all notes, by `note_key`."""
        if self._notes is None:
            self._notes = self._load(f"files-{FORMAT}.json", dict[str, Note])
        return self._notes

    def save_notes(self, keep: Mapping[str, Note]) -> None:
        """Add notes and write them."""
        notes = {**self.notes(), **keep}
        self._notes = dict(list(notes.items())[-_KEPT_ENTRIES:])
        self._save(f"files-{FORMAT}.json", self._notes)

    def counts(self, reference: str) -> dict[str, Counts]:
        """Return the counts made against one reference, by the digest of the file and how it was read."""
        if reference not in self._counts:
            self._counts[reference] = self._load(f"counts-{FORMAT}-{reference[:32]}.json", dict[str, Counts])
        return self._counts[reference]

    def save_counts(self, reference: str, new: Mapping[str, Counts]) -> None:
        """Add counts against one reference and write them; old references are forgotten."""
        counts = {**self.counts(reference), **new}
        self._counts[reference] = dict(list(counts.items())[-_KEPT_ENTRIES:])
        self._save(f"counts-{FORMAT}-{reference[:32]}.json", self._counts[reference])
        self._forget()

    def _load(self, name: str, kind: type[dict[str, T]]) -> dict[str, T]:
        if self._folder is None:
            return {}
        path = self._folder / name
        try:
            head, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._warn("cannot be read", error)
            return {}
        if head.decode("ascii", "replace") != hashlib.sha256(body).hexdigest():
            log.warning("cache file is damaged, it is made again", extra={"path": str(path)})
            return {}
        try:
            return decode(body, kind, source=str(path))
        except Corrupt as error:
            log.warning(
                "cache file is of another format, it is made again", extra={"path": str(path), "why": str(error)}
            )
            return {}

    def _save(self, name: str, content: Any) -> None:
        if self._folder is None:
            return
        body = encode(content)
        data = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        try:
            self._disk.make_folder(self._folder)
            self._disk.replace(self._folder / name, data, lasting=False)
        except OSError as error:
            self._warn("cannot be written", error)

    def _forget(self) -> None:
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            found = sorted(self._folder.glob("counts-*.json"), key=lambda p: p.stat().st_mtime_ns)
            for old in found[:-_KEPT_PROFILES]:
                self._disk.unlink(old)

    def _warn(self, what: str, error: OSError) -> None:
        if not self._warned:
            log.warning("cache %s, going on without it", what, extra={"path": str(self._folder), "why": str(error)})
        self._warned = True


def note_key(file: FileInfo, reading: str) -> str:
    """Name an unchanged file, together with how its times are read."""
    where = file.location.absolute() if isinstance(file.location, Path) else file.location
    return "|".join((str(where), *map(str, file.identity), reading))


def file_sha256(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

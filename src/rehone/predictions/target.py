"""Write segments where the log lies: as files of a folder, or as objects of a shelf."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from rehone.disk import Disk
from rehone.predictions.compaction import Compaction
from rehone.predictions.layout import Segments, folder_of, parse
from rehone.predictions.merging import ShelfUpkeep
from rehone.predictions.shelf import Shelf


class Upkeep(Protocol):
    """Keep the log in order."""

    def tier(self, folder: Any) -> None:
        """Merge the writer's own last segments in a folder."""

    def sweep(self) -> Iterator[None]:
        """Keep every folder in order, one at each step."""


class Target(Protocol):
    """Where one writer's segments go."""

    @property
    def is_there(self) -> bool:
        """Say whether there is a log to keep in order."""

    def prepare(self) -> None:
        """Make ready what must be there before anything is written."""

    def folder(self, day: int, version: str) -> Any:
        """Return where a version's rows of one UTC day lie."""

    def next_segment(self, folder: Any) -> int:
        """Return the number of the writer's next segment in a folder; none is used twice."""

    def put(self, folder: Any, segment: int, frame: pl.DataFrame) -> None:
        """Write the rows of one segment; the same again, after a failure, is the same segment."""

    def upkeep(self, keep_days: int | None, clock: Callable[[], datetime]) -> Upkeep:
        """Return what keeps the log in order."""


def target_of(where: Path | Shelf, writer: str, disk: Disk) -> Target:
    """Return where a writer's segments go; `disk` is what files are changed through."""
    return OnShelf(where, writer) if isinstance(where, Shelf) else InFolder(where, writer, disk)


class InFolder:
    """Files of a folder of this machine."""

    def __init__(self, root: Path, writer: str, disk: Disk) -> None:
        self._root = root
        self._writer = writer
        self._disk = disk
        self._made = False

    @property
    def is_there(self) -> bool:
        return self._root.is_dir()

    def prepare(self) -> None:
        """Make the folder once; one that vanished later may be a disk that is gone, and is waited for."""
        if not self._made:
            self._disk.make_folder(self._root)
            self._made = True
        elif not self._root.is_dir():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self._root))

    def folder(self, day: int, version: str) -> Path:
        return folder_of(self._root, day, version)

    def next_segment(self, folder: Path) -> int:
        own = [s.last for s in map(parse, self._disk.names(folder)) if s and s.writer == self._writer]
        return max(own, default=-1) + 1

    def put(self, folder: Path, segment: int, frame: pl.DataFrame) -> None:
        if not folder.is_dir():
            self._disk.make_folder(folder)
            self._disk.sync_folder(folder.parent)
            self._disk.sync_folder(self._root)
        self._disk.replace(folder / Segments(self._writer, segment, segment).name, _parquet(frame))

    def upkeep(self, keep_days: int | None, clock: Callable[[], datetime]) -> Upkeep:
        return Compaction(self._root, writer=self._writer, keep_days=keep_days, clock=clock, disk=self._disk)


class OnShelf:
    """Objects of a shelf; there is nothing to make ready, and each segment is put once."""

    is_there = True

    def __init__(self, shelf: Shelf, writer: str) -> None:
        self._shelf = shelf
        self._writer = writer

    def prepare(self) -> None:
        """Do nothing: a prefix need not be made."""

    def folder(self, day: int, version: str) -> Any:
        return folder_of(self._shelf.root, day, version)

    def next_segment(self, folder: Any) -> int:
        own = [s.last for s in self._shelf.leaf(folder).segments if s.writer == self._writer]
        return max(own, default=-1) + 1

    def put(self, folder: Any, segment: int, frame: pl.DataFrame) -> None:
        self._shelf.put(folder / Segments(self._writer, segment, segment).name, _parquet(frame))

    def upkeep(self, keep_days: int | None, clock: Callable[[], datetime]) -> Upkeep:
        return ShelfUpkeep(self._shelf, self._writer, keep_days, clock)


def _parquet(frame: pl.DataFrame) -> bytes:
    data = io.BytesIO()
    frame.write_parquet(data, compression="zstd")
    return data.getvalue()

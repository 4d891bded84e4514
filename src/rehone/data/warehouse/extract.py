"""Keep asked rows as Parquet files of whole days, in a folder that goes when they are no longer used.

The digest of a day is of its values, not of the bytes of a file: the same rows have the same
digest whichever version of Polars wrote them, and in whatever order the database gave them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rehone.data.files import READ_ERRORS, FileInfo
from rehone.data.opening import TICK
from rehone.data.times import TIME
from rehone.disk import Disk
from rehone.errors import DataError
from rehone.records import DataFile, Window

FOLDER = "asked"
MOST_VALUES = 8_000_000
MOST_ROWS, FEWEST_ROWS = 500_000, 50_000
"""A file has whole days of at most this many rows and values; a day with more has several files."""

_ROW_GROUP = 100_000


class Folder:
    """A folder of one opening. What a killed process left behind goes when the next one begins."""

    def __init__(self, cache: Path | None, disk: Disk | None = None) -> None:
        self._disk = disk or Disk()
        above = (cache or Path(tempfile.gettempdir()) / "rehone-cache") / FOLDER
        try:
            self._disk.make_folder(above)
            self._sweep(above)
            self.path, lock = self._own(above)
        except OSError as error:
            raise DataError(
                f"rows of the database cannot be kept in {above} ({error.strerror or error}): "
                "make that folder writable, or name another as project.cache"
            ) from error
        self._written = 0
        self.remove = weakref.finalize(self, _remove, self._disk, self.path, lock, os.getpid())

    def write(self, rows: pl.DataFrame, time: Window) -> FileInfo:
        """Keep rows that lie in a stretch of time as one more file.

        Raises:
            DataError: the disk is full or cannot be written.
        """
        self._written += 1
        path = self.path / f"{self._written:06}.parquet"
        try:
            rows.write_parquet(path, compression="lz4", row_group_size=_ROW_GROUP)
            stat = path.stat()
        except READ_ERRORS as error:
            free = self._disk.free(self.path) // 1_000_000
            raise DataError(
                f"{rows.height:,} rows of {time} cannot be kept in {self.path} ({_first_line(error)}; {free:,} MB are free): "
                "make room, or name a folder on another disk as project.cache"
            ) from error
        return FileInfo(
            path=path.name,
            location=path,
            format="parquet",
            bytes=stat.st_size,
            identity=(stat.st_size, stat.st_mtime_ns, stat.st_ino),
            schema=dict(rows.schema),
            rows=rows.height,
            span=time if rows.height else None,
        )

    def _own(self, above: Path) -> tuple[Path, int]:
        while True:
            path = above / secrets.token_hex(8)
            path.mkdir(mode=0o700)
            with contextlib.suppress(FileNotFoundError):  # somebody swept it before it was locked
                lock = self._disk.lock_folder(path)
                if lock is not None and _same(lock, path):
                    return path, lock
                if lock is not None:
                    os.close(lock)

    def _sweep(self, above: Path) -> None:
        for name in self._disk.names(above):
            with contextlib.suppress(OSError):
                lock = self._disk.lock_folder(above / name)
                if lock is not None:
                    try:
                        self._disk.remove_tree(above / name)
                    finally:
                        os.close(lock)


def _same(lock: int, path: Path) -> bool:
    return os.fstat(lock).st_ino == path.stat().st_ino


def _remove(disk: Disk, path: Path, lock: int, owner: int) -> None:
    if os.getpid() != owner:  # a child that inherited the folder does not own it
        return
    with contextlib.suppress(OSError):
        disk.remove_tree(path)
    os.close(lock)


@dataclass
class Days:
    """What is known of each day in UTC that was asked for: its rows, and the digest of their values."""

    _digests: dict[date, Any] = field(default_factory=dict)
    _rows: dict[date, int] = field(default_factory=dict)
    _bytes: dict[date, int] = field(default_factory=dict)

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows that are sorted by time."""
        days = rows[TIME].dt.date()
        starts = [0, *(days != days.shift(1)).fill_null(value=False).arg_true().to_list(), rows.height]
        values = rows.drop(TIME)
        for start, end in pairwise(starts):
            if end > start:
                self._add(days[start], values[start:end])

    def within(self, window: Window) -> tuple[DataFile, ...]:
        """Return the days that a window touches, oldest first."""
        first, last = window.start.date(), (window.end - TICK).date()
        return tuple(
            DataFile(
                path=day.isoformat(),
                sha256=self._digests[day].hexdigest(),
                bytes=self._bytes[day],
                rows=self._rows[day],
            )
            for day in sorted(self._digests)
            if first <= day <= last
        )

    def _add(self, day: date, values: pl.DataFrame) -> None:
        if day not in self._digests:
            self._digests[day] = hashlib.sha256(repr([(n, str(t)) for n, t in values.schema.items()]).encode())
        self._rows[day] = self._rows.get(day, 0) + values.height
        for piece in _pieces(values):
            self._digests[day].update(piece)
            self._bytes[day] = self._bytes.get(day, 0) + len(piece)


def _pieces(values: pl.DataFrame) -> Iterator[bytes]:
    """Return the values column by column, as bytes that nothing but the values decides."""
    yield values.height.to_bytes(8, "little")
    for column in values:
        there = column.is_not_null()
        yield np.packbits(there.to_numpy()).tobytes()
        if column.dtype == pl.String:
            yield column.str.len_bytes().fill_null(0).cast(pl.UInt32).to_numpy().astype("<u4").tobytes()
            yield (column.drop_nulls().str.join("").item() or "").encode()
        elif column.dtype == pl.Boolean:
            yield np.packbits(column.fill_null(value=False).to_numpy()).tobytes()
        else:
            physical = column.to_physical().fill_null(0).to_numpy()
            if physical.dtype.kind == "f":
                physical = np.where(np.isnan(physical), np.array(np.nan, dtype=physical.dtype), physical)
            yield physical.astype(physical.dtype.newbyteorder("<")).tobytes()


def keep(batches: Iterable[pl.DataFrame], folder: Folder, days: Days) -> Iterator[FileInfo]:
    """Write batches of rows, which come by time and have `__time__`, as files of whole days.

    Rows of one time come in the order of their other columns, whatever order they were given in.
    Memory holds one file and one batch; more only where more rows have one and the same time.

    Raises:
        DataError: the disk is full or cannot be written.
    """
    waiting: list[pl.DataFrame] = []
    height = 0
    most = 0
    for batch in batches:
        most = most or max(FEWEST_ROWS, min(MOST_ROWS, MOST_VALUES // batch.width))
        waiting.append(batch)
        height += batch.height
        while height >= most:
            rows = pl.concat(waiting)
            end = _cut(rows[TIME], most)
            if end is None:
                break
            yield _kept(rows[:end], folder, days)
            waiting, height = [rows[end:]], height - end
    if height:
        yield _kept(pl.concat(waiting), folder, days)


def _cut(times: pl.Series, most: int) -> int | None:
    """Return where a file ends: before the day, or else the moment, of the first row too many.

    `None` when all that is there is of one moment: then more must come first.
    """
    moment: datetime = times[most - 1]
    today = (times.dt.date() == moment.date()).arg_true()
    if today[0] > 0:
        return int(today[0])
    now = (times == moment).arg_true()
    if now[0] > 0:
        return int(now[0])
    later = int(now[-1]) + 1
    return later if later < len(times) else None


def _kept(rows: pl.DataFrame, folder: Folder, days: Days) -> FileInfo:
    ordered = rows.sort(TIME, *_others(rows)) if rows[TIME].is_duplicated().any() else rows.sort(TIME)
    days.add(ordered)
    span = Window(ordered[TIME][0], ordered[TIME][-1] + TICK)
    return folder.write(ordered.drop(TIME), span)


def _others(rows: pl.DataFrame) -> Sequence[str]:
    return [name for name in rows.columns if name != TIME]


def _first_line(error: BaseException) -> str:
    text = str(error).rpartition("IO error: ")[2]
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)

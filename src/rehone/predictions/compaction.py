"""Merge many small files into few, and clear away what is covered, left over or too old.

Files are merged only under one lock, and only files that count at that moment, read from the
folder then. So every row stands in exactly one file that counts, whoever merges, and whoever
dies: before the rename the new file is not there, after it the old ones are covered.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import polars as pl

from rehone.columns import DAMAGED
from rehone.disk import Disk
from rehone.predictions.layout import (
    COVERS,
    TOGETHER,
    Schema,
    Segments,
    Spans,
    covers,
    days,
    holding,
    is_draft,
    joined,
    versions,
)
from rehone.predictions.reading import union

log = logging.getLogger(__name__)

FAN: Final = 16
"""So many files of one level are merged into one of the next."""

MOST_ROWS: Final = 1_000_000
"""A merged file holds at most so many rows; one with half as many is left as it is."""

COVERED_SECONDS: Final = 86_400.0
"""A covered file stays so long, for readers that have listed it; so does a draft that nobody finished.

A run that learns from the log reads the files that it listed until it ends. Each row stands in
one file of each level, so that those of a day stand in four or five files instead of one.
"""

SETTLED: Final = timedelta(days=2)
"""A day whose start is so long ago is written to by nobody whose clock is right."""


class Compaction:
    """The upkeep of one log's folder by one writer."""

    def __init__(
        self, root: Path, *, writer: str, keep_days: int | None, clock: Callable[[], datetime], disk: Disk
    ) -> None:
        self._root = root
        self._writer = writer
        self._keep_days = keep_days
        self._clock = clock
        self._disk = disk
        self._together = 0

    def tier(self, folder: Path) -> None:
        """Merge the writer's own last files, where `FAN` of one level stand in a row.

        Raises:
            OSError, or one of DAMAGED: they could not be merged now; they count as before.
        """
        with self._locked(".merge.lock") as mine:
            while mine and (run := self._last_run(folder)):
                merged = False
                for pack in packs(run):
                    self._merge(folder, pack, Segments(self._writer, pack[0].first, pack[-1].last))
                    merged = True
                if not merged:
                    return

    def sweep(self) -> Iterator[None]:
        """Keep every folder in order, one at each step; nothing is done while another process does it."""
        with self._locked(".sweep.lock") as mine:
            if not mine:
                return
            today = self._clock().astimezone(UTC).date()
            for day, path in list(days(self._root)):
                if self._keep_days is not None and day < today - timedelta(days=self._keep_days):
                    self._disk.remove_tree(path)
                    log.info("old predictions deleted", extra={"day": day.isoformat()})
                    yield
                    continue
                for folder in versions(path):
                    try:
                        self._tidy(folder, day, today)
                    except DAMAGED as error:  # one damaged file may not keep every later day untidy
                        log.warning("predictions not merged", extra={"folder": str(folder), "because": str(error)})
                    yield

    # --- one folder ---------------------------------------------------------------------------

    def _tidy(self, folder: Path, day: date, today: date) -> None:
        with self._locked(".merge.lock") as mine:
            if not mine:
                return
            self._clear(folder)
            if today - day >= SETTLED:
                for pack in packs(self._small(folder)):
                    self._together += 1
                    self._merge(folder, pack, Segments(f"{TOGETHER}{self._writer}", self._together, self._together))

    def _clear(self, folder: Path) -> None:
        names = self._disk.names(folder)
        for name in filter(is_draft, names):
            if self._old(folder / name):
                self._disk.unlink(folder / name)
        for part, whole in holding(folder, names).covered.items():
            if self._old(folder / whole.name):
                self._disk.unlink(folder / part.name)

    def _old(self, path: Path) -> bool:
        """Say whether a file has lain there for long; one that its writer has finished or removed meanwhile has not."""
        try:
            return self._clock().timestamp() - path.stat().st_mtime > COVERED_SECONDS
        except FileNotFoundError:
            return False

    def _live(self, folder: Path) -> tuple[Segments, ...]:
        return holding(folder, self._disk.names(folder)).live

    def _last_run(self, folder: Path) -> list[tuple[Segments, int]]:
        """Return the writer's last files of one level with their rows, if they are enough to be merged.

        A file that is large enough, or damaged, ends the run.
        """
        own = [segments for segments in self._live(folder) if segments.writer == self._writer]
        run: list[tuple[Segments, int]] = []
        for segments in reversed(own):
            rows = rows_in(folder / segments.name)
            if rows is None or rows * 2 >= MOST_ROWS or level(segments) != level(own[-1]):
                break
            run.insert(0, (segments, rows))
        return run if len(run) >= FAN else []

    def _small(self, folder: Path) -> list[tuple[Segments, int]]:
        """Return the files that count and could hold more, with their rows; damaged ones are left out."""
        sized = ((segments, rows_in(folder / segments.name)) for segments in self._live(folder))
        return [(segments, rows) for segments, rows in sized if rows is not None and rows * 2 < MOST_ROWS]

    def _merge(self, folder: Path, pack: Sequence[Segments], into: Segments) -> None:
        """Write the rows of some files into one that covers them, in their order."""
        target, draft = folder / into.name, folder / f".{into.name}.{os.getpid()}.new"
        parts = [folder / part.name for part in pack]
        spans = joined((part, covers(folder / part.name) if part.merged_by_sweep else {}) for part in pack)
        try:
            files = [(str(path), pl.read_parquet_schema(path)) for path in parts]
            merge_into(draft, files, spans if into.merged_by_sweep else None)
            if rows_in(draft) != sum(rows_in(part) or 0 for part in parts):
                raise OSError(f"{draft} does not hold the rows of the files that it is made of")
            self._disk.sync_file(draft)
            self._disk.rename(draft, target)
        finally:
            self._disk.unlink(draft)
        self._disk.sync_folder(folder)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[bool]:
        handle = self._disk.lock_file(self._root / name)
        try:
            yield handle is not None
        finally:
            if handle is not None:
                os.close(handle)


def level(segments: Segments) -> int:
    """Return how often a file was merged: 0 for one flush, 1 for sixteen, 2 for 256."""
    reached, width = 0, segments.width
    while width >= FAN:
        reached, width = reached + 1, width // FAN
    return reached


def packs(run: Sequence[tuple[Segments, int]], most: int | None = None) -> Iterator[list[Segments]]:
    """Put neighbours together, up to `most` rows (`MOST_ROWS`), or bytes; what stays alone is left out."""
    most = MOST_ROWS if most is None else most
    pack: list[Segments] = []
    filled = 0
    for segments, rows in run:
        if pack and filled + rows > most:
            if len(pack) > 1:
                yield pack
            pack, filled = [], 0
        pack.append(segments)
        filled += rows
    if len(pack) > 1:
        yield pack


def rows_in(source: Path | str | IO[bytes], **how: Any) -> int | None:
    """Return how many rows a file holds; `None` for one that cannot be read. `how` is for an object store."""
    try:
        return int(
            pl.scan_parquet(source, glob=False, hive_partitioning=False, **how).select(pl.len()).collect().item()
        )
    except (FileNotFoundError, *DAMAGED):
        return None


def merge_into(
    target: Path | io.BytesIO,
    files: Sequence[tuple[str, Schema]],
    spans: Spans | None,
    how: Mapping[str, Any] | None = None,
) -> None:
    """Write the rows of some files, whose columns are given, in their order; the footer names what it covers.

    Raises:
        OSError, or one of DAMAGED: one of the files cannot be read, or the target not be written.
    """
    metadata = {} if spans is None else {COVERS: json.dumps(spans)}
    union(files, how or {}).sink_parquet(target, compression="zstd", metadata=metadata, maintain_order=True)

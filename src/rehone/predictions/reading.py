"""Read the log: which files count, and their rows in a window of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from rehone.columns import DAMAGED, as_text
from rehone.config import Storage
from rehone.disk import Disk
from rehone.errors import DataError
from rehone.places import Place
from rehone.predictions.entry import SERVED
from rehone.predictions.layout import Schema, days, holding, versions
from rehone.predictions.shelf import Shelf
from rehone.records import Window
from rehone.remote import Listed, away, is_away, reading

_TICK: Final = timedelta(microseconds=1)


class Log:
    """The predictions in a folder or on a shelf; nothing is kept open, and nothing there is changed."""

    def __init__(self, folder: Path | Shelf) -> None:
        self.folder = folder

    def files(self, window: Window | None = None, *, version: str | None = None) -> tuple[Place, ...]:
        """Return the files that count, sorted: every row stands in exactly one of them.

        `version` is a whole id or its beginning. Each file stays for a day after it was listed,
        unless its own day is deleted.

        Raises:
            DataError: the folder cannot be read at this moment.
        """
        return tuple(f.place if isinstance(f, Listed) else f for f in self.found(window, version=version))

    def found(self, window: Window | None = None, *, version: str | None = None) -> tuple[Path | Listed, ...]:
        """Return the files that count, as `files` does; objects with what the listing says of them.

        Raises:
            DataError: the folder cannot be read at this moment.
        """
        try:
            if isinstance(self.folder, Shelf):
                return tuple(_on(self.folder, window, version))
            return tuple(_below(self.folder, window, version))
        except OSError as error:
            if isinstance(self.folder, Shelf):
                raise away(self.folder.root, error, self.folder.storage) from error
            raise DataError(
                f"the predictions in {self.folder} cannot be listed ({error}): see that this user may read them"
            ) from error

    def scan(self, window: Window, *, version: str | None = None, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows with `window.start <= served_at < window.end`, sorted by time and id.

        Versions differ in their features: a feature that a version does not have is null in its
        rows, and one that is text in some version is text in all. `columns` chooses and orders; one
        that no file has is null. A file that cannot be read is left out: `findings` names it.

        Raises:
            DataError: the folder cannot be read at this moment.
        """
        readable, _ = self._readable(window, version)
        how = reading(self.folder.root, self._storage)[1] if isinstance(self.folder, Shelf) else {}
        frame = union(readable, how) if readable else pl.LazyFrame(schema=dict(SERVED))
        served_at = pl.col("served_at")
        frame = frame.filter(served_at >= window.start.astimezone(UTC), served_at < window.end.astimezone(UTC))
        if version is not None:
            frame = frame.filter(pl.col("served_version").str.starts_with(version))
        frame = frame.sort("served_at", "served_id", "served_version", maintain_order=True)
        if columns is None:
            return frame
        known = set(SERVED).union(*(schema for _, schema in readable))
        return frame.select(pl.col(name) if name in known else pl.lit(None).alias(name) for name in columns)

    def findings(self, window: Window | None = None, *, version: str | None = None) -> tuple[str, ...]:
        """Say of each file that counts and cannot be read what is wrong with it, a sentence each.

        Raises:
            DataError: the folder cannot be read at this moment.
        """
        return self._readable(window, version)[1]

    def _readable(self, window: Window | None, version: str | None) -> tuple[list[tuple[str, Schema]], tuple[str, ...]]:
        readable: list[tuple[str, Schema]] = []
        findings: list[str] = []
        for path in self.files(window, version=version):
            try:
                schema = self._schema(path)
            except FileNotFoundError:
                continue
            except (OSError, *DAMAGED) as error:
                if isinstance(self.folder, Shelf) and is_away(error):
                    raise away(path, error, self.folder.storage) from error
                findings.append(f"{path} is damaged and was left out ({error}): remove it, or bring back a copy")
                continue
            if all(schema.get(name) == dtype for name, dtype in SERVED.items()):
                readable.append((str(path), schema))
            else:
                findings.append(f"{path} has not the columns of a prediction log and was left out: move it elsewhere")
        return readable, tuple(findings)

    def _schema(self, path: Place) -> Schema:
        if isinstance(path, Path):
            return pl.read_parquet_schema(path)
        source, how = reading(path, self._storage)
        return pl.scan_parquet(source, glob=False, hive_partitioning=False, **how).collect_schema()

    @property
    def _storage(self) -> Storage:
        return self.folder.storage if isinstance(self.folder, Shelf) else Storage()


def _below(root: Path, window: Window | None, version: str | None) -> Iterator[Path]:
    for day, path in days(root):
        if window is None or _overlaps(day, window):
            for folder in versions(path):
                if version is None or _may_hold(folder.name, version):
                    live = holding(folder, Disk().names(folder)).live
                    yield from (folder / segments.name for segments in live)


def _on(shelf: Shelf, window: Window | None, version: str | None) -> Iterator[Listed]:
    for leaf in shelf.leaves(window.start.astimezone(UTC).date() if window else None):
        if (window is None or _overlaps(leaf.day, window)) and (version is None or _may_hold(leaf.place.name, version)):
            yield from (leaf.objects[segments.name] for segments in shelf.holding(leaf).live)


def union(files: Iterable[tuple[str, Schema]], how: Mapping[str, Any]) -> pl.LazyFrame:
    """Return the rows of files whose columns may differ, in the order of the files where they agree.

    A column is text if any file has it as text, else a number if any has it as one; the first
    columns are those of every file. `how` is what Polars needs to reach an object store.
    """
    groups: dict[tuple[tuple[str, pl.DataType], ...], list[str]] = {}
    for path, schema in files:
        groups.setdefault(tuple(schema.items()), []).append(path)
    types: dict[str, pl.DataType] = {}
    for group in groups:
        for name, dtype in group:
            types[name] = _wider(types.get(name, dtype), dtype)
    return pl.concat([_scanned(paths, dict(group), types, how) for group, paths in groups.items()], how="diagonal")


def _scanned(paths: Sequence[str], schema: Schema, types: Schema, how: Mapping[str, Any]) -> pl.LazyFrame:
    return pl.scan_parquet(list(paths), glob=False, hive_partitioning=False, **how).with_columns(
        as_text(name, dtype) if types[name] == pl.String else pl.col(name).cast(types[name])
        for name, dtype in schema.items()
        if dtype != types[name]
    )


def _wider(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    if one == other:
        return one
    return pl.String() if pl.String in (one, other) else pl.Float64()


def _overlaps(day: date, window: Window) -> bool:
    if window.start == window.end:
        return False
    first, last = window.start.astimezone(UTC).date(), (window.end - _TICK).astimezone(UTC).date()
    return first <= day <= last


def _may_hold(folder: str, version: str) -> bool:
    digits = folder.removeprefix("version=")
    return digits.startswith(version) or version.startswith(digits)

"""Name the files of the log, and tell which of them are covered by others.

A file is named `<writer>.<first>-<last>.parquet` after the segments of its writer that it holds.
Two rules, and no others, say that a file is covered, so that its rows stand in another one too:

- its segments lie inside those of another file of the same writer in the same folder;
- its segments are among those that the footer of a `together_…` file in the folder names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, TypeVar

import polars as pl

from rehone.columns import DAMAGED
from rehone.places import Remote

TOGETHER: Final = "together_"
COVERS: Final = "rehone.covers"
"""Key of the footer under which a `together_…` file names what it covers: {writer: [[first, last], …]}."""

EPOCH: Final = date(1970, 1, 1)

_FILE: Final = re.compile(r"([A-Za-z0-9_]+)\.(\d{1,18})-(\d{1,18})\.parquet")
_DRAFT: Final = re.compile(r"\.[A-Za-z0-9_]+\.\d+-\d+\.parquet\..+\.new")
_DAY: Final = re.compile(r"day=(\d{4}-\d{2}-\d{2})")
_VERSION: Final = re.compile(r"version=([A-Za-z0-9_-]{1,12})")

Spans: TypeAlias = dict[str, list[tuple[int, int]]]
Schema: TypeAlias = Mapping[str, pl.DataType]
Root = TypeVar("Root", Path, Remote)


@dataclass(frozen=True, slots=True, order=True)
class Segments:
    """What the name of a file says: segments `first` to `last` of one writer, both included."""

    writer: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.writer}.{self.first}-{self.last}.parquet"

    @property
    def width(self) -> int:
        """How many flushes it holds."""
        return self.last - self.first + 1

    @property
    def merged_by_sweep(self) -> bool:
        """Whether its footer names what it covers."""
        return self.writer.startswith(TOGETHER)


def parse(name: str) -> Segments | None:
    """Read the name of a file; `None` for one that is not of the log."""
    found = _FILE.fullmatch(name)
    if found is None:
        return None
    segments = Segments(found[1], int(found[2]), int(found[3]))
    return segments if segments.first <= segments.last and segments.name == name else None


def is_draft(name: str) -> bool:
    """Say whether a file was being written under this name."""
    return _DRAFT.fullmatch(name) is not None


def folder_of(root: Root, day: int, version: str) -> Root:
    """Return where a version's rows of one UTC day lie; `day` is counted from 1970-01-01.

    Raises:
        ValueError: the version is not named as versions are.
    """
    name = f"version={version[:12]}"
    if not _VERSION.fullmatch(name):
        raise ValueError(f"{version!r} is not the id of a version")
    return root / f"day={(EPOCH + timedelta(days=day)).isoformat()}" / name


def days(root: Path) -> Iterator[tuple[date, Path]]:
    """Yield the folders of days, oldest first; links and other names are passed over."""
    for path in _folders(root):
        day = day_of(path.name)
        if day is not None:
            yield day, path


def day_of(name: str) -> date | None:
    """Read the day that a folder is named after."""
    found = _DAY.fullmatch(name)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def is_version(name: str) -> bool:
    """Say whether a folder is named after a version."""
    return _VERSION.fullmatch(name) is not None


def versions(day: Path) -> Iterator[Path]:
    """Yield the folders of versions in one day's folder, sorted; links are passed over."""
    return (path for path in _folders(day) if is_version(path.name))


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return []


@dataclass(frozen=True, slots=True)
class Holding:
    """The files of one folder: those that count, and each covered one with the file that covers it."""

    live: tuple[Segments, ...]
    covered: Mapping[Segments, Segments]


def holding(folder: Path, names: Iterable[str]) -> Holding:
    """Tell the files that count in a folder from those that are covered.

    Raises:
        OSError: a footer cannot be read at this moment, so that it is not known what counts.
    """
    found = (s for s in map(parse, names) if s and not (folder / s.name).is_symlink())
    return held(found, lambda whole: covers(folder / whole.name))


def held(files: Iterable[Segments], footer: Callable[[Segments], Spans]) -> Holding:
    """Tell the files that count from those that are covered; `footer` reads what a `together_…` file covers.

    A `together_…` file whose footer is damaged covers nothing: what it replaced, if it is still
    there, counts.

    Raises:
        OSError: a footer cannot be read at this moment, so that it is not known what counts.
    """
    found = sorted(files)
    covered = _inside_each_other(found)
    for whole in found:
        if whole.merged_by_sweep:
            spans = footer(whole)
            for part in found:
                if part != whole and within(part, spans):
                    covered.setdefault(part, whole)
    return Holding(tuple(s for s in found if s not in covered), covered)


def _inside_each_other(found: list[Segments]) -> dict[Segments, Segments]:
    """Find, in files sorted by writer and first segment, those inside a wider one of their writer."""
    covered: dict[Segments, Segments] = {}
    wide: Segments | None = None
    for segments in sorted(found, key=lambda s: (s.writer, s.first, -s.last)):
        if wide and wide.writer == segments.writer and segments.last <= wide.last:
            covered[segments] = wide
        else:
            wide = segments
    return covered


def within(part: Segments, spans: Spans) -> bool:
    """Say whether a file's segments are among those that are named."""
    return any(first <= part.first and part.last <= last for first, last in spans.get(part.writer, ()))


def covers(source: Path | str | IO[bytes], **how: Any) -> Spans:
    """Read from a footer what a `together_…` file covers; a damaged or vanished one covers nothing.

    `how` is what Polars needs to reach an object store.

    Raises:
        OSError: the file cannot be read at this moment.
    """
    try:
        said = json.loads(pl.read_parquet_metadata(source, **how)[COVERS])
        return {writer: [(int(first), int(last)) for first, last in spans] for writer, spans in said.items()}
    except (FileNotFoundError, KeyError, ValueError, TypeError, AttributeError, *DAMAGED):
        return {}


def joined(parts: Iterable[tuple[Segments, Spans]]) -> Spans:
    """Put together what files are and what they cover themselves, neighbouring segments as one span."""
    raw: Spans = {}
    for segments, spans in parts:
        raw.setdefault(segments.writer, []).append((segments.first, segments.last))
        for writer, more in spans.items():
            raw.setdefault(writer, []).extend(more)
    return {writer: _closed_up(spans) for writer, spans in sorted(raw.items())}


def _closed_up(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    closed: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if closed and first <= closed[-1][1] + 1:
            closed[-1] = (closed[-1][0], max(last, closed[-1][1]))
        else:
            closed.append((first, last))
    return closed

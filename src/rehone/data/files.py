"""Find the files of a source and read what their names and footers say."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import polars as pl

from rehone.columns import DAMAGED
from rehone.config import Storage
from rehone.data.times import midnight
from rehone.errors import DataError
from rehone.places import Place, Remote, is_remote
from rehone.records import Check, CheckStatus, Window
from rehone.remote import Identity, Listed, away, is_away, listed, look_at
from rehone.remote import reading as for_polars

FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".csv.gz": "csv", ".tsv": "tsv", ".tsv.gz": "tsv"}
READ_ERRORS = (*DAMAGED, OSError, UnicodeDecodeError)

_DATE = re.compile(r"(?<!\d)(\d{4})(?:-(\d{2})-(\d{2})|_(\d{2})_(\d{2})|(\d{2})(\d{2}))(?!\d)")
_HIVE = re.compile(r"([^=/]+)=([^/]*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_MAGIC: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One file as its name, footer and times describe it.

    `path` is relative to the project when the file lies inside it, or the whole address in an
    object store, which `storage` says how to reach. `identity` changes with the file: its size,
    its time, and its inode or the tag that the object store gave it. `schema` holds the types as stored; `day` is the date in the name; `partitions` are the `key=value` folders above it.
    `span` covers its event times, those at or after as-of included.
    """

    path: str
    location: Place
    format: str
    bytes: int
    identity: Identity
    storage: Storage = field(default_factory=Storage)
    day: date | None = None
    partitions: Mapping[str, str | None] = field(default_factory=dict)
    schema: Mapping[str, pl.DataType] = field(default_factory=dict)
    rows: int = 0
    span: Window | None = None
    untimed: int = 0

    def scan(self, schema: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
        """Open the file lazily; a text file is read with the given types, or else its own."""
        if self.format == "parquet":
            return _parquet(self)
        return _text(self, schema=dict(schema if schema is not None else self.schema))


def find(source: str, root: Path, storage: Storage | None = None) -> list[FileInfo]:
    """List the files that a folder or glob means, sorted by path; none is opened.

    Raises:
        DataError: there is no such file, or the object store cannot be asked.
    """
    if is_remote(source):
        return _find_objects(Remote(source), storage or Storage())
    if "://" in source:
        raise DataError(
            f"data.source {source!r} cannot be read: give a folder or a glob of files, on this machine or on s3://, gs:// or az://"
        )
    place = root / source
    if place.is_dir():
        found: Iterable[Path] = _below(place)
    elif place.is_file():
        found = [place]
    else:
        base = "" if Path(source).is_absolute() else glob.escape(str(root)) + os.sep
        found = (Path(p) for p in glob.glob(base + source, recursive=True))  # noqa: PTH207 - absolute patterns too
    files = sorted((p for p in found if _wanted(p)), key=lambda p: p.as_posix())
    if not files:
        raise DataError(
            f"no Parquet or CSV file matches {source!r} in {root.resolve()} (0 files, need at least 1): "
            "put files there, or correct data.source"
        )
    return [info(p, root) for p in files]


def info(path: Path, root: Path) -> FileInfo:
    """Describe a file by its name and size alone.

    Raises:
        OSError: it is not there.
    """
    stat = path.stat()
    inside = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    partitions = dict(_partitions(inside))
    return FileInfo(
        path=inside,
        location=path,
        format=_format(path.name) or "",
        bytes=stat.st_size,
        identity=(stat.st_size, stat.st_mtime_ns, stat.st_ino),
        day=_day(inside, partitions),
        partitions=partitions,
    )


def object_info(file: Listed, storage: Storage) -> FileInfo:
    """Describe an object by what a listing says of it."""
    partitions = dict(_partitions(file.place.url))
    return FileInfo(
        path=file.place.url,
        location=file.place,
        format=_format(file.place.name) or "",
        bytes=file.bytes,
        identity=file.identity,
        storage=storage,
        day=_day(file.place.url, partitions),
        partitions=partitions,
    )


def opened_before(files: Iterable[FileInfo], as_of: datetime, zone: str, oldest: datetime | None) -> list[FileInfo]:
    """Leave out files whose own date is not before as-of, or is before what history may use.

    Raises:
        DataError: nothing is left.
    """
    listed = list(files)
    starts = {f.path: midnight(f.day, zone) for f in listed if f.day is not None}
    kept = [
        f
        for f in listed
        if f.path not in starts or (starts[f.path] < as_of and (oldest is None or starts[f.path] >= oldest))
    ]
    if not kept:
        days = sorted(f.day for f in listed if f.day is not None)
        raise DataError(
            f"none of {len(listed)} files is dated before {as_of:%Y-%m-%d} (they are dated {days[0]} to {days[-1]}): "
            "choose a later as-of date, or add older files"
        )
    return kept


def footer(file: FileInfo) -> Mapping[str, pl.DataType]:
    """Read the column types of a file.

    Raises:
        one of READ_ERRORS: the file is not what its name claims, or was cut short.
    """
    if file.format != "parquet":
        return dict(_text(file, schema=None).collect_schema())
    if isinstance(file.location, Path):
        return dict(pl.read_parquet_schema(file.location))
    return dict(_parquet(file).collect_schema())


def has_date(text: str) -> bool:
    """Say whether a name or partition value holds a date."""
    return any(_as_date(match) is not None for match in _DATE.finditer(text))


def unreadable(file: FileInfo, error: BaseException) -> Check:
    """Say that a file cannot be read, and why.

    Raises:
        SourceAway: that is not the fault of the file: the object store is away, or does not let us read.
    """
    if isinstance(file.location, Remote) and is_away(error):
        raise away(file.location, error, file.storage) from error
    if file.bytes == 0:
        what, remedy = "is empty (0 bytes, need at least a header)", "write it again, or remove it"
    else:
        what = f"cannot be read as {file.format} ({file.bytes:,} bytes; {_first_line(error)})"
        remedy = "it is damaged or was cut short: copy or write it again, or remove it"
    return Check(
        name="file_readable",
        subject=file.path,
        status=CheckStatus.ACT,
        value=float(file.bytes) if file.bytes == 0 else None,
        detail=f"{file.path} {what}",
        remedy=remedy,
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
        yield from (Path(parent) / name for name in names)


def _find_objects(source: Remote, storage: Storage) -> list[FileInfo]:
    parts = source.key.split("/")
    plain = next((n for n, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    folder = Remote("/".join((source.bucket, *parts[:plain])))
    try:
        found = listed(folder, storage)
        if not found and plain == len(parts) and (alone := look_at(source, storage)):
            found = [alone]
    except OSError as error:
        raise away(source, error, storage) from error
    pattern = _pattern(parts[plain:])
    wanted = [f for f in found if _is_meant(f.place, folder, pattern)]
    if not wanted:
        raise DataError(
            f"no Parquet or CSV file matches {str(source)!r} ({len(found)} objects lie below {folder}, need at least 1 "
            "that matches): put files there, or correct data.source"
        )
    return [object_info(file, storage) for file in wanted]


def _is_meant(place: Remote, folder: Remote, pattern: re.Pattern[str] | None) -> bool:
    """Say whether an object is a file of the source, by the rules that hold for files of this machine."""
    if _format(place.name) is None or place.name.startswith((".", "_")):
        return False
    below = "" if place == folder else place.relative_to(folder)
    if pattern is not None:
        return pattern.fullmatch(below) is not None
    return not any(part.startswith((".", "_")) for part in below.split("/"))


def _pattern(parts: Sequence[str]) -> re.Pattern[str] | None:
    """Write the parts of a glob as a regular expression, with `**` for any folders; hidden names match only by name."""
    if not parts:
        return None
    visible = r"(?!\.)"
    said = []
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        if part == "**":
            said.append(rf"(?:{visible}[^/]+/)*" + (rf"{visible}[^/]+" if last else ""))
        else:
            hidden = "" if part.startswith(".") else visible
            said.append(hidden + _translated(part) + ("" if last else "/"))
    return re.compile("".join(said))


def _translated(part: str) -> str:
    pieces = re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part)
    return "".join(_wildcard(piece) if n % 2 else re.escape(piece) for n, piece in enumerate(pieces))


def _wildcard(piece: str) -> str:
    if piece.startswith("["):
        inside = piece[1:-1].replace("\\", r"\\")
        return f"(?!/)[^{inside[1:]}]" if inside.startswith("!") else f"[{inside.replace('^', chr(92) + '^')}]"
    return "[^/]" if piece == "?" else "[^/]*"


def _parquet(file: FileInfo) -> pl.LazyFrame:
    address, how = for_polars(file.location, file.storage)
    return pl.scan_parquet(address, glob=False, hive_partitioning=False, **how)


def _text(file: FileInfo, schema: dict[str, pl.DataType] | None) -> pl.LazyFrame:
    """Open a text file with the given types, or with those that all its rows suggest."""
    address, how = for_polars(file.location, file.storage)
    separator = "\t" if file.format == "tsv" else ","
    return pl.scan_csv(address, glob=False, separator=separator, schema=schema, infer_schema_length=None, **how)


def _format(name: str) -> str | None:
    lowered = name.lower()
    return next((kind for ending, kind in FORMATS.items() if lowered.endswith(ending)), None)


def _wanted(path: Path) -> bool:
    return _format(path.name) is not None and not path.name.startswith((".", "_")) and path.is_file()


def _partitions(path: str) -> Iterator[tuple[str, str | None]]:
    for part in path.split("/")[:-1]:
        if match := _HIVE.fullmatch(part):
            value = unquote(match[2])
            yield unquote(match[1]), None if value == _NO_VALUE else value


def _day(path: str, partitions: Mapping[str, str | None]) -> date | None:
    """Find the one date in the file's name, else in the nearest folder that has one."""
    for part in reversed(path.split("/")):
        days = {d for d in map(_as_date, _DATE.finditer(unquote(part))) if d is not None}
        if days:
            return days.pop() if len(days) == 1 else None
    parts = [partitions.get(key) for key in ("year", "month", "day")]
    if all(p is not None and p.isdigit() for p in parts):
        return _safe_date(*(int(p or 0) for p in parts))
    return None


def _as_date(match: re.Match[str]) -> date | None:
    numbers = [int(g) for g in match.groups() if g is not None]
    return _safe_date(*numbers)


def _safe_date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day) if year >= 1900 else None
    except ValueError:
        return None

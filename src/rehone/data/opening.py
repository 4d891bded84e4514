"""Open a source: find its files, read footers and event times, set aside what cannot be read."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from rehone.config import Data, Storage
from rehone.data.cache import Cache, Note, note_key
from rehone.data.files import READ_ERRORS, FileInfo, find, footer, opened_before, unreadable
from rehone.data.schema import named
from rehone.data.times import carries_offset, instant, is_time, midnight, zone_of
from rehone.errors import DataError
from rehone.places import Remote
from rehone.records import Check, CheckStatus, Window

TICK = timedelta(microseconds=1)
_AT_A_TIME = 16


@dataclass(frozen=True, slots=True)
class Opened:
    """The files that can be read, with their columns and times, and what is wrong with the others."""

    files: tuple[FileInfo, ...]
    findings: tuple[Check, ...]


def open_files(policy: Data, root: Path, cache: Cache, as_of: datetime, storage: Storage) -> Opened:
    """Read what names, footers and time columns say of every file dated before as-of.

    Raises:
        DataError: there is no file, or none of them can be read.
    """
    found = find(policy.source, root, storage)
    return open_listed(policy, opened_before(found, as_of, policy.timezone, oldest(policy, as_of)), cache)


def open_listed(policy: Data, listed: Sequence[FileInfo], cache: Cache) -> Opened:
    """Read what footers and time columns say of files that were already found.

    Raises:
        DataError: none of them can be read.
    """
    findings: list[Check] = []
    footed = _footed(listed, findings)
    timed = [f for f in footed if _has_time(f, policy, findings)]
    notes = _notes(timed, policy, cache, findings)
    files = tuple(_noted(f, notes[f.path], policy) for f in timed if f.path in notes)
    if not files:
        raise DataError(_nothing(policy, footed, findings))
    findings += _empty(files)
    findings += _zones(files, notes, policy)
    return Opened(files, tuple(findings))


def reading(policy: Data) -> str:
    """Digest how event times are read: notes made in another way are not used."""
    return hashlib.sha256(repr((policy.time_column, policy.timezone)).encode()).hexdigest()[:16]


def oldest(policy: Data, as_of: datetime) -> datetime | None:
    """Return the oldest event that a run may need; `None` for all."""
    if policy.history_days is None:
        return None
    return as_of - timedelta(days=policy.history_days + policy.label_delay_days + 2)


def _footed(listed: Sequence[FileInfo], findings: list[Check]) -> list[FileInfo]:
    """Read all footers; those of an object store many at a time, because each is a round trip."""
    if any(isinstance(file.location, Remote) for file in listed):
        with ThreadPoolExecutor(max_workers=_AT_A_TIME) as pool:
            read = list(pool.map(_with_footer, listed))
    else:
        read = [_with_footer(file) for file in listed]
    findings += [found for found in read if isinstance(found, Check)]
    return [found for found in read if isinstance(found, FileInfo)]


def _with_footer(file: FileInfo) -> FileInfo | Check:
    try:
        return replace(file, schema=footer(file))
    except READ_ERRORS as error:
        return unreadable(file, error)


def _has_time(file: FileInfo, policy: Data, findings: list[Check]) -> bool:
    column = policy.time_column
    stored = file.schema.get(column) if column else None
    if column is None and file.day is not None:
        return True
    if stored is not None and is_time(stored):
        return True
    if column is None:
        what, remedy = "has no date in its name and data.time_column is not set", "name the column of event times"
    elif stored is None:
        what, remedy = f"has no time column {column!r}", "write the file again with it, or correct data.time_column"
    else:
        what = f"holds {stored} in the time column {column!r}, not a timestamp, a date or ISO text"
        remedy = "write timestamps: seconds, milliseconds and yyyymmdd cannot be told apart safely"
    findings.append(
        Check(
            name="time_column",
            subject=file.path,
            status=CheckStatus.ACT,
            detail=f"{file.path} {what}",
            remedy=remedy,
        )
    )
    return False


def _notes(files: Sequence[FileInfo], policy: Data, cache: Cache, findings: list[Check]) -> dict[str, Note]:
    how = reading(policy)
    known = cache.notes()
    keys = {f.path: note_key(f, how) for f in files}
    notes = {path: known[key] for path, key in keys.items() if key in known}
    fresh = _measure([f for f in files if f.path not in notes], policy, findings)
    if fresh:
        cache.save_notes({keys[path]: note for path, note in fresh.items()})
    return notes | fresh


def _measure(files: Sequence[FileInfo], policy: Data, findings: list[Check]) -> dict[str, Note]:
    """Measure rows and times: of all files in one pass, of each alone if that fails."""
    asked = [_times(file, policy) for file in files]
    try:
        rows = [frame.row(0, named=True) for frame in pl.collect_all(asked, engine="streaming")]
        return {file.path: _note(row) for file, row in zip(files, rows, strict=True)}
    except READ_ERRORS:
        notes = {}
    for file, lazy in zip(files, asked, strict=True):
        try:
            notes[file.path] = _note(lazy.collect(engine="streaming").row(0, named=True))
        except READ_ERRORS as error:
            findings.append(unreadable(file, error))
    return notes


def _times(file: FileInfo, policy: Data) -> pl.LazyFrame:
    column = policy.time_column
    if column is None:
        return file.scan().select(pl.len().alias("rows"))
    stored = file.schema[column]
    time = instant(column, stored, policy.timezone)
    zoned = carries_offset(column).sum() if isinstance(stored, pl.String) else pl.lit(0)
    return file.scan().select(
        pl.len().alias("rows"),
        time.min().alias("oldest"),
        time.max().alias("newest"),
        time.is_null().sum().alias("untimed"),
        zoned.alias("zoned"),
    )


def _note(row: dict[str, Any]) -> Note:
    return Note(
        rows=row["rows"],
        oldest=row.get("oldest"),
        newest=row.get("newest"),
        untimed=row.get("untimed") or 0,
        zoned=row.get("zoned") or 0,
    )


def _noted(file: FileInfo, note: Note, policy: Data) -> FileInfo:
    span = None
    if policy.time_column is None and file.day is not None and note.rows:
        start = midnight(file.day, policy.timezone)
        span = Window(start, start + TICK)
    elif note.oldest is not None and note.newest is not None:
        span = Window(note.oldest, note.newest + TICK)
    return replace(file, rows=note.rows, span=span, untimed=note.untimed)


def _nothing(policy: Data, footed: Sequence[FileInfo], findings: Sequence[Check]) -> str:
    column = policy.time_column
    names = sorted({name for file in footed for name in file.schema})
    if column is not None and footed and column not in names:
        near = difflib.get_close_matches(column, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(names[:20])}"
        return f"time column {column!r} is in none of {len(footed)} files: {hint} Correct data.time_column"
    first = findings[0].sentence if findings else "no file has a row"
    more = f" (and {len(findings) - 1} more like it)" if len(findings) > 1 else ""
    return f"none of the files of {policy.source!r} can be read: {first}{more}"


def _empty(files: Sequence[FileInfo]) -> Iterator[Check]:
    for file in files:
        if not file.rows:
            yield Check(
                name="file_rows",
                subject=file.path,
                status=CheckStatus.WARN,
                value=0.0,
                n=0,
                detail=f"{file.path} has 0 rows",
                remedy="if that day was not quiet, write the file again",
            )


def _zones(files: Sequence[FileInfo], notes: dict[str, Note], policy: Data) -> Iterator[Check]:
    """Say when event times come in several zones; each is converted by its own."""
    if policy.time_column is None:
        return
    by_zone: dict[str, list[str]] = {}
    for file in files:
        note = notes[file.path]
        if not note.rows:
            continue
        zone = zone_of(file.schema[policy.time_column])
        if zone is None:
            zone = "none" if not note.zoned else "written as offsets"
            if 0 < note.zoned < note.rows - note.untimed:
                zone = "written as offsets in some rows only"
        by_zone.setdefault(zone, []).append(file.path)
    if len(by_zone) > 1 or "written as offsets in some rows only" in by_zone:
        said = "; ".join(f"{_zone_words(z, policy)}: {named(paths)}" for z, paths in sorted(by_zone.items()))
        yield Check(
            name="time_zones",
            subject=policy.time_column,
            status=CheckStatus.WARN,
            value=float(len(by_zone)),
            limit=1.0,
            n=len(files),
            detail=f"event times come in {len(by_zone)} zones, where 1 is expected, and are converted to UTC ({said})",
            remedy="write all times in UTC, or make sure that data.timezone is the zone of the times without one",
        )


def _zone_words(zone: str, policy: Data) -> str:
    return f"no zone, read as {policy.timezone}" if zone == "none" else zone

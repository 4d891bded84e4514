"""Say of every run what lists and trends need; each closed record is read once, an index of them from then on.

The index lies in `project.cache`, one line for each closed record, under the digest that the ledger has of it. It may
be deleted at any time: a line that was cut short or changed is made again, and where the index cannot be read or
written, records are read each time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from rehone import codec
from rehone.config import Config
from rehone.disk import Disk
from rehone.errors import Corrupt
from rehone.objects import disk_for
from rehone.places import Place
from rehone.records import RunRecord, RunSummary
from rehone.runlog import Line, RunLog
from rehone.runlog.brief import brief

log = logging.getLogger(__name__)

FORMAT = 2
"""To be raised with every change of what a summary says: an index of another format is left aside."""

_AT_ONCE = 64
"""Records in memory together while an index is made."""


def summaries(config: Config) -> tuple[RunSummary, ...]:
    """Return every run in brief: closed ones, oldest first, then those that have not ended.

    A record that is gone or cannot be read is told from its ledger line: `rehone doctor` says what is wrong with it.

    Raises:
        Corrupt: the ledger cannot be read.
    """
    runlog, index = RunLog.of(config), config.cache_path / f"runs-{FORMAT}.jsonl"
    lines, known = runlog.lines(), _read(index)
    told = [known[line.sha256] for line in lines if line.sha256 in known]
    fresh: dict[str, RunSummary] = {}
    unread = 0
    for line, data in _records(config, [line for line in lines if line.sha256 not in known]):
        found = _decoded(data, line.path)
        told.append(found or _of_line(line))
        unread += found is None
        if found is not None and hashlib.sha256(data or b"").hexdigest() == line.sha256:
            fresh[line.sha256] = found
    _add(index, fresh)
    if unread:
        because = f"{unread:,} of {len(lines):,}, which are told from the ledger: `rehone doctor` says what is wrong with them"
        log.warning("run records cannot be read", extra={"because": because})
    told += _unlisted(config, runlog.unlisted(lines))
    return tuple(sorted(told, key=lambda one: (one.status is None, one.started_at, one.run_id)))


def _records(config: Config, lines: Sequence[Line]) -> Iterator[tuple[Line, bytes | None]]:
    """Return each line with the file of its record; of one that is gone, `None`."""
    disk = disk_for(config.runs_path, config.storage)
    for start in range(0, len(lines), _AT_ONCE):
        some = lines[start : start + _AT_ONCE]
        yield from zip(some, _texts(disk, [config.runs_path / line.path for line in some]), strict=True)


def _texts(disk: Disk, paths: Sequence[Place]) -> Sequence[bytes | None]:
    """Return the bytes of several files at once; one that is gone or may not be read is `None`."""
    try:
        return disk.read_all(paths)
    except (FileNotFoundError, PermissionError):
        return [_text(disk, path) for path in paths]


def _text(disk: Disk, path: Place) -> bytes | None:
    try:
        return disk.read(path)
    except (FileNotFoundError, PermissionError) as error:
        log.info("a record cannot be read", extra={"path": str(path), "because": str(error.strerror)})
        return None


def _decoded(data: bytes | None, path: str) -> RunSummary | None:
    if data is None:
        return None
    try:
        return brief(codec.decode(data, RunRecord, source=path))
    except (Corrupt, ValueError) as error:  # a check that was changed to a number that is none
        log.info("a record cannot be read", extra={"path": path, "because": str(error)})
        return None


def _of_line(line: Line) -> RunSummary:
    """Return what the ledger alone says of a run."""
    return RunSummary(
        run_id=line.run_id,
        as_of=line.as_of,
        started_at=line.started_at,
        status=line.status,
        sentence="its record cannot be read: `rehone doctor` says why",
        trigger=line.trigger,
        reason=line.evidence,
        trained=line.trained,
        verdict=line.verdict,
    )


def _unlisted(config: Config, paths: Sequence[Place]) -> list[RunSummary]:
    """Return runs that the ledger has no line of: open ones, and those whose process died just then."""
    disk = disk_for(config.runs_path, config.storage)
    told = []
    for path, data in zip(paths, _texts(disk, paths), strict=True):
        if (one := _decoded(data, str(path))) is not None:
            told.append(one)
        else:
            log.warning("a run that is not in the ledger is left out", extra={"because": f"{path} cannot be read"})
    return told


# --- the index ----------------------------------------------------------------------------------


def _read(index: Path) -> Mapping[str, RunSummary]:
    """Return what the index has, by the digest of the record; nothing when it cannot be read."""
    try:
        data = index.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("the index of runs cannot be read, going on without it", extra={"because": str(error)})
        return {}
    return _entries(data)


@lru_cache(maxsize=2)
def _entries(data: bytes) -> Mapping[str, RunSummary]:
    return MappingProxyType(dict(filter(None, map(_entry, data.splitlines()))))


def _entry(text: bytes) -> tuple[str, RunSummary] | None:
    """Read one line, `<digest of the record> <digest of the rest> <summary>`; `None` when it is not whole."""
    record, _, rest = text.partition(b" ")
    digest, _, body = rest.partition(b" ")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    try:
        return record.decode(), codec.decoder(RunSummary).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _add(index: Path, fresh: Mapping[str, RunSummary]) -> None:
    """Add lines at the end, in one write, so that those of another process are never split."""
    added = _read(index) if fresh else {}  # by another process, while this one read the same records
    lacking = {record: summary for record, summary in fresh.items() if record not in added}
    if not lacking:
        return
    data = b"\n" + b"".join(_line(record, summary) for record, summary in lacking.items())
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        with index.open("ab", buffering=0) as file:
            file.write(data)
    except OSError as error:
        log.warning("the index of runs cannot be written, going on without it", extra={"because": str(error)})


def _line(record: str, summary: RunSummary) -> bytes:
    plain: dict[str, Any] = codec.plain(summary)
    body = msgspec.json.encode({name: item for name, item in plain.items() if item not in (None, "", [], ())})
    return f"{record} {hashlib.sha256(body).hexdigest()} ".encode() + body + b"\n"

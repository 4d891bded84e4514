"""Keep one record for every run: begun when it starts, closed whatever happens, chained by digest.

    runs/<yyyy>/<mm>/<run_id>.json   the record; rewritten at once, never half
    runs/ledger.jsonl                one line for each closed record: what it was, the digest of
                                     its bytes, and a chain digest over this line and all before

A record that was changed after it was closed no longer has the digest in the ledger, and a
line that was changed or taken out breaks the chain: `verify` finds both.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from rehone import codec
from rehone.config import Config
from rehone.disk import Disk
from rehone.errors import Corrupt, NotFound, StoreError, Unreachable
from rehone.objects import disk_for
from rehone.places import Place
from rehone.records import Check, CheckStatus, RunRecord, RunStatus, TriggerKind, Window

log = logging.getLogger(__name__)

LEDGER = "ledger.jsonl"
_RECORD = re.compile(r"[0-9]+/[0-9]+/[^./][^/]*\.json")
_DEPLOYMENT = re.compile(r"[0-9].*\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One closed run in the ledger: enough to count by, without opening its record."""

    run_id: str
    path: str
    status: RunStatus
    trigger: TriggerKind | None
    as_of: datetime
    started_at: datetime
    trained: bool
    holdout: Window | None
    sha256: str
    chain: str


class RunLog:
    """The records of one project's runs, under one folder."""

    def __init__(self, root: Place, *, disk: Disk | None = None) -> None:
        self.root = root
        self._disk = disk or Disk()

    @classmethod
    def of(cls, config: Config) -> RunLog:
        """Return the records of a project, wherever they lie."""
        return cls(config.runs_path, disk=disk_for(config.runs_path, config.storage))

    def begin(self, record: RunRecord) -> None:
        """Write the record of a run that starts."""
        self._write(record)

    def note(self, record: RunRecord) -> None:
        """Write what is known so far, so that a killed run leaves it behind."""
        self._write(record)

    def finish(self, record: RunRecord) -> None:
        """Write the final record, add it to the ledger, and remove what its stages handed on to each other.

        Raises:
            ValueError: the record has no status.
        """
        if record.status is None:
            raise ValueError(f"run {record.run_id} has no ending")
        data = self._write(record)
        self._add_line(record, data)
        folder, disk = self.folder_of(record)
        try:
            disk.remove_tree(folder)
        except OSError:  # what a stage left behind does no harm
            log.warning("the files of a run's stages stay behind", exc_info=True, extra={"run_id": record.run_id})

    def folder_of(self, record: RunRecord) -> tuple[Place, Disk]:
        """Return where the stages of a run hand files on to each other, and what to write there with."""
        return self._path(record).with_name(record.run_id), self._disk

    def bytes_of(self, record: RunRecord) -> bytes:
        """Return the file of a record as it is: of a closed one, the bytes that the ledger has the digest of."""
        return self._disk.read(self._path(record))

    def records(self) -> tuple[RunRecord, ...]:
        """Return every record, oldest first.

        Raises:
            Corrupt: a record cannot be read.
        """
        return tuple(sorted(self._read_all(self._paths()), key=lambda r: (r.started_at, r.run_id)))

    def last(self) -> RunRecord | None:
        """Return the run that started last, if there is any."""
        newest = max(self._paths(), key=lambda p: p.stem, default=None)
        return self._read(newest) if newest else None

    def find(self, ref: str) -> RunRecord:
        """Return the run whose id is, or starts with, `ref`; or that was begun under this name.

        Of several of one name it is the open one, else the last.

        Raises:
            NotFound: there is no such run, or more than one.
        """
        every = self._paths()
        if named := [p for p in every if p.stem.partition("-")[2] == ref]:
            records = sorted(self._read_all(named), key=lambda r: (r.status is None, r.started_at))
            return records[-1]
        paths = [p for p in every if p.stem.startswith(ref)]
        exact = [p for p in paths if p.stem == ref]
        if len(exact or paths) != 1:
            said = "no run" if not paths else f"{len(paths)} runs"
            raise NotFound(f"{said} with an id that starts with {ref!r}: `rehone history` lists them")
        return self._read((exact or paths)[0])

    def unfinished(self) -> tuple[RunRecord, ...]:
        """Return the records that have no ending; whoever holds the run lock knows them to be dead."""
        closed = {line.run_id for line in self.lines()}
        open_ones = self._read_all([p for p in self._paths() if p.stem not in closed])
        return tuple(r for r in open_ones if r.status is None)

    def close_orphans(self, *, now: datetime) -> tuple[RunRecord, ...]:
        """Close the records of killed runs, and give back ledger lines lost in a crash.

        To be called with the run lock held: then a record without an ending has no process. One
        that is made stage by stage may rest between two of them until its `staged_until`.
        """
        self._restore_lines()
        closed = []
        for record in self.unfinished():
            if record.staged_until is not None and now < record.staged_until:
                continue
            said = f"killed: process {record.pid} on {record.host} ended before the run did"
            last = record.stages[-1].name if record.stages else "its first stage"
            if record.staged_until is not None:
                said = f"left alone: nobody made its next stage until {record.staged_until:%Y-%m-%d %H:%M:%S} UTC"
            ended = replace(
                record,
                status=RunStatus.FAILED,
                finished_at=now,
                staged_until=None,
                sentence=f"{said} (after {last}); closed by the next run",
            )
            self.finish(ended)
            closed.append(ended)
        return tuple(closed)

    def lines(self) -> tuple[Line, ...]:
        """Return the ledger, oldest first; a line cut short by a crash is left out."""
        try:
            data = self._disk.read(self.root / LEDGER)
        except FileNotFoundError:
            return ()
        return self._lines_of(data[: data.rfind(b"\n") + 1])

    def _lines_of(self, whole: bytes) -> tuple[Line, ...]:
        return tuple(codec.decode(line, Line, source=f"{self.root / LEDGER}") for line in whole.splitlines())

    def verify(self) -> tuple[Check, ...]:
        """Compare every closed record with its digest, and every line with the chain."""
        try:
            return tuple(self._faults()) or (
                Check(
                    name="ledger",
                    status=CheckStatus.OK,
                    n=len(self.lines()),
                    detail=f"{len(self.lines())} closed runs match the ledger",
                ),
            )
        except Corrupt as error:
            return (
                Check(
                    name="ledger", status=CheckStatus.ACT, detail=str(error), remedy="restore the ledger from a backup"
                ),
            )

    def _faults(self) -> Iterator[Check]:
        before = ""
        for line in self.lines():
            if line.chain != _chain(line, before):
                yield _fault(line, "its ledger line was changed, or one before it was removed")
            before = line.chain
            try:
                digest = hashlib.sha256(self._disk.read(self.root / line.path)).hexdigest()
            except FileNotFoundError:
                yield _fault(line, f"its record {line.path} is gone")
                continue
            if digest != line.sha256:
                yield _fault(line, f"its record {line.path} was changed after it was closed")

    def _restore_lines(self) -> None:
        known = {line.run_id for line in self.lines()}
        for path in self._paths():
            if path.stem in known:
                continue
            record = self._read(path)
            if record.status is not None:
                self._add_line(record, self._disk.read(path))

    def _add_line(self, record: RunRecord, data: bytes) -> None:
        def line_after(before: bytes) -> bytes:
            return _line_of(record, data, str(self._path_in(record)), self._lines_of(before))

        try:
            self._disk.make_folder(self.root)
            self._disk.extend(self.root / LEDGER, line_after)
        except Unreachable:
            raise
        except OSError as error:
            raise StoreError(
                f"the ledger {self.root / LEDGER} cannot be written ({error.strerror}): make room or give write "
                "permission, the next run adds the lines that are missing; `rehone status` shows what is live"
            ) from error

    def _write(self, record: RunRecord) -> bytes:
        path, data = self._path(record), codec.encode(record)

        def unless_closed(before: bytes | None) -> bytes:
            if before not in (None, data) and _is_closed(before, str(path)):
                raise _closed(record)
            return data

        try:
            self._disk.make_folder(path.parent)
            self._disk.rewrite(path, unless_closed)
        except Unreachable:
            raise
        except OSError as error:
            raise StoreError(
                f"the record of run {record.run_id} ({len(data):,} bytes) cannot be written to {path}: {error.strerror}: "
                "make room or give write permission; `rehone status` shows what is live"
            ) from error
        return data

    def _read_all(self, paths: Sequence[Place]) -> list[RunRecord]:
        texts = self._disk.read_all(paths)
        return [codec.decode(text, RunRecord, source=str(path)) for path, text in zip(paths, texts, strict=True)]

    def _read(self, path: Place) -> RunRecord:
        return codec.decode(self._disk.read(path), RunRecord, source=str(path))

    def _path(self, record: RunRecord) -> Place:
        return self.root / self._path_in(record)

    def _path_in(self, record: RunRecord) -> str:
        return f"{record.started_at:%Y}/{record.started_at:%m}/{record.run_id}.json"

    def _paths(self) -> list[Place]:
        return [self.root / name for name in self._disk.below(self.root, 3) if _RECORD.fullmatch(name)]


def _line_of(record: RunRecord, data: bytes, path: str, lines: tuple[Line, ...]) -> bytes:
    """Return the line of a closed record that follows these lines.

    Raises:
        StoreError: the run has a line already.
    """
    if any(line.run_id == record.run_id for line in lines):
        raise _closed(record)
    line = Line(
        run_id=record.run_id,
        path=path,
        status=record.status or RunStatus.FAILED,
        trigger=record.trigger.kind if record.trigger else None,
        as_of=record.as_of,
        started_at=record.started_at,
        trained=record.winner is not None,
        holdout=record.split.holdout if record.split and record.verdict else None,
        sha256=hashlib.sha256(data).hexdigest(),
        chain="",
    )
    chained = replace(line, chain=_chain(line, lines[-1].chain if lines else ""))
    return msgspec.json.encode(chained, order="deterministic") + b"\n"


def _is_closed(data: bytes, source: str) -> bool:
    return codec.decode(data, _Ending, source=source).status is not None


def _closed(record: RunRecord) -> StoreError:
    return StoreError(f"run {record.run_id} is closed already: a closed record is never written again")


@dataclass(frozen=True, slots=True)
class _Ending:
    """The part of a record that says whether it is closed."""

    status: RunStatus | None = None


def _chain(line: Line, before: str) -> str:
    body = msgspec.json.encode(replace(line, chain=""), order="deterministic")
    return hashlib.sha256(before.encode() + body).hexdigest()


def _fault(line: Line, said: str) -> Check:
    return Check(
        name="ledger",
        subject=line.run_id,
        status=CheckStatus.ACT,
        detail=f"run {line.run_id}: {said}",
        remedy="restore it from a backup; what is live does not depend on it",
    )


def refuse_lost_store(config: Config, lines: tuple[Line, ...]) -> None:
    """Refuse to take a store that is gone for one that never was.

    Raises:
        NotFound: the run log knows of a deployment, and there is no deployment log.
    """
    deployed, store = [line for line in lines if line.status is RunStatus.DEPLOYED], config.store_path
    if deployed and not any(map(_DEPLOYMENT.fullmatch, disk_for(store, config.storage).names(store / "deployments"))):
        raise NotFound(
            f"run {deployed[-1].run_id} deployed a version, but there is no deployment log in {store}: mount or restore "
            "the store, or correct project.store; to begin anew on purpose, move the run records away too"
        )

"""Keep one record for every run: begun when it starts, closed whatever happens, chained by digest.

    runs/<yyyy>/<mm>/<run_id>.json         the record; rewritten at once, never half
    runs/<yyyy>/<mm>/<run_id>.judged.npz   all that the gate was given, if it judged; the record
                                           holds its digest
    runs/<yyyy>/<mm>/<run_id>.figures.json what pages draw of the run; the record holds its digest too
    runs/ledger.jsonl                      one line for each closed record: what it was, the digest of
                                           its bytes, and a chain digest over this line and all before

A record that was changed after it was closed no longer has the digest in the ledger, a line that
was changed or taken out breaks the chain, and what the gate was given has the digest in the
record: `verify` finds all three.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from rehone import codec
from rehone.config import Config
from rehone.disk import Disk
from rehone.errors import Corrupt, NotFound, StoreError, Unreachable
from rehone.objects import disk_for
from rehone.places import Place
from rehone.records import Check, DataFile, Figures, RunRecord, RunStatus
from rehone.runlog import clearing, ledger, orphans, proving
from rehone.runlog.ledger import Line

__all__ = ["LEDGER", "Line", "RunLog", "refuse_lost_store"]

log = logging.getLogger(__name__)

LEDGER = "ledger.jsonl"
_UNREAD = (Corrupt, FileNotFoundError, PermissionError)
_RECORD = re.compile(r"[0-9]+/[0-9]+/[^./]+\.json")
_DEPLOYMENT = re.compile(r"[0-9].*\.json")


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

    def keep(self, record: RunRecord, data: bytes, *, rows: int) -> DataFile:
        """Write all that the gate was given beside the record of a run, and return its name and digest.

        Raises:
            StoreError: the disk is full or cannot be written.
        """
        return self._put(self._judged(record), data, rows, f"what the gate of run {record.run_id} was given")

    def kept(self, record: RunRecord) -> bytes:
        """Return all that the gate of a run was given.

        Raises:
            NotFound: it was not kept, or is gone; `cleared` tells whether by the rule of clean-up.
            Corrupt: it was changed.
        """
        if record.judged is None:
            raise NotFound(f"run {record.run_id} kept nothing of what its gate was given")
        path = self._judged(record)
        try:
            data = self._disk.read(path)
        except FileNotFoundError:
            raise NotFound(f"{path} is gone: what the gate of run {record.run_id} was given") from None
        if hashlib.sha256(data).hexdigest() != record.judged.sha256:
            raise Corrupt(f"{path} was changed since the gate of run {record.run_id} was given it")
        return data

    def cleared(self) -> Mapping[str, str]:
        """Return of each run of which it was cleared what its gate was given, after which run that was."""
        return clearing.cleared(self.root, self._disk, self.lines())

    def keep_figures(self, record: RunRecord, figures: Figures) -> DataFile:
        """Write what pages draw of a run beside its record, whole, and return its name and digest.

        Raises:
            StoreError: the disk is full or cannot be written.
        """
        data = msgspec.json.format(codec.encode(figures), indent=-1) + b"\n"
        return self._put(self._figures(record), data, 0, f"what pages draw of run {record.run_id}")

    def figures(self, record: RunRecord) -> Figures | None:
        """Return what pages draw of a run; None where it was not kept, is gone, was changed or cannot be reached."""
        if record.figures is None:
            return None
        path, facts = self._figures(record), {"run_id": record.run_id}
        try:
            data = self._disk.read(path)
            if hashlib.sha256(data).hexdigest() == record.figures.sha256:
                return codec.decode(data, Figures, source=str(path))
            log.warning("the figures of a run were changed since: they are not shown", extra=facts)
        except (OSError, Corrupt):
            log.warning("the figures of a run cannot be read: they are not shown", exc_info=True, extra=facts)
        return None

    def records(self) -> tuple[RunRecord, ...]:
        """Return every record, oldest first.

        Raises:
            Corrupt: a record cannot be read.
        """
        return tuple(sorted(self._read_all(self._paths()), key=lambda r: (r.started_at, r.run_id)))

    def last(self, unread: list[str] | None = None) -> RunRecord | None:
        """Return the run that started last, if there is any.

        With `unread`, the last one that can be read: there it is said why later ones cannot.
        """
        newest_first = sorted(self._names(), key=_id_in, reverse=True)
        found = (self._tried(self.root / name, unread) for name in newest_first)
        return next((record for record in found if record is not None), None)

    def find(self, ref: str) -> RunRecord:
        """Return the run whose id is, or starts with, `ref`; or that was begun under this name.

        Of several of one name it is the open one, else the last.

        Raises:
            NotFound: there is no such run, or more than one.
        """
        every = self._names()
        if named := [self.root / name for name in every if _id_in(name).partition("-")[2] == ref]:
            records = sorted(self._read_all(named), key=lambda r: (r.status is None, r.started_at))
            return records[-1]
        names = [name for name in every if _id_in(name).startswith(ref)]
        exact = [name for name in names if _id_in(name) == ref]
        if len(exact or names) != 1:
            said = "no run" if not names else f"{len(names)} runs"
            raise NotFound(f"{said} with an id that starts with {ref!r}: `rehone history` lists them")
        return self._read(self.root / (exact or names)[0])

    def unfinished(self, unread: list[str] | None = None) -> tuple[RunRecord, ...]:
        """Return the records that have no ending; whoever holds the run lock knows them to be dead.

        With `unread`, those that can be read: there it is said why others cannot.
        """
        paths = self.unlisted(self.lines())
        try:
            found: Sequence[RunRecord | None] = self._read_all(paths)
        except _UNREAD:
            if unread is None:
                raise
            found = [self._tried(path, unread) for path in paths]
        return tuple(record for record in found if record is not None and record.status is None)

    def unlisted(self, lines: Sequence[Line]) -> tuple[Place, ...]:
        """Return the files of records that none of these lines is of: open ones, and those whose process died then."""
        closed = {line.run_id for line in lines}
        return tuple(self.root / name for name in self._names() if _id_in(name) not in closed)

    def close_orphans(self, *, now: datetime) -> tuple[RunRecord, ...]:
        """Close the records of killed runs, and give back ledger lines lost in a crash.

        To be called with the run lock held: then a record without an ending has no process. One
        that is made stage by stage may rest between two of them until its `staged_until`, and one
        that asked a person waits until its `approval.until`.
        """
        self._restore_lines()
        closed = []
        for record in self.unfinished():
            if (until := orphans.open_until(record)) is not None and now < until:
                continue
            status, said = orphans.ended(record)
            ended = replace(record, status=status, finished_at=now, staged_until=None, sentence=said)
            self.finish(ended)
            closed.append(ended)
        return tuple(closed)

    def lines(self) -> tuple[Line, ...]:
        """Return the ledger, oldest first; a line cut short by a crash is left out."""
        return ledger.read(self._whole_lines(), source=self._source)

    def verify(self, *, judged: bool = False) -> tuple[Check, ...]:
        """Compare every closed record with its digest, and every line with the chain.

        With `judged`, also read again what each gate was given, which may be much.
        """
        return proving.verify(self._books(), judged=judged)

    def faults_of(self, run_id: str) -> tuple[Check, ...]:
        """Return what is wrong with the record of one closed run, and with its place in the chain.

        Raises:
            Corrupt: the ledger itself cannot be read.
        """
        return proving.faults_of(self._books(), run_id)

    def _books(self) -> proving.Books:
        return proving.Books(
            lines=self._whole_lines(),
            source=self._source,
            read=lambda path: self._disk.read(self.root / path),
            kept=self.kept,
            cleared=functools.cache(self.cleared),
        )

    @property
    def _source(self) -> str:
        return str(self.root / LEDGER)

    def _whole_lines(self) -> bytes:
        try:
            data = self._disk.read(self.root / LEDGER)
        except FileNotFoundError:
            return b""
        except Unreachable:
            raise
        except OSError as error:
            raise StoreError(
                f"the ledger {self.root / LEDGER} cannot be read ({error.strerror}): give read permission, or restore it "
                "from a backup"
            ) from error
        return data[: data.rfind(b"\n") + 1]

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
            return ledger.next_line(record, data, str(self._path_in(record)), ledger.read(before, source=self._source))

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
                raise ledger.closed(record)
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

    def _put(self, path: Place, data: bytes, rows: int, what: str) -> DataFile:
        try:
            self._disk.make_folder(path.parent)
            self._disk.replace(path, data)
        except Unreachable:
            raise
        except OSError as error:
            raise StoreError(
                f"{what} ({len(data):,} bytes) cannot be written to {path}: {error.strerror or error}: "
                "make room or give write permission"
            ) from error
        return DataFile(path=path.name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), rows=rows)

    def _read_all(self, paths: Sequence[Place]) -> list[RunRecord]:
        texts = self._disk.read_all(paths)
        return [codec.decode(text, RunRecord, source=str(path)) for path, text in zip(paths, texts, strict=True)]

    def _tried(self, path: Place, unread: list[str] | None) -> RunRecord | None:
        try:
            return self._read(path)
        except _UNREAD as error:
            if unread is None:
                raise
            said = f"{path} cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
            if said not in unread:
                unread.append(said)
            return None

    def _read(self, path: Place) -> RunRecord:
        return codec.decode(self._disk.read(path), RunRecord, source=str(path))

    def _path(self, record: RunRecord) -> Place:
        return self.root / self._path_in(record)

    def _judged(self, record: RunRecord) -> Place:
        return self._path(record).with_name(f"{record.run_id}.judged.npz")

    def _figures(self, record: RunRecord) -> Place:
        return self._path(record).with_name(f"{record.run_id}.figures.json")

    def _path_in(self, record: RunRecord) -> str:
        return f"{record.started_at:%Y}/{record.started_at:%m}/{record.run_id}.json"

    def _paths(self) -> list[Place]:
        return [self.root / name for name in self._names()]

    def _names(self) -> list[str]:
        """Return where each record lies below the root; of ten thousand, only those that are meant become paths."""
        return [name for name in self._disk.below(self.root, 3) if _RECORD.fullmatch(name)]


def _id_in(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".json")


def _is_closed(data: bytes, source: str) -> bool:
    return codec.decode(data, _Ending, source=source).status is not None


@dataclass(frozen=True, slots=True)
class _Ending:
    """The part of a record that says whether it is closed."""

    status: RunStatus | None = None


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

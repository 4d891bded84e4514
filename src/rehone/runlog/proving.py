"""Prove that closed records are as they were closed: each against its digest, every ledger line against the chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from rehone import codec
from rehone.errors import Corrupt, NotFound
from rehone.records import Check, CheckStatus, RunRecord
from rehone.runlog import ledger
from rehone.runlog.ledger import Line

CHAIN = "its ledger line was changed, or one before it was removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What is proved: the whole lines of the ledger, and how a record, and what its gate was given, are read.

    `cleared` tells of which runs that was removed by rule, and after which run.
    """

    lines: bytes
    source: str
    read: Callable[[str], bytes]
    kept: Callable[[RunRecord], bytes]
    cleared: Callable[[], Mapping[str, str]]


def verify(books: Books, *, judged: bool) -> tuple[Check, ...]:
    """Compare every closed record with its digest, and every line with the chain; with `judged`, also what gates were given."""
    try:
        found = tuple(_faults(books, judged))
        closed = len(ledger.read(books.lines, source=books.source))
    except Corrupt as error:
        remedy = "restore the ledger from a backup"
        return (Check(name="ledger", status=CheckStatus.ACT, detail=str(error), remedy=remedy),)
    detail = f"{closed} closed runs match the ledger{_of_given(books) if judged else ''}"
    return found or (Check(name="ledger", status=CheckStatus.OK, n=closed, detail=detail),)


def _of_given(books: Books) -> str:
    cleared = len(books.cleared())
    gone = f", but of {cleared} run{'s' if cleared > 1 else ''} no longer kept (deploy.keep_judged)" if cleared else ""
    return f"; what their gates were given is as it was{gone}"


def faults_of(books: Books, run_id: str) -> tuple[Check, ...]:
    """Return what is wrong with the record of one closed run, and with its place in the chain.

    Raises:
        Corrupt: the ledger itself cannot be read.
    """
    found = []
    for line, is_broken in ledger.broken(books.lines, source=books.source):
        if is_broken:
            found.append(_fault(line, CHAIN))
        if line.run_id == run_id:
            return (*found, *_of_record(books, line))
    return tuple(found)


def _faults(books: Books, judged: bool) -> Iterator[Check]:
    for line, is_broken in ledger.broken(books.lines, source=books.source):
        if is_broken:
            yield _fault(line, CHAIN)
        yield from _of_record(books, line)
        if judged:
            yield from _of_judged(books, line)


def _of_record(books: Books, line: Line) -> Iterator[Check]:
    try:
        digest = hashlib.sha256(books.read(line.path)).hexdigest()
    except FileNotFoundError:
        yield _fault(line, f"its record {line.path} is gone")
        return
    except PermissionError:
        yield _fault(line, f"its record {line.path} may not be read by this user")
        return
    if digest != line.sha256:
        yield _fault(line, f"its record {line.path} was changed after it was closed")


def _of_judged(books: Books, line: Line) -> Iterator[Check]:
    try:
        record = codec.decode(books.read(line.path), RunRecord, source=line.path)
        if record.judged is not None:
            books.kept(record)
    except NotFound as error:
        if line.run_id in books.cleared():
            return
        gone = _fault(line, f"{error}: its verdict cannot be replayed")
        yield replace(gone, status=CheckStatus.WARN)
    except Corrupt as error:
        yield _fault(line, str(error))
    except (FileNotFoundError, PermissionError):
        return  # which was said of the record


def _fault(line: Line, said: str) -> Check:
    return Check(
        name="ledger",
        subject=line.run_id,
        status=CheckStatus.ACT,
        detail=f"run {line.run_id}: {said}",
        remedy="restore it from a backup; what is live does not depend on it",
    )

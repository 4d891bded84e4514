"""Chain closed runs: one line for each, with a digest over it and all lines before.

The digest is over the line as it stands in the file, so that a line of any version of Rehone keeps
its place in the chain, whatever fields it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from rehone import codec
from rehone.errors import Corrupt, StoreError
from rehone.records import Outcome, RunRecord, RunStatus, TriggerKind, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One closed run in the ledger: enough to count by, without opening its record.

    `evidence` is the sentence that the decision to train, or not to, was made by, and `flip` what
    would have turned it; `verdict` and `verdict_flip` are the same of the gate. Lines written
    before these were kept have none. `holdout` is there when the gate measured a challenger on it:
    where the comparison was not legal, nobody has learned anything from those rows.
    """

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
    evidence: str = ""
    flip: str = ""
    verdict: str = ""
    verdict_flip: str = ""


@lru_cache(maxsize=2)
def read(data: bytes, *, source: str) -> tuple[Line, ...]:
    """Read whole lines; those that were just read are not read again, however many ask.

    Raises:
        Corrupt: one of them is not such a line.
    """
    return tuple(codec.decode(line, Line, source=source) for line in data.splitlines())


def broken(data: bytes, *, source: str) -> Iterator[tuple[Line, bool]]:
    """Return each line, and whether the chain is broken at it.

    Raises:
        Corrupt: one of them is not such a line.
    """
    before = ""
    for text in data.splitlines():
        line = codec.decode(text, Line, source=source)
        yield line, line.chain != _digest(text, before)
        before = line.chain


def next_line(record: RunRecord, data: bytes, path: str, lines: tuple[Line, ...]) -> bytes:
    """Return the line of a closed record, whose file is `data`, that follows these lines.

    Raises:
        StoreError: the run has a line already.
    """
    if any(line.run_id == record.run_id for line in lines):
        raise closed(record)
    trigger, verdict = record.trigger, record.verdict
    judged = verdict is not None and verdict.outcome is not Outcome.INVALID
    line = Line(
        run_id=record.run_id,
        path=path,
        status=record.status or RunStatus.FAILED,
        trigger=trigger.kind if trigger else None,
        as_of=record.as_of,
        started_at=record.started_at,
        trained=record.winner is not None,
        holdout=record.split.holdout if record.split and judged else None,
        sha256=hashlib.sha256(data).hexdigest(),
        chain="",
        evidence=trigger.reason if trigger else "",
        flip=trigger.flip if trigger else "",
        verdict=verdict.reason if verdict else "",
        verdict_flip=verdict.flip if verdict else "",
    )
    chained = replace(line, chain=_digest(_bytes(line), lines[-1].chain if lines else ""))
    return _bytes(chained) + b"\n"


def closed(record: RunRecord) -> StoreError:
    """Refuse to close a run twice."""
    return StoreError(f"run {record.run_id} is closed already: a closed record is never written again")


def _bytes(line: object) -> bytes:
    return msgspec.json.encode(line, order="deterministic")


def _digest(line: bytes, before: str) -> str:
    """Return the chain digest of a line: over that of the line before, and the line without its own."""
    try:
        plain: dict[str, Any] = msgspec.json.decode(line, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"a ledger line cannot be read ({error})") from None
    body = msgspec.json.encode({**plain, "chain": ""})
    return hashlib.sha256(before.encode() + body).hexdigest()

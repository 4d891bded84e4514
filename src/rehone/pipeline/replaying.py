"""Judge and keep all that the gate was given; decide and judge a recorded run again, and compare byte for byte."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

import rehone
from rehone import artifact, codec, gate, trigger
from rehone.config import Config, Predictions, Shadow, Trigger
from rehone.errors import Corrupt, NotFound, RehoneError
from rehone.pipeline.given import pack, settings, unpack
from rehone.pipeline.scene import Scene
from rehone.records import Check, CheckStatus, Deployment, Replay, RunRecord, TriggerDecision, Verdict
from rehone.runlog import RunLog
from rehone.store import Store, has_store

OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN
MOST_SAID = 5

T = TypeVar("T", TriggerDecision, Verdict)


def judged(scene: Scene, *given: Any, **named: Any) -> Verdict:
    """Let the gate judge what it is given, and keep all of it beside the record, to be judged again.

    The verdict is returned as it will be read from the record, to the last digit.

    Raises:
        StoreError: it cannot be written.
    """
    arguments = inspect.signature(gate.judge).bind(*given, **named).arguments
    found = gate.judge(**arguments)
    rows = len(arguments["holdout"].labels)
    if scene.draft.record.judged is not None:  # killed between two files, no record has the digest of what is gone
        scene.draft.note(judged=None)
        scene.runlog.note(scene.draft.record)
    scene.draft.note(judged=scene.runlog.keep(scene.draft.record, pack(arguments), rows=rows))
    return codec.decode(codec.encode(found), Verdict, source="the verdict")


@dataclass(frozen=True)
class _Book:
    """One record as it is and as it stands in its file, and where it lies."""

    config: Config
    runlog: RunLog
    record: RunRecord
    plain: Mapping[str, Any]


def replay(config: Config, ref: str) -> Replay:
    """Decide and judge a recorded run again, from what it recorded alone, and say what differs.

    Nothing is trained, no data are read and nothing is changed.

    Raises:
        NotFound: there is no such run.
        Corrupt: its record cannot be read.
    """
    runlog = RunLog.of(config)
    try:
        record = runlog.find(ref)
    except Corrupt as error:
        raise Corrupt(f"{error}: restore it from a backup") from None
    plain = msgspec.json.decode(runlog.bytes_of(record), type=dict[str, Any])
    book = _Book(config, runlog, record, plain)
    decision, decided = _decided(book)
    verdict, judged_again = _judged(book)
    checks = (*_untouched(book), *decided, *judged_again, *_shadowed(book), *_deployed(book))
    return Replay(
        run_id=record.run_id,
        recorded_with=record.rehone_version,
        replayed_with=rehone.__version__,
        checks=(*checks, *_version(record, checks)),
        trigger=decision,
        verdict=verdict,
    )


def _untouched(book: _Book) -> Iterator[Check]:
    """Hold the record against the ledger, and its configuration against its own digest."""
    record = book.record
    yield from _in_ledger(book)
    digest = hashlib.sha256(json.dumps(record.config, sort_keys=True).encode()).hexdigest()
    same = digest == record.config_sha256
    yield Check(
        name="config",
        status=OK if same else ACT,
        detail="the configuration is the one that the run began with"
        if same
        else "the configuration in the record is not the one that the record has the digest of",
        remedy="" if same else "restore the record from a backup",
    )


def _in_ledger(book: _Book) -> Iterator[Check]:
    record = book.record
    try:
        faults = book.runlog.faults_of(record.run_id)
        known = {line.run_id for line in book.runlog.lines()}
    except Corrupt as error:
        yield Check(name="ledger", status=ACT, detail=str(error), remedy="restore the ledger from a backup")
        return
    yield from faults
    if record.status is None:
        yield Check(name="ledger", status=UNKNOWN, detail="the run has not ended: its record is not in the ledger yet")
    elif record.run_id not in known:
        said = (
            "the run has ended, but the ledger has no line of it: its process died just then, or the line was removed"
        )
        yield Check(name="ledger", status=WARN, detail=said, remedy="the next run, or `rehone doctor`, adds it")
    elif not faults:
        yield Check(name="ledger", status=OK, detail="the record is the one that the ledger has the digest of")


def _decided(book: _Book) -> tuple[TriggerDecision | None, tuple[Check, ...]]:
    record = book.record
    if record.evidence is None or record.trigger is None:
        return None, (Check(name="trigger", status=UNKNOWN, detail="the run ended before it decided anything"),)
    try:
        policy = settings(Trigger, {"max_lost_in_a_row": None, **record.config.get("trigger", {})})
        served = settings(Predictions, record.config.get("predictions", {}))
    except ValueError as error:
        return None, (_unread("trigger", f"its configuration is no longer one: {error}"),)
    again = _as_written(trigger.decide(record.evidence, policy, served), TriggerDecision)
    return again, (_compared("trigger", record.trigger, again, book.plain["trigger"]),)


def _judged(book: _Book) -> tuple[Verdict | None, tuple[Check, ...]]:
    record = book.record
    if record.verdict is None:
        return None, ()
    if record.judged is None:
        said = "what the gate was given was not kept: an earlier version of Rehone made the run, or it was interrupted while it judged again"
        return None, (_unread("verdict", said),)
    try:
        given = unpack(book.runlog.kept(record), source=record.judged.path)
    except (NotFound, Corrupt) as error:
        if isinstance(error, NotFound) and (by := _cleared_after(book)):
            return None, (_no_longer_kept(record.judged.path, by),)
        remedy = "restore it from a backup; the verdict in the record is what was decided"
        return None, (Check(name="inputs", status=ACT, subject=record.judged.path, detail=str(error), remedy=remedy),)
    whole = Check(
        name="inputs",
        status=OK,
        subject=record.judged.path,
        n=record.judged.rows,
        detail=f"what the gate was given ({record.judged.rows:,} rows) is as it was",
    )
    known = inspect.signature(gate.judge).parameters
    again = _as_written(gate.judge(**{name: value for name, value in given.items() if name in known}), Verdict)
    return again, (whole, _compared("verdict", record.verdict, again, book.plain["verdict"]))


def _cleared_after(book: _Book) -> str | None:
    """Return after which run clean-up removed what the gate was given; `None` where it did not, or nobody can tell."""
    try:
        return book.runlog.cleared().get(book.record.run_id)
    except Corrupt:  # which is said of the ledger
        return None


def _no_longer_kept(path: str, by: str) -> Check:
    return Check(
        name="inputs",
        status=UNKNOWN,
        subject=path,
        detail=f"what the gate was given is no longer kept: clean-up removed it after run {by} (deploy.keep_judged)",
        remedy="put it back from a backup to have it judged again; the verdict in the record is what was decided",
    )


def _shadowed(book: _Book) -> Iterator[Check]:
    """Judge again what servers saw of the challenger beside the champion, if its version still is there."""
    record = book.record
    if record.shadow is None or record.shadow_verdict is None or record.version is None:
        return
    try:
        expected = artifact.read_profile(Store.of(book.config).read(record.version)).scores
        policy = settings(Shadow, record.config.get("shadow", {}))
    except (RehoneError, OSError, ValueError) as error:
        yield _unread("shadow_verdict", str(error))
        return
    again = _as_written(gate.judge_shadow(record.shadow, expected, policy), Verdict)
    yield _compared("shadow_verdict", record.shadow_verdict, again, book.plain["shadow_verdict"])


def _deployed(book: _Book) -> Iterator[Check]:
    """Hold the verdict against the digest of it that the deployment log keeps."""
    record = book.record
    if record.verdict is None or record.deployment is None or not has_store(book.config):
        return
    try:
        logged = [d for d in Store.of(book.config).log() if d.run_id == record.run_id and d.gate_sha256]
    except (RehoneError, OSError) as error:
        yield _unread("deployment", str(error))
        return
    digest = hashlib.sha256(codec.encode(record.verdict)).hexdigest()
    yield from (_of_deployment(d, digest) for d in logged[:1])


def _of_deployment(logged: Deployment, digest: str) -> Check:
    same, subject = logged.gate_sha256 == digest, f"generation {logged.generation}"
    said = "the verdict that the deployment log has the digest of"
    return Check(
        name="deployment",
        subject=subject,
        status=OK if same else ACT,
        detail=f"{subject} was deployed on {said}" if same else f"the verdict is not {said} ({subject})",
        remedy="" if same else "restore the record from a backup",
    )


def _version(record: RunRecord, checks: tuple[Check, ...]) -> Iterator[Check]:
    """Say that another version of Rehone replays, which may be why something differs."""
    if record.rehone_version == rehone.__version__:
        return
    differs = any(check.status is ACT for check in checks)
    yield Check(
        name="version",
        status=WARN,
        detail=f"recorded with Rehone {record.rehone_version}, replayed with {rehone.__version__}",
        remedy=f"install rehone=={record.rehone_version} to replay it as it was" if differs else "",
    )


def _as_written(found: T, kind: type[T]) -> T:
    return codec.decode(codec.encode(found), kind, source=kind.__name__)


def _compared(name: str, recorded: T, again: T, written: Mapping[str, Any]) -> Check:
    """Compare two outcomes byte for byte, but for fields that the record was written without."""
    then, now = codec.plain(recorded), codec.plain(again)
    new = sorted(key for key in now if key not in written)
    for key in new:
        now.pop(key), then.pop(key, None)
    without = f", but for what this version adds ({', '.join(new)})" if new else ""
    if codec.encode(then) == codec.encode(now):
        size = len(codec.encode(then))
        return Check(name=name, status=OK, detail=f"comes again byte for byte ({size:,} bytes){without}")
    found = list(_differences(then, now, name))
    more = f"; and {len(found) - MOST_SAID} more" if len(found) > MOST_SAID else ""
    return Check(
        name=name,
        status=ACT,
        value=float(len(found)),
        limit=0.0,
        detail=f"does not come again: {'; '.join(found[:MOST_SAID])}{more}",
        remedy="the record or what it was given was changed, or another version of Rehone or NumPy computes otherwise",
    )


def _differences(then: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys(), key=_weightiest_first):
            yield from _differences(then.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(then, list | tuple) and isinstance(now, list | tuple) and len(then) == len(now):
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif then != now:
        was, now_is = _apart(_text(then), _text(now))
        yield f"{path} was {was}, is {now_is}"


def _weightiest_first(key: str) -> tuple[bool, bool, str]:
    return key == "checks", key not in ("kind", "outcome"), key


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _apart(one: str, other: str, most: int = 80) -> tuple[str, str]:
    """Cut both texts to at most `most` characters that begin a little before they first differ."""
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, same - most // 4) if max(len(one), len(other)) > most else 0

    def cut(text: str) -> str:
        left = "..." if start else ""
        part = text[start:]
        whole = len(left) + len(part) <= most
        return left + (part if whole else f"{part[: most - 3 - len(left)]}...")

    return cut(one), cut(other)


def _unread(name: str, why: str) -> Check:
    return Check(name=name, status=UNKNOWN, detail=f"cannot be replayed: {why}")

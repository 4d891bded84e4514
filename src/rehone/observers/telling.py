"""Tell each tracker in a process of its own, and note what became of it, whatever happens there."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from rehone import codec
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.objects import disk_for
from rehone.observers.outbox import FOLDER, WAITING, Outbox
from rehone.records import Check, CheckStatus, Delivery

log = logging.getLogger(__name__)

MODULE = "rehone.integrations.deliver"
BEING_TOLD = "being told"
OF_NOW = ("alerts", "metrics", "heartbeat")
"""Listeners that are told of what happens, and never of what was over when they were configured."""
_LAST_WORDS = 300

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a tracker can be told of: a closed run, or a record of the deployment log, and when that began.

    `only` names the one listener that is told, as of a run that waits for a person; empty: all are.
    """

    name: str
    at: datetime
    only: str = ""


class Later(RehoneError):
    """It is not the hour to tell of this: it stays open, and nothing is wrong."""


class Missed(RehoneError):
    """It was not told, for the reason that is given, and is not told later: that would not be true any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the process that tells a tracker is told: of which subjects, and from which project."""

    tracker: str
    root: str
    config: dict[str, Any]
    subjects: tuple[str, ...]
    seconds: float
    path: tuple[str, ...]


def tell(
    config: Config,
    subjects: Callable[[], Iterable[Subject]],
    *,
    clock: Clock,
    since: datetime | None = None,
    reach: datetime | None = None,
) -> tuple[Check, ...]:
    """Tell every configured tracker what it was not told yet; one check for each says what became of it.

    It never raises: an observer may not undo what it observes. Ctrl-C and SIGTERM end the
    telling only; what was not told is told by the next run or by `rehone doctor`.

    Args:
        subjects: gives all that there is to tell, oldest first.
        since: a tracker that is new here is told of what began then or later; left out: of
            nothing that is over already.
        reach: tell every tracker of what began then or later, whatever it was told until now.
    """
    if not config.listeners:
        return ()
    try:
        return _tell(config, tuple(subjects()), clock, (since or clock(), reach))
    except (KeyboardInterrupt, SystemExit):
        said = "the trackers were not told of everything, since the telling was interrupted"
    except Exception as error:  # a tracker may not undo a run that has its ending
        log.warning("trackers not told", exc_info=True, extra={"because": repr(error)})
        said = f"the trackers could not be told ({error})"
    return (Check(name="tracker", status=CheckStatus.ACT, detail=said, remedy="run `rehone doctor`"),)


def deliveries(config: Config, subject: str) -> tuple[Delivery, ...]:
    """Return how the delivery of a subject stands, for every tracker that is or was to be told of it."""
    named = dict.fromkeys((*config.listeners, *_folders(config)))
    found = (Outbox.of(config, tracker).find(subject) for tracker in named)
    return tuple(delivery for delivery in found if delivery is not None)


def pending(config: Config, subjects: Callable[[], Iterable[Subject]]) -> tuple[Check, ...]:
    """Say what each configured tracker was not told yet, without telling it."""
    if not config.listeners:
        return ()
    try:
        everything = tuple(subjects())
    except RehoneError as error:  # another check says what is wrong with the log or the records
        log.warning("trackers not looked at", extra={"because": repr(error)})
        everything = ()
    return tuple(_look(Outbox.of(config, tracker), everything) for tracker in config.listeners)


def _look(outbox: Outbox, subjects: Sequence[Subject]) -> Check:
    since = outbox.since()
    fresh = sum(1 for _ in _fresh(outbox, subjects, since)) if since is not None else 0
    return _check(outbox, fresh, CheckStatus.WARN)


def _folders(config: Config) -> tuple[str, ...]:
    names = disk_for(config.runs_path, config.storage).names(config.runs_path / FOLDER)
    return tuple(name for name in names if not name.startswith("."))


def _tell(
    config: Config, subjects: Sequence[Subject], clock: Clock, bounds: tuple[datetime, datetime | None]
) -> tuple[Check, ...]:
    (since, reach), seconds = bounds, config.trackers.timeout_seconds
    with contextlib.ExitStack() as held:
        outboxes = [Outbox.of(config, tracker) for tracker in config.listeners]
        mine = [outbox for outbox in outboxes if held.enter_context(outbox.lock(seconds))]
        for outbox in mine:
            outbox.add(s.name for s in _fresh(outbox, subjects, _from(outbox, since, reach)))
        _tell_all(config, [o for o in mine if o.pending()], {s.name: n for n, s in enumerate(subjects)}, clock)
        return tuple(_check(o, 0, CheckStatus.ACT) if o in mine else _busy(o, seconds) for o in outboxes)


def _from(outbox: Outbox, since: datetime, reach: datetime | None) -> datetime:
    return outbox.reach(reach) if reach and outbox.tracker not in OF_NOW else outbox.begin(since)


def _fresh(outbox: Outbox, subjects: Sequence[Subject], since: datetime) -> Iterator[Subject]:
    known = outbox.known()
    return (s for s in subjects if s.at >= since and s.name not in known and s.only in ("", outbox.tracker))


# --- processes -------------------------------------------------------------------------------


def _tell_all(config: Config, outboxes: Sequence[Outbox], order: dict[str, int], clock: Clock) -> None:
    """Start one process for each tracker, wait for all of them until the time is up, and note what is left."""
    until = clock().timestamp() + config.trackers.timeout_seconds
    with contextlib.ExitStack() as started:
        children = [(outbox, started.enter_context(_child(config, outbox, order))) for outbox in outboxes]
        for outbox, child in children:
            cause = "the telling was interrupted"
            try:
                cause = child.wait(until - clock().timestamp(), config)
            finally:
                _settle(outbox, cause)


def _settle(outbox: Outbox, cause: str) -> None:
    """Note the cause at what the process had under way, and at what it never came to."""
    for delivery in outbox.pending():
        if delivery.error == BEING_TOLD:
            outbox.note(
                replace(delivery, error=cause or f"the process that tells {outbox.tracker} ended before it was done")
            )
        elif not delivery.attempts and cause:
            outbox.note(replace(delivery, error=f"not tried yet: {cause}"))


class _Child:
    """A process that tells one tracker; killed with all that it started when its time is up."""

    def __init__(self, process: subprocess.Popen[bytes], tracker: str, said: IO[bytes]) -> None:
        self._process = process
        self._tracker = tracker
        self._said = said

    def wait(self, seconds: float, config: Config) -> str:
        """Return why the process ended before it was done; "" when it came to its end."""
        try:
            code = self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.kill()
            return (
                f"{self._tracker} did not answer within {config.trackers.timeout_seconds:g} s: look whether it is up, "
                "or raise trackers.timeout_seconds"
            )
        if code == 0:
            return ""
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"the process that tells {self._tracker} {how}: {self._last_words() or 'it said nothing'}"

    def kill(self) -> None:
        """End the process and those that it started, if it has not ended itself."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return without_password(lines[-1])[-_LAST_WORDS:] if lines else ""


@contextlib.contextmanager
def _child(config: Config, outbox: Outbox, order: dict[str, int]) -> Iterator[_Child]:
    request = Request(
        tracker=outbox.tracker,
        root=str(Path(config.root).absolute()),
        config=config.as_json(),
        subjects=tuple(sorted((d.subject for d in outbox.pending()), key=lambda name: order.get(name, -1))),
        seconds=config.trackers.timeout_seconds,
        path=tuple(sys.path),
    )
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        asked.write(codec.encode(request))
        asked.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=asked,
            stdout=said,
            stderr=said,
            cwd=request.root,  # a relative address such as sqlite:///mlflow.db is counted from the project
            start_new_session=True,  # so that what it starts can be ended with it, and Ctrl-C reaches us alone
        )
        child = _Child(process, outbox.tracker, said)
        try:
            yield child
        finally:
            child.kill()


def without_password(text: str) -> str:
    """Return a text without the user and password of the addresses in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


# --- what is said ------------------------------------------------------------------------------


def _check(outbox: Outbox, unnoted: int, status: CheckStatus) -> Check:
    pending, told = outbox.pending(), outbox.count()
    waiting = [delivery for delivery in pending if not delivery.held]
    missing = len(waiting) + unnoted
    if not missing and (missed := outbox.missed()) is not None:
        return _missed(missed)
    if not missing:
        wait = "waits" if len(pending) == 1 else "wait"
        held = f"; {_things(len(pending))} {wait}: {pending[-1].error}" if pending else ""
        return Check(
            name="tracker",
            subject=outbox.tracker,
            status=CheckStatus.OK,
            n=told,
            detail=f"{outbox.tracker} was told of {_things(told)}{held}",
        )
    why = f": {waiting[-1].error}" if waiting and waiting[-1].error else ""
    return Check(
        name="tracker",
        subject=outbox.tracker,
        status=status,
        n=missing,
        detail=f"{outbox.tracker} was not told of {_things(missing)} yet{why}",
        remedy="put that right; the next run and `rehone doctor` try again",
    )


def _missed(missed: Delivery) -> Check:
    run = missed.subject.removeprefix(WAITING)
    return Check(
        name="tracker",
        subject=missed.tracker,
        status=CheckStatus.WARN,
        n=1,
        detail=f"{missed.tracker} did not get through after run {run}, and is not sent later: {missed.error}",
        remedy="put that right and try it with `rehone alerts test`; the next run asks again",
    )


def _busy(outbox: Outbox, seconds: float) -> Check:
    return Check(
        name="tracker",
        subject=outbox.tracker,
        status=CheckStatus.WARN,
        detail=f"somebody else is telling {outbox.tracker}, for more than {seconds:g} s",
        remedy="what is not told then, the next run and `rehone doctor` try again",
    )


def _things(n: int) -> str:
    return f"{n:,} run{'s' if n != 1 else ''} and deployments" if n != 1 else "1 run or deployment"

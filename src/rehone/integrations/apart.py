"""Make a run in a process of its own, which ends when the one that asked for it does.

A run that is out of memory, or killed, so takes nobody with it: neither the orchestrator's own
process nor the runs beside it, and its record is closed at once. Whoever is cancelled ends its
runs with one SIGTERM and waits until they have closed their records.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

import msgspec

from rehone.config import load_config
from rehone.errors import RehoneError
from rehone.records import Event, Problem, RunRecord, RunStatus
from rehone.runlog import RunLog

CLOSING_SECONDS = 12.0
log = logging.getLogger(__name__)

GOOD = (RunStatus.DEPLOYED, RunStatus.SKIPPED)

Listen = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be run: the project, and the options of `rehone run`."""

    project: str
    as_of: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, for whoever started it; `record is None` when it could not keep one."""

    project: str
    status: RunStatus
    sentence: str
    retry: bool = False
    record: RunRecord | None = None

    @property
    def good(self) -> bool:
        """Whether it ended well: deployed, or nothing to do until a trigger fires or a person has answered."""
        return self.status in GOOD

    @property
    def said(self) -> str:
        """The ending and the sentence that says why, as the command line prints them."""
        ending = "waits" if self.record is not None and self.record.waits else self.status.replace("_", " ")
        return f"{ending}: {self.sentence}"

    @classmethod
    def of(cls, record: RunRecord) -> Ending:
        """Return how a run ended, by its record; for an orchestrator, one that waits for a person is over as skipped."""
        return cls(
            project=record.project,
            status=record.status or (RunStatus.SKIPPED if record.waits else RunStatus.FAILED),
            sentence=record.sentence,
            retry=record.retry,
            record=record,
        )


class NotDeployed(RehoneError):
    """The run ended neither deployed nor skipped; the message is its ending and the sentence that says why."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.said)
        self.ending = ending


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One line that the process of a run writes."""

    event: Event | None = None
    record: RunRecord | None = None
    problem: Problem | None = None


class Runs:
    """Runs in processes of their own; leaving the block ends those that are still under way."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._over = False

    def __enter__(self) -> Runs:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True
            processes = tuple(self._processes)
        for process in processes:
            process.terminate()

    def make(self, order: Order, listen: Listen = lambda _: None) -> Ending:
        """Make one run and return how it ended; `listen` is told each stage meanwhile.

        Raises:
            OSError: no process can be started.
        """
        reading, writing = os.pipe()
        with open(reading, "rb") as told:
            try:
                process = self._start(order, writing)
            finally:
                os.close(writing)
            if process is None:
                return _never(order, "not begun: whoever asked for it was stopped")
            said = None
            try:
                said = _last(told, listen)
            finally:
                record = self._end(process, order, killed=said is None)
        return _ending(order, said) if said else _died(order, process.returncode, record, retry=not self._over)

    def _start(self, order: Order, writing: int) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._over:
                return None
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(writing), msgspec.json.encode(order).decode()],
                pass_fds=(writing,),
                stdin=subprocess.PIPE,  # closed when this process ends, even when it is killed
                start_new_session=True,  # a signal to the group would come beside our own
            )
            self._processes.add(process)
            return process

    def _end(self, process: subprocess.Popen[bytes], order: Order, *, killed: bool) -> RunRecord | None:
        """See a process off; one that has not said how its run ended must close the record, or it is closed here."""
        if killed:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CLOSING_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
        with self._lock:
            self._processes.discard(process)
        return _close(order.project, process.pid) if killed else None


def _last(lines: Iterator[bytes], listen: Listen) -> _Told | None:
    for line in lines:
        told = msgspec.json.decode(line, type=_Told)
        if told.event is None:
            return told
        listen(told.event)
    return None


def _ending(order: Order, told: _Told) -> Ending:
    if told.record is None:
        problem = told.problem or Problem(type="RuntimeError", message="the run said nothing")
        return _never(order, problem.message, retry=problem.transient)
    return Ending.of(told.record)


def _close(project: str, pid: int) -> RunRecord | None:
    """Close the record that a dead process left open, heal what it left half done, and return it if there is any."""
    from rehone import api

    try:
        api.doctor(project)
        last = RunLog.of(load_config(Path(project))).last()
    except RehoneError:
        log.warning("what a dead run left is for the next run to close", exc_info=True)
        return None
    return last if last and (last.pid, last.host) == (pid, socket.gethostname()) else None


def _died(order: Order, code: int, record: RunRecord | None, *, retry: bool) -> Ending:
    if record is not None and record.status is not None:
        return replace(Ending.of(record), retry=retry and record.status is RunStatus.FAILED)  # a verdict is final
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return _never(
        order, f"the process of the run ended ({name}) before it could say how; what is live is whole", retry=retry
    )


def _never(order: Order, sentence: str, *, retry: bool = False) -> Ending:
    return Ending(project=order.project, status=RunStatus.FAILED, sentence=sentence, retry=retry)


def _main(descriptor: int, order: Order) -> None:
    """Be the process of a run: write its events, then its record, to the descriptor."""
    from rehone import api

    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_follow, daemon=True).start()
    os.set_inheritable(descriptor, False)
    with open(descriptor, "wb", buffering=0) as pipe:

        def tell(**said: Event | RunRecord | Problem) -> None:
            pipe.write(msgspec.json.encode(_Told(**said)) + b"\n")  # type: ignore[arg-type]  # each has its own type

        try:
            record = api.run_pipeline(
                order.project, as_of=order.as_of, force=order.force, listen=lambda event: tell(event=event)
            )
        except RehoneError as error:
            tell(problem=Problem(type=type(error).__name__, message=str(error)))
        else:
            tell(record=record)


def _follow() -> None:
    """Wait until whoever asked for the run is gone; then end it as SIGTERM would."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _stop(_signum: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break the closing of the record
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    _main(int(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Order))

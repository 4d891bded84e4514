"""Let several processes share one port: start them, watch them, replace the ones that die or hang."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from rehone.config import Serve
from rehone.serve.server import ServeError, listen, url_of

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
HUNG_SECONDS: Final = 30.0
"""A worker whose event loop has not turned for longer is killed and replaced."""

START_SECONDS: Final = 120.0
"""A worker whose event loop has not turned at all for longer after its start is killed and replaced too."""

LIVED_SECONDS: Final = 10.0
"""A worker that lived longer is replaced at once; after shorter lives the pause doubles."""

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
GRACE_SECONDS: Final = 5.0
"""Time beyond `drain_seconds` in which a worker writes its prediction log out and ends."""

_LOOK_SECONDS: Final = 0.1
_WELL_ENDED: Final = (0, 128 + signal.SIGTERM, -signal.SIGTERM)


def supervise(
    policy: Serve,
    command: Sequence[str],
    told: bytes,
    *,
    on_ready: Callable[[str, int], None],
    hung_seconds: float = HUNG_SECONDS,
    start_seconds: float = START_SECONDS,
) -> None:
    """Listen, and keep `policy.workers` processes answering until SIGTERM or SIGINT.

    Each process is `command` with two file descriptors appended, of the listening socket and of
    its tie to this process, and reads `told` from its standard input. `on_ready` is called once,
    with the URL and the number of workers, when all accept requests. A second signal ends the
    workers without waiting for what is under way.

    Raises:
        ServeError: the address cannot be listened on, a worker ended before the service was
            ever up, or one had to be killed at the end.
    """
    with listen(policy.host, policy.port) as shared, _asked_to_end() as asked:
        crew = _Crew(tuple(command), told, shared, hung_seconds, max(hung_seconds, start_seconds))
        try:
            crew.hire(policy.workers)
            crew.serve(asked, lambda: on_ready(url_of(shared), policy.workers))
        finally:
            shared.close()
            left = crew.dismiss(asked, policy.drain_seconds + GRACE_SECONDS)
    if left:
        raise ServeError(
            f"{', '.join(left)}: requests under way may be lost; raise serve.drain_seconds if they take longer"
        )


@contextlib.contextmanager
def _asked_to_end() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of ending by them."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda signum, _frame: asked.append(signum))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(eq=False)
class _Worker:
    """A place among the workers, and the process that holds it just now."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    tie: socket.socket | None = None
    began: float = 0.0
    ticked: float | None = None
    killed: bool = False
    pause: float = 0.0
    again: float = 0.0

    def note_end(self, now: float) -> None:
        """Choose when the place is filled again: at once after a life, later and later after failed starts."""
        short = now - self.began < LIVED_SECONDS
        self.pause = min(max(2 * self.pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS) if short else 0.0
        self.again = now + self.pause
        self.process = self.ticked = None
        self.killed = False

    def silent(self, now: float) -> float:
        """Return the seconds since its last tick, or since its start if there was none."""
        return now - (self.began if self.ticked is None else self.ticked)


@dataclass(eq=False)
class _Crew:
    """The workers of one service."""

    command: tuple[str, ...]
    told: bytes
    shared: socket.socket
    hung_seconds: float
    start_seconds: float
    _workers: list[_Worker] = field(default_factory=list)
    _ties: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _was_up: bool = False

    def hire(self, count: int) -> None:
        """Start the first processes."""
        for number in range(1, count + 1):
            worker = _Worker(number)
            self._workers.append(worker)
            self._start(worker)

    def serve(self, asked: Sequence[int], on_up: Callable[[], None]) -> None:
        """Replace what dies or hangs until something is asked; call `on_up` once when all answer.

        Raises:
            ServeError: a worker gave up before the service was ever up.
        """
        while not asked:
            self._listen(_LOOK_SECONDS)
            for worker in self._workers:
                self._look_at(worker, time.monotonic())
            if not self._was_up and all(worker.ticked is not None for worker in self._workers):
                self._was_up = True
                on_up()

    def dismiss(self, asked: Sequence[int], seconds: float) -> list[str]:
        """Tell every worker to end, wait, kill who stays; return what was wrong with whom."""
        leaving = [worker for worker in self._workers if worker.process is not None]
        signals, until = len(asked), time.monotonic() + seconds
        for worker in leaving:
            _process_of(worker).send_signal(signal.SIGTERM)
        while any(_process_of(worker).poll() is None for worker in leaving):
            if time.monotonic() > until or len(asked) > max(signals, 1):
                break
            time.sleep(0.02)
        said = [sentence for worker in leaving if (sentence := _ended(worker, seconds))]
        self._ties.close()
        for worker in self._workers:
            self._untie(worker)
        return said

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = self.shared.fileno(), theirs.fileno()
            try:
                worker.process = subprocess.Popen(
                    [*self.command, *map(str, descriptors)],
                    stdin=subprocess.PIPE,
                    pass_fds=descriptors,
                    process_group=0,  # Ctrl-C reaches this process only, which passes it on once
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        worker.tie, worker.began = ours, time.monotonic()
        self._ties.register(ours, selectors.EVENT_READ, worker)
        _tell(worker.process, self.told)

    def _start_again(self, worker: _Worker, now: float) -> None:
        """Fill a place; a machine that has no process or no memory to give just now is asked again later."""
        worker.began = now
        try:
            self._start(worker)
        except OSError as error:
            worker.note_end(now)
            facts = {"worker": worker.number, "because": str(error), "pause_seconds": worker.pause}
            log.warning("worker not started", extra=facts)

    def _listen(self, seconds: float) -> None:
        """Wait a little for ticks, and note them."""
        for key, _ in self._ties.select(seconds):
            worker: _Worker = key.data
            try:
                ticks = worker.tie.recv(4096) if worker.tie else b""
            except OSError:
                ticks = b""
            if ticks:
                worker.ticked = time.monotonic()
            else:
                self._untie(worker)

    def _untie(self, worker: _Worker) -> None:
        if worker.tie is None:
            return
        with contextlib.suppress(KeyError, RuntimeError):
            self._ties.unregister(worker.tie)
        worker.tie.close()
        worker.tie = None

    def _look_at(self, worker: _Worker, now: float) -> None:
        if worker.process is None:
            if now >= worker.again:
                self._start_again(worker, now)
            return
        code = worker.process.poll()
        if code is not None:
            self._replace(worker, code, now)
        elif not worker.killed and worker.silent(now) > self._patience(worker):
            facts = {"worker": worker.number, "worker_pid": worker.process.pid, "silent_seconds": worker.silent(now)}
            log.error("worker hangs and is killed", extra=facts)
            worker.process.kill()
            worker.killed, worker.ticked = True, None

    def _patience(self, worker: _Worker) -> float:
        return self.start_seconds if worker.ticked is None else self.hung_seconds

    def _replace(self, worker: _Worker, code: int, now: float) -> None:
        if code > 0 and worker.ticked is None and not self._was_up:
            raise ServeError(
                f"worker {worker.number} ended with code {code} before it answered: what it said stands above, "
                "put that right and start again"
            )
        pid = _process_of(worker).pid
        self._untie(worker)
        worker.note_end(now)
        log.warning(
            "worker ended, another one takes its place",
            extra={
                "worker": worker.number,
                "worker_pid": pid,
                "because": _how(code),
                "pause_seconds": worker.pause,
            },
        )


def _tell(process: subprocess.Popen[bytes], told: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - it was opened as a pipe
    with contextlib.suppress(BrokenPipeError):  # it has died already, which is noticed at the next look
        process.stdin.write(told)
        process.stdin.close()


def _process_of(worker: _Worker) -> subprocess.Popen[bytes]:
    assert worker.process is not None  # noqa: S101 - callers look first
    return worker.process


def _ended(worker: _Worker, seconds: float) -> str | None:
    process = _process_of(worker)
    code = process.poll()
    if code is None:
        process.kill()
        process.wait()
        return f"worker {worker.number} had not ended {seconds:g} s after it was asked to, and was killed"
    return None if code in _WELL_ENDED else f"worker {worker.number} {_how(code)} while it was ending"


def _how(code: int) -> str:
    return f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"


class Tie:
    """What binds a worker to the process that started it: ticks go up, and its end is noticed."""

    def __init__(self, descriptor: int, drain_seconds: float) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._seconds = drain_seconds + GRACE_SECONDS

    def watch(self) -> None:
        """From now on end this process, by SIGTERM and then for good, when its parent is gone."""
        threading.Thread(target=self._wait, name="tie", daemon=True).start()

    def _wait(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(64):
                pass
        log.error("the parent is gone: this worker ends too")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._seconds)
        os._exit(1)

    def tick(self) -> None:
        """Tell the parent that the event loop turns, now and every second; called on that loop."""
        with contextlib.suppress(OSError):  # nobody reads: the thread that watches notices
            self._socket.send(b".", socket.MSG_DONTWAIT)
        asyncio.get_running_loop().call_later(TICK_SECONDS, self.tick)


def inherited(descriptor: int) -> socket.socket:
    """Return the listening socket that the parent opened."""
    shared = socket.socket(fileno=descriptor)
    shared.set_inheritable(False)
    return shared

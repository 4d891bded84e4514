"""Score what is waiting together: a micro-batch is whatever came in while the last one was scored."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rehone.serve.follower import Loaded, Serving
from rehone.serve.rows import Asked, Reader, Row

log = logging.getLogger(__name__)

MOST_ROWS: Final = 10_000
"""Rows scored in one call; what is beyond waits for the next."""

INLINE_SECONDS: Final = 0.001
"""A batch that is expected to take no longer is scored on the event loop: a thread would cost more.

Only where the code of the estimator is not run: that of others may be quick a thousand times, and hang.
"""

HUNG_SECONDS: Final = 60.0
"""A version that has not come back for longer is not waited for: who asks it is told so at once."""

_WEIGHT: Final = 0.2


class Full(Exception):
    """Too many rows are waiting for the model, or it does not come back."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """The rows of one request, what is asked about them, and who waits for their scores."""

    serving: Serving
    loaded: Loaded
    reader: Reader
    asked: Asked
    request_id: str
    done: asyncio.Future[NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows that were scored together by one version."""

    waiting: Sequence[Waiting]
    scores: NDArray[np.float64]
    seconds: float

    @property
    def serving(self) -> Serving:
        return self.waiting[0].serving

    @property
    def loaded(self) -> Loaded:
        return self.waiting[0].loaded


class Batcher:
    """Scores requests in micro-batches without a timer, one batch at a time for each version.

    While a batch is scored in a thread, or until the event loop has read what else has arrived,
    requests wait; then all of them are the next batch. Each version has a thread and a share of
    `max_waiting_rows` of its own, so that one that hangs holds up nobody who asks another.
    `scored` is told of every batch.
    """

    def __init__(
        self, max_waiting_rows: int, scored: Callable[[Batch], None], *, hung_seconds: float = HUNG_SECONDS
    ) -> None:
        self._most = max_waiting_rows
        self._told = scored
        self._hung_seconds = hung_seconds
        self._lanes: dict[Loaded, _Lane] = {}

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for any version, and those that are being scored."""
        return sum(lane.rows for lane in self._lanes.values())

    async def score(self, waiting: Waiting) -> NDArray[np.float64]:
        """Return the scores of a request's rows, (n,).

        Raises:
            Full: too many rows are waiting already.
            Exception: what the model raised.
        """
        rows = len(waiting.asked.rows)
        lane = self._lanes.get(waiting.loaded)
        if lane is None:
            lane = self._lanes[waiting.loaded] = _Lane()
        if lane.hangs:
            raise self._hung(waiting.loaded)
        if lane.rows and lane.rows + rows > self._most:
            raise Full(
                f"{lane.rows:,} rows are waiting for the model, at most {self._most:,}: "
                "send fewer requests at a time, or start more workers"
            )
        lane.queue.append(waiting)
        lane.rows += rows
        if not lane.busy:
            lane.busy = True
            asyncio.get_running_loop().call_soon(self._next, lane)
        return await waiting.done

    def _next(self, lane: _Lane) -> None:
        """Score what is waiting; come back when a thread has done it."""
        while lane.queue:
            batch = lane.take()
            rows = batch[0].asked.rows if len(batch) == 1 else [row for one in batch for row in one.asked.rows]
            if lane.expects(len(rows)) <= INLINE_SECONDS and batch[0].loaded.predictor.prepare() is not None:
                self._finish(lane, batch, _scored(batch[0], rows))
                continue
            watch = asyncio.get_running_loop().call_later(self._hung_seconds, self._give_up, lane, batch)
            lane.ask(functools.partial(_scored, batch[0], rows), functools.partial(self._back, lane, batch, watch))
            return
        lane.busy = False
        for loaded, other in [*self._lanes.items()]:
            if not other.busy and other is not lane:
                self._lanes.pop(loaded).end()

    def _back(self, lane: _Lane, batch: Sequence[Waiting], watch: asyncio.TimerHandle, result: _Result) -> None:
        watch.cancel()
        lane.hangs = False
        self._finish(lane, batch, result)
        self._next(lane)

    def _give_up(self, lane: _Lane, batch: Sequence[Waiting]) -> None:
        """Tell those who wait for a version that hangs; what it says later is heard by nobody."""
        lane.hangs = True
        left, lane.queue = lane.queue, []
        lane.rows -= sum(len(one.asked.rows) for one in left)
        _refuse([*batch, *left], self._hung(batch[0].loaded))

    def _hung(self, loaded: Loaded) -> Full:
        return Full(f"version {loaded.version} has not come back for {self._hung_seconds:g} s: roll it back")

    def _finish(self, lane: _Lane, batch: Sequence[Waiting], result: _Result) -> None:
        scores, seconds = result
        lane.rows -= sum(len(one.asked.rows) for one in batch)
        if isinstance(scores, Exception):
            _refuse(batch, scores)
            return
        lane.learn(len(scores), seconds)
        start = 0
        for one in batch:
            end = start + len(one.asked.rows)
            if not one.done.done():  # the client may have gone
                one.done.set_result(scores[start:end])
            start = end
        try:
            self._told(Batch(batch, scores, seconds))
        except Exception:  # what is told of a batch may not hold up the next one; it is logged whole
            log.exception("batch not counted", extra={"version": batch[0].loaded.version})


def _refuse(waiting: Sequence[Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.done.done():
            one.done.set_exception(error)


class _Lane:
    """What waits for one version, and what a batch of about a size takes it."""

    def __init__(self) -> None:
        self.queue: list[Waiting] = []
        self.rows = 0
        self.busy = False
        self.hangs = False
        self._seconds: dict[int, float] = {}
        self._errands: queue.SimpleQueue[_Errand | None] | None = None

    def ask(self, act: Callable[[], _Result], then: Callable[[_Result], None]) -> None:
        """Act in the lane's thread, and hand what came of it to `then` on this event loop."""
        if self._errands is None:
            self._errands = queue.SimpleQueue()
            threading.Thread(target=_run, args=(self._errands,), name="predict", daemon=True).start()
        self._errands.put((asyncio.get_running_loop(), act, then))

    def end(self) -> None:
        """Let the thread go."""
        if self._errands is not None:
            self._errands.put(None)

    def take(self) -> list[Waiting]:
        """Take the requests that are scored with the first: of the same deployment, and not too many rows."""
        first, rows, taken = self.queue[0].serving, 0, 0
        for one in self.queue:
            rows += len(one.asked.rows)
            if one.serving is not first or (taken and rows > MOST_ROWS):
                break
            taken += 1
        batch, self.queue = self.queue[:taken], self.queue[taken:]
        return batch

    def expects(self, rows: int) -> float:
        """Return the seconds that so many rows are expected to take; what was never seen goes to a thread."""
        return self._seconds.get(rows.bit_length(), math.inf)

    def learn(self, rows: int, seconds: float) -> None:
        """Remember what about so many rows took, the newest weighing most."""
        size = rows.bit_length()
        known = self._seconds.get(size, seconds)
        self._seconds[size] = known + _WEIGHT * (seconds - known)


_Result: TypeAlias = tuple[NDArray[np.float64] | Exception, float]
_Errand: TypeAlias = tuple[asyncio.AbstractEventLoop, Callable[[], _Result], Callable[[_Result], None]]


def _run(errands: queue.SimpleQueue[_Errand | None]) -> None:
    """Do one errand after the other; a process that ends does not wait for the last one."""
    while (errand := errands.get()) is not None:
        loop, act, then = errand
        result = act()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(then, result)


def _scored(first: Waiting, rows: Sequence[Row]) -> _Result:
    try:
        matrix = first.reader.encode(rows)
        began = time.perf_counter()
        scores = first.loaded.predictor.score(matrix)
    except BaseException as error:  # noqa: BLE001  it is told to each who waits, and logged there; SystemExit too
        return _tellable(error), 0.0
    if scores.shape != (len(rows),):
        return ValueError(f"{len(rows)} rows were given scores of shape {scores.shape}"), 0.0
    return scores, time.perf_counter() - began


def _tellable(error: BaseException) -> Exception:
    """Return what an event loop can hand on: no end of the process, no end of an iteration."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    told = RuntimeError(f"the model raised {type(error).__name__}: {error}")
    told.__cause__ = error
    return told

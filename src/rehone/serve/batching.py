"""Score what is waiting together: a micro-batch is whatever came in while the last one was scored."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rehone.serve.follower import Loaded, Serving
from rehone.serve.rows import Asked, Reader, Row

MOST_ROWS: Final = 10_000
"""Rows scored in one call; what is beyond waits for the next."""

INLINE_SECONDS: Final = 0.001
"""A batch that is expected to take no longer is scored on the event loop: a thread would cost more."""

_WEIGHT: Final = 0.2


class Full(Exception):
    """Too many rows are waiting for the model."""


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
    requests wait; then all of them are the next batch. A version that hangs holds up nobody who
    asks another. `scored` is told of every batch.
    """

    def __init__(self, workers: Executor, max_waiting_rows: int, scored: Callable[[Batch], None]) -> None:
        self.waiting_rows = 0
        self._workers = workers
        self._most = max_waiting_rows
        self._told = scored
        self._lanes: dict[Loaded, _Lane] = {}

    async def score(self, waiting: Waiting) -> NDArray[np.float64]:
        """Return the scores of a request's rows, (n,).

        Raises:
            Full: too many rows are waiting already.
            Exception: what the model raised.
        """
        rows = len(waiting.asked.rows)
        if self.waiting_rows and self.waiting_rows + rows > self._most:
            raise Full(f"{self.waiting_rows:,} rows are waiting for the model, at most {self._most:,}")
        lane = self._lanes.get(waiting.loaded)
        if lane is None:
            lane = self._lanes[waiting.loaded] = _Lane()
        lane.queue.append(waiting)
        self.waiting_rows += rows
        if not lane.busy:
            lane.busy = True
            asyncio.get_running_loop().call_soon(self._next, lane)
        return await waiting.done

    def _next(self, lane: _Lane) -> None:
        """Score what is waiting; come back when a thread has done it."""
        while lane.queue:
            batch = lane.take()
            rows = batch[0].asked.rows if len(batch) == 1 else [row for one in batch for row in one.asked.rows]
            if lane.expects(len(rows)) <= INLINE_SECONDS:
                self._finish(lane, batch, _scored(batch[0], rows))
                continue
            under_way = asyncio.get_running_loop().run_in_executor(self._workers, _scored, batch[0], rows)
            under_way.add_done_callback(functools.partial(self._back, lane, batch))
            return
        lane.busy = False
        self._lanes = {loaded: other for loaded, other in self._lanes.items() if other.busy or other is lane}

    def _back(self, lane: _Lane, batch: Sequence[Waiting], found: asyncio.Future[_Result]) -> None:
        try:
            result = found.result()
        except BaseException as error:  # noqa: BLE001  a thread that ended is told to those who wait
            result = error, 0.0
        self._finish(lane, batch, result)
        self._next(lane)

    def _finish(self, lane: _Lane, batch: Sequence[Waiting], result: _Result) -> None:
        scores, seconds = result
        self.waiting_rows -= sum(len(one.asked.rows) for one in batch)
        if isinstance(scores, BaseException):
            for one in batch:
                if not one.done.done():
                    one.done.set_exception(scores)
            return
        lane.learn(len(scores), seconds)
        start = 0
        for one in batch:
            end = start + len(one.asked.rows)
            if not one.done.done():  # the client may have gone
                one.done.set_result(scores[start:end])
            start = end
        self._told(Batch(batch, scores, seconds))


class _Lane:
    """What waits for one version, and what a batch of about a size takes it."""

    def __init__(self) -> None:
        self.queue: list[Waiting] = []
        self.busy = False
        self._seconds: dict[int, float] = {}

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


_Result = tuple[NDArray[np.float64] | BaseException, float]


def _scored(first: Waiting, rows: Sequence[Row]) -> _Result:
    try:
        matrix = first.reader.encode(rows)
        began = time.perf_counter()
        return first.loaded.predictor.score(matrix), time.perf_counter() - began
    except Exception as error:  # noqa: BLE001  it is told to each who waits, and logged there
        return error, 0.0

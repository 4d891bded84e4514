"""Score a challenger on what the champion has just answered, and count what came of it."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rehone.records import Contract, ShadowReport
from rehone.serve.batching import Batch
from rehone.serve.follower import Loaded, Staged
from rehone.serve.rows import Asked, Reader, Row, encode_rows

log = logging.getLogger(__name__)

MOST_WAITING: Final = 16
"""Batches that wait for the challenger; what comes beyond is skipped."""
HUNG_SECONDS: Final = 30.0
"""Time after which a batch under way is reported as one that does not come back."""


class Shadows:
    """Takes the batches of one process; every challenger is scored in a thread of its own.

    `offer` is called by one thread at a time, the event loop's; `report` by any. Whatever a
    challenger does, raise, sleep or never come back, ends in the report and nowhere else.
    """

    def __init__(self) -> None:
        self._rehearsal: _Rehearsal | None = None
        self._turn = threading.Lock()

    def offer(self, batch: Batch) -> None:
        """Take a batch, or count it as skipped; returns at once and raises nothing."""
        staged = batch.serving.shadow
        if staged is None or staged.loaded is None or not len(batch.scores):
            return
        try:
            with self._turn:
                self._of(staged, staged.loaded, batch.loaded).offer(batch)
        except Exception:  # scoring beside the champion may not cost an answer; it is logged whole
            log.exception("batch not offered to the challenger", extra={"version": staged.order.version})

    def report(self, staged: Staged | None) -> ShadowReport | None:
        """Say what was seen of the challenger that is staged; without one, let the last one go."""
        with self._turn:
            rehearsal = self._rehearsal
            if rehearsal is not None and rehearsal.staged is not staged:
                rehearsal.end()  # and forgotten, so that a batch which is late begins anew and is not lost
                self._rehearsal = rehearsal = None
        if staged is None:
            return None
        if rehearsal is None:
            return ShadowReport(version=staged.order.version, because=staged.because or None)
        return rehearsal.report()

    def _of(self, staged: Staged, challenger: Loaded, champion: Loaded) -> _Rehearsal:
        known = self._rehearsal
        if known is not None and known.staged is staged and known.champion.version == champion.version:
            return known
        if known is not None:
            known.end()
        self._rehearsal = _Rehearsal(staged, challenger, champion)
        return self._rehearsal


class _Rehearsal:
    """One challenger beside one champion: its batches, its thread and its tally.

    Both are timed here, one after the other in turns: a time that was taken among requests is of
    another thread, whose waiting for this one would count as the champion's.
    """

    def __init__(self, staged: Staged, challenger: Loaded, champion: Loaded) -> None:
        self.staged = staged
        self.champion = champion
        self._challenger = challenger
        self._tally = _Tally(challenger, champion)
        self._reader = Reader(challenger.predictor.contract)
        self._its_reader = Reader(champion.predictor.contract)
        self._turns = itertools.cycle((False, True))
        self._alike = _shape(challenger.predictor.contract) == _shape(champion.predictor.contract)
        self._due = 1.0 - staged.order.share
        self._batches: deque[Batch] = deque()
        self._more = threading.Condition()
        self._ended = False
        self._since: float | None = None
        threading.Thread(target=self._score_all, name="shadow", daemon=True).start()

    def offer(self, batch: Batch) -> None:
        """Take every so many-th batch, as the share says, if there is room."""
        self._due += self.staged.order.share
        if self._due < 1.0:
            return
        self._due -= 1.0
        with self._more:
            full = len(self._batches) >= MOST_WAITING
            if not full:
                self._batches.append(batch)
                self._more.notify()
        if full:
            self._tally.skip(len(batch.scores))

    def end(self) -> None:
        """Score nothing more; a batch under way comes to its end alone."""
        with self._more:
            self._ended = True
            self._batches.clear()
            self._more.notify()

    def report(self) -> ShadowReport:
        since = self._since
        seconds = time.monotonic() - since if since is not None else 0.0
        hung = f"a batch has not come back for {seconds:.0f} s" if seconds > HUNG_SECONDS else None
        return self._tally.report(hung)

    def _score_all(self) -> None:
        while (batch := self._next()) is not None:
            self._since = time.monotonic()
            try:
                self._score(batch)
            except Exception:  # noqa: BLE001  a challenger that fails is what is to be found out; the first one is logged
                self._failed(len(batch.scores))
            finally:
                self._since = None

    def _next(self) -> Batch | None:
        with self._more:
            self._more.wait_for(lambda: self._ended or self._batches)
            return None if self._ended else self._batches.popleft()

    def _score(self, batch: Batch) -> None:
        """Score a batch whole, as the champion did; if that fails, request by request and untimed."""
        parts = list(self._parts(batch))
        scored = np.concatenate([part.scores for part in parts])
        self._failed(len(batch.scores) - len(scored), log_it=False)
        if not len(scored):
            return
        try:
            found, seconds, took = self._timed(parts)
        except Exception:  # noqa: BLE001  which of the requests it was is found out one by one
            self._score_one_by_one(parts)
            return
        self._tally.add(scored, found, seconds, took)

    def _timed(self, parts: Sequence[_Part]) -> tuple[NDArray[np.float64], float, float]:
        """Return the challenger's scores, and the seconds that each took for the same rows."""
        mine = np.concatenate([part.matrix for part in parts])
        theirs = np.concatenate([part.champions for part in parts])
        if next(self._turns):
            found, took = _clocked(self._challenger, mine)
            return found, _clocked(self.champion, theirs)[1], took
        seconds = _clocked(self.champion, theirs)[1]
        found, took = _clocked(self._challenger, mine)
        return found, seconds, took

    def _score_one_by_one(self, parts: Sequence[_Part]) -> None:
        for part in parts:
            try:
                found = self._challenger.predictor.score(part.matrix)
            except Exception:  # noqa: BLE001  as in _score_all
                self._failed(len(part.scores))
            else:
                self._tally.add(part.scores, found)

    def _parts(self, batch: Batch) -> Iterator[_Part]:
        start = 0
        for question in batch.waiting:
            end = start + len(question.asked.rows)
            yield self._part(question.asked, batch.scores[start:end])
            start = end

    def _part(self, asked: Asked, scores: NDArray[np.float64]) -> _Part:
        """Encode the rows of one request for the challenger; those that it cannot read are left out."""
        width = len(self.champion.predictor.contract.features)
        rows: Sequence[Row] = asked.rows if len(asked.names) == width else [row[:width] for row in asked.rows]
        champions = self._its_reader.encode(rows)
        if self._alike:
            return _Part(self._reader.encode(rows), champions, scores)
        matrix, bad = encode_rows(asked.names, asked.rows, self._reader)
        return _Part(matrix, np.delete(champions, bad, axis=0), np.delete(scores, bad))

    def _failed(self, rows: int, *, log_it: bool = True) -> None:
        if log_it and not self._tally.failed_rows:
            version = self._challenger.version
            log.warning("challenger failed beside the champion", exc_info=True, extra={"version": version})
        self._tally.fail(rows)


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one request as the challenger and as the champion read them, with its scores."""

    matrix: NDArray[np.float64]
    champions: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(slots=True, eq=False)
class _Tally:
    """Adds up what was seen; written by the loop and the challenger's thread, read by the heart's."""

    challenger: Loaded
    champion: Loaded
    failed_rows: int = 0
    _edges: NDArray[np.float64] | None = None
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _sums: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        profile = self.challenger.profile
        if profile is not None and profile.scores is not None:
            self._edges = np.asarray(profile.scores.edges, dtype=np.float64)
            self._counts = np.zeros(len(profile.scores.edges) + 1, dtype=np.int64)

    def skip(self, rows: int) -> None:
        with self._lock:
            self._add("skipped_rows", rows)

    def fail(self, rows: int) -> None:
        with self._lock:
            self.failed_rows += rows

    def add(
        self, before: NDArray[np.float64], after: NDArray[np.float64], seconds: float = 0.0, took: float = 0.0
    ) -> None:
        """Count rows that both scored; a score that is no number is a failure."""
        good = np.isfinite(after)
        before, after = before[good], after[good]
        apart = after - before
        changed = (after >= self.challenger.predictor.threshold) != (before >= self.champion.predictor.threshold)
        with self._lock:
            self.failed_rows += int(good.size - after.size)
            self._add("rows", after.size)
            self._add("changed_decisions", int(changed.sum()))
            self._add("sum_difference", float(apart.sum()))
            self._add("sum_squared_difference", float((apart**2).sum()))
            self._add("champion_seconds", seconds)
            self._add("challenger_seconds", took)
            largest = float(np.abs(apart).max(initial=0.0))
            self._sums["largest_difference"] = max(self._sums.get("largest_difference", 0.0), largest)
            if self._edges is not None:
                places = np.searchsorted(self._edges, after, side="left")
                self._counts += np.bincount(places, minlength=self._counts.size)

    def report(self, because: str | None) -> ShadowReport:
        with self._lock:
            return ShadowReport(
                version=self.challenger.version,
                champion=self.champion.version,
                failed_rows=self.failed_rows,
                score_counts=tuple(self._counts.tolist()),
                because=because,
                **self._sums,
            )

    def _add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0) + value


def _clocked(model: Loaded, matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    began = time.perf_counter()
    found = model.predictor.score(matrix)
    return found, time.perf_counter() - began


def _shape(contract: Contract) -> tuple[tuple[str, str], ...]:
    return tuple((feature.name, feature.kind.value) for feature in contract.features)

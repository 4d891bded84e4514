"""Answer what the live model says of the rows of a request, and tell the log, the shadow and the meters."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from rehone.config import Serve
from rehone.predictions import Entry, Writer
from rehone.serve.batching import Batch, Batcher, Full, Waiting
from rehone.serve.follower import Loaded, Serving
from rehone.serve.http import Answer, ClientGone, Handler, Request, encode, read, refused
from rehone.serve.meters import Meters
from rehone.serve.problems import Refusal
from rehone.serve.rows import Asked, Reader

log = logging.getLogger(__name__)

REQUEST_ID: Final = b"x-request-id"
PROBE: Final = b"x-rehone-probe"
LARGE_BODY: Final = 65_536
"""Bodies above this are decoded in a thread, so that they hold up nobody else."""

_PLAIN_ID: Final = re.compile(r"[!-~]{1,200}")


class Shadowing(Protocol):
    """Scores a challenger on the batches that the champion has answered."""

    def offer(self, batch: Batch) -> None:
        """Take a batch, or count it as skipped; returns at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The answer to the rows of one request, before it is written down in a protocol."""

    serving: Serving
    loaded: Loaded
    scores: list[float]
    decisions: list[bool]


@dataclass(eq=False, kw_only=True)
class Service:
    """What answers predictions in one process; the protocols are doors to it."""

    serving: Callable[[], Serving]
    policy: Serve
    workers: Executor
    clock: Callable[[], datetime]
    project: str = "model"
    id_column: str | None = None
    log: Writer | None = None
    shadow: Shadowing | None = None
    meters: Meters = field(default_factory=Meters)
    connections: Callable[[], int | None] = lambda: None
    batcher: Batcher = field(init=False)
    _readers: tuple[Serving | None, Reader | None] = field(init=False, default=(None, None))
    _new_id: Callable[[], str] = field(init=False)

    def __post_init__(self) -> None:
        self._new_id = _counted_ids()
        self.batcher = Batcher(self.policy.max_waiting_rows, self._told)

    def reader(self, serving: Serving, loaded: Loaded) -> Reader:
        """Return the reader of rows for what is served, compiled once for each change."""
        known, reader = self._readers
        if known is serving and reader is not None:
            return reader
        reader = Reader(
            loaded.predictor.contract,
            id_column=self.id_column,
            extra=_columns_of_shadow(serving),
            refuse_unknown=self.policy.extra_columns == "refuse",
        )
        self._readers = serving, reader
        return reader

    def request_id(self, given: bytes | str | None) -> str | Refusal:
        """Return the id that a client gave its request, or a new one."""
        if given is None:
            return self._new_id()
        text = given.decode("latin-1") if isinstance(given, bytes) else given
        if _PLAIN_ID.fullmatch(text):
            return text
        return Refusal(
            status=400,
            error=f"the request id {text[:40]!r} cannot be kept: send 1 to 200 visible ASCII characters without spaces, or none",
        )

    async def score(
        self, asked: Asked, serving: Serving, loaded: Loaded, request_id: str, *, request: Request
    ) -> Scored | Refusal:
        """Score the rows of a request by the version that it was read for, and log the answer.

        A probe of the pipeline, which is not a prediction that anybody acts on, is not logged.
        """
        at = self.clock()
        done: asyncio.Future[NDArray[np.float64]] = asyncio.get_running_loop().create_future()
        if request.line is not None:
            request.line.waits = done
        waiting = Waiting(serving, loaded, self.reader(serving, loaded), asked, request_id, done)
        try:
            scores = await self.batcher.score(waiting)
        except Full as full:
            return Refusal(status=503, error=str(full))
        except ClientGone:
            raise
        except Exception as error_:  # whatever a model raises is the service's fault, and told as such
            log.exception("prediction failed", extra={"version": loaded.version, "request_id": request_id})
            said = f"version {loaded.version} failed on these rows ({type(error_).__name__}): roll it back"
            return Refusal(status=500, error=said)
        if not np.isfinite(scores).all():
            return _not_a_number(scores, loaded)
        threshold = loaded.predictor.threshold
        if self.log is not None and asked.rows and request.header(PROBE) is None:
            self.log.add(self._entry(waiting, scores, at, time.perf_counter() - request.began))
        return Scored(serving, loaded, scores.tolist(), (scores >= threshold).tolist())

    def _entry(self, waiting: Waiting, scores: NDArray[np.float64], at: datetime, seconds: float) -> Entry:
        predictor, asked = waiting.loaded.predictor, waiting.asked
        return Entry(
            at_ns=int(at.timestamp() * 1_000_000) * 1000,
            version=waiting.loaded.version,
            generation=waiting.serving.generation,
            contract=predictor.contract,
            names=asked.names,
            rows=asked.rows,
            ids=row_ids(asked, waiting.request_id),
            scores=scores,
            threshold=predictor.threshold,
            seconds=seconds,
            size=asked.size,
        )

    def _told(self, batch: Batch) -> None:
        """Count a batch, and let the challenger try it."""
        self.meters.scored(len(batch.scores), len(batch.waiting), batch.seconds, batch.scores, batch.loaded.version)
        if self.shadow is not None and batch.serving.shadow is not None:
            self.shadow.offer(batch)


def row_ids(asked: Asked, request_id: str) -> Sequence[str]:
    """Name each row: by its own id, else by the request's, numbered where a list was sent."""
    if not asked.listed:
        return ((asked.ids and asked.ids[0]) or request_id,)
    own = asked.ids or (None,) * len(asked.rows)
    return [id_ or f"{request_id}-{number}" for number, id_ in enumerate(own)]


def no_model(serving: Serving) -> Refusal:
    """Say why nothing can be predicted."""
    return Refusal(status=503, error=f"no model is loaded: {_why_none(serving)}")


def predict(service: Service) -> Handler:
    """Return the handler of `POST /predict`."""

    async def handle(request: Request) -> Answer:
        request_id = service.request_id(request.header(REQUEST_ID))
        body = await read(request, service.policy.max_body_bytes, service.policy.body_seconds)
        if isinstance(body, Refusal):
            return replace(refused(body), last=True)
        if isinstance(request_id, Refusal):
            return refused(request_id)
        serving = service.serving()
        loaded = serving.loaded
        if loaded is None:
            return refused(no_model(serving))
        asked = await _asked(service, serving, loaded, body)
        if isinstance(asked, Refusal):
            return refused(asked)
        found = await service.score(asked, serving, loaded, request_id, request=request)
        return refused(found) if isinstance(found, Refusal) else _predicted(found, request_id)

    return handle


async def _asked(service: Service, serving: Serving, loaded: Loaded, body: bytes) -> Asked | Refusal:
    reader, most = service.reader(serving, loaded), service.policy.max_rows
    if len(body) <= LARGE_BODY:
        return reader.read(body, most)
    return await asyncio.get_running_loop().run_in_executor(service.workers, reader.read, body, most)


class _Prediction(msgspec.Struct, gc=False):
    probability: float
    decision: bool


def _predicted(found: Scored, request_id: str) -> Answer:
    body = encode(
        {
            "version": found.loaded.version,
            "generation": found.serving.generation,
            "threshold": found.loaded.predictor.threshold,
            "predictions": [_Prediction(p, d) for p, d in zip(found.scores, found.decisions, strict=True)],
            "request_id": request_id,
        }
    )
    return Answer(200, body, ((b"content-type", b"application/json"), (REQUEST_ID, request_id.encode())))


def _not_a_number(scores: NDArray[np.float64], loaded: Loaded) -> Refusal:
    bad = int(np.flatnonzero(~np.isfinite(scores))[0])
    log.error("score is not finite", extra={"version": loaded.version, "row": bad})
    return Refusal(
        status=500, error=f"version {loaded.version} gives row {bad} a score that is not a number: roll it back"
    )


def _why_none(serving: Serving) -> str:
    if serving.refused:
        return f"generation {serving.refused.generation} was refused ({serving.refused.because})"
    if serving.trouble:
        return serving.trouble
    if serving.generation is None:
        return "nothing has been deployed yet, deploy a version with `rehone run`"
    return f"generation {serving.generation} says that nothing is to be served, deploy a version with `rehone run`"


def _columns_of_shadow(serving: Serving) -> tuple[str, ...]:
    loaded: Any = serving.shadow.loaded if serving.shadow else None
    return loaded.predictor.contract.names if loaded else ()


def _counted_ids() -> Callable[[], str]:
    """Return a maker of ids that no other process makes: a random beginning and a count."""
    beginning, count = secrets.token_hex(8), itertools.count(1)
    return lambda: f"{beginning}-{next(count):x}"

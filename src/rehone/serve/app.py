"""Answer HTTP: one ASGI callable, a table of routes, and predictions made off the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np

from rehone.config import Serve
from rehone.errors import ArtifactError, ContractError
from rehone.serve.follower import Loaded, Serving
from rehone.serve.rows import Refusal, read_rows

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS: Final = 30.0
DRAINED_BODIES: Final = 8

_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a JSON body, and the methods allowed when the one asked for was not.

    `last` closes the connection, on which the rest of a body may still be coming.
    """

    status: int
    body: bytes
    allow: str | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What a route may look at: the method and the body still to be read."""

    method: str
    receive: Receive
    announced_bytes: int | None


class App:
    """The service as an ASGI callable.

    `serving` returns what is served at this moment. Every request takes it once, so that
    one answer is always of one version. `workers` runs the predictions.
    """

    def __init__(self, serving: Callable[[], Serving], policy: Serve, workers: Executor) -> None:
        self._serving = serving
        self._policy = policy
        self._workers = workers
        self._routes: dict[str, tuple[str, Callable[[Request], Awaitable[Answer]]]] = {
            "/health": ("GET", self._health),
            "/predict": ("POST", self._predict),
            "/v2/health/live": ("GET", self._live),
            "/v2/health/ready": ("GET", self._ready),
        }

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other kinds of connection are not served."""
        if scope["type"] != "http":
            return
        request = Request(scope["method"], receive, _announced(scope["headers"]))
        try:
            answer = await self._answer(scope["path"], request)
        except _ClientGone:
            return
        except Exception:  # a fault in one request must not end the service; it is logged whole
            log.exception("request failed", extra={"path": scope["path"]})
            answer = _error(500, "the service failed on this request: its log says why")
        await _send(send, answer, head=request.method == "HEAD")

    async def _answer(self, path: str, request: Request) -> Answer:
        route = self._routes.get(path)
        if route is None:
            return _error(404, f"there is no {path}: ask for {', '.join(self._routes)}")
        method, handler = route
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if request.method not in allowed:
            said = _error(405, f"{path} does not answer {request.method}: use {method}")
            return replace(said, allow=", ".join(allowed))
        return await handler(request)

    async def _live(self, _request: Request) -> Answer:
        return Answer(200, _encode({"live": True}))

    async def _ready(self, _request: Request) -> Answer:
        ready = self._serving().loaded is not None
        return Answer(200 if ready else 503, _encode({"ready": ready}))

    async def _health(self, _request: Request) -> Answer:
        serving = self._serving()
        return Answer(200 if serving.loaded else 503, _encode(health(serving)))

    async def _predict(self, request: Request) -> Answer:
        body = await _read(request, self._policy.max_body_bytes)
        if isinstance(body, Refusal):
            return replace(_refused(body), last=True)
        serving = self._serving()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, predict, serving, body, self._policy.max_rows)


def health(serving: Serving) -> dict[str, Any]:
    """Say what is served, by which record of the log, and what was refused."""
    loaded, refused = serving.loaded, serving.refused
    version = loaded.version if loaded else None
    return {
        "status": "ready" if loaded else "no model",
        "model_loaded": loaded is not None,
        "version": version,
        "generation": serving.generation,
        "manifest_sha256": version,
        "refused": refused and {f: getattr(refused, f) for f in ("generation", "version", "because")},
        "trouble": serving.trouble,
        "pid": os.getpid(),
    }


def predict(serving: Serving, body: bytes, max_rows: int) -> Answer:
    """Answer one body of rows with the probabilities and decisions of one version."""
    loaded = serving.loaded
    if loaded is None:
        return _error(503, f"no model is loaded: {_why_none(serving)}")
    rows = read_rows(body, loaded.predictor.contract, max_rows=max_rows)
    if isinstance(rows, Refusal):
        return _refused(rows)
    try:
        scores = loaded.predictor.predict_proba(rows) if rows.height else np.empty(0)
    except ContractError as error:
        return _error(422, str(error))
    except ArtifactError as error:
        log.exception("prediction failed", extra={"version": loaded.version})
        return _error(500, str(error))
    return _predicted(scores, loaded, serving.generation)


def _predicted(scores: np.ndarray[Any, np.dtype[np.float64]], loaded: Loaded, generation: int | None) -> Answer:
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores))[0])
        log.error("score is not finite", extra={"version": loaded.version, "row": bad})
        return _error(500, f"version {loaded.version} gives row {bad} a score that is not a number: roll it back")
    threshold = loaded.predictor.threshold
    decisions = (scores >= threshold).tolist()
    return Answer(
        200,
        _encode(
            {
                "version": loaded.version,
                "generation": generation,
                "threshold": threshold,
                "predictions": [
                    {"probability": score, "decision": decision}
                    for score, decision in zip(scores.tolist(), decisions, strict=True)
                ],
            }
        ),
    )


def _why_none(serving: Serving) -> str:
    if serving.refused:
        return f"generation {serving.refused.generation} was refused ({serving.refused.because})"
    if serving.trouble:
        return serving.trouble
    if serving.generation is None:
        return "nothing has been deployed yet, deploy a version with `rehone run`"
    return f"generation {serving.generation} says that nothing is to be served, deploy a version with `rehone run`"


class _ClientGone(Exception):
    """The client closed its connection before its request was whole."""


async def _read(request: Request, limit: int) -> bytes | Refusal:
    """Read a body of at most `limit` bytes.

    What goes beyond is thrown away as it comes, up to a few bodies' worth, so that the client
    gets to read why it was refused.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in _chunks(request.receive):
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                elif size > limit * DRAINED_BODIES:
                    break
    except TimeoutError:
        return Refusal(status=408, error=f"the body did not arrive within {BODY_SECONDS:g} s ({size:,} bytes did)")
    if size <= limit:
        return b"".join(chunks)
    return Refusal(
        status=413,
        error=f"the body is larger than {limit:,} bytes ({request.announced_bytes or size:,}): send fewer rows at a time",
    )


async def _chunks(receive: Receive) -> Any:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _announced(headers: list[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def _refused(refusal: Refusal) -> Answer:
    listed: dict[str, Any] = {"error": refusal.error}
    if refusal.problems:
        listed |= {"problems": refusal.problems, "more": refusal.more}
    return Answer(refusal.status, _encode(listed))


def _error(status: int, error: str) -> Answer:
    return _refused(Refusal(status=status, error=error))


async def _send(send: Send, answer: Answer, *, head: bool) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer.body)).encode())]
    if answer.allow:
        headers.append((b"allow", answer.allow.encode()))
    if answer.last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})

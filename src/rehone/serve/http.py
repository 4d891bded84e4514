"""Speak ASGI: a request as a handler sees it, an answer as it is sent, a body read within its limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from rehone.serve.problems import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON: Final[Headers] = ((b"content-type", b"application/json"),)
DRAINED_BODIES: Final = 8
"""A body beyond the limit is read on for this many limits, so that the client gets to read why."""

CONNECTION: Final = "rehone.connection"
"""Key of the ASGI scope under which the connection stands, where it can tell that its client has gone."""

encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body and its headers. `last` closes the connection, on which a body may still be coming."""

    status: int
    body: bytes
    headers: Headers = JSON
    last: bool = False


class Line(Protocol):
    """A connection that ends what is waited for when its client has gone, with `ClientGone`."""

    waits: asyncio.Future[Any] | None


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler may look at: method, path, headers, query, and the body still to be read."""

    method: str
    path: str
    receive: Receive
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    query: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    line: Line | None = None

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of this name (lower case), if it was sent."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


Handler = Callable[[Request], Awaitable[Answer]]
Route = Mapping[str, Handler]
"""The handler of each method that a path answers."""


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


def said(value: object, status: int = 200) -> Answer:
    """Answer with a value as JSON."""
    return Answer(status, encode(value))


def error(status: int, sentence: str) -> Answer:
    """Answer with one sentence that says what is wrong."""
    return refused(Refusal(status=status, error=sentence))


def refused(refusal: Refusal) -> Answer:
    """Answer with everything that is wrong with a request."""
    listed: dict[str, Any] = {"error": refusal.error}
    if refusal.problems:
        listed |= {"problems": refusal.problems, "more": refusal.more}
    return Answer(refusal.status, encode(listed))


async def read(request: Request, limit: int, seconds: float) -> bytes | Refusal:
    """Read a body of at most `limit` bytes within `seconds`.

    Raises:
        ClientGone: the connection was closed first.
    """
    coding = request.header(b"content-encoding")
    if coding not in (None, b"identity"):
        said = (coding or b"").decode("latin-1")[:40]
        return Refusal(status=415, error=f"the body is encoded as {said!r}: send it as it is")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in _chunks(request.receive):
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                elif size > limit * DRAINED_BODIES:
                    break
    except TimeoutError:
        return Refusal(status=408, error=f"the body did not arrive within {seconds:g} s ({size:,} bytes did)")
    if size <= limit:
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    announced = request.header(b"content-length") or b""
    whole = int(announced) if announced.isdigit() else size
    return Refusal(status=413, error=f"the body is larger than {limit:,} bytes ({whole:,}): send fewer rows at a time")


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def send_answer(send: Send, answer: Answer, *, head: bool) -> None:
    """Send an answer; to a HEAD request without its body."""
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    if answer.last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})

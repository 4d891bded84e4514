"""Hold connections to their limits: headers that do not come or do not end, answers that are not read."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rehone.serve.http import CONNECTION, ClientGone

ANSWER: Final = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"

MOST_HEADERS: Final = 200
"""Header lines of one request."""

MOST_HEADER_BYTES: Final = 65_536
"""Bytes of one request that are not its body, beyond the packet in which it began."""

SPARE: Final = 2
"""So many times the connections that are answered may be there to be told that they are too many."""

FRAME_BYTES: Final = 16
"""Bytes that a byte of a chunked body may bring along: as much as the smallest chunks have."""


class TooManyHeaders(Exception):
    """A request has more than `MOST_HEADERS` header lines."""


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, held to its limits.

    It knows since when its headers are awaited and its answer is not read, and ends requests whose
    headers or trailers are too large. Who waits for a prediction leaves its future in `waits`; the
    future gets `gone` when the client has left. `held` makes the class with its limits.
    """

    most: float = math.inf
    told: Callable[[int], None] = staticmethod(lambda _status: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.awaited: float | None = time.monotonic()
        self.unread: tuple[int, float] = (0, 0.0)
        self.stalled: tuple[object, float] | None = None
        self.waits: asyncio.Future[Any] | None = None
        self._besides = 0

    def data_received(self, data: bytes) -> None:
        self._besides += len(data)
        super().data_received(data)
        if self._besides > MOST_HEADER_BYTES and not self.transport.is_closing():
            self.refuse(
                "431 Request Header Fields Too Large", f"the headers have more than {MOST_HEADER_BYTES:,} bytes"
            )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > SPARE * self.most:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.waits is not None and not self.waits.done():
            self.waits.set_exception(ClientGone())

    def on_message_begin(self) -> None:
        self.awaited = time.monotonic()
        self._besides = 0
        super().on_message_begin()
        self.scope[CONNECTION] = self  # type: ignore[typeddict-unknown-key]  # ASGI lets servers add keys

    def on_headers_complete(self) -> None:
        self.awaited = None
        if len(self.headers) > MOST_HEADERS:
            raise TooManyHeaders
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._besides = max(self._besides - FRAME_BYTES * len(body), 0)
        super().on_body(body)

    def on_response_complete(self) -> None:
        self.waits = None
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  said in other words
        if len(self.headers or ()) > MOST_HEADERS:
            self.refuse("431 Request Header Fields Too Large", f"the request has more than {MOST_HEADERS} headers")
        else:
            self.refuse("400 Bad Request", "this is not a request of HTTP/1.1: TLS, HTTP/2 and the like end elsewhere")

    def refuse(self, status: str, sentence: str) -> None:
        """Answer that a request is not taken, where no other answer is due before, and close."""
        if not self.is_answering:
            said = b'{"error":"%s"}' % sentence.encode()
            self.transport.write(ANSWER % (status.encode(), len(said), said))
            self.told(int(status[:3]))
        self.transport.close()

    @property
    def is_beyond(self) -> bool:
        """Whether more connections are there than are answered."""
        return len(self.connections) > self.most

    @property
    def is_answering(self) -> bool:
        """Whether a request is under way."""
        return self.cycle is not None and not self.cycle.response_complete


def held(most: int, told: Callable[[int], None]) -> type[Connection]:
    """Return the class of connections of which `most` are answered; `told` hears of requests that were not read."""
    return type("Held", (Connection,), {"most": most, "told": staticmethod(told)})


def sweep(connections: Iterable[Any], *, header_seconds: float, unread_seconds: float) -> None:
    """End the connections that are late, with 408 where nothing was answered yet."""
    now = time.monotonic()
    for connection in list(connections):
        if not isinstance(connection, Connection) or connection.transport is None:
            continue
        if _is_late(connection, now, header_seconds):
            connection.refuse("408 Request Timeout", f"the headers did not arrive within {header_seconds:g} s")
        elif _is_unread(connection, now, unread_seconds) or _is_stalled(connection, now, unread_seconds):
            connection.transport.abort()


def _is_late(connection: Connection, now: float, seconds: float) -> bool:
    return connection.awaited is not None and now - connection.awaited > seconds and not connection.is_answering


def _is_stalled(connection: Connection, now: float, seconds: float) -> bool:
    """Say whether for too long nothing was answered although something had come: the rest of a refused body, say."""
    if connection.is_answering or connection.timeout_keep_alive_task is not None:
        connection.stalled = None
        return False
    if connection.stalled is None or connection.stalled[0] is not connection.cycle:
        connection.stalled = connection.cycle, now
    return now - connection.stalled[1] > seconds


def _is_unread(connection: Connection, now: float, seconds: float) -> bool:
    """Say whether the client has read nothing of its answer for too long."""
    waiting = connection.transport.get_write_buffer_size()
    size, since = connection.unread
    if not waiting or waiting != size:
        connection.unread = waiting, now
        return False
    return now - since > seconds

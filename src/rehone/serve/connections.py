"""Hold connections to their time: headers that do not come, answers that are not read."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, which knows since when its headers are awaited and its answer is not read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.awaited: float | None = time.monotonic()
        self.unread: tuple[int, float] = (0, 0.0)

    def on_message_begin(self) -> None:
        self.awaited = time.monotonic()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.awaited = None
        super().on_headers_complete()


def sweep(connections: Iterable[Any], *, header_seconds: float, unread_seconds: float) -> None:
    """End the connections that are late, with 408 where nothing was answered yet."""
    now = time.monotonic()
    for connection in list(connections):
        if not isinstance(connection, Connection) or connection.transport is None:
            continue
        if connection.awaited is not None and now - connection.awaited > header_seconds:
            _refuse(connection, header_seconds)
        elif _is_unread(connection, now, unread_seconds):
            connection.transport.abort()


def _refuse(connection: Connection, seconds: float) -> None:
    said = b'{"error":"the headers did not arrive within %g s"}' % seconds
    connection.transport.write(TOO_LATE % (len(said), said))
    connection.transport.close()


def _is_unread(connection: Connection, now: float, seconds: float) -> bool:
    """Say whether the client has read nothing of its answer for too long."""
    waiting = connection.transport.get_write_buffer_size()
    size, since = connection.unread
    if not waiting or waiting != size:
        connection.unread = waiting, now
        return False
    return now - since > seconds

"""Ask one question over HTTP, within a time limit, and return whatever came of it as a value."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from rehone.codec import decode, encode
from rehone.errors import Corrupt

LARGEST_ANSWER = 10_000_000
PROBE = "X-Rehone-Probe"
"""Tells a service that the answer is only compared: it stays out of the prediction log."""
_KINDS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


@dataclass(frozen=True, slots=True)
class Reply:
    """The status and JSON object of an answer, or the trouble there was in getting one."""

    status: int | None
    body: dict[str, Any]
    trouble: str | None = None


def ask(url: str, *, send: object = None, seconds: float) -> Reply:
    """GET a URL, or POST JSON to it, and read the JSON object that comes back.

    `seconds` limits the whole exchange, however slowly the other side talks. Neither proxies
    nor redirects are followed: the question is about this very address.
    """
    parts = urlsplit(url)
    if parts.scheme not in _KINDS or not parts.hostname:
        return Reply(None, {}, f"{url!r} is not an http:// or https:// address")
    try:
        status, data = _exchange(parts, send, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reply(None, {}, f"{url} does not answer ({type(error).__name__}: {error})")
    if len(data) > LARGEST_ANSWER:
        return Reply(status, {}, f"{url} answers with more than {LARGEST_ANSWER:,} bytes")
    try:
        return Reply(status, decode(data, dict, source=f"the answer of {url} (HTTP {status})"))
    except Corrupt as error:
        return Reply(status, {}, str(error))


def _exchange(parts: SplitResult, send: object, seconds: float) -> tuple[int, bytes]:
    connection = _KINDS[parts.scheme](parts.hostname or "", parts.port, timeout=seconds)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "application/json", "Connection": "close", PROBE: "1"}
    with contextlib.closing(connection):
        connection.connect()
        with _cut_after(connection.sock, seconds):
            if send is None:
                connection.request("GET", path, headers=headers)
            else:
                connection.request("POST", path, encode(send), {**headers, "Content-Type": "application/json"})
            with contextlib.closing(connection.getresponse()) as response:
                return response.status, response.read(LARGEST_ANSWER + 1)


@contextlib.contextmanager
def _cut_after(link: socket.socket, seconds: float) -> Iterator[None]:
    def cut() -> None:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            link.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

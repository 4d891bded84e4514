"""Ask a server over a few keep-alive connections as fast as it answers, and count what comes back.

    with Load(port, [post("/predict", body)], connections=8) as load:
        load.run(seconds=0.5)                 # warm-up
        measured = load.run(seconds=2)

A closed loop: a connection sends its next request as soon as its answer is whole. One process, raw
sockets, requests made beforehand. Every answer's status and length are looked at.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

LOOK_SECONDS = 0.02
"""How often lateness and `until` are looked at."""

RECONNECT_SECONDS = 0.01
LARGEST_READ = 1 << 18


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of one HTTP/1.1 request with a JSON body."""
    named = {"host": "127.0.0.1", "content-type": "application/json", **(headers or {})}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What came back in one run; seconds are of the monotonic clock.

    `failed` counts by kind: "status 503" an answer that is not 200, "broken" a connection that ended
    before its answer was whole, "late" no answer within the patience, "refused" no connection.
    `ended` (n,) is when each good answer was whole, `latencies` (n,) how long it took from the first
    byte sent. `own_cpu` is what the generator itself used: near `seconds`, it is the limit, not the server.
    """

    seconds: float
    own_cpu: float
    failed: Counter[str]
    ended: NDArray[np.float64]
    latencies: NDArray[np.float64]

    @property
    def answers(self) -> int:
        """Count the answers with status 200."""
        return len(self.latencies)

    @property
    def failures(self) -> int:
        """Count all that did not end in such an answer."""
        return self.failed.total()

    @property
    def rate(self) -> float:
        """Return good answers per second."""
        return self.answers / self.seconds

    def latency_ms(self, percent: float) -> float:
        """Return a percentile of the latency, in ms; not a number without answers."""
        return float(np.percentile(self.latencies, percent)) * 1000 if self.answers else float("nan")


@dataclass(slots=True, eq=False)
class _Connection:
    """One socket and the request under way on it; `needs` is the answer's length once its head is there."""

    socket: socket.socket
    busy: bool = False
    sent_at: float = 0.0
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    received: bytearray = field(default_factory=bytearray)
    needs: int = 0
    status: bytes = b""
    closes: bool = False

    def next(self, request: bytes, at: float) -> None:
        self.busy, self.sent_at, self.unsent = True, at, memoryview(request)
        self.received.clear()
        self.needs = 0

    def send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.socket.send(self.unsent) :]

    def receive(self) -> bool:
        """Take what has arrived; return whether the answer is whole.

        Raises:
            ConnectionError: the server closed, or sent what is not one answer with its length.
        """
        chunk = self.socket.recv(LARGEST_READ)
        if not chunk:
            raise ConnectionError("closed before the answer was whole")
        self.received += chunk
        if not self.needs:
            self._read_head()
        if self.needs and len(self.received) > self.needs:
            raise ConnectionError("more than the announced answer")
        return bool(self.needs) and len(self.received) == self.needs

    def body(self) -> bytes:
        return bytes(self.received[self.received.index(b"\r\n\r\n") + 4 :])

    def _read_head(self) -> None:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.received[: end + 2]).lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0 or not head.startswith(b"http/1.1 "):
            raise ConnectionError("not an HTTP/1.1 answer that says its length")
        self.status = head[9:12]
        self.closes = b"\r\nconnection: close" in head
        self.needs = end + 4 + int(head[at + 17 : head.index(b"\r\n", at + 2)])


class Load:
    """A client of `connections` keep-alive connections to a port of this machine.

    The requests are sent in turn, whatever the connection. `observe` is given the body of every
    good answer. A request without an answer for `patience` seconds counts as late. After a failure
    the connection is opened anew and the loop goes on.
    """

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        *,
        connections: int,
        patience: float = 30.0,
        observe: Callable[[bytes], None] | None = None,
    ) -> None:
        self._port = port
        self._requests = requests
        self._patience = patience
        self._observe = observe
        self._poll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._turn = self._left = self._waiting = 0
        self._end = 0.0
        self._until: Callable[[], bool] = lambda: False
        self._failed: Counter[str] = Counter()
        self._took: list[tuple[float, float]] = []
        for _ in range(connections):
            self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        for connection in self._open.values():
            connection.socket.close()
        self._open.clear()
        self._poll.close()

    def run(
        self, *, seconds: float | None = None, requests: int | None = None, until: Callable[[], bool] | None = None
    ) -> Measured:
        """Ask until the first of the given limits, wait for the answers under way, and count.

        Raises:
            ConnectionError: nobody has listened for as long as the patience.
        """
        self._failed, self._took = Counter(), []
        begun, own = time.monotonic(), time.process_time()
        self._left = requests if requests is not None else -1
        self._end = begun + seconds if seconds is not None else float("inf")
        self._until = until or (lambda: False)
        for handle, event in self._poll.poll(0):
            self._serve(self._open[handle], event)
        for connection in tuple(self._open.values()):
            self._ask(connection)
        look_at = begun
        while self._waiting:
            for handle, event in self._poll.poll(LOOK_SECONDS):
                self._serve(self._open[handle], event)
            if (now := time.monotonic()) >= look_at:
                look_at = now + LOOK_SECONDS
                self._look(now)
        took = np.array(self._took, dtype=np.float64).reshape(-1, 2)
        return Measured(
            seconds=time.monotonic() - begun,
            own_cpu=time.process_time() - own,
            failed=self._failed,
            ended=took[:, 0],
            latencies=took[:, 1],
        )

    def _ask(self, connection: _Connection) -> None:
        """Send the next request, unless the run is at its end."""
        now = time.monotonic()
        if self._left == 0 or now >= self._end:
            return
        self._left -= 1
        self._turn = (self._turn + 1) % len(self._requests)
        self._waiting += 1
        connection.next(self._requests[self._turn], now)
        try:
            connection.send()
        except OSError:
            self._fail(connection, "broken")
            return
        if connection.unsent:
            self._poll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _serve(self, connection: _Connection, event: int) -> None:
        """Go on with a connection that has something to read, or room to send."""
        if not connection.busy:  # the server closed it between two requests, as it may
            self._anew(connection)
            return
        try:
            if event & select.EPOLLOUT:
                connection.send()
                if not connection.unsent:
                    self._poll.modify(connection.socket.fileno(), select.EPOLLIN)
            if event & ~select.EPOLLOUT and connection.receive():
                self._count(connection)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._fail(connection, "broken")

    def _count(self, connection: _Connection) -> None:
        now = time.monotonic()
        self._waiting -= 1
        connection.busy = False
        if connection.status == b"200":
            self._took.append((now, now - connection.sent_at))
            if self._observe:
                self._observe(connection.body())
        else:
            self._failed[f"status {connection.status.decode()}"] += 1
        self._ask(self._anew(connection) if connection.closes else connection)

    def _look(self, now: float) -> None:
        """End the run when it is told to, and give up requests that are late."""
        if self._until():
            self._end = now
        for connection in tuple(self._open.values()):
            if connection.busy and now - connection.sent_at > self._patience:
                self._fail(connection, "late")

    def _fail(self, connection: _Connection, kind: str) -> None:
        self._waiting -= 1
        self._failed[kind] += 1
        self._ask(self._anew(connection))

    def _anew(self, connection: _Connection) -> _Connection:
        del self._open[connection.socket.fileno()]
        connection.socket.close()
        return self._connect()

    def _connect(self) -> _Connection:
        """Open a connection, trying again while nobody listens; each refusal is a failure.

        Raises:
            ConnectionError: nobody has listened for as long as the patience.
        """
        end = time.monotonic() + self._patience
        while True:
            try:
                opened = socket.create_connection(("127.0.0.1", self._port), timeout=self._patience)
            except OSError as error:
                self._failed["refused"] += 1
                if time.monotonic() > end:
                    raise ConnectionError(f"nobody listens on 127.0.0.1:{self._port}") from error
                time.sleep(RECONNECT_SECONDS)
            else:
                opened.setblocking(False)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = _Connection(opened)
                self._open[opened.fileno()] = connection
                self._poll.register(opened.fileno(), select.EPOLLIN)
                return connection

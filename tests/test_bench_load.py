"""What the load generator of the service benchmark counts, against real servers that misbehave on purpose."""

from __future__ import annotations

import contextlib
import importlib
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

SERVE = Path(__file__).parent.parent / "bench" / "serve"
CLOSE = b""
"""In a script: the server closes the connection here."""
BODY = b'{"rows": []}'


@pytest.fixture(scope="module", autouse=True)
def path() -> Iterator[None]:
    sys.path.insert(0, str(SERVE))
    yield
    sys.path.remove(str(SERVE))


def said(body: bytes = b"{}", status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def good(_number: int) -> list[bytes]:
    return [said()]


class Scripted(socketserver.ThreadingTCPServer):
    """Answers the n-th request, from 0, with the pieces that the script gives; remembers every body."""

    daemon_threads = True
    script: Callable[[int], Iterable[bytes]]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.bodies: list[bytes] = []
        self.connections = 0
        self.closed = threading.Event()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.set()


class Handler(socketserver.StreamRequestHandler):
    server: Scripted

    def handle(self) -> None:
        with self.server.lock:
            self.server.connections += 1
        while (body := self.read()) is not None:
            with self.server.lock:
                number = len(self.server.bodies)
                self.server.bodies.append(body)
            for piece in self.server.script(number):
                if piece == CLOSE:
                    return
                self.wfile.write(piece)
                time.sleep(0.005)

    def read(self) -> bytes | None:
        length = None
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return None if length is None else self.rfile.read(length)


@contextlib.contextmanager
def server(script: Callable[[int], Iterable[bytes]]) -> Iterator[Scripted]:
    with Scripted() as found:
        found.script = script
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


def run(found: Scripted, bodies: Iterable[bytes] = (BODY,), **how: Any) -> Any:
    load = importlib.import_module("load")
    limits = {name: how.pop(name) for name in ("seconds", "requests", "until") if name in how}
    requests = [load.post("/predict", body) for body in bodies]
    how.setdefault("connections", 1)
    with load.Load(found.server_address[1], requests, **how) as client:
        return client.run(**limits)


def test_every_request_is_sent_once_in_turn_and_every_answer_is_counted() -> None:
    bodies, answers = [b"a", b"bb", b"ccc"], []
    with server(lambda n: [said(b"%d" % n)]) as found:
        measured = run(found, bodies, connections=4, requests=90, observe=answers.append)
    assert (measured.answers, measured.failures, found.connections) == (90, 0, 4)
    assert Counter(found.bodies) == dict.fromkeys(bodies, 30)
    assert sorted(map(int, answers)) == list(range(90))
    assert measured.rate == 90 / measured.seconds


def test_a_status_that_is_not_200_is_a_failure_and_has_no_latency() -> None:
    with server(lambda n: [said(status="503 Service Unavailable" if n % 3 == 0 else "200 OK")]) as found:
        measured = run(found, requests=30)
    assert (measured.answers, measured.failed) == (20, {"status 503": 10})
    assert len(measured.latencies) == len(measured.ended) == 20


def test_an_answer_in_pieces_is_one_answer() -> None:
    whole = said(b'{"x": 1}')
    answers: list[bytes] = []
    with server(lambda _: [whole[:5], whole[5:30], whole[30:-3], whole[-3:]]) as found:
        measured = run(found, requests=4, observe=answers.append)
    assert (measured.answers, measured.failures) == (4, 0)
    assert answers == [b'{"x": 1}'] * 4


@pytest.mark.parametrize(
    "pieces",
    [[CLOSE], [said()[:20], CLOSE], [said(b"1234")[:-1], CLOSE], [b"HTTP/1.1 200 OK\r\n\r\n{}"], [said() + b"x"], [b"SSH-2.0\r\n\r\n"]],
    ids=["closed", "half a head", "half a body", "no length", "too much", "not HTTP"],
)  # fmt: skip
def test_what_is_not_one_whole_answer_is_broken_and_the_next_connection_goes_on(pieces: list[bytes]) -> None:
    with server(lambda n: pieces if n in (1, 4) else [said()]) as found:
        measured = run(found, requests=10)
    assert (measured.answers, measured.failed) == (8, {"broken": 2})
    assert (len(found.bodies), found.connections) == (10, 3)


def test_an_answer_that_announces_its_end_is_followed_by_a_new_connection() -> None:
    with server(lambda _: [said(more="Connection: close\r\n"), CLOSE]) as found:
        measured = run(found, requests=5)
    assert (measured.answers, measured.failures) == (5, 0)
    assert found.connections in (5, 6)  # the last one may be opened for nothing


def test_a_request_without_an_answer_is_late_and_does_not_hold_the_others() -> None:
    with server(lambda n: [] if n == 0 else [said()]) as found:
        measured = run(found, connections=2, requests=20, patience=1.5)
    assert (measured.answers, measured.failed) == (19, {"late": 1})


def test_a_request_larger_than_every_buffer_arrives_whole() -> None:
    large = bytes(range(256)) * 40_000
    with server(good) as found:
        measured = run(found, [large], connections=2, requests=4)
    assert (measured.answers, measured.failures) == (4, 0)
    assert found.bodies == [large] * 4


def test_a_latency_is_the_whole_time_from_sending_to_the_last_byte() -> None:
    def slow(_number: int) -> Iterator[bytes]:
        time.sleep(0.05)
        yield said(b"1234")[:-1]
        time.sleep(0.05)
        yield b"4"

    with server(slow) as found:
        measured = run(found, connections=2, requests=6)
    assert measured.latencies.min() >= 0.1
    assert measured.latency_ms(50) >= 100
    assert measured.seconds >= 0.3  # six answers over two connections, one after the other on each
    assert measured.own_cpu < measured.seconds


def test_a_run_ends_when_it_is_told_and_after_what_is_under_way_is_answered() -> None:
    with server(good) as found:
        measured = run(found, connections=3, until=lambda: len(found.bodies) >= 30)
    assert measured.answers == len(found.bodies) >= 30
    with server(good) as found:
        measured = run(found, connections=3, seconds=0.2)
    assert measured.answers == len(found.bodies)
    assert measured.seconds >= 0.2


def test_a_connection_closed_between_two_runs_is_no_failure() -> None:
    load = importlib.import_module("load")
    with (
        server(lambda n: [said(), CLOSE] if n == 0 else [said()]) as found,
        load.Load(found.server_address[1], [load.post("/", BODY)], connections=1) as client,
    ):
        assert client.run(requests=1).answers == 1
        assert found.closed.wait(10)
        measured = client.run(requests=3)
    assert (measured.answers, measured.failures) == (3, 0)


def test_a_port_without_a_listener_is_an_error_after_the_patience() -> None:
    load = importlib.import_module("load")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionError, match=f"^nobody listens on 127.0.0.1:{port}$"):
        load.Load(port, [b""], connections=1, patience=0.1)


def test_cpu_is_that_of_the_process_and_of_children_that_have_ended() -> None:
    services = importlib.import_module("services")
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    program = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n{burn}\nprint(flush=True)\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            used = services.Running(services.SERVICES[0], process, 0).cpu_seconds()
        finally:
            process.kill()
    assert 0.75 <= used <= 1.5

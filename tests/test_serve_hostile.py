"""What the service does with clients, models and disks that mean it no good: an answer with a reason, or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline

from rehone import artifact
from rehone.config import Deploy, Predictions
from rehone.deploy import promote
from rehone.predictions import Entry, Log, Writer
from rehone.predictions import writer as writing
from rehone.records import Contract, DeploymentAction, Feature, FeatureKind, ModelVersion, Window
from rehone.serve import Asked, Loaded, Reader, Refusal, Serving
from rehone.serve.batching import Batcher, Full, Waiting
from rehone.store import Store
from serve_kit import CONTRACT, READER, ROW, T0, Server, deployed, publish, published, store, wait_for
from store_kit import flies, now, order
from stubborn import EXIT, FEWER, HANG, SLEEP, STOP, Stubborn

__all__ = ["store"]

HERE = Path(__file__).parent
EVER = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
BODY = json.dumps(ROW).encode()
PREDICT = b"POST /predict HTTP/1.1\r\nhost: x\r\n"
SERVER = """
import json, logging, sys
from datetime import UTC, datetime, timedelta
from rehone.config import Config
from rehone.serve import run
logging.basicConfig(level="WARNING", stream=open(sys.argv[2], "w"))
run(Config.model_validate(json.loads(sys.argv[1])),
    clock=lambda: datetime.now(UTC), on_ready=lambda url: print(url, flush=True))
print("drained", flush=True)
"""


@dataclass
class Victim(Server):
    """A server process, its log, and what it holds."""

    log: Path = Path()
    store: Store | None = None

    def metrics(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def megabytes(self, what: str) -> int:
        found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) // 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def sent(self, data: bytes) -> bytes:
        """Send bytes as they are, and return everything that comes back."""
        with contextlib.closing(self.connect()) as line, contextlib.suppress(ConnectionError):
            with contextlib.suppress(ConnectionError):
                line.sendall(data)
            return rest_of(line)
        return b""

    def ask_status(self, method: str = "POST", path: str = "/predict") -> int:
        """Ask, and return the status of whatever comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, BODY if method == "POST" else None)
            return connection.getresponse().status

    def answers(self) -> bool:
        return self.ask("POST", "/predict", ROW)[0] == 200


def rest_of(line: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := line.recv(65536):
            found += data
    return found


def post(body: bytes, *headers: bytes, close: bool = True) -> bytes:
    """Write a request for predictions."""
    lines = [b"content-length: %d" % len(body), *headers, *([b"connection: close"] if close else [])]
    return PREDICT + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@contextlib.contextmanager
def serving(folder: Path, name: str = "log.txt", **sections: dict[str, Any]) -> Iterator[Victim]:
    """Serve the store in a folder, with a log if one is asked for."""
    serve = {"port": 0, "poll_seconds": 0.02, "heartbeat_seconds": 0.2, "header_seconds": 2, "body_seconds": 2}
    serve |= {"drain_seconds": 2}
    tables = {
        "project": {"store": str(folder / "store")},
        "deploy": {"trusted_types": ["stubborn.Stubborn"]},
        **sections,
        "serve": serve | sections.get("serve", {}),
    }
    log = folder / name
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, json.dumps(tables), str(log)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])},
    )
    try:
        assert process.stdout
        victim = Victim(process, process.stdout.readline().strip(), log, Store(folder / "store"))
        victim.until(lambda h: h["model_loaded"])
        yield victim
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def stubborn(store: Store, seed: int) -> ModelVersion:
    """Publish a foreign estimator, which does what it is told."""
    draw = np.random.default_rng(seed)
    X, y = draw.normal(size=(200, 3)), np.arange(200) % 2
    pipeline = Pipeline([("preprocess", SimpleImputer()), ("model", Stubborn())]).fit(X, y)
    predictor = artifact.Predictor(contract=CONTRACT, pipeline=pipeline, threshold=0.5)
    frame = pl.DataFrame({"amount": [1.0, None], "night": [True, None], "city": ["Bonn", None]})
    golden = artifact.make_golden(predictor, frame, n=2, seed=1)
    return publish(store, predictor, golden, run_id=f"stubborn-{seed}", trusted=["stubborn.Stubborn"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Serve a model of our own to several tests: each finds it as well as the first did."""
    folder = tmp_path_factory.mktemp("served")
    store = Store.create(folder / "store")
    deployed(store, published(store, 1).id)
    with serving(folder) as victim:
        yield victim


# --- bodies -----------------------------------------------------------------------------------


BAD_BODIES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "10 MB of brackets": (lambda: b"[" * 9_999_999, 400, "the body nests too deeply to be rows"),
    "2 million objects in each other": (lambda: b'{"a":' * 1_999_999, 400, "the body nests too deeply"),
    "10 MB of digits": (lambda: b"9" * 9_999_999, 400, "the body is not JSON (Integer value out of range)"),
    "a million rows": (lambda: b"[" + b",".join([b'{"a":1}'] * 1_000_000) + b"]", 413, "1,000,000 rows in one request"),
    "3 million lists": (lambda: b"[" + b",".join([b"[]"] * 3_000_000) + b"]", 413, "3,000,000 rows in one request"),
    "nesting where nobody looks": (
        lambda: b'{"amount":1,"night":1,"city":"a","z":' + b"[" * 4_000_000 + b"]" * 4_000_000 + b"}",
        400,
        "the body nests too deeply",
    ),
    "a lone surrogate": (lambda: b'{"amount":1,"night":1,"city":"\\ud800 "}', 400, "the body is not JSON"),
    "NaN": (lambda: b'{"amount":NaN,"night":1,"city":"a"}', 400, "the body is not JSON"),
    "Infinity": (lambda: b'{"amount":-Infinity,"night":1,"city":"a"}', 400, "the body is not JSON"),
    "1e999": (lambda: b'{"amount":1e999,"night":1,"city":"a"}', 400, "the body is not JSON (Number out of range"),
    "400 digits": (lambda: b'{"amount":%s,"night":1,"city":"a"}' % (b"9" * 400), 422, "the rows cannot be read"),
    "a byte order mark": (lambda: b"\xef\xbb\xbf" + BODY, 400, "the body is not JSON"),
    "UTF-16": (lambda: BODY.decode().encode("utf-16"), 400, "the body is not JSON"),
    "a lie of 5 MB": (
        lambda: b'{"amount":"%s","night":1,"city":"a"}' % (b"a" * 5_000_000),
        422,
        "the rows cannot be read, 1 problem: row 0 column 'amount' is \"aaaa",
    ),
}
GOOD_BODIES: dict[str, Callable[[], bytes]] = {
    "the last of two": lambda: b'{"amount":"x","amount":1,"night":1,"city":"a"}',
    "5 MB of a category": lambda: b'{"amount":1,"night":1,"city":"%s"}' % (b"a" * 5_000_000),
    "a hundred thousand columns": lambda: (
        b'{"amount":1,"night":1,"city":"B",' + b",".join(b'"c%d":1' % i for i in range(100_000)) + b"}"
    ),
}


def test_monstrous_bodies_get_their_reason_and_leave_no_memory_behind(served: Victim) -> None:
    for name, (make, code, reason) in BAD_BODIES.items():
        found = served.ask("POST", "/predict", raw=make())
        assert found[0] == code, name
        assert found[1]["error"].startswith(reason), name
    for name, make in GOOD_BODIES.items():
        assert served.ask("POST", "/predict", raw=make())[0] == 200, name
    before = served.megabytes("VmRSS")
    for _ in range(2):
        for make, *_rest in BAD_BODIES.values():
            served.ask("POST", "/predict", raw=make())
    assert served.megabytes("VmRSS") < before + 200
    assert served.megabytes("VmHWM") < 1500
    assert "Traceback" not in served.log.read_text()


def test_a_row_with_very_many_unknown_columns_is_refused_in_their_order(store: Store) -> None:
    deployed(store, published(store, 1).id)
    with serving(store.root.parent, serve={"extra_columns": "refuse"}) as victim:
        code, said = victim.ask("POST", "/predict", raw=GOOD_BODIES["a hundred thousand columns"]())
        assert (code, said["more"]) == (422, 99_000)
        assert [problem["column"] for problem in said["problems"]] == [f"c{i}" for i in range(1000)]


# --- HTTP --------------------------------------------------------------------------------------


REQUESTS: dict[str, tuple[bytes, int]] = {
    "chunked": (
        PREDICT + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        200,
    ),
    "chunks of one byte": (
        PREDICT
        + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        + b"".join(b"1\r\n%c\r\n" % c for c in BODY + b" " * 200_000)
        + b"0\r\n\r\n",
        200,
    ),
    "chunked and a length": (PREDICT + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", 400),
    "a negative length": (PREDICT + b"content-length: -5\r\n\r\n", 400),
    "a length of 5000 digits": (PREDICT + b"content-length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "two lengths": (PREDICT + b"content-length: 5\r\ncontent-length: 6\r\n\r\n123456", 400),
    "a length too short": (PREDICT + b"content-length: 5\r\nconnection: close\r\n\r\n" + BODY, 400),
    "a length too long": (PREDICT + b"content-length: 500\r\n\r\n" + BODY, 408),
    "HTTP/1.0": (post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "OPTIONS": (b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404),
    "a method that is none": (b"GRAB /health HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "TRACE": (b"TRACE /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 405),
    "an absolute URL": (post(BODY).replace(b"/predict", b"http://elsewhere/predict"), 200),
    "an encoded path": (post(BODY).replace(b"/predict", b"/pre%64ict"), 200),
    "a path of odd bytes": (post(BODY).replace(b"/predict", b"/%ff%00%0a"), 404),
    "a path beyond ASCII": (post(BODY).replace(b"/predict", b"/\xff\xfe"), 400),
    "a path of 60 kB": (post(BODY).replace(b"/predict", b"/" + b"a" * 60_000), 404),
    "gzip": (post(gzip.compress(BODY), b"content-encoding: gzip"), 415),
    "websocket": (
        b"GET /predict HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n",
        405,
    ),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200, 400),
    "thousands of headers": (post(BODY, *(b"x-%d: 1" % i for i in range(3000))), 431),
    "one header of a megabyte": (PREDICT + b"x: " + b"a" * (1 << 20), 431),
    "a path of a megabyte": (b"GET /" + b"a" * (1 << 20), 431),
    "200 headers": (post(BODY, *(b"x-%d: 1" % i for i in range(197))), 200),
    "201 headers": (post(BODY, *(b"x-%d: 1" % i for i in range(198))), 431),
    "trailers of a megabyte": (
        PREDICT + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: " + b"a" * (1 << 20),
        0,
    ),
}


def test_odd_requests_get_their_status_and_disturb_nobody(served: Victim) -> None:
    served.answers()
    before = served.descriptors()
    found = {name: status(served.sent(data)) for name, (data, _) in REQUESTS.items()}
    assert found == {name: code for name, (_, code) in REQUESTS.items()}
    assert served.answers()
    wait_for(served.descriptors, lambda count: count <= before)
    assert "Traceback" not in served.log.read_text()


def counted(victim: Victim, status: int) -> float:
    """Return how many requests the metrics say were refused with a status before they were read."""
    found = re.search(
        rf'^rehone_requests_total\{{[^}}]*route="unread",status="{status}"\}} (\S+)$', victim.metrics(), re.MULTILINE
    )
    return float(found[1]) if found else 0.0


def test_refusals_of_what_is_not_http_are_json_and_counted(served: Victim) -> None:
    answer = served.sent(REQUESTS["TLS"][0])
    head, body = answer.split(b"\r\n\r\n")
    assert b"connection: close" in head
    assert json.loads(body) == {"error": "this is not a request of HTTP/1.1: TLS, HTTP/2 and the like end elsewhere"}
    before = counted(served, 431)
    answer = served.sent(REQUESTS["thousands of headers"][0])
    assert json.loads(answer.split(b"\r\n\r\n")[1]) == {"error": "the request has more than 200 headers"}
    assert counted(served, 431) == before + 1


def test_a_body_is_asked_for_where_its_client_waits_for_that(served: Victim) -> None:
    with contextlib.closing(served.connect()) as line:
        line.sendall(post(b"", b"expect: 100-continue").replace(b"length: 0", b"length: %d" % len(BODY)))
        assert line.recv(100).startswith(b"HTTP/1.1 100 ")
        line.sendall(BODY)
        assert status(rest_of(line)) == 200


def test_pipelined_requests_are_answered_in_their_order(served: Victim) -> None:
    names = [b"r-%d" % number for number in range(20)]
    requests = [post(BODY, b"x-request-id: " + name, close=name == names[-1]) for name in names]
    answer = served.sent(b"".join(requests))
    assert re.findall(rb'"request_id":"([^"]+)"', answer) == names


def test_headers_that_do_not_end_cost_no_memory(served: Victim) -> None:
    """A single header may be sent as fast as the line allows until its time is over."""
    served.answers()
    served.forget_peak()
    before = served.megabytes("VmHWM")
    for start in (PREDICT + b"x: ", b"GET /"):
        line = served.connect()
        with contextlib.closing(line), contextlib.suppress(ConnectionError):
            line.sendall(start)
            for _ in range(300):
                line.sendall(b"a" * (1 << 20))
            pytest.fail("300 MB of one header were read")
    assert served.megabytes("VmHWM") < before + 50


@pytest.mark.soak
def test_slow_vanished_and_unreading_clients_leave_everybody_else_alone(store: Store) -> None:
    deployed(store, published(store, 1).id)
    limits = {"max_connections": 900, "idle_seconds": 3}
    with serving(store.root.parent, serve=limits) as victim, contextlib.ExitStack() as stack:
        victim.answers()
        before, memory = victim.descriptors(), victim.megabytes("VmRSS")

        def some(count: int, data: bytes) -> list[socket.socket]:
            lines = [stack.enter_context(victim.connect()) for _ in range(count)]
            for line in lines:
                line.sendall(data)
            return lines

        slow = some(300, b"POST /pre")
        some(50, b"")
        some(50, PREDICT + b"content-length: 9000\r\n\r\n{")
        refused = some(50, b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n{")
        empty = some(50, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        for line in some(50, PREDICT + b"content-length: 900\r\n\r\n{"):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()
        large = json.dumps([ROW] * 5000).encode()
        for _ in range(5):
            deaf = stack.enter_context(victim.connect())
            deaf.settimeout(0.2)
            with contextlib.suppress(TimeoutError, ConnectionError):
                deaf.sendall(post(large, close=False) * 8)
        end = time.monotonic() + 6
        while time.monotonic() < end:
            assert victim.answers()
            for line in slow[:100]:
                with contextlib.suppress(ConnectionError):
                    line.send(b"d")
            for line in (*refused, *empty):
                with contextlib.suppress(ConnectionError):
                    line.send(b"\r\n" if line in empty else b"x")
            time.sleep(0.2)
        wait_for(victim.descriptors, lambda count: count <= before + 2)
        assert victim.answers()
        assert victim.megabytes("VmRSS") < memory + 200
        assert "Traceback" not in victim.log.read_text()


def test_more_connections_than_allowed_are_told_and_leave_room_when_they_go(store: Store) -> None:
    deployed(store, published(store, 1).id)
    with serving(store.root.parent, serve={"max_connections": 20, "header_seconds": 60}) as victim:
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(victim.connect())
            wait_for(victim.ask_status, lambda code: code == 503)
            assert victim.ask("GET", "/health") == (
                503,
                {"error": "more than 20 connections are open: close some, or start more workers"},
            )
            before = victim.descriptors()
            for _ in range(100):
                stack.enter_context(victim.connect())
            with contextlib.suppress(ConnectionError, http.client.RemoteDisconnected):
                victim.ask_status()  # whatever it says, all of them were accepted before
            wait_for(victim.descriptors, lambda count: count <= before + 11, seconds=3)
        wait_for(victim.ask_status, lambda code: code == 200)
        text = victim.metrics()
        told = re.findall(r'^rehone_requests_total\{[^}]*status="503"[^}]*\} (\S+)$', text, re.MULTILINE)
        assert sum(map(float, told)) >= 2
        assert re.search(r"^rehone_connections\S* [1-9]", text, re.MULTILINE)


# --- models that do not come back -----------------------------------------------------------------


def ordered(what: float) -> dict[str, Any]:
    return {**ROW, "amount": what}


def left(victim: Victim, count: int, row: dict[str, Any] | list[dict[str, Any]]) -> list[socket.socket]:
    """Ask without waiting for the answer."""
    lines = [victim.connect() for _ in range(count)]
    for line in lines:
        line.sendall(post(json.dumps(row).encode()))
    return lines


def waiting(victim: Victim) -> float:
    found = re.search(r"^rehone_waiting_rows\S* (\S+)$", victim.metrics(), re.MULTILINE)
    assert found
    return float(found[1])


def test_versions_that_hang_take_no_thread_and_no_place_from_the_next_one(store: Store) -> None:
    """More versions hang than there are processors, each with as many rows waiting as may wait."""
    with contextlib.ExitStack() as stack:
        hanging = [stubborn(store, seed) for seed in range((os.cpu_count() or 1) + 1)]
        deployed(store, hanging[0].id)
        victim = stack.enter_context(serving(store.root.parent, serve={"max_waiting_rows": 50}))
        for version in hanging:
            made = deployed(store, version.id) if version is not hanging[0] else store.head()
            assert made
            victim.until(lambda h, made=made: h["generation"] == made.generation)
            before = waiting(victim)
            for line in left(victim, 1, ordered(HANG)):
                stack.enter_context(line)
            wait_for(lambda: waiting(victim), lambda rows, before=before: rows == before + 1)
            for line in left(victim, 1, [ROW] * 49):
                stack.enter_context(line)
            wait_for(lambda: waiting(victim), lambda rows, before=before: rows == before + 50)
            assert victim.ask("POST", "/predict", ROW) == (
                503,
                {
                    "error": "50 rows are waiting for the model, at most 50: send fewer requests at a time, "
                    "or start more workers"
                },
            )
        good = deployed(store, published(store, 1).id)
        victim.until(lambda h: h["generation"] == good.generation)
        assert victim.answers()
        assert victim.ask("POST", "/predict", [ROW] * 50)[0] == 200
        assert victim.ask("POST", "/predict", raw=json.dumps(ROW).encode() + b" " * 100_000)[0] == 200
        victim.process.send_signal(signal.SIGTERM)
        assert victim.process.wait(30) == 0


def test_clients_that_gave_up_on_a_version_that_hangs_leave_their_places(store: Store) -> None:
    deployed(store, stubborn(store, 1).id)
    with serving(store.root.parent, serve={"max_connections": 40}) as victim:
        for _ in range(5):
            for line in left(victim, 20, ordered(HANG)):
                line.close()
            time.sleep(0.1)
        good = deployed(store, published(store, 1).id)
        wait_for(lambda: victim.ask_status("GET", "/health"), lambda code: code == 200)
        victim.until(lambda h: h["generation"] == good.generation)
        assert victim.answers()
        assert "Traceback" not in victim.log.read_text()


def test_a_flood_on_a_slow_model_is_told_and_over_when_it_is_over(store: Store) -> None:
    deployed(store, stubborn(store, 1).id)
    with serving(store.root.parent, serve={"max_waiting_rows": 500}) as victim:
        memory = victim.megabytes("VmRSS")
        with ThreadPoolExecutor(16) as clients:
            asked = [clients.submit(victim.ask, "POST", "/predict", [ordered(SLEEP)] * 100) for _ in range(60)]
            found = Counter(task.result()[0] for task in asked)
        assert set(found) == {200, 503}
        assert victim.answers()
        assert waiting(victim) == 0
        assert victim.megabytes("VmRSS") < memory + 200


def test_what_no_estimator_should_do_is_an_answer_and_not_the_end(store: Store) -> None:
    """It ends the process, ends an iteration that is not there, or scores fewer rows than it was given."""
    deployed(store, stubborn(store, 1).id)
    with serving(store.root.parent) as victim:
        for what in (EXIT, STOP, FEWER) * 2:
            code, said = victim.ask("POST", "/predict", ordered(what))
            assert code == 500
            assert "failed on these rows" in said["error"]
            assert victim.answers()


def test_who_waits_when_the_time_to_drain_is_over_is_told_so(store: Store) -> None:
    deployed(store, stubborn(store, 1).id)
    with serving(store.root.parent, serve={"drain_seconds": 1}) as victim:
        lines = left(victim, 3, ordered(HANG))
        wait_for(lambda: waiting(victim), lambda rows: rows == 3)
        victim.process.send_signal(signal.SIGTERM)
        for line in lines:
            answer = rest_of(line)
            line.close()
            assert status(answer) == 503
            said = json.loads(answer.split(b"\r\n\r\n")[1])
            assert said == {"error": "the service ended before this was answered: ask again"}
        assert victim.process.wait(20) == 0
        assert "Traceback" not in victim.log.read_text()


class Foreign(GaussianNB):  # type: ignore[misc]
    """Notes the threads that it is asked in, and waits where it is told to."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def predict_proba(self, X: Any) -> Any:
        self.threads.append(threading.current_thread())
        assert self.go_on.wait(20)
        return np.tile([0.25, 0.75], (len(X), 1))


def asking(model: Any, hung_seconds: float) -> tuple[Batcher, Callable[[], Coroutine[Any, Any, Any]]]:
    """Return a batcher and what asks it for one row."""
    loaded = Loaded(artifact.Predictor(contract=CONTRACT, pipeline=model, threshold=0.5), "v")
    batcher = Batcher(100, print, hung_seconds=hung_seconds)
    found = READER.read(BODY, 10)
    assert isinstance(found, Asked)

    def ask() -> Coroutine[Any, Any, Any]:
        done = asyncio.get_running_loop().create_future()
        return batcher.score(Waiting(Serving(loaded), loaded, READER, found, "r", done))

    return batcher, ask


def test_a_version_that_does_not_come_back_is_told_to_who_waits_and_may_come_back_later() -> None:
    model = Foreign()
    batcher, ask = asking(model, 0.2)

    async def story() -> None:
        model.go_on.clear()
        said = await asyncio.gather(ask(), ask(), return_exceptions=True)
        assert [str(error) for error in said] == ["version v has not come back for 0.2 s: roll it back"] * 2
        with pytest.raises(Full, match="has not come back"):
            await ask()
        model.go_on.set()
        while batcher.waiting_rows:
            await asyncio.sleep(0.01)
        assert (await ask()).tolist() == [0.75]

    asyncio.run(story())


def test_code_of_others_is_never_run_on_the_event_loop_however_quick_it_was() -> None:
    model = Foreign()
    _, ask = asking(model, 60)

    async def story() -> None:
        for _ in range(50):
            await ask()

    asyncio.run(story())
    assert len(model.threads) >= 50
    assert threading.main_thread() not in model.threads
    assert len(set(model.threads)) == 1


# --- stores and logs that go --------------------------------------------------------------------------


def logged(victim: Victim) -> dict[str, Any]:
    found: dict[str, Any] = victim.health()["prediction_log"]
    return found


LOGGING: dict[str, Any] = {"log": True, "flush_seconds": 0.1}


def test_a_log_whose_folder_is_removed_counts_every_row_and_is_written_again(store: Store) -> None:
    deployed(store, published(store, 1).id)
    folder = store.root.parent / "predictions"
    policy = {**LOGGING, "folder": str(folder), "max_waiting_rows": 100}
    with serving(store.root.parent, predictions=policy) as victim:
        assert victim.answers()
        wait_for(lambda: logged(victim), lambda said: said["written"] == 1)
        folder.rename(store.root.parent / "away")
        for _ in range(15):
            assert victim.ask("POST", "/predict", [ROW] * 10)[0] == 200
        said = wait_for(lambda: logged(victim), lambda said: said["trouble"])
        assert (said["written"], said["waiting"], said["dropped"]) == (1, 100, 50)
        assert said["trouble"].startswith(f"predictions cannot be written to {folder} (No such file or directory)")
        (store.root.parent / "away").rename(folder)
        said = wait_for(lambda: logged(victim), lambda said: said["waiting"] == 0)
        assert (said["written"], said["dropped"], said["trouble"]) == (101, 50, None)
        shutil.rmtree(folder)
        assert victim.answers()
        said = wait_for(lambda: logged(victim), lambda said: said["trouble"])
        folder.mkdir()
        wait_for(lambda: logged(victim), lambda said: said["waiting"] == 0)
    assert Log(folder).scan(EVER).collect().height == 1


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[Callable[[str], None]]:
    """Mount a disk of 4 MB, and lend what mounts it anew with other options."""
    path.mkdir()

    def mount(options: str) -> int:
        command = ["mount", "-t", "tmpfs", "-o", f"size=4m,{options}", "tmpfs", str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    if mount("rw") != 0:
        pytest.skip("this user may not mount a file system")
    try:
        yield lambda options: wait_for(lambda: mount(f"remount,{options}"), lambda code: code == 0)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def asked_in_tens(victim: Victim, times: int, before: int) -> int:
    """Ask for ten rows so many times, and see that all rows ever answered are accounted for; return how many."""
    for _ in range(times):
        assert victim.ask("POST", "/predict", [ROW] * 10)[0] == 200
    answered = before + 10 * times
    wait_for(lambda: logged(victim), lambda said: sum(said[k] for k in ("written", "dropped", "waiting")) == answered)
    return answered


@pytest.mark.soak
def test_a_disk_that_turns_read_only_and_then_full_changes_no_answer(tmp_path: Path) -> None:
    """Store and log lie on it: rows answered are rows in the log, dropped ones and waiting ones."""
    disk = tmp_path / "disk"
    with small_disk(disk) as mount:
        store = Store.create(disk / "store")
        deployed(store, published(store, 1).id)
        policy = {**LOGGING, "folder": str(disk / "predictions"), "max_waiting_rows": 100}
        with serving(disk, str(tmp_path / "log.txt"), predictions=policy) as victim:
            answered = asked_in_tens(victim, 3, 0)
            wait_for(lambda: logged(victim), lambda said: said["written"] == 30)
            mount("ro")
            answered = asked_in_tens(victim, 15, answered)
            said = wait_for(lambda: logged(victim), lambda said: said["trouble"])
            assert (said["written"], said["waiting"], said["dropped"]) == (30, 100, 50)
            assert "(Read-only file system): mount it so that it can be written to" in said["trouble"]
            mount("rw")
            wait_for(lambda: logged(victim), lambda said: said["waiting"] == 0 and said["trouble"] is None)
            with contextlib.suppress(OSError):
                (disk / "ballast").write_bytes(bytes(8 << 20))
            answered = asked_in_tens(victim, 30, answered)
            said = wait_for(lambda: logged(victim), lambda said: said["trouble"])
            assert "(No space left on device): free some space" in said["trouble"]
            (disk / "ballast").unlink()
            wait_for(lambda: logged(victim), lambda said: said["waiting"] == 0 and said["trouble"] is None)
            answered = asked_in_tens(victim, 1, answered)
            said = wait_for(lambda: logged(victim), lambda said: said["waiting"] == 0)
            wait_for(store.replicas, lambda found: found and now() - found[0].at < timedelta(seconds=5))
            assert "Traceback" not in victim.log.read_text()
        assert Log(disk / "predictions").scan(EVER).collect().height == answered - said["dropped"]


def test_megabytes_in_few_rows_do_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_BYTES", 1000)
    writer = Writer(tmp_path / "log", Predictions(flush_seconds=0.01), name="w", clock=lambda: T0)

    def add(size: int) -> None:
        writer.add(
            Entry(
                at_ns=int(T0.timestamp()) * 10**9,
                version="0" * 64,
                generation=1,
                contract=CONTRACT,
                names=CONTRACT.names,
                rows=[(1.0, True, "a" * size)],
                ids=["a"],
                scores=np.array([0.5]),
                threshold=0.5,
                seconds=0.1,
                size=size,
            )
        )

    for _ in range(3):
        add(500)
    assert (writer.waiting, writer.dropped) == (2, 1)
    stop = threading.Event()
    stop.set()
    writer.follow(stop)
    assert (writer.written, writer.waiting, writer.dropped) == (2, 0, 1)
    add(5000)  # one that is larger than all may be waits alone
    add(1)
    assert (writer.waiting, writer.dropped) == (1, 2)


def test_a_request_carries_its_size_to_the_log() -> None:
    found = READER.read(BODY, 10)
    assert isinstance(found, Asked)
    assert found.size == len(BODY)


def test_an_end_under_load_loses_no_request_and_no_row(store: Store) -> None:
    """A client whose connection is closed has no part of an answer, and at most its last row was scored."""
    deployed(store, published(store, 1).id)
    folder = store.root.parent / "predictions"
    answered: list[str] = []
    broken: list[str] = []

    def ask(client: int, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection), contextlib.suppress(ConnectionError, http.client.RemoteDisconnected):
            for number in range(1_000_000):
                name = f"{client}-{number}"
                connection.request("POST", "/predict", BODY, {"x-request-id": name})
                answer = connection.getresponse()
                text = read_whole(answer)
                (answered if answer.status == 200 and name in text else broken).append(name)

    def read_whole(answer: http.client.HTTPResponse) -> str:
        try:
            return answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            broken.append(repr(error))
            raise

    with serving(store.root.parent, predictions={**LOGGING, "folder": str(folder), "flush_seconds": 3600}) as victim:
        clients = [threading.Thread(target=ask, args=(n, victim.port)) for n in range(16)]
        for client in clients:
            client.start()
        wait_for(lambda: len(answered), lambda count: count > 500)
        victim.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join()
        assert victim.process.wait(20) == 0
        assert "Traceback" not in victim.log.read_text()
    assert broken == []
    rows = Log(folder).scan(EVER).collect()["served_id"].to_list()
    assert len(rows) == len(set(rows))
    assert set(answered) <= set(rows)


def test_a_server_that_is_stopped_follows_when_it_goes_on(store: Store) -> None:
    deployed(store, published(store, 1).id)
    newer = published(store, 2)
    with serving(store.root.parent) as victim:
        (beat,) = wait_for(store.replicas, len)
        victim.process.send_signal(signal.SIGSTOP)
        made = deployed(store, newer.id)
        time.sleep(0.5)
        (still,) = store.replicas()
        assert still.generation == beat.generation
        victim.process.send_signal(signal.SIGCONT)
        victim.until(lambda h: h["generation"] == made.generation)
        wait_for(store.replicas, lambda found: found[0].generation == made.generation)
        assert victim.answers()


@pytest.mark.soak
def test_a_replica_that_stops_during_a_trial_fails_it_and_follows_later(store: Store) -> None:
    deployed(store, published(store, 1).id, DeploymentAction.ROLLBACK)
    newer = published(store, 2)
    folder, policy = store.root.parent, Deploy(trial_seconds=3, replica_timeout_seconds=2)
    with serving(folder) as well, serving(folder, "other.txt", serve={"poll_seconds": 30}) as stopped:
        wait_for(store.replicas, lambda found: len(found) == 2)
        with ThreadPoolExecutor(1) as runs:
            run = runs.submit(promote, store, newer.id, order(store), policy, clock=now, preflight=flies)
            wait_for(store.head, lambda head: head.version == newer.id)
            stopped.process.send_signal(signal.SIGSTOP)
            while not run.done():
                assert well.answers()
        promotion = run.result()
        assert not promotion.confirmed
        assert stopped.url.rsplit(":", 1)[1] in promotion.sentence
        assert [record.action.value for record in store.log()] == ["rollback", "deploy", "rollback"]
        stopped.process.send_signal(signal.SIGCONT)
        well.until(lambda h: h["generation"] == 3)
        assert stopped.answers()


# --- any bytes ----------------------------------------------------------------------------------------


WIDE = Contract(
    features=(
        Feature("a", FeatureKind.NUMERIC),
        Feature("b", FeatureKind.BOOLEAN),
        Feature("c", FeatureKind.CATEGORICAL, ("x", "3")),
    ),
    label="y",
)


def written(pairs: list[tuple[str, Any]]) -> str:
    """Write an object of JSON, in which keys may come twice."""
    return "{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs) + "}"


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from([0, 1, 0.0, -0.0, 1.0, 3, "3", 2**53 + 1, 2**64, 5e-324, 1.7e308])
)
CELLS = SCALARS | st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
KEYS = st.sampled_from(["a", "b", "c", "id", "rows", "more", "x"])
PAIRS = st.lists(st.tuples(KEYS, CELLS), max_size=6)
WHOLE = st.tuples(SCALARS, st.sampled_from([True, 0, 1.0, None]), SCALARS, PAIRS).map(
    lambda t: [("a", t[0]), ("b", t[1]), ("c", t[2]), *t[3]]
)
OBJECTS = st.one_of(PAIRS, WHOLE).map(written)
LISTS = st.lists(OBJECTS | CELLS.map(json.dumps), max_size=4).map(lambda parts: f"[{','.join(parts)}]")
BODIES = (
    OBJECTS
    | LISTS
    | LISTS.map(lambda rows: f'{{"rows":{rows}}}')
    | st.tuples(LISTS, OBJECTS).map(lambda t: f'{{"rows":{t[0]},{t[1][1:]}')
    | st.tuples(OBJECTS, LISTS).map(lambda t: f'{t[0][:-1]},"r\\u006fws":{t[1]}}}')
)
READERS = [
    Reader(WIDE),
    Reader(WIDE, id_column="id", extra=("x",)),
    Reader(WIDE, id_column="id", extra=("x",), refuse_unknown=True),
]


@settings(max_examples=1500, deadline=None)
@given(BODIES, st.sampled_from(READERS))
def test_the_quick_way_and_the_slow_way_read_the_same(body: str, reader: Reader) -> None:
    quick = reader.read(body.encode(), 100)
    slow = reader._explained(body.encode(), 100)
    if isinstance(quick, Asked) and isinstance(slow, Asked):
        assert (list(quick.rows), quick.ids, quick.listed) == (list(slow.rows), slow.ids, slow.listed)
        assert [list(map(type, row)) for row in quick.rows] == [list(map(type, row)) for row in slow.rows]
        assert reader.encode(quick.rows).tobytes() == reader.encode(slow.rows).tobytes()
    elif isinstance(quick, Refusal):
        assert quick == slow


@settings(max_examples=1500, deadline=None)
@given(
    BODIES.map(str.encode),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4),
    st.sampled_from(READERS),
)
def test_damaged_bodies_are_read_or_refused(body: bytes, damage: list[tuple[int, int]], reader: Reader) -> None:
    broken = bytearray(body)
    for place, byte in damage:
        if broken:
            broken[place % len(broken)] = byte
    found = reader.read(bytes(broken), 100)
    assert isinstance(found, Asked | Refusal)
    if isinstance(found, Refusal):
        msgspec.json.encode([found.error, list(found.problems)])


def test_rows_beside_other_keys_do_not_depend_on_their_order() -> None:
    first = READER.read(b'{"rows":[],"amount":1,"night":1,"city":"a"}', 10)
    last = READER.read(b'{"amount":1,"night":1,"city":"a","rows":[]}', 10)
    hidden = READER.read(b'{"amount":1,"night":1,"city":"a","r\\u006fws":[]}', 10)
    assert [found.rows for found in (first, last, hidden) if isinstance(found, Asked)] == [[], [], []]

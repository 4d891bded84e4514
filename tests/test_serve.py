"""What the model service promises, over real sockets and with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehone import artifact
from rehone.config import Config, Deploy, Project, Serve
from rehone.disk import Disk
from rehone.records import (
    DeploymentAction,
    ModelVersion,
)
from rehone.serve import (
    App,
    Asked,
    Follower,
    Loaded,
    Reader,
    Refusal,
    RowProblem,
    ServeError,
    Service,
    Serving,
    health,
    routes,
    run,
)
from rehone.serve.predicting import row_ids
from rehone.serve.server import listen, running
from rehone.store import Store
from serve_kit import (
    CONTRACT,
    READER,
    ROW,
    T0,
    Server,
    a_golden,
    a_predictor,
    deployed,
    published,
    store,
    wait_for,
)
from store_kit import now

__all__ = ["store"]

ROWS = [
    ROW,
    {"amount": None, "night": None, "city": None},
    {"amount": -3, "night": 0, "city": "Atlantis", "more": [1]},
    {"amount": 1e300, "night": False, "city": 3},
]
SERVER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from rehone.config import Config, Project, Serve
from rehone.serve import run
run(Config(project=Project(store=sys.argv[1]),
           serve=Serve(port=0, poll_seconds=0.02, heartbeat_seconds=0.2, max_rows=50, max_body_bytes=20000)),
    clock=lambda: datetime.now(UTC), on_ready=lambda url: print(url, flush=True))
print("drained", flush=True)
"""


def tampered(store: Store, version: ModelVersion, name: str, change: Callable[[bytes], bytes | None]) -> None:
    path = store.root / "versions" / version.id / name
    path.parent.chmod(0o755)
    path.chmod(0o644)
    after = change(path.read_bytes())
    if after is None:
        path.unlink()
    else:
        path.write_bytes(after)


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Server]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(root)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield Server(process, process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


# --- reading rows ---------------------------------------------------------------------------


def refusal(body: bytes, max_rows: int = 100) -> Refusal:
    found = READER.read(body, max_rows)
    assert isinstance(found, Refusal)
    return found


@pytest.mark.parametrize("body", [ROW, [ROW], {"rows": [ROW]}])
def test_one_object_a_list_and_rows_are_the_same_request(body: Any) -> None:
    found = READER.read(json.dumps(body).encode(), 1)
    assert isinstance(found, Asked)
    assert (found.names, list(found.rows)) == (CONTRACT.names, [(12.5, True, "Bonn")])
    assert found.listed is (body is not ROW)


def test_rows_become_the_matrix_that_python_callers_get() -> None:
    found = READER.read(json.dumps(ROWS).encode(), 10)
    offline = artifact.encode(artifact.frame_of(ROWS, CONTRACT), CONTRACT)
    np.testing.assert_array_equal(READER.encode(found.rows), offline)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "the body is not JSON (Input data was truncated)"),
        (b"{", 400, "the body is not JSON (Input data was truncated)"),
        (b'{"amount": NaN}', 400, "the body is not JSON (JSON is malformed: invalid character (byte 11))"),
        (b'{"amount": -Infinity}', 400, "the body is not JSON (JSON is malformed: invalid character (byte 12))"),
        (b'{"amount": 1e999}', 400, "the body is not JSON (Number out of range"),
        (b'"\xff"', 400, "the body is not JSON ("),
        (b"[" * 20000, 400, "the body nests too deeply to be rows"),
        (b"3", 422, "the body is 3, not rows"),
        (b"null", 422, "the body is null, not rows"),
        (b'{"rows": 5}', 422, '"rows" is 5, not a list of objects'),
        (b"[{}, {}, {}, {}]", 413, "4 rows in one request, at most 3: send them in several requests"),
    ],
)
def test_a_body_that_is_not_rows_is_refused_with_its_status(body: bytes, status: int, error: str) -> None:
    found = refusal(body, max_rows=3)
    assert found.status == status
    assert found.error.startswith(error)


def test_every_problem_of_a_request_is_listed_with_row_and_column() -> None:
    rows = [
        {"amount": "abc", "night": 2, "city": ["x"]},
        {"amount": True, "night": False},
        7,
        {"amount": 10**400, "night": {}, "city": "Bonn"},
    ]
    body = json.dumps(rows).encode().replace(b"1" + b"0" * 400, b"1" + b"0" * 308 + b"0")
    found = refusal(body)
    assert found.status == 422
    assert found.problems == (
        RowProblem(0, "amount", 'is "abc", the model reads a number here: correct it, or send null if it is missing'),
        RowProblem(0, "night", "is 2, the model reads true or false here: correct it, or send null if it is missing"),
        RowProblem(0, "city", "is a list of 1, the model reads text here: correct it, or send null if it is missing"),
        RowProblem(1, "city", "is absent: send it, or null if it is missing"),
        RowProblem(2, None, "is 7, not an object with the columns amount, night, city"),
        RowProblem(3, "amount", found.problems[5].problem),
        RowProblem(
            3,
            "night",
            "is an object of 0 keys, the model reads true or false here: correct it, or send null if it is missing",
        ),
    )
    assert found.problems[5].problem.endswith("more than a 64-bit float can hold: send null if it is not known")
    assert found.error.startswith("the rows cannot be read, 7 problems, the first is: row 0 column 'amount' is \"abc\"")


def test_a_column_that_no_row_has_is_one_problem() -> None:
    assert refusal(b'[{"night": null, "city": null}, {"night": null, "city": null}]').problems == (
        RowProblem(None, "amount", "is absent from every row (2): send it, or null where it is missing"),
    )


def test_many_problems_are_counted_and_the_first_thousand_listed() -> None:
    found = refusal(json.dumps([{"amount": "x", "night": "x", "city": 1}] * 2000).encode(), max_rows=2000)
    assert len(found.problems) == 1000
    assert found.more == 3000
    assert found.problems[-1].row == 499


cells = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none(), max_size=2)
bodies = st.recursive(
    cells,
    lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(st.sampled_from([*CONTRACT.names, "rows"]), deeper),
)


@settings(deadline=None, max_examples=300)
@given(bodies.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_any_body_gives_rows_of_the_contract_or_a_refusal(body: bytes) -> None:
    found = READER.read(body, 3)
    if isinstance(found, Refusal):
        assert found.status in (400, 413, 422)
        assert found.error
        json.dumps(found.error)
    else:
        assert found.names == CONTRACT.names
        assert READER.encode(found.rows).shape == (len(found.rows), 3)


good_rows = st.fixed_dictionaries(
    {
        "amount": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20),
        "night": st.none() | st.booleans() | st.sampled_from([0, 1, 0.0, 1.0]),
        "city": st.none() | st.text(max_size=5) | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    }
)


@settings(deadline=None, max_examples=200)
@given(st.lists(good_rows, min_size=1, max_size=4))
def test_good_rows_are_read_as_python_reads_them(rows: list[dict[str, Any]]) -> None:
    body = json.dumps(rows).encode()
    found = READER.read(body, 4)
    offline = artifact.frame_of(json.loads(body), CONTRACT)
    assert isinstance(found, Asked)
    np.testing.assert_array_equal(READER.encode(found.rows), artifact.encode(offline, CONTRACT))
    assert [row[2] for row in found.rows] == offline["city"].to_list()


def test_a_row_has_its_own_id_or_that_of_the_request_with_its_number() -> None:
    reader = Reader(CONTRACT, id_column="order")
    rows = [{**ROW, "order": 7}, {**ROW, "order": None}, ROW, {**ROW, "order": ""}, {**ROW, "order": "x"}]
    many, one = reader.read(json.dumps(rows).encode(), 10), reader.read(json.dumps(ROW).encode(), 10)
    assert isinstance(many, Asked)
    assert isinstance(one, Asked)
    assert row_ids(many, "r") == ["7", "r-1", "r-2", "r-3", "x"]
    assert (list(row_ids(one, "r")), one.names) == (["r"], CONTRACT.names)


# --- following the log ------------------------------------------------------------------------


def test_nothing_is_served_until_something_is_deployed(store: Store) -> None:
    follower = Follower(store.root, Deploy(), clock=now)
    follower.step()
    assert follower.now == Serving()
    version = published(store, 1)
    deployed(store, version.id)
    follower.step()
    assert follower.now.loaded is not None
    assert (follower.now.loaded.version, follower.now.generation) == (version.id, 1)


def test_a_record_of_the_same_version_changes_the_generation_and_loads_nothing(store: Store) -> None:
    version = published(store, 1)
    deployed(store, version.id)
    follower = Follower(store.root, Deploy(), clock=now)
    follower.step()
    before = follower.now.loaded
    tampered(store, version, "model.skops", lambda _: None)
    deployed(store, version.id, DeploymentAction.CONFIRM)
    follower.step()
    assert follower.now.loaded is before
    assert (follower.now.generation, follower.now.refused) == (2, None)


def _golden_of_another(store: Store) -> ModelVersion:
    return published(store, 2, golden=a_golden(a_predictor(3)))


def _changed_model(store: Store) -> ModelVersion:
    version = published(store, 2)
    tampered(store, version, "model.skops", lambda data: data[:-1] + b"!")
    return version


def _without_golden(store: Store) -> ModelVersion:
    version = published(store, 2)
    tampered(store, version, "golden.json", lambda _: None)
    return version


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        (_golden_of_another, "4 golden rows differ by at most"),
        (_changed_model, "is damaged (model.skops has"),
        (_without_golden, "is damaged (golden.json is missing)"),
    ],
)
def test_a_wrong_version_is_refused_and_the_old_one_keeps_serving(
    store: Store, spoil: Callable[[Store], ModelVersion], because: str
) -> None:
    good = published(store, 1)
    deployed(store, good.id)
    follower = Follower(store.root, Deploy(), clock=now)
    follower.step()
    bad = spoil(store)
    deployed(store, bad.id)
    follower.step()
    assert follower.now.loaded is not None
    assert (follower.now.loaded.version, follower.now.generation) == (good.id, 1)
    refused = health(follower.now)["refused"]
    assert (refused["generation"], refused["version"]) == (2, bad.id)
    assert because in refused["because"]
    deployed(store, good.id, DeploymentAction.ROLLBACK)
    follower.step()
    assert (follower.now.generation, follower.now.refused) == (3, None)


def test_a_changed_manifest_is_refused(store: Store) -> None:
    version = published(store, 2)
    deployed(store, version.id)
    tampered(store, version, "manifest.json", lambda data: data.replace(b"0.42", b"0.99"))
    follower = Follower(store.root, Deploy(), clock=now)
    follower.step()
    assert follower.now.loaded is None
    assert follower.now.refused is not None
    assert follower.now.refused.because.startswith(f"the manifest of version {version.short} has SHA-256")
    assert predicted(lambda: follower.now, ROW)[0] == 503


def test_a_refused_version_is_tried_again_only_by_a_newer_record(store: Store) -> None:
    version = published(store, 2)
    deployed(store, version.id)
    kept: list[bytes] = []
    tampered(store, version, "model.skops", lambda data: kept.append(data) or b"")
    follower = Follower(store.root, Deploy(), clock=now)
    follower.step()
    tampered(store, version, "model.skops", lambda _: kept[0])
    for _ in range(3):
        follower.step()
    assert follower.now.refused is not None
    deployed(store, version.id)
    follower.step()
    assert (follower.now.generation, follower.now.refused) == (2, None)


def test_a_version_that_cannot_be_read_is_tried_again_and_taken_over_when_it_is_back(store: Store) -> None:
    version = published(store, 2)
    deployed(store, version.id)
    folder = store.root / "versions" / version.id
    folder.chmod(0o755)
    folder.rename(store.root / "elsewhere")
    follower = Follower(store.root, Deploy(), clock=now)
    follower.step()
    assert follower.now.refused is None
    wait_for(lambda: follower.step() or follower.now, lambda now: now.refused)
    assert "there is no version" in follower.now.refused.because  # type: ignore[union-attr]
    assert follower.now.refused.because.endswith("tried 3 times, trying again")  # type: ignore[union-attr]
    (store.root / "elsewhere").rename(folder)
    wait_for(lambda: follower.step() or follower.now, lambda now: now.loaded)
    assert (follower.now.generation, follower.now.refused) == (1, None)


class Vanishing(Disk):
    """A disk whose folder somebody moves away just before the model is read."""

    def __init__(self, root: Path, away: Path) -> None:
        self.root, self.away = root, away

    def read(self, path: Path) -> bytes:
        if path.name == "model.skops" and self.root.exists():
            self.root.rename(self.away)
        return super().read(path)


def test_a_store_that_vanishes_while_a_version_is_read_is_not_a_refusal(store: Store, tmp_path: Path) -> None:
    version = published(store, 2)
    deployed(store, version.id)
    away = tmp_path / "away"
    follower = Follower(store.root, Deploy(), clock=now)
    follower.store = Store(store.root, disk=Vanishing(store.root, away))
    follower.step()
    assert follower.now == Serving()
    follower.store = store
    away.rename(store.root)
    wait_for(lambda: follower.step() or follower.now, lambda now: now.loaded)


def test_a_log_that_went_back_is_told_and_not_followed(store: Store) -> None:
    first, second = published(store, 1), published(store, 2)
    deployed(store, first.id)
    deployed(store, second.id)
    follower = Follower(store.root, Deploy(), clock=now)
    follower.step()
    (store.root / "deployments" / "0000000002.json").unlink()
    follower.step()
    assert follower.now.loaded is not None
    assert follower.now.loaded.version == second.id
    assert follower.now.trouble == (
        f"the deployment log of {store.root} ends at generation 1, but generation 2 was read before: "
        "put the store back, or restart the service if it was replaced on purpose"
    )


def test_a_score_that_is_not_a_number_is_a_failure_and_not_an_answer(store: Store) -> None:
    version = published(store, 1)
    deployed(store, version.id)
    follower = Follower(store.root, Deploy(), clock=now)
    follower.step()
    loaded = follower.now.loaded
    assert loaded is not None
    loaded.predictor.pipeline.named_steps["model"].intercept_[:] = np.nan
    assert predicted(lambda: follower.now, ROW) == (
        500,
        {"error": f"version {version.id} gives row 0 a score that is not a number: roll it back"},
    )


class Slow:
    """A pipeline that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def predict_proba(self, X: Any) -> Any:
        self.asked.set()
        assert self.go_on.wait(20)
        return np.tile([0.25, 0.75], (len(X), 1))


def a_config(store: Store, **serve: Any) -> Config:
    return Config(project=Project(store=str(store.root)), serve=Serve(**serve))


def an_app(serving: Callable[[], Serving], workers: ThreadPoolExecutor) -> App:
    service = Service(serving=serving, policy=Serve(), workers=workers, clock=lambda: T0)
    return App(routes(service), (), service.meters)


def predicted(serving: Callable[[], Serving], body: Any) -> tuple[int, Any]:
    """Ask for a prediction without a socket."""
    with ThreadPoolExecutor(1) as workers:
        return asyncio.run(asked(an_app(serving, workers), "POST", "/predict", json.dumps(body).encode()))


async def asked(app: App, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_slow_prediction_blocks_nobody_and_is_of_the_version_that_began_it() -> None:
    slow, quick = Slow(), a_predictor(1)
    first = artifact.Predictor(contract=CONTRACT, pipeline=slow, threshold=0.5)
    now = [Serving(loaded=Loaded(first, "first"), generation=1)]

    async def story(app: App) -> tuple[Any, Any, Any]:
        under_way = asyncio.create_task(asked(app, "POST", "/predict", json.dumps(ROW).encode()))
        await asyncio.to_thread(slow.asked.wait, 20)
        now[0] = Serving(loaded=Loaded(quick, "second"), generation=2)
        said = await asked(app, "GET", "/health")
        newer = await asked(app, "POST", "/predict", json.dumps(ROW).encode())
        slow.go_on.set()
        return await under_way, said, newer

    with ThreadPoolExecutor(2) as workers:
        older, said, newer = asyncio.run(story(an_app(lambda: now[0], workers)))
    assert older[1].pop("request_id")
    assert older == (
        200,
        {
            "version": "first",
            "generation": 1,
            "threshold": 0.5,
            "predictions": [{"probability": 0.75, "decision": True}],
        },
    )
    assert (said[0], said[1]["version"]) == (200, "second")
    assert (newer[1]["version"], newer[1]["generation"], newer[1]["threshold"]) == ("second", 2, quick.threshold)


def test_what_is_told_of_a_batch_may_fail_and_the_next_one_is_scored(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no counting today")

    serving = Serving(loaded=Loaded(a_predictor(1), "first"), generation=1)
    service = Service(serving=lambda: serving, policy=Serve(), workers=ThreadPoolExecutor(1), clock=lambda: T0)
    service.meters.scored = broken  # type: ignore[method-assign]
    app = App(routes(service), (), service.meters)

    async def story() -> list[int]:
        body = json.dumps(ROW).encode()
        return [(await asyncio.wait_for(asked(app, "POST", "/predict", body), 20))[0] for _ in range(3)]

    with service.workers:
        assert asyncio.run(story()) == [200, 200, 200]
    assert caplog.messages.count("batch not counted") == 3


def test_rows_that_a_stuck_disk_keeps_until_the_end_are_told(caplog: pytest.LogCaptureFixture) -> None:
    stuck = threading.Event()
    thread = threading.Thread(target=stuck.wait, args=(20,), daemon=True)
    service = Service(serving=Serving, policy=Serve(), workers=ThreadPoolExecutor(1), clock=lambda: T0)
    service.log = SimpleNamespace(waiting=5, trouble=None)  # type: ignore[assignment]
    parts = SimpleNamespace(threads=(thread,), retire=lambda: None, close=lambda: None, service=service)
    with running(parts, 0.0):  # type: ignore[arg-type]
        pass
    stuck.set()
    (told,) = caplog.records
    assert (told.getMessage(), told.rows, told.because) == (  # type: ignore[attr-defined]
        "predictions lost",
        5,
        "no time left",
    )


def test_a_fault_inside_the_service_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Serving:
        raise RuntimeError("boom")

    with ThreadPoolExecutor(1) as workers:
        found = asyncio.run(asked(an_app(broken, workers), "GET", "/health"))
    assert found == (500, {"error": "the service failed on this request: its log says why"})
    assert "boom" in caplog.text


# --- a real process ------------------------------------------------------------------------------


def test_answers_equal_the_predictor_and_every_bad_request_gets_its_reason(store: Store) -> None:
    version = published(store, 1)
    deployed(store, version.id)
    offline = a_predictor(1)
    with serving(store.root) as service:
        said = service.until(lambda h: h["model_loaded"])
        assert said == {
            "status": "ready",
            "model_loaded": True,
            "version": version.id,
            "generation": 1,
            "manifest_sha256": version.id,
            "refused": None,
            "trouble": None,
            "pinned": None,
            "prediction_log": None,
            "pid": service.process.pid,
        }
        expected = {
            "version": version.id,
            "generation": 1,
            "threshold": offline.threshold,
            "predictions": [
                {"probability": p, "decision": p >= offline.threshold} for p in offline.predict_proba(ROWS).tolist()
            ],
            "request_id": "mine",
        }
        assert service.ask("POST", "/predict", {"rows": ROWS}) == (200, expected)
        assert service.ask("POST", "/predict", ROWS) == (200, expected)
        assert service.ask("POST", "/predict", ROW) == (200, expected | {"predictions": expected["predictions"][:1]})
        assert service.ask("POST", "/predict", raw=b"[]") == (200, expected | {"predictions": []})
        assert service.ask("GET", "/v2/health/live") == (200, {"live": True})
        assert service.ask("GET", "/v2/health/ready") == (200, {"ready": True})
        assert service.ask("HEAD", "/health") == (200, None)

        assert service.ask("POST", "/predict", {**ROW, "amount": "abc"}) == (
            422,
            {
                "error": "the rows cannot be read, 1 problem: row 0 column 'amount' is \"abc\", the model reads a number "
                "here: correct it, or send null if it is missing",
                "problems": [
                    {
                        "row": 0,
                        "column": "amount",
                        "problem": 'is "abc", the model reads a number here: correct it, or send null if it is missing',
                    }
                ],
                "more": 0,
            },
        )
        assert service.ask("POST", "/predict", raw=b"{")[0] == 400
        assert service.ask("POST", "/predict", [ROW] * 51) == (
            413,
            {"error": "51 rows in one request, at most 50: send them in several requests"},
        )
        assert service.ask("POST", "/predict", raw=b" " * 20001) == (
            413,
            {"error": "the body is larger than 20,000 bytes (20,001): send fewer rows at a time"},
        )
        assert service.ask("GET", "/predict") == (405, {"error": "/predict does not answer GET: use POST"})
        assert service.ask("POST", "/health") == (405, {"error": "/health does not answer POST: use GET"})
        assert service.ask("GET", "/x") == (
            404,
            {"error": "there is no /x: /docs and /openapi.json say what there is"},
        )


def test_clients_that_stall_vanish_or_send_too_much_do_not_disturb_the_others(store: Store) -> None:
    deployed(store, published(store, 1).id)
    with serving(store.root) as service:
        service.until(lambda h: h["model_loaded"])
        with contextlib.ExitStack() as stack:
            for half in (b"", b"POST /pre", b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{"):
                half_open = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
                half_open.sendall(half)
            assert service.ask("POST", "/predict", ROW)[0] == 200
        gone = socket.create_connection(("127.0.0.1", service.port))
        gone.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{")
        gone.close()
        endless = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        with contextlib.closing(endless), contextlib.suppress(ConnectionError):
            endless.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(10_000):
                endless.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
            pytest.fail("40 MB were read although 20,000 bytes are the limit")
        assert service.ask("POST", "/predict", ROW)[0] == 200


def test_versions_come_and_go_under_load_without_a_failed_request(store: Store) -> None:
    versions = [published(store, seed) for seed in (1, 2, 3)]
    rows = ROWS[:3]
    offline = {v.id: a_predictor(seed).predict_proba(rows) for seed, v in enumerate(versions, 1)}
    deployed(store, versions[0].id)
    done = threading.Event()
    answers: list[tuple[int, Any]] = []
    failures: list[str] = []

    def ask(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        body = json.dumps(rows)
        with contextlib.closing(connection):
            while not done.is_set():
                try:
                    connection.request("POST", "/predict", body)
                    answer = connection.getresponse()
                    answers.append((answer.status, json.loads(answer.read())))
                except (OSError, http.client.HTTPException, ValueError) as error:
                    failures.append(repr(error))
                    return

    with serving(store.root) as service:
        service.until(lambda h: h["model_loaded"])
        clients = [threading.Thread(target=ask, args=(service.port,)) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            for number in range(1, 51):
                action = DeploymentAction.ROLLBACK if number % 3 == 0 else DeploymentAction.DEPLOY
                made = deployed(store, versions[(number * 2) % 3].id, action)
                service.until(lambda h, made=made: h["generation"] == made.generation)
                seen = len(answers)
                wait_for(lambda: len(answers), lambda n, seen=seen: n > seen + 4 or failures)
        finally:
            done.set()
            for client in clients:
                client.join()
        assert service.health()["refused"] is None
    assert failures == []
    assert Counter(status for status, _ in answers) == {200: len(answers)}
    live = {record.generation: record.version for record in store.log()}
    for _, answer in answers:
        assert answer["version"] == live[answer["generation"]]
        np.testing.assert_allclose(
            [p["probability"] for p in answer["predictions"]], offline[answer["version"]], rtol=0, atol=1e-12
        )
    assert {answer["generation"] for _, answer in answers} >= set(range(2, 52))


def test_a_refused_version_is_told_on_health_and_in_the_heartbeat(store: Store) -> None:
    good = published(store, 1)
    deployed(store, good.id)
    with serving(store.root) as service:
        service.until(lambda h: h["model_loaded"])
        bad = _golden_of_another(store)
        deployed(store, bad.id)
        said = service.until(lambda h: h["refused"])
        assert (said["status"], said["version"], said["generation"]) == ("ready", good.id, 1)
        assert said["refused"]["generation"] == 2
        (replica,) = wait_for(store.replicas, lambda found: found and found[0].refused_generation)
        assert replica.refused_because == said["refused"]["because"]
        assert (replica.generation, replica.version) == (1, good.id)
        assert (replica.url, replica.pid) == (service.url, service.process.pid)
        assert service.ask("POST", "/predict", ROW)[0] == 200
        deployed(store, None, DeploymentAction.ROLLBACK)
        said = service.until(lambda h: not h["model_loaded"])
        assert (said["status"], said["generation"], said["refused"]) == ("no model", 3, None)
        assert service.ask("GET", "/health")[0] == 503
        assert service.ask("GET", "/v2/health/ready") == (503, {"ready": False})
        assert service.ask("GET", "/v2/health/live") == (200, {"live": True})
        assert service.ask("POST", "/predict", ROW) == (
            503,
            {
                "error": "no model is loaded: generation 3 says that nothing is to be served, "
                "deploy a version with `rehone run`"
            },
        )
        wait_for(store.replicas, lambda found: found[0].generation == 3 and found[0].version is None)


def test_a_service_waits_for_a_store_and_outlives_its_absence(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with serving(root) as service:
        assert service.health()["status"] == "no model"
        said = service.until(lambda h: h["trouble"])
        assert said["trouble"].startswith(f"the store at {root} cannot be read ({root} is not a store")
        assert not root.exists()
        store = Store.create(root)
        version = published(store, 1)
        deployed(store, version.id)
        service.until(lambda h: h["model_loaded"] and h["trouble"] is None)
        wait_for(store.replicas, len)

        root.rename(tmp_path / "away")
        service.until(lambda h: h["trouble"])
        end = time.monotonic() + 1
        while time.monotonic() < end:
            status, answer = service.ask("POST", "/predict", ROW)
            assert (status, answer["version"]) == (200, version.id)
        assert not root.exists()
        (tmp_path / "away").rename(root)
        service.until(lambda h: h["trouble"] is None)
        newer = published(store, 2)
        deployed(store, newer.id)
        service.until(lambda h: h["version"] == newer.id)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_end_and_retires_the_heartbeat(store: Store, number: signal.Signals) -> None:
    deployed(store, published(store, 1).id)
    with serving(store.root) as service:
        service.until(lambda h: h["model_loaded"])
        wait_for(store.replicas, lambda found: found and found[0].generation == 1)
        body = json.dumps(ROW).encode()
        under_way = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        with contextlib.closing(under_way):
            head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            under_way.sendall(head + body[:5])
            time.sleep(0.1)
            service.process.send_signal(number)
            wait_for(store.replicas, lambda found: not found)
            under_way.sendall(body[5:])
            assert under_way.recv(100).startswith(b"HTTP/1.1 200")
        assert service.process.wait(15) == 0
        assert service.process.stdout
        assert service.process.stdout.read() == "drained\n"
        assert os.listdir(store.root / "replicas") == []


def test_a_small_answer_is_sent_without_delay() -> None:
    """asyncio turns Nagle's algorithm off only where the protocol is named; else each answer takes 40 ms more."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_an_address_of_another_machine_is_an_error_with_a_remedy(store: Store) -> None:
    with pytest.raises(ServeError) as caught:
        run(a_config(store, host="192.0.2.1", port=0), clock=lambda: T0)
    assert str(caught.value).startswith("cannot listen on 192.0.2.1:0 (Cannot assign requested address): stop what")


def test_a_used_port_is_an_error_with_a_remedy(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError) as caught:
            run(a_config(store, port=port), clock=lambda: T0)
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port} (Address already in use): stop what listens there, or choose another "
        "address with [serve] host and port (port 0 takes a free one)"
    )

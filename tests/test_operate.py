"""What whoever runs the service may rely on: workers, an operator's token, lines of log, units to copy."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from rehone.cli import logs, service
from rehone.cli.commands import app
from rehone.config import Config, Deploy, Project, Serve, load_config
from rehone.deploy import Order, promote
from rehone.errors import ArtifactError, ConfigError
from rehone.records import DeploymentAction
from rehone.serve import App, Follower, Service, routes
from rehone.serve import operator as operating
from rehone.serve import workers as crews
from rehone.serve.server import listen
from rehone.store import Store
from serve_kit import ROW, deployed, published, wait_for

REPOSITORY = Path(__file__).parents[1]
UNITS = REPOSITORY / "examples" / "operate"
HOW_TO = REPOSITORY / "docs" / "how-to" / "operate-service.md"
REHONE = str(Path(sys.executable).with_name("rehone"))
TOKEN = "0123456789abcdef-operator"
QUICK = """
[serve]
port = 0
poll_seconds = 0.05
heartbeat_seconds = 0.2
drain_seconds = 8
"""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Running:
    """A service as the command line starts it, and how to ask it."""

    process: subprocess.Popen[str]
    said: str
    errors: Path
    port: int = field(init=False)

    def __post_init__(self) -> None:
        found = re.search(r":(\d+)", self.said)
        assert found, (self.said, self.errors.read_text())
        self.port = int(found[1])

    def client(self) -> Client:
        return Client(self.port)

    def pids(self, count: int) -> set[int]:
        """Ask on new connections until this many workers have answered."""
        found: set[int] = set()

        def ask() -> set[int]:
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(self.client()) as client:
                found.add(client.ask("GET", "/health")[1]["pid"])
            return found

        return set(wait_for(ask, lambda pids: len(pids) >= count))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.errors.read_text().splitlines()]


class Client:
    """One connection that is kept; it finds out which worker it has reached."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        self.connection.request(method, path, None if body is None else json.dumps(body), headers or {})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        self.connection.close()


@contextlib.contextmanager
def running(root: Path, *options: str, command: tuple[str, ...] = (REHONE,)) -> Iterator[Running]:
    errors = root / "errors"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "serve", "-p", str(root), "--log-format", "json", *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout
    try:
        yield Running(process, process.stdout.readline().strip(), errors)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "rehone.toml").write_text(QUICK)
    return tmp_path


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def order(store: Store) -> Order:
    head = store.head()
    return Order(expect_generation=head.generation if head else 0, actor="test")


# --- workers --------------------------------------------------------------------------------


@dataclass
class Load:
    """Clients that ask without a pause until they are told to stop, each on a connection that it keeps."""

    port: int
    answered: Counter[int] = field(default_factory=Counter)
    failed: list[int | None] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def keep_asking(self) -> None:
        while not self.stop.is_set():
            pid = None
            with contextlib.closing(Client(self.port)) as client:
                try:
                    pid = client.ask("GET", "/health")[1]["pid"]
                    for _ in range(50):
                        assert client.ask("POST", "/predict", ROW)[0] == 200
                        self.answered[pid] += 1
                        time.sleep(0.01)
                except (OSError, http.client.HTTPException):
                    self.failed.append(pid)


@contextlib.contextmanager
def load(port: int, clients: int) -> Iterator[Load]:
    found = Load(port)
    threads = [threading.Thread(target=found.keep_asking) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.soak
def test_workers_share_a_port_are_replaced_and_take_part_in_every_promotion(root: Path) -> None:
    """One story, since each start of a process costs seconds: load, death, return, promotion, end."""
    store = Store.create(root / "store")
    first, second = published(store, 1).id, published(store, 2).id
    deployed(store, first, DeploymentAction.ROLLBACK)  # confirmed at once
    with running(root, "--workers", "2") as served:
        assert re.fullmatch(r"serving at http://127\.0\.0\.1:\d+ with 2 workers", served.said)
        pids = served.pids(2)
        assert served.process.pid not in pids
        wait_for(lambda: {replica.pid for replica in store.replicas()}, lambda found: found == pids)
        assert len({replica.url for replica in store.replicas()} | {f"http://127.0.0.1:{served.port}"}) == 3
        victim, other = sorted(pids)
        with load(served.port, 6) as asked:
            wait_for(lambda: asked.answered[victim] > 5 and asked.answered[other] > 5, bool)
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: len({r.pid for r in store.replicas()} - pids), bool, seconds=60)
        (added,) = {replica.pid for replica in store.replicas()} - pids
        # a connection that was waiting to be accepted by the dead worker has no pid yet
        assert set(asked.failed) <= {victim, None}
        assert 1 <= len(asked.failed) <= 12
        assert served.pids(2) >= {other, added}
        _promoted_by_both(store, second, {other, added})
        assert {r.version for r in store.replicas() if r.pid in (other, added)} == {second}
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
    assert store.replicas() == ()
    (died,) = [line for line in served.lines() if line["message"].startswith("worker ended")]
    assert (died["worker_pid"], died["because"]) == (victim, "was ended by SIGKILL")


def _promoted_by_both(store: Store, version: str, pids: set[int]) -> None:
    """Promote: each worker has to prove at its own address that it serves the version."""
    for replica in store.replicas():
        if replica.pid not in pids:
            store.retire(replica.name)
    policy = Deploy(service="required", trial_seconds=25)
    promotion = promote(store, version, order(store), policy, clock=now, preflight=lambda *_: ())
    assert promotion.confirmed, promotion.checks
    proved = {check.subject for check in promotion.checks if check.name == "smoke"}
    assert proved == {replica.name for replica in store.replicas() if replica.pid in pids}
    assert len(proved) == 2


def test_requests_under_way_are_answered_when_the_service_is_told_to_end(root: Path) -> None:
    store = Store.create(root / "store")
    deployed(store, published(store, 1).id)
    body = json.dumps(ROW).encode()
    with running(root, "--workers", "2") as served:
        clients = [served.client() for _ in range(12)]
        for client in clients:
            assert client.ask("POST", "/predict", ROW)[0] == 200
            half_sent(client.connection.sock, body)
        served.process.send_signal(signal.SIGTERM)
        wait_for(store.replicas, lambda replicas: not replicas)
        wait_for(lambda: refuses(served.port), bool)
        statuses = Counter(whole(client.connection.sock, body) for client in clients)
        assert statuses == {b"HTTP/1.1 200 OK": 12}
        for client in clients:
            client.close()
        assert served.process.wait(20) == 0


def half_sent(sock: socket.socket, body: bytes) -> None:
    """Send a request without its body, until the service says that it waits for that."""
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode())
    assert sock.recv(1000).startswith(b"HTTP/1.1 100")


def whole(sock: socket.socket, body: bytes) -> bytes:
    sock.sendall(body)
    return sock.recv(10_000).split(b"\r\n")[0]


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False


def test_workers_wait_for_a_first_version_and_end_when_their_parent_is_killed(root: Path) -> None:
    with running(root, "--workers", "2") as served:
        pids = served.pids(2)
        with contextlib.closing(served.client()) as client:
            assert client.ask("GET", "/v2/health/live")[0] == 200
            assert client.ask("GET", "/v2/health/ready")[0] == 503
        store = Store.create(root / "store")
        deployed(store, published(store, 1).id)
        wait_for(store.replicas, lambda found: {r.pid for r in found if r.generation == 1} == pids)
        served.process.kill()
        served.process.wait()
        wait_for(lambda: all(gone(pid) for pid in pids), bool)
        assert store.replicas() == ()
        listen("127.0.0.1", served.port).close()


CREW = """
import os, sys
from rehone.config import Serve
from rehone.serve.workers import supervise
supervise(Serve(port=0, workers=1, drain_seconds=60), [sys.executable, "-c", sys.argv[1]], b"told",
          on_ready=lambda url, count: os.write(1, b"ready %d\\n" % count), hung_seconds=0.3)
"""


@contextlib.contextmanager
def crew(code: str, script: str = CREW) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_worker_that_stands_still_is_killed_and_replaced() -> None:
    code = r"import os, sys, time; os.write(int(sys.argv[2]), b'.'); os.write(1, b'%d\n' % os.getpid()); time.sleep(60)"
    with crew(code) as process:
        assert process.stdout
        said = [process.stdout.readline().strip() for _ in range(3)]
        first, second = (int(line) for line in said if line.isdigit())
        assert said.count("ready 1") == 1
        assert gone(first)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert errors.startswith("worker hangs and is killed\n")
        assert gone(second)


def test_a_worker_that_hangs_before_its_first_tick_is_killed_and_replaced(tmp_path: Path) -> None:
    """Its start has a limit of its own, counted from its beginning."""
    code = (
        f"import os, sys, time; from pathlib import Path; hung = Path({str(tmp_path / 'hung')!r})\n"
        "while hung.exists(): os.write(int(sys.argv[2]), b'.'); time.sleep(0.05)\n"
        "hung.touch(); time.sleep(60)"
    )
    with crew(code, CREW.replace("hung_seconds=0.3", "hung_seconds=0.3, start_seconds=3")) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready 1\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert errors.startswith("worker hangs and is killed\n")


SHORT_OF_PROCESSES = """
import subprocess
start, starts = subprocess.Popen, []
def scarce(*args, **options):
    starts.append(args)
    if len(starts) == 2:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return start(*args, **options)
subprocess.Popen = scarce
"""


def test_a_machine_without_a_process_to_give_is_asked_again() -> None:
    code = r"import os, sys; os.write(int(sys.argv[2]), b'.'); os.write(1, b'%d\n' % os.getpid())"
    with crew(code, SHORT_OF_PROCESSES + CREW) as process:
        assert process.stdout
        pids = [line for _ in range(3) if (line := process.stdout.readline().strip()).isdigit()]
        assert len(set(pids)) == 2
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "worker not started" in errors.splitlines()


def test_a_second_signal_ends_workers_that_do_not_listen_to_the_first() -> None:
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))\n"
        "while True: os.write(int(sys.argv[2]), b'.'); time.sleep(0.05)"
    )
    with crew(code) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready 1\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert "worker 1 had not ended 65 s after it was asked to, and was killed" in errors
    assert process.returncode == 1


def test_a_worker_that_gives_up_before_the_service_is_up_ends_it() -> None:
    with crew("import sys; sys.stdin.read(); sys.exit(7)") as process:
        _, errors = process.communicate(timeout=20)
    assert "ServeError: worker 1 ended with code 7 before it answered" in errors


def test_the_pause_before_a_worker_comes_back_grows_while_it_dies_young_and_ends_with_a_life() -> None:
    worker = crews._Worker(1)
    pauses = []
    for _ in range(8):
        worker.note_end(worker.began + 1)
        pauses.append(worker.pause)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert worker.again == worker.began + 1 + 30
    worker.note_end(worker.began + crews.LIVED_SECONDS)
    assert worker.pause == 0
    worker.note_end(worker.began + 1)
    assert worker.pause == 0.5


def test_a_worker_is_told_the_whole_configuration(root: Path) -> None:
    (root / "rehone.toml").write_text(
        '[trigger]\nmax_trainings_per_30_days = "off"\n[predictions]\nlog = true\nkeep_days = "off"\n'
        '[data]\nid_column = "id"\n[train]\ncandidates = ["lightgbm", {class = "random_forest", params = {n_estimators = 9}}]\n'
    )
    config, logging_ = load_config(root), service.Logging(form="json", level="warning", whole=True)
    assert service.heard(service.told(config, logging_)) == (config, logging_, sys.path)


# --- the operator's endpoints ---------------------------------------------------------------


def tokened(root: Path, text: bytes = TOKEN.encode(), mode: int = 0o600) -> Config:
    (root / "token").write_bytes(text)
    (root / "token").chmod(mode)
    return Config(project=Project(store="store"), serve=Serve(token_file="token"), root=root)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_token_is_read_relative_to_the_project_without_white_space_around_it(root: Path, mode: int) -> None:
    assert operating.read_token(tokened(root, f" {TOKEN}\n".encode(), mode)) == TOKEN.encode()
    assert operating.read_token(Config(root=root)) is None


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        (b"", 0o600, "has 0 characters, at least 16: make one with"),
        (b" \n", 0o600, "has 0 characters, at least 16"),
        (b"0123456789abcde\n", 0o600, "has 15 characters, at least 16"),
        (b"0" * 4097, 0o600, "is longer than 4096 characters"),
        (b"0123456789abcdef\n0123456789abcdef", 0o600, "characters that no header can carry, or several lines"),
        ("0123456789abcdefö".encode(), 0o600, "characters that no header can carry"),
        (TOKEN.encode(), 0o644, "has mode 0644, so that others can use it: `chmod 600 "),
        (TOKEN.encode(), 0o602, "has mode 0602"),
        (TOKEN.encode(), 0o660, "has mode 0660"),
    ],
)
def test_a_token_that_protects_nothing_is_refused(root: Path, text: bytes, mode: int, sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)) as raised:
        operating.read_token(tokened(root, text, mode))
    assert str(raised.value).startswith("serve.token_file: 1 problem\n")
    assert not text.strip() or text.strip().decode() not in str(raised.value)


def test_a_token_file_must_be_a_file(root: Path) -> None:
    config = tokened(root)
    (root / "token").unlink()
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file or directory\)"):
        operating.read_token(config)
    os.mkfifo(root / "token", 0o600)
    with pytest.raises(ConfigError, match="is not a file"):
        operating.read_token(config)


def test_serve_does_not_start_with_a_token_that_cannot_be_used(root: Path) -> None:
    (root / "rehone.toml").write_text(QUICK + 'token_file = "token"\n')
    tokened(root, b"short-and-secret"[:9])
    done = subprocess.run([REHONE, "serve", "-p", str(root)], capture_output=True, text=True, check=False)
    said = json.loads(done.stderr)
    assert (done.returncode, done.stdout, said["level"], said["message"]) == (2, "", "critical", "service ended")
    assert "has 9 characters, at least 16" in said["because"]
    assert "short-and" not in done.stderr


@dataclass
class Operated:
    store: Store
    follower: Follower
    port: int

    def ask(self, method: str, path: str, body: Any = None, token: str | None = TOKEN) -> tuple[int, Any]:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        with contextlib.closing(Client(self.port)) as client:
            return client.ask(method, path, body, headers)


@pytest.fixture
def operated(root: Path) -> Iterator[Operated]:
    """A server whose log is looked at only when somebody asks for it."""
    store, stop = Store.create(root / "store"), threading.Event()
    follower = Follower(store.root, Deploy(), clock=now)
    with contextlib.closing(listen("127.0.0.1", 0)) as listener, service_of(follower, listener):
        following = threading.Thread(target=follower.follow, args=(stop, 3600))
        following.start()
        try:
            yield Operated(store, follower, listener.getsockname()[1])
        finally:
            stop.set()
            following.join()


@contextlib.contextmanager
def service_of(follower: Follower, listener: socket.socket) -> Iterator[None]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:
        made = Service(serving=lambda: follower.now, policy=Serve(), workers=threads, clock=now)
        app_ = App({**routes(made), **operating.routes(follower, TOKEN.encode())}, (), made.meters)
        server = uvicorn.Server(uvicorn.Config(app_, interface="asgi3", lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()


def test_reload_looks_at_the_log_now(operated: Operated) -> None:
    version = deployed(operated.store, published(operated.store, 1).id).version
    assert operated.follower.now.loaded is None
    status, said = operated.ask("POST", "/operator/reload")
    assert (status, said["looking"]) == (202, True)
    wait_for(lambda: operated.ask("GET", "/health")[1]["version"], lambda found: found == version)


def test_a_pin_holds_whatever_the_log_says_until_it_is_taken_away(operated: Operated) -> None:
    store = operated.store
    first, second = published(store, 1).id, published(store, 2).id
    deployed(store, second)
    assert operated.ask("GET", "/operator/pin")[1]["pinned"] is None
    status, said = operated.ask("POST", "/operator/pin", {"version": first[:12]})
    assert (status, said["pinned"], said["version"]) == (200, first, first)
    operated.ask("POST", "/operator/reload")
    wait_for(lambda: operated.follower.now.refused, bool)
    answer = operated.ask("POST", "/predict", ROW)[1]
    assert (answer["version"], answer["generation"]) == (first, None)
    assert operated.ask("GET", "/health")[1]["generation"] is None
    assert operated.ask("GET", "/operator/pin")[1]["pinned"] == first
    status, said = operated.ask("DELETE", "/operator/pin")
    assert (status, said["pinned"], said["version"], said["generation"]) == (200, None, second, 1)


def test_a_version_that_is_not_whole_in_the_store_is_not_pinned(operated: Operated) -> None:
    store = operated.store
    live, damaged = published(store, 1).id, published(store, 2).id
    deployed(store, live)
    operated.follower.step()
    file = next((store.root / "versions" / damaged).glob("golden*"))
    file.chmod(0o644)
    file.write_bytes(b"{}")
    for wish, status, sentence in [
        ({"version": damaged}, 422, "what is served stays"),
        ({"version": "0" * 64}, 404, "what is served stays"),
        ({"version": "../../etc"}, 400, "a version is 1 to 64 hexadecimal digits"),
        ({"version": ""}, 400, "a version is 1 to 64 hexadecimal digits"),
        ({"version": 3}, 400, "send {"),
        ({"version": live, "path": "/tmp"}, 400, "send {"),
        ({"version": "a" * 2000}, 413, "larger than 1,000 bytes"),
    ]:
        found, said = operated.ask("POST", "/operator/pin", wish)
        assert (found, sentence in said["error"]) == (status, True), said
    assert operated.follower.now.pinned is None
    assert operated.ask("POST", "/predict", ROW)[1]["version"] == live


def test_nothing_is_pinned_while_the_store_is_away(operated: Operated) -> None:
    """What cannot be looked for is not missing: 503 and not 404, and what is served stays."""
    store = operated.store
    live = published(store, 1).id
    deployed(store, live)
    operated.follower.step()
    store.root.rename(store.root.with_name("away"))
    for wish in (live[:12], live, "0" * 12, "0" * 64):
        status, said = operated.ask("POST", "/operator/pin", {"version": wish})
        assert (status, "mount the store or put it back" in said["error"]) == (503, True), said
    assert operated.ask("POST", "/predict", ROW)[1]["version"] == live
    store.root.with_name("away").rename(store.root)
    assert operated.ask("POST", "/operator/pin", {"version": live})[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/operator/reload"), ("GET", "/operator/pin"), ("POST", "/operator/pin"), ("DELETE", "/operator/pin")],
)
def test_without_the_token_nothing_is_done_and_nothing_is_given_away(
    operated: Operated, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    version = deployed(operated.store, published(operated.store, 1).id).version
    wish = {"version": version}
    answers = [
        operated.ask(method, path, wish, token=token)
        for token in (None, "", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f"{TOKEN} {TOKEN}")
    ]
    assert answers == [(401, {"error": "send the operator's token as `Authorization: Bearer TOKEN`"})] * 7
    with contextlib.closing(Client(operated.port)) as client:
        for scheme in ("Basic", ""):
            assert client.ask(method, path, None, {"authorization": f"{scheme} {TOKEN}"})[0] == 401
        client.connection.request(method, path)
        answer = client.connection.getresponse()
        assert answer.getheader("www-authenticate") == 'Bearer realm="rehone"'
    assert (operated.follower.now.loaded, operated.follower.now.pinned) == (None, None)
    known = operated.ask(method, path, wish)
    assert known[0] in (200, 202)
    assert TOKEN not in caplog.text + str(answers) + str(known) + str(operated.ask("GET", "/health"))


# --- lines of log ---------------------------------------------------------------------------


def record(message: str = "event", *, raised: BaseException | None = None, **fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "rehone.serve", "levelno": 30, "levelname": "WARNING", "msg": message, "created": 1767225600.25}
    )
    made.exc_info = (type(raised), raised, raised.__traceback__) if raised else None
    vars(made).update(fields)
    return made


def test_an_event_is_one_object_a_line_with_its_fields() -> None:
    line = logs.JsonLines().format(
        record(
            "two\nlines", version="abc", generation=3, because=None, time="mine", odd={1: Path("x")}, never=float("nan")
        )
    )
    assert "\n" not in line
    assert json.loads(logs.JsonLines().format(record(version="abc", generation=3, because=None, time="mine"))) == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "rehone.serve",
        "message": "event",
        "pid": os.getpid(),
        "version": "abc",
        "generation": 3,
        "because": None,
        "time_": "mine",
    }


def test_for_people_an_event_is_a_line_of_text() -> None:
    assert (
        logs.TextLines().format(record(version="abc", generation=3))
        == '2026-01-01T00:00:00.250Z warning rehone.serve: event version="abc" generation=3'
    )


def failing(value: str) -> BaseException:
    try:
        try:
            float(value)
        except ValueError as error:
            raise ArtifactError("version abc cannot be loaded") from error
    except ArtifactError as error:
        return error


@pytest.mark.parametrize("lines", [logs.JsonLines, logs.TextLines])
def test_exceptions_are_text_and_do_not_quote_what_was_asked(lines: Callable[..., logging.Formatter]) -> None:
    said = lines().format(record(raised=failing("Atlantis")))
    assert "Atlantis" not in said
    assert "ValueError (what it says is left out" in said
    assert "rehone.errors.ArtifactError: version abc cannot be loaded" in said
    assert said.index("ValueError") < said.index("ArtifactError: version")
    assert "test_operate.py" in said
    assert "could not convert string to float: 'Atlantis'" in lines(whole=True).format(
        record(raised=failing("Atlantis"))
    )


@pytest.mark.parametrize(("level", "told"), [("info", True), ("warning", False)])
def test_everything_that_the_service_writes_to_stderr_is_lines_of_json(root: Path, level: str, told: bool) -> None:
    store = Store.create(root / "store")
    deployed(store, published(store, 1).id)
    with running(root, "--log-level", level) as served:
        with contextlib.closing(served.client()) as client:
            assert client.ask("POST", "/predict", ROW | {"city": "Atlantis", "amount": 4711.25})[0] == 200
            assert client.ask("POST", "/predict", {"amount": "4711.25"})[0] == 422
            assert client.ask("POST", "/operator/pin", {"version": "0"}, {"authorization": f"Bearer {TOKEN}"})[0] == 404
        with socket.create_connection(("127.0.0.1", served.port)) as nonsense:
            nonsense.sendall(b"nonsense\r\n\r\n")
            nonsense.recv(1000)
        deployed(store, None)
        wait_for(lambda: {r.generation for r in store.replicas()}, lambda found: found == {2})
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
        lines = served.lines()
    assert all({"time", "level", "logger", "message", "pid"} <= set(line) for line in lines)
    changes = [line["after"]["generation"] for line in lines if line["message"] == "serving changed"]
    assert changes == ([1, 2] if told else [])
    assert [line["level"] for line in lines if line["logger"].startswith("uvicorn")] == ["warning"]
    assert "Atlantis" not in str(lines)
    assert "4711" not in str([{k: v for k, v in line.items() if k not in ("pid", "time")} for line in lines])


# --- units and containers -------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    units = []
    for unit in UNITS.glob("rehone-*"):
        units.append(tmp_path / unit.name)
        units[-1].write_text(unit.read_text().replace("/opt/rehone/bin/rehone", REHONE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, len(units)) == (0, "", 3)


def directives(unit: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", (UNITS / unit).read_text(), re.MULTILINE))


def test_the_units_leave_time_to_drain_and_let_the_service_write_two_folders() -> None:
    served, ran = directives("rehone-serve.service"), directives("rehone-run.service")
    config = Config(root=Path("/srv/rehone"))
    assert int(served["TimeoutStopSec"]) > config.serve.drain_seconds + crews.GRACE_SECONDS
    writable = {str(config.store_path / "replicas"), str(config.predictions_path)}
    assert set(served["ReadWritePaths"].split()) == writable
    assert (served["ReadOnlyPaths"], ran["ReadWritePaths"]) == (str(config.root), str(config.root))
    assert (served["ProtectSystem"], served["NoNewPrivileges"], served["User"] != ran["User"]) == (
        "strict",
        "yes",
        True,
    )
    for unit in (served, ran):
        words = unit["ExecStart"].split()
        made = app.commands[words[1]].make_context(words[1], words[2:])
        assert made.params["project"] == str(config.root)
    assert all(path in HOW_TO.read_text() for path in writable)


def test_the_container_copies_what_exists_and_starts_a_command_that_exists() -> None:
    text = (UNITS / "Containerfile").read_text().replace("\\\n", " ")
    copied = [
        source for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for source in line.split()[:-1]
    ]
    assert len(copied) >= 5
    assert [source for source in copied if not (REPOSITORY / source).exists()] == []
    entry, command = (
        json.loads(re.findall(rf"^{word} (\[.*\])$", text, re.MULTILINE)[-1]) for word in ("ENTRYPOINT", "CMD")
    )
    assert entry == ["/opt/rehone/bin/rehone"]
    made = app.commands[command[0]].make_context(command[0], command[1:])
    assert (made.params["host"], made.params["port"]) == ("0.0.0.0", 8000)
    assert "EXPOSE 8000\n" in text
    assert "127.0.0.1:8000/v2/health/live" in text
    assert re.findall(r"^USER (\d+)$", text, re.MULTILINE) == ["10001"]


NOBODY = 65534
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--bounding-set=-all,+dac_read_search",  # so that an interpreter in root's home can be run; it lets nothing be written
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
    "--no-new-privs",
)


@pytest.fixture
def shared_root() -> Iterator[Path]:
    """A project that another user may look at."""
    folder = Path(tempfile.mkdtemp(prefix="rehone-"))
    folder.chmod(0o755)
    (folder / "rehone.toml").write_text(QUICK + "[predictions]\nlog = true\nflush_seconds = 0.1\n")
    yield folder
    shutil.rmtree(folder)


def may_become_nobody() -> bool:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        return False
    done = subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not may_become_nobody(), reason="needs root and setpriv")
def test_a_user_who_may_only_write_heartbeats_and_predictions_can_serve(shared_root: Path) -> None:
    store = Store.create(shared_root / "store")
    first, second = published(store, 1).id, published(store, 2).id
    deployed(store, first, DeploymentAction.ROLLBACK)  # confirmed at once
    for folder in (store.root / "replicas", shared_root / "predictions"):
        folder.mkdir(exist_ok=True)
        os.chown(folder, NOBODY, NOBODY)
    assert [path for path in store.root.rglob("*") if not path.stat().st_mode & 0o004] == []
    with running(shared_root, command=(*AS_NOBODY, REHONE)) as served:
        assert Path(f"/proc/{served.process.pid}").stat().st_uid == NOBODY
        wait_for(store.replicas, bool)
        policy = Deploy(service="required", trial_seconds=20)
        promotion = promote(store, second, order(store), policy, clock=now, preflight=lambda *_: ())
        assert promotion.confirmed, promotion.checks
        with contextlib.closing(served.client()) as client:
            assert client.ask("POST", "/predict", ROW)[1]["version"] == second
        wait_for(lambda: list((shared_root / "predictions").rglob("*.parquet")), bool)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
        assert [line["message"] for line in served.lines() if line["level"] != "info"] == []
    assert store.replicas() == ()
    foreign = [path for path in store.root.rglob("*") if path.stat().st_uid == NOBODY]
    assert foreign == [store.root / "replicas"]

"""Tiny versions, a small server that follows the log, and disks that die, for the tests of the store."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import wraps
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rehone.codec import decode, encode
from rehone.config import Deploy
from rehone.deploy import Order, Promotion, promote
from rehone.disk import Disk
from rehone.records import (
    Check,
    CheckStatus,
    Contract,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Feature,
    FeatureKind,
    Manifest,
    ModelVersion,
    Replica,
    Window,
)
from rehone.store import Store

DAY = datetime(2026, 6, 1, tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


def manifest(n: int) -> Manifest:
    return Manifest(
        project="kit",
        run_id=f"run-{n}",
        created_at=datetime(2026, 1, 1, 0, n // 60, n % 60, tzinfo=UTC),
        as_of=DAY,
        estimator="kit",
        params={"n": n},
        window_policy="trailing",
        contract=Contract(features=(Feature("x", FeatureKind.NUMERIC),), label="y"),
        threshold=0.5,
        train_window=Window(DAY, DAY),
        train_end=DAY,
        train_rows=10,
        train_positives=5,
        data_sha256="0" * 64,
        requires={},
        files={},
    )


def files(n: int) -> dict[str, bytes]:
    golden = {"rows": [{"x": float(i)} for i in range(3)], "probabilities": [(n + i) / (n + 10) for i in range(3)]}
    return {
        "preprocessor.skops": f"preprocessor {n}".encode() * 50,
        "model.skops": f"model {n}".encode() * 100,
        "golden.json": encode(golden),
    }


def publish(store: Store, n: int) -> ModelVersion:
    return store.publish(manifest(n), files(n))


def number(store: Store, version: str) -> int:
    """Return which version this is, after seeing that every part of it is of the same one."""
    n = int(store.version(version).manifest.params["n"])
    assert store.read(version) == files(n)
    return n


def deployment(version: str | None, **facts: Any) -> Deployment:
    given: dict[str, Any] = {
        "generation": 0,
        "action": DeploymentAction.DEPLOY,
        "state": DeploymentState.CONFIRMED,
        "at": DAY,
        "actor": "kit",
        **facts,
    }
    return Deployment(version=version, **given)


def order(store: Store, **facts: Any) -> Order:
    head = store.head()
    given: dict[str, Any] = {"expect_generation": head.generation if head else 0, "actor": "kit", **facts}
    return Order(**given)


def flies(root: Path, version: str, policy: Deploy) -> tuple[Check, ...]:
    """Stand in for the fresh process, where a test is of something else."""
    return (Check(name="preflight", status=CheckStatus.OK),)


ALONE = Deploy(service="none")
QUICK = Deploy(trial_seconds=5, replica_timeout_seconds=2)


def bring(store: Store, n: int, policy: Deploy = ALONE, **options: Any) -> Promotion:
    """Publish version n and promote it."""
    options = {"clock": now, "preflight": flies, **options}
    return promote(store, publish(store, n).id, order(store), policy, **options)


def live(store: Store) -> int | None:
    """Return the number of the live version, which must be whole."""
    head = store.head()
    return number(store, head.version) if head and head.version else None


# --- a server ---------------------------------------------------------------------------------


class Server:
    """Answers as the real service does, from the golden rows of what the log says; each fault is a switch."""

    def __init__(self, root: Path, name: str = "host-1") -> None:
        self.store = Store(root)
        self.generation: int | None = None
        self.version: str | None = None
        self.refused: dict[str, Any] | None = None
        self.refuses = False
        self.stuck = False
        self.off = 0.0
        self.answer: bytes | None = None
        self.asked: Callable[[str], None] = lambda _path: None
        self.clock: Callable[[], datetime] = now
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.handle(self)

            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.replica = Replica(
            name=name,
            host="host",
            pid=os.getpid(),
            url=f"http://127.0.0.1:{self.http.server_port}",
            at=now(),
        )
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.follow()

    def follow(self) -> None:
        with self._lock:
            head = self.store.head()
            if head is not None and not self.stuck and head.generation != self.generation:
                if self.refuses and head.state is DeploymentState.TRIAL:
                    self.refused = {"generation": head.generation, "because": "told to"}
                else:
                    self.generation, self.version = head.generation, head.version
            self.beat()

    def beat(self) -> None:
        self.store.beat(
            Replica(
                name=self.replica.name,
                host=self.replica.host,
                pid=self.replica.pid,
                url=self.replica.url,
                at=self.clock(),
                generation=self.generation,
                version=self.version,
                refused_generation=self.refused["generation"] if self.refused else None,
                refused_because=self.refused["because"] if self.refused else None,
                pinned=self.replica.pinned,
            )
        )

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        sent = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.asked(path)
        self.follow()
        body = self._health() if path == "/health" else self._predict(sent)
        data = json.dumps(body).encode() if self.answer is None else self.answer
        with contextlib.suppress(ConnectionError):
            request.send_response(200 if self.version else 503)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)

    def _health(self) -> dict[str, Any]:
        return {
            "status": "ready",
            "model_loaded": self.version is not None,
            "version": self.version,
            "generation": self.generation,
            "refused": self.refused,
            "pid": self.replica.pid,
        }

    def _predict(self, sent: bytes) -> dict[str, Any]:
        if self.version is None:
            return {"error": "no model is loaded"}
        golden = decode(self.store.read(self.version)["golden.json"], dict, source="golden")
        known = dict(zip(map(str, golden["rows"]), golden["probabilities"], strict=True))
        said = [known[str(row)] + self.off for row in json.loads(sent)["rows"]]
        predictions = [{"probability": p, "decision": p >= 0.5} for p in said]
        return {"version": self.version, "generation": self.generation, "threshold": 0.5, "predictions": predictions}

    def die(self) -> None:
        """Stop answering, as if killed: the heartbeat file stays."""
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()


@contextlib.contextmanager
def serving(root: Path, name: str = "host-1") -> Iterator[Server]:
    server = Server(root, name)
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):
            server.die()


# --- disks that fail ------------------------------------------------------------------------------


class SwiftDisk(Disk):
    """Does not wait for the device, which only a power cut would tell; for tests of everything else."""

    def write(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
        super().write(path, data, lasting=False)

    def sync_folder(self, path: Path) -> None:
        path.stat()


class Died(BaseException):
    """The process is gone: nothing that it would still do happens."""


WHOLE = ("replace", "release")
"""Calls that a death does not stop: one is made of others, and locks are let go by the death itself."""

LEAVES = [name for name, call in vars(Disk).items() if callable(call) and name[0] != "_" and name not in WHOLE]


def _leaf(name: str) -> Callable[..., Any]:
    plain = getattr(SwiftDisk, name)

    @wraps(plain)
    def call(self: DyingDisk, *args: Any, **kwargs: Any) -> Any:
        self.step(name, args)
        return self.perform(name, plain, args, kwargs)

    return call


class DyingDisk(SwiftDisk):
    """Dies at the `at`-th call, before it does anything or, with `half`, in the middle of it."""

    def __init__(self, at: int | None = None, *, half: bool = False) -> None:
        self.at, self.half, self.calls, self.dead = at, half, 0, False

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        if self.dead:
            raise Died
        self.calls += 1
        if self.calls == self.at:
            self.dead = True
            if self.half:
                _half(name, args)
            raise Died

    def perform(self, name: str, plain: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return plain(self, *args, **kwargs)


def _half(name: str, args: tuple[Any, ...]) -> None:
    if name in ("write", "append"):
        path, data = args
        with path.open("ab") as file:
            file.write(data[: len(data) // 2])
    elif name == "fill":
        os.ftruncate(args[0], 0)
        os.pwrite(args[0], args[1][: len(args[1]) // 2], 0)
    elif name == "remove_tree" and args[0].is_dir():
        inside = [p for p in sorted(args[0].rglob("*")) if p.is_file()]
        for folder in [args[0], *(p for p in args[0].rglob("*") if p.is_dir())]:
            folder.chmod(0o700)
        for path in inside[: len(inside) // 2]:
            path.unlink()


for _name in LEAVES:
    setattr(DyingDisk, _name, _leaf(_name))


class PowerCutDisk(DyingDisk):
    """Forgets, when the power is cut, every name in a folder that was not synced since.

    With a seed only some of them, at random, as a journal may have reached the device in part.
    """

    def __init__(self, at: int | None = None, *, seed: int | None = None) -> None:
        super().__init__(at)
        self.random = None if seed is None else random.Random(seed)
        self.open: list[tuple[tuple[int, int], Callable[[], None]]] = []
        self.handles: list[int] = []

    def perform(self, name: str, plain: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        undo = self._undo(name, args)
        result = plain(self, *args, **kwargs)
        if undo is not None:
            self.open.append(undo)
        if name == "sync_folder":
            key = _key(args[0])
            self.open = [entry for entry in self.open if entry[0] != key]
        return result

    def _folder(self, path: Path) -> int:
        self.handles.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        return self.handles[-1]

    def _undo(self, name: str, args: tuple[Any, ...]) -> tuple[tuple[int, int], Callable[[], None]] | None:
        if name == "rename":
            return _key(args[1].parent), self._unrename(*args)
        if name in ("write", "symlink", "link", "make_folder"):
            path = args[0] if name in ("write", "make_folder") else args[1]
            if path.exists() or not path.parent.exists():
                return None
            folder = self._folder(path.parent)
            return _key(path.parent), lambda: _vanish(folder, path.name)
        if name == "unlink" and args[0].is_symlink():
            at, text = self._folder(args[0].parent), args[0].readlink()
            return _key(args[0].parent), lambda: os.symlink(text, args[0].name, dir_fd=at)
        return None

    def _unrename(self, source: Path, target: Path) -> Callable[[], None]:
        here, there = self._folder(source.parent), self._folder(target.parent)
        before = target.readlink() if target.is_symlink() else None

        def undo() -> None:
            try:
                os.rename(target.name, source.name, src_dir_fd=there, dst_dir_fd=here)
            except FileNotFoundError:  # the folder that it came from is gone
                _vanish(there, target.name)
            if before is not None:
                os.symlink(before, target.name, dir_fd=there)

        return undo

    def cut(self) -> None:
        self.dead = True
        for _, undo in reversed(self.open):
            if self.random is None or self.random.random() < 0.5:
                with contextlib.suppress(OSError):
                    undo()
        for handle in self.handles:
            os.close(handle)


def _key(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _vanish(folder: int, leaf: str) -> None:
    try:
        os.unlink(leaf, dir_fd=folder)
    except IsADirectoryError:
        os.chmod(leaf, 0o700, dir_fd=folder)
        shutil.rmtree(leaf, dir_fd=folder)

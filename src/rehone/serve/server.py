"""Run the service: one socket, one uvicorn server, a thread that follows the log and one that beats."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import uvicorn

from rehone.config import Deploy, Serve
from rehone.errors import RehoneError
from rehone.records import Replica
from rehone.serve.app import App
from rehone.serve.follower import Follower
from rehone.serve.heartbeat import Heart

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10
KEEP_ALIVE_SECONDS = 75


class ServeError(RehoneError):
    """The service cannot listen where it was told to."""


def run(
    store_root: Path,
    policy: Serve,
    deploy: Deploy,
    *,
    clock: Callable[[], datetime],
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve what the deployment log of `store_root` says, until SIGTERM or SIGINT.

    The store need not exist yet, nor hold a version: the service is live and not ready until
    it does. `on_ready` is called with the URL as soon as requests are accepted. At the end
    requests under way are answered and the heartbeat file is taken away.

    Raises:
        ServeError: the address cannot be listened on.
    """
    stop, changed = threading.Event(), threading.Event()
    with (
        listen(policy.host, policy.port) as listener,
        ThreadPoolExecutor(_cpus(), thread_name_prefix="predict") as workers,
    ):
        url = url_of(listener)
        follower = Follower(store_root, deploy, changed=changed.set)
        heart = Heart(
            identity(listener, clock()),
            store_root,
            lambda: follower.now,
            wake=changed,
            clock=clock,
            seconds=policy.heartbeat_seconds,
        )
        threads = (
            threading.Thread(target=follower.follow, args=(stop, policy.poll_seconds), name="follower", daemon=True),
            threading.Thread(target=heart.beat_until, args=(stop,), name="heartbeat", daemon=True),
        )

        def retire() -> None:
            stop.set()
            changed.set()

        server = _Server(
            _settings(App(lambda: follower.now, policy, workers)),
            started=lambda: on_ready(url) if on_ready else None,
            stopping=retire,
        )
        follower.step()  # what is live is loaded before the first request is taken
        with _running(threads, retire):
            server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; port 0 takes a free one.

    The protocol is named, since asyncio sends small answers without delay only where it is.

    Raises:
        ServeError: somebody listens there already, or the address is not one of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _not_there(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _not_there(host, port, error) from error
    return listener


def _not_there(host: str, port: int, error: OSError) -> ServeError:
    return ServeError(
        f"cannot listen on {host}:{port} ({error.strerror or error}): stop what listens there, "
        "or choose another address with [serve] host and port (port 0 takes a free one)"
    )


def url_of(listener: socket.socket) -> str:
    """Return the URL under which this listener can be asked; a wildcard address becomes a name of this host."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
        host = _own_name()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def identity(listener: socket.socket, at: datetime) -> Replica:
    """Name this server: host, process and port tell replicas apart, in containers too."""
    host, pid, port = socket.gethostname(), os.getpid(), listener.getsockname()[1]
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{host[:150]}-{pid}-{port}").lstrip("-.")
    return Replica(name=name, host=host, pid=pid, url=url_of(listener), at=at)


def _own_name() -> str:
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return "127.0.0.1"
    return name


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _running(threads: Sequence[threading.Thread], end: Callable[[], None]) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end()
        for thread in threads:
            thread.join(timeout=DRAIN_SECONDS)


def _settings(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


class _Server(uvicorn.Server):
    """Uvicorn's server, which says when it accepts requests and returns after a signal.

    The original raises the signal again once it is drained, which would end the process
    before the heartbeat file is taken away.
    """

    def __init__(self, config: uvicorn.Config, *, started: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

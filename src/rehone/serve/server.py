"""Run the service: sockets, one uvicorn server, and the threads that follow, beat and write."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import uvicorn

from rehone.config import Config, Serve
from rehone.errors import RehoneError
from rehone.records import Replica
from rehone.serve.assembly import Clock, Parts, assemble
from rehone.serve.connections import held, sweep

log = logging.getLogger(__name__)

HUNG_SECONDS = 10.0
"""A server whose event loop stands still for longer stops beating, so that it counts as gone."""


class ServeError(RehoneError):
    """The service cannot listen where it was told to."""


def run(
    config: Config,
    *,
    clock: Clock,
    on_ready: Callable[[str], None] | None = None,
    shared: socket.socket | None = None,
) -> None:
    """Serve what the deployment log says, until SIGTERM or SIGINT.

    The store need not exist yet, nor hold a version: the service is live and not ready until
    it does. `on_ready` is called with the URL as soon as requests are accepted. `shared` is a
    socket that other processes listen on too; this one is then also reached at an address of
    its own, which its heartbeat names. At the end requests under way are answered, the
    prediction log is written out and the heartbeat file is taken away.

    Raises:
        ServeError: the address cannot be listened on.
        ConfigError: the operator's token cannot be used.
    """
    policy = config.serve
    with (
        listen(policy.host, 0 if shared else policy.port) as own,
        ThreadPoolExecutor(_cpus(), thread_name_prefix="predict") as workers,
    ):
        parts = assemble(config, identity(own, clock()), workers, clock)
        server = Server(
            _settings(parts, policy),
            policy,
            started=lambda: on_ready(url_of(own)) if on_ready else None,
            stopping=parts.retire,
        )
        parts.heart.alive = server.is_alive
        parts.service.connections = lambda: len(server.server_state.connections)
        parts.follower.step()  # what is live is loaded before the first request is taken
        with running(parts, policy.drain_seconds):
            server.run(sockets=[own, *((shared,) if shared else ())])


def listen(host: str, port: int, section: str = "serve") -> socket.socket:
    """Bind and listen; port 0 takes a free one. `section` of the configuration names the address.

    The protocol is named, since asyncio sends small answers without delay only where it is.
    Clients that vanished without a word are found out by keep-alive probes.

    Raises:
        ServeError: somebody listens there already, or the address is not one of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _not_there(host, port, section, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _not_there(host, port, section, error) from error
    return listener


def _not_there(host: str, port: int, section: str, error: OSError) -> ServeError:
    return ServeError(
        f"cannot listen on {host}:{port} ({error.strerror or error}): stop what listens there, "
        f"or choose another address with [{section}] host and port (port 0 takes a free one)"
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
def running(parts: Parts, seconds: float) -> Iterator[None]:
    """Run the threads of a process; at the end wait `seconds` for each, and say which predictions are lost."""
    for thread in parts.threads:
        thread.start()
    try:
        yield
    finally:
        parts.retire()
        parts.close()
        for thread in parts.threads:
            thread.join(timeout=max(seconds, 1.0))
        written = parts.service.log
        if written is not None and written.waiting:
            log.error("predictions lost", extra={"rows": written.waiting, "because": written.trouble or "no time left"})


def _settings(parts: Parts, policy: Serve) -> uvicorn.Config:
    return uvicorn.Config(
        parts.app,
        interface="asgi3",
        http=held(policy.max_connections, lambda status: parts.service.meters.requested("unread", status, 0.0)),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=policy.idle_seconds,
        timeout_graceful_shutdown=policy.drain_seconds,
    )


class Server(uvicorn.Server):
    """Uvicorn's server, which says when it accepts requests and returns after a signal.

    The original raises the signal again once it is drained, which would end the process
    before the heartbeat file is taken away.
    """

    def __init__(
        self,
        settings: uvicorn.Config,
        policy: Serve,
        *,
        started: Callable[[], None],
        stopping: Callable[[], None],
    ) -> None:
        super().__init__(settings)
        self._policy = policy
        self._started = started
        self._stopping = stopping
        self._ticked = math.inf  # nothing hangs before it has begun

    def is_alive(self) -> bool:
        """Say whether the event loop still turns."""
        return time.monotonic() - self._ticked < HUNG_SECONDS

    async def on_tick(self, counter: int) -> bool:
        self._ticked = time.monotonic()
        if counter % 10 == 0:  # about once a second
            sweep(
                self.server_state.connections,
                header_seconds=self._policy.header_seconds,
                unread_seconds=self._policy.body_seconds,
            )
        return await super().on_tick(counter)

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

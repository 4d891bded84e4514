"""Listen, and serve the dashboard until a signal ends it."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from rehone import report
from rehone.config import Serve
from rehone.dashboard.app import application
from rehone.dashboard.house import House
from rehone.dashboard.sessions import Sessions
from rehone.dashboard.settings import Settings
from rehone.dashboard.shelf import Shelf
from rehone.errors import RehoneError
from rehone.report import Site
from rehone.serve.connections import held
from rehone.serve.server import Server, listen, url_of

_CONNECTIONS = 256
_DRAIN_SECONDS = 5
_WARMED = 5

log = logging.getLogger(__name__)


def run(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Serve the pages until SIGTERM or SIGINT, then wait for the answer that is being carried out, if there is one.

    Raises:
        ServeError: the address cannot be listened on.
    """
    with listen(settings.host, settings.port, "dashboard") as listener:
        house, server = made(settings, listener, say)
        warm_up(house)
        try:
            server.run(sockets=[listener])
        finally:
            if house.answers.under_way:
                say("an answer is being carried out: the dashboard ends with it")
            house.answers.close()


def made(settings: Settings, listener: socket.socket, say: Callable[[str], None]) -> tuple[House, Server]:
    """Return the house, and the server that shows it once it is run with the listener."""
    house = _house(settings, listener.getsockname()[1])
    server = Server(
        _uvicorn(house),
        Serve(),
        started=lambda: say(f"dashboard at {url_of(listener)}; Ctrl-C ends it"),
        stopping=lambda: None,
    )
    return house, server


def warm_up(house: House) -> None:
    """Make a first page of the first projects, so that whoever asks first need not wait for libraries and the index."""
    for shelf in list(house.shelves.values())[:_WARMED]:
        try:
            report.page(shelf.book(), "", Site())
        except (OSError, RehoneError) as error:  # its page will say so
            log.info("project not read", extra={"project": str(shelf.file), "because": str(error)})


def _house(settings: Settings, port: int) -> House:
    return House(
        shelves={prefix: Shelf(file, _now) for prefix, file in prefixes(settings.files).items()},
        clock=_now,
        refresh_seconds=settings.refresh_seconds,
        names=settings.names,
        cookie=f"rehone_{port}",
        sessions=Sessions(settings.token, _now) if settings.token else None,
    )


def prefixes(files: Sequence[Path]) -> dict[str, Path]:
    """Return where each project is served: at the root when there is one, else below the name of its folder."""
    if len(files) == 1:
        return {"": files[0]}
    found: dict[str, Path] = {}
    for file in files:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", file.absolute().parent.name).strip("-.") or "project"
        name, count = plain, 1
        while f"/p/{name}" in found:
            count += 1
            name = f"{plain}-{count}"
        found[f"/p/{name}"] = file
    return found


def _uvicorn(house: House) -> uvicorn.Config:
    return uvicorn.Config(
        application(house),
        interface="asgi3",
        http=held(_CONNECTIONS, lambda _status: None),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _now() -> datetime:
    return datetime.now(UTC)

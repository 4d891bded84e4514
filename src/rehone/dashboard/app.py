"""Lay out the addresses of the dashboard, and say what is said when there is no page or none can be made."""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rehone.dashboard import pages
from rehone.dashboard.answering import answer_page, take
from rehone.dashboard.door import log_in, log_out, show_door
from rehone.dashboard.guard import Guard
from rehone.dashboard.house import Handler, House
from rehone.dashboard.shelf import Shelf
from rehone.report import asset
from rehone.report.outer import notice

log = logging.getLogger(__name__)

_STATIC = {"style.css": "text/css", "page.js": "text/javascript"}
_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}
"""Pages ask for these under the digest of what is in them."""


def application(house: House) -> ASGIApp:
    """Return the dashboard as an ASGI application, guarded."""
    routes = [Route(f"/{name}", _static(name, kind)) for name, kind in _STATIC.items()]
    if house.sessions is not None:
        routes += [
            _route(house, "/login", show_door(house)),
            _route(house, "/login", log_in(house, house.sessions), "POST"),
            _route(house, "/logout", log_out(house, house.sessions), "POST"),
        ]
    if "" not in house.shelves:
        routes += [_route(house, "/", pages.everything(house)), _route(house, "/state", pages.state_of_all(house))]
    for prefix, shelf in house.shelves.items():
        routes += _of_project(house, prefix, shelf)
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_there(house)})
    return Guard(app, house.sessions, house.names, house.cookie)


def _of_project(house: House, prefix: str, shelf: Shelf) -> list[Route]:
    run = f"{prefix}/run/{{run}}"
    return [
        *([_route(house, prefix, pages.slashed(prefix))] if prefix else []),
        _route(house, f"{prefix}/state", pages.state(shelf)),
        _route(house, f"{run}/answer", answer_page(house, prefix, shelf)),
        _route(house, f"{run}/answer/state", answer_page(house, prefix, shelf, only_state=True)),
        *(_route(house, f"{run}/{verb}", take(house, prefix, shelf, verb), "POST") for verb in ("approve", "reject")),
        _route(house, f"{prefix}/{{path:path}}", pages.page(house, prefix, shelf)),
    ]


def _route(house: House, path: str, handler: Handler, method: str = "GET") -> Route:
    return Route(path, calm(house, handler), methods=[method])


def _static(name: str, kind: str) -> Handler:
    async def static(_request: Request) -> Response:
        return Response(asset(name), media_type=kind, headers=_FOR_EVER)

    return static


def _not_there(house: House) -> Callable[[Request, Exception], Response]:
    def not_there(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        said = error.detail if isinstance(error, HTTPException) else ""
        lines = ["there is no such page" if said in ("", "Not Found") else said]
        return HTMLResponse(notice(house.frame("Not done", request), lines=lines, links=(("overview", "/"),)), status)

    return not_there


def calm(house: House, handler: Handler) -> Handler:
    """Say that a page could not be made, where nobody had foreseen why; one page must not take others with it."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except HTTPException:
            raise
        except Exception as error:  # nobody planned it: the log has the traceback, the reader a sentence
            log.exception("a page could not be made", extra={"path": request.scope["path"]})
            said = f"This is a bug in Rehone ({type(error).__name__}): `rehone --debug dashboard` says where it arose."
            return HTMLResponse(notice(house.frame("Not made", request), lines=[said], links=(("overview", "/"),)), 500)

    return answer

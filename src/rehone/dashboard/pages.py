"""Answer for the pages of a project, and for that of all projects: whether they changed, and what they say."""

from __future__ import annotations

import asyncio
import logging
import secrets

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from rehone.dashboard.house import Handler, House
from rehone.dashboard.sessions import Visitor
from rehone.dashboard.shelf import Shelf
from rehone.dashboard.state import digest
from rehone.errors import NotFound, RehoneError
from rehone.report import Site
from rehone.report.outer import Entry, fleet, notice

log = logging.getLogger(__name__)

_VISITORS = f"form-token-{secrets.token_hex(16)}"
"""Stands in pages that are kept for all visitors, until one of them is sent theirs; no record can have it."""


def page(house: House, prefix: str, shelf: Shelf) -> Handler:
    """Answer with a page of a project; with 304 when the browser has it and nothing has changed."""

    async def answer(request: Request) -> Response:
        visitor: Visitor | None = request.state.visitor
        site = Site(
            prefix=prefix,
            projects=await asyncio.to_thread(house.projects),
            answers=visitor is not None,
            refresh_seconds=house.refresh_seconds,
            token=_VISITORS if visitor and visitor.form_token else "",
            state=await asyncio.to_thread(shelf.state),
        )
        path = _asked(request)
        tag = f'"{digest(repr((path, site, visitor)))}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        try:
            text = await asyncio.to_thread(shelf.page, path, site)
        except NotFound as missing:
            raise HTTPException(404, str(missing)) from None
        except (OSError, RehoneError) as trouble:
            return _trouble(house, shelf, site, request, str(trouble))
        return HTMLResponse(text.replace(_VISITORS, visitor.form_token if visitor else ""), headers={"etag": tag})

    return answer


def state(shelf: Shelf) -> Handler:
    """Answer with a text that changes when a page of the project would."""

    async def answer(_request: Request) -> Response:
        return PlainTextResponse(await asyncio.to_thread(shelf.state))

    return answer


def slashed(prefix: str) -> Handler:
    """Lead to the overview of a project."""

    async def answer(_request: Request) -> Response:
        return RedirectResponse(f"{prefix}/", 308)

    return answer


def everything(house: House) -> Handler:
    """Answer with the page of all projects; one that cannot be read has its trouble in its row."""

    async def answer(request: Request) -> Response:
        visitor: Visitor | None = request.state.visitor
        now = await _state_of_all(house)
        tag = f'"{digest(repr((now, visitor)))}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        known = zip(await asyncio.to_thread(house.projects), house.shelves.values(), strict=True)
        entries = await asyncio.gather(*(asyncio.to_thread(_entry, *named, shelf) for named, shelf in known))
        frame = house.frame("All projects", request, state=now, state_at="/state")
        return HTMLResponse(await asyncio.to_thread(fleet, entries, frame), headers={"etag": tag})

    return answer


def state_of_all(house: House) -> Handler:
    """Answer with a text that changes when any project's does."""

    async def answer(_request: Request) -> Response:
        return PlainTextResponse(await _state_of_all(house))

    return answer


def _asked(request: Request) -> str:
    """Return the path of a page as the report knows it; the table of runs has a query."""
    path: str = request.path_params["path"]
    return f"{path}?{request.url.query}" if path == "runs" and request.url.query else path


def _trouble(house: House, shelf: Shelf, site: Site, request: Request, sentence: str) -> Response:
    """Say why a project cannot be shown, on a page that looks again by itself."""
    log.warning("a project cannot be shown", extra={"project": str(shelf.file), "because": sentence})
    frame = house.frame(f"{shelf.name} cannot be shown", request, state=site.state, state_at=site.href("state"))
    links = (("all projects", "/"),) if site.prefix else ()
    return HTMLResponse(notice(frame, lines=sentence.splitlines(), links=links))


async def _state_of_all(house: House) -> str:
    return digest(" ".join(await asyncio.gather(*(asyncio.to_thread(s.state) for s in house.shelves.values()))))


def _entry(name: str, href: str, shelf: Shelf) -> Entry:
    try:
        return Entry(name=name, href=href, book=shelf.book())
    except (OSError, RehoneError) as trouble:
        return Entry(name=name, href=href, trouble=str(trouble))

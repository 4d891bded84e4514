"""Take the token at the door, once, and see visitors out."""

from __future__ import annotations

import asyncio
import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from rehone.dashboard.forms import fields, is_own_form
from rehone.dashboard.house import Handler, House
from rehone.dashboard.sessions import LASTS, Sessions
from rehone.report.outer import door

log = logging.getLogger(__name__)

WRONG_SECONDS = 0.5
"""Time that a wrong token costs whoever sent it."""


def show_door(house: House) -> Handler:
    """Show the form that asks for the token."""

    async def show(request: Request) -> Response:
        return HTMLResponse(door(house.frame("Rehone"), to=_inside(request.query_params.get("to", "/"))))

    return show


def log_in(house: House, sessions: Sessions) -> Handler:
    """Give who knows the token a cookie, and lead on to the page that was asked for."""

    async def enter(request: Request) -> Response:
        given = await fields(request)
        to = _inside(given.get("to", "/"))
        if not sessions.admits(given.get("given", "").strip().encode()):
            log.warning("wrong token", extra={"client": request.client.host if request.client else ""})
            await asyncio.sleep(WRONG_SECONDS)
            wrong = "That is not the token. It stands in the file that the dashboard was started with."
            return HTMLResponse(door(house.frame("Rehone"), to=to, wrong=wrong), 403)
        answer = RedirectResponse(to, 303)
        answer.set_cookie(
            house.cookie,
            sessions.begin(given.get("name", "")),
            max_age=int(LASTS.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.headers.get("x-forwarded-proto", request.url.scheme) == "https",
        )
        return answer

    return enter


def log_out(house: House, sessions: Sessions) -> Handler:
    """Take the cookie back, and end its session for every copy of it."""

    async def leave(request: Request) -> Response:
        if not is_own_form(await fields(request), request.state.visitor):
            raise HTTPException(403, "this form was not made for you: load the page again")
        sessions.end(request.cookies.get(house.cookie, ""))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(house.cookie, httponly=True, samesite="strict")
        return answer

    return leave


def _inside(to: str) -> str:
    """Return where to go on to: a page of this server, whatever was asked."""
    return to if to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() else "/"

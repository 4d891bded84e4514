"""Take answers to challengers that wait, and show how each gets on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from rehone.dashboard.answers import Answer
from rehone.dashboard.forms import fields, is_own_form
from rehone.dashboard.house import Handler, House
from rehone.dashboard.sessions import Visitor, cleaned
from rehone.dashboard.shelf import Shelf
from rehone.dashboard.state import digest
from rehone.report.outer import notice

_AT_ONCE_SECONDS = 2.0
"""An answer that ends sooner, as most refusals do, is shown as it ended."""


def take(house: House, prefix: str, shelf: Shelf, verb: str) -> Handler:
    """Take one kind of answer: "approve" or "reject". Only who knows the token is heard."""

    async def taken(request: Request) -> Response:
        visitor: Visitor | None = request.state.visitor
        if visitor is None:
            raise HTTPException(403, "answers need a token: start the dashboard with --token-file, or use the command")
        given = await fields(request)
        if not is_own_form(given, visitor):
            raise HTTPException(403, "this form was not made for you: load the page again")
        answer = Answer(
            file=shelf.file,
            run_id=request.path_params["run"],
            approves=verb == "approve",
            by=_who(visitor, given.get("by", "")),
            because=given.get("because", "").strip(),
        )
        under_way = house.answers.begin(answer)
        if under_way is not None:
            under_way.add_done_callback(lambda _: shelf.look_again())
            await asyncio.wait([asyncio.wrap_future(under_way)], timeout=_AT_ONCE_SECONDS)
        return RedirectResponse(f"{prefix}/run/{quote(answer.run_id, safe='')}/answer", 303)

    return taken


def _who(visitor: Visitor, by: str) -> str:
    name = visitor.name or cleaned(by)
    return f"{name} (dashboard)" if name else "dashboard"


def answer_page(house: House, prefix: str, shelf: Shelf, *, only_state: bool = False) -> Handler:
    """Show how the last answer to a run gets on; with `only_state`, only a text that changes when it does."""

    async def shown(request: Request) -> Response:
        run = request.path_params["run"]
        answer = house.answers.of(shelf.file, run)
        if answer is None:
            raise HTTPException(404, f"nobody has answered run {run!r} here: its page says how it ended")
        state = digest(repr(answer))
        if only_state:
            return PlainTextResponse(state)
        page, here = f"{prefix}/run/{quote(run, safe='')}", "Approving" if answer.approves else "Rejecting"
        frame = house.frame(f"{here} run {run}", request, state=state, state_at=f"{page}/answer/state")
        if answer.refused:
            frame = replace(frame, title=f"Run {run} was not answered")
        elif answer.ended:
            frame = replace(frame, title=f"Run {run} is answered")
        else:
            frame = replace(frame, without_script=True)
        links = ((f"run {run}", page), ("overview", f"{prefix}/"))
        return HTMLResponse(notice(frame, lines=answer.said, links=links, under_way=not answer.ended))

    return shown

"""Stand before every page: who may ask, under which name of this server, and what a browser may do with the answer."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rehone.dashboard.sessions import Sessions, Visitor

log = logging.getLogger(__name__)

OPEN = ("/login", "/style.css", "/page.js")
"""What is answered to everybody."""

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """An ASGI application around the pages; `visitor` in the state of a request says who knew the token."""

    def __init__(self, app: ASGIApp, sessions: Sessions | None, names: frozenset[str], cookie: str) -> None:
        self._app = app
        self._sessions = sessions
        self._names = names
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it; other kinds of connection are not served."""
        if scope["type"] != "http":
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-cache, private")
            await send(message)

        request = Request(scope)
        visitor = self._visitor(request)
        scope.setdefault("state", {})["visitor"] = visitor
        refused = self._refused(request, visitor)
        await (refused or self._app)(scope, receive, sealed)

    def _visitor(self, request: Request) -> Visitor | None:
        if self._sessions is None:
            return None
        if "authorization" in request.headers:
            return self._sessions.bearer(request.headers["authorization"])
        return self._sessions.visitor(request.cookies.get(self._cookie, ""))

    def _refused(self, request: Request, visitor: Visitor | None) -> Response | None:
        host = request.headers.get("host", "")
        if not is_own(host, self._names):
            log.warning("called by a name that is not its own", extra={"host": host[:100]})
            return PlainTextResponse(_MISDIRECTED.format(host=host[:100]), 421)
        if request.headers.get("sec-fetch-site", "none") == "cross-site" and request.method not in ("GET", "HEAD"):
            return PlainTextResponse("forms of other sites are not taken\n", 403)
        if self._sessions is None or visitor is not None or request.scope["path"] in OPEN:
            return None
        return _to_the_door(request)


_MISDIRECTED = "this dashboard is not called {host!r}: ask for it by its address, or name it in alerts.dashboard_url or with --host\n"


def is_own(host: str, names: frozenset[str]) -> bool:
    """Say whether a Host header names this server: by an address, or by a name that it knows of itself.

    A page of somebody else that had its own name lead to this server would still send that name.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower().rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def _to_the_door(request: Request) -> Response:
    """Send a browser to the login page, and tell a program what to send."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        query = request.scope["query_string"].decode("latin-1")
        asked = request.scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?to={quote(asked, safe='')}", 303)
    return PlainTextResponse(
        "send the token as `Authorization: Bearer TOKEN`\n",
        401,
        headers={"www-authenticate": 'Bearer realm="rehone"'},
    )

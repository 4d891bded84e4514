"""Answer HTTP: one ASGI callable and a table of routes."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from rehone.serve.follower import Serving
from rehone.serve.http import (
    CONNECTION,
    Answer,
    ClientGone,
    Receive,
    Request,
    Route,
    Send,
    error,
    said,
    send_answer,
)
from rehone.serve.meters import Meters
from rehone.serve.predicting import Service, predict

log = logging.getLogger(__name__)

Patterns = Sequence[tuple[re.Pattern[str], str, Route]]
"""Paths with parts that vary: what they match, how they are written for people, what they answer."""


class App:
    """The service as an ASGI callable: `routes` by path, then `patterns` in order."""

    def __init__(self, routes: Mapping[str, Route], patterns: Patterns, meters: Meters) -> None:
        self._routes = routes
        self._patterns = patterns
        self._meters = meters

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other kinds of connection are not served."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        method, path = scope["method"], scope["path"]
        name, route, params = self._found(path)
        query, line = scope.get("query_string", b""), scope.get(CONNECTION)
        request = Request(method, path, receive, scope["headers"], query, params, began, line)
        try:
            answer = _crowded(line) if line is not None and line.is_beyond else await self._answer(route, request)
        except ClientGone:
            return
        except asyncio.CancelledError:  # the time to drain is over: who still waits is told, and the process ends
            answer = error(503, "the service ended before this was answered: ask again")
        except Exception:  # a fault in one request must not end the service; it is logged whole
            given = request.header(b"x-request-id")
            log.exception("request failed", extra={"path": path, "request_id": given and given.decode("latin-1")})
            answer = error(500, "the service failed on this request: its log says why")
        await send_answer(send, answer, head=method == "HEAD")
        self._meters.requested(name, answer.status, time.perf_counter() - began)

    def _found(self, path: str) -> tuple[str, Route | None, Mapping[str, str]]:
        route = self._routes.get(path)
        if route is not None:
            return path, route, {}
        for pattern, name, other in self._patterns:
            if match := pattern.fullmatch(path):
                return name, other, match.groupdict()
        return "unknown", None, {}

    async def _answer(self, route: Route | None, request: Request) -> Answer:
        if route is None:
            return error(404, f"there is no {request.path[:200]}: /docs and /openapi.json say what there is")
        handler = route.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            return _not_allowed(route, request)
        return await handler(request)


def routes(service: Service) -> dict[str, Route]:
    """Return what the service answers besides the protocols that have modules of their own."""

    async def show_health(_request: Request) -> Answer:
        serving = service.serving()
        return said(health(serving) | _log_of(service), 200 if serving.loaded else 503)

    return {"/predict": {"POST": predict(service)}, "/health": {"GET": show_health}}


def health(serving: Serving) -> dict[str, Any]:
    """Say what is served, by which record of the log, and what was refused."""
    loaded, refused = serving.loaded, serving.refused
    version = loaded.version if loaded else None
    return {
        "status": "ready" if loaded else "no model",
        "model_loaded": loaded is not None,
        "version": version,
        "generation": serving.generation,
        "manifest_sha256": version,
        "refused": refused and {f: getattr(refused, f) for f in ("generation", "version", "because")},
        "trouble": serving.trouble,
        "pinned": serving.pinned,
        "pid": os.getpid(),
    }


def _log_of(service: Service) -> dict[str, Any]:
    """Say how the prediction log is doing; a service without one says so."""
    log_ = service.log
    if log_ is None:
        return {"prediction_log": None}
    fields = ("written", "dropped", "waiting", "trouble")
    return {"prediction_log": {field: getattr(log_, field) for field in fields}}


def _crowded(line: Any) -> Answer:
    refused = error(503, f"more than {line.most:,} connections are open: close some, or start more workers")
    return replace(refused, last=True)


def _not_allowed(route: Route, request: Request) -> Answer:
    allowed = [m for method in route for m in ((method, "HEAD") if method == "GET" else (method,))]
    refused = error(405, f"{request.path} does not answer {request.method}: use {' or '.join(route)}")
    return Answer(405, refused.body, (*refused.headers, (b"allow", ", ".join(allowed).encode())))

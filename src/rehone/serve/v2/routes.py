"""Answer the routes of the Open Inference Protocol, for one model: the project's."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from rehone.records import short_id
from rehone.serve.follower import Loaded, Serving
from rehone.serve.http import Answer, Handler, Request, Route, read, refused, said
from rehone.serve.predicting import LARGE_BODY, REQUEST_ID, Service, no_model
from rehone.serve.problems import Refusal
from rehone.serve.rows import Asked
from rehone.serve.v2.answers import HEADER_LENGTH, Reply, encode_infer, model_metadata, server_metadata
from rehone.serve.v2.request import Infer, Limits, listed, parse_infer

Patterns = list[tuple[re.Pattern[str], str, Route]]

_MODEL: Final = "/v2/models/{model}"
_VERSION: Final = f"{_MODEL}/versions/{{version}}"
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


def routes(service: Service) -> dict[str, Route]:
    """Return what is answered whatever the model is called."""

    async def server(_request: Request) -> Answer:
        return said(server_metadata())

    async def live(_request: Request) -> Answer:
        return said({"live": True})

    async def ready(_request: Request) -> Answer:
        is_ready = service.serving().loaded is not None
        return said({"ready": is_ready}, 200 if is_ready else 503)

    return {"/v2": {"GET": server}, "/v2/health/live": {"GET": live}, "/v2/health/ready": {"GET": ready}}


def patterns(service: Service) -> Patterns:
    """Return what is answered of the model, with and without its version in the path."""
    door = _Door(service)
    found: Patterns = []
    for prefix in (_MODEL, _VERSION):
        found += [
            _pattern(prefix, {"GET": door.metadata}),
            _pattern(f"{prefix}/ready", {"GET": door.ready}),
            _pattern(f"{prefix}/infer", {"POST": door.infer}),
        ]
    return found


def _pattern(path: str, route: dict[str, Handler]) -> tuple[re.Pattern[str], str, Route]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), path, route


@dataclass(frozen=True, slots=True)
class _Door:
    service: Service

    async def metadata(self, request: Request) -> Answer:
        found = self._asked_for(request, self.service.serving())
        if isinstance(found, Refusal):
            return refused(found)
        return said(model_metadata(self.service.project, [found.version], found.predictor.contract))

    async def ready(self, request: Request) -> Answer:
        found = self._asked_for(request, self.service.serving())
        if isinstance(found, Refusal) and found.status != 503:
            return refused(found)
        is_ready = not isinstance(found, Refusal)
        return said({"name": self.service.project, "ready": is_ready}, 200 if is_ready else 503)

    async def infer(self, request: Request) -> Answer:
        body = await read(request, self.service.policy.max_body_bytes, self.service.policy.body_seconds)
        if isinstance(body, Refusal):
            return replace(refused(body), last=True)
        length = _json_length(request)
        if isinstance(length, Refusal):
            return refused(length)
        serving = self.service.serving()
        loaded = self._asked_for(request, serving)
        if isinstance(loaded, Refusal):
            return refused(loaded)
        read_ = await self._read(body, length, serving, loaded)
        if isinstance(read_, Refusal):
            return refused(listed(read_))
        infer, asked = read_
        request_id = self.service.request_id(infer.id if infer.id is not None else request.header(REQUEST_ID))
        if isinstance(request_id, Refusal):
            return refused(request_id)
        scored = await self.service.score(asked, serving, loaded, request_id, request=request)
        if isinstance(scored, Refusal):
            return refused(scored)
        reply = Reply(
            model=self.service.project,
            version=loaded.version,
            generation=serving.generation,
            threshold=loaded.predictor.threshold,
            request_id=request_id,
            scores=np.array(scored.scores, dtype=np.float64),
        )
        answer, headers = encode_infer(reply, infer.outputs)
        return Answer(200, answer, (*headers, (REQUEST_ID, request_id.encode())))

    def _asked_for(self, request: Request, serving: Serving) -> Loaded | Refusal:
        """Return the version in memory that the path names, if it is this one."""
        model, version = request.params["model"], request.params.get("version")
        if model != self.service.project:
            text = f"there is no model {model[:100]!r} here: ask for {self.service.project!r}"
            return Refusal(status=404, error=text)
        loaded = serving.loaded
        if loaded is None:
            return no_model(serving)
        if version in (None, loaded.version, short_id(loaded.version)):
            return loaded
        text = f"version {version[:100]!r} is not in memory: ask for {loaded.version}, or for none and get the live one"
        return Refusal(status=404, error=text)

    async def _read(
        self, body: bytes, length: int | None, serving: Serving, loaded: Loaded
    ) -> tuple[Infer, Asked] | Refusal:
        reader, policy = self.service.reader(serving, loaded), self.service.policy
        kept = frozenset(reader.names) | ({self.service.id_column} if self.service.id_column else set())
        limits = Limits(policy.max_rows, kept, policy.extra_columns == "refuse")

        def parsed() -> tuple[Infer, Asked] | Refusal:
            infer = parse_infer(body, length, loaded.predictor.contract, limits)
            if isinstance(infer, Refusal):
                return infer
            asked = reader.of_columns(infer.columns, policy.max_rows)
            return asked if isinstance(asked, Refusal) else (infer, replace(asked, size=len(body)))

        if len(body) <= LARGE_BODY:
            return parsed()
        return await asyncio.get_running_loop().run_in_executor(self.service.workers, parsed)


def _json_length(request: Request) -> int | Refusal | None:
    given = request.header(HEADER_LENGTH)
    if given is None:
        return None
    if _LENGTH.fullmatch(given):
        return int(given)
    text: Any = given[:60].decode("latin-1")
    return Refusal(status=400, error=f"{HEADER_LENGTH.decode()} is {text!r}: send the length of the JSON in bytes")

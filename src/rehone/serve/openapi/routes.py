"""Answer what this service is, to machines and to people."""

from __future__ import annotations

from typing import Final

from rehone.serve.http import Answer, Headers, Request, Route, said
from rehone.serve.openapi.document import document
from rehone.serve.openapi.page import SECURITY, page
from rehone.serve.openapi.schemas import Served
from rehone.serve.predicting import Service

_HTML: Final[Headers] = ((b"content-type", b"text/html; charset=utf-8"), SECURITY)


def routes(service: Service) -> dict[str, Route]:
    """Return `/openapi.json` and `/docs`, written for what is live when they are asked for."""

    async def description(_request: Request) -> Answer:
        return said(document(_served(service)))

    async def docs(_request: Request) -> Answer:
        return Answer(200, page(document(_served(service))), _HTML)

    return {"/openapi.json": {"GET": description}, "/docs": {"GET": docs}}


def _served(service: Service) -> Served:
    loaded, policy = service.serving().loaded, service.policy
    return Served(
        project=service.project,
        contract=loaded.predictor.contract if loaded else None,
        version=loaded.version if loaded else None,
        max_rows=policy.max_rows,
        max_body_bytes=policy.max_body_bytes,
        id_column=service.id_column,
        refuse_unknown=policy.extra_columns == "refuse",
        operators=policy.token_file is not None,
    )

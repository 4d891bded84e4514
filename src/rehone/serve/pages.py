"""Answer what people and monitors look at: the metrics and the description of the service."""

from __future__ import annotations

from collections.abc import Callable

from rehone.records import ShadowReport
from rehone.serve import meters, openapi
from rehone.serve.http import Answer, Request, Route, said
from rehone.serve.meters import MeterState
from rehone.serve.predicting import Service

HTML = ((b"content-type", b"text/html; charset=utf-8"), openapi.SECURITY)


def routes(
    service: Service,
    *,
    shadow: Callable[[], ShadowReport | None] = lambda: None,
    connections: Callable[[], int] | None = None,
    replica: str | None = None,
) -> dict[str, Route]:
    """Return `/metrics`, `/openapi.json` and `/docs`.

    `replica` names this process in its metrics, where several share a port.
    """

    async def metrics(_request: Request) -> Answer:
        count = connections() if connections else None
        state = meter_state(service, shadow=shadow(), connections=count, replica=replica)
        return Answer(200, service.meters.render(state), ((b"content-type", meters.CONTENT_TYPE),))

    async def description(_request: Request) -> Answer:
        return said(openapi.document(described(service)))

    async def docs(_request: Request) -> Answer:
        return Answer(200, openapi.page(openapi.document(described(service))), HTML)

    return {"/metrics": {"GET": metrics}, "/openapi.json": {"GET": description}, "/docs": {"GET": docs}}


def meter_state(
    service: Service, *, shadow: ShadowReport | None, connections: int | None, replica: str | None
) -> MeterState:
    """Return what the service is now, for its metrics."""
    serving, log = service.serving(), service.log
    return MeterState(
        version=serving.loaded.version if serving.loaded else None,
        generation=serving.generation,
        refused_generation=serving.refused.generation if serving.refused else None,
        followed=serving.trouble is None,
        pinned=serving.pinned is not None,
        waiting_rows=service.batcher.waiting_rows,
        connections=connections,
        log_written=log.written if log else None,
        log_dropped=log.dropped if log else None,
        log_waiting=log.waiting if log else None,
        shadow=shadow,
        replica=replica,
    )


def described(service: Service) -> openapi.Served:
    """Return what the description of the service depends on now."""
    loaded, policy = service.serving().loaded, service.policy
    return openapi.Served(
        project=service.project,
        contract=loaded.predictor.contract if loaded else None,
        version=loaded.version if loaded else None,
        max_rows=policy.max_rows,
        max_body_bytes=policy.max_body_bytes,
        id_column=service.id_column,
        refuse_unknown=policy.extra_columns == "refuse",
        operators=policy.token_file is not None,
    )

"""Describe every route of the service as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rehone import __version__
from rehone.records import short_id
from rehone.serve.openapi.schemas import REQUEST_ID_PATTERN, Schema, Served, example_infer, example_row, schemas

REASONS: Final[Mapping[int, str]] = {
    400: "The body is not JSON, or a header cannot be read.",
    401: "The operator's token was not sent.",
    404: "There is no such model or version here.",
    408: "The body did not arrive in time.",
    409: "The version or the store cannot be told apart or opened.",
    413: "The body or the number of rows is larger than allowed.",
    415: "The body is compressed or otherwise encoded.",
    422: "The rows do not fit the model: every problem is listed.",
    500: "The model failed on these rows; the log of the service says why.",
    503: "No model is loaded, or too many rows are waiting.",
}
_TOKEN: Final = {"operator": {"type": "http", "scheme": "bearer", "description": "the text of serve.token_file"}}
_BODY: Final = (400, 408, 413, 415, 422, 500, 503)


def document(served: Served) -> dict[str, Any]:
    """Return the description of a service: its routes, with the columns of the model that is live."""
    operators: dict[str, Any] = {"securitySchemes": _TOKEN} if served.operators else {}
    live = f"Version {served.version} is live." if served.version else "No model is loaded."
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{served.project}: predictions",
            "version": __version__,
            "description": f"Probabilities and decisions of the model that is deployed. {live}",
        },
        "servers": [{"url": "/"}],
        "paths": {
            **_own(served),
            **_pages(),
            **_protocol(served),
            **(_operator() if served.operators else {}),
        },
        "components": {"schemas": schemas(served), **operators},
    }


def _own(served: Served) -> dict[str, Any]:
    predict = _operation(
        "predict",
        "Predict rows",
        f"At most {served.max_rows:,} rows and {served.max_body_bytes:,} bytes. Each answer is of one version.",
        {200: _json("The predictions, in the order of the rows.", "Predictions"), **_refusals(*_BODY)},
    )
    example = {"example": example_row(served.contract)} if served.contract else {}
    predict |= {"parameters": [_request_id()], "requestBody": _body("Rows", example)}
    _name_request(predict)
    health = _operation(
        "health",
        "Say what is served",
        "Also what was refused and why, and how the prediction log is doing.",
        {200: _json("A model is loaded.", "Health"), 503: _json("No model is loaded.", "Health")},
    )
    return {"/predict": {"post": predict}, "/health": {"get": health}}


def _pages() -> dict[str, Any]:
    pages = {
        "/metrics": ("metrics", "Show counters for Prometheus", "text/plain", {"type": "string"}),
        "/openapi.json": ("openapi", "Describe this service", "application/json", {"type": "object"}),
        "/docs": ("docs", "Describe this service to people", "text/html", {"type": "string"}),
    }
    return {
        path: {
            "get": _operation(
                name, summary, "", {200: {"description": "The page.", "content": {media: {"schema": schema}}}}
            )
        }
        for path, (name, summary, media, schema) in pages.items()
    }


def _protocol(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = {
        "/v2": _get("server", "Name the server and its extensions", {200: _json("The server.", "Server")}),
        "/v2/health/live": _get("live", "Say that the process answers", {200: _json("It does.", "Live")}),
        "/v2/health/ready": _get(
            "ready",
            "Say whether a model is loaded",
            {200: _json("One is.", "Ready"), 503: _json("None is.", "Ready")},
        ),
    }
    model, version = _of_path("model", [served.project]), _of_path("version", _versions(served))
    for prefix, name, parameters in (
        ("/v2/models/{model}", "model", [model]),
        ("/v2/models/{model}/versions/{version}", "version", [model, version]),
    ):
        found |= _model_paths(served, prefix, name, parameters)
    return found


def _model_paths(served: Served, prefix: str, name: str, parameters: list[Schema]) -> dict[str, Any]:
    ready = {
        200: _json("It is loaded.", "ModelReady"),
        **_refusals(404),
        503: _json("No model is loaded.", "ModelReady"),
    }
    metadata = {200: _json("Its tensors.", "Model"), **_refusals(404, 503)}
    paths: dict[str, Any] = {
        prefix: _get(f"{name}_metadata", "Name the tensors of the model", metadata),
        f"{prefix}/ready": _get(f"{name}_ready", "Say whether the model is loaded", ready),
        f"{prefix}/infer": {"post": _infer(served, f"{name}_infer")},
    }
    for path in paths.values():
        path["parameters"] = parameters
    return paths


def _infer(served: Served, name: str) -> Schema:
    answered = _json("The outputs that were asked for.", "InferAnswer")
    answered["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    infer = _operation(
        name,
        "Predict tensors",
        "One input tensor for each column, of shape [n] or [n, 1]. Binary tensor data may follow the JSON; "
        "inference-header-content-length then says where the JSON ends.",
        {200: answered, **_refusals(404, *_BODY)},
    )
    example = {"example": example_infer(served.contract)} if served.contract else {}
    length = {
        "name": "inference-header-content-length",
        "in": "header",
        "description": "Bytes of JSON before binary tensor data.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    }
    body = _body("InferRequest", example)
    body["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    infer |= {"parameters": [_request_id(), length], "requestBody": body}
    _name_request(infer)
    return infer


def _operator() -> dict[str, Any]:
    held = {200: _json("What the server is held at, and what answers.", "Held")}
    pin = _guarded(
        "pin",
        "Hold this server at a version",
        {**held, **_refusals(400, 404, 408, 409, 413, 415, 422, 503)},
    )
    pin["requestBody"] = _body("Pin", {})
    looking = {202: _json("It looks at the deployment log now.", "Held")}
    return {
        "/operator/pin": {
            "get": _guarded("pinned", "Say what this server is held at", held),
            "post": pin,
            "delete": _guarded("unpin", "Follow the deployment log again", held),
        },
        "/operator/reload": {"post": _guarded("reload", "Look at the deployment log now", looking)},
    }


def _guarded(name: str, summary: str, responses: Mapping[int, Schema]) -> Schema:
    operation = _operation(name, summary, "", {**responses, **_refusals(401)})
    return operation | {"security": [{"operator": []}]}


def _versions(served: Served) -> list[str]:
    return [served.version, short_id(served.version)] if served.version else []


def _of_path(name: str, known: list[str]) -> Schema:
    schema: Schema = {"type": "string", "enum": known} if known else {"type": "string", "pattern": "^[0-9a-f]{12}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _get(name: str, summary: str, responses: Mapping[int, Schema]) -> Schema:
    return {"get": _operation(name, summary, "", responses)}


def _operation(name: str, summary: str, description: str, responses: Mapping[int, Schema]) -> Schema:
    operation: Schema = {"operationId": name, "summary": summary}
    if description:
        operation["description"] = description
    return operation | {"responses": {str(status): said for status, said in sorted(responses.items())}}


def _json(description: str, schema: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": _reference(schema)}}}


def _refusals(*statuses: int) -> dict[int, Schema]:
    return {status: _json(REASONS[status], "Refusal") for status in statuses}


def _body(schema: str, example: Schema) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": _reference(schema), **example}}}


def _reference(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}


def _request_id() -> Schema:
    return {
        "name": "x-request-id",
        "in": "header",
        "description": "The id of this request; left out, one is made.",
        "schema": {"type": "string", "pattern": REQUEST_ID_PATTERN},
    }


def _name_request(operation: Schema) -> None:
    header = {"description": "The id of this request.", "schema": {"type": "string"}, "required": True}
    operation["responses"]["200"]["headers"] = {"x-request-id": header}

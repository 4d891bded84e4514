"""Describe what the service reads and says as JSON Schema, from the contract of the model that is live."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rehone.records import Contract, Feature, FeatureKind
from rehone.serve.v2 import OUTPUTS
from rehone.serve.v2.tensors import DATATYPE_OF, DTYPES

Schema = dict[str, Any]

REQUEST_ID_PATTERN: Final = "^[!-~]{1,200}$"
_LARGEST: Final = sys.float_info.max
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the description of a service depends on; without a contract rows are objects of any columns."""

    project: str
    contract: Contract | None = None
    version: str | None = None
    max_rows: int
    max_body_bytes: int
    id_column: str | None = None
    refuse_unknown: bool = False
    operators: bool = False


def schemas(served: Served) -> dict[str, Schema]:
    """Return every schema that the paths refer to, by name."""
    rows = {"type": "array", "items": _ref("Row"), "maxItems": served.max_rows}
    return {
        "Row": row_schema(served),
        "Rows": {
            "description": "One row, a list of rows, or a list of rows under the name `rows`.",
            "anyOf": [_ref("Row"), rows, {"type": "object", "required": ["rows"], "properties": {"rows": rows}}],
        },
        **_ANSWERS,
        **_tensor_schemas(),
    }


def row_schema(served: Served) -> Schema:
    """Describe one row: the columns that the model reads, and whether others may be sent."""
    contract = served.contract
    if contract is None:
        return {"type": "object", "description": "No model is loaded: what its rows are made of is not known yet."}
    properties = {feature.name: _cell(feature) for feature in contract.features}
    if served.id_column is not None and served.id_column not in properties:
        properties[served.id_column] = {"type": ["string", "integer", "null"], "description": "The row's own id."}
    return {
        "type": "object",
        "description": "One value for each column that the model reads; null where it is not known.",
        "required": list(contract.names),
        "properties": properties,
        "additionalProperties": not served.refuse_unknown,
        "examples": [example_row(contract)],
    }


def example_row(contract: Contract) -> dict[str, Any]:
    """Return a row that the model reads."""
    return {feature.name: _example(feature) for feature in contract.features}


def example_infer(contract: Contract) -> dict[str, Any]:
    """Return an inference request that the model answers."""
    return {
        "inputs": [
            {
                "name": feature.name,
                "shape": [1],
                "datatype": DATATYPE_OF[feature.kind],
                "data": [_example(feature)],
            }
            for feature in contract.features
        ]
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _cell(feature: Feature) -> Schema:
    if feature.kind is FeatureKind.NUMERIC:
        return {
            "type": ["number", "boolean", "null"],
            "minimum": -_LARGEST,
            "maximum": _LARGEST,
            "description": "A number; true and false count as 1 and 0.",
        }
    if feature.kind is FeatureKind.BOOLEAN:
        return {"enum": [True, False, 1, 0, None]}
    known = len(feature.categories)
    return {
        "type": ["string", "number", "boolean", "null"],
        "description": f"A category, {known:,} were seen in training; others are read as unseen.",
        "examples": list(feature.categories[:5]),
        "x-seen": known,
    }


def _example(feature: Feature) -> Any:
    if feature.kind is FeatureKind.NUMERIC:
        return 1.5
    if feature.kind is FeatureKind.BOOLEAN:
        return True
    return feature.categories[0] if feature.categories else "text"


def _object(properties: Mapping[str, Schema], *, optional: Sequence[str] = ()) -> Schema:
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": dict(properties),
    }


_PROBLEM: Final = _object(
    {
        "row": {"type": ["integer", "null"], "minimum": 0, "description": "counted from 0; null: of all rows"},
        "column": _TEXT_OR_NULL,
        "problem": {"type": "string"},
    }
)
_ANSWERS: Final[dict[str, Schema]] = {
    "Predictions": _object(
        {
            "version": {"type": "string", "description": "the version that answered"},
            "generation": {
                "type": ["integer", "null"],
                "description": "the deployment that made it live; null while an operator holds the server at it",
            },
            "threshold": {"type": "number"},
            "predictions": {
                "type": "array",
                "description": "in the order of the rows",
                "items": _object(
                    {
                        "probability": {"type": "number", "minimum": 0, "maximum": 1},
                        "decision": {"type": "boolean", "description": "whether it reaches the threshold"},
                    }
                ),
            },
            "request_id": {"type": "string"},
        }
    ),
    "Problem": _PROBLEM,
    "Refusal": _object(
        {
            "error": {"type": "string", "description": "what is wrong, and what to do"},
            "problems": {"type": "array", "items": _ref("Problem"), "description": "each problem that was found"},
            "more": {**_COUNT, "description": "problems beyond those listed"},
        },
        optional=("problems", "more"),
    ),
    "Health": _object(
        {
            "status": {"enum": ["ready", "no model"]},
            "model_loaded": {"type": "boolean"},
            "version": _TEXT_OR_NULL,
            "generation": {"type": ["integer", "null"], "description": "null while it is held at a version"},
            "manifest_sha256": {**_TEXT_OR_NULL, "description": "the version once more, as other tools look for it"},
            "refused": {"type": ["object", "null"], "description": "a deployment that was not taken over, and why"},
            "trouble": {"type": ["string", "null"], "description": "why the deployment log cannot be followed"},
            "pinned": {"type": ["string", "null"], "description": "the version that an operator holds it at"},
            "pid": {"type": "integer"},
            "prediction_log": {
                "type": ["object", "null"],
                "description": "rows written, dropped and waiting, and why it cannot write; null without a log",
            },
        }
    ),
    "Held": _object(
        {
            "pinned": {"type": ["string", "null"], "description": "the version that the server is held at"},
            "version": {"type": ["string", "null"], "description": "the version that answers"},
            "generation": {"type": ["integer", "null"], "description": "null while it is held at a version"},
            "trouble": _TEXT_OR_NULL,
            "pid": {"type": "integer"},
            "looking": {"type": "boolean"},
        },
        optional=("looking",),
    ),
    "Pin": {
        **_object({"version": {"type": "string", "pattern": "^[0-9a-f]{1,64}$"}}),
        "additionalProperties": False,
    },
}


def _tensor_schemas() -> dict[str, Schema]:
    named: dict[str, Schema] = {"name": {"type": "string"}, "datatype": {"enum": list(DTYPES)}}
    shape: Schema = {"type": "array", "items": _COUNT, "minItems": 1, "maxItems": 2}
    metadata = {"type": "array", "items": _object({**named, "shape": {"type": "array", "items": {"type": "integer"}}})}
    return {
        "Server": _object(
            {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "extensions": {"type": "array", "items": {"type": "string"}},
            }
        ),
        "Model": _object(
            {
                "name": {"type": "string"},
                "versions": {"type": "array", "items": {"type": "string"}},
                "platform": {"type": "string"},
                "inputs": metadata,
                "outputs": metadata,
            }
        ),
        "Live": _object({"live": {"const": True}}),
        "Ready": _object({"ready": {"type": "boolean"}}),
        "ModelReady": _object({"name": {"type": "string"}, "ready": {"type": "boolean"}}),
        "InferInput": _object(
            {
                **named,
                "shape": {**shape, "description": "[n] or [n, 1]"},
                "data": {"type": "array"},
                "parameters": {"type": "object", "properties": {"binary_data_size": _COUNT}},
            },
            optional=("data", "parameters"),
        ),
        "InferRequest": _object(
            {
                "id": _TEXT_OR_NULL,
                "inputs": {"type": "array", "items": _ref("InferInput")},
                "outputs": {"type": ["array", "null"], "items": _requested_output()},
                "parameters": {
                    "type": ["object", "null"],
                    "properties": {"binary_data_output": {"type": "boolean"}},
                },
            },
            optional=("id", "outputs", "parameters"),
        ),
        "InferAnswer": _object(
            {
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "id": {"type": "string"},
                "parameters": {"type": "object"},
                "outputs": {"type": "array", "items": _object({**named, "shape": shape})},
            }
        ),
    }


def _requested_output() -> Schema:
    parameters = {"type": ["object", "null"], "properties": {"binary_data": {"type": "boolean"}}}
    return _object({"name": {"enum": list(OUTPUTS)}, "parameters": parameters}, optional=("parameters",))

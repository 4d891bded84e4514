"""Write the answers of the Open Inference Protocol: what there is, what a model reads, what it says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rehone import __version__
from rehone.records import Contract
from rehone.serve.http import JSON, Headers, encode
from rehone.serve.v2.request import OUTPUTS, Output
from rehone.serve.v2.tensors import DATATYPE_OF

HEADER_LENGTH: Final = b"inference-header-content-length"
BINARY: Final[Headers] = ((b"content-type", b"application/octet-stream"),)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reply:
    """What one version said of the rows of one request."""

    model: str
    version: str
    generation: int | None
    threshold: float
    request_id: str
    scores: NDArray[np.float64]


def server_metadata() -> dict[str, Any]:
    """Name the server and the extensions of the protocol that it speaks."""
    return {"name": "rehone", "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(model: str, versions: Iterable[str], contract: Contract) -> dict[str, Any]:
    """Name the tensors of a model; -1 is the number of rows."""
    return {
        "name": model,
        "versions": list(versions),
        "platform": "rehone",
        "inputs": [
            {"name": feature.name, "datatype": DATATYPE_OF[feature.kind], "shape": [-1]}
            for feature in contract.features
        ],
        "outputs": [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in OUTPUTS.items()],
    }


def encode_infer(reply: Reply, outputs: Sequence[Output]) -> tuple[bytes, Headers]:
    """Write the outputs that were asked for, in the order asked; binary data follows the JSON."""
    binary: list[bytes] = []
    tensors: list[dict[str, Any]] = []
    for output in outputs:
        values = reply.scores if output.name == "probability" else reply.scores >= reply.threshold
        tensor: dict[str, Any] = {"name": output.name, "datatype": OUTPUTS[output.name], "shape": [len(values)]}
        if output.binary:
            data = values.astype("<f8" if output.name == "probability" else "?").tobytes()
            binary.append(data)
            tensor["parameters"] = {"binary_data_size": len(data)}
        else:
            tensor["data"] = values.tolist()
        tensors.append(tensor)
    said = encode(
        {
            "model_name": reply.model,
            "model_version": reply.version,
            "id": reply.request_id,
            "parameters": _parameters(reply),
            "outputs": tensors,
        }
    )
    if not binary:
        return said, JSON
    return b"".join((said, *binary)), (*BINARY, (HEADER_LENGTH, b"%d" % len(said)))


def _parameters(reply: Reply) -> dict[str, Any]:
    known: dict[str, Any] = {"threshold": reply.threshold}
    return known if reply.generation is None else {"generation": reply.generation, **known}

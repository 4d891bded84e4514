"""Serve the model with as little as possible and no batching: bare ASGI, msgspec, the pipeline once per request.

Needs MODEL, the path of the pipeline fitted on a matrix, and FEATURES, the path of its column names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np

MODEL = joblib.load(os.environ["MODEL"])
NAMES = json.loads(Path(os.environ["FEATURES"]).read_text())
Payment = msgspec.defstruct("Payment", [(name, float | None) for name in NAMES], array_like=False)
Payments = msgspec.defstruct("Payments", [("rows", list[Payment])])  # type: ignore[valid-type]  # made at run time
DECODE = msgspec.json.Decoder(Payments).decode
ENCODE = msgspec.json.Encoder().encode
HEADERS = [(b"content-type", b"application/json")]


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answer every request as a request to predict; a body that cannot be read gets status 400."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    status, said = 200, b""
    try:
        rows: Any = DECODE(body)
        said = answer(rows.rows)
    except msgspec.MsgspecError as error:
        status, said = 400, ENCODE({"error": str(error)})
    length = (b"content-length", str(len(said)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": said})


def answer(rows: list[Any]) -> bytes:
    """Return probability and decision of each row."""
    matrix = np.array([msgspec.structs.astuple(row) for row in rows], dtype=np.float64)
    probabilities = MODEL.predict_proba(matrix)[:, 1].tolist()
    return ENCODE({"predictions": [{"probability": p, "decision": p >= 0.35} for p in probabilities]})

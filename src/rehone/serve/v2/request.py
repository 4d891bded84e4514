"""Read an inference request of the Open Inference Protocol, or say everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from rehone.records import Contract
from rehone.serve.problems import Problems, Refusal
from rehone.serve.v2.tensors import DATATYPE_OF, DTYPES, Wrong, for_kind, from_bytes, from_json, shown

OUTPUTS: Final = {"probability": "FP64", "decision": "BOOL"}
"""What can be asked for, with its datatype; each has one element for each row."""

SENTENCES: Final = 20

_JSON: Final = msgspec.json.Decoder()
_SHAPES: Final = "[n] or [n, 1]"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold: at most `max_rows`, the columns `kept` beside the model's, others only if ignored."""

    max_rows: int
    kept: frozenset[str] = frozenset()
    refuse_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor that is asked for, as binary data or as JSON."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class Infer:
    """A request that can be answered: columns of equal length by name, None where a value is missing."""

    id: str | None
    rows: int
    columns: dict[str, list[Any]]
    outputs: tuple[Output, ...]


def parse_infer(body: bytes, json_length: int | None, contract: Contract, limits: Limits) -> Infer | Refusal:
    """Read a body whose first `json_length` bytes are JSON and whose rest is binary tensor data; None: all is JSON.

    Each feature of the contract is one input tensor of its name, of shape [n] or [n, 1].
    """
    if json_length is not None and json_length > len(body):
        said = f"inference-header-content-length is {json_length:,}, the body has {len(body):,} bytes: let them agree"
        return Refusal(status=400, error=said)
    try:
        asked = _JSON.decode(body[:json_length])
    except RecursionError:
        return Refusal(status=400, error="the body nests too deeply to be an inference request")
    except ValueError as error:
        return Refusal(status=400, error=_not_json(error, json_length))
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list):
        return Refusal(status=422, error='the body is not an inference request: send an object with a list of "inputs"')
    return _Reading(contract, limits, b"" if json_length is None else body[json_length:]).infer(asked)


def listed(refusal: Refusal) -> Refusal:
    """Say each problem in the one sentence that clients of this protocol show."""
    if not refusal.problems:
        return refusal
    count = len(refusal.problems) + refusal.more
    said = "; ".join(problem.sentence.strip() for problem in refusal.problems[:SENTENCES])
    rest = f"; and {count - SENTENCES:,} more" if count > SENTENCES else ""
    total = "1 problem" if count == 1 else f"{count:,} problems"
    return replace(refusal, error=f"the inputs cannot be read, {total}: {said}{rest}")


def _not_json(error: ValueError, json_length: int | None) -> str:
    said = f"the body is not JSON ({error}): NaN and infinity are not JSON, send null or binary data"
    if json_length is None:
        said += "; binary data needs the header inference-header-content-length"
    return said


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    datatype: str
    rows: int
    data: Any
    raw: bytes | None


class _Reading:
    """One request on its way to become columns; `wrong` collects what is wrong with it."""

    def __init__(self, contract: Contract, limits: Limits, binary: bytes) -> None:
        self._kinds = {feature.name: feature.kind for feature in contract.features}
        self._limits = limits
        self._binary = binary
        self._at = 0
        self._lost = False
        self._wrong = Problems()

    def infer(self, asked: Mapping[str, Any]) -> Infer | Refusal:
        inputs = self._inputs(asked["inputs"])
        rows = self._rows(inputs)
        if rows > self._limits.max_rows:
            most = self._limits.max_rows
            said = f"{rows:,} rows in one request, at most {most:,}: send them in several requests"
            return Refusal(status=413, error=said)
        columns = {name: self._column(found, rows) for name, found in inputs.items()}
        outputs = self._outputs(asked)
        request_id = self._id(asked.get("id"))
        if self._wrong.count:
            return listed(self._wrong.refusal())
        return Infer(request_id, rows, columns, outputs)

    # inputs

    def _inputs(self, asked: list[Any]) -> dict[str, _Input]:
        found: dict[str, _Input] = {}
        seen: set[str] = set()
        for number, tensor in enumerate(asked):
            if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
                self._wrong.add(
                    None, None, f"input {number} has no name: send an object with name, shape, datatype, data"
                )
                continue
            name = tensor["name"]
            if name in seen:
                self._wrong.add(None, name, "is there more than once: send it once")
            seen.add(name)
            raw = self._slice(name, tensor)
            if name in self._kinds or name in self._limits.kept:
                read = self._input(name, tensor, raw)
                found |= {name: read} if read else {}
            elif self._limits.refuse_unknown:
                self._wrong.add(None, name, "is not read by the model: leave it out")
        self._note_rest(seen)
        return found

    def _note_rest(self, seen: set[str]) -> None:
        for name, kind in self._kinds.items():
            if name not in seen:
                self._wrong.add(None, name, f"is absent: send it as {DATATYPE_OF[kind]} of shape {_SHAPES}")
        if self._at < len(self._binary) and not self._lost:
            self._wrong.add(
                None,
                None,
                f"{len(self._binary):,} bytes follow the JSON, the inputs declare {self._at:,}: "
                "let parameters.binary_data_size say how many are whose",
            )

    def _slice(self, name: str, tensor: Mapping[str, Any]) -> bytes | None:
        """Return the binary data of this input, which follows that of the input before."""
        parameters = tensor.get("parameters")
        if parameters is None:
            return None
        if not isinstance(parameters, dict):
            self._wrong.add(None, name, f"has {shown(parameters)} as its parameters: send an object")
            return None
        if "shared_memory_region" in parameters:
            self._wrong.add(None, name, "lies in shared memory, which this service does not read: send its data")
        size = parameters.get("binary_data_size")
        if size is None or self._lost:
            return None
        left = len(self._binary) - self._at
        if not _is_count(size) or size > left:
            self._wrong.add(
                None, name, f"declares {shown(size)} bytes of binary data, {left:,} are there: send as many as declared"
            )
            self._lost = True
            return b""
        start, self._at = self._at, self._at + size
        return self._binary[start : self._at]

    def _input(self, name: str, tensor: Mapping[str, Any], raw: bytes | None) -> _Input | None:
        datatype, shape = tensor.get("datatype"), tensor.get("shape")
        known = isinstance(datatype, str) and datatype in DTYPES
        if not known:
            self._wrong.add(None, name, f"has the datatype {shown(datatype)}: send one of {', '.join(DTYPES)}")
        good = (
            isinstance(shape, list) and all(map(_is_count, shape)) and len(shape) in (1, 2) and shape[1:] in ([], [1])
        )
        if not good:
            is_list = isinstance(shape, list) and len(shape) <= 8
            said = f"[{', '.join(map(shown, shape))}]" if is_list and isinstance(shape, list) else shown(shape)
            self._wrong.add(None, name, f"has the shape {said}: send {_SHAPES}")
        there = ("data" in tensor) + (raw is not None)
        if there != 1 and not self._lost:
            has = "no data" if there == 0 else "both JSON and binary data"
            self._wrong.add(None, name, f"has {has}: send one of data and parameters.binary_data_size")
        if not known or not good or there != 1:
            return None
        return _Input(name, str(datatype), tensor["shape"][0], tensor.get("data"), raw)

    def _rows(self, inputs: Mapping[str, _Input]) -> int:
        return max((found.rows for found in inputs.values()), default=0)

    def _column(self, found: _Input, rows: int) -> list[Any]:
        if found.rows != rows:
            self._wrong.add(None, found.name, f"has {found.rows:,} rows, another input has {rows:,}: let them agree")
        if self._lost and found.raw is not None:
            return []
        if found.raw is None:
            values = from_json(found.datatype, found.data, found.rows)
        else:
            values = from_bytes(found.datatype, found.raw, found.rows)
        kind = self._kinds.get(found.name)
        if kind is not None and not isinstance(values, Wrong):
            values = for_kind(values, found.datatype, kind)
        if isinstance(values, Wrong):
            self._wrong.add(values.row, found.name, values.text)
            return []
        return values

    # what is asked for

    def _id(self, given: Any) -> str | None:
        if given is None or given == "":
            return None
        if isinstance(given, str):
            return given
        self._wrong.add(None, None, f"id is {shown(given)}: send text")
        return None

    def _outputs(self, asked: Mapping[str, Any]) -> tuple[Output, ...]:
        binary = self._flag(asked.get("parameters"), "binary_data_output", default=False)
        wanted = asked.get("outputs")
        if wanted is None or wanted == []:
            return tuple(Output(name, binary) for name in OUTPUTS)
        if not isinstance(wanted, list):
            self._wrong.add(None, None, f"outputs are {shown(wanted)}: send a list of objects with a name")
            return ()
        found: dict[str, Output] = {}
        for tensor in wanted:
            name = tensor.get("name") if isinstance(tensor, dict) else None
            if not isinstance(name, str) or name not in OUTPUTS or name in found:
                is_twice = isinstance(name, str) and name in found
                said = "asked for twice" if is_twice else "not one of " + ", ".join(OUTPUTS)
                self._wrong.add(None, None, f"output {shown(name)} is {said}: correct the outputs")
                continue
            parameters = tensor.get("parameters")
            self._refuse_special(name, parameters)
            found[name] = Output(name, self._flag(parameters, "binary_data", default=binary))
        return tuple(found.values())

    def _refuse_special(self, name: str, parameters: Any) -> None:
        for word in ("classification", "shared_memory_region"):
            if isinstance(parameters, dict) and word in parameters:
                self._wrong.add(
                    None, None, f"output {name} asks for {word}, which this service does not offer: leave it out"
                )

    def _flag(self, parameters: Any, name: str, *, default: bool) -> bool:
        if parameters is None:
            return default
        value = parameters.get(name, default) if isinstance(parameters, dict) else parameters
        if isinstance(value, bool):
            return value
        where = name if isinstance(parameters, dict) else "parameters"
        wanted = "true or false" if isinstance(parameters, dict) else "an object"
        self._wrong.add(None, None, f"{where} is {shown(value)}: send {wanted}")
        return default


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63

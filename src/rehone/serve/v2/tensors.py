"""Read the values of one tensor, from JSON or from bytes, as the columns of a row request hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from rehone.records import FeatureKind

DTYPES: Final[Mapping[str, np.dtype[Any] | None]] = {
    "BOOL": np.dtype("<u1"),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    "BYTES": None,
}
"""How the elements of each datatype lie in binary data; BYTES carry their length before them."""

DATATYPE_OF: Final = {FeatureKind.NUMERIC: "FP64", FeatureKind.BOOLEAN: "BOOL", FeatureKind.CATEGORICAL: "BYTES"}
"""The datatype that a model names for each kind of feature; it reads others too."""

_LENGTH_BYTES: Final = 4
_LARGEST: Final = {f"FP{bits}": float(np.finfo(f"<f{bits // 8}").max) for bits in (16, 32, 64)}


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why a tensor cannot be read, and at which row."""

    text: str
    row: int | None = None


def from_bytes(datatype: str, data: bytes, count: int) -> list[Any] | Wrong:
    """Return the elements of binary tensor data; NaN and infinity are None, as everywhere in this service."""
    dtype = DTYPES[datatype]
    if dtype is None:
        return _strings(data, count)
    if len(data) != count * dtype.itemsize:
        return Wrong(
            f"has {len(data):,} bytes of data, {count:,} elements of {datatype} are {count * dtype.itemsize:,}: "
            "send as many as its shape says"
        )
    values = np.frombuffer(data, dtype)
    if dtype.kind == "f":
        return _known(values.astype(np.float64))
    listed: list[Any] = (values != 0 if datatype == "BOOL" else values).tolist()
    return listed


def from_json(datatype: str, data: Any, count: int) -> list[Any] | Wrong:
    """Return the elements of `data`: flat, or one list per row; null is a missing value."""
    values = _flat(data)
    if isinstance(values, Wrong):
        return values
    if len(values) != count:
        return Wrong(f"has {len(values):,} elements in its data, {count:,} in its shape: let them agree")
    if datatype == "BYTES":
        return _of_types(values, {str, NoneType}, "text or null")
    if datatype == "BOOL":
        return _truths(values)
    return _floats(datatype, values) if datatype.startswith("FP") else _integers(datatype, values)


def for_kind(values: list[Any], datatype: str, kind: FeatureKind) -> list[Any] | Wrong:
    """Return the values as the column of a feature may hold them, or say that this datatype does not fit it."""
    if kind is FeatureKind.CATEGORICAL:
        return values
    if datatype == "BYTES":
        wanted = "numbers" if kind is FeatureKind.NUMERIC else "true or false"
        return Wrong(f"is BYTES, the model reads {wanted} here: send {DATATYPE_OF[kind]}")
    if kind is FeatureKind.NUMERIC and datatype == "BOOL":
        return [None if value is None else float(value) for value in values]
    return values


def _strings(data: bytes, count: int) -> list[Any] | Wrong:
    values: list[str] = []
    at = 0
    for row in range(count):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "little")
        if start > len(data) or at > len(data):
            return Wrong("ends before this element does: write 4 bytes of length before each", row)
        try:
            values.append(data[start:at].decode())
        except UnicodeDecodeError:
            return Wrong("is not UTF-8: send text", row)
    if at != len(data):
        return Wrong(f"has {len(data) - at:,} bytes behind its last element: send as many as its shape says")
    return values


def _known(values: NDArray[np.float64]) -> list[Any]:
    listed: list[Any] = values.tolist()
    if np.isfinite(values).all():
        return listed
    return [value if math.isfinite(value) else None for value in listed]


def _flat(data: Any) -> list[Any] | Wrong:
    if not isinstance(data, list):
        return Wrong(f"has {shown(data)} as its data: send a list")
    if not data or not isinstance(data[0], list):
        return data
    for row, inner in enumerate(data):
        if not isinstance(inner, list) or len(inner) != 1:
            return Wrong(f"holds {shown(inner)} where a list of one element belongs", row)
    return [inner[0] for inner in data]


def _of_types(values: list[Any], types: set[type], wanted: str) -> list[Any] | Wrong:
    if set(map(type, values)) <= types:
        return values
    row = next(row for row, value in enumerate(values) if type(value) not in types)
    return Wrong(f"is {shown(values[row])}, its datatype holds {wanted}: correct it or the datatype", row)


def _truths(values: list[Any]) -> list[Any] | Wrong:
    wanted = "true, false or null"
    found = _of_types(values, {bool, int, NoneType}, wanted)
    if isinstance(found, Wrong):
        return found
    wrong = _first(found, lambda value: value not in (0, 1))
    if wrong is not None:
        return Wrong(f"is {shown(found[wrong])}, its datatype holds {wanted}: correct it or the datatype", wrong)
    return [None if value is None else bool(value) for value in found]


def _integers(datatype: str, values: list[Any]) -> list[Any] | Wrong:
    found = _of_types(values, {int, NoneType}, "whole numbers or null")
    if isinstance(found, Wrong):
        return found
    limits = np.iinfo(_dtype(datatype))
    wrong = _first(found, lambda value: not limits.min <= value <= limits.max)
    return found if wrong is None else _too_large(datatype, found, wrong)


def _floats(datatype: str, values: list[Any]) -> list[Any] | Wrong:
    found = _of_types(values, {float, int, NoneType}, "numbers or null")
    if isinstance(found, Wrong):
        return found
    if datatype == "FP64" and int not in set(map(type, found)):
        return found
    largest = _LARGEST[datatype]
    wrong = _first(found, lambda value: abs(value) > largest)
    if wrong is not None:
        return _too_large(datatype, found, wrong)
    if datatype == "FP64":
        return [None if value is None else float(value) for value in found]
    numbers = np.array([math.nan if value is None else value for value in found], dtype=np.float64)
    with np.errstate(over="ignore"):
        return _known(numbers.astype(_dtype(datatype)).astype(np.float64))


def _first(values: Sequence[Any], is_wrong: Callable[[Any], bool]) -> int | None:
    return next((row for row, value in enumerate(values) if value is not None and is_wrong(value)), None)


def _too_large(datatype: str, values: Sequence[Any], row: int) -> Wrong:
    return Wrong(f"is {shown(values[row])}, more than {datatype} can hold: correct it or the datatype", row)


def _dtype(datatype: str) -> np.dtype[Any]:
    found = DTYPES[datatype]
    if found is None:
        raise TypeError(datatype)
    return found


def shown(value: Any) -> str:
    """Write a value of JSON so that it fits into a sentence."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    text = msgspec.json.encode(value).decode() if not isinstance(value, int) else _number(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(value: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value.bit_length() < 512 else "a number of many digits"

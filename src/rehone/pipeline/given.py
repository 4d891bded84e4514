"""Turn all that the gate is given into bytes and back, so that it can be judged again.

The bytes are those of a NumPy archive (.npz): arrays under numbers, and `given`, which says in JSON how
they belong together. What is given may gain fields: an archive of an earlier version is read with
their defaults, and fields that this version does not know are left out.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from rehone import gate
from rehone.config import Gate
from rehone.errors import Corrupt

GIVEN = "given"

_KINDS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in (gate.Holdout, gate.Scored, gate.Unreadable, Gate)}
_SCALARS = (bool, int, str, type(None))

Arrays = dict[str, NDArray[Any]]


def pack(given: Mapping[str, Any]) -> bytes:
    """Return arguments by name as bytes; the same arguments give the same bytes.

    Raises:
        TypeError: an argument holds something that cannot be kept.
    """
    arrays: Arrays = {}
    tree = msgspec.json.encode({name: _plain(value, arrays) for name, value in given.items()})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{GIVEN: np.frombuffer(tree, dtype=np.uint8)}, **arrays)  # type: ignore[arg-type]  # names, no options
    return buffer.getvalue()


def unpack(data: bytes, *, source: str) -> dict[str, Any]:
    """Return the arguments that were packed.

    Raises:
        Corrupt: the bytes are no such archive.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        tree = msgspec.json.decode(arrays.pop(GIVEN).tobytes(), type=dict[str, Any])
        return {name: _lively(value, arrays) for name, value in tree.items()}
    except (ValueError, KeyError, OSError, EOFError, TypeError, BadZipFile, msgspec.DecodeError) as error:
        raise Corrupt(f"{source} cannot be read ({type(error).__name__}: {error})") from None


def _plain(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, datetime):
        return {"moment": value.isoformat()}
    if isinstance(value, np.ndarray):
        return _plain_array(value, arrays)
    return _plain_many(value, arrays)


def _plain_array(value: NDArray[Any], arrays: Arrays) -> dict[str, Any]:
    if value.dtype.hasobject:
        return {"objects": [_plain(item, arrays) for item in value.tolist()]}
    name = f"{len(arrays):03d}"
    arrays[name] = np.ascontiguousarray(value)
    return {"array": name}


def _plain_many(value: Any, arrays: Arrays) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {"map": [[str(key), _plain(item, arrays)] for key, item in value.items()]}
    if isinstance(value, Sequence):
        return {"tuple": [_plain(item, arrays) for item in value]}
    kind = type(value).__name__
    if kind not in _KINDS:
        raise TypeError(f"{kind} cannot be kept for a replay")
    if isinstance(value, BaseModel):
        return {"kind": kind, "settings": value.model_dump(mode="json", by_alias=True)}
    return {"kind": kind, "fields": {f.name: _plain(getattr(value, f.name), arrays) for f in fields(value)}}


def _lively(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, dict):
        return value
    readers: dict[str, Callable[[Any], Any]] = {
        "float": float,
        "moment": datetime.fromisoformat,
        "array": arrays.__getitem__,
        "objects": lambda items: np.array([_lively(item, arrays) for item in items], dtype=object),
        "map": lambda pairs: {key: _lively(item, arrays) for key, item in pairs},
        "tuple": lambda items: tuple(_lively(item, arrays) for item in items),
    }
    if "kind" in value:
        return _made(_KINDS[value["kind"]], value, arrays)
    ((name, inner),) = value.items()
    return readers[name](inner)


def _made(kind: type[Any], value: Mapping[str, Any], arrays: Arrays) -> Any:
    if is_dataclass(kind):
        known = {f.name for f in fields(kind)}
        return kind(**{name: _lively(item, arrays) for name, item in value["fields"].items() if name in known})
    return settings(kind, value["settings"])


def settings(kind: type[BaseModel], found: Mapping[str, Any]) -> Any:
    """Return a section of a configuration as it was recorded; keys that are no longer known are left out."""
    known = {name for key, field in kind.model_fields.items() for name in (key, field.alias) if name}
    return kind.model_validate({name: item for name, item in found.items() if name in known})

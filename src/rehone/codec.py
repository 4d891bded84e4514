"""Turn records into JSON bytes and back, the same way everywhere."""

from __future__ import annotations

from threading import Lock
from typing import Any, TypeVar

import msgspec

from rehone.errors import Corrupt

T = TypeVar("T")

_making = Lock()
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def encode(record: object) -> bytes:
    """Return a record as indented JSON with a stable order of keys and a final newline.

    A number that NumPy computed is written as the number it is.
    """
    return msgspec.json.format(msgspec.json.encode(record, order="deterministic", enc_hook=_number), indent=2) + b"\n"


def _number(value: Any) -> Any:
    """Take a NumPy scalar for its number: one that slipped into a record must not cost the record."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} cannot be written into a record")


def decode(data: bytes, kind: type[T], *, source: str) -> T:
    """Read a record of the given type; keys that a later version added are ignored.

    Raises:
        Corrupt: the bytes are not such a record; `source` is named in the message.
    """
    try:
        return decoder(kind).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"{source} is not a {kind.__name__} ({error}): the file was changed or cut short") from None


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return what reads a type, made once, by one thread at a time.

    msgspec learns a dataclass when it first meets it, and remembers it before it knows all of its fields: a second
    thread that meets it just then ends the process.
    """
    if (known := _decoders.get(kind)) is None:
        with _making:
            known = _decoders[kind] = _decoders.get(kind) or msgspec.json.Decoder(kind)
    return known


def plain(record: object) -> Any:
    """Return a record as plain dicts, lists, strings and numbers."""
    return msgspec.to_builtins(record, enc_hook=_number)


def schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of a record type."""
    return msgspec.json.schema(kind)

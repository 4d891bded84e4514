"""Read the rows of one request, or say everything that is wrong with them.

A reader is compiled for one contract: well-formed rows are decoded and checked in one pass.
Anything else is read again, cell by cell, to say what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from rehone.artifact.rows import LARGEST
from rehone.columns import text_of
from rehone.records import Contract, Feature, FeatureKind
from rehone.serve.problems import Problems, Refusal

SHAPES: Final = 'send one object, a list of objects, or {"rows": [...]}'

Row = tuple[Any, ...]

_ABSENT: Final = object()
_ANY: Final = msgspec.json.Decoder()
_PEEK: Final = msgspec.json.Decoder(msgspec.defstruct("Peek", [("rows", Any, msgspec.UNSET)]))
_WRAPPED: Final = re.compile(rb'\s*\{\s*"rows"\s*:')
_AS_THEY_ARE: Final[Mapping[FeatureKind, frozenset[type]]] = {
    FeatureKind.BOOLEAN: frozenset({bool, type(None)}),
    FeatureKind.CATEGORICAL: frozenset({str, type(None)}),
}
"""The types of decoded cells that need no reading, where a cell may come in several."""
_COLUMN_TYPES: Final = {**_AS_THEY_ARE, FeatureKind.NUMERIC: frozenset({float, type(None)})}
_TYPES: Final[Mapping[FeatureKind, Any]] = {
    FeatureKind.NUMERIC: float | None,
    FeatureKind.BOOLEAN: bool | float | None,
    FeatureKind.CATEGORICAL: str | bool | int | float | None,
}


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The rows of one request, in the order sent.

    `rows` hold the values of `names`: the contract's features first (float, bool or text, None
    where missing), then what else was asked to be kept, `msgspec.UNSET` where it was not sent.
    `ids` are the rows' own, None where one has none. `listed` says that a list was sent, `size` is
    that of the body in bytes.
    """

    names: tuple[str, ...]
    rows: Sequence[Row]
    ids: tuple[str | None, ...] | None = None
    listed: bool = True
    size: int = 0


class Reader:
    """Reads rows for one contract.

    `id_column` is kept as the row's id, `extra` columns are kept as they come; all other columns
    are ignored, or refused with `refuse_unknown`.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        id_column: str | None = None,
        extra: Sequence[str] = (),
        refuse_unknown: bool = False,
    ) -> None:
        self.contract = contract
        self.names = (*contract.names, *(name for name in extra if name not in contract.names))
        self._id = id_column if id_column not in contract.names else None
        self._refuses = refuse_unknown
        self._width = len(contract.features)
        self._unwrapped = "rows" in contract.names
        self._texts = tuple((i, f.kind) for i, f in enumerate(contract.features) if f.kind in _AS_THEY_ARE)
        self._codes = tuple((i, _codes(f)) for i, f in enumerate(contract.features) if _is_text(f))
        row = _struct(contract, self.names, self._id, refuse_unknown)
        self._one = msgspec.json.Decoder(row)
        self._many = msgspec.json.Decoder(list[row])  # type: ignore[valid-type]
        self._wrapped = msgspec.json.Decoder(msgspec.defstruct("Rows", [("rows", list[row])]))  # type: ignore[valid-type]

    def read(self, body: bytes, max_rows: int) -> Asked | Refusal:
        """Return the rows of a request's body.

        Numbers stay numbers, 0 and 1 count as false and true, and a category may be sent as a
        number. A null is a missing value; a column that the contract names must be there.
        """
        try:
            found, listed = self._decoded(body)
        except (ValueError, RecursionError):
            return self._explained(body, max_rows)
        if len(found) > max_rows:
            return _too_many(len(found), max_rows)
        rows = [msgspec.structs.astuple(row) for row in found]
        for column, kind in self._texts:
            if not all(type(row[column]) in _AS_THEY_ARE[kind] for row in rows):
                values = [_READERS[kind](row[column]) for row in rows]
                if any(isinstance(value, _Wrong) for value in values):
                    return self._explained(body, max_rows)
                rows = [(*row[:column], v, *row[column + 1 :]) for row, v in zip(rows, values, strict=True)]
        return self._asked(rows, listed=listed, size=len(body))

    def of_columns(self, columns: Mapping[str, Sequence[Any]], max_rows: int) -> Asked | Refusal:
        """Return the rows of columns by name, of equal length; each cell is checked as in JSON."""
        number = len(next(iter(columns.values()), ()))
        if number > max_rows:
            return _too_many(number, max_rows)
        if self._fits(columns):
            unset = [msgspec.UNSET] * number
            wanted = [*self.names, *([self._id] if self._id else [])]
            return self._asked(list(zip(*(columns.get(n, unset) for n in wanted), strict=True)), listed=True)
        names = [*columns]
        rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        return self._cell_by_cell(rows, listed=True)

    def encode(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Return the model's matrix of rows as `read` gave them, (n, features).

        It equals what `artifact.encode` makes of the same values.
        """
        return _matrix(rows, self._width, len(self.names) > self._width, self._codes)

    def _decoded(self, body: bytes) -> tuple[Sequence[Any], bool]:
        if not self._unwrapped and _WRAPPED.match(body):
            wrapped: Any = self._wrapped.decode(body)
            return wrapped.rows, True
        if body.lstrip()[:1] == b"[":
            return self._many.decode(body), True
        if not self._unwrapped and (b'"rows"' in body or b"\\u" in body) and _has_rows(body):
            raise ValueError("rows stand beside other keys")  # which of them is meant may not depend on their order
        return (self._one.decode(body),), False

    def _fits(self, columns: Mapping[str, Sequence[Any]]) -> bool:
        """Say whether every feature is there and no cell needs reading."""
        if self._id in columns or (self._refuses and not columns.keys() <= {*self.names}):
            return False
        return all(
            feature.name in columns and _COLUMN_TYPES[feature.kind].issuperset(map(type, columns[feature.name]))
            for feature in self.contract.features
        )

    def _asked(self, rows: list[Row], *, listed: bool, size: int = 0) -> Asked:
        if self._id is None:
            return Asked(self.names, rows, None, listed, size)
        ids = tuple(None if row[-1] in (None, msgspec.UNSET, "") else str(row[-1]) for row in rows)
        return Asked(self.names, [row[:-1] for row in rows], ids if any(ids) else None, listed, size)

    # what is wrong, cell by cell

    def _explained(self, body: bytes, max_rows: int) -> Asked | Refusal:
        try:
            value = _ANY.decode(body)
        except RecursionError:
            return Refusal(status=400, error=f"the body nests too deeply to be rows: {SHAPES}")
        except ValueError as error:
            return Refusal(
                status=400, error=f"the body is not JSON ({error}): {SHAPES}; NaN and infinity are not JSON, send null"
            )
        rows = _list_of_rows(value, self._unwrapped)
        if isinstance(rows, Refusal):
            return rows
        if len(rows) > max_rows:
            return _too_many(len(rows), max_rows)
        wrapped = isinstance(value, dict) and "rows" in value and not self._unwrapped
        return self._cell_by_cell(rows, listed=wrapped or isinstance(value, list), size=len(body))

    def _cell_by_cell(self, rows: list[Any], *, listed: bool, size: int = 0) -> Asked | Refusal:
        wrong = Problems()
        names = self.contract.names
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                wrong.add(number, None, f"is {_shown(row)}, not an object with the columns {_listed(names)}")
        numbered = [(number, row) for number, row in enumerate(rows) if isinstance(row, dict)]
        columns = [_column(numbered, feature, wrong) for feature in self.contract.features]
        columns += [[row.get(name, msgspec.UNSET) for _, row in numbered] for name in self.names[self._width :]]
        if self._id is not None:
            columns.append(_ids(numbered, self._id, wrong))
        self._note_unknown(numbered, wrong)
        if wrong.count:
            return wrong.refusal()
        return self._asked(list(zip(*columns, strict=True)), listed=listed, size=size)

    def _note_unknown(self, rows: Sequence[tuple[int, dict[str, Any]]], wrong: Problems) -> None:
        if not self._refuses:
            return
        known = {*self.names, self._id}
        for number, row in rows:
            for name in row:
                if name in known:
                    continue
                wrong.add(number, name, "is not read by the model: leave it out, or set serve.extra_columns to ignore")


def encode_rows(names: Sequence[str], rows: Sequence[Row], reader: Reader) -> tuple[NDArray[np.float64], list[int]]:
    """Encode rows that were read for another contract; also return which of them it cannot read."""
    asked = [{n: v for n, v in zip(names, row, strict=True) if v is not msgspec.UNSET} for row in rows]
    good: list[Row] = []
    bad: list[int] = []
    for number, row in enumerate(asked):
        found = reader.of_columns({name: [value] for name, value in row.items()}, 1)
        if isinstance(found, Refusal):
            bad.append(number)
        else:
            good += found.rows
    return reader.encode(good), bad


# --- the quick way ----------------------------------------------------------------------------


def _struct(contract: Contract, names: Sequence[str], id_column: str | None, refuses: bool) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        (f"f{i}", _TYPES[feature.kind]) for i, feature in enumerate(contract.features)
    ]
    extra = names[len(contract.features) :]
    fields += [(f"x{i}", Any, msgspec.UNSET) for i in range(len(extra))]
    rename = {f"f{i}": name for i, name in enumerate(contract.names)} | {f"x{i}": n for i, n in enumerate(extra)}
    if id_column is not None:
        fields.append(("id_", str | int | None | msgspec.UnsetType, msgspec.UNSET))
        rename["id_"] = id_column
    return msgspec.defstruct("Row", fields, rename=rename, forbid_unknown_fields=refuses, gc=False)


def _has_rows(body: bytes) -> bool:
    found: Any = _PEEK.decode(body)
    return found.rows is not msgspec.UNSET


def _is_text(feature: Feature) -> bool:
    return feature.kind is FeatureKind.CATEGORICAL


def _codes(feature: Feature) -> tuple[dict[str | None, float], float]:
    known: dict[str | None, float] = {name: float(code) for code, name in enumerate(feature.categories)}
    return {**known, None: np.nan}, float(len(feature.categories))


def _matrix(
    rows: Sequence[Row], width: int, extra: bool, codes: Sequence[tuple[int, tuple[dict[str | None, float], float]]]
) -> NDArray[np.float64]:
    if not rows:
        return np.empty((0, width))
    if codes or extra:
        cells = [list(row[:width]) for row in rows]
        for column, (known, unseen) in codes:
            for row in cells:
                row[column] = known.get(row[column], unseen)
        matrix = np.array(cells, dtype=np.float64)
    else:
        matrix = np.array(rows, dtype=np.float64)
    huge = np.abs(matrix) > LARGEST
    if huge.any():
        matrix[huge] = np.where(np.isinf(matrix[huge]), np.nan, np.sign(matrix[huge]) * LARGEST)
    return matrix


# --- cell by cell -------------------------------------------------------------------------------


def _list_of_rows(value: Any, unwrapped: bool) -> list[Any] | Refusal:
    if isinstance(value, dict) and "rows" in value and not unwrapped:
        value = value["rows"]
        if not isinstance(value, list):
            return Refusal(status=422, error=f'"rows" is {_shown(value)}, not a list of objects: {SHAPES}')
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    return Refusal(status=422, error=f"the body is {_shown(value)}, not rows: {SHAPES}")


def _too_many(rows: int, most: int) -> Refusal:
    return Refusal(status=413, error=f"{rows:,} rows in one request, at most {most:,}: send them in several requests")


def _column(rows: Sequence[tuple[int, dict[str, Any]]], feature: Feature, wrong: Problems) -> list[Any]:
    name, read = feature.name, _READERS[feature.kind]
    values = [row.get(name, _ABSENT) for _, row in rows]
    if values and all(value is _ABSENT for value in values):
        wrong.add(None, name, f"is absent from every row ({len(values):,}): send it, or null where it is missing")
        return values
    values = [read(value) for value in values]
    for (number, _), value in zip(rows, values, strict=True):
        if isinstance(value, _Wrong):
            wrong.add(number, name, value.text)
    return values


def _ids(rows: Sequence[tuple[int, dict[str, Any]]], name: str, wrong: Problems) -> list[Any]:
    values = [row.get(name, msgspec.UNSET) for _, row in rows]
    for (number, _), value in zip(rows, values, strict=True):
        plain = value is None or value is msgspec.UNSET or isinstance(value, str | int)
        if not plain or isinstance(value, bool):
            wrong.add(number, name, f"is {_shown(value)}, an id is text or a whole number: correct it, or leave it out")
    return values


@dataclass(frozen=True, slots=True)
class _Wrong:
    text: str


def _number(cell: Any) -> float | _Wrong | None:
    if cell is None or isinstance(cell, float):
        return cell
    if not isinstance(cell, int):
        return _wrong(cell, "a number")
    try:
        return float(cell)
    except OverflowError:
        return _Wrong(f"is {_shown(cell)}, more than a 64-bit float can hold: send null if it is not known")


def _truth(cell: Any) -> bool | _Wrong | None:
    if cell is None or isinstance(cell, bool):
        return cell
    if isinstance(cell, int | float) and cell in (0, 1):
        return bool(cell)
    return _wrong(cell, "true or false")


def _category(cell: Any) -> str | _Wrong | None:
    """Read a category; one that was a number in training may be sent as a number, 3 or 3.0."""
    if cell is None or isinstance(cell, str):
        return cell
    return text_of(cell) if isinstance(cell, bool | int | float) else _wrong(cell, "text")


def _wrong(cell: Any, wanted: str) -> _Wrong:
    if cell is _ABSENT:
        return _Wrong("is absent: send it, or null if it is missing")
    return _Wrong(f"is {_shown(cell)}, the model reads {wanted} here: correct it, or send null if it is missing")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])} and {len(names) - 12} more"


_READERS: Final[Mapping[FeatureKind, Callable[[Any], Any]]] = {
    FeatureKind.NUMERIC: _number,
    FeatureKind.BOOLEAN: _truth,
    FeatureKind.CATEGORICAL: _category,
}

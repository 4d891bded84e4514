"""Read the rows of one request, or say everything that is wrong with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import msgspec
import polars as pl

from rehone.records import Contract, Feature, FeatureKind

LISTED_PROBLEMS: Final = 1000
SHAPES: Final = 'send one object, a list of objects, or {"rows": [...]}'

_ABSENT: Final = object()
_JSON: Final = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong with one cell, one row (`column is None`) or one column (`row is None`).

    Rows are counted from 0, as in the list that was sent.
    """

    row: int | None
    column: str | None
    problem: str

    @property
    def sentence(self) -> str:
        """Say which cell it is and what is wrong with it."""
        where = [] if self.row is None else [f"row {self.row}"]
        where += [] if self.column is None else [f"column {self.column!r}"]
        return f"{' '.join(where)} {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is not a prediction: HTTP status, one sentence, and each problem found.

    `more` counts the problems beyond the first `LISTED_PROBLEMS`.
    """

    status: int
    error: str
    problems: tuple[RowProblem, ...] = ()
    more: int = 0


def read_rows(body: bytes, contract: Contract, *, max_rows: int) -> pl.DataFrame | Refusal:
    """Turn a request body into a frame with exactly the columns of the contract, in its order.

    A null is a missing value; a column that the contract names must be there; others are
    ignored. Numeric columns become Float64, boolean ones Boolean, categorical ones String.
    """
    try:
        value = _JSON.decode(body)
    except RecursionError:
        return Refusal(status=400, error=f"the body nests too deeply to be rows: {SHAPES}")
    except ValueError as error:
        return Refusal(
            status=400, error=f"the body is not JSON ({error}): {SHAPES}; NaN and infinity are not JSON, send null"
        )
    rows = _list_of_rows(value, contract)
    if isinstance(rows, Refusal):
        return rows
    if len(rows) > max_rows:
        return Refusal(
            status=413, error=f"{len(rows):,} rows in one request, at most {max_rows:,}: send them in several requests"
        )
    return _frame(rows, contract)


def _list_of_rows(value: Any, contract: Contract) -> list[Any] | Refusal:
    if isinstance(value, dict) and "rows" in value and "rows" not in contract.names:
        value = value["rows"]
        if not isinstance(value, list):
            return Refusal(status=422, error=f'"rows" is {_shown(value)}, not a list of objects: {SHAPES}')
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    return Refusal(status=422, error=f"the body is {_shown(value)}, not rows: {SHAPES}")


def _frame(rows: list[Any], contract: Contract) -> pl.DataFrame | Refusal:
    wrong = _Wrongs()
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            wrong.add(number, None, f"is {_shown(row)}, not an object with the columns {_listed(contract.names)}")
    numbered = [(number, row) for number, row in enumerate(rows) if isinstance(row, dict)]
    columns = {feature.name: _column(numbered, feature, wrong) for feature in contract.features}
    return wrong.refusal() if wrong.count else pl.DataFrame(columns)


def _column(rows: Sequence[tuple[int, dict[str, Any]]], feature: Feature, wrong: _Wrongs) -> pl.Series:
    name = feature.name
    values = [row.get(name, _ABSENT) for _, row in rows]
    reader = _READERS[feature.kind]
    kinds = set(map(type, values))
    if not kinds <= reader.as_they_are:
        if kinds == {object}:
            wrong.add(None, name, f"is absent from every row ({len(values):,}): send it, or null where it is missing")
            return pl.Series(name, [], dtype=reader.dtype)
        values = [reader.read(value) for value in values]
        for (number, _), value in zip(rows, values, strict=True):
            if isinstance(value, _Wrong):
                wrong.add(number, name, value.text)
        values = [None if isinstance(value, _Wrong) else value for value in values]
    return pl.Series(name, values, dtype=reader.dtype)


class _Wrongs:
    """Count every problem of a request, and keep the first of each column to be listed."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: dict[str | None, list[RowProblem]] = {}

    def add(self, row: int | None, column: str | None, problem: str) -> None:
        self.count += 1
        kept = self._kept.setdefault(column, [])
        if len(kept) < LISTED_PROBLEMS:
            kept.append(RowProblem(row, column, problem))

    def refusal(self) -> Refusal:
        ordered = sorted(itertools.chain(*self._kept.values()), key=lambda p: -1 if p.row is None else p.row)
        listed = tuple(ordered[:LISTED_PROBLEMS])
        count = "1 problem" if self.count == 1 else f"{self.count:,} problems, the first is"
        return Refusal(
            status=422,
            error=f"the rows cannot be read, {count}: {listed[0].sentence}",
            problems=listed,
            more=self.count - len(listed),
        )


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
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        whole = cell.is_integer() and abs(cell) < 2**53
        return str(int(cell)) if whole else str(pl.Series([cell], dtype=pl.Float64).cast(pl.String)[0])
    return str(cell) if isinstance(cell, int) else _wrong(cell, "text")


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


@dataclass(frozen=True, slots=True)
class _Reader:
    """How the cells of one kind of feature are read; `as_they_are` names the types that need no reading."""

    read: Callable[[Any], Any]
    as_they_are: set[type]
    dtype: pl.DataType


_READERS: Final = {
    FeatureKind.NUMERIC: _Reader(_number, {float, NoneType}, pl.Float64()),
    FeatureKind.BOOLEAN: _Reader(_truth, {bool, NoneType}, pl.Boolean()),
    FeatureKind.CATEGORICAL: _Reader(_category, {str, NoneType}, pl.String()),
}

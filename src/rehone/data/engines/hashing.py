"""Give every row a number that depends on nothing but its values, the same on every engine.

A row is written as text, value by value, and the MD5 of that text is two numbers below 2**32.
Null and NaN are the same; 3, 3.0 and true as 1 are the same; numbers beyond 1e18 in size are all
one, and differences below 1e-18 are not seen. It tells rows apart, it does not protect them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from rehone.data.engines.table import DUE, KNOWN, MICROS, Table, narwhals
from rehone.data.schema import family
from rehone.records import Window

HASH, HASH2, KEY = "__hash__", "__hash__2", "__key__"
SALT = "rehone"
"""Rows that somebody has already drawn by a plain MD5 of their id are drawn anew, not the same again."""

ALL_HASHES = 2**32

_HUGE = 2.0**60


def hashed(table: Table, rows: Any, names: Sequence[str]) -> Any:
    """Add the two numbers of each row, made of its time and of these columns."""
    nw, numbers = narwhals(), [name for name in names if _is_number(table, name)]
    ready = _in_parts(rows, {f"__n{i}__": table.number(name) for i, name in enumerate(numbers)})
    places = {name: f"__n{i}__" for i, name in enumerate(numbers)}
    parts = [_exact(places[name]) if name in places else _text(table, name) for name in names]
    keyed = ready.with_columns(nw.concat_str(nw.lit(SALT), _moment(MICROS), *parts, separator="|").alias(KEY))
    native = table.dialect.hashes(keyed.to_native(), {HASH: KEY})
    return nw.from_native(native).lazy()


def digest(table: Table, window: Window, names: Sequence[str]) -> tuple[str, int]:
    """Return a digest of the rows of a window, whatever their order, and how many they are."""
    nw, listed = narwhals(), sorted(names)
    rows = hashed(table, table.within(window), listed)
    sums = table.ask(rows, {"rows": nw.len(), "first": nw.col(HASH).sum(), "second": nw.col(HASH2).sum()})
    n, first, second = (int(sums[name] or 0) for name in ("rows", "first", "second"))
    said = f"rows 1\n{'|'.join(listed)}\n{window.start.isoformat()} {window.end.isoformat()}\n{n} {first} {second}"
    return hashlib.sha256(said.encode()).hexdigest(), n


def _is_number(table: Table, name: str) -> bool:
    """Say whether a column must be taken apart to be written as exact text."""
    return table.types[name].is_numeric() and not table.types[name].is_integer()


def _text(table: Table, name: str) -> Any:
    nw, dtype = narwhals(), table.types[name]
    column = nw.col(name)
    if name == table.policy.label_due_column:
        return _moment(DUE)
    if name == table.policy.label_time_column:
        return _moment(KNOWN)
    if isinstance(dtype, pl.Boolean):
        return _there(column, nw.when(column == nw.lit(value=True)).then(nw.lit("1")).otherwise(nw.lit("0")))
    if family(dtype) == "text":
        return _there(column, nw.concat_str(nw.lit("s"), column.cast(nw.String)))
    return _there(column, table.digits(name)) if dtype.is_integer() else nw.lit("?")


def _in_parts(rows: Any, numbers: Mapping[str, Any]) -> Any:
    """Take numbers apart, step by step: the whole part and, in 2**60ths, the rest; both are exact."""
    nw, names = narwhals(), list(numbers)
    if not names:
        return rows
    rows = rows.with_columns(*(number.alias(name) for name, number in numbers.items()))
    sizes = (nw.when(nw.col(n).abs() < _HUGE).then(nw.col(n).abs()).otherwise(nw.lit(0.0)) for n in names)
    rows = rows.with_columns(*(size.alias(f"{n}s") for n, size in zip(names, sizes, strict=True)))
    rows = rows.with_columns(*(nw.col(f"{n}s").floor().alias(f"{n}w") for n in names))
    rests = (((nw.col(f"{n}s") - nw.col(f"{n}w")) * _HUGE).floor().cast(nw.Int64) for n in names)
    return rows.with_columns(*(rest.alias(f"{n}r") for n, rest in zip(names, rests, strict=True)))


def _exact(name: str) -> Any:
    nw = narwhals()
    number, rest = nw.col(name), nw.col(f"{name}r")
    whole = nw.col(f"{name}w").cast(nw.Int64).cast(nw.String)
    exact = nw.when(rest == 0).then(whole).otherwise(nw.concat_str(whole, nw.lit(":"), rest.cast(nw.String)))
    said = nw.when(number.abs() < _HUGE).then(exact).otherwise(nw.lit("huge"))
    sign = nw.when(number < 0.0).then(nw.lit("-")).otherwise(nw.lit(""))
    return _there(number, nw.concat_str(sign, said))


def _moment(name: str) -> Any:
    nw = narwhals()
    return _there(nw.col(name), nw.col(name).cast(nw.String))


def _there(column: Any, text: Any) -> Any:
    nw = narwhals()
    return nw.when(column.is_null()).then(nw.lit("-")).otherwise(text)

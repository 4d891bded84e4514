"""Give every row a number that depends on nothing but its values, the same on every engine.

A row is written as text, value by value, and the MD5 of that text is two numbers below 2**32.
Null and NaN are the same; 3, 3.0 and true as 1 are the same; numbers beyond 1e18 in size are all
one, and differences below 1e-18 are not seen. It tells rows apart, it does not protect them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import polars as pl

from rehone.data.engines.table import DUE, MICROS, Table, narwhals
from rehone.data.schema import family
from rehone.records import Window

HASH, HASH2, KEY = "__hash__", "__hash__2", "__key__"
SALT = "rehone"
"""Rows that somebody has already drawn by a plain MD5 of their id are drawn anew, not the same again."""

_HUGE = 2.0**60


def hashed(table: Table, rows: Any, names: Sequence[str]) -> Any:
    """Add the two numbers of each row, made of its time and of these columns."""
    nw = narwhals()
    parts = [nw.lit(SALT), _moment(MICROS), *(_text(table, name) for name in names)]
    keyed = rows.with_columns(nw.concat_str(parts, separator="|").alias(KEY))
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


def _text(table: Table, name: str) -> Any:
    nw, dtype = narwhals(), table.types[name]
    column = nw.col(name)
    if name == table.policy.label_due_column:
        return _moment(DUE)
    if isinstance(dtype, pl.Boolean):
        return _there(column, nw.when(column).then(nw.lit("1")).otherwise(nw.lit("0")))
    if family(dtype) == "text":
        return _there(column, nw.concat_str(nw.lit("s"), column.cast(nw.String)))
    if not dtype.is_numeric():
        return nw.lit("?")
    if dtype.is_integer() and not table.dialect.codes_may_be_floats:
        return _there(column, column.cast(nw.String))
    return _number(table.number(name))


def _number(number: Any) -> Any:
    """Write a number as its whole part and, if there is one, the rest in 2**60ths; both are exact."""
    nw = narwhals()
    size = number.abs()
    small = nw.when(size < _HUGE).then(size).otherwise(nw.lit(0.0))
    whole = small.floor()
    rest = ((small - whole) * _HUGE).floor().cast(nw.Int64)
    sign = nw.when(number < 0.0).then(nw.lit("-")).otherwise(nw.lit(""))
    text = whole.cast(nw.Int64).cast(nw.String)
    exact = nw.when(rest == 0).then(text).otherwise(nw.concat_str(text, nw.lit(":"), rest.cast(nw.String)))
    said = nw.when(size < _HUGE).then(exact).otherwise(nw.lit("huge"))
    return _there(number, nw.concat_str(sign, said))


def _moment(name: str) -> Any:
    nw = narwhals()
    return _there(nw.col(name), nw.col(name).cast(nw.String))


def _there(column: Any, text: Any) -> Any:
    nw = narwhals()
    return nw.when(column.is_null()).then(nw.lit("-")).otherwise(text)

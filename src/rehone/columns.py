"""Read a column as categories, the same way for the model's matrix and for its profile."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import polars as pl

DAMAGED: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What Polars raises for a damaged file; a panic is no `Exception`, so that `except Exception` lets it through."""


def as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """Write a category as text; 3 and 3.0 are one category, NaN and infinity are null."""
    column = pl.col(name)
    if not dtype.is_float():
        return column if dtype == pl.String else column.cast(pl.String)
    whole = (column == column.floor()) & (column.abs() < 2.0**53)
    text = pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
    return pl.when(column.is_finite()).then(text)


def text_of(value: Any) -> str | None:
    """Write one category as text, as `as_text` writes a column of such values.

    Raises:
        TypeError: the value is neither text nor a number nor a boolean.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float_text(value)
    raise TypeError(type(value).__name__)


@lru_cache(maxsize=4096)
def _float_text(value: float) -> str | None:
    if not math.isfinite(value):
        return None
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(pl.Series([value], dtype=pl.Float64).cast(pl.String)[0])

"""Read a column as categories, the same way for the model's matrix and for its profile."""

from __future__ import annotations

import polars as pl


def as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """Write a category as text; 3 and 3.0 are one category, NaN and infinity are null."""
    column = pl.col(name)
    if not dtype.is_float():
        return column if dtype == pl.String else column.cast(pl.String)
    whole = (column == column.floor()) & (column.abs() < 2.0**53)
    text = pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
    return pl.when(column.is_finite()).then(text)

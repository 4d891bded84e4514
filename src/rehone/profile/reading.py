"""Read a column of any type as the numbers or the texts that bins are made of."""

from __future__ import annotations

import polars as pl


def readable(dtype: pl.DataType | None) -> bool:
    """Say whether a column of this type has values that can be counted; others count as missing."""
    return dtype is not None and not dtype.is_nested() and dtype not in (pl.Binary, pl.Object, pl.Null)


def is_clock(dtype: pl.DataType | None) -> bool:
    """Say whether the type is a date or a moment."""
    return dtype is not None and dtype in (pl.Date, pl.Datetime)


def as_number(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return the column as float64; text that is no number becomes null.

    Dates, moments and durations become microseconds, so that a file's unit does not matter.
    """
    column = pl.col(name)
    if is_clock(dtype):
        column = column.cast(pl.Datetime("us")).dt.epoch("us")
    elif dtype == pl.Duration:
        column = column.dt.total_microseconds()
    elif dtype == pl.Time:
        column = column.cast(pl.Int64)
    elif dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    return column.cast(pl.Float64, strict=False)

"""Turn whatever a feed calls event time into microseconds of UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

TIME = "__time__"
INSTANT = pl.Datetime("us", "UTC")

_OFFSET = r"[+-]\d{2}:?\d{2}$"
_ZONED_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%z")
_NAIVE_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
_DATE_FORMATS = ("%Y-%m-%d", "%Y%m%d")


def is_time(dtype: pl.DataType) -> bool:
    """Say whether values of this type can be read as moments."""
    return isinstance(dtype, pl.Datetime | pl.Date | pl.String)


def instant(column: str, dtype: pl.DataType, zone: str) -> pl.Expr:
    """Read a column as UTC; what cannot be read is null.

    Times without a zone are local times of `zone`. A local time that occurs twice (clocks set
    back) is the first of the two; one that never occurs (clocks set forward) is counted from
    the offset before the change, so that no row is lost.
    """
    raw = pl.col(column)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return raw.dt.cast_time_unit("us").dt.convert_time_zone("UTC")
    if isinstance(dtype, pl.String):
        return _from_text(raw, zone)
    return _local(raw.cast(pl.Datetime("us")), zone)


def zone_of(dtype: pl.DataType) -> str | None:
    """Name the zone that a time column carries; text is only known row by row: `None`."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return dtype.time_zone
    return None if isinstance(dtype, pl.String) else "none"


def carries_offset(column: str) -> pl.Expr:
    """Say of each text whether it ends in an offset from UTC."""
    return _tidy(pl.col(column)).str.contains("T") & _tidy(pl.col(column)).str.contains(_OFFSET)


def midnight(day: date, zone: str) -> datetime:
    """Return the start of a local day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def local_days(zone: str) -> pl.Expr:
    """Return the local day of each event."""
    return pl.col(TIME).dt.convert_time_zone(zone).dt.date()


def _local(naive: pl.Expr, zone: str) -> pl.Expr:
    if zone == "UTC":
        return naive.dt.replace_time_zone("UTC")
    later = naive + timedelta(hours=1)
    usual = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    skipped = later.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return pl.coalesce(usual, skipped).dt.convert_time_zone("UTC")


def _tidy(text: pl.Expr) -> pl.Expr:
    """Write `2026-08-31 10:00Z` as `2026-08-31T10:00+00:00`."""
    tidy = text.str.strip_chars().str.replace(r"^(\d{4}-\d{2}-\d{2})[ tT]\s*", "${1}T")
    return tidy.str.replace(r"\s*[zZ]$", "+00:00").str.replace(r"([+-]\d{2})$", "${1}:00", literal=False)


def _from_text(text: pl.Expr, zone: str) -> pl.Expr:
    tidy = pl.when(text.str.contains("[T ]")).then(_tidy(text)).otherwise(text.str.strip_chars())
    zoned = [tidy.str.to_datetime(f, time_unit="us", time_zone="UTC", strict=False) for f in _ZONED_FORMATS]
    naive = [tidy.str.to_datetime(f, time_unit="us", strict=False) for f in _NAIVE_FORMATS]
    dates = [tidy.str.to_date(f, strict=False).cast(pl.Datetime("us")) for f in _DATE_FORMATS]
    has_offset = tidy.str.contains("T") & tidy.str.contains(_OFFSET)
    return pl.when(has_offset).then(pl.coalesce(zoned)).otherwise(_local(pl.coalesce(naive + dates), zone))

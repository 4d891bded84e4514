"""Write the questions that are asked of a database, in words that PostgreSQL and DuckDB both understand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from rehone.records import Window


class Kind(StrEnum):
    """What values of a column are, as far as asking for them goes."""

    PLAIN = "plain"
    """numbers, booleans and text, which come as they are"""
    DECIMAL = "decimal"
    CODE = "code"
    """UUIDs, enumerations, addresses: read as text"""
    ZONED = "zoned"
    LOCAL = "local"
    DAY = "day"
    OTHER = "other"
    """JSON, lists, bytes, intervals: nothing to learn from"""


TIMES = (Kind.ZONED, Kind.LOCAL, Kind.DAY)

_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
"""Databases know moments before the first and after the last that Python has, and infinite ones."""
_ODD_HOURS = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the query: its name, its type as the database names it, and how it is asked for."""

    name: str
    declared: str
    kind: Kind

    @property
    def own(self) -> str:
        return quoted(self.name)

    def asked(self, *, as_text: bool) -> str:
        """Return the expression that gives it; a decimal id is text, because a float has no room for its digits."""
        if self.kind is Kind.CODE:
            return f"CAST({self.own} AS text) AS {self.own}"
        if self.kind is Kind.DECIMAL and as_text:
            return f"regexp_replace(CAST({self.own} AS text), '[.]0+$', '') AS {self.own}"
        if self.kind is Kind.DECIMAL:
            return f"CAST({self.own} AS double precision) AS {self.own}"
        return self.own


def quoted(name: str) -> str:
    """Write a name so that it is taken as it is."""
    return '"' + name.replace('"', '""') + '"'


def rows_of(query: str) -> str:
    """Write a query as something to select from; a comment at its end does not swallow what follows."""
    return f"(\n{query.strip().rstrip('; ').rstrip()}\n) AS rehone_rows"


def types_of(query: str, columns: Iterable[str]) -> str:
    """Ask for the columns without any row."""
    return f"SELECT {', '.join(columns)} FROM {rows_of(query)} LIMIT 0"


def description_of(query: str) -> str:
    """Ask DuckDB for the name and the type of each column."""
    return f"DESCRIBE SELECT * FROM {rows_of(query)}"


def declared_types(query: str, names: Sequence[str]) -> str:
    """Ask PostgreSQL for the type and the category of each column, in order.

    The server is asked, because drivers name types differently from version to version.
    """
    asked = ", ".join(f"pg_typeof({quoted(name)})::oid" for name in names)
    none = f"SELECT * FROM {rows_of(query)} LIMIT 0"
    types = (
        f"SELECT unnest(ARRAY[{asked}]) AS type, generate_series(1, {len(names)}) AS place "
        f"FROM (SELECT 1) AS one LEFT JOIN ({none}) AS none ON true"
    )
    return (
        "SELECT COALESCE(base.typname, own.typname)::text, own.typcategory::text "
        f"FROM ({types}) AS asked JOIN pg_type AS own ON own.oid = asked.type "
        "LEFT JOIN pg_type AS base ON base.oid = own.typbasetype ORDER BY asked.place"
    )


def rows_between(query: str, columns: Iterable[str], time: Column, window: Window, zone: str) -> str:
    """Ask for the rows of a window, by time."""
    where = f"{_from(time, window.start, zone)} AND {_before(time, window.end, zone)}"
    return f"SELECT {', '.join(columns)} FROM {rows_of(query)} WHERE {where} ORDER BY {time.own}"


def span_before(query: str, time: Column, end: datetime, zone: str) -> str:
    """Ask for the first and the last time before a moment: two looks into an index, if there is one."""
    where = f"{_from(time, _EARLIEST, zone)} AND {_before(time, end, zone)}"
    return f"SELECT min({time.own}), max({time.own}) FROM {rows_of(query)} WHERE {where}"


def odd_times(query: str, time: Column, after: datetime, zone: str) -> str:
    """Ask how many rows have no time, how many one after a moment, and the newest of those."""
    later = f"{time.own} > {_literal(time, after, zone, last=True)}"
    newest = f"max({time.own}) FILTER (WHERE {time.own} < {_literal(time, _LATEST, zone)})"
    return (
        f"SELECT count(*) - count({time.own}), count({time.own}), {newest} "
        f"FROM {rows_of(query)} WHERE {time.own} IS NULL OR {later}"
    )


def _from(time: Column, moment: datetime, zone: str) -> str:
    early = moment - _ODD_HOURS if time.kind is Kind.LOCAL and _clocks_change(moment, zone) else moment
    return f"{time.own} >= {_literal(time, early, zone)}"


def _before(time: Column, moment: datetime, zone: str) -> str:
    late = moment + _ODD_HOURS if time.kind is Kind.LOCAL and _clocks_change(moment, zone) else moment
    return f"{time.own} < {_literal(time, late, zone)}"


def _literal(time: Column, moment: datetime, zone: str, *, last: bool = False) -> str:
    """Write a moment; among days, the first whose midnight is not before it, or the last whose is not after it."""
    if time.kind is Kind.ZONED:
        return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat(sep=' ')}'"
    local = _local(moment, zone)
    if time.kind is Kind.LOCAL:
        return f"TIMESTAMP '{local.isoformat(sep=' ')}'"
    return f"DATE '{local.date() if last else _first_midnight(local)}'"


def _first_midnight(local: datetime) -> date:
    """Return the first day whose midnight is not before a moment."""
    whole = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return (whole if whole == local else whole + timedelta(days=1)).date()


def _local(moment: datetime, zone: str) -> datetime:
    try:
        return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    except OverflowError:
        return moment.replace(tzinfo=None)


def _clocks_change(moment: datetime, zone: str) -> bool:
    """Say whether local times around a moment occur twice or never: then a window is asked for generously."""
    if not _EARLIEST < moment < _LATEST:
        return False
    known = ZoneInfo(zone)
    before, after = (moment + offset for offset in (-_ODD_HOURS, _ODD_HOURS))
    return before.astimezone(known).utcoffset() != after.astimezone(known).utcoffset()

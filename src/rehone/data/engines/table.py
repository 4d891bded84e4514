"""Make a lazy frame of any engine readable in the same way: time as a number, columns as numbers or texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rehone.config import Data
from rehone.data.engines.dialects import Dialect, dialect_of
from rehone.data.engines.naming import first_line
from rehone.data.schema import family
from rehone.errors import ConfigError, DataError
from rehone.records import Window

MICROS, DUE, KNOWN = "__us__", "__due__", "__known__"
"""Event time, due time of the label and when it became known, as microseconds of UTC since 1970."""

ONE = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_END = datetime(2100, 1, 1, tzinfo=UTC)
_FIRST, _LAST = ((datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // ONE for year in (2, 9999))
LARGEST = 1.7976931348623157e308
QUARTER, DAY = 900_000_000, 86_400_000_000


def micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return (moment.astimezone(UTC) - EPOCH) // ONE


def moment_of(number: float) -> datetime:
    """Return the moment that many microseconds after 1970, within the years that Python can count in."""
    return EPOCH + timedelta(microseconds=min(max(int(number), _FIRST), _LAST))


def narwhals() -> Any:
    """Import what speaks to every engine.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import narwhals.stable.v2 as nw
    except ImportError as error:
        raise ConfigError(
            "data.source", ["frames of an engine are read through narwhals: pip install 'rehone[engines]'"]
        ) from error
    return nw


@dataclass(frozen=True, slots=True)
class Table:
    """A lazy frame of an engine, with the columns that its own language had to make.

    `types` are its columns as Polars names their types. `rows` is the frame in Narwhals.
    """

    policy: Data
    dialect: Dialect
    types: Mapping[str, pl.DataType]
    native: Any = field(repr=False)
    rows: Any = field(repr=False)

    def within(self, window: Window) -> Any:
        """Return the rows of a window, lazily."""
        time = narwhals().col(MICROS)
        return self.rows.filter((time >= micros(window.start)) & (time < micros(window.end)))

    def number(self, name: str) -> Any:
        """Read a column as float64; null and NaN are null, and so is everything that is no number."""
        nw, dtype = narwhals(), self.types[name]
        if isinstance(dtype, pl.Boolean):
            return _of_boolean(name, nw.lit(1.0), nw.lit(0.0))
        if not dtype.is_numeric():
            return nw.lit(None, dtype=nw.Float64)
        # DuckDB takes the least and greatest value that Parquet names for all there are, and so no value
        # for NaN, whatever it is: behind a condition it looks
        column = nw.when(~nw.col(name).is_null()).then(nw.col(name).cast(nw.Float64))
        return column if dtype.is_integer() else nw.when(~column.is_nan()).then(column)

    def text(self, name: str) -> Any:
        """Read a column as categories: 3 and 3.0 are one, NaN and infinity are null."""
        nw, dtype = narwhals(), self.types[name]
        if isinstance(dtype, pl.Boolean):
            return _of_boolean(name, nw.lit("true"), nw.lit("false"))
        if family(dtype) == "text":
            return nw.col(name) if isinstance(dtype, pl.String) else nw.col(name).cast(nw.String)
        if dtype.is_integer():
            return self.digits(name)
        if not dtype.is_numeric():
            return nw.lit(None, dtype=nw.String)
        return self._code(self.number(name))

    def digits(self, name: str) -> Any:
        """Write whole numbers as text; where a column with gaps became one of floats, without their point."""
        nw = narwhals()
        text = nw.col(name).cast(nw.String)
        return text.str.replace_all(r"\.0$", "") if self.dialect.codes_may_be_floats else text

    def literal(self, number: float) -> Any:
        """Write a number so that the engine reads the very same one."""
        nw = narwhals()
        return nw.lit(repr(number)).cast(nw.Float64) if self.dialect.spells_numbers else nw.lit(number)

    def _code(self, number: Any) -> Any:
        nw = narwhals()
        small = number.abs() < 2.0**53
        safe = nw.when(small).then(number).otherwise(nw.lit(0.0))
        whole = small & (safe == safe.floor())
        digits = safe.floor().cast(nw.Int64).cast(nw.String)
        return nw.when(whole).then(digits).otherwise(nw.when(number.abs() <= LARGEST).then(number.cast(nw.String)))

    def ask(self, rows: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return one row of aggregates; what an engine calls NaN, for want of a value, is `None`."""
        return self.fetch(rows.select(*(expression.alias(name) for name, expression in asked.items())))[0]

    def fetch(self, rows: Any) -> list[dict[str, Any]]:
        """Run a query and return its few rows."""
        listed: list[dict[str, Any]] = self._collected(rows).to_pylist()
        return [{name: _plain(value) for name, value in row.items()} for row in listed]

    def frame(self, rows: Any) -> pl.DataFrame:
        """Run a query and return its rows."""
        found = pl.from_arrow(self._collected(rows))
        if not isinstance(found, pl.DataFrame):
            raise TypeError(type(found).__name__)
        return found.select(name for name in found.columns if not name.startswith("__index_level_"))

    def _collected(self, rows: Any) -> Any:
        try:
            return rows.collect("pyarrow").to_native()
        except Exception as error:  # engines raise what they like, with a hundred lines of Java in it
            raise self.failed(error) from error

    def failed(self, error: BaseException) -> DataError:
        """Say in one line that the engine could not do what it was asked."""
        return DataError(
            f"{self.dialect.title} could not answer ({first_line(error)}): look at the query of data.source, at its "
            "columns and at the cluster, then run again"
        )


def floored(column: Any, step: int) -> Any:
    """Round whole numbers down to a multiple; engines differ in the remainder of negative ones."""
    return column - ((column % step) + step) % step


def _of_boolean(name: str, true: Any, false: Any) -> Any:
    """Compare rather than negate: booleans with gaps may be objects."""
    nw = narwhals()
    column = nw.col(name)
    return (
        nw.when(column == nw.lit(value=True)).then(true).otherwise(nw.when(column == nw.lit(value=False)).then(false))
    )


def count_if(condition: Any) -> Any:
    """Count rows: the one primitive that means the same to every engine."""
    return narwhals().when(condition).then(1).otherwise(0).sum()


def open_table(policy: Data, frame: Any) -> Table:
    """Open a lazy frame: name its types, and make its moments numbers.

    Raises:
        DataError: it is no frame, its engine is not known, or it has no column of event times.
        ConfigError: narwhals is not installed.
    """
    nw = narwhals()
    try:
        lazy = nw.from_native(frame).lazy()
    except TypeError as error:
        raise DataError(
            f"data.source gave {type(frame).__name__}, need a lazy frame of PySpark, DuckDB, Dask, SQLFrame or Polars: "
            "return the frame itself"
        ) from error
    dialect = dialect_of(lazy.implementation.value)
    table = Table(policy, dialect, {}, lazy.to_native(), lazy)
    try:
        types = {name: _type_of(nw, dtype) for name, dtype in lazy.collect_schema().items()}
    except Exception as error:  # the plan of a lazy frame is only looked at now
        raise table.failed(error) from error
    return _timed(_with_text_ids(Table(policy, dialect, types, table.native, lazy)))


def _with_text_ids(table: Table) -> Table:
    """Read ids that Polars has no type for, such as UUIDs, as text."""
    nw, roles = narwhals(), {table.policy.id_column, table.policy.entity_column}
    odd = [n for n, t in table.types.items() if n in roles and family(t) not in ("number", "text", "Boolean", "time")]
    if not odd:
        return table
    rows = table.rows.with_columns(*(nw.col(name).cast(nw.String) for name in odd))
    types = {**table.types, **dict.fromkeys(odd, pl.String())}
    return Table(table.policy, table.dialect, types, rows.to_native(), rows)


def _timed(table: Table) -> Table:
    nw, policy = narwhals(), table.policy
    time = _time_column(table)
    due = policy.label_due_column
    known = _label_time(table)
    wanted = {MICROS: time} | ({DUE: due} if due is not None and due in table.types else {})
    wanted |= {KNOWN: known} if known is not None else {}
    kinds = {name: _kind(table.types[name], name) for name in wanted.values()}
    try:
        native = table.dialect.moments(table.native, wanted, kinds)
        rows = nw.from_native(native).lazy()
        local = [new for new, old in wanted.items() if kinds[old] != "zoned"]
        if policy.timezone != "UTC" and local:
            rows = _in_utc(Table(policy, table.dialect, table.types, native, rows), local)
    except DataError:
        raise
    except Exception as error:  # the plan is built by the engine, which raises what it likes
        raise table.failed(error) from error
    return Table(policy, table.dialect, table.types, native, rows)


def _time_column(table: Table) -> str:
    name = table.policy.time_column
    if name is None:
        raise DataError(
            "data.time_column is not set: name the column of event times; a frame has no dates in file names"
        )
    if name not in table.types:
        raise DataError(
            f"time column {name!r} is not in the frame of data.source: its columns are {', '.join(list(table.types)[:20])}. "
            "Correct data.time_column"
        )
    return name


def _label_time(table: Table) -> str | None:
    name = table.policy.label_time_column
    if name is not None and name not in table.types:
        raise DataError(
            f"label_time_column {name!r} is not in the frame of data.source: its columns are "
            f"{', '.join(list(table.types)[:20])}. Correct it, or use label_delay_days"
        )
    return name


def as_known(table: Table, as_of: datetime) -> Table:
    """Hide the labels that became known after a moment; without data.label_time_column nothing is hidden."""
    name, label = table.policy.label_time_column, table.policy.label
    if name is None:
        return table
    nw = narwhals()
    seen = nw.col(KNOWN) <= micros(as_of)
    columns = [c for c in (label, name, KNOWN) if c in table.types or c == KNOWN]
    rows = table.rows.with_columns(*(nw.when(seen).then(nw.col(c)).alias(c) for c in columns))
    return Table(table.policy, table.dialect, table.types, rows.to_native(), rows)


def _kind(dtype: pl.DataType, name: str) -> str:
    if isinstance(dtype, pl.Date):
        return "date"
    if isinstance(dtype, pl.Datetime):
        return "zoned" if dtype.time_zone else "local"
    raise DataError(
        f"column {name!r} holds {dtype}, need a timestamp or a date: cast it in the frame that data.source gives"
    )


def _in_utc(table: Table, names: Sequence[str]) -> Any:
    """Turn wall clocks of `data.timezone` into UTC, one offset for each stretch between two clock changes."""
    nw = narwhals()
    ends = table.ask(table.rows, {f"{n}{what}": getattr(nw.col(n), what)() for n in names for what in ("min", "max")})
    made = []
    for name in names:
        low, high = ends[f"{name}min"], ends[f"{name}max"]
        if low is None or high is None:
            continue
        changes = list(_changes(ZoneInfo(table.policy.timezone), int(low), int(high)))
        shifted = nw.col(name) - changes[-1][1]
        for (_, before), (until, _) in reversed(list(pairwise(changes))):
            shifted = nw.when(nw.col(name) < until).then(nw.col(name) - before).otherwise(shifted)
        made.append(shifted.alias(name))
    return table.rows.with_columns(*made) if made else table.rows


def _changes(zone: ZoneInfo, low: int, high: int) -> Iterable[tuple[int, int]]:
    """Yield wall times from which an offset holds, both in microseconds; the first from ever.

    A wall time that occurs twice is the first of the two; one that never occurs is counted from
    the offset before the change. Before 1970 and after 2100 clocks are not looked at: a moment such
    as 9999-12-31 stands for none, and an engine can plan only so many conditions.
    """
    first, last = (min(max(moment_of(end), EPOCH), _CLOCKS_END) for end in (low, high))
    at, end = first - timedelta(days=2), last + timedelta(days=2)
    offset = _offset(zone, at)
    yield (low - 10 * DAY, offset)
    while at < end:
        after = at + timedelta(days=1)
        if _offset(zone, after) != offset:
            change = _change(zone, at, after)
            new = _offset(zone, change)
            yield (micros(change) + max(offset, new), new)
            at, offset = change, new
        else:
            at = after


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """Return the first minute that has the offset of `high`."""
    before = _offset(zone, low)
    while high - low > timedelta(minutes=1):
        middle = low + timedelta(minutes=(high - low) // timedelta(minutes=2))
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return high


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    return offset // ONE


def _type_of(nw: Any, dtype: Any) -> pl.DataType:
    """Name a type as Polars does; one that Polars has no use for is an object."""
    if isinstance(dtype, nw.Datetime):
        return pl.Datetime("us", "UTC" if dtype.time_zone else None)
    if isinstance(dtype, nw.Decimal):
        return pl.Decimal(38, 9)
    if isinstance(dtype, nw.Enum | nw.Categorical):
        return pl.String()
    same: Any = getattr(pl, type(dtype).__name__ if not isinstance(dtype, type) else dtype.__name__, None)
    if same is None or dtype.is_nested():
        return pl.Object()
    made = same()
    return made if isinstance(made, pl.DataType) else pl.Object()


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value

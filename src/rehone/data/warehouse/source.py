"""Read the rows of a query like those of files: days are asked for when they are first needed, each once."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from rehone.config import Data
from rehone.data.cache import Cache
from rehone.data.facts import DataFacts
from rehone.data.files import FileInfo
from rehone.data.opening import TICK, Opened
from rehone.data.schema import reserved
from rehone.data.source import Source
from rehone.data.times import TIME, instant, midnight
from rehone.data.warehouse.adbc import Database, connect
from rehone.data.warehouse.extract import Days, Folder, keep
from rehone.data.warehouse.sql import TIMES, Column, Kind, odd_times, rows_between, span_before
from rehone.errors import DataError
from rehone.records import Check, Counts, DataWindow, Profile, Window

_DAY = timedelta(days=1)


def open_warehouse(policy: Data, root: Path, *, cache: Path | None, as_of: datetime) -> Warehouse:
    """Open the query of a database as it is now; rows from `as_of` on are never asked for.

    Raises:
        ConfigError: the driver is not installed.
        SourceAway: the server does not answer.
        DataError: the query cannot be asked, or it gives no time that can be asked by.
    """
    folder = Folder(cache)
    try:
        table = Table(policy, root, folder.path)
        return Warehouse(policy, as_of.astimezone(UTC), table, folder)
    except BaseException:  # whatever ends it, Ctrl-C too, leaves no folder behind
        folder.remove()
        raise


class Table:
    """The query as the database describes it. A connection that was let go is opened again when needed."""

    def __init__(self, policy: Data, root: Path, scratch: Path) -> None:
        self._policy, self._where = policy, (policy.source, root, scratch / "spilled")
        self._database: Database | None = None
        self.query = policy.query or ""
        self.columns = {column.name: column for column in self.database.columns(self.query)}
        self.time = _time(self.columns, policy)
        ids = {policy.id_column, policy.entity_column}
        self._asked = {
            name: column.asked(as_text=name in ids)
            for name, column in self.columns.items()
            if column.kind is not Kind.OTHER
        }
        types = self.database.types(self.query, list(self._asked.values()))
        self.types = {name: types.get(name, pl.Binary()) for name in self.columns}

    @property
    def database(self) -> Database:
        if self._database is None or self._database.lost:
            self._database = connect(*self._where)
        return self._database

    @property
    def can_be_asked(self) -> set[str]:
        return set(self._asked)

    def question(self, window: Window, columns: Iterable[str]) -> str:
        """Write what is asked for the rows of a window."""
        asked = [self._asked[name] for name in self.columns if name in set(columns)]
        return rows_between(self.query, asked, self.time, window, self._policy.timezone)

    def rows(self, window: Window, columns: Iterable[str]) -> Iterator[pl.DataFrame]:
        """Return the rows of a window by time, in batches, with the event time as `__time__`."""
        time = instant(self.time.name, self.types[self.time.name], self._policy.timezone).alias(TIME)
        for batch in self.database.rows(self.question(window, columns)):
            inside = batch.with_columns(time).filter(pl.col(TIME).is_between(window.start, window.end, closed="left"))
            if inside.height:
                yield inside

    def span(self, end: datetime) -> Window | None:
        """Return the stretch of all events before a moment."""
        first, last = map(
            self._moment, self.database.row(span_before(self.query, self.time, end, self._policy.timezone))
        )
        if first is None or last is None:
            return None
        last = min(last, end - TICK)
        return Window(min(first, last), last + TICK)

    def odd(self, after: datetime) -> tuple[int, int, datetime | None]:
        """Return how many rows have no time, how many one after a moment, and the newest of those."""
        untimed, later, newest = self.database.row(odd_times(self.query, self.time, after, self._policy.timezone))
        return int(untimed), int(later), self._moment(newest)

    def release(self) -> None:
        """Let the connection and its transaction go."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _moment(self, value: datetime | date | None) -> datetime | None:
        if value is None:
            return None
        zone = self._policy.timezone
        if not isinstance(value, datetime):
            return midnight(value, zone)
        if value.tzinfo is not None:
            return value.astimezone(UTC)
        series = pl.DataFrame({"t": [value]}, schema={"t": pl.Datetime("us")})
        moment: datetime = series.select(instant("t", pl.Datetime("us"), zone)).item()
        return moment


class Warehouse(Source):
    """The rows of a query. What was asked for once lies in files of this opening, and is not asked again."""

    def __init__(self, policy: Data, as_of: datetime, table: Table, folder: Folder) -> None:
        self._got: tuple[FileInfo, ...] = ()
        self._table, self._folder = table, folder
        self._days = Days()
        self._have: Window | None = None
        blank = pl.DataFrame(schema=table.types)
        self._blank = folder.write(blank, Window(as_of, as_of))
        super().__init__(policy, as_of, Opened((self._blank,), ()), Cache(None))
        self._chosen = {*self.features(), *reserved(policy)} & table.can_be_asked
        self._whole_span = table.span(as_of)
        self._untimed = 0
        self._found = tuple(_in_words(check, table.columns) for check in self._found)

    @property
    def files(self) -> tuple[FileInfo, ...]:
        """The files of what was asked for so far; at first one without rows."""
        return self._got or (self._blank,)

    @files.setter
    def files(self, _: tuple[FileInfo, ...]) -> None:
        """Nothing is set aside: a part of what was asked for cannot be left out."""

    @property
    def extent(self) -> str:
        """How much there is, in words."""
        span = self._whole_span
        return (
            f"a database with rows from {span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}"
            if span
            else "a database without rows"
        )

    def span(self) -> Window | None:
        """Return the stretch from the first event to just after the last one before as-of."""
        return self._whole_span

    def scan(self, window: Window, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows of a window before as-of, lazily, by time.

        Raises:
            DataError: there is no such column, or the database cannot be asked.
        """
        self._choose(columns or ())
        return super().scan(window, columns)

    def counts(self, window: Window, profile: Profile) -> Counts:
        """Count the rows of a window into a champion's bins."""
        score = self._policy.score_column
        self._choose([*(feature.feature for feature in profile.features), *([score] if score else [])])
        window = self._clip(window)
        return self._try_again(lambda: self._count(self._rows(window), profile))

    def facts(
        self, window: Window, features: Sequence[str], *, now: datetime, profile: Profile | None = None
    ) -> DataFacts:
        """Gather what `validate` judges, in streamed aggregates over the window."""
        self._choose(features)
        found = super().facts(window, features, now=now, profile=profile)
        return replace(found, untimed_rows=self._untimed)

    def describe(self, window: Window) -> DataWindow:
        """Name what was asked for a window, word for word, and for each day in UTC its rows and their digest.

        Days are whole, so that the first may hold rows before the window.
        """
        window = self._clip(window)
        rows, positives = self._try_again(lambda: self._sizes(window))
        days = self._days.within(window)
        lines = [*(f"{d.path} {d.sha256}" for d in days), f"{window.start.isoformat()} {window.end.isoformat()}"]
        return DataWindow(
            source=f"{self._policy.source}: {self._table.question(window, self._chosen)}",
            window=window,
            rows=rows,
            positives=positives if self._policy.label in self.columns else None,
            sha256=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            files=days,
        )

    def release(self) -> None:
        """Let the connection and its snapshot go; what is asked later is asked in a new one."""
        self._table.release()

    # what is asked of the database

    def _choose(self, names: Iterable[str]) -> None:
        """See that columns come along; what was asked without them is asked again."""
        more = {*names} & self._table.can_be_asked - self._chosen
        if more:
            self._chosen |= more
            self._got, self._have, self._days = (), None, Days()

    def _overlapping(self, window: Window) -> tuple[FileInfo, ...]:
        self._need(window)
        return super()._overlapping(window)

    def _need(self, window: Window) -> None:
        """Ask for the days of a window that are not there yet."""
        span = self._whole_span
        if span is None or window.start >= window.end or span.start >= window.end or window.start >= span.end:
            return
        start = max(_midnight(window.start), _midnight(span.start))
        end = min(self.as_of, _midnight(window.end - TICK) + _DAY)
        if self._have is None:
            self._ask(Window(start, end))
            return
        if start < self._have.start:
            self._ask(Window(start, self._have.start))
        if end > self._have.end:
            self._ask(Window(self._have.end, end))

    def _ask(self, window: Window) -> None:
        parts = tuple(keep(self._table.rows(window, self._chosen), self._folder, self._days))
        self._got = tuple(sorted((*self._got, *parts), key=lambda f: f.span.start if f.span else self.as_of))
        have = self._have or window
        self._have = Window(min(have.start, window.start), max(have.end, window.end))

    # what a file would say

    def _dated_after(self, moment: datetime) -> tuple[int, datetime | None]:
        self._untimed, later, newest = self._table.odd(moment)
        return later, newest

    def _damage(self, _file: FileInfo) -> None:
        """No part of what was asked for can be set aside."""


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _time(columns: Mapping[str, Column], policy: Data) -> Column:
    """Return the column by which a window is asked for."""
    name = policy.time_column or ""
    column = columns.get(name)
    if column is None:
        near = difflib.get_close_matches(name, columns, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(list(columns)[:20])}."
        raise DataError(f"{policy.source}: data.query gives no time column {name!r}: {hint} Correct data.time_column")
    if column.kind not in TIMES:
        raise DataError(
            f"{policy.source}: the time column {name!r} is {column.declared}, by which no window can be asked for: "
            f"write CAST({column.own} AS timestamptz) AS {column.own} in data.query, or another expression that gives a time"
        )
    return column


def _in_words(check: Check, columns: Mapping[str, Column]) -> Check:
    """Say why a column is left out in the words of the database."""
    column = columns.get(check.subject or "")
    if check.name != "column_left_out" or column is None:
        return check
    return replace(
        check,
        detail=f"column {column.name!r} is not used as a feature: its type {column.declared} is not numeric, boolean or text",
        remedy="name it in data.exclude to say so, or cast it in data.query to what it means",
    )

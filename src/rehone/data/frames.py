"""Read each file as the same frame: event time in UTC, the label as 0 or 1, one type for each column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from rehone.config import Data
from rehone.data.facts import ODD_LABEL
from rehone.data.files import FileInfo
from rehone.data.schema import family, unify
from rehone.data.times import INSTANT, TIME, instant, is_time, midnight
from rehone.records import Window


@dataclass(frozen=True, slots=True)
class Reader:
    """Knows how the columns of any file become the agreed ones.

    A label that became known after `as_of` is null, and so is the time at which it did.
    """

    policy: Data
    columns: Mapping[str, pl.DataType]
    as_of: datetime

    def frame(self, file: FileInfo, window: Window | None = None) -> pl.LazyFrame:
        """Read one file; one that lies wholly inside the window needs no filter."""
        stored = self._stored(file)
        policy = self.policy
        if policy.time_column is None and file.day is not None:
            time: pl.Expr = pl.lit(midnight(file.day, policy.timezone), dtype=INSTANT)
        else:
            time = instant(policy.time_column or "", file.schema[policy.time_column or ""], policy.timezone)
        columns = [self._column(file, stored, name, agreed) for name, agreed in self._ordinary()]
        both = self._labels(file, stored)
        rows = file.scan(stored).select(time.alias(TIME), *columns, *both)
        if window is None or is_inside(file, window):
            return rows.filter(pl.col(TIME).is_not_null()) if file.untimed else rows
        return rows.filter(pl.col(TIME).is_between(window.start, window.end, closed="left"))

    def frames(self, files: Sequence[FileInfo], window: Window | None = None) -> pl.LazyFrame:
        """Read several files, one after the other; none gives a frame without rows."""
        if not files:
            types = {TIME: INSTANT, **dict(self._ordinary()), self.policy.label: pl.Int8(), ODD_LABEL: pl.String()}
            return pl.LazyFrame(schema=types)
        return pl.concat([self.frame(file, window) for file in files], how="vertical")

    def _ordinary(self) -> Iterator[tuple[str, pl.DataType]]:
        apart = (self.policy.time_column, self.policy.label, TIME)
        return ((name, dtype) for name, dtype in self.columns.items() if name not in apart)

    def _stored(self, file: FileInfo) -> dict[str, pl.DataType]:
        """Return the types as they are read: text files give codes as text, with their zeros."""
        stored = dict(file.schema)
        if file.format != "parquet":
            text = (name for name, agreed in self._ordinary() if name in stored and family(agreed) == "text")
            stored.update(dict.fromkeys(text, pl.String()))
        return stored

    def _labels(self, file: FileInfo, stored: Mapping[str, pl.DataType]) -> tuple[pl.Expr, pl.Expr]:
        both, known = labels(self.policy.label, stored.get(self.policy.label), file.partitions), self._is_known(stored)
        if known is None:
            return both
        label, odd = (pl.when(known).then(each) for each in both)
        return label.alias(self.policy.label), odd.alias(ODD_LABEL)

    def _is_known(self, stored: Mapping[str, pl.DataType]) -> pl.Expr | None:
        """Say of each row whether its label was known; a label whose time is not there is not."""
        name = self.policy.label_time_column
        if name is None:
            return None
        if name not in stored or not is_time(stored[name]):
            return pl.lit(value=False)
        return (instant(name, stored[name], self.policy.timezone) <= self.as_of).fill_null(value=False)

    def _column(self, file: FileInfo, stored: Mapping[str, pl.DataType], name: str, agreed: pl.DataType) -> pl.Expr:
        if name in stored and name == self.policy.label_time_column:
            read = unify(name, stored[name], agreed, self.policy)
            return pl.when(read <= self.as_of).then(read).alias(name)
        if name in stored:
            return unify(name, stored[name], agreed, self.policy).alias(name)
        return pl.lit(file.partitions.get(name), dtype=pl.String()).cast(agreed, strict=False).alias(name)


def is_inside(file: FileInfo, window: Window) -> bool:
    """Say whether all events of a file lie in a window."""
    return file.span is not None and window.start <= file.span.start and file.span.end <= window.end


def labels(name: str, stored: pl.DataType | None, partitions: Mapping[str, str | None]) -> tuple[pl.Expr, pl.Expr]:
    """Return the label as 0, 1 or null, and what it was when it is none of these, as text."""
    if stored is None:
        value = partitions.get(name)
        known = int(value) if value in ("0", "1") else None
        odd = value if known is None else None
        return pl.lit(known, dtype=pl.Int8()).alias(name), pl.lit(odd, dtype=pl.String()).alias(ODD_LABEL)
    raw = pl.col(name)
    if isinstance(stored, pl.Boolean):
        return raw.cast(pl.Int8), pl.lit(None, dtype=pl.String()).alias(ODD_LABEL)
    if not stored.is_numeric():
        odd_text = raw.cast(pl.String, strict=False) if family(stored) in ("text", "time") else pl.lit(str(stored))
        return pl.lit(None, dtype=pl.Int8()).alias(name), pl.when(raw.is_not_null()).then(odd_text).alias(ODD_LABEL)
    there = raw.is_not_null() & raw.is_not_nan() if stored.is_float() else raw.is_not_null()
    binary = pl.when(raw == 1).then(1).when(raw == 0).then(0).cast(pl.Int8)
    odd_number = pl.when(there & (raw != 0) & (raw != 1)).then(raw.cast(pl.String))
    return binary.alias(name), odd_number.alias(ODD_LABEL)

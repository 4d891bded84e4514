"""Find the data of a new project: its files, their columns, and rows enough to judge them by."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from rehone.config import Data
from rehone.data import files as listing
from rehone.data import schema
from rehone.data.files import FileInfo
from rehone.data.times import TIME, instant
from rehone.errors import DataError

SAMPLE_ROWS = 100_000
SAMPLE_FILES = 400
FILE_DAY = "__file_day__"
_PLAIN = Data()


@dataclass(frozen=True, kw_only=True)
class Found:
    """The readable files of a source, the type agreed on for each column, and what was noticed."""

    source: str
    files: tuple[FileInfo, ...]
    columns: Mapping[str, pl.DataType]
    notes: tuple[str, ...] = ()

    @property
    def dated(self) -> bool:
        """Say whether every file carries a date in its name."""
        return all(file.day is not None for file in self.files)


def find(folder: Path) -> Found:
    """Find Parquet files, or else CSV files, in the folder's `data` folder, in itself or below.

    Raises:
        DataError: there are none, or none can be read.
    """
    for suffix in ("parquet", "csv", "csv.gz"):
        for pattern in (f"data/*.{suffix}", f"*.{suffix}", f"data/**/*.{suffix}", f"**/*.{suffix}"):
            with contextlib.suppress(DataError):
                return _opened(pattern, listing.find(pattern, folder))
    data = _anything(folder)
    raise DataError(
        f"no readable Parquet or CSV file in {folder}, in {folder / 'data'} or below{data}: "
        "name the folder that holds the data, or put the files there"
    )


def _anything(folder: Path) -> str:
    found = sum(1 for p in folder.rglob("*") if p.is_file() and p.suffix in (".parquet", ".csv", ".gz"))
    return f" ({found} such file{'s' if found != 1 else ''}, none can be read)" if found else ""


def _opened(pattern: str, files: Sequence[FileInfo]) -> Found:
    opened, notes = [], []
    for file in files:
        try:
            opened.append(replace(file, schema=listing.footer(file)))
        except listing.READ_ERRORS as error:
            notes.append(f"{listing.unreadable(file, error).sentence}.")
    if not opened:
        raise DataError("none can be read")
    kept = _alike(opened, notes)
    if len(files) == 1 and files[0].day is None:
        pattern = files[0].path
    agreed = schema.agree(kept, _PLAIN)
    notes += [check.sentence for check in agreed.findings if check.name == "schema"]
    return Found(source=pattern, files=tuple(kept), columns=_usable(agreed.columns, kept), notes=tuple(notes))


def _alike(files: list[FileInfo], notes: list[str]) -> list[FileInfo]:
    """Keep the files that share half of their columns with the most common set of columns."""
    shapes = Counter(frozenset(file.schema) for file in files)
    usual = shapes.most_common(1)[0][0]
    kept = [file for file in files if 2 * len(usual & set(file.schema)) >= len(usual | set(file.schema))]
    if len(kept) < len(files):
        strange = next(file.path for file in files if file not in kept)
        notes.append(
            f"{len(files) - len(kept)} of {len(files)} files have other columns than the rest, the first is {strange}: "
            "move them away, or name the files that are meant in data.source."
        )
    return kept


def _usable(columns: Mapping[str, pl.DataType], files: Sequence[FileInfo]) -> dict[str, pl.DataType]:
    """Leave out partition keys that only say when."""
    clocks = {
        key
        for file in files
        for key, value in file.partitions.items()
        if key not in file.schema and (key in ("year", "month", "day", "hour") or (value and listing.has_date(value)))
    }
    return {name: dtype for name, dtype in columns.items() if name not in clocks}


def sample(found: Found) -> pl.DataFrame:
    """Draw about `SAMPLE_ROWS` rows spread evenly over the files, with the day in the file's name.

    Raises:
        DataError: rows of a file cannot be read; every such file of the sample is named.
    """
    picked = _spread(found.files)
    total = sum(frame.item() for frame in pl.collect_all([file.scan().select(pl.len()) for file in picked]))
    share = SAMPLE_ROWS / max(total, 1)
    try:
        return pl.concat([_thinned(_read(file, found), share) for file in picked]).collect()
    except listing.READ_ERRORS as error:
        raise DataError("\n".join(_broken(picked, found)) or f"{found.source} cannot be read: {error}") from None


def _broken(files: Sequence[FileInfo], found: Found) -> Iterator[str]:
    """Say which files have a good footer or header and rows that cannot be read."""
    for file in files:
        try:
            _read(file, found).collect()
        except listing.READ_ERRORS as error:
            yield listing.unreadable(file, error).sentence


def _spread(files: tuple[FileInfo, ...]) -> list[FileInfo]:
    if len(files) <= SAMPLE_FILES:
        return list(files)
    step = (len(files) - 1) / (SAMPLE_FILES - 1)
    return [files[round(i * step)] for i in range(SAMPLE_FILES)]


def _read(file: FileInfo, found: Found) -> pl.LazyFrame:
    return file.scan().select(*_columns(file, found), pl.lit(file.day, pl.Date).alias(FILE_DAY))


def _columns(file: FileInfo, found: Found) -> Iterator[pl.Expr]:
    for name, dtype in found.columns.items():
        if name in file.schema:
            yield schema.unify(name, file.schema[name], dtype, _PLAIN)
        else:
            yield pl.lit(file.partitions.get(name)).cast(dtype, strict=False).alias(name)


def _thinned(rows: pl.LazyFrame, share: float) -> pl.LazyFrame:
    if share >= 1:
        return rows
    mixed = (pl.col("__row__").cast(pl.UInt64) * 2_654_435_761) % 1_000_003
    return rows.with_row_index("__row__").filter(mixed < int(share * 1_000_003)).drop("__row__")


def calendar(found: Found, label: str, time: str | None, zone: str) -> pl.DataFrame:
    """Count all rows by day: columns `day`, `rows`, `labelled`, `positives`, sorted by day."""
    parts = [_by_day(file, found, label, time, zone) for file in found.files]
    frame = pl.concat(parts).group_by("day").sum().drop_nulls("day").sort("day")
    return frame.collect()


def _by_day(file: FileInfo, found: Found, label: str, time: str | None, zone: str) -> pl.LazyFrame:
    rows = _read(file, found)
    if time is None:
        day = pl.col(FILE_DAY)
    else:
        day = instant(time, found.columns[time], zone).dt.convert_time_zone(zone).dt.date()
    value = pl.col(label).cast(pl.Float64, strict=False)
    counts = (
        pl.len().cast(pl.Int64).alias("rows"),
        value.count().cast(pl.Int64).alias("labelled"),
        value.sum().alias("positives"),
    )
    return rows.select(day.alias("day"), pl.col(label)).group_by("day").agg(*counts)


def with_time(rows: pl.DataFrame, time: str | None, zone: str) -> pl.DataFrame:
    """Add the event time of each row, and sort by it."""
    moment = pl.col(FILE_DAY).cast(pl.Datetime("us", "UTC")) if time is None else instant(time, rows.schema[time], zone)
    return rows.with_columns(moment.alias(TIME)).sort(TIME, maintain_order=True)

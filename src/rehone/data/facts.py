"""Gather what must be known of a window before it is learned from, in lazy aggregates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rehone.config import Data
from rehone.data.schema import kind_of
from rehone.data.times import TIME, local_days
from rehone.records import Check, FeatureKind, FeatureProfile, Profile, Window

ODD_LABEL = "__odd_label__"
HUGE = 1e30
CLOCK_TOLERANCE = timedelta(minutes=15)

_SAMPLED_ABOVE = 1_000_000
_FIRST_ROWS = 2_000
_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """One feature over the matured rows of a window.

    `missing` counts null and NaN; `constant` says that all other values are the same one;
    `unseen` counts values of a categorical that the champion has never met.
    """

    name: str
    kind: FeatureKind
    dtype: str
    rows: int
    missing: int = 0
    infinite: int = 0
    huge: int = 0
    constant: bool = False
    unseen: int = 0
    unseen_values: tuple[str, ...] = ()

    @property
    def missing_share(self) -> float:
        return self.missing / self.rows if self.rows else 0.0

    @property
    def empty(self) -> bool:
        return self.missing == self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """A window as it was found. Counts are of rows before `as_of`; columns are of matured rows.

    `label_type` is `None` when no file has the label. `oldest` and `newest` are of the whole
    source; `missing_days` lie between its first event and its newest, inside the window.
    `future_rows` are later than both clocks; `misdated` files hold rows later than their own
    date allows; `unlabelled_files` hold matured rows and no label column. `findings` are what was seen of the files before any row was read.
    """

    source: str
    window: Window
    as_of: datetime
    now: datetime
    rows: int
    mature_rows: int
    mature_days: int
    positives: int
    null_labels: int
    odd_labels: int = 0
    odd_values: tuple[str, ...] = ()
    label_type: str | None = None
    columns: tuple[ColumnFacts, ...] = ()
    missing_features: tuple[str, ...] = ()
    unusable_features: tuple[tuple[str, str], ...] = ()
    known_columns: tuple[str, ...] = ()
    oldest: datetime | None = None
    newest: datetime | None = None
    missing_days: tuple[date, ...] = ()
    future_rows: int = 0
    future_newest: datetime | None = None
    misdated: tuple[tuple[str, datetime], ...] = ()
    dated_files: int = 0
    untimed_rows: int = 0
    first_due: datetime | None = None
    duplicate_ids: int = 0
    duplicate_id_rows: int = 0
    duplicate_share: float | None = None
    unlabelled_files: tuple[str, ...] = ()
    findings: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The columns that facts are wanted of, with their kinds, types and the champion's bins."""

    features: tuple[tuple[str, FeatureKind, pl.DataType], ...]
    label: str
    id_column: str | None
    known: Mapping[str, FeatureProfile]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The rows of a window, lazily, and how to tell which of them have a label that is due."""

    source: str
    window: Window
    as_of: datetime
    now: datetime
    zone: str
    span: Window | None
    rows: pl.LazyFrame
    likely_rows: int
    mature: pl.Expr
    mature_rows: pl.LazyFrame
    due: pl.Expr


def ask(features: Sequence[str], columns: Mapping[str, pl.DataType], policy: Data, profile: Profile | None) -> Asked:
    """Choose what to count: every usable feature."""
    kinds = ((n, kind_of(n, columns[n], policy.categorical), columns[n]) for n in features if n in columns)
    return Asked(
        tuple((n, kind, dtype) for n, kind, dtype in kinds if kind is not None),
        policy.label,
        policy.id_column if policy.id_column in columns else None,
        {f.feature: f for f in profile.features} if profile else {},
    )


def by_day(window: pl.LazyFrame, mature: pl.Expr, zone: str) -> pl.LazyFrame:
    """Count rows and matured rows of each local day."""
    marked = window.select(local_days(zone).alias("day"), mature.alias("mature"))
    return marked.group_by("day").agg(pl.len().alias("rows"), pl.col("mature").sum().alias("mature"))


def summary(mature: pl.LazyFrame, asked: Asked) -> pl.LazyFrame:
    """Ask for one row of aggregates over matured rows."""
    label = pl.col(asked.label)
    parts = [
        pl.len().alias("rows"),
        (label == 1).sum().alias("positives"),
        (label.is_null() & pl.col(ODD_LABEL).is_null()).sum().alias("null_labels"),
        pl.col(ODD_LABEL).count().alias("odd_labels"),
    ]
    for i, (name, kind, dtype) in enumerate(asked.features):
        parts += [e.alias(f"{i}:{what}") for what, e in _of_column(name, kind, dtype, asked.known.get(name))]
    return mature.select(parts)


def _of_column(
    name: str, kind: FeatureKind, dtype: pl.DataType, known: FeatureProfile | None
) -> Iterator[tuple[str, pl.Expr]]:
    column = pl.col(name)
    yield "null", column.null_count()
    if dtype.is_float():
        yield "nan", column.is_nan().sum()
    if kind is not FeatureKind.CATEGORICAL:
        ordered = column.cast(pl.Int8) if kind is FeatureKind.BOOLEAN else column
        yield "low", ordered.min()
        yield "high", ordered.max()
    elif known is not None and known.kind is FeatureKind.CATEGORICAL:
        yield "unseen", _unseen(name, known).sum()


def wild(mature: pl.LazyFrame, asked: Asked, row: Mapping[str, Any]) -> pl.LazyFrame | None:
    """Ask how often the features whose extremes are beyond all sense are so; rarely needed."""
    parts = []
    for i, (name, kind, _) in enumerate(asked.features):
        if kind is not FeatureKind.NUMERIC:
            continue
        ends = [float(x) for x in (row[f"{i}:low"], row[f"{i}:high"]) if x is not None]
        if any(not abs(x) <= HUGE for x in ends):
            column = pl.col(name).cast(pl.Float64)
            finite = pl.when(column.is_finite()).then(column)
            parts += [
                column.is_infinite().sum().alias(f"{i}:infinite"),
                (finite.abs() > HUGE).sum().alias(f"{i}:huge"),
            ]
    return mature.select(parts) if parts else None


def varied(mature: pl.LazyFrame, asked: Asked) -> pl.LazyFrame:
    """Ask for the extremes of categories, only where the first rows do not already differ."""
    names = [name for name, kind, _ in asked.features if kind is FeatureKind.CATEGORICAL]
    first = mature.select(names).head(_FIRST_ROWS).collect(engine="streaming")
    alike = [name for name in names if first[name].drop_nulls().n_unique() <= 1]
    places = {name: i for i, (name, _, _) in enumerate(asked.features)}
    parts = [
        e
        for n in alike
        for e in (pl.col(n).min().alias(f"{places[n]}:low"), pl.col(n).max().alias(f"{places[n]}:high"))
    ]
    return mature.select(parts or [pl.lit(0).alias("none")])


def _unseen(name: str, known: FeatureProfile) -> pl.Expr:
    return ~pl.col(name).is_in(list(known.values + known.pooled_values)) & pl.col(name).is_not_null()


def duplicates(mature: pl.LazyFrame, asked: Asked, rows: int) -> pl.LazyFrame:
    """Ask how many rows repeat another in every column.

    Above 1 million rows, the share is taken over the rows whose first columns hash into one of
    k classes: a row and its copies always fall into the same one, so that it stays unbiased.
    """
    names = [TIME, asked.label, *(n for n, _, _ in asked.features), *([asked.id_column] if asked.id_column else [])]
    few, one_in = names[:3], 1 + rows // _SAMPLED_ABOVE
    kept = mature.select(list(dict.fromkeys(names)))
    if one_in > 1:
        kept = kept.filter(_mixed(few) % one_in == 0)
    return kept.select(pl.len().alias("rows"), _mixed(names).n_unique().alias("distinct"))


def _mixed(names: Sequence[str]) -> pl.Expr:
    hashed = pl.col(names[0]).hash(0)
    for seed, name in enumerate(names[1:], 1):
        hashed = hashed ^ pl.col(name).hash(seed)
    return hashed


def repeated_ids(mature: pl.LazyFrame, id_column: str) -> pl.LazyFrame:
    """Ask how many ids occur more than once, and in how many rows."""
    each = mature.select(id_column).drop_nulls().group_by(id_column).agg(pl.len().alias("rows"))
    return each.filter(pl.col("rows") > 1).select(pl.len().alias("ids"), pl.col("rows").sum().alias("rows"))


def examples(mature: pl.LazyFrame, asked: Asked, row: Mapping[str, Any]) -> dict[str, pl.LazyFrame]:
    """Ask for a few of the odd labels and new categories that were counted."""
    wanted = {}
    if row["odd_labels"]:
        wanted[ODD_LABEL] = mature.select(ODD_LABEL).drop_nulls()
    for i, (name, _, _) in enumerate(asked.features):
        if row.get(f"{i}:unseen"):
            wanted[name] = mature.select(name).filter(_unseen(name, asked.known[name]))
    return {
        name: lazy.select(pl.col(name).cast(pl.String)).unique().sort(name).head(_EXAMPLES)
        for name, lazy in wanted.items()
    }


def columns_of(row: Mapping[str, Any], asked: Asked, shown: Mapping[str, tuple[str, ...]]) -> tuple[ColumnFacts, ...]:
    """Read the row of aggregates back, feature by feature."""
    found = []
    for i, (name, kind, dtype) in enumerate(asked.features):
        low, high = row.get(f"{i}:low"), row.get(f"{i}:high")
        found.append(
            ColumnFacts(
                name=name,
                kind=kind,
                dtype=str(dtype),
                rows=row["rows"],
                missing=(row[f"{i}:null"] or 0) + (row.get(f"{i}:nan") or 0),
                infinite=row.get(f"{i}:infinite") or 0,
                huge=row.get(f"{i}:huge") or 0,
                constant=low is not None and low == high,
                unseen=row.get(f"{i}:unseen") or 0,
                unseen_values=shown.get(name, ()),
            )
        )
    return tuple(found)


def gather(view: View, asked: Asked) -> DataFacts:
    """Ask everything of a window; what the files themselves say is added by the source."""
    mature = view.mature_rows
    lazies = [
        by_day(view.rows, view.mature, view.zone),
        summary(mature, asked),
        duplicates(mature, asked, view.likely_rows),
        varied(mature, asked),
        *([repeated_ids(mature, asked.id_column)] if asked.id_column else []),
    ]
    days, one, copies, more, *ids = pl.collect_all(lazies, engine="streaming")
    row, copied = {**more.row(0, named=True), **one.row(0, named=True)}, copies.row(0, named=True)
    if (extremes := wild(mature, asked, row)) is not None:
        row |= extremes.collect(engine="streaming").row(0, named=True)
    shown = _shown(examples(mature, asked, row))
    return DataFacts(
        source=view.source,
        window=view.window,
        as_of=view.as_of,
        now=view.now,
        rows=int(days["rows"].sum()),
        mature_rows=row["rows"],
        mature_days=int((days["mature"] > 0).sum()),
        positives=row["positives"] or 0,
        null_labels=row["null_labels"] or 0,
        odd_labels=row["odd_labels"] or 0,
        odd_values=shown.get(ODD_LABEL, ()),
        columns=columns_of(row, asked, shown),
        oldest=view.span.start if view.span else None,
        newest=view.span.end - timedelta(microseconds=1) if view.span else None,
        missing_days=missing_days(view.window, view.span, view.zone, days["day"].to_list()),
        first_due=None if row["rows"] else view.rows.select(view.due.min()).collect(engine="streaming").item(),
        duplicate_ids=int(ids[0]["ids"][0]) if ids else 0,
        duplicate_id_rows=int(ids[0]["rows"][0] or 0) if ids else 0,
        duplicate_share=1 - copied["distinct"] / copied["rows"] if copied["rows"] else None,
    )


def _shown(wanted: Mapping[str, pl.LazyFrame]) -> dict[str, tuple[str, ...]]:
    frames = pl.collect_all(list(wanted.values()), engine="streaming")
    return {name: tuple(frame.to_series().to_list()) for name, frame in zip(wanted, frames, strict=True)}


def missing_days(window: Window, span: Window | None, zone: str, days: Sequence[date]) -> tuple[date, ...]:
    """List the days without any row, from the first event or the window's start to the last day with rows."""
    if span is None or not days:
        return ()
    first = max(window.start, span.start).astimezone(ZoneInfo(zone)).date()
    there = set(days)
    length = (max(days) - first).days
    return tuple(d for d in (first + timedelta(days=i) for i in range(length)) if d not in there)

"""Suspect columns that a model must not learn from: ids, clocks, leaks and columns without content."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from rehone.config import Data
from rehone.data import schema
from rehone.data.times import TIME

LEAK_AUC = 0.97
NULL_GAP = 0.5
CLOCK_TREND = 0.8
FEWEST_ROWS = 100
FEWEST_OF_A_CLASS = 10
_ID = re.compile(r"(^|_)(id|ids|uuid|guid|key|hash|number|no|nr)$", re.IGNORECASE)
_ENTITY = re.compile(
    r"(customer|client|user|account|acct|card|member|patient|machine|device|merchant|driver|vehicle|sensor|subscriber|household)"
    r"_?(id|no|nr|num|number|key)$",
    re.IGNORECASE,
)
_CODE = re.compile(r"(^|_)(id|code|type|zip|zipcode|category|cluster|segment)$", re.IGNORECASE)
_AFTERWARDS = re.compile(
    r"(^|_)(outcome|result|label|target|resolution|resolved|chargeback|disposition|verdict|refunded)(_|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the sample beside the label; `rows` is sorted by event time."""

    name: str
    dtype: pl.DataType
    rows: pl.DataFrame
    label: str

    @property
    def values(self) -> pl.Series:
        return self.rows[self.name].drop_nulls()

    @property
    def distinct(self) -> int:
        return self.values.n_unique()


def reason(column: Column) -> str | None:
    """Say why a model must not learn from a column; `None` when nothing speaks against it."""
    rules: tuple[Callable[[Column], str | None], ...] = (
        _no_feature,
        _empty,
        _filled_by_outcome,
        _tells_the_label,
        _unique,
        _clock,
        _named_for_the_outcome,
    )
    return next((why for rule in rules if (why := rule(column))), None)


def is_id(column: Column) -> bool:
    """Say whether every row has a value of its own in a column named like an id."""
    return (
        bool(_ID.search(column.name))
        and column.rows.height >= FEWEST_ROWS
        and column.distinct == column.rows.height
        and (column.dtype.is_integer() or schema.family(column.dtype) == "text")
    )


def is_entity(column: Column) -> bool:
    """Say whether a column names the customer, card or machine that several rows belong to."""
    return bool(_ENTITY.search(column.name)) and 20 <= column.distinct <= 0.7 * column.rows.height


def is_code(column: Column) -> bool:
    """Say whether whole numbers are names rather than amounts."""
    return column.dtype.is_integer() and bool(_CODE.search(column.name)) and 3 <= column.distinct <= 50


def _no_feature(column: Column) -> str | None:
    if schema.family(column.dtype) == "time":
        return "a time, not an amount"
    if schema.kind_of(column.name, column.dtype, Data().categorical) is None:
        return f"its type {column.dtype} is neither numeric nor boolean nor text"
    return None


def _empty(column: Column) -> str | None:
    if not column.values.len():
        return "empty: no row has a value"
    return (
        "constant: every row has the same value"
        if column.distinct == 1 and not column.rows[column.name].null_count()
        else None
    )


def _unique(column: Column) -> str | None:
    n = column.values.len()
    if n < FEWEST_ROWS or column.dtype.is_float():
        return None
    share = column.distinct / n
    if share >= 0.95:
        return f"an id: {_percent(share)} of its values occur once"
    if schema.family(column.dtype) == "text" and share > 0.5:
        return f"nearly an id: {column.distinct:,} different texts in {n:,} rows"
    if _ID.search(column.name) and column.distinct > 50:
        return f"an id: {column.distinct:,} different values; a model would learn single cases by heart"
    return None


def _clock(column: Column) -> str | None:
    """A clock moves one way and stays there; the hour and the weekday come back and are none."""
    if not column.dtype.is_numeric() or column.distinct < 2:
        return None
    by_time = (
        column.rows.drop_nulls([column.name, TIME]).group_by(TIME).agg(pl.col(column.name).mean().alias("x")).sort(TIME)
    )
    steps = by_time["x"].cast(pl.Float64).diff().drop_nulls()
    if steps.len() < 20:
        return None
    trend = by_time.select(pl.corr("x", pl.col(TIME).to_physical(), method="spearman")).item()
    against = int(((steps < 0) if trend > 0 else (steps > 0)).sum())
    if abs(trend) < CLOCK_TREND or against > 0.01 * int((steps != 0).sum()):
        return None
    return f"a clock: it only ever {'grows' if trend > 0 else 'falls'} with time, so that no later value was seen in training"


def _labelled(column: Column) -> pl.DataFrame:
    return column.rows.select(
        pl.col(column.name).alias("x"), pl.col(column.label).cast(pl.Float64, strict=False).alias("y")
    ).drop_nulls("y")


def _both_classes(rows: pl.DataFrame) -> bool:
    positives = rows["y"].sum()
    return positives >= FEWEST_OF_A_CLASS and rows.height - positives >= FEWEST_OF_A_CLASS


def _filled_by_outcome(column: Column) -> str | None:
    rows = _labelled(column)
    if not _both_classes(rows):
        return None
    filled = rows.group_by("y").agg(pl.col("x").is_not_null().mean()).sort("y")["x"].to_list()
    if abs(filled[1] - filled[0]) < NULL_GAP:
        return None
    return f"a leak: filled in for {_percent(filled[1])} of positives and {_percent(filled[0])} of negatives"


def _tells_the_label(column: Column) -> str | None:
    rows = _labelled(column).drop_nulls("x")
    if not _both_classes(rows):
        return None
    scored = rows if column.dtype.is_numeric() or column.dtype == pl.Boolean else _rates(rows)
    if not _both_classes(scored):
        return None
    auc = _auc(scored)
    if auc < LEAK_AUC:
        return None
    return f"a leak: alone it has ROC-AUC {auc:.3f}, which only what is known afterwards reaches"


def _rates(rows: pl.DataFrame) -> pl.DataFrame:
    """Replace texts of every second row by the label rate of the same text in the other rows."""
    mixed = rows.with_row_index("i").with_columns(half=((pl.col("i").cast(pl.UInt64) * 2_654_435_761) // 65_536) % 2)
    known = mixed.filter(pl.col("half") == 0).group_by("x").agg(pl.col("y").mean().alias("rate"))
    judged = mixed.filter(pl.col("half") == 1).join(known, on="x", how="left")
    base = rows.select(pl.col("y").mean()).item()
    return judged.select(pl.col("rate").fill_null(base).alias("x"), "y")


def _auc(rows: pl.DataFrame) -> float:
    """Return ROC-AUC of `x` for `y`, whichever way round, by mid-ranks."""
    ranked = rows.select(pl.col("x").cast(pl.Float64).rank("average").alias("r"), "y")
    positives = float(ranked["y"].sum())
    negatives = ranked.height - positives
    ranks = float(ranked.filter(pl.col("y") == 1)["r"].sum())
    auc = (ranks - positives * (positives + 1) / 2) / (positives * negatives)
    return max(auc, 1 - auc)


def _named_for_the_outcome(column: Column) -> str | None:
    return "named for something known only afterwards" if _AFTERWARDS.search(column.name) else None


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"

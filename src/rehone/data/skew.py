"""Compare what a model was asked with what the offline table holds for the same id."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from rehone.columns import as_text
from rehone.data.rows import Rows
from rehone.data.served import ID, Served
from rehone.records import Contract, Feature, FeatureKind, Skew, Window

MOST_IDS = 100_000
RELATIVE, ABSOLUTE = 1e-6, 1e-9
_AROUND = timedelta(days=2)
"""An event may be dated a little before or after it was asked about."""


def skew(served: Served, offline: Rows, contract: Contract, window: Window) -> tuple[Skew, ...]:
    """Return, for each feature that both have, how often they differ for the same id.

    Ids that the offline table holds more than once are left out: it does not say which row was
    meant. Nothing comes back when there is nothing to compare: no id column, no common feature.
    Of more than 100,000 common ids as many are evenly drawn.

    Raises:
        DataError: the offline table cannot be read, and that is not the fault of one file.
    """
    own = served.config.data.id_column
    features = [f for f in contract.features if f.name in offline.columns]
    files = served.fitting(Contract(features=tuple(features), label=contract.label))
    if own is None or own not in offline.columns or not features or not files:
        return ()
    around = Window(window.start - _AROUND, window.end)
    logged = served.read(window, (), files)
    text = as_text(own, offline.columns[own])
    once = offline.collect(around, (own,), lambda rows: _once(logged, rows.select(text.alias(ID))))
    ids = once.sort(ID).gather_every(-(-max(once.height, 1) // MOST_IDS))
    names = [f.name for f in features]
    asked = served.read(window, names, files).join(ids, on=ID, how="semi")
    held = offline.collect(
        around,
        (own, *names),
        lambda rows: rows.with_columns(text.alias(ID)).join(ids.lazy(), on=ID, how="semi").select(ID, *names),
    )
    return compare(asked, held, features)


def compare(asked: pl.DataFrame, held: pl.DataFrame, features: Sequence[Feature]) -> tuple[Skew, ...]:
    """Compare the features of two frames, row by row of the same `served_id`.

    Numbers differ beyond 1e-6 of the larger or 1e-9; null and NaN are the same, and differ from
    every value; categories are compared as text.
    """
    left = asked.select(ID, *(_readable(f, asked.schema[f.name]).alias(f"{f.name}\0asked") for f in features))
    right = held.select(ID, *(_readable(f, held.schema[f.name]).alias(f"{f.name}\0held") for f in features))
    both = left.join(right, on=ID, how="inner").sort(ID)
    return tuple(_of_feature(both, feature) for feature in features)


def _once(logged: pl.DataFrame, held: pl.LazyFrame) -> pl.LazyFrame:
    """Return the ids that were asked about and are offline exactly once."""
    both = held.join(logged.lazy().select(ID), on=ID, how="semi")
    return both.group_by(ID).len().filter(pl.col("len") == 1).select(ID)


def _readable(feature: Feature, dtype: pl.DataType) -> pl.Expr:
    if feature.kind is FeatureKind.CATEGORICAL:
        return as_text(feature.name, dtype)
    column = pl.col(feature.name)
    if feature.kind is FeatureKind.BOOLEAN and dtype == pl.String:
        column = column.str.to_lowercase().replace_strict({"true": 1.0, "false": 0.0}, default=None)
    return column.cast(pl.Float64, strict=False).fill_nan(None)


def _of_feature(both: pl.DataFrame, feature: Feature) -> Skew:
    asked, held = pl.col(f"{feature.name}\0asked"), pl.col(f"{feature.name}\0held")
    same = asked.eq_missing(held)
    if feature.kind is not FeatureKind.CATEGORICAL:
        larger = pl.max_horizontal(asked.abs(), held.abs())
        near = (asked - held).abs() <= pl.max_horizontal(RELATIVE * larger, pl.lit(ABSOLUTE))
        same = same | (asked.is_finite() & held.is_finite() & near).fill_null(value=False)
    odd = both.filter(~same)
    return Skew(feature=feature.name, compared=both.height, differing=odd.height, example=_example(odd, feature))


def _example(odd: pl.DataFrame, feature: Feature) -> str:
    if odd.is_empty():
        return ""
    first = odd.row(0, named=True)
    asked, held = (_shown(first[f"{feature.name}\0{side}"], feature) for side in ("asked", "held"))
    return f"id {first[ID]} was served {feature.name} = {asked}, and the offline table holds {held}"


def _shown(value: Any, feature: Feature) -> str:
    if value is None:
        return "null"
    if feature.kind is FeatureKind.BOOLEAN:
        return str(bool(value)).lower()
    return f"{value:.12g}" if isinstance(value, float) else repr(value)

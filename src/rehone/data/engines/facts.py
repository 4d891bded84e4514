"""Gather on an engine what must be known of a window before it is learned from; only counts come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rehone.data.engines.counting import Question, in_parts
from rehone.data.engines.hashing import ALL_HASHES, HASH, hashed
from rehone.data.engines.table import LARGEST, MICROS, QUARTER, Table, count_if, floored, moment_of, narwhals
from rehone.data.facts import HUGE, ODD_LABEL, Asked, columns_of
from rehone.data.schema import family
from rehone.records import FeatureKind

SAMPLED_ABOVE = 1_000_000
"""Rows above which the share of duplicates is taken over those of an even share of all hashes."""

LABEL = "__label__"
_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Rows and matured rows of each local day."""

    rows: Mapping[date, int]
    mature: Mapping[date, int]


def with_label(table: Table, rows: Any) -> Any:
    """Add the label as 0, 1 or null, and what it was when it is none of these, as text."""
    nw, name = narwhals(), table.policy.label
    dtype = table.types.get(name)
    nothing = (nw.lit(None, dtype=nw.Float64), nw.lit(None, dtype=nw.String))
    if dtype is None:
        label, odd = nothing
    elif isinstance(dtype, pl.Boolean):
        label, odd = table.number(name), nothing[1]
    elif not dtype.is_numeric():
        said = nw.col(name).cast(nw.String) if family(dtype) in ("text", "time") else nw.lit(str(dtype))
        label, odd = nothing[0], nw.when(~nw.col(name).is_null()).then(said)
    else:
        number = table.number(name)
        binary = (number == 0.0) | (number == 1.0)
        label = nw.when(binary).then(number)
        odd = nw.when(~number.is_null() & ~binary).then(nw.col(name).cast(nw.String))
    return rows.with_columns(label.alias(LABEL), odd.alias(ODD_LABEL))


def by_day(table: Table, rows: Any, mature: Any) -> Days:
    """Count rows and matured rows of each local day, by quarters of an hour, of which each lies in one."""
    nw = narwhals()
    due = nw.when(mature).then(1).otherwise(0)
    marked = rows.with_columns(floored(nw.col(MICROS), QUARTER).alias("__quarter__"), due.alias("__due_now__"))
    grouped = marked.group_by("__quarter__").agg(nw.len().alias("n"), nw.col("__due_now__").sum().alias("m"))
    zone, found, matured = ZoneInfo(table.policy.timezone), dict[date, int](), dict[date, int]()
    for row in table.fetch(grouped):
        day = moment_of(row["__quarter__"]).astimezone(zone).date()
        found[day] = found.get(day, 0) + int(row["n"])
        matured[day] = matured.get(day, 0) + int(row["m"] or 0)
    return Days(rows=found, mature=matured)


def summary(table: Table, mature: Any, asked: Asked) -> dict[str, Any]:
    """Return one row of aggregates over matured rows, as `columns_of` reads it, some features in each query."""
    nw = narwhals()
    label, odd = nw.col(LABEL), nw.col(ODD_LABEL)
    row = table.ask(
        mature,
        {
            "rows": nw.len(),
            "positives": count_if(label == 1.0),
            "null_labels": count_if(label.is_null() & odd.is_null()),
            "odd_labels": count_if(~odd.is_null()),
        },
    )
    row = {name: int(value or 0) for name, value in row.items()}
    questions = [_of_column(table, i, feature, asked) for i, feature in enumerate(asked.features)]
    for part in in_parts(question for question, _ in questions):
        ready = mature.with_columns(*(q.column.alias(q.name) for q in part))
        row |= table.ask(ready, {k: e for q in part for k, e in q.named().items()})
    named = {name: what for question, words in questions for name, what in zip(question.named(), words, strict=True)}
    return {named.get(name, name): _whole(named.get(name, name), value) for name, value in row.items()}


def _whole(what: str, value: Any) -> Any:
    return value if what.endswith((":low", ":high")) else int(value or 0)


def _of_column(
    table: Table, place: int, feature: tuple[str, FeatureKind, pl.DataType], asked: Asked
) -> tuple[Question, tuple[str, ...]]:
    name, kind, dtype = feature
    own = f"__c{place}__"
    ready = table.text(name) if kind is FeatureKind.CATEGORICAL else table.number(name)
    parts = dict(_parts(table, own, feature, asked))
    del dtype
    return Question(own, ready, tuple(parts.values())), tuple(f"{place}:{what}" for what in parts)


def _parts(
    table: Table, own: str, feature: tuple[str, FeatureKind, pl.DataType], asked: Asked
) -> Iterator[tuple[str, Any]]:
    name, kind, dtype = feature
    column = narwhals().col(own)
    yield "null", count_if(column.is_null())
    if kind is FeatureKind.NUMERIC and dtype.is_integer():  # as float64, some whole numbers would be one
        yield "low", narwhals().col(name).min()
        yield "high", narwhals().col(name).max()
    else:
        yield "low", column.min()
        yield "high", column.max()
    if kind is FeatureKind.NUMERIC:
        size = column.abs()
        yield "infinite", count_if(size > table.literal(LARGEST))
        yield "huge", count_if((size > HUGE) & (size <= table.literal(LARGEST)))
    known = asked.known.get(name)
    if kind is FeatureKind.CATEGORICAL and known is not None and known.kind is FeatureKind.CATEGORICAL:
        yield "unseen", count_if(_unseen(column, known.values + known.pooled_values))


def _unseen(column: Any, known: Sequence[str]) -> Any:
    return ~column.is_null() & ~column.is_in(list(known)) if known else ~column.is_null()


def examples(table: Table, mature: Any, asked: Asked, row: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return a few of the odd labels and new categories that were counted."""
    shown = {}
    nw = narwhals()
    if row["odd_labels"]:
        shown[ODD_LABEL] = _few(table, mature.select(nw.col(ODD_LABEL).alias("v")).filter(~nw.col("v").is_null()))
    for i, (name, _, _) in enumerate(asked.features):
        if row.get(f"{i}:unseen"):
            known = asked.known[name]
            texts = mature.select(table.text(name).alias("v"))
            shown[name] = _few(table, texts.filter(_unseen(nw.col("v"), known.values + known.pooled_values)))
    return shown


def _few(table: Table, texts: Any) -> tuple[str, ...]:
    return tuple(str(row["v"]) for row in table.fetch(texts.unique().sort("v").head(_EXAMPLES)))


def duplicate_share(table: Table, mature: Any, asked: Asked, rows: int) -> float | None:
    """Return the share of rows that repeat another in every column.

    Above a million rows it is taken over those whose first columns hash into one of k classes: a
    row and its copies always fall into the same one, so that it stays unbiased.
    """
    nw = narwhals()
    names = [table.policy.label, *(n for n, _, _ in asked.features), *([asked.id_column] if asked.id_column else [])]
    kept, names = mature, [n for n in dict.fromkeys(names) if n in table.types]
    one_in = 1 + rows // SAMPLED_ABOVE
    if one_in > 1:
        kept = hashed(table, kept, names[:2]).filter(nw.col(HASH) < ALL_HASHES // one_in)
    kept = kept.select(MICROS, *names)
    all_rows = int(table.ask(kept, {"n": nw.len()})["n"])
    distinct = int(table.ask(kept.unique(), {"n": nw.len()})["n"])
    return 1 - distinct / all_rows if all_rows else None


def repeated_ids(table: Table, mature: Any, id_column: str) -> tuple[int, int]:
    """Return how many ids occur more than once, and in how many rows."""
    nw = narwhals()
    known = mature.select(id_column).filter(~nw.col(id_column).is_null())
    each = known.group_by(id_column).agg(nw.len().alias("n")).filter(nw.col("n") > 1)
    found = table.ask(each, {"ids": nw.len(), "rows": nw.col("n").sum()})
    return int(found["ids"] or 0), int(found["rows"] or 0)


def first_due(table: Table, rows: Any, due: Any) -> datetime | None:
    """Return when the first label of these rows is due."""
    found = table.ask(rows, {"due": due.min()})["due"]
    return None if found is None else moment_of(found)


__all__ = ["Days", "by_day", "columns_of", "duplicate_share", "examples", "first_due", "repeated_ids", "summary"]

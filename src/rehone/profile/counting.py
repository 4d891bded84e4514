"""Count rows into the bins of a profile, in one pass, with one comparison for everything.

Numbers are counted by how many rows are at most an edge: differences of those are the bins,
and the edges -inf, the largest float and +inf tell infinite and missing rows apart. Null and
NaN are at most nothing, so they need no case of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from rehone.columns import as_text
from rehone.profile.reading import as_number, readable
from rehone.records import Counts, FeatureKind, FeatureProfile, Profile, ScoreProfile

TIME = "__time__"
_DAY = "__day__"

MOST_EXPRESSIONS = 2_000
"""Aggregates in one query; a wider profile is counted in several passes."""

_LARGEST = float(np.finfo(np.float64).max)
BOOLEAN_EDGES = (-float(np.finfo(np.float64).tiny), 0.0, math.nextafter(1.0, 0.0), 1.0)


@dataclass(frozen=True)
class _Question:
    """A column made ready under a name of its own, and the aggregates asked of it."""

    name: str
    column: pl.Expr
    asked: tuple[pl.Expr, ...]


def count(rows: pl.LazyFrame | pl.DataFrame, reference: Profile, *, score: str | None = None) -> Counts:
    """Count rows into the bins of `reference`; `score` names the column of the champion's scores.

    A feature whose column is absent, or of a type without values to compare, is all missing.
    Everything is streamed, so that lazy rows may be larger than memory.
    """
    lazy = rows.lazy()
    schema = lazy.collect_schema()
    questions = list(_questions(schema, reference, score))
    found: dict[str, Sequence[Any]] = {}
    for part in _in_parts(questions):
        found |= _ask(lazy, part)
    return _counts(reference, found)


def count_days(rows: pl.DataFrame, reference: Profile) -> tuple[tuple[date | None, Counts], ...]:
    """Count the rows of each UTC day of `__time__` apart, oldest first; `None` is of rows without a time."""
    day = pl.col(TIME).dt.date().alias(_DAY)
    found: dict[date | None, dict[str, Sequence[Any]]] = {}
    for part in _in_parts(list(_questions(rows.collect_schema(), reference, None))):
        asked = [(q.name, expression) for q in part for expression in q.asked]
        ready = rows.lazy().with_columns(day, *(q.column.alias(q.name) for q in part if q.name != "rows"))
        grouped = ready.group_by(_DAY).agg(e.alias(str(i)) for i, (_, e) in enumerate(asked))
        for that, *answers in grouped.collect(engine="streaming").iter_rows():
            found.setdefault(that, {}).update(_by_name(asked, answers))
    ordered = sorted(found, key=lambda that: (that is None, that or date.min))
    return tuple((that, _counts(reference, found[that])) for that in ordered)


def add(parts: Iterable[Counts]) -> Counts:
    """Add the counts of disjoint row sets that were counted into the same bins, exactly.

    Raises:
        ValueError: there is nothing to add, or the parts were counted into different bins.
    """
    listed = list(parts)
    if not listed:
        raise ValueError("no counts to add: count a frame without rows to get zeros")
    return reduce(_sum, listed)


# --- what is asked ------------------------------------------------------------------------


def _questions(schema: pl.Schema, reference: Profile, score: str | None) -> Iterator[_Question]:
    yield _Question("rows", pl.lit(0), tuple(_row_facts(TIME in schema)))
    for i, feature in enumerate(reference.features):
        dtype = schema.get(feature.feature)
        if dtype is None or not readable(dtype):
            continue
        name = f"__f{i}__"
        if feature.kind is FeatureKind.CATEGORICAL:
            yield _Question(name, as_text(feature.feature, dtype), tuple(_of_text(name, feature)))
        else:
            yield _Question(name, as_number(feature.feature, dtype), tuple(_of_numbers(name, feature)))
    if score is not None and score in schema and reference.scores is not None:
        edges = (-math.inf, *reference.scores.edges, _LARGEST)
        column = as_number(score, schema[score])
        yield _Question("__score__", column, tuple(_at_most("__score__", edge) for edge in edges))


def _row_facts(timed: bool) -> Iterator[pl.Expr]:
    yield pl.len()
    if not timed:
        yield from (pl.lit(None), pl.lit(None))
        return
    yield pl.col(TIME).min()
    yield pl.col(TIME).max()
    yield from ((pl.col(TIME).dt.weekday() == day).sum() for day in range(1, 8))


def _of_numbers(name: str, feature: FeatureProfile) -> Iterator[pl.Expr]:
    edges = BOOLEAN_EDGES if feature.kind is FeatureKind.BOOLEAN else feature.edges
    yield from (_at_most(name, edge) for edge in (-math.inf, *edges, _LARGEST, math.inf))
    yield pl.col(name).min()
    yield pl.col(name).max()


def _at_most(name: str, edge: float) -> pl.Expr:
    """Count rows with `x <= edge`: the one primitive, null and NaN being at most nothing."""
    return (pl.col(name) <= edge).sum()


def _of_text(name: str, feature: FeatureProfile) -> Iterator[pl.Expr]:
    yield pl.col(name).is_null().sum()
    yield pl.col(name).is_in(list(feature.pooled_values)).sum()
    yield from ((pl.col(name) == value).sum() for value in feature.values)


def _in_parts(questions: Iterable[_Question]) -> Iterator[list[_Question]]:
    part: list[_Question] = []
    size = 0
    for question in questions:
        if part and size + len(question.asked) > MOST_EXPRESSIONS:
            yield part
            part, size = [], 0
        part.append(question)
        size += len(question.asked)
    yield part


def _ask(lazy: pl.LazyFrame, part: list[_Question]) -> dict[str, Sequence[Any]]:
    ready = lazy.with_columns(q.column.alias(q.name) for q in part if q.name != "rows")
    asked = [(q.name, expression) for q in part for expression in q.asked]
    answer = ready.select(e.alias(str(i)) for i, (_, e) in enumerate(asked)).collect(engine="streaming").row(0)
    return _by_name(asked, answer)


def _by_name(asked: Iterable[tuple[str, pl.Expr]], answers: Iterable[Any]) -> dict[str, Sequence[Any]]:
    found: dict[str, list[Any]] = {}
    for (name, _), value in zip(asked, answers, strict=True):
        found.setdefault(name, []).append(value)
    return dict(found)


# --- what is answered ---------------------------------------------------------------------


def _counts(reference: Profile, found: Mapping[str, Sequence[Any]]) -> Counts:
    n, oldest, newest, *weekdays = found["rows"]
    return Counts(
        rows=n,
        features=tuple(counted(like, n, found.get(f"__f{i}__")) for i, like in enumerate(reference.features)),
        scores=scored(reference.scores, found.get("__score__")),
        weekday_rows=tuple(weekdays) or (0,) * 7,
        oldest=_aware(oldest),
        newest=_aware(newest),
    )


def counted(like: FeatureProfile, n: int, answers: Sequence[Any] | None) -> FeatureProfile:
    """Read the answers for one feature of `n` rows back; `None` when nothing could be asked.

    Of numbers: how many are at most -inf, each edge, the largest float and +inf, then the least
    and the greatest. Of texts: how many are null, pooled, and each value.
    """
    blank = FeatureProfile(
        feature=like.feature,
        kind=like.kind,
        edges=like.edges,
        values=like.values,
        pooled_values=like.pooled_values,
        counts=(0,) * len(like.counts),
    )
    if answers is None:
        return replace(blank, missing=n)
    if like.kind is FeatureKind.CATEGORICAL:
        missing, pooled, *counts = answers
        unseen = n - missing - pooled - sum(counts)
        return replace(blank, missing=missing, pooled=pooled, counts=tuple(counts), unseen=unseen)
    *at_most, lowest, highest = answers
    bins = tuple(b - a for a, b in pairwise(at_most[:-1]))
    blank = replace(
        blank,
        missing=n - at_most[-1],
        infinite=at_most[0] + at_most[-1] - at_most[-2],
        lowest=_finite(lowest),
        highest=_finite(highest),
    )
    if like.kind is FeatureKind.BOOLEAN:
        return replace(blank, counts=(bins[1], bins[3]), unseen=bins[0] + bins[2] + bins[4])
    return replace(blank, counts=bins)


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def scored(like: ScoreProfile | None, answers: Sequence[Any] | None) -> ScoreProfile | None:
    """Read the answers for scores back: how many are at most -inf, each edge and the largest float."""
    if like is None or answers is None:
        return None
    return ScoreProfile(edges=like.edges, counts=tuple(b - a for a, b in pairwise(answers)))


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


# --- adding up ----------------------------------------------------------------------------


def _sum(a: Counts, b: Counts) -> Counts:
    if [_bins_of(f) for f in a.features] != [_bins_of(f) for f in b.features]:
        raise ValueError("counts of different profiles do not add up: count both with the same profile")
    return Counts(
        rows=a.rows + b.rows,
        features=tuple(_sum_feature(x, y) for x, y in zip(a.features, b.features, strict=True)),
        scores=_sum_scores(a.scores, b.scores),
        weekday_rows=_sum_each(a.weekday_rows, b.weekday_rows),
        oldest=_least(a.oldest, b.oldest),
        newest=_most(a.newest, b.newest),
    )


def _bins_of(feature: FeatureProfile) -> tuple[object, ...]:
    return feature.feature, feature.kind, feature.edges, feature.values, feature.pooled_values


def _sum_feature(a: FeatureProfile, b: FeatureProfile) -> FeatureProfile:
    return replace(
        a,
        counts=_sum_each(a.counts, b.counts),
        pooled=a.pooled + b.pooled,
        missing=a.missing + b.missing,
        infinite=a.infinite + b.infinite,
        unseen=a.unseen + b.unseen,
        lowest=_least(a.lowest, b.lowest),
        highest=_most(a.highest, b.highest),
    )


def _sum_scores(a: ScoreProfile | None, b: ScoreProfile | None) -> ScoreProfile | None:
    if a is None or b is None:
        return a or b
    if a.edges != b.edges:
        raise ValueError("score counts with different edges do not add up: count both with the same profile")
    return ScoreProfile(edges=a.edges, counts=_sum_each(a.counts, b.counts))


def _sum_each(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _least(a: Any, b: Any) -> Any:
    return min((x for x in (a, b) if x is not None), default=None)


def _most(a: Any, b: Any) -> Any:
    return max((x for x in (a, b) if x is not None), default=None)

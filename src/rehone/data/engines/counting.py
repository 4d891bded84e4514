"""Count rows on an engine into the bins of a profile; the counts equal those of Polars on the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from rehone.data.engines.table import DAY, LARGEST, MICROS, Table, count_if, floored, moment_of, narwhals
from rehone.profile.counting import BOOLEAN_EDGES, counted, scored
from rehone.records import Counts, FeatureKind, FeatureProfile, Profile

FEATURES_AT_ONCE = 10
"""Features in one query: Spark cannot plan one with thousands of aggregates."""

ASKED_AT_ONCE = 400
"""Aggregates in one query, where features have many bins."""

WEEKDAY = "__weekday__"
NOBODY = "\x1f\x1f"
"""A category that no row has."""

_SCORE = "__score__"


@dataclass(frozen=True, slots=True)
class Question:
    """A column made ready under a name of its own, and the aggregates asked of it, in order.

    The last `ends` of these are values, the others are counts.
    """

    name: str
    column: Any
    asked: tuple[Any, ...]
    ends: int = 0

    def named(self) -> dict[str, Any]:
        """Return the aggregates by the names that their answers have."""
        return {f"{self.name}_{i}": expression for i, expression in enumerate(self.asked)}


def count(table: Table, rows: Any, reference: Profile, *, score: str | None = None) -> Counts:
    """Count rows into the bins of `reference`, a few features in each query."""
    answers = table.ask(rows, _row_facts())
    asked = list(_questions(table, reference, score))
    for part in in_parts(asked):
        answers |= table.ask(_ready(rows, part), _named(part))
    return _counts(reference, answers, asked)


def count_by_weekday(table: Table, rows: Any, reference: Profile) -> tuple[Counts, ...]:
    """Count the rows of Monday..Sunday apart; at most seven rows of counts come back for each query."""
    week = (narwhals().col(MICROS) - 4 * DAY) % (7 * DAY)  # 1970-01-05 was a Monday
    marked = rows.with_columns(((week + 7 * DAY) % (7 * DAY)).alias(WEEKDAY))
    marked = marked.with_columns((narwhals().col(WEEKDAY) - narwhals().col(WEEKDAY) % DAY).alias(WEEKDAY))
    if not table.dialect.counts_in_groups:
        return tuple(count(table, marked.filter(narwhals().col(WEEKDAY) == n * DAY), reference) for n in range(7))
    asked = list(_questions(table, reference, None))
    days: list[dict[str, Any]] = [{} for _ in range(7)]
    for ready, named in [(marked, _row_facts()), *((_ready(marked, p), _named(p)) for p in in_parts(asked))]:
        grouped = ready.group_by(WEEKDAY).agg(*(expression.alias(name) for name, expression in named.items()))
        for row in table.fetch(grouped):
            days[int(row[WEEKDAY]) // DAY].update(row)
    return tuple(_counts(reference, answers, asked) for answers in days)


def count_by_day(table: Table, rows: Any, reference: Profile) -> tuple[tuple[date, Counts], ...]:
    """Count the rows of each UTC day apart, oldest first; nothing on an engine that cannot count in groups."""
    if not table.dialect.counts_in_groups:
        return ()
    marked = rows.with_columns(floored(narwhals().col(MICROS), DAY).alias(WEEKDAY))
    asked = list(_questions(table, reference, None))
    days: dict[int, dict[str, Any]] = {}
    for ready, named in [(marked, _row_facts()), *((_ready(marked, p), _named(p)) for p in in_parts(asked))]:
        grouped = ready.group_by(WEEKDAY).agg(*(expression.alias(name) for name, expression in named.items()))
        for row in table.fetch(grouped):
            days.setdefault(int(row[WEEKDAY]) // DAY, {}).update(row)
    first = date(1970, 1, 1).toordinal()
    return tuple((date.fromordinal(first + day), _counts(reference, days[day], asked)) for day in sorted(days))


def in_parts(questions: Iterable[Question]) -> Iterator[list[Question]]:
    """Divide questions into queries that an engine can plan."""
    part: list[Question] = []
    for question in questions:
        size = sum(len(q.asked) for q in part) + len(question.asked)
        if part and (len(part) == FEATURES_AT_ONCE or size > ASKED_AT_ONCE):
            yield part
            part = []
        part.append(question)
    if part:
        yield part


def _ready(rows: Any, part: Iterable[Question]) -> Any:
    return rows.with_columns(*(q.column.alias(q.name) for q in part))


def _named(part: Iterable[Question]) -> dict[str, Any]:
    return {name: expression for q in part for name, expression in q.named().items()}


# --- what is asked ------------------------------------------------------------------------------


def _row_facts() -> dict[str, Any]:
    nw = narwhals()
    time = nw.col(MICROS)
    week = ((time - 4 * DAY) % (7 * DAY) + 7 * DAY) % (7 * DAY)
    days = {f"day{n}": count_if((week >= n * DAY) & (week < (n + 1) * DAY)) for n in range(7)}
    return {"rows": nw.len(), "oldest": time.min(), "newest": time.max(), **days}


def _questions(table: Table, reference: Profile, score: str | None) -> Iterator[Question]:
    for i, feature in enumerate(reference.features):
        if feature.feature not in table.types:
            continue
        name = _own(i)
        if feature.kind is FeatureKind.CATEGORICAL:
            yield Question(name, table.text(feature.feature), tuple(_of_text(name, feature)))
        else:
            edges = BOOLEAN_EDGES if feature.kind is FeatureKind.BOOLEAN else feature.edges
            yield Question(name, table.number(feature.feature), tuple(_of_numbers(table, name, edges, ends=True)), 2)
    if score is not None and reference.scores is not None:
        asked = tuple(_of_numbers(table, _SCORE, reference.scores.edges, ends=False))
        yield Question(_SCORE, table.number(score), asked)


def _own(place: int) -> str:
    """Name what is made of a feature as no column of a user is named, in letters of either case."""
    return f"__f{place}__"


def _of_numbers(table: Table, name: str, edges: Iterable[float], *, ends: bool) -> Iterator[Any]:
    """Ask how many are at most -inf, each edge, the largest float and, with `ends`, +inf."""
    column = narwhals().col(name)
    yield count_if(column < table.literal(-LARGEST))
    yield from (count_if(column <= table.literal(edge)) for edge in (*edges, LARGEST))
    if ends:
        yield count_if(~column.is_null())
        yield column.min()
        yield column.max()


def _of_text(name: str, feature: FeatureProfile) -> Iterator[Any]:
    column, pooled = narwhals().col(name), list(feature.pooled_values)
    yield count_if(column.is_null())
    yield count_if(column.is_in(pooled or [NOBODY]))
    yield from (count_if(column == value) for value in feature.values)


# --- what is answered ---------------------------------------------------------------------------


def _counts(reference: Profile, answers: Mapping[str, Any], asked: Iterable[Question]) -> Counts:
    found = {q.name: _read(q, answers) for q in asked}
    rows = int(answers.get("rows") or 0)
    ends = [answers.get(name) for name in ("oldest", "newest")]
    oldest, newest = (None if end is None else moment_of(end) for end in ends)
    return Counts(
        rows=rows,
        features=tuple(counted(like, rows, found.get(_own(i))) for i, like in enumerate(reference.features)),
        scores=scored(reference.scores, found.get(_SCORE)),
        weekday_rows=tuple(int(answers.get(f"day{n}") or 0) for n in range(7)),
        oldest=oldest,
        newest=newest,
    )


def _read(question: Question, answers: Mapping[str, Any]) -> list[Any]:
    values = [answers.get(name) for name in question.named()]
    counts = len(values) - question.ends
    return [*(int(value or 0) for value in values[:counts]), *values[counts:]]

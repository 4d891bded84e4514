"""Draw the rows to learn from on an engine: all positives, and an even share of the negatives with their weight.

A negative is drawn when the hash of its id and time (of its time and all its columns, when there
is no id) is among the smallest. The hash knows nothing of what the values mean, so that every
negative is drawn with the same probability; each weighs (negatives there are) / (negatives
drawn), and so weighted sums over the sample are unbiased for the sums over all rows. The rows
drawn are the same on every engine and in every run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.data.engines.counting import count_by_day, count_by_weekday
from rehone.data.engines.facts import LABEL
from rehone.data.engines.hashing import ALL_HASHES, HASH, hashed
from rehone.data.engines.source import EngineSource
from rehone.data.engines.table import DAY, MICROS, count_if, floored, narwhals
from rehone.errors import DataError
from rehone.records import Counts, Draw, Profile, Window

WEIGHT = "__weight__"
"""How many rows a drawn row stands for; the column is there only when a sample was drawn."""

Starts: TypeAlias = NDArray[np.datetime64]
Whole: TypeAlias = NDArray[np.int64]

MOST_VALUES = 100_000

_SPARE = 5
"""Standard deviations by which the share that is brought home is larger than what is wanted of it."""


def ends(source: EngineSource, window: Window) -> tuple[np.datetime64, np.datetime64] | None:
    """Return the times of the first and the last matured, labelled row; `None` when there is none."""
    time = narwhals().col(MICROS)
    found = source.table.ask(source.with_labels(window), {"first": time.min(), "last": time.max()})
    if found["first"] is None:
        return None
    return np.datetime64(int(found["first"]), "us"), np.datetime64(int(found["last"]), "us")


def tally(source: EngineSource, window: Window, *, days: bool) -> tuple[Starts, Whole, Whole]:
    """Return the UTC days, or else the times, of matured, labelled rows, with how many rows and positives, (n,) each."""
    nw = narwhals()
    start = floored(nw.col(MICROS), DAY) if days else nw.col(MICROS)
    positive = nw.when(nw.col(LABEL) == 1.0).then(1).otherwise(0)
    marked = source.with_labels(window).with_columns(start.alias("__start__"), positive.alias("__positive__"))
    grouped = marked.group_by("__start__").agg(nw.len().alias("n"), nw.col("__positive__").sum().alias("p"))
    found = sorted((int(row["__start__"]), int(row["n"]), int(row["p"] or 0)) for row in source.table.fetch(grouped))
    starts, rows, positives = (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
    return starts.astype("datetime64[us]"), rows, positives


def classes(source: EngineSource, window: Window) -> tuple[int, int]:
    """Count positives and negatives among the matured, labelled rows of a window."""
    label = narwhals().col(LABEL)
    asked = {"positives": count_if(label == 1.0), "negatives": count_if(label == 0.0)}
    found = source.table.ask(source.with_labels(window), asked)
    return int(found["positives"] or 0), int(found["negatives"] or 0)


def draw(source: EngineSource, window: Window, columns: Sequence[str], most: int) -> tuple[pl.DataFrame, Draw | None]:
    """Return the matured, labelled rows of a window, with at most `most` of the negatives.

    Where negatives were left out each row has its weight in `__weight__`.

    Raises:
        DataError: there is no such column, the engine fails, the rows are too many to bring here, or
            too few of them can be told apart.
    """
    positives, negatives = classes(source, window)
    if negatives <= most:
        return source.labelled(window, columns), None
    nw, wanted = narwhals(), source.wanted((*columns, source.policy.label))
    share = min(1.0, (most + _SPARE * math.sqrt(most)) / negatives)
    rows = hashed(source.table, source.with_labels(window), source.keys(wanted))
    rows = rows.filter((nw.col(LABEL) == 1.0) | (nw.col(HASH) < math.ceil(share * ALL_HASHES)))
    brought = source.home(rows, wanted, also=(HASH,))
    kept = _smallest(brought, source.policy.label, most)
    found = kept.height - int((kept[source.policy.label] == 1).sum())
    if 2 * found < most:
        raise DataError(_alike(source.policy.id_column, found, negatives, most))
    made = Draw(positives=positives, negatives=found, of=negatives, weight=negatives / found)
    weight = pl.when(pl.col(source.policy.label) == 1).then(1.0).otherwise(made.weight)
    return kept.with_columns(weight.alias(WEIGHT)), made


def _smallest(rows: pl.DataFrame, label: str, most: int) -> pl.DataFrame:
    """Keep the positives and the negatives of smallest hash; of equal hashes all or none."""
    hashes = rows.filter(pl.col(label) == 0)[HASH].sort()
    if hashes.len() > most:
        rows = rows.filter((pl.col(label) == 1) | (pl.col(HASH) < hashes[most]))
    return rows.drop(HASH)


def _alike(own: str | None, found: int, negatives: int, most: int) -> str:
    how = f"have the time and {own!r} of another" if own else "are equal to others in their time and all columns"
    remedy = "name another as data.id_column" if own else "name a column that tells rows apart as data.id_column"
    return (
        f"only {found:,} of {negatives:,} negatives can be drawn evenly, need about {most:,}: most {how}, and rows "
        f"that cannot be told apart are drawn together. Give data.source finer event times, or {remedy}"
    )


class Population:
    """All matured, labelled rows of a window, counted where they lie."""

    def __init__(self, source: EngineSource, window: Window) -> None:
        self._source = source
        self._rows: Any = source.with_labels(window)
        self.positives, negatives = classes(source, window)
        self.rows = self.positives + negatives

    def categories(self, feature: str) -> dict[str, int]:
        """Return how many rows each value of a category holds: the 100,000 most frequent of them."""
        nw, table = narwhals(), self._source.table
        texts = self._rows.select(table.text(feature).alias("value")).filter(~nw.col("value").is_null())
        grouped = texts.group_by("value").agg(nw.len().alias("n")).sort("n", descending=True).head(MOST_VALUES)
        return {str(row["value"]): int(row["n"]) for row in table.fetch(grouped)}

    def by_weekday(self, blank: Profile) -> Sequence[Counts]:
        """Count the rows of Monday..Sunday into the bins of a profile."""
        return count_by_weekday(self._source.table, self._rows, blank)

    def by_day(self, blank: Profile) -> Sequence[tuple[date, Counts]]:
        """Count the rows of each day into the bins of a profile; nothing where the engine cannot."""
        return count_by_day(self._source.table, self._rows, blank)

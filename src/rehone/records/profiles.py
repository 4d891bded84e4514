"""Hold what a champion remembers of its own data, and rows counted into its bins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rehone.records.facts import Window
from rehone.records.words import FeatureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How much a histogram varies from one stretch of days to the next, beyond what independent rows would.

    Index `i` is of stretches of `i + 1` whole days, up to a week, with the weekdays' own shares
    and a trend taken out. `excess` is the PSI that a stretch has from this on average, below zero
    when days are steadier than independent rows; `squared` and `cubed` are the sums of the powers of
    its parts over the independent directions, and `error` is the variance of `excess` itself, halved.
    `carried` is what a week shares with the next one, at least as much as all features do. All come
    from `days` days.
    """

    days: int
    excess: tuple[float, ...]
    squared: tuple[float, ...]
    cubed: tuple[float, ...]
    error: tuple[float, ...]
    carried: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProfile:
    """Bins and reference counts of one feature.

    For a numeric feature, bin `i` holds `edges[i-1] < x <= edges[i]`, with an open bin on
    either side: `len(counts) == len(edges) + 1`. A value with a bin of its own (an atom) is
    a pair of neighbouring edges. For a boolean or categorical feature, `values[i]` has
    `counts[i]`; rare values are pooled in `pooled`. `missing` (null or NaN), `infinite` and
    `unseen` rows are counted apart. Counts of disjoint row sets add up exactly.

    `expected_unseen` is how many of the reference's own rows hold values that another draw
    of that size would be expected to call rare or unseen (Good-Turing); `unseen_variance` is
    what that estimate adds to the variance, in rows squared. `lowest` and `highest` are
    `None` where an infinite one was. `clock_like` marks a date, a counter or a calendar column.
    `spread` is of all bins; `faults` of the ordinary rows, the missing, the infinite and the unseen.
    """

    feature: str
    kind: FeatureKind
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    pooled_values: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    pooled: int = 0
    missing: int = 0
    infinite: int = 0
    unseen: int = 0
    expected_unseen: int = 0
    unseen_variance: int = 0
    lowest: float | None = None
    highest: float | None = None
    clock_like: bool = False
    spread: Spread | None = None
    faults: Spread | None = None

    @property
    def n(self) -> int:
        return sum(self.counts) + self.pooled + self.missing + self.infinite + self.unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreProfile:
    """Histogram of out-of-sample scores: bin `i` holds `edges[i-1] < s <= edges[i]`.

    `by_weekday` holds the same counts for Monday..Sunday, when the rows' days are known. Of the
    rows whose label is known, `labelled` has the number in each bin, `positives` those of label 1
    and `means` their mean score (0 where there are none): what scores were worth. `spread` is of
    the share at or below the decile where it varies most.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    labelled: tuple[int, ...] = ()
    positives: tuple[int, ...] = ()
    means: tuple[float, ...] = ()
    by_weekday: tuple[tuple[int, ...], ...] = ()
    spread: Spread | None = None

    @property
    def n(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a version knows of the data it was made from; a few KB, no rows.

    `by_weekday` holds, for Monday..Sunday, the counts of each feature in the order of
    `features` (flattened as in `FeatureProfile`: counts, pooled, missing, infinite, unseen),
    so that a window shorter than a week is compared with the same weekdays. `weekday_days` is how
    many days of each there were.
    """

    format: int = 1
    window: Window
    rows: int
    positives: int
    features: tuple[FeatureProfile, ...]
    scores: ScoreProfile | None = None
    by_weekday: tuple[tuple[tuple[int, ...], ...], ...] = ()
    weekday_days: tuple[int, ...] = ()
    threshold: float | None = None

    @property
    def label_rate(self) -> float | None:
        return self.positives / self.rows if self.rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows of some window counted into the bins of a `Profile`. Counts of disjoint row sets add up.

    `weekday_rows` counts rows by Monday..Sunday; `oldest` and `newest` are the first and last
    event counted.
    """

    rows: int
    features: tuple[FeatureProfile, ...]
    scores: ScoreProfile | None = None
    weekday_rows: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0)
    oldest: datetime | None = None
    newest: datetime | None = None

"""Hold the rows and the memory that the kinds of shift are told apart by."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from rehone.records import FeatureDrift, ScoreProfile

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Rows as a model reads them, without clocks: `matrix` (n, features), labels (n,), NaN where not known."""

    matrix: Floats = field(repr=False)
    labels: Floats = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """What the columns of a sample are: their names, and beyond which values nothing was ever seen.

    Of a number `lowest` and `highest` are those of all rows that the champion remembers; of a
    category the codes that it knows.
    """

    names: tuple[str, ...]
    lowest: Floats = field(repr=False)
    highest: Floats = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matured:
    """Rows newer than all that the champion has learned from, whose label is known; all (n,), oldest first.

    `days` number the day of each row since 1970, in UTC; `matrix` (n, features) is what the model reads.
    """

    scores: Floats = field(repr=False)
    labels: Floats = field(repr=False)
    days: NDArray[np.int64] = field(repr=False)
    matrix: Floats | None = field(default=None, repr=False)

    def part(self, use: NDArray[np.bool_]) -> Matured:
        """Return some of the rows."""
        matrix = None if self.matrix is None else self.matrix[use]
        return Matured(scores=self.scores[use], labels=self.labels[use], days=self.days[use], matrix=matrix)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """All that is known of a champion's world then and now; what is not known is `None`, and `unknown` says why.

    `scores` (m,) are of the rows of the current window, `remembered` the champion's own
    out-of-sample scores, with the labels of each bin. `drift` holds features that have
    moved, beyond chance. `recent` is the start of the performance window.
    """

    drift: tuple[FeatureDrift, ...] = ()
    reference: Sample | None = None
    current: Sample | None = None
    columns: Columns | None = None
    scores: Floats | None = field(default=None, repr=False)
    remembered: ScoreProfile | None = None
    matured: Matured | None = None
    recent: datetime | None = None
    unknown: tuple[str, ...] = ()
    seed: int = 0

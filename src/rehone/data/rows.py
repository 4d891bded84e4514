"""Say what the pipeline asks of rows, wherever they lie: in files, in the prediction log, on an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import polars as pl

from rehone.data.facts import DataFacts
from rehone.records import Check, Counts, DataWindow, Profile, Window


class Rows(Protocol):
    """A source as it was on a day. Frames are as `Source` describes them."""

    as_of: datetime

    @property
    def extent(self) -> str:
        """How much there is, in words: "90 files"."""

    @property
    def there(self) -> bool:
        """Whether there is anything at all that could be read."""

    @property
    def findings(self) -> tuple[Check, ...]:
        """Everything seen so far that is wrong or odd with the source itself."""

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """The columns that can be asked for, with their types."""

    def features(self) -> tuple[str, ...]:
        """Name the features."""

    def span(self) -> Window | None:
        """Return the stretch from the first event to just after the last one before as-of."""

    def read(self, window: Window, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows of a window, sorted by event time."""

    def labelled(self, window: Window, columns: Sequence[str]) -> pl.DataFrame:
        """Return the rows of a window whose label is due and there, sorted by event time."""

    def some(self, window: Window, columns: Sequence[str], most: int, *, there: Sequence[str] = ()) -> pl.DataFrame:
        """Return about `most` rows of a window, evenly drawn, or all.

        With `there`, only those whose label is due and where none of these columns is null.
        """

    def collect(
        self, window: Window, columns: Sequence[str], shape: Callable[[pl.LazyFrame], pl.LazyFrame]
    ) -> pl.DataFrame:
        """Return what `shape` makes of the rows of a window."""

    def describe(self, window: Window) -> DataWindow:
        """Name exactly what lies in a window."""

    def counts(self, window: Window, profile: Profile) -> Counts:
        """Count the rows of a window into a champion's bins."""

    def facts(
        self, window: Window, features: Sequence[str], *, now: datetime, profile: Profile | None = None
    ) -> DataFacts:
        """Gather what `validate` judges."""

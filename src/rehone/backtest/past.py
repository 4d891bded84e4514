"""Show a history as it was on a day: rows from then on are not there, labels that were not due are null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import codec, data, profile
from rehone.config import Config
from rehone.data.facts import ODD_LABEL, DataFacts, View, ask, gather
from rehone.errors import DataError
from rehone.records import Check, Counts, DataWindow, Profile, Window

TIME = "__time__"
ROW = "__row__"
"""Number of a row in the history; comes along with every frame, and is never a feature."""

TICK = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (moment - _EPOCH) // TICK


def moment(value: int | np.integer) -> datetime:
    """Return microseconds since 1970 as a moment in UTC."""
    return _EPOCH + timedelta(microseconds=int(value))


@dataclass(frozen=True)
class History:
    """All rows of a project in the order of time, (n,), with what only the end of the story knows.

    `due` is when each row's label may be used, `known` when it could be seen at all, both as
    microseconds since 1970. `labels` are 0, 1 or -1 for a label that never came.
    """

    config: Config
    frame: pl.DataFrame = field(repr=False)
    columns: Mapping[str, pl.DataType] = field(repr=False)
    features: tuple[str, ...]
    times: NDArray[np.int64] = field(repr=False)
    due: NDArray[np.int64] = field(repr=False)
    known: NDArray[np.int64] = field(repr=False)
    labels: NDArray[np.int8] = field(repr=False)

    @property
    def start(self) -> datetime:
        return moment(self.times[0])

    @property
    def end(self) -> datetime:
        """The moment just after the last row."""
        return moment(self.times[-1]) + TICK

    def upto(self, when: datetime) -> int:
        """Return how many rows are older than a moment."""
        return int(np.searchsorted(self.times, micros(when), "left"))

    @cached_property
    def sha256(self) -> str:
        """Digest of every value of every row."""
        import hashlib

        hashed = self.frame.drop(ROW).hash_rows(seed=7).to_numpy()
        names = "|".join(f"{n}:{t}" for n, t in sorted(self.columns.items()))
        return hashlib.sha256(names.encode() + hashed.tobytes()).hexdigest()


def read_history(source: data.Rows, config: Config) -> History:
    """Read every row that a replay may need, once.

    Raises:
        DataError: there are no rows, or the label is no column.
    """
    span = source.span()
    if span is None:
        raise DataError(f"{config.data.source!r} has no row to replay")
    roles, features = config.data, source.features()
    names = (
        *features,
        roles.label,
        roles.id_column,
        roles.entity_column,
        roles.score_column,
        roles.label_due_column,
        roles.label_time_column,
        *config.gate.slices,
    )
    wanted = tuple(dict.fromkeys(name for name in names if name and name in source.columns))
    if roles.label not in wanted:
        raise DataError(f"label {roles.label!r} is in no file: correct data.label")
    frame = source.read(span, (*wanted, ODD_LABEL))
    if not frame.height:
        raise DataError(f"{config.data.source!r} has no row to replay")
    frame = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW))
    return history_of(frame, config, features)


def history_of(frame: pl.DataFrame, config: Config, features: tuple[str, ...]) -> History:
    """Return the history of rows that were read before."""
    roles = config.data
    times = _micros_of(frame[TIME])
    due = times + round(roles.label_delay_days * 86_400_000_000)
    if roles.label_due_column is not None:
        due = _micros_of(frame[roles.label_due_column], never=True)
    known = due
    if roles.label_time_column is not None:
        known = np.maximum(due, _micros_of(frame[roles.label_time_column], never=True))
    return History(
        config=config,
        frame=frame,
        columns={name: dtype for name, dtype in frame.schema.items() if name not in (TIME, ROW, ODD_LABEL)},
        features=features,
        times=times,
        due=due,
        known=known,
        labels=frame[roles.label].cast(pl.Int8, strict=False).fill_null(-1).to_numpy(),
    )


def _micros_of(column: pl.Series, *, never: bool = False) -> NDArray[np.int64]:
    whole = column.cast(pl.Datetime("us"), strict=False).dt.epoch("us")
    return (whole.fill_null(np.iinfo(np.int64).max) if never else whole).to_numpy().astype(np.int64)


class Past:
    """The rows of a history as a run on the day `as_of` would have found them."""

    def __init__(self, history: History, as_of: datetime) -> None:
        self.as_of = as_of.astimezone(UTC)
        self._history = history
        self._policy = history.config.data
        self._end = history.upto(self.as_of)

    @property
    def extent(self) -> str:
        """How much there is, in words."""
        return f"{self._end:,} rows"

    @property
    def there(self) -> bool:
        """Whether there is anything at all."""
        return self._end > 0

    @property
    def findings(self) -> tuple[Check, ...]:
        """Nothing: what is wrong with the files themselves was said when they were read."""
        return ()

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """The columns that can be asked for."""
        return self._history.columns

    def features(self) -> tuple[str, ...]:
        """Name the features."""
        return self._history.features

    def span(self) -> Window | None:
        """Return the stretch from the first event to just after the last one before as-of."""
        if not self._end:
            return None
        return Window(moment(self._history.times[0]), moment(self._history.times[self._end - 1]) + TICK)

    def read(self, window: Window, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows of a window before as-of, sorted by event time."""
        rows = self._rows(window)
        wanted = (*self.features(), self._policy.label) if columns is None else tuple(columns)
        due = self._policy.label_due_column
        names = dict.fromkeys([TIME, ROW, *wanted, *([due] if due else [])])
        return rows.select(list(names))

    def labelled(self, window: Window, columns: Sequence[str]) -> pl.DataFrame:
        """Return the rows of a window whose label is due and there."""
        rows = self.read(window, tuple(dict.fromkeys((*columns, self._policy.label))))
        return rows.filter(self._is_mature(rows)).drop_nulls(self._policy.label)

    def some(self, window: Window, columns: Sequence[str], most: int, *, there: Sequence[str] = ()) -> pl.DataFrame:
        """Return every k-th row of a window, at most `most` of them; with `there`, of labelled and mature rows."""
        rows = self.read(window, tuple(dict.fromkeys((*columns, *there))))
        if there:
            rows = rows.filter(self._is_mature(rows)).drop_nulls(list(there))
        step = -(-rows.height // most)
        return rows.gather_every(step) if step > 1 else rows

    def collect(
        self, window: Window, columns: Sequence[str], shape: Callable[[pl.LazyFrame], pl.LazyFrame]
    ) -> pl.DataFrame:
        """Return what `shape` makes of the rows of a window."""
        return shape(self.read(window, columns).lazy()).collect()

    def describe(self, window: Window) -> DataWindow:
        """Name what lies in a window; a replay reads no file again, so that none is listed."""
        rows = self._rows(window)
        positives = int((rows[self._policy.label] == 1).sum())
        said = codec.encode((str(window), rows.height, self._history.sha256))
        import hashlib

        return DataWindow(
            source=self._policy.source,
            window=window,
            rows=rows.height,
            positives=positives,
            sha256=hashlib.sha256(said).hexdigest(),
        )

    def counts(self, window: Window, profile_: Profile) -> Counts:
        """Count the rows of a window into a champion's bins."""
        return profile.count(self._rows(window), profile_)

    def facts(
        self, window: Window, features: Sequence[str], *, now: datetime, profile: Profile | None = None
    ) -> DataFacts:
        """Gather what `validate` judges, as the source itself does."""
        asked = ask(features, self.columns, self._policy, profile)
        rows = self._rows(window)
        mature = rows.filter(self._is_mature(rows))
        view = View(
            source=self._policy.source,
            window=window,
            as_of=self.as_of,
            now=now,
            zone=self._policy.timezone,
            span=self.span(),
            rows=rows.lazy(),
            likely_rows=rows.height,
            mature=pl.col(_MATURE),
            mature_rows=mature.lazy(),
            due=pl.col(TIME),
        )
        base = gather(replace(view, rows=rows.with_columns(self._is_mature(rows)).lazy()), asked)
        usable = {name for name, _, _ in asked.features}
        strange = tuple((n, str(self.columns[n])) for n in features if n in self.columns and n not in usable)
        return replace(
            base,
            label_type=str(self.columns[self._policy.label]),
            missing_features=tuple(n for n in features if n not in self.columns),
            unusable_features=strange,
            known_columns=tuple(self.columns),
            future_rows=0,
            untimed_rows=0,
        )

    # what was there, and what of it had a label

    def _rows(self, window: Window) -> pl.DataFrame:
        start, end = self._history.upto(window.start), min(self._history.upto(window.end), self._end)
        rows = self._history.frame.slice(start, max(end - start, 0))
        seen = pl.Series("seen", self._history.known[start : start + rows.height] <= micros(self.as_of))
        return rows.with_columns(
            pl.when(seen).then(pl.col(name)).alias(name) for name in (self._policy.label, ODD_LABEL)
        )

    def _is_mature(self, rows: pl.DataFrame) -> pl.Series:
        return pl.Series(_MATURE, self._history.due[rows[ROW].to_numpy()] <= micros(self.as_of), dtype=pl.Boolean)


_MATURE = "__mature__"

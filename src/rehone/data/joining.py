"""Join what was served with the labels that arrived later, by id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import cast

import polars as pl

from rehone.config import Config, Data, is_database
from rehone.data.facts import ODD_LABEL
from rehone.data.opening import TICK
from rehone.data.schema import named
from rehone.data.served import ID
from rehone.data.source import Source, open_source
from rehone.data.times import TIME, midnight
from rehone.data.validate.case import at
from rehone.errors import DataError, SourceAway
from rehone.records import Check, CheckStatus, DataWindow, Window

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_SLACK = timedelta(days=2)
"""A label file is dated by the day, perhaps in another zone than the log."""
_LEFT_OUT = ("file_readable", "time_column")


@dataclass(frozen=True, slots=True)
class Arrived:
    """The newest label of each id: `served_id` as text, the label as 0, 1 or null, what it was if neither."""

    labels: pl.DataFrame
    contradictory: int
    odd: int


@dataclass(frozen=True)
class Labels:
    """Where labels come from; `why` says why there are none at all."""

    config: Config
    source: Source | None
    why: str = ""

    @property
    def findings(self) -> tuple[Check, ...]:
        """Say which label files are left out; where silence means no, they would teach false negatives, and act."""
        if self.source is None:
            return ()
        status = CheckStatus.ACT if self.config.predictions.unlabelled == "negative" else CheckStatus.WARN
        own = self.config.predictions.labels is not None
        left_out = (c for c in self.source.findings if own and c.name in _LEFT_OUT)
        return tuple(replace(c, status=status) for c in (*left_out, *self._lacking(self.source)))

    @cached_property
    def stale(self) -> Check | None:
        """Say that labels no longer come, where silence would then teach negatives; `None` when all is well.

        Label files are dated by when they arrived, an empty one too. A label in data.source is
        dated by its event, and is not expected before it is due.
        """
        config = self.config
        limit = _oldest_days(config)
        if self.source is None or config.predictions.unlabelled != "negative" or limit is None:
            return None
        newest, as_of = self._newest(self.source), self.source.as_of
        age = (as_of - newest) / timedelta(days=1) if newest else None
        if age is not None and age <= limit:
            return None
        where = config.predictions.labels or config.data.source
        said = f"is {age:.1f} days older than {at(as_of)}" if newest else "is not there"
        return Check(
            name="labels_stale",
            subject=where,
            status=CheckStatus.ACT,
            value=age,
            limit=limit,
            detail=(
                f"the newest label in {where!r}{f' ({at(newest)})' if newest else ''} {said}, may be at most {limit:g}: "
                'while none come, predictions.unlabelled = "negative" would call every prediction a negative'
            ),
            remedy=_write_again(config),
        )

    def _lacking(self, source: Source) -> Iterator[Check]:
        """Find files whose labels join nothing; in data.source a label itself may be added to a file later."""
        roles, labels = self.config.data, self.config.predictions.labels
        needed = (roles.id_column, roles.label) if labels is not None else (roles.id_column,)
        for name in filter(None, needed):
            lacking = [f.path for f in source.files if f.rows and name not in f.schema and name not in f.partitions]
            if lacking:
                them = "it" if len(lacking) == 1 else "them"
                yield Check(
                    name="label_column",
                    subject=f"{name} in {lacking[0]}",
                    status=CheckStatus.WARN,
                    value=float(len(lacking)),
                    limit=0.0,
                    n=len(source.files),
                    detail=f"column {name!r} is missing in {named(lacking)}: no label of {them} is joined with the log",
                    remedy=f"write {them} again with the column, or correct the name in data",
                )

    def _newest(self, source: Source) -> datetime | None:
        if self.config.predictions.labels is None:
            label = self.config.data.label
            rows = source.collect(
                self.window(source.as_of), (label,), lambda rows: rows.drop_nulls(label).select(pl.col(TIME).max())
            )
            return cast("datetime | None", rows.item())
        if is_database(self.config.predictions.labels):
            whole = source.span()
            return whole.end - TICK if whole else None
        zone = self.config.data.timezone
        spans = [min(f.span.end, source.as_of) - TICK for f in source.files if f.span]
        empty = [midnight(f.day, zone) for f in source.files if not f.rows and f.day]
        return max((*spans, *empty), default=None)

    def arrived(self, since: datetime, ids: pl.DataFrame | None = None) -> Arrived:
        """Return the labels that had arrived, of the given ids (column `served_id`) or of all.

        An id is text or a whole number; both are compared as text. Of several labels the one
        that arrived last counts.

        Raises:
            DataError: the labels cannot be read, and that is not the fault of one file.
        """
        label, own = self.config.data.label, self.config.data.id_column
        if self.source is None or own is None:
            return Arrived(pl.DataFrame(schema={ID: pl.String, label: pl.Int8, ODD_LABEL: pl.String}), 0, 0)

        def newest_of_each(rows: pl.LazyFrame) -> pl.LazyFrame:
            found = (
                rows.select(pl.col(own).cast(pl.String).alias(ID), TIME, label, ODD_LABEL)
                .with_row_index("__row__")
                .filter(pl.col(ID).is_not_null() & (pl.col(label).is_not_null() | pl.col(ODD_LABEL).is_not_null()))
            )
            if ids is not None:
                found = found.join(ids.lazy().select(ID), on=ID, how="semi")
            newest = pl.struct(label, ODD_LABEL).sort_by(TIME, "__row__").last().alias("newest")
            return found.group_by(ID).agg(newest, pl.col(label).drop_nulls().n_unique().alias("labels"))

        each = self.source.collect(self.window(since), (own, label, ODD_LABEL), newest_of_each)
        return Arrived(
            labels=each.select(ID, pl.col("newest").struct.unnest()).sort(ID),
            contradictory=int((each["labels"] > 1).sum()),
            odd=int(each["newest"].struct.field(ODD_LABEL).count()),
        )

    def window(self, since: datetime) -> Window:
        """Return when labels of predictions served from `since` on may be dated.

        A label of its own arrives after the prediction; one in data.source is dated by its event.
        """
        as_of = self.source.as_of if self.source else since
        start = max(_BEGIN, since - _SLACK) if self.config.predictions.labels else _BEGIN
        return Window(min(start, as_of), as_of)

    def described(self, since: datetime) -> DataWindow | None:
        """Describe the labels as a window of their own."""
        return self.source.describe(self.window(since)) if self.source else None


def open_labels(config: Config, as_of: datetime) -> Labels:
    """Open the label files, or data.source, as they were on the day; without any, `why` says so.

    Raises:
        SourceAway: they lie in an object store that is away.
        ValueError: there is no id column, which a configuration that reads the log must have.
    """
    roles, own = config.data, config.data.id_column
    if own is None:
        raise ValueError("data.id_column is not set, by which labels join the log")
    key = "predictions.labels" if config.predictions.labels else "data.source"
    try:
        source = _open(config, as_of)
    except SourceAway:
        raise
    except DataError as error:
        said = str(error).replace("data.source", key)
        if config.predictions.labels:
            said = said.replace("data.query", "predictions.labels_query")
        return Labels(config, None, f"no label can be read ({said})")
    lost = [repr(name) for name in (own, roles.label) if name not in source.columns]
    if lost:
        where = config.predictions.labels or roles.source
        return Labels(config, None, f"the files of {key} ({where!r}) have no column {' and no '.join(lost)}")
    return Labels(config, source)


def findings_of(arrived: Arrived, label: str) -> Iterator[Check]:
    """Say which labels contradict each other, and which are neither 0 nor 1."""
    if arrived.contradictory:
        yield Check(
            name="label_contradictory",
            subject=label,
            status=CheckStatus.WARN,
            value=float(arrived.contradictory),
            limit=0.0,
            n=arrived.labels.height,
            detail=f"{arrived.contradictory:,} of {arrived.labels.height:,} labelled ids have both labels, 0 and 1; the newest counts",
            remedy="look at whether labels are corrected, or ids used twice",
        )
    if arrived.odd:
        shown = arrived.labels[ODD_LABEL].drop_nulls().unique().sort().head(3).to_list()
        yield Check(
            name="label_values",
            subject=label,
            status=CheckStatus.WARN,
            value=float(arrived.odd),
            limit=0.0,
            n=arrived.labels.height,
            detail=f"label {label!r} is not 0 or 1 for {arrived.odd:,} of {arrived.labels.height:,} ids, such as {', '.join(map(repr, shown))}",
            remedy="write it as 0 and 1 or as booleans",
        )


def _oldest_days(config: Config) -> float | None:
    """Return how many days old the newest label may be: as old as the newest row may, or as a label is late."""
    roles = config.data
    stale, late = roles.stale_after_days or 0.0, roles.label_delay_days
    return (stale + late if config.predictions.labels is None else max(stale, late)) or None


def _write_again(config: Config) -> str:
    if config.predictions.labels is None:
        return "look at why the table has no newer label, or raise data.stale_after_days"
    return "look at why the feed has stopped, write a file without rows for a day that had no label, or raise data.stale_after_days"


def newest_due(as_of: datetime, delay_days: float) -> datetime:
    """Return the moment just after the last answer whose label is due, the limit included."""
    return as_of - timedelta(days=delay_days) + TICK


def _open(config: Config, as_of: datetime) -> Source:
    policy = _policy(config, time_column=config.data.time_column)
    labels = config.predictions.labels
    if labels is None or config.data.time_column is None or is_database(labels):
        return open_source(policy, config.root, cache=config.cache_path, as_of=as_of, storage=config.storage)
    try:
        return open_source(policy, config.root, cache=config.cache_path, as_of=as_of, storage=config.storage)
    except SourceAway:
        raise
    except DataError:  # no label file has a time of its own: the dates in their names say when they arrived
        dated = _policy(config, time_column=None)
        return open_source(dated, config.root, cache=config.cache_path, as_of=as_of, storage=config.storage)


def _policy(config: Config, *, time_column: str | None) -> Data:
    """Read ids as codes: whole numbers without a fraction, text as it is; of a database no feature is asked for."""
    own, labels = config.data.id_column, config.predictions.labels
    return config.data.model_copy(
        update={
            "source": labels or config.data.source,
            "query": config.predictions.labels_query if labels else config.data.query,
            "time_column": time_column,
            "features": () if is_database(labels or config.data.source) else None,
            "categorical": tuple({*config.data.categorical, *((own,) if own else ())}),
            "history_days": None,
            "label_time_column": None if labels else config.data.label_time_column,
        }
    )

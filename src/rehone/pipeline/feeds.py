"""Open what a run reads: the data, the prediction log, and the rows to learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rehone import data
from rehone.config import Config
from rehone.data import NAMED, EngineSource, Labels, Rows, Served, Taught
from rehone.data.warehouse import Warehouse
from rehone.errors import DataError
from rehone.records import Check, CheckStatus

_MARGIN = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Feeds:
    """Where rows come from on a day.

    `learn` is what a challenger learns from; `offline` is data.source, `None` when it is not
    needed and cannot be read; `served` and `labels` are `None` when the loop is not closed.
    """

    learn: Rows
    offline: Rows | None
    served: Served | None = None
    labels: Labels | None = None
    notes: tuple[Check, ...] = ()

    @property
    def warnings(self) -> tuple[Check, ...]:
        """What was seen of the log and of the labels so far, unless the rows to learn from say it themselves."""
        if isinstance(self.learn, Taught):
            return self.notes
        log, labels = (feed.findings if feed else () for feed in (self.served, self.labels))
        stale = self.labels.stale if self.labels else None
        late = (replace(stale, status=CheckStatus.WARN),) if stale else ()
        return (*self.notes, *log, *labels, *late)

    def remembering(self, before: tuple[Check, ...]) -> Feeds:
        """Return the feeds with what an earlier stage had seen of them, if it is not seen now."""
        return replace(self, notes=(*self.notes, *(check for check in before if check not in self.warnings)))

    def release(self) -> None:
        """Let databases go: nothing is asked of them from here on."""
        for source in (self.learn, self.offline, self.labels.source if self.labels else None):
            if isinstance(source, Warehouse):
                source.release()

    @property
    def known(self) -> tuple[str, ...]:
        """Every column that a name in the configuration may mean."""
        every = (*self.learn.columns, *(self.offline.columns if self.offline else ()))
        return tuple(dict.fromkeys(every))


def open_feeds(config: Config, as_of: datetime, *, champion: bool, frame: object | None = None) -> Feeds:
    """Open what the configuration names, as it was at `as_of`.

    Before there is a champion nothing was served: then data.source is learned from. A lazy
    `frame` stands for data.source.

    Raises:
        DataError: data.source is needed, and nothing can be read of it.
    """
    policy = config.predictions
    learn_served = policy.train_on == "served" and champion
    if policy.evidence == "data" and not learn_served:
        source = _data(config, as_of, frame)
        notes = (*_from_data(config, champion=champion), *_not_drawn(config, source))
        return Feeds(learn=source, offline=source, notes=notes)
    labels = data.open_labels(config, as_of)
    served = data.open_served(config, as_of=as_of, since=None if learn_served else _since(config, as_of))
    if not learn_served:
        source = _data(config, as_of, frame)
        notes = (*_from_data(config, champion=champion), *_not_drawn(config, source))
        return Feeds(learn=source, offline=source, served=served, labels=labels, notes=notes)
    offline = _data(config, as_of, frame) if policy.evidence == "data" else _data_if_any(config, as_of, frame)
    own = config.data.id_column
    ids = offline.columns.get(own) if offline and own else None
    return Feeds(learn=data.learn_from(served, labels, ids=ids), offline=offline, served=served, labels=labels)


def _data(config: Config, as_of: datetime, frame: object | None) -> Rows:
    if frame is not None or config.data.source.startswith(NAMED):
        return data.open_engine(config.data, config.root, as_of=as_of, frame=frame)
    return data.open_source(config.data, config.root, cache=config.cache_path, as_of=as_of, storage=config.storage)


def _data_if_any(config: Config, as_of: datetime, frame: object | None) -> Rows | None:
    try:
        return _data(config, as_of, frame)
    except DataError:  # a project that learns from the log needs no other table
        return None


def _not_drawn(config: Config, source: Rows) -> tuple[Check, ...]:
    """Say that no sample is drawn where there is no engine to draw it."""
    if config.data.max_negatives is None or isinstance(source, EngineSource):
        return ()
    said = "data.max_negatives is set, but data.source is no lazy frame of an engine: all rows are learned from"
    remedy = "take it out, or set train.max_train_rows"
    return (Check(name="max_negatives", subject="data.source", status=CheckStatus.WARN, detail=said, remedy=remedy),)


def _since(config: Config, as_of: datetime) -> datetime:
    """Return the first moment that any window of the evidence can reach."""
    matured = config.trigger.performance_days + config.data.label_delay_days
    return as_of - timedelta(days=max(config.trigger.window_days, matured)) - _MARGIN


def _from_data(config: Config, *, champion: bool) -> tuple[Check, ...]:
    if config.predictions.train_on == "data" or champion:
        return ()
    said = "nothing was served before the first version, so that the first one learns from data.source"
    return (Check(name="train_on", subject="data.source", status=CheckStatus.WARN, detail=said),)

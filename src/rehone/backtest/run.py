"""Replay a project's history under several policies and sum up what each would have brought."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from rehone import data
from rehone.backtest.crew import Crew, make_all
from rehone.backtest.lab import Fitted, Made, Refused, Shelf, make
from rehone.backtest.measured import Month, by_month, cost_matrix, hindsight
from rehone.backtest.past import History, read_history
from rehone.backtest.policies import Policy, policies
from rehone.backtest.results import Backtest, PolicyResult
from rehone.backtest.stage import Stage
from rehone.backtest.suggest import suggestion
from rehone.backtest.walk import Walked, crown, walk
from rehone.config import Config, Predictions
from rehone.errors import DataError
from rehone.records import Event, EventKind

MOST_DECISIONS = 110
"""Decision days of the default grid: about two years by the week."""

MOST_PHASES = 3
"""Starts of a calendar that are replayed and averaged."""

FOLDS = 3
"""Folds of cross-validation in a replay: enough to place a threshold by."""

LATE = 1.2
"""Share of its limit at which the age of a champion is seen too late to stand for production."""

WINDOWS = ("trailing", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a replay is made.

    `every` are the days between two decisions, left out: 1, 7 or more, so that there are at most
    about a hundred. `names` are the policies to replay, left out: all. `processes` make models at
    a time; `clock` gives seconds, for the time left.
    """

    every: float | None = None
    names: tuple[str, ...] = ()
    processes: int = 1
    toml: str = ""
    clock: Callable[[], float] | None = None
    listen: Callable[[Event], None] = lambda _: None


def backtest(config: Config, source: data.Rows, order: Order) -> Backtest:
    """Replay every policy day by day, with the same models, and measure what users would have had.

    Whatever can be decided from rows is decided as in production, by the same functions. What a
    replay cannot know is said in `notes`.

    Raises:
        DataError: there are no rows, or no first version would have passed the gate.
    """
    played = _as_replayed(config)
    order.listen(Event(kind=EventKind.STARTED, stage="read"))
    history = read_history(source, played)
    every = order.every or default_grid(history)
    days = grid(history, every)
    if not days:
        raise DataError(f"{(history.end - history.start).days} days of rows are too few to replay: need some weeks")
    said = f"{history.frame.height:,} rows from {history.start:%Y-%m-%d} to {history.end:%Y-%m-%d}, a decision every {every:g} days"
    order.listen(Event(kind=EventKind.FINISHED, stage="read", sentence=said))
    kitchen = _Kitchen(history, order)
    stage = Stage(history, days, kitchen.made)
    first = _first(stage, played)
    chosen = _chosen(policies(played, every=every), order.names)
    if any(policy.period == every for policy in chosen):
        kitchen.stock([day for day in days if day > first.as_of])
    walked = _walk_all(stage, chosen, first, order, every)
    return _summed(config, order, walked, _Sum(history, kitchen.models(first), first, every))


def _as_replayed(config: Config) -> Config:
    """Return the configuration that is replayed: rows come from the data alone, folds are few."""
    train = config.train.model_copy(update={"folds": min(config.train.folds, FOLDS)})
    return config.model_copy(update={"train": train, "predictions": Predictions()})


def default_grid(history: History) -> float:
    """Return 1 or the multiple of 7 days that gives at most about a hundred decisions."""
    span = (history.end - history.start).days
    return 1.0 if span <= MOST_DECISIONS else 7.0 * math.ceil(span / 7 / MOST_DECISIONS)


def grid(history: History, every: float) -> tuple[datetime, ...]:
    """Return the midnights, in the zone of the data, on which decisions fall; the first with some rows behind it."""
    zone = ZoneInfo(history.config.data.timezone)
    ahead = min(history.config.data.lookback_days, (history.end - history.start).days / 4)
    start = (history.start + timedelta(days=ahead)).astimezone(zone).date() + timedelta(days=1)
    days, n = [], 0
    while (moment := datetime.combine(start + timedelta(days=n * every), time(), zone)) < history.end:
        days.append(moment.astimezone(ZoneInfo("UTC")))
        n += 1
    return tuple(days)


def _first(stage: Stage, config: Config) -> Fitted:
    first, events = crown(stage, config)
    if first is None:
        last = events[-1] if events else None
        why = f"on {last.day:%Y-%m-%d}: {last.sentence}" if last else "there is no day to train on"
        raise DataError(
            f"no first version would have gone live on any of {len(events)} days, and so nothing can be compared; {why}"
        )
    return first


def _chosen(every: tuple[Policy, ...], names: Sequence[str]) -> tuple[Policy, ...]:
    if not names:
        return every
    known = {policy.name: policy for policy in every}
    if strange := [name for name in names if name not in known]:
        raise DataError(f"no policy {', '.join(map(repr, strange))}: use {', '.join(known)}")
    wanted = dict.fromkeys((*names, "never", "current"))
    return tuple(policy for policy in every if policy.name in wanted)


class _Kitchen:
    """Make models as they are asked for, or many beforehand, and tell how far that has come."""

    def __init__(self, history: History, order: Order) -> None:
        self._history, self._order = history, order
        self._windows = tuple(dict.fromkeys((*history.config.train.windows, *WINDOWS)))
        self._shelf = Shelf.of(history, history.config, self._windows)
        self._made: dict[datetime, Made] = {}

    def made(self, day: datetime) -> Made:
        """Return the models of a day."""
        if day not in self._made:
            found = self._shelf.get(day)
            if found is None:
                found = make(self._history, self._history.config, day, self._windows)
                self._shelf.put(day, found)
            self._made[day] = found
        return self._made[day]

    def stock(self, days: Sequence[datetime]) -> None:
        """Make the models of many days, several at a time."""
        told = _Pace(self._order, len(days))
        order = self._order
        order.listen(Event(kind=EventKind.STARTED, stage="train"))
        done: set[datetime] = set()

        def ended(day: datetime) -> None:
            done.add(day)
            told.one(f"models as of {day:%Y-%m-%d}")

        make_all(self._history, self._shelf, days, self._windows, Crew(order.processes, ended))
        for day in days:
            self.made(day)
            if day not in done:
                ended(day)
        fits = sum(len(m) for m in self._made.values() if not isinstance(m, Refused))
        said = f"{fits} models of {len(self._made)} days, shared by all policies"
        order.listen(Event(kind=EventKind.FINISHED, stage="train", sentence=said))

    def models(self, first: Fitted) -> tuple[Fitted, ...]:
        """Return every model that was made since the first version, that one first."""
        made = [self._made[day] for day in sorted(self._made)]
        later = (m for models in made if not isinstance(models, Refused) for m in models if m.as_of > first.as_of)
        return (first, *later)


class _Pace:
    """Tell how many of how many are done and about how long the rest takes."""

    def __init__(self, order: Order, total: int) -> None:
        self._order, self._total, self._done = order, total, 0
        self._begun = order.clock() if order.clock else 0.0

    def one(self, what: str) -> None:
        self._done += 1
        left = ""
        if self._order.clock is not None and self._done < self._total:
            seconds = (self._order.clock() - self._begun) / self._done * (self._total - self._done)
            left = f"{_lasting(seconds)} left: "
        event = Event(
            kind=EventKind.PROGRESS, stage="train", sentence=f"{left}{what}", done=self._done, total=self._total
        )
        self._order.listen(event)


def _lasting(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _walk_all(
    stage: Stage, chosen: Sequence[Policy], first: Fitted, order: Order, every: float
) -> dict[str, list[Walked]]:
    walked: dict[str, list[Walked]] = {}
    order.listen(Event(kind=EventKind.STARTED, stage="replay"))
    for i, policy in enumerate(chosen):
        phases = min(MOST_PHASES, round(policy.period / every)) if policy.period else 1
        walked[policy.name] = [walk(stage, policy, first, phase=k, phases=phases) for k in range(phases)]
        event = Event(kind=EventKind.PROGRESS, stage="replay", sentence=policy.name, done=i + 1, total=len(chosen))
        order.listen(event)
    days = sum(day > first.as_of for day in stage.days)
    said = f"{len(chosen)} policies over {days} days of decision each"
    order.listen(Event(kind=EventKind.FINISHED, stage="replay", sentence=said))
    return walked


# --- summing up -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sum:
    history: History
    models: tuple[Fitted, ...]
    first: Fitted
    every: float

    @property
    def first_row(self) -> int:
        return self.history.upto(self.first.as_of)

    def hindsight(self, price: float) -> float:
        """Return the least total cost of any sequence of models."""
        days = sorted({model.as_of for model in self.models})
        bounds = [*(self.history.upto(day) for day in days), self.history.frame.height]
        places = {day: i for i, day in enumerate(days)}
        costs = cost_matrix(self.history, self.models, bounds)
        return hindsight(costs, [places[model.as_of] for model in self.models], price)


def _summed(config: Config, order: Order, walked: dict[str, list[Walked]], sums: _Sum) -> Backtest:
    price = config.backtest.cost_of_retraining
    best = sums.hindsight(price)
    results = tuple(_result(list(walks), sums, price, best) for walks in walked.values())
    history = sums.history
    return Backtest(
        project=config.project.name,
        start=history.start,
        end=history.end,
        first=sums.first.as_of,
        rows=history.frame.height,
        live_rows=history.frame.height - sums.first_row,
        every=sums.every,
        fits=len({model.as_of for model in sums.models}),
        cost_of_retraining=price,
        hindsight=best,
        policies=results,
        suggestion=suggestion(results, order.toml),
        notes=tuple(_notes(config, sums.every)),
    )


def _result(walks: list[Walked], sums: _Sum, price: float, best: float) -> PolicyResult:
    policy, n = walks[0].policy, sums.history.frame.height
    months = [by_month(sums.history, walked.served(n), sums.first_row) for walked in walks]
    merged = tuple(_merged(column) for column in zip(*months, strict=True))
    aucs = [m.roc_auc for m in merged if m.roc_auc is not None]
    worst = min((m for m in merged if m.roc_auc is not None), key=lambda m: m.roc_auc or 0.0, default=None)
    recalls = [m.recall for m in merged if m.recall is not None]
    rows = sum(m.rows for m in merged)
    money = sum(m.cost_per_1000 * m.rows for m in merged) / 1000
    trained = _mean([walked.trained for walked in walks])
    return PolicyResult(
        name=policy.name,
        says=policy.says,
        phases=len(walks),
        trained=trained,
        deployed=_mean([walked.count("deployed") for walked in walks]),
        refused=_mean([walked.count("rejected", "inconclusive", "invalid") for walked in walks]),
        blocked=_mean([walked.count("blocked") for walked in walks]),
        rolled_back=_mean([walked.count("rolled_back") for walked in walks]),
        roc_auc=_mean(aucs) if aucs else None,
        worst_roc_auc=worst.roc_auc if worst else None,
        worst_month=worst.name if worst else "",
        recall=_mean(recalls) if recalls else None,
        cost_per_1000=1000 * money / rows if rows else 0.0,
        money=money,
        spent=price * trained,
        regret=money + price * trained - best,
        months=merged,
        events=walks[0].events,
        change=_change(policy),
    )


def _change(policy: Policy) -> dict[str, dict[str, Any]] | None:
    if not policy.expressible:
        return None
    windows = {"train": {"windows": policy.windows}} if policy.windows else {}
    return {**({"trigger": dict(policy.trigger)} if policy.trigger else {}), **windows}


def _merged(phases: Sequence[Month]) -> Month:
    """Average one month over the phases of a calendar."""
    one = phases[0]
    return replace(
        one,
        roc_auc=None if one.roc_auc is None else _mean([m.roc_auc or 0.0 for m in phases]),
        recall=None if one.recall is None else _mean([m.recall or 0.0 for m in phases]),
        cost_per_1000=_mean([m.cost_per_1000 for m in phases]),
    )


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.mean(values))


def _notes(config: Config, every: float) -> list[str]:
    notes = list(_late(config.trigger.max_age_days, every))
    if config.predictions.evidence == "served" or config.predictions.train_on == "served":
        notes.append("the prediction log is not replayed: evidence and training rows come from data.source")
    if config.trigger.action != "retrain":
        notes.append(f'trigger.action = "{config.trigger.action}" is not replayed: every policy trains anew')
    if config.train.probe == "skip":
        notes.append("train.probe is not replayed: no retrain is skipped by it")
    if config.data.label_completeness is not None:
        notes.append("the delay of labels is not learned anew each day: data.label_delay_days holds throughout")
    if config.train.folds > FOLDS:
        notes.append(f"thresholds are chosen on {FOLDS} folds instead of {config.train.folds}")
    if not config.backtest.cost_of_retraining:
        notes.append("backtest.cost_of_retraining is 0: retrains are free here, and only the costs of decisions count")
    return notes


def _late(age: float | None, every: float) -> Iterator[str]:
    """Say so when the first day of decision on which a champion is older than its limit comes much later than that."""
    if age is None:
        return
    acts = (math.floor(age / every) + 1) * every
    if acts > LATE * age and every > 1:
        yield (
            f"age > {age:g} days is only seen after {acts:g} days, with a decision every {every:g} days: "
            f"use --every {math.floor(age) + 1}, or a few days"
        )

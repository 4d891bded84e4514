"""Walk one policy through a history, deciding, validating and judging as the pipeline does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from rehone import forecast, metrics, trigger
from rehone.backtest.lab import Fitted, Refused, best
from rehone.backtest.measured import Live
from rehone.backtest.past import History, micros
from rehone.backtest.policies import Policy
from rehone.backtest.stage import Before, Stage
from rehone.config import Config
from rehone.pipeline.evidence import attempts
from rehone.records import DeploymentAction, Evidence, Outcome, Realised, RunStatus, TriggerKind, Verdict, Window
from rehone.runlog import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened on a day of a replay: a challenger that was judged, a block, a rollback."""

    day: datetime
    trigger: TriggerKind | None
    ending: str
    sentence: str
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What became of one policy: what happened, and which model was live from which row on.

    `live[i]` is live for the rows from `starts[i]` to `starts[i + 1]`.
    """

    policy: Policy
    phase: int
    events: tuple[Event, ...]
    starts: tuple[int, ...]
    live: tuple[Fitted, ...] = field(repr=False)

    def count(self, *endings: str) -> int:
        """Return how many events ended so."""
        return sum(event.ending in endings for event in self.events)

    @property
    def trained(self) -> int:
        """Count the challengers that were trained and judged, deployed or not."""
        return self.count("deployed", "rejected", "inconclusive", "invalid")

    def served(self, n: int) -> Live:
        """Return what users would have had of the first `n` rows."""
        scores, acted, reign = np.full(n, np.nan), np.zeros(n, dtype=bool), np.full(n, -1)
        for number, (model, start, end) in enumerate(zip(self.live, self.starts, (*self.starts[1:], n), strict=True)):
            scores[start:end] = model.scores[start:end]
            acted[start:end] = model.scores[start:end] >= model.threshold
            reign[start:end] = number
        return Live(scores, acted, reign)


def walk(stage: Stage, policy: Policy, first: Fitted, *, phase: int = 0, phases: int = 1) -> Walked:
    """Replay a history under a policy, from the day on which `first` went live.

    A calendar of several phases starts as if the first version were `phase / phases` of its period old.
    """
    config = policy.config(stage.history.config)
    ahead = timedelta(days=(policy.period or 0) * phase / phases)
    walker = _Walker(stage, policy, config, live=first, born=first.as_of - ahead)
    for day in stage.days:
        if day > first.as_of:
            walker.day(day)
    return Walked(
        policy=policy,
        phase=phase,
        events=tuple(walker.events),
        starts=tuple(stage.history.upto(since) for since, _ in walker.reigns),
        live=tuple(model for _, model in walker.reigns),
    )


@dataclass
class _Walker:
    stage: Stage
    policy: Policy
    config: Config
    live: Fitted
    born: datetime
    events: list[Event] = field(default_factory=list)
    before: Before = field(default_factory=Before)
    reigns: list[tuple[datetime, Fitted]] = field(default_factory=list)
    replaced: Fitted | None = None
    promise: Realised | None = None

    def __post_init__(self) -> None:
        self.reigns.append((self.live.as_of, self.live))
        self.before.enthroned(self.live, self.live.as_of, DeploymentAction.DEPLOY)

    def day(self, day: datetime) -> None:
        """Live through one day: look, decide, validate, train, judge, promote."""
        self._roll_back(day)
        decision = trigger.decide(self._evidence(day), self.config.trigger)
        if decision.blocked:
            return self._note(day, decision.kind, "blocked", decision.reason)
        if decision.kind is None:
            return None
        if why := self.stage.invalid(self.config, self.live, day):
            return self._note(day, decision.kind, "blocked", why)
        made = self.stage.make(day)
        if isinstance(made, Refused):
            return self._note(day, decision.kind, "blocked", made.why)
        challenger = best(made, self.config.train.windows)
        verdict = self.stage.judge(self.config, challenger, self.live, self.before)
        self._trained(challenger, verdict, decision.kind)
        return self._note(day, decision.kind, _ending(verdict), f"{decision.reason}: {verdict.reason}", challenger)

    def _evidence(self, day: datetime) -> Evidence:
        seen = self.stage.evidence(self.config, self.live, day)
        return replace(
            seen,
            champion_as_of=self.born,
            attempts=attempts(tuple(self.before.lines), day),
            forced=self.policy.excess and self._excess(day),
        )

    def _trained(self, challenger: Fitted, verdict: Verdict, kind: TriggerKind) -> None:
        passed = verdict.outcome is Outcome.PASS
        day = challenger.as_of
        self.before.lines.append(
            Line(
                run_id=f"{day:%Y%m%d}",
                path="",
                status=_STATUS[_ending(verdict)],
                trigger=kind,
                as_of=day,
                started_at=day,
                trained=True,
                holdout=None if verdict.outcome is Outcome.INVALID else challenger.split.holdout,
                sha256="",
                chain="",
            )
        )
        if passed:
            self.promise, self.replaced = _promised(self.config, challenger, self.live, verdict), self.live
            self._enthrone(day, challenger, DeploymentAction.DEPLOY)

    def _enthrone(self, day: datetime, model: Fitted, action: DeploymentAction) -> None:
        self.live, self.born = model, day
        self.before.enthroned(model, day, action)
        self.reigns.append((day, model))

    def _note(
        self, day: datetime, kind: TriggerKind | None, ending: str, said: str, model: Fitted | None = None
    ) -> None:
        name = model.id if model else ""
        self.events.append(Event(day=day, trigger=kind, ending=ending, sentence=said, model=name))

    def _roll_back(self, day: datetime) -> None:
        """Put the replaced version back when its promotion turns out a regret, by the rule of `forecast`."""
        promise, history = self.promise, self.stage.history
        if promise is None or self.replaced is None:
            return
        rows = matured(history, promise.promoted_at, day)
        labels = history.labels[rows]
        positives = int((labels == 1).sum())
        fewest = self.config.gate.min_positives
        if min(positives, rows.size - positives) < forecast.FEWEST or not forecast.ripe(
            promise, positives, day, fewest=fewest
        ):
            return
        outcome = forecast.Outcome(
            labels=labels,
            replaced=self.replaced.scores[rows],
            promoted=self.live.scores[rows],
            blocks=history.times[rows] // _DAY,
        )
        told = forecast.close(promise, outcome, Window(promise.promoted_at, day))
        back, self.promise = self.replaced, None
        if told.regret:
            self._note(day, None, "rolled_back", told.detail, back)
            self._enthrone(day, back, DeploymentAction.ROLLBACK)

    def _excess(self, day: datetime) -> bool:
        """Say whether decisions have cost more than promised, together, by what a retrain costs."""
        history = self.stage.history
        rows = matured(history, self.born, day)
        if not rows.size:
            return False
        price = self.config.backtest.cost_of_retraining
        costs = (self.config.train.cost_false_positive, self.config.train.cost_false_negative)
        acted = self.live.scores[rows] >= self.live.threshold
        paid = metrics.cost_of_rows(history.labels[rows], acted, costs)
        return float(paid.sum() - promised(history, self.live, costs) * rows.size) > max(price, _LEAST * costs[1])


_LEAST = 20
"""Excess, in missed positives, below which a retrain that costs nothing is not worth the trouble."""

_STATUS = {
    "deployed": RunStatus.DEPLOYED,
    "rejected": RunStatus.REJECTED,
    "inconclusive": RunStatus.INCONCLUSIVE,
    "invalid": RunStatus.FAILED,
}


_DAY = 86_400_000_000


def _promised(config: Config, promoted: Fitted, replaced: Fitted, verdict: Verdict) -> Realised | None:
    """Return what the gate promised of a promotion, as `forecast.promised` reads it from a record."""
    seen = next((check for check in verdict.checks if check.name == forecast.COMPARED), None)
    if seen is None or seen.value is None:
        return None
    day = promoted.as_of
    return forecast.promise(
        forecast.Promotion(f"{day:%Y%m%d}", promoted.id, replaced.id, day),
        forecast.Promise(seen.value, seen.interval, seen.positives or 0),
        level=config.gate.level,
        fewest=config.gate.min_positives,
    )


def _ending(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.PASS:
        return "deployed"
    if verdict.outcome is Outcome.FAIL:
        return "rejected"
    lacking = verdict.outcome is Outcome.INCONCLUSIVE or verdict.lacks_rows
    return "inconclusive" if lacking else "invalid"


def matured(history: History, since: datetime, day: datetime) -> NDArray[np.int64]:
    """Return the rows from `since` to `day` whose label was due and seen by then."""
    start, end = history.upto(since), history.upto(day)
    limit = micros(day)
    known = (np.maximum(history.due[start:end], history.known[start:end]) <= limit) & (history.labels[start:end] >= 0)
    return np.flatnonzero(known) + start


def promised(history: History, model: Fitted, costs: tuple[float, float]) -> float:
    """Return the cost of a decision on the rows that the model was judged on."""
    held = model.split.holdout
    start, end = history.upto(held.start), history.upto(held.end)
    rows = np.arange(start, end)
    rows = rows[(history.labels[rows] >= 0) & (history.due[rows] <= micros(model.as_of))]
    acted = model.scores[rows] >= model.threshold
    return float(metrics.cost_of_rows(history.labels[rows], acted, costs).mean()) if rows.size else 0.0


def crown(
    stage: Stage, config: Config, on: Callable[[datetime], None] = lambda _: None
) -> tuple[Fitted | None, Sequence[Event]]:
    """Find the first version that the gate lets go live, with all that was refused before."""
    events: list[Event] = []
    for day in stage.days:
        on(day)
        if why := stage.invalid(config, None, day):
            events.append(Event(day=day, trigger=TriggerKind.BOOTSTRAP, ending="blocked", sentence=why))
            continue
        made = stage.make(day)
        if isinstance(made, Refused):
            events.append(Event(day=day, trigger=TriggerKind.BOOTSTRAP, ending="blocked", sentence=made.why))
            continue
        model = best(made, config.train.windows)
        verdict = stage.judge(config, model, None, Before())
        events.append(
            Event(
                day=day, trigger=TriggerKind.BOOTSTRAP, ending=_ending(verdict), sentence=verdict.reason, model=model.id
            )
        )
        if verdict.outcome is Outcome.PASS:
            return model, events
    return None, events

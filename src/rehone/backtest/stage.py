"""Set the stage of a replay: what was known, valid and judged on each day, asked once for all policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import artifact, data, gate
from rehone.backtest.lab import Fitted, Made, Reigning, columns_of, deployed, echo, profile_of, reigning
from rehone.backtest.past import History, Past
from rehone.config import Config
from rehone.pipeline.anchors import Past as Anchors
from rehone.pipeline.anchors import past_champions
from rehone.pipeline.comparison import Matter, holdout, marks, scored_champion, seen
from rehone.pipeline.evidence import Look, findings, look
from rehone.pipeline.feeds import Feeds
from rehone.pipeline.taking import trailing_window
from rehone.pipeline.words import acting, all_of
from rehone.records import Attempts, Deployment, DeploymentAction, Evidence, Verdict, Window
from rehone.runlog import Line
from rehone.store import Store


@dataclass
class Stage:
    """What all walks share: the history, the models made so far, and what was asked of them before."""

    history: History
    days: tuple[datetime, ...]
    make: Callable[[datetime], Made]
    _marks: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = field(default=None, repr=False)
    _thrones: dict[str, Reigning] = field(default_factory=dict, repr=False)
    _seen: dict[tuple[str, datetime], Evidence] = field(default_factory=dict, repr=False)
    _valid: dict[tuple[str, datetime], str] = field(default_factory=dict, repr=False)
    _pasts: dict[datetime, Past] = field(default_factory=dict, repr=False)
    _judged: dict[tuple[object, ...], Verdict] = field(default_factory=dict, repr=False)

    def past(self, day: datetime) -> Past:
        """Return the rows as they were on a day."""
        if day not in self._pasts:
            self._pasts[day] = Past(self.history, day)
        return self._pasts[day]

    def feeds(self, day: datetime) -> Feeds:
        """Return what a run of that day would have read."""
        return Feeds(learn=self.past(day), offline=self.past(day))

    def champion(self, config: Config, model: Fitted) -> Reigning:
        """Return a model as the pipeline sees a champion, with the marks of what it learned from."""
        if model.id not in self._thrones:
            if self._marks is None:
                contract = model.manifest.contract
                self._marks = (
                    marks(config, self.history.frame, contract),
                    artifact.near_fingerprints(self.history.frame, contract),
                )
            made = reigning(model, config, profile_of(self.history, self.history.config, model))
            own, near = self._marks
            self._thrones[model.id] = replace(made, marks=own[model.learned], near_marks=near[model.learned])
        return self._thrones[model.id]

    def evidence(self, config: Config, model: Fitted, day: datetime) -> Evidence:
        """Return what was known of a champion on a day, but for its age and what earlier runs did."""
        key = (model.id, day)
        if key not in self._seen:
            champion = self.champion(config, model)
            view = Look(
                config=_all_known(config), feeds=self.feeds(day), champion=champion, as_of=day, attempts=Attempts()
            )
            self._seen[key] = look(view)
        return self._seen[key]

    def invalid(self, config: Config, model: Fitted | None, day: datetime) -> str:
        """Say what is wrong with the rows that a challenger of that day would learn from; empty when nothing is."""
        key = (model.id if model else "", day)
        if key not in self._valid:
            champion = self.champion(config, model) if model else None
            found = findings(self.feeds(day), config, day, champion)
            past, window = self.past(day), trailing_window(config, day)
            reference = champion.profile if champion else None
            facts = past.facts(window, past.features(), now=day, profile=reference)
            broken = acting((*found, *data.validate(facts, config.data, reference)))
            self._valid[key] = all_of("data incident", broken) if broken else ""
        return self._valid[key]

    def judge(self, config: Config, challenger: Fitted, champion: Fitted | None, before: Before) -> Verdict:
        """Let the gate judge a challenger as a run of its day would."""
        anchors = before.anchors(challenger.as_of) if config.gate.anchor_budget else Anchors(())
        others = (champion.id if champion else "", *anchors.versions)
        key = (challenger.id, others, anchors.tries, before.holdouts(challenger.split.holdout), config.gate)
        if key not in self._judged:
            self._judged[key] = self._judge(config, challenger, champion, (before, anchors))
        return self._judged[key]

    def _judge(
        self, config: Config, challenger: Fitted, champion: Fitted | None, known: tuple[Before, Anchors]
    ) -> Verdict:
        before, anchors = known
        past = self.past(challenger.as_of)
        held = past.labelled(challenger.split.holdout, columns_of(config, past.features()))
        throne = self.champion(config, champion) if champion else None
        matter = Matter(
            config=config,
            contract=challenger.manifest.contract,
            window=challenger.split.holdout,
            champion=throne,
            lines=tuple(before.lines),
            learned=self.history.frame[challenger.learned],
            as_of=challenger.as_of,
            anchor_tries=anchors.tries,
        )
        return gate.judge(
            holdout(matter, held),
            self._scored(config, challenger, held, version=None),
            scored_champion(throne, held),
            config.gate,
            costs=(config.train.cost_false_positive, config.train.cost_false_negative),
            anchors=[self._scored(config, before.models[name], held, version=name) for name in anchors.versions],
        )

    def _scored(self, config: Config, model: Fitted, held: pl.DataFrame, *, version: str | None) -> gate.Scored:
        found = None
        if version is not None:  # a past champion: the rows that it learned from do not count
            found = seen(marks(config, held, model.manifest.contract), self.champion(config, model).fingerprints)
        return gate.Scored(
            version=version,
            scores=echo(model).predict_proba(held),
            threshold=model.threshold,
            train_end=model.manifest.train_end,
            seen=found,
        )


@dataclass
class Before:
    """What happened before a day of a walk: the runs that trained, and the log of deployments."""

    lines: list[Line] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    models: dict[str, Fitted] = field(default_factory=dict)

    def log(self) -> list[Deployment]:
        """Return the deployment log, as a store does."""
        return self.deployments

    def versions(self) -> list[Any]:
        """Return every version that was ever live, as a store that forgets none."""
        return list(self.models.values())

    def anchors(self, day: datetime) -> Anchors:
        """Return the past champions that a run of that day would hold its challenger against."""
        return past_champions(cast(Store, self), self.lines, day)

    def holdouts(self, held: Window) -> tuple[Window, ...]:
        """Return the earlier holdouts that share time with one."""
        found = (line.holdout for line in self.lines if line.holdout is not None)
        return tuple(one for one in found if one.start < held.end and held.start < one.end)

    def enthroned(self, model: Fitted, day: datetime, action: DeploymentAction) -> None:
        """Note that a model went live."""
        self.models[model.id] = model
        self.deployments.append(deployed(len(self.deployments) + 1, model.id, day, action))


def _all_known(config: Config) -> Config:
    """Ask for everything that some policy may look at, but not for the kind of shift, which decides nothing."""
    changed = config.trigger.model_copy(update={"shift_rows": 0, "min_estimated_recall": 0.5})
    return config.model_copy(update={"trigger": changed})

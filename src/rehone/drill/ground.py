"""Prepare the ground of a drill in a folder of its own: real rows, an honest challenger, a stand-in champion.

The rows are those that a run of the day would take, split as it would. The champion is a fit of the
same recipe on other rows of the same days, published and deployed in a store that is thrown away,
so that every comparison is between models of known making. The project itself is only read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import artifact, deploy, metrics, train
from rehone.artifact import Predictor
from rehone.config import Candidate, Config
from rehone.errors import DataError, NotFound
from rehone.pipeline.evidence import read_champion
from rehone.pipeline.feeds import open_feeds
from rehone.pipeline.judging import judge
from rehone.pipeline.maturing import open_matured
from rehone.pipeline.publishing import publish
from rehone.pipeline.scene import Scene
from rehone.pipeline.story import go, steps
from rehone.pipeline.taking import trailing_window
from rehone.records import Check, CheckStatus, Metrics, Verdict

CLUSTERED = ("xgboost_external", "xgboost_dask", "xgboost_spark")
SHARE = 0.8
"""Share of the rows that each of several equal models learns from, drawn anew for each."""
FOLDS = 3


@dataclass
class Ground:
    """What every sabotage starts from. `honest` learned from all rows, the champion from a part of them."""

    scene: Scene
    recipe: Candidate
    most_rows: int
    honest: train.Search = field(init=False)

    @property
    def config(self) -> Config:
        return self.scene.config

    @property
    def champion(self) -> Predictor:
        if self.scene.champion is None:
            raise NotFound("the drill has no champion yet")
        return self.scene.champion.predictor

    @property
    def labels(self) -> NDArray[np.bool_]:
        return self.scene.held[self.config.data.label].cast(pl.Boolean).to_numpy()

    def fit(
        self, frame: pl.DataFrame, *, seed: int, more: Sequence[str] = (), since: datetime | None = None
    ) -> train.Search:
        """Fit the recipe on rows, with its threshold chosen as a run would.

        Raises:
            TrainingError: the rows do not suffice.
        """
        config = self.config
        contract = artifact.learn_contract(
            frame, (*self.scene.features, *more), label=config.data.label, categorical=config.data.categorical
        )
        start = since or trailing_window(config, self.scene.door.as_of).start
        rows = train.TrainingRows(frame=frame.sort("__time__"), trailing_start=start, contract=contract)
        policy = config.train.model_copy(
            update={
                "candidates": (self.recipe,),
                "windows": ("trailing",),
                "folds": min(FOLDS, config.train.folds),
                "max_train_rows": min(self.most_rows, config.train.max_train_rows or self.most_rows),
                "backend": "threads",
                "backend_address": None,
            }
        )
        return train.search(rows, policy, seed=seed)

    def sample(self, seed: int) -> pl.DataFrame:
        """Return a part of the rows to learn from, drawn at random."""
        return self.scene.learned.sample(fraction=SHARE, seed=seed)

    def bring(self, search: Any = None, **changes: Any) -> Verdict:
        """Bring a challenger before the gate as a run does; `changes` replace what the run would have."""
        scene = copy.copy(self.scene)
        scene.search = search or self.honest
        for name, value in changes.items():
            setattr(scene, name, value)
        judge(scene)
        return scene.verdict

    def measure(self, scores: NDArray[np.float64], threshold: float) -> Metrics:
        """Measure scores on the held-out rows."""
        costs = (self.config.train.cost_false_positive, self.config.train.cost_false_negative)
        return metrics.measure(self.labels, scores, threshold, costs=costs)

    def harm(self, scores: NDArray[np.float64], threshold: float) -> str:
        """Say in what scores are worse than the champion by more than a margin of the gate; nothing if in nothing."""
        gate, own = self.config.gate, self.champion
        before = self.measure(own.predict_proba(self.scene.held), own.threshold)
        after = self.measure(scores, threshold)
        said = []
        for name, least in (("roc_auc", gate.margin_roc_auc), ("recall", gate.margin_recall)):
            then, now = getattr(before, name), getattr(after, name)
            if then is not None and now is not None and now < then - least:
                said.append(f"{'ROC-AUC' if name == 'roc_auc' else name} {then:.3f} -> {now:.3f}")
        then, now = before.cost_per_1000, after.cost_per_1000
        if then is not None and now is not None and now > then * (1 + gate.margin_cost):
            said.append(f"cost per 1,000 {then:,.4g} -> {now:,.4g}")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class Twisted:
    """A model whose answers are twisted on the way; what the gate sees of a challenger, and no more.

    `scores` are what it says of the held-out rows, whoever asks.
    """

    like: Predictor
    scores: NDArray[np.float64]

    @property
    def contract(self) -> Any:
        return self.like.contract

    @property
    def threshold(self) -> float:
        return self.like.threshold

    def predict_proba(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        del rows
        return self.scores

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the model below says: of rows that nobody holds out, as figures ask about, nothing is twisted."""
        return self.like.score(matrix)


def twisted(search: train.Search, scores: NDArray[np.float64]) -> Any:
    """Return a search whose winner gives these scores to the held-out rows."""
    model: Any = Twisted(search.predictor, scores)  # which has all of a predictor that a gate and figures ask for
    return replace(search, predictor=model)


def apart(config: Config, folder: Path) -> Config:
    """Return the configuration with a store, a run log and a cache of its own, which trains and signs nothing else."""
    project = config.project.model_copy(update={name: str(folder / name) for name in ("store", "runs", "cache")})
    deploy_ = config.deploy.model_copy(update={"signing_key": None, "trusted_keys": ()})
    trigger = config.trigger.model_copy(update={"action": "retrain"})
    return config.model_copy(update={"project": project, "deploy": deploy_, "trigger": trigger})


def newest(config: Config, now: datetime, *, champion: bool) -> datetime:
    """Return the moment just after the newest row, or now if that is earlier.

    `champion`: whether the project has one, whose served rows may be what is learned from.

    Raises:
        DataError: there is no row.
    """
    feeds = open_feeds(config, now, champion=champion)
    span = feeds.learn.span()
    feeds.release()
    if span is None:
        raise DataError("there is no row to drill with: `rehone check` says why")
    return min(now, span.end + timedelta(microseconds=1))


def prepare(scene: Scene, most_rows: int, *, champion: bool) -> Ground:
    """Take the rows of the day, fit the honest challenger, and deploy the stand-in champion.

    `champion`: whether the project has one, as in `newest`.

    Raises:
        DataError: the rows cannot be learned from.
        TrainingError: the recipe cannot be fitted.
    """
    door = scene.door
    scene.config, scene.feeds, _ = open_matured(scene.config, door.as_of, champion=champion, frame=door.frame)
    ending = go(scene, [step for step in steps(scene.config) if step[0] == "validate"])
    if ending:
        raise DataError(f"there is nothing to drill with: {ending[1]}")
    ground = Ground(scene, _recipe(scene.config), most_rows)
    seed = scene.config.project.seed
    ground.honest = ground.fit(scene.learned, seed=seed)
    scene.search = ground.fit(ground.sample(seed + 1), seed=seed + 1)
    publish(scene)
    alone = scene.config.deploy.model_copy(update={"service": "none"})
    order = deploy.Order(expect_generation=0, actor=door.actor, run_id=door.run_id, as_of=door.as_of, reason="drill")
    promotion = deploy.promote(scene.store, scene.version, order, alone, clock=door.clock, preflight=taken_for_granted)
    if not promotion.confirmed:
        raise DataError(f"the stand-in champion of the drill cannot be deployed: {promotion.sentence}")
    scene.head = scene.store.head()
    scene.champion = read_champion(scene.store, scene.head, scene.config)
    return ground


def taken_for_granted(*_: Any) -> tuple[Check, ...]:
    """Stand in for the fresh process, which has sabotages of its own."""
    return (Check(name="preflight", status=CheckStatus.OK, detail="taken for granted in the drill"),)


def _recipe(config: Config) -> Candidate:
    """Return the first candidate that is fitted here and not on a cluster."""
    here = [candidate for candidate in config.train.candidates if candidate.estimator not in CLUSTERED]
    return here[0] if here else Candidate(estimator="hist_gradient_boosting")

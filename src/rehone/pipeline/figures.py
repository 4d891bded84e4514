"""Draw up what pages show of a run, from what the run had in hand; whatever goes wrong here, the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rehone import artifact, drift, gate, importance, metrics
from rehone.config import Config
from rehone.gate.legality import examine
from rehone.pipeline.curves import curves
from rehone.pipeline.scene import Scene
from rehone.records import Counts, Curves, Figures, Profile

log = logging.getLogger(__name__)

MOST_ROWS = 5_000
"""Rows that a feature is shuffled in; with more, half of them are positives where there are so many."""

Places = NDArray[np.intp]
Models = tuple[gate.Scored, gate.Scored | gate.Unreadable | None]


def shown(scene: Scene) -> Callable[[Profile, Counts, Counts], None]:
    """Return what keeps the histograms of a run: of all features, and of the scores of the last counts given."""

    def keep(reference: Profile, features: Counts, scores: Counts) -> None:
        with _aside(scene):
            found = drift.histograms(reference, features), drift.score_histogram(reference, scores)
            _keep(scene, Figures(histograms=found[0], scores=found[1]))

    return keep


def judged(scene: Scene, holdout: gate.Holdout, models: Models) -> None:
    """Add the curves of both models on the rows that the gate judged, and what each feature is worth to the challenger.

    `models` are the challenger and the champion as the gate was given them. Where the gate judged nothing, or rows of
    one class alone, there are none.
    """
    with _aside(scene):
        before = scene.runlog.figures(scene.draft.record) or Figures()
        drawn = _Judged.of(scene, holdout, models)
        found = replace(before, curves=(), importance=(), importance_rows=0, importance_left_out=0)
        if drawn is not None and drawn.has_both:
            found = _with_importance(scene, drawn, replace(found, curves=tuple(drawn.curves())))
        if found != before:
            _keep(scene, found)


@contextmanager
def _aside(scene: Scene) -> Iterator[None]:
    try:
        yield
    except Exception:  # a page that lacks a picture is no reason to lose a run
        log.warning("a run goes on without its figures", exc_info=True, extra={"run_id": scene.door.run_id})


def _keep(scene: Scene, found: Figures) -> None:
    scene.draft.note(figures=scene.runlog.keep_figures(scene.draft.record, found))


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the gate judged: labels and models on the legal rows, which are numbered by `rows`."""

    config: Config
    rows: Places
    labels: NDArray[np.bool_] = field(repr=False)
    models: dict[str, gate.Scored]

    @property
    def has_both(self) -> bool:
        """Whether there are rows of both classes: without, no curve and no ROC-AUC."""
        return bool(self.labels.any()) and not self.labels.all()

    @classmethod
    def of(cls, scene: Scene, holdout: gate.Holdout, models: Models) -> _Judged | None:
        if scene.verdict.challenger is None:
            return None
        keep = examine(holdout, *models, scene.config.gate).keep
        if keep is None:
            return None
        named = dict(zip(("challenger", "champion"), models, strict=True))
        read = {role: model for role, model in named.items() if isinstance(model, gate.Scored)}
        return cls(scene.config, np.flatnonzero(keep), holdout.labels[keep] == 1, read)

    def curves(self) -> Iterator[Curves]:
        costs = (self.config.train.cost_false_positive, self.config.train.cost_false_negative)
        for role, model in self.models.items():
            scores = np.asarray(model.scores, dtype=np.float64)[self.rows]
            yield curves(role, self.labels, scores, model.threshold, costs=costs)


def _with_importance(scene: Scene, drawn: _Judged, found: Figures) -> Figures:
    predictor, held, seed = scene.search.predictor, scene.held, scene.config.project.seed
    chosen, values = sample(drawn.labels, seed)
    labels = drawn.labels[chosen]

    def matrix(places: Places) -> NDArray[np.float64]:
        return artifact.encode(held[drawn.rows[places]], predictor.contract)

    asked = importance.Asked(
        names=predictor.contract.names,
        rows=matrix(chosen),
        values=matrix(values),
        score=predictor.score,
        quality=lambda scores: metrics.roc_auc(labels, scores) or 0.0,
    )
    worth = importance.permutation(asked, seed=seed)
    left_out = len(asked.names) - len(worth)
    return replace(found, importance=worth, importance_rows=chosen.size, importance_left_out=left_out)


def sample(labels: NDArray[np.bool_], seed: int) -> tuple[Places, Places]:
    """Choose the rows to be asked about, and those that shuffled values are drawn from, in the order of time.

    ROC-AUC does not depend on how many of each class there are, so of many rows as many positives are taken as
    negatives, if there are; the values come from any rows, as they are in the holdout.
    """
    every = np.arange(labels.size)
    if labels.size <= MOST_ROWS:
        return every, every
    rng = np.random.default_rng(seed)
    positives, negatives = every[labels], every[~labels]
    few = min(positives.size, max(MOST_ROWS // 2, MOST_ROWS - negatives.size))
    chosen = (rng.choice(positives, few, replace=False), rng.choice(negatives, MOST_ROWS - few, replace=False))
    return np.sort(np.concatenate(chosen)), np.sort(rng.choice(every, MOST_ROWS, replace=False))

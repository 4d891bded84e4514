"""Measure history again, window by window: how far the data had moved, and how the version that was live did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from rehone import drift, monitor, profile
from rehone.config import Config
from rehone.data import Rows
from rehone.errors import ContractError, NotFound, RehoneError
from rehone.pipeline.evidence import SCORED_ROWS, Champion, days_of, read_champion
from rehone.records import (
    CalibrationWindow,
    Counts,
    Deployment,
    DeploymentState,
    FeatureDrift,
    Profile,
    ScoreProfile,
    Window,
)
from rehone.runlog import RunLog
from rehone.store import Store

FEWEST_DUE = 0.8
"""Share of a window's rows whose label must be there for its recall to speak for it."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of time and the version that was live in it."""

    champion: Champion
    window: Window


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """With what windows are measured: the project, its rows, which loss counts as a fall."""

    config: Config
    source: Rows
    drop: float


def stretches(store: Store, config: Config, as_of: datetime, version: str | None) -> tuple[Stretch, ...]:
    """Return who was live when, oldest first, up to the newest row whose label is due; or one version held for ever.

    Raises:
        NotFound: there is no such version.
    """
    end = as_of - timedelta(days=config.data.label_delay_days)
    confirmed = [d for d in store.log() if d.state is DeploymentState.CONFIRMED and _when(d) <= as_of]
    if version is not None:
        held = _held(store, confirmed, version)
        confirmed = [held] if held is not None else []
    starts = [*(_when(d) for d in confirmed[1:]), end]
    found = []
    for deployment, until in zip(confirmed, starts, strict=True):
        champion = read_champion(store, deployment, config)
        if champion is not None and champion.version is not None and champion.profile is not None:
            start = max(_when(deployment), champion.version.manifest.train_end + timedelta(microseconds=1))
            found.append(Stretch(champion, Window(start, max(start, min(until, end)))))
    return _joined(found)


def _when(deployment: Deployment) -> datetime:
    return deployment.as_of or deployment.at


def _held(store: Store, confirmed: list[Deployment], wanted: str) -> Deployment | None:
    version = store.version(wanted)
    like = next((d for d in confirmed if d.version == version.id), confirmed[-1] if confirmed else None)
    return replace(like, version=version.id, as_of=version.manifest.as_of) if like else None


def _joined(found: list[Stretch]) -> tuple[Stretch, ...]:
    """Join what follows each other with the same version, as after a confirmation."""
    joined: list[Stretch] = []
    for stretch in found:
        last = joined[-1] if joined else None
        if last and last.champion.id == stretch.champion.id and last.window.end >= stretch.window.start:
            joined[-1] = Stretch(last.champion, Window(last.window.start, stretch.window.end))
        elif stretch.window.days > 0:
            joined.append(stretch)
    return tuple(joined)


def windows_of(stretch: Stretch, days: float) -> Iterator[Window]:
    """Cut a stretch into whole windows that do not overlap; what is left at its end is dropped."""
    start, step = stretch.window.start, timedelta(days=days)
    while start + step <= stretch.window.end:
        yield Window(start, start + step)
        start += step


def measure(ruler: Ruler, champion: Champion, window: Window, baseline: float | None) -> CalibrationWindow:
    """Return drift and recall of one window, against the version that was live in it."""
    reference = champion.profile
    if reference is None:
        raise NotFound(f"version {champion.id[:12]} has no profile")
    counts = ruler.source.counts(window, reference)
    rows, scores, why = _scored(ruler, champion, window)
    if scores is not None:
        counts = replace(counts, scores=_score_counts(rows, scores, reference))
    psi_of = {
        d.feature: d.psi for d in drift.feature_drift(reference, counts) if d.psi is not None and _may_act(d, ruler)
    }
    worst = max(psi_of, key=lambda name: psi_of[name], default="")
    made = CalibrationWindow(
        window=window,
        version=champion.id,
        rows=counts.rows,
        psi=psi_of.get(worst),
        feature=worst,
        score_ks=_ks(reference, counts),
        baseline=baseline,
        psi_of=psi_of,
        detail=why,
    )
    return made if scores is None else _with_recall(ruler, champion, made, rows, scores)


def _may_act(found: FeatureDrift, ruler: Ruler) -> bool:
    ignored = found.feature in ruler.config.trigger.ignore or bool(found.ignored)
    return not ignored and found.incident is None


def _ks(reference: Profile, counts: Counts) -> float | None:
    return drift.score_drift(reference, counts).ks if reference.scores and counts.scores else None


def _score_counts(rows: pl.DataFrame, scores: np.ndarray, reference: Profile) -> ScoreProfile | None:
    scored = rows.with_columns(pl.Series("__score__", scores))
    return profile.count(scored, reference, score="__score__").scores


def _scored(ruler: Ruler, champion: Champion, window: Window) -> tuple[pl.DataFrame, np.ndarray | None, str]:
    """Return the labelled rows of a window with their scores, or why there are none."""
    roles = ruler.config.data
    wanted = (roles.score_column,) if roles.score_column else champion.predictor.contract.names
    columns = tuple(dict.fromkeys((roles.label, *wanted)))
    if missing := [name for name in columns if name not in ruler.source.columns]:
        return pl.DataFrame(), None, f"the data have no column {', '.join(missing)}"
    rows = ruler.source.some(window, columns, SCORED_ROWS, there=(roles.label,))
    if not rows.height:
        return rows, None, "no matured label"
    if roles.score_column:
        return rows, rows[roles.score_column].cast(pl.Float64).to_numpy(), ""
    try:
        return rows, champion.predictor.predict_proba(rows), ""
    except ContractError as error:
        return rows, None, str(error)


def _with_recall(
    ruler: Ruler, champion: Champion, made: CalibrationWindow, rows: pl.DataFrame, scores: np.ndarray
) -> CalibrationWindow:
    config = ruler.config
    if champion.version is None:
        return made
    if rows.height < FEWEST_DUE * min(made.rows, SCORED_ROWS):
        return replace(made, detail=f"only {rows.height:,} of {made.rows:,} rows have a matured label")
    found = monitor.decisions(
        monitor.decided_at(scores, champion.version.manifest.threshold),
        rows[config.data.label].cast(pl.Int8).to_numpy(),
        costs=(config.train.cost_false_positive, config.train.cost_false_negative),
        blocks=days_of(rows),
        level=config.trigger.interval_level,
        min_positives=config.trigger.min_positives,
    )
    return judged(replace(made, recall=found.recall, detail=found.unknown), ruler.drop)


def judged(made: CalibrationWindow, drop: float) -> CalibrationWindow:
    """Say of a window whether its recall had fallen, if both recall and baseline are known."""
    if made.recall is None or not made.baseline:
        return made
    return replace(made, fallen=made.recall.value <= (1 - drop) * made.baseline + 1e-12)


def baseline_of(champion: Champion, runlog: RunLog) -> float | None:
    """Return the recall that a version had when it was judged; else out of sample while it was trained; else `None`."""
    if champion.version is None:
        return None
    try:
        verdict = runlog.find(champion.version.manifest.run_id).verdict
    except RehoneError:
        verdict = None
    if verdict is not None and verdict.challenger is not None and verdict.challenger.recall is not None:
        return verdict.challenger.recall
    scores = champion.profile.scores if champion.profile else None
    if scores is None or not sum(scores.positives):
        return None
    pairs = zip(scores.positives, scores.means, strict=True)
    caught = sum(n for n, mean in pairs if mean >= champion.version.manifest.threshold)
    return caught / sum(scores.positives)

"""Look at the champion in production: what it is, and what its data and labels say of it now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from rehone import artifact, drift, monitor, profile
from rehone.artifact import Predictor
from rehone.config import Config
from rehone.data import Source
from rehone.errors import ArtifactError, StoreError
from rehone.records import (
    Attempts,
    Counts,
    Deployment,
    Estimate,
    Evidence,
    ModelVersion,
    Profile,
    ScoreDrift,
    ScoreProfile,
    Window,
)
from rehone.runlog import Line
from rehone.store import Store

SCORED_ROWS = 200_000


@dataclass(frozen=True)
class Champion:
    """The version that is live, loaded; with `why_not` when the log names it but it cannot be read."""

    deployment: Deployment
    id: str
    version: ModelVersion | None = None
    predictor: Predictor | None = None
    profile: Profile | None = None
    fingerprints: np.ndarray | None = None
    why_not: str = ""


def read_champion(store: Store, head: Deployment | None, config: Config) -> Champion | None:
    """Load what the deployment names; `None` when nothing was ever to be served."""
    if head is None or head.version is None:
        return None
    try:
        version = store.version(head.version)
        files = store.read(head.version)
        predictor = artifact.unpack(
            version.manifest,
            files,
            version=version.id,
            allow_joblib=config.deploy.allow_joblib,
            trusted=config.deploy.trusted_types,
        )
        return Champion(
            head, version.id, version, predictor, artifact.read_profile(files), artifact.read_fingerprints(files)
        )
    except (StoreError, ArtifactError, OSError) as error:
        return Champion(head, head.version, why_not=str(error))


@dataclass(frozen=True)
class Look:
    """Where to look from: the project, its data, its champion, the day."""

    config: Config
    source: Source
    champion: Champion | None
    as_of: datetime
    attempts: Attempts
    forced: bool = False


def look(view: Look) -> Evidence:
    """Gather all that is known of the champion on the day; what cannot be known stays `None`."""
    evidence = Evidence(
        as_of=view.as_of,
        champion=view.champion.id if view.champion else None,
        forced=view.forced,
        attempts=view.attempts,
    )
    champion = view.champion
    if champion is None or champion.predictor is None or champion.profile is None or champion.version is None:
        return evidence
    evidence = replace(evidence, champion_as_of=champion.version.manifest.as_of)
    return _performance(view, champion, _drift(view, champion, evidence))


def _drift(view: Look, champion: Champion, evidence: Evidence) -> Evidence:
    reference = champion.profile
    if reference is None:
        return evidence
    window = Window(view.as_of - timedelta(days=view.config.trigger.window_days), view.as_of)
    counts = view.source.counts(window, reference)
    if view.config.data.score_column is None and counts.rows:
        counts = replace(counts, scores=_scores_again(view, champion, window, counts))
    return replace(
        evidence,
        window=window,
        rows=counts.rows,
        drift=drift.feature_drift(reference, counts),
        scores=_score_drift(reference, counts),
    )


def _score_drift(reference: Profile, counts: Counts) -> ScoreDrift | None:
    return drift.score_drift(reference, counts) if reference.scores and counts.scores else None


def _scores_again(view: Look, champion: Champion, window: Window, counts: Counts) -> ScoreProfile | None:
    if champion.predictor is None or champion.profile is None:
        return None
    rows = _every_kth(
        view.source.scan(window, champion.predictor.contract.names), counts.rows, view.config.trigger.score_sample_rows
    ).collect()
    try:
        scores = champion.predictor.predict_proba(rows)
    except ArtifactError:
        return None
    scored = rows.with_columns(pl.Series("__score__", scores))
    return profile.count(scored, champion.profile, score="__score__").scores


def _every_kth(rows: pl.LazyFrame, n: int, most: int) -> pl.LazyFrame:
    step = -(-n // most)
    return rows.gather_every(step) if step > 1 else rows


def _performance(view: Look, champion: Champion, evidence: Evidence) -> Evidence:
    config = view.config
    if champion.version is None or champion.predictor is None:
        return evidence
    reach = timedelta(days=config.trigger.performance_days + config.data.label_delay_days)
    start = max(champion.version.manifest.train_end + timedelta(microseconds=1), view.as_of - reach)
    if start >= view.as_of:
        return replace(evidence, performance_unknown="no row is newer than the champion's training data")
    window = Window(start, view.as_of)
    rows, why = _labelled(view, champion.predictor, window)
    if rows is None or not rows.height:
        return replace(
            evidence,
            matured=window,
            performance_unknown=why or f"no matured label in {window}, which is after the champion's training data",
        )
    recall, cost, why = _measure(view, champion.predictor, rows)
    return replace(evidence, matured=window, recall=recall, cost_per_1000=cost, performance_unknown=why)


def _labelled(view: Look, predictor: Predictor, window: Window) -> tuple[pl.DataFrame | None, str]:
    data = view.config.data
    missing = [name for name in (data.label, *predictor.contract.names) if name not in view.source.columns]
    if missing:
        return None, f"the data have no column {', '.join(missing)}"
    wanted = dict.fromkeys(
        (data.label, *predictor.contract.names, *((data.entity_column,) if data.entity_column else ()))
    )
    rows = view.source.mature(view.source.scan(window, (*wanted, *_due(data.label_due_column)))).drop_nulls(data.label)
    n = rows.select(pl.len()).collect().item()
    return _every_kth(rows, n, SCORED_ROWS).collect(), ""


def _due(column: str | None) -> tuple[str, ...]:
    return (column,) if column else ()


def _measure(view: Look, predictor: Predictor, rows: pl.DataFrame) -> tuple[Estimate | None, Estimate | None, str]:
    try:
        scores = predictor.predict_proba(rows)
    except ArtifactError as error:
        return None, None, str(error)
    config = view.config
    return monitor.performance(
        scores,
        rows[config.data.label].cast(pl.Int8).to_numpy(),
        predictor.threshold,
        costs=(config.train.cost_false_positive, config.train.cost_false_negative),
        blocks=days_of(rows),
        level=config.trigger.interval_level,
        min_positives=config.trigger.min_positives,
    )


def days_of(rows: pl.DataFrame) -> np.ndarray:
    """Number the day of each row, (n,) int64, as days since 1970."""
    return rows["__time__"].dt.epoch("d").cast(pl.Int64).to_numpy()


def attempts(lines: tuple[Line, ...], as_of: datetime) -> Attempts:
    """Count what earlier runs did, from the ledger; days are days of `as_of`, so that replays count too."""
    trained = [line for line in lines if line.trained and line.as_of <= as_of]
    rejected = 0
    for line in reversed(trained):
        if line.status.value == "deployed":
            break
        rejected += line.status.value == "rejected"
    month = as_of - timedelta(days=30)
    return Attempts(
        last_trained=max((line.as_of for line in trained), default=None),
        rejected_in_a_row=rejected,
        trained_last_30_days=sum(line.as_of > month for line in trained),
    )

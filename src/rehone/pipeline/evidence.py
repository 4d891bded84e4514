"""Look at the champion in production: what it is, and what its data and labels say of it now."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl

from rehone import artifact, data, drift, health, monitor, profile, signing
from rehone.artifact import Predictor
from rehone.config import Config, Deploy
from rehone.data import Rows
from rehone.errors import ArtifactError, ContractError, StoreError
from rehone.monitor import Performance
from rehone.pipeline.estimating import estimated
from rehone.pipeline.feeds import Feeds
from rehone.pipeline.loop import Live, newest, served_evidence, with_performance
from rehone.pipeline.shifting import shifted
from rehone.records import (
    Attempts,
    BreakerReset,
    Check,
    CheckStatus,
    Counts,
    DelayCurve,
    Deployment,
    Evidence,
    Manifest,
    ModelVersion,
    Profile,
    ScoreProfile,
    Window,
)
from rehone.runlog import Line
from rehone.store import Store

SCORED_ROWS = 100_000


@dataclass(frozen=True)
class Champion:
    """The version that is live; with `why_not` when the log names it but its bytes are not whole."""

    deployment: Deployment
    id: str
    policy: Deploy
    version: ModelVersion | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    why_not: str = ""

    @cached_property
    def profile(self) -> Profile | None:
        """Return what it remembers of its data; `None` when it cannot be read."""
        return artifact.read_profile(self.files) if self.files else None

    @cached_property
    def predictor(self) -> Predictor:
        """Load the model, which takes the libraries it was made with.

        Raises:
            ArtifactError: it cannot be loaded.
        """
        if self.version is None:
            raise ArtifactError(self.why_not)
        return artifact.unpack(
            self.version.manifest,
            self.files,
            version=self.id,
            allow_joblib=self.policy.allow_joblib,
            trusted=self.policy.trusted_types,
        )

    @cached_property
    def fingerprints(self) -> np.ndarray | None:
        """Return the fingerprints of the rows it was trained on, if it kept them."""
        return artifact.read_fingerprints(self.files)

    @cached_property
    def near(self) -> np.ndarray | None:
        """Return the near fingerprints of the rows it was trained on, if it kept them."""
        return artifact.read_near(self.files)


def read_champion(store: Store, head: Deployment | None, config: Config) -> Champion | None:
    """Read what the deployment names; `None` when nothing is to be served.

    Each file is compared with its digest, and the version must be signed as the policy asks.
    """
    if head is None or head.version is None:
        return None
    policy = signing.policy_of(config)
    try:
        version, files = store.version(head.version), store.read(head.version)
        signing.require(version.id, store.signatures(version.id), policy)
    except (StoreError, OSError) as error:
        return Champion(head, head.version, policy, why_not=str(error))
    return Champion(head, head.version, policy, version=version, files=files)


@dataclass(frozen=True)
class Look:
    """Where to look from: the project, its data, its champion, the day.

    `show` is given the champion's reference, and the counts that drift of features and of scores is computed from.
    """

    config: Config
    feeds: Feeds
    champion: Champion | None
    as_of: datetime
    attempts: Attempts
    forced: bool = False
    maturity: DelayCurve | None = None
    show: Callable[[Profile, Counts, Counts], None] = lambda *_: None

    @property
    def source(self) -> Rows:
        """The data that is scored again, which are not what was served."""
        return self.feeds.offline or self.feeds.learn


def look(view: Look) -> Evidence:
    """Gather all that is known of the champion on the day; what cannot be known stays `None`.

    With `data.score_column` the model itself is not loaded: the logged scores speak for it.
    """
    evidence = Evidence(
        as_of=view.as_of,
        champion=view.champion.id if view.champion else None,
        forced=view.forced,
        attempts=view.attempts,
        origin=view.config.predictions.evidence,
        maturity=view.maturity,
    )
    champion = view.champion
    if champion is None or champion.version is None or champion.profile is None:
        return evidence
    evidence = replace(evidence, champion_as_of=_model_as_of(champion.version.manifest))
    if view.config.predictions.evidence == "served":
        evidence = served_evidence(_live(view, champion.version, champion.profile), evidence)
    else:
        evidence = _drift(view, champion, champion.profile, evidence)
        evidence = _performance(view, champion, champion.version.manifest, evidence)
    return shifted(view, estimated(view, evidence))


def _model_as_of(manifest: Manifest) -> datetime:
    """Return the day as of which the model was learned; a recalibration does not make it younger."""
    layer = manifest.recalibration
    return layer.base_as_of if layer and layer.base_as_of else manifest.as_of


def _live(view: Look, version: ModelVersion, profile: Profile) -> Live:
    return Live(
        config=view.config,
        feeds=view.feeds,
        as_of=view.as_of,
        version=version.id,
        contract=version.manifest.contract,
        profile=profile,
        show=view.show,
    )


def _drift(view: Look, champion: Champion, reference: Profile, evidence: Evidence) -> Evidence:
    window = Window(view.as_of - timedelta(days=view.config.trigger.window_days), view.as_of)
    counts = view.source.counts(window, reference)
    if view.config.data.score_column is None and counts.rows:
        counts = replace(counts, scores=_scores_again(view, champion, window))
    view.show(reference, counts, counts)
    scores = drift.score_drift(reference, counts) if reference.scores and counts.scores else None
    return replace(
        evidence, window=window, rows=counts.rows, drift=drift.feature_drift(reference, counts), scores=scores
    )


def _scores_again(view: Look, champion: Champion, window: Window) -> ScoreProfile | None:
    names = champion.predictor.contract.names
    if champion.profile is None or any(name not in view.source.columns for name in names):
        return None
    rows = view.source.some(window, names, view.config.trigger.score_sample_rows)
    try:
        scores = champion.predictor.predict_proba(rows)
    except ContractError:
        return None
    scored = rows.with_columns(pl.Series("__score__", scores))
    return profile.count(scored, champion.profile, score="__score__").scores


def _performance(view: Look, champion: Champion, manifest: Manifest, evidence: Evidence) -> Evidence:
    config = view.config
    reach = timedelta(days=config.trigger.performance_days + config.data.label_delay_days)
    start = max(manifest.train_end + timedelta(microseconds=1), view.as_of - reach)
    if start >= view.as_of:
        return with_performance(evidence, Performance.not_known("no row is newer than the champion's training data"))
    window = Window(start, view.as_of)
    score = config.data.score_column
    needed = (config.data.label, score) if score else (config.data.label, *manifest.contract.names)
    if missing := [name for name in needed if name not in view.source.columns]:
        said = f"the data have no column {', '.join(missing)}"
        return with_performance(replace(evidence, matured=window), Performance.not_known(said))
    rows = _labelled(view, needed, window)
    if not rows.height:
        said = f"no matured label in {window}, which is after the champion's training data"
        return with_performance(replace(evidence, matured=window), Performance.not_known(said))
    found = _measure(view, champion, manifest.threshold, rows)
    return with_performance(replace(evidence, matured=window, newest_label=newest(rows)), found)


def _labelled(view: Look, needed: tuple[str, ...], window: Window) -> pl.DataFrame:
    roles = view.config.data
    wanted = dict.fromkeys((*needed, *((roles.label_due_column,) if roles.label_due_column else ())))
    there = (roles.label, *((roles.score_column,) if roles.score_column else ()))
    return view.source.some(window, tuple(wanted), SCORED_ROWS, there=there)


def _measure(view: Look, champion: Champion, threshold: float, rows: pl.DataFrame) -> Performance:
    config = view.config
    try:
        scores = (
            rows[config.data.score_column].cast(pl.Float64).to_numpy()
            if config.data.score_column
            else champion.predictor.predict_proba(rows)
        )
    except ContractError as error:
        return Performance.not_known(str(error))
    return monitor.performance(
        monitor.decided_at(scores, threshold),
        scores,
        rows[config.data.label].cast(pl.Int8).to_numpy(),
        costs=(config.train.cost_false_positive, config.train.cost_false_negative),
        blocks=days_of(rows),
        level=config.trigger.interval_level,
        min_positives=config.trigger.min_positives,
    )


def findings(feeds: Feeds, config: Config, as_of: datetime, champion: Champion | None) -> tuple[Check, ...]:
    """Return what is known of the feed before any row is read: broken files, lost columns, names that nobody has.

    A log that nothing was written to yet is no fault of the feed: too few rows are said later.
    """
    source = feeds.learn
    span = source.span()
    fresh = data.freshness(span.end if span else None, as_of, config.data)
    reference = champion.profile if champion else None
    lost = data.missing_features(source.features(), reference, source.columns) if source.there else ()
    strange = _strangers(config, feeds.known)
    return (*source.findings, *feeds.warnings, *lost, *strange, *((fresh,) if fresh else ()))


def _strangers(config: Config, known: tuple[str, ...]) -> Iterator[Check]:
    """Find names in the configuration that no column has; one that is nearly a column is a mistake."""
    named = [("data.label", config.data.label)]
    named += [("data.exclude", name) for name in config.data.exclude]
    named += [("data.categorical", name) for name in config.data.categorical]
    named += [("trigger.ignore", name) for name in config.trigger.ignore]
    for key, name in named:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, 1, cutoff=0.6)
        needed = key == "data.label" or bool(near)
        yield Check(
            name="unknown_column",
            subject=name,
            status=CheckStatus.ACT if needed else CheckStatus.WARN,
            detail=f"{key} names {name!r}, which is in no file",
            remedy=f"did you mean {near[0]!r}?" if near else f"correct {key}; the columns are {', '.join(known[:20])}",
        )


def days_of(rows: pl.DataFrame) -> np.ndarray:
    """Number the day of each row, (n,) int64, as days since 1970."""
    return rows["__time__"].dt.epoch("d").cast(pl.Int64).to_numpy()


def attempts(lines: tuple[Line, ...], as_of: datetime, reset: BreakerReset | None = None) -> Attempts:
    """Count what earlier runs did, from the ledger; days are days of `as_of`, so that replays count too.

    `reset` is the newest of the breaker.
    """
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
        lost_in_a_row=len(health.lost_in_a_row(trained, reset)),
    )

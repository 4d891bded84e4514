"""Read the champion's evidence from what was really served, and from the labels that arrived for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from rehone import data, drift, monitor
from rehone.config import Config
from rehone.data import DECISION, ID, SCORE, VERSION
from rehone.monitor import Performance
from rehone.pipeline.feeds import Feeds
from rehone.records import (
    Contract,
    Counts,
    Coverage,
    Evidence,
    Profile,
    ScoreDrift,
    ServedVersion,
    Skew,
    Window,
    short_id,
)

LABEL, ARRIVED = "__label__", "__arrived__"


@dataclass(frozen=True, kw_only=True)
class Live:
    """The champion as the log knows it, and the day."""

    config: Config
    feeds: Feeds
    as_of: datetime
    version: str
    contract: Contract
    profile: Profile
    show: Callable[[Profile, Counts, Counts], None] = lambda *_: None


def served_evidence(live: Live, evidence: Evidence) -> Evidence:
    """Add drift, coverage, recall, cost, ROC-AUC and skew, all of them of what was served."""
    evidence = _drift(live, replace(evidence, origin="served"))
    evidence = _performance(live, evidence)
    return replace(evidence, skew=_skew(live))


def _window(live: Live) -> Window:
    return Window(live.as_of - timedelta(days=live.config.trigger.window_days), live.as_of)


def _drift(live: Live, evidence: Evidence) -> Evidence:
    """Compare the features of every version that was asked them, and the champion's own scores."""
    served, window, reference = live.feeds.served, _window(live), live.profile
    if served is None:
        return evidence
    fitting = served.fitting(live.contract)
    counts = served.counts(window, reference, fitting)
    served.note_repeated(window, fitting)
    own = served.counts(window, reference, served.by_version(live.version))
    live.show(reference, counts, own)
    features = drift.feature_drift(reference, counts)
    if not counts.rows:
        why = _why_none(live, window)
        features = tuple(replace(d, psi=None, p_value=None, detail=why) for d in features)
    return replace(evidence, window=window, rows=counts.rows, drift=features, scores=_scores(live, own))


def _why_none(live: Live, window: Window) -> str:
    served = live.feeds.served
    if served is None or not any(f.span and f.span.end > window.start for f in served.files):
        return served.nothing(window.start) if served else ""
    return f"no prediction in the log since {window.start:%Y-%m-%d} has every feature that the champion reads"


def _scores(live: Live, own: Counts) -> ScoreDrift | None:
    if not own.rows:
        since = _window(live).start
        said = f"the champion {short_id(live.version)} has 0 predictions in the log since {since:%Y-%m-%d}"
        return ScoreDrift(ks=None, detail=said)
    return drift.score_drift(live.profile, own) if live.profile.scores and own.scores else None


# --- what was decided, and what came of it ----------------------------------------------------


def _performance(live: Live, evidence: Evidence) -> Evidence:
    served, labels, config = live.feeds.served, live.feeds.labels, live.config
    if served is None or labels is None:
        return evidence
    due_before = data.newest_due(live.as_of, config.data.label_delay_days)
    start = live.as_of - timedelta(days=config.data.label_delay_days + config.trigger.performance_days)
    window = Window(start, live.as_of)
    rows = served.read(window, (VERSION, DECISION, SCORE)).drop_nulls(DECISION)
    due = rows.filter(pl.col("__time__") < due_before)
    arrived = labels.arrived(start, due)
    for check in data.findings_of(arrived, config.data.label):
        served.note(check)
    found = arrived.labels.select(ID, pl.col(config.data.label).alias(LABEL), pl.lit(value=True).alias(ARRIVED))
    joined = due.join(found, on=ID, how="left", maintain_order="left")
    labelled = int(joined[LABEL].is_not_null().sum())
    coverage = Coverage(window=window, predictions=rows.height, due=due.height, labelled=labelled)
    known = newest(joined.filter(pl.col(LABEL).is_not_null()))
    evidence = replace(evidence, matured=window, coverage=coverage, newest_label=known)
    if why := _why_unknown(live, coverage):
        evidence = replace(evidence, served=tuple(_unknown(joined, why)))
        return with_performance(evidence, Performance.not_known(why))
    versions = tuple(_versions(live, joined))
    mine = next((v for v in versions if v.version == live.version), None)
    own = mine or Performance.not_known(_no_row(live, coverage))
    return with_performance(replace(evidence, served=versions), own)


def with_performance(evidence: Evidence, found: Performance | ServedVersion) -> Evidence:
    """Add what labels that came due say of the champion, and why something is not known."""
    return replace(
        evidence,
        recall=found.recall,
        cost_per_1000=found.cost_per_1000,
        performance_unknown=found.unknown,
        roc_auc=found.roc_auc,
        roc_auc_unknown=found.roc_auc_unknown,
    )


def newest(rows: pl.DataFrame) -> datetime | None:
    """Return the time of the youngest row; `None` when there is none."""
    found = rows["__time__"].max()
    if not isinstance(found, datetime):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _why_unknown(live: Live, coverage: Coverage) -> str:
    """Say why nothing is known of decisions; empty when enough labels have arrived."""
    policy, labels, window = live.config.predictions, live.feeds.labels, coverage.window
    served = live.feeds.served
    if served is not None and not coverage.predictions:
        return served.nothing(window.start)
    if not coverage.due:
        last = live.as_of - timedelta(days=live.config.data.label_delay_days)
        return f"no label is due yet of {coverage.predictions:,} predictions in {window}: only those up to {last:%Y-%m-%d %H:%M} are due"
    if labels is None or labels.source is None:
        return labels.why if labels else "there are no labels"
    if policy.unlabelled == "negative":
        return labels.stale.sentence if labels.stale else ""
    return _too_few(coverage.labelled, coverage.due, live, "")


def _too_few(labelled: int, due: int, live: Live, whose: str) -> str:
    """Say that labels are missing; those that did arrive may be of another kind than the rest."""
    least = live.config.predictions.min_label_coverage
    if labelled >= least * due:
        return ""
    start = live.as_of - timedelta(days=live.config.data.label_delay_days + live.config.trigger.performance_days)
    window = Window(start, live.as_of - timedelta(days=live.config.data.label_delay_days))
    return (
        f"{_percent(labelled / due)} of {due:,} matured predictions{whose} in {window} have a label, need {_percent(least)}: "
        "wait for the labels, or raise data.label_delay_days"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _no_row(live: Live, coverage: Coverage) -> str:
    return (
        f"none of {coverage.due:,} matured predictions in {coverage.window} is of the champion {short_id(live.version)}"
    )


def _unknown(joined: pl.DataFrame, why: str) -> Iterator[ServedVersion]:
    for version, rows in _by_version(joined):
        yield replace(_counted(version, rows), unknown=why, roc_auc_unknown=why)


def _versions(live: Live, joined: pl.DataFrame) -> Iterator[ServedVersion]:
    """Measure each version on its own decisions and scores, as they were logged."""
    for version, rows in _by_version(joined):
        counted = _counted(version, rows)
        found = _measured(live, rows, counted)
        yield replace(
            counted,
            recall=found.recall,
            cost_per_1000=found.cost_per_1000,
            unknown=found.unknown,
            roc_auc=found.roc_auc,
            roc_auc_unknown=found.roc_auc_unknown,
        )


def _measured(live: Live, rows: pl.DataFrame, counted: ServedVersion) -> Performance:
    config = live.config
    if config.predictions.unlabelled == "negative":
        silent = pl.col(ARRIVED).is_null()  # a label that is neither 0 nor 1 is not silence
        known = rows.with_columns(pl.when(silent).then(0).otherwise(LABEL).alias(LABEL)).drop_nulls(LABEL)
    else:
        whose = f" of version {short_id(counted.version)}"
        if why := _too_few(counted.labelled, counted.predictions, live, whose):
            return Performance.not_known(why)
        known = rows.drop_nulls(LABEL)
    return monitor.performance(
        known[DECISION].to_numpy(),
        known[SCORE].to_numpy(),
        known[LABEL].to_numpy(),
        costs=(config.train.cost_false_positive, config.train.cost_false_negative),
        blocks=known["__time__"].dt.epoch("d").to_numpy(),
        level=config.trigger.interval_level,
        min_positives=config.trigger.min_positives,
    )


def _by_version(joined: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    known = joined.drop_nulls(VERSION).sort("__time__", maintain_order=True)
    for (version,), rows in known.group_by(VERSION, maintain_order=True):
        yield str(version), rows


def _counted(version: str, rows: pl.DataFrame) -> ServedVersion:
    return ServedVersion(
        version=version,
        predictions=rows.height,
        labelled=int(rows[LABEL].is_not_null().sum()),
        positives=int((rows[LABEL] == 1).sum()),
    )


def _skew(live: Live) -> tuple[Skew, ...]:
    served, offline = live.feeds.served, live.feeds.offline
    if served is None or offline is None or live.config.predictions.max_skew_share is None:
        return ()
    return data.skew(served, offline, live.contract, _window(live))

"""Hold what an earlier run estimated against what labels have shown since."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

import polars as pl

from rehone import monitor
from rehone.data import DECISION, ID, VERSION
from rehone.errors import RehoneError
from rehone.pipeline.evidence import Champion, Look, days_of
from rehone.records import Estimate, Estimated, Evidence, HeldEstimate
from rehone.runlog import RunLog
from rehone.runlog.told import parts_of

log = logging.getLogger(__name__)

_LOOKED_AT = 10
"""Earlier runs that are read at most to find one that estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The part of a record that says what a run looked at, and what it estimated."""

    run_id: str
    champion: str | None = None
    evidence: Evidence | None = None


def held(view: Look, evidence: Evidence, runlog: RunLog) -> Evidence:
    """Add what became of the newest estimate of this champion whose labels are due by now.

    What goes wrong here is logged and ends no run: an estimate of long ago is not worth one.
    """
    champion = view.champion
    if champion is None or champion.version is None:
        return evidence
    try:
        found = _newest(view, champion, runlog)
        return evidence if found is None else replace(evidence, held=_compared(view, champion, *found))
    except RehoneError:
        log.warning("an earlier estimate could not be held against labels", exc_info=True)
        return evidence


def _newest(view: Look, champion: Champion, runlog: RunLog) -> tuple[_Seen, Estimated, Estimate] | None:
    """Return the newest run that estimated this champion on a window whose labels are all due."""
    due = view.as_of - timedelta(days=view.config.data.label_delay_days)
    before = [line for line in runlog.lines() if line.as_of <= due and line.as_of < view.as_of]
    for record in reversed(parts_of(view.config, before[-_LOOKED_AT:], _Seen)):
        if record.champion not in (None, champion.id):
            return None  # older runs looked at older champions
        made = record.evidence.estimated if record.evidence else None
        if made is not None and made.recall is not None and record.champion == champion.id:
            return record, made, made.recall
    return None


def _compared(view: Look, champion: Champion, record: _Seen, made: Estimated, estimated: Estimate) -> HeldEstimate:
    measured, why = _measured(view, champion, made)
    blank = HeldEstimate(run_id=record.run_id, window=made.window, estimated=estimated, detail=why)
    if measured is None:
        return blank
    return replace(blank, measured=measured, covered=estimated.low <= measured.value <= estimated.high)


def _measured(view: Look, champion: Champion, made: Estimated) -> tuple[Estimate | None, str]:
    """Measure recall on the rows of the window that have a label by now."""
    rows = _decided(view, champion, made)
    if not rows.height:
        return None, f"no row of {made.window} has a label"
    config = view.config
    found = monitor.decisions(
        rows[DECISION].to_numpy(),
        rows[config.data.label].cast(pl.Int8).to_numpy(),
        costs=(config.train.cost_false_positive, config.train.cost_false_negative),
        blocks=days_of(rows),
        level=config.trigger.interval_level,
        min_positives=config.trigger.min_positives,
    )
    return found.recall, found.unknown


def _decided(view: Look, champion: Champion, made: Estimated) -> pl.DataFrame:
    """Return labelled rows of the window with what the champion decided."""
    if view.config.predictions.evidence == "served":
        return _answered(view, champion, made)
    roles = view.config.data
    score = roles.score_column
    needed = (score,) if score else champion.predictor.contract.names
    due = (roles.label_due_column,) if roles.label_due_column else ()
    there = (roles.label, *((score,) if score else ()))
    wanted = tuple(dict.fromkeys((*needed, roles.label, *due)))
    rows = view.source.some(made.window, wanted, view.config.trigger.score_sample_rows, there=there)
    scores = rows[score].cast(pl.Float64).to_numpy() if score else champion.predictor.predict_proba(rows)
    threshold = champion.version.manifest.threshold if champion.version else champion.predictor.threshold
    return rows.with_columns(pl.Series(DECISION, scores >= threshold))


def _answered(view: Look, champion: Champion, made: Estimated) -> pl.DataFrame:
    served, labels, label = view.feeds.served, view.feeds.labels, view.config.data.label
    if served is None or labels is None:
        return pl.DataFrame()
    rows = served.read(made.window, (VERSION, DECISION), served.by_version(champion.id)).drop_nulls(DECISION)
    own = rows.filter(pl.col(VERSION) == champion.id)
    arrived = labels.arrived(made.window.start, own).labels.select(ID, label)
    joined = own.join(arrived, on=ID, how="left", maintain_order="left")
    if view.config.predictions.unlabelled == "negative" and labels.stale is None:
        joined = joined.with_columns(pl.col(label).fill_null(0))
    return joined.drop_nulls(label)

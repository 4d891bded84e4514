"""Gather what tells one kind of shift from another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from rehone import artifact, shift
from rehone.artifact import Predictor
from rehone.errors import ArtifactError, ContractError, DataError
from rehone.records import Contract, Evidence, FeatureDrift, FeatureKind, Manifest, Profile, ShiftKind, Window

if TYPE_CHECKING:
    from rehone.pipeline.evidence import Look

MATURED = 4
"""So many times `trigger.shift_rows` are the most matured rows that are read: positives among them are few."""

_TICK = timedelta(microseconds=1)
_STIRRED_PSI, _STIRRED_KS, _RARE = 0.02, 0.05, 0.001


def shifted(view: Look, evidence: Evidence) -> Evidence:
    """Add what kind of shift the evidence speaks of; not asked with `trigger.shift_rows = 0`.

    Labels are always asked. Rows of the reference are read, and compared with current ones, only
    where a feature or the scores stir or where labels say that something has changed.
    """
    champion = view.champion
    if not view.config.trigger.shift_rows or champion is None or champion.version is None or champion.profile is None:
        return evidence
    asked = _Asked(view, evidence, champion.version.manifest, champion.profile)
    facts = _with_labels(asked, shift.Facts(drift=_drift(asked), remembered=champion.profile.scores))
    facts = replace(facts, seed=view.config.project.seed)
    found = shift.name(facts)
    if found.kind is not ShiftKind.NONE or _stirs(asked):
        found = shift.name(_with_inputs(asked, facts))
    if found.score_ks is None and evidence.scores is not None:
        found = replace(found, score_ks=evidence.scores.ks)
    return replace(evidence, shift=found)


@dataclass(frozen=True)
class _Asked:
    view: Look
    evidence: Evidence
    manifest: Manifest
    profile: Profile

    @property
    def contract(self) -> Contract:
        return self.manifest.contract

    @property
    def current(self) -> Window:
        days = timedelta(days=self.view.config.trigger.window_days)
        return self.evidence.window or Window(self.view.as_of - days, self.view.as_of)

    @property
    def kept(self) -> list[int]:
        """Number the features that are no clock and that nobody ignores: what is new each day is no shift."""
        ignored = {f.feature for f in self.profile.features if f.clock_like} | {*self.view.config.trigger.ignore}
        return [i for i, name in enumerate(self.contract.names) if name not in ignored]

    @property
    def predictor(self) -> Predictor | None:
        champion = self.view.champion
        return champion.predictor if champion else None


def _drift(asked: _Asked) -> tuple[FeatureDrift, ...]:
    ignored = asked.view.config.trigger.ignore
    return tuple(d for d in asked.evidence.drift if not d.ignored and d.feature not in ignored)


def _stirs(asked: _Asked) -> bool:
    """Say whether any feature, or the scores, have moved at all, though it may be too little to act on."""
    scores = asked.evidence.scores
    features = ((d.psi, d.p_value, _STIRRED_PSI) for d in _drift(asked))
    own = ((scores.ks, scores.p_value, _STIRRED_KS),) if scores else ()
    return any(x is not None and x >= least and p is not None and p < _RARE for x, p, least in (*features, *own))


# --- labels ---------------------------------------------------------------------------------------


def _with_labels(asked: _Asked, facts: shift.Facts) -> shift.Facts:
    """Add the matured rows that are newer than all that the champion learned from, with their scores."""
    view, config = asked.view, asked.view.config
    start = asked.manifest.train_end + _TICK
    if start >= view.as_of:
        return facts
    try:
        rows = _labelled(asked, Window(start, view.as_of))
        scores = _scores(asked, rows)
    except (ArtifactError, ContractError, DataError) as error:
        return replace(facts, unknown=(*facts.unknown, f"matured rows cannot be scored: {error}"))
    if not rows.height:
        return facts
    reach = timedelta(days=config.trigger.performance_days + config.data.label_delay_days)
    matured = shift.Matured(
        scores=scores,
        labels=rows[config.data.label].cast(pl.Float64).to_numpy(),
        days=rows["__time__"].dt.epoch("d").cast(pl.Int64).to_numpy(),
        matrix=_matrix(asked, rows),
    )
    return replace(facts, matured=matured, recent=_midnight(view.as_of - reach))


def _labelled(asked: _Asked, window: Window) -> pl.DataFrame:
    data, source = asked.view.config.data, asked.view.source
    read = (data.score_column,) if data.score_column else asked.contract.names
    there = (data.label, *((data.score_column,) if data.score_column else ()))
    wanted = dict.fromkeys((*read, data.label, *((data.label_due_column,) if data.label_due_column else ())))
    _refuse_missing(asked, tuple(wanted))
    most = MATURED * asked.view.config.trigger.shift_rows
    return source.some(window, tuple(wanted), most, there=there).sort("__time__", maintain_order=True)


def _matrix(asked: _Asked, rows: pl.DataFrame) -> np.ndarray | None:
    """Encode the features, where they were read: logged scores speak without them."""
    if asked.view.config.data.score_column:
        return None
    return artifact.encode(rows, asked.contract)[:, asked.kept]


def _scores(asked: _Asked, rows: pl.DataFrame) -> np.ndarray:
    logged, predictor = asked.view.config.data.score_column, asked.predictor
    if logged:
        return rows[logged].cast(pl.Float64).to_numpy()
    return np.empty(0) if predictor is None else predictor.predict_proba(rows)


def _refuse_missing(asked: _Asked, names: tuple[str, ...]) -> None:
    if missing := [name for name in names if name not in asked.view.source.columns]:
        raise DataError(f"the data have no column {', '.join(missing)}")


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


# --- inputs ---------------------------------------------------------------------------------------


def _with_inputs(asked: _Asked, facts: shift.Facts) -> shift.Facts:
    """Add rows of the champion's reference and of the current window, as the model reads them."""
    most, label = asked.view.config.trigger.shift_rows, asked.view.config.data.label
    reference = asked.profile.window
    before = Window(reference.start, max(reference.start, min(reference.end, asked.current.start)))
    try:
        _refuse_missing(asked, asked.contract.names)
        now = asked.view.source.some(asked.current, (*asked.contract.names, label), most)
        then = asked.view.source.some(before, (*asked.contract.names, label), most)
        current, past = _sample(asked, now), _sample(asked, then)
        scores = asked.predictor.predict_proba(now) if asked.predictor and now.height else None
    except (ArtifactError, ContractError, DataError) as error:
        return replace(facts, unknown=(*facts.unknown, f"inputs cannot be compared: {error}"))
    gone = tuple(_too_few(name, rows) for name, rows in (("reference", then), ("current window", now)))
    return replace(
        facts,
        reference=past,
        current=current,
        columns=_columns(asked),
        scores=scores,
        unknown=(*facts.unknown, *(said for said in gone if said)),
    )


def _too_few(name: str, rows: pl.DataFrame) -> str:
    if rows.height >= shift.FEWEST_ROWS:
        return ""
    return f"{rows.height} rows of the {name} are there, comparing inputs takes {shift.FEWEST_ROWS}"


def _sample(asked: _Asked, rows: pl.DataFrame) -> shift.Sample:
    labels = rows[asked.view.config.data.label].cast(pl.Float64, strict=False).fill_null(float("nan"))
    return shift.Sample(
        matrix=artifact.encode(rows, asked.contract)[:, asked.kept], labels=labels.to_numpy().astype(np.float64)
    )


def _columns(asked: _Asked) -> shift.Columns:
    """Name the columns with the ends of what the champion remembers; of a category, its first and last code."""
    remembered = {f.feature: f for f in asked.profile.features}
    ends = []
    for i in asked.kept:
        feature = asked.contract.features[i]
        known = remembered.get(feature.name)
        if feature.kind is FeatureKind.CATEGORICAL:
            ends.append((0.0, len(feature.categories) - 1.0))
        else:
            low, high = (known.lowest, known.highest) if known else (None, None)
            ends.append((np.nan if low is None else low, np.nan if high is None else high))
    edges = np.array(ends, dtype=np.float64).reshape(-1, 2)
    names = tuple(asked.contract.features[i].name for i in asked.kept)
    return shift.Columns(names=names, lowest=edges[:, 0], highest=edges[:, 1])

"""Make a challenger of the champion itself: the same model with a new threshold or calibration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta

import numpy as np
import polars as pl

from rehone import artifact, metrics, train
from rehone.artifact import Predictor
from rehone.errors import RehoneError
from rehone.pipeline.evidence import Champion, days_of
from rehone.pipeline.scene import Scene
from rehone.pipeline.taking import weights_of
from rehone.records import CandidateResult, Manifest, RecalibrationKind, TriggerKind, Window, short_id

WINDOW = "newer than the champion"
"""What a candidate is said to learn from that is a layer over the champion's own model."""


def wanted(scene: Scene) -> bool:
    """Say whether this run is to recalibrate the champion and not to train anew."""
    action, evidence = scene.config.trigger.action, scene.draft.record.evidence
    if action == "retrain" or scene.champion is None or scene.decision.kind is TriggerKind.BOOTSTRAP:
        return False
    shift = evidence.shift if evidence else None
    return action == "recalibrate" or (shift is not None and shift.suggestion == "rethreshold")


def meant(scene: Scene) -> bool:
    """Say whether this run will try to recalibrate the champion, and nothing speaks for training anew from the start."""
    return wanted(scene) and not _why_anew(scene)


def recalibrated(scene: Scene) -> str:
    """Make the layer that serves newer rows best the winner of a search; return why not, and then nothing was made.

    The age of a champion asks for another model, and so does a challenger that was rejected last time.
    """
    why = _why_anew(scene)
    if why:
        return why
    champion = _readable(scene)
    if isinstance(champion, str):
        return champion
    rows = _newer(scene, champion)
    if why := train.too_few(rows.labels):
        return why
    made = train.recalibrate(_facts(champion, rows), scene.config.train)
    scene.search = _search(champion, rows, made)
    scene.draft.note(candidates=scene.search.candidates, winner=scene.search.winner)
    scene.draft.say(_sentence(champion, made, rows))
    return ""


def _why_anew(scene: Scene) -> str:
    evidence = scene.draft.record.evidence
    if scene.decision.kind is TriggerKind.AGE:
        return "the model itself is old, and a new calibration would not make it younger"
    rejected = evidence.attempts.rejected_in_a_row if evidence else 0
    if rejected:
        return f"the last {rejected} challenger{'s were' if rejected > 1 else ' was'} rejected"
    return ""


# --- the rows -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Base:
    id: str
    manifest: Manifest
    predictor: Predictor

    @property
    def model(self) -> str:
        """The version whose model it is: itself, unless it is a recalibration."""
        return self.manifest.recalibration.base if self.manifest.recalibration else self.id


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    frame: pl.DataFrame = field(repr=False)
    index: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    raw: np.ndarray = field(repr=False)


def _readable(scene: Scene) -> _Base | str:
    champion: Champion | None = scene.champion
    if champion is None or champion.version is None:
        return "there is no champion that can be read"
    names = champion.version.manifest.contract.names
    if missing := [name for name in names if name not in scene.rows.columns]:
        return f"the champion reads {', '.join(missing)}, which the data do not have"
    try:
        return _Base(id=champion.id, manifest=champion.version.manifest, predictor=champion.predictor)
    except RehoneError as error:
        return f"the champion cannot be loaded ({error})"


def _newer(scene: Scene, base: _Base) -> _Rows:
    """Take the matured rows between what the champion learned from and the holdout."""
    newer = pl.col("__time__") > base.manifest.train_end
    index = scene.rows.select(pl.arg_where(newer & (pl.col("__time__") < scene.split.holdout.start))).to_series()
    frame = scene.rows[index.to_numpy()]
    matrix = artifact.encode(frame, base.manifest.contract)
    return _Rows(
        frame=frame,
        index=index.cast(pl.Int64).to_numpy(),
        labels=frame[scene.config.data.label].cast(pl.Int8).to_numpy(),
        raw=base.predictor.uncalibrated(matrix),
    )


def _facts(base: _Base, rows: _Rows) -> train.Newer:
    weights = weights_of(rows.frame)
    layer = base.manifest.recalibration
    return train.Newer(
        raw=rows.raw,
        labels=rows.labels,
        days=days_of(rows.frame),
        weights=None if (weights == 1).all() else weights,
        base=base.model,
        base_as_of=layer.base_as_of if layer else base.manifest.as_of,
        layer=layer,
    )


# --- the challenger -------------------------------------------------------------------------------


def _search(base: _Base, rows: _Rows, made: train.Layered) -> train.Search:
    """Tell of the layers as of the candidates of a search; nothing else was learned than the champion's model."""
    manifest, candidates = base.manifest, tuple(_candidate(base, rows, tried) for tried in made.tried)
    end = max(manifest.train_end, *rows.frame["__time__"].tail(1).to_list()).astimezone(UTC)
    return train.Search(
        candidates=candidates,
        winner=next(candidate for candidate in candidates if candidate.winner),
        predictor=replace(base.predictor, threshold=made.threshold, version=None, recalibration=made.layer),
        oof_scores=made.scores,
        oof_labels=rows.labels,
        oof_index=rows.index,
        train_window=Window(manifest.train_window.start, end + timedelta(microseconds=1)),
        train_end=end,
        train_rows=manifest.train_rows + rows.frame.height,
        train_positives=manifest.train_positives + int(rows.labels.sum()),
    )


def _candidate(base: _Base, rows: _Rows, tried: train.Tried) -> CandidateResult:
    measured = tried.log_loss is not None
    return CandidateResult(
        name=f"{tried.kind.value} over {short_id(base.model)}",
        estimator=base.manifest.estimator,
        params=base.manifest.params,
        window=WINDOW,
        rows=rows.frame.height,
        cv_roc_auc_mean=metrics.roc_auc(rows.labels, rows.raw) if measured else None,
        winner=tried.chosen,
        note=f"log loss {tried.log_loss:.5f} on days that it was not fitted on" if measured else tried.why_not,
    )


def _sentence(base: _Base, made: train.Layered, rows: _Rows) -> str:
    found = {tried.kind: tried for tried in made.tried}
    chosen = next(tried for tried in made.tried if tried.chosen)
    plain = found[RecalibrationKind.THRESHOLD]
    gained = "" if chosen is plain else f", log loss {chosen.log_loss:.4f} instead of {plain.log_loss:.4f}"
    return (
        f"{chosen.kind.value} over the champion's own model {short_id(base.model)}, chosen on "
        f"{rows.frame.height:,} newer rows ({int(rows.labels.sum()):,} positives){gained}; "
        f"threshold {base.manifest.threshold:.4g} -> {made.threshold:.4g}"
    )

"""Estimate how the champion does on the current window before its labels are due."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import data, estimate
from rehone.data.served import SCORE
from rehone.errors import ContractError, DataError
from rehone.records import Estimated, Evidence, Manifest, Window

if TYPE_CHECKING:
    from rehone.pipeline.evidence import Champion, Look

_TICK = timedelta(microseconds=1)


def estimated(view: Look, evidence: Evidence) -> Evidence:
    """Add the estimates, where the champion's profile says what its scores were worth.

    Only rows newer than the champion's training are asked: of those it learned from it is too sure.
    """
    champion = view.champion
    if champion is None or champion.version is None or champion.profile is None:
        return evidence
    manifest = champion.version.manifest
    start = max(manifest.train_end + _TICK, view.as_of - timedelta(days=view.config.trigger.window_days))
    window = Window(min(start, view.as_of), view.as_of)
    reference = estimate.of_profile(champion.profile.scores)
    if reference is None:
        said = "the champion was made by a Rehone that did not remember what its scores were worth"
        return replace(evidence, estimated=Estimated(window=window, n=0, detail=said))
    scores = _scores(view, champion, manifest, window)
    if isinstance(scores, str):
        return replace(evidence, estimated=Estimated(window=window, n=0, detail=scores))
    made = estimate.estimate(reference, scores, manifest.threshold, window=window, terms=terms(view))
    return replace(evidence, estimated=made)


def terms(view: Look) -> estimate.Terms:
    """Return what decisions cost and how sure to be, as the configuration says."""
    config = view.config
    return estimate.Terms(
        costs=(config.train.cost_false_positive, config.train.cost_false_negative),
        level=config.trigger.interval_level,
        min_positives=config.trigger.min_positives,
        seed=config.project.seed,
    )


def _scores(view: Look, champion: Champion, manifest: Manifest, window: Window) -> NDArray[np.float64] | str:
    """Return the champion's scores on a window, (n,), or why there are none."""
    if window.start >= window.end:
        return "no row is newer than the champion's training data"
    if view.config.predictions.evidence == "served":
        return _served(view, champion, window)
    score, most = view.config.data.score_column, view.config.trigger.score_sample_rows
    needed = (score,) if score else manifest.contract.names
    if missing := [name for name in needed if name not in view.source.columns]:
        return f"the data have no column {', '.join(missing)}"
    rows = view.source.some(window, needed, most)
    if score:
        return rows[score].cast(pl.Float64).drop_nulls().to_numpy()
    try:
        return champion.predictor.predict_proba(rows)
    except ContractError as error:
        return str(error)


def _served(view: Look, champion: Champion, window: Window) -> NDArray[np.float64] | str:
    served = view.feeds.served
    own = served.by_version(champion.id) if served is not None else ()
    if served is None or not own:
        return "the champion has no predictions in the log"
    try:
        rows = served.read(window, (data.VERSION, SCORE), own)
    except DataError as error:
        return str(error)
    return rows.filter(pl.col(data.VERSION) == champion.id)[SCORE].cast(pl.Float64).drop_nulls().to_numpy()

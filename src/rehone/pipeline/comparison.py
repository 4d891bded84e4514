"""Make champion and challenger comparable: the same rows, unseen by both, in blocks that are independent."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from rehone import artifact, gate
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.pipeline.evidence import Champion, days_of
from rehone.records import Contract, Window
from rehone.runlog import Line

COARSE = 0.05
"""Share of held-out rows that look like another of them above which a row cannot be told from its twin."""


@dataclass(frozen=True)
class Matter:
    """What the comparison is about besides the held-out rows themselves."""

    config: Config
    contract: Contract
    window: Window
    champion: Champion | None
    lines: tuple[Line, ...]
    learned: pl.DataFrame = field(repr=False)


def holdout(matter: Matter, held: pl.DataFrame) -> gate.Holdout:
    """Return what the gate must know of the rows that both models are asked about."""
    config, contract = matter.config, matter.contract
    blocks, kind = _blocks(config, held)
    return gate.Holdout(
        labels=held[config.data.label].cast(pl.Int8).to_numpy(),
        times=held["__time__"].dt.replace_time_zone(None).to_numpy(),
        mature=np.ones(held.height, dtype=bool),
        blocks=blocks,
        block_kind=kind,
        in_challenger_training=_seen(marks(config, held, contract), marks(config, matter.learned, contract)),
        in_champion_training=_seen_by_champion(matter, held),
        prior_uses=_prior_uses(matter),
    )


def _blocks(config: Config, held: pl.DataFrame) -> tuple[np.ndarray | None, str]:
    """Number the entity or the day of each row; the gate refuses "entity" where there is none."""
    entity = config.data.entity_column
    if entity is not None and config.gate.blocks in ("auto", "entity"):
        return held[entity].rank("dense").fill_null(0).to_numpy(), "entity"
    return days_of(held), "day"


def marks(config: Config, rows: pl.DataFrame, contract: Contract) -> np.ndarray:
    """Return a fingerprint of each row, (n,) uint64, by its id or by its features and label."""
    return artifact.fingerprints(rows, contract, label=config.data.label, id_column=config.data.id_column)


def _seen(found: np.ndarray, trained_on: np.ndarray | None) -> np.ndarray | None:
    """Say which rows are in a training set; `None` when rows are too coarse to be told apart."""
    if trained_on is None or not trained_on.size:
        return None
    known = np.unique(trained_on)
    coarse = 1 - np.unique(found).size / found.size if found.size else 0.0
    if coarse > COARSE:
        return None
    return np.isin(found, known)


def _seen_by_champion(matter: Matter, held: pl.DataFrame) -> np.ndarray | None:
    champion = matter.champion
    if champion is None or champion.version is None or champion.fingerprints is None:
        return None
    contract = champion.version.manifest.contract
    if any(name not in held.columns for name in contract.names):
        return None
    return _seen(marks(matter.config, held, contract), champion.fingerprints)


def _prior_uses(matter: Matter) -> int:
    held = matter.window
    return sum(
        line.holdout is not None and line.holdout.start < held.end and held.start < line.holdout.end
        for line in matter.lines
    )


def scored_champion(champion: Champion | None, held: pl.DataFrame) -> gate.Scored | gate.Unreadable | None:
    """Let the champion score the same rows, through the path that serves; what it cannot read is said."""
    if champion is None:
        return None
    if champion.version is None:
        return gate.Unreadable(champion.id, champion.why_not)
    try:
        scores = champion.predictor.predict_proba(held)
    except RehoneError as error:
        return gate.Unreadable(champion.id, str(error))
    return gate.Scored(
        version=champion.id,
        scores=scores,
        threshold=champion.predictor.threshold,
        train_end=champion.version.manifest.train_end,
    )

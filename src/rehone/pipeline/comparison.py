"""Make champion and challenger comparable: the same rows, unseen by both, in blocks that are independent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

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

BINS = 4
"""Parts of about equal size that a slice column of many numbers is cut into."""

MOST_VALUES = 20
"""Distinct numbers of a slice column that are each a slice; with more it is cut."""


@dataclass(frozen=True)
class Matter:
    """What the comparison is about besides the held-out rows themselves."""

    config: Config
    contract: Contract
    window: Window
    champion: Champion | None
    lines: tuple[Line, ...]
    learned: pl.DataFrame = field(repr=False)
    as_of: datetime | None = None
    anchor_tries: int = 0


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
        in_challenger_training=seen(marks(config, held, contract), marks(config, matter.learned, contract)),
        in_champion_training=_seen_by_champion(matter, held),
        near_challenger_training=_near(_near_marks(held, contract), _near_marks(matter.learned, contract)),
        near_champion_training=_near_champion(matter, held),
        prior_uses=len(_earlier_shares(matter)),
        effective_uses=float(sum(_earlier_shares(matter))),
        anchor_tries=matter.anchor_tries,
        slices=_slices(config, held),
        as_of=matter.as_of,
        label_delay_days=config.data.label_delay_days,
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


def seen(found: np.ndarray, trained_on: np.ndarray | None) -> np.ndarray | None:
    """Say which rows are in a training set; `None` when rows are too coarse to be told apart."""
    if trained_on is None or not trained_on.size:
        return None
    known = np.unique(trained_on)
    coarse = 1 - np.unique(found).size / found.size if found.size else 0.0
    if coarse > COARSE:
        return None
    return np.isin(found, known)


def _seen_by_champion(matter: Matter, held: pl.DataFrame) -> np.ndarray | None:
    contract = _readable_here(matter, held)
    if contract is None or matter.champion is None:
        return None
    return seen(marks(matter.config, held, contract), matter.champion.fingerprints)


def _readable_here(matter: Matter, held: pl.DataFrame) -> Contract | None:
    """Return what the champion reads, where these rows have all of it."""
    version = matter.champion.version if matter.champion else None
    contract = version.manifest.contract if version else None
    return contract if contract and all(name in held.columns for name in contract.names) else None


def _near_marks(rows: pl.DataFrame, contract: Contract) -> np.ndarray:
    return artifact.near_fingerprints(rows, contract)


def _near(found: np.ndarray, trained_on: np.ndarray | None) -> np.ndarray | None:
    """Say which rows are nearly a training row; `None` when so many would be by chance that it says nothing.

    How often two rows of the holdout are nearly the same says how often chance alone makes a twin.
    """
    if trained_on is None or not trained_on.size or not found.size:
        return None
    known = np.unique(trained_on)
    by_chance = (1 - np.unique(found).size / found.size) * max(1.0, known.size / found.size)
    if by_chance > COARSE:
        return None
    return np.isin(found, known)


def _near_champion(matter: Matter, held: pl.DataFrame) -> np.ndarray | None:
    contract = _readable_here(matter, held)
    if contract is None or matter.champion is None:
        return None
    return _near(_near_marks(held, contract), matter.champion.near)


def _earlier_shares(matter: Matter) -> list[float]:
    """Return, for each earlier challenger judged on some of these rows, the share of their time that it was judged on."""
    held = matter.window
    length = held.end - held.start
    shares = []
    for line in matter.lines:
        if line.holdout is None:
            continue
        common = min(line.holdout.end, held.end) - max(line.holdout.start, held.start)
        if common.total_seconds() > 0:
            shares.append(common / length)
    return shares


def _slices(config: Config, held: pl.DataFrame) -> Mapping[str, np.ndarray]:
    """Return the value of each row as text, for each column to be sliced by that is there."""
    return {name: _values(held[name]) for name in config.gate.slices if name in held.columns}


def _values(column: pl.Series) -> np.ndarray:
    if column.dtype.is_numeric() and column.n_unique() > MOST_VALUES:
        return _quarters(column.cast(pl.Float64).fill_nan(None))
    return column.cast(pl.String).fill_null("null").to_numpy().astype(np.str_)


def _quarters(column: pl.Series) -> np.ndarray:
    """Name for each row the quarter of the values that its own lies in."""
    found = [column.quantile(part / BINS) for part in range(1, BINS)]
    edges = sorted({float(edge) for edge in found if edge is not None})
    named = [f"up to {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(edges)), f"above {edges[-1]:g}"]
    places = np.searchsorted(edges, column.fill_null(0.0).to_numpy(), "left")
    return np.where(column.is_null().to_numpy(), "null", np.array(named, dtype=np.str_)[places])


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

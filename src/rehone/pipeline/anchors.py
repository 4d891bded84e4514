"""Bring past champions before the gate, so that what promotions lose together is seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from rehone import gate, signing
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.pipeline.comparison import marks, seen
from rehone.pipeline.evidence import Champion
from rehone.records import Deployment, DeploymentState
from rehone.runlog import Line
from rehone.store import Store, standing

log = logging.getLogger(__name__)

YEAR = timedelta(days=365)
MOST = 12
"""Past champions that are asked. With fewer, the best of many promotions is missed; each costs a scoring of the holdout."""


@dataclass(frozen=True)
class Past:
    """Past champions that a challenger is held against, and how many were since there was one."""

    versions: tuple[str, ...]
    tries: int = 0


def past_champions(store: Store, lines: Sequence[Line], as_of: datetime) -> Past:
    """Choose among the versions that were confirmed and live within a year, and that nobody rolled back from.

    At most twelve that are still there: the first, the last before the champion, and others evenly between.

    Raises:
        StoreError: the log cannot be read.
    """
    log = store.log()
    there = {version.id for version in store.versions()}
    replaced = _replaced_at(log)
    live = log[-1].version if log else None
    known = [v for v in standing(log) if v != live and v in there and as_of - YEAR <= replaced.get(v, as_of) <= as_of]
    if not known:
        return Past(())
    since = replaced.get(known[0], as_of)
    tries = sum(line.holdout is not None and since < line.as_of <= as_of for line in lines)
    places = np.unique(np.linspace(0, len(known) - 1, min(MOST, len(known))).round().astype(int))
    return Past(tuple(known[place] for place in places), tries)


def _replaced_at(log: Sequence[Deployment]) -> Mapping[str, datetime]:
    """Return for each version the day on which another took its place for the last time."""
    ended: dict[str, datetime] = {}
    before: str | None = None
    for record in log:
        if record.state is DeploymentState.CONFIRMED:
            if before is not None and before != record.version:
                ended[before] = record.as_of or record.at
            before = record.version
    return ended


def scored_anchors(
    config: Config, store: Store, past: Past, held: pl.DataFrame
) -> tuple[gate.Scored | gate.Unreadable, ...]:
    """Let past champions score the held-out rows; one that cannot is said and not held against."""
    return tuple(_scored(config, store, version, held) for version in past.versions)


def _scored(config: Config, store: Store, version: str, held: pl.DataFrame) -> gate.Scored | gate.Unreadable:
    policy = signing.policy_of(config)
    try:
        found, files = store.version(version), store.read(version)
        signing.require(found.id, store.signatures(found.id), policy)
        champion = Champion(store.log()[-1], version, policy, version=found, files=files)
        scores = champion.predictor.predict_proba(held)
        trained_on = champion.fingerprints
        rows = None if trained_on is None else seen(marks(config, held, found.manifest.contract), trained_on)
    except (RehoneError, OSError) as error:
        return gate.Unreadable(version, str(error))
    except Exception as error:  # an old model that stumbles over new rows, or over new libraries, stops no promotion
        log.warning("a past champion could not be asked", exc_info=True, extra={"version": version})
        return gate.Unreadable(version, f"{type(error).__name__}: {error}")
    return gate.Scored(
        version=version,
        scores=scores,
        threshold=champion.predictor.threshold,
        train_end=found.manifest.train_end,
        seen=rows,
    )

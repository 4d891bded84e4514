"""Hold earlier promotions against what came true since."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from rehone import artifact, forecast, signing
from rehone.artifact import Predictor
from rehone.config import Config
from rehone.data import Rows
from rehone.errors import ArtifactError, Corrupt, NotFound, RehoneError, SigningError, Unreachable
from rehone.pipeline.evidence import days_of
from rehone.pipeline.maturing import open_matured
from rehone.pipeline.scene import Scene
from rehone.records import Realised, RunRecord, RunStatus, TrackRecord, Window, short_id
from rehone.runlog import Line, RunLog
from rehone.runlog.told import parts_of
from rehone.store import Store, has_store

log = logging.getLogger(__name__)

MOST_ROWS = 100_000
"""Rows after a promotion that both versions score; of more, an even sample."""


def realised(scene: Scene) -> tuple[Realised, ...]:
    """Return what became of each promotion whose rows have matured and that was not told before.

    Whatever goes wrong here is logged and ends no run: the forecast stays open.
    """
    as_of = scene.door.as_of
    lines = [line for line in scene.runlog.lines() if line.as_of <= as_of]
    _, open_ones = _forecasts(scene.config, _since_first(lines, as_of), as_of)
    if not open_ones:
        return ()
    asked = _Asked(scene.config, scene.feeds.offline or scene.feeds.learn, _Shelf(scene.config, scene.store), as_of)
    found = (asked.answer(one) for one in open_ones)
    return tuple(one for one in found if not one.open)


def said(found: Sequence[Realised]) -> str:
    """Say what a run found of earlier promotions, as the end of a sentence; nothing where it found none."""
    if not found:
        return ""
    regretted = [short_id(one.version) for one in found if one.regret]
    counted = f"; {len(found)} earlier promotion{'s' if len(found) > 1 else ''} held against what came true"
    return f"{counted}: version {', '.join(regretted)} is a regret" if regretted else counted


def outlook(config: Config, *, as_of: datetime, frame: object | None = None) -> TrackRecord:
    """Return every promotion up to a day: what was told of it, or for an open one how it stands now.

    Nothing is written. Where the data or the store cannot be read, open ones say so.
    """
    lines = [line for line in RunLog.of(config).lines() if line.as_of <= as_of]
    told, open_ones = _forecasts(config, _since_first(lines, None), as_of)
    if open_ones:
        told += _now(config, open_ones, as_of, frame)
    return forecast.track_record(sorted(told, key=lambda one: (one.promoted_at, one.run_id)))


# --- what the records say -----------------------------------------------------------------------


def _since_first(lines: Sequence[Line], as_of: datetime | None) -> list[Line]:
    """Leave out what is older than the first promotion that could still be open on a day."""
    for number, line in enumerate(lines):
        recent = as_of is None or as_of - line.as_of < 2 * forecast.LONGEST
        if line.status is RunStatus.DEPLOYED and recent:
            return list(lines[number:])
    return []


@dataclass(frozen=True, slots=True)
class _Told:
    """The part of a record that says what came of promotions."""

    realised: tuple[Realised, ...] = ()


def _forecasts(config: Config, lines: Sequence[Line], as_of: datetime) -> tuple[list[Realised], list[Realised]]:
    """Return what was told of promotions, and those of which nothing was told yet."""
    told = {one.run_id: one for part in parts_of(config, lines, _Told) for one in part.realised}
    deployed = parts_of(config, [line for line in lines if line.status is RunStatus.DEPLOYED], RunRecord)
    level, fewest = config.gate.level, config.gate.min_positives
    made = (forecast.promised(record, level=level, fewest=fewest) for record in deployed)
    every = [one for one in made if one is not None and one.promoted_at <= as_of]
    return [told[one.run_id] for one in every if one.run_id in told], [one for one in every if one.run_id not in told]


# --- what came true -----------------------------------------------------------------------------


class _Gone(Exception):
    """A version cannot be asked any more, and never will be."""


class _Shelf:
    """The versions of a store as predictors, each loaded once."""

    def __init__(self, config: Config, store: Store | None) -> None:
        self._policy, self._store = signing.policy_of(config), store
        self._known: dict[str, Predictor] = {}

    def get(self, version: str) -> Predictor:
        """Load a version.

        Raises:
            _Gone: it is not in the store, damaged, not signed as asked, or cannot be loaded here.
            RehoneError: the store cannot be asked now.
        """
        if version not in self._known:
            try:
                self._known[version] = self._load(version)
            except Unreachable:
                raise
            except (NotFound, Corrupt, SigningError, ArtifactError) as error:
                raise _Gone(f"version {short_id(version)} cannot be asked any more: {error}") from error
        return self._known[version]

    def _load(self, version: str) -> Predictor:
        if self._store is None:
            raise NotFound("the store is not there")
        found, files = self._store.version(version), self._store.read(version)
        signing.require(found.id, self._store.signatures(found.id), self._policy)
        return artifact.unpack(
            found.manifest,
            files,
            version=found.id,
            allow_joblib=self._policy.allow_joblib,
            trusted=self._policy.trusted_types,
        )


@dataclass(frozen=True)
class _Asked:
    """Where answers come from on a day; `early` also measures what came so far of an open forecast."""

    config: Config
    source: Rows
    shelf: _Shelf
    as_of: datetime
    early: bool = False

    def answer(self, one: Realised) -> Realised:
        """Close a forecast if enough labels are due, or if it cannot be answered any more; else leave it open."""
        try:
            return self._answer(one)
        except _Gone as gone:
            return forecast.unanswered(one, str(gone))
        except RehoneError as error:
            log.warning("a promotion could not be held against what came", extra={"because": str(error)})
            return self._late(one, str(error))
        except Exception as error:  # an old model that stumbles over new rows ends no run: the forecast stays open
            log.warning(
                "a promotion could not be held against what came", exc_info=True, extra={"because": repr(error)}
            )
            return self._late(one, f"{type(error).__name__}: {error}")

    def _answer(self, one: Realised) -> Realised:
        window = Window(one.promoted_at, self.as_of)
        n, positives = self._due(window)
        fewest = max(self.config.gate.min_positives, forecast.FEWEST)
        enough = forecast.ripe(one, positives, self.as_of, fewest=fewest)
        if not enough and not (self.early and min(positives, n - positives) >= forecast.FEWEST):
            return self._late(one, "", window, (n, positives))
        outcome = self._outcome(one, window)
        if outcome is None:
            return self._late(one, "", window, (n, positives))
        return (forecast.close if enough else forecast.so_far)(one, outcome, window)

    def _late(
        self, one: Realised, why: str, window: Window | None = None, counts: tuple[int, int] = (0, 0)
    ) -> Realised:
        """Leave a forecast open, or give it up once it has waited as long as it may."""
        still = forecast.waiting(one, window or one.window, counts)
        still = replace(still, detail=f"{still.detail}: {why}" if why else still.detail)
        if not forecast.is_late(one, self.as_of):
            return still
        days = forecast.LONGEST.days
        return forecast.unanswered(still, f"not answered within {days} days: {still.detail}")

    def _due(self, window: Window) -> tuple[int, int]:
        label = self.config.data.label
        rows = self.source.some(window, (label,), MOST_ROWS, there=(label,))
        return rows.height, int(rows[label].cast(pl.Int64).sum())

    def _outcome(self, one: Realised, window: Window) -> forecast.Outcome | None:
        """Let both versions score the rows after the promotion; `None` when one class is not among them.

        Raises:
            _Gone: one of the two cannot be asked any more.
            RehoneError: the rows cannot be read now.
        """
        before, after = self.shelf.get(one.replaced), self.shelf.get(one.version)
        label, entity = self.config.data.label, self._entity
        names = (*before.contract.names, *after.contract.names, label, *((entity,) if entity else ()))
        if lost := sorted(set(names) - {*self.source.columns}):
            raise ArtifactError(f"the data have no column {', '.join(lost)} any more, which one of the two reads")
        rows = self.source.some(window, tuple(dict.fromkeys(names)), MOST_ROWS, there=(label,))
        labels = rows[label].cast(pl.Int8).to_numpy()
        if min(labels.sum(), rows.height - labels.sum()) < forecast.FEWEST:
            return None
        return forecast.Outcome(
            labels=labels,
            replaced=before.predict_proba(rows),
            promoted=after.predict_proba(rows),
            blocks=self._blocks(rows),
        )

    @property
    def _entity(self) -> str | None:
        return self.config.data.entity_column if self.config.gate.blocks in ("auto", "entity") else None

    def _blocks(self, rows: pl.DataFrame) -> np.ndarray | None:
        """Number the entity or the day of each row as the gate does; `None` where its rows are independent."""
        if self.config.gate.blocks == "none":
            return None
        return rows[self._entity].rank("dense").fill_null(0).to_numpy() if self._entity else days_of(rows)


def _now(config: Config, open_ones: Sequence[Realised], as_of: datetime, frame: object | None) -> list[Realised]:
    """Say how open forecasts stand; with what cannot be read, they stand as they were."""
    try:
        config, feeds, _ = open_matured(config, as_of, champion=True, frame=frame)
        store = Store.of(config) if has_store(config) else None
    except RehoneError as error:
        return [replace(one, detail=str(error)) for one in open_ones]
    asked = _Asked(config, feeds.offline or feeds.learn, _Shelf(config, store), as_of, early=True)
    return [asked.answer(one) for one in open_ones]

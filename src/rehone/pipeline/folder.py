"""Keep what the stages of one run hand on to each other as files, so that each may be made elsewhere and later.

    runs/<yyyy>/<mm>/<run_id>/finished.json   which stages have ended, and the digest of each file they left
                              look.json       what was live when the run looked, and what it saw of the feeds
                              features.json   what a challenger may learn from
                              rows.parquet    the matured rows, sorted by time
                              population.json what is to be remembered of all rows, where a sample was drawn
                              search.json     candidates, threshold and contract of the winner
                              scores.npz      what the winner said of rows that it had not learned from
                              preprocessor.*, model.*

All else that a stage needs stands in the record of the run. A file counts once `finished.json`
names it, and is read only while it has that digest.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from rehone import artifact, codec, train
from rehone.artifact import Predictor
from rehone.disk import Disk
from rehone.errors import Corrupt, StoreError
from rehone.pipeline.scene import Scene
from rehone.places import Place
from rehone.records import CandidateResult, Check, Contract, Deployment, Profile, Recalibration, Window

FINISHED = "finished.json"
LOOK, FEATURES, ROWS, SEARCH, SCORES = "look.json", "features.json", "rows.parquet", "search.json", "scores.npz"
POPULATION = "population.json"

Stages = dict[str, dict[str, str]]
"""For each stage that has ended, in order: the files that it left, each with its SHA-256."""


class Folder:
    """The files of one run that is made stage by stage."""

    def __init__(self, place: Place, disk: Disk) -> None:
        self._place = place
        self._disk = disk

    def finished(self) -> Stages:
        """Return the stages that have ended; none when the run was not made stage by stage.

        Raises:
            Corrupt: the list is damaged.
        """
        try:
            data = self._disk.read(self._place / FINISHED)
        except FileNotFoundError:
            return {}
        return codec.decode(data, Stages, source=str(self._place / FINISHED))

    def finish(self, stage: str, files: Mapping[str, bytes]) -> None:
        """Keep what a stage leaves, and then that it has ended.

        Raises:
            StoreError: the disk is full or cannot be written.
        """
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        done = {**self.finished(), stage: digests}
        try:
            self._disk.make_folder(self._place)
            for name, data in files.items():
                self._disk.replace(self._place / name, data)
            self._disk.replace(self._place / FINISHED, codec.encode(done))
        except OSError as error:
            size = sum(len(data) for data in files.values())
            raise StoreError(
                f"what stage {stage} leaves ({size:,} bytes) cannot be written to {self._place}: {error.strerror or error}: "
                "make room or give write permission, then make the stage again"
            ) from error

    def read(self, name: str) -> bytes:
        """Return a file as the stage that made it left it.

        Raises:
            Corrupt: it is missing or was changed.
        """
        wanted = {file: sha256 for files in self.finished().values() for file, sha256 in files.items()}
        path = self._place / name
        try:
            data = self._disk.read(path)
        except FileNotFoundError:
            raise Corrupt(f"{path} is missing: end this run with `rehone stage close` and begin another") from None
        if hashlib.sha256(data).hexdigest() != wanted.get(name):
            raise Corrupt(f"{path} was changed since its stage ended: end this run and begin another")
        return data

    def model(self) -> dict[str, bytes]:
        """Return the files of the challenger.

        Raises:
            Corrupt: one is missing or was changed.
        """
        own = (SEARCH, SCORES)
        return {name: self.read(name) for name in self.finished()["train"] if name not in own}


# --- what a stage leaves ------------------------------------------------------------------------


def kept(scene: Scene, stage: str) -> dict[str, bytes]:
    """Return the files that a stage leaves for those after it."""
    if stage == "look":
        return {LOOK: codec.encode(Looked(head=scene.head, warnings=scene.feeds.warnings))}
    if stage == "validate":
        buffer = io.BytesIO()
        scene.rows.write_parquet(buffer, compression="zstd", compression_level=1)
        population = {POPULATION: codec.encode(scene.population)} if scene.population else {}
        return {FEATURES: codec.encode(scene.features), ROWS: buffer.getvalue(), **population}
    if stage == "train":
        return _kept_search(scene)
    return {}


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was live when the run looked, and what it saw of the feeds."""

    head: Deployment | None
    warnings: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A search without its arrays and without its model."""

    candidates: tuple[CandidateResult, ...]
    winner: CandidateResult
    contract: Contract
    threshold: float
    train_window: Window
    train_end: datetime
    train_rows: int
    train_positives: int
    notes: tuple[str, ...]
    recalibration: Recalibration | None = None


def _kept_search(scene: Scene) -> dict[str, bytes]:
    search, policy = scene.search, scene.config.deploy
    found = _Found(
        candidates=search.candidates,
        winner=search.winner,
        contract=search.predictor.contract,
        threshold=search.predictor.threshold,
        train_window=search.train_window,
        train_end=search.train_end,
        train_rows=search.train_rows,
        train_positives=search.train_positives,
        notes=search.notes,
        recalibration=search.predictor.recalibration,
    )
    scores = io.BytesIO()
    np.savez(scores, oof_scores=search.oof_scores, oof_labels=search.oof_labels, oof_index=search.oof_index)
    model = artifact.pack_model(search.predictor, allow_joblib=policy.allow_joblib, trusted=policy.trusted_types)
    return {SEARCH: codec.encode(found), SCORES: scores.getvalue(), **model}


# --- what a stage finds -------------------------------------------------------------------------


def looked(folder: Folder) -> Looked:
    """Return what the first stage saw.

    Raises:
        Corrupt: it is missing or was changed.
    """
    return codec.decode(folder.read(LOOK), Looked, source=LOOK)


def find(scene: Scene, folder: Folder) -> None:
    """Put back into the scene what the stages that have ended handed on.

    Raises:
        Corrupt: a file is missing or was changed.
        ArtifactError: the challenger cannot be loaded here.
    """
    done, record = folder.finished(), scene.draft.record
    if "decide" in done and record.trigger:
        scene.decision = record.trigger
    if "validate" in done and record.split:
        scene.features = codec.decode(folder.read(FEATURES), tuple[str, ...], source=FEATURES)
        scene.rows, scene.split = pl.read_parquet(io.BytesIO(folder.read(ROWS))), record.split
    if POPULATION in done.get("validate", {}):
        scene.population = codec.decode(folder.read(POPULATION), Profile, source=POPULATION)
    if "train" in done:
        scene.search = _search(scene, folder)
    if "judge" in done and record.verdict:
        scene.verdict = record.verdict
    if "publish" in done:
        scene.version = record.version or ""


def _search(scene: Scene, folder: Folder) -> train.Search:
    policy = scene.config.deploy
    found = codec.decode(folder.read(SEARCH), _Found, source=SEARCH)
    pipeline = artifact.unpack_model(folder.model(), allow_joblib=policy.allow_joblib, trusted=policy.trusted_types)
    predictor = Predictor(
        contract=found.contract, pipeline=pipeline, threshold=found.threshold, recalibration=found.recalibration
    )
    with np.load(io.BytesIO(folder.read(SCORES)), allow_pickle=False) as scores:
        arrays = {name: scores[name] for name in ("oof_scores", "oof_labels", "oof_index")}
    own = ("contract", "threshold", "recalibration")
    plain = {name: getattr(found, name) for name in found.__dataclass_fields__ if name not in own}
    return train.Search(**plain, **arrays, predictor=predictor)

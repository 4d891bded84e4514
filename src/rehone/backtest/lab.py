"""Make each model of a replay once, whichever policies ask for it, and remember it on disk."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone import artifact, codec, train
from rehone.artifact import Predictor
from rehone.backtest.past import ROW, TIME, History, Past
from rehone.config import Config
from rehone.disk import Disk
from rehone.errors import ArtifactError, Corrupt, DataError, TrainingError
from rehone.pipeline.evidence import Champion
from rehone.pipeline.publishing import remembered
from rehone.pipeline.taking import Taken, columns_of, history_window, take, trailing_window
from rehone.records import (
    Contract,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Manifest,
    ModelVersion,
    Profile,
    Split,
)

log = logging.getLogger(__name__)

FORMAT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model that was made as of a day on a training window, and all that it ever said.

    `scores` (n,) are of every row of the history from its trailing window on, NaN before.
    `learned` are the rows that were older than its holdout; of those in the trailing window,
    `oof_rows`, it has out-of-fold scores. `cv` is the mean of its cross-validated ROC-AUC, `newest`
    that of the newest part where there is one, and `place` that of its candidate in the list, which
    settles ties.
    """

    id: str
    window: str
    manifest: Manifest
    split: Split
    cv: float
    newest: float | None
    place: int
    scores: NDArray[np.float64] = field(repr=False)
    learned: NDArray[np.int64] = field(repr=False)
    oof_rows: NDArray[np.int64] = field(repr=False)
    oof_scores: NDArray[np.float64] = field(repr=False)

    @property
    def as_of(self) -> datetime:
        return self.manifest.as_of

    @property
    def threshold(self) -> float:
        return self.manifest.threshold


@dataclass(frozen=True, slots=True)
class Refused:
    """A day on which nothing could be trained, and why."""

    why: str


Made = tuple[Fitted, ...] | Refused


@dataclass(frozen=True, slots=True, eq=False)
class Echo:
    """Says of each row of the history what a model said of it when it was made: a predictor for replays."""

    contract: Contract
    threshold: float
    version: str
    scores: NDArray[np.float64] = field(repr=False)

    def predict_proba(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Return the scores of rows of the history, which are told by their numbers.

        Raises:
            ArtifactError: the rows are not from the history, or older than the model scored.
        """
        if ROW not in rows.columns:
            raise ArtifactError("a model of a replay only knows the rows of its history")
        found: NDArray[np.float64] = self.scores[rows[ROW].to_numpy()]
        if np.isnan(found).any():
            raise ArtifactError("a model of a replay was asked about rows older than those that it scored")
        return found


@dataclass(frozen=True)
class Reigning(Champion):
    """A model of a replay as the pipeline sees a champion."""

    fitted: Fitted | None = None
    memory: Profile | None = field(default=None, repr=False)
    marks: NDArray[np.uint64] | None = field(default=None, repr=False)
    near_marks: NDArray[np.uint64] | None = field(default=None, repr=False)

    @property
    def profile(self) -> Profile | None:
        return self.memory

    @property
    def predictor(self) -> Predictor:
        return cast(Predictor, echo(self.fitted)) if self.fitted else super().predictor

    @property
    def fingerprints(self) -> NDArray[np.uint64] | None:
        return self.marks

    @property
    def near(self) -> NDArray[np.uint64] | None:
        return self.near_marks


def echo(fitted: Fitted) -> Echo:
    """Return a model that answers from memory."""
    return Echo(fitted.manifest.contract, fitted.threshold, fitted.id, fitted.scores)


def reigning(fitted: Fitted, config: Config, memory: Profile) -> Reigning:
    """Put a model on the throne with its profile."""
    return Reigning(
        deployed(1, fitted.id, fitted.as_of, DeploymentAction.DEPLOY),
        fitted.id,
        config.deploy,
        version=ModelVersion(fitted.id, fitted.manifest),
        fitted=fitted,
        memory=memory,
    )


def deployed(generation: int, version: str, at: datetime, action: DeploymentAction) -> Deployment:
    """Return the record of a deployment of a replay."""
    return Deployment(
        generation=generation,
        version=version,
        action=action,
        state=DeploymentState.CONFIRMED,
        at=at,
        as_of=at,
        actor="backtest",
    )


# --- making them ------------------------------------------------------------------------------


def make(history: History, config: Config, day: datetime, windows: Sequence[str]) -> Made:
    """Train as a run of that day would, once for each training window.

    Rows, split, contract, search, threshold and profile are those of the pipeline itself.
    """
    past = Past(history, day)
    trailing = trailing_window(config, day)
    try:
        taken = take(
            config, past, history_window(config, past, trailing), trailing, columns_of(config, past.features())
        )
        return tuple(_fits(history, config, day, taken, windows))
    except (DataError, TrainingError, ArtifactError) as error:
        return Refused(str(error))


def _fits(history: History, config: Config, day: datetime, taken: Taken, windows: Sequence[str]) -> Iterator[Fitted]:
    learn = taken.rows.filter(pl.col(TIME) < taken.split.holdout.start)
    contract = artifact.learn_contract(
        learn, history.features, label=config.data.label, categorical=config.data.categorical
    )
    start = trailing_window(config, day).start
    whole = bool((learn[TIME] >= start).all())
    for window in windows:
        if whole and window in ("trailing", "all") and window != windows[0]:
            continue  # the same rows: made once, as the search itself does
        rows = train.TrainingRows(frame=learn, trailing_start=start, contract=contract, folder=config.cache_path)
        policy = config.train.model_copy(update={"windows": (window,)})
        search = train.search(rows, policy, seed=config.project.seed, brief=True)
        yield _fitted(history, config, day, (taken, learn, search))


def _fitted(history: History, config: Config, day: datetime, made: tuple[Taken, pl.DataFrame, train.Search]) -> Fitted:
    taken, learn, search = made
    titles = [candidate.title for candidate in config.train.candidates]
    first = int(taken.rows.filter(pl.col(TIME) >= taken.split.train.start)[ROW][0])
    scores = np.full(history.frame.height, np.nan)
    scores[first:] = search.predictor.predict_proba(history.frame.slice(first))
    winner, learned = search.winner, learn[ROW].to_numpy()
    manifest = Manifest(
        project=config.project.name,
        run_id="backtest",
        created_at=day,
        as_of=day,
        estimator=winner.estimator,
        params=winner.params,
        window_policy=winner.window,
        contract=search.predictor.contract,
        threshold=search.predictor.threshold,
        train_window=search.train_window,
        train_end=search.train_end,
        train_rows=search.train_rows,
        train_positives=search.train_positives,
        data_sha256="",
        requires={},
        files={},
    )
    return Fitted(
        id=hashlib.sha256(f"{day.isoformat()} {winner.window}".encode()).hexdigest(),
        window=winner.window,
        manifest=manifest,
        split=taken.split,
        cv=winner.cv_roc_auc_mean or 0.0,
        newest=winner.newest_roc_auc,
        place=titles.index(winner.name),
        scores=scores,
        learned=learned,
        oof_rows=learned[search.oof_index],
        oof_scores=search.oof_scores,
    )


@dataclass(frozen=True, slots=True)
class _Searched:
    """What the profile of a version is made of, as the pipeline finds it in a search."""

    predictor: Predictor
    oof_index: NDArray[np.int64]
    oof_scores: NDArray[np.float64]


def profile_of(history: History, config: Config, fitted: Fitted) -> Profile:
    """Return the profile that a run would have published with a model."""
    past = Past(history, fitted.as_of)
    rows = past.labelled(trailing_window(config, fitted.as_of), columns_of(config, past.features()))
    places = np.searchsorted(rows[ROW].to_numpy(), fitted.oof_rows)
    return remembered(config, rows, fitted.split, _Searched(cast(Predictor, echo(fitted)), places, fitted.oof_scores))


# --- remembering them -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What is kept of a model beside its arrays."""

    id: str
    window: str
    manifest: Manifest
    split: Split
    cv: float
    newest: float | None
    place: int


class Shelf:
    """The models of one history and one way of training, in a folder, one file for each day.

    A file that was cut short or changed is made again.
    """

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.folder = folder
        self._disk = disk or Disk()

    @classmethod
    def of(cls, history: History, config: Config, windows: Sequence[str]) -> Shelf:
        """Return the shelf of a history and of all keys that a model depends on."""
        keys = {"data": config.data.model_dump(mode="json"), "train": config.train.model_dump(mode="json")}
        said = codec.encode({**keys, "seed": config.project.seed, "windows": sorted(windows), "format": FORMAT})
        text = said + history.sha256.encode()
        return cls(config.cache_path / "backtest" / hashlib.sha256(text).hexdigest()[:16])

    def get(self, day: datetime) -> Made | None:
        """Return what was made on a day, if it was."""
        path = self._path(day)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        try:
            return _unpacked(data, str(path))
        except (Corrupt, ValueError, KeyError, OSError, EOFError):
            log.warning("a model of a replay is damaged and made again", extra={"file": str(path)})
            return None

    def put(self, day: datetime, made: Made) -> None:
        """Keep what was made on a day; a cache that cannot be written only costs time."""
        try:
            self._disk.make_folder(self.folder)
            self._disk.replace(self._path(day), _packed(made), lasting=False)
        except OSError:
            log.warning("the models of a replay cannot be kept", exc_info=True)

    def _path(self, day: datetime) -> Path:
        return self.folder / f"{day:%Y%m%dT%H%M}.npz"


def _packed(made: Made) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(made, Refused):
        arrays["why"] = np.frombuffer(made.why.encode(), dtype=np.uint8)
    else:
        for i, one in enumerate(made):
            names = ("id", "window", "manifest", "split", "cv", "newest", "place")
            note = codec.encode(_Note(**{name: getattr(one, name) for name in names}))
            arrays |= {
                f"note{i}": np.frombuffer(note, dtype=np.uint8),
                f"scores{i}": one.scores,
                f"learned{i}": one.learned.astype(np.int32),
                f"oof_rows{i}": one.oof_rows.astype(np.int32),
                f"oof_scores{i}": one.oof_scores,
            }
    held = io.BytesIO()
    np.savez(held, **cast(Any, arrays))
    data = held.getvalue()
    return hashlib.sha256(data).digest() + data


def _unpacked(data: bytes, source: str) -> Made:
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        raise Corrupt(f"{source} was cut short or changed")
    with np.load(io.BytesIO(data[32:]), allow_pickle=False) as arrays:
        if "why" in arrays:
            return Refused(arrays["why"].tobytes().decode())
        return tuple(_one(arrays, i, source) for i in range(len(arrays.files) // 5))


def _one(arrays: Any, i: int, source: str) -> Fitted:
    note = codec.decode(arrays[f"note{i}"].tobytes(), _Note, source=source)
    return Fitted(
        **{name: getattr(note, name) for name in note.__slots__},
        scores=arrays[f"scores{i}"],
        learned=arrays[f"learned{i}"].astype(np.int64),
        oof_rows=arrays[f"oof_rows{i}"].astype(np.int64),
        oof_scores=arrays[f"oof_scores{i}"],
    )


def best(made: Sequence[Fitted], windows: Sequence[str]) -> Fitted:
    """Return the model that one search over these windows would have chosen.

    Every window is scored on the same rows, so that its score does not depend on which other windows
    compete; and a newest part that one window is ranked by, all are.
    """
    named = [m for m in made if m.window in windows] or list(made)
    order = {window: i for i, window in enumerate(windows)}
    ranked = all(m.newest is not None for m in named)
    return min(named, key=lambda m: (-((m.newest or 0.0) if ranked else m.cv), m.place, order.get(m.window, 0)))


__all__ = [
    "Fitted",
    "Made",
    "Refused",
    "Shelf",
    "best",
    "columns_of",
    "deployed",
    "echo",
    "make",
    "profile_of",
    "reigning",
]

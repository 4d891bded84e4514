"""Lay out who learns from which rows: one matrix, folds over the trailing rows, windows, samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.artifact import encode
from rehone.config import Train
from rehone.errors import TrainingError
from rehone.records import Contract, Window
from rehone.train.holdout import aware, split
from rehone.train.spilled import SLICE, Spilled

Mask = NDArray[np.bool_]

NEWEST_SHARE = 0.2
"""About this share of the trailing rows, the newest of them, ranks the entrants."""

NEWEST_FEWEST = 20
"""Rows of each class without which the newest part ranks nobody."""

WEIGHT = "__weight__"
"""Column of a frame that says how many rows each one stands for; never a feature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The rows of a search, encoded once and shared by all fits, which only read them.

    `index` (k,) are the rows of the frame that some fit uses; `matrix` (k, features), `labels`,
    `times` and `fold_of` follow it. `fold_of` is -1 for a row that validates nobody. `members`
    says for each window which of the k rows it learns from. `newest` are the rows from the start of
    the newest part on, None where that part has too few of a class. `weights` is how many rows each
    stands for, where the frame said so. `folder` takes files of the fits; None is the system's own place.
    """

    contract: Contract
    seed: int
    folds: int
    half_life_days: float
    index: NDArray[np.int64] = field(repr=False)
    matrix: NDArray[np.float64] | Spilled = field(repr=False)
    labels: NDArray[np.int8] = field(repr=False)
    times: NDArray[np.datetime64] = field(repr=False)
    fold_of: NDArray[np.int8] = field(repr=False)
    members: dict[str, Mask] = field(repr=False)
    sampled: dict[str, str]
    notes: tuple[str, ...]
    newest: Mask | None = field(default=None, repr=False)
    weights: NDArray[np.float64] | None = field(default=None, repr=False)
    folder: Path | None = None

    @property
    def windows(self) -> tuple[str, ...]:
        return tuple(self.members)

    @property
    def trials(self) -> int:
        """How often each entrant is fitted and scored: once for each fold, and once for the newest part.

        The newest part has the number `folds`, after those of the folds.
        """
        return self.folds + (self.newest is not None)

    def count(self, window: str) -> int:
        """Return how many rows a window has."""
        return int(self.members[window].sum())

    def validation(self, fold: int | None = None) -> NDArray[np.int64]:
        """Return the rows of the matrix that validate in one fold, in any, or in the newest part."""
        if fold == self.folds and self.newest is not None:
            return np.flatnonzero((self.fold_of >= 0) & self.newest)
        return np.flatnonzero(self.fold_of >= 0 if fold is None else self.fold_of == fold)

    def rows_of(self, window: str, *, without: int | None = None) -> NDArray[np.int64]:
        """Return the rows of the matrix that a window learns from, but for those of one fold or of the newest part."""
        member = self.members[window]
        if without == self.folds and self.newest is not None:
            return np.flatnonzero(member & ~self.newest)
        return np.flatnonzero(member if without is None else member & (self.fold_of != without))

    def weights_of(self, window: str, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return how much each row weighs: what it stands for, and in "decay" half for each half-life of age."""
        own = None if self.weights is None else self.weights[rows]
        if window != "decay":
            return own
        age = (self.times.max() - self.times[rows]) / np.timedelta64(1, "D")
        weights: NDArray[np.float64] = 0.5 ** (age / self.half_life_days)
        return weights if own is None else weights * own


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the matrix of a plan is laid out: in memory, or in a file in `folder`."""

    on_disk: bool = False
    folder: Path | None = None

    def laid(self, frame: pl.DataFrame, contract: Contract) -> NDArray[np.float64] | Spilled:
        """Return the encoded matrix of a frame."""
        if not self.on_disk:
            return encode(frame, contract)
        parts = (encode(part, contract) for part in frame.iter_slices(SLICE))
        return Spilled(parts, len(contract.features), self.folder)


def make_plan(
    frame: pl.DataFrame,
    trailing_start: datetime,
    contract: Contract,
    policy: Train,
    seed: int,
    desk: Desk | None = None,
) -> Plan:
    """Draw samples and folds, choose the windows that differ, and encode the rows once.

    A window of more than `max_train_rows` rows is a simple random sample of them; samples are
    nested (each row has one random rank), so that every candidate validates on the same rows.

    Raises:
        TrainingError: a label is not 0 or 1, a weight is no weight, or there are fewer than two
            trailing rows of a class.
    """
    if WEIGHT in contract.names:
        raise TrainingError(f"{WEIGHT} says how many rows each row stands for: it cannot be a feature, exclude it")
    desk = desk or Desk()
    labels, times = _labels(frame, contract.label), frame.get_column("__time__")
    moments = times.dt.replace_time_zone(None).cast(pl.Datetime("us")).to_numpy()
    trailing = (times >= trailing_start).to_numpy()
    drawn = _Draw(policy.max_train_rows, np.random.default_rng(seed).permutation(frame.height))
    members: dict[str, Mask] = {
        name: drawn.sample(trailing if name == "trailing" else np.ones_like(trailing)) for name in policy.windows
    }
    validating = drawn.sample(trailing)
    windows, notes = _distinct(members, bool(trailing.all()))
    folds, fold_of, few = _folds(labels, validating, policy.folds, seed)
    newest = _newest(moments, labels, validating)
    used = np.flatnonzero(np.logical_or.reduce([*windows.values(), validating]))
    whole = len(used) == frame.height
    weights = weights_in(frame)
    sampled = {name: drawn.said(trailing if name == "trailing" else np.ones_like(trailing)) for name in windows}
    said = tuple(f'"{name}": {note}' for name, note in sampled.items() if note)
    return Plan(
        contract=contract,
        seed=seed,
        folds=folds,
        half_life_days=policy.half_life_days,
        index=used,
        matrix=desk.laid(frame if whole else frame[used], contract),
        labels=labels[used],
        times=moments[used],
        fold_of=fold_of[used],
        members={name: member[used] for name, member in windows.items()},
        sampled=sampled,
        notes=(*notes, *few, *said),
        newest=None if newest is None else newest[used],
        weights=None if weights is None else weights[used],
        folder=desk.folder,
    )


def weights_in(frame: pl.DataFrame) -> NDArray[np.float64] | None:
    """Return how many rows each row stands for, (n,), or None where every row stands for itself.

    Raises:
        TrainingError: a weight is null, not finite or not above zero.
    """
    if WEIGHT not in frame.columns:
        return None
    column = frame.get_column(WEIGHT).cast(pl.Float64)
    wrong = frame.height - int((column.is_finite() & (column > 0)).sum())
    if wrong:
        raise TrainingError(
            f"{wrong:,} of {frame.height:,} rows have a {WEIGHT} that is not a finite number above 0: whoever drew the "
            "sample gives each row the number of rows that it stands for"
        )
    return column.to_numpy()


def _labels(frame: pl.DataFrame, label: str) -> NDArray[np.int8]:
    column = frame.get_column(label).cast(pl.Float64, strict=False)
    wrong = frame.height - int(column.is_in([0.0, 1.0]).sum())
    if wrong:
        raise TrainingError(
            f"{wrong:,} of {frame.height:,} rows have a {label!r} that is neither 0 nor 1: correct or remove them"
        )
    return column.cast(pl.Int8).to_numpy()


@dataclass(frozen=True, slots=True)
class _Draw:
    most: int | None
    rank: NDArray[np.int64]

    def sample(self, rows: Mask) -> Mask:
        """Keep the rows of lowest random rank when there are more than allowed."""
        if self.most is None or int(rows.sum()) <= self.most:
            return rows
        limit = np.partition(self.rank[rows], self.most - 1)[self.most - 1]
        kept: Mask = rows & (self.rank <= limit)
        return kept

    def said(self, rows: Mask) -> str:
        n = int(rows.sum())
        if self.most is None or n <= self.most:
            return ""
        return f"a random sample of {self.most:,} of {n:,} rows (train.max_train_rows)"


def _distinct(members: dict[str, Mask], no_history: bool) -> tuple[dict[str, Mask], tuple[str, ...]]:
    """Leave out a window that selects the same rows, with the same weights, as one listed earlier."""
    names = list(dict.fromkeys(members))
    if not (no_history and {"trailing", "all"} <= set(names)):
        return members, ()
    first, second = sorted(("trailing", "all"), key=names.index)
    note = f'"{second}" selects the same {int(members[first].sum()):,} rows as "{first}": run once'
    return {name: member for name, member in members.items() if name != second}, (note,)


def _folds(
    labels: NDArray[np.int8], validating: Mask, wanted: int, seed: int
) -> tuple[int, NDArray[np.int8], tuple[str, ...]]:
    from sklearn.model_selection import StratifiedKFold

    rows = np.flatnonzero(validating)
    positives = int(labels[rows].sum())
    fewest = min(positives, len(rows) - positives)
    if fewest < 2:
        raise TrainingError(
            f"{positives:,} positives among {len(rows):,} rows to learn from in the trailing window, cross-validation "
            "needs at least 2 of each class: widen data.lookback_days, or wait for more labels"
        )
    folds = min(wanted, fewest)
    note = f"{folds} folds instead of {wanted}: the rarer class has {fewest} rows in the trailing window"
    fold_of = np.full(len(labels), -1, dtype=np.int8)
    drawn = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels[rows])
    for fold, (_, held) in enumerate(drawn):
        fold_of[rows[held]] = fold
    return folds, fold_of, (note,) if folds < wanted else ()


def _newest(moments: NDArray[np.datetime64], labels: NDArray[np.int8], validating: Mask) -> Mask | None:
    """Return the rows (n,) from the start of the newest part on; None when a class has too few rows on either side.

    The boundary is found as that of the holdout: a midnight when the rows span ten days or more. The
    older side is that of the trailing window; every other window has at least as many rows there.
    """
    rows = np.flatnonzero(validating)
    order = rows[np.argsort(moments[rows], kind="stable")]
    first, last = moments[order[0]], moments[order[-1]]
    if first == last:
        return None
    span = Window(aware(first), aware(last))
    start = split(moments[order], labels[order], window=span, holdout=NEWEST_SHARE).holdout.start
    newest: Mask = moments >= np.datetime64(start.replace(tzinfo=None), "us")
    parts = (validating & newest, validating & ~newest)
    enough = all(np.bincount(labels[part], minlength=2).min() >= NEWEST_FEWEST for part in parts)
    return newest if enough else None

"""Cross-validate estimators times training windows on the same rows, and fit the best of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.artifact import Predictor
from rehone.config import Candidate, Train
from rehone.errors import RehoneError, TrainingError
from rehone.records import CandidateResult, Contract, Window
from rehone.train import backends
from rehone.train.clusters import Clusters
from rehone.train.estimators import full_params
from rehone.train.fits import Entrant, Fold, fitted, one_blas_thread
from rehone.train.plan import Desk, Plan, make_plan
from rehone.train.threshold import choose_threshold


@dataclass(frozen=True, slots=True)
class Progress:
    """How many fits of how many are done, and which came last."""

    done: int
    total: int
    what: str


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """All rows older than the holdout: history, and the trailing window from `trailing_start` on.

    `frame` has `__time__`, the contract's features and the label, without null labels, and may have
    `__weight__`: how many rows each one stands for, where the frame is a sample drawn elsewhere.
    `folder` takes what fits keep on disk; None is the system's folder of temporary files.
    """

    frame: pl.DataFrame = field(repr=False)
    trailing_start: datetime
    contract: Contract
    folder: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """All candidates with their scores, and the winner fitted on its whole training window.

    `oof_index` (m,) are the rows of the frame in the trailing window, `oof_scores` (m,) what the
    winner said of each when it had not learned from it, `oof_labels` (m,) their labels. `train_end`
    is the time of the newest row learned from. `notes` say what was done otherwise than asked.
    """

    candidates: tuple[CandidateResult, ...]
    winner: CandidateResult
    predictor: Predictor
    oof_scores: NDArray[np.float64] = field(repr=False)
    oof_labels: NDArray[np.int8] = field(repr=False)
    oof_index: NDArray[np.int64] = field(repr=False)
    train_window: Window
    train_end: datetime
    train_rows: int
    train_positives: int
    notes: tuple[str, ...] = ()


def search(
    rows: TrainingRows,
    policy: Train,
    *,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
    brief: bool = False,
) -> Search:
    """Return the best candidate by ROC-AUC on the newest part of the trailing rows, fitted, with its threshold.

    For that comparison a candidate learns from everything in its window that is older than the newest
    part: rows of the same days in training and validation would flatter whichever remembers them.
    Where the newest part has too few rows of a class, the mean of the folds decides. Folds are drawn
    over the trailing rows and every candidate is scored on the very same ones; a candidate that
    learns from all history adds the older rows to each fold's training set. Of equal candidates
    the one listed first wins. With `brief` only the winner is cross-validated, where the newest part
    decides: the winner, its model and its threshold are the same. The result depends on rows, policy and seed,
    not on where fits are made (`policy.backend`), how many at a time, or which ends first; that of a
    candidate spread over a cluster also on how many workers there are, in late digits.
    `progress` is called by one thread.

    Raises:
        TrainingError: there are too few rows of a class, no candidate could be fitted, or a cluster
            cannot be reached or loses its workers.
    """
    desk = Desk(on_disk=backends.on_disk(policy), folder=rows.folder)
    plan = make_plan(rows.frame, rows.trailing_start, rows.contract, policy, seed, desk)
    entrants = [Entrant(candidate, window) for candidate in policy.candidates for window in plan.windows]
    with one_blas_thread(), Clusters(policy) as clusters:
        brief = brief and plan.newest is not None
        fits = len(entrants) + plan.folds if brief else len(entrants) * plan.trials
        told = _Teller(fits + 1, progress)
        crew = _Crew(plan, policy, clusters, told)
        if brief:
            entrants, trials, said = crew.briefly(entrants)
        else:
            trials, said = crew.trials(entrants, range(plan.trials))
        results = [_result(entrant, plan, folds) for entrant, folds in zip(entrants, trials, strict=True)]
        best = _best(results)
        pipeline = fitted(plan, entrants[best], plan.rows_of(entrants[best].window), clusters)
    plan = replace(plan, notes=(*plan.notes, *said))
    results[best] = replace(results[best], winner=True)
    told.one(f"{entrants[best].title}: fitted on {results[best].rows:,} rows")
    scores = _out_of_fold(plan, trials[best])
    held = plan.validation()
    weights = None if plan.weights is None else plan.weights[held]
    threshold = choose_threshold(scores, plan.labels[held], policy, weights)
    predictor = Predictor(contract=rows.contract, pipeline=pipeline, threshold=threshold)
    return _found(plan, predictor, results, _trailing_scores(rows, plan, predictor, scores))


# --- what came of it --------------------------------------------------------------------------


class _Teller:
    """Count finished fits; only the thread that gathers the results calls it."""

    def __init__(self, total: int, listen: Callable[[Progress], None] | None) -> None:
        self._done, self._total, self._listen = 0, total, listen

    def one(self, what: str) -> None:
        self._done += 1
        if self._listen:
            self._listen(Progress(self._done, self._total, what))


@dataclass(frozen=True, slots=True)
class _Crew:
    """Whoever makes the fits of a plan."""

    plan: Plan
    policy: Train
    clusters: Clusters
    told: _Teller

    def trials(self, entrants: Sequence[Entrant], parts: Sequence[int]) -> tuple[list[list[Fold]], tuple[str, ...]]:
        """Fit every entrant on every part; the order of results is that of the list, not that of ending."""
        folds, each = self.plan.folds, len(parts)
        jobs = [(entrant, part) for entrant in entrants for part in parts]

        def ended(number: int) -> None:
            entrant, part = jobs[number]
            self.told.one(f"{entrant.title}: " + (f"fold {part + 1} of {folds}" if part < folds else "newest rows"))

        done, said = backends.run(jobs, self.plan, self.policy, self.clusters, ended)
        return [done[i * each : (i + 1) * each] for i in range(len(entrants))], said

    def briefly(self, entrants: Sequence[Entrant]) -> tuple[list[Entrant], list[list[Fold]], tuple[str, ...]]:
        """Fit every entrant on the newest part, and only the best of them on the folds."""
        newest, said = self.trials(entrants, [self.plan.folds])
        best = _best([_result(entrant, self.plan, one) for entrant, one in zip(entrants, newest, strict=True)])
        (folds,), more = self.trials([entrants[best]], range(self.plan.folds))
        return [entrants[best]], [[*folds, *newest[best]]], (*said, *more)


def _result(entrant: Entrant, plan: Plan, folds: Sequence[Fold]) -> CandidateResult:
    newest = folds[-1].roc_auc if plan.newest is not None else None
    shuffled = folds if plan.newest is None else folds[:-1]
    scored = tuple(fold.roc_auc for fold in shuffled if fold.roc_auc is not None)
    error = next((fold.error for fold in folds if fold.error), None)
    whole = error is None and bool(scored)
    return CandidateResult(
        name=entrant.candidate.title,
        estimator=entrant.candidate.estimator,
        params=_plain_params(entrant.candidate, plan.seed),
        window=entrant.window,
        rows=plan.count(entrant.window),
        cv_roc_auc_mean=float(np.mean(scored)) if whole else None,
        cv_roc_auc_std=float(np.std(scored)) if whole else None,
        fold_roc_auc=scored if whole else (),
        newest_roc_auc=newest if error is None else None,
        fit_seconds=sum(fold.seconds for fold in folds),
        error=error,
        note=plan.sampled[entrant.window],
    )


def _plain_params(candidate: Candidate, seed: int) -> dict[str, Any]:
    try:
        return full_params(candidate, seed)
    except (RehoneError, TypeError, ValueError):  # a class that cannot be imported has its error in the result
        return dict(candidate.params)


def _best(results: Sequence[CandidateResult]) -> int:
    """Return the number of the best: by the newest part where it was scored, else by the mean of the folds."""
    figures = [r.newest_roc_auc if r.newest_roc_auc is not None else r.cv_roc_auc_mean for r in results]
    if all(figure is None for figure in figures):
        said = dict.fromkeys(f"  {r.name} ({r.window}): {r.error}" for r in results)
        raise TrainingError("\n".join([f"none of {len(results)} candidates could be fitted", *said]))
    return int(np.argmax([-1.0 if figure is None else figure for figure in figures]))


@dataclass(frozen=True, slots=True)
class _Trailing:
    index: NDArray[np.int64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int8]


def _out_of_fold(plan: Plan, folds: Sequence[Fold]) -> NDArray[np.float64]:
    scores = np.full(len(plan.index), np.nan)
    for number, fold in enumerate(folds[: plan.folds]):
        scores[plan.validation(number)] = fold.scores
    return scores[plan.validation()]


def _trailing_scores(rows: TrainingRows, plan: Plan, predictor: Predictor, scores: NDArray[np.float64]) -> _Trailing:
    """Give every trailing row a score of a model that had not seen it.

    Rows outside the sample took part in no fit, so that the final model may score them.
    """
    frame = rows.frame
    index = np.flatnonzero((frame.get_column("__time__") >= rows.trailing_start).to_numpy())
    labels = frame.get_column(rows.contract.label).cast(pl.Int8).to_numpy()[index]
    sampled = np.isin(index, plan.index[plan.validation()])
    every = np.empty(len(index))
    every[sampled] = scores
    if not sampled.all():
        every[~sampled] = predictor.predict_proba(frame[index[~sampled]])
    return _Trailing(index, every, labels)


def _found(plan: Plan, predictor: Predictor, results: Sequence[CandidateResult], trailing: _Trailing) -> Search:
    winner = next(result for result in results if result.winner)
    learned = plan.rows_of(winner.window)
    oldest, newest = (_moment(edge) for edge in (plan.times[learned].min(), plan.times[learned].max()))
    return Search(
        candidates=tuple(results),
        winner=winner,
        predictor=predictor,
        oof_scores=trailing.scores,
        oof_labels=trailing.labels,
        oof_index=trailing.index,
        train_window=Window(oldest, newest + timedelta(microseconds=1)),
        train_end=newest,
        train_rows=winner.rows,
        train_positives=int(plan.labels[learned].sum()),
        notes=plan.notes,
    )


def _moment(time: np.datetime64) -> datetime:
    naive: datetime = time.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)

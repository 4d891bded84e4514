"""Cross-validate estimators times training windows on the same rows, and fit the best of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.artifact import Predictor, one_thread
from rehone.config import Candidate, Train
from rehone.errors import RehoneError, TrainingError
from rehone.records import CandidateResult, Contract, Window
from rehone.train.cores import cpu_limit
from rehone.train.estimators import full_params, pipeline_of, takes_weights
from rehone.train.plan import Plan, make_plan
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

    `frame` has `__time__`, the contract's features and the label, without null labels.
    """

    frame: pl.DataFrame = field(repr=False)
    trailing_start: datetime
    contract: Contract


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
    rows: TrainingRows, policy: Train, *, seed: int, progress: Callable[[Progress], None] | None = None
) -> Search:
    """Return the best candidate by cross-validated ROC-AUC, fitted, with its threshold.

    Folds are drawn over the trailing rows and every candidate is scored on the very same ones;
    a candidate that learns from all history adds the older rows to each fold's training set.
    Of equal candidates the one listed first wins. The result depends on rows, policy and seed,
    not on how many fits run at a time or which ends first. `progress` is called by one thread.

    Raises:
        TrainingError: there are too few rows of a class, or no candidate could be fitted.
    """
    plan = make_plan(rows.frame, rows.trailing_start, rows.contract, policy, seed)
    entrants = [_Entrant(candidate, window) for candidate in policy.candidates for window in plan.windows]
    told = _Teller(len(entrants) * plan.folds + 1, progress)
    with _one_blas_thread():
        trials = _trials(entrants, plan, policy, told)
        results = [_result(entrant, plan, folds) for entrant, folds in zip(entrants, trials, strict=True)]
        best = _best(results)
        pipeline = _fitted(entrants[best], plan, plan.rows_of(entrants[best].window))
    results[best] = replace(results[best], winner=True)
    told.one(f"{_title(entrants[best])}: fitted on {results[best].rows:,} rows")
    scores = _out_of_fold(plan, trials[best])
    threshold = choose_threshold(scores, plan.labels[plan.validation()], policy)
    predictor = Predictor(contract=rows.contract, pipeline=pipeline, threshold=threshold)
    return _found(plan, predictor, results, _trailing_scores(rows, plan, predictor, scores))


# --- one fit ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entrant:
    candidate: Candidate
    window: str


@dataclass(frozen=True, slots=True)
class _Fold:
    """Scores of one fold's validation rows, or why there are none."""

    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    roc_auc: float | None = None
    seconds: float = 0.0
    error: str | None = None


def _trials(entrants: Sequence[_Entrant], plan: Plan, policy: Train, told: _Teller) -> list[list[_Fold]]:
    """Fit every entrant on every fold in parallel threads; the order of results is that of the list."""
    jobs = [(entrant, fold) for entrant in entrants for fold in range(plan.folds)]
    pool = ThreadPoolExecutor(policy.parallel or cpu_limit(), thread_name_prefix="fit")
    try:
        futures: dict[Future[_Fold], int] = {
            pool.submit(_trial, entrant, plan, fold): number for number, (entrant, fold) in enumerate(jobs)
        }
        for future in as_completed(futures):
            entrant, fold = jobs[futures[future]]
            told.one(f"{_title(entrant)}: fold {fold + 1} of {plan.folds}")
        done = {number: future.result() for future, number in futures.items()}
    finally:  # Ctrl-C must not wait for fits that have not begun
        pool.shutdown(wait=True, cancel_futures=True)
    return [[done[i * plan.folds + fold] for fold in range(plan.folds)] for i in range(len(entrants))]


def _trial(entrant: _Entrant, plan: Plan, fold: int) -> _Fold:
    from sklearn.metrics import roc_auc_score

    begun = time.perf_counter()
    try:
        held = plan.validation(fold)
        pipeline = _fitted(entrant, plan, plan.rows_of(entrant.window, without=fold))
        with one_thread():
            scores = np.asarray(pipeline.predict_proba(plan.matrix[held])[:, 1], dtype=np.float64)
    except Exception as error:  # noqa: BLE001  one candidate's failure, of whatever kind, is recorded and the others go on
        return _Fold(error=_said(error), seconds=time.perf_counter() - begun)
    seconds = time.perf_counter() - begun
    if not np.isfinite(scores).all():
        return _Fold(error="gave scores that are not finite: standardise its input or choose another", seconds=seconds)
    return _Fold(scores, float(roc_auc_score(plan.labels[held], scores)), seconds)


def _fitted(entrant: _Entrant, plan: Plan, rows: NDArray[np.int64]) -> Any:
    matrix = plan.matrix[rows]
    empty = set(np.flatnonzero(np.isnan(matrix).all(axis=0)).tolist())
    pipeline = pipeline_of(entrant.candidate, plan.contract, plan.seed, empty=empty)
    weights = plan.weights_of(entrant.window, rows)
    if weights is not None and not takes_weights(pipeline):
        raise TrainingError(
            f'{entrant.candidate.estimator} cannot weigh rows, which the window "decay" needs: remove "decay" from '
            "train.windows or this candidate from train.candidates"
        )
    extra = {} if weights is None else {"model__sample_weight": weights}
    with one_thread():
        pipeline.fit(matrix, plan.labels[rows], **extra)
    return pipeline


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:600]
    return text if isinstance(error, TrainingError) else f"{type(error).__name__}: {text}"


def _one_blas_thread() -> Any:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    return threadpool_limits(limits=1, user_api="blas")


# --- what came of it --------------------------------------------------------------------------


class _Teller:
    """Count finished fits; only the thread that gathers the results calls it."""

    def __init__(self, total: int, listen: Callable[[Progress], None] | None) -> None:
        self._done, self._total, self._listen = 0, total, listen

    def one(self, what: str) -> None:
        self._done += 1
        if self._listen:
            self._listen(Progress(self._done, self._total, what))


def _title(entrant: _Entrant) -> str:
    return f"{entrant.candidate.title} ({entrant.window})"


def _result(entrant: _Entrant, plan: Plan, folds: Sequence[_Fold]) -> CandidateResult:
    scored = tuple(fold.roc_auc for fold in folds if fold.roc_auc is not None)
    error = next((fold.error for fold in folds if fold.error), None)
    whole = error is None
    return CandidateResult(
        name=entrant.candidate.title,
        estimator=entrant.candidate.estimator,
        params=_plain_params(entrant.candidate, plan.seed),
        window=entrant.window,
        rows=plan.count(entrant.window),
        cv_roc_auc_mean=float(np.mean(scored)) if whole else None,
        cv_roc_auc_std=float(np.std(scored)) if whole else None,
        fold_roc_auc=scored if whole else (),
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
    means = [-1.0 if r.cv_roc_auc_mean is None else r.cv_roc_auc_mean for r in results]
    best = int(np.argmax(means))
    if results[best].cv_roc_auc_mean is None:
        said = dict.fromkeys(f"  {r.name} ({r.window}): {r.error}" for r in results)
        raise TrainingError("\n".join([f"none of {len(results)} candidates could be fitted", *said]))
    return best


@dataclass(frozen=True, slots=True)
class _Trailing:
    index: NDArray[np.int64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int8]


def _out_of_fold(plan: Plan, folds: Sequence[_Fold]) -> NDArray[np.float64]:
    scores = np.full(len(plan.index), np.nan)
    for number, fold in enumerate(folds):
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

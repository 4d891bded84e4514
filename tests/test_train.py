"""How challengers are made: the split, the folds, the windows, the winner and its threshold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import roc_auc_score

from rehone import artifact, train
from rehone.config import BUILT_IN, Candidate, Train
from rehone.errors import TrainingError
from rehone.records import CandidateResult, Window
from rehone.train.plan import make_plan
from rehone.train.spilled import Spilled

BIKES = Path(__file__).parent.parent / "examples/bike_high_demand/bike_high_demand.parquet"
START = datetime(2026, 1, 1, tzinfo=UTC)
IN_CORE = tuple(name for name in BUILT_IN if not name.startswith("xgboost"))  # tests/integrations has the others
SPRING = Window(datetime(2012, 3, 1, tzinfo=UTC), datetime(2012, 6, 1, tzinfo=UTC))


def at(*hours: float) -> np.ndarray:
    return np.array([np.datetime64("2026-01-01T00:00", "us") + np.timedelta64(int(h * 3600), "s") for h in hours])


def bikes(window: Window = SPRING) -> pl.DataFrame:
    moment = pl.col("event_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.read_parquet(BIKES).with_columns(__time__=moment).filter(pl.col("__time__") < window.end)


def training(frame: pl.DataFrame, start: datetime) -> train.TrainingRows:
    names = [name for name in frame.columns if name not in ("label", "event_date", "__time__")]
    return train.TrainingRows(frame, start, artifact.learn_contract(frame, names, label="label"))


@pytest.fixture(scope="module")
def spring() -> train.TrainingRows:
    """Real rows: three months of trailing window behind three months of history."""
    rows = bikes().filter(pl.col("__time__") >= datetime(2011, 12, 1, tzinfo=UTC))
    return training(rows, SPRING.start)


def made(n: int = 200, positives: int = 60, **columns: Any) -> train.TrainingRows:
    """Make rows an hour apart, of which the first are positive, with one useful feature."""
    labels = np.arange(n) < positives
    draw = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "__time__": [START + timedelta(hours=i) for i in range(n)],
            **(columns or {"x": labels + draw.normal(size=n)}),
            "label": labels.astype(np.int8),
        }
    )
    return training(frame, START)


def quick(**keys: Any) -> Train:
    fast = Candidate(estimator="hist_gradient_boosting", params={"max_iter": 10, "min_samples_leaf": 5})
    return Train(**{"candidates": (fast,), "windows": ("trailing",), "folds": 3} | keys)


# --- the holdout ----------------------------------------------------------------------------------


def test_the_newest_share_is_held_out_and_no_time_is_on_both_sides() -> None:
    times = at(0, 1, 1, 1, 2, 3, 3, 4)
    found = train.split(
        times, np.array([0, 1, 0, 1, 0, 1, 0, 1]), window=Window(START, START + timedelta(days=1)), holdout=0.4
    )
    assert found.holdout.start == START + timedelta(hours=3)
    assert (found.train_rows, found.train_positives, found.holdout_rows, found.holdout_positives) == (5, 2, 3, 2)
    assert found.train == Window(START, found.holdout.start)
    assert found.holdout.end == START + timedelta(days=1)


def test_from_ten_days_on_the_holdout_starts_at_a_midnight() -> None:
    for span, midnight in ((10 * 24, True), (10 * 24 - 1, False)):
        times = at(*range(span + 1))
        window = Window(START, START + timedelta(days=11))
        start = train.split(times, np.zeros(span + 1), window=window, holdout=0.27).holdout.start
        assert (start == start.replace(hour=0)) is midnight


def test_of_two_equally_near_boundaries_the_earlier_is_taken() -> None:
    window = Window(START, START + timedelta(days=1))
    found = train.split(at(0, 1, 1, 2), np.zeros(4), window=window, holdout=0.5)
    assert found.holdout.start == START + timedelta(hours=1)


@pytest.mark.parametrize("hours", [(), (5,), (5, 5, 5)])
def test_rows_of_one_time_cannot_be_divided(hours: tuple[float, ...]) -> None:
    with pytest.raises(TrainingError, match=rf"^{len(hours)} matured rows in 2026-01-01.*, all of one time.*: widen"):
        train.split(at(*hours), np.zeros(len(hours)), window=Window(START, START + timedelta(days=1)), holdout=0.2)


# --- the threshold --------------------------------------------------------------------------------


def test_the_threshold_of_least_cost_lies_between_the_last_score_acted_on_and_the_next() -> None:
    scores, labels = np.array([0.9, 0.8, 0.6, 0.4, 0.2]), np.array([1, 0, 1, 0, 0])
    policy = Train(cost_false_positive=1, cost_false_negative=10)
    assert train.choose_threshold(scores, labels, policy) == pytest.approx(0.5)
    dear = Train(cost_false_positive=10, cost_false_negative=1)
    assert train.choose_threshold(scores, labels, dear) == pytest.approx(0.85)


def test_the_threshold_of_least_cost_is_least_among_all_there_are() -> None:
    draw = np.random.default_rng(0)
    labels = draw.random(400) < 0.2
    scores = np.round(1 / (1 + np.exp(-(labels + draw.normal(size=400)))), 2)
    policy = Train(cost_false_positive=1, cost_false_negative=4)

    def cost(threshold: float) -> float:
        return float((~labels & (scores >= threshold)).sum() + 4 * (labels & (scores < threshold)).sum())

    best = train.choose_threshold(scores, labels.astype(int), policy)
    every = [cost(t) for t in np.linspace(0, 1, 1001)]
    assert cost(best) == min(every)


def test_of_equally_cheap_thresholds_the_highest_is_taken() -> None:
    scores, labels = np.array([0.9, 0.7, 0.5, 0.3]), np.array([1, 0, 1, 0])
    equal = Train(cost_false_positive=1, cost_false_negative=1)
    assert train.choose_threshold(scores, labels, equal) == pytest.approx(0.8)


def test_acting_on_nobody_is_chosen_when_nothing_is_cheaper() -> None:
    scores, labels = np.array([0.9, 0.7, 0.5]), np.array([0, 0, 1])
    dear = Train(cost_false_positive=9, cost_false_negative=1)
    assert train.choose_threshold(scores, labels, dear) > 0.9


def test_acting_on_everybody_has_a_threshold_that_everybody_reaches() -> None:
    scores, labels = np.array([0.9, 0.7, 0.5]), np.array([0, 0, 1])
    assert train.choose_threshold(scores, labels, Train(cost_false_positive=0, cost_false_negative=1)) <= 0.5


@pytest.mark.parametrize(("floor", "threshold"), [(0.5, 0.75), (0.51, 0.3), (1.0, 0.3), (0.0, 0.85)])
def test_the_recall_threshold_is_the_highest_that_reaches_the_floor(floor: float, threshold: float) -> None:
    scores, labels = np.array([0.9, 0.8, 0.7, 0.4, 0.2]), np.array([0, 1, 0, 1, 0])
    policy = Train(threshold="recall", recall_floor=floor)
    assert train.choose_threshold(scores, labels, policy) == pytest.approx(threshold)


# --- the plan: windows, folds, samples ---------------------------------------------------------------


def plan_of(rows: train.TrainingRows, policy: Train) -> Any:
    return make_plan(rows.frame, rows.trailing_start, rows.contract, policy, 7)


def test_every_window_is_validated_on_the_very_same_trailing_rows(spring: train.TrainingRows) -> None:
    plan = plan_of(spring, Train(windows=("trailing", "all", "decay")))
    trailing = np.flatnonzero((spring.frame["__time__"] >= SPRING.start).to_numpy())
    np.testing.assert_array_equal(plan.index[plan.validation()], trailing)
    for fold in range(5):
        held = plan.validation(fold)
        for window in plan.windows:
            assert not np.isin(held, plan.rows_of(window, without=fold)).any()
        older = np.setdiff1d(plan.rows_of("all", without=fold), plan.rows_of("trailing", without=fold))
        assert len(older) == spring.frame.height - len(trailing)


def test_folds_are_stratified(spring: train.TrainingRows) -> None:
    plan = plan_of(spring, Train())
    rates = [plan.labels[plan.validation(fold)].mean() for fold in range(plan.folds)]
    assert max(rates) - min(rates) < 0.005


def test_the_newest_part_is_validated_by_what_is_older_and_starts_at_a_midnight(spring: train.TrainingRows) -> None:
    plan = plan_of(spring, quick(windows=("trailing", "all"), folds=3))
    assert plan.trials == 4
    held = plan.validation(3)
    start = plan.times[held].min()
    assert start == start.astype("datetime64[D]")
    assert len(held) == (plan.times >= start).sum()
    assert len(held) / len(plan.validation()) == pytest.approx(0.2, abs=0.01)
    for window in plan.windows:
        older = plan.rows_of(window, without=3)
        assert plan.times[older].max() < start
        assert len(older) + len(held) == plan.count(window)


@pytest.mark.parametrize(("first", "more"), [(19, 30), (30, 19)])
def test_too_few_of_a_class_on_either_side_of_the_newest_part_leave_the_choice_to_the_folds(
    first: int, more: int
) -> None:
    rows = made(400)
    labels = np.zeros(400, dtype=np.int8)
    labels[:first], labels[400 - more :] = 1, 1
    plan = plan_of(replace(rows, frame=rows.frame.with_columns(label=labels)), quick(folds=3))
    assert plan.newest is None
    assert plan.trials == plan.folds == 3
    found = train.search(replace(rows, frame=rows.frame.with_columns(label=labels)), quick(folds=3), seed=7)
    assert found.winner.newest_roc_auc is None
    assert found.winner.cv_roc_auc_mean is not None


def test_windows_that_select_the_same_rows_are_run_once_and_it_is_said() -> None:
    plan = plan_of(made(), quick(windows=("trailing", "all", "decay")))
    assert plan.windows == ("trailing", "decay")
    assert plan.notes == ('"all" selects the same 200 rows as "trailing": run once',)


def test_a_recency_weight_halves_with_each_half_life() -> None:
    plan = plan_of(made(), quick(windows=("decay",), half_life_days=2))
    weights = plan.weights_of("decay", plan.rows_of("decay"))
    assert weights is not None
    np.testing.assert_allclose(weights[[-1, -49, -97]], [1, 0.5, 0.25])
    assert plan.weights_of("trailing", plan.rows_of("decay")) is None


def test_a_sample_is_drawn_without_looking_and_the_same_each_time(spring: train.TrainingRows) -> None:
    policy = Train(windows=("trailing", "all"), max_train_rows=1500)
    plan, again = plan_of(spring, policy), plan_of(spring, policy)
    np.testing.assert_array_equal(plan.index, again.index)
    assert (plan.count("trailing"), plan.count("all")) == (1500, 1500)
    n, trailing = spring.frame.height, (spring.frame["__time__"] >= SPRING.start).sum()
    assert plan.notes[0] == f'"trailing": a random sample of 1,500 of {trailing:,} rows (train.max_train_rows)'
    assert plan.notes[1] == f'"all": a random sample of 1,500 of {n:,} rows (train.max_train_rows)'
    in_all = plan.rows_of("all")
    assert np.isin(in_all[plan.times[in_all] >= np.datetime64("2012-03-01")], plan.validation()).all()
    share = (plan.times[in_all] >= np.datetime64("2012-03-01")).mean()
    assert abs(share - trailing / n) < 4 * np.sqrt(0.25 / 1500)


def test_fewer_rows_of_a_class_than_folds_mean_fewer_folds_and_it_is_said() -> None:
    plan = plan_of(made(200, 3), quick(folds=5))
    assert plan.folds == 3
    assert plan.notes == ("3 folds instead of 5: the rarer class has 3 rows in the trailing window",)


@pytest.mark.parametrize("positives", [0, 1, 199, 200])
def test_fewer_than_two_rows_of_a_class_cannot_be_learned_from(positives: int) -> None:
    with pytest.raises(
        TrainingError, match=rf"^{positives} positives among 200 rows .* at least 2 of each class: widen"
    ):
        train.search(made(200, positives), quick(), seed=7)


def test_labels_other_than_0_and_1_are_counted_and_refused() -> None:
    rows = made()
    odd = rows.frame.with_columns(label=pl.Series([None, 2, *[0, 1] * 99]))
    with pytest.raises(TrainingError, match=r"^2 of 200 rows have a 'label' that is neither 0 nor 1"):
        train.search(replace(rows, frame=odd), quick(), seed=7)


# --- the search -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(spring: train.TrainingRows) -> train.Search:
    """What the default candidates give on real rows."""
    return train.search(spring, Train(windows=("trailing", "all", "decay")), seed=7)


def test_all_candidates_are_recorded_and_the_best_on_the_newest_rows_wins(
    found: train.Search, spring: train.TrainingRows
) -> None:
    assert [(c.name, c.window) for c in found.candidates] == [
        (name, window) for name in ("hist_gradient_boosting", "lightgbm") for window in ("trailing", "all", "decay")
    ]
    assert found.winner == max(found.candidates, key=lambda c: c.newest_roc_auc or 0)
    assert [c.winner for c in found.candidates].count(True) == 1
    for candidate in found.candidates:
        assert len(candidate.fold_roc_auc) == 5
        assert candidate.cv_roc_auc_mean == pytest.approx(np.mean(candidate.fold_roc_auc))
        assert candidate.cv_roc_auc_std == pytest.approx(np.std(candidate.fold_roc_auc))
        assert candidate.params["random_state"] == 7
    assert found.winner.cv_roc_auc_mean is not None
    assert found.winner.cv_roc_auc_mean > 0.97


def test_only_the_winner_need_be_cross_validated_to_know_it(spring: train.TrainingRows) -> None:
    policy = Train(folds=2, candidates=(Candidate(estimator="lightgbm"), Candidate(estimator="logistic_regression")))
    told: list[train.Progress] = []
    whole = train.search(spring, policy, seed=7)
    brief = train.search(spring, policy, seed=7, brief=True, progress=told.append)
    assert [without_time(c) for c in brief.candidates] == [without_time(whole.winner)]
    assert brief.predictor.threshold == whole.predictor.threshold
    np.testing.assert_array_equal(brief.oof_scores, whole.oof_scores)
    assert len(told) == 4 + 2 + 1
    assert told[-1].done == told[-1].total


def test_what_holds_on_the_newest_rows_wins_though_shuffled_folds_prefer_another_window() -> None:
    """History and the newest days follow one rule, and most of the trailing window its opposite, as a season does."""
    draw = np.random.default_rng(3)
    n, day = 4800, np.arange(4800) // 24
    x, other = draw.normal(size=n), (day >= 150) & (day < 190)
    label = draw.random(n) < 1 / (1 + np.exp(np.where(other, 2, -2) * x))
    times = [START + timedelta(hours=i) for i in range(n)]
    frame = pl.DataFrame({"__time__": times, "x": x, "label": label.astype(np.int8)})
    found = train.search(training(frame, START + timedelta(days=150)), quick(windows=("trailing", "all")), seed=7)
    trailing, everything = found.candidates
    assert (trailing.cv_roc_auc_mean or 0) > (everything.cv_roc_auc_mean or 0) + 0.1
    assert (everything.newest_roc_auc or 0) > (trailing.newest_roc_auc or 0) + 0.1
    assert found.winner.window == "all"


def test_out_of_fold_scores_cover_the_trailing_rows_in_order(found: train.Search, spring: train.TrainingRows) -> None:
    trailing = (spring.frame["__time__"] >= SPRING.start).to_numpy()
    np.testing.assert_array_equal(found.oof_index, np.flatnonzero(trailing))
    np.testing.assert_array_equal(found.oof_labels, spring.frame["label"].to_numpy()[trailing])
    auc = roc_auc_score(found.oof_labels, found.oof_scores)
    assert auc == pytest.approx(found.winner.cv_roc_auc_mean, abs=0.01)
    in_sample = found.predictor.predict_proba(spring.frame.filter(trailing))
    assert roc_auc_score(found.oof_labels, in_sample) > auc
    assert found.predictor.threshold == train.choose_threshold(found.oof_scores, found.oof_labels, Train())


def test_the_training_window_is_that_of_the_rows_learned_from(found: train.Search, spring: train.TrainingRows) -> None:
    newest = spring.frame["__time__"].max()
    assert found.train_end == newest
    assert newest in found.train_window
    rows = spring.frame
    if found.winner.window == "trailing":
        rows = rows.filter(pl.col("__time__") >= SPRING.start)
    assert (found.train_rows, found.train_positives) == (rows.height, rows["label"].sum())
    assert found.train_window.start == rows["__time__"].min()


def test_the_same_seed_gives_the_same_model_however_many_fits_run_at_a_time(spring: train.TrainingRows) -> None:
    policy = Train(folds=3, windows=("trailing",))
    one, four = (train.search(spring, policy.model_copy(update={"parallel": n}), seed=7) for n in (1, 4))
    assert [without_time(c) for c in one.candidates] == [without_time(c) for c in four.candidates]
    np.testing.assert_array_equal(one.oof_scores, four.oof_scores)
    np.testing.assert_array_equal(one.predictor.predict_proba(spring.frame), four.predictor.predict_proba(spring.frame))
    assert one.predictor.threshold == four.predictor.threshold


def without_time(candidate: CandidateResult) -> CandidateResult:
    return replace(candidate, fit_seconds=None)


def test_another_seed_gives_other_folds(spring: train.TrainingRows) -> None:
    policy = quick()
    first, second = (train.search(spring, policy, seed=seed).winner.fold_roc_auc for seed in (7, 8))
    assert first != second


def test_of_equal_candidates_the_first_listed_wins() -> None:
    twins = tuple(Candidate(name=name, estimator="logistic_regression") for name in ("b", "a"))
    assert train.search(made(), quick(candidates=twins), seed=7).winner.name == "b"


def test_rows_left_out_of_the_sample_are_scored_by_a_model_that_did_not_see_them(spring: train.TrainingRows) -> None:
    search = train.search(spring, quick(max_train_rows=1000), seed=7)
    assert search.winner.note.startswith("a random sample of 1,000 of ")
    assert search.train_rows == 1000
    assert len(search.oof_scores) == (spring.frame["__time__"] >= SPRING.start).sum()
    assert 0.9 < roc_auc_score(search.oof_labels, search.oof_scores) < 0.99


def test_progress_counts_every_fit_to_the_end() -> None:
    told: list[train.Progress] = []
    two = (Candidate(estimator="logistic_regression"), Candidate(estimator="sklearn.naive_bayes.GaussianNB"))
    train.search(made(), quick(candidates=two), seed=7, progress=told.append)
    assert [(p.done, p.total) for p in told] == [(i + 1, 7) for i in range(7)]
    assert {p.what for p in told[:6]} == {
        f"{name} (trailing): fold {fold} of 3" for name in ("logistic_regression", "GaussianNB") for fold in (1, 2, 3)
    }
    assert told[-1].what.endswith("(trailing): fitted on 200 rows")


# --- candidates that fail ---------------------------------------------------------------------------


class Broken(ClassifierMixin, BaseEstimator):
    """A classifier that cannot be fitted."""

    def fit(self, X: Any, y: Any) -> Broken:
        raise ZeroDivisionError("on purpose")

    def predict_proba(self, X: Any) -> Any:
        raise NotImplementedError


class Blank(Broken):
    """A classifier that answers NaN."""

    def fit(self, X: Any, y: Any) -> Broken:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.full((len(X), 2), np.nan)


HERE = __name__
FAILING = {
    f"{HERE}.Broken": "ZeroDivisionError: on purpose",
    f"{HERE}.Blank": "gave scores that are not finite: standardise its input or choose another",
    "sklearn.svm.LinearSVC": "sklearn.svm.LinearSVC has no predict_proba",
    "sklearn.nowhere.Classifier": "cannot import 'sklearn.nowhere.Classifier'",
}


def test_a_candidate_that_fails_is_recorded_and_the_others_go_on() -> None:
    bad = tuple(Candidate(estimator=path) for path in FAILING)
    wrong = Candidate(name="wrong", estimator="logistic_regression", params={"no_such_key": 1})
    good = Candidate(estimator="sklearn.naive_bayes.GaussianNB")
    search = train.search(made(), quick(candidates=(*bad, wrong, good)), seed=7)
    for result, said in zip(search.candidates, FAILING.values(), strict=False):
        assert result.error is not None
        assert said in result.error
        assert (result.cv_roc_auc_mean, result.cv_roc_auc_std, result.fold_roc_auc) == (None, None, ())
    assert "no_such_key" in (search.candidates[-2].error or "")
    assert search.winner.name == "GaussianNB"


def test_when_all_candidates_fail_each_reason_is_given() -> None:
    bad = tuple(Candidate(estimator=path) for path in FAILING)
    with pytest.raises(TrainingError) as caught:
        train.search(made(), quick(candidates=bad), seed=7)
    assert str(caught.value).startswith("none of 4 candidates could be fitted\n  Broken (trailing): ZeroDivisionError")
    assert all(said in str(caught.value) for said in FAILING.values())


def test_a_candidate_that_cannot_weigh_rows_is_told_so_for_decay_only() -> None:
    neighbours = Candidate(estimator="sklearn.neighbors.KNeighborsClassifier")
    search = train.search(made(), quick(candidates=(neighbours,), windows=("trailing", "decay")), seed=7)
    assert search.candidates[0].error is None
    assert "KNeighborsClassifier cannot weigh rows" in (search.candidates[1].error or "")


# --- hard columns -----------------------------------------------------------------------------------

N = 200
LABELS = np.arange(N) < 60
COLUMNS: dict[str, dict[str, Any]] = {
    "one numeric": {"x": np.random.default_rng(0).normal(size=N)},
    "one category": {"c": ["a", "b"] * (N // 2)},
    "one category of many values": {"c": [f"v{i % 40}" for i in range(N)]},
    "one boolean with nulls": {"b": [True, False, None, None] * (N // 4)},
    "constant": {"x": np.ones(N)},
    "one value besides nulls": {"x": [1.0, *[None] * (N - 1)], "y": np.arange(N) % 7},
    "all null": {
        "y": np.arange(N) % 7,
        "z": pl.Series([None] * N),
        "e": pl.Series([None] * N, dtype=pl.Float64),
        "c": pl.Series([None] * N, dtype=pl.String),
        "b": pl.Series([None] * N, dtype=pl.Boolean),
    },
    "nan, inf and huge": {"x": [1e300, float("inf"), float("nan"), -1e308] * (N // 4), "y": np.arange(N, dtype=float)},
    "everything": {
        "x": np.random.default_rng(0).normal(size=N),
        "c": [None, "a", "b", "c"] * (N // 4),
        "d": [None if i % 7 == 0 else f"v{i % 30}" for i in range(N)],
        "b": [True, False, None, True] * (N // 4),
        "k": np.zeros(N),
        "e": pl.Series([None] * N, dtype=pl.Float64),
    },
}


@pytest.mark.parametrize("estimator", IN_CORE)
@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
def test_any_columns_can_be_learned_from(columns: dict[str, Any], estimator: str) -> None:
    small = {"hist_gradient_boosting": {"max_iter": 3}, "logistic_regression": {}}.get(estimator, {"n_estimators": 3})
    rows = made(N, 60, **columns)
    policy = quick(candidates=(Candidate(estimator=estimator, params=small),), folds=2)
    search = train.search(rows, policy, seed=7)
    assert search.winner.error is None
    scores = search.predictor.predict_proba(rows.frame)
    assert scores.shape == (N,)
    assert np.isfinite(scores).all()
    assert list(search.predictor.pipeline.named_steps) == ["preprocess", "model"]


def test_features_that_are_all_null_leave_nothing_to_learn_from() -> None:
    nulls = {"x": pl.Series([None] * N), "c": pl.Series([None] * N, dtype=pl.String)}
    with pytest.raises(TrainingError, match="all 2 features are null in every row to learn from: repair the feed"):
        train.search(made(N, 60, **nulls), quick(), seed=7)


def test_a_row_changes_the_scores_of_other_folds_but_of_no_other_row_in_its_own(spring: train.TrainingRows) -> None:
    plan = plan_of(spring, Train(windows=("trailing",)))
    held = plan.validation(0)
    policy = Train(windows=("trailing",), candidates=("logistic_regression",))
    before = train.search(spring, policy, seed=7).oof_scores
    huge = spring.frame.with_columns(
        temp=pl.when(pl.int_range(pl.len()) == int(plan.index[held[0]])).then(1e6).otherwise("temp")
    )
    after = train.search(replace(spring, frame=huge), policy, seed=7).oof_scores
    in_fold = np.isin(plan.index[plan.validation()], plan.index[held])
    others_of_fold = in_fold.copy()
    others_of_fold[np.flatnonzero(in_fold)[0]] = False
    np.testing.assert_array_equal(before[others_of_fold], after[others_of_fold])
    assert (before[~in_fold] != after[~in_fold]).any()


# --- how many at a time -------------------------------------------------------------------------------


def cgroups(tmp_path: Path, membership: str, files: dict[str, str]) -> int:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "self").write_text(membership)
    return train.cpu_limit(tmp_path, tmp_path / "self")


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, 1),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "100000", "cpu/x/cpu.cfs_period_us": "100000"}, 1),
        ("3:cpu,cpuacct:/x\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("", {}, None),
    ],
    ids=["v2", "half", "v2 unlimited", "v2 parent", "v1", "v1 unlimited", "nonsense", "none"],
)
def test_fits_run_up_to_the_limit_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, files: dict[str, str], limit: int | None
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert cgroups(tmp_path, membership, files) == (limit or 64)


def test_fits_run_no_wider_than_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3})
    assert cgroups(tmp_path, "0::/\n", {"cpu.max": "800000 100000"}) == 2


# --- rows that stand for more than themselves ----------------------------------------------------


def weighed(rows: train.TrainingRows, weights: Any) -> train.TrainingRows:
    return replace(rows, frame=rows.frame.with_columns(__weight__=pl.Series(weights, dtype=pl.Float64)))


def test_a_weight_of_one_changes_nothing() -> None:
    rows = made()
    for name in ("hist_gradient_boosting", "lightgbm", "logistic_regression"):
        policy = quick(candidates=(Candidate(estimator=name),), windows=("trailing", "decay"))
        plain = train.search(rows, policy, seed=7)
        found = train.search(weighed(rows, np.ones(200)), policy, seed=7)
        assert found.predictor.contract.names == ("x",)
        np.testing.assert_allclose(found.oof_scores, plain.oof_scores, atol=1e-6)
        assert found.predictor.threshold == pytest.approx(plain.predictor.threshold, abs=1e-6)


def test_weights_reach_the_fit_and_multiply_those_of_age() -> None:
    rows = made()
    weights = np.where(rows.frame["label"].to_numpy() == 1, 1.0, 25.0)
    plan = make_plan(weighed(rows, weights).frame, START, rows.contract, quick(windows=("all", "decay")), 7)
    every = np.arange(200)
    ages = (plan.times.max() - plan.times) / np.timedelta64(1, "D")
    np.testing.assert_array_equal(plan.weights_of("all", every), weights)
    np.testing.assert_allclose(plan.weights_of("decay", every), weights * 0.5 ** (ages / 90))
    policy = quick(candidates=(Candidate(estimator="logistic_regression"),))
    lighter = train.search(rows, policy, seed=7).oof_scores.mean()
    assert train.search(weighed(rows, weights), policy, seed=7).oof_scores.mean() < lighter / 2


def test_the_score_of_a_fold_counts_each_row_as_often_as_it_stands_for() -> None:
    weights = np.random.default_rng(5).choice([1.0, 40.0], 200)
    rows = weighed(made(), weights)
    policy = quick(candidates=(Candidate(estimator="logistic_regression"),))
    found, plan = train.search(rows, policy, seed=7), make_plan(rows.frame, START, rows.contract, policy, 7)
    for fold, said in enumerate(found.winner.fold_roc_auc):
        held = plan.validation(fold)
        assert said == roc_auc_score(plan.labels[held], found.oof_scores[held], sample_weight=weights[held])
        assert said != roc_auc_score(plan.labels[held], found.oof_scores[held])


def test_a_threshold_of_least_cost_counts_each_row_as_often_as_it_stands_for() -> None:
    scores, labels = np.array([0.9, 0.8, 0.6, 0.4]), np.array([1, 0, 1, 0])
    policy = Train(cost_false_positive=1, cost_false_negative=10)
    assert train.choose_threshold(scores, labels, policy) == pytest.approx(0.5)
    assert train.choose_threshold(scores, labels, policy, np.array([1.0, 9.0, 1.0, 1.0])) == pytest.approx(0.5)
    assert train.choose_threshold(scores, labels, policy, np.array([1.0, 11.0, 1.0, 1.0])) == pytest.approx(0.85)


def test_a_recall_floor_counts_positives_as_often_as_they_stand_for() -> None:
    scores, labels = np.array([0.9, 0.8, 0.6, 0.4]), np.array([1, 0, 1, 0])
    policy = Train(threshold="recall", recall_floor=0.7)
    assert train.choose_threshold(scores, labels, policy) == pytest.approx(0.5)
    assert train.choose_threshold(scores, labels, policy, np.array([8.0, 1.0, 2.0, 1.0])) == pytest.approx(0.85)


def test_a_candidate_that_cannot_weigh_rows_is_told_so_for_a_sample() -> None:
    nearest = Candidate(estimator="sklearn.neighbors.KNeighborsClassifier")
    found = train.search(weighed(made(), np.full(200, 2.0)), quick(candidates=(nearest, *quick().candidates)), seed=7)
    assert found.candidates[0].error == (
        "sklearn.neighbors.KNeighborsClassifier cannot weigh rows, which a sample with weights needs "
        "(data.max_negatives): remove this candidate from train.candidates, or data.max_negatives"
    )


@pytest.mark.parametrize("bad", [None, 0.0, -1.0, np.nan, np.inf])
def test_a_weight_that_is_none_is_refused(bad: float | None) -> None:
    with pytest.raises(TrainingError, match=r"^1 of 200 rows have a __weight__ that is not a finite number above 0: "):
        train.search(weighed(made(), [bad, *np.ones(199)]), quick(), seed=7)


def test_a_weight_is_never_a_feature() -> None:
    rows = weighed(made(), np.ones(200))
    named = replace(rows, contract=artifact.learn_contract(rows.frame, ["x", "__weight__"], label="label"))
    with pytest.raises(TrainingError, match=r"^__weight__ says .*: it cannot be a feature, exclude it$"):
        train.search(named, quick(), seed=7)


# --- rows on disk --------------------------------------------------------------------------------


def test_a_matrix_on_disk_gives_the_rows_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehone.train.spilled.SLICE", 7)
    matrix = np.random.default_rng(0).normal(size=(50, 3))
    matrix[4, 1] = np.nan
    found = Spilled((matrix[i : i + 20] for i in range(0, 50, 20)), 3, tmp_path)
    assert (len(found), found.shape) == (50, (50, 3))
    for rows in (np.arange(50), np.array([49, 0, 7, 7, 3]), np.array([13, 14]), np.array([], dtype=np.int64)):
        np.testing.assert_array_equal(found[rows], matrix[rows])
    assert list(tmp_path.iterdir()) == []


def test_rows_that_cannot_be_written_to_disk_are_told_with_what_to_do() -> None:
    with pytest.raises(TrainingError) as caught:
        Spilled([np.zeros((2, 2))], 2, Path("/proc/nowhere"))
    assert str(caught.value) == (
        "the training rows cannot be written to /proc/nowhere (No such file or directory): an external-memory candidate "
        "needs about 8 bytes a row and feature there: free room, or set project.cache"
    )


def test_a_candidate_without_its_library_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = quick(candidates=(Candidate(estimator="xgboost_external"), *quick().candidates))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = train.search(made(), policy, seed=7)
    assert found.candidates[0].error == (
        "xgboost_external needs XGBoost, which is not installed: pip install 'rehone[xgboost]'"
    )
    assert found.winner.estimator == "hist_gradient_boosting"


def test_an_address_that_nothing_uses_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"backend_address 'tcp://a:1' is given, and backend = \"threads\" fits in this"
    ):
        quick(backend_address="tcp://a:1")
    assert quick(backend="dask", backend_address="tcp://a:1").backend_address == "tcp://a:1"
    spread = (Candidate(estimator="xgboost_dask"),)
    assert quick(candidates=spread, backend_address="tcp://a:1").backend_address == "tcp://a:1"

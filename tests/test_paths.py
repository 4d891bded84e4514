"""The path that serves is the pipeline to the last bit, or it is not used."""

from __future__ import annotations

import gc
import logging
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from rehone.artifact import Predictor, encode, one_thread, paths
from rehone.artifact.paths import trees as forest
from rehone.artifact.paths.trees import SMALLEST
from rehone.artifact.paths.walker import FEW
from rehone.config import BUILT_IN, Candidate
from rehone.records import Contract, Feature, FeatureKind
from rehone.train import pipeline_of

NUMERIC, BOOLEAN, CATEGORICAL = FeatureKind.NUMERIC, FeatureKind.BOOLEAN, FeatureKind.CATEGORICAL
IN_CORE = tuple(name for name in BUILT_IN if not name.startswith("xgboost"))  # tests/integrations has the others
TREES = tuple(name for name in IN_CORE if name != "logistic_regression")
SMALL: dict[str, dict[str, Any]] = {
    "hist_gradient_boosting": {"max_iter": 40},
    "lightgbm": {"n_estimators": 30, "min_child_samples": 10},
    "gradient_boosting": {"n_estimators": 30},
    "random_forest": {"n_estimators": 15},
}
PATHS = {
    "hist_gradient_boosting": "hist_gradient_boosting as lightgbm",
    "lightgbm": "lightgbm",
    "gradient_boosting": "gradient_boosting as lightgbm",
    "random_forest": "random_forest as lightgbm",
    "logistic_regression": "linear",
}


def numbers(n: int) -> tuple[Feature, ...]:
    return tuple(Feature(f"number_{i}", NUMERIC) for i in range(n))


def words(name: str, n: int) -> Feature:
    return Feature(name, CATEGORICAL, tuple(f"{i:05}" for i in range(n)))


CONTRACTS = {
    "numbers": Contract(features=numbers(4), label="label"),
    "few categories": Contract(features=(words("few", 3), *numbers(2), words("twelve", 12)), label="label"),
    "many categories": Contract(features=(*numbers(1), words("many", 13), words("more", 70)), label="label"),
    "all kinds": Contract(
        features=(words("many", 40), *numbers(3), Feature("flag", BOOLEAN), words("few", 5), Feature("other", BOOLEAN)),
        label="label",
    ),
}


def matrix_of(contract: Contract, n: int, *, seed: int, nulls: float = 0.1) -> NDArray[np.float64]:
    """Draw rows as training sees them: no unseen category, skewed numbers, many exact zeros."""
    draw = np.random.default_rng(seed)
    columns = []
    for i, feature in enumerate(contract.features):
        if feature.kind is CATEGORICAL:
            column = draw.integers(0, len(feature.categories), n).astype(float)
        elif feature.kind is BOOLEAN:
            column = draw.integers(0, 2, n).astype(float)
        else:
            column = draw.normal(size=n) if i % 2 else np.maximum(draw.lognormal(0, 2, n) - 1, 0)
        columns.append(np.where(draw.random(n) < nulls, np.nan, column))
    return np.stack(columns, axis=1)


def hard(contract: Contract, known: NDArray[np.float64], n: int, *, seed: int) -> NDArray[np.float64]:
    """Draw rows that a wrong translation would trip over: learned values, their neighbours, extremes, unseen."""
    draw = np.random.default_rng(seed)
    columns = []
    for i, feature in enumerate(contract.features):
        if feature.kind is CATEGORICAL:
            column = draw.integers(0, len(feature.categories) + 1, n).astype(float)
        elif feature.kind is BOOLEAN:
            column = draw.integers(0, 2, n).astype(float)
        else:
            real = draw.choice(known[~np.isnan(known[:, i]), i], n) if (~np.isnan(known[:, i])).any() else np.zeros(n)
            middle = (real + draw.permutation(real)) / 2
            near = np.nextafter(middle, draw.choice([-np.inf, np.inf], n))
            hardest = draw.choice([0.0, -0.0, 1e30, -1e30, 1e-40, -1e-40, 1e-300, -1e-300, 1e-35, 1.0], n)
            column = np.choose(draw.integers(0, 5, n), [real, middle, near, hardest, real.astype(np.float32)])
            column = np.where(np.abs(column) < SMALLEST, 0.0, column)
        columns.append(np.where(draw.random(n) < 0.1, np.nan, column))
    return np.stack(columns, axis=1)


def trained(
    contract: Contract, estimator: str, *, seed: int = 3, nulls: float = 0.1, empty: tuple[int, ...] = (), **params: Any
) -> tuple[Predictor, NDArray[np.float64]]:
    matrix = matrix_of(contract, 900, seed=seed, nulls=nulls)
    matrix[:, list(empty)] = np.nan
    draw = np.random.default_rng(seed + 1)
    ranks = np.nan_to_num(matrix, nan=0.5).clip(-3, 3).sum(axis=1)
    labels = (ranks + draw.normal(size=len(matrix)) > np.median(ranks)).astype(int)
    pipeline = pipeline_of(Candidate(estimator=estimator, params=params), contract, 7, empty=empty)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small data, few iterations
        pipeline.fit(matrix, labels)
    return Predictor(contract=contract, pipeline=pipeline, threshold=0.5), matrix


def own(predictor: Predictor, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the pipeline itself says."""
    with one_thread():
        answers: NDArray[np.float64] = predictor.pipeline.predict_proba(matrix)[:, 1]
    return answers


def assert_same(predictor: Predictor, known: NDArray[np.float64], *, exact: bool) -> None:
    """Assert that the path answers as the pipeline, whatever the number of rows asked for at once."""
    rows = np.concatenate([known, hard(predictor.contract, known, 3000, seed=11)])
    expected, found = own(predictor, rows), predictor.score(rows)
    if exact:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    for size in (1, 2, FEW, FEW + 1, 130):
        parts = [predictor.score(rows[i : i + size]) for i in range(0, 390, size)]
        np.testing.assert_array_equal(np.concatenate(parts), found[: len(np.concatenate(parts))])


# --- the built-in estimators -------------------------------------------------------------------


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
@pytest.mark.parametrize("estimator", TREES)
def test_trees_give_the_very_bits_of_the_pipeline(estimator: str, contract: Contract) -> None:
    predictor, known = trained(contract, estimator, **SMALL[estimator])
    assert_same(predictor, known, exact=True)
    assert predictor.path == PATHS[estimator]


@pytest.mark.parametrize("estimator", TREES)
def test_trees_trained_without_a_missing_value_still_send_one_the_same_way(estimator: str) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], estimator, nulls=0.0, **SMALL[estimator])
    assert_same(predictor, known, exact=True)
    assert predictor.path == PATHS[estimator]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
@pytest.mark.parametrize("nulls", [0.0, 0.1])
def test_a_linear_model_gives_the_pipelines_answers_and_the_same_bits_for_any_number_of_rows(
    contract: Contract, nulls: float
) -> None:
    predictor, known = trained(contract, "logistic_regression", nulls=nulls)
    assert_same(predictor, known, exact=False)
    assert predictor.path == "linear"


@pytest.mark.parametrize("estimator", IN_CORE)
def test_columns_that_were_empty_in_training_are_left_out(estimator: str) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], estimator, empty=(1, 4), **SMALL.get(estimator, {}))
    assert_same(predictor, known, exact=estimator in TREES)
    assert predictor.path == PATHS[estimator]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20), estimator=st.sampled_from(IN_CORE), data=st.data())
def test_any_contract_keeps_the_answers(seed: int, estimator: str, data: st.DataObject) -> None:
    feature = st.sampled_from([*numbers(2), Feature("flag", BOOLEAN), words("w", 1), words("w", 12), words("w", 33)])
    drawn = data.draw(st.lists(feature, min_size=1, max_size=5))
    contract = Contract(features=tuple(replace(feature, name=f"{i}") for i, feature in enumerate(drawn)), label="label")
    predictor, known = trained(contract, estimator, seed=seed, **SMALL.get(estimator, {}))
    rows = hard(contract, known, 500, seed=seed)
    np.testing.assert_allclose(predictor.score(rows), own(predictor, rows), rtol=0, atol=1e-9)
    assert predictor.path == PATHS[estimator]


@pytest.mark.parametrize(
    "params",
    [
        {"max_bins": 4},
        {"early_stopping": True, "n_iter_no_change": 3},
        {"monotonic_cst": [0, 1, 0, -1]},
        {"interaction_cst": "no_interactions"},
        {"class_weight": "balanced", "max_depth": 2},
        {"max_iter": 1, "max_leaf_nodes": 2},
        {"min_samples_leaf": 900},
    ],
    ids=str,
)
def test_hist_gradient_boosting_of_any_shape_is_exact(params: dict[str, Any]) -> None:
    predictor, known = trained(CONTRACTS["numbers"], "hist_gradient_boosting", **{"max_iter": 30} | params)
    assert_same(predictor, known, exact=True)
    assert predictor.path == "hist_gradient_boosting as lightgbm"


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("lightgbm", {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}),
        ("lightgbm", {"zero_as_missing": True}),
        ("lightgbm", {"use_missing": False}),
        ("lightgbm", {"class_weight": "balanced", "num_leaves": 2}),
        ("lightgbm", {"min_child_samples": 900}),
        ("gradient_boosting", {"loss": "exponential", "init": "zero"}),
        ("gradient_boosting", {"subsample": 0.5, "n_iter_no_change": 2}),
        ("random_forest", {"class_weight": "balanced", "max_depth": 3}),
        ("sklearn.ensemble.ExtraTreesClassifier", {"n_estimators": 12}),
        ("sklearn.tree.DecisionTreeClassifier", {"max_depth": 6}),
        ("lightgbm.LGBMClassifier", {"n_estimators": 20, "verbose": -1}),
        ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 20}),
    ],
    ids=str,
)
def test_other_trees_are_exact_on_scaled_and_filled_columns_too(estimator: str, params: dict[str, Any]) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], estimator, **SMALL.get(estimator, {}) | params)
    assert_same(predictor, known, exact=True)
    assert predictor.path.endswith("lightgbm")


def test_a_threshold_at_zero_tells_the_smallest_number_from_zero() -> None:
    """LightGBM takes numbers below 1e-35 for zero; scikit-learn's trees do not."""
    contract = CONTRACTS["numbers"]
    predictor, _ = trained(contract, "hist_gradient_boosting", max_iter=3)
    for (tree,) in predictor.pipeline.named_steps["model"]._predictors:
        tree.nodes["num_threshold"] = 0.0
    rows = np.zeros((8, 4))
    rows[:, :] = np.array([0.0, -0.0, 1e-40, -1e-40, 1e-300, 1e30, -1e30, np.nan])[:, None]
    assert len(set(own(predictor, rows).tolist())) > 1
    np.testing.assert_array_equal(predictor.score(rows), own(predictor, rows))
    assert predictor.path == "hist_gradient_boosting as lightgbm"


def test_a_large_forest_is_asked_tree_by_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forest, "MOST_SPLITS", 100)
    predictor, known = trained(CONTRACTS["all kinds"], "random_forest", n_estimators=10)
    assert_same(predictor, known, exact=True)
    assert predictor.path == "random_forest tree by tree"


# --- what is not understood, and what lies -----------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("sklearn.calibration.CalibratedClassifierCV", {}),
        ("sklearn.neural_network.MLPClassifier", {"max_iter": 5}),
        ("sklearn.ensemble.AdaBoostClassifier", {"n_estimators": 3}),
        ("hist_gradient_boosting", {"max_iter": 5, "categorical_features": [3]}),
        ("lightgbm", {"n_estimators": 5, "categorical_feature": [3]}),
        ("lightgbm", {"n_estimators": 5, "linear_tree": True}),
    ],
    ids=str,
)
def test_a_model_that_is_not_understood_is_asked_itself(estimator: str, params: dict[str, Any]) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], estimator, nulls=0.0, **params)
    assert predictor.path == "scikit-learn"
    rows = known[:200]
    np.testing.assert_array_equal(predictor.score(rows), own(predictor, rows))


def test_a_preprocessor_that_is_not_understood_is_asked_itself() -> None:
    predictor, _ = trained(CONTRACTS["numbers"], "random_forest", n_estimators=5)
    predictor.pipeline.named_steps["preprocess"].transformers_[0][1].add_indicator = True
    again = replace(predictor)
    assert again.path == "scikit-learn"


def test_anything_with_predict_proba_is_a_pipeline() -> None:
    class Half:
        def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.full((len(matrix), 2), 0.5)

    predictor = Predictor(contract=CONTRACTS["numbers"], pipeline=Half(), threshold=0.5)
    assert predictor.path == "scikit-learn"
    assert predictor.score(np.zeros((3, 4))).tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("estimator", TREES)
def test_one_wrong_leaf_is_found_and_the_pipeline_used(
    estimator: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], estimator, **SMALL[estimator])
    right = forest.text_of

    def wrong(trees: forest.Trees, width: int) -> str:
        most = max(range(len(trees.leaves)), key=lambda i: len(trees.leaves[i]))
        leaf = [float(value) + (0.1 if i == 0 else 0.0) for i, value in enumerate(trees.leaves[most])]
        leaves = (*trees.leaves[:most], leaf, *trees.leaves[most + 1 :])
        return right(replace(trees, leaves=leaves), width)

    monkeypatch.setattr(forest, "text_of", wrong)
    with caplog.at_level(logging.WARNING, logger="rehone"):
        found = [predictor.score(known[:5]) for _ in range(3)]
    assert [r.getMessage() for r in caplog.records] == ["path_differs"]
    assert predictor.path == "scikit-learn"
    np.testing.assert_array_equal(found[0], own(predictor, known[:5]))


def test_a_wrong_weight_is_found_and_the_pipeline_used(caplog: pytest.LogCaptureFixture) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], "logistic_regression")
    model = predictor.pipeline.named_steps["model"]

    class Other(type(model)):  # type: ignore[misc]  # a class that takes the name of the one we know
        __module__ = "sklearn.linear_model"

        def decision_function(self, X: Any) -> Any:
            return super().decision_function(X) + 1e-6

    Other.__name__ = "LogisticRegression"
    model.__class__ = Other
    assert predictor.path == "scikit-learn"
    assert [r.getMessage() for r in caplog.records] == ["path_differs"]
    np.testing.assert_array_equal(predictor.score(known[:9]), own(predictor, known[:9]))


def test_a_path_that_cannot_be_built_leaves_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    predictor, known = trained(CONTRACTS["numbers"], "hist_gradient_boosting", max_iter=3)
    monkeypatch.setattr(forest, "text_of", lambda *_: "tree\nversion=v4\nnonsense\n")
    np.testing.assert_array_equal(predictor.score(known[:5]), own(predictor, known[:5]))
    assert predictor.path == "scikit-learn"
    assert [r.getMessage() for r in caplog.records] == ["path_failed"]


# --- use ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", IN_CORE)
def test_threads_that_ask_at_once_get_the_same_answers(estimator: str) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], estimator, **SMALL.get(estimator, {}))
    expected = own(predictor, known)

    def ask(worker: int) -> bool:
        draw = np.random.default_rng(worker)
        for _ in range(150):
            start, size = int(draw.integers(0, 700)), int(draw.choice([1, 3, 16, 17, 150]))
            if not np.allclose(predictor.score(known[start : start + size]), expected[start : start + size], 0, 1e-12):
                return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(6)))


@pytest.mark.parametrize("estimator", IN_CORE)
def test_a_matrix_of_any_layout_or_type_is_read_and_never_changed(estimator: str) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], estimator, **SMALL.get(estimator, {}))
    for rows in (known[:40], known[:200]):
        before, expected = rows.copy(), predictor.score(np.ascontiguousarray(rows))
        fixed = np.asfortranarray(rows)
        fixed.setflags(write=False)
        np.testing.assert_array_equal(predictor.score(fixed), expected)
        np.testing.assert_array_equal(predictor.score(np.repeat(rows, 2, axis=0)[::2]), expected)
        np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("estimator", IN_CORE)
def test_an_answer_is_the_callers_to_keep(estimator: str) -> None:
    predictor, known = trained(CONTRACTS["all kinds"], estimator, **SMALL.get(estimator, {}))
    first = predictor.score(known[:4])
    kept = first.copy()
    predictor.score(known[4:8])
    np.testing.assert_array_equal(first, kept)
    assert predictor.score(known[:0]).shape == (0,)


@pytest.mark.parametrize("estimator", IN_CORE)
@pytest.mark.parametrize("shape", [(1, 1), (3, 6), (40, 8), (7,)])
def test_a_matrix_of_the_wrong_width_is_refused(estimator: str, shape: tuple[int, ...]) -> None:
    predictor, _ = trained(CONTRACTS["all kinds"], estimator, **SMALL.get(estimator, {}))
    predictor.prepare()
    with pytest.raises(ValueError, match="the model reads 7 columns"):
        predictor.score(np.zeros(shape))


def test_rows_by_name_are_answered_by_the_path() -> None:
    contract = CONTRACTS["all kinds"]
    predictor, _ = trained(contract, "lightgbm", **SMALL["lightgbm"])
    row = {
        "many": "00003",
        "number_0": 1.5,
        "number_1": None,
        "number_2": -2,
        "flag": True,
        "few": "new",
        "other": None,
    }
    import polars as pl

    matrix = encode(pl.DataFrame([row]), contract)
    assert predictor.predict_proba([row]).tolist() == own(predictor, matrix).tolist()


def test_a_predictor_that_goes_takes_its_trees_along() -> None:
    predictor, known = trained(CONTRACTS["numbers"], "hist_gradient_boosting", max_iter=3)
    predictor.score(known)
    path = predictor.prepare()
    assert path is not None
    assert isinstance(path.scorer, paths.Walked)
    walker = weakref.ref(path.scorer.walker)
    del predictor, path
    gc.collect()
    assert walker() is None


def test_the_pipeline_is_never_touched() -> None:
    """A path is beside the pipeline: what is packed afterwards is what was trained."""
    predictor, known = trained(CONTRACTS["all kinds"], "hist_gradient_boosting", max_iter=3)
    before = own(predictor, known)
    predictor.score(known)
    assert isinstance(predictor.pipeline, Pipeline)
    np.testing.assert_array_equal(own(predictor, known), before)

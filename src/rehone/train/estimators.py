"""Build one candidate: preprocessing and model as one scikit-learn pipeline."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Collection
from typing import Any

from rehone.config import BUILT_IN, Candidate, import_class
from rehone.errors import TrainingError
from rehone.records import Contract, FeatureKind

ONE_HOT_LEVELS = 12
"""A category with more values than this is replaced by the mean label of its value."""

XGBOOST = ("xgboost", "xgboost_external", "xgboost_dask", "xgboost_spark")
"""One model, fitted in memory, from disk, on a Dask cluster or on Spark."""

_CLASSES = {
    "hist_gradient_boosting": "sklearn.ensemble.HistGradientBoostingClassifier",
    "lightgbm": "lightgbm.LGBMClassifier",
    "gradient_boosting": "sklearn.ensemble.GradientBoostingClassifier",
    "random_forest": "sklearn.ensemble.RandomForestClassifier",
    "logistic_regression": "sklearn.linear_model.LogisticRegression",
    **dict.fromkeys(XGBOOST, "xgboost.XGBClassifier"),
}
_XGBOOST_DEFAULTS: dict[str, Any] = {
    "n_estimators": 100,
    "learning_rate": 0.1,
    "tree_method": "hist",
    "grow_policy": "lossguide",
    "max_depth": 0,
    "max_leaves": 31,
    "min_child_weight": 5,
    "colsample_bytree": 0.7,
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    # small trees, no early stopping: its own inner split would cost rows and a fixed fit length
    "hist_gradient_boosting": {
        "max_iter": 150,
        "learning_rate": 0.1,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 40,
        "early_stopping": False,
    },
    # larger trees on a part of the columns each: wins where the other is too smooth
    "lightgbm": {
        "n_estimators": 100,
        "learning_rate": 0.1,
        "num_leaves": 31,
        "min_child_samples": 40,
        "colsample_bytree": 0.7,
        "deterministic": True,
        "force_col_wise": True,
        "verbose": -1,
    },
    "gradient_boosting": {"n_estimators": 200},
    "random_forest": {"n_estimators": 200},
    "logistic_regression": {"max_iter": 2000},
    **dict.fromkeys(XGBOOST, _XGBOOST_DEFAULTS),
}
_READ_NULLS = ("hist_gradient_boosting", "lightgbm", *XGBOOST)
_UNSCALED = ("gradient_boosting", "random_forest")


def estimator_class(candidate: Candidate) -> type[Any]:
    """Return the class of a candidate, built in or by its import path.

    Raises:
        TrainingError: it is built in, and the library that it comes from is not installed.
        ConfigError: it cannot be imported.
    """
    if candidate.estimator in XGBOOST and importlib.util.find_spec("xgboost") is None:
        raise TrainingError(
            f"{candidate.estimator} needs XGBoost, which is not installed: pip install 'rehone[xgboost]'"
        )
    return import_class(_CLASSES.get(candidate.estimator, candidate.estimator))


def full_params(candidate: Candidate, seed: int) -> dict[str, Any]:
    """Return all that the class is called with: our defaults, the candidate's own, seed and one thread."""
    kind = estimator_class(candidate)
    accepted = {*inspect.signature(kind).parameters}
    if kind.__module__.startswith("xgboost."):  # it takes these, and does not list them
        accepted |= {"random_state", "n_jobs"}
    params: dict[str, Any] = {"random_state": seed} if "random_state" in accepted else {}
    if "n_jobs" in accepted and not kind.__module__.startswith("sklearn."):  # there, the default is one
        params["n_jobs"] = 1
    return params | _DEFAULTS.get(candidate.estimator, {}) | candidate.params


def pipeline_of(candidate: Candidate, contract: Contract, seed: int, *, empty: Collection[int] = ()) -> Any:
    """Return an unfitted pipeline of the steps `preprocess` and `model` on the contract's matrix.

    The fast ones read missing numbers as they are; other estimators get the median. Categories
    of up to 12 values become one column each, others the mean label of their value, fitted with
    inner folds (Micci-Barreca 2001, as in scikit-learn's TargetEncoder). `empty` are the columns
    without any value among the rows to be fitted on; they are left out, since nothing can be
    learned from them and not every estimator takes them.

    Raises:
        TrainingError: the estimator gives no probabilities, or every column is empty.
        ConfigError: it cannot be imported.
        TypeError: it does not take the candidate's parameters.
    """
    from sklearn.pipeline import Pipeline

    model = estimator_class(candidate)(**full_params(candidate, seed))
    if not hasattr(model, "predict_proba"):
        raise TrainingError(
            f"{candidate.estimator} has no predict_proba, so there is no probability to compare or to put a threshold "
            'on: use class = "sklearn.calibration.CalibratedClassifierCV" (around a LinearSVC by default) or another '
            "classifier"
        )
    groups = _columns(contract, empty)
    if not any(groups.values()):
        raise TrainingError(
            f"all {len(contract.features)} features are null in every row to learn from: repair the feed, or name "
            "other data.features"
        )
    return Pipeline([("preprocess", _preprocessor(candidate.estimator, groups, seed)), ("model", model)])


def takes_weights(pipeline: Any) -> bool:
    """Say whether the pipeline's model can be told that some rows weigh less."""
    return "sample_weight" in inspect.signature(pipeline.named_steps["model"].fit).parameters


def _preprocessor(estimator: str, groups: dict[str, list[int]], seed: int) -> Any:
    from sklearn.compose import ColumnTransformer

    raw = estimator in _READ_NULLS
    scaled = not raw and not (estimator in BUILT_IN and estimator in _UNSCALED)
    steps = {
        "numeric": "passthrough" if raw else _numeric("median", scaled=scaled),
        "boolean": "passthrough" if raw else _numeric("most_frequent", scaled=scaled),
        "one_hot": _one_hot(),
        "mean_label": _mean_label(seed),
    }
    return ColumnTransformer(
        [(name, steps[name], columns) for name, columns in groups.items() if columns], sparse_threshold=0
    )


def _columns(contract: Contract, empty: Collection[int]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {"numeric": [], "boolean": [], "one_hot": [], "mean_label": []}
    for index, feature in enumerate(contract.features):
        if index in empty:
            continue
        if feature.kind is FeatureKind.CATEGORICAL:
            groups["one_hot" if len(feature.categories) <= ONE_HOT_LEVELS else "mean_label"].append(index)
        else:
            groups["boolean" if feature.kind is FeatureKind.BOOLEAN else "numeric"].append(index)
    return groups


def _numeric(fill: str, *, scaled: bool) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    impute = SimpleImputer(strategy=fill, keep_empty_features=True)
    return make_pipeline(impute, StandardScaler()) if scaled else impute


def _one_hot() -> Any:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(handle_unknown="ignore", sparse_output=False)


def _mean_label(seed: int) -> Any:
    import sklearn
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import TargetEncoder

    if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 9):
        return TargetEncoder(target_type="binary", random_state=seed)
    return TargetEncoder(target_type="binary", cv=KFold(5, shuffle=True, random_state=seed))

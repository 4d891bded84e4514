"""Say which types a stored model may consist of, and look at what a file claims before it is built.

skops writes down the type of every part of a model. It trusts the public classes of
scikit-learn and NumPy; `ALLOWED_TYPES` adds, one by one, what fitted trees, boosters and
preprocessors are made of. Three of these hold arrays of node numbers that compiled code follows
without looking, so `check_trees` looks first. XGBoost's own part is its own format, no pickle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehone.errors import Corrupt

ALLOWED_TYPES = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)


def untrusted(data: bytes, trusted: Sequence[str] = ()) -> tuple[str, ...]:
    """List the types in a skops file that neither skops, nor this module, nor the caller trusts.

    Nothing of the file is built or imported.
    """
    import skops.io

    allowed = {*ALLOWED_TYPES, *trusted}
    return tuple(name for name in skops.io.get_untrusted_types(data=data) if name not in allowed)


def check_trees(model: Any, source: str) -> None:
    """Refuse trees whose nodes point outside the tree or back to an earlier node.

    Raises:
        Corrupt: a tree is not a tree; following it would read foreign memory or never end.
    """
    for left, right, feature, width in _trees(model):
        inner = left != right
        here = np.arange(len(left))
        for child in (left, right):
            if np.any(inner & ((child <= here) | (child >= len(left)))):
                raise Corrupt(f"{source} holds a tree whose nodes point outside it: the file was made to do harm")
        if np.any(inner & ((feature < 0) | (feature >= width))):
            raise Corrupt(f"{source} holds a tree that reads features that do not exist: the file was made to do harm")
    for booster in _boosters(model):
        _check_booster(json.loads(booster.save_raw("json"))["learner"], source)


_Arrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]


def _trees(model: Any) -> Iterator[_Arrays]:
    for part in _parts(model):
        if hasattr(part, "_predictors"):
            width = _width(part)
            for predictor in (p for stage in part._predictors for p in stage):
                nodes = predictor.nodes
                inner = nodes["is_leaf"] == 0
                left = np.where(inner, nodes["left"].astype(np.int64), -1)
                right = np.where(inner, nodes["right"].astype(np.int64), -1)
                yield left, right, nodes["feature_idx"].astype(np.int64), width
        elif hasattr(part, "tree_"):
            tree = part.tree_
            yield tree.children_left, tree.children_right, tree.feature, int(part.n_features_in_)


def _boosters(model: Any) -> Iterator[Any]:
    """Find XGBoost models in an estimator and in the fitted estimators that it holds."""
    return (part for part in _parts(model, "xgboost.") if hasattr(part, "save_raw"))


def _check_booster(learner: dict[str, Any], source: str) -> None:
    """Refuse a booster whose trees cannot be walked; XGBoost itself compares only the lengths of its arrays."""
    boosting = learner["gradient_booster"]
    model = boosting.get("model") if "trees" in boosting.get("model", {}) else boosting.get("gbtree", {}).get("model")
    if model is None:
        return  # linear: no nodes
    width = int(learner["learner_model_param"]["num_feature"])
    groups = max(1, int(learner["learner_model_param"]["num_class"]), int(learner["learner_model_param"]["num_target"]))
    ends = [int(end) for end in model["iteration_indptr"]]
    if ends != sorted(ends) or (ends and (ends[0] != 0 or ends[-1] > len(model["trees"]))):
        raise Corrupt(f"{source} names trees that it does not hold: the file was made to do harm")
    if any(not 0 <= int(group) < groups for group in model["tree_info"]):
        raise Corrupt(f"{source} holds a tree for a class that does not exist: the file was made to do harm")
    for tree in model["trees"]:
        _check_nodes(tree, width, source)


def _check_nodes(tree: dict[str, Any], width: int, source: str) -> None:
    """Refuse a tree in which a node is reached twice, or lies outside; nodes may stand in any order."""
    left, right, feature = (
        np.asarray(tree[name], dtype=np.int64) for name in ("left_children", "right_children", "split_indices")
    )
    inner = left != -1
    children = np.concatenate([left[inner], right[inner]])
    if np.any((children < 1) | (children >= len(left))) or len(np.unique(children)) != len(children):
        raise Corrupt(f"{source} holds a tree whose nodes point outside it: the file was made to do harm")
    if np.any(inner & ((feature < 0) | (feature >= width))):
        raise Corrupt(f"{source} holds a tree that reads features that do not exist: the file was made to do harm")


def _width(boosted: Any) -> int:
    return int(getattr(boosted, "n_features_in_", 0))


def _parts(model: Any, of: str = "sklearn.") -> Iterator[Any]:
    """Walk through an estimator and the fitted estimators that it holds; give those `of` a library."""
    todo, seen = [model], set()
    while todo:
        part = todo.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, np.ndarray):
            todo += list(part.ravel()) if part.dtype == object else []
        elif isinstance(part, list | tuple | set):
            todo += part
        elif isinstance(part, dict):
            todo += part.values()
        elif type(part).__module__.startswith(("sklearn.", "xgboost.")):
            if type(part).__module__.startswith(of):
                yield part
            todo += vars(part).values() if hasattr(part, "__dict__") else []

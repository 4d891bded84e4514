"""Score a fitted pipeline by the shortest way that gives the same answers, and prove that it does.

`compiled` reads the pipeline: `columns` what the preprocessing does, `trees` and `linear` what the
model does, `walker` how trees are walked. What it does not know it leaves to scikit-learn.
`proved` compares a path with the pipeline on hard rows; a path that differs is not used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from rehone.artifact.paths import proof
from rehone.artifact.paths import trees as forest
from rehone.artifact.paths.columns import Column, Floats, NotTranslatable, check_shape, read_columns
from rehone.artifact.paths.linear import Linear
from rehone.artifact.paths.prepare import Prepare
from rehone.artifact.paths.walker import FEW, Walker
from rehone.records import Contract

log = logging.getLogger(__name__)

ITSELF = "scikit-learn"
TOLERANCE = 1e-9
_SEED = 20_010_101
_FEW = 12  # so that a scorer with one way for few rows and one for many is asked for both


class Scorer(Protocol):
    """Anything that gives the probability of label 1 for each row of an encoded matrix."""

    def score(self, matrix: Floats) -> Floats: ...


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A way to score, its name, and for each raw column the values around which its answers change."""

    name: str
    scorer: Scorer
    edges: tuple[Floats, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """Trees walked on the raw columns, and what turns their sum into a probability (None: nothing)."""

    walker: Walker
    factors: Floats
    finish: Callable[[Floats], Floats] | None

    def score(self, matrix: Floats) -> Floats:
        """Return the probability of label 1 for each row."""
        check_shape(matrix, len(self.factors))
        if len(matrix) <= FEW:
            answers = self.walker.few(matrix, self.factors)
        else:
            answers = self.walker.many(np.multiply(matrix, self.factors, order="C"))
        return answers if self.finish is None else self.finish(answers)


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """The mean over scikit-learn's own trees, each asked directly."""

    trees: list[Any]
    prepare: Prepare
    width: int

    def score(self, matrix: Floats) -> Floats:
        """Return the probability of label 1 for each row."""
        check_shape(matrix, self.width)
        rows = self.prepare(matrix).astype(np.float32)
        total = np.zeros(len(rows))
        for tree in self.trees:
            total += tree.predict(rows)[:, 1]
        return total / len(self.trees)


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """XGBoost's own trees, asked without its scikit-learn layer; they read, add and answer in float32."""

    booster: Any
    prepare: Prepare
    width: int

    def score(self, matrix: Floats) -> Floats:
        """Return the probability of label 1 for each row."""
        check_shape(matrix, self.width)
        answers: Floats = self.booster.inplace_predict(self.prepare(matrix), validate_features=False).astype(np.float64)
        return answers


@dataclass(frozen=True, slots=True, eq=False)
class BySize:
    """Two ways with the same bits: one that starts at once, one that is faster for many rows."""

    few: Scorer
    many: Scorer
    limit: int = 100

    def score(self, matrix: Floats) -> Floats:
        """Return the probability of label 1 for each row."""
        return (self.few if len(matrix) <= self.limit else self.many).score(matrix)


def proved(pipeline: Any, contract: Contract, itself: Callable[[Floats], Floats]) -> Path | None:
    """Return a path that answers as `itself`, the pipeline's own way, does; None: there is none.

    Whatever goes wrong on the way is logged and leaves the pipeline in place: a model must not be
    refused because a shortcut to it fails.
    """
    try:
        path = compiled(pipeline, contract)
        rows = proof.probe(contract, path.edges, seed=_SEED)
        expected = itself(rows)
        found = np.concatenate([path.scorer.score(rows[:_FEW]), path.scorer.score(rows)[_FEW:]])
        apart = np.abs(found - expected)
        worst = float(np.max(np.where(np.isnan(apart), np.inf, apart)))
    except NotTranslatable as reason:
        log.debug("path_not_translatable", extra={"part": str(reason)})
        return None
    except Exception:  # other versions of a library may look different inside; the pipeline itself works
        log.warning("path_failed", exc_info=True)
        return None
    if worst > TOLERANCE:
        log.warning("path_differs", extra={"path": path.name, "worst": worst, "limit": TOLERANCE, "n": len(rows)})
        return None
    return path


def compiled(pipeline: Any, contract: Contract) -> Path:
    """Translate a fitted pipeline of the steps `preprocess` and `model`.

    Raises:
        NotTranslatable: one of them is of a kind that only its own code can run.
    """
    steps = getattr(pipeline, "named_steps", {})
    if list(steps) != ["preprocess", "model"]:
        raise NotTranslatable(type(pipeline).__name__)
    model, kind = steps["model"], type(steps["model"])
    translate = _MODELS.get(f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
    if translate is None or len(getattr(model, "classes_", ())) != 2:
        raise NotTranslatable(kind.__name__)
    return translate(model, read_columns(steps["preprocess"], contract), len(contract.features))


def _lightgbm(model: Any, columns: tuple[Column, ...], width: int) -> Path:
    if not isinstance(model.objective_, str):
        raise NotTranslatable("an objective of its own")
    trees = forest.of_lightgbm(model.booster_.model_to_string())
    return _walked("lightgbm", forest.on_raw_columns(trees, columns, width, single=False), width, None)


def _hist_gradient_boosting(model: Any, columns: tuple[Column, ...], width: int) -> Path:
    trees = forest.on_raw_columns(forest.of_hist_gradient_boosting(model), columns, width, single=False)
    return _walked("hist_gradient_boosting", trees, width, _expit())


def _gradient_boosting(model: Any, columns: tuple[Column, ...], width: int) -> Path:
    if model.init_ != "zero" and type(model.init_).__name__ != "DummyClassifier":
        raise NotTranslatable(type(model.init_).__name__)
    first = float(model._raw_predict_init(np.zeros((1, len(columns)), dtype=np.float32)).item())
    own = [stage.tree_ for stage in model.estimators_[:, 0]]
    values = [model.learning_rate * tree.value[:, 0, 0] for tree in own]
    trees = forest.on_raw_columns(forest.of_sklearn_trees(own, values, first), columns, width, single=True)
    expit = _expit()
    finish = {"HalfBinomialLoss": expit, "ExponentialLoss": lambda raw: expit(2 * raw)}
    return _walked("gradient_boosting", trees, width, finish[type(model._loss).__name__])


def _random_forest(model: Any, columns: tuple[Column, ...], width: int) -> Path:
    return _mean_of([tree.tree_ for tree in model.estimators_], "random_forest", columns, width)


def _extra_trees(model: Any, columns: tuple[Column, ...], width: int) -> Path:
    return _mean_of([tree.tree_ for tree in model.estimators_], "extra_trees", columns, width)


def _decision_tree(model: Any, columns: tuple[Column, ...], width: int) -> Path:
    return _mean_of([model.tree_], "decision_tree", columns, width)


def _xgboost(model: Any, columns: tuple[Column, ...], width: int) -> Path:
    if model.objective != "binary:logistic" or model.get_booster().attr("best_iteration") is not None:
        raise NotTranslatable(f"{model.objective} or stopping early")
    edges: list[Floats] = [np.empty(0) for _ in range(width)]
    for column, thresholds in forest.splits_of_xgboost(model.get_booster()).items():
        edges[columns[column].source] = np.append(edges[columns[column].source], thresholds)
    return Path("xgboost", Boosted(model.get_booster(), Prepare(columns), width), tuple(edges))


def _mean_of(own: list[Any], name: str, columns: tuple[Column, ...], width: int) -> Path:
    each = Forest(own, Prepare(columns), width)
    if sum(tree.node_count - tree.n_leaves for tree in own) > forest.MOST_SPLITS:
        return Path(f"{name} tree by tree", each, _ranges(columns, width))
    trees = forest.of_sklearn_trees(own, [tree.value[:, 0, 1] for tree in own])
    n = len(own)
    path = _walked(name, forest.on_raw_columns(trees, columns, width, single=True), width, lambda total: total / n)
    return replace(path, scorer=BySize(path.scorer, each))


def _linear(model: Any, columns: tuple[Column, ...], width: int) -> Path:
    scorer = Linear(columns, model.coef_[0], float(model.intercept_[0]), width)
    return Path("linear", scorer, _ranges(columns, width))


def _ranges(columns: tuple[Column, ...], width: int) -> tuple[Floats, ...]:
    edges = [np.empty(0) for _ in range(width)]
    for column in columns:
        if column.table is None and column.fill is not None:
            steps = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
            edges[column.source] = np.append(column.mean + column.scale * steps, column.fill)
    return tuple(edges)


def _walked(name: str, trees: forest.Trees, width: int, finish: Callable[[Floats], Floats] | None) -> Path:
    walker = Walker(forest.text_of(trees, width), width)
    edges = tuple(
        trees.threshold[(trees.feature == i) & (trees.decision & 1 == 0)] / trees.factors[i] for i in range(width)
    )
    return Path(f"{name} as lightgbm" if finish else name, Walked(walker, trees.factors, finish), edges)


def _expit() -> Callable[[Floats], Floats]:
    from scipy.special import expit

    found: Callable[[Floats], Floats] = expit
    return found


_MODELS: dict[str, Callable[[Any, tuple[Column, ...], int], Path]] = {
    "lightgbm.LGBMClassifier": _lightgbm,
    "sklearn.HistGradientBoostingClassifier": _hist_gradient_boosting,
    "sklearn.GradientBoostingClassifier": _gradient_boosting,
    "sklearn.RandomForestClassifier": _random_forest,
    "sklearn.ExtraTreesClassifier": _extra_trees,
    "sklearn.DecisionTreeClassifier": _decision_tree,
    "sklearn.LogisticRegression": _linear,
    "xgboost.XGBClassifier": _xgboost,
}

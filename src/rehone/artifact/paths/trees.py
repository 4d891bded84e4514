"""Translate fitted trees into a LightGBM model that reads the raw columns, preprocessing included.

Every split of a fitted tree asks about one model column, and every model column is a function of
one raw column. So a split can be asked of the raw column itself: of a number by moving the
threshold to the largest number that still goes left, of a category by listing the codes that do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehone.artifact.paths.columns import Column, Floats, NotTranslatable

MOST_SPLITS = 100_000
"""Larger forests stay as they are: their text would take a second to read at every start."""

LARGEST = 1e30
"""No number in an encoded matrix is larger; a threshold beyond it decides by missing or not."""

SMALLEST = 1e-305
"""A number nearer to zero than this counts as zero; floats end at 5e-324."""

_TINY = 1.0000000180025095e-35  # LightGBM takes smaller numbers for zero
_MAGNIFIED = 2.0**900  # exact, and no number up to LARGEST overflows
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_NAN = 1, 2, 2 << 2
_ZERO_IS_MISSING, _NAN_IS_MISSING = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Splits of all trees one after the other, as LightGBM numbers them within each tree.

    A child c >= 0 is a split of the same tree, a negative one the leaf ~c. `starts` are the first
    splits of each tree and the end; `leaves` the values of each tree. `bits` holds the codes that
    go left for a categorical split. `factors` are what each raw column is multiplied by first.
    """

    feature: NDArray[np.int64]
    threshold: Floats
    decision: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    starts: NDArray[np.int64]
    leaves: tuple[Sequence[Any], ...]
    bits: dict[int, NDArray[np.uint32]]
    factors: Floats
    header: str = ""


def gathered(parts: Sequence[tuple[Any, ...]], header: str = "") -> Trees:
    """Put trees of (feature, threshold, decision, left, right, leaves) into one."""
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    joined = [np.concatenate([np.asarray(part[i]) for part in parts]) for i in range(5)]
    whole = [joined[i].astype(np.int64) for i in (0, 2, 3, 4)]
    leaves = tuple(part[5] for part in parts)
    threshold = joined[1].astype(np.float64)
    return Trees(whole[0], threshold, whole[1], whole[2], whole[3], starts, leaves, {}, np.empty(0), header)


def of_hist_gradient_boosting(model: Any) -> Trees:
    """Return the trees of a fitted HistGradientBoostingClassifier, its baseline as the first."""
    if model.is_categorical_ is not None or model.n_trees_per_iteration_ != 1:
        raise NotTranslatable("categorical splits")
    parts: list[tuple[Any, ...]] = [_single_leaf(float(model._baseline_prediction.item()))]
    for (predictor,) in model._predictors:
        nodes = predictor.nodes
        is_leaf = nodes["is_leaf"].astype(bool)
        inner = nodes[~is_leaf]
        left, right = _children(is_leaf, inner["left"], inner["right"])
        decision = _MISSING_NAN + _DEFAULT_LEFT * inner["missing_go_to_left"].astype(np.int64)
        leaves = nodes["value"][is_leaf].tolist()
        parts.append((inner["feature_idx"], inner["num_threshold"], decision, left, right, leaves))
    return gathered(parts)


def of_sklearn_trees(trees: Sequence[Any], values: Sequence[Floats], first: float | None = None) -> Trees:
    """Return scikit-learn's trees, with the value of every node of each, after a single leaf `first`."""
    parts: list[tuple[Any, ...]] = [] if first is None else [_single_leaf(first)]
    for tree, value in zip(trees, values, strict=True):
        is_leaf = tree.children_left < 0
        inner = ~is_leaf
        left, right = _children(is_leaf, tree.children_left[inner], tree.children_right[inner])
        decision = _MISSING_NAN + _DEFAULT_LEFT * tree.missing_go_to_left[inner].astype(np.int64)
        parts.append((tree.feature[inner], tree.threshold[inner], decision, left, right, value[is_leaf].tolist()))
    return gathered(parts)


def of_lightgbm(text: str) -> Trees:
    """Return the trees of a LightGBM model's text; its leaf values stay the words that they are."""
    header, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    parts = [_of_lightgbm_tree(dict(re.findall(r"^(\w+)=(.*)$", block, re.MULTILINE))) for block in blocks]
    if not parts:
        raise NotTranslatable("no trees")
    kept = [line for line in header.splitlines() if not line.startswith(_REWRITTEN)]
    return gathered(parts, "\n".join(kept))


def splits_of_xgboost(booster: Any) -> dict[int, Floats]:
    """Return the thresholds at which a booster's trees split each of its columns."""
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"].get("model", {})
    if "trees" not in model:
        raise NotTranslatable("a booster without trees of its own")
    column, threshold = [], []
    for tree in model["trees"]:
        inner = np.asarray(tree["left_children"]) != -1
        column.append(np.asarray(tree["split_indices"], dtype=np.int64)[inner])
        threshold.append(np.asarray(tree["split_conditions"], dtype=np.float64)[inner])
    columns, thresholds = np.concatenate(column), np.concatenate(threshold)
    return {number: thresholds[columns == number] for number in np.unique(columns).tolist()}


def on_raw_columns(trees: Trees, columns: Sequence[Column], width: int, *, single: bool) -> Trees:
    """Return the same trees with splits of the `width` raw columns.

    `single` says that the model rounds what it reads to float32 first.

    Raises:
        NotTranslatable: a split treats missing values in a way that is lost with the preprocessing.
    """
    moved = _numbers_moved(trees, columns, single=single)
    for number in np.unique(trees.feature).tolist():
        if columns[number].table is not None:
            _codes_listed(moved, np.flatnonzero(trees.feature == number), columns[number], single=single)
    sources = np.array([column.source for column in columns])
    moved = replace(moved, feature=sources[trees.feature], factors=np.ones(width))
    return _magnified(moved, trees, columns, single=single)


def text_of(trees: Trees, width: int) -> str:
    """Write the trees as a LightGBM model of `width` columns."""
    names = " ".join(f"c{i}" for i in range(width))
    header = trees.header or "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0"
    infos = " ".join(["[-1e308:1e308]"] * width)
    head = f"{header}\nmax_feature_idx={width - 1}\nfeature_names={names}\nfeature_infos={infos}\n"
    return "\n".join([head, *_tree_texts(trees), "end of trees\n"])


_REWRITTEN = ("max_feature_idx=", "feature_names=", "feature_infos=", "tree_sizes=", "monotone_constraints=")


def _single_leaf(value: float) -> tuple[Any, ...]:
    nothing = np.empty(0, dtype=np.int64)
    return (nothing, np.empty(0), nothing, nothing, nothing, [value])


def _children(is_leaf: NDArray[np.bool_], left: Any, right: Any) -> tuple[Any, Any]:
    """Return the children of the inner nodes as LightGBM numbers them."""
    numbers = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    return numbers[left], numbers[right]


def _of_lightgbm_tree(said: dict[str, str]) -> tuple[Any, ...]:
    if said["num_cat"] != "0" or said.get("is_linear", "0") != "0":
        raise NotTranslatable("categorical splits or linear leaves")
    leaves = said["leaf_value"].split()
    if len(leaves) < 2:
        return (*_single_leaf(0.0)[:5], leaves)
    whole = [np.array(said[name].split(), dtype=np.int64) for name in ("split_feature", "decision_type")]
    children = [np.array(said[name].split(), dtype=np.int64) for name in ("left_child", "right_child")]
    return (whole[0], np.array(said["threshold"].split(), dtype=np.float64), whole[1], *children, leaves)


# --- a split of the raw column -----------------------------------------------------------------


def _numbers_moved(trees: Trees, columns: Sequence[Column], *, single: bool) -> Trees:
    """Return the trees with thresholds of the raw numbers; splits of columns with a table stay."""
    changed = np.array([column.table is None and (single or not column.plain) for column in columns])
    at = np.flatnonzero(changed[trees.feature])
    threshold, decision = trees.threshold.copy(), trees.decision.copy()
    if len(at):
        fill, mean, scale = _of_splits(columns, trees.feature[at])
        missing = decision[at] >> 2
        if (missing == _ZERO_IS_MISSING).any() or (np.isnan(fill) & (missing != _NAN_IS_MISSING)).any():
            raise NotTranslatable("zero or nothing in place of a missing value")
        flush = bool(trees.header)
        limit = threshold[at]

        def goes_left(raw: Floats) -> Any:
            return _read(raw, mean, scale, single=single, flush=flush) <= limit

        threshold[at] = _largest(goes_left, len(at))
        filled = np.where(np.isnan(fill), decision[at] & _DEFAULT_LEFT, goes_left(fill) * _DEFAULT_LEFT)
        decision[at] = _MISSING_NAN + filled
    return replace(trees, threshold=threshold, decision=decision, left=trees.left.copy(), right=trees.right.copy())


def _of_splits(columns: Sequence[Column], features: Any) -> tuple[Floats, Floats, Floats]:
    fills = np.array([np.nan if column.fill is None else column.fill for column in columns])
    means, scales = np.array([column.mean for column in columns]), np.array([column.scale for column in columns])
    return fills[features], means[features], scales[features]


def _read(raw: Floats, mean: Any, scale: Any, *, single: bool, flush: bool) -> Any:
    """Return what the model compares: scaled, as float32 (`single`) or with tiny numbers as zero (`flush`)."""
    with np.errstate(over="ignore"):
        value = (raw - mean) / scale
        if single:
            value = value.astype(np.float32).astype(np.float64)
    return np.where(np.abs(value) <= _TINY, 0.0, value) if flush else value


def _largest(goes_left: Any, n: int) -> Floats:
    """Return for each of n splits the largest number that goes left, by bisection over all floats.

    Where every number up to LARGEST goes left it is +inf, where none does -inf.
    """
    top = int(np.float64(LARGEST).view(np.int64))
    low, high = np.full(n, -top), np.full(n, top)
    for _ in range(64):
        middle = (low | high) - ((low ^ high) >> 1)  # the mean, rounded up, without overflow
        left = goes_left(_float_at(middle))
        low, high = np.where(left, middle, low), np.where(left, high, np.maximum(middle - 1, low))
    found = np.where(goes_left(np.full(n, LARGEST)), np.inf, _float_at(low))
    return np.where(goes_left(np.full(n, -LARGEST)), found, -np.inf)


def _float_at(place: NDArray[np.int64]) -> Floats:
    """Return the float at a place in the order of all floats; zero is at 0."""
    return np.where(place < 0, -1.0, 1.0) * np.abs(place).view(np.float64)


def _codes_listed(trees: Trees, at: NDArray[np.intp], column: Column, *, single: bool) -> None:
    """Make the splits `at` categorical: the codes on one side; missing always goes right."""
    table = column.table
    assert table is not None  # noqa: S101  the caller asked
    value = _read(table, 0.0, 1.0, single=single, flush=bool(trees.header))
    left = _left(value, trees.threshold[at], trees.decision[at])
    turned = at[left[:, -1]]
    left[left[:, -1]] ^= True
    trees.left[turned], trees.right[turned] = trees.right[turned], trees.left[turned]
    trees.decision[at] = _CATEGORICAL | _MISSING_NAN
    codes = np.zeros((len(at), -(-(len(table) - 1) // 32) * 32), dtype=bool)
    codes[:, : len(table) - 1] = left[:, :-1]
    words = np.packbits(codes, axis=1, bitorder="little").view("<u4")
    trees.bits.update(zip(at.tolist(), words, strict=True))


def _left(value: Floats, threshold: Floats, decision: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say where each value goes at each split, shape (splits, values), as LightGBM decides."""
    zero = (decision >> 2 == _ZERO_IS_MISSING)[:, None] & (np.abs(value) <= _TINY)[None, :]
    default = (decision & _DEFAULT_LEFT).astype(bool)[:, None]
    return np.where(zero, default, value[None, :] <= threshold[:, None])


def _magnified(moved: Trees, trees: Trees, columns: Sequence[Column], *, single: bool) -> Trees:
    """Multiply raw columns with a threshold near zero by a power of two.

    LightGBM takes numbers below 1e-35 for zero. Other models do not, and where a threshold lies
    that near to zero the difference could show.
    """
    numeric = moved.decision & _CATEGORICAL == 0
    native = np.array([bool(trees.header) and column.plain and not single for column in columns])
    near = numeric & (np.abs(moved.threshold) <= _TINY) & ~native[trees.feature]
    factors = np.ones_like(moved.factors)
    factors[np.unique(moved.feature[near])] = _MAGNIFIED
    with np.errstate(over="ignore"):
        threshold = np.where(numeric, moved.threshold * factors[moved.feature], moved.threshold)
    return replace(moved, threshold=np.clip(threshold, -1.7e308, 1.7e308), factors=factors)


# --- text --------------------------------------------------------------------------------------


def _tree_texts(trees: Trees) -> Iterator[str]:
    feature, decision = _words(trees.feature), _words(trees.decision)
    left, right = _words(trees.left), _words(trees.right)
    threshold = _words(trees.threshold)
    for number, leaves in enumerate(trees.leaves):
        start, end = int(trees.starts[number]), int(trees.starts[number + 1])
        part = slice(start, end)
        bits = [trees.bits[i] for i in range(start, end) if i in trees.bits] if trees.bits else []
        said = threshold[part]
        lines = [f"Tree={number}", f"num_leaves={len(leaves)}", f"num_cat={len(bits)}"]
        lines.append("leaf_value=" + " ".join(map(_word, leaves)))
        if len(leaves) > 1:
            if bits:
                places = iter(range(len(bits)))
                said = [str(next(places)) if start + i in trees.bits else word for i, word in enumerate(said)]
                lines += ["cat_boundaries=" + " ".join(_words(np.cumsum([0, *map(len, bits)])))]
                lines += ["cat_threshold=" + " ".join(_words(np.concatenate(bits)))]
            lines += ["split_feature=" + " ".join(feature[part]), "threshold=" + " ".join(said)]
            lines += ["decision_type=" + " ".join(decision[part])]
            lines += ["left_child=" + " ".join(left[part]), "right_child=" + " ".join(right[part])]
        yield "\n".join([*lines, "is_linear=0", "shrinkage=1", "\n"])


def _words(values: Any) -> list[str]:
    return list(map(repr, values.tolist()))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)

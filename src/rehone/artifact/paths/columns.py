"""Read a fitted preprocessor as what it is: one plain function of one raw column for each model column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rehone.records import Contract, FeatureKind

Floats: TypeAlias = NDArray[np.float64]


class NotTranslatable(Exception):
    """A part of the pipeline is of a kind, or fitted in a way, that only its own code can run."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """How one column that the model reads comes from one column of the encoded matrix.

    A number is filled where missing (`fill`, None leaves it missing), then (x - mean) / scale.
    With a `table` the raw column holds codes 0..n: the entry of its code, the last entry for NaN.
    """

    source: int
    fill: float | None = None
    mean: float = 0.0
    scale: float = 1.0
    table: Floats | None = None

    @property
    def plain(self) -> bool:
        """Whether the model reads the raw column as it is."""
        return self.table is None and self.fill is None and self.mean == 0.0 and self.scale == 1.0


def read_columns(preprocess: Any, contract: Contract) -> tuple[Column, ...]:
    """Return the model's columns in order.

    Raises:
        NotTranslatable: a transformer is none of those that training builds.
    """
    _expect(type(preprocess).__name__ == "ColumnTransformer", preprocess)
    _expect(preprocess.transformer_weights is None, preprocess)
    codes = [len(f.categories) if f.kind is FeatureKind.CATEGORICAL else None for f in contract.features]
    columns: list[Column] = []
    for _, transformer, places in preprocess.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        _expect(isinstance(places, list) and all(type(place) is int for place in places), transformer)
        columns += _of(transformer, places, codes)
    _expect(bool(columns), preprocess)
    return tuple(columns)


def check_shape(matrix: Floats, width: int) -> None:
    """Raise ValueError unless the matrix has `width` columns; array operations would stretch one."""
    if matrix.ndim != 2 or matrix.shape[1] != width:
        raise ValueError(f"the matrix has shape {matrix.shape}, the model reads {width} columns")


def _of(transformer: Any, places: Sequence[int], codes: Sequence[int | None]) -> list[Column]:
    if isinstance(transformer, str):
        _expect(transformer == "passthrough", transformer)
        return [Column(place) for place in places]
    if type(transformer).__name__ == "Pipeline":
        (first, *rest) = [step for _, step in transformer.steps]
        columns = _of(first, places, codes)
        for step in rest:
            columns = _scaled(step, columns)
        return columns
    reader = _READERS.get(type(transformer).__name__)
    if reader is None:
        raise NotTranslatable(type(transformer).__name__)
    return list(reader(transformer, places, codes))


def _unchanged(transformer: Any, places: Sequence[int], codes: Sequence[int | None]) -> Iterator[Column]:  # noqa: ARG001
    _expect(transformer.func is None, transformer)
    return (Column(place) for place in places)


def _imputed(imputer: Any, places: Sequence[int], codes: Sequence[int | None]) -> Iterator[Column]:  # noqa: ARG001
    fills = np.asarray(imputer.statistics_, dtype=np.float64)
    _expect(bool(np.isnan(imputer.missing_values)) and not imputer.add_indicator, imputer)
    _expect(len(fills) == len(places) and bool(np.isfinite(fills).all()), imputer)
    return (Column(place, fill=fill) for place, fill in zip(places, fills.tolist(), strict=True))


def _scaled(scaler: Any, columns: Sequence[Column]) -> list[Column]:
    _expect(type(scaler).__name__ == "StandardScaler" and all(c.table is None for c in columns), scaler)
    n = len(columns)
    means = np.zeros(n) if scaler.mean_ is None or not scaler.with_mean else scaler.mean_
    scales = np.ones(n) if scaler.scale_ is None else scaler.scale_
    _expect(bool(np.isfinite(means).all()) and bool((scales > 0).all()), scaler)
    _expect(all(c.mean == 0.0 and c.scale == 1.0 for c in columns), scaler)
    both = zip(columns, means.tolist(), scales.tolist(), strict=True)
    return [replace(column, mean=mean, scale=scale) for column, mean, scale in both]


def _one_hot(encoder: Any, places: Sequence[int], codes: Sequence[int | None]) -> Iterator[Column]:
    _expect(encoder.handle_unknown == "ignore" and encoder.drop_idx_ is None, encoder)
    _expect(encoder.min_frequency is None and encoder.max_categories is None, encoder)
    for place, values in zip(places, encoder.categories_, strict=True):
        for value in values.tolist():
            table = _filled(0.0, codes[place])
            table[_slots(np.array([value]), table)] = 1.0
            yield Column(place, table=table)


def _mean_label(encoder: Any, places: Sequence[int], codes: Sequence[int | None]) -> Iterator[Column]:
    _expect(encoder.target_type_ == "binary", encoder)
    for place, values, means in zip(places, encoder.categories_, encoder.encodings_, strict=True):
        table = _filled(float(encoder.target_mean_), codes[place])
        table[_slots(values, table)] = means
        yield Column(place, table=table)


def _filled(value: float, codes: int | None) -> Floats:
    """Return a table for `codes` categories, the unseen code and NaN."""
    if codes is None:
        raise NotTranslatable("categories of a column without codes")
    return np.full(codes + 2, value)


def _slots(values: Any, table: Floats) -> NDArray[np.intp]:
    numbers = np.asarray(values, dtype=np.float64)
    places = np.where(np.isnan(numbers), len(table) - 1, numbers)
    slots = places.astype(np.intp)
    _expect(bool((slots == places).all() and (slots >= 0).all() and (slots < len(table)).all()), values)
    return slots


def _expect(understood: bool, part: Any) -> None:
    if not understood:
        raise NotTranslatable(type(part).__name__)


_READERS: dict[str, Callable[[Any, Sequence[int], Sequence[int | None]], Iterator[Column]]] = {
    "FunctionTransformer": _unchanged,
    "SimpleImputer": _imputed,
    "OneHotEncoder": _one_hot,
    "TargetEncoder": _mean_label,
}

"""Turn any table of named columns into the float matrix that a model was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.columns import as_text, text_of
from rehone.errors import ContractError
from rehone.records import Contract, Feature, FeatureKind

Rows: TypeAlias = pl.DataFrame | Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] | Any
"""A Polars or pandas frame, columns by name, or a list of rows by name."""

LARGEST = 1e30
"""Numbers are clipped to this size, which float32 arithmetic inside a model still holds."""

MAX_CATEGORIES = 10_000
"""A categorical feature keeps this many values, the most frequent; the rest count as unseen."""

_CHUNK = 1 << 18
_MISSING = "column {!r} is missing: give it, with null where it is not known"
_TEXT = (pl.String, pl.Categorical, pl.Enum)


def learn_contract(
    frame: pl.DataFrame, features: Sequence[str], *, label: str, categorical: Sequence[str] = ()
) -> Contract:
    """Write down which columns a model reads, of which kind, and the categories it knows.

    Categories are sorted, so that the same values give the same codes in every run.

    Raises:
        ContractError: a feature is missing or of a type that cannot be learned from; all are listed.
    """
    problems: list[str] = []
    learned: list[Feature] = []
    for name in features:
        if name not in frame.columns:
            problems.append(f"{name!r} is not a column: correct data.features")
            continue
        kind = _kind(frame.schema[name], listed=name in categorical)
        if kind is None:
            problems.append(f"{name!r} is {frame.schema[name]}, which no model can read: add it to data.exclude")
            continue
        values = _categories(frame, name) if kind is FeatureKind.CATEGORICAL else ()
        learned.append(Feature(name, kind, values))
    _raise(problems)
    return Contract(features=tuple(learned), label=label)


def encode(frame: pl.DataFrame, contract: Contract) -> NDArray[np.float64]:
    """Return the model's matrix, one row per row and one float64 column per feature.

    Numbers stay numbers (infinite becomes NaN, size is clipped to 1e30), a boolean is 0 or 1,
    a category is its index in the contract, an unseen one the next index after the last, and
    null is NaN everywhere.

    Raises:
        ContractError: a column is missing or of another type; all are listed.
    """
    _raise(list(_frame_problems(frame, contract)))
    columns = [_number(feature, frame.schema[feature.name]) for feature in contract.features]
    matrix = np.empty((frame.height, len(columns)), dtype=np.float64)
    for start in range(0, frame.height, _CHUNK):
        part = frame.slice(start, _CHUNK).select(columns)
        matrix[start : start + part.height] = part.to_numpy()
    return matrix


def frame_of(rows: Rows, contract: Contract) -> pl.DataFrame:
    """Return the contract's columns of any table, in order; other columns are left out.

    Takes a Polars or pandas frame, a mapping of columns, or a sequence of mappings. A value
    that is not known is given as None (or NaN); leaving it out is an error, since a missing
    name is more often a fault than a fact.

    Raises:
        ContractError: columns are missing, of unequal length or of another type; all are listed.
    """
    if isinstance(rows, pl.DataFrame):
        frame: pl.DataFrame = rows.select([name for name in contract.names if name in rows.columns])
    else:
        frame = _built(rows, contract)
    _raise(list(_frame_problems(frame, contract)))
    return frame


# --- kinds and categories --------------------------------------------------------------------


def _kind(dtype: pl.DataType, *, listed: bool) -> FeatureKind | None:
    if dtype in _TEXT:
        return FeatureKind.CATEGORICAL
    if dtype == pl.Boolean:
        return FeatureKind.CATEGORICAL if listed else FeatureKind.BOOLEAN
    if dtype.is_numeric() or dtype == pl.Null:
        return FeatureKind.CATEGORICAL if listed else FeatureKind.NUMERIC
    return None


def _categories(frame: pl.DataFrame, name: str) -> tuple[str, ...]:
    values = frame.lazy().select(value=as_text(name, frame.schema[name])).drop_nulls()
    counted = values.group_by("value").len().sort(["len", "value"], descending=[True, False]).head(MAX_CATEGORIES)
    return tuple(sorted(counted.collect().get_column("value").to_list()))


def _number(feature: Feature, dtype: pl.DataType) -> pl.Expr:
    name = feature.name
    if feature.kind is FeatureKind.CATEGORICAL:
        known = list(feature.categories)
        text = as_text(name, dtype)
        codes = [float(code) for code in range(len(known))]
        code = text.replace_strict(known, codes, default=float(len(known)), return_dtype=pl.Float64)
        return pl.when(text.is_not_null()).then(code).alias(name)
    number = pl.col(name).cast(pl.Float64)
    return pl.when(number.is_finite()).then(number.clip(-LARGEST, LARGEST)).alias(name)


# --- what is wrong with a table --------------------------------------------------------------


def _raise(problems: list[str]) -> None:
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ContractError("\n".join([f"the rows do not fit the model: {count}", *(f"  {p}" for p in problems)]))


def _frame_problems(frame: pl.DataFrame, contract: Contract) -> Iterator[str]:
    for feature in contract.features:
        if feature.name not in frame.columns:
            yield _MISSING.format(feature.name)
        elif problem := _type_problem(frame.get_column(feature.name), feature):
            yield problem


def _type_problem(column: pl.Series, feature: Feature) -> str | None:
    dtype = column.dtype
    fits = dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)
    if feature.kind is FeatureKind.CATEGORICAL:
        fits = fits or dtype in _TEXT
    if not fits:
        return f"column {feature.name!r} is {dtype}{_example(column)}, the model was trained on {_wanted(feature)}: convert it"
    if feature.kind is FeatureKind.BOOLEAN and dtype.is_numeric():
        strange = column.filter((column != 0) & (column != 1) & column.cast(pl.Float64).is_not_nan())
        if strange.len():
            return f"column {feature.name!r} holds {strange[0]!r}, the model was trained on true or false: give true, false or null"
    return None


def _wanted(feature: Feature) -> str:
    return {
        FeatureKind.NUMERIC: "numbers",
        FeatureKind.BOOLEAN: "true or false",
        FeatureKind.CATEGORICAL: "categories (text or whole numbers)",
    }[feature.kind]


def _example(column: pl.Series) -> str:
    known = column.drop_nulls()
    return f" (for example {known[0]!r})" if known.len() else ""


# --- building a frame from plain Python ------------------------------------------------------


def _built(rows: Any, contract: Contract) -> pl.DataFrame:
    columns, problems = _columns_of(rows, contract)
    built: list[pl.Series] = []
    for feature in contract.features:
        if feature.name not in columns:
            continue
        try:
            built.append(_series(feature, columns[feature.name]))
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            problems.append(_unreadable(feature, columns[feature.name]))
    lengths = {series.name: series.len() for series in built}
    if len(set(lengths.values())) > 1:
        problems.append(f"columns have unequal lengths {lengths}: give one value per row in each")
    if problems:
        problems += [_MISSING.format(name) for name in contract.names if name not in columns]
    _raise(problems)
    return pl.DataFrame(built)


def _columns_of(rows: Any, contract: Contract) -> tuple[dict[str, Any], list[str]]:
    """Return the columns that the contract names, and what is wrong with rows that lack some."""
    if isinstance(rows, Mapping):
        return {name: rows[name] for name in contract.names if name in rows}, []
    if hasattr(rows, "columns") and hasattr(rows, "iloc"):
        return {name: _pandas_values(rows[name]) for name in contract.names if name in rows.columns}, []
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise ContractError(
            f"rows are {type(rows).__name__}: give a Polars or pandas frame, a mapping of columns or a list of mappings"
        )
    strange = next((i for i, row in enumerate(rows) if not isinstance(row, Mapping)), None)
    if strange is not None:
        raise ContractError(f"row {strange} is {type(rows[strange]).__name__}: give each row as a mapping of names")
    problems = []
    for name in contract.names:
        lacking = [i for i, row in enumerate(rows) if name not in row]
        if lacking:
            which = f"row {lacking[0]}" if len(lacking) == 1 else f"{len(lacking)} rows, the first is row {lacking[0]}"
            problems.append(f"{name!r} is missing in {which}: give it, with null where it is not known")
    return {name: [row.get(name) for row in rows] for name in contract.names}, problems


def _pandas_values(column: Any) -> Any:
    if column.dtype.kind in "fiub":
        return column.to_numpy()
    values = column.astype(object)
    return values.where(values.notna(), None).tolist()


def _series(feature: Feature, values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values.alias(feature.name)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return pl.Series(feature.name, values)
    return _READERS[feature.kind](feature.name, list(values))


def _numbers(name: str, values: list[Any]) -> pl.Series:
    return pl.Series(name, [_as_float(v) for v in values], dtype=pl.Float64)


def _as_float(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool | int | float | Decimal | np.number | np.bool_):
        return float(value)
    raise TypeError(type(value).__name__)


def _booleans(name: str, values: list[Any]) -> pl.Series:
    return _numbers(name, values)


def _words(name: str, values: list[Any]) -> pl.Series:
    return pl.Series(name, [_as_text(v) for v in values], dtype=pl.String)


def _as_text(value: Any) -> str | None:
    return text_of(value.item() if isinstance(value, np.generic) else value)


_READERS: dict[FeatureKind, Callable[[str, list[Any]], pl.Series]] = {
    FeatureKind.NUMERIC: _numbers,
    FeatureKind.BOOLEAN: _booleans,
    FeatureKind.CATEGORICAL: _words,
}


def _unreadable(feature: Feature, values: Any) -> str:
    read = _as_text if feature.kind is FeatureKind.CATEGORICAL else _as_float
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        return f"column {feature.name!r} is {values!r}: give a sequence with one value per row"
    for row, value in enumerate(values):
        try:
            read(value)
        except (TypeError, ValueError, OverflowError):
            return (
                f"column {feature.name!r} holds {value!r} in row {row}, the model was trained on {_wanted(feature)}: "
                "convert it"
            )
    return f"column {feature.name!r} cannot be read: the model was trained on {_wanted(feature)}"

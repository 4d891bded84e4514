"""Compare the columns of all files before any row is read, and agree on one type for each."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from rehone.config import Data
from rehone.data.files import READ_ERRORS, FileInfo, has_date
from rehone.data.times import INSTANT, TIME, instant, is_time
from rehone.errors import DataError
from rehone.records import Check, CheckStatus, FeatureKind

_NAMED_FILES = 12
_CLOCKS = {"year", "month", "day", "date", "dt", "hour"}


@dataclass(frozen=True, slots=True)
class Agreed:
    """One type for each column, the files that hold it, and what was found on the way."""

    columns: Mapping[str, pl.DataType]
    features: tuple[str, ...]
    findings: tuple[Check, ...]


def family(dtype: pl.DataType) -> str:
    """Name what may be unified without loss of meaning."""
    if dtype.is_numeric():
        return "number"
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "text"
    if dtype.is_temporal():
        return "time"
    return "nothing" if isinstance(dtype, pl.Null) else str(dtype)


def kind_of(name: str, dtype: pl.DataType, categorical: Sequence[str]) -> FeatureKind | None:
    """Say how a column would be used as a feature; `None` when it cannot be one."""
    if isinstance(dtype, pl.Boolean):
        return FeatureKind.BOOLEAN
    if family(dtype) == "text" or (name in categorical and family(dtype) in ("number", "nothing")):
        return FeatureKind.CATEGORICAL
    return FeatureKind.NUMERIC if family(dtype) in ("number", "nothing") else None


def agree(files: Sequence[FileInfo], policy: Data) -> Agreed:
    """Find each column's type over all files, and name every file that differs.

    Widths of one family are widened. A column without any value in a file agrees with any
    type. Otherwise the type of most files is taken, and the others are findings.
    """
    filled = [f for f in files if f.rows] or list(files)
    types = _types(filled)
    columns: dict[str, pl.DataType] = {}
    odd: dict[str, dict[str, list[str]]] = {}
    for name, by_file in types.items():
        columns[name], odd[name] = _majority(name, by_file, filled, policy)
    present = {name: len(types[name]) for name in columns}
    partitions = {n: t for n, t in _partition_types(files).items() if n not in columns}
    features = _features(columns | _no_clocks(partitions, files), present, len(filled), policy)
    known = (policy.label_time_column,) if policy.label_time_column else ()
    used = {*features, *known, policy.label, policy.time_column}
    found = [
        *_differing(odd, columns, len(filled), used),
        *_absent(types, filled, (*features, *known)),
        *_left_out(columns, present, len(filled), policy),
    ]
    return Agreed(columns | partitions, features, tuple(found))


def reserved(policy: Data) -> set[str]:
    """Name the columns that have a role of their own and are no features."""
    roles = (
        policy.label,
        policy.time_column,
        policy.id_column,
        policy.entity_column,
        policy.score_column,
        policy.label_due_column,
        policy.label_time_column,
    )
    return {role for role in roles if role}


def unify(name: str, stored: pl.DataType, agreed: pl.DataType, policy: Data) -> pl.Expr:
    """Read a stored column as the agreed type; a value that does not fit is null."""
    if name in (policy.label_due_column, policy.label_time_column) and is_time(stored):
        return instant(name, stored, policy.timezone).alias(name)
    column = pl.col(name)
    if stored == agreed:
        return column
    pair = (family(stored), family(agreed))
    if name in policy.categorical and stored.is_float():
        column = _code(column)
    if pair == ("text", "Boolean"):
        text = column.cast(pl.String).str.to_lowercase()
        return text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean).alias(name)
    if pair[0] != pair[1] and not set(pair) <= {"number", "text", "Boolean", "nothing"}:
        return pl.lit(None, dtype=agreed).alias(name)
    return column.cast(agreed, strict=False)


def _code(column: pl.Expr) -> pl.Expr:
    """Write a code that became a float (a column of integers with nulls does) as an integer."""
    whole = column.is_finite() & (column == column.floor())
    text = pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
    return pl.when(column.is_not_nan()).then(text)


def _types(files: Sequence[FileInfo]) -> dict[str, dict[str, pl.DataType]]:
    types: dict[str, dict[str, pl.DataType]] = {}
    for file in files:
        for name, dtype in file.schema.items():
            types.setdefault(name, {})[file.path] = dtype
    return types


def _majority(
    name: str, by_file: Mapping[str, pl.DataType], files: Sequence[FileInfo], policy: Data
) -> tuple[pl.DataType, dict[str, list[str]]]:
    """Return the agreed type, and the files whose type is of another family, by that type."""
    if name == policy.label_due_column:
        return INSTANT, {}
    if name == policy.label_time_column:
        return INSTANT, _no_times(by_file)
    if name in policy.categorical:
        return pl.String(), {}
    kinds = {path: family(dtype) for path, dtype in by_file.items() if family(dtype) != "nothing"}
    if not kinds:
        return pl.Float64(), {}
    chosen = Counter(kinds.values()).most_common(1)[0][0]
    agreed = _widest([by_file[path] for path, kind in kinds.items() if kind == chosen], chosen)
    if name in (policy.time_column, policy.label):
        return agreed, {}
    others = {path for path, kind in kinds.items() if kind != chosen}
    odd: dict[str, list[str]] = {}
    for file in files:
        if file.path in others and not _is_harmless(file, name, agreed):
            odd.setdefault(str(by_file[file.path]), []).append(file.path)
    return agreed, odd


def _no_times(by_file: Mapping[str, pl.DataType]) -> dict[str, list[str]]:
    """Return the files, by type, in which a column holds values that are no times."""
    odd: dict[str, list[str]] = {}
    for path, dtype in by_file.items():
        if not is_time(dtype) and family(dtype) != "nothing":
            odd.setdefault(str(dtype), []).append(path)
    return odd


def _widest(types: Sequence[pl.DataType], kind: str) -> pl.DataType:
    distinct = set(types)
    if kind == "text":
        return pl.String()
    if len(distinct) == 1 and not types[0].is_decimal():
        return types[0]
    if kind == "number":
        signed = all(t.is_integer() for t in distinct) and pl.UInt64() not in distinct
        return pl.Int64() if signed else pl.Float64()
    return pl.Datetime("us") if kind == "time" else types[0]


def _is_harmless(file: FileInfo, name: str, agreed: pl.DataType) -> bool:
    """A column of another type is harmless when it holds no value, or when CSV text is meant."""
    if file.format != "parquet" and family(agreed) == "text":
        return True
    try:
        rows = file.scan().select(pl.col(name).count()).collect().item()
    except READ_ERRORS:
        return True  # the file itself is a finding: its times are read next
    return bool(rows == 0)


def _partition_types(files: Sequence[FileInfo]) -> dict[str, pl.DataType]:
    values: dict[str, set[str]] = {}
    for file in files:
        for key, value in file.partitions.items():
            values.setdefault(key, set()).update(() if value is None else (value,))
    return {key: _partition_type(found) for key, found in values.items()}


def _no_clocks(partitions: Mapping[str, pl.DataType], files: Sequence[FileInfo]) -> dict[str, pl.DataType]:
    """Leave out partition columns that only say when: a model would learn the calendar."""
    dated = {key for file in files for key, value in file.partitions.items() if value and has_date(value)}
    return {name: dtype for name, dtype in partitions.items() if name not in dated | _CLOCKS}


def _partition_type(values: set[str]) -> pl.DataType:
    if values and all(v.lstrip("-").isdigit() and str(int(v)) == v for v in values):
        return pl.Int64()
    return pl.String()


def _features(
    columns: Mapping[str, pl.DataType], present: Mapping[str, int], files: int, policy: Data
) -> tuple[str, ...]:
    if policy.features is not None:
        return tuple(name for name in policy.features if name not in policy.exclude)
    return tuple(
        name
        for name, dtype in columns.items()
        if _may_be_feature(name, policy)
        and kind_of(name, dtype, policy.categorical) is not None
        and 2 * present.get(name, files) >= files
    )


def _may_be_feature(name: str, policy: Data) -> bool:
    pandas_index = name.startswith("__index_level_")
    return name not in reserved(policy) and name not in policy.exclude and name != TIME and not pandas_index


def _differing(
    odd: Mapping[str, Mapping[str, Sequence[str]]],
    columns: Mapping[str, pl.DataType],
    files: int,
    used: set[str | None],
) -> Iterator[Check]:
    for name, by_type in odd.items():
        differing = sum(map(len, by_type.values()))
        for dtype, paths in by_type.items():
            yield Check(
                name="schema",
                subject=f"{name} in {paths[0]}",
                status=CheckStatus.ACT if name in used else CheckStatus.WARN,
                value=float(len(paths)),
                limit=0.0,
                n=files,
                detail=f"column {name!r} is {dtype} in {named(paths)}, but {columns[name]} in {files - differing} of {files} files",
                remedy=f"write {_them(paths)} again with {columns[name]}, or leave the column out with data.exclude",
            )


def _absent(
    types: Mapping[str, Mapping[str, pl.DataType]], files: Sequence[FileInfo], features: Sequence[str]
) -> Iterator[Check]:
    for name in features:
        paths = [f.path for f in files if name in types and f.path not in types[name]]
        if paths:
            yield Check(
                name="schema",
                subject=f"{name} in {paths[0]}",
                status=CheckStatus.ACT,
                value=float(len(paths)),
                limit=0.0,
                n=len(files),
                detail=f"column {name!r} is missing in {named(paths)}, but there in {len(files) - len(paths)} of {len(files)} files",
                remedy=f"write {_them(paths)} again with the column, or leave it out with data.exclude",
            )


def _left_out(
    columns: Mapping[str, pl.DataType], present: Mapping[str, int], files: int, policy: Data
) -> Iterator[Check]:
    for name, dtype in columns.items():
        if policy.features is not None or not _may_be_feature(name, policy):
            continue
        if kind_of(name, dtype, policy.categorical) is None:
            why = f"its type {dtype} is not numeric, boolean or text"
        elif 2 * present[name] < files:
            why = f"only {present[name]} of {files} files have it (need at least half)"
        else:
            continue
        yield Check(
            name="column_left_out",
            subject=name,
            status=CheckStatus.WARN,
            value=float(present[name]),
            n=files,
            detail=f"column {name!r} is not used as a feature: {why}",
            remedy="name it in data.exclude to say so, or list data.features",
        )


def named(paths: Sequence[str]) -> str:
    """Name files in a sentence: all when few, the ends of the list when many."""
    if len(paths) <= _NAMED_FILES:
        return ", ".join(paths)
    return f"{len(paths)} files from {paths[0]} to {paths[-1]}"


def _them(paths: Sequence[str]) -> str:
    return "that file" if len(paths) == 1 else "those files"


def need_label_times(policy: Data, columns: Mapping[str, pl.DataType], files: int) -> None:
    """Refuse a source that does not say when labels became known, where it is asked to.

    Raises:
        DataError: no file has the column.
    """
    name = policy.label_time_column
    if name is None or name in columns:
        return
    near = difflib.get_close_matches(name, columns, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(list(columns)[:20])}."
    raise DataError(
        f"label_time_column {name!r} is in none of {files} files: {hint} Correct it, or use label_delay_days"
    )

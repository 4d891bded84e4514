"""Turn answered requests into columns: who asked, what was answered, and the values that were sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from types import NoneType
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.columns import text_of
from rehone.records import Contract, Feature, FeatureKind

SERVED: Final[dict[str, pl.DataType]] = {
    "served_id": pl.String(),
    "served_at": pl.Datetime("us", "UTC"),
    "served_generation": pl.Int64(),
    "served_version": pl.String(),
    "served_score": pl.Float64(),
    "served_decision": pl.Boolean(),
    "served_ms": pl.Float32(),
}
"""The columns of every file, before the features. A feature named `served_…` is left out."""

PIECE: Final = 1024
"""Rows turned at a time, so that the interpreter is never held for more than about a millisecond."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One answered request.

    `rows` holds the raw values as they were sent (float, int, bool, str or None), in the order of
    `names`; `ids` and `scores` have one item per row; `at_ns` is unix time in nanoseconds,
    `seconds` how long the request took, and `size` how many bytes it had.
    """

    at_ns: int
    version: str
    generation: int | None
    contract: Contract
    names: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    ids: Sequence[str]
    scores: NDArray[np.float64]
    threshold: float
    seconds: float
    size: int = 0


def drawn(row_id: str, share: float) -> bool:
    """Say whether the row of this id is in a share of all rows, the same in every process."""
    digest = hashlib.blake2b(row_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < int(share * 2.0**64)


def logged_features(contract: Contract, columns: Sequence[str] | None) -> tuple[Feature, ...]:
    """Return the features that may be written."""
    return tuple(
        feature
        for feature in contract.features
        if not feature.name.startswith("served_") and (columns is None or feature.name in columns)
    )


def frame_of(entries: Sequence[Entry], features: Sequence[Feature], share: float) -> pl.DataFrame:
    """Return the drawn rows of entries that have the same contract and names, in their order.

    Raises:
        TypeError, ValueError, OverflowError, IndexError, KeyError, PolarsError: an entry is not
            what it should be.
    """
    pieces, waiting, rows = [], list[Entry](), 0
    for entry in entries:
        waiting.append(entry)
        rows += len(entry.ids)
        if rows >= PIECE:
            pieces.append(_piece(waiting, features, share))
            waiting, rows = [], 0
    if waiting:
        pieces.append(_piece(waiting, features, share))
    return pl.concat(pieces)


def _piece(entries: Sequence[Entry], features: Sequence[Feature], share: float) -> pl.DataFrame:
    sizes = [len(entry.ids) for entry in entries]
    if sizes != [len(entry.rows) for entry in entries] or sizes != [len(entry.scores) for entry in entries]:
        raise ValueError("a prediction has not one id, one row and one score for each other")
    scores = np.concatenate([np.asarray(entry.scores, dtype=np.float64) for entry in entries])
    thresholds = np.repeat([entry.threshold for entry in entries], sizes)
    served: list[Any] = [
        [row_id for entry in entries for row_id in entry.ids],
        np.repeat(np.array([entry.at_ns // 1000 for entry in entries], dtype=np.int64), sizes),
        [entry.generation for entry in entries for _ in entry.ids],
        [entry.version for entry in entries for _ in entry.ids],
        scores,
        scores >= thresholds,
        np.repeat(np.array([entry.seconds * 1e3 for entry in entries], dtype=np.float32), sizes),
    ]
    frame = pl.DataFrame([_served(name, values) for name, values in zip(SERVED, served, strict=True)])
    rows = [row for entry in entries for row in entry.rows]
    if share < 1:
        kept = [drawn(row_id, share) for row_id in served[0]]
        frame, rows = frame.filter(pl.Series(kept, dtype=pl.Boolean)), list(compress(rows, kept))
    places = {name: place for place, name in enumerate(entries[0].names)}
    columns = [_feature(feature, [row[places[feature.name]] for row in rows]) for feature in features]
    return frame.with_columns(columns)


def _served(name: str, values: Any) -> pl.Series:
    dtype = SERVED[name]
    return pl.Series(name, values).cast(dtype) if isinstance(values, np.ndarray) else pl.Series(name, values, dtype)


def _feature(feature: Feature, values: list[Any]) -> pl.Series:
    kind = feature.kind
    if not set(map(type, values)) <= _AS_THEY_ARE[kind]:
        read = _READ[kind]
        values = [None if value is None else read(value) for value in values]
    return pl.Series(feature.name, values, dtype=TYPES[kind])


TYPES: Final[dict[FeatureKind, pl.DataType]] = {
    FeatureKind.NUMERIC: pl.Float64(),
    FeatureKind.BOOLEAN: pl.Boolean(),
    FeatureKind.CATEGORICAL: pl.String(),
}

_AS_THEY_ARE: Final[dict[FeatureKind, set[type]]] = {
    FeatureKind.NUMERIC: {float, NoneType},
    FeatureKind.BOOLEAN: {bool, NoneType},
    FeatureKind.CATEGORICAL: {str, NoneType},
}

_READ: Final[dict[FeatureKind, Callable[[Any], Any]]] = {
    FeatureKind.NUMERIC: float,
    FeatureKind.BOOLEAN: bool,
    FeatureKind.CATEGORICAL: text_of,
}

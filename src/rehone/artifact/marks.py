"""Recognise a row by a fingerprint: the very row, or one that differs by small digits only."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehone.errors import Corrupt
from rehone.records import Contract, FeatureKind

NEAR_FILE = "near.npy"
DIGITS = 3
"""Significant digits of a number that two rows must share to be nearly the same."""


def fingerprints(
    frame: pl.DataFrame, contract: Contract, *, label: str, id_column: str | None = None
) -> NDArray[np.uint64]:
    """Return a 64-bit fingerprint of each row, equal for equal rows in every run and version.

    With `id_column` it is the fingerprint of the id; without, of the features' values and the
    label, and rows that merely look alike share one. It depends on the names of the features
    and the values of the row, not on the codes that a contract gave to categories.
    """
    if id_column is not None:
        return _mix(_value_bits(frame.get_column(id_column)))
    mixed = np.full(frame.height, np.uint64(len(contract.features)))
    for name in sorted(contract.names):
        mixed = _mix(mixed ^ _mix(_value_bits(frame.get_column(name)) ^ _text_bits(name)))
    return _mix(mixed ^ _mix(_value_bits(frame.get_column(label)) ^ _text_bits(label)))


def near_fingerprints(frame: pl.DataFrame, contract: Contract) -> NDArray[np.uint64]:
    """Return a 64-bit fingerprint of each row's features, with numbers rounded to three significant digits.

    Neither the id nor the label has a part in it: it finds rows that were booked twice, under
    another id or with a last digit changed. Two numbers on either side of a rounding edge differ.
    """
    mixed = np.full(frame.height, np.uint64(len(contract.features)))
    for feature in sorted(contract.features, key=lambda one: one.name):
        column = frame.get_column(feature.name)
        if feature.kind is FeatureKind.NUMERIC and column.dtype.is_numeric():
            column = _rounded(column)
        mixed = _mix(mixed ^ _mix(_value_bits(column) ^ _text_bits(feature.name)))
    return _mix(mixed)


def pack_near(found: NDArray[np.uint64]) -> bytes:
    """Return near fingerprints as the bytes of a file, sorted, each once."""
    buffer = io.BytesIO()
    np.save(buffer, np.unique(np.asarray(found, dtype=np.uint64)), allow_pickle=False)
    return buffer.getvalue()


def read_near(files: Mapping[str, bytes]) -> NDArray[np.uint64] | None:
    """Return the near fingerprints of a version's training rows, or None when they were not kept.

    Raises:
        Corrupt: the file is not an array of them.
    """
    if NEAR_FILE not in files:
        return None
    try:
        found: NDArray[np.uint64] = np.load(io.BytesIO(files[NEAR_FILE]), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise Corrupt(f"{NEAR_FILE} cannot be read ({error}): publish the version again") from error
    if found.dtype != np.uint64 or found.ndim != 1:
        raise Corrupt(f"{NEAR_FILE} holds {found.dtype} of shape {found.shape}: publish the version again")
    return found


def _rounded(column: pl.Series) -> pl.Series:
    values = column.cast(pl.Float64).fill_nan(None)
    known = values.fill_null(0.0).to_numpy()
    size = np.where((known == 0) | ~np.isfinite(known), 1.0, np.abs(known))
    unit = np.power(10.0, np.floor(np.log10(size)) - (DIGITS - 1))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # The digits themselves are the fingerprint, beside their place: a product would round again.
        digits = np.where(np.isfinite(known / unit), np.round(known / unit), known)
        carried = np.abs(digits) >= 10**DIGITS
        digits, unit = np.where(carried, digits / 10, digits), np.where(carried, unit * 10, unit)
    place = np.round(np.log10(unit))
    rounded = pl.Series(column.name, digits + place * 10.0 ** (DIGITS + 1))
    return pl.select(pl.when(values.is_not_null()).then(rounded)).to_series()


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words: the finalizer of splitmix64 (Steele, Lea and Flood, 2014)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _value_bits(column: pl.Series) -> NDArray[np.uint64]:
    if column.dtype.is_integer() or column.dtype.is_float() or column.dtype in (pl.Boolean, pl.Null):
        numbers = column.cast(pl.Float64).fill_nan(None).fill_null(math.nan).to_numpy() + 0.0
        bits = np.ascontiguousarray(numbers).view(np.uint64)
        if column.dtype.is_integer():  # beyond 2**53 floats would merge neighbouring ids
            wide = pl.UInt64 if column.dtype == pl.UInt64 else pl.Int64
            exact = np.ascontiguousarray(column.cast(wide, strict=False).fill_null(0).to_numpy()).view(np.uint64)
            return np.where(np.abs(numbers) > 2.0**53, exact, bits)
        return bits
    words = column.cast(pl.String)
    known = words.unique().drop_nulls()
    table = pl.DataFrame(
        {"word": known, "bits": pl.Series([_text_bits(w) for w in known.to_list()], dtype=pl.UInt64)},
    )
    joined = words.rename("word").to_frame().join(table, on="word", how="left", maintain_order="left")
    return np.array(joined.get_column("bits").fill_null(0).to_numpy(), dtype=np.uint64)


def _text_bits(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))

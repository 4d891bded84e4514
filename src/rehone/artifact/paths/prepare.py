"""Make the model's matrix from the encoded one in a few array operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rehone.artifact.paths.columns import Column, Floats


class Prepare:
    """What the fitted preprocessor does, column by column in the same order and arithmetic."""

    __slots__ = ("_fill", "_filled", "_last", "_mean", "_numbers", "_scale", "_sources", "_start", "_table", "_tabled")

    def __init__(self, columns: Sequence[Column]) -> None:
        self._sources = np.array([column.source for column in columns], dtype=np.intp)
        self._numbers = np.array([i for i, c in enumerate(columns) if c.table is None], dtype=np.intp)
        self._tabled = np.array([i for i, c in enumerate(columns) if c.table is not None], dtype=np.intp)
        numbers = [columns[i] for i in self._numbers]
        self._fill = np.array([np.nan if c.fill is None else c.fill for c in numbers])
        self._mean, self._scale = np.array([c.mean for c in numbers]), np.array([c.scale for c in numbers])
        self._filled = not all(c.plain for c in numbers)
        tables = [c.table for c in columns if c.table is not None]
        sizes = np.array([len(table) for table in tables], dtype=np.intp)
        self._start, self._last = np.cumsum(sizes) - sizes, (sizes - 1).astype(np.float64)
        self._table = np.concatenate([np.empty(0), *tables])

    def __call__(self, matrix: Floats) -> Floats:
        """Return the model's columns, shape (n, columns)."""
        rows: Floats = np.take(matrix, self._sources, axis=1)
        if self._filled:
            values = rows[:, self._numbers]
            np.copyto(values, self._fill, where=np.isnan(values))
            rows[:, self._numbers] = (values - self._mean) / self._scale
        if len(self._tabled):
            codes = rows[:, self._tabled]
            np.copyto(codes, self._last, where=np.isnan(codes))
            rows[:, self._tabled] = self._table[codes.astype(np.intp) + self._start]
        return rows

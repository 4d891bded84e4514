"""Answer for a logistic regression with a handful of array operations, the same for any number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rehone.artifact.paths.columns import Column, Floats, NotTranslatable, check_shape


class Linear:
    """Fill, scale and weigh numbers; look up what each category adds; sum in a fixed order."""

    __slots__ = ("_codes", "_expit", "_fill", "_intercept", "_last", "_mean", "_numbers", "_scale", "_start", "_table", "_weights", "_width")  # fmt: skip

    def __init__(self, columns: Sequence[Column], weights: Floats, intercept: float, width: int) -> None:
        from scipy.special import expit

        numbers = [(c, w) for c, w in zip(columns, weights.tolist(), strict=True) if c.table is None]
        if any(column.fill is None for column, _ in numbers):
            raise NotTranslatable("missing values in a linear model")
        self._numbers = np.array([column.source for column, _ in numbers], dtype=np.intp)
        self._fill = np.array([column.fill for column, _ in numbers], dtype=np.float64)
        self._mean = np.array([column.mean for column, _ in numbers])
        self._scale = np.array([column.scale for column, _ in numbers])
        tables = _tables(columns, weights)
        self._codes = np.array(list(tables), dtype=np.intp)
        sizes = np.array([len(table) for table in tables.values()], dtype=np.intp)
        self._start = np.cumsum(sizes) - sizes
        self._last = (sizes - 1).astype(np.float64)
        self._table = np.concatenate([np.empty(0), *tables.values()])
        self._weights = np.concatenate([[w for _, w in numbers], np.ones(len(tables))])
        self._intercept, self._width, self._expit = intercept, width, expit

    def score(self, matrix: Floats) -> Floats:
        """Return the probability of label 1 for each row."""
        check_shape(matrix, self._width)
        terms = np.empty((len(matrix), len(self._weights)))
        k = len(self._numbers)
        if k:
            values = matrix[:, self._numbers]
            np.copyto(values, self._fill, where=np.isnan(values))
            values -= self._mean
            np.divide(values, self._scale, out=terms[:, :k])
        if len(self._codes):
            codes = matrix[:, self._codes]
            np.copyto(codes, self._last, where=np.isnan(codes))
            terms[:, k:] = self._table[codes.astype(np.intp) + self._start]
        answers: Floats = np.vecdot(terms, self._weights)
        answers += self._intercept
        self._expit(answers, out=answers)
        return answers


def _tables(columns: Sequence[Column], weights: Floats) -> dict[int, Any]:
    """Return by raw column what each code adds to the log odds."""
    tables: dict[int, Any] = {}
    for column, weight in zip(columns, weights.tolist(), strict=True):
        if column.table is not None:
            tables[column.source] = tables.get(column.source, 0.0) + weight * column.table
    return tables

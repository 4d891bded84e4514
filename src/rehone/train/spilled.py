"""Keep a matrix on disk, written once and read in slices, so that no more than a slice is in memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rehone.errors import TrainingError

SLICE = 200_000
"""Rows that are read at a time."""


class Spilled:
    """A float64 matrix (n, columns) in a file of its own that vanishes with the object.

    Rows are read with plain reads, not mapped: what was read is not counted as the process's memory.
    """

    def __init__(self, parts: Iterable[NDArray[np.float64]], columns: int, folder: Path | None) -> None:
        """Write the parts, which are (rows, columns), one after the other.

        Raises:
            TrainingError: the folder cannot be written, or is full.
        """
        rows = 0
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, prefix="matrix-", buffering=0)  # noqa: SIM115  lives as long as the object
            weakref.finalize(self, self._file.close)
            for part in parts:
                np.ascontiguousarray(part, dtype=np.float64).tofile(self._file)
                rows += len(part)
        except OSError as error:
            where = folder or tempfile.gettempdir()
            raise TrainingError(
                f"the training rows cannot be written to {where} ({error.strerror or error}): an external-memory "
                f"candidate needs about 8 bytes a row and feature there: free room, or set project.cache"
            ) from None
        self.shape = (rows, columns)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return some rows by number, in the order asked for; near ones should stand together."""
        width = self.shape[1]
        found = np.empty((len(rows), width))
        for start in range(0, len(rows), SLICE):
            wanted = rows[start : start + SLICE]
            self._gather(wanted, found[start : start + len(wanted)])
        return found

    def _gather(self, wanted: NDArray[np.int64], into: NDArray[np.float64]) -> None:
        """Read the stretches of SLICE rows that hold what is wanted, each once."""
        blocks = wanted // SLICE
        for block in np.unique(blocks).tolist():
            at = np.flatnonzero(blocks == block)
            numbers = wanted[at]
            first, last = int(numbers.min()), int(numbers.max())
            into[at] = self._read(first, last - first + 1)[numbers - first]

    def _read(self, first: int, count: int) -> NDArray[np.float64]:
        width = self.shape[1]
        data = os.pread(self._file.fileno(), count * width * 8, first * width * 8)
        return np.frombuffer(data, dtype=np.float64).reshape(count, width)

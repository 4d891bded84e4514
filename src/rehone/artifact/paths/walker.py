"""Walk trees with LightGBM's own C code, without its Python layer, its parameters or a thread per call."""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehone.artifact.paths.columns import Floats

FEW = 16
"""Up to this many rows are walked one by one: a call for many first reads all of LightGBM's parameters."""

_FLOAT64 = 1
_NORMAL = 0
_QUIET = b"num_threads=1 verbosity=-1"


class Walker:
    """A LightGBM model of text, asked for raw rows; usable from several threads at once.

    Few rows go one by one through a prepared call that keeps the interpreter's lock, since
    giving it up costs more than the walk. Many rows go in one call that gives it up. Both are
    the same code inside, so the number of rows changes no bit of an answer.
    """

    __slots__ = ("__weakref__", "_config", "_desks", "_few", "_handle", "_many", "_width")

    def __init__(self, model: str, width: int) -> None:
        """Build the model of `width` raw columns.

        Raises:
            RuntimeError: LightGBM does not take the text.
        """
        locked, free = _library()
        self._few = locked.LGBM_BoosterPredictForMatSingleRowFast
        self._many = free.LGBM_BoosterPredictForMat
        self._handle, self._config, self._width = ctypes.c_void_p(), ctypes.c_void_p(), width
        _check(
            free.LGBM_BoosterLoadModelFromString(
                model.encode(), ctypes.byref(ctypes.c_int()), ctypes.byref(self._handle)
            )
        )
        weakref.finalize(self, _free, free, self._config, self._handle).atexit = False
        _check(
            free.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle, _NORMAL, 0, -1, _FLOAT64, width, _QUIET, ctypes.byref(self._config)
            )
        )
        self._desks = _Desks(width)

    def few(self, rows: Floats, factors: Floats) -> Floats:
        """Return a new array with the answer for each of at most FEW rows, each column times its factor."""
        desk, n = self._desks, len(rows)
        np.multiply(rows, factors, out=desk.rows[:n])
        for row, answer in desk.places[:n]:
            if self._few(self._config, row, desk.length, answer):
                _check(-1)
        return desk.answers[:n].copy()

    def many(self, rows: NDArray[np.float64]) -> Floats:
        """Return the answer for each row of a C-contiguous matrix, in one call."""
        answers, length = np.empty(len(rows)), ctypes.c_int64()
        _check(
            self._many(
                self._handle,
                ctypes.c_void_p(rows.ctypes.data),
                _FLOAT64,
                ctypes.c_int32(len(rows)),
                ctypes.c_int32(self._width),
                1,
                _NORMAL,
                0,
                -1,
                _QUIET,
                ctypes.byref(length),
                ctypes.c_void_p(answers.ctypes.data),
            )
        )
        return answers


class _Desks(threading.local):
    """For each thread, room for a few rows and their answers at addresses that never move."""

    def __init__(self, width: int) -> None:
        self.rows = np.empty((FEW, width))
        self.answers = np.empty(FEW)
        self._length = ctypes.c_int64()
        self.length = ctypes.c_void_p(ctypes.addressof(self._length))
        row, answer = self.rows.ctypes.data, self.answers.ctypes.data
        self.places = [(ctypes.c_void_p(row + i * 8 * width), ctypes.c_void_p(answer + i * 8)) for i in range(FEW)]


@functools.cache
def _library() -> tuple[Any, Any]:
    """Return LightGBM's library twice: calls through the first keep the interpreter's lock."""
    import lightgbm.basic

    name = vars(lightgbm.basic)["_LIB"]._name
    free = ctypes.CDLL(name)
    free.LGBM_GetLastError.restype = ctypes.c_char_p
    return ctypes.PyDLL(name), free


def _free(library: Any, config: ctypes.c_void_p, handle: ctypes.c_void_p) -> None:
    if config:
        library.LGBM_FastConfigFree(config)
    if handle:
        library.LGBM_BoosterFree(handle)


def _check(status: int) -> None:
    if status:
        raise RuntimeError(_library()[1].LGBM_GetLastError().decode())

"""Hold the newest rows out, so that both models can be judged on what neither has seen."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from rehone.errors import TrainingError
from rehone.records import Split, Window

WHOLE_DAYS_FROM = np.timedelta64(10, "D")


def split(times: NDArray[np.datetime64], labels: NDArray[np.generic], *, window: Window, holdout: float) -> Split:
    """Divide matured rows by time; about the newest share `holdout` of them is held out.

    `times` (n,) are UTC and sorted, `labels` (n,) are 0 and 1. The boundary lies between two
    different event times, on a midnight (UTC) when the rows span ten days or more: of all such
    boundaries, the one whose share is nearest, and of two equally near ones the earlier.

    Raises:
        TrainingError: all rows are of one time, or there are fewer than two.
    """
    moments = np.asarray(times, dtype="datetime64[us]")
    starts = _boundaries(moments)
    if not len(starts):
        raise TrainingError(
            f"{len(moments)} matured rows in {window}, all of one time, cannot be divided into older rows to learn from "
            "and newer ones to judge on: widen data.lookback_days, or name a finer data.time_column"
        )
    older = np.searchsorted(moments, starts, side="left")
    wanted = len(moments) * (1 - holdout)
    best = int(np.argmin(np.abs(older - wanted)))
    cut, positives = int(older[best]), np.asarray(labels).astype(np.int64)
    boundary = _aware(starts[best])
    return Split(
        train=Window(min(window.start, boundary), boundary),
        holdout=Window(boundary, max(window.end, boundary)),
        train_rows=cut,
        train_positives=int(positives[:cut].sum()),
        holdout_rows=len(moments) - cut,
        holdout_positives=int(positives[cut:].sum()),
    )


def _boundaries(moments: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """List where the holdout may start: each new day, or each new time when there are few days."""
    if not len(moments):
        return moments
    if moments[-1] - moments[0] >= WHOLE_DAYS_FROM:
        moments = moments.astype("datetime64[D]")
    return np.unique(moments)[1:].astype("datetime64[us]")


def _aware(moment: np.datetime64) -> datetime:
    naive: datetime = moment.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)

"""Hold the newest rows out, so that both models can be judged on what neither has seen."""

from __future__ import annotations

from dataclasses import dataclass
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
    if len(moments) and by_days(moments[0], moments[-1]):
        moments = moments.astype("datetime64[D]").astype("datetime64[us]")
    starts, first, rows = np.unique(moments, return_index=True, return_counts=True)
    positives = np.asarray(labels).astype(np.int64)
    found = np.add.reduceat(positives, first) if len(first) else positives
    return split_tally(Tally(starts, rows, found), window=window, holdout=holdout)


@dataclass(frozen=True, slots=True)
class Tally:
    """Matured rows and positives, (n,), by day or by time; `starts` (n,) are UTC and sorted."""

    starts: NDArray[np.datetime64]
    rows: NDArray[np.int64]
    positives: NDArray[np.int64]


def by_days(first: np.datetime64, last: np.datetime64) -> bool:
    """Say whether rows between these times are divided at a midnight, or at any time."""
    return bool(last - first >= WHOLE_DAYS_FROM)


def split_tally(tally: Tally, *, window: Window, holdout: float) -> Split:
    """Divide rows that were only counted, exactly as `split` divides the rows themselves.

    Raises:
        TrainingError: all rows are of one time, or there are fewer than two.
    """
    total = int(tally.rows.sum())
    if len(tally.starts) < 2:
        raise TrainingError(
            f"{total} matured rows in {window}, all of one time, cannot be divided into older rows to learn from "
            "and newer ones to judge on: widen data.lookback_days, or name a finer data.time_column"
        )
    older = np.cumsum(tally.rows)[:-1]
    best = int(np.argmin(np.abs(older - total * (1 - holdout))))
    boundary, cut, positives = aware(tally.starts[best + 1]), int(older[best]), tally.positives
    return Split(
        train=Window(min(window.start, boundary), boundary),
        holdout=Window(boundary, max(window.end, boundary)),
        train_rows=cut,
        train_positives=int(positives[: best + 1].sum()),
        holdout_rows=total - cut,
        holdout_positives=int(positives[best + 1 :].sum()),
    )


def aware(moment: np.datetime64) -> datetime:
    """Return a moment in UTC."""
    naive: datetime = moment.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)

"""Hold what the gate promised of a promotion against what came true, and keep count of both.

A promotion is a forecast: the gate saw a difference of ROC-AUC with an interval. Rows after it,
scored by both versions once their labels are due, give the difference that came. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from rehone import compare
from rehone.records import Check, Estimate, Realised, RunRecord, RunStatus, TrackRecord, Window, short_id

COMPARED = "roc_auc_vs_champion"
"""The check of the gate that promises."""
LONGEST = timedelta(days=180)
"""How long a promotion waits for labels; then it is closed with what there is."""
SURE = 0.95
"""Level of the intervals of a track record."""
FEWEST = 2
"""Rows of either class without which a ROC-AUC has no error."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Rows after a promotion whose label is due, and what both versions say of them; arrays are (n,).

    `blocks` are codes of days or entities; `None` when rows are independent.
    """

    labels: NDArray[np.int8]
    replaced: NDArray[np.float64]
    promoted: NDArray[np.float64]
    blocks: ArrayLike | None = None


def promised(record: RunRecord, *, level: float, fewest: int) -> Realised | None:
    """Return what a run promised of the version that it promoted; `None` when it promoted none over another.

    A first deployment promises nothing: there was no champion to be better than. The forecast is
    open until as many positives are due as the gate had, and at least `fewest`.

    Args:
        level: one-sided, of the gate's bounds, where the record does not say it.
        fewest: positives below which no difference is measured.
    """
    seen = _compared(record)
    if record.status is not RunStatus.DEPLOYED or seen is None or seen.value is None:
        return None
    if record.version is None or record.champion is None:
        return None
    return promise(
        Promotion(record.run_id, record.version, record.champion, record.as_of),
        Promise(seen.value, seen.interval, seen.positives or 0),
        level=float(record.config.get("gate", {}).get("level", level)),
        fewest=fewest,
    )


class Promotion(NamedTuple):
    """Which run put which version in the place of which, and as of when."""

    run_id: str
    version: str
    replaced: str
    at: datetime


class Promise(NamedTuple):
    """The difference of ROC-AUC that the gate saw, with its interval, and on how many positives."""

    value: float
    interval: tuple[float, float] | None
    positives: int


def promise(made: Promotion, seen: Promise, *, level: float, fewest: int) -> Realised:
    """Return the forecast that a promotion is, open as yet; `level` is one-sided."""
    return Realised(
        run_id=made.run_id,
        version=made.version,
        replaced=made.replaced,
        promoted_at=made.at,
        predicted=seen.value,
        predicted_interval=seen.interval,
        window=Window(made.at, made.at),
        n=0,
        positives=0,
        level=2 * level - 1,
        open=True,
        positives_needed=max(seen.positives, fewest, FEWEST),
    )


def _compared(record: RunRecord) -> Check | None:
    checks = record.verdict.checks if record.verdict else ()
    return next((check for check in checks if check.name == COMPARED), None)


def ripe(forecast: Realised, positives: int, as_of: datetime, *, fewest: int) -> bool:
    """Say whether enough labels are due to close a forecast: as many positives as the gate had.

    After `LONGEST` it takes `fewest`. The rule looks at counts alone and never at the difference:
    who stops when it looks good, or bad, finds too much of it.
    """
    if positives >= forecast.positives_needed:
        return True
    return is_late(forecast, as_of) and positives >= max(fewest, FEWEST)


def is_late(forecast: Realised, as_of: datetime) -> bool:
    """Say whether a forecast has waited for labels as long as it may."""
    return as_of - forecast.promoted_at >= LONGEST


def waiting(forecast: Realised, window: Window, counts: tuple[int, int]) -> Realised:
    """Return a forecast that stays open, with the rows and positives that are due so far."""
    n, positives = counts
    said = f"{positives:,} of {forecast.positives_needed:,} positives are due"
    return replace(forecast, window=window, n=n, positives=positives, detail=said)


def unanswered(forecast: Realised, why: str) -> Realised:
    """Close a forecast that cannot be answered any more."""
    return replace(forecast, open=False, detail=why)


def so_far(forecast: Realised, outcome: Outcome, window: Window) -> Realised:
    """Measure the difference that came so far, without calling it covered, missed or a regret."""
    found = _measured(forecast, outcome, window)
    return replace(
        found, covered=None, regret=False, open=True, detail=waiting(forecast, window, _counts(outcome)).detail
    )


def close(forecast: Realised, outcome: Outcome, window: Window) -> Realised:
    """Hold a promotion against what came true.

    The difference is that of two ROC-AUCs on the same rows (DeLong, DeLong and Clarke-Pearson
    1988), its error that of leaving out one block at a time. It is covered when

        |predicted - realised| <= sqrt(h_predicted^2 + h_realised^2)

    where h are half the widths of both intervals at the same level: the two were measured on
    different rows, so that their errors add as squares. A regret is a whole interval below 0.
    """
    found = _measured(forecast, outcome, window)
    return replace(found, open=False, detail=_said(found))


def _measured(forecast: Realised, outcome: Outcome, window: Window) -> Realised:
    n, positives = _counts(outcome)
    both = (outcome.labels, outcome.replaced, outcome.promoted)
    pair = compare.delong(*both) if outcome.blocks is None else compare.delong_blocks(*both, outcome.blocks)
    low, high = pair.interval(forecast.level or SURE)
    interval = (low, high) if math.isfinite(low) and math.isfinite(high) else None
    return replace(
        forecast,
        window=window,
        n=n,
        positives=positives,
        realised=pair.delta,
        interval=interval,
        covered=_covered(forecast, pair.delta, interval),
        regret=interval is not None and interval[1] < 0,
    )


def _counts(outcome: Outcome) -> tuple[int, int]:
    return int(outcome.labels.size), int((outcome.labels == 1).sum())


def _covered(forecast: Realised, realised: float, interval: tuple[float, float] | None) -> bool | None:
    if forecast.predicted_interval is None or interval is None:
        return None
    reach = math.hypot(_half(forecast.predicted_interval), _half(interval))
    return abs(forecast.predicted - realised) <= reach


def _half(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 2


def _said(found: Realised) -> str:
    came = f"promised {_signed(found.predicted)} ROC-AUC, came {_signed(found.realised or 0.0)}"
    if found.interval is not None:
        came += f" ({_signed(found.interval[0])}..{_signed(found.interval[1])})"
    came += f" on {found.n:,} rows with {found.positives:,} positives"
    if found.regret:
        return f"{came}: a regret, version {short_id(found.replaced)} would have been better, beyond chance"
    if found.covered is None:
        return f"{came}: one of the two has no interval, so that they cannot be compared"
    return f"{came}: {'as promised, within chance' if found.covered else 'not what was promised, beyond chance'}"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def track_record(forecasts: Sequence[Realised]) -> TrackRecord:
    """Count how well the gate's promises held, oldest first.

    `coverage` is Clopper and Pearson's exact interval (1934) of the share of promotions that were
    covered, `optimism` the mean of predicted minus realised with Student's t, both at .95. Only
    promotions are seen, and a challenger is promoted because it looked good: some optimism is to
    be expected of an honest gate, the more the smaller its holdouts.
    """
    matured = [f for f in forecasts if f.realised is not None and not f.open]
    bounded = [f for f in matured if f.covered is not None]
    covered = sum(f.covered is True for f in bounded)
    return TrackRecord(
        promotions=len(forecasts),
        matured=len(matured),
        covered=covered,
        coverage=compare.clopper_pearson(covered, len(bounded), SURE) if bounded else None,
        nominal=bounded[-1].level if bounded else None,
        optimism=_optimism(matured),
        regrets=tuple(f.run_id for f in matured if f.regret),
        forecasts=tuple(forecasts),
    )


def _optimism(matured: Sequence[Realised]) -> Estimate | None:
    if len(matured) < 2:
        return None
    gaps = np.asarray([f.predicted - (f.realised or 0.0) for f in matured])
    mean, se = float(gaps.mean()), float(gaps.std(ddof=1)) / math.sqrt(gaps.size)
    reach = float(stdtrit(gaps.size - 1, (1 + SURE) / 2)) * se
    return Estimate(
        value=mean, low=mean - reach, high=mean + reach, n=gaps.size, positives=sum(f.positives for f in matured)
    )

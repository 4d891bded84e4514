"""State how candidates did, how challenger and champion compare, and what their thresholds cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rehone.records import CandidateResult, Check, CheckStatus, Curves, Figures, Metrics, Verdict, short_id
from rehone.report.wording import COMPARED, DASH, fixed, number, signed

_SHOWN: tuple[tuple[str, Callable[[Metrics], str]], ...] = (
    ("ROC-AUC", lambda m: fixed(m.roc_auc)),
    ("average precision", lambda m: fixed(m.average_precision)),
    ("recall", lambda m: fixed(m.recall)),
    ("precision", lambda m: fixed(m.precision)),
    ("cost per 1,000", lambda m: number(m.cost_per_1000)),
    ("Brier score", lambda m: fixed(m.brier)),
    ("threshold", lambda m: fixed(m.threshold)),
    ("rows", lambda m: f"{m.n:,}"),
    ("positives", lambda m: f"{m.positives:,}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One comparison of challenger with champion on the same rows: challenger minus champion, and what it must beat.

    `low`, `value` and `high` are in units of the margin, positive where the challenger is ahead: it must be above -1.
    They are None where there is no margin, or no interval.
    """

    name: str
    difference: str
    interval: str
    limit: str
    status: CheckStatus
    low: float | None = None
    value: float | None = None
    high: float | None = None


def comparisons(verdict: Verdict | None) -> tuple[Compared, ...]:
    """Give each paired comparison that the gate made, in its order."""
    checks = verdict.checks if verdict else ()
    return tuple(_compared(check) for check in checks if check.name in (*COMPARED, "anchor", "slice"))


def _compared(check: Check) -> Compared:
    places = 1 if check.name == "cost_vs_champion" else 4
    below = check.name == "cost_vs_champion"
    said = "not judged" if check.limit is None else f"{'<' if below else '>'} {signed(check.limit, places)}"
    bounds = check.interval
    written = DASH if bounds is None else " to ".join(signed(bound, places) for bound in bounds)
    low, value, high = _in_margins(check)
    return Compared(
        name=_named(check),
        difference=signed(check.value, places),
        interval=written,
        limit=said,
        status=check.status,
        low=low,
        value=value,
        high=high,
    )


def _named(check: Check) -> str:
    if check.name == "anchor":
        return f"past {short_id(check.subject)[:7]}"
    if check.name == "slice":
        return f"recall, {check.subject}"
    return COMPARED[check.name]


def _in_margins(check: Check) -> tuple[float | None, float | None, float | None]:
    """Write difference and bounds in units of the margin, so that more is better and -1 is the limit."""
    if check.interval is None or check.value is None or not check.limit:
        return None, None, None
    low, value, high = sorted(-part / check.limit for part in (check.interval[0], check.value, check.interval[1]))
    return low, value, high


def metrics(verdict: Verdict) -> Iterator[tuple[str, ...]]:
    """Give the quality of both models on the holdout, under a head; nothing when it was not measured."""
    measured = [(name, m) for name, m in (("challenger", verdict.challenger), ("champion", verdict.champion)) if m]
    if measured:
        yield ("on the holdout", *(name for name, _ in measured))
        for name, say in _SHOWN:
            yield (name, *(say(m) for _, m in measured))


def costs(figures: Figures | None) -> Iterator[str]:
    """Say what the threshold of each model costs on the holdout, and which would have cost least there."""
    for curve in figures.curves if figures else ():
        if curve.thresholds:
            yield _cost(curve)


def _cost(curve: Curves) -> str:
    points = tuple(zip(curve.thresholds, curve.cost_per_1000, strict=True))
    own = min(points, key=lambda point: abs(point[0] - curve.threshold))[1]
    least_at, least = min(points, key=lambda point: point[1])
    said = f"the {curve.role}'s threshold {number(curve.threshold)} costs {number(own)} per 1,000 rows of the holdout"
    if own <= least:
        return f"{said}, the least of all {len(points)} that were tried there"
    return f"{said}; least there would have been {number(least)}, at {number(least_at)}"


def candidates(found: Sequence[CandidateResult]) -> Iterator[tuple[str, ...]]:
    """Give the score of each candidate, under a head; the first cell marks the winner."""
    if not found:
        return
    ranked = any(each.newest_roc_auc is not None for each in found)
    yield ("", "candidate", "window", "rows", "ROC-AUC", "std", *(("newest",) if ranked else ()), "seconds")
    for each in found:
        mean = "failed" if each.error else fixed(each.cv_roc_auc_mean)
        newest = (fixed(each.newest_roc_auc),) if ranked else ()
        star, seconds = "*" if each.winner else "", number(each.fit_seconds, 3)
        yield (
            star,
            each.name,
            each.window,
            f"{each.rows:,}",
            mean,
            fixed(each.cv_roc_auc_std),
            *newest,
            seconds,
        )


def call(found: CandidateResult) -> str:
    """Write a candidate as the call that makes it, with its folds."""
    given = ", ".join(f"{name}={value!r}" for name, value in found.params.items())
    folds = ", ".join(fixed(auc) for auc in found.fold_roc_auc)
    return f"{found.estimator}({given})" + (f"; folds {folds}" if folds else "")

"""Compare the pipeline's own figures with their limits; each check says the value, the limit and what to do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rehone.config import Config
from rehone.health import counts
from rehone.records import Breaker, Check, CheckStatus, Health, RunSummary

OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN

FEWEST_JUDGED = 5
"""Judged challengers below which a share of refusals is told, and no more."""
SLOW = 3.0
"""How many times the median a run may take, or be waited for, before it is said."""
FEWEST_TIMES = 3
"""Earlier run times, or times between two runs, without which there is no median to go by."""
BY_CHANCE = 0.01
"""How probable so many false alarms may be, at the accepted rate, before they are called too many."""


def checked(found: Health, runs: Sequence[RunSummary], config: Config) -> Health:
    """Return the same with every check, what stops the pipeline first."""
    every = (
        breaker_check(found.breaker),
        *(_waiting(run) for run in runs if run.waits),
        *_gate_failures(found, config.health.max_gate_failure_share),
        *_declines(found, counts.live_roc_auc(runs), config.health.declines),
        _false_alarms(found, config.trigger.false_alarms_per_year),
        _stale("rows", "the newest row", found.newest_row_age_days, config.data.stale_after_days),
        _stale("labels", "the newest event with a label", found.newest_label_age_days, _label_limit(config)),
        _run_time(found.run_seconds),
        _overdue(runs, found.as_of),
    )
    return replace(found, checks=every)


def breaker_check(breaker: Breaker) -> Check:
    """Say whether retraining has stopped after lost challengers."""
    counted = _count(breaker.lost, "challenger")
    since = f" since a reset by {breaker.reset.by} on {_day(breaker.reset.at)}" if breaker.reset else ""
    check = Check(name="breaker", status=OK, value=breaker.lost, limit=breaker.limit)
    if breaker.limit is None:
        return replace(check, detail=f"{counted} lost in a row{since}; trigger.max_lost_in_a_row is off")
    if not breaker.stopped:
        return replace(check, detail=f"{counted} lost in a row{since}, retraining stops at {breaker.limit}")
    return replace(
        check,
        status=ACT,
        detail=f"retraining has stopped: {counted} lost in a row{since}, the limit is {breaker.limit}",
        remedy=f"look at why with `rehone show {breaker.runs[-1]}`, then `rehone breaker --reset --because TEXT`",
    )


def _waiting(run: RunSummary) -> Check:
    until = f" until {run.approval.until:%Y-%m-%d %H:%M} UTC" if run.approval else ""
    return Check(
        name="approval",
        subject=run.run_id,
        status=WARN,
        detail=f"a challenger waits for a person{until}",
        remedy=f"look at it with `rehone show {run.run_id}`, then `rehone approve {run.run_id}` or "
        f"`rehone reject {run.run_id} --because TEXT`",
    )


def _gate_failures(found: Health, limit: float | None) -> Iterator[Check]:
    if limit is None:
        return
    check = Check(name="gate_failures", status=UNKNOWN, value=found.gate_failure_share, limit=limit, n=found.judged)
    if found.gate_failure_share is None:
        yield replace(check, n=0, detail="the gate has judged no challenger yet")
        return
    said = f"the gate did not let {found.refused} of the newest {_count(found.judged, 'challenger')} pass "
    said += f"({_percent(found.gate_failure_share)}), at most {_percent(limit)} is expected"
    if not found.refused:
        newest = f"all of the newest {_count(found.judged, 'challenger')}" if found.judged > 1 else "the one challenger"
        yield replace(
            check, status=OK, detail=f"the gate let {newest} pass; up to {_percent(limit)} refused are expected"
        )
    elif found.gate_failure_share <= limit:
        yield replace(check, status=OK, detail=said)
    elif found.judged < FEWEST_JUDGED:
        yield replace(check, status=WARN, detail=f"{said}; fewer than {FEWEST_JUDGED} are few to go by")
    else:
        remedy = "`rehone history` names the reasons: more labelled rows, better features or candidates, other limits in [gate]"
        yield replace(check, status=ACT, detail=said, remedy=remedy)


def _declines(found: Health, values: Sequence[float], limit: int | None) -> Iterator[Check]:
    if limit is None:
        return
    check = Check(name="declines", status=OK, value=found.declines, limit=limit, n=len(values))
    if found.declines < limit:
        said = f"{_count(found.declines, 'retrain')} in a row went live with a smaller ROC-AUC than the one before"
        yield replace(check, detail=f"{said}, the limit is {limit}")
        return
    falling = ", ".join(f"{value:.4f}" for value in values[-found.declines - 1 :][-6:])
    yield replace(
        check,
        status=ACT,
        detail=f"{found.declines} retrains in a row went live with a smaller ROC-AUC than the one before, the limit is "
        f"{limit}: {falling}",
        remedy="each is of its own holdout, so see with `rehone check` and `rehone forecasts` whether the world got harder "
        "or the models worse",
    )


def _false_alarms(found: Health, accepted: float) -> Check:
    check = Check(name="false_alarms", status=OK, value=found.alarms, limit=found.alarms_accepted, n=int(found.days))
    if not found.days:
        return replace(check, status=UNKNOWN, value=None, limit=None, detail="drift was not measured in the past year")
    said = (
        f"{_count(found.alarms, 'drift alarm')} that no better challenger proved right, in "
        f"{_count(int(found.days), 'day')} that {'was' if int(found.days) == 1 else 'were'} looked at, while {found.alarms_accepted:.2g} by chance is accepted "
        f"(trigger.false_alarms_per_year is {accepted:g})"
    )
    if found.alarms < 2 or _at_least(found.alarms, found.alarms_accepted) >= BY_CHANCE:
        return replace(check, detail=said)
    remedy = "if the world did not change so often, `rehone calibrate` measures your false alarms; name features that follow the calendar in trigger.ignore"
    return replace(check, status=WARN, detail=said, remedy=remedy)


def _at_least(count: int, mean: float) -> float:
    """Return the probability of at least so many events where `mean` are expected (Poisson)."""
    term, below = math.exp(-mean), 0.0
    for k in range(count):
        below += term
        term *= mean / (k + 1)
    return max(0.0, 1 - below)


def _label_limit(config: Config) -> float | None:
    """Return how old the newest labelled event may be; `None` where labels are due at no fixed time."""
    data = config.data
    if data.stale_after_days is None or data.label_due_column or data.label_time_column:
        return None
    return data.label_delay_days + data.stale_after_days


def _stale(subject: str, what: str, age: float | None, limit: float | None) -> Check:
    check = Check(name="stale", subject=subject, status=UNKNOWN, value=age, limit=limit)
    if age is None:
        return replace(check, detail=f"no run has said yet how old {what} is")
    said = f"{what} that a run has seen is {_days(age)} old"
    if limit is None:
        return replace(check, status=OK, detail=f"{said}; there is no limit for it")
    if age <= limit:
        return replace(check, status=OK, detail=f"{said}, at most {_days(limit)} is allowed")
    remedy = f"look at why the feed of {subject} stopped, and whether runs still start (`rehone history`)"
    return replace(check, status=ACT, detail=f"{said}, at most {_days(limit)} is allowed", remedy=remedy)


def _run_time(seconds: Sequence[float]) -> Check:
    check = Check(name="run_time", status=UNKNOWN, n=len(seconds))
    if not seconds:
        return replace(check, detail="no run has trained in the past year")
    *before, newest = seconds
    if len(before) < FEWEST_TIMES:
        said = f"the newest run that trained took {_span(newest)}; {_count(len(before), 'earlier one')} {'is' if len(before) == 1 else 'are'} too few to compare"
        return replace(check, value=newest, detail=said)
    usual = statistics.median(before)
    slow = newest > SLOW * usual
    return replace(
        check,
        status=WARN if slow else OK,
        value=newest,
        limit=SLOW * usual,
        baseline=usual,
        detail=f"the newest run that trained took {_span(newest)}, the median of those before is {_span(usual)}, the limit is {SLOW:g} times that",
        remedy="`rehone show` of that run says which stage took it: more rows, fewer cores, or a machine that is shared"
        if slow
        else "",
    )


def _overdue(runs: Sequence[RunSummary], as_of: datetime) -> Check:
    """Say whether a run should have started since the newest one; only a clock that goes on between runs can."""
    check, started = Check(name="overdue", status=UNKNOWN), counts.started(runs)
    if any(run.started_at > as_of for run in runs):
        said = "a run started after the day that is looked at, as one that replays the past does"
        return replace(check, detail=f"{said}: whether the next one is due is not known")
    starts = counts.starts(started)
    gaps = counts.gaps_days(starts)
    check = replace(check, n=len(gaps))
    if not started:
        return replace(check, detail="no run of the present has started yet")
    age = (as_of - started[-1]) / timedelta(days=1)
    check, said = replace(check, value=age), f"the newest run started {_while(age)} ago"
    if len(gaps) < FEWEST_TIMES:
        few = f"{_count(len(gaps), 'gap')} between starts {'is' if len(gaps) == 1 else 'are'} too few to compare"
        return replace(check, detail=f"{said}; {few}")
    usual = statistics.median(gaps)
    of = f"{SLOW:g} times the median between the {len(starts)} newest starts"
    said += f", at most {_while(SLOW * usual)} are expected, {of}"
    late = age > SLOW * usual
    return replace(
        check,
        status=ACT if late else OK,
        limit=SLOW * usual,
        baseline=usual,
        detail=said,
        remedy="look whether cron, or whatever else starts runs, still does, and with `rehone status` whether one hangs"
        if late
        else "",
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _days(number: float) -> str:
    if abs(number) < 2:
        return _count(round(24 * number), "hour")
    return f"{number:,.0f} days" if number >= 1000 else f"{number:.3g} days"


def _while(days: float) -> str:
    return _days(days) if days >= 2 else _span(86_400 * days)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} minutes" if seconds < 5400 else f"{seconds / 3600:.3g} hours"

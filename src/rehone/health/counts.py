"""Count what runs in brief say of the pipeline; lists of runs are oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise

from rehone.records import Outcome, RunStatus, RunSummary

OF_ITS_DAY = timedelta(days=2)
"""How long after the day that it is of a run may start and still be of the present, not a replay of the past."""
ONE_START = timedelta(hours=1)
"""How soon after another run one that starts is a second try, not the next run of a schedule."""
NEWEST_STARTS = 21
"""Starts that say how often runs do: few enough that another schedule is soon the usual one."""


def refusals(runs: Sequence[RunSummary], most: int) -> tuple[int, int]:
    """Return how many of the newest `most` challengers were judged, and how many of them the gate did not let pass."""
    judged = [run for run in runs if run.outcome is not None][-most:]
    return len(judged), sum(run.outcome is not Outcome.PASS for run in judged)


def run_seconds(runs: Iterable[RunSummary]) -> tuple[float, ...]:
    """Return how long runs that trained took; a failed one ended somewhere, or was found dead by the next."""
    trained = (run for run in runs if run.trained and run.status is not RunStatus.FAILED)
    return tuple(run.seconds for run in trained if run.seconds is not None)


def started(runs: Iterable[RunSummary]) -> list[datetime]:
    """Return when runs of the present started, oldest first.

    One of a day long past is a replay. One that stood aside for another did nothing: where that one hangs, all do.
    """
    return sorted(r.started_at for r in runs if r.started_at - r.as_of < OF_ITS_DAY and not _stood_aside(r))


def _stood_aside(run: RunSummary) -> bool:
    """Say whether a run ended before it decided anything, since another one was under way."""
    return run.status is RunStatus.SKIPPED and run.trigger is None and not run.reason


def starts(moments: Iterable[datetime]) -> tuple[datetime, ...]:
    """Return the newest starts of the schedule among moments in order; at most `NEWEST_STARTS`.

    What starts within `ONE_START` after another is one start with it: it was tried again, by a person or a scheduler.
    """
    found: list[datetime] = []
    for at in moments:
        if not found or at - found[-1] >= ONE_START:
            found.append(at)
    return tuple(found[-NEWEST_STARTS:])


def gaps_days(moments: Iterable[datetime]) -> tuple[float, ...]:
    """Return the times between moments, in days."""
    return tuple((after - before) / timedelta(days=1) for before, after in pairwise(moments))


def alarms(runs: Iterable[RunSummary], window_days: float) -> tuple[int, int]:
    """Return how often drift went beyond its limit for nothing, as far as is known, and on how many days it was looked at.

    Days whose windows share rows tell of the same drift: they are one alarm, with those between them. One on which a
    challenger was better than the champion beyond chance was right, and is not counted.
    """
    acted: dict[date, bool] = {}
    right: set[date] = set()
    for run in runs:
        day = run.as_of.date()
        if run.worst_psi is not None:
            acted[day] = acted.get(day, False) or run.drift_acts
        if run.difference is not None and run.difference[1] > 0:
            right.add(day)
    days = sorted(day for day, acts in acted.items() if acts)
    apart = [number for number, (a, b) in enumerate(pairwise(days), 1) if (b - a).days >= window_days]
    stories = [days[start:end] for start, end in pairwise([0, *apart, len(days)])]
    return sum(bool(story) and not right.intersection(story) for story in stories), len(acted)


def live_roc_auc(runs: Iterable[RunSummary]) -> list[float]:
    """Return the ROC-AUC of each version that went live, each on its own holdout."""
    deployed = (run.challenger for run in runs if run.status is RunStatus.DEPLOYED and run.challenger)
    return [metrics.roc_auc for metrics in deployed if metrics.roc_auc is not None]


def declines(runs: Iterable[RunSummary]) -> int:
    """Count how many of the newest versions in a row went live with a smaller ROC-AUC than the one before."""
    values = live_roc_auc(runs)
    falls = [after < before for before, after in pairwise(values)]
    return len(falls) if all(falls) else falls[::-1].index(False)


def age_days(moments: Iterable[datetime | None], as_of: datetime) -> float | None:
    """Return how old the youngest of these is on a day, in days."""
    youngest = max((moment for moment in moments if moment is not None), default=None)
    return None if youngest is None else (as_of - youngest) / timedelta(days=1)

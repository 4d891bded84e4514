"""Say how the pipeline itself does: its failures, its times, its alarms, its breaker; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from rehone.config import Config
from rehone.health import checks, counts
from rehone.health.breaker import breaker, lost_in_a_row
from rehone.records import BreakerReset, Health, RunSummary

__all__ = ["breaker", "lost_in_a_row", "of"]

YEAR = timedelta(days=365)


def of(summaries: Sequence[RunSummary], config: Config, as_of: datetime, reset: BreakerReset | None = None) -> Health:
    """Say how the pipeline does on a day, from its runs up to then, oldest first; `reset` is the newest of the breaker."""
    known = [run for run in summaries if run.as_of <= as_of]
    recent = [run for run in known if run.as_of > as_of - YEAR]
    ended = [run for run in recent if run.status is not None]
    judged, refused = counts.refusals(known, config.health.last_runs)
    alarms, days = counts.alarms(recent, config.trigger.window_days)
    found = Health(
        project=config.project.name,
        as_of=as_of,
        runs=len(ended),
        endings=dict(Counter(str(run.status) for run in ended)),
        judged=judged,
        refused=refused,
        gate_failure_share=refused / judged if judged else None,
        run_seconds=counts.run_seconds(ended),
        alarms=alarms,
        alarms_accepted=config.trigger.false_alarms_per_year * days / config.trigger.checks_per_year,
        days=days,
        newest_row_age_days=counts.age_days((run.newest_row for run in known), as_of),
        newest_label_age_days=counts.age_days((run.newest_label for run in known), as_of),
        declines=counts.declines(known),
        breaker=breaker(known, reset, config.trigger.max_lost_in_a_row),
        waiting=tuple(run.run_id for run in known if run.waits),
    )
    return checks.checked(found, known, config)

"""Say in one sentence what the next run of a project will do, without reading its data."""

from __future__ import annotations

from datetime import UTC, timedelta

from rehone.config import Config
from rehone.records import CheckStatus, Health, ProjectStatus, RunRecord, RunStatus


def ahead(config: Config, status: ProjectStatus, health: Health) -> str:
    """Say what the next run will do, as far as what is recorded tells."""
    last = status.last_run
    if any(check.name == "store" for check in status.problems):
        return "The next run refuses to begin: the store is not there."
    if said := _stopped(health, last):
        return said
    if status.deployment is None or status.deployment.version is None:
        return "The next run trains a first version: nothing is live."
    return " ".join(filter(None, ("The next run looks at the newest rows.", *_reasons(config, status, last))))


def _stopped(health: Health, last: RunRecord | None) -> str:
    """Name what keeps the next run from training, whatever it sees."""
    if last is not None and last.approval is not None and last.approval.approved and last.status is None:
        return (
            f"The approval of run {last.run_id} by {last.approval.by} is under way, or was interrupted: "
            f"`rehone approve {last.run_id}` goes on with it. Until then, the next run looks and measures, and trains nothing."
        )
    if last is not None and last.status is None and not health.waiting:
        return f"Run {last.run_id} has not ended; the next one begins after it."
    if health.waiting:
        run = health.waiting[0]
        return (
            f'Run {run} waits for a person: `rehone approve {run}` or `rehone reject {run} --because "…"`. '
            "Until it is answered, the next run looks and measures, and trains nothing."
        )
    if health.breaker.stopped:
        return (
            f"The next run looks and measures, and trains nothing: {health.breaker.lost} challengers in a row were lost. "
            '`rehone breaker --reset --because "…"` lets it go on.'
        )
    return ""


def _reasons(config: Config, status: ProjectStatus, last: RunRecord | None) -> tuple[str, ...]:
    """Say what would make it train: what the last run lacked, a pause, and the day of age."""
    return (_last_word(last), _pause(last), _by_age(config, status, last))


def _last_word(last: RunRecord | None) -> str:
    if last is None or last.trigger is None:
        return "It trains when drift, performance or age acts."
    day = f"{last.as_of.astimezone(UTC):%Y-%m-%d}"
    if last.status is RunStatus.FAILED:
        return f"The last one, of {day}, failed: it is tried again."
    if last.trigger.blocked:
        return f"While the data incident of {day} lasts, it trains nothing."
    if last.trigger.kind is None and last.trigger.flip:
        return f"The last one, of {day}, {last.trigger.flip}."
    return "It trains when drift, performance or age acts."


def _pause(last: RunRecord | None) -> str:
    checks = last.trigger.checks if last is not None and last.trigger is not None else ()
    paused = next((c for c in checks if c.name in ("cooldown", "budget") and c.status is CheckStatus.WARN), None)
    return f"Training rests: {paused.detail}." if paused is not None else ""


def _by_age(config: Config, status: ProjectStatus, last: RunRecord | None) -> str:
    limit = config.trigger.max_age_days
    told = last is not None and last.trigger is not None and last.trigger.kind is None and "by age" in last.trigger.flip
    if limit is None or status.version is None or told:
        return ""
    day = (status.version.manifest.as_of + timedelta(days=limit)).astimezone(UTC)
    return f"By age it trains after {day:%Y-%m-%d}."

"""Write the sentences that a run may end with."""

from __future__ import annotations

from datetime import datetime

from rehone.pipeline.evidence import Champion
from rehone.records import Check, CheckStatus, RunRecord, short_id


def acting(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """Return the checks that stop a run."""
    return tuple(check for check in checks if check.status is CheckStatus.ACT)


def all_of(what: str, checks: tuple[Check, ...]) -> str:
    """Say everything that is wrong, each with its remedy."""
    return f"{what}: " + "; ".join(check.sentence for check in checks)


def unreadable(champion: Champion) -> str:
    """Say why nothing may be deployed over this champion."""
    return (
        f"the champion {short_id(champion.id)} is named by the deployment log (generation {champion.deployment.generation}) "
        f"but cannot be read: {champion.why_not}. Nothing is deployed over a champion that cannot be compared: "
        "restore it from a backup, or `rehone rollback` to a version that can be read"
    )


def set_back(deployed: datetime, as_of: datetime) -> str:
    """Say that the run looks from before the champion was made."""
    return (
        f"as_of {as_of:%Y-%m-%d %H:%M} is before {deployed:%Y-%m-%d %H:%M}, when the champion was made: the clock was "
        "set back, or an earlier day is replayed: mend the clock, or replay into a store of its own (project.store)"
    )


def resting(run: RunRecord) -> str:
    """Say which run is under way between two of its stages."""
    last = run.stages[-1].name if run.stages else "nothing"
    until = f"{run.staged_until:%Y-%m-%d %H:%M} UTC" if run.staged_until else "it ends"
    return (
        f"another run is under way stage by stage: {run.run_id}, last stage {last}, may rest until {until}: let it go on "
        f"(`rehone run --resume {run.run_id}`) or end it (`rehone stage close --run {run.run_id}`)"
    )

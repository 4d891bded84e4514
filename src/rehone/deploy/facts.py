"""Name what a deployment is asked for and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rehone.records import Check, CheckStatus, Deployment, DeploymentAction, DeploymentState

Clock = Callable[[], datetime]
"""Returns the time of now, with its zone."""

_GOOD = (CheckStatus.OK, CheckStatus.WARN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who deploys, why, and which generation was live when it was decided (0: none ever)."""

    expect_generation: int
    actor: str
    run_id: str | None = None
    as_of: datetime | None = None
    reason: str = ""
    gate_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What came of a promotion: what the log says at its end, and every check on the way.

    `trial` is the record that put the version on trial, if it came that far; `deployment` is
    `None` only when nothing was ever deployed.
    """

    version: str
    deployment: Deployment | None
    confirmed: bool
    checks: tuple[Check, ...]
    sentence: str
    trial: Deployment | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of record that a deployment writes."""

    action: DeploymentAction
    state: DeploymentState
    seconds: float | None = None


TRIAL = Step(DeploymentAction.DEPLOY, DeploymentState.TRIAL)
PREFLIGHT_ONLY = Step(DeploymentAction.DEPLOY, DeploymentState.CONFIRMED)
CONFIRM = Step(DeploymentAction.CONFIRM, DeploymentState.CONFIRMED)
ROLLBACK = Step(DeploymentAction.ROLLBACK, DeploymentState.CONFIRMED)


def record(step: Step, version: str | None, order: Order, at: datetime, *, reason: str | None = None) -> Deployment:
    """Make a record of the log; its generation and what was live before are filled in by the log."""
    return Deployment(
        generation=order.expect_generation + 1,
        version=version,
        action=step.action,
        state=step.state,
        at=at,
        as_of=order.as_of,
        deadline=None if step.seconds is None else at + timedelta(seconds=step.seconds),
        actor=order.actor,
        run_id=order.run_id,
        reason=order.reason if reason is None else reason,
        gate_sha256=order.gate_sha256,
    )


def passed(checks: Iterable[Check]) -> bool:
    """Tell whether every check was made and none failed; a warning passes, unknown does not."""
    return all(check.status in _GOOD for check in checks)


def failures(checks: Iterable[Check]) -> str:
    """Say in one text what did not pass."""
    return "; ".join(check.sentence for check in checks if check.status not in _GOOD)

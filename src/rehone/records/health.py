"""Hold how the pipeline itself is: runs in brief, its breaker, its health, what a person is told, and why something was live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rehone.records.deployments import Deployment
from rehone.records.facts import Check, Window
from rehone.records.foresight import Estimate, Realised
from rehone.records.models import Metrics
from rehone.records.words import Outcome, RunStatus, TriggerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Whether a person lets a challenger that passed the gate go live, under `deploy.approval = "manual"`.

    Waits from `asked_at` to `until` while `approved` is None. `champion` is the version that it would replace,
    as of `generation`; when that has changed at the answer, the challenger was `judged_again`.
    """

    asked_at: datetime
    until: datetime
    champion: str | None
    generation: int = 0
    approved: bool | None = None
    by: str = ""
    at: datetime | None = None
    because: str = ""
    judged_again: bool = False


def seconds_at_work(started_at: datetime, finished_at: datetime, approval: Approval | None) -> float:
    """Return how long a run took, without the time in which it waited for a person."""
    waited = (approval.at or finished_at) - approval.asked_at if approval is not None else timedelta()
    return (finished_at - started_at - waited) / timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run in brief: what lists and trends are made of, without its record.

    `challenger` and `judged_champion` are of the same holdout; `roc_auc_interval` and
    `recall_interval` of the challenger, and `difference` is challenger minus champion in ROC-AUC
    (value, low, high). `recall`, `cost_per_1000` and `roc_auc` are those of the champion on matured labels,
    `estimated_recall` before they are due. `drift_acts`: some drift was beyond its limit, whether or not it led to a training.
    `newest_row` and `newest_label` are the youngest event, and the youngest one whose label is due, that the run saw.
    """

    run_id: str
    as_of: datetime
    started_at: datetime
    finished_at: datetime | None = None
    status: RunStatus | None = None
    sentence: str = ""
    trigger: TriggerKind | None = None
    reason: str = ""
    incidents: int = 0
    trained: bool = False
    champion: str | None = None
    version: str | None = None
    outcome: Outcome | None = None
    verdict: str = ""
    weak_evidence: bool = False
    challenger: Metrics | None = None
    judged_champion: Metrics | None = None
    roc_auc_interval: tuple[float, float] | None = None
    recall_interval: tuple[float, float] | None = None
    difference: tuple[float, float, float] | None = None
    generation: int | None = None
    age_days: float | None = None
    rows: int = 0
    window: Window | None = None
    recall: Estimate | None = None
    cost_per_1000: Estimate | None = None
    roc_auc: Estimate | None = None
    estimated_recall: Estimate | None = None
    label_rate: float | None = None
    worst_feature: str | None = None
    worst_psi: float | None = None
    drift_acts: bool = False
    newest_row: datetime | None = None
    newest_label: datetime | None = None
    realised: tuple[Realised, ...] = ()
    approval: Approval | None = None
    problem: str | None = None

    @property
    def waits(self) -> bool:
        """Whether its challenger passed the gate and waits for a person's answer."""
        return self.status is None and self.approval is not None and self.approval.approved is None

    @property
    def seconds(self) -> float | None:
        """Return how long the run took, without the time in which it waited for a person."""
        if self.finished_at is None:
            return None
        return seconds_at_work(self.started_at, self.finished_at, self.approval)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerReset:
    """A person's word that retraining may go on after lost challengers, and why."""

    at: datetime
    by: str
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Whether retraining has stopped because `lost` challengers in a row were lost; `limit` None: it never does.

    A challenger is lost when it was rejected, inconclusive or rolled back. `runs` are those since the last
    deployment or `reset`.
    """

    stopped: bool
    lost: int
    limit: int | None
    runs: tuple[str, ...] = ()
    reset: BreakerReset | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the pipeline itself does, over its `runs` closed runs of the past year.

    `gate_failure_share` is `refused`, whatever the gate did not let pass, of the newest `judged` challengers. `alarms` is
    how often, on `days` days that were looked at, drift went beyond its limit (days whose windows share rows count once) and
    no challenger was better beyond chance, against `alarms_accepted` of the false-alarm budget.
    `run_seconds` are the run times of trained runs, oldest first. `declines`: so many retrains in a row went live
    with a smaller holdout ROC-AUC than the one before. `waiting` are runs that wait for a person.
    """

    project: str
    as_of: datetime
    runs: int
    endings: dict[str, int]
    judged: int
    refused: int
    gate_failure_share: float | None
    run_seconds: tuple[float, ...]
    alarms: int
    alarms_accepted: float
    days: float
    newest_row_age_days: float | None
    newest_label_age_days: float | None
    declines: int
    breaker: Breaker
    waiting: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


class AlertKind(StrEnum):
    """What a person can be told of."""

    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"
    DEPLOYED = "deployed"
    APPROVAL = "approval"
    BREAKER = "breaker"
    GATE_FAILURES = "gate_failures"
    DECLINES = "declines"
    FALSE_ALARMS = "false_alarms"
    STALE = "stale"
    REGRET = "regret"
    HEARTBEAT = "heartbeat"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that a person is told, in one line: project, ending, reason, value, limit and the next command.

    Alerts of one `key` are the same trouble; a second one within `alerts.repeat_hours` is not sent.
    """

    key: str
    kind: AlertKind
    project: str
    at: datetime
    line: str
    run_id: str | None = None
    value: float | None = None
    limit: float | None = None
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What was live at a moment, or when a version was, and why: `lines` tell it, at most ten.

    `deployment` is the record that put it there, `runs` are those that the lines speak of.
    """

    asked: str
    version: str | None
    deployment: Deployment | None
    lines: tuple[str, ...]
    runs: tuple[str, ...] = ()

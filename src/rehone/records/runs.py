"""Hold the whole story of one run, and what is said while it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from rehone.records.deployments import Deployment, ModelVersion, Replica, ShadowReport
from rehone.records.evidence import Evidence, TriggerDecision
from rehone.records.facts import Check
from rehone.records.foresight import Probe, Realised
from rehone.records.health import Approval, seconds_at_work
from rehone.records.models import CandidateResult, DataFile, DataWindow, Split, Verdict
from rehone.records.words import RunStatus, TriggerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a run: the sentence it said and how long it took."""

    name: str
    sentence: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An exception that ended a run, as it was raised."""

    type: str
    message: str
    traceback: str | None = None

    @property
    def transient(self) -> bool:
        """Whether the same run, made again, might end otherwise: not where a person must change something first."""
        return self.type not in ("ConfigError", "TrainingError", "ContractError", "SigningError", "Corrupt", "NotFound")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The whole story of one run. `status is None` while it is under way or waits for a person.

    `staged_until` is set while a run is made stage by stage: until then nobody else may run.
    `judged` names the file beside the record that holds all the gate was given; `realised` is what
    became of earlier promotions, as far as this run could see. `figures` names the file that pages are
    drawn from, and `approval` is there when a person was asked. `cleared` names the runs of which clean-up
    after this one removes what their gates were given.

    Reads like a mapping too: `record["status"]`, `"verdict" in record`, `dict(record)`.
    """

    format: int = 1
    run_id: str
    project: str
    as_of: datetime
    started_at: datetime
    finished_at: datetime | None = None
    status: RunStatus | None = None
    sentence: str = ""
    seed: int
    host: str
    pid: int
    rehone_version: str
    git_commit: str | None = None
    config_sha256: str
    config: dict[str, Any]
    stages: tuple[Stage, ...] = ()
    evidence: Evidence | None = None
    trigger: TriggerDecision | None = None
    data: DataWindow | None = None
    data_checks: tuple[Check, ...] = ()
    split: Split | None = None
    candidates: tuple[CandidateResult, ...] = ()
    winner: CandidateResult | None = None
    champion: str | None = None
    verdict: Verdict | None = None
    version: str | None = None
    shadow: ShadowReport | None = None
    shadow_verdict: Verdict | None = None
    deployment: Deployment | None = None
    deployment_checks: tuple[Check, ...] = ()
    problem: Problem | None = None
    staged_until: datetime | None = None
    probe: Probe | None = None
    judged: DataFile | None = None
    realised: tuple[Realised, ...] = ()
    figures: DataFile | None = None
    approval: Approval | None = None
    cleared: tuple[str, ...] = ()

    @property
    def retry(self) -> bool:
        """Whether to run again at once makes sense: it failed on something that may have passed since."""
        return self.status is RunStatus.FAILED and self.problem is not None and self.problem.transient

    @property
    def waits(self) -> bool:
        """Whether its challenger passed the gate and waits for a person's answer."""
        return self.status is None and self.approval is not None and self.approval.approved is None

    @property
    def seconds(self) -> float | None:
        """Return how long the run took, without the time in which it waited for a person; None until it has ended."""
        if self.finished_at is None:
            return None
        return seconds_at_work(self.started_at, self.finished_at, self.approval)

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> tuple[str, ...]:
        return tuple(f.name for f in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a run would decide now; made without changing anything."""

    project: str
    as_of: datetime
    champion: str | None
    would_train: bool
    sentence: str
    evidence: Evidence | None
    trigger: TriggerDecision | None
    data: DataWindow | None = None
    data_checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectStatus:
    """What is live, who serves it and what happened last."""

    project: str
    deployment: Deployment | None
    version: ModelVersion | None
    replicas: tuple[Replica, ...] = ()
    last_run: RunRecord | None = None
    runs: dict[str, int] = field(default_factory=dict)
    problems: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnd:
    """Where a run stands after a stage that was made alone.

    `status is None`: the next stage may start; after the last one, the run waits for a person.
    """

    run_id: str
    stage: str
    status: RunStatus | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRun:
    """How the run of one project of a fleet ended; without `status` when it waits for a person, or made no record."""

    project: str
    name: str
    exit_code: int
    status: RunStatus | None
    run_id: str | None
    trigger: TriggerKind | None
    version: str | None
    seconds: float
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Whether a tracker was told of a run or a deployment (`subject`), and where it keeps it.

    `held`: it waits for its hour, as `error` says, and nothing is wrong. `missed`: it was not told and is not told later,
    since that would not be true any more.
    """

    tracker: str
    subject: str
    attempts: int = 0
    delivered_at: datetime | None = None
    link: str | None = None
    error: str = ""
    held: bool = False
    missed: bool = False


class EventKind(StrEnum):
    """What a listener is told while a run is under way."""

    STARTED = "started"
    PROGRESS = "progress"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step of a run as it happens: a stage starts, gets on, or has said its sentence."""

    kind: EventKind
    stage: str
    sentence: str = ""
    done: int = 0
    total: int = 0

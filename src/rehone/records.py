"""Name the things that Rehone speaks of: frozen facts, without any input or output.

Two rules hold everywhere. What was not measured is `None` and its status is
`unknown`; a NaN or an infinity is refused when a `Check` is made. All times are
time-zone-aware and all windows are half-open, `[start, end)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class RunStatus(StrEnum):
    """How a run ended. Each is expected; none is an exception."""

    SKIPPED = "skipped"
    DEPLOYED = "deployed"
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


class TriggerKind(StrEnum):
    """Why a challenger is trained, in order of priority."""

    FORCED = "forced"
    BOOTSTRAP = "bootstrap"
    DRIFT = "drift"
    PERFORMANCE = "performance"
    AGE = "age"


class CheckStatus(StrEnum):
    """What a check found. `act` fires a trigger and fails a gate, a smoke test or data."""

    OK = "ok"
    WARN = "warn"
    ACT = "act"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What the gate says of a challenger."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


class FeatureKind(StrEnum):
    """How a feature is read, counted and encoded."""

    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"


class DeploymentState(StrEnum):
    """Whether the live service has proved that it serves the deployed version."""

    TRIAL = "trial"
    CONFIRMED = "confirmed"


class DeploymentAction(StrEnum):
    """What a record of the deployment log did."""

    DEPLOY = "deploy"
    CONFIRM = "confirm"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison of a value with its limit; the same shape for triggers, data, gate, smoke.

    `detail` says in one sentence what was found, with the value and the limit;
    `remedy` says what a person can do about it. `subject` is the feature, file,
    candidate or replica that the check is about. `interval` is in the unit of `value`.

    Raises:
        ValueError: a number is NaN or infinite. What was not measured is `None`.
    """

    name: str
    status: CheckStatus
    subject: str | None = None
    value: float | None = None
    limit: float | None = None
    baseline: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    n: int | None = None
    positives: int | None = None
    positives_needed: int | None = None
    detail: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        numbers = (self.value, self.limit, self.baseline, self.p_value, *(self.interval or ()))
        if any(x is not None and not math.isfinite(x) for x in numbers):
            raise ValueError(
                f"check {self.name!r} ({self.subject}) was given {numbers}: numbers must be finite, use None for what was not measured"
            )

    @property
    def label(self) -> str:
        """Name the check with its subject: `psi(amount)`."""
        return f"{self.name}({self.subject})" if self.subject else self.name

    @property
    def sentence(self) -> str:
        """Say what was found and what to do about it."""
        said = self.detail or self.label
        return f"{said}: {self.remedy}" if self.remedy else said


def worst(checks: tuple[Check, ...]) -> CheckStatus:
    """Return the most serious status: act, then unknown, then warn, then ok."""
    for status in (CheckStatus.ACT, CheckStatus.UNKNOWN, CheckStatus.WARN):
        if any(check.status is status for check in checks):
            return status
    return CheckStatus.OK


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of event time, `start <= t < end`."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"window {self.start}..{self.end} has no time zone")
        if self.end < self.start:
            raise ValueError(f"window ends ({self.end}) before it starts ({self.start})")

    @property
    def days(self) -> float:
        return (self.end - self.start) / timedelta(days=1)

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"{_short(self.start)}..{_short(self.end)}"


def _short(moment: datetime) -> str:
    midnight = (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0)
    return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%dT%H:%M:%S}"


# --- what a model reads -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column: its name, kind and, for a categorical, the values it knows."""

    name: str
    kind: FeatureKind
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The columns that a model was trained on, in the order of its matrix."""

    features: tuple[Feature, ...]
    label: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)


# --- what a champion remembers of its own data ---------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProfile:
    """Bins and reference counts of one feature.

    For a numeric feature, bin `i` holds `edges[i-1] < x <= edges[i]`, with an open bin on
    either side: `len(counts) == len(edges) + 1`. A value with a bin of its own (an atom) is
    a pair of neighbouring edges. For a boolean or categorical feature, `values[i]` has
    `counts[i]`; rare values are pooled in `pooled`. `missing` (null or NaN), `infinite` and
    `unseen` rows are counted apart. Counts of disjoint row sets add up exactly.

    `expected_unseen` is how many of the reference's own rows hold values that another draw
    of that size would be expected to call rare or unseen (Good-Turing); `unseen_variance` is
    what that estimate adds to the variance, in rows squared. `lowest` and `highest` are
    `None` where an infinite one was. `clock_like` marks a date, a counter or a calendar column.
    """

    feature: str
    kind: FeatureKind
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    pooled_values: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    pooled: int = 0
    missing: int = 0
    infinite: int = 0
    unseen: int = 0
    expected_unseen: int = 0
    unseen_variance: int = 0
    lowest: float | None = None
    highest: float | None = None
    clock_like: bool = False

    @property
    def n(self) -> int:
        return sum(self.counts) + self.pooled + self.missing + self.infinite + self.unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreProfile:
    """Histogram of out-of-sample scores: bin `i` holds `edges[i-1] < s <= edges[i]`.

    `by_weekday` holds the same counts for Monday..Sunday, when the rows' days are known.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    by_weekday: tuple[tuple[int, ...], ...] = ()

    @property
    def n(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a version knows of the data it was made from; a few KB, no rows.

    `by_weekday` holds, for Monday..Sunday, the counts of each feature in the order of
    `features` (flattened as in `FeatureProfile`: counts, pooled, missing, infinite, unseen),
    so that a window shorter than a week is compared with the same weekdays.
    """

    format: int = 1
    window: Window
    rows: int
    positives: int
    features: tuple[FeatureProfile, ...]
    scores: ScoreProfile | None = None
    by_weekday: tuple[tuple[tuple[int, ...], ...], ...] = ()
    threshold: float | None = None

    @property
    def label_rate(self) -> float | None:
        return self.positives / self.rows if self.rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows of some window counted into the bins of a `Profile`. Counts of disjoint row sets add up.

    `weekday_rows` counts rows by Monday..Sunday; `oldest` and `newest` are the first and last
    event counted.
    """

    rows: int
    features: tuple[FeatureProfile, ...]
    scores: ScoreProfile | None = None
    weekday_rows: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0)
    oldest: datetime | None = None
    newest: datetime | None = None


# --- when -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one feature has moved from the champion's reference.

    `p_value` is of `h * PSI ~ chi2(bins - 1)`; `incident` names the bins (missing, infinite,
    unseen, constant) that carry the drift when it is a fault of the feed rather than a change
    of the world. `psi` is `None` when there was nothing to compare, and `detail` says why.
    `ignored` says why this drift is recorded but never acts ("clock").
    """

    feature: str
    psi: float | None
    p_value: float | None = None
    bins: int = 0
    n_reference: int = 0
    n_current: int = 0
    noise: float | None = None
    incident: str | None = None
    ignored: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDrift:
    """Kolmogorov-Smirnov distance between reference and current scores."""

    ks: float | None
    p_value: float | None = None
    n_reference: int = 0
    n_current: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A measured quantity with its two-sided interval at the policy's level."""

    value: float
    low: float
    high: float
    n: int
    positives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What earlier runs did, as far as a trigger needs to know it."""

    last_trained: datetime | None = None
    rejected_in_a_row: int = 0
    trained_last_30_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of the champion in production on a day. Unmeasured is `None`."""

    as_of: datetime
    champion: str | None
    forced: bool = False
    champion_as_of: datetime | None = None
    window: Window | None = None
    rows: int = 0
    drift: tuple[FeatureDrift, ...] = ()
    scores: ScoreDrift | None = None
    matured: Window | None = None
    recall: Estimate | None = None
    cost_per_1000: Estimate | None = None
    performance_unknown: str = ""
    attempts: Attempts = field(default_factory=Attempts)

    @property
    def age_days(self) -> float | None:
        if self.champion_as_of is None:
            return None
        return (self.as_of - self.champion_as_of) / timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerDecision:
    """Whether to retrain, and why. `kind is None` means no; `incidents` block even a yes."""

    kind: TriggerKind | None
    reason: str
    checks: tuple[Check, ...] = ()
    incidents: tuple[Check, ...] = ()

    @property
    def blocked(self) -> bool:
        return bool(self.incidents)


# --- what data ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file of the window, by its path inside the project, and the digest of its bytes."""

    path: str
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWindow:
    """Exactly what a run read: enough to read it again and to notice if it changed."""

    source: str
    window: Window
    rows: int
    positives: int | None
    sha256: str
    files: tuple[DataFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The newest matured rows are held out; everything older may be learned from."""

    train: Window
    holdout: Window
    train_rows: int
    train_positives: int
    holdout_rows: int
    holdout_positives: int


# --- which model ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Quality on labelled rows. `recall`, `precision` and cost are at `threshold`."""

    n: int
    positives: int
    roc_auc: float | None = None
    average_precision: float | None = None
    recall: float | None = None
    precision: float | None = None
    cost_per_1000: float | None = None
    brier: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResult:
    """One estimator on one training window: its cross-validated scores, or why it has none."""

    name: str
    estimator: str
    params: dict[str, Any]
    window: str
    rows: int
    cv_roc_auc_mean: float | None = None
    cv_roc_auc_std: float | None = None
    fold_roc_auc: tuple[float, ...] = ()
    fit_seconds: float | None = None
    error: str | None = None
    winner: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate concluded, with every check it made and both models' metrics."""

    outcome: Outcome
    reason: str
    checks: tuple[Check, ...] = ()
    challenger: Metrics | None = None
    champion: Metrics | None = None
    weak_evidence: bool = False
    lacks_rows: bool = False


# --- what is live -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size and SHA-256 of one file inside a version."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The first file of a version: its own SHA-256 is the version's id."""

    format: int = 1
    project: str
    run_id: str
    created_at: datetime
    as_of: datetime
    estimator: str
    params: dict[str, Any]
    window_policy: str
    contract: Contract
    threshold: float
    train_window: Window
    train_end: datetime
    train_rows: int
    train_positives: int
    data_sha256: str
    requires: dict[str, str]
    files: dict[str, FileDigest]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A published version: immutable, and named by the digest of its manifest."""

    id: str
    manifest: Manifest

    @property
    def short(self) -> str:
        return short_id(self.id)


def short_id(version: str | None) -> str:
    """Write the id of a version as people read it: its first 12 digits."""
    return version[:12] if version else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One record of the append-only log; the last one says what is live.

    `version is None` means that nothing is to be served. `generation` counts from 1.
    A `trial` that is not followed by another record before `deadline` is an orphan.
    """

    format: int = 1
    generation: int
    version: str | None
    action: DeploymentAction
    state: DeploymentState
    at: datetime
    as_of: datetime | None = None
    deadline: datetime | None = None
    actor: str
    run_id: str | None = None
    reason: str = ""
    gate_sha256: str | None = None
    previous: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What one server says of itself, in its heartbeat file."""

    name: str
    host: str
    pid: int
    url: str
    at: datetime
    generation: int | None = None
    version: str | None = None
    refused_generation: int | None = None
    refused_because: str | None = None


# --- what happened ---------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The whole story of one run. `status is None` while it is under way.

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
    deployment: Deployment | None = None
    deployment_checks: tuple[Check, ...] = ()
    problem: Problem | None = None

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

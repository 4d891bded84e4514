"""Hold what is published, what is live, and who serves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rehone.records.facts import Contract, Window
from rehone.records.words import DeploymentAction, DeploymentState, RecalibrationKind


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size and SHA-256 of one file inside a version."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """What is laid over a model's own probability `p` before the threshold.

    "platt": expit(intercept + slope * logit(p)) (Platt 1999). "isotonic": linear between the points
    `x` -> `y`, both rising, constant beyond them (Zadrozny and Elkan 2002). "threshold": nothing,
    only the threshold is new. `base` is the version whose model it is, made as of `base_as_of`.
    """

    kind: RecalibrationKind
    base: str
    base_as_of: datetime | None = None
    slope: float = 1.0
    intercept: float = 0.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()


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
    recalibration: Recalibration | None = None


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
class StagedShadow:
    """The challenger that every server scores beside the champion until `deadline`; never an answer."""

    format: int = 1
    version: str
    run_id: str
    started_at: datetime
    deadline: datetime
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """What servers saw of a challenger beside the champion, on the same rows. Reports add up.

    `rows` were scored by both, `failed_rows` by the champion alone, `skipped_rows` by neither
    plan nor fault: the server was too busy. Times are seconds spent on `rows` by each.
    `score_counts` are the challenger's scores in the bins of its own score profile. `because`
    says why a server cannot score it at all; `vanished` names servers that went away with it.
    """

    version: str
    champion: str | None = None
    rows: int = 0
    failed_rows: int = 0
    skipped_rows: int = 0
    changed_decisions: int = 0
    sum_difference: float = 0.0
    sum_squared_difference: float = 0.0
    largest_difference: float = 0.0
    champion_seconds: float = 0.0
    challenger_seconds: float = 0.0
    score_counts: tuple[int, ...] = ()
    because: str | None = None
    vanished: tuple[str, ...] = ()


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
    pinned: bool = False
    shadow: ShadowReport | None = None

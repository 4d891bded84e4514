"""Fix the words: how runs end, why they train, what a check or the gate says."""

from __future__ import annotations

from enum import StrEnum


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


class ShiftKind(StrEnum):
    """What has changed, as far as data and labels can tell."""

    NONE = "none"
    DATA_INCIDENT = "data_incident"
    LABEL = "label"
    COVARIATE = "covariate"
    OFF_SUPPORT = "off_support"
    CONCEPT = "concept"
    UNCLEAR = "unclear"


class RecalibrationKind(StrEnum):
    """What is laid over a model whose scores, or whose threshold, no longer fit."""

    THRESHOLD = "threshold"
    PLATT = "platt"
    ISOTONIC = "isotonic"


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

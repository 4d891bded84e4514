"""Name the things that Rehone speaks of: frozen facts, without any input or output.

Two rules hold everywhere. What was not measured is `None` and its status is
`unknown`; a NaN or an infinity is refused when a `Check` is made. All times are
time-zone-aware and all windows are half-open, `[start, end)`.
"""

from rehone.records.deployments import (
    Deployment,
    FileDigest,
    Manifest,
    ModelVersion,
    Replica,
    ShadowReport,
    StagedShadow,
    short_id,
)
from rehone.records.evidence import (
    Attempts,
    Coverage,
    Estimate,
    Evidence,
    FeatureDrift,
    ScoreDrift,
    ServedVersion,
    Skew,
    TriggerDecision,
)
from rehone.records.facts import Check, Contract, Feature, Window, worst
from rehone.records.models import CandidateResult, DataFile, DataWindow, Draw, Metrics, Split, Verdict
from rehone.records.profiles import Counts, FeatureProfile, Profile, ScoreProfile
from rehone.records.runs import (
    Delivery,
    Event,
    EventKind,
    FleetRun,
    Preview,
    Problem,
    ProjectStatus,
    RunRecord,
    Stage,
    StageEnd,
)
from rehone.records.words import (
    CheckStatus,
    DeploymentAction,
    DeploymentState,
    FeatureKind,
    Outcome,
    RunStatus,
    TriggerKind,
)

__all__ = [
    "Attempts",
    "CandidateResult",
    "Check",
    "CheckStatus",
    "Contract",
    "Counts",
    "Coverage",
    "DataFile",
    "DataWindow",
    "Delivery",
    "Deployment",
    "DeploymentAction",
    "DeploymentState",
    "Draw",
    "Estimate",
    "Event",
    "EventKind",
    "Evidence",
    "Feature",
    "FeatureDrift",
    "FeatureKind",
    "FeatureProfile",
    "FileDigest",
    "FleetRun",
    "Manifest",
    "Metrics",
    "ModelVersion",
    "Outcome",
    "Preview",
    "Problem",
    "Profile",
    "ProjectStatus",
    "Replica",
    "RunRecord",
    "RunStatus",
    "ScoreDrift",
    "ScoreProfile",
    "ServedVersion",
    "ShadowReport",
    "Skew",
    "Split",
    "Stage",
    "StageEnd",
    "StagedShadow",
    "TriggerDecision",
    "TriggerKind",
    "Verdict",
    "Window",
    "short_id",
    "worst",
]

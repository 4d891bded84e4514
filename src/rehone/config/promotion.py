"""Name the keys of what a challenger must show, and of how a version goes live."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rehone.config.base import Positive, Section, Share


class Gate(Section):
    """What a challenger must show on rows that neither model has seen."""

    min_roc_auc: Share = Field(0.80, description="ROC-AUC that a challenger must reach")
    min_recall: Share = Field(0.60, description="recall at its own threshold that a challenger must reach")
    margin_roc_auc: Positive = Field(0.02, description="loss of ROC-AUC against the champion that is still not worse")
    margin_recall: Positive = Field(
        0.05, description="loss of recall, each at its own threshold, that is still not worse"
    )
    margin_cost: Positive = Field(0.05, description="relative rise of cost per 1,000 that is still not worse")
    level: float = Field(0.95, gt=0.5, lt=1, description="one-sided level of the comparison")
    strict: bool = Field(False, description="hold when the comparison is inconclusive, even if the challenger is ahead")
    blocks: Literal["auto", "day", "entity", "none"] = Field(
        "auto",
        description='unit of comparison: "auto" takes the entity column if there is one, else the day; "none" treats rows as independent',
    )
    max_relative_loss: Share | None = Field(
        None,
        description="the classic rule, in addition: a relative loss of ROC-AUC or recall above this fails, as a point estimate",
    )
    anchor_budget: Positive | None = Field(
        0.05,
        description='loss of ROC-AUC against the best past champion, scored on the same rows, that all promotions together may add up to; "off" for no limit',
    )
    slices: tuple[str, ...] = Field(
        (), description="columns whose values are each compared too: no slice may be significantly worse"
    )
    margin_slice: Positive = Field(0.05, description="loss of recall within a slice that is still not worse")
    slice_min_positives: int = Field(20, ge=2, description="fewest positives for a slice to be judged")
    max_holdout_uses: int | None = Field(
        20, ge=1, description='challengers that the same holdout may judge; "off" for no limit'
    )
    min_rows: int = Field(100, ge=1, description="fewest legal holdout rows")
    min_positives: int = Field(10, ge=1, description="fewest positives, and fewest negatives, among legal holdout rows")


class Deploy(Section):
    """How a version goes live and how it proves that it did."""

    service: Literal["auto", "required", "none"] = Field(
        "auto",
        description='"auto" asks every live replica of rehone serve, and health_url if set; "required" fails without one; "none" is preflight only',
    )
    health_url: str | None = Field(
        None, description="health page of a service that is not Rehone's; its JSON must report the version"
    )
    health_version_key: str = Field("version", description="key of that JSON that holds the version id")
    approval: Literal["auto", "manual"] = Field(
        "auto",
        description='"manual": a challenger that passed the gate waits until `rehone approve` or `rehone reject`',
    )
    approval_hours: Positive = Field(
        72, description="how long a challenger waits for a person; then its run ends as inconclusive"
    )
    trial_seconds: float = Field(
        30, gt=0, description="time in which every replica must serve the new version, else it is rolled back"
    )
    preflight_seconds: float = Field(
        60, gt=0, description="time in which a fresh process must load the version and reproduce its golden rows"
    )
    golden_tolerance: float = Field(1e-9, ge=0, description="largest difference of a golden row's probability")
    replica_timeout_seconds: float = Field(
        5, gt=0, description="age of a heartbeat above which a replica counts as gone"
    )
    keep_versions: int = Field(
        10,
        ge=2,
        description="newest versions that clean-up keeps besides those that the log, the replicas and the gate (up to 12 past champions) need",
    )
    keep_judged: int | None = Field(
        50,
        ge=1,
        description='newest runs of which clean-up keeps what the gate was given (about 20 bytes a held-out row), besides those of versions in the store and those that have not ended; "off" for all',
    )
    allow_joblib: bool = Field(
        False,
        description="let an estimator that skops cannot store be kept as joblib; loading joblib runs code, so only for stores that you alone can write",
    )
    trusted_types: tuple[str, ...] = Field(
        (), description="further types that a version may contain, for estimators that are not built in"
    )
    signing_key: str | None = Field(
        None, description="file of the private key with which a new version is signed; made by `rehone keys new`"
    )
    trusted_keys: tuple[str, ...] = Field(
        (),
        description="files of the public keys of which one must have signed a version before it is loaded; none: signatures are not asked for",
    )

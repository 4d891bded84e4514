"""Hold what is known of the champion in production, and what was decided from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rehone.records.facts import Check, Window
from rehone.records.foresight import DelayCurve, Estimate, Estimated, HeldEstimate, Shift
from rehone.records.words import TriggerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ChanceLaw:
    """What a statistic is without drift: `least + (mean - least) * F(freedom, freedom_of_mean)`.

    It follows from how much the reference's own days differ; `days` is how many days of the reference this was learned
    from.
    """

    mean: float
    least: float
    freedom: float
    freedom_of_mean: float
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one feature has moved from the champion's reference.

    `p_value` is the larger of what theory, `h * PSI * counted ~ chi2(bins - 1)`, and `history`
    say; `incident` names the bins (missing, infinite,
    unseen, constant) that carry the drift when it is a fault of the feed rather than a change
    of the world. `psi` is `None` when there was nothing to compare, and `detail` says why.
    `ignored` says why this drift is recorded but never acts ("clock"). `basis` is
    "history" where the reference has enough days to ask, and "theory" where chi-square stands alone.
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
    basis: str = "theory"
    history: ChanceLaw | None = None
    counted: float = 1.0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDrift:
    """Kolmogorov-Smirnov distance between reference and current scores.

    `history` is the law of how many times larger the squared distance is than for independent
    rows; `basis` as of a feature.
    """

    ks: float | None
    p_value: float | None = None
    n_reference: int = 0
    n_current: int = 0
    basis: str = "theory"
    history: ChanceLaw | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many predictions of a window have a label, among those whose label is due."""

    window: Window
    predictions: int
    due: int
    labelled: int

    @property
    def share(self) -> float | None:
        return self.labelled / self.due if self.due else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """What one version really decided in a window, on the rows whose label is known.

    `unknown` says why recall and cost are not, `roc_auc_unknown` why ROC-AUC of its scores is not.
    """

    version: str
    predictions: int
    labelled: int
    positives: int
    recall: Estimate | None = None
    cost_per_1000: Estimate | None = None
    unknown: str = ""
    roc_auc: Estimate | None = None
    roc_auc_unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """How often a feature was served with another value than the offline table holds for the same id."""

    feature: str
    compared: int
    differing: int
    example: str = ""

    @property
    def share(self) -> float | None:
        return self.differing / self.compared if self.compared else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What earlier runs did, as far as a trigger needs to know it.

    `lost_in_a_row` counts challengers that were rejected, inconclusive or rolled back since one went live, or
    since a person reset the breaker.
    """

    last_trained: datetime | None = None
    rejected_in_a_row: int = 0
    trained_last_30_days: int = 0
    lost_in_a_row: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of the champion in production on a day. Unmeasured is `None`.

    `origin` says where drift and performance come from: "data" (the source, scored again) or
    "served" (the prediction log), which alone fills `coverage`, `served` and `skew`. `maturity` is
    there when label delays are learned; `estimated` says how the champion does before labels are due,
    `held` what became of the newest such estimate whose labels are due by now. `recall`, `cost_per_1000` and `roc_auc`
    are of the labels that came due in the window `matured`; `performance_unknown` and `roc_auc_unknown` say why not.
    """

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
    origin: str = "data"
    coverage: Coverage | None = None
    served: tuple[ServedVersion, ...] = ()
    skew: tuple[Skew, ...] = ()
    maturity: DelayCurve | None = None
    estimated: Estimated | None = None
    held: HeldEstimate | None = None
    shift: Shift | None = None
    attempts: Attempts = field(default_factory=Attempts)
    newest_label: datetime | None = None
    roc_auc: Estimate | None = None
    roc_auc_unknown: str = ""

    @property
    def age_days(self) -> float | None:
        if self.champion_as_of is None:
            return None
        return (self.as_of - self.champion_as_of) / timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerDecision:
    """Whether to retrain, and why. `kind is None` means no; `incidents` block even a yes.

    `flip` says in one sentence what would have turned the decision, by how much.
    """

    kind: TriggerKind | None
    reason: str
    checks: tuple[Check, ...] = ()
    incidents: tuple[Check, ...] = ()
    flip: str = ""

    @property
    def blocked(self) -> bool:
        return bool(self.incidents)

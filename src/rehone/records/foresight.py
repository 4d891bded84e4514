"""Hold what is inferred and not counted: when labels are due, how good scores are without them, what has changed, what a retrain would bring, what a promotion brought."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rehone.records.facts import Window
from rehone.records.words import ShiftKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A measured quantity with its two-sided interval at the policy's level."""

    value: float
    low: float
    high: float
    n: int
    positives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayCurve:
    """Which share of labels is known how many days after the event.

    `days[i]` after the event `share[i]` of labels are there, between `low[i]` and `high[i]`.
    `n` rows were followed, `arrived` of them have their label. `wanted` is the share that a
    label's cut-off should keep, `cutoff_days` the days after which it does; `None` when the
    history is too short to say, and `detail` says why. `truncated`: only rows with a label were
    there to learn from, so that shares are of the labels that come. `positives_days` is the cut-off
    of positives alone, where it is known; the later of the two counts.
    """

    days: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int
    arrived: int
    wanted: float
    cutoff_days: float | None
    truncated: bool = False
    positives_days: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """How the champion does on a window, estimated from its scores alone, before labels are known.

    `prior` is the share of positives that the scores suggest, corrected for label shift, against
    `prior_then` of the reference. `plain_recall` is the estimate without that correction;
    `disagree` says that the two contradict each other beyond their intervals. `basis` says which
    was chosen and is reported: "as_trained" (no other share), "covariate" (plain) or "label_shift"
    (corrected); `other_recall` and `other_cost_per_1000` are of the one that was not.
    """

    window: Window
    n: int
    recall: Estimate | None = None
    precision: Estimate | None = None
    cost_per_1000: Estimate | None = None
    roc_auc: Estimate | None = None
    prior: float | None = None
    prior_then: float | None = None
    plain_recall: float | None = None
    other_recall: Estimate | None = None
    other_cost_per_1000: Estimate | None = None
    basis: str = ""
    disagree: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldEstimate:
    """An estimate of an earlier run held against what labels of that window showed once they were due.

    `run_id` made it, of the same champion. `covered` says whether the recall that was measured lies
    within the interval that was estimated; `None` when it could not be measured, and `detail` says why.
    """

    run_id: str
    window: Window
    estimated: Estimate
    measured: Estimate | None = None
    covered: bool | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What kind of change the evidence speaks of, and what that suggests.

    `domain_auc` tells reference from current rows by their features (.5: not at all), and
    `weighed_auc` after the reference's classes were brought to the current share of positives;
    `score_ks` is the distance of the scores, `reweighted_ks` what of it remains then.
    `slope` and `intercept` are of logit(label) = intercept + slope * logit(score) on matured
    rows: (1, 0) is calibrated; `slope_then` and `intercept_then` are those that the champion had
    out of sample. `off_support` is the share of current rows that lie outside of all reference
    rows. `since` is when the loss began to change. `suggestion` is one of "nothing", "fix_feed",
    "rethreshold", "retrain", "get_labels"; `retrain_from` the oldest row to learn from.
    `taught` is the share of the log loss that features save beside the score on new rows,
    `taught_before` what the same lesson saves on older ones. `unknown` says what could not be
    measured, and why.
    """

    kind: ShiftKind
    sentence: str
    suggestion: str
    retrain_from: datetime | None = None
    domain_auc: Estimate | None = None
    weighed_auc: Estimate | None = None
    score_ks: float | None = None
    reweighted_ks: float | None = None
    slope: Estimate | None = None
    intercept: Estimate | None = None
    off_support: float | None = None
    since: datetime | None = None
    n_labelled: int = 0
    slope_then: float | None = None
    intercept_then: float | None = None
    taught: float | None = None
    taught_before: float | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a retrain is expected to gain in ROC-AUC, from one cheap fit before the search.

    `gain` is `None` when it could not be measured, and `detail` says why. `skip` says that
    the run ended here, because nothing is to be gained.
    """

    gain: float | None
    interval: tuple[float, float] | None = None
    n: int = 0
    positives: int = 0
    fit_rows: int = 0
    skip: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Realised:
    """A promotion held against what came true: both models on the rows after it, once their labels are due.

    `predicted` is the difference of ROC-AUC that the gate saw, `realised` the one that came;
    `covered` says whether the gate's interval held it, widened by the error of `realised`; both
    intervals are two-sided at `level`. `regret` says that the replaced version would have been
    better, beyond chance. `open`: too few labels are due, `positives_needed` in all; what stands
    here so far is not the answer yet. A forecast that is closed without `realised` cannot be
    answered any more, and `detail` says why.
    """

    run_id: str
    version: str
    replaced: str
    promoted_at: datetime
    predicted: float
    predicted_interval: tuple[float, float] | None
    window: Window
    n: int
    positives: int
    realised: float | None = None
    interval: tuple[float, float] | None = None
    level: float | None = None
    covered: bool | None = None
    regret: bool = False
    open: bool = False
    positives_needed: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRecord:
    """How well the gate's promises held: `covered` of `matured` promotions, out of all `promotions`.

    `coverage` bounds the share that was covered; `optimism` is the mean of predicted minus
    realised, above zero when the gate promises too much. `regrets` are runs. `nominal` is the
    coverage that the gate states. `forecasts` are all promotions, oldest first, the open ones too.
    """

    promotions: int
    matured: int
    covered: int
    coverage: tuple[float, float] | None = None
    nominal: float | None = None
    optimism: Estimate | None = None
    regrets: tuple[str, ...] = ()
    forecasts: tuple[Realised, ...] = ()

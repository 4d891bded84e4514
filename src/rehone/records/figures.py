"""Hold what pages draw of one run: histograms, curves and importances; no rows."""

from __future__ import annotations

from dataclasses import dataclass

from rehone.records.words import FeatureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Reference and current rows of one feature, or of the scores (`kind` is None), in the reference's bins.

    `bins[i]` says which values the bin holds, `reference[i]` and `current[i]` how many rows; the
    last bins are those of missing, infinite and unseen values, where there are any.
    """

    name: str
    kind: FeatureKind | None
    bins: tuple[str, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """One bin of a reliability curve: mean score, observed share of positives with its Wilson interval, and rows."""

    score: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What one model said of the holdout, thinned to at most 101 thresholds in falling order.

    At `thresholds[i]`: the false and true positive rate (true is recall), precision and cost per
    1,000 rows; None where nothing is called positive. `threshold` is the model's own; `role` is "challenger" or "champion".
    """

    role: str
    threshold: float
    thresholds: tuple[float, ...]
    false_positive_rate: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float | None, ...]
    cost_per_1000: tuple[float, ...]
    calibration: tuple[Calibrated, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """How much ROC-AUC the challenger loses on the holdout when the values of one feature are shuffled.

    The mean over shuffles with the smallest and largest of them (permutation importance, Breiman 2001).
    """

    feature: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All that pages draw of one run beside its record; what the run did not come to is empty.

    `importance` is of `importance_rows` rows, the largest first; `importance_left_out` features were not asked, for
    asking all would take too long: those whose shuffling moved the scores least.
    """

    format: int = 1
    histograms: tuple[Histogram, ...] = ()
    scores: Histogram | None = None
    curves: tuple[Curves, ...] = ()
    importance: tuple[Importance, ...] = ()
    importance_rows: int = 0
    importance_left_out: int = 0

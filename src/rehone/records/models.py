"""Hold what was read, split, trained and judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rehone.records.facts import Check, Window
from rehone.records.words import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file of the window, by its path inside the project, and the digest of its bytes.

    Of a database: one day in UTC, by its date, and the digest of the values of its rows.
    """

    path: str
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWindow:
    """Exactly what a run read: enough to read it again and to notice if it changed.

    `source` is that of the configuration; of a database it also has the question, word for word.
    """

    source: str
    window: Window
    rows: int
    positives: int | None
    sha256: str
    files: tuple[DataFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Which rows were brought from an engine to learn from: all positives, and `negatives` of `of` negatives.

    Each of those negatives weighs `weight`, so that together they weigh as much as all of them.
    """

    positives: int
    negatives: int
    of: int
    weight: float

    @property
    def sentence(self) -> str:
        """Say what was drawn, and so what was left out."""
        return f"all {self.positives:,} positives and {self.negatives:,} of {self.of:,} negatives, each weighing {self.weight:,.4g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The newest matured rows are held out; everything older may be learned from.

    The counts are of all rows, `drawn` or not.
    """

    train: Window
    holdout: Window
    train_rows: int
    train_positives: int
    holdout_rows: int
    holdout_positives: int
    drawn: Draw | None = None


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
    """One estimator on one training window: its cross-validated scores, or why it has none.

    `newest_roc_auc` is that of the newest part of the trailing rows, learned from everything older
    in the window; None where that part has too few rows of a class.
    """

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
    newest_roc_auc: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate concluded, with every check it made and both models' metrics.

    `flip` says in one sentence what would have turned the verdict, by how much.
    """

    outcome: Outcome
    reason: str
    checks: tuple[Check, ...] = ()
    challenger: Metrics | None = None
    champion: Metrics | None = None
    weak_evidence: bool = False
    lacks_rows: bool = False
    flip: str = ""

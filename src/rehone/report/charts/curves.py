"""Draw what challenger and champion said of the holdout: ROC, precision and recall, calibration, cost."""

from __future__ import annotations

from collections.abc import Sequence

from rehone.records import Curves
from rehone.report.charts.chart import Chart


def roc(curves: Sequence[Curves]) -> Chart | None:
    """Draw recall against the false positive rate, each model's own threshold marked."""
    raise NotImplementedError


def precision_recall(curves: Sequence[Curves]) -> Chart | None:
    """Draw precision against recall, each model's own threshold marked."""
    raise NotImplementedError


def calibration(curves: Sequence[Curves]) -> Chart | None:
    """Draw observed shares of positives, with Wilson intervals, against what was scored."""
    raise NotImplementedError


def cost_curve(curves: Sequence[Curves]) -> Chart | None:
    """Draw the cost per 1,000 rows against the threshold, each model's own marked."""
    raise NotImplementedError

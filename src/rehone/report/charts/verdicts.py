"""Draw what a challenger was chosen and judged by: candidates, comparisons, importances."""

from __future__ import annotations

from rehone.records import Figures, RunRecord, Verdict
from rehone.report.charts.chart import Chart


def intervals(verdict: Verdict | None) -> Chart | None:
    """Draw each comparison with a past or present champion as an interval, in units of its margin."""
    raise NotImplementedError


def importance(figures: Figures | None) -> Chart | None:
    """Draw what shuffling a feature costs the challenger in ROC-AUC."""
    raise NotImplementedError


def candidates(record: RunRecord) -> Chart | None:
    """Draw the cross-validated ROC-AUC of each candidate, fold by fold."""
    raise NotImplementedError

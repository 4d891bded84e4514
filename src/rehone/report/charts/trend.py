"""Draw challengers over retrains, what their promotions brought, and the worst drift of each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rehone.records import RunSummary, TrackRecord
from rehone.report.charts.chart import Chart

Metric = Literal["roc_auc", "recall", "cost_per_1000"]


def trend(summaries: Sequence[RunSummary], track: TrackRecord | None, metric: Metric) -> Chart | None:
    """Draw one point for each challenger that was judged, and beside it what champions really achieved."""
    raise NotImplementedError


def promises(track: TrackRecord | None) -> Chart | None:
    """Draw the gain that each promotion promised, and the one that came once labels were due."""
    raise NotImplementedError


def psi_time(summaries: Sequence[RunSummary]) -> Chart | None:
    """Draw the largest PSI of each run."""
    raise NotImplementedError

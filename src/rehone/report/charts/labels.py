"""Draw what is known from labels, and before they are due: their rate, and recall."""

from __future__ import annotations

from collections.abc import Sequence

from rehone.records import RunRecord, RunSummary
from rehone.report.charts.chart import Chart


def label_rate(summaries: Sequence[RunSummary]) -> Chart | None:
    """Draw the share of positives over runs."""
    raise NotImplementedError


def recall_axis(
    summaries: Sequence[RunSummary], records: Sequence[RunRecord] = (), limit: float | None = None
) -> Chart | None:
    """Draw the champion's recall: as estimated, as measured once labels were due, and what became of estimates.

    `records` say what became of estimates (`evidence.held`); `limit` is the recall below which performance acts.
    """
    raise NotImplementedError

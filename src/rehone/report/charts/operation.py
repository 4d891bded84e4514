"""Draw how the pipeline itself does: its times, its refusals, and what it has put live."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rehone.records import Deployment, Health, RunSummary
from rehone.report.charts.chart import Chart


def run_times(summaries: Sequence[RunSummary]) -> Chart | None:
    """Draw how long runs took."""
    raise NotImplementedError


def gate_failures(summaries: Sequence[RunSummary], health: Health) -> Chart | None:
    """Draw what the gate said of challengers, and the share that it refused."""
    raise NotImplementedError


def deployments(found: Sequence[Deployment], until: datetime | None = None) -> Chart | None:
    """Draw which version was live when; the last one up to `until`."""
    raise NotImplementedError

"""Draw the drift of features over runs: one row a feature, one column a run."""

from __future__ import annotations

from collections.abc import Sequence

from rehone.records import RunRecord
from rehone.report.charts.chart import Chart


def heat(records: Sequence[RunRecord], limits: tuple[float, float | None] = (0.10, 0.25)) -> Chart | None:
    """Draw PSI of features over runs, as each run judged it; cells lead to `#hist-` and the slug of the feature.

    `limits`, from which on to warn and to act, are for runs that did not come to decide.
    """
    raise NotImplementedError

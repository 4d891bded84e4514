"""Draw reference and current rows side by side, by bin."""

from __future__ import annotations

from rehone.records import Histogram
from rehone.report.charts.chart import Chart


def histogram(found: Histogram) -> Chart | None:
    """Draw the shares of rows in each bin of a feature, missing and unseen values set apart."""
    raise NotImplementedError


def scores(found: Histogram | None) -> Chart | None:
    """Draw the shares of rows in each bin of the champion's scores."""
    raise NotImplementedError

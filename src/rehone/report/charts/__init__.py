"""Draw figures as charts, with Vega-Lite, on this machine."""

from rehone.report.charts.chart import Chart

__all__ = ["Chart"]

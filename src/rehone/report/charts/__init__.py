"""Draw figures as charts, with Vega-Lite, on this machine; each returns a chart, or None where nothing was measured."""

from rehone.report.charts.chart import Chart
from rehone.report.charts.course import course
from rehone.report.charts.curves import calibration, cost_curve, precision_recall, roc
from rehone.report.charts.heat import heat, psi_time
from rehone.report.charts.histograms import histogram, scores
from rehone.report.charts.labels import label_rate, recall_axis
from rehone.report.charts.operation import gate_failures, run_times
from rehone.report.charts.promises import promises
from rehone.report.charts.timeline import deployments
from rehone.report.charts.trend import trend
from rehone.report.charts.verdicts import candidates, importance, intervals

__all__ = [
    "Chart",
    "calibration",
    "candidates",
    "cost_curve",
    "course",
    "deployments",
    "gate_failures",
    "heat",
    "histogram",
    "importance",
    "intervals",
    "label_rate",
    "precision_recall",
    "promises",
    "psi_time",
    "recall_axis",
    "roc",
    "run_times",
    "scores",
    "trend",
]

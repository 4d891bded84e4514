"""State the particulars of a run as names and texts, the same for a page and for a terminal."""

from rehone.report.particulars import bounds
from rehone.report.particulars.deployments import deployed, timeline
from rehone.report.particulars.estimates import delays, estimated, held, performance
from rehone.report.particulars.labels import coverage, served_versions, shadow, skew
from rehone.report.particulars.matured import in_use, matured
from rehone.report.particulars.models import Compared, call, candidates, comparisons, costs, metrics
from rehone.report.particulars.run import data, run
from rehone.report.particulars.shifts import SUGGESTED, shift

__all__ = [
    "SUGGESTED",
    "Compared",
    "bounds",
    "call",
    "candidates",
    "comparisons",
    "costs",
    "coverage",
    "data",
    "delays",
    "deployed",
    "estimated",
    "held",
    "in_use",
    "matured",
    "metrics",
    "performance",
    "run",
    "served_versions",
    "shadow",
    "shift",
    "skew",
    "timeline",
]

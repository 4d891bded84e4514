"""Measure how far current rows have moved from what a version remembers of its own."""

from rehone.drift.bins import SMOOTHING
from rehone.drift.features import CREDIBLE, feature_drift
from rehone.drift.histograms import histograms, score_histogram
from rehone.drift.law import chance_ks, chance_psi
from rehone.drift.scores import score_drift

__all__ = [
    "CREDIBLE",
    "SMOOTHING",
    "chance_ks",
    "chance_psi",
    "feature_drift",
    "histograms",
    "score_drift",
    "score_histogram",
]

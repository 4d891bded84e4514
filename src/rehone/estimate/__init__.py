"""Estimate how good scores are before their labels are known: from what such scores were worth before.

Scores are turned into probabilities by isotonic regression on labelled, out-of-sample rows
(Zadrozny and Elkan 2002); what decisions are expected to catch and to cost follows from them
(confidence-based performance estimation). That holds while a score means what it meant. Where
only the share of positives has changed, the probabilities are corrected by the share that makes
the new scores most likely (Saerens, Latinne and Decaestecker 2002). No estimate without labels
sees that the same inputs mean something else.
"""

from rehone.estimate.calibration import Calibrator, Expected, calibrate, expected
from rehone.estimate.draws import Terms
from rehone.estimate.making import FIT_LEVEL, estimate
from rehone.estimate.reference import LEAST_POSITIVES, Reference, of_profile, of_rows, with_worth
from rehone.estimate.shares import for_prior, mixture_fit, share_of, share_of_positives

__all__ = [
    "FIT_LEVEL",
    "LEAST_POSITIVES",
    "Calibrator",
    "Expected",
    "Reference",
    "Terms",
    "calibrate",
    "estimate",
    "expected",
    "for_prior",
    "mixture_fit",
    "of_profile",
    "of_rows",
    "share_of",
    "share_of_positives",
    "with_worth",
]

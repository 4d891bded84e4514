"""Lay a recalibration over a model's own probabilities."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from rehone.errors import Corrupt
from rehone.records import Recalibration, RecalibrationKind

Floats = NDArray[np.float64]

EXTREME = 1e-9
"""Probabilities are taken to be at least this far from 0 and 1 before their logit is."""


def laid_over(layer: Recalibration | None, scores: Floats) -> Floats:
    """Return the probabilities that a layer makes of the model's own, (n,); none and "threshold" leave them alone."""
    if layer is None or layer.kind is RecalibrationKind.THRESHOLD:
        return scores
    if layer.kind is RecalibrationKind.ISOTONIC:
        return np.interp(scores, layer.x, layer.y)
    mapped: Floats = expit(layer.intercept + layer.slope * log_odds(scores))
    return mapped


def log_odds(scores: Floats) -> Floats:
    """Return the logit of probabilities, (n,), of 0 and 1 as of what is 1e-9 away."""
    odds: Floats = logit(np.clip(scores, EXTREME, 1 - EXTREME))
    return odds


def check_layer(layer: Recalibration | None) -> None:
    """Refuse a layer that would not keep the order of scores, or that no number can pass.

    Raises:
        Corrupt: it is not one that Rehone makes.
    """
    if layer is None or layer.kind is RecalibrationKind.THRESHOLD:
        return
    if layer.kind is RecalibrationKind.PLATT:
        sound = math.isfinite(layer.intercept) and math.isfinite(layer.slope) and layer.slope > 0
    else:
        sound = _rising(layer.x) and _rising(layer.y) and len(layer.x) == len(layer.y) > 1
    if not sound:
        raise Corrupt(
            f"the recalibration of the version ({layer.kind.value}) does not keep the order of scores: "
            "roll back to another version"
        )


def _rising(points: tuple[float, ...]) -> bool:
    inside = all(0 <= point <= 1 for point in points)  # never true of NaN
    return inside and all(a < b for a, b in itertools.pairwise(points))

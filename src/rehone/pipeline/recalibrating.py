"""Make a challenger of the champion itself: the same model with a new threshold or calibration."""

from __future__ import annotations

from rehone import train
from rehone.pipeline.scene import Scene


def wanted(scene: Scene) -> bool:
    """Say whether this run is to recalibrate the champion and not to train anew."""
    return False


def recalibrated(scene: Scene) -> train.Search:
    """Return the champion's own model with the layer that serves newer rows best, as the winner of a search."""
    raise NotImplementedError

"""Simulate streams of rows whose odds are known, to test what decides and judges."""

from rehone.testing.stream import Dials, FraudStream
from rehone.testing.world import FEATURES

__all__ = ["FEATURES", "Dials", "FraudStream"]

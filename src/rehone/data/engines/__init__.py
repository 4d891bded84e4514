"""Read a lazy frame on the user's own engine: counts come back, and only the rows that are learned from."""

from rehone.data.engines.drawing import WEIGHT, Population, draw, ends, tally
from rehone.data.engines.naming import NAMED, frame_of
from rehone.data.engines.source import EngineSource, open_engine

__all__ = [
    "NAMED",
    "WEIGHT",
    "EngineSource",
    "Population",
    "draw",
    "ends",
    "frame_of",
    "open_engine",
    "tally",
]

"""Remember a version's data as counts in bins, and count any later rows into the same bins."""

from rehone.profile.build import build
from rehone.profile.counting import add, count
from rehone.profile.drawn import Population, build_drawn, scored_drawn

__all__ = ["Population", "add", "build", "build_drawn", "count", "scored_drawn"]

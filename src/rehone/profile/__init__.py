"""Remember a version's data as counts in bins, and count any later rows into the same bins."""

from rehone.profile.build import build
from rehone.profile.counting import add, count

__all__ = ["add", "build", "count"]

"""Tell the story of one run: look, decide, validate, train, judge, promote, record."""

from rehone.pipeline.evidence import Champion, Look, attempts, look
from rehone.pipeline.story import Door, preview, run

__all__ = ["Champion", "Door", "Look", "attempts", "look", "preview", "run"]

"""Tell the story of one run: look, decide, validate, train, judge, promote, record.

`run` tells it, `preview` says what it would decide. Only `story` knows the order of the stages.
"""

from rehone.pipeline.preview import preview
from rehone.pipeline.story import Door, run

__all__ = ["Door", "preview", "run"]

"""Tell the story of one run: look, decide, validate, train, judge, promote, record.

`run` tells it, `preview` says what it would decide, `check`, `stage` and `close` make it stage by
stage, `approve` and `reject` carry out what a person answered, `outlook` holds its promotions against what came true, `replay` decides and judges a recorded
one again. Only `story` knows the order of the stages.
"""

from rehone.pipeline.approving import Answer, approve, reject
from rehone.pipeline.asking import settle
from rehone.pipeline.forecasts import outlook
from rehone.pipeline.preview import preview
from rehone.pipeline.replaying import replay
from rehone.pipeline.scene import Door
from rehone.pipeline.staged import STAGES, check, close, stage
from rehone.pipeline.story import run

__all__ = [
    "STAGES",
    "Answer",
    "Door",
    "approve",
    "check",
    "close",
    "outlook",
    "preview",
    "reject",
    "replay",
    "run",
    "settle",
    "stage",
]

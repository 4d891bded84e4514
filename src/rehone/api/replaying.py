"""Decide and judge a recorded run again."""

from __future__ import annotations

from rehone.api.door import Where, config_of
from rehone.records import Replay


def replay(project: Where, run: str) -> Replay:
    """Decide and judge a recorded run again from what it recorded, and say what differs; change nothing.

    Args:
        project: folder with a `rehone.toml`, that file, or a `Config`.
        run: the id of a run, or its first digits.

    Raises:
        NotFound: there is no such run.
        Corrupt: its record cannot be read.
    """
    from rehone import pipeline

    return pipeline.replay(config_of(project), run)

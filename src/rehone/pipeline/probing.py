"""Ask one cheap fit whether a retrain would gain anything, before the search is paid for."""

from __future__ import annotations

from rehone.pipeline.scene import Ending, Scene


def probe(scene: Scene) -> Ending | None:
    """Note what a retrain is expected to gain; end the run when that is nothing and the policy says so."""
    return None

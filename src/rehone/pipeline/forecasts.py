"""Hold earlier promotions against what came true since."""

from __future__ import annotations

from rehone.pipeline.scene import Scene
from rehone.records import Realised


def realised(scene: Scene) -> tuple[Realised, ...]:
    """Return what became of each promotion whose rows have matured and that was not told before."""
    return ()

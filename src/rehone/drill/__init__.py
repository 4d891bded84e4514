"""Sabotage the gate and the service of a project on purpose, and report what they caught.

Everything happens in a folder of its own, on rows that the project's source gives: neither the
store nor the run log of the project is written, and no tracker is told.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rehone.config import Config
from rehone.drill.challengers import challengers
from rehone.drill.ground import apart, newest, prepare
from rehone.drill.pairs import known_pairs
from rehone.drill.wirings import wirings
from rehone.errors import RehoneError
from rehone.pipeline.scene import Door, Scene
from rehone.pipeline.story import begin
from rehone.records import DrillReport, RunRecord, RunStatus, Sabotage
from rehone.store import Store, has_store

__all__ = ["Ask", "drill"]

Progress = Callable[[str, int, int], None]

SABOTAGES = 18


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a drill is asked for: `rows` at most to learn from, `pairs` of equal models (0: none)."""

    rows: int = 20_000
    pairs: int = 200
    newest: bool = True
    progress: Progress = field(default=lambda _what, _done, _total: None)


def drill(config: Config, door: Door, ask: Ask) -> DrillReport:
    """Sabotage challengers and wirings one by one, and bring each before the configured gate and service.

    With `ask.newest` the day is that of the newest row, and not `door.as_of`.

    Raises:
        RehoneError: the project's rows cannot be learned from, or the recipe cannot be fitted.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rehone-drill-") as name:
        own, champion = apart(config, Path(name)), _has_champion(config)
        door = replace(door, as_of=newest(own, door.as_of, champion=champion)) if ask.newest else door
        made: list[DrillReport] = []
        ended = begin(own, door, lambda scene: _told(scene, ask, made, champion))
    if not made:
        raise RehoneError(ended.sentence)
    return replace(made[0], seconds=round(time.monotonic() - began, 1))


def _has_champion(config: Config) -> bool:
    head = Store.of(config).head() if has_store(config) else None
    return head is not None and head.version is not None


def _told(scene: Scene, ask: Ask, made: list[DrillReport], champion: bool) -> RunRecord:
    ask.progress("taking rows, fitting an honest challenger and a champion", 0, SABOTAGES)
    ground = prepare(scene, ask.rows, champion=champion)
    done: list[Sabotage] = []
    for stream in (challengers(ground), wirings(ground)):
        for one in stream:
            done.append(_apart_from_honest(one, done))
            ask.progress(f"{one.name}: {done[-1].happened}", len(done), SABOTAGES)
    pairs = None
    if ask.pairs:
        pairs = known_pairs(ground, ask.pairs, lambda n, of: ask.progress("equal pairs", n, of))
    split = scene.split
    made.append(
        DrillReport(
            project=scene.config.project.name,
            as_of=scene.door.as_of,
            rows=split.holdout_rows,
            positives=split.holdout_positives,
            sabotages=tuple(done),
            pairs=pairs,
            champion=ground.recipe.title,
        )
    )
    return scene.draft.end(RunStatus.SKIPPED, "drilled")


def _apart_from_honest(one: Sabotage, before: Sequence[Sabotage]) -> Sabotage:
    """Call what is stopped only by what holds the honest challenger too neither caught nor let through."""
    honest = before[0].caught_by if before else ()
    if one.happened != "caught" or not honest or not set(one.caught_by) <= set(honest):
        return one
    said = f"stopped only by what holds the honest challenger too: {one.detail}"
    return replace(one, happened="unclear", detail=said)

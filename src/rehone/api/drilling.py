"""Sabotage a project's gate and service on purpose."""

from __future__ import annotations

from collections.abc import Callable

from rehone.api.door import When, Where, config_of, door_for, moment
from rehone.records import DrillReport


def drill(
    project: Where = ".",
    *,
    as_of: When = None,
    rows: int = 20_000,
    pairs: int = 200,
    progress: Callable[[str, int, int], None] | None = None,
) -> DrillReport:
    """Bring sabotaged challengers and wirings before the configured gate and service, and say what they caught.

    The project is only read: models are made, published and deployed in a folder that is thrown away.

    Args:
        project: folder with a `rehone.toml`, that file, or a `Config`.
        as_of: act as if it were this day; left out: the day of the newest row.
        rows: most rows that a model of the drill learns from.
        pairs: how many pairs of equal models are brought before the gate; 0: none.
        progress: is told what was done, and how much of how much.

    Raises:
        RehoneError: the project's rows cannot be learned from.
    """
    from rehone import drill as room

    config = config_of(project)
    ask = room.Ask(rows=rows, pairs=pairs, newest=as_of is None, **({"progress": progress} if progress else {}))
    return room.drill(config, door_for(config, moment(as_of, config)), ask)

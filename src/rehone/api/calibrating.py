"""Learn drift limits from a project's own history, and write them into its configuration when asked to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from rehone.api.door import When, Where, config_of, moment
from rehone.config import CONFIG_NAME, Config, difference, parse_config, with_keys
from rehone.disk import Disk
from rehone.errors import RehoneError
from rehone.records import Calibration

Origin = Literal["auto", "records", "data"]


class Asked(TypedDict, total=False):
    """What is asked of history; see `calibrate`."""

    as_of: When
    drop: float
    window_days: float | None
    version: str | None
    origin: Origin


def calibrate(
    project: Where = ".", *, listen: Callable[[int, int], None] | None = None, **asked: Unpack[Asked]
) -> Calibration:
    """Return from which drift on the model had lost recall, and the change of the configuration that follows.

    Args:
        listen: is told how many windows of how many are measured.
        as_of: pretend that it is this day; left out: now.
        drop: share of the recall that a version had when it was judged whose loss counts as a fall; 0.10.
        window_days: length of windows; left out: `trigger.window_days`, which limits are meant for.
        version: hold this version for the whole of history, instead of what was live.
        origin: "records" (evidence of earlier runs), "data" (measured again), or "auto".

    Raises:
        NotFound: nothing was ever live, or there is no such version.
    """
    from rehone import calibrate as calibrating

    config = config_of(project)
    question = calibrating.Question(
        as_of=moment(asked.get("as_of"), config),
        drop=asked.get("drop", 0.10),
        window_days=asked.get("window_days"),
        version=asked.get("version"),
        origin=asked.get("origin", "auto"),
    )
    made = calibrating.calibrate(config, question, *((listen,) if listen else ()))
    before = _text(_file(project))
    if before is None or not made.changes:
        return made
    return replace(made, diff=difference(before, with_keys(before, made.changes), _file(project).name))


def apply_calibration(project: Where, found: Calibration) -> Config:
    """Write the changes into the project's file, comments kept, and return the configuration that it now holds.

    Raises:
        RehoneError: there is no file, or it would not hold these values afterwards; it is not touched then.
    """
    file = _file(project)
    before = _text(file)
    if before is None:
        raise RehoneError(f"{file} cannot be read: set {', '.join(found.changes)} where the configuration comes from")
    after = with_keys(before, found.changes)
    config = parse_config(after, source=str(file), root=file.parent)
    held = config.as_json()
    for dotted, value in found.changes.items():
        section, _, key = dotted.partition(".")
        if held[section][key] != value:
            raise RehoneError(f"{file} cannot be changed by itself: set {dotted} = {value:g} by hand")
    Disk().replace(file.resolve(), after.encode())
    return config


def _file(project: Where) -> Path:
    if isinstance(project, Config):
        return project.root / CONFIG_NAME
    path = Path(project)
    return path / CONFIG_NAME if path.is_dir() else path


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return None

"""Make a project of a folder with data: look, infer, and write a commented `rehone.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rehone.cli.find import find
from rehone.cli.infer import Ask, Inferred, infer, kinds
from rehone.cli.template import Setting, toml, write
from rehone.cli.text import fact
from rehone.config import CONFIG_NAME, parse_config, section_model
from rehone.errors import RehoneError
from rehone.report.again import option

COLUMN = 10


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the person already said."""

    label: str | None = None
    time: str | None = None
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class Written:
    """The file that was written, and what it was written from."""

    path: Path
    folder: Path
    inferred: Inferred
    settings: Mapping[str, Setting]


def init(folder: Path, wishes: Wishes, *, ask: Ask | None = None) -> Written:
    """Look at the data in a folder and write its `rehone.toml`.

    `ask` puts a question with choices to a person and returns the one that was picked; without
    it nothing is asked.

    Raises:
        RehoneError: there is a file already, no data, or no way to tell what they mean.
    """
    path = folder / CONFIG_NAME
    if not folder.is_dir():
        raise RehoneError(f"{folder} is no folder: name the folder that holds the data, as in `rehone init DIR`")
    if path.exists() and not wishes.force:
        raise RehoneError(f"{path} is already there: edit it, or replace it with `rehone init --force`")
    inferred = infer(find(folder), label=wishes.label, time=wishes.time, ask=ask)
    settings = _with_name(folder, inferred)
    text = write(settings)
    parse_config(text, source=str(path), root=folder)
    _put(path, text)
    return Written(path=path, folder=folder, inferred=inferred, settings=settings)


def _with_name(folder: Path, inferred: Inferred) -> dict[str, Setting]:
    name = re.sub(r"[^\w.-]+", "-", folder.resolve().name).strip("-.") or "model"
    settings = {
        "project.name": Setting(key="project.name", value=name, why="the name of the folder"),
        **inferred.settings,
    }
    for said in inferred.undecided:
        key, _, why = said.partition(": ")
        settings[key] = Setting(key=key, value=_default(key), why=f"DECIDE: {why}")
    return settings


def _default(key: str) -> object:
    section, _, name = key.partition(".")
    return section_model(section).model_fields[name].get_default(call_default_factory=True)


def _put(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise RehoneError(f"{path} cannot be written ({error.strerror}): make the folder writable") from None
    finally:
        draft.unlink(missing_ok=True)


def plain(written: Written) -> dict[str, Any]:
    """Give what was written as plain facts: the file, and each key with its value and why."""
    keys = {key: {"value": setting.value, "why": setting.why} for key, setting in written.settings.items()}
    return {
        "path": str(written.path),
        "rows": written.inferred.rows,
        "keys": keys,
        "decide": written.inferred.undecided,
    }


def lines(written: Written, width: int, *, now: datetime | None = None) -> list[str]:
    """Say what was found, what was decided and why, and what a person must decide."""
    said = written.inferred
    files = "1 file" if len(said.found.files) == 1 else f"{len(said.found.files):,} files"
    told = [f"wrote {written.path}: {files}, {said.rows:,} rows, {said.first} to {said.last}"]
    time = said.settings.get("data.time_column")
    told += _fact("time", f"{time.value}: {time.why}" if time else "the date in each file's name", width)
    label = said.settings["data.label"]
    told += _fact("label", f"{label.value}: {label.why}; {100 * said.rate:.3g}% positives", width)
    counted = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds(said).items()))
    told += _fact("features", f"{len(said.features)} ({counted}): {', '.join(said.features)}", width)
    if excluded := said.settings.get("data.exclude"):
        for name, why in excluded.each.items():
            told += _fact("left out", f"{name}: {why}", width)
    for key, setting in said.settings.items():
        if key not in ("data.source", "data.time_column", "data.label", "data.exclude"):
            told += _fact("set", f"{key} = {toml(setting.value)}: {setting.why}", width)
    for note in said.notes:
        told += _fact("note", note, width)
    for what in said.undecided:
        told += _fact("decide", what, width)
    return told + _next(written, width, now or datetime.now(UTC))


def _fact(name: str, text: str, width: int) -> list[str]:
    return fact(name, text, width, column=COLUMN)


def _next(written: Written, width: int, now: datetime) -> list[str]:
    where, newest = option(str(written.folder)), written.inferred.last
    stale = written.settings.get("data.stale_after_days")
    if (now.date() - newest).days <= (stale.value if stale else 3):
        return _fact("next", f"`rehone run{where}` makes and deploys a first version", width)
    day = newest + timedelta(days=1)
    said = f"`rehone run --as-of {day}{where}` makes a first version; the newest row is of {newest}, so a run of today would call the feed stale"
    return _fact("next", said, width)

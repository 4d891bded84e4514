"""Read the file and say everything that is wrong with it, each with its line and the remedy."""

from __future__ import annotations

import difflib
import importlib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rehone.config.sections import CONFIG_NAME, Config, section_model
from rehone.errors import ConfigError


def load_config(path: Path) -> Config:
    """Read a `rehone.toml`, or the one in the folder given.

    Raises:
        ConfigError: the file is missing or cannot be used; every problem is listed with its
            line and what to do.
    """
    file = path / CONFIG_NAME if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(file),
            [
                f"cannot be read ({error}): run `rehone init` in the project's folder, or name the project with --project"
            ],
        ) from None
    return parse_config(text, source=str(file), root=file.parent)


def parse_config(text: str, *, source: str = CONFIG_NAME, root: Path = Path()) -> Config:
    """Read the text of a `rehone.toml`.

    Raises:
        ConfigError: the text cannot be used; every problem is listed.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [f"not valid TOML: {error}"]) from None
    if "root" in tables:
        raise ConfigError(source, [_unknown(text, ("root",))])
    try:
        return Config(**tables, root=root)
    except ValidationError as error:
        causes = _without_followers(error.errors())
        found = dict.fromkeys(_problem(text, e["type"], e["loc"], e["msg"], e.get("input")) for e in causes)
        raise ConfigError(source, sorted(found, key=_line_first)) from None


def _without_followers(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out what is wrong with a list only because one of its items is wrong."""
    places = [error["loc"] for error in errors]
    return [e for e in errors if not any(len(p) > len(e["loc"]) and p[: len(e["loc"])] == e["loc"] for p in places)]


def _line_first(problem: str) -> tuple[int, str]:
    number = re.match(r"line (\d+)", problem)
    return (int(number[1]) if number else 0, problem)


def _problem(text: str, kind: str, loc: tuple[int | str, ...], message: str, value: object) -> str:
    if kind == "extra_forbidden":
        return _unknown(text, loc)
    where = _where(text, loc)
    said = message.removeprefix("Value error, ")
    shown = "" if isinstance(value, dict | BaseModel) or kind == "missing" else f" (is {value!r})"
    return f"{where}{said[0].lower() + said[1:] if kind != 'value_error' else said}{shown}"


def _unknown(text: str, keys: tuple[int | str, ...]) -> str:
    section, name = _section_of(keys), str(keys[-1])
    known = _known_keys(section)
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    elsewhere = [s for s, f in Config.model_fields.items() if s != "root" and name in _known_keys((s,))]
    if near:
        remedy = f"did you mean {near[0]!r}?"
    elif elsewhere:
        remedy = f"it belongs in [{elsewhere[0]}]"
    else:
        remedy = f"known keys are {', '.join(known)}"
    return f"{_where(text, keys)}unknown key: {remedy}"


def _section_of(keys: tuple[int | str, ...]) -> tuple[str, ...]:
    return tuple(str(k) for k in keys[:-1] if isinstance(k, str))


def _known_keys(section: tuple[str, ...]) -> list[str]:
    if section[:2] == ("train", "candidates"):
        return ["name", "class", "params"]
    if not section:
        return [name for name in Config.model_fields if name != "root"]
    return list(section_model(section[0]).model_fields)


def _where(text: str, keys: tuple[int | str, ...]) -> str:
    names = [str(k) for k in keys if isinstance(k, str)]
    line = _line_of(text, names)
    dotted = ".".join(names)
    prefix = f"line {line}: " if line else ""
    return f"{prefix}{dotted}: " if dotted else prefix


def _line_of(text: str, names: list[str]) -> int | None:
    if not names:
        return None
    section, found, header = "", None, None
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            section = match[1].replace(" ", "").strip('"')
            if section == names[0]:
                header = header or number
        elif (match := re.match(r'\s*"?([\w.-]+)"?\s*=', line)) and f"{section}.{match[1]}".strip(".") == ".".join(
            names[:2]
        ):
            found = found or number
    return found or header


def import_class(path: str) -> type[Any]:
    """Import a class by its dotted path.

    Raises:
        ConfigError: there is no such module or class.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            CONFIG_NAME,
            [
                f"train.candidates: cannot import {path!r} ({error}): check the path, or install the package it comes from"
            ],
        ) from None
    if not isinstance(found, type):
        raise ConfigError(
            CONFIG_NAME, [f"train.candidates: {path!r} is not a class: name a scikit-learn-compatible classifier"]
        )
    return found

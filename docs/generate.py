"""Write docs/reference/ from the commands, the configuration and the records themselves.

python docs/generate.py           writes the pages
python docs/generate.py --check   exits with 1 if a page is not what would be written
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from rehone.cli.commands import app
from rehone.cli.endings import EXIT_CODES
from rehone.cli.template import sections
from rehone.config import Config, section_model
from rehone.records import (
    calibration,
    deployments,
    evidence,
    facts,
    figures,
    foresight,
    health,
    models,
    profiles,
    proofs,
    runs,
    words,
)

PAGES = Path(__file__).parent / "reference"
NOTE = "<!-- written by docs/generate.py: change the code, then run `python docs/generate.py` -->"


def commands() -> str:
    """Document every command and option."""
    return _page("Commands", _commands())


def configuration() -> str:
    """Document every key of `rehone.toml`."""
    return _page("Configuration: `rehone.toml`", _configuration())


def run_records() -> str:
    """Document every field of what `--json` prints and of what lies in `runs/` and `store/`."""
    return _page("Records", _records())


def pages() -> dict[str, Callable[[], str]]:
    """Name the pages and how each is written."""
    return {"commands.md": commands, "configuration.md": configuration, "records.md": run_records}


def main(args: list[str]) -> int:
    """Write the pages, or say which are out of date."""
    stale = []
    for name, write in pages().items():
        path, text = PAGES / name, write()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in args:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in args:
        sys.stderr.write(f"out of date: {', '.join(stale)}: run `python docs/generate.py`\n")
        return 1
    return 0


def _page(title: str, lines: Iterator[str]) -> str:
    text = "\n".join([f"# {title}", "", NOTE, "", *lines])
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _commands() -> Iterator[str]:
    yield inspect.cleandoc(app.help or "")
    yield ""
    yield from _options(app)
    for own in every_command(click.Context(app, info_name="rehone")):
        yield f"## `{own.command_path}`"
        yield ""
        yield f"    {own.command_path} {' '.join(own.command.collect_usage_pieces(own))}"
        yield ""
        yield inspect.cleandoc(own.command.help or "")
        yield ""
        yield from _options(own.command)
    yield "## Exit codes"
    yield ""
    yield "| code | means |"
    yield "|---|---|"
    for code, meaning in EXIT_CODES.items():
        yield f"| {code} | {_cell(meaning)} |"


def every_command(context: click.Context) -> Iterator[click.Context]:
    """Walk through the commands of a group, those of its groups after each of them."""
    if not isinstance(context.command, click.Group):
        return
    for name, command in sorted(context.command.commands.items()):
        if not command.hidden:
            own = click.Context(command, info_name=name, parent=context)
            yield own
            yield from every_command(own)


def _options(command: click.Command) -> Iterator[str]:
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if not options:
        return
    yield "| option | means |"
    yield "|---|---|"
    for option in options:
        names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
        value = "" if option.is_flag else f" {option.metavar or 'N'}"
        default = f" Default: `{option.default}`." if option.show_default is True else ""
        yield f"| {names}{value} | {_cell(option.help or '')}{default} |"
    yield ""


def _configuration() -> Iterator[str]:
    yield "Every key has a default; an unknown key is refused, and all problems are listed at once."
    yield "`rehone init` writes a file in which every key stands with its description."
    for section in sections():
        model = section_model(section)
        properties = model.model_json_schema()["properties"]
        yield ""
        yield f"## `[{section}]`"
        yield ""
        yield inspect.cleandoc(model.__doc__ or "")
        yield ""
        yield "| key | type | default | means |"
        yield "|---|---|---|---|"
        for name, field in model.model_fields.items():
            default = Config().as_json()[section][name]
            shown = "not set" if default is None else f"`{_default(default)}`"
            yield f"| `{name}` | {_cell(_type(properties[name]))} | {_cell(shown)} | {_cell(field.description or '')} |"


def _default(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = [item["class"] for item in value]
    return json.dumps(value, ensure_ascii=False)


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    if "$ref" in schema:
        return "name or table"
    if schema.get("type") == "array":
        return f"list of: {_type(schema['items'])}"
    names = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    kind = names.get(schema.get("type", ""), schema.get("type", "any"))
    bounds = (
        (">=", schema.get("minimum")),
        (">", schema.get("exclusiveMinimum")),
        ("<=", schema.get("maximum")),
        ("<", schema.get("exclusiveMaximum")),
    )
    return " ".join([kind, *(f"{sign} {value}" for sign, value in bounds if value is not None)])


def nouns() -> Iterator[tuple[str, type]]:
    """Walk the modules of `records` from the words to the runs, each from top to bottom."""
    for module in (
        words,
        facts,
        profiles,
        evidence,
        foresight,
        models,
        deployments,
        figures,
        health,
        runs,
        calibration,
        proofs,
    ):
        yield from ((n, t) for n, t in vars(module).items() if inspect.isclass(t) and t.__module__ == module.__name__)


def _records() -> Iterator[str]:
    yield "What `--json` prints, what `runs/` and `store/` hold, and what the Python functions return."
    yield "A field that was not measured is `null`. Later versions may add fields; none is renamed or removed."
    for name, thing in nouns():
        if issubclass(thing, enum.StrEnum):
            yield from _values(name, thing)
        elif dataclasses.is_dataclass(thing):
            yield from _fields(name, thing)


def _values(name: str, thing: type[enum.StrEnum]) -> Iterator[str]:
    yield from ("", f"## `{name}`", "", inspect.cleandoc(thing.__doc__ or ""), "")
    yield "One of " + ", ".join(f"`{value}`" for value in thing) + "."


def _fields(name: str, thing: type[Any]) -> Iterator[str]:
    yield from ("", f"## `{name}`", "", inspect.cleandoc(thing.__doc__ or ""), "", "| field | type |", "|---|---|")
    for field in dataclasses.fields(thing):
        yield f"| `{field.name}` | `{_cell(str(field.type))}` |"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

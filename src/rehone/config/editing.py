"""Change keys in the text of a `rehone.toml` and leave everything else, comments too, as it is."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping

Value = bool | int | float | str | tuple[str, ...]

_HEAD = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]")
_TAIL = re.compile(r"""^(?:"(?:\\.|[^"\\])*"|'[^']*'|[^#"'])*?(?P<tail>\s*#.*)?$""")


def with_keys(text: str, changes: Mapping[str, Value]) -> str:
    """Return the text with each `section.key` set to its value.

    A key that stands there keeps its place and the comment behind it; one that does not is put
    behind its commented default, else behind the head of its section, which is added if need be.
    Values that run over several lines are not supported.
    """
    lines = text.splitlines()
    for dotted, value in changes.items():
        section, _, key = dotted.partition(".")
        lines = _with_key(lines, section, key, f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def difference(before: str, after: str, name: str) -> str:
    """Return what `git diff` would show of the change; empty when there is none."""
    made = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=2
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in made)


def _with_key(lines: list[str], section: str, key: str, made: str) -> list[str]:
    span = _span(lines, section)
    if span is None:
        return [*lines, *([""] if lines and lines[-1].strip() else []), f"[{section}]", made]
    head, end = span
    said = re.compile(rf'\s*"?{re.escape(key)}"?\s*=\s*(.*)')
    for i in range(head + 1, end):
        if found := said.match(lines[i]):
            behind = _TAIL.match(found[1])
            tail = (behind["tail"] or "") if behind else ""
            return [*lines[:i], f"{made}{tail}", *lines[i + 1 :]]
    default = re.compile(rf"\s*#\s*{re.escape(key)}\s*=")
    place = next((i for i in range(head + 1, end) if default.match(lines[i])), head)
    return [*lines[: place + 1], made, *lines[place + 1 :]]


def _span(lines: list[str], section: str) -> tuple[int, int] | None:
    heads = [(i, found[1].strip("\"' ")) for i, line in enumerate(lines) if (found := _HEAD.match(line))]
    for at, (i, name) in enumerate(heads):
        if name == section:
            return i, heads[at + 1][0] if at + 1 < len(heads) else len(lines)
    return None


def _toml(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)

"""Lay out sentences, facts and tables as lines that fit a terminal; colour is only an ornament."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click

from rehone.records import Check, CheckStatus, short_id

GAP = "  "
_DIGEST = re.compile(r"[0-9a-f]{64}")
COLOURS = {
    CheckStatus.OK: "green",
    CheckStatus.WARN: "yellow",
    CheckStatus.ACT: "red",
    CheckStatus.UNKNOWN: "magenta",
}


def width() -> int:
    """Return the columns to write in: those of a terminal, 40 to 100, and 80 elsewhere."""
    return max(40, min(shutil.get_terminal_size().columns, 100)) if sys.stdout.isatty() else 80


def clean(text: str) -> str:
    """Return text without characters that could steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def wrapped(text: str, width: int, *, indent: int = 0, first: str | None = None) -> list[str]:
    """Break text into lines of at most `width`, behind `first` and then a hanging indent.

    What `|` parts, as several reasons of one verdict, begins a line of its own.
    """
    pad = " " * indent
    lines: list[str] = []
    for part in clean(text).replace(" | ", "\n| ").split("\n"):
        lead = pad if first is None or lines else first.ljust(indent)
        lines += textwrap.wrap(
            part,
            width,
            initial_indent=lead,
            subsequent_indent=pad,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [lead.rstrip()]
    return lines


def fact(name: str, text: str, width: int, *, column: int = 12) -> list[str]:
    """Write `name  text` with the text in a column of its own."""
    return wrapped(text, width, indent=column + 2, first=f"  {name}")


def facts(pairs: Iterable[tuple[str, str]], width: int) -> list[str]:
    """Write each name with its text."""
    return [line for name, text in pairs for line in fact(name, text, width)]


def title(text: str) -> list[str]:
    """Write a heading, an empty line before it."""
    return ["", click.style(clean(text), bold=True)]


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Align cells in columns; the columns numbered in `right` to the right. The first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(clean("  " + GAP.join(cells)).rstrip())
    return [click.style(lines[0], dim=True), *lines[1:]]


def number(value: float | None, digits: int = 4) -> str:
    """Write a number briefly; a dash when it was not measured."""
    if value is None:
        return "-"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def moment(when: datetime) -> str:
    """Write a moment in UTC; midnight as the day alone."""
    when = when.astimezone(UTC)
    if (when.hour, when.minute, when.second, when.microsecond) == (0, 0, 0, 0):
        return f"{when:%Y-%m-%d}"
    return f"{when:%Y-%m-%d %H:%M} UTC"


def clipped(text: str, width: int) -> str:
    """Cut text to `width`, with dots where it was cut."""
    text = " ".join(clean(text).split())
    return text if len(text) <= width else text[: max(0, width - 3)].rstrip() + "..."


def check_lines(check: Check, width: int) -> list[str]:
    """Write one check: its status and name, its numbers, and what was found unless the numbers say that all is well."""
    status = str(check.status)
    head = wrapped(f"{_DIGEST.sub(_short, check.label)}{_facts(check)}", width, indent=11, first="  ")
    styled = click.style(status.ljust(7), fg=COLOURS[check.status])
    lines = [f"  {styled}{GAP}{head[0].strip()}", *head[1:]]
    if check.status is not CheckStatus.OK or check.value is None or "ignored: " in check.detail:
        said = check.sentence
        if said != check.label:
            lines += wrapped(said, width, indent=11)
    return lines


def _short(found: re.Match[str]) -> str:
    return short_id(found.group())


def _facts(check: Check) -> str:
    parts = []
    if check.value is not None:
        parts.append(number(check.value))
    named = (("limit", check.limit), ("baseline", check.baseline), ("p", check.p_value))
    parts += [f"{name} {number(value, 3)}" for name, value in named if value is not None]
    if check.interval is not None:
        parts.append(f"interval {number(check.interval[0])}..{number(check.interval[1])}")
    counts = (("n", check.n), ("positives", check.positives), ("positives needed", check.positives_needed))
    parts += [f"{name} {value:,}" for name, value in counts if value is not None]
    return f": {', '.join(parts)}" if parts else ""

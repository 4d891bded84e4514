"""Print records and lines; a reader that has seen enough ends nothing."""

from __future__ import annotations

import click

from rehone.cli import endings


def print_json(record: object) -> None:
    """Print a record as JSON."""
    from rehone.codec import encode

    _say(encode(record).decode())


def print_lines(lines: list[str]) -> None:
    """Print lines that were laid out."""
    _say("".join(f"{line}\n" for line in lines))


def _say(text: str) -> None:
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:  # `rehone check | head -1` keeps the exit code of the check
        endings.unread()

"""Print records and lines; a reader that has seen enough ends nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from rehone.cli import endings


def print_json(record: object) -> None:
    """Print a record as JSON."""
    from rehone.codec import encode

    _say(encode(record).decode())


def print_lines(lines: Sequence[str]) -> None:
    """Print lines that were laid out."""
    _say("".join(f"{line}\n" for line in lines))


def print_found(found: object, lines: Callable[[], Sequence[str]], *, as_json: bool, quiet: bool = False) -> None:
    """Print what a command found: as JSON when that was asked for, else as lines, or not at all."""
    if as_json:
        print_json(found)
    elif not quiet:
        print_lines(lines())


def _say(text: str) -> None:
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:  # `rehone check | head -1` keeps the exit code of the check
        endings.unread()

"""Tell why something is, or was, live."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rehone.cli import endings
from rehone.cli.options import json_option, project_option
from rehone.cli.printing import print_json, print_lines
from rehone.cli.text import width, wrapped


@click.command()
@click.argument("asked", metavar="DATE|VERSION")
@project_option
@json_option
def why(asked: str, project: str, as_json: bool) -> int:
    """Tell in ten lines what was live on that date, or why that version was, with the evidence.

    DATE is in data.timezone; VERSION is an id or a beginning of one that is unique.
    """
    from rehone import api

    found = api.why(project, asked)
    if as_json:
        print_json(found)
    else:
        print_lines(why_lines(found.lines, width()))
    return endings.GOOD


def why_lines(said: Sequence[str], columns: int) -> list[str]:
    """Write what was live, then each reason under it."""
    head, *reasons = said
    return [*wrapped(head, columns), *(row for one in reasons for row in wrapped(one, columns, indent=4, first="  - "))]

"""Tell why something is, or was, live."""

from __future__ import annotations

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
        print_lines([line for said in found.lines for line in wrapped(said, width(), indent=2)])
    return endings.GOOD

"""The command `rehone replay`."""

from __future__ import annotations

import click

from rehone.cli.options import project_option


@click.command()
@project_option
def replay(project: str) -> int:
    """Judge a recorded run again from what it recorded, and compare byte for byte."""
    raise NotImplementedError(project)

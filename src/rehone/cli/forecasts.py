"""The command `rehone forecasts`."""

from __future__ import annotations

import click

from rehone.cli.options import project_option


@click.command()
@project_option
def forecasts(project: str) -> int:
    """List what the gate promised of each promotion, and what came true."""
    raise NotImplementedError(project)

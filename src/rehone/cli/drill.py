"""The command `rehone drill`."""

from __future__ import annotations

import click

from rehone.cli.options import project_option


@click.command()
@project_option
def drill(project: str) -> int:
    """Sabotage challengers and wirings on purpose, and report what the gate caught."""
    raise NotImplementedError(project)

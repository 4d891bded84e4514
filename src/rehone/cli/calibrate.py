"""The command `rehone calibrate`."""

from __future__ import annotations

import click

from rehone.cli.options import project_option


@click.command()
@project_option
def calibrate(project: str) -> int:
    """Find in this project's history from which drift on the model had lost performance."""
    raise NotImplementedError(project)

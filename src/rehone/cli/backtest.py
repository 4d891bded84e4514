"""The command `rehone backtest`."""

from __future__ import annotations

import click

from rehone.cli.options import project_option


@click.command()
@project_option
def backtest(project: str) -> int:
    """Replay this project's history day by day under several policies, and compare them."""
    raise NotImplementedError(project)

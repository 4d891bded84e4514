"""Say how the pipeline itself does, and whether it has stopped retraining."""

from __future__ import annotations

import click

from rehone.cli import endings
from rehone.cli.options import json_option, project_option
from rehone.cli.printing import print_json, print_lines
from rehone.cli.text import check_lines, width
from rehone.records import Breaker, CheckStatus, Health


@click.command()
@project_option
@json_option
def health(project: str, as_json: bool) -> int:
    """Say how the pipeline itself does: refused challengers, run times, age of data and labels, alarms, breaker.

    Exits with 2 when something needs a person.
    """
    from rehone import api

    found = api.health(project)
    print_json(found) if as_json else print_lines(health_lines(found, project, width=width()))
    return endings.MUST_FIX if any(c.status is CheckStatus.ACT for c in found.checks) else endings.GOOD


def health_lines(found: Health, project: str, *, width: int) -> list[str]:
    """Lay out the figures, then each check."""
    return [line for check in found.checks for line in check_lines(check, width)]


def breaker_lines(found: Breaker, project: str, *, width: int) -> list[str]:
    """Say whether retraining has stopped, why, and how it goes on."""
    raise NotImplementedError

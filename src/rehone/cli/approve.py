"""The commands by which a person answers a challenger that waits, and starts retraining again after losses."""

from __future__ import annotations

import click

from rehone.cli import endings
from rehone.cli.options import json_option, project_option
from rehone.cli.printing import print_json, print_lines
from rehone.cli.text import width


@click.command()
@click.argument("run", metavar="RUN")
@project_option
@click.option("--because", metavar="TEXT", default="", help="Reason, kept in the record of the run.")
@json_option
def approve(run: str, project: str, because: str, as_json: bool) -> int:
    """Let the challenger of a run that waits for approval go live.

    If another version has gone live meanwhile, it is judged again, against that one.
    """
    from rehone import api
    from rehone.cli.progress import listening
    from rehone.cli.show import run_ending

    with listening(quiet=False, to_stderr=as_json) as listen:
        record = api.approve(project, run, because=because, listen=listen)
    print_json(record) if as_json else print_lines(run_ending(record, project, quiet=False, width=width()))
    return endings.of_run(record)


@click.command()
@click.argument("run", metavar="RUN")
@project_option
@click.option("--because", metavar="TEXT", required=True, help="Reason, kept in the record of the run.")
@json_option
def reject(run: str, project: str, because: str, as_json: bool) -> int:
    """Refuse the challenger of a run that waits for approval; what is live stays."""
    from rehone import api
    from rehone.cli.show import run_ending

    record = api.reject(project, run, because=because)
    print_json(record) if as_json else print_lines(run_ending(record, project, quiet=False, width=width()))
    return endings.GOOD


@click.command()
@project_option
@click.option("--reset", is_flag=True, help="Let retraining go on.")
@click.option("--because", metavar="TEXT", default="", help="With --reset: what was found, kept beside the records.")
@json_option
def breaker(project: str, reset: bool, because: str, as_json: bool) -> int:
    """Say whether retraining has stopped after lost challengers in a row; --reset lets it go on.

    Exits with 2 while it has stopped.
    """
    from rehone import api
    from rehone.cli.health import breaker_lines

    if because and not reset:
        raise click.UsageError("--because is the reason of a reset: add --reset")
    found = api.reset_breaker(project, because=because) if reset else api.breaker(project)
    print_json(found) if as_json else print_lines(breaker_lines(found, project, width=width()))
    return endings.MUST_FIX if found.stopped else endings.GOOD

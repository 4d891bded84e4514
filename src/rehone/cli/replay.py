"""The command `rehone replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rehone.cli import endings
from rehone.cli.completion import runs
from rehone.cli.options import json_option, project_option, quiet_option
from rehone.cli.printing import print_found
from rehone.cli.text import check_lines, fact, title, width

if TYPE_CHECKING:
    from rehone.records import Replay


@click.command()
@click.argument("run", metavar="RUN", shell_complete=runs)
@project_option
@quiet_option
@json_option
def replay(run: str, project: str, quiet: bool, as_json: bool) -> int:
    """Decide and judge a recorded RUN again, and compare byte for byte.

    RUN is the id of a run, or its first digits (`rehone history` lists them). All comes from what
    the run recorded: no data are read and nothing is trained. Exits with 2 when the record was
    tampered with, or when something does not come again.
    """
    from rehone import api

    found = api.replay(project, run)
    print_found(found, lambda: replay_lines(found, width()), as_json=as_json, quiet=quiet)
    return endings.GOOD if found.reproduced else endings.MUST_FIX


def replay_lines(found: Replay, width: int) -> list[str]:
    """Write what came again, what would have turned it, and what differs."""
    said = "all that can be replayed comes again" if found.reproduced else "does not come again as it was recorded"
    lines = [click.style(f"Run {found.run_id}: {said}", bold=True)]
    if found.trigger is not None:
        kind = str(found.trigger.kind) if found.trigger.kind else "no training"
        lines += [*title("Decision"), *fact("decided", f"{kind}: {found.trigger.reason}", width)]
        lines += fact("flip", found.trigger.flip, width) if found.trigger.flip else []
    if found.verdict is not None:
        lines += [*title("Verdict"), *fact("judged", f"{found.verdict.outcome}: {found.verdict.reason}", width)]
        lines += fact("flip", found.verdict.flip, width) if found.verdict.flip else []
    lines += title("Compared")
    for check in found.checks:
        lines += check_lines(check, width)
    return lines

"""List, try and send alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rehone.cli import endings
from rehone.cli.options import json_option, project_option
from rehone.cli.printing import print_json, print_lines
from rehone.cli.text import moment, width, wrapped

if TYPE_CHECKING:
    from rehone.integrations.alerts import Notice

COLOURS = {"sent": "green", "waiting": "yellow", "left": None, "failed": "red"}
COLUMN = 9


@click.group()
def alerts() -> None:
    """Say which alerts were sent and which wait; try the addresses; send what waits."""


@alerts.command("list")
@project_option
@click.option("--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Newest N.")
@json_option
def list_(project: str, limit: int, as_json: bool) -> int:
    """List the newest alerts: sent, waiting (and why), or left out as told before."""
    from rehone.integrations import alerts as door

    found = door.listed(project, limit)
    print_json(found) if as_json else print_lines(notice_lines(found, width()) if found else ["No alerts yet."])
    return endings.GOOD


@alerts.command()
@project_option
@json_option
def test(project: str, as_json: bool) -> int:
    """Send a test alert to every address now, whatever the hour; exits with 2 if one of them cannot be reached."""
    from rehone.integrations import alerts as door

    found = door.test(project)
    print_json(found) if as_json else print_lines(notice_lines(found, width(), kept=False))
    return endings.GOOD if all(one.sent_at is not None for one in found) else endings.MUST_FIX


@alerts.command()
@project_option
@json_option
def send(project: str, as_json: bool) -> int:
    """Send what waits and may be sent at this hour; runs and `rehone doctor` do so too."""
    from rehone.integrations import alerts as door

    found = door.send(project)
    print_json(found) if as_json else print_lines(notice_lines(found, width()) if found else ["Nothing waits."])
    return endings.GOOD if all(one.sent_at is not None or one.held for one in found) else endings.MUST_FIX


def notice_lines(found: Sequence[Notice], width: int, *, kept: bool = True) -> list[str]:
    """Say of each alert whether it was sent, to whom, and why not; then its line. What is not `kept` does not wait."""
    lines: list[str] = []
    for notice in found:
        state = f"{notice.state}" if kept or notice.sent_at is not None else "failed"
        head, *rest = wrapped(_became(notice), width, indent=COLUMN, first=" " * COLUMN)
        styled = click.style(state.ljust(COLUMN), fg=COLOURS[state])
        lines += [f"{styled}{head.strip()}", *rest, *wrapped(notice.alert.line, width, indent=COLUMN)]
    return lines


def _became(notice: Notice) -> str:
    said = moment(notice.kept_at)
    if notice.sent:
        said += ", to " + ", ".join(sent.address for sent in notice.sent)
    if notice.held:
        said += f", {notice.held}"
    if notice.error:
        tries = f", tried {notice.attempts} time{'s' if notice.attempts != 1 else ''}"
        said += f"{tries}: {notice.error}"
    return said

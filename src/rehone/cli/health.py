"""Say how the pipeline itself does, and whether it has stopped retraining."""

from __future__ import annotations

import statistics

import click

from rehone.cli import endings
from rehone.cli.options import json_option, project_option
from rehone.cli.printing import print_json, print_lines
from rehone.cli.text import COLOURS, GAP, clipped, fact, moment, title, width, wrapped
from rehone.records import Breaker, Check, CheckStatus, Health


@click.command()
@project_option
@json_option
def health(project: str, as_json: bool) -> int:
    """Say how the pipeline itself does: refused challengers, run times, age of data and labels, alarms, breaker.

    Exits with 2 when something needs a person.
    """
    from rehone import api

    found = api.health(project)
    print_json(found) if as_json else print_lines(health_lines(found, width=width()))
    return endings.MUST_FIX if any(c.status is CheckStatus.ACT for c in found.checks) else endings.GOOD


def health_lines(found: Health, *, width: int) -> list[str]:
    """Lay out the figures, then each check, what needs a person first."""
    lines = [click.style(clipped(found.project, width), bold=True)]
    lines += fact("as of", moment(found.as_of), width)
    lines += fact("runs", _runs(found), width)
    lines += fact("run time", _times(found.run_seconds), width)
    lines += title("checks")
    for check in sorted(found.checks, key=_urgency):
        lines += _check_lines(check, width)
    return lines


def _check_lines(check: Check, width: int) -> list[str]:
    """Write one check as its sentence, which has the value and the limit in units that people use."""
    first, *rest = wrapped(f"{check.label}: {check.sentence}", width, indent=11, first="  ")
    return [f"  {click.style(str(check.status).ljust(7), fg=COLOURS[check.status])}{GAP}{first.strip()}", *rest]


def breaker_lines(found: Breaker, project: str, *, width: int) -> list[str]:
    """Say whether retraining has stopped, why, and how it goes on."""
    from rehone.report.again import option

    lines = fact("retraining", _state(found), width)
    for number, run in enumerate(found.runs):
        lines += fact("lost" if not number else "", run, width)
    if found.reset is not None:
        said = f"by {found.reset.by} on {moment(found.reset.at)}"
        lines += fact("reset", f"{said}: {found.reset.because}" if found.reset.because else said, width)
    if found.stopped:
        where = option(project)
        lines += fact(
            "next",
            f"see why with `rehone show {found.runs[-1]}{where}`, then `rehone breaker --reset --because TEXT{where}`",
            width,
        )
    return lines


def _state(found: Breaker) -> str:
    lost = f"{found.lost} challenger{'' if found.lost == 1 else 's'} lost in a row"
    if found.stopped:
        return f"has stopped: {lost} (rejected, inconclusive or rolled back), the limit is {found.limit}"
    if found.limit is None:
        return f"goes on: {lost}, trigger.max_lost_in_a_row is off"
    return f"goes on: {lost}, it stops at {found.limit}"


def _runs(found: Health) -> str:
    if not found.runs:
        return "none in the past year"
    endings_of = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in sorted(found.endings.items()))
    return f"{found.runs:,} in the past year: {endings_of}"


def _times(seconds: tuple[float, ...]) -> str:
    if not seconds:
        return "not known: no run has trained in the past year"
    return f"{statistics.median(seconds):,.3g} s, the median of {len(seconds):,} that trained"


def _urgency(check: Check) -> int:
    return (CheckStatus.ACT, CheckStatus.WARN, CheckStatus.UNKNOWN, CheckStatus.OK).index(check.status)

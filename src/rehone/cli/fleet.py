"""Run many projects at once from the command line, and show how each ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from rehone.cli import endings
from rehone.cli.options import json_option
from rehone.cli.printing import print_found
from rehone.cli.text import table, wrapped

if TYPE_CHECKING:
    from rehone.records import FleetRun

WORST_LAST = (endings.GOOD, endings.HELD, endings.MUST_FIX, endings.BUG)
"""Exit codes from good to bad: the fleet ends with the worst of its runs."""


@click.group()
def fleet() -> None:
    """Run many projects together; one that fails never stops the others."""


@fleet.command("run")
@click.argument("projects", nargs=-1, required=True, metavar="PROJECT...")
@click.option(
    "--parallel",
    "-j",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs at a time. Default: the CPUs of this process.",
)
@click.option("--as-of", metavar="DATE", help="As in `rehone run`, for every project.")
@click.option("--force", is_flag=True, help="As in `rehone run`, for every project.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Longest that one run may take; then it is ended.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only what did not end well.")
@json_option
def run(
    projects: tuple[str, ...], parallel: int | None, minutes: float | None, quiet: bool, as_json: bool, **begun: Any
) -> int:
    """Do `rehone run` in every PROJECT (a folder, a rehone.toml, or a quoted glob of them).

    Each run has a process of its own. A line tells each ending as it comes, a table sums up, and
    the exit code is the worst of all: 1 a bug, 2 something to fix, 3 held back, 0 all is well.
    """
    from rehone import fleet as ships
    from rehone.train.cores import cpu_limit

    found = ships.find(projects)
    order = ships.Order(parallel=parallel or cpu_limit(), seconds=minutes * 60 if minutes else None, **begun)
    started = time.monotonic()
    done = ships.run(found, order, ended=lambda one: None if quiet else click.echo(_line(one), err=as_json))
    print_found(done, lambda: summary(done, time.monotonic() - started, quiet=quiet), as_json=as_json)
    return worst(done)


def worst(done: Sequence[FleetRun]) -> int:
    """Return the exit code of a fleet: that of its worst run; one that no run should have counts as a bug."""
    codes = [one.exit_code if one.exit_code in WORST_LAST else endings.BUG for one in done]
    return max(codes, key=WORST_LAST.index, default=endings.GOOD)


def _line(one: FleetRun) -> str:
    return f"{one.project}: {_ending(one)}"


def _ending(one: FleetRun) -> str:
    if one.status is None and one.run_id and one.exit_code == endings.GOOD:
        return "waits"
    return str(one.status).replace("_", " ") if one.status else "failed without a record"


def summary(done: Sequence[FleetRun], seconds: float, *, width: int = 80, quiet: bool = False) -> list[str]:
    """Write one row for each project, then what those that did not end well said; quietly, only that."""
    head = ("project", "ending", "trigger", "version", "seconds")
    rows = [
        (_short(one.project), _ending(one), one.trigger or "-", (one.version or "-")[:7], f"{one.seconds:.1f}")
        for one in done
    ]
    lines = [] if quiet else ["", *table([head, *rows], right=frozenset({4}))]
    bad = [one for one in done if one.exit_code != endings.GOOD]
    for one in bad:
        lines += ["", *wrapped(f"{one.project}: {_ending(one)}: {one.sentence}", width)]
        if one.run_id:
            lines.append(f"  rehone show {one.run_id} -p {one.project}")
    well = len(done) - len(bad)
    if quiet:
        return lines[1:]
    return [
        *lines,
        "",
        f"{len(done)} project{'s' if len(done) > 1 else ''} in {seconds:.0f} s: {well} ended well, {len(bad)} did not.",
    ]


def _short(project: str, most: int = 34) -> str:
    name = "." if project == "rehone.toml" else project.removesuffix("/rehone.toml")
    return name if len(name) <= most else f"…{name[1 - most :]}"

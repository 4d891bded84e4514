"""The command `rehone forecasts`: what the gate promised of each promotion, and what came true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from rehone.cli import endings
from rehone.cli.options import json_option, project_option
from rehone.cli.printing import print_found
from rehone.cli.text import fact, table, title, width, wrapped

if TYPE_CHECKING:
    from rehone.records import Probe, Realised, TrackRecord


@click.command()
@project_option
@click.option("--as-of", metavar="DATE", help="As if it were this day (in data.timezone). Default: now.")
@json_option
def forecasts(project: str, as_of: str | None, as_json: bool) -> int:
    """List what the gate promised of each promotion, and what came true.

    A promotion is a forecast: the gate saw a difference with an interval. Once labels are due, both
    versions are scored on the rows after it. A run records the answer; open ones are measured now.
    """
    from rehone import api

    found = api.forecasts(project, as_of=as_of)
    print_found(found, lambda: lines_of(found, project, width()), as_json=as_json)
    return endings.GOOD


def lines_of(found: TrackRecord, project: str, columns: int) -> list[str]:
    """Write a row for each promotion, then how well the gate's promises held, and what is to be regretted."""
    from rehone.report.again import option

    if not found.promotions:
        return wrapped(
            f"No promotion over a champion yet, so nothing was promised: `rehone history{option(project)}` lists the runs.",
            columns,
        )
    head = ("promoted", "version", "promised", "came", "interval", "positives", "")
    lines = table([head, *map(_row, found.forecasts)], right=frozenset({2, 3}))
    for one in found.forecasts:
        if one.regret:
            lines += wrapped(f"{one.run_id}: {one.detail}", columns, indent=2, first="  ")
        elif not one.open and one.realised is None:
            lines += wrapped(f"{one.version[:7]}: {one.detail}", columns, indent=2, first="  ")
    return [*lines, "", *_kept(found, columns)]


def _row(one: Realised) -> tuple[str, ...]:
    came = "-" if one.realised is None else _signed(one.realised)
    reach = "-" if one.interval is None else "..".join(_signed(bound, 3) for bound in one.interval)
    due = f"{one.positives:,} of {one.positives_needed:,}" if one.open else f"{one.positives:,}"
    return (f"{one.promoted_at:%Y-%m-%d}", one.version[:7], _signed(one.predicted), came, reach, due, ending_of(one))


def ending_of(one: Realised) -> str:
    """Say in a word what became of a promotion."""
    if one.open:
        return "open"
    if one.regret:
        return "regret"
    if one.covered is None:
        return "unknown"
    return "covered" if one.covered else "missed"


def _kept(found: TrackRecord, columns: int) -> Iterator[str]:
    counted = f"{found.promotions} promotion{'s' if found.promotions != 1 else ''}, {found.matured} held against labels"
    yield from fact("promises", counted, columns)
    if found.coverage is not None:
        low, high = found.coverage
        stated = f", {100 * found.nominal:.0f} % stated" if found.nominal is not None else ""
        said = f"{found.covered} of {found.matured}{stated}; 95 % interval of the share {low:.2f}..{high:.2f}"
        yield from fact("covered", said, columns)
    if (seen := found.optimism) is not None:
        said = f"{_signed(seen.value)} ROC-AUC on average ({_signed(seen.low)}..{_signed(seen.high)})"
        yield from fact("optimism", f"{said}: {_meaning(seen.low, seen.high)}", columns)
    elif found.matured < 2:
        yield from fact("optimism", "not known: at least 2 promotions must have matured", columns)
    yield from fact("regrets", f"{len(found.regrets)}" if found.regrets else "none", columns)


def _meaning(low: float, high: float) -> str:
    if low > 0:
        return "more is promised than comes"
    return "less is promised than comes" if high < 0 else "no bias beyond chance"


def _signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def realised_lines(found: tuple[Realised, ...], columns: int) -> list[str]:
    """Say what a run found of earlier promotions; nothing where it found none."""
    if not found:
        return []
    lines = title("Promotions held against what came true")
    for one in found:
        lines += fact(f"{one.promoted_at:%Y-%m-%d}", f"{one.version[:7]}: {one.detail}", columns)
    return lines


def probe_lines(found: Probe | None, columns: int) -> list[str]:
    """Say what a run expected of a retrain before its search; nothing where it did not ask."""
    return [] if found is None else [*title("Probe"), *wrapped(found.detail, columns, indent=2)]

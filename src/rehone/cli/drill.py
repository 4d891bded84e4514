"""The command `rehone drill`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rehone.cli import endings
from rehone.cli.options import json_option, project_option, quiet_option
from rehone.cli.printing import print_found
from rehone.cli.text import clipped, fact, moment, table, title, width, wrapped

if TYPE_CHECKING:
    from rehone.records import DrillReport, Pairs, Sabotage

COLOURS = {
    "caught": "green",
    "passed": "green",
    "let through": "red",
    "held": "yellow",
    "unclear": "yellow",
}


@click.command()
@project_option
@click.option(
    "--as-of", metavar="DATE", help="Act as if it were this day (in data.timezone). Default: that of the newest row."
)
@click.option(
    "--rows",
    type=click.IntRange(min=500),
    default=20_000,
    show_default=True,
    help="Most rows that a model of the drill learns from.",
)
@click.option(
    "--pairs",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Pairs of equal models to be brought before the gate; 0 for none.",
)
@quiet_option
@json_option
def drill(project: str, as_of: str | None, rows: int, pairs: int, quiet: bool, as_json: bool) -> int:
    """Sabotage challengers and wirings on purpose, and report what the gate caught.

    The project is only read: all happens in a folder that is thrown away. Exits with 3 when
    something was let through that the configured gate or service should stop.
    """
    from rehone import api
    from rehone.cli.progress import counting, listening

    with listening(quiet=quiet, to_stderr=True) as listen:
        found = api.drill(project, as_of=as_of, rows=rows, pairs=pairs, progress=counting(listen, "drill"))
    print_found(found, lambda: drill_lines(found, width()), as_json=as_json, quiet=quiet)
    return endings.HELD if found.let_through else endings.GOOD


def drill_lines(found: DrillReport, width: int) -> list[str]:
    """Write what was brought and what became of it, what to change, and how equal pairs fare."""
    tried = [one for one in found.sabotages if one.expected == "caught"]
    count = {name: sum(one.happened == name for one in tried) for name in ("caught", "let through")}
    said = f"{count['caught']} of {len(tried)} sabotages caught, {count['let through']} let through"
    head = f"Drill of {found.project} as of {moment(found.as_of)}: {said}"
    lines = wrapped(head, width, indent=2, first="")
    lines += wrapped(
        f"on {found.rows:,} held-out rows ({found.positives:,} positives), {found.seconds:.0f} s", width, indent=2
    )
    left = width - max(len(one.name) for one in found.sabotages) - len("what happened") - 6
    rows = [(one.name, one.happened, _by(one, left)) for one in found.sabotages]
    lines += ["", *_coloured(table([("sabotage", "what happened", "by"), *rows]))]
    for one in found.sabotages:
        if one.happened in ("let through", "held"):
            lines += ["", *wrapped(f"{one.name}: {one.what}.", width, indent=2)]
            lines += wrapped(f"{one.detail}.", width, indent=2)
            lines += wrapped(f"To do: {one.remedy}.", width, indent=2) if one.remedy else []
    quiet = [one for one in found.sabotages if one.happened in ("not tried", "harmless", "unclear")]
    if quiet:
        lines += title("Said besides")
        for one in quiet:
            lines += wrapped(f"{one.name}: {one.detail}", width, indent=2)
    return [*lines, *(_pair_lines(found.pairs, width) if found.pairs else ())]


def _by(one: Sabotage, width: int) -> str:
    """Name as many of the checks that caught it as fit, and count the others."""
    for named in range(len(one.caught_by), 0, -1):
        others = len(one.caught_by) - named
        said = ", ".join(one.caught_by[:named]) + (f" and {others} more" if others else "")
        if len(said) <= width:
            return said
    return clipped(", ".join(one.caught_by), width)


def _coloured(lines: list[str]) -> list[str]:
    for word, colour in COLOURS.items():
        lines = [line.replace(f"  {word}", f"  {click.style(word, fg=colour)}", 1) for line in lines]
    return lines


def _pair_lines(pairs: Pairs, width: int) -> list[str]:
    whole = f"{_share(pairs.shipped, pairs.tries, pairs.shipped_interval)} pass the whole gate, {pairs.weak} of "
    whole += f"{pairs.tries} pairs on weak evidence; {pairs.called_worse or 'none'} called worse"
    one = f"{_share(pairs.equal_passed, pairs.tries, pairs.equal_interval)} pass the comparison of ROC-AUC"
    worse = f"{_share(pairs.worse_passed, pairs.tries, pairs.worse_interval)} pass the comparison of ROC-AUC"
    lines = title(f"{pairs.tries} pairs of equal models, and as many of which one is a margin worse")
    lines += fact("equal", f"{whole}{f' ({pairs.detail})' if pairs.detail else ''}", width)
    lines += fact("", f"{one}{_says(pairs.equal_stated)}", width)
    return [*lines, *fact("worse", f"{worse}{_says(pairs.worse_stated)}", width)]


def _share(hits: int, tries: int, interval: tuple[float, float]) -> str:
    return f"{hits / tries:.0%} ({interval[0]:.0%} to {interval[1]:.0%})"


def _says(stated: float | None) -> str:
    return "" if stated is None else f"; the gate states {stated:.0%}"

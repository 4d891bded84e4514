"""The command `rehone backtest`: what each policy would have brought on this project's own history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rehone.cli import endings
from rehone.cli.options import json_option, project_option
from rehone.cli.printing import print_found
from rehone.cli.text import table, title, width, wrapped

if TYPE_CHECKING:
    from rehone.backtest import Backtest, PolicyResult

BARS = "▁▂▃▄▅▆▇█"


@click.command()
@project_option
@click.option(
    "--every",
    type=click.FloatRange(min=1),
    metavar="DAYS",
    help="Days between two decisions. Default: 1, 7 or more, for at most about 100 decisions.",
)
@click.option(
    "--policy", "policies", multiple=True, metavar="NAME", help="Replay only this one, beside never and current."
)
@click.option("--until", metavar="DATE", help="Replay only rows before this day. Default: all.")
@click.option(
    "--parallel", "-j", type=click.IntRange(min=1), metavar="N", help="Processes that fit. Default: the CPUs."
)
@click.option("--html", "page", type=click.Path(dir_okay=False), help="Write chart and table as one page.")
@click.option("--svg", "chart", type=click.Path(dir_okay=False), help="Write the chart alone.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing while it is under way.")
@json_option
def backtest(project: str, page: str | None, chart: str | None, quiet: bool, as_json: bool, **asked: Any) -> int:
    """Replay this project's history day by day under several policies, and compare them.

    Rows are seen as they were on each day, labels only when due; models are trained once and shared.
    Nothing of the store or the run records changes. Interrupted, it goes on where it was.
    """
    from rehone import api
    from rehone.backtest.chart import html, svg
    from rehone.cli.progress import listening

    with listening(quiet=quiet or as_json, to_stderr=as_json) as listen:
        found = api.backtest(project, listen=listen, **asked)
    for path, write in ((page, html), (chart, svg)):
        if path is not None:
            Path(path).write_text(write(found), encoding="utf-8")
    print_found(found, lambda: lines_of(found, width()), as_json=as_json)
    return endings.GOOD


def lines_of(found: Backtest, columns: int) -> list[str]:
    """Write the table, the months as small charts, and what is suggested.

    `fits` are challengers trained and judged, `live` those that went live, `held` those that the
    gate held back.
    """
    said = (
        f"{found.live_rows:,} rows live from {found.first:%Y-%m-%d} to {found.end:%Y-%m-%d}, a decision every "
        f"{found.every:g} days, models of {found.fits} days shared by {len(found.policies)} policies."
    )
    head = ("policy", "AUC", "worst", "recall", "fits", "live", "held", "total", "regret")
    lines = [*wrapped(said, columns), *title("What each would have brought")]
    lines += table([head, *map(_row, found.policies)], right=frozenset(range(1, len(head))))
    back = [f"{r.name} {r.rolled_back:.3g}" for r in found.policies if r.rolled_back]
    lines += wrapped(f"rolled back: {', '.join(back)}", columns, indent=4, first="  ") if back else []
    lines += [*title("Live ROC-AUC by month"), *_sparks(found.policies)]
    lines += [*title("Suggested"), *wrapped(found.suggestion.sentence + ".", columns, indent=2, first="  ")]
    lines += [f"  {line}" for line in found.suggestion.diff.splitlines()]
    if found.notes:
        lines += title("Not as in production")
        for note in found.notes:
            lines += wrapped(note, columns, indent=2, first="  ")
    return lines


def _row(r: PolicyResult) -> tuple[str, ...]:
    counts = (f"{n:.3g}" for n in (r.trained, r.deployed, r.refused))
    shares = (_share(r.roc_auc, 4), _share(r.worst_roc_auc, 3), _share(r.recall, 3))
    return (r.name, *shares, *counts, _money(r.total), _money(r.regret))


def _share(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}".removeprefix("0")


def _money(value: float) -> str:
    return f"{value:,.0f}" if abs(value) < 100_000 else f"{value / 1000:,.0f}k"


def _sparks(results: Sequence[PolicyResult]) -> list[str]:
    """Draw a bar for each month between the lowest and the highest of all policies."""
    every = [m.roc_auc for r in results for m in r.months if m.roc_auc is not None]
    if not every:
        return ["  no month has enough rows of both classes"]
    low, high = min(every), max(every)
    longest = max(len(r.name) for r in results)
    lines = [f"  {r.name.ljust(longest)}  {_spark([m.roc_auc for m in r.months], low, high)}" for r in results]
    months = results[0].months
    return [*lines, f"  {''.ljust(longest)}  {months[0].name} to {months[-1].name}, {low:.3f} to {high:.3f}"]


def _spark(values: Sequence[float | None], low: float, high: float) -> str:
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if v is None else BARS[round((v - low) * scale)] for v in values)

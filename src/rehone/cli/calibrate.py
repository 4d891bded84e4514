"""Show what a project's history says of its drift limits, and write them when asked to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from rehone.cli.options import json_option, project_option, quiet_option
from rehone.cli.printing import print_found
from rehone.cli.text import clipped, number, table, title, width, wrapped

if TYPE_CHECKING:
    from rehone.records import Calibration, CalibrationSignal, CalibrationWindow

MOST_WINDOWS = 24
MOST_FEATURES = 8


@click.command()
@project_option
@click.option("--as-of", metavar="DATE", help="Pretend that it is this day. Default: now.")
@click.option(
    "--drop",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.10,
    show_default=True,
    metavar="SHARE",
    help="Share of the recall a version had when it was judged whose loss counts as a fall.",
)
@click.option(
    "--window-days",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DAYS",
    help="Length of windows. Default: trigger.window_days, which limits are meant for.",
)
@click.option("--version", metavar="ID", help="Hold this version for the whole of history, instead of what was live.")
@click.option(
    "--from",
    "origin",
    type=click.Choice(["auto", "records", "data"]),
    default="auto",
    show_default=True,
    help="Take the evidence that runs have recorded, or measure the data again.",
)
@click.option("--apply", "write", is_flag=True, help="Write the changes into rehone.toml; comments stay.")
@quiet_option
@json_option
def calibrate(project: str, write: bool, quiet: bool, as_json: bool, **asked: Any) -> int:
    """Find in this project's history from which drift on the model had lost recall.

    Each window of history is held against the version that was live in it. If drift tells the
    windows in which recall had fallen, the limit just below that drift is shown as a change of
    rehone.toml. If history is too short, or drift does not tell, that is said, and nothing is
    to be changed.
    """
    from rehone import api
    from rehone.cli.progress import counting, listening

    with listening(quiet=quiet or as_json, to_stderr=True) as listen:
        count = counting(listen, "calibrate")
        found = api.calibrate(project, listen=lambda done, total: count("windows", done, total), **asked)
    print_found(found, lambda: lines_of(found, width(), writes=write), as_json=as_json, quiet=quiet)
    if write and found.changes:
        api.apply_calibration(project, found)
    if write and not quiet:
        click.echo("written into rehone.toml" if found.changes else "nothing to write", err=as_json)
    return 0


def lines_of(found: Calibration, columns: int, *, writes: bool = False) -> list[str]:
    """Write a calibration: the windows, what each measure told, what follows."""
    lines = wrapped(_head(found), columns)
    if found.windows:
        lines += [*title("Windows"), *table(_window_rows(found.windows), right=frozenset({1, 2, 3, 4, 6}))]
        if len(found.windows) > MOST_WINDOWS:
            lines.append(f"  ... the newest {MOST_WINDOWS} of {len(found.windows)}; --json has all")
    lines += title("What tells")
    for signal in found.signals:
        lines += wrapped(signal.detail, columns, indent=12, first=f"  {signal.name}")
        if said := _today(signal):
            lines += wrapped(said, columns, indent=12)
    if any(s.auc is not None for s in found.features):
        lines += [*title("PSI of each feature"), *table(_feature_rows(found.features), right=frozenset({1, 3, 4}))]
    return [*lines, *_what_follows(found, columns, writes)]


def _what_follows(found: Calibration, columns: int, writes: bool) -> list[str]:
    lines = title("What follows")
    for said in (found.sentence, *found.notes):
        lines += wrapped(said, columns, indent=2, first="  ")
    if found.diff:
        lines += ["", *(f"  {line}" for line in found.diff.splitlines()), ""]
    if found.diff and not writes:
        said = "To write it: rehone calibrate --apply (with the same options)"
        lines += wrapped(said, columns, indent=2, first="  ")
    return lines


def _head(found: Calibration) -> str:
    how = "recorded by earlier runs" if found.origin == "records" else "measured again from the data"
    span = (
        f", {found.windows[0].window.start:%Y-%m-%d}..{found.windows[-1].window.end:%Y-%m-%d}" if found.windows else ""
    )
    return f"{found.project}: {len(found.windows)} windows of {found.window_days:g} days{span}, {how}"


def _window_rows(windows: Sequence[CalibrationWindow]) -> list[tuple[str, ...]]:
    head = ("from", "rows", "recall", "baseline", "PSI", "feature", "KS", "")
    return [head, *(_window_row(w) for w in windows[-MOST_WINDOWS:])]


def _window_row(window: CalibrationWindow) -> tuple[str, ...]:
    said = "not judged" if window.fallen is None else "fallen" if window.fallen else ""
    return (
        f"{window.window.start:%Y-%m-%d}",
        f"{window.rows:,}",
        _two(window.recall.value if window.recall else None),
        _two(window.baseline),
        _two(window.psi),
        clipped(window.feature or "-", 16),
        _two(window.score_ks),
        said,
    )


def _feature_rows(features: Sequence[CalibrationSignal]) -> list[tuple[str, ...]]:
    head = ("feature", "ROC-AUC", "interval", "from", "fires now", "tells")
    rows = [
        (
            clipped(s.subject or "", 24),
            _two(s.auc),
            f"{s.auc_interval[0]:.2f}..{s.auc_interval[1]:.2f}" if s.auc_interval else "-",
            number(s.at, 3) if s.predicts else "-",
            str(s.fires_now) if s.fires_now is not None else "-",
            {True: "yes", False: "no", None: "unknown"}[s.predicts],
        )
        for s in features[:MOST_FEATURES]
    ]
    return [head, *rows]


def _today(signal: CalibrationSignal) -> str:
    if signal.limit is None or signal.fires_now is None or not signal.windows:
        return ""
    return (
        f"today's limit of {signal.limit:g} was passed in {signal.fires_now} of {signal.windows} windows, "
        f"{signal.hits_now} of them fallen"
    )


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

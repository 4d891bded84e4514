"""Tell what was really served: how many labels came, what each version decided, what a shadow showed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import click

from rehone.cli.text import fact, number, table, title, wrapped
from rehone.records import Estimate, Evidence, ServedVersion, ShadowReport, Skew, short_id

Rows: TypeAlias = Sequence[tuple[str, ...]]

_COUNTS: Final = ("due", "labelled", "positives")
_FOUND: Final = ("recall", "cost per 1,000")


def served_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Say what the prediction log holds of the window; nothing when evidence came from the data."""
    if evidence is None or evidence.origin != "served":
        return []
    lines: list[str] = []
    coverage = evidence.coverage
    if coverage is not None:
        share = "" if coverage.share is None else f" ({_percent(coverage.labelled, coverage.due)})"
        said = f"{coverage.predictions:,} predictions in {coverage.window}; {coverage.due:,} with a label due, "
        lines += fact("labels", f"{said}{coverage.labelled:,} of them arrived{share}", width)
    lines += _versions(evidence.served, width)
    lines += _skew(evidence.skew, width)
    return [*title("Served"), *lines] if lines else []


def _versions(served: tuple[ServedVersion, ...], width: int) -> list[str]:
    if not served:
        return []
    names = [("version",), *((short_id(each.version),) for each in served)]
    counts = [_COUNTS, *((f"{each.predictions:,}", f"{each.labelled:,}", f"{each.positives:,}") for each in served)]
    found = [_FOUND, *((_estimate(each.recall), _estimate(each.cost_per_1000)) for each in served)]
    lines = _aligned(names, counts, found, width)
    for each in served:
        if each.unknown:
            lines += wrapped(f"{short_id(each.version)}: {each.unknown}", width, indent=2)
    return lines


def _aligned(names: Rows, counts: Rows, found: Rows, width: int) -> list[str]:
    """Put counts and what was found of each version into one table, or into two where one would be too wide."""
    right = frozenset({1, 2, 3})
    lines = table([n + c + f for n, c, f in zip(names, counts, found, strict=True)], right=right)
    if max(len(click.unstyle(line)) for line in lines) <= width:
        return lines
    numbers = table([n + c for n, c in zip(names, counts, strict=True)], right=right)
    return numbers + table([n + f for n, f in zip(names, found, strict=True)])


def _skew(found: tuple[Skew, ...], width: int) -> list[str]:
    if not found:
        return []
    differing = [skew for skew in found if skew.differing]
    if not differing:
        compared = max(skew.compared for skew in found)
        return fact("skew", f"none in {compared:,} ids that data.source also has in this window", width)
    lines = []
    for skew in differing:
        share = _percent(skew.differing, skew.compared)
        said = f"{skew.feature}: {share} of {skew.compared:,} ids that data.source also has in this window differ"
        lines += fact("skew", said + (f" ({skew.example})" if skew.example else ""), width)
    return lines


def shadow_lines(report: ShadowReport | None, width: int) -> list[str]:
    """Say what servers saw of the challenger beside the champion."""
    if report is None:
        return []
    lines = title("Shadow")
    lines += fact(
        "rows", f"{report.rows:,} scored by both, {report.failed_rows:,} failed, {report.skipped_rows:,} skipped", width
    )
    if report.rows:
        changed = report.changed_decisions / report.rows
        lines += fact("decisions", f"{changed:.1%} would have been other ones", width)
        mean = report.sum_difference / report.rows
        said = f"{mean:+.4f} on average against the champion, {report.largest_difference:.4f} at most"
        lines += fact("scores", said, width)
    if report.champion_seconds and report.rows:
        lines += fact("time", f"{report.challenger_seconds / report.champion_seconds:.2f} x the champion's", width)
    if report.because:
        lines += fact("not scored", report.because, width)
    return lines


def _percent(part: int, whole: int) -> str:
    """Write a share to a tenth of a percent; only all is 100 %, and only none is 0 %."""
    if not whole:
        return "unknown"
    tenths = part * 1000 // whole
    return "less than 0.1 %" if part and not tenths else f"{tenths / 10:g} %"


def _estimate(found: Estimate | None) -> str:
    return "unknown" if found is None else f"{number(found.value, 3)} [{number(found.low, 3)}, {number(found.high, 3)}]"

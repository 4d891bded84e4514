"""Tell what was really served: how many labels came, what each version decided, what a shadow showed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rehone.cli.text import facts, table, title, wrapped
from rehone.records import Evidence, ServedVersion, ShadowReport, short_id
from rehone.report import particulars


def served_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Say what the prediction log holds of the window; nothing when evidence came from the data."""
    if evidence is None or evidence.origin != "served":
        return []
    lines = facts(particulars.coverage(evidence), width)
    lines += _versions(evidence.served, width)
    lines += facts(particulars.skew(evidence.skew), width)
    return [*title("Served"), *lines] if lines else []


def _versions(served: tuple[ServedVersion, ...], width: int) -> list[str]:
    if not served:
        return []
    lines = _aligned(list(particulars.served_versions(served)), width)
    for each in served:
        for why in dict.fromkeys(filter(None, (each.unknown, each.roc_auc_unknown))):
            lines += wrapped(f"{short_id(each.version)}: {why}", width, indent=2)
    return lines


def _aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Put counts and what was found of each version into one table, or into as many as it takes to be narrow enough."""
    right = frozenset({1, 2, 3})
    parts = ([(1, 7)], [(1, 4), (4, 7)], [(1, 4), (4, 6), (6, 7)])
    for cut in parts:
        lines = [line for some in cut for line in _columns(rows, *some, right=right)]
        if max(len(click.unstyle(line)) for line in lines) <= width:
            break
    return lines


def _columns(rows: Sequence[Sequence[str]], first: int, end: int, *, right: frozenset[int]) -> list[str]:
    """Align some columns behind the first; of all of them, those of counts to the right."""
    return table([(row[0], *row[first:end]) for row in rows], right=right if first == 1 else frozenset())


def shadow_lines(report: ShadowReport | None, width: int) -> list[str]:
    """Say what servers saw of the challenger beside the champion."""
    return [] if report is None else [*title("Shadow"), *facts(particulars.shadow(report), width)]

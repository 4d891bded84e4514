"""Tell how long labels take, what they say of the champion, and how it is estimated to do before they are due."""

from __future__ import annotations

from rehone.cli.text import facts, table, title, wrapped
from rehone.records import Evidence
from rehone.report import particulars


def maturity_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Say after how many days which share of labels is known, and the cut-off; nothing where it is not learned."""
    curve = evidence.maturity if evidence is not None else None
    if curve is None:
        return []
    lines = [*title("Labels"), *wrapped(curve.detail, width, indent=2)]
    if rows := list(particulars.delays(curve)):
        lines += table(rows, right=frozenset({0, 1}))
    return [*lines, *wrapped(f"{curve.arrived:,} of {curve.n:,} rows have their label", width, indent=2)]


def matured_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Say what labels that came due show of the champion, and why something is not known; nothing without a champion."""
    if evidence is None:
        return []
    lines = facts(particulars.matured(evidence), width)
    if rows := list(particulars.in_use(evidence)):
        lines += table(rows, right=frozenset({1, 3, 4}))
    return [*title("Labels that came due"), *lines] if lines else []


def estimate_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Say what decisions are estimated to be worth, and what became of an earlier estimate."""
    found = evidence.estimated if evidence is not None else None
    if evidence is None or found is None:
        return []
    lines = [*title("Estimated before labels are due"), *facts(particulars.estimated(found), width)]
    if rows := list(particulars.performance(found)):
        lines += table(rows, right=frozenset({1}))
    return lines + facts(particulars.held(found, evidence.held), width)

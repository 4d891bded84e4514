"""Gather what tells one kind of shift from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehone.records import Evidence

if TYPE_CHECKING:
    from rehone.pipeline.evidence import Look


def shifted(view: Look, evidence: Evidence) -> Evidence:
    """Add what kind of shift the evidence speaks of."""
    return evidence

"""Estimate how the champion does on the current window before its labels are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehone.records import Evidence

if TYPE_CHECKING:
    from rehone.pipeline.evidence import Look


def estimated(view: Look, evidence: Evidence) -> Evidence:
    """Add the estimates, where the champion's profile says what its scores were worth."""
    return evidence

"""State what labels that came due say of the champion: how well it decided, and how well it ranked."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.records import Estimate, Evidence
from rehone.report.wording import DASH, fixed, number

Row = tuple[str, str, str, str, str]


def matured(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """State of which events labels were looked at, and why something is not known."""
    if evidence.matured is not None:
        yield "events", str(evidence.matured)
    decided, ranked = evidence.performance_unknown, evidence.roc_auc_unknown
    if decided and decided == ranked:
        yield "not known", decided
        return
    yield from (("recall", f"not known: {why}") for why in (decided,) if why)
    yield from (("ROC-AUC", f"not known: {why}") for why in (ranked,) if why)


def in_use(evidence: Evidence) -> Iterator[Row]:
    """Give what was measured, under a head; nothing when all of it is not known."""
    found = (evidence.recall, evidence.cost_per_1000, evidence.roc_auc)
    if any(found):
        yield ("labels say", "value", "interval", "rows", "positives")
        yield _row("recall", evidence.recall, 3)
        yield _row("cost per 1,000", evidence.cost_per_1000, None)
        yield _row("ROC-AUC", evidence.roc_auc, 4)


def _row(name: str, found: Estimate | None, places: int | None) -> Row:
    if found is None:
        return (name, DASH, DASH, DASH, DASH)
    value, low, high = (number(x) if places is None else fixed(x, places) for x in (found.value, found.low, found.high))
    return (name, value, f"{low} to {high}", f"{found.n:,}", f"{found.positives:,}")

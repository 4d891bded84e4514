"""Say what kind of shift was seen, by which figures, and what is laid over a model."""

from __future__ import annotations

from rehone.cli.text import fact, facts, title
from rehone.records import Evidence, Recalibration, RecalibrationKind, short_id
from rehone.report import particulars


def shift_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Tell the kind of shift, what it suggests and every figure behind it; nothing where it was not asked."""
    told = facts(particulars.shift(evidence.shift if evidence else None), width)
    return [*title("Kind of shift"), *told] if told else []


def recalibration_line(layer: Recalibration | None, width: int) -> list[str]:
    """Say what is laid over the model of another version, if anything."""
    if layer is None:
        return []
    said = {
        RecalibrationKind.THRESHOLD: "a new threshold",
        RecalibrationKind.PLATT: f"a Platt line (slope {layer.slope:.3f}, intercept {layer.intercept:.3f})",
        RecalibrationKind.ISOTONIC: f"an isotonic curve of {len(layer.x)} points",
    }[layer.kind]
    return fact("over", f"the model of {short_id(layer.base)}: {said}", width)

"""Say what kind of shift was seen, by which figures, and what is laid over a model."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.cli.text import fact, title
from rehone.records import Estimate, Evidence, Recalibration, RecalibrationKind, Shift, short_id

SUGGESTED = {
    "nothing": "nothing",
    "fix_feed": "repair the feed",
    "rethreshold": 'a new threshold or calibration over the same model, as trigger.action = "suggested" makes it',
    "retrain": "retrain",
    "get_labels": "get labels first",
}


def shift_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Tell the kind of shift, what it suggests and every figure behind it; nothing where it was not asked."""
    shift = evidence.shift if evidence else None
    if shift is None:
        return []
    lines = [*title("Kind of shift"), *fact(shift.kind.value.replace("_", " "), shift.sentence, width)]
    since = f", on rows since {shift.retrain_from:%Y-%m-%d}" if shift.retrain_from else ""
    lines += fact("suggested", SUGGESTED[shift.suggestion] + since, width)
    for name, said in _figures(shift):
        lines += fact(name, said, width)
    for said in shift.unknown:
        lines += fact("not known", said, width)
    return lines


def _figures(shift: Shift) -> Iterator[tuple[str, str]]:
    if shift.domain_auc is not None:
        weighed = f"; {_said(shift.weighed_auc)} at the current share of positives" if shift.weighed_auc else ""
        yield "inputs", f"told apart with ROC-AUC {_said(shift.domain_auc)}{weighed}"
    if shift.off_support is not None:
        yield "off support", f"{shift.off_support:.1%} of current rows"
    if shift.score_ks is not None:
        after = "" if shift.reweighted_ks is None else f", {shift.reweighted_ks:.3f} at the current share of positives"
        yield "scores", f"KS distance {shift.score_ks:.3f}{after}"
    if shift.slope is not None and shift.intercept is not None:
        then = "" if shift.slope_then is None else f" (it was {shift.slope_then:.2f})"
        over = "" if shift.intercept_then is None else f" (it was {shift.intercept_then:.2f})"
        yield "labels", f"slope {_said(shift.slope)}{then}, intercept {_said(shift.intercept)}{over}"
    if shift.taught is not None:
        older = "" if shift.taught_before is None else f", {shift.taught_before:.1%} of that of older ones"
        yield "lesson", f"features beside the score save {shift.taught:.1%} of the log loss of new rows{older}"
    if shift.since is not None:
        yield "since", f"{shift.since:%Y-%m-%d}: another loss than before, beyond chance"


def _said(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


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

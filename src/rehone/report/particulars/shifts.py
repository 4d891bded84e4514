"""State what kind of shift was seen, and by which figures."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.records import Estimate, Shift

SUGGESTED = {
    "nothing": "nothing",
    "fix_feed": "repair the feed",
    "rethreshold": 'a new threshold or calibration over the same model, as trigger.action = "suggested" makes it',
    "retrain": "retrain",
    "get_labels": "get labels first",
}


def shift(found: Shift | None) -> Iterator[tuple[str, str]]:
    """State the kind of shift, what it suggests and every figure behind it; nothing where it was not asked."""
    if found is None:
        return
    yield found.kind.value.replace("_", " "), found.sentence
    since = f", on rows since {found.retrain_from:%Y-%m-%d}" if found.retrain_from else ""
    yield "suggested", SUGGESTED[found.suggestion] + since
    yield from _inputs(found)
    yield from _labels(found)
    for said in found.unknown:
        yield "not known", said


def _inputs(found: Shift) -> Iterator[tuple[str, str]]:
    if found.domain_auc is not None:
        weighed = f"; {_said(found.weighed_auc)} at the current share of positives" if found.weighed_auc else ""
        yield "inputs", f"told apart with ROC-AUC {_said(found.domain_auc)}{weighed}"
    if found.off_support is not None:
        yield "off support", f"{found.off_support:.1%} of current rows"
    if found.score_ks is not None:
        after = "" if found.reweighted_ks is None else f", {found.reweighted_ks:.3f} at the current share of positives"
        yield "scores", f"KS distance {found.score_ks:.3f}{after}"


def _labels(found: Shift) -> Iterator[tuple[str, str]]:
    if found.slope is not None and found.intercept is not None:
        then = "" if found.slope_then is None else f" (it was {found.slope_then:.2f})"
        over = "" if found.intercept_then is None else f" (it was {found.intercept_then:.2f})"
        yield "labels", f"slope {_said(found.slope)}{then}, intercept {_said(found.intercept)}{over}"
    if found.taught is not None:
        older = "" if found.taught_before is None else f", {found.taught_before:.1%} of that of older ones"
        yield "lesson", f"features beside the score save {found.taught:.1%} of the log loss of new rows{older}"
    if found.since is not None:
        yield "since", f"{found.since:%Y-%m-%d}: another loss than before, beyond chance"


def _said(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"

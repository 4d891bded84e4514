"""State how long labels take, and how the champion is estimated to do before they are due."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.records import DelayCurve, Estimate, Estimated, HeldEstimate
from rehone.report.wording import number

Row = tuple[str, str, str]

_SHOWN = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_BASES = {
    "as_trained": "a score is worth what it was",
    "covariate": "a score is worth what it was",
    "label_shift": "corrected for another share of positives",
}


def delays(curve: DelayCurve) -> Iterator[Row]:
    """Give the first day on which each well-known share of labels is there, under a head; nothing when it is not known."""
    steps = list(zip(curve.days, curve.share, curve.low, curve.high, strict=True))
    if not steps:
        return
    yield ("days after", "known", "interval")
    seen = set()
    for share in (*_SHOWN, steps[-1][1]):
        day, known, low, high = next((step for step in steps if step[1] >= share), steps[-1])
        if day not in seen:
            yield (number(day, 3), f"{100 * known:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %")
        seen.add(day)


def estimated(found: Estimated) -> Iterator[tuple[str, str]]:
    """State of which rows, and on which basis, performance was estimated without labels."""
    yield "rows", f"{found.window}, {found.n:,} rows"
    yield "basis", ": ".join(filter(None, (_BASES.get(found.basis, ""), found.detail)))


def performance(found: Estimated) -> Iterator[Row]:
    """Give what was estimated, under a head; nothing when recall was not."""
    if found.recall is None:
        return
    yield ("estimated", "value", "interval")
    shown = (
        ("recall", found.recall),
        ("precision", found.precision),
        ("cost per 1,000", found.cost_per_1000),
        ("ROC-AUC", found.roc_auc),
    )
    for name, each in shown:
        if each is not None:
            yield (name, number(each.value), f"{number(each.low)} to {number(each.high)}")


def held(found: Estimated, earlier: HeldEstimate | None) -> Iterator[tuple[str, str]]:
    """State what else could be, and what became of an earlier estimate."""
    if found.recall is not None and found.disagree:
        yield "otherwise", _otherwise(found)
    if earlier is not None:
        came = f"labels say {earlier.measured.value:.3f}" if earlier.measured else earlier.detail
        said = f"{_one(earlier.estimated)} for {earlier.window} by run {earlier.run_id}; {came}"
        yield "held", said + {True: ", within it", False: ", outside of it", None: ""}[earlier.covered]


def _otherwise(found: Estimated) -> str:
    other = found.other_recall
    if other is None:
        return "the other estimate contradicts it"
    why = "a score is worth what it was" if found.basis == "label_shift" else "only the share of positives has changed"
    return f"recall {_one(other)}, if {why}; scores alone cannot tell which"


def _one(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"

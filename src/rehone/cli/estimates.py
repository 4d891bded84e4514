"""Tell how long labels take, and how the champion is estimated to do before they are due."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.cli.text import fact, number, table, title, wrapped
from rehone.records import DelayCurve, Estimate, Estimated, Evidence

_SHOWN = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

_BASES = {
    "as_trained": "a score is worth what it was",
    "covariate": "a score is worth what it was",
    "label_shift": "corrected for another share of positives",
}


def maturity_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Say after how many days which share of labels is known, and the cut-off; nothing where it is not learned."""
    curve = evidence.maturity if evidence is not None else None
    if curve is None:
        return []
    lines = [*title("Labels"), *wrapped(curve.detail, width, indent=2)]
    if curve.days:
        lines += table(_points(curve), right=frozenset({0, 1}))
    return [*lines, *wrapped(f"{curve.arrived:,} of {curve.n:,} rows have their label", width, indent=2)]


def _points(curve: DelayCurve) -> list[tuple[str, str, str]]:
    """Return the head and the first day on which each well-known share is reached."""
    rows = [("days after", "known", "interval")]
    steps = list(zip(curve.days, curve.share, curve.low, curve.high, strict=True))
    seen = set()
    for share in (*_SHOWN, steps[-1][1]):
        day, known, low, high = next((step for step in steps if step[1] >= share), steps[-1])
        if day not in seen:
            rows.append((number(day, 3), f"{100 * known:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"))
        seen.add(day)
    return rows


def estimate_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Say what decisions are estimated to be worth, and what became of an earlier estimate."""
    found = evidence.estimated if evidence is not None else None
    if evidence is None or found is None:
        return []
    lines = title("Estimated before labels are due")
    lines += fact("rows", f"{found.window}, {found.n:,} rows", width)
    lines += fact("basis", ": ".join(filter(None, (_BASES.get(found.basis, ""), found.detail))), width)
    if found.recall is not None:
        lines += table(list(_metrics(found)), right=frozenset({1}))
        lines += fact("otherwise", _otherwise(found), width) if found.disagree else []
    held = evidence.held
    if held is not None:
        came = f"labels say {held.measured.value:.3f}" if held.measured else held.detail
        said = f"{_one(held.estimated)} for {held.window} by run {held.run_id}; {came}"
        word = {True: ", within it", False: ", outside of it", None: ""}[held.covered]
        lines += fact("held", f"{said}{word}", width)
    return lines


def _metrics(found: Estimated) -> Iterator[tuple[str, str, str]]:
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


def _otherwise(found: Estimated) -> str:
    other = found.other_recall
    if other is None:
        return "the other estimate contradicts it"
    why = "a score is worth what it was" if found.basis == "label_shift" else "only the share of positives has changed"
    return f"recall {_one(other)}, if {why}; scores alone cannot tell which"


def _one(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"

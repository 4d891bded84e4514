"""State what was really served: how many labels came, what each version decided, what a shadow showed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rehone.records import Estimate, Evidence, ServedVersion, ShadowReport, Skew, short_id
from rehone.report.wording import number

Facts = Iterator[tuple[str, str]]


def coverage(evidence: Evidence) -> Facts:
    """State how many labels of what was served are there."""
    found = evidence.coverage
    if found is not None:
        share = "" if found.share is None else f" ({_percent(found.labelled, found.due)})"
        said = f"{found.predictions:,} predictions in {found.window}; {found.due:,} with a label due, "
        yield "labels", f"{said}{found.labelled:,} of them arrived{share}"


def skew(found: Sequence[Skew]) -> Facts:
    """State where what was served differs from the data; nothing when nobody compared them."""
    differing = [each for each in found if each.differing]
    if found and not differing:
        compared = max(each.compared for each in found)
        yield "skew", f"none in {compared:,} ids that data.source also has in this window"
    for each in differing:
        share = _percent(each.differing, each.compared)
        said = f"{each.feature}: {share} of {each.compared:,} ids that data.source also has in this window differ"
        yield "skew", said + (f" ({each.example})" if each.example else "")


def served_versions(found: Sequence[ServedVersion]) -> Iterator[tuple[str, ...]]:
    """Give what each version decided, under a head; nothing when no label is known."""
    if not found:
        return
    yield ("version", "due", "labelled", "positives", "recall", "cost per 1,000", "ROC-AUC")
    for each in found:
        counts = (f"{each.predictions:,}", f"{each.labelled:,}", f"{each.positives:,}")
        measured = (each.recall, each.cost_per_1000, each.roc_auc)
        yield (short_id(each.version), *counts, *(_estimate(found) for found in measured))


def shadow(report: ShadowReport) -> Facts:
    """State what servers saw of the challenger beside the champion."""
    yield (
        "rows",
        f"{report.rows:,} scored by both, {report.failed_rows:,} failed, {report.skipped_rows:,} skipped",
    )
    if report.rows:
        yield "decisions", f"{report.changed_decisions / report.rows:.1%} would have been other ones"
        mean = report.sum_difference / report.rows
        yield "scores", f"{mean:+.4f} on average against the champion, {report.largest_difference:.4f} at most"
    if report.champion_seconds and report.rows:
        yield "time", f"{report.challenger_seconds / report.champion_seconds:.2f} x the champion's"
    if report.because:
        yield "not scored", report.because


def _percent(part: int, whole: int) -> str:
    """Write a share to a tenth of a percent; only all is 100 %, and only none is 0 %."""
    if not whole:
        return "unknown"
    tenths = part * 1000 // whole
    return "less than 0.1 %" if part and not tenths else f"{tenths / 10:g} %"


def _estimate(found: Estimate | None) -> str:
    return "unknown" if found is None else f"{number(found.value, 3)} [{number(found.low, 3)}, {number(found.high, 3)}]"

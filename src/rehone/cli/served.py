"""Tell what was really served: how many labels came, what each version decided, what a shadow showed."""

from __future__ import annotations

from rehone.cli.text import fact, number, table, title, wrapped
from rehone.records import Estimate, Evidence, ServedVersion, ShadowReport, Skew


def served_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Say what the prediction log holds of the window; nothing when evidence came from the data."""
    if evidence is None or evidence.origin != "served":
        return []
    lines = title("Served")
    coverage = evidence.coverage
    if coverage is not None:
        share = "" if coverage.share is None else f" ({coverage.share:.0%})"
        said = f"{coverage.predictions:,} predictions in {coverage.window}; {coverage.due:,} with a label due, "
        lines += fact("labels", f"{said}{coverage.labelled:,} of them arrived{share}", width)
    lines += _versions(evidence.served, width)
    return lines + _skew(evidence.skew, width)


def _versions(served: tuple[ServedVersion, ...], width: int) -> list[str]:
    if not served:
        return []
    rows = [("version", "predictions", "labelled", "positives", "recall", "cost per 1,000")]
    for each in served:
        counts = (f"{each.predictions:,}", f"{each.labelled:,}", f"{each.positives:,}")
        rows.append((each.version[:12], *counts, _estimate(each.recall), _estimate(each.cost_per_1000)))
    lines = table(rows, right=frozenset({1, 2, 3}))
    for each in served:
        if each.unknown:
            lines += wrapped(f"{each.version[:12]}: {each.unknown}", width, indent=2)
    return lines


def _skew(found: tuple[Skew, ...], width: int) -> list[str]:
    if not found:
        return []
    differing = [skew for skew in found if skew.differing]
    if not differing:
        compared = max(skew.compared for skew in found)
        return fact("skew", f"none: {compared:,} ids are as in the offline table", width)
    lines = []
    for skew in differing:
        share = "unknown" if skew.share is None else f"{skew.share:.1%}"
        said = f"{skew.feature}: {share} of {skew.compared:,} ids differ from the offline table"
        lines += fact("skew", said + (f" ({skew.example})" if skew.example else ""), width)
    return lines


def shadow_lines(report: ShadowReport | None, width: int) -> list[str]:
    """Say what servers saw of the challenger beside the champion."""
    if report is None:
        return []
    lines = title("Shadow")
    lines += fact(
        "rows", f"{report.rows:,} scored by both, {report.failed_rows:,} failed, {report.skipped_rows:,} skipped", width
    )
    if report.rows:
        changed = report.changed_decisions / report.rows
        lines += fact("decisions", f"{changed:.1%} would have been other ones", width)
        mean = report.sum_difference / report.rows
        said = f"{mean:+.4f} on average against the champion, {report.largest_difference:.4f} at most"
        lines += fact("scores", said, width)
    if report.champion_seconds and report.rows:
        lines += fact("time", f"{report.challenger_seconds / report.champion_seconds:.2f} x the champion's", width)
    if report.because:
        lines += fact("not scored", report.because, width)
    return lines


def _estimate(found: Estimate | None) -> str:
    return "unknown" if found is None else f"{number(found.value, 3)} [{number(found.low, 3)}, {number(found.high, 3)}]"

"""Choose what the page on drift says: what moved and when, what it looks like, and how the champion does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rehone.records import (
    Check,
    CheckStatus,
    Evidence,
    FeatureDrift,
    Figures,
    Histogram,
    RunRecord,
)
from rehone.report import charts
from rehone.report.book import Book
from rehone.report.charts import Chart
from rehone.report.site import Site

DRAWN = 60
"""Histograms that are drawn, those of the features that moved most; the rest stand in a table."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How far one feature moved in the newest run that looked, and its histograms."""

    drift: FeatureDrift
    status: CheckStatus
    limit: float | None
    said: str
    chart: Chart | None


def facts(book: Book, site: Site, asked: str) -> dict[str, object]:
    """Return what the template is filled with."""
    del site, asked
    looked = [record for record in book.recent if record.evidence is not None and record.evidence.drift]
    newest = looked[-1] if looked else None
    seen = _newest_evidence(book.recent)
    drawn = _figures(book, newest)
    moved = _moved(newest, drawn) if newest is not None else ()
    trigger = _trigger(newest)
    return {
        "newest": newest,
        "evidence": newest.evidence if newest is not None else None,
        "heat": charts.heat(looked, (trigger.get("psi_warn", 0.1), trigger.get("psi_action", 0.25))),
        "psi_time": charts.psi_time(book.summaries),
        "moved": moved,
        "drawn": tuple(one for one in moved if one.chart is not None),
        "kept": drawn is not None,
        "scores": charts.scores(drawn.scores if drawn is not None else None),
        "score_check": _score_check(newest),
        "label_rate": charts.label_rate(book.summaries),
        "recall": charts.recall_axis(book.summaries, book.recent, trigger.get("min_recall")),
        "held": seen.held if seen is not None else None,
    }


def _newest_evidence(records: Sequence[RunRecord]) -> Evidence | None:
    return next((record.evidence for record in reversed(records) if record.evidence is not None), None)


def _trigger(record: RunRecord | None) -> Mapping[str, Any]:
    return record.config.get("trigger", {}) if record is not None else {}


def _figures(book: Book, newest: RunRecord | None) -> Figures | None:
    return book.figures.get(newest.run_id) if newest is not None else None


def _moved(record: RunRecord, drawn: Figures | None) -> tuple[Moved, ...]:
    """Return all features, those first that moved most for what was allowed."""
    found = record.evidence.drift if record.evidence is not None else ()
    checks = {c.subject: c for c in _checks(record) if c.name == "psi"}
    histograms = {one.name: one for one in drawn.histograms} if drawn is not None else {}
    order = sorted(found, key=lambda drift: _rank(drift, checks.get(drift.feature)))
    return tuple(
        _one(drift, checks.get(drift.feature), histograms.get(drift.feature) if i < DRAWN else None)
        for i, drift in enumerate(order)
    )


def _checks(record: RunRecord) -> tuple[Check, ...]:
    return (*record.trigger.checks, *record.trigger.incidents) if record.trigger is not None else ()


def _rank(drift: FeatureDrift, check: Check | None) -> tuple[bool, int, float]:
    order = (CheckStatus.ACT, CheckStatus.WARN, CheckStatus.UNKNOWN, CheckStatus.OK)
    return drift.psi is None, order.index(_status(drift, check)), -(drift.psi or 0.0)


def _status(drift: FeatureDrift, check: Check | None) -> CheckStatus:
    if check is not None:
        return check.status
    if drift.incident is not None and not drift.ignored:
        return CheckStatus.ACT
    return CheckStatus.UNKNOWN if drift.psi is None else CheckStatus.OK


def _one(drift: FeatureDrift, check: Check | None, histogram: Histogram | None) -> Moved:
    said = check.detail if check is not None else drift.detail
    limit = check.limit if check is not None else None
    chart = charts.histogram(histogram) if histogram is not None else None
    return Moved(drift, _status(drift, check), limit, said, chart)


def _score_check(record: RunRecord | None) -> Check | None:
    return next((c for c in _checks(record) if c.name == "score_ks"), None) if record is not None else None

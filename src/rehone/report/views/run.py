"""Choose what the page of one run says: why it ran, on what, how it was judged, what it did, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rehone.records import Check, CheckStatus, Evidence, Figures, RunRecord, RunSummary, Verdict
from rehone.report import again, charts, particulars
from rehone.report.book import Book
from rehone.report.charts import Chart
from rehone.report.site import Site
from rehone.report.told import Told, in_book

MOST_DRAWN = 6
"""Histograms of one run that are drawn, those of the features that moved most for what was allowed."""
MOST_FILES = {True: 20, False: 2000}
"""Files of the data that are listed, in one document for all runs or on a page of its own; the record has all."""

WORDS = ("shift", "estimated", "performance", "matured", "in_use", "delays", "served", "served_versions")
"""What is inferred of the champion, as the template names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page that has something to say."""

    name: str
    title: str


def facts(book: Book, site: Site, asked: str) -> dict[str, object]:
    """Return what the template is filled with; `asked` is the id of a run whose record the book has."""
    told = in_book(book, asked)
    if told is None:
        return {"told": None}
    record = told.record
    return {
        "told": told,
        "record": record,
        "summary": _summary(book, asked),
        "following": _following(book, record),
        "sections": _sections(told),
        "p": particulars,
        "moved": _moved(record, told.figures),
        "files": record.data.files[: MOST_FILES[site.one_file]] if record.data else (),
        "repeat": again.repeat(record),
        "replay": again.replay(record),
        "again": again,
        **_drawn(told),
        **_words(record.evidence),
    }


def _summary(book: Book, run_id: str) -> RunSummary | None:
    return next((each for each in book.summaries if each.run_id == run_id), None)


def _following(book: Book, record: RunRecord) -> str | None:
    """Return the run that began after another."""
    here = (record.started_at, record.run_id)
    later = ((each.started_at, each.run_id) for each in book.summaries)
    return min((found for found in later if found > here), default=(None, None))[1]


def _sections(told: Told) -> tuple[Section, ...]:
    record = told.record
    there = (
        ("problem", "Problem", record.problem),
        ("decision", "Decision", record.trigger or record.evidence),
        ("data", "Data", record.data or record.data_checks),
        ("candidates", "Candidates", record.candidates),
        ("gate", "Gate", record.verdict),
        ("shadow", "Shadow", record.shadow),
        ("deployment", "Deployment", record.deployment_checks or told.deployments),
        ("realised", "Earlier promotions", record.realised),
        ("changed", "Changed since the run before", told.before or told.before_id),
        ("again", "Make it again", True),
    )
    return tuple(Section(name=name, title=title) for name, title, found in there if found)


def _drawn(told: Told) -> Mapping[str, Any]:
    """Draw what the gate saw; nothing for a run that did not come to it."""
    figures, verdict = told.figures, told.record.verdict
    curves = figures.curves if figures else ()
    found = (charts.roc, charts.precision_recall, charts.calibration, charts.cost_curve)
    return {
        "candidates_chart": charts.candidates(told.record) if told.record.candidates else None,
        "intervals": charts.intervals(verdict, told.record.config.get("gate", {}).get("level")),
        "curves": tuple(chart for draw in found if curves and (chart := draw(curves)) is not None),
        "importance": charts.importance(figures),
        "named": _named(verdict),
        "course": charts.course(told.deployments, told.record.run_id),
    }


def _named(verdict: Verdict | None) -> tuple[tuple[str, ...], ...]:
    return tuple(particulars.metrics(verdict)) if verdict else ()


def _moved(record: RunRecord, figures: Figures | None) -> tuple[tuple[str, Chart], ...]:
    """Draw the features whose drift is not ok, and the scores, by name."""
    if figures is None or record.trigger is None:
        return ()
    checks = [c for c in (*record.trigger.incidents, *record.trigger.checks) if c.status is not CheckStatus.OK]
    kept = {each.name: each for each in figures.histograms}
    worst = [c.subject for c in sorted(checks, key=_beyond, reverse=True) if c.name == "psi" and c.subject in kept]
    drawn = ((name, chart) for name in dict.fromkeys(worst) if (chart := charts.histogram(kept[name])) is not None)
    scores = charts.scores(figures.scores)
    return (*islice(drawn, MOST_DRAWN), *((("scores", scores),) if scores is not None else ()))


def _beyond(check: Check) -> tuple[bool, float]:
    """Order checks by how far they are from their limit, those that act first."""
    share = check.value / check.limit if check.value is not None and check.limit else 0.0
    return check.status is CheckStatus.ACT, share


def _words(evidence: Evidence | None) -> Mapping[str, Any]:
    """Say what is inferred of the champion: labels, estimates, the kind of shift, what was served."""
    if evidence is None:
        return dict.fromkeys(WORDS, ())
    found, curve = evidence.estimated, evidence.maturity
    served = evidence.origin == "served"
    return {
        "shift": tuple(particulars.shift(evidence.shift)),
        "estimated": (*particulars.estimated(found), *particulars.held(found, evidence.held)) if found else (),
        "performance": tuple(particulars.performance(found)) if found else (),
        "matured": tuple(particulars.matured(evidence)),
        "in_use": tuple(particulars.in_use(evidence)),
        "delays": tuple(particulars.delays(curve)) if curve else (),
        "served": (*particulars.coverage(evidence), *particulars.skew(evidence.skew)) if served else (),
        "served_versions": tuple(particulars.served_versions(evidence.served)) if served else (),
    }

"""Choose what the page on the pipeline's own health says."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.records import CheckStatus, RunStatus, RunSummary
from rehone.report import charts
from rehone.report.book import Book
from rehone.report.site import Site
from rehone.report.wording import DASH, number, share, took


def facts(book: Book, site: Site, asked: str) -> dict[str, object]:
    """Return what the template is filled with."""
    del site, asked
    return {
        "tiles": tuple(_tiles(book)),
        "endings": tuple(
            (name, book.health.endings.get(name, 0)) for name in RunStatus if book.health.endings.get(name)
        ),
        "lost": tuple(_lost(book)),
        "gate": charts.gate_failures(book.summaries, book.health),
        "times": charts.run_times(book.summaries),
        "promises": charts.promises(book.track),
        "broken": tuple(check for check in book.checks if check.status is not CheckStatus.OK),
    }


def _tiles(book: Book) -> Iterator[tuple[str, str, str]]:
    """Name the figures that say most: a name, a value and what it is of."""
    found = book.health
    yield "gate refused", share(found.gate_failure_share), f"{found.refused} of {found.judged} judged"
    yield (
        "drift alarms",
        number(found.alarms if found.days else None),
        f"in {number(found.days, 3)} day{'' if found.days == 1 else 's'}; {number(found.alarms_accepted, 2)} are accepted"
        if found.days
        else "drift was not measured in the past year",
    )
    yield "newest row", _age(found.newest_row_age_days), "old; no run has seen a newer one"
    yield "newest label", _age(found.newest_label_age_days), "since its event; no run has seen a newer one"
    times = found.run_seconds
    yield "run time", took(times[-1] if times else None), "of the newest run that trained"
    lost = found.breaker
    yield (
        "challengers lost",
        f"{lost.lost}{f' of {lost.limit}' if lost.limit is not None else ''}",
        "in a row, at which retraining stops" if lost.limit is not None else "in a row; the breaker is off",
    )


def _age(days: float | None) -> str:
    return DASH if days is None else took(days * 86400)


def _lost(book: Book) -> Iterator[RunSummary]:
    """Return the runs that count towards the breaker, the newest first."""
    known = {run.run_id: run for run in book.summaries}
    yield from (known[run_id] for run_id in reversed(book.health.breaker.runs) if run_id in known)

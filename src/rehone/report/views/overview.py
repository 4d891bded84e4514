"""Choose what the first page says: what is live and why, better or worse, what was refused, what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rehone.records import (
    Check,
    CheckStatus,
    Deployment,
    Replica,
    RunStatus,
    RunSummary,
    short_id,
)
from rehone.report import charts, lives
from rehone.report.book import Book
from rehone.report.site import Site
from rehone.report.views.direction import direction
from rehone.report.wording import days, days_of, moment, number

IN_VAIN = (RunStatus.REJECTED, RunStatus.INCONCLUSIVE, RunStatus.ROLLED_BACK, RunStatus.FAILED)
SHOWN = 6
"""How many of the runs that brought nothing are named."""


@dataclass(frozen=True, slots=True)
class Served:
    """One server, and whether it serves what is live."""

    replica: Replica
    status: CheckStatus
    said: str


def facts(book: Book, site: Site, asked: str) -> dict[str, object]:
    """Return what the template is filled with."""
    del site, asked
    track = book.track
    return {
        "live": tuple(_live(book)),
        "by": _run_of(book, book.status.deployment),
        "direction": direction(book),
        "notices": tuple(_notices(book)),
        "lost": any(check.name == "store" for check in book.status.problems),
        "waiting": tuple(run for run in book.summaries if run.run_id in book.health.waiting),
        "in_vain": tuple(reversed([run for run in book.summaries if run.status in IN_VAIN][-SHOWN:])),
        "n_in_vain": sum(run.status in IN_VAIN for run in book.summaries),
        "servers": tuple(_server(replica, book.status.deployment) for replica in book.status.replicas),
        "served": _served(book),
        "trends": [
            chart
            for metric in ("roc_auc", "recall", "cost_per_1000")
            if (chart := charts.trend(book.summaries, track, metric)) is not None
        ],
        "timeline": charts.deployments(
            book.deployments, max((run.as_of for run in book.summaries), default=None), book.made_at
        ),
    }


def _live(book: Book) -> Iterator[tuple[str, str]]:
    head, version = book.status.deployment, book.status.version
    if head is None or head.version is None:
        return
    first = lives.put_there(book.deployments, head)
    replayed = lives.is_replay(first.as_of, first.at)
    yield "since", moment(first.at) + (f", as of {moment(first.as_of)}" if replayed else "")
    yield "because", first.reason or "no reason was given"
    yield "by", f"{first.actor}, generation {head.generation}, {head.state}"
    if version is None:
        return
    made = version.manifest
    yield "model", f"{made.estimator}, decides at {number(made.threshold)}"
    yield "learned from", f"{made.train_rows:,} rows, {made.train_positives:,} positives, {days_of(made.train_window)}"
    today, which = _today(book)
    yield "age", f"{days((today - made.as_of) / timedelta(seconds=1))}{which}"


def _today(book: Book) -> tuple[datetime, str]:
    """Return the day that ages are told from: that of the last run where it replays the past."""
    last = book.status.last_run
    if last is not None and lives.is_replay(last.as_of, last.started_at):
        return last.as_of, f" on {moment(last.as_of)}, the day of the last run"
    return book.made_at, ""


def _run_of(book: Book, head: Deployment | None) -> RunSummary | None:
    first = lives.put_there(book.deployments, head) if head is not None else None
    return next((run for run in reversed(book.summaries) if first is not None and run.run_id == first.run_id), None)


def _notices(book: Book) -> Iterator[Check]:
    """Name what needs a person, the most serious first; what waits for an answer has a place of its own."""
    breaker = book.health.breaker
    if breaker.stopped:
        yield Check(
            name="breaker",
            status=CheckStatus.ACT,
            detail=f"Retraining has stopped: {breaker.lost} challengers in a row were lost, the limit is {breaker.limit}",
            remedy='look at them below, then `rehone breaker --reset --because "…"`',
        )
    order = (CheckStatus.ACT, CheckStatus.WARN, CheckStatus.UNKNOWN)
    named = [c for c in (*book.status.problems, *book.health.checks) if c.name not in ("breaker", "approval")]
    for status in order:
        yield from (check for check in named if check.status is status and not _is_open(check))
    for note in book.notes:
        yield Check(name="note", status=CheckStatus.WARN, detail=note)


def _is_open(check: Check) -> bool:
    """Whether a check only says that something was not measured, which is for the page on health."""
    return check.status is CheckStatus.UNKNOWN and check.name != "run"


def _server(replica: Replica, live: Deployment | None) -> Served:
    if replica.pinned:
        return Served(replica, CheckStatus.WARN, f"pinned to {short_id(replica.version)} by an operator")
    if live is not None and replica.refused_generation == live.generation:
        return Served(
            replica,
            CheckStatus.ACT,
            f"refused generation {live.generation}: {replica.refused_because or 'no reason given'}",
        )
    if live is not None and (replica.generation, replica.version) == (live.generation, live.version):
        return Served(replica, CheckStatus.OK, "serves what is live")
    return Served(replica, CheckStatus.WARN, f"serves {short_id(replica.version)}, generation {replica.generation}")


def _served(book: Book) -> tuple[object, ...]:
    """Return what versions really decided in production, as the newest run that looked saw it."""
    found = (record.evidence for record in reversed(book.recent) if record.evidence is not None)
    newest = next(found, None)
    return newest.served if newest is not None else ()

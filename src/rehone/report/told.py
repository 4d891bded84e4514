"""Hold what the story of one run is told from: its record, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rehone.records import Deployment, Figures, RunRecord
from rehone.report.book import Book
from rehone.report.differing import Difference, differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The record of a run with its figures, the run before it, and its part of the deployment log.

    `before` is the run that began before it; None when there is none, or when it cannot be read, and then
    `before_id` may still name it. `deployments` are the records that this run made, between the one that it found
    and the one that followed.
    """

    record: RunRecord
    figures: Figures | None = None
    before: RunRecord | None = None
    before_id: str | None = None
    deployments: tuple[Deployment, ...] = ()

    @property
    def changed(self) -> tuple[Difference, ...]:
        """What was configured otherwise in the run before; empty when nothing was, or nobody knows."""
        return () if self.before is None else differences(self.before, self.record)


def in_book(book: Book, run_id: str) -> Told | None:
    """Return what a book tells of a run; None when the book does not have its record."""
    record = book.record(run_id)
    if record is None:
        return None
    earlier = [s.run_id for s in book.summaries if (s.started_at, s.run_id) < (record.started_at, run_id)]
    before_id = max(earlier, default=None)
    return Told(
        record=record,
        figures=book.figures.get(run_id),
        before=book.record(before_id) if before_id else None,
        before_id=before_id,
        deployments=around(book.deployments, run_id),
    )


def around(log: Sequence[Deployment], run_id: str) -> tuple[Deployment, ...]:
    """Return the records of the log that a run made, with the one before the first and the one after the last."""
    own = [n for n, deployment in enumerate(log) if deployment.run_id == run_id]
    return tuple(log[max(0, own[0] - 1) : own[-1] + 2]) if own else ()

"""Write the pages that belong to no single run: all projects of a fleet, the door, a notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rehone.records import Check, CheckStatus
from rehone.report import lives
from rehone.report.book import Book
from rehone.report.layout import edition, lay_out

_WORST = (CheckStatus.ACT, CheckStatus.WARN, CheckStatus.UNKNOWN, CheckStatus.OK)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One project of a fleet: its book, or the `trouble` that kept it from being read."""

    name: str
    href: str
    book: Book | None = None
    trouble: str = ""

    @property
    def worst(self) -> CheckStatus:
        """Say how its pipeline is: as its worst check."""
        if self.book is None:
            return CheckStatus.ACT
        found = {check.status for check in self.checks}
        return next((status for status in _WORST if status in found), CheckStatus.UNKNOWN)

    @property
    def since(self) -> datetime | None:
        """Say since when what is live is live."""
        head = self.book.status.deployment if self.book else None
        return lives.put_there(self.book.deployments, head).at if self.book and head else None

    @property
    def checks(self) -> Sequence[Check]:
        """Gather what is known to be well or not."""
        if self.book is None:
            return ()
        notes = (Check(name="note", status=CheckStatus.WARN, detail=note) for note in self.book.notes)
        return (*self.book.status.problems, *self.book.checks, *self.book.health.checks, *notes)

    @property
    def needs(self) -> str:
        """Say the first thing that needs somebody, if anything does."""
        if self.trouble:
            return self.trouble
        urgent = [
            check for status in (CheckStatus.ACT, CheckStatus.WARN) for check in self.checks if check.status is status
        ]
        return urgent[0].sentence if urgent else ""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What stands around such a page; `state_at` is asked every `refresh_seconds` whether it has changed."""

    title: str
    made_at: datetime
    state: str = ""
    state_at: str = ""
    refresh_seconds: float | None = None
    form_token: str = ""
    without_script: bool = False


def fleet(entries: Sequence[Entry], frame: Frame) -> str:
    """Return the page of all projects, in the order given."""
    return _framed("fleet.html.j2", frame, entries=entries)


def door(frame: Frame, *, to: str, wrong: str = "") -> str:
    """Return the page that asks for the token; `to` is where its form leads, `wrong` what was wrong with the last."""
    return _framed("door.html.j2", frame, to=to, wrong=wrong)


def notice(frame: Frame, *, lines: Sequence[str], links: Sequence[tuple[str, str]], under_way: bool = False) -> str:
    """Return a page of a few sentences, and links to go on by: what is said, and where it leads."""
    return _framed("notice.html.j2", frame, lines=lines, links=links, under_way=under_way)


def _framed(template: str, frame: Frame, **facts: object) -> str:
    return lay_out(template, frame=frame, edition=edition(), **facts)

"""Hold all that pages come from: the projects, who is let in, what was answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from rehone.dashboard.answers import Answers
from rehone.dashboard.sessions import Sessions, Visitor
from rehone.dashboard.shelf import Shelf
from rehone.report.outer import Frame

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class House:
    """The parts of one server: `shelves` by the prefix of their addresses, which is empty when there is one project."""

    shelves: Mapping[str, Shelf]
    clock: Callable[[], datetime]
    refresh_seconds: float
    names: frozenset[str] = frozenset()
    cookie: str = "rehone"
    sessions: Sessions | None = None
    answers: Answers = field(default_factory=Answers)

    def frame(self, title: str, request: Request | None = None, *, state: str = "", state_at: str = "") -> Frame:
        """Return what stands around a page that belongs to no single run; a visitor who asked can leave from it."""
        visitor: Visitor | None = getattr(request.state, "visitor", None) if request else None
        return Frame(
            title=title,
            made_at=self.clock(),
            state=state,
            state_at=state_at,
            refresh_seconds=self.refresh_seconds,
            form_token=visitor.form_token if visitor else "",
        )

    def projects(self) -> tuple[tuple[str, str], ...]:
        """Return name and address of every project of a fleet; names that several have are told apart by their folder."""
        if "" in self.shelves:
            return ()
        names = {prefix: shelf.name for prefix, shelf in self.shelves.items()}
        times = Counter(names.values())
        return tuple(
            (name if times[name] == 1 else f"{name} ({prefix.removeprefix('/p/')})", f"{prefix}/")
            for prefix, name in names.items()
        )

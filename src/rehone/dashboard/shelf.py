"""Keep the newest book of a project, and the pages made of it, until something changes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import Lock

from rehone import api, report
from rehone.config import Config, load_config
from rehone.dashboard.state import digest, state_of
from rehone.errors import NotFound, RehoneError
from rehone.places import Remote
from rehone.report import Book, Site
from rehone.runlog import RunLog

FRESH_SECONDS = 30.0
"""A page that is older is made again when somebody looks: ages grow, and servers fall silent, without a run."""

_LOOK_SECONDS = 0.5
_LOOK_FAR_SECONDS = 15.0
"""An object store is not asked more often than this whether something has changed."""

_PAGES = 64


@dataclass(eq=False)
class Shelf:
    """One project as its pages see it; many may ask at once, and what they ask for is made once."""

    file: Path
    clock: Callable[[], datetime]
    _looking: Lock = field(default_factory=Lock)
    _making: Lock = field(default_factory=Lock)
    _looked: float = -1e9
    _state: str = ""
    _read: tuple[str, Config] | None = None
    _book: tuple[str, Book] | None = None
    _pages: OrderedDict[tuple[str, Site], str] = field(default_factory=OrderedDict)

    @property
    def name(self) -> str:
        """Return what the project is called, or its folder where its configuration cannot be read."""
        try:
            return self.config().project.name
        except (OSError, RehoneError):
            return self.file.absolute().parent.name

    def config(self) -> Config:
        """Return the configuration as it is now.

        Raises:
            ConfigError: it cannot be used.
        """
        found = self.file.stat()
        mark = f"{found.st_mtime_ns} {found.st_size}"
        if self._read is None or self._read[0] != mark:
            self._read = mark, load_config(self.file)
        return self._read[1]

    def state(self) -> str:
        """Return a text that changes when pages would; one that says so when nothing can be read."""
        with self._looking:
            pause = _LOOK_FAR_SECONDS if self._is_far() else _LOOK_SECONDS
            if time.monotonic() - self._looked >= pause:
                self._state = self._look()
                self._looked = time.monotonic()
            return self._state

    def look_again(self) -> None:
        """Look at once when a page is asked for next: what somebody has just answered is on it."""
        with self._looking:
            self._looked = -1e9

    def book(self) -> Book:
        """Return the newest book.

        Raises:
            RehoneError: the project cannot be read.
        """
        state = self.state()
        with self._making:
            return self._made(state)

    def page(self, path: str, site: Site) -> str:
        """Return a page; `site.state` says which state of the project it is to show.

        Raises:
            NotFound: there is no such page.
            RehoneError: the project cannot be read.
        """
        with self._making:
            key = path, site
            if key not in self._pages:
                book = self._made(site.state)
                self._pages[key] = report.page(_opened(book, path, self.config), path, site)
                while len(self._pages) > _PAGES:
                    self._pages.popitem(last=False)
            self._pages.move_to_end(key)
            return self._pages[key]

    def _is_far(self) -> bool:
        return self._read is not None and isinstance(self._read[1].runs_path, Remote)

    def _look(self) -> str:
        try:
            seen = state_of(self.config()) + str(self._read and self._read[0])
        except (OSError, RehoneError) as error:
            seen = str(error)
        return digest(f"{seen} {self.clock().timestamp() // FRESH_SECONDS}")

    def _made(self, state: str) -> Book:
        if self._book is None or self._book[0] != state:
            self._book = state, api.book(self.config())
            self._pages.clear()
        return self._book[1]


def _opened(book: Book, path: str, config: Callable[[], Config]) -> Book:
    """Return the book with the record that a page is about, and the one before it, where it lacks them."""
    run = path.removeprefix("run/")
    if run == path:
        return book
    ids = [summary.run_id for summary in book.summaries]
    if run not in ids:
        raise NotFound(f"there is no run {run!r}: the table of runs lists them")
    at, runlog, figures = ids.index(run), RunLog.of(config()), dict(book.figures)
    lacking = [one for one in ids[max(at - 1, 0) : at + 1] if book.record(one) is None]
    records = [runlog.find(one) for one in lacking]
    for record in records:
        if (drawn := runlog.figures(record)) is not None:
            figures[record.run_id] = drawn
    recent = sorted((*records, *book.recent), key=lambda record: (record.started_at, record.run_id))
    return replace(book, recent=recent, figures=figures)

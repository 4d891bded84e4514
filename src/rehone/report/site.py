"""Hold where pages stand: in one file, or behind a server of one project or of many."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How pages link to each other, and what a reader may do on them.

    In `one_file` the pages are sections of one document. Else a page of path `p` is served at `prefix/p`, the style and
    script of `asset` below `static`, and what stands at `prefix/state` changes when a page would; it is asked for every
    `refresh_seconds` and compared with `state`, that of this page.
    `projects` are all of a fleet, by name and address. With `answers`, a run that waits for a person has two forms, which post
    `because` and the `token`, under these names, to `prefix/run/<id>/approve` and `prefix/run/<id>/reject`.
    """

    one_file: bool = False
    prefix: str = ""
    projects: tuple[tuple[str, str], ...] = ()
    answers: bool = False
    refresh_seconds: float | None = None
    token: str = ""
    static: str = "/"
    state: str = ""

    def href(self, path: str = "", anchor: str = "") -> str:
        """Return what a link to a page leads to, or to one place on it."""
        if self.one_file:
            return f"#{anchor or place(path)}"
        return f"{self.prefix}/{quote(path, safe='/?&=-')}{f'#{anchor}' if anchor else ''}"


def place(path: str) -> str:
    """Return the id of a page's heading: `run/<id>` stands at `run-<id>`."""
    return path.partition("?")[0].replace("/", "-") or "overview"

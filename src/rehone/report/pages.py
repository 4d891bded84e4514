"""Write pages of a book as HTML: each alone for a server, or all of them in one file.

Every page is a fragment, which begins with its `h2`; `base.html.j2` stands around it, or around all of them.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehone.errors import NotFound
from rehone.records import RunRecord
from rehone.report.book import Book
from rehone.report.layout import asset, edition, lay_out
from rehone.report.site import Site, place
from rehone.report.views import drift, health, overview, run, runs

if TYPE_CHECKING:
    from markupsafe import Markup

PAGES = {"": "Overview", "drift": "Drift", "runs": "Runs", "health": "Health"}
"""The pages that navigation names, by path; a run has a page at `run/<id>`."""
_VIEWS = {"": overview, "drift": drift, "runs": runs, "health": health}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page without what stands around it; that of a `run` is folded where others stand above it."""

    text: Markup
    run: RunRecord | None = None


def page(book: Book, path: str, site: Site) -> str:
    """Return one page as a whole document.

    Args:
        path: "", "drift", "runs", "health" or "run/<id>", below `site.prefix`. That of the runs may have a query, as
            its form sends it: `runs?ending=rejected&trigger=drift&text=psi&page=2`.

    Raises:
        NotFound: there is no such page, or the book does not have the record of that run.
    """
    where, _, asked = path.partition("?")
    leaf = _leaf(book, where, asked, site)
    name = PAGES.get(where, f"Run {where.removeprefix('run/')}")
    return _bound(book, site, title=f"{name} · {book.project}", here=where, leaves=[Leaf(leaf)])


def one_file(book: Book) -> str:
    """Return all pages as one document that needs nothing else: no network, no server, no script for its text."""
    site = Site(one_file=True)
    leaves = [Leaf(_leaf(book, path, "", site)) for path in PAGES]
    leaves += [Leaf(_leaf(book, f"run/{run.run_id}", "", site), run) for run in reversed(book.recent)]
    return _bound(book, site, title=book.project, here="", leaves=leaves)


def _leaf(book: Book, where: str, asked: str, site: Site) -> Markup:
    around = {"book": book, "site": site, "place": place(where)}
    if where in _VIEWS:
        view = _VIEWS[where]
        return lay_out(f"{where or 'overview'}.html.j2", **around, **view.facts(book, site, asked))
    run_id = where.removeprefix("run/")
    if where == run_id or book.record(run_id) is None:
        raise NotFound(
            f"there is no page {where!r}: pages are {', '.join(p or 'overview' for p in PAGES)} and run/<id>"
        )
    return lay_out("run.html.j2", **around, **run.facts(book, site, run_id))


def _bound(book: Book, site: Site, *, title: str, here: str, leaves: list[Leaf]) -> str:
    style, script = asset("style.css"), asset("page.js")
    whole = lay_out(
        "base.html.j2",
        book=book,
        site=site,
        title=title,
        here=here,
        pages=PAGES,
        leaves=leaves,
        style=style,
        script=script,
        edition=edition(),
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return str(whole)

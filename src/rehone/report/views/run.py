"""Choose what the page of one run says."""

from __future__ import annotations

from rehone.report.book import Book
from rehone.report.site import Site


def facts(book: Book, site: Site, asked: str) -> dict[str, object]:
    """Return what the template is filled with; `asked` is the id of a run whose record the book has."""
    del site
    return {"record": book.record(asked)}

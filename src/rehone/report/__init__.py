"""Lay out what is known of a project as pages: one file that needs nothing else, or pages that are served."""

from rehone.report.book import Book
from rehone.report.layout import asset
from rehone.report.pages import one_file, page
from rehone.report.site import Site

__all__ = ["Book", "Site", "asset", "one_file", "page"]

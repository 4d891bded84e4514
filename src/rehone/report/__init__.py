"""Lay out what is known of a project as pages: one file that needs nothing else, or pages that are served."""

from rehone.report.book import Book

__all__ = ["Book"]

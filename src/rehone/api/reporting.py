"""Gather what pages are made of, write them, and tell why something was live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rehone.api.door import Where
from rehone.records import Why

if TYPE_CHECKING:
    from rehone.report import Book


def report(project: Where = ".", out: str | Path = "report.html", *, runs: int = 20) -> Path:
    """Write one self-contained HTML page about a project, and return its path."""
    raise NotImplementedError


def book(project: Where = ".", *, runs: int = 20) -> Book:
    """Gather what pages are made of; at most `runs` newest records are read whole."""
    raise NotImplementedError


def why(project: Where, asked: str) -> Why:
    """Tell what was live at a date, or why a version was, and why, in at most ten lines."""
    raise NotImplementedError

"""Hold one chart: drawn, said in words, and as the table that it was drawn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """An SVG with what it shows in one sentence (`said`), and the same figures as a table.

    The SVG is drawn with the page's own colours (CSS variables), so that it follows the theme. `columns` and `rows`
    are what a reader without sight, and a reader on paper, gets.
    """

    title: str
    svg: str
    said: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

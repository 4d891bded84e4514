"""Say what is wrong with a request: all of it at once, each with its row and column."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

LISTED_PROBLEMS: Final = 1000


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong with one cell, one row (`column is None`) or one column (`row is None`).

    Rows are counted from 0, as in the list that was sent.
    """

    row: int | None
    column: str | None
    problem: str

    @property
    def sentence(self) -> str:
        """Say which cell it is and what is wrong with it."""
        where = [] if self.row is None else [f"row {self.row}"]
        where += [] if self.column is None else [f"column {self.column!r}"]
        return f"{' '.join(where)} {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is not a prediction: HTTP status, one sentence, and each problem found.

    `more` counts the problems beyond the first `LISTED_PROBLEMS`.
    """

    status: int
    error: str
    problems: tuple[RowProblem, ...] = ()
    more: int = 0


class Problems:
    """Count every problem of a request, and keep the first of each column to be listed."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: dict[str | None, list[RowProblem]] = {}

    def add(self, row: int | None, column: str | None, problem: str) -> None:
        """Count a problem."""
        self.count += 1
        kept = self._kept.setdefault(column, [])
        if len(kept) < LISTED_PROBLEMS:
            kept.append(RowProblem(row, column, problem))

    def refusal(self) -> Refusal:
        """Return them as the answer to the request."""
        ordered = sorted(itertools.chain(*self._kept.values()), key=lambda p: -1 if p.row is None else p.row)
        listed = tuple(ordered[:LISTED_PROBLEMS])
        count = "1 problem" if self.count == 1 else f"{self.count:,} problems, the first is"
        return Refusal(
            status=422,
            error=f"the rows cannot be read, {count}: {listed[0].sentence}",
            problems=listed,
            more=self.count - len(listed),
        )

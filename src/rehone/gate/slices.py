"""Compare challenger and champion within each value of the columns that the user names.

A slice fails only when the challenger is significantly worse there by more than the margin,
after Holm's correction over all slices: asking for "not worse" in each would stop equal models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rehone import compare
from rehone.gate.facts import Case, Ruling, Side
from rehone.gate.words import count, number, percent
from rehone.records import Check, CheckStatus

MOST_NAMED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """One value of one column, on its positives."""

    column: str
    value: str
    positives: int
    gain: int
    loss: int
    p_worse: float

    @property
    def ahead(self) -> float:
        return (self.gain - self.loss) / self.positives

    @property
    def name(self) -> str:
        return f"{self.column}={self.value}"


def slices(case: Case, champion: Side) -> Iterator[Ruling]:
    """Say how each slice does, which are too small to say, and which configured column is not there."""
    judged: list[_Slice] = []
    small: list[tuple[str, str, int]] = []
    for column in case.policy.slices:
        values = case.holdout.slices.get(column)
        if values is None:
            yield _absent(column)
            continue
        for value, found in _by_value(case, champion, column, np.asarray(values)[case.rows]):
            if isinstance(found, int):
                small.append((column, value, found))
            else:
                judged.append(found)
    adjusted = compare.holm([one.p_worse for one in judged]) if judged else ()
    for one, p_value in zip(judged, adjusted, strict=True):
        yield _ruling(case, one, p_value, len(judged))
    if small:
        yield Ruling(_too_small(case, small))


def _by_value(case: Case, champion: Side, column: str, values: NDArray[Any]) -> Iterator[tuple[str, _Slice | int]]:
    """Yield each value with its slice, or with its number of positives when they are too few."""
    for value in np.unique(values):
        rows = (values == value) & case.labels
        positives = int(rows.sum())
        if positives < case.policy.slice_min_positives:
            yield str(value), positives
            continue
        before, after = champion.acted[rows], case.challenger.acted[rows]
        gain, loss = int((after & ~before).sum()), int((before & ~after).sum())
        yield (
            str(value),
            _Slice(
                column=column,
                value=str(value),
                positives=positives,
                gain=gain,
                loss=loss,
                p_worse=_p_worse(case, (before, after), (gain, loss), rows),
            ),
        )


def _p_worse(
    case: Case, decisions: tuple[NDArray[np.bool_], NDArray[np.bool_]], pairs: tuple[int, int], rows: NDArray[np.bool_]
) -> float:
    """Return the one-sided p-value of "not worse by more than the margin": the larger of Tango's and the blocks'."""
    margin, (gain, loss) = case.policy.margin_slice, pairs
    p_value = float(ndtr(compare.tango_z(decisions[0].size, gain, loss, margin)))
    if case.blocks is None:
        return p_value
    between = compare.block_difference(*decisions, case.blocks[rows])
    return max(p_value, 1 - between.p_non_inferior(margin)) if between.se is not None else 1.0


def _ruling(case: Case, one: _Slice, p_value: float, n: int) -> Ruling:
    margin = case.policy.margin_slice
    worse = p_value < 1 - case.policy.level
    check = Check(
        name="slice",
        subject=one.name,
        status=CheckStatus.ACT if worse else CheckStatus.OK,
        value=one.ahead,
        limit=-margin,
        p_value=p_value,
        positives=one.positives,
        detail=f"recall where {one.column} is {one.value}: {one.gain:,} gained and {one.loss:,} lost of "
        f"{count(one.positives, 'positive')}, difference {number(one.ahead, sign=True)}; "
        f"{'worse' if worse else 'not shown to be worse'} than {number(-margin, sign=True)} "
        f"with {percent(case.policy.level)} confidence over {count(n, 'slice')}",
        remedy="look at these rows: what do they lack in training? Or raise gate.margin_slice" if worse else "",
    )
    return Ruling(check, flip=f"recall where {one.column} is {one.value} not been worse by {number(-one.ahead)}")


def _absent(column: str) -> Ruling:
    check = Check(
        name="slice",
        subject=column,
        status=CheckStatus.ACT,
        detail=f"gate.slices names {column!r}, which the held-out rows do not have",
        remedy="correct gate.slices, or bring the column back",
    )
    return Ruling(check, flip=f"the rows had a column {column!r}")


def _too_small(case: Case, small: list[tuple[str, str, int]]) -> Check:
    named = [f"{column} {value} ({positives})" for column, value, positives in small[:MOST_NAMED]]
    more = f" and {len(small) - MOST_NAMED:,} more" if len(small) > MOST_NAMED else ""
    return Check(
        name="slices_too_small",
        status=CheckStatus.WARN,
        value=float(len(small)),
        limit=float(case.policy.slice_min_positives),
        detail=f"{count(len(small), 'slice')} with fewer than {case.policy.slice_min_positives} positives, "
        f"not judged: {', '.join(named)}{more}",
        remedy="widen the holdout, or lower gate.slice_min_positives",
    )

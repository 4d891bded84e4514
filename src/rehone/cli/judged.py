"""Tell how candidates did, what the gate said of the winner, and what it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from rehone.cli.text import clipped, number, table, title, wrapped
from rehone.records import CandidateResult, Figures, Importance, Verdict
from rehone.report import particulars
from rehone.report.particulars import Compared
from rehone.report.wording import DASH, signed

MOST_FEATURES = 10
_BAR = 24
_NAME = 12
_AXIS, _LIMIT, _EVEN = 13, 3, 6
"""Places of a drawn comparison: from two margins behind to two ahead, with the limit and no difference between."""


def candidate_lines(candidates: tuple[CandidateResult, ...], width: int) -> list[str]:
    """List the candidates with their scores, why one failed, and the call that makes the winner."""
    rows = _plain(particulars.candidates(candidates))
    if not rows:
        return []
    right = frozenset({3, 4, 5, 6, 7})
    others = _wide([(star, "", *cells) for star, _, *cells in rows])
    rows = [(star, clipped(name, max(width - others, len("candidate"))), *cells) for star, name, *cells in rows]
    lines = [*title("Candidates (cross-validated; * is the winner)"), *table(rows, right=right)]
    for found in candidates:
        if found.error:
            lines += wrapped(f"{found.name}, {found.window}: {found.error}", width, indent=2)
        if found.winner:
            lines += wrapped(f"* {particulars.call(found)}", width, indent=2)
    return lines


def verdict_lines(verdict: Verdict | None, width: int) -> list[str]:
    """Say what the gate concluded, with the quality of both models and each paired comparison."""
    if verdict is None:
        return []
    weak = " (weak evidence)" if verdict.weak_evidence else ""
    lines = [*title(f"Verdict: {verdict.outcome}{weak}"), *wrapped(verdict.reason, width, indent=2)]
    lines += wrapped(f"It {verdict.flip}.", width, indent=2) if verdict.flip else []
    if rows := _plain(particulars.metrics(verdict)):
        lines += table(rows, right=frozenset({1, 2}))
    return [*lines, *_compared(particulars.comparisons(verdict), width)]


def _compared(found: tuple[Compared, ...], width: int) -> list[str]:
    """Write each comparison with a drawing of its interval, which is left out where figures need the place."""
    if not found:
        return []
    rows: list[tuple[str, ...]] = [("", "difference", "interval", "must be", "in margins")]
    rows += [(one.name, one.difference, one.interval, one.limit, drawn(one)) for one in found]
    said = "Challenger minus champion on the same rows"
    if _wide([("", *cells) for _, *cells in rows]) + _NAME <= width:
        said += "; in margins, to the right is better: | limit, . no difference"
    else:
        rows = [row[:4] for row in rows]
    others = _wide([("", *cells) for _, *cells in rows])
    rows = [(clipped(name, max(width - others, _NAME)), *cells) for name, *cells in rows]
    lines = [*title("Compared in pairs"), *table(_plain(rows), right=frozenset({1}))]
    return [*lines, *wrapped(f"{said}.", width, indent=2)]


def drawn(one: Compared) -> str:
    """Draw an interval in units of its margin: `|` is the limit, `.` no difference, `o` what was seen."""
    if one.low is None or one.value is None or one.high is None:
        return ""
    low, value, high = (round(_EVEN + (_EVEN - _LIMIT) * part) for part in (one.low, one.value, one.high))
    line = ["-" if low <= place <= high else " " for place in range(_AXIS)]
    line[_EVEN], line[_LIMIT] = ".", "|"
    if low < 0:
        line[0] = "<"
    if high >= _AXIS:
        line[-1] = ">"
    if 0 <= value < _AXIS:
        line[value] = "o"
    return "".join(line).rstrip()


def cost_lines(figures: Figures | None, width: int) -> list[str]:
    """Say what the threshold of each model costs; nothing where that was not kept."""
    said = [line for sentence in particulars.costs(figures) for line in wrapped(sentence, width, indent=2)]
    return [*title("Threshold and cost"), *said] if said else []


def importance_lines(figures: Figures | None, width: int) -> list[str]:
    """List what shuffling each feature costs the challenger; the ten that cost most."""
    found = sorted(figures.importance if figures else (), key=lambda one: -one.value)
    if not found:
        return []
    top = found[:MOST_FEATURES]
    rows = [("feature", "loss", "from", "to", ""), *(_row(one, top[0]) for one in top)]
    others = _wide([("", *cells) for _, *cells in rows])
    rows = [(clipped(name, max(width - others, _NAME)), *cells) for name, *cells in rows]
    lines = title("Importance (ROC-AUC lost on the holdout when a feature is shuffled)")
    lines += table(rows, right=frozenset({1, 2, 3}))
    if (left := len(found) - len(top)) > 0:
        rest = "1 feature costs" if left == 1 else f"{left} features cost"
        lines += wrapped(f"{rest} {number(found[len(top)].value, 2)} or less", width, indent=2)
    return lines


def _row(one: Importance, most: Importance) -> tuple[str, ...]:
    length = round(_BAR * one.value / most.value) if most.value > 0 else 0
    return (one.feature, *(signed(part) for part in (one.value, one.low, one.high)), "#" * max(0, length))


def _wide(rows: Sequence[tuple[str, ...]]) -> int:
    return max(len(click.unstyle(line)) for line in table(rows))


def _plain(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Write what was not measured as the terminal does."""
    return [tuple("-" if cell == DASH else cell for cell in row) for row in rows]

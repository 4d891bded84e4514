"""Say how a challenger's fate looks: in words, as a sign of the legend, and as a mark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rehone.records import RunStatus, RunSummary
from rehone.report.charts.axes import BARS, CROSS, DOWN
from rehone.report.draw import Key, Shape


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a challenger: a word, and a shape of its own with a colour."""

    word: str
    sign: Shape
    shape: str
    colour: str
    filled: bool = False
    glyph: str = ""

    @property
    def fill(self) -> str:
        return self.colour if self.filled else "none"


LIVE = Fate("went live", "dot", "circle", "var(--accent)", filled=True)
WAITS = Fate("waits", "glyph", BARS, "var(--warn)", glyph="‖")
OPEN = Fate("not ended", "ring", "circle", "var(--muted)")

_FATES = {
    RunStatus.DEPLOYED: LIVE,
    RunStatus.REJECTED: Fate("rejected", "cross", CROSS, "var(--act)"),
    RunStatus.INCONCLUSIVE: Fate("inconclusive", "diamond", "diamond", "var(--unknown)"),
    RunStatus.ROLLED_BACK: Fate("rolled back", "down", DOWN, "var(--act)", filled=True),
    RunStatus.FAILED: Fate("failed later", "square", "square", "var(--act)"),
}


def fate(run: RunSummary) -> Fate:
    """Return what became of the challenger of a run."""
    if run.status is None:
        return WAITS if run.waits else OPEN
    return _FATES.get(run.status, OPEN)


def keys(runs: Iterable[RunSummary]) -> list[Key]:
    """Return the legend of the fates that are there."""
    there = {fate(run).word for run in runs}
    looks = [look for look in (*_FATES.values(), WAITS, OPEN) if look.word in there]
    return [
        Key(f"challenger {look.word}" if n == 0 else look.word, look.colour, look.sign, look.glyph)
        for n, look in enumerate(looks)
    ]

"""Lay out what charts share: axes with round figures, how a status or an ending looks, and rows of marks."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from rehone.records import CheckStatus
from rehone.report.draw import Spec, breadth

Row = dict[str, Any]

STATUS: dict[CheckStatus, tuple[str, str, str]] = {
    CheckStatus.OK: ("✓", "ok", "var(--ok)"),
    CheckStatus.WARN: ("!", "warn", "var(--warn)"),
    CheckStatus.ACT: ("✕", "act", "var(--act)"),
    CheckStatus.UNKNOWN: ("?", "unknown", "var(--unknown)"),
}
"""Glyph, word and colour of each status; always together."""

CROSS = "M-1,-1L1,1M1,-1L-1,1"
BARS = "M-.8,-1.2L-.8,1.2M.8,-1.2L.8,1.2"
DOWN = "M-1,-.8L1,-.8L0,1Z"


def milliseconds(moment: datetime) -> float:
    """Write a moment as Vega does, in milliseconds since 1970."""
    return moment.timestamp() * 1000


def data(rows: Sequence[Row]) -> Spec:
    """Hand rows to a layer."""
    return {"values": list(rows)}


def time_x(moments: Sequence[datetime], width: int, title: str = "as of") -> Spec:
    """Encode field `t` as time in UTC, with room at both ends and as many labels as fit."""
    first, last = min(moments), max(moments)
    span = last - first
    room = span * 0.03 or timedelta(days=1)
    shown = span or 2 * room
    form = "%Y" if shown > timedelta(days=1500) else "%Y-%m" if shown > timedelta(days=120) else "%Y-%m-%d"
    if shown < timedelta(days=4):
        form = "%m-%d %H:%M"
    return {
        "field": "t",
        "type": "temporal",
        "title": title,
        "scale": {"type": "utc", "domain": [milliseconds(first - room), milliseconds(last + room)]},
        "axis": {"format": form, "tickCount": max(3, width // 85)},
    }


def linear(
    values: Iterable[float], *, low: float | None = None, high: float | None = None, head: float = 0.0, count: int = 5
) -> Spec:
    """Return `scale` and `axis` over all values, with round figures; `low` and `high` are where the scale must end.

    `head` is the share of the height that is left free above.
    """
    known = list(values)
    least, most = min(known), max(known)
    room = 0.06 * (most - least) or 0.06 * abs(most) or 0.5
    start = least - room if low is None else max(low, least - room)
    end = most + room if high is None else min(high, most + room)
    if end <= start:
        start, end = start - room, end + room
    figures = [x for x in ticks(start, end, count) if high is None or x <= high + 1e-12]
    return {
        "scale": {"domain": [start, end + head * (end - start)], "nice": False, "zero": False},
        "axis": {"values": figures},
    }


def from_zero(values: Iterable[float], *, head: float = 0.0, count: int = 5) -> Spec:
    """Return `scale` and `axis` from 0 to beyond the largest value."""
    return linear([0.0, *values], low=0.0, head=head, count=count)


def ticks(start: float, end: float, count: int = 5) -> list[float]:
    """Return round figures between two, about `count` of them."""
    raw = (end - start) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(start / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(end / step + 1e-9) + 1)]


def quantity(field: str, title: str | None, look: Spec, **more: Any) -> Spec:
    """Encode a field along an axis made by `linear` or `from_zero`; its title stands above."""
    axis = {**look["axis"], **more.pop("axis", {})}
    return {"field": field, "type": "quantitative", "title": title, "scale": look["scale"], "axis": axis, **more}


def raw(field: str) -> Spec:
    """Encode a colour, a shape or an opacity that rows hold themselves."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def described(mark: Spec, **encoding: Spec) -> Spec:
    """Return the mark and encoding of a layer whose rows say in `said` what they show."""
    return {
        "mark": {**mark, "aria": True},
        "encoding": {**encoding, "description": {"field": "said", "type": "nominal"}},
    }


def clipped(text: str, length: int = 220) -> str:
    """Cut a text at a length, with dots where it was cut."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def labels(names: Sequence[str], most: int = 22) -> list[str]:
    """Write names briefly; those that are cut to the same letters are told apart by their number."""
    cut = [short(name, most) or "-" for name in names]
    return [label if cut.count(label) == 1 else f"{short(label, most - 5)} #{i + 1}" for i, label in enumerate(cut)]


def short(name: str, most: int) -> str:
    """Cut a name in its middle, for names begin alike and differ at their end; `most` is in letters of mean width.

    So no chart needs to have its labels measured twice, which is most of what a drawing takes.
    """
    name = " ".join(name.split())
    if breadth(name) <= most:
        return name
    end = (most - 1) // 2
    return f"{_fitting(name, most - 1 - end)}…{_fitting(name[::-1], end)[::-1]}"


def _fitting(text: str, room: float) -> str:
    return text[: bisect_right(list(accumulate(map(breadth, text))), room)]


def spaced(rows: Sequence[Row], places: Sequence[float], needed: Sequence[float]) -> list[Row]:
    """Keep rows, in order, whose text does not run into the text before; px."""
    kept, end = [], -math.inf
    for row, place, room in zip(rows, places, needed, strict=True):
        if place - room / 2 >= end:
            kept.append(row)
            end = place + room / 2
    return kept

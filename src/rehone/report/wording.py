"""Write numbers, moments and lengths of time as pages show them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rehone.records import RunRecord, RunSummary, Window, short_id

if TYPE_CHECKING:
    from markupsafe import Markup

DASH = "–"
"""What stands where nothing was measured."""

WAITS, NOT_ENDED = "waits", "not_ended"
"""What stands for the ending of a run that has none: a person is asked, or it is under way, rests, or was killed."""

COMPARED: Mapping[str, str] = {
    "roc_auc_vs_champion": "ROC-AUC",
    "recall_vs_champion": "recall",
    "cost_vs_champion": "cost per 1,000",
    "average_precision_vs_champion": "average precision",
}
"""Checks in which the gate holds challenger and champion against each other, by what they compare."""


def number(value: float | None, digits: int = 4) -> str:
    """Write a number briefly, with a true minus sign."""
    if value is None:
        return DASH
    if float(value).is_integer() and abs(value) < 1e15:
        said = f"{int(value):,}"
    else:
        said = f"{value:,.2f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return said.replace("-", "−", 1) if value < 0 else said


def fixed(value: float | None, places: int = 4) -> str:
    """Write a number with so many decimals, so that columns align."""
    return DASH if value is None else f"{value:,.{places}f}".replace("-", "−")


def signed(value: float | None, places: int = 4) -> str:
    """Write a difference with its sign."""
    return DASH if value is None else f"{value:+,.{places}f}".replace("-", "−")


def share(value: float | None) -> str:
    """Write a share as per cent."""
    return DASH if value is None else f"{value:.1%}"


def moment(when: datetime | None) -> str:
    """Write a moment in UTC; midnight as the day alone."""
    if when is None:
        return DASH
    when = when.astimezone(UTC)
    midnight = (when.hour, when.minute, when.second, when.microsecond) == (0, 0, 0, 0)
    return f"{when:%Y-%m-%d}" if midnight else f"{when:%Y-%m-%d %H:%M} UTC"


def day(when: datetime | None) -> str:
    """Write the day of a moment in UTC."""
    return DASH if when is None else f"{when.astimezone(UTC):%Y-%m-%d}"


def took(seconds: float | None) -> str:
    """Write how long something took, or is ago."""
    if seconds is None:
        return DASH
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"


def interval(bounds: tuple[float, float] | None) -> str:
    """Write an interval, from its low to its high end."""
    return DASH if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def days(seconds: float | None) -> str:
    """Write an age in days."""
    if seconds is None:
        return DASH
    found = seconds / 86400
    return f"{found:,.0f} days" if found >= 10 else f"{found:.1f} days"


def days_of(window: Window) -> str:
    """Write the first and the last day of a stretch of time, without hours."""
    return f"{day(window.start)}..{day(window.end)}"


def told(sentence: str, room: int = 170) -> tuple[str, tuple[str, ...]]:
    """Take a sentence apart: what is read at once, and what is unfolded; cut where a clause ends."""
    first, *others = [part.strip() for part in sentence.split(" | ")]
    if len(first) <= room * 1.5:
        return first, tuple(others)
    cuts = [found.end() for found in re.finditer(r"[:;,] ", first) if room / 2 < found.end() <= room]
    cut = cuts[-1] if cuts else first.rfind(" ", 0, room) + 1
    return f"{first[:cut].rstrip(' :;,')} …", (f"… {first[cut:]}", *others)


def prose(text: str) -> Markup:
    """Write a sentence of a record as HTML: what stands in backticks as code, an arrow in one piece."""
    from markupsafe import escape

    safe = str(escape(text)).replace("-&gt;", '<span class="nowrap">-&gt;</span>')
    return _markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", safe))


def _markup(escaped: str) -> Markup:
    from markupsafe import Markup

    return Markup(escaped)  # noqa: S704  # escaped by who calls


def ending(run: RunRecord | RunSummary) -> str:
    """Name how a run ended, that it waits for a person, or that it has not ended: one set of names for all doors."""
    if run.status is not None:
        return str(run.status)
    return WAITS if run.waits else NOT_ENDED


def words(name: object) -> str:
    """Write a name of the program as words: rolled_back is rolled back."""
    return DASH if name is None else str(name).replace("_", " ")


def slug(name: str) -> str:
    """Make an id of a name, the same for the same name; two names that look alike keep apart."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
    return plain if plain == name else f"{plain}-{sum(ord(c) * (i + 1) for i, c in enumerate(name)):x}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number,
    "fixed": fixed,
    "signed": signed,
    "share": share,
    "moment": moment,
    "day": day,
    "took": took,
    "interval": interval,
    "told": told,
    "prose": prose,
    "words": words,
    "ending": ending,
    "slug": slug,
    "short": short_id,
}

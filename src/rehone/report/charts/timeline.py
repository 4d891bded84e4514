"""Draw which version was live when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rehone.records import Deployment, DeploymentAction, DeploymentState, short_id
from rehone.report.charts.axes import DOWN, Row, clipped, data, described, milliseconds, time_x
from rehone.report.charts.chart import Chart
from rehone.report.draw import Key, Spec, draw_both
from rehone.report.wording import DASH, day, moment

MOST_VERSIONS = 12
"""Newest versions that are drawn."""

_LINE = 22


@dataclass(frozen=True, slots=True)
class _Reign:
    """One stretch in which one version was live; `end` is None for the one that still is."""

    version: str | None
    start: datetime
    end: datetime | None
    made: Deployment
    confirmed: bool


def deployments(
    found: Sequence[Deployment], until: datetime | None = None, now: datetime | None = None
) -> Chart | None:
    """Draw which version was live when; the last one up to `until` or `now`, where that is later.

    Days are those that the runs acted as of, where all records have one: then up to `until`, the newest of them. Else
    they are those on which records were made, up to `now`.
    """
    if not found:
        return None
    told = all(one.as_of is not None for one in found)
    reigns = _reigns(found, as_of=told)
    versions = list(dict.fromkeys(one.version for one in reigns if one.version))[-MOST_VERSIONS:]
    if not versions:
        return None
    shown = [one for one in reigns if one.version in versions]
    first, last = shown[0].start, _last(shown, until if told else now)
    backs = [one for one in shown if one.made.action is DeploymentAction.ROLLBACK]
    title = "What was live, and when"
    keys = [Key("live", "var(--accent)", "band"), Key("rolled back to", "var(--act)", "down")]

    def spec(width: int) -> Spec:
        return {
            "width": width,
            "height": max(2, len(versions)) * _LINE,
            "encoding": {"x": time_x([first, last], width, "as of" if told else "made on"), "y": _lanes(versions)},
            "layer": _layers([_row(one, last) for one in shown], [_row(one, last) for one in backs]),
        }

    return Chart(
        title=title,
        svg=draw_both(spec, title, keys if backs else keys[:1]),
        said=_said(reigns, versions, found),
        columns=("generation", "from", "to", "version", "action", "by", "because"),
        rows=tuple(_table_row(one) for one in reversed(reigns)),
    )


def _reigns(found: Sequence[Deployment], *, as_of: bool) -> list[_Reign]:
    """Join records in a row that name the same version."""
    starts = [
        one
        for one, before in zip(found, [None, *found], strict=False)
        if before is None or before.version != one.version
    ]
    ends: list[Deployment | None] = [*starts[1:], None]
    last = {one.version: one for one in found}
    reigns = []
    for one, following in zip(starts, ends, strict=True):
        begun = (one.as_of if as_of else None) or one.at
        ended = None if following is None else (following.as_of if as_of else None) or following.at
        kept = following is not None or last[one.version].state is DeploymentState.CONFIRMED
        reigns.append(_Reign(one.version, begun, ended, one, kept))
    return reigns


def _last(shown: Sequence[_Reign], until: datetime | None) -> datetime:
    """Return where the drawing ends: `until` or, without it, a little after the last change."""
    first, newest = shown[0].start, max(one.end or one.start for one in shown)
    after = newest + max((newest - first) * 0.06, timedelta(hours=1))
    return max(until, newest) if until is not None and until > newest else after


def _lanes(versions: Sequence[str]) -> Spec:
    axis = {
        "labelFont": "monospace",
        "domain": False,
        "labelColor": "var(--fg)",
        "labelOverlap": False,
    }
    names = [short_id(version) for version in versions]
    return {
        "field": "lane",
        "type": "nominal",
        "title": None,
        "scale": {"domain": names, "paddingInner": 0.35},
        "axis": axis,
    }


def _layers(rows: Sequence[Row], backs: Sequence[Row]) -> list[Spec]:
    bar = {"type": "bar", "color": "var(--accent)", "minBandSize": 3, "height": {"band": 0.7}}
    start = {"type": "tick", "color": "var(--accent)", "thickness": 3, "height": {"band": 1}}
    back = {
        "type": "point",
        "shape": DOWN,
        "size": 80,
        "opacity": 1,
        "filled": True,
        "color": "var(--act)",
        "stroke": "var(--panel)",
    }
    return [
        {"data": data(rows), **described(bar, x2={"field": "end"})},
        {"data": data(rows), "mark": start},
        {"data": data(backs), **described(back)},
    ]


def _row(one: _Reign, last: datetime) -> Row:
    end = one.end or last
    lasted = f"{day(one.start)} to {day(one.end)}" if one.end else f"since {day(one.start)}"
    back = "rolled back to, " if one.made.action is DeploymentAction.ROLLBACK else ""
    trial = "" if one.confirmed else ", on trial"
    said = f"{short_id(one.version)}, {back}live {lasted}{trial}, generation {one.made.generation}: {clipped(one.made.reason, 160)}"
    return {"lane": short_id(one.version), "t": milliseconds(one.start), "end": milliseconds(end), "said": said}


def _said(reigns: Sequence[_Reign], versions: Sequence[str], found: Sequence[Deployment]) -> str:
    last = reigns[-1]
    backs = sum(one.action is DeploymentAction.ROLLBACK for one in found)
    said = (
        f"{short_id(last.version)} is live since {day(last.start)}"
        if last.version
        else f"Nothing is live since {day(last.start)}"
    )
    every = len({one.version for one in reigns if one.version})
    said += f"; {every:,} version{'' if every == 1 else 's'} so far, {backs:,} rollback{'' if backs == 1 else 's'}."
    return f"{said} The newest {len(versions)} are drawn." if every > len(versions) else said


def _table_row(one: _Reign) -> tuple[str, ...]:
    return (
        f"{one.made.generation}",
        moment(one.start),
        moment(one.end) if one.end else DASH,
        short_id(one.version),
        str(one.made.action),
        one.made.actor,
        one.made.reason or DASH,
    )

"""Draw the drift of features over runs: one row a feature, one column a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rehone.records import Check, CheckStatus, FeatureDrift, RunRecord, RunSummary
from rehone.report.charts.axes import (
    CROSS,
    STATUS,
    Row,
    clipped,
    data,
    described,
    from_zero,
    labels,
    milliseconds,
    quantity,
    raw,
    time_x,
)
from rehone.report.charts.chart import Chart
from rehone.report.draw import NARROW, Key, Spec, draw_both
from rehone.report.wording import DASH, day, number, slug

MOST_FEATURES = 30
"""Features that are drawn; of more, the worst."""

MOST_RUNS = 60
"""Newest runs that are drawn; on a phone, `MOST_RUNS_NARROW`."""

MOST_RUNS_NARROW = 12
MOST_POINTS = 300

_LINE = 20

_CLEAR = {CheckStatus.OK: 0.16, CheckStatus.WARN: 0.3, CheckStatus.ACT: 0.85, CheckStatus.UNKNOWN: 0.2}
_ACT = CheckStatus.ACT

# glyphs as strokes: to measure thousands of letters takes seconds
_STROKES = {
    "✓": "M-.8,0L-.2,.6L.9,-.7",
    "!": "M0,-1L0,.3M0,.8L0,1",
    "✕": CROSS,
    "?": "M-.5,-.5C-.5,-1.2,.6,-1.2,.6,-.5C.6,0,0,0,0,.45M0,.85L0,1",
    "·": "M-.15,0L.15,0",
    "▲": "M0,-1L1,.8L-1,.8Z",
}


@dataclass(frozen=True, slots=True)
class _Cell:
    """How one feature stood in one run: its PSI, how that was judged, and whether it counts."""

    psi: float | None
    status: CheckStatus
    said: str
    incident: bool = False
    ignored: bool = False

    @property
    def look(self) -> tuple[str, str, str]:
        """Glyph, word and colour."""
        if self.ignored:
            return "·", "ignored", "var(--muted)"
        if self.incident:
            return "▲", "incident", "var(--act)"
        return STATUS[self.status]

    @property
    def rank(self) -> tuple[int, float]:
        order = (CheckStatus.OK, CheckStatus.UNKNOWN, CheckStatus.WARN, CheckStatus.ACT)
        return (-1 if self.ignored else order.index(self.status), self.psi or 0.0)


def heat(records: Sequence[RunRecord], limits: tuple[float, float | None] = (0.10, 0.25)) -> Chart | None:
    """Draw PSI of features over runs, as each run judged it; cells lead to `#hist-` and the slug of the feature.

    `limits`, from which on to warn and to act, are for runs that did not come to decide.
    """
    looked = [record for record in records if record.evidence is not None and record.evidence.drift]
    if not looked:
        return None
    runs = looked[-MOST_RUNS:]
    table = [_cells(record, limits) for record in runs]
    features = _worst_first(table)
    title = "Drift of features (PSI) over runs"
    return Chart(
        title=title,
        svg=draw_both(lambda width: _spec(runs, table, features, width), title, _keys(table, features), links=True),
        said=_said(looked, runs, table, features),
        columns=("feature", *(day(record.as_of) for record in runs)),
        rows=tuple((name, *(_written(cells.get(name)) for cells in table)) for name in features),
    )


def _cells(record: RunRecord, limits: tuple[float, float | None]) -> dict[str, _Cell]:
    checks = {
        check.subject: check for check in (record.trigger.checks if record.trigger else ()) if check.name == "psi"
    }
    found = {}
    for drift in record.evidence.drift if record.evidence else ():
        check = checks.get(drift.feature)
        status = check.status if check is not None else _by_limits(drift, limits)
        ignored = status is not _ACT and check is not None and ", ignored: " in check.detail
        incident = drift.incident is not None and status is _ACT
        said = _said_of(drift, check, status)
        found[drift.feature] = _Cell(drift.psi, status, said, incident=incident, ignored=ignored)
    return found


def _said_of(drift: FeatureDrift, check: Check | None, status: CheckStatus) -> str:
    """Say where a feature stood; the whole finding only where it matters, for there are many cells."""
    if check is not None and status is _ACT:
        return clipped(check.detail)
    limit = f", limit {number(check.limit, 3)}" if check is not None and check.limit is not None else ""
    return f"{drift.feature} {number(drift.psi, 3)}{limit}"


def _by_limits(drift: FeatureDrift, limits: tuple[float, float | None]) -> CheckStatus:
    warn, act = limits
    if drift.psi is None:
        return CheckStatus.UNKNOWN
    if act is not None and drift.psi >= act:
        return CheckStatus.ACT
    return CheckStatus.WARN if drift.psi >= warn else CheckStatus.OK


def _worst_first(table: Sequence[dict[str, _Cell]]) -> list[str]:
    worst: dict[str, tuple[int, float]] = {}
    for cells in table:
        for name, cell in cells.items():
            worst[name] = max(worst.get(name, cell.rank), cell.rank)
    return sorted(worst, key=lambda name: (-worst[name][0], -worst[name][1], name))


def _spec(runs: Sequence[RunRecord], table: Sequence[dict[str, _Cell]], features: Sequence[str], width: int) -> Spec:
    most, least = (MOST_RUNS_NARROW, 8) if width == NARROW else (MOST_RUNS, 16)  # fewer would be very broad cells
    runs, table = runs[-most:], table[-most:]
    drawn = features[:MOST_FEATURES]
    names = dict(zip(drawn, labels(drawn, 16), strict=True))
    rows = [
        _row(names[name], column, record, name, cells[name])
        for column, (record, cells) in enumerate(zip(runs, table, strict=True))
        for name in names
        if name in cells
    ]
    encoding = {
        "x": {
            "field": "run",
            "type": "ordinal",
            "title": "runs, as of",
            "scale": {"domain": list(range(max(len(runs), least))), "padding": 0.06},
            "axis": _dates(runs, width * min(1.0, len(runs) / least)),
        },
        "y": {
            "field": "feature",
            "type": "nominal",
            "title": None,
            "scale": {"domain": list(names.values()), "padding": 0.08},
            "axis": {"domain": False, "labelColor": "var(--fg)", "labelOverlap": False},
        },
        "href": {"field": "href", "type": "nominal"},
    }
    cell = described(
        {"type": "rect"},
        fill=raw("colour"),
        fillOpacity={"field": "clear", "type": "quantitative", "scale": None},
    )
    return {
        "width": width,
        "height": max(2, len(names)) * _LINE,
        "padding": {"left": 4, "top": 4, "right": 30, "bottom": 4},
        "data": data(rows),
        "encoding": encoding,
        "layer": [
            cell,
            {
                "mark": {"type": "point", "size": 44, "strokeWidth": 1.7, "opacity": 1},
                "encoding": {"shape": raw("shape"), "stroke": raw("ink"), "href": {"value": None}},
            },
        ],
    }


def _row(label: str, column: int, record: RunRecord, name: str, cell: _Cell) -> Row:
    glyph, word, colour = cell.look
    return {
        "feature": label,
        "run": column,
        "shape": _STROKES[glyph],
        "colour": colour,
        "clear": 0.06 if cell.ignored else _CLEAR[cell.status],
        "ink": "var(--panel)" if cell.status is _ACT else colour,
        "href": f"#hist-{slug(name)}",
        "said": f"{day(record.as_of)}, {word}: {cell.said}",
    }


def _dates(runs: Sequence[RunRecord], width: float) -> Spec:
    """Label as many columns with their day as have room."""
    step = max(1, math.ceil(len(runs) * 66 / max(width - 120, 66)))
    days = "[" + ",".join(f"'{day(record.as_of)}'" for record in runs) + "]"
    return {
        "values": list(range(0, len(runs), step)),
        "labelExpr": f"{days}[datum.value]",
        "labelAngle": 0,
        "ticks": False,
        "domain": False,
    }


def _keys(table: Sequence[dict[str, _Cell]], features: Sequence[str]) -> list[Key]:
    there = {cells[name].look for cells in table for name in features[:MOST_FEATURES] if name in cells}
    order = [*STATUS.values(), ("▲", "incident", "var(--act)"), ("·", "ignored", "var(--muted)")]
    return [Key(word, colour, "glyph", glyph) for glyph, word, colour in order if (glyph, word, colour) in there]


def _said(
    looked: Sequence[RunRecord], runs: Sequence[RunRecord], table: Sequence[dict[str, _Cell]], features: Sequence[str]
) -> str:
    acting = [name for name in features if name in table[-1] and table[-1][name].status is _ACT]
    said = (
        f"On {day(runs[-1].as_of)} {_few(acting)} beyond the limit."
        if acting
        else f"On {day(runs[-1].as_of)} no feature was beyond its limit."
    )
    if len(features) > MOST_FEATURES:
        said += f" The worst {MOST_FEATURES} of {len(features):,} features are drawn."
    if len(looked) > len(runs):
        said += f" The newest {len(runs)} of {len(looked):,} runs are drawn."
    return f"{said} On a narrow screen, the newest {MOST_RUNS_NARROW} runs." if len(runs) > MOST_RUNS_NARROW else said


def _few(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} was"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} were"


def _written(cell: _Cell | None) -> str:
    return DASH if cell is None else f"{number(cell.psi, 3)} {cell.look[1]}"


def psi_time(summaries: Sequence[RunSummary]) -> Chart | None:
    """Draw the largest PSI of each run, of those features that may act."""
    known = [run for run in summaries if run.worst_psi is not None]
    if not known:
        return None
    shown = known[-MOST_POINTS:]
    rows = [_worst_row(run) for run in shown]
    y = quantity("psi", "largest PSI of a run", from_zero(row["psi"] for row in rows))
    acts = sum(run.drift_acts for run in shown)
    title = "Largest drift of each run"

    def spec(width: int) -> Spec:
        return {
            "width": width,
            "height": 170,
            "encoding": {"x": time_x([run.as_of for run in shown], width), "y": y},
            "data": data(rows),
            "layer": [
                {"mark": {"type": "line", "color": "var(--line)", "strokeWidth": 1.2}},
                described(
                    {"type": "point", "size": 50, "strokeWidth": 1.8, "opacity": 1},
                    shape=raw("shape"),
                    stroke=raw("colour"),
                    fill=raw("fill"),
                ),
            ],
        }

    keys = [
        Key("no drift beyond its limit", "var(--accent)", "ring"),
        Key("some drift beyond its limit", "var(--act)", "down"),
    ]
    return Chart(
        title=title,
        svg=draw_both(spec, title, keys if acts else keys[:1]),
        said=f"In {acts:,} of {len(shown):,} runs some drift was beyond its limit. Features that are ignored are left out.",
        columns=("as of", "run", "feature", "PSI", "beyond its limit"),
        rows=tuple(
            (
                day(run.as_of),
                run.run_id,
                run.worst_feature or DASH,
                number(run.worst_psi, 3),
                "yes" if run.drift_acts else "no",
            )
            for run in reversed(shown)
        ),
    )


def _worst_row(run: RunSummary) -> Row:
    colour = "var(--act)" if run.drift_acts else "var(--accent)"
    beyond = "some drift beyond its limit" if run.drift_acts else "nothing beyond its limit"
    return {
        "t": milliseconds(run.as_of),
        "psi": run.worst_psi,
        "shape": "triangle-down" if run.drift_acts else "circle",
        "colour": colour,
        "fill": colour if run.drift_acts else "var(--panel)",
        "said": f"{day(run.as_of)}: {run.worst_feature}, PSI {number(run.worst_psi, 3)}, {beyond}",
    }

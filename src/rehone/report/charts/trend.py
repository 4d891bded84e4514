"""Draw challengers over retrains, and beside them what champions really achieved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from rehone.records import Estimate, Realised, RunSummary, TrackRecord, TriggerKind, short_id
from rehone.report.charts.axes import (
    Row,
    clipped,
    data,
    described,
    linear,
    milliseconds,
    quantity,
    raw,
    spaced,
    time_x,
)
from rehone.report.charts.chart import Chart
from rehone.report.charts.fates import LIVE, fate, keys
from rehone.report.draw import GLYPH, NARROW, Key, Spec, draw_both
from rehone.report.wording import DASH, day, fixed, signed, words

Metric = Literal["roc_auc", "recall", "cost_per_1000"]

MOST_RETRAINS = 150
"""Newest retrains that a trend draws; on a phone, `MOST_NARROW`."""

MOST_NARROW = 40
CROWDED = 60

_HEIGHT = 250


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a trend is of: its name, its axis, its decimals."""

    key: Metric
    name: str
    axis: str
    places: int

    def text(self, value: float | None) -> str:
        return fixed(value, self.places)

    def between(self, interval: tuple[float, float] | None) -> str:
        return f" ({self.bounds(interval)})" if interval else ""

    def bounds(self, interval: tuple[float, float] | None) -> str:
        return f"{self.text(interval[0])} to {self.text(interval[1])}" if interval else DASH

    def of(self, run: RunSummary) -> float | None:
        return getattr(run.challenger, self.key) if run.challenger else None

    def came_due(self, run: RunSummary) -> Estimate | None:
        """Return what labels that came due said of the champion of that day."""
        found: Estimate | None = getattr(run, self.key)
        return found

    def interval(self, run: RunSummary) -> tuple[float, float] | None:
        return {"roc_auc": run.roc_auc_interval, "recall": run.recall_interval}.get(self.key)


_MEASURES: dict[Metric, _Measure] = {
    "roc_auc": _Measure("roc_auc", "ROC-AUC", "ROC-AUC", 4),
    "recall": _Measure("recall", "recall", "recall at the threshold", 3),
    "cost_per_1000": _Measure("cost_per_1000", "cost", "cost per 1,000 rows (less is better)", 1),
}
_CAME_DUE = "champion, labels that came due"


def trend(summaries: Sequence[RunSummary], track: TrackRecord | None, metric: Metric) -> Chart | None:
    """Draw one point for each challenger that was judged, and beside it what champions really achieved.

    Challengers are on their holdouts; champions on what they did in production, once its labels were due.
    """
    measure = _MEASURES[metric]
    judged = [run for run in summaries if measure.of(run) is not None]
    if not judged:
        return None
    shown = judged[-MOST_RETRAINS:]
    promised = {one.run_id: one for one in track.forecasts} if track and metric == "roc_auc" else {}
    points = [_point(run, measure, promised.get(run.run_id)) for run in shown]
    measured = _measured(summaries, shown, measure)
    beside = [_achieved(run, found, measure) for run, found in measured]
    legend = keys(shown) + ([Key(_CAME_DUE, "var(--second)", "dashed")] if beside else [])
    title = f"{measure.name[0].upper()}{measure.name[1:]} over retrains"
    return Chart(
        title=title,
        svg=draw_both(lambda width: _spec(points, beside, measure, width), title, legend),
        said=_said(shown, len(judged), measure) + (_DASHED if beside else ""),
        columns=(
            "as of",
            "run",
            "trigger",
            "ending",
            "challenger",
            "interval",
            "champion, same rows",
            _CAME_DUE,
            "interval",
            "gain promised",
            "gain that came",
        ),
        rows=tuple(_table_row(run, measure, promised.get(run.run_id)) for run in _told(shown, measured)),
    )


def _point(run: RunSummary, measure: _Measure, promise: Realised | None) -> Row:
    look, interval = fate(run), measure.interval(run) or (None, None)
    return {
        "t": milliseconds(run.as_of),
        "value": measure.of(run),
        "low": interval[0],
        "high": interval[1],
        "shape": look.shape,
        "stroke": look.colour,
        "fill": look.fill,
        "live": look is LIVE,
        "why": _why(run),
        "said": _said_of(run, measure, promise),
    }


def _why(run: RunSummary) -> str:
    """Name in one word why a challenger was trained."""
    return "first" if run.trigger is TriggerKind.BOOTSTRAP else str(run.trigger or "")


def _said_of(run: RunSummary, measure: _Measure, promise: Realised | None) -> str:
    named = f"challenger {short_id(run.version)}" if run.version else "challenger"
    quality = f"{measure.name} {measure.text(measure.of(run))}{measure.between(measure.interval(run))}"
    said = [f"{day(run.as_of)}: {named}, {quality}, {fate(run).word}"]
    if run.trigger is not None:
        said.append(f"Trained because of {words(run.trigger)}: {clipped(run.reason, 160)}")
    if run.verdict:
        said.append(f"Verdict: {words(run.outcome)}, {clipped(run.verdict, 200)}")
    if promise is not None:
        said.append(_kept(promise))
    return ". ".join(said)


def _kept(promise: Realised) -> str:
    came = "not known yet" if promise.realised is None else f"{signed(promise.realised)}{_bounds(promise.interval)}"
    return f"Gain promised {signed(promise.predicted)}{_bounds(promise.predicted_interval)}, came {came}"


def _bounds(interval: tuple[float, float] | None) -> str:
    return f" ({signed(interval[0])} to {signed(interval[1])})" if interval else ""


def _measured(
    summaries: Sequence[RunSummary], shown: Sequence[RunSummary], measure: _Measure
) -> list[tuple[RunSummary, Estimate]]:
    """Return the runs that measured a champion on labels that came due, from the first retrain that is shown on."""
    found = ((run, measure.came_due(run)) for run in summaries if run.as_of >= shown[0].as_of)
    return [(run, seen) for run, seen in found if seen is not None][-2 * MOST_RETRAINS :]


def _achieved(run: RunSummary, found: Estimate, measure: _Measure) -> Row:
    interval = (found.low, found.high)
    said = f"{day(run.as_of)}: champion {short_id(run.champion)}, {measure.name} {measure.text(found.value)}{measure.between(interval)}"
    return {
        "t": milliseconds(run.as_of),
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "said": f"{said}, {found.positives:,} positives among labels that came due",
    }


def _told(shown: Sequence[RunSummary], measured: Sequence[tuple[RunSummary, Estimate]]) -> list[RunSummary]:
    """Return every run that is drawn, the newest first."""
    drawn = {run.run_id: run for run in (*shown, *(run for run, _ in measured))}
    return sorted(drawn.values(), key=lambda run: (run.as_of, run.started_at, run.run_id), reverse=True)


def _spec(points: Sequence[Row], beside: Sequence[Row], measure: _Measure, width: int) -> Spec:
    if width == NARROW:
        points = points[-MOST_NARROW:]
        beside = [row for row in beside if row["t"] >= points[0]["t"]]
    values, least, most = _reach(points, beside)
    look = linear(values, low=0.0, high=None if measure.key == "cost_per_1000" else 1.0, head=0.1)
    y = quantity("value", measure.axis, look)
    inside = [_within(row, least, most) for row in points]
    return {
        "width": width,
        "height": _HEIGHT,
        "encoding": {"x": time_x(_moments(points, beside), width)},
        "layer": [
            *_beside_layers(beside, y),
            *_point_layers(inside, y),
            _lane(points, beside, width),
            _beyond(inside, y),
        ],
    }


def _moments(points: Sequence[Row], beside: Sequence[Row]) -> list[datetime]:
    return [datetime.fromtimestamp(row["t"] / 1000, UTC) for row in (*points, *beside)]


def _reach(points: Sequence[Row], beside: Sequence[Row]) -> tuple[list[float], float, float]:
    """Return the values that the axis shows: all of what was live, and what of the refused is not far from it.

    One challenger that is far worse, or its interval, would otherwise press all others into a line.
    """
    core = _numbers([row for row in points if row["live"]], beside) or _numbers(points, beside)
    span = max(core) - min(core)
    least, most = min(core) - 1.5 * span, max(core) + 1.5 * span
    if not span:
        least, most = -math.inf, math.inf
    within = [row for row in points if row["live"] or least <= row["value"] <= most]
    near = [x for x in _numbers(within, beside) if least <= x <= most]
    return near, min(near), max(near)


def _numbers(points: Sequence[Row], beside: Sequence[Row]) -> list[float]:
    return [row[key] for row in (*points, *beside) for key in ("value", "low", "high") if row[key] is not None]


def _within(row: Row, least: float, most: float) -> Row:
    """Bring a point that is off the axis to its edge, and say so beside it."""
    held = {key: None if row[key] is None else min(max(row[key], least), most) for key in ("value", "low", "high")}
    off = f"{row['value']:.3g} ↓" if row["value"] < least else f"{row['value']:.3g} ↑" if row["value"] > most else ""
    return {**row, **held, "off": off}


def _beside_layers(beside: Sequence[Row], y: Spec) -> list[Spec]:
    line = {"type": "line", "color": "var(--second)", "strokeWidth": 1.2, "strokeDash": [4, 3]}
    point = {"type": "point", "color": "var(--second)", "fill": "var(--panel)", "size": 26, "opacity": 1}
    banded = [row for row in beside if row["low"] is not None]
    alone = len(banded) == 1  # of which an area would show nothing
    area = {"type": "rule", "strokeWidth": 9} if alone else {"type": "area"}
    area |= {"color": "var(--second)", "opacity": 0.14}
    return [
        {"data": data(banded), "mark": area, "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}}},
        {"data": data(beside), "mark": line, "encoding": {"y": y}},
        {"data": data(beside), **described(point, y=y)},
    ]


def _point_layers(points: Sequence[Row], y: Spec) -> list[Spec]:
    bars = {"y": {**y, "field": "low"}, "y2": {"field": "high"}, "stroke": raw("stroke")}
    looks = {"y": y, "shape": raw("shape"), "stroke": raw("stroke"), "fill": raw("fill")}
    size = 24 if len(points) > CROWDED else 70
    known, live = [row for row in points if row["low"] is not None], [row for row in points if row["live"]]
    return [
        {"data": data(known), "mark": {"type": "rule", "strokeWidth": 1.4, "opacity": 0.55}, "encoding": bars},
        {
            "data": data(live),
            "mark": {"type": "line", "color": "var(--accent)", "strokeWidth": 2},
            "encoding": {"y": y},
        },
        {"data": data(points), **described({"type": "point", "size": size, "strokeWidth": 2, "opacity": 1}, **looks)},
    ]


def _lane(points: Sequence[Row], beside: Sequence[Row], width: int) -> Spec:
    """Write triggers above the points, as many as find room; of all axes the widest leaves `width` - 60."""
    span = max(row["t"] for row in (*points, *beside)) - points[0]["t"] or 1.0
    places = [(width - 60) * (row["t"] - points[0]["t"]) / span for row in points]
    kept = spaced(points, places, [GLYPH * len(row["why"]) + 6 for row in points])
    text = {"type": "text", "color": "var(--muted)", "y": 7}
    return {"data": data(kept), "mark": text, "encoding": {"text": {"field": "why", "type": "nominal"}}}


def _beyond(points: Sequence[Row], y: Spec) -> Spec:
    text = {"type": "text", "color": "var(--muted)", "dy": -13}
    rows = [row for row in points if row["off"]]
    return {"data": data(rows), "mark": text, "encoding": {"y": y, "text": {"field": "off", "type": "nominal"}}}


_DASHED = (
    " Dashed is the champion that each run found, at a retrain the one before it, on labels that had come due by then, "
    "which need not be rows of the holdout; the band is its interval."
)


def _said(shown: Sequence[RunSummary], judged: int, measure: _Measure) -> str:
    live = [run for run in shown if fate(run) is LIVE]
    count = f"the newest {len(shown):,} of {judged:,}" if judged > len(shown) else f"{judged:,}"
    said = f"{count} challengers judged, {len(live):,} went live" if judged != 1 else "one challenger judged"
    if live:
        first, last = (measure.text(measure.of(run)) for run in (live[0], live[-1]))
        said += f"; {measure.name} {first} on {day(live[0].as_of)}"
        said += f" and {last} on {day(live[-1].as_of)}" if len(live) > 1 else ""
    bars = " Bars are the gate's two-sided intervals." if any(measure.interval(run) for run in shown) else ""
    narrow = f" On a narrow screen, the newest {MOST_NARROW}." if len(shown) > MOST_NARROW else ""
    return f"{said[0].upper()}{said[1:]}. The word above a point is why it was trained.{bars}{narrow}"


def _table_row(run: RunSummary, measure: _Measure, promise: Realised | None) -> tuple[str, ...]:
    same_rows = getattr(run.judged_champion, measure.key) if run.judged_champion else None
    due = measure.came_due(run)
    return (
        day(run.as_of),
        run.run_id,
        words(run.trigger),
        fate(run).word if measure.of(run) is not None else words(run.status),
        measure.text(measure.of(run)),
        measure.bounds(measure.interval(run)),
        measure.text(same_rows),
        measure.text(due.value if due else None),
        measure.bounds((due.low, due.high) if due else None),
        signed(promise.predicted) if promise else DASH,
        signed(promise.realised) if promise else DASH,
    )

"""Draw challengers over retrains, what their promotions brought, and the worst drift of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rehone.records import Estimate, Realised, RunStatus, RunSummary, TrackRecord, TriggerKind, short_id
from rehone.report.charts.axes import (
    CROSS,
    DOWN,
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
from rehone.report.draw import GLYPH, Key, Shape, Spec, draw_both
from rehone.report.wording import DASH, day, fixed, signed, words

Metric = Literal["roc_auc", "recall", "cost_per_1000"]

MOST_RETRAINS = 150
"""Newest retrains that a trend draws."""

_HEIGHT = 250

_TRIGGERS = {
    TriggerKind.FORCED: "forced",
    TriggerKind.BOOTSTRAP: "first",
    TriggerKind.DRIFT: "drift",
    TriggerKind.PERFORMANCE: "performance",
    TriggerKind.AGE: "age",
}


@dataclass(frozen=True, slots=True)
class _Look:
    """How a challenger's fate looks: in words, as a sign of the legend, and as Vega draws it."""

    word: str
    sign: Shape
    shape: str
    colour: str
    filled: bool = False


_LIVE = _Look("went live", "dot", "circle", "var(--accent)", filled=True)
_OPEN = _Look("not decided", "ring", "circle", "var(--muted)")
_FATES = {
    RunStatus.DEPLOYED: _LIVE,
    RunStatus.REJECTED: _Look("rejected", "cross", CROSS, "var(--act)"),
    RunStatus.INCONCLUSIVE: _Look("inconclusive", "diamond", "diamond", "var(--unknown)"),
    RunStatus.ROLLED_BACK: _Look("rolled back", "down", DOWN, "var(--act)", filled=True),
    RunStatus.FAILED: _Look("failed later", "square", "square", "var(--act)"),
}


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a trend is of: its name, its decimals, and what is drawn beside it."""

    name: str
    title: str
    places: int
    beside: str
    best: str = ""


_MEASURES: dict[str, _Measure] = {
    "roc_auc": _Measure("ROC-AUC", "ROC-AUC on the holdout", 4, "champion of the day, on the same rows"),
    "recall": _Measure("recall", "recall at the threshold", 3, "champion on labels that came due"),
    "cost_per_1000": _Measure("cost", "cost per 1,000 rows, lower is better", 1, "champion on labels that came due"),
}


def trend(summaries: Sequence[RunSummary], track: TrackRecord | None, metric: Metric) -> Chart | None:
    """Draw one point for each challenger that was judged, and beside it what champions really achieved.

    For ROC-AUC that is the champion on the challenger's own holdout, which it has not learned from either; for recall
    and cost it is what was measured in production once labels were due.
    """
    judged = [s for s in summaries if _value(s, metric) is not None]
    if not judged:
        return None
    shown, measure = judged[-MOST_RETRAINS:], _MEASURES[metric]
    promised = {one.run_id: one for one in track.forecasts} if track else {}
    points = [_point(s, metric, measure, promised.get(s.run_id)) for s in shown]
    beside = _beside(summaries, shown, metric, measure)
    svg = draw_both(
        lambda width: _spec(points, beside, measure, shown, width),
        f"{measure.name} over retrains",
        _keys(shown, points, beside, measure),
    )
    return Chart(
        title=f"{measure.name[0].upper()}{measure.name[1:]} over retrains",
        svg=svg,
        said=_said(shown, len(judged), metric, measure),
        columns=(
            "as of",
            "run",
            "trigger",
            "ending",
            "challenger",
            "interval",
            "champion, same rows",
            "gain promised",
            "gain that came",
        ),
        rows=tuple(_table_row(s, metric, measure, promised.get(s.run_id)) for s in reversed(shown)),
    )


def _value(summary: RunSummary, metric: Metric) -> float | None:
    return getattr(summary.challenger, metric) if summary.challenger else None


def _interval(summary: RunSummary, metric: Metric) -> tuple[float, float] | None:
    return {"roc_auc": summary.roc_auc_interval, "recall": summary.recall_interval}.get(metric)


def _fate(summary: RunSummary) -> _Look:
    return _OPEN if summary.status is None else _FATES.get(summary.status, _OPEN)


def _point(summary: RunSummary, metric: Metric, measure: _Measure, promise: Realised | None) -> Row:
    look, interval = _fate(summary), _interval(summary, metric)
    low, high = interval or (None, None)
    return {
        "t": milliseconds(summary.as_of),
        "value": _value(summary, metric),
        "low": low,
        "high": high,
        "shape": look.shape,
        "stroke": look.colour,
        "fill": look.colour if look.filled else "none",
        "live": look is _LIVE,
        "why": _TRIGGERS.get(summary.trigger, "") if summary.trigger else "",
        "said": _said_of(summary, metric, measure, promise),
    }


def _said_of(summary: RunSummary, metric: Metric, measure: _Measure, promise: Realised | None) -> str:
    value, interval = _value(summary, metric), _interval(summary, metric)
    bounds = f" ({_fixed(interval[0], measure)} to {_fixed(interval[1], measure)})" if interval else ""
    said = [
        f"{day(summary.as_of)}: challenger {short_id(summary.version)}"
        if summary.version
        else f"{day(summary.as_of)}: challenger"
    ]
    said[0] += f", {measure.name} {_fixed(value, measure)}{bounds}, {_fate(summary).word}"
    if summary.trigger is not None:
        said.append(f"Trained because of {words(summary.trigger)}: {clipped(summary.reason, 160)}")
    if summary.verdict:
        said.append(f"Verdict: {words(summary.outcome)}, {clipped(summary.verdict, 200)}")
    if promise is not None and metric == "roc_auc":
        said.append(_kept(promise))
    return ". ".join(said)


def _kept(promise: Realised) -> str:
    came = "not known yet" if promise.realised is None else f"{signed(promise.realised)}{_bounds(promise.interval)}"
    return f"Gain promised {signed(promise.predicted)}{_bounds(promise.predicted_interval)}, came {came}"


def _bounds(interval: tuple[float, float] | None) -> str:
    return f" ({signed(interval[0])} to {signed(interval[1])})" if interval else ""


def _fixed(value: float | None, measure: _Measure) -> str:
    return fixed(value, measure.places)


def _beside(
    summaries: Sequence[RunSummary], shown: Sequence[RunSummary], metric: Metric, measure: _Measure
) -> list[Row]:
    """Return what champions achieved: on the holdouts of later challengers, or on labels that came due."""
    if metric == "roc_auc":
        return [
            _achieved(s, s.judged_champion.roc_auc, None, measure)
            for s in shown
            if s.judged_champion is not None and s.judged_champion.roc_auc is not None
        ]
    measured: list[Row] = []
    for s in summaries:
        found: Estimate | None = getattr(s, metric)
        if found is not None and s.as_of >= shown[0].as_of:
            measured.append(_achieved(s, found.value, (found.low, found.high), measure))
    return measured[-2 * MOST_RETRAINS :]


def _achieved(s: RunSummary, value: float, interval: tuple[float, float] | None, measure: _Measure) -> Row:
    bounds = f" ({_fixed(interval[0], measure)} to {_fixed(interval[1], measure)})" if interval else ""
    return {
        "t": milliseconds(s.as_of),
        "value": value,
        "low": interval[0] if interval else None,
        "high": interval[1] if interval else None,
        "said": f"{day(s.as_of)}: champion {short_id(s.champion)}, {measure.name} {_fixed(value, measure)}{bounds}",
    }


def _spec(
    points: Sequence[Row], beside: Sequence[Row], measure: _Measure, shown: Sequence[RunSummary], width: int
) -> Spec:
    values = [row[key] for row in (*points, *beside) for key in ("value", "low", "high") if row[key] is not None]
    look = linear(values, low=0.0, high=None if measure.name == "cost" else 1.0, head=0.1)
    moments = [s.as_of for s in shown]
    x, y = time_x(moments, width), quantity("value", measure.title, look)
    bounds = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    live = [row for row in points if row["live"]]
    return {
        "width": width,
        "height": _HEIGHT,
        "encoding": {"x": x},
        "layer": [
            {
                "data": data([r for r in beside if r["low"] is not None]),
                "mark": {"type": "area", "color": "var(--second)", "opacity": 0.14},
                "encoding": bounds,
            },
            {
                "data": data(beside),
                "mark": {"type": "line", "color": "var(--second)", "strokeWidth": 1.2, "strokeDash": [4, 3]},
                "encoding": {"y": y},
            },
            {
                "data": data(beside),
                **_with(
                    described({"type": "point", "color": "var(--second)", "fill": "var(--panel)", "size": 26}), {"y": y}
                ),
            },
            {
                "data": data([r for r in points if r["low"] is not None]),
                "mark": {"type": "rule", "strokeWidth": 1.4, "opacity": 0.55},
                "encoding": {**bounds, "stroke": raw("stroke")},
            },
            {
                "data": data(live),
                "mark": {"type": "line", "color": "var(--accent)", "strokeWidth": 2},
                "encoding": {"y": y},
            },
            {
                "data": data(points),
                **_with(
                    described({"type": "point", "size": 70, "strokeWidth": 2}),
                    {"y": y, "shape": raw("shape"), "stroke": raw("stroke"), "fill": raw("fill")},
                ),
            },
            {
                "data": data(_lane(points, width)),
                "mark": {"type": "text", "color": "var(--muted)", "y": 7},
                "encoding": {"text": {"field": "why", "type": "nominal"}},
            },
        ],
    }


def _with(layer: Spec, encoding: Spec) -> Spec:
    return {**layer, "encoding": {**layer["encoding"], **encoding}}


def _lane(points: Sequence[Row], width: int) -> list[Row]:
    """Return the triggers that find room above the points."""
    first, last = points[0]["t"], points[-1]["t"]
    inner = width - 60
    places = [inner * (row["t"] - first) / ((last - first) or 1) for row in points]
    return spaced(points, places, [GLYPH * len(row["why"]) + 6 for row in points])


def _keys(shown: Sequence[RunSummary], points: Sequence[Row], beside: Sequence[Row], measure: _Measure) -> list[Key]:
    there = {look.word: look for look in map(_fate, shown)}
    looks = [look for look in (*_FATES.values(), _OPEN) if look.word in there]
    keys = [
        Key(f"challenger {look.word}" if n == 0 else look.word, look.colour, look.sign) for n, look in enumerate(looks)
    ]
    if beside:
        keys.append(Key(measure.beside, "var(--second)", "dashed"))
    if any(row["low"] is not None for row in points):
        keys.append(Key("interval", "var(--accent)", "line"))
    return keys


def _said(shown: Sequence[RunSummary], judged: int, metric: Metric, measure: _Measure) -> str:
    live = [s for s in shown if _fate(s) is _LIVE]
    count = f"the newest {len(shown):,} of {judged:,}" if judged > len(shown) else f"{judged:,}"
    said = f"{count} challengers judged, {len(live):,} went live" if judged != 1 else "one challenger judged"
    if live:
        first, last = (_fixed(_value(s, metric), measure) for s in (live[0], live[-1]))
        said += f"; {measure.name} {first} on {day(live[0].as_of)}"
        said += f" and {last} on {day(live[-1].as_of)}" if len(live) > 1 else ""
    return f"{said[0].upper()}{said[1:]}."


def _table_row(s: RunSummary, metric: Metric, measure: _Measure, promise: Realised | None) -> tuple[str, ...]:
    interval = _interval(s, metric)
    came = promise if metric == "roc_auc" else None
    return (
        day(s.as_of),
        s.run_id,
        words(s.trigger),
        _fate(s).word,
        _fixed(_value(s, metric), measure),
        f"{_fixed(interval[0], measure)} to {_fixed(interval[1], measure)}" if interval else DASH,
        _fixed(getattr(s.judged_champion, metric) if s.judged_champion else None, measure),
        signed(came.predicted) if came else DASH,
        signed(came.realised) if came else DASH,
    )


def promises(track: TrackRecord | None) -> Chart | None:
    """Draw the gain that each promotion promised, and the one that came once labels were due."""
    raise NotImplementedError


def psi_time(summaries: Sequence[RunSummary]) -> Chart | None:
    """Draw the largest PSI of each run."""
    raise NotImplementedError

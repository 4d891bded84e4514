"""Draw what promotions promised, and what came of it once labels were due."""

from __future__ import annotations

from collections.abc import Sequence

from rehone.records import Realised, TrackRecord, short_id
from rehone.report.charts.axes import Row, clipped, data, described, linear, quantity, raw
from rehone.report.charts.chart import Chart
from rehone.report.draw import COMPACT, Key, Spec, draw
from rehone.report.wording import DASH, day, signed

MOST_PROMISES = 24
"""Newest promotions that are drawn."""

_ROW = 26


def promises(track: TrackRecord | None) -> Chart | None:
    """Draw the gain that each promotion promised, and the one that came once labels were due."""
    if track is None or not track.forecasts:
        return None
    shown = track.forecasts[-MOST_PROMISES:]
    title = "Gain promised by promotions, and what came"
    keys = (
        Key("promised at the gate", "var(--accent)", "ring"),
        Key("came, labels due", "var(--second)", "dot"),
        Key("came, and regretted", "var(--act)", "down"),
    )
    return Chart(
        title=title,
        svg=draw(_spec(shown), title, keys if any(one.regret for one in shown) else keys[:2]),
        said=_said(track, len(shown)),
        columns=("promoted", "version", "replaced", "promised", "interval", "came", "interval", "held"),
        rows=tuple(_table_row(one) for one in reversed(shown)),
    )


def _spec(shown: Sequence[Realised]) -> Spec:
    rows = [row for one in shown for row in _rows(one)]
    look = linear([0.0, *(row[key] for row in rows for key in ("value", "low", "high") if row[key] is not None)])
    order = list(dict.fromkeys(row["who"] for row in rows))
    y = {"field": "who", "type": "nominal", "sort": order, "title": None, "axis": {"domain": False}}
    x = quantity("value", "difference in ROC-AUC to the replaced version", look, axis={"grid": True, "format": "+.3~f"})
    offset = {"field": "which", "type": "nominal", "scale": {"domain": ["promised", "came"]}}
    known = [row for row in rows if row["low"] is not None]
    looks = {"shape": raw("shape"), "stroke": raw("colour"), "fill": raw("fill")}
    bars = {"y": y, "yOffset": offset, "x": {**x, "field": "low"}, "x2": {"field": "high"}}
    return {
        "width": COMPACT,
        "height": max(2, len(order)) * _ROW,
        "layer": [
            {"data": data([{"value": 0}]), "mark": {"type": "rule", "color": "var(--muted)"}, "encoding": {"x": x}},
            {
                "data": data(known),
                "mark": {"type": "rule", "strokeWidth": 1.6},
                "encoding": {**bars, "stroke": raw("colour")},
            },
            {
                "data": data(rows),
                **described(
                    {"type": "point", "size": 50, "strokeWidth": 1.8, "opacity": 1}, x=x, y=y, yOffset=offset, **looks
                ),
            },
        ],
    }


def _rows(one: Realised) -> list[Row]:
    who = f"{day(one.promoted_at)} "
    promised = _row(who, "promised", one.predicted, one.predicted_interval, "var(--accent)")
    promised |= {
        "fill": "var(--panel)",
        "said": f"{who}{short_id(one.version)} promised {_value(one.predicted, one.predicted_interval)}",
    }
    if one.realised is None:
        promised["said"] += f"; what came is not known{': ' + clipped(one.detail) if one.detail else ' yet'}"
        return [promised]
    came = _row(who, "came", one.realised, one.interval, "var(--act)" if one.regret else "var(--second)")
    came["shape"] = "triangle-down" if one.regret else "circle"
    came["said"] = f"{who}{short_id(one.version)} brought {_value(one.realised, one.interval)}, {_held(one)}"
    return [promised, came]


def _row(who: str, which: str, value: float, interval: tuple[float, float] | None, colour: str) -> Row:
    low, high = interval or (None, None)
    return {
        "who": who,
        "which": which,
        "value": value,
        "low": low,
        "high": high,
        "colour": colour,
        "fill": colour,
        "shape": "circle",
    }


def _value(value: float, interval: tuple[float, float] | None) -> str:
    return f"{signed(value)} ({signed(interval[0])} to {signed(interval[1])})" if interval else signed(value)


def _held(one: Realised) -> str:
    if one.covered is None:
        return "not known whether the promise held"
    held = "as promised" if one.covered else "outside of what was promised"
    return f"{held}, and the replaced version would have been better" if one.regret else held


def _said(track: TrackRecord, shown: int) -> str:
    part = f" The newest {shown:,} are drawn." if shown < len(track.forecasts) else ""
    if not track.matured:
        return f"{track.promotions:,} promotions, none of which can be held against labels yet.{part}"
    return f"{track.covered:,} of {track.matured:,} promotions whose labels are due brought what was promised; {len(track.regrets):,} regretted.{part}"


def _table_row(one: Realised) -> tuple[str, ...]:
    return (
        day(one.promoted_at),
        short_id(one.version),
        short_id(one.replaced),
        signed(one.predicted),
        f"{signed(one.predicted_interval[0])} to {signed(one.predicted_interval[1])}"
        if one.predicted_interval
        else DASH,
        signed(one.realised),
        f"{signed(one.interval[0])} to {signed(one.interval[1])}" if one.interval else DASH,
        DASH if one.covered is None else "yes" if one.covered else "no",
    )

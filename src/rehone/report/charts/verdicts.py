"""Draw what a challenger was chosen and judged by: candidates, comparisons, importances."""

from __future__ import annotations

from collections.abc import Sequence

from rehone.records import CandidateResult, Check, Figures, RunRecord, Verdict, short_id
from rehone.report.charts.axes import STATUS, Row, clipped, data, described, labels, linear, quantity, raw, short
from rehone.report.charts.chart import Chart
from rehone.report.draw import COMPACT, Key, Spec, draw
from rehone.report.wording import COMPARED, DASH, fixed, number, words

MOST_ROWS = 20
"""Comparisons, features or candidates that are drawn."""

FARTHEST = 4.0
"""Margins ahead or behind at which an interval is cut."""


def intervals(verdict: Verdict | None, level: float | None = None) -> Chart | None:
    """Draw each comparison with a past or present champion as an interval, in units of its margin.

    `level` is the confidence of each end of an interval, where it is known.
    """
    found = [check for check in verdict.checks if _compares(check)] if verdict is not None else []
    if not found:
        return None
    shown = sorted(found, key=_nearness)[:MOST_ROWS] if len(found) > MOST_ROWS else found
    title = "Challenger against champion, in margins"
    near = min(found, key=_nearness)
    left_out = (
        f" The {len(shown)} nearest to their margin are drawn, of {len(found)}." if len(shown) < len(found) else ""
    )
    sure = f" Each end of a bar is a bound with {100 * level:.4g} % confidence or more." if level else ""
    return Chart(
        title=title,
        svg=draw(
            _intervals([_bout(check, i) for i, check in enumerate(shown)]),
            title,
            [
                Key("margin: worse than this is too much", "var(--act)", "dashed"),
                Key("no difference", "var(--muted)", "line"),
            ],
        ),
        said=f"Nearest to its margin: {_name(near)}, {_real(near)} where {_signed(near.limit)} is allowed.{sure}{left_out}",
        columns=("status", "comparison", "difference", "interval", "margin"),
        rows=tuple(
            (STATUS[check.status][1], _name(check), _signed(check.value), _bounds(check), _signed(check.limit))
            for check in found
        ),
    )


def _compares(check: Check) -> bool:
    named = check.name.endswith("_vs_champion") or check.name in ("anchor", "slice")
    return named and check.value is not None and bool(check.limit)


def _scaled(check: Check, value: float) -> float:
    """Turn a difference into margins ahead; of a cost less is ahead, and its margin is above zero."""
    return -value / (check.limit or 1.0)


def _nearness(check: Check) -> float:
    ends = check.interval or (check.value or 0.0,)
    return min(_scaled(check, end) for end in ends)


def _bout(check: Check, place: int) -> Row:
    ahead = _scaled(check, check.value or 0.0)
    ends = sorted(_scaled(check, end) for end in check.interval) if check.interval else [None, None]
    glyph, word, colour = STATUS[check.status]
    return {
        "row": place + 0.72,
        "text": place + 0.3,
        "value": _held(ahead),
        "shape": "triangle-left" if ahead < -FARTHEST else "triangle-right" if ahead > FARTHEST else "circle",
        "low": None if ends[0] is None else _held(ends[0]),
        "high": None if ends[1] is None else _held(ends[1]),
        "least": ahead if ends[0] is None else ends[0],
        "most": ahead if ends[1] is None else ends[1],
        "colour": colour,
        "name": f"{glyph} {short(_name(check), 26)}",
        "real": _real(check),
        "said": f"{_name(check)}, {word}: {_real(check)}, margin {_signed(check.limit)}",
    }


def _held(value: float) -> float:
    return min(max(value, -FARTHEST), FARTHEST)


def _intervals(rows: Sequence[Row]) -> Spec:
    values = [row[key] for row in rows for key in ("value", "low", "high") if row[key] is not None]
    ends = [min(-1.4, *values) - 0.1, max(0.6, *values) + 0.1]
    look = {"scale": {"domain": ends, "nice": False, "zero": False}, "axis": {"tickMinStep": 1, "grid": False}}
    x = quantity("value", "margins ahead of the champion (left of −1: worse than allowed)", look)
    places = {"type": "quantitative", "axis": None, "scale": {"domain": [len(rows), 0], "nice": False, "zero": False}}
    y = {"field": "row", **places}
    bars = {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "stroke": raw("colour")}
    left = {"type": "text", "align": "left", "x": 2, "baseline": "middle"}
    right = {"type": "text", "align": "right", "x": {"expr": "width"}, "baseline": "middle", "color": "var(--muted)"}
    text = {"field": "text", **places}
    point = {"type": "point", "filled": True, "size": 60, "opacity": 1}
    across = {"y": {"field": "top", **places}, "y2": {"field": "bottom"}}
    margin = {"type": "rule", "color": "var(--act)", "strokeDash": [4, 2], "strokeWidth": 1.4}
    return {
        "width": COMPACT,
        "height": len(rows) * 36,
        "layer": [
            {"data": data(_stakes(rows, -1)), "mark": margin, "encoding": {**across, "x": x}},
            {
                "data": data(_stakes(rows, 0)),
                "mark": {"type": "rule", "color": "var(--muted)"},
                "encoding": {**across, "x": x},
            },
            {
                "data": data([row for row in rows if row["low"] is not None]),
                "mark": {"type": "rule", "strokeWidth": 2.4},
                "encoding": bars,
            },
            {
                "data": data(rows),
                **described(point, x=x, y=y, color=raw("colour"), shape=raw("shape")),
            },
            {
                "data": data(_cuts(rows)),
                "mark": {**point, "size": 36},
                "encoding": {"x": x, "y": y, "color": raw("colour"), "shape": raw("shape")},
            },
            {
                "data": data(rows),
                "mark": left,
                "encoding": {"y": text, "text": {"field": "name", "type": "nominal"}, "color": raw("colour")},
            },
            {"data": data(rows), "mark": right, "encoding": {"y": text, "text": {"field": "real", "type": "nominal"}}},
        ],
    }


def _stakes(rows: Sequence[Row], value: float) -> list[Row]:
    """Mark a value in each row, below its text."""
    return [{"value": value, "top": row["row"] - 0.22, "bottom": row["row"] + 0.22} for row in rows]


def _cuts(rows: Sequence[Row]) -> list[Row]:
    """Return an arrow for each interval that goes on beyond the edge."""
    left = [{**row, "value": -FARTHEST, "shape": "triangle-left"} for row in rows if row["least"] < -FARTHEST]
    return left + [{**row, "value": FARTHEST, "shape": "triangle-right"} for row in rows if row["most"] > FARTHEST]


def _name(check: Check) -> str:
    if check.name == "anchor":
        return f"past champion {short_id(check.subject)}"
    return COMPARED.get(check.name) or (f"recall where {check.subject}" if check.name == "slice" else words(check.name))


def _real(check: Check) -> str:
    return f"{_signed(check.value)} ({_bounds(check)})" if check.interval else _signed(check.value)


def _bounds(check: Check) -> str:
    return f"{_signed(check.interval[0])} to {_signed(check.interval[1])}" if check.interval else DASH


def _signed(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{'+' if value > 0 else ''}{number(value, 3)}"


def importance(figures: Figures | None) -> Chart | None:
    """Draw what shuffling a feature costs the challenger in ROC-AUC."""
    if figures is None or not figures.importance:
        return None
    every = sorted(figures.importance, key=lambda one: -one.value)
    shown = every[:MOST_ROWS]
    rows = [
        {
            "label": label,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "said": f"{one.feature}: {fixed(one.value)} of ROC-AUC lost on average ({fixed(one.low)} to {fixed(one.high)})",
        }
        for one, label in zip(shown, labels([one.feature for one in shown]), strict=True)
    ]
    title = "What each feature is worth to the challenger"
    said = f"{every[0].feature} is worth most: with its values shuffled, ROC-AUC falls by {fixed(every[0].value)} on {figures.importance_rows:,} rows."
    said += f" The first {len(shown)} of {len(every):,} are drawn." if len(shown) < len(every) else ""
    said += f" {figures.importance_left_out:,} more were not asked." if figures.importance_left_out else ""
    return Chart(
        title=title,
        svg=draw(_worth(rows), title),
        said=said,
        columns=("feature", "ROC-AUC lost", "least", "most"),
        rows=tuple((one.feature, fixed(one.value), fixed(one.low), fixed(one.high)) for one in every),
    )


def _worth(rows: Sequence[Row]) -> Spec:
    x = quantity(
        "value",
        "ROC-AUC lost when shuffled",
        linear([0.0, *(row[key] for row in rows for key in ("low", "high"))]),
        axis={"grid": True},
    )
    y = _named([row["label"] for row in rows])
    return {
        "width": COMPACT,
        "height": max(2, len(rows)) * 20,
        "data": data([{**row, "zero": 0.0} for row in rows]),
        "encoding": {"y": y},
        "layer": [
            described(
                {"type": "bar", "color": "var(--second)", "opacity": 0.55, "height": {"band": 0.7}},
                x=x,
                x2={"field": "zero"},
            ),
            {
                "mark": {"type": "rule", "color": "var(--fg)", "strokeWidth": 1.4},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
        ],
    }


def _named(names: Sequence[str]) -> Spec:
    axis = {"domain": False, "labelColor": "var(--fg)", "labelOverlap": False}
    return {"field": "label", "type": "nominal", "title": None, "scale": {"domain": list(names)}, "axis": axis}


def candidates(record: RunRecord) -> Chart | None:
    """Draw the cross-validated ROC-AUC of each candidate, fold by fold."""
    scored = [one for one in record.candidates if one.cv_roc_auc_mean is not None]
    if not scored:
        return None
    shown = sorted(scored, key=lambda one: (not one.winner, -(one.cv_roc_auc_mean or 0.0)))[:MOST_ROWS]
    named = labels([f"{'★ ' if one.winner else ''}{one.name}, {one.window}" for one in shown], 28)
    rows = [row for one, label in zip(shown, named, strict=True) for row in _folds(one, label)]
    failed = [one for one in record.candidates if one.error is not None]
    winner = next((one for one in shown if one.winner), None)
    title = "Candidates by cross-validated ROC-AUC"
    said = (
        f"{winner.name} on {winner.window} rows won, mean {fixed(winner.cv_roc_auc_mean)}"
        if winner
        else "No candidate won"
    )
    said += f"; {len(failed)} could not be fitted." if failed else "."
    said += f" {len(shown)} of {len(scored)} are drawn." if len(shown) < len(scored) else ""
    keys = [Key("one fold", "var(--muted)", "ring"), Key("mean", "var(--accent)", "dot")]
    if any(one.newest_roc_auc is not None for one in shown):
        keys.append(Key("newest rows", "var(--second)", "diamond"))
    return Chart(
        title=title,
        svg=draw(_scored(rows, named), title, keys),
        said=said,
        columns=("candidate", "window", "mean", "spread", "newest rows", "rows", "note"),
        rows=tuple(_candidate_row(one) for one in record.candidates),
    )


def _folds(one: CandidateResult, label: str) -> list[Row]:
    marks = [(value, "circle", "none", "var(--muted)", 26, "a fold") for value in one.fold_roc_auc]
    marks.append((one.cv_roc_auc_mean or 0.0, "circle", "var(--accent)", "var(--accent)", 64, "mean"))
    if one.newest_roc_auc is not None:
        marks.append((one.newest_roc_auc, "diamond", "var(--panel)", "var(--second)", 60, "newest rows"))
    return [
        {
            "label": label,
            "value": value,
            "shape": shape,
            "fill": fill,
            "stroke": stroke,
            "size": size,
            "said": f"{one.name}, {one.window}: {what} {fixed(value)}",
        }
        for value, shape, fill, stroke, size, what in marks
    ]


def _scored(rows: Sequence[Row], named: Sequence[str]) -> Spec:
    x = quantity(
        "value", "ROC-AUC", linear((row["value"] for row in rows), low=0.0, high=1.0, count=4), axis={"grid": True}
    )
    looks = {"shape": raw("shape"), "fill": raw("fill"), "stroke": raw("stroke")}
    size = {"field": "size", "type": "quantitative", "scale": None, "legend": None}
    mark = {"type": "point", "strokeWidth": 1.5, "opacity": 1}
    return {
        "width": COMPACT,
        "height": max(2, len(named)) * 24,
        "data": data(rows),
        **described(
            mark, x=x, y={**_named(named), "axis": {**_named(named)["axis"], "grid": True}}, size=size, **looks
        ),
    }


def _candidate_row(one: CandidateResult) -> tuple[str, ...]:
    return (
        f"★ {one.name}" if one.winner else one.name,
        one.window,
        fixed(one.cv_roc_auc_mean),
        fixed(one.cv_roc_auc_std),
        fixed(one.newest_roc_auc),
        f"{one.rows:,}",
        clipped(one.error or one.note) or DASH,
    )

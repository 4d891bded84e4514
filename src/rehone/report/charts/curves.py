"""Draw what challenger and champion said of the holdout: ROC, precision and recall, calibration, cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rehone.records import Calibrated, Curves
from rehone.report.charts.axes import Row, data, described, from_zero, linear, quantity
from rehone.report.charts.chart import Chart
from rehone.report.draw import COMPACT, Key, Shape, Spec, draw
from rehone.report.wording import DASH, fixed

_HEIGHT = 280

_COLOURS = {"champion": "var(--second)", "challenger": "var(--accent)"}
_ORDER = ("champion", "challenger")

Plane = tuple[Spec, Spec]
"""Where `x` and `y` stand."""

_Column = Callable[[Curves], Sequence[float | None]]
_Columns = Callable[[Curves], tuple[Sequence[float | None], ...]]


def roc(curves: Sequence[Curves]) -> Chart | None:
    """Draw recall against the false positive rate, each model's own threshold marked."""
    if not curves:
        return None
    shares = linear([0.0, 1.0], low=0.0, high=1.0)
    plane = quantity("x", "false positive rate", shares), quantity("y", "recall (true positive rate)", shares)
    rows = [
        row
        for one in _both(curves)
        for row in _rows(one, one.false_positive_rate, one.recall, "false positive rate", "recall")
    ]
    ends = [
        {"role": one.role, "x": x, "y": x, "at": at, "own": False}
        for one in curves
        for x, at in ((0.0, 2.0), (1.0, -1.0))
    ]
    chance = _reference([{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}], plane)
    return Chart(
        title="ROC curve on the holdout",
        svg=draw(_spec([*rows, *ends], plane, chance), "ROC curve on the holdout", _keys(curves, "guessing")),
        said=f"{_own(curves, 'recall', lambda c: c.recall, 'false positive rate', lambda c: c.false_positive_rate)}. Marks are the models' own thresholds.",
        columns=("model", "threshold", "false positive rate", "recall"),
        rows=_table(curves, lambda c: (c.false_positive_rate, c.recall)),
    )


def precision_recall(curves: Sequence[Curves]) -> Chart | None:
    """Draw precision against recall, each model's own threshold marked."""
    rows = [row for one in _both(curves) for row in _rows(one, one.recall, one.precision, "recall", "precision")]
    if not rows:
        return None
    shares = linear([0.0, 1.0], low=0.0, high=1.0)
    plane = quantity("x", "recall", shares), quantity("y", "precision", shares)
    title = "Precision and recall on the holdout"
    return Chart(
        title=title,
        svg=draw(_spec(rows, plane), title, _keys(curves)),
        said=f"{_own(curves, 'precision', lambda c: c.precision, 'recall', lambda c: c.recall)}. Marks are the models' own thresholds.",
        columns=("model", "threshold", "recall", "precision"),
        rows=_table(curves, lambda c: (c.recall, c.precision)),
    )


def cost_curve(curves: Sequence[Curves]) -> Chart | None:
    """Draw the cost per 1,000 rows against the threshold, each model's own marked."""
    if not curves:
        return None
    look = from_zero(x for one in curves for x in one.cost_per_1000)
    plane = (
        quantity(
            "x", "threshold", linear((x for one in curves for x in one.thresholds if x <= 1.0), low=0.0, high=1.0)
        ),
        quantity("y", "cost per 1,000 rows", look),
    )
    rows = [
        row
        for one in _both(curves)
        for row in _rows(one, one.thresholds, one.cost_per_1000, "threshold", "cost")
        if row["x"] <= 1.0
    ]
    title = "Cost by threshold on the holdout"
    return Chart(
        title=title,
        svg=draw(_spec(rows, plane), title, _keys(curves)),
        said=f"{_own(curves, 'cost', lambda c: c.cost_per_1000, 'threshold', lambda c: c.thresholds)}. {_cheapest(curves)}",
        columns=("model", "threshold", "cost per 1,000 rows"),
        rows=_table(curves, lambda c: (c.cost_per_1000,)),
    )


def calibration(curves: Sequence[Curves]) -> Chart | None:
    """Draw observed shares of positives, with Wilson intervals, against what was scored."""
    rows = [_bin(one, found) for one in _both(curves) for found in one.calibration]
    if not rows:
        return None
    shares = linear([0.0, 1.0], low=0.0, high=1.0)
    plane = quantity("x", "mean score of a bin", shares), quantity("y", "share of positives in it", shares)
    title = "Calibration on the holdout"
    return Chart(
        title=title,
        svg=draw(_calibrated(rows, plane), title, _keys(curves, "calibrated")),
        said=f"Up to ten bins of about as many rows; on the diagonal a score of 0.3 means three positives in ten. {_misses(curves)} Bars are Wilson's 95 % intervals, which take rows as independent.",
        columns=("model", "mean score", "observed", "interval", "rows"),
        rows=tuple(
            (one.role, fixed(b.score, 3), fixed(b.observed, 3), f"{fixed(b.low, 3)} to {fixed(b.high, 3)}", f"{b.n:,}")
            for one in _both(curves)
            for b in one.calibration
        ),
    )


def _both(curves: Sequence[Curves]) -> list[Curves]:
    """Order curves so that the challenger is drawn last, above."""
    return sorted(curves, key=lambda one: _ORDER.index(one.role) if one.role in _ORDER else len(_ORDER))


def _rows(one: Curves, xs: Sequence[float], ys: Sequence[float | None], x_name: str, y_name: str) -> list[Row]:
    own, rows = _own_place(one), []
    for i, (at, x, y) in enumerate(zip(one.thresholds, xs, ys, strict=True)):
        if y is None:
            continue
        there = "" if x_name == "threshold" else f"{x_name} {x:.3g}, "
        said = f"{one.role} at threshold {at:.3g}: {there}{y_name} {y:.3g}"
        rows.append(
            {
                "role": one.role,
                "x": x,
                "y": y,
                "at": at,
                "own": i == own,
                "said": f"{said}; its own threshold" if i == own else said,
            }
        )
    return rows


def _own_place(one: Curves) -> int | None:
    """Return where the model's own threshold stands."""
    return min(range(len(one.thresholds)), key=lambda i: abs(one.thresholds[i] - one.threshold), default=None)


def _spec(rows: Sequence[Row], plane: Plane, below: Sequence[Spec] = ()) -> Spec:
    x, y = plane
    lines = [_line(role, [row for row in rows if row["role"] == role], plane) for role in _ORDER]
    own, others = [row for row in rows if row["own"]], [row for row in rows if not row["own"] and "said" in row]
    seen = {"type": "point", "filled": True, "size": 44, "opacity": 0.001, "color": "var(--fg)"}
    marked = [_mark(role, [row for row in own if row["role"] == role], plane) for role in _ORDER]
    return {
        "width": COMPACT,
        "height": _HEIGHT,
        "layer": [*below, *lines, {"data": data(_thinned(others)), **described(seen, x=x, y=y)}, *marked],
    }


def _thinned(rows: Sequence[Row]) -> list[Row]:
    """Keep every fifth point to be asked: enough to read a curve off."""
    return list(rows[::5])


def _line(role: str, rows: Sequence[Row], plane: Plane) -> Spec:
    dash = {"strokeDash": [5, 3]} if role == "champion" else {}
    order = {"field": "at", "type": "quantitative", "sort": "descending"}
    return {
        "data": data(rows),
        "mark": {"type": "line", "color": _COLOURS[role], "strokeWidth": 2, **dash},
        "encoding": {"x": plane[0], "y": plane[1], "order": order},
    }


def _mark(role: str, rows: Sequence[Row], plane: Plane) -> Spec:
    shape = "diamond" if role == "challenger" else "circle"
    mark = {
        "type": "point",
        "shape": shape,
        "size": 110,
        "opacity": 1,
        "strokeWidth": 2,
        "stroke": _COLOURS[role],
        "fill": "var(--panel)",
    }
    return {"data": data(rows), **described(mark, x=plane[0], y=plane[1])}


def _reference(rows: Sequence[Row], plane: Plane) -> list[Spec]:
    mark = {"type": "line", "color": "var(--muted)", "strokeWidth": 1, "strokeDash": [2, 3]}
    return [{"data": data(rows), "mark": mark, "encoding": {"x": plane[0], "y": plane[1]}}]


def _calibrated(rows: Sequence[Row], plane: Plane) -> Spec:
    x, y = plane
    layers = _reference([{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}], plane)
    for role in _ORDER:
        own = [row for row in rows if row["role"] == role]
        bars = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
        layers.append(
            {
                "data": data(own),
                "mark": {"type": "rule", "color": _COLOURS[role], "opacity": 0.6, "strokeWidth": 1.4},
                "encoding": bars,
            }
        )
        layers += [_line(role, own, plane), _mark(role, own, plane)]
    for layer in layers:
        if isinstance(layer["mark"], dict) and layer["mark"]["type"] == "point":
            layer["mark"]["size"] = 45
    return {"width": COMPACT, "height": _HEIGHT, "layer": layers}


def _bin(one: Curves, found: Calibrated) -> Row:
    said = f"{one.role}: of {found.n:,} rows scored {found.score:.3g} on average, {found.observed:.3g} are positive ({found.low:.3g} to {found.high:.3g})"
    return {
        "role": one.role,
        "x": found.score,
        "y": found.observed,
        "low": found.low,
        "high": found.high,
        "at": -found.score,
        "own": True,
        "said": said,
    }


def _keys(curves: Sequence[Curves], reference: str = "") -> list[Key]:
    shapes: dict[str, Shape] = {"champion": "dashed", "challenger": "line"}
    keys = [Key(one.role, _COLOURS.get(one.role, "var(--fg)"), shapes.get(one.role, "line")) for one in _both(curves)]
    return [*keys, Key(reference, "var(--muted)", "dashed")] if reference else keys


def _own(curves: Sequence[Curves], y_name: str, ys: _Column, x_name: str, xs: _Column) -> str:
    said = []
    for one in _both(curves):
        place = _own_place(one)
        if place is None:
            continue
        x, y = xs(one)[place], ys(one)[place]
        said.append(f"{one.role} {y_name} {_number(y)} at {x_name} {_number(x)}")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}"


def _cheapest(curves: Sequence[Curves]) -> str:
    least = [(min(zip(one.cost_per_1000, one.thresholds, strict=True)), one.role) for one in _both(curves)]
    return f"Cheapest on these rows: {'; '.join(f'{role} {cost:.4g} at {at:.3g}' for (cost, at), role in least)}."


def _misses(curves: Sequence[Curves]) -> str:
    found = [
        f"{one.role} {sum(b.low <= b.score <= b.high for b in one.calibration)} of {len(one.calibration)}"
        for one in _both(curves)
        if one.calibration
    ]
    return f"Bins whose interval holds the mean score: {', '.join(found)}."


def _table(curves: Sequence[Curves], columns: _Columns) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            one.role,
            f"{fixed(at, 3)}{' (own)' if i == _own_place(one) else ''}",
            *(_number(column[i]) for column in columns(one)),
        )
        for one in _both(curves)
        for i, at in enumerate(one.thresholds)
    )


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}" if abs(value) <= 1 else f"{value:,.1f}"

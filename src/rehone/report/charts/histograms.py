"""Draw reference and current rows side by side, by bin."""

from __future__ import annotations

from collections.abc import Sequence

from rehone.records import Histogram
from rehone.report.charts.axes import Row, data, described, from_zero, labels, quantity
from rehone.report.charts.chart import Chart
from rehone.report.draw import COMPACT, Key, Label, Spec, draw
from rehone.report.wording import share

MOST_BINS = 24
"""Bins that are drawn; of more, those whose share has moved most."""

APART = ("rare values", "missing", "infinite", "unseen")
"""Bins of no value of their own: drawn below the others, with a gap."""

_LINE = 19
_BEHIND = 0.38
_KEYS = (Key("now", "var(--accent)", "band"), Key("reference", "var(--muted)", "band", clear=_BEHIND))
_GAP = " "


def histogram(found: Histogram) -> Chart | None:
    """Draw the shares of rows in each bin of a feature, missing and unseen values set apart."""
    return _chart(found, found.name)


def scores(found: Histogram | None) -> Chart | None:
    """Draw the shares of rows in each bin of the champion's scores."""
    return _chart(found, "Scores of the champion") if found is not None else None


def _chart(found: Histogram, title: str) -> Chart | None:
    rows = _rows(found)
    if not rows or not sum(found.reference) or not sum(found.current):
        return None
    shown = _shown(rows)
    named = _named(shown)
    places = _places(named)
    beside = [Label(place, (n + 0.5) * _LINE) for n, place in enumerate(places) if place != _GAP]
    what = f"{title}: shares of rows by bin, now and in the reference"
    return Chart(
        title=title,
        svg=draw(_spec(named, places), what, _KEYS, beside=beside),
        said=_said(found, rows, shown),
        columns=("bin", "reference rows", "share", "rows now", "share"),
        rows=tuple(
            (row["bin"], f"{row['n_then']:,}", share(row["then"]), f"{row['n_now']:,}", share(row["now"]))
            for row in rows
        ),
    )


def _rows(found: Histogram) -> list[Row]:
    then, now = max(sum(found.reference), 1), max(sum(found.current), 1)
    rows = []
    for n, (name, a, b) in enumerate(zip(found.bins, found.reference, found.current, strict=True)):
        said = f"{name}: {share(b / now)} now ({b:,} rows), {share(a / then)} in the reference ({a:,} rows)"
        rows.append({"n": n, "bin": name, "n_then": a, "n_now": b, "then": a / then, "now": b / now, "said": said})
    return rows


def _shown(rows: Sequence[Row]) -> list[Row]:
    """Return the bins to draw, in their order."""
    if len(rows) <= MOST_BINS:
        return list(rows)
    moved = sorted(rows, key=lambda row: (row["bin"] not in APART, -abs(row["now"] - row["then"])))
    return sorted(moved[:MOST_BINS], key=lambda row: int(row["n"]))


def _named(shown: Sequence[Row]) -> list[Row]:
    names = labels([row["bin"] for row in shown])
    return [{**row, "label": label} for row, label in zip(shown, names, strict=True)]


def _places(named: Sequence[Row]) -> list[str]:
    """Return the labels of the lines, from top to bottom."""
    ordinary = [row["label"] for row in named if row["bin"] not in APART]
    apart = [row["label"] for row in named if row["bin"] in APART]
    return [*ordinary, *([_GAP] if ordinary and apart else []), *apart]


def _spec(named: Sequence[Row], places: Sequence[str]) -> Spec:
    scale = {"domain": list(places), "paddingInner": 0.2, "paddingOuter": 0.1}  # lines are `_LINE` apart
    y = {"field": "label", "type": "nominal", "scale": scale, "axis": None}
    most = max(row[key] for row in named for key in ("then", "now"))
    x = quantity("now", "share of rows", from_zero([most]), axis={"format": ".3~%", "grid": True})
    behind = {"type": "bar", "height": {"band": 1}, "color": "var(--muted)", "opacity": _BEHIND}
    before = {"type": "bar", "height": {"band": 0.46}, "color": "var(--accent)"}
    over = {"type": "bar", "height": {"band": 1}, "opacity": 0.001, "color": "var(--fg)"}
    return {
        "width": COMPACT,
        "height": len(places) * _LINE,
        "data": data([{**row, "most": most} for row in named]),
        "encoding": {"y": y},
        "layer": [
            {"mark": behind, "encoding": {"x": {**x, "field": "then"}}},
            {"mark": before, "encoding": {"x": x}},
            described(over, x={**x, "field": "most"}),
        ],
    }


def _said(found: Histogram, rows: Sequence[Row], shown: Sequence[Row]) -> str:
    most = max(rows, key=lambda row: abs(row["now"] - row["then"]))
    said = f"{sum(found.current):,} rows now against {sum(found.reference):,} of the reference; "
    said += f"moved most: {most['bin']}, from {share(most['then'])} to {share(most['now'])}"
    left_out = (
        f" The {len(shown):,} bins that moved most are drawn, of {len(rows):,}." if len(shown) < len(rows) else ""
    )
    return f"{said}.{left_out}"

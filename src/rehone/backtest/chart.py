"""Draw the live ROC-AUC of each policy by month as one SVG, and put it with the table into one page.

Nothing is loaded from elsewhere: the page can be sent as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rehone.backtest.results import Backtest, PolicyResult
from rehone.report.charts.axes import ticks

WIDTH, HEIGHT = 860, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 190, 30, 34
COLOURS = ("#1b6ca8", "#888888", "#c0392b", "#27864a", "#8e5bb5")


def svg(found: Backtest) -> str:
    """Draw the current configuration, never, the suggestion and the policies of best and worst ROC-AUC."""
    shown = drawn(found)
    names = [month.name for month in found.policies[0].months]
    values = [m.roc_auc for r in shown for m in r.months if m.roc_auc is not None]
    low, high = _bounds(values)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18">Live ROC-AUC by month, {escape(found.project)}</text>',
        *_grid(low, high),
        *_months(names),
    ]
    for i, result in enumerate(shown):
        parts += _line(result, COLOURS[i % len(COLOURS)], (low, high))
    parts += _legend(shown)
    return "\n".join([*parts, "</svg>", ""])


def drawn(found: Backtest) -> tuple[PolicyResult, ...]:
    """Return the policies that a chart shows, at most five."""
    known = {r.name: r for r in found.policies}
    ranked = sorted((r for r in found.policies if r.roc_auc is not None), key=lambda r: r.roc_auc or 0.0)
    names = ["current", "never", found.suggestion.policy, *(r.name for r in (*ranked[-1:], *ranked[:1]))]
    return tuple(known[name] for name in dict.fromkeys(names) if name in known)


def html(found: Backtest) -> str:
    """Return a page with the chart, the table, the suggestion and the events of the current configuration."""
    head = (
        "policy",
        "ROC-AUC",
        "worst",
        "recall",
        "cost per 1,000",
        "trained",
        "live",
        "refused",
        "back",
        "total",
        "regret",
    )
    rows = "\n".join(_row(result) for result in found.policies)
    diff = f"<pre>{escape(found.suggestion.diff)}</pre>" if found.suggestion.diff else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Backtest of {escape(found.project)}</title>
<style>body{{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse}}td,th{{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ddd}}
td:first-child,th:first-child{{text-align:left}}pre{{background:#f4f4f4;padding:1rem;overflow:auto}}</style></head>
<body><h1>Backtest of {escape(found.project)}</h1>
<p>{found.live_rows:,} rows live from {found.first:%Y-%m-%d} to {found.end:%Y-%m-%d}, a decision every {found.every:g} days.</p>
{svg(found)}
<table><tr>{"".join(f"<th>{name}</th>" for name in head)}</tr>
{rows}
</table>
<p>{escape(found.suggestion.sentence)}</p>{diff}
<ul>{notes}</ul></body></html>
"""


def _row(r: PolicyResult) -> str:
    cells = (
        _share(r.roc_auc),
        _share(r.worst_roc_auc),
        _share(r.recall),
        f"{r.cost_per_1000:,.1f}",
        *(f"{n:g}" for n in (round(r.trained, 1), round(r.deployed, 1), round(r.refused, 1), round(r.rolled_back, 1))),
        f"{r.total:,.0f}",
        f"{r.regret:,.0f}",
    )
    return f"<tr><td>{escape(r.name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = max((high - low) * 0.05, 0.01)
    return max(0.0, low - room), min(1.0, high + room)


def _x(place: int, of: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place / max(of - 1, 1))


def _y(value: float, bounds: tuple[float, float]) -> float:
    low, high = bounds
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)


def _grid(low: float, high: float) -> Iterator[str]:
    values = ticks(low, high)
    places = max(len(f"{value:g}".partition(".")[2]) for value in values)
    for value in values:
        y = _y(value, (low, high))
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.{places}f}</text>'


def _months(names: Sequence[str]) -> Iterator[str]:
    step = max(1, len(names) // 8)
    for i, name in enumerate(names):
        if i % step == 0:
            yield f'<text x="{_x(i, len(names)):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(name)}</text>'


def _line(result: PolicyResult, colour: str, bounds: tuple[float, float]) -> Iterator[str]:
    """Draw a line through the months that have a ROC-AUC, broken where one has none."""
    run: list[str] = []
    for i, month in enumerate(result.months):
        if month.roc_auc is not None:
            run.append(f"{_x(i, len(result.months)):.1f},{_y(month.roc_auc, bounds):.1f}")
        if run and (month.roc_auc is None or i == len(result.months) - 1):
            yield f'<polyline points="{" ".join(run)}" fill="none" stroke="{colour}" stroke-width="2"/>'
            run = []


def _legend(shown: Sequence[PolicyResult]) -> Iterator[str]:
    for i, result in enumerate(shown):
        y, x = TOP + 14 + 20 * i, WIDTH - RIGHT + 12
        yield f'<line x1="{x}" x2="{x + 18}" y1="{y - 4}" y2="{y - 4}" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="2"/>'
        yield f'<text x="{x + 24}" y="{y}">{escape(result.name)} {_share(result.roc_auc)}</text>'

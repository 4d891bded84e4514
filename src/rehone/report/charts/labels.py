"""Draw what is known from labels, and before they are due: their rate, and recall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rehone.records import Estimate, RunRecord, RunSummary, short_id
from rehone.report.charts.axes import Row, data, described, from_zero, linear, milliseconds, quantity, raw, time_x
from rehone.report.charts.chart import Chart
from rehone.report.draw import Key, Spec, draw_both
from rehone.report.wording import DASH, day, fixed, share

MOST_POINTS = 300
"""Newest runs that are drawn."""

_HEIGHT = 220


def label_rate(summaries: Sequence[RunSummary]) -> Chart | None:
    """Draw the share of positives over runs."""
    known = [run for run in summaries if run.label_rate is not None][-MOST_POINTS:]
    if not known:
        return None
    rows = [
        {
            "t": milliseconds(run.as_of),
            "rate": run.label_rate,
            "said": f"{day(run.as_of)}: {share(run.label_rate)} of labels are positive",
        }
        for run in known
    ]
    y = quantity(
        "rate", "positives among labels", from_zero(run.label_rate or 0.0 for run in known), axis={"format": ".3~%"}
    )
    title = "Label rate over runs"

    def spec(width: int) -> Spec:
        return {
            "width": width,
            "height": 160,
            "data": data(rows),
            "encoding": {"x": time_x([run.as_of for run in known], width), "y": y},
            "layer": [
                {"mark": {"type": "line", "color": "var(--accent)", "strokeWidth": 1.6}},
                described({"type": "point", "color": "var(--accent)", "filled": True, "size": 38, "opacity": 1}),
            ],
        }

    return Chart(
        title=title,
        svg=draw_both(spec, title),
        said=f"{share(known[-1].label_rate)} of labels are positive as of {day(known[-1].as_of)}, {share(known[0].label_rate)} as of {day(known[0].as_of)}.",
        columns=("as of", "run", "positives"),
        rows=tuple((day(run.as_of), run.run_id, share(run.label_rate)) for run in reversed(known)),
    )


def recall_axis(
    summaries: Sequence[RunSummary], records: Sequence[RunRecord] = (), limit: float | None = None
) -> Chart | None:
    """Draw the champion's recall: as estimated, as measured once labels were due, and what became of estimates.

    `records` say what became of estimates (`evidence.held`); `limit` is the recall below which performance acts.
    """
    known = [run for run in summaries if run.recall is not None or run.estimated_recall is not None][-MOST_POINTS:]
    if not known:
        return None
    estimated = [row for run in known for row in _rows(run, run.estimated_recall, "estimated")]
    measured = [row for run in known for row in _rows(run, run.recall, "measured")]
    held = list(_held(known, records))
    title = "Recall of the champion: estimated, and measured"
    return Chart(
        title=title,
        svg=draw_both(
            lambda width: _spec(known, (estimated, measured, held), limit, width),
            title,
            _keys(estimated, measured, held, limit),
        ),
        said=_said(known, held, limit),
        columns=("as of", "run", "estimated", "interval", "measured", "interval"),
        rows=tuple(
            (day(run.as_of), run.run_id, *_written(run.estimated_recall), *_written(run.recall))
            for run in reversed(known)
        ),
    )


def _rows(run: RunSummary, found: Estimate | None, how: str) -> Iterator[Row]:
    if found is None:
        return
    said = f"{day(run.as_of)}: champion {short_id(run.champion)}, recall {how} {fixed(found.value, 3)} ({fixed(found.low, 3)} to {fixed(found.high, 3)}), {found.positives:,} positives"
    yield {"t": milliseconds(run.as_of), "value": found.value, "low": found.low, "high": found.high, "said": said}


def _held(known: Sequence[RunSummary], records: Sequence[RunRecord]) -> Iterator[Row]:
    """Return what labels showed of estimates, at the run that made them."""
    when = {run.run_id: run.as_of for run in known}
    newest = {
        record.evidence.held.run_id: record.evidence.held
        for record in records
        if record.evidence and record.evidence.held
    }
    for run_id, held in newest.items():
        if held.measured is None or run_id not in when:
            continue
        inside = "within the interval" if held.covered else "outside of the interval"
        colour = "var(--ok)" if held.covered else "var(--act)"
        yield {
            "t": milliseconds(when[run_id]),
            "value": held.measured.value,
            "shape": "diamond" if held.covered else "triangle-down",
            "colour": colour,
            "fill": "var(--panel)" if held.covered else colour,
            "covered": bool(held.covered),
            "said": f"{day(when[run_id])}: recall was estimated at {fixed(held.estimated.value, 3)}; labels of the same rows showed {fixed(held.measured.value, 3)}, {inside}",
        }


def _spec(
    known: Sequence[RunSummary], series: tuple[list[Row], list[Row], list[Row]], limit: float | None, width: int
) -> Spec:
    estimated, measured, held = series
    values = [row[key] for row in (*estimated, *measured) for key in ("low", "high")]
    values += [row["value"] for row in held] + ([limit] if limit is not None else [])
    y = quantity("value", "recall at the threshold", linear(values, low=0.0, high=1.0))
    bounds = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    line = {"type": "line", "strokeWidth": 1.8}
    limits = [{"value": limit}] if limit is not None else []
    return {
        "width": width,
        "height": _HEIGHT,
        "encoding": {"x": time_x([run.as_of for run in known], width)},
        "layer": [
            {
                "data": data(estimated),
                "mark": {"type": "area", "color": "var(--second)", "opacity": 0.16},
                "encoding": bounds,
            },
            {
                "data": data(limits),
                "mark": {"type": "rule", "color": "var(--act)", "strokeDash": [5, 3]},
                "encoding": {"y": y, "x": None},
            },
            {
                "data": data(estimated),
                "mark": {**line, "color": "var(--second)", "strokeDash": [5, 3]},
                "encoding": {"y": y},
            },
            {
                "data": data(measured),
                "mark": {"type": "rule", "color": "var(--accent)", "opacity": 0.55, "strokeWidth": 1.4},
                "encoding": bounds,
            },
            {"data": data(measured), "mark": {**line, "color": "var(--accent)"}, "encoding": {"y": y}},
            {
                "data": data(estimated),
                **described({"type": "point", "color": "var(--second)", "filled": True, "size": 22, "opacity": 1}, y=y),
            },
            {
                "data": data(measured),
                **described({"type": "point", "color": "var(--accent)", "filled": True, "size": 46, "opacity": 1}, y=y),
            },
            {
                "data": data(held),
                **described(
                    {"type": "point", "size": 44, "strokeWidth": 1.6, "opacity": 1},
                    y=y,
                    shape=raw("shape"),
                    stroke=raw("colour"),
                    fill=raw("fill"),
                ),
            },
        ],
    }


def _keys(estimated: Sequence[Row], measured: Sequence[Row], held: Sequence[Row], limit: float | None) -> list[Key]:
    keys = [
        (estimated, Key("estimated before labels", "var(--second)", "dashed")),
        (measured, Key("measured on labels that came due", "var(--accent)", "dot")),
        ([row for row in held if row["covered"]], Key("estimate that held", "var(--ok)", "diamond")),
        ([row for row in held if not row["covered"]], Key("estimate that did not", "var(--act)", "down")),
    ]
    shown = [key for rows, key in keys if rows]
    return [*shown, Key(f"limit {limit:g}", "var(--act)", "dashed")] if limit is not None else shown


def _said(known: Sequence[RunSummary], held: Sequence[Row], limit: float | None) -> str:
    said = []
    for how, name in (("measured", "recall"), ("estimated", "estimated_recall")):
        last = next((run for run in reversed(known) if getattr(run, name) is not None), None)
        if last is not None:
            found: Estimate = getattr(last, name)
            said.append(
                f"{how} {fixed(found.value, 3)} ({fixed(found.low, 3)} to {fixed(found.high, 3)}) as of {day(last.as_of)}"
            )
    text = f"Recall {', '.join(said)}"
    text += f"; performance acts below {limit:g}." if limit is not None else "."
    if held:
        text += f" {sum(row['covered'] for row in held):,} of {len(held):,} estimates held once labels were due."
    return f"{text} What was measured is of older rows than what was estimated on the same day."


def _written(found: Estimate | None) -> tuple[str, str]:
    return (
        (DASH, DASH) if found is None else (fixed(found.value, 3), f"{fixed(found.low, 3)} to {fixed(found.high, 3)}")
    )

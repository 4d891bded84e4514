"""Draw how the pipeline itself does: its times and its refusals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rehone.records import Health, Outcome, RunStatus, RunSummary
from rehone.report.charts.axes import (
    CROSS,
    Row,
    clipped,
    data,
    described,
    from_zero,
    linear,
    milliseconds,
    quantity,
    raw,
    time_x,
)
from rehone.report.charts.chart import Chart
from rehone.report.draw import Key, Shape, Spec, draw_both
from rehone.report.wording import DASH, day, share, took, words

MOST_POINTS = 300
"""Newest runs that are drawn."""

_UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))

_OUTCOMES = {
    Outcome.PASS: ("let pass", "circle", "var(--ok)"),
    Outcome.FAIL: ("refused", CROSS, "var(--act)"),
    Outcome.INCONCLUSIVE: ("inconclusive", "diamond", "var(--unknown)"),
    Outcome.INVALID: ("not a legal comparison", "square", "var(--warn)"),
}

_SIGNS: dict[Outcome, Shape] = {
    Outcome.PASS: "dot",
    Outcome.FAIL: "cross",
    Outcome.INCONCLUSIVE: "diamond",
    Outcome.INVALID: "square",
}


def run_times(summaries: Sequence[RunSummary]) -> Chart | None:
    """Draw how long runs took, those that trained joined, with their median."""
    known = [run for run in summaries if run.seconds is not None][-MOST_POINTS:]
    if not known:
        return None
    trained = [run.seconds for run in known if run.trained and run.status is not RunStatus.FAILED and run.seconds]
    usual = statistics.median(trained) if trained else None
    size, unit = next((one for one in _UNITS if max(run.seconds or 0.0 for run in known) >= 2 * one[0]), _UNITS[-1])
    title = "Run times"
    keys = [Key("trained", "var(--accent)", "dot"), Key("did not train", "var(--muted)", "ring")]
    if usual is not None:
        keys.append(Key("median of those that trained", "var(--second)", "dashed"))
    return Chart(
        title=title,
        svg=draw_both(lambda width: _times(known, usual, (size, unit), width), title, keys),
        said=_time_said(known, usual),
        columns=("as of", "run", "ending", "trained", "took"),
        rows=tuple(
            (day(run.as_of), run.run_id, words(run.status), "yes" if run.trained else "no", took(run.seconds))
            for run in reversed(known)
        ),
    )


def _times(known: Sequence[RunSummary], usual: float | None, unit: tuple[float, str], width: int) -> Spec:
    size, name = unit
    rows: list[Row] = [
        {
            "t": milliseconds(run.as_of),
            "took": (run.seconds or 0.0) / size,
            "trained": run.trained,
            "fill": "var(--accent)" if run.trained else "var(--panel)",
            "stroke": "var(--accent)" if run.trained else "var(--muted)",
            "said": f"{day(run.as_of)}: {words(run.status)} after {took(run.seconds)}{', trained' if run.trained else ''}",
        }
        for run in known
    ]
    y = quantity("took", f"{name} from start to end", from_zero(row["took"] for row in rows))
    median = [{"took": usual / size}] if usual is not None else []
    line = {"type": "line", "color": "var(--accent)", "strokeWidth": 1.4, "opacity": 0.6}
    dashed = {"type": "rule", "color": "var(--second)", "strokeDash": [5, 3]}
    return {
        "width": width,
        "height": 180,
        "encoding": {"x": time_x([run.as_of for run in known], width)},
        "layer": [
            {"data": data(median), "mark": dashed, "encoding": {"y": y, "x": None}},
            {"data": data([row for row in rows if row["trained"]]), "mark": line, "encoding": {"y": y}},
            {
                "data": data(rows),
                **described(
                    {"type": "point", "size": 42, "strokeWidth": 1.6, "opacity": 1},
                    y=y,
                    fill=raw("fill"),
                    stroke=raw("stroke"),
                ),
            },
        ],
    }


def _time_said(known: Sequence[RunSummary], usual: float | None) -> str:
    if usual is None:
        return f"{len(known):,} runs, none of which trained; the newest took {took(known[-1].seconds)}."
    last = next((run for run in reversed(known) if run.trained), known[-1])
    return f"The newest run that trained took {took(last.seconds)}; the median is {took(usual)}."


def gate_failures(summaries: Sequence[RunSummary], health: Health) -> Chart | None:
    """Draw what the gate said of challengers, and the share that it did not let pass among the newest."""
    judged = [run for run in summaries if run.outcome is not None]
    if not judged:
        return None
    most = max(health.judged, 1)
    limit = next((check.limit for check in health.checks if check.name == "gate_failures"), None)
    shown = judged[-MOST_POINTS:]
    rows = [_judged(run, judged[max(0, i + 1 - most) : i + 1]) for i, run in enumerate(judged)][-MOST_POINTS:]
    title = "Challengers that the gate did not let pass"
    there = {run.outcome for run in shown}
    keys = [Key(look[0], look[2], _SIGNS[outcome]) for outcome, look in _OUTCOMES.items() if outcome in there]
    keys.append(Key(f"share of the newest {most}", "var(--accent)", "line"))
    if limit is not None:
        keys.append(Key(f"limit {limit:.3g}", "var(--act)", "dashed"))
    said = f"{health.refused:,} of the newest {health.judged:,} challengers did not pass ({share(health.gate_failure_share)})"
    said += f"; the limit is {share(limit)}." if limit is not None else "."
    return Chart(
        title=title,
        svg=draw_both(lambda width: _refusals(shown, rows, limit, width), title, keys),
        said=said,
        columns=("as of", "run", "verdict", "share that did not pass", "because"),
        rows=tuple(
            (day(run.as_of), run.run_id, words(run.outcome), share(row["share"]), clipped(run.verdict, 120) or DASH)
            for run, row in zip(reversed(shown), reversed(rows), strict=True)
        ),
    )


def _judged(run: RunSummary, newest: Sequence[RunSummary]) -> Row:
    outcome = run.outcome or Outcome.INVALID
    word, shape, colour = _OUTCOMES[outcome]
    refused = sum(one.outcome is not Outcome.PASS for one in newest)
    return {
        "t": milliseconds(run.as_of),
        "share": refused / len(newest),
        "shape": shape,
        "stroke": colour,
        "fill": colour if outcome is Outcome.PASS else "var(--panel)" if outcome is not Outcome.FAIL else "none",
        "said": f"{day(run.as_of)}: {word}, {refused} of the newest {len(newest)} did not pass. {clipped(run.verdict, 160)}",
    }


def _refusals(shown: Sequence[RunSummary], rows: Sequence[Row], limit: float | None, width: int) -> Spec:
    y = quantity("share", "share that did not pass", linear([0.0, 1.0], low=0.0, high=1.0), axis={"format": "%"})
    limits = [{"share": limit}] if limit is not None else []
    dashed = {"type": "rule", "color": "var(--act)", "strokeDash": [5, 3]}
    line = {"type": "line", "color": "var(--accent)", "strokeWidth": 1.6, "interpolate": "step-after", "opacity": 0.7}
    looks = {"shape": raw("shape"), "stroke": raw("stroke"), "fill": raw("fill")}
    return {
        "width": width,
        "height": 180,
        "encoding": {"x": time_x([run.as_of for run in shown], width)},
        "layer": [
            {"data": data(limits), "mark": dashed, "encoding": {"y": y, "x": None}},
            {"data": data(rows), "mark": line, "encoding": {"y": y}},
            {
                "data": data(rows),
                **described({"type": "point", "size": 56, "strokeWidth": 1.8, "opacity": 1}, y=y, **looks),
            },
        ],
    }

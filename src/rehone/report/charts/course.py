"""Draw what a run put live, step by step: what it found, its trial, its proof or its way back, and what came after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from rehone.records import Deployment, DeploymentAction, DeploymentState, short_id
from rehone.report import lives
from rehone.report.charts.axes import DOWN, Row, clipped, data, described, raw
from rehone.report.charts.chart import Chart
from rehone.report.draw import COMPACT, Key, Spec, draw
from rehone.report.wording import DASH, moment, took

_STEP, _LANE, _LEFT = 58, 18, 10
"""Height of a step and distance of two lanes, and where the first lane is, px."""
_MOST_LANES = 5
_SIZE = {"field": "size", "type": "quantitative", "scale": None, "legend": None}


@dataclass(frozen=True, slots=True)
class _Step:
    """One record of the log, of this run or beside it; `lasted` is None for the last."""

    made: Deployment
    own: bool
    what: str
    lasted: float | None

    @property
    def trial(self) -> bool:
        return self.made.state is DeploymentState.TRIAL and self.made.version is not None

    @property
    def back(self) -> bool:
        return self.made.action is DeploymentAction.ROLLBACK

    @property
    def when(self) -> str:
        replay = lives.is_replay(self.made.as_of, self.made.at)
        return f"as of {moment(self.made.as_of)}" if replay else moment(self.made.at)

    @property
    def state(self) -> str:
        """Say what was so after this step, and for how long; after the last one only where nothing has followed."""
        if self.lasted is None and not self.own:
            return ""
        so = "nothing live" if self.made.version is None else "on trial" if self.trial else "live"
        return f"{so} since then" if self.lasted is None else f"{so} for {took(self.lasted)}"


def course(found: Sequence[Deployment], run_id: str) -> Chart | None:
    """Draw the part of a run in the deployment log, with the records before and after it; the steps are not to scale."""
    if not any(made.run_id == run_id for made in found):
        return None
    steps = _steps(found, run_id)
    rows, title = _rows(steps), "What the run put live, step by step"
    return Chart(
        title=title,
        svg=draw(_spec(rows), title, _keys(steps)),
        said=_said(steps),
        columns=("generation", "when", "what", "lasted", "by", "because"),
        rows=tuple(_table_row(step) for step in steps),
    )


def _steps(found: Sequence[Deployment], run_id: str) -> list[_Step]:
    first = next(n for n, made in enumerate(found) if made.run_id == run_id)
    following = [*found[1:], None]
    return [
        _Step(made, made.run_id == run_id, _found(made) if n < first else _what(made, run_id), _lasted(made, after))
        for n, (made, after) in enumerate(zip(found, following, strict=True))
    ]


def _found(made: Deployment) -> str:
    if made.version is None:
        return "nothing was live"
    return f"{short_id(made.version)} was {'on trial' if made.state is DeploymentState.TRIAL else 'live'}"


def _what(made: Deployment, run_id: str) -> str:
    """Say what a record did, in the words of who looks at this run."""
    version = short_id(made.version) if made.version else "nothing"
    if made.action is DeploymentAction.ROLLBACK:
        return f"rolled back to {version}"
    if made.action is DeploymentAction.CONFIRM:
        return f"{version} proved itself"
    if made.run_id != run_id:
        return f"replaced by {version}"
    return f"{version} deployed{', on trial' if made.state is DeploymentState.TRIAL else ''}"


def _lasted(made: Deployment, after: Deployment | None) -> float | None:
    """Return for how many seconds something was so; between two runs that replay the past, by their days."""
    if after is None:
        return None
    days = [one.as_of for one in (made, after) if lives.is_replay(one.as_of, one.at) and one.as_of is not None]
    if len(days) == 2 and days[1] > days[0]:
        return (days[1] - days[0]) / timedelta(seconds=1)
    return (after.at - made.at) / timedelta(seconds=1)


def _rows(steps: Sequence[_Step]) -> list[Row]:
    """Give each step its place, in the lane of its version, and where the step after it stands."""
    lanes = {version: n for n, version in enumerate(dict.fromkeys(step.made.version for step in steps))}
    across = [_LEFT + _LANE * min(lanes[step.made.version], _MOST_LANES - 1) for step in steps]
    text = max(across) + _LANE
    rows = []
    for n, step in enumerate(steps):
        down, colour = 10 + n * _STEP, _colour(step, steps)
        rows.append(
            {
                "x": across[n],
                "before": across[n - 1] if n else across[n],
                "y": down,
                "end": down + (_STEP if step.lasted is not None else _STEP * 0.7),
                "text": text,
                "what": step.what,
                "when": step.when,
                "state": step.state,
                "below": down + 15,
                "between": down + 36,
                "colour": colour,
                "mark": "var(--act)" if step.back else colour,
                "shape": DOWN if step.back else "circle",
                "size": 170 if step.back else 90,
                "trial": step.trial or step.made.version is None,
                "said": _mark(step),
            }
        )
    return rows


def _colour(step: _Step, steps: Sequence[_Step]) -> str:
    """Tell versions that this run brought from others."""
    brought = {one.made.version for one in steps if one.own and not one.back}
    return "var(--accent)" if step.made.version in brought else "var(--muted)"


def _mark(step: _Step) -> str:
    made, then = step.made, f", then {step.state}" if step.state else ""
    because = f": {clipped(made.reason, 160)}" if made.reason else ""
    return f"generation {made.generation}, {step.what}, {step.when} by {made.actor}{then}{because}"


def _keys(steps: Sequence[_Step]) -> list[Key]:
    keys = [Key("live", "var(--accent)", "line")]
    if any(step.trial for step in steps):
        keys.append(Key("on trial", "var(--accent)", "dashed"))
    if any(step.made.version and _colour(step, steps) == "var(--muted)" for step in steps):
        keys.append(Key("another version", "var(--muted)", "line"))
    return [*keys, *([Key("rolled back", "var(--act)", "down")] if any(step.back for step in steps) else [])]


def _spec(rows: Sequence[Row]) -> Spec:
    x, y = _place("x"), _place("y")
    along = {"x": x, "y": y, "y2": _place("end"), "stroke": raw("colour")}
    across = {"x": _place("before"), "x2": _place("x"), "y": y}
    thin = {"type": "rule", "color": "var(--muted)", "strokeWidth": 1}
    point = {"type": "point", "filled": True, "opacity": 1, "stroke": "var(--panel)"}
    return {
        "width": COMPACT,
        "height": len(rows) * _STEP,
        "layer": [
            {"data": data([r for r in rows if not r["trial"]]), "mark": _rule(4), "encoding": along},
            {
                "data": data([r for r in rows if r["trial"]]),
                "mark": {**_rule(2), "strokeDash": [4, 3]},
                "encoding": along,
            },
            {"data": data([r for r in rows if r["before"] != r["x"]]), "mark": thin, "encoding": across},
            {"data": data(rows), **described(point, x=x, y=y, fill=raw("mark"), shape=raw("shape"), size=_SIZE)},
            _text(rows, "y", "what", "var(--fg)"),
            _text(rows, "below", "when", "var(--muted)"),
            _text(rows, "between", "state", "var(--muted)"),
        ],
    }


def _place(field: str) -> Spec:
    """Encode a field that holds pixels itself."""
    return {"field": field, "type": "quantitative", "scale": None, "axis": None}


def _rule(width: int) -> Spec:
    return {"type": "rule", "strokeWidth": width}


def _text(rows: Sequence[Row], down: str, field: str, colour: str) -> Spec:
    mark = {"type": "text", "align": "left", "baseline": "middle", "color": colour}
    encoding = {"x": _place("text"), "y": _place(down), "text": {"field": field, "type": "nominal"}}
    return {"data": data(rows), "mark": mark, "encoding": encoding}


def _said(steps: Sequence[_Step]) -> str:
    """Say the steps in one sentence, from the first of this run."""
    first = next(n for n, step in enumerate(steps) if step.own)
    said = [steps[first].what]
    said += [
        f"{step.what} after {took(before.lasted)}"
        for before, step in zip(steps[first:], steps[first + 1 :], strict=False)
    ]
    end = " Nothing came after it." if steps[-1].own else ""
    return f"{'; '.join(said)}.{end} The steps are not to scale."


def _table_row(step: _Step) -> tuple[str, ...]:
    made = step.made
    by = f"run {made.run_id}" if made.run_id and not step.own else made.actor
    return (f"{made.generation}", step.when, step.what, took(step.lasted), by, made.reason or DASH)

"""Lay out a Grafana dashboard of the figures: one page for all projects, a project chosen above."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

UID: Final = "rehone-pipeline"
SCHEMA: Final = 39
"""Grafana's number for this layout: Grafana 11; later ones bring it up to date when they read it."""
WIDTH: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
PROJECT: Final = '{project="$project"}'


@dataclass(frozen=True)
class Panel:
    """One number: `asks` is each query by the legend of its series; `limit` is a value from which it turns red."""

    title: str
    said: str
    asks: Mapping[str, str]
    unit: str = "short"
    wide: int = 6
    limit: float | None = None
    shown: str = "value"
    kind: ClassVar[str] = "stat"
    high: ClassVar[int] = 4


@dataclass(frozen=True)
class Graph(Panel):
    """Figures over time."""

    wide: int = 12
    kind: ClassVar[str] = "timeseries"
    high: ClassVar[int] = 8


def _of(name: str) -> str:
    return f"rehone_pipeline_{name}{PROJECT}"


def _since(name: str) -> str:
    return f"time() - {_of(f'{name}_timestamp_seconds')}"


def _bounds(name: str) -> dict[str, str]:
    return {name: _of(name), f"{name}, low": _of(f"{name}_low"), f"{name}, high": _of(f"{name}_high")}


PANELS: Final[tuple[Panel, ...]] = (
    Panel("Live version", "Absent while nothing is live.", {"{{version}}": _of("live_info")}, wide=8, shown="name"),
    Panel("Live since", "How long the live version has been live.", {"": _since("live_since")}, unit="s", wide=4),
    Panel(
        "Newest run",
        "How the newest closed run ended.",
        {"{{ending}}": f"{_of('last_run_ending')} == 1"},
        wide=4,
        shown="name",
    ),
    Panel("Last run ended", "How long ago a run ended.", {"": _since("last_run")}, unit="s", wide=4),
    Panel(
        "Breaker",
        "1 while retraining has stopped until a person resets it.",
        {"": _of("breaker_stopped")},
        wide=4,
        limit=1,
    ),
    Graph(
        "ROC-AUC",
        "Of the champion on labels that are due, with its interval, and of both models on the holdout of the newest judged "
        "run, which is another one each time.",
        {**_bounds("roc_auc"), "holdout, {{role}}": _of("holdout_roc_auc")},
    ),
    Graph(
        "Recall in production",
        "On labels that are due, with its interval, and estimated before they are; trigger.min_recall beside it.",
        {**_bounds("recall"), "estimated": _of("estimated_recall"), "limit": _of("recall_limit")},
    ),
    Graph(
        "Cost of decisions per 1,000 rows",
        "On labels that are due, with its interval, and of both models on the holdout of the newest judged run.",
        {**_bounds("cost_per_1000_rows"), "holdout, {{role}}": _of("holdout_cost_per_1000_rows")},
    ),
    Graph(
        "Drift",
        "Largest PSI of a feature that may act, and how many features act.",
        {"largest PSI": _of("worst_psi"), "features that act": _of("features_beyond_limit")},
    ),
    Graph("Runs by ending", "All closed runs, counted.", {"{{ending}}": _of("runs_total")}),
    Graph(
        "Time of runs",
        "The newest run, and the newest one that trained.",
        {"newest": _of("last_run_seconds"), "trained": _of("last_trained_run_seconds")},
        unit="s",
    ),
    Graph(
        "Refused by the gate",
        "Share of the newest judged challengers that the gate did not let pass, beside health.max_gate_failure_share.",
        {"refused": _of("gate_failure_ratio"), "limit": _of("gate_failure_ratio_limit")},
        unit="percentunit",
    ),
    Graph(
        "Lost in a row",
        "Challengers lost since one went live or the breaker was reset; retraining stops at the limit.",
        {"lost": _of("lost_in_a_row"), "limit": _of("lost_in_a_row_limit"), "declines": _of("declines_in_a_row")},
    ),
    Panel("Newest row", "How old the newest row is that a run has seen.", {"": _since("newest_row")}, unit="s"),
    Panel(
        "Newest label",
        "How old the youngest event is whose label was due and seen.",
        {"": _since("newest_label")},
        unit="s",
    ),
    Panel(
        "Drift alarms of the past year",
        "Alarms that no better challenger proved right, and how many chance alone may give.",
        {"alarms": _of("drift_alarms"), "accepted": _of("drift_alarms_accepted")},
    ),
    Panel(
        "Waiting for a person",
        "Challengers that passed the gate and wait for an approval.",
        {"": _of("waiting_approvals")},
        limit=1,
    ),
)


def dashboard() -> str:
    """Return the dashboard as JSON, to be imported into Grafana."""
    laid = {
        "uid": UID,
        "title": "Rehone: retraining",
        "description": "What is live, how runs ended, whether models get better, and what the data did.",
        "tags": ["rehone"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "time": {"from": "now-90d", "to": "now"},
        "timezone": "browser",
        "refresh": "5m",
        "templating": {"list": [_source(), _project()]},
        "panels": list(_panels()),
    }
    return json.dumps(laid, indent=2, ensure_ascii=False) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}


def _project() -> dict[str, Any]:
    values = "label_values(rehone_pipeline_runs_total, project)"
    return {
        "name": "project",
        "label": "Project",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": values, "refId": "project"},
        "refresh": 2,
        "sort": 1,
    }


def _panels() -> Iterator[dict[str, Any]]:
    """Yield the panels from left to right and from top to bottom."""
    across = down = 0
    for number, panel in enumerate(PANELS, start=1):
        if across + panel.wide > WIDTH:
            raise ValueError(f"panel {panel.title!r} stands beyond the right edge")
        place = {"x": across, "y": down, "w": panel.wide, "h": panel.high}
        yield {"id": number, "gridPos": place, **_panel(panel)}
        across += panel.wide
        if across == WIDTH:
            across, down = 0, down + panel.high


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.said,
        "datasource": SOURCE,
        "targets": [_target(ask, legend, place) for place, (legend, ask) in enumerate(panel.asks.items())],
        "fieldConfig": {"defaults": {"unit": panel.unit, "thresholds": _thresholds(panel.limit)}, "overrides": []},
        "options": _options(panel),
    }


def _target(ask: str, legend: str, place: int) -> dict[str, Any]:
    return {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": ask, "legendFormat": legend or "__auto"}


def _thresholds(limit: float | None) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "text", "value": None}]
    if limit is not None:
        steps.append({"color": "red", "value": limit})
    return {"mode": "absolute", "steps": steps}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        newest = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": newest, "textMode": panel.shown, "colorMode": "value", "graphMode": "none"}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}

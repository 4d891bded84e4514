"""Lay out what is known of a project as Prometheus metrics; what was not measured is absent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rehone.integrations.prometheus.known import Known
from rehone.records import CheckStatus, Estimate, RunStatus, RunSummary, TriggerKind

PREFIX: Final = "rehone_pipeline_"
DAY: Final = 86_400.0
YEAR: Final = 365 * DAY

Labels = Mapping[str, str]
Sample = tuple[Labels, float | None]


def registry(known: Known) -> CollectorRegistry:
    """Return a registry that holds the figures of one project, as they are now."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Snapshot(tuple(families(known))))
    return made


class _Snapshot(Collector):
    """Figures that were laid out before."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from self._found


def families(known: Known) -> Iterator[Metric]:
    """Yield every metric that has a sample; each one is labelled with the project."""
    lay = _Layout(known.config.project.name)
    parts = (_live, _last_run, _runs, _gate, _holdout, _production, _drift, _checks, _limits)
    for part in parts:
        yield from (metric for metric in part(known, lay) if metric.samples)


class _Layout:
    """Makes metrics of one project."""

    def __init__(self, project: str) -> None:
        self._project = project

    def gauge(self, name: str, said: str, value: float | None) -> Metric:
        """Make a gauge with one sample, or none."""
        return self.gauges(name, said, [({}, value)])

    def moment(self, name: str, said: str, value: datetime | None) -> Metric:
        """Make a gauge of a moment, in seconds of Unix time."""
        return self.gauge(f"{name}_timestamp_seconds", f"{said}, in Unix time", value.timestamp() if value else None)

    def gauges(self, name: str, said: str, samples: Sequence[Sample]) -> Metric:
        """Make a gauge with one sample for each set of labels; those that are no number are left out."""
        return self._filled(GaugeMetricFamily, name, said, samples)

    def counter(self, name: str, said: str, samples: Sequence[Sample]) -> Metric:
        """Make a counter; its name ends in `_total` where it is written."""
        return self._filled(CounterMetricFamily, name, said, samples)

    def _filled(
        self,
        kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
        name: str,
        said: str,
        samples: Sequence[Sample],
    ) -> Metric:
        names = list(samples[0][0]) if samples else []
        family = kind(f"{PREFIX}{name}", f"{said}.", labels=["project", *names])
        for labels, value in samples:
            if value is not None and math.isfinite(value):
                family.add_metric([self._project, *(labels[key] for key in names)], value)
        return family


def _live(known: Known, lay: _Layout) -> Iterator[Metric]:
    head = known.head
    live = [({"version": head.version}, 1.0)] if head and head.version else []
    yield lay.gauges("live_info", "The version that is live, always 1; absent while nothing is live", live)
    yield lay.gauge(
        "generation", "Number of the newest record of the deployment log", head.generation if head else None
    )
    yield lay.moment("live_since", "When the live version was put there", known.since)
    yield lay.moment("champion_as_of", "The day up to which the live version knows the data", known.live_as_of)


def _last_run(known: Known, lay: _Layout) -> Iterator[Metric]:
    last = next((run for run in reversed(known.runs) if run.status is not None), None)
    yield lay.moment("last_run", "When the newest closed run ended", last.finished_at if last else None)
    yield lay.moment("last_run_as_of", "The day that the newest closed run was made of", last.as_of if last else None)
    yield lay.gauge("last_run_seconds", "How long the newest closed run took", last.seconds if last else None)
    endings: list[Sample] = [({"ending": str(one)}, float(last.status is one)) for one in RunStatus] if last else []
    yield lay.gauges("last_run_ending", "1 at the ending of the newest closed run, 0 at all others", endings)
    trained = known.health.run_seconds
    yield lay.gauge(
        "last_trained_run_seconds", "How long the newest run that trained took", trained[-1] if trained else None
    )


def _runs(known: Known, lay: _Layout) -> Iterator[Metric]:
    ended, waiting = Counter(run.status for run in known.runs), [run for run in known.runs if run.waits]
    asked = Counter(run.trigger for run in known.runs if run.trained)
    yield lay.counter("runs", "Closed runs by ending", [({"ending": str(one)}, ended[one]) for one in RunStatus])
    yield lay.counter(
        "trained_runs",
        "Runs that trained a challenger, by what asked for it",
        [({"trigger": str(one)}, asked[one]) for one in TriggerKind],
    )
    yield lay.gauge("waiting_approvals", "Challengers that wait for a person", len(waiting))
    until = min((run.approval.until for run in waiting if run.approval), default=None)
    yield lay.moment("approval_until", "When the first challenger that waits for a person is given up", until)


def _gate(known: Known, lay: _Layout) -> Iterator[Metric]:
    health = known.health
    yield lay.gauge("judged_challengers", "Newest challengers that the gate judged, which a share is of", health.judged)
    yield lay.gauge("refused_challengers", "How many of these the gate did not let pass", health.refused)
    yield lay.gauge("gate_failure_ratio", "Share of these that the gate did not let pass", health.gate_failure_share)
    yield lay.gauge(
        "lost_in_a_row", "Challengers lost since one went live or the breaker was reset", health.breaker.lost
    )
    yield lay.gauge(
        "breaker_stopped", "1 while retraining has stopped until a person resets the breaker", health.breaker.stopped
    )
    yield lay.gauge("declines_in_a_row", "Retrains in a row that went live with a smaller ROC-AUC", health.declines)


def _holdout(known: Known, lay: _Layout) -> Iterator[Metric]:
    judged = next((run for run in reversed(known.runs) if run.challenger is not None), None)
    found = {"challenger": judged.challenger, "champion": judged.judged_champion} if judged else {}
    both = [({"role": role}, metrics) for role, metrics in found.items() if metrics is not None]
    on = "on the holdout of the newest judged run"
    yield lay.moment("holdout", "The day that the newest judged run was made of", judged.as_of if judged else None)
    yield lay.gauges("holdout_roc_auc", f"ROC-AUC {on}", [(role, m.roc_auc) for role, m in both])
    yield lay.gauges("holdout_recall", f"Recall at its own threshold {on}", [(role, m.recall) for role, m in both])
    yield lay.gauges(
        "holdout_cost_per_1000_rows", f"Cost of decisions {on}", [(role, m.cost_per_1000) for role, m in both]
    )


def _production(known: Known, lay: _Layout) -> Iterator[Metric]:
    looked = _looked(known)
    if looked is None:
        return
    yield from _estimate(lay, "recall", "Recall of the champion on labels that are due", looked.recall)
    yield from _estimate(lay, "roc_auc", "ROC-AUC of the champion on labels that are due", looked.roc_auc)
    yield from _estimate(
        lay, "estimated_recall", "Recall of the champion, estimated before labels are due", looked.estimated_recall
    )
    yield from _estimate(
        lay, "cost_per_1000_rows", "Cost of the champion's decisions on labels that are due", looked.cost_per_1000
    )
    yield lay.gauge("label_ratio", "Share of positives among the newest labels", looked.label_rate)
    yield lay.gauge("window_rows", "Rows of the window that drift was measured on", looked.rows)
    youngest = {
        "row": max((run.newest_row for run in known.runs if run.newest_row), default=None),
        "label": max((run.newest_label for run in known.runs if run.newest_label), default=None),
    }
    yield lay.moment("newest_row", "The youngest event that a run has seen", youngest["row"])
    yield lay.moment("newest_label", "The youngest event whose label was due and seen", youngest["label"])


def _looked(known: Known) -> RunSummary | None:
    """Return the newest run that looked at the data: what it could not measure is unknown now."""
    return next((run for run in reversed(known.runs) if run.window is not None), None)


def _estimate(lay: _Layout, name: str, said: str, found: Estimate | None) -> Iterator[Metric]:
    parts = (("", "", "value"), ("_low", ", lower bound", "low"), ("_high", ", upper bound", "high"))
    for end, more, field in parts:
        yield lay.gauge(f"{name}{end}", f"{said}{more}", getattr(found, field) if found else None)


def _drift(known: Known, lay: _Layout) -> Iterator[Metric]:
    looked = _looked(known)
    if looked is not None and looked.worst_psi is not None:
        yield lay.gauge("worst_psi", "Largest PSI of a feature that may act", looked.worst_psi)
        worst: list[Sample] = [({"feature": looked.worst_feature}, 1.0)] if looked.worst_feature else []
        yield lay.gauges("worst_feature_info", "The feature of that PSI, always 1", worst)
        yield lay.gauge("features_beyond_limit", "Features whose PSI acts", _acting(known, looked))
        yield lay.gauge("drift_acts", "1 where a feature or the scores drifted beyond their limit", looked.drift_acts)
    days = known.health.days
    yield lay.gauge("drift_looks", "On how many days of the past year drift was looked at", days)
    yield lay.gauge(
        "drift_alarms",
        "Drift alarms of the past year that no better challenger proved right",
        known.health.alarms if days else None,
    )
    yield lay.gauge(
        "drift_alarms_accepted",
        "How often chance alone may do that, by trigger.false_alarms_per_year",
        known.health.alarms_accepted if days else None,
    )


def _acting(known: Known, looked: RunSummary) -> int | None:
    record = known.looked
    if record is None or record.run_id != looked.run_id or record.trigger is None:
        return None
    return sum(check.name == "psi" and check.status is CheckStatus.ACT for check in record.trigger.checks)


def _checks(known: Known, lay: _Layout) -> Iterator[Metric]:
    """Yield how each check of `rehone health` stands; runs that wait are counted elsewhere.

    Whether the next run is overdue is not said by figures that a run writes: `time()` goes on while they stand.
    """
    checks = [check for check in known.health.checks if check.name not in ("approval", "overdue")]
    found: list[Sample] = [
        ({"check": check.name, "subject": check.subject or "", "status": str(check.status)}, 1.0) for check in checks
    ]
    yield lay.gauges("check_info", "How a check of `rehone health` stands, always 1", found)


def _limits(known: Known, lay: _Layout) -> Iterator[Metric]:
    config, trigger = known.config, known.config.trigger
    stale = config.data.stale_after_days
    yield lay.gauge("gate_failure_ratio_limit", "health.max_gate_failure_share", config.health.max_gate_failure_share)
    yield lay.gauge("lost_in_a_row_limit", "trigger.max_lost_in_a_row", trigger.max_lost_in_a_row)
    yield lay.gauge("declines_in_a_row_limit", "health.declines", config.health.declines)
    yield lay.gauge("recall_limit", "trigger.min_recall", trigger.min_recall)
    yield lay.gauge("champion_age_limit_seconds", "trigger.max_age_days", _seconds(trigger.max_age_days))
    yield lay.gauge("row_age_limit_seconds", "data.stale_after_days", _seconds(stale))
    yield lay.gauge(
        "run_interval_seconds",
        "How often a run is expected, by trigger.checks_per_year",
        YEAR / trigger.checks_per_year,
    )


def _seconds(days: float | None) -> float | None:
    return None if days is None else timedelta(days=days) / timedelta(seconds=1)

"""Count what the service does with plain numbers, and show them as Prometheus text when asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rehone import __version__
from rehone.records import ShadowReport

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
SCORES: Final = tuple(step / 20 for step in range(1, 21))
VERSIONS_KEPT: Final = 4
ROUTES_KEPT: Final = 64
OTHER: Final = "other"

_FEW: Final = 16
_SCORE_EDGES: Final = np.array(SCORES)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterState:
    """What the service is at the moment that its metrics are asked for.

    `replica` labels every sample; a service whose port several processes share needs it, since
    each scrape reaches one of them. What is None is not shown.
    """

    version: str | None = None
    generation: int | None = None
    refused_generation: int | None = None
    followed: bool = True
    pinned: bool = False
    waiting_rows: int = 0
    connections: int | None = None
    log_written: int | None = None
    log_dropped: int | None = None
    log_waiting: int | None = None
    shadow: ShadowReport | None = None
    replica: str | None = None


@dataclass(slots=True)
class Histogram:
    """Counts of values by upper bound, the last one without bound, and the sum of the values."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts by upper bound, as Prometheus writes them."""
        names = [*map(str, self.bounds), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


class Meters:
    """Counters of one process, changed on the event loop only."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._latency: dict[str, Histogram] = {}
        self._rows = 0
        self._batch_rows = Histogram(SIZES)
        self._batch_requests = Histogram(SIZES)
        self._prediction = Histogram(SECONDS)
        self._scores: dict[str, Histogram] = {}
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def requested(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request by its route, which is the pattern and not the path that was asked."""
        latency = self._latency.get(route)
        if latency is None:
            route, latency = self._new_route(route)
        latency.add(seconds)
        key = (route, status)
        self._requests[key] = self._requests.get(key, 0) + 1

    def scored(self, rows: int, requests: int, seconds: float, scores: NDArray[np.float64], version: str) -> None:
        """Count one micro-batch: its rows, the requests they came from, the model's time and the scores it gave."""
        self._rows += rows
        self._batch_rows.add(rows)
        self._batch_requests.add(requests)
        self._prediction.add(seconds)
        histogram = self._scores.get(version)
        if histogram is None:
            histogram = self._new_version(version)
        if len(scores) <= _FEW:
            for score in scores.tolist():
                histogram.add(score)
        elif len(scores):
            binned = np.bincount(np.searchsorted(_SCORE_EDGES, scores), minlength=len(SCORES) + 1)
            histogram.counts = list(map(add, histogram.counts, binned.tolist()))
            histogram.total += float(scores.sum())

    def render(self, state: MeterState) -> bytes:
        """Write all metrics in the text format of Prometheus; its type is `CONTENT_TYPE`."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot([*self._families(state), *self._process.collect()], state.replica))
        return generate_latest(registry)

    def _new_route(self, route: str) -> tuple[str, Histogram]:
        if len(self._latency) >= ROUTES_KEPT:
            route = OTHER
        return route, self._latency.setdefault(route, Histogram(SECONDS))

    def _new_version(self, version: str) -> Histogram:
        while len(self._scores) >= VERSIONS_KEPT:
            del self._scores[next(iter(self._scores))]
        return self._scores.setdefault(version, Histogram(SCORES))

    def _families(self, state: MeterState) -> Iterator[Metric]:
        yield from self._of_requests()
        yield from self._of_predictions()
        yield from _of_model(state)
        yield from _of_log(state)
        if state.shadow is not None:
            yield from _of_shadow(state.shadow)

    def _of_requests(self) -> Iterator[Metric]:
        yield _histogram(
            "rehone_request_seconds", "Time from the headers of a request to its answer.", "route", self._latency
        )
        answered = CounterMetricFamily("rehone_requests", "Answered requests.", labels=["route", "status"])
        refused = failed = 0
        for (route, status), count in sorted(self._requests.items()):
            answered.add_metric([route, str(status)], count)
            refused += count if 400 <= status < 500 else 0
            failed += count if status >= 500 else 0
        yield answered
        errors = CounterMetricFamily("rehone_errors", "Requests that were not answered as asked.", labels=["side"])
        errors.add_metric(["client"], refused)
        errors.add_metric(["server"], failed)
        yield errors

    def _of_predictions(self) -> Iterator[Metric]:
        yield CounterMetricFamily("rehone_rows", "Rows that the model scored.", value=self._rows)
        yield _plain_histogram("rehone_batch_rows", "Rows that the model scored together.", self._batch_rows)
        yield _plain_histogram(
            "rehone_batch_requests", "Requests whose rows were scored together.", self._batch_requests
        )
        yield _plain_histogram("rehone_prediction_seconds", "Time of the model for one batch.", self._prediction)
        yield _histogram("rehone_score", "Probabilities that a version gave.", "version", self._scores)


class _Snapshot(Collector):
    """Families that were built already, with one more label where the process has a name."""

    def __init__(self, families: Iterable[Metric], replica: str | None) -> None:
        self._families = list(families)
        self._replica = replica

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if self._replica is not None:
                family.samples = [s._replace(labels={**s.labels, "replica": self._replica}) for s in family.samples]
            yield family


def _of_model(state: MeterState) -> Iterator[Metric]:
    yield _info("rehone_build_info", "The version of this software.", {"version": __version__})
    if state.version is not None:
        yield _info("rehone_model_info", "The version that answers.", {"version": state.version, "role": "live"})
    yield _gauge("rehone_model_loaded", "Whether a version is loaded.", state.version is not None)
    if state.generation is not None:
        yield _gauge("rehone_generation", "The deployment that is served.", state.generation)
    yield _gauge(
        "rehone_deployment_refused",
        "Whether the newest deployment was refused, so that the one before is served.",
        state.refused_generation is not None,
    )
    yield _gauge("rehone_deployment_log_followed", "Whether the deployment log can be read.", state.followed)
    yield _gauge("rehone_pinned", "Whether an operator holds the service at a version.", state.pinned)
    yield _gauge("rehone_waiting_rows", "Rows that wait for the model.", state.waiting_rows)
    if state.connections is not None:
        yield _gauge("rehone_connections", "Open connections.", state.connections)


def _of_log(state: MeterState) -> Iterator[Metric]:
    if state.log_written is not None:
        yield CounterMetricFamily("rehone_log_written_rows", "Predictions written to the log.", state.log_written)
    if state.log_dropped is not None:
        yield CounterMetricFamily("rehone_log_dropped_rows", "Predictions that the log lost.", state.log_dropped)
    if state.log_waiting is not None:
        yield _gauge("rehone_log_waiting_rows", "Predictions that wait to be written.", state.log_waiting)


def _of_shadow(report: ShadowReport) -> Iterator[Metric]:
    rows = CounterMetricFamily(
        "rehone_shadow_rows", "Rows offered to the challenger, by what became of them.", labels=["version", "outcome"]
    )
    for outcome, count in (("scored", report.rows), ("failed", report.failed_rows), ("skipped", report.skipped_rows)):
        rows.add_metric([report.version, outcome], count)
    yield rows
    changed = CounterMetricFamily(
        "rehone_shadow_changed_decisions", "Rows that the challenger decides otherwise.", labels=["version"]
    )
    changed.add_metric([report.version], report.changed_decisions)
    yield changed
    seconds = CounterMetricFamily(
        "rehone_shadow_seconds", "Time of each model for the rows that both scored.", labels=["version", "role"]
    )
    seconds.add_metric([report.version, "champion"], report.champion_seconds)
    seconds.add_metric([report.version, "challenger"], report.challenger_seconds)
    yield seconds


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _info(name: str, help_text: str, labels: Mapping[str, str]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def _plain_histogram(name: str, help_text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, help_text, buckets=histogram.buckets(), sum_value=histogram.total)


def _histogram(name: str, help_text: str, label: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=[label])
    for value, histogram in sorted(histograms.items()):
        buckets: Sequence[tuple[str, float]] = histogram.buckets()
        family.add_metric([value], buckets=buckets, sum_value=histogram.total)
    return family

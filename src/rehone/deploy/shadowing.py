"""Let servers score a challenger beside the champion for a while, and add up what they saw."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import zip_longest

from rehone.config import Deploy
from rehone.deploy.facts import Clock, failures, passed
from rehone.deploy.proof import live_replicas, servers
from rehone.deploy.rehearsal import preflight as in_fresh_process
from rehone.errors import StoreError
from rehone.records import Check, Deployment, ShadowReport, StagedShadow, short_id
from rehone.store import Store

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
"""Between two looks at the heartbeats."""
GRACE_SECONDS = 15.0
"""Time after its end at which servers drop a challenger that nobody took away; also the error allowed to their clocks."""

Preflight = Callable[[Store, str, Deploy], tuple[Check, ...]]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowOrder:
    """Which version is scored, for how long, on which share of requests, beside which deployment."""

    version: str
    run_id: str
    beside: Deployment
    seconds: float
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """What came of it: the report to be judged, or the sentence that says why there is none.

    `checks` are of the preflight; when it failed, `unfit` says so and nothing was staged.
    """

    report: ShadowReport | None
    sentence: str
    checks: tuple[Check, ...] = ()
    unfit: bool = False


def shadow(
    store: Store,
    order: ShadowOrder,
    policy: Deploy,
    *,
    clock: Clock,
    progress: Progress = lambda _done, _total, _what: None,
    preflight: Preflight = in_fresh_process,
) -> Shadowed:
    """Stage a version, wait, and add up what every server reports; it is never in the deployment log.

    A version that a fresh process does not prove is not staged. What was staged is taken away
    whatever happens; should this process be killed, servers drop it at its deadline and the next
    run removes it. It ends early when something else went live, or when no server can load it.

    Raises:
        NotFound, Corrupt: the version is not in the store, or damaged.
        StoreError: the store cannot be read or written.
    """
    if not live_replicas(store, policy, now=clock()):
        return Shadowed(report=None, sentence="not scored beside the champion: no server is live")
    checks = preflight(store, order.version, policy)
    if not passed(checks):
        said = f"version {short_id(order.version)} was not staged ({failures(checks)})"
        return Shadowed(report=None, sentence=said, checks=checks, unfit=True)
    watch = _Watch(store, order, policy, clock)
    try:
        store.stage(watch.staged())
        ended = watch.until_end(progress)
        return replace(ended, checks=checks)
    finally:
        _unstage(store, order.run_id)


def _unstage(store: Store, run_id: str) -> None:
    try:
        store.unstage(run_id)
    except StoreError as error:  # servers drop it at its deadline, and the next run tries again
        log.warning("challenger still staged", extra={"run_id": run_id, "because": str(error)})


@dataclass(slots=True)
class _Watch:
    store: Store
    order: ShadowOrder
    policy: Deploy
    clock: Clock
    reports: dict[str, ShadowReport] = field(default_factory=dict)
    ended: dict[str, ShadowReport] = field(default_factory=dict)
    """What a server had counted before it began anew, under the same name."""

    def staged(self) -> StagedShadow:
        order, now = self.order, self.clock()
        return StagedShadow(
            version=order.version,
            run_id=order.run_id,
            started_at=now,
            deadline=now + timedelta(seconds=order.seconds + GRACE_SECONDS),
            share=order.share,
        )

    def until_end(self, progress: Progress) -> Shadowed:
        """Read heartbeats until the time is over; the last report of each server counts, on top of what it began anew."""
        order, begun, total = self.order, time.monotonic(), max(1, round(self.order.seconds))
        while True:
            head = self.store.head()
            if head != order.beside:
                return Shadowed(report=None, sentence=_overtaken(order, head))
            self._read()
            passed_seconds = time.monotonic() - begun
            progress(min(total, int(passed_seconds)), total, f"seconds, {self._said()}")
            if passed_seconds >= order.seconds or self._hopeless():
                break
            time.sleep(min(PAUSE_SECONDS, max(0.0, order.seconds - passed_seconds)))
        report = merged(order.version, order.beside.version, self._reports())
        return Shadowed(report=report, sentence=self._said())

    def _read(self) -> None:
        order = self.order
        for replica in self.store.replicas():
            report = replica.shadow
            if report is None or report.version != order.version:
                continue
            if report.champion in (None, order.beside.version):
                self._take(replica.name, report)

    def _take(self, name: str, report: ShadowReport) -> None:
        before = self.reports.get(name)
        if before is not None and _began_anew(before, report):
            self.ended[name] = self._so_far(name, replace(before, because=None))
        self.reports[name] = report

    def _so_far(self, name: str, report: ShadowReport) -> ShadowReport:
        ended = self.ended.get(name)
        return _sum(ended, report) if ended else report

    def _reports(self) -> Iterable[ShadowReport]:
        """Return the last report of each server; one that vanished says so."""
        known = {replica.name for replica in self.store.replicas()}
        suspects = known & self.reports.keys()
        there = {r.name for r in servers(self.store, self.policy, clock=self.clock)} if suspects else set()
        for name, report in sorted(self.reports.items()):
            because = f"{name}: {report.because}" if report.because else None
            vanished = (name,) if name in suspects - there else ()
            yield replace(self._so_far(name, report), because=because, vanished=vanished)

    def _hopeless(self) -> bool:
        """Say whether every live server has told that it cannot load the challenger."""
        live = live_replicas(self.store, self.policy, now=self.clock())
        told = [self.reports.get(replica.name) for replica in live]
        return bool(told) and all(report is not None and report.because and not report.rows for report in told)

    def _said(self) -> str:
        rows = sum(self._so_far(name, report).rows for name, report in self.reports.items())
        count = len(self.reports)
        return f"{rows:,} rows scored beside the champion by {count} server{'' if count == 1 else 's'}"


def _began_anew(before: ShadowReport, after: ShadowReport) -> bool:
    """Tell a tally that begins again, as after a pin, from one that goes on: counts never go back."""
    counted = ("rows", "failed_rows", "skipped_rows")
    return any(getattr(after, name) < getattr(before, name) for name in counted)


def merged(version: str, champion: str | None, reports: Iterable[ShadowReport]) -> ShadowReport:
    """Add up the reports of several servers on the same challenger."""
    total = ShadowReport(version=version, champion=champion)
    for one in reports:
        total = _sum(total, one)
    return total


def _sum(a: ShadowReport, b: ShadowReport) -> ShadowReport:
    return replace(
        a,
        rows=a.rows + b.rows,
        failed_rows=a.failed_rows + b.failed_rows,
        skipped_rows=a.skipped_rows + b.skipped_rows,
        changed_decisions=a.changed_decisions + b.changed_decisions,
        sum_difference=a.sum_difference + b.sum_difference,
        sum_squared_difference=a.sum_squared_difference + b.sum_squared_difference,
        largest_difference=max(a.largest_difference, b.largest_difference),
        champion_seconds=a.champion_seconds + b.champion_seconds,
        challenger_seconds=a.challenger_seconds + b.challenger_seconds,
        score_counts=tuple(x + y for x, y in zip_longest(a.score_counts, b.score_counts, fillvalue=0)),
        because="; ".join(filter(None, (a.because, b.because))) or None,
        vanished=(*a.vanished, *b.vanished),
    )


def _overtaken(order: ShadowOrder, head: Deployment | None) -> str:
    said = f"generation {head.generation} by {head.actor}" if head else "nothing"
    return (
        f"scoring beside generation {order.beside.generation} was stopped: the log ends with {said}; "
        "the challenger is judged again against what is live now"
    )

"""Promote a version in two phases: on trial first, confirmed or taken back after."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rehone.config import Deploy
from rehone.deploy.facts import (
    CONFIRM,
    PREFLIGHT_ONLY,
    ROLLBACK,
    TRIAL,
    Clock,
    Order,
    Promotion,
    failures,
    passed,
    record,
)
from rehone.deploy.healing import end_dead_trial
from rehone.deploy.proof import returned, servers, smoke
from rehone.deploy.rehearsal import preflight as in_fresh_process
from rehone.deploy.withdrawal import fallback
from rehone.errors import Conflict, StoreError
from rehone.records import Check, CheckStatus, Deployment, DeploymentState, Replica, short_id
from rehone.store import Reserved, Store

Preflight = Callable[[Store, str, Deploy], tuple[Check, ...]]


def promote(
    store: Store, version: str, order: Order, policy: Deploy, *, clock: Clock, preflight: Preflight = in_fresh_process
) -> Promotion:
    """Make a version live if a fresh process and every live server prove it; else leave what was.

    The run lock is held throughout. What fails before the trial writes nothing. A trial that is
    not confirmed, be it by a failing check, an exception, a time limit or Ctrl-C, is followed by
    a rollback record; one that is killed is followed by it when the next run heals. Without a
    server to ask, a check says so and one confirmed record is written.

    Raises:
        Conflict: the log does not end at `order.expect_generation`: judge again.
        Locked: another run is under way.
        NotFound, Corrupt: the version is not in the store, or damaged.
        StoreError: the disk is full, read-only or broken; production is as it was.
    """
    with store.lock(order.run_id or order.actor):
        before = _expected(store, order, clock)
        version = store.version(version).id
        store.read(version)
        case = _Case(store, version, order, policy, clock, before)
        if before and before.version == version and before.state is DeploymentState.CONFIRMED:
            return case.end(
                before, (), f"version {short_id(version)} is live already, since generation {before.generation}"
            )
        checks = preflight(store, version, policy)
        if not passed(checks):
            return case.stay(checks)
        return case.deploy(checks)


def _expected(store: Store, order: Order, clock: Clock) -> Deployment | None:
    dead = end_dead_trial(store, clock=clock)  # whoever opened it held the lock that we hold now
    records = store.log()
    head = records[-1] if records else None
    if (head.generation if head else 0) == order.expect_generation:
        return head
    ended = " after the trial of a killed run was ended" if dead else ""
    raise Conflict(
        f"generation {order.expect_generation} was expected to be the last, generation {head.generation if head else 0} "
        f"is{ended}: judge again against what is live now"
    )


@dataclass(frozen=True, slots=True)
class _Case:
    store: Store
    version: str
    order: Order
    policy: Deploy
    clock: Clock
    before: Deployment | None

    def deploy(self, checks: tuple[Check, ...]) -> Promotion:
        if self.policy.service == "none":
            return self._unproved((*checks, _unasked('deploy.service is "none", so only the preflight proved it')))
        found = servers(self.store, self.policy, clock=self.clock)
        if found or self.policy.health_url:
            return self._trial(checks, found)
        if self.policy.service == "required":
            return self.stay((*checks, _required(self.policy)))
        return self._unproved((*checks, _unasked("nobody serves yet, so only the preflight proved it")))

    def stay(self, checks: tuple[Check, ...]) -> Promotion:
        """End before the trial: nothing was written."""
        live = f"version {short_id(self.before.version)} stays live" if self.before else "nothing is live"
        said = f"version {short_id(self.version)} was not deployed ({failures(checks)}); {live}"
        return replace(self.end(self.before, checks, said), confirmed=False)

    def end(self, live: Deployment | None, checks: tuple[Check, ...], sentence: str) -> Promotion:
        return Promotion(version=self.version, deployment=live, confirmed=True, checks=checks, sentence=sentence)

    def _unproved(self, checks: tuple[Check, ...]) -> Promotion:
        entry = record(PREFLIGHT_ONLY, self.version, self.order, self.clock())
        live = self.store.append(entry, expect_generation=self.order.expect_generation)
        return self.end(
            live,
            checks,
            f"version {short_id(self.version)} is live as generation {live.generation}; {checks[-1].detail}",
        )

    def _trial(self, checks: tuple[Check, ...], found: Sequence[Replica]) -> Promotion:
        generation = self.order.expect_generation + 1
        step = replace(TRIAL, seconds=self.policy.trial_seconds)
        entry = record(step, self.version, self.order, self.clock())
        with self.store.reserve(self._way_back(), generation=generation + 1) as way_back:
            trial = _Trial(self, replace(entry, previous=self.before.version if self.before else None), way_back)
            return trial.run(checks, found)

    def _way_back(self) -> Deployment:
        """Return the rollback record that is kept ready for a disk that is full by then."""
        order = replace(self.order, expect_generation=self.order.expect_generation + 1)
        reason = "the trial was not confirmed, and a record that says why could not be written"
        back = record(ROLLBACK, fallback(self.store, self.store.log()), order, self.clock(), reason=reason)
        return replace(back, previous=self.version)


@dataclass(slots=True)
class _Trial:
    case: _Case
    entry: Deployment
    way_back: Reserved
    why: str = "the trial was interrupted"
    live: Deployment | None = None

    def run(self, checks: tuple[Check, ...], found: Sequence[Replica]) -> Promotion:
        case, store = self.case, self.case.store
        confirmed = False
        try:
            trial = store.append(self.entry, expect_generation=self.entry.generation - 1)
            checks += smoke(store, trial, case.policy, clock=case.clock, expected=found)
            if passed(checks):
                self._confirm()
                confirmed = self.live is not None
            else:
                self.why = failures(checks)
        finally:
            if self.live is None:
                self.live = self._undo()
        if confirmed:
            return replace(case.end(self.live, checks, self._good(checks)), trial=trial)
        checks += returned(store, self.live, case.policy, clock=case.clock) if self.live else ()
        return replace(case.end(self.live or store.head(), checks, self._bad()), confirmed=False, trial=trial)

    def _confirm(self) -> None:
        order = replace(self.case.order, expect_generation=self.entry.generation)
        entry = record(CONFIRM, self.case.version, order, self.case.clock())
        try:
            self.live = self.case.store.append(entry, expect_generation=self.entry.generation)
        except Conflict as error:
            self.why = str(error)

    def _undo(self) -> Deployment | None:
        """Take the trial back, unless it never began or somebody else has ended it."""
        case, store = self.case, self.case.store
        if store.head() != self.entry:
            return None
        if (error := sys.exc_info()[1]) is not None:
            self.why = f"{type(error).__name__}: {error}"
        order = replace(case.order, expect_generation=self.entry.generation)
        reason = f"the trial of version {short_id(case.version)} was not confirmed: {self.why}"
        try:
            back = record(ROLLBACK, fallback(store, store.log()), order, case.clock(), reason=reason)
            return store.append(back, expect_generation=self.entry.generation)
        except Conflict:
            return None
        except StoreError:
            head = store.head()
            if head != self.entry:  # it stands in the log, though it may not outlive a power cut
                return head
            return self.way_back.commit()  # on a full disk: this one needs no space

    def _good(self, checks: Sequence[Check]) -> str:
        proofs = sum(check.name == "smoke" for check in checks)
        servers_said = "1 server" if proofs == 1 else f"{proofs} servers"
        generation = self.live.generation if self.live else None
        return f"version {short_id(self.case.version)} is live as generation {generation}, proved by {servers_said}"

    def _bad(self) -> str:
        if self.live is None:
            return f"version {short_id(self.case.version)} was not confirmed, somebody else decided what is live: {self.why}"
        now = f"version {short_id(self.live.version)} is live again" if self.live.version else "nothing is served"
        return f"version {short_id(self.case.version)} was rolled back ({self.why}); {now} as generation {self.live.generation}"


def _unasked(detail: str) -> Check:
    return Check(name="service", status=CheckStatus.UNKNOWN, detail=detail, n=0)


def _required(policy: Deploy) -> Check:
    return Check(
        name="service",
        status=CheckStatus.ACT,
        value=0,
        limit=1,
        n=0,
        detail=f'no server has beaten within {policy.replica_timeout_seconds:g} s and deploy.service is "required"',
        remedy="start `rehone serve`, or set deploy.health_url",
    )

"""Ask every live server whether it really serves a deployment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from rehone.config import Deploy
from rehone.deploy.facts import Clock
from rehone.deploy.wire import Reply, ask
from rehone.records import Check, CheckStatus, Deployment, Replica, short_id
from rehone.store import Store, is_version_id

if TYPE_CHECKING:
    from rehone.artifact import Golden

T = TypeVar("T")

REQUEST_SECONDS = 2.0
"""Longest that one question to one server may take."""
PAUSE_SECONDS = 0.05
"""Between two rounds of questions."""
RETURN_SECONDS = 10.0
"""Longest that is waited, after a rollback, for servers to be back; nothing depends on it."""
SHORTEST_VERSION = 12
"""Fewest digits by which a foreign service may name a version."""


def live_replicas(store: Store, policy: Deploy, *, now: datetime) -> tuple[Replica, ...]:
    """Return the servers whose heartbeat is younger than `replica_timeout_seconds`.

    A heartbeat from the future, after a clock was set back, is as little trusted as an old one.
    """
    limit = timedelta(seconds=policy.replica_timeout_seconds)
    return tuple(r for r in store.replicas() if abs(now - r.at) <= limit)


def servers(store: Store, policy: Deploy, *, clock: Clock) -> tuple[Replica, ...]:
    """Return the servers that a new deployment must reach: all that answer or still beat.

    A server whose heartbeat looks old is asked all the same, so that a clock that jumped hides
    nobody. One that beat a moment ago and does not answer is waited for until it answers or its
    heartbeat is old, so that a server that was just killed fails no deployment.
    """
    until = time.monotonic() + policy.replica_timeout_seconds + 0.5
    while True:
        known = store.replicas()
        answering = {r.name for r, answers in zip(known, _all(known, _answers), strict=True) if answers}
        beating = {r.name for r in live_replicas(store, policy, now=clock())}
        if beating <= answering or time.monotonic() >= until:
            return tuple(r for r in known if r.name in answering | beating)
        time.sleep(PAUSE_SECONDS)


def smoke(
    store: Store,
    deployment: Deployment,
    policy: Deploy,
    *,
    clock: Clock,
    expected: Sequence[Replica] | None = None,
) -> tuple[Check, ...]:
    """Wait until every live server, and `health_url` if set, proves that it serves the deployment.

    A replica proves it by reporting generation and version at /health and by reproducing the
    golden rows at /predict; all must do so in one and the same round of questions. `expected`
    are servers known to be alive before; one of them that vanishes without retiring fails, for
    the new version may be what killed it. A refusal or a wrong probability fails at once,
    everything else after `trial_seconds`.

    Raises:
        StoreError: the store cannot be read.
    """
    question = _Question(store, deployment, policy, clock, _golden(store, deployment))
    question.names.update(r.name for r in (servers(store, policy, clock=clock) if expected is None else expected))
    until = time.monotonic() + policy.trial_seconds
    while True:
        checks = question.round()
        if _settled(checks):
            return checks
        if time.monotonic() >= until:
            return tuple(_late(check, policy.trial_seconds) for check in checks)
        time.sleep(PAUSE_SECONDS)


def returned(store: Store, deployment: Deployment, policy: Deploy, *, clock: Clock) -> tuple[Check, ...]:
    """Wait a little for the live servers to follow a rollback, and say which do; nothing fails."""
    until = time.monotonic() + min(policy.trial_seconds, RETURN_SECONDS)
    while True:
        found = live_replicas(store, policy, now=clock())
        checks = tuple(_all(found, lambda replica: _back(replica, deployment)))
        if all(check.status is CheckStatus.OK for check in checks) or time.monotonic() >= until:
            return checks
        time.sleep(PAUSE_SECONDS)


def _back(replica: Replica, deployment: Deployment) -> Check:
    health = _health(replica)
    back = (health.body.get("generation"), health.body.get("version")) == (deployment.generation, deployment.version)
    if health.body.get("pinned"):
        return replace(_held(replica, health.body["pinned"]), name="returned", status=CheckStatus.WARN)
    return Check(
        name="returned",
        subject=replica.name,
        status=CheckStatus.OK if back else CheckStatus.WARN,
        detail=f"{replica.name} {health.trouble or _serves(health.body)}",
        remedy="" if back else f"look at {replica.url}; it should serve generation {deployment.generation}",
    )


@dataclass(slots=True)
class _Question:
    store: Store
    deployment: Deployment
    policy: Deploy
    clock: Clock
    golden: Golden
    names: set[str] = field(default_factory=set)

    def round(self) -> tuple[Check, ...]:
        """Ask everybody once: ok, act (it will not get better) or unknown (not yet)."""
        head = self.store.head()
        if head != self.deployment:
            return (_overtaken(self.deployment, head),)
        self.names.update(r.name for r in live_replicas(self.store, self.policy, now=self.clock()))
        present = [r for r in self.store.replicas() if r.name in self.names]
        if not present and not self.policy.health_url:
            return (_nobody_left(),)
        foreign = [self._foreign()] if self.policy.health_url else []
        return (*_all(present, self._proof), *foreign, *self._late_comers())

    def _late_comers(self) -> Iterator[Check]:
        for replica in live_replicas(self.store, self.policy, now=self.clock()):
            if replica.name not in self.names:
                yield _not_yet(replica.name, f"{replica.name} has started and was not asked yet")

    def _proof(self, replica: Replica) -> Check:
        if replica.pinned:
            return _held(replica, replica.version)
        if replica.refused_generation == self.deployment.generation:
            return _refused(replica, replica.refused_because)
        health = _health(replica)
        if health.body.get("pinned"):
            return _held(replica, health.body["pinned"])
        refused = health.body.get("refused")
        if isinstance(refused, dict) and refused.get("generation") == self.deployment.generation:
            return _refused(replica, refused.get("because"))
        problem = self._not_serving(replica, health)
        return _not_yet(replica.name, problem) if problem else self._predicted(replica)

    def _not_serving(self, replica: Replica, health: Reply) -> str | None:
        if health.trouble:
            return f"{replica.name}: {health.trouble}"
        if health.body.get("pid", replica.pid) != replica.pid:
            return f"{replica.url} is answered by process {health.body['pid']}, not by {replica.pid}"
        if not self._ours(health.body) or health.status != 200:
            return (
                f"{replica.name} answers HTTP {health.status} and {_serves(health.body)}, "
                f"not generation {self.deployment.generation} of version {short_id(self.deployment.version)}"
            )
        return None

    def _ours(self, body: dict[str, Any]) -> bool:
        return (body.get("generation"), body.get("version")) == (self.deployment.generation, self.deployment.version)

    def _predicted(self, replica: Replica) -> Check:
        url = f"{replica.url.rstrip('/')}/predict"
        reply = ask(url, send={"rows": self.golden.rows}, seconds=REQUEST_SECONDS)
        if reply.trouble:
            return _not_yet(replica.name, f"{replica.name}: {reply.trouble}")
        if reply.status != 200 or not self._ours(reply.body):
            said = reply.body.get("error") or _serves(reply.body)
            return _not_yet(replica.name, f"{url} answers HTTP {reply.status}: {said}")
        return _compared(replica.name, _probabilities(reply.body), self.golden.probabilities, self.policy)

    def _foreign(self) -> Check:
        url, key = self.policy.health_url or "", self.policy.health_version_key
        reply = ask(url, seconds=REQUEST_SECONDS)
        said, wanted = reply.body.get(key), self.deployment.version or ""
        if reply.trouble:
            return _not_yet(url, reply.trouble)
        if reply.status == 200 and isinstance(said, str) and len(said) >= SHORTEST_VERSION and wanted.startswith(said):
            detail = f"{url} reports version {short_id(wanted)} under {key!r}"
            return Check(name="smoke", subject=url, status=CheckStatus.OK, detail=detail)
        return _not_yet(
            url, f"{url} answers HTTP {reply.status} and reports {_told(said)} under {key!r}, not {short_id(wanted)}"
        )


def _golden(store: Store, deployment: Deployment) -> Golden:
    from rehone.artifact import Golden, read_golden

    if deployment.version is None:
        return Golden((), ())
    return read_golden(store.read(deployment.version))


def _all(replicas: Sequence[Replica], question: Callable[[Replica], T]) -> list[T]:
    if not replicas:
        return []
    with ThreadPoolExecutor(min(16, len(replicas)), thread_name_prefix="smoke") as pool:
        return list(pool.map(question, replicas))


def _health(replica: Replica) -> Reply:
    return ask(f"{replica.url.rstrip('/')}/health", seconds=REQUEST_SECONDS)


def _answers(replica: Replica) -> bool:
    health = _health(replica)
    return not health.trouble and health.body.get("pid", replica.pid) == replica.pid


def _probabilities(body: dict[str, Any]) -> list[float] | None:
    try:
        return [float(row["probability"]) for row in body["predictions"]]
    except (KeyError, TypeError, ValueError):
        return None


def _compared(name: str, found: list[float] | None, golden: Sequence[float], policy: Deploy) -> Check:
    if found is None or len(found) != len(golden):
        answers = "no probabilities" if found is None else f"{len(found)} probabilities"
        return _failed(name, f"{name} answers {len(golden)} golden rows with {answers}")
    worst = max((abs(a - b) for a, b in zip(found, golden, strict=True)), default=0.0)
    finite = all(map(math.isfinite, found))
    said = f"{name} reproduces {len(golden)} golden rows within {worst:.3g}, limit {policy.golden_tolerance:g}"
    if not finite or worst > policy.golden_tolerance:
        said = (
            said.replace("reproduces", "differs on") if finite else f"{name} gives a golden row no finite probability"
        )
        return replace(
            _failed(name, said), value=worst if finite else None, limit=policy.golden_tolerance, n=len(golden)
        )
    return Check(
        name="smoke",
        subject=name,
        status=CheckStatus.OK,
        value=worst,
        limit=policy.golden_tolerance,
        n=len(golden),
        detail=said,
    )


def _refused(replica: Replica, because: object) -> Check:
    return _failed(replica.name, f"{replica.name} refused the version ({because or 'it did not say why'})")


def _held(replica: Replica, version: object) -> Check:
    at = short_id(version) if isinstance(version, str) else "none"
    said = f"{replica.name} is pinned to version {at} by an operator and follows no deployment"
    remedy = f"unpin it (`DELETE {replica.url.rstrip('/')}/operator/pin` with the operator's token), then run again"
    return replace(_failed(replica.name, said), remedy=remedy)


def _failed(name: str, detail: str) -> Check:
    remedy = f"look at the log of {name} and at the libraries it runs with"
    return Check(name="smoke", subject=name, status=CheckStatus.ACT, detail=detail, remedy=remedy)


def _not_yet(name: str, detail: str) -> Check:
    return Check(name="smoke", subject=name, status=CheckStatus.UNKNOWN, detail=detail)


def _late(check: Check, seconds: float) -> Check:
    if check.status is not CheckStatus.UNKNOWN:
        return check
    return replace(
        check,
        status=CheckStatus.ACT,
        value=seconds,
        limit=seconds,
        detail=f"{check.detail}, after {seconds:g} s",
        remedy="look at that server, or raise deploy.trial_seconds if it needs longer to load a version",
    )


def _overtaken(deployment: Deployment, head: Deployment | None) -> Check:
    said = f"generation {head.generation} by {head.actor}" if head else "nothing"
    return _failed("log", f"the log ends with {said}, not with generation {deployment.generation} that was on trial")


def _nobody_left() -> Check:
    return _failed("service", "every server went away during the trial")


def _settled(checks: Iterable[Check]) -> bool:
    found = [check.status for check in checks]
    return CheckStatus.ACT in found or all(status is CheckStatus.OK for status in found)


def _serves(body: dict[str, Any]) -> str:
    version = body.get("version")
    named = short_id(version) if isinstance(version, str) else version
    return f"serves generation {body.get('generation')} of version {named}"


def _told(said: object) -> str:
    return repr(short_id(said) if isinstance(said, str) and is_version_id(said) else said)

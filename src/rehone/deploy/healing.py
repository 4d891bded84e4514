"""End what a killed process left open, and look at everything in a store that can be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from rehone.config import Deploy
from rehone.deploy.facts import Clock, Order
from rehone.deploy.proof import live_replicas
from rehone.deploy.withdrawal import take_back
from rehone.errors import Conflict, Corrupt, Locked, StoreError
from rehone.records import Check, CheckStatus, Deployment, DeploymentState, Replica, short_id
from rehone.store import Store

FORGOTTEN = timedelta(hours=1)
"""Age of a heartbeat at which its file is removed; a server that lives writes it again."""


def heal(store: Store, *, clock: Clock, policy: Deploy) -> tuple[Check, ...]:
    """End orphaned trials and shadows, mend `current`, empty tmp, forget dead servers; one check for each.

    A trial is an orphan when the run lock is free, for its promoter held that until the end; the
    clock is not asked, so that no clock can be wrong. When another run holds the lock, only a
    trial past its deadline is taken back.

    Raises:
        Corrupt: the log is damaged; only a backup can put that right.
        StoreError: the store cannot be written.
    """
    store.log()
    try:
        with store.lock("healing"):
            found = [end_dead_trial(store, clock=clock), _unstage_dead(store)]
    except Locked as error:
        found = [_overdue(store, clock, str(error))]
    done = [_mended("repair", said) for said in store.repair()]
    return (*filter(None, found), *done, *_forget(store, policy, clock), *_ahead(store))


def end_dead_trial(store: Store, *, clock: Clock) -> Check | None:
    """Take back an open trial; the caller holds the run lock, so whoever opened it is dead.

    Raises:
        Conflict: somebody else wrote a record at the same moment.
        StoreError: the log is damaged, or the disk does not allow it.
    """
    return _end(store, clock, "its run was killed")


def _end(store: Store, clock: Clock, why: str) -> Check | None:
    records = store.log()
    if not records or records[-1].state is not DeploymentState.TRIAL:
        return None
    trial = records[-1]
    said = f"the trial of version {short_id(trial.version)} (generation {trial.generation}, by {trial.actor}) was left open: {why}"
    order = Order(expect_generation=trial.generation, actor="heal", run_id=trial.run_id, as_of=trial.as_of, reason=said)
    back = take_back(store, records, order, clock)
    live = f"version {short_id(back.version)} is live again" if back.version else "nothing is served"
    return _mended("trial", f"{said}; {live} as generation {back.generation}")


def _unstage_dead(store: Store) -> Check | None:
    """Take away the challenger of a killed run; the caller holds the run lock, so whoever staged it is dead."""
    try:
        staged = store.staged()
    except Corrupt as error:
        said = f"what was staged beside the champion could not be read ({error})"
    else:
        if staged is None:
            return None
        said = f"version {short_id(staged.version)} was left staged beside the champion: run {staged.run_id} was killed"
    return _mended("shadow", f"{said}; it is staged no more") if store.unstage() else None


def _overdue(store: Store, clock: Clock, locked: str) -> Check | None:
    head = store.head()
    if head is None or head.state is not DeploymentState.TRIAL:
        return None
    if head.deadline is not None and clock() <= head.deadline:
        return Check(
            name="trial",
            status=CheckStatus.WARN,
            detail=f"version {short_id(head.version)} is on trial until {head.deadline:%Y-%m-%d %H:%M:%S %Z}",
            remedy=locked,
        )
    try:
        return _end(store, clock, "its deadline has passed")
    except Conflict:
        return None  # its run ended it at this very moment


def _forget(store: Store, policy: Deploy, clock: Clock) -> Iterator[Check]:
    limit = max(FORGOTTEN, timedelta(seconds=10 * policy.replica_timeout_seconds))
    for replica in store.replicas():
        age = clock() - replica.at
        if age > limit:
            store.retire(replica.name)
            yield _mended("replica", f"{replica.name} has not beaten for {age} and is forgotten")


def _ahead(store: Store) -> Iterator[Check]:
    head = store.head()
    last = head.generation if head else 0
    for replica in store.replicas():
        if replica.generation is not None and replica.generation > last:
            yield Check(
                name="log",
                subject=replica.name,
                status=CheckStatus.ACT,
                detail=f"{replica.name} has served generation {replica.generation}, but the log ends at {last}",
                remedy="records were removed: put deployments/ back from a backup, or restart that server if the store "
                "was replaced on purpose",
            )


def examine(store: Store, *, policy: Deploy, clock: Clock) -> tuple[Check, ...]:
    """Look at the log, every version and every live server; change nothing."""
    try:
        records = store.log()
    except StoreError as error:
        return (Check(name="log", status=CheckStatus.ACT, detail=str(error)),)
    head = records[-1] if records else None
    said = f"the deployment log has {len(records)} record{'s' * (len(records) != 1)}, each in its place"
    checks = [Check(name="log", status=CheckStatus.OK, n=len(records), detail=said)]
    if head is not None and head.state is DeploymentState.TRIAL:
        checks.append(_open_trial(head))
    checks += _on_stage(store)
    checks += [_whole(store, version.id, head) for version in store.versions()]
    checks += _unreadable(store, head)
    return (*checks, *_ahead(store), *_behind(store, head, policy, clock))


def _open_trial(head: Deployment) -> Check:
    return Check(
        name="trial",
        status=CheckStatus.WARN,
        detail=f"version {short_id(head.version)} is on trial since {head.at:%Y-%m-%d %H:%M:%S %Z} (generation {head.generation})",
        remedy="it is ended by its run, or by the next one if that was killed",
    )


def _on_stage(store: Store) -> Iterator[Check]:
    try:
        staged = store.staged()
    except StoreError as error:
        yield Check(name="shadow", status=CheckStatus.WARN, detail=str(error), remedy="the next run removes it")
        return
    if staged is not None:
        said = f"version {short_id(staged.version)} is scored beside the champion until {staged.deadline:%Y-%m-%d %H:%M:%S %Z}"
        remedy = "it is removed by its run, or by the next one if that was killed"
        yield Check(name="shadow", status=CheckStatus.WARN, detail=said, remedy=remedy)


def _whole(store: Store, version: str, head: Deployment | None) -> Check:
    live = head is not None and head.version == version
    try:
        files = store.read(version)
    except StoreError as error:
        bad = CheckStatus.ACT if live else CheckStatus.WARN
        return Check(name="version", subject=short_id(version), status=bad, detail=str(error))
    said = f"version {short_id(version)} is whole{' and live' if live else ''}"
    return Check(name="version", subject=short_id(version), status=CheckStatus.OK, n=len(files), detail=said)


def _unreadable(store: Store, head: Deployment | None) -> Iterator[Check]:
    if head is None or head.version is None:
        return
    try:
        store.version(head.version)
    except StoreError as error:
        yield Check(
            name="version",
            subject=short_id(head.version),
            status=CheckStatus.ACT,
            detail=f"the live version cannot be read: {error}",
            remedy="`rehone rollback`",
        )


def _behind(store: Store, head: Deployment | None, policy: Deploy, clock: Clock) -> Iterator[Check]:
    last = head.generation if head else None
    for replica in live_replicas(store, policy, now=clock()):
        same = replica.generation == last and not replica.pinned
        yield Check(
            name="replica",
            subject=replica.name,
            status=CheckStatus.OK if same else CheckStatus.WARN,
            detail=_followed(replica, last),
            remedy="" if same else _remedy(replica),
        )


def _followed(replica: Replica, last: int | None) -> str:
    if replica.pinned:
        return f"{replica.name} is pinned to version {short_id(replica.version)} by an operator"
    if replica.generation == last:
        return f"{replica.name} serves generation {last}, the last of the log"
    return f"{replica.name} serves generation {replica.generation}, the log ends at {last}"


def _remedy(replica: Replica) -> str:
    if replica.pinned:
        return f"unpin it (`DELETE {replica.url.rstrip('/')}/operator/pin` with the operator's token)"
    return replica.refused_because or f"look at {replica.url}"


def _mended(name: str, detail: str) -> Check:
    return Check(name=name, status=CheckStatus.WARN, detail=detail)

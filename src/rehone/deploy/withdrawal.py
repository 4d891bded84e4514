"""Put an earlier version back: one more record of the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rehone import signing
from rehone.config import Deploy
from rehone.deploy.facts import ROLLBACK, Clock, Order, record
from rehone.errors import Conflict, Corrupt, NotFound, StoreError
from rehone.records import Deployment, DeploymentState, short_id
from rehone.store import Store, standing

NOTHING = "none"
"""As a target: serve nothing."""


def rollback(store: Store, to: str | None, order: Order, *, clock: Clock, policy: Deploy | None = None) -> Deployment:
    """Make an earlier version live again, whatever became of code, data and network.

    It needs no run lock: an emergency does not wait. A trial that is under way ends with it.

    Args:
        to: an id, the unique beginning of one, `"none"` to serve nothing, or `None` for the
            version that was confirmed before the live one. Any version that was ever confirmed
            will do; one that never proved itself is not put back but promoted.
        policy: when it names trusted keys, one of them must have signed the target.

    Raises:
        Conflict: the log does not end at `order.expect_generation` any more.
        NotFound: there is no such version, or none to go back to.
        Corrupt: that version is damaged; the message says where, and names those that are whole.
        StoreError: it is live already, was never confirmed, is not signed as the policy asks, or
            the disk does not allow it.
    """
    records = store.log()
    head = records[-1] if records else None
    if (head.generation if head else 0) != order.expect_generation:
        raise _stale(order, head)
    if head is None:
        raise NotFound(f"nothing was ever deployed in {store.root}: there is no version to go back to")
    target = None if to == NOTHING else _target(store, records, to)
    if target == head.version and head.state is DeploymentState.CONFIRMED:
        raise StoreError(
            f"version {short_id(target)} is live already, since generation {head.generation}: name another"
        )
    if target is not None:
        _refuse_damaged(store, records, target, policy)
    return store.append(record(ROLLBACK, target, order, clock()), expect_generation=order.expect_generation)


def fallback(store: Store, records: Sequence[Deployment]) -> str | None:
    """Return what a failing trial is taken back to: what was confirmed last, or `None` for nothing.

    If that version cannot be read whole, it is the newest confirmed one that can.
    """
    last = next((r.version for r in reversed(records) if r.state is DeploymentState.CONFIRMED), None)
    if last is None:
        return None
    candidates = (last, *reversed(standing(records)))
    return next((version for version in candidates if _damage(store, version) is None), None)


def take_back(store: Store, records: Sequence[Deployment], order: Order, clock: Clock) -> Deployment:
    """Write the record that ends a trial without success; the last of `records` is the trial.

    Raises:
        Conflict: somebody else ended it.
        StoreError: the disk does not allow it.
    """
    trial = records[-1]
    ending = replace(order, expect_generation=trial.generation)
    back = record(ROLLBACK, fallback(store, records), ending, clock())
    return store.append(back, expect_generation=trial.generation)


def _target(store: Store, records: Sequence[Deployment], to: str | None) -> str:
    head = records[-1]
    if to is None:
        earlier = [v for v in standing(records) if v != head.version]
        if not earlier:
            raise NotFound(f"no version was confirmed before {short_id(head.version)}: there is none to go back to")
        return earlier[-1]
    target = store.version(to).id
    if not any(r.version == target and r.state is DeploymentState.CONFIRMED for r in records):
        raise StoreError(
            f"version {short_id(target)} was never confirmed in production: only what proved itself is put back, "
            f"such as {_whole(store, records) or 'none yet'}"
        )
    return target


def _refuse_damaged(store: Store, records: Sequence[Deployment], target: str, policy: Deploy | None) -> None:
    if damage := _damage(store, target, policy):
        others = _whole(store, records, policy) or "none"
        kind = type(damage) if isinstance(damage, Corrupt | NotFound) else StoreError
        raise kind(
            f"not rolled back: {damage}; confirmed versions that are whole{_signed(policy)}: {others}"
        ) from damage


def _signed(policy: Deploy | None) -> str:
    return " and signed" if policy and policy.trusted_keys else ""


def _whole(store: Store, records: Sequence[Deployment], policy: Deploy | None = None) -> str:
    return ", ".join(short_id(v) for v in reversed(standing(records)) if _damage(store, v, policy) is None)


def _damage(store: Store, version: str, policy: Deploy | None = None) -> StoreError | None:
    try:
        store.read(version)
        if policy is not None:
            signing.require(version, store.signatures(version), policy)
    except StoreError as error:
        return error
    return None


def _stale(order: Order, head: Deployment | None) -> Conflict:
    last = f"generation {head.generation} by {head.actor}" if head else "nothing at all"
    return Conflict(
        f"generation {order.expect_generation} was expected to be the last, the log ends with {last}: look again at "
        "what is live"
    )

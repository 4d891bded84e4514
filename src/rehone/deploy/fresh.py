"""Be the fresh process of a preflight: load one version, ask it, and write the checks to stdout."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rehone import signing
from rehone.codec import decode, encode
from rehone.config import Deploy, Storage
from rehone.errors import RehoneError
from rehone.objects import disk_for
from rehone.places import place_of
from rehone.records import Check, CheckStatus
from rehone.store import Store

if TYPE_CHECKING:
    from rehone.artifact import Golden, Predictor

TIMED_CALLS = 32
"""Single rows that are asked for, to measure latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the fresh process is told: where, what, under which policy and with which import path."""

    store: str
    storage: dict[str, Any]
    version: str
    policy: dict[str, Any]
    path: tuple[str, ...]


def try_out(store: Store, version: str, policy: Deploy) -> Iterator[Check]:
    """Load a version that is signed as the policy asks, reproduce its golden rows, and time it.

    Raises:
        RehoneError: it cannot be read or loaded.
    """
    from rehone import artifact

    begun = time.perf_counter()
    found = store.version(version)
    files = store.read(found.id)
    key = signing.require(found.id, store.signatures(found.id), policy)
    predictor = artifact.unpack(
        found.manifest, files, version=found.id, allow_joblib=policy.allow_joblib, trusted=policy.trusted_types
    )
    seconds = time.perf_counter() - begun
    size = sum(map(len, files.values()))
    signed = f", signed by key {key}," if key else ""
    said = f"version {found.short} ({size:,} bytes){signed} is loaded in {seconds:.2f} s"
    yield Check(name="load", status=CheckStatus.OK, value=seconds, detail=said)
    golden = artifact.read_golden(files)
    yield artifact.check_golden(predictor, golden, policy.golden_tolerance) if golden.rows else _no_rows()
    if golden.rows:
        yield _latency(predictor, golden)


def _no_rows() -> Check:
    return Check(
        name="golden_rows",
        status=CheckStatus.UNKNOWN,
        n=0,
        detail="the version has no golden rows, so nothing shows that it is the model that was trained",
        remedy="train again with rows in the window",
    )


def _latency(predictor: Predictor, golden: Golden) -> Check:
    took = []
    for i in range(TIMED_CALLS):
        begun = time.perf_counter()
        predictor.predict_proba([golden.rows[i % len(golden.rows)]])
        took.append(1000 * (time.perf_counter() - begun))
    middle, slowest = median(took), max(took)
    said = f"one row takes {middle:.2f} ms (median of {len(took)}), {slowest:.2f} ms at most"
    return Check(name="latency_ms", status=CheckStatus.OK, value=middle, n=len(took), detail=said)


def main() -> None:
    """Read a request from stdin and write a list of checks to stdout.

    What a library prints goes to stderr, so that it cannot spoil the answer.
    """
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    request = decode(sys.stdin.buffer.read(), Request, source="the request")
    sys.path += [entry for entry in request.path if entry not in sys.path]
    checks: list[Check] = []
    try:
        checks.extend(try_out(_store(request), request.version, Deploy.model_validate(request.policy)))
    except RehoneError as error:
        checks.append(Check(name="preflight", status=CheckStatus.ACT, detail=str(error)))
    with answer:
        answer.write(encode(checks))


def _store(request: Request) -> Store:
    place = place_of(Path(), request.store)
    return Store(place, disk=disk_for(place, Storage.model_validate(request.storage)))


if __name__ == "__main__":
    main()

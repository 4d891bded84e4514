"""Deploy and roll back 50 times under load, and count what the clients noticed.

    .venv/bin/python bench/serve/swap.py                    about three minutes
    .venv/bin/python bench/serve/swap.py --swaps 10 --workers 2

Three phases with the same clients: nothing deployed; records alone (a deployment log that grows, which shows
what the service itself costs); real promotions, with a fresh process that tries the version beforehand and
questions to every replica, and real rollbacks. Every answer must have status 200 and the probability of the
version that it names. Exits with an error if one does not, or if a deployment is not confirmed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import model
import msgspec
import psutil
from load import Load, Measured
from services import SERVICES, Running, Service, Where, rehone, running

from rehone.config import Deploy
from rehone.deploy import Order, live_replicas, promote, rollback
from rehone.records import Replica
from rehone.store import Store

TOLERANCE = 1e-9
FOLLOW_SECONDS = 30.0
PAUSE_SECONDS = 0.2
"""Between two deployments by record, so that clients see each version for a while."""


@dataclass(slots=True)
class Witness:
    """Reads every answer: which version it names, and whether the probability is that version's."""

    expected: dict[str, float]
    seen: Counter[str] = field(default_factory=Counter)
    wrong: int = 0

    def __call__(self, body: bytes) -> None:
        """Take the body of one answer."""
        answer = msgspec.json.decode(body)
        self.seen[answer["version"]] += 1
        probability = answer["predictions"][0]["probability"]
        self.wrong += not abs(probability - self.expected.get(answer["version"], float("nan"))) <= TOLERANCE


@dataclass(frozen=True, slots=True)
class Stage:
    """A service of two versions, of which the first is live, with one row to ask and its answers."""

    store: Store
    found: Running
    row: dict[str, float]
    expected: dict[str, float]

    def load(self, witness: Witness, connections: int) -> Load:
        """Return clients that ask for the row; the witness reads every answer."""
        request = self.found.service.request([self.row])
        return Load(self.found.port, [request], connections=connections, observe=witness)


@contextmanager
def stage(folder: Path, workers: int) -> Iterator[Stage]:
    """Publish two versions in a new store and serve them."""
    if folder.exists():
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
        shutil.rmtree(folder)
    where = Where(folder, folder, folder / "logs")
    where.logs.mkdir(parents=True)
    store = model.project(folder / "project", workers=workers)
    X, _ = model.draw(1, seed=9)
    expected = {}
    for seed in (1, 2):
        pipeline = model.fit(seed)
        expected[model.publish(store, pipeline, f"run-{seed}").id] = float(pipeline.predict_proba(X)[0, 1])
    first = next(iter(expected))
    model.deploy(store, store.version(first))
    ours = SERVICES[0]
    service = Service("rehone-swap", ours.title, rehone("project"), ours.body, ours.scores)
    row = model.rows_of(X)[0]
    with running(service, where, [row]) as found:
        yield Stage(store, found, row, expected)


def ready(store: Store, *, without: int | None = None) -> list[Replica]:
    """Return the replicas that are alive and say that they serve the last record, but for one process."""
    head = store.head()
    live = live_replicas(store, Deploy(), now=_now())
    return [
        r for r in live if head and r.generation == head.generation and r.pid != without and psutil.pid_exists(r.pid)
    ]


def follow(store: Store, workers: int, *, seconds: float = FOLLOW_SECONDS, without: int | None = None) -> None:
    """Wait until that many replicas say that they serve the last record.

    Raises:
        SystemExit: they do not in time.
    """
    end = time.monotonic() + seconds
    while len(ready(store, without=without)) < workers:
        if time.monotonic() > end:
            raise SystemExit(f"{workers} replicas should serve the last record of {store.head()}: {store.replicas()}")
        time.sleep(0.02)


def by_records(store: Store, swaps: int, workers: int) -> Iterator[float]:
    """Change the live version by one record at a time; yield the seconds until each is followed."""
    for _ in range(swaps):
        begun = time.monotonic()
        model.deploy(store, store.version(_other(store)))
        follow(store, workers)
        yield time.monotonic() - begun
        time.sleep(PAUSE_SECONDS)


def by_promotion(store: Store, swaps: int, workers: int) -> Iterator[float]:
    """Promote and roll back in turn; yield the seconds until each is done and followed.

    Raises:
        SystemExit: a promotion is not confirmed.
    """
    for number in range(swaps):
        begun = time.monotonic()
        head = store.head()
        order = Order(expect_generation=head.generation if head else 0, actor="bench", reason="swap")
        if number % 2:
            rollback(store, None, order, clock=_now)
        else:
            said = promote(store, _other(store), order, Deploy(service="required"), clock=_now)
            if not said.confirmed:
                raise SystemExit(said.sentence)
        follow(store, workers)
        yield time.monotonic() - begun


def _other(store: Store) -> str:
    head = store.head()
    return next(version.id for version in store.versions() if not head or version.id != head.version)


def _now() -> datetime:
    return datetime.now(UTC)


WAYS = {"records": by_records, "promotions": by_promotion}


def phase(stage: Stage, way: str | None, asked: argparse.Namespace) -> dict[str, Any]:
    """Load the service while a process of its own deploys, or while nothing happens; return what was seen."""
    witness = Witness(stage.expected)
    with stage.load(witness, asked.connections) as load:
        load.run(seconds=0.5)
        witness.seen.clear()
        if way is None:
            return _said("nothing", load.run(seconds=asked.quiet_seconds), witness, [])
        told = [str(stage.store.root), way, str(asked.swaps), str(asked.workers)]
        deployer = subprocess.Popen([sys.executable, __file__, "--deploy", *told], stdout=subprocess.PIPE)
        try:
            measured = load.run(until=lambda: deployer.poll() is not None)
            took, _ = deployer.communicate()
        finally:
            deployer.kill()
            ended = deployer.wait()
    if ended:
        raise SystemExit(f"the process that deploys ended with {ended}")
    return _said(way, measured, witness, json.loads(took))


def _said(way: str, measured: Measured, witness: Witness, swaps: list[float]) -> dict[str, Any]:
    return {
        "deployed by": way,
        "swaps": len(swaps),
        "median_swap_seconds": statistics.median(swaps) if swaps else None,
        "answers": measured.answers,
        "failed": dict(measured.failed),
        "wrong": witness.wrong,
        "versions": {version[:12]: count for version, count in witness.seen.items()},
        "seconds": measured.seconds,
        "p50_ms": measured.latency_ms(50),
        "p99_ms": measured.latency_ms(99),
        "max_ms": measured.latency_ms(100),
    }


def table(seen: Sequence[dict[str, Any]], asked: argparse.Namespace) -> Iterator[str]:
    """Say each phase in one line."""
    yield f"{asked.connections} connections, {asked.workers} worker(s)"
    columns = ("swaps", "s each", "answers", "failed", "wrong", "versions", "p50 ms", "p99 ms", "max ms")
    yield f"  {'deployed by':<12}" + "".join(f"{name:>9}" for name in columns)
    for s in seen:
        each, failed = s["median_swap_seconds"], sum(s["failed"].values())
        yield (
            f"  {s['deployed by']:<12}{s['swaps']:>9}{f'{each:.2f}' if each else '-':>9}{s['answers']:>9}{failed:>9}{s['wrong']:>9}"
            f"{len(s['versions']):>9}{s['p50_ms']:>9.2f}{s['p99_ms']:>9.2f}{s['max_ms']:>9.1f}"
        )


def main() -> None:
    """Run the three phases and keep what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--quiet-seconds", type=float, default=10)
    parser.add_argument("--folder", type=Path, default=Path("bench-run/serve-swap"))
    parser.add_argument("--deploy", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.deploy:
        root, way, swaps, workers = asked.deploy
        print(json.dumps(list(WAYS[way](Store(Path(root)), int(swaps), int(workers)))))
        return
    with stage(asked.folder.resolve(), asked.workers) as staged:
        follow(staged.store, asked.workers)
        seen = [phase(staged, way, asked) for way in (None, *WAYS)]
    (asked.folder / "results.json").write_text(json.dumps(seen, indent=1))
    print("\n".join(table(seen, asked)))
    lost = sum(sum(s["failed"].values()) + s["wrong"] for s in seen)
    if lost:
        raise SystemExit(f"{lost} requests failed or got an answer of another version: {[s['failed'] for s in seen]}")


if __name__ == "__main__":
    main()

"""Kill one of two workers under load with SIGKILL, again and again, and count what the clients noticed.

    .venv/bin/python bench/serve/kill.py            about half a minute

A killed worker takes the requests with it that it was answering: at most one for each of its connections.
Everything else must be answered, by the other one at once and by its successor soon. Where the service has
a single process, this says so and ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from swap import Stage, Witness, follow, ready, stage

from rehone.store import Store

WORKERS = 2
PATIENCE = 15.0
"""Seconds in which both workers must be there at first."""


def kills(store: Store, times: int) -> None:
    """Kill a worker, wait until there are two again, and say how long that took."""
    for _ in range(times):
        time.sleep(1)
        victim = ready(store)[0].pid
        begun = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        follow(store, WORKERS, without=victim)
        print(f"  worker {victim} killed, two are ready after {time.monotonic() - begun:.2f} s", flush=True)


def under_load(staged: Stage, times: int, connections: int) -> None:
    """Load the service while its workers are killed, and judge what the clients saw.

    Raises:
        SystemExit: more was lost than what a killed worker was answering, or an answer was wrong.
    """
    witness = Witness(staged.expected)
    with staged.load(witness, connections) as load:
        killer = subprocess.Popen([sys.executable, __file__, "--kill", str(staged.store.root), str(times)])
        try:
            seen = load.run(until=lambda: killer.poll() is not None)
        finally:
            killer.kill()
            ended = killer.wait()
    print(
        f"{times} workers killed, {connections} connections: {seen.answers} answers, {witness.wrong} wrong, "
        f"{dict(seen.failed)} lost (at most {times * connections} were under way), "
        f"p50 {seen.latency_ms(50):.2f} ms, p99 {seen.latency_ms(99):.2f} ms"
    )
    if ended or witness.wrong or set(seen.failed) - {"broken"} or seen.failures > times * connections:
        raise SystemExit("more was lost than a killed worker was answering")


def main() -> None:
    """Serve with two workers, kill them in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=Path("bench-run/serve-kill"))
    parser.add_argument("--kill", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.kill:
        kills(Store(Path(asked.kill[0])), int(asked.kill[1]))
        return
    with stage(asked.folder.resolve(), WORKERS) as staged:
        try:
            follow(staged.store, WORKERS, seconds=PATIENCE)
        except SystemExit:
            if len(staged.store.replicas()) != 1:
                raise
            print("the service is a single process: there is no worker to kill beside another")
            return
        under_load(staged, asked.times, asked.connections)


if __name__ == "__main__":
    main()

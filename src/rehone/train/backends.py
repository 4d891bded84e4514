"""Make the trials of a search where the configuration says: in threads here, or through joblib elsewhere."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from rehone.config import Train
from rehone.errors import ClusterAway
from rehone.train.boosted import SPREAD, STREAMED
from rehone.train.clusters import Cluster, Clusters, short
from rehone.train.cores import cpu_limit
from rehone.train.fits import Entrant, Fold, there, trial
from rehone.train.plan import Plan

ATTEMPTS = 3
"""How often fits that were lost with their worker are made before they are given up."""

SILENCE_SECONDS = 3.0
"""Without a finished fit for so long, the cluster is asked whether it is still there."""

Jobs = Mapping[int, tuple[Entrant, int]]
Ended = Callable[[int], None]


def run(
    jobs: Sequence[tuple[Entrant, int]], plan: Plan, policy: Train, clusters: Clusters, ended: Ended
) -> tuple[list[Fold], tuple[str, ...]]:
    """Return the fold of each job, in order, and what is to be said about how they were made.

    `ended` is called by this thread with the number of each job that ended.

    Raises:
        ClusterAway: a cluster cannot be reached, or its workers keep vanishing.
    """
    numbered = dict(enumerate(jobs))
    spread = {n: job for n, job in numbered.items() if job[0].candidate.estimator in SPREAD}
    local = {n: job for n, job in numbered.items() if n not in spread and _stays(job[0], policy)}
    away = {n: job for n, job in numbered.items() if n not in spread and n not in local}
    done: dict[int, Fold] = {}
    said: list[str] = []
    if away:
        cluster: Cluster = clusters.dask() if policy.backend == "dask" else clusters.ray()
        done |= _elsewhere(cluster, away, plan, policy, ended, said)
    if local:
        done |= _in_threads(local, plan, policy, ended)
    for number, (entrant, fold) in spread.items():
        done[number] = trial(plan, entrant, fold, clusters)
        ended(number)
    return [done[number] for number in numbered], (*said, *clusters.notes())


def on_disk(policy: Train) -> bool:
    """Say whether the matrix of a search can stay on disk: some candidate reads it so, and none elsewhere needs it."""
    streamed = [candidate.estimator in STREAMED for candidate in policy.candidates]
    return all(streamed) or (any(streamed) and policy.backend == "threads")


def _stays(entrant: Entrant, policy: Train) -> bool:
    """Say whether a fit is made in this process; pages on disk are this machine's."""
    return policy.backend == "threads" or entrant.candidate.estimator in STREAMED


def _in_threads(jobs: Jobs, plan: Plan, policy: Train, ended: Ended) -> dict[int, Fold]:
    pool = ThreadPoolExecutor(policy.parallel or cpu_limit(), thread_name_prefix="fit")
    try:
        futures: dict[Future[Fold], int] = {
            pool.submit(trial, plan, entrant, fold): number for number, (entrant, fold) in jobs.items()
        }
        for future in as_completed(futures):
            ended(futures[future])
        return {number: future.result() for future, number in futures.items()}
    finally:  # Ctrl-C must not wait for fits that have not begun
        pool.shutdown(wait=True, cancel_futures=True)


# --- on a cluster --------------------------------------------------------------------------------


class _Lost(Exception):
    """Fits were lost with the worker that made them, or with the whole cluster."""


def _elsewhere(
    cluster: Cluster, jobs: Jobs, plan: Plan, policy: Train, ended: Ended, said: list[str]
) -> dict[int, Fold]:
    """Make fits on a cluster; those that are lost with a worker are made again on the others."""
    done: dict[int, Fold] = {}
    said.append(f"{len(jobs)} fits on {cluster.name}, up to {_width(cluster, policy)} at a time")
    for attempt in range(1, ATTEMPTS + 1):
        left = {number: job for number, job in jobs.items() if number not in done}
        try:
            for number, fold in _gathered(cluster, left, plan, policy):
                done[number] = fold
                ended(number)
            break
        except _Lost as lost:
            trouble = cluster.trouble()
            if trouble or attempt == ATTEMPTS:
                raise ClusterAway(_given_up(cluster, trouble or f"{lost}, {ATTEMPTS} times", done, jobs)) from None
            said.append(f"{len(jobs) - len(done)} of them were made again, since {lost}")
    return done


def _width(cluster: Cluster, policy: Train) -> int:
    room = cluster.fits_at_a_time()
    return min(room, policy.parallel or room)


def _given_up(cluster: Cluster, why: str, done: Mapping[int, Fold], jobs: Jobs) -> str:
    left = dict.fromkeys(entrant.title for number, (entrant, _) in jobs.items() if number not in done)
    return (
        f"{why}; {len(done)} of {len(jobs)} fits had ended, not those of {', '.join(left)}: look at the workers' own logs (too little memory is the "
        f"usual cause), give {cluster.name} workers that stay, or set train.backend to threads"
    )


def _gathered(cluster: Cluster, jobs: Jobs, plan: Plan, policy: Train) -> Iterator[tuple[int, Fold]]:
    """Give each fold as it ends; joblib waits in a thread of its own, so that this one can look after the cluster."""
    gatherer = _Gatherer(cluster, jobs, plan, min(len(jobs), _width(cluster, policy)))
    gatherer.start()
    try:
        while True:
            try:
                found = gatherer.found.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                if trouble := cluster.trouble():
                    raise _Lost(trouble) from None
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise _Lost(f"a {cluster.name} worker did not end its fit ({short(found)})") from found
            yield found
    finally:
        gatherer.stop()


class _Gatherer(threading.Thread):
    """Let joblib make fits, and hand each to a queue as it ends: then None, or the error that ended it all."""

    def __init__(self, cluster: Cluster, jobs: Jobs, plan: Plan, width: int) -> None:
        super().__init__(name="gather-fits", daemon=True)
        self.found: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cluster, self._jobs, self._plan, self._width = cluster, jobs, plan, width
        self._parallel: Any = None

    def run(self) -> None:
        import joblib

        try:
            config, plan = self._cluster.configured(self._plan, self._width)
            with config:
                self._parallel = joblib.Parallel(
                    return_as="generator_unordered", batch_size=1, pre_dispatch=self._width, verbose=0
                )
                calls = (joblib.delayed(there)(plan, *job, number) for number, job in self._jobs.items())
                for found in self._parallel(calls):
                    self.found.put(found)
            self.found.put(None)
        except BaseException as error:  # noqa: BLE001  whatever it is, the thread that waits must hear of it
            self.found.put(error)

    def stop(self) -> None:
        """Let joblib give up what has not ended, and wait a little for it."""
        if self._parallel is not None:
            self._parallel.timeout = 0
        self.join(timeout=SILENCE_SECONDS)

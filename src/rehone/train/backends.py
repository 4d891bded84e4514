"""Make the trials of a search where the configuration says: in threads here, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from rehone.config import Train
from rehone.errors import ClusterAway
from rehone.train.away import Cluster, Lost
from rehone.train.boosted import SPREAD, STREAMED
from rehone.train.clusters import Clusters
from rehone.train.cores import cpu_limit
from rehone.train.fits import Entrant, Fold, there, trial
from rehone.train.plan import Plan

ATTEMPTS = 3
"""How often fits that were lost with their worker are made before they are given up."""

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


def _elsewhere(
    cluster: Cluster, jobs: Jobs, plan: Plan, policy: Train, ended: Ended, said: list[str]
) -> dict[int, Fold]:
    """Make fits on a cluster; those that are lost with a worker are made again on the others."""
    done: dict[int, Fold] = {}
    first: Lost | None = None
    said.append(f"{len(jobs)} fits on {cluster.name}, up to {_width(cluster, policy)} at a time")
    for attempt in range(1, ATTEMPTS + 1):
        calls = [(*job, number) for number, job in jobs.items() if number not in done]
        try:
            for number, fold in cluster.made(there, plan, calls, _width(cluster, policy)):
                done[number] = fold
                ended(number)
            break
        except Lost as lost:
            first = first or lost
            trouble = cluster.trouble()
            if trouble or attempt == ATTEMPTS:  # the first names the cause, later ones may be its aftermath
                why = trouble or f"{ATTEMPTS} attempts lost fits, the first since {first}"
                raise ClusterAway(_given_up(cluster, why, done, jobs)) from None
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

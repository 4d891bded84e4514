"""Reach the clusters that fits are made on, or start one here; what was started is stopped again."""

from __future__ import annotations

import contextlib
import importlib
import logging
import queue
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from rehone import artifact
from rehone.config import Train
from rehone.errors import ClusterAway, TrainingError
from rehone.train.away import SILENCE_SECONDS, OnRay, kept_busy, lost_with, short
from rehone.train.cores import cpu_limit

CONNECT_SECONDS = 20
"""How long a scheduler may take to answer at first."""

WORKER_SECONDS = 60
"""How long a cluster may be without any worker before its fits are given up."""

SEND_SECONDS = 600
"""How long the rows may take to reach every worker."""

SPARK = ("local", "spark://", "yarn", "k8s://")
"""How the address of a Spark master begins."""


Kind = TypeVar("Kind", "Dask", "Ray", "Spark")


class Clusters:
    """The clusters of one search; each is reached when it is first asked for."""

    def __init__(self, policy: Train) -> None:
        self._policy = policy
        self._open: dict[type[Any], Any] = {}
        self._shut: dict[type[Any], TrainingError] = {}

    def __enter__(self) -> Clusters:
        return self

    def __exit__(self, *_: object) -> None:
        for cluster in self._open.values():
            cluster.close()
        self._open.clear()

    def dask(self) -> Dask:
        """Return the Dask cluster at `backend_address`, or one of this machine's own."""
        return self._of(Dask)

    def ray(self) -> Ray:
        """Return the Ray cluster at `backend_address`, or one of this machine's own."""
        return self._of(Ray)

    def spark(self) -> Spark:
        """Return the active Spark session, else one of `backend_address`, or one of this machine's own."""
        return self._of(Spark)

    def notes(self) -> tuple[str, ...]:
        """Say what happened to the clusters while they were used."""
        return tuple(note for cluster in self._open.values() for note in cluster.notes())

    def _of(self, kind: type[Kind]) -> Kind:
        if kind in self._shut:
            raise self._shut[kind]
        if kind not in self._open:
            try:
                self._open[kind] = kind(self._address(kind), self._policy.parallel or cpu_limit())
            except TrainingError as error:  # the next fit must not wait for it again
                self._shut[kind] = error
                raise
        found: Kind = self._open[kind]
        return found

    def _address(self, kind: type[Any]) -> str | None:
        """Return the address of the file for the kind of cluster that it is an address of."""
        address = self._policy.backend_address
        if address is None or kind is Ray or (kind is Dask and self._policy.backend == "dask"):
            return address
        if self._policy.backend != "threads":
            return None
        return address if address.startswith(SPARK) is (kind is Spark) else None


class Dask:
    """A Dask cluster, as fits and XGBoost use it."""

    name = "Dask"

    def __init__(self, address: str | None, workers: int) -> None:
        """Connect to the scheduler at an address, or start one with workers of one thread each.

        Raises:
            TrainingError: Dask is not installed, nothing answers, or there is no worker.
        """
        distributed = _imported("distributed", "Dask", "rehone[dask]")
        self._at = address or "this machine"
        self._kept = contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            where = address or opening.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.ERROR,
                )
            )
            try:
                self.client = opening.enter_context(
                    distributed.Client(where, timeout=CONNECT_SECONDS, set_as_default=False)
                )
            except (OSError, ValueError) as error:
                raise ClusterAway(
                    f"no Dask scheduler answers at {self._at} within {CONNECT_SECONDS} s ({short(error)}): start one "
                    "(`dask scheduler`, and `dask worker ADDRESS` on each machine), correct train.backend_address, or "
                    "leave it out for a cluster on this machine"
                ) from error
            try:
                self.client.wait_for_workers(1, timeout=WORKER_SECONDS)
            except TimeoutError as error:
                raise ClusterAway(
                    f"the Dask scheduler at {self._at} has no worker after {WORKER_SECONDS} s: start one "
                    f"(`dask worker {self._at}`)"
                ) from error
            self._unlike = self._compared()
            self._first = {*self.client.nthreads()}
            self._kept = opening.pop_all()

    def close(self) -> None:
        """Leave the cluster; one that was started here is stopped."""
        self._kept.close()

    def fits_at_a_time(self) -> int:
        return max(1, sum(map(int, self.client.nthreads().values())))

    def made(self, fit: Callable[..., Any], plan: Any, calls: Iterable[tuple[Any, ...]], width: int) -> Iterator[Any]:
        going: set[Any] = set()
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def begin(call: tuple[Any, ...]) -> None:
            future = self.client.submit(fit, sent, *call, pure=False)
            going.add(future)
            future.add_done_callback(ended.put)

        def results() -> list[Any]:
            try:
                future = ended.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                return []
            going.remove(future)
            return [future.result(timeout=WORKER_SECONDS)]

        with lost_with(self.name):
            sent = self._sent(plan)
            try:
                yield from kept_busy(calls, width, begin, results, self.trouble)
            finally:
                self.client.cancel([*going])

    def _sent(self, plan: Any) -> Any:
        """Put a plan on every worker; under a key of its own, since one that was lost may yet be given up by its key."""
        send = partial(self.client.scatter, plan, broadcast=True, hash=False, timeout=WORKER_SECONDS, asynchronous=True)
        return self.client.sync(send, callback_timeout=SEND_SECONDS)

    def trouble(self) -> str | None:
        try:
            workers = self.client.nthreads()
            if not workers:
                self.client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            return f"the Dask cluster at {self._at} has had no worker for {WORKER_SECONDS} s"
        except (OSError, RuntimeError) as error:  # the connection was closed, or is closing
            return f"the Dask scheduler at {self._at} does not answer any more ({short(error)})"
        return None

    def notes(self) -> tuple[str, ...]:
        try:
            gone = len(self._first - {*self.client.nthreads()})
        except (OSError, RuntimeError):
            gone = 0
        lost = f"{gone} of {len(self._first)} Dask workers left meanwhile; what they had begun was made elsewhere"
        return (*self._unlike, *([lost] if gone else []))

    def _compared(self) -> tuple[str, ...]:
        """Return what is installed on a worker in another version than here."""
        try:
            there = self.client.run(artifact.installed, on_error="raise")
        except Exception as error:  # whatever the import on a worker raised
            raise TrainingError(
                f"a Dask worker at {self._at} cannot load Rehone ({short(error)}): install on every worker what is "
                "installed here, at best from the same constraints file"
            ) from error
        return _differences(there)


_ALONE = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
"""Keep a cluster of one machine to that machine: whoever reaches its ports may run code."""


class Ray:
    """A Ray cluster, as fits use it."""

    name = "Ray"

    def __init__(self, address: str | None, workers: int) -> None:
        """Connect to the cluster at an address, or start one; a connection that is there already is used.

        Raises:
            TrainingError: Ray is not installed, or nothing answers.
        """
        self._ray = _imported("ray", "Ray", "rehone[ray]")
        self._at = address or "this machine"
        self._own = not self._ray.is_initialized()
        self._paths = () if address else tuple(sys.path)  # Dask hands them on by itself
        if self._own:
            self._connect(address, workers)
        try:
            there = self._ray.get(self._ray.remote(artifact.installed).remote(), timeout=WORKER_SECONDS)
        except Exception as error:
            self.close()
            raise TrainingError(
                f"the Ray cluster at {self._at} cannot run Rehone ({short(error)}): it needs a free CPU, and on every "
                "node what is installed here, at best from the same constraints file"
            ) from error
        self._unlike = _differences({"a node": there})
        self._room = workers if self._own and address is None else self._cpus()

    def close(self) -> None:
        """Leave the cluster; one that was started here is stopped."""
        if self._own:
            self._ray.shutdown()

    def fits_at_a_time(self) -> int:
        return self._room

    def made(self, fit: Callable[..., Any], plan: Any, calls: Iterable[tuple[Any, ...]], width: int) -> Iterator[Any]:
        going: list[Any] = []
        remote = self._ray.remote(num_cpus=1, max_retries=0)(fit)

        def begin(call: tuple[Any, ...]) -> None:
            going.append(remote.remote(sent, *call))

        def results() -> list[Any]:
            ended, going[:] = self._ray.wait(going, timeout=SILENCE_SECONDS)
            return [self._ray.get(ref, timeout=WORKER_SECONDS) for ref in ended]

        with lost_with(self.name):
            sent = OnRay(self._ray.put(plan), self._paths)
            try:
                yield from kept_busy(calls, width, begin, results, self.trouble)
            finally:
                for ref in going:
                    self._ray.cancel(ref, force=True)

    def _cpus(self) -> int:
        found = int(self._ray.cluster_resources().get("CPU", 0))
        if found < 1:
            self.close()
            raise TrainingError(
                f"the Ray cluster at {self._at} has no CPU for a fit: add a node, or set train.backend to threads"
            )
        return found

    def trouble(self) -> str | None:
        try:
            alive = any(node["Alive"] for node in self._ray.nodes())
        except Exception as error:  # noqa: BLE001  Ray raises many kinds when its head is gone; each means the same
            return f"the Ray cluster at {self._at} does not answer any more ({short(error)})"
        return None if alive else f"the Ray cluster at {self._at} has no node any more"

    def notes(self) -> tuple[str, ...]:
        return self._unlike

    def _connect(self, address: str | None, workers: int) -> None:
        own: dict[str, Any] = {} if address else {"num_cpus": workers, **_ALONE}
        try:
            _knock(address)
            self._ray.init(address=address or "local", log_to_driver=False, configure_logging=False, **own)
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterAway(
                f"no Ray cluster answers at {self._at} ({short(error)}): start one (`ray start --head`), correct "
                "train.backend_address, or leave it out for a cluster on this machine"
            ) from error


class Spark:
    """A Spark session, as XGBoost uses it."""

    name = "Spark"

    def __init__(self, address: str | None, workers: int) -> None:
        """Take the active session, or start one at a master's address or on this machine.

        Raises:
            TrainingError: Spark or what it needs is not installed, or no session can be started.
        """
        for module in ("pyspark", "pandas", "pyarrow"):
            _imported(module, f"{module}, which xgboost.spark needs,", module)
        sql = _imported("pyspark.sql", "Spark", "pyspark")
        active = sql.SparkSession.getActiveSession()
        self._own = active is None
        try:
            self.session = active or _spark(sql, address, workers)
        except Exception as error:
            raise TrainingError(
                f"no Spark session can be started at {address or 'this machine'} ({short(error)}): Spark needs Java 17 "
                "or newer (JAVA_HOME); or start a session yourself before the run"
            ) from error
        self.workers = max(1, int(self.session.sparkContext.defaultParallelism))

    def close(self) -> None:
        """Stop a session that was started here."""
        if self._own:
            self.session.stop()

    def notes(self) -> tuple[str, ...]:
        return ()


def _knock(address: str | None) -> None:
    """See whether anything listens at an address; Ray itself would end this process where nothing does.

    Raises:
        OSError: nothing listens there.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def _spark(sql: Any, address: str | None, workers: int) -> Any:
    building = sql.SparkSession.builder.appName("rehone").config("spark.ui.enabled", "false")
    if address is None or address.startswith("local"):
        for key in ("spark.driver.host", "spark.driver.bindAddress"):
            building = building.config(key, "127.0.0.1")
    session = building.master(address or f"local[{workers}]").getOrCreate()
    if address is None or address.startswith("local"):
        session.sparkContext.pythonExec = sys.executable  # else the first python3 of the PATH
    return session


def _imported(module: str, what: str, install: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TrainingError(f"{what} is not installed ({error}): pip install '{install}'") from None


def _differences(there: dict[str, dict[str, str]]) -> tuple[str, ...]:
    """Say where a library of another version than here may give other numbers."""
    here = artifact.installed()
    found = {
        f"{name} {versions.get(name, 'is missing')} on {worker}, {version} here"
        for worker, versions in there.items()
        for name, version in here.items()
        if versions.get(name) != version
    }
    return (f"other versions may score otherwise: {'; '.join(sorted(found))}",) if found else ()

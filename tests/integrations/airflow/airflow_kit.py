"""An Airflow of the tests' own, and the few questions that they ask it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import START, Project
from rehone import api
from rehone.records import RunRecord

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "airflow"
BIN = Path(sys.executable).parent
SLOW = {"candidates": ["gradient_boosting"], "folds": 5}


def day(n: int) -> datetime:
    """Return the midnight that starts day `n`."""
    return datetime.combine(START, datetime.min.time(), UTC) + timedelta(days=n)


def records(project: Project) -> list[RunRecord]:
    """Return the records of a project's runs, oldest first."""
    return list(api.history(project.root))


def command(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Rehone; not in this process, where Airflow is: skops would look through all of its modules."""
    return subprocess.run(
        [BIN / "rehone", *words, "--project", project.root], capture_output=True, text=True, check=False, timeout=120
    )


def settings(home: Path) -> dict[str, str]:
    """Return the environment of an Airflow in a folder of its own, with nothing but our DAG files."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make Airflow's folder and its database, before this process imports Airflow."""
    assert "airflow" not in sys.modules
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(EXAMPLES, home / "dags")
    kept = dict(os.environ)
    os.environ.update(settings(home))
    done = subprocess.run([BIN / "airflow", "db", "migrate"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield home
    os.environ.clear()
    os.environ.update(kept)


@dataclass
class Told:
    """What Airflow keeps of a run of a DAG."""

    state: str
    tasks: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, Any]


def run(dag_id: str, **options: Any) -> Told:
    """Run a DAG file of the dags folder with Airflow's own `dag.test()`, and return what its database says then."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert bag.import_errors == {}
    done = bag.dags[dag_id].test(**{"logical_date": datetime.now(UTC), **options})
    return told(done)


def told(done: Any) -> Told:
    """Read a run of a DAG from Airflow's database."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = done.get_task_instances(session=session)
        values = session.query(XComModel).filter(XComModel.dag_id == done.dag_id, XComModel.run_id == done.run_id)
        name = {_name(ti): ti for ti in found}
        return Told(
            state=str(done.state),
            tasks={key: str(ti.state) for key, ti in name.items()},
            tries={key: ti.try_number for key, ti in name.items()},
            xcoms={f"{_name(x)}.{x.key}": XComModel.deserialize_value(x) for x in values},
        )


def _name(found: Any) -> str:
    return str(found.task_id if found.map_index < 0 else f"{found.task_id}[{found.map_index}]")


def meanwhile(until: Callable[[], bool], then: Callable[[], object]) -> threading.Thread:
    """Do something beside Airflow, once, as soon as it is time."""

    def watch() -> None:
        while not until():
            time.sleep(0.05)
        then()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def children(*words: str | Path) -> dict[int, float]:
    """Return the processes whose command line has all these words, each with the CPU seconds it has used."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if {str(word) for word in words} <= set(line) and stat[0] != "Z":
                found[int(entry.name)] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    return found


def kill_at_work(project: Project, *words: str) -> threading.Thread:
    """Kill -9 the first command of Rehone with these words that is well into its work."""
    killed: list[int] = []

    def busy() -> bool:
        killed[:] = [pid for pid, seconds in children(*words, project.root).items() if seconds > 2.0]
        return bool(killed)

    return meanwhile(busy, lambda: os.kill(killed[0], signal.SIGKILL))


class Standalone:
    """`airflow standalone`: scheduler, workers, DAG processor and API server, on loopback."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        own = {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        }
        self._token = ""
        self.said = home / "standalone.log"
        with open(self.said, "wb") as out:
            self._process = subprocess.Popen(
                [BIN / "airflow", "standalone"],
                env={**os.environ, **settings(home), **own, **env},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End it as Ctrl-C does, and whatever it has left behind."""
        os.kill(self._process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the REST API; what finds its small database locked has done nothing, and is asked again."""
        url = f"http://127.0.0.1:{self.port}{path}"
        head = {"content-type": "application/json", "authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, head, method=method)
        for left in reversed(range(10)):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or not left:
                    raise
            time.sleep(1)
        return None

    def wait_for(self, *dag_ids: str, seconds: float = 300) -> None:
        """Wait until it answers and has read the DAG files."""
        self.until(lambda: self._ready(set(dag_ids)), seconds)

    def _ready(self, dag_ids: set[str]) -> bool:
        try:
            self._token = self.ask("GET", "/auth/token")["access_token"]
            found = {dag["dag_id"] for dag in self.ask("GET", "/api/v2/dags")["dags"]}
        except OSError:
            return False
        return dag_ids <= found

    def start(self, dag_id: str, n: int) -> Callable[[], dict[str, Any]]:
        """Start a run of a DAG as of day `n`, and return what asks how it is getting on."""
        made = self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": day(n).isoformat()})
        path = f"/api/v2/dags/{dag_id}/dagRuns/{made['dag_run_id']}"
        return lambda: {**self.ask("GET", path), "tasks": self.ask("GET", f"{path}/taskInstances")["task_instances"]}

    def ended(self, asked: Callable[[], dict[str, Any]], seconds: float = 400) -> dict[str, Any]:
        """Wait until a run of a DAG has ended, and return it with its tasks."""
        self.until(lambda: asked()["state"] in ("success", "failed"), seconds)
        return asked()

    def until(self, passed: Callable[[], bool], seconds: float = 300) -> None:
        """Wait for something to come true."""
        end = time.monotonic() + seconds
        while not passed():
            assert self._process.poll() is None, self.said.read_text()[-4000:]
            assert time.monotonic() < end, self.said.read_text()[-4000:]
            time.sleep(0.3)

"""Install, start, ask and stop the services that are compared; each is real processes on 127.0.0.1."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import psutil
from load import post
from numpy.typing import NDArray

HERE = Path(__file__).parent
START_SECONDS = 90.0
STOP_SECONDS = 15.0
INSTALL_SECONDS = 1200.0

Rows = Sequence[Mapping[str, float]]


class NotInstalled(Exception):
    """A competitor could not be installed here; the bench says so and goes on."""


class NotStarted(Exception):
    """A service did not answer in time, or its process ended."""


@dataclass(frozen=True, slots=True)
class Where:
    """Folders of the bench: the model of `model.write`, the environments, and what services print."""

    model: Path
    venvs: Path
    logs: Path


@dataclass(frozen=True, slots=True)
class Service:
    """One way to serve the model.

    `command` makes the command line and what it needs beforehand; `body` makes the JSON of a request
    from rows, `scores` reads the probabilities from an answer. `venv` names its requirements file.
    """

    name: str
    title: str
    command: Callable[[Where, int], list[str]]
    body: Callable[[Rows], Any]
    scores: Callable[[Any], list[float]]
    path: str = "/predict"
    venv: str | None = None
    environment: Callable[[Where], dict[str, str]] = lambda _: {}

    def request(self, rows: Rows) -> bytes:
        """Return the bytes of the HTTP request for these rows."""
        return post(self.path, json.dumps(self.body(rows)).encode())


@dataclass(slots=True, eq=False)
class Running:
    """A service that answers, its process tree and port."""

    service: Service
    process: subprocess.Popen[bytes]
    port: int
    tree: list[psutil.Process] = field(default_factory=list)

    def ask(self, rows: Rows) -> NDArray[np.float64]:
        """Return the probabilities of rows, (n,)."""
        body = json.dumps(self.service.body(rows)).encode()
        asked = Request(f"http://127.0.0.1:{self.port}{self.service.path}", body, {"content-type": "application/json"})
        with urlopen(asked, timeout=30) as answer:
            return np.asarray(self.service.scores(json.load(answer)), dtype=np.float64)

    def cpu_seconds(self) -> float:
        """Return user and system time of the process, all its children, and those that have ended."""
        used = 0.0
        for process in _tree(self.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used += times.user + times.system + times.children_user + times.children_system
        return used

    def memory_mb(self) -> float:
        """Return the memory of the process tree, shared pages counted once."""
        total = 0.0
        for process in _tree(self.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss / 2**20
        return total


def _tree(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextlib.contextmanager
def running(service: Service, where: Where, rows: Rows) -> Iterator[Running]:
    """Run a service until the block ends; it has answered these rows before the block begins.

    Raises:
        NotStarted: it has not answered within a minute and a half, or ended; the end of what it said is told.
    """
    port, said = free_port(), where.logs / f"{service.name}.log"
    with said.open("wb") as sink:
        process = subprocess.Popen(
            service.command(where, port),
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **service.environment(where)},
            start_new_session=True,
        )
    found = Running(service, process, port)
    try:
        _answers(found, rows, said)
        yield found
    finally:
        _stop(process)


def _answers(found: Running, rows: Rows, said: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            found.ask(rows)
        except (URLError, OSError, ValueError) as error:
            if found.process.poll() is not None or time.monotonic() > end:
                last = " | ".join(said.read_text(errors="replace").splitlines()[-4:])
                raise NotStarted(f"{found.service.name} does not answer ({error}): {last}") from error
            time.sleep(0.1)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process group that was started here."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            if number == signal.SIGKILL or not _tree(process.pid):
                break


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# --- installing -------------------------------------------------------------------------------


def install(venv: str, where: Where) -> None:
    """Make the environment of one competitor, once for each content of its requirements file.

    FastAPI's sees the project's libraries too, so that only FastAPI differs; the others stand alone.

    Raises:
        NotInstalled: pip ended with an error.
    """
    wanted = HERE / f"requirements-{venv}.txt"
    folder, digest = where.venvs / venv, hashlib.sha256(wanted.read_bytes()).hexdigest()
    done = folder / "installed"
    if done.exists() and done.read_text() == digest:
        return
    said = where.logs / f"install-{venv}.log"
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    if venv == "fastapi":
        (_packages(folder) / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [
        str(folder / "bin/python"),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "-q",
        "-r",
        str(wanted),
    ]
    with said.open("wb") as sink:
        try:
            ended = subprocess.run(command, stdout=sink, stderr=subprocess.STDOUT, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise NotInstalled(f"pip took more than {INSTALL_SECONDS:g} s for {wanted.name}") from None
    if ended.returncode:
        last = " | ".join(said.read_text(errors="replace").splitlines()[-2:])
        raise NotInstalled(f"pip ended with {ended.returncode} for {wanted.name}: {last}")
    done.write_text(digest)


def _packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


# --- the services -----------------------------------------------------------------------------


def _rows(rows: Rows) -> Any:
    return {"rows": list(rows)}


def _predictions(answer: Any) -> list[float]:
    return [p["probability"] for p in answer["predictions"]]


def rehone(project: str) -> Callable[[Where, int], list[str]]:
    """Return the command of `rehone serve` for a project in the folder of models."""

    def command(where: Where, port: int) -> list[str]:
        return [_beside("rehone"), "serve", "--project", str(where.model / project), "--port", str(port)]

    return command


def _beside(tool: str) -> str:
    return str(Path(sys.executable).parent / tool)


def _uvicorn(python: str, app: str, port: int) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    return [python, "-m", "uvicorn", "--app-dir", str(HERE), app, *options]


def _tutorial(where: Where, port: int) -> list[str]:
    return _uvicorn(str(where.venvs / "fastapi/bin/python"), "tutorial_service:app", port)


def _bare(_where: Where, port: int) -> list[str]:
    return [*_uvicorn(sys.executable, "bare:app", port), "--loop", "uvloop", "--http", "httptools"]


def _mlflow(where: Where, port: int) -> list[str]:
    bin_, out = where.venvs / "mlflow/bin", where.model / "mlflow"
    if not out.exists():
        given = [str(where.model / "frame.joblib"), str(where.model / "features.json"), str(out)]
        subprocess.run([str(bin_ / "python"), str(HERE / "mlflow_service.py"), *given], check=True, env=_quiet(where))
    options = ["--env-manager", "local", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    return [str(bin_ / "mlflow"), "models", "serve", "--model-uri", str(out), *options]


def _quiet(where: Where) -> dict[str, str]:
    """Put mlflow's tools on the path, which it starts by name, and its database where the bench works."""
    path = f"{where.venvs / 'mlflow/bin'}:{os.environ.get('PATH', '')}"
    uri = f"sqlite:///{where.model / 'mlflow.db'}"
    return {**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": uri}


def _mlserver(where: Where, port: int) -> list[str]:
    out = where.model / "mlserver"
    ports = [str(p) for p in (port, free_port(), free_port())]
    given = [str(where.model / "matrix.joblib"), str(out), *ports]
    subprocess.run([sys.executable, str(HERE / "mlserver_service.py"), *given], check=True)
    return [str(where.venvs / "mlserver/bin/mlserver"), "start", str(out)]


def _tensor(rows: Rows) -> Any:
    data = [value for row in rows for value in row.values()]
    shape = [len(rows), len(data) // len(rows)]
    return {"inputs": [{"name": "rows", "shape": shape, "datatype": "FP64", "data": data}]}


SERVICES = (
    Service("rehone", "Rehone, log off", rehone("rehone"), _rows, _predictions),
    Service("rehone-log", "Rehone, prediction log on", rehone("rehone-log"), _rows, _predictions),
    Service(
        "bare", "bare ASGI, per request", _bare, _rows, _predictions,
        environment=lambda w: {"MODEL": str(w.model / "matrix.joblib"), "FEATURES": str(w.model / "features.json")},
    ),
    Service(
        "tutorial", "FastAPI, the tutorial way", _tutorial, _rows, _predictions, venv="fastapi",
        environment=lambda w: {"MODEL": str(w.model / "frame.joblib")},
    ),
    Service(
        "mlserver", "MLServer, sklearn runtime", _mlserver, _tensor,
        lambda answer: answer["outputs"][0]["data"][1::2], "/v2/models/bench/infer", "mlserver",
    ),
    Service(
        "mlflow", "mlflow models serve", _mlflow, lambda rows: {"dataframe_records": list(rows)},
        lambda answer: [p[1] for p in answer["predictions"]], "/invocations", "mlflow", environment=_quiet,
    ),
)  # fmt: skip
QUICK = ("rehone", "rehone-log", "bare", "tutorial")

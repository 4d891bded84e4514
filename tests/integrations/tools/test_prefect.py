"""Prefect runs projects for real: its own server, its own states, its own artifacts."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import State

from conftest import START, Project
from rehone.integrations.prefect import NotDeployed, deployment, fleet_flow, retraining_flow
from rehone.records import DeploymentState, RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store

CRON_FIRES_WITHIN = 150.0


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose first champion went live on day 70."""
    made = Project(tmp_path_factory.mktemp("first"))
    made.configure()
    made.feed(0, 70)
    assert made.run(70).status is RunStatus.DEPLOYED
    return made


@pytest.fixture
def live(first: Project, tmp_path: Path) -> Project:
    """Return a copy of it."""
    shutil.copytree(first.root, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Project(tmp_path)


class Server:
    """A Prefect server as a user starts it, with its log in a file."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.log = folder / "server.log"
        self.url = f"http://127.0.0.1:{port}/api"
        self.environment = os.environ | {
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_RUNNER_POLL_FREQUENCY": "2",
            "DO_NOT_TRACK": "true",
            "NO_COLOR": "1",
        }
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    def wait(self, seconds: float) -> None:
        until(seconds, self.healthy, self.log.read_text)

    def healthy(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        end(self.process)


def until(seconds: float, reached: Callable[[], Any], said: Callable[[], object] = lambda: "") -> Any:
    """Wait until something is true, and return it."""
    limit = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < limit, f"not within {seconds} s; {said()}"
        time.sleep(0.2)
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that is up; at the end nothing in its log may have gone wrong."""
    folder = tmp_path_factory.mktemp("prefect")
    made = Server(folder)
    try:
        made.wait(180)
        with temporary_settings({PREFECT_API_URL: made.url, PREFECT_HOME: folder / "home"}):
            yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log.read_text()


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as made:
        yield made


@pytest.fixture(scope="session")
def served(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, subprocess.Popen[bytes]]]:
    """Return a project that `rehone schedule prefect --cron` serves every minute while the other tests run."""
    made = Project(tmp_path_factory.mktemp("every-minute"))
    made.configure(project={"name": "every minute"})
    command = [sys.executable, "-m", "rehone", "schedule", "prefect"]
    with (made.root / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--cron", "* * * * *", "--project", str(made.root), "--retries", "0"],
            stdout=log,
            stderr=log,
            env=server.environment,
            start_new_session=True,
        )
    try:
        yield made, process
    finally:
        end(process)


@pytest.fixture(autouse=True)
def _meanwhile(served: object) -> None:
    """Let the schedule run beside every test."""


def day(n: int) -> str:
    return str(START + timedelta(days=n))


def flow(project: Project, n: int, **options: Any) -> State[Any]:
    return retraining_flow(str(project.root), as_of=day(n), **options, return_state=True)


def newest(client: SyncPrefectClient) -> FlowRun:
    (found,) = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
    return found


def of(client: SyncPrefectClient, state: State[Any]) -> FlowRun:
    assert state.state_details.flow_run_id is not None
    return client.read_flow_run(state.state_details.flow_run_id)


def tasks(client: SyncPrefectClient, run: FlowRun) -> list[TaskRun]:
    chosen = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]))

    def written() -> list[TaskRun]:
        found = client.read_task_runs(task_run_filter=chosen)
        return found if found and all(t.state and t.state.is_final() for t in found) else []

    found: list[TaskRun] = until(60, written)  # the server hears of tasks as events, a moment later
    return found


def artifacts(client: SyncPrefectClient, run: FlowRun) -> dict[str, list[Any]]:
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    kept: dict[str, list[Any]] = {}
    for artifact in client.read_artifacts(artifact_filter=chosen):
        kept.setdefault(artifact.type or "", []).append(artifact)
    return kept


def last(project: Project) -> RunRecord:
    found = RunLog(project.root / "runs").last()
    assert found is not None
    return found


def test_a_deployed_run_ends_completed_and_its_record_is_an_artifact(
    client: SyncPrefectClient, project: Project
) -> None:
    """The state is Completed, its message the sentence; stages and checks are a table, the record is a link."""
    project.feed(0, 70)
    run = of(client, flow(project, 70))
    record = last(project)
    assert record.status is RunStatus.DEPLOYED
    assert run.state is not None
    assert (run.state.name, run.state.message) == ("Completed", f"deployed: {record.sentence}")
    assert run.name == f"{project.root.name} {day(70)}"
    (table,), (link,) = (artifacts(client, run)[kind] for kind in ("table", "markdown"))
    rows = json.loads(table.data)
    assert [row["name"] for row in rows if row["part"] == "stage"] == [stage.name for stage in record.stages]
    assert record.verdict is not None
    assert {row["name"]: row["status"] for row in rows if row["part"] == "gate"} == {
        check.label: check.status.value for check in record.verdict.checks
    }
    (gate,) = (row for row in rows if row["name"] == "min_roc_auc")
    assert float(gate["value"]) >= float(gate["limit"]) == 0.7
    assert (table.key, link.key) == ("story-run", "story-record")
    (file,) = project.root.glob(f"runs/*/*/{record.run_id}.json")
    assert file.as_uri() in link.data


def test_a_quiet_day_ends_completed(client: SyncPrefectClient, live: Project) -> None:
    """Nothing to do is no failure: Completed, and the message says why nothing was trained."""
    live.feed(70, 72)
    run = of(client, flow(live, 72))
    assert last(live).status is RunStatus.SKIPPED
    assert run.state is not None
    assert (run.state.name, run.state.message) == ("Completed", f"skipped: {last(live).sentence}")


def test_a_rejected_run_ends_failed_and_is_not_tried_again(client: SyncPrefectClient, project: Project) -> None:
    """A verdict is final: Failed with the gate's sentence, one try although five were allowed."""
    project.configure(gate={"min_roc_auc": 0.99})
    project.feed(0, 70)
    run = of(client, flow(project, 70, retries=5, retry_delay_seconds=0))
    assert run.state is not None
    assert (run.state.name, run.state.message) == ("Failed", f"rejected: {last(project).sentence}")
    assert "0.99" in last(project).sentence
    assert [task.run_count for task in tasks(client, run)] == [1]
    assert len(RunLog(project.root / "runs").records()) == 1
    with pytest.raises(NotDeployed, match=r"rejected: .*0\.99"):
        retraining_flow(str(project.root), as_of=day(70), retries=0)


def test_a_transient_failure_is_tried_again(client: SyncPrefectClient, project: Project) -> None:
    """The data come back between two tries: the first fails, the second deploys, the flow is Completed."""
    project.feed(0, 70)
    data, away = project.root / "data", project.root / "away"
    data.rename(away)

    def put_back() -> None:
        failed = until(120, lambda: [r for r in RunLog(project.root / "runs").records() if r.status])
        assert failed[0].status is RunStatus.FAILED
        away.rename(data)

    helper = threading.Thread(target=put_back)
    helper.start()
    run = of(client, flow(project, 70, retries=2, retry_delay_seconds=2))
    helper.join()
    assert [record.status for record in RunLog(project.root / "runs").records()] == [
        RunStatus.FAILED,
        RunStatus.DEPLOYED,
    ]
    assert run.state is not None
    assert run.state.name == "Completed"
    assert [task.run_count for task in tasks(client, run)] == [2]
    assert len(artifacts(client, run)["table"]) == 2


def test_what_a_person_must_change_first_is_not_tried_again(client: SyncPrefectClient, project: Project) -> None:
    """A broken rehone.toml ends Failed with every problem, after one try."""
    (project.root / "rehone.toml").write_text("[train]\nfolds = 1\n")
    run = of(client, flow(project, 70, retries=5, retry_delay_seconds=0))
    assert run.state is not None
    assert run.state.name == "Failed"
    assert "folds" in str(run.state.message)
    assert [task.run_count for task in tasks(client, run)] == [1]


def test_a_run_that_finds_another_one_under_way_is_skipped(client: SyncPrefectClient, live: Project) -> None:
    """Also beside cron, or a run by hand, no two runs overlap: the run lock is Rehone's own."""
    with Store(live.root / "store").lock("by hand"):
        run = of(client, flow(live, 70, force=True))
    assert run.state is not None
    assert (run.state.name, run.state.message) == ("Completed", f"skipped: {last(live).sentence}")
    assert "under way" in last(live).sentence


def test_two_due_runs_of_a_deployment_do_not_overlap(client: SyncPrefectClient, server: Server, live: Project) -> None:
    """Prefect itself cancels the run that is due while another one is under way; one challenger is judged."""
    with serving(live, server) as name:
        pair = [
            client.create_flow_run_from_deployment(name, parameters={"as_of": day(70), "force": True}) for _ in "ab"
        ]
        ended = [ending(client, run) for run in pair]
    assert [state.is_cancelled() for state in ended].count(True) == 1
    assert len(RunLog(live.root / "runs").records()) == 2  # the first deployment, and one of the two


@contextmanager
def an_old_service(version: str | None) -> Iterator[str]:
    """Answer for ever that the old version is served."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"model_loaded": True, "version": version}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}/"
        made.shutdown()


def test_a_run_that_is_cancelled_on_trial_puts_the_champion_back_and_closes_its_record(
    client: SyncPrefectClient, server: Server, live: Project
) -> None:
    """Cancelled while it waits for the service, the run undoes its deployment, and Prefect shows Cancelled."""
    store = Store(live.root / "store")
    before = store.head()
    assert before is not None
    live.feed(70, 118)
    with an_old_service(before.version) as url, serving(live, server) as name:
        live.configure(deploy={"health_url": url, "trial_seconds": 120}, gate={"margin_cost": 0.5})
        run = client.create_flow_run_from_deployment(name, parameters={"as_of": day(118), "force": True})
        until(240, lambda: store.log()[-1].state is DeploymentState.TRIAL)
        client.set_flow_run_state(run.id, State(type="CANCELLING"))
        assert ending(client, run).is_cancelled()
    record = last(live)
    assert record.status is RunStatus.FAILED
    assert record.sentence.startswith("interrupted (SystemExit)")
    head = store.head()
    assert head is not None
    assert head.version == before.version


def test_a_run_whose_machine_died_does_not_hold_the_schedule_for_ever(
    client: SyncPrefectClient, server: Server, live: Project
) -> None:
    """Prefect takes it for running and cancels whatever is due, until the schedule is served again."""
    store = Store(live.root / "store")
    before = store.head()
    assert before is not None
    live.feed(70, 118)
    with an_old_service(before.version) as url:
        live.configure(deploy={"health_url": url, "trial_seconds": 120}, gate={"margin_cost": 0.5})
        service = serving(live, server)
        with service as name:
            dead = client.create_flow_run_from_deployment(name, parameters={"as_of": day(118), "force": True})
            until(240, lambda: store.log()[-1].state is DeploymentState.TRIAL)
            service.power_cut()
    assert client.read_flow_run(dead.id).state.is_running()
    live.configure()
    with serving(live, server) as name:
        state = ending(client, dead)
        after = client.create_flow_run_from_deployment(name, parameters={"as_of": day(72)})
        assert ending(client, after).is_completed()
    assert (state.name, state.message) == ("Crashed", "its process is gone, and its projects are at rest")
    assert [r.status for r in RunLog(live.root / "runs").records()][1:] == [RunStatus.FAILED, RunStatus.SKIPPED]


def test_one_bad_project_of_a_fleet_does_not_stop_the_others(client: SyncPrefectClient, tmp_path: Path) -> None:
    """Three projects, two at a time: two deploy, the flow ends Failed and names the third; each task has its name."""
    projects = [Project(tmp_path / name) for name in ("good", "empty", "fine")]
    for made in projects:
        made.root.mkdir()
        made.configure(project={"name": made.root.name})
        if made.root.name != "empty":
            made.feed(0, 70)
    state = fleet_flow([str(p.root) for p in projects], as_of=day(70), retries=0, return_state=True)
    run = of(client, state)
    assert run.state is not None
    assert run.state.name == "Failed"
    assert str(run.state.message).startswith(
        f"1 of 3 projects need a look: {projects[1].root}/rehone.toml: failed: no Parquet"
    )
    assert [last(p).status for p in projects] == [RunStatus.DEPLOYED, RunStatus.FAILED, RunStatus.DEPLOYED]
    (fleet,) = (a for a in artifacts(client, run)["table"] if a.key == "fleet")
    assert [row["state"] for row in json.loads(fleet.data)] == ["completed", "failed", "completed"]
    assert {t.name for t in tasks(client, run)} == {"retrain good", "retrain empty", "retrain fine"}
    assert run.name == f"fleet {day(70)}"


def test_a_run_of_the_cron_schedule_appears_and_really_runs(
    client: SyncPrefectClient, served: tuple[Project, subprocess.Popen[bytes]]
) -> None:
    """Nobody asks for it: the server makes the run when the minute turns, the runner makes it, the record is there."""
    project, process = served
    log = project.root / "serve.log"

    def ran() -> list[FlowRun]:
        assert process.poll() is None, log.read_text()
        found = client.read_deployment_by_name("retraining/every minute")
        return [r for r in client.read_flow_runs() if r.deployment_id == found.id and r.state and r.state.is_final()]

    run = until(CRON_FIRES_WITHIN, ran, log.read_text)[-1]
    assert run.auto_scheduled
    assert run.state.is_failed()
    assert run.state.message == f"failed: {last(project).sentence}"
    assert "no Parquet" in last(project).sentence
    end(process)
    paused = client.read_deployment_by_name("retraining/every minute")
    assert paused.paused


class serving:  # noqa: N801 - read as a verb: with serving(project, server)
    """Serve a deployment without a schedule, and give its id."""

    def __init__(self, project: Project, server: Server) -> None:
        self._project, self._server = project, server

    def __enter__(self) -> Any:
        code = "import sys; from rehone.integrations.prefect import serve; serve(sys.argv[1:2], name=sys.argv[2])"
        with (self._project.root / "serve.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, str(self._project.root), self._project.root.name],
                stdout=log,
                stderr=log,
                env=self._server.environment,
                start_new_session=True,
            )
        return deployment([str(self._project.root)], name=self._project.root.name).apply()

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def power_cut(self) -> None:
        """Kill it and all that it has started, and what that has started, without a word."""
        parents = {int(p.name): _parent(p) for p in Path("/proc").iterdir() if p.name.isdigit()}
        doomed = {self._process.pid}
        while more := {pid for pid, parent in parents.items() if parent in doomed} - doomed:
            doomed |= more
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def ending(client: SyncPrefectClient, run: FlowRun) -> State[Any]:
    def final() -> State[Any] | None:
        state = client.read_flow_run(run.id).state
        return state if state and state.is_final() else None

    found: State[Any] = until(240, final)
    return found

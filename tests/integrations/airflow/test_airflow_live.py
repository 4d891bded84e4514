"""The real Airflow: its scheduler, its workers and its REST API make the runs that the DAG files ask for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow_kit import EXAMPLES, SLOW, Standalone, children, day, kill_at_work, records

from conftest import Project
from rehone.records import RunStatus

DAGS = """
from datetime import datetime

from airflow.sdk import Asset

from rehone.integrations.airflow import LOGICAL_DATE, retraining_dag, staged_retraining_dag

plain = retraining_dag(
    "{root}/plain",
    dag_id="plain",
    schedule="0 0 * * *",
    as_of=LOGICAL_DATE,
    end_date=datetime(2026, 3, 31),
    default_args={{"outlets": [Asset("rehone://plain/deployed")]}},
)
stopped = retraining_dag("{root}/stopped", dag_id="stopped", schedule=None, as_of=LOGICAL_DATE)
staged = staged_retraining_dag("{root}/staged", dag_id="staged", schedule=None, as_of=LOGICAL_DATE)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of projects: three of their own, and a fleet of four of which one is bad."""
    root = tmp_path_factory.mktemp("models")
    model = Project(root / "plain")
    model.root.mkdir()
    model.configure()
    model.feed(0, 73)
    for name in ("stopped", "staged", "fleet/a", "fleet/b", "fleet/c", "fleet/d"):
        shutil.copytree(model.root, root / name)
    for name in ("stopped", "staged"):
        Project(root / name).configure(train=SLOW)
    (root / "fleet" / "b" / "rehone.toml").write_text("no toml")
    return root


@pytest.fixture(scope="module")
def live(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """Return an Airflow that has read the files."""
    home = tmp_path_factory.mktemp("standalone")
    (home / "dags").mkdir()
    shutil.copy(EXAMPLES / "fleet.py", home / "dags")
    (home / "dags" / "models.py").write_text(DAGS.format(root=root))
    airflow = Standalone(home, {"REHONE_FLEET": f"{root}/fleet/*"})
    try:
        airflow.wait_for("plain", "stopped", "staged", "rehone_fleet")
        yield airflow
    finally:
        airflow.stop()


def states(run: dict[str, Any]) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in run["tasks"]}


def test_a_stage_killed_on_its_worker_is_made_again_and_the_same_run_deploys(live: Standalone, root: Path) -> None:
    staged = Project(root / "staged")
    killed = kill_at_work(staged, "stage", "train")
    run = live.ended(live.start("staged", 70))
    killed.join(1)
    assert not killed.is_alive()
    [record] = records(staged)
    assert record.status is RunStatus.DEPLOYED
    assert run["state"] == "success"
    assert set(states(run).values()) == {"success"}
    assert {task["task_id"]: task["try_number"] for task in run["tasks"]}["train"] == 2


def test_a_task_that_is_ended_in_airflow_ends_its_run_and_closes_the_record(live: Standalone, root: Path) -> None:
    stopped = Project(root / "stopped")
    asked = live.start("stopped", 70)
    live.until(lambda: any(seconds > 2.0 for seconds in children("run", stopped.root).values()))
    run = asked()
    path = f"/api/v2/dags/stopped/dagRuns/{run['dag_run_id']}/taskInstances/retrain"
    live.ask("PATCH", path, {"new_state": "failed"})
    live.until(lambda: not children("run", stopped.root))
    [record] = records(stopped)
    assert record.status is RunStatus.FAILED
    assert record.problem is not None
    assert record.problem.type == "Terminated"
    assert live.ended(asked)["state"] == "failed"


def test_a_fleet_runs_so_many_at_once_and_one_bad_project_stops_no_other(live: Standalone, root: Path) -> None:
    run = live.ended(live.start("rehone_fleet", 70))
    mapped = {task["rendered_map_index"]: task for task in run["tasks"] if task["task_id"] == "retrain"}
    assert {Path(name).name: task["state"] for name, task in mapped.items()} == {
        "a": "success",
        "b": "failed",
        "c": "success",
        "d": "success",
    }
    assert run["state"] == "failed"
    spans = [(datetime.fromisoformat(t["start_date"]), datetime.fromisoformat(t["end_date"])) for t in mapped.values()]
    assert max(sum(start <= at < end for start, end in spans) for at, _ in spans) == 2


def test_a_backfill_replays_days_one_after_the_other(live: Standalone, root: Path) -> None:
    plain = Project(root / "plain")
    body = {"dag_id": "plain", "from_date": day(70).isoformat(), "to_date": day(72).isoformat(), "max_active_runs": 1}
    made = live.ask("POST", "/api/v2/backfills", body)
    live.until(lambda: bool(live.ask("GET", f"/api/v2/backfills/{made['id']}")["completed_at"]))
    assert [r.as_of for r in records(plain)] == [day(70), day(71), day(72)]
    assert [r.status for r in records(plain)] == [RunStatus.DEPLOYED, RunStatus.SKIPPED, RunStatus.SKIPPED]
    runs = live.ask("GET", "/api/v2/dags/plain/dagRuns")["dag_runs"]
    assert [(r["run_type"], r["state"]) for r in runs] == [("backfill", "success")] * 3
    told = live.ask("GET", "/api/v2/assets/events")["asset_events"]
    assert len(told) == 1  # of the run that deployed, not of those that were skipped


def test_the_file_that_airflow_shows_is_the_one_that_the_user_wrote(live: Standalone) -> None:
    assert Path(live.ask("GET", "/api/v2/dags/plain")["fileloc"]).name == "models.py"

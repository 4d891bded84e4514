"""Airflow makes runs: the state of a task tells how the run ended."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow_kit import (  # noqa: F401 - with the fixture
    BIN,
    ROOT,
    SLOW,
    Told,
    airflow_home,
    children,
    command,
    day,
    kill_at_work,
    meanwhile,
    records,
    run,
)

import rehone
from conftest import Project
from rehone.records import RunStatus
from rehone.store import Store

pytestmark = [
    pytest.mark.usefixtures("airflow_home"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
]
STAGES = ["check", "validate", "train", "judge", "deploy"]


@pytest.fixture
def asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return the project that the DAG files of the examples retrain."""
    monkeypatch.setenv("REHONE_PROJECT", str(project.root))
    project.feed(0, 70)
    return project


@pytest.fixture
def champion(asked: Project) -> Project:
    """Return that project with a first champion, deployed on day 70."""
    done = command(asked, "run", "--as-of", f"{day(70):%Y-%m-%d}")
    assert done.returncode == 0, done.stdout + done.stderr
    return asked


# --- the whole run in one task -------------------------------------------------------------------


def test_a_run_that_deploys_is_a_success_and_hands_on_its_id_and_nothing_else(asked: Project) -> None:
    told = run("rehone", logical_date=day(70))
    [record] = records(asked)
    assert record.status is RunStatus.DEPLOYED
    assert record.as_of == day(70)
    assert told == Told("success", {"retrain": "success"}, {"retrain": 1}, {"retrain.return_value": record.run_id})


def test_a_run_with_nothing_to_do_is_skipped_and_its_dag_run_a_success(champion: Project) -> None:
    champion.feed(70, 85)
    told = run("rehone", logical_date=day(85))
    record = records(champion)[-1]
    assert record.status is RunStatus.SKIPPED
    assert told == Told("success", {"retrain": "skipped"}, {"retrain": 1}, {"retrain.return_value": record.run_id})


def test_a_rejected_challenger_fails_its_task_at_once_with_the_reason(
    asked: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.configure(gate={"min_roc_auc": 0.99})
    told = run("rehone", logical_date=day(70))
    [record] = records(asked)
    assert record.status is RunStatus.REJECTED
    assert told == Told("failed", {"retrain": "failed"}, {"retrain": 1}, {"retrain.return_value": record.run_id})
    assert f"AirflowFailException: rejected: {record.sentence} (run {record.run_id})" in capfd.readouterr().out


def test_a_fault_that_passes_is_tried_again_and_then_deploys(asked: Project) -> None:
    data, away = asked.root / "data", asked.root / "away"
    data.rename(away)
    back = meanwhile(lambda: any(r.status is RunStatus.FAILED for r in records(asked)), lambda: away.rename(data))
    told = run("rehone", logical_date=day(70))
    back.join()
    first, second = records(asked)
    assert first.problem is not None
    assert (first.status, first.problem.type) == (RunStatus.FAILED, "DataError")
    assert second.status is RunStatus.DEPLOYED
    assert told == Told("success", {"retrain": "success"}, {"retrain": 2}, {"retrain.return_value": second.run_id})


def test_a_configuration_that_cannot_be_used_is_not_tried_again(
    asked: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    (asked.root / "rehone.toml").write_text("[data]\nsauce = 1\n")
    told = run("rehone", logical_date=day(70))
    assert told == Told("failed", {"retrain": "failed"}, {"retrain": 1}, {})
    assert "data.sauce" in capfd.readouterr().out


def test_a_try_that_finds_an_earlier_one_still_under_way_is_tried_again_and_not_skipped(asked: Project) -> None:
    data, away = asked.root / "data", asked.root / "away"
    data.rename(away)
    held = contextlib.ExitStack()

    def hold() -> None:
        away.rename(data)
        held.enter_context(Store(asked.root / "store").lock("an earlier try"))

    back = meanwhile(lambda: any(r.status is RunStatus.FAILED for r in records(asked)), hold)
    free = meanwhile(lambda: any(r.status is RunStatus.SKIPPED for r in records(asked)), held.close)
    told = run("rehone", logical_date=day(70))
    back.join()
    free.join()
    assert [r.status for r in records(asked)] == [RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.DEPLOYED]
    assert (told.state, told.tries) == ("success", {"retrain": 3})


def test_rehone_may_live_in_another_environment(asked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    python = asked.root / "python"
    python.write_text(f'#!/bin/sh\necho "$4 $5" >> {asked.root}/asked\nexec {ROOT / ".venv" / "bin" / "python"} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("REHONE_PYTHON", str(python))
    assert run("rehone", logical_date=day(70)).state == "success"
    assert (asked.root / "asked").read_text() == "run --as-of\n"
    assert [r.status for r in records(asked)] == [RunStatus.DEPLOYED]


def test_a_run_does_not_outlive_a_worker_that_is_killed(asked: Project) -> None:
    asked.configure(train=SLOW)
    code = (
        "from rehone.integrations.airflow.child import Child\n"
        f"Child(['run', '--project', {str(asked.root)!r}, '--as-of', '{day(70):%Y-%m-%d}', '--json']).answer(print)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    meanwhile(lambda: any(used > 2.0 for used in children("run", asked.root).values()), worker.kill).join(60)
    assert worker.wait(10) == -signal.SIGKILL
    meanwhile(lambda: not children("run", asked.root), lambda: None).join(60)
    [record] = records(asked)
    assert record.problem is not None
    assert (record.status, record.problem.type) == (RunStatus.FAILED, "Terminated")


# --- a task for each stage -----------------------------------------------------------------------


def test_stages_that_deploy_are_one_run_with_one_record(asked: Project) -> None:
    told = run("rehone_staged", logical_date=day(70))
    [record] = records(asked)
    assert (record.status, record.as_of) == (RunStatus.DEPLOYED, day(70))
    assert told.state == "success"
    assert told.tasks == dict.fromkeys([*STAGES, "close"], "success")
    assert told.xcoms == {f"{name}.return_value": record.run_id for name in [*STAGES, "close"]}


def test_a_check_that_finds_nothing_to_do_skips_the_stages_after_it_and_fails_nothing(champion: Project) -> None:
    champion.feed(70, 85)
    told = run("rehone_staged", logical_date=day(85))
    assert records(champion)[-1].status is RunStatus.SKIPPED
    assert told.state == "success"
    assert told.tasks == {**dict.fromkeys(STAGES, "skipped"), "close": "success"}


def test_a_rejection_fails_the_run_of_the_dag_though_its_leaf_always_runs(asked: Project) -> None:
    asked.configure(gate={"min_roc_auc": 0.99})
    told = run("rehone_staged", logical_date=day(70))
    [record] = records(asked)
    assert record.status is RunStatus.REJECTED
    assert told.state == "failed"
    assert told.tasks == {
        **dict.fromkeys(["check", "validate", "train"], "success"),
        "judge": "failed",
        "deploy": "upstream_failed",
        "close": "failed",
    }
    assert (told.tries["judge"], told.tries["close"]) == (1, 1)


def test_a_killed_stage_is_made_again_and_the_same_run_deploys(asked: Project) -> None:
    asked.configure(train=SLOW)
    killed = kill_at_work(asked, "stage", "train")
    told = run("rehone_staged", logical_date=day(70))
    killed.join()
    [record] = records(asked)
    assert record.status is RunStatus.DEPLOYED
    assert told.state == "success"
    assert told.tries == {**dict.fromkeys([*STAGES, "close"], 1), "train": 2}


def test_a_worker_that_dies_after_its_check_loses_no_run(
    asked: Project, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The run has begun and rests, but Airflow never heard its id: the second try goes on with it."""
    room = tmp_path_factory.mktemp("room")
    (room / "sitecustomize.py").write_text(DUMB.format(once=str(room / "once")))
    monkeypatch.setenv("PYTHONPATH", str(room))
    told = run("rehone_staged", logical_date=day(70))
    [record] = records(asked)
    assert record.status is RunStatus.DEPLOYED
    assert told.state == "success"
    assert told.tries == {**dict.fromkeys([*STAGES, "close"], 1), "check": 2}


DUMB = """
import os, pathlib, sys
if any("rehone.cli" in word for word in sys.orig_argv):
    from rehone.pipeline import staged
    check, once = staged.check, pathlib.Path({once!r})
    def dies(config, door):
        end = check(config, door)
        if not once.exists():
            once.touch()
            os._exit(137)
        return end
    import rehone.pipeline
    rehone.pipeline.check = dies
"""
"""Makes a process that has begun a run die, the first time, before it can say so."""


def test_a_stage_that_cannot_go_on_ends_the_run_so_that_the_next_is_not_held_up(asked: Project) -> None:
    data, away = asked.root / "data", asked.root / "away"
    gone = meanwhile(lambda: any(r.staged_until is not None for r in records(asked)), lambda: data.rename(away))
    told = run("rehone_staged", logical_date=day(70))
    gone.join()
    [record] = records(asked)
    assert record.status is RunStatus.FAILED
    assert told.state == "failed"
    assert (told.tasks["validate"], told.tasks["train"], told.tasks["close"]) == ("failed", "upstream_failed", "failed")
    assert (told.tries["validate"], told.tries["close"]) == (3, 1)
    away.rename(data)
    done = command(asked, "run", "--as-of", f"{day(70):%Y-%m-%d}")
    assert records(asked)[-1].status is RunStatus.DEPLOYED, done.stdout


def test_a_check_that_fails_on_what_may_pass_begins_another_run(asked: Project) -> None:
    data, away = asked.root / "data", asked.root / "away"
    data.rename(away)
    back = meanwhile(lambda: any(r.status is RunStatus.FAILED for r in records(asked)), lambda: away.rename(data))
    told = run("rehone_staged", logical_date=day(70))
    back.join()
    assert [r.status for r in records(asked)] == [RunStatus.FAILED, RunStatus.DEPLOYED]
    assert told.state == "success"
    assert told.tries["check"] == 2
    assert set(told.xcoms.values()) == {records(asked)[-1].run_id}


# --- a fleet -------------------------------------------------------------------------------------


def test_one_bad_project_of_a_fleet_stops_no_other(asked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = asked.root.parent / f"{asked.root.name}-fleet"
    for name in ("a", "b", "c"):
        shutil.copytree(asked.root, fleet / name)
    (fleet / "b" / "rehone.toml").write_text("no toml")
    (fleet / "notes").mkdir()
    monkeypatch.setenv("REHONE_FLEET", f"{fleet}/*")
    told = run("rehone_fleet", logical_date=day(70))
    assert told.state == "failed"
    assert told.tasks == {"find": "success", "retrain[0]": "success", "retrain[1]": "failed", "retrain[2]": "success"}
    assert told.tries == dict.fromkeys(told.tasks, 1)
    assert [len(records(Project(fleet / name))) for name in ("a", "c")] == [1, 1]


def test_a_fleet_that_is_not_there_is_a_failure_and_not_a_quiet_success(
    asked: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REHONE_FLEET", f"{asked.root}/nowhere/*")
    told = run("rehone_fleet")
    assert (told.state, told.tasks) == ("failed", {"find": "failed", "retrain": "upstream_failed"})
    assert f"matches {asked.root}/nowhere/*: is the disk mounted?" in capfd.readouterr().out


def test_a_fleet_of_no_folders_is_refused_where_it_is_written() -> None:
    from rehone.integrations.airflow import fleet_dag

    with pytest.raises(ValueError, match="a fleet needs at least one project"):
        fleet_dag([])


def test_a_fleet_takes_folders_too() -> None:
    from rehone.integrations.airflow import fleet_dag

    dag = fleet_dag([Path("/srv/a"), "/srv/b"], at_once=3)
    [task] = dag.tasks
    assert task.operator_extra_links == ()
    assert task.expand_input.value == {"project": ["/srv/a", "/srv/b"]}
    assert task.max_active_tis_per_dag == 3


# --- how it sits in Airflow ----------------------------------------------------------------------


def test_a_dag_does_not_catch_up_or_overlap_and_is_scheduled_without_a_start_date() -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    from rehone.integrations.airflow import retraining_dag

    dag = retraining_dag("/srv/my model", schedule="0 2 * * *", tags=["mine"], default_args={"retries": 5})
    assert (dag.dag_id, dag.catchup, dag.max_active_runs, dag.tags) == ("rehone_my_model", False, 1, {"mine"})
    [task] = dag.tasks
    assert (task.retries, task.max_active_tis_per_dag) == (5, 1)
    planned = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )
    assert planned is not None
    assert timedelta() < planned.run_after - datetime.now(UTC) <= timedelta(days=1)
    assert planned.run_after.hour == 2


def test_a_run_without_a_logical_date_acts_as_of_now(asked: Project) -> None:
    told = run("rehone", logical_date=None)
    [record] = records(asked)
    assert (record.as_of - record.started_at).total_seconds() < 5
    assert record.status is RunStatus.FAILED  # the data of these tests are old
    assert told.state == "failed"


def test_airflow_lists_rehone_among_its_providers() -> None:
    done = subprocess.run(
        [BIN / "airflow", "providers", "list", "--output", "json"], capture_output=True, text=True, check=True
    )
    [ours] = [found for found in json.loads(done.stdout) if found["package_name"] == "rehone"]
    assert ours == {
        "package_name": "rehone",
        "description": "Retrain a model when there is a reason to, deploy it only when it is no worse",
        "version": rehone.__version__,
    }


def test_airflow_needs_none_of_the_libraries_that_rehone_trains_with() -> None:
    blocked = ["polars", "sklearn", "numpy", "scipy", "skops", "lightgbm", "msgspec", "pydantic_settings", "uvloop"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({[b for b in blocked if b not in AIRFLOWS]}))\n"
        "import rehone.integrations.airflow as ours\n"
        "print(ours.retraining_dag('/srv/my-model').dag_id, ours.fleet_dag('/srv/*').dag_id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["rehone_my-model rehone_fleet"], done.stderr


AIRFLOWS = ("msgspec", "pydantic_settings")
"""What Airflow brings itself."""


def test_without_airflow_the_remedy_is_named() -> None:
    code = "import sys; sys.modules['airflow'] = None\nfrom rehone.integrations.airflow import retraining_dag"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "rehone.errors.RehoneError: retraining_dag needs Apache Airflow 3" in done.stderr
    assert "pip install 'rehone[airflow]'" in done.stderr


def test_the_way_without_our_operator_deploys_and_is_skipped_by_exit_code(
    asked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REHONE_COMMAND", str(BIN / "rehone"))
    told = run("rehone_by_exit_code", logical_date=day(70))
    [record] = records(asked)
    assert record.status is RunStatus.DEPLOYED
    assert (told.state, told.xcoms["check.return_value"]) == ("success", record.run_id)
    asked.feed(70, 85)
    told = run("rehone_by_exit_code", logical_date=day(85))
    assert records(asked)[-1].status is RunStatus.SKIPPED
    assert (told.state, told.tasks) == ("success", {"check": "skipped", "retrain": "skipped"})


def test_every_dag_of_the_how_to_is_one_that_airflow_reads(tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    page = (ROOT / "docs" / "how-to" / "airflow.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for number, block in enumerate(blocks):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "dags.py").write_text(block)
        bag = DagBag(dag_folder=str(tmp_path / str(number)))
        assert bag.import_errors == {}
        found |= set(bag.dags)
    assert found == {
        "rehone_my-model",
        "rehone_my-model_staged",
        "rehone_fleet",
        "rehone_replay",
        "nightly",
        "rehone_by_exit_code",
    }

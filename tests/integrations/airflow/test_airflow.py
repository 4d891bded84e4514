"""Airflow makes runs: the state of a task tells how the run ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow_kit import Told, airflow_home, run  # noqa: F401 - the fixture

from conftest import START, Project
from rehone import api
from rehone.records import RunRecord, RunStatus

pytestmark = pytest.mark.usefixtures("airflow_home")


def day(n: int) -> datetime:
    """Return the midnight that starts day `n`."""
    return datetime.combine(START, datetime.min.time(), UTC) + timedelta(days=n)


def records(project: Project) -> list[RunRecord]:
    return list(api.history(project.root))


@pytest.fixture
def asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return the project that the DAG files of the examples retrain."""
    monkeypatch.setenv("REHONE_PROJECT", str(project.root))
    return project


def meanwhile(project: Project, until: Callable[[list[RunRecord]], bool], then: Callable[[], object]) -> threading.Thread:
    """Do something beside Airflow as soon as the records say so."""

    def watch() -> None:
        while not until(records(project)):
            time.sleep(0.05)
        then()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


# --- the whole run in one task -------------------------------------------------------------------


def test_a_run_that_deploys_is_a_success_and_hands_on_its_id_and_nothing_else(asked: Project) -> None:
    asked.feed(0, 70)
    told = run("rehone", logical_date=day(70))
    [record] = records(asked)
    assert record.status is RunStatus.DEPLOYED
    assert record.as_of == day(70)
    assert told == Told("success", {"retrain": "success"}, {"retrain": 1}, {"retrain.return_value": record.run_id})


def test_a_run_with_nothing_to_do_is_skipped_and_its_dag_run_a_success(asked: Project, live: Project) -> None:
    asked.feed(70, 85)
    told = run("rehone", logical_date=day(85))
    record = records(asked)[-1]
    assert record.status is RunStatus.SKIPPED
    assert told == Told("success", {"retrain": "skipped"}, {"retrain": 1}, {"retrain.return_value": record.run_id})


def test_a_rejected_challenger_fails_its_task_at_once_with_the_reason(
    asked: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.configure(gate={"min_roc_auc": 0.99})
    asked.feed(0, 70)
    told = run("rehone", logical_date=day(70))
    [record] = records(asked)
    assert record.status is RunStatus.REJECTED
    assert told == Told("failed", {"retrain": "failed"}, {"retrain": 1}, {"retrain.return_value": record.run_id})
    assert f"AirflowFailException: rejected: {record.sentence} (run {record.run_id})" in capfd.readouterr().out


def test_a_fault_that_passes_is_tried_again_and_then_deploys(asked: Project) -> None:
    asked.feed(0, 70)
    data, away = asked.root / "data", asked.root / "away"
    data.rename(away)
    back = meanwhile(asked, lambda found: any(r.status is RunStatus.FAILED for r in found), lambda: away.rename(data))
    told = run("rehone", logical_date=day(70))
    back.join()
    assert [r.status for r in records(asked)] == [RunStatus.FAILED, RunStatus.DEPLOYED]
    assert records(asked)[0].problem.type == "DataError"  # type: ignore[union-attr]
    assert told.state == "success"
    assert told.tries == {"retrain": 2}
    assert told.xcoms == {"retrain.return_value": records(asked)[-1].run_id}


def test_a_configuration_that_cannot_be_used_is_not_tried_again(
    asked: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    (asked.root / "rehone.toml").write_text("[data]\nsauce = 1\n")
    told = run("rehone", logical_date=day(70))
    assert told == Told("failed", {"retrain": "failed"}, {"retrain": 1}, {})
    assert "sauce" in capfd.readouterr().out

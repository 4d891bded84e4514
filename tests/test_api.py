"""The Python door does what the command line does, and stays open when training code is broken."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

import rehone
from conftest import Project, world
from rehone import api, load
from rehone.config import Config
from rehone.errors import NotFound, RehoneError
from rehone.records import StagedShadow
from rehone.runlog import RunLog
from rehone.store import Store


def test_a_date_is_its_midnight_in_the_zone_of_the_data() -> None:
    """A day of New York starts at five in the morning, UTC."""
    config = Config.model_validate({"data": {"timezone": "America/New_York"}})
    assert api.moment("2026-01-10", config) == datetime(2026, 1, 10, 5, tzinfo=UTC)
    assert api.moment(date(2026, 1, 10), config) == datetime(2026, 1, 10, 5, tzinfo=UTC)
    assert api.moment("2026-01-10T06:00:00+00:00", config) == datetime(2026, 1, 10, 6, tzinfo=UTC)


def test_a_date_that_is_none_is_refused_with_the_right_form() -> None:
    """The message shows how to write it."""
    with pytest.raises(RehoneError, match="2026-08-31"):
        api.moment("yesterday", Config())


def test_loading_before_anything_is_live_names_the_remedy(project: Project) -> None:
    """No store, no version: run first."""
    with pytest.raises(NotFound, match="rehone run"):
        load(project.root)


def test_a_version_is_loaded_from_the_project_the_store_or_by_its_id(live: Project) -> None:
    """All three give the same predictor, and it names its version."""
    rows = world(date(2026, 4, 1), rows=20)
    champion = load(live.root)
    assert champion.version is not None
    for other in (load(live.root / "store"), load(live.root, champion.version[:12])):
        assert other.version == champion.version
        assert (other.predict_proba(rows) == champion.predict_proba(rows)).all()


def test_status_counts_runs_and_names_what_is_live(live: Project) -> None:
    """One run, deployed, and nothing wrong."""
    seen = api.status(live.root)
    assert seen.version is not None
    assert seen.deployment is not None
    assert seen.deployment.version == seen.version.id
    assert seen.runs == {"deployed": 1}
    assert seen.problems == ()


def test_doctor_finds_nothing_wrong_with_a_healthy_project(live: Project) -> None:
    """Every check is ok."""
    assert {check.status.value for check in api.doctor(live.root)} == {"ok"}


def test_a_store_that_is_gone_is_not_one_that_never_was(live: Project) -> None:
    """The run records know of a deployment: status, doctor and load say that the store is missing."""
    (live.root / "store").rename(live.root / "away")
    seen = api.status(live.root)
    assert [(check.name, check.status.value) for check in seen.problems] == [("store", "act")]
    assert "mount or restore the store" in seen.problems[0].remedy
    assert seen.problems[0] in api.doctor(live.root)
    with pytest.raises(NotFound, match="mount or restore the store"):
        load(live.root)
    assert not (live.root / "store").exists()


def test_status_tells_a_run_under_way_from_one_that_was_killed(live: Project) -> None:
    """The process of the last record that has no ending lives, is gone, or is on another machine."""
    (done,) = api.history(live.root)
    store, runlog = Store(live.root / "store"), RunLog(live.root / "runs")
    here = replace(
        done, run_id="99991231T000000000000Z-aaaaaa", status=None, finished_at=None, host=socket.gethostname()
    )
    runlog.begin(replace(here, pid=os.getpid()))
    head = store.head()
    assert head is not None
    assert head.version is not None
    until = datetime(2026, 6, 1, 12, tzinfo=UTC)
    store.stage(StagedShadow(version=head.version, run_id=here.run_id, started_at=until, deadline=until))
    (found,) = api.status(live.root).problems
    assert (found.name, found.status.value) == ("run", "ok")
    assert found.detail.endswith(
        f"; version {head.version[:12]} is scored beside the champion until 2026-06-01 12:00:00 UTC at the latest"
    )
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    runlog.begin(replace(here, pid=ended.pid))
    (found,) = api.status(live.root).problems
    assert (found.status.value, "was killed" in found.detail) == ("warn", True)
    runlog.begin(replace(here, host="elsewhere"))
    (found,) = api.status(live.root).problems
    assert (found.status.value, "it is under way there, or was killed" in found.detail) == ("unknown", True)


def test_a_project_without_a_store_or_a_deployment_has_no_problem(project: Project) -> None:
    """Nothing was ever deployed, so nothing is lost."""
    assert api.status(project.root).problems == ()
    assert {check.status.value for check in api.doctor(project.root)} == {"ok"}


def test_rollback_needs_no_training_code(live: Project) -> None:
    """With scikit-learn, LightGBM, SciPy and Polars out of reach, nothing is served as was asked."""
    code = (
        "import sys\n"
        "for name in ('sklearn', 'lightgbm', 'scipy', 'polars', 'skops', 'numpy'):\n"
        "    sys.modules[name] = None\n"
        "from rehone import api\n"
        "print(api.rollback(sys.argv[1], to='none').version)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(live.root)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "None"
    with pytest.raises(NotFound):
        load(live.root)


def test_the_package_knows_its_door() -> None:
    """`rehone.load` and `rehone.run_pipeline` are those of the door, and nothing else is made up."""
    assert rehone.run_pipeline is api.run_pipeline
    assert rehone.load is api.load
    with pytest.raises(AttributeError, match="no attribute"):
        rehone.retrain  # noqa: B018


def test_the_version_is_the_one_of_the_package() -> None:
    """pyproject.toml and `rehone.__version__` say the same."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert f'version = "{rehone.__version__}"' in text


def test_a_rollback_says_that_the_store_is_gone_and_not_how_to_begin_anew(live: Project) -> None:
    (live.root / "store").rename(live.root / "away")
    with pytest.raises(NotFound, match="deployed a version, but there is no deployment log in"):
        api.rollback(live.root)
    (live.root / "away").rename(live.root / "store")
    assert api.rollback(live.root, to="none").version is None

"""Many projects at once: each ends in its own way, and none is stopped by another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from conftest import START, Project
from rehone import fleet
from rehone.cli.fleet import worst
from rehone.errors import NotFound
from rehone.records import FleetRun, RunStatus
from rehone.runlog import RunLog

REHONE = Path(sys.executable).with_name("rehone")
DAY = str(START + timedelta(days=70))


@pytest.fixture
def ships(tmp_path: Path) -> Path:
    """Return a folder of four projects: two fit to deploy, one without data, one that cannot be read."""
    for name in ("a", "b", "empty", "broken"):
        one = Project(tmp_path / name)
        one.root.mkdir()
        one.configure(project={"name": name})
        if name in ("a", "b"):
            one.feed(0, 70)
    (tmp_path / "broken" / "rehone.toml").write_text('[project]\nnmae = "typo"\n')
    return tmp_path


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [REHONE, "fleet", "run", *map(str, words)], capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.soak
def test_a_bad_project_never_stops_the_others(ships: Path) -> None:
    """Two deploy, one has no data, one no configuration: every one has its row, the exit code is the worst."""
    done = command(f"{ships}/*/rehone.toml", "--as-of", DAY, "--parallel", "2", "--json")
    ended = {Path(one["project"]).parent.name: one for one in json.loads(done.stdout)}
    assert list(ended) == ["a", "b", "broken", "empty"]
    assert [ended[n]["status"] for n in ("a", "b", "empty", "broken")] == ["deployed", "deployed", "failed", None]
    assert [ended[n]["exit_code"] for n in ("a", "b", "empty", "broken")] == [0, 0, 2, 2]
    assert "nmae" in ended["broken"]["sentence"]
    assert done.returncode == 2
    for name in ("a", "b"):
        assert RunLog(ships / name / "runs").find(ended[name]["run_id"]).status is RunStatus.DEPLOYED


@pytest.mark.soak
def test_the_table_fits_a_terminal_and_says_what_to_do_next(ships: Path) -> None:
    """A row for each, then the sentence and the command for those that did not end well."""
    done = command(ships / "a", ships / "empty", ships / "a" / "rehone.toml", "--as-of", DAY)
    assert done.returncode == 2
    assert "2 projects in" in done.stdout, "a project that is named twice runs once"
    table = done.stdout.split("\n\n")[1]
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "rehone show" in done.stdout
    assert "no Parquet or CSV file" in done.stdout.replace("\n", " ")


def test_nothing_that_matches_is_an_error(ships: Path) -> None:
    """A pattern without a project is named, and nothing runs."""
    with pytest.raises(NotFound, match="nowhere"):
        fleet.find([str(ships / "a"), str(ships / "nowhere*")])
    assert command(ships / "a", ships / "nowhere*").returncode == 2
    assert not (ships / "a" / "runs").exists()


@pytest.mark.soak
def test_no_more_run_at_a_time_than_asked(ships: Path) -> None:
    """With one at a time, no run starts before the one before it has ended."""
    for name in ("c", "d"):
        shutil.copytree(ships / "a", ships / name)
    done = fleet.run(fleet.find([f"{ships}/[acd]"]), fleet.Order(parallel=1, as_of=DAY))
    assert [one.status for one in done] == [RunStatus.DEPLOYED] * 3
    records = sorted((RunLog(ships / n / "runs").records()[0] for n in "acd"), key=lambda r: r.started_at)
    for before, after in pairwise(records):
        assert before.finished_at is not None
        assert before.finished_at <= after.started_at


def test_a_run_that_takes_too_long_is_ended_and_its_record_closed(ships: Path) -> None:
    """After the time allowed it is asked to end; its record says so, and the others have ended as always."""
    done = fleet.run(fleet.find([str(ships / "a")]), fleet.Order(parallel=1, as_of=DAY, seconds=0.5))
    assert done[0].exit_code == 2
    assert "took longer than" in done[0].sentence


@pytest.mark.soak
def test_an_interrupted_fleet_lets_its_runs_close_their_records(ships: Path) -> None:
    """Ctrl-C: what is under way ends with a closed record, what has not begun is not begun."""
    process = subprocess.Popen(
        [REHONE, "fleet", "run", ships / "a", ships / "b", "--as-of", DAY, "--parallel", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list((ships / "a").glob("runs/*/*/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode == 130
    (record,) = RunLog(ships / "a" / "runs").records()
    assert record.status is not None
    assert not (ships / "b" / "runs").exists()


@pytest.mark.parametrize(
    ("codes", "expected"), [([0, 0], 0), ([0, 3], 3), ([3, 2, 0], 2), ([2, 1, 3], 1), ([0, -9], 1), ([0, 143], 1)]
)
def test_the_exit_code_is_the_worst(codes: list[int], expected: int) -> None:
    """A bug is worse than something to fix, that is worse than held back; a killed process counts as a bug."""
    runs = [
        FleetRun(
            project="p",
            name="",
            exit_code=c,
            status=None,
            run_id=None,
            trigger=None,
            version=None,
            seconds=0,
            sentence="",
        )
        for c in codes
    ]
    assert worst(runs) == expected

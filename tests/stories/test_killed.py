"""The real command line, killed with -9 in the middle: production stays whole, the next run cleans up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from conftest import START, Project
from rehone import load
from rehone.records import RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store

REHONE = Path(sys.executable).with_name("rehone")


def start(project: Project, day: date) -> subprocess.Popen[str]:
    """Start the real `rehone run --force` and give its process."""
    return subprocess.Popen(
        [REHONE, "run", "--project", project.root, "--as-of", str(day), "--force"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_after(process: subprocess.Popen[str], stage: str) -> None:
    """Kill the process group once the sentence of a stage was printed."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.split(maxsplit=1)[:1] == [stage]:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL, f"the run ended before it could be killed after {stage}"


def ended(project: Project) -> list[RunRecord]:
    return list(RunLog(project.root / "runs").records())


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage",
    [pytest.param(stage, marks=pytest.mark.soak) for stage in ("look", "decide", "validate", "judge")]
    + ["train", "publish"],
)
def test_a_killed_run_leaves_production_whole_and_the_next_run_closes_it(live: Project, stage: str) -> None:
    """After kill -9 the live version loads as before; the next run ends well and closes the dead one."""
    live.configure(gate={"margin_cost": 0.9})
    live.feed(70, 118)
    before = load(live.root).version
    kill_after(start(live, START + timedelta(days=118)), stage)
    assert load(live.root).version == before
    assert ended(live)[-1].status is None
    record = live.run(118, force=True)
    assert record.status is RunStatus.DEPLOYED, record.sentence
    killed = ended(live)[-2]
    assert killed.status is RunStatus.FAILED
    assert "killed" in killed.sentence
    assert load(live.root).version == record.version
    assert Store(live.root / "store").log()[-1].version == record.version


@pytest.mark.slow
def test_two_runs_at_once_give_one_deployment_and_one_skip(live: Project) -> None:
    """Two real commands start together: one works, the other says who holds the lock, both end with 0."""
    live.configure(gate={"margin_cost": 0.9})
    live.feed(70, 118)
    runs = [start(live, START + timedelta(days=118)) for _ in range(2)]
    outputs = [run.communicate(timeout=180)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert sorted(str(r.status) for r in ended(live)[1:]) == ["deployed", "skipped"]
    assert len(RunLog(live.root / "runs").lines()) == 3

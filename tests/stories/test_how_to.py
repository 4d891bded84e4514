"""Pages that can be followed in a shell, pasted as they stand."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def blocks(page: str) -> list[str]:
    """Return the shell blocks of a page."""
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in the clone as a reader would, with its commands on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-m", "-e", "-c", f"trap 'kill %1 2>/dev/null || true' EXIT\n{script}"],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.soak
def test_a_run_stage_by_stage_can_be_pasted(tmp_path: Path) -> None:
    """Five commands that hand on nothing but the id end in a deployed version."""
    done = shell("".join(blocks("stage-by-stage.md")).replace("../stages", str(tmp_path / "stages")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deployed: version" in done.stdout
    assert done.stdout.count("goes on with:") == 3


@pytest.mark.soak
def test_a_fleet_can_be_pasted(tmp_path: Path) -> None:
    """One of three projects deploys, the exit code is that of the worst."""
    (_, script) = blocks("fleet.md")
    done = shell(script.replace("../fleet", str(tmp_path / "fleet")))
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(r"3 projects in \d+ s: 1 ended well, 2 did not", done.stdout)
    assert "did you mean 'label'?" in done.stdout.replace("\n", " ")


@pytest.mark.soak
def test_a_breaker_that_stops_retraining_can_be_pasted(tmp_path: Path) -> None:
    """Three challengers are rejected, the fourth run trains nothing and says why."""
    done = shell("".join(blocks("health.md")).replace("../stuck", str(tmp_path / "stuck")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rejected: ROC-AUC") == 3
    assert "retraining  has stopped: 3 challengers lost in a row" in done.stdout


@pytest.mark.soak
def test_the_closed_loop_can_be_pasted(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = blocks("close-the-loop.md")
    assert len(page) >= 5
    done = shell("".join(page).replace("../busy-hours", str(tmp_path / "busy")).replace("8000", str(port)))
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    before, after = said.split("labels are in")
    assert "718 hours asked" in before
    assert re.search(r"would retrain: PSI of temp", before)
    assert re.search(r"718\s+with a label due, 0 of them arrived \(0 %\)", before)
    assert re.search(r"718\s+with a label due, 718 of them arrived \(100 %\)", after)
    assert re.search(r"skew\s+none in \d+ ids that data.source also has in this window", after)
    assert "proved by 1 server" in after
    assert len(set(re.findall(r"version=([0-9a-f]{12})", after))) == 2

"""The page that goes from nothing to a closed loop, pasted as it stands."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pasted(page: Path, folder: Path, port: int) -> str:
    """Return every shell block of a page, in a folder and at a port of its own."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    return "".join(blocks).replace("../busy-hours", str(folder)).replace("8000", str(port))


@pytest.mark.soak
def test_the_closed_loop_can_be_pasted(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = pasted(ROOT / "docs" / "how-to" / "close-the-loop.md", tmp_path / "busy", port)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-m", "-e", "-c", f"trap 'kill %1 2>/dev/null || true' EXIT\n{script}"],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
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

"""A shell completes what there is: commands, options, runs with their endings, versions."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Project
from rehone.cli.chapters import CHAPTERS
from rehone.cli.commands import app
from rehone.config import load_config
from rehone.records import Approval
from rehone.runlog import RunLog

REHONE = str(Path(sys.executable).with_name("rehone"))


def completed(words: str, folder: Path) -> list[list[str]]:
    """Ask as bash does; a word that is begun stands last."""
    asked = {"_REHONE_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [REHONE], env={**os.environ, **asked}, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    lines = done.stdout.strip().splitlines()
    return [lines[n : n + 3] for n in range(0, len(lines), 3)]


def test_show_offers_the_runs_with_their_endings_and_then_the_versions(live: Project) -> None:
    from rehone import api

    record = api.history(live.root)[-1]
    found = completed("rehone show ", live.root)
    assert [kind for kind, _, _ in found] == ["plain", "plain"]
    assert found[0][1:] == [record.run_id, "deployed, as of 2026-03-12"]
    assert record.version is not None
    assert found[1][1] == record.version[:12]
    assert found[1][2].startswith("generation 1, ")
    runlog = RunLog.of(load_config(live.root))
    asked = Approval(asked_at=record.as_of, until=record.as_of, champion=record.version)
    for digit, approval in (("8", None), ("9", asked)):
        begun = replace(record, run_id=f"2999{record.run_id[4:-1]}{digit}", status=None, approval=approval)
        runlog.begin(begun)
    assert [said for _, _, said in completed("rehone show 2999", live.root)] == ["waits", "not ended"]


def test_a_run_that_is_begun_is_completed_in_the_project_that_is_named(live: Project, tmp_path: Path) -> None:
    from rehone import api

    record = api.history(live.root)[-1]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert completed(f"rehone replay -p {live.root} {record.run_id[:6]}", elsewhere)[0][1] == record.run_id
    assert completed(f"rehone replay -p {live.root} 19", elsewhere) == []
    assert completed("rehone show ", elsewhere) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_rehone(shell: str, tmp_path: Path) -> None:
    done = subprocess.run([REHONE, "completion", shell], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert f"_REHONE_COMPLETE={shell}_complete" in done.stdout


def test_bash_takes_the_script_and_completes_a_command(tmp_path: Path) -> None:
    said = f'PATH="{Path(REHONE).parent}:$PATH"; eval "$(rehone completion bash)"; COMP_WORDS=(rehone roll); COMP_CWORD=1; _rehone_completion rehone; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", said], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "rollback"


def test_every_command_stands_in_one_chapter_of_the_help() -> None:
    named = [name for names in CHAPTERS.values() for name in names]
    assert sorted(named) == sorted(app.commands)

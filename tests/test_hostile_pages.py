"""What files and people say can neither steer a terminal nor act on a page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from conftest import Project
from rehone import alert, api
from rehone.cli import endings
from rehone.cli.commands import app
from rehone.config.people import Alerts
from rehone.integrations.alerts.address import Letter
from rehone.records import RunSummary
from rehone.runlog import LEDGER, RunLog, summaries

STEERS = "<script>window.pwned=1</script>\x1b[31mred\x1b]0;title\x07 \r\u202ertl\u2066 \x9b1m"


def _said(*command: str) -> str:
    return CliRunner().invoke(app, command, obj=endings.Session()).output


def _steering(text: str) -> set[str]:
    return {c for c in text if not c.isprintable() and c != "\n"}


@pytest.mark.parametrize("command", ["status", "health", "history", "breaker", "doctor"])
def test_a_project_of_any_name_cannot_steer_a_terminal(project: Project, command: str) -> None:
    project.configure(project={"name": "x"})
    toml = project.root / "rehone.toml"
    toml.write_text(toml.read_text().replace('"x"', json.dumps(STEERS)))
    said = _said(command, "-p", str(project.root))
    assert said
    assert _steering(said) == set()


def test_an_error_that_quotes_what_was_asked_cannot_steer_a_terminal(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (["health", "-p", f"{project.root}/{STEERS}"], ["why", STEERS, "-p", str(project.root)]):
        assert endings.main(asked) == endings.MUST_FIX
        said = capsys.readouterr().err
        assert "title" in said
        assert _steering(said) == set()


def test_history_lists_runs_as_their_records_have_them(live: Project) -> None:
    live.feed(70, 72)
    live.run(72)
    records = api.history(live.root)
    listed = json.loads(_said("history", "-p", str(live.root), "--json"))
    assert [(run["run_id"], run["status"], run["version"], run["sentence"]) for run in listed] == [
        (record.run_id, record["status"], record.version, record.sentence) for record in records
    ]
    assert [run["verdict"] for run in listed] == ["pass", None]
    assert [run["reason"] for run in listed] == [record.trigger and record.trigger.reason for record in records]


def test_history_tells_of_a_run_whose_record_cannot_be_read(live: Project) -> None:
    (line,) = RunLog.of(live.configure()).lines()
    Path(live.root, "runs", line.path).write_text("{")
    assert f"{line.run_id}  2026-03-12  deployed" in _said("history", "-p", str(live.root))


@pytest.mark.parametrize("spoilt", [b"", b"\xff\x00{", b"[]", None])
def test_one_record_that_cannot_be_read_hides_no_page_and_no_status(live: Project, spoilt: bytes | None) -> None:
    live.feed(70, 72)
    live.run(72)
    runs = live.root / "runs"
    path = runs / RunLog.of(live.configure()).lines()[-1].path
    path.unlink()
    if spoilt is None:
        path.symlink_to("gone")
    else:
        path.write_bytes(spoilt)
    found = api.status(live.root)
    assert found.deployment is not None
    assert found.last_run is not None
    assert found.last_run["status"] == "deployed"
    (check,) = [check for check in found.problems if check.name == "record"]
    assert path.name in check.detail
    assert path.stem in api.report(live.root, live.root / "report.html").read_text()


def test_a_record_that_nobody_closed_and_nobody_can_read_is_said_and_left_out(live: Project) -> None:
    (live.root / "runs" / "2026" / "08").mkdir(parents=True, exist_ok=True)
    (live.root / "runs" / "2026" / "08" / "notes.json").write_text("of somebody else")
    assert ["notes.json" in check.detail for check in api.status(live.root).problems] == [True]
    assert len(api.runs(live.root)) == 1


def test_a_ledger_that_is_none_is_a_sentence_and_no_bug(live: Project, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = live.root / "runs" / LEDGER
    ledger.unlink()
    ledger.mkdir()
    for command in ("status", "history", "health", "breaker", "metrics"):
        assert endings.main([command, "-p", str(live.root)]) == endings.MUST_FIX
        assert "the ledger" in capsys.readouterr().err


def test_records_that_are_gone_are_warned_of_once(live: Project, caplog: pytest.LogCaptureFixture) -> None:
    for path in Path(live.root, "runs").rglob("2*.json"):
        path.unlink()
    api.runs(live.root)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "run records cannot be read"
    ]


def test_a_file_in_place_of_the_resets_of_the_breaker_hides_no_health(live: Project) -> None:
    (live.root / "runs" / "breaker").write_text("x")
    assert api.breaker(live.root).reset is None
    assert api.health(live.root).runs == 1


WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def _as_somebody_else(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as who owns none of the files: as root without its rights over those of others."""
    whole = [*WITHOUT_RIGHTS, sys.executable, "-m", "rehone", *command]
    return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="takes root to own files of others")
@pytest.mark.soak
def test_what_may_not_be_read_is_no_bug(live: Project) -> None:
    record = live.root / "runs" / RunLog.of(live.configure()).lines()[0].path
    for path, commands in (
        (record, ("status", "doctor")),
        (live.root / "store" / "deployments", ("status", "why 2026")),
    ):
        before = path.stat().st_mode
        path.chmod(0)
        os.chown(path, 65534, 65534)
        for command in commands:
            ended = _as_somebody_else(*command.split(), "-p", str(live.root))
            said = ended.stdout + ended.stderr
            assert ended.returncode in (endings.GOOD, endings.MUST_FIX), said
            assert str(path.name)[:20] in said
            assert "bug" not in said
        path.chmod(before)
        os.chown(path, 0, 0)


def test_an_index_that_two_processes_make_at_once_holds_each_run_once(
    live: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = live.configure()
    decoded = summaries._decoded

    def while_another_makes_it(data: bytes | None, path: str) -> RunSummary | None:
        monkeypatch.setattr(summaries, "_decoded", decoded)
        summaries.summaries(config)
        return decoded(data, path)

    monkeypatch.setattr(summaries, "_decoded", while_another_makes_it)
    assert len(summaries.summaries(config)) == 1
    (index,) = config.cache_path.glob("runs-*.jsonl")
    assert len(list(filter(None, index.read_bytes().splitlines()))) == 1


def test_an_alert_is_one_line_with_a_short_subject_whatever_a_project_is_called(live: Project) -> None:
    (record,) = api.history(live.root)
    ended = replace(record, project=f"a\r\nBcc: x{STEERS}{'L' * 10_000}", sentence=STEERS)
    (told,) = alert.of(ended, None, Alerts(on=("deployed",)))
    letter = Letter(id="x", alert=told)
    assert _steering(told.line + letter.title) == set()
    assert "\n" not in told.line + letter.title
    assert letter.title.startswith("a Bcc: x<script>")
    assert len(letter.title) < 200

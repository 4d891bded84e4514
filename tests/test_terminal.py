"""What every command prints fits 80 columns, pipes without colour, and is JSON when that is asked for."""

from __future__ import annotations

import json

import click
import pytest

from conftest import Project
from rehone import api
from rehone.cli import main
from rehone.cli.commands import app

LOOKING = (
    *("status", "history", "health", "forecasts", "breaker", "check --as-of 2026-03-20", "doctor --dry-run"),
    *("alerts list", "why 2026-03-20", "show RUN", "show VERSION", "replay RUN"),
)


@pytest.fixture(scope="module")
def told(deployed_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with a second run, and a name too long for any column; nobody changes it."""
    made = deployed_once.copy(tmp_path_factory.mktemp("told"))
    made.configure(project={"name": "cancellations of bookings made through partners in the north, second model"})
    made.feed(70, 74, shift=3.0)
    made.run(74, force=True)
    return made


def asked(line: str, project: Project) -> list[str]:
    record = api.history(project.root)[-1]
    words = {"RUN": record.run_id, "VERSION": record.version or ""}
    return [*(words.get(word, word) for word in line.split()), "--project", str(project.root)]


@pytest.mark.parametrize("line", LOOKING)
def test_a_command_that_looks_prints_lines_of_80_columns_without_colour(
    line: str, told: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(line, told)) in (0, 2)
    out, err = capsys.readouterr()
    assert out.strip()
    assert "\x1b" not in out + err
    lines = [text for text in out.splitlines() if not text.lstrip().startswith("rehone ")]  # to be copied whole
    assert [text for text in lines if len(text) > 80 and " " in text.strip()] == []


@pytest.mark.parametrize("line", LOOKING)
def test_a_command_that_looks_prints_one_json_document_when_asked(
    line: str, told: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*asked(line, told), "--json"])
    out, _ = capsys.readouterr()
    assert json.loads(out) is not None


def commands() -> list[tuple[str, click.Command]]:
    """Return every command, those of groups too, with its whole name."""
    found: list[tuple[str, click.Command]] = []
    for name, command in app.commands.items():
        inner = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        found += [(f"{name} {below}".strip(), one) for below, one in inner]
    return found


def test_every_command_that_finds_something_has_json() -> None:
    """But for those that serve, that print a file, or whose output is text for another program."""
    without = {"serve", "dashboard", "report", "metrics", "completion", "schedule prefect", "schedule kubeflow"}
    lacking = [n for n, c in commands() if not any("--json" in p.opts for p in c.params)]
    assert set(lacking) == without


def test_every_command_that_works_for_long_or_under_cron_can_be_quiet() -> None:
    working = {"run", "stage", "check", "doctor", "rollback", "backtest", "calibrate", "drill", "replay", "fleet run"}
    quiet = {n for n, c in commands() if any("--quiet" in p.opts for p in c.params)}
    assert working <= quiet

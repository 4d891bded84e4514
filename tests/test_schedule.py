"""Handing projects to an orchestrator says what is missing before anything is begun."""

from __future__ import annotations

import importlib.util

import pytest

from rehone.cli import main


@pytest.mark.parametrize(
    ("module", "asked", "said"),
    [
        ("prefect", ["prefect", "--cron", "0 2 * * *"], "Prefect is not installed: pip install 'rehone[prefect]'\n"),
        ("kfp", ["kubeflow", "-p", "x"], "Kubeflow Pipelines is not installed: pip install 'rehone[kubeflow]'\n"),
    ],
)
def test_a_missing_orchestrator_is_named_with_its_extra(
    module: str, asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tests of the core run without any orchestrator, as most users do."""
    assert importlib.util.find_spec(module) is None
    assert main(["schedule", *asked]) == 2
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["prefect"], 'say when to run: --cron "0 2 * * *", or --every SECONDS'),
        (
            ["prefect", "--cron", "0 2 * * *", "--every", "60"],
            'say when to run: --cron "0 2 * * *", or --every SECONDS',
        ),
        (["prefect", "--every", "60", "--parallel", "2"], "--parallel is for a fleet"),
        (["kubeflow", "-p", "x", "--parallel", "2"], "--parallel is for a fleet"),
        (["kubeflow", "-p", "x", "--claim", "c"], "--claim and --mount belong together"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schedule", *asked]) == 2
    assert said in capsys.readouterr().err

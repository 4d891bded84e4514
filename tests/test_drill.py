"""A drill sabotages challengers and wirings, and what the configured gate does not notice is named."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest

from conftest import Project
from rehone import api
from rehone.cli.endings import main
from rehone.drill import _apart_from_honest
from rehone.drill.ground import Twisted
from rehone.records import CheckStatus, DrillReport, Sabotage

ROWS = 90
"""Days of 60 rows."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project without any run: a drill needs its data alone."""
    made = Project(tmp_path_factory.mktemp("drilled"))
    made.configure(data={"lookback_days": 90})
    made.feed(0, ROWS)
    return made


@pytest.fixture(scope="module")
def report(ground: Project) -> DrillReport:
    before = sorted(path.relative_to(ground.root) for path in ground.root.rglob("*"))
    found = api.drill(ground.root, pairs=60)
    assert sorted(path.relative_to(ground.root) for path in ground.root.rglob("*")) == before, (
        "the project is only read"
    )
    return found


def of(report: DrillReport, name: str) -> Sabotage:
    return next(one for one in report.sabotages if one.name == name)


@pytest.mark.soak
def test_an_honest_challenger_passes(report: DrillReport) -> None:
    """Else nothing that is caught would say anything."""
    assert of(report, "honest").happened == "passed", of(report, "honest").detail


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("labels permuted", "min_roc_auc"),
        ("calibration damaged", "recall_vs_champion"),
        ("wrong preprocessor", "roc_auc_vs_champion"),
        ("trained on the holdout", "enough_rows"),
        ("holdout in disguise", "enough_rows"),
        ("stale metric", "same_length"),
        ("champion saw the rows", "enough_rows"),
        ("golden rows mismatch", "golden_rows"),
        ("foreign preprocessor", "golden_rows"),
        ("bytes changed in the store", "digest"),
        ("service keeps the old version", "smoke"),
        ("service lies about its version", "smoke"),
    ],
)
def test_what_the_gate_or_the_service_must_catch_is_caught(report: DrillReport, name: str, by: str) -> None:
    found = of(report, name)
    assert found.happened == "caught", found
    assert by in found.caught_by


@pytest.mark.soak
def test_a_leak_is_let_through_unless_it_is_scored_on_what_is_really_asked(report: DrillReport) -> None:
    """On the past a column that is filled in afterwards is a good feature: no gate can tell."""
    found = of(report, "leaking feature")
    assert found.happened == "let through"
    assert found.remedy.startswith("set shadow.seconds")
    assert found in report.let_through


@pytest.mark.soak
@pytest.mark.parametrize("name", ["identical clone", "compared with itself"])
def test_one_model_on_both_sides_is_caught(report: DrillReport, name: str) -> None:
    found = of(report, name)
    assert found.happened == "caught"
    assert "two_models" in found.caught_by


@pytest.mark.soak
def test_pairs_of_known_difference_pass_about_as_often_as_the_gate_states(report: DrillReport) -> None:
    pairs = report.pairs
    assert pairs is not None
    assert pairs.tries == 60
    assert pairs.called_worse <= 6
    assert pairs.shipped <= pairs.equal_passed
    assert pairs.worse_passed < pairs.equal_passed
    assert pairs.equal_stated is not None, "the words of the gate have changed: see rehone.drill.pairs"
    assert pairs.worse_stated is not None
    assert pairs.equal_interval[0] - 0.1 < pairs.equal_stated <= pairs.equal_interval[1] + 0.1
    assert pairs.worse_interval[0] - 0.1 < pairs.worse_stated < pairs.worse_interval[1] + 0.1


@pytest.mark.simulation
def test_what_lets_through_ends_with_3_and_says_what_to_change(
    ground: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """With slices and shadow configured, and the service not asked, other things get through."""
    ground.configure(
        data={"lookback_days": 90},
        gate={"slices": ["channel"], "slice_min_positives": 10},
        shadow={"seconds": 1.0, "min_rows": 100},
        deploy={"service": "none"},
    )
    try:
        assert main(["drill", "-p", str(ground.root), "--pairs", "0", "--json"]) == 3
    finally:
        ground.configure(data={"lookback_days": 90})
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["sabotages"]}
    assert found["leaking feature"]["happened"] == "caught"
    assert "shadow_scores" in found["leaking feature"]["caught_by"]
    assert found["slice broken"]["happened"] == "caught"
    assert found["service keeps the old version"]["happened"] == "let through"
    assert 'deploy.service = "required"' in found["service keeps the old version"]["remedy"]


@pytest.mark.soak
def test_the_page_fits_a_terminal(report: DrillReport) -> None:
    from rehone.cli.drill import drill_lines

    lines = drill_lines(report, 80)
    assert [line for line in map(click.unstyle, lines) if len(line) > 80] == []
    assert any(line.startswith("  leaking feature") for line in lines)
    assert any("To do: set shadow.seconds" in line for line in lines)


def test_checks_are_named_whole_and_those_that_do_not_fit_are_counted() -> None:
    from rehone.cli.drill import _by

    def by(*names: str, width: int = 32) -> str:
        return _by(Sabotage(name="a", what="", expected="caught", happened="caught", caught_by=names), width)

    assert by() == ""
    assert by("min_roc_auc", "min_recall") == "min_roc_auc, min_recall"
    assert by("min_roc_auc", "roc_auc_vs_champion", "recall_vs_champion") == "min_roc_auc and 2 more"
    assert by("min_roc_auc", "min_recall", "cost_vs_champion") == "min_roc_auc and 2 more"
    assert by("a_check_with_a_very_long_name", width=10) == "a_check..."


def test_without_rows_to_learn_from_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = Project(tmp_path)
    few.configure()
    few.feed(0, 3)
    assert main(["drill", "-p", str(tmp_path), "--pairs", "0"]) == 2
    assert "there is nothing to drill with: the data in" in capsys.readouterr().err


def test_doctor_deep_tells_what_a_drill_let_through(ground: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning where a key of the configuration would catch it, else something to act on."""
    from rehone.api import drilling

    def told(name: str, happened: str, remedy: str = "") -> Sabotage:
        return Sabotage(name=name, what="w", expected="caught", happened=happened, detail="d", remedy=remedy)

    made = DrillReport(
        project="p",
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        rows=900,
        positives=90,
        sabotages=(told("a", "caught"), told("b", "let through", "set gate.slices"), told("c", "let through")),
    )
    monkeypatch.setattr(drilling, "drill", lambda _: made)
    found = [c for c in api.doctor(ground.root, heal=False, deep=True) if c.name == "drill"]
    assert [(c.subject, c.status) for c in found] == [
        (None, CheckStatus.OK),
        ("b", CheckStatus.WARN),
        ("c", CheckStatus.ACT),
    ]
    assert found[0].detail == "1 sabotages were caught on 900 held-out rows, 2 let through"
    assert [c for c in api.doctor(ground.root, heal=False) if c.name == "drill"] == []


def test_a_twisted_model_answers_for_shuffled_columns_as_the_model_below_it() -> None:
    """Else each run of a drill would warn that it goes on without its figures."""
    below: Any = SimpleNamespace(score=lambda matrix: matrix[:, 0])
    assert list(Twisted(below, np.array([0.9])).score(np.array([[0.2, 1.0]]))) == [0.2]


def test_what_stops_an_honest_challenger_too_has_caught_nothing() -> None:
    """A gate that holds everybody has not noticed the sabotage."""
    honest = Sabotage(name="honest", what="", expected="passed", happened="held", caught_by=("cost_vs_champion",))
    both = Sabotage(
        name="a", what="", expected="caught", happened="caught", caught_by=("cost_vs_champion", "min_roc_auc")
    )
    same = replace(both, caught_by=("cost_vs_champion",))
    assert _apart_from_honest(both, [honest]).happened == "caught"
    assert _apart_from_honest(same, [honest]).happened == "unclear"
    assert _apart_from_honest(same, [replace(honest, happened="passed", caught_by=())]).happened == "caught"

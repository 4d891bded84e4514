"""A promotion is a forecast: what the gate promised is held against what came, once, and kept count of."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from conftest import START, Project
from rehone import api, compare, forecast
from rehone.cli import main
from rehone.config import load_config
from rehone.records import Check, CheckStatus, Outcome, Realised, RunRecord, RunStatus, Verdict, Window
from rehone.store import Store

THEN = datetime(2026, 3, 1, tzinfo=UTC)
LATER = Window(THEN, THEN + timedelta(days=30))


def made(predicted: float = 0.01, interval: tuple[float, float] | None = (-0.02, 0.04), **facts: Any) -> Realised:
    given: dict[str, Any] = {
        "run_id": "run",
        "version": "b" * 64,
        "replaced": "a" * 64,
        "promoted_at": THEN,
        "window": Window(THEN, THEN),
        "n": 0,
        "positives": 0,
        "level": 0.9,
        "open": True,
        "positives_needed": 41,
    }
    return Realised(predicted=predicted, predicted_interval=interval, **(given | facts))


def record(status: RunStatus = RunStatus.DEPLOYED, **facts: Any) -> RunRecord:
    seen = Check(
        name="roc_auc_vs_champion", status=CheckStatus.OK, value=0.012, interval=(-0.01, 0.034), n=900, positives=41
    )
    given: dict[str, Any] = {
        "run_id": "run",
        "project": "p",
        "as_of": THEN,
        "started_at": THEN,
        "seed": 7,
        "host": "h",
        "pid": 1,
        "rehone_version": "0",
        "config_sha256": "",
        "config": {"gate": {"level": 0.975}},
        "champion": "a" * 64,
        "version": "b" * 64,
        "verdict": Verdict(outcome=Outcome.PASS, reason="", checks=(seen,)),
    }
    return RunRecord(status=status, **(given | facts))


def pairs(rng: np.random.Generator, positives: int, champion: float, challenger: float) -> tuple[np.ndarray, ...]:
    """Draw binormal scores of both models, correlation .9, 5 % positives, with these ROC-AUCs."""
    y = np.r_[np.ones(positives, np.int8), np.zeros(19 * positives, np.int8)]
    z = rng.standard_normal((2, y.size))
    apart = [math.sqrt(2) * ndtri(auc) * y for auc in (champion, challenger)]
    return y, z[0] + apart[0], 0.9 * z[0] + math.sqrt(1 - 0.81) * z[1] + apart[1]


# --- what was promised --------------------------------------------------------------------------


def test_a_promotion_over_a_champion_promises_the_difference_that_the_gate_saw_at_the_level_of_its_own_run() -> None:
    found = forecast.promised(record(), level=0.95, fewest=10)
    assert found is not None
    assert (found.predicted, found.predicted_interval, found.positives_needed) == (0.012, (-0.01, 0.034), 41)
    assert found.level == pytest.approx(0.95)  # both bounds are one-sided at .975
    assert (found.open, found.promoted_at) == (True, THEN)


@pytest.mark.parametrize("status", [s for s in RunStatus if s is not RunStatus.DEPLOYED])
def test_a_run_that_did_not_deploy_promises_nothing(status: RunStatus) -> None:
    assert forecast.promised(record(status), level=0.95, fewest=10) is None


def test_a_first_deployment_promises_nothing() -> None:
    first = Verdict(outcome=Outcome.PASS, reason="", checks=())
    assert forecast.promised(record(champion=None, verdict=first), level=0.95, fewest=10) is None


def test_a_forecast_is_closed_at_as_many_positives_as_the_gate_had_and_not_one_earlier() -> None:
    soon = THEN + timedelta(days=20)
    assert not forecast.ripe(made(), 40, soon, fewest=10)
    assert forecast.ripe(made(), 41, soon, fewest=10)


def test_after_half_a_year_the_fewest_that_the_gate_takes_will_do() -> None:
    last = THEN + forecast.LONGEST
    assert not forecast.ripe(made(), 10, last - timedelta(seconds=1), fewest=10)
    assert forecast.ripe(made(), 10, last, fewest=10)
    assert not forecast.ripe(made(), 9, last, fewest=10)


# --- what came ----------------------------------------------------------------------------------


def test_the_realised_difference_is_delongs_on_the_rows_after_the_promotion() -> None:
    y, before, after = pairs(np.random.default_rng(3), 60, 0.88, 0.90)
    found = forecast.close(made(), forecast.Outcome(labels=y, replaced=before, promoted=after), LATER)
    pair = compare.delong(y, before, after)
    assert (found.realised, found.interval) == (pair.delta, pair.interval(0.9))
    assert (found.n, found.positives, found.window, found.open) == (1200, 60, LATER, False)


def test_rows_that_hang_together_in_days_give_the_interval_between_days() -> None:
    rng = np.random.default_rng(4)
    y, before, after = pairs(rng, 60, 0.88, 0.90)
    days = rng.integers(0, 12, y.size)
    found = forecast.close(made(), forecast.Outcome(labels=y, replaced=before, promoted=after, blocks=days), LATER)
    assert found.interval == compare.delong_blocks(y, before, after, days).interval(0.9)


def test_a_promise_is_kept_up_to_the_root_of_the_sum_of_both_squared_half_widths() -> None:
    y, before, after = pairs(np.random.default_rng(5), 60, 0.9, 0.9)
    outcome = forecast.Outcome(labels=y, replaced=before, promoted=after)
    came = compare.delong(y, before, after)
    low, high = came.interval(0.9)
    reach = math.hypot(0.03, (high - low) / 2)
    at_limit, beyond = came.delta + reach - 1e-9, came.delta + reach + 1e-9
    kept = forecast.close(made(at_limit, (at_limit - 0.03, at_limit + 0.03)), outcome, LATER)
    missed = forecast.close(made(beyond, (beyond - 0.03, beyond + 0.03)), outcome, LATER)
    assert (kept.covered, missed.covered) == (True, False)
    assert kept.detail.endswith("as promised, within chance")
    assert missed.detail.endswith("not what was promised, beyond chance")


def test_a_regret_is_a_whole_interval_below_zero() -> None:
    rng = np.random.default_rng(6)
    y, before, after = pairs(rng, 200, 0.9, 0.86)
    worse = forecast.close(made(), forecast.Outcome(labels=y, replaced=before, promoted=after), LATER)
    assert worse.interval is not None
    assert worse.interval[1] < 0
    assert worse.regret
    assert "a regret, version aaaaaaaaaaaa would have been better" in worse.detail
    y, before, after = pairs(rng, 20, 0.9, 0.9)
    unsure = forecast.close(made(), forecast.Outcome(labels=y, replaced=before, promoted=after), LATER)
    assert not unsure.regret


def test_one_day_of_rows_has_no_interval_and_is_neither_covered_nor_a_regret() -> None:
    y, before, after = pairs(np.random.default_rng(6), 60, 0.9, 0.8)
    one_day = forecast.Outcome(labels=y, replaced=before, promoted=after, blocks=np.zeros(y.size))
    found = forecast.close(made(), one_day, LATER)
    assert (found.interval, found.covered, found.regret) == (None, None, False)
    assert forecast.track_record([found]).coverage is None


def test_what_came_so_far_is_measured_and_called_neither_covered_nor_a_regret() -> None:
    y, before, after = pairs(np.random.default_rng(8), 30, 0.9, 0.7)
    found = forecast.so_far(made(), forecast.Outcome(labels=y, replaced=before, promoted=after), LATER)
    assert found.realised is not None
    assert (found.open, found.covered, found.regret) == (True, None, False)
    assert found.detail == "30 of 41 positives are due"
    assert forecast.track_record([found]).matured == 0


def test_the_track_record_counts_with_exact_and_with_students_intervals() -> None:
    came = [(0.01, True), (0.02, True), (-0.03, False), (0.0, True)]
    told = [made(0.02, realised=r, covered=c, open=False, positives=50) for r, c in came]
    told[2] = replace(told[2], regret=True, run_id="bad")
    found = forecast.track_record([*told, made()])
    assert (found.promotions, found.matured, found.covered, found.regrets) == (5, 4, 3, ("bad",))
    assert found.coverage == pytest.approx((0.194120, 0.993691), abs=1e-6)  # binom.test(3, 4) of R
    assert found.optimism is not None
    # t.test(c(.01, 0, .05, .02)) of R
    assert (found.optimism.value, found.optimism.low, found.optimism.high) == pytest.approx(
        (0.02, -0.014374, 0.054374), abs=1e-6
    )


# --- end to end ---------------------------------------------------------------------------------

TURN: dict[str, dict[str, Any]] = {
    "data": {"lookback_days": 40},
    "gate": {"margin_cost": 0.9},
    "deploy": {"preflight_seconds": 300},
}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, RunRecord, RunRecord]:
    """Deploy on quiet days, then on days of another meaning; then the old meaning comes back."""
    project = Project(tmp_path_factory.mktemp("turned"))
    project.configure(**TURN)
    project.feed(0, 60)
    project.feed(60, 110, turn=1.0)
    project.feed(110, 130)
    return project, project.run(60), project.run(110, force=True)


@pytest.fixture
def turned(made_once: tuple[Project, RunRecord, RunRecord], tmp_path: Path) -> tuple[Project, RunRecord, RunRecord]:
    """Return a copy of that project, to go on with, and its two runs."""
    made, first, second = made_once
    assert (first.status, second.status) == (RunStatus.DEPLOYED, RunStatus.DEPLOYED)
    shutil.copytree(made.root, tmp_path / "turned", symlinks=True)
    return Project(tmp_path / "turned"), first, second


def test_a_regret_is_recorded_once_and_flagged_with_the_one_command_that_undoes_it(
    turned: tuple[Project, RunRecord, RunRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    project, first, second = turned
    project.configure(**TURN, trigger={"min_recall": 0.01})  # nothing else acts: these runs only look
    assert project.run(111).realised == ()  # too few labels are due
    told = project.run(120)
    (one,) = told.realised
    assert (one.run_id, one.version, one.replaced) == (second.run_id, second.version, first.version)
    assert one.regret
    assert one.covered is False
    assert one.window == Window(second.as_of, told.as_of)
    assert project.run(125).realised == ()  # it was told

    status = api.status(project.root)
    (flag,) = [check for check in status.problems if check.name == "regret"]
    assert flag.remedy == f"`rehone rollback --to {(first.version or '')[:12]}` puts it back"
    capsys.readouterr()
    main(["status", "-p", str(project.root)])
    said = " ".join(capsys.readouterr().out.split())
    assert f"rehone rollback --to {(first.version or '')[:12]} -p {project.root}` puts it back" in said
    assert [check.subject for check in api.doctor(project.root) if check.name == "regret"] == [second.run_id]

    api.rollback(project.root, to=first.version)
    assert [check for check in api.status(project.root).problems if check.name == "regret"] == []
    assert api.forecasts(project.root).regrets == (second.run_id,)


def test_an_open_forecast_says_how_many_positives_are_due_and_what_came_so_far(
    turned: tuple[Project, RunRecord, RunRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    project = turned[0]
    found = api.forecasts(project.root, as_of=START + timedelta(days=113))
    (one,) = found.forecasts
    assert one.open
    assert 0 < one.positives < one.positives_needed
    assert one.realised is not None
    assert (found.promotions, found.matured, found.coverage) == (1, 0, None)
    capsys.readouterr()
    assert main(["forecasts", "-p", str(project.root), "--as-of", "2026-04-24"]) == 0
    shown = capsys.readouterr().out
    assert f"{one.positives} of {one.positives_needed}  open" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_replaced_version_that_is_gone_from_the_store_is_said_and_closes_the_forecast(
    turned: tuple[Project, RunRecord, RunRecord],
) -> None:
    project, first, second = turned
    folder = project.root / "store" / "versions" / (first.version or "")
    project.configure(**TURN, trigger={"min_recall": 0.01})
    folder.chmod(0o755)
    shutil.rmtree(folder)
    (one,) = project.run(120).realised
    assert (one.run_id, one.realised, one.open, one.regret) == (second.run_id, None, False, False)
    assert one.detail.startswith(f"version {(first.version or '')[:12]} cannot be asked any more")
    assert project.run(125).realised == ()


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_a_record_that_cannot_be_read_ends_no_run_and_no_command(
    turned: tuple[Project, RunRecord, RunRecord], damage: str
) -> None:
    project, _, second = turned
    (path,) = (project.root / "runs").rglob(f"{second.run_id}.json")
    path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:500])
    config = load_config(project.root)
    assert api.forecasts(project.root, as_of=START + timedelta(days=125)).promotions == 0
    told = api.forecasting.regrets(config, Store.of(config), Store.of(config).head())
    assert told == ()


def test_forecasts_are_printed_as_json_and_without_promotions_it_says_so(
    turned: tuple[Project, RunRecord, RunRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["forecasts", "-p", str(turned[0].root), "--as-of"]
    assert main([*command, "2026-04-01"]) == 0
    assert capsys.readouterr().out.startswith("No promotion over a champion yet, so nothing was promised")
    assert main([*command, "2026-05-01", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["promotions"], found["forecasts"][0]["run_id"]) == (1, turned[2].run_id)


def test_a_run_made_as_of_an_earlier_day_knows_nothing_of_later_promotions(
    turned: tuple[Project, RunRecord, RunRecord],
) -> None:
    assert api.forecasts(turned[0].root, as_of=START + timedelta(days=100)).promotions == 0


@pytest.mark.soak
def test_the_page_on_forecasts_can_be_pasted(tmp_path: Path) -> None:
    """Five months of bike rentals: four promotions or fewer, each held against the labels that came."""
    root = Path(__file__).parents[1]
    page = (root / "docs" / "how-to" / "forecasts.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script.replace("../promises", str(tmp_path / "promises"))],
        cwd=root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"promises +\d promotions, \d held against labels", done.stdout)


# --- simulations --------------------------------------------------------------------------------


def promotions(rng: np.random.Generator, draws: int, positives: int, gain: float) -> list[Realised]:
    """Let the default rule of the gate promote or not, and hold each promotion against as many new rows."""
    champion, challenger = 0.9 - max(gain, 0), 0.9 + min(gain, 0)
    told = []
    for _ in range(draws):
        seen = compare.delong(*pairs(rng, positives, champion, challenger))
        if seen.lower(0.95) > -0.02 or seen.delta >= 0:
            y, before, after = pairs(rng, positives, champion, challenger)
            promise = made(seen.delta, seen.interval(0.9))
            told.append(forecast.close(promise, forecast.Outcome(labels=y, replaced=before, promoted=after), LATER))
    return told


@pytest.mark.simulation
@pytest.mark.parametrize("positives", [25, 50, 100, 300])
@pytest.mark.parametrize("gain", [0.0, 0.02])
def test_promises_of_equal_and_better_challengers_are_covered_as_often_as_stated(positives: int, gain: float) -> None:
    told = promotions(np.random.default_rng(positives), 1500, positives, gain)
    found = forecast.track_record(told)
    share = found.covered / found.matured
    regretted = len(found.regrets) / found.matured
    assert found.optimism is not None
    print(f"{positives} {gain:+} {found.matured} {share:.3f} {found.optimism.value:+.4f} {regretted:.3f}")
    assert share == pytest.approx(0.90, abs=0.03)
    assert regretted <= 0.07


@pytest.mark.simulation
@pytest.mark.parametrize(("positives", "least"), [(25, 0.2), (100, 0.5), (300, 0.9)])
def test_a_worse_challenger_that_slipped_through_is_regretted_the_more_surely_the_more_rows(
    positives: int, least: float
) -> None:
    found = forecast.track_record(promotions(np.random.default_rng(positives), 1500, positives, -0.02))
    assert found.optimism is not None
    assert len(found.regrets) / found.matured >= least
    assert found.optimism.low > 0

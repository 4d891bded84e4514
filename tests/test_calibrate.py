"""Limits learned from history: what tells, what does not, and what is written into the configuration."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from conftest import START, Project
from rehone import api
from rehone.calibrate.judging import Asked, chance, changes, of_features, signals
from rehone.calibrate.recorded import recorded
from rehone.calibrate.signals import Pairs, auc, auc_interval, chance_of, crossing, crossing_interval, just_below
from rehone.cli import main
from rehone.config import Trigger, difference, parse_config, with_keys
from rehone.errors import NotFound
from rehone.records import (
    CalibrationWindow,
    DelayCurve,
    Estimate,
    Evidence,
    FeatureDrift,
    Metrics,
    Outcome,
    RunRecord,
    RunStatus,
    ScoreDrift,
    Verdict,
    Window,
)

DAY0 = datetime(2026, 1, 1, tzinfo=UTC)


def pairs(drift: list[float], recall: list[float], *, positives: int = 200) -> Pairs:
    n = len(drift)
    return Pairs.of(np.array(drift), np.array(recall), np.full(n, 0.8), np.full(n, float(positives)), 0.10)


def window(i: int, psi: float, recall: float, *, ks: float = 0.1, positives: int = 200) -> CalibrationWindow:
    start = DAY0 + timedelta(days=30 * i)
    return CalibrationWindow(
        window=Window(start, start + timedelta(days=30)),
        version="v",
        rows=1000,
        psi=psi,
        feature="amount",
        score_ks=ks,
        recall=Estimate(value=recall, low=0.0, high=1.0, n=1000, positives=positives),
        baseline=0.8,
        fallen=recall <= 0.72,
        psi_of={"amount": psi, "hour": 0.01 * (i % 3)},
    )


def history(n: int, *, tells: bool, seed: int = 3) -> list[CalibrationWindow]:
    """Recall loses a tenth at PSI .25 and more beyond it, or goes its own way."""
    rng = np.random.default_rng(seed)
    drift = rng.uniform(0.02, 0.5, n)
    cause = drift if tells else rng.uniform(0.02, 0.5, n)
    recall = 0.8 * (1 - 0.4 * cause) + rng.normal(0, 0.005, n)
    return [window(i, float(drift[i]), float(recall[i])) for i in range(n)]


# the statistics


def test_auc_counts_pairs_and_ties_half() -> None:
    fallen = np.array([False, False, True, True])
    assert auc(np.array([0.1, 0.3, 0.3, 0.4]), fallen) == (3 + 0.5) / 4
    assert auc(np.array([0.1, 0.2]), np.array([True, True])) is None


def test_recall_falls_where_the_monotone_fit_passes_the_limit() -> None:
    found = pairs([0.05, 0.1, 0.2, 0.3, 0.4], [0.80, 0.80, 0.76, 0.70, 0.60])
    assert crossing(found) == 0.3
    assert just_below(found, 0.3) == 0.27
    assert crossing(pairs([0.05, 0.1], [0.8, 0.8])) is None


def test_one_unlucky_window_among_quiet_ones_does_not_move_the_crossing() -> None:
    found = pairs([0.02, 0.05, 0.1, 0.2, 0.3, 0.4], [0.80, 0.71, 0.80, 0.80, 0.70, 0.60])
    assert crossing(found) == 0.3


def test_a_limit_lies_above_the_next_lower_drift_and_there_is_none_below_all() -> None:
    assert just_below(pairs([0.299, 0.3], [0.8, 0.6]), 0.3) == 0.2995
    assert just_below(pairs([0.3, 0.4], [0.6, 0.6]), 0.3) is None


def test_an_auc_of_one_on_few_windows_still_has_a_wide_interval() -> None:
    found = pairs([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.8, 0.8, 0.8, 0.6, 0.6, 0.6])
    interval = auc_interval(found, 0)
    assert interval is not None
    assert interval[0] < 0.6
    assert interval[1] == 1.0


def test_the_bounds_of_the_crossing_are_open_where_nothing_bounds_it() -> None:
    low, high = crossing_interval(pairs([0.1, 0.2, 0.3, 0.4], [0.80, 0.80, 0.60, 0.60], positives=2000))
    assert (low, high) == (0.2, 0.3)
    assert crossing_interval(pairs([0.1, 0.2, 0.3], [0.73, 0.72, 0.71], positives=20)) == (None, None)


def test_falls_by_chance_are_counted_exactly() -> None:
    """Ten windows of one positive each at baseline .5: a fall is tails."""
    assert chance_of(np.ones(10, dtype=np.int64), np.full(10, 0.5), 10, 0.1) == pytest.approx(0.5**10)
    assert chance_of(np.ones(10, dtype=np.int64), np.full(10, 0.5), 0, 0.1) == pytest.approx(1.0)


# what is said


def test_drift_that_tells_gives_the_limit_just_below_and_says_how_often_it_would_have_fired() -> None:
    asked = Asked(windows=history(40, tells=True), drop=0.10, seed=0)
    psi, ks = signals(asked, Trigger())
    assert psi.predicts is True
    assert psi.at == pytest.approx(0.25, abs=0.03)
    assert psi.threshold is not None
    assert psi.at_low is not None
    assert psi.at_low <= 0.25 <= (psi.at_high or 1)
    fired = [w for w in asked.windows if (w.psi or 0) >= psi.threshold]
    assert (psi.fires, psi.hits) == (len(fired), sum(bool(w.fallen) for w in fired))
    assert ks.predicts is False
    assert changes((psi, ks), Trigger(psi_action=0.5)) == {"trigger.psi_action": psi.threshold}


def test_a_limit_below_the_warning_level_moves_that_too() -> None:
    windows = [replace(w, psi=(w.psi or 0) / 5) for w in history(40, tells=True)]
    found = changes(signals(Asked(windows=windows, drop=0.10, seed=0), Trigger()), Trigger())
    assert found["trigger.psi_warn"] < found["trigger.psi_action"] < 0.1
    text = with_keys("[trigger]\n", found)
    assert parse_config(text).trigger.psi_action == found["trigger.psi_action"]


def test_drift_that_does_not_tell_changes_nothing_and_says_so() -> None:
    found = signals(Asked(windows=history(60, tells=False), drop=0.10, seed=0), Trigger())
    assert [s.predicts for s in found] == [False, False]
    assert "does not tell where recall had fallen" in found[0].detail
    assert changes(found, Trigger()) == {}


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ([window(i, 0.1, 0.5) for i in range(4)], "history is too short: 4 windows"),
        ([window(i, 0.1, 0.8) for i in range(20)], "recall hardly ever fell: 20 windows"),
        ([window(i, 0.1, 0.5) for i in range(20)], "recall was down nearly all the time: 20 windows"),
        (
            [window(i, 0.1 * i, 0.8 if i % 5 else 0.7, positives=20) for i in range(20)],
            "the falls may be chance: 20 windows",
        ),
    ],
)
def test_too_little_history_is_said_with_its_number(windows: list[CalibrationWindow], said: str) -> None:
    psi, _ = signals(Asked(windows=windows, drop=0.10, seed=0), Trigger())
    assert psi.predicts is None
    assert psi.detail.startswith(said)


def test_each_feature_is_held_against_recall_at_a_level_that_all_share() -> None:
    asked = Asked(windows=history(40, tells=True), drop=0.10, seed=0)
    found = of_features(asked, Trigger())
    assert [f.subject for f in found] == ["amount", "hour"]
    assert found[0].predicts is True
    assert found[1].predicts is not True
    assert found[0].auc_interval is not None
    assert found[0].auc_interval[0] <= (signals(asked, Trigger())[0].auc_interval or (0,))[0]
    assert chance(asked) == pytest.approx(0.0, abs=1e-3)


# history from records


def run_of(i: int, *, psi: float, recall: float | None, matured: Window | None = None) -> RunRecord:
    as_of = DAY0 + timedelta(days=30 * (i + 1))
    estimate = Estimate(value=recall, low=0, high=1, n=900, positives=90) if recall is not None else None
    evidence = Evidence(
        as_of=as_of,
        champion="v",
        window=Window(as_of - timedelta(days=30), as_of),
        rows=900,
        drift=(
            FeatureDrift(feature="amount", psi=psi),
            FeatureDrift(feature="clock", psi=9.0, ignored="clock"),
            FeatureDrift(feature="lost", psi=7.0, incident="missing"),
        ),
        scores=ScoreDrift(ks=0.05),
        matured=matured or Window(as_of - timedelta(days=30), as_of),
        recall=estimate,
    )
    return RunRecord(
        run_id=f"r{i}",
        seed=0,
        project="p",
        status=RunStatus.SKIPPED,
        as_of=as_of,
        started_at=as_of,
        host="h",
        pid=1,
        rehone_version="0",
        config_sha256="",
        config={"data": {"label_delay_days": 0.0}},
        evidence=evidence,
    )


def first_run() -> RunRecord:
    made = replace(run_of(-1, psi=0.0, recall=None), version="v", status=RunStatus.DEPLOYED, evidence=None)
    metrics = Metrics(n=500, positives=50, recall=0.8)
    return replace(made, verdict=Verdict(outcome=Outcome.PASS, reason="", challenger=metrics))


def test_records_pair_the_drift_of_a_window_with_the_recall_measured_on_it_later() -> None:
    """Labels come 30 days late: the recall of a window is in the record of the next run."""
    runs = [first_run()]
    for i in range(4):
        as_of = DAY0 + timedelta(days=30 * (i + 1))
        late = Window(as_of - timedelta(days=60), as_of)
        made = run_of(i, psi=0.1 * i, recall=0.8 - 0.1 * i, matured=late)
        runs.append(replace(made, config={"data": {"label_delay_days": 30.0}}))
    found = recorded(runs, Trigger(), 0.10)
    assert [(w.psi, w.recall.value if w.recall else None, w.fallen) for w in found] == [
        (0.0, pytest.approx(0.7), True),
        (0.1, pytest.approx(0.6), True),
        (0.2, pytest.approx(0.5), True),
    ]
    assert all(w.feature == "amount" for w in found)


def test_a_delay_that_a_run_learned_counts_instead_of_the_configured_one() -> None:
    """The recall of a run is then of other rows: those that were due by what it knew."""
    runs = [first_run()]
    for i in range(3):
        as_of = DAY0 + timedelta(days=30 * (i + 1))
        made = run_of(i, psi=0.1 * i, recall=0.8 - 0.1 * i, matured=Window(as_of - timedelta(days=60), as_of))
        curve = DelayCurve(
            days=(30.0,), share=(1.0,), low=(0.9,), high=(1.0,), n=900, arrived=900, wanted=0.9, cutoff_days=30.0
        )
        assert made.evidence is not None
        runs.append(replace(made, evidence=replace(made.evidence, maturity=curve)))
    found = recorded(runs, Trigger(), 0.10)
    assert [(w.psi, w.recall.value if w.recall else None) for w in found] == [
        (0.0, pytest.approx(0.7)),
        (0.1, pytest.approx(0.6)),
    ]


def test_records_whose_windows_overlap_count_once() -> None:
    runs = [first_run(), *(run_of(i, psi=0.1, recall=0.8) for i in range(3))]
    shifted = [replace(r, run_id=f"{r.run_id}b", as_of=r.as_of + timedelta(days=1)) for r in runs[1:]]
    for i, run in enumerate(shifted):
        assert run.evidence is not None
        later = Window(run.evidence.window.start + timedelta(days=1), run.as_of) if run.evidence.window else None
        shifted[i] = replace(run, evidence=replace(run.evidence, as_of=run.as_of, window=later))
    assert len(recorded([*runs, *shifted], Trigger(), 0.10)) == 3


# the configuration


def test_keys_are_changed_where_they_stand_and_comments_stay() -> None:
    text = '[trigger]\npsi_action = 0.25   # classic "0.25"\n# ks_action = 0.2\nmin_recall = 0.6\n\n[gate]\nmin_recall = 0.5\n'
    after = with_keys(text, {"trigger.psi_action": 0.18, "trigger.ks_action": 0.1, "train.folds": 3})
    assert after == (
        '[trigger]\npsi_action = 0.18   # classic "0.25"\n# ks_action = 0.2\nks_action = 0.1\nmin_recall = 0.6\n\n'
        "[gate]\nmin_recall = 0.5\n\n[train]\nfolds = 3\n"
    )
    assert with_keys('[data]\nsource = "a # b" # c\n', {"data.source": "d"}) == '[data]\nsource = "d" # c\n'
    assert difference(text, after, "rehone.toml").splitlines()[:2] == ["--- a/rehone.toml", "+++ b/rehone.toml"]


# through the doors


def test_nothing_was_ever_live_is_said(project: Project) -> None:
    project.feed(0, 5)
    with pytest.raises(NotFound, match="nothing was ever live"):
        api.calibrate(project.root, as_of=START + timedelta(days=5))


def test_a_project_measures_its_own_history_and_writes_the_limit(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """The world turns and its inputs move, more and more, so that drift tells; then --apply writes it."""
    project.configure(trigger={"window_days": 5, "min_positives": 10, "psi_action": 2.0})
    project.feed(0, 60)
    assert project.run(60).status is RunStatus.DEPLOYED
    for n in range(60, 124):
        far = ((n - 60) // 4) / 15
        project.feed(n, n + 1, rows=200, turn=0.5 * far, shift=far)
    end = START + timedelta(days=124)
    before = (project.root / "rehone.toml").read_text()
    found = api.calibrate(project.root, as_of=end, window_days=4)
    assert (found.origin, found.window_days, len(found.windows)) == ("data", 4, 16)
    assert found.signals[0].predicts is True
    limit = found.changes["trigger.psi_action"]
    assert 0.02 < limit < 2
    assert f"+psi_action = {limit}" in found.diff
    assert "+window_days = 4" in found.diff
    assert (project.root / "rehone.toml").read_text() == before
    assert main(["calibrate", "-p", str(project.root), "--as-of", str(end), "--window-days", "4", "--apply"]) == 0
    said = capsys.readouterr().out
    assert "PSI tells where recall had fallen" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80
    after = (project.root / "rehone.toml").read_text()
    assert parse_config(after).trigger.psi_action == limit
    assert parse_config(after).trigger.window_days == 4


@pytest.mark.slow
def test_one_version_can_be_held_for_the_whole_of_history_and_each_window_has_the_version_that_was_live(
    live: Project,
) -> None:
    live.configure(trigger={"window_days": 5, "min_positives": 10})
    live.feed(70, 110)
    first = api.status(live.root).deployment.version  # type: ignore[union-attr]  # live has one
    second = live.run(90, force=True).version
    assert first is not None
    assert second is not None
    assert first != second
    end = START + timedelta(days=110)
    lived = api.calibrate(live.root, as_of=end)
    assert [w.version for w in lived.windows] == [first] * 4 + [second] * 4
    assert lived.signals[0].predicts is None
    assert any(f"--version {first[:12]}" in note for note in lived.notes)
    held = api.calibrate(live.root, as_of=end, version=first[:12])
    assert [w.version for w in held.windows] == [first] * 8
    assert held.changes == {}
    assert held.sentence.startswith("8 windows, in ")
    from_records = api.calibrate(live.root, as_of=end, origin="records")
    assert from_records.origin == "records"
    assert len(from_records.windows) <= 1


@pytest.mark.simulation
@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_drift_that_says_nothing_is_called_telling_in_at_most_one_of_twenty_histories(memory: float) -> None:
    told = asked = 0
    for seed in range(150):
        rng = np.random.default_rng([seed, int(memory * 10)])
        drift, truth = (
            np.exp(0.7 * _serial(20, rng, memory)) * 0.15,
            0.75 * (1 - 0.12 * np.abs(_serial(20, rng, memory))),
        )
        positives = rng.integers(40, 80, 20)
        made = Pairs.of(drift, rng.binomial(positives, truth) / positives, np.full(20, 0.75), positives * 1.0, 0.10)
        if 3 <= made.fallen.sum() <= 17:
            interval = auc_interval(made, 0)
            told, asked = told + (interval is not None and interval[0] > 0.5), asked + 1
    assert asked > 100
    assert told / asked <= 0.07


@pytest.mark.simulation
def test_the_interval_of_the_crossing_holds_the_true_one_in_nine_of_ten_histories() -> None:
    held = 0
    for seed in range(150):
        rng = np.random.default_rng([seed, 7])
        drift = np.exp(0.7 * _serial(30, rng, 0.5)) * 0.2
        truth = 0.75 * np.clip(np.where(drift < 0.1, 1, 1 - 0.1 * (drift - 0.1) / 0.15), 0.2, 1)  # down a tenth at .25
        positives = rng.integers(60, 120, 30)
        made = Pairs.of(drift, rng.binomial(positives, truth) / positives, np.full(30, 0.75), positives * 1.0, 0.10)
        low, high = crossing_interval(made)
        held += (low is None or low <= 0.25) and (high is None or high >= 0.25)
    assert held / 150 >= 0.90


def _serial(n: int, rng: np.random.Generator, memory: float) -> np.ndarray:
    made = rng.normal(size=n)
    for i in range(1, n):
        made[i] = memory * made[i - 1] + np.sqrt(1 - memory**2) * made[i]
    return made

"""Replays see only what was there, decide as the pipeline does, share models, and go on where they were stopped."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from rehone import api, train
from rehone.api.backtesting import backtest as replay
from rehone.artifact import learn_contract
from rehone.backtest import lab, run, suggest
from rehone.backtest.chart import html, svg
from rehone.backtest.lab import Fitted, Refused, Shelf, best, make
from rehone.backtest.measured import Live, by_month, hindsight, within
from rehone.backtest.past import ROW, TIME, History, Past, history_of, read_history
from rehone.backtest.policies import on_grid, policies
from rehone.backtest.results import Backtest, PolicyResult, Suggestion
from rehone.backtest.stage import Stage
from rehone.backtest.walk import Walked, crown, walk
from rehone.cli.backtest import lines_of
from rehone.cli.commands import app
from rehone.config import Config, parse_config
from rehone.data import open_source
from rehone.data.facts import ODD_LABEL
from rehone.errors import DataError
from rehone.records import RunStatus, Window

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, A_DAY = 150, 24

TOML = """
[project]
name = "replayed"

[data]
source = "data.parquet"
time_column = "at"
label_delay_days = 3
lookback_days = 40
min_rows = 100

[trigger]
min_recall = 0.5
max_age_days = 21

[train]
candidates = ["logistic_regression"]
folds = 2

[gate]
min_roc_auc = 0.55
min_recall = 0.10

[backtest]
cost_of_retraining = 20
"""


def table(seed: int = 1, turn: int = 90) -> pl.DataFrame:
    """Return rows whose label follows one feature until day `turn`, and its opposite from then on."""
    draw = np.random.default_rng(seed)
    n = DAYS * A_DAY
    day = np.arange(n) // A_DAY
    x, noise = draw.normal(size=n), draw.normal(size=n)
    slope = np.where(day < turn, 2.0, -2.0)
    label = draw.random(n) < 1 / (1 + np.exp(1.5 - slope * x))
    at = [START + timedelta(hours=i) for i in range(n)]
    return pl.DataFrame({"at": at, "x": x, "noise": noise, "label": label.astype(np.int8)})


def project(folder: Path, rows: pl.DataFrame, toml: str = TOML) -> Config:
    rows.write_parquet(folder / "data.parquet")
    (folder / "rehone.toml").write_text(toml)
    return parse_config(toml, root=folder)


def history(rows: pl.DataFrame, folder: Path, toml: str = TOML) -> History:
    config = run._as_replayed(project(folder, rows, toml))
    source = open_source(config.data, folder, cache=None, as_of=datetime(2030, 1, 1, tzinfo=UTC))
    return read_history(source, config)


def staged(past: History, days: tuple[datetime, ...]) -> Stage:
    made: dict[datetime, lab.Made] = {}

    def at(day: datetime) -> lab.Made:
        if day not in made:
            made[day] = make(past, past.config, day, ("trailing", "all"))
        return made[day]

    return Stage(past, days, at)


def walked(past: History, name: str = "every 7 days") -> tuple[Walked, Fitted]:
    stage = staged(past, run.grid(past, 7))
    first, _ = crown(stage, past.config)
    assert first is not None
    policy = next(p for p in policies(past.config, every=7) if p.name == name)
    return walk(stage, policy, first), first


# --- what a day may see ----------------------------------------------------------------------------


def test_a_label_is_null_until_it_is_due(tmp_path: Path) -> None:
    past = Past(history(table(), tmp_path), START + timedelta(days=10))
    rows = past.read(Window(START, START + timedelta(days=60)))
    assert rows[TIME].max() < START + timedelta(days=10)
    due = rows[TIME] <= START + timedelta(days=7)
    assert rows.filter(due)["label"].null_count() == 0
    assert rows.filter(~due)["label"].null_count() == (~due).sum() > 0


def test_a_label_is_not_seen_before_it_became_known_though_it_was_due(tmp_path: Path) -> None:
    late = table().with_columns(known=pl.col("at") + pl.duration(days=20))
    toml = TOML.replace("label_delay_days = 3", 'label_delay_days = 3\nlabel_time_column = "known"')
    past = Past(history(late, tmp_path, toml), START + timedelta(days=30))
    assert "known" not in past.features()
    rows = past.labelled(Window(START, past.as_of), ("x",))
    assert rows[TIME].max() == START + timedelta(days=10)


def test_nothing_that_comes_after_a_day_changes_what_was_done_until_then(tmp_path: Path) -> None:
    """Rows from a day on become garbage, and so do labels that were not due: all until then stays bit for bit."""
    rows, day = table(), START + timedelta(days=101)
    later, undue = pl.col("at") >= day, pl.col("at") > day - timedelta(days=3)
    poisoned = rows.with_columns(
        x=pl.when(later).then(-7 * pl.col("noise")).otherwise("x"),
        noise=pl.when(later).then(99.0).otherwise("noise"),
        label=pl.when(undue).then(1 - pl.col("label")).otherwise("label").cast(pl.Int8),
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (clean, _), (dirty, _) = walked(history(rows, tmp_path / "a")), walked(history(poisoned, tmp_path / "b"))
    until = [event for event in clean.events if event.day <= day]
    assert any(event.ending == "deployed" for event in until)
    assert until == [event for event in dirty.events if event.day <= day]
    n = (DAYS - 49) * A_DAY
    a, b = clean.served(DAYS * A_DAY), dirty.served(DAYS * A_DAY)
    assert np.array_equal(a.scores[:n], b.scores[:n], equal_nan=True)
    assert not np.array_equal(a.scores[n:], b.scores[n:])


def test_a_column_that_begins_to_hold_the_label_helps_nobody_before_labels_of_it_are_due(tmp_path: Path) -> None:
    """From day 100 on a column is the label itself; who knew of it before would be perfect from day 100 on."""
    draw, start = np.random.default_rng(3), START + timedelta(days=100)
    rows = table(turn=DAYS)
    noise = pl.Series(draw.integers(0, 2, rows.height).astype(np.float64))
    leaking = rows.with_columns(leak=pl.when(pl.col("at") >= start).then("label").otherwise(noise).cast(pl.Float64))
    past = history(leaking, tmp_path)
    before = make(past, past.config, start + timedelta(days=3), ("trailing",))
    after = make(past, past.config, start + timedelta(days=40), ("trailing",))
    assert not isinstance(before, Refused)
    assert not isinstance(after, Refused)
    later = np.flatnonzero(past.frame[TIME] >= start + timedelta(days=43))
    seen = [within(past.labels[later], m[0].scores[later], np.zeros(later.size, np.int64)) for m in (before, after)]
    assert 0.75 < (seen[0] or 0) < 0.95
    assert (seen[1] or 0) > 0.999


# --- as the pipeline does ----------------------------------------------------------------------------


@pytest.mark.soak
def test_runs_and_the_replay_of_this_configuration_end_alike(tmp_path: Path) -> None:
    """The first version scores bit for bit as the one that a run of that day makes; later verdicts are the same."""
    past = history(table(), tmp_path)
    found, first = walked(past, "current")
    record = api.run_pipeline(tmp_path, as_of=first.as_of)
    assert record.status is RunStatus.DEPLOYED
    held = past.frame.filter(pl.col(TIME) >= first.split.holdout.start)
    assert np.array_equal(api.load(tmp_path).predict_proba(held), first.scores[held[ROW].to_numpy()])
    endings = {"deployed": RunStatus.DEPLOYED, "rejected": RunStatus.REJECTED, "inconclusive": RunStatus.INCONCLUSIVE}
    for event in found.events[:2]:
        record = api.run_pipeline(tmp_path, as_of=event.day)
        assert record.status is endings[event.ending]
        assert record.trigger is not None
        assert record.trigger.kind is event.trigger
        assert record.verdict is not None
        assert event.sentence.endswith(record.verdict.reason)


def test_of_the_windows_the_one_is_taken_that_one_search_over_all_would_choose(tmp_path: Path) -> None:
    past = history(table(), tmp_path)
    day = START + timedelta(days=100)
    made = make(past, past.config, day, ("trailing", "all"))
    assert not isinstance(made, Refused)
    learn = past.frame[made[0].learned]
    rows = train.TrainingRows(
        frame=learn,
        trailing_start=day - timedelta(days=43),
        contract=learn_contract(learn, past.features, label="label"),
    )
    both = train.search(rows, past.config.train, seed=past.config.project.seed)
    chosen = best(made, ("trailing", "all"))
    assert chosen.window == both.winner.window
    assert chosen.threshold == both.predictor.threshold
    assert np.array_equal(both.predictor.predict_proba(past.frame[-50:]), chosen.scores[-50:])


def test_every_policy_is_a_configuration_and_never_never_trains(tmp_path: Path) -> None:
    past = history(table(), tmp_path)
    named = policies(past.config, every=7)
    assert [p.name for p in named][:4] == ["never", "every 7 days", "every 28 days", "every 91 days"]
    assert all(p.config(past.config).data == past.config.data for p in named)
    breaker = {"trigger": past.config.trigger.model_copy(update={"max_lost_in_a_row": None})}
    assert named[-1].config(past.config) == past.config.model_copy(update=breaker)
    found, first = walked(past, "never")
    assert found.events == ()
    assert found.live == (first,)


def test_days_of_a_calendar_are_rounded_to_the_grid_and_never_to_none() -> None:
    assert [on_grid(days, 14) for days in (7, 30, 90)] == [14, 28, 84]
    assert on_grid(7, 30) == 30


@pytest.mark.parametrize(
    ("every", "said"),
    [
        (1, []),
        (7, []),
        (31, []),
        (
            28,
            ["age > 30 days is only seen after 56 days, with a decision every 28 days: use --every 31, or a few days"],
        ),
    ],
)
def test_a_grid_on_which_age_would_act_much_too_late_is_told(every: float, said: list[str], tmp_path: Path) -> None:
    config = project(tmp_path, table(), TOML.replace("max_age_days = 21", "max_age_days = 30"))
    assert [note for note in run._notes(config, every) if note.startswith("age")] == said


# --- measuring ----------------------------------------------------------------------------------


def test_scores_of_two_versions_are_not_compared() -> None:
    labels = np.array([0, 1, 0, 1], np.int8)
    scores = np.array([0.7, 0.9, 0.1, 0.2])
    assert within(labels, scores, np.array([0, 0, 1, 1])) == 1.0
    assert within(labels, scores, np.zeros(4, np.int64)) == 0.75
    assert within(labels, scores, np.arange(4)) is None


def test_a_month_without_enough_of_a_class_has_no_roc_auc(tmp_path: Path) -> None:
    past = history(
        table().with_columns(
            label=pl.when(pl.col("at") < START + timedelta(days=31)).then(0).otherwise("label").cast(pl.Int8)
        ),
        tmp_path,
    )
    n = past.frame.height
    live = Live(np.linspace(0, 1, n), np.zeros(n, dtype=bool), np.zeros(n, np.int64))
    months = by_month(past, live, 0)
    assert (months[0].name, months[0].roc_auc, months[0].recall) == ("2026-01", None, None)
    assert months[1].roc_auc is not None
    assert sum(month.rows for month in months) == n


def test_hindsight_is_the_least_cost_of_every_sequence_of_models() -> None:
    draw = np.random.default_rng(5)
    for price in (0.0, 1.5, 100.0):
        costs, made = draw.uniform(0, 5, (4, 5)), (0, 1, 1, 3)
        allowed = [
            path for path in itertools.product(range(4), repeat=5) if all(made[m] <= t for t, m in enumerate(path))
        ]
        least = min(
            sum(costs[m, t] for t, m in enumerate(path)) + price * sum(a != b for a, b in itertools.pairwise(path))
            for path in allowed
        )
        assert hindsight(costs, made, price) == pytest.approx(least)


# --- what is suggested -----------------------------------------------------------------------------


def result(name: str, costs: list[float], **more: object) -> PolicyResult:
    months = tuple(by_month_like(f"2026-{i + 1:02}", cost) for i, cost in enumerate(costs))
    money = sum(costs)
    given = {"name": name, "says": name, "phases": 1, "worst_month": "", "cost_per_1000": 1.0, "money": money}
    counts = dict.fromkeys(("trained", "deployed", "refused", "blocked", "rolled_back", "spent", "regret"), 0.0)
    rates = {"roc_auc": 0.8, "worst_roc_auc": 0.7, "recall": 0.5}
    return PolicyResult(**{**given, **counts, **rates, "months": months, "change": {}, **more})  # type: ignore[arg-type]  # a table of fields


def by_month_like(name: str, cost: float):  # type: ignore[no-untyped-def]  # a short name for Month
    from rehone.backtest.measured import Month

    return Month(name=name, rows=1000, positives=100, roc_auc=0.8, recall=0.5, cost_per_1000=cost)


def test_a_saving_beyond_chance_is_written_as_a_change_of_the_file() -> None:
    current = result("current", [100, 104, 98, 101, 99, 103])
    better = result(
        "every 28 days", [50, 52, 49, 51, 50, 53], change={"trigger": {"max_age_days": 27.5, "min_recall": None}}
    )
    found = suggest.suggestion((current, better), "[trigger]\nmin_recall = 0.7  # why\n")
    assert found.low is not None
    assert found.low > 40
    assert "-min_recall = 0.7  # why\n" in found.diff
    assert '+min_recall = "off"  # why\n' in found.diff
    assert "+max_age_days = 27.5\n" in found.diff


def test_a_saving_that_may_be_chance_or_costs_roc_auc_changes_nothing() -> None:
    current = result("current", [100, 20, 98, 20, 99, 20])
    lucky = result("psi", [20, 100, 20, 97, 20, 95], change={"trigger": {"psi_action": 0.25}})
    found = suggest.suggestion((current, lucky), "")
    assert (found.policy, found.diff) == ("psi", "")
    assert "keep what you have" in found.sentence
    cheap = result("never", [1] * 6, roc_auc=0.79)
    assert suggest.suggestion((current, cheap), "").policy == "current"


# --- the whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "axis"),
    [
        ((0.7312, 0.8947), ["0.75", "0.80", "0.85", "0.90"]),
        ((0.9011, 0.9034), ["0.895", "0.900", "0.905", "0.910"]),
        ((0.31, 1.0), ["0.4", "0.6", "0.8", "1.0"]),
        ((), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_figures_on_the_axis_of_the_chart_are_round_and_written_alike(
    values: tuple[float, ...], axis: list[str]
) -> None:
    months = tuple(replace(by_month_like(f"2026-{i + 1:02}", 1.0), roc_auc=value) for i, value in enumerate(values))
    current = replace(result("current", [1.0]), months=months)
    found = Backtest(
        project="cards",
        start=START,
        end=START,
        first=START,
        rows=1,
        live_rows=1,
        every=7.0,
        fits=1,
        cost_of_retraining=0.0,
        hindsight=0.0,
        policies=(current,),
        suggestion=Suggestion(policy="current", sentence=""),
    )
    assert re.findall(r'text-anchor="end">([^<]*)<', svg(found)) == axis


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Backtest]:
    folder = tmp_path_factory.mktemp("replayed")
    project(folder, table())
    return folder, replay(folder, every=7, parallel=1)


def test_policies_that_retrain_gain_where_the_world_turns(whole: tuple[Path, Backtest]) -> None:
    found = whole[1]
    never, current = found.of("never"), found.of("current")
    assert (never.roc_auc or 1) < 0.6
    assert (current.roc_auc or 0) > 0.65
    assert never.trained == 0
    assert current.spent == 20 * current.trained
    assert min(r.regret for r in found.policies) >= -1e-6
    assert found.hindsight <= min(r.total for r in found.policies) + 1e-6


def test_an_interrupted_replay_makes_only_what_is_missing(
    whole: tuple[Path, Backtest], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = whole
    shelf = next((folder / ".rehone-cache" / "backtest").iterdir())
    files = sorted(shelf.glob("*.npz"))
    files[3].unlink()
    files[5].write_bytes(files[5].read_bytes()[:-100])
    days = []

    def counted(history: History, config: Config, day: datetime, windows: tuple[str, ...]) -> lab.Made:
        days.append(f"{day:%Y%m%d}")
        return make(history, config, day, windows)

    monkeypatch.setattr(run, "make", counted)
    again = replay(folder, every=7, parallel=1)
    assert days == [files[3].name[:8], files[5].name[:8]]
    assert again == found


def test_other_rows_or_other_training_do_not_share_models(tmp_path: Path) -> None:
    past = history(table(), tmp_path)
    other = history_of(past.frame.with_columns(x=pl.col("x") + 1e-9), past.config, past.features)
    deeper = past.config.model_copy(update={"train": past.config.train.model_copy(update={"recall_floor": 0.9})})
    folders = {Shelf.of(h, c, ("all",)).folder for h, c in ((past, past.config), (other, past.config), (past, deeper))}
    assert len(folders) == 3
    assert ODD_LABEL in past.frame.columns


def test_a_history_on_which_nothing_could_go_live_says_why(tmp_path: Path) -> None:
    project(tmp_path, table(), TOML.replace("min_roc_auc = 0.55", "min_roc_auc = 0.99"))
    with pytest.raises(DataError, match=r"no first version would have gone live .* ROC-AUC 0\.\d+ must be ≥ 0\.9900"):
        replay(tmp_path, every=30, parallel=1)


def test_the_command_fits_80_columns_and_its_page_needs_nothing_else(
    whole: tuple[Path, Backtest], tmp_path: Path
) -> None:
    folder, found = whole
    page = tmp_path / "page.html"
    done = CliRunner().invoke(
        app, ["backtest", "-p", str(folder), "--every", "7", "-j", "1", "--html", str(page)], standalone_mode=False
    )
    assert done.exception is None
    assert all(len(line) <= 80 for line in done.output.splitlines())
    assert "What each would have brought" in done.output
    assert done.output.splitlines()[-1] == lines_of(found, 80)[-1]
    text = page.read_text()
    assert svg(found) in text
    assert text == html(found)
    assert "src=" not in text
    assert "href=" not in text


def test_an_unknown_policy_is_told_with_those_there_are(tmp_path: Path) -> None:
    project(tmp_path, table())
    with pytest.raises(DataError, match="no policy 'weekly': use never, every 7 days"):
        replay(tmp_path, every=7, policies=("weekly",), parallel=1)


@pytest.mark.simulation
def test_processes_make_the_same_models_as_one_and_a_killed_replay_goes_on(tmp_path: Path) -> None:
    """Kill a replay with SIGKILL while its processes fit; the next one ends as an undisturbed one does."""
    import signal
    import subprocess
    import sys
    import time

    (tmp_path / "killed").mkdir()
    (tmp_path / "calm").mkdir()
    project(tmp_path / "killed", table())
    project(tmp_path / "calm", table())
    words = [sys.executable, "-m", "rehone", "backtest", "-p", str(tmp_path / "killed"), "--every", "7", "-j", "2"]
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    cache = tmp_path / "killed" / ".rehone-cache" / "backtest"
    for _ in range(600):
        if len(list(cache.rglob("*.npz"))) >= 4:
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    after = replay(tmp_path / "killed", every=7, parallel=2)
    calm = replay(tmp_path / "calm", every=7, parallel=1)
    assert replace(after) == calm

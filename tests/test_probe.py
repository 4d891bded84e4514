"""Before the search is paid for, one cheap fit says what a retrain would gain, and ends a run that gains nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import START, Project, world
from rehone import artifact, train
from rehone.config import Train
from rehone.records import Probe, RunStatus, Window

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = ("amount", "velocity", "known", "channel")
POLICY = Train(windows=("trailing", "all"), probe="say", probe_rows=5000)


def rows_of(days: int, turned_from: int | None = None, *, rows: int = 60, seed: int = 0) -> pl.DataFrame:
    """Make days of rows; from a day on, `amount` means the opposite."""
    made = [
        world(START + DAY * n, rows=rows, seed=seed, turn=float(turned_from is not None and n >= turned_from))
        for n in range(days)
    ]
    return pl.concat(made).with_columns(pl.col("at").dt.replace_time_zone("UTC").alias("__time__")).sort("__time__")


def ask(frame: pl.DataFrame, champion_days: tuple[int, int], policy: Train = POLICY, **facts: Any) -> Probe:
    """Probe all rows of a frame for a champion that learned from a stretch of its days."""
    first, last = (BEGIN + DAY * n for n in champion_days)
    own = frame.filter((pl.col("__time__") >= first) & (pl.col("__time__") < last))
    contract = artifact.learn_contract(frame, FEATURES, label="label")
    past = train.Past(train_window=Window(first, last), train_end=own["__time__"][-1], train_rows=own.height)
    known = train.Known(frame=frame, trailing_start=BEGIN + 10 * DAY, contract=contract)
    return train.probe(known, replace(past, **facts), policy, seed=7)


def test_where_the_meaning_has_turned_a_retrain_is_expected_to_gain_much() -> None:
    found = ask(rows_of(70, turned_from=45), (0, 40))
    assert found.gain is not None
    assert found.interval is not None
    assert found.interval[0] > 0.1
    assert not found.skip
    assert 0 < found.fit_rows <= 5000


def test_the_same_rows_give_the_same_probe_to_the_last_digit() -> None:
    frame = rows_of(60, turned_from=45)
    assert ask(frame, (0, 40)) == ask(frame, (0, 40))


def test_where_nothing_has_changed_a_gain_worth_a_search_can_be_ruled_out() -> None:
    found = ask(rows_of(60), (0, 40))
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1] < 0.005
    assert found.skip
    assert (found.n, found.positives) == (600, 182)


def test_fewer_than_a_hundred_positives_never_skip_however_narrow_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["rehone.train.probe"]
    monkeypatch.setattr(module, "SURE_FROM", 182)
    assert ask(rows_of(60), (0, 40)).skip
    monkeypatch.setattr(module, "SURE_FROM", 183)
    assert not ask(rows_of(60), (0, 40)).skip


def test_with_few_labels_nothing_can_be_ruled_out_and_the_sentence_says_so() -> None:
    found = ask(rows_of(52, rows=15), (0, 40))
    assert found.interval is not None
    assert found.interval[1] > 0.005
    assert not found.skip
    assert found.gain is not None
    assert (found.gain >= 0.005) != found.detail.endswith("a gain of 0.005 cannot be ruled out")


def test_a_probe_skips_only_when_the_upper_bound_of_every_window_is_below_what_is_worth_it() -> None:
    """The newest days alone, which the trailing window has, are worse to learn from than all."""
    frame = rows_of(60, rows=200)
    few = Train(windows=("trailing",), probe="skip", probe_rows=1000)
    contract = artifact.learn_contract(frame, FEATURES, label="label")
    first, last = BEGIN, BEGIN + 40 * DAY
    own = frame.filter(pl.col("__time__") < last)
    past = train.Past(train_window=Window(first, last), train_end=own["__time__"][-1], train_rows=own.height)
    known = train.Known(frame=frame, trailing_start=BEGIN + 49 * DAY, contract=contract)
    worse = train.probe(known, past, few.model_copy(update={"probe_rows": 20_000}), seed=7)
    assert worse.interval is not None
    assert worse.interval[1] < 0.005
    assert worse.skip
    assert worse.detail.endswith("less than 0.005 on any window, so that a search is not worth its time")
    both = train.probe(known, past, POLICY, seed=7)
    assert not both.skip
    assert both.gain is not None
    assert worse.gain is not None
    assert both.gain > worse.gain


def test_the_rows_that_it_is_asked_about_are_newer_than_the_champions_training_and_are_not_learned_from() -> None:
    """A feature that knows the label in the newest days alone cannot help: it was not learned from there."""
    frame = rows_of(60)
    half = BEGIN + 50 * DAY
    leak = pl.when(pl.col("__time__") >= half).then(pl.col("label").cast(pl.Float64)).otherwise(0.5)
    leaking = frame.with_columns(leak.alias("velocity"))
    constant = frame.with_columns(pl.lit(0.5).alias("velocity"))
    found, without = ask(leaking, (0, 40)), ask(constant, (0, 40))
    assert found.n == frame.filter(pl.col("__time__") >= half).height
    assert found.gain == pytest.approx(without.gain)


def test_a_champion_whose_rows_are_gone_is_asked_itself_and_without_it_nothing_is_measured() -> None:
    frame = rows_of(60)

    class Asked:
        def predict_proba(self, rows: pl.DataFrame) -> np.ndarray:
            return np.linspace(0, 1, rows.height)

    found = ask(frame, (0, 40), train_rows=100_000, asked=Asked())
    assert found.gain is not None
    assert found.gain > 0.2
    assert "over the champion itself, whose own rows are gone" in found.detail
    blind = ask(frame, (0, 40), train_rows=100_000)
    assert (blind.gain, blind.skip) == (None, False)
    assert (
        blind.detail == "not measured: the rows that the champion learned from are gone, and it cannot be asked itself"
    )


def test_a_recalibrated_champion_is_asked_itself_because_its_model_knows_less_than_its_rows_say() -> None:
    """Its training end is that of its layer: the recipe would learn from rows that the model has never seen."""
    frame = rows_of(90, turned_from=40)

    class Old:
        """Takes `amount` for what it meant before day 40."""

        def predict_proba(self, rows: pl.DataFrame) -> np.ndarray:
            return np.asarray(1 / (1 + np.exp(-rows["amount"].to_numpy())))

    as_if_trained, found = ask(frame, (0, 75)), ask(frame, (0, 75), asked=Old(), recalibrated=True)
    assert as_if_trained.gain is not None
    assert found.gain is not None
    assert found.gain > as_if_trained.gain + 0.2
    assert "over the champion itself, whose model is older than its calibration" in found.detail
    blind = ask(frame, (0, 75), recalibrated=True)
    assert blind.gain is None
    assert blind.detail.endswith("the champion is a recalibration of an older model, and it cannot be asked itself")


def test_too_few_newer_rows_are_not_measured_and_never_skip() -> None:
    none = ask(rows_of(40), (0, 40))
    assert (none.gain, none.skip) == (None, False)
    assert none.detail == ("not measured: 0 rows to learn from are newer than the champion's training, need at least 2")
    few = ask(rows_of(42), (0, 40))
    assert few.gain is None
    assert few.detail.endswith("has not learned from, need at least 20 of each class")


# --- in a run -----------------------------------------------------------------------------------


AGED: dict[str, dict[str, Any]] = {
    "trigger": {"max_age_days": 30},
    "gate": {"min_roc_auc": 0.99},  # the search is what counts here: nobody goes live
}


@pytest.fixture
def aged(live: Project) -> Project:
    """Return a project in a world that does not change, whose champion is as old as it may be on day 105."""
    live.feed(70, 105)
    return live


def test_a_probe_is_recorded_with_its_sentence_and_the_search_goes_on(aged: Project) -> None:
    aged.configure(**AGED, train={"probe": "say"})
    said = aged.run(105)
    assert said.probe is not None
    assert said.probe.gain is not None
    (stage,) = [stage for stage in said.stages if stage.name == "probe"]
    assert stage.sentence.startswith(said.probe.detail)
    assert said.winner is not None


def test_nothing_to_gain_ends_the_run_as_skipped_before_the_search_unless_a_person_forces_it(
    aged: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Probe(gain=-0.01, interval=(-0.02, 0.001), n=900, positives=200, skip=True, detail="nothing to gain")
    monkeypatch.setattr(train, "probe", lambda *_, **__: nothing)
    aged.configure(**AGED, train={"probe": "skip"})
    skipped = aged.run(105)
    assert (skipped.status, skipped.winner, skipped.probe) == (RunStatus.SKIPPED, None, nothing)
    assert skipped.sentence.startswith("nothing to gain (train.probe); version")
    assert skipped.stages[-1].name == "probe"
    forced = aged.run(105, force=True)
    assert forced.winner is not None
    (stage,) = [stage for stage in forced.stages if stage.name == "probe"]
    assert stage.sentence == "nothing to gain; it goes on all the same"

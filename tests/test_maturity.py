"""How long labels take is learned from all rows: also from those whose label is still to come."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.stats import gamma

from conftest import START, Project
from rehone import api
from rehone.maturity import delay_curve
from rehone.records import DelayCurve, RunRecord

Floats = NDArray[np.float64]

WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
CAME = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
"""The 6-MP arm of Freireich et al. (1963), on which the product limit is taught."""


def at(curve: DelayCurve, day: float) -> float:
    return curve.share[curve.days.index(day)]


def rows(seed: int, n: int, *, oldest: float = 60) -> tuple[Floats, Floats]:
    """Draw ages over two months and delays with mean 10 days, whether they have passed or not."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, oldest, n), rng.gamma(2, 5, n)


# --- the estimator --------------------------------------------------------------------------


def test_the_product_limit_is_that_of_the_textbook() -> None:
    weeks, came = np.repeat(np.array(WEEKS, dtype=float), 10), np.repeat(np.array(CAME), 10) == 1
    ages = np.where(came, 40.0, weeks)
    curve = delay_curve(ages, np.where(came, weeks, np.nan), wanted=0.9)
    taught = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for week, remaining in taught.items():
        assert 1 - at(curve, week) == pytest.approx(remaining, abs=5e-4)
    assert (curve.n, curve.arrived, curve.cutoff_days, curve.truncated) == (210, 90, None, False)
    assert curve.detail == (
        "55.2 % of labels are known 23 days after the event (at least 46.8 %), 90 % are wanted: wait for older rows, or ask "
        "for less if the others never get a label or a label time"
    )


def test_without_rows_that_wait_the_share_is_simply_counted_in_both_directions() -> None:
    rng = np.random.default_rng(1)
    delays = rng.integers(1, 9, 400).astype(float)
    whole = delay_curve(np.full(400, 30.0), delays, wanted=0.9)
    assert whole.truncated
    waiting = delay_curve(np.append(np.full(400, 30.0), 0.0), np.append(delays, np.nan), wanted=0.9)
    assert not waiting.truncated
    for day in range(1, 9):
        counted = float((delays <= day).mean())
        assert at(whole, day) == pytest.approx(counted, abs=1e-4)
        assert at(waiting, day) == pytest.approx(counted, abs=1e-4)


def test_rows_without_a_label_are_used_and_their_loss_is_corrected() -> None:
    ages, delays = rows(2, 8000)
    truth = gamma.cdf(10, 2, scale=5)
    followed = delay_curve(ages, delays, wanted=0.9)
    there = delays <= ages
    only_labelled = delay_curve(ages[there], delays[there], wanted=0.9)
    naive = float((delays[there] <= 10).mean())
    assert naive > truth + 0.05
    for curve in (followed, only_labelled):
        near = int(np.searchsorted(curve.days, 10))
        assert curve.share[near] == pytest.approx(gamma.cdf(curve.days[near], 2, scale=5), abs=0.02)
    assert only_labelled.truncated
    assert "labels that never come, or after" in only_labelled.detail


def test_the_cut_off_is_the_first_day_on_which_the_share_is_surely_reached() -> None:
    ages, delays = rows(3, 8000)
    curve = delay_curve(ages, delays, wanted=0.9)
    assert curve.cutoff_days is not None
    assert gamma.ppf(0.9, 2, scale=5) <= curve.cutoff_days <= gamma.ppf(0.92, 2, scale=5)
    assert curve.detail == f"90 % of labels are known {curve.cutoff_days:g} days after the event"
    more = delay_curve(ages, delays, wanted=0.97)
    assert more.cutoff_days is not None
    assert more.cutoff_days > curve.cutoff_days


def test_labels_that_never_come_are_a_plateau_and_said() -> None:
    ages, delays = rows(4, 4000)
    never = np.random.default_rng(40).random(4000) < 0.2
    curve = delay_curve(ages, np.where(never, np.nan, delays), wanted=0.95)
    assert curve.cutoff_days is None
    assert 0.76 < curve.share[-1] < 0.84
    assert "ask for less if the others never get a label" in curve.detail


def test_positives_that_come_later_are_waited_for() -> None:
    rng = np.random.default_rng(5)
    ages = rng.uniform(0, 90, 6000)
    positive = rng.random(6000) < 0.06
    delays = np.where(positive, rng.gamma(4, 5, 6000), rng.gamma(2, 1, 6000))
    curve = delay_curve(ages, delays, wanted=0.9, positive=positive)
    careless = delay_curve(ages, delays, wanted=0.9)
    assert careless.cutoff_days is not None
    assert curve.cutoff_days is not None
    assert careless.cutoff_days < 15
    assert curve.cutoff_days == curve.positives_days
    assert 26 < curve.cutoff_days < 50
    assert curve.detail.endswith(f"but of positives only after {curve.cutoff_days:g}: the cut-off waits for them")


def test_a_handful_of_labels_says_nothing() -> None:
    curve = delay_curve(np.full(49, 30.0), np.full(49, 2.0), wanted=0.9)
    assert (curve.cutoff_days, curve.days) == (None, ())
    assert curve.detail == "49 of 49 rows have a label with a time, need 50"
    assert delay_curve([], [], wanted=0.9).detail == "0 of 0 rows have a label with a time, need 50"


def test_a_few_old_rows_do_not_speak_for_all() -> None:
    """One late label of the one old row would be all that was ever at risk on that day."""
    ages = np.append(np.full(500, 20.0), [300.0, 300.0])
    delays = np.append(np.random.default_rng(6).uniform(0, 10, 500), [299.0, 290.0])
    curve = delay_curve(ages, delays, wanted=0.9)
    assert curve.cutoff_days is not None
    assert 9 <= curve.cutoff_days <= 10
    assert curve.days[-1] <= 10


@pytest.mark.simulation
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("n", [300, 3000])
def test_intervals_hold_the_share_and_the_cut_off_is_seldom_early(n: int, truncated: bool) -> None:
    """Over 400 histories the 95 % interval at 10 days holds the truth in 92 to 99 %, and 3 % of cut-offs are early at most."""
    held, early, found = 0, 0, 0
    for seed in range(400):
        ages, delays = rows(seed, n)
        kept = delays <= ages if truncated else np.ones(n, dtype=bool)
        curve = delay_curve(ages[kept], delays[kept], wanted=0.9)
        near = int(np.searchsorted(curve.days, 10, "right")) - 1
        truth = gamma.cdf(curve.days[near], 2, scale=5)
        held += curve.low[near] <= truth <= curve.high[near]
        if curve.cutoff_days is not None:
            found += 1
            early += curve.cutoff_days < gamma.ppf(0.9, 2, scale=5)
    assert 0.92 <= held / 400 <= 0.99
    assert found >= 390
    assert early / found <= 0.03


# --- in a run -------------------------------------------------------------------------------


def feed(project: Project, first: int, last: int) -> None:
    """Write days whose labels become known 1 to 9 days after the event."""
    project.feed(first, last, seed=3)
    for path in sorted((project.root / "data").glob("*.parquet"))[-(last - first) :]:
        frame = pl.read_parquet(path)
        rng = np.random.default_rng(frame.height + int(path.stem.replace("-", "")))
        minutes = rng.integers(1440, 9 * 1440, frame.height)
        frame.with_columns(known_at=pl.col("at") + pl.Series(minutes) * timedelta(minutes=1)).write_parquet(path)


def curve_of(record: RunRecord) -> DelayCurve:
    assert record.evidence is not None
    assert record.evidence.maturity is not None
    return record.evidence.maturity


def test_a_run_waits_as_long_as_labels_take_and_estimates_meanwhile(project: Project) -> None:
    """One project from its first version to an estimate that came true; each day sees only labels known by then."""
    project.configure(
        data={"label_time_column": "known_at", "label_completeness": 0.9}, trigger={"min_estimated_recall": 0.2}
    )
    feed(project, 0, 100)

    made = project.run(70)
    assert made.status == "deployed", made.sentence
    assert made.split is not None
    assert (
        made.stages[0].sentence
        == f"no champion yet; 70 files; labels are due after {curve_of(made).cutoff_days:g} days"
    )
    cutoff = curve_of(made).cutoff_days
    assert cutoff is not None
    assert 8.0 < cutoff < 9.0
    learned = made.split.train_rows + made.split.holdout_rows
    assert learned == known_and_due(project, made.as_of, cutoff)
    nulls = next(c for c in made.data_checks if c.name == "label_nulls")
    assert (nulls.status, nulls.value) == ("ok", float(due(project, made.as_of, cutoff).height - learned))
    assert 0 < (nulls.value or 0) <= (nulls.limit or 0)

    first = project.run(82)
    assert first.evidence is not None
    assert first.evidence.estimated is not None
    estimated = first.evidence.estimated.recall
    assert estimated is not None
    assert (first.evidence.held, first.status) == (None, "skipped")

    then = api.check(project.root, as_of=START + timedelta(days=95))
    assert then.evidence is not None
    held = then.evidence.held
    assert held is not None
    assert held.measured is not None
    assert (held.run_id, held.estimated, held.covered) == (first.run_id, estimated, True)

    turn_the_future_round(project, datetime.combine(START, time(), UTC) + timedelta(days=95))
    again = api.check(project.root, as_of=START + timedelta(days=95))
    assert again.evidence == then.evidence
    assert again.data_checks == then.data_checks


def due(project: Project, as_of: datetime, cutoff: float) -> pl.DataFrame:
    """Return the rows of the trailing window that are as old as the cut-off."""
    at = pl.col("at").dt.replace_time_zone("UTC")
    oldest, newest = as_of - timedelta(days=60 + cutoff), as_of - timedelta(days=cutoff)
    return pl.read_parquet(project.root / "data" / "*.parquet").filter(at >= oldest, at <= newest)


def known_and_due(project: Project, as_of: datetime, cutoff: float) -> int:
    known = pl.col("known_at").dt.replace_time_zone("UTC") <= as_of
    return due(project, as_of, cutoff).filter(known).height


def turn_the_future_round(project: Project, day: datetime) -> None:
    """Turn every label that became known after the day, and the time at which it did."""
    late = pl.col("known_at").dt.replace_time_zone("UTC") > day
    for path in (project.root / "data").glob("*.parquet"):
        pl.read_parquet(path).with_columns(
            label=pl.when(late).then(1 - pl.col("label")).otherwise("label"),
            known_at=pl.when(late).then(pl.col("known_at") + timedelta(days=400)).otherwise("known_at"),
        ).write_parquet(path)

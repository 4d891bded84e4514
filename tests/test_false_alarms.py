"""The budget of false alarms is a limit in PSI and KS units, by theory and by the reference's own days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from rehone import codec, drift, profile
from rehone.config import Trigger
from rehone.profile.spread import spread_of, spread_of_scores
from rehone.records import (
    Check,
    CheckStatus,
    Contract,
    Evidence,
    Feature,
    FeatureDrift,
    FeatureKind,
    Profile,
    ScoreDrift,
    Window,
)
from rehone.trigger import decide

START = datetime(2025, 1, 6, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=91))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALPHA = 1 / 365
X = Contract(features=(Feature("x", FeatureKind.NUMERIC),), label="label")
OFF = Trigger(psi_action=None)


def rows(days: int, *, first: int = 0, seed: int = 0, moves: float = 0.0, per_day: int = 60) -> pl.DataFrame:
    """Make normal rows whose mean differs from day to day by `moves`."""
    rng = np.random.default_rng(seed)
    at = [START + timedelta(days=first + i, minutes=20 * k) for i in range(days) for k in range(per_day)]
    mean = np.repeat(rng.normal(0, moves, days), per_day)
    return pl.DataFrame(
        {"x": mean + rng.normal(size=days * per_day), "__time__": pl.Series(at, dtype=pl.Datetime("us", "UTC"))}
    )


def found(then: pl.DataFrame, now: pl.DataFrame) -> FeatureDrift:
    made = profile.build(then, X, window=WINDOW)
    return drift.feature_drift(made, profile.count(now, made))[0]


def checked(
    *features: FeatureDrift, policy: Trigger = OFF, scores: ScoreDrift | None = None, name: str = "psi"
) -> Check:
    decision = decide(Evidence(as_of=NOW, champion="c" * 64, drift=features, scores=scores), policy)
    return next(c for c in decision.checks if c.name == name)


def moved(psi: float, **more: object) -> FeatureDrift:
    """Return a drift of ten bins of 900 rows against 5,000, with the p-value that theory gives it."""
    made = FeatureDrift(feature="x", psi=psi, bins=10, n_reference=5000, n_current=900, noise=0.0118, **more)  # type: ignore[arg-type]
    return replace(made, p_value=float(chi2.sf(5000 * 900 / 5900 * psi, 9)))


# --- the limit --------------------------------------------------------------------------------


def test_the_limit_is_the_quantile_that_chance_exceeds_as_often_as_is_accepted() -> None:
    limit = chi2.isf(ALPHA, 9) / (5000 * 900 / 5900)
    assert drift.chance_psi(moved(0.1), ALPHA) == pytest.approx(limit)
    found = checked(moved(0.02))
    assert found.limit == pytest.approx(limit)
    assert "chance alone reaches 0.033 once a year on 900 rows, by theory; rule of thumb 0.10, 0.25" in found.detail


def test_with_psi_action_off_a_psi_acts_at_the_chance_limit_and_not_below() -> None:
    limit = checked(moved(0.02)).limit
    assert limit is not None
    assert checked(moved(limit * 1.0001)).status is CheckStatus.ACT
    assert checked(moved(limit * 0.9999)).status is CheckStatus.OK
    assert "rule of thumb 0.10, 0.25" in checked(moved(limit * 1.0001)).detail


def test_the_larger_of_the_configured_and_the_chance_limit_decides() -> None:
    assert checked(moved(0.1), policy=Trigger()).limit == 0.25
    small = replace(moved(0.3, p_value=None), n_current=60, noise=0.15)
    small = replace(small, p_value=float(chi2.sf(5000 * 60 / 5060 * 0.3, 9)))
    few = checked(small, policy=Trigger(psi_warn=0.2, psi_action=0.2))
    assert few.limit == pytest.approx(chi2.isf(ALPHA, 9) / (5000 * 60 / 5060))
    assert few.status is CheckStatus.UNKNOWN


@pytest.mark.parametrize(("budget", "said"), [(1, "once a year"), (4, "4 times a year"), (0.5, "once in 2 years")])
def test_fewer_false_alarms_make_a_higher_limit_and_are_said_in_words(budget: float, said: str) -> None:
    found = checked(moved(0.02), policy=Trigger(false_alarms_per_year=budget, psi_action=None))
    assert found.limit == pytest.approx(chi2.isf(budget / 365, 9) / (5000 * 900 / 5900))
    assert said in found.detail


def test_all_tests_of_a_day_share_the_budget_and_one_alarm_leaves_more_to_the_next() -> None:
    quiet = [replace(moved(0.01), feature=f"f{i}") for i in range(11)]
    alone = checked(moved(0.02), *quiet).limit
    assert alone == pytest.approx(chi2.isf(ALPHA / 12, 9) / (5000 * 900 / 5900))
    beside = decide(Evidence(as_of=NOW, champion="c" * 64, drift=(moved(0.5), *quiet)), OFF).checks
    assert next(c.limit for c in beside if c.subject == "f0") == pytest.approx(
        chi2.isf(2 * ALPHA / 12, 9) / (5000 * 900 / 5900)
    )


def test_scores_have_a_chance_limit_too() -> None:
    scores = ScoreDrift(ks=0.05, p_value=0.4, n_reference=900, n_current=60)
    limit = drift.chance_ks(scores, ALPHA)
    assert limit == pytest.approx(0.2379, abs=1e-3)
    assert checked(scores=scores, name="score_ks").limit == limit
    assert "chance alone reaches 0.24 once a year" in checked(scores=scores, name="score_ks").detail
    many = replace(scores, n_current=900)
    assert checked(scores=many, name="score_ks").limit == 0.2


# --- the reference's own days -----------------------------------------------------------------


def test_the_law_of_whole_weeks_is_that_of_a_drawn_block_bootstrap() -> None:
    """Draw 4,000 weeks of thirteen: their mean PSI, freed of its bias of 12/13, is what the closed form says."""
    rng = np.random.default_rng(1)
    odds = np.exp(rng.normal(0, 0.4, (91, 1)) * np.linspace(-1, 1, 8) + (np.arange(91) % 7 >= 5)[:, None] * 0.5)
    days = rng.multinomial(500, odds / odds.sum(axis=1, keepdims=True))
    weeks = days.reshape(13, 7, 8).sum(axis=1)
    drawn = weeks[rng.integers(0, 13, 4_000)]
    share = days.sum(axis=0) / days.sum()
    psi = (drawn / 3500 - share) * np.log(drawn / 3500 / share)
    spread = spread_of(np.arange(91.0), days)
    assert spread is not None
    assert 7 / 3500 + spread.excess[6] == pytest.approx(psi.sum(axis=1).mean() * 13 / 12, rel=0.15)


def test_days_that_differ_raise_the_limit_and_are_no_drift() -> None:
    quiet = found(rows(91, moves=0.8), rows(7, first=91, seed=1, moves=0.8))
    assert quiet.basis == "history"
    assert quiet.history is not None
    assert quiet.history.days == 91
    plain = replace(quiet, history=None, p_value=float(chi2.sf((quiet.psi or 0) / (quiet.noise or 1) * 9, 9)))
    assert checked(plain).status is CheckStatus.ACT
    assert checked(quiet).status is not CheckStatus.ACT
    assert "by 91 days of the reference" in checked(quiet).detail


def test_days_that_do_not_differ_leave_the_limit_near_that_of_theory() -> None:
    limits = [drift.chance_psi(found(rows(91, seed=s), rows(7, first=91, seed=9)), ALPHA) for s in range(5)]
    theory = chi2.isf(ALPHA, 9) * (1 / 5460 + 1 / 420)
    assert theory * 0.999 <= min(x for x in limits if x)
    assert float(np.median([x for x in limits if x])) < theory * 1.8


def test_a_shift_beyond_what_days_do_is_found() -> None:
    then, now = rows(91, moves=0.3), rows(7, first=91, seed=1, moves=0.3).with_columns(pl.col("x") + 1.2)
    assert checked(found(then, now)).status is CheckStatus.ACT


def grown(frame: pl.DataFrame, a_day: float) -> pl.DataFrame:
    """Let the mean rise by `a_day` from day to day."""
    day = (pl.col("__time__") - START).dt.total_days()
    return frame.with_columns(pl.col("x") + day * a_day)


def test_a_growth_that_goes_on_is_drift_and_no_chance_that_the_reference_knows() -> None:
    then, now = rows(91, moves=0.2), rows(7, first=112, seed=1, moves=0.2)
    flat, rising = found(then, now), found(grown(then, 0.02), grown(now, 0.02))
    assert checked(flat).status is not CheckStatus.ACT
    assert checked(rising).status is CheckStatus.ACT
    assert (rising.psi or 0) > 0.25
    limits = [drift.chance_psi(d, ALPHA) or 0.0 for d in (flat, rising)]
    assert limits[1] < 1.5 * limits[0]


def test_a_season_of_a_year_is_taken_out_with_its_turns() -> None:
    def seasonal(frame: pl.DataFrame) -> pl.DataFrame:
        day = (pl.col("__time__") - START).dt.total_days()
        return frame.with_columns(pl.col("x") - (day * 2 * np.pi / 365).cos())

    then, now = rows(364, moves=0.2, per_day=20), rows(30, first=364, seed=1, moves=0.2, per_day=20)
    flat, winter = found(then, now), found(seasonal(then), seasonal(now))
    assert checked(flat).status is not CheckStatus.ACT
    assert checked(winter).status is CheckStatus.ACT
    assert (drift.chance_psi(winter, ALPHA) or 0) < 2 * (drift.chance_psi(flat, ALPHA) or 0)


def test_hours_that_every_day_has_once_leave_theory_the_last_word() -> None:
    then, now = rows(91), rows(7, first=91)
    hours = (pl.col("__time__").dt.hour() + pl.col("__time__").dt.minute() / 60).alias("x")
    assert found(then.with_columns(hours), now.with_columns(hours)).history is None


@pytest.mark.parametrize("held", [28, 40])
def test_few_days_in_a_long_time_have_a_law_all_the_same(held: int) -> None:
    days = rows(364, moves=0.3).filter(
        (pl.col("__time__") - START).dt.total_days().is_in([*range(held - 7), *range(357, 364)])
    )
    like = found(days, rows(30, first=364, seed=1, moves=0.3))
    assert like.p_value is not None
    assert 0 <= like.p_value <= 1


def test_under_eight_weeks_theory_stands_alone_and_says_so() -> None:
    short = found(rows(55, moves=0.5), rows(7, first=91, seed=1, moves=0.5))
    assert (short.basis, short.history) == ("theory", None)
    assert "rows, by theory" in checked(replace(short, p_value=0.5)).detail
    assert found(rows(56, moves=0.5), rows(7, first=91, seed=1)).basis == "history"


def test_a_window_without_times_is_judged_by_theory() -> None:
    made = profile.build(rows(91), X, window=WINDOW)
    assert drift.feature_drift(made, profile.count(rows(7).drop("__time__"), made))[0].basis == "theory"


def test_weekdays_are_no_drift_in_thirty_days_with_five_weekends() -> None:
    def weekly(days: int, first: int, seed: int) -> pl.DataFrame:
        return rows(days, first=first, seed=seed, per_day=70).with_columns(
            pl.col("x") + 5 * (pl.col("__time__").dt.weekday() >= 6).cast(pl.Float64)
        )

    made = profile.build(weekly(91, 0, 0), X, window=WINDOW)
    now = profile.count(weekly(30, 96, 1), made)  # Saturday to Sunday: ten days of weekend
    like = drift.feature_drift(made, now)[0]
    unlike = drift.feature_drift(replace(made, weekday_days=()), now)[0]
    assert like.psi is not None
    assert unlike.psi is not None
    assert like.psi < unlike.psi / 2
    assert checked(like).status is not CheckStatus.ACT


# --- faults of the feed -------------------------------------------------------------------------


def with_outages(frame: pl.DataFrame, every: int) -> pl.DataFrame:
    """Make a third of the rows of each `every`-th day null."""
    day = pl.col("__time__").dt.ordinal_day()
    lost = (day % every == 0) & (pl.col("__time__").dt.minute() == 0)
    return frame.with_columns(x=pl.when(lost).then(None).otherwise(pl.col("x")))


def test_outages_that_the_reference_knows_do_not_block_and_new_ones_do() -> None:
    now = with_outages(rows(7, first=91, seed=1), 2)
    used = found(with_outages(rows(91), 9), now)
    fresh = found(rows(91), now)
    assert fresh.incident == "missing"
    assert checked(fresh, policy=Trigger(psi_warn=0.01, psi_action=0.02)).status is CheckStatus.ACT
    assert (used.p_value or 0) > 1e6 * (fresh.p_value or 0)


def test_a_sensor_that_is_stuck_for_a_week_blocks_however_much_its_days_differ() -> None:
    stuck = rows(7, first=91, seed=1).with_columns(x=pl.lit(0.1))
    broken = found(rows(91, moves=2.0), stuck)
    assert broken.incident == "constant"
    assert checked(broken, policy=Trigger()).status is CheckStatus.ACT


# --- scores and what is kept -----------------------------------------------------------------------


def scored(moves: float) -> tuple[Profile, ScoreDrift]:
    def sigmoid(frame: pl.DataFrame) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-frame["x"].to_numpy()))

    then, now = rows(91, moves=moves), rows(7, first=91, seed=3, moves=moves)
    made = profile.build(then, X, window=WINDOW, scores=sigmoid(then))
    counts = profile.count(now.with_columns(s=pl.Series(sigmoid(now))), made, score="s")
    return made, drift.score_drift(made, counts)


def test_scores_that_differ_from_day_to_day_have_a_higher_limit() -> None:
    _, alike = scored(0.0)
    _, unlike = scored(1.0)
    assert (alike.basis, unlike.basis) == ("history", "history")
    steady, loose = drift.chance_ks(alike, ALPHA), drift.chance_ks(unlike, ALPHA)
    assert steady is not None
    assert loose is not None
    assert steady < 0.13
    assert loose > 2 * steady
    assert (unlike.p_value or 0) > ALPHA


def test_scores_of_one_value_or_of_few_days_have_no_spread() -> None:
    assert spread_of_scores(np.arange(91.0), np.full((91, 1), 20.0)) is None
    assert spread_of_scores(np.arange(50.0), np.full((50, 9), 20.0)) is None
    assert spread_of(np.arange(91.0), np.tile([5, 0], (91, 1))) is None


def test_a_profile_with_its_spread_is_read_back_and_stays_small() -> None:
    made, _ = scored(0.3)
    written = codec.encode(made)
    assert codec.decode(written, Profile, source="profile.json") == made
    bare = replace(made, features=tuple(replace(f, spread=None, faults=None) for f in made.features))
    assert len(written) - len(codec.encode(bare)) < 1_000
    assert sum(made.weekday_days) == 91


def test_the_same_rows_in_another_order_give_the_same_spread() -> None:
    then = rows(91, moves=0.3)
    once, again = (profile.build(f, X, window=WINDOW) for f in (then, then.sample(fraction=1, shuffle=True, seed=2)))
    assert once == again


@pytest.mark.parametrize("gaps", [(), (5, 6), (0, 1, 2, 3)])
def test_days_without_rows_and_weekdays_that_never_come_are_no_error(gaps: Sequence[int]) -> None:
    then = rows(91, moves=0.3).filter(~pl.col("__time__").dt.weekday().sub(1).is_in(list(gaps)))
    now = rows(14, first=91, seed=1, moves=0.3).filter(~pl.col("__time__").dt.weekday().sub(1).is_in(list(gaps)))
    like = found(then, now)
    assert like.p_value is not None
    assert 0 <= like.p_value <= 1
    assert like.basis == "history"

"""The simulated stream: what each dial moves, and what it leaves as it is."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rehone.testing import FEATURES, Dials, FraudStream

EVERYDAY = FraudStream(rows_per_day=400).days(0, 50)


@lru_cache
def changed(dials: Dials) -> pl.DataFrame:
    return FraudStream(seed=8, rows_per_day=400, changes=((0, dials),)).days(0, 50)


def means(frame: pl.DataFrame) -> np.ndarray:
    numeric = [name for name in FEATURES if name != "merchant_code"]
    return frame.select(pl.col(numeric).cast(pl.Float64).log1p().mean()).to_numpy()[0]


def standardised_gap(one: pl.DataFrame, other: pl.DataFrame) -> float:
    """Return the largest difference of means in standard errors."""
    numeric = [name for name in FEATURES if name != "merchant_code"]
    logs = [f.select(pl.col(numeric).cast(pl.Float64).log1p()).to_numpy() for f in (one, other)]
    error = np.sqrt(sum(x.var(axis=0) / len(x) for x in logs))
    return float(np.abs((logs[0].mean(axis=0) - logs[1].mean(axis=0)) / error).max())


def calibration_gap(frame: pl.DataFrame) -> float:
    """Return how many standard errors the positives are from what the true odds say."""
    p, y = frame["p"].to_numpy(), frame["label"].to_numpy()
    return float((y.sum() - p.sum()) / np.sqrt((p * (1 - p)).sum()))


def test_everyday_payments_have_the_asked_rate_of_positives_and_a_known_best_auc() -> None:
    assert abs(EVERYDAY["label"].mean() - 0.06) < 0.005
    assert 0.82 < FraudStream().oracle_auc(EVERYDAY) < 0.86
    assert set(FEATURES) | {"event_time", "label", "label_known_at", "p"} == set(EVERYDAY.columns)


def test_the_same_seed_and_day_give_the_same_rows_and_others_do_not() -> None:
    assert FraudStream().day(3).equals(FraudStream().day(3))
    assert not FraudStream().day(3).equals(FraudStream(seed=8).day(3))
    assert FraudStream(start=date(2026, 3, 1)).day(2)["event_time"].dt.date().min() == date(2026, 3, 3)


@pytest.mark.parametrize(
    "dials",
    [
        Dials(),
        Dials(covariate=1),
        Dials(concept=1),
        Dials(prior=1),
        Dials(off_support=1),
        Dials(weekly=1),
        Dials(covariate=0.5, concept=0.5, prior=-1),
    ],
)
def test_p_is_the_true_probability_whatever_the_dials(dials: Dials) -> None:
    frame = changed(dials)
    assert abs(calibration_gap(frame)) < 3
    assert abs(calibration_gap(frame.filter(pl.col("amount") > pl.col("amount").median()))) < 3


def test_concept_turns_the_odds_and_moves_neither_inputs_nor_rate() -> None:
    turned = changed(Dials(concept=1))
    assert standardised_gap(EVERYDAY, turned) < 4
    assert abs(turned["label"].mean() - 0.06) < 0.005
    plain = FraudStream(seed=8, rows_per_day=400).days(0, 50)
    assert plain.select(FEATURES).equals(turned.select(FEATURES))
    assert np.corrcoef(plain["p"].rank(), turned["p"].rank())[0, 1] < 0.6


def test_prior_moves_the_rate_and_keeps_the_inputs_of_each_class() -> None:
    doubled = changed(Dials(prior=1))
    odds = 2 * 0.06 / 0.94
    assert abs(doubled["label"].mean() - odds / (1 + odds)) < 0.007
    for label in (0, 1):
        assert standardised_gap(EVERYDAY.filter(label=label), doubled.filter(label=label)) < 4


def test_covariate_moves_the_inputs_and_keeps_what_they_mean() -> None:
    moved = changed(Dials(covariate=1))
    assert standardised_gap(EVERYDAY, moved) > 20
    assert moved["label"].mean() > 0.10
    assert moved["amount"].max() <= 5_000


def test_off_support_adds_payments_such_as_none_was_seen() -> None:
    away = changed(Dials(off_support=1))
    assert EVERYDAY["amount"].max() <= 5_000
    assert abs((away["amount"] > 5_000).mean() - 1 / 3) < 0.02


def test_nulls_are_the_share_asked_for_and_leave_the_other_rows_as_they_are() -> None:
    stream = FraudStream(seed=8, rows_per_day=400, changes=((0, Dials(nulls=0.3)),))
    frame, whole = stream.days(0, 50), FraudStream(seed=8, rows_per_day=400).days(0, 50)
    assert abs(frame["distance_km"].is_null().mean() - 0.3) < 0.02
    kept = frame["distance_km"].is_not_null()
    assert frame.filter(kept)["distance_km"].equals(whole.filter(kept)["distance_km"])
    assert frame["amount"].equals(whole["amount"])


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("dropped", lambda f: "distance_km" not in f.columns),
        ("renamed", lambda f: "distance" in f.columns and "distance_km" not in f.columns),
        ("text", lambda f: f["amount"].dtype == pl.String),
        ("cents", lambda f: f["amount"].median() > 3_000),
    ],
)
def test_a_schema_fault_begins_on_its_day(schema: str, said) -> None:
    stream = FraudStream(changes=((2, Dials(schema=schema)),))
    assert not said(stream.day(1))
    assert said(stream.day(2))


def test_labels_become_known_after_a_delay_with_the_asked_mean() -> None:
    frame = FraudStream(rows_per_day=400, label_delay_days=10).days(0, 30)
    days = (frame["label_known_at"] - frame["event_time"]).dt.total_seconds() / 86_400
    assert days.min() > 0
    assert abs(days.mean() - 10) < 0.3
    assert FraudStream().day(0).select((pl.col("label_known_at") == pl.col("event_time")).all()).item()


def test_weekends_differ_only_when_the_dial_says_so() -> None:
    weekly = FraudStream(changes=((0, Dials(weekly=1)),))  # the third day is a Saturday
    assert weekly.day(2).height == 180
    assert FraudStream().day(2).height == 300


def test_files_are_named_by_their_day_and_never_hold_the_odds(tmp_path: Path) -> None:
    paths = FraudStream().write(tmp_path / "data", 30, 3)
    assert [path.name for path in paths] == ["2026-01-31.parquet", "2026-02-01.parquet", "2026-02-02.parquet"]
    assert "p" not in pl.read_parquet(paths[0]).columns
    assert pl.read_parquet(paths[0])["event_time"].dt.date().unique().to_list() == [date(2026, 1, 31)]


def test_the_oracle_needs_both_classes_and_dials_their_range() -> None:
    one_class = EVERYDAY.filter(label=0)
    with pytest.raises(ValueError, match=f"0 positives and {one_class.height} negatives"):
        FraudStream().oracle_auc(one_class)
    with pytest.raises(ValueError, match=r"nulls is 1\.5, must be between 0 and 1"):
        Dials(nulls=1.5)
    with pytest.raises(ValueError, match="schema is 'lost', must be one of cents, dropped, renamed, text"):
        Dials(schema="lost")

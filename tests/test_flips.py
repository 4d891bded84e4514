"""Every decision says what would have turned it, and that is true: the value it names turns the decision."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rehone.config import Trigger
from rehone.records import (
    Attempts,
    Estimate,
    Estimated,
    Evidence,
    FeatureDrift,
    ScoreDrift,
    TriggerDecision,
    TriggerKind,
    Window,
)
from rehone.trigger import decide

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def drift(psi: float, p: float = 1e-12, **more: Any) -> FeatureDrift:
    facts = {"feature": "amount", "bins": 10, "n_reference": 50_000, "n_current": 20_000, "noise": 0.001}
    return FeatureDrift(psi=psi, p_value=p, **{**facts, **more})


def evidence(**more: Any) -> Evidence:
    facts: dict[str, Any] = {
        "as_of": NOW,
        "champion": "c" * 64,
        "champion_as_of": NOW - timedelta(days=3),
        "drift": (drift(0.02),),
        "scores": ScoreDrift(ks=0.01, p_value=1e-12, n_reference=50_000, n_current=20_000),
        "recall": Estimate(value=0.9, low=0.85, high=0.95, n=2000, positives=120),
    }
    return Evidence(**{**facts, **more})


def needed(decision: TriggerDecision) -> float:
    """Return the first number that the flip names."""
    found = re.search(r"been (?:above |below |at least |at most )?(-?[\d.]+)", decision.flip)
    assert found is not None, decision.flip
    return float(found[1])


def test_a_quiet_day_names_the_nearest_limit_and_the_day_on_which_age_would_act() -> None:
    decision = decide(evidence(drift=(drift(0.18),)), Trigger())
    assert decision.flip == (
        "would have trained had PSI of amount been 0.25 instead of 0.18; by age it will from 2026-03-28 on"
    )


@pytest.mark.parametrize("psi", [0.18, 0.2, 0.2499999])
def test_the_psi_that_it_names_trains_and_one_just_below_does_not(psi: float) -> None:
    limit = needed(decide(evidence(drift=(drift(psi),)), Trigger()))
    assert decide(evidence(drift=(drift(limit),)), Trigger()).kind is TriggerKind.DRIFT
    assert decide(evidence(drift=(drift(limit - 1e-9),)), Trigger()).kind is None


def test_recall_must_fall_so_far_that_its_whole_interval_is_below() -> None:
    found = Estimate(value=0.62, low=0.55, high=0.69, n=900, positives=80)
    decision = decide(evidence(recall=found), Trigger())
    assert decision.flip == (
        "would have trained had recall been below 0.53 instead of 0.62, its interval as wide as it was; "
        "by age it will from 2026-03-28 on"
    )
    down = 0.62 - 0.53
    low = replace(found, value=found.value - down, low=found.low - down, high=found.high - down - 1e-9)
    assert decide(evidence(recall=low), Trigger()).kind is TriggerKind.PERFORMANCE
    assert decide(evidence(recall=replace(low, high=found.high - down + 1e-9)), Trigger()).kind is None


def test_cost_must_rise_so_far_that_its_whole_interval_is_above() -> None:
    found = Estimate(value=95.0, low=90.0, high=101.0, n=900, positives=80)
    decision = decide(evidence(cost_per_1000=found), Trigger(max_cost_per_1000=100))
    assert decision.flip.startswith("would have trained had cost per 1,000 been above 105 instead of 95, its interval")
    up = replace(found, value=105.1, low=100.1, high=111.1)
    assert decide(evidence(cost_per_1000=up), Trigger(max_cost_per_1000=100)).kind is TriggerKind.PERFORMANCE


def test_age_alone_is_named_once() -> None:
    decision = decide(evidence(champion_as_of=NOW - timedelta(days=29)), Trigger())
    assert decision.flip == "would have trained had the age of the champion been above 30 days instead of 29"


def test_a_value_beyond_its_limit_by_chance_is_the_nearest() -> None:
    decision = decide(evidence(drift=(drift(0.26, p=0.2),)), Trigger())
    assert decision.kind is None
    assert "PSI of amount, 0.26, been beyond chance too" in decision.flip


def test_a_pause_names_how_long_it_still_lasts() -> None:
    attempts = Attempts(last_trained=NOW - timedelta(days=1), rejected_in_a_row=1)
    found = evidence(drift=(drift(0.4),), attempts=attempts)
    decision = decide(found, Trigger())
    assert decision.kind is None
    assert decision.flip == "would have trained had the last training been 2 days ago instead of 1 day"
    ended = replace(found, attempts=replace(attempts, last_trained=NOW - timedelta(days=2)))
    assert decide(ended, Trigger()).kind is TriggerKind.DRIFT


def test_a_quiet_day_within_a_pause_needs_both() -> None:
    attempts = Attempts(last_trained=NOW - timedelta(days=1), trained_last_30_days=10, rejected_in_a_row=1)
    decision = decide(evidence(drift=(drift(0.2),), attempts=attempts), Trigger())
    assert decision.flip == (
        "would have trained had PSI of amount been 0.25 instead of 0.2, and the last training been 2 days ago instead of "
        "1 day, and there been 9 trainings in 30 days instead of 10"
    )


def test_a_training_names_every_cause() -> None:
    low = Estimate(value=0.5, low=0.45, high=0.55, n=900, positives=80)
    decision = decide(evidence(drift=(drift(0.4),), recall=low), Trigger())
    assert decision.flip == (
        "would not have trained had PSI of amount been below 0.25 instead of 0.4 and recall been at least 0.55 instead "
        "of 0.5, its interval as wide as it was"
    )
    half = decide(evidence(drift=(drift(0.2),), recall=low), Trigger())
    assert half.kind is TriggerKind.PERFORMANCE


def test_force_and_the_first_version_say_so() -> None:
    assert decide(evidence(forced=True), Trigger()).flip == "would not have trained had nobody asked for it"
    first = decide(Evidence(as_of=NOW, champion=None), Trigger())
    assert first.flip == "would not have trained had there been a champion"


def test_an_incident_names_what_blocks() -> None:
    broken = drift(0.9, incident="missing", detail="missing 0 % -> 60 %")
    decision = decide(evidence(drift=(broken,)), Trigger())
    assert decision.blocked
    assert decision.flip == "would not have been blocked had PSI of amount been below 0.25 instead of 0.9"
    assert not decide(evidence(drift=(replace(broken, psi=0.2),)), Trigger()).blocked


def test_nothing_measured_is_not_taken_for_something_near() -> None:
    blind = Evidence(as_of=NOW, champion="c" * 64)
    assert (
        decide(blind, Trigger()).flip == "what would have turned it is not known: nothing that could act was measured"
    )


def test_a_drift_that_never_acts_is_no_flip() -> None:
    decision = decide(evidence(drift=(drift(0.24),), champion_as_of=None), Trigger(ignore=("amount",)))
    assert "amount" not in decision.flip


def test_the_number_needed_is_never_rounded_to_the_wrong_side() -> None:
    """A limit of 0.50435 is said to be 0.505 when it must be reached."""
    found = drift(0.3, p=0.2, n_reference=300, n_current=60)
    decision = decide(evidence(drift=(found,), recall=None), Trigger())
    check = next(c for c in decision.checks if c.name == "psi")
    assert check.limit is not None
    assert needed(decision) >= check.limit


def test_an_estimate_that_something_speaks_against_is_no_flip() -> None:
    """Where both estimators contradict each other, no value of the one would act."""
    own = Estimate(value=0.62, low=0.6, high=0.64, n=900, positives=80)
    window = Window(NOW - timedelta(days=7), NOW)
    quiet = evidence(recall=None, estimated=Estimated(window=window, n=900, recall=own))
    policy = Trigger(min_estimated_recall=0.6)
    assert decide(quiet, policy).flip.startswith(
        "would have trained had estimated recall been below 0.58 instead of 0.62"
    )
    doubted = replace(quiet, estimated=Estimated(window=window, n=900, recall=own, disagree=True))
    assert "estimated" not in decide(doubted, policy).flip

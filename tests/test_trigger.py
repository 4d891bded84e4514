"""One test per way a trigger can act or rest, at its limit and just beyond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rehone.config import Trigger
from rehone.records import (
    Attempts,
    Check,
    CheckStatus,
    Estimate,
    Evidence,
    FeatureDrift,
    ScoreDrift,
    TriggerDecision,
    TriggerKind,
)
from rehone.trigger import decide, words

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN


def moved(psi: float | None = 0.4, **more: Any) -> FeatureDrift:
    facts = {"feature": "amount", "p_value": 1e-9, "bins": 10, "n_reference": 5000, "n_current": 900, "noise": 0.01}
    return FeatureDrift(psi=psi, **{**facts, **more})


QUIET = moved(0.02, p_value=0.4, detail="up to 2 10.0% -> 11.0%")


def evidence(**more: Any) -> Evidence:
    facts: dict[str, Any] = {
        "as_of": NOW,
        "champion": "c" * 64,
        "champion_as_of": NOW - timedelta(days=10),
        "drift": (QUIET,),
        "scores": ScoreDrift(ks=0.03, p_value=0.5, n_reference=900, n_current=900),
        "recall": estimate(0.8, 0.7, 0.9),
    }
    return Evidence(**{**facts, **more})


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=2000, positives=120)


def check(decision: TriggerDecision, name: str, subject: str | None = None) -> Check:
    return next(c for c in decision.checks if c.name == name and subject in (None, c.subject))


# --- endings ------------------------------------------------------------------------------


def test_a_quiet_day_acts_on_nothing_and_says_how_near_each_limit_is() -> None:
    decision = decide(evidence(), Trigger())
    assert decision.kind is None
    assert not decision.blocked
    assert decision.reason == (
        "nothing acts: psi(amount) 0.02 (limit 0.25); score_ks 0.03 (limit 0.2); recall 0.8 (limit 0.6); age 10 (limit 30)"
    )


def test_force_is_the_first_reason() -> None:
    decision = decide(evidence(forced=True, champion=None, drift=(moved(),)), Trigger())
    assert (decision.kind, decision.reason) == (TriggerKind.FORCED, "a person asked for a challenger")


def test_no_champion_is_a_reason_and_everything_else_is_unknown() -> None:
    decision = decide(Evidence(as_of=NOW, champion=None), Trigger())
    assert (decision.kind, decision.reason) == (TriggerKind.BOOTSTRAP, "there is no champion yet")
    assert {c.name for c in decision.checks if c.status is UNKNOWN} == {"psi", "score_ks", "recall", "age"}
    assert all("there is no champion to compare with" in c.detail for c in decision.checks if c.status is UNKNOWN)


def test_drift_names_the_worst_feature_with_value_and_limit_and_then_the_others() -> None:
    drift = (QUIET, moved(0.3, feature="hour"), moved(0.9, feature="distance", detail="above 7 10.0% -> 60.0%"))
    decision = decide(evidence(drift=drift), Trigger())
    assert decision.kind is TriggerKind.DRIFT
    assert decision.reason == (
        "PSI of distance is 0.9, at or above 0.25 (adjusted p 2e-09; chance alone: 0.035 once a year), above 7 10.0% -> 60.0%; also psi(hour) 0.3"
    )


def test_drift_of_scores_acts_by_itself() -> None:
    scores = ScoreDrift(ks=0.31, p_value=1e-12, n_reference=900, n_current=900, detail="50.0% -> 81.0% of scores")
    decision = decide(evidence(scores=scores), Trigger())
    assert decision.kind is TriggerKind.DRIFT
    assert decision.reason.startswith("KS distance of scores is 0.31, at or above 0.2 (adjusted p 2e-12)")


def test_performance_acts_when_the_whole_interval_is_on_the_wrong_side() -> None:
    decision = decide(evidence(recall=estimate(0.5, 0.41, 0.59)), Trigger())
    assert decision.kind is TriggerKind.PERFORMANCE
    assert decision.reason == "recall is 0.500 [0.410, 0.590] on 120 matured positives, all of it below 0.6"
    costly = decide(evidence(cost_per_1000=estimate(900, 810, 990)), Trigger(max_cost_per_1000=800))
    assert costly.kind is TriggerKind.PERFORMANCE
    assert costly.reason == "cost per 1,000 is 900 [810, 990] on 2,000 matured rows, all of it above 800"


def test_age_is_the_failsafe() -> None:
    decision = decide(evidence(champion_as_of=NOW - timedelta(days=31)), Trigger())
    assert decision.kind is TriggerKind.AGE
    assert decision.reason == "the champion is 31 days old, beyond the limit of 30"


def test_drift_comes_before_performance_and_performance_before_age_and_all_are_recorded() -> None:
    bad = {"recall": estimate(0.3, 0.2, 0.4), "champion_as_of": NOW - timedelta(days=99)}
    both = decide(evidence(drift=(moved(),), **bad), Trigger())
    assert both.kind is TriggerKind.DRIFT
    assert {c.name for c in both.checks if c.status is ACT} == {"psi", "recall", "age"}
    assert decide(evidence(**bad), Trigger()).kind is TriggerKind.PERFORMANCE


def test_an_incident_blocks_every_reason_even_force() -> None:
    broken = moved(2.0, incident="missing", detail="missing 0.0% -> 30.0%")
    for more in ({}, {"forced": True}, {"champion_as_of": NOW - timedelta(days=99)}):
        decision = decide(evidence(drift=(broken,), **more), Trigger())
        assert decision.blocked
        assert decision.reason == (
            "training is blocked, PSI of amount is 2, at or above 0.25 (adjusted p 2e-09; chance alone: 0.035 once a year), "
            "a data incident (missing): missing 0.0% -> 30.0%: repair the feed; if the change is real, list 'amount' in trigger.ignore until the "
            "next version is live"
        )
    assert decide(evidence(drift=(broken,)), Trigger()).kind is None
    assert decide(evidence(drift=(broken,), forced=True), Trigger()).kind is TriggerKind.FORCED


def test_a_broken_feature_is_no_reason_to_retrain_but_another_that_drifts_is() -> None:
    broken = moved(2.0, incident="missing", feature="distance")
    decision = decide(evidence(drift=(broken, moved())), Trigger())
    assert decision.kind is TriggerKind.DRIFT
    assert [c.subject for c in decision.incidents] == ["distance"]


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("psi", "kind"), [(0.25, TriggerKind.DRIFT), (0.2499999, None)])
def test_psi_acts_at_its_limit_and_not_below(psi: float, kind: TriggerKind | None) -> None:
    assert decide(evidence(drift=(moved(psi),)), Trigger()).kind is kind


@pytest.mark.parametrize(("ks", "kind"), [(0.20, TriggerKind.DRIFT), (0.1999999, None)])
def test_the_distance_of_scores_acts_at_its_limit_and_not_below(ks: float, kind: TriggerKind | None) -> None:
    scores = ScoreDrift(ks=ks, p_value=1e-12, n_reference=900, n_current=900)
    assert decide(evidence(scores=scores), Trigger()).kind is kind


@pytest.mark.parametrize(("days", "kind"), [(30.0, None), (30.000001, TriggerKind.AGE)])
def test_age_acts_beyond_its_limit_and_not_at_it(days: float, kind: TriggerKind | None) -> None:
    assert decide(evidence(champion_as_of=NOW - timedelta(days=days)), Trigger()).kind is kind


@pytest.mark.parametrize(("high", "status"), [(0.6, WARN), (0.5999999, ACT)])
def test_recall_acts_when_its_upper_end_is_below_the_limit_and_not_at_it(high: float, status: CheckStatus) -> None:
    decision = decide(evidence(recall=estimate(0.5, 0.4, high)), Trigger())
    assert check(decision, "recall").status is status


@pytest.mark.parametrize(("low", "status"), [(800.0, WARN), (800.00001, ACT)])
def test_cost_acts_when_its_lower_end_is_above_the_limit_and_not_at_it(low: float, status: CheckStatus) -> None:
    decision = decide(evidence(cost_per_1000=estimate(900, low, 990)), Trigger(max_cost_per_1000=800))
    assert check(decision, "cost_per_1000").status is status


def test_psi_between_warning_and_action_warns() -> None:
    decision = decide(evidence(drift=(moved(0.1), moved(0.0999, feature="hour"))), Trigger())
    assert check(decision, "psi", "amount").status is WARN
    assert check(decision, "psi", "hour").status is OK
    assert decision.kind is None


def test_a_large_psi_that_chance_explains_does_not_act() -> None:
    decision = decide(evidence(drift=(moved(0.4, p_value=0.02),)), Trigger())
    assert check(decision, "psi").status is WARN
    assert "chance gives as much (adjusted p 0.04, must be below 0.0027)" in check(decision, "psi").detail
    assert decision.kind is None


def test_the_level_is_the_false_alarms_a_year_that_are_accepted_shared_by_all_features() -> None:
    one = (moved(p_value=0.0013),)
    assert decide(evidence(drift=one), Trigger()).kind is TriggerKind.DRIFT
    many = (*one, *(moved(0.01, p_value=0.9, feature=f"f{i}") for i in range(5)))
    assert decide(evidence(drift=many), Trigger()).kind is None
    assert decide(evidence(drift=many), Trigger(false_alarms_per_year=4)).kind is TriggerKind.DRIFT
    assert decide(evidence(drift=many), Trigger(checks_per_year=52)).kind is TriggerKind.DRIFT


# --- what is not known is said --------------------------------------------------------------------


def test_too_few_rows_for_the_limit_to_mean_anything_are_unknown() -> None:
    few = moved(0.27, p_value=0.2, noise=0.19, n_current=50)
    decision = decide(evidence(drift=(few,)), Trigger())
    found = check(decision, "psi")
    assert found.status is UNKNOWN
    assert found.sentence == (
        "PSI of amount is 0.27, but 50 rows against 5000 give 0.19 without any drift, too near the limit of 0.25 to tell: "
        "widen trigger.window_days"
    )
    assert decision.reason.endswith("not known: psi(amount)")


def test_few_rows_that_have_moved_beyond_doubt_act() -> None:
    assert decide(evidence(drift=(moved(4.0, noise=0.19),)), Trigger()).kind is TriggerKind.DRIFT


def test_a_small_psi_on_too_few_rows_is_unknown_and_not_passed() -> None:
    decision = decide(evidence(drift=(moved(0.05, p_value=0.9, noise=0.19),)), Trigger())
    assert check(decision, "psi").status is UNKNOWN


def test_what_was_not_measured_is_unknown_with_its_reason() -> None:
    nothing = evidence(
        drift=(moved(None, p_value=None, detail="no rows in the window"),),
        scores=ScoreDrift(ks=None, detail="no scores of current rows"),
        recall=None,
        performance_unknown="7 matured positives in 90 rows, need at least 20",
        champion_as_of=None,
    )
    decision = decide(nothing, Trigger(max_cost_per_1000=5))
    assert decision.kind is None
    assert {c.name for c in decision.checks if c.status is UNKNOWN} == {
        "psi",
        "score_ks",
        "recall",
        "cost_per_1000",
        "age",
    }
    assert check(decision, "psi").detail == "PSI of amount (limit 0.25) is not known: no rows in the window"
    assert check(decision, "recall").detail.endswith("need at least 20")
    assert decision.reason == "nothing acts; not known: psi(amount), score_ks, recall and 2 more"


def test_a_champion_without_drift_evidence_leaves_drift_unknown() -> None:
    decision = decide(evidence(drift=(), scores=None), Trigger())
    assert check(decision, "psi").status is UNKNOWN
    assert check(decision, "score_ks").status is UNKNOWN


def test_a_champion_dated_after_the_run_has_an_unknown_age() -> None:
    decision = decide(evidence(champion_as_of=NOW + timedelta(days=2)), Trigger())
    assert check(decision, "age").status is UNKNOWN
    assert decision.kind is None


def test_rules_without_a_limit_are_not_evaluated() -> None:
    decision = decide(evidence(recall=None), Trigger(min_recall=None, max_age_days=None))
    assert {c.name for c in decision.checks} == {
        "forced",
        "champion",
        "psi",
        "score_ks",
        "cooldown",
        "budget",
        "breaker",
    }


# --- what is recorded but never acts ------------------------------------------------------------


def test_ignored_features_are_recorded_and_never_act_or_block() -> None:
    broken = moved(3.0, incident="unseen")
    decision = decide(evidence(drift=(broken,)), Trigger(ignore=("amount",)))
    found = check(decision, "psi")
    assert (decision.kind, decision.blocked, found.status, found.value) == (None, False, OK, 3.0)
    assert "ignored: listed in trigger.ignore" in found.detail


def test_ignored_features_do_not_use_up_the_budget_of_false_alarms() -> None:
    ignored = tuple(moved(0.01, p_value=0.9, feature=f"f{i}") for i in range(9))
    drift = (moved(p_value=0.0013), *ignored)
    policy = Trigger(ignore=tuple(f"f{i}" for i in range(9)))
    assert decide(evidence(drift=drift), policy).kind is TriggerKind.DRIFT


def test_a_clock_never_acts_but_a_clock_that_is_missing_is_an_incident() -> None:
    clock = moved(7.0, ignored="clock", incident="unseen")
    decision = decide(evidence(drift=(clock,)), Trigger())
    assert (decision.kind, decision.blocked) == (None, False)
    assert "ignored: clock" in check(decision, "psi").detail
    assert decide(evidence(drift=(moved(7.0, ignored="clock", incident="missing"),)), Trigger()).blocked


# --- cooldown, back-off, budget -------------------------------------------------------------------


def after(days: float, rejected: int = 0, trained: int = 1) -> Attempts:
    return Attempts(last_trained=NOW - timedelta(days=days), rejected_in_a_row=rejected, trained_last_30_days=trained)


@pytest.mark.parametrize(("days", "kind"), [(1.0, TriggerKind.DRIFT), (0.999, None)])
def test_a_trigger_rests_until_the_cooldown_has_passed(days: float, kind: TriggerKind | None) -> None:
    decision = decide(evidence(drift=(moved(),), attempts=after(days)), Trigger())
    assert decision.kind is kind
    if kind is None:
        assert check(decision, "cooldown").status is WARN
        assert decision.reason.startswith(
            "not now: the last training was 0.999 days ago, the cooldown is 1 day. It would have been: PSI of amount"
        )


@pytest.mark.parametrize(
    ("rejected", "days", "acts"),
    [(0, 1, True), (1, 1.9, False), (1, 2, True), (3, 7.9, False), (3, 8, True), (9, 29.9, False), (9, 30, True)],
)
def test_each_rejected_challenger_doubles_the_cooldown_up_to_the_age_limit(
    rejected: int, days: float, acts: bool
) -> None:
    decision = decide(evidence(drift=(moved(),), attempts=after(days, rejected)), Trigger())
    assert (decision.kind is TriggerKind.DRIFT) is acts


def test_a_thousand_rejections_do_not_overflow() -> None:
    decision = decide(evidence(attempts=after(1, 100_000)), Trigger(max_age_days=None))
    assert check(decision, "cooldown").limit == 365


@pytest.mark.parametrize(("trained", "kind"), [(9, TriggerKind.AGE), (10, None)])
def test_the_budget_of_trainings_is_kept(trained: int, kind: TriggerKind | None) -> None:
    old = evidence(champion_as_of=NOW - timedelta(days=40), attempts=after(5, 0, trained))
    decision = decide(old, Trigger())
    assert decision.kind is kind
    if kind is None:
        assert decision.reason.startswith("not now: 10 trainings in the last 30 days, the budget is 10")


@pytest.mark.parametrize("more", [{"forced": True}, {"champion": None}])
def test_neither_cooldown_nor_budget_stops_force_or_the_first_champion(more: dict[str, Any]) -> None:
    decision = decide(evidence(attempts=after(0, 5, 99), **more), Trigger())
    assert decision.kind in (TriggerKind.FORCED, TriggerKind.BOOTSTRAP)


def test_performance_and_age_rest_too() -> None:
    for more in ({"recall": estimate(0.3, 0.2, 0.4)}, {"champion_as_of": NOW - timedelta(days=40)}):
        assert decide(evidence(attempts=after(0.5), **more), Trigger()).kind is None


def test_a_training_dated_after_the_run_does_not_hold_it_back_for_ever() -> None:
    decision = decide(evidence(drift=(moved(),), attempts=after(-4_000)), Trigger())
    assert check(decision, "cooldown").status is UNKNOWN
    assert decision.kind is TriggerKind.DRIFT


def test_the_same_evidence_gives_the_same_decision() -> None:
    facts = evidence(drift=(moved(feature="b"), moved(feature="a")))
    assert decide(facts, Trigger()) == decide(facts, Trigger())
    assert decide(facts, Trigger()).reason.startswith("PSI of a is")


@pytest.mark.parametrize(
    ("number", "said"),
    [(0.0001, "less than 2 minutes"), (0.05, "72 minutes"), (0.5, "0.5 days"), (1, "1 day"), (31, "31 days")],
)
def test_a_stretch_of_time_is_written_as_people_say_it(number: float, said: str) -> None:
    assert words.days(number) == said


@pytest.mark.parametrize(("share", "said"), [(0.9999, "99.9"), (1.0, "100"), (0.123456, "12.3"), (0.0, "0")])
def test_only_a_whole_is_a_hundred_percent(share: float, said: str) -> None:
    assert words.percent(share) == said

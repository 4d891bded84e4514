"""What `rehone.gate` promises: legal comparisons only, and a stated error rate."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, ndtri

from rehone import codec, compare, gate
from rehone.config import Gate
from rehone.records import Check, CheckStatus, Outcome, Verdict

COSTS = (1.0, 10.0)
TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
START = np.datetime64("2026-02-01T00:00:00", "us")
OPEN = Gate(min_roc_auc=0, min_recall=0, min_rows=1, min_positives=2)
ROWS = OPEN.model_copy(update={"blocks": "none"})


def _pair(
    rng: np.random.Generator, y: np.ndarray, loss: float = 0.0, day: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the binormal scores of champion (AUC .90) and challenger (AUC .90 − loss), correlation .9, as probabilities.

    With `day`, the positives of each day are shifted by a unit normal of its own for each model:
    it has good and bad days, and its AUC over all of them is still the one stated.
    """
    shared = math.sqrt(0.9) * rng.normal(size=y.size)
    spread = 0.0 if day is None else 1.0
    drawn = []
    for auc in (0.9, 0.9 - loss):
        lift = math.sqrt(2 + spread**2) * float(ndtri(auc))
        moved = lift if day is None else lift + rng.normal(size=int(day.max()) + 1)[day]
        s = shared + math.sqrt(0.1) * rng.normal(size=y.size) + y * moved
        rate = y.mean()
        drawn.append(expit(lift * s - lift**2 / 2 + math.log(rate / (1 - rate))))
    return drawn[0], drawn[1]


def _labels(positives: int, negatives: int) -> np.ndarray:
    """Spread the positives evenly over the rows."""
    y = np.zeros(positives + negatives, dtype=np.int8)
    y[np.linspace(0, y.size - 1, positives).astype(int)] = 1
    return y


def _holdout(y: np.ndarray, *, days: int = 30, **changed: Any) -> gate.Holdout:
    times = START + (np.arange(y.size) * (days * 86_400_000_000 // max(y.size, 1))).astype("timedelta64[us]")
    return gate.Holdout(**({"labels": y, "times": times, "mature": np.ones(y.size, dtype=bool)} | changed))


def _scored(scores: np.ndarray, version: str | None = None, *, threshold: float = 1 / 11) -> gate.Scored:
    return gate.Scored(version=version, scores=scores, threshold=threshold, train_end=TRAINED)


def _judge(
    holdout: gate.Holdout,
    challenger: gate.Scored,
    champion: gate.Scored | gate.Unreadable | None,
    policy: Gate = OPEN,
) -> Verdict:
    return gate.judge(holdout, challenger, champion, policy, costs=COSTS)


def _check(verdict: Verdict, label: str) -> Check:
    return next(check for check in verdict.checks if check.label == label)


def _usual(
    loss: float = 0.0, positives: int = 100, seed: int = 3, **changed: Any
) -> tuple[gate.Holdout, gate.Scored, gate.Scored]:
    y = _labels(positives, 19 * positives)
    champion, challenger = _pair(np.random.default_rng(seed), y, loss)
    return _holdout(y, **changed), _scored(challenger), _scored(champion, "champion")


# --- point 0: is the comparison legal? ---


def test_rows_older_than_the_champion_are_dropped_counted_and_missed_in_words() -> None:
    y = np.zeros(1900, dtype=int)
    y[np.linspace(0, 411, 9).astype(int)] = 1
    y[np.linspace(412, 1899, 31).astype(int)] = 1
    holdout = _holdout(y)
    challenger, champion = _scored(np.linspace(0, 1, 1900)), _scored(np.linspace(1, 0, 1900), "c")
    seen_until = holdout.times[411].astype(datetime).replace(tzinfo=UTC)
    verdict = _judge(holdout, challenger, replace(champion, train_end=seen_until), Gate(min_positives=40))
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, True)
    assert verdict.reason == (
        "the comparison is not legal: 412 of 1,900 rows are not newer than the champion's training end; "
        "1,488 rows with 31 positives and 1,457 negatives remain, need at least 40 positives: "
        "wait for more matured labels, or raise train.holdout or data.lookback_days"
    )
    assert _check(verdict, "enough_rows").positives_needed == 40
    # the row at the very training end was seen; the one a microsecond later was not
    later = _judge(holdout, challenger, replace(champion, train_end=seen_until - timedelta(microseconds=1)), OPEN)
    assert _check(later, "newer_than_training(champion)").value == 411


def test_a_training_end_in_another_time_zone_or_without_one_means_the_same_moment() -> None:
    holdout, challenger, champion = _usual()
    end = holdout.times[9].astype(datetime).replace(tzinfo=UTC)
    for same in (end, end.replace(tzinfo=None), end.astimezone(timezone(timedelta(hours=-7)))):
        verdict = _judge(holdout, replace(challenger, train_end=same), champion)
        assert _check(verdict, "newer_than_training(challenger)").value == 10


def test_no_row_newer_than_training_is_invalid_for_want_of_rows() -> None:
    holdout, challenger, champion = _usual()
    verdict = _judge(holdout, challenger, replace(champion, train_end=datetime(2030, 1, 1, tzinfo=UTC)))
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, True)
    assert (
        "0 rows with 0 positives and 0 negatives remain, need at least 1 row and 2 positives and 2 negatives"
        in verdict.reason
    )


def test_immature_rows_rows_without_a_time_and_rows_of_a_training_set_are_left_out_and_said() -> None:
    holdout, challenger, champion = _usual()
    n = holdout.labels.size
    times = holdout.times.copy()
    times[:5] = np.datetime64("NaT")
    verdict = _judge(
        replace(
            holdout,
            times=times,
            mature=np.arange(n) < n - 7,
            in_challenger_training=np.arange(n) % 500 == 10,
            in_champion_training=np.arange(n) % 1000 == 20,
        ),
        challenger,
        champion,
    )
    found = {check.label: (check.value, check.status) for check in verdict.checks}
    assert found["newer_than_training(challenger)"] == (5, CheckStatus.WARN)
    assert found["mature"] == (7, CheckStatus.WARN)
    assert found["unseen(challenger)"] == (4, CheckStatus.WARN)
    assert found["unseen(champion)"] == (2, CheckStatus.WARN)
    assert verdict.challenger is not None
    assert verdict.challenger.n == n - 5 - 7 - 4 - 2
    assert (
        _check(verdict, "unseen(champion)").sentence
        == "2 of 2,000 rows are also in the champion's training set: they were left out"
    )


def test_dropped_rows_have_no_say() -> None:
    """Whatever the models say of rows that are not legal, the rules see only the others."""
    holdout, challenger, champion = _usual()
    n = holdout.labels.size
    mature = np.arange(n) % 3 != 0
    first = _judge(replace(holdout, mature=mature), challenger, champion)
    other = np.where(mature, challenger.scores, 0.123)
    second = _judge(replace(holdout, mature=mature), replace(challenger, scores=other), champion)
    assert first == second


def test_training_sets_that_were_not_measured_are_unknown_and_do_not_stop_the_verdict() -> None:
    verdict = _judge(*_usual())
    assert _check(verdict, "unseen(champion)").status is CheckStatus.UNKNOWN
    assert _check(verdict, "unseen(champion)").value is None
    assert verdict.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)


def test_a_champion_that_cannot_be_read_fails_closed_and_is_no_first_deployment() -> None:
    holdout, challenger, _ = _usual()
    verdict = _judge(holdout, challenger, gate.Unreadable("3f2a", "model.skops does not match its digest"))
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, False)
    assert verdict.reason == (
        "the champion 3f2a cannot be read (model.skops does not match its digest), so nothing may replace it unjudged: "
        "put right what it lacks, or roll back to a version that can be read, or to none"
    )


def test_a_model_is_never_compared_with_itself() -> None:
    holdout, challenger, champion = _usual()
    verdict = _judge(holdout, replace(challenger, version="champion"), champion)
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, False)
    assert (
        "challenger and champion are the same version champion: a model cannot be compared with itself"
        in verdict.reason
    )


def test_a_challenger_that_answers_every_row_as_the_champion_does_is_refused() -> None:
    """One model on both sides by mistake, or the champion over again: every comparison ties, and would pass."""
    holdout, _, champion = _usual()
    same = _scored(champion.scores.copy(), "other")
    verdict = _judge(holdout, same, champion, Gate(min_roc_auc=0, min_recall=0, strict=True))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason.startswith(
        "challenger and champion give the very same answer on all 2,000 rows: nothing would change"
    )
    tie = _check(verdict, "roc_auc_vs_champion")
    assert (tie.value, tie.interval, tie.p_value, tie.status) == (0.0, (0.0, 0.0), 0.0, CheckStatus.OK)
    assert verdict.flip == "would have passed had a single row been answered otherwise"


def test_the_very_same_scores_with_another_threshold_are_remarked_on_and_may_pass() -> None:
    """That is what a recalibration of the threshold alone gives."""
    holdout, _, champion = _usual()
    other = replace(_scored(champion.scores.copy(), "other"), threshold=champion.threshold * 0.98)
    verdict = _judge(holdout, other, champion, Gate(min_roc_auc=0, min_recall=0))
    assert _check(verdict, "two_models").status is CheckStatus.WARN
    assert verdict.outcome is Outcome.PASS


def test_rows_that_are_not_legal_do_not_tell_two_models_apart() -> None:
    holdout, _, champion = _usual()
    mature = np.arange(holdout.labels.size) % 2 == 0
    other = _scored(np.where(mature, champion.scores, 0.123), "other")
    verdict = _judge(replace(holdout, mature=mature), other, champion, Gate(min_roc_auc=0, min_recall=0))
    assert _check(verdict, "two_models").status is CheckStatus.ACT


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("who", ["challenger", "champion"])
def test_one_score_that_is_not_finite_makes_the_comparison_invalid(who: str, bad: float) -> None:
    holdout, challenger, champion = _usual()
    models = {"challenger": challenger, "champion": champion}
    scores = models[who].scores.copy()
    scores[17] = bad
    models[who] = replace(models[who], scores=scores)
    verdict = _judge(holdout, models["challenger"], models["champion"])
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, False)
    assert f"1 of 2,000 scores of the {who} are NaN or infinite" in verdict.reason


def test_a_threshold_that_is_not_a_number_makes_the_comparison_invalid() -> None:
    holdout, challenger, champion = _usual()
    verdict = _judge(holdout, replace(challenger, threshold=math.nan), champion)
    assert verdict.outcome is Outcome.INVALID
    assert "its threshold is nan" in verdict.reason


def test_arrays_of_unequal_length_and_labels_that_are_missing_make_it_invalid() -> None:
    holdout, challenger, champion = _usual()
    verdict = _judge(holdout, replace(challenger, scores=challenger.scores[:-1]), champion)
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, False)
    assert (
        "2,000 labels but (1999,) challenger scores: score exactly the held-out rows with both models" in verdict.reason
    )
    labels = holdout.labels.astype(float)
    labels[:3] = math.nan
    verdict = _judge(replace(holdout, labels=labels), challenger, champion)
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, False)
    assert "3 of 2,000 legal rows have a label that is not 0 or 1" in verdict.reason


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_only_lacks_rows(only: int) -> None:
    holdout, challenger, champion = _usual()
    verdict = _judge(replace(holdout, labels=np.full(2000, only)), challenger, champion)
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, True)
    assert f"need at least 2 {'positives' if only == 0 else 'negatives'}" in verdict.reason


def test_the_fewest_rows_and_positives_are_themselves_enough() -> None:
    holdout, challenger, _ = _usual(positives=20)
    enough = Gate(min_roc_auc=0, min_recall=0, min_rows=400, min_positives=20)
    assert _judge(holdout, challenger, None, enough).outcome is Outcome.PASS
    for short in ({"min_rows": 401}, {"min_positives": 21}):
        verdict = _judge(holdout, challenger, None, enough.model_copy(update=short))
        assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, True)


def test_a_broken_comparison_that_also_lacks_rows_is_not_excused_as_lacking_rows() -> None:
    holdout, challenger, champion = _usual()
    scores = np.full(2000, math.nan)
    verdict = _judge(holdout, replace(challenger, scores=scores), champion, Gate(min_rows=5000))
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INVALID, False)


# --- point 1: minimums ---


def test_a_first_deployment_is_held_against_the_minimums_only_and_says_so() -> None:
    y = _labels(10, 90)
    verdict = _judge(_holdout(y), _scored(np.where(y == 1, 0.9, 0.1), threshold=0.5), None, Gate())
    assert (verdict.outcome, verdict.weak_evidence, verdict.champion) == (Outcome.PASS, False, None)
    assert verdict.reason == (
        "first deployment, held against the minimums only: "
        "ROC-AUC 1.0000 must be ≥ 0.8000, recall 1.0000 must be ≥ 0.6000"
    )
    assert not any("champion" in check.label for check in verdict.checks)


def test_a_minimum_is_met_at_the_limit_itself_and_missed_just_beyond() -> None:
    holdout, challenger, _ = _usual()
    found = _judge(holdout, challenger, None).challenger
    assert found is not None
    assert found.roc_auc is not None
    assert found.recall is not None
    at = OPEN.model_copy(update={"min_roc_auc": found.roc_auc, "min_recall": found.recall})
    assert _judge(holdout, challenger, None, at).outcome is Outcome.PASS
    for name, value in (("min_roc_auc", found.roc_auc), ("min_recall", found.recall)):
        beyond = math.nextafter(value, 1)
        verdict = _judge(holdout, challenger, None, at.model_copy(update={name: beyond}))
        assert verdict.outcome is Outcome.FAIL
        check = _check(verdict, name)
        assert (check.status, check.value, check.limit) == (CheckStatus.ACT, value, beyond)
        # rounded alike they would look as if the limit was met
        said, limit = check.detail.replace("ROC-AUC ", "").replace("recall ", "").split(" must be ≥ ")
        assert float(said) < float(limit)


def test_everything_that_failed_is_listed_with_value_limit_and_remedy() -> None:
    y = _labels(100, 1900)
    champion, _ = _pair(np.random.default_rng(1), y)
    noise = np.random.default_rng(2).random(y.size)
    verdict = _judge(_holdout(y), _scored(noise, threshold=0.99), _scored(champion, "c"), Gate(max_relative_loss=0.05))
    assert verdict.outcome is Outcome.FAIL
    failed = [check.label for check in verdict.checks if check.status is CheckStatus.ACT]
    assert failed == [
        "min_roc_auc",
        "min_recall",
        "roc_auc_vs_champion",
        "recall_vs_champion",
        "cost_vs_champion",
        "relative_loss(roc_auc)",
        "relative_loss(recall)",
    ]
    assert verdict.reason == " | ".join(_check(verdict, name).sentence for name in failed)


# --- point 2: not worse than the champion ---


def _bounds(holdout: gate.Holdout, challenger: gate.Scored, champion: gate.Scored) -> compare.Paired:
    return compare.delong_blocks(
        holdout.labels, champion.scores, challenger.scores, holdout.times.astype("datetime64[D]")
    )


def test_the_lower_bound_must_be_above_the_margin_and_the_margin_itself_is_not_enough() -> None:
    holdout, challenger, champion = _usual(seed=8)
    lower = _bounds(holdout, challenger, champion).lower(0.95)
    assert lower < 0
    at = _judge(holdout, challenger, champion, OPEN.model_copy(update={"margin_roc_auc": -lower, "strict": True}))
    assert _check(at, "roc_auc_vs_champion").status is CheckStatus.UNKNOWN
    beyond = OPEN.model_copy(update={"margin_roc_auc": math.nextafter(-lower, 1), "strict": True})
    assert _check(_judge(holdout, challenger, champion, beyond), "roc_auc_vs_champion").status is CheckStatus.OK


def test_the_upper_bound_below_the_margin_fails_and_at_the_margin_is_inconclusive() -> None:
    holdout, challenger, champion = _usual(loss=0.06)
    upper = _bounds(holdout, challenger, champion).upper(0.95)
    assert upper < 0
    at = _judge(holdout, challenger, champion, OPEN.model_copy(update={"margin_roc_auc": -upper}))
    assert _check(at, "roc_auc_vs_champion").status is CheckStatus.UNKNOWN
    beyond = _judge(
        holdout, challenger, champion, OPEN.model_copy(update={"margin_roc_auc": math.nextafter(-upper, 0)})
    )
    assert _check(beyond, "roc_auc_vs_champion").status is CheckStatus.ACT
    assert beyond.outcome is Outcome.FAIL


LENIENT = OPEN.model_copy(update={"margin_recall": 5.0, "margin_cost": 1e6})


def _small_pair(ahead: bool) -> tuple[gate.Holdout, gate.Scored, gate.Scored]:
    """Return rows too few to tell, on which the challenger is a little ahead or behind."""
    for seed in range(100):
        found = _usual(positives=15, seed=seed)
        paired = _bounds(*found)
        if paired.lower(0.95) < -0.02 and ((paired.delta > 0) if ahead else (-0.015 < paired.delta < -0.005)):
            return found
    raise AssertionError("no such draw")


def test_inconclusive_but_ahead_ships_on_weak_evidence_and_strict_holds_it() -> None:
    found = _small_pair(ahead=True)
    verdict = _judge(*found, LENIENT)
    assert (verdict.outcome, verdict.weak_evidence) == (Outcome.PASS, True)
    assert _check(verdict, "roc_auc_vs_champion").status is CheckStatus.WARN
    assert verdict.reason.startswith("not behind the champion, on weak evidence: ROC-AUC ")
    held = _judge(*found, LENIENT.model_copy(update={"strict": True}))
    assert (held.outcome, held.weak_evidence) == (Outcome.INCONCLUSIVE, False)
    assert _check(held, "roc_auc_vs_champion").status is CheckStatus.UNKNOWN


def test_inconclusive_and_behind_holds_and_says_how_many_positives_would_settle_it() -> None:
    found = _small_pair(ahead=False)
    verdict = _judge(*found, LENIENT)
    check = _check(verdict, "roc_auc_vs_champion")
    assert (verdict.outcome, check.status, verdict.weak_evidence) == (Outcome.INCONCLUSIVE, CheckStatus.UNKNOWN, False)
    paired = _bounds(*found)
    assert paired.se is not None
    assert check.positives_needed == compare.positives_needed(15, paired.se, 0.02, level=0.95)
    assert check.positives_needed is not None
    more = check.positives_needed - 15
    assert f"about {more} more positives would settle it ({check.positives_needed} in all, about " in verdict.reason
    assert verdict.reason.endswith("raise train.holdout or data.lookback_days")


@pytest.mark.parametrize(
    ("strict", "rule"),
    [(False, ""), (True, ", or set gate.strict = false, which ships a challenger that is not behind")],
    ids=["default", "strict"],
)
def test_what_no_two_years_of_rows_would_settle_is_answered_with_the_margin(strict: bool, rule: str) -> None:
    policy = LENIENT.model_copy(update={"margin_roc_auc": 0.001, "strict": strict})
    check = _check(_judge(*_small_pair(ahead=True), policy), "roc_auc_vs_champion")
    assert check.remedy.startswith("these data cannot settle it at this margin (about ")
    assert check.remedy.endswith(f"raise gate.margin_roc_auc{rule}")


def test_two_years_of_rows_are_still_advised_and_a_day_more_is_not() -> None:
    holdout, challenger, champion = _small_pair(ahead=False)
    policy = LENIENT.model_copy(update={"blocks": "none"})
    advised = {}
    for days in range(30, 1500, 10):
        slower = _holdout(holdout.labels, days=days)
        remedy = _check(_judge(slower, challenger, champion, policy), "roc_auc_vs_champion").remedy
        said = re.search(r"about ([0-9,]+) more days", remedy)
        assert said is not None
        advised[int(said[1].replace(",", ""))] = remedy.endswith("raise train.holdout or data.lookback_days")
    assert max(n for n, more in advised.items() if more) <= 730 < min(n for n, more in advised.items() if not more)


def test_swapped_models_get_the_mirrored_differences() -> None:
    holdout, challenger, champion = _usual(loss=0.03)
    one = _judge(holdout, challenger, champion)
    two = _judge(holdout, replace(champion, version=None), replace(challenger, version="c"))
    for name in ("roc_auc_vs_champion", "recall_vs_champion", "cost_vs_champion", "average_precision_vs_champion"):
        there, back = _check(one, name), _check(two, name)
        assert there.value == pytest.approx(-(back.value or 0.0), abs=1e-9)
        if there.interval and back.interval:
            assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=1e-9)
    assert one.outcome is not Outcome.PASS
    assert two.outcome is Outcome.PASS


def test_recall_is_at_each_models_own_threshold_and_takes_the_wider_interval() -> None:
    holdout, challenger, champion = _usual()
    y = holdout.labels == 1
    challenger = replace(challenger, threshold=0.3)
    verdict = _judge(holdout, challenger, champion)
    check = _check(verdict, "recall_vs_champion")
    before, after = champion.scores[y] >= 1 / 11, challenger.scores[y] >= 0.3
    assert (check.baseline, check.value) == (before.mean(), pytest.approx(after.mean() - before.mean()))
    gain, loss = int((after & ~before).sum()), int((before & ~after).sum())
    tango = compare.tango(100, gain, loss, 0.90)
    days = compare.block_difference(before, after, holdout.times.astype("datetime64[D]")[y])
    wider = (min(tango[0], days.lower(0.95)), max(tango[1], days.upper(0.95)))
    assert check.interval == pytest.approx(wider)
    assert check.status is CheckStatus.ACT
    assert f"{gain} gained and {loss} lost of 100 positives" in check.detail


@pytest.mark.parametrize(
    ("lost", "outcome", "said"),
    [
        (1, Outcome.PASS, "weak evidence: inconclusive, but within the margin as far as can be seen"),
        (2, Outcome.PASS, "weak evidence: inconclusive, but within the margin as far as can be seen"),
        (3, Outcome.INCONCLUSIVE, "inconclusive"),
    ],
)
def test_recall_that_cannot_be_told_may_be_behind_by_its_margin_and_no_more(
    lost: int, outcome: Outcome, said: str
) -> None:
    """Of 40 positives, 2 are the margin of .05; ROC-AUC is as good as the same."""
    y = _labels(40, 760)
    champion = np.where(y == 1, 0.9, 0.1) + np.linspace(0, 0.01, y.size)
    challenger = champion.copy()
    challenger[np.flatnonzero(y)[:lost]] = 0.4
    policy = ROWS.model_copy(update={"margin_cost": 1e6})
    pair = (_scored(challenger, threshold=0.5), _scored(champion, "c", threshold=0.5))
    holdout = _holdout(y)
    verdict = gate.judge(holdout, *pair, policy, costs=(0.0, 0.0))
    check = _check(verdict, "recall_vs_champion")
    assert check.value == pytest.approx(-lost / 40)
    assert (verdict.outcome, verdict.weak_evidence) == (outcome, outcome is Outcome.PASS)
    assert check.detail.endswith(said)
    strict = gate.judge(holdout, *pair, policy.model_copy(update={"strict": True}), costs=(0.0, 0.0))
    assert strict.outcome is Outcome.INCONCLUSIVE


def test_the_margin_of_cost_is_relative_to_the_champions_cost() -> None:
    """A challenger dearer by a known amount on every day alike: the limit itself still holds back."""
    y = np.tile([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 200)
    champion = np.where(y == 1, 0.2, 0.1)  # misses every positive: 10 in 10 rows
    extra = np.tile([0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 200)  # acts on one negative more in 10 rows: 1
    challenger = np.where(extra == 1, 0.9, champion)
    holdout = _holdout(y, days=20)
    models = _scored(challenger, threshold=0.5), _scored(champion, "c", threshold=0.5)
    check = _check(_judge(holdout, *models, OPEN.model_copy(update={"margin_cost": 0.2})), "cost_vs_champion")
    assert (check.baseline, check.value, check.limit) == (1000.0, 100.0, 200.0)
    assert check.interval == pytest.approx((100.0, 100.0))
    assert check.status is CheckStatus.OK
    check = _check(_judge(holdout, *models, OPEN.model_copy(update={"margin_cost": 0.09})), "cost_vs_champion")
    assert check.status is CheckStatus.ACT
    assert "+100.00" in check.detail
    assert "must be below +90.00 (9 % of the champion's)" in check.detail


def test_a_champion_without_any_cost_is_matched_by_one_without_any_cost() -> None:
    y = _labels(100, 900)
    perfect = np.where(y == 1, 0.9, 0.1)
    models = _scored(perfect - 0.05, threshold=0.5), _scored(perfect, "c", threshold=0.5)
    verdict = _judge(_holdout(y), *models, Gate(strict=True))
    assert verdict.outcome is Outcome.PASS
    assert _check(verdict, "cost_vs_champion").limit == 0


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1.0, 2.0])
def test_extreme_thresholds_of_both_models_tie_in_recall_and_cost(threshold: float) -> None:
    holdout, challenger, champion = _usual(positives=300)
    verdict = _judge(holdout, replace(challenger, threshold=threshold), replace(champion, threshold=threshold))
    for name in ("recall_vs_champion", "cost_vs_champion"):
        assert _check(verdict, name).value == 0
        assert _check(verdict, name).status is CheckStatus.OK


def test_a_constant_champion_is_beaten_and_a_constant_challenger_fails() -> None:
    holdout, challenger, champion = _usual()
    constant = np.full(2000, 0.5)
    assert _judge(holdout, challenger, _scored(constant, "c", threshold=0.9)).outcome is Outcome.PASS
    verdict = _judge(holdout, _scored(constant, threshold=0.9), champion)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.challenger is not None
    assert verdict.challenger.roc_auc == 0.5


def test_the_classic_rule_is_in_addition_and_holds_at_its_limit() -> None:
    y = np.array([1] * 20 + [0] * 80)
    champion = np.where(y == 1, 0.9, 0.1)
    challenger = champion.copy()
    challenger[0] = 0.05  # one of 20 positives lost: recall .95 and ROC-AUC .95
    holdout = _holdout(y[np.argsort(np.arange(100) % 10, kind="stable")])
    order = np.argsort(np.arange(100) % 10, kind="stable")
    models = _scored(challenger[order], threshold=0.5), _scored(champion[order], "c", threshold=0.5)
    for limit, status in ((0.05, CheckStatus.OK), (0.0499, CheckStatus.ACT)):
        verdict = _judge(holdout, *models, OPEN.model_copy(update={"max_relative_loss": limit}))
        assert _check(verdict, "relative_loss(recall)").status is status
        assert _check(verdict, "relative_loss(roc_auc)").status is status
    assert _check(verdict, "relative_loss(recall)").value == pytest.approx(0.05)
    assert not any(check.name == "relative_loss" for check in _judge(holdout, *models).checks)


def test_average_precision_is_reported_and_never_decides() -> None:
    check = _check(_judge(*_usual(loss=0.1)), "average_precision_vs_champion")
    assert check.status is CheckStatus.OK
    assert check.value is not None
    assert check.value < 0
    assert check.detail.endswith("reported and not judged")


# --- blocks ---


def test_the_interval_of_a_floor_is_two_sided_at_the_level_and_that_of_a_comparison_one_sided_on_each_side() -> None:
    found = _usual()
    holdout, challenger, _ = found
    verdict = _judge(*found, ROWS)
    acted = challenger.scores >= challenger.threshold
    recall = compare.wilson(int((acted & (holdout.labels == 1)).sum()), int(holdout.labels.sum()), ROWS.level)
    assert _check(verdict, "min_recall").interval == pytest.approx(recall)
    area = compare.roc_auc_interval(holdout.labels, challenger.scores, ROWS.level)
    assert _check(verdict, "min_roc_auc").interval == pytest.approx(area)
    wide = _check(_judge(*found, ROWS.model_copy(update={"level": 0.9})), "roc_auc_vs_champion")
    two_sided = replace(compare.delong(holdout.labels, found[2].scores, challenger.scores), df=99.0).interval(0.8)
    assert wide.interval == pytest.approx(two_sided), "two ends of 90 % each are an interval of 80 %"


def test_days_are_the_blocks_by_default_and_none_treats_rows_as_independent() -> None:
    found = _usual()
    by_day = _check(_judge(*found), "roc_auc_vs_champion")
    assert "30 days with positives as blocks" in by_day.detail
    paired = _bounds(*found)
    assert by_day.interval == pytest.approx((paired.lower(0.95), paired.upper(0.95)))
    by_row = _check(_judge(*found, ROWS), "roc_auc_vs_champion")
    rows = compare.delong(found[0].labels, found[2].scores, found[1].scores)
    rows = replace(rows, df=99.0)  # of few positives the error is itself uncertain
    assert by_row.interval == pytest.approx((rows.lower(0.95), rows.upper(0.95)))
    assert "blocks" not in by_row.detail


def test_entities_are_the_blocks_when_they_are_given_and_needed_when_they_are_asked_for() -> None:
    holdout, challenger, champion = _usual()
    cards = np.random.default_rng(0).integers(0, 37, 2000)
    by_card = _judge(replace(holdout, blocks=cards, block_kind="entity"), challenger, champion)
    assert "35 entities with positives as blocks" in _check(by_card, "roc_auc_vs_champion").detail
    asked = OPEN.model_copy(update={"blocks": "entity"})
    assert (
        "35 entities"
        in _check(
            _judge(replace(holdout, blocks=cards, block_kind="entity"), challenger, champion, asked),
            "roc_auc_vs_champion",
        ).detail
    )
    by_day = _judge(
        replace(holdout, blocks=cards, block_kind="entity"),
        challenger,
        champion,
        OPEN.model_copy(update={"blocks": "day"}),
    )
    assert "30 days with positives as blocks" in _check(by_day, "roc_auc_vs_champion").detail
    absent = _judge(holdout, challenger, champion, asked)
    assert (absent.outcome, absent.lacks_rows) == (Outcome.INVALID, False)
    assert 'gate.blocks is "entity" but the rows carry no entity: set data.entity_column' in absent.reason


def test_fewer_than_ten_blocks_are_said_in_the_check() -> None:
    nine = _judge(*_usual(positives=300, days=9), LENIENT)
    check = _check(nine, "roc_auc_vs_champion")
    assert "only 9 days with positives as blocks, fewer than 10: the bounds are themselves uncertain" in check.detail
    assert check.status is CheckStatus.WARN
    assert (nine.outcome, nine.weak_evidence) == (Outcome.PASS, False)
    ten = _check(_judge(*_usual(positives=300, days=10), LENIENT), "roc_auc_vs_champion")
    assert "only" not in ten.detail
    assert ten.status is CheckStatus.OK


def test_one_day_only_leaves_the_error_unmeasured() -> None:
    holdout, challenger, champion = _usual(days=1)
    verdict = _judge(holdout, challenger, champion, LENIENT.model_copy(update={"strict": True}))
    check = _check(verdict, "roc_auc_vs_champion")
    assert (verdict.outcome, check.status) == (Outcome.INCONCLUSIVE, CheckStatus.UNKNOWN)
    assert (check.interval, check.p_value, check.positives_needed) == (None, None, None)
    assert "1 day with positives as blocks, too few to see how they differ" in check.detail
    assert check.remedy == "widen the holdout to at least 10 of them: raise train.holdout or data.lookback_days"


# --- point 6, and the verdict as a record ---


def test_earlier_uses_of_the_holdout_are_counted_and_said() -> None:
    holdout, challenger, champion = _usual()
    fresh = _check(_judge(holdout, challenger, champion), "holdout_uses")
    assert (fresh.value, fresh.status) == (0, CheckStatus.OK)
    used = _check(_judge(replace(holdout, prior_uses=3), challenger, champion), "holdout_uses")
    assert (used.value, used.status) == (3, CheckStatus.WARN)
    assert used.detail == (
        "the holdout has judged 3 challengers before this one: every further use makes a lucky pass likelier"
    )


def test_the_same_facts_give_the_same_verdict_and_are_left_as_they_were() -> None:
    holdout, challenger, champion = _usual()
    for array in (holdout.labels, holdout.times, holdout.mature, challenger.scores, champion.scores):
        array.flags.writeable = False
    first, again = (_judge(holdout, challenger, champion) for _ in range(2))
    assert first == again
    assert codec.decode(codec.encode(first), Verdict, source="verdict") == first


def test_every_comparison_carries_its_numbers() -> None:
    verdict = _judge(*_usual(loss=0.02))
    for name in ("roc_auc_vs_champion", "recall_vs_champion", "cost_vs_champion"):
        check = _check(verdict, name)
        assert (check.n, check.positives) == (2000, 100)
        assert None not in (check.value, check.limit, check.baseline, check.interval, check.p_value)
        if check.status is CheckStatus.UNKNOWN:
            assert check.positives_needed is not None
            assert check.positives_needed > 100


NUMBER = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_comes_in_a_verdict_comes_out_and_a_nan_never_passes(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 30))
    column = st.lists(NUMBER, min_size=n, max_size=n).map(lambda x: np.array(x, dtype=float))
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), dtype=int)
    first, second = data.draw(column), data.draw(column)
    threshold = data.draw(NUMBER)
    policy = data.draw(st.sampled_from([OPEN, ROWS, Gate(min_rows=1, min_positives=1, strict=True)]))
    champion = data.draw(st.sampled_from([_scored(second, "c", threshold=0.5), None, gate.Unreadable("c", "gone")]))
    verdict = _judge(_holdout(labels), _scored(first, threshold=threshold), champion, policy)
    assert verdict.reason
    numbers = np.concatenate([first, second if isinstance(champion, gate.Scored) else first, [threshold]])
    if not np.isfinite(numbers).all() or isinstance(champion, gate.Unreadable):
        assert verdict.outcome in (Outcome.INVALID, Outcome.FAIL)
    if verdict.outcome is Outcome.PASS:
        assert all(check.status is not CheckStatus.ACT for check in verdict.checks)


# --- error rates through the real rule ---

SHIP = {  # loss of ROC-AUC -> P(ship) at 25, 50, 100 and 300 positives
    0.0: (0.50, 0.56, 0.81, 1.0),
    0.02: (0.11, 0.06, 0.06, 0.065),
    0.05: (0.0, 0.0, 0.0, 0.0),
}
ONLY_AUC = LENIENT.model_copy(update={"blocks": "none"})


def _shipped(policy: Gate, positives: int, loss: float, draws: int) -> tuple[float, float]:
    """Return the shares of challengers that passed and that failed."""
    rng = np.random.default_rng([positives, round(1000 * loss)])
    y = np.repeat([1, 0], [positives, 19 * positives])
    holdout = _holdout(y)
    outcomes = []
    for _ in range(draws):
        champion, challenger = _pair(rng, y, loss)
        outcomes.append(_judge(holdout, _scored(challenger), _scored(champion, "c"), policy).outcome)
    return outcomes.count(Outcome.PASS) / draws, outcomes.count(Outcome.FAIL) / draws


@pytest.mark.slow
@pytest.mark.parametrize("loss", sorted(SHIP))
def test_the_chance_to_ship_is_that_of_the_plan(loss: float) -> None:
    """ROC-AUC alone, independent rows: within .07 of the stated table; .05 worse at most .01.

    300 draws a cell (80 at 300 positives) have a Monte-Carlo error of up to .03. 4,000 draws
    of the bare rule gave .53 .59 .81 1.0 / .12 .07 .06 .05 / .002 0 0 0.
    """
    for positives, expected in zip((25, 50, 100, 300), SHIP[loss], strict=True):
        shipped, failed = _shipped(ONLY_AUC, positives, loss, 80 if positives == 300 else 300)
        assert shipped == pytest.approx(expected, abs=0.01 if loss == 0.05 else 0.07)
        # an equal model is hardly ever called worse; one .05 worse mostly is, from 50 positives on
        if loss == 0:
            assert failed <= 0.02
        if loss == 0.05 and positives >= 50:
            assert failed >= 0.6


@pytest.mark.slow
def test_all_three_comparisons_together_ship_less_and_never_more() -> None:
    """With recall and cost judged too, of 200 equal challengers at 100 positives 55 to 75 % ship, of .02 worse under 7 %.

    `bench/weak_evidence.py` gives .63 and .034; were recall and cost not to be behind at all, .42 and .015.
    """
    policy = ROWS
    assert 0.55 <= _shipped(policy, 100, 0.0, 200)[0] <= 0.75
    assert _shipped(policy, 100, 0.02, 200)[0] <= 0.07


@pytest.mark.slow
def test_day_blocks_hold_their_level_when_days_are_good_and_bad_and_rows_do_not() -> None:
    """Type I error, at a true loss of exactly the margin: nominal 5 %, at most 9 % by 40 days, above 12 % by rows.

    Type II: an equal challenger is called worse in at most 1 % by days. 300 draws: the
    Monte-Carlo error of .05 is .013.
    """
    rng = np.random.default_rng(21)
    day = np.repeat(np.arange(40), 50)
    passed = {"auto": 0, "none": 0}
    worse = 0
    for _ in range(300):
        y = (rng.random(day.size) < 0.05).astype(int)
        holdout = _holdout(y, days=40)
        champion, challenger = _pair(rng, y, 0.02, day)
        for blocks in passed:
            policy = LENIENT.model_copy(update={"blocks": blocks, "strict": True})
            verdict = _judge(holdout, _scored(challenger), _scored(champion, "c"), policy)
            passed[blocks] += verdict.outcome is Outcome.PASS
        champion, challenger = _pair(rng, y, 0.0, day)
        worse += _judge(holdout, _scored(challenger), _scored(champion, "c"), LENIENT).outcome is Outcome.FAIL
    assert 0.01 <= passed["auto"] / 300 <= 0.09
    assert passed["none"] / 300 > 0.12
    assert worse / 300 <= 0.01

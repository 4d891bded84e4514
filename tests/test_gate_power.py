"""What a holdout can see is said, with the error rates of the rule; and what would have turned a verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, ndtr, ndtri, stdtrit

from rehone import compare, gate
from rehone.compare import Paired
from rehone.config import Gate
from rehone.gate.power import chance_to_pass, detectable
from rehone.records import Check, CheckStatus, Outcome, Verdict

TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
START = np.datetime64("2026-02-01T00:00:00", "us")
OPEN = Gate(min_roc_auc=0, min_recall=0, min_rows=1, min_positives=2, blocks="none")
LENIENT = OPEN.model_copy(update={"margin_recall": 5.0, "margin_cost": 1e6})


def binormal(
    rng: np.random.Generator, y: np.ndarray, loss: float, day: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores of a champion (ROC-AUC .90) and a challenger (.90 − loss), correlation .9, as probabilities.

    With `day`, each model has good and bad days of its own: a unit normal moves the positives of each.
    """
    shared, rate = math.sqrt(0.9) * rng.normal(size=y.size), y.mean()
    drawn = []
    for auc in (0.9, 0.9 - loss):
        lift = math.sqrt(2 if day is None else 3) * float(ndtri(auc))
        moved = lift if day is None else lift + rng.normal(size=int(day.max()) + 1)[day]
        s = shared + math.sqrt(0.1) * rng.normal(size=y.size) + y * moved
        drawn.append(expit(lift * s - lift**2 / 2 + math.log(rate / (1 - rate))))
    return drawn[0], drawn[1]


def holdout(positives: int, *, days: int = 30, **changed: Any) -> gate.Holdout:
    y = np.zeros(20 * positives, dtype=np.int8)
    y[np.linspace(0, y.size - 1, positives).astype(int)] = 1
    times = START + (np.arange(y.size) * (days * 86_400_000_000 // y.size)).astype("timedelta64[us]")
    return gate.Holdout(**({"labels": y, "times": times, "mature": np.ones(y.size, dtype=bool)} | changed))


def judged(given: gate.Holdout, loss: float, policy: Gate = LENIENT, *, seed: int = 3) -> Verdict:
    champion, challenger = binormal(np.random.default_rng(seed), given.labels, loss)
    one, other = (
        gate.Scored(version=v, scores=s, threshold=1 / 11, train_end=TRAINED)
        for v, s in ((None, challenger), ("c", champion))
    )
    return gate.judge(given, one, other, policy, costs=(1.0, 10.0))


def found(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.label == name)


# --- what it can see ---


def test_a_small_holdout_says_what_it_cannot_see_and_when_it_will() -> None:
    given = holdout(41, days=41, as_of=datetime(2026, 3, 20, tzinfo=UTC), label_delay_days=7)
    verdict = judged(given, 0.0)
    check, bout = found(verdict, "power"), found(verdict, "roc_auc_vs_champion")
    assert check.status is CheckStatus.WARN
    assert check.value is not None
    assert check.value > 0.02
    assert check.detail.startswith(
        f"this holdout has 41 positives: it can see a loss of {check.value:.3f} ROC-AUC, not of 0.020 "
        "(95 % confidence, 80 % power); were the challenger truly 0.020 worse, this comparison would pass it with probability 0."
    )
    # the same positives that the inconclusive comparison asks for, in rows and as a day
    assert check.positives_needed is not None
    assert bout.positives_needed in (None, check.positives_needed)
    more = check.positives_needed - 41
    assert f"about {20 * more:,} more labelled rows ({more} positives) would do, around 2026-0" in check.remedy
    # the last of them happens `more` days after the newest row, at one positive a day, and is due a week later
    due = given.times.max().astype(datetime).toordinal() + math.ceil(more * 41 / 41) + 7
    said = date.fromisoformat(check.remedy.split("around ")[1][:10]).toordinal()
    assert abs(said - due) <= 2


def test_a_large_holdout_sees_the_margin_and_asks_for_nothing() -> None:
    check = found(judged(holdout(400), 0.0), "power")
    assert (check.status, check.remedy, check.positives_needed) == (CheckStatus.OK, "", None)
    assert check.value is not None
    assert check.value <= 0.02
    assert "not of" not in check.detail
    assert check.detail.endswith("with probability 0.05; were it equal, with 1.00")


def test_positives_in_one_day_leave_the_sight_unmeasured_and_do_not_stop_the_verdict() -> None:
    policy = LENIENT.model_copy(update={"blocks": "day"})
    verdict = judged(holdout(40, days=1), 0.0, policy)
    check = found(verdict, "power")
    assert (check.status, check.value) == (CheckStatus.WARN, None)
    assert "could not be measured" in check.detail


def test_stated_chances_are_those_of_the_normal_approximation() -> None:
    paired = Paired(delta=0.0, se=0.01, champion=0.9, challenger=0.9, n=100)
    q = float(ndtri(0.95))
    assert chance_to_pass(paired, OPEN, -0.02) == pytest.approx(0.05)
    assert chance_to_pass(paired, OPEN, 0.0) == pytest.approx(float(ndtr(2 - q)))
    # where the bound asks for more than a lead, the lead is the weaker rule, unless it is strict
    wide = replace(paired, se=0.05)
    assert chance_to_pass(wide, OPEN, 0.0) == pytest.approx(0.5)
    assert chance_to_pass(wide, OPEN.model_copy(update={"strict": True}), 0.0) == pytest.approx(float(ndtr(0.4 - q)))
    assert detectable(paired, 0.95) == pytest.approx((q + float(ndtri(0.8))) * 0.01)
    few = replace(paired, df=5.0)
    assert detectable(few, 0.95) == pytest.approx((float(stdtrit(5, 0.95)) + float(stdtrit(5, 0.8))) * 0.01)
    nothing = replace(paired, se=0.0)
    assert (chance_to_pass(nothing, OPEN, 0.0), chance_to_pass(nothing, OPEN, -0.02)) == (1.0, 0.0)
    assert chance_to_pass(replace(paired, se=None), OPEN, 0.0) is None


# --- what would have turned it ---


def behind() -> tuple[gate.Holdout, int]:
    """Return rows too few to tell, and a draw on which the challenger is a little behind."""
    given = holdout(15)
    for seed in range(200):
        check = found(judged(given, 0.0, seed=seed), "roc_auc_vs_champion")
        if check.status is CheckStatus.UNKNOWN and check.value is not None and -0.012 < check.value < -0.003:
            return given, seed
    raise AssertionError("no such draw")


def test_an_inconclusive_verdict_says_the_nearest_ways_to_a_pass_and_they_are_true() -> None:
    given, seed = behind()
    verdict = judged(given, 0.0, seed=seed)
    check = found(verdict, "roc_auc_vs_champion")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert check.value is not None
    assert check.interval is not None
    low = check.interval[0]
    more = math.ceil(15 * (((check.value - low) / (check.value + 0.02)) ** 2 - 1))
    minus = chr(0x2212)
    assert verdict.flip == (
        f"would have passed had the difference in ROC-AUC been +0.0000 instead of {minus}{-check.value:.4f}, or its "
        f"lower bound been above {minus}0.0200 instead of {minus}{-low:.4f} (about +{-0.02 - low:.4f}, or {more} more "
        "positives at the same difference)"
    )
    # a margin that is that much wider does turn it
    wider = LENIENT.model_copy(update={"margin_roc_auc": -low + 1e-9, "strict": True})
    assert judged(given, 0.0, wider, seed=seed).outcome is Outcome.PASS
    strict = judged(given, 0.0, LENIENT.model_copy(update={"strict": True}), seed=seed)
    assert strict.flip.startswith("would have passed had ROC-AUC's lower bound been above ")


def test_a_pass_says_how_near_it_was_and_a_challenger_that_far_behind_does_not_pass() -> None:
    verdict = judged(holdout(300), 0.0, LENIENT.model_copy(update={"margin_recall": 0.2}))
    assert verdict.outcome is Outcome.PASS
    check = found(verdict, "roc_auc_vs_champion")
    assert check.interval is not None
    assert check.value is not None
    edge = min(-0.02 - check.interval[0], -check.value) + check.value
    minus = chr(0x2212)
    assert verdict.flip.startswith(
        f"would not have passed had the difference in ROC-AUC been {minus}{-edge:.4f} instead of "
    )


def test_every_check_that_blocks_is_in_the_sentence_and_a_lack_of_rows_is_said_in_rows() -> None:
    floors = LENIENT.model_copy(update={"min_roc_auc": 0.999})
    verdict = judged(holdout(100), 0.05, floors)
    assert verdict.outcome is Outcome.FAIL
    assert "would have passed had ROC-AUC been at least 0.9990 instead of 0.8" in verdict.flip
    assert "; and the difference in ROC-AUC been " in verdict.flip
    few = judged(holdout(15), 0.0, LENIENT.model_copy(update={"min_positives": 20}))
    assert few.flip == "would have been judged had 20 legal positives been there instead of 15"


# --- stated against empirical error rates ---


def rates(positives: int, loss: float, draws: int) -> tuple[float, float]:
    """Return how often the rule for ROC-AUC passed, and how often it said it would, given what is true."""
    rng = np.random.default_rng([positives, round(1000 * loss), 5])
    y = np.repeat([1, 0], [positives, 19 * positives])
    passed, stated = 0, 0.0
    for _ in range(draws):
        paired = replace(compare.delong(y, *binormal(rng, y, loss)), df=positives - 1.0)
        passed += paired.lower(OPEN.level) > -OPEN.margin_roc_auc or paired.delta >= 0
        stated += chance_to_pass(paired, OPEN, -loss) or 0.0
    return passed / draws, stated / draws


@pytest.mark.simulation
@pytest.mark.parametrize(("positives", "draws"), [(25, 4000), (50, 4000), (100, 3000), (300, 1000)])
def test_errors_of_both_kinds_are_within_two_points_of_what_is_stated(positives: int, draws: int) -> None:
    """Type I at a true loss of the margin, type II for an equal challenger; binormal scores, 5 % positives.

    The standard error of a share by so many draws is at most .008.
    """
    for loss in (0.02, 0.0):
        empirical, stated = rates(positives, loss, draws)
        print(f"{positives} positives, truly {loss} worse: passed {empirical:.3f}, stated {stated:.3f}")
        assert empirical == pytest.approx(stated, abs=0.02)


@pytest.mark.simulation
@pytest.mark.parametrize("days", [14, 40])
@pytest.mark.parametrize("uneven", [False, True], ids=["even", "good and bad days"])
def test_errors_between_days_are_within_three_points_of_what_is_stated(days: int, uneven: bool) -> None:
    """Days as blocks, 50 rows each, 5 % positives; where days differ, the statement says how little can be told."""
    rng, day = np.random.default_rng([days, uneven]), np.repeat(np.arange(days), 50)
    for loss in (0.02, 0.0):
        passed, stated, draws = 0, 0.0, 2000
        for _ in range(draws):
            y = (rng.random(day.size) < 0.05).astype(int)
            paired = compare.delong_blocks(y, *binormal(rng, y, loss, day if uneven else None), day)
            passed += paired.lower(OPEN.level) > -OPEN.margin_roc_auc or paired.delta >= 0
            stated += chance_to_pass(paired, OPEN, -loss) or 0.0
        print(
            f"{days} days, uneven {uneven}, truly {loss} worse: passed {passed / draws:.3f}, stated {stated / draws:.3f}"
        )
        assert passed / draws == pytest.approx(stated / draws, abs=0.03)

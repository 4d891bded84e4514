"""Promotions together lose no more than the budget: the anchor, by sentence and by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri, stdtrit

from rehone import gate
from rehone.config import Gate
from rehone.gate.anchor import level_of
from rehone.records import Check, CheckStatus, Outcome, Verdict

TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
START = np.datetime64("2026-02-01T00:00:00", "us")
POLICY = Gate(
    min_roc_auc=0, min_recall=0, min_rows=1, min_positives=10, blocks="none", margin_recall=5.0, margin_cost=1e6
)
ANY_THRESHOLD = 2.0


def _rows(positives: int, **changed: Any) -> gate.Holdout:
    y = np.repeat([1, 0], [positives, 19 * positives])
    times = START + np.arange(y.size).astype("timedelta64[m]").astype("timedelta64[us]")
    return gate.Holdout(**({"labels": y, "times": times, "mature": np.ones(y.size, dtype=bool)} | changed))


def _scores(rng: np.random.Generator, y: np.ndarray, aucs: list[float]) -> list[np.ndarray]:
    """Draw binormal scores of models of these true ROC-AUCs, each two of them with correlation .9."""
    shared = math.sqrt(0.9) * rng.normal(size=y.size)
    return [shared + math.sqrt(0.1) * rng.normal(size=y.size) + y * math.sqrt(2) * float(ndtri(auc)) for auc in aucs]


def _model(scores: np.ndarray, version: str | None = None) -> gate.Scored:
    return gate.Scored(version=version, scores=scores, threshold=ANY_THRESHOLD, train_end=TRAINED)


def _judge(given: gate.Holdout, aucs: list[float], policy: Gate = POLICY, seed: int = 1, **changed: Any) -> Verdict:
    """Judge the first model against the second; the others are past champions, named `a`, `b` ..."""
    challenger, champion, *past = _scores(np.random.default_rng(seed), given.labels, aucs)
    anchors = [replace(_model(s, "abcdefgh"[k]), **changed) for k, s in enumerate(past)]
    return gate.judge(given, _model(challenger), _model(champion, "live"), policy, costs=(1.0, 10.0), anchors=anchors)


def _check(verdict: Verdict, name: str) -> Check | None:
    return next((check for check in verdict.checks if check.name == name), None)


def test_a_challenger_that_is_not_worse_than_the_champion_fails_when_promotions_together_lost_too_much() -> None:
    given = _rows(500)
    verdict = _judge(given, [0.82, 0.825, 0.89, 0.93])
    check = _check(verdict, "anchor")
    assert check is not None
    assert (verdict.outcome, check.status, check.subject) == (Outcome.FAIL, CheckStatus.ACT, "b")
    assert check.value is not None
    assert check.value < -0.05
    assert "of b, the best of 2 past champions on these rows, difference " in check.detail
    assert "`rehone rollback --to b` brings the better one back" in check.remedy
    assert "the lower bound of the difference to the past champion b been " in verdict.flip
    assert _judge(given, [0.82, 0.825]).outcome is Outcome.PASS
    off = _judge(given, [0.82, 0.825, 0.89, 0.93], POLICY.model_copy(update={"anchor_budget": None}))
    assert (off.outcome, _check(off, "anchor")) == (Outcome.PASS, None)


def test_the_lower_bound_must_be_above_the_budget_and_else_the_rows_cannot_tell() -> None:
    given = _rows(60)
    check = _check(_judge(given, [0.9, 0.9, 0.9]), "anchor")
    assert check is not None
    assert check.interval is not None
    low = check.interval[0]
    at = _judge(given, [0.9, 0.9, 0.9], POLICY.model_copy(update={"anchor_budget": -low}))
    assert (at.outcome, _status(at)) == (Outcome.INCONCLUSIVE, CheckStatus.UNKNOWN)
    beyond = _judge(given, [0.9, 0.9, 0.9], POLICY.model_copy(update={"anchor_budget": math.nextafter(-low, 1)}))
    assert _status(beyond) is CheckStatus.OK


def _status(verdict: Verdict) -> CheckStatus | None:
    check = _check(verdict, "anchor")
    return check.status if check else None


def test_every_try_against_past_champions_asks_for_more() -> None:
    assert level_of(POLICY, 1) == pytest.approx(0.95)
    assert level_of(POLICY, 25) == pytest.approx(0.99)
    first, late = (_check(_judge(_rows(60, anchor_tries=n), [0.9, 0.9, 0.9]), "anchor") for n in (0, 24))
    assert first is not None
    assert late is not None
    assert first.interval is not None
    assert late.interval is not None
    reach = [(check.value or 0.0) - (check.interval or (0.0, 0.0))[0] for check in (first, late)]
    assert reach[1] / reach[0] == pytest.approx(stdtrit(59, 0.99) / stdtrit(59, 0.95))
    assert "with 99 % confidence (try 25 of the past year)" in late.detail


def test_a_past_champion_that_cannot_be_asked_is_said_and_not_held_against() -> None:
    given = _rows(60)
    challenger, champion, past = _scores(np.random.default_rng(1), given.labels, [0.9, 0.9, 0.99])
    anchors = (
        gate.Unreadable("gone", "no model.skops"),
        _model(past[:-1], "short"),
        _model(np.where(np.arange(past.size) == 5, np.nan, past), "nan"),
        replace(_model(past, "newer"), train_end=datetime(2027, 1, 1, tzinfo=UTC)),
        replace(_model(past, "saw"), seen=np.ones(past.size, dtype=bool)),
    )
    verdict = gate.judge(
        given, _model(challenger), _model(champion, "live"), POLICY, costs=(1.0, 10.0), anchors=anchors
    )
    check = _check(verdict, "anchors")
    assert check is not None
    assert (check.status, check.value, check.n) == (CheckStatus.WARN, 5.0, 5)
    for said in (
        "gone cannot be read (no model.skops)",
        "short gave 1,199 scores for 1,200 rows",
        "nan gives scores that are not finite",
        "newer has not seen only 0 rows with 0 positives of these",
        "saw has not seen only 0 rows with 0 positives of these",
    ):
        assert said in check.detail
    assert _check(verdict, "anchor") is None
    assert verdict.outcome is Outcome.PASS


def test_a_past_champion_is_asked_on_the_rows_that_it_has_not_seen() -> None:
    given = _rows(60)
    half = np.arange(1200) % 2 == 0
    verdict = _judge(given, [0.9, 0.9, 0.9], seen=half)
    check = _check(verdict, "anchor")
    assert check is not None
    assert (check.n, check.positives) == (600, 30)
    # a row at its training end was seen, the one a microsecond later was not
    end = given.times[99].astype(datetime).replace(tzinfo=UTC)
    cut = _check(_judge(given, [0.9, 0.9, 0.9], train_end=end - timedelta(microseconds=1)), "anchor")
    assert cut is None  # all positives come first: of those that are left there are none
    assert _check(_judge(given, [0.9, 0.9, 0.9], train_end=TRAINED), "anchor") is not None


# --- chains of promotions ---

MARGIN, BUDGET, MOST = 0.02, 0.05, 12
Steps = Callable[[np.random.Generator, int], np.ndarray]
CHAINS: dict[str, Steps] = {
    "each .01 worse": lambda _, n: np.full(n, -0.01),
    "each .02 worse": lambda _, n: np.full(n, -0.02),
    "each .03 worse": lambda _, n: np.full(n, -0.03),
    "-.01 ± .01": lambda rng, n: rng.normal(-0.01, 0.01, n),
    "-.005 ± .01": lambda rng, n: rng.normal(-0.005, 0.01, n),
    "0 ± .02": lambda rng, n: rng.normal(0, 0.02, n),
    "equal": lambda _, n: np.zeros(n),
}


def _chain(
    positives: int, steps: Steps, tries: int, *, level_at: Callable[[int], float] | None = None, most: int = MOST
) -> tuple[float, float, float]:
    """Return P(true loss > budget at any time), promotions, and the share of passes that the anchor stopped.

    Each model's measured ROC-AUC errs on its own on each holdout; the difference of two has the
    standard error of binormal scores with correlation .9 (.0789 / sqrt(positives)), and is itself
    measured with so many degrees of freedom. The rule is that of the gate, unless another level
    for each try is given.
    """
    chains, levels = 1500, level_at or (lambda n: level_of(POLICY, n))
    rng = np.random.default_rng([positives, tries])
    se, rows = 0.0789 / math.sqrt(positives), np.arange(chains)
    past = np.zeros((chains, tries + 1))
    held = np.ones(chains, dtype=int)  # champions so far, the live one last
    top, beyond = np.zeros(chains), np.zeros(chains, dtype=bool)
    tried, passes, stopped = np.zeros(chains, dtype=int), 0, 0
    for _ in range(tries):
        live = past[rows, held - 1]
        truth = live + steps(rng, chains)
        noise = rng.normal(0, se / math.sqrt(2), (chains, tries + 2))
        error = se * np.sqrt(rng.chisquare(positives - 1, chains) / (positives - 1))
        ahead = truth + noise[:, -1] - live - noise[rows, held - 1]
        passed = (ahead - stdtrit(positives - 1, 0.95) * error > -MARGIN) | (ahead >= 0)
        gap = truth + noise[:, -1] - _best(past + noise[:, :-1], held, most)
        tried += held > 1
        level = np.array([levels(n) for n in range(tries + 1)])[tried]
        within = (gap - stdtrit(positives - 1, level) * error > -BUDGET) | (held == 1)
        passes, stopped = passes + int(passed.sum()), stopped + int((passed & ~within).sum())
        shipped = rows[passed & within]
        past[shipped, held[shipped]] = truth[shipped]
        held[shipped] += 1
        now = past[rows, held - 1]
        top = np.maximum(top, now)
        beyond |= top - now > BUDGET + 1e-12
    return float(beyond.mean()), float(held.mean() - 1), stopped / max(passes, 1)


def _best(measured: np.ndarray, held: np.ndarray, most: int) -> np.ndarray:
    """Return the best of at most `most` past champions: the first, the last, and others evenly between."""
    best = np.full(held.size, -np.inf)
    for part in range(most):
        some = held > 1
        place = np.round(part * (held - 2) / (most - 1)).astype(int)
        best[some] = np.maximum(best[some], measured[np.flatnonzero(some), place[some]])
    return best


@pytest.mark.simulation
@pytest.mark.parametrize("tries", [12, 52])
def test_chains_lose_more_than_the_budget_in_at_most_five_of_a_hundred(tries: int) -> None:
    """12 and 52 tries a year, 25 to 300 positives; without the anchor, chains that are each .01 worse nearly always do."""
    worst = 0.0
    for name, steps in CHAINS.items():
        for positives in (25, 50, 100, 300):
            beyond, promoted, stopped = _chain(positives, steps, tries)
            print(
                f"{tries} tries, {name}, {positives} positives: {beyond:.3f} lose more, {promoted:.1f} promoted, "
                f"{stopped:.2f} of passes stopped"
            )
            worst = max(worst, beyond)
            assert beyond <= 0.05
            if name == "equal":
                assert stopped <= ({12: 0.16, 52: 0.45}[tries] if positives == 25 else 0.06)
    bare = _chain(300, CHAINS["each .01 worse"], tries, level_at=lambda _: 1e-100)[0]
    print(f"{tries} tries: worst with the anchor {worst:.3f}, without it {bare:.3f}")
    assert bare >= 0.9


@pytest.mark.simulation
def test_other_rules_lose_more_or_stop_more_of_what_is_equal() -> None:
    """What decision 19 rejected: the gate's own level for each try, five anchors, the error shared by the number of tries."""
    worse, wavering, equal = CHAINS["each .02 worse"], CHAINS["-.01 ± .01"], CHAINS["equal"]
    own = _chain(25, worse, 52, level_at=lambda _: 0.95)[0]
    five = _chain(300, wavering, 52, most=5)[0]
    shared = _chain(25, equal, 52, level_at=lambda n: 1 - 0.05 / max(n, 1))[2]
    ten = _chain(10, CHAINS["each .03 worse"], 52)[0]
    print(
        f"own level: {own:.3f} lose more; five anchors: {five:.3f}; shared by number: {shared:.2f} of equal stopped; "
        f"ten positives: {ten:.3f} lose more"
    )
    assert own > 0.05
    assert five > 0.05
    assert shared > _chain(25, equal, 52)[2] + 0.05


@pytest.mark.simulation
def test_the_real_gate_keeps_the_budget_where_each_challenger_is_a_little_worse() -> None:
    """60 chains of 16 challengers, each truly .01 worse than the champion, 100 positives, drawn scores."""
    rng = np.random.default_rng(11)
    given = _rows(100)
    beyond = {}
    for anchored in (True, False):
        lost = [_lived(rng, given, anchored=anchored) for _ in range(60)]
        beyond[anchored] = float(np.mean([loss > BUDGET + 1e-9 for loss in lost]))
    print(f"lost more than {BUDGET}: {beyond[True]:.3f} with the anchor, {beyond[False]:.3f} without")
    assert beyond[True] <= 0.05
    assert beyond[False] >= 0.3


def _lived(rng: np.random.Generator, given: gate.Holdout, *, anchored: bool) -> float:
    """Return what one chain of promotions lost in the end."""
    aucs = [0.93]
    for tried in range(16):
        past = sorted({round(part * (len(aucs) - 2) / (MOST - 1)) for part in range(MOST)}) if len(aucs) > 1 else []
        truth = aucs[-1] - 0.01
        drawn = _scores(rng, given.labels, [truth, aucs[-1], *(aucs[place] for place in past)])
        anchors = [_model(s, f"{place:02d}") for place, s in zip(past, drawn[2:], strict=True)] if anchored else []
        verdict = gate.judge(
            replace(given, anchor_tries=tried),
            _model(drawn[0]),
            _model(drawn[1], "live"),
            POLICY,
            costs=(1.0, 10.0),
            anchors=anchors,
        )
        if verdict.outcome is Outcome.PASS:
            aucs.append(truth)
    return aucs[0] - aucs[-1]

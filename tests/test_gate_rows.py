"""Slices, near duplicates and the use of a holdout: what the gate says of the rows it judges on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from rehone import artifact, gate
from rehone.config import Config, Gate
from rehone.pipeline import anchors, comparison
from rehone.records import (
    Check,
    CheckStatus,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Outcome,
    Verdict,
    Window,
)
from rehone.runlog import Line
from rehone.store import Store

TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
START = np.datetime64("2026-02-01T00:00:00", "us")
POLICY = Gate(
    min_roc_auc=0,
    min_recall=0,
    min_rows=1,
    min_positives=2,
    blocks="none",
    margin_recall=5.0,
    margin_cost=1e6,
    margin_roc_auc=0.9,
    anchor_budget=None,
    slices=("region",),
)
N = 1000
REGION = np.where(np.arange(N) % 10 < 5, "north", np.where(np.arange(N) % 10 < 9, "south", "isle"))


def _given(**changed: Any) -> gate.Holdout:
    """Return 1,000 rows: 200 positives first, half of them in the north, 80 in the south, 20 on the isle."""
    y = (np.arange(N) < 200).astype(int)
    times = START + np.arange(N).astype("timedelta64[h]").astype("timedelta64[us]")
    fields = {"labels": y, "times": times, "mature": np.ones(N, dtype=bool), "slices": {"region": REGION}}
    return gate.Holdout(**(fields | changed))


def _verdict(given: gate.Holdout, missed: np.ndarray, policy: Gate = POLICY) -> Verdict:
    """Judge a challenger that misses these rows against a champion that acts on all positives."""
    y = given.labels.astype(float)
    rng = np.random.default_rng(0)
    champion = 0.2 + 0.6 * y + 0.1 * rng.random(N)
    challenger = np.where(missed, 0.25, 0.2 + 0.6 * y) + 0.1 * rng.random(N)
    one, other = (
        gate.Scored(version=v, scores=s, threshold=0.5, train_end=TRAINED)
        for v, s in (("new", challenger), ("old", champion))
    )
    return gate.judge(given, one, other, policy, costs=(0.0, 0.0))


def _check(verdict: Verdict, label: str) -> Check:
    return next(check for check in verdict.checks if check.label == label)


# --- slices ---


def test_a_slice_that_is_broken_fails_although_the_whole_is_within_its_margin() -> None:
    missed = (REGION == "south") & (np.arange(N) % 20 < 10)
    verdict = _verdict(_given(), missed)
    south, north = _check(verdict, "slice(region=south)"), _check(verdict, "slice(region=north)")
    assert verdict.outcome is Outcome.FAIL
    assert (south.status, south.value, south.positives) == (CheckStatus.ACT, -0.5, 80)
    assert (north.status, north.value, north.positives) == (CheckStatus.OK, 0.0, 100)
    assert "0 gained and 40 lost of 80 positives" in south.detail
    assert "over 3 slices" in south.detail
    assert "recall where region is south not been worse by 0.5000" in verdict.flip
    assert _verdict(_given(), missed, POLICY.model_copy(update={"slices": ()})).outcome is Outcome.PASS


def test_a_slice_is_worse_only_by_more_than_the_margin_beyond_chance_and_over_all_slices() -> None:
    few = (REGION == "south") & (np.arange(N) < 30)  # 12 of 80: .15 behind
    margin = POLICY.model_copy(update={"margin_slice": 0.10, "slice_min_positives": 5})
    assert _check(_verdict(_given(), few), "slice(region=south)").status is CheckStatus.ACT
    held = _check(_verdict(_given(), few, margin), "slice(region=south)")
    assert held.status is CheckStatus.OK
    assert "not shown to be worse than" in held.detail
    # the same slice among many: Holm asks for more of each
    alone = {"region": np.where(REGION == "south", "south", "x")}
    among = {"region": np.where(REGION == "south", "south", np.char.add("r", (np.arange(N) % 7).astype(str)))}
    lone, shared = (
        _check(_verdict(_given(slices=found), few, margin), "slice(region=south)").p_value for found in (alone, among)
    )
    assert lone is not None
    assert shared is not None
    assert shared > 1.2 * lone


def test_slices_that_are_too_small_are_listed_and_one_that_is_not_there_fails() -> None:
    verdict = _verdict(_given(), np.zeros(N, dtype=bool), POLICY.model_copy(update={"slice_min_positives": 30}))
    assert verdict.outcome is Outcome.PASS
    assert (
        _check(verdict, "slices_too_small").detail
        == "1 slice with fewer than 30 positives, not judged: region isle (20)"
    )
    lost = _verdict(_given(slices={}), np.zeros(N, dtype=bool))
    assert lost.outcome is Outcome.FAIL
    assert _check(lost, "slice(region)").sentence == (
        "gate.slices names 'region', which the held-out rows do not have: correct gate.slices, or bring the column back"
    )


def test_equal_models_are_hardly_ever_stopped_by_ten_slices() -> None:
    """100 pairs that each miss 20 % of positives at random, 20 positives or so in each of ten slices: at most 5 % fail."""
    rng = np.random.default_rng(4)
    given = _given(slices={"region": (np.arange(N) % 10).astype(str)})
    policy = POLICY.model_copy(update={"slice_min_positives": 5})
    base = 0.2 + 0.6 * given.labels
    failed = 0
    for _ in range(100):
        a, b = (np.where(rng.random(N) < 0.2, 0.25, base) + 0.1 * rng.random(N) for _ in range(2))
        one, other = (
            gate.Scored(version=v, scores=s, threshold=0.5, train_end=TRAINED) for v, s in (("a", a), ("b", b))
        )
        failed += gate.judge(given, one, other, policy, costs=(0.0, 0.0)).outcome is Outcome.FAIL
    assert failed <= 5


def test_a_column_of_many_numbers_is_cut_into_quarters_and_others_are_taken_as_they_are() -> None:
    config = cast("Config", SimpleNamespace(gate=Gate(slices=("amount", "kind", "gone"))))
    held = pl.DataFrame({"amount": [float(n) for n in range(100)], "kind": ["a", None] * 50})
    found = comparison._slices(config, held)
    assert set(found) == {"amount", "kind"}
    names, sizes = np.unique(found["amount"], return_counts=True)
    assert set(names) == {"up to 25", "25 to 50", "50 to 74", "above 74"}
    assert sizes.min() >= 24
    assert set(found["kind"]) == {"a", "null"}


# --- near duplicates ---


def test_rows_that_are_nearly_a_training_row_are_left_out_and_counted_once() -> None:
    exact, near = np.arange(N) % 100 == 0, np.arange(N) % 50 == 0
    verdict = _verdict(_given(in_champion_training=exact, near_champion_training=near), np.zeros(N, dtype=bool))
    assert _check(verdict, "unseen(champion)").value == 10
    check = _check(verdict, "near_duplicates(champion)")
    assert (check.value, check.status) == (10, CheckStatus.WARN)
    assert check.sentence == "10 of 1,000 rows are nearly a row of the champion's training set: they were left out"
    assert verdict.challenger is not None
    assert verdict.challenger.n == N - 20


def _frame(amounts: Sequence[float | None], kinds: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame({"amount": amounts, "kind": kinds, "y": [0] * len(kinds)})


def test_a_row_is_nearly_another_when_it_agrees_to_three_digits_whatever_its_label() -> None:
    first = _frame([12.34, 0.001234, -5e6, None, 999.9], ["a", "a", "b", "b", "a"])
    contract = artifact.learn_contract(first, ("amount", "kind"), label="y")
    changed = _frame([12.3401, 0.00123399, -5.0001e6, None, 1000.1], ["a", "a", "b", "b", "a"])
    other = _frame([12.44, -0.001234, -5.1e6, 0.0, 99.99], ["a", "a", "b", "b", "a"])
    one = artifact.near_fingerprints(first, contract)
    assert (one == artifact.near_fingerprints(changed.with_columns(y=pl.lit(1)), contract)).all()
    assert not (one == artifact.near_fingerprints(other, contract)).any()
    assert not (one == artifact.near_fingerprints(first.with_columns(kind=pl.lit("c")), contract)).any()
    assert (artifact.read_near({artifact.NEAR_FILE: artifact.pack_near(one)}) == np.unique(one)).all()
    assert artifact.read_near({}) is None
    with pytest.raises(artifact.marks.Corrupt, match=r"near\.npy cannot be read"):
        artifact.read_near({artifact.NEAR_FILE: b"other"})


def test_rows_too_coarse_to_have_a_twin_by_fault_are_not_measured() -> None:
    fine = np.arange(100, dtype=np.uint64)
    assert comparison._near(fine, fine[:3]).tolist() == [True] * 3 + [False] * 97  # type: ignore[union-attr]  # measured
    some = np.append(np.arange(98, dtype=np.uint64), [0, 1]).astype(np.uint64)  # 2 of 100 are twins
    assert comparison._near(some, np.arange(200, dtype=np.uint64)) is not None
    assert comparison._near(some, np.arange(300, dtype=np.uint64)) is None
    assert comparison._near(fine, None) is None


# --- use of a holdout ---


def test_a_holdout_that_was_used_up_says_so_and_what_to_do() -> None:
    policy = POLICY.model_copy(update={"slices": (), "max_holdout_uses": 3})
    nothing = np.zeros(N, dtype=bool)
    used = _verdict(_given(prior_uses=4, effective_uses=2.9), nothing, policy)
    assert used.outcome is Outcome.PASS
    assert _check(used, "holdout_uses").value == 2.9
    over = _verdict(_given(prior_uses=4, effective_uses=3.0), nothing, policy)
    assert over.outcome is Outcome.INCONCLUSIVE
    assert over.reason == (
        "the holdout has judged 4 challengers before this one (as many as 3.0 on all of its rows), must be fewer than 3: "
        "whoever tries that often passes by luck: wait for newer matured rows, train less often, or raise gate.max_holdout_uses"
    )
    assert over.flip == "would have passed had these rows judged fewer than 3 challengers before instead of 3.0"
    off = policy.model_copy(update={"max_holdout_uses": None})
    assert _verdict(_given(prior_uses=999), nothing, off).outcome is Outcome.PASS


def _line(as_of: datetime, days: tuple[float, float] | None) -> Line:
    span = None if days is None else Window(*(TRAINED + timedelta(days=d) for d in days))
    return cast("Line", SimpleNamespace(as_of=as_of, holdout=span))


def test_an_earlier_challenger_counts_by_the_share_of_the_rows_that_it_was_judged_on() -> None:
    held = Window(TRAINED + timedelta(days=10), TRAINED + timedelta(days=20))
    lines = tuple(_line(TRAINED, days) for days in ((0, 10), (5, 15), (10, 20), None, (0, 100), (18, 30)))
    matter = cast("comparison.Matter", SimpleNamespace(window=held, lines=lines))
    assert comparison._earlier_shares(matter) == pytest.approx([0.5, 1.0, 1.0, 0.2])


# --- which past champions are asked ---


def _log(*versions: str, every: int = 10, action: DeploymentAction = DeploymentAction.CONFIRM) -> list[Deployment]:
    return [
        Deployment(
            generation=n + 1,
            version=v,
            action=action,
            state=DeploymentState.CONFIRMED,
            actor="a",
            at=TRAINED + timedelta(days=every * n),
        )
        for n, v in enumerate(versions)
    ]


def _past(log: list[Deployment], day: int, *, gone: str = "", lines: tuple[Line, ...] = ()) -> anchors.Past:
    ids = dict.fromkeys(record.version for record in log if record.version and record.version not in gone)
    store = SimpleNamespace(log=lambda: tuple(log), versions=lambda: [SimpleNamespace(id=v) for v in ids])
    return anchors.past_champions(cast("Store", store), lines, TRAINED + timedelta(days=day))


def test_past_champions_are_those_of_a_year_that_are_there_and_that_nobody_rolled_back_from() -> None:
    log = _log(*"abcde")
    assert _past(log, 50).versions == ("a", "b", "c", "d")
    assert _past(log, 50, gone="ac").versions == ("b", "d")
    # a was replaced on day 10, b on day 20
    assert _past(log, 365 + 10).versions == ("a", "b", "c", "d")
    assert _past(log, 365 + 11).versions == ("b", "c", "d")
    back = replace(log[1], generation=6, action=DeploymentAction.ROLLBACK, at=TRAINED + timedelta(days=60))
    assert _past([*log, back], 70).versions == ("a",)
    assert _past(log[:1], 50) == anchors.Past(())
    many = _past(_log(*"abcdefghijklmnopqrstuvwx", every=1), 200).versions
    assert (len(many), many[0], many[-1]) == (12, "a", "w")


def test_tries_are_counted_from_the_day_on_which_there_was_a_past_champion() -> None:
    lines = tuple(
        _line(TRAINED + timedelta(days=day), span)
        for day, span in ((5, (0, 1)), (10, (0, 1)), (20, None), (30, (0, 1)), (90, (0, 1)))
    )
    assert _past(_log(*"abc"), 50, lines=lines).tries == 1

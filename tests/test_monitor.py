"""Recall, cost and ROC-AUC of matured rows carry intervals that cover the truth, or are not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr
from sklearn.metrics import roc_auc_score

from rehone import monitor
from rehone.compare import delong, roc_auc_interval, wilson
from rehone.monitor import Performance, Terms, decided_at, decisions, performance
from rehone.records import Estimate

COSTS = (1.0, 10.0)


def measure(
    scores: object, labels: object, *, blocks: object = None, least: int = 1, level: float = 0.95
) -> tuple[Estimate | None, Estimate | None, str]:
    found = whole(scores, labels, blocks=blocks, least=least, level=level)
    return found.recall, found.cost_per_1000, found.unknown


def whole(scores: object, labels: object, *, blocks: Any = None, least: int = 1, level: float = 0.95) -> Performance:
    given = np.asarray(scores, dtype=np.float64)
    terms: Terms = {"costs": COSTS, "blocks": blocks, "level": level, "min_positives": least}
    return performance(decided_at(given, 0.5), given, np.asarray(labels), **terms)


def ranked(scores: object, labels: object, **terms: Any) -> Estimate:
    """Return ROC-AUC, where it is known."""
    found = whole(scores, labels, **terms)
    assert (found.roc_auc_unknown, found.roc_auc is None) == ("", False)
    assert found.roc_auc is not None
    return found.roc_auc


def test_recall_and_cost_are_counted_at_the_threshold_itself() -> None:
    recall, cost, why = measure([0.5, 0.499, 0.5, 0.1], [1, 1, 0, 0])
    assert recall is not None
    assert cost is not None
    assert (recall.value, recall.positives, recall.n, why) == (0.5, 2, 4, "")
    assert cost.value == pytest.approx(1000 * (10 + 1) / 4)


def test_recall_of_independent_rows_has_wilsons_interval() -> None:
    scores = [0.9] * 12 + [0.1] * 8
    recall, _, _ = measure(scores, [1] * 20)
    assert recall is not None
    assert (recall.low, recall.high) == pytest.approx((0.386581500762253, 0.781193467627183), abs=1e-9)
    assert (recall.low, recall.high) == wilson(12, 20, 0.95)


def test_too_few_positives_are_not_measured_and_the_reason_says_how_many() -> None:
    scores, labels = [0.9] * 30, [1] * 19 + [0] * 11
    assert measure(scores, labels, least=20) == (None, None, "19 matured positives in 30 rows, need at least 20")
    assert measure(scores, [1] * 20 + [0] * 10, least=20)[0] is not None


def test_no_rows_are_not_measured() -> None:
    assert measure([], [])[2] == "0 matured positives in 0 rows, need at least 1"


def test_positives_of_a_single_day_say_nothing_of_other_days() -> None:
    recall, cost, why = measure([0.9] * 10, [1] * 5 + [0] * 5, blocks=[1] * 5 + [2] * 5)
    assert (recall, cost) == (None, None)
    assert why == "all 5 matured positives fall in one day or entity, need at least 2"


def test_rows_without_a_finite_score_or_label_are_left_out() -> None:
    recall, _, _ = measure([0.9, np.nan, 0.9, 0.2], [1.0, 1.0, np.nan, 1.0], blocks=[1, 1, 2, 2])
    assert recall is not None
    assert (recall.n, recall.value) == (2, 0.5)


def test_good_and_bad_days_widen_the_interval() -> None:
    labels = np.ones(200)
    scores = np.repeat([0.9, 0.1] * 5, 20)
    plain, by_day = measure(scores, labels)[0], measure(scores, labels, blocks=np.repeat(np.arange(10), 20))[0]
    assert plain is not None
    assert by_day is not None
    assert by_day.high - by_day.low > 3 * (plain.high - plain.low)


def test_an_interval_by_days_is_never_narrower_than_one_of_independent_rows() -> None:
    perfect = measure([0.9] * 40, [1] * 40, blocks=np.repeat(np.arange(10), 4))[0]
    assert perfect is not None
    assert (perfect.value, perfect.low, perfect.high) == (1.0, wilson(40, 40, 0.95)[0], 1.0)


def test_the_names_of_blocks_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    scores, labels, days = rng.random(300), rng.random(300) < 0.3, rng.integers(0, 12, 300)
    named = np.array([f"day {d:02}" for d in days])
    assert measure(scores, labels, blocks=days) == measure(scores, labels, blocks=named)
    assert measure(scores, labels, blocks=days) == measure(scores, labels, blocks=days * 1_000_000 - 5)


def test_the_interval_over_two_days_is_students_with_one_degree_of_freedom() -> None:
    scores, labels = np.repeat([0.9, 0.1, 0.9, 0.1], [6, 4, 8, 2]), np.ones(20)
    cost = measure(scores, labels, blocks=np.repeat([1, 2], 10), level=0.6)[1]
    assert cost is not None
    assert cost.value == pytest.approx(3_000)
    assert cost.high - cost.value == pytest.approx(1_000 * np.tan(0.3 * np.pi))


def test_cost_is_never_below_zero() -> None:
    rng = np.random.default_rng(1)
    scores = np.where(np.arange(200) == 0, 0.1, 0.9)
    cost = measure(scores, np.ones(200), blocks=rng.integers(0, 10, 200))[1]
    assert cost is not None
    assert cost.low == 0.0
    assert cost.high > cost.value > 0


@pytest.mark.slow
@pytest.mark.parametrize("days", [14, 40])
def test_the_intervals_cover_the_truth_over_good_and_bad_days(days: int) -> None:
    """A nominal 95 % interval covers 91 to 98 % of 1,500 draws of correlated days; one of rows would not."""
    rng = np.random.default_rng(days)
    held = {"recall": 0, "cost": 0, "rows": 0}
    truth_recall, truth_cost = 0.7, 1000 * (0.3 * 0.3 * 10 + 0.7 * 0.1 * 1)
    block = np.repeat(np.arange(days), 50)
    for _ in range(1_500):
        labels = rng.random(days * 50) < 0.3
        caught = rng.beta(7, 3, days)[block]
        raised = rng.beta(1, 9, days)[block]
        scores = np.where(rng.random(days * 50) < np.where(labels, caught, raised), 0.9, 0.1)
        recall, cost, _ = measure(scores, labels, blocks=block)
        rows, _, _ = measure(scores, labels)
        assert recall is not None
        assert cost is not None
        assert rows is not None
        held["recall"] += recall.low <= truth_recall <= recall.high
        held["cost"] += cost.low <= truth_cost <= cost.high
        held["rows"] += rows.low <= truth_recall <= rows.high
    assert 0.91 <= held["recall"] / 1_500 <= 0.98
    assert 0.91 <= held["cost"] / 1_500 <= 0.98
    assert held["rows"] / 1_500 < 0.85


# --- how scores rank ------------------------------------------------------------------------------


def drawn(seed: int, rows: int, days: int, *, ties: int = 1_000, mood: float = 0.0) -> tuple[Any, Any, Any]:
    """Draw labels, scores with ties and days; `mood` is how far the scores of a day's positives wander."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows // days)
    labels = rng.random(day.size) < 0.2
    wander = rng.normal(0, mood, days)[day] if mood else 0.0
    scores = ndtr(rng.normal(size=day.size) + labels * (1.0 + wander))
    return labels.astype(np.int8), np.round(scores * ties) / ties, day


@pytest.mark.parametrize("ties", [5, 100, 1_000_000])
def test_roc_auc_is_scikit_learns_with_ties_counting_half(ties: int) -> None:
    labels, scores, days = drawn(ties, 3_000, 30, ties=ties)
    found = ranked(scores, labels, blocks=days)
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert (found.n, found.positives) == (3_000, int(labels.sum()))
    assert found.low < found.value < found.high


def test_roc_auc_of_independent_rows_has_delongs_interval_and_by_days_one_that_is_never_narrower() -> None:
    labels, scores, days = drawn(3, 2_000, 20)
    rows = roc_auc_interval(labels, scores, 0.95)
    by_day = roc_auc_interval(labels, scores, 0.95, blocks=days)
    assert rows is not None
    assert by_day is not None
    alone, blocked = ranked(scores, labels), ranked(scores, labels, blocks=days)
    assert (alone.low, alone.high) == pytest.approx(rows, abs=1e-12)
    hull = (min(rows[0], by_day[0]), max(rows[1], by_day[1]))
    assert (blocked.low, blocked.high) == pytest.approx(hull, abs=1e-12)


def test_good_and_bad_days_widen_the_interval_of_roc_auc() -> None:
    labels, scores, days = drawn(1, 4_000, 20, mood=1.0)
    plain, by_day = ranked(scores, labels), ranked(scores, labels, blocks=days)
    assert by_day.high - by_day.low > 2 * (plain.high - plain.low)


@pytest.mark.parametrize(("turn", "value"), [(1, 1.0), (-1, 0.0)])
def test_classes_that_do_not_overlap_are_not_certain_for_ever(turn: int, value: float) -> None:
    """No row is out of place, so that DeLong has no width; 30 pairs that share no row speak for the truth."""
    labels, days = np.repeat([1, 0], [30, 50]), np.arange(80) % 8
    found = ranked(turn * labels + np.arange(80) / 1000, labels, blocks=days)
    assert delong(labels, np.zeros(80), labels).se == 0
    assert found.value == value
    assert (found.low, found.high) == wilson(30 if turn > 0 else 0, 30, 0.95)


@pytest.mark.parametrize(
    ("scores", "labels", "days", "said"),
    [
        ([0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], None, "1 matured positives and 3 negatives with a score, need at least 2 of each"),
        ([0.1, 0.2, 0.3, 0.4], [1, 1, 1, 1], None, "4 matured positives and 0 negatives with a score, need at least 2 of each"),
        ([0.4, 0.4, 0.4, 0.4], [1, 1, 0, 0], None, "all 4 matured rows have the same score, which ranks nothing"),
        ([0.1, 0.2, 0.3, 0.4], [1, 1, 0, 0], [1, 1, 1, 2], "all 2 matured positives with a score fall in one day or entity, need at least 2"),
        ([0.1, 0.2, 0.3, 0.4], [1, 1, 0, 0], [1, 2, 2, 2], "all 2 matured negatives with a score fall in one day or entity, need at least 2"),
        ([], [], None, "0 matured positives and 0 negatives with a score, need at least 2 of each"),
    ],
)  # fmt: skip
def test_where_scores_cannot_rank_roc_auc_is_not_known_and_the_reason_is_said(
    scores: object, labels: object, days: object, said: str
) -> None:
    found = whole(scores, labels, blocks=days)
    assert (found.roc_auc, found.roc_auc_unknown) == (None, said)


def test_as_many_negatives_as_positives_are_asked_for() -> None:
    scores, labels = np.arange(39) / 39, np.repeat([1, 0], [20, 19])
    said = "20 matured positives and 19 negatives with a score, need at least 20 of each"
    found = whole(scores, labels, least=20)
    assert (found.roc_auc, found.roc_auc_unknown, found.unknown) == (None, said, "")
    assert ranked(np.arange(40) / 40, np.repeat([1, 0], 20), least=20).n == 40


def test_of_very_many_rows_of_a_class_an_even_share_is_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores, days = drawn(6, 3_000, 30)
    monkeypatch.setattr(monitor, "MOST_RANKED", 900)
    positive, negative = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    some = np.sort(np.concatenate([positive, negative[::3]]))
    assert positive.size < 900
    assert 1_800 < negative.size <= 2_700
    found = ranked(scores, labels, blocks=days)
    assert found.n == some.size < 3_000
    assert found.value == pytest.approx(roc_auc_score(labels[some], scores[some]), abs=1e-12)
    monkeypatch.undo()
    assert found.low < ranked(scores, labels, blocks=days).value < found.high


def test_a_row_without_a_score_counts_for_its_decision_alone() -> None:
    """Recall and cost are those of all decisions, to the last bit; ROC-AUC is of the rows that have a score."""
    labels, scores, days = drawn(5, 1_000, 10)
    decided, gone = scores >= 0.5, np.arange(1_000) % 3 == 0
    terms: Terms = {"costs": COSTS, "blocks": days, "level": 0.95, "min_positives": 20}
    found = performance(decided, np.where(gone, np.nan, scores), labels, **terms)
    alone = decisions(decided, labels, **terms)
    assert (found.recall, found.cost_per_1000) == (alone.recall, alone.cost_per_1000)
    assert (alone.roc_auc, alone.roc_auc_unknown) == (None, "")
    assert found.roc_auc == ranked(scores[~gone], labels[~gone], blocks=days[~gone], least=20)
    assert found.roc_auc.n == int((~gone).sum())


@pytest.mark.simulation
@pytest.mark.parametrize(("days", "mood"), [(14, 0.0), (14, 0.5), (30, 0.5), (90, 0.5)])
def test_the_interval_of_roc_auc_covers_the_truth_over_good_and_bad_days(days: int, mood: float) -> None:
    """A nominal 95 % interval covers at least 93 % of 1,000 draws; one of rows does not where days differ."""
    truth = float(ndtr(1.0 / np.sqrt(2 + mood**2)))
    held = {"days": 0, "rows": 0}
    for seed in range(1_000):
        labels, scores, block = drawn(seed, days * 60, days, ties=10**9, mood=mood)
        by_day, by_row = ranked(scores, labels, blocks=block), ranked(scores, labels)
        held["days"] += by_day.low <= truth <= by_day.high
        held["rows"] += by_row.low <= truth <= by_row.high
    assert held["days"] / 1_000 >= 0.93
    assert held["days"] / 1_000 <= 0.985
    assert held["rows"] / 1_000 < 0.9 or mood == 0.0

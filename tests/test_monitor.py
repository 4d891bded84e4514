"""Recall and cost of matured rows carry intervals that cover the truth, or are not known."""

from __future__ import annotations

import numpy as np
import pytest

from rehone.compare import wilson
from rehone.monitor import performance
from rehone.records import Estimate

COSTS = (1.0, 10.0)


def measure(
    scores: object, labels: object, *, blocks: object = None, least: int = 1, level: float = 0.95
) -> tuple[Estimate | None, Estimate | None, str]:
    return performance(
        np.asarray(scores), np.asarray(labels), 0.5, costs=COSTS, blocks=blocks, level=level, min_positives=least
    )


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

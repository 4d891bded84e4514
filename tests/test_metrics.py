"""What `rehone.metrics` promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from rehone import metrics

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12).map(lambda k: k / 12)), min_size=2, max_size=60)


@given(ROWS)
@settings(max_examples=150, deadline=None)
def test_metrics_agree_with_scikit_learn_on_ties_too(rows: list[tuple[int, float]]) -> None:
    y, s = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = metrics.measure(y, s, 0.5, costs=(1, 10))
    if 0 < y.sum() < y.size:
        assert found.roc_auc == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert found.average_precision == pytest.approx(average_precision_score(y, s), abs=1e-12)
        assert found.brier == pytest.approx(brier_score_loss(y, s), abs=1e-12)
    assert (found.n, found.positives) == (y.size, y.sum())


def test_recall_precision_and_cost_are_at_the_threshold_itself_included() -> None:
    found = metrics.measure([1, 1, 0, 0], [0.5, 0.4, 0.5, 0.1], 0.5, costs=(1, 10))
    assert (found.recall, found.precision, found.threshold) == (0.5, 0.5, 0.5)
    assert found.cost_per_1000 == 1000 * (1 + 10) / 4


@pytest.mark.parametrize(
    ("threshold", "recall", "precision"), [(-1, 1.0, 0.5), (0, 1.0, 0.5), (1, 0.0, None), (7, 0.0, None)]
)
def test_extreme_thresholds_act_on_all_rows_or_on_none(
    threshold: float, recall: float, precision: float | None
) -> None:
    found = metrics.measure([1, 1, 0, 0], [0.5, 0.4, 0.5, 0.1], threshold, costs=(1, 10))
    assert (found.recall, found.precision) == (recall, precision)


def test_what_one_class_cannot_tell_is_none() -> None:
    only_negatives = metrics.measure([0, 0], [0.1, 0.2], 0.15, costs=(1, 10))
    assert (only_negatives.roc_auc, only_negatives.average_precision, only_negatives.recall) == (None, None, None)
    only_positives = metrics.measure([1, 1], [0.1, 0.2], 0.15, costs=(1, 10))
    assert (only_positives.roc_auc, only_positives.average_precision, only_positives.recall) == (None, 1.0, 0.5)
    nothing = metrics.measure([], [], 0.5, costs=(1, 10))
    assert (nothing.n, nothing.cost_per_1000, nothing.brier, nothing.roc_auc) == (0, None, None, None)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_or_threshold_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 2 scores are NaN or infinite"):
        metrics.measure([0, 1], [0.5, bad], 0.5, costs=(1, 10))
    with pytest.raises(ValueError, match="must be finite"):
        metrics.measure([0, 1], [0.5, 0.6], bad, costs=(1, 10))


def test_labels_other_than_0_and_1_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="labels must be 0 and 1"):
        metrics.roc_auc([0, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="two rows of one length"):
        metrics.average_precision([0, 1, 1], [0.1, 0.2])


def test_constant_scores_have_a_roc_auc_of_one_half() -> None:
    assert metrics.roc_auc([0, 1, 1, 0, 0], [0.3] * 5) == 0.5
    assert metrics.average_precision([0, 1, 1, 0, 0], [0.3] * 5) == pytest.approx(0.4)


def test_scores_that_are_no_probabilities_have_no_brier_score() -> None:
    assert metrics.brier([0, 1], [-0.001, 0.5]) is None
    assert metrics.brier([0, 1], [0.5, 1e200]) is None
    assert metrics.brier([0, 1], [0.0, 1.0]) == 0
    assert metrics.measure([0, 1], [-3.0, 1e200], 0.5, costs=(1, 10)).roc_auc == 1.0

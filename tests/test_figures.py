"""What pages draw of a run is what the run looked at and judged, costs little, and never costs the run."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from conftest import START, Project, world
from rehone import api, codec, drift, importance, metrics
from rehone import profile as profiles
from rehone.data import learn_from, open_labels, open_served
from rehone.importance import MOST_SCORED, SHUFFLES, Asked
from rehone.pipeline.curves import MOST, curves
from rehone.pipeline.feeds import Feeds
from rehone.pipeline.figures import MOST_ROWS, sample
from rehone.pipeline.loop import Live, served_evidence
from rehone.records import (
    Contract,
    Counts,
    Curves,
    Evidence,
    Feature,
    FeatureKind,
    Figures,
    Histogram,
    Profile,
    RunRecord,
    RunStatus,
    Window,
)
from rehone.runlog import RunLog
from test_served import CONTRACT, NEW, NOW, OLD, Answer, config, log, reference

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
COSTS = (1.0, 10.0)
UNREACHABLE = {"min_roc_auc": 0.999}
"""A gate that judges and lets nobody through, which saves the deployment."""
DIGITS = 2e-6


def figures_of(root: Path, record: RunRecord) -> Figures:
    found = RunLog(root / "runs").figures(record)
    assert found is not None
    return found


def file_of(root: Path, record: RunRecord) -> Path:
    (found,) = (root / "runs").rglob(f"{record.run_id}.figures.json")
    return found


# --- histograms -----------------------------------------------------------------------------------


def at(days: float) -> datetime:
    return datetime(2026, 3, 2, tzinfo=UTC) + timedelta(days=days)


def frame(days: int, rows: int, **columns: Any) -> pl.DataFrame:
    times = [at(days * i / rows) for i in range(rows)]
    return pl.DataFrame({"__time__": times, "label": [i % 2 for i in range(rows)], **columns})


def profile_of(rows: pl.DataFrame, *features: Feature, scores: Floats | None = None) -> Profile:
    contract = Contract(features=features, label="label")
    return profiles.build(rows, contract, window=Window(at(0), at(28)), label="label", scores=scores, threshold=0.5)


def counted(rows: pl.DataFrame, made: Profile) -> Counts:
    return profiles.count(rows, made)


def psi(histogram: Histogram) -> float:
    """Compute it by hand, with half a row added to every bin that anybody is in."""
    pairs = [(p, q) for p, q in zip(histogram.reference, histogram.current, strict=True) if p or q]
    then, now = (np.array(side) + 0.5 for side in zip(*pairs, strict=True))
    p, q = then / then.sum(), now / now.sum()
    return float(((q - p) * np.log(q / p)).sum())


def test_a_skipped_run_keeps_the_counts_that_its_drift_was_computed_from(live: Project) -> None:
    live.feed(70, 80, shift=0.4)
    record = live.run(80)
    assert (record.status, record.evidence is not None) == (RunStatus.SKIPPED, True)
    found = figures_of(live.root, record)
    assert (found.curves, found.importance) == ((), ())
    assert [h.name for h in found.histograms] == ["amount", "velocity", "known", "channel"]
    assert record.evidence is not None
    for histogram, measured in zip(found.histograms, record.evidence.drift, strict=True):
        assert sum(histogram.current) == measured.n_current
        assert sum(histogram.reference) == pytest.approx(measured.n_reference, abs=len(histogram.bins) / 2)
        assert psi(histogram) == pytest.approx(measured.psi, abs=2e-4)
    assert found.scores is not None
    assert len(found.scores.bins) == 20
    assert record.evidence.scores is not None
    assert sum(found.scores.current) == record.evidence.scores.n_current


def test_values_that_are_missing_infinite_and_unseen_have_bins_of_their_own() -> None:
    rows = frame(28, 280, x=[float(i % 3) for i in range(280)])
    made = profile_of(rows, Feature("x", FeatureKind.NUMERIC))
    now = frame(28, 280, x=[1.0, None, float("inf"), 7.5] * 70)
    (found,) = drift.histograms(made, counted(now, made))
    assert found.bins == ("0", "1", "2", "missing", "infinite", "unseen")
    assert found.reference == (94, 93, 93, 0, 0, 0)
    assert found.current == (0, 70, 0, 70, 70, 70)


def test_a_special_bin_that_nobody_is_in_is_not_there() -> None:
    rows = frame(28, 280, x=["a", "b"] * 140)
    made = profile_of(rows, Feature("x", FeatureKind.CATEGORICAL, ("a", "b")))
    (found,) = drift.histograms(made, counted(rows, made))
    assert (found.bins, found.reference, found.current) == (("a", "b"), (140, 140), (140, 140))


def test_a_value_that_is_named_like_a_special_bin_is_quoted() -> None:
    rows = frame(28, 280, x=["missing", "unseen", "", None] * 70)
    made = profile_of(rows, Feature("x", FeatureKind.CATEGORICAL, ("", "missing", "unseen")))
    (found,) = drift.histograms(made, counted(rows, made))
    assert sorted(found.bins) == ["''", "'missing'", "'unseen'", "missing"]
    assert found.reference == (70, 70, 70, 70)


def test_long_values_are_cut_and_still_told_apart() -> None:
    values = ["x" * 60 + "1", "x" * 60 + "2"]
    rows = frame(28, 280, x=values * 140)
    made = profile_of(rows, Feature("x", FeatureKind.CATEGORICAL, tuple(values)))
    (found,) = drift.histograms(made, counted(rows, made))
    assert found.bins == ("x" * 40 + "... #1", "x" * 40 + "... #2")


def test_bins_of_large_numbers_have_as_many_digits_as_tell_them_apart() -> None:
    rows = frame(28, 2800, x=[1_700_000_000.0 + i for i in range(2800)])
    made = profile_of(rows, Feature("x", FeatureKind.NUMERIC))
    (found,) = drift.histograms(made, counted(rows, made))
    assert len(set(found.bins)) == len(found.bins) == 10
    assert found.bins[0] == "up to 1,700,000,300"


def test_a_window_of_two_weekdays_is_shown_beside_those_weekdays_alone() -> None:
    """Weekends have other rows than workdays; a window of a Saturday and a Sunday is compared with those."""
    day = [at(28 * i / 2800).weekday() >= 5 for i in range(2800)]
    rows = frame(28, 2800, x=["rest" if weekend else "work" for weekend in day])
    made = profile_of(rows, Feature("x", FeatureKind.CATEGORICAL, ("rest", "work")))
    weekend = rows.filter(pl.col("__time__").dt.weekday() >= 6, pl.col("__time__") < at(7))
    (found,) = drift.histograms(made, counted(weekend, made))
    assert dict(zip(found.bins, zip(found.reference, found.current, strict=True), strict=True)) == {
        "work": (0, 0),
        "rest": (800, 200),
    }


def test_without_rows_in_the_window_there_is_nothing_to_show() -> None:
    rows = frame(28, 280, x=["a", "b"] * 140)
    made = profile_of(rows, Feature("x", FeatureKind.CATEGORICAL, ("a", "b")), scores=np.linspace(0, 1, 280))
    nobody = profiles.count(rows.head(0).with_columns(s=pl.lit(0.5)), made, score="s")
    assert (drift.histograms(made, nobody), drift.score_histogram(made, nobody)) == ((), None)


def test_scores_are_shown_in_twenty_bins_that_hold_all_rows() -> None:
    rng = np.random.default_rng(4)
    rows = frame(28, 2800, x=["a", "b"] * 1400, s=rng.random(2800) ** 2)
    made = profile_of(rows, Feature("x", FeatureKind.BOOLEAN), scores=rng.random(2800))
    found = drift.score_histogram(made, profiles.count(rows, made, score="s"))
    assert found is not None
    assert (len(found.bins), sum(found.reference), sum(found.current)) == (20, 2800, 2800)
    assert (min(found.reference), max(found.reference)) == (140, 140)
    assert found.current[0] > 4 * found.current[-1]
    assert found.kind is None


def test_scores_of_few_values_have_as_many_bins_as_tell_them_apart() -> None:
    rows = frame(28, 280, x=["a", "b"] * 140, s=[0.2, 0.8] * 140)
    made = profile_of(rows, Feature("x", FeatureKind.BOOLEAN), scores=np.array([0.2, 0.8] * 140))
    found = drift.score_histogram(made, profiles.count(rows, made, score="s"))
    assert found is not None
    assert [n for n in found.current if n] == [140, 140]
    assert found.current == found.reference


def test_what_was_served_is_shown_from_the_log_and_scores_are_the_champions_own(tmp_path: Path) -> None:
    answers = [
        Answer(id=str(i), day=i % 14, version=NEW if i % 2 else OLD, score=0.1 + i / 200, values=(("amount", i / 50), ("channel", "web" if i % 3 else None)))
        for i in range(100)
    ]  # fmt: skip
    log(tmp_path, answers)
    made, told = config(tmp_path), list[tuple[Profile, Counts, Counts]]()
    served, labels = open_served(made, as_of=NOW), open_labels(made, NOW)
    live = Live(
        config=made,
        feeds=Feeds(learn=learn_from(served, labels), offline=None, served=served, labels=labels),
        as_of=NOW,
        version=NEW,
        contract=CONTRACT,
        profile=reference(CONTRACT),
        show=lambda *given: told.append(given),
    )
    evidence = served_evidence(live, Evidence(as_of=NOW, champion=NEW))
    ((like, features, own),) = told
    amount, channel = drift.histograms(like, features)
    assert (sum(amount.current), evidence.drift[0].n_current) == (100, 100)
    assert dict(zip(channel.bins, channel.current, strict=True)) == {"shop": 0, "web": 66, "missing": 34}
    scores = drift.score_histogram(like, own)
    assert scores is not None
    assert sum(scores.current) == 50


# --- curves ---------------------------------------------------------------------------------------


def scored(n: int, positive: float, *, seed: int = 0, digits: int = 12) -> tuple[Bools, Floats]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < positive
    labels[:2] = True, False
    return labels, np.round(1 / (1 + np.exp(-rng.normal(1.5 * labels - 1, 1))), digits)


CASES = [(50, 0.3, 12), (2_000, 0.02, 12), (2_000, 0.5, 1), (60_000, 0.004, 12), (700, 0.5, 2)]


@pytest.mark.parametrize(("n", "positive", "digits"), CASES)
def test_each_point_of_a_curve_is_that_of_scikit_learn(n: int, positive: float, digits: int) -> None:
    labels, scores = scored(n, positive, digits=digits)
    found = curves("challenger", labels, scores, 0.4, costs=COSTS)
    false, true, at_roc = roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, at_pr = precision_recall_curve(labels, scores)
    roc = {t: (x, y) for t, x, y in zip(at_roc, false, true, strict=True)}
    pr = {t: (p, r) for t, p, r in zip(at_pr, precision[:-1], recall[:-1], strict=True)}
    for i, threshold in enumerate(found.thresholds):
        if threshold not in pr:  # the model's own, or the one above all scores
            assert i == 0 or threshold == 0.4
            continue
        assert (found.false_positive_rate[i], found.recall[i]) == pytest.approx(roc[threshold], abs=DIGITS)
        assert (found.precision[i], found.recall[i]) == pytest.approx(pr[threshold], abs=DIGITS)


@pytest.mark.parametrize(("n", "positive", "digits"), CASES)
def test_a_thinned_curve_keeps_its_shape_and_its_ends(n: int, positive: float, digits: int) -> None:
    labels, scores = scored(n, positive, digits=digits)
    found = curves("challenger", labels, scores, 0.4, costs=COSTS)
    assert 2 < len(found.thresholds) <= MOST
    assert (np.diff(found.thresholds) < 0).all()
    assert (found.recall[0], found.false_positive_rate[0], found.precision[0]) == (0, 0, None)
    assert (found.recall[-1], found.false_positive_rate[-1]) == (1, 1)
    area = np.trapezoid(found.recall, found.false_positive_rate)
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=5e-3)
    steps = np.diff(found.recall)
    assert steps.max() <= max(2 / 49, _largest_tie(labels, scores)) + 1e-6


def _largest_tie(labels: Bools, scores: Floats) -> float:
    """Return the share of positives that one score holds: no threshold divides them."""
    return float(max(np.unique(scores[labels], return_counts=True)[1])) / int(labels.sum())


@pytest.mark.parametrize("threshold", [0.0, 0.1234567, 0.5, 0.999, 1.0])
def test_the_models_own_threshold_is_on_its_curve_with_what_it_really_decides(threshold: float) -> None:
    labels, scores = scored(5_000, 0.1)
    found = curves("champion", labels, scores, threshold, costs=COSTS)
    measured = metrics.measure(labels, scores, threshold, costs=COSTS)
    own = found.thresholds.index(threshold)
    assert found.threshold == threshold
    assert found.recall[own] == pytest.approx(measured.recall, abs=DIGITS)
    assert found.cost_per_1000[own] == pytest.approx(measured.cost_per_1000, abs=DIGITS)
    if measured.precision is None:
        assert found.precision[own] is None
    else:
        assert found.precision[own] == pytest.approx(measured.precision, abs=DIGITS)


def test_calibration_is_of_ten_equal_parts_as_scikit_learn_makes_them() -> None:
    labels, scores = scored(5_000, 0.3)
    found = curves("champion", labels, scores, 0.5, costs=COSTS).calibration
    observed, mean = calibration_curve(labels, scores, n_bins=10, strategy="quantile")
    assert [c.n for c in found] == [500] * 10
    assert [c.score for c in found] == pytest.approx(mean.tolist(), abs=DIGITS)
    assert [c.observed for c in found] == pytest.approx(observed.tolist(), abs=DIGITS)
    assert all(c.low < c.observed < c.high for c in found)


def test_rows_of_equal_scores_stay_in_one_bin_of_calibration() -> None:
    labels = np.array([True, False, False, False] * 25)
    one = curves("champion", labels, np.full(100, 0.3), 0.5, costs=COSTS).calibration
    assert [(c.score, c.observed, c.n) for c in one] == [(0.3, 0.25, 100)]
    assert (one[0].low, one[0].high) == pytest.approx((0.1754, 0.3430), abs=1e-3)
    two = curves("champion", labels, np.where(labels, 0.9, 0.1), 0.5, costs=COSTS).calibration
    assert [(c.score, c.observed, c.n) for c in two] == [(0.1, 0, 75), (0.9, 1, 25)]


# --- importance -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Model:
    """A logistic model on features of falling worth, which counts the rows that it is asked to score."""

    matrix: Floats
    labels: Bools
    fitted: LogisticRegression
    rows: int = 0

    def score(self, rows: Floats) -> Floats:
        self.rows += len(rows)
        found: Floats = self.fitted.predict_proba(rows)[:, 1]
        return found

    def asked(self, *names: str) -> Asked:
        return Asked(
            names=names or tuple(f"f{i}" for i in range(self.matrix.shape[1])),
            rows=self.matrix,
            values=self.matrix,
            score=self.score,
            quality=lambda scores: metrics.roc_auc(self.labels, scores) or 0.0,
        )


def model(rows: int = 600, features: int = 4) -> Model:
    rng = np.random.default_rng(11)
    matrix = rng.normal(size=(rows, features))
    worth = np.array([2.0, 1.0, 0.5] + [0.0] * (features - 3))
    labels = rng.random(rows) < 1 / (1 + np.exp(-(matrix @ worth - 1)))
    fitted = LogisticRegression(C=1e6).fit(matrix, labels)
    fitted.coef_[0, 3:] = 0.0
    return Model(matrix, labels, fitted)


def test_importance_is_the_mean_loss_over_three_shuffles_of_one_column() -> None:
    """Shuffle by hand, with the same shuffles, and compare to the last digit kept."""
    made = model()
    found = {one.feature: one for one in importance.permutation(made.asked(), seed=7)}
    whole = roc_auc_score(made.labels, made.score(made.matrix))
    for place in range(4):
        rng, losses = np.random.default_rng((7, place)), []
        for _ in range(3):
            shuffled = made.matrix.copy()
            shuffled[:, place] = made.matrix[rng.permutation(600), place]
            losses.append(whole - roc_auc_score(made.labels, made.score(shuffled)))
        one = found[f"f{place}"]
        expected = (np.mean(losses), min(losses), max(losses))
        assert (one.value, one.low, one.high) == pytest.approx(expected, abs=DIGITS)


def test_importance_agrees_with_scikit_learn() -> None:
    made = model(rows=3_000)
    found = {one.feature: one.value for one in importance.permutation(made.asked(), seed=7)}
    theirs = permutation_importance(
        made.fitted, made.matrix, made.labels, scoring="roc_auc", n_repeats=20, random_state=0
    )
    for place in range(4):
        assert found[f"f{place}"] == pytest.approx(theirs.importances_mean[place], abs=0.015)


def test_the_largest_loss_comes_first_and_a_feature_that_nobody_reads_loses_nothing() -> None:
    found = importance.permutation(model().asked(), seed=7)
    assert [one.feature for one in found] == ["f0", "f1", "f2", "f3"]
    assert (found[-1].value, found[-1].low, found[-1].high) == (0, 0, 0)


def test_the_same_seed_gives_the_same_importance_and_another_one_another() -> None:
    made = model()
    assert importance.permutation(made.asked(), seed=7) == importance.permutation(made.asked(), seed=7)
    assert importance.permutation(made.asked(), seed=7) != importance.permutation(made.asked(), seed=8)


def test_the_rows_that_were_given_are_left_as_they_were() -> None:
    made = model()
    before = made.matrix.copy()
    importance.permutation(made.asked(), seed=7, most_scored=4_000)
    assert (made.matrix == before).all()


def test_more_features_than_the_budget_allows_are_left_out_those_that_move_the_scores_least_first() -> None:
    made = model(rows=600, features=200)
    whole = {one.feature: one for one in importance.permutation(made.asked(), seed=7)}
    made.rows = 0
    found = importance.permutation(made.asked(), seed=7, most_scored=15_000)
    assert made.rows <= 15_000 + 600 + 37
    assert [one.feature for one in found[:3]] == ["f0", "f1", "f2"]
    assert len(found) == 4
    assert found[:3] == tuple(whole[f"f{i}"] for i in range(3))


@pytest.mark.parametrize(("rows", "features"), [(5_000, 33), (5_000, 34), (5_000, 200), (300, 2_000), (2, 4_000)])
def test_no_model_is_asked_to_score_many_more_rows_than_the_budget(rows: int, features: int) -> None:
    matrix, asked = np.zeros((rows, features)), [0]

    def score(given: Floats) -> Floats:
        asked[0] += len(given)
        return np.zeros(len(given))

    names = tuple(f"f{i}" for i in range(features))
    found = importance.permutation(
        Asked(names=names, rows=matrix, values=matrix, score=score, quality=lambda _: 0.5), seed=7
    )
    assert asked[0] <= MOST_SCORED + 6_000
    assert found
    assert len(found) == features or rows * features * SHUFFLES > MOST_SCORED


def test_of_many_rows_with_few_positives_all_positives_are_asked_and_the_loss_is_that_of_all_rows() -> None:
    made = model(rows=40_000)
    rng = np.random.default_rng(1)
    few = np.flatnonzero(made.labels & (rng.random(40_000) < 0.03) | ~made.labels)
    labels, matrix = made.labels[few], made.matrix[few]
    chosen, values = sample(labels, 7)
    assert (chosen.size, values.size) == (MOST_ROWS, MOST_ROWS)
    assert labels[chosen].sum() == labels.sum() < MOST_ROWS / 5
    assert len(set(chosen.tolist())) == MOST_ROWS
    asked = Asked(
        names=("f0", "f1", "f2", "f3"),
        rows=matrix[chosen],
        values=matrix[values],
        score=made.score,
        quality=lambda scores: metrics.roc_auc(labels[chosen], scores) or 0.0,
    )
    found = {one.feature: one.value for one in importance.permutation(asked, seed=7)}
    theirs = permutation_importance(made.fitted, matrix, labels, scoring="roc_auc", n_repeats=10, random_state=0)
    for place in range(4):
        assert found[f"f{place}"] == pytest.approx(theirs.importances_mean[place], abs=0.025)


@pytest.mark.parametrize(
    ("positives", "negatives", "taken"),
    [(3_000, 2_000, 3_000), (9_000, 100, 4_900), (9_000, 9_000, 2_500), (10, 9_000, 10)],
)
def test_as_many_positives_are_asked_as_negatives_where_there_are_so_many(
    positives: int, negatives: int, taken: int
) -> None:
    labels = np.arange(positives + negatives) < positives
    chosen, _ = sample(labels, 7)
    assert (chosen.size, int(labels[chosen].sum())) == (MOST_ROWS, taken)


# --- beside the record ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(deployed_once: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, RunRecord]:
    """Make a project in which a challenger was judged against a champion, stage by stage."""
    made = deployed_once.copy(tmp_path_factory.mktemp("judged"))
    made.configure(gate=UNREACHABLE)
    made.feed(70, 112)
    begun = api.run_stage(made.root, "check", as_of=START + timedelta(days=112), force=True)
    return made, api.resume_run(made.root, begun.run_id)


def test_the_curves_are_of_the_rows_that_the_gate_judged(judged: tuple[Project, RunRecord]) -> None:
    made, record = judged
    found = figures_of(made.root, record)
    assert [c.role for c in found.curves] == ["challenger", "champion"]
    assert record.verdict is not None
    for curve, measured in zip(found.curves, (record.verdict.challenger, record.verdict.champion), strict=True):
        assert measured is not None
        own = curve.thresholds.index(measured.threshold or 0.0)
        assert curve.threshold == measured.threshold
        assert (curve.recall[own], curve.precision[own], curve.cost_per_1000[own]) == pytest.approx(
            (measured.recall, measured.precision, measured.cost_per_1000), abs=DIGITS
        )
        assert sum(c.n for c in curve.calibration) == measured.n
        assert _area(curve) == pytest.approx(measured.roc_auc, abs=2e-3)


def _area(curve: Curves) -> float:
    return float(np.trapezoid(curve.recall, curve.false_positive_rate))


def test_importance_is_of_every_feature_of_the_challenger(judged: tuple[Project, RunRecord]) -> None:
    made, record = judged
    found = figures_of(made.root, record)
    assert found.importance[0].feature == "amount"
    assert sorted(one.feature for one in found.importance) == ["amount", "channel", "known", "velocity"]
    assert record.verdict is not None
    assert record.verdict.challenger is not None
    assert (found.importance_rows, found.importance_left_out) == (record.verdict.challenger.n, 0)


def test_a_whole_run_draws_the_same_bytes_as_one_stage_by_stage(
    judged: tuple[Project, RunRecord], deployed_once: Project, tmp_path: Path
) -> None:
    made, staged = judged
    other = deployed_once.copy(tmp_path)
    other.configure(gate=UNREACHABLE)
    other.feed(70, 112)
    whole = other.run(112, force=True)
    assert whole.run_id != staged.run_id
    assert file_of(other.root, whole).read_bytes() == file_of(made.root, staged).read_bytes()


def test_rows_that_the_gate_left_out_are_in_no_curve(project: Project) -> None:
    """Rows of the holdout that are nearly a row of the training set are not judged, and so not drawn."""
    project.configure(gate=UNREACHABLE)
    project.feed(0, 70)
    copied = pl.concat([world(datetime(2026, 1, 11).date()), world(datetime(2026, 3, 10).date())])  # noqa: DTZ001
    day = copied.with_columns(at=pl.lit(datetime(2026, 3, 10, 5)))  # noqa: DTZ001
    day.write_parquet(project.root / "data" / "2026-03-10.parquet")
    record = project.run(70)
    assert record.verdict is not None
    assert record.verdict.challenger is not None
    assert record.split is not None
    judged, held = record.verdict.challenger.n, record.split.holdout_rows
    assert judged == held - 60
    found = figures_of(project.root, record)
    assert [sum(c.n for c in curve.calibration) for curve in found.curves] == [judged]
    assert found.importance_rows == judged


def test_what_was_not_judged_has_histograms_and_no_curves(live: Project) -> None:
    live.configure(gate={"min_rows": 100_000})
    live.feed(70, 90)
    record = live.run(90, force=True)
    assert record.status is RunStatus.INCONCLUSIVE
    found = figures_of(live.root, record)
    assert (len(found.histograms), found.curves, found.importance) == (4, (), ())


def test_figures_that_are_gone_or_were_changed_are_not_there(
    judged: tuple[Project, RunRecord], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made, record = judged
    own = made.copy(tmp_path)
    path, runlog = file_of(own.root, record), RunLog(own.root / "runs")
    path.write_bytes(path.read_bytes().replace(b'"web"', b'"net"'))
    assert runlog.figures(record) is None
    path.unlink()
    assert runlog.figures(record) is None
    assert [r.message for r in caplog.records] == [
        "the figures of a run were changed since: they are not shown",
        "the figures of a run cannot be read: they are not shown",
    ]
    assert runlog.figures(dataclasses.replace(record, figures=None)) is None


def test_the_figures_of_a_run_are_no_record(judged: tuple[Project, RunRecord]) -> None:
    made, record = judged
    assert file_of(made.root, record).is_file()
    assert [r.run_id for r in RunLog(made.root / "runs").records()][-1] == record.run_id
    assert len(RunLog(made.root / "runs").records()) == 2


def test_a_run_ends_as_it_would_when_its_figures_cannot_be_written(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder stands where the file should be."""
    project.configure(gate=UNREACHABLE)
    project.feed(0, 70)
    begun = api.run_stage(project.root, "check", as_of=START + timedelta(days=70))
    (folder,) = (project.root / "runs").rglob(f"{begun.run_id}.json")
    (folder.parent / f"{begun.run_id}.figures.json").mkdir()
    record = api.resume_run(project.root, begun.run_id)
    assert (record.status, record.figures) == (RunStatus.REJECTED, None)
    assert "a run goes on without its figures" in [r.message for r in caplog.records]


def test_two_hundred_features_take_a_file_of_moderate_size() -> None:
    rng = np.random.default_rng(5)
    columns = {f"feature_number_{i}": rng.normal(size=1_400) * 10 ** (i % 7) for i in range(200)}
    rows = frame(28, 1_400, **{name: values.tolist() for name, values in columns.items()})
    made = profile_of(rows, *(Feature(name, FeatureKind.NUMERIC) for name in columns))
    found = Figures(histograms=drift.histograms(made, counted(rows, made)))
    assert len(found.histograms) == 200
    assert codec.decode(codec.encode(found), Figures, source="figures") == found
    assert len(codec.encode(found)) < 400_000

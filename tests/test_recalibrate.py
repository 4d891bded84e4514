"""A layer over the champion's own model: what is laid over its scores, how it is chosen, and that it travels in the version."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from conftest import START, Project
from rehone import api, artifact, codec, load, reliability, train
from rehone.artifact import laid_over
from rehone.config import Train
from rehone.errors import Corrupt
from rehone.records import Manifest, Recalibration, RecalibrationKind, RunRecord, RunStatus, TriggerKind
from rehone.runlog import RunLog
from rehone.store import Store
from test_artifact import bike_contract, packed, trained  # noqa: F401

THRESHOLD, PLATT, ISOTONIC = RecalibrationKind.THRESHOLD, RecalibrationKind.PLATT, RecalibrationKind.ISOTONIC


def newer(bend: Any, *, n: int = 6000, seed: int = 0, days: int = 30, **more: Any) -> train.Newer:
    """Draw scores, and labels whose odds are what `bend` makes of the odds of the scores."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-2, 1.5, n)
    labels = (rng.random(n) < expit(bend(odds))).astype(np.int8)
    return train.Newer(raw=expit(odds), labels=labels, days=np.sort(rng.integers(0, days, n)), base="b" * 64, **more)


# --- the line of labels over scores ---------------------------------------------------------------


def test_the_line_of_labels_over_scores_is_found_within_its_errors() -> None:
    """Over 200 draws the interval of each coefficient holds the truth about as often as it says."""
    held = 0
    for seed in range(200):
        rows = newer(lambda odds: 0.4 + 0.8 * odds, n=1500, seed=seed)
        line = reliability.line(rows.raw, rows.labels, blocks=rows.days)
        assert line is not None
        held += abs(line.intercept - 0.4) < 1.96 * line.intercept_error
        held += abs(line.slope - 0.8) < 1.96 * line.slope_error
    assert 0.92 <= held / 400 <= 0.99


def test_the_line_is_that_of_scikit_learn_and_counts_stand_for_rows() -> None:
    from sklearn.linear_model import LogisticRegression

    rows = newer(lambda odds: 1 + 0.5 * odds, n=2000)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(rows.raw)[:, None], rows.labels)
    line = reliability.line(rows.raw, rows.labels)
    assert line is not None
    assert line.slope == pytest.approx(reference.coef_[0, 0], abs=1e-5)
    assert line.intercept == pytest.approx(reference.intercept_[0], abs=1e-5)
    twice = reliability.line(rows.raw, rows.labels, weights=np.full(2000, 2.0))
    assert twice is not None
    assert (twice.slope, twice.n) == (pytest.approx(line.slope), 4000)
    assert twice.slope_error == pytest.approx(line.slope_error / math.sqrt(2))


def test_days_that_are_good_or_bad_as_a_whole_widen_the_errors() -> None:
    rng = np.random.default_rng(1)
    days = np.repeat(np.arange(30), 100)
    odds = rng.normal(-2, 1, 3000)
    labels = rng.random(3000) < expit(odds + rng.normal(0, 0.8, 30)[days])
    alone, blocked = (reliability.line(expit(odds), labels, blocks=b) for b in (None, days))
    assert alone is not None
    assert blocked is not None
    assert blocked.intercept_error > 1.3 * alone.intercept_error


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
def test_labels_that_determine_no_line_give_none(labels: list[int]) -> None:
    assert reliability.line([0.1, 0.2, 0.8, 0.9], labels) is None
    assert reliability.line([0.5] * 4, [0, 1, 0, 1]) is None


# --- the layers -----------------------------------------------------------------------------------


def test_a_line_and_a_curve_are_laid_over_scores() -> None:
    scores = np.array([0.0, 0.25, 0.5, 1.0])
    platt = Recalibration(kind=PLATT, base="b", slope=2.0, intercept=-1.0)
    assert laid_over(platt, scores)[1:3] == pytest.approx(expit(2 * logit(scores[1:3]) - 1))
    assert np.isfinite(laid_over(platt, scores)).all()
    curve = Recalibration(kind=ISOTONIC, base="b", x=(0.0, 0.5, 1.0), y=(0.0, 0.1, 1.0))
    assert laid_over(curve, scores) == pytest.approx([0.0, 0.05, 0.1, 1.0])
    for same in (None, Recalibration(kind=THRESHOLD, base="b")):
        assert laid_over(same, scores) is scores


BENDS: dict[RecalibrationKind, Any] = {
    THRESHOLD: lambda odds: odds,
    PLATT: lambda odds: 1.2 + 0.7 * odds,
    ISOTONIC: lambda odds: np.where(odds < -2, -4.0, np.where(odds < -0.5, -1.5, 2.5)),
}


@pytest.mark.parametrize("kind", list(BENDS))
def test_the_layer_that_newer_rows_ask_for_is_chosen(kind: RecalibrationKind) -> None:
    """Calibrated scores keep their layer, shifted odds get a line, steps get a curve; in nearly every draw."""
    chosen = [train.recalibrate(newer(BENDS[kind], seed=seed), Train()).layer.kind for seed in range(12)]
    assert chosen.count(kind) >= 10, chosen


def test_a_layer_keeps_the_order_of_scores_and_says_what_days_it_had_no_part_in() -> None:
    rows = newer(BENDS[ISOTONIC])
    made = train.recalibrate(rows, Train())
    assert made.layer.kind is ISOTONIC
    order = np.argsort(rows.raw)
    assert (np.diff(laid_over(made.layer, rows.raw[order])) > 0).all()
    p = laid_over(made.layer, rows.raw)
    assert p.mean() == pytest.approx(rows.labels.mean(), abs=0.02)
    tried = {each.kind: each for each in made.tried}
    assert [each.kind for each in made.tried if each.chosen] == [ISOTONIC]
    assert tried[ISOTONIC].log_loss < tried[PLATT].log_loss < tried[THRESHOLD].log_loss  # type: ignore[operator]
    assert not np.array_equal(made.scores, p)


def test_a_threshold_alone_keeps_the_layer_that_there_is() -> None:
    layer = Recalibration(kind=PLATT, base="b" * 64, slope=0.7, intercept=1.2)
    made = train.recalibrate(newer(BENDS[PLATT], layer=layer), Train())
    assert made.layer is layer


def test_a_model_that_ranks_the_wrong_way_round_gets_no_line() -> None:
    made = train.recalibrate(newer(lambda odds: -odds - 3), Train())
    assert made.layer.kind is not PLATT
    assert (
        next(t.why_not for t in made.tried if t.kind is PLATT)
        == "scores rank these rows the wrong way round, or not at all"
    )


def test_fifty_rows_of_each_class_are_enough_and_forty_nine_are_not() -> None:
    labels = np.zeros(1000, dtype=np.int8)
    labels[:49] = 1
    assert train.too_few(labels) == (
        "1,000 matured rows with 49 positives are newer than what the champion learned from, "
        "recalibrating needs at least 50 of each class"
    )
    labels[49] = 1
    assert train.too_few(labels) == ""


def test_weights_count_as_rows() -> None:
    rows = newer(BENDS[PLATT], n=2000)
    twice = replace(rows, raw=np.tile(rows.raw, 2), labels=np.tile(rows.labels, 2), days=np.tile(rows.days, 2))
    one, two = (train.recalibrate(each, Train()) for each in (replace(rows, weights=np.full(2000, 2.0)), twice))
    assert one.layer.slope == pytest.approx(two.layer.slope)
    assert one.threshold == pytest.approx(two.threshold)


# --- in a version ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bikes() -> Any:
    import polars as pl

    return pl.read_parquet(
        Path(__file__).parent.parent / "examples/bike_high_demand/bike_high_demand.parquet"
    ).gather_every(20)


def test_the_layer_travels_in_the_manifest_over_every_path(bikes: Any) -> None:
    """The golden rows, the fast path and the pipeline itself all speak through the layer."""
    layer = Recalibration(
        kind=PLATT, base="b" * 64, base_as_of=datetime(2026, 1, 1, tzinfo=UTC), slope=0.5, intercept=-1.0
    )
    plain = trained(bikes, max_iter=20)
    over = replace(plain, recalibration=layer)
    manifest, files = packed(over)
    manifest = codec.decode(codec.encode(replace(manifest, recalibration=layer)), Manifest, source="manifest")
    loaded = artifact.unpack(manifest, files)
    expected = expit(0.5 * logit(plain.predict_proba(bikes)) - 1)
    assert loaded.predict_proba(bikes) == pytest.approx(expected, abs=1e-12)
    assert loaded.path != "scikit-learn"
    matrix = artifact.encode(bikes, manifest.contract)
    assert loaded.uncalibrated(matrix) == pytest.approx(plain.predict_proba(bikes), abs=1e-12)
    golden = artifact.make_golden(loaded, bikes, seed=1)
    assert artifact.check_golden(over, golden, 1e-9).status.value == "ok"
    assert artifact.check_golden(plain, golden, 1e-9).status.value == "act"


@pytest.mark.parametrize(
    "layer",
    [
        Recalibration(kind=PLATT, base="b", slope=0.0),
        Recalibration(kind=PLATT, base="b", slope=math.nan),
        Recalibration(kind=PLATT, base="b", intercept=math.inf),
        Recalibration(kind=ISOTONIC, base="b"),
        Recalibration(kind=ISOTONIC, base="b", x=(0.0, 1.0), y=(0.5, 0.5)),
        Recalibration(kind=ISOTONIC, base="b", x=(0.0, 0.5, 1.0), y=(0.0, 1.0)),
        Recalibration(kind=ISOTONIC, base="b", x=(0.0, 1.0), y=(0.0, 1.1)),
    ],
)
def test_a_layer_that_does_not_keep_the_order_is_refused(bikes: Any, layer: Recalibration) -> None:
    manifest, files = packed(trained(bikes, max_iter=5))
    with pytest.raises(Corrupt, match="does not keep the order of scores: roll back"):
        artifact.unpack(replace(manifest, recalibration=layer), files)


# --- in a run -------------------------------------------------------------------------------------


def trained_how(record: RunRecord) -> str:
    return next(stage.sentence for stage in record.stages if stage.name == "train")


@pytest.mark.soak
def test_a_champion_is_recalibrated_stage_by_stage_and_keeps_the_age_of_its_model(live: Project) -> None:
    """The same model with another layer goes live: same ROC-AUC, rows of both counted as seen; age then asks for a new model."""
    live.configure(
        trigger={"action": "recalibrate"}, gate={"min_recall": 0.3, "margin_cost": 0.9}, train={"probe": "skip"}
    )
    live.feed(70, 112)
    first = load(live.root).version or ""
    end = api.run_stage(live.root, "check", as_of=START + timedelta(days=108), force=True)
    for stage in ("validate", "train", "judge", "deploy"):
        assert end.status is None, end.sentence
        end = api.run_stage(live.root, stage, run=end.run_id)
    assert end.status is RunStatus.DEPLOYED, end.sentence
    record = RunLog(live.root / "runs").find(end.run_id)
    assert [c.name.split()[0] for c in record.candidates] == ["threshold", "platt", "isotonic"]
    assert record.winner is not None
    assert record.winner.window == "newer than the champion"
    assert f"over the champion's own model {first[:12]}" in trained_how(record)
    assert record.verdict is not None
    assert record.verdict.challenger is not None
    assert record.verdict.champion is not None
    assert record.verdict.challenger.roc_auc == record.verdict.champion.roc_auc
    store = Store(live.root / "store")
    manifest, base = (store.version(v).manifest for v in (record.version or "", first))
    assert manifest.recalibration is not None
    assert (manifest.recalibration.base, manifest.recalibration.base_as_of) == (first, base.as_of)
    assert load(live.root).recalibration == manifest.recalibration
    assert manifest.train_window.start == base.train_window.start
    assert record.split is not None
    assert base.train_end < manifest.train_end < record.split.holdout.start
    assert manifest.train_rows > base.train_rows
    for read in (artifact.read_fingerprints, artifact.read_near):
        theirs, own = (read(store.read(v)) for v in (first, record.version or ""))
        assert theirs is not None
        assert own is not None
        assert np.isin(theirs, own).all()
    assert record.probe is None, "a probe asks what a retrain gains, and this is none"
    (probed,) = [stage.sentence for stage in record.stages if stage.name == "probe"]
    assert probed == "not asked: the champion is to be recalibrated, which is no retrain"

    live.configure(trigger={"action": "recalibrate"}, gate={"min_roc_auc": 0.99})
    old = live.run(112)
    assert old.evidence is not None
    assert old.evidence.champion_as_of == base.as_of
    assert old.trigger is not None
    assert old.trigger.kind is TriggerKind.AGE
    assert trained_how(old).startswith("trained anew, not recalibrated: the model itself is old")


def test_too_few_newer_rows_or_a_rejection_train_anew_and_say_so(live: Project) -> None:
    live.configure(trigger={"action": "recalibrate"}, gate={"min_roc_auc": 0.99})
    live.feed(70, 100)
    few = live.run(71, force=True)
    assert [c.name for c in few.candidates] == ["logistic_regression"]
    assert trained_how(few).startswith("trained anew, not recalibrated: ")
    assert "recalibrating needs at least 50 of each class" in trained_how(few)
    assert few.status is RunStatus.REJECTED
    again = live.run(100, force=True)
    assert trained_how(again).startswith("trained anew, not recalibrated: the last 1 challenger was rejected; ")

"""The loop, end to end: what the service was asked decides when to train, and on what."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from conftest import START, Project, world
from rehone import api, load
from rehone.cli import main
from rehone.config import Predictions
from rehone.predictions import Entry, Writer
from rehone.records import CheckStatus, RunRecord, RunStatus, TriggerKind

LOOP: dict[str, dict[str, Any]] = {
    "data": {"id_column": "id", "max_label_rate": 0.7},
    "gate": {"margin_cost": 0.9},
    "predictions": {"log": True, "evidence": "served", "labels": "labels"},
}


def configure(project: Project, **predictions: Any) -> None:
    project.configure(**LOOP | {"predictions": LOOP["predictions"] | predictions})


def rows_of(day: int, **dials: Any) -> pl.DataFrame:
    made = world(START + timedelta(days=day), **dials)
    return made.with_columns(id=pl.int_range(made.height) + 1000 * day)


def feed(project: Project, first: int, last: int) -> None:
    """Write the offline table: quiet days, each row with an id."""
    (project.root / "data").mkdir(exist_ok=True)
    for n in range(first, last):
        rows_of(n).write_parquet(project.root / "data" / f"{START + timedelta(days=n)}.parquet")


def serve(project: Project, first: int, last: int, *, name: str, late: int = 0, **dials: Any) -> None:
    """Answer each row of some days with the live model, log it as a service does, and label it `late` days later."""
    model, policy = load(project.root), Predictions(keep_days=None)
    writer = Writer(project.root / "predictions", policy, name=name, clock=lambda: datetime(2026, 6, 1, tzinfo=UTC))
    (project.root / "labels").mkdir(exist_ok=True)
    for n in range(first, last):
        asked = rows_of(n, **dials)
        for part in asked.iter_slices(20):
            writer.add(
                Entry(
                    at_ns=int(part["at"][0].replace(tzinfo=UTC).timestamp()) * 10**9,
                    version=model.version or "",
                    generation=1,
                    contract=model.contract,
                    names=model.contract.names,
                    rows=part.select(model.contract.names).rows(),
                    ids=[str(i) for i in part["id"]],
                    scores=model.predict_proba(part),
                    threshold=model.threshold,
                    seconds=0.001,
                )
            )
        arrived = START + timedelta(days=n + late)
        asked.select("id", "label").write_parquet(project.root / "labels" / f"{arrived}.parquet")
    stop = threading.Event()
    stop.set()
    writer.follow(stop)


@pytest.fixture
def lived(project: Project) -> Project:
    """Return a project with a first champion since day 70, learned from the offline table; the loop is closed."""
    configure(project)
    feed(project, 0, 90)
    record = project.run(70)
    assert record.status is RunStatus.DEPLOYED, record.sentence
    return project


def psi(record: RunRecord, feature: str) -> float:
    assert record.evidence is not None
    found = next(d.psi for d in record.evidence.drift if d.feature == feature)
    assert found is not None
    return found


def test_quiet_predictions_are_quiet_and_the_record_says_what_was_served(lived: Project) -> None:
    serve(lived, 70, 86, name="one")
    record = lived.run(86)
    assert record.status is RunStatus.SKIPPED, record.sentence
    evidence = record.evidence
    assert evidence is not None
    assert (evidence.origin, evidence.rows) == ("served", 14 * 60)
    assert evidence.coverage is not None
    assert (evidence.coverage.due, evidence.coverage.labelled) == (14 * 60, 14 * 60)
    assert evidence.newest_label is not None
    assert evidence.newest_label.date() == START + timedelta(days=85)
    assert [(v.version, v.predictions) for v in evidence.served] == [(record.champion, 14 * 60)]
    assert evidence.recall is not None
    assert evidence.recall == evidence.served[0].recall
    assert evidence.roc_auc is not None
    assert evidence.roc_auc == evidence.served[0].roc_auc
    asked = pl.concat([rows_of(day) for day in range(72, 86)])
    truth = roc_auc_score(asked["label"], load(lived.root).predict_proba(asked))
    assert evidence.roc_auc.value == pytest.approx(truth, abs=1e-9)
    assert evidence.roc_auc.low < truth < evidence.roc_auc.high
    assert {s.feature: (s.compared, s.differing) for s in evidence.skew} == dict.fromkeys(
        ("amount", "velocity", "known", "channel"), (14 * 60, 0)
    )
    assert record.stages[0].sentence.endswith("840 predictions in the current window")
    assert evidence.estimated is not None
    assert evidence.estimated.recall is not None
    assert (evidence.estimated.n, evidence.held) == (14 * 60, None)
    serve(lived, 86, 87, name="two")
    later = lived.run(87).evidence
    assert later is not None
    assert later.held is not None
    assert (later.held.run_id, later.held.estimated) == (record.run_id, evidence.estimated.recall)
    assert later.held.measured == evidence.recall


def test_drift_that_only_the_service_sees_is_the_reason_to_train(lived: Project) -> None:
    """The offline table is as it was; what customers send is not. Ids differ, so nothing is compared as skew."""
    configure(lived, max_skew_share="off")
    serve(lived, 70, 86, name="one", shift=3.0)
    record = lived.run(86)
    assert record.trigger is not None
    assert record.trigger.kind is TriggerKind.DRIFT
    assert psi(record, "velocity") > 1
    assert record.data is not None
    assert all(f.path.startswith("data/") for f in record.data.files)
    configure(lived, evidence="data")
    assert not api.check(lived.root, as_of=START + timedelta(days=86)).would_train


def test_a_model_that_learns_from_what_was_served_knows_the_world_as_it_was_asked(lived: Project) -> None:
    configure(lived, max_skew_share="off", train_on="served")
    serve(lived, 70, 90, name="one", shift=3.0, turn=1.0)
    record = lived.run(90)
    assert record.status is RunStatus.DEPLOYED, record.sentence
    assert record.data is not None
    folders = {f.path.partition("/")[0] for f in record.data.files}
    assert folders == {"predictions", "labels"}
    assert record.data.rows == 20 * 60
    after = api.check(lived.root, as_of=START + timedelta(days=90))
    assert after.evidence is not None
    assert next(d.psi for d in after.evidence.drift if d.feature == "velocity") < 0.1
    assert after.evidence.performance_unknown.startswith("none of 840 matured predictions in ")
    assert [v.version for v in after.evidence.served] == [record.champion]


def test_a_feature_that_is_served_otherwise_than_it_is_stored_blocks_training(lived: Project) -> None:
    serve(lived, 70, 86, name="one", shift=3.0)
    record = lived.run(86, force=True)
    assert record.status is RunStatus.FAILED
    assert record.trigger is not None
    assert record.trigger.blocked
    assert {c.subject for c in record.trigger.incidents if c.name == "skew"} >= {"velocity"}
    assert record.version is None


def test_labels_six_weeks_late_close_the_loop_after_six_weeks(project: Project) -> None:
    late = LOOP | {"data": LOOP["data"] | {"label_delay_days": 42}}
    project.configure(**late)
    feed(project, 0, 140)
    assert project.run(112).status is RunStatus.DEPLOYED
    serve(project, 112, 126, name="one", late=42)
    early = api.check(project.root, as_of=START + timedelta(days=126))
    assert early.evidence is not None
    assert early.evidence.recall is None
    assert early.evidence.performance_unknown.startswith("no label is due yet of 840 predictions in ")
    feed(project, 140, 168)
    due = api.check(project.root, as_of=START + timedelta(days=168))
    assert due.evidence is not None
    assert due.evidence.coverage is not None
    assert (due.evidence.coverage.due, due.evidence.coverage.labelled) == (840, 840)
    assert due.evidence.recall is not None


def test_a_log_that_stays_empty_is_said_and_changes_nothing(lived: Project) -> None:
    record = lived.run(86)
    assert record.status is RunStatus.SKIPPED
    assert "0 predictions in the log since 2026-03-14" in record.sentence
    assert record.trigger is not None
    assert {c.status for c in record.trigger.checks if c.name in ("psi", "score_ks", "recall")} == {CheckStatus.UNKNOWN}


def test_learning_from_a_log_that_is_empty_is_refused_and_not_learned_from_other_rows(lived: Project) -> None:
    configure(lived, train_on="served")
    record = lived.run(86, force=True)
    assert record.status is RunStatus.FAILED
    assert "0 rows in " in record.sentence
    assert record.version is None


def test_a_version_served_but_hardly_labelled_teaches_nothing(lived: Project) -> None:
    configure(lived, train_on="served", max_skew_share="off")
    serve(lived, 70, 86, name="one")
    for n in range(70, 80):
        (lived.root / "labels" / f"{START + timedelta(days=n)}.parquet").unlink()
    record = lived.run(86, force=True)
    assert record.status is RunStatus.FAILED
    assert "37.5 % of 960 predictions in " in record.sentence
    assert "need 90 %" in record.sentence


def three_from_the_future(project: Project, day: int) -> None:
    """Date three rows of a day's file eighty years later."""
    path = project.root / "data" / f"{START + timedelta(days=day)}.parquet"
    frame = pl.read_parquet(path)
    later = pl.when(pl.int_range(pl.len()) < 3).then(pl.col("at").dt.offset_by("80y")).otherwise("at")
    frame.with_columns(at=later).write_parquet(path)


def checked(project: Project, day: int, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["check", "-p", str(project.root), "--as-of", f"{START + timedelta(days=day)}"])
    return code, " ".join(capsys.readouterr().out.split())


def test_check_refuses_what_a_first_run_would_refuse(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.configure()
    project.feed(0, 70)
    code, said = checked(project, 70, capsys)
    assert (code, said.split(":")[0]) == (0, "would retrain")
    assert " ok future: 0, limit 0 " in said
    three_from_the_future(project, 60)
    preview = api.check(project.root, as_of=START + timedelta(days=70))
    code, said = checked(project, 70, capsys)
    assert (code, said.split(":")[0]) == (2, "would not retrain")
    assert " act future: 3, limit 0, n 3 " in said
    assert not (project.root / "store").exists()
    record = project.run(70)
    assert record.status is RunStatus.FAILED
    assert (preview.would_train, preview.sentence) == (False, record.sentence)
    assert preview.data_checks == record.data_checks


def test_check_refuses_what_a_run_after_drift_would_refuse(lived: Project) -> None:
    """A calm champion needs no training window: nothing is read of it."""
    configure(lived, evidence="data")
    lived.configure(**LOOP | {"predictions": {}, "data": LOOP["data"] | {"min_rows": 10**6}})
    calm = api.check(lived.root, as_of=START + timedelta(days=84))
    assert not calm.would_train
    assert "rows" not in {c.name for c in calm.data_checks}
    for n in range(84, 90):
        rows_of(n, shift=4.0).write_parquet(lived.root / "data" / f"{START + timedelta(days=n)}.parquet")
    moved = api.check(lived.root, as_of=START + timedelta(days=90))
    assert moved.trigger is not None
    assert moved.trigger.kind is TriggerKind.DRIFT
    assert not moved.would_train
    assert "need at least 1,000,000" in moved.sentence
    assert moved.sentence == lived.run(90).sentence

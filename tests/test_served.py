"""What was served becomes evidence: exact counts on logs that are small enough to count by hand."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import pytest

from rehone import profile as profiles
from rehone.cli.served import served_lines
from rehone.config import Config
from rehone.data import learn_from, open_labels, open_served, open_source, validate
from rehone.data import served as served_module
from rehone.errors import DataError
from rehone.pipeline.feeds import Feeds, open_feeds
from rehone.pipeline.loop import Live, served_evidence
from rehone.predictions import SERVED
from rehone.records import (
    Check,
    CheckStatus,
    Contract,
    Coverage,
    Estimate,
    Evidence,
    Feature,
    FeatureKind,
    Profile,
    ServedVersion,
    Skew,
    TriggerDecision,
    Window,
)
from rehone.trigger import decide

START = date(2026, 3, 2)
NOW = datetime(2026, 3, 16, tzinfo=UTC)
OLD, NEW = "a" * 64, "b" * 64
AMOUNT, CHANNEL = Feature("amount", FeatureKind.NUMERIC), Feature("channel", FeatureKind.CATEGORICAL, ("shop", "web"))
KNOWN = Feature("known", FeatureKind.BOOLEAN)
CONTRACT = Contract(features=(AMOUNT, CHANNEL), label="label")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One row of the log."""

    id: str
    day: int
    version: str = NEW
    score: float | None = 0.2
    decision: bool = False
    hour: float = 12.0
    values: tuple[tuple[str, Any], ...] = (("amount", 1.0), ("channel", "web"))

    @property
    def at(self) -> datetime:
        return datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=self.day, hours=self.hour)


def log(root: Path, answers: Sequence[Answer], *, segment: int = 0) -> None:
    """Write answers where a service would have written them."""
    groups: dict[tuple[date, str], list[Answer]] = {}
    for answer in answers:
        groups.setdefault((answer.at.date(), answer.version), []).append(answer)
    for (day, version), rows in groups.items():
        own = {
            "served_id": [r.id for r in rows],
            "served_at": [r.at for r in rows],
            "served_generation": [1] * len(rows),
            "served_version": [r.version for r in rows],
            "served_score": [r.score for r in rows],
            "served_decision": [r.decision for r in rows],
            "served_ms": [0.5] * len(rows),
        }
        features = {name: [dict(r.values)[name] for r in rows] for name, _ in rows[0].values}
        folder = root / "predictions" / f"day={day}" / f"version={version[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame(own, schema=SERVED).with_columns(pl.Series(n, v) for n, v in features.items())
        frame.write_parquet(folder / f"test_1.{segment}-{segment}.parquet")


def labels(root: Path, day: int, found: dict[Any, Any], *, folder: str = "labels") -> None:
    """Write a file of labels that arrived on a day."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame({"id": list(found), "label": list(found.values())})
    frame.write_parquet(root / folder / f"{START + timedelta(days=day)}.parquet")


def config(root: Path, **sections: dict[str, Any]) -> Config:
    """Close the loop over a folder, with some keys changed."""
    tables: dict[str, dict[str, Any]] = {
        "data": {
            "id_column": "id",
            "label_delay_days": 2,
            "min_rows": 2,
            "min_label_rate": 0.01,
            "max_label_rate": 0.99,
            "stale_after_days": 10,
        },
        "trigger": {"window_days": 14, "performance_days": 7, "min_positives": 1},
        "predictions": {"evidence": "served", "labels": "labels"},
    }
    for section, keys in sections.items():
        tables[section] = tables.get(section, {}) | keys
    return Config.model_validate({**tables, "root": root})


def reference(contract: Contract = CONTRACT, rows: int = 400) -> Profile:
    rng = np.random.default_rng(3)
    days = [datetime(2026, 2, 1) + timedelta(hours=float(h)) for h in np.sort(rng.uniform(0, 24 * 28, rows))]  # noqa: DTZ001
    frame = pl.DataFrame(
        {
            "__time__": pl.Series(days).dt.replace_time_zone("UTC"),
            "amount": rng.normal(size=rows),
            "channel": rng.choice(["shop", "web"], rows),
            "known": rng.random(rows) < 0.5,
            "label": (rng.random(rows) < 0.3).astype(np.int8),
        }
    )
    window = Window(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    scores = rng.uniform(size=rows)
    return profiles.build(frame, contract, window=window, label="label", scores=scores, threshold=0.5)


def gather(
    made: Config, *, as_of: datetime = NOW, version: str = NEW, contract: Contract = CONTRACT
) -> tuple[Evidence, Feeds]:
    """Gather the evidence of a day, as a run does; data.source may be absent."""
    served = open_served(made, as_of=as_of)
    try:
        offline = open_source(made.data, made.root, cache=None, as_of=as_of)
    except DataError:
        offline = None
    found = open_labels(made, as_of)
    learn = learn_from(served, found)
    feeds = Feeds(learn=learn, offline=offline, served=served, labels=found)
    live = Live(config=made, feeds=feeds, as_of=as_of, version=version, contract=contract, profile=reference(contract))
    return served_evidence(live, Evidence(as_of=as_of, champion=version)), feeds


def decision(evidence: Evidence, made: Config) -> TriggerDecision:
    return decide(evidence, made.trigger, made.predictions)


def check(found: Sequence[Check], name: str, subject: str | None = None) -> Check:
    one = [c for c in found if c.name == name and (subject is None or c.subject == subject)]
    assert len(one) == 1, [c.label for c in found]
    return one[0]


def of_version(evidence: Evidence, version: str) -> ServedVersion:
    return next(v for v in evidence.served if v.version == version)


def named(findings: Sequence[Check]) -> list[str]:
    return [c.name for c in findings]


# --- labels that arrive later -------------------------------------------------------------------


def six(root: Path) -> None:
    """Log six answers of one day, whose labels are due two days later; 0 to 2 were decided positive."""
    log(root, [Answer(id=str(i), day=6 + i % 2, decision=i < 3) for i in range(6)])


def test_five_labels_of_six_are_a_coverage_of_83_percent_and_recall_is_unknown(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 10, {0: 1, 1: 1, 2: 0, 3: 1, 4: 0})
    made = config(tmp_path)
    evidence, _ = gather(made)
    assert evidence.coverage is not None
    assert (evidence.coverage.predictions, evidence.coverage.due, evidence.coverage.labelled) == (6, 6, 5)
    assert (evidence.recall, evidence.cost_per_1000, evidence.roc_auc) == (None, None, None)
    assert evidence.roc_auc_unknown == evidence.performance_unknown
    assert evidence.performance_unknown == (
        "83.3 % of 6 matured predictions in 2026-03-07..2026-03-14 have a label, need 90 %: "
        "wait for the labels, or raise data.label_delay_days"
    )
    found = check(decision(evidence, made).checks, "label_coverage")
    assert (found.status, found.value, found.limit, found.n) == (CheckStatus.UNKNOWN, 5 / 6, 0.9, 6)
    assert check(decision(evidence, made).checks, "recall").status is CheckStatus.UNKNOWN


def ranked(root: Path, *, gone: int | None = None) -> Evidence:
    """Log 40 answers of each of two versions over two days: NEW ranks all but one positive rightly, OLD the other way round.

    Every `gone`-th answer has lost its score; with 0 all have.
    """
    answers, found = [], {}
    for i in range(40):
        label, score = int(i % 4 == 0), 0.9 if i % 4 == 0 else i / 100
        said = 0.0 if i == 0 else score
        for version, own in ((NEW, said), (OLD, 1 - said)):
            kept = None if gone is not None and (gone == 0 or i % gone == 1) else own
            answers.append(
                Answer(id=f"{version[0]}{i}", day=6 + i // 20, version=version, score=kept, decision=i % 8 == 0)
            )
            found[f"{version[0]}{i}"] = label
    log(root, answers)
    labels(root, 10, found)
    return gather(config(root, trigger={"window_days": 14, "performance_days": 7, "min_positives": 5}))[0]


def test_each_version_is_ranked_by_the_scores_that_it_answered_with(tmp_path: Path) -> None:
    evidence = ranked(tmp_path)
    mine, other = of_version(evidence, NEW), of_version(evidence, OLD)
    assert mine.roc_auc is not None
    assert other.roc_auc is not None
    assert evidence.roc_auc == mine.roc_auc
    assert mine.roc_auc.value == pytest.approx(0.9)
    assert other.roc_auc.value == pytest.approx(0.1)
    assert (mine.roc_auc.n, mine.roc_auc.positives) == (40, 10)
    assert mine.roc_auc.low < 0.9 < mine.roc_auc.high
    assert (evidence.roc_auc_unknown, mine.roc_auc_unknown) == ("", "")


def test_answers_that_lost_their_score_change_nothing_of_recall_and_cost(tmp_path: Path) -> None:
    whole, lost = ranked(tmp_path / "whole"), ranked(tmp_path / "lost", gone=3)
    assert (lost.recall, lost.cost_per_1000) == (whole.recall, whole.cost_per_1000)
    assert [(v.recall, v.cost_per_1000) for v in lost.served] == [(v.recall, v.cost_per_1000) for v in whole.served]
    assert lost.roc_auc is not None
    assert (lost.roc_auc.n, lost.roc_auc.positives) == (27, 7)
    assert lost.coverage == whole.coverage


def test_where_no_answer_has_a_score_recall_is_known_and_roc_auc_is_not(tmp_path: Path) -> None:
    evidence = ranked(tmp_path / "lost", gone=0)
    assert evidence.recall == ranked(tmp_path / "whole").recall
    said = "0 matured positives and 0 negatives with a score, need at least 5 of each"
    assert (evidence.roc_auc, evidence.roc_auc_unknown) == (None, said)
    assert evidence.performance_unknown == ""


def test_coverage_is_enough_at_its_limit(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 10, {0: 1, 1: 1, 2: 0, 3: 1, 4: 0})
    made = config(tmp_path, predictions={"min_label_coverage": 5 / 6})
    evidence, _ = gather(made)
    assert evidence.recall is not None
    assert (evidence.recall.value, evidence.recall.n, evidence.recall.positives) == (2 / 3, 5, 3)
    assert evidence.cost_per_1000 is not None
    assert evidence.cost_per_1000.value == pytest.approx(1000 * (1 + 10) / 5)
    assert check(decision(evidence, made).checks, "label_coverage").status is CheckStatus.OK


def test_what_was_decided_counts_and_not_what_the_score_says(tmp_path: Path) -> None:
    """A threshold may have been another then: the decision that was served is the one that cost."""
    log(tmp_path, [Answer(id=str(i), day=6 + i % 2, score=0.9, decision=i == 0) for i in range(4)])
    labels(tmp_path, 10, {"0": 1, "1": 1, "2": 1, "3": 1})
    evidence, _ = gather(config(tmp_path))
    assert evidence.recall is not None
    assert evidence.recall.value == 0.25


def test_silence_is_a_negative_only_where_the_project_says_so(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 10, {0: 1, 3: 1})
    assert gather(config(tmp_path))[0].recall is None
    made = config(tmp_path, predictions={"unlabelled": "negative"})
    evidence, _ = gather(made)
    assert evidence.recall is not None
    assert (evidence.recall.value, evidence.recall.n, evidence.recall.positives) == (0.5, 6, 2)
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 2
    assert check(decision(evidence, made).checks, "label_coverage").status is CheckStatus.OK


def silent(root: Path, **data: Any) -> Config:
    """Say that silence means no; labels may be three days old, unless `data` says otherwise."""
    predictions = {"unlabelled": "negative", "train_on": "served"}
    return config(root, data={"stale_after_days": 3, **data}, predictions=predictions)


STOPPED = (
    "the newest label in 'labels' (2026-03-12 00:00 UTC) is 4.0 days older than 2026-03-16 00:00 UTC, may be at most 3: "
    'while none come, predictions.unlabelled = "negative" would call every prediction a negative: look at why the feed '
    "has stopped, write a file without rows for a day that had no label, or raise data.stale_after_days"
)


def test_a_feed_of_labels_that_has_stopped_does_not_turn_everything_into_negatives(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 10, {0: 1, 3: 1})
    evidence, feeds = gather(silent(tmp_path))
    assert (evidence.recall, evidence.performance_unknown) == (None, STOPPED)
    assert {v.unknown for v in evidence.served} == {STOPPED}
    said = check(feeds.learn.findings, "labels_stale")
    assert (said.status, said.value, said.limit, said.subject) == (CheckStatus.ACT, 4.0, 3.0, "labels")
    assert said.sentence == STOPPED


def test_labels_that_only_judge_and_have_stopped_are_a_warning(tmp_path: Path) -> None:
    """A run that learns from data.source may go on; it only does not know recall."""
    six(tmp_path)
    labels(tmp_path, 10, {0: 1, 3: 1})
    _, feeds = gather(silent(tmp_path))
    assert feeds.labels is not None
    assert feeds.labels.source is not None
    judged = replace(feeds, learn=feeds.labels.source)
    assert check(judged.warnings, "labels_stale").status is CheckStatus.WARN


@pytest.mark.parametrize(
    ("arrived", "rules"),
    [
        (11, {}),
        (10, {"stale_after_days": 4}),
        (2, {"label_delay_days": 12}),
        (2, {"stale_after_days": None, "label_delay_days": 0}),
    ],
    ids=["at the limit", "a longer limit", "labels that are later than that", "off"],
)
def test_labels_are_fresh_at_the_limit_and_while_they_may_be_late(
    tmp_path: Path, arrived: int, rules: dict[str, Any]
) -> None:
    six(tmp_path)
    labels(tmp_path, arrived, {0: 1})
    _, feeds = gather(silent(tmp_path, **rules))
    assert "labels_stale" not in named(feeds.learn.findings)


def test_a_file_without_rows_says_that_a_day_had_no_label(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 10, {0: 1, 3: 1})
    labels(tmp_path, 13, {})
    evidence, feeds = gather(silent(tmp_path))
    assert "labels_stale" not in named(feeds.learn.findings)
    assert evidence.recall is not None
    assert (evidence.recall.value, evidence.recall.n) == (0.5, 6)


@pytest.mark.parametrize(("labelled", "fresh"), [(9, True), (8, False)])
def test_a_table_whose_rows_go_on_without_labels_has_stopped_to_label(
    tmp_path: Path, labelled: int, fresh: bool
) -> None:
    """A label in data.source is dated by its event and due two days later: five days are the limit, not three."""
    six(tmp_path)
    for day in range(14):
        labels(tmp_path, day, {day: 0 if day <= labelled else None}, folder="data")
    made = config(tmp_path, data={"stale_after_days": 3}, predictions={"unlabelled": "negative", "labels": None})
    found = open_labels(made, NOW).stale
    assert (found is None) is fresh
    assert found is None or (found.value, found.limit, found.subject) == (6.0, 5.0, "data/*.parquet")


def test_no_label_feed_at_all_is_not_a_world_of_negatives(tmp_path: Path) -> None:
    six(tmp_path)
    evidence, _ = gather(config(tmp_path, predictions={"unlabelled": "negative"}))
    assert evidence.recall is None
    assert evidence.performance_unknown.startswith("no label can be read (no Parquet or CSV file matches 'labels' in ")
    assert evidence.performance_unknown.endswith("put files there, or correct predictions.labels)")


def test_a_label_is_not_there_before_its_file_has_arrived(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 10, dict.fromkeys(range(3), 1))
    labels(tmp_path, 14, dict.fromkeys(range(3, 6), 0))  # dated on as-of itself
    evidence, _ = gather(config(tmp_path))
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 3
    later, _ = gather(config(tmp_path, trigger={"performance_days": 8}), as_of=NOW + timedelta(days=1))
    assert later.coverage is not None
    assert later.coverage.labelled == 6


def test_labels_six_weeks_late_join_what_was_served_six_weeks_ago(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 48, {0: 1, 1: 0, 2: 1, 3: 1, 4: 0, 5: 0})
    made = config(tmp_path, data={"label_delay_days": 42})
    due = datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=49, hours=12)
    evidence, _ = gather(made, as_of=due)
    assert evidence.recall is not None
    assert evidence.recall.value == pytest.approx(2 / 3)


def test_a_label_is_due_at_the_limit_itself_and_not_before(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id="in", day=12, hour=0), Answer(id="out", day=12, hour=0.001)])
    labels(tmp_path, 13, {"in": 1, "out": 1})
    evidence, _ = gather(config(tmp_path))
    assert evidence.coverage is not None
    assert (evidence.coverage.predictions, evidence.coverage.due, evidence.coverage.labelled) == (2, 1, 1)


def test_a_window_without_due_labels_is_unknown_and_says_from_when_they_are(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id="a", day=13)])
    labels(tmp_path, 13, {"a": 1})
    evidence, _ = gather(config(tmp_path))
    assert evidence.recall is None
    assert evidence.performance_unknown == (
        "no label is due yet of 1 predictions in 2026-03-07..2026-03-16: only those up to 2026-03-14 00:00 are due"
    )


# --- ids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("served", "labelled"),
    [
        (["9007199254740993", "2"], [9007199254740993, 2]),
        (["7", "8"], [7.0, 8.0]),
        (["007", "a-1"], ["007", "a-1"]),
    ],
    ids=["beyond floats", "whole floats", "text"],
)
def test_ids_join_as_text_and_whole_numbers_exactly(tmp_path: Path, served: list[str], labelled: list[Any]) -> None:
    log(tmp_path, [Answer(id=i, day=6 + n) for n, i in enumerate(served)])
    labels(tmp_path, 10, dict.fromkeys(labelled, 1))
    evidence, _ = gather(config(tmp_path))
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 2


def test_neighbouring_large_ids_are_not_the_same(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id="9007199254740993", day=6)])
    labels(tmp_path, 10, {9007199254740992: 1})
    evidence, _ = gather(config(tmp_path))
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 0


def test_ids_that_are_numbers_in_one_label_file_and_text_in_the_next_all_join(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=i, day=6) for i in ("1", "2", "007", "x")])
    labels(tmp_path, 9, {1: 1, 2: 0})
    labels(tmp_path, 10, {"007": 1, "x": 0})
    evidence, _ = gather(config(tmp_path))
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 4


def test_the_first_answer_of_an_id_counts_and_the_others_are_said(tmp_path: Path) -> None:
    """A client that asked again got one decision for one event: the first."""
    log(tmp_path, [Answer(id="a", day=6, decision=True), Answer(id="b", day=7, decision=True)])
    log(tmp_path, [Answer(id="a", day=6, hour=13, decision=False)], segment=1)
    labels(tmp_path, 10, {"a": 1, "b": 1})
    evidence, feeds = gather(config(tmp_path))
    assert evidence.recall is not None
    assert (evidence.recall.value, evidence.recall.n) == (1.0, 2)
    assert feeds.served is not None
    said = check([c for c in feeds.served.findings if "07..2026-03-16" in c.detail], "log_repeated")
    assert said.detail == "1 of 3 predictions in 2026-03-07..2026-03-16 repeat an id; the first of each id counts"


def asked_again(root: Path, n: int, again: int) -> None:
    """Log n ids and repeat some of them, in the files of another segment."""
    answers = [Answer(id=str(i), day=i % 14) for i in range(n)]
    log(root, answers)
    log(root, [replace(each, hour=13) for each in answers[:again]], segment=1)


def test_clients_that_ask_again_weigh_more_in_drift_and_beyond_one_percent_it_is_said(tmp_path: Path) -> None:
    asked_again(tmp_path, 198, 2)
    _, feeds = gather(config(tmp_path))
    assert feeds.served is not None
    assert "drift_repeated" not in named(feeds.served.findings)
    asked_again(tmp_path / "more", 197, 3)
    evidence, feeds = gather(config(tmp_path / "more"))
    assert evidence.rows == 200
    assert feeds.served is not None
    said = check(feeds.served.findings, "drift_repeated")
    assert (said.status, said.value, said.limit, said.n) == (CheckStatus.WARN, 0.015, 0.01, 200)
    assert said.detail == (
        "1.5 % of 200 predictions in 2026-03-02..2026-03-16 repeat an id, more than 1 %: drift counts each of them, "
        "so that a client that asks again weighs more; recall and training count the first alone"
    )


def test_of_very_many_rows_those_of_some_ids_say_how_many_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer of an id is looked at or none, so that the share is not made smaller."""
    monkeypatch.setattr(served_module, "MOST_ROWS", 1_000)
    asked_again(tmp_path, 2_000, 2_000)
    _, feeds = gather(config(tmp_path))
    assert feeds.served is not None
    said = check(feeds.served.findings, "drift_repeated")
    assert said.value == 0.5
    assert said.n is not None
    assert 600 < said.n < 1_000
    assert f"50 % of {said.n:,} predictions (those of one id in 5) in " in said.detail


def test_the_newest_of_contradictory_labels_wins_and_they_are_counted(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=i, day=6 + n, decision=True) for n, i in enumerate("ab")])
    labels(tmp_path, 9, {"a": 1, "b": 1})
    labels(tmp_path, 11, {"a": 0})
    evidence, feeds = gather(config(tmp_path))
    assert of_version(evidence, NEW).positives == 1
    assert feeds.served is not None
    said = check(feeds.served.findings, "label_contradictory")
    assert (said.value, said.n) == (1.0, 2)
    assert said.detail == "1 of 2 labelled ids have both labels, 0 and 1; the newest counts"


def test_a_label_of_another_kind_is_no_label_and_is_said(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=i, day=6) for i in "ab"])
    labels(tmp_path, 10, {"a": 1, "b": 2})
    evidence, feeds = gather(config(tmp_path, predictions={"min_label_coverage": 0.9}))
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 1
    assert feeds.served is not None
    assert (
        check(feeds.served.findings, "label_values").detail == "label 'label' is not 0 or 1 for 1 of 2 ids, such as '2'"
    )


def test_a_label_of_another_kind_contradicts_nothing_and_is_not_silence(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 9, {0: 1, 3: 1, 4: 1})
    labels(tmp_path, 10, {4: 2})
    evidence, feeds = gather(config(tmp_path, predictions={"unlabelled": "negative"}))
    assert evidence.recall is not None
    assert (evidence.recall.value, evidence.recall.n, evidence.recall.positives) == (0.5, 5, 2)
    assert feeds.served is not None
    assert "label_contradictory" not in named(feeds.served.findings)
    assert "label_values" in named(feeds.served.findings)


@pytest.mark.parametrize(("unlabelled", "status"), [("unknown", CheckStatus.WARN), ("negative", CheckStatus.ACT)])
def test_a_damaged_label_file_is_said_and_where_silence_means_no_it_acts(
    tmp_path: Path, unlabelled: str, status: CheckStatus
) -> None:
    six(tmp_path)
    labels(tmp_path, 9, {0: 1, 1: 1})
    labels(tmp_path, 10, {2: 1, 3: 1})
    (tmp_path / "labels" / "2026-03-11.parquet").write_bytes(b"PAR1 cut short")
    evidence, feeds = gather(config(tmp_path, predictions={"unlabelled": unlabelled}))
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 2
    said = check(feeds.learn.findings, "file_readable")
    assert (said.subject, said.status) == ("labels/2026-03-11.parquet", status)
    assert feeds.labels is not None
    assert feeds.labels.source is not None
    assert said in replace(feeds, learn=feeds.labels.source).warnings


def test_a_label_file_whose_inside_is_damaged_is_left_out_and_said(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 9, {0: 1, 1: 1})
    labels(tmp_path, 10, {2: 1, 3: 1})
    spoilt = tmp_path / "labels" / "2026-03-11.parquet"
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole[:4] + bytes(80) + whole[84:])
    evidence, feeds = gather(config(tmp_path))
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 2
    assert check(feeds.learn.findings, "file_readable").subject == "labels/2026-03-11.parquet"


@pytest.mark.parametrize(("unlabelled", "status"), [("unknown", CheckStatus.WARN), ("negative", CheckStatus.ACT)])
@pytest.mark.parametrize("column", ["id", "label"])
def test_a_label_file_without_a_column_that_it_needs_is_named(
    tmp_path: Path, column: str, unlabelled: str, status: CheckStatus
) -> None:
    six(tmp_path)
    labels(tmp_path, 10, {0: 1, 1: 1})
    other = pl.DataFrame({"id": [2, 3], "label": [1, 1]}).rename({column: "other"})
    other.write_parquet(tmp_path / "labels" / "2026-03-13.parquet")
    pl.DataFrame({"nothing": []}).write_parquet(tmp_path / "labels" / "2026-03-14.parquet")
    evidence, feeds = gather(config(tmp_path, predictions={"unlabelled": unlabelled}))
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 2
    said = check(feeds.learn.findings, "label_column")
    assert (said.status, said.subject) == (status, f"{column} in labels/2026-03-13.parquet")
    assert said.sentence == (
        f"column '{column}' is missing in labels/2026-03-13.parquet: no label of it is joined with the log: "
        "write it again with the column, or correct the name in data"
    )


def test_a_file_of_data_source_without_ids_is_named_and_one_whose_labels_are_to_come_is_not(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 10, {0: 1, 1: 1}, folder="data")
    for day, lacking in ((11, "id"), (12, "label")):
        path = tmp_path / "data" / f"{START + timedelta(days=day)}.parquet"
        pl.DataFrame({"id": [2, 3], "label": [1, 1]}).drop(lacking).write_parquet(path)
    found = open_labels(config(tmp_path, predictions={"labels": None}), NOW).findings
    assert [(c.name, c.subject) for c in found] == [("label_column", "id in data/2026-03-13.parquet")]


# --- versions -----------------------------------------------------------------------------------


def mixed(root: Path) -> None:
    """Four answers of the old version (half of them right) and two of the new one (both right)."""
    log(root, [Answer(id=f"o{i}", day=6 + i % 2, version=OLD, decision=i < 2) for i in range(4)])
    log(root, [Answer(id=f"n{i}", day=8 + i, decision=True) for i in range(2)])
    labels(root, 11, {**{f"o{i}": 1 for i in range(4)}, "n0": 1, "n1": 1})


def test_each_version_answers_for_its_own_decisions(tmp_path: Path) -> None:
    mixed(tmp_path)
    made = config(tmp_path)
    evidence, _ = gather(made)
    old, new = of_version(evidence, OLD), of_version(evidence, NEW)
    assert (old.predictions, old.labelled, old.positives) == (4, 4, 4)
    assert old.recall is not None
    assert new.recall is not None
    assert (old.recall.value, new.recall.value) == (0.5, 1.0)
    assert evidence.recall == new.recall
    said = check(decision(evidence, made).checks, "served", OLD[:12])
    assert (said.status, said.value, said.n) == (CheckStatus.OK, 0.5, 4)


def test_the_poor_recall_of_a_version_that_is_gone_is_no_reason_to_train(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=f"o{i}", day=6 + i % 4, version=OLD) for i in range(40)])
    log(tmp_path, [Answer(id=f"n{i}", day=8 + i % 2, decision=True) for i in range(40)])
    labels(tmp_path, 12, {f"{v}{i}": 1 for v in "on" for i in range(40)})
    made = config(tmp_path, trigger={"min_recall": 0.6})
    evidence, _ = gather(made)
    assert check(decision(evidence, made).checks, "served", OLD[:12]).value == 0.0
    assert check(decision(evidence, made).checks, "recall").status is CheckStatus.OK
    gone, _ = gather(made, version=OLD)
    assert check(decision(gone, made).checks, "recall").status is CheckStatus.ACT


def test_a_champion_that_was_just_deployed_is_unknown(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=f"o{i}", day=6 + i % 2, version=OLD, decision=True) for i in range(4)])
    labels(tmp_path, 10, {f"o{i}": 1 for i in range(4)})
    evidence, _ = gather(config(tmp_path))
    assert evidence.recall is None
    assert evidence.performance_unknown == (
        "none of 4 matured predictions in 2026-03-07..2026-03-16 is of the champion bbbbbbbbbbbb"
    )
    assert evidence.scores is not None
    assert evidence.scores.ks is None
    assert evidence.scores.detail == "the champion bbbbbbbbbbbb has 0 predictions in the log since 2026-03-02"
    assert evidence.rows == 4


def test_scores_are_only_those_of_the_champion_and_features_those_of_every_version(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=f"o{i}", day=i, version=OLD, score=0.999) for i in range(14)])
    log(tmp_path, [Answer(id=f"n{i}", day=i, score=0.001) for i in range(14)])
    evidence, _ = gather(config(tmp_path))
    assert evidence.rows == 28
    assert evidence.scores is not None
    assert evidence.scores.n_current == 14
    assert {d.feature: d.n_current for d in evidence.drift} == {"amount": 28, "channel": 28}


def test_a_file_without_a_feature_is_left_out_and_said_and_never_taken_for_nulls(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=f"o{i}", day=i, version=OLD, values=(("amount", 1.0),)) for i in range(14)])
    log(tmp_path, [Answer(id=f"n{i}", day=i) for i in range(14)])
    evidence, feeds = gather(config(tmp_path))
    assert {d.feature: (d.n_current, d.incident) for d in evidence.drift}["channel"][0] == 14
    assert all("missing" not in (d.incident or "") for d in evidence.drift)
    assert feeds.served is not None
    said = [c for c in feeds.served.findings if c.name == "log_left_out"]
    assert said[0].detail.startswith("14 of 28 log files (14 predictions of version aaaaaaaaaaaa) lack 'channel' as ")


def test_a_feature_of_another_kind_is_not_the_champions_feature(tmp_path: Path) -> None:
    odd = (("amount", "1.0"), ("channel", "web"))
    log(tmp_path, [Answer(id=f"o{i}", day=i, version=OLD, values=odd) for i in range(14)])
    log(tmp_path, [Answer(id=f"n{i}", day=i) for i in range(14)])
    evidence, _ = gather(config(tmp_path))
    assert evidence.rows == 14


# --- an empty log -------------------------------------------------------------------------------


def test_an_empty_log_is_unknown_aloud_and_data_source_does_not_stand_in_for_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    frame = pl.DataFrame({"id": range(50), "amount": 1.0, "channel": "web", "label": 1})
    frame.write_parquet(tmp_path / "data" / "2026-03-10.parquet")
    made = config(tmp_path, predictions={"labels": None})
    evidence, _ = gather(made)
    assert evidence.rows == 0
    assert all(d.psi is None for d in evidence.drift)
    assert evidence.recall is None
    decided = decision(evidence, made)
    assert decided.kind is None
    said = (
        "0 predictions in the log since 2026-03-02 ('predictions'): is `predictions.log` on, "
        "and is this the folder that the service writes?"
    )
    assert said in decided.reason
    assert check(decided.checks, "predictions").status is CheckStatus.UNKNOWN
    assert {c.status for c in decided.checks if c.name in ("psi", "score_ks", "recall", "label_coverage")} == {
        CheckStatus.UNKNOWN
    }


def test_a_damaged_file_is_left_out_and_said(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=f"n{i}", day=i) for i in range(14)])
    spoilt = next((tmp_path / "predictions" / "day=2026-03-05").rglob("*.parquet"))
    spoilt.write_bytes(spoilt.read_bytes()[:200])
    evidence, feeds = gather(config(tmp_path))
    assert evidence.rows == 13
    assert feeds.served is not None
    said = check(feeds.served.findings, "file_readable")
    assert said.status is CheckStatus.WARN
    assert said.subject == "predictions/day=2026-03-05/version=bbbbbbbbbbbb/test_1.0-0.parquet"


def test_a_host_whose_name_holds_a_date_does_not_date_what_it_logged(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=f"n{i}", day=i) for i in range(14)])
    for path in (tmp_path / "predictions").rglob("*.parquet"):
        path.rename(path.with_name("at_web_20990101_7.0-0.parquet"))
    evidence, feeds = gather(config(tmp_path))
    assert evidence.rows == 14
    assert feeds.served is not None
    assert {f.day for f in feeds.served.files} == {START + timedelta(days=i) for i in range(14)}


def test_answers_from_as_of_on_are_not_there_yet(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=f"n{i}", day=i) for i in range(20)])
    assert gather(config(tmp_path))[0].rows == 14


def test_a_second_look_counts_only_new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(tmp_path, [Answer(id=f"n{i}", day=i) for i in range(14)])
    made = config(tmp_path)
    first, _ = gather(made)
    counted = []
    count = profiles.count
    monkeypatch.setattr(profiles, "count", lambda *a, **k: counted.append(a) or count(*a, **k))
    again, _ = gather(made)
    assert again.drift == first.drift
    assert counted == []
    log(tmp_path, [Answer(id="late", day=13, hour=14)], segment=1)
    assert gather(made)[0].rows == 15
    assert len(counted) == 1


# --- skew ---------------------------------------------------------------------------------------

ALL = Contract(features=(AMOUNT, CHANNEL, KNOWN), label="label")


def both(root: Path, n: int, planted: dict[int, dict[str, Any]]) -> None:
    """Log n rows and write the same rows offline; `planted` changes what was served for some."""
    rows = [{"amount": i / 7, "channel": "web" if i % 3 else "shop", "known": i % 2 == 0} for i in range(n)]
    log(
        root,
        [Answer(id=str(i), day=i % 14, values=tuple((r | planted.get(i, {})).items())) for i, r in enumerate(rows)],
    )
    (root / "data").mkdir()
    for day in range(14):
        held = pl.DataFrame([{"id": i, **r, "label": i % 2} for i, r in enumerate(rows) if i % 14 == day])
        held.write_parquet(root / "data" / f"{START + timedelta(days=day)}.parquet")


def test_three_percent_of_one_feature_that_were_served_otherwise_block_training(tmp_path: Path) -> None:
    both(tmp_path, 400, {i: {"amount": i / 7 + 1} for i in range(0, 400, 34)})
    made = config(tmp_path)
    evidence, _ = gather(made, contract=ALL)
    found = {s.feature: (s.compared, s.differing) for s in evidence.skew}
    assert found == {"amount": (400, 12), "channel": (400, 0), "known": (400, 0)}
    decided = decision(evidence, made)
    assert decided.blocked
    said = check(decided.incidents, "skew")
    assert (said.subject, said.value, said.limit, said.n) == ("amount", 0.03, 0.01, 400)
    assert said.detail == (
        "amount was served with another value than data.source holds for 3 % of 400 ids, at most 1 % may "
        "(id 0 was served amount = 1, and the offline table holds 0)"
    )


def test_skew_at_its_limit_is_allowed_and_beyond_it_is_not(tmp_path: Path) -> None:
    evidence = Evidence(as_of=NOW, champion=NEW, origin="served", skew=(Skew(feature="x", compared=100, differing=1),))
    made = config(tmp_path)
    assert not decision(evidence, made).blocked
    more = Evidence(as_of=NOW, champion=NEW, origin="served", skew=(Skew(feature="x", compared=100, differing=2),))
    assert decision(more, made).blocked
    few = Evidence(as_of=NOW, champion=NEW, origin="served", skew=(Skew(feature="x", compared=29, differing=29),))
    assert not decision(few, made).blocked
    assert check(decision(few, made).checks, "skew").status is CheckStatus.UNKNOWN


@pytest.mark.parametrize(
    ("planted", "differing"),
    [
        ({"amount": 5 / 7 * (1 + 9e-7)}, {"amount": 0}),
        ({"amount": 5 / 7 * (1 + 2e-6)}, {"amount": 1}),
        ({"amount": None}, {"amount": 1}),
        ({"channel": "Web"}, {"channel": 1}),
        ({"channel": None}, {"channel": 1}),
        ({"known": True}, {"known": 1}),
        ({"known": None}, {"known": 1}),
    ],
    ids=["rounded", "moved", "null", "case", "no text", "flipped", "no truth"],
)
def test_what_counts_as_another_value(tmp_path: Path, planted: dict[str, Any], differing: dict[str, int]) -> None:
    both(tmp_path, 40, {5: planted})
    evidence, _ = gather(config(tmp_path), contract=ALL)
    assert {s.feature: s.differing for s in evidence.skew} == {"amount": 0, "channel": 0, "known": 0} | differing


def test_nothing_is_compared_where_data_source_is_only_labels(tmp_path: Path) -> None:
    six(tmp_path)
    labels(tmp_path, 10, {0: 1}, folder="data")
    evidence, _ = gather(config(tmp_path, predictions={"labels": None}))
    assert evidence.skew == ()
    assert evidence.coverage is not None
    assert evidence.coverage.labelled == 1


def test_ids_that_the_table_holds_twice_are_not_compared(tmp_path: Path) -> None:
    both(tmp_path, 40, {})
    first = tmp_path / "data" / f"{START}.parquet"
    pl.concat([pl.read_parquet(first), pl.read_parquet(first).with_columns(amount=99.0)]).write_parquet(first)
    evidence, _ = gather(config(tmp_path), contract=ALL)
    assert {s.feature: (s.compared, s.differing) for s in evidence.skew}["amount"] == (37, 0)


# --- learning from what was served --------------------------------------------------------------


def source_of(made: Config, as_of: datetime = NOW) -> Any:
    return learn_from(open_served(made, as_of=as_of), open_labels(made, as_of))


def trained(root: Path, **policy: Any) -> Config:
    return config(root, predictions={"train_on": "served", **policy})


def test_the_log_joined_with_labels_is_a_source_like_any_other(tmp_path: Path) -> None:
    mixed(tmp_path)
    made = trained(tmp_path)
    source = source_of(made)
    window = Window(NOW - timedelta(days=30), NOW)
    assert source.features() == ("amount", "channel")
    rows = source.mature(source.read(window, ("amount", "channel", "label", "id")))
    assert rows.columns == ["__time__", "amount", "channel", "label", "id"]
    assert rows["id"].to_list() == ["o0", "o2", "o1", "o3", "n0", "n1"]
    assert rows["__time__"][0] == datetime(2026, 3, 8, 12, tzinfo=UTC)
    assert rows["label"].to_list() == [1] * 6
    described = source.describe(window)
    assert (described.rows, described.positives) == (6, 6)
    assert [f.path for f in described.files if f.path.startswith("labels/")] == ["labels/2026-03-13.parquet"]
    assert len(described.files) == 5
    assert source.span() == Window(datetime(2026, 3, 8, 12, tzinfo=UTC), datetime(2026, 3, 11, 12, 0, 0, 1, tzinfo=UTC))


@pytest.mark.parametrize(("arrived", "status"), [(10, "ok"), (9, "warn"), (8, "act")])
def test_unlabelled_rows_are_left_out_only_when_enough_have_a_label(tmp_path: Path, arrived: int, status: str) -> None:
    log(tmp_path, [Answer(id=str(i), day=6 + i % 2) for i in range(10)])
    labels(tmp_path, 10, {i: i % 2 for i in range(arrived)})
    made = trained(tmp_path)
    source, window = source_of(made), Window(NOW - timedelta(days=30), NOW)
    facts = source.facts(window, source.features(), now=NOW)
    found = check(validate(facts, made.data, None), "label_coverage")
    assert (found.status.value, found.value, found.n) == (status, arrived / 10, 10)
    assert facts.mature_rows == arrived
    assert source.mature(source.read(window, ("label",))).height == arrived


def test_silence_teaches_a_negative_once_it_is_due(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=str(i), day=6) for i in range(4)] + [Answer(id="young", day=13)])
    labels(tmp_path, 10, {0: 1})
    made = trained(tmp_path, unlabelled="negative")
    source, window = source_of(made), Window(NOW - timedelta(days=30), NOW)
    rows = source.read(window, ("label", "id"))
    assert dict(rows.select("id", "label").iter_rows()) == {"0": 1, "1": 0, "2": 0, "3": 0, "young": None}
    assert source.mature(rows).height == 4


def test_versions_without_a_feature_that_is_needed_teach_nothing_and_are_said(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id=f"o{i}", day=i, version=OLD, values=(("amount", 1.0),)) for i in range(5)])
    log(tmp_path, [Answer(id=f"n{i}", day=i) for i in range(8)])
    labels(tmp_path, 12, {f"{v}{i}": i % 2 for v in "on" for i in range(8)})
    source = source_of(trained(tmp_path))
    assert source.features() == ("amount", "channel")
    assert source.read(Window(NOW - timedelta(days=30), NOW), ("id",)).height == 8
    assert "log_left_out" in named(source.findings)


def test_an_id_that_was_asked_twice_is_learned_once_as_it_was_answered_first(tmp_path: Path) -> None:
    log(tmp_path, [Answer(id="a", day=6, values=(("amount", 1.0), ("channel", "web")))])
    log(tmp_path, [Answer(id="a", day=6, hour=13, values=(("amount", 2.0), ("channel", "web")))], segment=1)
    labels(tmp_path, 10, {"a": 1})
    rows = source_of(trained(tmp_path)).read(Window(NOW - timedelta(days=30), NOW), ("amount",))
    assert rows["amount"].to_list() == [1.0]


def test_ids_are_numbers_again_when_data_source_has_numbers(tmp_path: Path) -> None:
    """A row that a champion learned from data.source is known again by its id when it comes from the log."""
    both(tmp_path, 40, {})
    made = config(tmp_path, predictions={"train_on": "served", "labels": None})
    feeds = open_feeds(made, NOW, champion=True)
    rows = feeds.learn.read(Window(NOW - timedelta(days=30), NOW), ("id",))
    assert rows["id"].dtype == pl.Int64
    assert sorted(rows["id"].to_list()) == list(range(40))


def test_without_a_champion_the_first_version_learns_from_data_source_and_says_so(tmp_path: Path) -> None:
    both(tmp_path, 40, {})
    made = config(tmp_path, predictions={"train_on": "served", "labels": None})
    feeds = open_feeds(made, NOW, champion=False)
    assert feeds.learn is feeds.offline
    assert named(feeds.warnings) == ["train_on"]


def test_an_empty_log_is_a_source_without_rows_and_not_a_crash(tmp_path: Path) -> None:
    made = trained(tmp_path)
    shutil.rmtree(tmp_path / "predictions", ignore_errors=True)
    source, window = source_of(made), Window(NOW - timedelta(days=30), NOW)
    checks = validate(source.facts(window, source.features(), now=NOW), made.data, None)
    assert check(checks, "rows").status is CheckStatus.ACT


# --- what is shown ------------------------------------------------------------------------------

SHOWN = Window(NOW - timedelta(days=14), NOW)


def shown(evidence: Evidence, width: int = 80) -> list[str]:
    return [click.unstyle(line) for line in served_lines(evidence, width)]


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=9_107, positives=2_044)


def served_one(recall: Estimate | None, cost: Estimate | None, roc_auc: Estimate | None = None) -> Evidence:
    one = ServedVersion(
        version=NEW,
        predictions=9_150,
        labelled=9_107,
        positives=2_044,
        recall=recall,
        cost_per_1000=cost,
        roc_auc=roc_auc,
    )
    coverage = Coverage(window=SHOWN, predictions=9_367, due=9_150, labelled=9_107)
    skewed = (Skew(feature="amount", compared=212, differing=0),)
    return Evidence(as_of=NOW, champion=NEW, origin="served", coverage=coverage, served=(one,), skew=skewed)


def test_what_was_served_is_told_in_words_that_say_what_they_count() -> None:
    assert shown(served_one(None, None)) == [
        "",
        "Served",
        "  labels      9,367 predictions in 2026-03-02..2026-03-16; 9,150 with a label",
        "              due, 9,107 of them arrived (99.5 %)",
        "  version         due  labelled  positives  recall   cost per 1,000  ROC-AUC",
        "  bbbbbbbbbbbb  9,150     9,107      2,044  unknown  unknown         unknown",
        "  skew        none in 212 ids that data.source also has in this window",
    ]


def test_intervals_that_do_not_fit_beside_the_counts_have_a_table_of_their_own() -> None:
    found = (estimate(0.5831, 0.5512, 0.6146), estimate(234.5, 200.25, 260.75), estimate(0.9123, 0.9011, 0.9204))
    evidence = served_one(*found)
    assert shown(evidence)[4:8] == [
        "  version         due  labelled  positives",
        "  bbbbbbbbbbbb  9,150     9,107      2,044",
        "  version       recall                cost per 1,000  ROC-AUC",
        "  bbbbbbbbbbbb  0.583 [0.551, 0.615]  234 [200, 261]  0.912 [0.901, 0.92]",
    ]
    assert max(map(len, shown(evidence))) <= 80
    assert "  bbbbbbbbbbbb  9,150     9,107      2,044  0.583 [0.551, 0.615]" in shown(evidence, 120)[4]


def test_figures_that_are_too_wide_for_two_tables_have_three() -> None:
    found = (estimate(0.5831, 0.5512, 0.6146), estimate(1234.5, 1100.25, 1400.75), estimate(0.9123, 0.9011, 0.9204))
    assert shown(served_one(*found))[6:10] == [
        "  version       recall                cost per 1,000",
        "  bbbbbbbbbbbb  0.583 [0.551, 0.615]  1,234.50 [1,100.25, 1,400.75]",
        "  version       ROC-AUC",
        "  bbbbbbbbbbbb  0.912 [0.901, 0.92]",
    ]


@pytest.mark.parametrize(
    ("labelled", "said"),
    [(9_150, "(100 %)"), (9_149, "(99.9 %)"), (1, "(less than 0.1 %)"), (0, "(0 %)"), (915, "(10 %)")],
)
def test_only_all_is_a_hundred_percent_and_only_none_is_zero(labelled: int, said: str) -> None:
    coverage = Coverage(window=SHOWN, predictions=9_367, due=9_150, labelled=labelled)
    lines = shown(Evidence(as_of=NOW, champion=NEW, origin="served", coverage=coverage))
    assert " ".join(lines).endswith(said)


def test_where_features_differ_it_is_said_of_which_ids() -> None:
    skewed = Skew(feature="amount", compared=212, differing=7, example="id 3 was served amount = 1")
    lines = shown(Evidence(as_of=NOW, champion=NEW, origin="served", skew=(skewed,)))
    assert " ".join(" ".join(lines).split()) == (
        "Served skew amount: 3.3 % of 212 ids that data.source also has in this window differ "
        "(id 3 was served amount = 1)"
    )


def test_before_there_is_a_champion_nothing_was_served_and_nothing_is_said() -> None:
    assert shown(Evidence(as_of=NOW, champion=None, origin="served")) == []

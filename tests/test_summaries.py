"""Runs in brief: told from their records once, from an index then, and from the ledger where a record is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from conftest import START as FIRST
from conftest import Project, world
from rehone import codec, load
from rehone.config import Config, load_config, parse_config
from rehone.disk import Disk
from rehone.errors import Corrupt
from rehone.records import (
    Approval,
    Check,
    CheckStatus,
    Estimate,
    Evidence,
    FeatureDrift,
    Metrics,
    Outcome,
    Problem,
    RunRecord,
    RunStatus,
    TriggerDecision,
    TriggerKind,
    Verdict,
)
from rehone.runlog import RunLog
from rehone.runlog.brief import brief
from rehone.runlog.summaries import summaries
from test_runlog import START, record

OK, ACT = CheckStatus.OK, CheckStatus.ACT


@contextmanager
def counted_reads() -> Iterator[list[str]]:
    """List the records that are read meanwhile."""
    read: list[str] = []

    def reading(self: Disk, path: Any) -> bytes:
        if path.name.endswith(".json"):
            read.append(path.stem)
        return bytes(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Disk, "read", reading)
        yield read


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse_config("", root=tmp_path)


def close(config: Config, *numbers: int) -> None:
    for number in numbers:
        RunLog.of(config).finish(record(number, RunStatus.SKIPPED))


def ids(config: Config) -> list[str]:
    return [run.run_id for run in summaries(config)]


def named(*numbers: int) -> list[str]:
    return [record(number).run_id for number in numbers]


# --- the index ------------------------------------------------------------------------------------


def test_closed_runs_come_oldest_first_and_then_open_ones(config: Config) -> None:
    RunLog.of(config).begin(record(1))
    close(config, 3, 2)
    assert ids(config) == named(2, 3, 1)


def test_a_closed_record_is_read_once(config: Config) -> None:
    close(config, 1, 2)
    RunLog.of(config).begin(record(3))
    first = summaries(config)
    with counted_reads() as read:
        assert summaries(config) == first
    assert read == named(3), "the open one may have changed"
    close(config, 4)
    with counted_reads() as read:
        assert ids(config) == named(1, 2, 4, 3)
    assert sorted(read) == named(3, 4)


@pytest.mark.parametrize("harm", ["cut", "changed", "rubbish", "emptied"])
def test_a_damaged_index_is_made_again_where_it_is_damaged(config: Config, harm: str) -> None:
    close(config, 1, 2)
    told = summaries(config)
    (index,) = config.cache_path.glob("runs-*.jsonl")
    whole = index.read_bytes()
    index.write_bytes(
        {
            "cut": whole[:-40],
            "changed": whole.replace(b'"skipped"', b'"deployed"', 1),
            "rubbish": b"\xff\x00 \n" + whole + b"no line",
            "emptied": b"",
        }[harm]
    )
    assert summaries(config) == told
    with counted_reads() as read:
        assert summaries(config) == told
    assert read == []


def test_without_a_place_for_the_index_records_are_read_each_time(config: Config) -> None:
    close(config, 1)
    config.cache_path.write_text("a file is where the folder should be")
    for _ in range(2):
        with counted_reads() as read:
            assert ids(config) == named(1)
        assert read == named(1)


def test_a_run_whose_ledger_line_was_lost_in_a_crash_is_told_as_closed(config: Config) -> None:
    close(config, 1, 2)
    ledger = config.root / "runs" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])
    assert [(run.run_id, run.status) for run in summaries(config)] == [
        (record(1).run_id, RunStatus.SKIPPED),
        (record(2).run_id, RunStatus.SKIPPED),
    ]


def test_of_a_record_that_is_gone_or_cut_short_the_ledger_tells_what_it_knows(config: Config) -> None:
    close(config, 1, 2, 3)
    first, second, _ = sorted((config.root / "runs").glob("*/*/*.json"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:100])
    told = summaries(config)
    assert [run.run_id for run in told] == named(1, 2, 3)
    assert [run.status for run in told] == [RunStatus.SKIPPED] * 3
    assert [run.sentence for run in told[:2]] == ["its record cannot be read: `rehone doctor` says why"] * 2


def test_a_record_that_was_changed_after_it_was_closed_does_not_enter_the_index(config: Config) -> None:
    close(config, 1)
    (path,) = (config.root / "runs").glob("*/*/*.json")
    good = path.read_bytes()
    path.write_bytes(codec.encode(replace(record(1, RunStatus.DEPLOYED), sentence="forged")))
    assert [run.sentence for run in summaries(config)] == ["forged"]
    path.write_bytes(good)
    assert [run.sentence for run in summaries(config)] == [""]
    path.write_bytes(codec.encode(replace(record(1, RunStatus.DEPLOYED), sentence="forged")))
    assert [run.sentence for run in summaries(config)] == [""], "what was indexed is what the ledger has the digest of"


def test_a_ledger_that_cannot_be_read_is_an_error(config: Config) -> None:
    close(config, 1)
    (config.root / "runs" / "ledger.jsonl").write_bytes(b"{}\n")
    with pytest.raises(Corrupt):
        summaries(config)


# --- what is told of a run ------------------------------------------------------------------------


def test_a_real_run_is_told_in_brief(live: Project) -> None:
    (run,) = summaries(load_config(live.root))
    (whole,) = RunLog.of(load_config(live.root)).records()
    verdict = whole.verdict
    assert verdict is not None
    assert (run.status, run.trigger, run.outcome) == (RunStatus.DEPLOYED, TriggerKind.BOOTSTRAP, Outcome.PASS)
    assert (run.trained, run.version, run.champion) == (True, whole.version, None)
    assert run.challenger == verdict.challenger
    assert run.roc_auc_interval == next(c.interval for c in verdict.checks if c.name == "min_roc_auc")
    assert run.difference is None, "there was no champion to be compared with"
    assert run.newest_row is not None
    assert timedelta() < run.as_of - run.newest_row < timedelta(hours=1)
    assert run.seconds is not None


def test_the_next_day_says_how_old_the_newest_label_is(live: Project) -> None:
    live.feed(70, 73)
    assert live.run(73).status is RunStatus.SKIPPED
    *_, run = summaries(load_config(live.root))
    assert run.newest_label is not None
    assert timedelta() < run.as_of - run.newest_label < timedelta(hours=1)
    assert run.recall is not None
    assert run.label_rate == run.recall.positives / run.recall.n
    assert run.roc_auc is not None
    evidence = RunLog.of(load_config(live.root)).records()[-1].evidence
    assert evidence is not None
    assert evidence.matured is not None
    start, every = evidence.matured.start.replace(tzinfo=None), range(50, 73)
    seen = pl.concat([world(FIRST + timedelta(days=day)) for day in every]).filter(pl.col("at") >= start)
    truth = roc_auc_score(seen["label"], load(live.root).predict_proba(seen))
    assert run.roc_auc == evidence.roc_auc
    assert run.roc_auc.value == pytest.approx(truth, abs=1e-12), "what scikit-learn makes of the same rows"
    assert run.roc_auc.n == seen.height
    assert (run.worst_feature, run.drift_acts) == (max_psi(live), False)


def max_psi(project: Project) -> str:
    evidence = RunLog.of(load_config(project.root)).records()[-1].evidence
    assert evidence is not None
    return max(evidence.drift, key=lambda drift: drift.psi or 0).feature


def with_drift(*checks: Check, incidents: tuple[Check, ...] = ()) -> RunRecord:
    drift = (
        FeatureDrift(feature="clock", psi=9.0, ignored="clock"),
        FeatureDrift(feature="season", psi=8.0),
        FeatureDrift(feature="amount", psi=0.4),
        FeatureDrift(feature="lost", psi=None),
    )
    return replace(
        record(1, RunStatus.SKIPPED),
        config={"trigger": {"ignore": ["season"]}},
        evidence=Evidence(as_of=START, champion="c", drift=drift),
        trigger=TriggerDecision(kind=None, reason="nothing acts", checks=checks, incidents=incidents),
    )


def test_the_worst_feature_is_the_worst_of_those_that_may_act() -> None:
    told = brief(with_drift())
    assert (told.worst_feature, told.worst_psi) == ("amount", 0.4)


def test_drift_that_is_beyond_its_limit_acts_even_while_the_trigger_rests() -> None:
    assert brief(with_drift(Check(name="psi", subject="amount", status=ACT))).drift_acts
    assert brief(with_drift(Check(name="score_ks", status=ACT))).drift_acts
    assert not brief(with_drift(Check(name="psi", subject="amount", status=OK))).drift_acts
    assert not brief(with_drift(Check(name="age", status=ACT))).drift_acts


def test_drift_that_is_a_fault_of_the_feed_is_an_incident_and_no_alarm() -> None:
    acts = Check(name="psi", subject="amount", status=ACT)
    told = brief(with_drift(acts, incidents=(Check(name="incident", subject="amount", status=ACT),)))
    assert (told.drift_acts, told.incidents) == (False, 1)


def test_data_that_cannot_be_used_are_incidents_too() -> None:
    broken = replace(record(1, RunStatus.FAILED), data_checks=(Check(name="stale", status=ACT),))
    assert brief(broken).incidents == 1


def judged(gate: Outcome, shadow: Outcome | None = None) -> RunRecord:
    checks = (
        Check(name="min_roc_auc", status=OK, value=0.9, interval=(0.85, 0.95)),
        Check(name="min_recall", status=OK, value=0.7, interval=(0.6, 0.8)),
        Check(name="roc_auc_vs_champion", status=OK, value=0.02, interval=(-0.01, 0.05)),
    )
    verdict = Verdict(
        outcome=gate,
        reason="by the gate",
        checks=checks,
        challenger=Metrics(n=9, positives=3, roc_auc=0.9),
        champion=Metrics(n=9, positives=3, roc_auc=0.88),
    )
    beside = Verdict(outcome=shadow, reason="by the shadow") if shadow else None
    return replace(record(1, RunStatus.REJECTED), verdict=verdict, shadow_verdict=beside)


def test_a_verdict_is_told_with_its_intervals() -> None:
    told = brief(judged(Outcome.PASS))
    assert (told.outcome, told.verdict) == (Outcome.PASS, "by the gate")
    assert (told.roc_auc_interval, told.recall_interval) == ((0.85, 0.95), (0.6, 0.8))
    assert told.difference == (0.02, -0.01, 0.05)


def test_a_refusal_beside_the_champion_is_the_last_word() -> None:
    told = brief(judged(Outcome.PASS, Outcome.FAIL))
    assert (told.outcome, told.verdict) == (Outcome.FAIL, "by the shadow")
    assert brief(judged(Outcome.PASS, Outcome.PASS)).verdict == "by the gate"


def test_what_was_not_measured_is_none() -> None:
    told = brief(replace(record(1, RunStatus.FAILED), problem=Problem(type="DataError", message="no file")))
    assert told.problem == "DataError: no file"
    unknown = (told.label_rate, told.worst_psi, told.newest_row, told.newest_label, told.recall, told.seconds)
    assert unknown == (None,) * 6


def test_the_label_rate_is_that_of_matured_rows_else_that_of_the_rows_to_learn_from() -> None:
    rate = Check(name="label_rate", status=OK, value=0.3)
    first = replace(record(1), data_checks=(rate,), evidence=Evidence(as_of=START, champion=None))
    assert brief(first).label_rate == 0.3
    recall = Estimate(value=0.9, low=0.8, high=1.0, n=50, positives=10)
    assert brief(replace(first, evidence=Evidence(as_of=START, champion="c", recall=recall))).label_rate == 0.2


def test_judged_again_no_champion_is_told_to_have_done_what_another_did() -> None:
    seen = Estimate(value=0.9, low=0.8, high=0.95, n=50, positives=10)
    looked = replace(
        judged(Outcome.PASS), champion="c", evidence=Evidence(as_of=START, champion="c", recall=seen, roc_auc=seen)
    )
    assert (brief(looked).recall, brief(looked).roc_auc) == (seen, seen)
    again = brief(replace(looked, champion="d"))
    assert (again.champion, again.recall, again.roc_auc) == ("d", None, None)


def test_the_time_in_which_a_person_was_waited_for_is_not_run_time() -> None:
    begun = record(1, RunStatus.DEPLOYED)
    approval = Approval(
        asked_at=begun.started_at + timedelta(seconds=40),
        until=begun.started_at + timedelta(days=2),
        champion=None,
        approved=True,
        at=begun.started_at + timedelta(days=1),
    )
    ended = replace(begun, approval=approval, finished_at=begun.started_at + timedelta(days=1, seconds=5))
    assert brief(ended).seconds == 45
    unanswered = replace(approval, approved=None, at=None)
    assert brief(replace(ended, approval=unanswered)).seconds == 40

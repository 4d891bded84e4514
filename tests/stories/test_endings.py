"""One story for every way that a run can end."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import START, Project, world
from rehone import api, load, run_pipeline
from rehone.errors import NotFound, StoreError
from rehone.records import CheckStatus, DeploymentAction, Event, EventKind, Outcome, RunRecord, RunStatus, TriggerKind
from rehone.runlog import RunLog
from rehone.store import Store


def store(project: Project) -> Store:
    return Store(project.root / "store")


def names(record: RunRecord) -> list[str]:
    return [stage.name for stage in record.stages]


def on_disk(project: Project, record: RunRecord) -> RunRecord:
    return RunLog(project.root / "runs").find(record.run_id)


ALL = ["look", "decide", "validate", "train", "judge", "publish", "deploy"]


def test_the_first_run_deploys_a_first_version(project: Project) -> None:
    """Without a champion a challenger that meets the minimums goes live, and the record says it all."""
    project.feed(0, 70)
    record = project.run(70)
    assert record.status is RunStatus.DEPLOYED
    assert record.trigger is not None
    assert record.trigger.kind is TriggerKind.BOOTSTRAP
    assert names(record) == ALL
    assert all(stage.sentence for stage in record.stages)
    assert on_disk(project, record) == record
    head = store(project).head()
    assert head is not None
    assert head.version == record.version
    assert record.data is not None
    assert len(record.data.files) == 60
    assert [c.winner for c in record.candidates] == [True]


def test_a_first_challenger_below_the_minimums_is_rejected(project: Project) -> None:
    """No champion is not a free pass: the minimums hold, and nothing goes live."""
    project.configure(gate={"min_roc_auc": 0.99})
    project.feed(0, 70)
    record = project.run(70)
    assert record.status is RunStatus.REJECTED
    assert "0.99" in record.sentence
    assert store(project).head() is None


def test_a_quiet_day_is_skipped(live: Project) -> None:
    """Nothing drifted, nothing got worse, nothing is old: the run says so and trains nothing."""
    live.feed(70, 85)
    record = live.run(85)
    assert record.status is RunStatus.SKIPPED
    assert names(record) == ["look", "decide"]
    assert record.candidates == ()


def test_drift_leads_to_a_judged_challenger(live: Project) -> None:
    """A moved feature fires drift before anything else, and names the feature."""
    live.feed(70, 100, shift=1.5)
    record = live.run(100)
    assert record.trigger is not None
    assert record.trigger.kind is TriggerKind.DRIFT
    assert "velocity" in record.trigger.reason
    assert record.verdict is not None
    assert record.status in (RunStatus.DEPLOYED, RunStatus.REJECTED, RunStatus.INCONCLUSIVE)


def test_a_changed_concept_fires_performance_and_the_better_model_goes_live(live: Project) -> None:
    """No feature moves, recall falls, the challenger that learned the new world wins the same rows."""
    live.configure(train={"windows": ["trailing"]}, data={"lookback_days": 25})
    live.feed(70, 100, turn=1.0)
    before = load(live.root).version
    record = live.run(100)
    assert record.trigger is not None
    assert record.trigger.kind is TriggerKind.PERFORMANCE
    assert record.status is RunStatus.DEPLOYED, record.sentence
    assert record.verdict is not None
    assert record.verdict.champion is not None
    assert record.verdict.challenger is not None
    assert record.verdict.challenger.roc_auc > record.verdict.champion.roc_auc + 0.2  # type: ignore[operator]
    assert load(live.root).version == record.version != before


def test_an_old_champion_is_challenged(live: Project) -> None:
    """Age is the failsafe: 41 days are beyond 40, though nothing else is wrong."""
    live.feed(70, 111)
    record = live.run(111)
    assert record.trigger is not None
    assert record.trigger.kind is TriggerKind.AGE
    assert record.verdict is not None


def test_force_trains_without_a_trigger_but_not_without_the_gate(live: Project) -> None:
    """A forced run is judged like any other."""
    live.feed(70, 100)
    live.configure(gate={"min_roc_auc": 0.99})
    record = live.run(100, force=True)
    assert record.trigger is not None
    assert record.trigger.kind is TriggerKind.FORCED
    assert record.status is RunStatus.REJECTED


def test_a_worse_challenger_is_rejected_and_production_stays(live: Project) -> None:
    """A challenger that learned shuffled labels loses on the holdout that both have not seen."""
    live.feed(70, 118)
    before = load(live.root).version
    for n in range(106):
        path = live.root / "data" / f"{START + timedelta(days=n)}.parquet"
        day = pl.read_parquet(path)
        rng = np.random.default_rng(n)
        day.with_columns(pl.Series("label", rng.permutation(day["label"].to_numpy()))).write_parquet(path)
    record = live.run(118, force=True)
    assert record.status is RunStatus.REJECTED, record.sentence
    assert record.verdict is not None
    assert record.verdict.outcome is Outcome.FAIL
    assert load(live.root).version == before


def test_a_comparison_without_enough_legal_rows_is_inconclusive(live: Project) -> None:
    """A day after a deployment, the champion has seen nearly all of the holdout."""
    live.feed(70, 72)
    live.configure(train={"holdout": 0.1}, data={"lookback_days": 60}, gate={"min_rows": 2000})
    record = live.run(72, force=True)
    assert record.status is RunStatus.INCONCLUSIVE, record.sentence
    assert record.verdict is not None
    assert record.verdict.lacks_rows


@contextmanager
def health(answer: dict[str, Any]) -> Iterator[str]:
    """Serve one JSON answer for ever on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_service_that_answers_for_the_old_model_means_rollback(live: Project) -> None:
    """`model_loaded: true` from the OLD version is not success: the old version is put back."""
    live.feed(70, 118)
    before = load(live.root).version
    with health({"model_loaded": True, "version": before}) as url:
        live.configure(deploy={"health_url": url, "trial_seconds": 1.0}, gate={"margin_cost": 0.5})
        record = live.run(118, force=True)
    assert record.status is RunStatus.ROLLED_BACK, record.sentence
    assert load(live.root).version == before
    last = store(live).log()[-1]
    assert last.action is DeploymentAction.ROLLBACK


def test_a_first_deployment_that_fails_leaves_nothing_live(project: Project) -> None:
    """There is no earlier version to go back to: the log says that nothing is to be served."""
    project.feed(0, 70)
    with health({"model_loaded": False, "version": None}) as url:
        project.configure(deploy={"health_url": url, "trial_seconds": 1.0})
        record = project.run(70)
    assert record.status is RunStatus.ROLLED_BACK
    head = store(project).head()
    assert head is not None
    assert head.version is None


def test_a_required_service_that_is_not_there_fails_before_anything_goes_live(project: Project) -> None:
    """`service = "required"` without any live replica never counts as a success."""
    project.configure(deploy={"service": "required", "trial_seconds": 1.0})
    project.feed(0, 70)
    record = project.run(70)
    assert record.status is RunStatus.FAILED
    assert "required" in record.sentence
    assert store(project).head() is None


def test_too_few_rows_fail_with_value_limit_and_remedy(project: Project) -> None:
    """Bad data end the run before anything is trained, with every finding in the sentence."""
    project.feed(65, 70)
    record = project.run(70)
    assert record.status is RunStatus.FAILED
    assert names(record) == ["look", "decide", "validate"]
    assert "300 rows" in record.sentence
    assert "500" in record.sentence


def test_an_empty_folder_fails_with_the_folder_named(project: Project) -> None:
    """No file at all is said with the glob that found none."""
    record = project.run(70)
    assert record.status is RunStatus.FAILED
    assert "data/*.parquet" in record.sentence


def test_a_broken_feed_blocks_even_a_forced_run(live: Project) -> None:
    """A feature that is suddenly all null is an incident: retraining on it is worse than waiting."""
    live.feed(70, 85)
    for n in range(71, 85):
        path = live.root / "data" / f"{START + timedelta(days=n)}.parquet"
        pl.read_parquet(path).with_columns(pl.lit(None, pl.Float64).alias("amount")).write_parquet(path)
    record = live.run(85, force=True)
    assert record.status is RunStatus.FAILED
    assert "incident" in record.sentence
    assert "amount" in record.sentence
    assert record.candidates == ()


def test_an_unreadable_champion_fails_closed(live: Project) -> None:
    """A champion that the log names but whose bytes changed is never taken for a first deployment."""
    head = store(live).head()
    assert head is not None
    model = live.root / "store" / "versions" / str(head.version) / "model.skops"
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    live.feed(70, 100)
    record = live.run(100, force=True)
    assert record.status is RunStatus.FAILED
    assert "cannot be read" in record.sentence
    assert store(live).head() == head


def test_a_store_that_is_gone_is_never_taken_for_a_first_deployment(live: Project) -> None:
    """The disk is not mounted: the run log remembers a deployment, so neither run nor check begins anew."""
    (live.root / "store").rename(live.root / "unmounted")
    live.feed(70, 72)
    record = live.run(72)
    assert record.status is RunStatus.FAILED
    assert "there is no deployment log in" in record.sentence
    assert not (live.root / "store").exists()
    with pytest.raises(NotFound, match="mount or restore the store"):
        api.check(live.root, as_of=START + timedelta(days=72))


def test_names_that_no_column_has_are_said_before_a_run_learns_from_a_leak(live: Project) -> None:
    """A misspelt name in `exclude` stops check and run; a name like no column only warns."""
    live.configure(data={"exclude": ["chanel"]})
    preview = api.check(live.root, as_of=START + timedelta(days=70))
    assert "data.exclude names 'chanel', which is in no file: did you mean 'channel'?" in preview.sentence
    assert live.run(70).status is RunStatus.FAILED
    live.configure(data={"exclude": ["gone_upstream"]})
    preview = api.check(live.root, as_of=START + timedelta(days=70))
    (found,) = [c for c in preview.data_checks if c.name == "unknown_column"]
    assert found.status is CheckStatus.WARN


def test_no_candidate_that_can_be_fitted_fails(project: Project) -> None:
    """When every candidate fails, the sentence says which and why."""
    project.configure(
        train={"candidates": [{"class": "sklearn.linear_model.LogisticRegression", "params": {"C": -1.0}}]}
    )
    project.feed(0, 70)
    record = project.run(70)
    assert record.status is RunStatus.FAILED
    assert "LogisticRegression" in record.sentence


def test_a_bug_is_recorded_with_its_traceback(live: Project) -> None:
    """An exception that nobody planned ends the run as failed, on disk, and leaves production alone."""
    head = store(live).head()
    live.feed(70, 100)
    live.configure(train={"candidates": [{"class": "fickle.Fickle"}]}, deploy={"trusted_types": ["fickle.Fickle"]})
    record = live.run(100, force=True)
    assert record.status is RunStatus.FAILED
    assert record.problem is not None
    assert record.problem.type == "ZeroDivisionError"
    assert "fickle.py" in (record.problem.traceback or "")
    assert record.winner is not None
    assert on_disk(live, record) == record
    assert store(live).head() == head


def test_a_listener_that_fails_changes_nothing(project: Project) -> None:
    """A terminal that is gone in the middle of a run does not end it."""

    def gone(event: Event) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    project.feed(0, 70)
    record = run_pipeline(project.root, as_of=START + timedelta(days=70), listen=gone)
    assert record.status is RunStatus.DEPLOYED


def test_a_deployment_whose_ledger_line_cannot_be_written_stays_a_deployment(project: Project) -> None:
    """The ledger cannot be written at the very end: the run says so, its record keeps the true ending."""
    ledger = project.root / "runs" / "ledger.jsonl"

    def spoil(event: Event) -> None:
        if event.stage == "deploy" and event.kind is EventKind.FINISHED:
            ledger.mkdir()

    project.feed(0, 70)
    with pytest.raises(StoreError, match="rehone status"):
        run_pipeline(project.root, as_of=START + timedelta(days=70), listen=spoil)
    ledger.rmdir()
    last = RunLog(project.root / "runs").last()
    assert last is not None
    assert last.status is RunStatus.DEPLOYED
    assert load(project.root).version == last.version


def test_an_interrupt_is_recorded_and_goes_on_up(live: Project) -> None:
    """Ctrl-C in the middle of a run is recorded, and still ends the program."""

    def interrupt(event: Event) -> None:
        if event.stage == "judge":
            raise KeyboardInterrupt

    live.feed(70, 100)
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(live.root, as_of=START + timedelta(days=100), force=True, listen=interrupt)
    last = RunLog(live.root / "runs").last()
    assert last is not None
    assert last.status is RunStatus.FAILED
    assert last.problem is not None
    assert last.problem.type == "KeyboardInterrupt"
    assert last.sentence.startswith("interrupted (KeyboardInterrupt)")


def test_a_clock_that_was_set_back_fails(live: Project) -> None:
    """A day before the champion was made is refused, with both days and what to do."""
    record = live.run(69)
    assert record.status is RunStatus.FAILED
    assert "2026-03-11" in record.sentence
    assert "2026-03-12" in record.sentence
    assert "clock" in record.sentence


def test_a_second_run_at_the_same_time_is_skipped(live: Project) -> None:
    """The run lock is held by somebody: the second run says by whom, and is recorded."""
    with store(live).lock("the first run"):
        record = live.run(72)
    assert record.status is RunStatus.SKIPPED
    assert "the first run" in record.sentence
    assert on_disk(live, record) == record


def test_a_stale_feed_is_said_every_day(live: Project) -> None:
    """Nothing new for 11 days: with no rows to look at, a run may not end as if all were well."""
    live.feed(70, 74)
    record = live.run(85)
    assert record.status is RunStatus.FAILED
    assert "5" in record.sentence
    assert "stale" in record.sentence


@pytest.mark.soak
def test_the_same_data_config_and_seed_give_the_same_model(tmp_path: Path) -> None:
    """Two projects with the same files make models that score every row alike, bit for bit."""
    scores = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        twin = Project(tmp_path / name)
        twin.configure(train={"candidates": ["lightgbm", "hist_gradient_boosting"]})
        twin.feed(0, 70)
        assert twin.run(70).status is RunStatus.DEPLOYED
        scores.append(load(twin.root).predict_proba(world(date(2026, 5, 1), rows=500)))
    assert np.array_equal(scores[0], scores[1])


def test_check_says_what_run_would_do_and_changes_nothing(live: Project) -> None:
    """`check` names drift, and neither store nor runs are touched."""
    live.feed(70, 100, shift=1.5)
    before = {p: p.stat().st_mtime_ns for part in ("store", "runs") for p in (live.root / part).rglob("*")}
    preview = api.check(live.root, as_of=START + timedelta(days=100))
    assert preview.would_train
    assert "velocity" in preview.sentence
    after = {p: p.stat().st_mtime_ns for part in ("store", "runs") for p in (live.root / part).rglob("*")}
    assert after == before


def test_check_of_an_earlier_day_looks_at_the_champion_of_that_day(live: Project) -> None:
    """Before the first deployment there was no champion, so `check` would make a first version."""
    preview = api.check(live.root, as_of=START + timedelta(days=60))
    assert preview.champion is None
    assert preview.trigger is not None
    assert preview.trigger.kind is TriggerKind.BOOTSTRAP


def test_rollback_works_without_data_and_code(live: Project) -> None:
    """The folder of data is gone: an earlier version is still put back."""
    first = load(live.root).version
    live.configure(gate={"margin_cost": 0.5})
    live.feed(70, 118)
    assert live.run(118, force=True).status is RunStatus.DEPLOYED
    assert load(live.root).version != first
    for path in (live.root / "data").iterdir():
        path.unlink()
    deployment = api.rollback(live.root, because="bad night")
    assert deployment.version == first == load(live.root).version
    assert deployment.reason == "bad night"


def test_the_record_names_the_run_that_made_a_version(live: Project) -> None:
    """A version leads back to its run, and the run to its version."""
    record = api.history(live.root)[0]
    shown = api.show(live.root, str(record.version)[:10])
    assert getattr(shown, "manifest").run_id == record.run_id  # noqa: B009


def test_unknown_is_said_never_passed(live: Project) -> None:
    """With no row newer than the training data, recall is unknown and the check says so."""
    preview = api.check(live.root, as_of=datetime(2026, 3, 12, 12, tzinfo=UTC))
    assert preview.trigger is not None
    recall = [c for c in preview.trigger.checks if c.name == "recall"]
    assert [c.status for c in recall] == [CheckStatus.UNKNOWN] or recall[0].n is not None

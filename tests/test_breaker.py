"""The breaker: challengers lost in a row stop retraining until a person says that it may go on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conftest import Project
from rehone import api, health
from rehone.backtest.policies import policies
from rehone.cli.endings import main
from rehone.config import Config, Trigger, load_config, parse_config
from rehone.errors import RehoneError
from rehone.pipeline.evidence import attempts
from rehone.records import (
    Attempts,
    BreakerReset,
    CheckStatus,
    Evidence,
    RunStatus,
    TriggerDecision,
    TriggerKind,
)
from rehone.runlog import Line, RunLog
from rehone.runlog.resets import keep_reset, last_reset
from rehone.trigger import decide

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REMEDY = "find out why, then `rehone breaker --reset --because TEXT`"


def line(day: int, status: RunStatus, *, trained: bool = True, trigger: TriggerKind = TriggerKind.AGE) -> Line:
    moment = NOW + timedelta(days=day)
    return Line(
        run_id=f"run-{day}",
        path="",
        status=status,
        trigger=trigger,
        as_of=moment,
        started_at=moment,
        trained=trained,
        holdout=None,
        sha256="",
        chain="",
    )


def reset(day: float) -> BreakerReset:
    return BreakerReset(at=NOW + timedelta(days=day), by="ann", because="the feed was late")


LOST = (RunStatus.REJECTED, RunStatus.INCONCLUSIVE, RunStatus.ROLLED_BACK)


# --- counting -------------------------------------------------------------------------------------


def test_a_rejected_an_inconclusive_and_a_rolled_back_challenger_are_lost() -> None:
    lines = [line(0, RunStatus.DEPLOYED), *(line(n + 1, status) for n, status in enumerate(LOST))]
    found = health.breaker(lines, None, 3)
    assert found.stopped
    assert (found.lost, found.limit, found.runs) == (3, 3, ("run-1", "run-2", "run-3"))


def test_one_fewer_than_the_limit_does_not_stop_it() -> None:
    lines = [line(n, RunStatus.REJECTED) for n in range(2)]
    assert not health.breaker(lines, None, 3).stopped


def test_a_deployment_starts_the_count_anew() -> None:
    lines = [line(0, RunStatus.REJECTED), line(1, RunStatus.DEPLOYED), line(2, RunStatus.REJECTED)]
    assert health.breaker(lines, None, 3).runs == ("run-2",)


def test_runs_that_skipped_or_failed_neither_count_nor_start_the_count_anew() -> None:
    lines = [
        line(0, RunStatus.REJECTED),
        line(1, RunStatus.SKIPPED, trained=False),
        line(2, RunStatus.FAILED),
        line(3, RunStatus.INCONCLUSIVE, trained=False),
        line(4, RunStatus.REJECTED),
    ]
    assert health.breaker(lines, None, 3).runs == ("run-0", "run-4")


def test_while_there_is_no_champion_nothing_is_lost() -> None:
    lines = [line(n, RunStatus.REJECTED, trigger=TriggerKind.BOOTSTRAP) for n in range(5)]
    assert health.breaker(lines, None, 3).lost == 0


def test_only_runs_that_began_after_a_reset_count() -> None:
    lines = [line(n, RunStatus.REJECTED) for n in range(4)]
    found = health.breaker(lines, reset(2), 3)
    assert found.runs == ("run-3",)
    assert found.reset == reset(2)


def test_a_reset_is_not_told_any_more_once_a_version_has_gone_live_after_it() -> None:
    lines = [line(0, RunStatus.REJECTED), line(2, RunStatus.DEPLOYED)]
    assert health.breaker(lines, reset(1), 3).reset is None


def test_without_a_limit_it_never_stops() -> None:
    found = health.breaker([line(n, RunStatus.REJECTED) for n in range(9)], None, None)
    assert (found.stopped, found.lost, found.limit) == (False, 9, None)


def test_evidence_counts_what_is_lost_up_to_the_day_of_a_run() -> None:
    lines = tuple(line(n, RunStatus.ROLLED_BACK) for n in range(3))
    assert attempts(lines, NOW + timedelta(days=1)).lost_in_a_row == 2
    assert attempts(lines, NOW + timedelta(days=9), reset(0)).lost_in_a_row == 2


# --- deciding -------------------------------------------------------------------------------------


def old(lost: int, **changes: object) -> Evidence:
    known = Evidence(
        as_of=NOW,
        champion="c" * 64,
        champion_as_of=NOW - timedelta(days=99),
        attempts=Attempts(last_trained=NOW - timedelta(days=50), lost_in_a_row=lost),
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def test_below_the_limit_age_acts() -> None:
    decision = decide(old(2), Trigger())
    assert decision.kind is TriggerKind.AGE
    check = next(c for c in decision.checks if c.name == "breaker")
    assert (check.status, check.value, check.limit) == (CheckStatus.OK, 2, 3)


def test_at_the_limit_nothing_is_trained_and_the_sentence_says_what_to_do() -> None:
    decision = decide(old(3), Trigger())
    assert decision.kind is None
    assert decision.reason == (
        "not now: retraining has stopped, 3 challengers in a row were lost (rejected, inconclusive or rolled back) and "
        f"the limit is 3: {REMEDY}. It would have been: the champion is 99 days old, beyond the limit of 30"
    )
    assert decision.flip == "would have trained had there been 2 challengers lost in a row instead of 3"


def test_a_person_may_still_ask_for_a_challenger() -> None:
    assert decide(old(3, forced=True), Trigger()).kind is TriggerKind.FORCED


def test_a_project_without_a_champion_still_makes_its_first() -> None:
    assert decide(old(3, champion=None, champion_as_of=None), Trigger()).kind is TriggerKind.BOOTSTRAP


def test_switched_off_it_is_not_even_a_check() -> None:
    decision = decide(old(50), Trigger(max_lost_in_a_row=None))
    assert decision.kind is TriggerKind.AGE
    assert "breaker" not in {check.name for check in decision.checks}


def test_a_replayed_history_has_no_breaker_for_nobody_is_there_to_reset_it() -> None:
    config = Config()
    followed = [policy.config(config).trigger.max_lost_in_a_row for policy in policies(config, every=7)]
    assert followed == [None] * len(followed)


# --- resets ---------------------------------------------------------------------------------------


def config_at(folder: Path) -> Config:
    return parse_config("", root=folder)


def test_each_reset_is_a_file_of_its_own_and_the_newest_counts(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    assert last_reset(config) is None
    for day in (3, 1, 2):
        keep_reset(config, reset(day))
    assert len(list((tmp_path / "runs" / "breaker").glob("*.json"))) == 3
    assert last_reset(config) == reset(3)


def test_a_reset_that_was_damaged_counts_for_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = config_at(tmp_path)
    keep_reset(config, reset(1))
    keep_reset(config, reset(2))
    newest = max((tmp_path / "runs" / "breaker").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:20])
    assert last_reset(config) == reset(1)
    assert [r.message for r in caplog.records] == ["a reset of the breaker cannot be read"]


def test_a_reset_needs_a_reason(tmp_path: Path) -> None:
    with pytest.raises(RehoneError) as refused:
        api.reset_breaker(config_at(tmp_path), because="  ")
    assert str(refused.value) == (
        "say what was found, as in `rehone breaker --reset --because TEXT`: it is kept beside the runs"
    )


# --- living with it -------------------------------------------------------------------------------


QUICK_TO_AGE = {"max_age_days": 1, "cooldown_days": 0, "backoff_factor": 1, "max_lost_in_a_row": 2}


@pytest.fixture
def stopped(live: Project) -> Project:
    """Return a project whose champion is too old and of which two challengers were lost, which is its limit."""
    live.configure(trigger=QUICK_TO_AGE)
    live.feed(70, 75)
    runlog = RunLog.of(load_config(live.root))
    first = runlog.records()[0]
    for day in (2, 3):
        lost = replace(
            first,
            run_id=f"2026112{day}T000000000000Z-lost{day}",
            as_of=first.as_of + timedelta(days=day),
            started_at=first.started_at + timedelta(seconds=day),
            status=RunStatus.REJECTED,
            trigger=TriggerDecision(kind=TriggerKind.AGE, reason="too old"),
        )
        runlog.begin(replace(lost, status=None))
        runlog.finish(lost)
    return live


def test_a_run_skips_when_it_has_stopped_and_says_how_it_goes_on(stopped: Project) -> None:
    record = stopped.run(74)
    assert record.status is RunStatus.SKIPPED
    assert f"the limit is 2: {REMEDY}. It would have been: the champion is 4 days old" in record.sentence
    assert record.evidence is not None
    assert record.evidence.recall is not None, "what is live is watched all the same"
    replayed = api.replay(stopped.root, record.run_id)
    assert [c.sentence for c in replayed.checks if c.status is not CheckStatus.OK] == []


def test_a_record_from_before_there_was_a_breaker_is_replayed_without_it(stopped: Project) -> None:
    runlog = RunLog.of(load_config(stopped.root))
    newer = stopped.run(74)
    assert newer.evidence is not None
    keys = {key: item for key, item in newer.config["trigger"].items() if key != "max_lost_in_a_row"}
    policy = Trigger(**keys, max_lost_in_a_row=None)
    older = replace(
        newer,
        run_id="20261124T000000000000Z-older",
        config={**newer.config, "trigger": keys},
        trigger=decide(newer.evidence, policy),
    )
    runlog.begin(replace(older, status=None))
    runlog.finish(older)
    found = {c.name: c.status for c in api.replay(stopped.root, older.run_id).checks}
    assert found["trigger"] is CheckStatus.OK


def test_after_a_reset_a_run_would_train_again(stopped: Project) -> None:
    assert not api.check(stopped.root, as_of="2026-03-16").would_train
    found = api.reset_breaker(stopped.root, because="the limit of the gate was a typing error", by="ann")
    assert (found.stopped, found.lost) == (False, 0)
    assert api.check(stopped.root, as_of="2026-03-16").would_train


def test_status_and_doctor_say_that_it_has_stopped(stopped: Project) -> None:
    said = (
        "retraining has stopped: 2 challengers lost in a row, the limit is 2: look at why with "
        "`rehone show 20261123T000000000000Z-lost3`, then `rehone breaker --reset --because TEXT`"
    )
    assert [c.sentence for c in api.status(stopped.root).problems if c.name == "breaker"] == [said]
    assert [c.sentence for c in api.doctor(stopped.root) if c.name == "breaker"] == [said]
    api.reset_breaker(stopped.root, because="seen", by="ann")
    assert [c.sentence for c in api.status(stopped.root).problems if c.name == "breaker"] == []
    assert [c.sentence for c in api.doctor(stopped.root) if c.name == "breaker"] == []


def test_the_command_ends_with_2_while_it_has_stopped_and_with_0_after_a_reset(
    stopped: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["-p", str(stopped.root)]
    assert main(["breaker", *at]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "has stopped: 2 challengers lost in a row (rejected, inconclusive or rolled back), the limit is 2" in said
    assert main(["breaker", *at, "--because", "x"]) == 2
    assert main(["breaker", *at, "--reset"]) == 2
    capsys.readouterr()
    assert main(["breaker", *at, "--reset", "--because", "found it", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stopped"], found["reset"]["because"]) == (False, "found it")
    assert main(["breaker", *at]) == 0

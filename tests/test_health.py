"""The pipeline's own health: each check at its limit and just beyond it, and what is said of a real history."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import Project
from rehone import api, health
from rehone.cli.endings import main
from rehone.config import parse_config
from rehone.records import (
    Approval,
    BreakerReset,
    Check,
    CheckStatus,
    Health,
    Metrics,
    Outcome,
    RunStatus,
    RunSummary,
    TriggerKind,
)
from rehone.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OK, WARN, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT, CheckStatus.UNKNOWN
DEPLOYED, SKIPPED, REJECTED = RunStatus.DEPLOYED, RunStatus.SKIPPED, RunStatus.REJECTED


def run(days_ago: float, status: RunStatus | None = SKIPPED, *, seconds: float = 60, **facts: Any) -> RunSummary:
    day = NOW - timedelta(days=days_ago)
    ended = None if status is None else day + timedelta(seconds=seconds)
    known = {"trigger": TriggerKind.AGE, **facts}
    return RunSummary(run_id=f"run-{days_ago:g}", as_of=day, started_at=day, finished_at=ended, status=status, **known)


def lived(days_ago: float, roc_auc: float = 0.9, **facts: Any) -> RunSummary:
    """Return a run whose challenger went live."""
    metrics = Metrics(n=100, positives=30, roc_auc=roc_auc)
    return run(days_ago, DEPLOYED, trained=True, outcome=Outcome.PASS, challenger=metrics, **facts)


def lost(days_ago: float, status: RunStatus = REJECTED, outcome: Outcome = Outcome.FAIL, **facts: Any) -> RunSummary:
    return run(days_ago, status, trained=True, outcome=outcome, **facts)


def looked(days_ago: float, *, acts: bool = False, **facts: Any) -> RunSummary:
    return run(days_ago, worst_psi=0.1, worst_feature="amount", drift_acts=acts, **facts)


def of(*runs: RunSummary, keys: str = "", reset: BreakerReset | None = None) -> Health:
    return health.of(runs, parse_config(keys), NOW, reset)


def check(found: Health, name: str, subject: str | None = None) -> Check:
    (one,) = [c for c in found.checks if c.name == name and c.subject == subject]
    return one


# --- refused challengers --------------------------------------------------------------------------


def test_one_refused_of_five_is_within_the_limit_of_a_fifth() -> None:
    found = of(*(lived(n) for n in range(9, 5, -1)), lost(1))
    assert (found.judged, found.refused, found.gate_failure_share) == (5, 1, 0.2)
    assert check(found, "gate_failures").status is OK


def test_where_the_gate_let_all_pass_it_says_so_and_counts_no_zero() -> None:
    assert check(of(lived(2), lived(1)), "gate_failures").sentence == (
        "the gate let all of the newest 2 challengers pass; up to 20 % refused are expected"
    )


def test_what_is_within_its_limit_says_the_limit_as_one() -> None:
    found = of(*(lived(n, 0.9, seconds=60.0) for n in range(4, 0, -1)))
    assert check(found, "declines").detail == (
        "0 retrains in a row went live with a smaller ROC-AUC than the one before, the limit is 3"
    )
    assert check(found, "run_time").detail == (
        "the newest run that trained took 60 s, the median of those before is 60 s, the limit is 3 times that"
    )


def test_one_day_that_was_looked_at_is_one() -> None:
    assert ", in 1 day that was looked at, while " in check(of(looked(1)), "false_alarms").detail


def test_two_refused_of_five_need_a_person() -> None:
    found = check(of(*(lived(n) for n in range(9, 6, -1)), lost(2), lost(1)), "gate_failures")
    assert (found.status, found.value, found.limit, found.n) == (ACT, 0.4, 0.2, 5)
    assert found.sentence == (
        "the gate did not let 2 of the newest 5 challengers pass (40 %), at most 20 % is expected: `rehone history` names "
        "the reasons: more labelled rows, better features or candidates, other limits in [gate]"
    )


def test_a_share_of_four_challengers_is_told_and_no_more() -> None:
    found = check(of(lived(4), lived(3), lost(2), lost(1)), "gate_failures")
    assert found.status is WARN
    assert found.detail.endswith("; fewer than 5 are few to go by")


def test_an_inconclusive_and_an_illegal_comparison_count_as_refused() -> None:
    inconclusive = lost(2, RunStatus.INCONCLUSIVE, Outcome.INCONCLUSIVE)
    assert of(lived(3), inconclusive, lost(1, RunStatus.FAILED, Outcome.INVALID)).refused == 2


def test_a_challenger_that_passed_and_was_rolled_back_is_no_failure_of_the_gate() -> None:
    assert of(lost(1, RunStatus.ROLLED_BACK, Outcome.PASS)).refused == 0


def test_only_the_newest_judged_challengers_count() -> None:
    found = of(
        *(lost(n) for n in range(30, 10, -1)), *(lived(n) for n in range(9, 6, -1)), keys="[health]\nlast_runs = 3"
    )
    assert (found.judged, found.refused) == (3, 0)


def test_before_the_first_verdict_the_share_is_not_known() -> None:
    found = of(run(1))
    assert found.gate_failure_share is None
    assert check(found, "gate_failures").status is UNKNOWN


def test_switched_off_refusals_and_declines_are_no_checks() -> None:
    names = {c.name for c in of(keys='[health]\nmax_gate_failure_share = "off"\ndeclines = "off"').checks}
    assert not names & {"gate_failures", "declines"}


# --- declines -------------------------------------------------------------------------------------


def test_three_declines_in_a_row_need_a_person_and_two_do_not() -> None:
    falling = [lived(5, 0.95), lived(4, 0.93), lived(3, 0.92)]
    assert of(*falling).declines == 2
    assert check(of(*falling), "declines").status is OK
    found = check(of(*falling, lived(2, 0.90)), "declines")
    assert (found.status, found.value, found.limit) == (ACT, 3, 3)
    assert found.detail == (
        "3 retrains in a row went live with a smaller ROC-AUC than the one before, the limit is 3: 0.9500, 0.9300, 0.9200, "
        "0.9000"
    )


def test_one_that_rises_ends_a_row_of_declines() -> None:
    assert of(lived(5, 0.9), lived(4, 0.8), lived(3, 0.7), lived(2, 0.71)).declines == 0
    assert of(lived(5, 0.9), lived(4, 0.8), lived(3, 0.9), lived(2, 0.89)).declines == 1


def test_a_challenger_that_did_not_go_live_is_not_in_the_row() -> None:
    metrics = Metrics(n=9, positives=3, roc_auc=0.1)
    assert of(lived(3, 0.9), lost(2, challenger=metrics), lived(1, 0.95)).declines == 0


# --- alarms ---------------------------------------------------------------------------------------


def test_alarms_of_windows_that_share_rows_are_one() -> None:
    """Windows of 30 days that begin 29 days apart have a day in common; 30 days apart they have none."""
    near = of(*(looked(n, acts=n in (60, 59, 31)) for n in range(60, 0, -1)))
    assert (near.alarms, near.days) == (1, 60)
    assert near.alarms_accepted == pytest.approx(60 / 365)
    assert of(*(looked(n, acts=n in (60, 30)) for n in range(60, 0, -1))).alarms == 2


def test_alarms_beyond_chance_are_said() -> None:
    quiet = [looked(n, acts=n in (100, 50)) for n in range(365, 0, -1)]
    assert check(of(*quiet), "false_alarms").status is OK, "two where one is accepted are chance"
    loud = [looked(n, acts=n % 60 == 1) for n in range(364, -1, -1)]
    found = check(of(*loud), "false_alarms")
    assert (found.status, found.value, found.n) == (WARN, 7, 365)
    assert found.detail == (
        "7 drift alarms that no better challenger proved right, in 365 days that were looked at, while 1 by chance is accepted "
        "(trigger.false_alarms_per_year is 1)"
    )


def test_an_alarm_that_brought_a_better_challenger_was_right() -> None:
    quiet = [looked(n, acts=n == 100) for n in range(200, 50, -1)]
    better = looked(40, acts=True, difference=(0.03, 0.01, 0.05))
    perhaps = looked(5, acts=True, difference=(0.03, 0.0, 0.06))
    assert of(*quiet, better, perhaps).alarms == 2


def test_a_single_alarm_is_never_too_many() -> None:
    assert check(of(looked(2), looked(1, acts=True)), "false_alarms").status is OK


def test_two_runs_of_a_day_are_one_look() -> None:
    assert of(looked(1.2), looked(1.1, acts=True)).days == 1


def test_without_a_measured_drift_alarms_are_not_known() -> None:
    assert check(of(run(1)), "false_alarms").status is UNKNOWN


# --- age ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "status"), [(3, OK), (3.01, ACT)])
def test_rows_are_stale_beyond_data_stale_after_days(days: float, status: CheckStatus) -> None:
    found = of(run(1, newest_row=NOW - timedelta(days=days)), keys="[data]\nstale_after_days = 3")
    assert check(found, "stale", "rows").status is status
    assert found.newest_row_age_days == pytest.approx(days)


@pytest.mark.parametrize(("days", "status"), [(33, OK), (33.01, ACT)])
def test_labels_are_stale_beyond_their_delay_and_stale_after_days(days: float, status: CheckStatus) -> None:
    keys = "[data]\nstale_after_days = 3\nlabel_delay_days = 30"
    found = of(run(1, newest_label=NOW - timedelta(days=days)), keys=keys)
    assert check(found, "stale", "labels").status is status


def test_very_old_rows_are_told_in_whole_days() -> None:
    found = of(run(1, newest_row=NOW - timedelta(days=5105.7)), keys="[data]\nstale_after_days = 3")
    assert check(found, "stale", "rows").detail == (
        "the newest row that a run has seen is 5,106 days old, at most 3 days is allowed"
    )


def test_labels_that_stopped_grow_old_though_later_runs_see_none() -> None:
    found = of(run(40, newest_label=NOW - timedelta(days=41)), run(1))
    assert found.newest_label_age_days == 41


def test_labels_that_are_due_row_by_row_have_no_limit() -> None:
    found = check(
        of(run(1, newest_label=NOW - timedelta(days=99)), keys='[data]\nlabel_due_column = "due"'), "stale", "labels"
    )
    assert (found.status, found.limit) == (OK, None)


def test_how_old_things_are_is_not_known_before_a_run_has_looked() -> None:
    assert [c.status for c in of().checks if c.name == "stale"] == [UNKNOWN] * 2


# --- run time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "status"), [(180, OK), (181, WARN)])
def test_a_run_is_slow_beyond_three_times_the_median(seconds: float, status: CheckStatus) -> None:
    runs = [lived(9, seconds=50), lived(8, seconds=60), lived(7, seconds=70), lived(1, seconds=seconds)]
    assert check(of(*runs), "run_time").status is status


def test_two_earlier_runs_are_too_few_to_call_one_slow() -> None:
    found = check(of(lived(9), lived(8), lived(1, seconds=7200)), "run_time")
    assert found.status is UNKNOWN
    assert found.detail == "the newest run that trained took 2 hours; 2 earlier ones are too few to compare"


def test_quiet_and_failed_runs_say_nothing_of_run_time() -> None:
    assert of(run(3), lost(2, RunStatus.FAILED), lived(1, seconds=9)).run_seconds == (9,)


# --- runs that do not start ------------------------------------------------------------------------


@pytest.mark.parametrize(("newest", "status"), [(3.0, OK), (3.01, ACT)])
def test_the_next_run_is_overdue_after_three_times_the_median_between_starts(
    newest: float, status: CheckStatus
) -> None:
    """Gaps of one, one and two days: the median is a day."""
    found = check(of(*(run(newest + before) for before in (4, 3, 2, 0))), "overdue")
    assert found.value == pytest.approx(newest)
    assert (found.status, found.limit, found.n) == (status, 3.0, 3)
    if status is ACT:
        assert found.sentence == (
            "the newest run started 3.01 days ago, at most 3 days are expected, 3 times the median between the 4 newest "
            "starts: look whether cron, or whatever else starts runs, still does, and with `rehone status` whether one hangs"
        )


def test_of_two_gaps_nothing_is_said_but_how_long_ago_the_newest_run_started() -> None:
    found = check(of(run(30), run(29), run(28)), "overdue")
    assert (found.status, found.limit) == (UNKNOWN, None)
    assert found.detail == "the newest run started 28 days ago; 2 gaps between starts are too few to compare"
    assert check(of(), "overdue").detail == "no run of the present has started yet"


def test_what_is_tried_again_within_an_hour_is_one_start() -> None:
    """A scheduler that tries a failed run four times a day has not begun to run every five minutes."""
    tries = [run(day - minutes / 1440, RunStatus.FAILED) for day in (5, 4, 3, 2) for minutes in (0, 5, 10, 15)]
    found = check(of(*tries), "overdue")
    assert (found.status, found.limit, found.n) == (OK, 3.0, 3)
    hourly = [run(1 + hours / 24) for hours in range(9, -1, -1)]
    assert check(of(*hourly), "overdue").limit == pytest.approx(3 / 24)
    often = check(of(*(run(n / 144) for n in range(60, 0, -1))), "overdue")
    assert often.detail.startswith("the newest run started 10 minutes ago, at most 3 hours are expected")


def test_after_eleven_starts_of_another_schedule_that_one_is_the_usual() -> None:
    hourly, daily = [run(40 + n / 24) for n in range(90, 0, -1)], [run(n) for n in range(39, 28, -1)]
    assert check(of(*hourly, *daily), "overdue").limit == pytest.approx(3)
    assert check(of(*hourly, *daily[:-2]), "overdue").limit == pytest.approx(3 / 24)


def test_runs_that_stand_aside_for_one_that_hangs_are_no_starts(project: Project) -> None:
    """They end as skipped, day after day, and nothing is looked at."""
    config = project.configure()
    with Store.of(config, make=True).lock("one-that-hangs"):
        project.run(71)
    (aside,) = api.runs(project.root)
    aside = replace(aside, as_of=NOW, started_at=NOW - timedelta(hours=1))
    found = check(of(*(run(4 + before) for before in (3, 2, 1, 0)), aside), "overdue")
    assert (found.status, found.value) == (ACT, pytest.approx(4))


def test_runs_that_replay_the_past_are_no_starts_and_leave_it_unknown_on_their_own_day() -> None:
    past = [replace(run(n), as_of=NOW - timedelta(days=n + 100)) for n in (9, 8, 7, 6, 5)]
    assert check(of(*past), "overdue").detail == "no run of the present has started yet"
    on_its_day = health.of(past, parse_config(""), past[-1].as_of)
    assert check(on_its_day, "overdue").detail == (
        "a run started after the day that is looked at, as one that replays the past does: whether the next one is due "
        "is not known"
    )


# --- the breaker and those who wait ---------------------------------------------------------------


def test_a_breaker_that_stopped_is_the_first_check() -> None:
    found = of(lived(9), lost(3), lost(2), lost(1))
    assert found.breaker.stopped
    assert found.checks[0].sentence == (
        "retraining has stopped: 3 challengers lost in a row, the limit is 3: look at why with `rehone show run-1`, then "
        "`rehone breaker --reset --because TEXT`"
    )


def test_a_reset_is_told_with_what_was_lost_since() -> None:
    reset = BreakerReset(at=NOW - timedelta(days=2.5), by="ann", because="seen")
    found = of(lived(9), lost(3), lost(2), lost(1), reset=reset)
    assert found.breaker.lost == 2
    assert found.checks[0].detail == (
        "2 challengers lost in a row since a reset by ann on 2026-05-29, retraining stops at 3"
    )


def test_a_challenger_that_waits_is_said_until_it_is_answered() -> None:
    asked = Approval(asked_at=NOW - timedelta(days=1), until=NOW + timedelta(days=1), champion="c")
    found = of(run(1, None, approval=asked))
    assert found.waiting == ("run-1",)
    assert check(found, "approval", "run-1").sentence == (
        "a challenger waits for a person until 2026-06-02 00:00 UTC: look at it with `rehone show run-1`, then "
        "`rehone approve run-1` or `rehone reject run-1 --because TEXT`"
    )
    assert of(run(1, DEPLOYED, approval=asked)).waiting == ()
    assert of(run(1, None)).waiting == (), "a run that is under way waits for nobody"


# --- which runs -----------------------------------------------------------------------------------


def test_endings_are_those_of_the_past_year_and_of_runs_that_have_ended() -> None:
    found = of(lived(366), run(364), lost(1), run(0, None))
    assert (found.runs, found.endings) == (2, {"skipped": 1, "rejected": 1})


def test_a_day_in_the_past_knows_nothing_of_later_runs() -> None:
    runs = (lived(9), lost(3), lost(2), lost(1))
    assert health.of(runs, parse_config(""), NOW - timedelta(days=2)).breaker.lost == 2


def test_a_project_that_never_ran_is_not_called_healthy() -> None:
    found = of()
    assert {c.name for c in found.checks if c.status is UNKNOWN} == {
        "gate_failures",
        "false_alarms",
        "stale",
        "run_time",
        "overdue",
    }
    assert (found.runs, found.run_seconds, found.gate_failure_share) == (0, (), None)


# --- a real project -------------------------------------------------------------------------------


def test_a_project_that_replays_its_past_is_judged_on_its_own_day(live: Project) -> None:
    found = api.health(live.root)
    assert found.as_of == api.status(live.root).last_run.as_of  # type: ignore[union-attr]
    assert check(found, "stale", "rows").status is OK
    later = api.health(live.root, as_of="2026-05-01")
    assert check(later, "stale", "rows").status is ACT


def test_the_command_says_each_check_in_a_sentence_and_ends_with_2_when_a_person_is_needed(
    live: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", "-p", str(live.root)]) == 0
    said = capsys.readouterr().out
    assert "  ok       breaker: 0 challengers lost in a row, retraining stops at 3\n" in said
    assert max(map(len, said.splitlines())) <= 80
    live.configure(data={"stale_after_days": 0.001})
    assert main(["health", "-p", str(live.root), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [c["subject"] for c in found["checks"] if c["status"] == "act"] == ["rows"]

"""Hold the story of why something was live to the records it is told from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.conftest import Project

from rehone import api
from rehone.cli.endings import main
from rehone.errors import NotFound
from rehone.records import (
    Approval,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Estimate,
    Metrics,
    Outcome,
    Realised,
    RunRecord,
    RunStatus,
    RunSummary,
    TriggerKind,
    Why,
    Window,
)
from rehone.report import lives, why
from rehone.runlog import RunLog

A, B, C = "a" * 64, "b" * 64, "c" * 64
DAY = timedelta(days=1)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
GOOD = Metrics(n=500, positives=60, roc_auc=0.9, recall=0.7)


def _on(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def _run(name: str, as_of: datetime, status: RunStatus = RunStatus.DEPLOYED, **facts: object) -> RunSummary:
    """Make a run that trained because of age and passed the gate, unless `facts` say otherwise."""
    made = RunSummary(
        run_id=name,
        as_of=as_of,
        started_at=as_of,
        finished_at=as_of + timedelta(minutes=5),
        status=status,
        sentence=f"{name} ended",
        trigger=TriggerKind.AGE,
        reason="the champion is 31 days old, beyond the limit of 30",
        trained=True,
        outcome=Outcome.PASS,
        verdict="not worse than the champion",
        challenger=GOOD,
    )
    return replace(made, **facts)  # type: ignore[arg-type]  # facts are fields of a summary


class Log:
    """A deployment log that is written line by line."""

    def __init__(self) -> None:
        self.records: list[Deployment] = []

    def add(
        self,
        version: str | None,
        at: datetime,
        *,
        run: str | None = None,
        by: str = "ana@desk",
        reason: str = "why not",
        as_of: datetime | None = None,
        action: DeploymentAction = DeploymentAction.DEPLOY,
        trial: bool = False,
    ) -> Log:
        """Add a record; without `run` a person wrote it."""
        state = DeploymentState.TRIAL if trial else DeploymentState.CONFIRMED
        self.records.append(
            Deployment(
                generation=len(self.records) + 1,
                version=version,
                action=action,
                state=state,
                at=at,
                as_of=as_of,
                actor=by,
                run_id=run,
                reason=reason,
            )
        )
        return self

    def back(self, version: str | None, at: datetime, **facts: object) -> Log:
        """Add a rollback."""
        return self.add(version, at, action=DeploymentAction.ROLLBACK, **facts)  # type: ignore[arg-type]  # as `add`


def _past(
    log: Log, runs: Sequence[RunSummary] = (), records: Mapping[str, RunRecord] | None = None, zone: str = "UTC"
) -> why.Past:
    return why.Past(deployments=log.records, runs=runs, record=(records or {}).get, zone=ZoneInfo(zone), now=NOW)


def _day(text: str, past: why.Past) -> Why:
    """Ask for a day, as the door does."""
    begins = datetime.fromisoformat(text).replace(tzinfo=past.zone)
    return why.on(why.Asked(text=text, moment=begins + DAY - timedelta(microseconds=1), begins=begins), past)


def _moment(text: str, past: why.Past) -> Why:
    return why.on(why.Asked(text=text, moment=datetime.fromisoformat(text).replace(tzinfo=past.zone)), past)


def _two() -> why.Past:
    """Return a past in which A went live in January, and B took its place in March."""
    log = (
        Log()
        .add(A, _on(1, 10, 9), run="one", as_of=_on(1, 10, 9))
        .add(B, _on(3, 10, 9), run="two", as_of=_on(3, 10, 9))
    )
    one = _run("one", _on(1, 10, 9), version=A, trigger=TriggerKind.BOOTSTRAP, reason="there is no champion yet")
    two = _run("two", _on(3, 10, 9), version=B, champion=A, difference=(0.01, -0.005, 0.025), judged_champion=GOOD)
    return _past(log, (one, two))


# --- what was live, and until when -----------------------------------------------------------------


def test_a_day_means_its_end_and_a_moment_itself() -> None:
    past = _two()
    assert _day("2026-03-10", past).version == B
    assert _day("2026-03-09", past).version == A
    assert _moment("2026-03-10T08:59", past).version == A
    assert _moment("2026-03-10T09:00", past).version == B


def test_a_day_is_one_of_the_zone_of_the_data() -> None:
    """23:30 in UTC is the next day in Paris."""
    log = Log().add(A, _on(1, 10), run="one").add(B, _on(3, 9, 23, 30), run="two")
    assert _day("2026-03-09", _past(log)).version == B
    assert _day("2026-03-09", _past(log, zone="Europe/Paris")).version == A
    assert _day("2026-03-10", _past(log, zone="Europe/Paris")).lines[0] == (
        "On 2026-03-10 version bbbbbbbbbbbb was live, since 2026-03-10 00:30 CET (generation 2)."
    )


def test_what_was_live_is_told_with_what_made_it_and_what_took_its_place() -> None:
    assert _day("2026-02-01", _two()).lines == (
        "On 2026-02-01 version aaaaaaaaaaaa was live, from 2026-01-10 09:00 until 2026-03-10 09:00 (generation 1).",
        "Run one made it, started by ana@desk; its record cannot be read: `rehone doctor` says why.",
        "Trigger: bootstrap: there is no champion yet.",
        "Gate: not worse than the champion.",
        "It replaced nothing.",
        "Replaced on 2026-03-10 09:00 by version bbbbbbbbbbbb, run two: why not.",
        "`rehone show one` tells more of it, `rehone history` lists all runs.",
    )


def test_what_is_live_still_is_told_so_with_the_promise_that_nobody_has_held_against_labels() -> None:
    found = _day("2026-05-01", _two())
    assert found.lines == (
        "On 2026-05-01 version bbbbbbbbbbbb was live, since 2026-03-10 09:00 (generation 2).",
        "Run two made it, started by ana@desk; its record cannot be read: `rehone doctor` says why.",
        "Trigger: age: the champion is 31 days old, beyond the limit of 30.",
        "Gate: ROC-AUC 0.9000 against 0.9000 on the same rows, difference +0.0100 (−0.0050 to +0.0250).",
        "It replaced version aaaaaaaaaaaa, live since 2026-01-10 09:00.",
        "What came true since: not known; no run has held it against labels yet.",
        "It is live still.",
        "`rehone show two` tells more of it, `rehone history` lists all runs.",
    )
    assert (found.version, found.runs) == (B, ("two",))
    assert found.deployment is not None
    assert found.deployment.generation == 2


def test_what_came_true_is_the_newest_answer_of_any_run() -> None:
    past = _two()
    answer = Realised(
        run_id="two",
        version=B,
        replaced=A,
        promoted_at=_on(3, 10),
        predicted=0.01,
        predicted_interval=None,
        window=Window(_on(3, 10), _on(4, 10)),
        n=400,
        positives=10,
        open=True,
        detail="10 of 60 positives are there",
    )
    later = replace(answer, open=False, regret=True, detail="promised +0.0100 ROC-AUC, came −0.0300")
    runs = [*past.runs, _run("x", _on(4, 10), RunStatus.SKIPPED, realised=(answer,))]
    told = _day("2026-05-01", replace(past, runs=runs)).lines
    assert "What came true since so far: 10 of 60 positives are there." in told
    runs.append(_run("y", _on(5, 10), RunStatus.SKIPPED, realised=(later,)))
    told = _day("2026-05-01", replace(past, runs=runs)).lines
    assert "What came true since: promised +0.0100 ROC-AUC, came −0.0300 (to be regretted)." in told


def test_what_labels_showed_of_a_version_in_use_is_told_beside_its_promise_by_the_last_run_before_its_end() -> None:
    def showing(value: float) -> Estimate:
        return Estimate(value=value, low=value - 0.01, high=value + 0.01, n=1_234, positives=90)

    past = _two()
    one, two = past.runs
    early = _run("early", _on(2, 10), RunStatus.SKIPPED, champion=A, roc_auc=showing(0.9))
    later = _run("later", _on(4, 10), RunStatus.SKIPPED, champion=B, roc_auc=showing(0.8))
    runs = (one, early, replace(two, roc_auc=showing(0.91), started_at=_on(3, 10, 8, 59)), later)
    told = _day("2026-05-01", replace(past, runs=runs)).lines
    assert told[5] == (
        "What came true since: not known; no run has held it against labels yet. "
        "In use it had ROC-AUC 0.8000 (0.7900 to 0.8100) on 1,234 rows whose label was due on 2026-04-10."
    )
    first = _day("2026-02-01", replace(past, runs=runs)).lines
    said = "In use it had ROC-AUC 0.9100 (0.9000 to 0.9200) on 1,234 rows whose label was due on 2026-03-10 09:00."
    assert first[5] == said, "the run that replaced it looked at it too"
    assert len(told) <= 10


def test_before_the_first_deployment_nothing_was_live_and_what_was_refused_is_said() -> None:
    past = _two()
    refused = _run("zero", _on(1, 5), RunStatus.REJECTED, outcome=Outcome.FAIL, verdict="recall 0.4 must be ≥ 0.6")
    assert _day("2026-01-07", replace(past, runs=(refused, *past.runs))).lines == (
        "On 2026-01-07 nothing was live yet.",
        "The first was version aaaaaaaaaaaa, from 2026-01-10 09:00 until 2026-03-10 09:00, run one: why not.",
        "Refused before: 2026-01-05 00:05 rejected, run zero: recall 0.4 must be ≥ 0.6.",
        "`rehone show one` tells more of it, `rehone history` lists all runs.",
    )


def test_where_nothing_ever_went_live_the_command_is_said(project: Project) -> None:
    assert api.why(project.root, "2026-01-07").lines == (
        "On 2026-01-07 nothing was live yet.",
        "Nothing has gone live since: `rehone run` makes a first version.",
        "`rehone history` lists all runs.",
    )


def test_a_rollback_to_nothing_leaves_nothing_live_and_says_who_and_why() -> None:
    past = _two()
    log = Log()
    log.records = list(past.deployments)
    log.back(None, _on(4, 1, 8), by="ben@desk", reason="too many alarms").add(C, _on(5, 1, 8), run="three")
    found = _day("2026-04-10", replace(past, deployments=log.records))
    assert found.version is None
    assert found.lines == (
        "On 2026-04-10 nothing was live, from 2026-04-01 08:00 until 2026-05-01 08:00 (generation 3).",
        "It was put there by ben@desk, as generation 3: too many alarms.",
        "Replaced on 2026-05-01 08:00 by version cccccccccccc, run three: why not.",
        "`rehone show three` tells more of it, `rehone history` lists all runs.",
    )


def test_a_version_that_a_person_put_back_is_told_with_the_run_that_made_it() -> None:
    past = _two()
    log = Log()
    log.records = list(past.deployments)
    log.back(A, _on(4, 1, 8), by="ben@desk", reason="B misses the new shops")
    past = replace(past, deployments=log.records)
    assert _day("2026-04-10", past).lines[:4] == (
        "On 2026-04-10 version aaaaaaaaaaaa was live, since 2026-04-01 08:00 (generation 3).",
        "It was put there by ben@desk, as generation 3: B misses the new shops.",
        "Run one made it; its record cannot be read: `rehone doctor` says why.",
        "Trigger: bootstrap: there is no champion yet.",
    )
    assert "Rolled back on 2026-04-01 08:00 to version aaaaaaaaaaaa, by ben@desk: B misses the new shops." in (
        _day("2026-03-20", past).lines
    )
    assert why.of_version("aaaa", A, past).lines[0] == (
        "Version aaaaaaaaaaaa has been live from 2026-01-10 09:00 until 2026-03-10 09:00 (generation 1), and since "
        "2026-04-01 08:00 (generation 3)."
    )


def test_all_versions_of_one_day_are_said() -> None:
    log = Log().add(A, _on(1, 10), run="one").add(B, _on(3, 9, 8), run="two").add(C, _on(3, 9, 15), run="three")
    lines = _day("2026-03-09", _past(log)).lines
    assert lines[0] == "On 2026-03-09 version cccccccccccc was live, since 2026-03-09 15:00 (generation 3)."
    assert lines[1] == (
        "On the same day too: version aaaaaaaaaaaa, from 2026-01-10 until 2026-03-09 08:00; version bbbbbbbbbbbb, "
        "from 2026-03-09 08:00 until 2026-03-09 15:00."
    )
    assert not any(line.startswith("On the same") for line in _day("2026-03-11", _past(log)).lines)


def _broken_by_a_trial() -> why.Past:
    log = Log().add(A, _on(1, 10), run="one")
    log.add(B, _on(3, 9, 8), run="two", trial=True).back(A, _on(3, 9, 9), run="two", by="heal", reason="not confirmed")
    two = _run("two", _on(3, 9, 8), RunStatus.ROLLED_BACK, version=B, champion=A, sentence="B was rolled back")
    return _past(log, (_run("one", _on(1, 10), version=A), two))


def test_a_trial_that_was_rolled_back_breaks_no_stay_and_is_told() -> None:
    lines = _day("2026-03-09", _broken_by_a_trial()).lines
    assert lines[:2] == (
        "On 2026-03-09 version aaaaaaaaaaaa was live, since 2026-01-10 (generation 1).",
        "On the same day too: version bbbbbbbbbbbb on trial, rolled back, from 2026-03-09 08:00 until 2026-03-09 09:00.",
    )
    assert "Refused meanwhile: 2026-03-09 08:05 rolled back, run two: B was rolled back." in lines
    assert "It is live still." in lines


def test_within_a_trial_the_version_on_trial_was_live() -> None:
    past = _broken_by_a_trial()
    found = _moment("2026-03-09T08:30", past)
    assert found.version == B
    assert found.lines[0] == (
        "On 2026-03-09T08:30 version bbbbbbbbbbbb was live on trial, from 2026-03-09 08:00 until 2026-03-09 09:00 "
        "(generation 2)."
    )
    assert "It was to replace version aaaaaaaaaaaa, live since 2026-01-10." in found.lines
    assert "Rolled back on 2026-03-09 09:00 to version aaaaaaaaaaaa, run two: not confirmed." in found.lines
    assert why.of_version("b", B, past).lines[0] == (
        "Version bbbbbbbbbbbb was live on trial from 2026-03-09 08:00 until 2026-03-09 09:00 (generation 2)."
    )


def test_a_first_version_whose_trial_failed_leaves_nothing_live() -> None:
    log = Log().add(A, _on(3, 9, 8), run="one", trial=True).back(None, _on(3, 9, 9), run="one", reason="not confirmed")
    lines = _day("2026-03-10", _past(log)).lines
    assert lines[0] == "On 2026-03-10 nothing was live, since 2026-03-09 09:00 (generation 2)."
    assert "Nothing is live still." in lines


def test_a_date_in_the_future_is_told_as_such_and_today_is_not_one() -> None:
    past = _two()
    assert _day("2026-07-01", past).lines[0] == (
        "2026-07-01 has not come yet; now version bbbbbbbbbbbb is live, since 2026-03-10 09:00 (generation 2)."
    )
    assert _day("2026-06-01", past).lines[0].startswith("On 2026-06-01 version bbbbbbbbbbbb was live")
    assert _moment("2026-06-01T12:01", past).lines[0].startswith("2026-06-01T12:01 has not come yet")


def test_a_version_that_never_went_live_is_told_with_how_its_run_ended() -> None:
    refused = _run("three", _on(4, 1), RunStatus.REJECTED, version=C, sentence="recall 0.4 must be ≥ 0.6")
    past = _two()
    found = why.of_version("cc", C, replace(past, runs=(*past.runs, refused)))
    assert found.lines == (
        "Version cccccccccccc was never live.",
        "Run three made it on 2026-04-01 00:05: rejected: recall 0.4 must be ≥ 0.6.",
        "Trigger: age: the champion is 31 days old, beyond the limit of 30.",
        "`rehone show three` tells more of it, `rehone history` lists all runs.",
    )
    assert (found.version, found.deployment) == (C, None)


def test_who_approved_is_said_and_not_taken_for_who_started_the_run() -> None:
    past = _two()
    answer = Approval(
        asked_at=_on(3, 10),
        until=_on(3, 13),
        champion=A,
        approved=True,
        by="eva@desk",
        at=_on(3, 12),
        because="looks fine",
    )
    runs = (past.runs[0], replace(past.runs[1], approval=answer))
    lines = _day("2026-05-01", replace(past, runs=runs)).lines
    assert (
        "It replaced version aaaaaaaaaaaa, live since 2026-01-10 09:00; eva@desk approved it on 2026-03-12: looks fine."
        in lines
    )
    assert lines[1].startswith("Run two made it; ")


def test_of_many_refused_ones_the_newest_are_named_and_the_rest_counted() -> None:
    past = _two()
    lost = [
        _run(f"lost{day}", _on(4, day), RunStatus.REJECTED, outcome=Outcome.FAIL, verdict=f"reason {day}")
        for day in range(1, 8)
    ]
    lines = _day("2026-05-01", replace(past, runs=(*past.runs, *lost))).lines
    assert (
        "Refused meanwhile: 2026-04-07 00:05 rejected, run lost7: reason 7; 2026-04-06 00:05 rejected, run lost6: "
        "reason 6; and 5 more." in lines
    )


# --- replays ---------------------------------------------------------------------------------------


def _replayed() -> why.Past:
    """Return a past of 2020, made on one morning of 2026."""
    log, runs = Log(), []
    for number, (version, month) in enumerate(((A, 1), (B, 3), (C, 5))):
        as_of, made = datetime(2020, month, 1, tzinfo=UTC), _on(5, 1, 8, number)
        log.add(version, made, run=f"run{number}", as_of=as_of)
        runs.append(replace(_run(f"run{number}", as_of, version=version), started_at=made, finished_at=made))
    return _past(log, runs)


def test_of_a_replay_a_date_means_the_day_that_its_runs_were_made_of() -> None:
    found = _day("2020-03-20", _replayed())
    assert found.lines[0] == (
        "On 2020-03-20 version bbbbbbbbbbbb was live, from 2020-03-01 until 2020-05-01 (generation 2). Days are those "
        "the runs were made of: they were replayed on 2026-05-01."
    )


def test_a_rollback_between_two_replayed_runs_counts_as_before_the_later_one() -> None:
    past = _replayed()
    log = Log()
    for record in past.deployments[:2]:
        log.records.append(record)
    log.back(A, _on(5, 1, 8, 30), by="ben@desk", reason="no")
    log.add(C, _on(5, 1, 9), run="run2", as_of=datetime(2020, 5, 1, tzinfo=UTC))
    past = replace(past, deployments=log.records)
    assert _day("2020-04-20", past).version == B
    assert _day("2020-05-02", past).version == C


def test_a_replay_after_real_runs_does_not_change_what_was_live_before_it() -> None:
    past = _two()
    log = Log()
    log.records = list(past.deployments)
    made = _on(5, 1)
    log.back(A, _on(4, 1), by="ben@desk").add(C, made, run="old", as_of=datetime(2020, 1, 1, tzinfo=UTC))
    old = replace(_run("old", datetime(2020, 1, 1, tzinfo=UTC), version=C), started_at=made)
    past = replace(past, deployments=log.records, runs=(*past.runs, old))
    assert [_day(day, past).version for day in ("2020-06-01", "2026-02-01", "2026-03-20")] == [None, A, B]


def test_a_challenger_that_waited_for_days_went_live_when_it_was_approved() -> None:
    """Its run was of the present: only the answer came late."""
    log = Log().add(A, _on(1, 10), run="one").add(B, _on(3, 13), run="two", as_of=_on(3, 10))
    runs = (_run("one", _on(1, 10), version=A), _run("two", _on(3, 10), version=B, champion=A))
    assert _day("2026-03-11", _past(log, runs)).version == A
    (_, second) = lives.stays(log.records, {run.run_id: run.started_at for run in runs})
    assert (second.since, second.replayed) == (_on(3, 13), False)


# --- ten lines, always -----------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [lambda past: _day("2026-03-10", past), lambda past: why.of_version("b", B, past)])
def test_the_longest_story_has_ten_lines(ask: Callable[[why.Past], Why]) -> None:
    past = _two()
    lost = _run("lost", _on(3, 20), RunStatus.REJECTED)
    log = Log()
    log.records = list(past.deployments)
    log.back(A, _on(4, 1)).back(B, _on(4, 2))
    assert len(ask(replace(past, deployments=log.records, runs=(*past.runs, lost))).lines) <= 10
    assert len(_day("2026-04-02", replace(past, deployments=log.records, runs=(*past.runs, lost))).lines) <= 10


# --- a real project --------------------------------------------------------------------------------


def test_the_record_gives_rows_windows_and_the_margin(live: Project) -> None:
    live.feed(70, 111)
    record = live.run(111)
    assert record.status is RunStatus.DEPLOYED, record.sentence
    assert record.split is not None
    assert record.verdict is not None
    found = api.why(live.root, str(record.version)[:8])
    assert (found.version, found.runs[0]) == (record.version, record.run_id)
    margin = next(check for check in record.verdict.checks if check.name == "roc_auc_vs_champion")
    assert margin.limit == -0.02
    made, trigger, gate, replaced = found.lines[1:5]
    assert f"learned from {record.split.train_rows:,} rows of 2026-" in made
    assert made.endswith(f"was judged on {record.split.holdout_rows:,} rows up to 2026-04-22.")
    assert trigger == "Trigger: age: the champion is 41 days old, beyond the limit of 40."
    assert ", must be above −0.0200" in gate
    assert replaced.startswith(f"It replaced version {str(record.champion)[:12]}, live since 2026-03-12")


def test_a_record_that_is_gone_is_said_and_the_rest_is_told(live: Project) -> None:
    (run,) = api.history(live.root)
    before = api.why(live.root, str(run.version))
    next((live.root / "runs").rglob(f"{run.run_id}.json")).unlink()
    found = api.why(live.root, str(run.version))
    said = [line for line in found.lines if "cannot be read" in line]
    assert said == [
        line.split(": logistic")[0] + "; its record cannot be read: `rehone doctor` says why."
        for line in before.lines[1:2]
    ]
    assert found.lines[0] == before.lines[0]
    assert found.lines[2] == before.lines[2] == "Trigger: bootstrap: there is no champion yet."


def test_what_is_neither_a_date_nor_a_version_is_said_with_what_is(live: Project) -> None:
    with pytest.raises(NotFound, match="'yesterday' is neither a date nor a version: write a date as 2026-08-31 or"):
        api.why(live.root, "yesterday")
    with pytest.raises(NotFound, match="no version begins with 20260301, and it is no date"):
        api.why(live.root, "20260301")


def test_a_beginning_that_several_versions_share_is_refused(live: Project) -> None:
    (run,) = api.history(live.root)
    twin = replace(run, run_id=f"{run.run_id}2", status=None, version=f"{str(run.version)[:5]}{'0' * 59}")
    RunLog.of(live.configure()).begin(twin)
    with pytest.raises(NotFound, match=f"2 versions begin with {str(run.version)[:5]}: write more of it"):
        api.why(live.root, str(run.version)[:5])
    assert api.why(live.root, str(run.version)).version == run.version


def test_the_terminal_shows_it_in_eighty_columns_and_json_whole(
    live: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", "2026-03-12", "-p", str(live.root)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= 80
    assert shown[0].startswith("On 2026-03-12 version ")
    assert any(line.startswith("  - Trigger: bootstrap: ") for line in shown)
    assert main(["why", "2026-03-12", "-p", str(live.root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lines"] == list(api.why(live.root, "2026-03-12").lines)
    assert main(["why", "nothing", "-p", str(live.root)]) == 2

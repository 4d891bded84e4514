"""An alert is one line with project, ending, reason, value, limit and the next command; nights stay quiet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rehone import alert
from rehone.alert import words
from rehone.config import Config, parse_config
from rehone.config.people import Alerts
from rehone.errors import ConfigError
from rehone.records import (
    Alert,
    AlertKind,
    Approval,
    Breaker,
    Check,
    CheckStatus,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Health,
    Metrics,
    Outcome,
    Problem,
    Realised,
    RunRecord,
    RunStatus,
    TriggerDecision,
    TriggerKind,
    Verdict,
    Window,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
EVERYTHING = Alerts(on=tuple(str(kind) for kind in AlertKind if kind not in (AlertKind.HEARTBEAT, AlertKind.TEST)))
LIVE, NEW = "a" * 64, "b" * 64


def _run(status: RunStatus | None, sentence: str = "", **facts: Any) -> RunRecord:
    return RunRecord(
        run_id="20260601T120000Z-abc",
        project="shop",
        as_of=NOON,
        started_at=NOON,
        finished_at=NOON + timedelta(minutes=2) if status else None,
        status=status,
        sentence=sentence,
        seed=0,
        host="h",
        pid=1,
        rehone_version="0",
        config_sha256="",
        config={},
        **facts,
    )


def _one(run: RunRecord, health: Health | None = None, policy: Alerts = EVERYTHING) -> Alert:
    (found,) = alert.of(run, health, policy)
    return found


def _check(name: str, status: CheckStatus, detail: str, **facts: Any) -> Check:
    return Check(name=name, status=status, detail=detail, **facts)


def _health(*checks: Check, **facts: Any) -> Health:
    plain: dict[str, Any] = {
        "project": "shop",
        "as_of": NOON,
        "runs": 9,
        "endings": {},
        "judged": 9,
        "refused": 3,
        "gate_failure_share": 1 / 3,
        "run_seconds": (),
        "alarms": 0,
        "alarms_accepted": 1.0,
        "days": 30,
        "newest_row_age_days": 1,
        "newest_label_age_days": 1,
        "declines": 0,
        "breaker": Breaker(stopped=False, lost=0, limit=3),
    }
    return Health(**(plain | facts), checks=checks)


# --- what a run gives to tell -----------------------------------------------------------------------


def test_a_skipped_run_gives_nothing_to_tell() -> None:
    assert alert.of(_run(RunStatus.SKIPPED, "nothing acts"), _health(), EVERYTHING) == ()


def test_a_rejection_names_the_check_that_refused_with_value_limit_and_the_command() -> None:
    """Others that refuse too are counted; each other first reason is another trouble."""
    checks = (
        _check("unseen", CheckStatus.WARN, "3 of 574 rows are also in the training set"),
        _check("min_roc_auc", CheckStatus.ACT, "ROC-AUC 0.5330 must be ≥ 0.8500", value=0.533, limit=0.85),
        _check("recall_vs_champion", CheckStatus.ACT, "recall 0.1 against 0.9"),
    )
    verdict = Verdict(outcome=Outcome.FAIL, reason="", checks=checks)
    found = _one(_run(RunStatus.REJECTED, "much | text", verdict=verdict))
    assert found == Alert(
        key="shop/rejected/min_roc_auc",
        kind=AlertKind.REJECTED,
        project="shop",
        at=NOON + timedelta(minutes=2),
        line="shop: rejected: ROC-AUC 0.5330 must be ≥ 0.8500 (and 1 more); next: `rehone show 20260601T120000Z-abc`",
        run_id="20260601T120000Z-abc",
        value=0.533,
        limit=0.85,
        command="rehone show 20260601T120000Z-abc",
    )


def test_an_inconclusive_run_names_what_could_not_be_known() -> None:
    checks = (
        _check("power", CheckStatus.WARN, "can see a loss of 0.021"),
        _check("recall_vs_champion", CheckStatus.UNKNOWN, "recall 0.93 against 1.00, must be above −0.05; 0 gained", value=-0.07, limit=-0.05),
    )  # fmt: skip
    verdict = Verdict(outcome=Outcome.INCONCLUSIVE, reason="", checks=checks)
    found = _one(_run(RunStatus.INCONCLUSIVE, verdict=verdict))
    assert found.line == (
        "shop: inconclusive: recall 0.93 against 1.00, must be above −0.05; next: `rehone show 20260601T120000Z-abc`"
    )
    assert (found.value, found.limit, found.key) == (-0.07, -0.05, "shop/inconclusive/recall_vs_champion")


def test_what_the_shadow_refused_is_told_of_by_the_shadow() -> None:
    """The gate had let it pass, so its checks are not why."""
    passed = Verdict(outcome=Outcome.PASS, reason="", checks=(_check("a", CheckStatus.ACT, "not this"),))
    shadow = Verdict(
        outcome=Outcome.FAIL, reason="", checks=(_check("latency", CheckStatus.ACT, "9 ms, at most 5 ms"),)
    )
    found = _one(_run(RunStatus.REJECTED, verdict=passed, shadow_verdict=shadow))
    assert found.line.startswith("shop: rejected: 9 ms, at most 5 ms; next:")


def test_a_failed_run_says_what_is_wrong_with_the_data() -> None:
    broken = _check("freshness", CheckStatus.ACT, "the newest row is 9 days old", value=9.0, limit=7.0)
    found = _one(_run(RunStatus.FAILED, "data incident: …", data_checks=(broken,)))
    assert found.line.startswith("shop: failed: the newest row is 9 days old; next:")
    assert (found.key, found.value, found.limit) == ("shop/failed/freshness", 9.0, 7.0)


def test_an_exception_is_told_by_its_sentence_not_by_checks_from_before() -> None:
    """Failures of one type are one trouble."""
    run = _run(
        RunStatus.FAILED,
        "the disk is full\nsecond line",
        problem=Problem(type="StoreError", message="the disk is full"),
        data_checks=(_check("rows", CheckStatus.ACT, "not this"),),
    )
    found = _one(run)
    assert found.line == "shop: failed: the disk is full second line; next: `rehone show 20260601T120000Z-abc`"
    assert found.key == "shop/failed/StoreError"


def test_a_rollback_says_what_was_on_trial_and_what_is_live() -> None:
    """No two rollbacks are the same trouble."""
    live = Deployment(
        generation=4,
        version=LIVE,
        action=DeploymentAction.ROLLBACK,
        state=DeploymentState.CONFIRMED,
        at=NOON,
        actor="x",
    )
    checks = (_check("service", CheckStatus.ACT, "HTTP 500 for 4 s; look", value=4.0, limit=4.0),)
    found = _one(_run(RunStatus.ROLLED_BACK, version=NEW, deployment=live, deployment_checks=checks))
    assert found.line == (
        "shop: rolled back: version bbbbbbbbbbbb was on trial and version aaaaaaaaaaaa is live again: HTTP 500 for 4 s; "
        "next: `rehone show 20260601T120000Z-abc`"
    )
    assert found.key == "shop/rolled_back/20260601T120000Z-abc"


def test_a_deployment_is_told_only_when_it_is_asked_for() -> None:
    measured = Metrics(n=10, positives=5, roc_auc=0.9123, average_precision=0.9, recall=0.8, precision=0.7, cost_per_1000=1.0, brier=0.1, threshold=0.5)  # fmt: skip
    run = _run(
        RunStatus.DEPLOYED,
        "version bbbbbbbbbbbb is live as generation 5",
        version=NEW,
        trigger=TriggerDecision(kind=TriggerKind.AGE, reason="the champion is 91 days old, beyond the limit of 90"),
        verdict=Verdict(outcome=Outcome.PASS, reason="", checks=(), challenger=measured),
    )
    assert alert.of(run, None, Alerts()) == ()
    assert _one(run).line == (
        "shop: deployed: version bbbbbbbbbbbb is live as generation 5, because the champion is 91 days old, beyond the "
        "limit of 90, ROC-AUC 0.9123 on the holdout; next: `rehone status`"
    )


def test_a_run_that_waits_asks_for_an_answer_until_when() -> None:
    asked = Approval(asked_at=NOON, until=NOON + timedelta(hours=72), champion=LIVE)
    run = _run(None, version=NEW, approval=asked)
    found = _one(run)
    assert found.line == (
        "shop: waits for approval: until 2026-06-04 12:00 UTC: version bbbbbbbbbbbb passed the gate and would replace "
        "aaaaaaaaaaaa; next: `rehone approve 20260601T120000Z-abc`"
    )
    assert alert.of(replace(run, approval=replace(asked, approved=True)), None, EVERYTHING) == ()


def test_a_run_that_is_under_way_gives_nothing_to_tell() -> None:
    assert alert.of(_run(None), None, EVERYTHING) == ()


def test_a_refusal_by_a_person_is_told_in_their_words() -> None:
    """It is no trouble of the gate's, so that it is never taken for a repetition of one."""
    said = Approval(asked_at=NOON, until=NOON, champion=LIVE, approved=False, by="ana", because="holiday")
    found = _one(_run(RunStatus.REJECTED, "rejected by ana: holiday", approval=said))
    assert found.line.startswith("shop: rejected: rejected by ana: holiday; next:")
    assert found.key == "shop/rejected/20260601T120000Z-abc"


def test_a_regret_names_the_way_back() -> None:
    one = Realised(
        run_id="r",
        version=NEW,
        replaced=LIVE,
        promoted_at=NOON,
        predicted=0.02,
        predicted_interval=None,
        window=Window(NOON, NOON),
        n=100,
        positives=30,
        realised=-0.03,
        regret=True,
        detail="promised +0.0200 ROC-AUC, came −0.0300",
    )
    found = _one(_run(RunStatus.SKIPPED, realised=(one, replace(one, regret=False))))
    assert found.line == (
        "shop: regret: version bbbbbbbbbbbb: promised +0.0200 ROC-AUC, came −0.0300; next: "
        "`rehone rollback --to aaaaaaaaaaaa`"
    )
    assert (found.value, found.limit) == (-0.03, 0.0)


def test_nothing_in_a_line_can_break_it_or_steer_a_terminal() -> None:
    """A feature's name may come from anybody."""
    run = _run(RunStatus.FAILED, "bad\x1b[31m name\r\nnext: `rm`\u2028end", problem=Problem(type="E", message=""))
    assert _one(run).line.startswith("shop: failed: bad [31m name next: `rm` end; next:")


def test_a_reason_is_cut_at_a_word() -> None:
    said = words.brief("word " * 200)
    assert len(said) <= words.LONGEST_REASON
    assert said.endswith(" word...")


def test_a_check_without_words_is_told_in_numbers() -> None:
    reason = words.Reason.of_check(Check(name="psi", subject="amount", status=CheckStatus.ACT, value=0.3, limit=0.25))
    assert reason.said == "psi(amount) 0.3, limit 0.25"


# --- the pipeline's health --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "kind", "line"),
    [
        (
            Check(name="gate_failures", status=CheckStatus.ACT, value=0.5, limit=0.2, detail="5 of 10 refused (50 %), at most 20 %", remedy="`rehone history` names them"),
            AlertKind.GATE_FAILURES,
            "shop: gate failures: 5 of 10 refused (50 %), at most 20 %; next: `rehone history`",
        ),
        (
            Check(name="declines", status=CheckStatus.ACT, value=3, limit=3, detail="3 retrains in a row", remedy="look"),
            AlertKind.DECLINES,
            "shop: declines: 3 retrains in a row; next: `rehone health`",
        ),
        (
            Check(name="false_alarms", status=CheckStatus.WARN, value=9, limit=1.0, detail="9 times", remedy="`rehone calibrate`"),
            AlertKind.FALSE_ALARMS,
            "shop: false alarms: 9 times; next: `rehone calibrate`",
        ),
        (
            Check(name="stale", subject="labels", status=CheckStatus.ACT, value=9, limit=7, detail="9 days old"),
            AlertKind.STALE,
            "shop: stale: 9 days old; next: `rehone health`",
        ),
    ],
)  # fmt: skip
def test_what_the_health_of_the_pipeline_warns_of_is_told(check: Check, kind: AlertKind, line: str) -> None:
    """By the run that made it so."""
    found = alert.of(_busy(), _health(check), EVERYTHING)[-1]
    assert (found.kind, found.line, found.value, found.limit) == (kind, line, check.value, check.limit)


@pytest.mark.parametrize("name", ["gate_failures", "declines", "false_alarms"])
def test_a_figure_that_stands_as_it_stood_is_not_told_after_each_run(name: str) -> None:
    """A run that judged nothing, put nothing live and saw no drift did not move it."""
    check = Check(name=name, status=CheckStatus.ACT, detail="too many")
    assert len(alert.of(_busy(), _health(check), EVERYTHING)) == 2
    assert alert.of(_run(RunStatus.SKIPPED), _health(check), EVERYTHING) == ()


def _busy() -> RunRecord:
    """Return a run that saw drift, judged a challenger and put it live."""
    drift = Check(name="psi", status=CheckStatus.ACT, detail="beyond its limit")
    return _run(
        RunStatus.DEPLOYED,
        trigger=TriggerDecision(kind=TriggerKind.DRIFT, reason="", checks=(drift,)),
        verdict=Verdict(outcome=Outcome.PASS, reason="", checks=()),
    )


def test_checks_that_are_well_or_rest_on_little_are_not_told() -> None:
    """A share of refusals among few judged challengers only warns."""
    few = Check(name="gate_failures", status=CheckStatus.WARN, detail="1 of 1")
    fine = Check(name="declines", status=CheckStatus.OK)
    others = [Check(name=name, status=CheckStatus.ACT, detail="slow") for name in ("run_time", "overdue")]
    assert len(alert.of(_busy(), _health(few, fine, *others), EVERYTHING)) == 1


def test_stale_data_are_told_once_where_the_run_failed_for_them() -> None:
    stale = Check(name="stale", subject="rows", status=CheckStatus.ACT, detail="9 days old")
    broken = _check("freshness", CheckStatus.ACT, "the newest row is 9 days old")
    assert _one(_run(RunStatus.FAILED, data_checks=(broken,)), _health(stale)).kind is AlertKind.FAILED


def test_a_breaker_that_stops_again_after_a_reset_is_another_trouble() -> None:
    """While it stays stopped it is the same one, however many forced runs are lost after it."""
    check = Check(name="breaker", status=CheckStatus.ACT, value=3, limit=3, detail="retraining has stopped: 3 lost")

    def told(*runs: str) -> Alert:
        return _one(_run(RunStatus.SKIPPED), _health(check, breaker=Breaker(stopped=True, lost=3, limit=3, runs=runs)))

    assert told("a", "b", "c").key == told("a", "b", "c", "d").key == "shop/breaker/a"
    assert told("e", "f", "g").key == "shop/breaker/e"
    assert told("a").line == (
        "shop: breaker: retraining has stopped: 3 lost; next: `rehone breaker --reset --because TEXT`"
    )


# --- deployments by hand ----------------------------------------------------------------------------


def _deployment(**facts: Any) -> Deployment:
    plain: dict[str, Any] = {"generation": 7, "version": LIVE, "action": DeploymentAction.ROLLBACK}
    return Deployment(**(plain | {"state": DeploymentState.CONFIRMED, "at": NOON, "actor": "ana@desk"} | facts))


def test_a_rollback_by_hand_is_told_with_who_and_why() -> None:
    (found,) = alert.of_deployment(_deployment(reason="too many false alarms"), "shop", EVERYTHING)
    assert found.line == (
        "shop: rolled back: version aaaaaaaaaaaa is live as generation 7, by ana@desk: too many false alarms; next: "
        "`rehone status`"
    )
    (nothing,) = alert.of_deployment(_deployment(version=None), "shop", EVERYTHING)
    assert nothing.line.startswith("shop: rolled back: nothing is served as generation 7, by ana@desk; next:")


def test_a_deployment_that_a_run_made_is_told_by_the_run() -> None:
    assert alert.of_deployment(_deployment(run_id="r"), "shop", EVERYTHING) == ()


def test_what_was_healed_after_a_killed_run_is_told() -> None:
    (found,) = alert.of_deployment(_deployment(run_id="r", actor="heal"), "shop", EVERYTHING)
    assert found.line.startswith(
        "shop: rolled back: version aaaaaaaaaaaa is live as generation 7, after a run that was killed"
    )


# --- quiet hours --------------------------------------------------------------------------------------

PARIS = ZoneInfo("Europe/Paris")


def _until(local: datetime, hours: str | None, zone: str = "Europe/Paris") -> datetime | None:
    found = alert.quiet_until(local.astimezone(UTC), hours, zone)
    return None if found is None else found.astimezone(ZoneInfo(zone))


@pytest.mark.parametrize(
    ("hour", "minute", "quiet"),
    [(21, 59, False), (22, 0, True), (23, 30, True), (0, 0, True), (6, 59, True), (7, 0, False), (12, 0, False)],
)
def test_quiet_hours_run_over_midnight(hour: int, minute: int, quiet: bool) -> None:
    """The first moment is quiet, the last one is not."""
    moment = datetime(2026, 6, 2, hour, minute, tzinfo=PARIS)
    day = 3 if hour >= 22 else 2
    assert _until(moment, "22:00-07:00") == (datetime(2026, 6, day, 7, tzinfo=PARIS) if quiet else None)


def test_quiet_hours_within_a_day_are_counted_in_their_zone() -> None:
    """12:30 in Paris is 10:30 in UTC."""
    assert _until(datetime(2026, 6, 2, 12, 30, tzinfo=PARIS), "12:00-13:00") == datetime(2026, 6, 2, 13, tzinfo=PARIS)
    assert alert.quiet_until(datetime(2026, 6, 2, 12, 30, tzinfo=UTC), "12:00-13:00", "Europe/Paris") is None
    assert alert.quiet_until(NOON, None, "UTC") is None


def test_the_night_in_which_clocks_go_forward_is_an_hour_shorter() -> None:
    """In Paris 2026-03-29 has no 02:00 to 03:00: eight hours lie between 22:00 and 07:00."""
    begin = datetime(2026, 3, 28, 22, tzinfo=PARIS).astimezone(UTC)
    end = alert.quiet_until(begin, "22:00-07:00", "Europe/Paris")
    assert end == datetime(2026, 3, 29, 5, tzinfo=UTC)
    assert end - begin == timedelta(hours=8)


def test_the_night_in_which_clocks_go_back_is_an_hour_longer() -> None:
    begin = datetime(2026, 10, 24, 22, tzinfo=PARIS).astimezone(UTC)
    end = alert.quiet_until(begin, "22:00-07:00", "Europe/Paris")
    assert end is not None
    assert end - begin == timedelta(hours=10)


def test_a_time_that_comes_twice_ends_the_quiet_once() -> None:
    """In Paris 2026-10-25 has 02:00 to 03:00 twice; quiet until 02:30 is over at the first of them, for good."""
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    over = [first + timedelta(minutes=minutes) for minutes in range(0, 120, 10)]
    assert alert.quiet_until(first - timedelta(minutes=1), "22:00-02:30", "Europe/Paris") == first
    assert [alert.quiet_until(moment, "22:00-02:30", "Europe/Paris") for moment in over] == [None] * 12


def test_every_moment_of_a_year_is_quiet_exactly_between_a_night_and_its_morning() -> None:
    """Walked in quarter hours, the quiet of each night is one stretch that ends when it was said to end."""
    now, ends, inside = datetime(2026, 1, 1, 12, tzinfo=UTC), [], False
    while now < datetime(2027, 1, 1, 12, tzinfo=UTC):
        until = alert.quiet_until(now, "22:15-06:45", "Europe/Paris")
        if inside and until is None:
            ends.append(now)
        inside = until is not None
        assert until is None or until > now
        now += timedelta(minutes=15)
    assert len(ends) == 365
    assert {(end.astimezone(PARIS).hour, end.astimezone(PARIS).minute) for end in ends} == {(6, 45)}


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://chat.example:8443/services/T0/secret?key=1", "https://chat.example:8443/..."),
        ("https://chat.example?key=secret", "https://chat.example/..."),
        ("https://chat.example/#secret", "https://chat.example/..."),
        ("https://chat.example/", "https://chat.example/"),
    ],
)
def test_records_keep_the_host_of_a_webhook_and_the_digest_is_of_what_they_keep(
    address: str, kept: str, tmp_path: Path
) -> None:
    """The path of such an address often is all that keeps others from posting there."""
    config = parse_config(f'[alerts]\nwebhook = "{address}"\n', root=tmp_path)
    recorded = config.as_recorded()
    assert recorded["alerts"]["webhook"] == kept
    assert config.alerts.webhook == address
    assert {**config.as_json(), "alerts": recorded["alerts"]} == recorded
    read_again = Config(**recorded, root=tmp_path)
    assert (read_again.as_recorded(), read_again.sha256) == (recorded, config.sha256)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('quiet_hours = "08:00-08:00"', "quiet_hours '08:00-08:00' end when they begin"),
        ('quiet_hours = "8-20"', "quiet_hours '8-20' are no two times"),
        ('timezone = "Europe/Pariss"', "no time zone 'Europe/Pariss'"),
        ('webhook = "https://me:pw@example.com/x"', "webhook holds a user, who is not sent"),
    ],
)
def test_a_key_that_cannot_be_meant_is_refused(line: str, said: str, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        parse_config(f"[alerts]\n{line}\n", source="rehone.toml", root=tmp_path)

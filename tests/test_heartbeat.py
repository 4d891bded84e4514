"""A sign of life is given after each run that did not fail, never late, and never with its secret written down."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import START, Project
from http_kit import Quiet, listening
from rehone import api, observers
from rehone.cli.endings import main
from rehone.cli.story import run_lines
from rehone.config import Config, parse_config
from rehone.errors import ConfigError
from rehone.integrations import alerts
from rehone.integrations.alerts import HeartbeatListener, State
from rehone.observers import DEPLOYMENT, WAITING, Missed, Outbox
from rehone.records import Approval, Check, CheckStatus, Delivery, RunRecord, RunStatus, Stage
from rehone.report.told import Told
from rehone.store import Store

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass
class Listener:
    """A server on this machine that counts who asks for what; answers with `answer`, after `slow` seconds."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    answer: int = 200
    slow: float = 0.0


@pytest.fixture
def outside() -> Iterator[Listener]:
    """Listen on a free port of this machine."""
    found = Listener()

    class Handler(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - the name of the library
            found.asked.append(self.path)
            time.sleep(found.slow)
            self.send_response(found.answer)
            self.send_header("Location", f"{found.url}/elsewhere")
            self.end_headers()

    with listening(Handler) as found.url:
        yield found


def _config(project: Project, outside: Listener, **keys: Any) -> Config:
    return project.configure(alerts={"heartbeat": f"{outside.url}/hush-uuid?hush=1", **keys})


def _ended(name: str = "one", status: RunStatus | None = RunStatus.SKIPPED) -> RunRecord:
    return RunRecord(
        run_id=f"20260601T120000Z-{name}",
        project="story",
        as_of=NOON,
        started_at=NOON,
        finished_at=NOON,
        status=status,
        seed=0,
        host="h",
        pid=1,
        rehone_version="0",
        config_sha256="",
        config={},
        stages=(Stage(name="look", sentence="", seconds=1.0),),
    )


def _tell(config: Config, record: RunRecord, *, after: timedelta = timedelta(seconds=9)) -> str:
    return HeartbeatListener(config, lambda: NOON + after).tell_run(record, b"")


def _heartbeat(checks: tuple[Check, ...]) -> Check:
    (found,) = (check for check in checks if check.subject == "heartbeat")
    return found


# --- when a sign is given --------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(RunStatus))
def test_each_ending_but_a_failure_gives_a_sign(project: Project, outside: Listener, status: RunStatus) -> None:
    said = _tell(_config(project, outside), _ended(status=status))
    if status is RunStatus.FAILED:
        assert (said, outside.asked) == ("no sign of life: the run failed", [])
    else:
        assert (said, outside.asked) == ("a sign of life was given", ["/hush-uuid?hush=1"])


def test_a_run_that_waits_for_a_person_gives_its_sign_when_it_begins_to(project: Project, outside: Listener) -> None:
    """Whoever answers it days later starts no run."""
    config = _config(project, outside)
    asked = Approval(asked_at=NOON, until=NOON + timedelta(days=3), champion=None)
    waiting = replace(_ended(status=None), finished_at=None, approval=asked)
    assert _tell(config, waiting) == "a sign of life was given"
    answered = replace(waiting, status=RunStatus.DEPLOYED, finished_at=NOON + timedelta(days=2))
    assert _tell(config, answered, after=timedelta(days=2)) == (
        "no sign of life: its time was when the run began to wait"
    )
    assert len(outside.asked) == 1


@pytest.mark.parametrize(("seconds", "given"), [(300, True), (301, False)])
def test_five_minutes_after_the_end_a_sign_is_too_late(
    project: Project, outside: Listener, seconds: int, given: bool
) -> None:
    config, after = _config(project, outside), timedelta(seconds=seconds)
    if given:
        assert _tell(config, _ended(), after=after) == "a sign of life was given"
        return
    with pytest.raises(Missed, match=r"^nothing could be sent within 5 minutes of the end of the run$"):
        _tell(config, _ended(), after=after)
    assert outside.asked == []


# --- what does not get through -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (500, "answered HTTP 500"),
        (404, "answered HTTP 404: look whether alerts.heartbeat is the address that the service gave you"),
        (302, "answered HTTP 302, a redirect, which is not followed: name the address itself in alerts.heartbeat"),
    ],
)
def test_a_sign_that_is_refused_is_listed_once_and_named_by_its_host_alone(
    project: Project, outside: Listener, answer: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config, outside.answer = _config(project, outside), answer
    for _ in range(2):
        with pytest.raises(Missed) as caught:
            _tell(config, _ended())
        assert str(caught.value) == f"{outside.url} {said}"
    (notice,) = alerts.listed(project.root, 9)
    assert (notice.state, notice.attempts, notice.error) == (State.LEFT, 1, str(caught.value))
    assert main(["alerts", "list", "-p", str(project.root)]) == 0
    assert " ".join(capfd.readouterr().out.split()) == (
        f"left 2026-06-01 12:00 UTC, tried 1 time: {outside.url} {said} story: heartbeat: no sign of life came through "
        "after run 20260601T120000Z-one; next: `rehone alerts test`"
    )


def test_an_address_that_hangs_takes_half_of_the_time_that_there_is(project: Project, outside: Listener) -> None:
    outside.slow = 2.0
    config = project.configure(alerts={"heartbeat": f"{outside.url}/x"}, trackers={"timeout_seconds": 0.4})
    with pytest.raises(Missed, match=r"^did not answer within 0\.2 s$|cannot be reached \(TimeoutError\)$"):
        _tell(config, _ended())


@pytest.mark.parametrize(
    ("key", "address", "said"),
    [
        ("heartbeat", "a.example/hush", "is no address of HTTP: write one that begins with https:// or http://"),
        ("heartbeat", "https://a.example/hush hush", "is no address of HTTP: write one that begins with https://"),
        ("webhook", "https://[a.example/hush", "is no address of HTTP: write one that begins with https://"),
        ("webhook", "a.example/hush", "is no address of HTTP: write one that begins with https:// or http://"),
        ("webhook", "https://a.example:hush/", "is no address of HTTP: write one that begins with https:// or http://"),
        ("webhook", "https://hush@a.example/x", "holds a user, who is not sent: write the address without what"),
        ("heartbeat", "https://hush@a.example/", "holds a user, who is not sent: write the address without what"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused_and_not_repeated(key: str, address: str, said: str) -> None:
    """What follows its host may be a secret."""
    with pytest.raises(ConfigError) as caught:
        parse_config(f'[alerts]\n{key} = "{address}"\n')
    assert f"line 1: alerts: {key} {said}" in str(caught.value)
    assert "hush" not in str(caught.value)


# --- with runs ---------------------------------------------------------------------------------------


def test_a_run_gives_a_sign_and_nothing_keeps_the_path_of_its_address(
    live: Project, outside: Listener, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that fails gives none, and one that does not get through changes nothing of the run, and is not repeated."""
    run = ["run", "-p", str(live.root), "-q", "--as-of"]
    config = _config(live, outside)
    assert main([*run, str(START + timedelta(days=200))]) == 2
    assert (outside.asked, api.history(live.root)[-1].status) == ([], RunStatus.FAILED)

    outside.answer = 500
    capfd.readouterr()
    assert main([*run, str(START + timedelta(days=71))]) == 0
    record, why = api.history(live.root)[-1], f"{outside.url} answered HTTP 500"
    missed = f"heartbeat did not get through after run {record.run_id}, and is not sent later: {why}"
    assert f"tracker not told: {missed}" in " ".join(capfd.readouterr().err.split())
    outside.answer = 200
    for check in (_heartbeat(api.doctor(live.root)), _heartbeat(api.doctor(live.root, heal=False))):
        assert (check.status, check.detail) == (CheckStatus.WARN, missed)
    assert outside.asked == ["/hush-uuid?hush=1"]
    assert [notice.error for notice in alerts.listed(live.root, 9)] == [why]
    (delivery,) = observers.deliveries(config, record.run_id)
    said = run_lines(Told(record=record), "x", width=200, deliveries=(delivery,))
    assert any(f"did not get through, and is not sent later: {why}" in line for line in said)

    assert main([*run, str(START + timedelta(days=72))]) == 0
    assert _heartbeat(api.doctor(live.root, heal=False)).status is CheckStatus.OK
    assert len(outside.asked) == 2
    assert record.config["alerts"]["heartbeat"] == f"{outside.url}/..."
    kept = b"".join(p.read_bytes() for p in (live.root / "runs").rglob("*") if p.is_file())
    said_all = capfd.readouterr()
    assert b"hush" not in kept
    assert "hush" not in said_all.out + said_all.err


def test_runs_that_stand_aside_for_one_that_hangs_give_no_sign(live: Project, outside: Listener) -> None:
    """They end as skipped, and nothing is looked at any more."""
    config = _config(live, outside)
    with Store.of(config).lock("one-that-hangs"):
        aside = live.run(71)
    assert (aside.status, aside.stages) == (RunStatus.SKIPPED, ())
    (delivery,) = observers.deliveries(config, aside.run_id)
    assert delivery.link == "no sign of life: the run stood aside for another"
    assert outside.asked == []


def test_a_test_asks_for_it_too_and_sending_what_waits_does_not(
    project: Project, outside: Listener, capfd: pytest.CaptureFixture[str]
) -> None:
    """It needs neither Apprise nor a webhook."""
    _config(project, outside)
    assert main(["alerts", "test", "-p", str(project.root)]) == 0
    out = capfd.readouterr().out
    assert out.splitlines()[0].endswith(" UTC, to heartbeat")
    assert "story: heartbeat: asked for once, as after a run that did not fail;" in out
    assert outside.asked == ["/hush-uuid?hush=1"]
    outside.answer = 503
    assert main(["alerts", "test", "-p", str(project.root), "--json"]) == 2
    (notice,) = json.loads(capfd.readouterr().out)
    assert notice["error"] == f"heartbeat: {outside.url} answered HTTP 503"
    assert main(["alerts", "send", "-p", str(project.root)]) == 2
    assert "set alerts.apprise or alerts.webhook" in capfd.readouterr().err
    _config(project, outside, webhook="http://127.0.0.1:9/")
    assert main(["alerts", "send", "-p", str(project.root)]) == 0
    assert alerts.listed(project.root, 9) == ()
    assert len(outside.asked) == 2


# --- what is kept ------------------------------------------------------------------------------------


def test_the_newest_run_says_whether_a_sign_was_missed(project: Project) -> None:
    """A deployment by hand says nothing of runs, and the answer to a run takes nothing back."""
    outbox = Outbox.of(project.configure(), "heartbeat")
    for subject in ("20260601T120000Z-one", f"{WAITING}20260602T120000Z-two"):
        outbox.note(Delivery(tracker="heartbeat", subject=subject, error="gone", missed=True))
    outbox.note(Delivery(tracker="heartbeat", subject="20260601T120000Z-one", error="a crash left this behind"))
    outbox.note(Delivery(tracker="heartbeat", subject="20260602T120000Z-two", delivered_at=NOON))
    outbox.note(Delivery(tracker="heartbeat", subject=f"{DEPLOYMENT}7", delivered_at=NOON))
    found = outbox.missed()
    assert found is not None
    assert found.subject == f"{WAITING}20260602T120000Z-two"
    assert outbox.pending() == ()
    outbox.note(Delivery(tracker="heartbeat", subject="20260603T120000Z-three", delivered_at=NOON))
    assert outbox.missed() is None

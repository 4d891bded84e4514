"""Alerts arrive once, signed, at the hour that is right; what cannot be sent is kept, and no run ends otherwise for it."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from conftest import Project
from http_kit import Quiet, listening
from rehone import api
from rehone.cli.endings import main
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.integrations import alerts
from rehone.integrations.alerts import AlertsListener, State, address, journal
from rehone.integrations.alerts.chats import without_secrets
from rehone.observers import Later, Outbox
from rehone.records import (
    Approval,
    Check,
    CheckStatus,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Problem,
    RunRecord,
    RunStatus,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"abcdefghijklmnopqrstuvwxyz").decode()


@dataclass
class Post:
    """What one address was sent."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def line(self) -> str:
        return str(self.json["data"]["line"] if "data" in self.json else self.json["message"])


@dataclass
class Receiver:
    """A server on this machine that keeps what it is sent; `answers` says by path how it answers, else 204."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)

    def at(self, path: str) -> list[Post]:
        return [post for post in self.posts if post.path == path]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Listen on a free port of this machine."""
    found = Receiver()

    class Handler(Quiet):
        def do_POST(self) -> None:  # noqa: N802 - the name of the library
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append(Post(path, {k.lower(): v for k, v in self.headers.items()}, body))
            time.sleep(found.slow.get(path, 0))
            self.send_response(found.answers.get(path, 204))
            self.send_header("Location", f"{found.url}/elsewhere")
            self.end_headers()

    with listening(Handler) as found.url:
        yield found


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Return what reaches the handlers of whoever logs everything; pytest's own hears loggers that are kept apart, too."""
    found: list[str] = []
    handler, root = logging.Handler(), logging.getLogger()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield found
    root.setLevel(before)
    root.removeHandler(handler)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)


def _config(project: Project, **keys: Any) -> Config:
    return project.configure(alerts=keys)


def _hooked(project: Project, receiver: Receiver, **keys: Any) -> Config:
    return _config(project, webhook=f"{receiver.url}/hook", **keys)


def _chats(project: Project, *lines: str) -> str:
    (project.root / "apprise.txt").write_text("\n".join(lines) + "\n")
    return "apprise.txt"


def _chat(receiver: Receiver, path: str, login: str = "") -> str:
    return f"{receiver.url.replace('http', 'json')}{path}".replace("//", f"//{login}", 1)


def _failed(name: str = "one", problem: str = "StoreError", status: RunStatus = RunStatus.FAILED) -> RunRecord:
    return RunRecord(
        run_id=f"20260601T120000Z-{name}",
        project="story",
        as_of=NOON,
        started_at=NOON,
        finished_at=NOON,
        status=status,
        sentence="the disk is full",
        seed=0,
        host="h",
        pid=1,
        rehone_version="0",
        config_sha256="",
        config={},
        problem=Problem(type=problem, message="the disk is full"),
    )


def _tell(config: Config, record: RunRecord, clock: Callable[[], datetime] = Clock()) -> str:  # noqa: B008 - stands still
    return AlertsListener(config, clock).tell_run(record, b"")


def _states(project: Project) -> list[State]:
    return [notice.state for notice in alerts.listed(project.root, 99)]


# --- what arrives --------------------------------------------------------------------------------


def test_a_webhook_gets_json_that_the_library_of_its_standard_verifies(project: Project, receiver: Receiver) -> None:
    """Whole seconds, the id of the alert, and the signature over both and the very bytes."""
    (project.root / "hook.secret").write_text(f"{SECRET}\n")
    config = _hooked(project, receiver, webhook_secret_file="hook.secret", dashboard_url="https://ml.example.com/")
    assert _tell(config, _failed(), lambda: datetime.now(UTC)) == "1 alert sent"
    (got,) = receiver.posts
    said = Webhook(SECRET).verify(got.body, got.headers)
    assert said["type"] == "rehone.alert.failed"
    assert said["timestamp"] == "2026-06-01T12:00:00Z"
    assert said["data"] == {
        "project": "story",
        "kind": "failed",
        "key": "story/failed/StoreError",
        "line": "story: failed: the disk is full; next: `rehone show 20260601T120000Z-one`",
        "run_id": "20260601T120000Z-one",
        "value": None,
        "limit": None,
        "command": "rehone show 20260601T120000Z-one",
        "link": "https://ml.example.com/run/20260601T120000Z-one",
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace(b"full", b"gone"), got.headers)


def test_two_secrets_sign_so_that_a_receiver_can_change_to_the_new_one(project: Project, receiver: Receiver) -> None:
    (project.root / "hook.secret").write_text(f"{SECRET}\n{OTHER.removeprefix('whsec_')}\n")
    config = _hooked(project, receiver, webhook_secret_file="hook.secret")
    _tell(config, _failed(), lambda: datetime.now(UTC))
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(receiver.posts[0].body, receiver.posts[0].headers)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "alerts.webhook_secret_file hook.secret cannot be read (No such file or directory): nothing is sent unsigned"),
        ("", "alerts.webhook_secret_file hook.secret is empty: nothing is sent unsigned"),
        ("hush!", 'line 1 of hook.secret is no secret: write "whsec_" and the base64 of 32 random bytes'),
        ("aHVzaA==", "line 1 of hook.secret is a secret of 4 bytes, need 24 to 64: "),
    ],
)  # fmt: skip
def test_without_a_secret_that_can_be_used_nothing_is_sent(
    project: Project, receiver: Receiver, text: str | None, said: str
) -> None:
    """What stands in the file is not repeated."""
    if text is not None:
        (project.root / "hook.secret").write_text(text)
    config = _hooked(project, receiver, webhook_secret_file="hook.secret")
    with pytest.raises(RehoneError) as caught:
        _tell(config, _failed())
    assert str(caught.value).startswith(f"webhook: {said}")
    assert "hush" not in str(caught.value)
    assert receiver.posts == []


def test_apprise_sends_the_line_to_each_address_of_its_file(project: Project, receiver: Receiver) -> None:
    config = _config(project, apprise=_chats(project, _chat(receiver, "/a"), "# nobody", _chat(receiver, "/b")))
    _tell(config, _failed())
    assert sorted(one.path for one in receiver.posts) == ["/a", "/b"]
    got = receiver.posts[0].json
    assert (got["title"], got["type"]) == ("story: failed", "failure")
    assert got["message"] == "story: failed: the disk is full; next: `rehone show 20260601T120000Z-one`"


def test_a_yaml_file_of_apprise_does_too(project: Project, receiver: Receiver) -> None:
    (project.root / "apprise.yml").write_text(f"urls:\n  - {_chat(receiver, '/a')}\n")
    _tell(_config(project, apprise="apprise.yml"), _failed())
    assert [one.path for one in receiver.posts] == ["/a"]


def test_the_health_of_the_pipeline_is_told_with_the_run(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A health that cannot be said keeps back nothing that the run itself gives to tell."""
    config, clock = _hooked(project, receiver), Clock()
    ill = replace(api.health(config), checks=(Check(name="breaker", status=CheckStatus.ACT, detail="3 lost in a row"),))
    monkeypatch.setattr(api, "health", lambda _: ill)
    assert _tell(config, _failed(), clock) == "2 alerts sent"
    assert [got.line for got in receiver.posts] == [
        "story: failed: the disk is full; next: `rehone show 20260601T120000Z-one`",
        "story: breaker: 3 lost in a row; next: `rehone breaker --reset --because TEXT`",
    ]
    monkeypatch.setattr(api, "health", lambda _: 1 / 0)
    assert _tell(config, _failed("two", problem="DataError"), clock) == "1 alert sent"


def test_what_is_not_asked_for_is_not_sent(project: Project, receiver: Receiver) -> None:
    config = _hooked(project, receiver, on=["rolled_back"])
    assert _tell(config, _failed()) == "nothing to tell"
    assert receiver.posts == []


# --- once ----------------------------------------------------------------------------------------


def test_the_same_trouble_is_told_once_within_repeat_hours(project: Project, receiver: Receiver) -> None:
    """Then again; another trouble is told at once."""
    config, clock = _hooked(project, receiver, repeat_hours=24), Clock()
    _tell(config, _failed("one"), clock)
    clock.wait(hours=23)
    assert _tell(config, _failed("two"), clock) == "0 alerts sent, 1 left out as told before"
    assert _tell(config, _failed("three", problem="DataError"), clock) == "1 alert sent"
    clock.wait(hours=1)
    assert _tell(config, _failed("four"), clock) == "1 alert sent"
    runs = [got.json["data"]["run_id"][-5:] for got in receiver.posts]
    assert runs == ["Z-one", "three", "-four"]
    assert _states(project) == [State.SENT, State.LEFT, State.SENT, State.SENT]
    assert alerts.listed(project.root, 99)[1].held == "told before, 2026-06-01 12:00 UTC"


def test_telling_a_run_twice_sends_it_once(project: Project, receiver: Receiver) -> None:
    """Whoever tells may die before it notes that it did, and tells again."""
    config, clock = _hooked(project, receiver, repeat_hours=0.001), Clock()
    for _ in range(3):
        assert _tell(config, _failed(), clock) == "1 alert sent"
        clock.wait(days=1)
    assert len(receiver.posts) == 1


def test_a_trouble_that_passes_and_comes_back_is_no_second_one(project: Project, receiver: Receiver) -> None:
    """Nothing says that all is well again, and the count of hours goes on."""
    config, clock = _hooked(project, receiver), Clock()
    for n in range(6):
        _tell(config, _failed(f"{n}a"), clock)
        clock.wait(hours=1)
        _tell(config, replace(_failed(f"{n}b", status=RunStatus.SKIPPED), problem=None), clock)
        clock.wait(hours=1)
    assert len(receiver.posts) == 1


def test_an_alert_that_may_have_been_sent_keeps_its_id(project: Project, receiver: Receiver) -> None:
    """A sender that was killed in between sends again; the receiver can tell by webhook-id."""
    config = _hooked(project, receiver)
    _tell(config, _failed())
    (path,) = (project.root / "runs" / "alerts").glob("*.sent.json")
    notice = json.loads(path.read_bytes())
    path.unlink()
    killed = notice | {"state": "waiting", "sent": [], "sent_at": None, "error": "being sent"}
    (path.parent / path.name.replace(".sent.", ".waiting.")).write_text(json.dumps(killed))
    _tell(config, _failed())
    first, second = (got.headers["webhook-id"] for got in receiver.posts)
    assert first == second
    assert _states(project) == [State.SENT]


def test_two_who_tell_at_once_send_once(project: Project, receiver: Receiver) -> None:
    """They take the lock of the deliveries one after the other, and the second one finds it told."""
    config = _hooked(project, receiver)
    api.tell(config)
    record = project.run(70)
    assert record.status is RunStatus.FAILED
    for folder in ("alerts", "deliveries"):
        for path in (project.root / "runs" / folder).rglob("*.json"):
            path.unlink()
    receiver.posts.clear()
    Outbox.of(config, "alerts").reach(record.started_at)
    both = [threading.Thread(target=api.tell, args=(config,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(receiver.posts) == 1


# --- at the right hour -----------------------------------------------------------------------------


def test_at_night_only_what_is_urgent_is_sent_and_the_rest_in_the_morning(project: Project, receiver: Receiver) -> None:
    config = _hooked(project, receiver, quiet_hours="22:00-07:00", timezone="Europe/Paris", urgent=["failed"])
    clock = Clock(datetime(2026, 6, 1, 21, tzinfo=UTC))
    rejected = replace(_failed("no", status=RunStatus.REJECTED), problem=None, sentence="recall 0.1 must be ≥ 0.5")
    with pytest.raises(Later, match=r"^quiet hours until 2026-06-02 07:00 Europe/Paris$"):
        _tell(config, rejected, clock)
    assert receiver.posts == []
    _tell(config, _failed(), clock)
    assert [got.json["data"]["kind"] for got in receiver.posts] == ["failed"]
    clock.now = datetime(2026, 6, 2, 5, tzinfo=UTC)
    assert _tell(config, rejected, clock) == "1 alert sent"
    assert [got.json["data"]["kind"] for got in receiver.posts] == ["failed", "rejected"]


def test_of_one_trouble_at_night_the_morning_hears_the_newest(project: Project, receiver: Receiver) -> None:
    config = _hooked(project, receiver, quiet_hours="22:00-07:00")
    clock = Clock(datetime(2026, 6, 1, 22, 30, tzinfo=UTC))
    runs = [replace(_failed(f"{n}", status=RunStatus.REJECTED), problem=None, sentence=f"try {n}") for n in range(3)]
    for run in runs:
        with pytest.raises(Later):
            _tell(config, run, clock)
        clock.wait(hours=2)
    clock.now = datetime(2026, 6, 2, 7, tzinfo=UTC)
    assert [_tell(config, run, clock) for run in runs] == [
        "0 alerts sent, 1 left out as told before",
        "0 alerts sent, 1 left out as told before",
        "1 alert sent",
    ]
    assert [got.line for got in receiver.posts] == ["story: rejected: try 2; next: `rehone show 20260601T120000Z-2`"]


# --- what cannot be sent ---------------------------------------------------------------------------


def test_an_address_that_is_down_gets_it_later_and_the_others_get_it_once(project: Project, receiver: Receiver) -> None:
    config = _hooked(project, receiver, apprise=_chats(project, _chat(receiver, "/a"), _chat(receiver, "/b")))
    receiver.answers = {"/b": 500, "/hook": 503}
    clock = Clock()
    with pytest.raises(RehoneError) as caught:
        _tell(config, _failed(), clock)
    assert str(caught.value).startswith("json-2: Failed to send JSON POST notification: ")
    assert str(caught.value).endswith(f"; webhook: {receiver.url} answered HTTP 503")
    (notice,) = alerts.listed(project.root, 9)
    assert (notice.state, notice.attempts, [s.address for s in notice.sent]) == (State.WAITING, 1, ["json-1"])
    receiver.answers = {}
    clock.wait(days=3)
    assert _tell(config, _failed(), clock) == "1 alert sent"
    assert [len(receiver.at(path)) for path in ("/a", "/b", "/hook")] == [1, 2, 2]
    (notice,) = alerts.listed(project.root, 9)
    assert (notice.state, notice.attempts, notice.error) == (State.SENT, 2, "")


def test_nobody_listening_is_said_by_name(project: Project, receiver: Receiver) -> None:
    config = _config(project, webhook="http://127.0.0.1:9/token-in-the-path")
    with pytest.raises(RehoneError) as caught:
        _tell(config, _failed())
    assert str(caught.value) == "webhook: http://127.0.0.1:9 cannot be reached (Connection refused)"


def test_a_redirect_is_not_followed(project: Project, receiver: Receiver) -> None:
    receiver.answers = {"/hook": 302}
    with pytest.raises(RehoneError, match="answered HTTP 302, a redirect, which is not followed"):
        _tell(_hooked(project, receiver), _failed())
    assert [got.path for got in receiver.posts] == ["/hook"]


def test_an_address_that_hangs_holds_up_no_other(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again for the second alert of the same telling."""
    monkeypatch.setattr(address, "SECONDS", 0.5)
    receiver.slow = {"/a": 2.0}
    config = _hooked(project, receiver, apprise=_chats(project, _chat(receiver, "/a")))
    listener = AlertsListener(config, Clock())
    for record in (_failed("one"), _failed("two", problem="DataError")):
        with pytest.raises(RehoneError, match=r"^json-1: did not answer within 0\.5 s$"):
            listener.tell_run(record, b"")
    assert [len(receiver.at(path)) for path in ("/hook", "/a")] == [2, 1]


def test_a_missing_library_is_named_and_the_webhook_is_sent(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    config = _hooked(project, receiver, apprise=_chats(project, _chat(receiver, "/a")))
    with pytest.raises(RehoneError, match=r"^apprise: apprise is not installed: pip install 'rehone\[alerts\]'$"):
        _tell(config, _failed())
    assert [got.path for got in receiver.posts] == ["/hook"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "apprise: alerts.apprise apprise.txt names no address"),
        (("slackk://tok-hush/a/b",), "apprise: alerts.apprise apprise.txt holds something that is no address"),
        (
            ("json://127.0.0.1:9/x", "hush, what is this"),
            "apprise: alerts.apprise apprise.txt holds something that is no address (line 2): `apprise --config apprise.txt --dry-run -b x` says why",
        ),
    ],
)
def test_a_file_of_apprise_that_cannot_be_used_is_said(project: Project, lines: tuple[str, ...], said: str) -> None:
    """Its lines hold secrets, and are not repeated."""
    with pytest.raises(RehoneError) as caught:
        _tell(_config(project, apprise=_chats(project, *lines)), _failed())
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_file_of_apprise_that_is_gone_is_said(project: Project) -> None:
    with pytest.raises(RehoneError, match=r"^apprise: alerts.apprise gone.yml cannot be read \(No such file"):
        _tell(_config(project, apprise="gone.yml"), _failed())


def test_no_secret_reaches_a_file_a_log_or_an_error(
    project: Project, receiver: Receiver, logged: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether it stands in the login, the path, a header or a parameter of an address, or in the file of the secret."""
    receiver.answers = {"/path-hush": 401, "/hook": 401}
    (project.root / "hook.secret").write_text(SECRET)
    chat = _chat(receiver, "/path-hush?+X-Token=header-hush&-key=param-hush", login="user-hush:pass-hush@")
    down = "json://user-hush:pass-hush@127.0.0.1:9/path-hush"
    config = _hooked(
        project, receiver, webhook_secret_file="hook.secret", apprise=_chats(project, chat, down, "slackk://tok-hush/x")
    )
    with pytest.raises(RehoneError) as caught:
        _tell(config, _failed())
    assert main(["alerts", "test", "-p", str(project.root)]) == 2
    assert main(["alerts", "list", "-p", str(project.root), "--json"]) == 0
    assert len(receiver.at("/path-hush")) == 2
    kept = b"".join(p.read_bytes() for p in (project.root / "runs").rglob("*") if p.is_file()).decode()
    said = capfd.readouterr()
    for where in (str(caught.value), kept, "\n".join(logged), said.out, said.err):
        assert "hush" not in where
        assert SECRET.removeprefix("whsec_") not in where


def test_every_part_of_an_address_but_its_host_is_taken_out_of_what_is_said() -> None:
    shown = "json://me:****@hooks.example.com/****"
    url = "json://me:pass%20word@hooks.example.com:8443/tok-1234/x?-key=abcd"
    said = without_secrets("failed at hooks.example.com:8443 with pass word, pass%20word, tok-1234, abcd", url, shown)
    assert said == "failed at hooks.example.com:8443 with ***, ***, ***, ***"
    assert without_secrets("to xoxb-1234", "slack://xoxb-1234/abc", "slack://x...4/***") == "to ***"


def test_a_damaged_note_keeps_no_other_alert_back(project: Project, receiver: Receiver) -> None:
    config, clock = _hooked(project, receiver), Clock()
    receiver.answers = {"/hook": 500}
    with pytest.raises(RehoneError):
        _tell(config, _failed(), clock)
    next((project.root / "runs" / "alerts").glob("*.waiting.json")).write_text("{")
    receiver.answers = {}
    clock.wait(hours=1)
    assert _tell(config, _failed("two", problem="DataError"), clock) == "1 alert sent"


def test_only_so_many_settled_alerts_are_kept(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_KEPT", 3)
    config, clock = _hooked(project, receiver), Clock()
    for n in range(6):
        _tell(config, _failed(f"{n}"), clock)
        clock.wait(days=2)
    assert [n.subject[-1] for n in alerts.listed(project.root, 99)] == ["3", "4", "5"]


# --- people who answer and act -----------------------------------------------------------------------


def _waiting() -> RunRecord:
    asked = Approval(asked_at=NOON, until=NOON + timedelta(days=3), champion=None)
    return replace(_failed("ask"), status=None, problem=None, finished_at=None, approval=asked, version="c" * 64)


def test_an_approval_that_was_given_before_it_was_asked_for_is_not_asked_for(
    project: Project, receiver: Receiver
) -> None:
    """The address was down meanwhile."""
    config, clock = _hooked(project, receiver), Clock()
    receiver.answers = {"/hook": 500}
    with pytest.raises(RehoneError):
        _tell(config, _waiting(), clock)
    receiver.answers = {}
    done = replace(_waiting(), status=RunStatus.DEPLOYED, finished_at=NOON)
    assert _tell(config, done, clock) == "nothing to tell"
    (notice,) = alerts.listed(project.root, 9)
    assert (notice.state, notice.held, len(receiver.posts)) == (State.LEFT, "answered before it was sent", 1)


def test_a_rollback_by_hand_is_told(project: Project, receiver: Receiver) -> None:
    made = Deployment(
        generation=3,
        version="a" * 64,
        action=DeploymentAction.ROLLBACK,
        state=DeploymentState.CONFIRMED,
        at=NOON,
        actor="ana@desk",
        reason="too many alarms",
    )
    assert AlertsListener(_hooked(project, receiver), Clock()).tell_deployment(made) == "1 alert sent"
    assert receiver.posts[0].line == (
        "story: rolled back: version aaaaaaaaaaaa is live as generation 3, by ana@desk: too many alarms; next: "
        "`rehone status`"
    )


# --- with runs -----------------------------------------------------------------------------------


def test_a_run_is_told_and_ends_as_it_does_without(
    project: Project, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody listens: the exit code is the same, the alert is kept, and doctor or `alerts send` send it later."""
    run = ["run", "-p", str(project.root), "--as-of", "2026-03-01", "-q"]
    plain = main(run)
    without = capfd.readouterr()
    _hooked(project, receiver)
    receiver.answers = {"/hook": 500}
    assert main(run) == plain
    said = capfd.readouterr()
    assert said.out == without.out
    assert f"alerts was not told of 1 run or deployment yet: webhook: {receiver.url} answered HTTP 500" in said.err
    assert main(["alerts", "send", "-p", str(project.root)]) == 2
    receiver.answers = {}
    assert main(["alerts", "send", "-p", str(project.root), "--json"]) == 0
    (notice,) = json.loads(capfd.readouterr().out.partition("[\n")[2].join(("[\n", "")))
    assert (notice["state"], notice["attempts"]) == ("sent", 3)
    assert [c.status for c in api.doctor(project.root) if c.subject == "alerts"] == [CheckStatus.OK]
    assert len(receiver.posts) == 3
    assert len({got.headers["webhook-id"] for got in receiver.posts}) == 1


def test_what_waits_for_the_morning_is_no_trouble_of_a_run_or_of_doctor(
    project: Project, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"
    _hooked(project, receiver, quiet_hours=hours, urgent=[])
    main(["run", "-p", str(project.root), "--as-of", "2026-03-01", "-q"])
    assert "tracker not told" not in capfd.readouterr().err
    (check,) = (c for c in api.doctor(project.root) if c.subject == "alerts")
    assert check.status is CheckStatus.OK
    assert check.detail.startswith(
        "alerts was told of 0 runs and deployments; 1 run or deployment waits: quiet hours until "
    )
    assert receiver.posts == []
    _hooked(project, receiver)
    assert [c.detail for c in api.doctor(project.root) if c.subject == "alerts"] == [
        "alerts was told of 1 run or deployment"
    ]
    assert len(receiver.posts) == 1


def test_what_was_over_when_alerts_were_configured_is_never_told(project: Project, receiver: Receiver) -> None:
    """Not even by `doctor --tell-since`, which is for trackers that keep a history."""
    project.run(70)
    _hooked(project, receiver)
    api.doctor(project.root, tell_since="2000-01-01")
    assert receiver.posts == []


def test_the_test_button_sends_whatever_the_hour(
    project: Project, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each address is named with what became of it; nothing is kept."""
    chats = _chats(project, _chat(receiver, "/a"), _chat(receiver, "/b"))
    _hooked(project, receiver, apprise=chats, quiet_hours="00:00-23:59")
    assert main(["alerts", "test", "-p", str(project.root)]) == 0
    out = capfd.readouterr().out
    assert [line.split(", to ")[1] for line in out.splitlines() if line.startswith("sent ")] == [
        "json-1",
        "json-2",
        "webhook",
    ]
    assert [got.line for got in receiver.at("/hook")] == [
        "story: test: alerts of this project arrive here; next: `rehone alerts list`"
    ]
    receiver.answers = {"/b": 500}
    assert main(["alerts", "test", "-p", str(project.root)]) == 2
    out = capfd.readouterr().out
    assert [line.split(" ")[0] for line in out.splitlines() if line[0] != " "] == ["sent", "failed", "sent"]
    assert alerts.listed(project.root, 9) == ()


def test_without_an_address_the_key_to_set_is_named(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("test", "send"):
        assert main(["alerts", command, "-p", str(project.root)]) == 2
        said = "nobody is named in [alerts] of rehone.toml: set alerts.apprise or alerts.webhook\n"
        assert capfd.readouterr().err == said
    assert main(["alerts", "list", "-p", str(project.root)]) == 0
    assert capfd.readouterr().out == "No alerts yet.\n"


def test_what_is_listed_fits_eighty_columns(
    project: Project, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    config, clock = _hooked(project, receiver), Clock()
    _tell(config, _failed(), clock)
    clock.wait(minutes=1)
    _tell(config, _failed("two"), clock)
    assert main(["alerts", "list", "-p", str(project.root)]) == 0
    out = capfd.readouterr().out
    assert out == (
        "sent     2026-06-01 12:00 UTC, to webhook\n"
        "         story: failed: the disk is full; next: `rehone show\n"
        "         20260601T120000Z-one`\n"
        "left     2026-06-01 12:01 UTC, told before, 2026-06-01 12:00 UTC\n"
        "         story: failed: the disk is full; next: `rehone show\n"
        "         20260601T120000Z-two`\n"
    )


@pytest.mark.slow
def test_a_run_that_waits_its_answer_and_a_rollback_by_hand_are_told_one_after_the_other(
    project: Project, receiver: Receiver
) -> None:
    """While it waits it has no line in the ledger; asking again tells nobody twice."""
    keys = {"webhook": f"{receiver.url}/hook", "on": ["approval", "deployed", "rolled_back"]}
    project.configure(deploy={"approval": "manual"}, alerts=keys)
    project.feed(0, 70)
    record = project.run(70)
    assert record.waits
    assert record.config["alerts"]["webhook"] == f"{receiver.url}/..."
    api.doctor(project.root)
    api.approve(project.root, record.run_id, because="looks fine")
    api.rollback(project.root, to="none", because="it was a trial")
    assert [got.json["data"]["kind"] for got in receiver.posts] == ["approval", "deployed", "rolled_back"]
    assert receiver.posts[0].line.endswith(f"would be the first champion; next: `rehone approve {record.run_id}`")
    assert receiver.posts[2].line.endswith(": it was a trial; next: `rehone status`")

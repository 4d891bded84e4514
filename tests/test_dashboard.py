"""What the dashboard promises, over real sockets: who may look, what is shown, and that looking changes nothing."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from conftest import Project
from dashboard_kit import TOKEN, Dashboard, dashboard, print_of
from rehone import api
from rehone import dashboard as door
from rehone.api.door import now
from rehone.config import load_config
from rehone.dashboard.guard import is_own
from rehone.dashboard.house import House
from rehone.dashboard.server import prefixes, warm_up
from rehone.dashboard.sessions import LASTS, Sessions
from rehone.dashboard.settings import is_loopback, settings
from rehone.dashboard.shelf import Shelf
from rehone.dashboard.state import state_of
from rehone.errors import ConfigError, RehoneError
from rehone.records import RunRecord
from rehone.runlog import RunLog
from rehone.store import Store

PAGES = ("/", "/drift", "/runs", "/health")
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def shown(live: Project) -> Iterator[Dashboard]:
    """Return the dashboard of a project with one deployment, without a token."""
    with dashboard(live.root) as served:
        yield served


@pytest.fixture
def guarded(live: Project) -> Iterator[Dashboard]:
    """Return the dashboard of a project with one deployment, behind a token."""
    with dashboard(live.root, token=True) as served:
        yield served


def first(project: Project) -> RunRecord:
    return api.history(project.root)[0]


def another(project: Project, run_id: str) -> RunRecord:
    """Close one more run, of the same story under another id."""
    log, started = RunLog.of(load_config(project.root)), datetime.strptime(f"{run_id[:15]}+0000", "%Y%m%dT%H%M%S%z")
    record = replace(first(project), run_id=run_id, started_at=started)
    log.finish(record)
    return record


# what is shown


def test_every_page_is_served_with_what_the_record_says(live: Project, shown: Dashboard) -> None:
    record = first(live)
    for path in (*PAGES, f"/run/{record.run_id}"):
        reply = shown.ask(path)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8"), path
        assert "story" in reply.text
    assert f"/run/{record.run_id}" in shown.ask("/runs").text
    assert record.run_id in shown.ask(f"/run/{record.run_id}").text


def test_it_says_where_it_is_once_pages_can_be_asked_for(shown: Dashboard) -> None:
    assert shown.said == [f"dashboard at {shown.url}; Ctrl-C ends it"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nothing", "there is no page"),
        ("/run/20260101T000000000000Z-abcdef", "there is no run"),
        ("/run/../../rehone.toml", "there is no"),
        ("/run/%2e%2e%2frehone.toml", "there is no"),
        ("/run/x/answer", "nobody has answered run"),
    ],
)
def test_what_is_not_there_is_said_so(shown: Dashboard, path: str, said: str) -> None:
    reply = shown.ask(path)
    assert reply.status == 404
    assert said in reply.text


@pytest.mark.parametrize("path", ["/", "/state", "/nothing", "/style.css", "/page.js"])
def test_a_browser_may_do_nothing_with_an_answer_but_show_it(shown: Dashboard, path: str) -> None:
    headers = shown.ask(path).headers
    assert headers["content-security-policy"] == CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_can_only_be_looked_at(shown: Dashboard, method: str) -> None:
    assert [shown.ask(path, method).status for path in (*PAGES, "/state")] == [405] * 5


def test_every_page_that_links_to_a_page_links_to_one_that_is_there(shown: Dashboard) -> None:
    seen, left = set[str](), {"/"}
    while left:
        path = left.pop()
        seen.add(path)
        reply = shown.ask(path)
        assert reply.status == 200, path
        links = {link.partition("#")[0] for link in re.findall(r'href="(/[^"]*)"', reply.text)}
        left |= {link.replace("&amp;", "&") for link in links if link} - seen
    assert len(seen) >= 6


# looking changes nothing, and costs little


def test_looking_writes_nothing_and_waits_for_no_run(live: Project) -> None:
    config = load_config(live.root)
    with Store.of(config).lock("a run"), dashboard(live.root) as shown:
        before = print_of(live.root / "runs", live.root / "store")
        for path in (*PAGES, "/state", f"/run/{first(live).run_id}"):
            assert shown.ask(path).status == 200, path
        assert print_of(live.root / "runs", live.root / "store") == before


def test_a_page_that_has_not_changed_is_not_sent_again(live: Project, shown: Dashboard) -> None:
    # The state also changes twice a minute by itself: ask again when that came between.
    for _ in range(3):
        tags = {path: shown.ask(path).headers["etag"] for path in PAGES}
        again = [shown.ask(path, if_none_match=tags[path]) for path in PAGES]
        if all(reply.status == 304 for reply in again):
            break
    assert [(reply.status, reply.text) for reply in again] == [(304, "")] * 4
    another(live, "20260401T000000Z-000001")
    time.sleep(0.6)
    assert [shown.ask(path, if_none_match=tags[path]).status for path in PAGES] == [200] * 4


def test_the_state_changes_when_a_run_begins_gets_on_and_ends_and_when_something_is_deployed(live: Project) -> None:
    config, log = load_config(live.root), RunLog.of(load_config(live.root))
    seen = [state_of(config)]
    assert state_of(config) == seen[0]
    record = replace(first(live), run_id="20991231T000000000000Z-000001", started_at=now() + timedelta(days=1))
    under_way = replace(record, status=None, finished_at=None, stages=())
    log.begin(under_way)
    seen.append(state_of(config))
    log.note(replace(under_way, stages=record.stages[:2]))
    seen.append(state_of(config))
    log.finish(record)
    seen.append(state_of(config))
    head = Store.of(config).head()
    assert head is not None
    Store.of(config).append(replace(head, generation=2, previous=head.version), expect_generation=1)
    seen.append(state_of(config))
    assert len(set(seen)) == 5


def test_a_run_that_ends_while_somebody_looks_is_shown_without_a_restart(live: Project, shown: Dashboard) -> None:
    before = shown.ask("/state").text
    assert "20260401T000000Z-000002" not in shown.ask("/runs").text
    another(live, "20260401T000000Z-000002")
    time.sleep(0.6)
    assert shown.ask("/state").text != before
    assert "20260401T000000Z-000002" in shown.ask("/runs").text
    assert "20260401T000000Z-000002" in shown.ask("/run/20260401T000000Z-000002").text


FIRST = """
import sys, threading
from pathlib import Path
from rehone import codec
from rehone.records import RunRecord

sys.setswitchinterval(1e-6)
data, together, read = Path(sys.argv[1]).read_bytes(), threading.Barrier(6), []

def meet():
    together.wait()
    read.append(codec.decode(data, RunRecord, source="a record").run_id)

threads = [threading.Thread(target=meet) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(read))
"""


def test_threads_that_read_their_first_record_at_the_same_time_all_read_it(live: Project) -> None:
    path = next(path for path in (live.root / "runs").rglob("2*.json") if path.name.count(".") == 1)
    done = subprocess.run([sys.executable, "-c", FIRST, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr


# who may look


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:8010", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("[::1]:8010", True),
        ("192.168.7.7:8010", True),
        ("dash.example.com", True),
        ("dash.example.com.:8010", True),
        ("evil.example.com", False),
        ("localhost.evil.example.com", False),
        ("127.0.0.1.evil.example.com", False),
        ("", False),
        ("a" * 300, False),
    ],
)
def test_only_an_address_or_a_name_of_its_own_names_the_server(host: str, own: bool) -> None:
    assert is_own(host, frozenset({"localhost", "dash.example.com"})) is own


def test_a_page_of_somebody_else_whose_name_leads_here_gets_nothing(shown: Dashboard) -> None:
    reply = shown.ask("/", host="evil.example.com")
    assert reply.status == 421
    assert reply.text == (
        "this dashboard is not called 'evil.example.com': ask for it by its address, or name it in alerts.dashboard_url "
        "or with --host\n"
    )
    assert shown.ask("/page.js", host="evil.example.com").status == 421


def test_the_name_that_alerts_link_to_is_one_of_its_own(live: Project) -> None:
    live.configure(alerts={"dashboard_url": "https://rehone.example.com/"})
    with dashboard(live.root) as shown:
        assert shown.ask("/", host="rehone.example.com").status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7", "example.com"])
def test_pages_that_can_be_reached_from_elsewhere_need_a_token(live: Project, host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings([str(live.root)], host=host)
    assert str(refused.value) == (
        "dashboard.token_file: 1 problem\n"
        f"  pages at {host} can be reached from elsewhere, and need a token to open them: "
        "make one with `(umask 077; openssl rand -hex 32 > token)` and name it: --token-file token"
    )
    live.configure(dashboard={"host": host})
    with pytest.raises(ConfigError):
        settings([str(live.root)])


def test_only_this_machine_reaches_a_loopback_address() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "")] == [False] * 5


def test_a_token_that_others_can_read_is_refused(live: Project) -> None:
    file = live.root / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"has mode 0644, so that others can use it: `chmod 600 .*token`"):
        settings([str(live.root)], token_file=file)
    live.configure(dashboard={"token_file": "token"})
    with pytest.raises(ConfigError, match=r"dashboard.token_file: 1 problem"):
        settings([str(live.root)])


def test_with_a_token_nothing_is_shown_without_it(live: Project, guarded: Dashboard) -> None:
    for path in (*PAGES, f"/run/{first(live).run_id}", "/runs?text=a%20b"):
        reply = guarded.ask(path)
        assert (reply.status, reply.text) == (303, ""), path
        assert reply.headers["location"].startswith("/login?to=%2F")
    assert guarded.ask("/runs?text=a").headers["location"] == "/login?to=%2Fruns%3Ftext%3Da"
    reply = guarded.ask("/state", accept="*/*")
    assert (reply.status, reply.text) == (401, "send the token as `Authorization: Bearer TOKEN`\n")
    assert reply.headers["www-authenticate"] == 'Bearer realm="rehone"'


def test_the_token_opens_the_pages_by_a_cookie_that_no_script_and_no_other_site_can_use(guarded: Dashboard) -> None:
    reply = guarded.ask("/login", form={"given": TOKEN, "name": "Ann", "to": "/drift"})
    assert (reply.status, reply.headers["location"]) == (303, "/drift")
    assert re.fullmatch(
        rf"rehone_{guarded.port}=\S+; HttpOnly; Max-Age=43200; Path=/; SameSite=strict", reply.headers["set-cookie"]
    )
    assert TOKEN not in reply.headers["set-cookie"]
    assert guarded.ask("/drift", cookie=reply.cookie).status == 200
    behind_tls = guarded.ask("/login", form={"given": TOKEN}, x_forwarded_proto="https")
    assert "; Secure" in behind_tls.headers["set-cookie"]


def test_a_program_sends_the_token_with_its_request(guarded: Dashboard) -> None:
    assert guarded.ask("/", authorization=f"Bearer {TOKEN}").status == 200
    assert guarded.ask("/state", accept="*/*", authorization=f"Bearer {TOKEN}x").status == 401
    assert guarded.ask("/state", accept="*/*", authorization=f"Basic {TOKEN}").status == 401


def test_another_text_than_the_token_is_refused(guarded: Dashboard) -> None:
    reply = guarded.ask("/login", form={"given": f"{TOKEN}x", "to": "/"})
    assert reply.status == 403
    assert "That is not the token." in reply.text
    assert "set-cookie" not in reply.headers
    assert guarded.ask("/login", form={"given": "", "to": "/"}).status == 403
    assert guarded.ask("/login", form={"given": "Türkçe ✓", "to": "/"}).status == 403


@pytest.mark.parametrize("to", ["//evil.example.com", "https://evil.example.com", "/\\evil.example.com", "", "/a\nb"])
def test_the_door_leads_nowhere_else(guarded: Dashboard, to: str) -> None:
    assert guarded.ask("/login", form={"given": TOKEN, "to": to}).headers["location"] == "/"


def test_a_visitor_can_leave(guarded: Dashboard) -> None:
    cookie = guarded.log_in()
    assert guarded.ask("/logout", form={"token": "wrong"}, cookie=cookie).status == 403
    visitor = guarded.house.sessions.visitor(cookie.partition("=")[2]) if guarded.house.sessions else None
    assert visitor is not None
    reply = guarded.ask("/logout", form={"token": visitor.form_token}, cookie=cookie)
    assert (reply.status, reply.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in reply.headers["set-cookie"]


def test_every_page_lets_its_visitor_leave(live: Project, guarded: Dashboard) -> None:
    run, cookie = f"/run/{first(live).run_id}", guarded.log_in()
    visitor = guarded.house.sessions.visitor(cookie.partition("=")[2]) if guarded.house.sessions else None
    assert visitor is not None
    guarded.ask(f"{run}/reject", form={"because": " ", "token": visitor.form_token}, cookie=cookie)
    leave = f'action="/logout"><input type="hidden" name="token" value="{visitor.form_token}"><button>Log out'
    for path, status in (("/", 200), (run, 200), (f"{run}/answer", 200), ("/run/x", 404)):
        reply = guarded.ask(path, cookie=cookie)
        assert reply.status == status
        assert leave in reply.text
        assert "Log out" not in guarded.ask(path, authorization=f"Bearer {TOKEN}").text
    assert "Log out" not in guarded.ask("/login").text


def test_whoever_kept_a_copy_of_the_cookie_is_out_too_once_its_visitor_has_left(guarded: Dashboard) -> None:
    """Another session of the same person goes on; so does a program that sends the token."""
    sessions, cookie, other = guarded.house.sessions, guarded.log_in(), guarded.log_in()
    assert sessions is not None
    visitor = sessions.visitor(cookie.partition("=")[2])
    assert visitor is not None
    assert guarded.ask("/runs", cookie=cookie).status == 200
    guarded.ask("/logout", form={"token": visitor.form_token}, cookie=cookie)
    assert guarded.ask("/runs", cookie=cookie).headers["location"] == "/login?to=%2Fruns"
    assert guarded.ask("/state", accept="*/*", cookie=cookie).status == 401
    assert guarded.ask("/runs", cookie=other).status == 200
    leaving = {"form": {}, "cookie": other, "authorization": f"Bearer {TOKEN}"}
    assert guarded.ask("/logout", **leaving).status == 303  # type: ignore[arg-type]  # a form and headers at once
    assert guarded.ask("/runs", authorization=f"Bearer {TOKEN}").status == 200


def test_a_session_ends_after_twelve_hours_or_with_its_token_or_its_server(clock: Callable[[], datetime]) -> None:
    sessions = Sessions(TOKEN.encode(), clock)
    cookie = sessions.begin("Ann")
    visitor = sessions.visitor(cookie)
    assert visitor is not None
    assert visitor.name == "Ann"
    assert replace(sessions, clock=lambda: clock() + LASTS - timedelta(seconds=1)).visitor(cookie) is not None
    assert replace(sessions, clock=lambda: clock() + LASTS).visitor(cookie) is None
    assert replace(sessions, token=b"another-token-of-many-letters").visitor(cookie) is None
    assert Sessions(TOKEN.encode(), clock).visitor(cookie) is None
    assert TOKEN not in repr(sessions)


def test_an_ended_session_is_remembered_until_its_time_and_no_longer(clock: Callable[[], datetime]) -> None:
    moment = [clock()]
    sessions = Sessions(TOKEN.encode(), lambda: moment[0])
    first = sessions.begin("Ann")
    for cookie in (first, first, "", f"{first}0"):
        sessions.end(cookie)
    assert (sessions.visitor(first), len(sessions.ended)) == (None, 1)
    moment[0] += LASTS - timedelta(hours=1)
    later = sessions.begin("Ann")
    sessions.end(later)
    assert (sessions.visitor(first), len(sessions.ended)) == (None, 2)
    moment[0] += timedelta(hours=2)
    sessions.end(first)
    sessions.end(sessions.begin("Bob"))
    assert (sessions.visitor(first), sessions.visitor(later), len(sessions.ended)) == (None, None, 2)


def test_of_too_many_ended_sessions_none_comes_back(
    clock: Callable[[], datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would have ended before the one that is forgotten ends with it, also of those who have not left."""
    monkeypatch.setattr("rehone.dashboard.sessions.MOST_ENDED", 3)
    moment = [clock()]
    sessions = Sessions(TOKEN.encode(), lambda: moment[0])
    made = []
    for _ in range(6):
        made.append((sessions.begin("left"), sessions.begin("stays")))
        moment[0] += timedelta(minutes=1)
    for left, _ in (*made, made[0]):
        sessions.end(left)
    assert len(sessions.ended) == 3
    assert [sessions.visitor(left) for left, _ in made] == [None] * 6
    assert [sessions.visitor(stays) is not None for _, stays in made] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("forge", ["{}0", "x{}", "{}.x", "", "é.é", "."])
def test_a_cookie_that_was_not_given_out_opens_nothing(forge: str, clock: Callable[[], datetime]) -> None:
    sessions = Sessions(TOKEN.encode(), clock)
    assert sessions.visitor(forge.format(sessions.begin("Ann"))) is None


# answers


def test_nobody_answers_without_a_token(live: Project, shown: Dashboard) -> None:
    reply = shown.ask(f"/run/{first(live).run_id}/approve", form={"because": "good"})
    assert reply.status == 403
    assert "answers need a token: start the dashboard with --token-file, or use the command" in reply.text


def test_an_answer_needs_the_form_of_this_visitor(live: Project, guarded: Dashboard) -> None:
    run, cookie = f"/run/{first(live).run_id}", guarded.log_in()
    assert guarded.ask(f"{run}/approve", form={"because": "good"}, accept="*/*").status == 401
    for token in ({}, {"token": ""}, {"token": "x"}, {"token": TOKEN}):
        reply = guarded.ask(f"{run}/approve", form={"because": "good", **token}, cookie=cookie)
        assert reply.status == 403
        assert "this form was not made for you: load the page again" in reply.text
    other = guarded.house.sessions.visitor(guarded.log_in("Bob").partition("=")[2]) if guarded.house.sessions else None
    assert other is not None
    assert guarded.ask(f"{run}/approve", form={"token": other.form_token}, cookie=cookie).status == 403
    bearer = {"authorization": f"Bearer {TOKEN}", "sec_fetch_site": "cross-site"}
    assert guarded.ask(f"{run}/approve", form={"because": "good"}, **bearer).status == 403
    assert guarded.ask(f"{run}/approve", "GET", cookie=cookie).status == 404
    assert guarded.house.answers.under_way == 0


def test_what_cannot_be_answered_is_said_on_a_page(live: Project, guarded: Dashboard) -> None:
    run, bearer = f"/run/{first(live).run_id}", f"Bearer {TOKEN}"
    for verb in ("approve", "reject"):
        reply = guarded.ask(f"{run}/{verb}", form={"because": "good", "by": "Ann"}, authorization=bearer)
        assert (reply.status, reply.headers["location"]) == (303, f"{run}/answer")
        page = guarded.ask(f"{run}/answer", authorization=bearer)
        assert page.status == 200
        assert "was not answered" in page.text
        assert "does not wait for approval: it ended deployed" in page.text
    reply = guarded.ask(f"{run}/reject", form={"because": " "}, authorization=bearer)
    assert "say why it is rejected" in guarded.ask(f"{run}/answer", authorization=bearer).text


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"content_type": "application/json"}, 415, "send a form"),
        ({"content_type": "multipart/form-data; boundary=x"}, 415, "send a form"),
        ({"content_length": "20001"}, 413, "a form holds at most 20,000 bytes"),
    ],
)
def test_a_form_is_small_and_a_form(guarded: Dashboard, sent: dict[str, str], status: int, said: str) -> None:
    text = "x" * (20_001 if status == 413 else 10)
    reply = guarded.ask("/login", form={"given": text}, **({} if status == 413 else sent))
    assert reply.status == status
    assert said in reply.text


# many projects


def test_a_fleet_has_a_page_of_all_and_a_project_that_is_broken_says_so_and_no_more(
    live: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("fleet")
    live.copy(root / "one")
    live.copy(root / "two")
    toml = (root / "two" / "rehone.toml").read_text()
    (root / "two" / "rehone.toml").write_text("[project]\nname = 3\n")
    with dashboard(root / "*") as shown:
        page = shown.ask("/")
        assert page.status == 200
        assert "2 projects" in page.text
        assert 'href="/p/one/"' in page.text
        assert "project.name" in page.text
        assert shown.ask("/p/one").headers["location"] == "/p/one/"
        for path in PAGES:
            assert shown.ask(f"/p/one{path}").status == 200
        broken = shown.ask("/p/two/")
        assert broken.status == 200
        assert "two cannot be shown" in broken.text
        assert "project.name" in broken.text
        assert shown.ask("/p/three/").status == 404
        before = shown.ask("/state").text
        (root / "two" / "rehone.toml").write_text(toml)
        time.sleep(0.6)
        assert shown.ask("/state").text != before
        assert "cannot be shown" not in shown.ask("/p/two/").text
        assert all(f">{name}</a></th>" in shown.ask("/").text for name in ("story (one)", "story (two)"))


def test_a_damaged_ledger_is_said_on_the_page_of_its_project(live: Project, shown: Dashboard) -> None:
    assert shown.ask("/").status == 200
    ledger = live.root / "runs" / "ledger.jsonl"
    ledger.write_text("{nonsense}\n")
    time.sleep(0.6)
    reply = shown.ask("/")
    assert reply.status == 200
    assert "ledger.jsonl" in reply.text


def test_projects_of_one_folder_name_keep_apart() -> None:
    files = [Path("/a/x/rehone.toml"), Path("/b/x/rehone.toml"), Path("/c/ü x!/rehone.toml"), Path("/rehone.toml")]
    assert list(prefixes(files)) == ["/p/x", "/p/x-2", "/p/x-3", "/p/project"]
    assert list(prefixes(files[:1])) == [""]


# the command


def test_the_command_serves_until_it_is_interrupted(live: Project) -> None:
    asked = [sys.executable, "-P", "-m", "rehone", "dashboard", str(live.root), "--port", "0"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.fullmatch(r"dashboard at http://127\.0\.0\.1:\d+; Ctrl-C ends it\n", line)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_missing_extra_is_named_where_it_is_asked_for(live: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_NEEDS", ("jinja2", "no_such_library"))
    with pytest.raises(RehoneError, match=r"^the dashboard needs no_such_library: pip install 'rehone\[report\]'$"):
        door.serve([str(live.root)])


def test_before_it_listens_the_first_projects_are_drawn_and_one_that_cannot_be_read_stops_nothing(
    live: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken" / "rehone.toml"
    broken.parent.mkdir()
    broken.write_text("[project]\nnmae = 1\n")
    shelves = {name: Shelf(file, now) for name, file in (("/p/a", broken), ("/p/b", live.root / "rehone.toml"))}
    with caplog.at_level("INFO"):
        warm_up(House(shelves=shelves, clock=now, refresh_seconds=3))
    assert [event.message for event in caplog.records] == ["project not read"]
    kept = shelves["/p/b"]._book
    assert kept is not None
    assert kept[1].project == "story"

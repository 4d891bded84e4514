"""What a person does on live pages: log in, watch a run end, answer a challenger that waits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from browser_kit import PHONE, browser, history, overflow, until, violations, watched
from playwright.sync_api import Browser, Page

from conftest import Project
from dashboard_kit import TOKEN, Dashboard, dashboard
from rehone import api
from rehone.config import load_config
from rehone.records import RunRecord, short_id
from rehone.runlog import RunLog

__all__ = ["browser", "history"]


@pytest.fixture
def own(history: Project, tmp_path: Path) -> Project:
    """Return a copy of the history that a test may change."""
    made = history.copy(tmp_path / "own")
    with (made.root / "rehone.toml").open("a") as file:
        file.write("\n[dashboard]\nrefresh_seconds = 0.5\n")
    return made


@pytest.fixture
def guarded(own: Project) -> Iterator[Dashboard]:
    """Serve the copy behind a token."""
    with dashboard(own.root, token=True) as served:
        yield served


def waiting(project: Project) -> RunRecord:
    return next(record for record in api.history(project.root) if record.status is None)


def log_in(page: Page, name: str = "Ann") -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Token").fill(TOKEN)
    with page.expect_navigation():
        page.get_by_role("button", name="Open").click()


def close_another(project: Project) -> RunRecord:
    """Close one more run, of the story of the first one under another id."""
    log, first = RunLog.of(load_config(project.root)), api.history(project.root)[0]
    record = replace(first, run_id="20991231T235959000000Z-0000ff", started_at=first.started_at + timedelta(days=1))
    log.finish(record)
    return record


def test_a_page_follows_the_runs_and_keeps_what_the_reader_does(own: Project, browser: Browser) -> None:
    with dashboard(own.root) as shown, watched(browser, shown.url, viewport=PHONE) as window:
        page = window.open(f"{shown.url}/runs")
        page.evaluate("window.same = true")
        page.get_by_label("text").first.fill("half a wo")
        page.evaluate("scrollTo(0, 300)")
        at = page.evaluate("scrollY")
        before = page.locator("main table tbody tr").count()
        close_another(own)
        until(page, "n => document.querySelectorAll('main table tbody tr').length === n", arg=before + 1)
        assert page.evaluate("window.same")
        assert page.evaluate("scrollY") == at
        assert page.get_by_label("text").first.input_value() == "half a wo"
        assert page.evaluate("document.activeElement.name") == "text"
        assert page.locator("#live").text_content() == "live"


def test_a_page_says_when_the_dashboard_is_gone_and_goes_on_when_it_is_back(own: Project, browser: Browser) -> None:
    with dashboard(own.root) as shown:
        context = browser.new_context()
        page = context.new_page()
        page.goto(shown.url)
        until(page, "() => document.querySelector('#live').textContent === 'live'")
    until(page, "() => document.querySelector('#live').textContent.startsWith('not live')")
    assert page.locator("main h2").first.is_visible()
    with dashboard(own.root, port=shown.port):
        until(page, "() => document.querySelector('#live').textContent === 'live'")
    context.close()


def test_the_token_opens_the_page_that_was_asked_for(guarded: Dashboard, browser: Browser) -> None:
    with watched(browser, guarded.url, viewport=PHONE, color_scheme="dark") as window:
        page = window.open(f"{guarded.url}/drift")
        assert page.url == f"{guarded.url}/login?to=%2Fdrift"
        assert violations(page) == []
        assert overflow(page) <= 0
        log_in(page)
        assert page.url == f"{guarded.url}/drift"
        assert page.evaluate("document.cookie") == ""
        page.reload()
        assert page.url == f"{guarded.url}/drift"


def test_a_page_whose_session_has_ended_says_so_and_a_reload_leads_to_the_door(
    guarded: Dashboard, browser: Browser
) -> None:
    """Its visitor left in another window, or the dashboard was started anew."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{guarded.url}/drift")
    log_in(page)
    until(page, "() => document.querySelector('#live').textContent === 'live'")
    other = context.new_page()
    other.goto(guarded.url)
    with other.expect_navigation(url="**/login"):
        other.get_by_role("button", name="Log out").click()
    until(page, "() => document.querySelector('#live').textContent.startsWith('not live: the session has ended')")
    page.reload()
    assert page.url == f"{guarded.url}/login?to=%2Fdrift"
    context.close()


def test_a_wrong_token_is_said_and_opens_nothing(guarded: Dashboard, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(guarded.url)
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    assert "That is not the token." in page.get_by_role("alert").text_content()
    page.goto(f"{guarded.url}/runs")
    assert "/login" in page.url
    context.close()


def test_a_challenger_is_approved_on_its_page_while_others_look_on(
    own: Project, guarded: Dashboard, browser: Browser
) -> None:
    run = waiting(own)
    with watched(browser, guarded.url) as window:
        page = window.open(f"{guarded.url}/run/{run.run_id}")
        log_in(page)
        assert short_id(run.version) in page.locator("main").text_content()
        assert violations(page) == []
        form = page.locator("form[action$='/approve']").first
        form.locator("[name=because]").fill("holds on the newest rows")
        with page.expect_navigation(url="**/answer"):
            form.get_by_role("button").click()
        assert guarded.ask("/health", cookie=guarded.log_in()).status == 200
        until(page, "() => document.querySelector('main').textContent.includes('is answered')", seconds=60)
        assert violations(page) == []
        with page.expect_navigation():
            page.get_by_role("link", name=f"run {run.run_id}").click()
        said = page.locator("main").text_content()
        assert "deployed" in said
        assert "Ann (dashboard)" in said
        assert "holds on the newest rows" in said
        assert page.locator("form[action$='/approve']").count() == 0
    record = RunLog.of(load_config(own.root)).find(run.run_id)
    assert record.approval is not None
    assert (record.approval.approved, record.approval.by) == (True, "Ann (dashboard)")
    assert record.approval.because == "holds on the newest rows"
    assert record.status == "deployed"
    live = api.status(own.root).deployment
    assert live is not None
    assert live.version == run.version


def test_a_challenger_is_rejected_with_a_reason_that_is_shown_as_it_was_written(
    own: Project, guarded: Dashboard, browser: Browser
) -> None:
    run, reason = waiting(own), "<script>alert(1)</script> & \"not\" 'yet' <b>"
    with watched(browser, guarded.url, viewport=PHONE) as window:
        page = window.open(f"{guarded.url}/run/{run.run_id}")
        log_in(page)
        assert overflow(page) <= 0
    with watched(browser, guarded.url, java_script_enabled=False) as window:
        page = window.open(f"{guarded.url}/run/{run.run_id}")
        log_in(page, name="<i>Bob</i>")
        form = page.locator("form[action$='/reject']").first
        form.locator("[name=because]").fill(reason)
        with page.expect_navigation(url="**/answer"):
            form.get_by_role("button").click()
        page.get_by_text("is answered").first.wait_for(
            timeout=60_000
        )  # the page asks again by itself, without a script
        page.goto(f"{guarded.url}/run/{run.run_id}")
        assert reason in page.locator("main").text_content()
        assert "<i>Bob</i> (dashboard)" in page.locator("main").text_content()
    record = RunLog.of(load_config(own.root)).find(run.run_id)
    assert record.status == "rejected"
    assert record.approval is not None
    assert (record.approval.by, record.approval.because) == ("<i>Bob</i> (dashboard)", reason)


def test_without_a_token_a_page_names_the_command_and_has_no_form(own: Project, browser: Browser) -> None:
    run = waiting(own)
    with dashboard(own.root) as shown, watched(browser, shown.url) as window:
        page = window.open(f"{shown.url}/run/{run.run_id}")
        assert page.locator("main form").count() == 0
        assert f"rehone approve {run.run_id}" in page.locator("main").text_content()


def test_a_fleet_is_one_page_and_a_broken_project_says_what_is_wrong(
    history: Project, tmp_path: Path, browser: Browser
) -> None:
    for name in ("one", "two", "broken"):
        history.copy(tmp_path / name)
    (tmp_path / "broken" / "rehone.toml").write_text("[project]\nname = 3\n")
    shutil.rmtree(tmp_path / "two" / "store")
    with dashboard(tmp_path / "*") as shown, watched(browser, shown.url, viewport=PHONE) as window:
        page = window.open(shown.url)
        assert violations(page) == []
        assert overflow(page) <= 0
        assert page.locator("main tbody tr").count() == 3
        with page.expect_navigation():
            page.get_by_role("link", name="broken").click()
        assert "project.name" in page.locator("main").text_content()
        assert violations(page) == []
        with page.expect_navigation():
            page.get_by_role("link", name="all projects").click()
        with page.expect_navigation():
            page.locator("main tbody th a").nth(1).click()
        assert page.url == f"{shown.url}/p/one/"
        with page.expect_navigation():
            page.get_by_role("link", name="Health", exact=True).click()
        assert page.url == f"{shown.url}/p/one/health"
        with page.expect_navigation():
            page.get_by_role("link", name="All projects").click()
        assert page.url == f"{shown.url}/"

"""What a person sees in a real browser: the records, in both themes, on a phone, by keyboard, without a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_kit import DESK, PHONE, Watched, browser, history, overflow, until, violations, watched
from playwright.sync_api import Browser, Page

from conftest import Project
from dashboard_kit import Dashboard, dashboard
from rehone import api
from rehone.records import CheckStatus, RunRecord, short_id
from rehone.report.wording import ending

__all__ = ["browser", "history"]

NAMES = ("", "drift", "runs", "health")


@pytest.fixture(scope="module")
def shown(history: Project) -> Iterator[Dashboard]:
    """Serve the history, without a token."""
    with dashboard(history.root) as served:
        yield served


@pytest.fixture
def window(browser: Browser, shown: Dashboard) -> Iterator[Watched]:
    """Open a window of a desk."""
    with watched(browser, shown.url) as found:
        yield found


def paths(project: Project) -> list[str]:
    return [*NAMES, *(f"run/{record.run_id}" for record in api.history(project.root))]


def text(page: Page) -> str:
    """Return the text of a page as one line, what is folded too."""
    return " ".join(page.locator("main").text_content().split()) if page.locator("main").text_content() else ""


def plain(sentence: str) -> str:
    return " ".join(sentence.replace("`", "").replace("->", "→").split())


# what it says


def test_the_overview_says_what_is_live_and_what_waits(history: Project, shown: Dashboard, window: Watched) -> None:
    said = text(window.open(shown.url))
    status = api.status(history.root)
    assert status.deployment is not None
    assert short_id(status.deployment.version) in said
    waiting = [record for record in api.history(history.root) if record.status is None]
    assert [record.run_id in said for record in waiting] == [True]
    assert f"rehone approve {waiting[0].run_id}" in said


def test_the_table_of_runs_has_every_run_with_its_ending(history: Project, shown: Dashboard, window: Watched) -> None:
    page = window.open(f"{shown.url}/runs")
    records = api.history(history.root)
    rows = page.locator("main table tbody tr").all_text_contents()
    assert len(rows) == len(records)
    for record in records:
        row = next(row for row in rows if record.run_id in row or f"{record.started_at:%H:%M}" in row)
        assert ending(record).replace("_", " ") in row


def test_the_page_of_a_run_says_all_that_its_record_says(history: Project, shown: Dashboard, window: Watched) -> None:
    for record in api.history(history.root):
        said = text(window.open(f"{shown.url}/run/{record.run_id}"))
        assert [stage.name for stage in record.stages if plain(stage.sentence) not in plain(said)] == []
        assert [check.label for check in _checks(record) if plain(check.detail) not in plain(said)] == []
        if record.verdict is not None:
            assert plain(record.verdict.reason) in plain(said)


def _checks(record: RunRecord) -> list:  # type: ignore[type-arg]
    found = [*record.data_checks, *(record.trigger.checks if record.trigger else ())]
    return [*found, *(record.verdict.checks if record.verdict else ())]


def test_the_drift_page_names_every_feature_that_was_looked_at(
    history: Project, shown: Dashboard, window: Watched
) -> None:
    said = text(window.open(f"{shown.url}/drift"))
    looked = [record.evidence for record in api.history(history.root) if record.evidence and record.evidence.drift]
    assert looked
    assert [one.feature for one in looked[-1].drift if one.feature not in said] == []


def test_the_health_page_says_every_check(history: Project, shown: Dashboard, window: Watched) -> None:
    said = text(window.open(f"{shown.url}/health"))
    found = api.health(history.root)
    assert [check.label for check in found.checks if plain(check.detail) not in plain(said)] == []
    assert any(check.status is CheckStatus.ACT for check in found.checks) == ("✕ act" in said)


# how it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_fit_and_axe_finds_no_serious_violation(
    history: Project, shown: Dashboard, browser: Browser, scheme: str, size: dict[str, int]
) -> None:
    wrong = {}
    with watched(browser, shown.url, viewport=size, color_scheme=scheme) as window:
        for path in paths(history):
            page = window.open(f"{shown.url}/{path}")
            found = violations(page)
            if (wide := overflow(page)) > 0:
                found.append(f"{wide} pixels too wide")
            if found:
                wrong[path] = found
    assert wrong == {}


def test_nothing_jumps_while_a_page_loads(history: Project, shown: Dashboard, window: Watched) -> None:
    window.page.add_init_script(
        "window.moved = 0; new PerformanceObserver(list => { for (const one of list.getEntries()) window.moved += one.value; })"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    moved = {}
    for path in paths(history):
        page = window.open(f"{shown.url}/{path}")
        page.wait_for_timeout(200)
        moved[path] = page.evaluate("window.moved")
    assert {path: by for path, by in moved.items() if by > 0.01} == {}


def test_the_theme_of_a_reader_is_kept_from_page_to_page(shown: Dashboard, window: Watched) -> None:
    page = window.open(shown.url)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    window.open(f"{shown.url}/runs")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Light").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before


def test_two_themes_differ_and_no_text_is_lost_in_either(shown: Dashboard, browser: Browser) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        with watched(browser, shown.url, color_scheme=scheme) as window:
            page = window.open(shown.url)
            seen[scheme] = (
                page.evaluate(
                    "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
                ),
                text(page),
            )
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] == seen["dark"][1]


# how it is used


def test_the_first_tab_leads_past_the_navigation(shown: Dashboard, window: Watched) -> None:
    page = window.open(shown.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_every_page_is_reached_by_keyboard(shown: Dashboard, window: Watched) -> None:
    for name in ("Drift", "Runs", "Health", "Overview"):
        page = window.page if window.page.url != "about:blank" else window.open(shown.url)
        page.get_by_role("link", name=name, exact=True).first.focus()
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert name in page.title()
        assert page.locator("nav [aria-current=page]").text_content() == name


def test_arrow_keys_go_from_mark_to_mark_and_say_what_each_is(shown: Dashboard, window: Watched) -> None:
    page = window.open(f"{shown.url}/drift")
    drawing = page.locator(".drawing:visible").first
    drawing.focus()
    page.keyboard.press("ArrowRight")
    until(page, "() => document.querySelector('#tip').textContent !== ''")
    one = page.locator("#tip").text_content()
    page.keyboard.press("ArrowRight")
    until(page, "said => !['', said].includes(document.querySelector('#tip').textContent)", arg=one)
    page.keyboard.press("Escape")
    assert page.locator("#tip").text_content() == ""


def test_runs_are_filtered_by_ending_and_by_text(history: Project, shown: Dashboard, window: Watched) -> None:
    page = window.open(f"{shown.url}/runs")
    records = api.history(history.root)
    with page.expect_navigation():
        page.get_by_label("ending").first.select_option("rejected")
    rows = page.locator("main table tbody tr")
    assert rows.count() == sum(record.status == "rejected" for record in records)
    assert "ending=rejected" in page.url


def test_without_a_script_every_text_is_there(history: Project, shown: Dashboard, browser: Browser) -> None:
    for path in paths(history):
        with watched(browser, shown.url) as with_script:
            lit = text(with_script.open(f"{shown.url}/{path}"))
        with watched(browser, shown.url, java_script_enabled=False) as without:
            page = without.open(f"{shown.url}/{path}")
            assert bool(page.locator("main svg").count()) == bool(page.locator("main svg:visible").count())
            assert text(page) == lit, path


# one file


@pytest.fixture(scope="module")
def report(history: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of the history."""
    return api.report(history.root, tmp_path_factory.mktemp("report") / "report.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_report_is_one_file_that_asks_for_nothing(
    report: Path, browser: Browser, scheme: str, size: dict[str, int]
) -> None:
    with watched(browser, report.as_uri(), viewport=size, color_scheme=scheme) as window:
        page = window.open(report.as_uri())
        assert overflow(page) <= 0
        assert violations(page) == []
        assert [url for url in window.asked if not url.startswith("data:")] == [report.as_uri()]


def test_a_report_says_of_each_run_what_the_dashboard_says(
    history: Project, report: Path, shown: Dashboard, browser: Browser
) -> None:
    with watched(browser, report.as_uri()) as window:
        said = plain(text(window.open(report.as_uri())))
    for record in api.history(history.root):
        assert [stage.name for stage in record.stages if plain(stage.sentence) not in said] == []


def test_a_report_filters_its_runs_by_itself(history: Project, report: Path, browser: Browser) -> None:
    with watched(browser, report.as_uri()) as window:
        page = window.open(f"{report.as_uri()}#runs")
        page.get_by_label("ending").first.select_option("rejected")
        shown = page.locator("table#runs-table tbody tr:visible, form[data-rows] ~ * tbody tr:visible")
        assert shown.count() == sum(record.status == "rejected" for record in api.history(history.root))


def test_a_printed_report_shows_what_was_folded_on_white_paper(report: Path, browser: Browser) -> None:
    with watched(browser, report.as_uri(), color_scheme="dark") as window:
        page = window.open(report.as_uri())
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert (
            page.locator("details:not(.run):not([open])").count() == 0
        )  # runs are printed only when a reader opened them
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") in (
            "rgb(255, 255, 255)",
            "rgba(0, 0, 0, 0)",
        )
        assert page.locator("nav").first.is_hidden()

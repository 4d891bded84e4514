"""A real history, and a real browser that notes everything that goes wrong in it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from conftest import Project

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make runs that ended in several ways, and one that waits for a person; nobody changes it."""
    made = Project(tmp_path_factory.mktemp("history"))
    made.configure(gate={"margin_cost": 0.9})
    made.feed(0, 70)
    assert made.run(70).status == "deployed"
    made.feed(70, 72)
    assert made.run(72).status == "skipped"
    made.feed(72, 86, shift=2.0)
    made.run(86)
    made.configure(gate={"margin_cost": 0.9, "min_roc_auc": 0.99})
    made.feed(86, 94)
    assert made.run(94, force=True).status == "rejected"
    made.feed(94, 110, turn=0.2)
    made.configure(gate={"margin_cost": 0.9}, deploy={"approval": "manual", "approval_hours": 10_000})
    waits = made.run(110, force=True)
    assert waits.approval is not None, waits.sentence
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium: `$CHROMIUM`, or what the PATH has."""
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome")]
    path = os.environ.get("CHROMIUM") or next((name for name in found if name), None)
    if path is None:
        pytest.fail("there is no browser: install Chromium or Chrome, or name one in $CHROMIUM")
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@dataclass
class Watched:
    """A browser window, and what was amiss in it: errors on its console, and requests that left the page's own host."""

    page: Page
    host: str
    amiss: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, url: str) -> Page:
        """Open a page and wait until nothing more is loaded."""
        self.page.goto(url, wait_until="load")
        return self.page

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.amiss.append(f"{message.type}: {message.text}")

    def sent(self, request: Request) -> None:
        self.asked.append(request.url)
        if not request.url.startswith((self.host, "data:")):
            self.amiss.append(f"left its host: {request.url}")


@contextmanager
def watched(browser: Browser, host: str, **options: Any) -> Iterator[Watched]:
    """Open a window; at the end, fail on whatever was amiss in it."""
    context: BrowserContext = browser.new_context(**{"viewport": DESK, **options})
    page = context.new_page()
    found = Watched(page, host)
    page.on("console", found.heard)
    page.on("pageerror", lambda error: found.amiss.append(f"uncaught: {error}"))
    page.on("request", found.sent)
    try:
        yield found
        assert found.amiss == []
    finally:
        context.close()


def violations(page: Page) -> list[str]:
    """Return what axe finds to be a serious or critical violation, each with where it is."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {node['target']} {node['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide


def until(page: Page, expression: str, arg: Any = None, *, seconds: float = 30) -> None:
    """Wait until a page says yes; asked from outside, since the page lets nobody put code into it."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"{expression} ({arg!r}): {page.locator('body').inner_text()[:2000]}"
        page.wait_for_timeout(50)

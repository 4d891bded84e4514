"""What somebody sees who looks for the first time at projects of which one has lost its store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Project
from rehone import api, fleet
from rehone.errors import NotFound
from rehone.records import CheckStatus
from rehone.report import Site, outer, page

LOST = "there is no deployment log in"


@pytest.fixture
def lost(live: Project) -> Project:
    """A project whose run deployed, and whose store was moved away afterwards."""
    (live.root / "store").rename(live.root / "elsewhere")
    return live


def test_the_overview_does_not_say_that_nothing_was_ever_deployed_when_the_store_is_gone(lost: Project) -> None:
    html = page(api.book(lost.root), "", Site())
    assert "Not known: the store is not there." in html
    assert "no version was ever deployed" not in html


def test_the_row_of_a_project_whose_store_is_gone_says_so_among_all_projects(lost: Project) -> None:
    entry = outer.Entry(name="lost", href="/", book=api.book(lost.root))
    assert entry.worst is CheckStatus.ACT
    assert LOST in entry.needs


def test_the_row_of_a_project_says_that_records_cannot_be_read(live: Project) -> None:
    book = replace(api.book(live.root), notes=("1 of the newest 20 run records cannot be read",))
    entry = outer.Entry(name="live", href="/", book=book)
    assert entry.worst is CheckStatus.WARN
    assert entry.needs == "1 of the newest 20 run records cannot be read"


def test_a_pattern_takes_no_file_for_a_project_that_only_begins_alike(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "rehone.toml").write_text("")
    (tmp_path / "demo.html").write_text("<!doctype html>")
    assert fleet.find([str(tmp_path / "demo*")]) == (tmp_path / "demo" / "rehone.toml",)


def test_a_file_that_is_named_in_full_is_taken_for_a_project_whatever_its_ending(tmp_path: Path) -> None:
    (tmp_path / "bikes.conf").write_text("")
    assert fleet.find([str(tmp_path / "bikes.conf")]) == (tmp_path / "bikes.conf",)
    with pytest.raises(NotFound):
        fleet.find([str(tmp_path / "*.conf")])


def test_the_page_on_health_shows_a_dash_where_drift_was_never_looked_at(project: Project) -> None:
    html = page(api.book(project.root), "health", Site())
    assert "drift was not measured in the past year" in html
    assert "in 0 days" not in html

"""A run asks past champions, slices and near duplicates, and says what would have turned its verdict."""

from __future__ import annotations

import polars as pl
import pytest

from conftest import Project
from rehone import api, gate
from rehone.config import load_config
from rehone.pipeline.anchors import Past, scored_anchors
from rehone.pipeline.evidence import Champion
from rehone.records import Check, CheckStatus, RunRecord, RunStatus, short_id
from rehone.runlog import RunLog
from rehone.store import Store


@pytest.fixture(scope="module")
def lived(deployed_once: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[RunRecord]]:
    """Return a project after three trainings; the second and the third were judged sliced by channel."""
    made = deployed_once.copy(tmp_path_factory.mktemp("memory"))
    made.configure(gate={"slices": ["channel"], "slice_min_positives": 5, "max_holdout_uses": 1})
    made.feed(70, 110)
    (first,) = RunLog(made.root / "runs").records()
    return made, [first, *(made.run(day, force=True) for day in (90, 110))]


def _found(record: RunRecord, name: str) -> list[Check]:
    assert record.verdict is not None
    return [check for check in record.verdict.checks if check.name == name]


def test_the_third_champion_is_held_against_the_first(lived: tuple[Project, list[RunRecord]]) -> None:
    _, (first, second, third) = lived
    assert first.status is RunStatus.DEPLOYED
    assert not _found(first, "anchor")
    assert not _found(second, "anchor")
    assert second.status is RunStatus.DEPLOYED
    (check,) = _found(third, "anchor")
    assert check.subject == first.version
    assert f"of {short_id(first.version)}, the past champion, difference " in check.detail
    assert "(try 1 of the past year)" in check.detail


def test_a_past_champion_that_stumbles_over_new_rows_is_left_out_and_stops_nobody(
    lived: tuple[Project, list[RunRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, (first, *_) = lived

    def stumble(_: Champion) -> None:
        raise AttributeError("SimpleImputer has no attribute _fill_dtype")

    monkeypatch.setattr(Champion, "predictor", property(stumble))
    config = load_config(made.root)
    (found,) = scored_anchors(config, Store.of(config), Past((first.version or "",)), pl.DataFrame())
    assert isinstance(found, gate.Unreadable)
    assert found.why == "AttributeError: SimpleImputer has no attribute _fill_dtype"


def test_slices_near_duplicates_power_and_the_flip_are_in_the_record(lived: tuple[Project, list[RunRecord]]) -> None:
    _, (_, second, _) = lived
    assert {check.subject for check in _found(second, "slice")} == {"channel=phone", "channel=shop", "channel=web"}
    assert {check.subject for check in _found(second, "near_duplicates")} == {"challenger", "champion"}
    assert len(_found(second, "power")) == 1
    assert second.verdict is not None
    assert second.verdict.flip.startswith(("would have passed had ", "would not have passed had "))


def test_days_that_are_used_up_and_a_slice_column_that_nobody_has_stop_a_challenger(
    lived: tuple[Project, list[RunRecord]],
) -> None:
    made, (*_, third) = lived
    made.configure(gate={"slices": ["country"], "max_holdout_uses": 1})
    record = made.run(110, force=True)
    (used,) = _found(record, "holdout_uses")
    assert (used.status, used.value) == (CheckStatus.UNKNOWN, 1.0)
    assert record.status is RunStatus.REJECTED
    assert "gate.slices names 'country', which the held-out rows do not have" in record.sentence
    assert "the rows had a column 'country'" in (record.verdict.flip if record.verdict else "")
    deployment = api.status(made.root).deployment
    assert deployment is not None
    assert deployment.version == (third.version or third.champion)

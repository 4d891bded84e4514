"""The table of docs/explain/scenarios.md, row by row: what must fire, what must stay silent, how the run must end."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from rehone.records import RunRecord, RunStatus

BENCH = Path(__file__).parents[2] / "bench"


def _bench() -> ModuleType:
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module("scenarios")
    finally:
        sys.path.remove(str(BENCH))


scenarios = _bench()


@pytest.fixture(scope="module", params=[1, 2], ids=lambda seed: f"seed{seed}")
def champions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Make a first champion for each way that labels arrive, once; return them by lateness, and the seed."""
    made: dict[bool, Path] = {}

    def base(late: bool) -> Path:
        if late not in made:
            made[late] = scenarios.begin(tmp_path_factory.mktemp("base"), request.param, late=late)
        return made[late]

    return base, request.param


@pytest.mark.simulation
@pytest.mark.parametrize("name", scenarios.DIALS)
def test_a_planted_change_fires_what_must_fire_and_ends_as_it_must(name: str, champions: tuple, tmp_path: Path) -> None:
    base, seed = champions
    lived = scenarios.live_through(name, base(scenarios.is_late(name)), tmp_path / "project", seed)
    assert scenarios.wrong(lived, scenarios.expected()[name]) == []
    if lived.old is not None and lived.live is not None:
        assert lived.live >= lived.old - 0.02


def test_the_page_has_a_row_for_each_scenario_and_no_other() -> None:
    assert set(scenarios.expected()) == set(scenarios.DIALS)


def test_what_went_wrong_is_said_one_by_one() -> None:
    should = scenarios.expected()["concept"]
    quiet = scenarios.Lived(_record(), old=0.8, live=0.6, oracle=0.84)
    assert scenarios.wrong(quiet, should) == [
        "['recall'] must fire and did not",
        "the kind of shift is concept, and was called -",
        "the run must end as ['deployed'], and ended as skipped: quiet",
        "the live model lacks 0.240 of the oracle's ROC-AUC, may lack 0.08",
    ]
    assert scenarios.wrong(quiet, replace(should, fires=frozenset(), kind="any", ends={"skipped"}, regret=0.25)) == []


def _record() -> RunRecord:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return RunRecord(
        run_id="r",
        project="p",
        as_of=moment,
        started_at=moment,
        status=RunStatus.SKIPPED,
        sentence="quiet",
        seed=0,
        host="h",
        pid=1,
        rehone_version="0",
        config_sha256="",
        config={},
    )

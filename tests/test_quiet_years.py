"""In a year without drift, alarms stay within their budget, whatever days are like; planted shifts are found."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = str(Path(__file__).parent.parent / "bench")
YEARS = 5

pytestmark = pytest.mark.simulation


@pytest.fixture(scope="module")
def quiet() -> Iterator[ModuleType]:
    """Load the simulation that `bench/quiet_years.py` prints the table of."""
    sys.path.insert(0, BENCH)
    yield importlib.import_module("quiet_years")
    sys.path.remove(BENCH)


@pytest.mark.parametrize(
    ("world", "rows", "length"),
    [
        ("independent rows", 50, 7),
        ("independent rows", 1000, 1),
        ("weekly", 300, 30),
        ("good and bad days", 300, 7),
        ("days that hang together", 300, 30),
        ("outages", 300, 7),
    ],
)
def test_a_quiet_year_keeps_the_budget_by_chance_alone(quiet: ModuleType, world: str, rows: int, length: int) -> None:
    """One alarm a year is accepted; five years may have ten alarm days, for those of one window come together.

    Where days differ, the chi-square law alone raises more than a hundred a year.
    """
    found = np.sum([quiet.quiet_year(world, rows, length, seed) for seed in range(100, 100 + YEARS)], axis=0)
    _, theory, off, default = found.tolist()
    assert off <= 2 * YEARS
    assert default <= YEARS
    if world in ("good and bad days", "days that hang together", "outages"):
        assert theory > 100 * YEARS


def test_planted_shifts_are_found_and_how_late(quiet: ModuleType) -> None:
    """A number that moves by half a standard deviation, with 300 rows a day and good and bad days, within ten days."""
    waits = [quiet.delays(quiet.SHIFTS[1], 300, 7, seed)[2] for seed in range(3)]
    assert float(np.median(waits)) <= 10

"""How a cluster's places are kept busy, and what is said of fits that it loses; real clusters are in tests/integrations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import pytest

from rehone.config import Candidate, Train
from rehone.errors import ClusterAway
from rehone.train import backends
from rehone.train.away import Lost, kept_busy
from rehone.train.clusters import Clusters
from rehone.train.fits import Entrant, Fold
from rehone.train.plan import Plan

JOBS = [(Entrant(Candidate(**{"class": "a.Slow"}), "all"), fold) for fold in range(3)]


class Losing:
    """A cluster that loses a fit in each attempt, for another reason each time, after it has ended some."""

    name = "Dask"

    def __init__(self, reasons: Iterable[str], ends: int = 0) -> None:
        self.reasons, self.ends, self.asked = iter(reasons), ends, list[int]()

    def dask(self) -> Losing:
        return self

    def fits_at_a_time(self) -> int:
        return 2

    def made(self, _fit: Any, _plan: Any, calls: Iterable[tuple[Any, ...]], _width: int) -> Iterator[Any]:
        wanted = [number for *_, number in calls]
        self.asked.append(len(wanted))
        why = next(self.reasons, None)
        for number in wanted if why is None else wanted[: self.ends]:
            yield number, Fold(seconds=float(number))
        if why:
            raise Lost(why)

    def trouble(self) -> str | None:
        return None

    def notes(self) -> tuple[str, ...]:
        return ()


def searched(cluster: Losing) -> tuple[list[Fold], tuple[str, ...]]:
    policy = Train(candidates=(JOBS[0][0].candidate,), backend="dask")
    return backends.run(JOBS, cast("Plan", None), policy, cast("Clusters", cluster), lambda _: None)


def test_what_ends_a_search_names_the_first_loss_and_not_its_aftermath() -> None:
    with pytest.raises(ClusterAway) as caught:
        searched(Losing(["too little memory", "a closed connection", "rows that are gone"]))
    assert str(caught.value).startswith(
        "3 attempts lost fits, the first since too little memory; 0 of 3 fits had ended, not those of "
    )


def test_only_fits_that_were_lost_are_made_again() -> None:
    cluster = Losing(["a worker left"], ends=1)
    folds, said = searched(cluster)
    assert [fold.seconds for fold in folds] == [0.0, 1.0, 2.0]
    assert cluster.asked == [3, 2]
    assert said == ("3 fits on Dask, up to 2 at a time", "2 of them were made again, since a worker left")


def test_as_many_calls_are_under_way_as_there_are_places() -> None:
    going: list[int] = []
    most: list[int] = []

    def results() -> list[int]:
        most.append(len(going))
        return [going.pop(0)]

    found = kept_busy([(n,) for n in range(5)], 2, lambda call: going.append(*call), results, lambda: None)
    assert [*found] == [0, 1, 2, 3, 4]
    assert most == [2, 2, 2, 2, 1]


def test_a_silent_cluster_is_asked_and_given_up_only_when_it_is_in_trouble() -> None:
    silent = iter([[], [], ["late"], []])
    asked = iter([None, None, "no node any more"])
    found = kept_busy([(1,), (2,)], 1, lambda _: None, lambda: cast("list[str]", next(silent)), lambda: next(asked))
    assert next(found) == "late"
    with pytest.raises(Lost, match="no node any more"):
        next(found)

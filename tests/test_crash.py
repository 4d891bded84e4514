"""The store survives a death at every call to the disk, and a power cut at every one."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rehone.deploy import heal, rollback
from rehone.errors import Conflict
from rehone.records import DeploymentState
from rehone.store import Store
from store_kit import (
    QUICK,
    Died,
    DyingDisk,
    PowerCutDisk,
    SwiftDisk,
    bring,
    deployment,
    live,
    now,
    order,
    publish,
    serving,
)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Lend a folder in memory where there is one: thousands of small stores are made and broken."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Story:
    """Something that happens to a store in which 1 and 2 were live, and what may be live after.

    `done` is what must be live once it has returned.
    """

    tell: Callable[[Store], object]
    before: int | None = 2
    done: int | None = 3
    serve: bool = False
    also: tuple[int | None, ...] = field(default=())

    def allowed(self, returned: bool) -> set[int | None]:
        return {self.done} if returned else {self.before, self.done, *self.also}


def _append(store: Store) -> None:
    store.append(deployment(publish(store, 3).id), expect_generation=2)


def _orphan(store: Store) -> None:
    store.append(deployment(publish(store, 3).id, state=DeploymentState.TRIAL), expect_generation=2)
    heal(store, clock=now, policy=QUICK)


def _collect(store: Store) -> None:
    unused = publish(store, 0).id
    assert store.collect(2) == (unused,)


STORIES = {
    "publish": Story(lambda store: publish(store, 3), done=2),
    "append": Story(_append),
    "promote": Story(lambda store: bring(store, 3)),
    "promote to a service": Story(lambda store: bring(store, 3, QUICK), serve=True),
    "rollback": Story(lambda store: rollback(store, None, order(store), clock=now), done=1),
    "rollback to nothing": Story(lambda store: rollback(store, "none", order(store), clock=now), done=None),
    "heal": Story(_orphan, done=2, also=(3,)),
    "collect": Story(_collect, done=2),
}


def begin(root: Path) -> None:
    store = Store.create(root, disk=SwiftDisk())
    for n in (1, 2):
        bring(store, n)


def attempt(story: Story, root: Path, disk: DyingDisk) -> bool:
    """Tell the story on a disk that may die, and say whether it came to its end."""
    try:
        story.tell(Store(root, disk=disk))
    except Died:
        return False
    return not disk.dead


def see_that_all_is_well(root: Path, allowed: set[int | None]) -> None:
    """Read as a reader does, then heal, promote and roll back."""
    store = Store(root, disk=SwiftDisk())
    assert live(store) in allowed
    for folder in (root / "versions").iterdir():
        assert len(store.read(folder.name)) == 3
    publish(store, 3)
    heal(store, clock=now, policy=QUICK)
    head = store.head()
    assert head is not None
    assert head.state is DeploymentState.CONFIRMED
    assert live(store) in allowed
    assert list((root / "tmp").iterdir()) == []
    healed = live(store)
    assert bring(store, 9).confirmed
    assert live(store) == 9
    assert (root / "current").readlink() == Path("versions") / store.log()[-1].version  # type: ignore[operator]
    if healed is not None:
        rollback(store, None, order(store), clock=now)
        assert live(store) == healed
    assert heal(store, clock=now, policy=QUICK) == ()


def every_step(story: Story, tmp_path: Path, disk_of: Callable[[int], DyingDisk]) -> int:
    """Let the story die at its first call to the disk, its second, and so on until it does not."""
    for at in itertools.count(1):
        root = tmp_path / f"{at}"
        begin(root)
        disk = disk_of(at)
        if story.serve:
            with serving(root):
                ended = attempt(story, root, disk)
            Store(root).retire("host-1")
        else:
            ended = attempt(story, root, disk)
        if isinstance(disk, PowerCutDisk):
            disk.cut()
        see_that_all_is_well(root, story.allowed(ended))
        if ended:
            return at
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True], ids=["before", "halfway"])
@pytest.mark.parametrize("name", STORIES)
def test_after_a_death_at_any_call_production_is_whole_and_the_next_run_works(
    name: str, half: bool, tmp_path: Path
) -> None:
    assert every_step(STORIES[name], tmp_path, lambda at: DyingDisk(at, half=half)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 1], ids=["all", "some"])
@pytest.mark.parametrize("name", STORIES)
def test_after_a_power_cut_at_any_call_production_is_whole_and_what_was_done_lasts(
    name: str, seed: int | None, tmp_path: Path
) -> None:
    assert every_step(STORIES[name], tmp_path, lambda at: PowerCutDisk(at, seed=seed and seed + at)) > 5


@pytest.mark.parametrize("half", [False, True], ids=["before", "halfway"])
def test_a_store_whose_making_died_at_any_call_is_made_by_the_next_run(half: bool, tmp_path: Path) -> None:
    for at in itertools.count(1):
        root = tmp_path / f"{at}"
        try:
            Store.create(root, disk=DyingDisk(at, half=half))
        except Died:
            bring(Store.create(root), 1)
            assert live(Store(root)) == 1
        else:
            assert at > 5
            return


def test_a_power_cut_after_the_making_of_a_store_keeps_it(tmp_path: Path) -> None:
    for at in itertools.count(1):
        root = tmp_path / f"{at}"
        disk = PowerCutDisk(at)
        done = False
        try:
            Store.create(root, disk=disk)
            done = True
        except Died:
            pass
        disk.cut()
        if done:
            assert Store(root).head() is None
            return
        bring(Store.create(root), 1)


def test_a_first_deployment_that_dies_at_any_call_leaves_nothing_or_the_first(tmp_path: Path) -> None:
    for at in itertools.count(1):
        root = tmp_path / f"{at}"
        Store.create(root)
        try:
            bring(Store(root, disk=DyingDisk(at)), 1)
        except Died:
            assert live(Store(root)) in (None, 1)
            heal(Store(root), clock=now, policy=QUICK)
            bring(Store(root), 2)
            assert live(Store(root)) == 2
        else:
            return


def test_a_run_that_does_not_heal_first_is_told_to_judge_again_and_then_succeeds(tmp_path: Path) -> None:
    begin(tmp_path / "store")
    store = Store(tmp_path / "store")
    store.append(deployment(publish(store, 3).id, state=DeploymentState.TRIAL), expect_generation=2)
    with pytest.raises(Conflict, match="after the trial of a killed run was ended: judge again"):
        bring(store, 4)
    assert live(store) == 2
    assert bring(store, 4).confirmed
    assert live(store) == 4


def test_the_dying_disk_sees_every_call(tmp_path: Path) -> None:
    begin(tmp_path / "store")
    disk = DyingDisk()
    bring(Store(tmp_path / "store", disk=disk), 3)
    assert disk.calls > 50

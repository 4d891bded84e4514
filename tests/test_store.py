"""The store keeps versions whole, and its log alone says what is live."""

from __future__ import annotations

import dataclasses
import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehone.codec import encode
from rehone.disk import Disk
from rehone.errors import Conflict, Corrupt, Locked, NotFound, StoreError
from rehone.records import DeploymentAction, DeploymentState, Replica
from rehone.store import Store, standing
from store_kit import DAY, SwiftDisk, bring, deployment, files, live, manifest, number, publish

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def damage(path: Path, data: bytes) -> None:
    for part in (path.parent, path):
        part.chmod(0o755)
    path.write_bytes(data)


# --- opening ----------------------------------------------------------------------------------


def test_a_folder_without_format_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        Store(tmp_path)


def test_a_store_of_a_later_format_is_refused_with_the_remedy(store: Store) -> None:
    (store.root / "FORMAT").write_text("rehone store 2\n")
    with pytest.raises(StoreError, match="of format 2, this Rehone reads up to 1: upgrade Rehone"):
        Store(store.root)


def test_a_store_with_an_unreadable_format_is_corrupt(store: Store) -> None:
    (store.root / "FORMAT").write_text("hello")
    with pytest.raises(Corrupt, match="says 'hello'"):
        Store(store.root)


def test_making_a_store_twice_keeps_what_is_in_it(store: Store) -> None:
    bring(store, 1)
    assert live(Store.create(store.root)) == 1


def test_a_store_is_not_made_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match=r"holds other files \(thesis.txt\)"):
        Store.create(tmp_path)


def test_a_store_that_lost_its_format_is_not_made_anew(store: Store) -> None:
    bring(store, 1)
    (store.root / "current").unlink()
    (store.root / "lock").unlink()
    (store.root / "FORMAT").unlink()
    with pytest.raises(StoreError, match="put FORMAT back"):
        Store.create(store.root)


# --- versions ----------------------------------------------------------------------------------


def test_a_version_is_named_by_its_content_and_read_back_as_it_was(store: Store) -> None:
    version = publish(store, 1)
    assert store.read(version.id) == files(1)
    assert store.version(version.id) == version
    assert version.manifest.files["model.skops"].bytes == len(files(1)["model.skops"])


def test_the_same_content_gives_the_same_version(store: Store) -> None:
    assert publish(store, 1) == publish(store, 1)
    assert len(store.versions()) == 1


def test_versions_are_listed_oldest_first_without_damaged_ones(store: Store) -> None:
    third, first, second = (publish(store, n) for n in (3, 1, 2))
    damage(store.root / "versions" / second.id / "manifest.json", b"{}")
    assert [v.id for v in store.versions()] == [first.id, third.id]


def test_a_version_is_found_by_a_unique_beginning(store: Store) -> None:
    ids = [publish(store, n).id for n in range(40)]
    assert store.version(ids[0][:12]).id == ids[0]
    shared = next(c for c in "0123456789abcdef" if sum(i.startswith(c) for i in ids) > 1)
    with pytest.raises(StoreError, match=f"versions begin with '{shared}'"):
        store.version(shared)


@pytest.mark.parametrize("wanted", ["f" * 64, "zzz", "", "../../etc", "g" * 64])
def test_a_version_that_is_not_there_is_not_found(store: Store, wanted: str) -> None:
    with pytest.raises(NotFound):
        store.version(wanted)
    with pytest.raises(NotFound):
        store.read(wanted)


def test_everything_that_is_wrong_with_a_damaged_version_is_listed(store: Store) -> None:
    version = publish(store, 1)
    folder = store.root / "versions" / version.id
    damage(folder / "model.skops", b"other")
    (folder / "golden.json").unlink()
    with pytest.raises(Corrupt, match=r"golden.json is missing; model.skops has 5 bytes with SHA-256 d9298a10d1b0"):
        store.read(version.id)


def test_a_manifest_that_was_changed_is_refused_before_it_is_believed(store: Store) -> None:
    version = publish(store, 1)
    damage(
        store.root / "versions" / version.id / "manifest.json", encode(dataclasses.replace(manifest(1), threshold=0.1))
    )
    with pytest.raises(Corrupt, match="the manifest of version"):
        store.read(version.id)


def test_a_version_without_manifest_is_corrupt_and_not_merely_absent(store: Store) -> None:
    version = publish(store, 1)
    (store.root / "versions" / version.id / "manifest.json").unlink()
    with pytest.raises(Corrupt, match=r"manifest.json is missing"):
        store.version(version.id)


@pytest.mark.parametrize("name", ["../evil", "a/b", "manifest.json", "", ".hidden", "/etc/passwd"])
def test_a_file_name_that_leaves_the_version_is_refused(store: Store, name: str) -> None:
    with pytest.raises(Corrupt, match="names files that a version cannot hold"):
        store.publish(manifest(1), {name: b""})
    assert store.versions() == ()


def test_publishing_over_a_damaged_copy_says_so(store: Store) -> None:
    version = publish(store, 1)
    damage(store.root / "versions" / version.id / "model.skops", b"other")
    with pytest.raises(Corrupt, match="is damaged"):
        publish(store, 1)


def test_versions_and_records_are_read_only_on_disk(store: Store) -> None:
    version = bring(store, 1).version
    folder = store.root / "versions" / version
    for path in [folder, *folder.iterdir(), *(store.root / "deployments").iterdir()]:
        assert path.stat().st_mode & 0o222 == 0, path


def test_current_is_never_what_a_reader_follows(store: Store) -> None:
    first, second = bring(store, 1).version, bring(store, 2).version
    (store.root / "current").unlink()
    (store.root / "current").symlink_to(f"versions/{first}")
    assert live(store) == 2
    assert store.repair() == ("`current` did not point to the live version and now does",)
    assert (store.root / "current").readlink() == Path(f"versions/{second}")


@pytest.mark.parametrize("live_one", [True, False])
def test_a_store_that_was_copied_with_its_links_followed_is_repaired(
    store: Store, tmp_path: Path, live_one: bool
) -> None:
    """The copy has a whole, read-only folder where the link was."""
    version = bring(store, 1).version
    if not live_one:
        store.append(deployment(None, action=DeploymentAction.ROLLBACK), expect_generation=1)
    shutil.copytree(str(store.root), tmp_path / "copy", symlinks=False)
    copy = Store(tmp_path / "copy")
    current = tmp_path / "copy" / "current"
    if not live_one:
        shutil.copytree(tmp_path / "copy" / "versions" / version, current)
    assert current.is_dir()
    assert not current.is_symlink()
    assert copy.repair()[0] == "`current` did not point to the live version and now does"
    assert (current.readlink() == Path(f"versions/{version}")) if live_one else not current.exists()
    assert copy.repair() == ()


# --- the log --------------------------------------------------------------------------------------


def test_an_empty_log_has_no_head(store: Store) -> None:
    assert store.head() is None
    assert store.log() == ()


def test_records_are_numbered_and_name_what_was_live_before(store: Store) -> None:
    a, b = publish(store, 1).id, publish(store, 2).id
    store.append(deployment(a), expect_generation=0)
    store.append(deployment(b), expect_generation=1)
    last = store.append(deployment(None, action=DeploymentAction.ROLLBACK), expect_generation=2)
    assert [(d.generation, d.version, d.previous) for d in store.log()] == [(1, a, None), (2, b, a), (3, None, b)]
    assert store.head() == last
    assert not (store.root / "current").is_symlink()


def test_whoever_expects_another_generation_gets_a_conflict(store: Store) -> None:
    version = publish(store, 1).id
    store.append(deployment(version, actor="first"), expect_generation=0)
    with pytest.raises(Conflict, match=r"generation 0 was expected to be the last, but generation 1 .* by first"):
        store.append(deployment(version), expect_generation=0)
    with pytest.raises(Conflict, match="generation 5 was expected"):
        store.append(deployment(version), expect_generation=5)
    assert len(store.log()) == 1


def test_an_empty_log_conflicts_with_an_expected_generation(store: Store) -> None:
    with pytest.raises(Conflict, match="the log is empty, generation 3 was expected"):
        store.append(deployment(publish(store, 1).id), expect_generation=3)


def test_a_version_that_is_not_in_the_store_is_never_deployed(store: Store) -> None:
    with pytest.raises(NotFound):
        store.append(deployment("a" * 64), expect_generation=0)
    assert store.head() is None


def test_the_order_of_the_log_does_not_depend_on_the_clock(store: Store) -> None:
    for n, year in enumerate((2026, 2020, 1999, 2001)):
        store.append(deployment(publish(store, n).id, at=DAY.replace(year=year)), expect_generation=n)
    assert live(store) == 3
    assert [d.at.year for d in store.log()] == [2026, 2020, 1999, 2001]


def test_a_missing_record_fails_closed(store: Store) -> None:
    for n in range(3):
        bring(store, n)
    (store.root / "deployments" / "0000000002.json").unlink()
    for look in (store.head, store.log, lambda: bring(store, 9), store.repair, lambda: store.collect(1)):
        with pytest.raises(Corrupt, match="ends at generation 3 but generation 2 is missing"):
            look()


def test_a_damaged_last_record_fails_closed(store: Store) -> None:
    bring(store, 1)
    damage(store.root / "deployments" / "0000000001.json", b'{"format": 1, "genera')
    for look in (store.head, store.log, lambda: bring(store, 9)):
        with pytest.raises(Corrupt, match=r"0000000001.json is not a Deployment"):
            look()


def test_a_record_under_another_number_fails_closed(store: Store) -> None:
    bring(store, 1)
    path = store.root / "deployments" / "0000000001.json"
    damage(path, path.read_bytes().replace(b'"generation": 1', b'"generation": 7'))
    with pytest.raises(Corrupt, match="says generation 7"):
        store.head()


def test_a_record_whose_version_is_a_path_fails_closed(store: Store) -> None:
    version = bring(store, 1).version
    path = store.root / "deployments" / "0000000001.json"
    damage(path, path.read_bytes().replace(version.encode(), b"../../elsewhere"))
    with pytest.raises(Corrupt, match="elsewhere"):
        store.head()


def test_records_mixed_from_another_store_are_noticed(store: Store, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other")
    for n in (1, 2, 3):
        bring(store, n)
        bring(other, n + 10)
    damage(
        store.root / "deployments" / "0000000002.json", (other.root / "deployments" / "0000000002.json").read_bytes()
    )
    with pytest.raises(Corrupt, match="the log was edited or mixed"):
        store.log()


def test_a_record_of_a_later_format_is_refused(store: Store) -> None:
    bring(store, 1)
    path = store.root / "deployments" / "0000000001.json"
    damage(path, path.read_bytes().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(StoreError, match="is of format 2"):
        store.head()


def test_a_log_that_was_emptied_or_removed_is_not_a_first_deployment(store: Store) -> None:
    bring(store, 1)
    (store.root / "deployments" / "0000000001.json").unlink()
    with pytest.raises(Corrupt, match="is empty although"):
        store.head()
    (store.root / "deployments").rmdir()
    with pytest.raises(Corrupt, match="deployments is missing"):
        store.head()


def test_other_files_among_the_records_are_left_alone(store: Store) -> None:
    bring(store, 1)
    (store.root / "deployments" / "0000000009.json.bak").write_text("x")
    assert live(store) == 1


class Forgetful(Disk):
    """Lists a folder as it may look to a reader while another process adds to it."""

    def __init__(self, hidden: str) -> None:
        self.hidden = hidden

    def names(self, path: Path) -> list[str]:
        return [n for n in super().names(path) if n != self.hidden]


def test_a_record_that_a_listing_missed_is_no_gap(store: Store) -> None:
    for n in (1, 2, 3):
        bring(store, n)
    assert live(Store(store.root, disk=Forgetful("0000000002.json"))) == 3


def test_rolled_back_versions_are_not_gone_back_to() -> None:
    a, b, c = "a" * 64, "b" * 64, "c" * 64
    back = {"action": DeploymentAction.ROLLBACK}
    trial = {"state": DeploymentState.TRIAL}
    assert standing([deployment(v) for v in (a, b, c)]) == (a, b, c)
    assert standing([deployment(a), deployment(b), deployment(c), deployment(b, **back)]) == (a, b)
    assert standing([deployment(a), deployment(b, **trial)]) == (a,)
    assert standing([deployment(a), deployment(b, **trial), deployment(a, **back)]) == (a,)
    assert standing([deployment(a), deployment(b), deployment(a)]) == (b, a)
    assert standing([deployment(a), deployment(None, **back)]) == (a,)


# --- servers ----------------------------------------------------------------------------------------


def beat(name: str = "host-1", **facts: Any) -> Replica:
    return Replica(name=name, host="host", pid=1, url="http://127.0.0.1:1", at=DAY, **facts)


def test_a_heartbeat_is_kept_until_it_is_retired(store: Store) -> None:
    store.beat(beat(generation=1))
    store.beat(beat(generation=2))
    assert store.replicas() == (beat(generation=2),)
    store.retire("host-1")
    store.retire("host-1")
    assert store.replicas() == ()


def test_a_heartbeat_cut_short_hides_no_other(store: Store) -> None:
    store.beat(beat("a"))
    store.beat(beat("b"))
    (store.root / "replicas" / "a.json").write_bytes(b"")
    assert store.replicas() == (beat("b"),)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a\n"])
def test_a_replica_name_that_leaves_its_folder_is_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="cannot name a replica"):
        store.beat(beat(name))


# --- the lock -----------------------------------------------------------------------------------------


def test_the_lock_is_for_one_and_says_who_has_it(store: Store) -> None:
    with store.lock("run 42"):
        with (
            pytest.raises(Locked, match=rf"run 42 \(pid {os.getpid()} on .*\) since \d{{4}}-.* UTC: wait"),
            Store(store.root).lock("run 43"),
        ):
            pass
        with store.lock("the same object again"):
            assert store.held
        assert store.held
    assert not store.held
    with Store(store.root).lock("run 43"):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from rehone.store import Store
with Store(Path(sys.argv[1])).lock("the killed one"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_does_not_hold_the_lock(store: Store) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER,
            str(store.root),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=rf"the killed one \(pid {holder.pid}"), store.lock("me"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with store.lock("me"):
        assert store.held


def test_the_lock_is_let_go_when_its_block_fails(store: Store) -> None:
    with pytest.raises(KeyError), store.lock("me"):
        raise KeyError
    with Store(store.root).lock("other"):
        pass


# --- disks that are full, read-only or broken --------------------------------------------------------------


class Failing(Disk):
    """Fails one kind of call from the n-th on with an error of the system."""

    def __init__(self, code: int, calls: tuple[str, ...], after: int = 0) -> None:
        self.code, self.calls, self.left = code, calls, after

    def fail(self, name: str) -> None:
        if name in self.calls:
            self.left -= 1
            if self.left < 0:
                raise OSError(self.code, os.strerror(self.code), "some file")

    def write(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
        self.fail("write")
        super().write(path, data, lasting=lasting)

    def make_folder(self, path: Path) -> None:
        self.fail("make_folder")
        super().make_folder(path)

    def link(self, source: Path, target: Path) -> None:
        self.fail("link")
        super().link(source, target)

    def lock_file(self, path: Path) -> int | None:
        self.fail("lock_file")
        return super().lock_file(path)

    def rename(self, source: Path, target: Path) -> None:
        self.fail("rename")
        super().rename(source, target)

    def free(self, path: Path) -> int:
        return 10**9 if self.code != errno.EFBIG else 5


CHANGES = ("write", "make_folder", "link", "lock_file", "rename")


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_full_disk_publishes_nothing_leaves_nothing_and_says_how_much_is_missing(store: Store, after: int) -> None:
    bring(store, 1)
    full = Store(store.root, disk=Failing(errno.ENOSPC, ("write",), after))
    needed = sum(map(len, files(2).values()))
    with pytest.raises(
        StoreError, match=r"publishing version \w+ needs [\d,]+ bytes and 1,000,000,000 are free"
    ) as told:
        publish(full, 2)
    assert int(str(told.value).split(" bytes")[0].rsplit(" ", 1)[1].replace(",", "")) > needed
    assert "free some space" in str(told.value)
    assert list((store.root / "tmp").iterdir()) == []
    assert len(store.versions()) == 1
    assert live(store) == 1


def test_a_version_larger_than_what_is_free_is_not_even_begun(store: Store) -> None:
    with pytest.raises(StoreError, match="and 5 are free"):
        publish(Store(store.root, disk=Failing(errno.EFBIG, ())), 2)
    assert list((store.root / "tmp").iterdir()) == []


def test_a_full_disk_leaves_the_log_as_it_was(store: Store) -> None:
    bring(store, 1)
    second = publish(store, 2).id
    for calls in (("write",), ("make_folder",), ("link",)):
        with pytest.raises(StoreError, match="free some space"):
            Store(store.root, disk=Failing(errno.ENOSPC, calls)).append(deployment(second), expect_generation=1)
        assert live(store) == 1
        assert list((store.root / "tmp").iterdir()) == []


def test_a_committed_record_stands_even_if_current_cannot_follow(store: Store) -> None:
    first, second = bring(store, 1).version, publish(store, 2).id
    Store(store.root, disk=Failing(errno.ENOSPC, ("rename",))).append(deployment(second), expect_generation=1)
    assert live(store) == 2
    assert (store.root / "current").readlink() == Path(f"versions/{first}")
    store.repair()
    assert (store.root / "current").readlink() == Path(f"versions/{second}")


def test_a_read_only_store_can_be_read_and_refuses_the_rest_clearly(store: Store) -> None:
    bring(store, 1)
    frozen = Store(store.root, disk=Failing(errno.EROFS, CHANGES))
    assert live(frozen) == 1
    head = frozen.head()
    assert head is not None
    tries = (
        lambda: publish(frozen, 2),
        lambda: frozen.append(head, expect_generation=1),
        lambda: frozen.beat(beat()),
        lambda: frozen.lock("me").__enter__(),
        frozen.repair,
        lambda: Store.create(store.root.parent / "new", disk=Failing(errno.EROFS, CHANGES)),
    )
    for attempt in tries:
        with pytest.raises(
            StoreError, match=r"cannot be written or read \(Read-only file system\): give this user access"
        ):
            attempt()
    assert live(store) == 1


def test_a_broken_disk_is_told_with_the_file_that_failed(store: Store) -> None:
    with pytest.raises(StoreError, match=r"failed at some file \(Input/output error\): look at the disk"):
        publish(Store(store.root, disk=Failing(errno.EIO, ("write",))), 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting is not permitted here; the same is tested through Disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full_leaves_production_as_it_was(small_disk: Path) -> None:
    store = Store.create(small_disk / "store")
    bring(store, 1)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * 10**6)
    with pytest.raises(StoreError, match=r"needs [\d,]+ bytes and 0 are free"):
        publish(store, 2)
    first = store.log()[0]
    with pytest.raises(StoreError, match=r"needs [\d,]+ bytes and 0 are free"):
        store.append(first, expect_generation=1)
    assert list((store.root / "tmp").iterdir()) == []
    with store.lock("a lock needs no space"):
        assert live(store) == 1
    filler.unlink()
    bring(store, 2)
    assert live(store) == 2


# --- clean-up -------------------------------------------------------------------------------------------------


def test_clean_up_keeps_what_log_servers_and_newest_need(store: Store) -> None:
    ids = [bring(store, n).version for n in range(6)]
    unused = [publish(store, n).id for n in range(10, 13)]
    store.beat(beat(version=ids[0]))
    removed = store.collect(2)
    assert set(removed) == {ids[1], ids[2], ids[3], unused[0]}
    assert {v.id for v in store.versions()} == {ids[0], ids[4], ids[5], unused[1], unused[2]}
    assert live(store) == 5
    assert list((store.root / "tmp").iterdir()) == []
    assert store.collect(2) == ()


def test_clean_up_keeps_the_champion_under_a_trial(store: Store) -> None:
    champion = bring(store, 1).version
    for n in range(5, 9):
        publish(store, n)
    trial = publish(store, 0).id
    store.append(deployment(trial, state=DeploymentState.TRIAL), expect_generation=1)
    store.collect(1)
    assert {champion, trial} <= {v.id for v in store.versions()}


def test_clean_up_is_for_whoever_has_the_lock(store: Store) -> None:
    with store.lock("a run"):
        with pytest.raises(Locked, match="a run"):
            Store(store.root).collect(1)
        assert store.collect(1) == ()


class Waiting(Disk):
    """Stops in the middle of reading a version, until it is told to go on."""

    def __init__(self) -> None:
        self.reading, self.go_on = threading.Event(), threading.Event()

    def read(self, path: Path) -> bytes:
        if path.name == "model.skops":
            self.reading.set()
            assert self.go_on.wait(10)
        return super().read(path)


def test_clean_up_leaves_a_version_that_is_being_read(store: Store) -> None:
    old = bring(store, 1).version
    for n in (2, 3, 4):
        bring(store, n)
    disk = Waiting()
    got: list[dict[str, bytes]] = []
    reader = threading.Thread(target=lambda: got.append(Store(store.root, disk=disk).read(old)))
    reader.start()
    assert disk.reading.wait(10)
    assert old not in store.collect(1)
    disk.go_on.set()
    reader.join()
    assert got == [files(1)]
    assert store.collect(1) == (old,)
    with pytest.raises(NotFound, match="removed by clean-up"):
        store.read(old)


def test_repair_removes_drafts_of_the_dead_and_not_of_the_living(store: Store) -> None:
    dead = store.root / "tmp" / "0123456789abcdef"
    dead.mkdir()
    (dead / "half").write_bytes(b"ha")
    with store._log.reserve(deployment(None), generation=1) as reserved:
        assert store.repair() == ("1 unfinished draft was removed from tmp",)
        assert reserved.commit().generation == 1
    assert list((store.root / "tmp").iterdir()) == []


# --- many at once ------------------------------------------------------------------------------------------------


def race(root: Path, version: str, barrier: Any, rounds: int, out: Any) -> None:
    store = Store(root)
    won = []
    for generation in range(rounds):
        barrier.wait(60)
        try:
            store.append(deployment(version, actor=str(os.getpid())), expect_generation=generation)
            won.append(generation)
        except Conflict:
            pass
    out.put(won)


def test_of_two_processes_that_write_the_same_generation_exactly_one_wins_100_times(store: Store) -> None:
    version = publish(store, 1).id
    barrier, out = FORK.Barrier(2), FORK.Queue()
    both = [FORK.Process(target=race, args=(store.root, version, barrier, 100, out)) for _ in range(2)]
    for process in both:
        process.start()
    won = [out.get(timeout=60) for _ in both]
    for process in both:
        process.join()
    assert sorted(won[0] + won[1]) == list(range(100))
    assert len(store.log()) == 100


def watch(root: Path, stop: Any, out: Any) -> None:
    store = Store(root)
    seen, wrong = [], []
    while not stop.is_set():
        try:
            head = store.head()
            assert head is not None
            assert head.version is not None
            seen.append((head.generation, number(store, head.version)))
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is what this test is about
            wrong.append(repr(error))
    out.put((seen, wrong))


@pytest.mark.slow
def test_readers_see_one_whole_version_at_any_time_during_200_promotions(store: Store) -> None:
    store = Store(store.root, disk=SwiftDisk())
    bring(store, 1)
    stop, out = FORK.Event(), FORK.Queue()
    readers = [FORK.Process(target=watch, args=(store.root, stop, out)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(2, 202):
        bring(store, n)
        if n % 20 == 0:
            store.collect(10)
    stop.set()
    for _ in readers:
        seen, wrong = out.get(timeout=60)
        assert wrong == []
        assert all(generation == n for generation, n in seen)
        assert seen == sorted(seen)
        assert len({n for _, n in seen}) > 20
    for reader in readers:
        reader.join()


def read_on(root: Path, versions: list[str], stop: Any, out: Any) -> None:
    store = Store(root)
    wrong, whole = [], 0
    while not stop.is_set():
        for version in versions:
            try:
                number(store, version)
                whole += 1
            except NotFound:
                pass
            except Exception as error:  # noqa: BLE001 - as above
                wrong.append(repr(error))
    out.put((whole, wrong))


def test_during_clean_up_a_version_is_whole_or_not_there(store: Store) -> None:
    stop, out = FORK.Event(), FORK.Queue()
    ids = [publish(store, n).id for n in range(12)]
    reader = FORK.Process(target=read_on, args=(store.root, ids, stop, out))
    reader.start()
    for n in range(30):
        store.collect(3)
        for again in (n % 9, (n + 4) % 9):
            publish(store, again)
    stop.set()
    whole, wrong = out.get(timeout=60)
    reader.join()
    assert wrong == []
    assert whole > 0

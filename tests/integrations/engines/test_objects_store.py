"""The store and the run records keep their promises on objects, over HTTP, whoever dies and whoever races."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from s3_kit import CREDENTIALS, Door, Knock, service

import rehone
from conftest import START, Project
from rehone import api
from rehone.config import Storage, load_config
from rehone.deploy import heal, rollback
from rehone.disk import Disk
from rehone.errors import Conflict, Corrupt, Locked, NotFound, StoreError, Unreachable
from rehone.objects import ABANDONED_AFTER, Bucket, ObjectDisk, disk_for
from rehone.objects import probe as probing
from rehone.objects.buckets import Stamp
from rehone.objects.lease import take
from rehone.places import Remote
from rehone.records import DeploymentState, Replica, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store
from store_kit import DAY, QUICK, Died, bring, deployment, files, live, manifest, now, order, publish
from test_runlog import record
from test_store import (  # noqa: F401
    test_a_file_name_that_leaves_the_version_is_refused,
    test_a_version_is_found_by_a_unique_beginning,
    test_a_version_is_named_by_its_content_and_read_back_as_it_was,
    test_a_version_that_is_not_there_is_not_found,
    test_the_same_content_gives_the_same_version,
)

REHONE = [sys.executable, "-m", "rehone"]
names = itertools.count(1)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with service() as at:
        yield at


@pytest.fixture
def door(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    made = Door(port, f"bucket-{next(names)}")
    yield made
    made.end()


def settings(door: Door, **more: Any) -> Storage:
    return Storage(endpoint=door.url, allow_http=True, **more)


def place(door: Door) -> Remote:
    return Remote(f"s3://{door.bucket}/store")


def opened(door: Door, **more: Any) -> Store:
    """Open the store of a bucket as another process would: through a disk of its own."""
    return Store.create(place(door), disk=disk_for(place(door), settings(door, **more)))


@pytest.fixture
def store() -> Store:
    """A store in memory, through the same client."""
    root = Remote(f"memory://bucket-{next(names)}/store")
    return Store.create(root, disk=disk_for(root, Storage()))


def again(store: Store) -> Store:
    return Store(store.root, disk=disk_for(store.root, Storage()))


def objects(store: Store) -> list[str]:
    return store.disk.below(store.root, 9)


# --- the same protocol ---------------------------------------------------------------------------


def test_what_lies_in_the_bucket_is_what_lies_in_a_folder(store: Store) -> None:
    version = bring(store, 1).version
    inside = ["golden.json", "manifest.json", "model.skops", "preprocessor.skops"]
    assert [name for name in objects(store) if name != "lock"] == [
        "FORMAT",
        "current",
        "deployments/0000000001.json",
        *(f"versions/{version}/{name}" for name in inside),
    ]
    assert store.disk.read(store.root / "current") == f"versions/{version}".encode()


def test_promote_rollback_heal_and_collect_work_as_on_a_disk(store: Store) -> None:
    for n in (1, 2, 3):
        assert bring(store, n).confirmed
    rollback(store, None, order(store), clock=now)
    assert live(store) == 2
    store.append(deployment(publish(store, 4).id, state=DeploymentState.TRIAL), expect_generation=4)
    heal(store, clock=now, policy=QUICK)
    assert live(again(store)) == 2
    unused = publish(store, 0).id
    assert store.collect(2) == (unused,)
    assert not [name for name in objects(store) if unused in name]
    assert live(store) == 2


def test_a_generation_that_is_taken_is_a_conflict(store: Store) -> None:
    bring(store, 1)
    other = again(store)
    version = publish(store, 2).id
    store.append(deployment(version), expect_generation=1)
    with pytest.raises(Conflict, match="generation 1 was expected to be the last"):
        other.append(deployment(version), expect_generation=1)


def test_a_version_without_manifest_is_not_there_and_is_swept_when_it_is_old(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed publisher left counts for nobody, and only what nobody can still be writing is removed."""
    version = publish(store, 1).id
    store.disk.unlink(store.root / "versions" / version / "manifest.json")
    assert store.versions() == ()
    with pytest.raises(NotFound):
        store.read(version)
    assert store.repair() == ()
    monkeypatch.setattr("rehone.objects.ABANDONED_AFTER", timedelta(0))
    assert store.repair() == ("1 unfinished version was removed",)
    assert [name for name in objects(store) if "versions" in name] == []
    assert timedelta(hours=1) < ABANDONED_AFTER


def test_only_what_is_named_as_a_version_is_swept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    version = publish(store, 1).id
    monkeypatch.setattr("rehone.objects.ABANDONED_AFTER", timedelta(seconds=-60))
    for name in (f"old/{version}/manifest.json", "README"):
        store.disk.replace(store.root / "versions" / name, b"kept by somebody")
    before = objects(store)
    assert store.repair() == ()
    assert objects(store) == before


def test_a_file_that_was_changed_is_found(store: Store) -> None:
    version = publish(store, 1).id
    store.disk.replace(store.root / "versions" / version / "model.skops", b"other")
    with pytest.raises(Corrupt, match=r"model\.skops has 5 bytes"):
        store.read(version)


def test_a_log_that_was_emptied_is_not_taken_for_one_that_never_was(store: Store) -> None:
    bring(store, 1)
    store.disk.remove_tree(store.root / "deployments")
    with pytest.raises(Corrupt, match="the records were removed"):
        store.head()


def test_a_store_is_not_made_among_other_objects(store: Store) -> None:
    store.disk.replace(store.root.parent / "elsewhere" / "thesis.txt", b"years of work")
    with pytest.raises(StoreError, match=r"holds other files \(thesis.txt\)"):
        Store.create(store.root.parent / "elsewhere", disk=store.disk)


def test_heartbeats_and_signatures_and_what_is_staged_come_and_go(store: Store) -> None:
    me = Replica(name="host-1", host="host", pid=1, url="http://host:1", at=DAY)
    store.beat(me)
    store.beat(replace(me, generation=7))
    assert again(store).replicas() == (replace(me, generation=7),)
    store.retire("host-1")
    assert again(store).replicas() == ()
    version = publish(store, 1).id
    store.sign(version, "0123456789abcdef", b"signed")
    assert again(store).signatures(version) == {"0123456789abcdef": b"signed"}
    assert again(store).read(version) == files(1)


def test_a_version_is_signed_before_its_manifest_can_be_seen(store: Store) -> None:
    put: list[str] = []
    bucket = store.disk._bucket  # type: ignore[attr-defined]
    plain = bucket.put
    bucket.put = lambda key, data: (put.append(key.rpartition("/")[2]), plain(key, data))
    store.publish(manifest(1), files(1), sign=lambda _: ("0123456789abcdef", b"signed"))
    assert put[-1] == "manifest.json"
    assert "0123456789abcdef.sig" in put


def test_a_version_counts_as_gone_before_the_first_of_its_files_is(store: Store) -> None:
    version, removed = publish(store, 0).id, []
    publish(store, 1)
    bucket = store.disk._bucket  # type: ignore[attr-defined]
    plain = bucket.remove
    bucket.remove = lambda keys: (removed.append([key.rpartition("/")[2] for key in keys]), plain(keys))
    assert store.collect(1) == (version,)
    assert removed[0] == ["manifest.json"]
    assert sorted(removed[1]) == ["golden.json", "model.skops", "preprocessor.skops"]


def test_a_disk_says_which_kind_of_place_it_is_for(store: Store, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"take the disk that rehone\.objects\.disk_for returns"):
        Store(store.root)
    with pytest.raises(TypeError, match="is a folder of this machine"):
        store.disk.read(tmp_path / "x")
    assert type(disk_for(tmp_path, Storage())) is Disk


# --- a death at any request ------------------------------------------------------------------------

CALLS = ("get", "put", "create", "update", "head", "names", "below", "remove")


class DyingBucket:
    """Stands before the bucket of a disk and dies at the `at`-th call, before it or right after it."""

    def __init__(self, disk: Disk, at: int | None, *, after: bool) -> None:
        assert isinstance(disk, ObjectDisk)
        self.plain, self.at, self.after, self.calls, self.dead = disk._bucket, at, after, 0, False
        disk._bucket = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        plain = getattr(self.plain, name)
        return (lambda *args: self.call(plain, args)) if name in CALLS else plain

    def call(self, plain: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self.dead:
            raise Died
        self.calls += 1
        if self.calls == self.at:
            if self.after:
                plain(*args)
            self.dead = True
            raise Died
        return plain(*args)


STORIES: dict[str, tuple[Callable[[Store], object], int | None]] = {
    "publish": (lambda store: publish(store, 3), 2),
    "promote": (lambda store: bring(store, 3), 3),
    "rollback": (lambda store: rollback(store, None, order(store), clock=now), 1),
    "collect": (lambda store: (publish(store, 0), store.collect(2)), 2),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", STORIES)
def test_after_a_death_at_any_request_production_is_whole_and_the_next_run_works(name: str, after: bool) -> None:
    tell, done = STORIES[name]
    for at in itertools.count(1):
        root = Remote(f"memory://bucket-{next(names)}/store")
        store = Store.create(root, disk=disk_for(root, Storage(lease_seconds=1.01)))
        for n in (1, 2):
            bring(store, n)
        dying = DyingBucket(store.disk, at, after=after)
        with contextlib.suppress(Died):
            tell(store)
        unlock(root)
        next_one = again(store)
        assert live(next_one) in ({done} if not dying.dead else {2, done})
        for version in next_one.versions():
            assert len(next_one.read(version.id)) == 3
        heal(next_one, clock=now, policy=QUICK)
        assert live(next_one) in {2, done}
        assert bring(next_one, 9).confirmed
        assert live(next_one) == 9
        assert next_one.repair() == ()
        if not dying.dead:
            assert at > 5
            return


def unlock(root: Remote) -> None:
    """Let the lease of what died be over; that it runs out by itself is tested below, over HTTP."""
    disk_for(root, Storage()).unlink(root / "lock")


# --- the run records -----------------------------------------------------------------------------


def test_records_and_ledger_are_kept_and_a_changed_record_is_found() -> None:
    root = Remote(f"memory://bucket-{next(names)}/runs")
    disk = disk_for(root, Storage())
    log = RunLog(root, disk=disk)
    log.begin(record(1))
    log.begin(record(2))
    log.finish(record(2, RunStatus.SKIPPED))
    assert [r.run_id for r in log.unfinished()] == [record(1).run_id]
    (orphan,) = log.close_orphans(now=DAY)
    assert orphan.run_id == record(1).run_id
    assert [line.run_id for line in log.lines()] == [record(2).run_id, record(1).run_id]
    assert [check.detail for check in log.verify()] == ["2 closed runs match the ledger"]
    path = root / log.lines()[0].path
    disk.replace(path, disk.read(path) + b" ")
    assert "was changed after it was closed" in log.verify()[0].detail


def test_a_run_that_was_taken_for_dead_cannot_write_over_its_ending() -> None:
    """A process that was frozen past its lease wakes up after the next run closed its record."""
    root = Remote(f"memory://bucket-{next(names)}/runs")
    log = RunLog(root, disk=disk_for(root, Storage()))
    log.begin(record(1))
    log.close_orphans(now=DAY)
    for write in (lambda: log.note(record(1)), lambda: log.finish(record(1, RunStatus.SKIPPED))):
        with pytest.raises(StoreError, match="is closed already"):
            write()
    assert log.find(record(1).run_id).status is RunStatus.FAILED
    assert [check.detail for check in log.verify()] == ["1 closed runs match the ledger"]


# --- the race, over HTTP ---------------------------------------------------------------------------

RACER = """
import sys, threading
from datetime import datetime, timedelta
from pathlib import Path
sys.path[:0] = {path!r}
from rehone.config import Storage
from rehone.errors import Conflict
from rehone.objects import disk_for
from rehone.places import Remote
from rehone.records import RunStatus
from rehone.runlog import RunLog
from rehone.store import Store
from store_kit import deployment
from test_runlog import record

root, storage, me = Remote({root!r}), Storage(**{storage!r}), int(sys.argv[1])
won, one = [], threading.Lock()

def race(number):
    store = Store(root, disk=disk_for(root, storage))
    for generation in range({rounds}):
        try:
            store.append(deployment({version!r}), expect_generation=generation)
        except Conflict:
            while (store.head().generation if store.head() else 0) <= generation:
                pass
        else:
            with one:
                won.append(generation + 1)
    runs = RunLog(root.parent / "runs", disk=disk_for(root, storage))
    from dataclasses import replace
    plain = record(1, RunStatus.SKIPPED)
    runs.finish(replace(plain, run_id=f"{{plain.run_id}}-{{me}}-{{number}}"))

print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=race, args=(n,)) for n in range({threads})]
[t.start() for t in threads]
[t.join() for t in threads]
print(sorted(won), flush=True)
"""

ROUNDS, PROCESSES, THREADS = 8, 3, 3


def test_a_race_for_a_generation_has_exactly_one_winner(door: Door) -> None:
    """Each writes the very same bytes, so that nothing but the put itself can tell who was first."""
    version = publish(opened(door), 1).id
    script = RACER.format(
        path=[str(Path(__file__).parents[2])],
        root=str(place(door)),
        storage=settings(door).model_dump(),
        rounds=ROUNDS,
        threads=THREADS,
        version=version,
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(PROCESSES)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [generation for racer in racers for generation in json.loads(racer.communicate()[0])]
    assert sorted(won) == list(range(1, ROUNDS + 1))
    assert [r.generation for r in opened(door).log()] == list(range(1, ROUNDS + 1))
    runs = RunLog(place(door).parent / "runs", disk=opened(door).disk)
    assert len(runs.lines()) == PROCESSES * THREADS
    assert [check.detail for check in runs.verify()] == [f"{PROCESSES * THREADS} closed runs match the ledger"]


def test_a_put_whose_answer_was_lost_has_won(door: Door) -> None:
    """The client asks again, is told that somebody has the name, and finds that it is itself."""
    store = opened(door)
    version = publish(store, 1).id
    lost: list[int] = []

    def hang_up(knock: Knock) -> None:
        if "deployments/" in knock.path and knock.method == "PUT" and not lost:
            lost.append(knock.number)
            raise ConnectionResetError

    door.after = hang_up
    assert store.append(deployment(version), expect_generation=0).generation == 1
    assert lost
    assert [r.generation for r in opened(door).log()] == [1]


def test_a_renewal_whose_answer_was_lost_keeps_the_lease(door: Door) -> None:
    store = opened(door)
    version = publish(store, 1).id
    lost: list[int] = []

    def hang_up(knock: Knock) -> None:
        if knock.path.endswith("/lock") and knock.method == "PUT" and not lost:
            lost.append(knock.number)
            raise ConnectionResetError

    with store.lock("kit"):
        door.after = hang_up
        assert store.append(deployment(version), expect_generation=0).generation == 1
    assert lost
    with opened(door).lock("another"):
        pass


def test_a_renewal_that_arrives_after_it_was_given_up_does_not_take_the_lease_away(store: Store) -> None:
    class Slow(Bucket):
        late: list[tuple[str, bytes, Stamp]]

        def update(self, key: str, data: bytes, stamp: Stamp) -> Stamp:
            self.late.append((key, data, stamp))
            raise Unreachable("it did not answer")

    bucket = Bucket(store.root.bucket, Storage())
    lease = take(bucket, "lock", 60)
    assert lease is not None
    lease.bucket = slow = Slow(store.root.bucket, Storage())
    slow.late = []
    with pytest.raises(Unreachable):
        lease.renew()
    lease.bucket = bucket
    bucket.update(*slow.late[0])
    lease.renew()
    assert take(bucket, "lock", 60) is None
    lease.let_go()
    assert take(bucket, "lock", 60) is not None


def test_a_lease_that_was_let_go_is_not_renewed_by_a_thread_that_came_late(store: Store) -> None:
    bucket = Bucket(store.root.bucket, Storage())
    lease = take(bucket, "lock", 60)
    assert lease is not None
    lease.let_go()
    lease.renew()
    assert take(bucket, "lock", 60) is not None


def test_a_ledger_copied_from_a_disk_that_lost_power_is_gone_on_with(store: Store) -> None:
    path = store.root / "lines"
    store.disk.replace(path, b"one\ntw")
    shown: list[bytes] = []
    store.disk.extend(path, lambda before: shown.append(before) or b"two\n")
    assert (store.disk.read(path), shown) == (b"one\ntwo\n", [b"one\n"])


# --- what other tools leave there ----------------------------------------------------------------------


def test_empty_objects_that_stand_for_folders_count_for_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Consoles and other tools make one when somebody makes a folder."""
    for folder in ("store/", "store/versions/", "store/deployments/"):
        assert door.make(folder) == 200
    store = opened(door)
    version = publish(store, 1).id
    store.append(deployment(version), expect_generation=0)
    monkeypatch.setattr("rehone.objects.ABANDONED_AFTER", timedelta(seconds=-60))
    assert store.repair() == ()
    assert [v.id for v in store.versions()] == [version]


def test_clean_up_takes_no_version_for_missing_because_it_was_not_answered(door: Door) -> None:
    store = opened(door)
    old, new = (publish(store, n).id for n in (1, 2))
    store.append(deployment(old), expect_generation=0)

    def hang_up(knock: Knock) -> None:
        if knock.path.endswith(f"{new}/manifest.json") and knock.method == "GET":
            raise ConnectionResetError

    door.before = hang_up
    with pytest.raises(Unreachable) as said:
        store.collect(1)
    assert str(said.value).count("what is live was not touched") == 1
    door.open()
    assert {v.id for v in store.versions()} == {old, new}


# --- backends that cannot be trusted -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "did"),
    [
        ("if-none-match", "wrote an object that was to be written only if there was none (it ignores If-None-Match)"),
        ("if-match", "replaced an object that was not the one read any more (it ignores If-Match)"),
    ],
)
def test_a_backend_that_ignores_a_condition_is_refused_and_nothing_is_written(
    door: Door, monkeypatch: pytest.MonkeyPatch, header: str, did: str
) -> None:
    def forget(knock: Knock) -> None:
        knock.headers = {name: value for name, value in knock.headers.items() if name.lower() != header}

    door.before = forget
    with pytest.raises(StoreError) as caught:
        opened(door)
    assert str(caught.value) == (
        f"s3://{door.bucket} {did}: two runs at once could both deploy, so nothing is kept there; use Amazon S3, or a "
        "service or version that keeps conditional puts, or a folder"
    )
    door.open()
    assert disk_for(place(door), settings(door)).below(Remote(f"s3://{door.bucket}"), 9) == []


def test_a_backend_that_says_there_is_an_object_and_that_there_is_none_is_not_asked_for_ever(door: Door) -> None:
    door.before = lambda knock: 412 if knock.method == "PUT" else None
    with pytest.raises(Unreachable, match="was refused 10 times because it is there, and it is not there"):
        Bucket(f"s3://{door.bucket}", settings(door)).create("one", b"1")


def test_what_is_asked_within_something_else_is_said_once(door: Door) -> None:
    store = opened(door)
    door.shut()
    with pytest.raises(Unreachable) as said:
        publish(store, 1)
    assert str(said.value).count("what is live was not touched") == 1


def test_a_backend_is_asked_once_in_a_process(door: Door) -> None:
    def probes() -> int:
        return sum("rehone-probe" in knock.path and knock.method == "PUT" for knock in door.knocks)

    opened(door)
    asked = probes()
    opened(door)
    publish(opened(door), 1)
    assert probes() == asked == 4


def test_reading_does_not_ask_for_the_right_to_write(door: Door) -> None:
    bring(opened(door), 1)
    probing._proved.clear()
    door.before = lambda knock: 403 if knock.writes else None
    reader = Store(place(door), disk=disk_for(place(door), settings(door)))
    assert live(reader) == 1
    with pytest.raises(Unreachable, match="is not allowed"), reader.lock("kit"):
        pass


# --- the network --------------------------------------------------------------------------------------


def test_what_the_network_does_not_give_is_said_with_the_remedy(door: Door) -> None:
    store = opened(door)
    bring(store, 1)
    door.before = lambda _: 403
    with pytest.raises(StoreError) as denied:
        store.head()
    assert re.fullmatch(
        rf"reading the deployment log: listing s3://{door.bucket}/store/deployments is not allowed \(AccessDenied\): give "
        r"these credentials the right to read, write, list and remove objects there, or set others \(AWS_ACCESS_KEY_ID "
        r"and AWS_SECRET_ACCESS_KEY, or the role of this machine\); what is live was not touched",
        str(denied.value),
    )
    door.shut()
    with pytest.raises(Unreachable) as away:
        store.head()
    assert "look whether the service answers and whether storage.endpoint" in str(away.value)
    door.open()
    assert live(store) == 1


def test_an_endpoint_without_tls_is_told_which_key_to_write(door: Door) -> None:
    with pytest.raises(Unreachable) as caught:
        Bucket(f"s3://{door.bucket}", Storage(endpoint="http://127.0.0.1:9")).get("store/FORMAT")
    assert re.fullmatch(
        rf"reading s3://{door.bucket}/store/FORMAT was not tried \(.*builder error\): storage.endpoint must begin with "
        r"https://, or with http:// where storage.allow_http = true stands beside it",
        str(caught.value),
    )


def test_a_machine_without_credentials_is_told_where_they_come_from(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unreachable) as caught:
        disk_for(place(door), settings(door)).read(place(door) / "FORMAT")
    assert str(caught.value) == (
        f"reading {place(door)}/FORMAT needs credentials, and neither the environment nor the role of this machine gives "
        "any: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )
    assert door.knocks == []


def test_a_bucket_that_is_not_there_is_said(door: Door) -> None:
    root = Remote("s3://nobody-made-it/store")
    with pytest.raises(StoreError) as caught:
        Store.create(root, disk=disk_for(root, settings(door)))
    assert "there is no bucket s3://nobody-made-it: make it, or correct the address in rehone.toml" in str(caught.value)


def test_without_obstore_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from rehone.config import Storage; from rehone.objects import disk_for; from rehone.places import Remote\n"
        "disk_for(Remote('s3://b/x'), Storage())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "s3://b needs obstore, which is not installed: pip install 'rehone[objects]'" in done.stderr


# --- the lease ------------------------------------------------------------------------------------------

HOLDER = """
import sys
sys.path[:0] = {path!r}
from rehone.config import Storage
from rehone.errors import StoreError
from rehone.objects import disk_for
from rehone.places import Remote
from rehone.store import Store
from store_kit import deployment, publish

root, storage = Remote({root!r}), Storage(**{storage!r})
store = Store(root, disk=disk_for(root, storage))
version = publish(store, 1).id
with store.lock("the first"):
    print("held", flush=True)
    for line in sys.stdin:
        try:
            print(store.append(deployment(version), expect_generation=int(line)).generation, flush=True)
        except StoreError as error:
            print(error, flush=True)
"""


@contextlib.contextmanager
def holding(door: Door, seconds: float) -> Iterator[subprocess.Popen[str]]:
    opened(door)
    script = HOLDER.format(
        path=[str(Path(__file__).parents[2])],
        root=str(place(door)),
        storage=settings(door, lease_seconds=seconds).model_dump(),
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def taken(door: Door, within: float) -> float:
    """Return after how many seconds the lock could be had."""
    begun = time.monotonic()
    while time.monotonic() - begun < within:
        with contextlib.suppress(Locked), opened(door, lease_seconds=2).lock("the second"):
            return time.monotonic() - begun
        time.sleep(0.2)
    raise AssertionError(f"not free within {within} s")


def test_the_lock_of_a_process_that_was_killed_is_taken_over_and_not_before(door: Door) -> None:
    with holding(door, 2) as holder:
        with pytest.raises(Locked, match=rf"the first \(pid {holder.pid} on .*\) since \d{{4}}-"):
            opened(door).lock("me").__enter__()
        with pytest.raises(AssertionError, match="not free within 5 s"):
            taken(door, 5)  # it is renewed all the while
        holder.kill()
        holder.wait()
        assert 0.8 < taken(door, 15) < 10


def test_a_holder_that_slept_past_its_lease_commits_nothing(door: Door) -> None:
    with holding(door, 2) as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        taken(door, 15)
        os.kill(holder.pid, signal.SIGCONT)
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("0\n")
        holder.stdin.flush()
        said = holder.stdout.readline()
    assert "was not renewed for 2 seconds and somebody else took it over: nothing more is written by this run" in said
    assert opened(door).head() is None


def test_a_lock_that_was_let_go_is_free_at_once(door: Door) -> None:
    with opened(door, lease_seconds=300).lock("one"):
        pass
    with opened(door, lease_seconds=300).lock("another"):
        pass


# --- killed for good ----------------------------------------------------------------------------------------

PUBLISHER = """
import sys
sys.path[:0] = {path!r}
from rehone.config import Storage
from rehone.objects import disk_for
from rehone.places import Remote
from rehone.store import Store
from store_kit import bring
root, storage = Remote({root!r}), Storage(**{storage!r})
bring(Store(root, disk=disk_for(root, storage)), 2)
"""


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_publisher_that_is_killed_leaves_nothing_half(door: Door, at: int) -> None:
    """kill -9 while a file of the version is on its way, one after the other; the manifest is the last."""
    store = opened(door)
    bring(store, 1)
    script = PUBLISHER.format(
        path=[str(Path(__file__).parents[2])],
        root=str(place(door)),
        storage=settings(door, lease_seconds=2).model_dump(),
    )
    seen: list[int] = []
    process: list[subprocess.Popen[bytes]] = []

    def kill(knock: Knock) -> None:
        if knock.method == "PUT" and ("versions/" in knock.path or "deployments/" in knock.path):
            seen.append(knock.number)
            if len(seen) == at:
                process[0].kill()
                raise ConnectionResetError

    door.before = kill
    process.append(subprocess.Popen([sys.executable, "-c", script]))
    assert process[0].wait(60) == -signal.SIGKILL
    door.open()
    store = opened(door)
    assert live(store) == 1
    assert len(store.versions()) == (2 if at == 5 else 1)
    taken(door, 15)
    assert bring(opened(door), 2).confirmed
    assert live(store) == 2


# --- the whole story ----------------------------------------------------------------------------------------


def configured(project: Project, door: Door, **sections: dict[str, Any]) -> None:
    bucket = f"s3://{door.bucket}"
    project.configure(
        project={"name": "story", "store": f"{bucket}/story/store", "runs": f"{bucket}/story/runs"},
        storage={"endpoint": door.url, "allow_http": True, "lease_seconds": 20},
        **sections,
    )


@contextlib.contextmanager
def host(project: Project, port: int) -> Iterator[Callable[[], dict[str, Any]]]:
    """Start `rehone serve` as a process, and return how its health is asked."""
    log = project.root / f"serve-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*REHONE, "serve", "--project", str(project.root), "--port", str(port)], stdout=out, stderr=out
        )

    def health() -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
                return dict(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            return dict(json.loads(error.read()))

    try:
        yield health
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()[-3000:]


def until(ask: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 60) -> Any:
    end, said = time.monotonic() + seconds, None
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            said = ask()
            if wanted(said):
                return said
        time.sleep(0.2)
    raise AssertionError(said)


def free_ports(count: int) -> list[int]:
    import socket

    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


def predict(port: int) -> dict[str, Any]:
    rows = {"rows": [{"amount": 1.0, "velocity": 0.5, "known": True, "channel": "web"}]}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/predict", json.dumps(rows).encode())
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return dict(json.loads(answer.read()))


def test_a_project_lives_in_a_bucket_and_two_hosts_follow_its_log(project: Project, door: Door) -> None:
    """Run, serve on two hosts, promote with both of them asked, lose the bucket for a while, roll back."""
    configured(project, door, deploy={"trial_seconds": 60})
    project.feed(0, 110)
    first = project.run(70)
    assert first["status"] == "deployed", first.sentence
    ports = free_ports(2)
    with host(project, ports[0]) as one, host(project, ports[1]) as two:
        for health in (one, two):
            assert until(health, lambda h: h.get("generation") is not None)["version"] == first.version
        second = project.run(110, force=True)
        assert second["status"] == "deployed", second.sentence
        for health in (one, two):
            assert until(health, lambda h: h["version"] == second.version)
        asked = [check.subject or "" for check in second.deployment_checks if check.name == "smoke"]
        assert sorted(name.rpartition("-")[2] for name in asked) == sorted(map(str, ports))

        door.shut()
        until(one, lambda h: "cannot be read" in (h["trouble"] or ""), 90)
        assert {predict(port)["version"] for port in ports} == {second.version}
        door.open()

        back = api.rollback(project.root, because="bad night")
        assert back.version == first.version
        for health in (one, two):
            assert until(health, lambda h: h["version"] == first.version)
        assert {predict(port)["version"] for port in ports} == {first.version}
    config = load_config(project.root)
    assert Store.of(config).replicas() == ()
    assert rehone.load(project.root).version == first.version
    assert [r.run_id for r in api.history(project.root)] == [first.run_id, second.run_id]
    assert [c.status.value for c in api.doctor(project.root)][:1] == ["ok"]
    assert not (project.root / "store").exists()
    assert not (project.root / "runs").exists()


def test_each_stage_of_a_run_may_be_made_on_another_machine(project: Project, door: Door, tmp_path: Path) -> None:
    """Nothing but the bucket and the data is shared: no folder of this machine is handed on."""
    configured(project, door)
    project.feed(0, 70)
    run, day = None, str(START + timedelta(days=70))
    for number, stage in enumerate(api.STAGES):
        machine = tmp_path / f"machine-{number}"
        machine.mkdir()
        (machine / "rehone.toml").write_bytes((project.root / "rehone.toml").read_bytes())
        (machine / "data").symlink_to(project.root / "data")
        end = api.run_stage(machine, stage, run=run, as_of=None if run else day)
        assert end.status is (RunStatus.DEPLOYED if stage == "deploy" else None), end.sentence
        run = end.run_id
    record = api.history(project.root)[-1]
    assert record.status is RunStatus.DEPLOYED, record.sentence
    assert rehone.load(project.root).version == record.version


def test_the_command_line_says_that_the_bucket_is_away_and_ends_with_2(project: Project, door: Door) -> None:
    configured(project, door)
    project.feed(0, 70)
    door.shut()
    day = str(START + timedelta(days=70))
    for words in (
        ["run", "--as-of", day],
        ["status"],
        ["history"],
        ["doctor"],
        ["rollback"],
        ["check", "--as-of", day],
    ):
        done = subprocess.run(
            [*REHONE, *words, "--project", str(project.root)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, (words, done.stderr)
        assert "storage.endpoint" in done.stderr + done.stdout, (words, done.stderr, done.stdout)

"""The prediction log keeps its promises on objects, over HTTP: every row once, whoever merges and whoever goes away."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bucket_kit import Bucket, a_bucket, a_port, parquet  # noqa: F401 - two are fixtures
from s3_kit import Knock
from tests.stories.test_closed_loop import ask, feed, rehone, rows, served

from rehone.config import Predictions, load_config
from rehone.data import open_served
from rehone.errors import SourceAway
from rehone.places import Remote
from rehone.predictions import Entry, Log, Shelf, Writer, merging
from rehone.predictions.merging import ShelfUpkeep
from rehone.records import Contract, Feature, FeatureKind, Window

DAY = datetime(2026, 6, 1, tzinfo=UTC)
EVER = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
CONTRACT = Contract(features=(Feature("amount", FeatureKind.NUMERIC), Feature("known", FeatureKind.BOOLEAN)), label="y")
FOLDER = "log/day=2026-06-01/version=aaaaaaaaaaaa"


def entry(ids: Sequence[str], at: datetime = DAY, version: str = "a" * 64) -> Entry:
    """Return an answered request of one row for each id."""
    return Entry(
        at_ns=int(at.timestamp()) * 10**9,
        version=version,
        generation=7,
        contract=CONTRACT,
        names=CONTRACT.names,
        rows=[(1.5, True)] * len(ids),
        ids=ids,
        scores=np.full(len(ids), 0.75),
        threshold=0.5,
        seconds=0.002,
    )


def flush(writer: Writer) -> None:
    """Let the writer begin and stop: it writes what waits."""
    stop = threading.Event()
    stop.set()
    writer.follow(stop)


def shelf_in(bucket: Bucket) -> Shelf:
    return Shelf(Remote(f"s3://{bucket.bucket}/log"), bucket.storage)


def writer_in(bucket: Bucket, name: str = "w", at: datetime = DAY, **policy: Any) -> Writer:
    return Writer(shelf_in(bucket), Predictions(**policy), name=name, clock=lambda: at)


def write(bucket: Bucket, name: str, flushes: Sequence[Sequence[str]], at: datetime = DAY, **facts: Any) -> Writer:
    writer = writer_in(bucket, name, at)
    for ids in flushes:
        writer.add(entry(ids, **facts))
        flush(writer)
    return writer


def sweep(bucket: Bucket, at: datetime, name: str = "s", keep_days: int | None = None) -> None:
    for _ in ShelfUpkeep(shelf_in(bucket), name, keep_days, lambda: at).sweep():
        pass


def ids(bucket: Bucket, window: Window = EVER) -> list[str]:
    found: list[str] = Log(shelf_in(bucket)).scan(window, columns=["served_id"]).collect()["served_id"].to_list()
    return found


def live(bucket: Bucket) -> list[str]:
    return [place.name for place in Log(shelf_in(bucket)).files()]


def later(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_each_flush_is_one_object_by_day_and_version_that_reads_like_a_file(bucket: Bucket) -> None:
    writer = write(bucket, "w", [["a", "b"], ["c"]])
    writer.add(entry(["d"], DAY + timedelta(days=1), version="b" * 64))
    flush(writer)
    assert bucket.names("log") == [
        f"{FOLDER}/w.0-0.parquet",
        f"{FOLDER}/w.1-1.parquet",
        "log/day=2026-06-02/version=bbbbbbbbbbbb/w.0-0.parquet",
    ]
    assert ids(bucket) == ["a", "b", "c", "d"]
    assert writer.written == 4
    assert pl.read_parquet(bucket.get(f"{FOLDER}/w.1-1.parquet"))["amount"].to_list() == [1.5]


def test_only_the_days_of_a_window_are_listed_and_read(bucket: Bucket) -> None:
    for day in range(5):
        write(bucket, f"w{day}", [[f"{day}"]], at=DAY + timedelta(days=day))
        writer = writer_in(bucket, f"v{day}")
        writer.add(entry([f"{day}"], DAY + timedelta(days=day)))
        flush(writer)
    bucket.knocks.clear()
    window = Window(DAY + timedelta(days=3), DAY + timedelta(days=4))
    assert [place.parent.parent.name for place in Log(shelf_in(bucket)).files(window)] == ["day=2026-06-04"]
    (only,) = bucket.knocks
    assert "start-after=log%2Fday%3D2026-06-04" in only.path


def test_empty_objects_that_stand_for_folders_are_no_part_of_a_log(bucket: Bucket) -> None:
    for folder in ("log/", "log/day=2026-06-01/", f"{FOLDER}/"):
        assert bucket.make(folder) == 200
    write(bucket, "w", [["a"], ["b"]])
    assert ids(bucket) == ["a", "b"]
    assert live(bucket) == ["w.0-0.parquet", "w.1-1.parquet"]


def test_an_answer_that_was_lost_does_not_write_a_row_twice(bucket: Bucket) -> None:
    """The object is there, nobody heard so: the same rows are put under the same name again, and count once."""
    writer = writer_in(bucket)

    def hang_up(knock: Knock) -> None:
        if knock.method == "PUT":
            bucket.shut()
            raise ConnectionResetError

    bucket.after = hang_up
    writer.add(entry(["a", "b"]))
    flush(writer)
    assert (writer.waiting, writer.written) == (2, 0)
    assert len(bucket.names("log")) == 1
    bucket.open()
    flush(writer)
    assert (writer.waiting, writer.written, writer.trouble) == (0, 2, None)
    assert bucket.names("log") == [f"{FOLDER}/w.0-0.parquet"]
    assert ids(bucket) == ["a", "b"]


def test_while_the_store_is_away_rows_wait_and_what_is_too_much_is_dropped_and_counted(bucket: Bucket) -> None:
    writer = writer_in(bucket, max_waiting_rows=3)
    bucket.shut()
    for i in range(5):
        writer.add(entry([f"{i}"]))
    flush(writer)
    assert (writer.waiting, writer.dropped, writer.written) == (3, 2, 0)
    assert writer.trouble is not None
    assert writer.trouble.startswith(f"predictions cannot be written: listing s3://{bucket.bucket}/log/day=2026-06-01")
    assert writer.trouble.endswith("they wait in memory until then")
    bucket.open()
    flush(writer)
    assert (writer.waiting, writer.dropped, writer.written, writer.trouble) == (0, 2, 3, None)
    assert ids(bucket) == ["0", "1", "2"]


def test_sixteen_objects_of_a_level_become_one_of_the_next(bucket: Bucket) -> None:
    write(bucket, "w", [[f"{i:03}"] for i in range(34)])
    assert live(bucket) == ["w.0-15.parquet", "w.16-31.parquet", "w.32-32.parquet", "w.33-33.parquet"]
    assert ids(bucket) == [f"{i:03}" for i in range(34)]


def test_a_writer_merges_nothing_of_a_day_that_is_over(bucket: Bucket) -> None:
    """Others may be merging it by then."""
    write(bucket, "w", [[f"{i:03}"] for i in range(17)], at=DAY + timedelta(days=1))
    assert len(live(bucket)) == 17


def test_a_damaged_object_ends_a_run_and_hides_no_row(bucket: Bucket) -> None:
    writer = write(bucket, "w", [[f"{i:03}"] for i in range(15)])
    bucket.put(f"{FOLDER}/w.3-3.parquet", b"PAR1 nothing PAR1")
    for i in range(15, 48):
        writer.add(entry([f"{i:03}"]))
        flush(writer)
    assert ids(bucket) == [f"{i:03}" for i in range(48) if i != 3]
    assert [finding.split(" is damaged")[0] for finding in Log(shelf_in(bucket)).findings()] == [
        f"s3://{bucket.bucket}/{FOLDER}/w.3-3.parquet"
    ]
    assert "w.32-47.parquet" in live(bucket)
    sweep(bucket, later(3))
    assert ids(bucket) == [f"{i:03}" for i in range(48) if i != 3]


def test_what_several_hosts_left_of_a_past_day_becomes_one_object_and_what_it_covers_goes_a_day_later(
    bucket: Bucket,
) -> None:
    for host in ("one", "two"):
        write(bucket, host, [[f"{host}{i}"] for i in range(3)])
    sent = sorted(f"{host}{i}" for host in ("one", "two") for i in range(3))
    sweep(bucket, DAY + timedelta(days=1, hours=23))
    assert len(live(bucket)) == 6  # not settled yet
    sweep(bucket, later(0))
    assert live(bucket) == ["together_all.1-1.parquet"]
    assert len(bucket.names("log")) == 7
    sweep(bucket, later(0.9))
    assert len(bucket.names("log")) == 7
    sweep(bucket, later(1.1))
    assert bucket.names("log") == [f"{FOLDER}/together_all.1-1.parquet"]
    write(bucket, "late", [["three"]])
    sweep(bucket, later(1.2))
    assert live(bucket) == ["together_all.2-2.parquet"]
    assert ids(bucket) == sorted([*sent, "three"])


class Turns:
    """Lets two threads put their merged objects in a given order; who ends gives up his turns."""

    def __init__(self, order: list[str]) -> None:
        self._order, self._change = order, threading.Condition()

    def take(self, act: Callable[[], None]) -> None:
        me = threading.current_thread().name
        with self._change:
            assert self._change.wait_for(lambda: self._order[0] == me, timeout=60)
            try:
                act()
            finally:
                self._order.pop(0)
                self._change.notify_all()

    def end(self) -> None:
        with self._change:
            self._order[:] = [name for name in self._order if name != threading.current_thread().name]
            self._change.notify_all()


def test_of_two_hosts_that_merge_at_once_only_one_goes_on(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """They saw different objects, and pack them in other pairs: two numbers of two hosts would hold a row twice."""
    for host in "bcde":
        write(bucket, host, [[host]])
    size = max(len(bucket.get(name)) for name in bucket.names("log"))
    monkeypatch.setattr(merging, "MOST_BYTES", 2 * size + 1)
    turns, put, seen = Turns(["late", "early", "early", "late"]), Shelf.put, threading.Event()

    def in_turn(self: Shelf, place: Remote, data: bytes) -> None:
        if place.name.startswith("together_"):
            seen.set()
            turns.take(lambda: put(self, place, data))
        else:
            put(self, place, data)

    def host(name: str) -> None:
        sweep(bucket, later(0), name)
        turns.end()

    monkeypatch.setattr(Shelf, "put", in_turn)
    threads = [threading.Thread(target=host, args=(name,), name=name) for name in ("early", "late")]
    threads[0].start()
    assert seen.wait(60)
    write(bucket, "a", [["a"]])
    threads[1].start()
    for thread in threads:
        thread.join(90)
    assert ids(bucket) == ["a", "b", "c", "d", "e"]
    assert live(bucket) == ["e.0-0.parquet", "together_all.1-1.parquet", "together_all.2-2.parquet"]


def test_a_store_that_ignores_conditions_is_written_to_and_not_merged(bucket: Bucket) -> None:
    def ignore(knock: Knock) -> None:
        knock.headers = {name: text for name, text in knock.headers.items() if name.lower() != "if-none-match"}

    bucket.before = ignore
    for name in ("w", "v"):
        write(bucket, name, [[f"{name}{n}"] for n in range(3)])
    before = live(bucket)
    with pytest.raises(OSError, match="it ignores If-None-Match"):
        sweep(bucket, later(3))
    assert live(bucket) == before
    assert len(before) == 6


@pytest.mark.parametrize("seed", range(4))
def test_merging_keeps_every_row_once(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Three writers flush as they like, packs are of any size, days are put together in between."""
    chance = random.Random(seed)
    monkeypatch.setattr(merging, "MOST_BYTES", chance.choice([20_000, 60_000, 10**7]))
    monkeypatch.setattr(merging, "FAN", 3)
    monkeypatch.setattr("rehone.predictions.writer.FAN", 3)
    monkeypatch.setattr("rehone.predictions.compaction.FAN", 3)
    writers = [writer_in(bucket, f"w{i}") for i in range(3)]
    sent: list[str] = []
    for step in range(24):
        new = [f"{step:03}-{i}" for i in range(chance.randint(1, 5))]
        sent += new
        writer = chance.choice(writers)
        writer.add(entry(new))
        flush(writer)
        if chance.random() < 0.2:
            sweep(bucket, later(chance.choice([0, 2])), name=f"s{step}")
            assert ids(bucket) == sent
    for days in (2, 4, 6, 8):  # what was merged is smaller, so that more of it may fit together
        sweep(bucket, later(days), name=f"end{days}")
    assert ids(bucket) == sent
    held = [pl.read_parquet(bucket.get(name)).height for name in bucket.names("log")]
    assert sum(held) == len(sent)


def test_days_beyond_their_time_are_deleted_whole_and_nothing_that_is_named_otherwise(bucket: Bucket) -> None:
    for ago in range(4):
        writer = writer_in(bucket, f"w{ago}")
        writer.add(entry([f"{ago}"], DAY - timedelta(days=ago)))
        flush(writer)
    bucket.put("log/notes.txt", b"mine")
    bucket.put("log/day=old/version=aaaaaaaaaaaa/w.0-0.parquet", b"mine")
    bucket.put("elsewhere/day=2020-01-01/version=aaaaaaaaaaaa/w.0-0.parquet", b"mine")
    sweep(bucket, DAY + timedelta(hours=1), keep_days=2)
    assert ids(bucket) == ["2", "1", "0"]
    assert [name for name in (*bucket.names("log"), *bucket.names("elsewhere")) if b"mine" in bucket.get(name)] == [
        "log/day=old/version=aaaaaaaaaaaa/w.0-0.parquet",
        "log/notes.txt",
        "elsewhere/day=2020-01-01/version=aaaaaaaaaaaa/w.0-0.parquet",
    ]
    sweep(bucket, DAY + timedelta(days=400))
    assert ids(bucket) == ["2", "1", "0"]


def test_a_log_whose_store_is_away_is_an_error_and_not_an_empty_log(bucket: Bucket) -> None:
    write(bucket, "w", [["a"]])
    log = Log(shelf_in(bucket))
    bucket.shut()
    with pytest.raises(SourceAway, match=f"listing s3://{bucket.bucket}/log failed"):
        log.files()
    bucket.answer_objects(lambda: 500)
    with pytest.raises(SourceAway, match=f"reading s3://{bucket.bucket}/{FOLDER}/w.0-0.parquet failed"):
        log.findings()


def test_evidence_does_not_shrink_because_the_store_is_away(bucket: Bucket, tmp_path: Path) -> None:
    """A run that finds the log unreadable goes on without it; a run that cannot reach it fails and is made again."""
    write(bucket, "w", [["a"]])
    (tmp_path / "rehone.toml").write_text(TOML.format(bucket=bucket.bucket, url=bucket.url))
    config = load_config(tmp_path)
    assert len(open_served(config, as_of=DAY + timedelta(days=1)).files) == 1
    bucket.answer_objects(lambda: 500)
    with pytest.raises(SourceAway, match=f"reading s3://{bucket.bucket}/{FOLDER}/w.0-0.parquet failed"):
        open_served(config, as_of=DAY + timedelta(days=1))
    bucket.open()
    bucket.put(f"{FOLDER}/w.0-0.parquet", b"nothing")
    (found,) = open_served(config, as_of=DAY + timedelta(days=1)).findings
    assert found.name == "log_readable"


TOML = """
[project]
name = "loop"

[data]
source = "s3://{bucket}/data/*.parquet"
time_column = "at"
label = "label"
id_column = "transaction_id"
lookback_days = 60

[trigger]
window_days = 7
performance_days = 7
max_age_days = 400
min_positives = 10

[train]
candidates = ["logistic_regression"]
windows = ["trailing"]
folds = 3

[gate]
min_roc_auc = 0.7
min_recall = 0.3

[deploy]
service = "required"

[serve]
port = 0
poll_seconds = 0.05
heartbeat_seconds = 0.2

[predictions]
log = true
folder = "s3://{bucket}/log"
flush_seconds = 0.5
evidence = "served"
labels = "s3://{bucket}/labels/*.parquet"

[storage]
endpoint = "{url}"
region = "us-east-1"
allow_http = true
"""


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return value


def test_what_a_real_service_logs_to_objects_becomes_the_next_runs_evidence(bucket: Bucket, tmp_path: Path) -> None:
    """Data, log and labels lie in the bucket; it goes away while the service answers, and nothing is lost."""
    (tmp_path / "rehone.toml").write_text(TOML.format(bucket=bucket.bucket, url=bucket.url))
    now = datetime.now(UTC)
    (tmp_path / "here").mkdir()
    feed(tmp_path / "here", now)
    for path in (tmp_path / "here" / "data").iterdir():
        bucket.put(f"data/{path.name}", path.read_bytes())
    with served(tmp_path) as port:
        first = rehone(tmp_path, "run", "--as-of", (now - timedelta(days=67)).isoformat())
        assert first["status"] == "deployed", first["sentence"]
        quiet, hard = rows(901, 150, turned=False), rows(902, 150, turned=False)
        ask(port, quiet)
        shelf = Shelf(Remote(f"s3://{bucket.bucket}/log"), bucket.storage)
        window = Window(now - timedelta(days=1), now + timedelta(days=1))
        until(lambda: Log(shelf).scan(window).collect().height == 150)
        bucket.shut()
        began = time.monotonic()
        answers = ask(port, hard)
        assert {answer["version"] for answer in answers} == {first["version"]}
        assert time.monotonic() - began < 20
        time.sleep(1.5)
        bucket.open()
        until(lambda: Log(shelf).scan(window).collect().height == 300)
        both = pl.concat([quiet, hard]).select("transaction_id", "label", at=pl.lit(datetime.now(UTC)))
        bucket.put("labels/arrived.parquet", parquet(both))
        said = rehone(tmp_path, "check")
    assert (said["evidence"]["origin"], said["evidence"]["rows"]) == ("served", 300)
    assert said["evidence"]["coverage"]["labelled"] == 300
    assert not (tmp_path / "predictions").exists()
    log = open_served(load_config(tmp_path), as_of=datetime.now(UTC))
    assert all(file.path.startswith(f"s3://{bucket.bucket}/log/day=") for file in log.files)

"""What was served is kept: whole files, no row twice, bounded memory, whatever dies."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store_kit import Died, DyingDisk, PowerCutDisk, SwiftDisk

from rehone.artifact.rows import frame_of
from rehone.columns import text_of
from rehone.config import Predictions
from rehone.disk import Disk
from rehone.errors import DataError
from rehone.predictions import SERVED, Entry, Log, Writer, compaction, drawn, layout
from rehone.predictions.compaction import Compaction
from rehone.records import Contract, Feature, FeatureKind, Window

DAY = datetime(2026, 6, 1, tzinfo=UTC)
EVER = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
V1, V2 = "a" * 64, "b" * 64
FOLDER = Path("day=2026-06-01") / f"version={'a' * 12}"
CONTRACT = Contract(
    features=(
        Feature("amount", FeatureKind.NUMERIC),
        Feature("channel", FeatureKind.CATEGORICAL, ("web",)),
        Feature("known", FeatureKind.BOOLEAN),
    ),
    label="y",
)


def entry(ids: Sequence[str], at: datetime = DAY, **facts: Any) -> Entry:
    """Return an answered request of one row for each id."""
    rows = facts.pop("rows", [(1.5, "web", True)] * len(ids))
    given: dict[str, Any] = {
        "at_ns": int(at.timestamp()) * 10**9 + at.microsecond * 1000,
        "version": V1,
        "generation": 7,
        "contract": CONTRACT,
        "names": (*CONTRACT.names, "card_id") if rows and len(rows[0]) == 4 else CONTRACT.names,
        "threshold": 0.5,
        "seconds": 0.002,
        "scores": np.full(len(ids), 0.75),
        **facts,
    }
    return Entry(rows=rows, ids=ids, **given)


def writer_of(root: Path, name: str = "w", *, disk: Disk | None = None, **policy: Any) -> Writer:
    return Writer(root, Predictions(**policy), name=name, clock=lambda: DAY, disk=disk or SwiftDisk())


def flush(writer: Writer) -> None:
    """Let the writer begin and stop: it writes what waits."""
    stop = threading.Event()
    stop.set()
    writer.follow(stop)


def write(root: Path, name: str, flushes: Sequence[Sequence[str]], **facts: Any) -> Writer:
    """Write each list of ids as one flush of one writer."""
    writer = writer_of(root, name)
    for ids in flushes:
        writer.add(entry(ids, **facts))
        flush(writer)
    return writer


def sweep(root: Path, at: datetime, *, name: str = "s", keep_days: int | None = None, disk: Disk | None = None) -> None:
    for _ in Compaction(root, writer=name, keep_days=keep_days, clock=lambda: at, disk=disk or SwiftDisk()).sweep():
        pass


def ids(root: Path) -> list[str]:
    found: list[str] = Log(root).scan(EVER, columns=["served_id"]).collect().get_column("served_id").to_list()
    return found


def names(root: Path) -> list[str]:
    return [path.name for path in Log(root).files()]


def later(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


class Looks(threading.Event):
    """Stop after so many looks of the writer, without waiting; `act` is called before each."""

    def __init__(self, most: int, act: Callable[[int], None] = lambda _look: None) -> None:
        super().__init__()
        self.most, self.act, self.count = most, act, 0

    def wait(self, timeout: float | None = None) -> bool:
        self.count += 1
        self.act(self.count)
        return self.count > self.most


# --- what is written ------------------------------------------------------------------------------


def test_a_row_holds_what_was_asked_and_what_was_answered(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    at = DAY + timedelta(hours=3, microseconds=5)
    rows = [(3, 3.0, 1, "card-1"), (None, None, None, "card-2"), (0.5, "unseen", False, "card-3")]
    writer.add(entry(["a", "b", "c"], at, rows=rows, scores=np.array([0.5, 0.4999, np.nan])))
    flush(writer)
    assert [str(path.relative_to(tmp_path)) for path in Log(tmp_path).files()] == [str(FOLDER / "w.0-0.parquet")]
    assert Log(tmp_path).scan(EVER).collect().to_dict(as_series=False) == {
        "served_id": ["a", "b", "c"],
        "served_at": [at] * 3,
        "served_generation": [7] * 3,
        "served_version": [V1] * 3,
        "served_score": [0.5, 0.4999, pytest.approx(np.nan, nan_ok=True)],
        "served_decision": [True, False, False],
        "served_ms": [2.0] * 3,
        "amount": [3.0, None, 0.5],
        "channel": ["3", None, "unseen"],
        "known": [True, None, False],
    }
    assert (writer.written, writer.dropped, writer.waiting, writer.trouble) == (3, 0, 0, None)


def test_the_types_of_the_columns_do_not_depend_on_the_values(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    writer.add(entry(["a"], rows=[(None, None, None)], generation=None))
    flush(writer)
    features = {"amount": pl.Float64(), "channel": pl.String(), "known": pl.Boolean()}
    assert dict(pl.read_parquet_schema(Log(tmp_path).files()[0])) == {**SERVED, **features}


@pytest.mark.parametrize("value", ["x", 3, 3.0, -0.0, 2.5, 1e16, 1e300, 2**70, True, False, None, float("inf")])
def test_a_number_sent_for_a_category_becomes_the_text_that_the_model_saw(value: Any) -> None:
    model = frame_of({"amount": [1.0], "channel": [value], "known": [True]}, CONTRACT)
    assert text_of(value) == model.get_column("channel")[0]


def test_what_is_no_category_has_no_text() -> None:
    with pytest.raises(TypeError, match=r"^list$"):
        text_of([])


def test_one_file_holds_the_rows_of_one_utc_day_and_one_version(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    for number, (at, version) in enumerate(
        itertools.product([DAY - timedelta(microseconds=1), DAY, DAY + timedelta(days=1)], [V1, V2])
    ):
        writer.add(entry([f"r{number}"], at, version=version))
    flush(writer)
    assert [str(path.relative_to(tmp_path)) for path in Log(tmp_path).files()] == [
        f"day={day}/version={digit * 12}/w.0-0.parquet"
        for day in ("2026-05-31", "2026-06-01", "2026-06-02")
        for digit in "ab"
    ]
    assert ids(tmp_path) == [f"r{number}" for number in range(6)]


def test_only_listed_features_are_written_and_none_that_is_named_like_a_served_column(tmp_path: Path) -> None:
    contract = Contract(features=(*CONTRACT.features, Feature("served_id", FeatureKind.NUMERIC)), label="y")
    for name, columns in (("all", None), ("some", ("known", "served_id"))):
        writer = writer_of(tmp_path / name, columns=columns)
        writer.add(entry(["a"], contract=contract, names=contract.names, rows=[(1.0, "x", True, 9.0)]))
        flush(writer)
    assert Log(tmp_path / "all").scan(EVER).collect_schema().names() == [*SERVED, "amount", "channel", "known"]
    assert Log(tmp_path / "some").scan(EVER).collect_schema().names() == [*SERVED, "known"]
    assert ids(tmp_path / "some") == ["a"]


def test_many_requests_are_written_in_their_order_in_pieces(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    for number in range(9000):
        writer.add(
            entry([f"{number:05}-{i}" for i in range(number % 5)], rows=[(float(number), "x", True)] * (number % 5))
        )
    flush(writer)
    frame = pl.concat([pl.read_parquet(path) for path in Log(tmp_path).files()])
    assert frame.get_column("served_id").to_list() == [f"{n:05}-{i}" for n in range(9000) for i in range(n % 5)]
    assert (frame.get_column("served_id").str.head(5).cast(pl.Float64) == frame.get_column("amount")).all()


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "together_x", "a-b"])
def test_a_name_that_could_be_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a writer"):
        writer_of(tmp_path, name)


# --- what is dropped --------------------------------------------------------------------------------


def test_rows_beyond_the_bound_are_dropped_and_counted_to_the_row(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, max_waiting_rows=10)
    for size in (4, 6, 1, 2):
        writer.add(entry([f"{size}-{i}" for i in range(size)]))
    assert (writer.waiting, writer.dropped) == (10, 3)
    flush(writer)
    writer.add(entry([str(i) for i in range(11)]))
    writer.add(entry(["last"]))
    flush(writer)
    assert (writer.written, writer.waiting, writer.dropped) == (11, 0, 14)
    assert len(ids(tmp_path)) == 11


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": [(1.0, [], True)]},
        {"rows": [("x", "web", True)]},
        {"rows": [(1.0,)]},
        {"rows": []},
        {"scores": np.zeros(2)},
        {"at_ns": 10**40},
        {"version": "../elsewhere"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_request_that_cannot_be_written_is_dropped_alone(tmp_path: Path, wrong: dict[str, Any]) -> None:
    writer = writer_of(tmp_path)
    for one in (entry(["a"]), entry(["wrong"], **wrong), entry(["b"])):
        writer.add(one)
    flush(writer)
    assert ids(tmp_path) == ["a", "b"]
    assert (writer.written, writer.dropped, writer.waiting, writer.trouble) == (2, 1, 0, None)


def test_rows_are_drawn_by_id_alike_by_every_writer_and_without_bias(tmp_path: Path) -> None:
    for name in ("one", "two"):
        writer = writer_of(tmp_path / name, name, share=0.3)
        for start in range(0, 20_000, 2000 if name == "one" else 500):
            size = 2000 if name == "one" else 500
            writer.add(
                entry(
                    [f"id-{start + i}" for i in range(size)], rows=[(float(start + i), "x", True) for i in range(size)]
                )
            )
        flush(writer)
        assert (writer.waiting, writer.dropped) == (0, 0)
    kept = ids(tmp_path / "one")
    assert kept == ids(tmp_path / "two")
    assert len(kept) == pytest.approx(6000, abs=5 * (20_000 * 0.3 * 0.7) ** 0.5)
    amounts = Log(tmp_path / "one").scan(EVER, columns=["served_id", "amount"]).collect()
    assert amounts.filter(pl.col("served_id") != pl.format("id-{}", pl.col("amount").cast(pl.Int64))).is_empty()


def test_a_draw_is_the_same_for_ever() -> None:
    assert "".join("01"[drawn(f"id-{i}", 0.5)] for i in range(16)) == "0010010111110010"
    assert all(drawn(str(i), 1) for i in range(100))
    assert all(drawn(str(i), 0.6) for i in range(1000) if drawn(str(i), 0.4))


# --- a disk that fails --------------------------------------------------------------------------------


class SickDisk(SwiftDisk):
    """Refuses to write while `error` is set; with `late`, only after the file has its name."""

    def __init__(self, error: OSError | None = None, *, late: bool = False) -> None:
        self.error, self.late, self.tries = error, late, 0

    def write(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
        self.tries += 1
        if self.error is not None and not self.late:
            super().write(path, data[: len(data) // 2])
            raise self.error
        super().write(path, data)

    def sync_folder(self, path: Path) -> None:
        if self.error is not None and self.late and path.name.startswith("version="):
            raise self.error


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("late", [False, True])
def test_rows_wait_while_the_disk_is_full_and_are_written_once_when_it_is_not(tmp_path: Path, late: bool) -> None:
    disk = SickDisk(FULL, late=late)
    writer = writer_of(tmp_path, disk=disk, max_waiting_rows=5)
    for i in range(7):
        writer.add(entry([f"r{i}"]))
        flush(writer)
    assert (writer.written, writer.waiting, writer.dropped) == (0, 5, 2)
    assert writer.trouble == (
        f"predictions cannot be written to {tmp_path} (No space left on device): free some space, or lower "
        "predictions.keep_days; they wait in memory until then"
    )
    disk.error = None
    flush(writer)
    assert (writer.written, writer.waiting, writer.dropped, writer.trouble) == (5, 0, 2, None)
    assert ids(tmp_path) == [f"r{i}" for i in range(5)]
    assert list(tmp_path.rglob(".*.new")) == []


def test_a_group_that_was_written_is_not_written_again_when_the_next_one_fails(tmp_path: Path) -> None:
    class OnceDisk(SickDisk):
        def write(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
            self.error = FULL if self.tries == 1 else None
            super().write(path, data)

    writer = writer_of(tmp_path, disk=OnceDisk())
    for version in (V1, V2, V1):
        writer.add(entry([version[0]], version=version))
    flush(writer)
    assert (writer.written, writer.waiting) == (2, 1)
    flush(writer)
    assert ids(tmp_path) == ["a", "a", "b"]


def test_a_folder_that_vanished_is_waited_for_and_not_made_anew(tmp_path: Path) -> None:
    root, away = tmp_path / "log", tmp_path / "away"
    writer = write(root, "w", [["a"]])
    root.rename(away)
    writer.add(entry(["b"]))
    flush(writer)
    assert not root.exists()
    assert writer.waiting == 1
    assert writer.trouble == (
        f"predictions cannot be written to {root} (No such file or directory): bring the folder back, or start the "
        "service anew to make it; they wait in memory until then"
    )
    away.rename(root)
    flush(writer)
    assert writer.trouble is None
    assert ids(root) == ["a", "b"]


def test_the_pause_after_a_failure_doubles_and_ends_with_it(tmp_path: Path) -> None:
    disk = SickDisk(FULL)
    writer = writer_of(tmp_path, disk=disk, flush_seconds=0.125)
    tried = []

    def look(count: int) -> None:
        tried.append(disk.tries)
        if count == 40:
            disk.error = None

    writer.add(entry(["a"]))
    writer.follow(Looks(64, look))
    attempts = [look for look, (before, after) in enumerate(itertools.pairwise(tried), 1) if after > before]
    assert attempts == [1, 3, 7, 15, 31, 63]
    assert (writer.written, writer.trouble) == (1, None)


def test_the_writer_outlives_a_bug(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = SickDisk()
    disk.error = TypeError("a bug")  # type: ignore[assignment]
    writer = writer_of(tmp_path, disk=disk)
    writer.add(entry(["a"]))
    flush(writer)
    assert writer.trouble is not None
    assert "TypeError: a bug" in writer.trouble
    assert "Traceback" in caplog.text
    disk.error = None
    flush(writer)
    assert ids(tmp_path) == ["a"]


def panicking(path: Path) -> None:
    """Damage a file's footer so that Polars panics, which is no `Exception`, where other damage is an error."""
    whole = path.read_bytes()
    length = struct.unpack("<I", whole[-8:-4])[0]
    for place in range(len(whole) - 8 - length, len(whole) - 8):
        path.write_bytes(whole[:place] + b"\x7f" + whole[place + 1 :])
        try:
            pl.read_parquet_schema(path)
        except pl.exceptions.PanicException:
            return
        except pl.exceptions.PolarsError:
            continue
    pytest.fail("no byte of this footer makes Polars panic")


def test_a_footer_that_makes_polars_panic_is_left_out_and_named_as_any_damage(tmp_path: Path) -> None:
    write(tmp_path, "w", [["a"], ["b"]])
    damaged = tmp_path / FOLDER / "w.1-1.parquet"
    panicking(damaged)
    assert ids(tmp_path) == ["a"]
    assert [finding.split(" is damaged")[0] for finding in Log(tmp_path).findings()] == [str(damaged)]


def test_a_footer_that_makes_polars_panic_covers_nothing(tmp_path: Path) -> None:
    write(tmp_path, "one", [["a"]])
    write(tmp_path, "two", [["b"]])
    sweep(tmp_path, DAY + timedelta(days=2))
    panicking(tmp_path / FOLDER / "together_s.1-1.parquet")
    assert ids(tmp_path) == ["a", "b"]


def test_the_writer_outlives_a_panic_in_a_merge_and_in_a_sweep(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, flush_seconds=0.125)
    there = tmp_path / FOLDER

    def look(count: int) -> None:
        if count == 9:
            panicking(there / "w.7-7.parquet")
        writer.add(entry([f"{count:02}"]))

    writer.follow(Looks(40, look))
    assert ids(tmp_path) == [f"{i:02}" for i in range(1, 42) if i != 8]
    assert (writer.written, writer.waiting, writer.trouble) == (41, 0, None)
    sweep(tmp_path, DAY + timedelta(days=2))
    assert ids(tmp_path) == [f"{i:02}" for i in range(1, 42) if i != 8]


@pytest.mark.parametrize("error", [TypeError("a bug"), pl.exceptions.PanicException("a panic")], ids=["bug", "panic"])
def test_whatever_ends_a_look_is_told_and_the_next_look_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def broken(_: Compaction) -> Iterator[None]:
        monkeypatch.undo()
        raise error

    writer = writer_of(tmp_path, flush_seconds=0.125)
    monkeypatch.setattr(Compaction, "sweep", broken)
    told = []

    def look(count: int) -> None:
        told.append(writer.trouble)
        if count == 2:
            writer.add(entry(["a"]))

    writer.follow(Looks(4, look))
    assert ids(tmp_path) == ["a"]
    assert type(error).__name__ in (told[1] or "")
    assert writer.trouble is None
    assert "predictions cannot be written" in caplog.text


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_disk_that_is_really_full_leaves_whole_files_and_loses_nothing_that_waits(tmp_path: Path) -> None:
    rng = random.Random(1)
    with small_disk(tmp_path / "small", "256k") as small:
        ballast = small / "ballast"
        ballast.write_bytes(bytes(128 << 10))
        writer = writer_of(small / "log", disk=Disk(), max_waiting_rows=3000)
        sent = 0
        while writer.dropped < 700:
            writer.add(entry([f"{sent:06}-{rng.getrandbits(256):x}" for sent in range(sent, sent + 100)]))
            sent += 100
            flush(writer)
        assert (writer.waiting, writer.dropped) == (3000, 700)
        assert writer.written == sent - 3700 > 0
        assert writer.trouble is not None
        assert "No space left on device" in writer.trouble
        assert len(ids(small / "log")) == writer.written
        ballast.unlink()
        flush(writer)
        assert (writer.waiting, writer.trouble) == (0, None)
        assert [int(found[:6]) for found in ids(small / "log")] == list(range(sent - 700))


@pytest.mark.parametrize(("make", "half"), [(DyingDisk, False), (DyingDisk, True), (PowerCutDisk, False)])
def test_a_death_at_any_call_leaves_whole_files_and_no_row_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: type[DyingDisk], half: bool
) -> None:
    monkeypatch.setattr(compaction, "FAN", 3)
    monkeypatch.setattr("rehone.predictions.writer.FAN", 3)
    alive, at, found = False, 0, list[str]()
    while not alive:
        at += 1
        root = tmp_path / str(at)
        root.mkdir()
        disk = make(at)
        disk.half = half
        writer = writer_of(root, "w", disk=disk)
        with contextlib.suppress(Died):
            for i in range(4):
                writer.add(entry([f"{i:02}"]))
                flush(writer)
        alive = not disk.dead
        if isinstance(disk, PowerCutDisk):
            disk.cut()
        found = ids(root)
        assert found == [f"{i:02}" for i in range(len(found))]
        assert writer.written <= len(found) <= writer.written + 1
        assert Log(root).findings() == ()
        write(root, "next", [["98"]])
        assert ids(root) == [*found, "98"]
    assert at > 25
    assert found == [f"{i:02}" for i in range(4)]


# --- merging --------------------------------------------------------------------------------------------


def test_sixteen_files_of_a_level_become_one_of_the_next(tmp_path: Path) -> None:
    writer = write(tmp_path, "w", [[f"{i:03}"] for i in range(16)])
    assert names(tmp_path) == ["w.0-15.parquet"]
    assert len(list((tmp_path / FOLDER).glob("*.parquet"))) == 17
    for i in range(16, 276):
        writer.add(entry([f"{i:03}"]))
        flush(writer)
    assert names(tmp_path) == ["w.0-255.parquet", "w.256-271.parquet", *(f"w.{i}-{i}.parquet" for i in range(272, 276))]
    assert ids(tmp_path) == [f"{i:03}" for i in range(276)]


@settings(max_examples=25, deadline=None)
@given(
    flushes=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=70),
    most=st.sampled_from([4, 10, 40, 1000]),
    sweeps=st.sets(st.integers(0, 70), max_size=4),
)
def test_merging_keeps_every_row_once(flushes: list[tuple[int, int]], most: int, sweeps: set[int]) -> None:
    """Three writers flush as they like, packs are of any size, days are put together in between."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root, number = Path(folder), itertools.count()
        patch.setattr(compaction, "MOST_ROWS", most)
        patch.setattr(compaction, "FAN", 3)
        patch.setattr("rehone.predictions.writer.FAN", 3)
        writers = [writer_of(root, f"w{i}") for i in range(3)]
        sent: list[str] = []
        for step, (who, rows) in enumerate(flushes):
            new = [f"{next(number):05}" for _ in range(rows)]
            sent += new
            writers[who].add(entry(new))
            flush(writers[who])
            if step in sweeps:
                sweep(root, later(step % 3), name=f"s{step}")
            assert ids(root) == sent
        sweep(root, later(2), name="end")
        sweep(root, later(4), name="end2")
        assert ids(root) == sent
        everything = [pl.scan_parquet(path).select(pl.len()).collect().item() for path in root.rglob("*.parquet")]
        assert sum(everything) == len(sent)
        assert all(rows <= max(most, 9) for rows in everything)
        halves = [rows for rows in everything if rows * 2 < most]
        assert len(halves) <= 1 + len(everything) - len(halves)


def test_a_damaged_file_is_never_covered_by_a_merge_that_lacks_its_rows(tmp_path: Path) -> None:
    writer = write(tmp_path, "w", [[f"{i:02}"] for i in range(10)])
    damaged = tmp_path / FOLDER / "w.7-7.parquet"
    damaged.write_bytes(b"nonsense")
    for i in range(10, 32):
        writer.add(entry([f"{i:02}"]))
        flush(writer)
    assert names(tmp_path) == [*(f"w.{i}-{i}.parquet" for i in range(8)), "w.8-31.parquet"]
    assert ids(tmp_path) == [f"{i:02}" for i in range(32) if i != 7]
    assert [finding.split(" is damaged")[0] for finding in Log(tmp_path).findings()] == [str(damaged)]


def test_what_several_writers_left_of_a_past_day_becomes_one_file_that_says_so(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, name, [[f"{name}-{i}"] for i in range(3)])
    before = ids(tmp_path)
    sweep(tmp_path, DAY + timedelta(days=2))
    assert names(tmp_path) == ["together_s.1-1.parquet"]
    assert ids(tmp_path) == before
    assert len(before) == 6
    said = pl.read_parquet_metadata(tmp_path / FOLDER / "together_s.1-1.parquet")[layout.COVERS]
    assert json.loads(said) == {"one": [[0, 2]], "two": [[0, 2]]}


def test_a_file_whose_inside_is_damaged_leaves_its_folder_unmerged_and_no_other(tmp_path: Path) -> None:
    for day in (DAY, DAY + timedelta(days=1)):
        write(tmp_path, f"on_{day:%d}", [["a"], ["b"]], at=day)
    damaged = tmp_path / FOLDER / "on_01.0-0.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:4] + bytes(80) + whole[84:])
    sweep(tmp_path, DAY + timedelta(days=3))
    assert names(tmp_path) == ["on_01.0-0.parquet", "on_01.1-1.parquet", "together_s.2-2.parquet"]


def test_a_day_that_is_not_yet_settled_is_left_to_its_writers(tmp_path: Path) -> None:
    write(tmp_path, "one", [["a"], ["b"]])
    sweep(tmp_path, DAY + timedelta(days=2) - timedelta(seconds=1))
    assert names(tmp_path) == ["one.0-0.parquet", "one.1-1.parquet"]


def test_a_writer_that_was_thought_gone_writes_and_merges_on(tmp_path: Path) -> None:
    writer = write(tmp_path, "w", [[f"{i:02}"] for i in range(15)])
    sweep(tmp_path, DAY + timedelta(days=2))
    for i in range(15, 40):
        writer.add(entry([f"{i:02}"]))
        flush(writer)
        assert ids(tmp_path) == [f"{i:02}" for i in range(i + 1)]
    sweep(tmp_path, later(2), name="t")
    assert names(tmp_path) == ["together_t.1-1.parquet"]
    sweep(tmp_path, later(4), name="u")
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["together_t.1-1.parquet"]
    assert ids(tmp_path) == [f"{i:02}" for i in range(40)]


def test_what_a_file_covers_stays_covered_when_that_file_is_covered_and_gone(tmp_path: Path) -> None:
    write(tmp_path, "z", [["a"], ["b"]])
    sweep(tmp_path, later(0), name="s")
    write(tmp_path, "late", [["c"]])
    sweep(tmp_path, later(0), name="t")
    (tmp_path / FOLDER / "together_s.1-1.parquet").unlink()
    assert (tmp_path / FOLDER / "z.0-0.parquet").exists()
    assert names(tmp_path) == ["together_t.1-1.parquet"]
    assert ids(tmp_path) == ["a", "b", "c"]


def test_covered_files_stay_for_a_day_for_those_who_listed_them(tmp_path: Path) -> None:
    write(tmp_path, "w", [[f"{i:02}"] for i in range(16)])
    listed = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    sweep(tmp_path, later(0.9))
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == sorted(
        [*listed, "together_s.1-1.parquet"][:17]
    )
    sweep(tmp_path, later(1.1))
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["w.0-15.parquet"]


def test_drafts_of_the_dead_are_cleared_away_after_a_day_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "w", [["a"]])
    draft = tmp_path / FOLDER / ".w.1-1.parquet.77.new"
    foreign = [tmp_path / "notes.txt", tmp_path / FOLDER / ".keep", tmp_path / FOLDER / "other.parquet"]
    for path in (draft, *foreign):
        path.write_bytes(b"PAR1")
    sweep(tmp_path, later(0.9))
    assert draft.exists()
    sweep(tmp_path, later(1.1))
    assert not draft.exists()
    assert all(path.read_bytes() == b"PAR1" for path in foreign)
    assert ids(tmp_path) == ["a"]
    assert Log(tmp_path).findings() == ()


@pytest.mark.parametrize("make", [DyingDisk, PowerCutDisk])
def test_a_death_at_any_call_of_a_sweep_loses_and_doubles_nothing(tmp_path: Path, make: type[DyingDisk]) -> None:
    template = tmp_path / "template"
    for name in ("one", "two"):
        write(template, name, [[f"{name}-{i:02}"] for i in range(3)])
    sweep(template, later(0), name="first")
    write(template, "late", [["late-1"], ["late-2"]])
    expected = ids(template)
    alive, at = False, 0
    while not alive:
        at += 1
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        disk = make(at)
        with contextlib.suppress(Died):
            sweep(root, later(2), disk=disk)
        alive = not disk.dead
        if isinstance(disk, PowerCutDisk):
            disk.cut()
        assert ids(root) == expected
        sweep(root, later(4), name="next")
        sweep(root, later(6), name="last")
        assert ids(root) == expected
        assert len(list((root / FOLDER).iterdir())) == 1
    assert at > 12


def test_two_do_not_sweep_at_once(tmp_path: Path) -> None:
    write(tmp_path, "one", [["a"], ["b"]])
    first = Compaction(tmp_path, writer="s", keep_days=None, clock=lambda: later(2), disk=SwiftDisk()).sweep()
    next(first)
    second = Compaction(tmp_path, writer="t", keep_days=1, clock=lambda: later(2), disk=SwiftDisk()).sweep()
    assert list(second) == []
    assert list(first) == []
    sweep(tmp_path, later(2), name="t", keep_days=1)
    assert list(tmp_path.glob("day=*")) == []


def test_merging_waits_for_another_that_merges(tmp_path: Path) -> None:
    writer = write(tmp_path, "w", [[f"{i:02}"] for i in range(15)])
    lock = Disk().lock_file(tmp_path / ".merge.lock")
    assert lock is not None
    for i in range(15, 20):
        writer.add(entry([f"{i:02}"]))
        flush(writer)
    assert len(names(tmp_path)) == 20
    os.close(lock)
    for i in range(20, 32):
        writer.add(entry([f"{i:02}"]))
        flush(writer)
    assert names(tmp_path) == ["w.0-31.parquet"]


def test_files_of_a_version_whose_columns_were_chosen_anew_are_merged_by_name(tmp_path: Path) -> None:
    for name, columns in (("one", ("amount",)), ("two", ("known", "amount"))):
        writer = writer_of(tmp_path, name, columns=columns)
        writer.add(entry([name]))
        flush(writer)
    sweep(tmp_path, DAY + timedelta(days=2))
    assert len(names(tmp_path)) == 1
    rows = Log(tmp_path).scan(EVER, columns=["served_id", "known", "amount"]).collect().rows()
    assert rows == [("one", None, 1.5), ("two", True, 1.5)]


def test_the_service_sweeps_when_it_starts_and_once_an_hour(tmp_path: Path) -> None:
    old = write(tmp_path, "old", [["a"]]).folder / FOLDER
    writer = Writer(tmp_path, Predictions(keep_days=1), name="new", clock=lambda: later(0), disk=SwiftDisk())
    at_look = {}

    def look(count: int) -> None:
        at_look[count] = old.exists()
        if count == 50:
            write(tmp_path, "again", [["b"]])

    writer.follow(Looks(18_100, look))
    gone = [count for count, there in at_look.items() if not there]
    assert gone[0] == 2
    assert not old.exists()
    assert 18_000 <= next(count for count in gone if count > 50) <= 18_003


# --- what is kept, and for how long --------------------------------------------------------------------


def test_days_beyond_their_time_are_deleted_whole_and_nothing_that_is_named_otherwise(tmp_path: Path) -> None:
    for days in range(5):
        write(tmp_path, f"w{days}", [[f"r{days}"]], at=DAY - timedelta(days=days))
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    (tmp_path / "day=2026-01-01").symlink_to(elsewhere)
    others = ["day=2026-1-2", "day=2026-01-03.bak", "day=2026-13-01", "old day=2026-01-01", "day=20260101"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / "day=2026-01-04").write_text("a file")
    sweep(tmp_path, DAY + timedelta(hours=23), keep_days=2)
    assert ids(tmp_path) == ["r2", "r1", "r0"]
    left = {path.name for path in tmp_path.iterdir()}
    assert left >= {*others, "day=2026-01-01", "day=2026-01-04"}
    assert "day=2026-05-29" not in left
    assert (elsewhere / "kept").read_text() == "x"


def test_links_are_not_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "log", tmp_path / "other"
    write(root, "w", [["a"]])
    write(other, "x", [["b"], ["c"]])
    (root / "day=2026-05-05").symlink_to(other / "day=2026-06-01")
    (root / "day=2026-06-01" / "version=bbb").symlink_to(other / FOLDER)
    (root / FOLDER / "y.0-0.parquet").symlink_to(other / FOLDER / "x.0-0.parquet")
    sweep(root, later(2), keep_days=None)
    assert ids(root) == ["a"]
    assert ids(other) == ["b", "c"]
    assert len(names(other)) == 2


def test_with_keep_days_off_nothing_is_deleted(tmp_path: Path) -> None:
    write(tmp_path, "w", [["a"]], at=datetime(1999, 1, 1, tzinfo=UTC))
    sweep(tmp_path, datetime(2190, 1, 1, tzinfo=UTC), keep_days=None)
    assert ids(tmp_path) == ["a"]


def test_a_clock_that_stands_still_or_is_set_back_changes_neither_rows_nor_flushes(tmp_path: Path) -> None:
    clock = itertools.chain([DAY, DAY, DAY - timedelta(days=400)], itertools.repeat(DAY))
    writer = Writer(
        tmp_path, Predictions(keep_days=1, flush_seconds=1), name="w", clock=lambda: next(clock), disk=SwiftDisk()
    )
    times = [DAY, DAY - timedelta(hours=2), DAY, DAY - timedelta(microseconds=1), DAY + timedelta(days=1)]
    sent = iter(enumerate(times * 8))

    def look(count: int) -> None:
        number, at = next(sent, (None, DAY))
        if number is not None:
            writer.add(entry([f"{number:02}"], at))

    writer.follow(Looks(300, look))
    assert (writer.written, writer.waiting) == (40, 0)
    found = ids(tmp_path)
    assert sorted(found) == [f"{i:02}" for i in range(40)]
    assert found == [f"{i:02}" for _, i in sorted((times[i % 5], i) for i in range(40))]


# --- the thread --------------------------------------------------------------------------------------------


def test_a_stop_writes_what_waits(tmp_path: Path) -> None:
    writer, stop = writer_of(tmp_path, flush_seconds=3600), threading.Event()
    thread = threading.Thread(target=writer.follow, args=(stop,))
    thread.start()
    for i in range(10):
        writer.add(entry([f"{i}"]))
    stop.set()
    thread.join()
    assert ids(tmp_path) == [f"{i}" for i in range(10)]


def test_what_cannot_be_written_at_the_end_is_logged_as_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = writer_of(tmp_path, disk=SickDisk(FULL))
    writer.add(entry(["a", "b"]))
    flush(writer)
    (lost,) = [record for record in caplog.records if record.message == "predictions lost"]
    assert vars(lost)["rows"] == 2


def test_half_of_the_bound_is_written_before_it_is_time(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, flush_seconds=3600, max_waiting_rows=10)
    writer.follow(Looks(40, lambda _: writer.add(entry(["x"]))))
    assert (writer.written, writer.dropped) == (41, 0)
    assert len(names(tmp_path)) == 9


def fill(root: Path, name: str, flushes: int) -> None:
    write(root, name, [[f"{name}-{i:04}-{j}" for j in range(3)] for i in range(flushes)])


def test_readers_see_each_row_at_most_once_and_in_the_end_all(tmp_path: Path) -> None:
    """Two writers flush and merge as fast as they can, a third one sweeps, while a reader reads."""
    done, many, rounds, least = threading.Event(), 100, 0, 0

    def clear() -> None:
        while not done.wait(0.01):
            sweep(tmp_path, later(0), name=f"s{time.monotonic_ns()}")

    fillers = [threading.Thread(target=fill, args=(tmp_path, name, many)) for name in ("one", "two")]
    sweeper = threading.Thread(target=clear)
    for thread in (*fillers, sweeper):
        thread.start()
    try:
        while any(thread.is_alive() for thread in fillers):
            found = ids(tmp_path)
            assert len(found) == len(set(found))
            assert len(found) >= least
            least, rounds = len(found), rounds + 1
    finally:
        done.set()
        for thread in (*fillers, sweeper):
            thread.join()
    assert rounds > 3
    everything = itertools.product(("one", "two"), range(many), range(3))
    assert ids(tmp_path) == [f"{name}-{i:04}-{j}" for name, i, j in everything]


def test_a_draft_that_its_writer_finishes_while_a_sweep_looks_is_left_to_it(tmp_path: Path) -> None:
    """The sweep has listed it, and it is gone when its age is asked for; what is old beside it is removed."""
    write(tmp_path, "one", [["a"], ["b"]])
    folder = Log(tmp_path).files()[0].parent
    old = folder / ".two.1-2.parquet.99.new"
    old.write_bytes(b"half")

    class Slow(SwiftDisk):
        def names(self, path: Path) -> list[str]:
            return [".two.2-2.parquet.99.new", *super().names(path)]

    sweep(tmp_path, later(2), disk=Slow())
    assert not old.exists()
    assert ids(tmp_path) == ["a", "b"]


CHILD = """
import mmap, struct, sys, threading, time
from datetime import UTC, datetime
from pathlib import Path
import numpy as np
from rehone.config import Predictions
from rehone.predictions import Entry, Writer
from rehone.records import Contract, Feature, FeatureKind

folder, name, told = sys.argv[1:]
contract = Contract(features=(Feature("x", FeatureKind.NUMERIC),), label="y")
policy = Predictions(flush_seconds=0.01, max_waiting_rows=5000, keep_days=None)
writer = Writer(Path(folder), policy, name=name, clock=lambda: datetime.now(UTC))
threading.Thread(target=writer.follow, args=(threading.Event(),), daemon=True).start()
with open(told, "r+b") as file:
    shared = mmap.mmap(file.fileno(), 24)
number, rows, scores = 0, [(1.0,)] * 20, np.zeros(20)
while True:
    if writer.waiting < 4000:
        ids = [f"{name}-{number + i:08}" for i in range(20)]
        writer.add(Entry(1_780_272_000 * 10**9, "a" * 64, 1, contract, ("x",), rows, ids, scores, 0.5, 0.001))
        number += 20
    shared[:] = struct.pack("<QQQ", number, writer.written, writer.dropped)
    time.sleep(0.0005)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.soak)])
def test_a_kill_at_any_moment_loses_only_what_waited(tmp_path: Path, kills: int) -> None:
    """Three services log under load into one folder; each is killed at a random moment."""
    root, rng = tmp_path / "log", random.Random(kills)
    for start in range(0, kills, 3):
        with contextlib.ExitStack() as killing:
            children = [_Child(root, f"w{number}", tmp_path) for number in range(start, start + 3)]
            for child in children:
                killing.callback(child.kill)
            for child in children:
                child.wait_for(rng.randrange(1, 4000))
                time.sleep(rng.random() * 0.1)
                child.kill()
        for child in children:
            offered, written, dropped = child.counts()
            assert dropped == 0
            found = [int(i.removeprefix(f"{child.name}-")) for i in ids(root) if i.startswith(f"{child.name}-")]
            assert found == list(range(len(found)))
            assert written <= len(found) <= offered + 20
            assert offered - len(found) <= 5000
        assert Log(root).findings() == ()
    everything = ids(root)
    assert len(everything) == len(set(everything))
    sweep(root, later(2))
    sweep(root, later(4))
    assert ids(root) == everything
    assert [path.name[:8] for path in (root / FOLDER).iterdir()] == ["together"]


class _Child:
    """A process that logs and tells in shared memory, which outlives it, how far it is."""

    def __init__(self, root: Path, name: str, folder: Path) -> None:
        self.name = name
        told = folder / f"{name}.told"
        told.write_bytes(bytes(24))
        with told.open("r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 24)
        self.process = subprocess.Popen([sys.executable, "-c", CHILD, str(root), name, str(told)])

    def counts(self) -> tuple[int, int, int]:
        offered, written, dropped = struct.unpack("<QQQ", self.shared[:])
        return offered, written, dropped

    def wait_for(self, written: int) -> None:
        while self.counts()[1] < written:
            assert self.process.poll() is None
            time.sleep(0.001)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


# --- reading ---------------------------------------------------------------------------------------------------


def test_a_window_holds_its_start_and_not_its_end(tmp_path: Path) -> None:
    tick = timedelta(microseconds=1)
    start, end = DAY + timedelta(hours=5), DAY + timedelta(days=1)
    writer = writer_of(tmp_path)
    for name, at in {"before": start - tick, "first": start, "last": end - tick, "after": end}.items():
        writer.add(entry([name], at))
    flush(writer)
    log = Log(tmp_path)
    assert log.scan(Window(start, end), columns=["served_id"]).collect().rows() == [("first",), ("last",)]
    assert [path.parent.parent.name for path in log.files(Window(start, end))] == ["day=2026-06-01"]
    assert [path.parent.parent.name for path in log.files(Window(start, end + tick))] == [
        "day=2026-06-01",
        "day=2026-06-02",
    ]


def test_an_empty_window_a_missing_folder_and_an_empty_one_have_the_served_columns(tmp_path: Path) -> None:
    write(tmp_path / "log", "w", [["a"]])
    (tmp_path / "empty").mkdir()
    for root, window in (("log", Window(DAY, DAY)), ("nowhere", EVER), ("empty", EVER)):
        assert Log(tmp_path / root).files(window) == ()
        frame = Log(tmp_path / root).scan(window).collect()
        assert (frame.height, dict(frame.schema)) == (0, SERVED)
        assert Log(tmp_path / root).scan(window, columns=["amount", "served_ms"]).collect().columns == [
            "amount",
            "served_ms",
        ]


def test_versions_are_read_together_with_null_where_one_has_no_such_feature(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    second = Contract(
        features=(
            Feature("amount", FeatureKind.CATEGORICAL),
            Feature("known", FeatureKind.NUMERIC),
            Feature("new", FeatureKind.BOOLEAN),
        ),
        label="y",
    )
    writer.add(entry(["a"], rows=[(3.0, "web", True)]))
    writer.add(entry(["b"], version=V2, contract=second, names=second.names, rows=[("3", 0.5, False)]))
    flush(writer)
    log = Log(tmp_path)
    frame = log.scan(EVER, columns=["served_id", "amount", "known", "new", "channel", "never"]).collect()
    assert frame.rows() == [("a", "3", 1.0, None, "web", None), ("b", "3", 0.5, False, None, None)]
    assert log.scan(EVER, version=V1).collect_schema()["amount"] == pl.Float64
    assert log.scan(EVER, version=V2[:5], columns=["served_id"]).collect().rows() == [("b",)]
    assert log.scan(EVER, version="c", columns=["served_id"]).collect().rows() == []
    assert [path.parent.name for path in log.files(version=V2)] == [f"version={'b' * 12}"]


def test_a_version_is_its_whole_id_even_where_folders_share_their_name(tmp_path: Path) -> None:
    twin = V1[:12] + "c" * 52
    writer = writer_of(tmp_path)
    writer.add(entry(["a"]))
    writer.add(entry(["b"], version=twin))
    flush(writer)
    assert Log(tmp_path).scan(EVER, version=twin, columns=["served_id"]).collect().rows() == [("b",)]


def test_a_file_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, "w", [["a"]])
    folder = tmp_path / FOLDER
    (folder / "x.0-0.parquet").write_bytes(b"PAR1 and nothing more")
    pl.DataFrame({"a": [1]}).write_parquet(folder / "z.0-0.parquet")
    (folder / "together_q.1-1.parquet").write_bytes(b"")
    assert ids(tmp_path) == ["a"]
    findings = Log(tmp_path).findings(EVER)
    assert [Path(finding.split()[0]).name for finding in findings] == [
        "together_q.1-1.parquet",
        "x.0-0.parquet",
        "z.0-0.parquet",
    ]
    assert (
        findings[2]
        == f"{folder / 'z.0-0.parquet'} has not the columns of a prediction log and was left out: move it elsewhere"
    )


def test_a_folder_that_cannot_be_read_now_is_an_error_and_not_an_empty_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "w", [["a"]])

    def sick(self: Disk, path: Path) -> list[str]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Disk, "names", sick)
    with pytest.raises(DataError, match="cannot be listed"):
        Log(tmp_path).files()


def test_the_order_of_rows_does_not_change_when_files_are_merged(tmp_path: Path) -> None:
    rng = random.Random(3)
    for name in ("one", "two"):
        writer = writer_of(tmp_path, name)
        for i in range(20):
            writer.add(entry([f"{name}-{i}"], DAY + timedelta(seconds=rng.randrange(5))))
            flush(writer)
    before = Log(tmp_path).scan(EVER).collect()
    sweep(tmp_path, later(2))
    assert len(names(tmp_path)) == 1
    assert Log(tmp_path).scan(EVER).collect().equals(before)


def test_a_plain_reader_finds_the_same_rows_once_covered_files_are_gone(tmp_path: Path) -> None:
    write(tmp_path, "w", [[f"{i:02}"] for i in range(20)])
    sweep(tmp_path, later(2))
    sweep(tmp_path, later(4))
    plain = pl.read_parquet(tmp_path / "day=*" / "version=*" / "*.parquet", hive_partitioning=False)
    assert sorted(plain.get_column("served_id")) == ids(tmp_path) == [f"{i:02}" for i in range(20)]


def test_each_file_is_read_by_another_library(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    write(tmp_path, "w", [["a", "b"]])
    table = pyarrow.read_table(Log(tmp_path).files()[0], partitioning=None)
    assert table.column_names == [*SERVED, *CONTRACT.names]
    assert table.column("served_id").to_pylist() == ["a", "b"]

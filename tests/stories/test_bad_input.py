"""Bad input of every kind, through the whole pipeline: a sentence, an exit code, a closed record, production as it was."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import START, Project, world
from rehone import api, load
from rehone.cli.endings import of_run
from rehone.disk import Disk
from rehone.errors import StoreError
from rehone.records import Check, CheckStatus, Outcome, RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store

REHONE = Path(sys.executable).with_name("rehone")
TODAY = 100
ROWS = world(date(2026, 7, 1), rows=200)
WIDE = {"margin_cost": 0.9}
Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project once: 100 days of data, and a champion since day 70."""
    made = Project(tmp_path_factory.mktemp("lived"))
    made.configure(gate=WIDE)
    made.feed(0, TODAY)
    record = made.run(70)
    assert record.status is RunStatus.DEPLOYED, record.sentence
    return made.root


@pytest.fixture
def live(lived: Path, tmp_path: Path) -> Project:
    """Return a copy of that project, to be spoilt."""
    root = tmp_path / "live"
    subprocess.run(["cp", "-a", lived, root], check=True)
    return Project(root)


def file(project: Project, day: int) -> Path:
    return project.root / "data" / f"{START + timedelta(days=day)}.parquet"


def change(project: Project, first: int, last: int, how: Change) -> None:
    """Write the files of some days again, changed."""
    for n in range(first, last):
        how(pl.read_parquet(file(project, n))).write_parquet(file(project, n))


@dataclass(frozen=True)
class Production:
    """What production is: the log, and how the live version scores the same rows."""

    log: tuple[tuple[str, bytes], ...]
    version: str | None
    scores: tuple[float, ...]


def production(root: Path) -> Production:
    log = sorted((root / "store" / "deployments").glob("*.json"))
    predictor = load(root)
    scores = tuple(predictor.predict_proba(ROWS).tolist())
    return Production(tuple((p.name, p.read_bytes()) for p in log), predictor.version, scores)


@contextmanager
def untouched(root: Path) -> Iterator[None]:
    """See that the deployment log is the same bytes and that the live version scores bit for bit as before."""
    before = production(root)
    yield
    assert production(root) == before


def see_closed(root: Path, record: RunRecord) -> None:
    """See that the record is on disk, ended, in the ledger, and that the ledger agrees with every record."""
    runlog = RunLog(root / "runs")
    assert record.status is not None
    assert record.finished_at is not None
    assert runlog.find(record.run_id) == record
    assert [(line.run_id, line.status) for line in runlog.lines()][-1] == (record.run_id, record.status)
    assert [check.status for check in runlog.verify()] == [CheckStatus.OK]


def run(project: Project, day: int = TODAY, *, expect: tuple[RunStatus, int] = (RunStatus.FAILED, 2)) -> RunRecord:
    """Force a run that must not deploy anything, and see that it ends as it should."""
    with untouched(project.root):
        record = project.run(day, force=True)
    assert (record.status, of_run(record)) == expect, record.sentence
    see_closed(project.root, record)
    return record


def run_on(project: Project) -> RunRecord:
    """Force a run that must go on to the end, and see that what it deployed scores all rows."""
    record = project.run(TODAY, force=True)
    assert (record.status, of_run(record)) == (RunStatus.DEPLOYED, 0), record.sentence
    see_closed(project.root, record)
    assert production(project.root).version == record.version
    return record


def warnings(record: RunRecord) -> dict[str, Check]:
    return {check.name: check for check in record.data_checks if check.status is CheckStatus.WARN}


# --- files ------------------------------------------------------------------------------------------------------------


def test_an_empty_folder(live: Project) -> None:
    for path in (live.root / "data").iterdir():
        path.unlink()
    assert run(live).sentence == (
        f"no Parquet or CSV file matches 'data/*.parquet' in {live.root} (0 files, need at least 1): "
        "put files there, or correct data.source"
    )


GARBAGE = b"this is no parquet file " * 20


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def page_broken(content: bytes) -> bytes:
    return content[:200] + b"\xff" * 500 + content[700:]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda _: GARBAGE, "cannot be read as parquet (480 bytes; parquet: File out of specification: "),
        (halved, " bytes; parquet: File out of specification: "),
        (page_broken, "Data corruption detected): it is damaged"),
        (lambda content: content + content + b"PAR1", " bytes; parquet: File out of specification: "),
        (lambda _: b"", "is empty (0 bytes, need at least a header): write it again, or remove it"),
    ],
    ids=["garbage", "truncated", "page broken", "tail added", "empty"],
)
def test_an_unreadable_file(live: Project, spoil: Callable[[bytes], bytes], said: str) -> None:
    """One bad file of a hundred blocks the run: what it would have said is not known."""
    path = file(live, 99)
    path.write_bytes(spoil(path.read_bytes()))
    sentence = run(live).sentence
    assert sentence.startswith("data incident: data/2026-04-10.parquet ")
    assert said in sentence
    assert sentence.endswith("or remove it")


def test_nothing_but_unreadable_files(live: Project) -> None:
    for path in (live.root / "data").iterdir():
        path.write_bytes(GARBAGE)
    sentence = run(live).sentence
    assert sentence.startswith("none of the files of 'data/*.parquet' can be read: data/2026-01-01.parquet cannot be")
    assert sentence.endswith("copy or write it again, or remove it (and 99 more like it)")


def other_schema(day: pl.DataFrame) -> pl.DataFrame:
    return day.rename({"amount": "amount_eur", "velocity": "speed"})


def test_days_of_another_schema(live: Project) -> None:
    """Half of the window is schema B: every lost column is named, with the files and the two ways out."""
    change(live, 70, 100, other_schema)
    sentence = run(live).sentence
    for column in ("amount", "velocity"):
        assert (
            f"column '{column}' is missing in 30 files from data/2026-03-12.parquet to data/2026-04-10.parquet, but "
            "there in 70 of 100 files: write those files again with the column, or leave it out with data.exclude"
        ) in sentence


def test_all_days_of_another_schema(live: Project) -> None:
    """No file has what the champion reads: every column is named at once, and the likely new name."""
    change(live, 0, 100, other_schema)
    with untouched(live.root):
        preview = api.check(live.root, as_of=START + timedelta(days=TODAY))
    said = (
        "data incident: feature 'amount' is in no file, but among the champion's features: did you mean 'amount_eur'? "
        "add the column; feature 'velocity' is in no file, but among the champion's features: add the column"
    )
    assert not preview.would_train
    assert preview.sentence.startswith(said)
    assert run(live).sentence == said


def test_one_file_glued_from_two_schemas(live: Project) -> None:
    """Schema A followed by schema B in one Parquet file: its end says B, and the file is named."""
    a = file(live, 99).read_bytes()
    change(live, 99, 100, other_schema)
    file(live, 99).write_bytes(a + file(live, 99).read_bytes())
    sentence = run(live).sentence
    assert "column 'amount' is missing in data/2026-04-10.parquet, but there in 99 of 100 files" in sentence
    assert "write that file again" in sentence


def test_one_text_file_glued_from_two_schemas(live: Project) -> None:
    """A CSV whose second half has other columns is not read as if it had the first ones."""
    live.configure(gate=WIDE, data={"source": "data/*"})
    day = pl.read_parquet(file(live, 99))
    file(live, 99).with_suffix(".csv").write_text(day.write_csv() + day.drop("known").write_csv())
    file(live, 99).unlink()
    sentence = run(live).sentence
    assert sentence.startswith("data incident: ")
    assert "data/2026-04-10.csv" in sentence


# --- labels -----------------------------------------------------------------------------------------------------------


def test_no_label_at_all(live: Project) -> None:
    change(live, 0, 100, lambda day: day.rename({"label": "lable"}))
    assert run(live).sentence == "data incident: data.label names 'label', which is in no file: did you mean 'lable'?"


def test_no_label_and_no_column_like_it(live: Project) -> None:
    change(live, 0, 100, lambda day: day.drop("label"))
    assert run(live).sentence == (
        "data incident: data.label names 'label', which is in no file: correct data.label; the columns are at, amount, "
        "velocity, known, channel"
    )


def test_days_without_label(live: Project) -> None:
    change(live, 98, 100, lambda day: day.drop("label"))
    assert run(live).sentence == (
        "the data in 2026-02-10..2026-04-11 cannot be learned from: 120 matured rows have no label, of 3,600; "
        "0 are allowed; there is no column 'label' in data/2026-04-09.parquet, data/2026-04-10.parquet: "
        "write those files again with the column, or raise label_delay_days until labels have arrived"
    )


def test_a_label_of_words(live: Project) -> None:
    words = pl.when(pl.col("label") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("label")
    change(live, 0, 100, lambda day: day.with_columns(words))
    assert run(live).sentence == (
        "the data in 2026-02-10..2026-04-11 cannot be learned from: label 'label' (String) is not 0 or 1 in "
        "3,600 of 3,600 matured rows, such as 'no', 'yes': write it as 0 and 1 or as booleans"
    )


@pytest.mark.parametrize("value", [0, 1])
def test_a_window_of_one_class(live: Project, value: int) -> None:
    change(live, 0, 100, lambda day: day.with_columns(label=pl.lit(value)))
    assert run(live).sentence == (
        f"the data in 2026-02-10..2026-04-11 cannot be learned from: all 3,600 labels in 2026-02-10..2026-04-11 are "
        f"{value}: 1 class, need 2: widen lookback_days, or look for a fault of the labels"
    )


def test_no_label_is_due(live: Project) -> None:
    live.configure(gate=WIDE, data={"label_delay_days": 365})
    assert run(live).sentence == (
        "the data in 2025-02-10..2026-04-11 cannot be learned from: 0 matured rows in 2025-02-10..2026-04-11 "
        "(6,000 rows in all), need at least 500: the first label is due on 2027-01-01: "
        "wait, widen lookback_days, or correct label_delay_days or label_due_column"
    )


# --- values -----------------------------------------------------------------------------------------------------------

WILD = [nan, inf, -inf, 1e308, None]


def wild(day: pl.DataFrame) -> pl.DataFrame:
    """Put one wild value into one day of three."""
    n = (day["at"][0].date() - START).days
    amounts = day["amount"].to_list()
    amounts[7] = WILD[n // 3 % len(WILD)] if n % 3 == 0 else amounts[7]
    return day.with_columns(amount=pl.Series(amounts, dtype=pl.Float64))


def test_a_few_wild_numbers(live: Project) -> None:
    """NaN, infinite and huge values are said, and neither stop a run nor get into a probability."""
    live.configure(gate=WIDE, train={"candidates": ["hist_gradient_boosting"]})
    change(live, 70, 100, wild)
    found = warnings(run_on(live))
    assert found["infinite"].sentence == (
        "4 of 3,600 values of 'amount' are infinite, and read as missing; 0 are expected: "
        "look for a division by zero or a wrong unit in the feed"
    )
    assert found["huge"].sentence.startswith("2 of 3,600 values of 'amount' are beyond 1e+30 in size, and clipped;")
    rows = [{"amount": x, "velocity": v, "known": None, "channel": "web"} for x in [*WILD, -1e308] for v in WILD]
    scores = load(live.root).predict_proba(rows)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_huge_numbers_that_spoil_a_linear_model(live: Project) -> None:
    """What a challenger made of them is for the gate to judge: it is rejected, and the warning stands beside it."""
    change(live, 70, 100, wild)
    record = run(live, expect=(RunStatus.REJECTED, 3))
    assert {"huge", "infinite"} <= set(warnings(record))
    assert record.verdict is not None
    assert record.verdict.outcome is Outcome.FAIL


def test_many_wild_numbers(live: Project) -> None:
    """A feed in which one value of ten is infinite is broken."""
    first = pl.int_range(pl.len()) < 6
    change(live, 70, 100, lambda day: day.with_columns(amount=pl.when(first).then(inf).otherwise(pl.col("amount"))))
    sentence = run(live).sentence
    assert sentence.startswith("data incident: PSI of amount is ")
    assert "a data incident (infinite): infinite: 0.0% -> 10.0% of rows: repair the feed; if " in sentence


def as_text(day: pl.DataFrame) -> pl.DataFrame:
    return day.with_columns(pl.col("amount").cast(pl.String))


def test_a_feature_that_turns_to_strings(live: Project) -> None:
    change(live, 90, 100, as_text)
    sentence = run(live).sentence
    assert sentence.startswith("data incident: column 'amount' is String in data/2026-04-01.parquet, ")
    assert sentence.endswith(
        "but Float64 in 90 of 100 files: write those files again with Float64, "
        "or leave the column out with data.exclude"
    )


def test_a_feature_that_is_strings_in_every_file(live: Project) -> None:
    change(live, 0, 100, as_text)
    assert run(live).sentence == (
        "the data in 2026-02-10..2026-04-11 cannot be learned from: feature 'amount' is categorical (String) now, "
        "but numeric in the champion: write it as numeric again, or rename it if it means something else now"
    )


def test_a_new_category(live: Project) -> None:
    """A value that the champion never met is said; the run goes on, and unknown values are scored."""
    first = pl.int_range(pl.len()) < 6
    change(live, 99, 100, lambda day: day.with_columns(channel=pl.when(first).then(pl.lit("app")).otherwise("channel")))
    assert warnings(run_on(live))["new_category"].sentence == (
        "6 of 3,600 values of 'channel' are new to the champion (0 are expected), such as 'app': nothing if the world "
        "has changed, a challenger learns them; else repair the feed"
    )
    rows = [{"amount": 1, "velocity": 0.0, "known": True, "channel": name} for name in ("app", "fax", None)]
    assert np.isfinite(load(live.root).predict_proba(rows)).all()


def test_most_rows_of_a_new_category(live: Project) -> None:
    """Categories that are all new at once are a broken feed, not a new world."""
    change(live, 85, 100, lambda day: day.with_columns(pl.col("channel").str.to_uppercase()))
    sentence = run(live).sentence
    assert "a data incident (unseen): unseen: 0.0% -> 100.0% of rows: repair the feed" in sentence


# --- rows that come twice ---------------------------------------------------------------------------------------------


def deliver_again(project: Project, first: int, last: int, later: int = 15) -> None:
    """Deliver the rows of earlier days once more, as if they were of these days."""
    for n in range(first, last):
        day = pl.read_parquet(file(project, n - later))
        day.with_columns(pl.col("at") + timedelta(days=later)).write_parquet(file(project, n))


def test_rows_on_both_sides_of_the_split_are_not_judged(live: Project) -> None:
    """Without an id, a row is known by its values: the gate leaves them out, and none of them remain here."""
    deliver_again(live, 88, 100)
    record = run(live, expect=(RunStatus.INCONCLUSIVE, 3))
    assert record.sentence == (
        "the comparison is not legal: 720 of 720 rows are also in the challenger's training set; 0 rows with "
        "0 positives and 0 negatives remain, need at least 100 rows and 10 positives and 10 negatives: "
        "wait for more matured labels, or raise train.holdout or data.lookback_days"
    )


def test_some_rows_on_both_sides_of_the_split(live: Project) -> None:
    """Two days of twelve were delivered again: the others are judged."""
    live.configure(gate={"min_roc_auc": 0.99})
    deliver_again(live, 98, 100)
    record = run(live, expect=(RunStatus.REJECTED, 3))
    assert record.verdict is not None
    assert record.verdict.challenger is not None
    assert record.verdict.challenger.n == 600
    assert next((c.value, c.detail) for c in record.verdict.checks if c.name == "unseen") == (
        120.0,
        "120 of 720 rows are also in the challenger's training set",
    )


def test_ids_on_both_sides_of_the_split(live: Project) -> None:
    """With an id, the same row delivered twice is a fault of the data, and said before anything is trained."""
    change(live, 0, 100, lambda day: day.with_columns(id=pl.format("{}-{}", pl.col("at").dt.date(), pl.int_range(60))))
    live.configure(data={"id_column": "id"})
    deliver_again(live, 88, 100)
    record = run(live)
    assert record.candidates == ()
    assert record.sentence == (
        "the data in 2026-02-10..2026-04-11 cannot be learned from: 720 ids of 'id' found more than once "
        "(1,440 of 3,600 rows); 0 are allowed: keep one row for each id, or take id_column out if it is not unique"
    )


# --- time -------------------------------------------------------------------------------------------------------------


def some_at(moment: datetime) -> Change:
    three = pl.int_range(pl.len()) < 3
    return lambda day: day.with_columns(at=pl.when(three).then(pl.lit(moment)).otherwise(pl.col("at")))


def test_future_dates(live: Project) -> None:
    change(live, 99, 100, some_at(datetime(2999, 1, 1)))  # noqa: DTZ001 - the files have no zone
    sentence = run(live).sentence
    assert "3 rows dated in the future (newest 2999-01-01 00:00 UTC): later than " in sentence
    assert (
        "by more than 15 minutes; 0 are allowed: correct their times, this machine's clock, or data.timezone; rows are "
        "later than their file's own date by more than 1 day in data/2026-04-10.parquet"
    ) in sentence


def test_dates_after_their_file(live: Project) -> None:
    """Later than the day that is replayed, but not than the clock: the name of the file says so."""
    change(live, 99, 100, some_at(datetime(2026, 6, 1)))  # noqa: DTZ001
    assert run(live).sentence == (
        "the data in 2026-02-10..2026-04-11 cannot be learned from: rows are later than their file's own date by more "
        "than 1 day in data/2026-04-10.parquet (newest 2026-06-01 00:00 UTC in data/2026-04-10.parquet): "
        "correct the times, or the name of the file"
    )


def test_mixed_time_zones(live: Project) -> None:
    """The same instants, written in three zones: said, and the same rows are learned from and held out."""
    live.configure(gate={"min_roc_auc": 0.99})
    plain = run(live, expect=(RunStatus.REJECTED, 3))
    for first, zone in ((50, "Asia/Tokyo"), (51, "America/New_York")):
        for n in range(first, 100, 2):
            at = pl.col("at").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
            change(live, n, n + 1, lambda day, at=at: day.with_columns(at))  # type: ignore[misc]  # bound at once
    record = run(live, expect=(RunStatus.REJECTED, 3))
    assert record.split == plain.split
    assert record.verdict is not None
    assert plain.verdict is not None
    assert record.verdict.challenger == plain.verdict.challenger
    said = warnings(record)["time_zones"].sentence
    assert said.startswith("event times come in 3 zones, where 1 is expected, and are converted to UTC (America/New_")
    assert "no zone, read as UTC: 50 files from data/2026-01-01.parquet to data/2026-02-19.parquet" in said
    assert said.endswith("write all times in UTC, or make sure that data.timezone is the zone of the times without one")


def test_a_clock_set_back(live: Project) -> None:
    assert run(live, 69).sentence == (
        "as_of 2026-03-11 00:00 is before 2026-03-12 00:00, when the champion was made: the clock was set back, or an "
        "earlier day is replayed: mend the clock, or replay into a store of its own (project.store)"
    )


# --- the machine ------------------------------------------------------------------------------------------------------


def command(root: Path, day: int = TODAY) -> list[str]:
    return [str(REHONE), "run", "--project", str(root), "--as-of", str(START + timedelta(days=day)), "--force"]


def cli(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the real command line on a wide terminal."""
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "COLUMNS": "10000"}
    )


def last(root: Path) -> RunRecord:
    record = RunLog(root / "runs").last()
    assert record is not None
    return record


def refuse(project: Project, words: list[str] | None = None, *, code: int, status: RunStatus) -> RunRecord:
    """Run the real command line: its exit code, its sentence, the record and production are as they should be."""
    with untouched(project.root):
        done = cli(words or command(project.root))
    record = last(project.root)
    assert (done.returncode, record.status) == (code, status), done.stdout + done.stderr
    assert record.sentence in " ".join((done.stdout + done.stderr).split())
    see_closed(project.root, record)
    return record


def test_the_command_ends_with_2_on_data_that_a_person_must_repair(live: Project) -> None:
    file(live, 99).write_bytes(GARBAGE)
    assert "2026-04-10.parquet" in refuse(live, code=2, status=RunStatus.FAILED).sentence


def test_the_command_ends_with_3_when_the_gate_rejects(live: Project) -> None:
    live.configure(gate={"min_roc_auc": 0.99})
    assert "must be ≥ 0.99" in refuse(live, code=3, status=RunStatus.REJECTED).sentence


def test_the_command_ends_with_0_when_another_run_is_under_way(live: Project) -> None:
    with Store(live.root / "store").lock("the first run"):
        sentence = refuse(live, code=0, status=RunStatus.SKIPPED).sentence
    assert sentence.startswith(f"another run is under way: the first run (pid {os.getpid()} on ")
    assert sentence.endswith(" UTC: wait for it to end, or stop that process")


def in_a_world_of_its_own(root: Path, mounting: str, *, after: str = "") -> list[str]:
    """Run the command in a mount namespace of its own, after mounting, so that nothing else sees the mounts."""
    script = f'set -e; cd "$0"; {mounting}; set +e; "$@"; code=$?; {after or ":"}; exit $code'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(root), *command(root)]


@pytest.fixture(scope="module")
def may_mount(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Say whether this machine lets a test mount a tmpfs of its own."""
    place = tmp_path_factory.mktemp("mount")
    words = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(place)]
    return (
        shutil.which("unshare") is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0
    )


def fail_below(monkeypatch: pytest.MonkeyPatch, place: Path, calls: tuple[str, ...], number: int) -> None:
    """Let these calls of the disk fail as a real one would, on every path below a folder."""
    for name in calls:
        plain = getattr(Disk, name)

        def call(self: Disk, path: Path, *more: Any, plain: Any = plain, **options: Any) -> Any:
            if path.is_relative_to(place):
                raise OSError(number, os.strerror(number), str(path))
            return plain(self, path, *more, **options)

        monkeypatch.setattr(Disk, name, call)


READ_ONLY = "mount --bind store store; mount -o remount,bind,ro store"
SMALL = (
    "mkdir kept; cp -a store/. kept; mount -t tmpfs -o {size} tmpfs store; cp -a kept/. store; chmod -R u+w kept; "
    "rm -r kept"
)
SIZES = {
    # the store of one version takes 120 of these 200 kB; a second one needs 105
    "bytes": ("size=200k", "(No space left on device): free some space or move"),
    # room for all bytes, but only for some of the files of a version
    "files": (
        "nr_inodes=$(($(find store | wc -l) + 6))",
        "(No space left on device): free some space or files (bytes there are: see `df -i`, and the quota of this user)",
    ),
}


def test_a_store_that_cannot_be_written(live: Project, may_mount: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system mounted read-only; where that may not be made, calls that fail in the same way."""
    store = live.root / "store"
    if may_mount:
        record = refuse(live, in_a_world_of_its_own(live.root, READ_ONLY), code=2, status=RunStatus.FAILED)
    else:
        fail_below(monkeypatch, store, ("write", "lock_file", "make_folder", "protect"), errno.EROFS)
        record = run(live)
    assert record.sentence == (
        f"taking the run lock is not possible because {store}/lock cannot be written or read (Read-only file system): "
        f"give this user access to {store} on a file system that is mounted for writing and knows hard links, "
        "then run again; what is live was not touched"
    )


@pytest.mark.parametrize("of", list(SIZES))
def test_a_disk_that_fills_up_while_a_version_is_published(
    live: Project, may_mount: bool, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """The challenger has won and cannot be stored, or only in part: nothing stays behind, and the next run works."""
    store, (size, said) = live.root / "store", SIZES[of]
    if may_mount:
        full = in_a_world_of_its_own(live.root, SMALL.format(size=size), after="cp -a store after")
        record = refuse(live, full, code=2, status=RunStatus.FAILED)
        shutil.rmtree(store)
        (live.root / "after").rename(store)
    else:
        said = SIZES["files"][1]  # the bytes of this disk are not used up
        with monkeypatch.context() as patch:
            fail_below(patch, store / "tmp", ("write",), errno.ENOSPC)
            record = run(live)
    assert [stage.name for stage in record.stages][-1] == "publish"
    assert record.sentence.startswith("publishing version ")
    assert f"are free in {store} {said}" in record.sentence
    assert record.sentence.endswith(" project.store to a larger disk, then run again; what is live was not touched")
    assert list((store / "tmp").iterdir()) == []
    assert len(list((store / "versions").iterdir())) == 1
    if of == "files":
        run_on(live)


def test_records_that_cannot_be_written(live: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that could leave no record does not start; the next one, with room again, closes what was begun."""
    fail_below(monkeypatch, live.root / "runs", ("write",), errno.ENOSPC)
    with untouched(live.root), pytest.raises(StoreError) as caught:
        live.run(TODAY, force=True)
    assert str(caught.value).startswith("the record of run ")
    assert str(caught.value).endswith(
        "No space left on device: make room or give write permission; `rehone status` shows what is live"
    )


def test_a_ledger_that_cannot_be_written(live: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last few bytes did not fit: that is a full disk and no bug, and the next run adds the line."""
    file(live, 99).write_bytes(GARBAGE)
    with monkeypatch.context() as patch:
        fail_below(patch, live.root / "runs", ("append",), errno.ENOSPC)
        with untouched(live.root), pytest.raises(StoreError) as caught:
            live.run(TODAY, force=True)
    assert str(caught.value) == (
        f"the ledger {live.root}/runs/ledger.jsonl cannot be written (No space left on device): make room or give "
        "write permission, the next run adds the lines that are missing; `rehone status` shows what is live"
    )
    run(live)
    assert len(RunLog(live.root / "runs").lines()) == 3

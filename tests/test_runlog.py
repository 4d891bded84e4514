"""The run log keeps one record for every run, and notices when one was changed."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rehone import codec
from rehone.disk import Disk
from rehone.errors import NotFound, StoreError
from rehone.records import Check, CheckStatus, Outcome, RunRecord, RunStatus, Split, Verdict, Window
from rehone.runlog import RunLog

START = datetime(2026, 3, 1, 2, tzinfo=UTC)


def record(number: int = 1, status: RunStatus | None = None) -> RunRecord:
    return RunRecord(
        run_id=f"2026030{number}T020000Z-abc{number:03d}",
        project="p",
        as_of=START,
        started_at=START + timedelta(days=number),
        status=status,
        seed=1,
        host="h",
        pid=4242,
        rehone_version="0",
        git_commit=None,
        config_sha256="",
        config={},
    )


def closed(log: RunLog, *numbers: int) -> None:
    for number in numbers:
        log.finish(record(number, RunStatus.SKIPPED))


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """What `finish` wrote, `find` and `records` return, oldest first."""
    log = RunLog(tmp_path)
    closed(log, 2, 1)
    assert [r.run_id for r in log.records()] == [record(1).run_id, record(2).run_id]
    assert log.find("20260302") == record(2, RunStatus.SKIPPED)
    assert log.last() == record(2, RunStatus.SKIPPED)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_holdout_counts_as_used_only_where_a_challenger_was_measured_on_it(tmp_path: Path, outcome: Outcome) -> None:
    """Else days on which there were too few rows would use up rows that nobody has seen an answer on."""
    window = Window(START, START + timedelta(days=7))
    split = Split(train=window, holdout=window, train_rows=1, train_positives=1, holdout_rows=1, holdout_positives=1)
    verdict = Verdict(outcome=outcome, reason="")
    RunLog(tmp_path).finish(replace(record(1, RunStatus.REJECTED), split=split, verdict=verdict))
    (line,) = RunLog(tmp_path).lines()
    assert line.holdout == (None if outcome is Outcome.INVALID else window)


def test_records_lie_by_year_and_month(tmp_path: Path) -> None:
    """runs/<yyyy>/<mm>/<run_id>.json, by the time the run started."""
    RunLog(tmp_path).begin(record(1))
    assert (tmp_path / "2026" / "03" / f"{record(1).run_id}.json").exists()


def test_a_year_that_was_moved_to_another_disk_is_found_by_its_link(tmp_path: Path) -> None:
    log, year = RunLog(tmp_path / "runs"), tmp_path / "runs" / "2026"
    closed(log, 1)
    year.rename(tmp_path / "archive")
    year.symlink_to(tmp_path / "archive")
    (tmp_path / "archive" / "all").symlink_to(tmp_path / "runs")  # a circle
    assert log.records() == (record(1, RunStatus.SKIPPED),)


def test_a_run_that_was_killed_is_closed_by_the_next(tmp_path: Path) -> None:
    """A record without an ending becomes failed, with the process that it was."""
    log = RunLog(tmp_path)
    log.begin(record(1))
    assert [r.run_id for r in log.unfinished()] == [record(1).run_id]
    log.close_orphans(now=START)
    ended = log.find(record(1).run_id)
    assert ended.status is RunStatus.FAILED
    assert "killed: process 4242 on h ended before the run did" in ended.sentence
    assert log.unfinished() == ()


def test_a_run_that_died_between_record_and_ledger_gets_its_line_back(tmp_path: Path) -> None:
    """A closed record without a ledger line is added by the next run."""
    log = RunLog(tmp_path)
    log.begin(record(1, RunStatus.SKIPPED))
    assert log.lines() == ()
    log.close_orphans(now=START)
    assert [line.run_id for line in log.lines()] == [record(1).run_id]


def test_a_changed_record_is_found(tmp_path: Path) -> None:
    """Changing one word of a closed record breaks its digest."""
    log = RunLog(tmp_path)
    closed(log, 1, 2)
    assert [c.status for c in log.verify()] == [CheckStatus.OK]
    path = tmp_path / "2026" / "03" / f"{record(1).run_id}.json"
    path.write_text(path.read_text().replace("skipped", "deployed"))
    (fault,) = log.verify()
    assert fault.status is CheckStatus.ACT
    assert "was changed after it was closed" in fault.detail


def test_a_removed_ledger_line_is_found(tmp_path: Path) -> None:
    """Taking a line out of the middle breaks the chain of the one behind it."""
    log = RunLog(tmp_path)
    closed(log, 1, 2, 3)
    ledger = tmp_path / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(lines[0] + lines[2])
    (fault,) = log.verify()
    assert fault.subject == record(3).run_id


def test_a_ledger_line_cut_short_is_dropped_and_written_again(tmp_path: Path) -> None:
    """A power cut in the middle of a line loses nothing: the line is made again."""
    log = RunLog(tmp_path)
    closed(log, 1, 2)
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-40])
    assert len(log.lines()) == 1
    log.close_orphans(now=START)
    assert [line.run_id for line in log.lines()] == [record(1).run_id, record(2).run_id]
    assert [c.status for c in log.verify()] == [CheckStatus.OK]


def test_a_closed_record_is_never_written_again(tmp_path: Path) -> None:
    """Finishing a run twice is refused, so that its digest stays true."""
    log = RunLog(tmp_path)
    closed(log, 1)
    with pytest.raises(StoreError, match="closed already"):
        log.finish(record(1, RunStatus.SKIPPED))


def test_a_record_needs_an_ending_to_be_finished(tmp_path: Path) -> None:
    """`finish` refuses a record without a status."""
    with pytest.raises(ValueError, match="has no ending"):
        RunLog(tmp_path).finish(record(1))


def test_an_ambiguous_reference_is_refused(tmp_path: Path) -> None:
    """A prefix of two runs names neither."""
    log = RunLog(tmp_path)
    closed(log, 1, 2)
    with pytest.raises(NotFound, match="2 runs"):
        log.find("2026")
    with pytest.raises(NotFound, match="no run"):
        log.find("1999")


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """A record that cannot be written says how large it is, where, why and what to do."""

    class Full(Disk):
        def write(self, *_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"bytes\) cannot be written .* No space left on device: make room"):
        RunLog(tmp_path, disk=Full()).begin(record(1))


def _close_many(root: str, numbers: list[int]) -> None:
    log = RunLog(Path(root))
    for n in numbers:
        log.finish(replace(record(1, RunStatus.SKIPPED), run_id=f"20260301T0200{n:02d}Z-x"))


def test_two_processes_that_finish_at_once_keep_the_chain(tmp_path: Path) -> None:
    """Forty runs closed by two processes give forty lines of one unbroken chain."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_close_many, args=(str(tmp_path), list(range(i, 40, 2)))) for i in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    log = RunLog(tmp_path)
    assert len(log.lines()) == 40
    assert [c.status for c in log.verify()] == [CheckStatus.OK]


def test_the_record_reads_like_a_mapping() -> None:
    """`record["status"]`, `in` and `dict()` work for those who expect a mapping."""
    ended = record(1, RunStatus.SKIPPED)
    assert ended["status"] == "skipped"
    assert "verdict" in ended
    assert dict(ended)["run_id"] == ended.run_id
    with pytest.raises(KeyError):
        ended["format_of_nothing"]


def test_a_record_of_a_later_version_can_be_read() -> None:
    """Keys that a later version added are ignored."""
    raw = json.loads(codec.encode(record(1)))
    raw["added_later"] = 1
    assert codec.decode(json.dumps(raw).encode(), RunRecord, source="f") == record(1)


def test_every_key_of_the_record_is_documented() -> None:
    """docs/reference/run-record.md names every field of the run record and of a check."""
    page = (Path(__file__).parents[1] / "docs" / "reference" / "run-record.md").read_text()
    names = [f.name for kind in (RunRecord, Check) for f in fields(kind)]
    assert [name for name in names if f"`{name}`" not in page] == []

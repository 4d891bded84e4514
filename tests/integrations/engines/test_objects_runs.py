"""Runs in brief and resets of the breaker are told of records in an object store as of those in a folder."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from rehone.config import Config, parse_config
from rehone.records import BreakerReset, RunStatus
from rehone.runlog import RunLog
from rehone.runlog.clearing import Clearance
from rehone.runlog.resets import keep_reset, last_reset
from rehone.runlog.summaries import summaries
from store_kit import DAY
from test_runlog import record

names = itertools.count()


def config_at(root: Path) -> Config:
    config = parse_config("", root=root)
    runs = f"memory://runs-{next(names)}/runs"
    return config.model_copy(update={"project": config.project.model_copy(update={"runs": runs})})


def test_the_newest_reset_counts(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    assert last_reset(config) is None
    for day in (2, 1):
        keep_reset(config, BreakerReset(at=DAY + timedelta(days=day), by="ann", because="seen"))
    assert last_reset(config) == BreakerReset(at=DAY + timedelta(days=2), by="ann", because="seen")


def test_runs_are_told_in_brief_before_and_after_they_end(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    log = RunLog.of(config)
    log.begin(record(1))
    log.begin(record(2))
    log.finish(record(2, RunStatus.SKIPPED))
    for _ in ("from the records", "from the index"):
        assert [(run.run_id, run.status) for run in summaries(config)] == [
            (record(2).run_id, RunStatus.SKIPPED),
            (record(1).run_id, None),
        ]
    assert len(list(config.cache_path.glob("runs-*.jsonl"))) == 1


def test_what_is_not_needed_beside_records_goes_as_it_does_in_a_folder(tmp_path: Path) -> None:
    """What old gates were given, and the rows that a killed run left; an open run keeps its own."""
    config = config_at(tmp_path)
    log = RunLog.of(config)
    for number in (1, 2, 3):
        run = replace(record(number), judged=log.keep(record(number), b"given", rows=1))
        folder, disk = log.folder_of(run)
        log.begin(run)
        if number < 3:
            log.finish(replace(run, status=RunStatus.REJECTED))
        disk.replace(folder / "rows.parquet", b"rows")
    found = Clearance.of(config, log.lines())
    assert found.superfluous(1, ()) == (record(1).run_id, record(2).run_id)
    found.clear([record(1).run_id])
    assert found.sweep() == 2
    names = {name.rpartition("/")[2] for name in disk.below(config.runs_path, 4) if not name.endswith(".json")}
    assert names == {"ledger.jsonl", "rows.parquet", *(f"{record(n).run_id}.judged.npz" for n in (2, 3))}
    assert log.folder_of(record(3))[1].below(log.folder_of(record(3))[0], 1) == ["rows.parquet"]

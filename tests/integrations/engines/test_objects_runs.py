"""Runs in brief and resets of the breaker are told of records in an object store as of those in a folder."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

from rehone.config import Config, parse_config
from rehone.records import BreakerReset, RunStatus
from rehone.runlog import RunLog
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

"""What became of each alert and sign of life is kept in an object store as it is in a folder."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from rehone.config import Config, parse_config
from rehone.errors import RehoneError
from rehone.integrations.alerts import HeartbeatListener, State
from rehone.integrations.alerts.journal import Journal
from rehone.integrations.alerts.listener import AlertsListener
from rehone.observers import Missed, Outbox
from rehone.records import Delivery, RunStatus, Stage
from test_runlog import record

names = itertools.count()


def config_at(root: Path, key: str = "webhook") -> Config:
    config = parse_config(f'[alerts]\n{key} = "http://127.0.0.1:9/"\n', root=root)
    runs = f"memory://alerts-{next(names)}/runs"
    return config.model_copy(update={"project": config.project.model_copy(update={"runs": runs})})


def test_an_alert_that_cannot_be_sent_waits_and_is_told_anew_by_the_next_one(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    for day in (1, 2):
        with pytest.raises(RehoneError, match="cannot be reached"):
            AlertsListener(config).tell_run(record(day, RunStatus.FAILED), b"")
    found = Journal(config).newest(9)
    assert [(notice.state, notice.attempts) for notice in found] == [(State.LEFT, 1), (State.WAITING, 1)]
    assert found[0].held.startswith("told anew by the alert of ")
    assert Journal(config).waiting() == (found[1],)


def test_a_sign_of_life_that_was_missed_is_noted_and_not_kept_for_later(tmp_path: Path) -> None:
    config, run = config_at(tmp_path, "heartbeat"), record(1, RunStatus.SKIPPED)
    run = replace(run, finished_at=run.started_at, stages=(Stage(name="look", sentence="", seconds=0.0),))
    with pytest.raises(Missed, match=r"^http://127\.0\.0\.1:9 cannot be reached \(Connection refused\)$"):
        HeartbeatListener(config, lambda: run.started_at).tell_run(run, b"")
    (notice,) = Journal(config).newest(9)
    assert (notice.state, Journal(config).waiting()) == (State.LEFT, ())
    outbox = Outbox.of(config, "heartbeat")
    outbox.note(Delivery(tracker="heartbeat", subject=run.run_id, error=notice.error, missed=True))
    found = outbox.missed()
    assert found is not None
    assert (found.error, outbox.pending()) == (notice.error, ())

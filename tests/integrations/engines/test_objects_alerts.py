"""What became of each alert is kept in an object store as it is in a folder."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from rehone.config import Config, parse_config
from rehone.errors import RehoneError
from rehone.integrations.alerts import State
from rehone.integrations.alerts.journal import Journal
from rehone.integrations.alerts.listener import AlertsListener
from rehone.records import RunStatus
from test_runlog import record

names = itertools.count()


def config_at(root: Path) -> Config:
    config = parse_config('[alerts]\nwebhook = "http://127.0.0.1:9/"\n', root=root)
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

"""List, try and send alerts for a person at a terminal."""

from __future__ import annotations

from pathlib import Path

from rehone import api
from rehone.config import Config, load_config
from rehone.config.people import Metrics
from rehone.errors import RehoneError
from rehone.integrations.alerts.journal import Journal, Notice
from rehone.integrations.alerts.listener import now
from rehone.integrations.alerts.post import trial
from rehone.records import CheckStatus


def listed(project: str | Path, limit: int) -> tuple[Notice, ...]:
    """Return the newest alerts, oldest of them first."""
    return Journal(load_config(Path(project))).newest(limit)


def test(project: str | Path) -> tuple[Notice, ...]:
    """Send a test alert to every address, and return for each whether it took it; the heartbeat is one of them.

    Raises:
        RehoneError: no address is named.
    """
    config = load_config(Path(project))
    return trial(config if config.alerts.heartbeat is not None else _told_of(config), now)


def send(project: str | Path) -> tuple[Notice, ...]:
    """Send what waits and may be sent at this hour, also of runs that nobody was told of; return how each stands.

    Raises:
        RehoneError: no address is named, somebody else is sending, or nothing could be sent at all.
    """
    config = _told_of(load_config(Path(project)))
    before = Journal(config)
    (check,) = api.tell(_alerts_alone(config))
    found = Journal(config).since(before)
    if check.status is CheckStatus.WARN or (check.status is CheckStatus.ACT and not any(n.error for n in found)):
        raise RehoneError(check.sentence)
    return found


def _told_of(config: Config) -> Config:
    if not config.alerts.there:
        raise RehoneError("nobody is named in [alerts] of rehone.toml: set alerts.apprise or alerts.webhook")
    return config


def _alerts_alone(config: Config) -> Config:
    """Return the configuration of a project in which nobody else is told of runs."""
    nobody = config.trackers.model_copy(update={"use": ()})
    silent = config.alerts.model_copy(update={"heartbeat": None})
    return config.model_copy(update={"trackers": nobody, "metrics": Metrics(), "alerts": silent})

"""Be the process that tells one tracker: read what is to be told from stdin, tell it, note each ending.

A process of its own, because a library that hangs, exits or crashes must not take a run with it.
Whoever started it waits no longer than `trackers.timeout_seconds`; should that one die, this
process ends itself a little later.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from rehone import codec
from rehone.config import Config
from rehone.errors import NotFound, RehoneError
from rehone.observers import DEPLOYMENT, WAITING, Later, Missed, Outbox, Request
from rehone.observers.telling import BEING_TOLD, without_password
from rehone.records import Delivery, Deployment, RunRecord
from rehone.runlog import RunLog
from rehone.store import Store

GRACE_SECONDS = 5
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "WANDB_ERROR_REPORTING": "false",
}
"""Environment of this process alone: libraries read it when they are imported. What is set already stays."""
LONGEST_CAUSE = 400


class Tracker(Protocol):
    """Whoever is told. Telling the same thing twice leaves it told once; what is `Missed` is not told again."""

    def tell_run(self, record: RunRecord, file: bytes) -> str:
        """Log a closed run, whose record is that file, and return where it can be looked at.

        Those of `OF_NOW` are told of a run that waits for a person, too.
        """

    def tell_deployment(self, deployment: Deployment) -> str:
        """Log a record of the deployment log and return where it can be looked at."""


def main() -> None:
    """Tell what stdin asks for."""
    request = codec.decode(sys.stdin.buffer.read(), Request, source="what is to be told")
    sys.path += [folder for folder in request.path if folder not in sys.path]
    signal.alarm(math.ceil(request.seconds + GRACE_SECONDS))
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    config = Config(**request.config, root=Path(request.root))
    outbox = Outbox.of(config, request.tracker)
    for subject in request.subjects:
        _deliver(config, outbox, subject)


def _deliver(config: Config, outbox: Outbox, subject: str) -> None:
    found = outbox.find(subject) or Delivery(tracker=outbox.tracker, subject=subject)
    trying = replace(found, attempts=found.attempts + 1, error=BEING_TOLD, held=False)
    outbox.note(trying)
    try:
        link = _tell(config, outbox.tracker, subject)
    except Later as later:
        outbox.note(replace(found, error=str(later), held=True))
    except Missed as missed:
        outbox.note(replace(trying, error=_cause(missed), missed=True))
    except Exception as error:  # whatever a tracker raises is noted, and the next one is told
        logging.getLogger(__name__).exception("not delivered", extra={"subject": subject})
        outbox.note(replace(trying, error=_cause(error)))
    else:
        outbox.note(replace(trying, error="", link=without_password(link), delivered_at=datetime.now(UTC)))


def _tell(config: Config, name: str, subject: str) -> str:
    tracker = _tracker(config, name)
    if not subject.startswith(DEPLOYMENT):
        runs = RunLog.of(config)
        record = runs.find(subject.removeprefix(WAITING))
        return tracker.tell_run(record, runs.bytes_of(record))
    generation = int(subject.removeprefix(DEPLOYMENT))
    found = next((d for d in Store.of(config).log() if d.generation == generation), None)
    if found is None:
        raise NotFound(f"the deployment log has no generation {generation}")
    return tracker.tell_deployment(found)


_open: dict[str, Tracker] = {}


def _tracker(config: Config, name: str) -> Tracker:
    if name not in _open:
        try:
            _open[name] = _opened(config, name)
        except ModuleNotFoundError as error:
            raise RehoneError(f"{error.name} is not installed: pip install 'rehone[{name}]'") from error
    return _open[name]


def _opened(config: Config, name: str) -> Tracker:
    if name == "mlflow":
        from rehone.integrations.mlflow import MlflowTracker

        return MlflowTracker(config)
    if name == "alerts":
        from rehone.integrations.alerts import AlertsListener

        return AlertsListener(config)
    if name == "heartbeat":
        from rehone.integrations.alerts import HeartbeatListener

        return HeartbeatListener(config)
    if name == "metrics":
        from rehone.integrations.prometheus import MetricsListener

        return MetricsListener(config)
    from rehone.integrations.wandb import WandbTracker

    return WandbTracker(config)


def _cause(error: Exception) -> str:
    """Say in one line what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines) if isinstance(error, RehoneError) else f"{type(error).__name__}: {lines[0] if lines else ''}"
    return without_password(said.rstrip(": "))[:LONGEST_CAUSE]


if __name__ == "__main__":
    main()

"""Ask one address after each run that did not fail, so that somebody outside notices when nothing asks for it any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from rehone import alert
from rehone.config import Config
from rehone.integrations.alerts.address import Letter, seconds_of, send_all
from rehone.integrations.alerts.asking import Question, ask
from rehone.integrations.alerts.journal import Journal
from rehone.observers import Missed
from rehone.records import Deployment, RunRecord, RunStatus

NAME: Final = "heartbeat"
LATE: Final = timedelta(minutes=5)
"""How long after the end of a run a sign of life is one of that run still."""


class Heartbeat:
    """The address that `alerts.heartbeat` names; it is told nothing but that somebody asks for it."""

    name = NAME

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds

    def send(self, letter: Letter) -> None:
        """Ask for the address, whatever the letter says.

        Raises:
            Unsent: it did not answer with 2xx.
        """
        del letter
        hints = dict.fromkeys((404, 410), ": look whether alerts.heartbeat is the address that the service gave you")
        ask(Question(url=self._url, key="alerts.heartbeat", hints=hints), self._seconds)


def heartbeats_of(config: Config) -> tuple[Heartbeat, ...]:
    """Return the address that a project gives signs of life to, if it names one."""
    url = config.alerts.heartbeat
    return () if url is None else (Heartbeat(url, seconds_of(config)),)


class HeartbeatListener:
    """Whoever hears that runs still end. A sign that is late would say that they do when they do not."""

    def __init__(self, config: Config, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._config = config
        self._clock = clock

    def tell_run(self, record: RunRecord, file: bytes) -> str:
        """Give a sign of life, unless the run failed or stood aside for another; return what became of it.

        One that hangs holds the lock, and all that start after it stand aside: then nothing is alive.

        Raises:
            Missed: it did not get through, or it is too late for it; it is listed among the alerts.
        """
        del file
        if record.status is RunStatus.FAILED:
            return "no sign of life: the run failed"
        if record.status is not None and not record.stages:
            return "no sign of life: the run stood aside for another"
        if record.approval is not None and record.status is not None:
            return "no sign of life: its time was when the run began to wait"
        if why := self._ask(record):
            now, project = self._clock(), self._config.project.name
            journal = Journal(self._config)
            journal.miss(alert.sign_of_life(project, now, record.run_id), record.run_id, now, why)
            journal.prune()
            raise Missed(why)
        return "a sign of life was given"

    def tell_deployment(self, deployment: Deployment) -> str:
        """Give no sign: a deployment that no run made says nothing of runs."""
        del deployment
        return "no sign of life: no run made it"

    def _ask(self, record: RunRecord) -> str:
        """Return why no sign of life was given; "" when one was."""
        now = self._clock()
        ended = record.approval.asked_at if record.approval else record.finished_at
        if ended is None or now - ended > LATE:
            return f"nothing could be sent within {LATE.seconds // 60} minutes of the end of the run"
        one = Letter(id="", alert=alert.sign_of_life(self._config.project.name, now))
        found = send_all(heartbeats_of(self._config), one, seconds_of(self._config))
        return "; ".join(why for why in found.values() if why)

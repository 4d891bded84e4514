"""Tell people of runs and deployments, in the process that tells one listener of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rehone import alert
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.integrations.alerts.journal import State
from rehone.integrations.alerts.post import Post
from rehone.observers import DEPLOYMENT, WAITING, Later
from rehone.records import Alert, Deployment, Health, RunRecord

log = logging.getLogger(__name__)


def now() -> datetime:
    """Return the moment, in UTC."""
    return datetime.now(UTC)


class AlertsListener:
    """Whoever `[alerts]` names. Telling the same run twice sends it once."""

    def __init__(self, config: Config, clock: Callable[[], datetime] = now) -> None:
        self._config = config
        self._post = Post(config, clock)

    def tell_run(self, record: RunRecord, file: bytes) -> str:
        """Send what a run gives to tell, and what waits from before; return what became of it.

        Raises:
            RehoneError: an address did not take it; it is kept, and tried again.
            Later: it is held back until the quiet hours are over.
        """
        del file
        if record.status is not None:
            self._post.drop(f"{WAITING}{record.run_id}", "answered before it was sent")
        found = alert.of(record, self._health(), self._config.alerts)
        return self._tell(found, record.run_id if record.status else f"{WAITING}{record.run_id}")

    def tell_deployment(self, deployment: Deployment) -> str:
        """Send what a deployment gives to tell that no run tells of itself, such as a rollback by hand; as `tell_run`."""
        found = alert.of_deployment(deployment, self._config.project.name, self._config.alerts)
        return self._tell(found, f"{DEPLOYMENT}{deployment.generation}")

    def _tell(self, found: Sequence[Alert], subject: str) -> str:
        self._post.keep(found, subject)
        self._post.send()
        own = [notice for one in found if (notice := self._post.journal.find(subject, one.key)) is not None]
        waiting = [notice for notice in own if notice.state is State.WAITING]
        if failed := [notice.error for notice in waiting if notice.error]:
            raise RehoneError(failed[0])
        if waiting:
            raise Later(waiting[0].held)
        sent = sum(notice.state is State.SENT for notice in own)
        said = f"{sent} alert{'s' if sent != 1 else ''} sent" if own else "nothing to tell"
        left = len(own) - sent
        return f"{said}, {left} left out as told before" if left else said

    def _health(self) -> Health | None:
        """Return how the pipeline itself does; when that cannot be said, the run is told of all the same."""
        from rehone import api

        try:
            return api.health(self._config)
        except Exception as error:  # whatever is wrong there must not keep back what the run itself gives to tell
            log.warning("alerts without the pipeline's health", exc_info=True, extra={"because": repr(error)})
            return None

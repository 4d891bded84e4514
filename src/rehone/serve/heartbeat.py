"""Report in the store, once a second, what this server really serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rehone.errors import RehoneError
from rehone.records import Replica
from rehone.serve.follower import Serving
from rehone.store import Store

log = logging.getLogger(__name__)


class Heart:
    """Beats every `seconds`, and at once when `wake` is set; retires its file at the end."""

    def __init__(
        self,
        me: Replica,
        root: Path,
        serving: Callable[[], Serving],
        *,
        wake: threading.Event,
        clock: Callable[[], datetime],
        seconds: float,
    ) -> None:
        self._me = me
        self._root = root
        self._serving = serving
        self._wake = wake
        self._clock = clock
        self._seconds = seconds
        self._well = True

    def beat_until(self, stop: threading.Event) -> None:
        """Beat until `stop` is set, then retire; setting `wake` after it makes that prompt."""
        while not stop.is_set():
            self._try("heartbeat", lambda store: store.beat(self.report()))
            self._wake.wait(self._seconds)
            self._wake.clear()
        self._try("retirement", lambda store: store.retire(self._me.name))

    def report(self) -> Replica:
        """Say what is served at this moment."""
        serving = self._serving()
        refused = serving.refused
        return replace(
            self._me,
            at=self._clock(),
            generation=serving.generation,
            version=serving.loaded.version if serving.loaded else None,
            refused_generation=refused.generation if refused else None,
            refused_because=refused.because if refused else None,
        )

    def _try(self, what: str, act: Callable[[Store], object]) -> None:
        """Act on the store; serving goes on without it, and its absence is logged once.

        The store is opened each time, so that one that was moved away is not begun anew.
        """
        try:
            act(Store(self._root))
        except (OSError, RehoneError) as error:
            if self._well:
                log.warning("%s not written", what, extra={"because": str(error)})
            self._well = False
        else:
            self._well = True

"""Report in the store, once a second, what this server really serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime

from rehone.disk import Disk
from rehone.errors import RehoneError
from rehone.places import Place
from rehone.records import Replica, ShadowReport
from rehone.serve.follower import Serving
from rehone.store import Store

log = logging.getLogger(__name__)


def _always() -> bool:
    return True


def _no_report(_: Serving) -> None:
    return None


@dataclass(eq=False)
class Heart:
    """Beats every `seconds`, and at once when `wake` is set; retires its file at the end.

    While `alive` says no, as when requests are not answered any more, it does not beat, so that
    the server counts as gone. `shadow` says what was seen of the challenger that is staged.
    """

    me: Replica
    root: Place
    serving: Callable[[], Serving]
    _: KW_ONLY
    wake: threading.Event
    clock: Callable[[], datetime]
    seconds: float
    alive: Callable[[], bool] = _always
    shadow: Callable[[Serving], ShadowReport | None] = _no_report
    disk: Disk = field(default_factory=Disk)
    _well: bool = field(default=True, init=False)
    _hung: bool = field(default=False, init=False)

    def beat_until(self, stop: threading.Event) -> None:
        """Beat until `stop` is set, then retire; setting `wake` after it makes that prompt."""
        while not stop.is_set():
            if self._lives():
                self._try("heartbeat", lambda store: store.beat(self.report()))
            self.wake.wait(self.seconds)
            self.wake.clear()
        self._try("retirement", lambda store: store.retire(self.me.name))

    def report(self) -> Replica:
        """Say what is served at this moment."""
        serving = self.serving()
        refused = serving.refused
        return replace(
            self.me,
            at=self.clock(),
            generation=serving.generation,
            version=serving.loaded.version if serving.loaded else None,
            refused_generation=refused.generation if refused else None,
            refused_because=refused.because if refused else None,
            pinned=serving.pinned is not None,
            shadow=self.shadow(serving),
        )

    def _lives(self) -> bool:
        lives = self.alive()
        if lives == self._hung:
            log.warning("heartbeat goes on" if lives else "heartbeat stops: requests are not answered")
        self._hung = not lives
        return lives

    def _try(self, what: str, act: Callable[[Store], object]) -> None:
        """Act on the store; serving and beating go on whatever happens, and a first failure is logged.

        The store is opened each time, so that one that was moved away is not begun anew.
        """
        try:
            act(Store(self.root, disk=self.disk))
        except (OSError, RehoneError) as error:
            if self._well:
                log.warning("%s not written", what, extra={"because": self._gone() or str(error)})
            self._well = False
        except Exception:  # a heart that stops for a fault of ours would take a good server for dead; logged whole
            if self._well:
                log.exception("%s not written", what)
            self._well = False
        else:
            self._well = True

    def _gone(self) -> str | None:
        """Say that a store is missing which this server has read before: a new one would not help."""
        serving = self.serving()
        known = serving.loaded is not None or serving.generation is not None
        try:
            if not known or self.disk.is_file(self.root / "FORMAT"):
                return None
        except OSError:  # what keeps it from being asked is said already
            return None
        return f"the store at {self.root} was there before and is gone: mount it or put it back"

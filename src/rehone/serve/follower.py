"""Follow the deployment log: load what it names, prove it, and only then swap one reference."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from rehone import artifact, signing
from rehone.config import Deploy
from rehone.disk import Disk
from rehone.errors import ArtifactError, Corrupt, RehoneError, StoreError
from rehone.places import Place
from rehone.records import CheckStatus, Deployment, Profile, StagedShadow, short_id
from rehone.store import Store

log = logging.getLogger(__name__)

TRIES_BEFORE_REFUSING = 3
LONGEST_PAUSE_SECONDS = 5.0
LONGEST_DEAF_SECONDS = 0.25
"""Longest that an end is not noticed while waiting for the next look at the log."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model that answers requests: verified, proved on its golden rows, and warm."""

    predictor: artifact.Predictor
    version: str
    profile: Profile | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A deployment that this service did not take over, and why."""

    generation: int
    version: str | None
    because: str


@dataclass(frozen=True, slots=True, eq=False)
class Staged:
    """A challenger that is scored beside the champion; without `loaded`, `because` says why it is not."""

    order: StagedShadow
    loaded: Loaded | None = None
    because: str = ""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a service is at one moment; requests take this reference once.

    `generation` is of the last record that was taken over, also when that record says that
    nothing is to be served; `None` while `pinned`, for no record made that version live here.
    `trouble` says why the log cannot be followed just now. `pinned` is the version that an
    operator holds this process at, whatever the log says. `shadow` is the challenger that is
    staged, once it was loaded or could not be.
    """

    loaded: Loaded | None = None
    generation: int | None = None
    refused: Refused | None = None
    trouble: str | None = None
    pinned: str | None = None
    shadow: Staged | None = None


class Follower:
    """Keeps `now` equal to the newest deployment that this process could load and prove.

    Only `step`, `pin` and `unpin` change `now`, each in its turn and by one assignment, so that
    any thread may read it at any time. `clock` is compared with the deadline of what is staged,
    `disk` is how the place of the store is reached.
    """

    def __init__(
        self,
        root: Place,
        policy: Deploy,
        *,
        clock: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
        disk: Disk | None = None,
    ) -> None:
        self.now = Serving()
        self.store: Store | None = None
        self._root = root
        self._disk = disk
        self._policy = policy
        self._changed = changed
        self._clock = clock
        self._unread = _Unread()
        self._newest = 0
        self._taken: int | None = None
        self._turn = threading.RLock()
        self._awake = threading.Event()
        self._well = True
        self._order: StagedShadow | None = None
        self._understudy = _Understudy(self._verified, self.wake)

    def follow(self, stop: threading.Event, poll_seconds: float) -> None:
        """Look at the log every `poll_seconds`, and whenever `wake` is called, until `stop` is set."""
        while not stop.is_set():
            try:
                self.step()
            except Exception as error:  # following must outlive any fault; it is logged and shown on /health
                log.exception("deployment log not followed")
                self._show(replace(self.now, trouble=f"the deployment log cannot be followed ({_said(error)})"))
            self._pause(stop, poll_seconds)

    def _pause(self, stop: threading.Event, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            if self._awake.wait(min(left, LONGEST_DEAF_SECONDS)):
                break
        self._awake.clear()

    def wake(self) -> None:
        """Let `follow` look at the log now."""
        self._awake.set()

    def pin(self, version: str) -> None:
        """Serve this version whatever the log says, until `unpin` or the end of the process.

        Raises:
            NotFound, Corrupt, ArtifactError: as `load`; what is served stays.
            StoreError: several versions begin so, or the store cannot be read.
        """
        with self._turn:
            loaded = self._verified(version)
            self._show(replace(self.now, loaded=loaded, generation=None, pinned=loaded.version, shadow=None))
        self.wake()

    def unpin(self) -> None:
        """Follow the log again, at once."""
        with self._turn:
            self._unread = _Unread()
            self._show(replace(self.now, pinned=None, refused=None))
            self.step()

    def step(self) -> None:
        """Look once at the log and at what is staged, and take over what is new."""
        with self._turn:
            self._step()
            self._look_at_staged()

    def _step(self) -> None:
        try:
            head = self._head()
        except (OSError, RehoneError) as error:
            self._show(replace(self.now, trouble=f"the store at {self._root} cannot be read ({_said(error)})"))
            return
        if head is None or head.generation < self._newest:
            self._show(replace(self.now, trouble=_lost(self._root, head, self._newest)))
            return
        self._newest = head.generation
        if self.now.trouble is not None:
            self._show(replace(self.now, trouble=None))
        if self.now.pinned is not None:
            self._stay(head, self.now.pinned)
        elif self._is_new(head):
            self._take_over(head)

    def _head(self) -> Deployment | None:
        return self._opened().head()

    def _opened(self) -> Store:
        if self.store is None:
            self.store = Store(self._root, disk=self._disk)
        return self.store

    def _stay(self, head: Deployment, pinned: str) -> None:
        """Say which deployment is not taken over because of an operator; none, if it is of the same version."""
        refused = None
        if head.version != pinned and head.generation != self._taken:
            because = (
                f"generation {head.generation} was not taken over: this server is pinned to version "
                f"{short_id(pinned)} by an operator"
            )
            refused = Refused(head.generation, head.version, because)
        self._show(replace(self.now, refused=refused))

    def _is_new(self, head: Deployment) -> bool:
        refused = self.now.refused
        if refused is not None and refused.generation == head.generation and not self._unread.of(head.generation):
            return False
        if head.generation == self.now.generation and head.version == _version_of(self.now):
            return False
        return self._unread.due(head.generation)

    def _take_over(self, head: Deployment) -> None:
        try:
            loaded = self._load(head.version)
        except Exception as error:  # whatever is wrong with a version, the old one keeps serving; logged and shown
            log.warning("deployment not taken over", exc_info=True, extra={"generation": head.generation})
            self._refuse(head, error)
        else:
            self._unread, self._taken = _Unread(), head.generation
            shadow = None if _is_of(self.now.shadow, head.version) else self.now.shadow
            self._show(replace(self.now, loaded=loaded, generation=head.generation, refused=None, shadow=shadow))

    def _refuse(self, head: Deployment, error: Exception) -> None:
        """Keep what is served, and say why; what could not be read is tried again before and after."""
        because = _said(error)
        if _may_pass(error):
            tries = self._unread.note(head.generation)
            if tries < TRIES_BEFORE_REFUSING:
                return
            because = f"{because}; tried {tries} times, trying again"
        self._show(replace(self.now, refused=Refused(head.generation, head.version, because)))

    def _load(self, version: str | None) -> Loaded | None:
        live = self.now.loaded
        if version is None:
            return None
        if live is not None and live.version == version:
            return live
        return self._verified(version)

    def _verified(self, version: str) -> Loaded:
        return load(self._opened(), version, self._policy)

    def _look_at_staged(self) -> None:
        trouble: Exception | None = None
        try:
            self._order = self._opened().staged()
        except (OSError, RehoneError) as error:  # what was read last counts until its deadline
            trouble = error
        try:
            shadow = self._understudy.of(self._due())
        except RuntimeError as error:  # no thread could be started
            trouble, shadow = error, None
        if trouble is not None and self._well:
            log.warning("what is staged cannot be read or loaded", extra={"because": _said(trouble)})
        self._well = trouble is None
        if shadow is not self.now.shadow:
            self._show(replace(self.now, shadow=shadow))

    def _due(self) -> StagedShadow | None:
        """Return what is to be scored beside the champion; a pinned server has none."""
        staged, live = self._order, self.now.loaded
        if staged is None or live is None or self.now.pinned is not None:
            return None
        return None if staged.version == live.version or self._clock() >= staged.deadline else staged

    def _show(self, serving: Serving) -> None:
        before, self.now = self.now, serving
        if before == serving:
            return
        log.info("serving changed", extra={"before": _facts(before), "after": _facts(serving)})
        self._changed()


def load(store: Store, version: str, policy: Deploy) -> Loaded:
    """Read one version, verify it, reproduce its golden rows and warm it up.

    Raises:
        SigningError: it is not signed as the policy asks.
        NotFound, Corrupt: the store does not have it whole.
        ArtifactError: it cannot be loaded, or does not reproduce its golden rows.
    """
    found = store.version(version)
    files = store.read(found.id)
    signing.require(found.id, store.signatures(found.id), policy)
    predictor = artifact.unpack(
        found.manifest,
        files,
        version=found.id,
        allow_joblib=policy.allow_joblib,
        trusted=policy.trusted_types,
    )
    golden = artifact.read_golden(files)
    check = artifact.check_golden(predictor, golden, policy.golden_tolerance)
    if check.status is not CheckStatus.OK:
        raise ArtifactError(check.sentence)
    for row in golden.rows:
        predictor.predict_proba([row])
    return Loaded(predictor, found.id, artifact.read_profile(files) if artifact.PROFILE_FILE in files else None)


class _Understudy:
    """Loads one challenger at a time in a thread of its own; `done` is called when it is there.

    A challenger that takes long to load, or for ever, holds up nothing but itself.
    """

    def __init__(self, load: Callable[[str], Loaded], done: Callable[[], None]) -> None:
        self._load = load
        self._done = done
        self._wanted: StagedShadow | None = None
        self._ready: Staged | None = None
        self._turn = threading.Lock()

    def of(self, order: StagedShadow | None) -> Staged | None:
        """Return what was loaded for an order, beginning to load when it is new."""
        with self._turn:
            if order == self._wanted:
                return self._ready
            self._wanted, self._ready = order, None
        if order is not None:
            self._begin(order)
        return None

    def _begin(self, order: StagedShadow) -> None:
        try:
            threading.Thread(target=self._prepare, args=(order,), name="understudy", daemon=True).start()
        except RuntimeError:  # no thread just now: the next look begins again
            self._wanted = None
            raise

    def _prepare(self, order: StagedShadow) -> None:
        try:
            staged = Staged(order, self._load(order.version))
        except Exception as error:  # whatever is wrong with a challenger, the champion serves; logged and reported
            log.warning("challenger not loaded", exc_info=True, extra={"version": order.version})
            staged = Staged(order, because=_said(error))
        with self._turn:
            if self._wanted != order:
                return
            self._ready = staged
        self._done()


@dataclass(slots=True)
class _Unread:
    """A generation whose version could not be read, how often, and when to try again."""

    generation: int | None = None
    tries: int = 0
    again: float = 0.0

    def of(self, generation: int) -> bool:
        return self.generation == generation

    def due(self, generation: int) -> bool:
        return self.generation != generation or time.monotonic() >= self.again

    def note(self, generation: int) -> int:
        """Count one more failure and double the pause before the next try."""
        if self.generation != generation:
            self.generation, self.tries = generation, 0
        self.tries += 1
        self.again = time.monotonic() + min(0.1 * 2**self.tries, LONGEST_PAUSE_SECONDS)
        return self.tries


def _lost(root: Place, head: Deployment | None, newest: int) -> str | None:
    if not newest:
        return None
    ends = "is empty" if head is None else f"ends at generation {head.generation}"
    return (
        f"the deployment log of {root} {ends}, but generation {newest} was read before: "
        "put the store back, or restart the service if it was replaced on purpose"
    )


def _version_of(serving: Serving) -> str | None:
    return serving.loaded.version if serving.loaded else None


def _is_of(shadow: Staged | None, version: str | None) -> bool:
    return shadow is not None and shadow.order.version == version


def _may_pass(error: Exception) -> bool:
    """Tell a disk or a store that could not be reached from a version that is wrong."""
    return isinstance(error, OSError | StoreError) and not isinstance(error, Corrupt)


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, RehoneError) else f"{type(error).__name__}: {error}"


def _facts(serving: Serving) -> dict[str, object]:
    refused = serving.refused
    return {
        "generation": serving.generation,
        "version": _version_of(serving),
        "refused_generation": refused.generation if refused else None,
        "refused_because": refused.because if refused else None,
        "trouble": serving.trouble,
        "pinned": serving.pinned,
        "shadow": serving.shadow.order.version if serving.shadow else None,
    }

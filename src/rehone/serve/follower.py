"""Follow the deployment log: load what it names, prove it, and only then swap one reference."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rehone import artifact, signing
from rehone.config import Deploy
from rehone.errors import ArtifactError, Corrupt, RehoneError, StoreError
from rehone.records import CheckStatus, Deployment, StagedShadow
from rehone.store import Store

log = logging.getLogger(__name__)

TRIES_BEFORE_REFUSING = 3
LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model that answers requests: verified, proved on its golden rows, and warm."""

    predictor: artifact.Predictor
    version: str


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
    nothing is to be served. `trouble` says why the log cannot be followed just now.
    """

    loaded: Loaded | None = None
    generation: int | None = None
    refused: Refused | None = None
    trouble: str | None = None
    pinned: str | None = None
    shadow: Staged | None = None


class Follower:
    """Keeps `now` equal to the newest deployment that this process could load and prove.

    Only `step` changes `now`, by one assignment, so that any thread may read it at any time.
    """

    def __init__(self, root: Path, policy: Deploy, *, changed: Callable[[], None] = lambda: None) -> None:
        self.now = Serving()
        self.store: Store | None = None
        self._root = root
        self._policy = policy
        self._changed = changed
        self._unread = _Unread()

    def follow(self, stop: threading.Event, poll_seconds: float) -> None:
        """Look at the log every `poll_seconds` until `stop` is set."""
        while not stop.is_set():
            try:
                self.step()
            except Exception as error:  # following must outlive any fault; it is logged and shown on /health
                log.exception("deployment log not followed")
                self._show(replace(self.now, trouble=f"the deployment log cannot be followed ({_said(error)})"))
            stop.wait(poll_seconds)

    def step(self) -> None:
        """Look at the log once and take over a record that is new."""
        try:
            head = self._head()
        except (OSError, RehoneError) as error:
            self._show(replace(self.now, trouble=f"the store at {self._root} cannot be read ({_said(error)})"))
            return
        now = self.now
        if head is None or head.generation < (now.generation or 0):
            self._show(replace(now, trouble=_lost(self._root, head, now)))
            return
        if now.trouble is not None:
            self._show(replace(now, trouble=None))
        if self._is_new(head):
            self._take_over(head)

    def _head(self) -> Deployment | None:
        if self.store is None:
            self.store = Store(self._root)
        return self.store.head()

    def _is_new(self, head: Deployment) -> bool:
        refused = self.now.refused
        if refused is not None and refused.generation == head.generation and not self._unread.of(head.generation):
            return False
        if head.generation == self.now.generation:
            return False
        return self._unread.due(head.generation)

    def _take_over(self, head: Deployment) -> None:
        try:
            loaded = self._load(head.version)
        except Exception as error:  # whatever is wrong with a version, the old one keeps serving; logged and shown
            log.warning("deployment not taken over", exc_info=True, extra={"generation": head.generation})
            self._refuse(head, error)
        else:
            self._unread = _Unread()
            self._show(Serving(loaded=loaded, generation=head.generation))

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
        if self.store is None:
            raise StoreError(f"the store at {self._root} is not open")
        return load(self.store, version, self._policy)

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
    return Loaded(predictor, found.id)


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


def _lost(root: Path, head: Deployment | None, now: Serving) -> str | None:
    if now.generation is None:
        return None
    ends = "is empty" if head is None else f"ends at generation {head.generation}"
    return (
        f"the deployment log of {root} {ends}, but generation {now.generation} was read before: "
        "put the store back, or restart the service if it was replaced on purpose"
    )


def _may_pass(error: Exception) -> bool:
    """Tell a disk or a store that could not be reached from a version that is wrong."""
    return isinstance(error, OSError | StoreError) and not isinstance(error, Corrupt)


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, RehoneError) else f"{type(error).__name__}: {error}"


def _facts(serving: Serving) -> dict[str, object]:
    refused = serving.refused
    return {
        "generation": serving.generation,
        "version": serving.loaded.version if serving.loaded else None,
        "refused_generation": refused.generation if refused else None,
        "refused_because": refused.because if refused else None,
        "trouble": serving.trouble,
    }

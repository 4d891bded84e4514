"""Hold a lock in a bucket: an object that its holder renews, and that others take over when it does not.

Whether a lease has run out is measured between two times that the server wrote, never by the
clock of this machine. The holder measures nothing: each renewal is a put on the condition that
the lease still is its own, so that whoever slept or was cut off learns that he lost it.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

from rehone.codec import decode, encode
from rehone.errors import Corrupt, StoreError
from rehone.objects.buckets import Bucket, Changed, Seen, Stamp

log = logging.getLogger(__name__)

_GRAIN_SECONDS = 1.0
"""Servers write times in whole seconds."""


class _Lost(StoreError):
    """Somebody took a lease over."""


@dataclass(frozen=True, slots=True)
class Body:
    """What the object of a lease says; `turn` makes each renewal another object, with another etag."""

    token: str
    turn: int
    seconds: float
    since: datetime | None = None
    free: bool = False
    holder: str = ""


@dataclass(eq=False)
class Lease:
    """A lock that this process holds, renewed by a thread of its own until it is let go or lost."""

    bucket: Bucket
    key: str
    seconds: float
    stamp: Stamp
    token: str
    since: datetime | None
    _turn: int = 0
    _holder: str = ""
    _until: float = 0.0
    _lost: bool = False
    _one: threading.Lock = field(default_factory=threading.Lock)
    _end: threading.Event = field(default_factory=threading.Event)

    def say(self, holder: bytes) -> None:
        """Write who holds it, for those who are turned away."""
        self._holder = holder.decode()
        self.renew()

    def renew(self) -> None:
        """Make sure that it still is held, and for `seconds` more.

        Raises:
            StoreError: somebody took it over, or the service does not answer, so that nobody knows.
        """
        with self._one:
            if not (self._lost or self._end.is_set()):  # the thread may come here when it has been let go
                self._put(free=False)
            if self._lost:
                raise _Lost(
                    f"the lock {self.bucket.address}/{self.key} was not renewed for {self.seconds:g} seconds and somebody "
                    "else took it over: nothing more is written by this run; run again when the other one has ended"
                )

    def _put(self, *, free: bool) -> None:
        begun = _ticks()
        body = encode(Body(self.token, self._turn + 1, self.seconds, self.since, free, self._holder))
        try:
            try:
                self.stamp = self.bucket.update(self.key, body, self.stamp)
            except Changed:
                if not self._arrived_late():
                    raise
                self.stamp = self.bucket.update(self.key, body, self.stamp)
        except Changed:
            self._lost = True
            return
        self._turn += 1
        self._until = begun + self.seconds

    def _arrived_late(self) -> bool:
        """Say whether it was a renewal of its own, taken for failed, that changed it meanwhile; then go on from there."""
        try:
            there = self.bucket.get(self.key)
            mine = _body(there).token == self.token
        except (FileNotFoundError, Corrupt):
            return False
        if mine:
            self.stamp = there.stamp
        return mine

    def begin(self, begun: float) -> None:
        """Let the thread renew it from now on; `begun` is when the taking began."""
        self._until = begun + self.seconds
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def _keep(self) -> None:
        pause = self.seconds / 3
        while not self._end.wait(pause):
            pause = self.seconds / 3
            try:
                self.renew()
            except _Lost as error:
                log.warning("lease lost", extra={"lock": self.key, "why": str(error)})
                return
            except OSError as error:
                pause = self.seconds / 12
                left = self._until - _ticks()
                log.warning("lease not renewed", extra={"lock": self.key, "why": str(error), "seconds_left": left})

    def let_go(self) -> None:
        """Free it at once; where that does not reach the service, it runs out by itself."""
        self._end.set()
        with self._one, contextlib.suppress(OSError):
            if not self._lost:
                self._put(free=True)


def take(bucket: Bucket, key: str, seconds: float) -> Lease | None:
    """Take a lease that nobody holds, or whose holder has stopped renewing it; `None` when it is held."""
    begun, token = _ticks(), secrets.token_hex(8)
    body = encode(Body(token, 0, seconds))
    try:
        there = bucket.get(key)
    except FileNotFoundError:
        there = None
    try:
        if there is None:
            stamp = bucket.create(key, body)
        elif not _may_be_taken(bucket, key, there, seconds):
            return None
        else:
            stamp = bucket.update(key, body, there.stamp)
    except (FileExistsError, Changed):  # another was quicker
        return None
    since = None
    with contextlib.suppress(OSError):  # it is held all the same
        since = bucket.head(key)[1]
    lease = Lease(bucket, key, seconds, stamp, token, since)
    lease.begin(begun)
    return lease


def holder(seen: Seen) -> tuple[bytes, datetime]:
    """Return what the holder of a lease said of itself, and since when it holds it.

    Raises:
        Corrupt: the object is no lease.
    """
    body = _body(seen)
    return body.holder.encode(), body.since or seen.modified


def server_time(bucket: Bucket, key: str) -> datetime:
    """Return the time of the server, from an object that is written beside `key` and removed again."""
    probe = f"{key}.clock-{secrets.token_hex(8)}"
    bucket.put(probe, b"")
    try:
        return bucket.head(probe)[1]
    finally:
        with contextlib.suppress(OSError):
            bucket.remove([probe])


def _may_be_taken(bucket: Bucket, key: str, there: Seen, seconds: float) -> bool:
    try:
        body = _body(there)
    except Corrupt:  # not written by us; whoever wrote it gets the time that we would have
        body = Body("", 0, seconds)
    if body.free:
        return True
    return (server_time(bucket, key) - there.modified).total_seconds() > body.seconds + _GRAIN_SECONDS


def _body(seen: Seen) -> Body:
    return decode(seen.data, Body, source="the lock")


def _ticks() -> float:
    """Return the seconds of a clock that also counts while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

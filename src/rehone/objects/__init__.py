"""Be the disk of a place in an object store: the same calls, the same promises, by conditional puts.

What a file system does with links, renames and locks, an object store does with two conditions
on a put: that there is no such object yet (`If-None-Match: *`), and that it still is in the state
that was read (`If-Match`). A backend that does not keep them is refused before anything is
written. Folders, fsync and read-only files have no counterpart, and need none: each put is
atomic and lasts. Why it is so, and what is weaker: `docs/decisions/0011-object-storage.md`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from rehone.config import Storage
from rehone.disk import Disk
from rehone.objects.buckets import Bucket, Changed, place_errors, store_for
from rehone.objects.lease import Lease, holder, server_time, take
from rehone.objects.probe import PROBE, prove
from rehone.places import Place, Remote

__all__ = ["PROBE", "Bucket", "ObjectDisk", "disk_for", "place_errors", "store_for"]

ABANDONED_AFTER = timedelta(hours=6)
"""Age of what was never sealed, by the server's clock, from which on nobody can be writing it any more."""

_AT_ONCE = 16
"""Objects that are read at the same time."""


def disk_for(place: Place, storage: Storage) -> Disk:
    """Return what reads and writes at a place: a folder of this machine, or an address in an object store.

    Raises:
        StoreError: it is an address, and obstore is not installed or the settings cannot be used.
    """
    return ObjectDisk(storage, place.bucket) if isinstance(place, Remote) else Disk()


class ObjectDisk(Disk):
    """The disk of one bucket; every path that it is given is a `Remote` in that bucket.

    What is drafted in a folder that `claim` lends stays in this process's memory until it is
    renamed or linked: what was not finished was never there.
    """

    def __init__(self, storage: Storage, address: str) -> None:
        self.storage = storage
        self.settings = storage.model_dump(mode="json")
        self._bucket = Bucket(address, storage)
        self._drafts: dict[str, dict[str, bytes]] = {}
        self._leases: dict[int, Lease] = {}
        self._handles = itertools.count(1)

    def prove(self, place: Place) -> None:
        """Refuse a backend that does not keep the conditions of a put; asked once in a process.

        Raises:
            StoreError: it does not keep them.
        """
        prove(self._bucket, _key(place), self.storage)

    # objects

    def write(self, path: Place, data: bytes, *, lasting: bool = True) -> None:
        """Write an object, if there is none of that name, or a file of a draft."""
        del lasting
        if (draft := self._draft_of(path)) is not None:
            draft[str(path)] = data
            return
        self.prove(path.parent)
        self._bucket.create(_key(path), data)

    def replace(self, path: Place, data: bytes, *, lasting: bool = True) -> None:
        """Write an object, whatever was there."""
        del lasting
        self._bucket.put(_key(path), data)

    def extend(self, path: Place, more: Callable[[bytes], bytes]) -> None:
        """Add to an object what `more` makes of it; when somebody else wrote it meanwhile, `more` is asked again.

        A last line that is cut short was copied here from a disk, and is removed as there.
        """

        def extended(before: bytes | None) -> bytes:
            whole = (before or b"")[: (before or b"").rfind(b"\n") + 1]
            return whole + more(whole)

        self.rewrite(path, extended)

    def rewrite(self, path: Place, make: Callable[[bytes | None], bytes]) -> None:
        """Replace an object by what `make` makes of it, on the condition that it still is the one read."""
        self.prove(path.parent)
        key = _key(path)
        while True:
            try:
                seen = self._bucket.get(key)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    self._bucket.create(key, make(None))
                    return
                continue
            with contextlib.suppress(Changed):
                self._bucket.update(key, make(seen.data), seen.stamp)
                return

    def append(self, path: Place, data: bytes) -> None:
        """Add bytes at the end of an object."""
        self.extend(path, lambda _: data)

    def read(self, path: Place) -> bytes:
        """Return the bytes of an object, or of a file of a draft."""
        draft = self._draft_of(path)
        if draft is None:
            return self._bucket.get(_key(path)).data
        try:
            return draft[str(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None

    def read_all(self, paths: Sequence[Place]) -> list[bytes]:
        """Return the bytes of several objects, read at the same time."""
        if len(paths) < 2:
            return [self.read(path) for path in paths]
        with ThreadPoolExecutor(min(_AT_ONCE, len(paths))) as pool:
            return list(pool.map(self.read, paths))

    def names(self, path: Place) -> list[str]:
        """List what is directly below a prefix, sorted; none is empty."""
        return self._bucket.names(_key(path))

    def below(self, path: Place, levels: int) -> list[str]:
        """List the objects below a prefix, by their path from there, sorted; at `levels` 1, those without a slash."""
        return [name for name in self._bucket.below(_key(path)) if name.count("/") < levels]

    def is_file(self, path: Place) -> bool:
        """Say whether there is such an object."""
        return self._bucket.has(_key(path))

    def is_folder(self, path: Place) -> bool:
        """Say yes: a prefix need not be made."""
        del path
        return True

    def is_real_folder(self, path: Place) -> bool:
        """Say no: what lies below a prefix is never in the way of an object of that name."""
        del path
        return False

    def unlink(self, path: Place) -> None:
        """Remove an object, or a file of a draft; a missing one is fine."""
        if (draft := self._draft_of(path)) is not None:
            draft.pop(str(path), None)
        else:
            self._bucket.remove([_key(path)])

    def forget(self, path: Place) -> None:
        """Remove an object; a put leaves nothing half behind."""
        self.unlink(path)

    def remove_tree(self, path: Place) -> None:
        """Remove all objects below a prefix, or a draft."""
        if str(path) in self._drafts:
            del self._drafts[str(path)]
        elif (draft := self._draft_of(path)) is not None:
            for name in [n for n in draft if n.startswith(f"{path}/")]:
                del draft[name]
        else:
            self._bucket.remove([f"{_key(path)}/{name}" for name in self._bucket.below(_key(path))])

    # drafts, and what becomes of them

    def claim(self, folder: Place) -> tuple[Place, int] | None:
        """Lend a folder of a new name that nobody else sees."""
        room = folder / secrets.token_hex(8)
        self._drafts[str(room)] = {}
        return room, next(self._handles)

    def rename(self, source: Place, target: Place) -> None:
        """Upload a draft under its name: one file at once, or a folder with what was written last as the last.

        Raises:
            FileNotFoundError: there is no such draft.
        """
        draft = self._draft_of(source) or {}
        if str(source) in draft:
            self._bucket.put(_key(target), draft.pop(str(source)))
            return
        inside = [name for name in draft if name.startswith(f"{source}/")]
        if not inside:
            raise FileNotFoundError(errno.ENOENT, "only drafts can be renamed in an object store", str(source))
        for name in inside:
            self._bucket.put(f"{_key(target)}/{name.removeprefix(f'{source}/')}", draft.pop(name))

    def link(self, source: Place, target: Place) -> None:
        """Put a drafted file under a name, if nobody has that name yet."""
        self.prove(target.parent)
        self._bucket.create(_key(target), self.read(source))

    def symlink(self, target: str, path: Place) -> None:
        """Write where a link would lead, for people and for `pointed`."""
        self.write(path, target.encode())

    def pointed(self, path: Place) -> str | None:
        """Return what `symlink` wrote."""
        try:
            return self.read(path).decode(errors="replace")
        except FileNotFoundError:
            return None

    def has_bundle(self, folder: Place, seal: str) -> bool:
        """Say whether the object that is written last, and removed first, is there."""
        return self.is_file(folder / seal)

    def bundles(self, path: Place, seal: str) -> list[str]:
        """List the prefixes that hold their seal."""
        parts = (name.split("/") for name in self._bucket.below(_key(path)))
        return sorted(part[0] for part in parts if part[1:] == [seal])

    def remove_bundle(self, folder: Place, seal: str, room: Place) -> None:
        """Remove the seal, so that it counts as gone, and then the rest."""
        del room
        self.unlink(folder / seal)
        self.remove_tree(folder)

    def sweep_bundles(self, path: Place, seal: str, named: Callable[[str], bool]) -> int:
        """Remove prefixes of such a name without seal in which nothing was written for hours, by the server's clock."""
        newest: dict[str, datetime] = {}
        sealed = set()
        for name, written in self._bucket.below(_key(path)).items():
            bundle, _, inside = name.partition("/")
            if not named(bundle):
                continue
            newest[bundle] = max(written, newest.get(bundle, written))
            if inside == seal:
                sealed.add(bundle)
        loose = [bundle for bundle in newest if bundle not in sealed]
        if not loose:
            return 0
        now = server_time(self._bucket, _key(path))
        old = [bundle for bundle in loose if now - newest[bundle] > ABANDONED_AFTER]
        for bundle in old:
            self.remove_tree(path / bundle)
        return len(old)

    # locks

    def lock_file(self, path: Place) -> int | None:
        """Take a lease, which a thread renews until `release`; `None` when somebody holds it."""
        self.prove(path.parent)
        lease = take(self._bucket, _key(path), self.storage.lease_seconds)
        if lease is None:
            return None
        handle = next(self._handles)
        self._leases[handle] = lease
        return handle

    def lock_folder(self, path: Place, *, shared: bool = False) -> int | None:
        """Return a handle without a lock: a prefix cannot be locked, and its order of writing protects readers."""
        del path, shared
        return next(self._handles)

    def release(self, handle: int) -> None:
        """Let go of a lease; where that does not reach the service, it runs out by itself."""
        if (lease := self._leases.pop(handle, None)) is not None:
            lease.let_go()

    def confirm(self, handle: int) -> None:
        """Renew a lease, which shows that it still is held.

        Raises:
            StoreError: somebody took it over, or the service does not answer.
        """
        if (lease := self._leases.get(handle)) is not None:
            lease.renew()

    def fill(self, handle: int, data: bytes) -> None:
        """Write into a lease who holds it."""
        self._leases[handle].say(data)

    def lock_holder(self, path: Place) -> tuple[bytes, datetime]:
        """Return who holds a lease, and since when."""
        return holder(self._bucket.get(_key(path)))

    # what a file system needs and an object store does not

    def make_folder(self, path: Place) -> None:
        """Do nothing: a prefix need not be made."""

    def sync_file(self, path: Place) -> None:
        """Do nothing: a put that returned lasts."""

    def sync_folder(self, path: Place) -> None:
        """Do nothing: a put that returned lasts."""

    def truncate(self, path: Place, size: int) -> None:
        """Cut an object to its first `size` bytes."""
        self.rewrite(path, lambda before: (before or b"")[:size])

    def protect(self, path: Place) -> None:
        """Do nothing: what must not change is held by its digest; see the how-to for object locks."""

    def unprotect(self, path: Place) -> None:
        """Do nothing."""

    def is_protected(self, path: Place) -> bool:
        """Say yes: there is nothing to put right."""
        del path
        return True

    def free(self, path: Place) -> int:
        """Return a number without an end."""
        del path
        return sys.maxsize

    def _draft_of(self, path: Place) -> dict[str, bytes] | None:
        for room, draft in tuple(self._drafts.items()):
            if str(path).startswith(f"{room}/"):
                return draft
        return None


def _key(path: Place) -> str:
    if not isinstance(path, Remote):
        raise TypeError(f"{path} is a folder of this machine: take the disk that disk_for returns for it")
    return path.key

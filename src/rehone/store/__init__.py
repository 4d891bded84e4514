"""Keep versions and the deployment log in a folder that is whole after a crash at any point.

The folder may be an address in an object store: then nothing is in `tmp`, `current` is a small
object, `lock` a lease, and a version is there once its manifest is (see `rehone.objects`).

```
FORMAT                        what this folder is
versions/<sha256>/            read-only; named by the SHA-256 of their manifest.json
  <key>.sig                   signature of that id, if there is one; not named in the manifest
deployments/0000000042.json   append-only; the last record says what is live
replicas/<name>.json          heartbeat of each server
shadow.json                   the challenger that servers score beside the champion, if any
current -> versions/<sha256>  derived, for people
lock                          held by the run that is under way
tmp/                          what is being written
```
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rehone.codec import decode, encode
from rehone.config import Config
from rehone.disk import Disk
from rehone.errors import Corrupt, Locked, StoreError
from rehone.objects import PROBE, disk_for
from rehone.places import Place
from rehone.records import Deployment, Manifest, ModelVersion, Replica, StagedShadow
from rehone.store.drafts import sweep
from rehone.store.log import DeploymentLog, Reserved, standing
from rehone.store.staged import StagedFile
from rehone.store.versions import Versions, is_version_id
from rehone.store.words import telling

__all__ = ["STORE_FORMAT", "Reserved", "Store", "has_store", "is_version_id", "standing"]

log = logging.getLogger(__name__)

STORE_FORMAT = 1
"""Raise it with a way to read the former one, and add a fixture of that to the tests."""

_FOLDERS = ("versions", "deployments", "replicas", "tmp")
_REPLICA = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}")


def has_store(config: Config) -> bool:
    """Say whether anything is where the store of a project should be.

    Raises:
        StoreError: it is in an object store that cannot be asked.
    """
    place = config.store_path
    return disk_for(place, config.storage).has_bundle(place, "FORMAT")


class Store:
    """A folder of versions and the log of which of them is live.

    `disk` is how its place is reached; left out, it is a folder of this machine.

    Raises:
        StoreError: there is no store at `root`, or one of a later format.
    """

    def __init__(self, root: Place, *, disk: Disk | None = None) -> None:
        self.root = root
        self.disk = disk or Disk()
        self._versions = Versions(self.root, self.disk)
        self._log = DeploymentLog(self.root, self.disk)
        self._staged = StagedFile(self.root, self.disk)
        self._holds = 0
        self._handle: int | None = None
        self._refuse_foreign()

    @classmethod
    def create(cls, root: Place, *, disk: Disk | None = None) -> Store:
        """Open the store at `root`, making it first if nothing is there.

        Raises:
            StoreError: the folder holds something else, or cannot be written.
        """
        disk = disk or Disk()
        with telling(disk, root, "making a store"):
            disk.prove(root)
            if not disk.is_file(root / "FORMAT"):
                _make(root, disk)
        return cls(root, disk=disk)

    @classmethod
    def of(cls, config: Config, *, make: bool = False) -> Store:
        """Open the store of a project, making it first if `make` says so and nothing is there.

        Raises:
            StoreError: as `Store` and `create`.
        """
        place = config.store_path
        return (cls.create if make else cls)(place, disk=disk_for(place, config.storage))

    def _refuse_foreign(self) -> None:
        with telling(self.disk, self.root, "opening the store"):
            try:
                text = self.disk.read(self.root / "FORMAT").decode("ascii", "replace")
            except (FileNotFoundError, NotADirectoryError):
                raise StoreError(
                    f"{self.root} is not a store (it has no FORMAT file): run `rehone run` to make one, or set "
                    "project.store to the right folder"
                ) from None
        match = re.fullmatch(r"rehone store (\d{1,9})\n?", text)
        if match is None:
            raise Corrupt(f"{self.root / 'FORMAT'} says {text[:40]!r}: it should be 'rehone store {STORE_FORMAT}'")
        if int(match[1]) > STORE_FORMAT:
            raise StoreError(
                f"the store {self.root} is of format {match[1]}, this Rehone reads up to {STORE_FORMAT}: upgrade Rehone"
            )

    # versions

    def publish(
        self,
        manifest: Manifest,
        files: Mapping[str, bytes],
        *,
        sign: Callable[[str], tuple[str, bytes]] | None = None,
    ) -> ModelVersion:
        """Store files as a version; digests are put into the manifest; the same content gives the same id.

        `sign` takes the id and returns the id of a key and its signature, which is laid beside
        the manifest. Content that was there unsigned is signed now.

        Raises:
            StoreError: the disk is full, read-only or broken; nothing was published.
            Corrupt: what was read back is not what was written.
        """
        return self._versions.publish(manifest, files, sign)

    def sign(self, version: str, key: str, signature: bytes) -> None:
        """Lay a signature beside the manifest of a version that is whole; one by the same key is replaced.

        Raises:
            NotFound: there is no such version.
            Corrupt: it is damaged, and nobody should vouch for it.
            StoreError: the disk does not allow it.
        """
        self._versions.sign(version, key, signature)

    def signatures(self, version: str) -> dict[str, bytes]:
        """Return the signatures of a version by the id of their key; whether they hold is not looked at.

        Raises:
            NotFound: there is no such version.
        """
        return self._versions.signatures(version)

    def version(self, wanted: str) -> ModelVersion:
        """Return a version by its id or any unique beginning of it.

        Raises:
            NotFound: no version begins so.
            StoreError: several do.
            Corrupt: its manifest is damaged.
        """
        return self._versions.version(wanted)

    def versions(self) -> tuple[ModelVersion, ...]:
        """Return every version whose manifest is intact, oldest first.

        Raises:
            Unreachable: the object store does not say of each whether it is.
        """
        return self._versions.all()

    def read(self, wanted: str) -> dict[str, bytes]:
        """Return the files of a version, each read once and equal to its digest.

        Raises:
            NotFound: there is no such version.
            Corrupt: a file is missing or differs; all that is wrong is listed.
        """
        return self._versions.read(wanted)

    # what is live

    def log(self) -> tuple[Deployment, ...]:
        """Return every deployment, oldest first.

        Raises:
            Corrupt: a record is missing or damaged, or does not follow from the one before.
        """
        return self._log.records()

    def head(self) -> Deployment | None:
        """Return the last deployment, which says what is live; `None` when there never was one.

        Raises:
            Corrupt: a record is missing, or the last one is damaged. That is never "no champion".
        """
        return self._log.head()

    def append(self, deployment: Deployment, *, expect_generation: int) -> Deployment:
        """Write the next record; `generation` and `previous` are filled in.

        Raises:
            Conflict: the log does not end at `expect_generation` any more.
            NotFound: the version is not in this store.
            StoreError: the disk is full, read-only or broken, or the run lock was lost meanwhile.
        """
        self._confirm()
        if deployment.version is not None:
            self.version(deployment.version)
        return self._log.append(deployment, expect_generation=expect_generation)

    @contextlib.contextmanager
    def reserve(self, deployment: Deployment, *, generation: int) -> Iterator[Reserved]:
        """Write a record out of sight whose `commit` needs no more space, for use when the disk is full."""
        with self._log.reserve(deployment, generation=generation) as reserved:
            yield reserved

    # servers

    def beat(self, replica: Replica) -> None:
        """Write the heartbeat of a server.

        Raises:
            StoreError: it cannot be written.
        """
        path = self._heartbeat(replica.name)
        with telling(self.disk, self.root, f"writing the heartbeat of {replica.name}", needed=1000):
            self.disk.make_folder(path.parent)
            self.disk.replace(path, encode(replica), lasting=False)

    def replicas(self) -> tuple[Replica, ...]:
        """Return the last heartbeat of every server, dead ones too; unreadable ones are left out."""
        folder = self.root / "replicas"
        found = []
        with telling(self.disk, self.root, "reading heartbeats"):
            for name in self.disk.names(folder):
                if name.startswith(".") or not name.endswith(".json"):
                    continue
                try:
                    found.append(decode(self.disk.read(folder / name), Replica, source=str(folder / name)))
                except FileNotFoundError:
                    continue  # retired since the listing
                except Corrupt as error:  # cut short by a power cut, which its server did not outlive
                    log.warning("heartbeat left out", extra={"replica": name, "why": str(error)})
        return tuple(found)

    def retire(self, name: str) -> None:
        """Remove the heartbeat of a server that is leaving.

        Raises:
            StoreError: it cannot be removed.
        """
        path = self._heartbeat(name)
        with telling(self.disk, self.root, f"retiring {name}"):
            self.disk.forget(path)

    def _heartbeat(self, name: str) -> Place:
        if not _REPLICA.fullmatch(name):
            raise StoreError(f"{name!r} cannot name a replica: use letters, digits and . _ : -")
        return self.root / "replicas" / f"{name}.json"

    # what is scored beside the champion

    def stage(self, staged: StagedShadow) -> None:
        """Let every server score a challenger beside the champion, in place of any other.

        Raises:
            NotFound: the version is not in this store.
            StoreError: it cannot be written.
        """
        self.version(staged.version)
        self._staged.write(staged)

    def staged(self) -> StagedShadow | None:
        """Return the challenger that is staged, though its deadline may have passed; `None` when none is.

        Raises:
            Corrupt: the file is damaged.
        """
        return self._staged.read()

    def unstage(self, run_id: str | None = None) -> bool:
        """Take away what this run has staged, or whatever is; tell whether there was anything.

        Raises:
            StoreError: the disk does not allow it.
        """
        return self._staged.remove(run_id)

    # one run at a time

    @property
    def held(self) -> bool:
        """Whether this object holds the run lock."""
        return self._holds > 0

    @contextlib.contextmanager
    def lock(self, who: str) -> Iterator[None]:
        """Hold the run lock inside the block; a dead process cannot hold it.

        Taken again through the same object it is simply kept.

        Raises:
            Locked: another process, or another `Store` object, holds it; the message says who.
            StoreError: the lock file cannot be opened.
        """
        handle = None if self._holds else self._take(who)
        if handle is not None:
            self._handle = handle
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if handle is not None:
                self._handle = None
                self.disk.release(handle)

    def _confirm(self) -> None:
        """Refuse to go on where the run lock was held and is not any more."""
        if self._handle is not None:
            with telling(self.disk, self.root, "making sure of the run lock"):
                self.disk.confirm(self._handle)

    def _take(self, who: str) -> int:
        path = self.root / "lock"
        with telling(self.disk, self.root, "taking the run lock"):
            handle = self.disk.lock_file(path)
            if handle is None:
                raise Locked(
                    f"another run is under way: {self._holder(path)}: wait for it to end, or stop that process"
                )
        try:
            with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
                self.disk.fill(handle, encode(_Holder(who, os.getpid(), socket.gethostname())))
        except BaseException:  # Ctrl-C here must not leave the lock taken
            self.disk.release(handle)
            raise
        return handle

    def _holder(self, path: Place) -> str:
        try:
            said, since = self.disk.lock_holder(path)
            holder = decode(said, _Holder, source=str(path))
        except (OSError, Corrupt):
            return f"somebody holds {path} and has not said who"
        return f"{holder.who} (pid {holder.pid} on {holder.host}) since {since:%Y-%m-%d %H:%M:%S} UTC"

    # upkeep

    def repair(self) -> tuple[str, ...]:
        """Put right what a killed process left behind, and say what that was.

        Raises:
            Corrupt: the log is damaged, which only a backup can put right.
            StoreError: the store cannot be written.
        """
        said = []
        with telling(self.disk, self.root, "repairing the store"):
            for folder in _FOLDERS:
                if folder != "deployments":
                    self.disk.make_folder(self.root / folder)
            if self._log.point():
                said.append("`current` did not point to the live version and now does")
            if swept := sweep(self.disk, self.root / "tmp"):
                said.append(f"{swept} unfinished {'draft was' if swept == 1 else 'drafts were'} removed from tmp")
            if loose := self._versions.protect():
                said.append(f"{loose} {'version was' if loose == 1 else 'versions were'} made read-only")
            if begun := self._versions.sweep():
                said.append(f"{begun} unfinished {'version was' if begun == 1 else 'versions were'} removed")
        return tuple(said)

    def collect(self, keep: int, *, also: Iterable[str] = ()) -> tuple[str, ...]:
        """Remove versions that nobody needs, and return their ids.

        Kept are the live version, the `keep` newest that a rollback may return to, what any
        heartbeat names, the `keep` newest published ones, what `also` names, and any that is
        being read.

        Raises:
            Locked: a run is under way elsewhere.
            StoreError: the log is damaged, or the disk does not allow it.
        """
        with self.lock("clean-up"):
            needed = self._needed(keep) | set(also)
            return tuple(v for v in self._versions.ids() if v not in needed and self._remove(v))

    def _remove(self, version: str) -> bool:
        self._confirm()
        return self._versions.remove(version)

    def _needed(self, keep: int) -> set[str]:
        records = self.log()
        newest = [version.id for version in self.versions()]
        named = {replica.version for replica in self.replicas()} | {records[-1].version if records else None}
        return {v for v in named if v} | set(standing(records)[-keep:]) | set(newest[-keep:])


@dataclass(frozen=True)
class _Holder:
    who: str
    pid: int
    host: str


def _make(root: Place, disk: Disk) -> None:
    disk.make_folder(root)
    others = [n for n in disk.names(root) if n not in _FOLDERS and not n.startswith((".FORMAT.", PROBE))]
    if others or disk.names(root / "deployments") or disk.names(root / "versions"):
        raise StoreError(
            f"{root} holds other files ({', '.join(others[:3]) or 'versions or deployments without FORMAT'}) and is not "
            "a store: set project.store to an empty folder, or put FORMAT back"
        )
    for folder in _FOLDERS:
        disk.make_folder(root / folder)
    disk.sync_folder(root)
    disk.replace(root / "FORMAT", f"rehone store {STORE_FORMAT}\n".encode())
    disk.sync_folder(root.parent)

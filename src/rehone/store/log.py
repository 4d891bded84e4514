"""Keep the append-only deployment log: its last record, and nothing else, says what is live."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rehone.codec import decode, encode
from rehone.disk import Disk
from rehone.errors import Conflict, Corrupt, StoreError
from rehone.places import Place
from rehone.records import Deployment, DeploymentAction, DeploymentState, short_id
from rehone.store.drafts import draft_folder
from rehone.store.versions import is_version_id
from rehone.store.words import telling

log = logging.getLogger(__name__)

RECORD_FORMAT = 1
_NAME = re.compile(r"([0-9]{10})\.json")


def standing(records: Sequence[Deployment]) -> tuple[str, ...]:
    """Return the versions that a rollback may return to, the confirmed one that stands now last.

    A rollback takes the versions above its target away, so that a second rollback goes on
    backwards and never returns to what people rolled away from.
    """
    stack: list[str] = []
    for record in records:
        version = record.version
        if record.state is not DeploymentState.CONFIRMED or version is None:
            continue
        if version in stack:
            place = stack.index(version)
            del stack[place : None if record.action is DeploymentAction.ROLLBACK else place + 1]
        stack.append(version)
    return tuple(stack)


@dataclass(frozen=True)
class Reserved:
    """A record that is already on the device; committing it needs no more space."""

    commit: Callable[[], Deployment]


@dataclass(frozen=True)
class DeploymentLog:
    """The folder `deployments` of a store, and the link `current` that is derived from it."""

    root: Place
    disk: Disk

    @property
    def folder(self) -> Place:
        return self.root / "deployments"

    @property
    def current(self) -> Place:
        return self.root / "current"

    def records(self) -> tuple[Deployment, ...]:
        """Return every record, oldest first.

        Raises:
            Corrupt: a record is missing or damaged, or does not follow from the one before.
        """
        paths = [self._path(generation) for generation in range(1, self._last() + 1)]
        with telling(self.disk, self.root, "reading the deployment log"):
            texts = self.disk.read_all(paths)
        found = tuple(self._checked(generation, text) for generation, text in enumerate(texts, 1))
        live = None
        for record in found:
            if record.previous != live:
                raise Corrupt(
                    f"{self._path(record.generation)} follows version {short_id(record.previous)}, but version "
                    f"{short_id(live)} was live before it: the log was edited or mixed with another one, "
                    "put deployments/ back from a backup"
                )
            live = record.version
        return found

    def head(self) -> Deployment | None:
        """Return the last record, or `None` when nothing was ever deployed.

        Raises:
            Corrupt: a record is missing, or the last one is damaged.
        """
        last = self._last()
        return self._record(last) if last else None

    def _last(self) -> int:
        with telling(self.disk, self.root, "reading the deployment log"):
            numbers = {int(m[1]) for name in self.disk.names(self.folder) if (m := _NAME.fullmatch(name))}
            last = max(numbers, default=0)
            # A listing may miss a record that was linked while it was made: look again before crying.
            gaps = [g for g in range(1, last + 1) if g not in numbers and not self.disk.is_file(self._path(g))]
        if not last:
            self._refuse_loss()
        if gaps:
            raise Corrupt(
                f"the deployment log ends at generation {last} but generation {gaps[0]} is missing "
                f"({len(gaps)} in all): put {self._path(gaps[0])} back from a backup; until then nothing is deployed"
            )
        return last

    def _refuse_loss(self) -> None:
        if not self.disk.is_folder(self.folder):
            raise Corrupt(f"{self.folder} is missing: put it back from a backup; it says which version is live")
        if (led := self.disk.pointed(self.current)) is not None:
            raise Corrupt(
                f"{self.folder} is empty although {self.current} points to {led}: the records were "
                "removed, put them back from a backup"
            )

    def _path(self, generation: int) -> Place:
        return self.folder / f"{generation:010d}.json"

    def _record(self, generation: int) -> Deployment:
        with telling(self.disk, self.root, f"reading deployment {generation}"):
            return self._checked(generation, self.disk.read(self._path(generation)))

    def _checked(self, generation: int, text: bytes) -> Deployment:
        path = self._path(generation)
        record = decode(text, Deployment, source=str(path))
        if record.format > RECORD_FORMAT:
            raise StoreError(
                f"{path} is of format {record.format}, this Rehone reads up to {RECORD_FORMAT}: upgrade Rehone"
            )
        if record.generation != generation or (record.version is not None and not is_version_id(record.version)):
            raise Corrupt(
                f"{path} says generation {record.generation} and version {record.version!r}: the file was changed, "
                "put it back from a backup"
            )
        return record

    def append(self, deployment: Deployment, *, expect_generation: int) -> Deployment:
        """Write the next record, if the log still ends where the caller saw it end.

        Raises:
            Conflict: somebody else wrote a record meanwhile.
            StoreError: the disk is full, read-only or broken.
        """
        head = self.head()
        if (head.generation if head else 0) != expect_generation:
            raise self._conflict(expect_generation)
        following = replace(deployment, previous=head.version if head else None)
        with self.reserve(following, generation=expect_generation + 1) as reserved:
            return reserved.commit()

    @contextlib.contextmanager
    def reserve(self, deployment: Deployment, *, generation: int) -> Iterator[Reserved]:
        """Write a record out of sight, so that committing it later is one link and needs no space.

        `commit` raises `Conflict` when that generation is taken. The caller sees to it that the
        record before it exists.
        """
        record = replace(deployment, generation=generation)
        data = encode(record)
        with contextlib.ExitStack() as room:
            with telling(self.disk, self.root, f"writing deployment {generation}", needed=len(data)):
                draft = room.enter_context(draft_folder(self.disk, self.root / "tmp")) / "record.json"
                self.disk.write(draft, data)
                self.disk.protect(draft)
            yield Reserved(lambda: self._commit(draft, record))

    def _commit(self, draft: Place, record: Deployment) -> Deployment:
        with telling(self.disk, self.root, f"writing deployment {record.generation}"):
            try:
                self.disk.link(draft, self._path(record.generation))
            except FileExistsError:
                raise self._conflict(record.generation - 1) from None
        try:
            self.disk.sync_folder(self.folder)
        except OSError as error:
            raise StoreError(
                f"deployment {record.generation} is in the log but may not outlive a power cut ({error.strerror}): "
                f"look at the disk that holds {self.root}"
            ) from error
        self._follow()
        return record

    def _conflict(self, expected: int) -> Conflict:
        head = self.head()
        if head is None:
            return Conflict(f"the log is empty, generation {expected} was expected: look again at what is live")
        return Conflict(
            f"generation {expected} was expected to be the last, but generation {head.generation} "
            f"({head.action} of version {short_id(head.version)} by {head.actor} at {head.at:%Y-%m-%d %H:%M:%S %Z}) "
            "is: judge again against what is live now"
        )

    def _follow(self) -> None:
        try:
            self.point()
        except (OSError, StoreError) as error:  # the record is committed; the link is only for people
            log.warning("current not updated", extra={"store": str(self.root), "why": str(error)})

    def point(self) -> bool:
        """Let `current` point to the live version, and tell whether it did not.

        Raises:
            OSError: the link cannot be changed.
        """
        changed = False
        for _ in range(5):  # somebody may append meanwhile
            head = self.head()
            if self._points_to(head.version if head else None):
                break
            changed = True
            self._set(head.version if head else None)
        return changed

    def _points_to(self, version: str | None) -> bool:
        led = self.disk.pointed(self.current)
        if version is None:
            return led is None and not self.disk.is_real_folder(self.current)
        return led == f"versions/{version}"

    def _set(self, version: str | None) -> None:
        if self.disk.is_real_folder(self.current):  # a copy of the store that followed links
            self.disk.remove_tree(self.current)
        if version is None:
            self.disk.unlink(self.current)
        else:
            with draft_folder(self.disk, self.root / "tmp") as room:
                self.disk.symlink(f"versions/{version}", room / "current")
                self.disk.rename(room / "current", self.current)
        self.disk.sync_folder(self.root)

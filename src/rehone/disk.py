"""Make every change to a file that matters in one small object, so that a test can crash each.

`Disk` is what the store and the run log read and write through. A test replaces it by one that
stops at the k-th call, which is how the promise "the old or the new version, whole" is held;
`rehone.objects` replaces it by one that does the same to an object store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from rehone.places import Place


class Disk:
    """The file operations of a POSIX system, each durable when it returns where it says so."""

    settings: Mapping[str, object] = MappingProxyType({})
    """How it was set up, for a process that is to reach the same; nothing for a file system."""

    def prove(self, place: Place) -> None:
        """Make sure that this disk keeps what the calls below promise; a file system does.

        Raises:
            StoreError: an object store does not.
        """

    def make_folder(self, path: Place) -> None:
        """Create `path` and its parents if they are missing."""
        _local(path).mkdir(parents=True, exist_ok=True)

    def write(self, path: Place, data: bytes, *, lasting: bool = True) -> None:
        """Write a new file and, unless it need not last, force its bytes to the device.

        Raises:
            FileExistsError: there is a file of that name.
        """
        handle = os.open(_local(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(file.fileno())

    def append(self, path: Place, data: bytes) -> None:
        """Add bytes at the end of a file, creating it if need be, and force them to the device."""
        with _local(path).open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def truncate(self, path: Place, size: int) -> None:
        """Cut a file to its first `size` bytes."""
        with _local(path).open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def extend(self, path: Place, more: Callable[[bytes], bytes]) -> None:
        """Add at the end of a file of lines what `more` makes of all lines before, with nobody in between.

        A last line that a crash cut short is removed first, and not shown to `more`.
        """
        folder = _local(path).parent
        handle = os.open(folder / f".{_local(path).stem}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            before = b""
            with contextlib.suppress(FileNotFoundError):
                before = self.read(path)
            whole = before[: before.rfind(b"\n") + 1]
            added = more(whole)
            if whole != before:
                self.truncate(path, len(whole))
            if added:
                self.append(path, added)
                self.sync_folder(folder)
        finally:
            os.close(handle)

    def rewrite(self, path: Place, make: Callable[[bytes | None], bytes]) -> None:
        """Replace a file by what `make` makes of its bytes, or of `None` when there is no such file.

        Between reading and replacing nobody else may write it: here the caller sees to that, in an
        object store the put is on that condition, and `make` is asked again when it did not hold.
        """
        before = None
        with contextlib.suppress(FileNotFoundError):
            before = self.read(path)
        self.replace(path, make(before))

    def sync_file(self, path: Place) -> None:
        """Force the bytes of a file that others wrote to the device."""
        with _local(path).open("rb") as file:
            os.fsync(file.fileno())

    def sync_folder(self, path: Place) -> None:
        """Force the names in a folder to the device."""
        handle = os.open(_local(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, source: Place, target: Place) -> None:
        """Give a file or folder another name at once, replacing a file of that name."""
        _local(source).rename(_local(target))

    def link(self, source: Place, target: Place) -> None:
        """Give a file a second name, if nobody has that name yet: a put-if-absent.

        Raises:
            FileExistsError: somebody has the name.
        """
        os.link(_local(source), _local(target))

    def symlink(self, target: str, path: Place) -> None:
        """Make a symbolic link named `path`."""
        _local(path).symlink_to(target)

    def pointed(self, path: Place) -> str | None:
        """Return where a symbolic link leads; `None` when there is no such link."""
        return str(_local(path).readlink()) if _local(path).is_symlink() else None

    def protect(self, path: Place) -> None:
        """Make a file or a folder read-only."""
        _local(path).chmod(0o555 if _local(path).is_dir() else 0o444)

    def unprotect(self, path: Place) -> None:
        """Let its owner change a file or a folder again."""
        _local(path).chmod(0o755 if _local(path).is_dir() else 0o644)

    def is_protected(self, path: Place) -> bool:
        """Say whether a file or a folder is read-only."""
        return not _local(path).stat().st_mode & 0o222

    def claim(self, folder: Place) -> tuple[Place, int] | None:
        """Make an empty folder of a new name in `folder` and lock it, for what is not to be seen yet.

        `None` when somebody took it away between the two calls.
        """
        room = folder / secrets.token_hex(8)
        self.make_folder(room)
        handle = None
        with contextlib.suppress(FileNotFoundError):
            handle = self.lock_folder(room)
        if handle is None:
            return None
        there = False
        try:
            there = self.is_folder(room)
        finally:
            if not there:
                self.release(handle)
        return (room, handle) if there else None

    def lock_file(self, path: Place) -> int | None:
        """Take the lock of a file, made if need be, for oneself; `None` when it is taken.

        The lock is let go by `release` of what is returned, and by the death of the process.
        """
        return _lock(os.open(_local(path), os.O_RDWR | os.O_CREAT, 0o644), fcntl.LOCK_EX)

    def lock_folder(self, path: Place, *, shared: bool = False) -> int | None:
        """Take the lock of a folder as `lock_file` does; many may share one that nobody has for himself.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        handle = os.open(_local(path), os.O_RDONLY | os.O_DIRECTORY)
        return _lock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def release(self, handle: int) -> None:
        """Let go of a lock."""
        os.close(handle)

    def confirm(self, handle: int) -> None:
        """Make sure that a lock of `lock_file` still is held, before something is made final.

        Raises:
            StoreError: somebody took it over, which only the lease of an object store allows.
        """

    def fill(self, handle: int, data: bytes) -> None:
        """Replace what is in the file of a lock."""
        os.ftruncate(handle, 0)
        os.pwrite(handle, data, 0)

    def lock_holder(self, path: Place) -> tuple[bytes, datetime]:
        """Return what the file of a lock was filled with, and when."""
        return self.read(path), datetime.fromtimestamp(_local(path).stat().st_mtime, UTC)

    def unlink(self, path: Place) -> None:
        """Remove a file; a missing one is fine."""
        _local(path).unlink(missing_ok=True)

    def forget(self, path: Place) -> None:
        """Remove a file, and what a killed `replace` of it left behind."""
        for left in (_local(path), *_local(path).parent.glob(f".{path.name}.*.new")):
            self.unlink(left)

    def remove_tree(self, path: Place) -> None:
        """Remove a folder and all that is in it, read-only files too; a missing one is fine."""
        for folder, _, _ in os.walk(_local(path)):
            with contextlib.suppress(FileNotFoundError):
                Path(folder).chmod(0o700)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(_local(path))

    def replace(self, path: Place, data: bytes, *, lasting: bool = True) -> None:
        """Put new bytes under a name at once: a reader sees the old file or the new one, whole.

        What need not outlive a power cut is written with `lasting=False`, without waiting for
        the device.
        """
        draft = path.with_name(f".{path.name}.{os.getpid()}.new")
        self.unlink(draft)
        try:
            self.write(draft, data, lasting=lasting)
            self.rename(draft, path)
        except OSError:
            self.unlink(draft)
            raise
        if lasting:
            self.sync_folder(path.parent)

    def read(self, path: Place) -> bytes:
        """Return the bytes of a file, read once."""
        return _local(path).read_bytes()

    def read_all(self, paths: Sequence[Place]) -> list[bytes]:
        """Return the bytes of several files, in their order."""
        return [self.read(path) for path in paths]

    def names(self, path: Place) -> list[str]:
        """List what is in a folder, sorted; a missing folder is empty."""
        try:
            return sorted(os.listdir(_local(path)))
        except FileNotFoundError:
            return []

    def below(self, path: Place, levels: int) -> list[str]:
        """List the files in a folder and in folders in it, linked ones too, by their path from there, sorted.

        At `levels` 1 they are those of the folder itself.
        """
        root, found = _local(path), list[str]()
        for at, folders, names in os.walk(root, followlinks=True):
            inside = Path(at).relative_to(root)
            before = "".join(f"{part}/" for part in inside.parts)
            found += [f"{before}{name}" for name in names]
            if len(inside.parts) + 1 >= levels:
                folders.clear()  # which also ends a circle of links
        return sorted(found)

    def is_file(self, path: Place) -> bool:
        """Say whether there is a file of that name."""
        return _local(path).is_file()

    def is_folder(self, path: Place) -> bool:
        """Say whether there is such a folder; in an object store there is every folder."""
        return _local(path).is_dir()

    def is_real_folder(self, path: Place) -> bool:
        """Say whether there is such a folder itself, not a link to one; an object store has none."""
        return _local(path).is_dir() and not _local(path).is_symlink()

    def has_bundle(self, folder: Place, seal: str) -> bool:
        """Say whether there is a folder that was written as a whole.

        It got its name at once here; in an object store it is there once its `seal` is, the file
        that is written last and removed first.
        """
        del seal
        return _local(folder).exists()

    def bundles(self, path: Place, seal: str) -> list[str]:
        """List the names in `path` of what was written as a whole, as `has_bundle` says."""
        del seal
        return self.names(path)

    def remove_bundle(self, folder: Place, seal: str, room: Place) -> None:
        """Take a whole folder away at once, through the draft folder `room`."""
        del seal
        self.unprotect(folder)
        self.rename(folder, room / folder.name)
        self.sync_folder(folder.parent)

    def sweep_bundles(self, path: Place, seal: str, named: Callable[[str], bool]) -> int:
        """Remove what was begun in `path` long ago and never sealed, and return how many there were.

        Only what `named` says yes to is looked at.
        """
        del path, seal, named
        return 0

    def free(self, path: Place) -> int:
        """Return how many bytes this user may still write where `path` lies."""
        found = os.statvfs(_local(path))
        return found.f_bavail * found.f_frsize


def _local(path: Place) -> Path:
    if not isinstance(path, Path):
        raise TypeError(f"{path} is an address in an object store: take the disk that rehone.objects.disk_for returns")
    return path


def _lock(handle: int, kind: int) -> int | None:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle

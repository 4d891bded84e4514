"""Make every change to a file that matters in one small object, so that a test can crash each.

`Disk` is what the store and the run log write through. A test replaces it by one that
stops at the k-th call, which is how the promise "the old or the new version, whole" is held.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path


class Disk:
    """The file operations of a POSIX system, each durable when it returns where it says so."""

    def make_folder(self, path: Path) -> None:
        """Create `path` and its parents if they are missing."""
        path.mkdir(parents=True, exist_ok=True)

    def write(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
        """Write a new file and, unless it need not last, force its bytes to the device.

        Raises:
            FileExistsError: there is a file of that name.
        """
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(file.fileno())

    def append(self, path: Path, data: bytes) -> None:
        """Add bytes at the end of a file, creating it if need be, and force them to the device."""
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to its first `size` bytes."""
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def sync_file(self, path: Path) -> None:
        """Force the bytes of a file that others wrote to the device."""
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def sync_folder(self, path: Path) -> None:
        """Force the names in a folder to the device."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name at once, replacing a file of that name."""
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, if nobody has that name yet: a put-if-absent.

        Raises:
            FileExistsError: somebody has the name.
        """
        os.link(source, target)

    def symlink(self, target: str, path: Path) -> None:
        """Make a symbolic link named `path`."""
        path.symlink_to(target)

    def protect(self, path: Path) -> None:
        """Make a file or a folder read-only."""
        path.chmod(0o555 if path.is_dir() else 0o444)

    def unprotect(self, path: Path) -> None:
        """Let its owner change a file or a folder again."""
        path.chmod(0o755 if path.is_dir() else 0o644)

    def lock_file(self, path: Path) -> int | None:
        """Take the lock of a file, made if need be, for oneself; `None` when it is taken.

        The lock is let go by `os.close` of what is returned, and by the death of the process.
        """
        return _lock(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), fcntl.LOCK_EX)

    def lock_folder(self, path: Path, *, shared: bool = False) -> int | None:
        """Take the lock of a folder as `lock_file` does; many may share one that nobody has for himself.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        return _lock(os.open(path, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def fill(self, handle: int, data: bytes) -> None:
        """Replace what is in an open file."""
        os.ftruncate(handle, 0)
        os.pwrite(handle, data, 0)

    def unlink(self, path: Path) -> None:
        """Remove a file; a missing one is fine."""
        path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        """Remove a folder and all that is in it, read-only files too; a missing one is fine."""
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(FileNotFoundError):
                Path(folder).chmod(0o700)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def replace(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
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

    def read(self, path: Path) -> bytes:
        """Return the bytes of a file, read once."""
        return path.read_bytes()

    def names(self, path: Path) -> list[str]:
        """List what is in a folder, sorted; a missing folder is empty."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def free(self, path: Path) -> int:
        """Return how many bytes this user may still write where `path` lies."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize


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

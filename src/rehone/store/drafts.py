"""Keep what is being written out of sight, in folders that a dead process cannot hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rehone.disk import Disk
from rehone.errors import StoreError
from rehone.places import Place


@contextlib.contextmanager
def draft_folder(disk: Disk, tmp: Place) -> Iterator[Place]:
    """Lend an empty folder in `tmp` that is removed at the end, whatever happens inside."""
    room, handle = _claim(disk, tmp)
    try:
        yield room
    finally:
        try:
            with contextlib.suppress(OSError):  # what is left is swept by the next repair
                disk.remove_tree(room)
        finally:
            disk.release(handle)


def _claim(disk: Disk, tmp: Place) -> tuple[Place, int]:
    for _ in range(20):
        if (claimed := disk.claim(tmp)) is not None:
            return claimed
    raise StoreError(f"no draft folder could be kept in {tmp}: another process keeps emptying it, find out which")


def sweep(disk: Disk, tmp: Place) -> int:
    """Remove the folders whose owners are dead, and return how many there were."""
    return sum(_swept(disk, tmp / name) for name in disk.names(tmp))


def _swept(disk: Disk, room: Place) -> bool:
    try:
        handle = disk.lock_folder(room)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if handle is None:
        return False
    try:
        disk.remove_tree(room)
    finally:
        disk.release(handle)
    return True

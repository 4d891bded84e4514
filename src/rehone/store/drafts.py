"""Keep what is being written out of sight, in folders that a dead process cannot hold."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from rehone.disk import Disk
from rehone.errors import StoreError


@contextlib.contextmanager
def draft_folder(disk: Disk, tmp: Path) -> Iterator[Path]:
    """Lend an empty folder in `tmp` that is removed at the end, whatever happens inside."""
    room, handle = _claim(disk, tmp)
    try:
        yield room
    finally:
        try:
            with contextlib.suppress(OSError):  # what is left is swept by the next repair
                disk.remove_tree(room)
        finally:
            os.close(handle)


def _claim(disk: Disk, tmp: Path) -> tuple[Path, int]:
    for _ in range(20):
        room = tmp / secrets.token_hex(8)
        disk.make_folder(room)
        handle = None
        with contextlib.suppress(FileNotFoundError):  # swept between the two calls
            handle = disk.lock_folder(room)
        if handle is None:
            continue
        if room.exists():
            return room, handle
        os.close(handle)
    raise StoreError(f"no draft folder could be kept in {tmp}: another process keeps emptying it, find out which")


def sweep(disk: Disk, tmp: Path) -> int:
    """Remove the folders whose owners are dead, and return how many there were."""
    return sum(_swept(disk, tmp / name) for name in disk.names(tmp))


def _swept(disk: Disk, room: Path) -> bool:
    try:
        handle = disk.lock_folder(room)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if handle is None:
        return False
    try:
        disk.remove_tree(room)
    finally:
        os.close(handle)
    return True

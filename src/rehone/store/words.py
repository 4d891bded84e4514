"""Say what a failing disk means for the person who has to do something about it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from rehone.disk import Disk
from rehone.errors import StoreError, Unreachable
from rehone.places import Place

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNTOUCHED = "; what is live was not touched"
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def telling(disk: Disk, root: Place, doing: str, *, needed: int = 0) -> Iterator[None]:
    """Turn a failure of the file system inside the block into a `StoreError`.

    `doing` begins the sentence ("publishing version abc"), `needed` is in bytes.

    Raises:
        StoreError: the message gives what was being done, what is missing and the remedy.
    """
    try:
        yield
    except Unreachable as error:
        raise Unreachable(f"{doing}: {str(error).removesuffix(_UNTOUCHED)}{_UNTOUCHED}") from error
    except OSError as error:
        raise StoreError(_sentence(disk, root, f"{doing}", error, needed)) from error


def _sentence(disk: Disk, root: Place, doing: str, error: OSError, needed: int) -> str:
    said = error.strerror or str(error)
    if error.errno in _FULL:
        free = _free(disk, root)
        enough = free is not None and free > needed
        also = " or files (bytes there are: see `df -i`, and the quota of this user)" if enough else ""
        return (
            f"{doing} needs {needed:,} bytes and {'an unknown number' if free is None else f'{free:,}'} are free in "
            f"{root} ({said}): free some space{also} or move project.store to a larger disk, then run again; "
            "what is live was not touched"
        )
    if error.errno in _FORBIDDEN:
        return (
            f"{doing} is not possible because {error.filename or root} cannot be written or read ({said}): "
            f"give this user access to {root} on a file system that is mounted for writing and knows hard links, "
            "then run again; what is live was not touched"
        )
    return (
        f"{doing} failed at {error.filename or root} ({said}): look at the disk that holds {root}, then run again; "
        "what is live was not touched"
    )


def _free(disk: Disk, root: Place) -> int | None:
    try:
        return disk.free(root)
    except OSError:
        return None

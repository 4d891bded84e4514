"""Ask a backend whether it keeps the conditions of a put, before anything relies on them."""

from __future__ import annotations

import contextlib
import secrets
import threading

from rehone.config import Storage
from rehone.errors import StoreError
from rehone.objects.buckets import Bucket, Changed

PROBE = ".rehone-probe-"
"""How the object that is put for a moment begins its name."""

_proved: set[tuple[str, str | None]] = set()
_one = threading.Lock()


def prove(bucket: Bucket, folder: str, storage: Storage) -> None:
    """Put a small object on both conditions and see them refused; once in a process for each bucket.

    Raises:
        StoreError: the backend lets through what it was to refuse.
    """
    asked = (bucket.address, storage.endpoint)
    if asked in _proved:
        return
    with _one:
        if asked not in _proved:
            _ask(bucket, f"{folder}/{PROBE}{secrets.token_hex(8)}".lstrip("/"))
            _proved.add(asked)


def _ask(bucket: Bucket, key: str) -> None:
    first = bucket.create(key, b"1")
    try:
        with contextlib.suppress(FileExistsError):
            bucket.create(key, b"2")
            raise _refused(bucket, "wrote an object that was to be written only if there was none", "If-None-Match")
        bucket.update(key, b"3", first)
        with contextlib.suppress(Changed):
            bucket.update(key, b"4", first)
            raise _refused(bucket, "replaced an object that was not the one read any more", "If-Match")
    finally:
        with contextlib.suppress(OSError):
            bucket.remove([key])


def _refused(bucket: Bucket, did: str, header: str) -> StoreError:
    return StoreError(
        f"{bucket.address} {did} (it ignores {header}): two runs at once could both deploy, so nothing is kept there; "
        "use Amazon S3, or a service or version that keeps conditional puts, or a folder"
    )

"""Read what lies in an object store: list it in one call, hash it once, let Polars open it where it is.

Polars reads objects with a client of its own, which asks for the byte ranges of the columns that
are needed, tries again, and tells a store that is away (an `OSError`) from a damaged file (an
error of Polars). Both clients take their credentials from the environment alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from rehone.config import Storage
from rehone.errors import SourceAway, Unreachable
from rehone.objects import place_errors, store_for
from rehone.places import Place, Remote

RETRIES: Final = 4
RETRY_SECONDS: Final = 20
CONNECT_SECONDS: Final = 5
SILENT_SECONDS: Final = 30
REQUEST_SECONDS: Final = 600

Identity: TypeAlias = tuple[int, int, int | str]


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """One object as a listing names it; `identity` is its size in bytes, its time in seconds and its tag."""

    place: Remote
    identity: Identity

    @property
    def bytes(self) -> int:
        """The size of the object."""
        return self.identity[0]

    @property
    def seconds(self) -> int:
        """When it was written, in seconds since 1970 by the clock of the store."""
        return self.identity[1]


def listed(folder: Remote, storage: Storage, *, after: str | None = None) -> list[Listed]:
    """Return all objects below an address, sorted; `after` is the name below it from which to begin.

    The empty objects that consoles and other tools make for folders are left out.

    Raises:
        OSError: the store does not answer, or does not let us in.
        StoreError: the settings cannot be used, or obstore is not installed.
    """
    store, prefix = store_for(folder, storage), folder.key
    import obstore

    offset = f"{prefix}/{after}".lstrip("/") if after else None
    with place_errors(folder, "listing"):
        found = obstore.list(store, prefix=prefix or None, offset=offset, chunk_size=1000).collect()
    files = [_listed(folder, meta) for meta in found]
    folders = {folder, *(file.place.parent for file in files)}
    return sorted(file for file in files if file.bytes or file.place not in folders)


def look_at(place: Remote, storage: Storage) -> Listed | None:
    """Return one object as a listing would name it; `None` when there is none.

    Raises:
        OSError: the store does not answer, or does not let us in.
        StoreError: the settings cannot be used, or obstore is not installed.
    """
    store = store_for(place, storage)
    import obstore

    try:
        with place_errors(place, "looking at"):
            return _listed(place, obstore.head(store, place.key))
    except FileNotFoundError:
        return None


def sha256_of(place: Remote, identity: Identity, storage: Storage) -> str | None:
    """Return the digest of an object's bytes; `None` when it is gone or is not the one that was listed.

    Raises:
        OSError: the store does not answer, or does not let us in.
        StoreError: the settings cannot be used, or obstore is not installed.
    """
    store, digest = store_for(place, storage), hashlib.sha256()
    import obstore

    try:
        with place_errors(place):
            answer = obstore.get(store, place.key)
            if _listed(place, answer.meta).identity != identity:
                return None
            for piece in answer.stream():
                digest.update(piece)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def reading(place: Place, storage: Storage) -> tuple[str, dict[str, Any]]:
    """Return how Polars is told of a file: its path or address, and how the store is reached."""
    if not isinstance(place, Remote):
        return str(place), {}
    return place.url, {"storage_options": _options(place, storage), "credential_provider": None}


def is_away(error: BaseException) -> bool:
    """Say whether a file in an object store failed because of the store, and not by its own fault."""
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError)


def away(place: Place, error: BaseException, storage: Storage) -> SourceAway:
    """Return the error that says that an object store does not answer, or does not let us read, and what to do."""
    if isinstance(error, Unreachable):
        return SourceAway(str(error))
    if isinstance(error, PermissionError):
        what, remedy = "is not allowed", "let the credentials of the environment list and read it"
    else:
        where = storage.endpoint or "the service"
        what, remedy = "failed", f"look whether {where} answers, then run again"
    return SourceAway(f"reading {place} {what} ({_first_line(error)}): {remedy}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _listed(place: Remote, meta: Mapping[str, Any]) -> Listed:
    seconds = int(meta["last_modified"].timestamp())  # what a listing says beyond seconds, an answer does not
    return Listed(Remote(place.bucket) / meta["path"], (meta["size"], seconds, meta["e_tag"] or ""))


def _options(place: Remote, storage: Storage) -> dict[str, Any]:
    options: dict[str, Any] = {
        "max_retries": RETRIES,
        "retry_timeout_ms": RETRY_SECONDS * 1000,
        "connect_timeout": f"{CONNECT_SECONDS}s",
        "read_timeout": f"{SILENT_SECONDS}s",
        "timeout": f"{REQUEST_SECONDS}s",
    }
    if storage.allow_http:
        options["allow_http"] = "true"
    if place.url.startswith("s3://"):
        given = {"aws_endpoint_url": storage.endpoint, "aws_region": storage.region}
        options |= {key: value for key, value in given.items() if value is not None}
    return options

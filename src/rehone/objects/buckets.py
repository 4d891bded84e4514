"""Read and write the objects of one bucket, and say in the words of a file system what went wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rehone.config import Storage
from rehone.errors import StoreError, Unreachable
from rehone.places import Remote

_WRITER = "rehone-writer"
"""Attribute of an object that was put on a condition: who wrote it, so that a lost answer can be told from a rival."""

_RETRIES = 3
_ATTEMPTS = 10
_DENIED = re.compile(r"status code: 40[13]\b")
_MACHINE = "169.254.169.254"
"""Where a cloud tells its machines their role; asked only when the environment has no credentials."""
_NAMELESS = "Encountered object with invalid path"
_NO_ADDRESS = "builder error"
"""What the HTTP client says of an address that it does not call at all."""
_CODE = re.compile(r"<Code>(\w+)</Code>")
_KEY: dict[tuple[str, str | None, str | None, bool], Any] = {}
"""Connections of this process, one for each bucket and way to reach it."""


class Changed(OSError):
    """An object is not any more as it was when it was read."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which state of an object was seen, for a put that is to replace that state and no other."""

    e_tag: str | None
    version: str | None

    def as_mode(self) -> dict[str, str]:
        """Return it as obstore wants it."""
        return {name: text for name in ("e_tag", "version") if (text := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it was read: its bytes, its state, and when it was written by the server's clock."""

    data: bytes
    stamp: Stamp
    modified: datetime
    writer: str | None


class Bucket:
    """One bucket, by the calls that the protocol needs; keys are without a slash at either end.

    Every method raises `FileNotFoundError` for what is not there and `Unreachable` for what the
    network or the service does not give.
    """

    def __init__(self, address: str, storage: Storage) -> None:
        self.address = address
        self._obstore = _obstore(address)
        self._store = store_for(Remote(address), storage)

    def get(self, key: str) -> Seen:
        """Return an object, read at once.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._told("reading", key):
            found = self._obstore.get(self._store, key)
            data = bytes(found.bytes())
        meta = found.meta
        return Seen(data, _stamp(meta), meta["last_modified"], found.attributes.get(_WRITER))

    def put(self, key: str, data: bytes) -> None:
        """Write an object whatever was there; a reader sees the old one or the new one, whole."""
        with self._told("writing", key):
            self._obstore.put(self._store, key, data)

    def create(self, key: str, data: bytes) -> Stamp:
        """Write an object if there is none of that key.

        Raises:
            FileExistsError: there is one, and it was not this call that wrote it.
        """
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(Changed):
                return self._put_if(key, data, "create")
            if self.has(key):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._at(key))
        raise Unreachable(  # where somebody was in the way, he is gone when looked for
            f"writing {self._at(key)} was refused {_ATTEMPTS} times because it is there, and it is not there: look at the "
            "service, and at what lies between it and this machine"
        )

    def update(self, key: str, data: bytes, stamp: Stamp) -> Stamp:
        """Write an object if it still is in the state that was seen.

        Raises:
            Changed: somebody else wrote or removed it meanwhile.
        """
        return self._put_if(key, data, stamp.as_mode())

    def _put_if(self, key: str, data: bytes, mode: str | Mapping[str, str]) -> Stamp:
        """Put on a condition; where an answer was lost and the call was made again, the first one counts."""
        writer, known = secrets.token_hex(8), self._obstore.exceptions
        unknown: Unreachable | None = None
        try:
            with self._told("writing", key):
                try:
                    put = self._obstore.put(self._store, key, data, mode=mode, attributes={_WRITER: writer})
                    return _stamp(put)
                except (known.AlreadyExistsError, known.PreconditionError):
                    pass
        except Unreachable as error:
            unknown = error
        with contextlib.suppress(FileNotFoundError):
            there = self.get(key)
            if there.writer == writer:
                return there.stamp
        raise unknown or Changed(errno.EEXIST, "somebody else wrote it meanwhile", self._at(key))

    def head(self, key: str) -> tuple[Stamp, datetime]:
        """Return the state of an object, and when it was written by the server's clock.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._told("looking at", key):
            meta = self._obstore.head(self._store, key)
        return _stamp(meta), meta["last_modified"]

    def has(self, key: str) -> bool:
        """Say whether there is an object of that key."""
        try:
            self.head(key)
        except FileNotFoundError:
            return False
        return True

    def names(self, prefix: str) -> list[str]:
        """List what is directly below a prefix, objects and further prefixes, sorted."""
        with self._told("listing", prefix):
            found = self._obstore.list_with_delimiter(self._store, prefix or None)
        keys = {*found["common_prefixes"], *(meta["path"] for meta in found["objects"])}
        return sorted(key.rpartition("/")[2] for key in keys - {prefix})

    def below(self, prefix: str) -> dict[str, datetime]:
        """Return the keys of all objects below a prefix, without it, and when each was written; sorted.

        The empty object that consoles and other tools make for a folder itself is left out.
        """
        with self._told("listing", prefix):
            found = self._obstore.list(self._store, prefix or None, chunk_size=1000).collect()
        cut = len(prefix) + 1 if prefix else 0
        return dict(sorted((meta["path"][cut:], meta["last_modified"]) for meta in found if meta["path"] != prefix))

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; missing ones are fine."""
        with self._told("removing", keys[0] if keys else ""), contextlib.suppress(FileNotFoundError):
            if keys:
                self._obstore.delete(self._store, list(keys))

    def _at(self, key: str) -> str:
        return str(Remote(f"{self.address}/{key}"))

    def _told(self, doing: str, key: str) -> contextlib.AbstractContextManager[None]:
        return place_errors(Remote(f"{self.address}/{key}"), doing)


@contextlib.contextmanager
def place_errors(place: Remote, doing: str = "reading") -> Iterator[None]:
    """Say what obstore raises inside the block in the words of a file system.

    Raises:
        FileNotFoundError: there is no such object.
        Unreachable: the service does not answer, does not let us in, or has no such bucket.
    """
    known = _obstore(place.url).exceptions
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _no_bucket(place) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place)) from None
    except known.BaseError as error:
        if "NoSuchBucket" in str(error):
            raise _no_bucket(place) from None
        if _MACHINE in str(error):
            raise Unreachable(
                f"{doing} {place} needs credentials, and neither the environment nor the role of this machine gives any: "
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        denied = isinstance(error, known.PermissionDeniedError | known.UnauthenticatedError)
        if denied or _DENIED.search(str(error)):  # a listing that is denied has no error of its own
            raise Unreachable(
                f"{doing} {place} is not allowed ({_short(error)}): give these credentials the right to read, write, list "
                "and remove objects there, or set others (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of "
                "this machine)"
            ) from error
        if _NAMELESS in str(error):
            raise Unreachable(
                f"{doing} {place} found an object that the client has no name for ({_short(error)}): remove it, or give it "
                "a name without empty parts, '.' and '..'"
            ) from error
        raise _failed(place, doing, error) from error


def _failed(place: Remote, doing: str, error: Exception) -> Unreachable:
    if _NO_ADDRESS in str(error):
        return Unreachable(
            f"{doing} {place} was not tried ({_short(error)}): storage.endpoint must begin with https://, or with http:// "
            "where storage.allow_http = true stands beside it"
        )
    return Unreachable(
        f"{doing} {place} failed ({_short(error)}): look whether the service answers and whether storage.endpoint, "
        "storage.region and the credentials are right, then try again"
    )


def _no_bucket(place: Remote) -> Unreachable:
    return Unreachable(f"there is no bucket {place.bucket}: make it, or correct the address in rehone.toml")


def _stamp(meta: Mapping[str, Any]) -> Stamp:
    return Stamp(meta["e_tag"], meta["version"])


def _short(error: Exception) -> str:
    """Return the cause in a few words: the service's own code, or what the connection said."""
    text = str(error)
    if code := _CODE.search(text):
        return code[1]
    return text.partition("\n")[0].rpartition(" - ")[2].strip()[:200]


def _obstore(address: str) -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise StoreError(f"{address} needs obstore, which is not installed: pip install 'rehone[objects]'") from None
    return obstore


def store_for(place: Remote, storage: Storage) -> Any:
    """Return obstore's own store of the bucket that a place lies in; connections are kept for the process.

    Raises:
        StoreError: obstore is not installed, or the settings cannot be used.
    """
    address = place.bucket
    key = (address, storage.endpoint, storage.region, storage.allow_http)
    if key not in _KEY:
        _KEY.setdefault(key, _connect(address, storage))
    return _KEY[key]


def _connect(address: str, storage: Storage) -> Any:
    """Return the store of a bucket; what `storage` leaves out, and all credentials, come from the environment.

    Raises:
        StoreError: the settings cannot be used.
    """
    obstore = _obstore(address)
    scheme, _, name = address.partition("://")
    if scheme == "memory":
        return obstore.store.MemoryStore()
    ways: dict[str, Any] = {
        "client_options": {"allow_http": storage.allow_http, "read_timeout": "60s", "timeout": "10min"},
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=60)},
    }
    given = {"endpoint": storage.endpoint, "region": storage.region} if scheme == "s3" else {}
    config = {key: text for key, text in given.items() if text is not None}
    kinds = {"s3": obstore.store.S3Store, "gs": obstore.store.GCSStore, "az": obstore.store.AzureStore}
    try:
        return kinds[scheme](name, config=config, **ways)
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise StoreError(f"{address} cannot be used ({_short(error)}): correct [storage] in rehone.toml") from error

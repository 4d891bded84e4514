"""Publish versions that are named by the digest of their manifest, and read them back verified."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from rehone.codec import decode, encode
from rehone.disk import Disk
from rehone.errors import Corrupt, NotFound, StoreError, Unreachable
from rehone.places import Place
from rehone.records import FileDigest, Manifest, ModelVersion, short_id
from rehone.store.drafts import draft_folder
from rehone.store.words import telling

log = logging.getLogger(__name__)

_LOOKS = 3
"""A version may be cleaned up and published again between two looks, so a missing file is looked for again."""

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
_ID = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{1,64}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SIGNATURE = re.compile(r"([0-9a-f]{16})\.sig")
"""Named by the key that made it, so that each signature is a file that is added at once."""


def is_version_id(text: str) -> bool:
    """Tell whether a text has the form of a version's id: 64 hexadecimal digits."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Versions:
    """The folder `versions` of a store."""

    root: Place
    disk: Disk

    @property
    def folder(self) -> Place:
        return self.root / "versions"

    def publish(
        self,
        manifest: Manifest,
        files: Mapping[str, bytes],
        sign: Callable[[str], tuple[str, bytes]] | None = None,
    ) -> ModelVersion:
        """Store files under the digest of their manifest; the same content gives the same id.

        With `sign`, which takes the id and returns a key and its signature, the version is never
        seen without that signature, except where the same content was there unsigned before.

        Raises:
            StoreError: the disk is full, read-only or broken; nothing was published.
            Corrupt: what was read back is not what was written.
        """
        digests = {name: _digest(files[name]) for name in sorted(files)}
        _refuse_names(digests, "the new version")
        body = encode(replace(manifest, files=digests))
        version = ModelVersion(hashlib.sha256(body).hexdigest(), decode(body, Manifest, source="the new manifest"))
        signed = dict([sign(version.id)] if sign else [])
        beside = {_signature_name(key): text for key, text in signed.items()}
        with telling(self.disk, self.root, f"publishing version {version.short}", needed=_size(files) + len(body)):
            if not self._is_there(version.id):
                self._write(version.id, {**files, **beside, MANIFEST: body})
            self.disk.sync_folder(self.folder)
        self.read(version.id)
        self._add(version.id, beside)
        return version

    def sign(self, version: str, key: str, signature: bytes) -> None:
        """Lay a signature beside the manifest of a whole version, at once; one by the same key is replaced.

        Raises:
            NotFound: there is no such version.
            Corrupt: it is damaged, and nobody should vouch for it.
            StoreError: the disk does not allow it.
        """
        self.read(version)
        self._add(version, {_signature_name(key): signature})

    def signatures(self, version: str) -> dict[str, bytes]:
        """Return the signatures of a version by the key that made them, unverified; none is no error.

        Raises:
            NotFound: there is no such version.
        """
        folder = self.folder / version
        with self._held(version), telling(self.disk, self.root, f"reading signatures of version {short_id(version)}"):
            names = [match for match in map(_SIGNATURE.fullmatch, self.disk.names(folder)) if match]
            found = {match[1]: self.disk.read(folder / match[0]) for match in names}
        if not found and not self._is_there(version):
            raise NotFound(f"there is no version {short_id(version)} in {self.folder}: see `rehone history`")
        return found

    def _add(self, version: str, beside: Mapping[str, bytes]) -> None:
        folder = self.folder / version
        with self._held(version), telling(self.disk, self.root, f"signing version {short_id(version)}", needed=1000):
            present = self.disk.names(folder)
            for name, text in beside.items():
                if name not in present or self.disk.read(folder / name) != text:
                    self._lay(folder, name, text)

    def _lay(self, folder: Place, name: str, text: bytes) -> None:
        """Put one file into a published version by a rename; what dies half-way is put right by `repair`."""
        with draft_folder(self.disk, self.root / "tmp") as room:
            self.disk.write(room / name, text)
            self.disk.protect(room / name)
            self.disk.unprotect(folder)
            try:
                self.disk.rename(room / name, folder / name)
                self.disk.sync_folder(folder)
            finally:
                self.disk.protect(folder)

    def _write(self, version: str, files: Mapping[str, bytes]) -> None:
        if _size(files) > self.disk.free(self.root):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        with draft_folder(self.disk, self.root / "tmp") as room:
            draft = room / version
            self.disk.make_folder(draft)
            for name, data in files.items():
                self.disk.write(draft / name, data)
                self.disk.protect(draft / name)
            self.disk.sync_folder(draft)
            try:
                self.disk.rename(draft, self.folder / version)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return
                raise
            self.disk.sync_folder(self.folder)
            self.disk.protect(self.folder / version)

    def _is_there(self, version: str) -> bool:
        with telling(self.disk, self.root, f"looking for version {short_id(version)}"):
            return self.disk.has_bundle(self.folder / version, MANIFEST)

    def version(self, wanted: str) -> ModelVersion:
        """Return a version by its id or by any beginning of it that no other version shares.

        Raises:
            NotFound: no version begins so.
            StoreError: several versions begin so, or the store is away.
            Corrupt: its manifest is damaged.
        """
        found = self._resolve(wanted)
        return ModelVersion(found, self._manifest(found))

    def _resolve(self, wanted: str) -> str:
        if is_version_id(wanted):
            return wanted
        found = [v for v in self.ids() if v.startswith(wanted)] if _PREFIX.fullmatch(wanted) else []
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(v[: len(wanted) + 6] for v in found[:5])
            raise StoreError(f"{len(found)} versions begin with {wanted!r} ({some}): give more digits")
        self._refuse_loss()
        raise NotFound(
            f"no version begins with {wanted!r} among {len(self.ids())} in {self.folder}: see `rehone history`"
        )

    def _refuse_loss(self) -> None:
        """Tell a store that is away from a version that is: what cannot be looked for is not missing."""
        if not self.disk.is_folder(self.folder):
            lost = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder))
            raise StoreError(f"{self.folder} is missing: mount the store or put it back from a backup") from lost

    def ids(self) -> list[str]:
        """Return the id of every version that is there, damaged or not."""
        with telling(self.disk, self.root, "listing versions"):
            return [name for name in self.disk.bundles(self.folder, MANIFEST) if is_version_id(name)]

    def all(self) -> tuple[ModelVersion, ...]:
        """Return every version whose manifest is intact, oldest first.

        Raises:
            Unreachable: the object store does not say of each whether it is.
        """
        found = []
        for version in self.ids():
            try:
                found.append(ModelVersion(version, self._manifest(version)))
            except Unreachable:  # clean-up would take it for one that is not there
                raise
            except StoreError as error:
                log.warning("version left out", extra={"version": version, "why": str(error)})
        return tuple(sorted(found, key=lambda v: (v.manifest.created_at, v.id)))

    def read(self, wanted: str) -> dict[str, bytes]:
        """Return the files that the manifest names, each read once and equal to its digest.

        Raises:
            NotFound: there is no such version.
            Corrupt: a file is missing or differs; all that is wrong is listed.
        """
        version = self._resolve(wanted)
        with self._held(version):
            manifest = self._manifest(version)
            files: dict[str, bytes] = {}
            wrong = []
            for name, digest in manifest.files.items():
                try:
                    files[name] = self._verified(version, name, digest)
                except Corrupt as error:
                    wrong.append(str(error))
        if wrong and not self._is_there(version):
            raise NotFound(
                f"version {short_id(version)} was removed by clean-up while it was read: look again at what is live"
            )
        if wrong:
            raise Corrupt(
                f"version {short_id(version)} is damaged ({'; '.join(wrong)}): put versions/{version} back from a backup, "
                "or roll back to another version"
            )
        return files

    def _verified(self, version: str, name: str, digest: FileDigest) -> bytes:
        try:
            with telling(self.disk, self.root, f"reading {name} of version {short_id(version)}"):
                data = self._bytes(version, name)
        except (NotFound, Corrupt) as error:
            raise Corrupt(f"{name} is missing") from error
        found = _digest(data)
        if found != digest:
            raise Corrupt(
                f"{name} has {found.bytes:,} bytes with SHA-256 {found.sha256[:12]}, "
                f"its manifest says {digest.bytes:,} with {digest.sha256[:12]}"
            )
        return data

    def _manifest(self, version: str) -> Manifest:
        with telling(self.disk, self.root, f"reading version {short_id(version)}"):
            body = self._bytes(version, MANIFEST)
        if hashlib.sha256(body).hexdigest() != version:
            raise Corrupt(
                f"the manifest of version {short_id(version)} has SHA-256 {hashlib.sha256(body).hexdigest()[:12]}: "
                f"put versions/{version} back from a backup, or roll back to another version"
            )
        manifest = decode(body, Manifest, source=f"versions/{version}/{MANIFEST}")
        if manifest.format > MANIFEST_FORMAT:
            raise StoreError(
                f"version {short_id(version)} is of format {manifest.format}, this Rehone reads up to {MANIFEST_FORMAT}: "
                "upgrade Rehone"
            )
        _refuse_names(manifest.files, f"version {short_id(version)}")
        return manifest

    def _bytes(self, version: str, name: str) -> bytes:
        folder = self.folder / version
        for _ in range(_LOOKS):
            try:
                return self.disk.read(folder / name)
            except FileNotFoundError:
                if not self._is_there(version):
                    self._refuse_loss()
                    raise NotFound(
                        f"there is no version {short_id(version)} in {self.folder} (never published here, or removed by "
                        "clean-up): see `rehone history`"
                    ) from None
        raise Corrupt(f"{name} is missing from version {short_id(version)}: put it back from a backup")

    @contextlib.contextmanager
    def _held(self, version: str) -> Iterator[None]:
        """Keep clean-up away from a version while it is read; where that cannot be, digests still protect."""
        handle = None
        with contextlib.suppress(OSError):
            handle = self.disk.lock_folder(self.folder / version, shared=True)
        try:
            yield
        finally:
            if handle is not None:
                self.disk.release(handle)

    def remove(self, version: str) -> bool:
        """Take a version away at once, unless somebody is reading it.

        Raises:
            StoreError: the disk does not allow it.
        """
        target = self.folder / version
        with telling(self.disk, self.root, f"removing version {short_id(version)}"):
            try:
                handle = self.disk.lock_folder(target)
            except FileNotFoundError:
                return False
            if handle is None:
                return False
            try:
                with draft_folder(self.disk, self.root / "tmp") as room:
                    self.disk.remove_bundle(target, MANIFEST, room)
            finally:
                self.disk.release(handle)
        return True

    def sweep(self) -> int:
        """Remove what a killed publisher left in an object store without a manifest, and return how many."""
        return self.disk.sweep_bundles(self.folder, MANIFEST, is_version_id)

    def protect(self) -> int:
        """Make versions read-only that a killed publisher or a backup left writeable, and return how many."""
        loose = [v for v in self.ids() if not self.disk.is_protected(self.folder / v)]
        for version in loose:
            for name in self.disk.names(self.folder / version):
                self.disk.protect(self.folder / version / name)
            self.disk.protect(self.folder / version)
        return len(loose)


def _digest(data: bytes) -> FileDigest:
    return FileDigest(hashlib.sha256(data).hexdigest(), len(data))


def _size(files: Mapping[str, bytes]) -> int:
    return sum(map(len, files.values()))


def _signature_name(key: str) -> str:
    name = f"{key}.sig"
    if not _SIGNATURE.fullmatch(name):
        raise StoreError(f"{key!r} cannot name the key of a signature: it must be 16 hexadecimal digits")
    return name


def _refuse_names(files: Mapping[str, FileDigest], where: str) -> None:
    bad = [n for n in files if not _FILE.fullmatch(n) or n == MANIFEST or _SIGNATURE.fullmatch(n)]
    if bad:
        raise Corrupt(f"{where} names files that a version cannot hold ({', '.join(map(repr, bad))}): use plain names")

"""Sign versions with an Ed25519 key, and refuse to load what no trusted key has signed.

The id of a version is the SHA-256 of its manifest, which holds the digest of every file, so a
signature of the id covers all of them. Nothing here is done, or imported, unless
`deploy.signing_key` or `deploy.trusted_keys` is set. Key files are read whenever they are used.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from rehone.config import Config, Deploy
from rehone.errors import SigningError
from rehone.records import short_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["NewKey", "Sign", "SigningError", "exposed", "new_key", "policy_of", "require", "signer", "trusted"]

log = logging.getLogger(__name__)

SIGNATURE_FORMAT = 1
"""Raise it with a way to read the former one, and add a fixture of that to the tests."""

_SIGNED = b"rehone version 1\n"
"""Stands before the id in what is signed, so that no signature made for something else will do."""
_TEXT = re.compile(rb"rehone signature 1 ([0-9a-f]{64}) ([0-9a-f]{128})\n?")

Sign = Callable[[str], tuple[str, bytes]]
"""Takes the id of a version, returns the id of the key and the text of the signature."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """Where a new key lies: the private part, the public part, and the id that names both."""

    private: Path
    public: Path
    id: str


def policy_of(config: Config) -> Deploy:
    """Return the deployment policy of a project with its key files counted from the project's folder."""
    policy = config.deploy
    if policy.signing_key is None and not policy.trusted_keys:
        return policy
    root = config.root.absolute()
    return policy.model_copy(
        update={
            "signing_key": str(root / policy.signing_key) if policy.signing_key is not None else None,
            "trusted_keys": tuple(str(root / name) for name in policy.trusted_keys),
        }
    )


def signer(policy: Deploy) -> Sign | None:
    """Return what signs a version with `deploy.signing_key`; `None` when no key is set.

    Raises:
        SigningError: the key cannot be read, or is not a private Ed25519 key.
    """
    if policy.signing_key is None:
        return None
    path = Path(policy.signing_key)
    library = _library()
    pem = _read(path, "deploy.signing_key")
    try:
        key = library.private_key(pem)
    except ValueError as error:
        raise SigningError(
            f"deploy.signing_key {path} cannot be used ({error}): name one of `rehone keys new`"
        ) from None
    if because := exposed(path):
        log.warning("the signing key is not private", extra={"because": because})
    name = library.key_id(key.public_key())

    def sign(version: str) -> tuple[str, bytes]:
        signature = key.sign(_SIGNED + version.encode()).hex()
        return name, f"rehone signature {SIGNATURE_FORMAT} {version} {signature}\n".encode()

    return sign


def require(version: str, signatures: Mapping[str, bytes], policy: Deploy) -> str | None:
    """Return the id of a trusted key that has signed a version; `None` when no keys are set.

    Args:
        version: the whole id; manifest and files must have been compared with it.
        signatures: the texts that lie beside the manifest, by the id of their key.
        policy: with absolute paths, as `policy_of` gives it.

    Raises:
        SigningError: no trusted key has signed it, or a trusted key cannot be read.
    """
    if not policy.trusted_keys:
        return None
    keys = trusted(policy)
    wrong = []
    for name in keys.keys() & signatures.keys():
        problem = _problem(version, signatures[name], keys[name])
        if problem is None:
            return name
        wrong.append(f"the signature by key {name} {problem}")
    raise SigningError(_refusal(version, sorted(wrong), sorted(signatures), sorted(keys)))


def trusted(policy: Deploy) -> dict[str, Ed25519PublicKey]:
    """Read every key of `deploy.trusted_keys`, by its id.

    Raises:
        SigningError: one of them is missing, unreadable or not a public Ed25519 key.
    """
    library = _library()
    found = {}
    for path in map(Path, policy.trusted_keys):
        pem = _read(path, "deploy.trusted_keys")
        try:
            key = library.public_key(pem)
        except ValueError as error:
            raise SigningError(
                f"deploy.trusted_keys: {path} cannot be used ({error}): name a .pub file of `rehone keys new`"
            ) from None
        found[library.key_id(key)] = key
    return found


def new_key(path: Path) -> NewKey:
    """Make a key: `path` for its owner alone, and `path`.pub for everyone; nothing is overwritten.

    Raises:
        SigningError: one of the files is there already, or cannot be written.
    """
    library = _library()
    private, public = library.new_pair()
    beside = path.with_name(f"{path.name}.pub")
    made: list[Path] = []
    try:
        for file, data, mode in ((path, private, 0o600), (beside, public, 0o644)):
            _create(file, data, mode)
            made.append(file)
    except OSError as error:
        for half in made:
            half.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise SigningError(f"{file} is there already and is not overwritten: choose another name") from None
        raise SigningError(f"{file} cannot be written ({error.strerror}): choose another place") from None
    return NewKey(path, beside, library.key_id(library.public_key(public)))


def exposed(path: Path) -> str | None:
    """Say that others than its owner can read or change a private key; `None` when they cannot."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077 == 0:
        return None
    return (
        f"{path} has mode {mode:04o}, so that others can use it: `chmod 600 {path}`, or make a new key if they may have"
    )


def _problem(version: str, text: bytes, key: Ed25519PublicKey) -> str | None:
    match = _TEXT.fullmatch(text)
    if match is None:
        return "is damaged or of a later format"
    if match[1] != version.encode():
        return f"is of another version ({short_id(match[1].decode())})"
    if not _library().verifies(key, bytes.fromhex(match[2].decode()), _SIGNED + version.encode()):
        return "does not verify: the file was changed, or another key has made it"
    return None


def _refusal(version: str, wrong: Sequence[str], signed: Sequence[str], keys: Sequence[str]) -> str:
    name, trusts = short_id(version), f"deploy.trusted_keys ({', '.join(keys)})"
    remedy = f"`rehone keys sign {name}` if you know where it comes from, or go back to a signed version"
    if wrong:
        return f"version {name} is not loaded: {'; '.join(wrong)}: {remedy}"
    if signed:
        by = f"key {signed[0]}" if len(signed) == 1 else f"keys {', '.join(signed)}"
        return (
            f"version {name} is not loaded: it is signed by {by}, which is not among {trusts}: "
            f"add the .pub file of that key if you trust it, or {remedy}"
        )
    return f"version {name} is not loaded: it is not signed, and one of {trusts} must have signed it: {remedy}"


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningError(
            f"{what}: the key {path} cannot be read ({error.strerror}): put it there, or correct the path"
        ) from None


def _create(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _library() -> ModuleType:
    try:
        from rehone.signing import ed25519
    except ImportError as error:
        raise SigningError(
            f"keys are set under [deploy], and signatures need a package that is missing ({error}): "
            'pip install "rehone[signing]"'
        ) from None
    return ed25519

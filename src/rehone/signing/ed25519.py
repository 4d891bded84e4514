"""Make, read and use Ed25519 keys with `cryptography`, which this file alone imports."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_ID_DIGITS = 16


def new_pair() -> tuple[bytes, bytes]:
    """Draw a key from the system's randomness: the private part as PKCS8, the public part, both PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def private_key(pem: bytes) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        ValueError: the bytes are something else; the message says what.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("it is protected by a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is not a private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("it is a key of another kind than Ed25519")  # noqa: TRY004 - what is wrong is the file
    return key


def public_key(pem: bytes) -> Ed25519PublicKey:
    """Read a public key.

    Raises:
        ValueError: the bytes are something else; the message says what.
    """
    if b"PRIVATE KEY" in pem:
        raise ValueError("it is a private key, and belongs on no machine that only loads")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is a key of another kind than Ed25519")  # noqa: TRY004 - what is wrong is the file
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """Name a key by the first 16 hexadecimal digits of the SHA-256 of its public part."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_DIGITS]


def verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Tell whether this key has signed this message."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True

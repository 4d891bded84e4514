"""Post alerts as JSON to one address, signed as Standard Webhooks 1.0 lays down.

Three headers go with each post: `webhook-id`, the same when it is posted again; `webhook-timestamp`,
whole seconds; and `webhook-signature`, for each secret "v1," and the base64 of the HMAC-SHA256 over
"<id>.<timestamp>.<body>". Two secrets in the file sign twice, so that a receiver can change to the new one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from rehone.integrations.alerts.address import Letter, Unsent
from rehone.integrations.alerts.asking import Question, ask

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, by Standard Webhooks."""
HINTS = dict.fromkeys((401, 403), ": it does not know the signature, or asks for another one")


class Webhook:
    """One address that alerts are posted to."""

    name = "webhook"

    def __init__(self, url: str, secret_file: Path | None, seconds: float, clock: Callable[[], datetime]) -> None:
        self._url = url
        self._secret_file = secret_file
        self._seconds = seconds
        self._clock = clock

    def send(self, letter: Letter) -> None:
        """Post one letter; it is taken when the answer is 2xx. A redirect is not followed.

        Raises:
            Unsent: it was not taken, or the secret cannot be read.
        """
        headers = self._headers(letter)
        ask(
            Question(url=self._url, key="alerts.webhook", body=letter.body, headers=headers, hints=HINTS), self._seconds
        )

    def _headers(self, letter: Letter) -> dict[str, str]:
        at = str(int(self._clock().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": letter.id,
            "webhook-timestamp": at,
        }
        if self._secret_file is not None:
            secrets = read_secrets(self._secret_file)
            headers["webhook-signature"] = signature(secrets, letter.id, at, letter.body)
        return headers


def signature(secrets: Sequence[bytes], message: str, timestamp: str, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature for each secret, a space between."""
    signed = f"{message}.{timestamp}.".encode() + body
    digests = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def read_secrets(path: Path) -> tuple[bytes, ...]:
    """Return the secrets of a file: one a line, in base64, with or without "whsec_" before it.

    Raises:
        Unsent: there is none, or one is no secret; what stands there is not repeated.
    """
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        raise Unsent(
            f"alerts.webhook_secret_file {path.name} cannot be read ({cause}): nothing is sent unsigned"
        ) from None
    if not lines:
        raise Unsent(f"alerts.webhook_secret_file {path.name} is empty: nothing is sent unsigned")
    return tuple(_secret(line, f"line {n} of {path.name}") for n, line in enumerate(lines, 1))


def _secret(line: str, where: str) -> bytes:
    try:
        secret = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise Unsent(f'{where} is no secret: write "{PREFIX}" and the base64 of 32 random bytes') from None
    if not SHORTEST <= len(secret) <= LONGEST:
        said = f"{where} is a secret of {len(secret)} bytes, need {SHORTEST} to {LONGEST}"
        raise Unsent(f'{said}: write "{PREFIX}" and the base64 of 32 random bytes')
    return secret

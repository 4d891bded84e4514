"""Let in who knows the token, and remember it in a signed cookie; nothing is kept on the server."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LASTS = timedelta(hours=12)
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who sent the token: `name` is what they call themselves, `form_token` is empty where no form is needed."""

    name: str
    form_token: str = ""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The token and what follows from it; another token ends every session."""

    token: bytes
    clock: Callable[[], datetime]

    def admits(self, given: bytes) -> bool:
        """Say whether this is the token, in the same time whatever was given."""
        return hmac.compare_digest(given, self.token)

    def begin(self, name: str) -> str:
        """Return the cookie of a visitor who knew the token."""
        until = (self.clock() + LASTS).timestamp()
        plain = json.dumps([until, cleaned(name), secrets.token_hex(8)])
        body = base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
        return f"{body}.{self._sign('session', body)}"

    def visitor(self, cookie: str) -> Visitor | None:
        """Return who holds a cookie; nobody when it is not ours or too old."""
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", body).encode()):
            return None
        try:
            until, name, _ = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            return None
        if self.clock() >= datetime.fromtimestamp(until, UTC):
            return None
        return Visitor(name=name, form_token=self._sign("form", cookie))

    def bearer(self, header: str) -> Visitor | None:
        """Return the program that sends the token with its request; a browser is never made to do that by others."""
        scheme, _, given = header.partition(" ")
        if scheme.lower() != "bearer" or not self.admits(given.strip().encode()):
            return None
        return Visitor(name="")

    def _sign(self, what: str, text: str) -> str:
        return hmac.digest(self.token, f"rehone dashboard {what} {text}".encode(), "sha256").hex()


def cleaned(text: str) -> str:
    """Return a name as one short line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_NAME]

"""Let in who knows the token, and remember it in a signed cookie; the server keeps only which sessions were ended."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

LASTS = timedelta(hours=12)
MOST_ENDED = 10_000
"""Ended sessions that are remembered by themselves."""
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who sent the token: `name` is what they call themselves, `form_token` is empty where no form is needed."""

    name: str
    form_token: str = ""


class Ended:
    """Sessions that were ended before their time, each remembered until then.

    Of more than `MOST_ENDED`, those that would end first are ended together with all others that would end until then:
    some visitors log in once more, and nobody comes back with a cookie of a session that was ended.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._all_until = 0.0

    def add(self, session: str, until: float, now: float) -> None:
        """Remember that a session was ended; those whose time is over are forgotten."""
        if self.holds(session, until):
            return  # remembered once more, it might be the one by which all end, and others come back
        self._until = {one: end for one, end in self._until.items() if end > now} | {session: until}
        if len(self._until) > MOST_ENDED:
            first = min(self._until, key=self._until.__getitem__)
            self._all_until = self._until.pop(first)

    def holds(self, session: str, until: float) -> bool:
        """Say whether a session was ended."""
        return session in self._until or until <= self._all_until

    def __len__(self) -> int:
        return len(self._until)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The token and what follows from it; another token ends every session, and so does another start of the server.

    Which sessions were ended is known to this process alone: were cookies good beyond it, an ended one would be again.
    """

    token: bytes = field(repr=False)
    clock: Callable[[], datetime]
    start: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    ended: Ended = field(default_factory=Ended)

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
        """Return who holds a cookie; nobody when it is not ours, too old, or of a session that was ended."""
        until, name, session = self._read(cookie)
        if self.clock() >= datetime.fromtimestamp(until, UTC) or self.ended.holds(session, until):
            return None
        return Visitor(name=name, form_token=self._sign("form", cookie))

    def end(self, cookie: str) -> None:
        """End the session of a cookie for whoever holds a copy of it; of one that is not ours there is none."""
        until, _, session = self._read(cookie)
        if (now := self.clock().timestamp()) < until:
            self.ended.add(session, until, now)

    def bearer(self, header: str) -> Visitor | None:
        """Return the program that sends the token with its request; a browser is never made to do that by others."""
        scheme, _, given = header.partition(" ")
        if scheme.lower() != "bearer" or not self.admits(given.strip().encode()):
            return None
        return Visitor(name="")

    def _read(self, cookie: str) -> tuple[float, str, str]:
        """Return until when a session lasts, of whom it is and its own name; one of another server ended long ago."""
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", body).encode()):
            return 0.0, "", ""
        try:
            until, name, session = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            return 0.0, "", ""
        return until, name, session

    def _sign(self, what: str, text: str) -> str:
        return hmac.digest(self.token + self.start, f"rehone dashboard {what} {text}".encode(), "sha256").hex()


def cleaned(text: str) -> str:
    """Return a name as one short line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_NAME]

"""Name who alerts are sent to, and send one letter to many of them at once, within a time."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Protocol

from rehone import alert
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.observers.telling import without_password
from rehone.records import Alert

SECONDS = 15.0
"""Longest that one address may take."""
LONGEST_CAUSE = 300
LONGEST_NAME = 120
"""Letters of a project's name in a subject line."""


class Unsent(RehoneError):
    """An address did not take an alert; the message says why, and nothing that is secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One alert as it is sent: `id` stays the same when it is sent again, `link` leads to the dashboard."""

    id: str
    alert: Alert
    link: str | None = None

    @property
    def title(self) -> str:
        """Name the project and what it is about, for a subject line: one line, whatever the project is called."""
        return f"{alert.one_line(self.alert.project)[:LONGEST_NAME]}: {alert.named(self.alert.kind)}"

    @property
    def text(self) -> str:
        """The line, and the link below it."""
        return f"{self.alert.line}\n{self.link}" if self.link else self.alert.line

    @property
    def body(self) -> bytes:
        """The alert as JSON: its type, when it was, and all it says; `id` aside, the same whenever it is sent."""
        one = self.alert
        data: dict[str, Any] = {
            "project": one.project,
            "kind": str(one.kind),
            "key": one.key,
            "line": one.line,
            "run_id": one.run_id,
            "value": one.value,
            "limit": one.limit,
            "command": one.command,
            "link": self.link,
        }
        at = one.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        said = {"type": f"rehone.alert.{one.kind}", "timestamp": at, "data": data}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def seconds_of(config: Config) -> float:
    """Return how long one address may take: less than the process that sends has."""
    return min(SECONDS, config.trackers.timeout_seconds / 2)


class Address(Protocol):
    """Somebody who takes alerts, by a name that holds no secret."""

    @property
    def name(self) -> str:
        """Kind and place in the configuration, such as "slack-1"."""

    def send(self, letter: Letter) -> None:
        """Send one letter.

        Raises:
            Unsent: it was not taken.
        """


@dataclass(frozen=True, slots=True)
class Closed:
    """An address that cannot be used as it is written down, and why."""

    name: str
    why: str

    def send(self, letter: Letter) -> None:
        """Say why nothing can be sent to it."""
        del letter
        raise Unsent(self.why)


def send_all(addresses: Sequence[Address], letter: Letter, seconds: float) -> dict[str, str]:
    """Send a letter to all addresses at once, and return by their names why they did not take it; "": they did.

    One that does not answer in time is left behind: it may have taken the letter, so that it can come twice.
    """
    slow = f"did not answer within {seconds:g} s"
    found = {address.name: slow for address in addresses}
    threads = [threading.Thread(target=_send, args=(one, letter, found), daemon=True) for one in addresses]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(found)


def _send(address: Address, letter: Letter, found: dict[str, str]) -> None:
    said = f"{address.name} ended without a word"
    with contextlib.suppress(SystemExit):
        try:
            address.send(letter)
            said = ""
        except Unsent as error:
            said = str(error)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is noted; its text may hold a secret
            said = f"{type(error).__name__} in the library that sends it"
    found[address.name] = without_password(said)[:LONGEST_CAUSE]

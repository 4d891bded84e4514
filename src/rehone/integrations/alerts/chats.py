"""Send alerts through Apprise: mail, Slack, Teams, PagerDuty and what else a configuration file of it names."""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rehone.integrations.alerts.address import Address, Closed, Letter, Unsent
from rehone.records import AlertKind

GRAVE = (AlertKind.FAILED, AlertKind.ROLLED_BACK, AlertKind.BREAKER)
PLAIN = (AlertKind.DEPLOYED, AlertKind.TEST, AlertKind.APPROVAL)
SHORTEST_SECRET = 4
_LOGGER = "apprise"


def chats(path: Path) -> list[Address]:
    """Return the addresses of an Apprise configuration file, text or YAML; a file that cannot be used is one that fails."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        return [Closed("apprise", f"alerts.apprise {path.name} cannot be read ({cause})")]
    try:
        import apprise
    except ModuleNotFoundError as error:
        return [Closed("apprise", f"{error.name} is not installed: pip install 'rehone[alerts]'")]
    with _Heard() as heard, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the libraries that its services load
        found: Any = apprise.AppriseConfig(asset=_asset(apprise))
        found.add_config(text)
        servers = list((getattr(found, "services", None) or found.servers)())  # services since 2.0
    return [*_named(servers, apprise), *_unusable(path, servers, heard.said)]


def _asset(apprise: Any) -> Any:
    """Return settings by which nothing but our text is sent and nothing is kept on disk."""
    return apprise.AppriseAsset(app_id="Rehone", app_desc="Rehone", app_url="", storage_mode="memory")


def _named(servers: Sequence[Any], apprise: Any) -> list[Address]:
    seen: Counter[str] = Counter()
    named: list[Address] = []
    for server in servers:
        kind = re.sub(r"[^a-z0-9]", "", urlsplit(str(server.url())).scheme.lower()) or "apprise"
        seen[kind] += 1
        named.append(Chat(f"{kind}-{seen[kind]}", server, apprise))
    return named


def _unusable(path: Path, servers: Sequence[Any], said: Sequence[str]) -> list[Address]:
    """Name a file of which something cannot be used: the line may hold a secret, and is not repeated."""
    said = [one for one in said if not one.startswith("Failed to load Apprise configuration")]  # which sums up
    if said:
        lines = sorted({int(n) for one in said for n in re.findall(r"(?:on line|at line|entry #)\s*(\d+)", one)})
        where = f" (line {', '.join(map(str, lines))})" if lines else ""
        remedy = f"`apprise --config {path.name} --dry-run -b x` says why"
        return [Closed("apprise", f"alerts.apprise {path.name} holds something that is no address{where}: {remedy}")]
    if not servers:
        return [Closed("apprise", f"alerts.apprise {path.name} names no address")]
    return []


class Chat:
    """One address of Apprise."""

    def __init__(self, name: str, server: Any, apprise: Any) -> None:
        self.name = name
        self._server = server
        self._apprise = apprise

    def send(self, letter: Letter) -> None:
        """Send one letter; Apprise cuts and formats it as the service wants it.

        Raises:
            Unsent: it was not taken, with what Apprise logged of it, without what is secret.
        """
        one = self._apprise.Apprise(asset=self._server.asset)
        one.add(self._server)
        with _Heard() as heard:
            taken = one.notify(
                title=letter.title,
                body=letter.text,
                notify_type=self._kind(letter.alert.kind),
                body_format=self._apprise.NotifyFormat.TEXT,
            )
        if not taken:
            said = "; ".join(dict.fromkeys(heard.said)) or "Apprise does not say why"
            addresses = (str(self._server.url(privacy=private)) for private in (False, True))
            raise Unsent(without_secrets(said, *addresses))

    def _kind(self, kind: AlertKind) -> Any:
        kinds = self._apprise.NotifyType
        if kind in GRAVE:
            return kinds.FAILURE
        return kinds.INFO if kind in PLAIN else kinds.WARNING


class _Heard:
    """Hear what Apprise warns of on behalf of this thread, and keep it from every other handler."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __enter__(self) -> _Heard:
        log = logging.getLogger(_LOGGER)
        log.propagate = False
        log.setLevel(logging.WARNING)
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it writes paths, which are secret
        if _EAR not in log.handlers:
            log.addHandler(_EAR)
        self._token = _hearing.set(self.said)
        return self

    def __exit__(self, *_: object) -> None:
        _hearing.reset(self._token)


class _Ear(logging.Handler):
    """Hand a message to whoever hears in the context it comes from: Apprise may work in threads of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one message on; nobody hears: let it go, for it may hold a secret."""
        said = _hearing.get()
        if said is not None:
            said.append(record.getMessage().strip())


_hearing: ContextVar[list[str] | None] = ContextVar("hearing", default=None)
_EAR = _Ear(logging.WARNING)


def without_secrets(text: str, url: str, shown: str) -> str:
    """Return a text without any part of an address but the host that `shown`, the address for logs, has too."""
    split = urlsplit(url)
    host = split.hostname if split.hostname == urlsplit(shown).hostname else None
    rest = url.partition("://")[2]
    parts = {part for form in (rest, unquote(rest)) for part in re.split(r"[/:@,;&?=+]+", form)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST_SECRET and part.lower() not in (host, "post") and not part.isdigit():
            text = text.replace(part, "***")
    return text

"""Say which projects are shown, where, and what opens their pages."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rehone import fleet
from rehone.config import Config, load_config
from rehone.errors import ConfigError, RehoneError
from rehone.serve.operator import token_in

_MAKE_ONE = "make one with `(umask 077; openssl rand -hex 32 > token)` and name it: --token-file token"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the server is told: `files` are the projects, `names` what it may be called besides an address."""

    files: tuple[Path, ...]
    host: str
    port: int
    refresh_seconds: float
    token: bytes | None = None
    names: frozenset[str] = frozenset()


def settings(
    projects: Sequence[str], *, host: str | None = None, port: int | None = None, token_file: Path | None = None
) -> Settings:
    """Read what the first project asks for, where the caller does not say otherwise.

    Raises:
        NotFound: a pattern means no project.
        ConfigError: the token cannot be used, or is missing where pages can be reached from elsewhere.
    """
    files = fleet.find(projects)
    configs = [_config(file) for file in files]
    asked = (configs[0] or Config()).dashboard
    host = asked.host if host is None else host
    token = _token(configs[0], token_file)
    if token is None and not is_loopback(host):
        raise ConfigError(
            "dashboard.token_file",
            [f"pages at {host} can be reached from elsewhere, and need a token to open them: {_MAKE_ONE}"],
        )
    return Settings(
        files=files,
        host=host,
        port=asked.port if port is None else port,
        refresh_seconds=asked.refresh_seconds,
        token=token,
        names=frozenset(_names(host, configs)),
    )


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address; a name is believed only when it is localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _config(file: Path) -> Config | None:
    """Return a configuration, or nothing where it cannot be used: its own page will say why."""
    try:
        return load_config(file)
    except RehoneError:
        return None


def _token(config: Config | None, token_file: Path | None) -> bytes | None:
    if token_file is not None:
        return token_in(token_file, "--token-file")
    if config is None or config.dashboard.token_file is None:
        return None
    return token_in(config.root / config.dashboard.token_file, "dashboard.token_file")


def _names(host: str, configs: Sequence[Config | None]) -> set[str]:
    """Return what a browser may call this server: its own name, the one it listens on, those that alerts link to."""
    links = [config.alerts.dashboard_url for config in configs if config is not None]
    linked = {urlsplit(link).hostname for link in links if link}
    return {name.lower() for name in (host, "localhost", socket.gethostname(), *linked) if name}

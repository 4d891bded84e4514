"""Write the figures of a project where `[metrics]` says, in the process that tells one listener; or print them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from urllib.error import HTTPError, URLError

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway, write_to_textfile
from prometheus_client.exposition import basic_auth_handler, default_handler

from rehone.config import Config, load_config
from rehone.errors import RehoneError
from rehone.integrations.prometheus import figures
from rehone.integrations.prometheus.dashboard import dashboard
from rehone.integrations.prometheus.known import known
from rehone.observers.telling import without_password
from rehone.records import Deployment, RunRecord

JOB = "rehone"
"""The group of a project at a Pushgateway is this job and the project."""
SHARE = 0.5
"""How much of `trackers.timeout_seconds` a Pushgateway may take, so that the cause can still be noted."""


class MetricsListener:
    """Whatever `[metrics]` names. The figures are of the whole project, so many tellings at once write them once."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def tell_run(self, record: RunRecord, file: bytes) -> str:
        """Write the figures as they are now, and return where.

        Raises:
            RehoneError: a place did not take them; it is tried again.
        """
        del record, file
        return self._told()

    def tell_deployment(self, deployment: Deployment) -> str:
        """Write the figures as they are now; as `tell_run`."""
        del deployment
        return self._told()

    def _told(self) -> str:
        written, failed = self._outcome
        if failed:
            raise RehoneError("; ".join(failed))
        return ", ".join(written)

    @cached_property
    def _outcome(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Write to each place once, whatever becomes of the others: where they were written, and what went wrong."""
        made = figures.registry(known(self._config))
        written, failed = [], []
        for place, write in self._places().items():
            try:
                write(made)
            except (OSError, ValueError, HTTPException, RehoneError) as error:  # an address that is none is one of two
                failed.append(f"figures cannot be written to {without_password(place)}: {_cause(error)}")
            else:
                written.append(place)
        return tuple(written), tuple(failed)

    def _places(self) -> dict[str, Callable[[CollectorRegistry], None]]:
        found: dict[str, Callable[[CollectorRegistry], None]] = {}
        if self._config.metrics.textfile is not None:
            path = self._config.root / self._config.metrics.textfile
            found[str(path)] = lambda made: write_to_textfile(str(path), made)
        if self._config.metrics.pushgateway is not None:
            address = self._config.metrics.pushgateway
            found[address] = lambda made: self._push(address, made)
        return found

    def _push(self, address: str, made: CollectorRegistry) -> None:
        """Replace the group of this project, so that what is not measured any more goes away."""
        push_to_gateway(
            address,
            job=JOB,
            registry=made,
            grouping_key={"project": self._config.project.name},
            timeout=SHARE * self._config.trackers.timeout_seconds,
            handler=self._handler(),
        )

    def _handler(self) -> Callable[..., Callable[[], None]]:
        """Return what sends a push, with the password where one is asked for; it is read anew for each push."""
        own = self._config.metrics
        if own.pushgateway_password_file is None:
            return default_handler
        password = password_in(self._config.root / own.pushgateway_password_file)
        return partial(basic_auth_handler, username=own.pushgateway_user, password=password)


def password_in(path: Path) -> str:
    """Return the only line of a file, without the white space around it.

    Raises:
        RehoneError: the file cannot be read, or holds no line or several; what stands there is not repeated.
    """
    name, remedy = f"metrics.pushgateway_password_file {path.name}", "write the password into it, and nothing else"
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        raise RehoneError(f"{name} cannot be read ({cause}): {remedy}") from None
    if not text or not text.isprintable():
        raise RehoneError(f"{name} {'holds more than one line' if text else 'is empty'}: {remedy}")
    return text


def _cause(error: Exception) -> str:
    if isinstance(error, HTTPError) and error.code in (401, 403):
        keys = "metrics.pushgateway_user and metrics.pushgateway_password_file"
        return f"it answered HTTP {error.code}: look whether {keys} are those of the Pushgateway"
    if isinstance(error, HTTPError):
        return f"it answered HTTP {error.code}: look whether metrics.pushgateway is the address of a Pushgateway"
    if isinstance(error, URLError):
        return f"{error.reason}: look whether the Pushgateway is up"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: make room, give write permission, or name another place in [metrics]"
    return f"{error}"


def printed(project: str, what: str | None = None) -> str:
    """Return the figures of a project in Prometheus' text format, or what its programs are set up with.

    Args:
        what: "grafana" for a dashboard (JSON), "rules" for alert rules (YAML); these are the same for all projects.

    Raises:
        RehoneError: the project cannot be read.
    """
    if what == "grafana":
        return dashboard()
    if what == "rules":
        return resources.files(__package__).joinpath("rules.yml").read_text(encoding="utf-8")
    return generate_latest(figures.registry(known(load_config(Path(project))))).decode()

"""Run the service as the command line asks for it: in this process, or in several that share a port."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from rehone.cli import endings, logs
from rehone.config import Config
from rehone.errors import RehoneError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Logging:
    """How the service writes its log."""

    form: logs.Format
    level: str
    whole: bool = False

    def begin(self) -> None:
        """Write log events so from now on."""
        logs.to_stderr(self.form, self.level, whole=self.whole)


def serve(config: Config, logging_: Logging) -> int:
    """Serve until a signal ends it, and return the exit code."""
    logging_.begin()
    try:
        _serve(config, logging_)
    except RehoneError as error:
        if logging_.form == "text":
            raise
        log.critical("service ended", extra={"because": str(error)})
        return endings.MUST_FIX
    return endings.GOOD


def _serve(config: Config, logging_: Logging) -> None:
    from rehone.serve import run
    from rehone.serve.operator import read_token
    from rehone.serve.workers import supervise

    read_token(config)  # what is wrong with it is said once, before any worker starts
    if config.serve.workers == 1:
        run(config, clock=now, on_ready=lambda url: click.echo(f"serving at {url}"))
    else:
        supervise(config.serve, WORKER, told(config, logging_), on_ready=_say_ready)


def now() -> datetime:
    """Return the time of the system's clock."""
    return datetime.now(UTC)


def _say_ready(url: str, count: int) -> None:
    click.echo(f"serving at {url} with {count} workers")


WORKER = (sys.executable, "-P", "-m", "rehone.cli.worker")


def told(config: Config, logging_: Logging) -> bytes:
    """Write down what a worker has to know; it reads no file of its own, so that all workers are alike."""
    root = os.fspath(config.root.absolute())
    return json.dumps(
        {"config": config.as_json(), "root": root, "logging": asdict(logging_), "path": sys.path}
    ).encode()


def heard(text: bytes) -> tuple[Config, Logging, list[str]]:
    """Read what `told` wrote."""
    all_: dict[str, Any] = json.loads(text)
    return Config(**all_["config"], root=Path(all_["root"])), Logging(**all_["logging"]), all_["path"]

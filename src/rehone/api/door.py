"""Stand at the door: the clock, the user, git, and where a project lies. Nothing below reads these."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rehone.config import Config, load_config
from rehone.errors import Corrupt, NotFound, RehoneError
from rehone.records import Check, CheckStatus, Event
from rehone.runlog import RunLog, refuse_lost_store
from rehone.store import Store, has_store

if TYPE_CHECKING:
    from rehone.pipeline import Door

Where = str | Path | Config
When = date | datetime | str | None


def door_of(config: Config, run: str, listen: Callable[[Event], None] | None) -> Door:
    """Stand at the door for a run that has begun."""
    record = RunLog.of(config).find(run)
    return replace(door_for(config, record.as_of, listen=listen), run_id=record.run_id)


def door_for(
    config: Config,
    as_of: datetime,
    *,
    force: bool = False,
    listen: Callable[[Event], None] | None = None,
    name: str | None = None,
) -> Door:
    """Stand at the door for a run that begins; its id ends with the name that the caller gave it."""
    from rehone import pipeline

    return pipeline.Door(
        as_of=as_of,
        clock=now,
        run_id=f"{now():%Y%m%dT%H%M%S%fZ}-{name or secrets.token_hex(3)}",
        actor=user(),
        host=socket.gethostname(),
        pid=os.getpid(),
        git_commit=git_commit(config.root),
        force=force,
        **({"listen": listen} if listen else {}),
    )


def moment(as_of: When, config: Config) -> datetime:
    """Return the instant that a date names: its midnight in `data.timezone`, or now.

    Raises:
        RehoneError: the text is not an ISO date or time.
    """
    if as_of is None:
        return now()
    if isinstance(as_of, str):
        try:
            as_of = datetime.fromisoformat(as_of)
        except ValueError:
            raise RehoneError(f"as_of {as_of!r} is not a date: write it as 2026-08-31 or 2026-08-31T02:00") from None
    if not isinstance(as_of, datetime):
        as_of = datetime.combine(as_of, time())
    zone = ZoneInfo(config.data.timezone)
    return (as_of if as_of.tzinfo else as_of.replace(tzinfo=zone)).astimezone(UTC)


def config_of(project: Where) -> Config:
    return project if isinstance(project, Config) else load_config(Path(project))


def store_of(project: Where) -> tuple[Store, Config]:
    if not isinstance(project, Config) and (Path(project) / "FORMAT").exists():
        return Store(Path(project)), Config()
    config = config_of(project)
    if not has_store(config):
        if (lost := lost_store(config, RunLog.of(config))) is not None:
            raise NotFound(lost.sentence)
        raise NotFound(f"nothing is live: there is no store at {config.store_path}: `rehone run` makes a first version")
    return Store.of(config), config


def now() -> datetime:
    return datetime.now(UTC)


def user() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"{os.getuid()}@{socket.gethostname()}"


def git_commit(folder: Path) -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def lost_store(config: Config, runlog: RunLog) -> Check | None:
    """Say that the store is gone although a run has deployed; `None` when it is there, or never was.

    A ledger that cannot be read says nothing of it: `RunLog.verify` names it.
    """
    try:
        refuse_lost_store(config, runlog.lines())
    except Corrupt:
        return None
    except NotFound as error:
        said, _, remedy = str(error).partition(": ")
        return Check(name="store", status=CheckStatus.ACT, detail=said, remedy=remedy)
    return None

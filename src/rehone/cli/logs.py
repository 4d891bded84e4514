"""Write log events to stderr, each as one line: a JSON object for machines, or text for people.

Fields that events carry are written too. What an exception says is written when Rehone or the
operating system says it; of any other only its type and where it was raised, since a model or a
library may quote the values that it was given.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from rehone.errors import RehoneError

Format = Literal["json", "text"]

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SERVERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def to_stderr(form: Format, level: str, *, whole: bool = False) -> None:
    """Send what is logged to stderr: Rehone's own events from `level` on, all others from warnings on.

    `whole` writes what every exception says, which may hold values of a request.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(whole=whole) if form == "json" else TextLines(whole=whole))
    own = logging.getLogger("rehone")
    for log in (logging.getLogger(), own):
        for former in list(log.handlers):
            log.removeHandler(former)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    own.setLevel(level.upper())
    for name in _SERVERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


class _Lines(logging.Formatter):
    def __init__(self, *, whole: bool = False) -> None:
        super().__init__()
        self._whole = whole

    def raised(self, record: logging.LogRecord) -> str | None:
        """Return what was raised, with its causes before it."""
        error = record.exc_info[1] if record.exc_info else None
        return None if error is None else "\n".join(reversed(_told(error, self._whole)))


class JsonLines(_Lines):
    """One JSON object a line: time, level, logger, message, pid, the event's fields and any exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one event."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        line |= {name if name not in line else f"{name}_": value for name, value in fields(record).items()}
        if (raised := self.raised(record)) is not None:
            line["exception"] = raised
        return _json(line)


class TextLines(_Lines):
    """Time, level, logger and message, then the fields as name=value; tracebacks on lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one event."""
        said = "".join(f" {name}={_json(value)}" for name, value in fields(record).items())
        line = f"{_time(record)} {record.levelname.lower()} {record.name}: {record.getMessage()}{said}"
        raised = self.raised(record)
        return line if raised is None else f"{line}\n{raised}"


def fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return what an event carries besides its message."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: object) -> str:
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except (TypeError, ValueError):  # keys that are no text, or numbers that JSON does not know
        plain = {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else str(value)
        return json.dumps(plain)


def _told(error: BaseException, whole: bool) -> list[str]:
    """Return one text for an exception and for each of its causes, the last one raised first."""
    texts: list[str] = []
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        frames = "".join(traceback.format_tb(at.__traceback__))
        texts.append(f"Traceback (most recent call last):\n{frames}{_last_line(at, whole)}")
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return texts


def _last_line(error: BaseException, whole: bool) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if whole or isinstance(error, RehoneError | OSError):
        return f"{name}: {error}"
    return f"{name} (what it says is left out: it may quote values of a request)"

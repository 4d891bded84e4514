"""Turn every ending, expected or not, into one exit code and a sentence a person can act on."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from rehone.errors import RehoneError

if TYPE_CHECKING:
    from rehone.records import RunRecord

GOOD = 0
BUG = 1
MUST_FIX = 2
HELD = 3
NOTHING_TO_DO = 99
INTERRUPTED = 130
TERMINATED = 143

EXIT_CODES = {
    GOOD: "deployed, skipped or waiting for approval, or the command did what was asked",
    BUG: "a bug in Rehone: please report it",
    MUST_FIX: "a person must fix something: the command line, the configuration, the data, the store; or the run failed",
    HELD: "a challenger was rejected, the comparison was inconclusive, or the deployment was rolled back",
    NOTHING_TO_DO: "only of `rehone stage`: the run was skipped, there is nothing to do for the stages after it",
    INTERRUPTED: "interrupted with Ctrl-C; what is live is whole",
    TERMINATED: "stopped by SIGTERM; what is live is whole",
}


class Terminated(SystemExit):
    """The process was asked to end (SIGTERM); undone like Ctrl-C."""


@dataclass
class Session:
    """What the options before the command said."""

    debug: bool = False


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no exception escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    session = Session()
    try:
        return _run(args, session)
    except RehoneError as error:
        return _stop(MUST_FIX, str(error), session)
    except Terminated:
        return _stop(TERMINATED, f"Stopped by SIGTERM: {_WHOLE}", session)
    except (KeyboardInterrupt, click.Abort):
        return _stop(INTERRUPTED, f"Interrupted: {_WHOLE}", session)
    except BrokenPipeError:
        return unread()
    except Exception as error:  # noqa: BLE001 - the outermost door: what nobody planned ends in a report, not a stack
        return _unplanned(error, session)


_WHOLE = "what is live is whole, and `rehone status` shows it."


def _run(args: Sequence[str] | None, session: Session) -> int:
    from rehone.cli.commands import app

    stdout, before = sys.stdout, signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, _terminate)
    except ValueError:  # only the main thread may; a caller in another thread keeps its own handling
        before = None
    try:
        code = app.main(args=args, prog_name="rehone", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return code if isinstance(code, int) else GOOD
    except click.Abort:
        raise
    except click.ClickException as error:
        error.show()
        return MUST_FIX
    except SystemExit as error:
        if isinstance(error, Terminated) or sys.stdout is stdout:
            raise
        raise BrokenPipeError from None  # click had replaced a closed stdout by its own
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def unread() -> int:
    """Write to nowhere from now on: the reader of the pipe had seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return GOOD


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one may not interrupt the closing of the record
    raise Terminated


def _unplanned(error: Exception, session: Session) -> int:
    if isinstance(error, PermissionError) and error.filename:
        return _stop(
            MUST_FIX,
            f"{error.filename} may not be read or written by this user: give the permission, or run as who owns it",
            session,
        )
    said = f"{type(error).__name__}: {error}".strip(": ")
    again = "" if session.debug else "run it again as `rehone --debug ...` for the traceback and "
    return _stop(BUG, f"This is a bug in Rehone ({said}): {again}please report it.", session)


def _stop(code: int, sentence: str, session: Session) -> int:
    if session.debug:
        traceback.print_exc()
    _say(sentence)
    return code


def _say(text: str) -> None:
    """Write to stderr, without what could steer a terminal: what a sentence quotes comes from files and people."""
    from rehone.cli.text import clean

    click.echo(clean(text), err=True)


class _Stderr(logging.Handler):
    """Write log events to stderr, one line each; with their traceback and fields only when debugging."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__(logging.INFO if debug else logging.WARNING)
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        run = getattr(record, "run_id", None)
        because = getattr(record, "because", None)
        said = f"{record.getMessage()}: {because}" if because else record.getMessage()
        line = f"{record.levelname.lower()}: {said}{f' (run {run})' if run else ''}"
        if self._debug and record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        _say(line)


def log_to_stderr(*, debug: bool) -> None:
    """Send what Rehone logs to stderr, once."""
    log = logging.getLogger("rehone")
    for handler in [h for h in log.handlers if isinstance(h, _Stderr)]:
        log.removeHandler(handler)
    log.addHandler(_Stderr(debug=debug))
    if debug:
        log.setLevel(logging.INFO)
    if not isinstance(warnings.showwarning, _Shown):
        warnings.showwarning = _Shown(warnings.showwarning)


class _Shown:
    """Show warnings as before, but for one of scikit-learn that is false while several threads fit.

    It is given when the list of filters is empty, which it is for a moment whenever another thread
    enters its own; no filter can leave it out then.
    """

    _FALSE = "`sklearn.utils.parallel.delayed` should be used with"

    def __init__(self, show: Callable[..., None]) -> None:
        self._show = show

    def __call__(self, message: Warning | str, *rest: Any, **named: Any) -> None:
        """Show one warning."""
        if not str(message).startswith(self._FALSE):
            self._show(message, *rest, **named)


def of_run(record: RunRecord) -> int:
    """Return the exit code of a run that has ended, or that waits for a person."""
    from rehone import errors
    from rehone.records import RunStatus

    if record.waits or record.status in (RunStatus.SKIPPED, RunStatus.DEPLOYED):
        return GOOD
    if record.status in (RunStatus.REJECTED, RunStatus.INCONCLUSIVE, RunStatus.ROLLED_BACK):
        return HELD
    if record.problem is None:
        return MUST_FIX
    kind = getattr(errors, record.problem.type.rpartition(".")[2], None)
    return MUST_FIX if isinstance(kind, type) and issubclass(kind, RehoneError) else BUG

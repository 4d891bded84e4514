"""Write down a run while it happens, so that whatever ends it leaves the story so far."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from rehone.errors import RehoneError
from rehone.records import Event, EventKind, Problem, RunRecord, RunStatus, Stage
from rehone.runlog import RunLog

log = logging.getLogger(__name__)

Listen = Callable[[Event], None]


class Draft:
    """The record of a run under way: facts are noted before the next step can explode."""

    def __init__(self, record: RunRecord, runlog: RunLog, *, clock: Callable[[], datetime], listen: Listen) -> None:
        self.record = record
        self._runlog = runlog
        self._clock = clock
        self._listen = listen
        self._said = ""

    def begin(self) -> None:
        """Write the record for the first time."""
        self._runlog.begin(self.record)

    def note(self, **facts: Any) -> None:
        """Add facts to the record; they reach the disk when the stage or the run ends."""
        self.record = replace(self.record, **facts)

    def say(self, sentence: str) -> None:
        """Set the one sentence that the present stage will be remembered by."""
        self._said = sentence

    def progress(self, stage: str, done: int, total: int, what: str) -> None:
        """Tell whoever listens how far a long stage has come."""
        self._tell(Event(kind=EventKind.PROGRESS, stage=stage, sentence=what, done=done, total=total))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run one stage: time it, keep its sentence, write the record whatever happens in it."""
        self._said, started = "", self._clock()
        self._tell(Event(kind=EventKind.STARTED, stage=name))
        try:
            yield
        except BaseException as error:
            self._said = self._said or _first_line(error)
            raise
        finally:
            seconds = max(0.0, (self._clock() - started).total_seconds())
            self.note(stages=(*self.record.stages, Stage(name=name, sentence=self._said, seconds=round(seconds, 6))))
            self._runlog.note(self.record)
            self._tell(Event(kind=EventKind.FINISHED, stage=name, sentence=self._said))

    def _tell(self, event: Event) -> None:
        try:
            self._listen(event)
        except Exception as error:  # a listener, such as a closed terminal, may not undo a deployment
            self._listen = lambda _: None
            facts = {"run_id": self.record.run_id, "because": repr(error)}
            log.warning("the run goes on without its listener", exc_info=True, extra=facts)

    def end(self, status: RunStatus, sentence: str) -> RunRecord:
        """Close the record with an ending and the sentence that says why."""
        self.note(status=status, sentence=sentence, finished_at=self._clock(), staged_until=None)
        self._runlog.finish(self.record)
        return self.record

    def rest(self, until: datetime) -> None:
        """Leave the record open until a later stage goes on with it, at the latest at that time."""
        self.note(staged_until=until, problem=None)
        self._runlog.note(self.record)

    def interrupt(self, error: Exception, until: datetime | None) -> None:
        """Note what interrupted a stage that may be made again; the record stays open, at the latest until that time.

        Without a time it is a person's answer that was interrupted: then the record says itself until when.
        """
        self.note(staged_until=until, problem=_problem(error))
        self._runlog.note(self.record)

    def fail(self, error: BaseException) -> RunRecord:
        """Close the record of a run that an exception ended.

        A run that had its ending keeps it: then it was the closing that failed, and that is raised.
        """
        if self.record.status is not None:
            raise error
        self.note(problem=_problem(error))
        return self.end(RunStatus.FAILED, _said(error))


def _problem(error: BaseException) -> Problem:
    trace = None if isinstance(error, RehoneError) else "".join(traceback.format_exception(error))
    return Problem(type=type(error).__name__, message=str(error), traceback=trace)


def _said(error: BaseException) -> str:
    if isinstance(error, RehoneError):
        return str(error)
    if isinstance(error, Exception):
        return f"unexpected {type(error).__name__}: {error}"
    return f"interrupted ({type(error).__name__}): nothing that is live was touched by what was still to come"


def _first_line(error: BaseException) -> str:
    return (_said(error).splitlines() or [type(error).__name__])[0]

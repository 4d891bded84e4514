"""Take a person's answer to a challenger that waits, in a thread of its own, and remember how it went."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from rehone import api
from rehone.errors import RehoneError
from rehone.records import Event, EventKind, RunRecord

log = logging.getLogger(__name__)

_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody answered to a run, and how far that has come: `said` grows, and the last line is the end."""

    file: Path
    run_id: str
    approves: bool
    by: str
    because: str
    said: tuple[str, ...] = ()
    ended: bool = False
    refused: bool = False


@dataclass(eq=False)
class Answers:
    """The answers of this server; one is carried out at a time, so that none waits for a lock of another."""

    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="answer"))
    _lock: Lock = field(default_factory=Lock)
    _answers: dict[tuple[Path, str], Answer] = field(default_factory=dict)

    def begin(self, answer: Answer) -> Future[None] | None:
        """Carry an answer out; nothing happens while another to the same run is under way."""
        key = answer.file, answer.run_id
        with self._lock:
            before = self._answers.pop(key, None)
            if before is not None and not before.ended:
                self._answers[key] = before
                return None
            self._answers[key] = answer
            for old in [k for k, one in self._answers.items() if one.ended][: max(len(self._answers) - _KEPT, 0)]:
                del self._answers[old]
        return self._pool.submit(self._carry_out, answer)

    def of(self, file: Path, run_id: str) -> Answer | None:
        """Return the last answer to a run that this server was given."""
        with self._lock:
            return self._answers.get((file, run_id))

    @property
    def under_way(self) -> int:
        """Return how many answers have not come to their end."""
        with self._lock:
            return sum(not one.ended for one in self._answers.values())

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(wait=True)

    def _carry_out(self, answer: Answer) -> None:
        def heard(event: Event) -> None:
            if event.kind is EventKind.FINISHED:
                self._note(answer, f"{event.stage}: {event.sentence}")

        try:
            record = _answered(answer, heard)
        except RehoneError as error:
            self._note(answer, str(error), ended=True, refused=True)
        except Exception as error:  # the thread must not fall silent: its page says so, and the log has the traceback
            log.exception("an answer could not be carried out", extra={"run_id": answer.run_id})
            self._note(
                answer,
                f"this is a bug in Rehone ({type(error).__name__}): the log of the dashboard has the rest",
                ended=True,
                refused=True,
            )
        else:
            self._note(answer, record.sentence, ended=True)

    def _note(self, answer: Answer, sentence: str, *, ended: bool = False, refused: bool = False) -> None:
        key = answer.file, answer.run_id
        with self._lock:
            now = self._answers[key]
            self._answers[key] = replace(now, said=(*now.said, sentence), ended=ended, refused=refused)


def _answered(answer: Answer, heard: Callable[[Event], None]) -> RunRecord:
    if answer.approves:
        return api.approve(answer.file, answer.run_id, because=answer.because, by=answer.by, listen=heard)
    return api.reject(answer.file, answer.run_id, because=answer.because, by=answer.by)

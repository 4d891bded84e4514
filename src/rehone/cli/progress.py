"""Tell of long work while it is under way: a bar on a terminal, plain lines elsewhere, both with the time left."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

import click

from rehone.cli.text import wrapped
from rehone.records import Event, EventKind

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Listener = Callable[[Event], None]

COLUMN = 12
SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def listening(*, quiet: bool, to_stderr: bool) -> Iterator[Listener | None]:
    """Give a listener that tells of each stage; the bar is gone when the block ends."""
    stream = sys.stderr if to_stderr else sys.stdout
    if quiet:
        yield None
    elif stream.isatty():
        with _bar(stream) as listener:
            yield listener
    else:
        yield Lines(stream)


def counting(listen: Listener | None, stage: str) -> Callable[[str, int, int], None]:
    """Return what work that only counts can tell: what it did, how much is done, of how much."""

    def tell(what: str, done: int, total: int) -> None:
        if listen is not None:
            listen(Event(kind=EventKind.PROGRESS, stage=stage, sentence=what, done=done, total=total))

    return tell


class Lines:
    """Write one sentence per stage, and how far a long stage has come every ten seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._last = clock()
        self._pace = Pace()

    def __call__(self, event: Event) -> None:
        now = self._clock()
        if event.kind is EventKind.FINISHED:
            self._write(event.stage, event.sentence)
            self._last = now
        elif event.kind is EventKind.STARTED:
            self._last, self._pace = now, Pace()
        else:
            left = self._pace.left(event.done, event.total, now)
            if now - self._last >= SECONDS_BETWEEN_LINES:
                of = f" of {event.total}" if event.total else ""
                about = f", about {span(left)} left" if left is not None else ""
                self._write(event.stage, f"{event.done}{of}{about}: {event.sentence}".rstrip(" :"))
                self._last = now

    def _write(self, stage: str, sentence: str) -> None:
        for line in stage_lines(stage, sentence, 80):
            click.echo(line, file=self._stream)
        self._stream.flush()


class Pace:
    """Say how long counted work will still take, from how long it took since it first said something.

    What was done by then also waited for data and libraries: it says nothing of the rest.
    """

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._newest = 0

    def left(self, done: int, total: int, now: float) -> float | None:
        """Return seconds, or `None` while nothing can be said."""
        if self._first is None or done < self._newest:
            self._first = (done, now)
        self._newest = done
        before, begun = self._first
        if not total or done <= before:
            return None
        return (now - begun) / (done - before) * (total - done)


def span(seconds: float) -> str:
    """Write a time in the unit that people would: 40 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def stage_lines(stage: str, sentence: str, width: int) -> list[str]:
    """Write what a stage said, behind its name."""
    return wrapped(sentence or "done", width, indent=COLUMN, first=stage)


@contextlib.contextmanager
def _bar(stream: TextIO) -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[stage]}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield _Bar(progress, min(console.width, 100))


class _Bar:
    """Move a bar for the stage under way; what a finished stage said stays above it."""

    def __init__(self, progress: Progress, width: int) -> None:
        self._progress = progress
        self._width = width
        self._task: TaskID | None = None
        self._pace = Pace()

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.FINISHED or self._task is None:
            self._drop()
        if event.kind is EventKind.FINISHED:
            for line in stage_lines(event.stage, event.sentence, self._width):
                self._progress.console.print(line, soft_wrap=True)
            return
        if event.kind is EventKind.STARTED or self._task is None:
            self._drop()
            self._pace = Pace()
            self._task = self._progress.add_task("", total=None, stage=event.stage, count="", left="")
        if event.kind is EventKind.PROGRESS:
            of = f" of {event.total}" if event.total else ""
            left = self._pace.left(event.done, event.total, time.monotonic())
            self._progress.update(
                self._task,
                completed=event.done,
                total=event.total or None,
                count=f"{event.done}{of}",
                description=event.sentence[:30],
                left="" if left is None else f"{span(left)} left",
            )

    def _drop(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

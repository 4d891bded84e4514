"""Tell of a run while it is under way: a bar on a terminal, plain lines elsewhere."""

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

COLUMN = 12
SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def listening(*, quiet: bool, to_stderr: bool) -> Iterator[Callable[[Event], None] | None]:
    """Give a listener that tells of each stage; the bar is gone when the block ends."""
    stream = sys.stderr if to_stderr else sys.stdout
    if quiet:
        yield None
    elif stream.isatty():
        with _bar(stream) as listener:
            yield listener
    else:
        yield Lines(stream)


class Lines:
    """Write one sentence per stage, and how far a long stage has come every ten seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._last = clock()

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.FINISHED:
            self._write(event.stage, event.sentence)
        elif event.kind is EventKind.PROGRESS and self._clock() - self._last >= SECONDS_BETWEEN_LINES:
            of = f" of {event.total}" if event.total else ""
            self._write(event.stage, f"{event.done}{of} {event.sentence}".rstrip())
        elif event.kind is EventKind.STARTED:
            self._last = self._clock()

    def _write(self, stage: str, sentence: str) -> None:
        for line in stage_lines(stage, sentence, 80):
            click.echo(line, file=self._stream)
        self._stream.flush()
        self._last = self._clock()


def stage_lines(stage: str, sentence: str, width: int) -> list[str]:
    """Write what a stage said, behind its name."""
    return wrapped(sentence or "done", width, indent=COLUMN, first=stage)


@contextlib.contextmanager
def _bar(stream: TextIO) -> Iterator[Callable[[Event], None]]:
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
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield _Bar(progress, min(console.width, 100))


class _Bar:
    """Move a bar for the stage under way; what a finished stage said stays above it."""

    def __init__(self, progress: Progress, width: int) -> None:
        self._progress = progress
        self._width = width
        self._task: TaskID | None = None

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.FINISHED or self._task is None:
            self._drop()
        if event.kind is EventKind.FINISHED:
            for line in stage_lines(event.stage, event.sentence, self._width):
                self._progress.console.print(line, soft_wrap=True)
            return
        if event.kind is EventKind.STARTED or self._task is None:
            self._drop()
            self._task = self._progress.add_task("", total=None, stage=event.stage, count="")
        if event.kind is EventKind.PROGRESS:
            of = f" of {event.total}" if event.total else ""
            self._progress.update(
                self._task,
                completed=event.done,
                total=event.total or None,
                count=f"{event.done}{of}",
                description=event.sentence[:30],
            )

    def _drop(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

"""Make the models of many days in processes of their own, which leave each on the shelf as it is done.

Nothing is lost when any of them is killed: whoever asks next makes only what is missing.
"""

from __future__ import annotations

import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from rehone.backtest.lab import Shelf, make
from rehone.backtest.past import History, history_of
from rehone.config import Config
from rehone.disk import Disk

WORTH_IT = 6
"""Days below which starting processes costs more than it saves."""


_START = "import sys, pathlib; from rehone.backtest.crew import work; work(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))"


@dataclass(frozen=True, slots=True)
class Crew:
    """How many processes make models, and how those on the way are told."""

    size: int
    done: Callable[[datetime], None]


def make_all(history: History, shelf: Shelf, days: Sequence[datetime], windows: Sequence[str], crew: Crew) -> None:
    """Make what is missing on the shelf for these days; what a process could not make is left to be made here."""
    missing = [day for day in days if shelf.get(day) is None]
    for day in days:
        if day not in missing:
            crew.done(day)
    if crew.size > 1 and len(missing) >= WORTH_IT:
        _hand_out(_written(history, shelf, missing, windows), crew)


def _hand_out(job: Path, crew: Crew) -> None:
    """Let processes work on a job, and end them whatever happens."""
    told: queue.Queue[str | None] = queue.Queue()
    hands = [_hired(job, number, crew.size) for number in range(crew.size)]
    ears = [threading.Thread(target=_listen, args=(hand, told), daemon=True) for hand in hands]
    try:
        for ear in ears:
            ear.start()
        left = len(hands)
        while left:
            line = told.get()
            if line is None:
                left -= 1
            else:
                crew.done(datetime.fromisoformat(line.strip()))
    finally:
        for hand in hands:
            hand.terminate()
            hand.wait()
        for ear in ears:
            ear.join()


def _listen(hand: subprocess.Popen[str], told: queue.Queue[str | None]) -> None:
    if hand.stdout is not None:
        with hand.stdout as lines:
            for line in lines:
                told.put(line)
    told.put(None)


def _hired(job: Path, number: int, of: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _START, str(job), str(number), str(of)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def _written(history: History, shelf: Shelf, days: Sequence[datetime], windows: Sequence[str]) -> Path:
    """Write what the processes are to do, beside the shelf."""
    disk, held = Disk(), io.BytesIO()
    disk.make_folder(shelf.folder)
    history.frame.write_ipc(held)
    disk.replace(shelf.folder / "history.arrow", held.getvalue(), lasting=False)  # others may be reading it
    job = shelf.folder / "job.json"
    said = {
        "config": history.config.as_recorded(),
        "root": str(history.config.root),
        "features": history.features,
        "windows": list(windows),
        "days": [day.isoformat() for day in days],
    }
    disk.replace(job, json.dumps(said).encode(), lasting=False)
    return job


def work(job: Path, number: int, of: int) -> None:
    """Make the models of every `of`-th day of a job and say of each that it is there.

    Ends when nobody listens any more.
    """
    said = json.loads(job.read_text())
    config = Config(**said["config"], root=Path(said["root"]))
    one = config.train.model_copy(update={"parallel": 1})
    history = history_of(pl.read_ipc((job.parent / "history.arrow").read_bytes()), config, tuple(said["features"]))
    shelf = Shelf(job.parent)
    for text in said["days"][number::of]:
        day = datetime.fromisoformat(text)
        shelf.put(day, make(history, config.model_copy(update={"train": one}), day, said["windows"]))
        try:
            os.write(1, f"{text}\n".encode())
        except BrokenPipeError:
            return

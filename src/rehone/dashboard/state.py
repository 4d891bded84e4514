"""Tell from a few names and sizes of files whether pages of a project would differ from what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from rehone.config import Config
from rehone.disk import Disk
from rehone.objects import disk_for
from rehone.places import Place
from rehone.runlog import LEDGER
from rehone.runlog.resets import FOLDER

_NEWEST = 3
"""So many of the newest records are looked at for a run that is under way."""


def state_of(config: Config) -> str:
    """Return a text that changes when a run begins, gets on or ends, and when something is deployed.

    It takes the same time however many runs there are; in an object store, the ledger is read.

    Raises:
        StoreError: an object store does not answer.
    """
    runs, store = config.runs_path, config.store_path
    log, shelf = disk_for(runs, config.storage), disk_for(store, config.storage)
    seen = [
        _mark(log, runs / LEDGER),
        *_open(log, runs),
        *log.names(runs / FOLDER),
        *shelf.names(store / "deployments")[-1:],
        _mark(shelf, store / "shadow.json"),
    ]
    return digest("\n".join(seen))


def digest(text: str) -> str:
    """Return a short text that stands for a long one."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _open(disk: Disk, runs: Place) -> Iterator[str]:
    """Look at the newest records of the newest month, which change while a run gets on."""
    folder = runs
    for _ in ("year", "month"):
        numbers = [name for name in disk.names(folder) if name.isdigit()]
        if not numbers:
            return
        folder = folder / numbers[-1]
    records = [name for name in disk.names(folder) if name.endswith(".json") and name.count(".") == 1]
    for name in records[-_NEWEST:]:
        yield f"{name} {_mark(disk, folder / name)}"


def _mark(disk: Disk, path: Place) -> str:
    """Return what changes with a file: its time and size, or a digest of an object; empty when it is not there."""
    try:
        if isinstance(path, Path):
            found = path.stat()
            return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"
        return hashlib.sha256(disk.read(path)).hexdigest()
    except FileNotFoundError:
        return ""

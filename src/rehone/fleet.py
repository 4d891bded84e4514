"""Run many projects, a few at a time, each in a process of its own: what one does cannot stop the others."""

from __future__ import annotations

import glob
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from rehone import codec
from rehone.config import CONFIG_NAME
from rehone.errors import Corrupt, NotFound
from rehone.records import FleetRun, RunRecord

GRACE_SECONDS = 30.0
"""Time that a run which was asked to end has for closing its record."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """How the projects of a fleet are run; `seconds` is the longest that one of them may take."""

    parallel: int
    as_of: str | None = None
    force: bool = False
    seconds: float | None = None


def find(patterns: Sequence[str]) -> tuple[Path, ...]:
    """Return the `rehone.toml` that each pattern means, a file, a folder or a glob of them; each once, as first named.

    Raises:
        NotFound: a pattern means none; all such are listed.
    """
    found: dict[Path, Path] = {}
    empty = []
    for pattern in patterns:
        paths = [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - absolute patterns too
        files = [p / CONFIG_NAME if p.is_dir() else p for p in paths]
        files = [p for p in files if p.is_file() and (p.suffix == ".toml" or str(p) == pattern)]
        if not files:
            empty.append(pattern)
        for file in files:
            found.setdefault(file.resolve(), file)
    if empty:
        raise NotFound(
            f"no project matches {', '.join(map(repr, empty))}: name folders with a {CONFIG_NAME}, or such files"
        )
    return tuple(found.values())


def run(
    projects: Sequence[Path], order: Order, *, ended: Callable[[FleetRun], None] = lambda _: None
) -> tuple[FleetRun, ...]:
    """Run every project once and return how each ended, in the order given; `ended` is told each as it ends.

    An interruption (Ctrl-C, SIGTERM) asks the runs under way to end, waits until they have closed
    their records, and begins no other.
    """
    stop = Event()
    with ThreadPoolExecutor(order.parallel, thread_name_prefix="fleet") as pool:
        futures = {pool.submit(_one, project, order, stop): project for project in projects}
        try:
            for future in as_completed(futures):
                ended(future.result())
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return tuple(future.result() for future in futures)


def _one(project: Path, order: Order, stop: Event) -> FleetRun:
    begun = time.monotonic()
    asked = [sys.executable, "-P", "-m", "rehone", "run", "--json", "--project", str(project)]
    asked += ["--as-of", order.as_of] if order.as_of else []
    asked += ["--force"] if order.force else []
    try:
        process = subprocess.Popen(
            asked, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        return _ended(project, begun, 1, None, f"could not be started: {error}")
    out, err, late = _watched(process, order.seconds, begun, stop)
    record = _record(out)
    if late:
        return _ended(project, begun, 2, record, f"took longer than {order.seconds:,.0f} s and was ended")
    if record is not None:
        return _ended(project, begun, process.returncode, record, record.sentence)
    return _ended(project, begun, process.returncode, None, _said(process.returncode, err))


def _watched(
    process: subprocess.Popen[bytes], seconds: float | None, begun: float, stop: Event
) -> tuple[bytes, bytes, bool]:
    """Wait for a process; ask it to end when its time is over or everything is to stop, then make it."""
    asked_at: float | None = None
    late = False
    while True:
        try:
            out, err = process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            late = late or (seconds is not None and now - begun > seconds)
            if asked_at is None and (late or stop.is_set()):
                process.send_signal(signal.SIGTERM)
                asked_at = now
            elif asked_at is not None and now - asked_at > GRACE_SECONDS:
                process.kill()
        else:
            return out, err, late


def _record(out: bytes) -> RunRecord | None:
    try:
        return codec.decode(out, RunRecord, source="the run's output")
    except Corrupt:
        return None


def _said(code: int, err: bytes) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}: the next run closes its record"
    lines = err.decode("utf-8", "replace").strip().splitlines()
    return " ".join(line.strip() for line in lines) or f"ended with exit code {code} and said nothing"


def _ended(project: Path, begun: float, code: int, record: RunRecord | None, sentence: str) -> FleetRun:
    return FleetRun(
        project=str(project),
        name=record.project if record else "",
        exit_code=code,
        status=record.status if record else None,
        run_id=record.run_id if record else None,
        trigger=record.trigger.kind if record and record.trigger else None,
        version=record.version if record else None,
        seconds=round(time.monotonic() - begun, 3),
        sentence=sentence,
    )

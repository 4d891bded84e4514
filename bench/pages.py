"""Measure how long the dashboard takes for its first page with many runs, against few.

    python bench/pages.py [--history demo-run] [--few 100] [--many 10000] [--times 3]

`make demo` makes the history. Its closed records are copied under other ids, one an hour, with a ledger that
verifies; figures are copied with them. Each time is that of a request to a dashboard of its own process, which draws a first page
before it says its address; the times from its start have that in them.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from rehone import codec
from rehone.config import load_config
from rehone.records import RunRecord
from rehone.runlog import LEDGER, RunLog, ledger

STEPS = (
    "from start to first page, no index",
    "from start to first page",
    "first page",
    "first page again, changed",
    "first page again, unchanged (304)",
    "is there anything new",
    "runs",
    "drift",
    "health",
    "a run of long ago",
)


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=Path, default=Path("demo-run"))
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    if not (asked.history / "runs" / LEDGER).exists():
        sys.exit(f"there is no history in {asked.history}: `make demo` makes one, or name another with --history")
    found = {}
    for count in (asked.few, asked.many):
        with tempfile.TemporaryDirectory() as folder:
            grown(asked.history, Path(folder), count)
            taken = [measured(Path(folder), first=i == 0) for i in range(asked.times)]
            found[count] = [statistics.median(t[step] for t in taken if step in t) for step in STEPS]
    print(f"{'':36}{f'{asked.few:,} runs':>14}{f'{asked.many:,} runs':>14}{'ratio':>9}")
    for step, few, many in zip(STEPS, *found.values(), strict=True):
        print(f"{step:36}{few * 1000:11.1f} ms{many * 1000:11.1f} ms{many / few:9.2f}")


def grown(history: Path, root: Path, count: int) -> None:
    """Copy a project with its closed records again and again under other ids, until there are `count`."""
    for name in ("rehone.toml", "store"):
        source = history / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name, **_links(source))
    real = [record for record in RunLog.of(load_config(history)).records() if record.status is not None]
    log, lines, text = RunLog.of(load_config(root)), (), b""
    newest = max(record.started_at for record in real).replace(minute=0, second=0, microsecond=0)
    for i in range(count):
        record = _copy(real[i % len(real)], newest - timedelta(hours=count - i), i)
        folder = root / "runs" / f"{record.started_at:%Y}" / f"{record.started_at:%m}"
        folder.mkdir(parents=True, exist_ok=True)
        _with_figures(history, real[i % len(real)], folder / f"{record.run_id}.figures.json")
        data = codec.encode(record)
        (folder / f"{record.run_id}.json").write_bytes(data)
        line = ledger.next_line(record, data, f"{record.started_at:%Y/%m}/{record.run_id}.json", lines)
        lines, text = ledger.read(line, source="the last line"), text + line
    (root / "runs" / LEDGER).write_bytes(text)
    assert len(log.lines()) == count


def _links(source: Path) -> dict[str, bool]:
    return {"symlinks": True} if source.is_dir() else {}


def _copy(record: RunRecord, started: datetime, number: int) -> RunRecord:
    name = hashlib.sha256(str(number).encode()).hexdigest()[:6]
    took = record.finished_at - record.started_at if record.finished_at else timedelta(0)
    run_id = f"{started:%Y%m%dT%H%M%S%fZ}-{name}"
    figures = replace(record.figures, path=f"{run_id}.figures.json") if record.figures else None
    moved = replace(record, run_id=run_id, started_at=started, finished_at=started + took, judged=None, figures=figures)
    return replace(moved, as_of=started)


def _with_figures(history: Path, record: RunRecord, target: Path) -> None:
    source = history / "runs" / f"{record.started_at:%Y/%m}" / f"{record.run_id}.figures.json"
    if record.figures is not None and source.exists():
        shutil.copy(source, target)


@contextmanager
def serving(root: Path) -> Iterator[int]:
    """Start a dashboard, and return its port."""
    asked = [sys.executable, "-m", "rehone", "dashboard", str(root), "--port", "0"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().partition(";")[0].rpartition(":")[2])
        process.terminate()


def measured(root: Path, *, first: bool) -> dict[str, float]:
    """Return the seconds that each request took."""
    found = {}
    if first:
        began = time.perf_counter()
        with serving(root) as port:
            _asked(port, "/")
            found["from start to first page, no index"] = time.perf_counter() - began
    began = time.perf_counter()
    with serving(root) as port:
        found["first page"], tag = _asked(port, "/")
        found["from start to first page"] = time.perf_counter() - began
        for _ in range(5):  # the state also changes twice a minute by itself
            found["first page again, unchanged (304)"], again = _asked(port, "/", tag)
            if again == tag:
                break
            tag = again
        found["is there anything new"], _ = _asked(port, "/state")
        for page in ("runs", "drift", "health"):
            found[page], _ = _asked(port, f"/{page}")
        old = RunLog.of(load_config(root)).lines()[0].run_id
        found["a run of long ago"], _ = _asked(port, f"/run/{old}")
        (root / "rehone.toml").touch()
        time.sleep(1)
        found["first page again, changed"], _ = _asked(port, "/")
    return found


def _asked(port: int, path: str, tag: str = "") -> tuple[float, str]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    began = time.perf_counter()
    line.request("GET", path, headers={"if-none-match": tag} if tag else {})
    answer = line.getresponse()
    answer.read()
    took = time.perf_counter() - began
    assert answer.status in (200, 304), (path, answer.status)
    line.close()
    return took, answer.headers.get("etag", "")


if __name__ == "__main__":
    main()

"""Measure Rehone against the tutorial way, as ratios from one run on one machine.

    make bench                         all three, an hour or two: the tutorial way is slow
    .venv/bin/python bench/run.py small check        only these

Each side runs as a process of its own; the kernel says what it used (wall, CPU, peak memory).
Compare ratios, never the seconds of different machines.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from stream import write_days

HERE = Path(__file__).parent
START = date(2026, 1, 1)

PROJECT = """
[project]
name = "bench"
[data]
source = "data/*.parquet"
time_column = "at"
label = "label"
exclude = ["score"]
lookback_days = 90
[gate]
min_recall = 0.3
min_roc_auc = 0.6
"""

TRAIN = """
import json, sys, polars as pl
from rehone import run_pipeline
from rehone.config import load_config
record = run_pipeline(sys.argv[1], as_of=sys.argv[2], force=True)
assert record["status"] == "deployed", record.sentence
print(json.dumps({"cv": record.winner.cv_roc_auc_mean}))
"""

SCORE = """
import json, sys, polars as pl
from sklearn.metrics import roc_auc_score
from rehone import load
rows = pl.read_parquet(sys.argv[2] + "/*.parquet")
print(json.dumps({"auc": roc_auc_score(rows["label"].to_numpy(), load(sys.argv[1]).predict_proba(rows))}))
"""

CHECK = """
import json, sys, time
from rehone import api, pipeline
begun = time.perf_counter()
seen = api.check(sys.argv[1], as_of=sys.argv[2])
found = {d.feature: d.psi for d in seen.evidence.drift}
print(json.dumps({**found, "ks": seen.evidence.scores.ks, "rows": seen.evidence.rows, "seconds": time.perf_counter() - begun}))
"""


@dataclass(frozen=True)
class Used:
    """What one process used, and what it printed last."""

    wall: float
    cpu: float
    peak_mb: float
    said: dict[str, Any]


def use(*command: object) -> Used:
    """Run a process and return what the kernel counted for it and its children."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True)
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"{command[:2]} ended with {process.returncode}")
    return Used(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, json.loads(output.splitlines()[-1]))


def compare(title: str, theirs: Used, ours: Used) -> None:
    """Print both sides and how many times less ours is."""
    print(f"\n{title}")
    print(f"  {'':<10}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}")
    for name, used in (("tutorial", theirs), ("rehone", ours)):
        print(f"  {name:<10}{used.wall:>10.2f}{used.cpu:>10.2f}{used.peak_mb:>10.0f}")
    print(
        f"  {'ratio':<10}{theirs.wall / ours.wall:>10.1f}{theirs.cpu / ours.cpu:>10.1f}{theirs.peak_mb / ours.peak_mb:>10.1f}",
        flush=True,
    )


def whole_run(folder: Path, rows: int) -> None:
    """Compare a whole retraining on 90 days of `rows` rows; both models score 200,000 rows of ten fresh days."""
    write_days(folder / "data", START, 90, rows)
    write_days(folder / "fresh", START + timedelta(days=90), 10, 20_000)
    (folder / "rehone.toml").write_text(PROJECT)
    ours = use("-c", TRAIN, folder, START + timedelta(days=90))
    scored = use("-c", SCORE, folder, folder / "fresh")
    theirs = use(HERE / "tutorial.py", "train", folder / "data", folder / "fresh")
    compare(f"Whole run, 90 days x {rows:,} rows x 12 features", theirs, ours)
    print(
        f"  ROC-AUC on 200,000 rows of ten fresh days: tutorial {theirs.said['auc']:.4f}, rehone {scored.said['auc']:.4f}",
        flush=True,
    )


def drift_check(folder: Path, rows: int = 100_000) -> None:
    """Compare PSI of 12 features and KS of the score over 90 days of `rows` rows."""
    write_days(folder / "data", START - timedelta(days=90), 90, 1_000, score=True)
    (folder / "rehone.toml").write_text(PROJECT)
    made = use("-c", TRAIN, folder, START)
    shutil.copytree(folder / "data", folder / "reference")
    shutil.rmtree(folder / "data")
    write_days(folder / "data", START, 90, rows, score=True)
    text = PROJECT.replace("[gate]", 'score_column = "score"\n[trigger]\nwindow_days = 90\n[gate]')
    (folder / "rehone.toml").write_text(text)
    day = START + timedelta(days=90)
    first = use("-c", CHECK, folder, day)
    write_days(folder / "data", day, 1, rows, score=True)
    again = use("-c", CHECK, folder, day + timedelta(days=1))
    theirs = use(HERE / "tutorial.py", "check", folder / "data", folder / "reference")
    compare(f"PSI and KS of {90 * rows:,} rows x 12 features, first check", theirs, first)
    compare("The same the day after (one new file, the others' counts from the cache)", theirs, again)
    print(
        f"  first check / check of the day after: {first.wall / again.wall:.1f} x as whole processes, "
        f"{first.said['seconds'] / again.said['seconds']:.1f} x without the start of Python"
    )
    print(f"  (rows seen {first.said['rows']:,}; champion made in {made.wall:.1f} s)", flush=True)


def main() -> None:
    """Run the comparisons asked for, in a folder of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["small", "large", "check"], default=["small", "check", "large"])
    parser.add_argument("--folder", type=Path, default=Path("bench-run"))
    asked = parser.parse_args()
    for what in asked.what:
        folder = asked.folder.resolve() / what
        if folder.exists():
            subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        {"small": lambda f: whole_run(f, 500), "large": lambda f: whole_run(f, 10_000), "check": drift_check}[what](
            folder
        )


if __name__ == "__main__":
    main()

"""Measure the peak memory of a search whose rows are in memory, and of one that reads them from disk.

Run it with `python bench/external_memory.py`, where `rehone[xgboost]` is installed. Each side is a
process of its own on the same rows: two folds and the final fit, one fit at a time. Beside the
whole peak stands what it is above the start: libraries loaded, and the frame of rows that both
sides are handed.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from rehone import train
from rehone.artifact import learn_contract
from rehone.config import Candidate, Train

COLUMNS = 12
START = datetime(2026, 1, 1, tzinfo=UTC)
SIDES = ("xgboost", "xgboost_external")


def main() -> None:
    """Run both sides and print them with their ratio, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--trees", type=int, default=20)
    parser.add_argument("--side", choices=SIDES)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(_measured(asked.side, asked.rows, asked.trees)))
        return
    found = {side: _apart(side, asked.rows, asked.trees) for side in SIDES}
    memory, disk = (found[side] for side in SIDES)
    print(f"{asked.rows:,} rows x {COLUMNS} features, {asked.trees} trees, 2 folds and the final fit")
    print(f"{'':<22}{'peak MB':>10}{'at the start':>14}{'above it':>14}{'wall s':>9}{'ROC-AUC':>10}")
    for side, one in found.items():
        above = one["peak"] - one["rows"]
        print(f"{side:<22}{one['peak']:>10.0f}{one['rows']:>14.0f}{above:>14.0f}{one['wall']:>9.1f}{one['auc']:>10.4f}")
    above = (memory["peak"] - memory["rows"]) / (disk["peak"] - disk["rows"])
    print(f"{'times less':<22}{memory['peak'] / disk['peak']:>10.1f}{'':>14}{above:>14.1f}")


def _apart(side: str, rows: int, trees: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--rows", str(rows), "--trees", str(trees)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _measured(side: str, n: int, trees: int) -> dict[str, float]:
    """Return the peak of a side and its memory before the search, in MB, its wall seconds and ROC-AUC."""
    candidate = Candidate(estimator=side, params={"n_estimators": trees})
    policy = Train(candidates=(candidate,), windows=("trailing",), folds=2, parallel=1)
    with TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        train.search(_handed(_rows(1000), Path(folder)), policy, seed=7)  # libraries are loaded once
        rows = _handed(_rows(n), Path(folder))
        before, begun = _resident(), time.perf_counter()
        found = train.search(rows, policy, seed=7)
        wall = time.perf_counter() - begun
    if found.winner.cv_roc_auc_mean is None:
        raise SystemExit(found.winner.error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak": peak, "rows": before, "wall": wall, "auc": found.winner.cv_roc_auc_mean}


def _handed(frame: pl.DataFrame, folder: Path) -> train.TrainingRows:
    contract = learn_contract(frame, [f"x{i}" for i in range(COLUMNS)], label="label")
    return train.TrainingRows(frame, START, contract, folder)


def _rows(n: int) -> pl.DataFrame:
    """Make rows column by column, so that making them has no peak of its own."""
    draw = np.random.default_rng(1)
    columns = {f"x{i}": draw.normal(size=n) for i in range(COLUMNS)}
    odds = columns["x0"] + 0.5 * columns["x1"] * columns["x2"] - 2
    labels = (draw.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    times = pl.datetime_range(START, START + timedelta(seconds=n - 1), "1s", time_unit="us", eager=True)
    return pl.DataFrame({"__time__": times, **columns, "label": labels})


def _resident() -> float:
    said = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(said.group(1)) / 1024 if said else 0.0


if __name__ == "__main__":
    main()

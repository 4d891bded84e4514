"""Measure what the prediction log costs: each request on the event loop, and each row behind it.

    python bench/predictions.py [--rows 60000] [--features 20]

CPU time of the process, so that other work of the machine does not count. The ratio
is to decoding the same request from JSON, which a service does in any case.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from rehone.config import Predictions
from rehone.predictions import Entry, Log, Writer
from rehone.records import Contract, Feature, FeatureKind, Window

DAY = datetime(2026, 6, 1, tzinfo=UTC)
START = int(DAY.timestamp()) * 10**9
SCORE = np.array([0.25])
T = TypeVar("T")


def contract_of(features: int) -> Contract:
    """Return a contract of which every fifth feature is a category."""
    kinds = [FeatureKind.CATEGORICAL if i % 5 == 4 else FeatureKind.NUMERIC for i in range(features)]
    return Contract(features=tuple(Feature(f"f{i}", kind) for i, kind in enumerate(kinds)), label="y")


def main() -> None:
    """Print the costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--features", type=int, default=20)
    asked = parser.parse_args()
    contract, names = contract_of(asked.features), contract_of(asked.features).names
    rng = np.random.default_rng(0)
    values = rng.normal(size=(asked.rows, asked.features)).tolist()
    rows = [tuple(f"c{int(v * 3)}" if i % 5 == 4 else v for i, v in enumerate(row)) for row in values]
    bodies = [json.dumps(dict(zip(names, row, strict=True))).encode() for row in rows]
    decode = time_of(lambda: [msgspec.json.decode(body) for body in bodies]) / asked.rows
    for share in (1.0, 0.1):
        with tempfile.TemporaryDirectory() as folder:
            policy = Predictions(max_waiting_rows=10 * asked.rows, share=share)
            writer = Writer(Path(folder), policy, name="bench", clock=lambda: DAY)

            gc.collect()
            making, entries = timed(lambda: [entry_of(contract, names, i, row) for i, row in enumerate(rows)])
            adding = time_of(lambda: [writer.add(entry) for entry in entries])  # noqa: B023 - called at once
            making, adding = making / asked.rows, adding / asked.rows
            stop = threading.Event()
            stop.set()
            behind = time_of(lambda: writer.follow(stop))  # noqa: B023 - called at once
            size = sum(path.stat().st_size for path in Log(Path(folder)).files())
            shown = Log(Path(folder)).scan(Window(DAY, datetime(2026, 6, 2, tzinfo=UTC))).collect().height
            print(
                f"share {share:g}: a request {(making + adding) * 1e6:.2f} us ({making * 1e6:.2f} entry, "
                f"{adding * 1e6:.2f} add; {(making + adding) / decode:.2f} x decoding its JSON); "
                f"behind {behind / asked.rows * 1e6:.2f} us a row; {shown:,} rows, {size / max(shown, 1):.0f} bytes each"
            )


def entry_of(contract: Contract, names: tuple[str, ...], i: int, row: tuple[object, ...]) -> Entry:
    """Return the i-th request, of one row."""
    return Entry(START + i * 1000, "a" * 64, 3, contract, names, (row,), (f"r-{i}",), SCORE, 0.5, 0.001)


def timed(act: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds that this process spends in a call, and what the call returns."""
    start = time.process_time()
    found = act()
    return time.process_time() - start, found


def time_of(act: Callable[[], object]) -> float:
    """Return the CPU seconds that this process spends in a call."""
    return timed(act)[0]


if __name__ == "__main__":
    main()

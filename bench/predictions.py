"""Measure what the prediction log costs: each request on the event loop, and each row behind it.

    python bench/predictions.py [--rows 60000] [--features 20]

CPU time of the thread that pays it, so that other work of the machine does not count. The ratio
is to decoding the same request from JSON, which a service does in any case.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from rehone.config import Predictions
from rehone.predictions import Entry, Log, Writer
from rehone.records import Contract, Feature, FeatureKind, Window

DAY = datetime(2026, 6, 1, tzinfo=UTC)
START = int(DAY.timestamp()) * 10**9


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
    score = np.array([0.25])
    decode = time_of(
        lambda bodies=[json.dumps(dict(zip(names, row, strict=True))).encode() for row in rows[:20_000]]: [
            msgspec.json.decode(body) for body in bodies
        ]
    )
    for share in (1.0, 0.1):
        with tempfile.TemporaryDirectory() as folder:
            policy = Predictions(max_waiting_rows=10 * asked.rows, share=share)
            writer = Writer(Path(folder), policy, name="bench", clock=lambda: DAY)

            def add_all(writer: Writer = writer) -> None:
                for i, row in enumerate(rows):
                    writer.add(
                        Entry(START + i * 1000, "a" * 64, 3, contract, names, (row,), (f"r-{i}",), score, 0.5, 0.001)
                    )

            gc.collect()
            adding = time_of(add_all) / asked.rows
            behind = time_of(writer._flush)
            size = sum(path.stat().st_size for path in Log(Path(folder)).files())
            shown = Log(Path(folder)).scan(Window(DAY, datetime(2026, 6, 2, tzinfo=UTC))).collect().height
            print(
                f"share {share:g}: add {adding * 1e6:.2f} us a request "
                f"({adding / (decode / min(20_000, asked.rows)):.2f} x decoding its JSON); "
                f"thread {behind / asked.rows * 1e6:.2f} us a row; {shown:,} rows, {size / max(shown, 1):.0f} bytes each"
            )


def time_of(act: object) -> float:
    """Return the CPU seconds that this process spends in a call."""
    start = time.process_time()
    act()  # type: ignore[operator]
    return time.process_time() - start


if __name__ == "__main__":
    main()

"""Measure what one score costs in CPU time, by the pipeline itself and by the path that serves.

Run it with `python bench/paths.py`. Both are measured in turn in one process, so that the ratio
holds on a busy machine; the numbers are the smallest of several rounds, in microseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import polars as pl

from rehone.artifact import Predictor, encode, learn_contract, one_thread
from rehone.config import BUILT_IN, Candidate
from rehone.train import pipeline_of
from stream import FEATURES, day_of_payments

SIZES = (1, 32, 100, 1000)
IN_CORE = tuple(name for name in BUILT_IN if not name.startswith("xgboost"))


def main() -> None:
    """Train each built-in estimator on simulated payments and print both costs for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000, help="rows to train on")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    frame = _payments(asked.rows)
    contract = learn_contract(frame, FEATURES, label="label", categorical=["weekday", "merchant"])
    matrix = encode(frame, contract)
    print(f"{'estimator':<24}{'path':<34}{'load ms':>8}" + "".join(f"{f'{n} rows':>26}" for n in SIZES))
    for name in IN_CORE:
        pipeline = pipeline_of(Candidate(estimator=name), contract, 0).fit(matrix, frame["label"].to_numpy())
        predictor = Predictor(contract=contract, pipeline=pipeline, threshold=0.5)
        with one_thread():
            pipeline.predict_proba(matrix[:1])
        start = time.perf_counter()
        predictor.prepare()
        load = 1e3 * (time.perf_counter() - start)
        costs = [_costs(predictor, matrix[:n], asked.rounds) for n in SIZES]
        print(f"{name:<24}{predictor.path:<34}{load:8.0f}" + "".join(f"{_said(*cost):>26}" for cost in costs))


def _payments(rows: int) -> pl.DataFrame:
    from datetime import date

    frame = day_of_payments(date(2026, 1, 1), rows)
    flags = [name for name in FEATURES if name.endswith(("_match", "_present"))]
    return frame.with_columns(pl.col(flags).cast(pl.Boolean), pl.col("weekday", "merchant").cast(pl.Int64))


def _costs(predictor: Predictor, matrix: np.ndarray, rounds: int) -> tuple[float, float]:
    """Return the CPU microseconds of the pipeline and of the path."""

    def pipeline() -> object:
        with one_thread():
            return predictor.pipeline.predict_proba(matrix)[:, 1]

    before = after = float("inf")
    for _ in range(rounds):
        before = min(before, _cpu(pipeline))
        after = min(after, _cpu(lambda: predictor.score(matrix)))
    return before, after


def _cpu(call: Callable[[], object]) -> float:
    times, start = 0, time.process_time()
    while (spent := time.process_time() - start) < 0.02 or not times:
        for _ in range(8 if times else 1):
            call()
            times += 1
    return 1e6 * spent / times


def _said(before: float, after: float) -> str:
    return f"{before:.0f} > {after:.1f} ({before / after:.0f}x)"


if __name__ == "__main__":
    main()

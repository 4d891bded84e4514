"""Count how often `rehone calibrate` is right about histories whose truth is known.

Run it with `python bench/calibrate.py [--histories 200]`. In one kind of history drift and recall go
their own ways; in the other recall falls with drift and is a tenth below its baseline from 0.25
on. Windows hang together in time by the memory given. The table tells how often drift was called
telling in each, and, where it was, the limit's quantiles and how often its interval holds 0.25.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from rehone.calibrate.signals import FEWEST_OF_A_KIND, Pairs, auc_interval, crossing, crossing_interval

BASELINE, DROP, TRUE = 0.75, 0.10, 0.25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=200)
    histories = parser.parse_args().histories
    print(
        "| windows | memory | nothing tells: called telling | drift tells: called telling | from (10 %, 50 %, 90 %) | interval holds 0.25 |"
    )
    print("|---|---|---|---|---|---|")
    for windows in (12, 20, 40):
        for memory in (0.0, 0.5, 0.8):
            false = _share_told(histories, windows, memory, _own_ways)
            told = [p for p in _histories(histories, windows, memory, _falls) if _tells(p)]
            at = [x for p in told if (x := crossing(p)) is not None]
            held = [_holds(*crossing_interval(p)) for p in told]
            tails = ", ".join(f"{x:.2f}" for x in np.quantile(at, [0.1, 0.5, 0.9]))
            share = len(told) / histories
            print(f"| {windows} | {memory} | {false:.3f} | {share:.2f} | {tails} | {np.mean(held):.2f} |", flush=True)
    return 0


Truth = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _own_ways(_drift: np.ndarray, other: np.ndarray) -> np.ndarray:
    return BASELINE * (1 - 0.12 * np.abs(other))


def _falls(drift: np.ndarray, _other: np.ndarray) -> np.ndarray:
    return BASELINE * np.clip(np.where(drift < 0.1, 1, 1 - DROP * (drift - 0.1) / (TRUE - 0.1)), 0.2, 1)


def _histories(count: int, windows: int, memory: float, truth: Truth) -> list[Pairs]:
    made = []
    for seed in range(count):
        rng = np.random.default_rng([seed, windows, int(10 * memory)])
        drift = 0.2 * np.exp(0.7 * _serial(windows, rng, memory))
        positives = rng.integers(60, 120, windows)
        recall = rng.binomial(positives, truth(drift, _serial(windows, rng, memory))) / positives
        made.append(Pairs.of(drift, recall, np.full(windows, BASELINE), positives.astype(float), DROP))
    return made


def _share_told(count: int, windows: int, memory: float, truth: Truth) -> float:
    made = _histories(count, windows, memory, truth)
    enough = [p for p in made if _enough(p)]
    return float(np.mean([_tells(p) for p in enough]))


def _enough(pairs: Pairs) -> bool:
    return bool(FEWEST_OF_A_KIND <= pairs.fallen.sum() <= pairs.fallen.size - FEWEST_OF_A_KIND)


def _tells(pairs: Pairs) -> bool:
    if not _enough(pairs):
        return False
    interval = auc_interval(pairs, 0)
    return interval is not None and interval[0] > 0.5


def _holds(low: float | None, high: float | None) -> bool:
    return (low is None or low <= TRUE) and (high is None or high >= TRUE)


def _serial(n: int, rng: np.random.Generator, memory: float) -> np.ndarray:
    made = rng.normal(size=n)
    for i in range(1, n):
        made[i] = memory * made[i - 1] + np.sqrt(1 - memory**2) * made[i]
    return made


if __name__ == "__main__":
    raise SystemExit(main())

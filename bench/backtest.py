"""Replay three real histories under the default triggers and a dozen simple policies, and print the tables.

    .venv/bin/python bench/backtest.py                         # the two sets of examples/
    .venv/bin/python bench/backtest.py --bank bank.parquet     # and UCI Bank Marketing, which is not here

The tables stand in docs/how-to/backtest.md. Only what differs from the defaults of Rehone is written
below: facts of the data, and the floors of the gate, which no default can know. Decisions are 31 days
apart: the first day on which the default limit of age, 30 days, acts in production.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rehone import api
from rehone.backtest import Backtest

ROOT = Path(__file__).parent.parent
WORK = ROOT / "bench-run" / "backtest"

BIKE = """
[project]
name = "bike_high_demand"
[data]
source = "{source}"
time_column = "event_date"
label_delay_days = 1
lookback_days = 120
min_label_rate = 0.01
max_label_rate = 0.60
stale_after_days = 7
[trigger]
ignore = ["season", "temp", "atemp"]
[gate]
min_recall = 0.50
min_roc_auc = 0.85
"""

FLIGHTS = """
[project]
name = "nycflights13_ewr"
[data]
source = "{source}"
time_column = "event_date"
timezone = "America/New_York"
label_delay_days = 1
lookback_days = 60
max_label_rate = 0.50
max_null_jump = 0.50
[trigger]
ignore = ["temp", "dewp", "humid", "pressure"]
[train]
cost_false_negative = 3
[gate]
min_recall = 0.50
min_roc_auc = 0.65
"""

BANK = """
[project]
name = "bank_marketing"
[data]
source = "{source}"
time_column = "event_date"
label_delay_days = 1
min_label_rate = 0.01
max_label_rate = 0.80
stale_after_days = 14
min_rows = 200
[trigger]
[train]
cost_false_negative = 5
[gate]
min_recall = 0.30
min_roc_auc = 0.55
"""


def replayed(name: str, toml: str, source: Path, every: float, parallel: int | None) -> Backtest:
    """Lay out a project in bench-run/ and replay it."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rehone.toml").write_text(toml.format(source=source.resolve()))
    return api.backtest(folder, every=every, parallel=parallel)


def table(found: Backtest) -> str:
    """Write the policies as a table of Markdown."""
    lines = [
        "| policy | mean AUC | worst month | recall | cost per 1,000 | trained | live | held back | rolled back |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in found.policies:
        shares = (
            f"{x:.4f}".removeprefix("0") if x is not None else "-" for x in (r.roc_auc, r.worst_roc_auc, r.recall)
        )
        counts = (f"{n:.3g}" for n in (r.trained, r.deployed, r.refused, r.rolled_back))
        lines.append(f"| {r.name} | {' | '.join(shares)} | {r.cost_per_1000:,.0f} | {' | '.join(counts)} |")
    return "\n".join(lines)


def verdict(found: Backtest) -> str:
    """Say how the defaults compare with never retraining and with the best simple policy."""
    current, never = found.of("current").roc_auc or 0, found.of("never").roc_auc or 0
    best = max((r for r in found.policies if r.name != "current"), key=lambda r: r.roc_auc or 0)
    return (
        f"the defaults {current:.4f}, never {never:.4f} ({current - never:+.4f}), "
        f"best simple policy {best.name} {best.roc_auc:.4f} ({current - (best.roc_auc or 0):+.4f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, help="bank_marketing.parquet with event_date and label")
    parser.add_argument("--every", type=float, default=31)
    parser.add_argument("--parallel", type=int)
    parser.add_argument("--only", choices=["bike", "flights", "bank"])
    asked = parser.parse_args()
    sets = {
        "bike": (BIKE, ROOT / "examples/bike_high_demand/bike_high_demand.parquet"),
        "flights": (FLIGHTS, ROOT / "examples/nycflights13_ewr/nycflights13_ewr.parquet"),
        **({"bank": (BANK, asked.bank)} if asked.bank else {}),
    }
    for name, (toml, source) in sets.items():
        if asked.only in (None, name):
            begun = time.perf_counter()
            found = replayed(name, toml, source, asked.every, asked.parallel)
            seconds = time.perf_counter() - begun
            said = f"{found.live_rows:,} rows live from {found.first:%Y-%m-%d}, a decision every {found.every:g} days"
            print(
                f"\n### {found.project}\n\n{said}; {seconds:.0f} s.\n\n{table(found)}\n\n{verdict(found)}\n", flush=True
            )


if __name__ == "__main__":
    main()

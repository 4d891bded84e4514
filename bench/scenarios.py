"""Live through planted changes with the real pipeline, and hold it against what should have happened.

Run it with `python bench/scenarios.py [--seeds 1]`. A champion learns from 60 everyday days of
simulated card payments; then a dial is turned and 40 days later the project runs again, as of
that day. Models are held against the oracle on 40 further days, whose odds are known. What
should happen is the table of docs/explain/scenarios.md, which is read from there.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import polars as pl
from scipy.stats import rankdata

import rehone
from rehone.records import CheckStatus, RunRecord
from rehone.testing import Dials, FraudStream

PAGE = Path(__file__).parent.parent / "docs" / "explain" / "scenarios.md"
FIRST, AGAIN, AFTER, ROWS = 60, 100, 40, 300
LATE_AGAIN = 112

DIALS = {
    "none": Dials(),
    "covariate": Dials(covariate=1.0),
    "concept": Dials(concept=1.0),
    "prior": Dials(prior=1.0),
    "off support": Dials(off_support=1.0),
    "nulls": Dials(nulls=0.4),
    "column dropped": Dials(schema="dropped"),
    "column renamed": Dials(schema="renamed"),
    "text for numbers": Dials(schema="text"),
    "cents for euros": Dials(schema="cents"),
    "concept, labels late: day 12": Dials(concept=1.0),
    "concept, labels late": Dials(concept=1.0),
}

CONFIG = """
[project]
name = "payments"

[data]
source = "data/*.parquet"
time_column = "event_time"
label = "label"
{labels}
lookback_days = 50

[trigger]
window_days = 14
performance_days = 21
min_recall = 0.55
max_age_days = "off"

[train]
candidates = ["lightgbm"]
windows = ["trailing"]
folds = 3
cost_false_negative = 12

[gate]
min_roc_auc = 0.70
min_recall = 0.45
"""
AT_ONCE = 'exclude = ["label_known_at"]'
LATE = 'label_time_column = "label_known_at"\nlabel_completeness = 0.9'


@dataclass(frozen=True)
class Expected:
    """A row of the page: which triggers act, which may not, how the run ends, and the most that the live model may lack."""

    fires: frozenset[str]
    silent: frozenset[str]
    kind: str
    ends: frozenset[str]
    regret: float | None


@dataclass(frozen=True)
class Lived:
    """How the run ended, and ROC-AUC on the days after it: of the old champion, of what is live, of the oracle."""

    record: RunRecord
    old: float | None
    live: float | None
    oracle: float | None

    @property
    def fired(self) -> frozenset[str]:
        checks = self.record.trigger.checks if self.record.trigger else ()
        return frozenset(c.name for c in checks if c.status is CheckStatus.ACT)

    @property
    def kind(self) -> str:
        shift = self.record.evidence.shift if self.record.evidence else None
        return shift.kind.value if shift else "-"


def expected() -> dict[str, Expected]:
    """Read from the page what should happen in each scenario."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in _lines_of_table()]
    return {
        row[0]: Expected(
            fires=_words(row[1]),
            silent=_words(row[2]),
            kind=row[3].strip("`"),
            ends=_words(row[4]),
            regret=None if row[5] == "-" else float(row[5]),
        )
        for row in rows
    }


def _lines_of_table() -> Iterator[str]:
    text = PAGE.read_text(encoding="utf-8").split("## What must happen")[1].split("\n## ")[0]
    yield from (line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| scenario"))


def _words(cell: str) -> frozenset[str]:
    return frozenset(re.findall(r"`(\w+)`", cell))


def begin(folder: Path, seed: int, *, late: bool) -> Path:
    """Make a project with its first champion, and return its folder."""
    stream = _stream(seed, Dials(), late=late)
    stream.write(folder / "data", 0, FIRST)
    (folder / "rehone.toml").write_text(CONFIG.format(labels=LATE if late else AT_ONCE))
    record = rehone.run_pipeline(folder, as_of=stream.start + timedelta(days=FIRST))
    if record.status != "deployed":
        raise RuntimeError(f"no first champion: {record.sentence}")
    return folder


def is_late(name: str) -> bool:
    return "late" in name


def live_through(name: str, base: Path, folder: Path, seed: int) -> Lived:
    """Go on from a first champion: turn the dial, feed the days, run again, and look at the days after."""
    shutil.copytree(base, folder, symlinks=True)
    stream, again = _stream(seed, DIALS[name], late=is_late(name)), _again(name)
    stream.write(folder / "data", FIRST, again - FIRST)
    record = rehone.run_pipeline(folder, as_of=stream.start + timedelta(days=again))
    if DIALS[name].schema or DIALS[name].nulls:
        return Lived(record, None, None, None)
    after = _after(seed, name)
    old, live = (rehone.load(place).predict_proba(after) for place in (base, folder))
    truth = after["label"]
    return Lived(record, _auc(truth, old), _auc(truth, live), stream.oracle_auc(after))


def _again(name: str) -> int:
    if not is_late(name):
        return AGAIN
    day = re.search(r"day (\d+)", name)
    return FIRST + int(day[1]) if day else LATE_AGAIN


@cache
def _after(seed: int, name: str) -> pl.DataFrame:
    return _stream(seed, DIALS[name], late=False).days(LATE_AGAIN, AFTER)


def _stream(seed: int, dials: Dials, *, late: bool) -> FraudStream:
    return FraudStream(seed=seed, rows_per_day=ROWS, changes=((FIRST, dials),), label_delay_days=15.0 if late else 0.0)


def _auc(labels: pl.Series, scores: object) -> float:
    positive = labels.to_numpy() == 1
    ranks, n = rankdata(scores), int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def wrong(lived: Lived, should: Expected) -> list[str]:
    """Say everything that did not happen as it should."""
    said = []
    if not should.fires <= lived.fired:
        said.append(f"{sorted(should.fires - lived.fired)} must fire and did not")
    if should.silent & lived.fired:
        said.append(f"{sorted(should.silent & lived.fired)} must be silent and fired")
    if should.kind not in ("any", lived.kind):
        said.append(f"the kind of shift is {should.kind}, and was called {lived.kind}")
    if str(lived.record.status) not in should.ends:
        said.append(
            f"the run must end as {sorted(should.ends)}, and ended as {lived.record.status}: {lived.record.sentence}"
        )
    if should.regret is not None and lived.oracle is not None and lived.live is not None:
        lacks = lived.oracle - lived.live
        if lacks > should.regret:
            said.append(f"the live model lacks {lacks:.3f} of the oracle's ROC-AUC, may lack {should.regret}")
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    should, bad = expected(), 0
    print("| scenario | fired | kind | ended | champion before | live after | oracle |\n|---|---|---|---|---|---|---|")
    for seed in range(1, args.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            bases = {late: begin(root / f"base-{late}", seed, late=late) for late in (False, True)}
            for name in DIALS:
                lived = live_through(name, bases[is_late(name)], root / name.replace(":", ""), seed)
                aucs = " | ".join("-" if x is None else f"{x:.3f}" for x in (lived.old, lived.live, lived.oracle))
                print(
                    f"| {name} | {', '.join(sorted(lived.fired)) or '-'} | {lived.kind} | {lived.record.status} | {aucs} |"
                )
                for said in wrong(lived, should[name]):
                    print(f"  WRONG: {said}")
                    bad += 1
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())

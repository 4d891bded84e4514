"""A small project that tests can live in: daily files, a world with dials, a quick configuration."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import rehone
from rehone.config import Config, load_config
from rehone.records import Event, RunRecord

START = date(2026, 1, 1)

QUICK = """
[project]
name = "story"

[data]
source = "data/*.parquet"
time_column = "at"
label = "label"
lookback_days = 60
stale_after_days = 5

[trigger]
window_days = 14
performance_days = 14
max_age_days = 40

[train]
candidates = ["logistic_regression"]
windows = ["trailing"]
folds = 3

[gate]
min_roc_auc = 0.7
min_recall = 0.5
"""


def world(day: date, *, rows: int = 60, turn: float = 0.0, shift: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """Make one day of rows whose label follows known odds.

    `turn` (0..1) turns the meaning of `amount` around (concept), `shift` moves `velocity` (covariate).
    """
    rng = np.random.default_rng((seed, day.toordinal()))
    amount, velocity = rng.normal(size=rows), rng.normal(shift, 1, size=rows)
    known, channel = rng.random(rows) < 0.5, rng.choice(["web", "shop", "phone"], rows, p=[0.5, 0.3, 0.2])
    odds = -1.6 + 2.2 * amount * (1 - 2 * turn) + 0.3 * velocity - 0.8 * known + 0.5 * (channel == "web")
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001
    return pl.DataFrame(
        {
            "at": [midnight + timedelta(seconds=int(s)) for s in np.sort(rng.integers(0, 86_400, rows))],
            "amount": amount,
            "velocity": velocity,
            "known": known,
            "channel": channel,
            "label": (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int8),
        }
    )


@dataclass
class Project:
    """A folder with a rehone.toml and daily files, and the verbs that a test needs."""

    root: Path
    text: str = QUICK
    heard: list[Event] = field(default_factory=list)

    def configure(self, **sections: dict[str, Any]) -> Config:
        """Write the quick configuration with some keys changed, and load it."""
        tables = _merge(self.text, sections)
        (self.root / "rehone.toml").write_text(tables)
        return load_config(self.root)

    def feed(self, first: int, last: int, **dials: Any) -> None:
        """Write the files of days `first <= n < last`, counted from 2026-01-01."""
        (self.root / "data").mkdir(exist_ok=True)
        for n in range(first, last):
            day = START + timedelta(days=n)
            world(day, **dials).write_parquet(self.root / "data" / f"{day}.parquet")

    def run(self, day: int, **options: Any) -> RunRecord:
        """Run the pipeline as of the midnight that starts day `day`."""
        return rehone.run_pipeline(self.root, as_of=START + timedelta(days=day), listen=self.heard.append, **options)

    def copy(self, root: Path) -> Project:
        """Return a project of the same past in another folder, which may be there and empty."""
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        return Project(root, self.text, list(self.heard))


def _merge(text: str, sections: dict[str, dict[str, Any]]) -> str:
    tables = tomllib.loads(text)
    for section, keys in sections.items():
        tables[section] = tables.get(section, {}) | keys
    return "\n".join(
        line
        for section, keys in tables.items()
        for line in (f"[{section}]", *(f"{k} = {_toml(v)}" for k, v in keys.items()))
    )


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return an empty project with the quick configuration."""
    made = Project(tmp_path)
    made.configure()
    return made


@pytest.fixture(scope="session")
def deployed_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make the project of `live`, once for all tests of a process; nobody changes it."""
    made = Project(tmp_path_factory.mktemp("deployed"))
    made.configure()
    made.feed(0, 70)
    record = made.run(70)
    assert record["status"] == "deployed", record.sentence
    return made


@pytest.fixture
def live(deployed_once: Project, tmp_path: Path) -> Project:
    """Return a project of one's own with 70 days of data and a first champion, deployed on day 70."""
    return deployed_once.copy(tmp_path)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """Return a clock that stands still."""
    return lambda: datetime(2026, 6, 1, tzinfo=UTC)

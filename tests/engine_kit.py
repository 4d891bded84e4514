"""Make rows with everything in them that engines are known to read differently."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rehone import artifact, data, profile
from rehone.config import Data
from rehone.records import Profile, Window

AS_OF = datetime(2026, 2, 5, tzinfo=UTC)
WINDOW = Window(AS_OF - timedelta(days=30), AS_OF)
POLICY = Data(time_column="at", id_column="id", categorical=("code",), label_delay_days=2, lookback_days=60)

_START = datetime(2026, 1, 1)  # noqa: DTZ001 - a feed without zones


def strange(days: int = 40, rows: int = 40, seed: int = 0) -> pl.DataFrame:
    """Make rows with nulls, NaN, infinities, booleans, decimals, whole numbers beyond 2**53 and repeated ids."""
    rng, n = np.random.default_rng(seed), days * rows
    x = rng.normal(size=n)
    made = pl.DataFrame(
        {
            "at": [_START + timedelta(seconds=float(s)) for s in np.sort(rng.random(n) * 86_400 * days)],
            "id": np.arange(n) + 2**53 + 1,
            "x": x,
            "atom": np.where(rng.random(n) < 0.3, 0.0, rng.exponential(size=n)),
            "few": rng.integers(0, 7, n),
            "big": rng.integers(0, 3, n) + 2**53,
            "flag": rng.random(n) < 0.4,
            "place": rng.choice(
                ["web", "shop", "phone", "é|x", "rare", "rarer"], n, p=[0.5, 0.3, 0.17, 0.01, 0.01, 0.01]
            ),
            "single": rng.normal(size=n).astype(np.float32),
            "price": [Decimal(int(v)).scaleb(-2) for v in rng.integers(-500, 500, n)],
            "code": rng.integers(1, 4, n).astype(float),
            "born": [date(2026, 1, 1)] * n,
            "empty": pl.Series([None] * n, dtype=pl.Float64),
            "same": [1.5] * n,
            "label": (rng.random(n) < 1 / (1 + np.exp(1.5 - 2 * x))).astype(np.int8),
        }
    )
    for place, name in enumerate(("x", "few", "flag", "place", "price", "code")):
        made = made.with_columns(_hole(made, name, 0.05, place))
    for place, (name, value) in enumerate(
        (("x", np.nan), ("x", np.inf), ("x", -np.inf), ("atom", 1e200), ("single", np.nan))
    ):
        made = made.with_columns(_hole(made, name, 0.02, 100 + place, value))
    return pl.concat([made, made[-3:]])


def _hole(frame: pl.DataFrame, name: str, share: float, seed: int, value: float | None = None) -> pl.Expr:
    there = pl.Series(np.random.default_rng(seed).random(frame.height) < share)
    return pl.when(there).then(pl.lit(value, dtype=frame.schema[name])).otherwise(pl.col(name)).alias(name)


def write(root: Path, frame: pl.DataFrame) -> Path:
    """Write rows as one file of a project."""
    (root / "data").mkdir(exist_ok=True)
    frame.write_parquet(root / "data" / "rows.parquet")
    return root / "data" / "rows.parquet"


def files(root: Path, policy: Data = POLICY) -> data.Source:
    """Open the file as the default does."""
    return data.open_source(policy, root, cache=None, as_of=AS_OF)


def engine(root: Path, frame: Any, policy: Data = POLICY) -> data.EngineSource:
    """Open a lazy frame of the same rows."""
    return data.open_engine(policy, root, as_of=AS_OF, frame=frame)


def reference(source: data.Source) -> Profile:
    """Make a profile of the older rows, so that the newer ones hold something unseen."""
    rows = source.labelled(WINDOW, source.features())[:600]
    contract = artifact.learn_contract(rows, source.features(), label="label", categorical=POLICY.categorical)
    return profile.build(rows, contract, window=WINDOW)

"""The whole loop on one machine: serve, drift in the traffic, check fires, run promotes, the log shows both."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rehone.predictions import Log
from rehone.records import Window

REHONE = str(Path(sys.executable).with_name("rehone"))
TOML = """
[project]
name = "loop"

[data]
source = "data/*.parquet"
time_column = "at"
label = "label"
id_column = "transaction_id"
lookback_days = 60

[trigger]
window_days = 7
performance_days = 7
max_age_days = 400
min_positives = 10

[train]
candidates = ["logistic_regression"]
windows = ["trailing"]
folds = 3

[gate]
min_roc_auc = 0.7
min_recall = 0.3

[deploy]
service = "required"

[serve]
port = 0
poll_seconds = 0.05
heartbeat_seconds = 0.2

[predictions]
log = true
flush_seconds = 0.3
evidence = "served"
labels = "labels/*.parquet"
"""

TURNED_DAYS = 62
"""Days ago when the meaning of `amount` turned around, unseen by the champion."""


def rows(seed: int, n: int, *, turned: bool, shift: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    amount, velocity = rng.normal(size=n), rng.normal(shift, 1, size=n)
    odds = -2.0 + (-2.5 if turned else 2.5) * amount + 0.3 * velocity
    return pl.DataFrame(
        {
            "transaction_id": [f"t{seed}-{i}" for i in range(n)],
            "amount": amount,
            "velocity": velocity,
            "channel": rng.choice(["web", "shop"], n),
            "label": (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int8),
        }
    )


def feed(root: Path, today: datetime) -> None:
    """Write a file for each of the last 130 days, today not among them."""
    (root / "data").mkdir()
    for ago in range(1, 131):
        day = (today - timedelta(days=ago)).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        table = rows(ago, 80, turned=ago <= TURNED_DAYS, shift=1.5 if ago <= TURNED_DAYS else 0.0)
        times = [day + timedelta(minutes=17 * i) for i in range(80)]
        table.with_columns(pl.Series("at", times)).write_parquet(root / "data" / f"{day:%Y-%m-%d}.parquet")


def rehone(root: Path, *words: str, code: int = 0) -> Any:
    done = subprocess.run(
        [REHONE, *words, "-p", str(root), "--json"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@contextmanager
def served(root: Path) -> Iterator[int]:
    command = [REHONE, "serve", "-p", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline().rsplit(":", 1)[1])
        finally:
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(30) == 0


def ask(port: int, table: pl.DataFrame) -> list[dict[str, Any]]:
    """Send each row as a request of its own, as transactions come."""
    answers = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        for row in table.drop("label").iter_rows(named=True):
            connection.request("POST", "/predict", json.dumps(row))
            answer = connection.getresponse()
            said = json.loads(answer.read())
            assert answer.status == 200, said
            answers.append(said)
    return answers


def logged(root: Path, n: int) -> pl.DataFrame:
    """Wait until so many rows are written."""
    now = datetime.now(UTC)
    window = Window(now - timedelta(days=2), now + timedelta(days=1))
    end = time.monotonic() + 30
    while (found := Log(root / "predictions").scan(window).collect()).height < n:
        assert time.monotonic() < end, f"{found.height} of {n} rows are written"
        time.sleep(0.1)
    return found


@pytest.mark.soak
def test_what_is_served_becomes_the_next_runs_evidence(tmp_path: Path) -> None:
    (tmp_path / "rehone.toml").write_text(TOML)
    now = datetime.now(UTC)
    feed(tmp_path, now)
    before = (now - timedelta(days=TURNED_DAYS + 5)).isoformat()
    with served(tmp_path) as port:
        first = rehone(tmp_path, "run", "--as-of", before)
        assert first["status"] == "deployed", first["sentence"]

        quiet = rows(901, 400, turned=False)
        answers = ask(port, quiet)
        assert {answer["version"] for answer in answers} == {first["version"]}
        table = logged(tmp_path, 400)
        assert table["served_id"].sort().to_list() == quiet["transaction_id"].sort().to_list()
        by_id = dict(zip(quiet["transaction_id"], (a["predictions"][0] for a in answers), strict=True))
        for row in table.iter_rows(named=True):
            said = by_id[row["served_id"]]
            assert (row["served_score"], row["served_decision"]) == (said["probability"], said["decision"])
        calm = rehone(tmp_path, "check")
        assert calm["evidence"]["origin"] == "served"
        assert (calm["would_train"], calm["evidence"]["rows"]) == (False, 400), calm["sentence"]

        drifted = rows(902, 1200, turned=True, shift=1.5)
        ask(port, drifted)
        logged(tmp_path, 1600)
        fired = rehone(tmp_path, "check")
        assert fired["would_train"], fired["sentence"]
        assert fired["trigger"]["kind"] == "drift"
        assert "velocity" in fired["trigger"]["reason"]
        assert fired["evidence"]["recall"] is None
        assert fired["evidence"]["coverage"]["labelled"] == 0

        (tmp_path / "labels").mkdir()
        known = pl.concat([quiet, drifted]).select("transaction_id", "label", at=pl.lit(datetime.now(UTC)))
        known.write_parquet(tmp_path / "labels" / "arrived.parquet")
        labelled = rehone(tmp_path, "check")
        assert labelled["evidence"]["coverage"]["labelled"] == 1600
        (served_version,) = labelled["evidence"]["served"]
        assert served_version["version"] == first["version"]
        assert (served_version["labelled"], served_version["positives"]) == (1600, int(known["label"].sum()))
        assert "fall in one day" in labelled["evidence"]["performance_unknown"]

        second = rehone(tmp_path, "run")
        assert second["status"] == "deployed", second["sentence"]
        assert second["trigger"]["kind"] == "drift"
        assert second["version"] != first["version"]

        newer = ask(port, rows(903, 200, turned=True, shift=1.5))
        assert {answer["version"] for answer in newer} == {second["version"]}
        both = logged(tmp_path, 1800)
        assert set(both["served_version"]) == {first["version"], second["version"]}
        assert both.group_by("served_version").len().sort("len")["len"].to_list() == [200, 1600]
    assert not list((tmp_path / "store" / "replicas").glob("*.json"))

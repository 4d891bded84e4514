"""A real service under traffic, and a challenger that is scored beside its champion before it is promoted."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import START, Project, world
from rehone.records import CheckStatus, EventKind, Outcome, RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store

REHONE = Path(sys.executable).with_name("rehone")
TESTS = Path(__file__).parents[1]
FEATURES = ("amount", "velocity", "known", "channel")

PATIENT: dict[str, Any] = {
    "gate": {"margin_cost": 0.9, "margin_recall": 0.2, "margin_roc_auc": 0.1},
    "serve": {"port": 0, "heartbeat_seconds": 0.2, "poll_seconds": 0.05},
    "deploy": {"replica_timeout_seconds": 20.0, "trusted_types": ["strange.Afraid", "strange.Slow"]},
}
SHADOW: dict[str, Any] = {"seconds": 4.0, "min_rows": 100, "max_error_share": 0.05, "max_latency_ratio": 50.0}


@dataclass
class Traffic:
    """Requests of a few rows each, one after the other, from two clients, until told to stop."""

    port: int
    change: dict[str, Any] = field(default_factory=dict)
    strange: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    def send(self, stop: threading.Event, seed: int) -> None:
        rows = world(START + timedelta(days=120), rows=600, seed=seed).select(FEATURES).to_dicts()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            for n in range(10**9):
                if stop.is_set():
                    return
                asked = [{**row, **self.change} for row in rows[n % 200 : n % 200 + 3]]
                if self.strange and n % self.strange == 0:
                    asked[0]["amount"] = 99.0
                connection.request("POST", "/predict", json.dumps(asked))
                answer = connection.getresponse()
                self.statuses[answer.status] += 1
                self.versions[json.loads(answer.read()).get("version", "none")] += 1
                time.sleep(0.005)


@contextlib.contextmanager
def served(project: Project) -> Iterator[int]:
    """Run the real `rehone serve` and give its port."""
    process = subprocess.Popen(
        [REHONE, "serve", "--project", project.root],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rsplit(":", 1)[1].strip(" /\n"))
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@contextlib.contextmanager
def traffic(port: int, **options: Any) -> Iterator[Traffic]:
    """Ask the service all the while; every request must be answered."""
    sent, stop = Traffic(port, **options), threading.Event()
    threads = [threading.Thread(target=sent.send, args=(stop, seed)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert set(sent.statuses) == {200}


def prepared(live: Project, candidate: Any = "logistic_regression", **shadow: Any) -> str:
    """Make the next forced run of day 118 one that passes the gate; return the champion."""
    live.feed(70, 118)
    live.configure(**PATIENT, train={"candidates": [candidate]}, shadow=SHADOW | shadow)
    head = Store(live.root / "store").head()
    assert head is not None
    assert head.version is not None
    return head.version


def checks(record: RunRecord) -> dict[str, CheckStatus]:
    assert record.shadow_verdict is not None
    return {check.name: check.status for check in record.shadow_verdict.checks}


def names(record: RunRecord) -> list[str]:
    return [stage.name for stage in record.stages]


def stays(live: Project, champion: str) -> bool:
    """Say whether the champion is live as before, and nothing is staged."""
    store = Store(live.root / "store")
    head = store.head()
    return head is not None and (head.version, head.generation, store.staged()) == (champion, 1, None)


@pytest.mark.soak
def test_a_good_challenger_is_scored_beside_the_champion_and_then_deployed(live: Project) -> None:
    """All the while the champion alone answers; the record holds what was seen, and then it goes live."""
    champion = prepared(live)
    with served(live) as port, traffic(port) as sent:
        record = live.run(118, force=True)
    assert record.status is RunStatus.DEPLOYED, record.sentence
    assert names(record)[-3:] == ["publish", "shadow", "deploy"]
    assert record.shadow is not None
    assert record.shadow_verdict is not None
    assert record.shadow_verdict.outcome is Outcome.PASS
    assert record.shadow.rows >= 100
    assert (record.shadow.failed_rows, record.shadow.champion, record.shadow.version) == (0, champion, record.version)
    assert sum(record.shadow.score_counts) == record.shadow.rows
    assert record.shadow.rows < 3 * sent.versions[champion]
    assert set(sent.versions) <= {champion, record.version}
    assert RunLog(live.root / "runs").find(record.run_id) == record
    heard = [event for event in live.heard if event.stage == "shadow" and event.kind is EventKind.PROGRESS]
    assert heard[-1].total == 4
    assert Store(live.root / "store").staged() is None


@pytest.mark.soak
def test_a_challenger_that_fails_on_what_is_asked_is_rejected(live: Project) -> None:
    """No row of its training had such an amount; the champion answered all of them."""
    champion = prepared(live, {"class": "strange.Afraid"})
    with served(live) as port, traffic(port, strange=5):
        record = live.run(118, force=True)
    assert record.status is RunStatus.REJECTED, record.sentence
    assert names(record)[-1] == "shadow"
    assert checks(record)["shadow_errors"] is CheckStatus.ACT
    assert "the challenger failed on" in record.sentence
    assert stays(live, champion)


@pytest.mark.soak
def test_a_challenger_that_is_slow_in_service_is_rejected_and_slows_nobody(live: Project) -> None:
    """It takes 20 ms for what takes the champion a fraction of one; clients do not notice."""
    champion = prepared(live, {"class": "strange.Slow"}, max_latency_ratio=3.0)
    with served(live) as port, traffic(port):
        record = live.run(118, force=True)
    assert record.status is RunStatus.REJECTED, record.sentence
    assert checks(record)["shadow_latency"] is CheckStatus.ACT
    assert stays(live, champion)


@pytest.mark.soak
def test_scores_far_from_those_of_training_are_rejected(live: Project) -> None:
    """What is asked is not what it was trained on, which no holdout could show."""
    champion = prepared(live)
    with served(live) as port, traffic(port, change={"amount": 3.0}):
        record = live.run(118, force=True)
    assert record.status is RunStatus.REJECTED, record.sentence
    assert checks(record)["shadow_scores"] is CheckStatus.ACT
    assert stays(live, champion)


@pytest.mark.soak
def test_without_traffic_it_is_inconclusive_and_the_version_stays_published(live: Project) -> None:
    """Nothing was asked, so nothing is known: the champion stays."""
    champion = prepared(live, seconds=1.0)
    with served(live):
        record = live.run(118, force=True)
    assert record.status is RunStatus.INCONCLUSIVE, record.sentence
    assert "0 rows scored by both, need at least 100" in record.sentence
    assert record.version is not None
    assert Store(live.root / "store").version(record.version).id == record.version
    assert stays(live, champion)


def test_without_a_server_the_stage_says_so_and_the_run_goes_on(live: Project) -> None:
    """There is nobody to score it; promotion decides as ever."""
    prepared(live)
    record = live.run(118, force=True)
    assert record.status is RunStatus.DEPLOYED, record.sentence
    stage = next(stage for stage in record.stages if stage.name == "shadow")
    assert stage.sentence == "not scored beside the champion: no server is live"
    assert (record.shadow, record.shadow_verdict) == (None, None)


def test_a_first_version_has_no_champion_to_be_scored_beside(project: Project) -> None:
    """The first deployment goes its way, and the stage says why it did nothing."""
    project.feed(0, 70)
    project.configure(shadow=SHADOW)
    record = project.run(70)
    assert record.status is RunStatus.DEPLOYED
    stage = next(stage for stage in record.stages if stage.name == "shadow")
    assert stage.sentence == "not scored beside the champion: there is none"


@pytest.mark.soak
def test_a_run_that_is_killed_while_its_challenger_is_scored_leaves_nothing_staged(live: Project) -> None:
    """Servers go on with the champion; the next run takes away what was staged, closes and goes its way."""
    champion = prepared(live, seconds=600.0)
    store = Store(live.root / "store")
    with served(live) as port, traffic(port):
        process = subprocess.Popen(
            [REHONE, "run", "--project", live.root, "--as-of", str(START + timedelta(days=118)), "--force", "--quiet"]
        )
        wait_for(lambda: any(replica.shadow and replica.shadow.rows for replica in store.replicas()))
        process.kill()
        process.wait(60)
        assert store.staged() is not None
        live.configure(**PATIENT, shadow=SHADOW)
        record = live.run(118, force=True)
        wait_for(lambda: all(replica.shadow is None for replica in store.replicas()))
    assert record.status is RunStatus.DEPLOYED, record.sentence
    assert any(check.name == "shadow" and "was killed" in check.detail for check in record.deployment_checks)
    assert record.champion == champion
    assert store.staged() is None


def wait_for(true: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)

"""A version goes live when it proves itself, and whatever else happens is undone."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from rehone import artifact
from rehone.config import Deploy
from rehone.deploy import Order, examine, heal, live_replicas, preflight, promote, rollback, smoke
from rehone.errors import Conflict, Corrupt, Locked, NotFound, StoreError
from rehone.records import Check, CheckStatus, DeploymentAction, DeploymentState, Profile, Replica, Window
from rehone.store import Store
from store_kit import (
    ALONE,
    DAY,
    QUICK,
    Server,
    SwiftDisk,
    bring,
    deployment,
    flies,
    live,
    manifest,
    now,
    order,
    publish,
    serving,
)

FORK = multiprocessing.get_context("fork")
SHORT = Deploy(trial_seconds=0.6, replica_timeout_seconds=0.5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", disk=SwiftDisk())


@pytest.fixture
def server(store: Store) -> Iterator[Server]:
    bring(store, 1)
    with serving(store.root) as found:
        yield found


def steps(store: Store) -> list[tuple[str, str]]:
    return [(d.action.value, d.state.value) for d in store.log()]


def by_name(checks: tuple[Check, ...], name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


DEPLOYED = ("deploy", "confirmed")
TRIED = ("deploy", "trial")
CONFIRMED = ("confirm", "confirmed")
BACK = ("rollback", "confirmed")


# --- a service that proves it -----------------------------------------------------------------


def test_every_live_replica_proves_the_version_before_it_is_confirmed(store: Store, server: Server) -> None:
    with serving(store.root, "host-2") as second:
        promotion = bring(store, 2, QUICK)
    assert promotion.confirmed
    assert promotion.sentence == f"version {promotion.version[:12]} is live as generation 3, proved by 2 servers"
    assert steps(store) == [DEPLOYED, TRIED, CONFIRMED]
    assert [(c.subject, c.status.value, c.value, c.n) for c in by_name(promotion.checks, "smoke")] == [
        ("host-1", "ok", 0.0, 3),
        ("host-2", "ok", 0.0, 3),
    ]
    assert server.version == second.version == promotion.version
    assert live(store) == 2


def test_the_trial_says_until_when_and_all_records_say_who_and_why(store: Store, server: Server) -> None:
    facts = {"actor": "ann", "run_id": "run-7", "as_of": DAY, "reason": "drift", "gate_sha256": "ab"}
    promote(store, publish(store, 2).id, order(store, **facts), QUICK, clock=lambda: DAY, preflight=flies)
    trial, confirmed = store.log()[1:]
    assert trial.deadline == DAY + timedelta(seconds=QUICK.trial_seconds)
    assert confirmed.deadline is None
    for record in (trial, confirmed):
        assert {name: getattr(record, name) for name in facts} == facts


def test_without_a_service_the_preflight_is_all_and_a_check_says_so(store: Store) -> None:
    promotion = bring(store, 1, QUICK)
    assert promotion.confirmed
    assert steps(store) == [DEPLOYED]
    check = by_name(promotion.checks, "service")[0]
    assert (check.status, check.detail) == (CheckStatus.UNKNOWN, "nobody serves yet, so only the preflight proved it")
    assert promotion.sentence.endswith("is live as generation 1; nobody serves yet, so only the preflight proved it")


def test_service_none_asks_no_replica(store: Store, server: Server) -> None:
    asked: list[str] = []
    server.asked = asked.append
    promotion = bring(store, 2, ALONE)
    assert promotion.confirmed
    assert asked == []
    assert by_name(promotion.checks, "service")[0].detail == 'deploy.service is "none", so only the preflight proved it'


def test_a_required_service_that_is_not_there_stops_the_deployment_before_it_begins(store: Store) -> None:
    bring(store, 1)
    promotion = bring(store, 2, Deploy(service="required"))
    assert not promotion.confirmed
    assert promotion.trial is None
    assert promotion.deployment == store.head()
    assert 'deploy.service is "required": start `rehone serve`, or set deploy.health_url' in promotion.sentence
    assert live(store) == 1
    assert steps(store) == [DEPLOYED]


def test_a_failing_preflight_writes_nothing(store: Store, server: Server) -> None:
    def fails(*_: Any) -> tuple[Check, ...]:
        return (Check(name="golden_rows", status=CheckStatus.ACT, detail="3 rows differ"),)

    promotion = bring(store, 2, QUICK, preflight=fails)
    assert not promotion.confirmed
    assert "was not deployed (3 rows differ)" in promotion.sentence
    assert promotion.deployment == store.head()
    assert steps(store) == [DEPLOYED]


def test_a_preflight_that_could_not_measure_does_not_pass(store: Store) -> None:
    promotion = bring(store, 1, QUICK, preflight=lambda *_: (Check(name="golden_rows", status=CheckStatus.UNKNOWN),))
    assert not promotion.confirmed
    assert promotion.deployment is None
    assert store.head() is None


def test_a_version_that_is_live_already_is_not_deployed_again(store: Store) -> None:
    first = bring(store, 1)
    again = bring(store, 1)
    assert again.confirmed
    assert again.deployment == first.deployment
    assert "is live already, since generation 1" in again.sentence


def test_a_damaged_version_is_never_tried(store: Store) -> None:
    version = publish(store, 1)
    (store.root / "versions" / version.id / "model.skops").unlink()
    with pytest.raises(Corrupt, match=r"model.skops is missing"):
        promote(store, version.id, order(store), QUICK, clock=now, preflight=flies)
    assert store.head() is None


# --- a service that does not ----------------------------------------------------------------------


def rolled_back(store: Store, policy: Deploy = SHORT) -> tuple[str, float]:
    """Promote version 2 in vain, see that 1 is live again, and return the sentence and the seconds it took."""
    begun = time.monotonic()
    promotion = bring(store, 2, policy)
    took = time.monotonic() - begun
    assert not promotion.confirmed
    assert steps(store) == [DEPLOYED, TRIED, BACK]
    assert promotion.deployment == store.head()
    assert promotion.trial == store.log()[1]
    assert live(store) == 1
    assert store.log()[-1].reason.startswith(f"the trial of version {promotion.version[:12]} was not confirmed: ")
    return promotion.sentence, took


def test_a_replica_that_refuses_is_rolled_back_at_once(store: Store, server: Server) -> None:
    server.refuses = True
    sentence, took = rolled_back(store, Deploy(trial_seconds=30))
    assert "host-1 refused the version (told to)" in sentence
    assert sentence.endswith("is live again as generation 3")
    assert took < 5


def test_a_replica_that_predicts_otherwise_is_rolled_back_at_once(store: Store, server: Server) -> None:
    server.off = 1e-6
    sentence, took = rolled_back(store, Deploy(trial_seconds=30))
    assert "host-1 differs on 3 golden rows within 1e-06, limit 1e-09" in sentence
    assert took < 5


def test_a_difference_at_the_tolerance_passes(store: Store, server: Server) -> None:
    server.off = 2.0**-20
    assert bring(store, 2, Deploy(trial_seconds=30, golden_tolerance=2.0**-20 + 1e-12)).confirmed


@pytest.mark.parametrize("told", ["heartbeat", "health"])
def test_a_pinned_replica_is_rolled_back_at_once_and_the_remedy_is_to_unpin_it(store: Store, told: str) -> None:
    first = bring(store, 1).version
    with serving(store.root) as server:
        server.stuck, server.replica = True, replace(server.replica, pinned=told == "heartbeat")
        server.answer = json.dumps({"pid": os.getpid(), "pinned": first, "generation": None}).encode()
        promotion = bring(store, 2, QUICK)
    (check,) = by_name(promotion.checks, "smoke")
    assert check.detail == f"host-1 is pinned to version {first[:12]} by an operator and follows no deployment"
    assert check.remedy.startswith(f"unpin it (`DELETE {server.replica.url}/operator/pin`")
    (back,) = by_name(promotion.checks, "returned")
    assert (back.status, back.detail) == (CheckStatus.WARN, check.detail)
    assert live(store) == 1


def test_a_replica_that_stays_with_the_old_version_is_rolled_back_after_the_trial(store: Store, server: Server) -> None:
    server.stuck = True
    sentence, took = rolled_back(store)
    assert "host-1 answers HTTP 200 and serves generation 1" in sentence
    assert "after 0.6 s: look at that server, or raise deploy.trial_seconds" in sentence
    assert took > 0.6


@pytest.mark.parametrize("answer", [b"<html>", b"", b"[]", b'{"predictions": 1}', b'{"pid": 0}'])
def test_a_replica_that_answers_nonsense_is_rolled_back(store: Store, server: Server, answer: bytes) -> None:
    server.answer = answer
    rolled_back(store)


def test_a_replica_that_does_not_answer_in_time_is_rolled_back(store: Store, server: Server) -> None:
    gone = threading.Event()
    server.asked = lambda path: (path == "/predict" and gone.wait(20)) and None  # type: ignore[assignment]
    sentence, took = rolled_back(store)
    gone.set()
    assert "does not answer" in sentence
    assert took < 10


def test_a_replica_that_dies_of_the_version_is_rolled_back(store: Store, server: Server) -> None:
    def die(path: str) -> None:
        if store.log()[-1].state is DeploymentState.TRIAL:
            threading.Thread(target=server.die).start()
            time.sleep(10)

    server.asked = die
    sentence, _ = rolled_back(store)
    assert "host-1" in sentence


def test_when_every_replica_leaves_during_the_trial_it_is_rolled_back(store: Store, server: Server) -> None:
    def leave(path: str) -> None:
        if store.log()[-1].state is DeploymentState.TRIAL:
            server.beat = lambda: None  # type: ignore[method-assign]
            server.stuck = True
            store.retire("host-1")

    server.asked = leave
    sentence, _ = rolled_back(store)
    assert "every server went away during the trial" in sentence


def test_one_bad_replica_among_good_ones_is_enough(store: Store, server: Server) -> None:
    with serving(store.root, "host-2") as bad:
        bad.stuck = True
        sentence, _ = rolled_back(store)
    assert "host-2" in sentence


def test_a_replica_that_starts_during_the_trial_must_prove_it_too(store: Store, server: Server) -> None:
    late: list[Server] = []

    def start(path: str) -> None:
        if not late and store.log()[-1].state is DeploymentState.TRIAL:
            late.append(server)
            late[0] = Server(store.root, "host-2")
            late[0].off = 1

    server.asked = start
    sentence, _ = rolled_back(store)
    late[0].die()
    assert "host-2 differs" in sentence


def test_a_first_deployment_that_fails_leaves_nothing_to_be_served(store: Store) -> None:
    with serving(store.root) as server:
        server.off = 1
        promotion = bring(store, 1, SHORT)
    assert not promotion.confirmed
    assert promotion.sentence.endswith("nothing is served as generation 2")
    assert [d.version for d in store.log()] == [promotion.version, None]
    assert server.version is None
    assert not (store.root / "current").is_symlink()


def test_the_way_back_is_to_what_was_live_and_not_to_what_was_taken_away_before(store: Store) -> None:
    bring(store, 1)
    rollback(store, "none", order(store), clock=now)
    with serving(store.root) as server:
        server.off = 1
        assert not bring(store, 2, SHORT).confirmed
    assert live(store) is None


def test_when_the_champion_is_damaged_the_way_back_is_to_the_newest_whole_version(store: Store, server: Server) -> None:
    second = bring(store, 2).version
    (store.root / "versions" / second / "model.skops").unlink()
    server.off = 1
    assert not bring(store, 3, SHORT).confirmed
    assert live(store) == 1


# --- interruptions ---------------------------------------------------------------------------------


def test_ctrl_c_during_the_trial_rolls_back(store: Store, server: Server) -> None:
    server.asked = lambda path: os.kill(os.getpid(), signal.SIGINT) if path == "/predict" else None
    with pytest.raises(KeyboardInterrupt):
        bring(store, 2, QUICK)
    assert steps(store) == [DEPLOYED, TRIED, BACK]
    assert live(store) == 1
    assert "KeyboardInterrupt" in store.log()[-1].reason
    assert not store.held


def test_an_exception_during_the_trial_rolls_back(store: Store, server: Server) -> None:
    times = iter([now(), now(), now()])

    def clock() -> datetime:
        return next(times, None) or broken()

    calls = 0

    def broken() -> datetime:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("no time")
        return now()

    with pytest.raises(RuntimeError, match="no time"):
        bring(store, 2, QUICK, clock=clock)
    assert steps(store) == [DEPLOYED, TRIED, BACK]
    assert "RuntimeError: no time" in store.log()[-1].reason
    assert live(store) == 1


def test_who_decides_otherwise_during_the_trial_is_obeyed(store: Store, server: Server) -> None:
    bring(store, 5)

    def decide(path: str) -> None:
        head = store.head()
        if head is not None and head.state is DeploymentState.TRIAL:
            rollback(Store(store.root), store.log()[0].version, order(store, actor="ann"), clock=now)

    server.asked = decide
    promotion = bring(store, 2, QUICK)
    assert not promotion.confirmed
    assert "somebody else decided what is live" in promotion.sentence
    assert promotion.deployment == store.head()
    assert live(store) == 1
    assert store.log()[-1].actor == "ann"


class FullAfter(SwiftDisk):
    """Takes no more bytes once something has happened."""

    def __init__(self, full: Callable[[], bool]) -> None:
        self.full = full

    def write(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
        self._refuse()
        super().write(path, data, lasting=False)

    def make_folder(self, path: Path) -> None:
        self._refuse()
        super().make_folder(path)

    def _refuse(self) -> None:
        if self.full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some file")


def test_a_disk_that_is_full_when_the_trial_ends_does_not_keep_it_live(store: Store, server: Server) -> None:
    def on_trial() -> bool:
        head = store.head()
        return head is not None and head.state is DeploymentState.TRIAL

    full = Store(store.root, disk=FullAfter(on_trial))
    with pytest.raises(StoreError, match=r"writing deployment 3 needs [\d,]+ bytes"):
        promote(full, publish(store, 2).id, order(store), QUICK, clock=now, preflight=flies)
    assert steps(store) == [DEPLOYED, TRIED, BACK]
    assert live(store) == 1
    assert len(store.log()) == 3


class Unsynced(SwiftDisk):
    """Cannot sync a folder of the log."""

    def sync_folder(self, path: Path) -> None:
        if path.name == "deployments":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        super().sync_folder(path)


def test_a_trial_whose_record_may_not_last_is_taken_back(store: Store, server: Server) -> None:
    with pytest.raises(StoreError, match="may not outlive a power cut"):
        promote(
            Store(store.root, disk=Unsynced()), publish(store, 2).id, order(store), QUICK, clock=now, preflight=flies
        )
    assert steps(store) == [DEPLOYED, TRIED, BACK]
    assert live(store) == 1


# --- two at once ------------------------------------------------------------------------------------


def test_a_verdict_against_what_is_no_longer_live_is_refused(store: Store) -> None:
    stale = order(store)
    bring(store, 1)
    with pytest.raises(Conflict, match="generation 0 was expected to be the last, generation 1 is: judge again"):
        promote(store, publish(store, 2).id, stale, ALONE, clock=now, preflight=flies)
    assert live(store) == 1


def test_a_promotion_beside_another_run_is_refused(store: Store) -> None:
    with Store(store.root).lock("run-1"), pytest.raises(Locked, match="run-1"):
        bring(store, 1)
    assert store.head() is None


def race(root: Path, version: str, barrier: Any, rounds: int, out: Any) -> None:
    store = Store(root, disk=SwiftDisk())
    won = []
    for generation in range(rounds):
        barrier.wait(60)
        given = Order(expect_generation=generation, actor=str(os.getpid()))
        try:
            if promote(store, versions_of(version, generation), given, ALONE, clock=now, preflight=flies).confirmed:
                won.append(generation)
        except (Conflict, Locked):
            pass
        barrier.wait(60)
    out.put(won)


def versions_of(pair: str, generation: int) -> str:
    return pair.split()[generation % 2]


def test_of_two_promoters_at_once_exactly_one_wins_100_times(store: Store) -> None:
    pair = f"{publish(store, 1).id} {publish(store, 2).id}"
    barrier, out = FORK.Barrier(2), FORK.Queue()
    both = [FORK.Process(target=race, args=(store.root, pair, barrier, 100, out)) for _ in range(2)]
    for process in both:
        process.start()
    won = [out.get(timeout=60) for _ in both]
    for process in both:
        process.join()
    assert sorted(won[0] + won[1]) == list(range(100))
    assert len(store.log()) == 100


# --- who is alive ---------------------------------------------------------------------------------------


def test_a_replica_that_was_just_killed_fails_no_deployment(store: Store, server: Server) -> None:
    with serving(store.root, "host-2") as killed:
        killed.die()
        promotion = bring(store, 2, SHORT)
    assert promotion.confirmed, promotion.sentence
    assert [c.subject for c in by_name(promotion.checks, "smoke")] == ["host-1"]


@pytest.mark.parametrize("jump", [timedelta(hours=-3), timedelta(hours=3)], ids=["back", "forward"])
def test_a_clock_that_jumped_hides_no_live_replica(store: Store, server: Server, jump: timedelta) -> None:
    server.clock = lambda: now() - jump
    server.beat()
    assert live_replicas(store, SHORT, now=now()) == ()
    server.off = 1
    sentence, _ = rolled_back(store)
    assert "host-1 differs" in sentence


def test_another_process_on_a_dead_replicas_port_is_not_taken_for_it(store: Store, server: Server) -> None:
    ghost = Replica(name="ghost", host="host", pid=1, url=server.replica.url, at=DAY)
    store.beat(ghost)
    promotion = bring(store, 2, QUICK)
    assert promotion.confirmed
    assert [c.subject for c in by_name(promotion.checks, "smoke")] == ["host-1"]


# --- a service that is not rehone's -------------------------------------------------------------------------


@pytest.fixture
def foreign() -> Iterator[tuple[str, dict[str, Any]]]:
    says: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps({k: v() if callable(v) else v for k, v in says.items()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/status?of=model", says
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_foreign_service_must_report_the_version_under_the_key(
    store: Store, foreign: tuple[str, dict[str, Any]]
) -> None:
    url, says = foreign
    policy = Deploy(trial_seconds=0.5, health_url=url, health_version_key="model", service="required")

    def current() -> str:
        return (store.root / "current").readlink().name

    says["model"] = current
    assert bring(store, 1, policy).confirmed
    says["model"] = lambda: current()[:12]
    assert bring(store, 2, policy).confirmed
    for wrong in (lambda: current()[:11], lambda: "f" * 64, lambda: None, lambda: 12):
        says["model"] = wrong
        promotion = bring(store, 3, policy)
        assert not promotion.confirmed
        assert "under 'model'" in promotion.sentence
    del says["model"]
    says["version"] = current
    assert not bring(store, 3, policy).confirmed
    assert live(store) == 2


def test_a_foreign_service_that_does_not_answer_is_rolled_back(store: Store) -> None:
    with serving(store.root) as gone:
        url = gone.replica.url
    store.retire("host-1")
    promotion = bring(store, 1, Deploy(trial_seconds=0.3, health_url=url))
    assert not promotion.confirmed
    assert "does not answer (ConnectionRefusedError" in promotion.sentence
    assert [d.version for d in store.log()] == [promotion.version, None]


def test_an_address_that_is_not_http_is_never_opened(store: Store) -> None:
    promotion = bring(store, 1, Deploy(trial_seconds=0.2, health_url="file:///etc/passwd"))
    assert "is not an http:// or https:// address" in promotion.sentence


def test_an_answer_that_never_ends_is_cut_off(store: Store) -> None:
    class Drip(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(600):
                    self.wfile.write(b" ")
                    time.sleep(0.1)
            except OSError:
                pass

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Drip)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    begun = time.monotonic()
    promotion = bring(store, 1, Deploy(trial_seconds=0.3, health_url=f"http://127.0.0.1:{server.server_port}/"))
    assert not promotion.confirmed
    assert time.monotonic() - begun < 60  # as long as it drips
    server.shutdown()
    server.server_close()


# --- rollback ---------------------------------------------------------------------------------------------------


def test_rollback_goes_one_back_each_time_and_never_returns_to_what_was_left(store: Store) -> None:
    for n in (1, 2, 3):
        bring(store, n)
    for expected in (2, 1):
        record = rollback(store, None, order(store, reason="bad"), clock=now)
        assert (record.action, record.state, record.reason) == (
            DeploymentAction.ROLLBACK,
            DeploymentState.CONFIRMED,
            "bad",
        )
        assert live(store) == expected
    with pytest.raises(NotFound, match="no version was confirmed before"):
        rollback(store, None, order(store), clock=now)


def test_rollback_to_any_version_at_any_depth_by_the_beginning_of_its_id(store: Store) -> None:
    ids = [bring(store, n).version for n in range(6)]
    for n in (0, 4, 2, 5):
        rollback(store, ids[n][:10], order(store), clock=now)
        assert live(store) == n


def test_rollback_to_nothing_and_from_nothing(store: Store) -> None:
    bring(store, 1)
    assert rollback(store, "none", order(store), clock=now).version is None
    assert live(store) is None
    rollback(store, None, order(store), clock=now)
    assert live(store) == 1


def test_rollback_needs_no_lock_and_ends_a_trial(store: Store) -> None:
    bring(store, 1)
    store.append(deployment(publish(store, 2).id, state=DeploymentState.TRIAL), expect_generation=1)
    with Store(store.root).lock("the run of the trial"):
        rollback(store, None, order(store), clock=now)
    assert live(store) == 1


def test_rollback_takes_milliseconds(store: Store) -> None:
    for n in range(20):
        bring(store, n)
    store = Store(store.root)
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        rollback(store, None, order(store), clock=now)
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.2
    assert live(store) == 14


def test_rollback_without_any_deployment_says_so(store: Store) -> None:
    with pytest.raises(NotFound, match="nothing was ever deployed"):
        rollback(store, None, order(store), clock=now)


def test_rollback_to_the_live_version_says_so(store: Store) -> None:
    version = bring(store, 1).version
    with pytest.raises(StoreError, match="is live already, since generation 1"):
        rollback(store, version, order(store), clock=now)


def test_rollback_to_a_damaged_version_is_refused_naming_the_damage_and_the_whole_ones(store: Store) -> None:
    ids = [bring(store, n).version for n in (1, 2, 3)]
    path = store.root / "versions" / ids[1] / "model.skops"
    path.chmod(0o644)
    path.write_bytes(b"x")
    for to in (None, ids[1]):
        with pytest.raises(
            Corrupt,
            match=rf"not rolled back: version {ids[1][:12]} is damaged \(model.skops has 1 bytes.*"
            rf"confirmed versions that are whole: {ids[2][:12]}, {ids[0][:12]}",
        ):
            rollback(store, to, order(store), clock=now)
    assert live(store) == 3


def test_rollback_to_a_version_that_is_gone_is_refused(store: Store) -> None:
    ids = [bring(store, n).version for n in range(4)]
    store.collect(2)
    with pytest.raises(NotFound, match="removed by clean-up"):
        rollback(store, ids[0], order(store), clock=now)
    assert live(store) == 3


def test_rollback_to_what_never_proved_itself_is_refused(store: Store) -> None:
    champion, challenger = bring(store, 1).version, publish(store, 2).id
    with pytest.raises(StoreError, match=rf"was never confirmed in production: .* such as {champion[:12]}"):
        rollback(store, challenger, order(store), clock=now)


def test_rollback_of_something_older_is_a_conflict(store: Store) -> None:
    stale = order(store)
    bring(store, 1)
    bring(store, 2)
    with pytest.raises(Conflict, match="look again at what is live"):
        rollback(store, None, stale, clock=now)
    assert live(store) == 2


def test_a_clock_set_back_changes_no_order(store: Store) -> None:
    for n in range(4):
        bring(store, n, clock=lambda n=n: DAY - timedelta(days=400 * n))
    rollback(store, None, order(store), clock=lambda: DAY.replace(year=1999))
    assert live(store) == 2
    assert [d.generation for d in store.log()] == [1, 2, 3, 4, 5]


# --- healing -------------------------------------------------------------------------------------------------------


def on_trial(store: Store, *, deadline: datetime) -> None:
    bring(store, 1)
    trial = deployment(publish(store, 2).id, state=DeploymentState.TRIAL, at=now(), deadline=deadline)
    store.append(trial, expect_generation=1)


@pytest.mark.parametrize("hours", [-1, 1], ids=["past its deadline", "before its deadline"])
def test_the_trial_of_a_dead_run_is_taken_back_whatever_the_clock_says(store: Store, hours: int) -> None:
    on_trial(store, deadline=now() + timedelta(hours=hours))
    (check,) = heal(store, clock=now, policy=QUICK)
    assert check.name == "trial"
    assert "was left open: its run was killed; version" in check.detail
    assert steps(store) == [DEPLOYED, TRIED, BACK]
    assert live(store) == 1
    assert heal(store, clock=now, policy=QUICK) == ()


def test_the_trial_of_a_living_run_is_left_alone_until_its_deadline(store: Store) -> None:
    on_trial(store, deadline=now() + timedelta(hours=1))
    with Store(store.root).lock("run-9"):
        (check,) = heal(store, clock=now, policy=QUICK)
        assert check.status is CheckStatus.WARN
        assert "is on trial until" in check.detail
        assert "run-9" in check.remedy
        assert live(store) == 2
        (later,) = heal(store, clock=lambda: now() + timedelta(hours=2), policy=QUICK)
        assert "its deadline has passed" in later.detail
    assert live(store) == 1


def test_a_first_trial_of_a_dead_run_leaves_nothing_live(store: Store) -> None:
    store.append(deployment(publish(store, 2).id, state=DeploymentState.TRIAL), expect_generation=0)
    heal(store, clock=now, policy=QUICK)
    assert live(store) is None


def test_a_dead_server_is_forgotten_and_a_living_one_is_not(store: Store, server: Server) -> None:
    store.beat(Replica(name="dead", host="h", pid=1, url="http://127.0.0.1:1", at=now() - timedelta(hours=2)))
    (check,) = heal(store, clock=now, policy=QUICK)
    assert check.detail.startswith("dead has not beaten for 2:00:0")
    assert [r.name for r in store.replicas()] == ["host-1"]


def test_a_server_that_has_seen_more_than_the_log_shows_that_records_were_removed(store: Store, server: Server) -> None:
    bring(store, 2)
    server.follow()
    (store.root / "deployments" / "0000000002.json").unlink()
    (check,) = by_name(heal(store, clock=now, policy=QUICK), "log")
    assert (check.status, check.value, check.limit) == (CheckStatus.ACT, None, None)
    assert "host-1 has served generation 2, but the log ends at 1" in check.detail


def test_healing_a_damaged_log_fails_closed(store: Store) -> None:
    bring(store, 1)
    bring(store, 2)
    (store.root / "deployments" / "0000000001.json").unlink()
    with pytest.raises(Corrupt, match="generation 1 is missing"):
        heal(store, clock=now, policy=QUICK)


PROMOTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store_kit import bring, Deploy
from rehone.store import Store
bring(Store(Path(sys.argv[1])), 2, Deploy(trial_seconds=60))
"""


def test_a_promoter_killed_during_its_trial_is_healed_by_the_next_run(store: Store, server: Server) -> None:
    server.stuck = True
    promoter = subprocess.Popen([sys.executable, "-c", PROMOTER, str(store.root), str(Path(__file__).parent)])
    until = time.monotonic() + 30
    while len(store.log()) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    with pytest.raises(Locked):
        bring(store, 3)
    (waiting,) = by_name(heal(store, clock=now, policy=QUICK), "trial")
    assert "is on trial until" in waiting.detail
    promoter.send_signal(signal.SIGKILL)
    promoter.wait()
    assert live(store) == 2
    heal(store, clock=now, policy=QUICK)
    assert live(store) == 1
    server.stuck = False
    assert bring(store, 3, QUICK).confirmed
    assert list((store.root / "tmp").iterdir()) == []


def test_looking_changes_nothing_and_tells_what_is_wrong(store: Store, server: Server) -> None:
    second = bring(store, 2).version
    before = sorted(p for p in store.root.rglob("*"))
    found = examine(store, policy=QUICK, clock=now)
    assert [(c.name, c.status.value) for c in found] == [
        ("log", "ok"),
        ("version", "ok"),
        ("version", "ok"),
        ("replica", "warn"),
    ]
    assert sorted(p for p in store.root.rglob("*")) == before
    (store.root / "versions" / second / "model.skops").unlink()
    acting = [c for c in examine(store, policy=QUICK, clock=now) if c.status is CheckStatus.ACT]
    assert [c.subject for c in acting] == [second[:12]]
    (store.root / "deployments" / "0000000001.json").unlink()
    (lost,) = examine(store, policy=QUICK, clock=now)
    assert "generation 1 is missing" in lost.detail


def test_the_doctor_says_what_each_server_serves_in_words(store: Store, server: Server) -> None:
    """A generation and the last one look like a measure and its limit, and are none."""
    server.follow()
    (check,) = by_name(examine(store, policy=QUICK, clock=now), "replica")
    assert (check.status, check.value, check.limit) == (CheckStatus.OK, None, None)
    assert check.sentence == "host-1 serves generation 1, the last of the log"
    server.replica = replace(server.replica, pinned=True)
    server.beat()
    (check,) = by_name(examine(store, policy=QUICK, clock=now), "replica")
    assert check.detail == f"host-1 is pinned to version {(server.version or '')[:12]} by an operator"
    assert check.remedy.startswith("unpin it (`DELETE http://127.0.0.1:")


def test_smoke_can_be_asked_again_at_any_time(store: Store, server: Server) -> None:
    head = store.head()
    assert head is not None
    (check,) = smoke(store, head, QUICK, clock=now)
    assert (check.subject, check.status) == ("host-1", CheckStatus.OK)
    bring(store, 2)
    (check,) = smoke(store, head, QUICK, clock=now)
    assert "the log ends with generation 2" in check.detail


# --- the fresh process -------------------------------------------------------------------------------------------------


def test_a_version_that_cannot_be_loaded_fails_its_preflight_with_the_reason(store: Store) -> None:
    version = publish(store, 1)
    (check,) = preflight(store, version.id, QUICK)
    assert check.status is CheckStatus.ACT
    assert "preprocessor.skops" in check.detail


def test_a_preflight_that_takes_too_long_acts(store: Store) -> None:
    policy = Deploy(preflight_seconds=0.01)
    (check,) = preflight(store, publish(store, 1).id, policy)
    assert (check.status, check.value, check.limit) == (CheckStatus.ACT, 0.01, 0.01)
    assert "within 0.01 s: raise deploy.preflight_seconds" in check.sentence


def test_a_fresh_process_that_dies_is_told_with_its_last_words(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('no licence')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (check,) = preflight(store, publish(store, 1).id, QUICK)
    assert check.status is CheckStatus.ACT
    assert "ended with code" in check.detail
    assert "no licence" in check.detail


def test_a_version_that_is_not_there_fails_its_preflight(store: Store) -> None:
    (check,) = preflight(store, "a" * 64, QUICK)
    assert "there is no version aaaaaaaaaaaa" in check.detail


# --- the real parts together ----------------------------------------------------------------------------------------


def real(store: Store, seed: int, *, off: float = 0.0) -> str:
    """Publish a version with a real model, whose golden probabilities may be off."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(200, 1))
    y = (X[:, 0] * (seed + 1) + draw.normal(size=200) > 0).astype(int)
    steps = Pipeline([("preprocess", SimpleImputer()), ("model", LogisticRegression())])
    predictor = artifact.Predictor(contract=manifest(seed).contract, pipeline=steps.fit(X, y), threshold=0.5)
    golden = artifact.make_golden(predictor, pl.DataFrame({"x": [1.0, None, 3.0, -2.5]}), n=4, seed=1)
    golden = artifact.Golden(golden.rows, tuple(p + off for p in golden.probabilities))
    profile = Profile(window=Window(DAY, DAY), rows=200, positives=100, features=())
    return store.publish(manifest(seed), artifact.pack(predictor, profile, golden)).id


def test_a_preflight_loads_the_version_reproduces_its_golden_rows_and_measures(store: Store) -> None:
    load, golden, latency = preflight(store, real(store, 1), QUICK)
    assert [load.name, golden.name, latency.name] == ["load", "golden_rows", "latency_ms"]
    assert {load.status, golden.status, latency.status} == {CheckStatus.OK}
    assert golden.value == 0.0
    assert latency.value is not None
    assert 0 < latency.value < 1000


def test_a_version_that_does_not_reproduce_its_golden_rows_is_not_deployed(store: Store) -> None:
    promotion = promote(store, real(store, 1, off=1e-6), order(store), ALONE, clock=now)
    assert not promotion.confirmed
    assert "golden rows differ by at most 1e-06, limit 1e-09" in promotion.sentence
    assert store.head() is None


SERVICE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from rehone.config import Config, Deploy, Project, Serve
from rehone.serve import run
run(Config(project=Project(store=sys.argv[1]), serve=Serve(port=0, poll_seconds=0.05, heartbeat_seconds=0.2),
           deploy=Deploy(golden_tolerance=1)),
    clock=lambda: datetime.now(UTC), on_ready=lambda url: print(url, flush=True))
"""


def test_the_real_service_proves_a_version_and_takes_a_wrong_one_back(store: Store) -> None:
    first = real(store, 1)
    policy = Deploy(service="required", trial_seconds=20)
    assert promote(store, first, order(store), ALONE, clock=now).confirmed
    service = subprocess.Popen([sys.executable, "-c", SERVICE, str(store.root)], stdout=subprocess.PIPE)
    assert service.stdout is not None
    with service.stdout:
        assert service.stdout.readline().startswith(b"http://")
        until = time.monotonic() + 20
        while not live_replicas(store, policy, now=now()) and time.monotonic() < until:
            time.sleep(0.05)
        good = promote(store, real(store, 2), order(store), policy, clock=now)
        assert good.confirmed, good.sentence
        assert good.sentence.endswith("proved by 1 server")
        wrong = promote(store, real(store, 3, off=1e-3), order(store), policy, clock=now, preflight=flies)
        assert not wrong.confirmed
        assert "differs on 4 golden rows" in wrong.sentence
        assert [c.status for c in by_name(wrong.checks, "returned")] == [CheckStatus.OK]
        head = store.head()
        assert head is not None
        assert (head.version, head.generation) == (good.version, 5)
        service.send_signal(signal.SIGTERM)
        service.wait(20)
    assert store.replicas() == ()

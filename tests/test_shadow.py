"""What scoring beside the champion promises: it judges honestly, counts truly and harms nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from rehone import artifact
from rehone.config import Deploy, Shadow
from rehone.deploy import ShadowOrder, heal, shadow
from rehone.deploy.shadowing import _Watch, merged
from rehone.errors import ArtifactError, Corrupt, NotFound, StoreError
from rehone.gate import judge_shadow
from rehone.gate.shadow import rows_needed
from rehone.records import (
    CheckStatus,
    Contract,
    Deployment,
    Feature,
    FeatureKind,
    ModelVersion,
    Outcome,
    Profile,
    Replica,
    ScoreProfile,
    ShadowReport,
    StagedShadow,
    Window,
)
from rehone.serve.batching import Batch, Waiting
from rehone.serve.follower import Follower, Loaded, Serving, Staged
from rehone.serve.heartbeat import Heart
from rehone.serve.rows import Asked, Reader
from rehone.serve.shadow import MOST_WAITING, Shadows
from rehone.store import Store
from serve_kit import publish
from store_kit import deployment, flies

T0 = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = Window(T0, T0 + timedelta(days=7))
CONTRACT = Contract(
    features=(
        Feature("amount", FeatureKind.NUMERIC),
        Feature("night", FeatureKind.BOOLEAN),
        Feature("city", FeatureKind.CATEGORICAL, ("Bonn", "Köln")),
    ),
    label="fraud",
)
OTHER = Contract(
    features=(Feature("city", FeatureKind.CATEGORICAL, ("Ulm", "Bonn")), Feature("height", FeatureKind.NUMERIC)),
    label="fraud",
)
EDGES = tuple(round(0.1 * i, 1) for i in range(1, 10))
UNIFORM = ScoreProfile(edges=EDGES, counts=(100,) * 10)


def now() -> datetime:
    return datetime.now(UTC)


# --- the judgement ----------------------------------------------------------------------------

GOOD = ShadowReport(
    version="b" * 64,
    champion="a" * 64,
    rows=5000,
    changed_decisions=100,
    sum_difference=10.0,
    sum_squared_difference=50.0,
    largest_difference=0.4,
    champion_seconds=1.0,
    challenger_seconds=1.2,
    score_counts=(500,) * 10,
)


def status_of(name: str, report: ShadowReport, policy: Shadow | None = None) -> CheckStatus:
    verdict = judge_shadow(report, UNIFORM, policy or Shadow(seconds=60))
    return next(check.status for check in verdict.checks if check.name == name)


def test_a_challenger_within_every_limit_passes() -> None:
    verdict = judge_shadow(GOOD, UNIFORM, Shadow(seconds=60))
    assert verdict.outcome is Outcome.PASS
    assert not verdict.weak_evidence
    assert [check.name for check in verdict.checks] == [
        "shadow_rows",
        "shadow_errors",
        "shadow_latency",
        "shadow_changed",
        "shadow_scores",
        "shadow_difference",
    ]


@pytest.mark.parametrize(
    ("change", "check", "status"),
    [
        ({"rows": 1000, "changed_decisions": 20}, "shadow_rows", CheckStatus.OK),
        ({"rows": 999, "changed_decisions": 20}, "shadow_rows", CheckStatus.UNKNOWN),
        ({"failed_rows": 0, "rows": 2995}, "shadow_errors", CheckStatus.OK),
        ({"failed_rows": 0, "rows": 2994}, "shadow_errors", CheckStatus.WARN),
        ({"failed_rows": 5, "rows": 4995}, "shadow_errors", CheckStatus.WARN),
        ({"failed_rows": 6, "rows": 4994}, "shadow_errors", CheckStatus.UNKNOWN),
        ({"failed_rows": 12, "rows": 4988}, "shadow_errors", CheckStatus.ACT),
        ({"failed_rows": 5000, "rows": 0}, "shadow_errors", CheckStatus.ACT),
        ({"failed_rows": 0, "rows": 0}, "shadow_errors", CheckStatus.UNKNOWN),
        ({"challenger_seconds": 2.0}, "shadow_latency", CheckStatus.OK),
        ({"challenger_seconds": 2.001}, "shadow_latency", CheckStatus.ACT),
        ({"challenger_seconds": 2.001, "rows": 99, "changed_decisions": 9}, "shadow_latency", CheckStatus.UNKNOWN),
        ({"challenger_seconds": 0.6, "champion_seconds": 0.1}, "shadow_latency", CheckStatus.WARN),
        ({"challenger_seconds": 0.601, "champion_seconds": 0.1}, "shadow_latency", CheckStatus.ACT),
        ({"challenger_seconds": 0.0, "champion_seconds": 0.0}, "shadow_latency", CheckStatus.UNKNOWN),
        ({"changed_decisions": 900}, "shadow_changed", CheckStatus.OK),
        ({"changed_decisions": 1000}, "shadow_changed", CheckStatus.WARN),
        ({"changed_decisions": 1001}, "shadow_changed", CheckStatus.UNKNOWN),
        ({"changed_decisions": 1050}, "shadow_changed", CheckStatus.ACT),
        ({"score_counts": (1490, *(390,) * 9)}, "shadow_scores", CheckStatus.OK),
        ({"score_counts": (1510, *(388,) * 9)}, "shadow_scores", CheckStatus.ACT),
        ({"score_counts": (3, 1, 1, 1, 1, 1, 0, 0, 0, 0), "rows": 8}, "shadow_scores", CheckStatus.UNKNOWN),
        ({"score_counts": ()}, "shadow_scores", CheckStatus.UNKNOWN),
        ({"because": "host-1: no memory"}, "shadow_servers", CheckStatus.ACT),
        ({"vanished": ("host-1",)}, "shadow_servers", CheckStatus.UNKNOWN),
        ({"vanished": ("host-1",), "failed_rows": 1}, "shadow_servers", CheckStatus.ACT),
    ],
)
def test_each_check_at_its_limit_and_just_beyond(change: dict[str, Any], check: str, status: CheckStatus) -> None:
    assert status_of(check, replace(GOOD, **{"changed_decisions": 0, **change})) is status


def test_no_failure_in_the_fewest_rows_passes_on_weak_evidence_and_says_how_many_would_settle_it() -> None:
    verdict = judge_shadow(replace(GOOD, rows=1000, changed_decisions=20), UNIFORM, Shadow(seconds=60))
    assert verdict.outcome is Outcome.PASS
    assert verdict.weak_evidence
    errors = next(check for check in verdict.checks if check.name == "shadow_errors")
    assert errors.detail == (
        "the challenger failed on 0 of 1,000 rows that the champion answered (0.00 %), must be at most 0.10 %; "
        "at most 0.30 % with 95 % confidence; weak evidence"
    )
    assert errors.remedy == "2,995 rows in all without another one would settle it: raise shadow.seconds"


def test_a_limit_of_zero_is_held_by_zero_and_broken_by_one() -> None:
    strict = Shadow(seconds=60, max_error_share=0)
    assert status_of("shadow_errors", GOOD, strict) is CheckStatus.OK
    assert status_of("shadow_errors", replace(GOOD, failed_rows=1), strict) is CheckStatus.ACT


@pytest.mark.parametrize(
    ("hits", "limit", "needed"), [(0, 0.001, 2995), (0, 0.2, 14), (1, 0.001, 4742), (0, 0.0, None)]
)
def test_the_rows_needed_are_the_fewest_whose_upper_bound_is_within_the_limit(
    hits: int, limit: float, needed: int | None
) -> None:
    assert rows_needed(hits, limit, 0.95) == needed


def test_checks_that_are_off_are_not_made() -> None:
    policy = Shadow.model_validate({"seconds": 60, "max_changed_share": "off", "max_score_ks": "off"})
    verdict = judge_shadow(replace(GOOD, changed_decisions=5000, score_counts=()), None, policy)
    assert verdict.outcome is Outcome.PASS
    assert {"shadow_changed", "shadow_scores"}.isdisjoint(check.name for check in verdict.checks)


def test_without_any_row_only_the_lack_of_rows_is_said() -> None:
    verdict = judge_shadow(ShadowReport(version="b" * 64), UNIFORM, Shadow(seconds=60))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    (errors,) = [check for check in verdict.checks if check.name == "shadow_errors"]
    assert errors.sentence == "nothing was scored, so that nothing is known of its failures"


def test_a_fail_outweighs_too_few_rows_and_names_every_reason() -> None:
    report = replace(GOOD, rows=500, failed_rows=100, changed_decisions=400)
    verdict = judge_shadow(report, UNIFORM, Shadow(seconds=60))
    assert verdict.outcome is Outcome.FAIL
    assert "failed on 100 of 600 rows" in verdict.reason
    assert "400 of 500 decisions differ" in verdict.reason
    assert not verdict.lacks_rows


def test_too_few_rows_are_inconclusive_and_say_how_long_it_would_take() -> None:
    verdict = judge_shadow(replace(GOOD, rows=250, changed_decisions=5), UNIFORM, Shadow(seconds=60))
    assert (verdict.outcome, verdict.lacks_rows) == (Outcome.INCONCLUSIVE, True)
    assert verdict.reason == (
        "beside the champion on what was asked: 250 rows scored by both, need at least 1,000: "
        "raise shadow.seconds to about 240 at this traffic, or lower shadow.min_rows"
    )


def test_the_mean_difference_has_an_interval_and_is_never_judged() -> None:
    check = judge_shadow(GOOD, UNIFORM, Shadow(seconds=60)).checks[-1]
    assert check.status is CheckStatus.OK
    assert check.value == pytest.approx(0.002)
    assert check.interval is not None
    assert check.interval[0] == pytest.approx(0.002 - 1.6449 * np.sqrt((50 - 5000 * 0.002**2) / 4999 / 5000), abs=1e-6)


@pytest.mark.parametrize(
    ("share", "passes", "fails"),
    [(0.0, (1.0, 1.0), (0.0, 0.0)), (0.001, (0.6, 1.0), (0.0, 0.08)), (0.01, (0.0, 0.01), (0.95, 1.0))],
)
def test_by_simulation_a_good_challenger_passes_and_one_ten_times_over_the_limit_fails(
    share: float, passes: tuple[float, float], fails: tuple[float, float]
) -> None:
    """2,000 rows, limit 0.1 %: at the limit itself at most the level's share of challengers is failed."""
    draw = np.random.default_rng(1)
    found = [
        status_of("shadow_errors", replace(GOOD, rows=2000 - k, failed_rows=k)) for k in draw.binomial(2000, share, 300)
    ]
    good = sum(status in (CheckStatus.OK, CheckStatus.WARN) for status in found) / len(found)
    bad = found.count(CheckStatus.ACT) / len(found)
    assert passes[0] <= good <= passes[1]
    assert fails[0] <= bad <= fails[1]


# --- versions to serve --------------------------------------------------------------------------


def a_predictor(seed: int, *, threshold: float = 0.5, contract: Contract = CONTRACT) -> artifact.Predictor:
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(200, len(contract.features)))
    y = (X @ draw.normal(size=X.shape[1]) + draw.normal(size=200) > 0).astype(int)
    pipeline = Pipeline([("preprocess", SimpleImputer()), ("model", LogisticRegression(C=0.01))]).fit(X, y)
    return artifact.Predictor(contract=contract, pipeline=pipeline, threshold=threshold)


def published(store: Store, seed: int, *, spoilt: bool = False) -> ModelVersion:
    predictor = a_predictor(seed)
    frame = pl.DataFrame({"amount": [1.0, None, 3.0], "night": [True, False, None], "city": ["Bonn", None, "Köln"]})
    golden = artifact.make_golden(a_predictor(seed + 1) if spoilt else predictor, frame, n=4, seed=1)
    return publish(store, predictor, golden, run_id=f"run-{seed}", scores=UNIFORM)


def deployed(store: Store, version: str | None) -> Deployment:
    head = store.head()
    return store.append(deployment(version), expect_generation=head.generation if head else 0)


def order_of(version: str, *, seconds: float = 60, share: float = 1.0) -> StagedShadow:
    return StagedShadow(
        version=version, run_id="run-9", started_at=now(), deadline=now() + timedelta(seconds=seconds), share=share
    )


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.005)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


# --- the staged file ----------------------------------------------------------------------------


def test_what_is_staged_is_read_back_replaced_and_removed_only_by_its_run(store: Store) -> None:
    first, second = order_of(published(store, 1).id), order_of(published(store, 2).id)
    assert store.staged() is None
    assert not store.unstage("run-9")
    store.stage(first)
    store.stage(second)
    assert store.staged() == second
    assert not store.unstage("another run")
    assert store.staged() == second
    assert store.unstage("run-9")
    assert store.staged() is None
    assert not (store.root / "shadow.json").exists()


def test_a_version_that_is_not_there_is_not_staged(store: Store) -> None:
    with pytest.raises(NotFound):
        store.stage(order_of("f" * 64))
    assert store.staged() is None


def test_a_damaged_staged_file_is_said_and_can_be_removed(store: Store) -> None:
    (store.root / "shadow.json").write_text('{"version": ')
    with pytest.raises(Corrupt):
        store.staged()
    assert store.unstage()
    assert store.staged() is None


# --- following what is staged ---------------------------------------------------------------------


def following(store: Store, **options: Any) -> tuple[Follower, ModelVersion, ModelVersion]:
    champion, challenger = published(store, 1), published(store, 2)
    deployed(store, champion.id)
    follower = Follower(store.root, Deploy(), **{"clock": now, **options})
    follower.step()
    return follower, champion, challenger


def stepped(follower: Follower, true: Callable[[Serving], Any]) -> Serving:
    """Step until what is served looks so."""

    def look() -> bool:
        follower.step()
        return bool(true(follower.now))

    until(look)
    return follower.now


def test_a_staged_version_is_loaded_beside_the_champion_and_dropped_when_it_is_removed(store: Store) -> None:
    follower, champion, challenger = following(store)
    live = follower.now.loaded
    store.stage(order_of(challenger.id))
    serving = stepped(follower, lambda serving: serving.shadow)
    assert serving.shadow is not None
    assert serving.shadow.loaded is not None
    assert serving.shadow.loaded.version == challenger.id
    assert serving.shadow.loaded.profile is not None
    assert serving.loaded is live
    assert (serving.loaded and serving.loaded.version, serving.generation) == (champion.id, 1)
    store.unstage("run-9")
    follower.step()
    assert follower.now.shadow is None
    assert follower.now.loaded is live


def test_a_server_drops_what_is_staged_at_its_deadline_by_itself(store: Store) -> None:
    clock = [now()]
    follower, _, challenger = following(store, clock=lambda: clock[0])
    staged = order_of(challenger.id)
    store.stage(staged)
    stepped(follower, lambda serving: serving.shadow)
    clock[0] = staged.deadline - timedelta(microseconds=1)
    follower.step()
    assert follower.now.shadow is not None
    clock[0] = staged.deadline
    follower.step()
    assert follower.now.shadow is None
    assert store.staged() == staged


def test_a_machine_without_a_thread_to_give_is_asked_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    follower, _, challenger = following(store)
    store.stage(order_of(challenger.id))

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", none_left)
        follower.step()
    assert follower.now.shadow is None
    assert stepped(follower, lambda serving: serving.shadow).shadow is not None


def test_a_challenger_that_cannot_be_loaded_is_reported_and_the_champion_serves(store: Store) -> None:
    follower, champion, _ = following(store)
    store.stage(order_of(published(store, 5, spoilt=True).id))
    serving = stepped(follower, lambda serving: serving.shadow)
    assert serving.shadow is not None
    assert serving.shadow.loaded is None
    report = Shadows().report(serving.shadow)
    assert report is not None
    assert report.because is not None
    assert report.because.startswith("4 golden rows differ by at most")
    assert serving.loaded is not None
    assert (serving.loaded.version, serving.refused, serving.trouble) == (champion.id, None, None)


def test_a_damaged_staged_file_troubles_nobody(store: Store) -> None:
    follower, _, challenger = following(store)
    (store.root / "shadow.json").write_text("{")
    before = follower.now
    follower.step()
    assert follower.now is before
    deployed(store, challenger.id)
    follower.step()
    assert follower.now.generation == 2


def test_one_failed_read_of_what_is_staged_ends_nothing_before_its_deadline(store: Store) -> None:
    time_is = [now()]
    follower, _, challenger = following(store, clock=lambda: time_is[0])
    store.stage(order_of(challenger.id))
    stepped(follower, lambda serving: serving.shadow)
    before = follower.now.shadow
    (store.root / "shadow.json").write_text("{")
    follower.step()
    assert follower.now.shadow is before
    assert before is not None
    time_is[0] = before.order.deadline
    follower.step()
    assert follower.now.shadow is None


def test_a_challenger_that_never_loads_does_not_hold_up_a_rollback(store: Store) -> None:
    """Loading is in a thread of its own: a new record is taken over while it hangs."""
    follower, _, challenger = following(store)
    hangs, began = threading.Event(), threading.Event()
    released: list[bool] = []

    def load(version: str) -> Loaded:
        began.set()
        released.append(hangs.wait(10))
        raise ArtifactError("at last")

    follower._understudy._load = load  # what a version's bytes can do only with joblib
    store.stage(order_of(challenger.id))
    follower.step()
    assert began.wait(10)
    deployed(store, None)
    follower.step()
    hangs.set()
    assert follower.now == Serving(generation=2)
    until(lambda: released)
    assert released == [True]


def test_a_promoted_challenger_is_no_shadow_of_itself(store: Store) -> None:
    follower, _, challenger = following(store)
    store.stage(order_of(challenger.id))
    stepped(follower, lambda serving: serving.shadow)
    deployed(store, challenger.id)
    follower.step()
    assert follower.now.shadow is None
    assert follower.now.generation == 2


# --- an operator's actions --------------------------------------------------------------------------


def test_a_pinned_server_refuses_a_new_deployment_and_says_why(store: Store) -> None:
    follower, _, challenger = following(store)
    third = published(store, 3)
    follower.pin(third.short)
    assert follower.now.loaded is not None
    assert (follower.now.loaded.version, follower.now.pinned, follower.now.generation) == (third.id, third.id, None)
    assert follower.now.refused is None
    deployed(store, challenger.id)
    follower.step()
    assert follower.now.loaded.version == third.id
    assert follower.now.refused is not None
    assert (follower.now.refused.generation, follower.now.refused.because) == (
        2,
        f"generation 2 was not taken over: this server is pinned to version {third.short} by an operator",
    )
    follower.unpin()
    assert follower.now.loaded.version == challenger.id
    assert (follower.now.generation, follower.now.refused, follower.now.pinned) == (2, None, None)


def test_unpinning_brings_back_what_the_log_says_though_nothing_was_deployed_meanwhile(store: Store) -> None:
    follower, champion, challenger = following(store)
    follower.pin(challenger.id)
    follower.step()
    assert follower.now.loaded is not None
    assert follower.now.loaded.version == challenger.id
    follower.unpin()
    assert follower.now.loaded.version == champion.id
    assert follower.now.generation == 1


def test_a_deployment_of_the_pinned_version_is_not_refused_and_taken_over_by_unpinning(store: Store) -> None:
    follower, _, challenger = following(store)
    follower.pin(challenger.id)
    deployed(store, published(store, 3).id)
    follower.step()
    assert follower.now.refused is not None
    deployed(store, challenger.id)
    follower.step()
    assert (follower.now.generation, follower.now.refused, follower.now.pinned) == (None, None, challenger.id)
    follower.unpin()
    assert (follower.now.generation, follower.now.refused, follower.now.pinned) == (3, None, None)


def test_no_generation_is_named_while_pinned_in_any_answer_and_a_lost_log_is_noticed(store: Store) -> None:
    follower, _, challenger = following(store)
    heart = Heart(ME, store.root, lambda: follower.now, wake=threading.Event(), clock=now, seconds=1)
    follower.pin(challenger.id)
    follower.step()
    assert follower.now.refused is None
    report = heart.report()
    assert (report.generation, report.version, report.pinned) == (None, challenger.id, True)
    for record in (store.root / "deployments").iterdir():
        record.unlink()
    (store.root / "current").unlink()
    follower.step()
    assert follower.now.trouble is not None
    assert "but generation 1 was read before" in follower.now.trouble


def test_a_version_that_does_not_load_is_not_pinned(store: Store) -> None:
    follower, *_ = following(store)
    before = follower.now
    with pytest.raises(ArtifactError, match="4 golden rows differ"):
        follower.pin(published(store, 5, spoilt=True).id)
    with pytest.raises(NotFound):
        follower.pin("f" * 64)
    assert follower.now is before


def test_a_pinned_server_scores_no_challenger(store: Store) -> None:
    follower, champion, challenger = following(store)
    store.stage(order_of(challenger.id))
    stepped(follower, lambda serving: serving.shadow)
    follower.pin(champion.id)
    assert follower.now.shadow is None
    follower.step()
    assert follower.now.shadow is None


@contextlib.contextmanager
def thread_of(target: Callable[[threading.Event], None], awake: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=target, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        awake()
        thread.join(20)
        assert not thread.is_alive()


def test_a_follower_takes_the_clock_that_it_is_given(store: Store) -> None:
    with pytest.raises(TypeError, match="clock"):
        Follower(store.root, Deploy())  # type: ignore[call-arg]  # what is tested


def test_waking_looks_at_the_log_before_the_next_poll(store: Store) -> None:
    follower, _, challenger = following(store)
    with thread_of(lambda stop: follower.follow(stop, 3600), follower.wake):
        deployed(store, challenger.id)
        follower.wake()
        until(lambda: follower.now.generation == 2)


def test_an_end_is_noticed_without_waking(store: Store) -> None:
    follower, *_ = following(store)
    with thread_of(lambda stop: follower.follow(stop, 3600), lambda: None):
        pass


# --- the heart ----------------------------------------------------------------------------------------


ME = Replica(name="me-1", host="me", pid=1, url="http://127.0.0.1:1", at=T0)


def test_a_heart_reports_the_pin_and_the_shadow(store: Store) -> None:
    serving = Serving(pinned="a" * 64)
    heart = Heart(ME, store.root, lambda: serving, wake=threading.Event(), clock=now, seconds=1, shadow=lambda _: GOOD)
    assert (heart.report().pinned, heart.report().shadow) == (True, GOOD)


def test_a_heart_outlives_a_fault_in_what_it_reports(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    faults = [ValueError("no number"), ValueError("no number")]

    def seen(_: Serving) -> ShadowReport:
        if faults:
            raise faults.pop()
        return GOOD

    wake = threading.Event()
    heart = Heart(ME, store.root, Serving, wake=wake, clock=now, seconds=0.01, shadow=seen)
    with thread_of(heart.beat_until, wake.set):
        until(lambda: [replica.shadow for replica in store.replicas()] == [GOOD])
    assert [record.getMessage() for record in caplog.records] == ["heartbeat not written"]


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        (Serving(generation=1), "was there before and is gone: mount it or put it back"),
        (Serving(), "run `rehone run` to make one"),
    ],
)
def test_a_heart_without_its_store_advises_a_new_one_only_where_there_was_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, serving: Serving, said: str
) -> None:
    wake = threading.Event()
    heart = Heart(ME, tmp_path / "store", lambda: serving, wake=wake, clock=now, seconds=0.01)
    with thread_of(heart.beat_until, wake.set):
        until(lambda: caplog.records)
    assert said in caplog.records[0].because  # type: ignore[attr-defined]  # the fields of an event


def test_a_heart_stops_while_the_server_hangs_and_goes_on_after(store: Store) -> None:
    alive = [True]
    wake = threading.Event()
    heart = Heart(ME, store.root, Serving, wake=wake, clock=now, seconds=0.01, alive=lambda: alive[0])

    def last() -> datetime:
        return store.replicas()[0].at if store.replicas() else T0

    with thread_of(heart.beat_until, wake.set):
        until(lambda: last() > T0)
        alive[0] = False
        until(lambda: heart._hung)
        before = last()
        time.sleep(0.1)
        assert last() == before
        alive[0] = True
        until(lambda: last() > before)
    assert store.replicas() == ()


# --- scoring beside the champion ------------------------------------------------------------------


LOOP = asyncio.new_event_loop()  # nobody awaits these answers
LOOP.close()


@dataclass
class Stage:
    """A champion, a challenger and what is asked of both."""

    champion: Loaded
    staged: Staged

    @classmethod
    def of(cls, challenger: artifact.Predictor, *, share: float = 1.0, profile: Profile | None = None) -> Stage:
        loaded = Loaded(challenger, "b" * 64, profile)
        return cls(Loaded(a_predictor(1), "a" * 64), Staged(order_of("b" * 64, share=share), loaded))

    def answered(self, *requests: list[dict[str, Any]]) -> Batch:
        """Let the champion answer some requests in one batch."""
        extra = self.staged.loaded.predictor.contract.names if self.staged.loaded else ()
        reader = Reader(self.champion.predictor.contract, extra=extra)
        asked = [reader.read(json.dumps(rows).encode(), 1000) for rows in requests]
        assert all(isinstance(one, Asked) for one in asked)
        whole = [one for one in asked if isinstance(one, Asked)]
        scores = np.concatenate([self.champion.predictor.score(reader.encode(one.rows)) for one in whole])
        serving = Serving(loaded=self.champion, generation=1, shadow=self.staged)
        done: asyncio.Future[NDArray[np.float64]] = asyncio.Future(loop=LOOP)
        return Batch([Waiting(serving, self.champion, reader, one, "r-1", done) for one in whole], scores, 0.0)

    def report(self, shadows: Shadows, rows: int) -> ShadowReport:
        """Wait until so many rows have come to an end, and return the report."""

        def look() -> ShadowReport | None:
            found = shadows.report(self.staged)
            return found if found and found.rows + found.failed_rows + found.skipped_rows >= rows else None

        report: ShadowReport = until(look)
        return report


def rows_like(n: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    cities = ["Bonn", "Köln", "Ulm", None]
    return [
        {"amount": float(draw.normal()), "night": bool(draw.random() < 0.5), "city": cities[int(draw.integers(4))]}
        for _ in range(n)
    ]


PROFILE = Profile(window=WEEK, rows=1000, positives=100, features=(), scores=UNIFORM)


def test_a_report_is_what_python_finds_on_the_same_rows() -> None:
    challenger = a_predictor(2, threshold=0.45)
    stage = Stage.of(challenger, profile=PROFILE)
    shadows = Shadows()
    requests = [rows_like(1 + n % 3, seed=n) for n in range(12)]
    for n in range(0, 12, 3):
        shadows.offer(stage.answered(*requests[n : n + 3]))
    rows = [row for request in requests for row in request]
    report = stage.report(shadows, len(rows))
    before, after = stage.champion.predictor.predict_proba(rows), challenger.predict_proba(rows)
    assert (report.rows, report.failed_rows, report.skipped_rows) == (24, 0, 0)
    assert (report.version, report.champion, report.because) == ("b" * 64, "a" * 64, None)
    assert report.changed_decisions == int(((after >= 0.45) != (before >= 0.5)).sum())
    assert report.sum_difference == pytest.approx(float((after - before).sum()), abs=1e-12)
    assert report.sum_squared_difference == pytest.approx(float(((after - before) ** 2).sum()), abs=1e-12)
    assert report.largest_difference == pytest.approx(float(np.abs(after - before).max()), abs=1e-12)
    assert report.score_counts == tuple(np.histogram(after, [0, *EDGES, 1])[0])
    assert report.champion_seconds > 0
    assert report.challenger_seconds > 0


def test_a_challenger_of_another_contract_reads_the_rows_by_name() -> None:
    """It has its own columns and its own codes of cities; a request that lacks one is a failure."""
    challenger = a_predictor(3, contract=OTHER)
    stage = Stage.of(challenger)
    shadows = Shadows()
    tall = [{**row, "height": 1.5 + n} for n, row in enumerate(rows_like(5))]
    shadows.offer(stage.answered(tall, rows_like(3, seed=9)))
    report = stage.report(shadows, 8)
    assert (report.rows, report.failed_rows) == (5, 3)
    expected = challenger.predict_proba(tall) - stage.champion.predictor.predict_proba(tall)
    assert report.sum_difference == pytest.approx(float(expected.sum()), abs=1e-12)


class Fickle:
    """A model that raises for a large amount, says nothing finite for a small one, and may take its time."""

    def __init__(self, seconds: float = 0.0, hangs: threading.Event | None = None) -> None:
        self.seconds, self.hangs = seconds, hangs

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.hangs is not None:
            self.hangs.wait(60)
        time.sleep(self.seconds)
        if (matrix[:, 0] > 100).any():
            raise ZeroDivisionError("a large amount")
        scores = np.where(matrix[:, 0] < -100, np.nan, 0.3)
        return np.column_stack([1 - scores, scores])


def fickle(**options: Any) -> artifact.Predictor:
    return artifact.Predictor(contract=CONTRACT, pipeline=Fickle(**options), threshold=0.5)


def test_only_the_request_that_a_challenger_fails_on_counts_as_failed() -> None:
    stage, shadows = Stage.of(fickle()), Shadows()
    large, strange = {**rows_like(1)[0], "amount": 1e6}, {**rows_like(1)[0], "amount": -1e6}
    shadows.offer(stage.answered(rows_like(4), [large], [*rows_like(2), strange]))
    report = stage.report(shadows, 8)
    assert (report.rows, report.failed_rows) == (6, 2)
    assert (report.champion_seconds, report.challenger_seconds) == (0.0, 0.0)


def test_a_slow_challenger_is_timed_and_what_it_has_no_time_for_is_skipped() -> None:
    stage, shadows = Stage.of(fickle(seconds=0.1)), Shadows()
    batch = stage.answered(rows_like(2))
    began = time.monotonic()
    for _ in range(100):
        shadows.offer(batch)
    assert time.monotonic() - began < 5  # the challenger needs ten seconds for these
    report = stage.report(shadows, 200)
    assert report.rows + report.skipped_rows == 200
    assert report.skipped_rows >= 2 * (100 - MOST_WAITING) - 2 * 50
    assert report.challenger_seconds >= 0.02 * report.rows / 2


def test_a_challenger_that_hangs_is_reported_and_holds_up_neither_the_next_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rehone.serve.shadow.HUNG_SECONDS", 0.05)
    hangs = threading.Event()
    stuck, shadows = Stage.of(fickle(hangs=hangs)), Shadows()
    for _ in range(3 + MOST_WAITING):
        shadows.offer(stuck.answered(rows_like(1)))
    report = until(lambda: (found := shadows.report(stuck.staged)) and found.because and found)
    assert report.because.startswith("a batch has not come back for")
    assert (report.rows, report.failed_rows) == (0, 0)
    assert report.skipped_rows >= 2
    following_one = Stage.of(a_predictor(2))
    shadows.offer(following_one.answered(rows_like(3)))
    assert following_one.report(shadows, 3).because is None
    hangs.set()


def test_a_slow_champion_is_timed_on_the_same_rows_in_the_same_thread() -> None:
    """Both sleep as long: the ratio is near one, however long the champion took among requests."""
    stage, shadows = Stage.of(fickle(seconds=0.02)), Shadows()
    stage.champion = Loaded(fickle(seconds=0.02), "a" * 64)
    for n in range(1, 11):
        shadows.offer(stage.answered(rows_like(1)))
        stage.report(shadows, n)
    report = stage.report(shadows, 10)
    assert report.champion_seconds >= 0.2
    assert report.challenger_seconds >= 0.2


@pytest.mark.parametrize(("share", "taken"), [(1.0, 100), (0.25, 25), (0.1, 10)])
def test_a_share_of_the_batches_is_scored_beginning_with_the_first(share: float, taken: int) -> None:
    stage, shadows = Stage.of(a_predictor(2), share=share), Shadows()
    batch = stage.answered(rows_like(1))
    shadows.offer(batch)
    stage.report(shadows, 1)
    for n in range(1, 100):
        shadows.offer(batch)
        stage.report(shadows, int(n * share))  # so that none is skipped
    assert until(lambda: (found := shadows.report(stage.staged)) and found.rows == taken)


def test_a_new_champion_begins_a_new_report() -> None:
    stage, shadows = Stage.of(a_predictor(2)), Shadows()
    shadows.offer(stage.answered(rows_like(3)))
    stage.report(shadows, 3)
    stage.champion = Loaded(a_predictor(4), "c" * 64)
    shadows.offer(stage.answered(rows_like(2)))
    report = until(lambda: (found := shadows.report(stage.staged)) and found.rows == 2 and found)
    assert report.champion == "c" * 64


def test_a_late_look_at_what_was_staged_before_loses_no_batch_that_comes_after() -> None:
    """The heart takes its reference before it asks; meanwhile the loop may have gone on to the next challenger."""
    before, after, shadows = Stage.of(a_predictor(2)), Stage.of(a_predictor(3)), Shadows()
    shadows.offer(after.answered(rows_like(1)))
    shadows.report(before.staged)
    shadows.offer(after.answered(rows_like(3)))
    assert after.report(shadows, 3).rows == 3


def test_without_anything_staged_nothing_is_scored_and_the_last_thread_ends() -> None:
    stage, shadows = Stage.of(a_predictor(2)), Shadows()
    threads = {thread for thread in threading.enumerate() if thread.name == "shadow"}
    batch, alone = stage.answered(rows_like(3)), Serving(loaded=stage.champion)
    shadows.offer(replace(batch, waiting=[replace(one, serving=alone) for one in batch.waiting]))
    assert shadows.report(None) is None
    shadows.offer(stage.answered(rows_like(3)))
    stage.report(shadows, 3)
    mine = {thread for thread in threading.enumerate() if thread.name == "shadow"} - threads
    assert shadows.report(None) is None
    until(lambda: not any(thread.is_alive() for thread in mine))


# --- the pipeline's side ----------------------------------------------------------------------------


QUICK = Deploy(replica_timeout_seconds=2)


@dataclass
class Beating:
    """A server as the store sees it: it beats, and reports what a test tells it to."""

    store: Store
    name: str
    report: Callable[[StagedShadow], ShadowReport | None]

    def beat(self, stop: threading.Event) -> None:
        while not stop.is_set():
            staged = self.store.staged()
            report = self.report(staged) if staged else None
            self.store.beat(replace(ME, name=self.name, at=now(), generation=1, shadow=report))
            stop.wait(0.02)


@contextlib.contextmanager
def beating(store: Store, *reports: Callable[[StagedShadow], ShadowReport | None]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for n, report in enumerate(reports):
            stack.enter_context(thread_of(Beating(store, f"host-{n}", report).beat, lambda: None))
        until(lambda: len(store.replicas()) == len(reports))
        yield


def saw(rows: int, **facts: Any) -> Callable[[StagedShadow], ShadowReport]:
    return lambda staged: ShadowReport(version=staged.version, rows=rows, **facts)


def asked_for(store: Store, seconds: float = 0.5) -> ShadowOrder:
    challenger = published(store, 2)
    head = store.head() or deployed(store, published(store, 1).id)
    return ShadowOrder(version=challenger.id, run_id="run-9", beside=head, seconds=seconds)


def test_the_reports_of_all_servers_add_up_and_nothing_is_left_staged(store: Store) -> None:
    order = asked_for(store)
    heard: list[str] = []
    with beating(store, saw(30, score_counts=(1, 2)), saw(12, failed_rows=2, score_counts=(0, 5))):
        found = shadow(
            store, order, QUICK, clock=now, progress=lambda _d, _t, what: heard.append(what), preflight=flies
        )
    assert found.report is not None
    assert (found.report.rows, found.report.failed_rows, found.report.score_counts) == (42, 2, (1, 7))
    assert found.report.champion == order.beside.version
    assert found.sentence == "42 rows scored beside the champion by 2 servers"
    assert heard[-1] == f"seconds, {found.sentence}"
    assert store.staged() is None
    assert store.head() == order.beside


def test_a_server_that_begins_its_tally_anew_loses_nothing_of_what_it_saw(store: Store) -> None:
    """After a pin, or under the name of a process before it, counts go back: all lives add up."""
    order = asked_for(store)
    watch = _Watch(store, order, QUICK, now)
    for rows, failed in [(10, 0), (30, 0), (0, 0), (12, 1), (12, 1), (5, 0)]:
        report = ShadowReport(version=order.version, rows=rows, failed_rows=failed)
        store.beat(replace(ME, name="host-1", at=now(), shadow=report))
        watch._read()
    (found,) = watch._reports()
    assert (found.rows, found.failed_rows) == (47, 1)
    assert watch._said() == "47 rows scored beside the champion by 1 server"


def test_reports_on_another_version_or_beside_another_champion_do_not_count(store: Store) -> None:
    order = asked_for(store)
    foreign = ShadowReport(version="e" * 64, rows=1000)
    with beating(store, lambda _: foreign, saw(5, champion="d" * 64), saw(7, champion=order.beside.version)):
        found = shadow(store, order, QUICK, clock=now, preflight=flies)
    assert found.report is not None
    assert found.report.rows == 7


def test_without_a_live_server_nothing_is_staged(store: Store) -> None:
    order = asked_for(store)
    store.beat(replace(ME, at=now() - timedelta(seconds=6)))
    found = shadow(store, order, QUICK, clock=now, preflight=flies)
    assert (found.report, found.sentence) == (None, "not scored beside the champion: no server is live")


def test_a_version_that_a_fresh_process_does_not_prove_is_never_staged(store: Store) -> None:
    order = replace(asked_for(store), version=published(store, 5, spoilt=True).id)
    seen: list[StagedShadow] = []
    with beating(store, seen.append):
        found = shadow(store, order, QUICK, clock=now)
    assert found.unfit
    assert "golden rows differ by at most" in found.sentence
    assert seen == []


def test_another_deployment_ends_it_at_once(store: Store) -> None:
    order = asked_for(store, seconds=600)
    with beating(store, saw(5)):
        timer = threading.Timer(0.2, lambda: deployed(store, None))
        timer.start()
        found = shadow(store, order, QUICK, clock=now, preflight=flies)
        timer.join()
    assert found.report is None
    assert found.sentence == (
        "scoring beside generation 1 was stopped: the log ends with generation 2 by kit; "
        "the challenger is judged again against what is live now"
    )
    assert store.staged() is None


def test_it_ends_at_once_when_no_server_can_load_the_challenger(store: Store) -> None:
    order = asked_for(store, seconds=600)
    with beating(store, saw(0, because="no memory"), saw(0, because="no libgomp")):
        found = shadow(store, order, QUICK, clock=now, preflight=flies)
    assert found.report is not None
    assert found.report.because == "host-0: no memory; host-1: no libgomp"


def test_a_server_that_vanishes_while_it_scores_is_a_suspicion(store: Store) -> None:
    order = asked_for(store, seconds=1.5)
    policy = Deploy(replica_timeout_seconds=0.5)
    gone = ShadowReport(version=order.version, rows=10)
    with beating(store, saw(5)):
        store.beat(replace(ME, name="host-9", at=now(), shadow=gone))
        found = shadow(store, order, policy, clock=now, preflight=flies)
    assert found.report is not None
    assert found.report.rows == 15
    assert (found.report.because, found.report.vanished) == (None, ("host-9",))
    verdict = judge_shadow(replace(GOOD, vanished=found.report.vanished), UNIFORM, Shadow(seconds=60))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"host-9 vanished while version {'b' * 12} was scored there, which may be why" in verdict.reason


def test_ctrl_c_takes_the_challenger_away(store: Store) -> None:
    order = asked_for(store, seconds=600)

    def interrupt(_done: int, _total: int, _what: str) -> None:
        assert store.staged() is not None
        raise KeyboardInterrupt

    with beating(store, saw(5)), pytest.raises(KeyboardInterrupt):
        shadow(store, order, QUICK, clock=now, progress=interrupt, preflight=flies)
    assert store.staged() is None


def test_merging_is_adding() -> None:
    both = merged("b" * 64, "a" * 64, [GOOD, GOOD])
    assert (both.rows, both.changed_decisions, both.largest_difference) == (10_000, 200, 0.4)
    assert both.score_counts == (1000,) * 10
    assert merged("b" * 64, "a" * 64, []) == ShadowReport(version="b" * 64, champion="a" * 64)


def test_healing_removes_what_a_killed_run_left_staged_and_leaves_what_a_living_one_has(store: Store) -> None:
    version = published(store, 2)
    store.stage(order_of(version.id))
    with Store(store.root).lock("run-9"):
        assert heal(store, clock=now, policy=QUICK) == ()
        assert store.staged() is not None
    assert [check.detail for check in heal(store, clock=now, policy=QUICK)] == [
        f"version {version.short} was left staged beside the champion: run run-9 was killed; it is staged no more"
    ]
    assert store.staged() is None


def test_healing_removes_a_staged_file_that_nobody_can_read(store: Store) -> None:
    (store.root / "shadow.json").write_text("{")
    (found,) = heal(store, clock=now, policy=QUICK)
    assert (found.name, found.status) == ("shadow", CheckStatus.WARN)
    assert not (store.root / "shadow.json").exists()


def test_a_store_that_cannot_be_read_is_said_to_the_operator(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "nothing", Deploy(), clock=now)
    with pytest.raises(StoreError, match="is not a store"):
        follower.pin("abc")

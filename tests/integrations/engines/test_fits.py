"""Where a fit is made changes no bit of it: threads, Dask, Ray; XGBoost in memory, from disk, over a cluster."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from java_kit import java_home
from sklearn.linear_model import LogisticRegression

from rehone import artifact, train
from rehone.artifact import Predictor
from rehone.config import Candidate, Train
from rehone.disk import Disk
from rehone.errors import Corrupt, TrainingError
from rehone.records import FileDigest, Manifest, Profile, Window
from rehone.train import boosted, spilled

START = datetime(2026, 1, 1, tzinfo=UTC)


class Deadly(LogisticRegression):
    """A classifier that takes its worker's process with it: each time, or the first time only."""

    def __init__(self, marker: str = "", always: bool = False) -> None:
        super().__init__()
        self.marker, self.always = marker, always

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Deadly:
        with contextlib.suppress(FileExistsError):  # of two that begin at once, one dies
            if not self.always:
                Path(self.marker).touch(exist_ok=False)
            os._exit(1)
        super().fit(X, y, sample_weight)
        return self


class Placed(LogisticRegression):
    """A classifier that leaves a file with the number of the process that fitted it."""

    def __init__(self, folder: str = "") -> None:
        super().__init__()
        self.folder = folder

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Placed:
        (Path(self.folder) / f"{os.getpid()}-{len(X)}").touch()
        super().fit(X, y, sample_weight)
        return self


def rows(n: int = 1200, **columns: Any) -> train.TrainingRows:
    """Make rows an hour apart with numbers, a few and many categories, nulls, and two windows that differ."""
    draw = np.random.default_rng(1)
    amount, velocity = draw.normal(size=n), draw.normal(size=n)
    town = draw.integers(0, 30, n)
    odds = 1.5 * amount - 0.5 * velocity + 0.1 * (town - 15) - 1
    frame = pl.DataFrame(
        {
            "__time__": [START + timedelta(hours=i) for i in range(n)],
            "amount": amount,
            "velocity": np.where(draw.random(n) < 0.1, np.nan, velocity),
            "channel": draw.choice(["web", "shop", "phone"], n),
            "town": [f"town {t:02}" for t in town],
            "known": draw.random(n) < 0.5,
            "label": (draw.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int8),
            **columns,
        }
    )
    names = [name for name in frame.columns if not name.startswith("__") and name != "label"]
    return train.TrainingRows(
        frame, START + timedelta(hours=n // 3), artifact.learn_contract(frame, names, label="label")
    )


def policy(*estimators: str | Candidate, **keys: Any) -> Train:
    quick = {"hist_gradient_boosting": {"max_iter": 20}, "logistic_regression": {}}
    candidates = [
        c if isinstance(c, Candidate) else Candidate(estimator=c, params=quick.get(c, {"n_estimators": 20}))
        for c in estimators
    ]
    return Train(**{"candidates": tuple(candidates), "folds": 3, "windows": ("trailing", "decay")} | keys)


def same(one: train.Search, other: train.Search) -> None:
    """Assert that two searches found the same, but for the time it took and what is said of the place."""

    def plain(search: train.Search) -> list[Any]:
        return [replace(c, fit_seconds=0.0) for c in search.candidates]

    assert plain(one) == plain(other)
    np.testing.assert_array_equal(one.oof_scores, other.oof_scores)
    assert one.predictor.threshold == other.predictor.threshold
    matrix = np.random.default_rng(3).normal(size=(50, len(one.predictor.contract.features)))
    np.testing.assert_array_equal(one.predictor.score(matrix), other.predictor.score(matrix))


ANY = ("hist_gradient_boosting", "lightgbm", "xgboost", "logistic_regression")


@pytest.fixture(scope="module")
def local() -> train.Search:
    return train.search(rows(), policy(*ANY), seed=7)


# --- fits elsewhere ------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_fits_on_a_cluster_give_the_very_same_search_as_in_threads(backend: str, local: train.Search) -> None:
    heard: list[train.Progress] = []
    found = train.search(rows(), policy(*ANY, backend=backend), seed=7, progress=heard.append)
    same(found, local)
    assert found.notes == (f"32 fits on {backend.title()}, up to {train.cpu_limit()} at a time",)
    assert [p.done for p in heard] == list(range(1, 34))
    assert {p.what for p in heard if "fold" in p.what} == {
        f"{c.name} ({c.window}): fold {fold} of 3" for c in local.candidates for fold in (1, 2, 3)
    }
    assert sum(p.what.endswith(": newest rows") for p in heard) == len(local.candidates)


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_fits_leave_this_process_even_for_a_cluster_of_one_thread(backend: str, tmp_path: Path) -> None:
    placed = Candidate(**{"class": "test_fits.Placed", "params": {"folder": str(tmp_path)}})
    alone = policy(placed, backend=backend, parallel=1, windows=("all",), folds=2)
    found = train.search(rows(301), alone, seed=7)
    assert found.notes == (f"2 fits on {backend.title()}, up to 1 at a time",)
    where = {tuple(map(int, file.name.split("-"))) for file in tmp_path.iterdir()}
    assert {rows for pid, rows in where if pid == os.getpid()} == {301}  # the winner, on all rows
    assert len({rows for pid, rows in where if pid != os.getpid()}) == 2


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_fits_lost_with_their_worker_are_made_again_and_it_is_said(backend: str, tmp_path: Path) -> None:
    deadly = Candidate(**{"class": "test_fits.Deadly", "params": {"marker": str(tmp_path / "died")}})
    found = train.search(rows(400), policy("lightgbm", deadly, backend=backend), seed=7)
    assert (tmp_path / "died").exists()
    same(found, train.search(rows(400), policy("lightgbm", deadly), seed=7))
    again = rf"\d+ of them were made again, since a {backend.title()} worker did not end its fit \(.*\)"
    said = {  # a worker may die with a fit that it had ended, before the result is fetched
        "dask": rf"({again}; )?1 of 2 Dask workers left meanwhile; what they had begun was made elsewhere",
        "ray": again,
    }
    assert re.fullmatch(said[backend], "; ".join(found.notes[1:]), re.DOTALL)


def test_a_fit_that_kills_every_worker_ends_the_search_with_its_name() -> None:
    import dask
    import distributed  # noqa: F401  brings the defaults that are changed here

    deadly = Candidate(**{"class": "test_fits.Deadly", "params": {"always": True}})
    impatient = {"distributed.scheduler.allowed-failures": 0}  # Dask gives the task up, before all its rows are lost
    with dask.config.set(impatient), pytest.raises(TrainingError) as caught:
        train.search(rows(400), policy(deadly, backend="dask", windows=("trailing",)), seed=7)
    assert re.fullmatch(
        r"3 attempts lost fits, the first since a Dask worker did not end its fit \(KilledWorker: .*\); 0 of 4 fits had "
        r"ended, not those of Deadly \(trailing\): look at the workers' own logs \(too little memory is the usual cause\), "
        r"give Dask workers that stay, or set train.backend to threads",
        str(caught.value),
    )


def test_a_scheduler_that_nobody_runs_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehone.train.clusters.CONNECT_SECONDS", 1)
    with pytest.raises(TrainingError) as caught:
        train.search(rows(400), policy("lightgbm", backend="dask", backend_address="tcp://127.0.0.1:1"), seed=7)
    assert re.fullmatch(
        r"no Dask scheduler answers at tcp://127.0.0.1:1 within 1 s \(OSError: .*\): start one \(`dask scheduler`, and "
        r"`dask worker ADDRESS` on each machine\), correct train.backend_address, or leave it out for a cluster on this "
        r"machine",
        str(caught.value),
    )


def test_a_ray_address_that_nobody_listens_at_is_named_with_what_to_do() -> None:
    with pytest.raises(TrainingError) as caught:
        train.search(rows(400), policy("lightgbm", backend="ray", backend_address="127.0.0.1:1"), seed=7)
    assert str(caught.value) == (
        "no Ray cluster answers at 127.0.0.1:1 (ConnectionRefusedError: [Errno 111] Connection refused): start one (`ray "
        "start --head`), correct train.backend_address, or leave it out for a cluster on this machine"
    )


def test_a_cluster_of_the_users_own_is_used_and_left_running(local: train.Search) -> None:
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        found = train.search(rows(), policy(*ANY, backend="dask", backend_address=cluster.scheduler_address), seed=7)
        same(found, local)
        assert found.notes == ("32 fits on Dask, up to 1 at a time",)
        with Client(cluster.scheduler_address) as client:
            assert client.submit(int, 3).result(timeout=20) == 3


# --- one XGBoost model, however it is fitted ------------------------------------------------------


@pytest.fixture(scope="module")
def in_memory() -> train.Search:
    return train.search(rows(), policy("xgboost"), seed=7)


def close(found: train.Search, expected: train.Search) -> None:
    """Assert that a search found about what another did: bins drawn in parts differ a little."""
    assert [c.error for c in found.candidates] == [None] * len(expected.candidates)
    for one, other in zip(found.candidates, expected.candidates, strict=True):
        assert one.cv_roc_auc_mean == pytest.approx(other.cv_roc_auc_mean, abs=0.01)
    assert type(found.predictor.pipeline.named_steps["model"]) is type(expected.predictor.pipeline.named_steps["model"])
    assert found.predictor.path == "xgboost"


def test_rows_of_one_slice_from_disk_give_the_model_in_memory_to_the_last_bit(in_memory: train.Search) -> None:
    found = train.search(rows(), policy("xgboost_external"), seed=7)
    called = [replace(c, name="xgboost", estimator="xgboost") for c in found.candidates]
    same(replace(found, candidates=tuple(called)), in_memory)


@pytest.mark.parametrize("weights", [False, True])
def test_many_slices_from_disk_give_nearly_the_model_in_memory_and_leave_nothing_behind(
    weights: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"__weight__": np.random.default_rng(2).choice([1.0, 10.0], 1200)} if weights else {}
    made = replace(rows(**extra), folder=tmp_path / "cache")
    expected = train.search(made, policy("xgboost"), seed=7)
    for module in (boosted, spilled):
        monkeypatch.setattr(module, "SLICE", 100)
    monkeypatch.setattr("rehone.train.plan.SLICE", 100)
    counts, whole = set[int](), boosted._Feed.slice
    monkeypatch.setattr(boosted._Feed, "slice", lambda feed, n: (counts.add(feed.count), whole(feed, n))[1])
    close(train.search(made, policy("xgboost_external"), seed=7), expected)
    assert min(counts) > 4
    assert list((tmp_path / "cache").iterdir()) == []


def test_pages_that_a_killed_process_left_go_with_the_next_fit_and_those_in_use_stay(tmp_path: Path) -> None:
    left, used = tmp_path / "xgboost-left", tmp_path / "xgboost-used"
    for folder in (left, used):
        folder.mkdir()
        (folder / "pages.bin").write_bytes(b"rows")
    lock = Disk().lock_folder(used)
    assert lock is not None
    train.search(replace(rows(300), folder=tmp_path), policy("xgboost_external", windows=("trailing",)), seed=7)
    assert list(tmp_path.iterdir()) == [used]
    Disk().release(lock)


def test_a_model_over_dask_workers_is_nearly_the_one_in_memory(in_memory: train.Search) -> None:
    close(train.search(rows(), policy("xgboost_dask"), seed=7), in_memory)


def test_a_model_over_spark_is_nearly_the_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_home(tmp_path)))
    once = {"windows": ("trailing",), "folds": 2}
    few = {"n_estimators": 8}
    weighed = rows(__weight__=np.random.default_rng(2).choice([1.0, 10.0], 1200))
    close(
        train.search(weighed, policy(Candidate(estimator="xgboost_spark", params=few), **once), seed=7),
        train.search(weighed, policy(Candidate(estimator="xgboost", params=few), **once), seed=7),
    )


def test_a_cluster_that_cannot_be_had_fails_its_candidate_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    found = train.search(rows(400), policy("lightgbm", "xgboost_spark", windows=("trailing",)), seed=7)
    assert found.winner.name == "lightgbm"
    assert re.fullmatch(
        r"pyspark, which xgboost.spark needs, is not installed \(.*\): pip install 'pyspark'",
        str(found.candidates[1].error),
    )


# --- stored and served ----------------------------------------------------------------------------


def packed(predictor: Predictor) -> tuple[Manifest, dict[str, bytes]]:
    day = Window(START, START + timedelta(days=1))
    golden = artifact.make_golden(predictor, rows().frame, seed=1)
    files = artifact.pack(predictor, Profile(window=day, rows=1, positives=0, features=()), golden)
    manifest = Manifest(
        project="p",
        run_id="r1",
        created_at=START,
        as_of=START,
        estimator="xgboost",
        params={},
        window_policy="trailing",
        contract=predictor.contract,
        threshold=predictor.threshold,
        train_window=day,
        train_end=START,
        train_rows=1,
        train_positives=1,
        data_sha256="",
        requires=artifact.requirements(predictor),
        files={name: FileDigest(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()},
    )
    return manifest, files


def test_a_stored_model_is_loaded_without_pickle_and_reproduces_its_golden_rows(in_memory: train.Search) -> None:
    import xgboost

    manifest, files = packed(in_memory.predictor)
    assert manifest.requires["xgboost"] == xgboost.__version__
    assert sorted(files) == ["golden.json", "model.skops", "preprocessor.skops", "profile.json"]
    loaded = artifact.unpack(manifest, files, version="v1")
    assert artifact.check_golden(loaded, artifact.read_golden(files), 0.0).status.value == "ok"
    assert loaded.path == "xgboost"
    frame = rows().frame
    np.testing.assert_array_equal(loaded.predict_proba(frame), in_memory.predictor.predict_proba(frame))
    assert loaded.pipeline.named_steps["model"].get_booster().attr("scikit_learn") is None


def test_another_model_does_not_name_xgboost_among_what_it_needs(local: train.Search) -> None:
    plain = train.search(rows(400), policy("lightgbm", windows=("trailing",)), seed=7)
    assert "xgboost" not in artifact.requirements(plain.predictor)


def test_a_service_without_xgboost_is_told_what_to_install(in_memory: train.Search, tmp_path: Path) -> None:
    for name, data in artifact.pack_model(in_memory.predictor).items():
        (tmp_path / name).write_bytes(data)
    code = """
import sys, pathlib
sys.modules["xgboost"] = None
from rehone import artifact
try:
    artifact.unpack_model({p.name: p.read_bytes() for p in pathlib.Path(sys.argv[1]).iterdir()})
except artifact_error as error:
    print(error)
""".replace("artifact_error", "Exception")
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert said == (
        "model.skops needs xgboost, which is not installed here: pip install 'rehone[xgboost]', in the version that the "
        "manifest's `requires` names\n"
    )


def tampered(predictor: Predictor, change: Any) -> Any:
    """Return the predictor's classifier with its trees changed as JSON."""
    from xgboost import XGBClassifier

    learner = json.loads(predictor.pipeline.named_steps["model"].get_booster().save_raw("json"))
    change(learner["learner"]["gradient_booster"]["model"])
    model = XGBClassifier(n_jobs=1)
    model.load_model(bytearray(json.dumps(learner).encode()))
    return model


def first_inner(model: dict[str, Any]) -> dict[str, Any]:
    return next(tree for tree in model["trees"] if tree["left_children"][0] != -1)


HARM: dict[str, tuple[Any, str]] = {
    "a child that is the root": (lambda m: first_inner(m)["left_children"].__setitem__(0, 0), "point outside it"),
    "a child of two parents": (
        lambda m: first_inner(m)["left_children"].__setitem__(0, first_inner(m)["right_children"][0]),
        "point outside it",
    ),
    "a child beyond the end": (lambda m: first_inner(m)["left_children"].__setitem__(0, 10**6), "point outside it"),
    "a column that is not there": (
        lambda m: first_inner(m)["split_indices"].__setitem__(0, 10**6),
        "reads features that do not exist",
    ),
    "a tree of another class": (lambda m: m["tree_info"].__setitem__(0, 7), "for a class that does not exist"),
}


@pytest.mark.parametrize(("change", "said"), HARM.values(), ids=HARM)
def test_a_model_whose_trees_would_lead_out_of_memory_is_refused(
    in_memory: train.Search, change: Any, said: str
) -> None:
    from xgboost.core import XGBoostError

    try:
        model = tampered(in_memory.predictor, change)
    except XGBoostError:  # it looks at some of it itself, which is as good
        return
    with pytest.raises(Corrupt, match=said):
        artifact.trust.check_trees(model, "model.skops")

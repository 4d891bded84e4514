"""MLflow is told for real: a server of its own, its REST interface, its database, its way of loading models."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

import rehone
from conftest import START, Project, world
from rehone import api, artifact
from rehone.errors import ContractError, Corrupt
from rehone.observers import MODULE, facts
from rehone.records import RunRecord, RunStatus

NAME = "story"
EASY = {"margin_roc_auc": 0.3, "margin_recall": 0.6, "margin_cost": 2.0}
SECONDS = 240


class Server:
    """An MLflow tracking server as a user starts it, on sqlite and a folder of artifacts."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.root}/server.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.root / "artifacts")]
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.root,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
            )
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return
            time.sleep(0.2)
        raise AssertionError((self.root / "log").read_text()[-3000:])

    def stop(self) -> None:
        """End it with all its processes."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Ask its REST interface."""
        asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
        with urllib.request.urlopen(f"{self.url}/api/2.0/mlflow/{path}?{asked}", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def aliases(self) -> dict[str, str]:
        """Return which Rehone version each alias of the registered model leads to."""
        model = self.get("registered-models/get", name=NAME)["registered_model"]
        return {a["alias"]: self.version_of(a["version"]) for a in model.get("aliases", [])}

    def version_of(self, number: str) -> str:
        """Return the Rehone version of a model version."""
        tags = self.get("model-versions/get", name=NAME, version=number)["model_version"]["tags"]
        return next(tag["value"] for tag in tags if tag["key"] == "rehone.version")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that answers."""
    made = Server(tmp_path_factory.mktemp("server"))
    made.start()
    yield made
    made.stop()


def _configure(project: Project, uri: str, **more: Any) -> None:
    """Let a project tell MLflow, and promote whatever is not much worse."""
    trackers = {"use": ["mlflow"], "mlflow_uri": uri, "timeout_seconds": SECONDS, **more}
    project.configure(trackers=trackers, gate=EASY, train={"candidates": ["hist_gradient_boosting", "lightgbm"]})


@pytest.fixture(scope="module")
def told(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose first version went live on day 70 and whose second did on day 80, both told."""
    made = Project(tmp_path_factory.mktemp("told"))
    made.feed(0, 90)
    _configure(made, server.url)
    for day in (70, 80):
        record = made.run(day, force=True)
        assert record.status is RunStatus.DEPLOYED, record.sentence
        (delivery,) = api.deliveries(made.root, record.run_id)
        assert delivery.error == ""
    return made


@pytest.fixture
def registry(server: Server, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """Return a client of the server, as somebody else would make one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    mlflow.set_tracking_uri(server.url)
    return mlflow.MlflowClient()


def _rows() -> pd.DataFrame:
    """Return rows with everything that is hard to read: nulls, whole numbers, values never seen."""
    rows = world(START).drop("at", "label").to_dicts()
    rows[0] = dict.fromkeys(rows[0])
    rows[1:3] = [row | {"velocity": 2} for row in rows[1:3]]
    rows[4] |= {"channel": "a value never seen"}
    whole = {"amount": range(60), "velocity": [7] * 60, "known": [0, 1] * 30, "channel": ["web"] * 60}
    return pd.concat([pd.DataFrame(rows, dtype=object), pd.DataFrame(whole)], ignore_index=True)


def _runs(server: Server, experiment_name: str = NAME) -> list[Any]:
    client = mlflow.MlflowClient(server.url)
    experiment = client.get_experiment_by_name(experiment_name)
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


# --- what is logged -------------------------------------------------------------------------------


def test_every_run_is_logged_with_what_it_was_given_found_and_decided(told: Project, server: Server) -> None:
    """Parameters, every candidate and the winner, both models on the holdout, trigger, verdict: as the record says."""
    first, second = api.history(told.root)[:2]
    runs = {run.data.tags["rehone.run_id"]: run for run in _runs(server)}
    for record in (first, second):
        run = runs[record.run_id]
        assert run.data.metrics == facts.metrics(record)
        assert {n: v for n, v in run.data.params.items() if n.startswith("config.gate.")} == {
            n: v for n, v in facts.params(record).items() if n.startswith("config.gate.")
        }
        assert len(run.data.params) == len(facts.params(record))
        words = {n.removeprefix("rehone."): v for n, v in run.data.tags.items() if n.startswith("rehone.")}
        assert words == facts.tags(record)
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.note.content"] == record.sentence
    two = [n for n in runs[second.run_id].data.metrics if n.endswith("trailing.cv_roc_auc_mean")]
    assert sorted(two) == [
        "candidate/hist_gradient_boosting.trailing.cv_roc_auc_mean",
        "candidate/lightgbm.trailing.cv_roc_auc_mean",
    ]
    assert runs[second.run_id].data.tags["rehone.trigger"] == "forced"
    assert "drift/amount.psi" in runs[second.run_id].data.metrics


def test_the_record_itself_is_the_artifact(told: Project, registry: mlflow.MlflowClient, server: Server) -> None:
    """What MLflow keeps is the file that stands beside the ledger, byte for byte."""
    record = api.history(told.root)[0]
    run = next(run for run in _runs(server) if run.data.tags["rehone.run_id"] == record.run_id)
    kept = Path(registry.download_artifacts(run.info.run_id, "run.json")).read_bytes()
    assert kept == next((told.root / "runs").glob(f"2*/*/{record.run_id}.json")).read_bytes()


def test_show_leads_to_the_page_of_the_run(told: Project, server: Server) -> None:
    """The link of the delivery is the address of that run in MLflow's own pages."""
    record = api.history(told.root)[0]
    (delivery,) = api.deliveries(told.root, record.run_id)
    run = next(run for run in _runs(server) if run.data.tags["rehone.run_id"] == record.run_id)
    assert delivery.link == f"{server.url}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


# --- what is registered ------------------------------------------------------------------------------


def test_the_champion_is_loaded_by_mlflow_and_gives_the_same_probabilities(
    told: Project, registry: mlflow.MlflowClient
) -> None:
    """Rows by name, with nulls, whole numbers and unseen values: equal to what Rehone itself says."""
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    rows = _rows()
    expected = rehone.load(told.root).predict_proba(rows)
    np.testing.assert_allclose(model.predict(rows), expected, rtol=0, atol=1e-12)
    assert model.metadata.get_input_schema().input_names() == ["amount", "velocity", "known", "channel"]
    example = model.input_example
    np.testing.assert_allclose(
        model.predict(example), rehone.load(told.root).predict_proba(example), rtol=0, atol=1e-12
    )


def test_a_missing_column_is_refused_when_the_model_is_asked(told: Project, registry: mlflow.MlflowClient) -> None:
    """By MLflow's schema where a column lacks, by Rehone's contract where a value cannot be read."""
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    with pytest.raises(MlflowException, match="channel"):
        model.predict(_rows().drop(columns="channel"))
    with pytest.raises((ContractError, MlflowException), match="amount"):
        model.predict(_rows().assign(amount="many"))


def test_the_pipeline_is_there_in_mlflows_own_format_with_the_pinned_types(
    told: Project, registry: mlflow.MlflowClient, tmp_path: Path
) -> None:
    """MLflow's scikit-learn format refuses such a pipeline unless the types are passed: the pinned list is."""
    pipeline = mlflow.sklearn.load_model(f"models:/{NAME}@champion")
    predictor = rehone.load(told.root)
    matrix = artifact.encode(artifact.frame_of(_rows(), predictor.contract), predictor.contract)
    np.testing.assert_allclose(pipeline.predict_proba(matrix)[:, 1], predictor.score(matrix), rtol=0, atol=1e-12)
    with pytest.raises(MlflowException, match="untrusted types"):
        mlflow.sklearn.save_model(pipeline, tmp_path / "refused")
    flavours = mlflow.models.get_model_info(f"models:/{NAME}@champion").flavors
    assert flavours["sklearn"]["skops_trusted_types"] == list(artifact.ALLOWED_TYPES)


def test_a_model_that_was_changed_is_not_loaded(told: Project, registry: mlflow.MlflowClient, tmp_path: Path) -> None:
    """Each file is held against the digest in the manifest, and the manifest against the id of the version."""
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}@champion", dst_path=str(tmp_path)))
    (version,) = (folder / "versions").iterdir()
    data = bytearray((version / "model.skops").read_bytes())
    data[len(data) // 2] ^= 1
    (version / "model.skops").write_bytes(data)
    with pytest.raises(Corrupt, match=r"model\.skops is not the file that was published"):
        mlflow.pyfunc.load_model(str(folder))
    (version / "manifest.json").write_bytes((version / "manifest.json").read_bytes() + b"\n")
    with pytest.raises(Corrupt, match=r"manifest\.json is that of version"):
        mlflow.pyfunc.load_model(str(folder))


def test_aliases_follow_promote_and_rollback(told: Project, server: Server, tmp_path: Path) -> None:
    """Champion is what is live, previous what a rollback returns to, challenger what was judged and is not live."""
    first, second = (record.version for record in api.history(told.root)[:2])
    assert server.aliases() == {"champion": second, "previous": first}
    api.rollback(told.root, because="errors at the desk")
    assert server.aliases() == {"champion": first, "challenger": second}
    numbers = {server.version_of(n): n for n in ("1", "2")}
    tags = server.get("model-versions/get", name=NAME, version=numbers[str(first)])["model_version"]["tags"]
    said = {tag["key"]: tag["value"] for tag in tags}["rehone.deployment.000003"]
    assert said.startswith("rollback (confirmed) at ")
    assert said.endswith(": errors at the desk")
    api.rollback(told.root, to=second)
    assert server.aliases() == {"champion": second, "previous": first}


def test_telling_twice_makes_nothing_twice(told: Project, server: Server) -> None:
    """When the notes are lost everything is told again: the same runs, the same versions, the aliases put right."""
    before = {run.data.tags["rehone.run_id"] for run in _runs(server)}
    expected = server.aliases()
    client = mlflow.MlflowClient(server.url)
    client.set_registered_model_alias(NAME, "champion", "1")  # somebody moved it by hand
    client.delete_registered_model_alias(NAME, "previous")
    shutil.rmtree(told.root / "runs" / "deliveries")
    (check,) = api.tell(told.root, since="2026-01-01")
    assert check.detail.startswith("mlflow was told of ")
    assert server.aliases() == expected
    runs = _runs(server)
    assert len(runs) == len(before) == len({run.data.tags["rehone.run_id"] for run in runs})
    assert len(server.get("model-versions/search", filter=f"name='{NAME}'")["model_versions"]) == 2


def test_a_rejected_and_a_failed_run_are_logged_too(told: Project, server: Server, tmp_path: Path) -> None:
    """No version, and an ending that MLflow shows as what it is."""
    copy = _copy(told, tmp_path)
    _configure(copy, server.url)
    copy.configure(
        trackers={
            "use": ["mlflow"],
            "mlflow_uri": server.url,
            "timeout_seconds": SECONDS,
            "mlflow_experiment": "other",
        },
        gate={"min_roc_auc": 0.999},
    )
    rejected = copy.run(85, force=True)
    assert rejected.status is RunStatus.REJECTED
    shutil.rmtree(copy.root / "data")
    failed = copy.run(86)
    assert failed.status is RunStatus.FAILED
    runs = _runs(server, "other")
    told_as = {run.data.tags["rehone.run_id"]: (run.info.status, run.data.tags["rehone.status"]) for run in runs}
    assert told_as == {rejected.run_id: ("FINISHED", "rejected"), failed.run_id: ("FAILED", "failed")}


def _copy(project: Project, folder: Path) -> Project:
    shutil.copytree(project.root, folder, dirs_exist_ok=True, symlinks=True)
    return Project(folder)


# --- without a server -------------------------------------------------------------------------------


def test_a_database_in_the_project_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sqlite:///mlflow.db` is counted from the project, wherever the run was started from."""
    project = Project(tmp_path / "project")
    project.root.mkdir()
    project.feed(0, 70)
    _configure(project, "sqlite:///mlflow.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    record = project.run(70)
    assert record.status is RunStatus.DEPLOYED
    with contextlib.closing(sqlite3.connect(project.root / "mlflow.db")) as database:
        aliases = database.execute("select name, alias, version from registered_model_aliases").fetchall()
        tags = dict(database.execute("select key, value from model_version_tags").fetchall())
    assert aliases == [(NAME, "champion", 1)]
    assert tags["rehone.version"] == record.version
    mlflow.set_tracking_uri(f"sqlite:///{project.root}/mlflow.db")
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    np.testing.assert_allclose(
        model.predict(_rows()), rehone.load(project.root).predict_proba(_rows()), rtol=0, atol=1e-12
    )
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_of_files_will_do(told: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a folder gets MLflow's file store, which MLflow itself opens only when asked to."""
    copy = _copy(told, tmp_path / "project")
    shutil.rmtree(copy.root / "runs" / "deliveries")
    _configure(copy, "./mlruns")
    (check,) = api.tell(copy.root, since="2026-01-01")
    assert check.detail.startswith("mlflow was told of ")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((copy.root / "mlruns").as_uri())
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    np.testing.assert_allclose(
        model.predict(_rows()), rehone.load(copy.root).predict_proba(_rows()), rtol=0, atol=1e-12
    )


# --- when it is not there ------------------------------------------------------------------------------


def _quick(folder: Path, uri: str, **more: Any) -> Project:
    """Return a project without data, whose runs fail at once, as they do without a tracker."""
    project = Project(folder)
    project.configure(trackers={"use": ["mlflow"], "mlflow_uri": uri, "timeout_seconds": SECONDS, **more})
    return project


def _ends_as_ever(record: RunRecord) -> bool:
    return record.status is RunStatus.FAILED and record.problem is not None and record.problem.type == "DataError"


def test_a_server_that_is_down_is_told_when_it_is_back(server: Server, tmp_path: Path) -> None:
    """The run ends as ever, the sentence says why it was not told, and doctor delivers."""
    project = _quick(tmp_path, server.url, mlflow_experiment="down")
    server.stop()
    try:
        record = project.run(70)
    finally:
        server.start()
    assert _ends_as_ever(record)
    (delivery,) = api.deliveries(project.root, record.run_id)
    assert (delivery.attempts, delivery.delivered_at) == (1, None)
    assert "Max retries exceeded" in delivery.error
    check = next(check for check in api.doctor(project.root) if check.name == "tracker")
    assert check.detail == "mlflow was told of 1 run or deployment"
    (delivery,) = api.deliveries(project.root, record.run_id)
    assert (delivery.attempts, delivery.error) == (2, "")
    (run,) = _runs(server, "down")
    assert run.data.tags["rehone.run_id"] == record.run_id


@pytest.fixture
def silent() -> Iterator[int]:
    """Return a port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def test_a_server_that_hangs_costs_no_more_than_the_time_it_is_given(tmp_path: Path, silent: int) -> None:
    """The process that waits for it is ended; nothing of it stays."""
    project = _quick(tmp_path, f"http://127.0.0.1:{silent}", timeout_seconds=15)
    begun = time.monotonic()
    record = project.run(70)
    assert _ends_as_ever(record)
    assert time.monotonic() - begun < 60
    (delivery,) = api.deliveries(project.root, record.run_id)
    assert (
        delivery.error == "mlflow did not answer within 15 s: look whether it is up, or raise trackers.timeout_seconds"
    )
    assert not _tellers()


def test_a_killed_process_is_one_more_reason_to_tell_later(tmp_path: Path, silent: int) -> None:
    """As the out-of-memory killer would."""
    project = _quick(tmp_path, f"http://127.0.0.1:{silent}", timeout_seconds=120)
    killer = threading.Thread(target=_kill_teller, args=(tmp_path,))
    killer.start()
    record = project.run(70)
    killer.join()
    assert _ends_as_ever(record)
    (delivery,) = api.deliveries(project.root, record.run_id)
    assert delivery.error.startswith("the process that tells mlflow was killed by signal 9: ")


def _kill_teller(root: Path) -> None:
    for _ in range(600):
        if any('"being told"' in note.read_text() for note in root.glob("runs/deliveries/mlflow/*.open.json")):
            for pid in _tellers():
                os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.1)


def _tellers() -> list[int]:
    """Return the processes of ours that tell a tracker."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if MODULE in line]

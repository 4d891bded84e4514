"""What was released stays readable: today's code reads a fixture of every format that there ever was."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import START, Project, world
from rehone import api, artifact, codec, drift, load, profile
from rehone.artifact import Predictor
from rehone.cli import main
from rehone.config import Deploy
from rehone.deploy import heal
from rehone.records import Check, CheckStatus, DeploymentAction, DeploymentState, Profile, RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store

FORMATS = sorted(p for p in (Path(__file__).parent / "formats").glob("v*") if p.is_dir())
TOLERANCE = 1e-6


@pytest.fixture(params=FORMATS, ids=lambda path: path.name)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Copy a fixture as git gives it: no empty folders, nothing read-only."""
    root = shutil.copytree(request.param, tmp_path / "old", symlinks=True)
    for path in sorted(root.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
    return root


@pytest.fixture
def expected(old: Path) -> dict[str, Any]:
    """Return what the Rehone of that time said."""
    said: dict[str, Any] = json.loads((old / "expected.json").read_text())
    return said


def unpacked(root: Path, version: str) -> Predictor:
    store = Store(root / "store")
    found = store.version(version)
    return artifact.unpack(found.manifest, store.read(version), version=version)


def remembered(root: Path, version: str) -> Profile:
    return artifact.read_profile(Store(root / "store").read(version))


def test_there_is_a_fixture() -> None:
    """A clone without fixtures would prove nothing."""
    assert [path.name for path in FORMATS][:1] == ["v1"]


def test_a_store_is_read(old: Path, expected: dict[str, Any]) -> None:
    """The log says trial and confirmation of one version, which is whole and knows its run."""
    store = Store(old / "store")
    log = store.log()
    assert [(d.generation, d.action, d.state) for d in log] == [
        (1, DeploymentAction.DEPLOY, DeploymentState.TRIAL),
        (2, DeploymentAction.CONFIRM, DeploymentState.CONFIRMED),
    ]
    assert store.head() == log[-1]
    assert {d.version for d in log} == {expected["version"]}
    assert [v.id for v in store.versions()] == [expected["version"]]
    assert store.version(expected["version"][:8]).manifest.run_id == expected["run_id"]
    assert set(store.read(expected["version"])) == set(store.version(expected["version"]).manifest.files)
    assert store.replicas() == ()


def test_a_version_scores_as_it_did(old: Path, expected: dict[str, Any]) -> None:
    """Its golden rows, and rows that it did not keep, get the probabilities of that time."""
    version = expected["version"]
    predictor = unpacked(old, version)
    golden = artifact.read_golden(Store(old / "store").read(version))
    assert artifact.check_golden(predictor, golden, TOLERANCE).status is CheckStatus.OK
    assert len(golden.rows) > 10
    assert load(old).version == version
    assert np.allclose(load(old).predict_proba(expected["rows"]), expected["probabilities"], rtol=0, atol=TOLERANCE)


def test_what_a_version_was_trained_on_is_still_recognised(old: Path, expected: dict[str, Any]) -> None:
    """Fingerprints of that time find the rows that were learned from, and no others."""
    seen = artifact.read_fingerprints(Store(old / "store").read(expected["version"]))
    assert seen is not None
    contract = unpacked(old, expected["version"]).contract
    day = Store(old / "store").version(expected["version"]).manifest.train_window.start.date()
    learned, later = world(day), world(START.replace(month=12))
    assert not np.isin(artifact.fingerprints(later, contract, label="label", id_column=None), seen).any()
    assert np.isin(artifact.fingerprints(learned, contract, label="label", id_column=None), seen).all()


def test_a_profile_is_compared_with_rows_of_today(old: Path, expected: dict[str, Any]) -> None:
    """The same world is quiet, a moved one is found, in the feature that moved."""
    then = remembered(old, expected["version"])
    assert {f.feature for f in then.features} == {"amount", "velocity", "known", "channel"}
    for shift, moved in ((0.0, set()), (2.0, {"velocity"})):
        rows = world(START.replace(month=4), rows=3000, shift=shift).rename({"at": "__time__"})
        now = profile.count(rows.with_columns(rows["__time__"].dt.replace_time_zone("UTC")), then)
        found = drift.feature_drift(then, now)
        assert {f.feature for f in found if f.psi is not None and f.psi > 0.25 and (f.p_value or 0) < 0.01} == moved


def test_a_run_record_is_read(old: Path, expected: dict[str, Any]) -> None:
    """The record has its ending, is the one the ledger knows, and is also inside its version."""
    runlog = RunLog(old / "runs")
    (record,) = runlog.records()
    assert (record.run_id, record.status, record.version) == (
        expected["run_id"],
        RunStatus.DEPLOYED,
        expected["version"],
    )
    assert record.deployment is not None
    assert record.deployment.generation == 2
    assert [line.run_id for line in runlog.lines()] == [record.run_id]
    assert [check.status for check in runlog.verify()] == [CheckStatus.OK]
    inside = codec.decode(Store(old / "store").read(expected["version"])["run.json"], RunRecord, source="run.json")
    assert (inside.run_id, inside.status, inside.winner) == (record.run_id, None, record.winner)


def test_the_commands_tell_of_it(
    old: Path, expected: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status`, `history` and `show`, for people and as JSON."""
    monkeypatch.chdir(old)

    def told(*words: str) -> str:
        assert main(words) == 0
        return capsys.readouterr().out

    status = json.loads(told("status", "--json"))
    assert (status["deployment"]["generation"], status["version"]["id"]) == (2, expected["version"])
    assert status["problems"] == []
    (run,) = json.loads(told("history", "--json"))
    assert (run["run_id"], run["status"], run["trigger"]) == (expected["run_id"], "deployed", "bootstrap")
    assert json.loads(told("show", expected["run_id"], "--json"))["run_id"] == expected["run_id"]
    assert json.loads(told("show", expected["version"], "--json"))["id"] == expected["version"]
    for words in (["status"], ["history"], ["show", expected["run_id"]], ["show", expected["version"]]):
        assert expected["version"][:7] in told(*words)


def test_doctor_mends_what_git_does_not_keep(old: Path) -> None:
    """Missing folders are made and the version is read-only again; nothing is wrong after that."""
    said = api.doctor(old)
    assert [check for check in said if check.status is CheckStatus.ACT] == []
    assert (old / "store" / "tmp").is_dir()
    (version,) = (old / "store" / "versions").iterdir()
    assert version.stat().st_mode & 0o222 == 0
    assert all(path.stat().st_mode & 0o222 == 0 for path in version.iterdir())


def test_the_log_goes_on(old: Path, expected: dict[str, Any]) -> None:
    """A store of that time is healed, rolled back and rolled forward by today's code."""
    store = Store(old / "store")
    heal(store, policy=Deploy(service="none"), clock=lambda: datetime.now(UTC))
    assert api.rollback(old, to="none").generation == 3
    back = api.rollback(old, to=expected["version"][:10])
    assert (back.generation, back.version) == (4, expected["version"])
    assert np.allclose(load(old).predict_proba(expected["rows"]), expected["probabilities"], rtol=0, atol=TOLERANCE)


def test_the_next_run_compares_with_it(old: Path, expected: dict[str, Any]) -> None:
    """The champion of that time is judged on new rows, and the ledger goes on from its last line."""
    project = Project(old)
    project.configure(gate={"min_roc_auc": 0.99})
    project.feed(40, 100)
    record = project.run(100, force=True)
    assert record.status is RunStatus.REJECTED, record.sentence
    assert record.champion == expected["version"]
    assert record.verdict is not None
    assert record.verdict.champion is not None
    assert record.verdict.champion.roc_auc is not None
    assert record.verdict.champion.roc_auc > 0.8
    assert len(RunLog(old / "runs").lines()) == 2
    assert [check.status for check in RunLog(old / "runs").verify()] == [CheckStatus.OK]


def test_a_number_of_numpy_does_not_cost_a_record() -> None:
    found = Check(name="psi", status=CheckStatus.OK, value=np.float64(0.5), n=np.int64(3))  # type: ignore[arg-type]
    assert codec.decode(codec.encode(found), Check, source="itself") == Check(
        name="psi", status=CheckStatus.OK, value=0.5, n=3
    )
    with pytest.raises(NotImplementedError, match="ndarray cannot be written into a record"):
        codec.encode(np.zeros(2))

"""Kubeflow Pipelines runs projects for real: compiled by its SDK, run by its own local runner, step by step."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import local

from conftest import START, Project
from rehone.cli import main
from rehone.integrations import kubeflow_steps as steps
from rehone.integrations.apart import NotDeployed
from rehone.integrations.kubeflow import fleet_pipeline, retraining_pipeline
from rehone.records import RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store

AT_ONCE = steps.Tries(0, 0.0)
ALL = {"check", "validate", "train", "judge", "deploy", "record"}

DIES = """
import os
from sklearn.linear_model import LogisticRegression

class Dies(LogisticRegression):
    def fit(self, *args, **kwargs):
        os._exit(137)
"""


def day(n: int) -> str:
    return str(START.fromordinal(START.toordinal() + n))


def last(project: Project) -> RunRecord:
    found = RunLog(project.root / "runs").last()
    assert found is not None
    return found


class Local:
    """Kubeflow's local runner, and what it left of the pipeline it ran last."""

    def __init__(self, root: Path) -> None:
        self._root = root
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=False)

    def run(self, pipeline: Any, **given: Any) -> set[str]:
        """Run a pipeline and return the steps that were made."""
        before = set(self._root.glob("*/*"))
        pipeline(**given)
        self.left = {path.name: path for path in set(self._root.glob("*/*")) - before if path.is_dir()}
        return set(self.left)

    def artifact(self, step: str, name: str) -> dict[str, Any]:
        """Return the metadata that a step gave an artifact, which is what the screens of Kubeflow draw."""
        output = json.loads((self.left[step] / "executor_output.json").read_text())
        metadata: dict[str, Any] = output["artifacts"][name]["artifacts"][0]["metadata"]
        return metadata


@pytest.fixture
def runner(tmp_path_factory: pytest.TempPathFactory) -> Local:
    return Local(tmp_path_factory.mktemp("pipelines"))


def until(reached: Callable[[], Any]) -> None:
    limit = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_first_run_goes_through_every_step_and_the_next_one_through_the_first_only(
    runner: Local, project: Project
) -> None:
    """The trigger is the condition: a run that trains makes all steps, a quiet day makes check and record.

    Between check and validate the data are away for a while: that step is made again, and nothing else is.
    """
    project.feed(0, 70)
    data, away = project.root / "data", project.root / "away"

    def take_away() -> None:
        log = RunLog(project.root / "runs")
        until(lambda: any(record.staged_until for record in log.records()))
        data.rename(away)
        until(lambda: last(project).problem)
        away.rename(data)

    helper = threading.Thread(target=take_away)
    helper.start()
    pipeline = retraining_pipeline(str(project.root))
    assert runner.run(pipeline, as_of=day(70), retries=3, retry_delay_seconds=2.0) == ALL
    helper.join()
    (record,) = RunLog(project.root / "runs").records()
    assert record.status is RunStatus.DEPLOYED, record.sentence
    assert record.verdict is not None
    measured = runner.artifact("judge", "metrics")
    for check in record.verdict.checks:
        assert measured.get(check.label) == check.value
        assert [measured.get(f"{check.label}{end}") for end in ("_low", "_high")] == list(
            check.interval or (None, None)
        )
    found = record.verdict.challenger
    assert found is not None
    assert measured["challenger_roc_auc"] == found.roc_auc
    assert runner.artifact("record", "metrics") == measured
    matrix = [row["row"] for row in runner.artifact("judge", "matrix")["confusionMatrix"]["rows"]]
    (_, false_alarms), (missed, caught) = matrix
    assert sum(map(sum, matrix)) == found.n
    assert (missed + caught, caught / found.positives) == (found.positives, found.recall)
    assert caught / (caught + false_alarms) == found.precision
    curve = runner.artifact("train", "roc")["confidenceMetrics"]
    assert (curve[0]["falsePositiveRate"], curve[0]["recall"]) == (0.0, 0.0)
    assert (curve[-1]["falsePositiveRate"], curve[-1]["recall"]) == (1.0, 1.0)
    assert record.winner is not None
    assert record.winner.cv_roc_auc_mean == pytest.approx(_area(curve), abs=0.02)
    page = (runner.left["record"] / "page").read_text()
    assert page.startswith(f"# story: deployed\n\n{record.sentence}\n")
    (file,) = project.root.glob(f"runs/*/*/{record.run_id}.json")
    assert file.as_uri() in page
    project.feed(70, 72)
    assert runner.run(pipeline, as_of=day(72)) == {"check", "record"}
    assert last(project).status is RunStatus.SKIPPED
    assert (runner.left["record"] / "page").read_text().startswith(f"# story: skipped\n\n{last(project).sentence}\n")
    assert all("-kubeflow-" in found.run_id for found in RunLog(project.root / "runs").records())


def _area(curve: list[dict[str, float]]) -> float:
    pairs = itertools.pairwise(curve)
    return sum((b["falsePositiveRate"] - a["falsePositiveRate"]) * (a["recall"] + b["recall"]) / 2 for a, b in pairs)


def test_a_rejected_run_fails_at_the_judge_with_the_sentence(
    runner: Local, project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing after the judge is made, the pipeline has failed, and the last step shows record and metrics."""
    project.configure(gate={"min_roc_auc": 0.99})
    project.feed(0, 70)
    made = runner.run(retraining_pipeline(str(project.root)), as_of=day(70))
    assert made == ALL - {"deploy"}
    said = capfd.readouterr().out
    assert f"rehone.integrations.apart.NotDeployed: rejected: {last(project).sentence}" in said
    assert last(project).status is RunStatus.REJECTED
    assert Store(project.root / "store").head() is None
    assert runner.artifact("record", "metrics")["min_roc_auc"] < 0.99
    assert "# story: rejected" in (runner.left["record"] / "page").read_text()


def test_a_step_that_is_killed_leaves_no_open_run(runner: Local, project: Project) -> None:
    """As when a container is out of memory: the last step is made nevertheless, and closes the run."""
    (project.root / "dies.py").write_text(DIES)
    project.configure(train={"candidates": ["dies.Dies"]})
    project.feed(0, 70)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(project.root))
        patch.syspath_prepend(str(project.root))
        made = runner.run(retraining_pipeline(str(project.root)), as_of=day(70))
    assert made == {"check", "validate", "train", "record"}
    assert last(project).status is RunStatus.FAILED
    assert last(project).sentence == "closed after validate: its next stage was not made"
    assert (runner.left["record"] / "page").read_text().startswith("# story: failed\n\nclosed after validate")


def test_one_bad_project_of_a_fleet_does_not_stop_the_others(
    runner: Local, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Three projects, found by a glob: two deploy, the pipeline fails and names the third."""
    projects = [Project(tmp_path / name) for name in ("a", "b-empty", "c")]
    for made in projects:
        made.root.mkdir()
        made.configure(project={"name": made.root.name})
        if made.root.name != "b-empty":
            made.feed(0, 70)
    runner.run(fleet_pipeline([f"{tmp_path}/*"], parallel=2), as_of=day(70), retries=0)
    assert [last(p).status for p in projects] == [RunStatus.DEPLOYED, RunStatus.FAILED, RunStatus.DEPLOYED]
    said = capfd.readouterr().out
    assert f"1 of 3 projects need a look: {tmp_path}/b-empty/rehone.toml: failed: {last(projects[1]).sentence}" in said


def test_a_first_step_made_twice_goes_on_with_the_same_run(project: Project) -> None:
    """A container whose ending got lost is made again: it begins no second run beside the first."""
    project.feed(0, 70)
    run = steps.check(str(project.root), "job-1", as_of=day(70), force=False, tries=AT_ONCE)
    assert steps.check(str(project.root), "job-1", as_of=day(70), force=False, tries=AT_ONCE) == run
    assert [record.run_id for record in RunLog(project.root / "runs").records()] == [run]
    other = steps.check(str(project.root), "job-2", as_of=day(70), force=False, tries=AT_ONCE)
    assert other == steps.NOTHING_TO_DO
    steps.close(str(project.root), "job-2", "")
    assert RunLog(project.root / "runs").find(run).status is None
    record, _ = steps.close(str(project.root), "job-1", "")
    assert record is not None
    assert (record.run_id, record.status) == (run, RunStatus.FAILED)


KILLED = """
import os, signal, sys
from rehone import api
from rehone.integrations import kubeflow_steps as steps
make = api.run_stage
api.run_stage = lambda *given, **options: (make(*given, **options), os.kill(os.getpid(), signal.SIGKILL))
steps.check(sys.argv[1], "job", as_of=sys.argv[2], force=False, tries=steps.Tries(0, 0.0))
"""


def test_a_first_step_killed_after_its_run_began_loses_no_run(project: Project) -> None:
    """Nobody heard of the run; the step made again goes on with it, and the last step would find it too."""
    project.feed(0, 70)
    asked = [sys.executable, "-c", KILLED, str(project.root), day(70)]
    assert subprocess.run(asked, check=False).returncode == -signal.SIGKILL
    [record] = RunLog(project.root / "runs").records()
    assert record.status is None
    assert steps.check(str(project.root), "job", as_of=day(70), force=False, tries=AT_ONCE) == record.run_id
    closed, _ = steps.close(str(project.root), "job", "")
    assert closed is not None
    assert (closed.run_id, closed.status) == (record.run_id, RunStatus.FAILED)


def test_a_run_that_fails_at_once_may_be_begun_again(project: Project) -> None:
    """Data that are not there yet are looked for again, in a new run; the job goes on with that one."""
    away = project.root / "away"
    project.feed(0, 70)
    (project.root / "data").rename(away)
    helper = threading.Thread(
        target=lambda: (
            until(lambda: [r for r in RunLog(project.root / "runs").records() if r.status]),
            away.rename(project.root / "data"),
        )
    )
    helper.start()
    run = steps.check(str(project.root), "job", as_of=day(70), force=False, tries=steps.Tries(2, 1.0))
    helper.join()
    first, second = RunLog(project.root / "runs").records()
    assert (first.status, second.status, second.run_id) == (RunStatus.FAILED, None, run)


def test_a_pipeline_of_this_folder_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline of "." is named after the folder, so that several can be told apart."""
    (tmp_path / "Fraud Cards").mkdir()
    monkeypatch.chdir(tmp_path / "Fraud Cards")
    assert retraining_pipeline(".").pipeline_spec.pipeline_info.name == "rehone-fraud-cards"


def test_what_a_person_must_fix_fails_the_first_step(project: Project) -> None:
    """The sentence of the run is the error of the step; the last step shows the record."""
    with pytest.raises(NotDeployed, match=r"failed: no Parquet or CSV file"):
        steps.check(str(project.root), "job", as_of=day(70), force=False, tries=AT_ONCE)
    record, page = steps.close(str(project.root), "job", "")
    assert record is not None
    assert page.startswith("# story: failed\n\nno Parquet")
    record, page = steps.close(str(project.root), "another job", "the image could not be pulled")
    assert (record, page) == (None, "# no run was begun\n\nthe image could not be pulled\n")


@pytest.mark.parametrize("projects", [["/srv/rehone/fraud"], ["/srv/rehone/*"]])
def test_the_compiled_pipeline_is_ready_for_a_cluster(tmp_path: Path, projects: list[str]) -> None:
    """One image, nothing installed at run time, no step from a cache, the volume in every container."""
    file = tmp_path / "pipeline.yaml"
    given = [option for project in projects for option in ("--project", project)]
    volume = ["--claim", "rehone", "--mount", "/srv/rehone"]
    code = main(["schedule", "kubeflow", *given, "--image", "registry.example/rehone:1", *volume, "-o", str(file)])
    assert code == 0
    spec, platform = yaml.safe_load_all(file.read_text())
    executors = spec["deploymentSpec"]["executors"]
    containers = [executor["container"] for executor in executors.values()]
    assert {container["image"] for container in containers} == {"registry.example/rehone:1"}
    assert not any("pip install" in part for container in containers for part in container["command"])
    tasks = [
        task
        for dag in _dags(spec)
        for name, task in dag["tasks"].items()
        if "executorLabel" in spec["components"][task["componentRef"]["name"]]
    ]
    assert len(tasks) == len(executors)
    assert not any(task.get("cachingOptions", {}).get("enableCache") for task in tasks)
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(mounts) == set(executors)
    assert all(
        m["pvcMount"][0]["mountPath"] == "/srv/rehone" and "rehone" in str(m["pvcMount"][0]) for m in mounts.values()
    )
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    wanted = projects[0] if "*" not in projects[0] else projects
    assert wanted in [inputs[name]["defaultValue"] for name in ("project", "projects") if name in inputs]
    assert {"as_of", "force", "retries", "retry_delay_seconds"} < set(inputs)


def _dags(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]

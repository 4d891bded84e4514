"""A run made stage by stage, each in a process of its own: the same story, whatever is repeated, killed or changed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

import rehone
from conftest import START, Project
from rehone import api, codec, errors, pipeline
from rehone.cli.commands import stage as stage_command
from rehone.deploy.facts import TRIAL, Order, record
from rehone.errors import ConfigError, Corrupt, DataError, Locked, NotFound, StoreError
from rehone.records import Problem, RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store

REHONE = Path(sys.executable).with_name("rehone")
DAY = 118


def command(project: Project, *words: str) -> tuple[int, dict[str, Any]]:
    """Run the real `rehone stage` and give its exit code and what it printed."""
    asked = [REHONE, "stage", *words, "--project", project.root, "--json"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=180, check=False)
    return done.returncode, json.loads(done.stdout or "{}")


def begun(project: Project, day: int = DAY, **options: Any) -> str:
    """Begin a run in this process and give its id."""
    end = api.run_stage(project.root, "check", as_of=START + timedelta(days=day), **options)
    assert end.status is None, end.sentence
    return end.run_id


def records(project: Project) -> tuple[RunRecord, ...]:
    return RunLog(project.root / "runs").records()


def folder(project: Project, run: str) -> Path:
    """Return where the stages of a run hand files on."""
    (found,) = (project.root / "runs").glob(f"*/*/{run}.json")
    return found.with_name(run)


@pytest.fixture
def grown(live: Project) -> Project:
    """Return a project with a champion, and data for a challenger that is about as good."""
    live.configure(gate={"margin_cost": 0.9})
    live.feed(70, DAY)
    return live


STORY_OF_ITS_OWN = (
    "run_id",
    "started_at",
    "finished_at",
    "pid",
    "version",
    "deployment",
    "deployment_checks",
    "stages",
)


def story(record: RunRecord) -> dict[str, Any]:
    """Return what a record says that another run over the same data must say too."""
    plain = {k: v for k, v in codec.plain(record).items() if k not in STORY_OF_ITS_OWN}
    for found in (*plain["candidates"], plain["winner"]):
        found.pop("fit_seconds")
    plain["stages"] = [(s.name, "" if s.name == "publish" else s.sentence) for s in record.stages]
    return json.loads(json.dumps(plain).replace(record.run_id, "RUN").replace(str(record.version)[:12], "VERSION"))


@pytest.mark.soak
def test_five_processes_tell_the_same_story_as_one_run(project: Project, tmp_path: Path) -> None:
    """Every stage is the real command; only the id is handed on; the record says what a whole run's says."""
    project.feed(0, 70)
    as_of = str(START + timedelta(days=70))
    code, end = command(project, "check", "--as-of", as_of)
    assert (code, end["status"]) == (0, None)
    run = end["run_id"]
    for name in ("validate", "train", "judge", "deploy"):
        code, end = command(project, name, "--run", run)
        assert code == 0, end
    assert end["status"] == "deployed"
    (staged,) = records(project)

    beside = Project(tmp_path / "beside")
    beside.root.mkdir()
    beside.configure()
    beside.feed(0, 70)
    whole = beside.run(70)
    assert whole.status is RunStatus.DEPLOYED
    assert story(staged) == story(whole)
    assert not folder(project, run).exists()
    assert rehone.load(project.root).version == staged.version


def test_a_stage_that_is_made_twice_converges(grown: Project) -> None:
    """Each stage again says the same, makes nothing anew, and the run is deployed once."""
    looked = api.check(grown.root, as_of=START + timedelta(days=DAY)).evidence
    assert looked is not None
    run = begun(grown, force=True)
    for name in api.STAGES:
        first = api.run_stage(grown.root, name, run=run)
        before = RunLog(grown.root / "runs").find(run)
        assert api.run_stage(grown.root, name, run=run) == first
        assert RunLog(grown.root / "runs").find(run) == before
    assert first.status is RunStatus.DEPLOYED
    assert before.evidence is not None
    assert before.evidence.roc_auc == looked.roc_auc is not None
    assert [d.run_id for d in Store(grown.root / "store").log()].count(run) == 1  # nobody serves: confirmed at once
    assert len(records(grown)) == 2


KILLED = """
import os, signal, sys
from rehone import api
from rehone.pipeline import draft, folder
point, stage, root, run = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "end":
    draft.Draft.end = die
elif point == "listed":
    finish = folder.Folder.finish
    folder.Folder.finish = lambda self, name, files: (finish(self, name, files), die())
else:
    finish = folder.Folder.finish
    folder.Folder.finish = lambda self, name, files: die() if name == point else finish(self, name, files)
api.run_stage(root, stage, run=run)
"""


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize(
    ("stage", "point"),
    [
        ("validate", "validate"),
        ("validate", "listed"),
        ("train", "train"),
        ("judge", "judge"),
        ("judge", "listed"),
        ("deploy", "publish"),
        ("deploy", "listed"),
        ("deploy", "end"),
    ],
)
def test_a_stage_killed_at_its_last_moment_is_made_again_and_the_run_goes_on(
    grown: Project, stage: str, point: str
) -> None:
    """Kill -9 before, while and after the work is written down: one record, one confirmed deployment, ledger whole."""
    run = begun(grown, force=True)
    for name in api.STAGES[1:]:
        if name == stage:
            killed(grown, stage, point, run)
        end = api.run_stage(grown.root, name, run=run)
    assert end.status is RunStatus.DEPLOYED, end.sentence
    assert len(records(grown)) == 2
    assert [d.run_id for d in Store(grown.root / "store").log()].count(run) == 1
    head = Store(grown.root / "store").head()
    assert head is not None
    assert (head.run_id, head.version) == (run, rehone.load(grown.root).version)
    assert all(check.status == "ok" for check in api.doctor(grown.root) if check.name == "ledger")


def killed(project: Project, stage: str, point: str, run: str) -> None:
    """Make a stage in a process that kills itself at a point."""
    asked = [sys.executable, "-c", KILLED, point, stage, str(project.root), run]
    assert subprocess.run(asked, check=False, timeout=180).returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.soak
def test_what_a_person_put_back_is_not_deployed_again_by_a_stage_made_again(grown: Project) -> None:
    """Killed after the confirmation, rolled back by hand, then made again: the person's word stands."""
    run = begun(grown, force=True)
    for name in ("validate", "train", "judge"):
        api.run_stage(grown.root, name, run=run)
    first = rehone.load(grown.root).version
    killed(grown, "deploy", "end", run)
    assert rehone.load(grown.root).version != first
    back = api.rollback(grown.root, because="customers complain")
    assert back.version == first
    end = api.run_stage(grown.root, "deploy", run=run)
    assert end.status is RunStatus.ROLLED_BACK
    assert "customers complain" in end.sentence
    assert Store(grown.root / "store").head() == back
    deployed = RunLog(grown.root / "runs").find(run).deployment
    assert deployed is not None
    assert deployed.run_id == run


def test_a_trial_that_a_killed_stage_left_is_taken_back_by_the_next_run_though_the_run_rests(grown: Project) -> None:
    """The resting run keeps others from training, not from healing: nobody serves unproved for resume_hours."""
    run = begun(grown, force=True)
    store = Store(grown.root / "store")
    head = store.head()
    assert head is not None
    order = Order(expect_generation=head.generation, actor="test", run_id=run)
    store.append(record(TRIAL, str(head.version), order, head.at), expect_generation=head.generation)
    other = grown.run(DAY, force=True)
    assert other.status is RunStatus.SKIPPED
    after = store.head()
    assert after is not None
    assert (after.action, after.state) == ("rollback", "confirmed")
    assert any(check.name == "trial" for check in other.deployment_checks)
    assert RunLog(grown.root / "runs").find(run).status is None


def test_a_run_between_two_stages_keeps_others_away_until_it_is_given_up(grown: Project) -> None:
    """Another run is skipped and says who rests; once the time is over, the next run closes it and works."""
    run = begun(grown, force=True)
    other = grown.run(DAY, force=True)
    assert other.status is RunStatus.SKIPPED
    assert run in other.sentence
    assert "rehone stage close" in other.sentence
    log = RunLog(grown.root / "runs")
    resting = log.find(run)
    assert resting.staged_until is not None
    closed = log.close_orphans(now=resting.staged_until + timedelta(seconds=1))
    assert [r.run_id for r in closed] == [run]
    assert "left alone" in closed[0].sentence
    assert not folder(grown, run).exists()
    assert grown.run(DAY, force=True).status is RunStatus.DEPLOYED


def test_an_open_run_is_closed_by_command_and_stays_closed(grown: Project) -> None:
    """`rehone stage close` ends it as failed with exit 2; its stages then only say so."""
    run = begun(grown, force=True)
    code, record = command(grown, "close", "--run", run)
    assert (code, record["status"], record["staged_until"]) == (2, "failed", None)
    assert api.run_stage(grown.root, "train", run=run).status is RunStatus.FAILED
    assert command(grown, "validate", "--run", run)[0] == 2
    assert not folder(grown, run).exists()


def test_nothing_to_do_has_an_exit_code_of_its_own(live: Project) -> None:
    """A check without a reason ends the run as skipped, with 99, and leaves nothing behind."""
    live.feed(70, 73)
    code, end = command(live, "check", "--as-of", str(START + timedelta(days=73)))
    assert (code, end["status"]) == (99, "skipped")
    assert command(live, "train", "--run", end["run_id"])[0] == 99
    assert not list((live.root / "runs").glob("*/*/*/"))


def test_a_fault_that_passes_leaves_the_run_open_and_one_that_does_not_ends_it(grown: Project) -> None:
    """Data that are away for a while: the stage raises, and works when they are back. No class left: failed."""
    run = begun(grown, force=True)
    data = grown.root / "data"
    data.rename(grown.root / "away")
    before = RunLog(grown.root / "runs").find(run)
    with pytest.raises(DataError):
        api.run_stage(grown.root, "validate", run=run)
    noted = RunLog(grown.root / "runs").find(run)
    assert noted.status is None
    assert noted.staged_until is not None
    assert before.staged_until is not None
    assert noted.staged_until > before.staged_until, "it may rest anew: the stage may have taken longer than that"
    assert noted.problem is not None
    assert noted.problem.transient
    (grown.root / "away").rename(data)
    assert api.run_stage(grown.root, "validate", run=run).status is None
    assert RunLog(grown.root / "runs").find(run).problem is None

    (folder(grown, run) / "rows.parquet").write_bytes(b"changed")
    end = api.run_stage(grown.root, "train", run=run)
    assert end.status is RunStatus.FAILED
    assert "was changed since its stage ended" in end.sentence
    assert RunLog(grown.root / "runs").find(run).problem.type == Corrupt.__name__  # type: ignore[union-attr]


def test_a_model_changed_between_training_and_judging_is_refused(grown: Project) -> None:
    """What is judged is what was trained: a swapped model file ends the run before anything is published."""
    run = begun(grown, force=True)
    for name in ("validate", "train"):
        api.run_stage(grown.root, name, run=run)
    model = folder(grown, run) / "model.skops"
    model.write_bytes(model.read_bytes() + b"\0")
    end = api.run_stage(grown.root, "judge", run=run)
    assert end.status is RunStatus.FAILED
    assert "model.skops was changed" in end.sentence
    assert len(Store(grown.root / "store").versions()) == 1


def test_stages_are_made_in_order_with_the_configuration_they_began_with(grown: Project) -> None:
    """A gap, another configuration, a run that was never staged and a stage that is none are refused with the remedy."""
    run = begun(grown, force=True)
    with pytest.raises(StoreError, match=r"stage validate .* has not ended: make it first"):
        api.run_stage(grown.root, "train", run=run)
    with pytest.raises(NotFound, match=r"the stages are check, validate"):
        api.run_stage(grown.root, "polish", run=run)
    with pytest.raises(NotFound, match="which run"):
        api.run_stage(grown.root, "train")
    text = (grown.root / "rehone.toml").read_text()
    grown.configure(gate={"margin_cost": 0.8})
    with pytest.raises(ConfigError, match="changed since run"):
        api.run_stage(grown.root, "validate", run=run)
    (grown.root / "rehone.toml").write_text(text)
    assert api.run_stage(grown.root, "validate", run=run).status is None
    with pytest.raises(NotFound):
        api.run_stage(grown.root, "train", run="20200101")


def test_two_processes_at_the_same_stage_do_not_both_make_it(grown: Project) -> None:
    """While one holds the lock the other is told so; afterwards it only says what was said."""
    run = begun(grown, force=True)
    with Store(grown.root / "store").lock("the other"), pytest.raises(Locked, match="the other"):
        api.run_stage(grown.root, "validate", run=run)
    assert api.run_stage(grown.root, "validate", run=run).status is None


def test_a_deployment_made_meanwhile_is_judged_against(grown: Project) -> None:
    """The champion changes between judge and deploy: the challenger is judged again, not deployed over it blindly."""
    run = begun(grown, force=True)
    for name in ("validate", "train", "judge"):
        assert api.run_stage(grown.root, name, run=run).status is None
    first = rehone.load(grown.root).version
    api.rollback(grown.root, to="none", because="a person was faster")
    end = api.run_stage(grown.root, "deploy", run=run)
    assert end.status is RunStatus.DEPLOYED, end.sentence
    record = RunLog(grown.root / "runs").find(run)
    assert record.champion is None, "judged against what was live at the end"
    assert record.version not in (None, first)


def test_resume_makes_what_is_left(grown: Project) -> None:
    """`rehone run --resume` goes on after the last finished stage, in one process, with the exit code of a run."""
    run = begun(grown, force=True)
    api.run_stage(grown.root, "validate", run=run)
    done = subprocess.run(
        [REHONE, "run", "--resume", run, "--project", grown.root],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "deployed: version" in done.stdout
    assert [s.name for s in records(grown)[-1].stages][:3] == ["look", "decide", "validate"]
    assert [s.name for s in records(grown)[-1].stages].count("validate") == 1


def test_what_may_have_passed_by_the_next_try_is_told_from_what_a_person_must_mend() -> None:
    """A store, a feed or a cluster that is away may come back; a configuration or a model does not mend itself."""
    named = [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, Exception)]
    passing = {error.__name__ for error in named if Problem(type=error.__name__, message="").transient}
    assert passing == {
        *("RehoneError", "DataError", "SourceAway", "ClusterAway", "StoreError", "Conflict", "Locked", "Unreachable"),
        "ArtifactError",
    }


def test_a_run_may_have_the_name_of_whoever_asks_so_that_no_id_is_lost(grown: Project) -> None:
    """A worker that died before it noted the id asks again: one run, not one that rests and one that is skipped."""
    as_of = START + timedelta(days=DAY)
    first = api.run_stage(grown.root, "check", run="airflow-1a2b", as_of=as_of, force=True)
    assert first.run_id.endswith("Z-airflow-1a2b")
    assert api.run_stage(grown.root, "check", run="airflow-1a2b", as_of=as_of, force=True) == first
    assert len(records(grown)) == 2
    assert (
        command(grown, "check", "--run", "airflow-1a2b", "--as-of", str(as_of), "--force")[1]["run_id"] == first.run_id
    )
    assert api.run_stage(grown.root, "validate", run="airflow-1a2b").run_id == first.run_id
    assert api.close_run(grown.root, "airflow-1a2b").run_id == first.run_id

    second = api.run_stage(grown.root, "check", run="airflow-1a2b", as_of=as_of, force=True)
    assert second.status is None, "a run that has ended is not gone on with: whoever asks again wants another"
    assert RunLog(grown.root / "runs").find("airflow-1a2b").run_id == second.run_id
    other = api.run_stage(grown.root, "check", run="nightly", as_of=as_of, force=True)
    assert other.status is RunStatus.SKIPPED
    assert RunLog(grown.root / "runs").last().run_id == other.run_id  # type: ignore[union-attr]


def test_a_name_belongs_to_the_open_run_before_any_later_one(grown: Project) -> None:
    """A second try that met the first still at its check is skipped; that does not take the name away."""
    as_of = START + timedelta(days=DAY)
    with Store(grown.root / "store").lock("the first try"):
        skipped = api.run_stage(grown.root, "check", run="nightly", as_of=as_of, force=True)
    assert skipped.status is RunStatus.SKIPPED
    run = api.run_stage(grown.root, "check", run="nightly", as_of=as_of, force=True).run_id
    log = RunLog(grown.root / "runs")
    late = replace(
        log.find(skipped.run_id), run_id="29990101T000000000000Z-nightly", started_at=datetime(2999, 1, 1, tzinfo=UTC)
    )
    log.finish(late)
    assert log.find("nightly").run_id == run


@pytest.mark.parametrize("name", ["no such run", "a" * 65, "a/b", "../a", "20200101"])
def test_what_is_no_name_begins_no_run(project: Project, name: str) -> None:
    """What would be no file name, or could be the beginning of an id, is an id that is not there."""
    project.feed(0, 70)
    with pytest.raises(NotFound, match="no run with an id"):
        api.run_stage(project.root, "check", run=name)
    assert records(project) == ()


def test_the_stages_have_the_same_names_wherever_they_are_listed() -> None:
    """The Python door, the command line and the pipeline know the same five, in the same order."""
    (name, *_) = stage_command.params
    assert isinstance(name.type, click.Choice)
    assert tuple(pipeline.STAGES) == api.STAGES == tuple(name.type.choices)[:-1]
    assert name.type.choices[-1] == "close"

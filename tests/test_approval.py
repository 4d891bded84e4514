"""A challenger that passed the gate and waits for a person: what goes live is exactly what was judged and approved."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import rehone
from conftest import START, Project
from rehone import api, codec, deploy, fleet
from rehone.cli import endings
from rehone.cli.fleet import summary
from rehone.cli.status import next_step
from rehone.deploy.facts import PREFLIGHT_ONLY, TRIAL, Order, record
from rehone.errors import ConfigError, Locked, NotFound, RehoneError, StoreError
from rehone.integrations.apart import Ending
from rehone.records import CheckStatus, Deployment, RunRecord, RunStatus, short_id
from rehone.runlog import RunLog
from rehone.store import Store
from store_kit import flies

REHONE = Path(sys.executable).with_name("rehone")
DAY = 118
MANUAL = {"gate": {"margin_cost": 0.9}, "deploy": {"approval": "manual"}}
POOR = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1}}


@pytest.fixture(scope="module")
def asked_once(deployed_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a project with a champion and a challenger that waits, once for this file; nobody changes it."""
    made = deployed_once.copy(tmp_path_factory.mktemp("asked"))
    made.configure(**MANUAL)
    made.feed(70, DAY)
    assert made.run(DAY, force=True).waits
    return made


@pytest.fixture
def asked(asked_once: Project, tmp_path: Path) -> Project:
    """Return a project of one's own with a challenger that waits."""
    return asked_once.copy(tmp_path)


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promote without the fresh process of the preflight, which takes seconds; the tests of the commands start it."""
    monkeypatch.setattr(deploy, "promote", partial(deploy.promote, preflight=flies))


def last(project: Project) -> RunRecord:
    found = RunLog(project.root / "runs").last()
    assert found is not None
    return found


def log(project: Project) -> tuple[Deployment, ...]:
    return Store(project.root / "store").log()


def folder(project: Project, run: str) -> Path:
    """Return where a run keeps what an answer may need."""
    (found,) = (project.root / "runs").glob(f"*/*/{run}.json")
    return found.with_name(run)


def command(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the real command line."""
    asked = [REHONE, *words, "--project", project.root]
    return subprocess.run(asked, capture_output=True, text=True, timeout=180, check=False)


# --- a run that waits -----------------------------------------------------------------------------


def test_a_challenger_that_passed_the_gate_waits_and_what_is_live_stays(asked: Project) -> None:
    """The record is open, says what is asked until when, and is in no ledger; nothing was deployed."""
    run = last(asked)
    assert (run.status, run.waits, run.retry, run.deployment) == (None, True, False, None)
    assert run.approval is not None
    assert run.verdict is not None
    assert run.approval.until - run.approval.asked_at == timedelta(hours=72)
    assert (run.approval.champion, run.approval.generation) == (log(asked)[0].version, 1)
    assert run.sentence == (
        f"version {short_id(run.version)} waits for approval until {run.approval.until:%Y-%m-%d %H:%M} UTC: "
        f"`rehone approve {run.run_id}`, or `rehone reject {run.run_id} --because TEXT`; {run.verdict.reason}"
    )
    assert [stage.name for stage in run.stages] == ["look", "decide", "validate", "train", "judge", "publish", "ask"]
    assert len(log(asked)) == 1
    assert run.run_id not in {line.run_id for line in RunLog(asked.root / "runs").lines()}
    assert endings.of_run(run) == endings.GOOD


def test_the_first_version_of_all_waits_too(project: Project) -> None:
    """Without a champion there is nothing to replace, and nothing goes live unasked."""
    project.configure(deploy={"approval": "manual"})
    project.feed(0, 70)
    run = project.run(70)
    assert run.waits
    assert run.approval is not None
    assert (run.approval.champion, run.approval.generation) == (None, 0)
    assert log(project) == ()


def test_a_challenger_that_the_gate_refuses_asks_nobody(live: Project) -> None:
    """Only what passed the gate is put before a person."""
    live.configure(gate={"min_roc_auc": 0.999}, deploy={"approval": "manual"})
    live.feed(70, DAY)
    run = live.run(DAY, force=True)
    assert (run.status, run.approval) == (RunStatus.REJECTED, None)


def test_a_run_that_waits_keeps_others_from_training_but_not_from_looking(asked: Project) -> None:
    """The next run looks, decides and records its evidence; only where it would train it is skipped, and says why."""
    waits = last(asked)
    assert waits.approval is not None
    asked.configure(**MANUAL, trigger={"max_age_days": 99})
    quiet = asked.run(DAY)
    assert quiet.trigger is not None
    assert (quiet.status, quiet.trigger.kind) == (RunStatus.SKIPPED, None)
    assert quiet.evidence is not None
    assert quiet.evidence.drift

    forced = asked.run(DAY, force=True)
    said = (
        f"nothing is trained while version {short_id(waits.version)} of run {waits.run_id} waits for approval until "
        f"{waits.approval.until:%Y-%m-%d %H:%M} UTC: `rehone approve {waits.run_id}`, or `rehone reject {waits.run_id} "
        "--because TEXT`; the reason to train is: a person asked for a challenger"
    )
    assert (forced.status, forced.sentence, forced.winner) == (RunStatus.SKIPPED, said, None)
    assert RunLog(asked.root / "runs").find(waits.run_id) == waits


def test_a_preview_says_that_a_run_would_be_skipped_beside_one_that_waits(asked: Project) -> None:
    """Where a trigger fires, `rehone check` names the run that must be answered first."""
    asked.configure(**MANUAL, trigger={"max_age_days": 1})
    preview = api.check(asked.root, as_of=START + timedelta(days=DAY))
    assert not preview.would_train
    assert preview.sentence.startswith("nothing is trained while version ")
    assert f"of run {last(asked).run_id} waits for approval" in preview.sentence


def test_nobody_answers_in_time_and_the_next_run_ends_it_as_inconclusive(live: Project) -> None:
    """After deploy.approval_hours the challenger is too old to be approved; the next run closes the record and trains."""
    live.configure(gate={"margin_cost": 0.9}, deploy={"approval": "manual", "approval_hours": 1e-6})
    live.feed(70, DAY)
    first = live.run(DAY, force=True)
    assert first.approval is not None
    second = live.run(DAY, force=True)
    assert second.waits, "nothing is in its way"
    closed = RunLog(live.root / "runs").find(first.run_id)
    assert closed.status is RunStatus.INCONCLUSIVE
    assert closed.sentence == (
        f"nobody approved or rejected version {short_id(first.version)} until {first.approval.until:%Y-%m-%d %H:%M} UTC; "
        "closed by the next run"
    )
    assert not folder(live, first.run_id).exists()
    with pytest.raises(
        StoreError, match="does not wait for approval: it ended inconclusive: nobody approved or rejected"
    ):
        api.approve(live.root, second.run_id)
    assert len(log(live)) == 1


# --- approved --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("swift")
def test_approved_it_goes_live_with_who_and_why_in_the_record_and_in_the_log(asked: Project) -> None:
    """The version that was judged is the one that is live; the log names the run, the person and the verdict's digest."""
    waits = last(asked)
    run = api.approve(asked.root, waits.run_id, because="looks good", by="ann@desk")
    assert run.status is RunStatus.DEPLOYED
    assert run.approval is not None
    assert (run.approval.approved, run.approval.by, run.approval.because) == (True, "ann@desk", "looks good")
    assert run.approval.at is not None
    assert run.approval.judged_again is False
    assert (run.version, run.verdict) == (waits.version, waits.verdict)
    made = log(asked)[-1]
    assert (made.version, made.run_id, made.actor) == (waits.version, run.run_id, "ann@desk")
    assert made.reason == "a person asked for a challenger; approved by ann@desk: looks good"
    assert made.gate_sha256 == hashlib.sha256(codec.encode(waits.verdict)).hexdigest()
    assert rehone.load(asked.root).version == waits.version
    assert not folder(asked, run.run_id).exists()
    (check,) = RunLog(asked.root / "runs").verify(judged=True)
    assert check.status is CheckStatus.OK
    assert all(check.status is CheckStatus.OK for check in api.replay(asked.root, run.run_id).checks)


def test_the_time_of_waiting_is_no_time_of_work(asked: Project) -> None:
    """A run that waited for two days took as long as it worked, before and after."""
    run = last(asked)
    assert run.approval is not None
    assert run.seconds is None
    asked_at = run.approval.asked_at
    answer = replace(run.approval, approved=True, at=asked_at + timedelta(days=2))
    done = replace(run, approval=answer, finished_at=asked_at + timedelta(days=2, seconds=5))
    assert done.seconds == pytest.approx((asked_at - run.started_at).total_seconds() + 5)


@pytest.mark.usefixtures("swift")
def test_the_answers_do_without_reasons_of_the_one_kind_and_not_of_the_other(asked: Project) -> None:
    """Who approves may leave it at that and is the user of the process; who rejects says why."""
    run = last(asked).run_id
    with pytest.raises(RehoneError, match="say why it is rejected"):
        api.reject(asked.root, run, because=" ")
    approved = api.approve(asked.root, run)
    assert approved.approval is not None
    assert approved.approval.by == api.door.user()
    assert log(asked)[-1].reason == f"a person asked for a challenger; approved by {api.door.user()}"


@pytest.mark.usefixtures("swift")
def test_a_version_that_was_changed_while_it_waited_is_not_deployed(asked: Project) -> None:
    """A person's word replaces no proof: the run has failed, says why, and what was live is."""
    broken = Store(asked.root / "store").version(str(last(asked).version))
    (model,) = (asked.root / "store" / "versions" / broken.id).glob("model.*")
    model.parent.chmod(0o755)
    model.chmod(0o644)
    model.write_bytes(b"changed")
    run = api.approve(asked.root, last(asked).run_id)
    assert run.status is RunStatus.FAILED
    assert run.problem is not None
    assert run.problem.type == "Corrupt"
    assert len(log(asked)) == 1


# --- rejected --------------------------------------------------------------------------------------


def test_rejected_it_ends_so_with_who_and_why_and_what_is_live_stays(asked: Project) -> None:
    """The record is closed and chained, the folder is gone, the next run may train."""
    waits = last(asked)
    run = api.reject(asked.root, waits.run_id, because="the holiday is in it", by="bob@desk")
    assert run.status is RunStatus.REJECTED
    assert run.sentence == f"version {short_id(waits.version)} was rejected by bob@desk: the holiday is in it"
    assert run.approval is not None
    assert (run.approval.approved, run.approval.by) == (False, "bob@desk")
    assert len(log(asked)) == 1
    assert not folder(asked, run.run_id).exists()
    assert RunLog(asked.root / "runs").lines()[-1].status is RunStatus.REJECTED
    assert asked.run(DAY, force=True).waits


# --- answers that are refused -------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [api.approve, partial(api.reject, because="no")])
def test_only_a_run_that_waits_can_be_answered(asked: Project, answer: Callable[..., RunRecord]) -> None:
    """Not one that has ended, not one that is unknown, and none twice; each refusal says how that run stands."""
    first = RunLog(asked.root / "runs").records()[0]
    with pytest.raises(StoreError, match=f"run {first.run_id} does not wait for approval: it ended deployed: version"):
        answer(asked.root, first.run_id)
    with pytest.raises(NotFound, match="no run with an id that starts with 'nope'"):
        answer(asked.root, "nope")
    run = last(asked).run_id
    api.reject(asked.root, run, because="no")
    with pytest.raises(StoreError, match=f"run {run} does not wait for approval: it ended rejected: version"):
        answer(asked.root, run)
    assert len(log(asked)) == 1


def test_a_run_whose_challenger_is_not_judged_yet_cannot_be_answered(live: Project) -> None:
    """A run that rests between two stages waits for its next stage, not for a person."""
    live.configure(**MANUAL)
    live.feed(70, DAY)
    run = api.run_stage(live.root, "check", as_of=START + timedelta(days=DAY), force=True).run_id
    with pytest.raises(StoreError, match="does not wait for approval: its challenger has not passed the gate yet"):
        api.approve(live.root, run)
    assert last(live).status is None


def test_an_answer_beside_a_run_or_another_answer_is_refused_and_may_be_given_again(asked: Project) -> None:
    """Whoever holds the run lock goes first; the run still waits."""
    run = last(asked).run_id
    with Store(asked.root / "store").lock("somebody else"):
        with pytest.raises(Locked, match="somebody else"):
            api.approve(asked.root, run)
        with pytest.raises(Locked, match="somebody else"):
            api.reject(asked.root, run, because="no")
    assert last(asked).waits


@pytest.mark.usefixtures("swift")
def test_a_configuration_that_judges_otherwise_is_refused_and_any_other_change_is_not(asked: Project) -> None:
    """What the gate, the data or the training would do otherwise now is named; triggers and deployment may change."""
    run = last(asked).run_id
    asked.configure(gate={"margin_cost": 0.9, "min_recall": 0.9}, train={"folds": 4}, deploy={"approval": "manual"})
    with pytest.raises(ConfigError) as refused:
        api.approve(asked.root, run)
    assert refused.value.problems == tuple(
        f"[{section}] was changed since run {run} was judged ({key}): put it back, or `rehone reject {run} --because "
        "TEXT` and run again"
        for section, key in (("train", "folds"), ("gate", "min_recall"))
    )
    assert last(asked).waits
    asked.configure(gate={"margin_cost": 0.9}, trigger={"max_age_days": 99}, deploy={"approval_hours": 1})
    assert api.approve(asked.root, run).status is RunStatus.DEPLOYED


# --- the champion has moved ---------------------------------------------------------------------------


@pytest.mark.usefixtures("swift")
def test_after_a_rollback_meanwhile_it_is_judged_again_against_what_is_live(asked: Project) -> None:
    """Judged against a champion that is gone, the verdict is stale; the second one is recorded and can be replayed."""
    waits = last(asked)
    api.rollback(asked.root, to="none", because="it answers too late")
    run = api.approve(asked.root, waits.run_id)
    assert run.status is RunStatus.DEPLOYED, run.sentence
    assert run.approval is not None
    assert run.approval.judged_again
    assert run.verdict is not None
    assert waits.verdict is not None
    assert (run.champion, run.verdict.champion) == (None, None)
    assert run.verdict.challenger == waits.verdict.challenger, "the same rows and the same model"
    assert run.sentence.endswith(
        f"; the deployment log had moved on meanwhile, so it was judged again: {run.verdict.reason}"
    )
    made = log(asked)[-1]
    assert (made.generation, made.version) == (3, waits.version)
    assert made.gate_sha256 == hashlib.sha256(codec.encode(run.verdict)).hexdigest()
    assert all(check.status is CheckStatus.OK for check in api.replay(asked.root, run.run_id).checks)


def test_judged_again_the_gate_may_refuse_what_a_person_approved(project: Project, deployed_once: Project) -> None:
    """A poor first version waits; meanwhile somebody puts a good one live; the approved one is worse than that."""
    project.configure(train={"candidates": [POOR]}, gate={"min_roc_auc": 0.5}, deploy={"approval": "manual"})
    project.feed(0, 90)
    waits = project.run(90)
    assert waits.waits, waits.sentence
    _put_live(project, deployed_once, waits)
    run = api.approve(project.root, waits.run_id)
    assert run.status is RunStatus.REJECTED, run.sentence
    assert run.approval is not None
    assert run.verdict is not None
    assert (run.approval.approved, run.approval.judged_again) == (True, True)
    assert run.champion == log(project)[-1].version
    assert run.verdict.champion is not None
    assert run.sentence == run.verdict.reason
    assert [made.generation for made in log(project)] == [1], "nothing was deployed over it"


def _put_live(project: Project, other: Project, waits: RunRecord) -> None:
    """Let somebody deploy a version of another project of the same data, without asking the gate."""
    theirs, store = Store(other.root / "store"), Store(project.root / "store")
    (good,) = theirs.versions()
    moved = store.publish(replace(good.manifest, files={}), theirs.read(good.id))
    order = Order(expect_generation=0, actor="cy@desk")
    store.append(record(PREFLIGHT_ONLY, moved.id, order, waits.started_at), expect_generation=0)


def test_a_verdict_is_not_made_again_by_another_release(asked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it must be judged again, the release that judged it first must do so; the run still waits for its end."""
    run = last(asked).run_id
    api.rollback(asked.root, to="none")
    monkeypatch.setattr("rehone.__version__", "99.0")
    with pytest.raises(StoreError, match=r"and here is 99\.0: install the same to have it judged again, or reject it"):
        api.approve(asked.root, run)
    assert last(asked).waits


# --- interrupted -----------------------------------------------------------------------------------


def _interrupted(project: Project, monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """Let Ctrl-C come where `name` is called while a person approves, and return the run."""
    run = last(project).run_id

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            api.approve(project.root, run, by="ann@desk", because="looks good")
    return run


@pytest.mark.usefixtures("swift")
def test_an_approval_that_was_interrupted_is_gone_on_with(asked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer stands and is named; others look but do not train; approving again carries it out."""
    run = _interrupted(asked, monkeypatch, "rehone.deploy.promote")
    noted = RunLog(asked.root / "runs").find(run)
    assert noted.approval is not None
    assert (noted.status, noted.waits, noted.approval.approved) == (None, False, True)
    with pytest.raises(StoreError, match=f"run {run} was approved by ann@desk already, and that was interrupted"):
        api.reject(asked.root, run, because="no")
    beside = asked.run(DAY, force=True)
    assert beside.status is RunStatus.SKIPPED
    assert f"the approval of run {run} by ann@desk is interrupted: `rehone approve {run}` goes on" in beside.sentence
    done = api.approve(asked.root, run, by="bob@desk")
    assert done.status is RunStatus.DEPLOYED
    assert done.approval == noted.approval, "who approved first, when and why"
    assert log(asked)[-1].actor == "ann@desk"


@pytest.mark.usefixtures("swift")
def test_a_trial_that_an_interrupted_approval_left_is_taken_back_first(
    asked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed on trial: approving again ends the trial, judges against what is live again, and deploys."""
    run = _interrupted(asked, monkeypatch, "rehone.deploy.promote")
    order = Order(expect_generation=1, actor="ann@desk", run_id=run)
    left = record(TRIAL, last(asked).version, order, last(asked).started_at)
    Store(asked.root / "store").append(left, expect_generation=1)
    done = api.approve(asked.root, run)
    assert done.status is RunStatus.DEPLOYED
    assert done.approval is not None
    assert done.approval.judged_again
    assert "the deployment log had moved on meanwhile" in done.sentence
    assert [(made.generation, made.action.value) for made in log(asked)][1:] == [
        (2, "deploy"),
        (3, "rollback"),
        (4, "deploy"),
    ]


@pytest.mark.usefixtures("swift")
@pytest.mark.parametrize("by", ["approve", "run", "doctor"])
def test_an_approval_killed_after_it_was_confirmed_ends_as_deployed(
    asked: Project, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """The version is live: whoever comes next, a person, a run or `rehone doctor`, closes the record so; once."""
    run = _interrupted(asked, monkeypatch, "rehone.pipeline.draft.Draft.end")
    version = last(asked).version
    assert log(asked)[-1].version == version
    asked.configure(**MANUAL, trigger={"max_age_days": 99})
    {"approve": partial(api.approve, run=run), "run": lambda _: asked.run(DAY), "doctor": api.doctor}[by](asked.root)
    done = RunLog(asked.root / "runs").find(run)
    assert done.status is RunStatus.DEPLOYED
    assert done.sentence == (
        f"version {short_id(version)} (generation 2) was confirmed before this stage was interrupted, and is live"
    )
    assert done.deployment is not None
    assert done.deployment.generation == 2
    assert len(log(asked)) == 2


@pytest.mark.usefixtures("swift")
@pytest.mark.parametrize("again", ["approve", "reject"])
def test_an_approval_killed_after_it_was_confirmed_ends_as_deployed_also_when_its_time_is_over(
    asked: Project, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """What is live is no failure, whoever comes late: approving says so, rejecting is refused."""
    run = _interrupted(asked, monkeypatch, "rehone.pipeline.draft.Draft.end")
    late = last(asked).approval
    assert late is not None
    monkeypatch.setattr("rehone.api.door.now", lambda: late.until + timedelta(seconds=1))
    if again == "approve":
        assert api.approve(asked.root, run).status is RunStatus.DEPLOYED
    else:
        with pytest.raises(StoreError, match="does not wait for approval: it ended deployed: version"):
            api.reject(asked.root, run, because="no")
    done = RunLog(asked.root / "runs").find(run)
    assert (done.status, done.deployment is not None) == (RunStatus.DEPLOYED, True)
    assert len(log(asked)) == 2


@pytest.mark.usefixtures("swift")
def test_an_approval_that_met_a_passing_fault_may_be_given_again(
    asked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away for a moment leaves the run open, with what went wrong; later it goes on."""
    run = last(asked).run_id

    def away(*_: object, **__: object) -> None:
        raise StoreError("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(deploy, "promote", away)
        with pytest.raises(StoreError, match="the store is away"):
            api.approve(asked.root, run)
    noted = RunLog(asked.root / "runs").find(run)
    assert noted.status is None
    assert noted.problem is not None
    done = api.approve(asked.root, run)
    assert (done.status, done.problem) == (RunStatus.DEPLOYED, None)


def test_an_interrupted_approval_that_nobody_goes_on_with_ends_in_time_or_by_command(
    asked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time the next run closes it as failed and says whose approval it was; `stage close` does so at once."""
    run = _interrupted(asked, monkeypatch, "rehone.deploy.promote")
    noted = last(asked)
    assert noted.approval is not None
    (closed,) = RunLog(asked.root / "runs").close_orphans(now=noted.approval.until)
    assert (closed.run_id, closed.status) == (run, RunStatus.FAILED)
    assert closed.sentence == (
        "approved by ann@desk, but that was interrupted and not gone on with until "
        f"{noted.approval.until:%Y-%m-%d %H:%M} UTC (after deploy); closed by the next run"
    )


@pytest.mark.usefixtures("swift")
def test_judged_again_and_killed_before_it_is_noted_no_record_names_what_was_written_over(
    asked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the gate was given the second time lies there, its digest in no record: that is no sign of tampering."""
    run = last(asked).run_id
    api.rollback(asked.root, to="none")
    keep = RunLog.keep

    def killed(*given: Any, **named: Any) -> None:
        keep(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunLog, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            api.approve(asked.root, run)
    assert last(asked).judged is None
    replayed = {check.name: check for check in api.replay(asked.root, run).checks}
    assert replayed["verdict"].status is CheckStatus.UNKNOWN
    assert replayed["verdict"].detail.endswith("or it was interrupted while it judged again")
    assert api.approve(asked.root, run).status is RunStatus.DEPLOYED
    assert {check.status for check in api.replay(asked.root, run).checks} == {CheckStatus.OK}


KILLED = """
import os, signal, sys
from rehone import api, deploy
from rehone.pipeline import draft
point, root, run = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "answered":
    deploy.promote = die
elif point == "proved":
    from rehone.store import Store
    Store.append = die
elif point == "confirmed, and not said":
    from rehone.pipeline import promoting
    promoting._clean_up = die
else:
    draft.Draft.end = die
api.approve(root, run, by="ann@desk")
"""


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("point", ["answered", "proved", "confirmed"])
def test_killed_while_approving_the_same_command_brings_it_to_its_end(asked: Project, point: str) -> None:
    """After kill -9 at any point what is live is whole, and `rehone approve` again deploys once."""
    run = last(asked).run_id
    killed = subprocess.run([sys.executable, "-c", KILLED, point, asked.root, run], timeout=180, check=False)
    assert killed.returncode == -9
    assert rehone.load(asked.root).version == log(asked)[-1].version
    done = command(asked, "approve", run, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["status"], record["approval"]["by"]) == ("deployed", "ann@desk")
    assert [made.generation for made in log(asked)] == [1, 2]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("point", ["proved", "confirmed, and not said"])
def test_killed_after_it_was_judged_again_the_record_has_the_verdict_that_it_went_live_on(
    asked: Project, point: str
) -> None:
    """Whatever the process could still write, what the gate was given, the verdict and the log agree."""
    run = last(asked).run_id
    api.rollback(asked.root, to="none")
    killed = subprocess.run([sys.executable, "-c", KILLED, point, asked.root, run], timeout=180, check=False)
    assert killed.returncode == -9
    noted = last(asked)
    assert noted.approval is not None
    assert noted.approval.judged_again
    assert (noted.champion, noted.verdict is not None and noted.verdict.champion) == (None, None)
    assert {c.status for c in api.replay(asked.root, run).checks if c.name in ("inputs", "verdict")} == {CheckStatus.OK}
    done = command(asked, "approve", run)
    assert done.returncode == 0, done.stderr
    replayed = {check.name: check.status for check in api.replay(asked.root, run).checks}
    assert set(replayed.values()) == {CheckStatus.OK}
    assert {"inputs", "verdict", "deployment"} <= set(replayed)


@pytest.mark.slow
@pytest.mark.soak
def test_two_approvals_at_once_give_one_deployment(asked: Project) -> None:
    """Two real commands start together: one deploys, the other is told who holds the lock, or how the run ended."""
    run = last(asked).run_id
    words = [REHONE, "approve", run, "--project", asked.root]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [one.communicate(timeout=180)[0] for one in both]
    assert sorted(one.returncode for one in both) == [0, 2], said
    assert [made.generation for made in log(asked)] == [1, 2]
    assert last(asked).status is RunStatus.DEPLOYED


# --- stage by stage --------------------------------------------------------------------------------


@pytest.mark.usefixtures("swift")
def test_made_stage_by_stage_it_waits_after_the_last_stage(live: Project) -> None:
    """`rehone stage deploy` publishes and asks; made again it says the same; closing leaves it to the person."""
    live.configure(**MANUAL)
    live.feed(70, DAY)
    run = api.run_stage(live.root, "check", as_of=START + timedelta(days=DAY), force=True).run_id
    ends = [api.run_stage(live.root, name, run=run) for name in api.STAGES[1:]]
    waits = last(live)
    assert waits.waits
    assert waits.staged_until is None
    assert [end.status for end in ends] == [None] * 4
    assert ends[-1].sentence == waits.sentence
    assert api.run_stage(live.root, "deploy", run=run) == ends[-1]
    assert api.close_run(live.root, run) == waits
    assert api.resume_run(live.root, run) == waits
    assert live.run(DAY, force=True).status is RunStatus.SKIPPED
    done = api.approve(live.root, run)
    assert (done.status, done.version) == (RunStatus.DEPLOYED, waits.version)
    assert api.run_stage(live.root, "deploy", run=run).status is RunStatus.DEPLOYED


def test_to_an_orchestrator_a_run_that_waits_has_ended_well(asked: Project) -> None:
    """No task fails, none is tried again, and a fleet counts it among those that ended well."""
    run = last(asked)
    ending = Ending.of(run)
    assert (ending.good, ending.retry, ending.said) == (True, False, f"waits: {run.sentence}")
    one = fleet._ended(asked.root / "rehone.toml", 0.0, 0, run, run.sentence)
    assert "waits" in summary([one], 1.0)[2].split()
    assert summary([one], 1.0)[-1] == "1 project in 1 s: 1 ended well, 0 did not."


# --- what a person sees ------------------------------------------------------------------------------


def test_status_names_the_run_that_waits_and_the_commands_that_answer_it(asked: Project) -> None:
    """It is a warning, not a fault; next is to look and to answer."""
    run = last(asked)
    assert run.approval is not None
    found = api.status(asked.root)
    (check,) = found.problems
    assert (check.name, check.status, check.subject) == ("approval", CheckStatus.WARN, run.run_id)
    assert check.detail == (
        f"version {short_id(run.version)} of run {run.run_id} waits for approval until "
        f"{run.approval.until:%Y-%m-%d %H:%M} UTC"
    )
    assert next_step(found, ".") == (
        f"look at the challenger that waits, `rehone show {run.run_id}`, then `rehone approve {run.run_id}` or "
        f"`rehone reject {run.run_id} --because TEXT`"
    )


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Return the command line in this process: its exit code and all that it printed."""

    def said(*words: object) -> tuple[int, str]:
        code = endings.main([str(word) for word in words])
        return code, "".join(capsys.readouterr())

    return said


def test_the_commands_wait_show_and_reject(live: Project, say: Callable[..., tuple[int, str]]) -> None:
    """`rehone run` that waits exits with 0 and says how to answer; rejecting closes it, and twice is once too often."""
    live.configure(**MANUAL)
    live.feed(70, DAY)
    where = ("--project", live.root)
    code, text = say("run", "--force", "--as-of", START + timedelta(days=DAY), *where)
    run = last(live).run_id
    assert code == 0
    assert text.splitlines()[-2:] == ["waits", f"`rehone show {run} -p {live.root}` tells the whole story."]
    assert "1 waits" in say("history", *where)[1]
    shown = say("show", run, *where)[1]
    assert "open until" in " ".join(shown.split())
    code, text = say("reject", run, "--because", "too soon", *where)
    assert code == 0
    assert f"version {short_id(last(live).version)} was rejected by {api.door.user()}: too soon" in " ".join(
        text.split()
    )
    code, text = say("approve", run, *where)
    assert code == 2
    assert f"run {run} does not wait for approval: it ended rejected: " in text


@pytest.mark.usefixtures("swift")
def test_the_last_stage_prints_the_commands_that_answer(live: Project, say: Callable[..., tuple[int, str]]) -> None:
    """`rehone stage deploy` exits with 0 and names both; `rehone approve` exits with the code of the ending."""
    live.configure(**MANUAL)
    live.feed(70, DAY)
    run = api.run_stage(live.root, "check", as_of=START + timedelta(days=DAY), force=True).run_id
    for name in ("validate", "train", "judge"):
        api.run_stage(live.root, name, run=run)
    code, text = say("stage", "deploy", "--run", run, "--project", live.root)
    assert code == 0
    assert text.splitlines()[-3:] == [
        f"Run {run} waits for a person:",
        f"  rehone approve {run} -p {live.root}",
        f"  rehone reject {run} -p {live.root} --because TEXT",
    ]
    code, text = say("approve", run, "--because", "looks good", "--project", live.root)
    assert code == 0
    assert "deployed" in text
    assert last(live).status is RunStatus.DEPLOYED


@pytest.mark.slow
@pytest.mark.soak
def test_the_page_about_approvals_can_be_pasted(tmp_path: Path) -> None:
    """On real data, the second run waits, and the answer brings its challenger live."""
    root = Path(__file__).parents[1]
    (script,) = re.findall(
        r"^```sh\n(.*?)^```", (root / "docs/how-to/approve.md").read_text(), re.DOTALL | re.MULTILINE
    )
    done = subprocess.run(
        ["bash", "-e", "-c", script.replace("../approval", str(tmp_path / "approval"))],
        cwd=root,
        env={**os.environ, "PATH": f"{REHONE.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "waits" in lines
    assert [made.generation for made in Store(tmp_path / "approval" / "store").log()] == [1, 2]
    assert any(line.startswith("deployed: version") and "generation 2" in line for line in lines)

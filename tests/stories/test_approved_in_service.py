"""A real service under traffic, and a challenger that was scored beside its champion and then waits for a person."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from test_beside_the_champion import PATIENT, SHADOW, Traffic, prepared, served, stays, traffic, wait_for

from conftest import Project
from rehone import api
from rehone.records import CheckStatus, DeploymentState, Outcome, RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store

REHONE = Path(sys.executable).with_name("rehone")


def asked(live: Project) -> str:
    """Let the next forced run of day 118 pass the gate and wait for a person; return the champion."""
    champion = prepared(live)
    own = {**PATIENT, "deploy": {**PATIENT["deploy"], "approval": "manual"}}
    live.configure(**own, train={"candidates": ["logistic_regression"]}, shadow=SHADOW)
    return champion


def answered(live: Project, run: RunRecord, *words: str) -> RunRecord:
    """Answer with the real command line, and return the record that it printed."""
    done = subprocess.run(
        [REHONE, *words, run.run_id, "--because", "seen beside the champion", "--json", "--project", live.root],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run_id"] == run.run_id
    return RunLog(live.root / "runs").find(run.run_id)


def alone(sent: Traffic, version: str | None) -> None:
    """Wait until this version answers forty requests and no other answers one meanwhile."""
    wait_for(lambda: _alone(sent, str(version)))


def _alone(sent: Traffic, version: str) -> bool:
    before = Counter(sent.versions)
    wait_for(lambda: sent.versions.total() >= before.total() + 40)
    return set(sent.versions - before) == {version}


@pytest.mark.soak
def test_scored_beside_the_champion_it_waits_and_only_an_approval_swaps_the_service(live: Project) -> None:
    """One challenger is rejected and the next one approved; every request is answered all the while."""
    champion, store = asked(live), Store(live.root / "store")
    with served(live) as port, traffic(port) as sent:
        first = live.run(118, force=True)
        assert first.waits, first.sentence
        assert [stage.name for stage in first.stages][-3:] == ["publish", "shadow", "ask"]
        assert first.shadow is not None
        assert first.shadow_verdict is not None
        assert (first.shadow.champion, first.shadow_verdict.outcome) == (champion, Outcome.PASS)
        assert stays(live, champion)
        rejected = answered(live, first, "reject")
        assert (rejected.status, rejected.shadow_verdict) == (RunStatus.REJECTED, first.shadow_verdict)
        assert stays(live, champion)
        assert set(sent.versions) == {champion}, "it was scored beside, and has answered nobody"

        second = live.run(118, force=True)
        assert second.waits, second.sentence
        assert set(sent.versions) == {champion}
        approved = answered(live, second, "approve")
        assert approved.status is RunStatus.DEPLOYED, approved.sentence
        assert any(c.name == "smoke" and c.status is CheckStatus.OK for c in approved.deployment_checks)
        alone(sent, second.version)
    assert (approved.shadow, approved.verdict) == (second.shadow, second.verdict)
    head = store.head()
    assert head is not None
    assert (head.version, head.state) == (second.version, DeploymentState.CONFIRMED)
    assert store.staged() is None
    assert {check.status for check in api.replay(live.root, second.run_id).checks} == {CheckStatus.OK}


@pytest.mark.soak
def test_while_it_waits_the_service_moves_and_the_approval_is_judged_again(live: Project) -> None:
    """The verdict of the shadow stays that of its time; the gate judges anew, and the service swaps to what passed."""
    champion = asked(live)
    with served(live) as port, traffic(port) as sent:
        first = live.run(118, force=True)
        assert first.waits, first.sentence
        assert answered(live, first, "approve").status is RunStatus.DEPLOYED
        alone(sent, first.version)
        live.feed(118, 126)
        second = live.run(126, force=True)
        assert second.waits, second.sentence
        assert second.champion == first.version
        back = api.rollback(live.root, because="it answers oddly")
        assert back.version == champion
        alone(sent, champion)
        approved = answered(live, second, "approve")
        assert approved.status is RunStatus.DEPLOYED, approved.sentence
        alone(sent, second.version)
    assert approved.approval is not None
    assert approved.approval.judged_again
    assert (approved.champion, approved.shadow) == (champion, second.shadow)
    assert approved.verdict != second.verdict
    assert second.shadow is not None
    assert second.shadow.champion == first.version
    assert {check.status for check in api.replay(live.root, second.run_id).checks} == {CheckStatus.OK}

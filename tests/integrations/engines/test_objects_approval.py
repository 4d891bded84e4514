"""A challenger of a project in a bucket waits there, and any machine with the same configuration may answer."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from s3_kit import CREDENTIALS, Door, Knock, service

import rehone
from conftest import START, Project
from rehone import api
from rehone.config import Storage, load_config
from rehone.disk import Disk
from rehone.errors import StoreError
from rehone.objects import disk_for
from rehone.places import Remote
from rehone.records import CheckStatus, RunRecord, RunStatus, short_id
from rehone.runlog import RunLog
from rehone.store import Store

REHONE = [sys.executable, "-m", "rehone"]
DAY = 118


@dataclass
class Asked:
    """A project in a bucket whose second version waits, and what the bucket held then."""

    project: Project
    door: Door
    waits: RunRecord
    objects: dict[str, bytes]


def disk_of(door: Door) -> tuple[Remote, Disk]:
    root = Remote(f"s3://{door.bucket}/story")
    return root, disk_for(root, Storage(endpoint=door.url, allow_http=True))


@pytest.fixture(scope="module")
def asked_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Bring a first version live and let a second one wait, once for this file."""
    with service() as port, pytest.MonkeyPatch.context() as patched:
        for name, value in CREDENTIALS.items():
            patched.setenv(name, value) if value else patched.delenv(name, raising=False)
        door, project = Door(port, "approvals"), Project(tmp_path_factory.mktemp("asked"))
        configured(project, door)
        project.feed(0, DAY)
        assert project.run(70).status is RunStatus.DEPLOYED
        configured(project, door, approval="manual")
        waits = project.run(DAY, force=True)
        assert waits.waits, waits.sentence
        root, disk = disk_of(door)
        yield Asked(project, door, waits, {name: disk.read(root / name) for name in disk.below(root, 9)})
        door.end()


@pytest.fixture
def asked(asked_once: Asked) -> Iterator[Asked]:
    """Return that project with the bucket as it was then."""
    root, disk = disk_of(asked_once.door)
    disk.remove_tree(root)
    for name, data in asked_once.objects.items():
        disk.replace(root / name, data)
    yield asked_once
    asked_once.door.open()


def configured(project: Project, door: Door, **deploy: object) -> None:
    bucket = f"s3://{door.bucket}"
    project.configure(
        project={"name": "story", "store": f"{bucket}/story/store", "runs": f"{bucket}/story/runs"},
        storage={"endpoint": door.url, "allow_http": True, "lease_seconds": 20},
        gate={"margin_cost": 0.9},
        deploy={"service": "none", **deploy},
    )


def elsewhere(project: Project, folder: Path) -> Path:
    """Return another machine: it has the configuration, and nothing else, not even the data."""
    folder.mkdir()
    (folder / "rehone.toml").write_bytes((project.root / "rehone.toml").read_bytes())
    return folder


def command(machine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the real command line."""
    done = [*REHONE, *words, "--project", str(machine)]
    return subprocess.run(done, capture_output=True, text=True, timeout=180, check=False)


def unlock(asked: Asked) -> None:
    """Let the lease of what died be over; that it runs out by itself is held elsewhere."""
    root, disk = disk_of(asked.door)
    disk.unlink(root / "store" / "lock")


def left(project: Project, run: str) -> list[str]:
    """Return what the bucket holds beside the records for the answer to a run."""
    log = RunLog.of(load_config(project.root))
    folder, disk = log.folder_of(log.find(run))
    return disk.below(folder, 2)


def test_another_machine_approves_with_the_real_command(asked: Asked, tmp_path: Path) -> None:
    """It has no file of the run: what went live is what was judged, and nothing of the question is left."""
    project, waits = asked.project, asked.waits
    assert "rows.parquet" in left(project, waits.run_id)
    machine = elsewhere(project, tmp_path / "desk")
    assert f"of run {waits.run_id} waits for approval" in " ".join(command(machine, "status").stdout.split())
    done = command(machine, "approve", waits.run_id, "--because", "looks good")
    assert done.returncode == 0, done.stdout + done.stderr
    (_, run) = api.history(project.root)
    assert (run.status, run.version, run.verdict) == (RunStatus.DEPLOYED, waits.version, waits.verdict)
    assert run.approval is not None
    assert run.approval.because == "looks good"
    assert rehone.load(project.root).version == waits.version
    assert left(project, run.run_id) == []
    assert {check.status for check in api.replay(machine, run.run_id).checks} == {CheckStatus.OK}


def test_the_champion_has_moved_and_another_machine_has_it_judged_again(asked: Asked, tmp_path: Path) -> None:
    """The held-out rows and the model come out of the bucket."""
    project, waits = asked.project, asked.waits
    api.rollback(project.root, to="none", because="it answers too late")
    machine = elsewhere(project, tmp_path / "desk")
    run = api.approve(machine, waits.run_id, by="ann@desk")
    assert run.status is RunStatus.DEPLOYED, run.sentence
    assert run.approval is not None
    assert run.verdict is not None
    assert waits.verdict is not None
    assert run.approval.judged_again
    assert (run.verdict.champion, run.verdict.challenger) == (None, waits.verdict.challenger)
    assert left(project, run.run_id) == []
    assert {check.status for check in api.replay(project.root, run.run_id).checks} == {CheckStatus.OK}


def test_another_machine_rejects(asked: Asked, tmp_path: Path) -> None:
    project, waits = asked.project, asked.waits
    machine = elsewhere(project, tmp_path / "desk")
    run = api.reject(machine, waits.run_id, because="the holiday is in it", by="bob@desk")
    assert run.sentence == f"version {short_id(waits.version)} was rejected by bob@desk: the holiday is in it"
    config = load_config(project.root)
    assert [made.generation for made in Store.of(config).log()] == [1]
    assert RunLog.of(config).lines()[-1].status is RunStatus.REJECTED
    assert left(project, run.run_id) == []


def test_a_question_that_nobody_answered_is_closed_by_the_next_run_of_any_machine(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That run has no data there, and fails; the question is over all the same."""
    project, waits = asked.project, asked.waits
    machine = elsewhere(project, tmp_path / "night")
    late = waits.approval
    assert late is not None
    monkeypatch.setattr("rehone.api.door.now", lambda: late.until)
    assert api.run_pipeline(machine, as_of=START + timedelta(days=DAY)).status is RunStatus.FAILED
    closed = RunLog.of(load_config(machine)).find(waits.run_id)
    assert closed.status is RunStatus.INCONCLUSIVE
    assert closed.sentence.startswith(f"nobody approved or rejected version {short_id(waits.version)} until ")
    assert left(project, waits.run_id) == []
    with pytest.raises(StoreError, match="it ended inconclusive"):
        api.approve(project.root, waits.run_id)
    assert [made.generation for made in Store.of(load_config(machine)).log()] == [1]


def test_a_machine_dies_after_what_it_approved_is_live_and_another_one_says_so(asked: Asked, tmp_path: Path) -> None:
    """Killed between the deployment log and the record: the log counts."""
    project, waits = asked.project, asked.waits
    one, other = elsewhere(project, tmp_path / "one"), elsewhere(project, tmp_path / "other")
    process: list[subprocess.Popen[bytes]] = []

    def kill(knock: Knock) -> None:
        if knock.method == "PUT" and "deployments/" in knock.path:
            process[0].kill()

    asked.door.after = kill
    process.append(subprocess.Popen([*REHONE, "approve", waits.run_id, "--project", str(one)]))
    assert process[0].wait(120) == -signal.SIGKILL
    asked.door.open()
    unlock(asked)
    assert rehone.load(other).version == waits.version
    assert RunLog.of(load_config(other)).find(waits.run_id).status is None
    done = command(other, "approve", waits.run_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was confirmed before this stage was interrupted, and is live" in " ".join(done.stdout.split())
    assert [made.generation for made in Store.of(load_config(other)).log()] == [1, 2]
    assert left(project, waits.run_id) == []


@pytest.mark.parametrize("when", ["answering", "promoting"])
def test_the_bucket_is_away_while_somebody_approves_and_the_same_command_goes_on(
    asked: Asked, tmp_path: Path, when: str
) -> None:
    """The answer may have been written or not: what was live is live, and approving again ends it."""
    project, waits = asked.project, asked.waits
    machine = elsewhere(project, tmp_path / "desk")
    asked.door.before = _hang_up_at({"answering": f"{waits.run_id}.json", "promoting": "deployments/"}[when])
    with pytest.raises(StoreError):
        api.approve(machine, waits.run_id, by="ann@desk")
    asked.door.open()
    unlock(asked)
    assert [made.generation for made in Store.of(load_config(machine)).log()] == [1]
    noted = RunLog.of(load_config(machine)).find(waits.run_id)
    assert noted.status is None
    assert noted.approval is not None
    assert noted.approval.by == ("ann@desk" if when == "promoting" else "")
    run = api.approve(machine, waits.run_id, by="cy@desk")
    assert run.status is RunStatus.DEPLOYED, run.sentence
    assert run.approval is not None
    assert run.approval.by == ("ann@desk" if when == "promoting" else "cy@desk")
    assert [made.generation for made in Store.of(load_config(machine)).log()] == [1, 2]


def _hang_up_at(part: str) -> Callable[[Knock], None]:
    """Return what hangs up on everybody from the first writing of such an object on."""
    away: list[int] = []

    def before(knock: Knock) -> None:
        if away or (knock.method == "PUT" and part in knock.path):
            away.append(knock.number)
            raise ConnectionResetError

    return before

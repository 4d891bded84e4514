"""What old gates were given goes by a rule that records tell of, and nothing that somebody needs goes with it."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import rehone
from conftest import Project
from rehone import api, codec
from rehone.cli.endings import main
from rehone.disk import Disk
from rehone.pipeline.clearing import carry_out, foreseen
from rehone.pipeline.draft import Draft
from rehone.pipeline.scene import Door, Scene
from rehone.records import CheckStatus, RunRecord, RunStatus
from rehone.report import particulars
from rehone.runlog import RunLog, clearing
from rehone.runlog.clearing import Clearance
from rehone.store import Store
from store_kit import Died, DyingDisk, SwiftDisk, now
from test_runlog import record


def given(log: RunLog, number: int, status: RunStatus | None = RunStatus.REJECTED) -> str:
    """Write the record of a run whose gate was given something, closed where it has a status; return its id."""
    run = record(number)
    run = replace(run, judged=log.keep(run, b"given to its gate", rows=1))
    log.begin(run)
    if status is not None:
        log.finish(replace(run, status=status))
    return run.run_id


def listed(root: Path, disk: Disk | None = None) -> Clearance:
    return Clearance(root, disk or Disk(), RunLog(root).lines())


def kept(root: Path) -> list[str]:
    """Return the runs of which what the gate was given is there."""
    return sorted(path.name.removesuffix(".judged.npz") for path in root.rglob("*.judged.npz"))


# --- the rule --------------------------------------------------------------------------------------


def test_the_newest_are_kept_and_those_that_are_needed_and_those_of_open_runs(tmp_path: Path) -> None:
    """Of six, the fifth is open and the first is of a version in the store: the two newest count open ones too."""
    log = RunLog(tmp_path)
    runs = [given(log, number, None if number == 5 else RunStatus.REJECTED) for number in range(1, 7)]
    assert listed(tmp_path).superfluous(2, {runs[0]}) == (runs[1], runs[2], runs[3])
    assert listed(tmp_path).superfluous(1, {runs[0]}) == (runs[1], runs[2], runs[3]), "an open one stays, however old"
    assert listed(tmp_path).superfluous(5, ()) == (runs[0],)
    assert listed(tmp_path).superfluous(6, ()) == ()


def test_a_long_backlog_is_cleared_a_part_at_a_time_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunLog(tmp_path)
    runs = [given(log, number) for number in range(1, 6)]
    monkeypatch.setattr(clearing, "MOST_AT_ONCE", 2)
    assert listed(tmp_path).superfluous(1, ()) == tuple(runs[:2])
    listed(tmp_path).clear(runs[:2])
    assert listed(tmp_path).superfluous(1, ()) == tuple(runs[2:4])


def test_what_killed_processes_left_beside_closed_records_is_swept_and_nothing_else(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    done, still = given(log, 1), given(log, 2, None)
    folder = tmp_path / "2026" / "03"
    for run in (done, still):
        (folder / run).mkdir()
        (folder / run / "rows.parquet").write_bytes(b"rows")
        for name in ("judged.npz", "figures.json", "json"):
            (folder / f".{run}.{name}.99.new").write_bytes(b"half")
    (folder / "notes.txt").write_bytes(b"of a person")
    (folder / "mine").mkdir()
    (folder / "mine" / "rows.parquet").write_bytes(b"of a person")
    before = {path for path in folder.rglob("*") if path.is_file()}
    assert listed(tmp_path).sweep() == 4
    assert listed(tmp_path).sweep() == 0
    gone = before - {path for path in folder.rglob("*") if path.is_file()}
    assert {str(path.relative_to(folder)) for path in gone} == {
        f"{done}/rows.parquet",
        *(f".{done}.{name}.99.new" for name in ("judged.npz", "figures.json", "json")),
    }
    assert kept(tmp_path) == [done, still]


def test_a_death_at_any_call_leaves_what_the_next_clean_up_takes(tmp_path: Path) -> None:
    """Records and ledger are whole whenever it died, what is to stay is there, and what was begun is ended."""
    for at in itertools.count(1):
        root = tmp_path / f"{at}"
        log = RunLog(root, disk=SwiftDisk())
        runs = [given(log, number) for number in range(1, 5)]
        log.finish(replace(record(5, RunStatus.REJECTED), winner=None, cleared=tuple(runs[:3])))
        (root / "2026" / "03" / runs[3]).mkdir()
        (root / "2026" / "03" / runs[3] / "rows.parquet").write_bytes(b"rows")
        disk = DyingDisk(at)
        try:
            dying = listed(root, disk)
            dying.clear(runs[:3])
            dying.sweep()
        except Died:
            assert disk.dead
        assert runs[3] in kept(root)
        assert all(check.status is not CheckStatus.ACT for check in RunLog(root).verify(judged=True))
        again = listed(root)
        again.clear(again.superfluous(1, ()))
        again.sweep()
        assert kept(root) == [runs[3]]
        assert not (root / "2026" / "03" / runs[3]).exists()
        if not disk.dead:
            assert at > 4
            return


# --- in a project --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused_twice(deployed_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a project with a champion and two challengers that the gate refused, keeping one; nobody changes it.

    The older one is made of the champion's record, whose gate was given the same.
    """
    made = deployed_once.copy(tmp_path_factory.mktemp("refused"))
    log = RunLog(made.root / "runs")
    (champion,) = log.records()
    older = replace(champion, run_id=f"{champion.run_id}-older", version=None, deployment=None)
    log.keep(older, log.kept(champion), rows=1)
    log.finish(replace(older, status=RunStatus.REJECTED))
    made.configure(gate={"min_roc_auc": 0.9999}, deploy={"keep_judged": 1})
    made.feed(70, 75)
    assert made.run(75, force=True).status is RunStatus.REJECTED
    return made


@pytest.fixture
def refused(refused_twice: Project, tmp_path: Path) -> Project:
    """Return a project of one's own of that past."""
    return refused_twice.copy(tmp_path / "p")


def told(project: Project) -> tuple[RunRecord, ...]:
    return RunLog(project.root / "runs").records()


def test_a_run_says_what_it_clears_and_keeps_that_of_versions_in_the_store(refused_twice: Project) -> None:
    """The champion's is older than the one that goes."""
    champion, older, newer = told(refused_twice)
    assert [run.cleared for run in (champion, older, newer)] == [(), (), (older.run_id,)]
    assert kept(refused_twice.root / "runs") == [champion.run_id, newer.run_id]
    said = f"what the gate of run {older.run_id} was given is no longer kept (deploy.keep_judged)"
    assert ("cleared", said) in list(particulars.run(newer))
    two = dict(particulars.run(replace(newer, cleared=("a", "b"))))
    assert two["cleared"] == "what the gate of 2 runs (a to b) was given is no longer kept (deploy.keep_judged)"
    assert "cleared" not in dict(particulars.run(older))


def test_what_is_no_longer_kept_is_said_and_is_no_fault(
    refused_twice: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """The decision still comes again; the verdict is not known to."""
    _, older, newer = told(refused_twice)
    found = {check.name: check for check in api.replay(refused_twice.root, older.run_id).checks}
    assert found["inputs"].status is CheckStatus.UNKNOWN
    assert found["inputs"].detail == (
        f"what the gate was given is no longer kept: clean-up removed it after run {newer.run_id} (deploy.keep_judged)"
    )
    assert found["trigger"].status is CheckStatus.OK
    assert "verdict" not in found
    assert main(["replay", older.run_id, "-p", str(refused_twice.root)]) == 0
    assert "all that can be replayed comes again" in capsys.readouterr().out
    (ledger,) = RunLog(refused_twice.root / "runs").verify(judged=True)
    assert ledger.status is CheckStatus.OK
    assert ledger.detail == (
        "3 closed runs match the ledger; what their gates were given is as it was, but of 1 run no longer kept "
        "(deploy.keep_judged)"
    )


def test_a_gap_that_somebody_made_is_none_that_the_rule_made(refused: Project) -> None:
    """Also where a record was changed to say that it was: only what the ledger has the digest of is believed."""
    champion, _, newer = told(refused)
    log = RunLog(refused.root / "runs")
    (path,) = log.root.rglob(f"{champion.run_id}.judged.npz")
    path.unlink()
    (fault,) = log.verify(judged=True)
    assert (fault.status, fault.subject) == (CheckStatus.WARN, champion.run_id)
    (last,) = log.root.rglob(f"{newer.run_id}.json")
    last.write_bytes(codec.encode(replace(newer, cleared=(champion.run_id, *newer.cleared))))
    found = {check.name: check for check in api.replay(refused.root, champion.run_id).checks}
    assert found["inputs"].status is CheckStatus.ACT
    assert "is gone: what the gate of run" in found["inputs"].detail


def test_what_is_put_back_from_a_backup_is_judged_again(refused: Project) -> None:
    champion, older, _ = told(refused)
    (path,) = (refused.root / "runs").rglob(f"{champion.run_id}.judged.npz")
    shutil.copy(path, path.with_name(f"{older.run_id}.judged.npz"))
    found = {check.name: check.status for check in api.replay(refused.root, older.run_id).checks}
    assert (found["inputs"], found["verdict"]) == (CheckStatus.OK, CheckStatus.OK)


@pytest.mark.parametrize(("keep", "cleared"), [("off", 0), (1, 1), (2, 0)])
def test_a_run_that_judged_names_what_it_clears_before_it_is_closed(
    refused: Project, keep: str | int, cleared: int
) -> None:
    """With "off" all is kept; nothing is removed before the record is closed."""
    config = refused.configure(deploy={"keep_judged": keep})
    champion, older, newer = told(refused)
    log, store = RunLog.of(config), Store.of(config)
    log.keep(older, log.kept(champion), rows=1)
    draft = Draft(newer, log, clock=now, listen=lambda _: None)
    door = Door(as_of=newer.as_of, clock=now, run_id=newer.run_id, actor="kit", host="h", pid=1)
    assert foreseen(Scene(config, door, store, log, draft)) is not None
    assert draft.record.cleared == (older.run_id,) * cleared
    assert older.run_id in kept(refused.root / "runs")
    draft.record = replace(newer, judged=None)
    assert foreseen(Scene(config, door, store, log, draft)) is None, "its gate judged nothing"


def test_clean_up_that_fails_costs_no_run(refused: Project, caplog: pytest.LogCaptureFixture) -> None:
    newer = told(refused)[-1]

    class Full(SwiftDisk):
        def forget(self, path: Path) -> None:
            raise PermissionError(13, "not allowed", str(path))

    carry_out(listed(refused.root / "runs", Full()), replace(newer, cleared=(newer.run_id,)))
    assert caplog.messages == ["clean-up beside the records failed"]


def test_the_doctor_sweeps_what_killed_runs_left(refused: Project) -> None:
    (path,) = (refused.root / "runs").rglob(f"{told(refused)[0].run_id}.json")
    path.with_name(path.stem).mkdir()
    (path.with_name(path.stem) / "rows.parquet").write_bytes(b"rows")
    said = "1 file or folder of killed runs removed beside their records"
    assert said not in {check.detail for check in api.doctor(refused.root, heal=False)}
    assert said in {check.detail for check in api.doctor(refused.root)}
    assert not path.with_name(path.stem).exists()


def test_the_doctor_goes_on_where_what_killed_runs_left_is_of_another_user(
    refused: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = (refused.root / "runs").rglob(f"{told(refused)[0].run_id}.json")
    path.with_name(path.stem).mkdir()
    (path.with_name(path.stem) / "rows.parquet").write_bytes(b"rows")

    def refuse(_: Disk, path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Disk, "remove_tree", refuse)
    (left,) = (check for check in api.doctor(refused.root) if check.name == "repair")
    assert left.status is CheckStatus.WARN
    assert left.sentence == (
        "what killed runs left beside their records cannot be removed (Operation not permitted: "
        f"{path.with_name(path.stem)}): it does no harm; remove it as the user who ran them, or give write permission"
    )


KILLED = """
import os, signal, sys
from rehone import api
from rehone.disk import Disk
from rehone.pipeline import draft
from rehone.runlog import clearing
point, root = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
plain, calls = Disk.forget, []
def second(self, path):
    calls.append(path)
    return die() if len(calls) == 2 else plain(self, path)
if point == "before the record is closed":
    draft.Draft.end = die
elif point == "before anything is removed":
    clearing.Clearance.clear = die
else:
    Disk.forget = second
api.run_pipeline(root, as_of="2026-03-17", force=True)
"""


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("point", ["before the record is closed", "before anything is removed", "half way"])
def test_killed_while_it_cleans_up_the_next_run_goes_on(refused: Project, point: str) -> None:
    """After kill -9 records are whole, what is live is served, nothing needed is gone, and the next run ends the work."""
    log = RunLog(refused.root / "runs")
    champion, older, newer = told(refused)
    log.keep(older, log.kept(champion), rows=1)
    live = rehone.load(refused.root).version
    killed = subprocess.run([sys.executable, "-c", KILLED, point, refused.root], timeout=180, check=False)
    assert killed.returncode == -9
    assert rehone.load(refused.root).version == live
    (died,) = [run for run in told(refused) if run.run_id not in {champion.run_id, older.run_id, newer.run_id}]
    assert died.status is (None if point == "before the record is closed" else RunStatus.REJECTED)
    assert died.cleared == (() if died.status is None else (older.run_id, newer.run_id))
    removed = {older.run_id} if point == "half way" else set()
    assert set(kept(log.root)) == {run.run_id for run in (champion, older, newer, died)} - removed
    assert [c.status for c in log.verify(judged=True)] == [CheckStatus.OK]
    last = refused.run(75, force=True)
    assert last.status is RunStatus.REJECTED
    assert kept(log.root) == sorted([champion.run_id, last.run_id])
    assert [c.status for c in log.verify(judged=True)] == [CheckStatus.OK]
    replays = [api.replay(refused.root, run.run_id) for run in told(refused)]
    assert all(replay.reproduced for replay in replays)

"""A tracker that is missing, down, slow or mad never changes how a run ends; what it missed is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conftest import START, Project
from rehone import api, observers
from rehone.cli.endings import main
from rehone.cli.story import run_lines
from rehone.config import Config
from rehone.observers import Outbox, Subject, facts
from rehone.observers.telling import without_password
from rehone.records import Check, CheckStatus, Delivery, FeatureDrift, RunRecord
from rehone.report.told import Told

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
TOLD = {"use": ["mlflow"], "timeout_seconds": 30}


@pytest.fixture
def library(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the source of a library named mlflow, for a test to write what goes wrong when it is imported."""
    folder = tmp_path_factory.mktemp("library") / "mlflow"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder.parent)
    return folder / "__init__.py"


def _delivery(project: Project, record: RunRecord) -> Delivery:
    (found,) = api.deliveries(project.root, record.run_id)
    return found


def _tracker(checks: tuple[Check, ...]) -> Check:
    (found,) = (check for check in checks if check.name == "tracker")
    return found


# --- the ending stays ----------------------------------------------------------------------------


def test_without_trackers_nothing_is_written_and_nobody_is_asked(project: Project) -> None:
    """A project that names no tracker has no deliveries."""
    project.run(70)
    assert not (project.root / "runs" / "deliveries").exists()
    assert all(check.name != "tracker" for check in api.doctor(project.root))


def test_a_missing_library_is_named_with_its_install_line(live: Project) -> None:
    """The run is deployed or skipped as ever; show and doctor say what to install."""
    live.configure(trackers=TOLD)
    record = live.run(71)
    assert record["status"] == "skipped"
    delivery = _delivery(live, record)
    assert delivery.error == "mlflow is not installed: pip install 'rehone[mlflow]'"
    assert (delivery.attempts, delivery.delivered_at, delivery.link) == (1, None, None)
    said = "\n".join(run_lines(Told(record=record), "x", width=200, deliveries=(delivery,)))
    assert f"mlflow      not told yet, tried 1 time: {delivery.error}; `rehone doctor -p x` tries again" in said
    check = _tracker(api.doctor(live.root))
    assert (check.status, check.n) == (CheckStatus.ACT, 1)
    assert check.detail == f"mlflow was not told of 1 run or deployment yet: {delivery.error}"
    assert _delivery(live, record).attempts == 2


def test_a_closed_record_is_not_touched_by_its_delivery(live: Project) -> None:
    """What could not be delivered stands beside the record, which the ledger holds to its digest."""
    live.configure(trackers=TOLD)
    record = live.run(71)
    assert [c.status for c in api.doctor(live.root, heal=False) if c.name == "ledger"] == [CheckStatus.OK]
    assert (
        json.loads((next((live.root / "runs").glob(f"2*/*/{record.run_id}.json"))).read_bytes())["status"] == "skipped"
    )


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import os; os._exit(3)", "the process that tells mlflow ended with code 3: it said nothing"),
        (
            "import sys; sys.exit('no licence')",
            "the process that tells mlflow ended with code 1: no licence",
        ),
        ("raise SystemExit(0)", "the process that tells mlflow ended before it was done"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process that tells mlflow was killed by signal 11: "),
        ("raise RuntimeError('first line\\nsecond')", "RuntimeError: first line"),
        ("raise ValueError('http://me:secret@host/x')", "ValueError: http://host/x"),
        ("print('noise'); import pandas_that_is_not_there", "pandas_that_is_not_there is not installed: pip install 'rehone[mlflow]'"),
    ],
)  # fmt: skip
def test_a_library_that_crashes_leaves_ending_and_exit_code(
    project: Project, library: Path, source: str, cause: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the tracker's library does, the run ends as it does without, and the cause is kept in one line."""
    plain = main(["run", "-p", str(project.root), "--as-of", "2026-03-01", "-q"])
    without = capfd.readouterr()
    library.write_text(source)
    project.configure(trackers=TOLD)
    told = main(["run", "-p", str(project.root), "--as-of", "2026-03-01", "-q"])
    said = capfd.readouterr()
    assert (told, said.out) == (plain, without.out)
    delivery = _delivery(project, api.history(project.root)[-1])
    assert delivery.error.startswith(cause)
    assert "\n" not in delivery.error
    assert said.err.startswith(without.err)
    assert "warning: tracker not told: mlflow was not told of 1 run or deployment yet: " in said.err


def test_a_library_that_hangs_is_killed_with_all_that_it_started(
    project: Project, library: Path, tmp_path: Path
) -> None:
    """After trackers.timeout_seconds the run goes on; neither the process nor its children stay."""
    pids = tmp_path / "pids"
    library.write_text(
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)\n"
    )
    project.configure(trackers={**TOLD, "timeout_seconds": 4})
    begun = time.monotonic()
    record = project.run(70)
    assert record["status"] == "failed"
    assert 4 <= time.monotonic() - begun < 300  # and not the 600 that it sleeps
    assert _delivery(project, record).error == (
        "mlflow did not answer within 4 s: look whether it is up, or raise trackers.timeout_seconds"
    )
    assert not any(_lives(int(pid)) for pid in pids.read_text().split())


def _lives(pid: int) -> bool:
    for _ in range(20):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except FileNotFoundError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.soak
def test_a_telling_whose_run_is_killed_ends_by_itself(project: Project, library: Path, tmp_path: Path) -> None:
    """kill -9 of the run, while a tracker hangs, leaves no process behind for long; doctor tells the rest."""
    pid = tmp_path / "pid"
    library.write_text(f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    config = project.configure(trackers={**TOLD, "timeout_seconds": 3})
    code = f"from rehone import api; api.run_pipeline({str(project.root)!r}, as_of='2026-03-01')"
    run = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    for _ in range(300):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.1)
    run.kill()
    run.wait()
    assert any(_lives(int(pid.read_text())) is False for _ in range(6))
    (delivery,) = Outbox.of(config, "mlflow").pending()
    assert delivery.error == "being told"
    library.write_text("raise RuntimeError('there, and angry')")
    assert _tracker(api.doctor(project.root)).detail.endswith("RuntimeError: there, and angry")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_telling_and_not_the_run(project: Project, library: Path, number: signal.Signals) -> None:
    """The record was closed before: the run has its ending, and what was not told is open."""
    library.write_text("import time; time.sleep(600)")
    project.configure(trackers=TOLD)
    before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
    watch = threading.Thread(target=_signal_when_told, args=(project.root, number))
    try:
        watch.start()
        record = project.run(70)
    finally:
        watch.join()
        signal.signal(signal.SIGTERM, before)
    assert record["status"] == "failed"
    assert _delivery(project, record).error == "the telling was interrupted"


def _signal_when_told(root: Path, number: signal.Signals) -> None:
    for _ in range(200):
        if any('"being told"' in note.read_text() for note in (root / "runs").glob("deliveries/mlflow/*.open.json")):
            break
        time.sleep(0.1)
    os.kill(os.getpid(), number)


def test_a_folder_that_cannot_be_written_does_not_matter(project: Project) -> None:
    """Even the notes about deliveries may be impossible; the run does not hear of it."""
    (project.root / "runs").mkdir()
    (project.root / "runs" / "deliveries").write_text("in the way")
    project.configure(trackers=TOLD)
    assert project.run(70)["status"] == "failed"
    check = _tracker(api.tell(project.root))
    assert check.status is CheckStatus.ACT
    assert check.detail.startswith("the trackers could not be told (")


# --- what is open is told later ---------------------------------------------------------------------


def test_a_run_that_was_killed_before_it_was_told_is_told_by_the_next(project: Project) -> None:
    """The ledger is compared with what is noted; what is older than the tracker's first run stays untold."""
    old = project.run(69)
    project.configure(trackers=TOLD)
    first = project.run(70)
    project.configure()
    untold = project.run(71)  # as if it had been killed between its end and the telling
    config = project.configure(trackers=TOLD)
    assert _tracker(api.doctor(project.root, heal=False)).n == 2
    last = project.run(72)
    pending = {delivery.subject for delivery in Outbox.of(config, "mlflow").pending()}
    assert pending == {first.run_id, untold.run_id, last.run_id}
    assert old.run_id not in pending


def test_doctor_reaches_back_when_asked(project: Project) -> None:
    """Runs from before the tracker was configured are told on demand alone."""
    old = project.run(69)
    config = project.configure(trackers=TOLD)
    assert _tracker(api.doctor(project.root)).status is CheckStatus.OK
    assert main(["doctor", "-p", str(project.root), "--tell-since", "2026-01-01"]) == 2
    assert [delivery.subject for delivery in Outbox.of(config, "mlflow").pending()] == [old.run_id]


def test_a_dry_run_of_doctor_tells_nobody(project: Project) -> None:
    """It says what is open as a warning, and leaves it so."""
    project.configure(trackers=TOLD)
    record = project.run(70)
    check = _tracker(api.doctor(project.root, heal=False))
    assert (check.status, check.n) == (CheckStatus.WARN, 1)
    assert _delivery(project, record).attempts == 1


def test_a_rollback_by_hand_is_said_before_trackers_hear_of_it(live: Project, library: Path) -> None:
    """The listener has the record while the tracker still hangs, and the deployment is open afterwards."""
    library.write_text("import time; time.sleep(600)")
    config = live.configure(trackers={**TOLD, "timeout_seconds": 2})
    heard: list[float] = []
    api.rollback(live.root, to="none", listen=lambda _: heard.append(time.monotonic()))
    assert time.monotonic() - heard[0] >= 2
    assert [delivery.subject for delivery in Outbox.of(config, "mlflow").pending()] == ["deployment-2"]


def test_whoever_comes_second_leaves_the_telling_to_the_first(project: Project) -> None:
    """Two tellings at once would make two runs of one."""
    config = project.configure(trackers={**TOLD, "timeout_seconds": 0.3})
    with Outbox.of(config, "mlflow").lock(1) as mine:
        assert mine
        check = _tracker(observers.tell(config, lambda: [Subject("a", NOON)], clock=_now, since=NOON))
    assert check.status is CheckStatus.WARN
    assert check.detail == "somebody else is telling mlflow, for more than 0.3 s"


def test_subjects_that_cannot_be_read_are_said(project: Project) -> None:
    """A damaged log is another check's matter; telling does not raise."""
    config = project.configure(trackers=TOLD)

    def broken() -> list[Subject]:
        raise OSError("the disk is gone")

    assert _tracker(observers.tell(config, broken, clock=_now)).detail == (
        "the trackers could not be told (the disk is gone)"
    )


def _now() -> datetime:
    return datetime.now(UTC)


# --- the outbox -------------------------------------------------------------------------------------


def _outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path, "mlflow")


def test_what_was_delivered_stays_delivered(tmp_path: Path) -> None:
    """Also when a crash left the open note beside it."""
    outbox = _outbox(tmp_path)
    outbox.add(["a", "b"])
    left = (outbox.root / "a.open.json").read_bytes()
    outbox.note(Delivery(tracker="mlflow", subject="a", attempts=1, delivered_at=NOON, link="runs:/1"))
    (outbox.root / "a.open.json").write_bytes(left)
    assert [delivery.subject for delivery in outbox.pending()] == ["b"]
    found = outbox.find("a")
    assert found is not None
    assert found.link == "runs:/1"
    assert (outbox.known(), outbox.count()) == ({"a", "b"}, 1)


def test_a_damaged_note_is_tried_again(tmp_path: Path) -> None:
    """A note cut short by a broken disk does not stop the others."""
    outbox = _outbox(tmp_path)
    outbox.add(["a"])
    (outbox.root / "a.open.json").write_bytes(b"{")
    (found,) = outbox.pending()
    assert (found.subject, found.attempts) == ("a", 0)


def test_a_tracker_is_told_from_when_it_was_first_used(tmp_path: Path) -> None:
    """The day stays until it is moved on purpose."""
    outbox = _outbox(tmp_path)
    assert outbox.begin(NOON) == NOON
    assert outbox.begin(NOON + timedelta(days=1)) == NOON
    assert outbox.reach(NOON - timedelta(days=9)) == NOON - timedelta(days=9)
    assert outbox.begin(NOON) == NOON - timedelta(days=9)


# --- the facts ----------------------------------------------------------------------------------------


def test_a_run_that_began_before_the_tracker_heard_of_a_later_one_is_told_too(project: Project) -> None:
    """The first run of a new tracker meets another, which is skipped and told of first: neither is forgotten."""
    project.configure(trackers=TOLD)
    project.feed(0, 70)
    end = api.run_stage(project.root, "check", as_of=START + timedelta(days=70))
    assert end.status is None, end.sentence
    skipped = project.run(70)
    assert skipped["status"] == "skipped"
    closed = api.close_run(project.root, end.run_id)
    for record in (skipped, closed):
        assert _delivery(project, record).subject == record.run_id


def test_everything_measured_has_a_number_and_nothing_else(live: Project) -> None:
    """Candidates, folds, gate, both models on the holdout, drift: each under its name; unmeasured is left out."""
    live.feed(70, 80, shift=1.0)
    record = live.run(80, force=True)
    numbers = facts.metrics(record)
    (candidate,) = record.candidates
    assert numbers["candidate/logistic_regression.trailing.cv_roc_auc_mean"] == candidate.cv_roc_auc_mean
    assert numbers["winner/fold_3.roc_auc"] == candidate.fold_roc_auc[2]
    assert record.verdict is not None
    assert record.verdict.challenger is not None
    assert record.verdict.champion is not None
    assert numbers["holdout/challenger.roc_auc"] == record.verdict.challenger.roc_auc
    assert numbers["holdout/champion.recall"] == record.verdict.champion.recall
    for check in record.verdict.checks:
        place = f"gate/{check.name}" + (f".{check.subject}" if check.subject else "")
        assert numbers.get(f"{place}.value") == check.value
        assert numbers.get(f"{place}.limit") == check.limit
        assert (check.interval or (None, None)) == (numbers.get(f"{place}.low"), numbers.get(f"{place}.high"))
    assert record.evidence is not None
    assert {d.feature: numbers[f"drift/{d.feature}.psi"] for d in record.evidence.drift} == {
        d.feature: d.psi for d in record.evidence.drift
    }
    assert record.evidence.roc_auc is not None
    assert numbers["evidence/roc_auc"] == record.evidence.roc_auc.value
    assert numbers["evidence/roc_auc.low"] == record.evidence.roc_auc.low
    assert numbers["stage/train.seconds"] == next(s.seconds for s in record.stages if s.name == "train")
    assert "shadow/rows" not in numbers


def test_a_feature_with_a_slash_stays_in_its_group(live: Project) -> None:
    """Trackers take a slash for the end of a group, and `..` for a folder."""
    record = api.history(live.root)[0]
    assert record.evidence is not None
    drift = (FeatureDrift(feature="../a/b", psi=0.5), FeatureDrift(feature="unmeasured", psi=None))
    numbers = facts.metrics(replace(record, evidence=replace(record.evidence, drift=drift)))
    assert {name: n for name, n in numbers.items() if name.startswith("drift/")} == {"drift/.._a_b.psi": 0.5}


def test_words_and_parameters_tell_the_run_apart(live: Project) -> None:
    """How it ended, why it trained, what it was given."""
    record = api.history(live.root)[0]
    words = facts.tags(record)
    assert (words["status"], words["trigger"], words["verdict"]) == ("deployed", "bootstrap", "pass")
    assert words["version"] == record.version
    assert "champion" not in words  # there was none
    given = facts.params(record)
    assert given["config.gate.min_recall"] == "0.5"
    assert given["winner.estimator"] == record.candidates[0].estimator
    assert "config.trackers.mlflow_uri" not in given  # it has no value


def test_addresses_are_kept_without_their_passwords() -> None:
    """Notes and links are read by people who need not know them."""
    assert without_password("see https://user:pa%40ss@host:5000/x and a@b.example") == (
        "see https://host:5000/x and a@b.example"
    )


def test_configuration_survives_the_way_to_the_other_process(project: Project) -> None:
    """The process that tells reads the same configuration as the run did."""
    config = project.configure(trackers={**TOLD, "mlflow_uri": "sqlite:///x.db"}, trigger={"max_age_days": "off"})
    assert Config(**config.as_json(), root=config.root) == config

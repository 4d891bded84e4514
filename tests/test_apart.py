"""A run in a process of its own: it says how it ended, and leaves nothing open whatever ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from conftest import START, Project
from rehone.integrations import apart, pages
from rehone.integrations.apart import Ending, Order, Runs
from rehone.records import Event, EventKind, RunRecord, RunStatus
from rehone.runlog import RunLog
from rehone.store import Store


def order(project: Project, day: int = 70, **options: bool) -> Order:
    return Order(project=str(project.root), as_of=str(START.fromordinal(START.toordinal() + day)), **options)


def last(project: Project) -> RunRecord:
    found = RunLog(project.root / "runs").last()
    assert found is not None
    return found


def slow(project: Project) -> Project:
    """Make a run of this project last long enough to be hit in the middle of a stage."""
    project.configure(train={"candidates": ["random_forest", "gradient_boosting"], "folds": 10})
    project.feed(0, 70, rows=400)
    return project


def in_training(project: Project, then: Callable[[RunRecord], None]) -> Ending:
    """Make a run, and do something to it once it trains."""
    heard = threading.Event()

    def listen(event: Event) -> None:
        if event.stage == "train" and event.kind is EventKind.PROGRESS and not heard.is_set():
            heard.set()
            then(last(project))

    with Runs() as runs:
        return runs.make(order(project), listen)


def test_a_run_says_its_stages_and_its_ending(project: Project) -> None:
    """The record comes back whole, and each stage was told meanwhile."""
    project.feed(0, 70)
    heard: list[Event] = []
    with Runs() as runs:
        ending = runs.make(order(project), heard.append)
    assert (ending.status, ending.good, ending.retry) == (RunStatus.DEPLOYED, True, False)
    assert ending.record == last(project)
    assert ending.record.pid != os.getpid()
    assert ending.said == f"deployed: {last(project).sentence}"
    told = [event.stage for event in heard if event.kind is EventKind.FINISHED]
    assert told == [stage.name for stage in last(project).stages]


def test_a_broken_configuration_has_no_record_and_is_not_tried_again(project: Project) -> None:
    """What a person must change first is said, and said to be final."""
    (project.root / "rehone.toml").write_text("[train]\nfolds = 1\n")
    with Runs() as runs:
        ending = runs.make(order(project))
    assert (ending.status, ending.retry, ending.record) == (RunStatus.FAILED, False, None)
    assert "folds" in ending.sentence


def test_missing_data_may_be_tried_again(project: Project) -> None:
    """A source that cannot be read today may be there tomorrow."""
    with Runs() as runs:
        ending = runs.make(order(project))
    assert (ending.status, ending.good, ending.retry) == (RunStatus.FAILED, False, True)


def test_a_killed_run_is_closed_at_once_and_may_be_tried_again(project: Project) -> None:
    """As when memory runs out: the process is gone, its record says so, and whoever asked lives on."""
    ending = in_training(slow(project), lambda record: os.kill(record.pid, signal.SIGKILL))
    assert (ending.status, ending.good, ending.retry) == (RunStatus.FAILED, False, True)
    assert last(project).status is RunStatus.FAILED
    assert ending.sentence == last(project).sentence
    assert ending.sentence.startswith(f"killed: process {last(project).pid} on ")


KILLED_AT_ITS_END = """
import os, signal
from rehone.runlog import RunLog
finish = RunLog.finish
RunLog.finish = lambda self, record: (finish(self, record), os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_run_killed_after_its_verdict_is_not_made_again(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is closed, and only the process could not say so: what the record says counts."""
    project.configure(gate={"min_roc_auc": 0.999})
    project.feed(0, 70)
    room = tmp_path_factory.mktemp("room")
    (room / "sitecustomize.py").write_text(KILLED_AT_ITS_END)
    monkeypatch.setenv("PYTHONPATH", str(room))
    with Runs() as runs:
        ending = runs.make(order(project))
    assert (ending.status, ending.retry) == (RunStatus.REJECTED, False)
    assert ending.record == last(project)


@pytest.mark.soak
def test_more_than_one_sigterm_does_not_break_the_closing_of_the_record(project: Project) -> None:
    """An orchestrator, a service manager and a person may all ask a run to end."""

    def hail(record: RunRecord) -> None:
        with contextlib.suppress(ProcessLookupError):
            for _ in range(500):
                os.kill(record.pid, signal.SIGTERM)
                time.sleep(0.004)

    ending = in_training(slow(project), hail)
    assert ending.sentence == last(project).sentence
    assert "interrupted (SystemExit)" in last(project).sentence


@pytest.mark.soak
def test_whoever_is_interrupted_ends_its_run_first(project: Project) -> None:
    """The exception goes on only when the record is closed and no process is left."""

    def interrupt(_: RunRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_training(slow(project), interrupt)
    assert last(project).status is RunStatus.FAILED
    assert "interrupted" in last(project).sentence
    assert Store(project.root / "store").head() is None
    with pytest.raises(ProcessLookupError):
        os.kill(last(project).pid, 0)


@pytest.mark.soak
def test_a_run_that_does_not_end_when_asked_is_killed_and_closed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit that takes longer than anybody waits leaves no open record either."""
    monkeypatch.setattr(apart, "CLOSING_SECONDS", 0.0)

    def interrupt(_: RunRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_training(slow(project), interrupt)
    assert last(project).status is RunStatus.FAILED
    assert last(project).sentence.startswith("killed: ")


@pytest.mark.soak
def test_leaving_the_block_ends_the_runs_of_other_threads(project: Project) -> None:
    """A fleet that is cancelled ends every run, begins no other, and asks for no other try."""
    slow(project)
    training = threading.Event()
    endings: list[Ending] = []

    def listen(event: Event) -> None:
        if event.stage == "train" and event.kind is EventKind.PROGRESS:
            training.set()

    with Runs() as runs:
        thread = threading.Thread(target=lambda: endings.append(runs.make(order(project), listen)))
        thread.start()
        assert training.wait(60)
    thread.join(60)
    (ending,) = endings
    assert (ending.status, ending.retry) == (RunStatus.FAILED, False)
    assert "interrupted" in last(project).sentence
    assert runs.make(order(project)).sentence == "not begun: whoever asked for it was stopped"


def test_a_run_does_not_outlive_whoever_is_killed(project: Project) -> None:
    """The parent is gone without a word; the run stops itself and closes its record."""
    slow(project)
    code = f"from rehone.integrations.apart import Order, Runs; Runs().make(Order(project={str(project.root)!r}, as_of={order(project).as_of!r}))"
    parent = subprocess.Popen([sys.executable, "-c", code])
    log = RunLog(project.root / "runs")
    until(lambda: (found := log.last()) and any(stage.name == "validate" for stage in found.stages))
    parent.kill()
    parent.wait()
    until(lambda: last(project).status)
    assert last(project).status is RunStatus.FAILED
    assert last(project).sentence.startswith("interrupted (SystemExit)")


def until(reached: Callable[[], object]) -> None:
    limit = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_record_is_laid_out_as_rows_and_as_a_page(live: Project) -> None:
    """Every stage and check has a row; what was not measured is empty, never a number."""
    live.feed(70, 72)
    record = live.run(72)
    rows = pages.rows(record)
    assert [row["name"] for row in rows if row["part"] == "stage"] == ["look", "decide"]
    assert record.trigger is not None
    unknown = {check.label for check in record.trigger.checks if check.value is None}
    assert unknown
    assert {row["name"] for row in rows if row["part"] == "trigger" and row["value"] == ""} == unknown
    page = pages.markdown(record, "file:///there.json")
    assert page.startswith(f"# story: skipped\n\n{record.sentence}\n")
    assert page.count("\n|") == len(rows) + 2
    assert all(line.replace("\\|", "").count("|") == 8 for line in page.splitlines() if line.startswith("| "))

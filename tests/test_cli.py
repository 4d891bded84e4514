"""The command line: what is printed, where, and with which exit code."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import polars as pl
import pytest

from rehone.cli import endings, main
from rehone.cli.progress import Lines, Pace, listening, span
from rehone.cli.show import preview_lines, run_ending, version_lines
from rehone.cli.status import (
    doctor_lines,
    history_entry,
    history_lines,
    manual_lines,
    next_step,
    rollback_lines,
    status_lines,
)
from rehone.cli.story import run_lines
from rehone.cli.text import check_lines, clean, number, wrapped
from rehone.codec import decode
from rehone.config import Config, load_config
from rehone.errors import ConfigError, NotFound
from rehone.records import (
    CandidateResult,
    Check,
    CheckStatus,
    Contract,
    DataFile,
    DataWindow,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Draw,
    Estimate,
    Event,
    EventKind,
    Evidence,
    Feature,
    FeatureKind,
    FileDigest,
    Manifest,
    Metrics,
    ModelVersion,
    Outcome,
    Preview,
    Problem,
    ProjectStatus,
    Replica,
    RunRecord,
    RunStatus,
    Split,
    Stage,
    TriggerDecision,
    TriggerKind,
    Verdict,
    Window,
)
from rehone.report import again
from rehone.report.told import Told
from rehone.runlog.brief import brief

REHONE = str(Path(sys.executable).with_name("rehone"))
BIKES = Path(__file__).parents[1] / "examples" / "bike_high_demand" / "bike_high_demand.parquet"
NEW, OLD = "8f3a91c2b7d0" + "0" * 52, "1b2c3d4e5f60" + "1" * 52
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
RUN = "20260601T020000000000Z-a1b2c3"

OK = Check(name="psi", subject="amount", status=CheckStatus.OK, value=0.0412, limit=0.25, n=12_000, p_value=0.3)
ACTS = Check(
    name="psi",
    subject="country",
    status=CheckStatus.ACT,
    value=0.41,
    limit=0.25,
    n=12_000,
    p_value=1e-9,
    detail="PSI of country is 0.41, the limit is 0.25",
    remedy="look at what changed",
)
NOT_WORSE = Check(
    name="roc_auc_not_worse",
    status=CheckStatus.OK,
    value=0.0112,
    limit=-0.02,
    baseline=0.9001,
    interval=(-0.0041, 0.0265),
    n=1812,
    positives=312,
    positives_needed=95,
)


def _record(**facts: object) -> RunRecord:
    base = RunRecord(
        run_id=RUN,
        project="cards",
        as_of=JUNE,
        started_at=JUNE + timedelta(hours=2),
        finished_at=JUNE + timedelta(hours=2, seconds=12.34),
        status=RunStatus.DEPLOYED,
        sentence="version 8f3a91c2b7d0 is live: 2 replicas serve generation 4",
        seed=7,
        host="ml-1",
        pid=4711,
        rehone_version="0.1.0",
        git_commit="0123456789abcdef0123456789abcdef01234567",
        config_sha256="c0ffee" + "0" * 58,
        config=Config().as_json(),
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def _whole() -> RunRecord:
    window = Window(JUNE - timedelta(days=90), JUNE)
    lgbm = CandidateResult(
        name="lightgbm",
        estimator="lightgbm",
        params={"n_estimators": 200},
        window="all",
        rows=40_000,
        cv_roc_auc_mean=0.91234,
        cv_roc_auc_std=0.0041,
        fold_roc_auc=(0.91, 0.92),
        fit_seconds=1.5,
        winner=True,
    )
    broken = CandidateResult(
        name="mine", estimator="my.Model", params={}, window="trailing", rows=9_000, error="ValueError: no such solver"
    )
    return _record(
        stages=(Stage(name="look", sentence="champion 1b2c3d4e5f60 is 31 days old", seconds=0.21),),
        evidence=Evidence(as_of=JUNE, champion=OLD, forced=True),
        trigger=TriggerDecision(kind=TriggerKind.DRIFT, reason="country has drifted", checks=(ACTS, OK)),
        data=DataWindow(
            source="data/*.parquet",
            window=window,
            rows=45_000,
            positives=5_210,
            sha256="d" * 64,
            files=(DataFile(path="data/a.parquet", sha256="a" * 64, bytes=10, rows=45_000),),
        ),
        split=Split(
            train=Window(window.start, JUNE - timedelta(days=18)),
            holdout=Window(JUNE - timedelta(days=18), JUNE),
            train_rows=36_000,
            train_positives=4_100,
            holdout_rows=9_000,
            holdout_positives=1_110,
        ),
        candidates=(lgbm, broken),
        winner=lgbm,
        champion=OLD,
        verdict=Verdict(
            outcome=Outcome.PASS,
            reason="not worse than the champion",
            checks=(NOT_WORSE,),
            challenger=Metrics(n=9_000, positives=1_110, roc_auc=0.9113, recall=0.71, threshold=0.2),
            champion=Metrics(n=9_000, positives=1_110, roc_auc=0.9001, recall=0.7, threshold=0.3),
            weak_evidence=True,
        ),
        version=NEW,
        deployment=_live(),
        deployment_checks=(Check(name="replica", subject="ml-1-99", status=CheckStatus.OK, value=4, limit=4),),
    )


def _live(**facts: object) -> Deployment:
    base = Deployment(
        generation=4,
        version=NEW,
        action=DeploymentAction.CONFIRM,
        state=DeploymentState.CONFIRMED,
        at=JUNE + timedelta(hours=2),
        as_of=JUNE,
        actor="cron@ml-1",
        run_id=RUN,
        reason="country has drifted",
        previous=OLD,
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def _version() -> ModelVersion:
    contract = Contract(
        features=(
            Feature(name="amount", kind=FeatureKind.NUMERIC),
            Feature(name="country", kind=FeatureKind.CATEGORICAL, categories=("DE", "FR")),
        ),
        label="label",
    )
    manifest = Manifest(
        project="cards",
        run_id=RUN,
        created_at=JUNE + timedelta(hours=2),
        as_of=JUNE,
        estimator="lightgbm",
        params={"n_estimators": 200},
        window_policy="all",
        contract=contract,
        threshold=0.2,
        train_window=Window(JUNE - timedelta(days=90), JUNE - timedelta(days=18)),
        train_end=JUNE - timedelta(days=18, seconds=1),
        train_rows=36_000,
        train_positives=4_100,
        data_sha256="d" * 64,
        requires={"scikit-learn": "1.6.0"},
        files={"model.skops": FileDigest(sha256="e" * 64, bytes=123_456)},
    )
    return ModelVersion(id=NEW, manifest=manifest)


def _replica(**facts: object) -> Replica:
    base = Replica(name="ml-1-99", host="ml-1", pid=99, url="http://127.0.0.1:8000", at=JUNE, generation=4, version=NEW)
    return replace(base, **facts)  # type: ignore[arg-type]


def _plain(lines: list[str]) -> list[str]:
    return [click.unstyle(line) for line in lines]


# --- speed and shape ---------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from rehone.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'sklearn', 'scipy', 'lightgbm', 'polars', 'rich', 'numpy', 'pydantic', 'uvicorn', 'skops', 'msgspec'}; "
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules)))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- exit codes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RunStatus.SKIPPED, 0),
        (RunStatus.DEPLOYED, 0),
        (RunStatus.FAILED, 2),
        (RunStatus.REJECTED, 3),
        (RunStatus.INCONCLUSIVE, 3),
        (RunStatus.ROLLED_BACK, 3),
    ],
)
def test_each_ending_of_a_run_has_its_exit_code(status: RunStatus, code: int) -> None:
    assert endings.of_run(_record(status=status)) == code


@pytest.mark.parametrize(
    ("kind", "code"), [("DataError", 2), ("rehone.errors.Corrupt", 2), ("ValueError", 1), ("KeyboardInterrupt", 1)]
)
def test_a_run_that_failed_for_a_reason_nobody_planned_is_a_bug(kind: str, code: int) -> None:
    record = _record(status=RunStatus.FAILED, problem=Problem(type=kind, message="x"))
    assert endings.of_run(record) == code


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    from rehone import api

    def status(_project: str) -> ProjectStatus:
        raise error

    monkeypatch.setattr(api, "status", status)


def test_an_error_of_ours_is_its_own_message_and_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raising(monkeypatch, NotFound("no version starts with 'zz'"))
    assert main(["status"]) == 2
    assert capsys.readouterr() == ("", "no version starts with 'zz'\n")


def test_a_bug_is_one_line_that_asks_for_a_report_and_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raising(monkeypatch, KeyError("depth"))
    assert main(["status"]) == 1
    assert capsys.readouterr() == (
        "",
        "This is a bug in Rehone (KeyError: 'depth'): run it again as `rehone --debug ...` for the traceback and please report it.\n",
    )


def test_debug_shows_the_traceback_of_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raising(monkeypatch, KeyError("depth"))
    assert main(["--debug", "status"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Traceback (most recent call last):"
    assert said[-1] == "This is a bug in Rehone (KeyError: 'depth'): please report it."


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(KeyboardInterrupt(), 130, "Interrupted"), (endings.Terminated(), 143, "Stopped by SIGTERM")],
)
def test_a_stopped_command_says_that_what_is_live_is_whole(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    _raising(monkeypatch, error)
    assert main(["status"]) == code
    assert capsys.readouterr().err.strip().endswith(f"{said}: what is live is whole, and `rehone status` shows it.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--as-of", "soon"], "'soon' is not a date: write 2026-08-31, or 2026-08-31T14:00+02:00 for a moment"),
        (["--wrong"], "No such option '--wrong'. Did you mean '--json'?"),
    ],
)
def test_a_wrong_command_line_is_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["run", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(said)


def test_every_problem_of_the_configuration_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rehone.toml").write_text("[data]\nlable = 'x'\n[gate]\nmin_recall = 2\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert main(["run", "-p", str(tmp_path)]) == 2
    assert capsys.readouterr() == ("", f"{caught.value}\n")
    assert len(caught.value.problems) == 2


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    code = "from rehone.cli import main; import sys; sys.exit(main(['run', '--help']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        said = child.stderr.read()
    assert (child.returncode, said) == (0, b"")


# --- while a run is under way -----------------------------------------------------------


def test_away_from_a_terminal_each_stage_is_one_sentence_in_80_columns() -> None:
    out, now = io.StringIO(), iter([0.0, 0.0, 5.0, 11.0, 12.0])
    listen = Lines(out, lambda: next(now))
    long = "2 estimators on 2 windows in 5 folds: the winner is lightgbm on all history with ROC-AUC 0.912"
    listen(Event(kind=EventKind.STARTED, stage="train"))
    listen(Event(kind=EventKind.PROGRESS, stage="train", done=5, total=20, sentence="lightgbm"))
    listen(Event(kind=EventKind.PROGRESS, stage="train", done=10, total=20, sentence="lightgbm"))
    listen(Event(kind=EventKind.FINISHED, stage="train", sentence=long))
    assert out.getvalue().splitlines() == [
        "train       10 of 20, about 12 s left: lightgbm",
        "train       2 estimators on 2 windows in 5 folds: the winner is lightgbm on all",
        "            history with ROC-AUC 0.912",
    ]


def test_time_left_is_not_that_of_the_first_step_which_waits_for_libraries() -> None:
    pace = Pace()
    assert pace.left(1, 10, now=100.0) is None
    assert pace.left(2, 10, now=104.0) == 32.0
    assert pace.left(4, 10, now=110.0) == 20.0
    assert pace.left(10, 10, now=130.0) == 0.0


def test_work_that_counts_anew_is_timed_anew_and_work_without_an_end_has_no_time_left() -> None:
    pace = Pace()
    pace.left(1, 10, now=0.0)
    pace.left(9, 10, now=9.0)
    assert pace.left(1, 40, now=9.0) is None
    assert pace.left(2, 40, now=10.0) == 38.0
    assert pace.left(3, 0, now=11.0) is None


def test_a_time_is_written_in_the_unit_that_people_would_use() -> None:
    assert [span(s) for s in (40, 89, 90, 5399, 5400, 9000)] == ["40 s", "89 s", "2 min", "90 min", "1.5 h", "2.5 h"]


def test_quiet_gives_nobody_to_listen() -> None:
    with listening(quiet=True, to_stderr=False) as listen:
        assert listen is None


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_what_a_stage_said_stays_and_the_bar_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    out = _Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    with listening(quiet=False, to_stderr=False) as listen:
        assert listen is not None
        listen(Event(kind=EventKind.STARTED, stage="train"))
        listen(Event(kind=EventKind.PROGRESS, stage="train", done=3, total=20, sentence="lightgbm"))
        listen(Event(kind=EventKind.FINISHED, stage="train", sentence="the winner is [bold]lightgbm[/bold]"))
    assert "train       the winner is [bold]lightgbm[/bold]" in out.getvalue()


# --- the pieces ---------------------------------------------------------------------------


def test_a_check_that_is_well_is_one_line_of_numbers() -> None:
    assert _plain(check_lines(NOT_WORSE, 80)) == [
        "  ok       roc_auc_not_worse: 0.0112, limit -0.02, baseline 0.9, interval",
        "           -0.0041..0.0265, n 1,812, positives 312, positives needed 95",
    ]


def test_a_check_that_is_well_only_because_it_is_ignored_says_so() -> None:
    drifted = replace(OK, value=6.079, detail="PSI of amount is 6.08, ignored: listed in trigger.ignore")
    assert _plain(check_lines(drifted, 80)) == [
        "  ok       psi(amount): 6.079, limit 0.25, p 0.3, n 12,000",
        "           PSI of amount is 6.08, ignored: listed in trigger.ignore",
    ]


def test_a_check_that_acts_says_what_was_found_and_what_to_do() -> None:
    assert _plain(check_lines(ACTS, 80)) == [
        "  act      psi(country): 0.41, limit 0.25, p 1e-09, n 12,000",
        "           PSI of country is 0.41, the limit is 0.25: look at what changed",
    ]


def test_what_was_not_measured_is_a_dash_and_never_a_number() -> None:
    assert number(None) == "-"


def test_a_name_from_the_data_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[31mb\x07") == "a?[31mb?"


# --- run ------------------------------------------------------------------------------------


def test_the_ending_of_a_run_names_it_and_where_its_story_is() -> None:
    assert _plain(run_ending(_record(), ".", quiet=False, width=80)) == [
        "deployed: version 8f3a91c2b7d0 is live: 2 replicas serve generation 4",
        f"`rehone show {RUN}` tells the whole story.",
    ]


def test_what_the_last_stage_has_said_is_not_said_twice() -> None:
    record = _record(stages=(Stage(name="deploy", sentence=_record().sentence, seconds=1.0),))
    assert _plain(run_ending(record, "my cards", quiet=False, width=90)) == [
        "deployed",
        f"`rehone show {RUN} -p 'my cards'` tells the whole story.",
    ]
    assert _plain(run_ending(record, "my cards", quiet=True, width=80)) == [
        "deployed: version 8f3a91c2b7d0 is live: 2 replicas serve generation 4"
    ]


def test_a_run_that_a_bug_ended_asks_for_a_report() -> None:
    record = _record(
        status=RunStatus.FAILED,
        sentence="unexpected KeyError: 'x'",
        problem=Problem(type="KeyError", message="'x'", traceback="Traceback"),
    )
    assert _plain(run_ending(record, ".", quiet=False, width=80)) == [
        "failed: unexpected KeyError: 'x'",
        "This is a bug in Rehone: please report it with what this command prints:",
        f"  rehone show {RUN}",
    ]


@pytest.mark.parametrize("debug", [False, True])
def test_a_log_event_is_one_line_unless_debugging(capsys: pytest.CaptureFixture[str], debug: bool) -> None:
    endings.log_to_stderr(debug=debug)
    try:
        {}["x"]
    except KeyError:
        logging.getLogger("rehone.pipeline.story").exception("run ended unexpectedly", extra={"run_id": RUN})
    finally:
        endings.log_to_stderr(debug=False)
        logging.getLogger("rehone").setLevel(logging.NOTSET)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"error: run ended unexpectedly (run {RUN})"
    assert (said[-1] == "KeyError: 'x'", len(said) > 1) == (debug, debug)


def test_the_story_of_a_run_names_every_stage_check_candidate_and_digest() -> None:
    assert _plain(run_lines(Told(record=_whole()), ".", width=80)) == [
        f"Run {RUN}: deployed",
        "  version 8f3a91c2b7d0 is live: 2 replicas serve generation 4",
        "  as of       2026-06-01",
        "  started     2026-06-01 02:00 UTC, took 12.3 s, on ml-1 (process 4711)",
        "  project     cards, Rehone 0.1.0, git 0123456789abcdef0123456789abcdef01234567",
        "  config      sha256 c0ffee000000, seed 7",
        "  trigger     drift: country has drifted",
        "  champion    1b2c3d4e5f60",
        "  data        data/*.parquet, 2026-03-03..2026-06-01, 45,000 rows, 5,210",
        "              positives, 1 file",
        f"  digest      {'d' * 64}",
        "  train       2026-03-03..2026-05-14, 36,000 rows, 4,100 positives",
        "  holdout     2026-05-14..2026-06-01, 9,000 rows, 1,110 positives",
        f"  version     {NEW}",
        "  deployment  generation 4: confirm of 8f3a91c2b7d0, confirmed",
        "",
        "Stages",
        "  look        0.2 s: champion 1b2c3d4e5f60 is 31 days old",
        "",
        "Trigger checks",
        "  act      psi(country): 0.41, limit 0.25, p 1e-09, n 12,000",
        "           PSI of country is 0.41, the limit is 0.25: look at what changed",
        "  ok       psi(amount): 0.0412, limit 0.25, p 0.3, n 12,000",
        "",
        "Candidates (cross-validated; * is the winner)",
        "     candidate  window      rows  ROC-AUC     std  seconds",
        "  *  lightgbm   all       40,000   0.9123  0.0041      1.5",
        "     mine       trailing   9,000   failed       -        -",
        "  * lightgbm(n_estimators=200); folds 0.9100, 0.9200",
        "  mine, trailing: ValueError: no such solver",
        "",
        "Verdict: pass (weak evidence)",
        "  not worse than the champion",
        "  on the holdout     challenger  champion",
        "  ROC-AUC                0.9113    0.9001",
        "  average precision           -         -",
        "  recall                 0.7100    0.7000",
        "  precision                   -         -",
        "  cost per 1,000              -         -",
        "  Brier score                 -         -",
        "  threshold              0.2000    0.3000",
        "  rows                    9,000     9,000",
        "  positives               1,110     1,110",
        "",
        "Gate checks",
        "  ok       roc_auc_not_worse: 0.0112, limit -0.02, baseline 0.9, interval",
        "           -0.0041..0.0265, n 1,812, positives 312, positives needed 95",
        "",
        "Deployment checks",
        "  ok       replica(ml-1-99): 4, limit 4",
        "",
        "Prove it",
        f"  rehone replay {RUN}",
        "  Decides it again from what it recorded, and judges it again while what its",
        "  gate was given is kept; reads no data, trains nothing, and compares byte for",
        "  byte.",
        "",
        "Repeat it",
        "  rehone run --as-of 2026-06-01 --force",
        "  Files, configuration and live version being the same, it learns from the same",
        "  rows; but every run before it, this one too, counts towards the cooldown, the",
        "  budget of trainings and the uses of the holdout.",
    ]


def test_the_story_of_a_run_on_a_sample_says_what_was_drawn() -> None:
    """It has a line of its own: the sample is also of rows older than the window that `train` counts."""
    split = _whole().split
    assert split is not None
    drawn = Draw(positives=7_000, negatives=20_000, of=65_000, weight=3.25)
    lines = _plain(run_lines(Told(record=_record(split=replace(split, drawn=drawn))), ".", width=80))
    at = next(n for n, line in enumerate(lines) if line.startswith("  train"))
    assert lines[at : at + 4] == [
        "  train       2026-03-03..2026-05-14, 36,000 rows, 4,100 positives",
        "  drawn       all 7,000 positives and 20,000 of 65,000 negatives, each weighing",
        "              3.25",
        "  holdout     2026-05-14..2026-06-01, 9,000 rows, 1,110 positives",
    ]


def test_the_repeating_command_writes_the_day_of_the_projects_own_zone() -> None:
    config = {**Config().as_json(), "data": {"timezone": "Europe/Paris"}}
    paris = _record(config=config, as_of=datetime(2026, 5, 31, 22, tzinfo=UTC))
    assert again.repeat(paris, ".") == "rehone run --as-of 2026-06-01"
    moment = _record(as_of=datetime(2026, 6, 1, 2, 0, 0, 5, tzinfo=UTC))
    assert again.repeat(moment, "cards") == "rehone run --as-of 2026-06-01T02:00:00.000005Z -p cards"


def test_the_score_on_the_newest_rows_stands_beside_the_folds_and_fits_80_columns() -> None:
    record = _whole()
    lgbm, broken = record.candidates
    ranked = replace(lgbm, name="a name that is far too long for its column", newest_roc_auc=0.8765)
    lines = _plain(run_lines(Told(record=replace(record, candidates=(ranked, broken))), ".", width=80))
    head = next(line for line in lines if "candidate " in line and "std" in line)
    row = next(line for line in lines if line.startswith("  *  a name"))
    assert head.split()[-2:] == ["newest", "seconds"]
    assert row.split()[-2:] == ["0.8765", "1.5"]
    assert max(len(line) for line in (head, row)) <= 80


def test_a_run_that_was_ended_by_a_bug_shows_the_traceback() -> None:
    problem = Problem(type="KeyError", message="'x'", traceback="Traceback (most recent call last):\n  line 1\n")
    lines = _plain(run_lines(Told(record=_record(status=RunStatus.FAILED, problem=problem)), ".", width=80))
    at = lines.index("Problem")
    assert lines[at + 1 : at + 4] == ["  KeyError: 'x'", "  Traceback (most recent call last):", "    line 1"]


def test_the_facts_of_a_version_end_with_how_to_put_it_back() -> None:
    assert _plain(version_lines(_version(), ".", width=80)) == [
        "Version 8f3a91c2b7d0",
        f"  id          {NEW}",
        "  project     cards",
        "  made        2026-06-01 02:00 UTC, as of 2026-06-01, by run",
        f"              {RUN}",
        "  model       lightgbm(n_estimators=200), window 'all'",
        "  threshold   0.2",
        "  trained on  2026-03-03..2026-05-14, 36,000 rows, 4,100 positives; newest row",
        "              2026-05-13T23:59:59Z",
        f"  digest      {'d' * 64}",
        "  label       label",
        "  requires    scikit-learn 1.6.0",
        "",
        "Features (2)",
        "  amount      numeric",
        "  country     categorical, 2 values: DE, FR",
        "",
        "Files",
        "  file           bytes  sha256",
        "  model.skops  123,456  eeeeeeeeeeeeeeee",
        "",
        "Put it back",
        "  rehone rollback --to 8f3a91c2b7d0",
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_every_page_fits_the_width(width: int) -> None:
    pages = [
        run_lines(Told(record=_whole()), ".", width=max(width, 80)),
        version_lines(_version(), ".", width=max(width, 80)),
        status_lines(_status(), ".", width=max(width, 80), now=JUNE),
        history_lines([brief(_whole()), brief(_record(status=RunStatus.INCONCLUSIVE))], ".", width=max(width, 80)),
        preview_lines(_preview(), max(width, 80)),
    ]
    assert [line for page in pages for line in _plain(page) if len(line) > max(width, 80)] == []


# --- check, status, history, rollback, doctor ---------------------------------------------------


def _preview() -> Preview:
    return Preview(
        project="cards",
        as_of=JUNE,
        champion=NEW,
        would_train=True,
        sentence="country has drifted",
        evidence=Evidence(as_of=JUNE, champion=NEW, window=Window(JUNE - timedelta(days=30), JUNE), rows=12_000),
        trigger=TriggerDecision(kind=TriggerKind.DRIFT, reason="country has drifted", checks=(ACTS, OK)),
    )


def test_check_answers_first_and_lists_every_check() -> None:
    assert _plain(preview_lines(_preview(), 80)) == [
        "would retrain: country has drifted",
        "  as of       2026-06-01",
        "  champion    8f3a91c2b7d0",
        "  window      2026-05-02..2026-06-01, 12,000 rows",
        "",
        "Trigger",
        "  act      psi(country): 0.41, limit 0.25, p 1e-09, n 12,000",
        "           PSI of country is 0.41, the limit is 0.25: look at what changed",
        "  ok       psi(amount): 0.0412, limit 0.25, p 0.3, n 12,000",
    ]


def _status(**facts: object) -> ProjectStatus:
    base = ProjectStatus(
        project="cards",
        deployment=_live(),
        version=_version(),
        replicas=(_replica(), _replica(name="ml-2-7", generation=3, version=OLD)),
        last_run=_record(),
        runs={"deployed": 2, "rolled_back": 1},
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def test_status_says_what_is_live_since_when_and_by_whom() -> None:
    assert _plain(status_lines(_status(), ".", width=80, now=JUNE + timedelta(days=3))) == [
        "cards",
        "  live        8f3a91c2b7d0 since 2026-06-01 02:00 UTC, by cron@ml-1, generation",
        "              4 (confirm, confirmed)",
        "  because     country has drifted",
        "  model       lightgbm, 36,000 rows of 2026-03-03..2026-05-14",
        "  age         3.0 days",
        "  replicas    ml-1-99 at http://127.0.0.1:8000 serves it",
        "              ml-2-7 at http://127.0.0.1:8000 serves 1b2c3d4e5f60 (generation 3)",
        "  last run    deployed on 2026-06-01 02:00 UTC, as of 2026-06-01: version",
        "              8f3a91c2b7d0 is live: 2 replicas serve generation 4",
        f"              {RUN}",
        "  runs        2 deployed, 1 rolled back",
        "  next        `rehone check` says whether a run would retrain",
    ]


def test_status_says_how_what_is_live_did_on_labels_that_came_due_where_the_last_run_looked_at_it() -> None:
    ranked = Estimate(value=0.912, low=0.9, high=0.924, n=1_812, positives=312)
    seen = Evidence(as_of=JUNE, champion=NEW, roc_auc=ranked, recall=replace(ranked, value=0.7, low=0.65, high=0.75))
    lines = _plain(status_lines(_status(last_run=_record(evidence=seen)), ".", width=80, now=JUNE))
    assert lines[6:8] == [
        "  in use      ROC-AUC 0.912 (0.900 to 0.924), recall 0.700 (0.650 to 0.750) on",
        "              1,812 rows whose label was due on 2026-06-01",
    ]
    before = _status(last_run=_record(evidence=replace(seen, champion=OLD)))
    assert not any("in use" in line for line in status_lines(before, ".", width=80, now=JUNE))


def test_status_names_the_limit_that_what_is_live_misses_though_the_run_did_not_train() -> None:
    low = Estimate(value=0.117, low=0.023, high=0.211, n=718, positives=94)
    missed = Check(name="recall", status=CheckStatus.ACT, value=0.117, limit=0.7)
    dear = Check(name="cost_per_1000", status=CheckStatus.ACT, value=412.5, limit=250.0)
    last = _record(
        evidence=Evidence(as_of=JUNE, champion=NEW, recall=low),
        trigger=TriggerDecision(kind=None, reason="not now", checks=(ACTS, missed, dear)),
    )
    lines = _plain(status_lines(_status(last_run=last), ".", width=80, now=JUNE))
    assert lines[6:11] == [
        "  in use      recall 0.117 (0.023 to 0.211) on 718 rows whose label was due on",
        "              2026-06-01; beyond chance, recall 0.117 is below",
        "              trigger.min_recall 0.7, cost per 1,000 412.5 is above",
        "              trigger.max_cost_per_1000 250",
        "  replicas    ml-1-99 at http://127.0.0.1:8000 serves it",
    ]


def test_what_refused_one_challenger_after_the_other_begins_a_line_each() -> None:
    assert wrapped("recall 0.78: raise train.holdout | cost 311: raise gate.margin_cost", 40, indent=2) == [
        "  recall 0.78: raise train.holdout",
        "  | cost 311: raise gate.margin_cost",
    ]


def test_status_writes_days_where_the_newest_row_it_learned_from_is_of_an_hour() -> None:
    version = _version()
    window = Window(JUNE - timedelta(days=60), JUNE - timedelta(days=20, hours=1))
    made = replace(version, manifest=replace(version.manifest, train_window=window))
    lines = _plain(status_lines(_status(version=made), ".", width=80, now=JUNE))
    assert "  model       lightgbm, 36,000 rows of 2026-04-02..2026-05-11" in lines


def test_the_age_of_a_replayed_project_is_counted_to_the_replayed_day() -> None:
    replayed = _record(as_of=JUNE + timedelta(days=10), started_at=JUNE + timedelta(days=700))
    lines = _plain(status_lines(_status(last_run=replayed), ".", width=80, now=JUNE + timedelta(days=701)))
    assert "  age         10.0 days on 2026-06-11, the day the last run replayed" in lines


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        (
            {"problems": (replace(ACTS, name="champion"),)},
            "something is broken: `rehone doctor -p x`",
        ),
        (
            {
                "problems": (Check(name="run", status=CheckStatus.OK, detail="a run is under way"),),
                "deployment": _live(state=DeploymentState.TRIAL),
            },
            "wait for the end of the run, or stop it with Ctrl-C: what is live is whole all the time",
        ),
        (
            {"problems": (Check(name="run", status=CheckStatus.WARN, detail="a run was killed"),)},
            "the last run was killed: `rehone doctor -p x` ends what it left open, and so does the next run",
        ),
        (
            {"deployment": _live(state=DeploymentState.TRIAL)},
            "a trial is under way, or its run was killed: `rehone doctor -p x` ends it in that case",
        ),
        (
            {"last_run": _record(status=RunStatus.FAILED)},
            f"the last run failed: `rehone show {RUN} -p x` says why",
        ),
        ({"deployment": None, "version": None}, "`rehone run -p x` makes and deploys a first version"),
        (
            {"replicas": (_replica(refused_generation=4, refused_because="bad golden rows"),)},
            "ml-1-99 refused the live version: look at its log, or `rehone rollback -p x`",
        ),
        (
            {"replicas": (_replica(pinned=True, generation=None, refused_generation=4),)},
            "ml-1-99 follows no deployment while it is pinned: unpin it (DELETE /operator/pin at its address)",
        ),
        ({"replicas": ()}, "`rehone serve -p x` serves it; `rehone check -p x` says whether a run would retrain"),
    ],
)
def test_status_ends_with_the_one_thing_to_do_next(facts: dict[str, object], step: str) -> None:
    assert next_step(_status(**facts), "x") == step


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"version": OLD}, "ml-1-99 at http://127.0.0.1:8000 serves 1b2c3d4e5f60 (generation 4)"),
        (
            {"version": OLD, "generation": None, "pinned": True, "refused_generation": 4},
            "ml-1-99 at http://127.0.0.1:8000 is pinned to 1b2c3d4e5f60 by an operator",
        ),
        (
            {"generation": None, "pinned": True},
            "ml-1-99 at http://127.0.0.1:8000 is pinned to 8f3a91c2b7d0 by an operator, which is live",
        ),
    ],
)
def test_a_server_serves_it_only_when_generation_and_version_agree(facts: dict[str, object], said: str) -> None:
    lines = _plain(status_lines(_status(replicas=(_replica(**facts),)), ".", width=200, now=JUNE))
    assert f"  replicas    {said}" in lines


def test_status_of_a_lost_store_does_not_advise_a_first_version() -> None:
    lost = Check(name="store", status=CheckStatus.ACT, detail="there is no deployment log", remedy="restore the store")
    lines = _plain(status_lines(_status(deployment=None, version=None, problems=(lost,)), ".", width=80, now=JUNE))
    assert "  live        not known: the store is not there" in lines
    assert lines[-1] == "  next        put the store back, then `rehone doctor`"
    assert not any("never deployed" in line for line in lines)


def test_history_is_a_table_of_runs_oldest_first() -> None:
    skipped = _record(
        run_id="20260531T020000000000Z-000000",
        as_of=JUNE - timedelta(days=1),
        status=RunStatus.SKIPPED,
        trigger=TriggerDecision(kind=None, reason="nothing has changed"),
    )
    assert _plain(
        history_lines([*map(brief, (skipped, _whole(), replace(_record(), status=None)))], ".", width=80)
    ) == [
        "  run                            as of       ended      trigger  version",
        "  20260531T020000000000Z-000000  2026-05-31  skipped    -        -",
        "  20260601T020000000000Z-a1b2c3  2026-06-01  deployed   drift    8f3a91c",
        "  20260601T020000000000Z-a1b2c3  2026-06-01  not ended  -        -",
        "3 runs: 1 skipped, 1 deployed, 1 not ended.",
    ]


def test_history_of_a_project_without_runs_says_how_to_make_the_first() -> None:
    assert history_lines((), "x", width=80) == ["No runs yet: `rehone run -p x` makes the first."]


def test_deployments_that_no_run_made_stand_below_the_history() -> None:
    back = _live(
        generation=5, version=OLD, action=DeploymentAction.ROLLBACK, actor="ann@shop", run_id=None, reason="complaints"
    )
    nothing = replace(back, generation=6, version=None, reason="")
    assert _plain(manual_lines((_live(), back, nothing), width=80)) == [
        "",
        "Deployments that no run made",
        "  2026-06-01 02:00 UTC  generation 5, rollback to 1b2c3d4 by ann@shop:",
        "                        complaints",
        "  2026-06-01 02:00 UTC  generation 6, rollback to nothing by ann@shop: no reason",
        "                        given",
    ]
    assert manual_lines((_live(),), width=80) == []


def test_an_entry_of_the_json_history_has_the_promised_keys() -> None:
    entry = history_entry(brief(_whole()))
    promised = {name: entry[name] for name in ("run_id", "status", "trigger", "started_at")}
    assert promised == {
        "run_id": RUN,
        "status": "deployed",
        "trigger": "drift",
        "started_at": "2026-06-01T02:00:00Z",
    }
    quiet = history_entry(brief(_record(status=None, trigger=TriggerDecision(kind=None, reason=""))))
    assert (quiet["status"], quiet["trigger"]) == (None, None)


def test_a_rollback_says_what_is_live_again() -> None:
    back = _live(generation=5, version=OLD, action=DeploymentAction.ROLLBACK, previous=NEW)
    assert rollback_lines(back, 80) == [
        "rolled back: version 1b2c3d4e5f60 is live again (generation 5; before:",
        "  8f3a91c2b7d0)",
    ]
    assert rollback_lines(replace(back, version=None, previous=None), 80) == [
        "rolled back: nothing is served now (generation 5)"
    ]


def test_the_doctor_ends_with_how_many_things_need_a_person() -> None:
    assert _plain(doctor_lines((ACTS, OK), 80))[-1] == "1 thing needs a person: see the remedies above."
    assert _plain(doctor_lines((OK,), 80))[-1] == "Nothing needs a person."


# --- the real thing, on real data ---------------------------------------------------------------


def _process(*arguments: str | Path) -> str:
    """Run the real command in a process of its own, which must end well, and return its output."""
    done = subprocess.run([REHONE, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    stdout: str
    stderr: str


def _rehone(*arguments: str | Path, code: int = 0) -> Said:
    """Run a command in this process, which spares it a second of imports."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        returned = main([str(argument) for argument in arguments])
    assert returned == code, out.getvalue() + err.getvalue()
    return Said(out.getvalue(), err.getvalue())


def _quick(folder: Path) -> None:
    file = folder / "rehone.toml"
    text = file.read_text()
    for key, value in (("candidates", '["lightgbm"]'), ("windows", '["trailing"]'), ("folds", "2")):
        text = re.sub(rf"^# {key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    file.write_text(text)


@pytest.fixture(scope="module")
def bikes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project on the real rentals, as `init` makes it, with one deployed version."""
    folder = tmp_path_factory.mktemp("bikes")
    (folder / BIKES.name).write_bytes(BIKES.read_bytes())
    _rehone("init", folder)
    _quick(folder)
    said = _process("run", "-p", folder, "--as-of", "2011-07-01")
    stages = [line.split()[0].strip(":") for line in said.splitlines() if not line.startswith((" ", "`"))]
    assert stages == ["look", "decide", "validate", "train", "judge", "publish", "deploy", "deployed"]
    assert "\x1b" not in said
    assert [line for line in said.splitlines() if len(line) > 80 and "rehone show" not in line] == []
    return folder


def test_history_and_show_as_json_give_the_records_and_nothing_else(bikes: Path) -> None:
    runs = json.loads(_process("history", "-p", bikes, "--json"))
    assert [(run["status"], run["trigger"]) for run in runs[:1]] == [("deployed", "bootstrap")]
    shown = _rehone("show", runs[0]["run_id"], "-p", bikes, "--json").stdout
    record = decode(shown.encode(), RunRecord, source="stdout")
    assert (record.run_id, record.status, record.version) == (runs[0]["run_id"], "deployed", runs[0]["version"])
    version = json.loads(_rehone("show", runs[0]["version"][:10], "-p", bikes, "--json").stdout)
    assert version["manifest"]["run_id"] == runs[0]["run_id"]


def test_show_tells_the_story_of_a_run_and_the_command_that_repeats_it(bikes: Path) -> None:
    run = json.loads(_rehone("history", "-p", bikes, "--json").stdout)[0]["run_id"]
    story = _rehone("show", run, "-p", bikes).stdout
    assert f"  rehone run --as-of 2011-07-01 -p {bikes}\n" in story
    headings = [line for line in story.splitlines() if line and not line.startswith(" ")]
    assert headings == [
        f"Run {run}: deployed",
        "Stages",
        "Trigger checks",
        "Data checks",
        "Candidates (cross-validated; * is the winner)",
        "Verdict: pass",
        "Gate checks",
        "Threshold and cost",
        "Importance (ROC-AUC lost on the holdout when a feature is shuffled)",
        "Deployment checks",
        "Deployments",
        "Prove it",
        "Repeat it",
    ]


def test_check_changes_nothing_and_its_json_is_all_there_is(bikes: Path) -> None:
    before = sorted(p for p in bikes.rglob("*") if ".rehone-cache" not in p.parts)
    preview = json.loads(_rehone("check", "-p", bikes, "--as-of", "2011-07-20", "--json").stdout)
    assert (preview["would_train"], preview["trigger"]["kind"]) == (True, "drift")
    assert sorted(p for p in bikes.rglob("*") if ".rehone-cache" not in p.parts) == before


def test_a_run_as_json_keeps_its_stages_off_stdout(bikes: Path) -> None:
    done = _rehone("run", "-p", bikes, "--as-of", "2011-07-01T12:00", "--json")
    assert decode(done.stdout.encode(), RunRecord, source="stdout").status is RunStatus.SKIPPED
    assert [line.split()[0] for line in done.stderr.splitlines() if not line.startswith(" ")][:2] == ["look", "decide"]


def test_a_quiet_run_is_one_sentence(bikes: Path) -> None:
    said = _rehone("run", "-p", bikes, "--as-of", "2011-07-01T12:00", "--quiet").stdout
    assert said.startswith("skipped: ")
    assert "rehone show" not in said


def test_status_and_doctor_agree_that_all_is_well(bikes: Path) -> None:
    status = json.loads(_rehone("status", "-p", bikes, "--json").stdout)
    assert (status["deployment"]["generation"], status["deployment"]["state"]) == (1, "confirmed")
    assert _rehone("status", "-p", bikes).stdout.startswith(status["project"])
    assert {check["status"] for check in json.loads(_rehone("doctor", "-p", bikes, "--json").stdout)} == {"ok"}
    assert _rehone("doctor", "-p", bikes, "--dry-run").stdout.endswith("Nothing needs a person.\n")


def test_what_cannot_be_done_is_a_sentence_on_stderr_and_code_2(bikes: Path) -> None:
    done = _rehone("rollback", "-p", bikes, code=2)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    done = _rehone("show", "zz", "-p", bikes, code=2)
    assert done.stderr == "no run and no version starts with 'zz': `rehone history` lists runs\n"


def test_a_rollback_puts_the_other_version_back(bikes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bikes, copy, symlinks=True)
    first = json.loads(_rehone("status", "-p", copy, "--json").stdout)["deployment"]["version"]
    assert _rehone("rollback", "-p", copy, "--to", "none", "--because", "a drill").stdout.startswith(
        "rolled back: nothing is served now (generation 2"
    )
    back = json.loads(_rehone("rollback", "-p", copy, "--to", first[:8], "--json").stdout)
    assert (back["version"], back["action"], back["generation"]) == (first, "rollback", 3)
    said = _rehone("history", "-p", copy).stdout
    assert re.search(r"\nDeployments that no run made\n  .* UTC +generation 2, rollback to nothing by ", said)
    assert ": a drill " in " ".join(said.split())
    assert f"generation 3, rollback to {first[:7]} by " in said
    assert {"run_id", "status"} <= set(json.loads(_rehone("history", "-p", copy, "--json").stdout)[0])


def _stopped(folder: Path, sign: signal.Signals) -> tuple[int, str]:
    """Start a slow run, stop it while it trains, and return its exit code and what it said on stderr."""
    with subprocess.Popen(
        [REHONE, "run", "-p", str(folder), "--as-of", "2012-06-01", "--force"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            if line.startswith("validate"):
                break
        child.send_signal(sign)
        said = child.stderr.read()
        child.stdout.read()
    return child.returncode, said


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_leaves_a_closed_record_and_production_untouched(
    bikes: Path, tmp_path: Path, sign: signal.Signals, code: int
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bikes, copy, symlinks=True)
    file = copy / "rehone.toml"
    slow = 'candidates = [{ class = "gradient_boosting", params = { n_estimators = 400 } }]'
    file.write_text(re.sub(r"^candidates = .*$", slow, file.read_text(), flags=re.MULTILINE))
    before = json.loads(_rehone("status", "-p", copy, "--json").stdout)["deployment"]
    returned, said = _stopped(copy, sign)
    assert returned == code, said
    assert said.strip().endswith("what is live is whole, and `rehone status` shows it.")
    after = json.loads(_rehone("status", "-p", copy, "--json").stdout)
    assert (after["deployment"], after["last_run"]["status"]) == (before, "failed")


def test_serve_says_where_it_listens_and_ends_well_when_stopped(bikes: Path) -> None:
    with subprocess.Popen(
        [REHONE, "serve", "-p", str(bikes), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        url = child.stdout.readline().removeprefix("serving at ").strip()
        health = _health(url)
        child.terminate()
    assert (health["model_loaded"], health["generation"]) == (True, 1)
    assert child.returncode == 0


def _health(url: str) -> dict[str, object]:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                found: dict[str, object] = json.loads(answer.read())
            if found["model_loaded"]:
                return found
        except (urllib.error.HTTPError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"{url} never had a model")


def test_nothing_is_asked_and_nothing_is_coloured_where_there_is_no_terminal(bikes: Path) -> None:
    for command in ("status", "doctor"):
        assert "\x1b" not in _process(command, "-p", bikes)


def test_a_reader_that_has_seen_enough_does_not_change_the_exit_code(tmp_path: Path) -> None:
    """`rehone check | true` still ends with 2 when the data cannot be trained on."""
    (tmp_path / "data").mkdir()
    pl.DataFrame({"at": ["2026-01-01T00:00:00"], "a": [1.0]}).write_parquet(tmp_path / "data" / "2026-01-01.parquet")
    (tmp_path / "rehone.toml").write_text('[data]\nlabel = "no_such_label"\n')
    command = [Path(sys.executable).with_name("rehone"), "check", "-p", tmp_path, "--as-of", "2026-01-02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 2


def test_a_false_warning_of_scikit_learn_about_threads_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when another thread has emptied the filters for a moment; other warnings stay."""
    import sys
    import warnings

    def shown(message: Warning | str, *_: object) -> None:
        print(message, file=sys.stderr)

    monkeypatch.setattr(warnings, "showwarning", shown)
    endings.log_to_stderr(debug=False)
    for said in ("`sklearn.utils.parallel.delayed` should be used with `Parallel`", "another one"):
        warnings.showwarning(said, UserWarning, "f.py", 1)
    assert capsys.readouterr().err == "another one\n"

"""A recorded run is decided and judged again byte for byte, and whatever was changed since is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import START, Project
from rehone import api, artifact, codec, gate
from rehone.cli.endings import main
from rehone.config import Gate, Shadow
from rehone.errors import Corrupt
from rehone.pipeline.given import pack, unpack
from rehone.records import CheckStatus, Replay, RunRecord, RunStatus, ShadowReport, Verdict
from rehone.runlog import RunLog
from rehone.store import Store


@pytest.fixture(scope="module")
def lived(deployed_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a first deployment, a quiet day and a challenger that was judged, made stage by stage."""
    made = deployed_once.copy(tmp_path_factory.mktemp("lived"))
    made.feed(70, 111)
    assert made.run(80).status is RunStatus.SKIPPED
    begun = api.run_stage(made.root, "check", as_of=START + timedelta(days=111))
    assert api.resume_run(made.root, begun.run_id).verdict is not None
    return made.root


@pytest.fixture
def own(lived: Path, tmp_path: Path) -> Path:
    """Return a copy of that project, to be tampered with."""
    import shutil

    shutil.copytree(lived, tmp_path / "p", symlinks=True)
    return tmp_path / "p"


def runs(root: Path) -> tuple[RunRecord, ...]:
    return RunLog(root / "runs").records()


def file_of(root: Path, record: RunRecord, ending: str) -> Path:
    (found,) = (root / "runs").rglob(f"{record.run_id}{ending}")
    return found


def wrong(found: Replay) -> dict[str, str]:
    return {check.name: check.detail for check in found.checks if check.status is CheckStatus.ACT}


@pytest.mark.parametrize(
    ("number", "compared"), [(0, {"trigger", "verdict"}), (1, {"trigger"}), (2, {"trigger", "verdict"})]
)
def test_a_run_comes_again_byte_for_byte(lived: Path, number: int, compared: set[str]) -> None:
    """A first deployment, a skipped run and a judged challenger, from what they recorded alone."""
    record = runs(lived)[number]
    found = api.replay(lived, record.run_id)
    assert wrong(found) == {}
    assert {c.name for c in found.checks if "byte for byte" in c.detail} == compared
    assert codec.encode(found.trigger) == codec.encode(record.trigger)
    assert codec.encode(found.verdict) == codec.encode(record.verdict)


def test_nothing_is_needed_but_the_records(own: Path) -> None:
    """Without data, store and cache the decision and the verdict still come again."""
    import shutil

    record = runs(own)[2]
    for name in ("data", ".rehone-cache"):
        shutil.rmtree(own / name, ignore_errors=True)
    (own / "store").rename(own / "elsewhere")
    found = api.replay(own, record.run_id)
    assert wrong(found) == {}
    assert found.verdict == record.verdict


def test_a_replay_changes_nothing(own: Path) -> None:
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    for record in runs(own):
        api.replay(own, record.run_id)
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_every_closed_run_says_in_the_ledger_why_and_what_would_have_turned_it(lived: Path) -> None:
    first, quiet, judged = RunLog(lived / "runs").lines()
    assert first.flip == "would not have trained had there been a champion"
    assert quiet.evidence.startswith("nothing acts: psi(")
    assert quiet.flip.startswith("would have trained had ")
    assert quiet.verdict == ""
    record = runs(lived)[2]
    assert record.verdict is not None
    assert (judged.verdict, judged.verdict_flip) == (record.verdict.reason, record.verdict.flip)


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_bytes(codec.encode(plain))


def test_a_verdict_that_was_rewritten_is_found_three_times(own: Path) -> None:
    """By the digest in the ledger, by judging again, and by the digest in the deployment log."""
    record = runs(own)[0]

    def prettier(plain: dict[str, Any]) -> None:
        plain["verdict"]["reason"] = "all is well"

    _edit(file_of(own, record, ".json"), prettier)
    found = wrong(api.replay(own, record.run_id))
    assert set(found) == {"ledger", "verdict", "deployment"}
    assert 'is "first deployment, held against the minimums only' in found["verdict"]
    assert found["verdict"].startswith('does not come again: verdict.reason was "all is well"')


def test_what_differs_at_the_end_of_a_long_sentence_is_shown(own: Path) -> None:
    record = runs(own)[0]
    assert record.verdict is not None
    reason = record.verdict.reason
    assert len(reason) > 80

    def prettier(plain: dict[str, Any]) -> None:
        plain["verdict"]["reason"] = reason[:-1] + "9"

    _edit(file_of(own, record, ".json"), prettier)
    said = wrong(api.replay(own, record.run_id))["verdict"].partition(";")[0]
    assert said.startswith('does not come again: verdict.reason was "...') is False
    assert f'{reason[-10:-1]}9", is ...' in said
    assert said.endswith(f'{reason[-10:]}"')


def test_evidence_that_was_rewritten_gives_another_decision(own: Path) -> None:
    record = runs(own)[1]

    def worse(plain: dict[str, Any]) -> None:
        plain["evidence"]["drift"][0]["psi"] = 0.9
        plain["evidence"]["drift"][0]["p_value"] = 1e-30

    _edit(file_of(own, record, ".json"), worse)
    found = wrong(api.replay(own, record.run_id))
    assert set(found) == {"ledger", "trigger"}
    assert 'trigger.kind was null, is "drift"' in found["trigger"]


def test_a_configuration_that_was_rewritten_is_found(own: Path) -> None:
    record = runs(own)[1]

    def laxer(plain: dict[str, Any]) -> None:
        plain["config"]["train"]["folds"] = 2

    _edit(file_of(own, record, ".json"), laxer)
    assert set(wrong(api.replay(own, record.run_id))) == {"ledger", "config"}


def test_what_the_gate_was_given_is_known_when_it_was_changed_or_is_gone(own: Path) -> None:
    record = runs(own)[2]
    path = file_of(own, record, ".judged.npz")
    given = unpack(path.read_bytes(), source="")
    given["holdout"].labels[0] ^= 1
    path.write_bytes(pack(given))
    assert "was changed since the gate" in wrong(api.replay(own, record.run_id))["inputs"]
    assert [c.status for c in RunLog(own / "runs").verify(judged=True)] == [CheckStatus.ACT]
    path.unlink()
    assert "is gone: what the gate" in wrong(api.replay(own, record.run_id))["inputs"]
    assert [c.status for c in RunLog(own / "runs").verify(judged=True)] == [CheckStatus.WARN]


def test_a_ledger_line_that_was_changed_is_found(own: Path) -> None:
    ledger = own / "runs" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace("nothing acts", "nothing act"))
    found = wrong(api.replay(own, runs(own)[1].run_id))
    assert list(found) == ["ledger"]
    assert "its ledger line was changed" in found["ledger"]
    assert wrong(api.replay(own, runs(own)[0].run_id)) == {}, "lines before it still hold"


def test_a_ledger_that_cannot_be_read_hides_nothing_else(own: Path) -> None:
    """The run is replayed from its record, and the doctor looks at all the rest."""
    ledger = own / "runs" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"skipped"', '"skopped"'))
    found = api.replay(own, runs(own)[0].run_id)
    assert list(wrong(found)) == ["ledger"]
    assert "Invalid enum value 'skopped'" in wrong(found)["ledger"]
    assert {c.name for c in found.checks if "byte for byte" in c.detail} == {"trigger", "verdict"}
    for heal in (False, True):
        checks = api.doctor(own, heal=heal)
        assert [c.remedy for c in checks if c.name == "ledger"] == ["restore the ledger from a backup"]
        assert "version" in {c.name for c in checks}


def test_a_record_that_cannot_be_read_is_to_be_restored(own: Path) -> None:
    record = runs(own)[0]
    file_of(own, record, ".json").write_text("{")
    with pytest.raises(Corrupt, match=r"was changed or cut short: restore it from a backup$"):
        api.replay(own, record.run_id)


def test_a_line_of_an_older_version_keeps_its_place_in_the_chain(own: Path, tmp_path: Path) -> None:
    """Lines were once written without the sentence and the flip: their digest is over what stands there."""
    import hashlib

    import msgspec

    ledger, before, lines = own / "runs" / "ledger.jsonl", "", []
    for text in ledger.read_bytes().splitlines():
        plain = msgspec.json.decode(text, type=dict)
        old = {k: v for k, v in plain.items() if k not in ("evidence", "flip", "verdict", "verdict_flip")} | {
            "chain": ""
        }
        before = hashlib.sha256(before.encode() + msgspec.json.encode(old)).hexdigest()
        lines.append(msgspec.json.encode(old | {"chain": before}))
    ledger.write_bytes(b"\n".join(lines) + b"\n")
    assert [c.status for c in RunLog(own / "runs").verify()] == [CheckStatus.OK]
    assert RunLog(own / "runs").lines()[1].flip == ""


def test_a_record_written_without_flips_comes_again_but_for_them(own: Path) -> None:
    """A field that the record was written without is no difference, and is said."""
    record = runs(own)[1]

    def older(plain: dict[str, Any]) -> None:
        del plain["trigger"]["flip"]
        plain["rehone_version"] = "0.1"

    _edit(file_of(own, record, ".json"), older)
    found = {check.name: check for check in api.replay(own, record.run_id).checks}
    assert found["trigger"].status is CheckStatus.OK
    assert "but for what this version adds (flip)" in found["trigger"].detail
    assert found["version"].detail.startswith("recorded with Rehone 0.1, replayed with ")


def test_the_command_says_what_came_again_and_ends_with_2_when_something_did_not(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = runs(own)[2]
    assert main(["replay", record.run_id, "-p", str(own)]) == 0
    said = capsys.readouterr().out
    assert "all that can be replayed comes again" in said
    assert "would not have trained had" in said
    assert all(len(line) <= 80 for line in said.splitlines() if " " in line.strip())
    file_of(own, record, ".judged.npz").unlink()
    assert main(["replay", record.run_id, "-p", str(own), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["run_id"] == record.run_id
    assert main(["replay", "1999", "-p", str(own)]) == 2


def test_what_is_given_comes_back_as_it_was() -> None:
    """Every kind of thing that the gate may be given, to the last digit."""
    day = np.array(["2026-01-01T00:00:00.000001"] * 3, dtype="datetime64[us]")
    holdout = gate.Holdout(
        labels=np.array([0, 1, 1], dtype=np.int8),
        times=day,
        mature=np.array([True, True, False]),
        blocks=np.array(["a", None, "b"], dtype=object),
        slices={"channel": np.array(["web", "shop", "ünü"])},
    )
    scored = gate.Scored(
        version=None,
        scores=np.array([0.1, 1 / 3, np.nan]),
        threshold=float("nan"),
        train_end=datetime(2026, 1, 1, tzinfo=UTC),
    )
    given = {
        "holdout": holdout,
        "challenger": scored,
        "champion": gate.Unreadable("v", "why"),
        "policy": Gate(max_holdout_uses=None, slices=("channel",)),
        "costs": (1.0, float("inf")),
        "anchors": (scored,),
    }
    found = unpack(pack(given), source="f")
    assert pack(found) == pack(given)
    assert found["holdout"].times.dtype == day.dtype
    assert found["holdout"].blocks.tolist() == ["a", None, "b"]
    assert found["challenger"].scores.tobytes() == scored.scores.tobytes()
    assert found["challenger"].train_end == scored.train_end
    assert found["policy"] == given["policy"]
    assert found["costs"] == (1.0, float("inf"))


def test_an_archive_that_was_cut_short_is_said_to_be() -> None:
    with pytest.raises(Corrupt, match=r"f cannot be read"):
        unpack(pack({"costs": (1.0, 2.0)})[:-30], source="f")


def test_what_servers_saw_of_a_challenger_is_judged_again(own: Path) -> None:
    """The verdict beside the champion comes again from the report, as long as the version is in the store."""
    log, first = RunLog(own / "runs"), runs(own)[0]
    assert first.version is not None
    kept = artifact.read_profile(Store(own / "store").read(first.version)).scores
    assert kept is not None
    report = ShadowReport(
        version=first.version, rows=5000, champion_seconds=1.0, challenger_seconds=1.1, score_counts=kept.counts
    )
    policy = Shadow.model_validate(first.config["shadow"])
    verdict = codec.decode(codec.encode(gate.judge_shadow(report, kept, policy)), Verdict, source="")
    again = replace(first, run_id=f"{first.run_id}-beside", shadow=report, shadow_verdict=verdict, deployment=None)
    log.keep(again, log.kept(first), rows=1)
    log.finish(again)
    found = {check.name: check for check in api.replay(own, again.run_id).checks}
    assert found["shadow_verdict"].status is CheckStatus.OK
    worse = replace(again, run_id=f"{first.run_id}-worse", shadow=replace(report, failed_rows=900))
    log.keep(worse, log.kept(first), rows=1)
    log.finish(worse)
    assert set(wrong(api.replay(own, worse.run_id))) == {"shadow_verdict"}


def test_a_run_under_way_is_replayed_as_far_as_it_has_come(own: Path) -> None:
    log, quiet = RunLog(own / "runs"), runs(own)[1]
    log.begin(replace(quiet, run_id=f"{quiet.run_id}-open", status=None, finished_at=None))
    found = {check.name: check for check in api.replay(own, f"{quiet.run_id}-open").checks}
    assert found["ledger"].status is CheckStatus.UNKNOWN
    assert found["trigger"].status is CheckStatus.OK


def test_a_run_whose_line_is_not_there_yet_is_said_to_be(own: Path) -> None:
    ledger = own / "runs" / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    (found,) = (c for c in api.replay(own, runs(own)[2].run_id).checks if c.name == "ledger")
    assert found.status is CheckStatus.WARN
    assert "the ledger has no line of it" in found.detail


def test_what_is_kept_takes_about_twenty_bytes_a_row() -> None:
    draw, n = np.random.default_rng(0), 100_000
    times = np.datetime64("2026-01-01") + np.sort(draw.integers(0, 30 * 86_400, n)).astype("timedelta64[s]")
    holdout = gate.Holdout(
        labels=(draw.random(n) < 0.06).astype(np.int8),
        times=times.astype("datetime64[us]"),
        mature=np.ones(n, dtype=bool),
        blocks=times.astype("datetime64[D]").astype(np.int64),
        in_challenger_training=np.zeros(n, dtype=bool),
    )
    end = datetime(2026, 1, 1, tzinfo=UTC)
    models = [gate.Scored(version=None, scores=draw.random(n), threshold=0.5, train_end=end) for _ in range(2)]
    given = {"holdout": holdout, "challenger": models[0], "champion": models[1], "policy": Gate()}
    assert 16 * n < len(pack(given)) < 21 * n

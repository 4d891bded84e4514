"""The story of one run, on its page and in the terminal: the same facts, and nothing left out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

from rehone.api.showing import told
from rehone.cli.estimates import matured_lines
from rehone.cli.judged import cost_lines, drawn, importance_lines
from rehone.cli.story import run_lines
from rehone.config import Config, load_config
from rehone.records import (
    Approval,
    Breaker,
    CandidateResult,
    Check,
    CheckStatus,
    Curves,
    DataFile,
    DataWindow,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Estimate,
    Estimated,
    Evidence,
    FeatureKind,
    Figures,
    Health,
    Histogram,
    Importance,
    Metrics,
    Outcome,
    Probe,
    Problem,
    ProjectStatus,
    Realised,
    RunRecord,
    RunStatus,
    RunSummary,
    ShadowReport,
    Shift,
    ShiftKind,
    Split,
    Stage,
    TriggerDecision,
    TriggerKind,
    Verdict,
    Window,
)
from rehone.report import Book, Site, again, charts, page, particulars
from rehone.report.charts.histograms import histogram
from rehone.report.differing import ABSENT, Difference, differences
from rehone.report.particulars import bounds
from rehone.report.told import Told, around, in_book
from rehone.report.views import run as view
from rehone.report.wording import slug
from rehone.runlog import RunLog

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
RUN, BEFORE, AFTER = (f"2026060{n}T020000000000Z-a1b2c{n}" for n in (2, 1, 3))
NEW, OLD, PAST = "8f3a91c2b7d0" + "0" * 52, "1b2c3d4e5f60" + "1" * 52, "7ac398e00000" + "2" * 52
WINDOW = Window(JUNE - timedelta(days=90), JUNE)


def check(name: str, status: CheckStatus = CheckStatus.OK, **facts: object) -> Check:
    return replace(Check(name=name, status=status), **facts)  # type: ignore[arg-type]


AUC = check("roc_auc_vs_champion", value=0.0112, limit=-0.02, interval=(-0.0041, 0.0265), n=1_812, positives=312)
COST = check("cost_vs_champion", CheckStatus.WARN, value=-40.0, limit=20.0, interval=(-90.0, 10.0), n=1_812)
UNJUDGED = check("average_precision_vs_champion", value=0.02, n=1_812)
ANCHOR = check("anchor", subject=PAST, value=0.03, limit=-0.05, interval=(0.01, 0.04), n=1_812)
SLICE = check("slice", CheckStatus.ACT, subject="country=FR", value=-0.2, limit=-0.05, p_value=0.001, positives=77)
DRIFT = check(
    "psi",
    CheckStatus.ACT,
    subject="country",
    value=0.41,
    limit=0.25,
    p_value=1e-9,
    n=12_000,
    detail="PSI of country is 0.41, the limit is 0.25",
    remedy="look at what changed",
)


def record(run_id: str = RUN, **facts: object) -> RunRecord:
    began = datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    base = RunRecord(
        run_id=run_id,
        project="cards",
        as_of=JUNE,
        started_at=began,
        finished_at=began + timedelta(seconds=12),
        status=RunStatus.SKIPPED,
        sentence="nothing acts",
        seed=7,
        host="ml-1",
        pid=4711,
        rehone_version="0.1.0",
        git_commit="0123456789abcdef",
        config_sha256="c0ffee" + "0" * 58,
        config=Config().as_json(),
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def whole(**facts: object) -> RunRecord:
    """A record that came to all that a run can come to."""
    won = CandidateResult(
        name="lightgbm",
        estimator="lightgbm",
        params={"n_estimators": 200},
        window="all",
        rows=40_000,
        cv_roc_auc_mean=0.91234,
        cv_roc_auc_std=0.0041,
        fold_roc_auc=(0.91, 0.92),
        fit_seconds=1.5,
        newest_roc_auc=0.905,
        winner=True,
    )
    lost = CandidateResult(
        name="mine", estimator="my.Model", params={}, window="trailing", rows=9_000, error="ValueError: no such solver"
    )
    recall = Estimate(value=0.71, low=0.66, high=0.76, n=500, positives=120)
    base = record(
        status=RunStatus.DEPLOYED,
        sentence="version 8f3a91c2b7d0 is live as generation 5",
        stages=(Stage(name="look", sentence="champion 1b2c3d4e5f60 is 31 days old", seconds=0.21),),
        evidence=Evidence(
            as_of=JUNE,
            champion=OLD,
            estimated=Estimated(window=WINDOW, n=500, recall=recall, basis="as_trained"),
            shift=Shift(kind=ShiftKind.COVARIATE, sentence="other inputs, same meaning", suggestion="retrain"),
        ),
        trigger=TriggerDecision(
            kind=TriggerKind.DRIFT,
            reason="country has drifted",
            checks=(DRIFT, check("age", value=31.0, limit=90.0)),
            flip="would not have trained had PSI been below 0.25",
        ),
        data=DataWindow(
            source="data/*.parquet",
            window=WINDOW,
            rows=45_000,
            positives=5_210,
            sha256="d" * 64,
            files=(DataFile(path="data/a.parquet", sha256="a" * 64, bytes=10, rows=45_000),),
        ),
        data_checks=(check("rows", value=36_000.0, limit=500.0, n=36_000),),
        split=Split(
            train=Window(WINDOW.start, JUNE - timedelta(days=18)),
            holdout=Window(JUNE - timedelta(days=18), JUNE),
            train_rows=36_000,
            train_positives=4_100,
            holdout_rows=9_000,
            holdout_positives=1_110,
        ),
        candidates=(won, lost),
        winner=won,
        champion=OLD,
        verdict=Verdict(
            outcome=Outcome.PASS,
            reason="not worse than the champion",
            checks=(AUC, COST, UNJUDGED, ANCHOR, SLICE),
            challenger=Metrics(n=1_812, positives=312, roc_auc=0.9113, recall=0.71, threshold=0.2),
            champion=Metrics(n=1_812, positives=312, roc_auc=0.9001, recall=0.7, threshold=0.3),
            flip="would not have passed had the difference been −0.0200",
        ),
        version=NEW,
        shadow=ShadowReport(version=NEW, champion=OLD, rows=1_000, changed_decisions=12, largest_difference=0.31),
        shadow_verdict=Verdict(
            outcome=Outcome.PASS, reason="as expected", checks=(check("shadow_rows", value=1_000.0),)
        ),
        deployment=deployed(5),
        deployment_checks=(check("smoke", subject="ml-1-99", value=0.0, limit=1e-9, n=16),),
        probe=Probe(gain=0.01, detail="a gain of 0.01 is expected"),
        realised=(
            Realised(
                run_id=BEFORE,
                version=OLD,
                replaced=PAST,
                promoted_at=JUNE - timedelta(days=31),
                predicted=0.01,
                predicted_interval=(0.0, 0.02),
                window=WINDOW,
                n=900,
                positives=90,
                detail="0.012 came of a promised 0.010",
            ),
        ),
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def deployed(generation: int, run_id: str | None = RUN, **facts: object) -> Deployment:
    base = Deployment(
        generation=generation,
        version=NEW,
        action=DeploymentAction.DEPLOY,
        state=DeploymentState.TRIAL,
        at=JUNE + timedelta(days=1, minutes=generation),
        actor="cron@ml-1",
        run_id=run_id,
        reason=f"reason {generation}",
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def figures() -> Figures:
    return Figures(
        histograms=(
            Histogram(
                name="country",
                kind=FeatureKind.CATEGORICAL,
                bins=("FR", "DE", "unseen"),
                reference=(60, 40, 0),
                current=(20, 40, 40),
            ),
        ),
        curves=(curve("challenger", 0.2), curve("champion", 0.5)),
        importance=tuple(
            Importance(feature=f"feature_{n}", value=0.12 - n / 100, low=0.11 - n / 100, high=0.13 - n / 100)
            for n in range(12)
        ),
    )


def curve(role: str, threshold: float) -> Curves:
    return Curves(
        role=role,
        threshold=threshold,
        thresholds=(0.9, 0.5, 0.2, 0.1),
        false_positive_rate=(0.0, 0.1, 0.3, 1.0),
        recall=(0.2, 0.6, 0.9, 1.0),
        precision=(None, 0.8, 0.5, 0.2),
        cost_per_1000=(400.0, 210.0, 180.0, 700.0),
    )


def book(*records: RunRecord, without: frozenset[str] = frozenset(), **facts: object) -> Book:
    """A book of some runs; the records of those `without` are not in it."""
    breaker = Breaker(stopped=False, lost=0, limit=3)
    health = Health(
        project="cards",
        as_of=JUNE,
        runs=len(records),
        endings={},
        judged=0,
        refused=0,
        gate_failure_share=None,
        run_seconds=(),
        alarms=0,
        alarms_accepted=1.0,
        days=1.0,
        newest_row_age_days=None,
        newest_label_age_days=None,
        declines=0,
        breaker=breaker,
    )
    brief = tuple(
        RunSummary(
            run_id=one.run_id,
            as_of=one.as_of,
            started_at=one.started_at,
            finished_at=one.finished_at,
            status=one.status,
            version=one.version,
            champion=one.champion,
            approval=one.approval,
        )
        for one in records
    )
    base = Book(
        project="cards",
        made_at=JUNE,
        status=ProjectStatus(project="cards", deployment=None, version=None),
        health=health,
        summaries=brief,
        recent=tuple(one for one in records if one.run_id not in without),
    )
    return replace(base, **facts)  # type: ignore[arg-type]


class _Reader(HTMLParser):
    """Take the text, the ids and the names of elements from a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.ids: list[str] = []
        self.names: Counter[str] = Counter()
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        self.ids += [value for name, value in attrs if name == "id" and value]
        self._silent += tag in ("style", "script", "svg")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("style", "script", "svg")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text.append(data)


def read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    return reader


def words(html: str) -> str:
    return " ".join(" ".join(read(html).text).split())


def of(found: Book, run_id: str = RUN) -> str:
    return page(found, f"run/{run_id}", Site())


def terminal(told: Told, width: int = 80) -> list[str]:
    return [click.unstyle(line) for line in run_lines(told, ".", width=width)]


# --- what differs from the run before -------------------------------------------------------


def changed(**sections: object) -> RunRecord:
    return record(config={**Config().as_json(), **sections})


def test_a_run_of_the_same_configuration_and_code_differs_in_nothing() -> None:
    assert differences(record(BEFORE), record()) == ()


def test_each_key_that_differs_is_named_with_both_values_and_the_code_comes_first() -> None:
    before = record(BEFORE, rehone_version="0.0.9", git_commit=None)
    now = changed(deploy={**Config().as_json()["deploy"], "trial_seconds": 4.0, "health_url": "http://x/health"})
    assert differences(before, now) == (
        Difference(key="Rehone", before="0.0.9", now="0.1.0"),
        Difference(key="git commit", before="not in git", now="0123456789abcdef"),
        Difference(key="deploy.health_url", before="not set", now='"http://x/health"'),
        Difference(key="deploy.trial_seconds", before="30.0", now="4.0"),
    )


def test_lists_of_equal_length_are_compared_entry_by_entry_and_others_as_a_whole() -> None:
    before = record(BEFORE, config={"train": {"candidates": [{"class": "a", "n": 1}, {"class": "b"}], "folds": [1, 2]}})
    now = record(config={"train": {"candidates": [{"class": "a", "n": 2}, {"class": "b"}], "folds": [1, 3]}})
    assert differences(before, now) == (
        Difference(key="train.candidates[0].n", before="1", now="2"),
        Difference(key="train.folds", before="[1, 2]", now="[1, 3]"),
    )
    fewer = record(config={"train": {"candidates": [{"class": "a"}], "folds": [1, 3]}})
    assert [one.key for one in differences(now, fewer)] == ["train.candidates"]


def test_a_section_that_an_older_record_lacks_is_one_difference() -> None:
    old = record(BEFORE, config={"data": {"label": "y"}})
    new = record(config={"data": {"label": "y", "extra": 1}, "alerts": {"a": 1, "b": 2}})
    assert differences(old, new) == (
        Difference(key="alerts", before=ABSENT, now="2 keys"),
        Difference(key="data.extra", before=ABSENT, now="1"),
    )


SEEN = Estimate(value=0.912, low=0.9, high=0.924, n=1_812, positives=312)


def labelled(**facts: object) -> Evidence:
    seen = Evidence(as_of=JUNE, champion=OLD, matured=WINDOW, recall=SEEN, cost_per_1000=SEEN, roc_auc=SEEN)
    return replace(seen, **facts)  # type: ignore[arg-type]


def test_what_labels_that_came_due_show_is_told_on_the_page_and_in_the_terminal() -> None:
    said = words(of(book(record(evidence=labelled()))))
    assert "The champion, on labels that came due events 2026-03-03..2026-06-01" in said
    assert "ROC-AUC 0.9120 0.9000 to 0.9240 1,812 312" in said
    lines = [click.unstyle(line) for line in matured_lines(labelled(), 80)]
    assert lines == [
        "",
        "Labels that came due",
        "  events      2026-03-03..2026-06-01",
        "  labels say       value  interval           rows  positives",
        "  recall           0.912  0.900 to 0.924    1,812        312",
        "  cost per 1,000   0.912  0.9 to 0.924      1,812        312",
        "  ROC-AUC         0.9120  0.9000 to 0.9240  1,812        312",
    ]


def test_what_labels_cannot_say_is_a_dash_with_its_reason() -> None:
    why = "all 312 matured positives with a score fall in one day or entity, need at least 2"
    some = [click.unstyle(line) for line in matured_lines(labelled(roc_auc=None, roc_auc_unknown=why), 80)]
    assert some[3:5] == [
        "  ROC-AUC     not known: all 312 matured positives with a score fall in one day",
        "              or entity, need at least 2",
    ]
    assert some[-1] == "  ROC-AUC             –  –                   –          –"
    nothing = labelled(recall=None, cost_per_1000=None, roc_auc=None, performance_unknown="why", roc_auc_unknown="why")
    assert [click.unstyle(line) for line in matured_lines(nothing, 80)][2:] == [
        "  events      2026-03-03..2026-06-01",
        "  not known   why",
    ]


def test_a_record_of_a_release_that_did_not_rank_labels_says_nothing_of_it() -> None:
    assert list(particulars.matured(labelled(roc_auc=None))) == [("events", "2026-03-03..2026-06-01")]
    assert list(particulars.in_use(labelled(roc_auc=None)))[-1] == ("ROC-AUC", "–", "–", "–", "–")
    assert matured_lines(Evidence(as_of=JUNE, champion=None), 80) == []
    assert "on labels that came due" not in words(of(book(record(evidence=None))))


# --- what stands beside a record ----------------------------------------------------------


def test_the_part_of_a_run_in_the_log_is_its_own_records_with_one_on_each_side() -> None:
    log = [deployed(1, "x"), deployed(2, "y"), deployed(3), deployed(4), deployed(5, None), deployed(6, "z")]
    assert [one.generation for one in around(log, RUN)] == [2, 3, 4, 5]
    assert [one.generation for one in around(log[2:4], RUN)] == [3, 4]
    assert around(log, "nobody") == ()


def test_a_timeline_says_what_was_there_before_and_who_came_after() -> None:
    log = (deployed(2, BEFORE), deployed(3), deployed(4, None, version=None, action=DeploymentAction.ROLLBACK))
    assert tuple(particulars.timeline(log, RUN)) == (
        (
            "before",
            f"generation 2: deploy of 8f3a91c2b7d0, trial, at 2026-06-02 00:02 UTC by run {BEFORE}: reason 2",
        ),
        ("this run", "generation 3: deploy of 8f3a91c2b7d0, trial, at 2026-06-02 00:03 UTC by cron@ml-1: reason 3"),
        ("after", "generation 4: rollback of nothing, trial, at 2026-06-02 00:04 UTC by cron@ml-1: reason 4"),
    )


def test_the_run_before_is_the_one_that_began_before_whether_or_not_a_book_has_its_record() -> None:
    found = book(record(BEFORE), record(), record(AFTER))
    told = in_book(found, RUN)
    assert told is not None
    assert (told.before_id, told.before) == (BEFORE, record(BEFORE))
    last = in_book(found, AFTER)
    assert last is not None
    assert last.before_id == RUN
    lacking = in_book(replace(found, recent=(record(),)), RUN)
    assert lacking is not None
    assert (lacking.before_id, lacking.before, lacking.changed) == (BEFORE, None, ())
    first = in_book(found, BEFORE)
    assert first is not None
    assert first.before_id is None
    assert in_book(found, "nobody") is None


def test_a_run_is_told_even_where_nothing_beside_its_record_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "rehone.toml").write_text('[project]\nname = "cards"\n[data]\nlabel = "label"\n')
    runlog = RunLog.of(load_config(tmp_path))
    for each in (record(BEFORE), record(), record(AFTER)):
        runlog.begin(replace(each, status=None))
        runlog.finish(each)
    found = told(tmp_path, record(AFTER))
    assert (found.before, found.before_id, found.deployments, found.figures) == (record(), RUN, (), None)
    (tmp_path / "runs" / "ledger.jsonl").write_text("not a line\n")
    assert told(tmp_path, record(AFTER)) == Told(record=record(AFTER))


# --- comparisons in pairs -----------------------------------------------------------------


def test_comparisons_stand_in_units_of_their_margin_and_ahead_is_positive_for_cost_too() -> None:
    auc, cost, unjudged, anchor, one_slice = particulars.comparisons(whole().verdict)
    assert (auc.name, auc.difference, auc.interval, auc.limit) == (
        "ROC-AUC",
        "+0.0112",
        "−0.0041 to +0.0265",
        "> −0.0200",
    )
    assert (auc.low, auc.value, auc.high) == pytest.approx((-0.205, 0.56, 1.325))
    assert (cost.difference, cost.interval, cost.limit) == ("−40.0", "−90.0 to +10.0", "< +20.0")
    assert (cost.low, cost.value, cost.high) == pytest.approx((-0.5, 2.0, 4.5))
    assert (unjudged.interval, unjudged.limit, unjudged.low) == ("–", "not judged", None)
    assert anchor.name == "past 7ac398e"
    assert (one_slice.name, one_slice.status, one_slice.low) == ("recall, country=FR", CheckStatus.ACT, None)
    assert particulars.comparisons(None) == ()


def test_a_comparison_is_drawn_with_its_limit_on_the_left_and_beyond_the_axis_by_an_arrow() -> None:
    auc, cost, unjudged, *_ = particulars.comparisons(whole().verdict)
    assert drawn(auc) == "   | -.-o--"
    assert drawn(cost) == "   |--.-----o"
    assert drawn(unjudged) == ""
    worse = replace(auc, low=-9.0, value=-8.0, high=-7.0)
    better = replace(auc, low=7.0, value=8.0, high=9.0)
    assert (drawn(worse), drawn(better)) == ("<  |  .", "   |  .     >")


def test_what_a_threshold_costs_is_said_with_the_one_that_costs_least() -> None:
    assert tuple(particulars.costs(figures())) == (
        "the challenger's threshold 0.2 costs 180 per 1,000 rows of the holdout, the least of all 4 that were tried there",
        "the champion's threshold 0.5 costs 210 per 1,000 rows of the holdout; least there would have been 180, at 0.2",
    )
    assert cost_lines(None, 80) == []


def test_the_ten_most_important_features_have_bars_and_the_rest_is_counted() -> None:
    lines = [click.unstyle(line) for line in importance_lines(figures(), 80)]
    assert lines[2:5] == [
        "  feature       loss     from       to",
        "  feature_0  +0.1200  +0.1100  +0.1300  ########################",
        "  feature_1  +0.1100  +0.1000  +0.1200  ######################",
    ]
    assert len(lines) == 14
    assert lines[-1] == "  2 features cost 0.02 or less"
    assert importance_lines(None, 80) == []


def test_a_feature_whose_shuffling_helps_has_no_bar() -> None:
    found = Figures(importance=(Importance(feature="noise", value=-0.001, low=-0.002, high=0.0),))
    assert click.unstyle(importance_lines(found, 80)[-1]) == "  noise    −0.0010  −0.0020  +0.0000"


# --- the page -----------------------------------------------------------------------------


def test_the_page_holds_every_check_with_value_limit_status_and_what_was_found() -> None:
    made = whole()
    found = words(of(book(record(BEFORE), made, figures={RUN: figures()})))
    assert made.trigger is not None
    assert made.verdict is not None
    assert made.shadow_verdict is not None
    every = (
        *made.trigger.checks,
        *made.data_checks,
        *made.verdict.checks,
        *made.shadow_verdict.checks,
        *made.deployment_checks,
    )
    for one in every:
        assert f"{one.status} {one.name.replace('_', ' ')}" in found, one
        assert one.detail in found
        assert one.remedy in found
    assert "✕ act psi country 0.41 0.25 1e-09 12,000 PSI of country is 0.41, the limit is 0.25" in found
    assert "✓ ok roc auc vs champion 0.0112 −0.02 −0.0041 to 0.0265 – 1,812 312" in found


def test_below_each_table_stands_what_its_intervals_are_on_the_page_and_in_the_terminal() -> None:
    floor = check("min_recall", value=0.71, limit=0.6, interval=(0.66, 0.76))
    recall = check("recall", value=0.7, limit=0.6, interval=(0.65, 0.75))
    held = check("estimate_held", value=0.7, interval=(0.65, 0.75))
    errors = check("shadow_errors", value=0.0, limit=0.01, interval=(0.0, 0.003))
    config = {**Config().as_json(), "gate": {"level": 0.9}, "shadow": {"level": 0.975}}
    seen = Verdict(outcome=Outcome.PASS, reason="as expected", checks=(errors,))
    made = whole(config=config, verdict=replace(whole().verdict, checks=(floor, AUC, ANCHOR)), shadow_verdict=seen)
    made = replace(made, trigger=replace(made.trigger, checks=(recall, held)))
    told = Told(record=made)
    for shown in (words(of(book(made))), " ".join(" ".join(terminal(told)).split())):
        for said in (
            "Intervals are two-sided, at 95 % (trigger.interval_level); that of estimate held is of what was estimated.",
            (
                "Intervals: of a required minimum two-sided, at 90 % (gate.level); of a comparison with the champion each end is a "
                "one-sided bound, at 90 % or more (gate.level); of one with a past champion so too, but its lower end at the "
                "level that its row names."
            ),
            "Intervals: each end is a one-sided bound, at 97.5 % (shadow.level).",
        ):
            assert said in shown


def test_nothing_is_said_of_intervals_that_are_not_there_or_whose_level_nobody_recorded() -> None:
    config = Config().as_json()
    assert bounds.in_gate((AUC,), config).startswith("Intervals: of a comparison with the champion each end")
    assert bounds.in_gate((SLICE,), config) == ""
    assert bounds.in_gate((AUC,), {}) == ""
    assert bounds.in_trigger((DRIFT,), config) == ""
    assert bounds.in_shadow((check("shadow_rows", value=1_000.0),), config) == ""
    assert "Intervals" not in words(of(book(record(trigger=TriggerDecision(kind=None, reason="", checks=(DRIFT,))))))


def test_page_and_terminal_state_the_same_particulars() -> None:
    made = whole(approval=Approval(asked_at=JUNE, until=JUNE, champion=OLD, approved=True, by="eva", because="fine"))
    found = book(record(BEFORE, rehone_version="0.0.9"), made, figures={RUN: figures()}, deployments=(deployed(5),))
    told = in_book(found, RUN)
    assert told is not None
    seen, said = words(of(found)), " ".join(" ".join(terminal(told)).split())
    evidence = made.evidence
    assert evidence is not None
    assert evidence.estimated is not None
    assert made.shadow is not None
    pairs = [
        *particulars.run(made),
        *particulars.shift(evidence.shift),
        *particulars.estimated(evidence.estimated),
        *particulars.shadow(made.shadow),
        *particulars.timeline(told.deployments, RUN),
    ]
    for name, text in pairs:
        assert f"{name} {text}" in seen
        assert f"{name} {text}" in said
    for shown in (seen, said):
        assert "rehone run --as-of 2026-06-01" in shown
        assert f"rehone replay {RUN}" in shown
        assert "lightgbm(n_estimators=200); folds 0.9100, 0.9200" in shown
        assert "ValueError: no such solver" in shown
        assert "0.012 came of a promised 0.010" in shown
        assert "a gain of 0.01 is expected" in shown
        assert "feature_9" in shown


def test_parts_of_the_page_stand_in_the_order_of_the_run() -> None:
    html = of(book(record(BEFORE), whole(), figures={RUN: figures()}))
    titles = re.findall(r'<h3 id="run-[^"]*"[^>]*>([^<]*)</h3>', html)
    assert titles == [
        "Decision",
        "Data",
        "Candidates",
        "Gate",
        "Shadow",
        "Deployment",
        "Earlier promotions",
        "Changed since the run before",
        "Make it again",
    ]
    for place in re.findall(r'href="#(run-[^"]*)"', html):
        assert f'id="{place}"' in html


def test_charts_of_the_gate_and_of_what_moved_are_drawn_with_their_figures_as_tables() -> None:
    found = read(of(book(record(BEFORE), whole(), figures={RUN: figures()})))
    assert found.names["figure"] >= 7
    text = " ".join(found.text)
    for cell in ("feature_11", "unseen", "lightgbm"):
        assert cell in text


def test_of_many_features_that_moved_none_is_drawn_that_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(charts, "histogram", lambda found: drawn.append(found.name) or histogram(found))
    monkeypatch.setattr(view, "MOST_DRAWN", 2)
    (one,) = figures().histograms
    moved = tuple(replace(DRIFT, subject=f"feature_{n}", value=1.0 + n) for n in range(9))
    many = Figures(histograms=tuple(replace(one, name=each.subject or "") for each in moved))
    made = record(trigger=TriggerDecision(kind=TriggerKind.DRIFT, reason="all has drifted", checks=moved))
    found = read(of(book(made, figures={RUN: many})))
    assert drawn == ["feature_8", "feature_7"], "the worst"
    assert [one for one in found.ids if "-hist-" in one] == [f"run-{RUN}-hist-{slug(name)}" for name in drawn]


def test_no_two_elements_of_the_page_have_the_same_id() -> None:
    found = read(of(book(record(BEFORE), whole(), figures={RUN: figures()})))
    assert [one for one, n in Counter(found.ids).items() if n > 1] == []


def test_a_run_without_figures_says_that_its_curves_are_gone() -> None:
    assert "Curves and importances of this run were not kept, or are gone." in words(of(book(whole())))


def test_a_run_that_found_nothing_to_do_has_a_short_page() -> None:
    made = record(
        trigger=TriggerDecision(kind=None, reason="nothing acts"), evidence=Evidence(as_of=JUNE, champion=OLD)
    )
    html = of(book(record(BEFORE), made))
    titles = re.findall(r'<h3 id="run-[^"]*"[^>]*>([^<]*)</h3>', html)
    assert titles == ["Decision", "Changed since the run before", "Make it again"]
    assert "No training: nothing acts." in words(html)
    assert f"Nothing: the same configuration, Rehone and git commit as run {BEFORE}" in words(html)


def test_a_run_that_has_not_ended_has_a_page_too() -> None:
    html = of(book(record(status=None, finished_at=None, sentence="")))
    assert "It has not ended yet." in words(html)
    assert "… not ended" in words(html)
    assert "started 2026-06-02 02:00 UTC, not ended, on ml-1" in words(html)
    assert "rehone replay" not in html


def test_a_run_that_waits_for_a_person_says_so_first_and_how_to_answer() -> None:
    asked = Approval(asked_at=JUNE, until=JUNE + timedelta(days=3), champion=OLD, generation=4)
    waits = whole(status=None, approval=asked, deployment=None)
    seen = words(of(book(waits)))
    assert seen.index("A challenger waits for a person.") < seen.index("In brief")
    assert f"rehone approve {RUN}" in seen
    said = terminal(Told(record=waits))
    assert said[-3:] == [
        f"Run {RUN} waits for a person:",
        f"  rehone approve {RUN}",
        f"  rehone reject {RUN} --because TEXT",
    ]


def test_a_bug_is_shown_with_where_it_was_raised() -> None:
    problem = Problem(type="KeyError", message="'x'", traceback="Traceback:\n  line 1\n")
    found = words(of(book(record(status=RunStatus.FAILED, problem=problem))))
    assert "KeyError: 'x'" in found
    assert "Traceback: line 1" in found


def test_text_of_a_record_is_never_taken_for_html() -> None:
    evil = "<script>alert(1)</script><b id=x>"
    made = whole(
        sentence=evil,
        stages=(Stage(name="look", sentence=evil, seconds=0.1),),
        trigger=TriggerDecision(kind=TriggerKind.DRIFT, reason=evil, checks=(replace(DRIFT, subject=evil),), flip=evil),
        problem=Problem(type=evil, message=evil, traceback=evil),
    )
    stated = Figures(importance=(Importance(feature=evil, value=0.1, low=0.0, high=0.2),))
    html = of(book(made, figures={RUN: stated}))
    assert "<script>alert" not in html
    assert "<b id" not in html
    assert words(html).count(evil) >= 8


def test_the_question_put_to_a_database_stands_word_for_word() -> None:
    made = whole()
    assert made.data is not None
    asked = "select `a` -> 'b' as x from t where y < 3"
    seen = read(of(book(replace(made, data=replace(made.data, source=asked)))))
    assert any(asked in text for text in seen.text)


def test_many_files_are_listed_up_to_a_number_and_the_rest_is_said() -> None:
    made = whole()
    assert made.data is not None
    many = tuple(DataFile(path=f"data/{n}.parquet", sha256="a" * 64, bytes=1, rows=1) for n in range(2_001))
    seen = words(of(book(replace(made, data=replace(made.data, files=many)))))
    assert "2,001 files or days with their digests" in seen
    assert "data/1999.parquet" in seen
    assert "data/2000.parquet" not in seen
    assert "The first 2000; the record of the run has all." in seen


# --- the terminal -------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100])
def test_the_whole_story_fits_the_terminal(width: int) -> None:
    named = replace(AUC, interval=(-1234.5, 1234.5), value=-1000.0)
    verdict = whole().verdict
    assert verdict is not None
    made = whole(verdict=replace(verdict, checks=(*verdict.checks, named)))
    config = {**Config().as_json(), "data": {"features": [f"a_long_name_{n}" for n in range(100)]}}
    told = Told(record=made, figures=figures(), before=record(BEFORE, config=config), before_id=BEFORE)
    assert [line for line in terminal(told, width) if len(line) > width] == []


def test_the_terminal_says_what_was_configured_otherwise_and_of_which_run() -> None:
    told = Told(record=record(), before=record(BEFORE, rehone_version="0.0.9"), before_id=BEFORE)
    lines = terminal(told)
    at = lines.index(f"Changed since run {BEFORE}")
    assert lines[at + 1] == "  Rehone: 0.0.9 -> 0.1.0"
    same = terminal(Told(record=record(), before=record(BEFORE), before_id=BEFORE))
    assert "  nothing: the same configuration, Rehone and git commit" in same


def test_a_digest_in_the_name_of_a_check_is_written_short() -> None:
    assert any(line.startswith("  ok       anchor(7ac398e00000): 0.03") for line in terminal(Told(record=whole())))


def test_what_can_be_proved_is_only_what_was_decided_and_has_ended() -> None:
    assert again.replay(record()) is None
    decided = record(trigger=TriggerDecision(kind=None, reason="nothing acts"))
    assert again.replay(decided, "my cards") == f"rehone replay {RUN} -p 'my cards'"
    assert again.replay(replace(decided, status=None)) is None

"""Pages say what records say: all of it, as text, and nothing that was not measured."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from conftest import Project
from rehone import api
from rehone import health as pipeline
from rehone.api.ahead import ahead
from rehone.cli import main
from rehone.config import Config
from rehone.errors import NotFound, RehoneError
from rehone.records import (
    Approval,
    Breaker,
    BreakerReset,
    Check,
    CheckStatus,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Estimate,
    Evidence,
    FeatureDrift,
    FeatureKind,
    Figures,
    Health,
    Histogram,
    Metrics,
    Outcome,
    ProjectStatus,
    Realised,
    Replica,
    RunRecord,
    RunStatus,
    RunSummary,
    ServedVersion,
    TrackRecord,
    TriggerDecision,
    TriggerKind,
    Window,
)
from rehone.report import Book, Site, layout, one_file, outer, page
from rehone.report.views import drift
from rehone.report.views import runs as table
from rehone.report.views.direction import direction
from rehone.report.wording import days, fixed, moment, number, prose, signed, slug, told, took

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIVE = "a" * 64
BEFORE = "b" * 64


# --- what tests are made of ---------------------------------------------------------------------


def summary(n: int, status: RunStatus | None = RunStatus.SKIPPED, **facts: Any) -> RunSummary:
    """Make a run of day `n` before now, which ended so."""
    at = NOW - timedelta(days=n)
    ended = None if status is None else at + timedelta(seconds=90)
    given = {"started_at": at, "finished_at": ended, "as_of": at.replace(hour=0), "status": status, **facts}
    return RunSummary(run_id=f"{at:%Y%m%d}T120000000000Z-{n:06x}", **given)


def metrics(auc: float) -> Metrics:
    return Metrics(n=1000, positives=80, roc_auc=auc, recall=0.7, precision=0.4, cost_per_1000=120.0, threshold=0.2)


def deployed(n: int, auc: float, difference: tuple[float, float, float] | None = None, **facts: Any) -> RunSummary:
    told_by = {"trigger": TriggerKind.AGE, "reason": "the champion is 31 days old", "outcome": Outcome.PASS, **facts}
    scored = {
        "challenger": metrics(auc),
        "difference": difference,
        "version": LIVE,
        "champion": BEFORE,
        "trained": True,
    }
    return summary(n, RunStatus.DEPLOYED, **(scored | told_by))


def health(**facts: Any) -> Health:
    given: dict[str, Any] = {
        "runs": 20,
        "endings": {},
        "judged": 0,
        "refused": 0,
        "gate_failure_share": None,
        "run_seconds": (),
        "alarms": 0,
        "alarms_accepted": 1.0,
        "days": 30.0,
        "newest_row_age_days": None,
        "newest_label_age_days": None,
        "declines": 0,
        "breaker": Breaker(stopped=False, lost=0, limit=3),
    }
    return Health(project="demand", as_of=NOW, **(given | facts))


def record(of: RunSummary, **facts: Any) -> RunRecord:
    return RunRecord(
        run_id=of.run_id,
        project="demand",
        as_of=of.as_of,
        started_at=of.started_at,
        finished_at=of.finished_at,
        status=of.status,
        sentence=of.sentence,
        seed=7,
        host="here",
        pid=1,
        rehone_version="0.1.0",
        config_sha256="c" * 64,
        config={},
        **facts,
    )


def head(**facts: Any) -> Deployment:
    given: dict[str, Any] = {
        "generation": 2,
        "version": LIVE,
        "action": DeploymentAction.CONFIRM,
        "state": DeploymentState.CONFIRMED,
        "at": NOW - timedelta(days=3),
        "actor": "ann@here",
        "reason": "the champion is 31 days old",
    }
    return Deployment(**(given | facts))


def book(*summaries: RunSummary, **facts: Any) -> Book:
    given: dict[str, Any] = {
        "status": ProjectStatus(project="demand", deployment=None, version=None),
        "health": health(),
        "recent": tuple(record(one) for one in summaries),
    }
    return Book(project="demand", made_at=NOW, summaries=summaries, **(given | facts))


def live_book(*summaries: RunSummary, **facts: Any) -> Book:
    status = ProjectStatus(project="demand", deployment=head(), version=None)
    return book(*summaries, **({"status": status, "deployments": (head(),)} | facts))


@dataclass
class Parts(HTMLParser):
    """What a document holds: its text, and each tag with its attributes."""

    text: str = ""
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    _inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag if tag in ("script", "style") else ""
        self.text += " " if tag in ("dt", "dd", "th", "td", "p", "div") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.text += data

    def all(self, attribute: str) -> Iterator[str]:
        return (attributes[attribute] for _, attributes in self.tags if attribute in attributes)


def parts(html: str) -> Parts:
    found = Parts()
    found.feed(html)
    found.text = " ".join(found.text.split())
    return found


def rows(html: str) -> list[str]:
    """Return the runs in the table of a page, by their day."""
    return re.findall(r'<tr data-ending="[^"]*" [^>]*data-day="([^"]*)"', html)


# --- one file -----------------------------------------------------------------------------------


@pytest.fixture
def many() -> Book:
    """Return a book in which most things have happened."""
    lost = summary(
        2, RunStatus.REJECTED, sentence="ROC-AUC 0.53 must be ≥ 0.85: add rows | recall 0.2 must be above 0.5"
    )
    waits = summary(
        0,
        None,
        version="d" * 64,
        challenger=metrics(0.91),
        judged_champion=metrics(0.88),
        approval=Approval(asked_at=NOW, until=NOW + timedelta(days=1), champion=LIVE),
    )
    return live_book(
        deployed(40, 0.81),
        deployed(9, 0.84, (0.03, 0.01, 0.05)),
        lost,
        waits,
        health=health(waiting=(waits.run_id,), breaker=Breaker(stopped=False, lost=1, limit=3, runs=(lost.run_id,))),
        ahead="The next run looks.",
    )


def test_every_link_in_one_file_leads_to_a_place_in_it(many: Book) -> None:
    found = parts(one_file(many))
    ids = set(found.all("id"))
    aims = [href for tag, given in found.tags if tag == "a" and (href := given["href"])]
    assert {aim for aim in aims if aim.removeprefix("#") not in ids} == set()
    assert f"#run-{many.summaries[0].run_id}" in aims


def test_no_id_stands_twice_in_one_file(many: Book) -> None:
    assert [one for one, n in Counter(parts(one_file(many)).all("id")).items() if n > 1] == []


def test_one_file_asks_for_nothing_else(many: Book) -> None:
    html = one_file(many)
    found = parts(html)
    assert list(found.all("src")) == []
    assert [given["href"] for tag, given in found.tags if tag == "link"] == ["data:,"]
    assert "@import" not in html
    assert "url(" not in html


def test_one_file_lets_only_its_own_script_run(many: Book) -> None:
    found = parts(one_file(many))
    (script,) = found.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (given["content"] for tag, given in found.tags if given.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in policy


def test_a_run_whose_record_is_not_in_the_book_stands_in_the_table_without_a_link() -> None:
    old, new = summary(9, sentence="nothing acts"), summary(1, sentence="nothing acts")
    html = one_file(replace(book(old, new), recent=(record(new),)))
    assert f'href="#run-{new.run_id}"' in html
    assert f'href="#run-{old.run_id}"' not in html
    assert old.run_id in parts(html).text


def test_what_a_record_says_is_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)> `<b>x</b>`"
    lost = summary(1, RunStatus.REJECTED, sentence=evil, reason=evil, verdict=evil)
    made = replace(live_book(lost, ahead=evil, notes=(evil,)), project=evil)
    found = parts(one_file(made))
    assert len(found.scripts) == 1
    assert list(found.all("onerror")) == []
    assert "<img src=x onerror=alert(2)>" in found.text


def test_a_project_without_any_run_has_all_its_pages() -> None:
    said = parts(one_file(book())).text
    assert "Nothing is live: no version was ever deployed." in said
    assert "No runs yet." in said
    assert "drift is not known" in said
    assert "No server reports." in said


# --- pages of a server --------------------------------------------------------------------------


def test_pages_of_a_server_link_below_its_prefix_and_name_where_one_is(many: Book) -> None:
    html = page(many, "drift", Site(prefix="/bikes", projects=(("bikes", "/bikes/"), ("taxis", "/taxis/"))))
    assert '<a href="/bikes/drift" aria-current="page">Drift</a>' in html
    assert '<a href="/bikes/">Overview</a>' in html
    assert '<a href="/">All projects</a>' in html


@pytest.mark.parametrize("path", ["nothing", "run/20260101T000000000000Z-ffffff", "run/", "../rehone.toml"])
def test_there_is_no_other_page(many: Book, path: str) -> None:
    with pytest.raises(NotFound, match="there is no page"):
        page(many, path, Site())


def test_every_page_has_one_heading_of_the_first_level_and_begins_with_one_of_the_second(many: Book) -> None:
    for path in ("", "drift", "runs", "health", f"run/{many.summaries[0].run_id}"):
        levels = [tag for tag, _ in parts(page(many, path, Site())).tags if re.fullmatch("h[1-6]", tag)]
        assert levels[:2] == ["h1", "h2"], path
        assert Counter(levels)["h1"] == 1, path


# --- the overview -------------------------------------------------------------------------------


def test_the_overview_says_what_is_live_since_when_and_why(many: Book) -> None:
    said = parts(page(many, "", Site())).text
    assert f"Version {LIVE[:12]} since 2026-05-29 12:00 UTC because the champion is 31 days old" in said
    assert "by ann@here, generation 2, confirmed" in said


def test_live_since_is_when_the_version_came_and_not_when_it_was_confirmed() -> None:
    log = (
        head(generation=1, at=NOW - timedelta(days=9), action=DeploymentAction.DEPLOY, reason="a person asked"),
        head(reason=""),
    )
    said = parts(page(live_book(deployments=log), "", Site())).text
    assert "since 2026-05-23 12:00 UTC because a person asked" in said


def test_a_trial_that_failed_meanwhile_does_not_change_since_when_something_is_live() -> None:
    came = head(generation=1, at=NOW - timedelta(days=9), reason="a person asked")
    trial = {"action": DeploymentAction.DEPLOY, "state": DeploymentState.TRIAL, "version": BEFORE}
    back = head(generation=3, action=DeploymentAction.ROLLBACK, at=NOW - timedelta(hours=1), reason="no proof")
    log = (came, head(generation=2, at=NOW - timedelta(hours=2), **trial), back)
    status = ProjectStatus(project="demand", deployment=back, version=None)
    made = live_book(status=status, deployments=log)
    assert "since 2026-05-23 12:00 UTC because a person asked" in parts(page(made, "", Site())).text
    assert outer.Entry(name="demand", href="/", book=made).since == came.at


def test_the_overview_says_what_was_refused_and_why_and_unfolds_further_reasons(many: Book) -> None:
    html = page(many, "", Site())
    assert "✕ rejected – ROC-AUC 0.53 must be ≥ 0.85: add rows more recall 0.2 must be above 0.5" in parts(html).text


def test_a_challenger_that_waits_is_shown_with_the_values_it_was_judged_by_and_both_commands(many: Book) -> None:
    newest = replace(many.summaries[-1], verdict="not worse than the champion; 9 checks passed")
    many = replace(many, summaries=(*many.summaries[:-1], newest))
    said, run = parts(page(many, "", Site())).text, newest.run_id
    assert f"Run {run} asks to replace {LIVE[:12]} by dddddddddddd, until 2026-06-02 12:00 UTC." in said
    assert (
        "ROC-AUC 0.9100 against 0.8800, recall 0.7000 against 0.7000, cost per 1,000 120 against 120. The gate: "
        in said
    )
    assert f'rehone approve {run} or rehone reject {run} --because "…"' in said


def test_a_first_version_that_waits_replaces_nothing() -> None:
    asked = Approval(asked_at=NOW, until=NOW + timedelta(days=1), champion=None)
    waits = summary(0, None, version="d" * 64, approval=asked)
    said = parts(page(live_book(waits, health=health(waiting=(waits.run_id,))), "", Site())).text
    assert "asks to put dddddddddddd live as the first version, until 2026-06-02 12:00 UTC." in said


def test_forms_to_answer_are_there_only_where_answers_are_taken(many: Book) -> None:
    run = many.summaries[-1].run_id

    def answers(site: Site) -> list[str]:
        tags = parts(page(many, "", site)).tags
        return [given["action"] for tag, given in tags if tag == "form" and run in given["action"]]

    assert answers(Site(prefix="/p")) == []
    asked = Site(prefix="/p", answers=True, token="once")
    assert answers(asked) == [f"/p/run/{run}/approve", f"/p/run/{run}/reject"]
    assert {given["value"] for tag, given in parts(page(many, "", asked)).tags if given.get("name") == "token"} == {
        "once"
    }


def test_the_overview_unfolds_what_else_the_gate_said_of_what_is_live() -> None:
    weak = "not behind the champion, on weak evidence: recall 0.98 against 1.00 | cost 158 against 156"
    newest = replace(deployed(9, 0.84), verdict=weak, weak_evidence=True)
    by = head(run_id=newest.run_id)
    status = ProjectStatus(project="demand", deployment=by, version=None)
    html = page(live_book(newest, deployments=(by,), status=status), "", Site())
    assert "recall 0.98 against 1.00 <details><summary>more</summary><p>cost 158 against 156</p></details>" in html
    assert "(weak evidence)" not in html


def test_health_counts_one_day_as_one() -> None:
    made = live_book(health=health(alarms=1, days=1, alarms_accepted=0.0027))
    assert "in 1 day; 0.0027 are accepted" in parts(page(made, "health", Site())).text


def test_a_stopped_breaker_is_said_on_the_overview_and_on_health_with_the_command() -> None:
    lost = [summary(n, RunStatus.REJECTED, sentence=f"behind on day {n}") for n in (3, 2, 1)]
    stopped = Breaker(
        stopped=True,
        lost=3,
        limit=3,
        runs=tuple(run.run_id for run in lost),
        reset=BreakerReset(at=NOW - timedelta(days=40), by="ann", because="the feed was mended"),
    )
    made = live_book(*lost, health=health(breaker=stopped))
    assert (
        "Retraining has stopped: 3 challengers in a row were lost, the limit is 3" in parts(page(made, "", Site())).text
    )
    said = parts(page(made, "health", Site())).text
    assert 'rehone breaker --reset --because "…" lets it go on' in said
    assert "Last reset 2026-04-22 12:00 UTC by ann: the feed was mended." in said
    assert said.index("behind on day 1") < said.index("behind on day 2") < said.index("behind on day 3")


def test_a_server_that_refused_what_is_live_is_said_with_its_reason() -> None:
    replica = Replica(
        name="web-1", host="h", pid=1, url="http://h:1", at=NOW, refused_generation=2, refused_because="no room"
    )
    status = ProjectStatus(project="demand", deployment=head(), version=None, replicas=(replica,))
    assert "✕ act refused generation 2: no room" in parts(page(live_book(status=status), "", Site())).text


# --- better or worse ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difference", "word"),
    [
        ((0.03, 0.01, 0.05), "better"),
        ((0.01, -0.01, 0.03), "about the same"),
        ((-0.03, -0.05, -0.01), "worse"),
        (None, "not known"),
    ],
)
def test_the_direction_is_that_of_the_newest_promotion_beyond_chance(
    difference: tuple[float, float, float] | None, word: str
) -> None:
    assert direction(live_book(deployed(5, 0.8, difference))).word == word


def test_nothing_is_said_to_be_better_by_a_promotion_that_was_rolled_back() -> None:
    better = deployed(5, 0.8, (0.03, 0.01, 0.05))
    back = ProjectStatus(project="demand", deployment=head(generation=3, version=BEFORE), version=None)
    assert direction(live_book(better, status=back)).word == "not known"


def test_a_regret_that_is_live_is_worse_whatever_the_gate_saw() -> None:
    regret = Realised(
        run_id="r",
        version=LIVE,
        replaced=BEFORE,
        promoted_at=NOW,
        predicted=0.03,
        predicted_interval=(0.01, 0.05),
        window=Window(NOW, NOW),
        n=900,
        positives=90,
        realised=-0.02,
        interval=(-0.03, -0.01),
        covered=False,
        regret=True,
    )
    track = TrackRecord(promotions=1, matured=1, covered=0, regrets=("r",), forecasts=(regret,))
    found = direction(live_book(deployed(5, 0.8, (0.03, 0.01, 0.05)), track=track))
    assert found.word == "worse"
    assert found.because[-1].endswith("0 brought what the gate promised, within chance; 1 is a regret.")


def test_declines_in_a_row_are_worse() -> None:
    """As the health of the pipeline tells them: a smaller ROC-AUC each time, though each beat what it replaced."""
    runs = [deployed(9 - n, 0.9 - n / 100, (0.03, 0.01, 0.05)) for n in range(4)]
    assert direction(live_book(*runs, health=pipeline.of(runs, Config(), NOW))).word == "worse"
    assert direction(live_book(*runs[1:], health=pipeline.of(runs[1:], Config(), NOW))).word == "better"


def test_without_any_promotion_nothing_is_said_to_be_better() -> None:
    assert direction(book(summary(1))).because == ("Nothing was compared yet.",)


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (("roc_auc", "recall"), "has ROC-AUC 0.91 (0.9 to 0.92) and recall 0.91 (0.9 to 0.92) as of"),
        (("recall",), "has recall 0.91 (0.9 to 0.92) as of"),
    ],
)
def test_the_overview_says_how_what_is_live_did_on_labels_that_came_due(measured: tuple[str, ...], said: str) -> None:
    found = Estimate(value=0.91, low=0.9, high=0.92, n=1_234, positives=90)
    used = replace(summary(1), champion=LIVE, **dict.fromkeys(measured, found))
    (last,) = direction(live_book(used)).because
    assert last == f"In use, on 1,234 rows whose label is due, the live version {said} {used.as_of:%Y-%m-%d}."


def test_the_overview_has_what_each_version_did_in_production_and_why_something_is_not_known() -> None:
    found = Estimate(value=0.91, low=0.9, high=0.92, n=1_234, positives=90)
    mine = ServedVersion(version=LIVE, predictions=1_300, labelled=1_234, positives=90, recall=found, roc_auc=found)
    other = replace(mine, version=BEFORE, roc_auc=None, roc_auc_unknown="the same score for all")
    run = summary(1)
    evidence = Evidence(as_of=run.as_of, champion=LIVE, origin="served", served=(mine, other))
    said = parts(page(live_book(run, recent=(record(run, evidence=evidence),)), "", Site())).text
    same = "1,300 1,234 90 0.91 (0.9 to 0.92) –"
    assert f"{LIVE[:12]} {same} 0.91 (0.9 to 0.92) –" in said
    assert f"{BEFORE[:12]} {same} – the same score for all" in said


# --- the table of runs --------------------------------------------------------------------------


@pytest.fixture
def year() -> Book:
    """Return 450 runs, one a day, of which every ninth was rejected."""
    return book(
        *(
            summary(
                n,
                RunStatus.REJECTED if n % 9 == 0 else RunStatus.SKIPPED,
                trigger=TriggerKind.DRIFT if n % 9 == 0 else None,
                outcome=Outcome.FAIL if n % 9 == 0 else None,
                sentence=f"Ended as on day {n}",
            )
            for n in range(450, 0, -1)
        ),
        recent=(),
    )


def test_a_page_of_the_table_has_the_newest_200_runs_and_a_link_to_the_older_ones(year: Book) -> None:
    html = page(year, "runs", Site())
    assert len(rows(html)) == table.ON_A_PAGE
    assert rows(html)[0] == "2026-05-31"
    assert '<a rel="next" href="/runs?page=2">Older</a>' in html
    assert "Runs 1 to 200 of 450, the newest first" in html


def test_all_pages_of_the_table_together_have_each_run_once(year: Book) -> None:
    shown = [day for n in (1, 2, 3) for day in rows(page(year, f"runs?page={n}", Site()))]
    assert shown == sorted(set(shown), reverse=True)
    assert len(shown) == 450


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ending=rejected", 50),
        ("trigger=drift&verdict=fail", 50),
        ("ending=skipped&trigger=drift", 0),
        ("text=ON+DAY+44", 11),
        ("since=2026-05-30", 2),
        ("since=2026-05-30&until=2026-05-30", 1),
        ("ending=open", 0),
        ("ending=no+such", 0),
        ("colour=red", 450),
        ("page=0", 450),
        ("page=-3", 450),
        ("page=9999999999999999999999", 450),
        ("%ff=%00&page=x", 450),
    ],
)
def test_the_query_of_the_form_chooses_runs(year: Book, query: str, expected: int) -> None:
    html = page(year, f"runs?{query}", Site())
    assert len(rows(html)) == min(expected, table.ON_A_PAGE)
    assert ("No run is like that." in html) == (expected == 0)


def test_links_to_older_runs_keep_what_was_asked_for(year: Book) -> None:
    assert 'href="/p/runs?ending=skipped&amp;page=2">Older' in page(year, "runs?ending=skipped", Site(prefix="/p"))


def test_the_form_shows_what_was_asked_for(year: Book) -> None:
    html = page(year, 'runs?ending=rejected&text="><b>', Site())
    assert '<option value="rejected" selected>' in html
    assert 'value="&#34;&gt;&lt;b&gt;"' in html


def test_one_file_says_how_many_of_too_many_runs_it_has(year: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "IN_ONE_FILE", 300)
    html = one_file(year)
    assert len(rows(html)) == 300
    assert "The newest 300 of 450 runs; older ones are left out of this file" in html


def test_a_run_without_an_ending_has_not_ended_or_waits_for_a_person_and_can_be_chosen_by_that() -> None:
    """Whether one that has not ended is under way, rests or was killed, no record says."""
    found = book(summary(0, None), summary(1, None, approval=answered(None)))
    said = parts(page(found, "runs", Site())).text
    assert "… not ended – – – – – – –" in said
    assert "‖ waits – – – – – – –" in said
    for name, chosen in (("not_ended", 0), ("waits", 1)):
        shown = rows(page(found, f"runs?ending={name}", Site()))
        assert shown == [f"{found.summaries[chosen].as_of:%Y-%m-%d}"]


# --- drift --------------------------------------------------------------------------------------


def drifted(*features: FeatureDrift, checks: tuple[Check, ...] = (), drawn: bool = True) -> Book:
    """Make a book of one run that saw these features move."""
    run = summary(1, sentence="nothing acts")
    evidence = Evidence(as_of=run.as_of, champion=LIVE, window=Window(NOW, NOW), rows=500, drift=features)
    seen = record(run, evidence=evidence, trigger=TriggerDecision(kind=None, reason="nothing acts", checks=checks))
    shape: dict[str, Any] = {"kind": FeatureKind.NUMERIC, "bins": ("up to 3", "above 3", "missing")}
    histograms = tuple(Histogram(name=f.feature, reference=(50, 40, 0), current=(10, 70, 9), **shape) for f in features)
    figures = {run.run_id: Figures(histograms=histograms)} if drawn else {}
    return live_book(run, recent=(seen,), figures=figures)


def features_of(html: str) -> list[str]:
    """Return the features in the table of drift, from the first row to the last."""
    (body,) = re.findall(r"<caption[^>]*>How far each feature moved</caption>.*?<tbody>(.*?)</tbody>", html, re.DOTALL)
    return [
        re.sub("<[^>]+>", "", one).strip() for one in re.findall(r'<th scope="row"[^>]*>(.*?)</th>', body, re.DOTALL)
    ]


def test_features_stand_in_the_order_of_what_they_ask_for_and_what_was_not_measured_is_last() -> None:
    checks = (
        Check(name="psi", subject="calm", status=CheckStatus.OK, value=0.9, limit=1.2, detail="below 1.2"),
        Check(name="psi", subject="moved", status=CheckStatus.ACT, value=0.4, limit=0.3, detail="beyond 0.3"),
        Check(name="psi", subject="stirred", status=CheckStatus.WARN, value=0.2, limit=0.3, detail="a warning"),
    )
    moved = (
        FeatureDrift(feature="calm", psi=0.9),
        FeatureDrift(feature="gone", psi=None, detail="no rows to compare"),
        FeatureDrift(feature="stirred", psi=0.2),
        FeatureDrift(feature="moved", psi=0.4),
    )
    html = page(drifted(*moved, checks=checks), "drift", Site())
    assert features_of(html) == ["moved", "stirred", "calm", "gone"]
    said = parts(html).text
    assert "✕ act moved 0.4 0.3" in said
    assert "? unknown gone – –" in said


def test_a_fault_of_the_feed_acts_by_name_unless_the_feature_is_ignored() -> None:
    broken = FeatureDrift(feature="amount", psi=3.0, incident="missing")
    ignored = FeatureDrift(feature="season", psi=3.0, incident="unseen", ignored="listed in trigger.ignore")
    said = parts(page(drifted(broken, ignored), "drift", Site())).text
    assert "✕ act amount" in said
    assert "feed: missing." in said
    assert "✓ ok season" in said


def test_each_feature_leads_to_its_histogram_which_has_its_figures_as_a_table() -> None:
    html = page(drifted(FeatureDrift(feature="Amount €", psi=0.4)), "drift", Site())
    found = parts(html)
    anchor = f"hist-{slug('Amount €')}"
    assert anchor in set(found.all("id"))
    assert f"#{anchor}" in set(found.all("href"))
    assert "missing" in found.text


def test_of_many_features_those_that_moved_most_are_drawn_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "DRAWN", 2)
    many = [FeatureDrift(feature=f"f{n}", psi=n / 100) for n in range(5)]
    html = page(drifted(*many), "drift", Site())
    assert "2 of 5 features are drawn, those first that moved most." in html
    assert 'id="hist-f4"' in html
    assert 'id="hist-f2"' not in html
    assert len(features_of(html)) == 5


def test_a_run_without_figures_says_that_its_histograms_are_not_there() -> None:
    html = page(drifted(FeatureDrift(feature="a", psi=0.4), drawn=False), "drift", Site())
    assert "The histograms of this run were not kept, or are gone." in html
    assert features_of(html) == ["a"]


# --- what comes next ----------------------------------------------------------------------------


def standing(**facts: Any) -> ProjectStatus:
    return ProjectStatus(project="demand", **({"deployment": head(), "version": None} | facts))


def answered(approved: bool | None) -> Approval:
    return Approval(asked_at=NOW, until=NOW + timedelta(days=1), champion=BEFORE, approved=approved, by="ann")


def looked(decision: TriggerDecision | None = None, status: RunStatus = RunStatus.SKIPPED) -> RunRecord:
    return record(summary(1, status), trigger=decision)


@pytest.mark.parametrize(
    ("status", "wellbeing", "said"),
    [
        (standing(deployment=None), health(), "The next run trains a first version: nothing is live."),
        (standing(), health(), "The next run looks at the newest rows. It trains when drift, performance or age acts."),
        (
            standing(last_run=looked(TriggerDecision(kind=None, reason="", flip="would have trained had age been 31"))),
            health(),
            "The next run looks at the newest rows. The last one, of 2026-05-31, would have trained had age been 31.",
        ),
        (
            standing(last_run=looked(status=RunStatus.FAILED, decision=TriggerDecision(kind=None, reason=""))),
            health(),
            "The next run looks at the newest rows. The last one, of 2026-05-31, failed: it is tried again.",
        ),
        (
            standing(
                last_run=looked(
                    TriggerDecision(
                        kind=None, reason="", incidents=(Check(name="stale", status=CheckStatus.ACT, detail="old"),)
                    )
                )
            ),
            health(),
            "The next run looks at the newest rows. While the data incident of 2026-05-31 lasts, it trains nothing.",
        ),
        (
            standing(),
            health(breaker=Breaker(stopped=True, lost=3, limit=3)),
            (
                "The next run looks and measures, and trains nothing: 3 challengers in a row were lost. "
                '`rehone breaker --reset --because "…"` lets it go on.'
            ),
        ),
        (
            standing(),
            health(waiting=("r1",)),
            (
                'Run r1 waits for a person: `rehone approve r1` or `rehone reject r1 --because "…"`. '
                "Until it is answered, the next run looks and measures, and trains nothing."
            ),
        ),
        (
            standing(last_run=replace(looked(), status=None, approval=answered(approved=True))),
            health(),
            (
                f"The approval of run {summary(1).run_id} by ann is under way, or was interrupted: `rehone approve "
                f"{summary(1).run_id}` goes on with it. Until then, the next run looks and measures, and trains nothing."
            ),
        ),
        (
            standing(problems=(Check(name="store", status=CheckStatus.ACT),)),
            health(),
            "The next run refuses to begin: the store is not there.",
        ),
    ],
)
def test_what_the_next_run_does_is_said_in_one_sentence(status: ProjectStatus, wellbeing: Health, said: str) -> None:
    assert ahead(Config(), status, wellbeing) == said


# --- how things are written ---------------------------------------------------------------------


def test_what_was_not_measured_is_a_dash_and_never_zero() -> None:
    assert {number(None), fixed(None), signed(None), moment(None), took(None), days(None)} == {"–"}


def test_numbers_are_written_with_a_true_minus_and_aligned() -> None:
    assert (number(-0.25), number(1234567.0), number(1234.5), number(0.00012)) == (
        "−0.25",
        "1,234,567",
        "1,234.50",
        "0.00012",
    )
    assert (fixed(0.5), signed(-0.01), signed(0.0)) == ("0.5000", "−0.0100", "+0.0000")


def test_commands_in_sentences_are_shown_as_code_and_the_rest_as_text() -> None:
    assert prose("run `rehone a <b>` & see") == "run <code>rehone a &lt;b&gt;</code> &amp; see"
    assert prose("1% -> 2%") == '1% <span class="nowrap">-&gt;</span> 2%'


def test_a_long_sentence_is_cut_where_a_clause_ends_and_nothing_of_it_is_lost() -> None:
    sentence = ", ".join(["recall 0.64 against the champion's 1.0000"] * 8)
    first, more = told(sentence)
    assert len(first) < 180
    assert first.removesuffix(" …") + ", " + "".join(more).removeprefix("… ") == sentence
    assert told("short | other") == ("short", ("other",))
    assert told("") == ("", ())


def test_features_that_look_alike_have_anchors_of_their_own() -> None:
    names = ["a_b", "a b", "a-b", "A-B", "é", "è", "a--b", ""]
    assert len({slug(name) for name in names}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]*", slug(name)) for name in names)


# --- from a real project ------------------------------------------------------------------------


def test_a_book_of_a_real_project_changes_nothing_in_its_runs_and_store(live: Project) -> None:
    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for d in ("runs", "store") for p in (live.root / d).rglob("*") if p.is_file()}

    before = files()
    made = api.book(live.root)
    assert files() == before
    assert [run.run_id for run in made.summaries] == [r.run_id for r in made.recent]
    assert made.status.version is not None


def test_a_record_that_cannot_be_read_is_said_and_the_rest_is_shown(live: Project) -> None:
    (first,) = api.history(live.root)
    live.feed(70, 75)
    live.run(72)
    (path,) = (live.root / "runs").rglob(f"{first.run_id}.json")
    path.chmod(0o644)
    path.write_text("{")
    made = api.book(live.root)
    assert made.notes == (
        "1 of the newest 20 run records cannot be read: `rehone doctor` says what is wrong with them.",
    )
    assert len(made.recent) == 1


def test_the_command_writes_a_file_that_tells_of_every_run(
    live: Project, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path_factory.mktemp("out") / "r.html"
    assert main(["report", "-p", str(live.root), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"written: {out}\n"
    found = parts(out.read_text())
    for run in api.history(live.root):
        assert run.run_id in found.text
        assert run.sentence in found.text


def test_a_report_that_cannot_be_written_is_said_with_the_option(live: Project) -> None:
    with pytest.raises(
        RehoneError, match=r"cannot be written to .*nowhere.* \(No such file or directory\): name .* --out"
    ):
        api.report(live.root, live.root / "nowhere" / "r.html", runs=0)


def test_without_jinja_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    layout._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(RehoneError, match=r"pip install 'rehone\[report\]'"):
        one_file(book())


def test_pages_load_no_template_engine_before_one_is_made() -> None:
    said = "import sys, rehone.report, rehone.api; print([m for m in ('jinja2', 'vl_convert', 'starlette') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_all_that_pages_share_is_in_the_package() -> None:
    for name in ("style.css", "page.js"):
        assert len(layout.asset(name)) > 1000
    assert Path(layout.__file__).with_name("templates").is_dir()

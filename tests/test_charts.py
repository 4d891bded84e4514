"""Charts show what records say, in the page's own colours, and are silent where nothing was measured."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from rehone.errors import RehoneError
from rehone.records import (
    Approval,
    Breaker,
    Calibrated,
    CandidateResult,
    Check,
    CheckStatus,
    Curves,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Estimate,
    Evidence,
    FeatureDrift,
    FeatureKind,
    Figures,
    Health,
    HeldEstimate,
    Histogram,
    Importance,
    Metrics,
    Outcome,
    Realised,
    RunRecord,
    RunStatus,
    RunSummary,
    TrackRecord,
    TriggerDecision,
    TriggerKind,
    Verdict,
    Window,
)
from rehone.report import charts, draw
from rehone.report.charts import Chart
from rehone.report.charts.axes import labels, spaced, ticks
from rehone.report.charts.trend import Metric
from rehone.report.wording import slug

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>&\"\x00\x1b\ud800"


def run(place: int, status: RunStatus | None = RunStatus.DEPLOYED, **more: object) -> RunSummary:
    as_of = START + 30 * place * DAY
    return RunSummary(
        run_id=f"run-{place}",
        as_of=as_of,
        started_at=as_of,
        finished_at=as_of + timedelta(seconds=60),
        status=status,
        **more,
    )


def judged(place: int, roc_auc: float, status: RunStatus | None = RunStatus.DEPLOYED, **more: object) -> RunSummary:
    return run(
        place,
        status,
        trigger=TriggerKind.AGE,
        reason="the champion is 31 days old",
        trained=True,
        version=f"{place:x}" * 64,
        outcome=Outcome.PASS if status in (RunStatus.DEPLOYED, RunStatus.ROLLED_BACK) else Outcome.FAIL,
        verdict="not worse than the champion",
        challenger=Metrics(n=500, positives=50, roc_auc=roc_auc, recall=0.8, cost_per_1000=120.0),
        judged_champion=Metrics(n=500, positives=50, roc_auc=0.90),
        roc_auc_interval=(roc_auc - 0.02, min(1.0, roc_auc + 0.02)),
        **more,
    )


def record(place: int, drift: tuple[FeatureDrift, ...], checks: tuple[Check, ...] = (), **more: object) -> RunRecord:
    as_of = START + 30 * place * DAY
    return RunRecord(
        run_id=f"run-{place}",
        project="p",
        as_of=as_of,
        started_at=as_of,
        seed=1,
        host="h",
        pid=1,
        rehone_version="1",
        config_sha256="0",
        config={},
        evidence=Evidence(as_of=as_of, champion="c", drift=drift, **more),
        trigger=TriggerDecision(kind=None, reason="", checks=checks),
    )


def psi(feature: str, value: float | None, status: CheckStatus, detail: str = "") -> Check:
    return Check(name="psi", subject=feature, status=status, value=value, limit=0.25, detail=detail)


def curves(role: str, threshold: float = 0.5) -> Curves:
    thresholds = (1.0, 0.75, 0.5, 0.25, 0.0)
    return Curves(
        role=role,
        threshold=threshold,
        thresholds=thresholds,
        false_positive_rate=(0.0, 0.1, 0.2, 0.5, 1.0),
        recall=(0.0, 0.4, 0.8, 0.9, 1.0),
        precision=(None, 0.8, 0.7, 0.4, 0.2),
        cost_per_1000=(500.0, 300.0, 200.0, 400.0, 800.0),
        calibration=(Calibrated(score=0.2, observed=0.25, low=0.1, high=0.4, n=50),),
    )


def health(**more: object) -> Health:
    facts = {"judged": 0, "refused": 0, "gate_failure_share": None, **more}
    return Health(
        project="p",
        as_of=START,
        runs=0,
        endings={},
        run_seconds=(),
        alarms=0,
        alarms_accepted=0.0,
        days=0,
        newest_row_age_days=None,
        newest_label_age_days=None,
        declines=0,
        breaker=Breaker(stopped=False, lost=0, limit=3),
        **facts,
    )


def deployed(generation: int, version: str | None, days: float, action: str = "deploy", **more: object) -> Deployment:
    at = START + days * DAY
    return Deployment(
        generation=generation,
        version=version,
        action=DeploymentAction(action),
        at=at,
        actor="me@here",
        **{"as_of": at, "reason": "because", "state": DeploymentState.CONFIRMED, **more},
    )


ON_TRIAL = {"state": DeploymentState.TRIAL, "as_of": None}
SECOND = 1 / 86400
OF_RUN = (
    deployed(3, "b" * 64, 0, run_id="run-0", as_of=None),
    deployed(4, "a" * 64, 31, run_id="run-1", reason=HOSTILE, **ON_TRIAL),
    deployed(5, "a" * 64, 31 + 30 * SECOND, "confirm", run_id="run-1", as_of=None),
    deployed(6, "c" * 64, 62, run_id="run-2", **ON_TRIAL),
)
"""What run-1 found, what it put live, and what replaced it."""


def drawings(chart: Chart | None) -> list[ET.Element]:
    assert chart is not None
    return [
        ET.fromstring(svg.replace(' xmlns="http://www.w3.org/2000/svg"', ""))
        for svg in re.findall(r"<svg.*?</svg>", chart.svg, re.DOTALL)
    ]


def marks(chart: Chart | None) -> list[str]:
    """Return what the marks of the first drawing say of themselves."""
    return [mark.attrib["aria-label"] for mark in drawings(chart)[0].iter() if mark.get("class") == "mark"]


def texts(chart: Chart | None, place: int = 0) -> list[str]:
    return [text.text or "" for text in drawings(chart)[place].iter("text")]


def every() -> Iterator[Chart | None]:
    """Draw one of each, with names that nobody should have."""
    name = HOSTILE
    runs = [judged(0, 0.9), judged(1, 0.8, RunStatus.REJECTED), judged(2, 0.92, RunStatus.ROLLED_BACK)]
    told = [replace(r, reason=name, verdict=name, worst_feature=name, worst_psi=0.3, label_rate=0.1) for r in runs]
    estimate = Estimate(value=0.8, low=0.7, high=0.9, n=100, positives=10)
    told = [replace(r, recall=estimate, roc_auc=estimate, estimated_recall=estimate) for r in told]
    yield from (charts.trend(told, None, metric) for metric in ("roc_auc", "recall", "cost_per_1000"))
    yield charts.promises(TrackRecord(promotions=1, matured=1, covered=1, forecasts=(promise(),)))
    yield charts.heat([record(0, (FeatureDrift(feature=name, psi=0.3),), (psi(name, 0.3, CheckStatus.ACT, name),))])
    yield charts.psi_time(told)
    yield charts.histogram(
        Histogram(name=name, kind=FeatureKind.CATEGORICAL, bins=(name, "missing"), reference=(9, 1), current=(5, 5))
    )
    yield charts.scores(
        Histogram(name="scores", kind=None, bins=("up to 0.5", "above 0.5"), reference=(9, 1), current=(5, 5))
    )
    yield charts.label_rate(told)
    yield charts.recall_axis(told, (), 0.6)
    yield charts.run_times(told)
    yield charts.gate_failures(told, health(judged=3, refused=1, gate_failure_share=1 / 3))
    yield charts.deployments([deployed(1, "a" * 64, 0, reason=name), deployed(2, "b" * 64, 9, "rollback")])
    yield charts.course(OF_RUN, "run-1")
    yield charts.intervals(verdict(Check(name="slice", subject=name, status=CheckStatus.ACT, value=-0.2, limit=-0.1)))
    both = (curves("challenger"), curves("champion"))
    yield from (chart(both) for chart in (charts.roc, charts.precision_recall, charts.calibration, charts.cost_curve))
    yield charts.importance(
        Figures(importance=(Importance(feature=name, value=0.1, low=0.05, high=0.2),), importance_rows=9)
    )
    yield charts.candidates(tried(candidate(name, 0.9, winner=True)))


def verdict(*checks: Check) -> Verdict:
    return Verdict(outcome=Outcome.PASS, reason="", checks=checks)


def promise(**more: object) -> Realised:
    facts = {"realised": 0.01, "interval": (0.0, 0.02), "covered": True, **more}
    return Realised(
        run_id="run-0",
        version="a" * 64,
        replaced="b" * 64,
        promoted_at=START,
        predicted=0.02,
        predicted_interval=(0.01, 0.03),
        window=Window(START, START + DAY),
        n=100,
        positives=10,
        **facts,
    )


def candidate(name: str, mean: float | None, **more: object) -> CandidateResult:
    folds = () if mean is None else (mean - 0.01, mean, mean + 0.01)
    return CandidateResult(
        name=name, estimator="e", params={}, window="all", rows=100, cv_roc_auc_mean=mean, fold_roc_auc=folds, **more
    )


def tried(*results: CandidateResult) -> RunRecord:
    return replace(record(0, ()), candidates=results)


@pytest.fixture(scope="module")
def gallery() -> list[Chart]:
    found = list(every())
    assert None not in found
    return [chart for chart in found if chart is not None]


def test_every_chart_is_well_formed_whatever_the_names_in_it(gallery: list[Chart]) -> None:
    for chart in gallery:
        for drawing in drawings(chart):
            assert {part.tag for part in drawing.iter()} <= {"svg", "g", "path", "line", "rect", "text", "circle", "a"}


def test_no_drawing_asks_for_anything_or_needs_a_style_or_a_script_that_a_strict_page_refuses(
    gallery: list[Chart],
) -> None:
    for chart in gallery:
        for part in (part for drawing in drawings(chart) for part in drawing.iter()):
            assert not {"style", "id", "onclick", "onload", "xlink:href"} & set(part.attrib), (chart.title, part.attrib)
            assert part.get("href", "#").startswith("#")
            assert not any("url(" in value for key, value in part.attrib.items() if key != "aria-label")


def test_all_colours_are_those_of_the_page_so_that_a_drawing_follows_its_theme(gallery: list[Chart]) -> None:
    known = {"bg", "panel", "fg", "muted", "line", "accent", "second", "ok", "warn", "act", "unknown", "band"}
    for chart in gallery:
        for part in (part for drawing in drawings(chart) for part in drawing.iter()):
            for key in ("fill", "stroke"):
                value = part.get(key, "none")
                assert value in ("none", "transparent") or value.removeprefix("var(--").removesuffix(")") in known, (
                    chart.title,
                    value,
                )


def test_no_text_is_smaller_than_nine_pixels_where_a_phone_shows_the_drawing(gallery: list[Chart]) -> None:
    for chart in gallery:
        *_, smallest = drawings(chart)
        scale = min(1.0, 318 / float(smallest.attrib["width"]))
        assert scale >= 318 / draw.COMPACT
        for part in smallest.iter():
            assert float(part.get("font-size", 11)) * scale >= 9, chart.title


def test_a_drawing_keeps_its_place_before_it_is_shown(gallery: list[Chart]) -> None:
    for chart in gallery:
        for drawing in drawings(chart):
            width, height = drawing.attrib["width"], drawing.attrib["height"]
            assert drawing.attrib["viewBox"] == f"0 0 {width} {height}"
            kind = drawing.attrib["class"].removeprefix("chart-")
            assert float(width) == {"broad": 720, "narrow": 350, "compact": 370}[kind]


def test_every_chart_has_a_name_a_sentence_marks_that_speak_and_a_table(gallery: list[Chart]) -> None:
    for chart in gallery:
        assert drawings(chart)[0].attrib["aria-label"]
        assert chart.said.endswith("."), chart.said
        assert marks(chart), chart.title
        assert chart.rows, chart.title
        assert {len(row) for row in chart.rows} == {len(chart.columns)}


def test_no_label_of_an_axis_runs_into_the_next_in_a_font_that_is_wide() -> None:
    runs = [replace(judged(n, 0.9), label_rate=0.1, worst_psi=0.1) for n in range(24)]
    drift = (FeatureDrift(feature="a", psi=0.1),)
    both = (curves("challenger"), curves("champion"))
    for chart in (
        charts.trend(runs, None, "roc_auc"),
        charts.label_rate(runs[:3]),
        charts.psi_time(runs[:9]),
        charts.heat([record(n, drift) for n in range(24)]),
        charts.roc(both),
        charts.deployments([deployed(n + 1, f"{n}" * 64, 9 * n) for n in range(9)]),
    ):
        for drawing in drawings(chart):
            ((_, end), *others) = _labels_below(drawing)
            assert others
            for start, after in others:
                assert start >= end
                end = after


def _labels_below(drawing: ET.Element) -> list[tuple[float, float]]:
    """Return where the labels of the lower axis start and end, px, from left to right, in a font that is wide."""
    for group in drawing.iter("g"):
        placed = [
            (text.attrib["transform"][10:-1].split(","), text)
            for text in group
            if "transform" in text.attrib and text.tag == "text"
        ]
        if len(placed) > 1 and len({place[1] for place, _ in placed}) == 1:
            return sorted(_reach(float(place[0]), text, group) for place, text in placed)
    raise AssertionError("no labels below")


def _reach(x: float, text: ET.Element, group: ET.Element) -> tuple[float, float]:
    wide = 6.6 * len(text.text or "")
    before = {"middle": wide / 2, "end": wide}.get(text.get("text-anchor", group.get("text-anchor", "")), 0.0)
    return x - before, x - before + wide


def test_nothing_is_drawn_where_nothing_was_measured() -> None:
    silent = [replace(run(0, RunStatus.SKIPPED), finished_at=None)]
    assert [charts.trend(silent, None, m) for m in ("roc_auc", "recall", "cost_per_1000")] == [None] * 3
    assert charts.promises(None) is None
    assert charts.promises(TrackRecord(promotions=0, matured=0, covered=0)) is None
    assert charts.heat([record(0, ())]) is None
    assert charts.psi_time(silent) is None
    assert charts.histogram(Histogram(name="x", kind=None, bins=("a",), reference=(0,), current=(0,))) is None
    assert charts.scores(None) is None
    assert charts.label_rate(silent) is None
    assert charts.recall_axis(silent) is None
    assert charts.run_times(silent) is None
    assert charts.gate_failures(silent, health()) is None
    assert charts.deployments([]) is None
    assert charts.deployments([deployed(1, None, 0)]) is None
    assert charts.intervals(None) is None
    assert charts.intervals(verdict(Check(name="enough_rows", status=CheckStatus.OK, value=1.0, limit=1.0))) is None
    assert [chart(()) for chart in (charts.roc, charts.precision_recall, charts.calibration, charts.cost_curve)] == [
        None
    ] * 4
    assert charts.importance(None) is None
    assert charts.importance(Figures()) is None
    assert charts.candidates(tried(candidate("broken", None, error="no rows"))) is None


def test_a_trend_tells_each_fate_by_a_shape_of_its_own_and_joins_only_what_went_live() -> None:
    runs = [
        judged(0, 0.90),
        judged(1, 0.88, RunStatus.REJECTED),
        judged(2, 0.91, RunStatus.ROLLED_BACK),
        judged(3, 0.92),
    ]
    chart = charts.trend(runs, None, "roc_auc")
    points = [mark for mark in drawings(chart)[0].iter("path") if "challenger" in mark.get("aria-label", "")]
    assert len({re.sub(r"[\d.,-]", "", point.attrib["d"]) + point.attrib["fill"] for point in points}) == 3
    assert len(points) == 4
    (line,) = [
        path.attrib["d"]
        for path in drawings(chart)[0].iter("path")
        if path.get("stroke") == "var(--accent)"
        and "A" not in path.attrib["d"]
        and path.get("stroke-width") == "2"
        and not path.get("aria-label")
    ]
    assert line.count("L") == 1


def test_a_challenger_that_waits_is_told_from_one_whose_run_has_not_ended_by_word_and_shape() -> None:
    asked = Approval(asked_at=START, until=START + 3 * DAY, champion="a" * 64)
    chart = charts.trend(
        [judged(0, 0.9), judged(1, 0.91, None, approval=asked), judged(2, 0.92, None)], None, "roc_auc"
    )
    assert chart is not None
    assert [row[3] for row in chart.rows] == ["not ended", "waits", "went live"]
    assert texts(chart)[:4] == ["challenger went live", "‖", "waits", "not ended"]
    points = [mark.attrib["d"] for mark in drawings(chart)[0].iter("path") if ", waits" in mark.get("aria-label", "")]
    assert [point.count("M") for point in points] == [2], "two bars"


def test_a_point_of_a_trend_says_why_it_was_trained_and_what_the_gate_said() -> None:
    chart = charts.trend([judged(0, 0.9)], None, "roc_auc")
    assert marks(chart)[-1] == (
        "2026-01-01: challenger 000000000000, ROC-AUC 0.9000 (0.8800 to 0.9200), went live. "
        "Trained because of age: the champion is 31 days old. Verdict: pass, not worse than the champion"
    )
    assert "age" in texts(chart)


def test_a_trend_says_what_a_promotion_promised_and_what_came() -> None:
    track = TrackRecord(promotions=1, matured=1, covered=1, forecasts=(promise(),))
    chart = charts.trend([judged(0, 0.9)], track, "roc_auc")
    kept = "Gain promised +0.0200 (+0.0100 to +0.0300), came +0.0100 (+0.0000 to +0.0200)"
    assert marks(chart)[-1].endswith(kept)
    assert chart is not None
    assert chart.rows[0][-2:] == ("+0.0200", "+0.0100")


def test_one_challenger_that_is_far_worse_does_not_press_the_others_into_a_line() -> None:
    runs = [judged(0, 0.90), judged(1, 0.30, RunStatus.REJECTED), judged(2, 0.92)]
    chart = charts.trend(runs, None, "roc_auc")
    assert "0.3 ↓" in texts(chart)
    assert any("ROC-AUC 0.3000 (0.2800 to 0.3200), rejected" in said for said in marks(chart))


def test_a_long_history_is_drawn_by_its_newest_and_the_rest_is_said() -> None:
    runs = [judged(place, 0.9) for place in range(200)]
    chart = charts.trend(runs, None, "roc_auc")
    assert chart is not None
    assert len([said for said in marks(chart) if "challenger" in said]) == 150
    assert chart.said.startswith("The newest 150 of 200 challengers judged, 150 went live;")


def test_what_came_after_the_newest_retrain_is_within_the_drawing_too() -> None:
    seen = Estimate(value=0.75, low=0.6, high=0.9, n=100, positives=20)
    later = [replace(run(place, RunStatus.SKIPPED), recall=seen) for place in range(3, 9)]
    for drawing in drawings(charts.trend([judged(0, 0.9), judged(1, 0.9), *later], None, "recall")):
        found = [mark.attrib["transform"] for mark in drawing.iter() if mark.get("class") == "mark"]
        assert len(found) == 8
        assert all(
            0 < float(place.split("(")[1].split(",")[0]) < float(drawing.attrib["width"]) - 20 for place in found
        )


@pytest.mark.parametrize(
    ("metric", "said"),
    [("roc_auc", "ROC-AUC 0.7500 (0.6000 to 0.9000)"), ("recall", "recall 0.750 (0.600 to 0.900)"), ("cost_per_1000", "cost 0.8 (0.6 to 0.9)")],
)  # fmt: skip
def test_challengers_stand_beside_what_champions_did_in_production(metric: Metric, said: str) -> None:
    seen = Estimate(value=0.75, low=0.6, high=0.9, n=100, positives=20)
    quiet = replace(run(1, RunStatus.SKIPPED), champion="c" * 64, **{metric: seen})
    chart = charts.trend([judged(0, 0.9), quiet], None, metric)
    assert chart is not None
    assert f"2026-01-31: champion cccccccccccc, {said}, 20 positives among labels that came due" in marks(chart)
    assert "champion, labels that came due" in texts(chart)
    assert chart.said.endswith(
        "Dashed is the champion that each run found, at a retrain the one before it, on labels that had come due by then, "
        "which need not be rows of the holdout; the band is its interval."
    )
    value, bounds = said.rstrip(")").split(" ", 1)[1].split(" (")
    row = dict(zip(chart.columns[:8], chart.rows[0], strict=False))
    assert (row["as of"], row["ending"], row["challenger"]) == ("2026-01-31", "skipped", "–")
    assert chart.rows[0][7:9] == (value, bounds)


def test_a_champion_that_was_measured_once_has_a_band_too() -> None:
    seen = Estimate(value=0.75, low=0.6, high=0.9, n=100, positives=20)
    once, twice = [
        charts.trend([judged(0, 0.9), *(replace(run(place), recall=seen) for place in places)], None, "recall")
        for places in ((1,), (1, 2))
    ]
    for drawing in drawings(once):
        (band,) = [line for line in drawing.iter("line") if line.get("stroke-width") == "9"]
        assert abs(float(band.attrib["y2"])) > 20
    assert not [line for drawing in drawings(twice) for line in drawing.iter("line") if line.get("stroke-width") == "9"]


def test_an_interval_that_reaches_into_the_drawing_from_far_below_does_not_stretch_it() -> None:
    far = replace(judged(2, 0.3, RunStatus.REJECTED), roc_auc_interval=(0.2, 0.8))
    drawn = [charts.trend([judged(0, 0.9), judged(1, 0.92), *more], None, "roc_auc") for more in ((), (far,))]
    alone, beside = [{text for text in texts(chart) if re.fullmatch(r"0\.\d+", text)} for chart in drawn]
    assert alone == beside


def test_runs_that_never_ranked_labels_that_came_due_draw_no_champion_and_keep_the_same_rows_in_the_table() -> None:
    chart = charts.trend([judged(0, 0.92), judged(1, 0.93)], None, "roc_auc")
    assert chart is not None
    assert "champion, labels that came due" not in texts(chart)
    assert all("challenger" in said for said in marks(chart))
    assert "Dashed" not in chart.said
    place = chart.columns.index("champion, same rows")
    assert [row[place : place + 3] for row in chart.rows] == [("0.9000", "–", "–")] * 2


def test_a_heat_map_shows_each_status_by_glyph_and_colour_as_the_run_decided() -> None:
    drift = (
        *tuple(FeatureDrift(feature=name, psi=0.3) for name in ("a", "b", "c", "e")),
        FeatureDrift(feature="d", psi=None, detail="no rows"),
        FeatureDrift(feature="f", psi=2.0, incident="missing"),
    )
    checks = (
        psi("a", 0.3, CheckStatus.OK),
        psi("b", 0.3, CheckStatus.WARN),
        psi("c", 0.3, CheckStatus.ACT, "PSI of c is 0.3"),
        psi("d", None, CheckStatus.UNKNOWN),
        psi("e", 0.3, CheckStatus.OK, "PSI of e is 0.3, ignored: clock"),
        psi("f", 2.0, CheckStatus.ACT, "PSI of f is 2, a data incident"),
    )
    chart = charts.heat([record(0, drift, checks)])
    words = {said.split(", ")[1].split(":")[0] for said in marks(chart)}
    assert words == {"ok", "warn", "act", "unknown", "ignored", "incident"}
    assert chart is not None
    assert [row[0] for row in chart.rows] == ["f", "c", "b", "d", "a", "e"]
    assert {row[0]: row[1] for row in chart.rows}["d"] == "– unknown"
    assert set(texts(chart)) >= {"✓", "!", "✕", "?", "·", "▲"}
    strokes = [
        part.attrib["d"]
        for part in drawings(chart)[0].iter("path")
        if "class" not in part.attrib and "transform" in part.attrib
    ]
    assert len({stroke for stroke in strokes if stroke != ""}) >= 6


def test_a_run_that_came_to_no_decision_is_judged_by_the_limits() -> None:
    drift = tuple(
        FeatureDrift(feature=name, psi=value) for name, value in (("a", 0.099), ("b", 0.10), ("c", 0.25), ("d", None))
    )
    chart = charts.heat([replace(record(0, drift), trigger=None)], (0.10, 0.25))
    assert chart is not None
    assert {row[0]: row[1].split()[-1] for row in chart.rows} == {"a": "ok", "b": "warn", "c": "act", "d": "unknown"}
    off = charts.heat([replace(record(0, drift), trigger=None)], (0.10, None))
    assert off is not None
    assert {row[0]: row[1].split()[-1] for row in off.rows}["c"] == "warn"


def test_cells_lead_to_the_histogram_of_their_feature_and_take_no_stop_of_the_tab_key() -> None:
    chart = charts.heat([record(0, (FeatureDrift(feature="Amount in €", psi=0.3),))])
    links = list(drawings(chart)[0].iter("a"))
    assert {link.get("href") for link in links} == {f"#hist-{slug('Amount in €')}"}
    assert {link.get("tabindex") for link in links} == {"-1"}
    assert drawings(chart)[0].get("role") == "group"
    assert drawings(charts.trend([judged(0, 0.9)], None, "recall"))[0].get("role") == "img"


def test_of_many_features_and_runs_the_worst_and_the_newest_are_drawn_and_the_rest_is_said() -> None:
    drift = tuple(FeatureDrift(feature=f"f{n:02d}", psi=n / 100) for n in range(40))
    chart = charts.heat([record(place, drift) for place in range(70)])
    assert chart is not None
    assert len(marks(chart)) == 30 * 60
    assert len([part for part in drawings(chart)[1].iter() if part.get("class") == "mark"]) == 30 * 12
    assert "The worst 30 of 40 features are drawn. The newest 60 of 70 runs are drawn." in chart.said
    assert len(chart.rows) == 40
    assert len(chart.svg) < 800_000


def test_a_histogram_shows_shares_of_both_and_sets_what_is_no_value_apart() -> None:
    found = Histogram(
        name="x",
        kind=FeatureKind.NUMERIC,
        bins=("up to 1", "above 1", "missing"),
        reference=(60, 40, 0),
        current=(5, 3, 2),
    )
    chart = charts.histogram(found)
    assert marks(chart) == [
        "up to 1: 50.0% now (5 rows), 60.0% in the reference (60 rows)",
        "above 1: 30.0% now (3 rows), 40.0% in the reference (40 rows)",
        "missing: 20.0% now (2 rows), 0.0% in the reference (0 rows)",
    ]
    assert chart is not None
    assert chart.rows[2] == ("missing", "0", "0.0%", "2", "20.0%")
    assert chart.said == "10 rows now against 100 of the reference; moved most: missing, from 0.0% to 20.0%."
    heights = {
        float(text.attrib["y"]): text.text for text in drawings(chart)[0].iter("text") if text.text in found.bins
    }
    first, second, apart = sorted(heights)
    assert apart - second > 1.5 * (second - first)


def test_of_many_bins_those_that_moved_most_are_drawn_and_all_stand_in_the_table() -> None:
    bins = (*(f"v{n}" for n in range(60)), "unseen")
    found = Histogram(name="x", kind=FeatureKind.CATEGORICAL, bins=bins, reference=(10,) * 61, current=(*range(60), 10))
    chart = charts.histogram(found)
    assert chart is not None
    assert len(marks(chart)) == 24
    assert any(said.startswith("unseen: ") for said in marks(chart))
    assert len(chart.rows) == 61
    assert chart.said.endswith("The 24 bins that moved most are drawn, of 61.")


def test_an_estimate_that_was_held_against_labels_stands_at_the_run_that_made_it() -> None:
    estimate = Estimate(value=0.8, low=0.7, high=0.9, n=100, positives=20)
    held = HeldEstimate(
        run_id="run-0",
        window=Window(START, START + DAY),
        estimated=estimate,
        measured=replace(estimate, value=0.5),
        covered=False,
    )
    chart = charts.recall_axis(
        [run(0, estimated_recall=estimate), run(1, recall=estimate)], [record(1, (), held=held)], 0.6
    )
    assert (
        marks(chart)[-1]
        == "2026-01-01: recall was estimated at 0.800; labels of the same rows showed 0.500, outside of the interval"
    )
    assert chart is not None
    assert "performance acts below 0.6. 0 of 1 estimates held once labels were due." in chart.said
    assert chart.rows[0][2:] == ("–", "–", "0.800", "0.700 to 0.900")


def test_the_share_that_the_gate_did_not_let_pass_is_that_of_the_newest() -> None:
    runs = [judged(n, 0.9, RunStatus.REJECTED if n < 2 else RunStatus.DEPLOYED) for n in range(4)]
    limit = Check(name="gate_failures", status=CheckStatus.ACT, value=0.5, limit=0.2)
    chart = charts.gate_failures(runs, health(judged=2, refused=0, gate_failure_share=0.0, checks=(limit,)))
    assert chart is not None
    assert [row[3] for row in chart.rows] == ["0.0%", "50.0%", "100.0%", "100.0%"]
    assert chart.said == "0 of the newest 2 challengers did not pass (0.0%); the limit is 20.0%."


def test_run_times_tell_those_that_trained_from_those_that_did_not() -> None:
    chart = charts.run_times([judged(0, 0.9), run(1, RunStatus.SKIPPED)])
    assert chart is not None
    assert [row[3] for row in chart.rows] == ["no", "yes"]
    assert chart.said == "The newest run that trained took 60.0 s; the median is 60.0 s."


def test_deployments_join_records_of_the_same_version_and_mark_a_rollback() -> None:
    log = [
        deployed(1, "a" * 64, 0),
        deployed(2, "a" * 64, 0.1, "confirm"),
        deployed(3, "b" * 64, 10),
        deployed(4, "a" * 64, 12, "rollback"),
    ]
    chart = charts.deployments(log)
    assert chart is not None
    assert [row[0] for row in chart.rows] == ["4", "3", "1"]
    assert chart.said == "aaaaaaaaaaaa is live since 2026-01-13; 2 versions so far, 1 rollback."
    assert marks(chart)[0] == "aaaaaaaaaaaa, live 2026-01-01 to 2026-01-11, generation 1: because"
    assert marks(chart)[-1] == "aaaaaaaaaaaa, rolled back to, live since 2026-01-13, generation 4: because"


def test_deployments_stand_on_the_day_they_were_made_where_one_was_made_by_hand() -> None:
    log = [deployed(1, "a" * 64, 0, as_of=START - 300 * DAY), deployed(2, "b" * 64, 5, as_of=None)]
    chart = charts.deployments(log)
    assert chart is not None
    assert [row[1] for row in chart.rows] == ["2026-01-06", "2026-01-01"]
    assert "made on" in texts(chart)


def test_what_is_live_since_minutes_is_drawn_up_to_now_and_no_further() -> None:
    log = [deployed(1, "a" * 64, 0, as_of=START - 300 * DAY), deployed(2, "b" * 64, 1 / 24, as_of=None)]
    now = START + DAY / 24 + timedelta(minutes=3)
    chart = charts.deployments(log, START - 300 * DAY, now)
    drawn = {text for text in texts(chart) if re.search(r"\d\d:\d\d$", text)}
    assert drawn
    assert max(drawn) <= "01-01 01:03"


def test_what_a_run_put_live_is_drawn_from_what_it_found_to_what_replaced_it() -> None:
    chart = charts.course(OF_RUN, "run-1")
    assert chart is not None
    assert chart.said == (
        "aaaaaaaaaaaa deployed, on trial; aaaaaaaaaaaa proved itself after 30.0 s; replaced by cccccccccccc after 31.0 d. "
        "The steps are not to scale."
    )
    assert [row[1:5] for row in chart.rows] == [
        ("2026-01-01", "bbbbbbbbbbbb was live", "31.0 d", "run run-0"),
        ("2026-02-01", "aaaaaaaaaaaa deployed, on trial", "30.0 s", "me@here"),
        ("2026-02-01 00:00 UTC", "aaaaaaaaaaaa proved itself", "31.0 d", "me@here"),
        ("2026-03-04", "replaced by cccccccccccc", "–", "run run-2"),
    ]
    assert texts(chart)[:3] == ["live", "on trial", "another version"]
    assert [text for text in texts(chart) if "for" in text] == [
        "live for 31.0 d",
        "on trial for 30.0 s",
        "live for 31.0 d",
    ]
    assert "since then" not in " ".join(texts(chart)), "what came after the newest record shown is not told here"


def test_a_trial_that_failed_goes_back_by_a_sign_of_its_own_and_says_that_nothing_has_followed() -> None:
    found, tried, _, _ = OF_RUN
    back = deployed(5, "b" * 64, 31 + 12 * SECOND, "rollback", run_id="run-1", as_of=None)
    chart = charts.course((found, tried, back), "run-1")
    assert chart is not None
    assert chart.said == (
        "aaaaaaaaaaaa deployed, on trial; rolled back to bbbbbbbbbbbb after 12.0 s. Nothing came after it. "
        "The steps are not to scale."
    )
    assert {"rolled back", "live since then"} <= set(texts(chart))
    assert marks(chart)[-1] == (
        "generation 5, rolled back to bbbbbbbbbbbb, 2026-02-01 00:00 UTC by me@here, then live since then: because"
    )
    nothing = charts.course((tried, replace(back, version=None)), "run-1")
    assert marks(nothing)[-1].startswith("generation 5, rolled back to nothing, ")
    assert texts(nothing)[-1] == "nothing live since then"


def test_between_two_runs_that_replay_the_past_time_is_that_of_their_days() -> None:
    log = [deployed(1, "a" * 64, 0, run_id="run-1", as_of=START - 300 * DAY)]
    log.append(deployed(2, "b" * 64, 0.01, run_id="run-2", as_of=START - 270 * DAY))
    chart = charts.course(log, "run-1")
    assert chart is not None
    assert chart.rows[0][1:4] == ("as of 2025-03-07", "aaaaaaaaaaaa deployed", "30.0 d")


def test_a_run_that_put_nothing_live_has_no_drawing_of_it() -> None:
    assert charts.course(OF_RUN, "run-9") is None


def test_comparisons_are_drawn_in_margins_whatever_their_sign() -> None:
    auc = Check(name="roc_auc_vs_champion", status=CheckStatus.OK, value=-0.01, limit=-0.02, interval=(-0.02, 0.0))
    cost = Check(name="cost_vs_champion", status=CheckStatus.ACT, value=5.0, limit=10.0, interval=(0.0, 10.0))
    chart = charts.intervals(verdict(auc, cost))
    assert marks(chart) == [
        "ROC-AUC, ok: −0.01 (−0.02 to 0), margin −0.02",
        "cost per 1,000, act: +5 (0 to +10), margin +10",
    ]
    points = [mark.attrib["transform"] for mark in drawings(chart)[0].iter("path") if mark.get("class") == "mark"]
    assert len({point.split(",")[0] for point in points}) == 1  # half a margin behind, both


def test_an_interval_that_goes_far_beyond_the_margin_is_cut_and_says_so_by_an_arrow() -> None:
    far = Check(name="roc_auc_vs_champion", status=CheckStatus.ACT, value=-0.5, limit=-0.02, interval=(-0.6, -0.4))
    near = replace(far, value=-0.01, interval=(-0.02, 0.0))
    shapes = [
        next(
            part.attrib["d"]
            for part in drawings(charts.intervals(verdict(check)))[0].iter("path")
            if part.get("class") == "mark"
        )
        for check in (far, near)
    ]
    assert "A" not in shapes[0]
    assert "A" in shapes[1]


def test_curves_mark_each_models_own_threshold() -> None:
    chart = charts.roc((curves("challenger", 0.75), curves("champion", 0.5)))
    own = [said for said in marks(chart) if said.endswith("its own threshold")]
    assert own == [
        "champion at threshold 0.5: false positive rate 0.2, recall 0.8; its own threshold",
        "challenger at threshold 0.75: false positive rate 0.1, recall 0.4; its own threshold",
    ]
    assert charts.precision_recall((curves("challenger"),)) is not None
    cost = charts.cost_curve((curves("challenger"),))
    assert cost is not None
    assert cost.said == "Challenger cost 200.0 at threshold 0.500. Cheapest on these rows: challenger 200 at 0.5."


def test_curves_have_the_colours_of_the_trend_challengers_the_first_and_champions_the_second() -> None:
    for drawn in (charts.roc, charts.precision_recall, charts.calibration, charts.cost_curve):
        (drawing,) = drawings(drawn((curves("challenger", 0.75), curves("champion", 0.5))))
        own = [mark for mark in drawing.iter("path") if mark.get("class") == "mark" and mark.get("stroke")]
        told = {(mark.attrib["aria-label"].split(" ")[0].rstrip(":"), mark.attrib["stroke"]) for mark in own}
        assert told == {("challenger", "var(--accent)"), ("champion", "var(--second)")}, drawn
        dashed = {
            line.get("stroke")
            for line in drawing.iter("path")
            if line.get("stroke-width") == "2" and line.get("stroke-dasharray")
        }
        assert "var(--second)" in dashed
        assert "var(--accent)" not in dashed


def test_precision_that_is_not_known_is_left_out_of_the_curve_and_a_dash_in_the_table() -> None:
    chart = charts.precision_recall((curves("champion"),))
    assert chart is not None
    assert chart.rows[0] == ("champion", "1.000", "0.000", "–")


def test_importance_says_how_many_features_were_not_asked() -> None:
    worth = tuple(Importance(feature=f"f{n}", value=0.1 / (n + 1), low=0.0, high=0.2) for n in range(25))
    chart = charts.importance(Figures(importance=worth, importance_rows=500, importance_left_out=175))
    assert chart is not None
    assert (
        chart.said
        == "f0 is worth most: with its values shuffled, ROC-AUC falls by 0.1000 on 500 rows. The first 20 of 25 are drawn. 175 more were not asked."
    )
    assert len(chart.rows) == 25


def test_candidates_show_the_winner_first_and_name_those_that_failed_in_the_table() -> None:
    chart = charts.candidates(
        tried(candidate("slow", 0.95), candidate("won", 0.93, winner=True), candidate("broken", None, error="no rows"))
    )
    assert chart is not None
    assert next(text for text in texts(chart) if ", all" in text) == "★ won, all"
    assert chart.said == "won on all rows won, mean 0.9300; 1 could not be fitted."
    assert chart.rows[2] == ("broken", "all", "–", "–", "–", "100", "no rows")


def test_promises_tell_a_regret_by_a_shape_of_its_own() -> None:
    track = TrackRecord(
        promotions=2,
        matured=1,
        covered=0,
        regrets=("run-0",),
        forecasts=(
            promise(covered=False, regret=True),
            promise(realised=None, interval=None, covered=None, detail="too few labels"),
        ),
    )
    chart = charts.promises(track)
    assert chart is not None
    assert chart.said == "0 of 1 promotions whose labels are due brought what was promised; 1 regretted."
    assert any(
        said.endswith("outside of what was promised, and the replaced version would have been better")
        for said in marks(chart)
    )
    assert any("what came is not known: too few labels" in said for said in marks(chart))


def test_the_same_figures_give_the_same_drawing_and_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = charts.label_rate([run(0, label_rate=0.123)])
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # so that nothing can be drawn
    assert charts.label_rate([run(0, label_rate=0.123)]) == first


def test_drawings_that_are_kept_take_a_bounded_amount_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "KEPT", 30_000)
    first, *_, last = [charts.label_rate([run(n, label_rate=0.2)]) for n in range(8)]
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert charts.label_rate([run(7, label_rate=0.2)]) == last
    with pytest.raises(RehoneError):
        charts.label_rate([run(0, label_rate=0.2)])
    assert first is not None


def test_without_the_extra_a_chart_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(RehoneError) as told:
        charts.label_rate([run(0, label_rate=0.124)])
    assert str(told.value) == "charts need vl-convert, which is not installed: pip install 'rehone[report]'"


def test_figures_on_an_axis_are_round() -> None:
    assert ticks(0.87, 1.0, 5) == [0.9, 0.95, 1.0]
    assert ticks(0, 1600, 5) == [0, 500, 1000, 1500]
    assert ticks(-4.1, 0.7, 5) == [-4, -3, -2, -1, 0]


def test_names_that_are_cut_alike_are_told_apart() -> None:
    long = "a name of more letters than fit in here, "
    assert labels([long + "one", long + "two", "short"], 21) == [
        "a name of … here, one",
        "a name of … here, two",
        "short",
    ]
    assert labels([f"begins alike, {n} and ends alike" for n in "ab"], 21) == [
        "begins a…s alike #1",
        "begins a…s alike #2",
    ]


def test_a_name_in_broad_letters_is_cut_sooner() -> None:
    assert labels(["A_COLUMN_IN_CAPITALS", "列の名前が長いもの", "a_column_in_small"], 17) == [
        "A_COL…ITALS",
        "列の名前…長いもの",
        "a_column_in_small",
    ]


def test_texts_that_would_run_into_each_other_are_left_out() -> None:
    rows = [{"n": 0}, {"n": 1}, {"n": 2}]
    assert spaced(rows, [0, 10, 30], [20, 20, 20]) == [{"n": 0}, {"n": 2}]

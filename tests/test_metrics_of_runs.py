"""Hold figures of runs to the records they come from, and to the programs that read them."""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import Project
from tests.http_kit import Quiet, listening

from rehone import api, health, observers
from rehone.cli.endings import main
from rehone.config import Config, load_config, parse_config
from rehone.errors import ConfigError, RehoneError
from rehone.integrations.prometheus import MetricsListener, figures, printed
from rehone.integrations.prometheus.known import Known
from rehone.records import (
    Approval,
    CheckStatus,
    Deployment,
    DeploymentAction,
    DeploymentState,
    Estimate,
    Metrics,
    Outcome,
    RunRecord,
    RunStatus,
    RunSummary,
    TriggerKind,
    Window,
)
from rehone.runlog.summaries import summaries
from rehone.serve.meters import Meters, MeterState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOCS = Path(__file__).parents[1] / "docs"
NAME = re.compile(r"rehone_pipeline_[a-z0-9_]+")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _samples(text: str) -> Samples:
    """Parse Prometheus text; return each sample by name and labels but the project, which all must have."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("project")
            assert sample.timestamp is None
            found[sample.name, frozenset(labels.items())] = sample.value
    return found


def _value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"rehone_pipeline_{name}", frozenset(labels.items())))


def _names(found: Samples) -> set[str]:
    return {name for name, _ in found}


@dataclass
class Receiver:
    """A server that takes pushes as a Pushgateway does, of `login` alone, and answers them with `answer`."""

    url: str = ""
    pushes: list[tuple[str, str, str]] = field(default_factory=list)
    answer: int = 200
    login: str = ""


@pytest.fixture
def gateway() -> Iterator[Receiver]:
    """Listen on a free port of this machine."""
    found = Receiver()

    class Handler(Quiet):
        def do_PUT(self) -> None:  # noqa: N802 - the name of the library
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            known = base64.b64decode(given).decode() == found.login
            if known:
                found.pushes.append((self.path, self.headers["Content-Type"], body))
            self.send_response(found.answer if known else 401)
            if not known:
                self.send_header("WWW-Authenticate", 'Basic realm="gateway"')
            self.end_headers()

    with listening(Handler) as found.url:
        yield found


def _all_measured(config: Config) -> Known:
    """Return a project of which everything is measured, and whose challenger waits."""
    good = Metrics(n=900, positives=90, roc_auc=0.9, recall=0.7, cost_per_1000=80.0)
    run = RunSummary(
        run_id="one",
        as_of=NOON,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=5),
        status=RunStatus.DEPLOYED,
        trigger=TriggerKind.DRIFT,
        trained=True,
        outcome=Outcome.PASS,
        version="b" * 64,
        challenger=good,
        judged_champion=replace(good, roc_auc=0.8),
        rows=700,
        window=Window(NOON - timedelta(days=30), NOON),
        recall=Estimate(value=0.6, low=0.5, high=0.7, n=500, positives=50),
        roc_auc=Estimate(value=0.85, low=0.8, high=0.9, n=500, positives=50),
        estimated_recall=Estimate(value=0.65, low=0.6, high=0.7, n=500, positives=50),
        cost_per_1000=Estimate(value=90, low=80, high=100, n=500, positives=50),
        label_rate=0.1,
        worst_feature="amount",
        worst_psi=0.3,
        newest_row=NOON,
        newest_label=NOON - timedelta(days=9),
    )
    asked = Approval(asked_at=NOON, until=NOON + timedelta(days=1), champion=None)
    waiting = replace(run, run_id="two", status=None, finished_at=None, approval=asked)
    head = Deployment(
        generation=2,
        version="b" * 64,
        action=DeploymentAction.CONFIRM,
        state=DeploymentState.CONFIRMED,
        at=NOON,
        actor="ana",
    )
    runs = (run, waiting)
    return Known(
        config=config,
        runs=runs,
        health=health.of(runs, config, NOON),
        head=head,
        since=NOON,
        live_as_of=NOON,
    )


@pytest.fixture
def every(project: Project) -> set[str]:
    """Return the names of all figures there are; one of them needs a whole record."""
    made = _all_measured(project.configure())
    return {
        *_names(_samples(generate_latest(figures.registry(made)).decode())),
        "rehone_pipeline_features_beyond_limit",
    }


# --- what is said ----------------------------------------------------------------------------------


def test_figures_of_a_live_project_are_those_of_its_records(live: Project) -> None:
    found, config = _samples(printed(str(live.root))), load_config(live.root)
    (run,), status = summaries(config), api.status(live.root)
    assert status.version is not None
    assert status.deployment is not None
    assert run.challenger is not None
    assert run.finished_at is not None
    assert _value(found, "live_info", version=status.version.id) == 1
    assert _value(found, "generation") == status.deployment.generation
    assert _value(found, "champion_as_of_timestamp_seconds") == status.version.manifest.as_of.timestamp()
    assert _value(found, "live_since_timestamp_seconds") == pytest.approx(api.deployments(live.root)[0].at.timestamp())
    assert _value(found, "last_run_timestamp_seconds") == pytest.approx(run.finished_at.timestamp())
    assert _value(found, "last_run_seconds") == run.seconds
    assert _value(found, "last_run_ending", ending="deployed") == 1
    assert _value(found, "last_run_ending", ending="failed") == 0
    assert _value(found, "runs_total", ending="deployed") == 1
    assert _value(found, "runs_total", ending="rejected") == 0
    assert _value(found, "trained_runs_total", trigger="bootstrap") == 1
    assert _value(found, "judged_challengers") == 1
    assert _value(found, "gate_failure_ratio") == 0
    assert _value(found, "holdout_roc_auc", role="challenger") == run.challenger.roc_auc
    assert _value(found, "holdout_recall", role="challenger") == run.challenger.recall
    assert _value(found, "row_age_limit_seconds") == 5 * 86_400
    assert _value(found, "run_interval_seconds") == 86_400


def test_what_was_not_measured_is_absent_and_what_was_counted_is_zero(project: Project) -> None:
    found = _samples(printed(str(project.root)))
    assert _value(found, "runs_total", ending="deployed") == 0
    assert _value(found, "generation") is None
    unknown = ("live_", "last_", "holdout", "recall", "worst", "newest", "drift_alarms", "gate_failure_ratio")
    measured = {name.removeprefix("rehone_pipeline_") for name in _names(found) if not name.endswith("_limit")}
    assert [name for name in measured if name.startswith(unknown)] == []
    assert all(math.isfinite(value) for value in found.values())


def test_a_first_deployment_has_no_champion_beside_it(live: Project) -> None:
    found = _samples(printed(str(live.root)))
    assert _value(found, "holdout_roc_auc", role="champion") is None


def test_a_look_at_the_data_gives_recall_and_drift_with_their_limits(live: Project) -> None:
    """The newest look counts; a record that is gone takes only what it alone knew."""
    live.feed(70, 80)
    record = live.run(80)
    assert record.evidence is not None
    assert record.evidence.recall is not None
    found = _samples(printed(str(live.root)))
    assert _value(found, "recall") == record.evidence.recall.value
    assert _value(found, "recall_low") == record.evidence.recall.low
    assert record.evidence.roc_auc is not None
    assert _value(found, "roc_auc") == record.evidence.roc_auc.value
    assert _value(found, "roc_auc_high") == record.evidence.roc_auc.high
    assert _value(found, "window_rows") == record.evidence.rows
    worst = max(record.evidence.drift, key=lambda drift: drift.psi or 0)
    assert _value(found, "worst_psi") == worst.psi
    assert _value(found, "worst_feature_info", feature=worst.feature) == 1
    assert _value(found, "features_beyond_limit") == 0
    assert _value(found, "newest_row_timestamp_seconds") == pytest.approx(record.as_of.timestamp(), abs=86_400)
    assert _value(found, "check_info", check="breaker", subject="", status="ok") == 1
    assert "overdue" not in {dict(labels).get("check") for _, labels in found}
    next((live.root / "runs").rglob(f"{record.run_id}.json")).unlink()
    without = _samples(printed(str(live.root)))
    assert _value(without, "worst_psi") == worst.psi
    assert _value(without, "features_beyond_limit") is None


def test_no_figure_is_a_copy_of_one_that_the_service_shows(every: set[str]) -> None:
    served = Meters().render(MeterState(version="v", generation=1)).decode()
    assert {family.name for family in text_string_to_metric_families(served)} & every == set()
    assert all(name.startswith(figures.PREFIX) for name in every)


def test_the_page_of_metrics_names_every_figure_and_no_other(every: set[str]) -> None:
    page = (DOCS / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(rehone_pipeline_[a-z0-9_]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(every)


# --- what Grafana and Prometheus are set up with ---------------------------------------------------


def _asked(expr: str) -> set[str]:
    """Parse a query, and return the names of the metrics that it asks for."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(node.name)

    promql_parser.walk(promql_parser.parse(expr), visit)
    assert found
    return found


def test_the_dashboard_loads_in_the_models_of_grafana_and_comes_back_whole() -> None:
    laid = json.loads(printed(".", "grafana"))
    back = json.loads(json.dumps(Dashboard.from_json(laid), cls=JSONEncoder))
    assert _within(laid, back) == []


def _within(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """Return where the second lacks something of the first."""
    if isinstance(mine, dict):
        return [
            lost
            for key, value in mine.items()
            for lost in (_within(value, theirs[key], f"{path}/{key}") if key in theirs else [f"{path}/{key}"])
        ]
    if isinstance(mine, list):
        pairs = zip(mine, theirs, strict=True)
        return [lost for n, (one, other) in enumerate(pairs) for lost in _within(one, other, f"{path}[{n}]")]
    return [] if mine == theirs else [path]


def test_the_dashboard_asks_only_for_figures_that_exist_of_the_project_that_was_chosen(every: set[str]) -> None:
    laid = json.loads(printed(".", "grafana"))
    asks = [target["expr"] for panel in laid["panels"] for target in panel["targets"]]
    assert set().union(*map(_asked, asks)) <= every
    assert all(ask.count('{project="$project"}') == len(NAME.findall(ask)) for ask in asks)
    (choice,) = [one for one in laid["templating"]["list"] if one["name"] == "project"]
    assert set(NAME.findall(choice["query"]["query"])) <= every


def test_no_panel_of_the_dashboard_lies_on_another() -> None:
    places = [panel["gridPos"] for panel in json.loads(printed(".", "grafana"))["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_the_rules_have_the_shape_of_prometheus_and_ask_only_for_figures_that_exist(every: set[str]) -> None:
    laid = yaml.safe_load(printed(".", "rules"))
    assert list(laid) == ["groups"]
    (group,) = laid["groups"]
    assert set(group) == {"name", "rules"}
    names = [rule["alert"] for rule in group["rules"]]
    assert len(names) == len(set(names))
    for rule in group["rules"]:
        assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
        assert _asked(rule["expr"]) <= every
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["annotations"]["summary"].startswith("{{ $labels.project }}: ")


def test_labels_that_rules_and_panels_ask_for_are_given(project: Project) -> None:
    text = generate_latest(figures.registry(_all_measured(project.configure()))).decode()
    for name, label, value in re.findall(r'(rehone_pipeline_\w+)\{(\w+)="([^"]+)"', printed(".", "rules")):
        assert re.search(rf'^{name}\{{[^}}]*\b{label}="{value}"', text, re.MULTILINE), (name, label, value)


# --- where they go ---------------------------------------------------------------------------------


def _run_of(config: Config) -> RunRecord:
    return next(iter(api.history(config)))


def test_a_push_replaces_the_group_of_the_project(live: Project, gateway: Receiver) -> None:
    config = live.configure(metrics={"pushgateway": gateway.url})
    assert MetricsListener(config).tell_run(_run_of(config), b"") == gateway.url
    ((path, kind, body),) = gateway.pushes
    assert path == "/metrics/job/rehone/project/story"
    assert kind.startswith("text/plain; version=")
    assert _samples(body) == _samples(printed(str(live.root)))


def test_many_subjects_told_at_once_are_written_once(live: Project, gateway: Receiver) -> None:
    config = live.configure(metrics={"pushgateway": gateway.url})
    listener = MetricsListener(config)
    assert listener.tell_run(_run_of(config), b"") == listener.tell_deployment(api.deployments(config)[0])
    assert len(gateway.pushes) == 1


def test_a_textfile_that_is_read_while_it_is_rewritten_is_never_half(live: Project, tmp_path: Path) -> None:
    folder = tmp_path / "textfiles"
    folder.mkdir()
    path = folder / "story.prom"
    config = live.configure(metrics={"textfile": str(path)})
    record, whole = _run_of(config), printed(str(live.root))
    MetricsListener(config).tell_run(record, b"")
    done, seen = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            seen.append(path.read_text() == whole)

    reader = threading.Thread(target=read)
    reader.start()
    listeners = [MetricsListener(config) for _ in range(20)]
    for listener in listeners:
        assert listener.tell_run(record, b"") == str(path)
    done.set()
    reader.join()
    assert seen
    assert all(seen)
    assert [one.name for one in folder.iterdir()] == ["story.prom"]


def test_a_place_that_fails_is_named_and_the_other_one_is_written(
    live: Project, gateway: Receiver, tmp_path: Path
) -> None:
    missing = tmp_path / "gone" / "story.prom"
    config = live.configure(metrics={"textfile": str(missing), "pushgateway": gateway.url})
    with pytest.raises(RehoneError) as caught:
        MetricsListener(config).tell_run(_run_of(config), b"")
    assert str(caught.value) == (
        f"figures cannot be written to {missing}: No such file or directory: make room, give write permission, or "
        "name another place in [metrics]"
    )
    assert len(gateway.pushes) == 1
    gateway.answer = 400
    config = live.configure(metrics={"textfile": str(tmp_path / "story.prom"), "pushgateway": gateway.url})
    with pytest.raises(RehoneError) as caught:
        MetricsListener(config).tell_run(_run_of(config), b"")
    assert str(caught.value) == (
        f"figures cannot be written to {gateway.url}: it answered HTTP 400: look whether metrics.pushgateway is the "
        "address of a Pushgateway"
    )
    assert (tmp_path / "story.prom").exists()


def test_a_gateway_behind_a_password_is_sent_it_from_its_file(live: Project, gateway: Receiver) -> None:
    """It stands in no record and in no error, whether it is right or wrong."""
    gateway.login = "rehone:grün hush"
    keys = {"pushgateway": gateway.url, "pushgateway_user": "rehone", "pushgateway_password_file": "gateway.password"}
    config, file = live.configure(metrics=keys), live.root / "gateway.password"
    named, remedy = "metrics.pushgateway_password_file gateway.password", "write the password into it, and nothing else"
    keys_to_look_at = "metrics.pushgateway_user and metrics.pushgateway_password_file"
    refused = (
        ("hush\n", f"it answered HTTP 401: look whether {keys_to_look_at} are those of the Pushgateway"),
        ("\n", f"{named} is empty: {remedy}"),
        ("hush\nhush\n", f"{named} holds more than one line: {remedy}"),
        (None, f"{named} cannot be read (No such file or directory): {remedy}"),
    )
    file.write_text("grün hush\n")
    assert MetricsListener(config).tell_run(_run_of(config), b"") == gateway.url
    for text, said in refused:
        file.unlink() if text is None else file.write_text(text)
        with pytest.raises(RehoneError) as caught:
            MetricsListener(config).tell_run(_run_of(config), b"")
        assert str(caught.value) == f"figures cannot be written to {gateway.url}: {said}"
    assert len(gateway.pushes) == 1
    assert "hush" not in json.dumps(config.as_recorded())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('pushgateway = "http://me@127.0.0.1:9091"', "pushgateway holds a user: set pushgateway_user and"),
        ('pushgateway = "http://me:hush@127.0.0.1:9091"', "pushgateway holds a user: set pushgateway_user and"),
        ('pushgateway = "me:hush@127.0.0.1:9091"', "pushgateway holds a user: set pushgateway_user and"),
        ('pushgateway = "127.0.0.1:9091"\npushgateway_user = "me"', "belong together: set both, or none"),
        ('pushgateway_user = "me"\npushgateway_password_file = "x"', "pushes to pushgateway: name that address"),
        (
            'pushgateway = "127.0.0.1:9091"\npushgateway_user = "a:b"\npushgateway_password_file = "x"',
            "pushgateway_user is empty or holds a colon or a line break, which no user of HTTP has",
        ),
    ],
)
def test_a_user_without_a_password_or_in_the_address_is_refused(keys: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"[metrics]\n{keys}\n")
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_an_address_whose_port_is_none_is_said_by_its_place(live: Project) -> None:
    config = live.configure(metrics={"pushgateway": "http://127.0.0.1:x"})
    with pytest.raises(RehoneError) as caught:
        MetricsListener(config).tell_run(_run_of(config), b"")
    assert str(caught.value) == "figures cannot be written to http://127.0.0.1:x: nonnumeric port: 'x'"


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder here that even root may not write into")
def test_a_folder_that_may_not_be_written_is_said(live: Project) -> None:
    config = live.configure(metrics={"textfile": "/sys/kernel/story.prom"})
    with pytest.raises(RehoneError, match=r"cannot be written to /sys/kernel/story.prom: .*: make room"):
        MetricsListener(config).tell_run(_run_of(config), b"")


# --- with runs -------------------------------------------------------------------------------------


def test_a_run_ends_as_it_does_without_and_what_failed_is_written_later(
    live: Project, gateway: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    run = ["run", "-p", str(live.root), "--as-of", "2026-03-13", "-q"]
    plain, without = main(run), capfd.readouterr()
    live.configure(metrics={"textfile": "figures/story.prom", "pushgateway": gateway.url})
    assert main(run) == plain
    said = capfd.readouterr()
    assert said.out == without.out
    assert (
        f"metrics was not told of 1 run or deployment yet: figures cannot be written to {live.root}/figures" in said.err
    )
    (live.root / "figures").mkdir()
    assert [c.status for c in api.doctor(live.root) if c.subject == "metrics"] == [CheckStatus.OK]
    written = (live.root / "figures" / "story.prom").read_text()
    assert _value(_samples(written), "runs_total", ending="skipped") == 2
    assert gateway.pushes[-1][2] == written


def test_a_challenger_that_waits_is_counted_when_it_begins_to(project: Project) -> None:
    project.configure(deploy={"approval": "manual"}, metrics={"textfile": "story.prom"})
    project.feed(0, 70)
    record = project.run(70)
    assert record.waits
    assert record.approval is not None
    found = _samples((project.root / "story.prom").read_text())
    assert _value(found, "waiting_approvals") == 1
    assert _value(found, "approval_until_timestamp_seconds") == pytest.approx(record.approval.until.timestamp())
    (told,) = observers.deliveries(load_config(project.root), f"{observers.WAITING}{record.run_id}")
    assert (told.tracker, told.link) == ("metrics", str(project.root / "story.prom"))


def test_a_rollback_by_hand_is_seen_at_once(live: Project) -> None:
    live.configure(metrics={"textfile": "story.prom"})
    api.rollback(live.root, to="none", because="looks wrong")
    found = _samples((live.root / "story.prom").read_text())
    assert (_value(found, "generation"), _value(found, "champion_as_of_timestamp_seconds")) == (2, None)
    assert "rehone_pipeline_live_info" not in _names(found)

"""Rows in PostgreSQL and DuckDB are the same as in files, and only those that are used are asked for."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from postgres_kit import Server

import test_served as loop
from conftest import Project
from rehone import api, artifact
from rehone.config import load_config
from rehone.data import open_labels, open_source
from rehone.data.warehouse import Warehouse
from rehone.errors import DataError, SourceAway
from rehone.records import Profile, RunRecord, RunStatus, Window
from rehone.store import Store

BIKES = Path(__file__).parents[3] / "examples" / "bike_high_demand" / "bike_high_demand.parquet"
FIRST, SECOND = date(2012, 5, 1), date(2012, 6, 1)
QUERY = "SELECT * FROM rides -- all of them"
SLOW = "SELECT *, nap(hr) AS rest FROM rides"
BIKE = {
    "project": {"name": "bikes"},
    "data": {
        "time_column": "event_date",
        "label": "label",
        "exclude": ["weekday"],
        "label_delay_days": 1,
        "lookback_days": 120,
        "min_label_rate": 0.01,
        "max_label_rate": 0.6,
        "stale_after_days": 7,
    },
    "trigger": {"window_days": 14, "performance_days": 21, "min_recall": 0.7},
    "train": {"candidates": ["logistic_regression"], "windows": ["trailing"], "folds": 3},
    "gate": {"min_recall": 0.3, "min_roc_auc": 0.7},
}


QUIET = {"psi_action": 50.0, "psi_warn": 40.0, "ks_action": 1.0, "max_age_days": "off", "min_recall": "off"}


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.fixture(scope="module")
def rides() -> pl.DataFrame:
    """Two years of real bike rentals, in the types that every database has."""
    bikes = pl.read_parquet(BIKES)
    return bikes.with_columns(pl.col("event_date").dt.cast_time_unit("us"), pl.col("hr", "label").cast(pl.Int16))


@pytest.fixture(scope="module")
def server(rides: pl.DataFrame) -> Iterator[Server]:
    made = Server()
    try:
        made.load("rides", rides.sample(fraction=1, shuffle=True, seed=1))
        made.do(
            "CREATE INDEX ON rides (event_date)",
            "ANALYZE rides",
            "CREATE FUNCTION nap(n smallint) RETURNS text LANGUAGE plpgsql STABLE AS "
            "$$ BEGIN PERFORM pg_sleep(0.02); RETURN n; END $$",
        )
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def file(rides: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file with the same rows."""
    path = tmp_path_factory.mktemp("duck") / "rides.duckdb"
    with duckdb.connect(str(path)) as own:
        own.register("given", rides.sample(fraction=1, shuffle=True, seed=2).to_arrow())
        own.execute("CREATE TABLE rides AS SELECT * FROM given")
    return path


@pytest.fixture(params=["postgresql", "duckdb"])
def address(request: pytest.FixtureRequest) -> str:
    if request.param == "duckdb":
        return f"duckdb:///{request.getfixturevalue('file')}"
    found: Server = request.getfixturevalue("server")
    return found.address()


def project(root: Path, source: str, **sections: dict[str, Any]) -> Project:
    """Make a project on the bike rentals."""
    root.mkdir(parents=True, exist_ok=True)
    made = Project(root, text="")
    tables = {name: {**BIKE.get(name, {}), **sections.get(name, {})} for name in {**BIKE, **sections}}
    tables["data"]["source"] = source
    if "://" in source:
        tables["data"].setdefault("query", QUERY)
    made.configure(**tables)
    return made


def kept(root: Path) -> list[str]:
    """List what was asked for and still lies on the disk."""
    gc.collect()
    return sorted(os.listdir(root / ".rehone-cache" / "asked"))


def run(made: Project, on: date, **options: Any) -> RunRecord:
    return api.run_pipeline(made.root, as_of=on, **options)


def story(record: RunRecord, made: Project) -> dict[str, Any]:
    """Return what a run decided, without what differs from run to run."""
    version = api.show(made.root, record.version) if record.version else None
    return {
        "status": record.status,
        "trigger": record.trigger and (record.trigger.kind, record.trigger.reason),
        "signals": record.trigger and [check for check in record.trigger.checks if check.name != "champion"],
        "evidence": record.evidence
        and (record.evidence.rows, record.evidence.drift, record.evidence.scores, record.evidence.recall),
        "window": record.data and (record.data.window, record.data.rows, record.data.positives),
        "split": record.split,
        "quality": [(c.name, c.window, c.rows, c.cv_roc_auc_mean) for c in record.candidates],
        "verdict": record.verdict and [(c.name, c.subject, c.value, c.status) for c in record.verdict.checks],
        "profile": version.manifest.files["profile.json"].sha256 if version else None,  # type: ignore[union-attr]
        "contract": version.manifest.contract if version else None,  # type: ignore[union-attr]
        "train": version and (version.manifest.train_window, version.manifest.train_end),  # type: ignore[union-attr]
    }


def opened(made: Project, on: date | datetime, **data: Any) -> Warehouse:
    """Open the data of a project as it was on a day."""
    config = load_config(made.root)
    moment = on if isinstance(on, datetime) else utc(on.year, on.month, on.day)
    policy = config.data.model_copy(update=data)
    found = open_source(policy, made.root, cache=config.cache_path, as_of=moment)
    assert isinstance(found, Warehouse)
    return found


def connections(server: Server) -> int:
    """Count Rehone's connections."""
    (row,) = server.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rehone'")
    return int(row[0])


@dataclass(frozen=True)
class Deployed:
    """A first run on PostgreSQL: what it asked, and how many connections it had as each stage began."""

    project: Project
    record: RunRecord
    asked: list[str]
    connections: dict[str, int]


@pytest.fixture(scope="module")
def deployed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    made = project(tmp_path_factory.mktemp("deployed"), server.address(), trigger=QUIET)
    before, seen = server.now(), dict[str, int]()
    record = run(made, FIRST, listen=lambda event: seen.setdefault(event.stage, connections(server)))
    assert record.status is RunStatus.DEPLOYED, record.sentence
    return Deployed(made, record, server.asked(before), seen)


# --- the same as files --------------------------------------------------------------------------


def test_a_run_decides_splits_judges_and_deploys_as_one_on_files_of_the_same_rows(
    address: str, rides: pl.DataFrame, tmp_path: Path
) -> None:
    here, there = project(tmp_path / "files", "data"), project(tmp_path / "asked", address)
    (here.root / "data").mkdir()
    for (day,), rows in rides.group_by(pl.col("event_date").dt.date()):
        rows.write_parquet(here.root / "data" / f"{day}.parquet")
    for on in (FIRST, SECOND):
        expected, found = run(here, on), run(there, on)
        assert found.status is not RunStatus.FAILED, found.sentence
        assert story(found, there) == story(expected, here)
        assert kept(there.root) == []
    assert expected.version is not None
    assert expected.verdict is not None


def test_a_check_says_what_a_check_on_files_says(address: str, rides: pl.DataFrame, tmp_path: Path) -> None:
    here, there = project(tmp_path / "files", "rides.parquet"), project(tmp_path / "asked", address)
    rides.write_parquet(here.root / "rides.parquet")
    expected, found = api.check(here.root, as_of=FIRST), api.check(there.root, as_of=FIRST)
    assert (found.would_train, found.sentence) == (expected.would_train, expected.sentence)
    assert [(c.name, c.subject, c.value, c.n, c.status) for c in found.data_checks] == [
        (c.name, c.subject, c.value, c.n, c.status) for c in expected.data_checks
    ]


def test_a_run_made_stage_by_stage_asks_anew_and_ends_the_same(
    server: Server, deployed: Deployed, tmp_path: Path
) -> None:
    made = project(tmp_path, server.address(), trigger=QUIET)
    end = api.run_stage(made.root, "check", as_of=FIRST)
    for name in ("validate", "train", "judge", "deploy"):
        assert end.status is None, end.sentence
        end = api.run_stage(made.root, name, run=end.run_id)
    found = api.show(made.root, end.run_id)
    assert isinstance(found, RunRecord)
    assert story(found, made) == story(deployed.record, deployed.project)
    assert found.data == deployed.record.data


def test_the_record_names_the_query_word_for_word_and_the_digest_of_each_day(
    server: Server, deployed: Deployed
) -> None:
    record = deployed.record
    assert record.data is not None
    said, words = record.data.source.split(": ", 1)
    assert said == server.address()
    assert words == (
        'SELECT "event_date", "season", "hr", "holiday", "workingday", "weathersit", "temp", "atemp", "hum", '
        '"windspeed", "label" FROM (\nSELECT * FROM rides -- all of them\n) AS rehone_rows '
        "WHERE \"event_date\" >= TIMESTAMP '2012-01-01 00:00:00' AND \"event_date\" < TIMESTAMP '2012-05-01 00:00:00' "
        'ORDER BY "event_date"'
    )
    assert [file.path for file in record.data.files][::120] == ["2012-01-01", "2012-04-30"]
    assert (
        sum(file.rows for file in record.data.files)
        == record.data.rows
        == server.ask(f"SELECT count(*) FROM ({words}) AS r")[0][0]
    )


# --- what is asked ------------------------------------------------------------------------------


def windows(statements: list[str]) -> list[tuple[str, str]]:
    """Return the window of each statement that asks for rows."""
    found = (re.search(r">= TIMESTAMP '(.*?)' AND .* < TIMESTAMP '(.*?)' ORDER BY", text) for text in statements)
    return [(match[1][:10], match[2][:10]) for match in found if match]


def test_what_is_not_used_is_not_asked_for(server: Server, deployed: Deployed) -> None:
    made = deployed.project
    assert windows(deployed.asked) == [("2012-01-01", "2012-05-01")]
    before = server.now()
    assert api.check(made.root, as_of=SECOND).would_train is False
    quiet = server.asked(before)
    assert windows(quiet)[:2] == [("2012-05-18", "2012-06-01"), ("2012-05-10", "2012-05-18")]
    assert touching(windows(quiet)) == ("2012-01-01", "2012-06-01")  # inputs stir, so those of the reference are read
    assert not any('"weekday"' in text for text in (*deployed.asked, *quiet) if windows([text]))
    before = server.now()
    assert run(made, SECOND, force=True).split is not None
    assert windows(server.asked(before)) == windows(quiet)  # training finds its rows among them


def touching(asked: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the stretch that windows cover together, none of them twice and without a gap."""
    ordered = sorted(asked)
    assert [start for start, _ in ordered[1:]] == [end for _, end in ordered[:-1]]
    return ordered[0][0], ordered[-1][1]


def test_all_history_is_asked_for_only_where_a_window_of_training_wants_it(server: Server, tmp_path: Path) -> None:
    made = project(tmp_path, server.address(), train={"windows": ["trailing", "all"]})
    before = server.now()
    assert run(made, FIRST).status is RunStatus.DEPLOYED
    assert windows(server.asked(before)) == [("2012-01-01", "2012-05-01"), ("2011-01-01", "2012-01-01")]


def test_the_window_reaches_the_index_below_the_query(server: Server, tmp_path: Path) -> None:
    made = project(tmp_path, server.address())
    before = server.now()
    assert api.check(made.root, as_of=FIRST).would_train
    (asked,) = [
        text for text in server.asked(before) if text.startswith("COPY (SELECT") and 'ORDER BY "event_date")' in text
    ]
    plain = asked.removeprefix("COPY (").partition(") TO STDOUT")[0].replace("-- all of them", "")
    plan = server.plan(plain)
    assert (
        "Index Cond: ((event_date >= '2012-01-01 00:00:00'::timestamp without time zone) AND (event_date < '2012-05-01"
        in plan
    )


def test_rows_from_as_of_on_are_counted_and_never_asked_for(server: Server, tmp_path: Path) -> None:
    made = project(tmp_path, server.address())
    before = server.now()
    source = opened(made, FIRST)
    rows = source.read(Window(utc(2012, 4, 20), utc(2012, 7, 1)))
    assert rows["__time__"].max() == utc(2012, 4, 30, 23)
    assert windows(server.asked(before)) == [("2012-04-20", "2012-05-01")]
    facts = source.facts(Window(utc(2012, 4, 20), utc(2012, 5, 1)), source.features(), now=utc(2012, 12, 30, 12))
    assert (facts.future_rows, facts.future_newest) == (35, utc(2012, 12, 31, 23))


def test_a_column_that_only_the_champion_reads_is_asked_for_and_one_that_nobody_reads_is_not(
    server: Server, deployed: Deployed
) -> None:
    champion = profile_of(deployed)
    window, before = Window(utc(2012, 5, 1), utc(2012, 6, 1)), server.now()
    narrow = opened(deployed.project, SECOND, exclude=("weekday", "hum"))
    assert narrow.scan(window, ["hr"]).collect().columns == ["__time__", "hr"]
    assert narrow.counts(window, champion) == opened(deployed.project, SECOND).counts(window, champion)
    asked = [text for text in server.asked(before) if windows([text])]
    assert ['"hum"' in text for text in asked] == [False, True, True]


def profile_of(deployed: Deployed) -> Profile:
    """Return what the champion remembers of its data."""
    store = Store(deployed.project.root / "store")
    assert deployed.record.version is not None
    found = artifact.read_profile(store.read(deployed.record.version))
    assert found is not None
    return found


def test_what_is_read_is_one_state_of_the_database_until_it_is_let_go(server: Server, tmp_path: Path) -> None:
    server.load(
        "moving",
        pl.DataFrame({"at": [utc(2026, 1, n) for n in range(1, 11)], "x": range(10), "label": [0, 1] * 5}),
    )
    made = project(
        tmp_path, server.address(), data={"query": "SELECT * FROM moving", "time_column": "at", "exclude": []}
    )
    source = opened(made, date(2026, 1, 11))
    newest = Window(utc(2026, 1, 8), utc(2026, 1, 11))
    assert source.scan(newest, ["x"]).collect()["x"].to_list() == [7, 8, 9]
    server.do("DELETE FROM moving")
    assert connections(server) == 1
    assert source.read(Window(utc(2026, 1, 1), utc(2026, 1, 11)), ["x"])["x"].to_list() == list(range(10))
    assert connections(server) == 1
    source.release()
    assert connections(server) == 0
    assert opened(made, date(2026, 1, 11)).span() is None


def test_a_run_lets_the_server_go_before_it_trains(deployed: Deployed) -> None:
    assert (deployed.connections["validate"], deployed.connections["train"]) == (1, 0)


# --- times and types ----------------------------------------------------------------------------

MOMENTS = [datetime(2026, 3, 29, 0, 30) + timedelta(minutes=30 * n) for n in range(12)]  # noqa: DTZ001
MOMENTS += [datetime(2026, 10, 25, 0, 30) + timedelta(minutes=30 * n) for n in range(12)]  # noqa: DTZ001
"""Local times around both changes of the clocks in Paris: some never are, some are twice."""
EDGES = [utc(2026, 3, 29, 0), utc(2026, 3, 29, 1), utc(2026, 3, 29, 1, 30), utc(2026, 3, 29, 2), utc(2026, 3, 30)]
EDGES += [
    utc(2026, 10, 24, 22),
    utc(2026, 10, 25, 0, 30),
    utc(2026, 10, 25, 1),
    utc(2026, 10, 25, 1, 30),
    utc(2026, 10, 26),
]
TYPES = {
    "timestamp": pl.col("at"),
    "timestamptz": pl.col("at").dt.replace_time_zone("UTC"),
    "date": pl.col("at").dt.date(),
}


def table(address: str, rows: pl.DataFrame, server: Server | None, folder: Path) -> str:
    """Make a table `small` of rows, and return the address that has it."""
    if server is not None and address.startswith("postgresql"):
        server.load("small", rows)
        return address
    path = folder / "small.duckdb"
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as own:
        own.register("given", rows.to_arrow())
        own.execute("CREATE TABLE small AS SELECT * FROM given")
    return "duckdb:///small.duckdb"


@pytest.fixture(params=["postgresql", "duckdb"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Project]:
    """Return what makes a project on a table of some rows."""

    def make(rows: pl.DataFrame, query: str = "SELECT * FROM small", **data: Any) -> Project:
        server = request.getfixturevalue("server") if request.param == "postgresql" else None
        source = table(server.address() if server else "", rows, server, tmp_path)
        return project(tmp_path, source, data={"query": query, "time_column": "at", "exclude": [], **data})

    return make


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris"])
def test_a_window_holds_the_rows_that_it_holds_in_files_whatever_the_type_of_time(
    small: Callable[..., Project], kind: str, zone: str
) -> None:
    rows = pl.DataFrame({"at": MOMENTS, "x": range(len(MOMENTS)), "label": [0, 1] * 12}).with_columns(TYPES[kind])
    made = small(rows, timezone=zone)
    rows.write_parquet(made.root / "small.parquet")
    for n, start in enumerate(EDGES[:-1], 1):
        for end in (*EDGES[n : n + 1], EDGES[-1]):
            files = open_source(
                load_config(made.root).data.model_copy(update={"source": "small.parquet", "query": None}),
                made.root,
                cache=None,
                as_of=end,
            )
            expected = files.read(Window(start, end), ["x", "label"]).sort("__time__", "x")
            asked = opened(made, end)
            newest = (end - timedelta(hours=1)).replace(hour=0, minute=0)
            asked.scan(Window(newest, end), ["x"]).collect()  # the newest day comes first, and once
            assert_frame_equal(asked.read(Window(start, end), ["x", "label"]).sort("__time__", "x"), expected)


def test_what_only_a_database_has_becomes_a_number_or_a_text_or_is_left_out_and_said(
    server: Server, tmp_path: Path
) -> None:
    server.do(
        "DROP TABLE IF EXISTS odd CASCADE",
        "DROP TYPE IF EXISTS mood",
        "CREATE TYPE mood AS ENUM ('calm', 'wild')",
        """CREATE TABLE odd AS SELECT timestamptz '2026-01-01 00:00+00' + n * interval '1 hour' AS at,
        (12345678901234567890 + n)::numeric AS id, (n * 1.25)::numeric(10, 2) AS price, n % 2 = 0 AS known,
        'wild'::mood AS mood, '00000000-0000-0000-0000-000000000001'::uuid AS device, '10.0.0.1'::inet AS host,
        'ab '::char(3) AS code, (ARRAY['1', 'NaN', 'Infinity', NULL, '1'])[n + 1]::float8 AS x,
        '{}'::jsonb AS payload, ARRAY[1] AS list, (n % 2)::numeric AS label FROM generate_series(0, 4) AS n""",
    )
    made = project(
        tmp_path,
        server.address(),
        data={"query": "SELECT * FROM odd", "time_column": "at", "id_column": "id", "exclude": []},
    )
    source = opened(made, date(2026, 1, 2))
    assert source.features() == ("price", "known", "mood", "device", "host", "code", "x")
    assert [check.sentence for check in source.findings] == [
        f"column {name!r} is not used as a feature: its type {kind} is not numeric, boolean or text: "
        "name it in data.exclude to say so, or cast it in data.query to what it means"
        for name, kind in (("payload", "jsonb"), ("list", "_int4"))
    ]
    rows = source.read(Window(utc(2026, 1, 1), utc(2026, 1, 2))).drop("__time__")
    assert rows.row(1) == (
        1.25,
        False,
        "wild",
        "00000000-0000-0000-0000-000000000001",
        "10.0.0.1/32",
        "ab",
        pytest.approx(float("nan"), nan_ok=True),
        "12345678901234567891",
        1,
    )
    assert rows["x"].to_list()[2:] == [float("inf"), None, 1.0]
    assert rows["label"].to_list() == [0, 1, 0, 1, 0]


def test_duckdb_too_has_types_of_its_own(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "odd.duckdb")) as own:
        own.execute(
            """CREATE TABLE odd AS SELECT TIMESTAMP '2026-01-01' + to_hours(n::INT) AS at, (12345678901234567890 + n)::HUGEINT AS id,
            (n * 1.25)::DECIMAL(10, 2) AS price, n % 2 = 0 AS known, 'wild'::ENUM('calm', 'wild') AS mood,
            '00000000-0000-0000-0000-000000000001'::UUID AS device, (['1', 'nan', 'inf', NULL, '1'])[n + 1]::DOUBLE AS x,
            [1] AS list, {'a': 1} AS pair, (n % 2)::UTINYINT AS label FROM range(5) AS r(n)"""
        )
    made = project(
        tmp_path,
        "duckdb:///odd.duckdb",
        data={"query": "SELECT * FROM odd", "time_column": "at", "id_column": "id", "exclude": []},
    )
    source = opened(made, date(2026, 1, 2))
    assert source.features() == ("price", "known", "mood", "device", "x")
    assert [check.subject for check in source.findings] == ["list", "pair"]
    rows = source.read(Window(utc(2026, 1, 1), utc(2026, 1, 2))).drop("__time__")
    assert rows.row(2) == (
        2.5,
        True,
        "wild",
        "00000000-0000-0000-0000-000000000001",
        float("inf"),
        "12345678901234567892",
        0,
    )


def test_rows_without_a_time_and_infinite_times_are_counted_and_harm_nothing(server: Server, tmp_path: Path) -> None:
    server.do(
        "DROP TABLE IF EXISTS wild CASCADE",
        """CREATE TABLE wild AS SELECT at::timestamptz, 1 AS x, 0 AS label FROM (VALUES ('2026-01-01 10:00+00'),
        (NULL), (NULL), ('infinity'), ('-infinity'), ('2026-03-01 00:00+00')) AS v(at)""",
    )
    made = project(tmp_path, server.address(), data={"query": "SELECT * FROM wild", "time_column": "at", "exclude": []})
    source = opened(made, date(2026, 2, 1))
    assert source.span() == Window(utc(2026, 1, 1, 10), utc(2026, 1, 1, 10) + timedelta(microseconds=1))
    facts = source.facts(Window(utc(2026, 1, 1), utc(2026, 2, 1)), ["x"], now=utc(2026, 2, 1))
    assert (facts.rows, facts.untimed_rows, facts.future_rows, facts.future_newest) == (1, 2, 2, utc(2026, 3, 1))


# --- digests ------------------------------------------------------------------------------------


def test_the_digest_is_of_the_rows_whatever_the_order_in_which_they_lie(small: Callable[..., Project]) -> None:
    days = [date(2026, 1, 1 + n // 100) for n in range(300)]
    rows = pl.DataFrame(
        {
            "at": days,
            "x": [n % 7 / 3 for n in range(300)],
            "name": [f"n{n % 5}" for n in range(300)],
            "label": [n % 2 for n in range(300)],
        }
    )
    window, found, seen = Window(utc(2026, 1, 1), utc(2026, 1, 4)), [], []
    changed = rows.with_columns(x=pl.when(pl.int_range(300) == 150).then(99.0).otherwise("x"))
    for given in (rows, rows.sample(fraction=1, shuffle=True, seed=3), changed):
        source = opened(small(given), date(2026, 1, 4))
        found.append(source.describe(window))
        seen.append(source.read(window))
        source.release()
    assert seen[0].equals(seen[1])
    assert found[0] == found[1]
    assert found[0].sha256 != found[2].sha256
    assert [a.sha256 == b.sha256 for a, b in zip(found[0].files, found[2].files, strict=True)] == [True, False, True]


# --- labels -------------------------------------------------------------------------------------


def test_labels_of_a_database_join_what_was_served_as_those_of_files_do(server: Server, tmp_path: Path) -> None:
    answers = [loop.Answer(id=str(n), day=n % 10, decision=n % 3 == 0) for n in range(60)]
    arrived = {n: int(n % 2 == 0) for n in range(57)}
    expected, found = tmp_path / "files", tmp_path / "asked"
    for root in (expected, found):
        root.mkdir()
        loop.log(root, answers)
    loop.labels(expected, 11, arrived)
    at = [datetime(2026, 3, 13, tzinfo=UTC)] * 57 + [loop.NOW] * 3
    server.load("reports", pl.DataFrame({"case": range(60), "at": at, "bad": [*arrived.values(), *([1] * 3)]}))
    asked = {
        "labels": server.address(),
        "labels_query": 'SELECT "case" AS id, bad AS label, at, bad AS hint FROM reports',
    }
    here = loop.config(expected, trigger={"performance_days": 30})
    there = loop.config(found, data={"time_column": "at"}, predictions=asked, trigger={"performance_days": 30})
    before = server.now()
    evidence, feeds = loop.gather(there)
    assert evidence == loop.gather(here)[0]
    assert evidence.recall is not None
    assert evidence.coverage is not None
    assert (evidence.coverage.due, evidence.coverage.labelled) == (60, 57)
    assert feeds.labels is not None
    described = feeds.labels.described(utc(2026, 3, 2))
    assert described is not None
    assert described.rows == 57
    assert connections(server) == 1
    feeds.release()
    assert connections(server) == 0
    rows = [text for text in server.asked(before) if 'ORDER BY "at")' in text]
    assert rows
    assert all('SELECT "id", "label", "at" FROM' in text for text in rows)


def test_labels_that_cannot_be_asked_for_are_unknown_and_say_why(server: Server, tmp_path: Path) -> None:
    loop.log(tmp_path, [loop.Answer(id=str(n), day=1) for n in range(5)])
    asked = {"labels": server.address(), "labels_query": "SELECT * FROM nowhere"}
    made = loop.config(tmp_path, data={"time_column": "at"}, predictions=asked)
    assert open_labels(made, loop.NOW).why == (
        f'no label can be read ({server.address()}: relation "nowhere" does not exist (42P01): correct predictions.labels_query)'
    )


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist (42P01): correct data.query'),
        ("SELECT nothing FROM rides", 'column "nothing" does not exist (42703): correct data.query'),
        ("SELEC", 'syntax error at or near ")" (42601): correct data.query'),
        ("SELECT 1; DROP TABLE rides", 'syntax error at or near ";" (42601): correct data.query'),
        (
            "SELECT *, CAST(season AS int) AS n FROM rides",
            'invalid input syntax for type integer: "spring": correct data.query, which asks for what a value is not',
        ),
        ("SELECT *, hr AS hr FROM rides", "data.query gives more than one column 'hr': name each with AS"),
        (
            "SELECT season, label FROM rides",
            "data.query gives no time column 'event_date': the columns are season, label. Correct data.time_column",
        ),
        (
            "SELECT event_date AS event_dat, label FROM rides",
            "data.query gives no time column 'event_date': did you mean 'event_dat'? Correct data.time_column",
        ),
        (
            "SELECT event_date::text AS event_date, label FROM rides",
            (
                "the time column 'event_date' is text, by which no window can be asked for: "
                'write CAST("event_date" AS timestamptz) AS "event_date" in data.query, or another expression that gives a time'
            ),
        ),
    ],
)
def test_a_query_that_cannot_be_asked_ends_a_run_with_what_the_server_says_and_what_to_do(
    server: Server, tmp_path: Path, query: str, said: str
) -> None:
    record = run(project(tmp_path, server.address(), data={"query": query}), FIRST)
    assert record.status is RunStatus.FAILED
    assert record.sentence == f"{server.address()}: {said}"
    assert kept(tmp_path) == []
    assert server.ask("SELECT count(*) FROM rides") == [(17379,)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nowhere", "Catalog Error: Table with name nowhere does not exist!: correct data.query"),
        (
            "SELECT CAST(season AS int) AS n, * FROM rides",
            "Conversion Error: Could not convert string 'spring' to INT32: correct data.query, which asks for what a value is not",
        ),
    ],
)
def test_duckdb_says_what_is_wrong_too(file: Path, tmp_path: Path, query: str, said: str) -> None:
    record = run(project(tmp_path, f"duckdb:///{file}", data={"query": query}), FIRST)
    assert record.status is RunStatus.FAILED
    assert said.partition(":")[0] in record.sentence, record.sentence
    assert record.sentence.endswith(said.rpartition(": ")[2]), record.sentence


def test_a_duckdb_file_that_is_not_there_or_that_another_process_writes_is_said(file: Path, tmp_path: Path) -> None:
    made = project(tmp_path / "a", "duckdb:///none.duckdb")
    assert (
        run(made, FIRST).sentence
        == f"duckdb:///none.duckdb: there is no file {made.root}/none.duckdb: correct the path"
    )
    script = f"import duckdb; own = duckdb.connect({str(file)!r}); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        record = run(project(tmp_path / "b", f"duckdb:///{file}"), FIRST)
        writer.communicate(b"\n")
    assert record.retry
    assert "Could not set lock on file" in record.sentence
    assert record.sentence.endswith(": another process writes to it: let that one end, or give Rehone a copy")


def test_a_server_that_is_down_is_worth_another_try_and_a_wrong_password_is_never_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.do(
        "DROP ROLE IF EXISTS guarded", "CREATE ROLE guarded LOGIN PASSWORD 'right'", "GRANT SELECT ON rides TO guarded"
    )
    made = project(tmp_path, server.address("guarded"))
    monkeypatch.setenv("PGPASSWORD", "sesame-wrong")
    record = run(made, FIRST)
    assert record.sentence == (
        f'{server.address("guarded")}: FATAL:  password authentication failed for user "guarded": '
        "give PGPASSWORD or a line in ~/.pgpass for this user, and see that pg_hba.conf lets it in"
    ).replace("FATAL:  ", "")
    monkeypatch.setenv("PGPASSWORD", "right")
    assert api.check(made.root, as_of=FIRST).would_train
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"sesame-wrong" in path.read_bytes() or b"PGPASSWORD=" in path.read_bytes() for path in written)
    server.stop()
    try:
        record = run(made, SECOND)
    finally:
        server.start()
    assert record.status is RunStatus.FAILED
    assert record.retry
    assert record.sentence.endswith(": see that the server runs and can be reached from here, then try again")
    with pytest.raises(SourceAway):
        opened(project(tmp_path / "off", "postgresql://nobody@127.0.0.1:1/none"), FIRST)


def test_a_statement_that_takes_too_long_says_so_before_and_while_rows_come(server: Server, tmp_path: Path) -> None:
    limit = "?options=-c%20statement_timeout%3D300"
    record = run(project(tmp_path, server.address(more=limit), data={"query": SLOW}), FIRST)
    assert record.retry
    assert record.sentence == (
        f"{server.address(more=limit)}: canceling statement due to statement timeout: ask for fewer days, "
        "index the time column, or raise statement_timeout of this user"
    )
    assert kept(tmp_path) == []


def start(made: Project, *words: str) -> subprocess.Popen[str]:
    """Run the pipeline in a process of its own."""
    command = [
        Path(sys.executable).parent / "rehone",
        "run",
        "--project",
        made.root,
        "--as-of",
        str(FIRST),
        "--json",
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows_are_asked(server: Server, since: int) -> None:
    """Wait until the server was asked for rows."""
    until = time.monotonic() + 60
    while not windows(server.asked(since)):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_server_that_dies_while_rows_come_leaves_a_record_and_no_rows(server: Server, tmp_path: Path) -> None:
    made, before = project(tmp_path, server.address(), data={"query": SLOW}), server.now()
    with start(made) as child:
        rows_are_asked(server, before)
        server.stop()
        server.start()
        said, errors = child.communicate(timeout=60)
    assert child.returncode == 2, errors
    assert "Traceback" not in errors
    record = json.loads(said)
    assert record["sentence"] == (
        f"{server.address()}: terminating connection due to administrator command: "
        "see that the server runs and can be reached from here, then try again"
    )
    assert kept(made.root) == []


def test_what_a_killed_run_left_goes_with_the_next_one_and_what_another_reads_stays(
    server: Server, tmp_path: Path
) -> None:
    made, before = project(tmp_path, server.address(), data={"query": SLOW}), server.now()
    with start(made) as child:
        rows_are_asked(server, before)
        child.send_signal(signal.SIGKILL)
    left = kept(tmp_path)
    assert len(left) == 1
    source = opened(made, FIRST, query=QUERY)
    held = kept(tmp_path)
    assert len(held) == 1
    assert held != left
    other = opened(made, FIRST, query=QUERY)
    assert set(held) < set(kept(tmp_path))
    window = Window(utc(2012, 4, 1), utc(2012, 5, 1))
    assert source.read(window).equals(other.read(window))
    del source
    assert not set(held) & set(kept(tmp_path))
    del other
    assert kept(tmp_path) == []


FULL = """
import resource, sys
from rehone import run_pipeline
from rehone.data.warehouse import extract

own = extract.Folder.write

def write(*given):
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, -1))  # as a disk with that much room
    try:
        return own(*given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))

extract.Folder.write = write
print(run_pipeline(sys.argv[1], as_of=sys.argv[2]).sentence)
"""


def test_a_disk_that_is_full_is_said_with_what_is_free(server: Server, tmp_path: Path) -> None:
    made = project(tmp_path, server.address())
    command = [sys.executable, "-c", FULL, made.root, str(FIRST)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(
        r"2,894 rows of 2012-01-01\.\.2012-04-30T23:00:00 cannot be kept in .*/asked/[0-9a-f]{16} "
        r"\(File too large \(os error 27\); [\d,]+ MB are free\): "
        r"make room, or name a folder on another disk as project\.cache\n",
        said,
    ), said
    assert kept(made.root) == []


@pytest.mark.parametrize(("source", "extra"), [("postgresql://a@b/c", "postgres"), ("duckdb:///c", "duckdb")])
def test_a_driver_that_is_not_installed_is_named_with_the_line_that_installs_it(
    source: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("adbc_driver_postgresql.dbapi", "adbc_driver_duckdb"):
        monkeypatch.setitem(sys.modules, name, None)
    record = run(project(tmp_path, source), FIRST)
    assert record.sentence.endswith(f"pip install 'rehone[{extra}]'")
    assert not record.retry


def test_an_address_that_is_no_address_to_libpq_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"postgresql://a@localhost:port/x: .*invalid"):
        opened(project(tmp_path, "postgresql://a@localhost:port/x"), FIRST)

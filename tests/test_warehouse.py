"""A database without a database: what may stand in rehone.toml, what would be asked, and how rows are kept."""

from __future__ import annotations

import gc
import importlib.util
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import rehone
from rehone.config import Data, duckdb_file, is_database, parse_config
from rehone.data.times import TIME, instant
from rehone.data.warehouse import extract
from rehone.data.warehouse.extract import Days, Folder, keep
from rehone.data.warehouse.sql import Column, Kind, odd_times, rows_between, rows_of, span_before
from rehone.errors import ConfigError
from rehone.records import RunStatus, Window

WINDOW = Window(datetime(2026, 6, 1, 10, tzinfo=UTC), datetime(2026, 6, 2, 22, tzinfo=UTC))


def problems(data: str, rest: str = "") -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        parse_config(f"[data]\n{data}\n{rest}")
    return error.value.problems


# --- what may stand in rehone.toml --------------------------------------------------------------


def test_what_is_missing_beside_an_address_is_said_at_once() -> None:
    (said,) = problems('source = "postgresql://db/shop"')
    assert said == (
        "line 1: data: data.query is missing: data.source is a database, write the SELECT that gives the rows; and "
        "data.time_column is missing: data.source is a database, which is asked for one window of time after the other"
    )


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:sesame@db/shop",
        "postgres://me:sesame@db:5432",
        "postgresql://db/shop?user=me&password=sesame",
        "postgresql://db/shop?sslmode=require&sslpassword=sesame",
        "postgresql://me:se%40same@a,b:5433/shop",
        "postgresql://me:ses/ame@db/shop",
        "postgresql://me:ses?ame@db/shop",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    given = 'query = "SELECT 1"\ntime_column = "at"\n'
    (said,) = problems(f'{given}source = "{address}"')
    assert said == (
        "line 1: data: data.source holds a password, which every run record would repeat: take it out of the address, "
        "and give it as PGPASSWORD, in ~/.pgpass or in a service file"
    )


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me@db:5432/shop?sslmode=verify-full",
        "postgresql:///shop?host=/run/postgresql",
        "postgres://a,b/c",
        "postgres://a:5432/b?application_name=c@d",
    ],
)
def test_an_address_without_a_password_is_taken_as_it_is(address: str) -> None:
    made = parse_config(f'[data]\nsource = "{address}"\nquery = "SELECT 1"\ntime_column = "at"')
    assert made.data.source == address
    assert is_database(address)


@pytest.mark.parametrize("address", ["duckdb://sales.duckdb", "duckdb:///", "duckdb:///:memory:", "duckdb:"])
def test_what_is_no_file_of_duckdb_is_refused_with_both_ways_to_write_one(address: str) -> None:
    given = 'query = "SELECT 1"\ntime_column = "at"\n'
    (said,) = problems(f'{given}source = "{address}"')
    if address == "duckdb:":
        assert said.startswith("line 1: data: data.query is asked of a database, and data.source names none: write ")
    else:
        assert said == (
            "line 1: data: data.source is no address of a DuckDB file: write duckdb:/// and the path of a file, "
            "relative to rehone.toml (duckdb:///sales.duckdb) or absolute (duckdb:////srv/sales.duckdb)"
        )


def test_a_setting_that_duckdb_is_not_given_is_refused() -> None:
    said = problems('query = "SELECT 1"\ntime_column = "at"\nsource = "duckdb:///a.duckdb?password=x&threads=2"')
    assert said == (
        "line 1: data: data.source sets 'password', which is not one of memory_limit, threads: leave it out",
    )


def test_three_slashes_are_relative_and_four_are_absolute() -> None:
    assert duckdb_file("duckdb:///data/a.duckdb") == ("data/a.duckdb", {"memory_limit": "1GB"})
    assert duckdb_file("duckdb:////srv/a.duckdb?memory_limit=4GB&threads=2") == (
        "/srv/a.duckdb",
        {"memory_limit": "4GB", "threads": "2"},
    )


def test_a_query_beside_files_is_a_mistake() -> None:
    (said,) = problems('query = "SELECT 1"')
    assert said == (
        "line 1: data: data.query is asked of a database, and data.source names none: write "
        "postgresql://user@host:5432/database or duckdb:///file.duckdb there"
    )


def test_labels_in_a_database_need_a_query_and_a_time_of_their_own() -> None:
    said = problems('label = "y"', '[predictions]\nlabels = "postgresql://me:x@db/shop"')
    assert len(said) == 1
    assert [part.partition(" ")[0] for part in said[0].split("; and ")] == [
        "predictions.labels",
        "predictions.labels_query",
        "data.time_column",
    ]
    assert "me:x" not in said[0]


@pytest.mark.skipif(importlib.util.find_spec("adbc_driver_postgresql") is not None, reason="the driver is installed")
@pytest.mark.parametrize(("source", "extra"), [("postgresql://a@b/c", "postgres"), ("duckdb:///c", "duckdb")])
def test_a_core_install_says_which_extra_is_missing(source: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "rehone.toml").write_text(f'[data]\nsource = "{source}"\nquery = "SELECT 1"\ntime_column = "at"\n')
    record = rehone.run_pipeline(tmp_path, as_of=date(2026, 1, 1))
    assert record.status is RunStatus.FAILED
    assert record.sentence.endswith(f"pip install 'rehone[{extra}]'")
    assert not record.retry


# --- what would be asked ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "zone", "where"),
    [
        (Kind.ZONED, "Europe/Paris", ("TIMESTAMPTZ '2026-06-01 10:00:00+00:00'", "TIMESTAMPTZ '2026-06-02 22:00:00+00:00'")),
        (Kind.LOCAL, "UTC", ("TIMESTAMP '2026-06-01 10:00:00'", "TIMESTAMP '2026-06-02 22:00:00'")),
        (Kind.LOCAL, "Europe/Paris", ("TIMESTAMP '2026-06-01 12:00:00'", "TIMESTAMP '2026-06-03 00:00:00'")),
        (Kind.DAY, "UTC", ("DATE '2026-06-02'", "DATE '2026-06-03'")),
        (Kind.DAY, "Europe/Paris", ("DATE '2026-06-02'", "DATE '2026-06-03'")),
        (Kind.DAY, "Asia/Tokyo", ("DATE '2026-06-02'", "DATE '2026-06-04'")),
    ],
)  # fmt: skip
def test_a_window_is_asked_for_in_the_words_of_the_time_column(kind: Kind, zone: str, where: tuple[str, str]) -> None:
    time = Column('a"t', "", kind)
    assert rows_between("SELECT 1;\n", ['"x"'], time, WINDOW, zone) == (
        f'SELECT "x" FROM (\nSELECT 1\n) AS rehone_rows WHERE "a""t" >= {where[0]} AND "a""t" < {where[1]} ORDER BY "a""t"'
    )


def test_a_window_is_wider_only_where_clocks_change() -> None:
    time = Column("at", "", Kind.LOCAL)
    change = Window(datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC))
    asked = rows_between("SELECT 1", ["*"], time, change, "Europe/Paris")
    assert "\"at\" >= TIMESTAMP '2026-10-25 00:00:00' AND \"at\" < TIMESTAMP '2026-10-26 01:00:00'" in asked
    assert "2026-10-25 01:00:00' AND" in rows_between("SELECT 1", ["*"], time, change, "UTC")


def test_the_span_and_odd_times_are_asked_for_without_moments_that_only_a_database_has() -> None:
    time = Column("at", "", Kind.DAY)
    assert span_before("SELECT 1", time, WINDOW.end, "UTC").endswith(
        "WHERE \"at\" >= DATE '0001-01-02' AND \"at\" < DATE '2026-06-03'"
    )
    for zone, day in (("UTC", "2026-06-02"), ("Pacific/Kiritimati", "2026-06-03")):
        assert odd_times("SELECT 1", time, WINDOW.end, zone).endswith(f"IS NULL OR \"at\" > DATE '{day}'")
    midnight = datetime(2026, 6, 2, tzinfo=UTC)
    assert odd_times("SELECT 1", time, midnight, "UTC").endswith("\"at\" > DATE '2026-06-02'")
    assert "FILTER (WHERE \"at\" < DATE '9999-12-31')" in odd_times("SELECT 1", time, WINDOW.end, "Pacific/Kiritimati")


def test_a_comment_at_the_end_of_a_query_swallows_nothing() -> None:
    assert rows_of("  SELECT 1 -- one ;  ") == "(\nSELECT 1 -- one\n) AS rehone_rows"


# --- how rows are kept --------------------------------------------------------------------------


def rows(n: int, every: timedelta, seed: int = 0) -> pl.DataFrame:
    """Return rows by time, those of one time in any order."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "at": [(start + every * i).replace(minute=0) for i in range(n)],
            "x": [None if i % 5 == 0 else i % 7 / 3 for i in range(n)],
            "name": [None if i % 4 == 0 else f"é{i % 3}" for i in range(n)],
            "flag": [i % 2 == 0 for i in range(n)],
            "n": [i % 11 for i in range(n)],
        }
    )
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed).sort("at", maintain_order=True)
    return shuffled.with_columns(instant("at", pl.Datetime("us", "UTC"), "UTC").alias(TIME))


def cut(frame: pl.DataFrame, folder: Path, size: int) -> tuple[list[int], pl.DataFrame, tuple[object, ...]]:
    """Keep rows that came in batches of a size: the rows of each file, all of them, and the days."""
    days, place = Days(), Folder(folder)
    files = list(keep((frame[i : i + size] for i in range(0, frame.height, size)), place, days))
    kept = pl.concat([file.scan().collect() for file in files])
    whole = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    for file in files:
        times = file.scan().select(pl.col("at").min().alias("a"), pl.col("at").max().alias("b")).collect().row(0)
        assert file.span == Window(times[0], times[1] + timedelta(microseconds=1))
    return [file.rows for file in files], kept, days.within(whole)


def test_files_are_of_whole_days_and_the_same_whatever_batches_and_order_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "FEWEST_ROWS", 100)
    monkeypatch.setattr(extract, "MOST_ROWS", 100)
    sizes, kept, days = cut(rows(1000, timedelta(minutes=40)), tmp_path, 1000)
    assert sizes == [72, *[72] * 12, 64]  # 36 rows a day: a file has two whole days, never 100 rows
    assert kept["at"].is_sorted()
    for seed, size in ((0, 7), (1, 1000), (2, 150)):
        again, same, digests = cut(rows(1000, timedelta(minutes=40), seed), tmp_path, size)
        assert again == sizes
        assert same.equals(kept)
        assert digests == days


def test_a_day_with_too_many_rows_has_several_files_and_a_moment_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "FEWEST_ROWS", 100)
    monkeypatch.setattr(extract, "MOST_ROWS", 100)
    sizes, kept, days = cut(rows(1440, timedelta(minutes=1)), tmp_path, 90)
    assert sizes == [60] * 24
    assert [day.rows for day in days] == [1440]  # type: ignore[attr-defined]
    assert kept.height == 1440
    assert cut(rows(300, timedelta(0)), tmp_path, 40)[0] == [300]


def test_a_digest_changes_with_any_value_and_with_what_is_missing(tmp_path: Path) -> None:
    frame = rows(50, timedelta(hours=1))
    changes = {
        "x": pl.col("x").fill_null(0.0),
        "name": pl.when(pl.col("name") == "é1").then(pl.lit("é")).otherwise("name"),
        "flag": ~pl.col("flag"),
        "n": pl.col("n").cast(pl.Int32),
    }
    made = [cut(frame.with_columns(change.alias(name)), tmp_path, 50)[2] for name, change in changes.items()]
    assert len({str(days) for days in (*made, cut(frame, tmp_path, 50)[2])}) == 5


def test_texts_that_join_alike_are_not_alike(tmp_path: Path) -> None:
    frame = rows(2, timedelta(hours=1)).drop("x", "flag", "n")
    one, other = (frame.with_columns(name=pl.Series(texts)) for texts in (["ab", "c"], ["a", "bc"]))
    assert cut(one, tmp_path, 2)[2] != cut(other, tmp_path, 2)[2]


def test_a_folder_goes_with_its_owner_and_not_with_a_child_of_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.path
    if (child := os.fork()) == 0:
        folder.remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert path.exists()
    assert path.stat().st_mode & 0o777 == 0o700
    del folder
    gc.collect()
    assert not path.exists()


def test_without_a_query_that_is_asked_nothing_changes_for_files() -> None:
    assert Data().query is None
    assert not is_database("data/*.parquet")
    assert not is_database(None)

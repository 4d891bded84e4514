"""A lazy frame is read as files are, wherever it is counted; here on Polars, elsewhere on real engines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import START, Project
from engine_kit import AS_OF, POLICY, WINDOW, engine, files, reference, strange, write
from rehone import api, artifact, profile, train
from rehone.data import engines
from rehone.data.engines import source as engine_source
from rehone.data.engines.counting import ASKED_AT_ONCE, FEATURES_AT_ONCE, Question, in_parts
from rehone.data.engines.hashing import digest
from rehone.errors import DataError
from rehone.records import Window

pytest.importorskip("narwhals")
pytest.importorskip("pyarrow")


@pytest.fixture
def rows(tmp_path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(write(tmp_path, strange()))


def test_counts_facts_and_rows_of_a_frame_equal_those_of_files(tmp_path: Path, rows: pl.LazyFrame) -> None:
    plain, lazy = files(tmp_path), engine(tmp_path, rows)
    champion = reference(plain)
    assert lazy.columns == plain.columns
    assert lazy.features() == plain.features()
    assert lazy.span() == plain.span()
    assert lazy.findings == tuple(replace(f, detail=f.detail) for f in plain.findings)
    assert lazy.counts(WINDOW, champion) == plain.counts(WINDOW, champion)
    given, wanted = (s.facts(WINDOW, s.features(), now=AS_OF, profile=champion) for s in (lazy, plain))
    assert {f.name: getattr(given, f.name) for f in fields(given) if f.name != "source"} == {
        f.name: getattr(wanted, f.name) for f in fields(wanted) if f.name != "source"
    }
    columns = (*plain.features(), "id")
    assert lazy.labelled(WINDOW, columns).equals(plain.labelled(WINDOW, columns).sort("__time__", "id"))


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Paris", "Asia/Kathmandu"])
def test_wall_clocks_of_a_zone_are_read_as_files_read_them(tmp_path: Path, zone: str) -> None:
    first = datetime(2025, 3, 1)  # noqa: DTZ001
    times = [first + timedelta(minutes=17 * n) for n in range(30_000)]
    frame = pl.DataFrame({"at": times, "x": np.arange(30_000.0), "label": np.arange(30_000) % 2})
    policy = POLICY.model_copy(update={"timezone": zone, "id_column": None, "categorical": ()})
    path = write(tmp_path, frame)
    window = Window(datetime(2025, 1, 1, tzinfo=UTC), AS_OF)
    plain, lazy = files(tmp_path, policy), engine(tmp_path, pl.scan_parquet(path), policy)
    same = lazy.read(window, ("x",)).sort("x").equals(plain.read(window, ("x",)).sort("x"))
    assert same
    given, wanted = (s.facts(window, ("x",), now=AS_OF) for s in (lazy, plain))
    assert (given.mature_days, given.missing_days, given.newest) == (
        wanted.mature_days,
        wanted.missing_days,
        wanted.newest,
    )


def test_the_due_column_of_a_label_decides_as_it_does_in_files(tmp_path: Path) -> None:
    frame = strange().with_columns((pl.col("at") + pl.duration(days=pl.col("id") % 9)).alias("due"))
    policy = POLICY.model_copy(update={"label_delay_days": 0.0, "label_due_column": "due"})
    path = write(tmp_path, frame)
    plain, lazy = files(tmp_path, policy), engine(tmp_path, pl.scan_parquet(path), policy)
    given, wanted = (s.facts(WINDOW, s.features(), now=AS_OF) for s in (lazy, plain))
    assert (given.rows, given.mature_rows, given.positives) == (wanted.rows, wanted.mature_rows, wanted.positives)
    assert 0 < given.mature_rows < given.rows


def test_a_label_that_became_known_later_is_hidden_as_it_is_in_files(tmp_path: Path) -> None:
    frame = strange().with_columns((pl.col("at") + pl.duration(days=pl.col("id") % 60)).alias("known_at"))
    policy = POLICY.model_copy(update={"label_time_column": "known_at"})
    path = write(tmp_path, frame)
    plain, lazy = files(tmp_path, policy), engine(tmp_path, pl.scan_parquet(path), policy)
    asked = ("id", "label", "known_at")
    given, wanted = (s.read(WINDOW, asked).sort("id") for s in (lazy, plain))
    assert given.equals(wanted.select(given.columns))
    assert "known_at" not in lazy.features()
    assert 0 < given["known_at"].null_count() < given.height
    assert given["known_at"].max() <= AS_OF
    counted, same = (s.facts(WINDOW, s.features(), now=AS_OF) for s in (lazy, plain))
    assert (counted.positives, counted.null_labels) == (same.positives, same.null_labels)
    assert counted.null_labels > 0
    assert lazy.describe(WINDOW).positives == plain.describe(WINDOW).positives


def test_odd_labels_are_counted_and_shown_as_in_files(tmp_path: Path) -> None:
    frame = strange().with_columns(pl.when(pl.col("id") % 50 == 0).then(7).otherwise(pl.col("label")).alias("label"))
    path = write(tmp_path, frame)
    given, wanted = (
        s.facts(WINDOW, s.features(), now=AS_OF) for s in (engine(tmp_path, pl.scan_parquet(path)), files(tmp_path))
    )
    assert given.odd_labels > 0
    assert (given.odd_labels, given.odd_values, given.null_labels) == (
        wanted.odd_labels,
        wanted.odd_values,
        wanted.null_labels,
    )


def test_columns_may_be_named_as_what_is_asked_of_others(tmp_path: Path) -> None:
    """Each of 12 features has another name that a query could give to its neighbour; one of them never changes."""
    own = {f"{kind}{(n + 1) % 6}": np.arange(n, 4_000 + n) for kind in ("c", "f") for n in range(6)}
    at = [datetime(2026, 1, 20) + timedelta(minutes=n) for n in range(4_000)]  # noqa: DTZ001
    frame = pl.DataFrame({"at": at, "label": [0, 1] * 2_000, **own, "score": 1.0}).with_columns(c3=pl.lit(7))
    policy = POLICY.model_copy(update={"id_column": None, "categorical": ()})
    path = write(tmp_path, frame)
    plain, lazy = files(tmp_path, policy), engine(tmp_path, pl.scan_parquet(path), policy)
    given, wanted = (s.facts(WINDOW, s.features(), now=AS_OF) for s in (lazy, plain))
    assert [c.name for c in given.columns if c.constant] == ["c3", "score"]
    assert given.columns == wanted.columns
    contract = artifact.learn_contract(frame, plain.features(), label="label")
    champion = profile.build(frame, contract, window=WINDOW)
    assert lazy.counts(WINDOW, champion) == plain.counts(WINDOW, champion)


def test_a_label_that_is_never_due_is_read_in_every_zone(tmp_path: Path) -> None:
    never = pl.when(pl.col("label") == 1).then(pl.col("at")).otherwise(datetime(9999, 12, 31, 23))  # noqa: DTZ001
    path = write(tmp_path, strange().with_columns(never.alias("due")))
    update = {"label_delay_days": 0.0, "label_due_column": "due", "timezone": "Europe/Paris"}
    policy = POLICY.model_copy(update=update)
    plain, lazy = files(tmp_path, policy), engine(tmp_path, pl.scan_parquet(path), policy)
    given, wanted = (s.labelled(WINDOW, ("x",)) for s in (lazy, plain))
    assert given["label"].unique().to_list() == [1]
    assert given.height == wanted.height


# --- the digest of rows -------------------------------------------------------------------------


def test_the_digest_of_rows_is_of_their_values_and_not_of_their_order(tmp_path: Path, rows: pl.LazyFrame) -> None:
    made = rows.collect()
    same = engine(tmp_path, made.sample(fraction=1, shuffle=True, seed=1).lazy())
    assert engine(tmp_path, rows).describe(WINDOW).sha256 == same.describe(WINDOW).sha256


@pytest.mark.parametrize(
    "change",
    [
        pl.col("x") + 1e-12,
        pl.col("x") * -1,
        pl.when(pl.col("id") == 2**53 + 900).then(None).otherwise("place").alias("place"),
        pl.when(pl.col("id") == 2**53 + 900).then(~pl.col("flag")).otherwise("flag").alias("flag"),
        pl.when(pl.col("id") == 2**53 + 900).then(pl.col("id") + 1).otherwise("id").alias("id"),
        (pl.col("at") + pl.duration(microseconds=1)).alias("at"),
    ],
)
def test_the_digest_of_rows_changes_with_any_value(tmp_path: Path, rows: pl.LazyFrame, change: pl.Expr) -> None:
    made = rows.with_columns(pl.col("flag").fill_null(value=True), pl.col("place").fill_null("web"))
    before, after = (engine(tmp_path, frame).describe(WINDOW).sha256 for frame in (made, made.with_columns(change)))
    assert before != after


def test_two_columns_that_change_places_are_not_the_same_rows(tmp_path: Path, rows: pl.LazyFrame) -> None:
    swapped = rows.with_columns(pl.col("x").alias("atom"), pl.col("atom").alias("x"))
    names = ["x", "atom"]
    found = {digest(engine(tmp_path, frame).table, WINDOW, names)[0] for frame in (rows, swapped)}
    assert len(found) == 2


# --- the sample ---------------------------------------------------------------------------------


def _policy_without_id() -> Any:
    return POLICY.model_copy(update={"id_column": None})


def test_a_draw_keeps_all_positives_and_weighs_the_negatives_as_all_of_them(tmp_path: Path) -> None:
    path = write(tmp_path, strange(rows=120))
    source = engine(tmp_path, pl.scan_parquet(path))
    every = source.labelled(WINDOW, ("x",))
    found, drawn = engines.draw(source, WINDOW, ("x",), 1000)
    assert drawn is not None
    negatives = found.filter(pl.col("label") == 0)
    assert (negatives.height, drawn.negatives) == (1000, 1000)
    assert found.filter(pl.col("label") == 1).height == every.filter(pl.col("label") == 1).height == drawn.positives
    assert negatives["__weight__"].sum() == pytest.approx(drawn.of) == every.filter(pl.col("label") == 0).height
    assert found.filter(pl.col("label") == 1)["__weight__"].unique().to_list() == [1.0]
    again = engines.draw(source, WINDOW, ("x",), 1000)[0]
    assert again.equals(found)
    assert drawn.sentence == (
        f"all {drawn.positives:,} positives and 1,000 of {drawn.of:,} negatives, each weighing {drawn.of / 1000:,.4g}"
    )


def test_nothing_is_drawn_where_there_are_no_more_negatives_than_asked_for(tmp_path: Path, rows: pl.LazyFrame) -> None:
    source = engine(tmp_path, rows)
    found, drawn = engines.draw(source, WINDOW, ("x",), 100_000)
    assert drawn is None
    assert "__weight__" not in found.columns
    assert found.equals(source.labelled(WINDOW, ("x",)))


@pytest.mark.parametrize("policy", [POLICY, _policy_without_id()], ids=["by id", "by all columns"])
def test_weighted_sums_over_draws_are_unbiased_and_as_exact_as_chance_allows(tmp_path: Path, policy: Any) -> None:
    """Over 40 draws of 500 of 4,000 negatives the mean error of a weighted mean is within 4 standard errors of none."""
    errors, spread = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.exponential(size=4_000)
        at = [datetime(2026, 1, 20) + timedelta(seconds=n) for n in range(4_000)]  # noqa: DTZ001
        frame = pl.DataFrame({"at": at, "id": np.arange(4_000) + 4_000 * seed, "x": x, "label": [0] * 4_000})
        source = engine(tmp_path, frame.lazy(), policy.model_copy(update={"categorical": ()}))
        found, drawn = engines.draw(source, WINDOW, ("x",), 500)
        assert drawn is not None
        assert drawn.negatives == 500
        errors.append(float((found["x"] * found["__weight__"]).sum()) / 4_000 - x.mean())
        spread.append(x.std(ddof=1) * np.sqrt((1 - 500 / 4_000) / 500))
    assert abs(np.mean(errors)) < 4 * np.mean(spread) / np.sqrt(len(errors))
    assert np.std(errors) == pytest.approx(np.mean(spread), rel=0.35)  # that of a simple random sample


def test_a_draw_of_rows_that_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    """4,000 negatives of two days with one yes or no each are 4 different ones: no even sample of 900 is there."""
    at = [datetime(2026, 1, 10) + timedelta(days=n % 2) for n in range(4_000)]  # noqa: DTZ001
    frame = pl.DataFrame({"at": at, "x": np.arange(4_000) // 2 % 2, "label": [0] * 4_000})
    policy = _policy_without_id().model_copy(update={"categorical": ()})
    said = "only 0 of 4,000 negatives can be drawn evenly, need about 900: most are equal to others in their time and"
    with pytest.raises(DataError, match=f"{said} all columns.* name a column that tells rows apart as data.id_column"):
        engines.draw(engine(tmp_path, frame.lazy(), policy), WINDOW, ("x",), 900)
    named = policy.model_copy(update={"id_column": "x"})
    with pytest.raises(DataError, match="most have the time and 'x' of another"):
        engines.draw(engine(tmp_path, frame.lazy(), named), WINDOW, ("x",), 900)


def test_more_rows_than_this_machine_should_hold_are_refused(
    tmp_path: Path, rows: pl.LazyFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_source, "MOST_CELLS", 1_000)
    with pytest.raises(DataError, match=r"1,0.. rows with 3 columns .* 1,000 values at most: set data.max_negatives"):
        engine(tmp_path, rows).labelled(Window(AS_OF - timedelta(days=28), AS_OF), ("x",))


def test_a_holdout_found_by_counts_is_that_found_by_rows(tmp_path: Path, rows: pl.LazyFrame) -> None:
    source = engine(tmp_path, rows)
    for days in (30, 8):
        window = Window(AS_OF - timedelta(days=days), AS_OF)
        every = source.labelled(window, ())
        ends = engines.ends(source, window)
        assert ends is not None
        tally = train.Tally(*engines.tally(source, window, days=train.by_days(*ends)))
        by_rows = train.split(
            every["__time__"].dt.replace_time_zone(None).to_numpy(),
            every["label"].to_numpy(),
            window=window,
            holdout=0.2,
        )
        assert train.split_tally(tally, window=window, holdout=0.2) == by_rows


def test_the_profile_of_a_draw_counts_all_rows(tmp_path: Path) -> None:
    path = write(tmp_path, strange(rows=120))
    source = engine(tmp_path, pl.scan_parquet(path))
    every = source.labelled(WINDOW, source.features())
    sample, drawn = engines.draw(source, WINDOW, source.features(), 1000)
    assert drawn is not None
    contract = artifact.learn_contract(sample, source.features(), label="label", categorical=("code",))
    weights = sample["__weight__"].to_numpy()
    made = profile.build_drawn(sample, contract, engines.Population(source, WINDOW), window=WINDOW, weights=weights)
    assert (made.rows, made.positives) == (every.height, int(every["label"].sum()))
    counted = profile.count(every, made)
    assert [(f.counts, f.pooled, f.missing, f.infinite, f.unseen) for f in made.features] == [
        (f.counts, f.pooled, f.missing, f.infinite, f.unseen) for f in counted.features
    ]
    whole = {f.feature: f for f in profile.build(every, contract, window=WINDOW).features}
    for feature in made.features:
        assert feature.values == whole[feature.feature].values  # categories are those of all rows
    x = next(f for f in made.features if f.feature == "x")
    assert all(0.06 < n / sum(x.counts) < 0.14 for n in x.counts)  # tenths of all rows, not of the sample
    assert [sum(day[0]) for day in made.by_weekday] == [
        sum(day[0]) for day in profile.build(every, contract, window=WINDOW).by_weekday
    ]
    assert made.weekday_days == profile.build(every, contract, window=WINDOW).weekday_days


def test_questions_are_asked_in_queries_that_spark_can_plan() -> None:
    wide = [Question(f"f{n}", None, tuple(range(25))) for n in range(203)]
    parts = list(in_parts(wide))
    assert [q.name for part in parts for q in part] == [q.name for q in wide]
    assert max(map(len, parts)) == FEATURES_AT_ONCE
    assert max(sum(len(q.asked) for q in part) for part in parts) <= ASKED_AT_ONCE


# --- naming the function ------------------------------------------------------------------------

FEED = """
import polars as pl

def rows(as_of, start=None, *, folder="data"):
    assert start is None or start < as_of
    return pl.scan_parquet(f"{ROOT}/{folder}/*.parquet")

def needy(project):
    pass

def broken():
    raise ValueError("the warehouse is closed\\nsecond line")

def nothing():
    return 7
"""


@pytest.fixture
def fed(project: Project) -> Iterator[Project]:
    """Return a project that names a function of its own folder as its source."""
    project.feed(0, 70)
    (project.root / "feed_of_tests.py").write_text(FEED.replace("{ROOT}", str(project.root)))
    project.configure(data={"source": "python:feed_of_tests:rows"})
    yield project
    sys.modules.pop("feed_of_tests", None)


def test_a_function_of_the_project_is_its_source(fed: Project) -> None:
    record = fed.run(70)
    assert record["status"] == "deployed", record.sentence
    assert record.stages[0].sentence == "no champion yet; 4,200 rows on Polars"
    assert record.data is not None
    assert (record.data.source, record.data.files) == ("python:feed_of_tests:rows", ())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("python:feed_of_tests", "names no function: write it as python:package.module:function"),
        (
            "python:no_such_module:rows",
            "module 'no_such_module' .* cannot be imported .*: put it into the project's folder",
        ),
        ("python:feed_of_tests:row", "has no function 'row': correct data.source"),
        ("python:feed_of_tests:needy", "needs project, and is given only start, end and as_of"),
        ("python:feed_of_tests:broken", r"raised ValueError \(the warehouse is closed\): call that function"),
        ("python:feed_of_tests:nothing", "data.source gave int, need a lazy frame of PySpark, DuckDB, Dask"),
    ],
)
def test_a_source_that_cannot_be_called_is_said_with_its_remedy(fed: Project, source: str, said: str) -> None:
    fed.configure(data={"source": source})
    with pytest.raises(DataError, match=said):
        api.check(fed.root, as_of=START + timedelta(days=70))


def test_a_run_whose_source_fails_is_recorded_as_failed(fed: Project) -> None:
    fed.configure(data={"source": "python:feed_of_tests:broken"})
    record = fed.run(70)
    assert record["status"] == "failed"
    assert "the warehouse is closed" in record.sentence
    assert record.problem is not None
    assert record.problem.traceback is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"time_column": "when"}, "time column 'when' is not in the frame of data.source: its columns are at, amount"),
        ({"time_column": "channel"}, "column 'channel' holds String, need a timestamp or a date: cast it"),
    ],
)
def test_a_frame_without_event_times_is_refused(fed: Project, keys: dict[str, str], said: str) -> None:
    fed.configure(data={"source": "python:feed_of_tests:rows", **keys})
    with pytest.raises(DataError, match=said):
        api.check(fed.root, as_of=START + timedelta(days=70))


def test_a_run_on_a_draw_says_what_it_left_out_and_judges_on_every_row(fed: Project) -> None:
    fed.configure(data={"source": "python:feed_of_tests:rows", "max_negatives": 1000})
    record = fed.run(70)
    assert record["status"] == "deployed", record.sentence
    split = record.split
    assert split is not None
    assert split.drawn is not None
    assert (split.drawn.negatives, split.drawn.of) == (1000, split.train_rows - split.train_positives)
    assert split.drawn.sentence in record.stages[2].sentence
    assert record.verdict is not None
    assert record.verdict.challenger is not None
    assert record.verdict.challenger.n == split.holdout_rows
    kept = artifact.read_profile(_store_files(fed, record["version"]))
    assert kept.rows == split.train_rows + split.holdout_rows
    assert kept.positives == split.train_positives + split.holdout_positives
    assert kept.scores is not None
    assert split.drawn.negatives < kept.scores.n < kept.rows
    quiet = api.check(fed.root, as_of=START + timedelta(days=70))
    assert not quiet.would_train
    assert max(d.psi or 0 for d in quiet.evidence.drift) < 0.05  # the same rows are not drift against themselves


def _store_files(project: Project, version: str) -> Any:
    from rehone.config import load_config
    from rehone.store import Store

    return Store(load_config(project.root).store_path).read(version)

"""A source gives exactly the rows of a window, in one type, and remembers what has not changed."""

from __future__ import annotations

import errno
import logging
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rehone import profile as profiles
from rehone.config import ACCEPT_SELECTION, Data
from rehone.data import Source, open_source
from rehone.data import source as source_module
from rehone.data.cache import Cache, Note
from rehone.disk import Disk
from rehone.errors import DataError
from rehone.records import Contract, Feature, FeatureKind, Profile, Window

FIRST = date(2026, 8, 1)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


AS_OF = moment("2026-08-11")
ALL = Window(moment("2026-08-01"), AS_OF)


def one_day(day: date, rows: int = 24) -> pl.DataFrame:
    rng = np.random.default_rng(day.toordinal())
    start = datetime.combine(day, time())
    return pl.DataFrame(
        {
            "ts": [start + timedelta(hours=24 * i / rows) for i in range(rows)],
            "amount": rng.normal(size=rows),
            "count": rng.integers(0, 50, rows),
            "night": rng.random(rows) < 0.3,
            "shop": rng.choice(["a", "b", "c"], rows).tolist(),
            "label": (np.arange(rows) % 8 == 0).astype(np.int8),
        }
    )


def write_days(folder: Path, days: int = 10, **over: Any) -> None:
    folder.mkdir(exist_ok=True)
    for i in range(days):
        day = FIRST + timedelta(days=i)
        one_day(day).with_columns(**over).write_parquet(folder / f"{day}.parquet")


def opened(root: Path, as_of: datetime = AS_OF, cache: Path | None = None, **policy: Any) -> Source:
    settings = {"source": "data/*.parquet", "time_column": "ts"} | policy
    return open_source(Data(**settings), root, cache=cache, as_of=as_of)


def a_profile(frame: pl.DataFrame) -> Profile:
    contract = Contract(
        features=(
            Feature("amount", FeatureKind.NUMERIC),
            Feature("count", FeatureKind.NUMERIC),
            Feature("night", FeatureKind.BOOLEAN),
            Feature("shop", FeatureKind.CATEGORICAL, ("a", "b", "c")),
        ),
        label="label",
    )
    return profiles.build(frame, contract, window=ALL)


def test_a_window_is_half_open(tmp_path: Path) -> None:
    write_days(tmp_path / "data")
    frame = opened(tmp_path).read(Window(moment("2026-08-02T01:00"), moment("2026-08-02T03:00")))
    assert frame["__time__"].to_list() == [moment("2026-08-02T01:00"), moment("2026-08-02T02:00")]
    assert frame.schema["__time__"] == pl.Datetime("us", "UTC")
    assert frame.schema["label"] == pl.Int8


def test_the_features_are_all_columns_without_a_role(tmp_path: Path) -> None:
    write_days(tmp_path / "data", trip=pl.int_range(pl.len()), when=pl.col("ts"))
    source = opened(tmp_path, id_column="trip", exclude=("count",))
    assert source.features() == ("amount", "night", "shop")
    (finding,) = source.findings
    assert finding.sentence == (
        "column 'when' is not used as a feature: its type Datetime(time_unit='us', time_zone=None) is not numeric, boolean or text: "
        "name it in data.exclude to say so, or list data.features"
    )


def test_rows_and_files_from_as_of_on_are_not_there(tmp_path: Path) -> None:
    write_days(tmp_path / "data")
    (tmp_path / "data/2026-08-06.parquet").write_bytes(b"not opened")
    source = opened(tmp_path, as_of=moment("2026-08-05T12:00"))
    assert [f.path for f in source.files] == [f"data/2026-08-0{d}.parquet" for d in range(1, 6)]
    assert source.findings == ()
    assert source.span() == Window(ALL.start, moment("2026-08-05T11:00:00.000001"))
    assert source.read(ALL)["__time__"].max() == moment("2026-08-05T11:00")
    assert source.describe(ALL).window == Window(ALL.start, moment("2026-08-05T12:00"))


def test_files_older_than_the_history_in_use_are_not_opened(tmp_path: Path) -> None:
    write_days(tmp_path / "data")
    (tmp_path / "data/2026-01-01.parquet").write_bytes(b"not opened")
    source = opened(tmp_path, history_days=5, lookback_days=5)
    assert source.findings == ()
    assert source.files[0].path == "data/2026-08-04.parquet"
    assert opened(tmp_path).findings[0].subject == "data/2026-01-01.parquet"


def test_the_span_of_one_long_file_ends_before_as_of(tmp_path: Path) -> None:
    pl.concat([one_day(FIRST + timedelta(days=i)) for i in range(10)]).write_parquet(tmp_path / "all.parquet")
    source = opened(tmp_path, as_of=moment("2026-08-03"), source="all.parquet")
    assert source.span() == Window(ALL.start, moment("2026-08-02T23:00:00.000001"))
    assert source.read(ALL).height == 48


def test_only_the_columns_and_the_files_asked_for_are_read(tmp_path: Path) -> None:
    write_days(tmp_path / "data")
    plan = opened(tmp_path).scan(Window(moment("2026-08-02"), moment("2026-08-04")), ["amount"]).explain()
    assert "2026-08-02.parquet" in plan
    assert "2026-08-03.parquet" in plan
    assert "ESTIMATED ROWS: 48" in plan
    assert "PROJECT 2/6 COLUMNS" in plan


def test_reading_twice_gives_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    write_days(tmp_path / "data", ts=pl.col("ts").dt.truncate("1d"))
    source = opened(tmp_path)
    first = source.read(ALL)
    assert first.equals(opened(tmp_path).read(ALL))
    assert first["__time__"].is_sorted()
    assert first["amount"].head(24).equals(one_day(FIRST)["amount"])


def test_without_a_time_column_a_row_happens_at_the_midnight_of_its_file(tmp_path: Path) -> None:
    write_days(tmp_path / "data", days=3)
    source = opened(tmp_path, time_column=None, exclude=("ts",), timezone="Europe/Paris")
    assert source.read(ALL)["__time__"].unique().sort().to_list() == [
        moment("2026-08-01T22:00"),
        moment("2026-08-02T22:00"),
    ]
    assert source.span() == Window(moment("2026-07-31T22:00"), moment("2026-08-02T22:00:00.000001"))


def test_partition_folders_give_dates_and_columns(tmp_path: Path) -> None:
    for region in ("eu", "us"):
        for i in range(3):
            folder = tmp_path / f"data/region={region}/day={FIRST + timedelta(days=i)}"
            folder.mkdir(parents=True)
            one_day(FIRST + timedelta(days=i)).drop("ts").write_parquet(folder / "part.parquet")
    source = opened(tmp_path, source="data", time_column=None)
    assert source.features() == ("amount", "count", "night", "shop", "region")
    frame = source.read(ALL, ["region", "day"])
    assert frame.group_by("region").len().sort("region").rows() == [("eu", 72), ("us", 72)]
    assert frame["day"].unique().sort().to_list() == ["2026-08-01", "2026-08-02", "2026-08-03"]
    assert frame["__time__"].min() == moment("2026-08-01")


def test_numbered_partition_folders_give_dates_too(tmp_path: Path) -> None:
    folder = tmp_path / "data/year=2026/month=8/day=2"
    folder.mkdir(parents=True)
    one_day(FIRST).drop("ts").write_parquet(folder / "part.parquet")
    source = opened(tmp_path, source="data/**/*.parquet", time_column=None)
    assert source.files[0].day == date(2026, 8, 2)
    assert "month" not in source.features()


def test_hidden_files_and_other_files_in_a_folder_are_left_alone(tmp_path: Path) -> None:
    write_days(tmp_path / "data", days=2)
    for name in ("_SUCCESS", ".2026-08-03.parquet", "README.md"):
        (tmp_path / "data" / name).write_text("x")
    assert len(opened(tmp_path, source="data").files) == 2


@pytest.mark.parametrize(
    ("stored", "zone", "utc"),
    [
        ("2026-08-02T10:00:00", "UTC", "2026-08-02T10:00:00"),
        ("2026-08-02 10:00", "Europe/Paris", "2026-08-02T08:00:00"),
        ("2026-08-02", "America/New_York", "2026-08-02T04:00:00"),
        ("2026-08-02T10:00:00+02:00", "America/New_York", "2026-08-02T08:00:00"),
        ("2026-08-02 10:00:00.25Z", "Europe/Paris", "2026-08-02T10:00:00.250000"),
    ],
)
def test_iso_text_is_read_in_its_own_zone_or_in_the_declared_one(
    tmp_path: Path, stored: str, zone: str, utc: str
) -> None:
    pl.DataFrame({"ts": [stored], "x": [1.0], "label": [0]}).write_parquet(tmp_path / "d.parquet")
    source = opened(tmp_path, source="d.parquet", timezone=zone)
    assert source.read(ALL)["__time__"].to_list() == [moment(utc)]


def test_local_times_that_occur_twice_or_never_lose_no_row(tmp_path: Path) -> None:
    local = [datetime.fromisoformat("2026-03-29T02:30"), datetime.fromisoformat("2026-10-25T02:30")]
    pl.DataFrame({"ts": local, "x": [1.0, 2.0], "label": [0, 1]}).write_parquet(tmp_path / "d.parquet")
    source = opened(tmp_path, as_of=moment("2027-01-01"), source="d.parquet", timezone="Europe/Paris")
    times = source.read(Window(moment("2026-01-01"), moment("2027-01-01")))["__time__"].to_list()
    assert times == [moment("2026-03-29T01:30"), moment("2026-10-25T00:30")]


def test_dates_and_zoned_times_become_utc(tmp_path: Path) -> None:
    frame = one_day(FIRST, 2).with_columns(ts=pl.col("ts").dt.replace_time_zone("Asia/Tokyo"))
    frame.write_parquet(tmp_path / "d.parquet")
    source = opened(tmp_path, source="d.parquet", timezone="Europe/Paris")
    assert source.span() == Window(moment("2026-07-31T15:00"), moment("2026-08-01T03:00:00.000001"))


def test_widths_are_widened_and_empty_columns_agree_with_any_type(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_days(data, days=3)
    one_day(FIRST).with_columns(
        pl.col("amount").cast(pl.Float32), pl.col("count").cast(pl.Int32), shop=pl.lit(None)
    ).write_parquet(data / "2026-08-01.parquet")
    one_day(date(2026, 8, 2)).with_columns(
        pl.col("count").cast(pl.Float64), night=pl.lit(None, dtype=pl.String)
    ).write_parquet(data / "2026-08-02.parquet")
    source = opened(tmp_path)
    assert source.findings == ()
    types = source.read(ALL).schema
    assert (types["amount"], types["count"], types["night"]) == (pl.Float64, pl.Float64, pl.Boolean)
    assert types["shop"] == pl.String


def test_csv_types_are_the_same_in_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ts,amount,code,label\n2026-08-01,1,007,0\n2026-08-01,2,008,1\n")
    (tmp_path / "b.csv").write_text("ts,amount,code,label\n2026-08-02,1.5,x9,0\n2026-08-02,,y1,1\n")
    (tmp_path / "c.csv").write_text("ts,amount,code,label\n2026-08-03,,,0\n")
    source = opened(tmp_path, source="*.csv", categorical=("code",))
    assert source.findings == ()
    frame = source.read(ALL)
    assert frame["amount"].to_list() == [1.0, 2.0, 1.5, None, None]
    assert frame["code"].to_list() == ["007", "008", "x9", "y1", None]
    assert frame["label"].to_list() == [0, 1, 0, 1, 0]


def test_a_code_is_the_same_category_as_integer_and_as_float(tmp_path: Path) -> None:
    write_days(tmp_path / "data", days=2, code=pl.lit(7))
    one_day(FIRST).with_columns(code=pl.when(pl.col("night")).then(None).otherwise(7.0)).write_parquet(
        tmp_path / "data/2026-08-01.parquet"
    )
    frame = opened(tmp_path, categorical=("code",)).read(ALL)
    assert frame["code"].drop_nulls().unique().to_list() == ["7"]
    assert frame["code"].null_count() > 0


def test_a_label_is_due_after_its_delay_to_the_microsecond(tmp_path: Path) -> None:
    write_days(tmp_path / "data")
    source = opened(tmp_path, as_of=moment("2026-08-05T06:00"), label_delay_days=2)
    mature = source.mature(source.read(ALL))
    assert mature["__time__"].max() == moment("2026-08-03T06:00")
    assert source.facts(ALL, source.features(), now=AS_OF).mature_rows == mature.height


def test_a_due_column_decides_row_by_row(tmp_path: Path) -> None:
    limit = pl.lit(datetime.fromisoformat("2026-08-05"))
    write_days(tmp_path / "data", due=pl.when(pl.col("night")).then(limit).otherwise(limit + timedelta(microseconds=1)))
    source = opened(tmp_path, as_of=moment("2026-08-05"), label_due_column="due")
    mature = source.mature(source.scan(ALL, ["night"])).collect()
    assert mature["night"].all()
    assert mature.height == source.read(ALL)["night"].sum() > 0
    assert "due" not in source.features()


def test_rows_are_taken_by_their_label_only_when_that_is_accepted_in_words(tmp_path: Path) -> None:
    write_days(tmp_path / "data", days=2, label=pl.when(pl.col("night")).then(pl.col("label")))
    frames = [
        s.mature(s.read(ALL))
        for s in (opened(tmp_path, label_selection=words) for words in ("mature", ACCEPT_SELECTION))
    ]
    assert frames[0].height == 48
    assert frames[1]["night"].all()


def test_a_window_is_named_by_its_files_and_their_bytes(tmp_path: Path) -> None:
    write_days(tmp_path / "data")
    window = Window(moment("2026-08-02"), moment("2026-08-04"))
    first = opened(tmp_path).describe(window)
    assert [f.path for f in first.files] == ["data/2026-08-02.parquet", "data/2026-08-03.parquet"]
    assert (first.rows, first.positives, first.source) == (48, 6, "data/*.parquet")
    assert opened(tmp_path, cache=tmp_path / "cache").describe(window) == first
    one_day(FIRST).write_parquet(tmp_path / "data/2026-08-03.parquet")
    changed = opened(tmp_path, cache=tmp_path / "cache").describe(window)
    assert changed.files[0] == first.files[0]
    assert changed.sha256 != first.sha256


def test_rows_are_sorted_by_event_time_within_files_too(tmp_path: Path) -> None:
    one_day(FIRST).reverse().write_parquet(tmp_path / "d.parquet")
    frame = opened(tmp_path, source="d.parquet").read(ALL)
    assert frame["amount"].equals(one_day(FIRST)["amount"])


def test_a_file_that_changes_while_it_is_read_is_not_described(tmp_path: Path) -> None:
    write_days(tmp_path / "data", days=2)
    source = opened(tmp_path, cache=tmp_path / "cache")
    one_day(FIRST, 30).write_parquet(tmp_path / "data/2026-08-01.parquet")
    with pytest.raises(DataError) as error:
        source.describe(ALL)
    assert str(error.value) == (
        "data/2026-08-01.parquet changed while the window was read: run again when the feed has finished writing"
    )
    reference = a_profile(source.read(ALL))
    source.counts(ALL, reference)
    assert opened(tmp_path, cache=tmp_path / "cache").counts(ALL, reference).rows == 54


def test_a_column_that_no_file_has_is_refused_with_the_nearest(tmp_path: Path) -> None:
    write_days(tmp_path / "data", days=1)
    with pytest.raises(DataError, match=r"column 'amout' is in none of 1 files: did you mean 'amount'\?"):
        opened(tmp_path).read(ALL, ["amout"])


def test_as_of_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        opened(tmp_path, as_of=datetime.fromisoformat("2026-08-01"))


# counts


def counted_files(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record what is really counted, through the real function."""
    seen: list[object] = []
    real = profiles.count

    def count(rows: Any, reference: Profile, *, score: str | None = None) -> Any:
        seen.append(rows)
        return real(rows, reference, score=score)

    monkeypatch.setattr(source_module.profiles, "count", count)
    return seen


def test_counts_of_files_add_up_to_the_counts_of_the_window(tmp_path: Path) -> None:
    write_days(tmp_path / "data")
    source = opened(tmp_path, cache=tmp_path / "cache")
    reference = a_profile(source.read(ALL))
    window = Window(moment("2026-08-02T05:00"), moment("2026-08-09T01:00"))
    direct = profiles.count(source.read(window), reference)
    assert direct.rows == 7 * 24 - 4
    for again in (source, opened(tmp_path, cache=tmp_path / "cache"), opened(tmp_path)):
        assert again.counts(window, reference) == direct


def test_a_repeated_check_counts_only_new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(tmp_path / "data", days=9)
    cache = tmp_path / "cache"
    source = opened(tmp_path, cache=cache)
    reference = a_profile(source.read(ALL))
    seen = counted_files(monkeypatch)
    source.counts(ALL, reference)
    assert len(seen) == 9
    write_new = one_day(date(2026, 8, 10))
    write_new.write_parquet(tmp_path / "data/2026-08-10.parquet")
    seen.clear()
    counts = opened(tmp_path, cache=cache).counts(ALL, reference)
    assert len(seen) == 1
    assert counts.rows == 240


def test_changed_bytes_another_profile_or_another_reading_are_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_days(tmp_path / "data", days=3)
    cache = tmp_path / "cache"
    source = opened(tmp_path, cache=cache)
    reference = a_profile(source.read(ALL))
    seen = counted_files(monkeypatch)
    source.counts(ALL, reference)
    seen.clear()
    one_day(FIRST, 30).write_parquet(tmp_path / "data/2026-08-01.parquet")
    assert opened(tmp_path, cache=cache).counts(ALL, reference).rows == 30 + 48
    assert len(seen) == 1
    opened(tmp_path, cache=cache).counts(ALL, a_profile(source.read(ALL).head(40)))
    assert len(seen) == 4
    opened(tmp_path, cache=cache, timezone="Europe/Paris").counts(ALL, reference)
    assert len(seen) == 7


def damage_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def damage_by_flipping(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def damage_by_another_number(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"rows": 24', b'"rows": 25'))


@pytest.mark.parametrize(
    "damage",
    [damage_by_cutting, damage_by_flipping, damage_by_another_number, Path.unlink, lambda p: p.write_bytes(b"")],
)
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: Any) -> None:
    write_days(tmp_path / "data", days=3)
    cache = tmp_path / "cache"
    source = opened(tmp_path, cache=cache)
    reference = a_profile(source.read(ALL))
    first = source.counts(ALL, reference)
    kept = sorted(cache.iterdir())
    assert len(kept) == 2
    for path in kept:
        damage(path)
    assert opened(tmp_path, cache=cache).counts(ALL, reference) == first
    assert sorted(cache.iterdir()) == kept


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_days(tmp_path / "data", days=3)
    (tmp_path / "cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, logger="rehone.data.cache"):
        source = opened(tmp_path, cache=tmp_path / "cache")
        assert source.counts(ALL, a_profile(source.read(ALL))).rows == 72
    assert [r.getMessage() for r in caplog.records] == ["cache cannot be read, going on without it"]


def test_a_full_disk_costs_only_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class FullDisk(Disk):
        def write(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    cache = Cache(tmp_path / "cache", FullDisk())
    with caplog.at_level(logging.WARNING, logger="rehone.data.cache"):
        cache.save_notes({"a": Note(rows=1)})
        cache.save_notes({"b": Note(rows=2)})
    assert cache.notes() == {"a": Note(rows=1), "b": Note(rows=2)}
    assert [r.getMessage() for r in caplog.records] == ["cache cannot be written, going on without it"]
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_touched_file_keeps_its_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(tmp_path / "data", days=2)
    source = opened(tmp_path, cache=tmp_path / "cache")
    reference = a_profile(source.read(ALL))
    first = source.counts(ALL, reference)
    os.utime(tmp_path / "data/2026-08-01.parquet", (1, 1))
    seen = counted_files(monkeypatch)
    assert opened(tmp_path, cache=tmp_path / "cache").counts(ALL, reference) == first
    assert seen == []


def test_a_window_without_files_counts_nothing(tmp_path: Path) -> None:
    write_days(tmp_path / "data", days=2)
    source = opened(tmp_path)
    reference = a_profile(source.read(ALL))
    empty = Window(moment("2026-01-01"), moment("2026-02-01"))
    assert source.counts(empty, reference).rows == 0
    assert source.read(empty).schema == source.read(ALL).schema
    assert source.describe(empty).files == ()


# --- when labels became known -----------------------------------------------------------------


def write_known(folder: Path, known: Any) -> None:
    write_days(folder, known_at=known)


def seen(source: Source) -> list[int | None]:
    return source.read(ALL, ("label",))["label"].to_list()


KNOWN = pl.col("ts") + timedelta(days=3)


@pytest.mark.parametrize(
    "known",
    [KNOWN, KNOWN.dt.replace_time_zone("UTC"), KNOWN.dt.strftime("%Y-%m-%dT%H:%M:%S")],
    ids=["naive", "utc", "text"],
)
def test_a_label_is_not_there_before_it_was_known_nor_is_its_time(tmp_path: Path, known: pl.Expr) -> None:
    write_known(tmp_path / "data", known)
    source = opened(tmp_path, label_time_column="known_at")
    rows = source.read(ALL, ("label", "known_at", "amount"))
    there = pl.col("__time__") + timedelta(days=3) <= AS_OF
    assert rows.filter(there).null_count().row(0) == (0, 0, 0, 0)
    late = rows.filter(~there)
    assert late.height == 71
    assert (late["label"].null_count(), late["known_at"].null_count(), late["amount"].null_count()) == (71, 71, 0)
    assert source.describe(ALL).positives == int(rows["label"].sum())


def test_the_limit_itself_is_known(tmp_path: Path) -> None:
    write_known(tmp_path / "data", pl.lit(datetime(2026, 8, 11)))  # noqa: DTZ001
    assert None not in seen(opened(tmp_path, label_time_column="known_at"))
    write_known(tmp_path / "data", pl.lit(datetime(2026, 8, 11, 0, 0, 0, 1)))  # noqa: DTZ001
    assert set(seen(opened(tmp_path, label_time_column="known_at"))) == {None}


def test_a_label_whose_time_is_not_there_is_not_seen(tmp_path: Path) -> None:
    write_known(tmp_path / "data", pl.when(pl.col("count") > 25).then(pl.col("ts")))
    source = opened(tmp_path, label_time_column="known_at")
    rows = source.read(ALL, ("label", "count"))
    assert rows.filter(pl.col("count") <= 25)["label"].unique().to_list() == [None]
    assert rows.filter(pl.col("count") > 25)["label"].null_count() == 0


def test_when_a_label_became_known_is_never_a_feature(tmp_path: Path) -> None:
    write_known(tmp_path / "data", pl.col("ts").dt.strftime("%Y-%m-%d %H:%M:%S"))
    assert "known_at" in opened(tmp_path).features()
    assert "known_at" not in opened(tmp_path, label_time_column="known_at").features()


def test_a_label_time_that_is_in_no_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    write_known(tmp_path / "data", KNOWN)
    with pytest.raises(
        DataError, match=r"^label_time_column 'known' is in none of 10 files: did you mean 'known_at'\?"
    ):
        opened(tmp_path, label_time_column="known")


def test_a_label_time_that_some_files_lack_or_write_as_a_number_is_a_finding(tmp_path: Path) -> None:
    write_known(tmp_path / "data", KNOWN)
    one_day(FIRST).write_parquet(tmp_path / "data" / f"{FIRST}.parquet")
    second = FIRST + timedelta(days=1)
    one_day(second).with_columns(known_at=pl.lit(17)).write_parquet(tmp_path / "data" / f"{second}.parquet")
    source = opened(tmp_path, label_time_column="known_at")
    said = [(c.status, c.detail) for c in source.findings]
    assert said == [
        (
            "act",
            "column 'known_at' is Int32 in data/2026-08-02.parquet, but Datetime(time_unit='us', time_zone='UTC') in 9 of 10 files",
        ),
        ("act", "column 'known_at' is missing in data/2026-08-01.parquet, but there in 9 of 10 files"),
    ]
    first_two = source.read(Window(moment("2026-08-01"), moment("2026-08-03")), ("label",))
    assert first_two["label"].unique().to_list() == [None]

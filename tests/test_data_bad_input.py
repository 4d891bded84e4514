"""What a feed can bring that is bad, written as real files, and the sentence that each gets."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rehone import profile as profiles
from rehone.config import Data
from rehone.data import Source, open_source, validate
from rehone.errors import DataError, StoreError
from rehone.records import Check, CheckStatus, Contract, Feature, FeatureKind, Profile, Window

FIRST = date(2026, 8, 1)
AS_OF = datetime(2026, 8, 11, tzinfo=UTC)
ALL = Window(AS_OF - timedelta(days=10), AS_OF)

ZSTD = b"\x28\xb5\x2f\xfd"

Change = Callable[[pl.DataFrame], pl.DataFrame]


def one_day(day: date, rows: int = 100) -> pl.DataFrame:
    rng = np.random.default_rng(day.toordinal())
    start = datetime.combine(day, time())
    return pl.DataFrame(
        {
            "ts": [start + timedelta(minutes=14 * i) for i in range(rows)],
            "amount": rng.normal(size=rows),
            "shop": rng.choice(["a", "b", "c"], rows).tolist(),
            "label": (np.arange(rows) % 8 == 0).astype(np.int8),
        }
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten sound days of a hundred rows each."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(10):
        one_day(FIRST + timedelta(days=i)).write_parquet(path_of(folder, i + 1))
    return folder


def path_of(folder: Path, day: int) -> Path:
    return folder / f"2026-08-{day:02}.parquet"


def change(folder: Path, days: range, how: Change) -> None:
    for day in days:
        path = path_of(folder, day)
        how(pl.read_parquet(path)).write_parquet(path)


def opened(folder: Path, as_of: datetime = AS_OF, **policy: Any) -> Source:
    return open_source(a_policy(**policy), folder.parent, cache=None, as_of=as_of)


def a_policy(**policy: Any) -> Data:
    return Data(**{"source": "data/*.parquet", "time_column": "ts"} | policy)


def judged(folder: Path, champion: Profile | None = None, **policy: Any) -> dict[str, Check]:
    source = opened(folder, **policy)
    facts = source.facts(ALL, source.features(), now=AS_OF, profile=champion)
    checks = validate(facts, a_policy(**policy), champion)
    return {check.name: check for check in checks if check.status is not CheckStatus.OK}


def a_champion(folder: Path) -> Profile:
    features = (Feature("amount", FeatureKind.NUMERIC), Feature("shop", FeatureKind.CATEGORICAL, ("a", "b", "c")))
    frame = opened(folder).read(ALL)
    return profiles.build(frame, Contract(features=features, label="label"), window=ALL)


def test_sound_data_gets_no_finding(data: Path) -> None:
    assert judged(data, a_champion(data)) == {}


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for source in ("data", "data/*.parquet"):
        with pytest.raises(DataError) as error:
            opened(tmp_path / "data", source=source)
        assert str(error.value) == (
            f"no Parquet or CSV file matches {source!r} in {tmp_path} (0 files, need at least 1): "
            "put files there, or correct data.source"
        )


def test_files_that_are_all_later_than_as_of(data: Path) -> None:
    with pytest.raises(DataError) as error:
        opened(data, as_of=datetime(2026, 7, 1, tzinfo=UTC))
    assert str(error.value) == (
        "none of 10 files is dated before 2026-07-01 (they are dated 2026-08-01 to 2026-08-10): "
        "choose a later as-of date, or add older files"
    )


def test_a_source_at_an_address_of_an_unknown_kind(data: Path) -> None:
    with pytest.raises(DataError, match=r"'hdfs://host/\*' cannot be read: give a folder or a glob"):
        opened(data, source="hdfs://host/*")


@pytest.mark.skipif(importlib.util.find_spec("obstore") is not None, reason="the client is installed")
def test_a_source_in_a_bucket_without_its_client(data: Path) -> None:
    with pytest.raises(StoreError, match=r"s3://bucket needs obstore, .* pip install 'rehone\[objects\]'"):
        opened(data, source="s3://bucket/*")


def test_a_truncated_file_and_a_foreign_file_are_named(data: Path) -> None:
    whole = path_of(data, 3).read_bytes()
    path_of(data, 3).write_bytes(whole[: len(whole) // 2])
    path_of(data, 4).write_text("not parquet at all")
    source = opened(data)
    first, second = source.findings
    assert first.sentence.startswith(f"data/2026-08-03.parquet cannot be read as parquet ({len(whole) // 2:,} bytes; ")
    assert first.sentence.endswith("): it is damaged or was cut short: copy or write it again, or remove it")
    assert second.subject == "data/2026-08-04.parquet"
    assert first.status is second.status is CheckStatus.ACT
    assert source.read(ALL).height == 800
    assert judged(data)["file_readable"].status is CheckStatus.ACT


def test_a_file_of_no_bytes_is_named(data: Path) -> None:
    path_of(data, 3).write_bytes(b"")
    assert [c.sentence for c in opened(data).findings] == [
        "data/2026-08-03.parquet is empty (0 bytes, need at least a header): write it again, or remove it"
    ]


def test_a_file_without_rows_is_a_warning(data: Path) -> None:
    change(data, range(3, 4), lambda frame: frame.clear())
    (finding,) = opened(data).findings
    assert finding.status is CheckStatus.WARN
    assert finding.sentence == "data/2026-08-03.parquet has 0 rows: if that day was not quiet, write the file again"


def test_files_that_none_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for day in (1, 2):
        path_of(folder, day).write_text("nonsense")
    with pytest.raises(DataError, match=r"none of the files of 'data/\*.parquet' can be read: data/2026-08-01.parquet"):
        opened(folder)


def test_bytes_that_are_damaged_behind_a_sound_footer_are_named_when_they_are_read(data: Path) -> None:
    path = path_of(data, 3)
    pl.read_parquet(path).with_columns(amount=pl.arange(100).cast(pl.Float64)).write_parquet(path, compression="zstd")
    raw = bytearray(path.read_bytes())
    frames = [i for i in range(len(raw)) if raw.startswith(ZSTD, i)]
    raw[frames[2] : frames[2] + 60] = bytes(60)  # of "amount": the two before it are of the times
    path.write_bytes(bytes(raw))
    assert pl.read_parquet(path, columns=["ts"]).height == 100
    source = opened(data)
    assert source.findings == ()
    with pytest.raises(DataError, match=r"data/2026-08-03.parquet cannot be read as parquet"):
        source.read(ALL)
    source = opened(data)
    facts = source.facts(ALL, source.features(), now=AS_OF)
    assert [(c.name, c.subject, c.status) for c in facts.findings] == [
        ("file_readable", "data/2026-08-03.parquet", CheckStatus.ACT)
    ]
    assert facts.mature_rows == 900


def test_half_schema_a_and_half_schema_b(data: Path) -> None:
    change(data, range(6, 11), lambda frame: frame.rename({"amount": "price"}))
    source = opened(data)
    assert {c.status for c in source.findings} == {CheckStatus.ACT}
    assert [c.sentence for c in source.findings] == [
        "column 'amount' is missing in "
        + ", ".join(f"data/2026-08-{d:02}.parquet" for d in range(6, 11))
        + ", but there in 5 of 10 files: write those files again with the column, or leave it out with data.exclude",
        "column 'price' is missing in "
        + ", ".join(f"data/2026-08-{d:02}.parquet" for d in range(1, 6))
        + ", but there in 5 of 10 files: write those files again with the column, or leave it out with data.exclude",
    ]
    assert source.read(ALL).height == 1000


def test_a_feature_that_turns_to_strings_in_some_files(data: Path) -> None:
    champion = a_champion(data)
    change(data, range(9, 11), lambda frame: frame.with_columns(pl.lit("n/a").alias("amount")))
    source = opened(data)
    (finding,) = source.findings
    assert finding.status is CheckStatus.ACT
    assert finding.sentence == (
        "column 'amount' is String in data/2026-08-09.parquet, data/2026-08-10.parquet, but Float64 in 8 of 10 files: "
        "write those files again with Float64, or leave the column out with data.exclude"
    )
    assert source.read(ALL)["amount"].null_count() == 200
    assert source.counts(ALL, champion).features[0].missing == 200


def test_a_feature_that_has_turned_to_strings_in_every_file(data: Path) -> None:
    champion = a_champion(data)
    change(data, range(1, 11), lambda frame: frame.with_columns(pl.lit("n/a").alias("amount")))
    found = judged(data, champion)
    assert found["feature_type"].sentence.startswith(
        "feature 'amount' is categorical (String) now, but numeric in the champion: "
    )


def test_a_column_that_few_files_have_is_left_out_and_said(data: Path) -> None:
    change(data, range(9, 11), lambda frame: frame.with_columns(extra=pl.lit(1.0)))
    source = opened(data)
    assert source.features() == ("amount", "shop")
    (finding,) = source.findings
    assert finding.status is CheckStatus.WARN
    assert "only 2 of 10 files have it (need at least half)" in finding.detail


def test_a_missing_label(data: Path) -> None:
    found = judged(data, label="lable")
    assert found["label"].status is CheckStatus.ACT
    assert found["label"].sentence == (
        "label 'lable' is in no file; the columns are ts, amount, shop, label: did you mean 'label'? correct data.label, or add the column"
    )
    assert opened(data, label="lable").describe(ALL).positives is None


def test_a_label_that_some_files_lack_is_missing_in_their_matured_rows(data: Path) -> None:
    change(data, range(9, 11), lambda frame: frame.drop("label"))
    assert judged(data)["label_nulls"].detail == (
        "200 matured rows have no label, of 1,000; 0 are allowed; there is no column 'label' in data/2026-08-09.parquet, "
        "data/2026-08-10.parquet"
    )
    assert judged(data, label_delay_days=2.5, min_rows=100) == {}


def test_a_string_label(data: Path) -> None:
    as_words = pl.when(pl.col("label") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))
    change(data, range(1, 11), lambda frame: frame.with_columns(label=as_words))
    found = judged(data)
    assert set(found) == {"label_values"}
    assert found["label_values"].status is CheckStatus.ACT
    assert found["label_values"].sentence == (
        "label 'label' (String) is not 0 or 1 in 1,000 of 1,000 matured rows, such as 'no', 'yes': write it as 0 and 1 or as booleans"
    )


@pytest.mark.parametrize("dtype", [pl.Boolean, pl.Float64, pl.UInt8])
def test_a_boolean_or_numeric_label_is_fine_and_a_third_value_is_not(data: Path, dtype: Any) -> None:
    change(data, range(1, 6), lambda frame: frame.with_columns(pl.col("label").cast(dtype)))
    assert judged(data) == {}
    change(data, range(1, 2), lambda frame: frame.with_columns(pl.lit(2.0).alias("label")))
    assert judged(data)["label_values"].detail == (
        "label 'label' ("
        + str(opened(data).columns["label"])
        + ") is not 0 or 1 in 100 of 1,000 matured rows, such as '2.0'"
    )


def test_a_window_of_one_class(data: Path) -> None:
    change(data, range(1, 11), lambda frame: frame.with_columns(pl.lit(0, pl.Int8).alias("label")))
    found = judged(data)
    assert set(found) == {"label_classes"}
    assert found["label_classes"].detail == "all 1,000 labels in 2026-08-01..2026-08-11 are 0: 1 class, need 2"


def test_nan_inf_and_huge_values(data: Path) -> None:
    wild = [float("nan")] * 15 + [float("inf"), float("-inf"), 1e31, -1e300] + [1.0] * 81
    change(data, range(1, 11), lambda frame: frame.with_columns(pl.Series("amount", wild)))
    found = judged(data)
    assert {name: check.status for name, check in found.items()} == dict.fromkeys(
        ("null_rate", "infinite", "huge"), CheckStatus.WARN
    )
    assert found["null_rate"].detail.startswith("15 % of 'amount' is null, above 10 %")
    assert found["infinite"].detail.startswith("20 of 1,000 values of 'amount' are infinite")
    assert found["huge"].detail.startswith("20 of 1,000 values of 'amount' are beyond 1e+30")


def test_nulls_that_jumped_and_a_column_that_went_silent(data: Path) -> None:
    champion = a_champion(data)
    change(data, range(1, 6), lambda frame: frame.with_columns(amount=None, shop=pl.lit("a")))
    assert judged(data, champion)["null_jump"].detail.startswith("50 % of 'amount' is null, 0 % in the champion's data")
    change(data, range(6, 11), lambda frame: frame.with_columns(amount=None, shop=pl.lit("a")))
    found = judged(data, champion)
    assert found["no_values"].status is found["constant"].status is CheckStatus.ACT
    assert found["constant"].subject == "shop"


def test_a_new_category_is_said_and_does_not_stop(data: Path) -> None:
    champion = a_champion(data)
    renamed = pl.when(pl.col("shop") == "c").then(pl.lit("zoo")).otherwise(pl.col("shop"))
    change(data, range(10, 11), lambda frame: frame.with_columns(shop=renamed))
    new = int((one_day(date(2026, 8, 10))["shop"] == "c").sum())
    found = judged(data, champion)
    assert set(found) == {"new_category"}
    assert found["new_category"].status is CheckStatus.WARN
    assert found["new_category"].detail == (
        f"{new} of 1,000 values of 'shop' are new to the champion (0 are expected), such as 'zoo'"
    )


def test_duplicate_rows_and_ids(data: Path) -> None:
    for i, day in enumerate(range(1, 11)):
        change(data, range(day, day + 1), lambda frame, i=i: frame.with_columns(trip=pl.arange(100) + 100 * i))  # type: ignore[misc]
    assert judged(data, id_column="trip") == {}
    path_of(data, 10).write_bytes(path_of(data, 9).read_bytes())
    found = judged(data, id_column="trip", stale_after_days=None)
    assert found["duplicate_ids"].status is CheckStatus.ACT
    assert found["duplicate_ids"].detail == "100 ids of 'trip' found more than once (200 of 1,000 rows); 0 are allowed"
    assert found["duplicate_rows"].status is CheckStatus.WARN
    assert found["duplicate_rows"].detail.startswith("10 % of 1,000 matured rows repeat another one in every column")


def test_dates_in_the_future(data: Path) -> None:
    ahead = pl.when(pl.arange(100) < 3).then(pl.col("ts") + timedelta(days=400)).otherwise(pl.col("ts"))
    change(data, range(9, 10), lambda frame: frame.with_columns(ts=ahead))
    found = judged(data)
    assert found["future"].status is CheckStatus.ACT
    assert found["future"].sentence == (
        "3 rows dated in the future (newest 2027-09-13 00:28 UTC): later than 2026-08-11 00:00 UTC by more than 15 minutes; "
        "0 are allowed: correct their times, this machine's clock, or data.timezone"
    )
    assert found["file_date"].subject == "data/2026-08-09.parquet"


def test_rows_between_as_of_and_now_are_not_in_the_future(data: Path) -> None:
    earlier = datetime(2026, 8, 5, 12, tzinfo=UTC)
    source = opened(data, as_of=earlier)
    facts = source.facts(Window(ALL.start, earlier), source.features(), now=AS_OF)
    assert facts.future_rows == 0
    assert opened(data, as_of=earlier).facts(ALL, source.features(), now=earlier).future_rows > 0


def test_mixed_time_zones(data: Path) -> None:
    change(data, range(1, 3), lambda frame: frame.with_columns(pl.col("ts").dt.replace_time_zone("Asia/Tokyo")))
    change(data, range(3, 4), lambda frame: frame.with_columns(pl.col("ts").dt.to_string("iso") + "-04:00"))
    source = opened(data)
    (finding,) = source.findings
    assert finding.status is CheckStatus.WARN
    assert finding.sentence == (
        "event times come in 3 zones, where 1 is expected, and are converted to UTC ("
        "Asia/Tokyo: data/2026-08-01.parquet, data/2026-08-02.parquet; "
        "no zone, read as UTC: "
        + ", ".join(f"data/2026-08-{d:02}.parquet" for d in range(4, 11))
        + "; written as offsets: data/2026-08-03.parquet): "
        "write all times in UTC, or make sure that data.timezone is the zone of the times without one"
    )
    assert source.files[0].span is not None
    assert source.files[0].span.start == datetime(2026, 7, 31, 15, tzinfo=UTC)
    assert source.files[2].span is not None
    assert source.files[2].span.start == datetime(2026, 8, 3, 4, tzinfo=UTC)


def test_integers_as_times_are_refused(data: Path) -> None:
    change(data, range(1, 2), lambda frame: frame.with_columns(pl.col("ts").dt.epoch("ms")))
    (finding,) = opened(data).findings
    assert finding.sentence == (
        "data/2026-08-01.parquet holds Int64 in the time column 'ts', not a timestamp, a date or ISO text: "
        "write timestamps: seconds, milliseconds and yyyymmdd cannot be told apart safely"
    )


def test_a_time_column_that_no_file_has(data: Path) -> None:
    with pytest.raises(DataError) as error:
        opened(data, time_column="tss")
    assert str(error.value) == ("time column 'tss' is in none of 10 files: did you mean 'ts'? Correct data.time_column")


def test_files_without_a_date_and_no_time_column(data: Path) -> None:
    one_day(FIRST).write_parquet(data / "more.parquet")
    findings = opened(data, time_column=None, exclude=("ts",)).findings
    assert [c.sentence for c in findings] == [
        "data/more.parquet has no date in its name and data.time_column is not set: name the column of event times"
    ]


def test_times_that_cannot_be_read(data: Path) -> None:
    half = pl.when(pl.arange(100) < 50).then(pl.lit("yesterday")).otherwise(pl.col("ts").dt.to_string("iso"))
    change(data, range(1, 2), lambda frame: frame.with_columns(ts=half))
    found = judged(data)
    assert found["event_time"].status is CheckStatus.ACT
    assert found["event_time"].detail == "50 rows without a readable event time in 'ts'; 0 are allowed"
    assert opened(data).read(ALL).height == 950


def test_no_row_is_left_after_maturity(data: Path) -> None:
    found = judged(data, label_delay_days=30)
    assert {name for name, check in found.items() if check.status is CheckStatus.ACT} == {"rows"}
    assert found["rows"].sentence == (
        "0 matured rows in 2026-08-01..2026-08-11 (1,000 rows in all), need at least 500: the first label is due on 2026-08-31: "
        "wait, widen lookback_days, or correct label_delay_days or label_due_column"
    )


def test_a_stale_feed_with_gaps(data: Path) -> None:
    for day in (4, 5, 7, 8, 9, 10):
        path_of(data, day).unlink()
    found = judged(data, min_rows=100)
    assert found["stale"].status is CheckStatus.ACT
    assert found["stale"].detail.startswith("the newest row (2026-08-06 23:06 UTC) is 4.0 days older than 2026-08-11")
    assert found["missing_days"].status is CheckStatus.WARN
    assert found["missing_days"].detail == (
        "2 days without any row in 2026-08-01..2026-08-11 (2026-08-04, 2026-08-05), 0 allowed"
    )


def test_a_file_that_vanishes_while_it_is_read(data: Path) -> None:
    source = opened(data)
    path_of(data, 5).unlink()
    with pytest.raises(DataError, match=r"data/2026-08-05.parquet cannot be read as parquet"):
        source.read(ALL)
    assert source.facts(ALL, source.features(), now=AS_OF).mature_rows == 900


def test_a_source_whose_files_have_all_vanished(data: Path) -> None:
    source = opened(data)
    for file in source.files:
        file.location.unlink()
    with pytest.raises(DataError, match=r"cannot be read \(.*; every one of its 10 files fails\): look at the disk"):
        source.facts(ALL, source.features(), now=AS_OF)


def test_csv_files_that_are_cut_short_or_of_another_alphabet_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    head = "ts,amount,label\n"
    (folder / "a.csv").write_text(head + "2026-08-01,1.5,0\n2026-08-02,2.5,1\n")
    (folder / "b.csv").write_text(head + '2026-08-03,1.5,0\n2026-08-03,"2.5,1,7,7\n')
    (folder / "c.csv").write_bytes(head.encode() + b"2026-08-04,\xff\xfe,1\n")
    findings = opened(folder, source="data/*.csv").findings
    assert [c.status for c in findings] == [CheckStatus.ACT] * len(findings)
    assert {c.subject for c in findings if c.name == "file_readable"} >= {"data/b.csv"}

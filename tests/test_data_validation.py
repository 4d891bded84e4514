"""Each rule on a window holds at its limit and acts just beyond it, with value, limit and remedy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from rehone.config import Data
from rehone.data import ColumnFacts, DataFacts, validate
from rehone.records import Check, CheckStatus, FeatureKind, FeatureProfile, Profile, Window

AS_OF = datetime(2026, 10, 30, tzinfo=UTC)
WINDOW = Window(AS_OF - timedelta(days=90), AS_OF)

AMOUNT = ColumnFacts(name="amount", kind=FeatureKind.NUMERIC, dtype="Float64", rows=1000)
SHOP = ColumnFacts(name="shop", kind=FeatureKind.CATEGORICAL, dtype="String", rows=1000)
SOUND = DataFacts(
    source="data/*.parquet",
    window=WINDOW,
    as_of=AS_OF,
    now=AS_OF,
    rows=1200,
    mature_rows=1000,
    mature_days=80,
    positives=100,
    null_labels=0,
    label_type="Int8",
    columns=(AMOUNT, SHOP),
    known_columns=("amount", "shop", "label"),
    oldest=WINDOW.start,
    newest=AS_OF - timedelta(hours=1),
    dated_files=90,
    duplicate_share=0.0,
)


def known(
    name: str, counts: tuple[int, ...], kind: FeatureKind = FeatureKind.NUMERIC, missing: int = 0
) -> FeatureProfile:
    return FeatureProfile(feature=name, kind=kind, counts=counts, missing=missing)


def champion(*features: FeatureProfile, positives: int = 100) -> Profile:
    both = features or (known("amount", (500, 500)), known("shop", (500, 500), FeatureKind.CATEGORICAL))
    return Profile(window=WINDOW, rows=1000, positives=positives, features=both)


def judged(facts: DataFacts, name: str, profile: Profile | None = None, **policy: Any) -> Check | None:
    found = [c for c in validate(facts, Data(**policy), profile) if c.name == name]
    assert len(found) <= 1
    return found[0] if found else None


def acted(facts: DataFacts, name: str, profile: Profile | None = None, **policy: Any) -> str:
    check = judged(facts, name, profile, **policy)
    assert check is not None
    assert check.status is CheckStatus.ACT
    assert check.remedy
    return check.sentence


def warned(facts: DataFacts, name: str, profile: Profile | None = None, **policy: Any) -> str:
    check = judged(facts, name, profile, **policy)
    assert check is not None
    assert check.status is CheckStatus.WARN
    assert check.remedy
    return check.sentence


def with_column(column: ColumnFacts) -> DataFacts:
    return replace(SOUND, columns=(column, SHOP))


def test_a_sound_window_is_listed_as_ok_rule_by_rule() -> None:
    checks = validate(SOUND, Data(), champion())
    assert {c.status for c in checks} == {CheckStatus.OK}
    assert [c.name for c in checks] == [
        "rows",
        "label_nulls",
        "label_rate",
        "future",
        "stale",
        "missing_days",
        "duplicate_rows",
    ]


def test_the_least_number_of_rows_passes_and_one_fewer_says_how_long_to_wait() -> None:
    assert judged(replace(SOUND, mature_rows=500), "rows", min_rows=500).status is CheckStatus.OK  # type: ignore[union-attr]
    few = replace(SOUND, rows=412, mature_rows=412, mature_days=42)
    assert acted(few, "rows", min_rows=500) == (
        "412 rows in 2026-08-01..2026-10-30, need at least 500: widen lookback_days or wait 9 days at the current rate"
    )


def test_no_matured_row_says_when_the_first_label_is_due() -> None:
    facts = replace(SOUND, mature_rows=0, positives=0, first_due=datetime(2026, 11, 15, tzinfo=UTC), columns=())
    assert acted(facts, "rows") == (
        "0 matured rows in 2026-08-01..2026-10-30 (1,200 rows in all), need at least 500: the first label is due on "
        "2026-11-15: wait, widen lookback_days, or correct label_delay_days or label_due_column"
    )
    assert judged(facts, "label_rate") is None
    assert judged(facts, "label_nulls") is None


def test_matured_rows_without_a_label_act() -> None:
    assert acted(replace(SOUND, null_labels=412), "label_nulls") == (
        "412 matured rows have no label, of 1,000; 0 are allowed: raise label_delay_days until labels have arrived, or fill them in"
    )


def test_where_the_times_of_labels_are_known_their_delay_is_to_be_learned() -> None:
    assert acted(replace(SOUND, null_labels=412), "label_nulls", label_time_column="known_at") == (
        "412 matured rows have no label, of 1,000; 0 are allowed: set label_completeness = 0.95, so that the delay is "
        "learned from 'known_at', or raise label_delay_days until labels have arrived"
    )


def test_as_many_matured_rows_may_be_without_a_label_as_the_wanted_completeness_leaves_out() -> None:
    learned = {"label_time_column": "known_at", "label_completeness": 0.9}
    within = judged(replace(SOUND, null_labels=100), "label_nulls", **learned)
    assert within is not None
    assert (within.status, within.detail) == ("ok", "100 matured rows have no label, of 1,000; 100 are allowed")
    assert acted(replace(SOUND, null_labels=101), "label_nulls", **learned) == (
        "101 matured rows have no label, of 1,000; 100 are allowed: wait until the delay of labels is known (`rehone check` "
        "shows it), or raise label_delay_days until then"
    )


def test_a_label_that_no_file_has_is_named_with_the_nearest_column() -> None:
    facts = replace(SOUND, label_type=None, known_columns=("amount", "labels"))
    assert acted(facts, "label") == (
        "label 'label' is in no file; the columns are amount, labels: did you mean 'labels'? correct data.label, or add the column"
    )
    assert judged(facts, "label_rate") is None


def test_labels_other_than_0_and_1_act() -> None:
    facts = replace(SOUND, odd_labels=3, odd_values=("2", "9"), label_type="Int64")
    assert acted(facts, "label_values") == (
        "label 'label' (Int64) is not 0 or 1 in 3 of 1,000 matured rows, such as '2', '9': write it as 0 and 1 or as booleans"
    )


@pytest.mark.parametrize(("positives", "fine"), [(20, True), (19, False), (400, True), (401, False)])
def test_the_label_rate_stays_inside_its_bounds(positives: int, fine: bool) -> None:
    check = judged(replace(SOUND, positives=positives), "label_rate")
    assert check is not None
    assert (check.status is CheckStatus.OK) is fine
    assert "must be 2 % to 40 %" in check.detail


@pytest.mark.parametrize(("positives", "fine"), [(50, True), (49, False), (200, True), (201, False), (10, False)])
def test_a_champion_s_own_rate_replaces_the_bounds_when_a_ratio_is_set(positives: int, fine: bool) -> None:
    facts = replace(SOUND, positives=positives)
    check = judged(facts, "label_rate", champion(), max_label_rate_ratio=2, max_label_rate=0.03)
    assert check is not None
    assert (check.status is CheckStatus.OK) is fine
    assert "must be 5 % to 20 % (the champion's 10 % by a factor of 2)" in check.detail
    without = judged(facts, "label_rate", None, max_label_rate_ratio=2)
    assert without is not None
    assert "must be 2 % to 40 %" in without.detail


@pytest.mark.parametrize(("positives", "value"), [(0, "0"), (1000, "1")])
def test_one_class_acts_once_and_not_as_a_rate_too(positives: int, value: str) -> None:
    facts = replace(SOUND, positives=positives)
    assert acted(facts, "label_classes") == (
        f"all 1,000 labels in 2026-08-01..2026-10-30 are {value}: 1 class, need 2: widen lookback_days, or look for a fault of the labels"
    )
    assert judged(facts, "label_rate") is None


def test_a_feature_of_the_champion_that_no_file_has_acts() -> None:
    assert acted(replace(SOUND, known_columns=("amounts", "shop", "label")), "feature_missing", champion()) == (
        "feature 'amount' is in no file, but among the champion's features: did you mean 'amounts'? add the column"
    )


def test_a_declared_feature_that_no_file_has_or_of_no_use_acts() -> None:
    facts = replace(SOUND, missing_features=("speed",), unusable_features=(("when", "Date"),))
    assert acted(facts, "feature_missing") == (
        "feature 'speed' is in no file, but among data.features: add the column, or take it out of data.features"
    )
    assert acted(facts, "feature_type").startswith("feature 'when' is Date; a feature is numeric, boolean or text: ")


def test_no_feature_at_all_acts() -> None:
    assert acted(replace(SOUND, columns=()), "features").startswith(
        "0 columns can be used as features, need at least 1: "
    )


def test_a_feature_of_another_kind_than_the_champion_s_acts() -> None:
    text = replace(AMOUNT, kind=FeatureKind.CATEGORICAL, dtype="String")
    assert acted(with_column(text), "feature_type", champion()) == (
        "feature 'amount' is categorical (String) now, but numeric in the champion: "
        "write it as numeric again, or rename it if it means something else now"
    )
    assert judged(with_column(text), "feature_type") is None
    assert judged(with_column(replace(text, missing=1000)), "feature_type", champion()) is None


def test_a_constant_feature_acts_only_when_it_varied_for_the_champion() -> None:
    facts = with_column(replace(AMOUNT, constant=True))
    assert "all 1,000 matured rows: it carries nothing: name it in data.exclude" in warned(facts, "constant")
    assert "repair the feed" in acted(facts, "constant", champion())
    shop = known("shop", (1000,), FeatureKind.CATEGORICAL)
    assert "it carries nothing" in warned(facts, "constant", champion(known("amount", (0, 1000, 0)), shop))


def test_a_feature_without_values_acts_only_when_the_champion_had_some() -> None:
    facts = with_column(replace(AMOUNT, missing=1000))
    assert "feature 'amount' has no value in all 1,000" in warned(facts, "no_values")
    assert judged(facts, "null_rate") is None
    assert "and varied in the champion's data: repair the feed" in acted(facts, "no_values", champion())
    shop = known("shop", (1000,), FeatureKind.CATEGORICAL)
    warned(facts, "no_values", champion(known("amount", (0, 0), missing=1000), shop))


def test_features_that_all_carry_nothing_act_without_a_champion() -> None:
    facts = replace(SOUND, columns=(replace(AMOUNT, constant=True),))
    assert acted(facts, "constant").startswith("feature 'amount' is the same in all 1,000 matured rows")


def test_nulls_above_the_rate_warn() -> None:
    assert judged(with_column(replace(AMOUNT, missing=100)), "null_rate") is None
    assert warned(with_column(replace(AMOUNT, missing=101)), "null_rate") == (
        "10.1 % of 'amount' is null, above 10 %: nulls are imputed: look at the feed, or raise warn_null_rate"
    )


def test_nulls_that_jumped_are_a_data_incident() -> None:
    shop = known("shop", (500, 500), FeatureKind.CATEGORICAL)
    before = champion(known("amount", (400, 500), missing=100), shop)
    assert judged(with_column(replace(AMOUNT, missing=400)), "null_jump", before) is None
    facts = with_column(replace(AMOUNT, missing=401))
    assert acted(facts, "null_jump", before) == (
        "40.1 % of 'amount' is null, 10 % in the champion's data: the rise may be at most 30 %: "
        "repair the feed, or raise max_null_jump if nulls are right now"
    )
    assert judged(facts, "null_rate", before) is None


def test_infinite_and_huge_values_are_counted() -> None:
    facts = with_column(replace(AMOUNT, infinite=7, huge=2))
    assert warned(facts, "infinite").startswith(
        "7 of 1,000 values of 'amount' are infinite, and read as missing; 0 are"
    )
    assert warned(facts, "huge").startswith(
        "2 of 1,000 values of 'amount' are beyond 1e+30 in size, and clipped; 0 are"
    )


def test_new_categories_warn_with_examples() -> None:
    facts = replace(SOUND, columns=(AMOUNT, replace(SHOP, unseen=12, unseen_values=("new", "newer"))))
    assert warned(facts, "new_category", champion()) == (
        "12 of 1,000 values of 'shop' are new to the champion (0 are expected), such as 'new', 'newer': "
        "nothing if the world has changed, a challenger learns them; else repair the feed"
    )


def test_rows_in_the_future_act() -> None:
    facts = replace(SOUND, future_rows=3, future_newest=datetime(2030, 1, 1, tzinfo=UTC))
    assert acted(facts, "future") == (
        "3 rows dated in the future (newest 2030-01-01 00:00 UTC): later than 2026-10-30 00:00 UTC by more than 15 minutes; "
        "0 are allowed: correct their times, this machine's clock, or data.timezone"
    )


def test_rows_after_their_file_s_date_act_unless_most_files_are_so_named() -> None:
    late = (("data/2026-10-01.parquet", datetime(2026, 10, 9, tzinfo=UTC)),)
    assert acted(replace(SOUND, misdated=late, dated_files=2), "file_date") == (
        "rows are later than their file's own date by more than 1 day in data/2026-10-01.parquet "
        "(newest 2026-10-09 00:00 UTC in data/2026-10-01.parquet): correct the times, or the name of the file"
    )
    assert judged(replace(SOUND, misdated=late, dated_files=1), "file_date") is None


def test_rows_without_a_readable_time_act() -> None:
    sentence = acted(replace(SOUND, untimed_rows=1), "event_time", time_column="ts")
    assert sentence.startswith("1 row without a readable event time in 'ts'; 0 are allowed: write timestamps")


def test_a_stale_feed_acts_beyond_its_limit() -> None:
    at_limit = judged(replace(SOUND, newest=AS_OF - timedelta(days=3)), "stale")
    assert at_limit is not None
    assert at_limit.status is CheckStatus.OK
    stale = replace(SOUND, newest=AS_OF - timedelta(days=3, hours=3))
    assert acted(stale, "stale") == (
        "the newest row (2026-10-26 21:00 UTC) is 3.1 days older than 2026-10-30 00:00 UTC, may be at most 3: "
        "look at why the feed stopped, or raise stale_after_days"
    )
    assert judged(stale, "stale", stale_after_days=None) is None


def test_missing_days_warn_and_act_only_above_a_declared_limit() -> None:
    facts = replace(SOUND, missing_days=tuple(date(2026, 9, d) for d in range(1, 8)))
    assert warned(facts, "missing_days") == (
        "7 days without any row in 2026-08-01..2026-10-30 (2026-09-01, 2026-09-02, 2026-09-03, 2026-09-04, 2026-09-05 and 2 more), "
        "0 allowed: deliver the missing days, or set max_missing_days"
    )
    warned(facts, "missing_days", max_missing_days=7)
    assert ", 6 allowed: " in acted(facts, "missing_days", max_missing_days=6)


def test_ids_that_are_not_unique_act_and_copies_of_rows_warn() -> None:
    facts = replace(SOUND, duplicate_ids=2, duplicate_id_rows=5, duplicate_share=0.25)
    assert acted(facts, "duplicate_ids", id_column="trip") == (
        "2 ids of 'trip' found more than once (5 of 1,000 rows); 0 are allowed: "
        "keep one row for each id, or take id_column out if it is not unique"
    )
    assert warned(facts, "duplicate_rows") == (
        "25 % of 1,000 matured rows repeat another one in every column, 1 % at most is usual: "
        "look for a file that was delivered twice"
    )


def test_everything_wrong_is_said_at_once_and_findings_on_files_come_first() -> None:
    file = Check(name="file_readable", subject="data/x.parquet", status=CheckStatus.ACT, detail="x")
    facts = replace(
        SOUND,
        mature_rows=10,
        positives=0,
        null_labels=2,
        missing_features=("speed",),
        untimed_rows=1,
        future_rows=1,
        newest=AS_OF - timedelta(days=9),
        findings=(file,),
    )
    acting = [c.name for c in validate(facts, Data(), None) if c.status is CheckStatus.ACT]
    assert acting == [
        "file_readable",
        "rows",
        "label_nulls",
        "label_classes",
        "feature_missing",
        "event_time",
        "future",
        "stale",
    ]

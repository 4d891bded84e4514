"""A profile is counts in bins: which bins, and that counting is exact everywhere."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rehone import codec, profile
from rehone.profile.bins import below, numeric_edges, score_edges
from rehone.records import Contract, Counts, Feature, FeatureKind, FeatureProfile, Profile, Window

START = datetime(2025, 1, 6, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=28))
N, B, C = FeatureKind.NUMERIC, FeatureKind.BOOLEAN, FeatureKind.CATEGORICAL


def times(n: int, days: float = 28) -> pl.Series:
    return pl.Series(
        "__time__", [START + timedelta(days=days * i / max(n, 1)) for i in range(n)], pl.Datetime("us", "UTC")
    )


def contract(**kinds: FeatureKind) -> Contract:
    return Contract(features=tuple(Feature(name, kind) for name, kind in kinds.items()), label="label")


def built(values: pl.Series, kind: FeatureKind, days: float = 28) -> Profile:
    frame = pl.DataFrame([values.alias("x"), times(len(values), days)])
    return profile.build(frame, contract(x=kind), window=WINDOW)


def only(made: Profile | Counts) -> FeatureProfile:
    return made.features[0]


def mixed(n: int = 2_000, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(size=n)
    amount[::50], amount[1::90], amount[2::90] = np.nan, np.inf, -np.inf
    return pl.DataFrame(
        {
            "amount": pl.Series(amount).set(pl.Series(np.arange(n) % 40 == 7), None),
            "zeros": np.where(rng.random(n) < 0.7, 0.0, rng.exponential(5, n)),
            "hour": rng.integers(0, 24, n),
            "items": rng.integers(0, 6, n).astype(np.int8),
            "small": rng.normal(size=n).astype(np.float32),
            "known": pl.Series(rng.random(n) < 0.3).set(pl.Series(np.arange(n) % 33 == 0), None),
            "shop": pl.Series(rng.choice([f"s{i}" for i in range(60)], n, p=_zipf(60))),
            "label": (rng.random(n) < 0.1).astype(np.int8),
            "score": rng.beta(1, 9, n),
            "__time__": times(n),
        }
    )


def _zipf(k: int) -> np.ndarray:
    weights = 1 / np.arange(1, k + 1)
    return weights / weights.sum()


KINDS = contract(amount=N, zeros=N, hour=N, items=N, small=N, known=B, shop=C)


def mixed_profile(frame: pl.DataFrame) -> Profile:
    return profile.build(frame, KINDS, window=WINDOW, scores=frame["score"].to_numpy(), threshold=0.4)


def test_a_continuous_feature_has_ten_bins_of_a_tenth_of_the_rows_each() -> None:
    found = only(built(pl.Series(np.random.default_rng(0).normal(size=1_000)), N))
    assert found.counts == (100,) * 10
    assert len(found.edges) == 9


def test_a_value_with_a_tenth_of_the_rows_has_a_bin_of_its_own_and_one_with_less_has_not() -> None:
    rest = np.arange(1.0, 901.0)
    with_atom = numeric_edges(np.sort(np.concatenate((np.full(100, 50.5), rest))))
    assert (below(50.5), 50.5) in pairwise(with_atom)
    without = numeric_edges(np.sort(np.concatenate((np.full(99, 50.5), rest, [901.0]))))
    assert below(50.5) not in without


def test_twenty_distinct_numbers_have_a_bin_each_and_twenty_one_have_quantile_bins() -> None:
    twenty = only(built(pl.Series([*range(20)] * 50), N))
    assert [n for n in twenty.counts if n] == [50] * 20
    assert len(only(built(pl.Series([*range(21)] * 50), N)).edges) == 9


def test_an_atom_that_no_rows_lie_below_leaves_no_sliver_bins_beside_it() -> None:
    rng = np.random.default_rng(3)
    found = only(built(pl.Series(np.where(rng.random(2_000) < 0.7, 0.0, rng.exponential(5, 2_000))), N))
    assert found.counts[0] == 0
    assert found.counts[1] == pytest.approx(1_400, abs=80)
    assert min(found.counts[2:]) >= 50


def test_a_zero_is_told_from_what_lies_below_it_without_subnormal_numbers() -> None:
    assert below(0.0) == -float(np.finfo(np.float64).tiny)
    assert below(1.0) == math.nextafter(1.0, 0.0)


def test_categories_with_fewer_than_five_rows_and_a_hundredth_are_pooled() -> None:
    values = ["a"] * 984 + ["ten"] * 10 + ["six"] * 6
    found = only(built(pl.Series(values), C))
    assert (found.values, found.pooled_values, found.pooled) == (("a", "ten"), ("six",), 6)
    few = only(built(pl.Series(["a"] * 90 + ["five"] * 5 + ["four"] * 4), C))
    assert (few.values, few.pooled_values) == (("a", "five"), ("four",))


def test_one_of_hundreds_of_rare_values_that_is_common_by_luck_is_pooled_with_the_others() -> None:
    rare = [f"c{i}" for i in range(330)] * 3
    assert only(built(pl.Series([*rare, *["lucky"] * 10]), C)).values == ()
    assert only(built(pl.Series([*rare, *["common"] * 20]), C)).values == ("common",)
    assert only(built(pl.Series([*rare[:400], *["often"] * 590, *["ten"] * 10]), C)).values == ("often", "ten")


def test_a_profile_remembers_few_rare_names_and_expects_the_rows_of_the_others_outside() -> None:
    values = [f"once{i}" for i in range(3_000)] + [f"twice{i}" for i in range(100)] * 2 + ["often"] * 1_000
    found = only(built(pl.Series(values), C))
    assert found.values == ("often",)
    assert len(found.pooled_values) == 100
    assert (found.unseen, found.expected_unseen, found.n) == (3_000, 3_200, 4_200)


def test_every_rare_name_is_remembered_while_there_are_few() -> None:
    found = only(built(pl.Series(["a"] * 400 + ["b", "c", "d"] + ["e"] * 2), C))
    assert set(found.pooled_values) == {"b", "c", "d", "e"}
    assert (found.expected_unseen, found.unseen_variance, found.unseen) == (3, 2, 0)


def test_missing_infinite_and_unseen_are_counted_apart() -> None:
    reference = built(pl.Series(["a", "b"] * 50), C)
    found = only(profile.count(pl.DataFrame({"x": ["a", "b", None, "new", "new"]}), reference))
    assert (found.counts, found.missing, found.unseen) == ((1, 1), 1, 2)
    numbers = built(pl.Series(np.arange(100.0)), N)
    now = pl.DataFrame({"x": [1.0, None, math.nan, math.inf, -math.inf, 1e300]})
    found = only(profile.count(now, numbers))
    assert (found.missing, found.infinite, sum(found.counts), found.counts[-1]) == (2, 2, 2, 1)
    flags = built(pl.Series([True, False, None] * 10), B)
    found = only(profile.count(pl.DataFrame({"x": [True, True, False, None]}), flags))
    assert (found.values, found.counts, found.missing) == (("false", "true"), (1, 2), 1)


def test_a_number_never_seen_falls_between_the_bins_of_discrete_values() -> None:
    reference = built(pl.Series([1, 2, 4] * 20), N)
    found = only(profile.count(pl.DataFrame({"x": [1, 3, 2, 0, 9]}), reference))
    seen = [now for now, then in zip(found.counts, only(reference).counts, strict=True) if then]
    assert seen == [1, 1, 0]
    assert sum(found.counts) == 5


def test_counts_equal_the_portable_primitive_on_null_nan_and_infinity() -> None:
    frame = mixed()
    reference = mixed_profile(frame)
    found = profile.count(frame, reference)
    for feature in found.features[:5]:
        column = pl.col(feature.feature).cast(pl.Float64)
        edges = (-math.inf, *feature.edges, float(np.finfo(np.float64).max), math.inf)
        asked = [pl.when(column <= e).then(1).otherwise(0).sum().alias(str(i)) for i, e in enumerate(edges)]
        at_most = frame.select(asked).row(0)
        assert feature.counts == tuple(b - a for a, b in pairwise(at_most[:-1]))
        assert feature.missing == frame.height - at_most[-1]
        assert feature.infinite == at_most[0] + at_most[-1] - at_most[-2]


def test_counts_equal_a_plain_loop_over_the_rows() -> None:
    frame = mixed(700)
    found = profile.count(frame, mixed_profile(mixed(2_000, seed=9)))
    for feature in found.features:
        expected = [0] * len(feature.counts)
        special = {"missing": 0, "infinite": 0, "pooled": 0, "unseen": 0}
        for value in frame[feature.feature].to_list():
            where = _place(value, feature)
            if isinstance(where, str):
                special[where] += 1
            else:
                expected[where] += 1
        assert feature.counts == tuple(expected)
        assert (feature.missing, feature.infinite, feature.pooled, feature.unseen) == tuple(special.values())


def _place(value: object, feature: FeatureProfile) -> int | str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    if feature.kind is FeatureKind.NUMERIC:
        number = float(value)  # type: ignore[arg-type]
        return "infinite" if math.isinf(number) else sum(edge < number for edge in feature.edges)
    text = str(value).lower() if feature.kind is FeatureKind.BOOLEAN else str(value)
    if text in feature.values:
        return feature.values.index(text)
    return "pooled" if text in feature.pooled_values else "unseen"


def test_a_profile_counts_its_own_rows_to_itself() -> None:
    frame = mixed()
    reference = mixed_profile(frame)
    again = profile.count(frame, reference, score="score")
    assert [f.counts for f in again.features] == [f.counts for f in reference.features]
    assert reference.scores is not None
    assert again.scores is not None
    assert again.scores.counts == reference.scores.counts
    assert (again.rows, again.oldest, again.newest) == (2_000, START, frame["__time__"].max())
    assert sum(again.weekday_rows) == 2_000
    assert (reference.rows, reference.positives) == (2_000, frame["label"].sum())


def test_lazy_and_eager_rows_give_the_same_counts() -> None:
    frame = mixed()
    reference = mixed_profile(frame)
    assert profile.count(frame.lazy(), reference, score="score") == profile.count(frame, reference, score="score")


def test_counts_of_parts_add_up_to_the_counts_of_all_rows_exactly() -> None:
    frame = mixed()
    reference = mixed_profile(frame)
    parts = [profile.count(frame.slice(i, 300), reference, score="score") for i in range(0, 2_000, 300)]
    assert profile.add(parts) == profile.count(frame, reference, score="score")
    assert profile.add([*parts, profile.count(frame.clear(), reference, score="score")]) == profile.add(parts)


def test_counts_of_different_profiles_do_not_add_up() -> None:
    one = profile.count(pl.DataFrame({"x": [1.0]}), built(pl.Series([1.0, 2.0]), N))
    other = profile.count(pl.DataFrame({"x": [1.0]}), built(pl.Series([1.0, 3.0]), N))
    with pytest.raises(ValueError, match="different profiles"):
        profile.add([one, other])
    with pytest.raises(ValueError, match="no counts to add"):
        profile.add([])


def test_the_weekdays_of_a_profile_add_up_to_the_whole() -> None:
    reference = mixed_profile(mixed())
    assert len(reference.by_weekday) == 7
    for i, feature in enumerate(reference.features):
        whole = (*feature.counts, feature.pooled, feature.missing, feature.infinite, feature.unseen)
        assert tuple(np.sum([day[i] for day in reference.by_weekday], axis=0).tolist()) == whole
    assert reference.scores is not None
    assert np.sum(reference.scores.by_weekday, axis=0).tolist() == list(reference.scores.counts)


def test_a_profile_survives_being_written_and_read_bit_for_bit() -> None:
    reference = mixed_profile(mixed())
    assert codec.decode(codec.encode(reference), Profile, source="profile.json") == reference


def test_a_feature_whose_column_is_gone_or_cannot_be_counted_is_all_missing() -> None:
    reference = built(pl.Series(np.arange(100.0)), N)
    for rows in (pl.DataFrame({"y": [1, 2]}), pl.DataFrame({"x": [[1], [2]]}), pl.DataFrame({"x": [None, None]})):
        assert only(profile.count(rows, reference)).missing == 2
    assert profile.count(pl.DataFrame({"y": [1, 2]}), reference).rows == 2


def test_text_in_a_numeric_feature_is_missing_unless_it_is_a_number() -> None:
    found = only(profile.count(pl.DataFrame({"x": ["12", "n/a", None]}), built(pl.Series(np.arange(100.0)), N)))
    assert (found.missing, sum(found.counts)) == (2, 1)


def test_numbers_read_as_categories_are_counted_by_their_text() -> None:
    reference = built(pl.Series([10, 20, None] * 20), C)
    found = only(profile.count(pl.DataFrame({"x": [10, 30, None]}), reference))
    assert (set(found.values), found.missing, found.unseen) == ({"10", "20"}, 1, 1)


def test_a_frame_without_rows_is_counted_as_zeros() -> None:
    reference = mixed_profile(mixed())
    found = profile.count(mixed().clear(), reference, score="score")
    assert (found.rows, found.oldest, sum(f.n for f in found.features)) == (0, None, 0)


def test_a_profile_of_no_rows_can_be_built() -> None:
    reference = profile.build(mixed().clear(), KINDS, window=WINDOW)
    assert (reference.rows, reference.label_rate) == (0, None)


def test_a_very_wide_frame_is_counted_in_several_passes_with_the_same_result() -> None:
    rng = np.random.default_rng(5)
    frame = pl.DataFrame({f"f{i}": rng.normal(size=60) for i in range(300)}).with_columns(times(60))
    kinds = contract(**{f"f{i}": N for i in range(300)})
    reference = profile.build(frame, kinds, window=WINDOW)
    found = profile.count(frame, reference)
    assert [f.counts for f in found.features] == [f.counts for f in reference.features]
    assert sum(len(f.edges) + 5 for f in reference.features) > 2_000


def test_scores_have_about_two_hundred_bins_and_a_shared_score_is_an_atom() -> None:
    scores = np.random.default_rng(2).beta(1, 9, 5_000)
    assert len(score_edges(scores)) == 99
    assert score_edges(np.full(100, 0.25)) == (below(0.25), 0.25)


def test_scores_may_be_fewer_than_rows_and_may_lack_values() -> None:
    frame = mixed()
    fewer = profile.build(frame, KINDS, window=WINDOW, scores=np.array([0.1, 0.2, np.nan, 0.3]))
    assert fewer.scores is not None
    assert (fewer.scores.n, fewer.scores.by_weekday) == (3, ())
    assert profile.build(frame, KINDS, window=WINDOW, scores=np.array([np.nan])).scores is None


def test_rows_are_counted_without_a_time_column() -> None:
    found = profile.count(pl.DataFrame({"x": [1.0]}), built(pl.Series(np.arange(50.0)), N))
    assert (found.rows, found.weekday_rows, found.oldest) == (1, (0,) * 7, None)


@pytest.mark.parametrize(
    ("name", "values", "clock"),
    [
        ("a date", pl.Series([START.date() + timedelta(days=i // 50) for i in range(5_000)]), True),
        ("a counter", pl.Series(range(10_000, 15_000)), True),
        ("a jittered counter", pl.Series(np.arange(5_000) + np.random.default_rng(0).normal(0, 50, 5_000)), True),
        ("a counter that falls", pl.Series(range(5_000, 0, -1)), True),
        ("a month", pl.Series([(START + timedelta(days=i // 50)).month for i in range(5_000)]), True),
        ("a day of the month", pl.Series([(START + timedelta(days=i // 50)).day for i in range(5_000)]), True),
        ("a day of the week", pl.Series([(START + timedelta(days=i // 50)).weekday() for i in range(5_000)]), False),
        ("an hour", pl.Series([i % 50 * 24 // 50 for i in range(5_000)]), False),
        ("a constant", pl.Series([3.0] * 5_000), False),
        ("a ramp that once fell back from half its height", pl.Series(np.repeat([*range(30), *range(70)], 50)), False),
        ("a switch", pl.Series([0] * 2_500 + [1] * 2_500), False),
        ("noise", pl.Series(np.random.default_rng(1).normal(size=5_000)), False),
        ("a trend in noise", pl.Series(np.arange(5_000) / 1_000 + np.random.default_rng(1).normal(size=5_000)), False),
        ("a daily temperature", pl.Series(np.repeat(np.random.default_rng(1).normal(size=100), 50)), False),
    ],
)
def test_clocks_are_found_and_other_features_are_not(name: str, values: pl.Series, clock: bool) -> None:
    assert only(built(values, N, days=100)).clock_like is clock, name


def test_a_season_in_words_is_a_clock_and_a_shop_is_not() -> None:
    seasons = pl.Series([("winter", "spring", "summer", "autumn")[i // 25 % 4] for i in range(100) for _ in range(20)])
    assert only(built(seasons, C, days=100)).clock_like
    assert only(built(seasons[: 50 * 20], C, days=50)).clock_like
    shops = pl.Series(np.random.default_rng(1).choice(["a", "b", "c", "d"], 2_000))
    assert not only(built(shops, C, days=100)).clock_like


def test_a_holiday_and_a_constant_word_are_no_clocks() -> None:
    holiday = pl.Series(["yes" if i == 50 else "no" for i in range(100) for _ in range(20)])
    assert not only(built(holiday, C, days=100)).clock_like
    assert not only(built(pl.Series(["DE"] * 2_000), C, days=100)).clock_like


def test_a_calendar_word_in_the_name_decides_where_the_window_holds_one_season_only() -> None:
    frame = pl.DataFrame(
        [pl.Series("season", ["spring"] * 600), pl.Series("plane_year", [*range(1990, 2010)] * 30), times(600)]
    )
    made = profile.build(frame, contract(season=C, plane_year=N), window=WINDOW)
    assert [f.clock_like for f in made.features] == [True, False]


def test_building_does_not_change_the_frame() -> None:
    frame = mixed()
    mixed_profile(frame)
    assert_frame_equal(frame, mixed())

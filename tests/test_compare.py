"""What `rehone.compare` promises: published values, symmetries, and coverage by simulation."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import binomtest
from scipy.stats import t as student_t

from rehone import compare

REFERENCE = Path(__file__).parent / "reference"
DELONG: dict[str, Any] = json.loads((REFERENCE / "delong.json").read_text())
TESTS: dict[str, Any] = json.loads((REFERENCE / "tests.json").read_text())


@pytest.mark.parametrize("name", sorted(DELONG))
def test_delong_reproduces_the_golden_values(name: str) -> None:
    """AUCs, covariance, difference, standard error, z, p, intervals and bounds agree to 1e-12."""
    case, expect = DELONG[name], DELONG[name]["expect"]
    found = compare.delong(case["y"], case["champion"], case["challenger"])
    close = pytest.approx
    assert (found.champion, found.challenger) == close((expect["auc_champ"], expect["auc_chal"]), abs=1e-12)
    assert (found.delta, found.se, found.z) == close((expect["delta"], expect["se"], expect["z"]), abs=1e-12)
    assert found.p_two_sided == close(expect["p2"], abs=1e-12)
    assert found.interval(0.95) == close(tuple(expect["ci"]), abs=1e-12)
    assert (found.lower(0.95), found.upper(0.95)) == close((expect["lower1"], expect["upper1"]), abs=1e-12)
    assert found.p_non_inferior(0.02) == close(expect["p_ni"], abs=1e-12)
    (aa, ab), (_, bb) = expect["cov"]
    assert found.covariance == close((aa, ab, bb), abs=1e-12)


def test_identical_models_have_p_1_and_the_interval_0_to_0_exactly() -> None:
    case = DELONG["E"]
    blocks = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    for found in (
        compare.delong(case["y"], case["champion"], case["champion"]),
        compare.delong_blocks(case["y"], case["champion"], case["champion"], blocks),
        compare.block_difference(case["champion"], case["champion"], blocks),
    ):
        assert (found.delta, found.se, found.z, found.p_two_sided) == (0.0, 0.0, 0.0, 1.0)
        assert found.interval(0.95) == (0.0, 0.0)


def _brute_force(y: np.ndarray, s: np.ndarray) -> float:
    won = s[y == 1][:, None] - s[y == 0][None, :]
    return float(((won > 0) + 0.5 * (won == 0)).mean())


@st.composite
def _paired_rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(6, 40))
    y = np.array([1, 1, 0, 0, *draw(st.lists(st.integers(0, 1), min_size=n - 4, max_size=n - 4))])
    grid = st.lists(st.integers(-8, 8).map(float), min_size=n, max_size=n).map(np.array)
    blocks = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    return y, draw(grid), draw(grid), blocks


@given(_paired_rows())
@settings(max_examples=120, deadline=None)
def test_differences_mirror_when_the_models_are_swapped_and_ignore_monotone_transforms_and_label_flips(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    y, a, b, blocks = rows
    for variant in (compare.delong, lambda *x: compare.delong_blocks(*x, blocks)):
        found, swapped = variant(y, a, b), variant(y, b, a)
        assert found.delta == pytest.approx(_brute_force(y, b) - _brute_force(y, a), abs=1e-12)
        assert swapped.delta == -found.delta
        assert (swapped.se is None) == (found.se is None)
        if found.se is not None:
            assert swapped.se == pytest.approx(found.se, abs=1e-12)
            assert swapped.lower(0.95) == pytest.approx(-found.upper(0.95), abs=1e-9)
        # same ranks, hence the very same numbers
        stretched = variant(y, np.exp(a / 4), b**3)
        assert (stretched.delta, stretched.se) == (found.delta, found.se)
        flipped = variant(1 - y, -a, -b)
        assert flipped.delta == pytest.approx(found.delta, abs=1e-12)
        assert flipped.se == (None if found.se is None else pytest.approx(found.se, abs=1e-12))


@given(_paired_rows())
@settings(max_examples=80, deadline=None)
def test_leaving_out_a_block_is_exact(rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
    """The O(n log n) sums give what computing the difference anew without each block gives."""
    y, a, b, blocks = rows
    found = compare.delong_blocks(y, a, b, blocks)
    kept = [blocks != block for block in np.unique(blocks)]
    if len(kept) < 2 or any(len(set(y[k])) < 2 for k in kept):
        assert found.se is None
        assert found.interval(0.95) == (-math.inf, math.inf)
        assert found.p_non_inferior(0.02) == 1.0
        return
    without = np.array([_brute_force(y[k], b[k]) - _brute_force(y[k], a[k]) for k in kept])
    d = len(kept)
    assert found.se == pytest.approx(math.sqrt((d - 1) / d * np.square(without - without.mean()).sum()), abs=1e-12)


def test_bounds_between_blocks_take_students_t_with_one_degree_less_than_blocks_that_have_positives() -> None:
    rng = np.random.default_rng(5)
    y, blocks = np.tile([1, 1, 0, 0, 0, 0], 6), np.repeat(np.arange(6), 6)
    y[blocks == 5] = 0
    a, b = rng.normal(size=(2, y.size))
    found = compare.delong_blocks(y, a, b, blocks)
    assert (found.blocks, found.df) == (5, 4)
    assert found.se is not None
    assert found.upper(0.95) - found.delta == pytest.approx(2.1318467863 * found.se, rel=1e-9)
    assert found.p_non_inferior(0.1) == pytest.approx(student_t.sf((found.delta + 0.1) / found.se, 4), abs=1e-12)
    assert found.p_two_sided == pytest.approx(2 * student_t.sf(abs(found.delta) / found.se, 4), abs=1e-12)


def test_a_mean_difference_of_single_rows_is_the_paired_t() -> None:
    before, after = np.array([1.0, 0, 3, 2, 5]), np.array([2.0, 0, 1, 4, 9])
    found = compare.block_difference(before, after)
    d = after - before
    assert found.se == pytest.approx(d.std(ddof=1) / math.sqrt(5), abs=1e-12)
    assert (found.df, found.blocks, found.champion, found.challenger) == (4, None, 2.2, 3.2)
    assert compare.block_difference(before, after, [1, 1, 1, 1, 1]).se is None


def test_fewer_than_two_of_a_class_nan_scores_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="1 positives and 2 negatives: need at least 2 of each"):
        compare.delong([1, 0, 0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="1 of 4 values are NaN or infinite"):
        compare.delong([1, 1, 0, 0], [0.1, 0.2, 0.3, math.nan], [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match=r"values of shape \(3,\) must be one row of 4"):
        compare.delong([1, 1, 0, 0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match="must be one row of 0 and 1"):
        compare.delong([1, 1, 0, 2], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match=r"blocks of shape \(3,\) must be one row of 4"):
        compare.delong_blocks([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], [1, 2, 3])
    with pytest.raises(ValueError, match="0 rows to compare"):
        compare.block_difference([], [])


def test_a_constant_champion_is_compared_like_any_other() -> None:
    y = np.repeat([1, 0], [20, 80])
    found = compare.delong(y, np.full(100, 0.3), np.where(y == 1, 0.9, 0.1))
    assert (found.champion, found.challenger, found.delta) == (0.5, 1.0, 0.5)


def test_one_million_rows_take_seconds() -> None:
    """CPU time, so that a busy machine does not matter."""
    rng = np.random.default_rng(1)
    y = rng.random(1_000_000) < 0.05
    a = rng.normal(size=y.size) + y
    b = a + 0.3 * rng.normal(size=y.size)
    begun = time.process_time()
    independent = compare.delong(y, a, b)
    blocked = compare.delong_blocks(y, a, b, np.arange(y.size))
    assert time.process_time() - begun < 10
    # with every row a block of its own the two variances are the same to a large-sample order
    assert blocked.se == pytest.approx(independent.se, rel=1e-3)


TANGO = TESTS["tango_score_ci95"]


@pytest.mark.parametrize(("pairs", "expected"), list(zip(TANGO["(n,gain,loss)"], TANGO["ci"], strict=True)))
def test_tango_intervals_reproduce_the_golden_values(pairs: list[int], expected: list[float]) -> None:
    n, gain, loss = pairs
    assert compare.tango(n, gain, loss, 0.95) == pytest.approx(tuple(expected), abs=1e-6)
    low, high = compare.tango(n, loss, gain, 0.95)
    assert (-high, -low) == pytest.approx(tuple(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("pairs", "z"),
    list(zip(TANGO["(n,gain,loss)"], TESTS["tango_noninferiority_z_margin_0.05"], strict=True)),
)
def test_tango_z_reproduces_the_golden_values(pairs: list[int], z: float) -> None:
    assert compare.tango_z(*pairs, 0.05) == pytest.approx(z, abs=1e-6)


def test_tango_does_not_collapse_when_no_pair_disagrees_and_holds_at_its_ends() -> None:
    z2 = float(ndtri(0.975)) ** 2
    assert compare.tango(30, 0, 0, 0.95) == pytest.approx((-z2 / (30 + z2), z2 / (30 + z2)), abs=1e-12)
    low, high = compare.tango(30, 30, 0, 0.95)
    assert (low > 0.7, high) == (True, pytest.approx(1.0, abs=1e-12))
    assert compare.tango(0, 0, 0, 0.95) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="3 gains and 2 losses of 4 pairs"):
        compare.tango(4, 3, 2, 0.95)


@given(st.integers(1, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))))
@settings(max_examples=100, deadline=None)
def test_tango_bounds_are_where_its_statistic_meets_the_quantile(counts: tuple[int, int, int]) -> None:
    n, gain, loss = counts
    gain = min(gain, n - loss)
    low, high = compare.tango(n, gain, loss, 0.90)
    assert -1 <= low <= (gain - loss) / n <= high <= 1
    if low > -0.999:
        assert compare.tango_z(n, gain, loss, -low) == pytest.approx(float(ndtri(0.95)), abs=1e-5)


def test_mcnemar_reproduces_the_golden_values() -> None:
    golden = TESTS["mcnemar_exact_p"]
    found = [compare.mcnemar_exact(gain, loss) for gain, loss in golden["(gain,loss)"]]
    assert found == pytest.approx(golden["p"], abs=1e-12)
    assert (compare.mcnemar_exact(0, 0), compare.mcnemar_exact(4, 4)) == (1.0, 1.0)


def test_binomial_intervals_reproduce_the_golden_values_and_hold_at_their_ends() -> None:
    golden = TESTS["binomial_12_of_20"]
    assert compare.wilson(12, 20, 0.95) == pytest.approx(golden["wilson"], abs=1e-12)
    assert compare.clopper_pearson(12, 20, 0.95) == pytest.approx(golden["clopper_pearson"], abs=1e-12)
    for interval in (compare.wilson, compare.clopper_pearson):
        assert interval(0, 10, 0.95)[0] == 0.0
        assert interval(10, 10, 0.95)[1] == 1.0
        assert interval(0, 0, 0.95) == (0.0, 1.0)
        with pytest.raises(ValueError, match="11 successes of 10"):
            interval(11, 10, 0.95)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 11), (11, 11), (250, 1000)])
def test_binomial_intervals_agree_with_scipy(k: int, n: int) -> None:
    exact = binomtest(k, n).proportion_ci(0.9, method="exact")
    score = binomtest(k, n).proportion_ci(0.9, method="wilson")
    assert compare.clopper_pearson(k, n, 0.9) == pytest.approx((exact.low, exact.high), abs=1e-10)
    assert compare.wilson(k, n, 0.9) == pytest.approx((score.low, score.high), abs=1e-10)


def test_holm_and_benjamini_hochberg_reproduce_the_golden_values_in_any_order() -> None:
    golden = TESTS["multiplicity"]
    assert compare.holm(golden["p"]) == pytest.approx(golden["holm"], abs=1e-12)
    assert compare.benjamini_hochberg(golden["p"]) == pytest.approx(golden["bh"], abs=1e-12)
    assert compare.holm(golden["p"][::-1]) == pytest.approx(golden["holm"][::-1], abs=1e-12)
    assert compare.benjamini_hochberg(golden["p"][::-1]) == pytest.approx(golden["bh"][::-1], abs=1e-12)
    assert (compare.holm([]), compare.benjamini_hochberg([0.9])) == ((), (0.9,))


# --- simulations: binormal scores, champion AUC .90, score correlation .9, 5 % positives ---


def _lift(auc: float) -> float:
    return math.sqrt(2) * float(ndtri(auc))


def _noise(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    shared = math.sqrt(0.9) * rng.normal(size=n)
    return shared + math.sqrt(0.1) * rng.normal(size=n), shared + math.sqrt(0.1) * rng.normal(size=n)


@pytest.mark.slow
def test_positives_needed_are_those_of_the_plan() -> None:
    """Equal models, one-sided 5 %, power .80: 377, 95 and 16 positives, within 4 %.

    DeLong's variance for the exact binormal law with 19 negatives a positive gives 386, 96 and 16.
    """
    rng = np.random.default_rng(11)
    y = np.repeat([1, 0], [30_000, 570_000])
    a, b = _noise(rng, y.size)
    found = compare.delong(y, a + _lift(0.9) * y, b + _lift(0.9) * y)
    assert found.se is not None
    needed = [compare.positives_needed(30_000, found.se, margin, level=0.95) for margin in (0.01, 0.02, 0.05)]
    assert needed[0] == pytest.approx(377, rel=0.04)
    assert needed[1] == pytest.approx(95, rel=0.04)
    assert needed[2] == 16
    assert compare.positives_needed(40, 0.01, 0.0, level=0.95) is None


@pytest.mark.slow
@pytest.mark.parametrize(("positives", "loss"), [(25, 0.0), (50, 0.02), (100, 0.05)])
def test_delong_intervals_of_independent_rows_cover_92_to_97_percent(positives: int, loss: float) -> None:
    """600 draws: the Monte-Carlo error is .009."""
    rng = np.random.default_rng(positives)
    y = np.repeat([1, 0], [positives, 19 * positives])
    covered = 0
    for _ in range(600):
        a, b = _noise(rng, y.size)
        low, high = compare.delong(y, a + _lift(0.9) * y, b + _lift(0.9 - loss) * y).interval(0.95)
        covered += low <= -loss <= high
    assert 0.92 <= covered / 600 <= 0.97


def _good_and_bad_days(rng: np.random.Generator, days: int) -> tuple[np.ndarray, ...]:
    """Draw 50 rows a day; each model has its good and its bad days, with no difference on average."""
    day = np.repeat(np.arange(days), 50)
    y = rng.random(day.size) < 0.05
    a, b = _noise(rng, day.size)
    lift = _lift(0.9) + 1.5 * rng.normal(size=(2, days))
    return y, a + y * lift[0][day], b + y * lift[1][day], day


@pytest.mark.slow
@pytest.mark.parametrize(("days", "rows_cover"), [(14, 0.80), (40, 0.80)])
def test_day_blocks_cover_where_rows_do_not(days: int, rows_cover: float) -> None:
    """Nominal 95 %: blocks cover at least .91 at 14 days and .93 at 40; counting rows, less than .80.

    800 draws: the Monte-Carlo error of .95 is .008; 3,000 draws gave .952 and .948, rows .73.
    """
    rng = np.random.default_rng(days)
    by_rows = by_days = by_bound = 0
    for _ in range(800):
        y, a, b, day = _good_and_bad_days(rng, days)
        low, high = compare.delong(y, a, b).interval(0.95)
        by_rows += low <= 0 <= high
        blocked = compare.delong_blocks(y, a, b, day)
        low, high = blocked.interval(0.95)
        by_days += low <= 0 <= high
        by_bound += blocked.lower(0.95) <= 0
    assert by_rows / 800 < rows_cover
    assert (0.91 if days == 14 else 0.93) <= by_days / 800 <= 0.985
    assert 0.92 <= by_bound / 800 <= 0.98


@pytest.mark.slow
def test_day_blocks_cost_little_when_rows_are_independent() -> None:
    rng = np.random.default_rng(3)
    covered, widths = 0, []
    for _ in range(400):
        day = np.repeat(np.arange(40), 50)
        y = rng.random(day.size) < 0.05
        a, b = _noise(rng, day.size)
        a, b = a + _lift(0.9) * y, b + _lift(0.9) * y
        low, high = compare.delong_blocks(y, a, b, day).interval(0.95)
        covered += low <= 0 <= high
        rows = compare.delong(y, a, b).interval(0.95)
        widths.append((high - low) / (rows[1] - rows[0]))
    assert 0.92 <= covered / 400 <= 0.98
    assert float(np.mean(widths)) < 1.15

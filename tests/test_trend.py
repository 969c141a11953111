"""igrlib.experiments.verdicts.trends against enumeration, SciPy and closed forms."""

import itertools
import math

import numpy as np
import pytest
from helpers import few_examples
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from igrlib.experiments.verdicts.trends import exact_tails, trend

RATES = np.array([0.1, 0.05, 0.025, 0.01, 0.005])
SETTINGS = {"relative": True, "rates": 3, "seeds": 8, "confidence": 0.98}

# Few different numbers, so that there are ties.
small_blocks = st.lists(
    st.lists(st.integers(0, 3), min_size=2, max_size=4), min_size=1, max_size=3
).map(lambda rows: [np.array(row, float) for row in rows])


def page(row):
    return float(np.arange(1, len(row) + 1) @ stats.rankdata(row))


def enumerated(rows):
    """Both p-values by going through every permutation of every block."""
    seen = sum(map(page, rows))
    every = [[page(p) for p in itertools.permutations(row)] for row in rows]
    sums = np.array([sum(choice) for choice in itertools.product(*every)])
    return np.mean(sums <= seen + 1e-9), np.mean(sums >= seen - 1e-9)


@few_examples
@given(small_blocks)
def test_p_values_are_those_of_all_permutations(rows):
    np.testing.assert_allclose(exact_tails(rows), enumerated(rows), rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_p_value_of_complete_blocks_is_that_of_scipy(seed):
    rows = np.random.default_rng(seed).normal(size=(6, 5)) + 0.3 * np.arange(5)
    expected = stats.page_trend_test(rows, method="exact").pvalue
    np.testing.assert_allclose(exact_tails(list(rows)).rising, expected, rtol=1e-10)


def test_many_blocks_in_perfect_order_keep_the_digits_of_a_tiny_p():
    falling, rising = exact_tails([np.arange(5.0)] * 24)
    np.testing.assert_allclose(rising, float(math.factorial(5)) ** -24, rtol=1e-10)
    np.testing.assert_allclose(falling, 1, rtol=1e-12)


def test_without_blocks_or_differences_nothing_is_significant():
    assert exact_tails([]) == (1, 1)
    assert exact_tails([np.zeros(4)] * 3) == (1, 1)


def test_a_power_of_h_gives_its_exponent_per_doubling():
    shifts = np.array([-3.0, 0.0, 5.0, 9.0])[:, None]
    found = trend(RATES, shifts - 0.7 * np.log(RATES)[None, :], np.arange(4), **SETTINGS)
    np.testing.assert_allclose(found.effect, 100 * (2**-0.7 - 1), rtol=1e-12)
    np.testing.assert_allclose(found.effects, 4 * [found.effect], rtol=1e-12)
    np.testing.assert_allclose(found.p.falling, 120.0**-4, rtol=1e-10)
    assert (found.blocks, found.cells, found.interval) == (4, 20, None)


def test_a_quantity_that_is_no_logarithm_keeps_its_unit():
    found = trend(
        RATES, 3 * np.log2(RATES)[None, :], np.arange(1), **{**SETTINGS, "relative": False}
    )
    np.testing.assert_allclose(found.effect, 3, rtol=1e-12)


def test_effect_and_interval_are_those_of_numpy_and_scipy():
    quantity = np.random.default_rng(1).normal(size=(9, 5))
    slopes = [np.polyfit(np.log2(RATES), row, 1)[0] for row in quantity]
    expected = stats.t.interval(0.98, 8, np.mean(slopes), stats.sem(slopes))
    found = trend(RATES, quantity, np.arange(9), **{**SETTINGS, "relative": False})
    np.testing.assert_allclose(found.effect, np.mean(slopes), rtol=1e-10)
    np.testing.assert_allclose(found.interval, expected, rtol=1e-12)
    told = trend(RATES, quantity, np.arange(9), **SETTINGS)
    np.testing.assert_allclose(told.interval, 100 * np.expm1(expected), rtol=1e-12)


def test_an_interval_takes_different_seeds_not_blocks():
    quantity = np.random.default_rng(2).normal(size=(16, 5))
    assert trend(RATES, quantity, np.arange(16) % 7, **SETTINGS).interval is None
    assert trend(RATES, quantity, np.arange(16) % 8, **SETTINGS).interval is not None


def test_a_block_counts_with_the_cells_it_has_from_three_on():
    rng, nan = np.random.default_rng(3), np.nan
    quantity = rng.normal(size=(3, 5))
    quantity[0, [0, 3]] = nan
    quantity[1, [0, 1, 2]] = nan
    found = trend(RATES, quantity, np.array([5, 6, 7]), **SETTINGS)
    assert (found.blocks, found.cells, found.seed.tolist()) == (2, 8, [5, 7])
    # RATES fall.
    rows = [quantity[0, [4, 2, 1]], quantity[2, ::-1]]
    np.testing.assert_allclose(found.p, enumerated(rows), rtol=1e-12)
    nothing = trend(RATES, np.full((2, 5), nan), np.arange(2), **SETTINGS)
    assert nothing.blocks == 0
    assert math.isnan(nothing.effect)
    assert nothing.p == (1, 1)


@few_examples
@given(st.integers(0, 2**32 - 1), st.permutations(range(5)))
def test_p_depends_on_the_order_within_blocks_alone(seed, order):
    rng = np.random.default_rng(seed)
    quantity, seeds = rng.normal(size=(6, 5)), np.arange(6)
    quantity[rng.random((6, 5)) < 0.2] = np.nan
    p = trend(RATES, quantity, seeds, **SETTINGS).p
    assert trend(RATES, np.exp(3 * quantity), seeds, **SETTINGS).p == p
    assert trend(RATES, quantity + 10 * rng.normal(size=(6, 1)), seeds, **SETTINGS).p == p
    assert trend(RATES**2, quantity, seeds, **SETTINGS).p == p
    assert trend(RATES[order], quantity[:, order], seeds, **SETTINGS).p == p
    mirrored = trend(RATES, -quantity, seeds, **SETTINGS).p
    np.testing.assert_allclose(mirrored, p[::-1], rtol=1e-9)


def test_under_no_effect_p_is_as_small_as_it_says():
    rng = np.random.default_rng(4)
    p = np.empty((400, 2))
    for found in p:
        quantity = rng.standard_cauchy((8, 5))
        quantity[rng.random((8, 5)) < 0.1] = np.nan
        found[:] = trend(RATES, quantity, np.arange(8), **SETTINGS).p
    # Of 400, 5 % are 20 ± 4.4 and a half 200 ± 10; exactness says that there are not more.
    for share, tolerance in ((0.05, 0.03), (0.5, 0.07)):
        np.testing.assert_allclose(np.mean(p <= share, axis=0), share, atol=tolerance)


@pytest.mark.parametrize(
    "rates", [[0.1, 0.1, 0.2], [0.0, 0.1, 0.2], [-0.1, 0.1, 0.2], [0.1, 0.2, np.inf]]
)
def test_learning_rates_must_be_positive_and_distinct(rates):
    with pytest.raises(ValueError, match="learning_rate must be positive and distinct, got"):
        trend(np.array(rates), np.zeros((1, 3)), np.arange(1), **SETTINGS)


@pytest.mark.parametrize(
    ("quantity", "seed"),
    [((1, 4), (1,)), ((1, 5), (2,)), ((5,), ()), ((2, 1, 5), (2, 1)), ((5, 1), (1,))],
)
def test_shapes_that_do_not_fit(quantity, seed, without_type_hook):
    with pytest.raises(ValueError, match="quantity must have a row for each seed and a column"):
        trend(RATES, np.zeros(quantity), np.zeros(seed, int), **SETTINGS)


@pytest.mark.parametrize("confidence", [0, 2, -0.5, np.nan])
def test_confidence_is_a_probability(confidence, without_type_hook):
    with pytest.raises(ValueError, match=f"confidence must be .*, got {confidence}"):
        trend(RATES, np.zeros((9, 5)), np.arange(9), **{**SETTINGS, "confidence": confidence})


def test_nan_has_no_rank():
    with pytest.raises(ValueError, match="rows must be without NaN"):
        exact_tails([np.arange(3.0), np.array([1.0, np.nan])])


def test_more_rates_than_can_be_enumerated_are_refused():
    with pytest.raises(ValueError, match="at most 12 learning rates, got 13"):
        exact_tails([np.arange(13.0)])

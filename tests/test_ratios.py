"""Ratios over blocks: Fieller's interval by its definition, and what has none."""

import numpy as np
import pytest
from scipy import stats

from igrlib.experiments.verdicts.ratios import pooled_slope, ratio_of_means

RNG = np.random.default_rng(5)


def test_fiellers_interval_holds_the_ratios_that_students_test_does_not_reject():
    below = RNG.normal(3.0, 1.0, 9)
    above = 0.4 * below + RNG.normal(0.0, 0.3, 9)
    found = ratio_of_means(above, below, confidence=0.95)
    assert found.value == pytest.approx(above.mean() / below.mean())
    for end in found.interval:
        assert stats.ttest_1samp(above - end * below, 0.0).pvalue == pytest.approx(0.05, rel=1e-9)
    low, high = found.interval
    assert stats.ttest_1samp(above - (low + high) / 2 * below, 0.0).pvalue > 0.05


def test_a_denominator_that_may_be_none_gives_no_interval():
    below = np.array([1.0, -1.0, 0.5, 0.2])
    assert stats.ttest_1samp(below, 0.0).pvalue > 0.05
    assert ratio_of_means(np.ones(4), below, confidence=0.95).interval is None


def test_blocks_without_both_do_not_count():
    nan = np.nan
    found = ratio_of_means(np.array([1.0, nan, 3.0]), np.array([2.0, 5.0, nan]), confidence=0.9)
    assert (found.value, found.interval, found.blocks) == (0.5, None, 1)
    slope = pooled_slope(np.array([1.0, nan, 3.0]), np.array([2.0, 5.0, nan]), confidence=0.9)
    assert (slope.value, slope.interval, slope.blocks) == (0.5, None, 1)
    for of in (ratio_of_means, pooled_slope):
        nothing = of(np.array([nan]), np.array([1.0]), confidence=0.9)
        assert np.isnan(nothing.value)
        assert nothing[1:] == (None, 0)


def test_an_exact_ratio_has_an_interval_of_no_width():
    below = np.array([10.0, 11.0, 12.0])
    for of in (ratio_of_means, pooled_slope):
        np.testing.assert_allclose(
            of(0.25 * below, below, confidence=0.98).interval, 0.25, rtol=1e-6
        )

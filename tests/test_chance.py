"""igrlib.experiments.verdicts.chance against SciPy and against what the shared factor m must do."""

import numpy as np
import pytest
import xarray as xr
from helpers.records import record, sweep, unit
from scipy import stats

from igrlib.experiments.table import table_of
from igrlib.experiments.verdicts.chance import rate_with_regularizer

PARAMS = {50: 49_960, 100: 119_910}


def test_the_correlation_is_that_of_scipy_on_lambda_and_r_ig():
    table = table_of(sweep(spread=0.5), "sgd")
    found = rate_with_regularizer(table, draws=1)
    m = np.array([PARAMS[n] for n in table["width"].values])[:, None]
    rate = (table["learning_rate"].values * m / 4).ravel()
    regularizer = (table["chosen_train_squared_gradient"].sel(point="test").values / m).ravel()
    expected = stats.spearmanr(rate, regularizer).statistic
    np.testing.assert_allclose(found.correlation, expected, rtol=1e-12)
    np.testing.assert_allclose(found.regularization_rate, rate, rtol=1e-12)
    np.testing.assert_allclose(found.regularizer, regularizer, rtol=1e-12)


def test_chance_alone_correlates_them_and_only_through_m():
    table = table_of(sweep(spread=0.3), "sgd")
    apart, alike = (
        rate_with_regularizer(
            table.assign_coords(num_params=xr.where(table["width"] == 50, 10**3, large)),
            draws=200,
        )
        for large in (10**6, 10**3)
    )
    # Two halves quite apart, the order turned between them and random within: −¾·n²/(n²−1).
    np.testing.assert_allclose(apart.chance.mean(), -0.75 * 6400 / 6399, atol=0.01)
    assert abs(alike.chance.mean()) < 0.03
    # Uncorrelated ranks of n models have the standard deviation 1/√(n−1).
    np.testing.assert_allclose(alike.chance.std(), 79**-0.5, rtol=0.2)


def test_the_same_seed_gives_the_same_chance_and_gaps_are_left_out():
    made = unit(50, (0, 1, 2, 3), spread=1.0)
    made.arrays["diverged"][3] = 5
    table = table_of(record(made), "sgd")
    one, same, other = (rate_with_regularizer(table, draws=5, seed=s) for s in (1, 1, 2))
    assert one.regularization_rate.shape == (19,)
    np.testing.assert_array_equal(one.chance, same.chance)
    assert not np.array_equal(one.chance, other.chance)


def test_what_cannot_be_correlated_is_refused():
    table = table_of(sweep(), "sgd")
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        rate_with_regularizer(table, draws=0)
    lone = unit(50, (0,), rates=(0.1, 0.2))
    with pytest.raises(ValueError, match="3 models or more measured at 'test', got 2"):
        rate_with_regularizer(table_of(record(lone), "sgd"))

"""Differences between two ways to train, in tables whose differences are known."""

import numpy as np
import pytest
from helpers.records import record, unit
from scipy import stats

from igrlib.experiments.table import at_ratio, plain, table_of
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts import contrast
from igrlib.experiments.verdicts.contrasts import LEAST
from igrlib.experiments.verdicts.equal_loss import accuracy_at, log_at

LEVEL = 0.1


def slopes(found, arm, keep=plain):
    return log_at(keep(table_of(found, arm)), "train_squared_gradient", LEVEL)


def two_arms(shift, *, seeds=range(8), widths=(50, 100), spread=0.0):
    """An arm, and one at a tenth of its rates whose ‖∇E‖² is e^shift times as large."""
    units = []
    for width in widths:
        units.append(unit(width, tuple(seeds), arm="plain", rates=(0.1, 0.05), spread=spread))
        other = unit(width, tuple(seeds), arm="momentum", rates=(0.1, 0.05), spread=spread)
        noise = np.random.default_rng(width).normal(size=len(other.arrays["seed"]))
        other.arrays["train_squared_gradient"] *= np.exp(shift + spread * noise)[:, None]
        other.arrays["learning_rate"] = other.arrays["learning_rate"] / 10
        units.append(other)
    return record(*units)


@pytest.mark.parametrize(
    ("shift", "seen"), [(0.5, "larger"), (-0.5, "smaller"), (0.05, "the same"), (0.0, "the same")]
)
def test_a_difference_is_found_in_its_size(shift, seen):
    both = two_arms(shift)
    found = contrast(slopes(both, "momentum"), slopes(both, "plain"), relative=True, least=20.0)
    assert found.observation == seen
    assert found.difference.effect == pytest.approx(100 * np.expm1(shift), abs=1e-9)
    assert found.difference.blocks == 16


def test_interval_and_p_are_students_and_of_signs():
    both = two_arms(-0.3, spread=0.4)
    one, other = slopes(both, "momentum"), slopes(both, "plain")
    found = contrast(one, other, relative=True, least=1.0).difference
    apart = (one.values - other.values).mean(1)
    reference = stats.ttest_1samp(apart, 0.0).confidence_interval(0.98)
    ends = 100 * np.expm1([reference.low, reference.high])
    np.testing.assert_allclose(found.interval, ends, rtol=1e-9)
    falls = int((apart < 0).sum())
    assert 8 < falls < 16  # Neither all nor none, so that the p tells something.
    expected = stats.binomtest(falls, 16, alternative="greater").pvalue
    assert found.p.falling == pytest.approx(expected, rel=1e-12)


def test_few_blocks_tell_nothing():
    """Six seeds are no interval, and all of one sign by chance once in 64 times."""
    both = two_arms(0.5, seeds=range(6), widths=(50,))
    found = contrast(slopes(both, "momentum"), slopes(both, "plain"), relative=True, least=20.0)
    assert (found.observation, found.difference.interval) == ("cannot tell", None)
    lenient = Thresholds(significance=0.02)
    again = contrast(
        slopes(both, "momentum"), slopes(both, "plain"), relative=True, least=20.0, limits=lenient
    )
    assert again.observation == "larger"


def test_pairs_that_one_side_lacks_do_not_count():
    """A model that diverged takes its pair with it; a block without pairs is left out."""
    units = two_arms(0.5, widths=(50,)).units
    both = record(*units.values())
    (own,) = [u for u in both.units.values() if u.name.startswith("momentum")]
    own.arrays["diverged"][:2] = 7  # Both rates of seed 0.
    own.arrays["diverged"][2] = 7  # One of seed 1.
    own.arrays["train_squared_gradient"][3] *= np.exp(1.0)
    one, other = slopes(both, "momentum"), slopes(both, "plain")
    found = contrast(one, other, relative=True, least=20.0).difference
    assert found.seed.tolist() == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(found.effects, 100 * np.expm1([1.5] + [0.5] * 6))


def test_blocks_are_matched_by_name():
    """Not by their place: the second arm has other seeds and no width of 100."""
    both = record(
        *(unit(n, (0, 1, 2), arm="plain", rates=(0.1,)) for n in (50, 100)),
        unit(50, (2, 1, 5), arm="momentum", rates=(0.1,)),
    )
    found = contrast(slopes(both, "momentum"), slopes(both, "plain"), relative=True, least=20.0)
    assert sorted(found.difference.seed.tolist()) == [1, 2]
    np.testing.assert_allclose(found.difference.effects, 0.0, atol=1e-9)


def test_models_of_a_ratio():
    made = unit(50, (0, 1), arm="plain", rates=(0.4, 0.2), mus=(0.0, 0.1))
    made.arrays["mu"] = made.arrays["mu"] * made.arrays["learning_rate"] / 0.2
    table = at_ratio(table_of(record(made), "plain"), 0.5)
    assert table["learning_rate"].values.tolist() == [0.2, 0.4]
    np.testing.assert_allclose(table["mu"], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"ratio must be one of the table's μ/h, .*, got 0\.3"):
        at_ratio(table, 0.3)


def test_what_cannot_be_paired():
    table = table_of(record(unit(50, (0,), rates=(0.1, 0.05))), "sgd")
    one = accuracy_at(table, LEVEL)
    with pytest.raises(ValueError, match=r"equally many treatments, .* got \[1, 2\]"):
        contrast(one.isel(treatment=[0]), one, relative=False, least=0.1)
    other = accuracy_at(table_of(record(unit(50, (3,), rates=(0.1, 0.05))), "sgd"), LEVEL)
    with pytest.raises(ValueError, match="one and other must have blocks in common, got none"):
        contrast(one, other, relative=False, least=0.1)


def test_the_least_differences_are_those_of_the_profile():
    """Fixed before the record: what decides is a factor of ten between two theories."""
    assert LEAST == {"squared_gradient": 20.0, "lambda_max": 20.0, "accuracy": 0.1}

"""Tables of a record: where each number of a record comes to stand, and what is read off it."""

import dataclasses

import numpy as np
import pytest
from helpers.records import LEVELS, RATES, STEPS, record, sweep, unit

from igrlib.experiments.schema import MARKS
from igrlib.experiments.table import (
    area_under_noise,
    arms,
    at_learning_rate,
    explicit,
    missing_units,
    of_width,
    plain,
    preferred,
    table_of,
    whole_widths,
)
from igrlib.experiments.verdicts import judge
from igrlib.experiments.verdicts.equal_loss import (
    lambda_max_at,
    lambda_max_loss,
    log_at,
    squared_gradient_at,
    time_at,
)
from igrlib.experiments.verdicts.predictions import edge_of


def test_every_model_stands_in_the_row_of_its_block_and_the_column_of_its_rate():
    units = [unit(100, (0, 1)), unit(50, (2, 3), rates=(0.05, 0.2)), unit(50, (0, 1))]
    for number, made in enumerate(units):
        made.arrays["tag"] = 100 * number + np.arange(len(made.arrays["seed"]))
    table = table_of(record(*units), "sgd")
    assert list(zip(table["width"].values, table["seed"].values, strict=True)) == [
        *((50, seed) for seed in range(4)),
        *((100, seed) for seed in range(2)),
    ]
    assert table["batch_size"].values.tolist() == 6 * [32]
    assert table["learning_rate"].values.tolist() == [*sorted(RATES), 0.2]
    nan = np.nan
    expected = [
        [204, 203, 202, 201, 200, nan],
        [209, 208, 207, 206, 205, nan],
        [nan, nan, nan, 100, nan, 101],
        [nan, nan, nan, 102, nan, 103],
        [4, 3, 2, 1, 0, nan],
        [9, 8, 7, 6, 5, nan],
    ]
    np.testing.assert_array_equal(table["tag"].values, expected)
    np.testing.assert_array_equal(table["finished"].values, np.isfinite(expected))
    assert table["train_loss"].values.shape == (6, 6, 7)
    np.testing.assert_array_equal(table["level"].values, LEVELS)


def test_what_was_not_measured_is_nan():
    table = table_of(sweep(), "sgd")
    # Of all arrays that a sweep may have, those that this one has not.
    assert table["norm"].shape == (16, 5, len(STEPS))
    for name in ("norm", "validation_loss", "chosen_evaluated_loss"):
        assert table[name].isnull().all()
    made = unit(50, (0, 1))
    for name in ("train_loss", "crossing_step", "crossing_lambda_max", "level"):
        del made.arrays[name]
    table = table_of(record(made), "sgd")
    assert np.isnan(log_at(table, "train_squared_gradient", 1e-2).values).all()
    assert np.isnan(lambda_max_at(table, 1e-2).values).all()


def test_a_diverged_model_is_marked_and_its_numbers_are_not_used():
    made = unit(50, (0, 1))
    made.arrays["diverged"][6] = 100
    made.meta["marks"] = {"fitted": [0], "censored_validation": [9], "censored_test": [1, 2]}
    table = table_of(record(made), "sgd")
    where = {
        name: np.argwhere(mark.values).tolist()
        for name, mark in table[["diverged", *MARKS]].items()
    }
    assert where == {
        "diverged": [[1, 3]],
        "fitted": [[0, 4]],
        "censored_validation": [[1, 0]],
        "censored_test": [[0, 2], [0, 3]],
    }
    accuracy = table["chosen_test_accuracy"].sel(point="test").values
    assert np.argwhere(np.isnan(accuracy)).tolist() == [[1, 3]]


def test_points_are_taken_by_name():
    made = unit(50, (0,))
    made.arrays["chosen_test_accuracy"] = np.arange(15.0).reshape(5, 3)
    table = table_of(record(made), "sgd")
    for column, point in enumerate(("validation", "test", "final")):
        expected = [12 + column, 9 + column, 6 + column, 3 + column, column]
        np.testing.assert_array_equal(
            table["chosen_test_accuracy"].sel(point=point).values[0], expected
        )


def test_units_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"arm must be one of \['sgd'\].*, got 'gd'"):
        table_of(sweep(), "gd")
    again = unit(50, (1, 2))
    with pytest.raises(
        ValueError,
        match=f"units of 'sgd' must hold different models, got one of {again.name} twice",
    ):
        table_of(record(unit(50, (0, 1)), again), "sgd")
    twice = unit(50, (0, 1))
    twice.arrays["seed"][:] = 0
    with pytest.raises(ValueError, match="must hold different models"):
        table_of(record(twice), "sgd")
    other = unit(100, (0, 1))
    other.arrays["level"] = LEVELS[:3]
    with pytest.raises(
        ValueError, match=f"level must be the same in all units of 'sgd', .* {other.name}"
    ):
        table_of(record(unit(50, (0, 1)), other), "sgd")
    other = unit(100, (0, 1))
    other.arrays["chosen_noise_slope"] = other.arrays["chosen_noise_slope"][..., 1:]
    with pytest.raises(ValueError, match=r"chosen_noise_slope of unit .* must be of shape"):
        table_of(record(unit(50, (0, 1)), other), "sgd")


@pytest.mark.parametrize("name", ["seed", "learning_rate", "diverged"])
def test_a_unit_that_is_not_of_a_sweep_is_refused_by_name(name):
    made = unit(50, (0, 1))
    del made.arrays[name]
    with pytest.raises(
        ValueError, match=f"unit {made.name} must be part of a sweep, got no {name}"
    ):
        table_of(record(made), "sgd")
    made = unit(50, (0, 1))
    del made.meta["unit_config"]["width"]
    with pytest.raises(ValueError, match="must be part of a sweep, got no width"):
        table_of(record(made), "sgd")


def test_units_measured_at_other_steps_share_a_table_with_holes():
    """Width 100 was measured at fewer steps and one of its own; its effects are found all the same.

    ‖∇E‖² is a power of E in these records, so that interpolation is exact between any two steps.
    """
    fewer = (0, 30, 50, 1000, 3000)
    effects = {"squared_gradient": -0.3}
    units = [unit(50, (0, 1), effects=effects), unit(100, (0, 1), effects=effects, steps=fewer)]
    table = table_of(record(*units), "sgd")
    all_steps = [0, 10, 30, 50, 100, 300, 1000, 3000]
    np.testing.assert_array_equal(table["gradient_step"].values, all_steps)
    holes = np.isnan(table["train_loss"].values)
    for width, steps in ((50, STEPS), (100, fewer)):
        seen = np.isin(all_steps, steps)
        assert (holes[table["width"].values == width] == ~seen).all()
        alone = of_width(table, width)
        np.testing.assert_array_equal(alone["gradient_step"].values, steps)
        assert alone["width"].values.tolist() == 2 * [width]
        assert np.isfinite(alone["train_loss"].values).all()
    found = log_at(table, "train_squared_gradient", 1e-2).values
    slopes = np.diff(found, axis=1) / np.diff(np.log2(table["learning_rate"].values))
    np.testing.assert_allclose(slopes, -0.3, rtol=1e-9)
    # Of both widths: 785n + 4(n + 1)n + 10(n + 1).
    assert table["num_params"].values.tolist() == [49_960, 49_960, 119_910, 119_910]


def test_a_step_is_kept_where_anything_was_measured():
    """An arm without a validation split has test accuracies at every step all the same."""
    made, other = unit(50, (0, 1)), unit(100, (0,))
    for each, steps in ((made, [0, 10, 20]), (other, [0, 10, 30])):
        shape = (len(each.arrays["seed"]), 3)
        each.arrays["score_step"] = np.array(steps)
        each.arrays["validation_accuracy"] = np.full(shape, np.nan)
        each.arrays["test_accuracy"] = np.full(shape, 0.5)
    table = table_of(record(made, other), "sgd")
    np.testing.assert_array_equal(table["score_step"].values, [0, 10, 20, 30])
    for width, steps in ((50, [0, 10, 20]), (100, [0, 10, 30])):
        alone = of_width(table, width)
        np.testing.assert_array_equal(alone["score_step"].values, steps)
        assert (alone["test_accuracy"].values == 0.5).all()
        assert alone["validation_accuracy"].values.shape == (*alone["finished"].shape, 3)


def test_columns_are_pairs_of_a_mu_and_a_rate():
    """Sorted by μ, then by h; a unit without μ trained plainly."""
    both = unit(50, (0, 1), rates=(0.2, 0.1), mus=(0.5, 0.0))
    both.arrays["tag"] = np.arange(8.0)
    old = unit(50, (2,), rates=(0.1, 0.4))
    old.arrays["tag"] = np.array([8.0, 9.0])
    del old.arrays["mu"]
    table = table_of(record(both, old), "sgd")
    assert table["mu"].values.tolist() == [0, 0, 0, 0.5, 0.5]
    assert table["learning_rate"].values.tolist() == [0.1, 0.2, 0.4, 0.1, 0.2]
    nan = np.nan
    expected = np.array([[3, 1, nan, 2, 0], [7, 5, nan, 6, 4], [8, nan, 9, nan, nan]])
    np.testing.assert_array_equal(table["tag"].values, expected)
    alone, one = plain(table), explicit(table)
    np.testing.assert_array_equal(alone["tag"].values, expected[:, :3])
    np.testing.assert_array_equal(alone["fitted"].values, np.isfinite(expected[:, :3]))
    assert alone["learning_rate"].values.tolist() == [0.1, 0.2, 0.4]
    np.testing.assert_array_equal(one["tag"].values, expected[:, [0, 3]])
    np.testing.assert_array_equal(one["finished"].values, np.isfinite(expected[:, [0, 3]]))
    assert one["mu"].values.tolist() == [0, 0.5]
    np.testing.assert_array_equal(at_learning_rate(table, 0.2)["tag"].values, expected[:, [1, 4]])
    with pytest.raises(
        ValueError, match=r"learning_rate must be one of 0\.1, 0\.2, 0\.4, got 0\.3"
    ):
        at_learning_rate(table, 0.3)


def test_arms_are_kept_apart():
    both = record(unit(50, (0, 1)), unit(50, (0, 1, 2), arm="gd"))
    assert arms(both) == ["gd", "sgd"]
    assert (len(table_of(both, "gd").seed), len(table_of(both, "sgd").seed)) == (3, 2)


def test_between_two_measurements_a_power_law_is_exact():
    loss = np.array([[2.0, 0.5, 0.03, 0.004], [3.0, 0.009, 0.02, 0.001]])
    squared = 7 * loss**1.6
    for level in (0.3, 0.1, 0.01):
        expected = np.log(7) + 1.6 * np.log(level)
        np.testing.assert_allclose(
            squared_gradient_at(loss, squared, level), [expected, expected], rtol=1e-12
        )


def test_it_is_the_first_crossing_that_counts():
    loss = np.array([1.0, 0.1, 1.0, 0.1])
    squared = np.array([1.0, np.e**2, 1.0, np.e**8])
    np.testing.assert_allclose(squared_gradient_at(loss, squared, 10**-0.5), 1, rtol=1e-12)


def test_what_was_not_measured_is_skipped():
    loss, squared = np.array([1.0, np.nan, 0.01, np.nan]), np.array([1.0, np.nan, np.e**2, np.nan])
    np.testing.assert_allclose(squared_gradient_at(loss, squared, 0.1), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "squared"),
    [
        ([1.0, 0.5, 0.2], [1.0, 1.0, 1.0]),  # never below
        ([0.05, 0.5, 0.01], [1.0, 1.0, 1.0]),  # from the start
        ([1.0, np.nan, np.nan], [1.0, np.nan, np.nan]),
        ([np.nan, 0.5, 0.01], [1.0, np.nan, 1.0]),
        ([np.nan, np.nan, 0.01], [1.0, 1.0, 1.0]),
        ([1.0, 0.5, 0.01], [1.0, np.nan, 1.0]),
        ([1.0, 0.5, 0.0], [1.0, 1.0, 0.0]),
        ([1.0, 0.5, 0.01], [1.0, 1.0, 0.0]),
    ],
)
def test_without_two_measurements_around_the_level_there_is_no_number(loss, squared):
    assert np.isnan(squared_gradient_at(np.array(loss), np.array(squared), 0.1))


def test_curvature_measured_once_for_several_levels_counts_for_each():
    made, nan = unit(50, (0,), rates=(0.1, 0.2, 0.3)), np.nan
    made.arrays["crossing_step"] = np.array([[10, 30, 30, 30], [10, 10, 30, -1], [10, 10, 10, 30]])
    made.arrays["crossing_lambda_max"] = np.array(
        [[5.0, nan, nan, 6.0], [nan, 7.0, 8.0, nan], [1.0, 2.0, nan, 4.0]]
    )
    table = table_of(record(made), "sgd")
    found = np.array([lambda_max_at(table, level).values[0] for level in LEVELS]).T
    np.testing.assert_array_equal(found, [[5, 6, 6, 6], [7, 7, 8, nan], [1, 2, nan, 4]])
    assert np.isnan(lambda_max_at(table, 0.05).values).all()


def descending(losses, steps, curvature):
    """One model with these losses, and λ_max where each level was first seen to be passed."""
    made = unit(50, (0,), rates=(0.1,), steps=tuple(range(0, 10 * len(losses), 10)))
    made.arrays["train_loss"] = np.array([losses])
    made.arrays["crossing_step"] = np.array([steps])
    made.arrays["crossing_lambda_max"] = np.array([curvature])
    return table_of(record(made), "sgd")


def test_curvature_is_that_of_the_level_where_it_was_measured_on_both_sides():
    nan = np.nan
    # Linear in the logarithms: 0.01 is a third of the way from 0.02 to 0.02/8, and 4 of that from
    # 8 to 1.
    table = descending([2.3, 0.02, 0.0025, 4e-4], [10, 20, 30, -1], [8.0, 1.0, 0.5, nan])
    np.testing.assert_allclose(lambda_max_at(table, 0.01).values, [[4.0]], rtol=1e-12)
    np.testing.assert_allclose(lambda_max_loss(table, 0.01).values, [[0.01]])
    # 0.001² = 0.0025·0.0004: half-way.
    np.testing.assert_allclose(lambda_max_at(table, 0.001).values, [[np.sqrt(0.5)]], rtol=1e-12)
    # Nothing was measured above 0.1: what there is, and where.
    np.testing.assert_array_equal(lambda_max_at(table, 0.1).values, [[8.0]])
    np.testing.assert_array_equal(lambda_max_loss(table, 0.1).values, [[0.02]])
    assert np.isnan(lambda_max_loss(table, 1e-4).values).all()


def test_curvature_measured_once_is_not_interpolated():
    nan = np.nan
    # From 0.5 to 0.004: one measurement for two levels, told at the lower one.
    table = descending([2.3, 0.5, 0.004, 5e-4], [20, 20, 30, -1], [nan, 3.0, 2.0, nan])
    for level in (0.1, 0.01):
        np.testing.assert_array_equal(lambda_max_at(table, level).values, [[3.0]])
        np.testing.assert_array_equal(lambda_max_loss(table, level).values, [[0.004]])
    assert 2.0 < lambda_max_at(table, 0.001).values[0, 0] < 3.0
    # Without losses there is nothing to interpolate in.
    table["train_loss"] = np.nan * table["train_loss"]
    np.testing.assert_array_equal(lambda_max_at(table, 0.001).values, [[2.0]])
    assert np.isnan(lambda_max_loss(table, 0.001).values).all()


def test_physical_time_is_that_of_the_crossing():
    # 0.01 is half-way in the logarithm between 0.1 and 0.001, steps 10 and 20; h = 0.1.
    table = descending([2.3, 0.1, 1e-3], [20, 20, -1, -1], 4 * [1.0])
    np.testing.assert_allclose(time_at(table, 0.01).values, [[0.1 * (10 * 20) ** 0.5]], rtol=1e-12)
    assert np.isnan(time_at(table, 1e-4).values).all()


@pytest.mark.parametrize(
    ("config", "full", "smooth", "products"),
    [
        ({}, False, False, 4),
        ({"num_train": 32}, True, False, 4),
        ({"activation": "tanh", "num_matvecs": 12}, False, True, 12),
        ({"activation": "tanh", "model": "resnet18", "stem": "cifar"}, False, False, 4),
    ],
)
def test_a_table_knows_what_the_theorem_asks_for(config, full, smooth, products):
    made = unit(50, (0, 1))
    made.meta["unit_config"] |= config
    table = table_of(record(made), "sgd")
    assert table["full_batch"].values.tolist() == 2 * [full]
    assert table["smooth"].values.tolist() == 2 * [smooth]
    assert table["num_matvecs"].values.tolist() == 2 * [products]
    assert of_width(table, 50)["num_matvecs"].values.tolist() == 2 * [products]
    # What nobody has said is not taken for granted.
    for name in ("num_train", "activation", "num_matvecs"):
        made.meta["unit_config"].pop(name)
    table = table_of(record(made), "sgd")
    assert (
        table["full_batch"].values.any(),
        table["smooth"].values.any(),
        table["num_matvecs"].values.max(),
    ) == (
        False,
        False,
        0,
    )


def test_area_is_the_mean_accuracy_over_the_noise():
    made = unit(50, (0,), rates=(0.1, 0.2))
    accuracy = np.array([[1.0, 0.5, 0.3, 0.1], [0.7, 0.7, 0.7, 0.7]])
    made.arrays["chosen_noise_accuracy"] = np.stack([0 * accuracy, accuracy, 0 * accuracy], axis=1)
    table = table_of(record(made), "sgd")
    # 0.5·0.75 + 0.5·0.4 + 1·0.2 over a range of 2.
    np.testing.assert_allclose(area_under_noise(table, "test"), [[0.3875, 0.7]], rtol=1e-12)
    for name in ("noise_sigma", "chosen_noise_accuracy"):
        del made.arrays[name]
    assert area_under_noise(table_of(record(made), "sgd"), "test").isnull().all()


def test_missing_units_are_those_of_the_arm_that_the_record_is_to_have():
    made = unit(50, (0, 1))
    here = record(made)
    assert missing_units(here, "sgd") == ()
    more = ("sgd-n0100-b00032-s00-01", "gd-n0050-b01000-s00-03")
    here = dataclasses.replace(here, expected=(made.name, *more))
    assert missing_units(here, "sgd") == (more[0],)
    assert missing_units(here, "gd") == (more[1],)
    here = dataclasses.replace(here, expected=None)
    assert missing_units(here, "sgd") == ()


def with_missing(*missing, widths=(50, 100)):
    made = [unit(width, (0, 1)) for width in widths]
    return dataclasses.replace(record(*made), expected=(*(one.name for one in made), *missing))


def test_a_width_is_whole_where_no_unit_of_the_arm_is_missing():
    gone = ("sgd-n0100-b00032-s02-03", "sgd-n0200-b00032-s00-01", "gd-n0050-b01000-s00-03")
    assert whole_widths(with_missing(), "sgd") == (50, 100)
    assert whole_widths(with_missing(*gone), "sgd") == (50,)
    assert whole_widths(with_missing(*gone), "gd") == ()


def test_the_record_of_the_first_profile_with_enough_whole_widths_is_preferred():
    found = {
        "paper": with_missing("sgd-n0100-b00032-s02-03"),
        "long": with_missing(),
        "cpu": with_missing(widths=(50, 100, 200)),
    }
    order = ("paper", "other", "long", "cpu")
    for widths, profile in ((1, "paper"), (2, "long"), (3, "cpu")):
        assert preferred(found, "sgd", order, widths=widths) is found[profile]
    assert preferred(found, "sgd", ("cpu", "long")) is found["cpu"]
    with pytest.raises(ValueError, match=r"whole at 4 widths of arm 'sgd', got paper, .*long, cpu"):
        preferred(found, "sgd", order, widths=4)
    with pytest.raises(ValueError, match=r"arm 'gd', .* recorded are none"):
        preferred({}, "gd", order)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("seed", np.array([0.5] * 5 + [1.0] * 5)),
        ("seed", np.array(list("0000011111"))),
        ("seed", np.zeros((10, 1), int)),
        ("learning_rate", np.array([1j] * 10)),
        ("learning_rate", np.array([0.1, -0.1] * 5)),
        ("learning_rate", np.array([0.1, np.nan] * 5)),
        ("learning_rate", np.array([0.1, 0.2])),
        ("diverged", np.full(10, -1.0)),
        ("chosen_test_accuracy", np.full((10, 3), 1j)),
        ("chosen_test_accuracy", np.full((10, 3), "0.5")),
        ("chosen_test_accuracy", np.full((9, 3), 0.5)),
    ],
)
def test_arrays_that_cannot_be_those_of_models_are_refused_by_name(name, values):
    made = unit(50, (0, 1))
    made.arrays[name] = values
    with pytest.raises(ValueError, match=f"{name} of unit {made.name}"):
        table_of(record(made), "sgd")


@pytest.mark.parametrize("members", [[10], [-1], [0.7], [True], ["0"], 3, None])
def test_marks_of_no_model_are_refused(members):
    made = unit(50, (0, 1))
    made.meta["marks"]["fitted"] = members
    with pytest.raises(ValueError, match=f"fitted of unit {made.name} must be models between 0"):
        table_of(record(made), "sgd")


@pytest.mark.parametrize("dataset", ["minst", 3, ["mnist"]])
def test_a_network_of_unknown_size_is_refused(dataset):
    made = unit(50, (0, 1))
    made.meta["unit_config"]["dataset"] = dataset
    with pytest.raises(ValueError, match=f"unit {made.name} must have a network of known size"):
        table_of(record(made), "sgd")


def test_a_table_knows_its_optimizer():
    """Older units name none, and are of plain descent; an arm has one."""
    old, new = unit(50, (0,)), unit(50, (1,))
    assert str(table_of(record(old), "sgd")["optimizer"].values) == "sgd"
    new.meta["unit_config"]["optimizer"] = "adam"
    table = table_of(record(new), "sgd")
    assert str(table["optimizer"].values) == "adam"
    assert np.isnan(edge_of(lambda_max_at(table, 0.1))).all()
    with pytest.raises(
        ValueError, match="the units of 'sgd' must have one optimizer, got adam and sgd"
    ):
        table_of(record(old, new), "sgd")


def test_the_edge_of_another_optimizer_is_not_known():
    """It is a rival that cannot be excluded, and no control."""
    made = sweep(effects={"squared_gradient": -0.4}, full_batch=True, activation="tanh")
    plain_one = judge(made)[0]
    for each in made.units.values():
        each.meta["unit_config"]["optimizer"] = "momentum"
    other = judge(made)[0]
    assert any("h·λ_max" in name for name in plain_one.controls)
    assert not any("h·λ_max" in name for name in other.controls)
    assert "edge" in {reason.kind for reason in other.rivals}
    assert other.observation == "reproduced"

"""igrlib.experiments.arm: what is combined and for how long, counted by hand."""

import dataclasses
import json
import math
import tracemalloc

import numpy as np
import pytest
from helpers.arms import SMALL, changed

from igrlib.experiments.arm import Arm, combinations, stops_of
from igrlib.experiments.building import schedule_of
from igrlib.experiments.networks import NETWORKS
from igrlib.experiments.optimizers import OPTIMIZERS, Adam
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.units import units_of


def test_steps_are_the_physical_time_between_two_bounds():
    """T/h = 33, 100, 200 and 1000 steps, at least 50 and at most 300 of them."""
    arm = changed(
        learning_rates=(0.3, 0.1, 0.05, 0.01), physical_time=10.0, min_steps=50, max_steps=300
    )
    assert stops_of(arm) == [50, 100, 200, 300]
    assert stops_of(changed(learning_rates=(0.3,), physical_time=11.0)) == [37]  # 36.67


def test_combinations_are_every_rate_with_every_mu():
    arm = changed(learning_rates=(0.5, 0.1), mus=(0.0, 0.2))
    assert combinations(arm) == [(0.5, 0.0, 32), (0.5, 0.2, 32), (0.1, 0.0, 40), (0.1, 0.2, 40)]


def test_a_matched_arm_has_the_regularizer_of_each_rate_at_the_smallest_one():
    """μ = (h − 0.1)/4 at 0.1, for an equal physical time, each pair once."""
    arm = changed(learning_rates=(0.5, 0.3, 0.1), matched=True, max_steps=160)
    plain = [(0.5, 0.0, 32), (0.3, 0.0, 53), (0.1, 0.0, 160)]
    found = combinations(arm)
    assert found[:3] == plain
    assert found[3:] == [(0.1, pytest.approx(0.1), 160), (0.1, pytest.approx(0.05), 160)]
    more = combinations(changed(learning_rates=(0.5, 0.1), matched=True, mus=(0.0, 0.1)))
    assert more == [(0.5, 0.0, 32), (0.5, 0.1, 32), (0.1, 0.0, 40), (0.1, 0.1, 40)]


def test_a_ladder_has_the_regularizer_of_its_largest_rate_at_each_smaller_one():
    """μ = (0.5 − h)/4 at each, for an equal physical time, each pair once."""
    found = combinations(changed(learning_rates=(0.1, 0.5, 0.3), ladder=True, max_steps=160))
    assert found[:3] == [(0.1, 0.0, 160), (0.5, 0.0, 32), (0.3, 0.0, 53)]
    assert found[3:] == [(0.1, pytest.approx(0.1), 160), (0.3, pytest.approx(0.05), 53)]


def test_sharpness_is_measured_evenly_in_log_t():
    arm = changed(max_steps=6_400, physical_time=640.0, num_curvatures=7, first_curvature=100)
    schedule = schedule_of(arm)
    assert schedule.curvatures == (100, 200, 400, 800, 1_600, 3_200, 6_400)
    assert set(schedule.curvatures) <= set(schedule.scores)
    assert schedule_of(changed()).curvatures == ()
    assert schedule_of(changed(num_curvatures=3, first_curvature=10_000)).curvatures == (40,)


LONG = changed(max_steps=20_000, physical_time=2_000.0, num_gradients=8)


@pytest.mark.parametrize(
    ("arm", "dense"),
    [
        (SMALL, 40),
        (Arm("default"), 5_000),
        (dataclasses.replace(LONG, gradient_every=3_000), 3_000),
        (dataclasses.replace(LONG, gradient_every=None), 20_000),
        (dataclasses.replace(LONG, first_gradient=20, gradient_every=None), 20_000),
        (changed(min_steps=1, max_steps=1), 1),
    ],
)
def test_when_an_arm_is_measured(arm, dense):
    """At the start and at every end; gradients evenly in log t at first, and evenly from then."""
    schedule, stops = schedule_of(arm), stops_of(arm)
    last = max(stops)
    assert schedule.scores[-1] == schedule.gradients[-1] == last
    evenly = set(range(0, last + 1, arm.gradient_every or last))
    assert {0, *stops} | evenly <= set(schedule.gradients)
    assert set(range(0, last + 1, arm.score_every)) <= set(schedule.scores)
    early = [t for t in schedule.gradients if 0 < t <= dense and (t == dense or t not in stops)]
    assert len(early) <= arm.num_gradients
    assert set(schedule.gradients) == {0, *stops, *early} | evenly
    if dense > 1_000:
        # One ratio from step to step, up to rounding.
        wanted = (dense / arm.first_gradient) ** (1 / (arm.num_gradients - 1))
        np.testing.assert_allclose(np.array(early[1:]) / early[:-1], wanted, rtol=0.02)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"widths": ()}, ValueError, "widths must have at least one entry"),
        ({"widths": (8, 0)}, ValueError, "widths must be at least 1, got 0"),
        ({"widths": (8, 8)}, ValueError, r"widths must differ from one another, got \(8, 8\)"),
        ({"widths": [8]}, TypeError, r"widths must be a tuple, got \[8\]"),
        ({"widths": (8.0,)}, TypeError, "widths must be an integer, got 8.0"),
        ({"batch_sizes": (0,)}, ValueError, "batch_sizes must be at least 1, got 0"),
        ({"batch_sizes": (61,)}, ValueError, "batch_sizes must be at most .* 60 images.*got 61"),
        ({"batch_sizes": (None, None)}, ValueError, "batch_sizes must differ"),
        ({"learning_rates": ()}, ValueError, "learning_rates must have at least one entry"),
        ({"learning_rates": (0.1, 0.1)}, ValueError, "learning_rates must differ"),
        ({"learning_rates": (0.1, -0.2)}, ValueError, "learning_rates must be .*, got -0.2"),
        ({"learning_rates": (0.0,)}, ValueError, "learning_rates must be positive"),
        ({"learning_rates": (math.nan,)}, ValueError, "learning_rates must be .*, got nan"),
        ({"mus": (0.0, -0.1)}, ValueError, "mus must be finite and 0 or more, got -0.1"),
        ({"mus": (math.inf,)}, ValueError, "mus must be finite"),
        ({"precision": "tf32"}, ValueError, "precision must be one of float32, tensorfloat32"),
        ({"dataset": "mnits"}, ValueError, 'dataset must be one of .*; did you mean "mnist"'),
        ({"network": "mlp"}, TypeError, "network must be an architecture of .*, got 'mlp'"),
        ({"levels": (0.0,)}, ValueError, "levels must be positive and finite, got 0"),
        ({"levels": (0.01, 0.1)}, ValueError, r"levels must fall, got \(0.01, 0.1\)"),
        ({"levels": [0.1]}, TypeError, r"levels must be a tuple, got \[0.1\]"),
        ({"points": ("best",)}, ValueError, "points must be one of .*, got 'best'"),
        ({"points": ("validation",), "num_validation": 0}, ValueError, "points must not have"),
        ({"physical_time": 0.0}, ValueError, "physical_time must be positive and finite, got 0"),
        ({"min_steps": 41}, ValueError, "min_steps must be at most max_steps, got 41 and 40"),
        ({"gradient_every": 0}, ValueError, "gradient_every must be at least 1"),
        ({"noise_draws": 0}, ValueError, "noise_draws must be at least 1"),
        ({"num_train": "60"}, TypeError, "num_train must be an integer, got '60'"),
        ({"num_train": 0}, ValueError, "num_train must be at least 1, got 0"),
        ({"num_test": 0}, ValueError, "num_test must be at least 1, got 0"),
        ({"num_validation": -1}, ValueError, "num_validation must be at least 0, got -1"),
        ({"score_every": 0}, ValueError, "score_every must be at least 1"),
        ({"max_steps": True}, TypeError, "max_steps must be an integer, got True"),
        ({"num_seeds": (0,)}, ValueError, "num_seeds must be at least 1, got 0"),
        ({"num_seeds": 3}, TypeError, "num_seeds must be a tuple, got 3"),
        ({"num_seeds": (1, 2)}, ValueError, r"num_seeds must have one entry.*got \(1, 2\)"),
        ({"seeds_per_unit": ()}, ValueError, r"seeds_per_unit must have one entry.*got \(\)"),
        # What a batch of the whole split is called does not make it another one.
        ({"batch_sizes": (None, 60)}, ValueError, "batch_sizes must differ .*, got none, 60"),
        # As the models are trained, in single precision.
        (
            {"learning_rates": (0.1, 0.1000000001)},
            ValueError,
            "learning_rates must differ .* single",
        ),
        ({"mus": (0.1, 0.1000000001)}, ValueError, "mus must differ .* single"),
        ({"learning_rates": (1e39,)}, ValueError, "learning_rates must be .* single .*, got 1e.39"),
        (
            {"learning_rates": (1e-320,)},
            ValueError,
            "learning_rates must be .* single .*, got 1e-320",
        ),
        ({"mus": (1e39,)}, ValueError, "mus must be .* single .*, got 1e.39"),
        ({"mus": (0.0, 1e-60)}, ValueError, "mus must be .* single .*, got 1e-60"),
        ({"max_steps": 2**31}, ValueError, "max_steps must be at most 2147483647"),
        ({"noise_draws": 10**10}, ValueError, "noise_draws must be at most"),
        ({"num_seeds": (3 * 10**9,)}, ValueError, "num_seeds must be at most"),
    ],
)
def test_arms_that_cannot_be(without_type_hook, change, error, message):
    with pytest.raises(error, match=message):
        changed(**change)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"num_seeds": (3_000_000,), "seeds_per_unit": (3_000_000,)}, "numbers for each measure"),
        ({"num_seeds": (1_000_000,), "seeds_per_unit": (1,)}, "1000000 units"),
        ({"widths": tuple(range(1, 3_001)), "num_seeds": (1,)}, "3000 units"),
        ({"max_steps": 2**31 - 1, "min_steps": 2**31 - 1, "score_every": 1}, "numbers for each"),
        ({"max_steps": 10**9, "min_steps": 10**9, "gradient_every": 1}, "numbers for each"),
        ({"num_gradients": 10**9}, "numbers for each measure"),
        ({"learning_rates": tuple(1 / n for n in range(1, 100_001))}, "numbers for each measure"),
    ],
)
def test_an_arm_that_would_take_the_machine_is_refused_before_it_does(change, what):
    """Before its lists are made: in some megabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"arm 'small' has {what}|arm 'small' has .* {what}"):
            changed(**change)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_the_largest_arms_of_the_profiles_are_far_from_the_bounds():
    for profiles in EXPERIMENTS.values():
        for arms in profiles.values():
            for arm in (arm for arm in arms if isinstance(arm, Arm)):
                dataclasses.replace(arm, seeds_per_unit=tuple(10 * n for n in arm.seeds_per_unit))


def test_steps_of_a_time_that_overflows_are_the_most():
    assert stops_of(changed(learning_rates=(1e-30,), physical_time=1e308)) == [40]


def test_ratios_train_each_rate_with_its_own_mu():
    arm = changed(learning_rates=(0.5, 0.3), mu_ratios=(2.0, 0.5), max_steps=160)
    pairs = [(h, mu) for h, mu, _ in combinations(arm)]
    assert pairs == [(0.5, 0.0), (0.3, 0.0), (0.5, 1.0), (0.3, 0.6), (0.5, 0.25), (0.3, 0.15)]
    with pytest.raises(ValueError, match="mu_ratios must be positive and finite, got 0"):
        changed(mu_ratios=(0.0,))
    with pytest.raises(ValueError, match="mu_ratios must differ from one another"):
        changed(mu_ratios=(1.0, 1.0))


def test_an_arm_names_its_optimizer():
    """In the configuration of a unit, with its fields."""
    (unit,) = units_of(changed(optimizer=Adam(b1=0.5)))
    config = json.loads(json.dumps(unit.config()))
    assert (config["optimizer"], config["b1"], config["eps_root"]) == ("adam", 0.5, 1e-8)
    (plain,) = units_of(changed())
    assert plain.config()["optimizer"] == "sgd"


def test_fields_of_optimizers_are_theirs_alone():
    """In one configuration stand those of the arm, its network, its optimizer and the layout."""
    names = [f.name for kind in OPTIMIZERS.values() for f in dataclasses.fields(kind)]
    (unit,) = units_of(changed())
    others = set(unit.config()) | {"devices", "group", "loop", "chunk", "num_params", "smooth"}
    assert not set(names) & others
    assert not {f.name for k in NETWORKS.values() for f in dataclasses.fields(k)} & set(names)

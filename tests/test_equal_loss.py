"""What is read off at a loss, on made-up tables in which it has a closed form."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from igrlib.experiments.schema import ALONG
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts import equal_loss as el

RATES = np.array([0.01, 0.02, 0.05, 0.1])
STEPS = np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000])
SCORES = np.unique([*STEPS, 20, 55, 200, 700, 5_000])
MODELS = ("block", "treatment")
A = 10.0
"""Of the runs: E = A/(h·n), so that log E is linear in log n."""


def table(
    *,
    widths=(50, 100, 200),
    seeds=(0, 1, 2, 3, 4, 5, 6, 7),
    by_rate=0.0,
    accuracy=(0.9, -0.02, 0.0),
    per_step=False,
    mu=None,
    scores=SCORES,
):
    """‖∇E‖² = c·E²·e^(by_rate·log₂ h), c of the block.

    Test accuracy is a + b·log E + c·log₂ h with (a, b, c) = `accuracy`. Runs reach a loss at equal
    physical time, or `per_step` at equal steps.
    """
    keys = [(n, s) for n in widths for s in seeds]
    width, seed = (np.array(column) for column in zip(*keys, strict=True))
    shape = (len(keys), len(RATES))
    h = np.broadcast_to(RATES, shape)
    mus = np.zeros(len(RATES)) if mu is None else np.array(mu)

    def loss(steps):
        time = steps * (np.ones(shape) if per_step else h)[..., None]
        with np.errstate(divide="ignore"):
            return np.minimum(A / time, 1e6)

    c = np.random.default_rng(0).normal(size=len(keys))[:, None]
    log_factor = c + by_rate * np.log2(RATES + 4 * mus)
    a, b, slope = accuracy
    levels = np.array([1.0, 0.1])
    E = loss(STEPS)
    below = E[:, :, None, :] < levels[:, None]
    found = xr.Dataset(
        {
            "finished": (MODELS, np.ones(shape, bool)),
            "train_loss": ((*MODELS, "gradient_step"), E),
            "train_squared_gradient": (
                (*MODELS, "gradient_step"),
                np.exp(log_factor)[..., None] * E**2,
            ),
            "test_accuracy": (
                (*MODELS, "score_step"),
                a + b * np.log(loss(scores)) + slope * np.log2(RATES)[:, None],
            ),
            "crossing_step": (
                (*MODELS, "level"),
                np.where(below.any(-1), STEPS[below.argmax(-1)], -1).astype(float),
            ),
            "crossing_lambda_max": (
                (*MODELS, "level"),
                np.broadcast_to((3 / h)[..., None], (*shape, 2)).copy(),
            ),
        },
        {
            "width": ("block", width),
            "batch_size": ("block", np.full(len(keys), 32)),
            "seed": ("block", seed),
            "num_params": ("block", width**2),
            "learning_rate": ("treatment", RATES),
            "mu": ("treatment", mus),
            "effective_rate": ("treatment", RATES + 4 * mus),
            "gradient_step": STEPS,
            "score_step": scores,
            "level": levels,
            "curvature_step": STEPS[:0],
        },
    )
    for grid, names in ALONG.items():
        for name in set(names) - set(found.data_vars):
            found[name] = (*MODELS, grid), np.full((*shape, found.sizes[grid]), np.nan)
    return found


@pytest.mark.parametrize("level", [2.0, 0.5, 0.2])
def test_accuracy_is_that_at_the_loss(level):
    found = el.accuracy_at(table(accuracy=(0.9, -0.02, 0.003)), level)
    expected = 100 * (0.9 - 0.02 * np.log(level) + 0.003 * np.log2(RATES))
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-12)


def test_accuracy_at_a_loss_takes_scores_at_the_steps_of_the_losses_alone():
    one = table()
    kept = one["score_step"].isin(STEPS)
    changed = one.assign(test_accuracy=one["test_accuracy"].where(kept, 0.123))
    np.testing.assert_array_equal(el.accuracy_at(changed, 0.5), el.accuracy_at(one, 0.5))
    # Without a score at a step beside the crossing nothing is made up.
    fewer = table(scores=SCORES[SCORES != 1000])
    at_1000 = A / (RATES * 1000) < 0.5
    before = A / (RATES * 300) >= 0.5
    missing = at_1000 & before | ~at_1000 & (A / (RATES * 3000) < 0.5)
    assert np.array_equal(np.isnan(el.accuracy_at(fewer, 0.5))[0], missing)
    assert missing.any()
    assert not missing.all()


@pytest.mark.parametrize("level", [0.7, 0.5, 0.2])
def test_time_at_a_loss_is_the_same_for_all_rates_of_one_flow(level):
    np.testing.assert_allclose(el.time_at(table(), level), A / level, rtol=1e-12)
    steps = el.time_at(table(per_step=True), level)
    np.testing.assert_allclose(steps, np.broadcast_to(RATES * A / level, steps.shape), rtol=1e-12)


def test_what_never_comes_to_a_loss_or_is_first_seen_below_it_has_no_value():
    one = table()
    for level in (0.3, 0.04):
        never = level < A / (RATES * 1e4)
        for found in (
            el.time_at(one, level),
            el.accuracy_at(one, level),
            el.log_at(one, "train_squared_gradient", level),
        ):
            assert np.array_equal(np.isnan(found)[0], never)
    soon = table(per_step=True)  # Crossed between steps 0 and 10.
    assert el.time_at(soon, 10.0).isnull().all()
    assert el.accuracy_at(soon, 10.0).isnull().all()
    assert el.log_at(soon, "train_squared_gradient", 10.0).isnull().all()


def test_any_quantity_along_the_way_is_read_off_at_the_loss():
    one = table(by_rate=-0.3)
    found = el.log_at(one, "train_squared_gradient", 0.5)
    slopes = np.diff(found, axis=1) / np.diff(np.log2(RATES))
    np.testing.assert_allclose(slopes, -0.3, rtol=1e-10)
    accuracy = el.log_at(one, "test_accuracy", 1.0)
    lies_on = np.interp(0.0, np.log(A / (RATES[0] * STEPS[[6, 5]])), [0, 1])
    a, b = (np.log(0.9 - 0.02 * np.log(A / (RATES[0] * STEPS[k]))) for k in (6, 5))
    np.testing.assert_allclose(accuracy[0, 0], a + lies_on * (b - a), rtol=1e-12)


def test_scaled_curvature_and_the_loss_at_which_it_was_taken():
    one = table()
    np.testing.assert_allclose(el.scaled_curvature_at(one, 1.0), 3.0, rtol=1e-12)
    assert np.isnan(el.scaled_curvature_at(one, 0.3)).all()
    after = [next(E for n in STEPS[1:] if (E := A / (h * n)) < 1) for h in RATES]
    found = el.lambda_max_loss(one, 1.0)
    np.testing.assert_allclose(found, np.broadcast_to(after, found.shape), rtol=1e-12)


def squared(of, level):
    return el.log_at(of, "train_squared_gradient", level)


def test_the_curve_over_levels_has_the_trend_of_each_and_where_it_has_none():
    one = table(by_rate=np.log(0.6))
    curve = el.trend_over_levels(one, squared, [2.0, 0.5, 0.01], relative=True)
    np.testing.assert_allclose(curve.effect[:2], -40.0, rtol=1e-10)
    np.testing.assert_allclose(curve.band[:2], -40.0, rtol=1e-10)
    assert curve.blocks.tolist() == [24, 24, 0]
    assert np.isnan(curve.effect[2])
    assert np.isnan(curve.band[2]).all()
    assert [part.cells for part in curve.trends] == [96, 96, 0]
    points = el.trend_over_levels(
        table(accuracy=(0.9, -0.02, 0.004)), el.accuracy_at, [0.5], relative=False
    )
    np.testing.assert_allclose(points.effect, 0.4, rtol=1e-9)


def test_the_band_is_students_and_needs_the_seeds_of_the_thresholds():
    one = table(widths=(50,))
    x = np.log2(RATES)
    noise = np.random.default_rng(1).normal(size=(8, 4))
    slopes = [np.polyfit(x, row, 1)[0] for row in noise]
    expected = stats.t.interval(0.98, 7, np.mean(slopes), stats.sem(slopes))

    def noisy(of, level):
        return of["finished"].copy(data=noise[: of.sizes["block"]])

    curve = el.trend_over_levels(one, noisy, [0.5], relative=False)
    np.testing.assert_allclose(curve.band[0], expected, rtol=1e-10)
    few = table(widths=(50,), seeds=(0, 1, 2, 3))
    assert np.isnan(el.trend_over_levels(few, noisy, [0.5], relative=False).band).all()
    fewer = Thresholds(seeds=4)
    curve = el.trend_over_levels(few, noisy, [0.5], relative=False, limits=fewer)
    assert np.isfinite(curve.band).all()


def test_the_order_of_the_dimensions_does_not_matter():
    """h·x has treatments first, x·h has blocks first."""
    one = table(by_rate=np.log(0.6), widths=(50,), seeds=(0, 1, 2, 3))
    quantity = squared(one, 0.5)
    assert quantity.shape == (4, 4)
    found, turned = (el.trend_of(q, relative=True) for q in (quantity, quantity.transpose()))
    np.testing.assert_allclose(found.effects, -40.0, rtol=1e-10)
    np.testing.assert_array_equal(turned.effects, found.effects)


def test_models_with_mu_go_by_the_effective_rate():
    mu = np.array([0.0, 0.01, 0.02, 0.03])
    one = table(by_rate=np.log(0.6), mu=mu)
    curve = el.trend_over_levels(one, squared, [0.5], relative=True)
    np.testing.assert_allclose(curve.effect, -40.0, rtol=1e-10)


def test_the_trend_with_width_leaves_the_learning_rate_out():
    one = table()
    of_seed = np.random.default_rng(2).normal(size=8)[one["seed"]]
    of_width = np.log(1.25) * np.log2(one["width"])
    values = of_width + of_seed + np.log(0.5) * np.log2(one["learning_rate"])
    found = el.trend_with_width(values, relative=True)
    np.testing.assert_allclose(found.effect, 25.0, rtol=1e-9)
    assert found.interval is not None
    np.testing.assert_allclose(found.interval, 25.0, rtol=1e-6)
    assert (found.blocks, found.cells) == (8 * 4, 8 * 4 * 3)
    assert sorted(set(found.seed.tolist())) == list(range(8))
    # R_IG = ‖∇E‖²/m with m = width² here.
    divided = values - np.log(one["num_params"])
    found = el.trend_with_width(divided, relative=True)
    np.testing.assert_allclose(found.effect, 100 * (1.25 / 4 - 1), rtol=1e-9)


def test_a_width_that_a_seed_lacks_costs_its_block_and_no_other():
    one = table(widths=(50, 100, 200), seeds=(0, 1))
    values = np.log2(one["width"]).broadcast_like(one["finished"])
    values = values.where((one["width"] != 200) | (one["seed"] != 1))
    values[0, 0] = np.nan
    found = el.trend_with_width(values, relative=False)
    assert (found.blocks, found.seed.tolist()) == (3, [0, 0, 0])
    np.testing.assert_allclose(found.effects, 1.0, rtol=1e-12)


@pytest.mark.parametrize("level", [0.0, -1.0, np.nan, np.inf])
def test_a_level_is_a_positive_loss(level):
    for ask in (el.accuracy_at, el.time_at):
        with pytest.raises(ValueError, match="level must be a positive, finite training loss"):
            ask(table(), level)


def test_what_cannot_be_read_off_is_refused_and_what_is_not_recorded_is_nan():
    one = table()
    with pytest.raises(ValueError, match=r"name must be one of .*norm.*, got 'sharpness'"):
        el.log_at(one, "sharpness", 0.5)
    with pytest.raises(ValueError, match="split must be test, validation or train, got 'dev'"):
        el.accuracy_at(one, 0.5, split="dev")
    with pytest.raises(ValueError, match="levels must be one training loss or more, got none"):
        el.trend_over_levels(one, el.accuracy_at, [], relative=False)
    assert np.isnan(el.log_at(one, "norm", 0.5)).all()
    assert np.isnan(el.accuracy_at(one, 0.5, split="validation")).all()

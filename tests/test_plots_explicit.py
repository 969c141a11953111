"""igrlib.plots.resnet and igrlib.plots.explicit: the drawn numbers against those of the record."""

import dataclasses

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import contrast_on_white
from helpers.records import NOISE, STEPS, record, unit
from matplotlib.colors import same_color

from igrlib.plots import COLORS
from igrlib.plots.explicit import figure_3c, regularizer_alone
from igrlib.plots.resnet import figure_a7, figure_a8, three_gradients

mpl.use("Agg")

RATES, SEEDS = (0.2, 0.1, 0.01), (0, 1)
SCORES = np.array([0, 100, 3000])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def made(mus=(0.0,), diverged=()):
    """A unit with what a model with batch norm has besides, the loss falling through 0.1."""
    one = unit(8, SEEDS, rates=RATES, mus=mus, spread=0.1)
    rng, models = np.random.default_rng(1), len(one.arrays["seed"])
    loss = one.arrays["train_loss"]
    for name, power in (("train_scale_free", 1.0), ("evaluated_squared_gradient", 3.0)):
        one.arrays[name] = rng.uniform(1, 2, (models, 1)) * loss**power
    for name in ("norm", "train_accuracy"):
        one.arrays[name] = rng.uniform(0.1, 1, (models, len(STEPS)))
    one.arrays["score_step"] = SCORES
    one.arrays["test_accuracy"] = rng.uniform(0.1, 1, (models, len(SCORES)))
    one.arrays["diverged"][list(diverged)] = 5
    return one


def drawn(ax, color=None):
    """The lines of an axis, longest first cut away from single points, as (x, y)."""
    lines = [line for line in ax.lines if len(line.get_xdata()) > 1 and line.get_ls() == "-"]
    if color is not None:
        lines = [line for line in lines if same_color(line.get_color(), color)]
    return [np.array(line.get_data()) for line in lines]


def row(one, name, h, seed, mu=0.0):
    where = {"learning_rate": h, "seed": seed, "mu": mu}
    (at,) = np.flatnonzero(np.all([one.arrays[k] == v for k, v in where.items()], axis=0))
    return one.arrays[name][at]


def test_figure_a7_draws_each_seed_of_each_rate():
    one = made()
    axes = figure_a7(record(one)).axes
    m = 785 * 8 + 4 * 9 * 8 + 9 * 10  # an MLP of width 8: what the record says it is
    panels = (
        (SCORES, "test_accuracy", lambda y: 100 * y),
        (STEPS, "train_squared_gradient", lambda y: y / m),
        (STEPS, "train_squared_gradient", np.sqrt),
        (STEPS, "norm", lambda y: y),
        (STEPS, "train_accuracy", lambda y: 100 * y),
        (STEPS, "train_loss", lambda y: y),
    )
    for ax, (steps, name, of) in zip(axes, panels, strict=True):
        expected = [(steps, of(row(one, name, h, s))) for h in sorted(RATES) for s in SEEDS]
        np.testing.assert_allclose(drawn(ax), expected)


@pytest.mark.parametrize("selection", ["validation", "test", "final"])
def test_figure_a8_draws_what_was_chosen(selection):
    one = made(diverged=[3])
    one.arrays["chosen_test_accuracy"] *= np.array([1.0, 0.9, 0.8])
    accuracy, gradient, third = figure_a8(record(one), selection=selection).axes[:3]
    at = ("validation", "test", "final").index(selection)
    for ax, name, scale in (
        (accuracy, "chosen_test_accuracy", 100),
        (gradient, "chosen_train_squared_gradient", 1 / (785 * 8 + 4 * 72 + 90)),
    ):
        first, second = drawn(ax)
        expected = [scale * row(one, name, h, 0)[at] for h in sorted(RATES)]
        np.testing.assert_allclose(first, (sorted(RATES), expected))
        assert np.isnan(second[1]).tolist() == [False, False, True]  # 0.2 of seed 1 diverged.
    assert third.get_xlabel() == "test accuracy (%)"
    assert third.get_ylabel() == gradient.get_ylabel()
    assert (third.get_xscale(), third.get_yscale()) == ("linear", "log")
    pairs = [
        (
            100 * row(one, "chosen_test_accuracy", h, seed)[at],
            row(one, "chosen_train_squared_gradient", h, seed)[at] / (785 * 8 + 4 * 72 + 90),
        )
        for h in RATES
        for seed in SEEDS
        if (h, seed) != (0.2, 1)  # It diverged.
    ]
    # Each twice: as a point, and in the ring of what fitted everything.
    points = [tuple(p) for line in third.lines for p in np.transpose(line.get_data())]
    np.testing.assert_allclose(sorted(points), sorted(2 * pairs))
    crosses = [line for line in accuracy.lines if line.get_marker() == "x"]
    assert len(crosses) == 1


def test_three_gradients_at_matched_loss_relative_to_the_smallest_rate():
    """Powers of the loss: at a level only the factor of each model is left."""
    one = made()
    level = 0.05
    figure = three_gradients(record(one), levels=[level])
    names = ("train_squared_gradient", "evaluated_squared_gradient", "train_scale_free")
    for ax, name, power in zip(figure.axes, names, (2, 3, 1), strict=True):
        for (x, y), seed in zip(drawn(ax), SEEDS, strict=True):
            factors = [
                (row(one, name, h, seed) / row(one, "train_loss", h, seed) ** power)[0]
                for h in sorted(RATES)
            ]
            np.testing.assert_allclose(x, sorted(RATES))
            np.testing.assert_allclose(y, np.array(factors) / factors[0], rtol=1e-6)
    levels = three_gradients(record(one), levels=[0.2, 0.1, 0.05])
    shades = {tuple(line.get_color()) for line in levels.axes[0].lines if line.get_marker() == "."}
    assert len(shades) == 3
    assert min(map(contrast_on_white, shades)) >= 3
    with pytest.raises(ValueError, match="levels must be positive training losses, got"):
        three_gradients(record(one), levels=[])


def test_three_gradients_say_how_many_models_diverged():
    figure = three_gradients(record(made(diverged=[0, 2])), levels=[0.05])
    assert figure.legends[0].texts[-1].get_text() == "2 diverged"
    figure = three_gradients(record(made()), levels=[0.05])
    assert "diverged" not in figure.legends[0].texts[-1].get_text()


def test_figure_3c_puts_mu_beside_the_step_that_it_stands_for():
    mus = (0.0, 0.01, 0.05)
    one = made(mus=mus, diverged=[2])  # h = 0.2, μ = 0.05: not drawn
    left, right = figure_3c(record(one), "sgd").axes
    rates = sorted(RATES)
    for k, seed in enumerate(SEEDS):
        explicit = [100 * row(one, "chosen_test_accuracy", 0.01, seed, mu)[0] for mu in mus]
        plain = [100 * row(one, "chosen_test_accuracy", h, seed)[0] for h in rates]
        np.testing.assert_allclose(drawn(left)[k], (mus, explicit))
        large = [100 * row(one, "chosen_test_accuracy", 0.2, seed, mu)[0] for mu in mus]
        large[2] = np.nan if seed == SEEDS[0] else large[2]
        np.testing.assert_allclose(drawn(left)[-len(SEEDS) :][k], (mus, large))
        as_if = drawn(right, COLORS["explicit"])[k]
        np.testing.assert_allclose(as_if, ([0.01, 0.05, 0.21], explicit))
        np.testing.assert_allclose(drawn(right, COLORS["gradient descent"])[k], (rates, plain))


def test_the_plain_models_of_figure_3c_may_be_of_another_record():
    ours, theirs = made(mus=(0.01, 0.02)), made(diverged=[0])
    other = dataclasses.replace(record(theirs), experiment="resnet-sweep", profile="gpu")
    figure = figure_3c(record(ours), "sgd", plain=(other, "sgd"))
    assert figure.get_supxlabel() == "mlp-sweep, profile cpu; resnet-sweep, profile gpu"
    lines = drawn(figure.axes[1], COLORS["gradient descent"])
    expected = 100 * row(theirs, "chosen_test_accuracy", 0.1, 1)[0]
    np.testing.assert_allclose(lines[1][1][1], expected)
    assert "(1 diverged)" in figure.legends[0].texts[0].get_text()


def test_the_regularizer_alone_is_drawn_beside_the_step():
    mus = (0.0, 0.0225, 0.0475)
    one = made(mus=mus)
    axes = regularizer_alone(record(one), "sgd", level=1e-2).axes
    for k, seed in enumerate(SEEDS):
        loss, squared = (
            row(one, f"train_{n}", 0.01, seed, 0.0475) for n in ("loss", "squared_gradient")
        )
        found = [drawn(ax, COLORS["explicit"])[k] for ax in axes]
        np.testing.assert_allclose(found[0][1][2], squared[0] / loss[0] ** 2 * 1e-4, rtol=1e-6)
        np.testing.assert_allclose(
            found[1][1][2], row(one, "crossing_lambda_max", 0.01, seed, 0.0475)[1]
        )
        noisy = row(one, "chosen_noise_accuracy", 0.01, seed, 0.0475)[0]
        area = 100 * np.trapezoid(noisy, NOISE) / NOISE[-1]
        np.testing.assert_allclose(found[3][1][2], area)
        for (x, _), ax in zip(found, axes, strict=True):
            np.testing.assert_allclose(x, [0.01, 0.1, 0.2])
            np.testing.assert_allclose(
                drawn(ax, COLORS["gradient descent"])[k][0], [0.01, 0.1, 0.2]
            )
    del one.arrays["chosen_noise_accuracy"]
    last = regularizer_alone(record(one), "sgd", level=1e-2).axes[3]
    assert last.get_title().endswith("not measured")
    with pytest.raises(ValueError, match="level must be a positive training loss, got -1"):
        regularizer_alone(record(one), "sgd", level=-1.0)

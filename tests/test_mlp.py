"""The MLP against NumPy, the parameter counts of Figure 2 and closed forms."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.mlp import (
    add_numpy,
    forward_numpy,
    loss_and_gradient_numpy,
    params_of,
    random_layers,
)
from scipy.stats import kstest, norm, truncnorm

import igrlib as ig
from igrlib.experiments.networks.mlp import MLP

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 1), np.uint8)


def test_the_gradient_by_hand_is_the_slope_of_the_loss_by_hand():
    """The reference of the other modules, against a finite difference along a random line."""
    rng = np.random.default_rng(1)
    sizes = (20, 6, 5, 3)
    layers, line = (
        [(rng.normal(size=s) / 4, rng.normal(size=s[1])) for s in pairwise(sizes)] for _ in range(2)
    )
    labels = rng.integers(0, 3, 7)
    _, gradient = loss_and_gradient_numpy(layers, IMAGES / 255, labels)
    low, high = (
        loss_and_gradient_numpy(add_numpy(layers, e, line), IMAGES / 255, labels)[0]
        for e in (-1e-5, 1e-5)
    )
    products = zip(gradient, line, strict=True)
    expected = sum((a * b).sum() for pair in products for a, b in zip(*pair, strict=True))
    np.testing.assert_allclose((high - low) / 2e-5, expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("width", "m"),
    [
        (50, 49_960),
        (100, 119_910),
        (200, 319_810),
        (400, 959_610),
        (800, 3_199_210),
        (1600, 11_518_410),
    ],
)
def test_parameter_counts_are_those_printed_in_figure_2(width, m):
    shapes = jax.eval_shape(MLP().module(width).init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == m
    sizes = (784, *[width] * 5, 10)
    assert sum((i + 1) * o for i, o in pairwise(sizes)) == m
    if width == 50:
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        assert ig.num_params(zeros) == m


@pytest.mark.parametrize(("depth", "num_classes"), [(1, 2), (3, 4)])
def test_forward_pass_in_numpy(depth, num_classes):
    layers = random_layers((20, *[6] * depth, num_classes))
    inputs, expected = forward_numpy(layers, IMAGES / 255)
    assert [0 < (x > 0).mean() < 1 for x in inputs[1:]] == [True] * depth
    net = MLP(depth).module(6, num_classes=num_classes)
    found = jax.jit(net.apply)(params_of(layers), jnp.asarray(IMAGES / 255))
    assert found.shape == (7, num_classes)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    for name, function in (("tanh", np.tanh), ("gelu", lambda x: x * norm.cdf(x))):
        _, smooth = forward_numpy(layers, IMAGES / 255, function)
        net = MLP(depth, name).module(6, num_classes=num_classes)
        found = net.apply(params_of(layers), jnp.asarray(IMAGES / 255))
        np.testing.assert_allclose(found, smooth, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module", params=["haiku", "flax"])
def initial(request):
    """The layers 400-300-10 as they are drawn from three keys, the last one repeated."""
    net = MLP(1, initial=request.param).module(300)
    keys = jax.vmap(jax.random.key)(jnp.array([0, 1, 1]))
    params = jax.jit(jax.vmap(lambda key: net.init(key, jnp.zeros((1, 20, 20)))))(keys)
    return request.param, jax.tree.map(np.asarray, params["params"])


def test_initial_distribution(initial):
    """A normal distribution cut at two deviations; Flax widens it so that 1/√fan-in is left."""
    name, layers = initial
    left = truncnorm(-2, 2).std()
    # The closed form: 1 − 4φ(2)/(Φ(2) − Φ(−2)) of the variance is left by the cut.
    density, mass = np.exp(-2) / np.sqrt(2 * np.pi), 0.9544997361036416
    np.testing.assert_allclose(left, np.sqrt(1 - 4 * density / mass), rtol=1e-9)
    np.testing.assert_allclose(left, 0.8796, atol=5e-5)
    for layer, fan_in in (("Dense_0", 400), ("Dense_1", 300)):
        before = fan_in**-0.5 / (1 if name == "haiku" else left)
        drawn = layers[layer]["kernel"][:2].ravel().astype(np.float64)
        assert kstest(drawn, truncnorm(-2, 2, scale=before).cdf).pvalue > 1e-3
        assert 1.99 * before < np.abs(drawn).max() <= 2 * before * (1 + 1e-6)
        # Five deviations of the estimate of a deviation, and of a mean.
        wanted = before * left
        np.testing.assert_allclose(drawn.std(), wanted, rtol=5 / np.sqrt(2 * drawn.size))
        assert abs(drawn.mean()) < 5 * wanted / np.sqrt(drawn.size)
    for layer in layers.values():
        np.testing.assert_array_equal(layer["bias"], 0)
        assert layer["kernel"].dtype == layer["bias"].dtype == np.float32


def test_initial_parameters_depend_on_the_key_alone(initial):
    for layer in initial[1].values():
        first, second, again = layer["kernel"]
        np.testing.assert_array_equal(second, again)
        assert (first != second).mean() > 0.999


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({"width": True}, TypeError, "width must be an integer, got True"),
        ({"width": 4, "num_classes": 1}, ValueError, "num_classes must be at least 2, got 1"),
    ],
)
def test_sizes_that_are_none(arguments, error, message):
    with pytest.raises(error, match=message):
        MLP().module(**arguments)

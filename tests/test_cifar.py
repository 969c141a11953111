"""Small slices of real CIFAR-10, trained as the sweeps do, against loops written out here."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from igrlib.experiments import data
from igrlib.experiments.building import build
from igrlib.experiments.data import Dataset, Split
from igrlib.experiments.ensemble import Layout
from igrlib.experiments.networks import ResNet18
from igrlib.experiments.profiles.resnet import CIFAR
from igrlib.experiments.units import units_of

pytestmark = pytest.mark.slow

# Splits of one size share their programs: compiling a residual network takes seconds.
RATE, MU, STEPS, SIZE = 0.1, 0.02, 4, 48
HOPELESS = 1e30
ARM = dataclasses.replace(
    CIFAR,
    widths=(2,),
    learning_rates=(RATE, HOPELESS),
    mus=(0.0, MU),
    batch_sizes=(None,),
    num_seeds=(1,),
    num_train=SIZE,
    num_validation=SIZE,
    min_steps=STEPS,
    max_steps=STEPS,
    score_every=2,
    num_gradients=2,
    first_gradient=2,
)
NET = ResNet18("imagenet").module(2)


@pytest.fixture(scope="module")
def slices():
    """The first images of either split, in the order of the cache."""
    try:
        cifar = data.load("cifar10")
    except FileNotFoundError as error:
        pytest.skip(str(error))

    def first(split, n):
        return Split(split.images[:n], split.labels[:n])

    train, test = first(cifar.train, 2 * SIZE), first(cifar.test, SIZE)
    return Dataset("cifar10", train, test, 10, cifar.scale, "")


@pytest.fixture(scope="module")
def trained(slices):
    """A sweep of all four models, its starting point, and what it recorded."""
    (unit,) = units_of(ARM)
    mesh = Mesh(np.array(jax.devices()[:1]), ("models",))
    sweep = build(unit, slices, Layout(mesh, loop=False))
    start = jax.tree.map(lambda a: np.array(a[0]), sweep.state.variables)
    return sweep, start, sweep.run()


def batch(split, n):
    return jnp.asarray(split.images[:n] / 255.0, jnp.float32), jnp.asarray(split.labels[:n], int)


def loss_of(params, stats, x, y):
    made = {"params": params, "batch_stats": stats}
    logits, after = NET.apply(made, x, True, mutable=["batch_stats"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return losses.mean(), after["batch_stats"]


@pytest.fixture(scope="module")
def expected(slices, trained):
    """Parameters and statistics after all steps, by μ: plain loops, reverse over reverse."""
    x, y = batch(slices.train, SIZE)

    def regularized(params, stats, mu):
        (value, after), g = jax.value_and_grad(loss_of, has_aux=True)(params, stats, x, y)
        square = sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(g))
        return value + mu * square, after

    gradient = jax.jit(jax.grad(regularized, has_aux=True))
    found = {}
    for mu in (0.0, MU):
        params, stats = trained[1].params, trained[1].stats
        for _ in range(STEPS):
            g, stats = gradient(params, stats, mu)
            params = jax.tree.map(lambda p, d: p - RATE * d, params, g)
        found[mu] = params, stats
    return found


@pytest.mark.parametrize("mu", [0.0, MU])
def test_models_go_where_gradient_descent_goes(trained, expected, mu):
    sweep, start, arrays = trained
    (k,) = np.flatnonzero((arrays["learning_rate"] < 1) & np.isclose(arrays["mu"], mu))
    params, stats = expected[mu]
    ends = jax.tree.map(lambda a: np.asarray(a[k]), sweep.state.variables)
    for ours, theirs, first in zip(
        *map(jax.tree.leaves, (ends.params, params, start.params)), strict=True
    ):
        # To a thousandth of the way gone.
        way = np.linalg.norm(theirs - first)
        assert np.linalg.norm(ours - theirs) <= 1e-3 * way + 1e-6
    for ours, theirs in zip(*map(jax.tree.leaves, (ends.stats, stats)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert arrays["diverged"][k] == -1


def test_the_penalty_matters_at_the_tolerance_of_the_comparison(expected):
    (plain, _), (other, _) = expected[0.0], expected[MU]
    gaps = [
        np.linalg.norm(a - b) / np.linalg.norm(a)
        for a, b in zip(*map(jax.tree.leaves, (plain, other)), strict=True)
        if np.linalg.norm(a) > 0
    ]
    assert max(gaps) > 0.01


def test_what_is_recorded_is_what_can_be_computed(slices, trained):
    """At the parameters where the sweep ended, whose gradient is sensitive to them."""
    sweep, _, arrays = trained
    gradient = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    evaluate = jax.jit(lambda p, s, x: NET.apply({"params": p, "batch_stats": s}, x, False))
    x, y = batch(slices.train, SIZE)
    images, labels = batch(slices.test, SIZE)
    for k in np.flatnonzero(arrays["learning_rate"] < 1):
        params, stats = jax.tree.map(lambda a, k=k: np.asarray(a[k]), sweep.state.variables)
        (value, _), g = gradient(params, stats, x, y)
        pairs = zip(jax.tree.leaves(g), jax.tree.leaves(params), strict=True)
        squares = np.array([(np.sum(d**2), np.sum(d**2) * np.sum(p**2)) for d, p in pairs])
        square, free = squares.sum(axis=0)
        assert arrays["train_loss"][k, -1] == pytest.approx(float(value), rel=1e-4)
        assert arrays["train_squared_gradient"][k, -1] == pytest.approx(square, rel=1e-3)
        assert arrays["train_scale_free"][k, -1] == pytest.approx(free, rel=1e-3)
        logits = evaluate(params, stats, images)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        assert arrays["test_loss"][k, -1] == pytest.approx(float(losses.mean()), rel=1e-4)
        right = float((logits.argmax(1) == labels).mean())
        assert arrays["test_accuracy"][k, -1] == pytest.approx(right, abs=1e-6)


def test_what_diverges_is_marked_and_disturbs_nobody(trained):
    _, _, arrays = trained
    gone = arrays["learning_rate"] > 1
    assert gone.sum() == 2
    assert (arrays["diverged"][gone] >= 0).all()
    assert (arrays["diverged"][~gone] == -1).all()
    assert np.isfinite(arrays["train_loss"][~gone]).all()

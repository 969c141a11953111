"""The ensemble with other optimizers and losses, against loops in NumPy that know nothing of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import flat
from helpers.ensembles import IMAGES, LABELS, MEMBERS, MLP, N, host, init, model, trained_together
from helpers.ensembles import same_bits as same
from helpers.mlp import add_numpy, layers_of, loss_and_gradient_numpy, params_of

import igrlib as ig
from igrlib.experiments.ensemble import Ensemble, Layout, Members
from igrlib.experiments.ensemble.batches import batch_indices
from igrlib.experiments.networks.model import Variables
from igrlib.experiments.optimizers import SGD, Adam, Momentum, RMSprop


def zeros(layers):
    return [tuple(np.zeros_like(a) for a in layer) for layer in layers]


def each(function, *layers):
    """`function` of arrays, for every array of layers."""
    return [tuple(map(function, *arrays)) for arrays in zip(*layers, strict=True)]


def heavy_ball(h, beta, nesterov=False):
    def step(layers, g, state, n):
        m = each(lambda m, g: beta * m + g, state or zeros(g), g)
        u = each(lambda m, g: beta * m + g, m, g) if nesterov else m
        return add_numpy(layers, -h, u), m

    return step


def adam(h, b1, b2, eps, root):
    def step(layers, g, state, n):
        m, v = state or (zeros(g), zeros(g))
        m = each(lambda m, g: b1 * m + (1 - b1) * g, m, g)
        v = each(lambda v, g: b2 * v + (1 - b2) * g**2, v, g)
        u = each(lambda m, v: m / (1 - b1**n) / (np.sqrt(v / (1 - b2**n) + root) + eps), m, v)
        return add_numpy(layers, -h, u), (m, v)

    return step


def rmsprop(h, decay, eps):
    def step(layers, g, state, n):
        v = each(lambda v, g: decay * v + (1 - decay) * g**2, state or zeros(g), g)
        return add_numpy(layers, -h, each(lambda g, v: g / np.sqrt(v + eps), g, v)), v

    return step


def trained_numpy(k, step, batch_size):
    """Member k of MEMBERS after its steps, taken one by one in float64."""
    seed, steps, state = MEMBERS.seeds[k], MEMBERS.stops[k], None
    layers = layers_of(init(jax.random.fold_in(jax.random.key(seed), 0)))
    order = jax.random.fold_in(jax.random.key(seed), 1)
    for t in range(steps):
        at = np.arange(N)
        if batch_size < N:
            at = np.asarray(batch_indices(order, t, N, batch_size))
        _, g = loss_and_gradient_numpy(layers, IMAGES[at] / 255, LABELS[at])
        layers, state = step(layers, g, state, t + 1)
    return flat(params_of(layers))


CASES = {
    "momentum": (Momentum(0.7), lambda h: heavy_ball(h, 0.7)),
    "nesterov": (Momentum(0.7, nesterov=True), lambda h: heavy_ball(h, 0.7, nesterov=True)),
    "adam": (Adam(0.8, 0.95, 0.01, 0.02), lambda h: adam(h, 0.8, 0.95, 0.01, 0.02)),
    "rmsprop": (RMSprop(0.9, 0.05), lambda h: rmsprop(h, 0.9, 0.05)),
}


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [5, N])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_steps_in_numpy(name, group, batch_size):
    """In calls of several lengths; one model stops before the others, and keeps what it has."""
    optimizer, step = CASES[name]
    built = trained_together(
        MLP, MEMBERS, (IMAGES, LABELS), batch_size, Layout.of(3, group=group),
        optimizer.transformation,
    )  # fmt: skip
    state = built.init()
    for first, last in ((0, 1), (1, 20), (20, 50)):
        state = built.advance(state, first, last)
    for k, h in enumerate(MEMBERS.learning_rates):
        expected = trained_numpy(k, step(np.float64(np.float32(h))), batch_size)
        np.testing.assert_allclose(flat(model(state.params, k)), expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(state.diverged, -1)


@pytest.mark.parametrize("name", CASES)
def test_what_an_optimizer_keeps_goes_on_to_the_same_bits(name):
    """A state of every step, by way of the host, gives the bits of one call."""
    built = trained_together(
        MLP, MEMBERS, (IMAGES, LABELS), 5, optimizer=CASES[name][0].transformation
    )
    whole = built.advance(built.init(), 0, 30)
    state = built.init()
    for t in range(0, 30, 6):
        state = built.advance(built.lay(host(state)), t, t + 6)
    assert same(host(whole), host(state))
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(state.opt_state))


@pytest.mark.slow
def test_a_model_that_diverges_stays_where_it_was():
    """With what its optimizer keeps; the other model does not notice."""

    def trained(members):
        runs = Ensemble(
            lambda p, x: jnp.mean((p - x) ** 2), lambda key: jnp.ones(()), members,
            (np.arange(4.0),), batch_size=2, optimizer=Momentum(0.5).transformation,
        )  # fmt: skip
        return host(runs.advance(runs.init(), 0, 40))

    both = trained(Members((0.1, 1e30), (0, 0), (40, 40), (0.0, 0.0)))
    assert both.diverged[0] == -1
    assert 0 < both.diverged[1] < 40
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(both.opt_state))
    np.testing.assert_array_equal(
        both.params[0], trained(Members((0.1,), (0,), (40,), (0.0,))).params[0]
    )


@pytest.mark.slow
def test_sgd_is_plain_descent():
    """That of an arm, Optax's own, and none named."""
    runs = [
        trained_together(MLP, MEMBERS, (IMAGES, LABELS), 5, optimizer=optimizer)
        for optimizer in (SGD().transformation, optax.sgd, lambda h: optax.scale(-h))
    ]
    ends = [host(run.advance(run.init(), 0, 20)).params for run in runs]
    assert same(ends[0], ends[1])
    assert same(ends[0], ends[2])


def quadratic(theta, batch):
    return jnp.mean((theta["a"] - batch["x"]) ** 2 * batch["w"]) / 2 + theta["b"] ** 2 / 2


@pytest.mark.slow
def test_any_loss_of_any_pytree():
    """A loss without labels, parameters and data as dictionaries, against the recursion."""
    x, w = np.arange(6.0), np.array([1.0, 2.0, 0.5, 1.0, 3.0, 0.25])
    members = Members.grid((0.5, 0.25), seeds=(3, 4), stop=7, mus=(0.0, 0.1))
    assert members.learning_rates == (0.5, 0.5, 0.25, 0.25) * 2
    assert members.seeds == (3,) * 4 + (4,) * 4
    assert members.mus == (0.0, 0.1) * 4

    def start(key):
        return {"a": jax.random.uniform(key, dtype=jnp.float64), "b": jnp.asarray(2.0)}

    runs = Ensemble(quadratic, start, members, ({"x": x, "w": w},), batch_size=2)
    found = host(runs.advance(runs.init(), 0, 7)).params
    for k in range(len(members)):
        h, mu = (float(np.float32(v[k])) for v in (members.learning_rates, members.mus))
        key = jax.random.key(members.seeds[k])
        a, b = float(start(jax.random.fold_in(key, 0))["a"]), 2.0
        for t in range(7):
            at = np.asarray(batch_indices(jax.random.fold_in(key, 1), t, 6, 2))
            g, curvature = np.mean((a - x[at]) * w[at]), np.mean(w[at])
            a, b = a - h * (1 + 2 * mu * curvature) * g, b - h * (1 + 2 * mu) * b
        np.testing.assert_allclose(found["a"][k], a, rtol=1e-12)
        np.testing.assert_allclose(found["b"][k], b, rtol=1e-12)


def test_statistics_that_a_loss_returns():
    """`start` with `Variables` says that there are some; here they count the steps."""

    def loss(params, stats, x):
        return jnp.mean((params - x) ** 2), {"steps": stats["steps"] + 1}

    def start(key):
        return Variables(jnp.zeros(()), {"steps": jnp.zeros((), jnp.int32)})

    members = Members((0.1, 0.1), (0, 1), (5, 3), (0.0, 0.0))
    runs = Ensemble(loss, start, members, (np.arange(4.0),), batch_size=2)
    np.testing.assert_array_equal(runs.advance(runs.init(), 0, 9).stats["steps"], [5, 3])


@pytest.mark.slow
def test_the_penalty_as_an_optimizer_is_the_penalty():
    """`gradient_penalty` in a chain takes the gradient of the batch that the ensemble gives it."""
    mu, members = 0.05, Members((0.1,), (2,), (30,), (0.0,))
    chain = trained_together(
        MLP, members, (IMAGES, LABELS), 5,
        optimizer=lambda h: optax.chain(ig.optimizers.gradient_penalty(mu), optax.sgd(h)),
    )  # fmt: skip
    penalised = Members((0.1,), (2,), (30,), (mu,))
    own = trained_together(MLP, penalised, (IMAGES, LABELS), 5)
    ends = [host(run.advance(run.init(), 0, 30)).params for run in (chain, own)]
    # A member's μ is in float32.
    np.testing.assert_allclose(flat(ends[0]), flat(ends[1]), rtol=1e-6)
    plain = trained_together(MLP, members, (IMAGES, LABELS), 5)
    moved = host(plain.advance(plain.init(), 0, 30)).params
    assert np.abs(flat(moved) - flat(ends[1])).max() > 1e-3


ONE = Members((0.1,), (0,), (5,), (0.0,))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"optimizer": lambda h: h}, TypeError, "learning rate that returns an Optax .*got 1.0"),
        ({"loss": lambda p, x: (p, x)}, TypeError, "loss must return a real floating-point scalar"),
        ({"loss": lambda p, x: p - x}, ValueError, r"loss must return a scalar, got .*\(2,\)"),
        ({"data": (np.arange(4.0), np.arange(3.0))}, ValueError, "data must .*the examples"),
        ({"data": ()}, ValueError, "data must have one leading axis"),
        ({"batch_size": 5}, ValueError, "batch_size must be at most the 4 examples"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained(change, error, message):
    good = {
        "loss": lambda p, x: jnp.mean((p - x) ** 2),
        "start": lambda key: jnp.zeros(()),
        "members": ONE,
        "data": (np.arange(4.0),),
        "batch_size": 2,
    }

    def train():
        runs = Ensemble(**(good | change))
        runs.advance(runs.init(), 0, 1)

    with pytest.raises(error, match=message):
        train()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Momentum(1.0), "momentum must be at least 0 and below 1, got 1.0"),
        (lambda: Adam(b1=-0.1), "b1 must be at least 0 and below 1, got -0.1"),
        (lambda: Adam(b2=float("nan")), "b2 must be finite"),
        (lambda: Adam(eps=-1.0), "eps must be 0 or more, got -1.0"),
        (lambda: Adam(eps=0.0, eps_root=0.0), "eps or eps_root must be positive, got 0"),
        (lambda: RMSprop(decay=2.0), "decay must be at least 0 and below 1, got 2.0"),
        (lambda: RMSprop(eps=0.0), "eps must be positive, got 0"),
    ],
)
def test_optimizers_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""Models with batch norm in the trainer and the sweep, against Flax and NumPy one at a time."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.ensembles import host, model, same_bits, trained_together
from jax.sharding import Mesh

from igrlib.curvature import batch_sharpness
from igrlib.experiments.ensemble import Layout, Members
from igrlib.experiments.ensemble.batches import batch_indices
from igrlib.experiments.evaluation import MODES, Evaluation, Evaluator, Splits
from igrlib.experiments.log import Schedule
from igrlib.experiments.measures import (
    Measures,
    largest_hessian_eigenvalue,
    mean_squared_batch_gradient,
    measures,
    perturbed,
)
from igrlib.experiments.networks.model import NormalizedClassifier, Variables
from igrlib.experiments.schema import MEASURED
from igrlib.experiments.sweep import Sweep
from igrlib.regularizer import gradient_regularized_loss

N = 24
RNG = np.random.default_rng(2)
IMAGES = RNG.integers(0, 256, (N, 3, 4, 1), np.uint8)
LABELS = RNG.integers(0, 3, N).astype(np.int32)
TEST = RNG.integers(0, 256, (9, 3, 4, 1), np.uint8), RNG.integers(0, 3, 9).astype(np.int32)
# One stops early, one is regularized, one leaves the finite numbers.
MEMBERS = Members((0.5, 0.1, 0.1, 1e35), (5, 5, 8, 8), (12, 7, 12, 12), (0.0, 0.0, 0.3, 0.0))


class Network(nn.Module):
    """A layer whose units batch norm makes as long as it likes, and one that it does not."""

    @nn.compact
    def __call__(self, images, training):
        x = images.reshape(len(images), -1).astype(jnp.float64) / 255
        x = nn.Dense(4, use_bias=False, param_dtype=jnp.float64, name="first")(x)
        norm = nn.BatchNorm(not training, momentum=0.9, param_dtype=jnp.float64, dtype=jnp.float64)
        return nn.Dense(3, param_dtype=jnp.float64, name="last")(nn.relu(norm(x)))


NET = Network()


@jax.jit
def start(key):
    made = NET.init(key, jnp.asarray(IMAGES[:2]), True)
    # Flax makes them in float32.
    stats = jax.tree.map(lambda a: a.astype(jnp.float64), made["batch_stats"])
    return Variables(made["params"], stats)


def training(params, stats, images):
    made = {"params": params, "batch_stats": stats}
    logits, changed = NET.apply(made, images, True, mutable=["batch_stats"])
    return logits, changed["batch_stats"]


def evaluation(params, stats, images):
    return NET.apply({"params": params, "batch_stats": stats}, images, False)


NORMALIZED = NormalizedClassifier(start, training, evaluation)


def ensemble(members=MEMBERS, group=1, loop=True, batch_size=8):
    layout = Layout(Mesh(np.array(jax.devices()[:1]), ("models",)), group, loop)
    return trained_together(NORMALIZED, members, (IMAGES, LABELS), batch_size, layout)


def cross_entropy(logits, labels):
    logits = logits - logits.max(-1, keepdims=True)
    return -jnp.mean(
        (logits - jnp.log(jnp.exp(logits).sum(-1, keepdims=True)))[jnp.arange(len(labels)), labels]
    )


@partial(jax.jit, static_argnums=0)
def step(mu, h, variables, x, y):
    def loss(params):
        logits, after = training(params, variables.stats, x)
        return cross_entropy(logits, y), after

    regularized = gradient_regularized_loss(loss, mu, has_aux=True)
    (_, after), gradient = jax.value_and_grad(regularized, has_aux=True)(variables.params)
    return Variables(jax.tree.map(lambda p, g: p - h * g, variables.params, gradient), after)


def trained_alone(k, steps):
    """Member k after `steps`, one compiled step at a time."""
    root = jax.random.key(MEMBERS.seeds[k])
    variables = start(jax.random.fold_in(root, 0))
    for t in range(steps):
        at = batch_indices(jax.random.fold_in(root, 1), t, N, 8)
        batch = jnp.asarray(IMAGES)[at], jnp.asarray(LABELS)[at]
        variables = step(MEMBERS.mus[k], MEMBERS.learning_rates[k], variables, *batch)
    return variables


@pytest.fixture(scope="module")
def trained():
    made = ensemble()
    return host(made.advance(made.init(), 0, 12))


@pytest.mark.slow
@pytest.mark.parametrize("k", [0, 1, 2])
def test_parameters_and_statistics_are_those_of_a_model_trained_alone(trained, k):
    expected = trained_alone(k, MEMBERS.stops[k])
    rtol = 1e-6 if MEMBERS.mus[k] else 1e-9  # h and μ are float32 in the ensemble.
    for found, wanted in zip(
        jax.tree.leaves(model(trained.variables, k)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-7)
    mean = model(trained.stats, k)["BatchNorm_0"]["mean"]
    assert np.abs(mean).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("group", "loop"), [(2, True), (1, False), (4, False)])
def test_groups_and_single_steps_give_the_same_to_rounding(trained, group, loop):
    made = ensemble(group=group, loop=loop)
    found = host(made.advance(made.init(), 0, 12))
    for k in range(3):
        for one, other in zip(
            jax.tree.leaves(model(found.variables, k)),
            jax.tree.leaves(model(trained.variables, k)),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_calls_of_any_length_give_the_same_bits(trained):
    made = ensemble()
    state = made.init()
    for first, last in ((0, 1), (1, 5), (5, 12)):
        state = made.advance(state, first, last)
    assert same_bits(host(state), trained)


def test_a_model_that_left_the_finite_numbers_keeps_the_statistics_that_it_had(trained):
    diverged = int(trained.diverged[3])
    assert 0 < diverged < 12
    made = ensemble()
    before = host(made.advance(made.init(), 0, diverged))
    assert same_bits(model(before.variables, 3), model(trained.variables, 3))


@pytest.mark.slow
@pytest.mark.parametrize("loop", [True, False])
def test_what_is_measured_in_training_and_in_evaluation_mode(loop):
    """Means and variances of each batch in the one, the moving averages in the other.

    The batches are consecutive, of 10, 10 and 4; walked through inside a program and outside.
    """
    made = ensemble(Members((0.5,), (5,), (20,), (0.0,)), loop=loop, batch_size=10)
    place = made.replicate
    splits = Splits(made.data, None, tuple(place(a) for a in TEST))
    # The costly part has its loops inside in any case: compiled once is enough.
    close = Evaluation(points=("final",) * loop, num_matvecs=2, noise_draws=2, noise_parts=3,
                    noise_sigmas=(0.0, 0.5), slope_sigmas=(0.0,), slope_draws=1)  # fmt: skip
    sweep = Sweep(NORMALIZED, made, splits, Schedule((0, 20), (0, 20)), close)
    arrays = sweep.run()
    variables = model(host(sweep.state).variables, 0)
    params = jax.tree.map(np.array, variables.params)

    def layer_numpy(images, moving):
        x = images.reshape(len(images), -1) / 255 @ params["first"]["kernel"]
        stats, norm, last = variables.stats["BatchNorm_0"], params["BatchNorm_0"], params["last"]
        mean, var = (stats["mean"], stats["var"]) if moving else (x.mean(0), x.var(0))
        x = (x - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"]
        return np.maximum(x, 0) @ last["kernel"] + last["bias"]

    def loss_numpy(images, labels, moving):
        starts = range(0, len(images), 10)
        parts = [layer_numpy(images[k : k + 10], moving) for k in starts]
        logits = np.concatenate(parts)
        logits = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return -logits[range(len(labels)), labels].mean()

    expected = {
        "train_loss": loss_numpy(IMAGES, LABELS, False),
        "evaluated_loss": loss_numpy(IMAGES, LABELS, True),
        "test_loss": loss_numpy(*TEST, True),
    }
    assert abs(expected["train_loss"] - expected["evaluated_loss"]) > 1e-3
    for name, value in expected.items():
        np.testing.assert_allclose(arrays[name][0, -1], value, rtol=1e-9)
        np.testing.assert_allclose(arrays[f"chosen_{name}"][0, 2], value, rtol=1e-9)
    # The whole gradient, from differences of the loss in NumPy.
    squares = 0.0
    for leaf in jax.tree.leaves(params):
        for at in np.ndindex(leaf.shape):
            ends = []
            for way in (1e-6, -2e-6):
                leaf[at] += way
                ends.append(loss_numpy(IMAGES, LABELS, False))
            leaf[at] += 1e-6
            squares += ((ends[0] - ends[1]) / 2e-6) ** 2
    np.testing.assert_allclose(arrays["train_squared_gradient"][0, -1], squares, rtol=1e-5)
    ratio = arrays["evaluated_squared_gradient"] / arrays["train_squared_gradient"]
    assert (np.abs(np.log(ratio)) > 0.01).all()
    assert np.isfinite(arrays["chosen_lambda_max"][0, 2]) == loop


# Which of its two functions a network with batch norm is measured as.
MODE_OF = {
    ("scores", "validation"): evaluation,
    ("scores", "test"): evaluation,
    ("measures", "train"): training,
    ("measures", "evaluated"): evaluation,
    ("measures", "validation"): evaluation,
    ("measures", "test"): evaluation,
    ("lambda_max", "train"): training,
    ("sharpness", "train"): training,
    ("batch_squared_gradient", "train"): training,
    ("batch_sharpness", "train"): training,
    ("noise_slope", "train"): training,
    ("noise_accuracy", "test"): evaluation,
}


@pytest.fixture(scope="module")
def measured():
    """A trained model, its evaluator on splits of 24, 9 and 30 images, and these."""
    made = ensemble(Members((0.5,), (5,), (20,), (0.0,)), batch_size=10)
    more = np.random.default_rng(7)
    other = more.integers(0, 256, (30, 3, 4, 1), np.uint8), more.integers(0, 3, 30).astype(np.int32)
    splits = Splits(made.data, *(tuple(map(made.replicate, split)) for split in (TEST, other)))
    evaluation = Evaluation(num_matvecs=3, noise_draws=4, noise_parts=2, noise_sigmas=(0.5,),
                            slope_sigmas=(0.3,), slope_draws=2)  # fmt: skip
    state = made.advance(made.init(), 0, 20)
    return Evaluator(NORMALIZED, evaluation, made, splits), state.variables


@partial(jax.jit, static_argnames=("name", "function", "at_once"))
def by_hand(name, variables, split, function, at_once=10):
    """A measure of one model, whose logits are those of `training` or `evaluation`."""

    def logits(params, images):
        found = function(params, variables.stats, images)
        return found[0] if function is training else found

    params, (x, y) = variables.params, split
    keys = [jax.random.fold_in(jax.random.key(0), purpose) for purpose in (2, 3)]
    if name == "noise_slope":

        def square(key):
            noisy = perturbed(params, key, jnp.float32(0.3))
            return measures(logits, noisy, x, y, at_once=at_once).squared_gradient

        return jnp.mean(jnp.sqrt(jax.lax.map(square, jax.random.split(keys[0], 2))))
    if name == "noise_accuracy":
        # The two halves of the split take turns.
        halves = (jnp.tile(a.reshape(2, -1, *a.shape[1:]), (2,) + (1,) * a.ndim) for a in (x, y))

        def right(key, x, y):
            outputs = logits(perturbed(params, key, jnp.float32(0.5)), x)
            return jnp.mean(jnp.argmax(outputs, -1) == y)

        return jnp.mean(jax.vmap(right)(jax.random.split(keys[1], 4), *halves))
    if name == "lambda_max":
        found = largest_hessian_eigenvalue(logits, params, x, y, num_matvecs=3, at_once=at_once)
        return found.value
    if name == "batch_sharpness":

        def loss(p, x, y):
            return cross_entropy(logits(p, x), y)

        batches = tuple(a[: len(y) // 10 * 10].reshape(-1, 10, *a.shape[1:]) for a in (x, y))
        return batch_sharpness(loss)(params, batches).ratio_of_means
    if name == "batch_squared_gradient":
        return mean_squared_batch_gradient(logits, params, x, y, batch_size=10)
    return measures(logits, params, x, y, at_once=at_once).loss


@pytest.mark.slow
@pytest.mark.parametrize(("name", "split"), MODE_OF)
def test_every_measure_is_of_its_mode(measured, name, split):
    evaluator, models = measured
    found = evaluator.measure(name, split, models)
    if name.startswith("noise"):
        found, _ = found  # Mean and standard deviation.
    found = getattr(found, "lambda_max" if name == "sharpness" else "loss", found)
    value = float(np.ravel(found)[0])
    own = MODE_OF[name, split]
    variables = jax.tree.map(jnp.asarray, model(models, 0))
    data = getattr(evaluator.splits, "train" if split == "evaluated" else split)
    name = {"sharpness": "lambda_max", "scores": "measures"}.get(name, name)
    np.testing.assert_allclose(value, by_hand(name, variables, data, own), rtol=1e-9)
    # Neither in the other mode nor, in training mode, with other parts.
    others = [by_hand(name, variables, data, evaluation if own is training else training)]
    if own is training and not name.startswith("batch"):
        others.append(by_hand(name, variables, data, own, at_once=500))
    assert min(abs(value - other) for other in others) > 1e-3 * abs(value)


def test_the_table_of_modes_is_this_one():
    modes = {key: "training" if way is training else "evaluation" for key, way in MODE_OF.items()}
    assert modes == MODES
    assert Measures._fields == MEASURED


@pytest.mark.slow
def test_the_scale_of_a_normalized_kernel_changes_the_gradient_and_not_its_scale_free_form():
    """‖∇E‖ falls as 1/c in that kernel, ‖θ_l‖²‖∂E/∂θ_l‖² stays."""
    variables = jax.tree.map(np.asarray, start(jax.random.key(3)))
    longer = jax.tree.map(np.copy, variables.params)
    longer["first"]["kernel"] *= 10

    def found(params):
        def logits(p, images):
            return training(p, variables.stats, images)[0]

        data = jnp.asarray(IMAGES), jnp.asarray(LABELS)
        return jax.jit(lambda p: measures(logits, p, *data))(params)

    short, long = found(variables.params), found(longer)
    # The ε of batch norm beside variances of about 0.1.
    np.testing.assert_allclose(long.loss, short.loss, rtol=1e-3)
    np.testing.assert_allclose(long.scale_free, short.scale_free, rtol=5e-3)
    assert long.squared_gradient < 0.9 * short.squared_gradient

"""igrlib.probing against the whole split in one piece, and dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import counted_compilations

import igrlib as ig

RNG = np.random.default_rng(6)
X, Y = RNG.normal(size=(20, 4)), RNG.integers(0, 3, 20)
PARAMS = {"w": jnp.asarray(RNG.normal(size=(4, 3))), "b": jnp.asarray(RNG.normal(size=3))}
H = 0.2


def loss(params, x, y):
    """Cross entropy of a linear classifier, with a kink-free bend."""
    logits = jnp.tanh(x @ params["w"]) * 2 + params["b"][None]
    return jnp.mean(
        jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, y[:, None], 1)[:, 0]
    )


def batches(size):
    return [(X[k : k + size], Y[k : k + size]) for k in range(0, len(X), size)]


def dense():
    flat, unravel = jax.flatten_util.ravel_pytree(PARAMS)

    def of(v, x, y):
        return loss(unravel(v), x, y)

    return flat, jax.grad(of), jax.hessian(of)


@pytest.mark.slow
def test_a_probe_over_batches_is_that_of_the_whole_split():
    flat, gradient, hessian = dense()
    found = ig.probe(loss, learning_rate=H, num_matvecs=15)(PARAMS, batches(5))
    g = gradient(flat, X, Y)
    squared = float(g @ g)
    np.testing.assert_allclose(found.loss, loss(PARAMS, X, Y), rtol=1e-12)
    np.testing.assert_allclose(found.squared_gradient, squared, rtol=1e-12)
    np.testing.assert_allclose(found.regularizer, squared / 15, rtol=1e-12)
    penalty = H / 4 * squared / float(loss(PARAMS, X, Y))
    np.testing.assert_allclose(found.relative_penalty, penalty, rtol=1e-12)
    each = [gradient(flat, *batch) for batch in batches(5)]
    mean = np.mean([float(v @ v) for v in each])
    np.testing.assert_allclose(found.batch_squared_gradient, mean, rtol=1e-12)
    np.testing.assert_allclose(found.noise_share, 1 - squared / mean, rtol=1e-10)
    curved = np.mean(
        [float(v @ hessian(flat, *b) @ v) for v, b in zip(each, batches(5), strict=True)]
    )
    np.testing.assert_allclose(found.batch_sharpness, curved / mean, rtol=1e-10)
    largest = np.linalg.eigvalsh(hessian(flat, X, Y))[-1]
    np.testing.assert_allclose(found.largest_hessian_eigenvalue, largest, rtol=1e-9)
    np.testing.assert_allclose(found.scaled_curvature, H * largest, rtol=1e-9)
    assert found.residual < 1e-6
    stacked = (jnp.asarray(X.reshape(4, 5, 4)), jnp.asarray(Y.reshape(4, 5)))
    alike = ig.curvature.batch_sharpness(loss)(PARAMS, stacked)
    np.testing.assert_allclose(found.batch_sharpness, alike.ratio_of_means, rtol=1e-12)


@pytest.mark.slow
def test_a_last_batch_that_is_shorter_counts_for_less():
    flat, gradient, _ = dense()
    found = ig.probe(loss, learning_rate=H)(PARAMS, iter(batches(8)))
    np.testing.assert_allclose(found.loss, loss(PARAMS, X, Y), rtol=1e-12)
    g = gradient(flat, X, Y)
    np.testing.assert_allclose(found.squared_gradient, float(g @ g), rtol=1e-12)
    squares = [float((v := gradient(flat, *batch)) @ v) for batch in batches(8)]
    expected = np.average(squares, weights=[8, 8, 4])
    np.testing.assert_allclose(found.batch_squared_gradient, expected, rtol=1e-12)
    assert np.isnan(found.largest_hessian_eigenvalue)
    assert np.isnan(found.scaled_curvature)


def test_one_batch_is_without_noise():
    found = ig.probe(lambda *a: (loss(*a), "aux"), learning_rate=H, has_aux=True)(
        PARAMS, batches(20)
    )
    np.testing.assert_allclose(found.noise_share, 0, atol=1e-12)
    np.testing.assert_allclose(found.batch_squared_gradient, found.squared_gradient, rtol=1e-12)


def test_the_residual_says_how_far_an_eigenvalue_may_be():
    flat, _, hessian = dense()
    every = np.linalg.eigvalsh(hessian(flat, X, Y))
    found = ig.probe(loss, learning_rate=H, num_matvecs=3)(PARAMS, batches(10))
    value, residual = float(found.largest_hessian_eigenvalue), float(found.residual)
    assert residual > 1e-4
    assert np.abs(every - value).min() <= residual
    assert value <= every[-1] + 1e-12


def test_other_parameters_compile_nothing():
    measure = ig.probe(loss, learning_rate=H)
    measure(PARAMS, batches(5))
    other = jax.tree.map(lambda p: p + 0.1, PARAMS)
    with counted_compilations() as compiled:
        measure(other, batches(5))
    assert compiled == []


@pytest.mark.usefixtures("without_type_hook")
@pytest.mark.parametrize(
    ("how", "given", "message"),
    [
        (
            {"num_matvecs": 2},
            iter(batches(5)),
            "can be gone through again where num_matvecs is above",
        ),
        ({}, [], "batches must be one or more, got none"),
        ({}, [(jnp.float64(1.0), Y)], "the first array with an axis of examples"),
        ({}, [(jax.random.key(0), X, Y)], r"of examples; got .*key<fry>\[\].* pass keys and scal"),
        ({}, [(jax.random.PRNGKey(0), X, Y)], r"got .*uint32\[2\].* after the examples"),
        (
            {},
            [{"x": X, "y": Y}],
            r"got a dict: for a loss of \(params, batch\) pass \[\(batch,\)\]",
        ),
        (
            {},
            (X, Y),
            r"got an array of shape \(20, 4\) in place of a tuple: for one batch pass \[\(",
        ),
        ({}, {"x": X, "y": Y}, r"got 'x' in place of a tuple: for one batch pass"),
        ({"num_matvecs": -1}, batches(5), "num_matvecs must be at least 0, got -1"),
        ({"learning_rate": np.nan}, batches(5), "learning_rate must be finite"),
    ],
)
def test_what_cannot_be_probed_is_named(how, given, message):
    with pytest.raises(ValueError, match=message):
        ig.probe(loss, **{"learning_rate": H, **how})(PARAMS, given)


def test_two_examples_of_two_words_are_no_key():
    two = np.array([0, 3], np.uint32)
    found = ig.probe(lambda p, x: jnp.mean(p * x), learning_rate=H)(1.0, [(two,)])
    np.testing.assert_allclose(found.loss, 1.5)

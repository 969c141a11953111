"""igrlib.regularizer against NumPy, finite differences and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import (
    ALL_DTYPES,
    HALF,
    central_difference,
    coarsest_eps,
    counted_compilations,
    cubic_gradient_numpy,
    cubic_hessian_numpy,
    cubic_loss,
    cubic_loss_numpy,
    enable_x64,
    few_examples,
    flat,
    pytrees,
)
from hypothesis import given
from hypothesis import strategies as st

import igrlib as ig

VECTOR = np.array([0.3, -0.7, 1.1, 0.2])
TREE = {"w": jnp.asarray(VECTOR[:3]), "b": (jnp.asarray(VECTOR[3]),)}


def mean_square_of_gradient(theta, target=0.0):
    return (cubic_gradient_numpy(theta, target) ** 2).mean()


@few_examples
@given(pytrees(ALL_DTYPES))
def test_num_params_counts_every_number(params):
    assert ig.num_params(params) == flat(params).size
    assert type(ig.num_params(params)) is int


@few_examples
@given(pytrees(ALL_DTYPES))
def test_regularizer_is_the_mean_square_of_the_gradient(params):
    found = jax.jit(ig.implicit_gradient_regularizer(cubic_loss))(params, 0.5)
    expected = mean_square_of_gradient(flat(params), 0.5)
    assert found.shape == ()
    assert jnp.finfo(found.dtype).bits >= 32
    # All numbers are positive: nothing cancels.
    np.testing.assert_allclose(found, expected, rtol=16 * coarsest_eps(params))


@few_examples
@given(pytrees(low=-2.0, high=2.0))
def test_float64_keeps_its_digits_in_every_leaf(params):
    found = jax.jit(ig.implicit_gradient_regularizer(cubic_loss))(params)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, mean_square_of_gradient(flat(params)), rtol=1e-13)


@pytest.mark.slow
@few_examples
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_how_a_vector_is_cut_into_leaves_does_not_matter(one, other, seed):
    theta = np.random.default_rng(seed).normal(size=9)
    low, high = sorted((one, other))
    cut = {"a": theta[:low], "b": [theta[low:high], (theta[high:],)]}

    @jax.jit
    def measured(params):
        return (
            ig.implicit_gradient_regularizer(cubic_loss)(params),
            ig.modified_loss(cubic_loss, 0.1)(params),
            ig.gradient_regularized_loss(cubic_loss, 0.1, normalization="mean")(params),
        )

    np.testing.assert_allclose(measured(cut), measured(theta), rtol=1e-12)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("scale", [2.0**-14, 2.0**12])
def test_squares_of_half_floats_neither_vanish_nor_overflow(dtype, scale):
    params = jnp.full(4, scale, dtype)
    found = ig.implicit_gradient_regularizer(lambda p: (p * p / 2).sum(dtype=jnp.float32))(params)
    assert found.dtype == jnp.float32
    assert float(found) == scale**2


def test_dtypes_of_the_losses_and_of_their_gradients():
    params = {"h": jnp.ones(2, jnp.bfloat16), "s": jnp.ones(3, jnp.float32)}
    for rate in (0.1, np.float64(0.1), jnp.float64(0.1)):
        for transformed in (
            ig.modified_loss(cubic_loss, rate),
            ig.gradient_regularized_loss(cubic_loss, rate),
            ig.gradient_regularized_loss(cubic_loss, rate, normalization="mean"),
        ):
            value, gradient = jax.eval_shape(jax.value_and_grad(transformed), params)
            assert value.dtype == jnp.float32
            assert jax.tree.map(lambda g: g.dtype, gradient) == jax.tree.map(
                lambda p: p.dtype, params
            )


@pytest.mark.parametrize("learning_rate", [0.0, 1e-3, 0.7, -0.2, 1])
def test_modified_loss_is_its_formula(learning_rate):
    expected = cubic_loss_numpy(VECTOR, 0.4) + learning_rate / 4 * np.sum(
        cubic_gradient_numpy(VECTOR, 0.4) ** 2
    )
    found = ig.modified_loss(cubic_loss, learning_rate)(TREE, 0.4)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.slow
@few_examples
@given(pytrees(low=-1.0, high=1.0), st.floats(0, 2))
def test_the_three_names_agree(params, learning_rate):

    @jax.jit
    def three(params):
        rate = ig.regularization_rate(learning_rate, ig.num_params(params))
        return (
            ig.modified_loss(cubic_loss, learning_rate)(params),
            ig.gradient_regularized_loss(cubic_loss, learning_rate / 4)(params),
            cubic_loss(params) + rate * ig.implicit_gradient_regularizer(cubic_loss)(params),
        )

    modified, regularized, by_rate = three(params)
    np.testing.assert_allclose(modified, regularized, rtol=1e-13)
    np.testing.assert_allclose(modified, by_rate, rtol=1e-13, atol=1e-15)


def test_sum_and_mean_differ_by_the_number_of_parameters():
    squares = cubic_gradient_numpy(VECTOR) ** 2
    for normalization, penalty in (("sum", squares.sum()), ("mean", squares.mean())):
        found = ig.gradient_regularized_loss(cubic_loss, 0.3, normalization=normalization)(TREE)
        np.testing.assert_allclose(found, cubic_loss_numpy(VECTOR) + 0.3 * penalty, rtol=1e-14)
    default = ig.gradient_regularized_loss(cubic_loss, 0.3)(TREE)
    np.testing.assert_allclose(default, cubic_loss_numpy(VECTOR) + 0.3 * squares.sum(), rtol=1e-14)


@pytest.mark.parametrize(("h", "m", "rate"), [(0.4, 10, 1.0), (0.5, 2, 0.25), (1, 1, 0.25)])
def test_regularization_rate(h, m, rate):
    assert ig.regularization_rate(h, m) == pytest.approx(rate, rel=1e-15)
    assert jax.jit(lambda x: ig.regularization_rate(x, m))(h) == pytest.approx(rate, rel=1e-15)


def test_gradient_of_the_modified_loss():
    """∇Ẽ = (I + (h/2)∇²E)∇E."""
    h, gradient = 0.3, cubic_gradient_numpy(VECTOR)
    expected = gradient + h / 2 * cubic_hessian_numpy(VECTOR) @ gradient
    found = jax.grad(ig.modified_loss(cubic_loss, h))(TREE)
    assert jax.tree.structure(found) == jax.tree.structure(TREE)
    np.testing.assert_allclose(flat(found), flat({"w": expected[:3], "b": expected[3]}), rtol=1e-13)


def test_gradients_against_finite_differences():
    for measure in (
        ig.implicit_gradient_regularizer(cubic_loss),
        ig.gradient_regularized_loss(cubic_loss, 0.2, normalization="mean"),
    ):
        expected = central_difference(lambda theta, f=measure: float(f(theta)), VECTOR)
        np.testing.assert_allclose(jax.grad(measure)(VECTOR), expected, rtol=1e-7)


def loss_with_everything(params, inputs, targets, *, scale, aux=None):
    residual = inputs @ params["w"] + params["b"] - targets
    value = scale * (residual**2).mean()
    return value if aux is None else (value, {"residual": residual, "name": aux})


BATCH = (np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]]), np.array([1.0, 0.0, -1.0]))
LINEAR = {"w": jnp.array([0.4, -0.3]), "b": jnp.array(0.2)}
TRANSFORMS = {
    "regularizer": ig.implicit_gradient_regularizer,
    "modified": functools.partial(ig.modified_loss, learning_rate=0.2),
    "sum": functools.partial(ig.gradient_regularized_loss, mu=0.05),
    "mean": functools.partial(ig.gradient_regularized_loss, mu=0.15, normalization="mean"),
}


def expected_on_batch(name, scale):
    design = np.column_stack([BATCH[0], np.ones(3)])
    residual = design @ np.array([0.4, -0.3, 0.2]) - BATCH[1]
    gradient = 2 * scale / 3 * design.T @ residual
    squares = (gradient**2).sum()
    value = scale * (residual**2).mean()
    return squares / 3 if name == "regularizer" else value + 0.05 * squares


@pytest.mark.parametrize("name", TRANSFORMS)
def test_arguments_keywords_and_aux_pass_through(name):
    expected = expected_on_batch(name, scale=1.7)
    plain = TRANSFORMS[name](loss_with_everything)
    np.testing.assert_allclose(plain(LINEAR, *BATCH, scale=1.7), expected, rtol=1e-14)
    value, aux = TRANSFORMS[name](loss_with_everything, has_aux=True)(
        LINEAR, *BATCH, scale=1.7, aux="kept"
    )
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    assert aux["name"] == "kept"
    np.testing.assert_allclose(aux["residual"], BATCH[0] @ [0.4, -0.3] + 0.2 - BATCH[1], rtol=1e-14)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_jit_vmap_and_grad_agree_with_eager(name):
    transformed = TRANSFORMS[name](loss_with_everything)
    eager = [transformed(LINEAR, *BATCH, scale=s) for s in (0.5, 2.0)]
    np.testing.assert_allclose(
        eager, [expected_on_batch(name, 0.5), expected_on_batch(name, 2.0)], rtol=1e-14
    )

    def of_scale(scale):
        return transformed(LINEAR, *BATCH, scale=scale)

    np.testing.assert_allclose(jax.vmap(of_scale)(jnp.array([0.5, 2.0])), eager, rtol=1e-14)
    np.testing.assert_allclose(jax.jit(of_scale)(2.0), eager[1], rtol=1e-14)
    slope = (expected_on_batch(name, 2 + 1e-6) - expected_on_batch(name, 2 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jit(jax.grad(of_scale))(2.0), slope, rtol=1e-8)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_new_batch_of_the_same_shape_compiles_nothing(name):
    traces = []

    def loss(params, inputs, targets):
        traces.append(1)
        return ((inputs @ params["w"] + params["b"] - targets) ** 2).mean()

    compiled = jax.jit(TRANSFORMS[name](loss))
    batches = [(jnp.asarray(BATCH[0] + k), jnp.asarray(BATCH[1])) for k in range(3)]
    first = compiled(LINEAR, *batches[0])
    assert len(traces) == 1
    with counted_compilations() as compilations:
        others = [compiled(LINEAR, *batch) for batch in batches[1:]]
    assert len(traces) == 1
    assert compilations == []
    assert first not in others


def test_the_rates_may_be_traced():
    hs = jnp.array([0.1, 0.4])
    squares = np.sum(cubic_gradient_numpy(VECTOR) ** 2)
    expected = cubic_loss_numpy(VECTOR) + np.array(hs) / 4 * squares
    found = jax.vmap(lambda h: ig.modified_loss(cubic_loss, h)(TREE))(hs)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    slope = jax.grad(lambda mu: ig.gradient_regularized_loss(cubic_loss, mu)(TREE))(0.3)
    np.testing.assert_allclose(slope, squares, rtol=1e-14)


def test_the_learning_rate_may_be_that_of_a_schedule():
    """At step n of a cosine decay: ∇Ẽ = (I + (h_n/2)H)g, by one compiled program."""
    schedule = optax.cosine_decay_schedule(0.4, 10)

    @jax.jit
    def gradient(theta, step):
        return jax.grad(ig.modified_loss(cubic_loss, schedule(step)))(theta)

    gradient(VECTOR, 0)
    g, hessian = cubic_gradient_numpy(VECTOR), cubic_hessian_numpy(VECTOR)
    with counted_compilations() as compilations:
        found = [gradient(VECTOR, step) for step in (0, 3, 10)]
    assert compilations == []
    for step, value in zip((0, 3, 10), found, strict=True):
        h = 0.4 * (1 + np.cos(np.pi * step / 10)) / 2
        np.testing.assert_allclose(value, g + h / 2 * hessian @ g, rtol=1e-12)
    # Explicit regularization takes a schedule in the same way.
    explicit = jax.jit(lambda n: ig.gradient_regularized_loss(cubic_loss, schedule(n) / 4)(VECTOR))
    expected = cubic_loss_numpy(VECTOR) + 0.4 * (1 + np.cos(np.pi * 0.3)) / 8 * g @ g
    np.testing.assert_allclose(explicit(3), expected, rtol=1e-12)


def test_numpy_leaves_and_python_numbers_are_parameters():
    found = ig.implicit_gradient_regularizer(lambda p: p["a"] ** 2 * p["b"].sum())(
        {"a": 0.1, "b": np.array([0.3])}
    )
    np.testing.assert_allclose(found, ((2 * 0.1 * 0.3) ** 2 + 0.01**2) / 2, rtol=1e-14)


def test_a_python_number_is_float64_beside_float32():
    """Left to JAX, 0.1 would take on the precision of the array that it meets."""
    params = {"a": 0.1, "b": jnp.array([0.5], jnp.float32)}
    found = ig.gradient_field(lambda p: (p["a"] * p["b"].sum()) ** 2)(params)
    assert found["a"].dtype == jnp.float64
    np.testing.assert_allclose(found["a"], -2 * 0.1 * 0.5**2, rtol=1e-14)


# Numbers of small types, and networks too large for an integer of 32 bits.
RATES = [
    (np.int8(100), 12, 300.0),
    (jnp.int32(3), 10**9, 7.5e8),
    (np.float16(0.5), 1_000_000, 125_000.0),
    (jnp.float16(0.5), 1_000_000, 125_000.0),
    (jnp.float32(0.5), 3_000_000_000, 3.75e8),
    (7, 2**40, 7 * 2**38),
]


@pytest.mark.parametrize(("learning_rate", "m", "expected"), RATES)
@pytest.mark.parametrize("wide", [True, False])
def test_regularization_rate_of_small_types_and_large_networks(learning_rate, m, expected, wide):
    with enable_x64(wide):
        found = ig.regularization_rate(learning_rate, m)
        under_jit = jax.jit(lambda h: ig.regularization_rate(h, m))(learning_rate)
    np.testing.assert_allclose([found, under_jit], expected, rtol=1e-6)


@pytest.mark.parametrize("learning_rate", [np.int8(100), np.float16(40000), jnp.uint8(200)])
def test_modified_loss_at_a_learning_rate_of_a_small_type(learning_rate):
    """On E = θ²: 1 + h at θ = 1."""
    found = ig.modified_loss(lambda p: p**2, learning_rate)(1.0)
    assert float(found) == 1 + float(learning_rate)


def test_regularizers_of_three_billion_parameters():
    """Shapes alone: m is no integer of 32 bits."""
    theta = jax.ShapeDtypeStruct((3_000_000_000,), jnp.float32)
    loss = lambda p: (p**2).sum()  # noqa: E731
    with enable_x64(False):
        for compute in (
            ig.implicit_gradient_regularizer(loss),
            ig.gradient_regularized_loss(loss, 0.1, normalization="mean"),
        ):
            assert jax.eval_shape(compute, theta).dtype == jnp.float32


def test_the_range_of_the_regularizer_in_float32():
    """As the docstring says: inf above 1.8e19, 0 below 1e-23."""
    regularizer = ig.implicit_gradient_regularizer(lambda p: p[0] * p[1])
    found = [float(regularizer(jnp.asarray([g, 0], jnp.float32))) for g in (1.8e19, 1.9e19, 1e-23)]
    assert np.isfinite(found[0])
    assert found[1] == np.inf
    assert found[2] == 0

"""The gradient of E + μ‖∇E‖², three ways, against NumPy and against each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import (
    counted_compilations,
    cubic_gradient_numpy,
    cubic_hessian_numpy,
    cubic_loss,
    cubic_loss_numpy,
    flat,
)

import igrlib as ig

METHODS = ("forward_over_reverse", "reverse_over_reverse", "finite_difference")
VECTOR = np.array([0.3, -0.7, 1.1, 0.2])
TREE = {"w": jnp.asarray(VECTOR[:3]), "b": (jnp.asarray(VECTOR[3]),)}


def as_tree(theta):
    return flat({"w": theta[:3], "b": (theta[3],)})


@pytest.mark.parametrize("mu", [0.0, 0.05, -0.3, 2])
@pytest.mark.parametrize("method", METHODS)
def test_value_and_gradient_are_their_formulas(method, mu):
    """∇E + 2μ∇²E∇E; the finite difference to half of the digits."""
    gradient = cubic_gradient_numpy(VECTOR, 0.4)
    product = cubic_hessian_numpy(VECTOR) @ gradient
    computed = jax.jit(ig.gradient_regularized_value_and_grad(cubic_loss, mu, method=method))
    value, found = computed(TREE, 0.4)
    expected = cubic_loss_numpy(VECTOR, 0.4) + mu * gradient @ gradient
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    assert jax.tree.structure(found) == jax.tree.structure(TREE)
    rtol = 1e-6 if method == "finite_difference" else 1e-13
    np.testing.assert_allclose(flat(found), as_tree(gradient + 2 * mu * product), rtol=rtol)


@pytest.mark.parametrize("method", METHODS)
def test_the_terms_stand_beside_the_total(method):
    gradient = cubic_gradient_numpy(VECTOR, 0.4)
    plain = ig.gradient_regularized_value_and_grad(cubic_loss, 0.05, method=method)
    with_terms = ig.gradient_regularized_value_and_grad(cubic_loss, 0.05, method=method, terms=True)
    value, expected = plain(TREE, 0.4)
    found, same = with_terms(TREE, 0.4)
    np.testing.assert_allclose(found.loss, cubic_loss_numpy(VECTOR, 0.4), rtol=1e-13)
    np.testing.assert_allclose(found.squared_gradient, gradient @ gradient, rtol=1e-13)
    np.testing.assert_array_equal(found.total, value)
    np.testing.assert_array_equal(flat(same), flat(expected))

    def with_aux(theta, a):
        return cubic_loss(theta, a), {"a": a}

    (terms, aux), _ = ig.gradient_regularized_value_and_grad(
        with_aux, 0.05, method=method, terms=True, has_aux=True
    )(TREE, 0.4)
    np.testing.assert_array_equal(terms.total, value)
    assert float(aux["a"]) == 0.4


def test_a_small_step_is_matched_to_a_large_one():
    """To first order: h_s/4 + μ = h_L/4, and so the corrections of both are one."""
    small, large = 0.02, 0.1
    mu = ig.matching_mu(small, large)
    assert small / 4 + mu == pytest.approx(large / 4)

    def regularized(theta):
        return ig.gradient_regularized_loss(cubic_loss, mu)(theta, 0.4)

    one = ig.modified_field(ig.gradient_field(regularized), small, 1)(TREE)
    other = ig.modified_field(ig.gradient_field(lambda p: cubic_loss(p, 0.4)), large, 1)(TREE)
    plain = ig.gradient_field(lambda p: cubic_loss(p, 0.4))(TREE)
    apart = np.linalg.norm(flat(one) - flat(other))
    assert apart < 0.5 * np.linalg.norm(flat(one) - flat(plain))
    with pytest.raises(ValueError, match=r"small must be at most large, got 0\.1 and 0\.02"):
        ig.matching_mu(large, small)


def network(params, inputs, targets):
    hidden = jnp.tanh(inputs @ params["a"] + params["c"][None])
    return jnp.mean((hidden @ params["b"] - targets) ** 2)


def network_params(dtype):
    rng = np.random.default_rng(0)
    shapes = {"a": (5, 7), "c": (7,), "b": (7,)}
    return {name: jnp.asarray(rng.normal(size=s), dtype) for name, s in shapes.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "exact", "near"), [("float64", 1e-13, 1e-6), ("float32", 1e-5, 1e-2)]
)
def test_the_three_ways_agree_on_a_network(dtype, exact, near):
    """Tolerances are on the length of the whole gradient's second term."""
    rng = np.random.default_rng(1)
    batch = [jnp.asarray(rng.normal(size=s), dtype) for s in ((20, 5), (20,))]
    params, mu = network_params(dtype), 0.3
    plain = flat(jax.grad(network)(params, *batch))
    terms = {}
    for method in METHODS:
        value_and_grad = ig.gradient_regularized_value_and_grad(network, mu, method=method)
        _, gradient = value_and_grad(params, *batch)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(dtype)}
        terms[method] = flat(gradient) - plain
    length = np.linalg.norm(terms["reverse_over_reverse"])
    assert length > 0.1 * np.linalg.norm(plain)
    for method, tolerance in (("forward_over_reverse", exact), ("finite_difference", near)):
        apart = np.linalg.norm(terms[method] - terms["reverse_over_reverse"])
        assert apart < tolerance * length


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_finite_difference_in_half_precision_is_refused_without_a_distance(dtype):
    """Its default would be lost in rounding, and with it the whole term."""
    rng = np.random.default_rng(1)
    batch = [rng.normal(size=s) for s in ((20, 5), (20,))]

    def gradient(kind, **how):
        params, data = network_params(kind), [jnp.asarray(a, kind) for a in batch]
        computed = ig.gradient_regularized_value_and_grad(network, 0.3, **how)
        return flat(computed(params, *data)[1]).astype(float)

    with pytest.raises(ValueError, match=f"params must be float32 or wider .* got {dtype}"):
        gradient(dtype, method="finite_difference")
    exact = gradient("float64")
    # The other ways need no difference of nearly equal numbers.
    for how in ({}, {"method": "reverse_over_reverse"}):
        apart = np.linalg.norm(gradient(dtype, **how) - exact)
        assert apart < 0.05 * np.linalg.norm(exact)


def test_a_traced_distance_is_taken_as_a_number_is():
    def computed(d):
        way = ig.gradient_regularized_value_and_grad(
            cubic_loss, 0.5, method="finite_difference", distance=d
        )
        return way(TREE)[1]

    np.testing.assert_allclose(flat(jax.jit(computed)(1e-3)), flat(computed(1e-3)), rtol=1e-12)


def test_the_error_of_the_finite_difference_is_of_first_order():
    """Halve the distance and it halves, for a loss whose third derivative is not 0."""
    exact = ig.gradient_regularized_value_and_grad(cubic_loss, 0.5)(TREE)[1]
    distances = 0.1 * 0.5 ** np.arange(6)
    errors = [
        np.linalg.norm(
            flat(
                ig.gradient_regularized_value_and_grad(
                    cubic_loss, 0.5, method="finite_difference", distance=d
                )(TREE)[1]
            )
            - flat(exact)
        )
        for d in distances
    ]
    order = np.polyfit(np.log(distances), np.log(errors), 1)[0]
    assert order == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_at_a_critical_point_there_is_nothing_to_add(method):
    computed = ig.gradient_regularized_value_and_grad(
        lambda p: jnp.sum((p - 1) ** 2), 0.3, method=method
    )
    value, gradient = computed(np.ones(3))
    np.testing.assert_array_equal(gradient, np.zeros(3))
    assert value == 0


@pytest.mark.parametrize("method", METHODS)
def test_what_the_loss_updates_is_updated_once_and_at_theta(method):
    """As the running statistics of batch norm are."""

    def loss(params, inputs, state):
        outputs = inputs * params
        return jnp.mean(outputs**2) / 2, state + jnp.mean(outputs)

    inputs = np.array([1.0, 2.0, 6.0])
    computed = ig.gradient_regularized_value_and_grad(loss, 0.1, method=method, has_aux=True)
    (value, state), gradient = jax.jit(computed)(0.5, inputs, 10.0)
    # E = aθ²/2 with a = 41/3; E_μ′ = aθ + 2μa²θ.
    a = 41 / 3
    np.testing.assert_allclose(value, a * 0.125 + 0.1 * (a * 0.5) ** 2, rtol=1e-13)
    np.testing.assert_allclose(gradient, a * 0.5 + 0.2 * a * a * 0.5, rtol=1e-7)
    np.testing.assert_allclose(state, 10 + 0.5 * 3, rtol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_in_an_optax_loop_it_descends_on_the_regularized_loss(method):
    """On a quadratic of curvatures a the rate of decay is a + 2μa², known in closed form."""
    curvature, h, mu = np.array([1.0, 3.0]), 0.05, 0.2
    optimizer = optax.sgd(h)
    step = ig.gradient_regularized_value_and_grad(
        lambda p: (curvature * p**2).sum() / 2, mu, method=method
    )

    @jax.jit
    def loop(params):
        def body(_, carried):
            params, state = carried
            updates, state = optimizer.update(step(params)[1], state)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, 30, body, (params, optimizer.init(params)))[0]

    expected = (1 - h * (curvature + 2 * mu * curvature**2)) ** 30
    np.testing.assert_allclose(loop(jnp.ones(2)), expected, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_another_mu_compiles_nothing(method):
    @jax.jit
    def computed(mu, theta):
        return ig.gradient_regularized_value_and_grad(cubic_loss, mu, method=method)(theta)

    computed(0.1, VECTOR)
    with counted_compilations() as compilations:
        computed(0.2, VECTOR)
    assert compilations == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "hessian"}, ValueError, "method must be one of forward.*, got 'hessian'"),
        ({"mu": np.inf}, ValueError, "mu must be finite, got inf"),
        (
            {"mu": lambda n: 0.1},
            TypeError,
            "mu must be a real number.*of a schedule pass its value at the step",
        ),
        ({"distance": 0.1}, ValueError, 'distance is for "finite_difference", got 0.1'),
        ({"method": "finite_difference", "distance": 0.0}, ValueError, "distance must be positive"),
        ({"method": "finite_difference", "distance": -1e-3}, ValueError, "got -0.001"),
    ],
)
def test_bad_arguments_are_refused_by_name(without_type_hook, arguments, error, words):
    with pytest.raises(error, match=words):
        ig.gradient_regularized_value_and_grad(cubic_loss, **{"mu": 0.1, **arguments})


def test_bad_losses_and_parameters_are_refused_as_everywhere():
    computed = functools.partial(ig.gradient_regularized_value_and_grad, mu=0.1)
    with pytest.raises(ValueError, match=r"loss must return a scalar, got .* shape \(3,\)"):
        computed(lambda p: p)(np.ones(3))
    with pytest.raises(TypeError, match=r"params must be a floating-point array"):
        computed(cubic_loss)(np.arange(3))


# Numbers of small types.
SMALL = [np.int8(100), np.uint8(200), np.float16(40000), np.int64(3), 7]


@pytest.mark.parametrize("mu", SMALL, ids=repr)
@pytest.mark.parametrize("given", ["as it is", "as a jax array", "traced"])
@pytest.mark.parametrize("method", METHODS)
def test_a_mu_of_a_small_type(method, given, mu):
    """On E = θ² at θ = 1: 1 + 4μ and 2 + 8μ."""
    computed = lambda m: ig.gradient_regularized_value_and_grad(  # noqa: E731
        lambda p: p**2, m, method=method
    )(1.0)
    if given == "as a jax array":
        mu = jnp.asarray(mu)
    found = jax.jit(computed)(mu) if given == "traced" else computed(mu)
    # The finite difference of float32 keeps half of its digits.
    np.testing.assert_allclose(found, (1 + 4 * float(mu), 2 + 8 * float(mu)), rtol=1e-7)


@pytest.mark.parametrize("method", METHODS[:2])
def test_a_product_that_overflows_in_half_precision(method):
    """E = 150p²: ∇²E∇E = 90,000 is no half, and the gradient 300 + 2μ·90,000 = 480 is one."""
    loss = lambda p: jnp.asarray(150, p.dtype) * p**2  # noqa: E731
    computed = ig.gradient_regularized_value_and_grad(loss, 1e-3, method=method)
    _, gradient = computed(jnp.float16(1))
    assert gradient.dtype == jnp.float16
    assert float(gradient) == pytest.approx(480, rel=2e-3)


# Finite differences that rounding would lose.
def test_a_finite_difference_at_the_origin():
    """√ε(1 + ‖θ‖) and not √ε‖θ‖, which is 0 there."""
    curvature = np.array([1.0, 3.0])
    computed = ig.gradient_regularized_value_and_grad(
        lambda p: (curvature * (p - 1) ** 2).sum() / 2, 0.2, method="finite_difference"
    )
    gradient = -curvature - 0.4 * curvature**2
    np.testing.assert_allclose(computed(jnp.zeros(2))[1], gradient, rtol=1e-7)


LOST = [("float32", 1e-12), ("float32", 1e-7), ("float16", 1e-4), ("bfloat16", 1e-3)]


@pytest.mark.parametrize(("dtype", "distance"), LOST)
def test_a_distance_that_rounding_would_lose_is_refused(dtype, distance):
    params = jnp.asarray([1.0, 2.0], dtype)
    computed = ig.gradient_regularized_value_and_grad(
        lambda p: (p**2).sum() / 2, 0.2, method="finite_difference", distance=distance
    )
    with pytest.raises(ValueError, match=f"distance must be larger, got {distance:.3g}: rounding"):
        computed(params)
    assert np.isnan(np.asarray(jax.jit(computed)(params)[1], float)).all()


@pytest.mark.parametrize(
    ("dtype", "distance", "near"), [("float32", 1e-4, 1e-2), ("float16", 0.1, 5e-2)]
)
def test_a_distance_that_is_long_enough_is_taken(dtype, distance, near):
    computed = ig.gradient_regularized_value_and_grad(
        lambda p: (p**2).sum() / 2, 0.2, method="finite_difference", distance=distance
    )
    for way in (computed, jax.jit(computed)):
        np.testing.assert_allclose(
            np.asarray(way(jnp.asarray([1.0, 2.0], dtype))[1], float), [1.4, 2.8], rtol=near
        )


def test_the_default_distance_is_that_of_the_coarsest_array():
    params = {"fine": jnp.asarray([1.0, 2.0]), "coarse": jnp.asarray([3.0], jnp.float32)}
    computed = ig.gradient_regularized_value_and_grad(
        lambda p: ((p["fine"] ** 2).sum() + (p["coarse"] ** 2).sum()) / 2,
        0.2,
        method="finite_difference",
    )
    found = computed(params)[1]
    np.testing.assert_allclose(flat(found), [4.2, 1.4, 2.8], rtol=1e-3)


@pytest.mark.slow
def test_what_the_regularizer_and_a_product_with_the_hessian_cost():
    """In gradients, by the arithmetic that the compiler counts, as the docstrings say."""
    keys = jax.random.split(jax.random.key(0), 3)
    sizes = ((64, 100), (100, 100), (100, 10))
    params = [jax.random.normal(k, s) / s[0] ** 0.5 for k, s in zip(keys, sizes, strict=True)]
    x = jnp.ones((256, 64))

    def loss(weights):
        return jnp.mean((jnp.tanh(jnp.tanh(x @ weights[0]) @ weights[1]) @ weights[2]) ** 2)

    def flops(function):
        return jax.jit(function).lower(params).compile().cost_analysis()["flops"]

    plain = flops(jax.value_and_grad(loss))
    regularizer = ig.implicit_gradient_regularizer(loss)
    both = flops(lambda p: (jax.value_and_grad(loss)(p), regularizer(p)))
    assert both / plain == pytest.approx(1, abs=0.02)
    product = flops(lambda p: jax.jvp(jax.grad(loss), (p,), (p,))[1])
    assert product / plain == pytest.approx(2, abs=0.4)
    step = flops(ig.gradient_regularized_value_and_grad(loss, 0.1))
    assert 2 < step / plain < 3

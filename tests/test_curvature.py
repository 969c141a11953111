"""igrlib.curvature against dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import largest_array

import igrlib as ig
from igrlib import curvature


def spectrum(eigenvalues, seed=0):
    """A loss whose Hessian has these eigenvalues, and a point to start from."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues),) * 2))
    matrix = jnp.asarray(basis @ np.diag(eigenvalues) @ basis.T)
    return lambda theta: theta @ matrix @ theta / 2, jnp.asarray(rng.normal(size=len(eigenvalues)))


@pytest.mark.slow
def test_eigenvalues_are_those_of_the_dense_hessian_with_their_residuals():
    def loss(theta):
        return jnp.sin(theta).prod() + (theta**2).sum() ** 2 / 4 - theta[0] * theta[1] ** 2

    theta = jnp.asarray(np.random.default_rng(1).normal(size=7))
    dense = np.linalg.eigvalsh(jax.hessian(loss)(theta))[::-1]
    found = curvature.hessian_eigenvalues(loss, 7)(theta)
    np.testing.assert_allclose(found.value, dense, rtol=1e-9, atol=1e-9)
    assert (found.residual < 1e-7).all()
    # With few products the residual says how far the nearest eigenvalue may be.
    rough = curvature.hessian_eigenvalues(loss, 2, num_matvecs=3)(theta)
    nearest = np.abs(np.asarray(rough.value)[:, None] - dense).min(1)
    assert (nearest <= rough.residual + 1e-12).all()
    assert rough.residual[0] > 1e-3
    one = curvature.largest_hessian_eigenvalue(loss, num_matvecs=3)(theta)
    np.testing.assert_allclose(one.value, rough.value[0], rtol=1e-12)
    assert one.value < dense[0]


@pytest.mark.slow
def test_the_largest_is_the_largest_algebraic():
    loss, theta = spectrum([-50.0, -3.0, 0.5, 2.0])
    assert float(curvature.largest_hessian_eigenvalue(loss)(theta).value) == pytest.approx(2.0)


@pytest.mark.slow
def test_repeated_eigenvalues_are_found_and_what_is_not_there_is_nan():
    loss, theta = spectrum([4.0, 4.0, 4.0, 1.0, 1.0])
    found = curvature.hessian_eigenvalues(loss, 6)(theta)
    assert float(found.value[0]) == pytest.approx(4.0)
    there = np.isfinite(found.value)
    assert 2 <= there.sum() <= 5
    assert {round(float(value), 9) for value in found.value[there]} == {4.0, 1.0}
    assert (found.residual[there] < 1e-9).all()
    assert np.isnan(found.residual[~there]).all()
    no_curvature = curvature.hessian_eigenvalues(lambda theta: theta.sum(), 2)(theta)
    np.testing.assert_allclose(no_curvature.value[0], 0, atol=1e-12)


@pytest.mark.slow
def test_at_a_minimum_and_in_a_coordinate_that_the_gradient_does_not_see():
    """The gradient is 0, or has no part along the largest eigenvector: the random vector has."""
    loss, theta = spectrum([9.0, 2.0, 1.0])
    for at in (0 * theta, theta):
        assert float(curvature.largest_hessian_eigenvalue(loss)(at).value) == pytest.approx(9.0)
    separate = curvature.largest_hessian_eigenvalue(lambda p: 8 * p[0] ** 2 + p[1] ** 2)
    assert float(separate(jnp.array([0.0, 1.0])).value) == pytest.approx(16.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtypes", "tolerance"),
    [
        (("float64", "float64"), 1e-10),
        (("float32", "float64"), 1e-5),
        (("float32", "float32"), 1e-5),
        (("bfloat16", "float32"), 0.05),
    ],
)
def test_any_pytree_in_any_precision(dtypes, tolerance):
    first, second = dtypes
    params = {"a": jnp.array([[0.5, -1.5]], first), "b": (jnp.array(1.25, second), {})}

    def loss(p):
        # A diagonal Hessian: 12θ².
        return sum((leaf**4).sum() for leaf in jax.tree.leaves(p))

    found = curvature.largest_hessian_eigenvalue(loss)(params)
    np.testing.assert_allclose(found.value, 12 * 1.5**2, rtol=tolerance)
    assert found.value.dtype == (jnp.float64 if second == "float64" else jnp.float32)


def test_under_jit_with_arguments_and_aux():
    def loss(theta, scale, *, shift):
        return scale * ((theta - shift) ** 2).sum(), {"shift": shift}

    found = curvature.largest_hessian_eigenvalue(loss, has_aux=True)
    compiled = jax.jit(lambda p, s: found(p, s, shift=1.0))(jnp.ones(3), 5.0)
    assert float(compiled.value) == pytest.approx(10.0)


def test_no_hessian_is_formed():
    def loss(theta):
        return (jnp.sin(theta) ** 2).sum() + (theta[1:] * theta[:-1]).sum()

    n, k = 2_000, 6
    measure = curvature.hessian_eigenvalues(loss, 2, num_matvecs=k)
    assert largest_array(measure, jnp.linspace(0, 1, n)) <= (k + 1) * n


@pytest.mark.slow
def test_the_sharpness_of_batches_by_hand():
    rng = np.random.default_rng(2)
    x, y = jnp.asarray(rng.normal(size=(5, 8, 3))), jnp.asarray(rng.normal(size=(5, 8)))
    theta = jnp.asarray(rng.normal(size=3))

    def loss(p, x, y):
        return jnp.mean((jnp.tanh(x @ p) - y) ** 2)

    curved, squared = [], []
    for one in zip(x, y, strict=True):
        g, hessian = jax.grad(loss)(theta, *one), jax.hessian(loss)(theta, *one)
        curved.append(float(g @ hessian @ g))
        squared.append(float(g @ g))
    found = curvature.batch_sharpness(loss)(theta, (x, y))
    np.testing.assert_allclose(found.ratio_of_means, np.mean(curved) / np.mean(squared), rtol=1e-12)
    ratios = np.array(curved) / squared
    np.testing.assert_allclose(found.mean_of_ratios, ratios.mean(), rtol=1e-12)
    assert abs(float(found.ratio_of_means) / ratios.mean() - 1) > 0.01
    with_aux = curvature.batch_sharpness(lambda *a: (loss(*a), None), has_aux=True)
    np.testing.assert_allclose(with_aux(theta, (x, y)), found, rtol=1e-14)


def test_of_one_batch_it_is_at_most_the_largest_eigenvalue():
    loss, theta = spectrum([7.0, 2.0, -1.0])
    whole = curvature.batch_sharpness(lambda p, _: loss(p))(theta, (jnp.zeros(1),))
    largest = curvature.largest_hessian_eigenvalue(loss)(theta).value
    assert float(whole.ratio_of_means) <= float(largest)
    # Along its own eigenvector a gradient has the eigenvalue.
    vector = np.linalg.eigh(jax.hessian(loss)(theta))[1][:, -1]
    along = curvature.batch_sharpness(lambda p, _: loss(p))(jnp.asarray(vector), (jnp.zeros(1),))
    assert float(along.mean_of_ratios) == pytest.approx(7.0)


@pytest.mark.usefixtures("without_type_hook")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: curvature.hessian_eigenvalues(f, 0), ValueError, "k must be at least 1, got 0"),
        (
            lambda f: curvature.hessian_eigenvalues(f, 5, num_matvecs=4),
            ValueError,
            "num_matvecs must be at least 5, got 4",
        ),
        (
            lambda f: curvature.largest_hessian_eigenvalue(f, num_matvecs=2.0),
            TypeError,
            "num_matvecs must be an integer",
        ),
        (
            lambda f: curvature.batch_sharpness(f)(jnp.ones(2), (jnp.ones(3), jnp.ones(2))),
            ValueError,
            "batches must have one leading axis",
        ),
        (
            lambda f: curvature.largest_hessian_eigenvalue(lambda p: p)(jnp.ones(2)),
            ValueError,
            "loss must return a scalar",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(lambda p, *_: (p**2).sum())


def test_the_edge_of_descent_is_found_where_it_is():
    """h·λ_max = 2 parts steps that shrink from steps that grow, on a quadratic."""
    loss, theta = spectrum([3.0, 1.0, 0.2])
    largest = float(curvature.largest_hessian_eigenvalue(loss)(theta).value)
    for factor, grows in ((1.9, False), (2.1, True)):
        run = ig.gradient_descent(loss, theta, factor / largest, 200)
        assert bool(run.losses[-1] > run.losses[0]) == grows

"""igrlib.geometry against NumPy, finite differences and areas of surfaces known in closed form."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from helpers import (
    ALL_DTYPES,
    HALF,
    central_difference,
    coarsest_eps,
    cubic_gradient_numpy,
    cubic_loss,
    cubic_loss_numpy,
    few_examples,
    flat,
    largest_array,
    pytrees,
)
from hypothesis import given

import igrlib as ig
from igrlib import geometry

THETA = np.array([0.3, -0.7, 1.1, 0.2])
TREE = {"w": jnp.asarray(THETA[:3]), "b": (jnp.asarray(THETA[3]),)}
# E = (Σθ)²/2 + Σθ³/3 at THETA: flat() puts b before w.
GRADIENT = cubic_gradient_numpy(THETA)
FLAT_GRADIENT = np.roll(GRADIENT, 1)
SQUARES = (GRADIENT**2).sum()


def test_slope_angle_and_volume_are_their_formulas():
    np.testing.assert_allclose(geometry.slope(cubic_loss)(TREE), np.sqrt(SQUARES), rtol=1e-14)
    np.testing.assert_allclose(
        geometry.angle(cubic_loss)(TREE), np.arccos(1 / np.sqrt(1 + SQUARES)), rtol=1e-12
    )
    np.testing.assert_allclose(
        geometry.volume_element(cubic_loss)(TREE), np.sqrt(1 + SQUARES), rtol=1e-14
    )


@pytest.mark.slow
@few_examples
@given(pytrees(ALL_DTYPES))
def test_relations_between_the_quantities(params):
    """m·R_IG = slope² = tan²α = √det g² − 1, and the height of the normal is cos α."""

    @jax.jit
    def all_of_them(params):
        return (
            ig.implicit_gradient_regularizer(cubic_loss)(params),
            geometry.slope(cubic_loss)(params),
            geometry.angle(cubic_loss)(params),
            geometry.volume_element(cubic_loss)(params),
            geometry.normal_vector(cubic_loss)(params).height,
        )

    outcome = all_of_them(params)
    assert all(jnp.finfo(x.dtype).bits >= 32 and x.shape == () for x in outcome)
    regularizer, slope, angle, volume, height = (float(x) for x in outcome)
    rtol = 20 * min(coarsest_eps(params), float(jnp.finfo(jnp.float32).eps))
    np.testing.assert_allclose(slope**2, flat(params).size * regularizer, rtol=rtol)
    np.testing.assert_allclose(np.tan(angle), slope, rtol=rtol)
    np.testing.assert_allclose(volume, np.hypot(1, slope), rtol=rtol)
    np.testing.assert_allclose(height, np.cos(angle), rtol=rtol)
    # And all of them against NumPy.
    expected = np.linalg.norm(cubic_gradient_numpy(flat(params)))
    np.testing.assert_allclose(slope, expected, rtol=16 * coarsest_eps(params))


@pytest.mark.slow
@few_examples
@given(pytrees(low=-1.0, high=1.0))
def test_the_normal_is_a_unit_vector_upright_on_every_tangent(params):
    normal = jax.jit(geometry.normal_vector(cubic_loss))(params)
    assert isinstance(normal, geometry.NormalVector)
    assert jax.tree.structure(normal.params) == jax.tree.structure(params)
    along, height = flat(normal.params), float(normal.height)
    assert height > 0
    np.testing.assert_allclose(np.hypot(np.linalg.norm(along), height), 1, rtol=1e-14)
    # The tangent vectors (e_i, ∂E/∂θ_i), by finite differences.
    rises = central_difference(cubic_loss_numpy, flat(params))
    np.testing.assert_allclose(along + height * rises, 0, atol=1e-9)


def test_the_normal_keeps_the_dtypes_of_the_parameters():
    params = {"h": jnp.ones(2, jnp.bfloat16), "s": jnp.ones(3, jnp.float32), "d": jnp.ones(1)}
    normal = jax.eval_shape(geometry.normal_vector(cubic_loss), params)
    for name, leaf in normal.params.items():
        assert leaf.dtype == params[name].dtype
        assert leaf.shape == params[name].shape


def test_a_flat_point_and_a_tilted_plane():
    """At a minimum the normal points up; on a plane of slope 1 it leans by π/4 everywhere."""

    def bowl(p):
        return (p**2).sum()

    zero = jnp.zeros(3)
    assert float(geometry.slope(bowl)(zero)) == 0
    assert float(geometry.angle(bowl)(zero)) == 0
    assert float(geometry.volume_element(bowl)(zero)) == 1
    np.testing.assert_array_equal(flat(geometry.normal_vector(bowl)(zero)), [0, 0, 0, 1])

    def plane(p):
        return p["a"] * 0.6 + p["b"] * 0.8

    for at in (-3.0, 5.0):
        params = {"a": at, "b": 2 * at}
        np.testing.assert_allclose(geometry.slope(plane)(params), 1, rtol=1e-15)
        np.testing.assert_allclose(geometry.angle(plane)(params), np.pi / 4, rtol=1e-15)
        np.testing.assert_allclose(geometry.volume_element(plane)(params), np.sqrt(2), rtol=1e-15)


def test_small_angles_keep_their_digits():
    """tan α = 1e-9: the arccos of a height of 1 − 5e-19 would give 0."""
    found = geometry.angle(lambda p: 1e-9 * p)(2.0)
    np.testing.assert_allclose(found, 1e-9, rtol=1e-15)


@pytest.mark.parametrize("dtype", HALF)
def test_half_floats_neither_vanish_nor_overflow(dtype):
    for scale in (2.0**-14, 2.0**12):
        found = geometry.slope(lambda p, s=scale: (p * jnp.asarray(s, p.dtype)).sum())(
            jnp.ones(4, dtype)
        )
        assert float(found) == 2 * scale


def test_the_metric_is_the_identity_and_a_rank_one_matrix():
    metric = geometry.metric_tensor(cubic_loss)(TREE)
    expected = np.eye(4) + np.outer(FLAT_GRADIENT, FLAT_GRADIENT)
    assert isinstance(metric, lx.AbstractLinearOperator)
    np.testing.assert_allclose(metric.as_matrix(), expected, rtol=1e-13)
    vector = {"w": jnp.array([1.0, -2.0, 0.5]), "b": (jnp.array(3.0),)}
    image = metric.mv(vector)
    assert jax.tree.structure(image) == jax.tree.structure(vector)
    np.testing.assert_allclose(flat(image), expected @ flat(vector), rtol=1e-13)
    np.testing.assert_allclose(
        np.linalg.det(metric.as_matrix()),
        float(geometry.volume_element(cubic_loss)(TREE)) ** 2,
        rtol=1e-12,
    )


def test_the_metric_is_what_a_step_on_the_surface_measures():
    """⟨v, g v⟩ is the squared speed of t ↦ (θ + tv, E(θ + tv)), by a finite difference."""
    vector = np.array([1.0, -2.0, 0.5, 3.0])
    ahead, behind = (cubic_loss_numpy(THETA + t * vector) for t in (1e-5, -1e-5))
    rise = (ahead - behind) / 2e-5
    metric = geometry.metric_tensor(cubic_loss)(THETA)
    np.testing.assert_allclose(vector @ metric.mv(jnp.asarray(vector)), 14.25 + rise**2, rtol=1e-8)


def test_the_metric_can_be_inverted_by_lineax():
    """Sherman and Morrison: (I + ggᵀ)⁻¹v = v − g(gᵀv)/(1 + gᵀg)."""
    metric = geometry.metric_tensor(cubic_loss)(TREE)
    vector = {"w": jnp.array([1.0, -2.0, 0.5]), "b": (jnp.array(3.0),)}
    v = flat(vector)
    expected = v - FLAT_GRADIENT * (FLAT_GRADIENT @ v) / (1 + SQUARES)
    for solver in (lx.AutoLinearSolver(well_posed=True), lx.CG(rtol=1e-12, atol=1e-12)):
        found = lx.linear_solve(metric, vector, solver).value
        np.testing.assert_allclose(flat(found), expected, rtol=1e-9, atol=1e-10)
    assert lx.is_symmetric(metric)
    assert lx.is_positive_semidefinite(metric)


def test_the_metric_is_not_formed_unless_asked():
    m = 301
    theta = jnp.linspace(-1, 1, m)

    def apply(theta, vector):
        return geometry.metric_tensor(cubic_loss)(theta).mv(vector)

    def form(theta):
        return geometry.metric_tensor(cubic_loss)(theta).as_matrix()

    assert largest_array(form, theta) >= m * m
    assert largest_array(apply, theta, theta) <= 2 * m
    assert largest_array(geometry.volume_element(cubic_loss), theta) <= 2 * m


def test_the_volume_element_measures_areas():
    """A cap of the unit sphere, E = √(1 − a² − b²) over a disc of radius r: 2π(1 − √(1 − r²))."""

    def sphere(p):
        return jnp.sqrt(1 - p["a"] ** 2 - p["b"] ** 2)

    nodes, weights = np.polynomial.legendre.leggauss(24)
    radius = 0.8
    r, w = radius * (nodes + 1) / 2, radius * weights / 2
    angles = np.arange(12) * np.pi / 6
    grid = {"a": np.outer(r, np.cos(angles)).ravel(), "b": np.outer(r, np.sin(angles)).ravel()}
    volume = jax.vmap(geometry.volume_element(sphere))(grid).reshape(24, 12)
    area = np.sum(np.asarray(volume).mean(axis=1) * 2 * np.pi * r * w)
    np.testing.assert_allclose(area, 2 * np.pi * (1 - np.sqrt(1 - radius**2)), rtol=1e-10)


TRANSFORMS = {
    "slope": geometry.slope,
    "angle": geometry.angle,
    "volume_element": geometry.volume_element,
    "normal_vector": geometry.normal_vector,
}


def shifted_loss(params, target, *, scale=1.0):
    """As `cubic_loss`, with an auxiliary value."""
    return scale * cubic_loss(params, target), {"scale": scale}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_arguments_keywords_and_aux_pass_through(name):
    found, aux = TRANSFORMS[name](shifted_loss, has_aux=True)(TREE, 0.4, scale=2.0)
    assert aux == {"scale": 2.0}
    gradient = 2 * np.roll(cubic_gradient_numpy(THETA, 0.4), 1)
    squares = (gradient**2).sum()
    expected = {
        "slope": np.sqrt(squares),
        "angle": np.arctan(np.sqrt(squares)),
        "volume_element": np.sqrt(1 + squares),
        "normal_vector": np.append(-gradient, 1) / np.sqrt(1 + squares),
    }[name]
    np.testing.assert_allclose(flat(found).squeeze(), expected, rtol=1e-13)


def test_aux_passes_through_the_metric():
    metric, aux = geometry.metric_tensor(shifted_loss, has_aux=True)(TREE, 0.4, scale=2.0)
    assert aux == {"scale": 2.0}
    gradient = 2 * np.roll(cubic_gradient_numpy(THETA, 0.4), 1)
    np.testing.assert_allclose(
        metric.as_matrix(), np.eye(4) + np.outer(gradient, gradient), rtol=1e-13
    )


@pytest.mark.parametrize("name", TRANSFORMS)
def test_jit_vmap_and_no_second_trace(name):
    traces = []

    def loss(params, target):
        traces.append(1)
        return cubic_loss(params, target)

    measure = TRANSFORMS[name](loss)
    targets = jnp.array([0.0, 0.4])
    compiled = jax.jit(measure)
    one_by_one = [flat(compiled(TREE, target)) for target in targets]
    assert len(traces) == 1
    assert not np.allclose(*one_by_one)
    together = jax.vmap(lambda target: measure(TREE, target))(targets)
    for k, one in enumerate(one_by_one):
        found = jax.tree.map(lambda leaf, k=k: leaf[k], together)
        np.testing.assert_allclose(flat(found), one, rtol=1e-13)


def test_gradients_against_finite_differences():
    for name in ("slope", "angle", "volume_element"):
        measure = jax.jit(TRANSFORMS[name](cubic_loss))
        expected = central_difference(lambda theta, f=measure: float(f(theta)), THETA)
        np.testing.assert_allclose(jax.jit(jax.grad(measure))(THETA), expected, rtol=1e-7)


def test_the_metric_under_jit_vmap_and_grad():
    def length(theta, vector):
        return vector @ geometry.metric_tensor(cubic_loss)(theta).mv(vector)

    vector = jnp.array([1.0, -2.0, 0.5, 3.0])
    expected = 14.25 + (GRADIENT @ vector) ** 2
    np.testing.assert_allclose(jax.jit(length)(THETA, vector), expected, rtol=1e-13)
    np.testing.assert_allclose(
        jax.vmap(length, (None, 0))(jnp.asarray(THETA), jnp.stack([vector, 2 * vector])),
        [expected, 4 * expected],
        rtol=1e-13,
    )
    slope = jax.grad(length, argnums=1)(jnp.asarray(THETA), vector)
    np.testing.assert_allclose(slope, 2 * (vector + (GRADIENT @ vector) * GRADIENT), rtol=1e-13)

"""The principal and the rod flow, against gradient descent and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import igrlib as ig
from igrlib import edge

VALUES = np.array([3.0, 1.5, 0.5, -0.4])
ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
HESSIAN = ROTATION * VALUES @ ROTATION.T
START = np.array([1.0, -2.0, 0.5, 1.5])


def quadratic(theta):
    return theta @ jnp.asarray(HESSIAN) @ theta / 2


def smooth(params, scale):
    x, y = params["x"], params["y"]
    return scale * (jnp.sin(x[0]) * y + 0.5 * x[1] ** 2 * y**2 + x[0] ** 4 / 4 + x[1] * y)


POINT = {"x": np.array([0.4, -0.3]), "y": 0.7}


def descent(params, h, steps, scale):
    """Written out here: x and y one after the other."""
    (a, b), y = np.asarray(params["x"]), params["y"]
    for _ in range(steps):
        da = scale * (np.cos(a) * y + a**3)
        db = scale * (b * y**2 + y)
        dy = scale * (np.sin(a) + b**2 * y + b)
        a, b, y = a - h * da, b - h * db, y - h * dy
    return np.array([a, b, y])


def vector(params):
    return np.concatenate([np.ravel(params["x"]), np.ravel(params["y"])])


@pytest.mark.slow
@pytest.mark.parametrize("h", [0.1, 0.3, 0.6])
def test_the_principal_flow_is_exact_on_quadratics_up_to_the_sign(h):
    field = edge.principal_field(quadratic, h, num_directions=4)
    steps = 3
    end = ig.flow(field, START, np.array([0.0, steps * h]))[-1]
    expected = np.abs(1 - h * VALUES) ** steps * (ROTATION.T @ START)
    np.testing.assert_allclose(ROTATION.T @ end, expected, rtol=1e-7)
    if h * VALUES.max() < 1:
        step = np.linalg.matrix_power(np.eye(4) - h * HESSIAN, steps)
        np.testing.assert_allclose(end, step @ START, rtol=1e-7)


@pytest.mark.slow
def test_the_principal_flow_is_of_local_order_three_whatever_the_directions():
    steps = np.array([0.1, 0.05, 0.025])
    for num_directions in (1, 3):
        errors = []
        for h in steps:
            field = edge.principal_field(smooth, h, num_directions=num_directions)
            end = ig.flow(field, POINT, np.array([0.0, h]), 1.0)
            last = {"x": end["x"][-1], "y": end["y"][-1]}
            errors.append(np.linalg.norm(vector(last) - descent(POINT, h, 1, 1.0)))
        assert ig.convergence_order(steps, np.array(errors)) == pytest.approx(3, abs=0.2)


def test_the_other_directions_follow_the_first_order_field():
    h = 0.3
    found = edge.principal_field(quadratic, h, num_directions=2)(START)
    z, g = h * VALUES, VALUES * (ROTATION.T @ START)
    factor = np.where(np.arange(4) < 2, np.log(np.abs(1 - z)) / z, -(1 + z / 2))
    np.testing.assert_allclose(found, ROTATION @ (factor * g), rtol=1e-10)


@pytest.mark.slow
def test_too_few_directions_for_the_principal_flow():
    field = edge.principal_field(quadratic, 1.5, num_directions=1)  # hλ = 4.5, 2.25
    with pytest.raises(ValueError, match=r"num_directions=1 are too few.* 2\.25/h"):
        field(START)
    assert np.isnan(jax.jit(field)(START)).all()
    with pytest.raises(RuntimeError, match="left the finite numbers"):
        ig.flow(field, START, np.array([0.0, 1.0]))
    assert np.isfinite(edge.principal_field(quadratic, 1.5, num_directions=2)(START)).all()


def test_where_the_gradient_is_zero_nothing_moves():
    field = edge.principal_field(quadratic, 0.1, num_directions=2)
    np.testing.assert_array_equal(field(np.zeros(4)), np.zeros(4))


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_rod_flow_has_its_order(order):
    rates, errors = np.array([0.1, 0.05, 0.025]), []
    for h in rates:
        rod = edge.rod_flow(smooth, POINT, h, np.array([0.0, 0.8]), 1.0, order=order)
        early = vector(
            {
                "x": (rod.centre["x"] - rod.half_difference["x"])[-1],
                "y": (rod.centre["y"] - rod.half_difference["y"])[-1],
            }
        )
        late = vector(
            {
                "x": (rod.centre["x"] + rod.half_difference["x"])[-1],
                "y": (rod.centre["y"] + rod.half_difference["y"])[-1],
            }
        )
        steps = round(0.8 / h)
        errors.append(np.linalg.norm(early - descent(POINT, h, steps, 1.0)))
        beyond = np.linalg.norm(late - descent(POINT, h, steps + 1, 1.0))
        assert beyond < 2 * errors[-1]
    assert ig.convergence_order(rates, np.array(errors)) == pytest.approx(order, abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 4])
def test_the_rod_flow_of_a_quadratic_is_the_series_of_the_logarithm(order):
    h = 0.6  # hλ = 1.8, near the edge.
    rod = edge.rod_flow(quadratic, START, h, np.array([0.0, 2 * h]), order=order)
    u = 1 - (1 - h * VALUES) ** 2
    power = sum(u**j / j for j in range(1, order + 1))
    ends = ROTATION.T @ (rod.centre - rod.half_difference)[-1]
    np.testing.assert_allclose(ends, np.exp(-power) * (ROTATION.T @ START), rtol=1e-7)


@pytest.mark.slow
def test_the_rod_flow_ends_in_an_orbit_of_two_steps():
    """For E = λx²/2 − x⁴/4 with hλ > 2 steps end at ±√(λ − 2/h), where the slope is 2x/h."""
    h, strength = 1.0, 2.3
    rod = edge.rod_flow(lambda x: strength * x**2 / 2 - x**4 / 4, 0.1, h, np.array([0.0, 80.0]))
    np.testing.assert_allclose(rod.centre[-1], 0, atol=1e-6)
    np.testing.assert_allclose(abs(rod.half_difference[-1]), np.sqrt(strength - 2 / h), rtol=1e-6)


@pytest.mark.slow
def test_float32_stays_float32():
    start = jnp.asarray(START, jnp.float32)

    def loss(theta):
        return theta @ jnp.asarray(HESSIAN, jnp.float32) @ theta / 2

    rod = edge.rod_flow(loss, start, 0.1, jnp.arange(2.0), order=1)
    assert rod.centre.dtype == rod.half_difference.dtype == jnp.float32
    assert edge.principal_field(loss, 0.1, num_directions=1)(start).dtype == jnp.float32

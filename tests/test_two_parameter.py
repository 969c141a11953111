"""igrlib.two_parameter against automatic differentiation, NumPy, SymPy and SciPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import sympy
from helpers import few_examples, flat
from hypothesis import given
from hypothesis import strategies as st

import igrlib as ig
from igrlib import two_parameter as tp

numbers = st.floats(-3, 3)
A, B, X, Y, RATE = sympy.symbols("a b x y lambda", real=True)
LOSS = (Y - A * B * X) ** 2 / 2
R_IG = (LOSS.diff(A) ** 2 + LOSS.diff(B) ** 2) / 2
# What SymPy derives from the loss alone, as NumPy functions of a, b, x, y and the rate.
BY_SYMPY = {
    "loss": sympy.lambdify((A, B, X, Y), LOSS),
    "gradient": sympy.lambdify((A, B, X, Y), [LOSS.diff(v) for v in (A, B)]),
    "regularizer": sympy.lambdify((A, B, X, Y), R_IG),
    "hessian": sympy.lambdify((A, B, X, Y), sympy.hessian(LOSS, (A, B))),
    "modified_gradient": sympy.lambdify(
        (A, B, X, Y, RATE), [(LOSS + RATE * R_IG).diff(v) for v in (A, B)]
    ),
}


@few_examples
@given(numbers, numbers, numbers, numbers, st.floats(0, 1))
def test_closed_forms_against_sympy(a, b, x, y, rate):
    params = tp.Params(jnp.asarray(a), jnp.asarray(b))
    close = {"rtol": 1e-12, "atol": 1e-10}
    np.testing.assert_allclose(tp.model(params, x), a * b * x, **close)
    np.testing.assert_allclose(tp.loss(params, x, y), BY_SYMPY["loss"](a, b, x, y), **close)
    np.testing.assert_allclose(tp.gradient(params, x, y), BY_SYMPY["gradient"](a, b, x, y), **close)
    np.testing.assert_allclose(
        tp.regularizer(params, x, y), BY_SYMPY["regularizer"](a, b, x, y), **close
    )
    np.testing.assert_allclose(
        tp.modified_gradient(params, x, y, rate),
        BY_SYMPY["modified_gradient"](a, b, x, y, rate),
        **close,
    )
    np.testing.assert_allclose(
        tp.largest_hessian_eigenvalue(params, x, y),
        np.linalg.eigvalsh(BY_SYMPY["hessian"](a, b, x, y)).max(),
        **close,
    )


PARAMS, POINT = tp.Params(jnp.array(1.3), jnp.array(-0.4)), (0.7, 0.6)


def test_closed_forms_against_igrlib():
    """Automatic differentiation of the loss, with λ = hm/4 = h/2."""
    h = 0.05
    np.testing.assert_allclose(
        tp.regularizer(PARAMS, *POINT),
        ig.implicit_gradient_regularizer(tp.loss)(PARAMS, *POINT),
        rtol=1e-14,
    )
    np.testing.assert_allclose(
        tp.gradient(PARAMS, *POINT), -flat(ig.gradient_field(tp.loss)(PARAMS, *POINT)), rtol=1e-14
    )
    rate = ig.regularization_rate(h, ig.num_params(PARAMS))
    assert rate == pytest.approx(h / 2, rel=1e-15)
    found = tp.modified_gradient(PARAMS, *POINT, rate)
    assert isinstance(found, tp.Params)
    np.testing.assert_allclose(
        found, flat(jax.grad(ig.modified_loss(tp.loss, h))(PARAMS, *POINT)), rtol=1e-13
    )
    np.testing.assert_allclose(
        tp.modified_gradient(PARAMS, *POINT, 0.5),
        flat(
            jax.grad(ig.gradient_regularized_loss(tp.loss, 0.5, normalization="mean"))(
                PARAMS, *POINT
            )
        ),
        rtol=1e-13,
    )


def test_jit_vmap_and_grad():
    ys = jnp.array([0.1, 0.6])
    found = jax.jit(jax.vmap(lambda y: tp.regularizer(PARAMS, 0.7, y)))(ys)
    expected = BY_SYMPY["regularizer"](1.3, -0.4, 0.7, np.array(ys))
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    slope = jax.grad(lambda x: tp.loss(PARAMS, x, 0.6))(0.7)
    np.testing.assert_allclose(slope, -(0.6 + 0.52 * 0.7) * -0.52, rtol=1e-13)
    path = jax.vmap(lambda p: tp.loss(p, 1.0, 0.6))(tp.Params(ys, 2 * ys))
    np.testing.assert_allclose(path, (0.6 - 2 * np.array(ys) ** 2) ** 2 / 2, rtol=1e-13)


@few_examples
@given(st.floats(0.2, 3), st.booleans(), st.floats(0.3, 2), st.floats(-2, 2))
def test_on_a_minimum_the_eigenvalue_is_r_ig_over_e(a, flip, x, y):
    a = -a if flip else a
    params = tp.Params(jnp.asarray(a), jnp.asarray(y / (x * a)))
    eigenvalue = float(tp.largest_hessian_eigenvalue(params, x, y))
    np.testing.assert_allclose(eigenvalue, x**2 * (a**2 + (y / (x * a)) ** 2), rtol=1e-9)
    near = tp.Params(params.a + 1e-4, params.b)
    if abs(y) > 0.1:
        ratio = tp.regularizer(near, x, y) / tp.loss(near, x, y)
        np.testing.assert_allclose(ratio, eigenvalue, rtol=0.01)


POINTS = [(1.0, 0.6), (1.0, -0.6), (-2.0, 0.5), (0.5, 3.0), (-1.5, -2.0)]


@pytest.mark.parametrize(("x", "y"), POINTS)
def test_the_flattest_minimum(x, y):
    """Against a search along the minima ab = y/x."""
    found = tp.flattest_minimum(x, y)
    assert float(tp.loss(found, x, y)) == pytest.approx(0, abs=1e-28)
    assert float(found.a) > 0
    best = scipy.optimize.minimize_scalar(
        lambda a: np.hypot(a, y / (x * a)),
        bounds=(0.05, 5),
        method="bounded",
        options={"xatol": 1e-9},
    )
    np.testing.assert_allclose(np.hypot(*found), best.fun, rtol=1e-12)
    np.testing.assert_allclose(found, [best.x, y / (x * best.x)], rtol=1e-6)
    # Flattest: no minimum has a smaller largest eigenvalue.
    curvatures = [
        tp.largest_hessian_eigenvalue(tp.Params(a, y / (x * a)), x, y)
        for a in np.array([0.9, 1.1]) * float(found.a)
    ]
    assert tp.largest_hessian_eigenvalue(found, x, y) < min(curvatures)


def end_of_gradient_flow(start, x, y):
    def down(t, p):
        pull = x * (y - p[0] * p[1] * x)
        return [pull * p[1], pull * p[0]]

    return scipy.integrate.solve_ivp(
        down, (0, 400), start, method="LSODA", rtol=1e-11, atol=1e-12
    ).y[:, -1]


STARTS = [(2.8, 3.5), (3.5, 2.8), (-2.8, -3.5), (-3.5, 2.0), (0.5, -2.0), (2.0, -0.5), (-1.5, 0.0)]


@pytest.mark.parametrize("start", [*STARTS, (0.0, 1.5)])
@pytest.mark.parametrize(("x", "y"), [(1.0, 0.6), (-0.8, 0.7)])
def test_where_gradient_flow_ends(start, x, y):
    found = tp.minimum_on_flow(tp.Params(*map(jnp.asarray, start)), x, y)
    np.testing.assert_allclose(found, end_of_gradient_flow(start, x, y), rtol=1e-7, atol=1e-9)


def test_the_end_of_the_flow_where_the_minima_cross():
    end = tp.minimum_on_flow(tp.Params(jnp.array(1.0), jnp.array(1.0)), 1.0, 0.0)
    np.testing.assert_allclose(end, (0, 0), atol=1e-12)


def test_the_end_of_the_flow_from_the_settings():
    """On ab = y/x exactly, and on the hyperbola a² − b² of the start, near or far."""
    for setting in (tp.POINT_I, tp.POINT_II, tp.Setting(tp.Params(1e4, 3.0))):
        end = tp.minimum_on_flow(setting.start, setting.x, setting.y)
        np.testing.assert_allclose(float(end.a * end.b), setting.y / setting.x, rtol=1e-10)
        a, b = setting.start
        np.testing.assert_allclose(float(end.a**2 - end.b**2), a**2 - b**2, rtol=1e-10)


def test_settings_are_table_a_1():
    assert dataclasses.asdict(tp.POINT_I) == {
        "start": (2.8, 3.5),
        "x": 1.0,
        "y": 0.6,
        "h_small": 1e-3,
        "h_moderate": 2.5e-2,
        "h_large": 1.8e-1,
        "mu": 0.5,
        "h_euler": 1e-4,
    }
    assert dataclasses.asdict(tp.POINT_II) == {
        "start": (75.0, 74.925),
        "x": 1.0,
        "y": 0.6,
        "h_small": 1e-6,
        "h_moderate": 0.5e-4,
        "h_large": None,
        "mu": 4.1e-2,
        "h_euler": 5e-7,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        tp.POINT_I.mu = 0.1

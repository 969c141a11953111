"""The two-parameter model f(x; a, b) = abx of Section 5, with its closed forms.

One data point (x, y) and the loss E = (y − abx)²/2. Every function takes `(params, x, y)` with
`params` a `Params` of two scalars; closed forms stand beside automatic differentiation in the
tests. Source: Section 5 and Appendix A.4; chapter 3, *Two parameters*.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from igrlib._typing import Scalar

__all__ = [
    "POINT_I",
    "POINT_II",
    "Params",
    "Setting",
    "flattest_minimum",
    "gradient",
    "largest_hessian_eigenvalue",
    "loss",
    "minimum_on_flow",
    "model",
    "modified_gradient",
    "regularizer",
]


class Params(NamedTuple):
    """The parameters θ = (a, b), two scalars, or two arrays along a trajectory.

    Source: Section 5; chapter 3.
    """

    a: Scalar
    b: Scalar


@dataclass(frozen=True)
class Setting:
    """One column of Table A.1: a starting point, the data point and the step sizes.

    Source: Table A.1; chapter 3.
    """

    start: Params
    x: float = 1.0
    y: float = 0.6
    h_small: float = 1e-3
    """The learning rate h_S that follows gradient flow."""
    h_moderate: float = 2.5e-2
    """The learning rate h_M that follows the modified flow."""
    h_large: float | None = 1.8e-1
    """The learning rate h_L of Figure A.1, beyond the theory; the paper has one at point I only."""
    mu: float = 0.5
    """The explicit regularization rate μ, in the convention of eq. (A.31)."""
    h_euler: float = 1e-4
    """The step with which the paper integrates the modified flow and the regularized one."""


POINT_I = Setting(Params(2.8, 3.5))
POINT_II = Setting(
    Params(75.0, 74.925), h_small=1e-6, h_moderate=0.5e-4, h_large=None, mu=4.1e-2, h_euler=5e-7
)


def model(params: Params, x: Scalar) -> Array:
    """The output f(x; a, b) = abx. Source: Section 5; chapter 3.

    Example:
        >>> float(ig.two_parameter.model(ig.two_parameter.Params(2.0, 3.0), 0.5))
        3.0
    """
    return jnp.asarray(params.a * params.b * x)


def loss(params: Params, x: Scalar, y: Scalar) -> Array:
    """E = (y − abx)²/2. Source: eq. (A.24); chapter 3.

    Example:
        >>> float(ig.two_parameter.loss(ig.two_parameter.Params(1.0, 2.0), 1.0, 1.0))
        0.5
    """
    return (y - model(params, x)) ** 2 / 2


def gradient(params: Params, x: Scalar, y: Scalar) -> Params:
    """∇E = −x(y − abx)·(b, a). Source: below eq. (A.30); chapter 3.

    Example:
        >>> point = ig.two_parameter.Params(1.0, 2.0)
        >>> slope = ig.two_parameter.gradient(point, 1.0, 1.0)
        >>> float(slope.a), float(slope.b)
        (2.0, 1.0)
    """
    pull = -x * (y - model(params, x))
    return Params(pull * params.b, pull * params.a)


def regularizer(params: Params, x: Scalar, y: Scalar) -> Array:
    """R_IG = (a² + b²)·x²·E. Source: Section 5 and eq. (A.25); chapter 3.

    Differs from the paper: the middle expression of eq. (A.25) lacks 1/m = ½.

    Example:
        >>> point = ig.two_parameter.Params(1.0, 2.0)
        >>> float(ig.two_parameter.regularizer(point, 1.0, 1.0))
        2.5
    """
    return _squared_length(params) * x**2 * loss(params, x, y)


def modified_gradient(params: Params, x: Scalar, y: Scalar, regularization_rate: Scalar) -> Params:
    """∇Ẽ = (1 + λx²‖θ‖²)∇E + 2λx²E·θ for λ = `regularization_rate` (λ = h/2, or μ).

    The last term is the central field that points at the origin.

    Source: eqs. (A.27), (A.28), Remark A.12; chapter 3.

    Example:
        >>> theta = ig.two_parameter.Params(1.0, 2.0)
        >>> slope = ig.two_parameter.modified_gradient(theta, 1.0, 1.0, 0.5)
        >>> float(slope.a), float(slope.b)
        (7.5, 4.5)
    """
    stretch = 1 + regularization_rate * x**2 * _squared_length(params)
    central = 2 * regularization_rate * x**2 * loss(params, x, y)
    slope = gradient(params, x, y)
    return Params(
        stretch * slope.a + central * params.a,
        stretch * slope.b + central * params.b,
    )


def largest_hessian_eigenvalue(params: Params, x: Scalar, y: Scalar) -> Array:
    """λ_max of ∇²E, at any point; on the minima ab = y/x it is x²(a² + b²) = R_IG/E.

    Source: not in the paper; chapter 3.

    Example:
        >>> theta = ig.two_parameter.Params(1.0, 2.0)  # a minimum for y/x = 2
        >>> float(ig.two_parameter.largest_hessian_eigenvalue(theta, 1.0, 2.0))
        5.0
    """
    diagonal = x**2 * _squared_length(params)
    off_diagonal = x * (2 * x * params.a * params.b - y)
    difference = x**2 * (params.a**2 - params.b**2)
    return (diagonal + jnp.sqrt(difference**2 + 4 * off_diagonal**2)) / 2


def flattest_minimum(x: float, y: float) -> Params:
    """The minimum of least ‖θ‖ in the quadrant a > 0: a = √|y/x| and b = ±a, with ab = y/x.

    Source: Figure 1, the cross; chapter 3.

    Example:
        >>> [float(side) for side in ig.two_parameter.flattest_minimum(1.0, -4.0)]
        [2.0, -2.0]
    """
    side = jnp.sqrt(jnp.abs(y / x))
    return Params(side, jnp.sign(y / x) * side)


def minimum_on_flow(start: Params, x: float, y: float) -> Params:
    """Where gradient flow from `start` ends: ab = y/x on the curve a² − b² = constant.

    Of the two such points, the one in the half-plane of `start` that the flow can reach:
    a > 0 when |a_0| ≥ |b_0| and a_0 > 0, and so on by sign. This fails on the line |a_0| = |b_0|
    where a_0·b_0 and y/x differ in sign: the flow from there ends at the saddle (0, 0).

    Source: d(a² − b²)/dt = 0 along gradient flow; not in the paper; chapter 3.

    Example:
        >>> start = ig.two_parameter.Params(3.0, 0.0)
        >>> end = ig.two_parameter.minimum_on_flow(start, 1.0, 20.0)
        >>> float(end.a), float(end.b)  # ab = 20, and a² − b² = 9 as at the start
        (5.0, 4.0)
    """
    kept, product = start.a**2 - start.b**2, y / x
    total = jnp.sqrt(kept**2 + 4 * product**2)
    wide = jnp.sqrt((total + jnp.abs(kept)) / 2)
    # A quotient, and not a difference of large numbers; both are 0 where the minima cross.
    narrow = jnp.abs(product) / jnp.where(wide > 0, wide, 1)
    a_is_wide = jnp.abs(start.a) >= jnp.abs(start.b)
    sign = jnp.where(a_is_wide, jnp.sign(start.a), jnp.sign(start.b))
    first, second = sign * wide, sign * jnp.sign(product) * narrow
    return Params(jnp.where(a_is_wide, first, second), jnp.where(a_is_wide, second, first))


def _squared_length(params: Params) -> Array:
    return jnp.asarray(params.a**2 + params.b**2)

"""The loss surface S = {(θ, E(θ))} in R^(m+1): its slope, normal, angle, metric and volume.

Source: Section 3 and Appendix A.2; chapter 4, *The geometry*.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from igrlib._trees import add_scaled, inner, squared_norm, transform_of_gradient
from igrlib._typing import Filter, PyTree

__all__ = ["NormalVector", "angle", "metric_tensor", "normal_vector", "slope", "volume_element"]


class NormalVector(NamedTuple):
    """A unit vector of R^(m+1): its part along the parameters, and its height component.

    Source: Appendix A.2; chapter 4.
    """

    params: PyTree
    height: Float[Array, ""]


def slope(
    loss: Callable[..., Any], *, has_aux: bool = False, wrt: Filter | None = None
) -> Callable[..., Any]:
    """The slope tan α = ‖∇E‖ = √(m·R_IG) of the loss surface, a scalar ≥ 0.

    `loss(params, *args, **kwargs)` returns a scalar E, or `(E, aux)` with `has_aux`; the
    returned function takes the same arguments and returns the slope, or `(slope, aux)`. `wrt` and
    the errors are as in `igrlib.implicit_gradient_regularizer`, here and in the other functions of
    this module.

    Source: eqs. (A.17), (A.18), Corollary A.6.1; chapter 4.

    Example:
        >>> loss = lambda theta: theta @ theta / 2
        >>> float(ig.geometry.slope(loss)(jnp.array([3.0, 4.0])))
        5.0
    """
    return transform_of_gradient(loss, has_aux, lambda _, gradient: _norm(gradient), wrt)


def normal_vector(
    loss: Callable[..., Any], *, has_aux: bool = False, wrt: Filter | None = None
) -> Callable[..., Any]:
    """The upward unit normal N = (−∇E, 1)/√(1 + ‖∇E‖²), a `NormalVector`.

    Source: Appendix A.2, before Proposition A.6; chapter 4.

    Example:
        >>> normal = ig.geometry.normal_vector(lambda theta: theta**2 / 2)(0.75)
        >>> round(float(normal.params), 4), round(float(normal.height), 4)
        (-0.6, 0.8)
    """

    def normal(_: Array, gradient: PyTree) -> NormalVector:
        height = jax.lax.rsqrt(1 + squared_norm(gradient))
        return NormalVector(jax.tree.map(lambda g: (-height * g).astype(g.dtype), gradient), height)

    return transform_of_gradient(loss, has_aux, normal, wrt)


def angle(
    loss: Callable[..., Any], *, has_aux: bool = False, wrt: Filter | None = None
) -> Callable[..., Any]:
    """The angle α in [0, π/2) between the tangent plane and the parameter plane, in radians.

    Computed as arctan ‖∇E‖: the arccos of eq. (A.16) loses every digit of a small angle.

    Source: Proposition A.6, eqs. (A.15), (A.16); chapter 4.

    Example:
        >>> alpha = ig.geometry.angle(lambda theta: theta**2 / 2)(1.0)
        >>> round(float(alpha) / jnp.pi, 4)
        0.25
    """
    return transform_of_gradient(
        loss, has_aux, lambda _, gradient: jnp.arctan(_norm(gradient)), wrt
    )


def metric_tensor(
    loss: Callable[..., Any], *, has_aux: bool = False, wrt: Filter | None = None
) -> Callable[..., Any]:
    """The metric g = I + ∇E ∇Eᵀ of the loss surface, a `lineax` operator on pytrees like θ.

    `.mv(v)` costs O(m); the m × m matrix is formed only by `.as_matrix()`.

    Source: Remark A.8; chapter 4.

    Example:
        >>> loss = lambda theta: theta @ theta / 2
        >>> metric = ig.geometry.metric_tensor(loss)(jnp.array([3.0, 4.0]))
        >>> metric.mv(jnp.array([1.0, 0.0])).tolist()
        [10.0, 12.0]
    """

    def metric(_: Array, gradient: PyTree) -> lx.AbstractLinearOperator:
        structure = jax.eval_shape(lambda: gradient)
        return lx.FunctionLinearOperator(
            lambda vector: add_scaled(vector, inner(gradient, vector), gradient),
            structure,
            tags=(lx.symmetric_tag, lx.positive_semidefinite_tag),
        )

    return transform_of_gradient(loss, has_aux, metric, wrt)


def volume_element(
    loss: Callable[..., Any], *, has_aux: bool = False, wrt: Filter | None = None
) -> Callable[..., Any]:
    """√det g = √(1 + ‖∇E‖²), the volume of surface over a unit of parameter volume, ≥ 1.

    Source: Remark A.8; chapter 4.
    Differs from the paper: it says that det g, not its root, defines it; see the errata.

    Example:
        >>> volume = ig.geometry.volume_element(lambda theta: theta**2 / 2)(0.75)
        >>> round(float(volume), 4)
        1.25
    """
    return transform_of_gradient(
        loss, has_aux, lambda _, gradient: jnp.sqrt(1 + squared_norm(gradient)), wrt
    )


def _norm(gradient: PyTree) -> Float[Array, ""]:
    return jnp.sqrt(squared_norm(gradient))

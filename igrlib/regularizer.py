"""The implicit gradient regularizer and the losses it modifies.

Source: Sections 2 and 4, eqs. (2)-(4) and (8); chapter 2, *The theorem*.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from igrlib._checks import (
    check_finite,
    check_integer,
    check_params,
    check_positive,
    checked_loss,
    is_traced,
    wide_number,
)
from igrlib._models import of_model
from igrlib._trees import add_scaled, squared_norm, transform_of_gradient
from igrlib._typing import Filter, PyTree, Scalar

__all__ = [
    "Terms",
    "gradient_regularized_loss",
    "gradient_regularized_value_and_grad",
    "implicit_gradient_regularizer",
    "matching_mu",
    "modified_loss",
    "num_params",
    "regularization_rate",
]

Method: TypeAlias = Literal["forward_over_reverse", "reverse_over_reverse", "finite_difference"]
"""Ways to compute the product of the Hessian with the gradient."""


class Terms(NamedTuple):
    """The regularized loss E + μ‖∇E‖² as `total`, and its two parts, E and ‖∇E‖².

    Source: eq. (8); chapter 9, *Explicit regularization*.
    """

    total: Float[Array, ""]
    loss: Float[Array, ""]
    squared_gradient: Float[Array, ""]


def num_params(params: PyTree) -> int:
    """The number m of real parameters in a pytree of floating-point arrays.

    Raises `TypeError` for a leaf that is not a floating-point array, `ValueError` for an empty
    pytree.

    Source: eq. (3); chapter 2.

    Example:
        >>> ig.num_params({"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
        9
    """
    return sum(leaf.size for leaf in jax.tree.leaves(check_params(params)))


def implicit_gradient_regularizer(
    loss: Callable[..., Any], *, has_aux: bool = False, wrt: Filter | None = None
) -> Callable[..., Any]:
    """R_IG = ‖∇E‖²/m, the mean square of the loss gradient.

    `loss(params, *args, **kwargs)` returns a scalar E, or `(E, aux)` with `has_aux`. The
    returned function takes the same arguments and returns R_IG as a scalar ≥ 0, float32 or
    wider, or `(R_IG, aux)`. In float32 ‖∇E‖² is inf for ‖∇E‖ above 1.8e19; below 1e-19 it
    loses digits, then is 0. This holds wherever igrlib squares a gradient.

    It costs a gradient. In one `jax.jit` with the gradient of the loss it costs nothing more, as
    the compiler computes that once. For data that do not fit into one call see `igrlib.probe`.

    With `wrt` you can pass a whole model instead of `params`, to `loss` too. `wrt` is a filter
    that says which arrays of the model are the parameters.

    - In an Equinox module, or any pytree: a predicate, such as `eqx.is_inexact_array`, or a pytree
      of Booleans and predicates, as in `eqx.partition`. A result in the form of `params` then has
      the form of the model, with None elsewhere, as from `eqx.filter_grad`.
    - In a Flax NNX module: any filter of NNX, such as `nnx.Param`. A result in the form of
      `params` is then an `nnx.State`. `loss` gets a copy: return its changes to the copy as `aux`.

    Raises `TypeError` for parameters that are not floating-point, a loss that is not real, and a
    `wrt` that is not a filter or selects other arrays; `ValueError` for an empty pytree, for the
    whole variables of Flax instead of their "params", a loss that is not a scalar, and a `wrt` that
    selects nothing.

    Source: eq. (4); chapter 2.

    Example:
        >>> loss = lambda theta: theta @ theta / 2
        >>> float(ig.implicit_gradient_regularizer(loss)(jnp.array([3.0, 4.0])))
        12.5
        >>> import equinox as eqx
        >>> class Line(eqx.Module):
        ...     slope: jnp.ndarray
        ...     name: str
        >>> loss = lambda line, x: (line.slope * x) ** 2 / 2
        >>> regularizer = ig.implicit_gradient_regularizer(loss, wrt=eqx.is_inexact_array)
        >>> float(regularizer(Line(jnp.array(3.0), "a line"), 2.0))  # (3 · 2²)²
        144.0
    """

    def mean_square(_: Array, gradient: PyTree) -> Float[Array, ""]:
        return squared_norm(gradient) / float(num_params(gradient))

    return transform_of_gradient(loss, has_aux, mean_square, wrt)


def regularization_rate(learning_rate: Scalar, num_params: int) -> Any:
    """λ = hm/4, the rate at which gradient descent with step h penalizes R_IG.

    `learning_rate` is a finite scalar, `num_params` an integer m ≥ 1; else `TypeError` or
    `ValueError`. In λ·R_IG = (h/4)‖∇E‖² the number of parameters cancels: λ alone says nothing
    about the strength of the regularization in networks of different size. This is the rate of
    plain gradient descent: heavy ball with β has (1 + β)/(1 − β)² times as much, and for Adam no h
    makes it true (chapter 11).

    Source: eq. (3); chapter 2.

    Example:
        >>> ig.regularization_rate(0.5, 8)
        1.0
    """
    learning_rate = wide_number("learning_rate", learning_rate)
    # As a float: JAX takes a Python integer for one of 32 bits.
    return learning_rate * float(check_integer("num_params", num_params, low=1)) / 4


def modified_loss(
    loss: Callable[..., Any],
    learning_rate: Scalar,
    *,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., Any]:
    """Ẽ = E + λ·R_IG = E + (h/4)‖∇E‖², the loss whose gradient flow gradient descent follows.

    `learning_rate` is a finite scalar, traced or concrete; `loss`, `wrt` and the returned function
    are as in `implicit_gradient_regularizer`, with its errors. The learning rate may be the
    value of a schedule at a traced step n: Ẽ then has h_n/4, and one compiled program serves all
    steps.

    Source: eq. (2), Theorem 3.1; chapter 2.

    Example:
        >>> loss = lambda theta: theta @ theta / 2
        >>> start = jnp.array([3.0, 4.0])
        >>> float(ig.modified_loss(loss, 0.5)(start))  # 12.5 + 0.5/4 · 25
        15.625
        >>> import jax
        >>> schedule = lambda step: 0.5 / (1 + step)
        >>> gradient = jax.jit(lambda p, n: jax.grad(ig.modified_loss(loss, schedule(n)))(p))
        >>> gradient(start, 0).tolist(), gradient(start, 1).tolist()  # (1 + h_n/2)·θ
        ([3.75, 5.0], [3.375, 4.5])
    """
    learning_rate = wide_number("learning_rate", learning_rate)
    return gradient_regularized_loss(loss, learning_rate / 4, has_aux=has_aux, wrt=wrt)


def gradient_regularized_loss(
    loss: Callable[..., Any],
    mu: Scalar,
    *,
    normalization: Literal["sum", "mean"] = "sum",
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., Any]:
    """E_μ = E + μ‖∇E‖², the loss of explicit gradient regularization.

    `mu` is a finite scalar, traced or concrete; it may be the value of a schedule at a traced
    step. `normalization="sum"` is eq. (8);
    `normalization="mean"` is E + μ·R_IG, the convention of eq. (A.31), weaker by the number of
    parameters m. `loss`, `wrt`, the returned function and the errors are as in
    `implicit_gradient_regularizer`; another `normalization` raises `ValueError`.

    Source: eqs. (8) and (A.31); chapters 2 and 3.
    Differs from the paper: it uses both conventions under one name; see the errata.

    Example:
        >>> loss = lambda theta: theta @ theta / 2
        >>> start = jnp.array([3.0, 4.0])
        >>> float(ig.gradient_regularized_loss(loss, 0.5)(start))  # 12.5 + 0.5 · 25
        25.0
    """
    check_finite("mu", mu)
    if normalization not in ("sum", "mean"):
        raise ValueError(f'normalization must be "sum" or "mean", got {normalization!r}')

    def penalized(value: Array, gradient: PyTree) -> Float[Array, ""]:
        penalty = squared_norm(gradient)
        if normalization == "mean":
            penalty = penalty / float(num_params(gradient))
        return value + jnp.asarray(mu, penalty.dtype) * penalty

    return transform_of_gradient(loss, has_aux, penalized, wrt)


def gradient_regularized_value_and_grad(
    loss: Callable[..., Any],
    mu: Scalar,
    *,
    method: Method = "forward_over_reverse",
    distance: Scalar | None = None,
    has_aux: bool = False,
    terms: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., Any]:
    """E_μ = E + μ‖∇E‖² and its gradient ∇E + 2μ∇²E∇E, instead of `jax.value_and_grad(loss)`.

    `method` says how the product of the Hessian ∇²E with the gradient is computed:

    - "forward_over_reverse": the derivative of the gradient along itself;
    - "reverse_over_reverse": the gradient of E_μ, as `jax.grad` takes it;
    - "finite_difference": two gradients a `distance` apart in θ, along the gradient. By default
      √ε(1 + ‖θ‖), with ε of the coarsest array: half of the digits are right where ∇E is smooth
      over that distance, as it is for parameters of size about 1. Across a kink the product is the
      average slope between the two points and not a derivative. Its error is that of ∇E over the
      distance. Where rounding of θ changes the distance by a tenth, the result would lose a term:
      it raises `ValueError`, or is NaN inside `jax.jit`. Half precision needs a distance.

    `mu` is a finite scalar, traced or concrete; `loss` and `wrt` are as in
    `implicit_gradient_regularizer`, with its errors, and `loss` must be differentiable twice. The
    returned function takes the arguments of `loss` and returns `(E_μ, gradient)`, or
    `((E_μ, aux), gradient)`; with `terms` it returns a `Terms` instead of E_μ, with E and ‖∇E‖²
    beside it. `aux` is that of the first pass through the loss at θ: batch statistics that the loss
    updates are updated once.

    Raises `ValueError` for another `method`, for a `distance` that is not positive, is too small
    or comes with a method that takes none, and for a finite difference in half precision without
    a `distance`.

    Source: eq. (8); chapters 2 and 9.

    Example:
        >>> loss = lambda theta: theta**2 / 2
        >>> value_and_grad = ig.gradient_regularized_value_and_grad(loss, 0.25)
        >>> [float(x) for x in value_and_grad(2.0)]  # 2 + 0.25 · 4 and 2 + 2 · 0.25 · 2
        [3.0, 3.0]
    """
    if wrt is not None:
        return of_model(
            lambda e: gradient_regularized_value_and_grad(
                e, mu, method=method, distance=distance, has_aux=has_aux, terms=terms
            ),
            loss,
            wrt,
        )
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    mu = wide_number("mu", mu)
    if distance is not None:
        check_positive("distance", distance)
        if method != "finite_difference":
            raise ValueError(f'distance is for "finite_difference", got {distance} for {method!r}')
    value_and_grad = jax.value_and_grad(checked_loss(loss, has_aux), has_aux=has_aux)

    def penalized(params: PyTree, *args: Any, **kwargs: Any) -> tuple[Array, tuple[Any, Array]]:
        out, gradient = value_and_grad(params, *args, **kwargs)
        squared = squared_norm(gradient)
        total = (out[0] if has_aux else out) + jnp.asarray(mu, squared.dtype) * squared
        return total, (out, squared)

    def along_itself(
        params: PyTree, *args: Any, **kwargs: Any
    ) -> tuple[Any, PyTree, Scalar, PyTree]:
        """What `loss` returns, its gradient g, and s and p with ∇²E·g = s·p."""

        def first(p: PyTree) -> tuple[PyTree, Any]:
            out, gradient = value_and_grad(p, *args, **kwargs)
            return gradient, out

        if method == "forward_over_reverse":
            gradient, push, out = jax.linearize(first, params, has_aux=True)
            if not _half(params):
                return out, gradient, 1, push(gradient)
            # A product of two large halves overflows, though μ may make it small.
            length = jnp.sqrt(squared_norm(gradient))
            length = jnp.where(length > 0, length, 1)
            along = jax.tree.map(lambda g: (g / length).astype(g.dtype), gradient)
            return out, gradient, length, push(along)
        if distance is None and (half := _half(params)):
            raise ValueError(
                f'params must be float32 or wider for "finite_difference", got {half}; '
                "take another method, or give a distance"
            )
        gradient, out = first(params)
        length = jnp.sqrt(squared_norm(gradient))
        apart = distance
        if apart is None:
            epsilon = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(params))
            apart = epsilon**0.5 * (1 + jnp.sqrt(squared_norm(params)))
        # At a critical point the gradient is 0, and so is the product, whatever it is divided by.
        scale = jnp.asarray(apart, length.dtype) / jnp.where(length > 0, length, 1)
        there = add_scaled(params, scale, gradient)
        further, _ = first(there)
        moved = jax.tree.map(jnp.subtract, there, params)
        scale = _unless_lost(scale, apart, add_scaled(moved, -scale, gradient))
        return out, gradient, 1, jax.tree.map(lambda b, a: (b - a) / scale, further, gradient)

    def computed(params: PyTree, *args: Any, **kwargs: Any) -> tuple[Any, PyTree]:
        params = check_params(params)
        if method == "reverse_over_reverse":
            (_, (out, squared)), full = jax.value_and_grad(penalized, has_aux=True)(
                params, *args, **kwargs
            )
        else:
            out, gradient, scale, product = along_itself(params, *args, **kwargs)
            squared = squared_norm(gradient)
            full = add_scaled(gradient, 2 * mu * scale, product)
        value, aux = out if has_aux else (out, None)
        total = value + jnp.asarray(mu, squared.dtype) * squared
        found = Terms(total, value, squared) if terms else total
        return ((found, aux) if has_aux else found), full

    return computed


def matching_mu(small: Scalar, large: Scalar) -> Any:
    """μ = (h_L − h_s)/4: steps of `small` are then regularized as strongly as steps of `large`.

    To first order descent with step h on E + μ‖∇E‖² follows the flow of E + (h/4 + μ)‖∇E‖². Both
    are finite scalars. Raises `ValueError` where `small` is above `large`.

    Source: eqs. (2) and (8); chapter 9, *Explicit regularization*.

    Example:
        >>> ig.matching_mu(0.1, 0.5)
        0.1
    """
    small, large = wide_number("small", small), wide_number("large", large)
    if not is_traced(small, large) and small > large:
        raise ValueError(f"small must be at most large, got {small} and {large}")
    return (large - small) / 4


def _half(params: PyTree) -> Any:
    """The dtype of the first array in half precision, if there is one."""
    return next((x.dtype for x in jax.tree.leaves(params) if jnp.finfo(x.dtype).bits < 32), None)


def _unless_lost(scale: Array, distance: Scalar, lost: PyTree) -> Array:
    """`scale`; refused, or NaN, where rounding takes the vector `lost` from a step so long."""
    too_short = squared_norm(lost) > (0.1 * jnp.asarray(distance, scale.dtype)) ** 2
    if is_traced(too_short):
        return jnp.where(too_short, jnp.nan, scale)
    if too_short:
        raise ValueError(
            f"distance must be larger, got {float(distance):.3g}: rounding of params changes it by "
            "a tenth or more; give a larger distance, or take another method"
        )
    return scale

"""The neural tangent kernel, and the implicit regularizer as its quadratic form.

Source: Appendix A.3, Proposition A.11; chapter 5, *The neural tangent kernel*.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from igrlib._checks import check_finite, check_params, checked_loss, checked_model, real_array
from igrlib._models import of_model
from igrlib._trees import squared_norm
from igrlib._typing import Filter, PyTree, Scalar

__all__ = ["ntk", "ntk_modified_loss", "ntk_quadratic_form"]


def ntk(
    model: Callable[[PyTree, Any], Array],
    params: PyTree,
    inputs: Any,
    *,
    wrt: Filter | None = None,
) -> Float[Array, "n n"] | Float[Array, "n n c c"]:
    """The kernel K[i, j] = ∇f(x_i)ᵀ ∇f(x_j) of a model's outputs with respect to its parameters.

    `model(params, inputs)` returns outputs of shape (n,), for a kernel of shape (n, n), or
    (n, c), for one of shape (n, n, c, c). Memory grows as n·c·m, the whole Jacobian: for a
    quadratic form alone, use `ntk_quadratic_form`. `wrt` is as in
    `igrlib.implicit_gradient_regularizer`: `params` is then a whole model, and `model` a function
    of it. Raises `TypeError` for parameters that are not floating-point,
    `ValueError` for an empty pytree or outputs of another rank.

    Source: eq. (A.22); chapter 5.

    Example:
        >>> weights, inputs = jnp.ones(2), jnp.array([[1.0, 0.0], [1.0, 2.0]])
        >>> ig.ntk.ntk(lambda w, x: x @ w, weights, inputs).tolist()
        [[1.0, 1.0], [1.0, 5.0]]
    """
    checked = checked_model(model)
    if wrt is not None:
        return of_model(lambda f: lambda p: ntk(f, p, inputs), model, wrt)(params)
    params = check_params(params)
    apply = lambda theta: checked(theta, inputs)  # noqa: E731
    rank = jax.eval_shape(apply, params).ndim
    kernel = "ip,jp->ij" if rank == 1 else "iap,jbp->ijab"

    def of_leaf(jacobian: Array) -> Array:
        rows = jacobian.reshape(*jacobian.shape[:rank], math.prod(jacobian.shape[rank:]))
        return jnp.einsum(kernel, rows, rows)

    return functools.reduce(jnp.add, map(of_leaf, jax.tree.leaves(jax.jacrev(apply)(params))))


def ntk_quadratic_form(
    model: Callable[[PyTree, Any], Array],
    params: PyTree,
    inputs: Any,
    errors: Float[Array, "n"] | Float[Array, "n c"],
    *,
    wrt: Filter | None = None,
) -> Float[Array, ""]:
    """Σ_ij ε_iᵀ K(x_i, x_j) ε_j = ‖Σ_i ∇f(x_i) ε_i‖², without the kernel, in one backward pass.

    `errors` are real and have the shape of `model(params, inputs)`, (n,) or (n, c); else
    `TypeError` or `ValueError`. `wrt` and other errors are as in `ntk`.

    Source: Proposition A.11, eq. (A.21); chapter 5.

    Example:
        >>> weights, inputs = jnp.ones(2), jnp.array([[1.0, 0.0], [1.0, 2.0]])
        >>> errors = jnp.array([1.0, -1.0])
        >>> float(ig.ntk.ntk_quadratic_form(lambda w, x: x @ w, weights, inputs, errors))
        4.0
    """
    checked = checked_model(model)
    if wrt is not None:
        return of_model(lambda f: lambda p: ntk_quadratic_form(f, p, inputs, errors), model, wrt)(
            params
        )
    outputs, pullback = jax.vjp(lambda theta: checked(theta, inputs), check_params(params))
    errors = real_array("errors", errors)
    if errors.shape != outputs.shape:
        raise ValueError(
            f"errors must have the shape of the outputs, {outputs.shape}, got {errors.shape}"
        )
    (cotangent,) = pullback(jnp.asarray(errors, outputs.dtype))
    return squared_norm(cotangent)


def ntk_modified_loss(
    model: Callable[[PyTree, Any], Array],
    output_loss: Callable[..., Any],
    learning_rate: Scalar,
    *,
    wrt: Filter | None = None,
) -> Callable[..., Float[Array, ""]]:
    """Ẽ = E + (h/4)·(∂E/∂f)ᵀ K (∂E/∂f) for a loss E of the model's outputs f.

    `output_loss(outputs, *args)` returns a scalar; the returned function is called as
    `(params, inputs, *args)`. With Σ‖f − y‖² this is Proposition A.11, E + h·εᵀKε; with half of
    it E + (h/4)·εᵀKε; with its mean over n examples E + (h/n²)·εᵀKε. Cross entropy works
    too. `wrt` is as in `ntk`, and errors are as in `ntk` and `modified_loss`.

    Source: Proposition A.11 and, beyond squares, the chain rule; chapter 5.

    Example:
        >>> squares = lambda outputs, labels: jnp.sum((outputs - labels) ** 2) / 2
        >>> modified = ig.ntk.ntk_modified_loss(lambda w, x: x @ w, squares, 0.5)
        >>> inputs, labels = jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.array([0.0, 4.0])
        >>> float(modified(jnp.ones(2), inputs, labels))  # 1 + 0.5/4 · 4
        1.5
    """
    if wrt is not None:
        return of_model(lambda f: ntk_modified_loss(f, output_loss, learning_rate), model, wrt)
    check_finite("learning_rate", learning_rate)
    checked = checked_model(model)
    value_and_grad = jax.value_and_grad(checked_loss(output_loss, has_aux=False))

    def modified(params: PyTree, inputs: Any, *args: Any) -> Float[Array, ""]:
        outputs = checked(check_params(params), inputs)
        value, errors = value_and_grad(outputs, *args)
        form = ntk_quadratic_form(model, params, inputs, errors)
        return value + jnp.asarray(learning_rate, form.dtype) / 4 * form

    return modified

"""Vector arithmetic on pytrees of arrays, and the gradient all measurements start from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from igrlib._checks import check_params, checked_loss
from igrlib._models import of_model
from igrlib._typing import Filter, PyTree, Scalar


def inner(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """⟨x, y⟩ over all leaves, summed in float32 at least: squares of half floats underflow."""

    def leaf(a: Array, b: Array) -> Array:
        dtype = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), jnp.float32)
        return jnp.sum(a.astype(dtype) * b.astype(dtype))

    products = jax.tree.leaves(jax.tree.map(leaf, x, y))
    dtype = jnp.result_type(*products)
    return sum((p.astype(dtype) for p in products), start=jnp.zeros((), dtype))


def squared_norm(x: PyTree) -> Float[Array, ""]:
    """‖x‖² over all leaves."""
    return inner(x, x)


def add_scaled(x: PyTree, scale: Scalar, y: PyTree) -> PyTree:
    """x + scale·y in the dtypes of x: a float64 scale must not promote float32 parameters."""
    return jax.tree.map(lambda a, b: (a + scale * b).astype(a.dtype), x, y)


def gradient_of(loss: Callable[..., Any], has_aux: bool) -> Callable[..., PyTree]:
    """∇E alone, whatever else the loss returns."""
    gradient = jax.grad(checked_loss(loss, has_aux), has_aux=has_aux)
    return (lambda *args, **kwargs: gradient(*args, **kwargs)[0]) if has_aux else gradient


def transform_of_gradient(
    loss: Callable[..., Any],
    has_aux: bool,
    quantity: Callable[[Array, PyTree], Any],
    wrt: Filter | None,
) -> Callable[..., Any]:
    """`(params, *args, **kwargs) -> quantity(E, ∇E)`, or `(that, aux)` with `has_aux`."""
    if wrt is not None:
        return of_model(lambda e: transform_of_gradient(e, has_aux, quantity, None), loss, wrt)
    value_and_grad = jax.value_and_grad(checked_loss(loss, has_aux), has_aux=has_aux)

    def transformed(params: PyTree, *args: Any, **kwargs: Any) -> Any:
        out, gradient = value_and_grad(check_params(params), *args, **kwargs)
        if has_aux:
            value, aux = out
            return quantity(value, gradient), aux
        return quantity(out, gradient)

    return transformed


def flattened(params: PyTree) -> tuple[Float[Array, " m"], Callable[[Array], PyTree]]:
    """All numbers in one vector, of float32 or wider, and the way back to their own dtypes."""
    vector, unravel = ravel_pytree(params)

    def unflatten(x: Array) -> PyTree:
        return jax.tree.map(lambda a, p: a.astype(p.dtype), unravel(x), params)

    return vector.astype(jnp.promote_types(vector.dtype, jnp.float32)), unflatten

"""The top eigenvectors of a Hessian that moves a little at a time.

Block Krylov spaces, started again from the eigenvectors of the last time.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BLOCKS = 2
"""That are added to the last eigenvectors before the problem is solved in all."""


class Top(NamedTuple):
    """The largest eigenvalues in falling order, their vectors, and the residuals ‖Hu − λu‖."""

    values: Float[Array, " k"]
    vectors: Float[Array, "m k"]
    residuals: Float[Array, " k"]
    iterations: Int[Array, ""]


def top_eigenvectors(
    product: Callable[[Float[Array, " m"]], Float[Array, " m"]],
    start: Float[Array, "m k"],
    wanted: Callable[[Float[Array, " k"]], Array],
    tolerance: Float[Array, ""] | float,
    max_iterations: int,
) -> Top:
    """The top eigenvectors of a symmetric `product`, from orthonormal vectors near to them.

    It ends when those that are `wanted`, a function of the eigenvalues, have residuals of at most
    `tolerance` times the largest of their sizes, or after `max_iterations` of 2k products each.
    """
    k = start.shape[1]

    def products(block: Array) -> Array:
        return jax.lax.map(product, block.T).T

    def found(basis: Array, images: Array) -> tuple[Array, Array, Array]:
        small = basis.T @ images
        values, weights = jnp.linalg.eigh((small + small.T) / 2)
        values, weights = values[::-1][:k], weights[:, ::-1][:, :k]
        return values, basis @ weights, images @ weights

    def residuals(values: Array, vectors: Array, images: Array) -> Array:
        return jnp.linalg.norm(images - vectors * values, axis=0)

    def improve(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        _, basis, images, n = carry
        for _ in range(BLOCKS):
            width = basis.shape[1]
            last = images[:, -k:]
            new = last - basis @ (basis.T @ last)
            # Lengths aside: the vectors of a QR of converged ones would be rounding.
            new = new / jnp.maximum(jnp.linalg.norm(new, axis=0), jnp.finfo(new.dtype).tiny)
            # Columns beyond the space are not there; those that are rounding are orthonormal too.
            added = jnp.linalg.qr(jnp.concatenate([basis, new], axis=1))[0][:, width:]
            if not added.shape[1]:
                break
            basis = jnp.concatenate([basis, added], axis=1)
            images = jnp.concatenate([images, products(added)], axis=1)
        return *found(basis, images), n + 1

    def goes_on(carry: tuple[Array, ...]) -> Array:
        values, vectors, images, n = carry
        far = residuals(values, vectors, images) > tolerance * jnp.max(jnp.abs(values))
        return jnp.any(far & wanted(values)) & (n < max_iterations)

    start = jnp.linalg.qr(start)[0]
    values, vectors, images, n = jax.lax.while_loop(
        goes_on, improve, (*found(start, products(start)), jnp.zeros((), int))
    )
    # Of the eigenvalues, that of the smallest alone may still be off.
    return Top(values, vectors, residuals(values, vectors, images), n)

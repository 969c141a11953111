"""The top eigenvectors of a Hessian that moves a little at a time.

Block Krylov spaces, started again from the eigenvectors of the last time. Every product is with an
orthonormal vector, so that float32 keeps its digits; nothing larger than 3k vectors is held.

Source: Saad, "Numerical methods for large eigenvalue problems", 2011, Section 6.6.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

BLOCKS = 2
"""That are added to the last eigenvectors before the problem is solved in all of them."""


class Top(NamedTuple):
    """The largest eigenvalues in falling order, their vectors, and the residuals ‖Hu − λu‖.

    There is an eigenvalue within the residual of each; `vectors` are orthonormal.
    """

    values: Float[Array, " k"]
    vectors: Float[Array, "m k"]
    residuals: Float[Array, " k"]


def top_eigenvectors(
    product: Callable[[Float[Array, " m"]], Float[Array, " m"]],
    start: Float[Array, "m k"],
    far: Callable[[Float[Array, " k"], Float[Array, " k"]], Array],
    max_iterations: Array | int,
) -> Top:
    """The top eigenvectors of a symmetric `product`, from k ≤ m orthonormal vectors near to them.

    It ends when `far`, of the eigenvalues and their residuals, is nowhere true, or after
    `max_iterations` of 2k products each.
    """
    k = start.shape[1]
    products = jax.vmap(product, in_axes=1, out_axes=1)

    def solved(basis: Array, images: Array, real: Array) -> tuple[Array, Array, Array]:
        small = basis.T @ images
        below = -1 - 2 * jnp.linalg.norm(small)
        values, weights = jnp.linalg.eigh((small + small.T) / 2 + jnp.diag(below * ~real))
        values, weights = values[::-1][:k], weights[:, ::-1][:, :k]
        return values, basis @ weights, images @ weights

    def residuals(values: Array, vectors: Array, images: Array) -> Array:
        return jnp.linalg.norm(images - vectors * values[None], axis=0)

    def improve(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        _, basis, images, n = carry
        real = jnp.ones(k, bool)
        for _ in range(BLOCKS):
            added, there = _orthonormal(images[:, -k:], basis)
            basis = jnp.concatenate([basis, added], axis=1)
            images = jnp.concatenate([images, products(added)], axis=1)
            real = jnp.concatenate([real, there])
        return *solved(basis, images, real), n + 1

    def goes_on(carry: tuple[Array, ...]) -> Array:
        values, vectors, images, n = carry
        return jnp.any(far(values, residuals(values, vectors, images))) & (n < max_iterations)

    start, real = _orthonormal(start, jnp.zeros((len(start), 0), start.dtype))
    first = solved(start, products(start), real)
    values, vectors, images, _ = jax.lax.while_loop(goes_on, improve, (*first, jnp.zeros((), int)))
    return Top(values, vectors, residuals(values, vectors, images))


def _orthonormal(
    new: Float[Array, "m k"], basis: Float[Array, "m j"]
) -> tuple[Float[Array, "m k"], Bool[Array, " k"]]:
    """Orthonormal vectors of the span of `new`, at right angles to `basis`, and which are there.

    Where the space is exhausted they are 0. By small matrices alone: a QR of long ones is slow.
    """
    eps, there = jnp.finfo(new.dtype).eps, jnp.ones(new.shape[1], bool)
    length = jnp.linalg.norm(new, axis=0)
    for _ in range(3):  # Twice is enough, and once more for what is nearly dependent.
        new = new - basis @ (basis.T @ new)
        # What is left of the rounding of others is nothing.
        rest = jnp.linalg.norm(new, axis=0)
        kept = (rest > 100 * eps * length) & (rest > 0)
        new = jnp.where(kept[None], new / jnp.where(kept, rest, 1)[None], 0)
        squares, vectors = jnp.linalg.eigh(new.T @ new)
        there = squares > 100 * eps
        new = new @ vectors * jnp.where(there, 1 / jnp.sqrt(jnp.where(there, squares, 1)), 0)[None]
        length = jnp.ones_like(length)
    return new, there

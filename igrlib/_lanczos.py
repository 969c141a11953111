"""Lanczos' method, and where it starts."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from matfree import decomp

from igrlib._typing import PyTree


def start_vector(gradient: Float[Array, " m"]) -> Float[Array, " m"]:
    """The gradient, which lies mostly along the largest eigenvectors, and noise in all directions.

    The noise is fixed, and half as long: even of one parameter the two never cancel.
    """
    noise = jax.random.normal(jax.random.key(0), gradient.shape, gradient.dtype)
    length = jnp.linalg.norm(gradient)
    return gradient / jnp.where(length > 0, length, 1) + noise / (2 * jnp.linalg.norm(noise))


def lanczos(
    product: Callable[[PyTree], PyTree], start: PyTree, num_matvecs: int
) -> tuple[Float[Array, "k k"], PyTree, Array]:
    """Lanczos' matrix of a symmetric `product`, its vectors, and how many of them count.

    Vectors that are no longer orthonormal, where the Krylov space is exhausted, do not count: they
    are 0, and the matrix has a number below all eigenvalues of the others in their place. `start`
    is a pytree of one dtype that is not 0; the vectors have a leading axis of `num_matvecs`.
    """
    found = decomp.tridiag_sym(num_matvecs, custom_vjp=False)(product, start)
    matrix, vectors = jnp.asarray(found.J_small), found.Q_tall
    flat = [
        leaf.astype(matrix.dtype).reshape(len(leaf), math.prod(leaf.shape[1:]))
        for leaf in jax.tree.leaves(vectors)
    ]
    products = sum((v @ v.T for v in flat), start=jnp.zeros_like(matrix))
    apart = jnp.abs(products - jnp.eye(len(matrix), dtype=matrix.dtype))
    close = apart < jnp.finfo(matrix.dtype).eps ** 0.5
    kept = jnp.cumprod(jnp.all(close | ~jnp.tri(len(matrix), dtype=bool), axis=1))
    both = (kept[:, None] * kept[None, :]).astype(bool)
    matrix = jnp.where(both, matrix, 0)
    # Without a first vector there is no eigenvalue at all.
    below = jnp.where(kept[0] > 0, -1 - 2 * jnp.linalg.norm(matrix), jnp.nan)
    vectors = jax.tree.map(
        lambda v: jnp.where(kept.reshape(-1, *[1] * (v.ndim - 1)) > 0, v, 0), vectors
    )
    return matrix + jnp.diag(jnp.where(kept == 0, below, 0)), vectors, jnp.sum(kept)

"""The largest eigenvalue of the Hessian of a whole split.

Source: not in the paper: the rival explanation, stability at hλ_max = 2; chapter 7, *MNIST*.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Num

from igrlib._extras import missing
from igrlib._typing import PyTree
from igrlib.measures.splits import BLOCK, Logits, sum_over_blocks, totals

try:
    from matfree import decomp, eig
except ImportError as _error:
    raise missing(_error) from _error

__all__ = ["largest_hessian_eigenvalue"]


def largest_hessian_eigenvalue(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    num_matvecs: int = 10,
    block: int = BLOCK,
) -> Float[Array, ""]:
    """λ_max of ∇²E over a whole split, by Lanczos' method (`matfree`) from the gradient.

    `num_matvecs` products of the Hessian with a vector, each about three gradients; the estimate
    is from below, and starts at the gradient because that lies mostly along the largest
    eigenvectors.

    Source: not in the paper: the rival explanation, stability at hλ_max = 2; chapter 7.
    """

    gradient = jax.grad(lambda p, x, y: totals(logits, p, x, y)[0])

    def product(v: PyTree) -> PyTree:
        def part(x: Array, y: Array) -> PyTree:
            return jax.jvp(lambda p: gradient(p, x, y), (params,), (v,))[1]

        return jax.tree.map(lambda s: s / len(labels), sum_over_blocks(part, images, labels, block))

    with jax.default_matmul_precision("highest"):
        start = sum_over_blocks(partial(gradient, params), images, labels, block)
        # Lanczos' method divides by the length of its start: never 0, even at a flat point.
        start = jax.tree.map(lambda g: g + jnp.finfo(g.dtype).tiny ** 0.5, start)
        lanczos = eig.eigh_partial(decomp.tridiag_sym(num_matvecs, custom_vjp=False))
        values, _ = lanczos(product, start)
    return jnp.max(values)

"""The largest eigenvalue of the Hessian of a whole split.

Source: not in the paper: the rival explanation, stability at hλ_max = 2; chapter 7, *MNIST*.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer, Num

from igrlib._checks import check_integer
from igrlib._lanczos import lanczos
from igrlib._trees import squared_norm
from igrlib._typing import PyTree
from igrlib.curvature import Eigenvalue
from igrlib.experiments.measures.splits import AT_ONCE, Logits, check_split, sum_over_parts, totals
from igrlib.regularizer import num_params

__all__ = ["largest_hessian_eigenvalue"]


def largest_hessian_eigenvalue(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    num_matvecs: int = 10,
    at_once: int = AT_ONCE,
) -> Eigenvalue:
    """λ_max of ∇²E over a whole split, the largest algebraic eigenvalue, with its residual.

    `num_matvecs` products of the Hessian with a vector, each about two gradients, by Lanczos'
    method from the gradient, which lies mostly along the largest eigenvectors (`matfree`), and one
    for the residual. The estimate is from below, up to rounding, and can be negative where ∇²E has
    no positive eigenvalue; it is 0 for ∇²E = 0. Vectors past the end of the Krylov space, which are
    not orthogonal, do not count.
    Raises `TypeError` or `ValueError` unless `num_matvecs` and `at_once` are integers ≥ 1, and for
    images and labels as `scores` does.

    Source: not in the paper: the rival explanation, stability at hλ_max = 2; chapter 7.
    """
    check_split(logits, params, images, labels)
    num_matvecs = check_integer("num_matvecs", num_matvecs, low=1)
    # A Krylov space has no more dimensions than there are parameters.
    num_matvecs = min(num_matvecs, num_params(params))
    gradient = jax.grad(lambda p, x, y: totals(logits, p, x, y)[0])

    def product(v: PyTree) -> PyTree:
        def part(x: Array, y: Array) -> PyTree:
            return jax.jvp(lambda p: gradient(p, x, y), (params,), (v,))[1]

        total = sum_over_parts(part, images, labels, at_once)
        return jax.tree.map(lambda s: s / len(labels), total)

    with jax.default_matmul_precision("highest"):
        start = sum_over_parts(partial(gradient, params), images, labels, at_once)
        # Lanczos' method divides by the length of its start, which is 0 at a flat point.
        start = jax.tree.map(lambda g: g + jnp.finfo(g.dtype).tiny ** 0.5, start)
        matrix, vectors, _ = lanczos(product, start, num_matvecs)
        values, small = jnp.linalg.eigh(matrix)
        v = jax.tree.map(lambda q: jnp.tensordot(small[:, -1], q, 1), vectors)
        apart = jax.tree.map(lambda a, b: a - values[-1] * b, product(v), v)
        return Eigenvalue(values[-1], jnp.sqrt(squared_norm(apart) / squared_norm(v)))
